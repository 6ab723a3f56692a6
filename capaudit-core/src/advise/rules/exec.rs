//! Needs of execve, which no check shows.

use crate::{
    advise::{Judgement, Meaning, Rule},
    ledger::ExecRecord,
};

/// execve of a file whose effective capabilities are not all in the bounding set fails with EPERM
/// (`bprm_caps_from_vfs_caps`, security/commoncap.c, Linux 6.12): each of them is a need, whatever the program does with
/// it, whoever executes it, and under no_new_privs, too, which takes them away afterwards. Where the kernel does not look
/// at what the file carries, it is a file like any other.
pub(crate) fn needs(exec: &ExecRecord) -> Vec<Judgement> {
    let counts = exec.capabilities.filter(|it| it.effective && !exec.ignored);
    let Some(capabilities) = counts else {
        return Vec::new();
    };
    capabilities
        .permitted
        .iter()
        .map(|capability| {
            Meaning::decisive(
                capability,
                format!(
                    "{} has it as an effective file capability: execve fails without it in the bounding set",
                    exec.exe
                ),
            )
            .by(Rule::FileCapabilities)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::{CapSet, Capability, FileCapabilities};

    #[test]
    fn only_effective_file_capabilities_are_insisted_on() {
        let mut exec = ExecRecord {
            exe: "/usr/bin/ping".to_owned(),
            capabilities: Some(FileCapabilities {
                permitted: CapSet::from(Capability::NET_RAW),
                inheritable: CapSet::EMPTY,
                effective: true,
                root_id: None,
            }),
            setid: None,
            unseen: false,
            ignored: false,
            count: 1,
            phases: crate::ledger::Phases::default(),
        };
        assert_eq!(needs(&exec).len(), 1);
        exec.ignored = true;
        assert!(needs(&exec).is_empty(), "on a mount with nosuid");
        exec.ignored = false;
        if let Some(capabilities) = &mut exec.capabilities {
            capabilities.effective = false;
        }
        assert!(needs(&exec).is_empty());
    }
}
