//! What the command writes, as lines that are safe to show.

use std::collections::VecDeque;

use capaudit_core::text::sanitize;

/// Lines that are kept.
pub(super) const MOST: usize = 2000;
/// Bytes of a line that are kept.
const LONGEST: usize = 1000;

/// The last lines of the command's output.
#[derive(Debug, Default)]
pub struct Output {
    ended: VecDeque<String>,
    unfinished: Vec<u8>,
}

impl Output {
    /// Takes what the command wrote next.
    pub fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => self.end_line(),
                _ if self.unfinished.len() < LONGEST => self.unfinished.push(*byte),
                _ => {}
            }
        }
    }

    fn end_line(&mut self) {
        if self.ended.len() == MOST {
            self.ended.pop_front();
        }
        self.ended.push_back(self.unfinished());
        self.unfinished.clear();
    }

    /// Lines that have ended, oldest first.
    pub fn ended(&self) -> &VecDeque<String> {
        &self.ended
    }

    /// The line that the command has not ended yet.
    pub fn unfinished(&self) -> String {
        let line = self.unfinished.strip_suffix(b"\r");
        let text = String::from_utf8_lossy(line.unwrap_or(&self.unfinished));
        sanitize(&text.replace('\t', "    "))
    }
}
