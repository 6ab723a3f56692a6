//! How large a subject's record can become.
//!
//! What makes facts different is in the hands of what is observed: names of programs, arguments. Beyond these bounds
//! nothing is kept of a fact but what a recommendation takes, and that is counted as a loss of the subject.

use super::{CallRecord, CheckRecord, ExecRecord, Phases, SubjectRecord};

/// Checks, executions and system calls of one subject that are told apart.
pub(super) const MOST_FACTS: usize = 4096;

/// What files are called that are not told apart any more.
const OTHER_FILES: &str = "(other files)";
impl SubjectRecord {
    /// Adds a check that there is no room for as it is: the capability, the system call and what became of it stay. Without
    /// knowing for what it was asked, it counts as a need.
    pub(super) fn add_check_beyond(&mut self, mut check: CheckRecord) {
        self.lost.checks = self.lost.checks.saturating_add(check.count);
        let identity = &mut check.identity;
        identity.requester.exe.clear();
        identity.requester.comm.clear();
        identity.operation = 0;
        identity.callers.clear();
        check.samples.clear();
        let mut known = self.checks.iter_mut();
        match known.find(|known| known.identity == check.identity) {
            Some(known) => known.add(check),
            None => self.checks.push(check),
        }
    }

    /// Adds an execution that there is no room for: as one of which nothing is known.
    pub(super) fn add_exec_beyond(&mut self, exec: &ExecRecord) {
        let mut known = self.execs.iter_mut();
        match known.find(|known| known.unseen && known.exe == OTHER_FILES) {
            Some(known) => known.count = known.count.saturating_add(exec.count),
            None => self.execs.push(ExecRecord {
                exe: OTHER_FILES.to_owned(),
                capabilities: None,
                setid: None,
                unseen: true,
                ignored: false,
                count: exec.count,
                phases: Phases::default(),
            }),
        }
    }

    /// Counts system calls that there is no room for.
    pub(super) fn add_call_beyond(&mut self, call: &CallRecord) {
        self.lost.calls = self.lost.calls.saturating_add(call.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        capability::Capability,
        ledger::{CheckIdentity, Container, Ledger, Session, Subject, unite_beyond},
        report::Report,
    };

    /// Of a program whose name is new each time, as of one that renames itself (PR_SET_NAME).
    fn check(number: usize, capability: Capability) -> CheckRecord {
        let mut record = CheckRecord::new(CheckIdentity::usual(capability, Some("kill")));
        record.identity.requester.comm = format!("x{number}");
        record.identity.operation = number as u32;
        record.count = 1;
        record
    }

    #[test]
    fn a_million_different_checks_are_few_records_and_a_loss_of_whose_they_are() {
        const MANY: usize = 1_000_000;
        let mut hostile = SubjectRecord::new(Subject::Command);
        let mut other = SubjectRecord::new(Container::default());
        for number in 0..MANY {
            let mut check = check(number, Capability::KILL);
            if number >= MOST_FACTS {
                // As the kernel's totals come, many at a time: what is compared with each is not what is tested.
                check.count = (MANY - MOST_FACTS) as u64;
            }
            hostile.add_check(check);
            if number >= MOST_FACTS {
                break;
            }
        }
        hostile.add_check(check(MANY, Capability::SYS_TIME));
        other.add_check(check(1, Capability::CHOWN));
        assert!(hostile.checks.len() <= MOST_FACTS + 2);
        let counted: u64 = hostile.checks.iter().map(|it| it.count).sum();
        assert_eq!(counted, MANY as u64 + 1, "every check is counted");
        assert_eq!(hostile.lost.checks, (MANY - MOST_FACTS) as u64 + 1);
        let ledger = Ledger {
            schema: super::super::SCHEMA.to_owned(),
            session: Session::new(crate::ledger::Hook::TpBtf),
            subjects: vec![hostile, other],
        };
        let report = Report::of(&ledger);
        let [hostile, other] = <[_; 2]>::try_from(report.subjects)
            .unwrap_or_else(|subjects| panic!("{} subjects", subjects.len()));
        // What came when there was no room is needed all the same.
        assert_eq!(hostile.cap_add.to_string(), "CAP_KILL,CAP_SYS_TIME");
        assert_eq!(hostile.incomplete.len(), 1);
        assert!(other.incomplete.is_empty() && other.losses.is_none());
    }

    #[test]
    fn executions_and_calls_have_bounds_too() {
        let mut subject = SubjectRecord::new(Container::default());
        for number in 0..MOST_FACTS + 7 {
            subject.add_exec(ExecRecord {
                exe: format!("/{number}"),
                capabilities: None,
                setid: None,
                unseen: false,
                ignored: false,
                count: 1,
                phases: Phases::default(),
            });
            subject.add_call(CallRecord {
                operation: number as u32,
                ..CallRecord::sample("prctl")
            });
        }
        assert_eq!(subject.execs.len(), MOST_FACTS + 1);
        assert_eq!(subject.calls.len(), MOST_FACTS);
        assert_eq!((subject.losses().files, subject.losses().calls), (7, 7));
        assert!(!subject.is_complete());
    }

    #[test]
    fn ten_thousand_containers_become_few_and_nothing_of_them_is_forgotten() {
        let subjects = (0..10_000).map(|number| {
            let mut subject = SubjectRecord::new(Container {
                id: Some(format!("{number:064x}")),
                ..Container::default()
            });
            subject.name = format!("c{number}");
            subject.lost.events = 1;
            subject.add_check(check(0, Capability::KILL));
            subject
        });
        let few = unite_beyond(subjects.collect(), 100);
        assert_eq!(few.len(), 100);
        let count = few.iter().flat_map(|it| &it.checks).map(|it| it.count);
        assert_eq!(count.sum::<u64>(), 10_000);
        assert_eq!(few.iter().map(|it| it.lost.events).sum::<u64>(), 10_000);
        assert_eq!(few[98].name, "c98");
        assert_eq!(few[99].name, "other containers");
    }
}
