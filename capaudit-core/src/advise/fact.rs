//! What a rule judges.

use crate::ledger::{CheckRecord, Session, SubjectRecord};

/// A fact, in the company of those that it may depend on.
#[derive(Clone, Copy, Debug)]
pub struct Fact<'a> {
    /// The check.
    pub check: &'a CheckRecord,
    /// Whose it is.
    pub subject: &'a SubjectRecord,
    /// How it was recorded.
    pub session: &'a Session,
}
