//! What makes a system call a fact of its own although the kernel asks for no capability: see
//! `capaudit_common::syscall::watch`.

use aya_ebpf::helpers::{bpf_probe_read_user_buf, generated::bpf_probe_read_user_str};
use capaudit_common::{
    event::{Call, OBJECT_LEN, Target, object},
    syscall::{SyscallSpec, watch},
};

use crate::{
    followed::{AT_FDCWD, followed, followed_by},
    kernel::{self, Pointer, follow, mix, packed, user},
    maps::{FINDING, Finding},
    object::names_of,
    setting::offset,
    target::{self, NOBODY},
};

/// Bytes of a socket address that is of interest: `sockaddr_in6`.
const ADDRESS_LEN: usize = 28;

/// `PTRACE_ATTACH`, `PTRACE_SEIZE`, include/uapi/linux/ptrace.h. `PTRACE_TRACEME` compares the caller's own set with its parent's
/// (`cap_ptrace_traceme`): a caller that holds less is allowed no less.
const ATTACH: u64 = 16;
const SEIZE: u64 = 0x4206;
/// `PR_SCHED_CORE`, include/uapi/linux/prctl.h
const SCHED_CORE: u64 = 62;
/// `PERF_FLAG_PID_CGROUP`, include/uapi/linux/perf_event.h: the pid is a descriptor.
const OF_CGROUP: u64 = 1 << 2;
/// The ioctls that `pidfd_ioctl` (fs/pidfs.c since 6.11) asks `ptrace_may_access` for: `_IO(0xff, 1)` to `_IO(0xff, 10)`.
const FIRST_NAMESPACE: u64 = 0xff01;
const LAST_NAMESPACE: u64 = 0xff0a;
const AF_UNIX: u16 = 1;
/// Where the path begins in a `sockaddr_un`.
const PATH_IN_ADDRESS: u64 = 2;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const SOCK_DGRAM: u64 = 2;
const SOCK_TYPE: u64 = 0xf;
const IPPROTO_ICMP: u64 = 1;
const IPPROTO_ICMPV6: u64 = 58;
/// The first port that is nobody's privilege where `ip_unprivileged_port_start` is as the kernel has it.
const FIRST_UNPRIVILEGED: u16 = 1024;

/// Nothing but the call.
pub const NOTHING: Finding = Finding {
    target: NOBODY,
    detail: 0,
    object: object::NONE as u32,
    address: 0,
    dentry: 0,
};

/// What a call that succeeded, with `value`, and of which [`may_be_found`] says so, did that is of interest; `None` if nothing.
#[inline(always)]
pub fn find(registers: Pointer, spec: SyscallSpec, value: i64) -> Option<Finding> {
    let led = if is_of_paths(spec) {
        BY_PATH
    } else {
        find_in_call(spec.0, value as u64)
    };
    match led {
        0 => None,
        BY_PATH if matches!(spec.watch(), watch::CONNECT | watch::BIND) => followed_by(
            kernel::argument(registers, 1).wrapping_add(PATH_IN_ADDRESS),
            AT_FDCWD,
            true,
        ),
        BY_PATH => followed(registers, spec),
        _ => FINDING.get(0).copied(),
    }
}

/// What [`find_in_call`] gives where the path has to be looked at.
const BY_PATH: u32 = 2;

/// Stores what the running task's call did in [`FINDING`]; 0 if nothing of interest. A function that the verifier looks at once by itself
/// (see [`crate::trail`]), as are those below: inlined, they were verified 250 times as long.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_in_call(spec: u32, value: u64) -> u32 {
    let task = kernel::current();
    let registers = kernel::registers(task);
    let found = match try_find(task, registers, SyscallSpec(spec), value) {
        Found::Nothing => return 0,
        Found::ByPath => return BY_PATH,
        Found::This(found) => found,
    };
    let Some(finding) = FINDING.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: a map value of this processor, which only a program that does not interrupt itself uses.
    unsafe { *finding = found };
    1
}

/// What a call did.
enum Found {
    Nothing,
    /// What its path leads through.
    ByPath,
    This(Finding),
}

impl From<Option<Finding>> for Found {
    #[inline(always)]
    fn from(found: Option<Finding>) -> Self {
        match found {
            Some(found) => Self::This(found),
            None => Self::Nothing,
        }
    }
}

#[inline(always)]
fn try_find(task: Pointer, registers: Pointer, spec: SyscallSpec, value: u64) -> Found {
    let argument = |index| kernel::argument(registers, index);
    let watched = spec.watch();
    let target = match watched {
        watch::OPEN => return opened(task, registers, spec, value as u32),
        watch::BIND => return bound(argument(1)),
        watch::CONNECT => return of_unix(argument(1)),
        watch::SOCKET => {
            let is_ping = argument(1) & SOCK_TYPE == SOCK_DGRAM
                && ((argument(0) == u64::from(AF_INET) && argument(2) == IPPROTO_ICMP)
                    || (argument(0) == u64::from(AF_INET6) && argument(2) == IPPROTO_ICMPV6));
            return is_ping.then_some(NOTHING).into();
        }
        watch::PID => target::of_number(argument(0) as u32),
        watch::MONITORED if argument(4) & OF_CGROUP == 0 && (argument(1) as i32) > 0 => {
            target::of_number(argument(1) as u32)
        }
        watch::TWO_PIDS => target::both(
            target::of_number(argument(0) as u32),
            target::of_number(argument(1) as u32),
        ),
        watch::PRIORITY => of_who(argument(0), argument(1) as u32),
        watch::IO_PRIORITY => of_who(argument(0).wrapping_sub(1), argument(1) as u32),
        watch::PTRACE => target::of_number(argument(1) as u32),
        watch::PIDFD | watch::NAMESPACE | watch::PIDFD_IOCTL => {
            target::of_pidfd(task, argument(0) as u32)
        }
        watch::CORE_SCHEDULING if argument(0) == SCHED_CORE => {
            target::of_number(argument(2) as u32)
        }
        _ => NOBODY,
    };
    target::is_somebody(&target)
        .then_some(Finding { target, ..NOTHING })
        .into()
}

/// Whether the call is of interest where it was refused and nothing was asked for.
#[inline(always)]
pub fn is_of_interest_refused(spec: SyscallSpec) -> bool {
    matches!(
        spec.watch(),
        watch::REFUSAL | watch::PATH_OR_REFUSAL | watch::SOCKET | watch::BIND
    )
}

/// Whom a call about a process, its group or a user's processes acts upon. `PRIO_PROCESS` is 0; the others are several.
#[inline(always)]
fn of_who(kind: u64, number: u32) -> Target {
    match kind {
        0 => target::of_number(number),
        _ => target::unknown(),
    }
}

/// A socket was bound: of interest if that needs a capability unless a machine's administrator says otherwise.
#[inline(always)]
fn bound(address: u64) -> Found {
    let Some([family, port]) = user::<[u16; 2]>(address) else {
        return Found::Nothing;
    };
    let port = u16::from_be(port);
    if family == AF_UNIX {
        return Found::ByPath;
    }
    ((family == AF_INET || family == AF_INET6) && (1..FIRST_UNPRIVILEGED).contains(&port))
        .then_some(Finding {
            detail: u32::from(port),
            object: object::ADDRESS as u32,
            address,
            ..NOTHING
        })
        .into()
}

/// A socket address may be a path, which led to a socket.
#[inline(always)]
fn of_unix(address: u64) -> Found {
    if user::<u16>(address) == Some(AF_UNIX) {
        Found::ByPath
    } else {
        Found::Nothing
    }
}

/// A file was opened.
#[inline(always)]
fn opened(task: Pointer, registers: Pointer, spec: SyscallSpec, descriptor: u32) -> Found {
    let file = target::opened_file(task, descriptor);
    let inode = follow(file, &offset::FILE_INODE);
    let address = kernel::argument(registers, spec.path_index().saturating_sub(1));
    if !target::is_proc(inode) {
        return if target::is_of_cgroups(inode) {
            moving(registers, spec, follow(file, &offset::FILE_DENTRY), address).into()
        } else {
            Found::ByPath
        };
    }
    let dentry = follow(file, &offset::FILE_DENTRY);
    let name = target::name(dentry);
    let target = target::of_proc(inode);
    let is_somebody = target::is_somebody(&target);
    // Its sets are shown in that: its own, or those of a process of the same subject, which has the same set to lose.
    let shows_sets = name == packed(b"status")
        && if is_somebody {
            target.flags & capaudit_common::event::target::FOLLOWED != 0
        } else {
            target::is_own(task, inode)
        };
    if !shows_sets && !(is_somebody && is_guarded(name, dentry)) {
        return Found::Nothing;
    }
    // By the names that the kernel has: a path may lead there by others.
    Found::This(Finding {
        target,
        detail: if shows_sets {
            packed(b"status") as u32
        } else {
            0
        },
        object: object::NAMES as u32,
        address,
        dentry: dentry as u64,
    })
}

/// A file of cgroups was opened: of interest if processes are moved by it, and so maybe to other processors (`cpuset_can_attach`,
/// kernel/cgroup/cpuset.c, asks `security_task_setscheduler`). Which processes, only what is written says.
#[inline(always)]
fn moving(registers: Pointer, spec: SyscallSpec, dentry: Pointer, address: u64) -> Option<Finding> {
    /// `O_ACCMODE`, include/uapi/asm-generic/fcntl.h
    const ACCESS: u64 = 3;
    let name = target::name(dentry);
    let flags = kernel::argument(registers, spec.path_index());
    let writes = flags & ACCESS != 0;
    // cgroup.procs, cgroup.threads, and the first hierarchies' tasks
    let moves = name == packed(b"cgroup.") || name == packed(b"tasks");
    (writes && moves).then_some(Finding {
        target: target::unknown(),
        object: object::PATH as u32,
        address,
        ..NOTHING
    })
}

/// Whether a file below /proc/PID is opened, read or listed only by those who may trace the process: fs/proc/base.c,
/// task_mmu.c and fd.c ask `ptrace_may_access` or `mm_access` (`proc_timers_open` in 6.18.44, not in 6.1.192, 6.12.117 and 7.2.11);
/// timerslack_ns asks `security_task_setscheduler`. wchan and stat are read by anybody, and show the others less.
#[inline(always)]
fn is_guarded(name: u64, dentry: Pointer) -> bool {
    const GUARDED: [u64; 17] = [
        packed(b"stat"),
        packed(b"environ"),
        packed(b"mem"),
        packed(b"maps"),
        packed(b"smaps"),
        packed(b"smaps_rollup"),
        packed(b"numa_maps"),
        packed(b"pagemap"),
        packed(b"auxv"),
        packed(b"io"),
        packed(b"stack"),
        packed(b"syscall"),
        packed(b"wchan"),
        packed(b"personality"),
        packed(b"timers"),
        packed(b"timerslack_ns"),
        packed(b"map_files"),
    ];
    const FDINFO: u64 = packed(b"fdinfo");
    let mut is_guarded = name == FDINFO;
    for guarded in GUARDED {
        is_guarded |= name == guarded;
    }
    if !is_guarded && (name as u8).is_ascii_digit() {
        let directory = target::name(follow(dentry, &offset::DENTRY_PARENT));
        is_guarded = directory == FDINFO;
    }
    is_guarded
}

/// Whether a call that failed, and was not refused, may have gone through a link all the same: there was nothing behind it, say.
#[inline(always)]
pub fn may_lead_on(spec: SyscallSpec) -> bool {
    is_of_paths(spec) || spec.watch() == watch::CONNECT
}

/// Whether what is of interest of a call is where its paths lead.
#[inline(always)]
fn is_of_paths(spec: SyscallSpec) -> bool {
    matches!(
        spec.watch(),
        watch::PATH
            | watch::PATH_BUT_LAST
            | watch::PATH_BY_FLAGS_2
            | watch::PATH_BY_FLAGS_3
            | watch::PATH_OR_REFUSAL
            | watch::TWO_PATHS
            | watch::SECOND
            | watch::SOURCE
    )
}

/// Whether a call that succeeded may be of interest, as far as that can be told without looking at anything but its arguments: most
/// calls are of processes that are not followed, or do something else.
#[inline(always)]
pub fn may_be_found(registers: Pointer, spec: SyscallSpec) -> bool {
    let argument = |index| kernel::argument(registers, index);
    match spec.watch() {
        watch::PIDFD_IOCTL => matches!(argument(1), FIRST_NAMESPACE..=LAST_NAMESPACE),
        watch::PID => argument(0) as u32 != 0,
        watch::PTRACE => matches!(argument(0), ATTACH | SEIZE),
        watch::REFUSAL => false,
        _ => true,
    }
}

impl Finding {
    /// Mixes what tells the fact from others into the hash of a call.
    #[inline(always)]
    pub fn mixed_into(&self, task_operation: u32) -> u32 {
        let mut hash = task_operation;
        if self.detail != 0 {
            hash = mix(hash, u64::from(self.detail));
        }
        if target::is_somebody(&self.target) {
            hash = mix(hash, self.target.permitted);
            hash = mix(hash, u64::from(self.target.flags));
        }
        hash
    }

    /// Fills in what a call acted upon.
    ///
    /// # Safety
    ///
    /// `call` is a reserved record.
    #[inline(always)]
    pub unsafe fn describe(&self, call: *mut Call) {
        // SAFETY: by the caller's promise.
        let call = unsafe { &mut *call };
        call.target = self.target;
        call.object_kind = object::NONE;
        call.reserved = 0;
        call.object_len = 0;
        call.padding = 0;
        match self.object as u8 {
            object::PATH => {
                // SAFETY: the buffer is the record's.
                let length = unsafe {
                    bpf_probe_read_user_str(
                        call.object.as_mut_ptr().cast(),
                        OBJECT_LEN as u32,
                        self.address as *const _,
                    )
                };
                if length > 0 {
                    call.object_kind = object::PATH;
                    call.object_len = length as u16;
                }
            }
            object::NAMES => {
                // SAFETY: the buffer is the record's.
                let length = unsafe { names_of(self.dentry as Pointer, call.object.as_mut_ptr()) };
                if length > 0 {
                    call.object_kind = object::NAMES;
                    call.object_len = length as u16;
                }
            }
            object::ADDRESS => {
                let part = &mut call.object[..ADDRESS_LEN];
                // SAFETY: the helper checks the address. A `sockaddr_in` is shorter, and may lie at the end of a page.
                let whole = unsafe { bpf_probe_read_user_buf(self.address as *const u8, part) };
                if whole.is_ok() {
                    call.object_kind = object::ADDRESS;
                    call.object_len = ADDRESS_LEN as u16;
                } else if let Some(short) = user::<[u8; 16]>(self.address) {
                    call.object[..16].copy_from_slice(&short);
                    call.object_kind = object::ADDRESS;
                    call.object_len = 16;
                }
            }
            _ => {}
        }
    }
}
