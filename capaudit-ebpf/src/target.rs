//! Whose process a system call acted upon: by pid, by pidfd, by a file of procfs.
//!
//! The structures are walked as the kernel does, so that a pid that is given again meanwhile misleads nobody: what is read is
//! what the call found, as long as nobody waits for the process in between.

use capaudit_common::{
    event::{Target, target},
    offset::ABSENT,
    scope::execution,
};

use crate::{
    kernel::{self, Pointer, at, direct, follow, packed, probe},
    maps::{PROCESSES, TARGET},
    setting::{self, offset},
};

/// Levels of the tree that pids are found in: each tells four or six bits of at most 22 (`PID_MAX_LIMIT`).
const PID_LEVELS: usize = 6;
/// Lowest bits of an entry of an `xarray` that is a node (`xa_mk_node`, include/linux/xarray.h).
const NODE: u64 = 2;
const KIND_OF_ENTRY: u64 = 3;

/// `PROC_SUPER_MAGIC`, `PID_FS_MAGIC`, include/uapi/linux/magic.h
const PROCFS: u64 = 0x9fa0;
const PIDFS: u64 = 0x5049_4446;
/// `CGROUP_SUPER_MAGIC`, `CGROUP2_SUPER_MAGIC`, likewise
const CGROUPS: u64 = 0x0027_e0eb;
const CGROUPS_2: u64 = 0x6367_7270;

/// A process that could not be found. It may hold anything.
const UNKNOWN: Target = Target {
    permitted: u64::MAX,
    tgid: 0,
    flags: target::PRESENT | target::SAME_USER_NS,
};

/// No process but the caller's own.
pub const NOBODY: Target = Target {
    permitted: 0,
    tgid: 0,
    flags: 0,
};

/// Whether there is another process.
#[inline(always)]
pub fn is_somebody(target: &Target) -> bool {
    target.flags & target::PRESENT != 0
}

/// Several processes, of which nothing is known.
#[inline(always)]
pub fn unknown() -> Target {
    UNKNOWN
}

/// The process that the running task calls `number`, which for 0 is itself.
#[inline(always)]
pub fn of_number(number: u32) -> Target {
    if number == 0 {
        return NOBODY;
    }
    of_pid(find_pid(number))
}

/// Both of two processes.
#[inline(always)]
pub fn both(one: Target, other: Target) -> Target {
    if !is_somebody(&one) {
        return other;
    }
    if !is_somebody(&other) {
        return one;
    }
    let differ = one.tgid != other.tgid;
    Target {
        permitted: one.permitted | other.permitted,
        tgid: if differ { 0 } else { one.tgid },
        flags: one.flags & other.flags,
    }
}

/// The process of a pidfd; nobody if `descriptor` is none.
#[inline(always)]
pub fn of_pidfd(task: Pointer, descriptor: u32) -> Target {
    let file = file(task, descriptor);
    if file.is_null() {
        return NOBODY;
    }
    let inode = follow(file, &offset::FILE_INODE);
    match magic(inode) {
        // `pidfd_pid`, fs/pidfs.c since 6.9
        PIDFS => of_pid(follow(inode, &offset::INODE_PRIVATE) as u64),
        // `pidfd_to_pid` takes directories of procfs, too, where only signals are sent.
        PROCFS => of_pid(proc_pid(inode) as u64),
        _ => {
            let name = name(follow(file, &offset::FILE_DENTRY));
            if name == packed(b"[pidfd]") {
                of_pid(follow(file, &offset::FILE_PRIVATE) as u64)
            } else {
                NOBODY
            }
        }
    }
}

/// The process that a directory or file of procfs is about: nobody if it is of no process, or not of procfs.
#[inline(always)]
pub fn of_proc(inode: Pointer) -> Target {
    let pid = proc_pid(inode);
    if pid.is_null() {
        return NOBODY;
    }
    of_pid(pid as u64)
}

/// Whether a file of procfs is about the running task's own process.
#[inline(always)]
pub fn is_own(task: Pointer, inode: Pointer) -> bool {
    let link = follow(proc_pid(inode), &offset::PID_TASKS);
    let links = offset::TASK_PID_LINKS.load();
    !link.is_null()
        && links != ABSENT
        && probe::<u32>(link.wrapping_sub(links as usize), &offset::TASK_TGID)
            == probe::<u32>(task, &offset::TASK_TGID)
}

/// The process that holds `pid`.
#[inline(always)]
fn of_pid(pid: u64) -> Target {
    find_target(pid);
    TARGET.get(0).copied().unwrap_or(UNKNOWN)
}

/// Stores in [`TARGET`] the process that holds `pid`. A function that the verifier looks at once by itself (see [`crate::trail`]).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_target(pid: u64) -> u32 {
    let Some(target) = TARGET.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: a map value of this processor, which only a program that does not interrupt itself uses.
    unsafe { *target = holder(kernel::current(), pid as Pointer) };
    1
}

/// The process that holds `pid`; the thread of that number is as good, as threads share what counts.
#[inline(always)]
fn holder(task: Pointer, pid: Pointer) -> Target {
    // The first of the lists is that of the task itself: PIDTYPE_PID, include/linux/pid_types.h.
    let link = follow(pid, &offset::PID_TASKS);
    let links = offset::TASK_PID_LINKS.load();
    if link.is_null() || links == ABSENT {
        return UNKNOWN;
    }
    let other = link.wrapping_sub(links as usize);
    let tgid: u32 = probe(other, &offset::TASK_TGID);
    if tgid == probe::<u32>(task, &offset::TASK_TGID) {
        return NOBODY;
    }
    let cred = follow(other, &offset::TASK_REAL_CRED);
    if cred.is_null() {
        return UNKNOWN;
    }
    let own = follow(task, &offset::TASK_CRED);
    let mut flags = target::PRESENT;
    if follow(cred, &offset::CRED_USER_NS) == follow(own, &offset::CRED_USER_NS) {
        flags |= target::SAME_USER_NS;
    }
    // SAFETY: read at once.
    if let Some(process) = unsafe { PROCESSES.get(&tgid) }
        && process.flags & execution::IGNORED == 0
    {
        flags |= target::FOLLOWED;
    }
    Target {
        permitted: probe(cred, &offset::CRED_PERMITTED),
        tgid,
        flags,
    }
}

/// `find_vpid`, kernel/pid.c: the pid of this number in the running task's namespace.
/// Like [`find_target`] a function by itself.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn find_pid(number: u32) -> u64 {
    let task = kernel::current();
    let numbers = offset::PID_NUMBERS.load();
    let namespace_at = offset::UPID_NS.load();
    let slots_at = offset::XA_NODE_SLOTS.load();
    let slots = setting::XA_SLOTS.load();
    if numbers == ABSENT || namespace_at == ABSENT || slots_at == ABSENT || slots == 0 {
        return 0;
    }
    // `task_active_pid_ns`: that of the innermost number
    let own = follow(task, &offset::TASK_THREAD_PID);
    let level = probe::<u32>(own, &offset::PID_LEVEL);
    let number_at = numbers + level.wrapping_mul(namespace_at + 8);
    let namespace = at(own.wrapping_add((number_at + namespace_at) as usize));
    let mut entry = follow(namespace, &offset::PID_NS_ENTRIES) as u64;
    for _ in 0..PID_LEVELS {
        if entry & KIND_OF_ENTRY != NODE {
            return 0;
        }
        let node = (entry - NODE) as Pointer;
        let shift = probe::<u8>(node, &offset::XA_NODE_SHIFT);
        let slot = (number >> (shift & 31)) & (slots - 1);
        entry = at(node.wrapping_add((slots_at + slot * 8) as usize)) as u64;
        if shift == 0 {
            break;
        }
    }
    if entry & KIND_OF_ENTRY == 0 { entry } else { 0 }
}

/// The open file behind a descriptor of the running task; null if there is none.
#[inline(always)]
pub fn file(task: Pointer, descriptor: u32) -> Pointer {
    let table = follow(follow(task, &offset::TASK_FILES), &offset::FILES_TABLE);
    if descriptor >= probe::<u32>(table, &offset::FDTABLE_MAX) {
        return core::ptr::null();
    }
    let slots = follow(table, &offset::FDTABLE_FD);
    at(slots.wrapping_add(descriptor as usize * 8))
}

/// As [`file`], behind a descriptor that there is, by loads as far as the verifier knows the types.
#[inline(always)]
pub fn opened_file(task: Pointer, descriptor: u32) -> Pointer {
    let files = direct::<u64>(task, &offset::TASK_FILES) as Pointer;
    let table = direct::<u64>(files, &offset::FILES_TABLE) as Pointer;
    let slots = direct::<u64>(table, &offset::FDTABLE_FD) as Pointer;
    at(slots.wrapping_add(descriptor as usize * 8))
}

/// Whether `inode` is of procfs.
#[inline(always)]
pub fn is_proc(inode: Pointer) -> bool {
    magic(inode) == PROCFS
}

/// Whether `inode` is of a file system of cgroups.
#[inline(always)]
pub fn is_of_cgroups(inode: Pointer) -> bool {
    matches!(magic(inode), CGROUPS | CGROUPS_2)
}

#[inline(always)]
fn magic(inode: Pointer) -> u64 {
    probe(follow(inode, &offset::INODE_SUPER), &offset::SUPER_MAGIC)
}

/// The pid of an inode of procfs.
#[inline(always)]
fn proc_pid(inode: Pointer) -> Pointer {
    let within = offset::PROC_INODE_VFS.load();
    if within == ABSENT || inode.is_null() {
        return core::ptr::null();
    }
    follow(inode.wrapping_sub(within as usize), &offset::PROC_INODE_PID)
}

/// The first seven bytes of a name, as [`packed`] has them.
#[inline(always)]
pub fn name(dentry: Pointer) -> u64 {
    let mut name = [0u8; 8];
    let from = follow(dentry, &offset::DENTRY_NAME);
    // SAFETY: the helper checks the address and writes no more than the buffer has.
    unsafe {
        aya_ebpf::helpers::generated::bpf_probe_read_kernel_str(
            name.as_mut_ptr().cast(),
            8,
            from.cast(),
        );
    }
    u64::from_le_bytes(name)
}
