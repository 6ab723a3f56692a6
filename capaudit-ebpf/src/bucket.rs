//! A processor's own counts of the checks that it saw last ([`RECENT`]): found by what is asked, and by where from.

use core::ffi::c_void;

use capaudit_common::{
    key::{ANY_SITE, CheckKind, MOST_PENDING, RECENT_LEN, Recent, SiteKey},
    trail::Trail,
};

use crate::{
    kernel::{self, Pointer, mix},
    maps::{CHECKS, RECENT, RECENT_TRAILS, SITES, add_atomically},
    trail,
};

/// Places for one question, one behind the other: a system call often asks the same from several call sites in turn.
const WAYS: usize = 8;

/// Whose check was counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cached {
    /// A followed process's.
    Tracked(Place),
    /// That of a process that is not followed: nobody will ask for the number.
    Untracked,
}

/// The process that asks, and when that was seen.
#[derive(Clone, Copy)]
pub struct Asker {
    pub tgid: u32,
    /// The epoch that it is in.
    pub epoch: u64,
}

/// A processor's own places for a question. They may hold others.
#[derive(Clone, Copy)]
pub struct Bucket {
    first: *mut Recent,
    /// Where call sites are told apart, what those of [`WAYS`] places are recognized by; else null, and there is one.
    trails: *mut Trail,
}

impl Bucket {
    /// Where a process's checks of this kind are counted.
    #[inline(always)]
    pub fn of(tgid: u32, question: CheckKind, told: bool) -> Option<Self> {
        let table = RECENT.get_ptr_mut(0)?;
        let hash = mix(tgid, question.what());
        let hash = (hash ^ (hash >> 16)) as usize;
        if !told {
            // SAFETY: a map value of this processor, and an index within it.
            let first = unsafe { (&raw mut (*table).0[0]).add(hash & (RECENT_LEN - 1)) };
            let trails = core::ptr::null_mut();
            return Some(Self { first, trails });
        }
        let trails = RECENT_TRAILS.get_ptr_mut(0)?;
        let index = hash & (RECENT_LEN - WAYS);
        // SAFETY: as above.
        unsafe {
            Some(Self {
                first: (&raw mut (*table).0[0]).add(index),
                trails: (&raw mut (*trails)[0]).add(index),
            })
        }
    }

    /// Whether call sites are told apart.
    #[inline(always)]
    pub fn is_told(self) -> bool {
        !self.trails.is_null()
    }

    /// One of these places.
    #[inline(always)]
    pub fn place(self, way: usize) -> Place {
        // SAFETY: there are so many places from here on.
        Place(unsafe { self.first.add(way) })
    }

    /// Counts a check of a process whose execution is not looked up yet, if one of these places knows process, key and call
    /// site.
    #[inline(always)]
    pub fn count(
        self,
        context: *mut c_void,
        namespaces: Pointer,
        asker: Asker,
        question: CheckKind,
    ) -> Option<Cached> {
        let way = if self.is_told() {
            any_way(self.way_of(context, asker, question)?)
        } else if self.place(0).is_of(asker, question) {
            0
        } else {
            return None;
        };
        self.place(way).count(namespaces)
    }

    /// The way to the place that knows process, key and call site.
    #[inline(always)]
    fn way_of(self, context: *mut c_void, asker: Asker, question: CheckKind) -> Option<usize> {
        // No loop: on Linux 6.1, the verifier takes none that falls through into its own beginning (`push_insn`,
        // kernel/bpf/verifier.c), as the compiler lays this one out.
        const { assert!(WAYS == 8) };
        let is_it = |way| self.is_way_of(way, context, asker, question);
        Some(match () {
            () if is_it(0) => 0,
            () if is_it(1) => 1,
            () if is_it(2) => 2,
            () if is_it(3) => 3,
            () if is_it(4) => 4,
            () if is_it(5) => 5,
            () if is_it(6) => 6,
            () if is_it(7) => 7,
            () => return None,
        })
    }

    /// Whether the place at this way knows process, key and call site. Of a process that is not followed, no site counts.
    #[inline(always)]
    fn is_way_of(
        self,
        way: usize,
        context: *mut c_void,
        asker: Asker,
        question: CheckKind,
    ) -> bool {
        let place = self.place(way);
        // SAFETY: there is a trail for each place; the place as in `Place::count`.
        place.is_of(asker, question)
            && unsafe { (*place.0).execution == 0 || trail::is_on(context, self.trails.add(way)) }
    }

    /// Lets the places of `execution` hold in the present epoch; whether there are any.
    #[inline(always)]
    pub fn renew(self, asker: Asker, execution: u64, question: CheckKind) -> bool {
        let mut is_renewed = false;
        for way in 0..WAYS {
            if way != 0 && !self.is_told() {
                break;
            }
            // SAFETY: as in `Place::count`.
            let recent = unsafe { &mut *self.place(way).0 };
            if recent.execution == execution
                && recent.question == question
                && recent.epoch != asker.epoch
            {
                recent.tgid = asker.tgid;
                recent.epoch = asker.epoch;
                is_renewed = true;
            }
        }
        is_renewed
    }

    /// Has the checks of a process that is not followed recognized here.
    #[inline(always)]
    pub fn give_to_untracked(self, namespaces: Pointer, asker: Asker, question: CheckKind) {
        let way = if self.is_told() {
            self.victim(asker.epoch)
        } else {
            0
        };
        let place = self.place(way);
        place.give(asker, 0, question, ANY_SITE, u32::MAX);
        // SAFETY: as in `Place::count`.
        unsafe { (*place.0).mount_namespace = kernel::mount_namespace_of(namespaces) };
    }

    /// The way to the place that counts this site's checks already, by a trail that has changed since.
    #[inline(always)]
    fn way_to(self, site: &SiteKey) -> Option<usize> {
        for way in 0..WAYS {
            // SAFETY: as in `Place::count`.
            let recent = unsafe { &*self.place(way).0 };
            if recent.site == site.site
                && recent.execution == site.check.execution
                && recent.question == CheckKind::of(&site.check)
            {
                return Some(way);
            }
        }
        None
    }

    /// The way to the place that is given to something else: one that holds nothing that may be asked again, else any.
    #[inline(always)]
    fn victim(self, epoch: u64) -> usize {
        let mut changes = 0;
        for way in 0..WAYS {
            // SAFETY: as in `Place::count`.
            let recent = unsafe { &*self.place(way).0 };
            if recent.quota == 0 || recent.epoch != epoch {
                return way;
            }
            changes += u64::from(recent.head);
        }
        // Any: in turn, each would give way just before it is asked again.
        mix(0, changes) as usize & (WAYS - 1)
    }

    /// Adds to the totals what is counted here of this call site, so that they say whether a check is due to be sampled.
    #[inline(always)]
    pub fn settle(self, site: &SiteKey) {
        // As in `expect`.
        if self.is_told()
            && let Some(way) = self.way_to(site)
        {
            self.place(any_way(way)).settle();
        }
    }

    /// Has the next `quota` checks that come by `trail` counted here.
    #[inline(always)]
    pub fn expect(self, asker: Asker, site: &SiteKey, trail: *const Trail, quota: u64) {
        // Nobody asks elsewhere, but Linux 6.1 does not remember that.
        if quota == 0 || !self.is_told() {
            return;
        }
        let way = self
            .way_to(site)
            .unwrap_or_else(|| self.victim(asker.epoch));
        let way = any_way(way);
        let quota = if quota < MOST_PENDING {
            quota as u32
        } else {
            MOST_PENDING as u32
        };
        let question = CheckKind::of(&site.check);
        let execution = site.check.execution;
        self.place(way)
            .give(asker, execution, question, site.site, quota);
        // SAFETY: as in `count`; nobody else reads it.
        unsafe { trail::copy(trail, self.trails.add(way)) };
    }
}

/// The same way, which the verifier does not tell from the others.
#[inline(always)]
fn any_way(way: usize) -> usize {
    kernel::any(way as u64) as usize & (WAYS - 1)
}

/// One of a processor's own places.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Place(*mut Recent);

impl Place {
    /// Whether checks of this kind, of a process whose execution is not looked up, may be counted here.
    #[inline(always)]
    fn is_of(self, asker: Asker, question: CheckKind) -> bool {
        // SAFETY: as in `count`.
        let recent = unsafe { &*self.0 };
        recent.tgid == asker.tgid
            && recent.epoch == asker.epoch
            && recent.quota != 0
            && recent.question == question
    }

    /// Counts a check here, unless a process that is not followed has come to another mount namespace.
    #[inline(always)]
    fn count(self, namespaces: Pointer) -> Option<Cached> {
        // SAFETY: a map value that only this processor writes, in a program that does not interrupt itself.
        let recent = unsafe { &mut *self.0 };
        if recent.execution == 0 {
            let stays = recent.mount_namespace == kernel::mount_namespace_of(namespaces);
            return stays.then_some(Cached::Untracked);
        }
        recent.quota -= 1;
        recent.pending += 1;
        Some(Cached::Tracked(self))
    }

    /// Adds to the totals what is counted here.
    #[inline(always)]
    pub fn settle(self) {
        // SAFETY: as in `count`.
        let held = unsafe { &*self.0 };
        if held.pending != 0 {
            let asker = Asker {
                tgid: held.tgid,
                epoch: held.epoch,
            };
            let (execution, question) = (held.execution, held.question);
            self.give(asker, execution, question, held.site, held.quota);
        }
    }

    /// The execution whose checks are counted here, and their call site.
    #[inline(always)]
    pub fn asker_and_site(self) -> (u64, u32) {
        // SAFETY: as in `count`.
        unsafe { ((*self.0).execution, (*self.0).site) }
    }

    /// Adds what is counted here to its totals, and lets another execution's question have the place for its next `quota`
    /// checks.
    #[inline(always)]
    pub fn give(self, asker: Asker, execution: u64, question: CheckKind, site: u32, quota: u32) {
        let recent = self.0;
        // SAFETY: as in `Place::count`; volatile, because user space reads meanwhile and relies on the order.
        unsafe {
            let change = (*recent).tail.wrapping_add(1);
            (&raw mut (*recent).tail).write_volatile(change);
            if (*recent).pending != 0 {
                add_pending(kernel::number(recent.cast()));
            }
            (*recent).pending = 0;
            (*recent).tgid = asker.tgid;
            (*recent).execution = execution;
            (*recent).question = question;
            (*recent).epoch = asker.epoch;
            (*recent).site = site;
            (*recent).quota = quota;
            (&raw mut (*recent).head).write_volatile(change);
        }
    }
}

/// Adds what is counted at a place of this processor's, by its address, to its totals. A function that the verifier looks at once by itself (see
/// [`crate::trail`]).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn add_pending(place: u64) -> u32 {
    let Some(table) = RECENT.get_ptr(0) else {
        return 0;
    };
    // The function takes no pointer.
    let index = place.wrapping_sub(kernel::number(table.cast())) / size_of::<Recent>() as u64;
    // SAFETY: a map value of this processor, and an index within it.
    let recent = unsafe { &(*table).0[index as usize & (RECENT_LEN - 1)] };
    let pending = i64::from(recent.pending);
    let site = SiteKey {
        check: recent.question.asked_by(recent.execution),
        site: recent.site,
        reserved: 0,
    };
    // If they are not there any more, user space has taken them over, with what is pending here.
    if let Some(total) = CHECKS.get_ptr_mut(&site.check) {
        // SAFETY: a map value; counted atomically.
        unsafe { add_atomically(&raw mut (*total).count, pending) };
    }
    if site.site != ANY_SITE
        && let Some(total) = SITES.get_ptr_mut(&site)
    {
        // SAFETY: as above.
        unsafe { add_atomically(&raw mut (*total).count, pending) };
    }
    1
}
