//! Needs of execve and capset, which no check shows.

use crate::{
    advise::Judgement,
    capability::CapSet,
    ledger::{CheckRecord, ExecRecord, Object},
};

/// execve of a file whose effective capabilities are not all in the bounding set fails with EPERM
/// (`bprm_caps_from_vfs_caps`, security/commoncap.c): each of them is a need, whatever the program does with it.
pub fn needs(exec: &ExecRecord) -> Vec<Judgement> {
    let Some(capabilities) = exec.capabilities.filter(|found| found.effective) else {
        return Vec::new();
    };
    capabilities
        .permitted
        .iter()
        .map(|capability| {
            Judgement::decisive(
                capability,
                format!(
                    "{} has it as an effective file capability: execve fails without it in the bounding set",
                    exec.exe
                ),
            )
        })
        .collect()
}

/// capset(2) fails if the permitted set asked for is not within the one held (`cap_capset`): a program that
/// keeps a fixed list needs all of it. One that keeps nearly everything has taken its own set and removed from
/// it, and needs nothing.
pub fn needs_of_capset(check: &CheckRecord) -> Vec<Judgement> {
    let kept: CapSet = check
        .samples
        .iter()
        .filter_map(|sample| match sample.object {
            Some(Object::Capset {
                held, permitted, ..
            }) if is_list(permitted, held) => Some(permitted),
            _ => None,
        })
        .flatten()
        .collect();
    kept.iter()
        .map(|capability| {
            Judgement::possible(
                capability,
                "kept with capset(2) in a list of the program's own making, which fails if it is not there to keep",
            )
        })
        .collect()
}

/// Whether `permitted` looks like a list rather than like what is left of `held`.
fn is_list(permitted: CapSet, held: CapSet) -> bool {
    let dropped = held.difference(permitted);
    !permitted.is_empty() && !dropped.is_empty() && permitted.len() <= dropped.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{capability::Capability, ledger::FileCapabilities};

    #[test]
    fn only_effective_file_capabilities_are_insisted_on() {
        let mut exec = ExecRecord {
            exe: "/usr/bin/ping".to_owned(),
            capabilities: Some(FileCapabilities {
                permitted: CapSet::from(Capability::NET_RAW),
                inheritable: CapSet::EMPTY,
                effective: true,
            }),
            setid: None,
            unseen: false,
            count: 1,
        };
        assert_eq!(needs(&exec).len(), 1);
        if let Some(capabilities) = &mut exec.capabilities {
            capabilities.effective = false;
        }
        assert!(needs(&exec).is_empty());
    }

    #[test]
    fn a_list_is_told_from_a_remainder() {
        let all = CapSet::known();
        let two = CapSet::of(&[Capability::NET_BIND_SERVICE, Capability::SYS_TIME]);
        assert!(is_list(two, all));
        assert!(!is_list(all.difference(two), all));
        assert!(
            !is_list(CapSet::EMPTY, all),
            "dropping everything always works"
        );
        assert!(!is_list(two, two), "keeping what one has");
    }
}
