//! Capabilities by name, and sets of them.

use std::{fmt, str::FromStr};

use anyhow::{Result, anyhow};
use serde::Deserialize;

/// The kernel's capabilities; the index is the number.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// A set of capabilities, written with blanks between, in the kernel's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct Set(u64);

impl Set {
    /// No capability.
    pub const EMPTY: Self = Self(0);

    /// Every capability there is.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);

    /// The set of a mask such as `/proc/PID/status` shows, as far as the bits have names.
    pub fn from_mask(mask: u64) -> Self {
        Self(mask & Self::ALL.0)
    }

    /// The one called `name`, with or without `CAP_`.
    pub fn of(name: &str) -> Result<Self> {
        let bare = name.strip_prefix("CAP_").unwrap_or(name);
        let number = NAMES.iter().position(|known| *known == bare);
        number
            .map(|number| Self(1 << number))
            .ok_or_else(|| anyhow!("there is no capability {name:?}"))
    }

    /// The names, in the kernel's order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES
            .into_iter()
            .enumerate()
            .filter(move |(number, _)| self.0 & (1 << number) != 0)
            .map(|(_, name)| name)
    }

    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Two sets of about the same size that make up this one.
    pub fn halves(self) -> (Self, Self) {
        let mut first = Self::EMPTY;
        while first.len() < self.len() / 2 {
            let rest = self.without(first).0;
            first.0 |= rest & rest.wrapping_neg();
        }
        (first, self.without(first))
    }
}

impl TryFrom<Vec<String>> for Set {
    type Error = anyhow::Error;

    fn try_from(names: Vec<String>) -> Result<Self> {
        names
            .iter()
            .try_fold(Self::EMPTY, |set, name| Ok(set.union(Self::of(name)?)))
    }
}

impl FromStr for Set {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        text.split_whitespace()
            .try_fold(Self::EMPTY, |set, name| Ok(set.union(Self::of(name)?)))
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.names().collect();
        f.pad(&if names.is_empty() {
            "(none)".to_owned()
        } else {
            names.join(" ")
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn sets_are_written_in_the_kernels_order() {
        let set: Set = "SETUID CAP_CHOWN".parse().unwrap();
        assert_eq!(set.to_string(), "CHOWN SETUID");
        assert_eq!(set, Set::from_mask(0x81));
        assert_eq!(Set::EMPTY.to_string(), "(none)");
    }

    #[test]
    fn unknown_names_are_refused() {
        assert!("CHOWN FLY".parse::<Set>().is_err());
        assert!(serde_json::from_str::<Set>(r#"["FLY"]"#).is_err());
        assert_eq!(
            serde_json::from_str::<Set>(r#"["KILL"]"#).unwrap(),
            Set::from_mask(0x20)
        );
    }

    #[test]
    fn halves_make_up_the_whole() {
        let (first, second) = Set::ALL.halves();
        assert_eq!((first.len(), second.len()), (20, 21));
        assert_eq!(first.union(second), Set::ALL);
        assert!(first.intersection(second).is_empty());
        assert_eq!(Set::from_mask(1).halves(), (Set::EMPTY, Set::from_mask(1)));
    }

    #[test]
    fn bits_without_a_name_are_left_out() {
        assert_eq!(Set::from_mask(u64::MAX), Set::ALL);
        assert_eq!(Set::ALL.len(), 41);
    }
}
