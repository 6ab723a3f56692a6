//! The call site of a check: found by a walk, counted, sampled, and sent to user space.

use core::ffi::c_void;

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid,
    generated::{bpf_get_stack, bpf_ktime_get_ns},
};
use capaudit_common::{
    event::{COMM_LEN, Check, Header, STACK_LEN, kind},
    key::{CheckCount, CheckKey, CheckKind, SiteCount, SiteKey, flag, is_sighting, next_sample},
    scope::{Process, loss},
    syscall::TABLE_LEN,
};

use crate::{
    bucket::{Asker, Bucket},
    count,
    kernel::{self, Pointer, follow, probe},
    maps::{
        AWAITED, EVENTS, PENDING, Pending, SITES, STACK, add_atomically, count_atomically, lose,
    },
    object,
    send::{Wake, submit},
    setting::{self, offset},
    trail::{self, SITE_FRAMES},
};

/// Finds the call site, counts it, and sends the check if it is among its first.
#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "inlined: the verifier's stack is 512 bytes"
)]
pub fn walk<const DIRECT: bool>(
    ctx: *mut c_void,
    task: Pointer,
    cred: Pointer,
    target: Pointer,
    process: Process,
    asker: Asker,
    bucket: Option<Bucket>,
    key: &CheckKey,
    total: *mut CheckCount,
    single: bool,
) {
    let Some(stack) = STACK.get_ptr_mut(0) else {
        return;
    };
    // What is not found counts as 0: compared with the depth, each of these frames would be one more case for the verifier.
    for frame in 0..SITE_FRAMES {
        // SAFETY: within the map value.
        unsafe { (&raw mut (*stack)[frame]).write_volatile(0) };
    }
    // SAFETY: the buffer is a map value of the size given.
    let bytes = unsafe { bpf_get_stack(ctx, stack.cast(), (STACK_LEN * 8) as u32, 0) };
    let depth = if bytes > 0 { bytes as u64 / 8 } else { 0 };
    if depth == 0 {
        lose(loss::STACKS);
    }
    let depth = kernel::any(depth) as u32;
    let mut site = 0;
    for frame in 0..SITE_FRAMES {
        // SAFETY: within the map value.
        site = kernel::mix(site, unsafe { (*stack)[frame] });
    }
    let site_key = SiteKey {
        check: *key,
        site,
        reserved: 0,
    };
    if let Some(bucket) = bucket {
        bucket.settle(&site_key);
    }
    let sighting = sight(&site_key);
    let is_sent = kernel::any(u64::from(sighting.is_sent || single));
    let unsampled = kernel::any(sighting.unsampled);
    // Where the next check is walked in any case, nothing is to be recognized.
    if let Some(bucket) = bucket
        && unsampled != 0
        && let Some(trail) = trail::of(ctx, site)
    {
        count::remember(total, site);
        bucket.expect(asker, &site_key, trail, unsampled);
    }
    let sent = is_sent != 0;
    let pid_tgid = bpf_get_current_pid_tgid();
    let call = await_result(&site_key, pid_tgid as u32, sent);
    if sent {
        send::<DIRECT>(
            task, cred, target, process, pid_tgid, &site_key, stack, depth, call,
        );
    }
}

/// What follows from the number of a check among those from its call site.
struct Sighting {
    /// It is sent.
    is_sent: bool,
    /// So many after it need no sample.
    unsampled: u64,
}

/// Adds one to the checks of a site.
#[inline(always)]
fn sight(site: &SiteKey) -> Sighting {
    let Some(count) = SITES.get_ptr_mut(site) else {
        let fresh = SiteCount {
            count: 1,
            next_sample: 2,
            ..SiteCount::default()
        };
        if SITES.insert(site, &fresh, 0).is_err() {
            lose(loss::SITES);
        }
        return Sighting {
            is_sent: true,
            unsampled: 0,
        };
    };
    // SAFETY: a map value; counted atomically. The rest may be torn between processors: a check is then sampled twice.
    unsafe {
        add_atomically(&raw mut (*count).count, 1);
        let number = (*count).count;
        // Of refused checks each outcome is awaited; of granted ones it matters whether any succeeded.
        let is_outcome_known = setting::CHECKS_ONLY.load() != 0
            || site.check.flags & flag::DENIED != 0
            || (*count).succeeded != 0;
        let is_due = number >= (*count).next_sample;
        if is_due {
            (*count).next_sample = next_sample(number, is_outcome_known);
        }
        Sighting {
            is_sent: is_sighting(number) || (is_due && is_outcome_known),
            unsampled: (*count).next_sample.saturating_sub(number + 1),
        }
    }
}

/// As [`await_result`], of a check that was counted and is not sent. A function that the verifier looks at once by itself (see
/// [`crate::trail`]).
#[inline(always)]
pub fn await_result_of(question: CheckKind, execution: u64, site: u32) {
    let [namespaces, what] = question.words();
    await_outcome(namespaces, what, execution, site);
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn await_outcome(namespaces: u64, what: u64, execution: u64, site: u32) -> u64 {
    let site = SiteKey {
        check: CheckKind::from_words([namespaces, what]).asked_by(execution),
        site,
        reserved: 0,
    };
    await_result(&site, bpf_get_current_pid_tgid() as u32, false)
}

/// Has the outcome of the system call under way reported; returns what joins the two records.
#[inline(always)]
fn await_result(site: &SiteKey, thread: u32, sent: bool) -> u64 {
    let key = &site.check;
    if setting::CHECKS_ONLY.load() != 0
        || key.syscall as usize >= TABLE_LEN
        || key.flags & flag::COMPAT != 0
    {
        return 0;
    }
    if let Some(pending) = PENDING.get_ptr_mut(&thread) {
        // SAFETY: a map value that only this thread writes.
        unsafe {
            if (*pending).site.check.flags & flag::DENIED == 0 || key.flags & flag::DENIED != 0 {
                (*pending).site = *site;
            }
            (*pending).sent |= u64::from(sent);
            return (*pending).call;
        }
    }
    // SAFETY: no preconditions.
    let call = unsafe { bpf_ktime_get_ns() };
    let pending = Pending {
        call,
        site: *site,
        sent: u64::from(sent),
    };
    if PENDING.insert(&thread, &pending, 0).is_ok()
        && let Some(awaited) = AWAITED.get_ptr_mut(key.syscall as u32)
    {
        // SAFETY: a map value; counted atomically.
        unsafe { count_atomically(awaited) };
    }
    call
}

#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "inlined: the verifier's stack is 512 bytes"
)]
fn send<const DIRECT: bool>(
    task: Pointer,
    cred: Pointer,
    target: Pointer,
    process: Process,
    pid_tgid: u64,
    site: &SiteKey,
    stack: *const [u64; STACK_LEN],
    depth: u32,
    call: u64,
) {
    let Some(mut entry) = EVENTS.reserve::<Check>(0) else {
        lose(loss::RING);
        return;
    };
    let check = entry.as_mut_ptr();
    let header = Header {
        // SAFETY: no preconditions.
        time: unsafe { bpf_ktime_get_ns() },
        execution: process.execution,
        kind: kind::CHECK,
        tgid: (pid_tgid >> 32) as u32,
        tid: pid_tgid as u32,
        flags: process.flags,
    };
    let asking = follow(task, &offset::TASK_CRED);
    let user_ns = follow(cred, &offset::CRED_USER_NS);
    // SAFETY: the reserved record is ours until it is submitted, and every field is written.
    unsafe {
        (*check).header = header;
        (*check).key = site.check;
        (*check).site = site.site;
        (*check).depth = depth;
        (*check).call = call;
        for frame in 0..STACK_LEN {
            (*check).stack[frame] = (*stack)[frame];
        }
        (*check).ids = kernel::ids(asking);
        (*check).sets = kernel::sets(asking);
        (*check).target_level = probe(target, &offset::USER_NS_LEVEL);
        (*check).cred_level = probe(user_ns, &offset::USER_NS_LEVEL);
        (*check).comm = probe::<[u8; COMM_LEN]>(task, &offset::TASK_COMM);
        object::describe(check, task);
    }
    submit(entry, header.time, Wake::IfFilled);
}
