//! Records on their way to user space, and when that is woken for them.
//!
//! To wake another task costs the one that is traced several times as much as to record something: up to 10 µs where an idle
//! processor has to be interrupted. And on a preemptible kernel whoever is woken may run before the program that woke it has come to
//! its end; what it does then is not seen, as the kernel runs no program within itself (`recursion_misses`), and counts as a loss.
//! So the programs that user space comes past all the time itself, those on checks and system calls, wake nobody: while there is
//! something to read, it looks every few milliseconds anyway (`session::observation`).

use aya_ebpf::maps::ring_buf::RingBufEntry;

use crate::maps::{EVENTS, WOKEN};

/// When user space is woken for a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Always: more about it is read from /proc, while the process is still as it was.
    AtOnce,
    /// If that has not been done for a while.
    NowAndThen,
    /// Only if the ring buffer would not have room for long.
    IfFilled,
}

/// Nanoseconds for which nobody is woken again but for [`Wake::AtOnce`].
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
pub fn submit<T>(entry: RingBufEntry<T>, now: u64, wake: Wake) {
    entry.submit(if is_due(now, wake) {
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
fn is_due(now: u64, wake: Wake) -> bool {
    let Some(woken) = WOKEN.get_ptr_mut(0) else {
        return true;
    };
    // SAFETY: a map value, read and written as a whole; between processors, one wake-up too many is the worst.
    unsafe {
        let rested = now.wrapping_sub(*woken);
        let is_due = match wake {
            Wake::AtOnce => true,
            Wake::NowAndThen if rested >= REST => true,
            Wake::NowAndThen | Wake::IfFilled => rested >= SHORT_REST && is_filled(FILLED),
        };
        if is_due {
            *woken = now;
        }
        is_due
    }
}
