//! What is granted beside what was used: a pure function of both.
//!
//! [`crate::manifest`] tells what is granted, a [`Recommendation`] what was used.

mod allowed;
mod effect;
mod junit;
mod matching;
mod mend;
mod own;
mod rule;
mod sarif;
#[cfg(test)]
mod tests;
mod text;
mod used;

use capaudit_core::{
    capability::CapSet,
    ledger::not_seen,
    recommend::{Caveat, Recommendation},
};

use matching::used_by;

use crate::{
    manifest::{Platform, Workload},
    yaml::Place,
};

pub use effect::in_vain;
pub use junit::junit;
pub use matching::{Mapping, Unmatched};
pub use own::own_grants;
pub use rule::{Level, Rule};
pub use sarif::sarif;
pub use text::text;
pub use used::{Used, used};

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What was looked for.
    pub rules: &'static [Rule],
    /// The workloads that were checked, in the order in which they were given.
    pub subjects: Vec<Subject>,
    /// What was found, in the files' order.
    pub findings: Vec<Finding>,
}

/// A workload that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// What people call it, as `service web`.
    pub title: String,
    /// Where it stands; `None` outside files.
    pub place: Option<Place>,
    /// A session saw it.
    pub audited: bool,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule that the workload breaks, or that limits the check.
    pub rule: Rule,
    /// How bad it is: the rule's level, or a lower one where the record does not prove it.
    pub level: Level,
    /// Number of the workload in [`Outcome::subjects`]; `None` if it is about the record.
    pub subject: Option<usize>,
    /// Where; `None` outside files.
    pub place: Option<Place>,
    /// Which capabilities it is about.
    pub capabilities: CapSet,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do about it, in one sentence.
    pub mend: String,
}

/// Why nothing can be said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "none of what is checked was audited: the sessions know {known}, and what is checked has {checked}{unclear}"
)]
pub struct NothingInCommon {
    known: String,
    checked: String,
    /// What in the files is not understood, as the end of the sentence.
    unclear: String,
}

/// Why nothing is compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotCheck {
    /// No workload was audited.
    #[error(transparent)]
    Nothing(#[from] NothingInCommon),
    /// What was audited cannot be told apart.
    #[error(transparent)]
    Unmatched(#[from] Unmatched),
}

impl Outcome {
    /// Whether there is a finding of this level or a worse one.
    pub fn reaches(&self, level: Level) -> bool {
        self.findings.iter().any(|finding| finding.level >= level)
    }
}

/// Compares what is granted with what was used.
///
/// # Errors
///
/// No workload was audited: an empty list of findings would be taken for a good one. Or it cannot be said which audited
/// container one is.
pub fn check(
    workloads: &[Workload],
    recommendation: &Recommendation,
    mapping: &Mapping,
) -> Result<Outcome, CannotCheck> {
    mapping.is_of(workloads)?;
    let used = used(recommendation);
    let sure = recommendation.rests_on_everything();
    let mut findings: Vec<Finding> = recommendation.caveats.iter().map(about_record).collect();
    let mut subjects = Vec::new();
    for (number, workload) in workloads.iter().enumerate() {
        let match_ = used_by(workload, &used, mapping)?;
        subjects.push(Subject {
            title: workload.title.clone(),
            place: workload.place.clone(),
            audited: match_.is_some(),
        });
        let about = About {
            workload,
            number,
            sure: sure && match_.as_ref().is_none_or(|used| !used.start_unseen),
        };
        about.judge_words(&mut findings);
        match match_ {
            Some(used) => about.judge(&used, &mut findings),
            None => findings.push(about.finding(
                Rule::NotAudited,
                workload.place.clone(),
                CapSet::EMPTY,
                format!("{} was in no session", workload.title),
                "audit a test that starts it".to_owned(),
            )),
        }
        about.judge_allowances(&mut findings);
    }
    if !workloads.is_empty() && subjects.iter().all(|subject| !subject.audited) {
        return Err(NothingInCommon::between(
            used.iter().map(|used| used.name.as_str()),
            workloads,
        )
        .into());
    }
    sort(&mut findings);
    Ok(Outcome {
        rules: &Rule::ALL,
        subjects,
        findings,
    })
}

/// Into the files' order; what is about no place comes first.
pub(crate) fn sort(findings: &mut [Finding]) {
    findings.sort_by(|one, other| {
        (one.place.is_some(), &one.place, one.subject).cmp(&(
            other.place.is_some(),
            &other.place,
            other.subject,
        ))
    });
}

impl NothingInCommon {
    /// What sessions know, and what is checked.
    pub(crate) fn between<'a>(
        known: impl Iterator<Item = &'a str>,
        workloads: &[Workload],
    ) -> Self {
        let list = |names: Vec<&str>| match names.is_empty() {
            true => "nothing".to_owned(),
            false => names.join(", "),
        };
        let titles = workloads.iter().map(|workload| workload.title.as_str());
        Self {
            known: list(known.collect()),
            checked: list(titles.collect()),
            unclear: workloads
                .iter()
                .flat_map(|workload| &workload.unclear)
                .map(|(_place, word)| format!("; {word}"))
                .collect(),
        }
    }
}

/// What limits everything else that is said.
pub(crate) fn about_record(caveat: &Caveat) -> Finding {
    let rule = Rule::IncompleteRecord;
    let (level, message, mend) = match caveat {
        Caveat::Incomplete { count, losses } => (
            rule.level(),
            format!(
                "the record is incomplete ({}): what seems not to be used may be",
                not_seen(*count)
            ),
            format!("audit again with {}", losses.remedy()),
        ),
        Caveat::Failed { status } => (
            rule.level(),
            format!(
                "the audited command failed with status {status}: what it would have used later was not seen"
            ),
            "mend the test, and audit it again".to_owned(),
        ),
        Caveat::Partial { subject, what } => (
            rule.level(),
            format!("the record of {subject} is incomplete: {what}"),
            "audit again in a way that shows it".to_owned(),
        ),
        Caveat::Note(note) => (
            Level::Note,
            note.clone(),
            "audit again, if it could matter here".to_owned(),
        ),
    };
    Finding {
        rule,
        level,
        subject: None,
        place: None,
        capabilities: CapSet::EMPTY,
        message,
        mend,
    }
}

/// A workload under judgement.
struct About<'a> {
    workload: &'a Workload,
    number: usize,
    /// The record is complete, and the tests went well.
    sure: bool,
}

impl About<'_> {
    fn finding(
        &self,
        rule: Rule,
        place: Option<Place>,
        capabilities: CapSet,
        message: String,
        mend: String,
    ) -> Finding {
        let level = match rule.level() {
            Level::Error if !self.sure && rule.rests_on_absence() => Level::Warning,
            level => level,
        };
        Finding {
            rule,
            level,
            subject: Some(self.number),
            place,
            capabilities,
            message,
            mend,
        }
    }

    /// Names as the platform writes them.
    fn names(&self, set: CapSet) -> String {
        let names: Vec<&str> = match self.workload.platform {
            Platform::Systemd => set.iter().map(|capability| capability.cap_name()).collect(),
            _ => set.names().collect(),
        };
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(" ")
        }
    }

    /// What is wrong in the file itself, whatever was used.
    fn judge_words(&self, findings: &mut Vec<Finding>) {
        for (place, word) in &self.workload.unclear {
            findings.push(self.finding(
                Rule::NotUnderstood,
                Some(place.clone()),
                CapSet::EMPTY,
                format!("{}: {word}", self.workload.title),
                "write capabilities by name".to_owned(),
            ));
        }
    }

    fn judge(&self, used: &Used, findings: &mut Vec<Finding>) {
        let workload = self.workload;
        let title = &workload.title;
        let uncertain = if self.sure { "" } else { " as far as was seen" };
        let allowed = allowed::set(&workload.allowed);
        let everything_allowed = CapSet::known().is_subset(allowed);
        self.judge_refusal(used, findings);
        let idle = self.idle(used);
        for grant in &workload.named {
            let granted = (grant.capabilities & workload.granted) - allowed;
            let place = grant.place.as_ref().or(workload.place.as_ref());
            self.judge_effect(used, (granted, place), &idle, findings);
        }
        let mut push = |finding| findings.push(finding);
        if used.start_unseen {
            push(self.finding(
                Rule::IncompleteRecord,
                workload.place.clone(),
                CapSet::EMPTY,
                format!(
                    "{title} ran already when the audit began: what it used to start was not seen"
                ),
                "audit it from its start, with `capaudit run`".to_owned(),
            ));
        }
        if let Some(place) = workload.privileged.as_ref().filter(|_| !everything_allowed) {
            push(self.finding(
                Rule::Privileged,
                Some(place.clone()),
                CapSet::known() - used.needed,
                format!(
                    "{title} is privileged, so has every capability, all devices and no seccomp filter; it used {}{uncertain}",
                    self.names(used.needed)
                ),
                self.mend_everything(used),
            ));
        } else if let Some(place) = workload.adds_all.as_ref().filter(|_| !everything_allowed) {
            push(self.finding(
                Rule::AddsAll,
                Some(place.clone()),
                workload.granted - used.needed,
                format!(
                    "{title} is granted ALL capabilities; it used {}{uncertain}",
                    self.names(used.needed)
                ),
                self.mend_everything(used),
            ));
        }
        let mut named = CapSet::EMPTY;
        for grant in &workload.named {
            named |= grant.capabilities;
            let excess = (grant.capabilities & workload.granted)
                - used.needed
                - used.elsewhere
                - allowed
                - idle.set();
            if !excess.is_empty() {
                push(self.finding(
                    Rule::OverGranted,
                    grant.place.clone().or_else(|| workload.place.clone()),
                    excess,
                    format!(
                        "{title} is granted {}, which it did not use{uncertain}",
                        self.names(excess)
                    ),
                    self.mend_grant(excess),
                ));
            }
        }
        let everything = workload.privileged.is_some() || workload.adds_all.is_some();
        let unasked = workload.granted - named - used.needed - used.elsewhere - allowed;
        if !everything && !unasked.is_empty() {
            let (rule, what) = if workload.drops_all {
                (Rule::OverGranted, "is left")
            } else {
                (Rule::NoDrop, "has by default")
            };
            push(self.finding(
                rule,
                workload.place.clone(),
                unasked,
                format!(
                    "{title} {what} {}, which it did not use{uncertain}",
                    self.names(unasked)
                ),
                self.mend_everything(used),
            ));
        }
        // Whether the platform sets the sysctls, depends on its release and configuration.
        let doubtful = match workload.platform {
            Platform::Kubernetes | Platform::Systemd => used.elsewhere,
            Platform::Compose | Platform::Set | Platform::Start => CapSet::EMPTY,
        };
        let missing = (used.needed | doubtful) - workload.held;
        for capability in missing {
            let set = CapSet::from(capability);
            let reason = used.reasons.get(&capability);
            let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
            let bounded = workload.granted.contains(capability);
            let mut finding = self.finding(
                Rule::Missing,
                workload.place.clone(),
                set,
                if bounded {
                    format!(
                        "{title} needs {}{reason}; it is in the bounding set, but the unit's user does not get it",
                        self.names(set)
                    )
                } else {
                    format!("{title} needs {}, which is not granted{reason}", self.names(set))
                },
                match workload.platform {
                    Platform::Compose => format!("add {} to cap_add", self.names(set)),
                    Platform::Kubernetes => {
                        format!("add {} to securityContext.capabilities.add", self.names(set))
                    }
                    Platform::Systemd if bounded => {
                        format!("AmbientCapabilities={}, unless the program has it as a file capability", self.names(set))
                    }
                    Platform::Systemd => format!("add {} to CapabilityBoundingSet=", self.names(set)),
                    Platform::Set | Platform::Start => format!("grant {}", self.names(set)),
                },
            );
            if doubtful.contains(capability) {
                finding.level = Level::Warning;
            }
            push(finding);
        }
        if workload.no_new_privileges == Some(false)
            && used.no_new_privileges_is_safe
            && workload.privileged.is_none()
        {
            push(
                self.finding(
                    Rule::NewPrivileges,
                    workload.place.clone(),
                    CapSet::EMPTY,
                    format!("{title} may gain privileges by setuid programs, and ran none"),
                    match workload.platform {
                        Platform::Compose => "add no-new-privileges:true to security_opt",
                        Platform::Kubernetes => {
                            "set securityContext.allowPrivilegeEscalation: false"
                        }
                        Platform::Systemd => "NoNewPrivileges=yes",
                        Platform::Set | Platform::Start => "set no_new_privs",
                    }
                    .to_owned(),
                ),
            );
        }
        for allowance in &workload.allowed {
            let Ok(set) = allowance.capabilities else {
                continue;
            };
            let excess = workload.granted - used.needed;
            let idle = set - excess;
            let is_all = CapSet::known().is_subset(set);
            if (is_all && excess.is_empty()) || (!is_all && !idle.is_empty()) {
                push(self.finding(
                    Rule::AllowNotNeeded,
                    Some(allowance.place.clone()),
                    idle,
                    format!(
                        "{title}: {} need not be allowed: {}",
                        self.names(idle),
                        if idle.is_subset(used.needed) && idle.is_subset(workload.granted) {
                            "it was used"
                        } else {
                            "it is not granted, or was used"
                        }
                    ),
                    "remove the comment".to_owned(),
                ));
            }
        }
    }

    /// What is wrong with the comments that vouch for capabilities.
    fn judge_allowances(&self, findings: &mut Vec<Finding>) {
        let title = &self.workload.title;
        for allowance in &self.workload.allowed {
            let message = match &allowance.capabilities {
                Err(error) => format!("{title}: an allow comment that is not understood: {error}"),
                Ok(set) if allowance.reason.is_empty() => {
                    format!("{title}: {} is allowed without a reason", self.names(*set))
                }
                Ok(_) => continue,
            };
            findings.push(self.finding(
                Rule::AllowWithoutReason,
                Some(allowance.place.clone()),
                CapSet::EMPTY,
                message,
                "write `capaudit:allow NAME reason`".to_owned(),
            ));
        }
    }
}
