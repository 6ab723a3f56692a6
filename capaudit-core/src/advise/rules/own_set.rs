//! Needs of programs that look at their own sets, or change them where the kernel makes no check.

use std::collections::BTreeMap;

use crate::{
    advise::{Judgement, Meaning, Rule, object::object_text},
    capability::{CapSet, Capability},
    ledger::{CallRecord, Requester, SubjectRecord},
};

/// Options of prctl(2), as a saved session holds them (include/uapi/linux/prctl.h).
mod prctl {
    pub(super) const CAPBSET_READ: u64 = 23;
    pub(super) const CAP_AMBIENT: u64 = 47;
    pub(super) const AMBIENT_RAISE: u64 = 2;
}

/// Capabilities of the bounding set that one executable may ask about for each to be taken for a need. One that asks about
/// more may list what there is: that is told.
const MOST_ASKED: usize = 8;

/// The capability that libcap-ng asks about.
const FIRST: Capability = Capability::CHOWN;

/// The needs that prctl(2) shows.
///
/// - `PR_CAP_AMBIENT_RAISE` fails with EPERM if the capability is not permitted and inheritable (`cap_task_prctl`,
///   security/commoncap.c since 4.3); there is no check.
/// - `PR_CAPBSET_READ` of a few capabilities in particular: a program that asks so may refuse to go on without. libcap's
///   search for the kernel's last capability is about none ([`SEARCHES`]), and a question about the very first one may be
///   libcap-ng's, which finds out whether the kernel knows the question (`init`, src/cap-ng.c): that is told.
pub(crate) fn needs(subject: &SubjectRecord) -> Vec<Judgement> {
    let of_programs = subject
        .calls
        .iter()
        .filter(|call| call.syscall == "prctl" && !call.requester.setup);
    let mut raised = CapSet::EMPTY;
    for call in of_programs {
        if let [prctl::CAP_AMBIENT, prctl::AMBIENT_RAISE, number, ..] = call.arguments
            && !call.failed
        {
            raised.extend(capability(number));
        }
    }
    let raised = raised.iter().map(|capability| {
        Meaning::decisive(
            capability,
            "made ambient with prctl(2), which fails if it is not permitted and inheritable",
        )
        .by(Rule::MadeAmbient)
    });
    let asked: CapSet = asked_of_bounding_set(subject)
        .into_values()
        .filter(|asked| asked.len() <= MOST_ASKED)
        .flat_map(|asked| (asked - CapSet::from(FIRST)).iter())
        .collect();
    let asked = asked.iter().map(|capability| {
        Meaning::possible(
            capability,
            "the program asked with prctl(2) whether it has just this one, and may refuse to go on without",
        )
        .by(Rule::AskedOfBoundingSet)
    });
    raised.chain(asked).collect()
}

/// Capabilities that each program asked for with `PR_CAPBSET_READ`, and had, beyond what libcap asks. What one does not have it
/// went on without.
fn asked_of_bounding_set(subject: &SubjectRecord) -> BTreeMap<&str, CapSet> {
    let mut programs: BTreeMap<&str, BTreeMap<u64, &CallRecord>> = BTreeMap::new();
    for call in &subject.calls {
        if let ("prctl", false, [prctl::CAPBSET_READ, number, ..]) =
            (call.syscall.as_str(), call.requester.setup, call.arguments)
        {
            programs
                .entry(program(&call.requester))
                .or_default()
                .insert(number, call);
        }
    }
    programs
        .into_iter()
        .map(|(program, asked)| (program, beyond_search(&asked)))
        .collect()
}

/// Of the questions of one program those that no search for the last capability explains.
fn beyond_search(asked: &BTreeMap<u64, &CallRecord>) -> CapSet {
    // EINVAL: no such capability in this kernel (`cap_valid`).
    let exists = |number: &u64| asked.get(number).map(|call| !call.failed);
    let searched = SEARCHES.iter().find_map(|search| {
        (0..search.end).find_map(|last| {
            let questions = search.questions(last);
            let answered = |number: &u64| exists(number) == Some(*number <= last);
            questions.iter().all(answered).then_some(questions)
        })
    });
    // Who searched asked each of these as often; nobody else asks about what does not exist.
    let times = searched.iter().flatten().filter_map(|number| {
        let call = asked.get(number).filter(|call| call.failed)?;
        Some(call.count)
    });
    let times = times.min().unwrap_or(0);
    asked
        .iter()
        .filter(|(_number, call)| call.result == 1)
        .filter(|(number, call)| {
            let by_search = searched.iter().flatten().any(|it| it == *number);
            !by_search || call.count > times
        })
        .filter_map(|(number, _call)| capability(*number))
        .collect()
}

/// A binary search for the last capability of the kernel.
struct Search {
    /// The first number that is not asked about.
    end: u64,
    /// Whether a number that there is not is looked at again.
    half_open: bool,
}

/// `_libcap_initialize` (libcap/cap_alloc.c) by `_binary_search` from 0 to `__CAP_MAXBITS`, 64, and `sort.Search` of 65 in Go's
/// kernel.org/pub/linux/libs/security/libcap/cap (`MaxBits`); libcap 2.78.
const SEARCHES: [Search; 2] = [
    Search {
        end: 65,
        half_open: false,
    },
    Search {
        end: 65,
        half_open: true,
    },
];

impl Search {
    /// The numbers that it asks about where `last` is the last one that there is.
    fn questions(&self, last: u64) -> Vec<u64> {
        let mut questions = Vec::new();
        let (mut low, mut end) = (0, self.end);
        while low < end {
            let middle = if self.half_open {
                low.midpoint(end)
            } else {
                low.midpoint(end - 1)
            };
            questions.push(middle);
            if middle <= last {
                low = middle + 1;
            } else {
                end = middle;
            }
        }
        questions
    }
}

fn capability(number: u64) -> Option<Capability> {
    Capability::from_number(u8::try_from(number).ok()?)
}

/// What opens a file.
const OPENS: [&str; 4] = ["open", "openat", "openat2", "creat"];

/// Whether a call reads the caller's own sets: capget(2), or `CapEff` and its kin in its own /proc/PID/status.
fn reads(call: &CallRecord) -> bool {
    let reads = match call.syscall.as_str() {
        // Without a second argument capget(2) only tells the version.
        "capget" => call.arguments[1] != 0,
        // Of its own files, the kernel side reports that one only; a path may be a link's, and decides nothing.
        syscall => OPENS.contains(&syscall) && call.target.is_none(),
    };
    reads && !call.failed && !call.requester.setup
}

/// Whether a call may read the sets of another process of the same subject, which shrink with its own.
fn reads_of_kin(call: &CallRecord) -> bool {
    let is_kin = call.target.is_some_and(|target| target.same_subject);
    let path = call.object.as_ref().map(object_text).unwrap_or_default();
    let is_status = path.rsplit('/').next() == Some("status") || !path.starts_with("/proc/");
    OPENS.contains(&call.syscall.as_str())
        && is_kin
        && is_status
        && !call.failed
        && !call.requester.setup
}

/// What programs learned of the sets of their subject, each a sentence: what they do about it, no check tells.
pub(crate) fn notes(subject: &SubjectRecord) -> Vec<String> {
    let looked = |reads: fn(&CallRecord) -> bool| {
        let calls = subject.calls.iter().filter(|call| reads(call));
        let mut programs: Vec<&str> = calls.map(|call| program(&call.requester)).collect();
        programs.sort_unstable();
        programs.dedup();
        programs.join(", ")
    };
    let asked = asked_of_bounding_set(subject);
    let who_asked = |such: fn(&CapSet) -> bool| {
        let programs = asked.iter().filter(|(_program, asked)| such(asked));
        programs
            .map(|(program, _asked)| *program)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let told = |programs: &str, what: &str| {
        (!programs.is_empty()).then(|| {
            format!(
                "{programs} {what}: if it refuses to go on without some, no check shows which; `capaudit verify` does"
            )
        })
    };
    [
        told(
            &looked(reads),
            "looked at its own capabilities (capget, or /proc/self/status)",
        ),
        told(
            &looked(reads_of_kin),
            "looked at another process of its own in /proc, whose status shows its capabilities",
        ),
        told(
            &who_asked(|asked| asked.len() > MOST_ASKED),
            "asked with prctl(2) about many capabilities of its bounding set",
        ),
        told(
            &who_asked(|asked| asked.len() <= MOST_ASKED && asked.contains(FIRST)),
            "asked with prctl(2) whether it has CHOWN, as libcap-ng does for no reason of the program's",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
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
        ledger::{Container, Object, Target},
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
            (subject("openat", 0, "/etc/a-link"), true),
            (subject("readlinkat", 0, "/proc/1/exe"), false),
        ] {
            assert_eq!(looked(&subject, "/bin/x"), reads, "{subject:#?}");
            assert_eq!(notes(&subject).len(), usize::from(reads));
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
        let four = [12, 13, 21, 1].map(|number| read(number, 1));
        assert_eq!(needs_of(four.to_vec()).len(), 4);
        let first = vec![read(0, 1)];
        let mut subject = SubjectRecord::new(Container::default());
        subject.calls.clone_from(&first);
        assert_eq!(needs_of(first), [], "it may be libcap-ng's");
        assert_eq!(notes(&subject).len(), 1, "told instead");
        let many: Vec<CallRecord> = (0..40).map(|number| read(number, 1)).collect();
        subject.calls.clone_from(&many);
        assert_eq!(needs_of(many), []);
        assert_eq!(notes(&subject).len(), 1, "told instead");
    }

    #[test]
    fn the_search_for_the_last_capability_is_about_none_and_hides_none() {
        let read = |(number, result): (u64, i64)| call([23, number, 0], result);
        // _libcap_initialize of libcap 2.66 on Linux 6.18, and Go's
        let search = [(32, 1), (48, -22), (40, 1), (44, -22), (42, -22), (41, -22)].map(read);
        let by_go = [(32, 1), (49, -22), (41, -22), (37, 1), (39, 1), (40, 1)].map(read);
        let admin = (Some(Capability::NET_ADMIN.into()), Evidence::Possible);
        for search in [search, by_go] {
            assert_eq!(needs_of(search.to_vec()), []);
            let and = |more: &[CallRecord]| needs_of([search.as_slice(), more].concat());
            assert_eq!(and(&[read((12, 1))]), [admin]);
            assert_eq!(and(&[read((12, 0))]), []);
            // One that it asks about itself, once more: 40, CHECKPOINT_RESTORE.
            let again = search.clone().map(|mut call| {
                call.count += u64::from(call.arguments[1] == 40);
                call
            });
            let restore = (
                Some(Capability::CHECKPOINT_RESTORE.into()),
                Evidence::Possible,
            );
            assert_eq!(needs_of(again.to_vec()), [restore]);
            let part = &search[..search.len() - 2];
            assert!(!needs_of(part.to_vec()).is_empty(), "not the search");
        }
    }

    #[test]
    fn a_look_at_a_process_of_ones_own_is_told() {
        let noted = |path: &str, same_subject| {
            let mut call = call([0, 0, 0], 3);
            call.syscall = "openat".to_owned();
            call.object = Some(Object::Path(path.to_owned()));
            call.target = Some(Target {
                permitted: CapSet::EMPTY,
                same_user_namespace: true,
                same_subject,
            });
            let mut subject = SubjectRecord::new(Container::default());
            subject.calls.push(call);
            assert!(!looked(&subject, "/bin/x"), "not its own sets");
            notes(&subject).len()
        };
        assert_eq!(noted("/proc/1/status", true), 1);
        assert_eq!(noted("/tmp/a-link", true), 1);
        assert_eq!(noted("/proc/1/environ", true), 0);
        assert_eq!(noted("/proc/1/status", false), 0, "it keeps what it holds");
    }
}
