//! Needs of programs that look at their own sets, or change them where the kernel makes no check.

use std::collections::BTreeMap;

use crate::{
    advise::{Judgement, Meaning, Rule},
    capability::{CapSet, Capability},
    ledger::{CallRecord, Object, Requester, SubjectRecord},
};

/// Options of prctl(2), as a saved session holds them (include/uapi/linux/prctl.h).
mod prctl {
    pub(super) const CAPBSET_READ: u64 = 23;
    pub(super) const CAP_AMBIENT: u64 = 47;
    pub(super) const AMBIENT_RAISE: u64 = 2;
}

/// Capabilities of the bounding set that one executable may ask about for it to be a question about these. One that
/// asks about more lists what there is.
const MOST_ASKED: usize = 3;

/// The needs that prctl(2) shows.
///
/// - `PR_CAP_AMBIENT_RAISE` fails with EPERM if the capability is not permitted and inheritable (`cap_task_prctl`,
///   security/commoncap.c since 4.3); there is no check.
/// - `PR_CAPBSET_READ` of a few capabilities in particular: a program that asks so may refuse to go on without. libcap
///   asks to find the kernel's last capability, which takes questions about such as do not exist, and libcap-ng asks
///   about the very first one to find out whether the kernel knows the question: neither is about any in particular.
pub(crate) fn needs(subject: &SubjectRecord) -> Vec<Judgement> {
    let of_programs = subject
        .calls
        .iter()
        .filter(|call| call.syscall == "prctl" && !call.requester.setup);
    let mut raised = CapSet::EMPTY;
    let mut asked: BTreeMap<&str, Asked> = BTreeMap::new();
    for call in of_programs {
        match call.arguments {
            [prctl::CAP_AMBIENT, prctl::AMBIENT_RAISE, number, ..] if !call.failed => {
                raised.extend(capability(number));
            }
            [prctl::CAPBSET_READ, number, ..] => {
                asked
                    .entry(&call.requester.exe)
                    .or_default()
                    .add(capability(number), call);
            }
            _ => {}
        }
    }
    let raised = raised.iter().map(|capability| {
        Meaning::decisive(
            capability,
            "made ambient with prctl(2), which fails if it is not permitted and inheritable",
        )
        .by(Rule::MadeAmbient)
    });
    let asked: CapSet = asked.values().flat_map(Asked::in_particular).collect();
    let asked = asked.iter().map(|capability| {
        Meaning::possible(
            capability,
            "the program asked with prctl(2) whether it has just this one, and may refuse to go on without",
        )
        .by(Rule::AskedOfBoundingSet)
    });
    raised.chain(asked).collect()
}

/// What one executable asked about its bounding set.
#[derive(Default)]
struct Asked {
    present: CapSet,
    all: usize,
    /// It asked about one that does not exist.
    seeks_last: bool,
}

impl Asked {
    fn add(&mut self, capability: Option<Capability>, call: &CallRecord) {
        self.all += 1;
        // EINVAL: no such capability in this kernel (`cap_valid`).
        self.seeks_last |= call.failed;
        if call.result == 1 {
            self.present.extend(capability);
        }
    }

    fn in_particular(&self) -> CapSet {
        let first = Capability::from_number(0).map_or(CapSet::EMPTY, CapSet::from);
        if self.seeks_last || self.all > MOST_ASKED || self.present == first {
            CapSet::EMPTY
        } else {
            self.present
        }
    }
}

fn capability(number: u64) -> Option<Capability> {
    Capability::from_number(u8::try_from(number).ok()?)
}

/// Whether a call reads the caller's own sets: capget(2), or `CapEff` and its kin in its own /proc/PID/status.
fn reads(call: &CallRecord) -> bool {
    let reads = match (call.syscall.as_str(), &call.object) {
        // Without a second argument capget(2) only tells the version.
        ("capget", _) => call.arguments[1] != 0,
        // Of others, opening that file is no fact.
        ("open" | "openat" | "openat2", Some(Object::Path(path))) => {
            call.target.is_none() && path.rsplit('/').next() == Some("status")
        }
        _ => false,
    };
    reads && !call.failed && !call.requester.setup
}

/// Executables that read their own sets: what they do about it, no check tells.
pub(crate) fn readers(subject: &SubjectRecord) -> Vec<&str> {
    let calls = subject.calls.iter();
    let mut readers: Vec<&str> = calls
        .filter(|call| reads(call))
        .map(|call| program(&call.requester))
        .collect();
    readers.sort_unstable();
    readers.dedup();
    readers
}

/// Whether an executable has read its own sets, and so may have set what it found there.
pub(super) fn looked(subject: &SubjectRecord, exe: &str) -> bool {
    let mut calls = subject.calls.iter();
    calls.any(|call| reads(call) && call.requester.exe == exe)
}

/// What a requester is called in a sentence.
pub(super) fn program(requester: &Requester) -> &str {
    if requester.exe.is_empty() {
        &requester.comm
    } else {
        &requester.exe
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        advise::{AnyOf, Evidence},
        ledger::Container,
    };

    fn call(arguments: [u64; 3], result: i64) -> CallRecord {
        let [option, first, second] = arguments;
        CallRecord {
            arguments: [option, first, second, 0, 0, 0],
            failed: result < 0,
            result,
            ..CallRecord::sample("prctl")
        }
    }

    fn needs_of(calls: Vec<CallRecord>) -> Vec<(Option<AnyOf>, Evidence)> {
        let mut subject = SubjectRecord::new(Container::default());
        subject.calls = calls;
        needs(&subject)
            .into_iter()
            .map(|judgement| (judgement.satisfied_by(), judgement.evidence()))
            .collect()
    }

    #[test]
    fn who_reads_its_sets_is_known_however_it_reads_them() {
        let subject = |syscall: &str, second, path: &str| {
            let mut call = call([0, second, 0], 0);
            call.syscall = syscall.to_owned();
            call.object = (!path.is_empty()).then(|| Object::Path(path.to_owned()));
            let mut subject = SubjectRecord::new(Container::default());
            subject.calls.push(call);
            subject
        };
        for (subject, reads) in [
            (subject("capget", 1, ""), true),
            (subject("capget", 0, ""), false),
            (subject("openat", 0, "/proc/self/status"), true),
            (subject("open", 0, "status"), true),
            (subject("openat", 0, "/proc/1/environ"), false),
        ] {
            assert_eq!(looked(&subject, "/bin/x"), reads, "{subject:#?}");
            assert_eq!(readers(&subject).len(), usize::from(reads));
            assert!(!looked(&subject, "/bin/y"));
        }
    }

    #[test]
    fn what_is_made_ambient_is_needed() {
        let raw = Capability::NET_RAW;
        let raise = |result| vec![call([47, 2, raw.number().into()], result)];
        assert_eq!(needs_of(raise(0)), [(Some(raw.into()), Evidence::Decisive)]);
        assert_eq!(needs_of(raise(-1)), []);
        assert_eq!(needs_of(vec![call([47, 1, 13], 1)]), [], "only asked");
    }

    #[test]
    fn a_question_about_one_capability_may_be_a_need() {
        let read = |number: u64, result| call([23, number, 0], result);
        let admin = Capability::NET_ADMIN;
        assert_eq!(
            needs_of(vec![read(12, 1)]),
            [(Some(admin.into()), Evidence::Possible)]
        );
        assert_eq!(needs_of(vec![read(12, 0)]), [], "it went on without");
        assert_eq!(needs_of(vec![read(0, 1)]), [], "libcap-ng's question");
        // libcap's search for the last capability
        let search = [(32, 1), (48, -22), (40, 1), (44, -22), (42, -22), (41, -22)];
        let search = search.map(|(number, result)| read(number, result));
        assert_eq!(needs_of(search.to_vec()), []);
        assert_eq!(
            needs_of((0..41).map(|number| read(number, 1)).collect()),
            []
        );
    }
}
