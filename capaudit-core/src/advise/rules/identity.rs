//! Checks about users, groups and capabilities themselves.

use super::{Definition, site};
use crate::{
    advise::{Fact, Meaning, Rule},
    capability::{Capability, Release},
    ledger::{Object, Sample},
};

/// setuid(2) and setgid(2) ask before they look whether anything changes (`__sys_setuid`, kernel/sys.c). If
/// real, effective and saved id are the one asked for already, the call succeeds without and does nothing.
pub(super) const SETUID_TO_SELF: Definition = Definition {
    rule: Rule::SetuidToSelf,
    apply: |fact| {
        let identity = &fact.check.identity;
        let unchanged: fn(&Sample) -> bool = match identity.syscall.as_deref()? {
            "setuid" => |sample| {
                let ids = sample.ids;
                [ids.uid, ids.euid, ids.suid, ids.fsuid]
                    .iter()
                    .all(|id| u64::from(*id) == sample.arguments[0] & 0xffff_ffff)
            },
            "setgid" => |sample| {
                let ids = sample.ids;
                [ids.gid, ids.egid, ids.sgid, ids.fsgid]
                    .iter()
                    .all(|id| u64::from(*id) == sample.arguments[0] & 0xffff_ffff)
            },
            _ => return None,
        };
        (fact.subject.user_namespace_level == 0 && fact.check.samples().every(unchanged))
            .then(|| Meaning::noise("sets the ids that the process has already"))
    },
};

/// capset(2) always asks for SETPCAP, and uses the answer only where the new inheritable set has members that
/// were neither inheritable nor permitted (`cap_capset`, security/commoncap.c).
pub(super) const CAPSET_INHERITABLE: Definition = Definition {
    rule: Rule::CapsetInheritable,
    apply: |fact| {
        let identity = &fact.check.identity;
        if !identity.is(Capability::SETPCAP) || !identity.by_syscall(&["capset"]) {
            return None;
        }
        let idle = |sample: &Sample| match &sample.object {
            Some(Object::Capset {
                held,
                held_inheritable,
                inheritable,
                ..
            }) => inheritable.is_subset(held.union(*held_inheritable)),
            _ => false,
        };
        fact.check
            .samples()
            .every(idle)
            .then(|| Meaning::noise("asked by every capset(2); this one adds nothing inheritable"))
    },
};

/// prctl(PR_SET_SECUREBITS) asks for SETPCAP whatever changes, and does without the answer where nothing changes but bits that user
/// space obeys by itself (`SECURE_ALL_UNPRIVILEGED` with its locks; `cap_task_prctl`, security/commoncap.c, since 6.14). Which
/// bits were set before is not known: if only such bits are set now, others may have been taken away.
pub(super) const SECURE_BITS_OF_EVERYBODY: Definition = Definition {
    rule: Rule::SecureBitsOfEverybody,
    apply: |fact| {
        const PR_SET_SECUREBITS: u64 = 28;
        const OF_EVERYBODY: u64 = 0b1111 << 8;
        let identity = &fact.check.identity;
        let is_one = |sample: &Sample| {
            sample.arguments[0] == PR_SET_SECUREBITS
                && sample.arguments[1] != 0
                && sample.arguments[1] & !OF_EVERYBODY == 0
        };
        (identity.is(Capability::SETPCAP)
            && identity.by_syscall(&["prctl"])
            && site::release(fact).is_some_and(|release| release >= Release(6, 14))
            && fact.check.samples().every(is_one))
        .then(|| {
            Meaning::possible(
                identity.capability,
                "sets secure bits that everybody may set, as long as no other ones are taken away",
            )
        })
    },
};

/// libpam records each of its steps. Whether it goes on if the kernel does not take the record depends on its release: since 1.3.0
/// EPERM is no failure (`_pam_audit_writelog`, libpam/pam_audit.c), before that only for other users than root. The record tells
/// which: since 1.2.0 it names the modules that granted (`grantors=`). That leaves 1.2 as root, of 2015, which is told.
pub(super) const AUDIT_RECORD_OF_RECENT_PAM: Definition = Definition {
    rule: Rule::AuditRecordOfRecentPam,
    apply: |fact| {
        let names_grantors =
            |sample: &Sample| record_of_pam(sample).is_some_and(|text| text.contains(" grantors="));
        (is_audit_record(fact) && fact.check.samples().every(names_grantors)).then(
            || {
                Meaning::noise(
                    "libpam's records in the kernel's audit log, without which it goes on since 1.3.0 (2016); 1.2, as root, does not",
                )
            },
        )
    },
};

/// Records of an older libpam, which fails as root if the kernel does not take them.
pub(super) const AUDIT_RECORD_OF_PAM: Definition = Definition {
    rule: Rule::AuditRecordOfPam,
    apply: |fact| {
        let is_of_pam = |sample: &Sample| record_of_pam(sample).is_some();
        (is_audit_record(fact) && fact.check.samples().every(is_of_pam))
        .then(|| {
            Meaning::possible(
                fact.check.identity.capability,
                "writes libpam's records into the kernel's audit log, which libpam does without when refused, unless it is an old release and runs as root",
            )
        })
    },
};

fn is_audit_record(fact: &Fact<'_>) -> bool {
    let identity = &fact.check.identity;
    identity.is(Capability::AUDIT_WRITE) && identity.by_syscall(&["sendto", "sendmsg"])
}

/// The text of libpam's record, if that is what was sent.
fn record_of_pam(sample: &Sample) -> Option<&str> {
    match &sample.object {
        Some(Object::Netlink { text, .. }) if text.starts_with("op=PAM:") => Some(text),
        _ => None,
    }
}

/// The kernel answers EPERM to a record that it will not take (`audit_netlink_ok`, kernel/audit.c). What that
/// means is up to the sender.
pub(super) const AUDIT_RECORD: Definition = Definition {
    rule: Rule::AuditRecord,
    apply: |fact| {
        is_audit_record(fact).then(|| {
            Meaning::possible(
                fact.check.identity.capability,
                "writes a record into the kernel's audit log, which some programs do without when refused",
            )
        })
    },
};
