//! What system calls returned, and those that matter without any check.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_ns};
use capaudit_common::{
    event::{Call, Header, Result, kind},
    key::{CallKey, NO_SYSCALL, call_flag},
    offset::ABSENT,
    scope::{Process, execution, loss},
    syscall::{SyscallSpec, TABLE_LEN, special},
};

use crate::{
    followed,
    kernel::{self, Pointer, direct, probe, user},
    maps::{
        AWAITED, CALLS, EVENTS, Finding, PENDING, PROCESSES, Pending, SITES, add_atomically,
        count_atomically, lose,
    },
    object,
    send::{Wake, submit},
    setting::{self, offset},
    watch::{self, NOTHING},
};

/// Highest errno (`MAX_ERRNO`, include/linux/err.h).
const MAX_ERRNO: i64 = 4095;
/// Negative errno of a refusal.
const EPERM: i64 = -1;
const EACCES: i64 = -13;
/// `SECCOMP_MODE_FILTER`, include/uapi/linux/seccomp.h
const SECCOMP_MODE_FILTER: u32 = 2;
/// No capability: a call's own operation does not depend on one.
const NO_CAPABILITY: u32 = 0;

/// `sys_exit`. Also fires for a call that seccomp refused, for which `sys_enter` does not.
///
/// Most calls of most processes leave at the first two look-ups.
#[inline(always)]
pub fn exit(registers: Pointer, value: i64) {
    let number = direct::<u64>(registers, &offset::REGS_NUMBER) as u16;
    if number as usize >= TABLE_LEN {
        return;
    }
    let spec = setting::spec(number);
    let awaited = AWAITED
        .get(u32::from(number))
        .is_some_and(|awaited| *awaited != 0);
    let failed = is_error(value);
    let may_be_reported = spec.is_reported()
        || (spec.may_be_reported()
            && if matches!(value, EPERM | EACCES) {
                watch::is_of_interest_refused(spec)
            } else {
                (!failed || watch::may_lead_on(spec)) && watch::may_be_found(registers, spec)
            });
    if !awaited && !may_be_reported {
        return;
    }
    let pid_tgid = bpf_get_current_pid_tgid();
    let tgid = (pid_tgid >> 32) as u32;
    // SAFETY: copied at once.
    let Some(process) = unsafe { PROCESSES.get(&tgid) }.copied() else {
        return;
    };
    if process.flags & execution::IGNORED != 0 {
        return;
    }
    let asked = awaited && conclude(process, pid_tgid, value);
    if may_be_reported && process.flags & execution::SETUP == 0 {
        report(process, pid_tgid, registers, number, spec, value, asked);
    }
}

/// Tells the outcome to the site that awaits it, and to user space. Returns whether there is one: a check's outcome is awaited.
#[inline(always)]
fn conclude(process: Process, pid_tgid: u64, value: i64) -> bool {
    let thread = pid_tgid as u32;
    // SAFETY: copied at once; only this thread writes the entry.
    let Some(pending) = unsafe { PENDING.get(&thread) }.copied() else {
        return false;
    };
    forget(thread, &pending);
    let failed = is_error(value);
    if let Some(count) = SITES.get_ptr_mut(&pending.site) {
        // SAFETY: a map value; a lost update between CPUs is one outcome among samples.
        unsafe {
            if failed {
                (*count).failed = (*count).failed.wrapping_add(1);
                (*count).errno = value.wrapping_neg() as u32;
            } else {
                (*count).succeeded = (*count).succeeded.wrapping_add(1);
            }
        }
    }
    if pending.sent == 0 {
        return true;
    }
    let Some(mut entry) = EVENTS.reserve::<Result>(0) else {
        lose(loss::RING);
        return true;
    };
    let result = entry.as_mut_ptr();
    let header = header(process, kind::RESULT, pid_tgid);
    // SAFETY: the reserved record is ours until it is submitted, and every field is written.
    unsafe {
        (*result).header = header;
        (*result).call = pending.call;
        (*result).value = value;
    }
    submit(entry, header.time, Wake::IfFilled);
    true
}

/// Nobody awaits the outcome of a thread's system call any more.
#[inline(always)]
pub fn forget(thread: u32, pending: &Pending) {
    if PENDING.remove(&thread).is_ok()
        && let Some(awaited) = AWAITED.get_ptr_mut(u32::from(pending.site.check.syscall))
    {
        // SAFETY: a map value; counted atomically.
        unsafe { add_atomically(awaited, -1) };
    }
}

/// Counts a call that matters itself, and sends it the first time.
#[inline(always)]
fn report(
    process: Process,
    pid_tgid: u64,
    registers: Pointer,
    number: u16,
    spec: SyscallSpec,
    value: i64,
    asked: bool,
) {
    let task = kernel::current();
    if kernel::is_compat(task) {
        // The number is of another table, and so are the registers: that there are such calls is all that is told.
        let key = CallKey {
            execution: process.execution,
            operation: 0,
            syscall: NO_SYSCALL,
            failed: 0,
            flags: call_flag::COMPAT,
        };
        return count(process, pid_tgid, key, [0; 6], 0, NOTHING);
    }
    if spec.special_value() == special::CLONE3 && value == 0 {
        return; // the child, in which what the arguments point to may be something else by now
    }
    let failed = is_error(value);
    let unasked = !asked && matches!(value, EPERM | EACCES);
    let found = if matches!(value, EPERM | EACCES) {
        (unasked && watch::is_of_interest_refused(spec)).then_some(NOTHING)
    } else if (!failed || watch::may_lead_on(spec)) && watch::may_be_found(registers, spec) {
        watch::find(registers, spec, value)
    } else {
        None
    };
    if found.is_none() && !spec.is_reported() {
        return;
    }
    // What a path led through was followed, whatever became of the call behind it.
    let failed = failed && (found.is_none() || matches!(value, EPERM | EACCES));
    let finding = found.unwrap_or(NOTHING);
    let mut flags = 0;
    if unasked {
        flags |= call_flag::UNASKED;
    }
    if offset::TASK_SECCOMP.load() != ABSENT {
        flags |= call_flag::FILTER_KNOWN;
        if probe::<u32>(task, &offset::TASK_SECCOMP) == SECCOMP_MODE_FILTER {
            flags |= call_flag::FILTERED;
        }
    }
    let key = CallKey {
        execution: process.execution,
        operation: finding.mixed_into(object::operation(registers, spec, NO_CAPABILITY)),
        syscall: number,
        failed: failed as u8,
        flags,
    };
    let mut arguments = kernel::arguments(registers);
    if spec.special_value() == special::CLONE3 {
        arguments[2] = user(kernel::argument(registers, 0)).unwrap_or_default();
    }
    count(process, pid_tgid, key, arguments, value, finding);
}

/// Counts a call, and sends it the first time.
#[inline(always)]
fn count(
    process: Process,
    pid_tgid: u64,
    key: CallKey,
    arguments: [u64; 6],
    value: i64,
    finding: Finding,
) {
    if let Some(count) = CALLS.get_ptr_mut(&key) {
        // SAFETY: a map value; counted atomically.
        unsafe { count_atomically(count) };
        return;
    }
    if CALLS.insert(&key, &1, 0).is_err() {
        lose(loss::CALLS);
    }
    let Some(mut entry) = EVENTS.reserve::<Call>(0) else {
        lose(loss::RING);
        return;
    };
    let call = entry.as_mut_ptr();
    let header = header(process, kind::CALL, pid_tgid);
    // SAFETY: the reserved record is ours until it is submitted, and every field is written.
    unsafe {
        (*call).header = header;
        (*call).key = key;
        (*call).arguments = arguments;
        (*call).value = value;
        finding.describe(call);
    }
    submit(entry, header.time, Wake::IfFilled);
}

/// What is executed was found through another process's link, which is for those who may trace that one: a fact of the process that
/// asked for it. Told when the new program begins, as nothing is left of what was asked for by the time the call ends.
#[inline(always)]
pub fn executed(process: Process, task: Pointer, filename: Pointer) {
    if setting::CHECKS_ONLY.load() != 0 {
        return;
    }
    let Some(finding) = followed::executed(filename as u64) else {
        return;
    };
    let number = direct::<u64>(kernel::registers(task), &offset::REGS_NUMBER) as u16;
    let key = CallKey {
        execution: process.execution,
        operation: finding.mixed_into(0),
        syscall: number,
        failed: 0,
        flags: 0,
    };
    count(process, bpf_get_current_pid_tgid(), key, [0; 6], 0, finding);
}

#[inline(always)]
fn header(process: Process, kind: u32, pid_tgid: u64) -> Header {
    Header {
        // SAFETY: no preconditions.
        time: unsafe { bpf_ktime_get_ns() },
        execution: process.execution,
        kind,
        tgid: (pid_tgid >> 32) as u32,
        tid: pid_tgid as u32,
        flags: process.flags,
    }
}

#[inline(always)]
fn is_error(value: i64) -> bool {
    (-MAX_ERRNO..0).contains(&value)
}
