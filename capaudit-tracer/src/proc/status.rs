//! The capability lines of `/proc/PID/status`.
//!
//! A parser of our own, for it also reads what people paste and save: a few of the lines, from any kernel. The kernel
//! escapes line breaks and backslashes in names (`proc_task_name`, fs/proc/array.c), so a process cannot forge a line;
//! everything else in a name is as hostile as it was.

use std::{fmt::Display, io};

use capaudit_core::capability::CapSet;
use serde::Serialize;
use thiserror::Error;

/// The five sets of a task, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum SetName {
    /// What counts when the kernel asks
    Effective,
    /// What the task may make effective
    Permitted,
    /// What an executed file with inheritable capabilities may get
    Inheritable,
    /// The limit of what execve can give
    Bounding,
    /// What programs without file capabilities keep
    Ambient,
}

impl SetName {
    /// All of them, what counts first.
    pub const ALL: [Self; 5] = [
        Self::Effective,
        Self::Permitted,
        Self::Inheritable,
        Self::Ambient,
        Self::Bounding,
    ];

    /// The set's name in capaudit's options and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Effective => "effective",
            Self::Permitted => "permitted",
            Self::Inheritable => "inheritable",
            Self::Bounding => "bounding",
            Self::Ambient => "ambient",
        }
    }

    /// What its line starts with.
    fn label(self) -> &'static str {
        match self {
            Self::Effective => "CapEff",
            Self::Permitted => "CapPrm",
            Self::Inheritable => "CapInh",
            Self::Bounding => "CapBnd",
            Self::Ambient => "CapAmb",
        }
    }
}

/// What seccomp does to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Seccomp {
    /// The kernel filters no system call.
    Off,
    /// Only read, write, exit and sigreturn are left.
    Strict,
    /// A BPF program decides about each system call.
    Filter,
}

impl Seccomp {
    /// The mode as capaudit's reports name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Strict => "strict",
            Self::Filter => "filter",
        }
    }
}

/// Real and effective user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Users {
    /// Whose process it is for signals and limits.
    pub real: u32,
    /// Whose rights it has.
    pub effective: u32,
}

/// What a status text tells; each part only if it has the line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Command name, unescaped: hostile.
    pub name: Option<String>,
    /// Real and effective user (`Uid:`); `None` if the text has no such line.
    pub users: Option<Users>,
    /// Process id of the parent; 0 for one that has none in the reader's pid namespace.
    pub parent: Option<u32>,
    /// Whether execve can give no privileges any more.
    pub no_new_privileges: Option<bool>,
    /// Mode of seccomp (`Seccomp:`); `None` if the text has no such line.
    pub seccomp: Option<Seccomp>,
    sets: [Option<CapSet>; 5],
}

/// A capability line that is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line} ({label}:) has no mask of 1 to 16 hex digits")]
pub struct ParseStatusError {
    line: usize,
    label: &'static str,
}

impl Status {
    /// Takes out what is known here and leaves out all else. Of a line that comes twice the first counts.
    ///
    /// # Errors
    ///
    /// A capability line does not hold a mask.
    pub fn parse(text: &str) -> Result<Self, ParseStatusError> {
        let mut status = Self::default();
        for (number, line) in text.lines().enumerate() {
            let Some((label, value)) = line.split_once(':') else {
                continue;
            };
            // A name may begin or end with blanks of its own.
            let name = value.strip_prefix('\t').unwrap_or(value);
            let (label, value) = (label.trim(), value.trim());
            match label {
                "Name" => {
                    status.name.get_or_insert_with(|| unescape(name));
                }
                "PPid" => status.parent = status.parent.or_else(|| value.parse().ok()),
                "Uid" => status.users = status.users.or_else(|| users(value)),
                "NoNewPrivs" => {
                    status.no_new_privileges = status.no_new_privileges.or(match value {
                        "0" => Some(false),
                        "1" => Some(true),
                        _ => None,
                    });
                }
                "Seccomp" => {
                    status.seccomp = status.seccomp.or(match value {
                        "0" => Some(Seccomp::Off),
                        "1" => Some(Seccomp::Strict),
                        "2" => Some(Seccomp::Filter),
                        _ => None,
                    });
                }
                _ => {
                    let Some(name) = SetName::ALL.into_iter().find(|set| set.label() == label)
                    else {
                        continue;
                    };
                    let set = mask(value).ok_or(ParseStatusError {
                        line: number + 1,
                        label: name.label(),
                    })?;
                    status.sets[name as usize].get_or_insert(set);
                }
            }
        }
        Ok(status)
    }

    /// Reads the file of a task: of a pid, of `self`, or of `PID/task/TID`.
    ///
    /// # Errors
    ///
    /// The task is gone, or the text is not the kernel's.
    pub fn read(task: impl Display) -> io::Result<Self> {
        // Names are bytes.
        let bytes = std::fs::read(format!("/proc/{task}/status"))?;
        Self::parse(&String::from_utf8_lossy(&bytes))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// One of the sets, if the text had its line. (Ambient sets are shown since Linux 4.3.)
    pub fn set(&self, name: SetName) -> Option<CapSet> {
        self.sets[name as usize]
    }

    /// The sets that the text had lines for.
    pub fn sets(&self) -> impl Iterator<Item = (SetName, CapSet)> {
        SetName::ALL
            .into_iter()
            .filter_map(|name| Some((name, self.set(name)?)))
    }
}

/// 1 to 16 hex digits.
pub(crate) fn mask(digits: &str) -> Option<CapSet> {
    // Checked first because from_str_radix takes a sign.
    let is_mask =
        (1..=16).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bits = u64::from_str_radix(digits, 16)
        .ok()
        .filter(|_bits| is_mask)?;
    Some(CapSet::from_bits(bits))
}

/// `Uid:` has real, effective, saved and file-system user.
fn users(value: &str) -> Option<Users> {
    let mut ids = value.split_ascii_whitespace();
    Some(Users {
        real: ids.next()?.parse().ok()?,
        effective: ids.next()?.parse().ok()?,
    })
}

/// Takes back what `proc_task_name` (fs/proc/array.c) does to line breaks and backslashes.
fn unescape(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    let mut characters = name.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('n') => plain.push('\n'),
                Some(other) => plain.push(other),
                None => plain.push('\\'),
            },
            _ => plain.push(character),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use capaudit_core::capability::DOCKER_DEFAULT;
    use proptest::prelude::*;

    use super::*;

    const NGINX: &str = "Name:\tnginx\nUmask:\t0022\nPPid:\t7\nUid:\t0\t33\t0\t33\nGid:\t0\t0\t0\t0\nCapInh:\t0000000000000000\n\
        CapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\n\
        NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";

    #[test]
    fn reads_what_the_kernel_writes() {
        let status = Status::parse(NGINX).unwrap();
        assert_eq!(status.name.as_deref(), Some("nginx"));
        let users = status.users.unwrap();
        assert_eq!((users.real, users.effective), (0, 33));
        assert_eq!(status.parent, Some(7));
        assert_eq!(status.no_new_privileges, Some(true));
        assert_eq!(status.seccomp, Some(Seccomp::Filter));
        assert_eq!(status.set(SetName::Effective), Some(DOCKER_DEFAULT));
        assert_eq!(status.set(SetName::Ambient), Some(CapSet::EMPTY));
        assert_eq!(status.sets().count(), 5);
    }

    #[test]
    fn reads_a_few_pasted_lines() {
        let status = Status::parse("  CapEff: 21\r\nnonsense\nCapBnd:\tffffffffffffffff").unwrap();
        let sets: Vec<_> = status
            .sets()
            .map(|(name, set)| (name, set.bits()))
            .collect();
        assert_eq!(
            sets,
            [(SetName::Effective, 0x21), (SetName::Bounding, u64::MAX)]
        );
        assert_eq!(Status::parse("").unwrap(), Status::default());
    }

    #[test]
    fn a_name_cannot_forge_a_line() {
        let status =
            Status::parse("Name:\tx\\nCapEff:\\t0\\\\n\nCapEff:\t1\nCapEff:\t0\nName:\ty\n")
                .unwrap();
        assert_eq!(status.name.as_deref(), Some("x\nCapEff:t0\\n"));
        assert_eq!(status.set(SetName::Effective).unwrap().bits(), 1);
    }

    #[test]
    fn a_broken_mask_is_an_error() {
        for mask in ["", "xyz", "+1", "-1", "10000000000000000", "1 2"] {
            let error = Status::parse(&format!("Name:\tx\nCapPrm:\t{mask}\n")).unwrap_err();
            assert_eq!(
                error.to_string(),
                "line 2 (CapPrm:) has no mask of 1 to 16 hex digits"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in prop_oneof![
            any::<String>(),
            "((Name|Uid|CapEff|CapAmb|Seccomp|NoNewPrivs):[\t ]?[0-9a-f\\\\n]{0,18}\n?){0,6}",
        ]) {
            let _ = Status::parse(&text);
        }

        #[test]
        fn what_the_kernel_wrote_is_read(name in "([^\0\r]|\r[^\0\r]){0,8}", masks in any::<[u64; 5]>()) {
            let escaped = name.replace('\\', "\\\\").replace('\n', "\\n");
            let lines: String = SetName::ALL
                .into_iter()
                .zip(masks)
                .map(|(set, mask)| format!("{}:\t{mask:016x}\n", set.label()))
                .collect();
            let status = Status::parse(&format!("Name:\t{escaped}\n{lines}")).unwrap();
            prop_assert_eq!(status.name.unwrap(), name);
            for (set, mask) in SetName::ALL.into_iter().zip(masks) {
                prop_assert_eq!(status.sets[set as usize].unwrap().bits(), mask);
            }
        }
    }
}
