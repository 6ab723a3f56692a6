//! What is missing from the record of a subject, in sentences for people.

use crate::{
    ledger::{Deputy, Kind, Losses, Remaining, SubjectRecord, Unseen},
    text::{quoted, sanitize},
};

/// Files that are named one by one.
const MOST_NAMED: usize = 3;

/// Why the record of a subject is incomplete, each cause in one text; empty if it is complete.
pub(super) fn incomplete(subject: &SubjectRecord) -> Vec<String> {
    let mut sentences: Vec<String> = subject
        .unseen
        .iter()
        .map(|unseen| sentence(unseen, &subject.name))
        .collect();
    let is_explained = subject
        .unseen
        .iter()
        .any(|unseen| matches!(unseen, Unseen::AllButExecuted | Unseen::EarlierStart));
    if !subject.seen_from_start && !is_explained {
        sentences.insert(0, ran_already(subject.kind()).to_owned());
    }
    sentences.extend(unseen_files(subject));
    sentences.extend(lost(&subject.lost));
    sentences
}

/// What the kernel side lost meanwhile.
fn lost(losses: &Losses) -> Option<String> {
    (!losses.is_none()).then(|| {
        format!(
            "while it ran, not everything could be recorded ({losses} lost), and some of that may be its own. Run again with {}.",
            losses.remedy()
        )
    })
}

fn unseen_files(subject: &SubjectRecord) -> Option<String> {
    let mut files: Vec<&str> = subject.unseen_files().map(|it| it.exe.as_str()).collect();
    files.sort_unstable();
    files.dedup();
    let named: Vec<String> = files.iter().take(MOST_NAMED).map(|it| quoted(it)).collect();
    let more = match files.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!named.is_empty()).then(|| {
        format!(
            "it executed {}{more}, which could not be inspected: gone too soon, or on a file system that did not answer. Whether they have capabilities is not known.",
            named.join(", ")
        )
    })
}

fn ran_already(kind: Kind) -> &'static str {
    match kind {
        Kind::Container => {
            "it ran already when the audit began, so what it asks when it starts was not seen. Have it made anew while it is audited: a container that is only started again keeps what it did to its files before."
        }
        Kind::Command | Kind::Process => {
            "it ran already when the audit began, so what it asks when it starts was not seen. Start it under `capaudit run`."
        }
    }
}

fn sentence(unseen: &Unseen, name: &str) -> String {
    match unseen {
        Unseen::AllButExecuted => format!(
            "it ran already when the audit began, and only what was executed in it during the audit (by docker exec, say) was seen. `capaudit attach --container {}` follows all of it; its start is seen only if it is made anew while it is audited.",
            quoted(name)
        ),
        Unseen::EarlierStart => {
            "it was made before the audit began, and only started again while it was audited: what it did to its files when it was started before, it need not do again. Have it made anew while it is audited (docker rm, or compose up --force-recreate).".to_owned()
        }
        Unseen::Rest { processes, count } => still_running(processes, *count),
        Unseen::Delegated {
            to,
            command,
            object,
        } => delegated(*to, command, object),
    }
}

fn still_running(processes: &[Remaining], count: u64) -> String {
    let mut named: Vec<String> = processes
        .iter()
        .map(|process| format!("{} {}", process.comm, process.pid))
        .collect();
    let more = count.saturating_sub(processes.len() as u64);
    if more > 0 {
        named.push(format!("and {more} more"));
    }
    format!(
        "still running when the audit ended: {}. What they ask later was not seen; with --wait-children, capaudit goes on until they have ended.",
        named.join(", ")
    )
}

fn delegated(to: Deputy, command: &str, object: &str) -> String {
    let (who, how) = match to {
        Deputy::Engine => (
            "a container engine",
            match object {
                "" => "Run capaudit on the machine that its containers run on, while they start or attached to them (`capaudit attach --container NAME`)".to_owned(),
                name => format!("Run capaudit on the machine that the container runs on: `capaudit attach --container {}`", quoted(name)),
            },
        ),
        Deputy::ServiceManager => (
            "the service manager",
            match object {
                "" => "Audit the service itself: `capaudit attach --cgroup /system.slice/NAME.service`, or its ExecStart under `capaudit run`".to_owned(),
                name => format!("Audit the service itself: `capaudit attach --cgroup {}`, or its ExecStart under `capaudit run`", quoted(&format!("/system.slice/{name}"))),
            },
        ),
        Deputy::Bus => (
            "a service on the message bus",
            "Audit the service that answers: `capaudit watch` shows which asks for what".to_owned(),
        ),
        Deputy::Scheduler => (
            "the scheduler",
            "Audit what it is to run under `capaudit run`".to_owned(),
        ),
    };
    format!(
        "`{}` had {who} do the work, and what that asked for was not seen. {how}.",
        sanitize(command)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Container, ExecRecord, Phases, Subject};

    fn told(
        identity: impl Into<Subject>,
        unseen: Vec<Unseen>,
        seen_from_start: bool,
    ) -> Vec<String> {
        incomplete(&SubjectRecord {
            name: "web".to_owned(),
            unseen,
            seen_from_start,
            ..SubjectRecord::new(identity)
        })
    }

    #[test]
    fn each_cause_is_told_once() {
        assert_eq!(told(Subject::Command, vec![], true), [""; 0]);
        let of_start = told(Container::default(), vec![], false);
        assert!(of_start[0].contains("made anew"), "{of_start:?}");
        for cause in [Unseen::AllButExecuted, Unseen::EarlierStart] {
            let told = told(Container::default(), vec![cause], false);
            assert_eq!(told.len(), 1, "{told:?}");
        }
        let rest = Unseen::Rest {
            processes: vec![Remaining {
                comm: "sleep".to_owned(),
                pid: 7,
            }],
            count: 3,
        };
        let told = told(Subject::Command, vec![rest], true);
        assert!(told[0].contains("sleep 7, and 2 more"), "{told:?}");
    }

    #[test]
    fn what_was_executed_and_not_seen_is_a_loss_of_that_subject() {
        let exec = |exe: &str, unseen| ExecRecord {
            exe: exe.to_owned(),
            capabilities: None,
            setid: None,
            unseen,
            ignored: false,
            count: 1,
            phases: Phases::default(),
        };
        let mut subject = SubjectRecord::new(Container::default());
        subject.execs = vec![exec("/bin/seen", false)];
        assert!(subject.is_complete() && incomplete(&subject).is_empty());
        subject.execs = ["/d", "/c", "/b $x", "/a", "/a"]
            .map(|exe| exec(exe, true))
            .into();
        assert!(!subject.is_complete());
        let told = incomplete(&subject);
        assert!(
            told.len() == 1 && told[0].starts_with("it executed /a, '/b $x', /c and 1 more,"),
            "{told:?}"
        );
    }

    #[test]
    fn whoever_did_the_work_is_named_with_a_way_to_follow_that() {
        for (to, object, way) in [
            (Deputy::Engine, "web", "attach --container web"),
            (Deputy::Engine, "", "attach --container NAME"),
            (
                Deputy::ServiceManager,
                "nginx.service",
                "/system.slice/nginx.service",
            ),
            (Deputy::Bus, "", "capaudit watch"),
            (Deputy::Scheduler, "", "capaudit run"),
        ] {
            let unseen = Unseen::Delegated {
                to,
                command: "x y".to_owned(),
                object: object.to_owned(),
            };
            let told = told(Subject::Command, vec![unseen], true);
            assert!(
                told[0].starts_with("`x y` had ") && told[0].contains(way),
                "{told:?}"
            );
        }
    }
}
