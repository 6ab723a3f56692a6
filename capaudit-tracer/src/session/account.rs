//! From the kernel's totals to facts, each under the subject and executable that it belongs to. Pure:
//! the kernel's maps are behind [`Totals`].

use std::collections::{HashMap, HashSet};

use capaudit_common::key::{
    CallKey, CheckCount, CheckKey, NO_SYSCALL, SiteCount, SiteKey, call_flag, flag,
};
use capaudit_core::{
    capability::Capability,
    ledger::{
        CallRecord, CheckIdentity, CheckRecord, Credentials, Options, Outcome, Phases, Place,
        Requester,
    },
};

use crate::{
    probe::{ProbeError, Tracer, syscall_name},
    proc::kallsyms::Symbols,
    session::{
        contact, describe,
        facts::Facts,
        join::{Joined, Sightings},
    },
    subject::{Execution, Owner, Subject, Tracker},
};

/// The kernel side's totals, and what it follows.
///
/// # Errors
///
/// All errors are of maps that cannot be read.
pub(super) trait Totals {
    /// Totals of all checks not yet removed.
    fn checks(&self) -> Result<HashMap<CheckKey, CheckCount>, ProbeError>;
    /// Totals of all call sites not yet removed.
    fn sites(&self) -> Result<HashMap<SiteKey, SiteCount>, ProbeError>;
    /// Totals of all reported system calls not yet removed.
    fn calls(&self) -> Result<HashMap<CallKey, u64>, ProbeError>;
    /// Checks counted by capability only: granted, then denied.
    fn overflow(&self) -> Result<Vec<(Capability, u64, u64)>, ProbeError>;
    /// Records that were lost so far.
    fn lost_records(&self) -> Result<u64, ProbeError>;
    /// Executions of all followed processes that live; `None` if they cannot be listed.
    fn live_executions(&self) -> Result<Option<HashSet<u64>>, ProbeError>;
    /// Distinct checks that there is room for.
    fn max_checks(&self) -> u32;
    /// Stops following a process while it stays in this mount namespace.
    fn stop_following(&mut self, pid: u32, mount_namespace: u32);
    /// Forgets a check whose total was taken over.
    fn remove_check(&mut self, key: &CheckKey);
    /// Forgets a call site whose total was taken over.
    fn remove_site(&mut self, key: &SiteKey);
    /// Forgets a system call whose total was taken over.
    fn remove_call(&mut self, key: &CallKey);
}

impl Totals for Tracer {
    fn checks(&self) -> Result<HashMap<CheckKey, CheckCount>, ProbeError> {
        Tracer::checks(self)
    }

    fn sites(&self) -> Result<HashMap<SiteKey, SiteCount>, ProbeError> {
        Tracer::sites(self)
    }

    fn calls(&self) -> Result<HashMap<CallKey, u64>, ProbeError> {
        Tracer::calls(self)
    }

    fn overflow(&self) -> Result<Vec<(Capability, u64, u64)>, ProbeError> {
        Tracer::overflow(self)
    }

    fn lost_records(&self) -> Result<u64, ProbeError> {
        Tracer::lost_records(self)
    }

    fn live_executions(&self) -> Result<Option<HashSet<u64>>, ProbeError> {
        Tracer::live_executions(self)
    }

    fn max_checks(&self) -> u32 {
        Tracer::max_checks(self)
    }

    fn stop_following(&mut self, pid: u32, mount_namespace: u32) {
        Tracer::stop_following(self, pid, mount_namespace);
    }

    fn remove_check(&mut self, key: &CheckKey) {
        Tracer::remove_check(self, key);
    }

    fn remove_site(&mut self, key: &SiteKey) {
        Tracer::remove_site(self, key);
    }

    fn remove_call(&mut self, key: &CallKey) {
        Tracer::remove_call(self, key);
    }
}

/// What the kernel has counted, and nobody has taken over yet.
#[derive(Debug, Default)]
pub(super) struct Counted {
    checks: Vec<(CheckKey, CheckCount)>,
    sites: HashMap<CheckKey, Vec<(SiteKey, SiteCount)>>,
    calls: Vec<(CallKey, u64)>,
}

impl Counted {
    /// Reads the totals of the executions that are `wanted`.
    ///
    /// # Errors
    ///
    /// A map cannot be read.
    pub(super) fn of(
        totals: &impl Totals,
        wanted: impl Fn(u64) -> bool,
    ) -> Result<Self, ProbeError> {
        let mut counted = Self::default();
        // Checks first: of what is counted meanwhile, the site must not be missing.
        let checks = totals.checks()?.into_iter();
        counted.checks = checks.filter(|(key, _)| wanted(key.execution)).collect();
        for (key, count) in totals.sites()? {
            if wanted(key.check.execution) {
                counted
                    .sites
                    .entry(key.check)
                    .or_default()
                    .push((key, count));
            }
        }
        let calls = totals.calls()?.into_iter();
        counted.calls = calls.filter(|(key, _)| wanted(key.execution)).collect();
        Ok(counted)
    }

    /// Forgets all of it, in the kernel and among the records: it was taken over.
    pub(super) fn remove(&self, totals: &mut impl Totals, joined: &mut Joined) {
        for (key, _count) in self.sites.values().flatten() {
            totals.remove_site(key);
            joined.forget_site(key);
        }
        for (key, _count) in &self.checks {
            totals.remove_check(key);
        }
        for (key, _count) in &self.calls {
            totals.remove_call(key);
            joined.forget_call(key);
        }
    }
}

/// Adds the checks that the kernel counted by capability only.
///
/// # Errors
///
/// The map cannot be read.
pub(super) fn add_overflow(totals: &impl Totals, facts: &mut Facts) -> Result<(), ProbeError> {
    for (capability, granted, denied) in totals.overflow()? {
        facts.add_unattributed(capability, granted + denied);
    }
    Ok(())
}

/// Says what is counted under a key, and for whom.
#[derive(Clone, Copy)]
pub(super) struct Accountant<'a> {
    pub(super) tracker: &'a Tracker,
    /// What the records told.
    pub(super) joined: &'a Joined,
    /// Names of the kernel's functions.
    pub(super) symbols: &'a Symbols,
    /// `CLOCK_MONOTONIC` at the start of the audit, in nanoseconds.
    pub(super) started: u64,
}

impl Accountant<'_> {
    /// Adds everything that was counted.
    pub(super) fn account(&self, counted: &Counted, facts: &mut Facts) {
        for (key, count) in &counted.checks {
            let sites = counted.sites.get(key).map_or(&[][..], Vec::as_slice);
            self.total(key, count, sites, facts);
        }
        for (key, count) in &counted.calls {
            self.call_total(key, *count, facts);
        }
    }

    /// Milliseconds from the start of the audit to a time of the BPF programs.
    pub(super) fn milliseconds(&self, time: u64) -> u64 {
        time.saturating_sub(self.started) / 1_000_000
    }

    /// Puts the total of one key under the subject it belongs to, divided among its call sites.
    fn total(
        &self,
        key: &CheckKey,
        count: &CheckCount,
        sites: &[(SiteKey, SiteCount)],
        facts: &mut Facts,
    ) {
        let Some(capability) = Capability::from_number(key.capability) else {
            return;
        };
        let execution = match self.tracker.execution(key.execution) {
            Some(execution) => execution.clone(),
            None => {
                facts.add_unattributed(capability, count.count);
                return;
            }
        };
        let subject = match execution.owner_of_check(is_execve(key)) {
            Owner::Subject(subject) => subject,
            Owner::Lost => {
                facts.add_unattributed(capability, count.count);
                return;
            }
            Owner::Undecided | Owner::Unrelated => return,
        };
        let (first_ms, last_ms) = (
            self.milliseconds(count.first),
            self.milliseconds(count.last),
        );
        let shares = divide(count.count, sites);
        let of_subject = self.tracker.get(subject);
        for (site, (site_count, share)) in shares {
            let sightings = site.and_then(|site| self.joined.sightings(&site));
            let identity = self.identity(key, capability, &execution, of_subject, sightings);
            let mut record = CheckRecord::new(identity);
            record.count = share;
            record.first_ms = first_ms;
            record.last_ms = last_ms;
            record.succeeded = site_count.succeeded.into();
            record.failed = site_count.failed.into();
            record.errno = site_count.errno;
            if let Some(sightings) = sightings {
                for sample in &sightings.samples {
                    record.add_sample(sample.clone());
                }
                record.sampled = sightings.sampled.min(share);
            }
            facts.subject(subject, of_subject).add_check(record);
        }
    }

    /// What tells a check from others in the record of `subject`.
    pub(super) fn identity(
        &self,
        key: &CheckKey,
        capability: Capability,
        execution: &Execution,
        subject: &Subject,
        sightings: Option<&Sightings>,
    ) -> CheckIdentity {
        let has = |bit: u8| key.flags & bit != 0;
        let base = subject.user_namespace;
        let (target_level, cred_level) =
            sightings.map_or((base.level, base.level), |sightings| sightings.levels);
        let place = if key.target_ns == base.inode {
            Place::Own
        } else if target_level > base.level {
            // Credentials of an inner namespace have everything in what lies below that, whoever made it.
            if has(flag::OWNED) || key.cred_ns != base.inode {
                Place::Inner
            } else {
                Place::InnerOfOthers
            }
        } else {
            Place::Outer
        };
        CheckIdentity {
            capability,
            outcome: if has(flag::DENIED) {
                Outcome::Denied
            } else {
                Outcome::Granted
            },
            requester: Requester {
                // What a runtime does in its last execve is for the program that it executes.
                setup: execution.setup && !is_execve(key),
                exe: execution.exe.to_string(),
                comm: sightings.map_or_else(
                    || execution.comm.to_string(),
                    |sightings| sightings.comm.to_string(),
                ),
            },
            place,
            inner_credentials: cred_level > base.level,
            credentials: if has(flag::FOREIGN) {
                Credentials::Foreign
            } else if has(flag::OVERRIDDEN) {
                Credentials::Borrowed
            } else {
                Credentials::Own
            },
            options: has(flag::OPTIONS_KNOWN).then(|| Options {
                noaudit: has(flag::NOAUDIT),
                insetid: has(flag::INSETID),
            }),
            syscall: syscall_text(key),
            operation: key.operation,
            callers: sightings
                .map(|sightings| describe::callers(&sightings.stack, self.symbols))
                .unwrap_or_default(),
        }
    }

    fn call_total(&self, key: &CallKey, count: u64, facts: &mut Facts) {
        let target = self.joined.target_of(key);
        if contact::is_contact(key) && target.is_none() {
            return; // of interest while the audit goes on, see there
        }
        let first = self.joined.sampled_call(key);
        let Some(execution) = self.tracker.execution(key.execution) else {
            return;
        };
        let Owner::Subject(subject) = execution.owner else {
            return;
        };
        let has = |bit: u8| key.flags & bit != 0;
        let record = CallRecord {
            syscall: if has(call_flag::COMPAT) {
                CallRecord::COMPAT.to_owned()
            } else {
                number_text(key.syscall)
            },
            requester: Requester {
                exe: execution.exe.to_string(),
                comm: execution.comm.to_string(),
                setup: execution.setup,
            },
            operation: key.operation,
            arguments: first.map_or([0; 6], |call| call.arguments),
            failed: key.failed != 0,
            result: first.map_or(0, |call| call.value),
            count,
            target,
            object: first.and_then(describe::object_of_call),
            seccomp: has(call_flag::FILTER_KNOWN).then(|| has(call_flag::FILTERED)),
            unasked: has(call_flag::UNASKED),
            phases: Phases::default(),
        };
        facts
            .subject(subject, self.tracker.get(subject))
            .add_call(record);
    }
}

/// Whether a check was made in execve, where a runtime becomes its container's program.
pub(super) fn is_execve(key: &CheckKey) -> bool {
    key.flags & flag::COMPAT == 0
        && matches!(syscall_name(key.syscall), Some("execve" | "execveat"))
}

fn syscall_text(key: &CheckKey) -> Option<String> {
    if key.syscall == NO_SYSCALL {
        return None;
    }
    Some(match syscall_name(key.syscall) {
        _ if key.flags & flag::COMPAT != 0 => CheckIdentity::compat(key.syscall),
        _ => number_text(key.syscall),
    })
}

/// The name of a system call, or its number if it has none.
fn number_text(number: u16) -> String {
    syscall_name(number).map_or_else(|| number.to_string(), str::to_owned)
}

/// Divides a total among the call sites as their own totals say; what is left over goes to the first. Without any site, everything
/// goes to an unknown one.
fn divide(total: u64, sites: &[(SiteKey, SiteCount)]) -> Vec<(Option<SiteKey>, (SiteCount, u64))> {
    let known: u128 = sites
        .iter()
        .map(|(_key, count)| u128::from(count.count))
        .sum();
    if sites.is_empty() || known == 0 {
        return vec![(None, (SiteCount::default(), total))];
    }
    let mut rest = total;
    let mut shares: Vec<(Option<SiteKey>, (SiteCount, u64))> = sites
        .iter()
        .map(|(key, count)| {
            let exact = u128::from(total) * u128::from(count.count) / known;
            // At most `total`, so it fits.
            let share = (exact as u64).max(1).min(rest);
            rest -= share;
            (Some(*key), (*count, share))
        })
        .collect();
    if let Some((_key, (_count, share))) = shares.first_mut() {
        *share += rest;
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn site(count: u64, site: u32) -> (SiteKey, SiteCount) {
        let check = CheckKey {
            execution: 1,
            target_ns: 0,
            cred_ns: 0,
            operation: 0,
            syscall: 0,
            capability: 0,
            flags: 0,
        };
        (
            SiteKey {
                check,
                site,
                reserved: 0,
            },
            SiteCount {
                count,
                ..SiteCount::default()
            },
        )
    }

    proptest! {
        #[test]
        fn dividing_loses_nothing(total in 0u64..1_000_000, counts in proptest::collection::vec(0u64..100, 0..6)) {
            let sites: Vec<_> = counts.iter().enumerate().map(|(n, count)| site(*count, n as u32)).collect();
            let sum: u64 = divide(total, &sites).iter().map(|(_, (_, share))| share).sum();
            prop_assert_eq!(sum, total);
        }
    }

    #[test]
    fn every_site_seen_gets_a_share() {
        let shares = divide(1000, &[site(63, 1), site(1, 2)]);
        assert!(shares.iter().all(|(_, (_, share))| *share > 0));
    }
}
