//! When a task was started, whether it has ended and whether it is the kernel's own, from `/proc/PID/stat`.

use std::{fmt::Display, io};

/// What the file tells of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The task has ended, and waits to be reaped at most.
    pub has_ended: bool,
    /// The task is the kernel's own.
    pub is_kernel_thread: bool,
    /// When the task was started, in clock ticks since boot; `None` if the text ends before that.
    pub started: Option<u64>,
}

impl Stat {
    /// Parses the text (proc_pid_stat(5)); `None` if it is not the kernel's.
    pub fn parse(text: &[u8]) -> Option<Self> {
        /// include/linux/sched.h
        const PF_KTHREAD: u32 = 0x0020_0000;
        // The command name may hold anything, blanks and parentheses, too.
        let name_end = text.iter().rposition(|byte| *byte == b')')?;
        let fields = std::str::from_utf8(text.get(name_end + 1..)?).ok()?;
        // From the third: state, ppid, pgrp, session, tty_nr, tpgid, flags, … The start is the 22nd.
        let mut fields = fields.split_ascii_whitespace();
        let state = fields.next()?;
        let flags: u32 = fields.nth(5)?.parse().ok()?;
        let started = match fields.nth(12) {
            Some(field) => Some(field.parse().ok()?),
            None => None,
        };
        Some(Self {
            has_ended: matches!(state, "Z" | "X"),
            is_kernel_thread: flags & PF_KTHREAD != 0,
            started,
        })
    }

    /// Reads the file of a task: of a pid, or of `PID/task/TID`.
    ///
    /// # Errors
    ///
    /// The task is gone, or the text is not the kernel's.
    pub fn read(task: impl Display) -> io::Result<Self> {
        Self::parse(&std::fs::read(format!("/proc/{task}/stat"))?)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not as Linux writes it"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REST: &str = "1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 9 9";

    #[test]
    fn the_fields_are_found_behind_any_name() {
        for name in ["sh", "a) S 1", ") Z", "", "a)b (c"] {
            let stat = Stat::parse(format!("7 ({name}) S {REST}").as_bytes());
            let expected = Stat {
                has_ended: false,
                is_kernel_thread: false,
                started: Some(4711),
            };
            assert_eq!(stat, Some(expected), "{name:?}");
        }
    }

    #[test]
    fn states_and_flags_are_told_apart() {
        let parse = |text: &str| Stat::parse(text.as_bytes());
        for state in ["Z", "X"] {
            let stat = parse(&format!("7 (sh) {state} {REST}"));
            assert_eq!(stat.map(|stat| stat.has_ended), Some(true));
        }
        let kernels = parse("2 (kthreadd) S 0 0 0 0 -1 2129984 0");
        assert_eq!(kernels.map(|stat| stat.is_kernel_thread), Some(true));
        assert_eq!(kernels.and_then(|stat| stat.started), None);
    }

    #[test]
    fn what_is_cut_off_or_broken_is_refused() {
        for text in ["", "7", "7 (sh) S 1", "7 (sh) S 1 1 1 0 -1 x"] {
            assert_eq!(Stat::parse(text.as_bytes()), None, "{text:?}");
        }
        let broken = format!("7 (sh) S {REST}").replace("4711", "-1");
        assert_eq!(Stat::parse(broken.as_bytes()), None);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = Stat::parse(&text);
            let _ = Stat::parse(&[b"7 (sh) S ", &text[..]].concat());
        }
    }
}
