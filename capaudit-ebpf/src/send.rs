//! Records on their way to user space, and when that is woken for them.
//!
//! To wake another task costs the one that is traced several times as much as to record something: up to 10 µs where an idle
//! processor has to be interrupted. So user space is woken at once only for what it has to look at while it is still there, else now
//! and then; it looks by itself, too (`session::observation`).

use aya_ebpf::maps::ring_buf::RingBufEntry;

use crate::maps::{EVENTS, WOKEN};

/// How soon user space has to have a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Haste {
    /// While the process it is about is still as it was: more about it is read from /proc.
    Now,
    /// Whenever it looks next.
    Later,
}

/// Nanoseconds for which nobody is woken again for what is not urgent.
const REST: u64 = 10_000_000;

/// The same where an eighth of the ring buffer is used up already. Two processors need ten times as long for the rest.
const SHORT_REST: u64 = 1_000_000;
const FILLED: u64 = 8;

/// `BPF_RB_NO_WAKEUP`, `BPF_RB_FORCE_WAKEUP`. By default the kernel wakes for a record if there was none before it, which after one
/// without a wake-up it would not.
const NO_WAKEUP: u64 = 1;
const FORCE_WAKEUP: u64 = 2;

/// `BPF_RB_AVAIL_DATA`, `BPF_RB_RING_SIZE` of bpf_ringbuf_query
const USED: u64 = 0;
const SIZE: u64 = 1;

/// Submits a record of the moment `now`.
#[inline(always)]
pub fn submit<T>(entry: RingBufEntry<T>, now: u64, haste: Haste) {
    entry.submit(if is_to_wake(now, haste) {
        FORCE_WAKEUP
    } else {
        NO_WAKEUP
    });
}

/// Whether one part in `parts` of the ring buffer is used up.
#[inline(always)]
pub fn is_filled(parts: u64) -> bool {
    EVENTS.query(USED) > EVENTS.query(SIZE) / parts
}

#[inline(always)]
fn is_to_wake(now: u64, haste: Haste) -> bool {
    let Some(woken) = WOKEN.get_ptr_mut(0) else {
        return true;
    };
    // SAFETY: a map value, read and written as a whole; between processors, one wake-up too many is the worst.
    unsafe {
        let rested = now.wrapping_sub(*woken);
        if haste == Haste::Later && (rested < SHORT_REST || (rested < REST && !is_filled(FILLED))) {
            return false;
        }
        *woken = now;
    }
    true
}
