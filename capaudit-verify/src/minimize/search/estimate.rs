//! How many runs are still to be made.

use super::{
    super::{Fate, Purpose, Trials, known::Verdict},
    Search,
};

impl<T: Trials> Search<'_, T> {
    /// Runs to be expected after the next one.
    pub(super) fn left(&self, purpose: &Purpose) -> usize {
        let known = self.known.of(&self.current) == Some(Verdict::Passes);
        let removed = self
            .fates
            .iter()
            .any(|(_grant, fate)| *fate == Fate::Removed);
        let last = usize::from(removed || !known);
        match purpose {
            Purpose::Confirm => 0,
            Purpose::Whole => self.todo.len() + usize::from(removed),
            Purpose::Without(together) if together.len() > 1 => {
                self.todo.len().saturating_sub(together.len()) + last
            }
            Purpose::Without(_) | Purpose::Granted | Purpose::Added(_) => self.todo.len() + last,
        }
    }
}
