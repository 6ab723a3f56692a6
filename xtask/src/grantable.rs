//! Which capabilities this engine on this kernel can grant to a container.
//!
//! An engine refuses names that it does not know, and cannot grant what its own bounding set lacks.

use std::fs;

use anyhow::{Context, Result, bail};
use capaudit_core::capability::{CapSet, Capability};

use crate::{
    command,
    docker::Client,
    scenario::{BASE_IMAGE, capability_arguments},
};

/// What came of asking for a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// The container started with these.
    Granted(CapSet),
    /// The engine does not know this one.
    Unknown(Capability),
    /// The set cannot be granted, and the engine does not say on whose account.
    Refused,
}

/// Asks for everything at once and narrows it down, which takes about five short runs.
pub(crate) fn find(docker: &Client) -> Result<CapSet> {
    // The engine's bounding set is not ours to see if it runs elsewhere, but it is likely to equal ours.
    let likely = own_bounding_set()?;
    let mut ask = |set| ask(docker, set);
    let granted = narrow(likely, &mut ask)?;
    Ok(granted | narrow(CapSet::known() - likely, &mut ask)?)
}

/// The members of `wanted` that are granted.
fn narrow(mut wanted: CapSet, ask: &mut impl FnMut(CapSet) -> Result<Answer>) -> Result<CapSet> {
    while !wanted.is_empty() {
        match ask(wanted)? {
            Answer::Granted(set) => return Ok(set),
            Answer::Unknown(capability) => wanted -= capability.into(),
            Answer::Refused if wanted.len() == 1 => break,
            Answer::Refused => {
                let first: CapSet = wanted.iter().take(wanted.len() / 2).collect();
                return Ok(narrow(first, ask)? | narrow(wanted - first, ask)?);
            }
        }
    }
    Ok(CapSet::EMPTY)
}

/// Starts a container that may use `set` and looks at what it has.
fn ask(docker: &Client, set: CapSet) -> Result<Answer> {
    let mut run = docker.command(["run", "--rm", "--network", "none"]);
    run.args(capability_arguments(set))
        .args([BASE_IMAGE, "grep", "CapBnd", "/proc/self/status"]);
    let output = command::output_of(&mut run)?;
    if output.status.success() {
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        return Ok(Answer::Granted(bounding_set(&shown)? & set));
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    match refusal(&complaint, set)? {
        Some(answer) => Ok(answer),
        None => bail!(
            "cannot find out which capabilities Docker grants: {}",
            command::complaint(&output)
        ),
    }
}

/// Reads Docker's complaint about a set it was asked to grant; `None` if the trouble is another.
fn refusal(complaint: &str, asked: CapSet) -> Result<Option<Answer>> {
    if let Some((_, rest)) = complaint.split_once("unknown capability: \"") {
        let unknown = rest.split('"').next().unwrap_or_default().parse()?;
        if asked.contains(unknown) {
            return Ok(Some(Answer::Unknown(unknown)));
        }
    }
    Ok(complaint
        .contains("unable to apply caps")
        .then_some(Answer::Refused))
}

fn own_bounding_set() -> Result<CapSet> {
    bounding_set(&fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?)
}

/// The set in the `CapBnd:` line of a process's status.
fn bounding_set(status: &str) -> Result<CapSet> {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))
        .context("no CapBnd line")?;
    let mask = u64::from_str_radix(mask.trim(), 16)
        .with_context(|| format!("odd bounding set {mask:?}"))?;
    Ok(CapSet::from_bits(mask) & CapSet::known())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const ALL: CapSet = CapSet::known();

    fn set(names: &str) -> CapSet {
        names.parse().unwrap()
    }

    /// An engine that knows `known` and can grant `grantable`.
    fn asked_of(known: CapSet, grantable: CapSet, wanted: CapSet) -> (CapSet, usize) {
        let mut runs = 0;
        let found = narrow(wanted, &mut |asked: CapSet| {
            runs += 1;
            Ok(match (asked - known).iter().next() {
                Some(unknown) => Answer::Unknown(unknown),
                None if asked.is_subset(grantable) => Answer::Granted(asked),
                None => Answer::Refused,
            })
        });
        (found.unwrap(), runs)
    }

    #[test]
    fn one_run_does_where_everything_is_granted() {
        assert_eq!(asked_of(ALL, ALL, ALL), (ALL, 1));
    }

    #[test]
    fn unknown_names_cost_a_run_each() {
        let known = ALL - set("PERFMON BPF CHECKPOINT_RESTORE");
        assert_eq!(asked_of(known, known, ALL), (known, 4));
    }

    #[test]
    fn what_is_refused_without_a_name_is_found_by_halving() {
        let grantable = ALL - set("SYS_RESOURCE");
        let (found, runs) = asked_of(ALL, grantable, ALL);
        assert_eq!(found, grantable);
        assert!(runs <= 13, "{runs} runs");
        assert_eq!(
            asked_of(ALL, grantable, set("SYS_RESOURCE")),
            (CapSet::EMPTY, 1)
        );
    }

    #[test]
    fn dockers_complaints_are_told_apart() {
        let asked = set("CHOWN BPF");
        let unknown =
            "docker: Error response from daemon: invalid CapAdd: unknown capability: \"CAP_BPF\".";
        assert_eq!(
            refusal(unknown, asked).unwrap(),
            Some(Answer::Unknown(Capability::BPF))
        );
        let refused = "runc create failed: unable to apply caps: operation not permitted: unknown.";
        assert_eq!(refusal(refused, asked).unwrap(), Some(Answer::Refused));
        assert_eq!(refusal("no such image", asked).unwrap(), None);
        // A name that was not asked for would be left out for ever.
        assert_eq!(
            refusal("unknown capability: \"CAP_KILL\"", asked).unwrap(),
            None
        );
    }

    #[test]
    fn the_bounding_set_is_read_from_the_status() {
        assert_eq!(
            bounding_set("Name:\tgrep\nCapBnd:\t0000000000000021\n").unwrap(),
            set("CHOWN KILL")
        );
        assert!(bounding_set("Name:\tgrep\n").is_err());
    }
}
