//! Records of checks, joined with what the system call that made them returned, by call site. Pure.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use capaudit_common::{
    event::{Call, Check, Result as CallResult},
    key::{CallKey, SiteKey},
};
use capaudit_core::ledger::{CheckRecord, FileOwner, Object, Sample, Target};

use crate::session::describe;

/// System calls under way whose outcome is awaited.
pub(super) const MAX_AWAITED: usize = 1 << 14;

/// Records of one call site of one execution.
#[derive(Debug)]
pub(super) struct Sightings {
    /// Kernel return addresses, innermost first.
    pub(super) stack: Vec<u64>,
    /// Depths of the user namespaces of the question and of the credentials.
    pub(super) levels: (u32, u32),
    /// Command name of the thread that asked.
    pub(super) comm: Arc<str>,
    /// What the checks were about; no two are the same.
    pub(super) samples: Vec<Sample>,
    /// How many checks these speak for.
    pub(super) sampled: u64,
}

impl Sightings {
    /// Of the site that `check` was made from; no sample yet.
    pub(super) fn of(check: &Check) -> Self {
        Self {
            stack: check.stack[..(check.depth as usize).min(check.stack.len())].to_vec(),
            levels: (check.target_level, check.cred_level),
            comm: describe::text(&check.comm).into(),
            samples: Vec::new(),
            sampled: 0,
        }
    }
}

/// Whether a sample says nothing that is not known: whose its file is may still be looked up.
fn is_same(known: &Sample, sample: &Sample) -> bool {
    *known == *sample
        || sample.owner.is_none()
            && *known
                == Sample {
                    owner: known.owner,
                    ..sample.clone()
                }
}

/// A thread, and the number of one of its system calls.
type ThreadCall = (u32, u64);

/// What the records told so far of everything that is counted in the kernel's maps.
#[derive(Debug, Default)]
pub(super) struct Joined {
    sightings: HashMap<SiteKey, Sightings>,
    /// Where the result of a call belongs: the samples of these sites, by their index.
    awaited: HashMap<ThreadCall, Vec<(SiteKey, usize)>>,
    awaited_order: VecDeque<ThreadCall>,
    calls: HashMap<CallKey, (Call, Option<Target>)>,
}

impl Joined {
    /// Takes a check, and what it was about.
    pub(super) fn check(&mut self, check: &Check, sample: Sample) {
        let key = SiteKey {
            check: check.key,
            site: check.site,
            reserved: 0,
        };
        let sightings = self
            .sightings
            .entry(key)
            .or_insert_with(|| Sightings::of(check));
        let place = match sightings
            .samples
            .iter()
            .position(|known| is_same(known, &sample))
        {
            Some(place) => place,
            None if sightings.samples.len() < CheckRecord::MAX_SAMPLES => {
                sightings.samples.push(sample);
                sightings.samples.len() - 1
            }
            None => {
                let alike = |known: &Sample| known.is_alike(&sample);
                sightings.sampled += u64::from(sightings.samples.iter().any(alike));
                return;
            }
        };
        sightings.sampled += 1;
        let thread = (check.header.tid, check.call);
        self.awaited
            .entry(thread)
            .or_insert_with(|| {
                self.awaited_order.push_back(thread);
                Vec::new()
            })
            .push((key, place));
        if self.awaited_order.len() > MAX_AWAITED
            && let Some(oldest) = self.awaited_order.pop_front()
        {
            // Its outcome was never sent: the thread was killed, or the call has not returned.
            self.awaited.remove(&oldest);
        }
    }

    /// Takes whose the file is that checks at a site were about, by the path that was given.
    pub(super) fn owner(&mut self, site: &SiteKey, path: &str, owner: FileOwner) {
        let sightings = self.sightings.get_mut(site);
        for sample in sightings.into_iter().flat_map(|it| &mut it.samples) {
            if matches!(&sample.object, Some(Object::Path(known)) if known == path) {
                sample.owner.get_or_insert(owner);
            }
        }
    }

    /// Takes what a system call returned that made checks.
    pub(super) fn result(&mut self, result: &CallResult) {
        let thread = (result.header.tid, result.call);
        for (key, place) in self.awaited.remove(&thread).unwrap_or_default() {
            if let Some(sample) = self
                .sightings
                .get_mut(&key)
                .and_then(|sightings| sightings.samples.get_mut(place))
            {
                sample.result = Some(result.value);
            }
        }
    }

    /// Takes a system call that matters without any check, and whom it acted upon.
    pub(super) fn call(&mut self, call: Call, target: Option<Target>) {
        self.calls.insert(call.key, (call, target));
    }

    /// What was seen at a call site; `None` if its records were lost.
    pub(super) fn sightings(&self, site: &SiteKey) -> Option<&Sightings> {
        self.sightings.get(site)
    }

    /// The call that was sent of those counted under `key`; `None` if its record was lost.
    pub(super) fn sampled_call(&self, key: &CallKey) -> Option<&Call> {
        self.calls.get(key).map(|(call, _target)| call)
    }

    /// Whom that call acted upon; `None` if nobody else.
    pub(super) fn target_of(&self, key: &CallKey) -> Option<Target> {
        self.calls.get(key)?.1
    }

    /// Forgets a call site whose total was taken over.
    pub(super) fn forget_site(&mut self, site: &SiteKey) {
        self.sightings.remove(site);
    }

    /// Forgets a system call whose total was taken over.
    pub(super) fn forget_call(&mut self, key: &CallKey) {
        self.calls.remove(key);
    }
}
