//! capaudit's BPF programs: what happens in the kernel.
//!
//! This crate never decides what a check means, and waits for nobody: it counts, and sends what is new.
//!
//! Begin to read here, where the entry points are. A check's way: one of the `cap_capable` hooks below -> [`check::observe`] -> counted by
//! [`bucket`] and [`count`], and at its first sightings sent to user space by [`sighting`] and [`send`]. [`process`] keeps track of who
//! is followed, [`call`] of what system calls returned. [`enforce`] answers checks itself, where that is wanted.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)] // for maps::count_atomically

mod bucket;
mod call;
mod check;
mod count;
mod enforce;
mod followed;
mod inlined;
mod kernel;
mod log;
mod maps;
mod object;
mod path;
mod process;
mod send;
mod setting;
mod sighting;
mod target;
mod trail;
mod watch;

use aya_ebpf::{
    EbpfContext as _,
    macros::{btf_tracepoint, fexit, kprobe, kretprobe, lsm},
    programs::{BtfTracePointContext, FExitContext, LsmContext, ProbeContext, RetProbeContext},
};

/// `cap_capable(cred, target_ns, cap, opts)`, with its result as the fifth argument: the trampoline stores it
/// behind the arguments (since 5.5), so that the bpf_get_func_ret helper of 5.17 is not needed.
#[fexit(function = "cap_capable")]
#[inline(always)]
fn check_fexit(ctx: FExitContext) -> u32 {
    check::observe::<true>(
        ctx.as_ptr(),
        ctx.arg(0),
        ctx.arg(1),
        ctx.arg(2),
        Some(ctx.arg(3)),
        ctx.arg(4),
    );
    0
}

/// The tracepoint of 6.14 and later: `(cred, target_ns, capable_ns, cap, ret)`. It has no options.
#[btf_tracepoint(function = "cap_capable")]
#[inline(always)]
fn check_tp_btf(ctx: BtfTracePointContext) -> u32 {
    check::observe::<true>(
        ctx.as_ptr(),
        ctx.arg(0),
        ctx.arg(1),
        ctx.arg(3),
        None,
        ctx.arg(4),
    );
    0
}

/// Nothing: what a hook costs by itself. For benchmarks.
#[fexit(function = "cap_capable")]
fn floor_fexit(_ctx: FExitContext) -> u32 {
    0
}

/// As [`floor_fexit`].
#[btf_tracepoint(function = "cap_capable")]
fn floor_tp_btf(_ctx: BtfTracePointContext) -> u32 {
    0
}

/// As [`floor_fexit`].
#[kprobe]
fn floor_kprobe(_ctx: ProbeContext) -> u32 {
    0
}

/// Keeps the arguments for [`check_kretprobe`].
#[kprobe]
fn check_kprobe(ctx: ProbeContext) -> u32 {
    let (Some(cred), Some(target), Some(capability), Some(options)) =
        (ctx.arg(0), ctx.arg(1), ctx.arg(2), ctx.arg(3))
    else {
        return 0;
    };
    check::enter(cred, target, capability, options);
    0
}

/// Completes what [`check_kprobe`] began.
#[kretprobe]
#[inline(always)]
fn check_kretprobe(ctx: RetProbeContext) -> u32 {
    check::leave(ctx.as_ptr(), ctx.ret());
    0
}

/// Beside [`check_fexit`]: see [`inlined`].
#[fexit(function = "cap_capset")]
#[inline(always)]
fn capset_fexit(ctx: FExitContext) -> u32 {
    inlined::capset(ctx.as_ptr(), ctx.arg(1));
    0
}

/// As [`capset_fexit`].
#[fexit(function = "cap_task_prctl")]
#[inline(always)]
fn prctl_fexit(ctx: FExitContext) -> u32 {
    inlined::prctl(ctx.as_ptr(), ctx.arg(0));
    0
}

/// As [`capset_fexit`].
#[fexit(function = "cap_mmap_addr")]
#[inline(always)]
fn mmap_addr_fexit(ctx: FExitContext) -> u32 {
    inlined::mmap_addr(ctx.as_ptr(), ctx.arg(0));
    0
}

/// Beside [`check_kprobe`]: see [`inlined`]. At the entry, as the return has no arguments: a first check that the hook sees is
/// counted twice.
#[kprobe]
#[inline(always)]
fn capset_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(old) = ctx.arg(1) {
        inlined::capset(ctx.as_ptr(), old);
    }
    0
}

/// As [`capset_kprobe`].
#[kprobe]
#[inline(always)]
fn prctl_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(option) = ctx.arg(0) {
        inlined::prctl(ctx.as_ptr(), option);
    }
    0
}

/// As [`capset_kprobe`].
#[kprobe]
#[inline(always)]
fn mmap_addr_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(address) = ctx.arg(0) {
        inlined::mmap_addr(ctx.as_ptr(), address);
    }
    0
}

/// `capable(cred, target_ns, cap, opts)`, and the answer of the LSMs before; 0 grants.
#[lsm(hook = "capable")]
fn enforce_capable(ctx: LsmContext) -> i32 {
    enforce::answer(ctx.arg(0), ctx.arg(1), ctx.arg(2), ctx.arg(4))
}

/// `sched_process_fork(parent, child)`
#[btf_tracepoint(function = "sched_process_fork")]
fn process_fork(ctx: BtfTracePointContext) -> u32 {
    process::fork(ctx.arg(0), ctx.arg(1));
    0
}

/// `sched_process_exec(task, old_pid, bprm)`
#[btf_tracepoint(function = "sched_process_exec")]
fn process_exec(ctx: BtfTracePointContext) -> u32 {
    process::exec(ctx.arg(0), ctx.arg(2));
    0
}

/// `sched_process_exit(task)`, once a thread
#[btf_tracepoint(function = "sched_process_exit")]
fn process_exit(ctx: BtfTracePointContext) -> u32 {
    process::exit(ctx.arg(0));
    0
}

/// `sys_exit(regs, ret)`
// Inlined, because it is large: as a function of its own its symbol has the crate's hash in it, which depends on where the
// sources lie, and the object would differ from checkout to checkout.
#[btf_tracepoint(function = "sys_exit")]
#[inline(always)]
fn call_exit(ctx: BtfTracePointContext) -> u32 {
    call::exit(ctx.arg(0), ctx.arg(1));
    0
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Never reached: nothing here can panic, and the verifier would refuse the endless loop.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
