//! How the kernel side treats each system call: which arguments decide what it does, what it acts upon, and
//! whether the call itself is of interest.

use capaudit_common::syscall::{SyscallSpec, TABLE_LEN, special, watch};
use syscalls::Sysno;

const PLAIN: SyscallSpec = SyscallSpec::NONE;

/// The table for the running architecture.
pub(super) fn table() -> [u32; TABLE_LEN] {
    let mut table = [0; TABLE_LEN];
    for number in Sysno::iter() {
        let spec = by_name(number.name()).watching(watched(number.name()));
        if let Some(word) = table.get_mut(number.id() as usize) {
            *word = spec.0;
        }
    }
    table
}

/// The name of system call `number` on this architecture.
pub fn name(number: u16) -> Option<&'static str> {
    Sysno::new(usize::from(number)).map(|number| number.name())
}

fn by_name(name: &str) -> SyscallSpec {
    match name {
        // Files by path. Modes and flags decide what is checked (setgid bits, O_NOATIME, …).
        "open" => PLAIN.path(0).selecting(0b010),
        "openat" => PLAIN.path(1).selecting(0b100),
        "creat" | "truncate" | "chdir" | "rmdir" | "unlink" | "readlink" | "statfs" | "stat"
        | "lstat" | "chroot" | "acct" | "uselib" | "utime" | "utimes" | "swapoff" => PLAIN.path(0),
        "inotify_add_watch" => PLAIN.path(1),
        "access" | "mkdir" | "chmod" | "mknod" | "swapon" => PLAIN.path(0).selecting(0b010),
        "faccessat" | "faccessat2" | "mkdirat" | "fchmodat" | "fchmodat2" | "mknodat"
        | "unlinkat" => PLAIN.path(1).selecting(0b100),
        "chown" | "lchown" => PLAIN.path(0).selecting(0b110),
        "fchownat" => PLAIN.path(1).selecting(0b1100),
        "openat2" | "newfstatat" | "statx" | "readlinkat" | "utimensat" | "futimesat"
        | "file_getattr" | "file_setattr" => PLAIN.path(1),
        "fanotify_mark" => PLAIN.path(4),
        "name_to_handle_at" => PLAIN.path(1).reported(),
        "rename" | "link" | "symlink" => PLAIN.path(0).second(1),
        "renameat" | "renameat2" | "linkat" => PLAIN.path(1).second(3),
        "symlinkat" => PLAIN.path(2).second(0),
        "execve" => PLAIN.path(0),
        "execveat" => PLAIN.path(1),
        "setxattr" | "lsetxattr" | "removexattr" | "lremovexattr" | "getxattr" | "lgetxattr" => {
            PLAIN.path(0).second(1)
        }
        "listxattr" | "llistxattr" => PLAIN.path(0),
        "setxattrat" | "getxattrat" | "removexattrat" => PLAIN.path(1).second(3),
        "listxattrat" => PLAIN.path(1),
        // Files by descriptor.
        "fchown" => PLAIN.special(special::FILE).selecting(0b110),
        "fchmod" => PLAIN.special(special::FILE).selecting(0b010),
        "fsetxattr" | "fremovexattr" | "fgetxattr" => PLAIN.special(special::FILE).second(1),
        "ftruncate" | "flistxattr" | "write" | "pwrite64" | "writev" | "fallocate" | "read"
        | "getdents64" | "fchdir" | "fsync" => PLAIN.special(special::FILE),
        "ioctl" | "fcntl" => PLAIN.special(special::FILE).selecting(0b010),
        // Mounts.
        "mount" => PLAIN.path(1).second(2).selecting(0b1000).reported(),
        "umount2" => PLAIN.path(0).selecting(0b010).reported(),
        "pivot_root" => PLAIN.path(0).second(1).reported(),
        "open_tree" | "fspick" => PLAIN.path(1).reported(),
        "move_mount" => PLAIN.path(1).second(3).reported(),
        // The name of a file system.
        "fsopen" => PLAIN.path(0).selecting(0b010).reported(),
        "fsconfig" | "fsmount" | "mount_setattr" | "quotactl" | "quotactl_fd" => {
            PLAIN.selecting(0b010).reported()
        }
        // Identity: the ids asked for decide whether anything changes.
        "setuid" | "setgid" | "setfsuid" | "setfsgid" => PLAIN.selecting(0b001),
        "setreuid" | "setregid" => PLAIN.selecting(0b011),
        "setresuid" | "setresgid" => PLAIN.selecting(0b111),
        "capset" => PLAIN.special(special::CAPDATA),
        "capget" => PLAIN.selecting(0b010).reported(),
        "prctl" => PLAIN.special(special::PRCTL).selecting(0b001).reported(),
        // Sockets.
        "bind" => PLAIN.special(special::ADDRESS),
        // Whoever has spoken to nobody has not asked an engine for a container.
        "connect" => PLAIN.special(special::ADDRESS).selecting(0b100).reported(),
        "socket" => PLAIN.selecting(0b111),
        // Whether a buffer is asked for without force before it is with (SO_SNDBUF, SO_SNDBUFFORCE).
        "setsockopt" => PLAIN.selecting(0b110).reported(),
        "getsockopt" => PLAIN.selecting(0b110),
        "sendmsg" => PLAIN.special(special::MESSAGE),
        "sendto" => PLAIN.special(special::BUFFER),
        // Processes.
        // Not the targets, of which there may be many: the signal, the priority, the resource.
        "kill" | "tkill" | "sched_setscheduler" | "prlimit64" => PLAIN.selecting(0b010),
        "tgkill" => PLAIN.selecting(0b100),
        "setpriority" | "ioprio_set" => PLAIN.selecting(0b101),
        "setrlimit" | "getpriority" => PLAIN.selecting(0b001),
        "ptrace" => PLAIN.selecting(0b001),
        "unshare" | "clone" => PLAIN.selecting(0b001).reported(),
        "setns" => PLAIN.selecting(0b010).reported(),
        "clone3" => PLAIN.special(special::CLONE3).reported(),
        // System calls that engines' default seccomp profiles unlock by capability.
        "bpf"
        | "perf_event_open"
        | "fanotify_init"
        | "lookup_dcookie"
        | "lsm_get_self_attr"
        | "lsm_list_modules"
        | "lsm_set_self_attr"
        | "setdomainname"
        | "sethostname"
        | "syslog"
        | "open_by_handle_at"
        | "reboot"
        | "delete_module"
        | "init_module"
        | "finit_module"
        | "kcmp"
        | "pidfd_getfd"
        | "process_madvise"
        | "process_vm_readv"
        | "process_vm_writev"
        | "iopl"
        | "ioperm"
        | "settimeofday"
        | "clock_settime"
        | "clock_settime64"
        | "vhangup"
        | "set_mempolicy_home_node" => PLAIN.reported(),
        "set_mempolicy" => PLAIN.selecting(0b001).reported(),
        "mbind" => PLAIN.selecting(0b100).reported(),
        "get_mempolicy" => PLAIN.selecting(0b10000).reported(),
        // Of the 32-bit table these numbers are capget and capset (arch/x86/entry/syscalls/syscall_32.tbl); of this one nothing.
        "tuxcall" | "security" => PLAIN.reported(),
        "keyctl" => PLAIN.selecting(0b001),
        _ => PLAIN,
    }
}

/// What makes a call a fact of its own although the kernel asks for no capability.
///
/// The kernel's callers of `ptrace_may_access`, `mm_access`, `security_task_setnice`, `security_task_setscheduler` and
/// `security_task_setioprio`, in Linux 6.1 to 7.2. Not here: prlimit64, process_mrelease and move of memory between nodes by
/// themselves compare no sets; a cgroup's processes moved between sets of processors (`cpuset_can_attach`), which writes a file.
fn watched(name: &str) -> u32 {
    match name {
        "process_vm_readv" | "process_vm_writev" | "get_robust_list" | "move_pages"
        | "migrate_pages" | "sched_setscheduler" | "sched_setparam" | "sched_setattr"
        | "sched_setaffinity" => watch::PID,
        "perf_event_open" => watch::MONITORED,
        "kcmp" => watch::TWO_PIDS,
        "setpriority" => watch::PRIORITY,
        "ioprio_set" => watch::IO_PRIORITY,
        "ptrace" => watch::PTRACE,
        "pidfd_getfd" | "process_madvise" => watch::PIDFD,
        "setns" => watch::NAMESPACE,
        "ioctl" => watch::PIDFD_IOCTL,
        "prctl" => watch::CORE_SCHEDULING,
        "open" | "openat" | "openat2" | "creat" => watch::OPEN,
        "readlink" | "readlinkat" | "stat" | "access" | "faccessat" | "faccessat2" | "chdir"
        | "chroot" | "statfs" | "truncate" | "chmod" | "fchmodat" | "fchmodat2" | "utimensat"
        | "futimesat" | "utime" | "utimes" | "mkdir" | "mkdirat" | "rmdir" | "unlink"
        | "unlinkat" | "setxattr" | "getxattr" | "listxattr" | "removexattr" | "setxattrat"
        | "getxattrat" | "listxattrat" | "removexattrat" | "file_getattr" | "file_setattr"
        | "inotify_add_watch" | "fanotify_mark" | "name_to_handle_at" | "open_tree" | "fspick"
        | "umount2" | "symlinkat" | "acct" | "swapon" | "swapoff" => watch::PATH,
        "lstat" | "lsetxattr" | "lgetxattr" | "llistxattr" | "lremovexattr" => watch::PATH_BUT_LAST,
        "rename" | "renameat" | "renameat2" | "link" | "linkat" | "move_mount" | "pivot_root" => {
            watch::TWO_PATHS
        }
        "symlink" => watch::SECOND,
        "statx" => watch::PATH_BY_FLAGS_2,
        "newfstatat" => watch::PATH_BY_FLAGS_3,
        "mount" => watch::SOURCE,
        "bind" => watch::BIND,
        "connect" => watch::CONNECT,
        "socket" => watch::SOCKET,
        // AppArmor and SELinux are asked before the kernel asks for a capability (`security_path_chown`, `security_path_mknod`).
        "chown" | "lchown" | "fchownat" | "mknod" | "mknodat" => watch::PATH_OR_REFUSAL,
        "fchown" => watch::REFUSAL,
        _ => watch::NONE,
    }
}

#[cfg(test)]
mod tests {
    use capaudit_core::{advise::seccomp::conditional_calls, ledger::identifying_arguments};

    use super::*;

    #[test]
    fn knows_what_decides_and_what_is_acted_upon() {
        let table = table();
        let of = |number: Sysno| SyscallSpec(table[number.id() as usize]);
        assert_eq!(of(Sysno::fchownat).path_index(), 2);
        assert_eq!(of(Sysno::fchownat).selectors(), 0b1100);
        assert_eq!(of(Sysno::bind).special_value(), special::ADDRESS);
        assert_eq!(of(Sysno::renameat2).second_index(), 4);
        assert!(of(Sysno::unshare).is_reported());
        assert_eq!(of(Sysno::unshare).selectors(), 0b001);
        assert_eq!(of(Sysno::setns).selectors(), 0b010);
        assert_eq!(of(Sysno::getpid), SyscallSpec::NONE);
        assert_eq!(of(Sysno::openat).watch(), watch::OPEN);
        assert_eq!(of(Sysno::openat).selectors(), 0b100);
        assert!(!of(Sysno::openat).is_reported());
        assert!(of(Sysno::openat).may_be_reported());
        assert_eq!(of(Sysno::setpriority).watch(), watch::PRIORITY);
        assert!(!of(Sysno::close).may_be_reported());
    }

    #[test]
    fn a_path_that_is_watched_is_an_argument() {
        for number in Sysno::iter() {
            let spec = by_name(number.name());
            let (is_path, has_second) = match watched(number.name()) {
                watch::OPEN
                | watch::PATH
                | watch::PATH_BUT_LAST
                | watch::PATH_BY_FLAGS_2
                | watch::PATH_BY_FLAGS_3
                | watch::PATH_OR_REFUSAL => (true, false),
                watch::TWO_PATHS => (true, true),
                watch::SECOND => (false, true),
                _ => (false, false),
            };
            assert!(!is_path || spec.path_index() != 0, "{}", number.name());
            assert!(!has_second || spec.second_index() != 0, "{}", number.name());
        }
    }

    #[test]
    fn what_identifies_a_call_is_selected() {
        for number in Sysno::iter() {
            let selected = by_name(number.name()).selectors();
            for index in identifying_arguments(number.name()) {
                assert!(selected & (1 << index) != 0, "{} {index}", number.name());
            }
        }
    }

    /// Calls that the kernel itself asks for the capability in question, so that there is a check.
    const ASKED: [&str; 2] = ["chroot", "acct"];
    /// Calls of 32-bit tables only.
    const NOT_ON_X86_64: [&str; 1] = ["clock_settime64"];

    #[test]
    fn every_call_of_a_seccomp_profile_is_recorded() {
        let is_reported =
            |name| Sysno::iter().any(|number| number.name() == name) && by_name(name).is_reported();
        for call in conditional_calls() {
            assert!(
                is_reported(call) || ASKED.contains(&call) || NOT_ON_X86_64.contains(&call),
                "{call}"
            );
        }
    }
}
