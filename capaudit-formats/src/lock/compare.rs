//! A lock beside the files, the images that an engine has now, and new sessions.

use std::collections::BTreeMap;

use capaudit_core::{
    advise::Evidence,
    capability::{CapSet, Capability},
    recommend::{Recommendation, Workload as Audited},
};

use super::{Image, Lock, Service, definition};
use crate::{
    check::{Finding, Level, NothingInCommon, Outcome, Rule, Subject, about_record, sort},
    manifest::{Workload, compose::Project},
    yaml::{Place, Unusable},
};

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum CannotCompare {
    /// The files say what compose would not understand.
    #[error(transparent)]
    Files(#[from] Unusable),
    /// No service is in a session.
    #[error(transparent)]
    Sessions(#[from] NothingInCommon),
}

/// What to do where a lock is no longer about what is there.
const AGAIN: &str = "`capaudit harden --write` finds out what it needs now";

/// Compares. `images` are those that an engine has now, by service; sessions are what `audited` recommends.
///
/// # Errors
///
/// The files cannot be understood, or the sessions know nothing of what is in them.
pub fn compare(
    lock: &Lock,
    project: &Project,
    images: &BTreeMap<String, Image>,
    audited: Option<&Recommendation>,
) -> Result<Outcome, CannotCompare> {
    let workloads = project.workloads()?;
    let mut findings: Vec<Finding> = audited
        .into_iter()
        .flat_map(|recommendation| &recommendation.caveats)
        .map(about_record)
        .collect();
    for name in lock.services.keys() {
        if workloads.iter().all(|workload| workload.name != *name) {
            let message = format!("the lock has service {name}, which the file does not have");
            let (set, again) = (CapSet::EMPTY, AGAIN.to_owned());
            findings.push(finding(Rule::NotLocked, None, None, set, message, again));
        }
    }
    let mut subjects = Vec::new();
    let mut were_audited = false;
    for (number, workload) in workloads.iter().enumerate() {
        let locked = lock.services.get(&workload.name);
        subjects.push(Subject {
            title: workload.title.clone(),
            place: workload.place.clone(),
            audited: locked.is_some(),
        });
        let defined = definition(project, &workload.name)?;
        let mut about = About {
            workload,
            number,
            findings: &mut findings,
        };
        let Some(locked) = locked else {
            let message = format!("{} is not in the lock", workload.title);
            about.push(Rule::NotLocked, CapSet::EMPTY, message, AGAIN);
            if let (true, Some(last)) = (defined.has_profiles, findings.last_mut()) {
                // A life is led without it, too.
                last.level = Level::Note;
            }
            continue;
        };
        about.granted(locked);
        about.made_of(locked, images.get(&workload.name));
        if defined.digest != locked.definition {
            let message = format!(
                "{} is defined otherwise than when it was found out what it needs",
                workload.title
            );
            about.push(Rule::DefinitionChanged, CapSet::EMPTY, message, AGAIN);
        }
        if !locked.exercised.enforced {
            let message = format!(
                "{} was audited, and not run with exactly what the lock says",
                workload.title
            );
            about.push(
                Rule::NotProven,
                CapSet::EMPTY,
                message,
                "`capaudit harden` without --only-possible runs it",
            );
        }
        if let Some(recommendation) = audited {
            let mut seen = false;
            for used in recommendation.containers() {
                if used.service == workload.name {
                    about.asked(locked, used);
                    seen = true;
                }
            }
            if !seen {
                let message = format!("{} was in no session", workload.title);
                let mend = "audit a test that starts it";
                about.push(Rule::NotAudited, CapSet::EMPTY, message, mend);
            }
            were_audited |= seen;
        }
    }
    if let (Some(recommendation), false) = (audited, were_audited) {
        let known = recommendation
            .containers()
            .map(|used| used.service.as_str());
        return Err(NothingInCommon::between(known, &workloads).into());
    }
    sort(&mut findings);
    Ok(Outcome {
        rules: &Rule::OF_LOCK,
        subjects,
        findings,
    })
}

fn finding(
    rule: Rule,
    subject: Option<usize>,
    place: Option<Place>,
    capabilities: CapSet,
    message: String,
    mend: String,
) -> Finding {
    Finding {
        rule,
        level: rule.level(),
        subject,
        place,
        capabilities,
        message,
        mend,
    }
}

/// A service under judgement.
struct About<'a> {
    workload: &'a Workload,
    number: usize,
    findings: &'a mut Vec<Finding>,
}

impl About<'_> {
    fn push(&mut self, rule: Rule, capabilities: CapSet, message: String, mend: &str) {
        let place = self.workload.place.clone();
        self.push_at(rule, place, capabilities, message, mend.to_owned());
    }

    fn push_at(
        &mut self,
        rule: Rule,
        place: Option<Place>,
        capabilities: CapSet,
        message: String,
        mend: String,
    ) {
        let number = Some(self.number);
        self.findings
            .push(finding(rule, number, place, capabilities, message, mend));
    }

    /// What the file grants, beside what the lock says.
    fn granted(&mut self, locked: &Service) {
        let workload = self.workload;
        let title = &workload.title;
        let set = locked.set();
        let allowed = workload
            .allowed
            .iter()
            .filter_map(|allowance| allowance.capabilities.as_ref().ok())
            .fold(CapSet::EMPTY, |all, set| all | *set);
        let more = workload.granted - set - allowed;
        if !more.is_empty() {
            let everything = workload.privileged.as_ref().or(workload.adds_all.as_ref());
            let named = workload.named.iter();
            let named = named.filter(|named| !(named.capabilities & more).is_empty());
            let place = everything
                .cloned()
                .or_else(|| named.filter_map(|named| named.place.clone()).next())
                .or_else(|| workload.place.clone());
            let message = format!(
                "{title} is granted {}, which the lock does not have",
                names(more)
            );
            let mend = format!("cap_drop: [ALL], cap_add: [{}]; or {AGAIN}", listed(set));
            self.push_at(Rule::LockDrift, place, more, message, mend);
        }
        let less = set - workload.granted;
        if !less.is_empty() {
            let message = format!("{title} is not granted {}, which the lock has", names(less));
            let mend = format!("add {} to cap_add; or {AGAIN}", names(less));
            self.push(Rule::LockDrift, less, message, &mend);
        }
        let (message, mend) = match (locked.no_new_privileges, workload.no_new_privileges) {
            (true, Some(false)) => (
                format!("{title} may gain privileges, which the lock says it does not need"),
                "add no-new-privileges:true to security_opt",
            ),
            (false, Some(true)) => (
                format!("{title} may not gain privileges, which the lock says it may need"),
                "take no-new-privileges out of security_opt",
            ),
            _ => return,
        };
        self.push(Rule::LockDrift, CapSet::EMPTY, message, mend);
    }

    /// What the service is made of, beside what the lock says.
    fn made_of(&mut self, locked: &Service, current: Option<&Image>) {
        let (title, then, now) = (&self.workload.title, &locked.image, &self.workload.image);
        let or_built = |name: &str| match name {
            "" => "one that is built".to_owned(),
            name => name.to_owned(),
        };
        let (rule, message) = if then.name != *now {
            let (then, now) = (or_built(&then.name), or_built(now));
            let message = format!("{title} has image {now}; the lock is about {then}");
            (Rule::ImageChanged, message)
        } else {
            match current.and_then(|current| then.is(current)) {
                Some(true) => return,
                Some(false) => (
                    Rule::ImageChanged,
                    format!(
                        "{title} has image {now}, which is another one by now than the lock is about"
                    ),
                ),
                None => (
                    Rule::ImageNotCompared,
                    format!(
                        "whether image {} of {title} is still the one that the lock is about cannot be told here",
                        or_built(now)
                    ),
                ),
            }
        };
        let mend = match rule {
            Rule::ImageNotCompared => "check where the image is",
            _ => AGAIN,
        };
        self.push(rule, CapSet::EMPTY, message, mend);
    }

    /// What a session says that it asks for, beside what the lock says.
    fn asked(&mut self, locked: &Service, used: &Audited) {
        let title = &self.workload.title;
        let set = locked.set();
        let is_proven = |capability: &Capability| {
            let known = locked.not_needed.get(capability);
            known.is_some_and(|known| known.evidence == Evidence::Proven)
        };
        let mut beyond = Vec::new();
        for (capability, need) in &used.needs {
            let is_doubtful = need.evidence == Evidence::Possible;
            // A life went well without it: that says more than a session that cannot tell.
            if set.contains(*capability) || (is_doubtful && is_proven(capability)) {
                continue;
            }
            let level = if is_doubtful {
                Level::Warning
            } else {
                Level::Error
            };
            let message = format!(
                "{title} needs {}{}, which the lock does not have: {}",
                if is_doubtful { "perhaps " } else { "" },
                names((*capability).into()),
                need.reason
            );
            beyond.push((*capability, level, message));
        }
        for (capability, declined) in &used.declined {
            if set.contains(*capability) || locked.not_needed.contains_key(capability) {
                continue;
            }
            let message = format!(
                "{title} asked for {}, which it did not when the lock was made, and does not need: {}",
                names((*capability).into()),
                declined.reason
            );
            beyond.push((*capability, Level::Note, message));
        }
        for (capability, level, message) in beyond {
            self.push(Rule::AskedBeyondLock, capability.into(), message, AGAIN);
            if let Some(last) = self.findings.last_mut() {
                last.level = level;
            }
        }
    }
}

fn names(set: CapSet) -> String {
    set.names().collect::<Vec<_>>().join(" ")
}

fn listed(set: CapSet) -> String {
    set.names().collect::<Vec<_>>().join(", ")
}
