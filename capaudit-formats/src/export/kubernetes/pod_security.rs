//! Which of the Pod Security Standards allows a set ([policy][doc]; [check][src]).
//!
//! [doc]: https://kubernetes.io/docs/concepts/security/pod-security-standards/
//! [src]: https://github.com/kubernetes/pod-security-admission/blob/v0.32.0/policy/check_capabilities_baseline.go

use capaudit_core::capability::{CapSet, Capability};

use super::{Escalation, Workload, escalation};

/// What baseline lets be added.
const BASELINE: CapSet = CapSet::of(&[
    Capability::AUDIT_WRITE,
    Capability::CHOWN,
    Capability::DAC_OVERRIDE,
    Capability::FOWNER,
    Capability::FSETID,
    Capability::KILL,
    Capability::MKNOD,
    Capability::NET_BIND_SERVICE,
    Capability::SETFCAP,
    Capability::SETGID,
    Capability::SETPCAP,
    Capability::SETUID,
    Capability::SYS_CHROOT,
]);

/// What restricted lets be added.
const RESTRICTED: CapSet = CapSet::of(&[Capability::NET_BIND_SERVICE]);

/// The strictest level that allows the container's capabilities, and why none stricter.
pub(super) fn level(workload: &Workload) -> String {
    let set = workload.cap_add_elsewhere();
    let list = |set: CapSet| set.names().collect::<Vec<_>>().join(", ");
    if !set.is_subset(BASELINE) {
        return format!(
            "privileged (baseline does not allow {})",
            list(set - BASELINE)
        );
    }
    if !set.is_subset(RESTRICTED) {
        return format!(
            "baseline (restricted does not allow {})",
            list(set - RESTRICTED)
        );
    }
    if escalation(workload) != Escalation::Forbidden {
        return "baseline (restricted wants allowPrivilegeEscalation: false)".to_owned();
    }
    "restricted (which also wants runAsNonRoot: true and a seccompProfile)".to_owned()
}

#[cfg(test)]
mod tests {
    use capaudit_core::{
        advise::Evidence,
        recommend::sample::{container, recommendation},
    };

    use super::*;

    fn level_of(names: &[&str], no_new_privileges_is_safe: bool) -> String {
        let needs: Vec<_> = names
            .iter()
            .map(|name| (*name, Evidence::Decisive))
            .collect();
        let mut container = container("web", "", &needs);
        container.no_new_privileges_is_safe = no_new_privileges_is_safe;
        level(&recommendation(vec![container]).workloads[0])
    }

    #[test]
    fn the_strictest_level_is_told() {
        assert!(level_of(&[], true).starts_with("restricted ("));
        assert!(level_of(&["NET_BIND_SERVICE"], true).starts_with("restricted ("));
        assert_eq!(
            level_of(&["NET_BIND_SERVICE"], false),
            "baseline (restricted wants allowPrivilegeEscalation: false)"
        );
        assert_eq!(
            level_of(&["CHOWN", "NET_BIND_SERVICE"], true),
            "baseline (restricted does not allow CHOWN)"
        );
        assert_eq!(
            level_of(&["CHOWN", "NET_RAW"], true),
            "privileged (baseline does not allow NET_RAW)"
        );
    }
}
