//! How often each check was made: exactly, and cheaply.
//!
//! Looking a key up in [`CHECKS`] and adding to a number that all processors share takes several times as long as the rest
//! of a repeated check. So a key that has been asked often is counted in a small table of the processor's own,
//! [`RECENT`], and added to its total only when its call site is due to be looked for again, or another key takes its place.
//! User space adds up both. A key is in `CHECKS` from its first check on, whatever happens.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use capaudit_common::{
    key::{CheckCount, CheckKey, CheckKind, RECENT_LEN, Recent, flag, next_walk},
    scope::loss,
};

use crate::{
    kernel::{self, Pointer, mix},
    maps::{CHECKS, OVERFLOW, RECENT, add_atomically, increment, lose},
};

/// Whose check was counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cached {
    /// A followed process's.
    Tracked,
    /// That of a process that is not followed: nobody will ask for the number.
    Untracked,
}

/// A processor's own place for a key. It may hold another key.
#[derive(Clone, Copy)]
pub struct Place(*mut Recent);

impl Place {
    /// Where a process's checks of this kind are counted.
    #[inline(always)]
    pub fn of(tgid: u32, question: CheckKind) -> Option<Self> {
        let table = RECENT.get_ptr_mut(0)?;
        let hash = mix(tgid, question.what());
        let index = (hash ^ (hash >> 16)) as usize & (RECENT_LEN - 1);
        // SAFETY: a map value of this processor, and an index within it.
        Some(Self(unsafe { (&raw mut (*table).0[0]).add(index) }))
    }

    /// Counts a check of a process whose execution is not looked up yet, if this place knows both process and key.
    #[inline(always)]
    pub fn count(
        self,
        namespaces: Pointer,
        tgid: u32,
        epoch: u64,
        question: CheckKind,
    ) -> Option<Cached> {
        // SAFETY: a map value that only this processor writes, in a program that does not interrupt itself.
        let recent = unsafe { &mut *self.0 };
        if recent.tgid != tgid
            || recent.epoch != epoch
            || recent.quota == 0
            || recent.question != question
        {
            return None;
        }
        if recent.execution == 0 {
            let stays = recent.mount_namespace == kernel::mount_namespace_of(namespaces);
            return stays.then_some(Cached::Untracked);
        }
        recent.quota -= 1;
        recent.pending += 1;
        Some(Cached::Tracked)
    }

    /// As [`Self::count`], for a process that was found to run `execution`; whether it was counted.
    #[inline(always)]
    pub fn count_again(
        self,
        namespaces: Pointer,
        tgid: u32,
        epoch: u64,
        execution: u64,
        question: CheckKind,
    ) -> bool {
        // SAFETY: as in `count`.
        let recent = unsafe { &mut *self.0 };
        if recent.execution != execution {
            return false;
        }
        recent.tgid = tgid;
        recent.epoch = epoch;
        self.count(namespaces, tgid, epoch, question).is_some()
    }

    /// Has the checks of a process that is not followed recognized here.
    #[inline(always)]
    pub fn give_to_untracked(
        self,
        namespaces: Pointer,
        tgid: u32,
        epoch: u64,
        question: CheckKind,
    ) {
        self.give(tgid, epoch, 0, question, u64::MAX);
        // SAFETY: as in `count`.
        unsafe { (*self.0).mount_namespace = kernel::mount_namespace_of(namespaces) };
    }

    /// Adds what is counted here to its total, and lets another execution's question have the place for its next `quota` checks.
    #[inline(always)]
    fn give(self, tgid: u32, epoch: u64, execution: u64, question: CheckKind, quota: u64) {
        let recent = self.0;
        // SAFETY: as in `count`; volatile, because user space reads meanwhile and relies on the order.
        unsafe {
            let change = (*recent).tail.wrapping_add(1);
            (&raw mut (*recent).tail).write_volatile(change);
            let pending = (*recent).pending;
            if pending != 0
                // If it is not there any more, user space has taken it over, with what is pending here.
                && let Some(total) = CHECKS.get_ptr_mut(&(*recent).question.asked_by((*recent).execution))
            {
                add_atomically(&raw mut (*total).count, pending as i64);
            }
            (*recent).pending = 0;
            (*recent).tgid = tgid;
            (*recent).execution = execution;
            (*recent).question = question;
            (*recent).epoch = epoch;
            (*recent).quota = quota;
            (&raw mut (*recent).head).write_volatile(change);
        }
    }

    /// Adds what is counted here to its total, if that is this execution's question.
    #[inline(always)]
    fn settle(self, execution: u64, question: CheckKind) {
        // SAFETY: as in `count`.
        let held = unsafe { &*self.0 };
        if held.pending != 0 && held.execution == execution && held.question == question {
            self.give(held.tgid, held.epoch, execution, question, 0);
        }
    }
}

/// Adds one to the key's total. Whether its call site is to be looked for; `None` if it could not be counted by its key.
#[inline(always)]
pub fn total(place: Option<Place>, tgid: u32, epoch: u64, key: &CheckKey) -> Option<bool> {
    let question = CheckKind::of(key);
    if let Some(place) = place {
        place.settle(key.execution, question);
    }
    let total = match CHECKS.get_ptr_mut(key) {
        Some(total) => total,
        None => enter(key)?,
    };
    // SAFETY: a map value; counted atomically. The rest may be torn between processors: a call site is then looked for
    // twice.
    let (is_due, quota) = unsafe {
        add_atomically(&raw mut (*total).count, 1);
        let count = (*total).count;
        let is_due = count >= (*total).next_walk;
        if is_due {
            (*total).next_walk = next_walk(count);
            (*total).last = bpf_ktime_get_ns();
        }
        (is_due, (*total).next_walk.saturating_sub(count + 1))
    };
    if let Some(place) = place
        && quota != 0
    {
        place.give(tgid, epoch, key.execution, question, quota);
    }
    Some(is_due)
}

/// The total of a key that had none; `None` if the map is full.
#[inline(always)]
fn enter(key: &CheckKey) -> Option<*mut CheckCount> {
    // SAFETY: no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let fresh = CheckCount {
        count: 0,
        first: now,
        last: now,
        next_walk: 1,
    };
    // BPF_NOEXIST: another CPU's count must not be overwritten. Whoever won, the entry is there now.
    let _ = CHECKS.insert(key, &fresh, 1);
    let entered = CHECKS.get_ptr_mut(key);
    if entered.is_none() {
        lose(loss::CHECKS);
        let denied = (key.flags & flag::DENIED != 0) as u32;
        increment(&OVERFLOW, (denied << 6) | (key.capability as u32 & 63));
    }
    entered
}
