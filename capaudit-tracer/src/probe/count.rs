//! How often each check was made: what the kernel's map of totals says, and what processors have not added to it yet.

use std::collections::HashMap;

use aya::{
    Ebpf,
    maps::{HashMap as BpfHashMap, MapData, PerCpuArray},
};
use capaudit_common::key::{CheckCount, CheckKey, Recent, RecentChecks, SiteCount, SiteKey};

use super::{error::ProbeError, load::take};

/// Times that everything is read again because a processor was just adding up.
const ATTEMPTS: usize = 8;

/// Every processor's own counts at a moment.
type Tables = Vec<RecentChecks>;

/// Exact totals of checks, and those of their call sites.
pub(super) struct Counts {
    totals: BpfHashMap<MapData, CheckKey, CheckCount>,
    sites: BpfHashMap<MapData, SiteKey, SiteCount>,
    recent: PerCpuArray<MapData, RecentChecks>,
}

impl Counts {
    /// The maps of a loaded object.
    pub(super) fn of(bpf: &mut Ebpf) -> Result<Self, ProbeError> {
        Ok(Self {
            totals: BpfHashMap::try_from(take(bpf, "CHECKS")?)?,
            sites: BpfHashMap::try_from(take(bpf, "SITES")?)?,
            recent: PerCpuArray::try_from(take(bpf, "RECENT")?)?,
        })
    }

    /// Totals of all checks not yet removed. Those of executions that ended, and all once recording has stopped, are exact; of
    /// what is being asked at this very moment, a processor's latest checks may be missing.
    pub(super) fn totals(&self) -> Result<HashMap<CheckKey, CheckCount>, ProbeError> {
        let mut before = self.tables()?;
        let mut attempt = 1;
        loop {
            let mut totals: HashMap<CheckKey, CheckCount> =
                self.totals.iter().collect::<Result<_, _>>()?;
            let after = self.tables()?;
            let is_settled = add_pending(&mut totals, &before, &after);
            if is_settled || attempt == ATTEMPTS {
                return Ok(totals);
            }
            attempt += 1;
            before = after;
        }
    }

    /// Totals of all call sites not yet removed. Of what is being asked at this very moment, some may be missing or twice there:
    /// they only say how a key's total is divided.
    pub(super) fn sites(&self) -> Result<HashMap<SiteKey, SiteCount>, ProbeError> {
        let mut sites: HashMap<SiteKey, SiteCount> = self.sites.iter().collect::<Result<_, _>>()?;
        for recent in self.tables()?.iter().flat_map(|table| &table.0) {
            if let Some(site) = sites.get_mut(&site_of(recent)) {
                site.count += u64::from(recent.pending);
            }
        }
        Ok(sites)
    }

    /// Forgets a call site whose total was taken over.
    pub(super) fn remove_site(&mut self, key: &SiteKey) {
        let _ = self.sites.remove(key);
    }

    /// Forgets a total that was taken over.
    pub(super) fn remove(&mut self, key: &CheckKey) {
        let _ = self.totals.remove(key);
    }

    fn tables(&self) -> Result<Tables, ProbeError> {
        Ok(self.recent.get(&0, 0)?.iter().copied().collect())
    }
}

/// Adds to each total what processors had not yet added to it, if they added nothing while it was read: if their tables
/// were the same `before` and `after`. Whether that was so for all.
fn add_pending(
    totals: &mut HashMap<CheckKey, CheckCount>,
    before: &[RecentChecks],
    after: &[RecentChecks],
) -> bool {
    let places = |tables: &[RecentChecks]| {
        tables
            .iter()
            .flat_map(|table| table.0)
            .collect::<Vec<Recent>>()
    };
    let mut is_settled = true;
    for (before, after) in places(before).into_iter().zip(places(after)) {
        if !(is_whole(&before) && is_whole(&after) && before.head == after.head) {
            is_settled = false;
        } else if let Some(total) = totals.get_mut(&before.question.asked_by(before.execution)) {
            total.count += u64::from(before.pending);
        }
    }
    is_settled
}

/// The call site that is counted there.
fn site_of(recent: &Recent) -> SiteKey {
    SiteKey {
        check: recent.question.asked_by(recent.execution),
        site: recent.site,
        reserved: 0,
    }
}

/// Whether nobody was writing it while it was read.
fn is_whole(recent: &Recent) -> bool {
    recent.head == recent.tail
}

#[cfg(test)]
mod tests {
    use capaudit_common::key::{CheckKind, RECENT_LEN, is_sighting, next_sample};
    use proptest::prelude::*;

    use super::*;

    fn key(execution: u64) -> CheckKey {
        CheckKey {
            execution,
            target_ns: 1,
            cred_ns: 1,
            operation: 0,
            syscall: 62,
            capability: 5,
            flags: 0,
        }
    }

    fn total(count: u64) -> CheckCount {
        CheckCount {
            count,
            ..CheckCount::default()
        }
    }

    fn table(first: Recent) -> RecentChecks {
        let mut all = [Recent::default(); RECENT_LEN];
        all[0] = first;
        RecentChecks(all)
    }

    fn recent(execution: u64, pending: u32, change: u32) -> Recent {
        Recent {
            head: change,
            tail: change,
            execution,
            question: CheckKind::of(&key(execution)),
            pending,
            ..Recent::default()
        }
    }

    #[test]
    fn every_processor_s_own_counts_belong_to_the_total() {
        let mut totals = HashMap::from([(key(1), total(64)), (key(2), total(1))]);
        let tables = [table(recent(1, 5, 3)), table(recent(1, 7, 9))];
        assert!(add_pending(&mut totals, &tables, &tables));
        assert_eq!(totals[&key(1)].count, 76);
        assert_eq!(totals[&key(2)].count, 1);
    }

    #[test]
    fn what_was_added_meanwhile_is_not_added_twice() {
        let mut totals = HashMap::from([(key(1), total(69))]);
        let (before, after) = ([table(recent(1, 5, 3))], [table(recent(2, 0, 4))]);
        assert!(!add_pending(&mut totals, &before, &after));
        assert_eq!(totals[&key(1)].count, 69);
    }

    #[test]
    fn what_is_half_written_is_read_again() {
        let mut totals = HashMap::from([(key(1), total(64))]);
        let half = [table(Recent {
            tail: 4,
            ..recent(1, 5, 3)
        })];
        assert!(!add_pending(&mut totals, &half, &half));
        assert_eq!(totals[&key(1)].count, 64);
    }

    #[test]
    fn a_total_that_was_taken_over_does_not_come_back() {
        let mut totals = HashMap::new();
        let tables = [table(recent(1, 5, 3))];
        assert!(add_pending(&mut totals, &tables, &tables));
        assert!(totals.is_empty());
    }

    proptest! {
        #[test]
        fn a_question_is_all_of_a_key_but_its_image(
            execution: u64, target_ns: u32, cred_ns: u32, operation: u32, syscall: u16, capability: u8, flags: u8
        ) {
            let key = CheckKey { execution, target_ns, cred_ns, operation, syscall, capability, flags };
            prop_assert_eq!(CheckKind::of(&key).asked_by(execution), key);
        }

        #[test]
        fn call_sites_are_sampled_again_and_again(count in 0u64..1 << 40, has_succeeded: bool) {
            let next = next_sample(count, has_succeeded);
            prop_assert!(next > count);
            prop_assert!(count >= 4 || next == count + 1);
            if has_succeeded {
                prop_assert!(is_sighting(next));
                prop_assert!(next <= 2 * count.max(2));
            } else {
                prop_assert!(next - count <= 4096);
                prop_assert!(count >= 64 || next == count + 1);
            }
        }
    }
}
