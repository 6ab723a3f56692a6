//! All that is known of a capability, put together for one kernel.
//!
//! The facts are data elsewhere: what it allows and is worth in [`crate::capability`], what seccomp unlocks with it in
//! [`crate::advise::seccomp`]. Here is only what of it holds for the kernel at hand.

mod text;

use std::collections::HashSet;

use serde::Serialize;

use crate::{
    advise::seccomp,
    capability::{Capability, DOCKER_DEFAULT, PODMAN_DEFAULT, Release, Source},
};

pub use text::{list, page};

/// The kernel that explanations are for.
#[derive(Clone, Debug, Default)]
pub struct Kernel {
    /// Its release as uname(2) tells it.
    pub release: String,
    /// Its functions, by name; empty if it hides them.
    pub functions: HashSet<String>,
}

/// Explanations: the contract capaudit.explain/1.
#[derive(Clone, Debug, Serialize)]
pub struct Explanations {
    /// Name and version of the format: `capaudit.explain/1`.
    pub schema: &'static str,
    /// Release of the kernel they are for.
    pub kernel: String,
    /// Releases whose sources `asked_by` was read from.
    pub sources: [String; 2],
    /// In the order in which they were asked for.
    pub capabilities: Vec<Explanation>,
}

/// What there is to say of one capability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The capability that is explained, written without `CAP_`.
    pub name: Capability,
    /// Its number in the kernel.
    pub number: u8,
    /// What it allows.
    pub allows: &'static str,
    /// What an attacker gains by it in a container.
    pub danger: &'static str,
    /// The same as a number: 0 nothing, 100 the machine.
    pub power: u8,
    /// The same as a class.
    pub level: Level,
    /// Docker grants it unasked.
    pub docker_default: bool,
    /// Podman grants it unasked.
    pub podman_default: bool,
    /// System calls that the engines' default seccomp profiles allow only with it, or with another that they name.
    pub seccomp_unlocks: Vec<Unlocked>,
    /// How to do without.
    pub instead: &'static str,
    /// Kernel functions that ask for it, as far as this kernel may have them.
    pub asked_by: Vec<Function>,
}

/// What a seccomp profile unlocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unlocked {
    /// Whose default profile it is, as `Docker's`.
    pub profile: &'static str,
    /// Where it is published.
    pub source: &'static str,
    /// Versions of the profile that were read.
    pub versions: &'static str,
    /// The calls; clone only with flags for new namespaces.
    pub calls: Vec<&'static str>,
}

/// How bad a capability is in a taken-over container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Little or nothing.
    Low,
    /// Harms other processes, or the host's availability.
    Medium,
    /// Root inside the container, or the host's secrets.
    High,
    /// A way out of the container, or into the kernel.
    Escape,
}

impl Level {
    /// The classes that [`Capability::power`] is made of.
    fn of(power: u8) -> Self {
        match power {
            0..=40 => Self::Low,
            41..=60 => Self::Medium,
            61..=80 => Self::High,
            _ => Self::Escape,
        }
    }

    /// The level in one word, as JSON has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Escape => "escape",
        }
    }
}

/// A kernel function that asks for a capability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Function {
    /// Its name in the source.
    pub function: &'static str,
    /// Its source file, relative to the root of the kernel's sources.
    pub file: &'static str,
    /// What is being done when it asks.
    pub about: &'static str,
    /// Releases whose source has it.
    pub sources: Vec<String>,
    /// Whether this kernel has a symbol of its name. If not, it may be part of its caller, in a module that is not loaded, or
    /// not built. Null if the kernel hides its symbols.
    pub symbol: Option<bool>,
}

fn name_of(release: Release) -> String {
    format!("{}.{}", release.0, release.1)
}

impl Kernel {
    fn has(&self, function: &str) -> Option<bool> {
        if self.functions.is_empty() {
            return None;
        }
        // How SYSCALL_DEFINE names a system call on x86-64 (arch/x86/include/asm/syscall_wrapper.h).
        let of_call = [format!("__x64_{function}"), format!("__do_{function}")];
        Some(
            self.functions.contains(function)
                || of_call.iter().any(|name| self.functions.contains(name)),
        )
    }

    /// Explains the given capabilities, in the given order, for this kernel.
    pub fn explain(&self, capabilities: &[Capability]) -> Explanations {
        Explanations {
            schema: "capaudit.explain/1",
            kernel: self.release.clone(),
            sources: [name_of(Release::OLD), name_of(Release::NEW)],
            capabilities: capabilities
                .iter()
                .map(|one| self.explanation(*one))
                .collect(),
        }
    }

    fn explanation(&self, capability: Capability) -> Explanation {
        let release = Release::parse(&self.release);
        let asked_by = capability
            .asked_by()
            .iter()
            // Of a kernel that does not say what it is, nothing is left out.
            .filter(|row| release.is_none_or(|release| row.source.may_be_in(release)))
            .map(|row| Function {
                function: row.function,
                file: row.file,
                about: row.about,
                sources: match row.source {
                    Source::Both => vec![name_of(Release::OLD), name_of(Release::NEW)],
                    Source::Before => vec![name_of(Release::OLD)],
                    Source::After => vec![name_of(Release::NEW)],
                },
                symbol: self.has(row.function),
            })
            .collect();
        Explanation {
            name: capability,
            number: capability.number(),
            allows: capability.summary(),
            danger: capability.danger(),
            power: capability.power(),
            level: Level::of(capability.power()),
            docker_default: DOCKER_DEFAULT.contains(capability),
            podman_default: PODMAN_DEFAULT.contains(capability),
            seccomp_unlocks: seccomp::unlocked(capability)
                .into_iter()
                .map(|(profile, calls)| Unlocked {
                    profile: profile.name,
                    source: profile.source,
                    versions: profile.versions,
                    calls,
                })
                .collect(),
            instead: capability.instead(),
            asked_by,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(release: &str, functions: &[&str]) -> Kernel {
        Kernel {
            release: release.to_owned(),
            functions: functions.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn asked(kernel: &Kernel, capability: Capability) -> Vec<(&'static str, Option<bool>)> {
        let explained = kernel.explanation(capability);
        explained
            .asked_by
            .iter()
            .map(|row| (row.function, row.symbol))
            .collect()
    }

    #[test]
    fn functions_of_other_releases_are_left_out() {
        let old = kernel("6.1.0-18-amd64", &["generic_setlease"]);
        assert_eq!(
            asked(&old, Capability::LEASE),
            [("generic_setlease", Some(true))]
        );
        let new = kernel("6.18.44", &["capable"]);
        assert_eq!(
            asked(&new, Capability::LEASE),
            [("vfs_setlease", Some(false))]
        );
        let between = kernel("6.6.1", &[]);
        assert_eq!(
            asked(&between, Capability::LEASE),
            [("generic_setlease", None), ("vfs_setlease", None)]
        );
        assert_eq!(asked(&kernel("?", &[]), Capability::LEASE).len(), 2);
    }

    #[test]
    fn system_calls_are_found_by_their_symbol() {
        for symbol in ["__x64_sys_acct", "__do_sys_acct"] {
            let found = asked(&kernel("6.18", &[symbol]), Capability::SYS_PACCT);
            assert_eq!(found, [("sys_acct", Some(true))]);
        }
    }

    #[test]
    fn what_seccomp_unlocks_is_told() {
        let of = |capability| -> Vec<Vec<&str>> {
            let explanation = Kernel::default().explanation(capability);
            let unlocked = explanation.seccomp_unlocks.into_iter();
            unlocked.map(|unlocked| unlocked.calls).collect()
        };
        assert_eq!(of(Capability::SYS_BOOT), [["reboot"]], "Podman allows it");
        assert_eq!(of(Capability::SYS_RAWIO), [["ioperm", "iopl"]; 2]);
        assert!(of(Capability::CHOWN).is_empty());
        for name in ["mount", "unshare", "clone", "bpf", "setns"] {
            assert!(of(Capability::SYS_ADMIN)[0].contains(&name), "{name}");
        }
    }

    #[test]
    fn levels_are_those_of_power() {
        let of = |capability: Capability| Kernel::default().explanation(capability).level;
        assert_eq!(of(Capability::NET_BIND_SERVICE), Level::Low);
        assert_eq!(of(Capability::NET_RAW), Level::Medium);
        assert_eq!(of(Capability::NET_ADMIN), Level::High);
        assert_eq!(of(Capability::SYS_ADMIN), Level::Escape);
    }
}
