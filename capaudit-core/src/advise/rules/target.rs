//! Needs that appear because the set shrinks: calls upon other processes.
//!
//! `cap_ptrace_access_check` and `cap_safe_nice` (security/commoncap.c, Linux 6.12) ask for SYS_PTRACE or SYS_NICE only
//! where the other process holds something that the caller does not. With everything granted that never comes up; with
//! what is recommended it does for whoever is outside of the subject, and so keeps what it holds.

use super::own_set;
use crate::{
    advise::{AnyOf, Judgement, Meaning, Rule, object::object_text},
    capability::{CapSet, Capability},
    ledger::{CallRecord, Place, SubjectRecord, Target},
};

/// Calls that change how another process is scheduled: `security_task_setnice`, `security_task_setscheduler` and
/// `security_task_setioprio`. A few others lead there by a file.
const SCHEDULING: [&str; 6] = [
    "setpriority",
    "sched_setscheduler",
    "sched_setparam",
    "sched_setattr",
    "sched_setaffinity",
    "ioprio_set",
];

/// Files below /proc/PID that show less to others than the process's own, and are read all the same (`proc_pid_wchan`,
/// fs/proc/base.c; `do_task_stat`, fs/proc/array.c).
const ONLY_SHOW_LESS: [&str; 2] = ["stat", "wchan"];
/// The file by which a process's timers are changed (`timerslack_ns_write`, fs/proc/base.c).
const TIMER_SLACK: &str = "timerslack_ns";

/// A call upon a process outside of the subject, and what it takes where that holds more than the caller.
pub(crate) struct Reach<'a> {
    call: &'a CallRecord,
    target: Target,
    takes: AnyOf,
}

/// The calls of a subject upon processes outside of it. Those upon its own shrink with it.
pub(crate) fn reaches(subject: &SubjectRecord) -> impl Iterator<Item = Reach<'_>> {
    subject
        .calls
        .iter()
        .filter(|call| !call.failed && !call.requester.setup)
        .filter_map(|call| Some((call, call.target.filter(|target| !target.same_subject)?)))
        .flat_map(|(call, target)| {
            takes(subject, call, target)
                .into_iter()
                .map(move |takes| Reach {
                    call,
                    target,
                    takes,
                })
        })
}

/// Notes of what a subject saw of processes outside of it, and would not where it held no more than `set`.
pub(crate) fn shown_less(subject: &SubjectRecord, set: CapSet) -> Vec<String> {
    let trace = Capability::SYS_PTRACE;
    if set.contains(trace) {
        return Vec::new();
    }
    let mut notes: Vec<String> = subject
        .calls
        .iter()
        .filter(|call| !call.failed && !call.requester.setup)
        .filter(|call| {
            call.target.is_some_and(|target| {
                !target.same_subject
                    && target.same_user_namespace
                    && !target.permitted.is_subset(set)
            })
        })
        .filter_map(|call| {
            let object = call.object.as_ref().map(object_text)?;
            let file = of_process(&object)?;
            ONLY_SHOW_LESS.contains(&file).then(|| {
                format!(
                    "{} is not recommended for what {} read: {object} of a process that holds more shows a few fields less without",
                    trace.name(),
                    own_set::program(&call.requester),
                )
            })
        })
        .collect();
    notes.sort_unstable();
    notes.dedup();
    notes.truncate(1);
    notes
}

/// What it takes to act upon a target that holds more, each of them; nothing if the kernel has asked already, or only shows
/// less.
fn takes(subject: &SubjectRecord, call: &CallRecord, target: Target) -> Vec<AnyOf> {
    let object = call.object.as_ref().map(object_text).unwrap_or_default();
    let file = of_process(&object);
    let mut takes: Vec<AnyOf> = Vec::new();
    // A link to that file has any name.
    if SCHEDULING.contains(&call.syscall.as_str())
        || file == Some(TIMER_SLACK)
        || (file.is_none() && may_write(call))
    {
        takes.push(Capability::SYS_NICE.into());
    }
    let is_scheduling = SCHEDULING.contains(&call.syscall.as_str());
    let only_shows_less = file.is_some_and(|file| ONLY_SHOW_LESS.contains(&file));
    // Of another user namespace's process ptrace_may_access asks whatever the sets are.
    if is_scheduling || file == Some(TIMER_SLACK) || only_shows_less || !target.same_user_namespace
    {
        return takes;
    }
    if call.syscall == "perf_event_open" && !is_beyond_perfmon(subject, call) {
        // `perf_check_permission`, kernel/events/core.c.
        takes.extend(AnyOf::new(CapSet::of(&[
            Capability::SYS_PTRACE,
            Capability::PERFMON,
            Capability::SYS_ADMIN,
        ])));
    } else {
        takes.push(Capability::SYS_PTRACE.into());
    }
    takes
}

/// The file of a process's directory that a path names for certain: any other path may lead through a link, whose name says
/// nothing.
fn of_process(path: &str) -> Option<&str> {
    let is_number = |name: &str| !name.is_empty() && name.bytes().all(|it| it.is_ascii_digit());
    let (process, file) = path.strip_prefix("/proc/")?.split_once('/')?;
    let file = match file
        .strip_prefix("task/")
        .and_then(|task| task.split_once('/'))
    {
        Some((task, file)) if is_number(task) => file,
        _ => file,
    };
    (is_number(process) && !file.contains('/')).then_some(file)
}

/// Whether a call opens a file to write.
fn may_write(call: &CallRecord) -> bool {
    const O_ACCMODE: u64 = 3;
    match call.syscall.as_str() {
        "open" => call.arguments[1] & O_ACCMODE != 0,
        "openat" => call.arguments[2] & O_ACCMODE != 0,
        "openat2" | "creat" => true,
        _ => false,
    }
}

/// Whether PERFMON was asked for where nothing that is granted to the subject counts: `perfmon_capable`
/// (include/linux/capability.h) asks in the first user namespace, `ptrace_may_access` in that of the other process.
fn is_beyond_perfmon(subject: &SubjectRecord, call: &CallRecord) -> bool {
    subject.checks.iter().any(|check| {
        let identity = &check.identity;
        identity.is(Capability::PERFMON)
            && identity.by_syscall(&[&call.syscall])
            && identity.place == Place::Outer
            && identity.requester == call.requester
    })
}

impl Reach<'_> {
    /// The need of the call where the caller holds no more than `set`; `None` if that is enough.
    pub(crate) fn need(&self, set: CapSet) -> Option<Judgement> {
        let lacking = self.target.permitted - set;
        if lacking.is_empty() || !(self.takes.set() & set).is_empty() {
            return None;
        }
        let call = self.call;
        let object = call.object.as_ref().map(object_text).unwrap_or_default();
        let reason = format!(
            "{} acts upon a process outside{}{} that {}: the kernel asks for this where the caller holds less than that one",
            call.syscall,
            if object.is_empty() { "" } else { " by " },
            object,
            held(lacking),
        );
        let program = own_set::program(&call.requester);
        let reason = format!("{program}: {reason}");
        Some(Meaning::possible(self.takes, reason).by(Rule::OutsideProcess))
    }
}

/// What a process holds beyond a set, in a few words.
fn held(lacking: CapSet) -> String {
    const NAMED: usize = 3;
    if CapSet::known().is_subset(lacking) || lacking.len() > 30 {
        return "holds, or may hold, everything".to_owned();
    }
    let names: Vec<&str> = lacking.names().take(NAMED).collect();
    let more = lacking.len().saturating_sub(names.len());
    let rest = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("holds {}{rest}", names.join(" "))
}

/// Adds to needs what calls upon others take with the set that meets those: `cover` makes a set of needs. Each need that
/// is added may make the set larger, and so others superfluous.
pub(crate) fn added(
    subject: &SubjectRecord,
    mut needs: Vec<CapSet>,
    cover: impl Fn(&[CapSet]) -> CapSet,
) -> Vec<Judgement> {
    let mut added: Vec<Judgement> = Vec::new();
    let reaches: Vec<Reach<'_>> = reaches(subject).collect();
    loop {
        let set = cover(&needs);
        let Some(judgement) = reaches.iter().find_map(|reach| reach.need(set)) else {
            return added;
        };
        // Its need is met from now on, so that this ends.
        needs.extend(judgement.satisfied_by().map(AnyOf::set));
        added.push(judgement);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        advise::Evidence,
        ledger::{CheckIdentity, CheckRecord, Container, Object, Outcome},
    };

    fn call(syscall: &str, permitted: CapSet, path: &str) -> CallRecord {
        CallRecord {
            target: Some(Target {
                permitted,
                same_user_namespace: true,
                same_subject: false,
            }),
            object: (!path.is_empty()).then(|| Object::Path(path.to_owned())),
            ..CallRecord::sample(syscall)
        }
    }

    /// What calls take beside needs that are met by one set.
    fn found(calls: Vec<CallRecord>, needs: CapSet) -> Vec<CapSet> {
        let mut subject = SubjectRecord::new(Container::default());
        subject.calls = calls;
        let needs = needs.iter().map(CapSet::from).collect();
        let union = |needs: &[CapSet]| needs.iter().fold(CapSet::EMPTY, |all, one| all | *one);
        added(&subject, needs, union)
            .into_iter()
            .inspect(|judgement| assert_eq!(judgement.evidence(), Evidence::Possible))
            .filter_map(|judgement| Some(judgement.satisfied_by()?.set()))
            .collect()
    }

    const NICE: CapSet = CapSet::of(&[Capability::SYS_NICE]);
    const PTRACE: CapSet = CapSet::of(&[Capability::SYS_PTRACE]);
    const KILL: CapSet = CapSet::of(&[Capability::KILL]);

    #[test]
    fn what_only_shows_less_is_a_note() {
        let mut subject = SubjectRecord::new(Container::default());
        subject.calls = vec![
            call("openat", KILL, "/proc/7/stat"),
            call("openat", KILL, "/proc/8/stat"),
        ];
        assert_eq!(found(subject.calls.clone(), CapSet::EMPTY), []);
        let notes = shown_less(&subject, CapSet::EMPTY);
        assert!(
            matches!(notes.as_slice(), [one] if one.starts_with("SYS_PTRACE is not recommended for what ")),
            "{notes:?}"
        );
        // Who holds as much, or the capability, sees all of it.
        assert!(shown_less(&subject, KILL).is_empty());
        assert!(shown_less(&subject, PTRACE).is_empty());
    }

    #[test]
    fn who_holds_more_than_what_is_recommended_takes_a_capability() {
        let renice = |held| call("setpriority", held, "");
        assert_eq!(found(vec![renice(KILL)], CapSet::EMPTY), [NICE]);
        assert_eq!(found(vec![renice(KILL)], KILL), []);
        assert_eq!(found(vec![renice(CapSet::EMPTY)], CapSet::EMPTY), []);
        assert_eq!(
            found(vec![renice(CapSet::from_bits(u64::MAX))], KILL),
            [NICE]
        );
        let open = |path| call("openat", KILL, path);
        assert_eq!(
            found(vec![open("/proc/1/environ")], CapSet::EMPTY),
            [PTRACE]
        );
        assert_eq!(
            found(vec![open("/proc/1/timerslack_ns")], CapSet::EMPTY),
            [NICE]
        );
        assert_eq!(found(vec![open("/proc/1/wchan")], CapSet::EMPTY), []);
    }

    #[test]
    fn what_a_link_is_called_says_nothing() {
        let open = |path, flags| {
            let mut call = call("openat", KILL, path);
            call.arguments[2] = flags;
            found(vec![call], CapSet::EMPTY)
        };
        for path in [
            "/tmp/stat",
            "/proc/self/cwd/stat",
            "/proc/7/cwd/stat",
            "stat",
            "/proc/x/stat",
        ] {
            assert_eq!(open(path, 0), [PTRACE], "{path}");
            assert_eq!(open(path, 1), [NICE, PTRACE], "{path}");
        }
        for path in ["/proc/7/stat", "/proc/7/task/8/stat"] {
            assert_eq!(open(path, 0), [], "{path}");
        }
        assert_eq!(open("/proc/7/task/8/timerslack_ns", 1), [NICE]);
        assert_eq!(open("/tmp/timerslack_ns", 1), [NICE, PTRACE]);
        assert_eq!(open("/proc/7/mem", 1), [PTRACE]);
    }

    #[test]
    fn counters_of_another_process_take_what_counts_in_the_namespace() {
        let of = |place| {
            let call = call("perf_event_open", KILL, "");
            let mut subject = SubjectRecord::new(Container::default());
            subject.checks = vec![CheckRecord::new(CheckIdentity {
                outcome: Outcome::Denied,
                requester: call.requester.clone(),
                place,
                ..CheckIdentity::usual(Capability::PERFMON, Some("perf_event_open"))
            })];
            subject.calls = vec![call];
            let reach = reaches(&subject).next()?;
            Some(reach.need(CapSet::EMPTY)?.satisfied_by()?.set())
        };
        assert_eq!(of(Place::Outer), Some(PTRACE));
        let any = [
            Capability::SYS_PTRACE,
            Capability::PERFMON,
            Capability::SYS_ADMIN,
        ];
        assert_eq!(of(Place::Own), Some(CapSet::of(&any)));
    }

    #[test]
    fn what_is_added_may_be_enough_for_others() {
        let reads = call("process_vm_readv", KILL, "");
        let renices = call("setpriority", PTRACE, "");
        assert_eq!(found(vec![reads, renices], CapSet::EMPTY), [PTRACE]);
    }

    #[test]
    fn what_shrinks_as_well_or_was_asked_for_takes_nothing() {
        let changed = |change: fn(&mut CallRecord)| {
            let mut call = call("ptrace", KILL, "");
            change(&mut call);
            found(vec![call], CapSet::EMPTY)
        };
        assert_eq!(changed(|_| ()), [PTRACE]);
        let of = |change: fn(&mut Target)| {
            let mut call = call("ptrace", KILL, "");
            call.target.iter_mut().for_each(change);
            found(vec![call], CapSet::EMPTY)
        };
        assert_eq!(of(|target| target.same_subject = true), []);
        assert_eq!(of(|target| target.same_user_namespace = false), []);
        assert_eq!(changed(|call| call.failed = true), []);
        assert_eq!(changed(|call| call.requester.setup = true), []);
    }
}
