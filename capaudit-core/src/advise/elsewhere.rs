//! What was not asked for because somebody allows it to everybody here: with other defaults it takes a capability.

use serde::{Deserialize, Serialize};

use super::{Evidence, Use, object::object_text};
use crate::{
    capability::{CapSet, Capability},
    ledger::{CallRecord, Object, SubjectRecord},
};

/// A capability that is needed where the engine or the machine does not allow to everybody what it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Elsewhere {
    /// Its name without `CAP_`.
    #[serde(rename = "name")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub capability: Capability,
    /// How sure it is that the program needs it there.
    pub evidence: Evidence,
    /// Why, in one sentence.
    pub reason: String,
    /// Where it would be asked for.
    pub seen_in: Vec<Use>,
}

impl Elsewhere {
    /// The same as a sentence about a subject.
    pub(super) fn note(&self) -> String {
        format!(
            "{} is not needed here, but elsewhere: {}",
            self.capability.name(),
            self.reason
        )
    }
}

/// What a subject would need elsewhere besides what is recommended.
///
/// Docker has set `net.ipv4.ip_unprivileged_port_start=0` and `net.ipv4.ping_group_range="0 2147483647"` in every network
/// namespace that it makes since 20.10 (`withSysctls`, daemon/oci_linux.go). Kubernetes with containerd before 2.0 and
/// systemd leave both as the kernel has them; Podman opens ping to group 0 only.
pub(super) fn of(subject: &SubjectRecord, recommended: CapSet) -> Vec<Elsewhere> {
    let mut found: Vec<Elsewhere> = Vec::new();
    let calls = subject.calls.iter();
    for call in calls.filter(|call| !call.failed && !call.requester.setup) {
        let Some((capability, evidence, reason)) = hidden(call) else {
            continue;
        };
        if recommended.contains(capability) {
            continue;
        }
        let used = Use {
            exe: call.requester.exe.clone(),
            comm: call.requester.comm.clone(),
            syscall: call.syscall.clone(),
            object: call.object.as_ref().map(object_text).unwrap_or_default(),
            caller: String::new(),
        };
        match found.iter_mut().find(|it| it.capability == capability) {
            Some(known) if known.seen_in.contains(&used) => {}
            Some(known) => known.seen_in.push(used),
            None => found.push(Elsewhere {
                capability,
                evidence,
                reason,
                seen_in: vec![used],
            }),
        }
    }
    found.sort_by_key(|it| it.capability);
    found
}

/// What a call would take where not everybody is allowed to make it.
fn hidden(call: &CallRecord) -> Option<(Capability, Evidence, String)> {
    const PRIVILEGED: std::ops::Range<u16> = 1..1024;
    match (call.syscall.as_str(), &call.object) {
        ("bind", Some(Object::Internet { port, .. })) if PRIVILEGED.contains(port) => Some((
            Capability::NET_BIND_SERVICE,
            Evidence::Decisive,
            format!(
                "binds port {port}, which net.ipv4.ip_unprivileged_port_start allows to everybody here, as Docker sets it"
            ),
        )),
        ("socket", _) if is_for_ping(call.arguments) => Some((
            Capability::NET_RAW,
            // Most programs take a raw socket where they get no such one, for which it takes this; some give up.
            Evidence::Possible,
            "opens a socket for ping, which net.ipv4.ping_group_range allows here, as Docker sets it: without, it takes a raw socket".to_owned(),
        )),
        _ => None,
    }
}

/// `AF_INET` or `AF_INET6`, `SOCK_DGRAM` and ICMP.
fn is_for_ping([family, kind, protocol, ..]: [u64; 6]) -> bool {
    /// `SOCK_TYPE_MASK`, include/linux/net.h.
    const TYPE: u64 = 0xf;
    const SOCK_DGRAM: u64 = 2;
    kind & TYPE == SOCK_DGRAM && matches!((family, protocol), (2, 1) | (10, 58))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Container;

    fn call(syscall: &str, arguments: [u64; 6], port: Option<u16>) -> CallRecord {
        CallRecord {
            arguments,
            object: port.map(|port| Object::Internet {
                address: "0.0.0.0".to_owned(),
                port,
            }),
            ..CallRecord::sample(syscall)
        }
    }

    fn found(calls: Vec<CallRecord>, recommended: CapSet) -> CapSet {
        let mut subject = SubjectRecord::new(Container::default());
        subject.calls = calls;
        let found = of(&subject, recommended);
        found.iter().map(|it| it.capability).collect()
    }

    const BIND: CapSet = CapSet::of(&[Capability::NET_BIND_SERVICE]);
    const RAW: CapSet = CapSet::of(&[Capability::NET_RAW]);

    #[test]
    fn low_ports_and_pings_take_a_capability_elsewhere() {
        let bind = |port| vec![call("bind", [0; 6], Some(port))];
        assert_eq!(found(bind(80), CapSet::EMPTY), BIND);
        assert_eq!(found(bind(80), BIND), CapSet::EMPTY, "needed here as well");
        assert_eq!(found(bind(8080), CapSet::EMPTY), CapSet::EMPTY);
        assert_eq!(found(bind(0), CapSet::EMPTY), CapSet::EMPTY, "any port");
        let socket =
            |family, kind, protocol| vec![call("socket", [family, kind, protocol, 0, 0, 0], None)];
        assert_eq!(found(socket(2, 2, 1), CapSet::EMPTY), RAW);
        assert_eq!(found(socket(10, 0o2_000_002, 58), CapSet::EMPTY), RAW);
        assert_eq!(found(socket(2, 2, 17), CapSet::EMPTY), CapSet::EMPTY);
        assert_eq!(
            found(socket(2, 3, 1), CapSet::EMPTY),
            CapSet::EMPTY,
            "is asked"
        );
    }

    #[test]
    fn what_failed_or_set_the_program_up_counts_for_nothing() {
        let mut bind = call("bind", [0; 6], Some(80));
        bind.failed = true;
        assert_eq!(found(vec![bind.clone()], CapSet::EMPTY), CapSet::EMPTY);
        bind.failed = false;
        bind.requester.setup = true;
        assert_eq!(found(vec![bind], CapSet::EMPTY), CapSet::EMPTY);
    }
}
