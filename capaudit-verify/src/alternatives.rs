//! What may do instead of a capability, and gives an attacker less.

use capaudit_core::{
    capability::{CapSet, Capability},
    report::Report,
};

use super::{Grant, Grants, enforce::Enforcement, minimize::Candidate, target::Target};

/// Capabilities, and those that the kernel asks for as well where it asks for them: before, or after, or in their place
/// (include/linux/capability.h, fs/namei.c, Linux 6.12). An audit in which the more powerful one was granted may not show that
/// another is asked for: the kernel ends at the first yes.
const INSTEAD: [(Capability, CapSet); 6] = [
    // `generic_permission`, and `may_linkat` of what is not one's own.
    (
        Capability::DAC_OVERRIDE,
        CapSet::of(&[Capability::DAC_READ_SEARCH, Capability::FOWNER]),
    ),
    // `bpf_capable`, `perfmon_capable`, `checkpoint_restore_ns_capable`, `check_syslog_permissions`, `set_task_ioprio`,
    // `vhangup` and its like.
    (
        Capability::SYS_ADMIN,
        CapSet::of(&[
            Capability::BPF,
            Capability::PERFMON,
            Capability::CHECKPOINT_RESTORE,
            Capability::SYSLOG,
            Capability::SYS_NICE,
            Capability::SYS_RESOURCE,
            Capability::NET_ADMIN,
        ]),
    ),
    // `perf_check_permission`, and what of other processes can be restored.
    (
        Capability::SYS_PTRACE,
        CapSet::of(&[Capability::PERFMON, Capability::CHECKPOINT_RESTORE]),
    ),
    // `sockopt_ns_capable` of SO_MARK and SO_PRIORITY since 5.17, IP_TRANSPARENT.
    (Capability::NET_ADMIN, CapSet::of(&[Capability::NET_RAW])),
    // `dev_load`
    (Capability::SYS_MODULE, CapSet::of(&[Capability::NET_ADMIN])),
    // `bpf_prog_load` of what only observes.
    (Capability::BPF, CapSet::of(&[Capability::PERFMON])),
];

/// For each target, what could stand in for one of its candidates and is none, as far as it can be granted in a run: a plain
/// command cannot have more than it was `granted`.
pub(super) fn alternatives(
    enforcement: &Enforcement,
    report: &Report,
    targets: &[Target],
    candidates: &[Candidate],
    granted: &Grants,
) -> Grants {
    let mut found = Grants::new(vec![CapSet::EMPTY; targets.len()]);
    for candidate in candidates {
        let Grant {
            subject,
            capability,
        } = candidate.grant;
        let asked = targets
            .get(subject)
            .iter()
            .flat_map(|target| &target.subjects)
            .filter_map(|place| report.subjects.get(*place))
            .flat_map(|subject| &subject.capabilities)
            .filter(|finding| finding.capability == capability)
            .flat_map(|finding| &finding.alternatives)
            .fold(CapSet::EMPTY, |all, set| all.union(*set));
        for other in instead_of(capability).union(asked) {
            found.insert(Grant {
                subject,
                capability: other,
            });
        }
    }
    let known: Vec<Grant> = candidates.iter().map(|candidate| candidate.grant).collect();
    let found = found.without(&known);
    match enforcement {
        Enforcement::Bounding(_) | Enforcement::Lsm(_) => found.intersection(granted),
        Enforcement::Docker(_)
        | Enforcement::Compose(..)
        | Enforcement::Life(..)
        | Enforcement::Socket(_) => found,
    }
}

/// What the kernel may ask for instead, if that is less powerful.
fn instead_of(capability: Capability) -> CapSet {
    INSTEAD
        .iter()
        .filter(|(powerful, _instead)| *powerful == capability)
        .flat_map(|(_powerful, instead)| *instead)
        .filter(|other| other.power() < capability.power())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use capaudit_core::{advise::Evidence, recommend::sample};

    use super::*;

    #[test]
    fn everything_instead_is_less_powerful() {
        for (capability, instead) in INSTEAD {
            assert_eq!(instead_of(capability), instead, "{capability}");
        }
    }

    #[test]
    fn what_was_asked_for_and_what_was_not_are_tried_as_far_as_they_can_be_had() {
        let needs = [
            ("DAC_OVERRIDE", Evidence::Decisive),
            ("KILL", Evidence::Decisive),
        ];
        let mut web = sample::container("web", "", &needs);
        web.capabilities[1].alternatives = vec![Capability::SYS_NICE.into()];
        let report = sample::report(vec![web]);
        let targets = [Target {
            name: String::new(),
            subjects: vec![0],
        }];
        let candidates = [Capability::DAC_OVERRIDE, Capability::KILL].map(|capability| Candidate {
            grant: Grant {
                subject: 0,
                capability,
            },
            evidence: Evidence::Decisive,
        });
        let granted = Grants::new(vec![CapSet::of(&[
            Capability::DAC_OVERRIDE,
            Capability::FOWNER,
        ])]);
        let bounding = Enforcement::Bounding(vec![OsString::from("true")]);
        let found = alternatives(&bounding, &report, &targets, &candidates, &granted);
        assert_eq!(found.all(), Capability::FOWNER.into());
        let all = Grants::new(vec![CapSet::known()]);
        let found = alternatives(&bounding, &report, &targets, &candidates, &all);
        assert_eq!(
            found.all(),
            CapSet::of(&[
                Capability::DAC_READ_SEARCH,
                Capability::FOWNER,
                Capability::SYS_NICE
            ])
        );
    }
}
