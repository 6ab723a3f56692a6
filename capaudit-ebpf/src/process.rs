//! Who is followed: from fork to exit, in the kernel, so that nothing depends on reading /proc in time.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_get_smp_processor_id,
    generated::{bpf_ktime_get_ns, bpf_probe_read_kernel_str},
};
use capaudit_common::{
    event::{
        CGROUP_DEPTH, CGROUP_LEN, COMM_LEN, Exec, Exit, Fork, Header, OBJECT_LEN, ignored, kind,
    },
    offset::ABSENT,
    scope::{Process, epoch, execution, loss},
};

use crate::{
    call,
    kernel::{self, PF_EXITING, PF_KTHREAD, Pointer, at, direct, follow, probe, read_from},
    maps::{EPOCH, EVENTS, IMAGES, PENDING, PROCESSES, SPAWNING, count_atomically, lose},
    send::{Wake, submit},
    setting::{self, offset},
    target,
};

/// `MNT_NOSUID`, include/linux/mount.h
const MNT_NOSUID: u32 = 1;

/// Most controllers a kernel can have (`CGROUP_SUBSYS_COUNT` is 12 to 14).
const SUBSYS_MOST: u32 = 16;

/// Who the running process is.
#[derive(Clone, Copy)]
pub enum Lookup {
    /// It is followed already, or from now on.
    Tracked(Process),
    /// It is not followed, which remains so while it stays in its mount namespace and the epoch lasts.
    Untracked,
    /// It is not followed now, and nothing follows from that.
    Unclear,
}

/// Looks the running process up, and begins to follow it if everything is followed, or if it is met in another mount
/// namespace than capaudit's: there it is what sets a new container up, until its next execve.
#[inline(always)]
pub fn look_up(task: Pointer, tgid: u32) -> Lookup {
    // SAFETY: copied at once.
    let known = unsafe { PROCESSES.get(&tgid) };
    if let Some(process) = known
        && process.flags & execution::IGNORED == 0
    {
        return Lookup::Tracked(*process);
    }
    let Some(flags) = entitled(task, tgid, known) else {
        // What ends is not met again, but its pid is.
        let is_ending = direct::<u32>(task, &offset::TASK_FLAGS) & PF_EXITING != 0;
        return if is_ending {
            Lookup::Unclear
        } else {
            Lookup::Untracked
        };
    };
    let Some(process) = enter(tgid, flags, 0) else {
        return Lookup::Unclear;
    };
    announce(task, process, kind::ADOPT, tgid, 0, Wake::IfFilled);
    Lookup::Tracked(process)
}

/// Whether an ignored process is still where it is ignored.
#[inline(always)]
fn is_ignored(task: Pointer, process: &Process) -> bool {
    let mount = kernel::mount_namespace(task);
    mount == 0 || mount == process.mount_namespace
}

/// Whether a process that is not followed, and may be known as ignored, should be; the flags for it.
#[inline(always)]
pub fn entitled(task: Pointer, tgid: u32, known: Option<&Process>) -> Option<u32> {
    let all = setting::FOLLOW_ALL.load() != 0;
    if tgid == setting::SELF_TGID.load() || !(all || setting::FOLLOW_UNKNOWN.load() != 0) {
        return None;
    }
    if let Some(process) = known
        && is_ignored(task, process)
    {
        return None;
    }
    let flags = direct::<u32>(task, &offset::TASK_FLAGS);
    if flags & PF_EXITING != 0 {
        return None; // what forgets it again may have run already
    }
    if all {
        return Some(0);
    }
    let mount = kernel::mount_namespace(task);
    if mount == 0 || mount == setting::HOST_MNT_NS.load() || flags & PF_KTHREAD != 0 {
        return None;
    }
    Some(execution::SETUP)
}

/// Enters a process, with a new execution, into the map.
#[inline(always)]
fn enter(tgid: u32, flags: u32, mount_namespace: u32) -> Option<Process> {
    let counter = IMAGES.get_ptr_mut(0)?;
    // SAFETY: a map value of this CPU, and no preconditions. User space numbers from 1 below 1 << 40.
    let execution = unsafe {
        *counter += 1;
        (u64::from(bpf_get_smp_processor_id()) + 1) << 40 | *counter
    };
    let process = Process {
        execution,
        flags,
        mount_namespace,
    };
    if PROCESSES.insert(&tgid, &process, 0).is_err() {
        lose(loss::PROCESSES);
        return None;
    }
    Some(process)
}

/// The current epoch.
#[inline(always)]
pub fn current_epoch() -> u64 {
    let of = |index| EPOCH.get(index).copied().unwrap_or_default();
    of(epoch::KERNEL).wrapping_add(of(epoch::USER))
}

/// Begins another epoch: what was known of a process does not hold any more.
#[inline(always)]
fn begin_epoch() {
    if let Some(epoch) = EPOCH.get_ptr_mut(epoch::KERNEL) {
        // SAFETY: a map value; counted atomically.
        unsafe { count_atomically(epoch) };
    }
}

/// `sched_process_fork`
#[inline(always)]
pub fn fork(parent: Pointer, child: Pointer) {
    let parent_tgid: u32 = direct(parent, &offset::TASK_TGID);
    let tgid: u32 = direct(child, &offset::TASK_TGID);
    if tgid == parent_tgid {
        return; // a thread
    }
    let from = if parent_tgid == setting::SELF_TGID.load() {
        match SPAWNING.get(0) {
            Some(1) => Process {
                execution: 0,
                flags: execution::SETUP,
                mount_namespace: 0,
            },
            _ => return,
        }
    } else {
        // SAFETY: copied at once.
        match unsafe { PROCESSES.get(&parent_tgid) } {
            Some(process) => *process,
            None => return,
        }
    };
    if let Some(process) = enter(tgid, from.flags, from.mount_namespace)
        && process.flags & execution::IGNORED == 0
    {
        // The pid may have been a stranger's.
        begin_epoch();
        announce(
            child,
            process,
            kind::FORK,
            tgid,
            from.execution,
            Wake::NowAndThen,
        );
    }
}

/// Sends a [`Fork`] record.
#[inline(always)]
fn announce(task: Pointer, process: Process, kind: u32, tgid: u32, parent: u64, wake: Wake) {
    let Some(mut entry) = EVENTS.reserve::<Fork>(0) else {
        lose(loss::RING);
        return;
    };
    let fork = entry.as_mut_ptr();
    let header = header(process, kind, tgid, probe(task, &offset::TASK_PID));
    let cred = follow(task, &offset::TASK_REAL_CRED);
    // SAFETY: the reserved record is ours until it is submitted, and every field is written.
    unsafe {
        (*fork).header = header;
        (*fork).parent = parent;
        (*fork).namespaces = kernel::namespaces(task, cred);
        (*fork).ids = kernel::ids(cred);
        (*fork).sets = kernel::sets(cred);
        (*fork).comm = probe::<[u8; COMM_LEN]>(task, &offset::TASK_COMM);
    }
    submit(entry, header.time, wake);
}

#[inline(always)]
fn header(process: Process, kind: u32, tgid: u32, tid: u32) -> Header {
    Header {
        // SAFETY: no preconditions.
        time: unsafe { bpf_ktime_get_ns() },
        execution: process.execution,
        kind,
        tgid,
        tid,
        flags: process.flags,
    }
}

/// `sched_process_exec`: the new credentials are in force already (`begin_new_exec`, fs/exec.c).
#[inline(always)]
pub fn exec(task: Pointer, bprm: Pointer) {
    let tgid: u32 = direct(task, &offset::TASK_TGID);
    // SAFETY: copied at once.
    let previous = match unsafe { PROCESSES.get(&tgid) }.copied() {
        Some(process) if process.flags & execution::IGNORED == 0 => {
            if process.flags & execution::SETUP == 0 {
                call::executed(process, task, follow(bprm, &offset::BPRM_FILENAME));
            }
            process.execution
        }
        known if entitled(task, tgid, known.as_ref()).is_some() => 0,
        _ => return,
    };
    let entered = enter(tgid, 0, kernel::mount_namespace(task));
    begin_epoch();
    let Some(process) = entered else {
        return;
    };
    let Some(mut entry) = EVENTS.reserve::<Exec>(0) else {
        lose(loss::RING);
        return;
    };
    let exec = entry.as_mut_ptr();
    let header = header(process, kind::EXEC, tgid, bpf_get_current_pid_tgid() as u32);
    let cred = follow(task, &offset::TASK_REAL_CRED);
    let file = privileged_file(task, bprm);
    let inode = follow(file, &offset::FILE_INODE);
    // SAFETY: the reserved record is ours until it is submitted, and every field is written.
    unsafe {
        (*exec).header = header;
        (*exec).previous = previous;
        (*exec).namespaces = kernel::namespaces(task, cred);
        (*exec).ids = kernel::ids(cred);
        (*exec).sets = kernel::sets(cred);
        (*exec).inode = probe(inode, &offset::INODE_NUMBER);
        (*exec).device = probe(follow(inode, &offset::INODE_SUPER), &offset::SUPER_DEVICE);
        (*exec).mode = u32::from(probe::<u16>(inode, &offset::INODE_MODE));
        (*exec).owner = probe(inode, &offset::INODE_UID);
        (*exec).group = probe(inode, &offset::INODE_GID);
        (*exec).ignored = ignored(task, cred, file);
        (*exec).reserved = 0;
        (*exec).comm = probe::<[u8; COMM_LEN]>(task, &offset::TASK_COMM);
        (*exec).interpreter[0] = 0;
        bpf_probe_read_kernel_str(
            (*exec).interpreter.as_mut_ptr().cast(),
            OBJECT_LEN as u32,
            follow(bprm, &offset::BPRM_INTERPRETER).cast(),
        );
        (*exec).path[0] = 0;
        bpf_probe_read_kernel_str(
            (*exec).path.as_mut_ptr().cast(),
            OBJECT_LEN as u32,
            follow(bprm, &offset::BPRM_FILENAME).cast(),
        );
        for depth in 0..CGROUP_DEPTH {
            (*exec).cgroups[depth][0] = 0;
        }
        if (*exec).namespaces.mnt != setting::HOST_MNT_NS.load() {
            cgroups(exec, task);
        }
    }
    submit(entry, header.time, Wake::AtOnce);
}

/// The file whose privileges count (`bprm_creds_from_file`, fs/exec.c): what is executed in the end, or what that interprets, if
/// binfmt_misc has the flag C for it. By now the interpreter has that as a descriptor (`begin_new_exec`).
#[inline(always)]
fn privileged_file(task: Pointer, bprm: Pointer) -> Pointer {
    let bit = offset::BPRM_BY_SCRIPT.load();
    if bit != ABSENT && offset::BPRM_DESCRIPTOR.load() != ABSENT {
        let byte: u8 = read_from(bprm.wrapping_add((bit / 8) as usize));
        if byte & (1 << (bit % 8)) != 0 {
            return target::file(task, probe(bprm, &offset::BPRM_DESCRIPTOR));
        }
    }
    follow(bprm, &offset::BPRM_FILE)
}

/// Why the privileges of a file count for nothing: `mnt_may_suid`, fs/namespace.c.
#[inline(always)]
fn ignored(task: Pointer, cred: Pointer, file: Pointer) -> u32 {
    let mount = follow(file, &offset::FILE_MOUNT);
    if mount.is_null() {
        return 0;
    }
    let mut found = 0;
    if probe::<u32>(mount, &offset::VFSMOUNT_FLAGS) & MNT_NOSUID != 0 {
        found |= ignored::NOSUID;
    }
    let within = offset::MOUNT_VFS.load();
    if within != ABSENT && offset::MOUNT_NS.load() != ABSENT {
        let namespace = follow(mount.wrapping_sub(within as usize), &offset::MOUNT_NS);
        let own = follow(follow(task, &offset::TASK_NSPROXY), &offset::NSPROXY_MNT);
        if namespace != own {
            found |= ignored::FOREIGN;
        }
    }
    let owner = follow(
        follow(mount, &offset::VFSMOUNT_SUPER),
        &offset::SUPER_USER_NS,
    );
    if !owner.is_null() && !kernel::is_within(follow(cred, &offset::CRED_USER_NS), owner) {
        found |= ignored::USER_NAMESPACE;
    }
    found
}

/// Records the names of the task's cgroup and of those above it: in the unified hierarchy, or, where it is
/// in the root of that (cgroup v1, hybrid), in the first hierarchy where it is not.
#[inline(always)]
unsafe fn cgroups(exec: *mut Exec, task: Pointer) {
    let set = follow(task, &offset::TASK_CGROUPS);
    let mut node = below_root(follow(
        follow(set, &offset::CSS_SET_DEFAULT),
        &offset::CGROUP_NODE,
    ));
    let first = offset::CSS_SET_SUBSYS.load();
    if node.is_null() && first != ABSENT {
        let count = setting::SUBSYS_COUNT.load();
        for index in 0..SUBSYS_MOST {
            if index >= count || !node.is_null() {
                break;
            }
            // SAFETY: only an address; the helper checks it.
            let slot = unsafe { set.add((first + index * 8) as usize) };
            let state = at(slot);
            node = below_root(follow(
                follow(state, &offset::CSS_CGROUP),
                &offset::CGROUP_NODE,
            ));
        }
    }
    for depth in 0..CGROUP_DEPTH {
        if node.is_null() {
            break;
        }
        // SAFETY: the buffer is the record's.
        unsafe {
            bpf_probe_read_kernel_str(
                (*exec).cgroups[depth].as_mut_ptr().cast(),
                CGROUP_LEN as u32,
                follow(node, &offset::NODE_NAME).cast(),
            );
        }
        node = below_root(follow(node, &offset::NODE_PARENT));
    }
}

/// `node`, or null if it is the root of its hierarchy.
#[inline(always)]
fn below_root(node: Pointer) -> Pointer {
    if follow(node, &offset::NODE_PARENT).is_null() {
        core::ptr::null()
    } else {
        node
    }
}

/// `sched_process_exit`: forgets the thread, and with the last of them the process.
///
/// `signal->live` has been lowered by then (`do_exit`, kernel/exit.c).
#[inline(always)]
pub fn exit(task: Pointer) {
    let tgid: u32 = direct(task, &offset::TASK_TGID);
    // SAFETY: copied at once.
    let Some(process) = unsafe { PROCESSES.get(&tgid) }.copied() else {
        return;
    };
    let thread: u32 = direct(task, &offset::TASK_PID);
    // SAFETY: copied at once; only this thread writes the entry.
    if let Some(pending) = unsafe { PENDING.get(&thread) }.copied() {
        call::forget(thread, &pending);
    }
    let live: u32 = probe(follow(task, &offset::TASK_SIGNAL), &offset::SIGNAL_LIVE);
    if live != 0 {
        return;
    }
    let _ = PROCESSES.remove(&tgid);
    begin_epoch();
    if process.flags & execution::IGNORED != 0 {
        return;
    }
    let Some(mut entry) = EVENTS.reserve::<Exit>(0) else {
        lose(loss::RING);
        return;
    };
    let exit = entry.as_mut_ptr();
    let header = header(process, kind::EXIT, tgid, thread);
    // SAFETY: the reserved record is ours until it is submitted, and every field is written.
    unsafe {
        (*exit).header = header;
        (*exit).status = probe(task, &offset::TASK_EXIT_CODE);
        (*exit).reserved = 0;
    }
    submit(entry, header.time, Wake::NowAndThen);
}
