//! Refusing what a set does not hold: `capaudit verify --via lsm`.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use capaudit_common::scope::execution;

use crate::{
    kernel::{self, Pointer, direct},
    maps::PROCESSES,
    process,
    setting::{self, offset},
};

/// `-EPERM`
const REFUSED: i32 = -1;

/// System calls of the x86-64 table (arch/x86/entry/syscalls/syscall_64.tbl) whose checks are told apart.
mod call {
    pub const ACCESS: u64 = 21;
    pub const EXECVE: u64 = 59;
    pub const FACCESSAT: u64 = 269;
    pub const EXECVEAT: u64 = 322;
    pub const FACCESSAT2: u64 = 439;
}

/// Answers a check that the LSMs before answered with `so_far`: 0 for yes.
#[inline(always)]
pub fn answer(cred: Pointer, target: Pointer, capability: u32, so_far: i32) -> i32 {
    if so_far != 0 {
        return so_far;
    }
    let task = kernel::current();
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let Some(allowed) = allowed(task, tgid) else {
        return 0;
    };
    // A set is about the initial user namespace: in one that a process made itself it has all of them anyway.
    if allowed & (1 << (capability & 63)) != 0
        || direct::<u32>(target, &offset::USER_NS_LEVEL) != 0
        || is_borrowed(task, cred)
    {
        return 0;
    }
    REFUSED
}

/// What the running process may do; `None` if nothing is to be refused to it.
#[inline(always)]
fn allowed(task: Pointer, tgid: u32) -> Option<u64> {
    // SAFETY: copied at once.
    let known = unsafe { PROCESSES.get(&tgid) }.copied();
    let (mount, sets_up) = match known {
        Some(process) if process.flags & execution::IGNORED == 0 => (
            process.mount_namespace,
            process.flags & execution::SETUP != 0,
        ),
        _ => {
            process::entitled(task, tgid, known.as_ref())?;
            (kernel::mount_namespace(task), true)
        }
    };
    // What sets a container up is not limited, but for the execve that ends it: that is for the program.
    if sets_up && !matches!(number(task), call::EXECVE | call::EXECVEAT) {
        return None;
    }
    let in_container = mount != 0 && mount != setting::HOST_MNT_NS.load();
    Some(if in_container {
        setting::CONTAINERS_MAY.load()
    } else {
        setting::COMMAND_MAY.load()
    })
}

/// Whether a check is about credentials that the kernel borrowed from somebody else, as overlayfs borrows its
/// mounter's: with fewer capabilities of its own the program would be granted it just the same. access(2) overrides
/// credentials, too, but with a copy of the program's own.
#[inline(always)]
fn is_borrowed(task: Pointer, cred: Pointer) -> bool {
    let subjective: u64 = direct(task, &offset::TASK_CRED);
    let objective: u64 = direct(task, &offset::TASK_REAL_CRED);
    if cred as u64 != subjective && cred as u64 != objective {
        return true;
    }
    subjective != objective
        && !matches!(
            number(task),
            call::ACCESS | call::FACCESSAT | call::FACCESSAT2
        )
}

#[inline(always)]
fn number(task: Pointer) -> u64 {
    direct(kernel::registers(task), &offset::REGS_NUMBER)
}
