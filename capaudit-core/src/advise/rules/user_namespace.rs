//! Needs of mapping ids into a user namespace, which no check shows.

use crate::{
    advise::{Judgement, Meaning, Rule},
    capability::Capability,
    ledger::{CheckRecord, Outcome, Place, Sample, SubjectRecord},
};

/// What writes a map of user ids.
const WRITES_UID_MAP: &[&str] = &["proc_uid_map_write"];

/// The need of a write to uid_map that maps the parent's root: in one's own new namespace it fails unless the maker held
/// SETFCAP when it made that (`verify_root_map`, kernel/user_namespace.c, since Linux 5.12, which reads
/// `parent_could_setfcap`). Root that asks for no SETUID in the parent can only map itself (`new_idmap_permitted`); with
/// SETUID or from within another namespace, the ids that it maps are not known. Who writes another process's map is
/// asked for SETFCAP.
pub(crate) fn need(check: &CheckRecord, subject: &SubjectRecord) -> Option<Judgement> {
    let identity = &check.identity;
    let writes = identity.called_from(WRITES_UID_MAP)
        && identity.is(Capability::SYS_ADMIN)
        && identity.place != Place::Own
        && identity.outcome == Outcome::Granted
        && !identity.requester.setup;
    // One that only failed has mapped nothing.
    if !writes || (check.succeeded == 0 && check.failed >= check.count) {
        return None;
    }
    let asks_for = |capability: Capability| {
        subject.checks.iter().any(|other| {
            other.identity.is(capability)
                && other.identity.place == Place::Own
                && other.identity.requester.exe == identity.requester.exe
                && other.identity.called_from(WRITES_UID_MAP)
        })
    };
    if asks_for(Capability::SETFCAP) {
        return None; // judged by that check
    }
    // Ids are those of the initial namespace.
    let may_be_root = |sample: &Sample| sample.ids.euid == 0 || subject.user_namespace_level > 0;
    let root = check.samples().may_show(may_be_root);
    let others = asks_for(Capability::SETUID);
    if !root && !others {
        return None;
    }
    let surely = !others && subject.user_namespace_level == 0 && check.samples().shows(may_be_root);
    let reason = "maps its own root into a user namespace that it made, which fails unless it held this when it made it";
    let meaning = if surely {
        Meaning::decisive(Capability::SETFCAP, reason)
    } else {
        Meaning::possible(
            Capability::SETFCAP,
            "maps ids into a user namespace that it made, which fails if root is among them and it did not hold this when it made it",
        )
    };
    Some(meaning.by(Rule::MapsRoot))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        advise::Evidence,
        ledger::{CheckIdentity, Container, Credentials, Requester, UserIds},
    };

    fn check(capability: Capability, place: Place, euid: u32) -> CheckRecord {
        let mut check = CheckRecord::new(CheckIdentity {
            capability,
            outcome: Outcome::Granted,
            requester: Requester {
                exe: "/usr/bin/unshare".to_owned(),
                comm: "unshare".to_owned(),
                setup: false,
            },
            place,
            inner_credentials: place != Place::Own,
            credentials: Credentials::Own,
            options: None,
            syscall: Some("write".to_owned()),
            operation: 0,
            callers: ["file_ns_capable", "map_write", "proc_uid_map_write"]
                .map(str::to_owned)
                .to_vec(),
        });
        check.count = 1;
        check.succeeded = 1;
        check.add_sample(Sample {
            arguments: [0; 6],
            object: None,
            second: None,
            owner: None,
            ids: UserIds {
                euid,
                ..UserIds::default()
            },
            result: Some(8),
        });
        check
    }

    fn found(level: u32, checks: Vec<CheckRecord>) -> Option<Evidence> {
        let subject = SubjectRecord {
            user_namespace_level: level,
            checks,
            ..SubjectRecord::new(Container::default())
        };
        let judgement = need(&subject.checks[0], &subject)?;
        assert_eq!(judgement.satisfied_by(), Some(Capability::SETFCAP.into()));
        Some(judgement.evidence())
    }

    #[test]
    fn root_that_maps_itself_needs_setfcap() {
        let map = |euid| check(Capability::SYS_ADMIN, Place::Inner, euid);
        assert_eq!(found(0, vec![map(0)]), Some(Evidence::Decisive));
        assert_eq!(
            found(0, vec![map(1000)]),
            None,
            "who maps itself is not root"
        );
        assert_eq!(found(1, vec![map(100_000)]), Some(Evidence::Possible));
        let setuid = check(Capability::SETUID, Place::Own, 1000);
        assert_eq!(
            found(0, vec![map(1000), setuid]),
            Some(Evidence::Possible),
            "any ids"
        );
        let setfcap = check(Capability::SETFCAP, Place::Own, 0);
        assert_eq!(found(0, vec![map(0), setfcap]), None, "it was asked");
    }

    #[test]
    fn groups_and_failures_need_nothing() {
        let mut groups = check(Capability::SYS_ADMIN, Place::Inner, 0);
        groups.identity.callers[2] = "proc_gid_map_write".to_owned();
        assert_eq!(found(0, vec![groups]), None);
        let mut failed = check(Capability::SYS_ADMIN, Place::Inner, 0);
        (failed.succeeded, failed.failed) = (0, 1);
        assert_eq!(found(0, vec![failed]), None);
    }
}
