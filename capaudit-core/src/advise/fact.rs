//! What a rule judges.

use crate::ledger::{CheckRecord, Session, SubjectRecord};

/// A fact, in the company of those that it may depend on.
#[derive(Clone, Copy, Debug)]
pub struct Fact<'a> {
    /// The check that is judged, with its count and samples.
    pub check: &'a CheckRecord,
    /// The subject that made the check.
    pub subject: &'a SubjectRecord,
    /// The session that recorded it, and how completely.
    pub session: &'a Session,
}
