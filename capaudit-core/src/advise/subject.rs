//! All facts about one subject: what it needs, capability by capability.

use std::collections::BTreeMap;

use crate::{
    advise::{
        AnyOf, Checks, Elsewhere, Fact, Finding, Judgement, PrivilegedFile, Rule, Use, Verdict,
        cover, elsewhere,
        judge::{judge, judge_calls, judge_exec},
        need_less,
        object::described,
        reach,
        rules::{capset, own_set, refusal, target, unseen, user_namespace},
        seccomp,
    },
    capability::{CapSet, Capability},
    kernel,
    ledger::{CheckRecord, Ledger, Outcome, Phase, Phases, Session, SubjectRecord},
};

/// What a subject needs, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// The least powerful set that meets every need.
    pub recommended: CapSet,
    /// One entry for each capability that was asked for or is needed, in the kernel's order.
    pub findings: Vec<Finding>,
    /// What it would need besides where defaults are other ones, in the kernel's order.
    pub elsewhere: Vec<Elsewhere>,
    /// What one run cannot tell, each a sentence.
    pub notes: Vec<String>,
    /// No setuid or file-capability program was executed whose privileges count: `no-new-privileges` would change nothing.
    pub no_new_privileges_is_safe: bool,
    /// The files that give whoever executes them capabilities, by path.
    pub privileged_files: Vec<PrivilegedFile>,
    /// What it held although it was not started as root, other than by such a file.
    pub held_by_user: CapSet,
    /// What of the recommendation has its engine's seccomp profile allow system calls.
    pub unlocks_calls: CapSet,
}

/// Uses that are listed for one capability; beyond, one for each further executable.
const MAX_USES: usize = 8;

struct Judged<'a> {
    check: Option<&'a CheckRecord>,
    judgement: Judgement,
}

impl Judged<'_> {
    /// Of something that the kernel makes no check for.
    fn unasked(judgement: Judgement) -> Self {
        Self {
            check: None,
            judgement,
        }
    }

    fn satisfied_by(&self) -> Option<AnyOf> {
        self.judgement.satisfied_by()
    }

    /// Whether this very capability was asked for.
    fn asks_for(&self, capability: Capability) -> bool {
        self.check
            .is_some_and(|check| check.identity.capability == capability)
    }
}

/// Judges all facts about a subject.
pub fn advise(ledger: &Ledger, subject: &SubjectRecord) -> Advice {
    let judged = judge_all(ledger, subject);
    let recommended = cover::least_power(&needs(&judged));

    let mut by_capability: BTreeMap<Capability, Vec<&Judged<'_>>> = BTreeMap::new();
    for fact in &judged {
        let asked = fact.check.map(|check| check.identity.capability);
        let needed = fact.satisfied_by().map(AnyOf::set).unwrap_or_default();
        for capability in asked.into_iter().chain(recommended & needed) {
            let facts = by_capability.entry(capability).or_default();
            if !facts.iter().any(|known| std::ptr::eq(*known, fact)) {
                facts.push(fact);
            }
        }
    }
    let mut findings: Vec<Finding> = by_capability
        .into_iter()
        .filter_map(|(capability, facts)| finding(capability, &facts, recommended, subject))
        .collect();
    for (phase, asked) in asked_in_phases(ledger, subject) {
        for finding in &mut findings {
            // Where it is needed at all, only that counts: what is asked for nothing is asked at every start.
            let asked = match finding.verdict {
                Verdict::Needed | Verdict::Alternative => asked.needed,
                _ => asked.all,
            };
            if asked.contains(finding.capability) {
                finding.phases = finding.phases.union(phase.into());
            }
        }
    }
    let elsewhere = elsewhere::of(subject, recommended);
    let privileged_files = reach::privileged_files(subject, recommended);
    Advice {
        recommended,
        findings,
        notes: notes(subject, &ledger.session, &elsewhere)
            .into_iter()
            .chain(hidden(&judged, recommended))
            .chain(target::shown_less(subject, recommended))
            .collect(),
        elsewhere,
        no_new_privileges_is_safe: subject.execs.iter().all(|exec| exec.ignored),
        held_by_user: reach::held_by_user(subject, &privileged_files),
        privileged_files,
        unlocks_calls: reach::unlocks_calls(subject, recommended),
    }
}

/// What was asked for in a phase of a life.
struct Asked {
    /// All of it.
    all: CapSet,
    /// What may satisfy a need, whether it was asked for or not.
    needed: CapSet,
}

fn asked_in_phases(ledger: &Ledger, subject: &SubjectRecord) -> Vec<(Phase, Asked)> {
    let asked_in = |phase| {
        let limited = subject.limited_to(phase);
        let mut asked = Asked {
            all: CapSet::EMPTY,
            needed: CapSet::EMPTY,
        };
        for fact in judge_all(ledger, &limited) {
            asked.all |= fact
                .check
                .map(|check| check.identity.capability.into())
                .unwrap_or_default();
            asked.needed |= fact.satisfied_by().map(AnyOf::set).unwrap_or_default();
        }
        (phase, asked)
    };
    subject.phases().iter().map(asked_in).collect()
}

fn needs(judged: &[Judged<'_>]) -> Vec<CapSet> {
    judged
        .iter()
        .filter_map(Judged::satisfied_by)
        .map(AnyOf::set)
        .collect()
}

fn notes(subject: &SubjectRecord, session: &Session, elsewhere: &[Elsewhere]) -> Vec<String> {
    let mut notes: Vec<String> = elsewhere.iter().map(Elsewhere::note).collect();
    notes.extend(own_set::notes(subject));
    notes.extend(unseen::notes(subject));
    notes.extend(capset::notes(subject, session));
    notes.extend(seccomp::notes(subject));
    notes.extend(refusal::notes(subject));
    notes
}

/// What programs would be shown less of without a capability that is not recommended: too little to recommend it, and yet
/// a program may be all about that.
fn hidden(judged: &[Judged<'_>], recommended: CapSet) -> Vec<String> {
    let mut hidden: BTreeMap<(Capability, &str), Vec<&str>> = BTreeMap::new();
    for fact in judged.iter().filter(|fact| {
        matches!(
            fact.judgement.rule,
            Rule::Hidden | Rule::AuditRecordOfRecentPam | Rule::ForcedBuffer | Rule::ThreadProbe
        )
    }) {
        let Some(CheckRecord { identity, .. }) = fact.check else {
            continue;
        };
        if identity.outcome == Outcome::Granted && !recommended.contains(identity.capability) {
            let what = (identity.capability, fact.judgement.reason());
            hidden
                .entry(what)
                .or_default()
                .push(&identity.requester.exe);
        }
    }
    hidden
        .into_iter()
        .map(|((capability, what), mut programs)| {
            programs.sort_unstable();
            programs.dedup();
            let (name, programs) = (capability.name(), programs.join(", "));
            format!("{name} is not recommended for what {programs} asked it for: {what}")
        })
        .collect()
}

fn judge_all<'a>(ledger: &'a Ledger, subject: &'a SubjectRecord) -> Vec<Judged<'a>> {
    let mut judged: Vec<Judged<'_>> = Vec::new();
    for check in &subject.checks {
        let fact = Fact {
            check,
            subject,
            session: &ledger.session,
        };
        judged.push(Judged {
            check: Some(check),
            judgement: judge(&fact),
        });
        let beside = if capset::is_capset(check) {
            capset::needs(check, subject, &ledger.session)
        } else {
            user_namespace::need(check, subject).into_iter().collect()
        };
        judged.extend(beside.into_iter().map(Judged::unasked));
    }
    let unasked = subject
        .execs
        .iter()
        .flat_map(judge_exec)
        .chain(judge_calls(subject))
        .chain(refusal::needs(subject, &ledger.session));
    judged.extend(unasked.map(Judged::unasked));
    let outside = target::added(subject, needs(&judged), cover::least_power);
    judged.extend(outside.into_iter().map(Judged::unasked));
    judged
}

/// What the facts say of a capability; `None` if there are none.
fn finding(
    capability: Capability,
    facts: &[&Judged<'_>],
    recommended: CapSet,
    subject: &SubjectRecord,
) -> Option<Finding> {
    let (verdict, deciding) = decide(capability, facts, recommended)?;
    let judgement = &deciding.judgement;
    let serves = deciding.satisfied_by().map(AnyOf::set).unwrap_or_default();
    let checks: Vec<&CheckRecord> = facts
        .iter()
        .filter(|fact| fact.satisfied_by().is_some())
        .filter_map(|fact| fact.check)
        .collect();
    Some(Finding {
        capability,
        verdict,
        evidence: judgement.evidence(),
        rule: Some(judgement.rule),
        reason: reason(verdict, capability, deciding, recommended),
        alternatives: (serves - CapSet::from(capability))
            .iter()
            .map(CapSet::from)
            .collect(),
        checks: Checks::new(
            count(capability, facts, Outcome::Granted),
            count(capability, facts, Outcome::Denied),
        ),
        unchecked: facts
            .iter()
            .any(|fact| fact.check.is_none() && fact.satisfied_by().is_some()),
        phases: Phases::default(),
        seen_in: seen_in(capability, facts, deciding),
        need_less: (verdict == Verdict::Needed)
            .then(|| need_less::advice(capability, &checks, subject))
            .flatten(),
    })
}

/// The verdict, and the fact that decides it: of several the surest.
fn decide<'a>(
    capability: Capability,
    facts: &[&'a Judged<'a>],
    recommended: CapSet,
) -> Option<(Verdict, &'a Judged<'a>)> {
    let needs = || {
        facts
            .iter()
            .filter_map(|fact| Some((*fact, fact.satisfied_by()?)))
    };
    if recommended.contains(capability) {
        let (deciding, _) = needs()
            .filter(|(_, any)| any.set().contains(capability))
            // What nothing else satisfies first, then the surest, then what asked for this very capability.
            .max_by_key(|(fact, any)| {
                (
                    any.is_single(),
                    fact.judgement.evidence(),
                    fact.asks_for(capability),
                )
            })?;
        return Some((Verdict::Needed, deciding));
    }
    if let Some((met, _)) = needs().max_by_key(|(fact, _)| fact.judgement.evidence()) {
        return Some((Verdict::Alternative, met));
    }
    let deciding = facts.iter().copied().max_by_key(|fact| {
        (
            fact.judgement.verdict(),
            fact.check.map_or(0, |check| check.count),
        )
    })?;
    Some((deciding.judgement.verdict(), deciding))
}

/// The deciding fact's reason, as the whole set turns it.
fn reason(
    verdict: Verdict,
    capability: Capability,
    deciding: &Judged<'_>,
    recommended: CapSet,
) -> String {
    let reason = deciding.judgement.reason();
    let by = deciding
        .satisfied_by()
        .map(|any| any.set() & recommended)
        .unwrap_or_default()
        .iter()
        .min_by_key(|member| member.power());
    match (verdict, by) {
        (Verdict::Alternative, Some(by)) => format!("{reason}; {} covers that", by.name()),
        (Verdict::Needed, _) if deciding.check.is_some() && !deciding.asks_for(capability) => {
            format!("{reason}; it is the least powerful that will do")
        }
        _ => reason.to_owned(),
    }
}

fn count(capability: Capability, facts: &[&Judged<'_>], outcome: Outcome) -> u64 {
    facts
        .iter()
        .filter_map(|fact| fact.check)
        .filter(|check| {
            check.identity.capability == capability && check.identity.outcome == outcome
        })
        .map(|check| check.count)
        .fold(0, u64::saturating_add)
}

fn seen_in(capability: Capability, facts: &[&Judged<'_>], deciding: &Judged<'_>) -> Vec<Use> {
    let of_deciding = |check: &CheckRecord| {
        deciding
            .check
            .is_some_and(|deciding| deciding.identity == check.identity)
    };
    let mut checks: Vec<&CheckRecord> = facts
        .iter()
        .filter(|fact| fact.judgement.verdict() == deciding.judgement.verdict())
        .filter_map(|fact| fact.check)
        .filter(|check| check.identity.capability == capability || of_deciding(check))
        .collect();
    checks.sort_by_key(|check| check.first_ms);
    let mut uses: Vec<Use> = Vec::new();
    for check in checks {
        let identity = &check.identity;
        let used = |object: String| Use {
            exe: identity.requester.exe.clone(),
            comm: identity.requester.comm.clone(),
            syscall: identity.syscall.clone().unwrap_or_default(),
            object,
            caller: kernel::asker(&identity.callers)
                .unwrap_or_default()
                .to_owned(),
        };
        let syscall = identity.syscall.as_deref().unwrap_or_default();
        let mut objects: Vec<String> = check
            .samples()
            .seen()
            .iter()
            .map(|sample| described(syscall, sample))
            .collect();
        objects.dedup();
        if objects.is_empty() {
            objects.push(String::new());
        }
        for object in objects {
            let used = used(object);
            if !uses.contains(&used) {
                uses.push(used);
            }
        }
    }
    listed(uses)
}

/// The first uses, and one for each further executable: whom to give a file capability depends on all of them.
fn listed(uses: Vec<Use>) -> Vec<Use> {
    let mut listed: Vec<Use> = Vec::new();
    for used in uses {
        if listed.len() < MAX_USES || listed.iter().all(|known| known.exe != used.exe) {
            listed.push(used);
        }
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_of_another_users_thread_is_told() {
        use crate::ledger::{CheckIdentity, Container, Hook, Sample, UserIds};
        let mut check = CheckRecord::new(CheckIdentity::usual(Capability::KILL, Some("tkill")));
        check.count = 1;
        check.add_sample(Sample {
            arguments: [7, 0, 0, 0, 0, 0],
            object: None,
            second: None,
            owner: None,
            ids: UserIds::default(),
            result: Some(0),
        });
        let mut ledger = Ledger {
            schema: crate::ledger::SCHEMA.to_owned(),
            session: Session::new(Hook::TpBtf),
            subjects: Vec::new(),
        };
        let mut subject = SubjectRecord::new(Container::default());
        subject.checks.push(check);
        ledger.subjects.push(subject);
        let advice = advise(&ledger, &ledger.subjects[0]);
        assert_eq!(advice.recommended, CapSet::EMPTY);
        assert!(
            matches!(advice.notes.as_slice(), [one] if one.starts_with("KILL is not recommended")),
            "{:?}",
            advice.notes
        );
    }

    #[test]
    fn no_executable_falls_off_the_list() {
        let used = |exe: &str, object: usize| Use {
            exe: exe.to_owned(),
            comm: String::new(),
            syscall: String::new(),
            object: object.to_string(),
            caller: String::new(),
        };
        let mut uses: Vec<Use> = (0..20).map(|object| used("a", object)).collect();
        uses.extend([used("b", 0), used("b", 1)]);
        let listed = listed(uses);
        assert_eq!(listed.len(), MAX_USES + 1);
        assert_eq!(listed[MAX_USES].exe, "b");
    }
}
