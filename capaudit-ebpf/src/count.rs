//! How often each check was made: exactly, and cheaply.
//!
//! Looking a key up in [`CHECKS`] and adding to a number that all processors share takes several times as long as the rest
//! of a repeated check. So a key that has been asked often is counted in a small table of the processor's own ([`Bucket`])
//! and added to its total only when a check of it is due to be walked again, or another key takes the place. Where call
//! sites are told apart, so are these counts: a check is counted there only if it comes from a site that is known ([`trail`]).
//! User space adds up both. A key is in `CHECKS`, and such a call site in `SITES`, from the first check on, whatever happens.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use capaudit_common::{
    key::{
        ANY_SITE, CheckCount, CheckKey, CheckKind, KNOWN_SITES, MOST_PENDING, SiteKey, flag,
        next_walk,
    },
    scope::loss,
};

use crate::{
    bucket::{Asker, Bucket},
    kernel,
    maps::{CHECKS, OVERFLOW, SITES, TRAILS, add_atomically, increment, lose},
    trail,
};

/// Adds one to the key's total; `None` if it could not be counted by its key.
#[inline(always)]
pub fn total(bucket: Option<Bucket>, key: &CheckKey) -> Option<*mut CheckCount> {
    if let Some(bucket) = bucket
        && !bucket.is_told()
    {
        bucket.place(0).settle();
    }
    let total = match CHECKS.get_ptr_mut(key) {
        Some(total) => total,
        None => enter(key)?,
    };
    // SAFETY: a map value; counted atomically.
    unsafe { add_atomically(&raw mut (*total).count, 1) };
    Some(total)
}

/// Where call sites are not told apart: whether the check under way is to be walked.
#[inline(always)]
pub fn is_due(
    bucket: Option<Bucket>,
    asker: Asker,
    key: &CheckKey,
    total: *mut CheckCount,
) -> bool {
    // SAFETY: a map value. It may be torn between processors: a check is then walked twice.
    let (is_due, quota) = unsafe {
        let count = (*total).count;
        let is_due = count >= (*total).next_walk;
        if is_due {
            (*total).next_walk = next_walk(count);
            (*total).last = bpf_ktime_get_ns();
        }
        (is_due, (*total).next_walk.saturating_sub(count + 1))
    };
    if let Some(bucket) = bucket
        && quota != 0
    {
        let place = bucket.place(0);
        let question = CheckKind::of(key);
        place.give(asker, key.execution, question, ANY_SITE, quota as u32);
    }
    is_due
}

/// Where they are: counts the check under way for its call site if that is one of those known of the key, and needs no sample.
#[inline(always)]
pub fn is_known(
    context: *mut c_void,
    bucket: Bucket,
    asker: Asker,
    key: &CheckKey,
    total: *mut CheckCount,
) -> Option<u32> {
    // SAFETY: a map value; the time may be another processor's. The helper has no preconditions.
    unsafe { (*total).last = bpf_ktime_get_ns() };
    let site = SiteKey {
        check: *key,
        site: known_site(context, total)?,
        reserved: 0,
    };
    bucket.settle(&site);
    let mut left = MOST_PENDING;
    // Else there was no room for it, which was said.
    if let Some(count) = SITES.get_ptr_mut(&site) {
        // SAFETY: a map value; counted atomically.
        unsafe {
            let number = (*count).count + 1;
            if number >= (*count).next_sample {
                return None;
            }
            add_atomically(&raw mut (*count).count, 1);
            left = (*count).next_sample - number - 1;
        }
    }
    if let Some(trail) = TRAILS.get_ptr(&site.site) {
        bucket.expect(asker, &site, trail, kernel::any(left));
    }
    Some(site.site)
}

/// The one of the key's known call sites that the check under way comes from.
#[inline(always)]
fn known_site(context: *mut c_void, total: *mut CheckCount) -> Option<u32> {
    for index in 0..KNOWN_SITES {
        // SAFETY: within a map value.
        let site = unsafe { (*total).sites[index] };
        if trail::is_site(context, site) {
            // Not one case for the verifier for each that it may be.
            return Some(kernel::any(site.into()) as u32);
        }
    }
    None
}

/// Has a call site known as one of the key's.
#[inline(always)]
pub fn remember(total: *mut CheckCount, site: u32) {
    // SAFETY: within a map value. Written by several processors at once, one is known that might be another: it is walked
    // once more.
    unsafe {
        let mut free = (*total).count as usize & (KNOWN_SITES - 1);
        for index in 0..KNOWN_SITES {
            let known = (*total).sites[index];
            if known == site {
                return;
            }
            if known == 0 {
                free = index;
                break;
            }
        }
        (*total).sites[free & (KNOWN_SITES - 1)] = site;
    }
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
        sites: [0; KNOWN_SITES],
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
