//! Grants that reach nobody, and privileges that are forbidden to those who need them.

use capaudit_core::{advise::ONLY_INITIAL, capability::CapSet, recommend::Recommendation};

use super::{About, Finding, Mapping, Rule, Used, check};
use crate::{
    manifest::{Platform, User, Workload},
    yaml::Place,
};

/// What of a workload's grants has no effect.
pub(super) struct Idle {
    /// What counts for nothing in its user namespace.
    in_namespace: CapSet,
    /// What its user gets nothing of; without those.
    for_user: CapSet,
    /// This user.
    user: String,
}

impl Idle {
    /// All of it.
    pub(super) fn set(&self) -> CapSet {
        self.in_namespace | self.for_user
    }
}

/// What is to be said of files that are about to be written: grants in them that reach nobody, and programs that do not get what
/// the sessions show that they need. Nothing if it cannot be told which are which.
pub fn in_vain(workloads: &[Workload], recommendation: &Recommendation) -> Vec<Finding> {
    let Ok(outcome) = check(workloads, recommendation, &Mapping::default()) else {
        return Vec::new();
    };
    outcome
        .findings
        .into_iter()
        .filter(|finding| matches!(finding.rule, Rule::NoEffect | Rule::PrivilegesRefused))
        .collect()
}

impl About<'_> {
    pub(super) fn idle(&self, used: &Used) -> Idle {
        let workload = self.workload;
        let mut idle = Idle {
            in_namespace: CapSet::EMPTY,
            for_user: CapSet::EMPTY,
            user: String::new(),
        };
        // What it was started with is not what somebody wrote down: engines have defaults.
        if workload.platform == Platform::Start {
            return idle;
        }
        if workload
            .user_namespace
            .unwrap_or(used.reach.in_user_namespace)
        {
            let asked = if used.reach.in_user_namespace {
                used.needed
            } else {
                CapSet::EMPTY
            };
            idle.in_namespace = ONLY_INITIAL - asked;
        }
        let user = match (&workload.user, workload.platform) {
            // A unit's bounding set only bounds, and who has a set in mind gives it as they like.
            (_, Platform::Systemd | Platform::Set | Platform::Start) | (User::Root, _) => None,
            (User::Other(user), _) => Some(user.clone()),
            (User::Unsaid, _) => used.reach.starts_as_user.map(|user| user.to_string()),
        };
        if let Some(user) = user {
            let reaches = used
                .reach
                .for_user(workload.no_new_privileges == Some(true));
            // What is refused to files that give it, is a finding of its own.
            idle.for_user = CapSet::known()
                - used.reach.held_by_user
                - reaches
                - self.refused(used)
                - idle.in_namespace;
            idle.user = user;
        }
        idle
    }

    /// Says of a grant what of it has no effect.
    pub(super) fn judge_effect(
        &self,
        used: &Used,
        (granted, place): (CapSet, Option<&Place>),
        idle: &Idle,
        findings: &mut Vec<Finding>,
    ) {
        let title = &self.workload.title;
        let mut push = |set: CapSet, why: String, mend: String| {
            let needed = match (set & used.needed).is_empty() {
                true => "",
                false => ", though it needs it",
            };
            findings.push(self.finding(
                Rule::NoEffect,
                place.cloned(),
                set,
                format!(
                    "{title} is granted {}, which has no effect{needed}: {why}",
                    self.names(set)
                ),
                mend,
            ));
        };
        let in_namespace = granted & idle.in_namespace;
        if !in_namespace.is_empty() {
            push(
                in_namespace,
                "it runs in a user namespace, where this governs nothing".to_owned(),
                self.mend_grant(in_namespace),
            );
        }
        let for_user = granted & idle.for_user;
        if !for_user.is_empty() {
            let engine = match self.workload.platform {
                Platform::Kubernetes => "Kubernetes",
                _ => "Docker",
            };
            push(
                for_user,
                format!(
                    "it runs as user {}, {engine} makes no capability ambient, and no file that it executed gives it",
                    idle.user
                ),
                self.mend_for_user(for_user),
            );
        }
    }

    /// What programs need of the privileges of their files, and the workload forbids.
    fn refused(&self, used: &Used) -> CapSet {
        if self.workload.no_new_privileges != Some(true) {
            return CapSet::EMPTY;
        }
        let files = used.reach.privileged_files.iter();
        files.fold(CapSet::EMPTY, |set, file| set | file.needed) & used.needed
    }

    /// Whether programs need the privileges of their files that the workload forbids.
    pub(super) fn judge_refusal(&self, used: &Used, findings: &mut Vec<Finding>) {
        let all = self.refused(used);
        if all.is_empty() {
            return;
        }
        let needing: Vec<(&str, CapSet)> = used
            .reach
            .privileged_files
            .iter()
            .map(|file| (file.exe.as_str(), file.needed & used.needed))
            .filter(|(_, needed)| !needed.is_empty())
            .collect();
        let each: Vec<String> = needing
            .iter()
            .map(|(exe, needed)| format!("{exe} ({})", self.names(*needed)))
            .collect();
        findings.push(self.finding(
            Rule::PrivilegesRefused,
            self.workload.place.clone(),
            all,
            format!(
                "{} forbids new privileges, and other users than root need those that these files give: {}",
                self.workload.title,
                each.join(", ")
            ),
            self.mend_refusal(),
        ));
    }
}
