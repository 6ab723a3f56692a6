//! A capability check, from the hook to the maps.

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_ns};
use capaudit_common::{
    key::{CheckKey, CheckKind, NO_SYSCALL, flag},
    scope::{Process, loss},
};

use crate::{
    bucket::{Asker, Bucket, Cached},
    count,
    kernel::{self, PF_IO_WORKER, PF_KTHREAD, Pointer, direct, read},
    maps::{CHECKS, ENTERED, Entered, SENT, WATCHED, lose},
    object,
    process::{self, Lookup},
    send::is_filled,
    setting::{self, offset},
    sighting::{await_result_of, walk},
};

/// `CAP_OPT_NOAUDIT`, include/linux/security.h since 5.1
const OPTION_NOAUDIT: u32 = 1 << 1;
/// `CAP_OPT_INSETID`
const OPTION_INSETID: u32 = 1 << 2;

/// A period of the allowance of single checks: 2^26 ns, 67 ms.
const PERIOD_BITS: u32 = 26;

/// The part of the ring buffer that single checks may fill: half.
const FILLED_BY_SINGLES: u64 = 2;

/// kprobe hook: remembers a check until it returns.
#[inline(always)]
pub fn enter(cred: u64, target: u64, capability: u32, options: u32) {
    let thread = bpf_get_current_pid_tgid() as u32;
    let entered = Entered {
        cred,
        target,
        capability,
        options,
    };
    // BPF_NOEXIST: an entry that is still there is a check whose return the kretprobe missed.
    if ENTERED.insert(&thread, &entered, 1).is_err() {
        lose(loss::RETURNS);
        let _ = ENTERED.insert(&thread, &entered, 0);
    }
}

/// kprobe hook: a check returned.
#[inline(always)]
pub fn leave(ctx: *mut c_void, result: i32) {
    let thread = bpf_get_current_pid_tgid() as u32;
    // SAFETY: copied at once; only this thread writes the entry.
    let Some(entered) = (unsafe { ENTERED.get(&thread) }).copied() else {
        // Begun before the entry's probe was attached: of interest only if the process was followed by then.
        let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
        if let Lookup::Tracked(_) = process::look_up(kernel::current(), tgid) {
            lose(loss::RETURNS);
        }
        return;
    };
    let _ = ENTERED.remove(&thread);
    observe::<false>(
        ctx,
        entered.cred as Pointer,
        entered.target as Pointer,
        entered.capability,
        Some(entered.options),
        result,
    );
}

/// Counts a check, and sends it if its call site is new.
///
/// `DIRECT` says that the verifier knows the types of `cred` and `target`.
#[inline(always)]
pub fn observe<const DIRECT: bool>(
    ctx: *mut c_void,
    cred: Pointer,
    target: Pointer,
    capability: u32,
    options: Option<u32>,
    result: i32,
) {
    let task = kernel::current();
    let pointers = Pointers::load::<DIRECT>(task, cred);
    if !is_of_interest(capability, result) {
        return;
    }
    let tgid: u32 = direct(task, &offset::TASK_TGID);
    let question = ask::<DIRECT>(task, pointers, cred, target, capability, options, result);
    let told = is_told(question);
    let epoch = process::current_epoch();
    // A check that may be sent must not only be counted.
    let wanted = SendRule::now();
    // Also where each is sent, and it is not asked: the verifier takes no read of what was left unset.
    let bucket = Bucket::of(tgid, question, told);
    let each = matches!(wanted, SendRule::Each);
    let asker = Asker { tgid, epoch };
    // Of what was counted in one of the processor's own places: who asked, and from which call site.
    let (execution, site) = 'counted: {
        // No closure, which the compiler may leave a function that takes pointers.
        let cached = match bucket {
            Some(bucket) if !each => bucket.count(ctx, pointers.namespaces, asker, question),
            _ => None,
        };
        match cached {
            Some(Cached::Untracked) => return,
            Some(Cached::Tracked(place)) => break 'counted place.asker_and_site(),
            None => {}
        }
        let process = match process::look_up(task, tgid) {
            Lookup::Tracked(process) => process,
            Lookup::Untracked => {
                if let Some(bucket) = bucket {
                    bucket.give_to_untracked(pointers.namespaces, asker, question);
                }
                return;
            }
            Lookup::Unclear => return,
        };
        // Where call sites are told apart, this one is counted in the slow way.
        if !each
            && let Some(bucket) = bucket
            && bucket.renew(asker, process.execution, question)
            && !told
            && let Some(Cached::Tracked(place)) =
                bucket.count(ctx, pointers.namespaces, asker, question)
        {
            break 'counted place.asker_and_site();
        }
        let process = Process {
            execution: kernel::any(process.execution),
            flags: kernel::any(process.flags.into()) as u32,
            mount_namespace: 0,
        };
        let key = question.asked_by(process.execution);
        let Some(total) = count::total(bucket, &key) else {
            return;
        };
        let single = match wanted {
            SendRule::Each => take_allowance(),
            SendRule::First | SendRule::EachButSpent => false,
        };
        if told {
            if !each
                && let Some(bucket) = bucket
                && let Some(site) = count::is_known(ctx, bucket, asker, &key, total)
            {
                break 'counted (process.execution, site);
            }
        } else if !count::is_due(bucket, asker, &key, total) && !single {
            return wanted.forgo();
        }
        if !single {
            wanted.forgo();
        }
        let single = kernel::any(single.into()) != 0;
        let bucket = if told { bucket } else { None };
        return walk::<DIRECT>(
            ctx, task, cred, target, process, asker, bucket, &key, total, single,
        );
    };
    wanted.forgo();
    if is_awaited(question) {
        await_result_of(question, execution, site);
    }
}

/// Counts and sends a check that the hook may not see, because the compiler made it part of the function that asks: those of
/// security/commoncap.c call `cap_capable` next to it. `cred` are the credentials that it is about, and it is about the namespace
/// `target`. Nothing happens if the hook has seen such a check of the process.
#[inline(always)]
pub fn observe_inlined(ctx: *mut c_void, cred: Pointer, target: Pointer, capability: u32) {
    let task = kernel::current();
    let is_granted = kernel::sets(cred).effective & (1 << (capability & 63)) != 0;
    let result = if is_granted { 0 } else { -1 };
    if !is_of_interest(capability, result) {
        return;
    }
    let tgid: u32 = direct(task, &offset::TASK_TGID);
    let Lookup::Tracked(process) = process::look_up(task, tgid) else {
        return;
    };
    let pointers = Pointers::load::<false>(task, cred);
    let question = ask::<false>(task, pointers, cred, target, capability, None, result);
    let key = question.asked_by(process.execution);
    let seen = CheckKey {
        flags: key.flags | flag::OPTIONS_KNOWN,
        ..key
    };
    if CHECKS.get_ptr(&seen).is_some() {
        return;
    }
    let Some(total) = count::total(None, &key) else {
        return;
    };
    let asker = Asker {
        tgid,
        epoch: process::current_epoch(),
    };
    walk::<false>(
        ctx, task, cred, target, process, asker, None, &key, total, false,
    );
}

/// Whether such checks are counted at all.
#[inline(always)]
fn is_of_interest(capability: u32, result: i32) -> bool {
    setting::CAPABILITIES.load() & (1 << (capability & 63)) != 0
        && (setting::DENIED_ONLY.load() == 0 || result != 0)
}

/// Pointers out of structures that the verifier knows.
///
/// They are loaded once, and before any branch: each time that the verifier comes past such a load, it looks through all types
/// of the kernel by name, up to four times (`btf_nested_type_is_trusted`, kernel/bpf/btf.c), which takes 0.3 ms each.
#[derive(Clone, Copy)]
struct Pointers {
    /// The task's own credentials: those that it acts with, and those that it is acted upon with.
    subjective: u64,
    objective: u64,
    /// User namespace of the examined credentials.
    user_ns: Pointer,
    /// The task's other namespaces.
    namespaces: Pointer,
}

impl Pointers {
    #[inline(always)]
    fn load<const DIRECT: bool>(task: Pointer, cred: Pointer) -> Self {
        Self {
            subjective: direct(task, &offset::TASK_CRED),
            objective: direct(task, &offset::TASK_REAL_CRED),
            user_ns: read::<u64, DIRECT>(cred, &offset::CRED_USER_NS) as Pointer,
            namespaces: kernel::own_namespaces(task),
        }
    }
}

/// Which checks somebody wants sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SendRule {
    /// The first ones at each call site.
    First,
    /// Every one.
    Each,
    /// Every one, but there have been too many: under a flood, nobody could read them all, and the records that tell who
    /// is who must not be lost for them.
    EachButSpent,
}

impl SendRule {
    /// Those that are wanted at this moment.
    #[inline(always)]
    fn now() -> Self {
        if setting::SEND_ALL.load() == 0 || WATCHED.get(0).is_none_or(|watched| *watched == 0) {
            return Self::First;
        }
        let is_left = SENT.get_ptr_mut(0).is_some_and(|sent| {
            // SAFETY: a map value of this CPU; the helper has no preconditions.
            unsafe {
                let period = bpf_ktime_get_ns() >> PERIOD_BITS;
                if (*sent).period != period {
                    (*sent).period = period;
                    (*sent).count = 0;
                }
                (*sent).count < u64::from(setting::SEND_ALL.load())
            }
        });
        if is_left && !is_filled(FILLED_BY_SINGLES) {
            Self::Each
        } else {
            Self::EachButSpent
        }
    }

    /// The check is not sent for itself.
    #[inline(always)]
    fn forgo(self) {
        if self == Self::EachButSpent {
            lose(loss::UNSENT);
        }
    }
}

/// Uses one of the single checks that may be sent up; what is left has been looked at.
#[inline(always)]
fn take_allowance() -> bool {
    let Some(sent) = SENT.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: a map value of this CPU.
    unsafe { (*sent).count += 1 };
    true
}

/// Whether what a check means depends on what became of the call: each outcome is seen.
#[inline(always)]
fn is_awaited(question: CheckKind) -> bool {
    question.flags() & flag::DENIED != 0 && setting::CHECKS_ONLY.load() == 0
}

/// Whether what a check means depends on the place in the kernel that makes it: each place is seen, however rare.
#[inline(always)]
fn is_told(question: CheckKind) -> bool {
    let flags = if setting::CHECKS_ONLY.load() == 0 {
        flag::DENIED | flag::OVERRIDDEN
    } else {
        flag::OVERRIDDEN
    };
    // No branch, of which each would be another case for the verifier.
    let by_flags = u64::from(question.flags() & flags);
    let by_capability = (setting::TOLD_BY_SITE.load() >> (question.capability() & 63)) & 1;
    kernel::opaque(by_flags | by_capability) != 0
}

/// What a check asks.
#[inline(always)]
fn ask<const DIRECT: bool>(
    task: Pointer,
    pointers: Pointers,
    cred: Pointer,
    target: Pointer,
    capability: u32,
    options: Option<u32>,
    result: i32,
) -> CheckKind {
    let Pointers {
        subjective,
        objective,
        user_ns,
        ..
    } = pointers;
    let mut flags = 0;
    if result != 0 {
        flags |= flag::DENIED;
    }
    if subjective != objective {
        flags |= flag::OVERRIDDEN;
    }
    if cred as u64 != subjective && cred as u64 != objective {
        flags |= flag::FOREIGN;
    }
    if let Some(options) = options {
        flags |= flag::OPTIONS_KNOWN;
        if options & OPTION_NOAUDIT != 0 {
            flags |= flag::NOAUDIT;
        }
        if options & OPTION_INSETID != 0 {
            flags |= flag::INSETID;
        }
    }
    let mut syscall = NO_SYSCALL;
    let mut operation = 0;
    if direct::<u32>(task, &offset::TASK_FLAGS) & (PF_KTHREAD | PF_IO_WORKER) == 0 {
        let registers = kernel::registers(task);
        syscall = direct::<u64>(registers, &offset::REGS_NUMBER) as u16;
        if kernel::is_compat(task) {
            flags |= flag::COMPAT;
        } else {
            operation = object::operation(registers, setting::spec(syscall), capability);
        }
    }
    if user_ns != target && kernel::is_owned(cred, user_ns, target) {
        flags |= flag::OWNED;
    }
    let target_ns = read::<u32, DIRECT>(target, &offset::USER_NS_INUM);
    let key = CheckKey {
        execution: 0,
        target_ns,
        cred_ns: if user_ns == target {
            target_ns
        } else {
            read::<u32, DIRECT>(user_ns, &offset::USER_NS_INUM)
        },
        operation,
        syscall,
        capability: capability as u8,
        flags,
    };
    // Not one case for the verifier for each way to get here.
    CheckKind::of(&key).map(kernel::any)
}
