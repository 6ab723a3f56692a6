//! How what is granted to a subject reaches programs that are not root's.
//!
//! execve gives root all that is in the bounding set. Another user gets what is ambient, what the executed file has, and
//! everything by a set-user-ID file of root's (`cap_bprm_creds_from_file`, security/commoncap.c, Linux 6.12).

use serde::{Deserialize, Serialize};

use crate::{
    advise::{Judgement, seccomp},
    capability::{CapSet, Capability},
    ledger::{CheckRecord, Credentials, Outcome, Place, SubjectRecord},
};

/// A file that gives whoever executes it capabilities.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PrivilegedFile {
    /// Its path, as it was executed.
    pub exe: String,
    /// Whether it is a set-user-ID file of root's, which gives all that the bounding set has.
    pub set_user_id: bool,
    /// Whether it could not be inspected, and may be anything. Left out if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unseen: bool,
    /// What it gives as file capabilities, as far as the bounding set has it.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    pub gives: CapSet,
    /// What of the recommendation somebody else than root was granted because of it: `no_new_privs` takes that away.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    pub needed: CapSet,
}

/// `S_ISUID`, include/uapi/linux/stat.h.
const SET_USER_ID: u32 = 0o4000;

/// The files of which the kernel honoured the privileges, by path.
pub(super) fn privileged_files(
    subject: &SubjectRecord,
    recommended: CapSet,
) -> Vec<PrivilegedFile> {
    let mut files: Vec<PrivilegedFile> = Vec::new();
    for exec in subject.execs.iter().filter(|exec| !exec.ignored) {
        let set_user_id = exec
            .setid
            .is_some_and(|file| file.mode & SET_USER_ID != 0 && file.uid == 0);
        let gives = exec
            .capabilities
            .map(|file| file.permitted | file.inheritable)
            .unwrap_or_default();
        if gives.is_empty() && !set_user_id && !exec.unseen {
            continue;
        }
        match files.iter_mut().find(|known| known.exe == exec.exe) {
            Some(known) => {
                known.set_user_id |= set_user_id;
                known.unseen |= exec.unseen;
                known.gives |= gives;
            }
            None => files.push(PrivilegedFile {
                exe: exec.exe.clone(),
                set_user_id,
                unseen: exec.unseen,
                gives,
                needed: CapSet::EMPTY,
            }),
        }
    }
    for file in &mut files {
        file.needed = subject
            .checks
            .iter()
            .filter(|check| is_granted(check) && check.identity.requester.exe == file.exe)
            .filter(|check| check.samples().shows(|it| !is_root(it.ids.uid, subject)))
            .map(|check| check.identity.capability)
            .collect::<CapSet>()
            & recommended
            & file.may_give(false);
    }
    files.sort_by(|one, other| one.exe.cmp(&other.exe));
    files
}

impl PrivilegedFile {
    /// What of a grant may reach whoever executes it. Under `no_new_privs` no file gives anything, but execve still insists on what
    /// a file has as effective capabilities.
    pub fn may_give(&self, no_new_privileges: bool) -> CapSet {
        let is_all = self.unseen || (self.set_user_id && !no_new_privileges);
        match is_all {
            true => CapSet::known(),
            false => self.gives,
        }
    }
}

/// What of the recommendation has an engine's seccomp profile allow system calls, whoever makes them: profiles go by what a
/// container is granted, not by what a program holds.
pub(super) fn unlocks_calls(subject: &SubjectRecord, recommended: CapSet) -> CapSet {
    seccomp::needs(subject)
        .iter()
        .filter_map(Judgement::satisfied_by)
        .fold(CapSet::EMPTY, |set, any| set | any.set())
        & recommended
}

/// What a subject that was not started as root held all the same, other than by a file: what its engine made ambient. Empty for
/// root, and where it cannot be told who is.
pub(super) fn held_by_user(subject: &SubjectRecord, files: &[PrivilegedFile]) -> CapSet {
    if subject.uid == 0 || subject.user_namespace_level > 0 {
        return CapSet::EMPTY;
    }
    let by_file = |exe: &str| files.iter().any(|file| file.exe == exe);
    let by_user = |check: &&CheckRecord| check.samples().may_show(|sample| sample.ids.euid != 0);
    subject
        .checks
        .iter()
        .filter(|check| is_granted(check) && !by_file(&check.identity.requester.exe))
        .filter(by_user)
        .map(|check| check.identity.capability)
        .collect()
}

/// The subject's program held it: not its runtime, not in a namespace of its own making.
fn is_granted(check: &CheckRecord) -> bool {
    let identity = &check.identity;
    identity.outcome == Outcome::Granted
        && identity.place == Place::Own
        && identity.credentials == Credentials::Own
        && !identity.inner_credentials
        && !identity.requester.setup
}

/// In a user namespace, its root is the user that the subject was started as, if any.
fn is_root(uid: u32, subject: &SubjectRecord) -> bool {
    match subject.user_namespace_level {
        0 => uid == 0,
        _ => uid == subject.uid,
    }
}

/// What only the initial user namespace is asked for, so that it counts for nothing in any other one (callers of `capable`
/// and `netlink_capable`; read from Linux 6.1 and 6.12). `SYS_TIME` also governs the offsets of a time namespace that has no
/// process yet, which no engine leaves to its containers. The audit system answers to nobody in another user namespace
/// (`audit_netlink_ok`, kernel/audit.c).
pub const ONLY_INITIAL: CapSet = CapSet::of(&[
    Capability::LINUX_IMMUTABLE,
    Capability::SYS_MODULE,
    Capability::SYS_RAWIO,
    Capability::SYS_PACCT,
    Capability::SYS_TIME,
    Capability::SYS_TTY_CONFIG,
    Capability::MKNOD,
    Capability::LEASE,
    Capability::AUDIT_WRITE,
    Capability::AUDIT_CONTROL,
    Capability::AUDIT_READ,
    Capability::MAC_OVERRIDE,
    Capability::SYSLOG,
    Capability::WAKE_ALARM,
    Capability::BLOCK_SUSPEND,
]);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        capability::FileCapabilities,
        ledger::{CheckIdentity, Container, ExecRecord, FileOwner, Phases, Sample, UserIds},
    };

    fn exec(exe: &str, capabilities: &[Capability], setid: Option<(u32, u32)>) -> ExecRecord {
        ExecRecord {
            exe: exe.to_owned(),
            capabilities: (!capabilities.is_empty()).then(|| FileCapabilities {
                permitted: capabilities.iter().copied().collect(),
                inheritable: CapSet::EMPTY,
                effective: true,
                root_id: None,
            }),
            setid: setid.map(|(uid, mode)| FileOwner { uid, gid: 0, mode }),
            unseen: false,
            ignored: false,
            count: 1,
            phases: Phases::default(),
        }
    }

    fn check(exe: &str, capability: Capability, (uid, euid): (u32, u32)) -> CheckRecord {
        let mut identity = CheckIdentity::usual(capability, Some("socket"));
        identity.requester.exe = exe.to_owned();
        let mut check = CheckRecord::new(identity);
        check.add_sample(Sample {
            arguments: [0; 6],
            object: None,
            second: None,
            owner: None,
            ids: UserIds {
                uid,
                euid,
                ..UserIds::default()
            },
            result: None,
        });
        check
    }

    fn subject(uid: u32, execs: Vec<ExecRecord>, checks: Vec<CheckRecord>) -> SubjectRecord {
        SubjectRecord {
            uid,
            execs,
            checks,
            ..SubjectRecord::new(Container::default())
        }
    }

    const RAW: CapSet = CapSet::of(&[Capability::NET_RAW]);

    #[test]
    fn a_file_is_needed_for_what_another_user_got_by_it() {
        let of = |asker: (u32, u32), recommended| {
            let ping = exec("/bin/ping", &[Capability::NET_RAW], None);
            let by_ping = check("/bin/ping", Capability::NET_RAW, asker);
            privileged_files(&subject(0, vec![ping], vec![by_ping]), recommended)
        };
        assert_eq!(of((33, 33), RAW)[0].needed, RAW);
        assert_eq!(
            of((0, 0), RAW)[0].needed,
            CapSet::EMPTY,
            "root has it anyway"
        );
        assert_eq!(
            of((33, 33), CapSet::EMPTY)[0].needed,
            CapSet::EMPTY,
            "nothing needs it"
        );
    }

    #[test]
    fn root_s_set_user_id_files_give_everything_and_others_nothing() {
        let of = |owner, mode| {
            let file = exec("/bin/su", &[], Some((owner, mode)));
            privileged_files(&subject(1000, vec![file], vec![]), CapSet::EMPTY)
        };
        let su = of(0, 0o104_755);
        assert!(su[0].set_user_id && su[0].may_give(false) == CapSet::known());
        assert_eq!(su[0].may_give(true), CapSet::EMPTY);
        assert_eq!(of(7, 0o104_755), [], "not root's");
        assert_eq!(of(0, 0o102_755), [], "set-group-ID");
        let mut ignored = exec("/bin/su", &[], Some((0, 0o104_755)));
        ignored.ignored = true;
        assert_eq!(
            privileged_files(&subject(1000, vec![ignored], vec![]), CapSet::EMPTY),
            []
        );
        let mut unseen = exec("/gone", &[], None);
        unseen.unseen = true;
        let files = privileged_files(&subject(1000, vec![unseen], vec![]), CapSet::EMPTY);
        assert_eq!(
            files[0].may_give(true),
            CapSet::known(),
            "it may have been one"
        );
    }

    #[test]
    fn a_user_holds_what_is_ambient_and_not_what_a_file_gave() {
        let of = |uid, checks: Vec<CheckRecord>| {
            let su = exec("/bin/su", &[], Some((0, 0o104_755)));
            let subject = subject(uid, vec![su], checks);
            held_by_user(&subject, &privileged_files(&subject, CapSet::EMPTY))
        };
        let by = |exe, ids| vec![check(exe, Capability::NET_RAW, ids)];
        assert_eq!(of(1000, by("/bin/tcpdump", (1000, 1000))), RAW);
        assert_eq!(of(1000, by("/bin/su", (1000, 1000))), CapSet::EMPTY);
        assert_eq!(
            of(1000, by("/bin/sh", (1000, 0))),
            CapSet::EMPTY,
            "root by then"
        );
        assert_eq!(of(0, by("/bin/tcpdump", (1000, 1000))), CapSet::EMPTY);
        let mut refused = by("/bin/tcpdump", (1000, 1000));
        refused[0].identity.outcome = Outcome::Denied;
        assert_eq!(of(1000, refused), CapSet::EMPTY);
    }
}
