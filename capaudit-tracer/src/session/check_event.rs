//! Checks one by one, each with what became of the system call that made it.
//!
//! A check waits here for its call to return, a moment at most, so that they come out in the order in which they were
//! made.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use capaudit_common::event::{Check, Result as CallResult};
use capaudit_core::ledger::{CheckRecord, Sample, SubjectRecord};

use crate::{session::clock::time_of, subject::Execution};

/// How long a check waits for its call to return: one that blocks may take for ever.
const CALL_PATIENCE: Duration = Duration::from_millis(100);
/// How long a check waits for it to become known whose it is, and what the engine calls that.
const NAME_PATIENCE: Duration = Duration::from_millis(500);
/// Checks that wait; beyond that the oldest go on as they are.
const MOST_WAITING: usize = 1 << 15;

/// One check: a fact, which is for others to judge.
#[derive(Clone, Debug)]
pub struct CheckEvent {
    /// When the kernel made the check (UTC).
    pub time: jiff::Timestamp,
    /// Whose it is: name and kind of the subject, without its facts.
    pub subject: Arc<SubjectRecord>,
    /// Process id, in the initial pid namespace.
    pub pid: u32,
    /// Thread id, in the initial pid namespace.
    pub tid: u32,
    /// What was asked: a record of one check, with its only sample.
    pub record: CheckRecord,
    /// Inode number of the user namespace in which the capability was asked.
    pub target_namespace: u32,
    /// How deep that lies below the initial one.
    pub target_level: u32,
    /// Inode number of the user namespace of the examined credentials.
    pub credentials_namespace: u32,
    /// How deep that lies below the initial one.
    pub credentials_level: u32,
}

impl CheckEvent {
    /// A check of `subject`, of which `record` tells.
    pub fn of(pending: &PendingCheck, subject: Arc<SubjectRecord>, record: CheckRecord) -> Self {
        let check = &pending.check;
        Self {
            time: time_of(check.header.time),
            subject,
            pid: check.header.tgid,
            tid: check.header.tid,
            record,
            target_namespace: check.key.target_ns,
            target_level: check.target_level,
            credentials_namespace: check.key.cred_ns,
            credentials_level: check.cred_level,
        }
    }
}

/// Check events that wait for the result of their system call.
#[derive(Debug, Default)]
pub(super) struct PendingChecks {
    queue: VecDeque<PendingCheck>,
    /// Number of the first in the queue.
    first: u64,
    by_call: HashMap<(u32, u64), Vec<u64>>,
}

/// A check that waits.
#[derive(Debug)]
pub struct PendingCheck {
    /// As the kernel sent it.
    pub(super) check: Check,
    /// The same in words.
    pub(super) sample: Sample,
    /// Who asked, as it was known then: it may be forgotten soon.
    pub(super) execution: Option<Execution>,
    since: Instant,
    returned: bool,
}

impl PendingChecks {
    /// Takes a check, made by `execution` as far as that is known.
    pub(super) fn check(&mut self, check: &Check, sample: Sample, execution: Option<Execution>) {
        // 0: not made by a system call whose end is seen.
        let returned = check.call == 0;
        if !returned {
            let number = self.first + self.queue.len() as u64;
            let call = (check.header.tid, check.call);
            self.by_call.entry(call).or_default().push(number);
        }
        self.queue.push_back(PendingCheck {
            check: *check,
            sample,
            execution,
            since: Instant::now(),
            returned,
        });
    }

    /// Takes what a call returned.
    pub(super) fn result(&mut self, result: &CallResult) {
        let call = (result.header.tid, result.call);
        for number in self.by_call.remove(&call).unwrap_or_default() {
            let place = number.checked_sub(self.first).map(|place| place as usize);
            if let Some(waiting) = place.and_then(|place| self.queue.get_mut(place)) {
                waiting.sample.result = Some(result.value);
                waiting.returned = true;
            }
        }
    }

    /// The next check that need not wait any longer; `is_known` tells whether it is known whose it is. With `last`
    /// none waits.
    pub(super) fn next(
        &mut self,
        last: bool,
        is_known: impl Fn(&PendingCheck) -> bool,
    ) -> Option<PendingCheck> {
        let waiting = self.queue.front()?;
        let age = waiting.since.elapsed();
        let has_waited = (waiting.returned || age >= CALL_PATIENCE)
            && (age >= NAME_PATIENCE || is_known(waiting));
        if !(has_waited || last || self.queue.len() > MOST_WAITING) {
            return None;
        }
        let waiting = self.queue.pop_front()?;
        if !waiting.returned {
            let call = (waiting.check.header.tid, waiting.check.call);
            if let Some(numbers) = self.by_call.get_mut(&call) {
                numbers.retain(|number| *number != self.first);
                if numbers.is_empty() {
                    self.by_call.remove(&call);
                }
            }
        }
        self.first += 1;
        Some(waiting)
    }
}

#[cfg(test)]
mod tests {
    use capaudit_common::event::kind;

    use super::*;

    fn check(tid: u32, call: u64) -> Check {
        let mut bytes = vec![0; size_of::<Check>()];
        bytes[16..20].copy_from_slice(&kind::CHECK.to_ne_bytes());
        bytes[24..28].copy_from_slice(&tid.to_ne_bytes());
        match crate::probe::Event::decode(bytes.into()) {
            Some(crate::probe::Event::Check(mut check)) => {
                check.call = call;
                *check
            }
            other => panic!("{other:?}"),
        }
    }

    fn result(tid: u32, call: u64, value: i64) -> CallResult {
        let mut header = check(tid, call).header;
        header.kind = kind::RESULT;
        CallResult {
            header,
            call,
            value,
        }
    }

    fn sample() -> Sample {
        Sample {
            arguments: [0; 6],
            object: None,
            second: None,
            owner: None,
            ids: capaudit_core::ledger::UserIds::default(),
            result: None,
        }
    }

    #[test]
    fn the_order_is_kept_and_the_result_arrives() {
        let mut pending = PendingChecks::default();
        pending.check(&check(1, 10), sample(), None);
        pending.check(&check(2, 20), sample(), None);
        pending.result(&result(2, 20, -1));
        assert!(
            pending.next(false, |_| true).is_none(),
            "the first still waits"
        );
        pending.result(&result(1, 10, 0));
        let results: Vec<_> = std::iter::from_fn(|| pending.next(false, |_| true))
            .map(|waiting| waiting.sample.result)
            .collect();
        assert_eq!(results, [Some(0), Some(-1)]);
        assert!(pending.by_call.is_empty());
    }

    #[test]
    fn what_never_returns_goes_on_at_the_end_and_leaves_nothing() {
        let mut pending = PendingChecks::default();
        pending.check(&check(1, 10), sample(), None);
        assert!(pending.next(false, |_| true).is_none());
        assert!(pending.next(true, |_| false).is_some());
        assert!(pending.by_call.is_empty());
        pending.result(&result(1, 10, 0));
        pending.check(&check(1, 0), sample(), None);
        assert!(
            pending.next(false, |_| true).is_some(),
            "no call, no waiting"
        );
    }
}
