//! One fact, judged.

use crate::{
    advise::{Evidence, Fact, Judgement, Meaning, Rule, rules, seccomp},
    capability::Capability,
    ledger::{ExecRecord, SubjectRecord},
};

/// Judges a check: the first rule that applies decides; where none does, the check is a need.
///
/// Rules say that something is harmless only if it is so of every single check. Where that is so of all that were seen
/// closely, but not all were, the check stays a need, which one run cannot tell to be one.
pub fn judge(fact: &Fact<'_>) -> Judgement {
    let mut judgement = by_rules(fact);
    if let Meaning::Need {
        evidence, reason, ..
    } = &mut judgement.meaning
        && *evidence == Evidence::Decisive
        && let Some(doubt) = harmless_as_far_as_seen(fact)
    {
        *evidence = Evidence::Possible;
        reason.push_str(&doubt);
    }
    rules::doubt::doubted(fact, judgement)
}

fn by_rules(fact: &Fact<'_>) -> Judgement {
    rules::CHECK_RULES
        .iter()
        .find_map(|known| Some((known.apply)(fact)?.by(known.rule)))
        .unwrap_or_else(|| {
            let capability = fact.check.identity.capability;
            Meaning::decisive(capability, purpose(capability)).by(Rule::AnyCheck)
        })
}

/// Why the checks that were sampled are no sure need, if not all were and these are none.
fn harmless_as_far_as_seen(fact: &Fact<'_>) -> Option<String> {
    let samples = fact.check.samples();
    if samples.cover_all() || samples.seen().is_empty() {
        return None;
    }
    let mut check = fact.check.clone();
    check.count = samples.covered();
    let seen = by_rules(&Fact {
        check: &check,
        ..*fact
    });
    let sure = seen.satisfied_by().is_some() && seen.evidence() == Evidence::Decisive;
    (!sure).then(|| {
        format!(
            "; of {} checks, capaudit saw {} closely, and of those: {}",
            fact.check.count,
            check.count,
            seen.reason()
        )
    })
}

/// What a call does that is refused without the capability.
fn purpose(capability: Capability) -> &'static str {
    match capability {
        Capability::CHOWN => "changes a file's owner or group",
        Capability::DAC_OVERRIDE => "uses a file in a way that its mode forbids",
        Capability::FOWNER => "changes a file that belongs to another user",
        Capability::FSETID => "keeps the setgid bit of a file of a foreign group",
        Capability::KILL => "sends a signal to another user's process",
        Capability::SETGID => "changes its groups",
        Capability::SETUID => "changes its user",
        Capability::SETPCAP => "changes capabilities beyond those it may pass on",
        Capability::NET_BIND_SERVICE => "listens on a privileged port",
        Capability::NET_ADMIN => "changes the network's configuration",
        Capability::NET_RAW => "opens a raw or packet socket",
        Capability::IPC_LOCK => "locks more memory than its limit allows",
        Capability::SYS_CHROOT => "changes its root directory",
        Capability::SYS_PTRACE => "looks into or controls another user's process",
        Capability::SYS_NICE => "raises a scheduling priority",
        Capability::SYS_RESOURCE => "goes beyond a resource limit",
        Capability::SYS_TIME => "sets the clock",
        Capability::MKNOD => "makes a device file",
        Capability::AUDIT_WRITE => "writes a record into the kernel's audit log",
        Capability::SETFCAP => "gives a file capabilities",
        _ => "does what the kernel allows only with it",
    }
}

/// Judges the execution of a privileged file.
pub(super) fn judge_exec(exec: &ExecRecord) -> Vec<Judgement> {
    rules::exec::needs(exec)
}

/// Judges system calls that matter without any check.
pub(super) fn judge_calls(subject: &SubjectRecord) -> Vec<Judgement> {
    let mut needs = seccomp::needs(subject);
    needs.extend(rules::own_set::needs(subject));
    needs
}
