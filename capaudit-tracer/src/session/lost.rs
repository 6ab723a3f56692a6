//! Whose what was lost may be. Pure.
//!
//! The kernel side counts what it has no room for, and does not know whose it was. So it may be that of any subject that
//! lived between two looks at its counters, and is a loss of each of them; of what ended before or began later, it is none.

use capaudit_core::ledger::Losses;

use crate::{session::facts::Facts, subject::Tracker};

/// What was lost by the last look.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// All of it.
    known: Losses,
    /// What was lost between the last two looks. The record by which a subject would have been met may be among it: one that
    /// is met later has lost that, too.
    last: Losses,
}

impl Lost {
    /// Looks: `losses` is all that was lost by now. To be called with no record outstanding, if that is possible.
    pub(super) fn attribute(
        &mut self,
        losses: Losses,
        (tracker, facts): (&mut Tracker, &mut Facts),
    ) {
        let fresh = losses.since(&self.known);
        if !(fresh.is_none() && self.last.is_none()) {
            for (id, is_new) in tracker.lived() {
                let mut lost = fresh.clone();
                if is_new {
                    lost.add(&self.last);
                }
                if !lost.is_none() {
                    facts.subject(id, tracker.get(id)).lost.add(&lost);
                }
            }
        }
        tracker.next_window();
        self.last = fresh;
        self.known = losses;
    }
}
