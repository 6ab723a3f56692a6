//! The maps: all that the two sides share at run time.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use capaudit_common::{
    event::{STACK_LEN, Target},
    key::{CallKey, CheckCount, CheckKey, RECENT_LEN, RecentChecks, SiteCount, SiteKey},
    scope::{Process, epoch, loss},
    syscall::TABLE_LEN,
    trail::Trail,
};

use crate::log;

/// Bytes of a path in which a process's number and what follows it are looked for; a power of two.
pub const PATH_LEN: usize = 64;

/// Words of the stack that are looked at, from what the hook hands over on.
pub const WORDS: usize = 128;
/// Bytes of them.
pub const WINDOW: usize = WORDS * 8;
/// Words of bits that say which addresses are looked for.
pub const BLOOM: usize = 16;
/// Most that is found; a power of two.
pub const FOUND: usize = 16;

/// Records for user space; sized by it.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 22, 0);

/// Exact totals.
#[map]
pub static CHECKS: HashMap<CheckKey, CheckCount> = HashMap::with_max_entries(1 << 16, 0);

/// Of each processor, what it has counted itself and not yet added to [`CHECKS`].
#[map]
pub static RECENT: PerCpuArray<RecentChecks> = PerCpuArray::with_max_entries(1, 0);

/// What the call sites of [`RECENT`] are recognized by, where they are told apart. A map of their own: of one value, a processor
/// has 32 KB at most (`PCPU_MIN_UNIT_SIZE`, `array_map_alloc_check` in kernel/bpf/arraymap.c).
#[map]
pub static RECENT_TRAILS: PerCpuArray<[Trail; RECENT_LEN]> = PerCpuArray::with_max_entries(1, 0);

/// Changes whenever what is known of a process may not hold any more: `scope::epoch`.
#[map]
pub static EPOCH: Array<u64> = Array::with_max_entries(epoch::COUNT, 0);

/// Totals by call site.
#[map]
pub static SITES: HashMap<SiteKey, SiteCount> = HashMap::with_max_entries(1 << 16, 0);

/// What call sites are recognized by, whoever's check comes from there. One that gave way to others is learned anew.
#[map]
pub static TRAILS: LruHashMap<u32, Trail> = LruHashMap::with_max_entries(1 << 12, 0);

/// Totals of reported system calls.
#[map]
pub static CALLS: HashMap<CallKey, u64> = HashMap::with_max_entries(1 << 14, 0);

/// Followed processes, by pid in the initial namespace.
#[map]
pub static PROCESSES: HashMap<u32, Process> = HashMap::with_max_entries(1 << 16, 0);

/// System calls under way in which a check was made whose outcome is awaited, by thread.
#[map]
pub static PENDING: LruHashMap<u32, Pending> = LruHashMap::with_max_entries(1 << 14, 0);

/// kprobe hook: arguments of the checks under way, by thread.
#[map]
pub static ENTERED: LruHashMap<u32, Entered> = LruHashMap::with_max_entries(1 << 14, 0);

/// How many system calls of this number are in `PENDING`: saves the others the look-up. More where entries of `PENDING` gave
/// way to newer ones, which only costs time.
#[map]
pub static AWAITED: Array<u64> = Array::with_max_entries(TABLE_LEN as u32, 0);

/// When user space was last woken for a record, in nanoseconds of `CLOCK_MONOTONIC`.
#[map]
pub static WOKEN: Array<u64> = Array::with_max_entries(1, 0);

/// Index 0: non-zero while capaudit's own new children are to be followed.
#[map]
pub static SPAWNING: Array<u32> = Array::with_max_entries(1, 0);

/// Index 0: non-zero while somebody wants single checks.
#[map]
pub static WATCHED: Array<u32> = Array::with_max_entries(1, 0);

/// What could not be recorded: `scope::loss`.
#[map]
pub static LOSSES: PerCpuArray<u64> = PerCpuArray::with_max_entries(loss::COUNT, 0);

/// Checks that are in no map of keys, by capability (twice: granted, then denied).
#[map]
pub static OVERFLOW: PerCpuArray<u64> = PerCpuArray::with_max_entries(128, 0);

/// Single checks sent in the current period.
#[map]
pub static SENT: PerCpuArray<Sent> = PerCpuArray::with_max_entries(1, 0);

/// Images numbered by this CPU.
#[map]
pub static IMAGES: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Room for a path while it is looked through.
#[map]
pub static PATH: PerCpuArray<[u8; PATH_LEN]> = PerCpuArray::with_max_entries(1, 0);

/// What is known of it by then.
#[map]
pub static WALK: PerCpuArray<Walk> = PerCpuArray::with_max_entries(1, 0);

/// What a system call did, while that is found out.
#[map]
pub static FINDING: PerCpuArray<Finding> = PerCpuArray::with_max_entries(1, 0);

/// Whom it acted upon, likewise.
#[map]
pub static TARGET: PerCpuArray<Target> = PerCpuArray::with_max_entries(1, 0);

/// Room for a stack while its call site is looked up.
#[map]
pub static STACK: PerCpuArray<[u64; STACK_LEN]> = PerCpuArray::with_max_entries(1, 0);

/// Room for looking for a call site's trail.
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// Room for looking at the stack.
#[repr(C)]
pub struct Scratch {
    pub words: [u64; WORDS],
    pub bloom: [u64; BLOOM],
    /// What is found, and what of that was there before.
    pub finds: [Find; 2],
    /// What is learned: on the stack, of which Linux 6.1 has 512 bytes for a program and its functions, it is too large.
    pub trail: Trail,
}

/// Words that are return addresses of a call site.
#[repr(C)]
pub struct Find {
    pub steps: [u16; FOUND],
    pub length: u64,
    /// Which of those in [`Scratch::bloom`] they are.
    pub bloom: [u64; BLOOM],
}

/// What is known of a path that is walked, letter by letter.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Walk {
    /// Of the name under way: its first seven bytes, its length, and its value if it is a number.
    pub name: u64,
    pub length: u64,
    pub number: u64,
    /// Non-zero as long as it may be one.
    pub is_number: u64,
    /// What a link in the directory is to `path::find_link`; 0 if that is no process's.
    pub within: u64,
    /// Non-zero: all in it are links.
    pub is_of_links: u64,
    /// `path::BELOW_PROC` if it is called `proc`.
    pub is_proc: u64,
}

/// A system call under way.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Pending {
    /// See `event::Check::call`.
    pub call: u64,
    /// The site that is told the outcome: of the refused checks the last, else of all the last.
    pub site: SiteKey,
    /// Non-zero if a check of this call was sent: its outcome is, too.
    pub sent: u64,
}

/// What a system call did.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Finding {
    /// Whom it acted upon.
    pub target: Target,
    /// What else tells the fact from others of the same call.
    pub detail: u32,
    /// What the object is: a kind of `event::object`.
    pub object: u32,
    /// Address of the path or socket address in the program's memory.
    pub address: u64,
    /// Address of the directory entry, in the kernel, of the file in procfs that was found by it.
    pub dentry: u64,
}

/// How much of a processor's allowance of single checks is used up.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sent {
    /// Which period.
    pub period: u64,
    /// Checks sent in it.
    pub count: u64,
}

/// A check under way.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Entered {
    pub cred: u64,
    pub target: u64,
    pub capability: u32,
    pub options: u32,
}

/// Adds one to a counter of [`LOSSES`]. A function that the verifier looks at once by itself (see [`crate::trail`]).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn lose(index: u32) -> u32 {
    if let Some(number) = increment(&LOSSES, index) {
        log::lost(index, number);
    }
    0
}

/// Adds one to a counter that only this CPU writes; what it is then.
#[inline(always)]
pub fn increment(map: &PerCpuArray<u64>, index: u32) -> Option<u64> {
    let counter = map.get_ptr_mut(index)?;
    // SAFETY: a map value of this CPU; tracing programs do not migrate.
    unsafe {
        *counter += 1;
        Some(*counter)
    }
}

/// Adds one to a counter that every CPU writes.
///
/// The target has no compare-and-swap for core's atomics to build on, but the instruction is there.
///
/// # Safety
///
/// `counter` lies in a map value.
#[inline(always)]
pub unsafe fn count_atomically(counter: *mut u64) {
    // SAFETY: by the caller's promise.
    unsafe { add_atomically(counter, 1) }
}

/// As [`count_atomically`], for any number.
///
/// # Safety
///
/// `counter` lies in a map value.
#[inline(always)]
pub unsafe fn add_atomically(counter: *mut u64, number: i64) {
    // SAFETY: by the caller's promise.
    unsafe {
        core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) counter, in(reg) number);
    }
}
