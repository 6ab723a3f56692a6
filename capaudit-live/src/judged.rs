//! Check events with what they mean. The tracer hands out facts; here they are judged. Pure.

use std::sync::Arc;

use capaudit_core::{
    advise::{Assessment, Fact, acted_upon, judge},
    ledger::{CheckRecord, Session, SubjectRecord},
};
use capaudit_tracer::session::check_event::CheckEvent;

/// A check event, judged.
#[derive(Clone, Debug)]
pub struct JudgedCheck {
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
    /// What the call acted upon, in words; empty if unknown.
    pub object: String,
    /// What it means, as far as this check alone tells.
    pub judgement: Assessment,
    /// Inode number of the user namespace in which the capability was asked.
    pub target_namespace: u32,
    /// How deep that lies below the initial one.
    pub target_level: u32,
    /// Inode number of the user namespace of the examined credentials.
    pub credentials_namespace: u32,
    /// How deep that lies below the initial one.
    pub credentials_level: u32,
}

impl JudgedCheck {
    /// Judges a check event of `session`.
    pub fn of(event: CheckEvent, session: &Session) -> Self {
        let CheckEvent {
            time,
            subject,
            pid,
            tid,
            record,
            target_namespace,
            target_level,
            credentials_namespace,
            credentials_level,
        } = event;
        let judgement = judge(&Fact {
            check: &record,
            subject: &subject,
            session,
        });
        let syscall = record.identity.syscall.as_deref().unwrap_or_default();
        let sample = record.samples().seen().first();
        let object = sample.map(|sample| acted_upon(syscall, sample));
        Self {
            time,
            pid,
            tid,
            object: object.unwrap_or_default(),
            judgement: judgement.into(),
            target_namespace,
            target_level,
            credentials_namespace,
            credentials_level,
            subject,
            record,
        }
    }

    /// What the call returned, if that was seen; negative is an errno.
    pub fn result(&self) -> Option<i64> {
        self.record.samples().seen().first()?.result
    }
}

/// Judges check events in their order.
pub fn judged(events: Vec<CheckEvent>, session: &Session) -> Vec<JudgedCheck> {
    events
        .into_iter()
        .map(|event| JudgedCheck::of(event, session))
        .collect()
}
