//! What the kernel side has to say, for the program's log: `aya-log` carries it there.
//!
//! Nothing is said for each of many: of what happens again and again on a processor, the first, the second, the fourth and so on.
//! Whether anything is said at all is a constant to the verifier (`AYA_LOG_LEVEL`), which leaves out what is not.

use aya_log_ebpf::{
    macro_support::{Level, level_enabled},
    warn,
};
use capaudit_common::scope::loss;

/// Length of all texts in [`LOST`], so that there is one piece of code to copy them.
const LENGTH: usize = 56;

/// What was lost, by the index of its counter, with spaces behind it. Empty is what is no loss.
#[unsafe(no_mangle)]
static LOST: [[u8; LENGTH]; loss::COUNT as usize] = {
    let mut texts = [[b' '; LENGTH]; loss::COUNT as usize];
    let mut index = 0;
    while index < texts.len() {
        let text: &[u8] = match index as u32 {
            loss::RING => b"the ring buffer had no room for a record",
            loss::CHECKS => b"the map of checks is full, one has only its capability",
            loss::SITES => b"the map of call sites is full, one is not remembered",
            loss::PROCESSES => b"the map of processes is full, one is not followed",
            loss::CALLS => b"the map of system calls is full, one is not remembered",
            loss::STACKS => b"a stack could not be walked",
            loss::RETURNS => b"the return of a check was not seen",
            _ => b"",
        };
        let mut at = 0;
        while at < text.len() {
            texts[index][at] = text[at];
            at += 1;
        }
        index += 1;
    }
    texts
};

/// Says that something was lost for the `number`th time on this processor, if it is worth a line.
#[inline(always)]
pub fn lost(index: u32, number: u64) {
    if !level_enabled(Level::Warn) || !number.is_power_of_two() || index == loss::UNSENT {
        return;
    }
    if let Some(text) = LOST.get(index as usize) {
        // SAFETY: ASCII.
        let text = unsafe { core::str::from_utf8_unchecked(text) };
        warn!((), "number {} on this processor: {}", number, text);
    }
}
