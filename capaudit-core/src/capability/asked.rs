//! Which kernel functions ask for each capability.
//!
//! Read from the sources of Linux 6.1 and 6.12 as Debian ships them (packages linux-source-6.1 and linux-source-6.12): every
//! row names a function that has the check in its own body, or calls the kernel's wrapper for it (`perfmon_capable`,
//! `bpf_capable`, `checkpoint_restore_ns_capable`, include/linux/capability.h). What drivers, file systems and network
//! protocols of their own ask is left out where there is more general code: for SYS_ADMIN there are some 500 places, for
//! NET_ADMIN some 250, and the rows are those that programs meet.
//!
//! A compiler may put a function into its caller, so that an audit names the caller: `chown_ok` is seen as
//! `setattr_prepare`.

use super::{Capability, name::NAMED};

/// A kernel function that asks for a capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its name in the source; `sys_chroot` is the system call's own, `__x64_sys_chroot` in a symbol table.
    pub function: &'static str,
    /// Its source file, relative to the root of the kernel's sources.
    pub file: &'static str,
    /// What is being done when it asks.
    pub about: &'static str,
    /// Which of the sources that were read have it.
    pub source: Source,
}

/// Which of the sources that were read have a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// 6.1 and 6.12.
    Both,
    /// 6.1 only: it was changed on the way to 6.12.
    Before,
    /// 6.12 only: it came after 6.1.
    After,
}

/// The release of a kernel: major and minor number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(pub u32, pub u32);

impl Release {
    /// Linux 6.1, the older of the sources that were read.
    pub const OLD: Self = Self(6, 1);
    /// Linux 6.12, the newer of the sources that were read.
    pub const NEW: Self = Self(6, 12);

    /// The releases whose sources the table of call sites was read from, the oldest first.
    pub const READ: [Self; 3] = [Self::OLD, Self::NEW, Self(7, 2)];

    /// From what uname(2) says: `6.1.0-18-amd64`. `None` if it does not begin with two numbers.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(|c: char| !c.is_ascii_digit());
        Some(Self(
            parts.next()?.parse().ok()?,
            parts.next()?.parse().ok()?,
        ))
    }
}

impl Source {
    /// Whether a kernel of this release may have it; between the two sources both may be.
    pub fn may_be_in(self, release: Release) -> bool {
        match self {
            Self::Both => true,
            Self::Before => release < Release::NEW,
            Self::After => release > Release::OLD,
        }
    }
}

const fn both(function: &'static str, file: &'static str, about: &'static str) -> Asked {
    Asked {
        function,
        file,
        about,
        source: Source::Both,
    }
}

const fn before(function: &'static str, file: &'static str, about: &'static str) -> Asked {
    Asked {
        source: Source::Before,
        ..both(function, file, about)
    }
}

const fn after(function: &'static str, file: &'static str, about: &'static str) -> Asked {
    Asked {
        source: Source::After,
        ..both(function, file, about)
    }
}

/// What asks for each capability, at the index of its number.
// A table: a row a line.
#[rustfmt::skip]
static ASKED: [(Capability, &[Asked]); NAMED] = [
    (Capability::CHOWN, &[
        both("chown_ok", "fs/attr.c", "chown to another owner"),
        both("chgrp_ok", "fs/attr.c", "chown to a group that the caller is not in, or of another's file"),
    ]),
    (Capability::DAC_OVERRIDE, &[
        both("generic_permission", "fs/namei.c", "access that mode and ACL of a file or directory forbid"),
    ]),
    (Capability::DAC_READ_SEARCH, &[
        both("generic_permission", "fs/namei.c", "reading a file or searching a directory; asked before DAC_OVERRIDE"),
        before("do_linkat", "fs/namei.c", "linkat with AT_EMPTY_PATH"),
        after("path_init", "fs/namei.c", "linkat with AT_EMPTY_PATH, of a descriptor opened by others"),
        both("handle_to_path", "fs/fhandle.c", "open_by_handle_at"),
        after("may_decode_fh", "fs/fhandle.c", "open_by_handle_at"),
    ]),
    (Capability::FOWNER, &[
        both("inode_owner_or_capable", "fs/inode.c", "chmod, utimes, ACLs, inode flags, O_NOATIME on another's file"),
        both("__check_sticky", "fs/namei.c", "unlink and rename of another's file in a sticky directory"),
    ]),
    (Capability::FSETID, &[
        both("in_group_or_capable", "fs/inode.c", "keeping set-group-ID at chmod, for a group the caller is not in"),
        both("setattr_should_drop_suidgid", "fs/attr.c", "keeping set-user-ID and set-group-ID at write and truncate"),
    ]),
    (Capability::KILL, &[
        both("kill_ok_by_cred", "kernel/signal.c", "kill and its like, to a process of another user"),
        both("perf_check_permission", "kernel/events/core.c", "perf_event_open with sigtrap, on another process"),
    ]),
    (Capability::SETGID, &[
        both("__sys_setgid", "kernel/sys.c", "setgid to a foreign group"),
        both("__sys_setregid", "kernel/sys.c", "setregid"),
        both("__sys_setresgid", "kernel/sys.c", "setresgid"),
        both("__sys_setfsgid", "kernel/sys.c", "setfsgid"),
        both("may_setgroups", "kernel/groups.c", "setgroups"),
        both("new_idmap_permitted", "kernel/user_namespace.c", "writing gid_map of a user namespace"),
        both("scm_check_creds", "net/core/scm.c", "sending another group in SCM_CREDENTIALS"),
    ]),
    (Capability::SETUID, &[
        both("__sys_setuid", "kernel/sys.c", "setuid to another user"),
        both("__sys_setreuid", "kernel/sys.c", "setreuid"),
        both("__sys_setresuid", "kernel/sys.c", "setresuid"),
        both("__sys_setfsuid", "kernel/sys.c", "setfsuid"),
        both("cap_bprm_creds_from_file", "security/commoncap.c", "executing a set-user-ID file while traced"),
        both("new_idmap_permitted", "kernel/user_namespace.c", "writing uid_map of a user namespace"),
        both("scm_check_creds", "net/core/scm.c", "sending another user in SCM_CREDENTIALS"),
        both("keyctl_get_persistent", "security/keys/persistent.c", "another user's persistent keyring"),
    ]),
    (Capability::SETPCAP, &[
        both("cap_task_prctl", "security/commoncap.c", "prctl PR_SET_SECUREBITS"),
        both("cap_prctl_drop", "security/commoncap.c", "prctl PR_CAPBSET_DROP"),
        both("cap_inh_is_capped", "security/commoncap.c", "capset that adds to inheritable what is not permitted"),
    ]),
    (Capability::LINUX_IMMUTABLE, &[
        both("fileattr_set_prepare", "fs/ioctl.c", "chattr +i, +a"),
    ]),
    (Capability::NET_BIND_SERVICE, &[
        both("__inet_bind", "net/ipv4/af_inet.c", "bind to a low port, IPv4"),
        both("__inet6_bind", "net/ipv6/af_inet6.c", "bind to a low port, IPv6"),
        both("sctp_do_bind", "net/sctp/socket.c", "bind to a low port, SCTP"),
        both("__vsock_bind_connectible", "net/vmw_vsock/af_vsock.c", "bind to a low port, vsock"),
    ]),
    (Capability::NET_BROADCAST, &[
        both("netlink_setsockopt", "net/netlink/af_netlink.c", "setsockopt NETLINK_LISTEN_ALL_NSID"),
        both("do_one_broadcast", "net/netlink/af_netlink.c", "each message from another namespace, of who opened the socket"),
    ]),
    (Capability::NET_ADMIN, &[
        both("rtnetlink_rcv_msg", "net/core/rtnetlink.c", "ip: changing links, addresses, routes, rules, qdiscs"),
        both("nfnetlink_rcv", "net/netfilter/nfnetlink.c", "nft, iptables-nft, conntrack"),
        both("do_ipt_set_ctl", "net/ipv4/netfilter/ip_tables.c", "iptables-legacy: changing rules"),
        both("do_ipt_get_ctl", "net/ipv4/netfilter/ip_tables.c", "iptables-legacy: reading rules"),
        both("genl_family_rcv_msg", "net/netlink/genetlink.c", "generic netlink: wireguard, nl80211, ethtool"),
        both("xfrm_user_rcv_msg", "net/xfrm/xfrm_user.c", "ip xfrm: IPsec"),
        both("devinet_ioctl", "net/ipv4/devinet.c", "ifconfig"),
        both("ip_rt_ioctl", "net/ipv4/fib_frontend.c", "route"),
        both("dev_ioctl", "net/core/dev_ioctl.c", "ioctls of interfaces: promiscuous mode, bridges"),
        both("sk_setsockopt", "net/core/sock.c", "setsockopt SO_MARK, SO_PRIORITY above 6, SO_*BUFFORCE"),
        both("do_ip_setsockopt", "net/ipv4/ip_sockglue.c", "setsockopt IP_TRANSPARENT (NET_RAW serves as well)"),
        both("netlink_allowed", "net/netlink/af_netlink.c", "joining netlink groups that are not for everybody"),
        both("net_ctl_permissions", "net/sysctl_net.c", "writing below /proc/sys/net"),
        both("bpf_prog_load", "kernel/bpf/syscall.c", "loading BPF programs for networking"),
        both("tun_set_iff", "drivers/net/tun.c", "opening a tun or tap device of others"),
    ]),
    (Capability::NET_RAW, &[
        both("inet_create", "net/ipv4/af_inet.c", "socket SOCK_RAW, IPv4: ping, traceroute"),
        both("inet6_create", "net/ipv6/af_inet6.c", "socket SOCK_RAW, IPv6"),
        both("packet_create", "net/packet/af_packet.c", "socket AF_PACKET: tcpdump, DHCP clients, arping"),
        both("sock_bindtoindex_locked", "net/core/sock.c", "SO_BINDTODEVICE, where a device is already bound to"),
        both("do_ip_setsockopt", "net/ipv4/ip_sockglue.c", "setsockopt IP_TRANSPARENT (NET_ADMIN serves as well)"),
        both("xsk_create", "net/xdp/xsk.c", "socket AF_XDP"),
    ]),
    (Capability::IPC_LOCK, &[
        both("can_do_mlock", "mm/mlock.c", "mlock where RLIMIT_MEMLOCK is 0"),
        both("do_mlock", "mm/mlock.c", "mlock beyond RLIMIT_MEMLOCK"),
        both("sys_mlockall", "mm/mlock.c", "mlockall beyond RLIMIT_MEMLOCK"),
        before("mlock_future_check", "mm/mmap.c", "mmap after mlockall(MCL_FUTURE)"),
        after("mlock_future_ok", "mm/mmap.c", "mmap after mlockall(MCL_FUTURE)"),
        both("user_shm_lock", "mm/mlock.c", "shmctl SHM_LOCK beyond RLIMIT_MEMLOCK"),
        both("shmctl_do_lock", "ipc/shm.c", "shmctl SHM_LOCK on another's segment"),
        both("can_do_hugetlb_shm", "fs/hugetlbfs/inode.c", "shmget SHM_HUGETLB"),
        both("io_uring_create", "io_uring/io_uring.c", "io_uring_setup, whose buffers then do not count"),
        both("perf_mmap", "kernel/events/core.c", "perf buffers beyond the limit"),
    ]),
    (Capability::IPC_OWNER, &[
        both("ipcperms", "ipc/util.c", "use of another's System V queue, semaphore or memory"),
    ]),
    (Capability::SYS_MODULE, &[
        both("may_init_module", "kernel/module/main.c", "init_module, finit_module: insmod, modprobe"),
        both("sys_delete_module", "kernel/module/main.c", "delete_module: rmmod"),
        both("dev_load", "net/core/dev_ioctl.c", "loading a network driver by an interface's name"),
    ]),
    (Capability::SYS_RAWIO, &[
        both("ksys_ioperm", "arch/x86/kernel/ioport.c", "ioperm"),
        both("sys_iopl", "arch/x86/kernel/ioport.c", "iopl"),
        both("open_port", "drivers/char/mem.c", "opening /dev/mem, /dev/port"),
        both("open_kcore", "fs/proc/kcore.c", "opening /proc/kcore"),
        both("msr_open", "arch/x86/kernel/msr.c", "opening /dev/cpu/N/msr"),
        both("scsi_cmd_allowed", "drivers/scsi/scsi_ioctl.c", "SCSI commands that are not known to be harmless"),
        both("ioctl_fibmap", "fs/ioctl.c", "ioctl FIBMAP"),
        both("cap_mmap_addr", "security/commoncap.c", "mmap below vm.mmap_min_addr"),
    ]),
    (Capability::SYS_CHROOT, &[
        both("sys_chroot", "fs/open.c", "chroot"),
        both("mntns_install", "fs/namespace.c", "setns to a mount namespace (SYS_ADMIN is asked, too)"),
    ]),
    (Capability::SYS_PTRACE, &[
        both("ptrace_has_cap", "kernel/ptrace.c", "ptrace, /proc/PID/mem, environ, fd, process_vm_readv of another user's process"),
        both("cap_ptrace_access_check", "security/commoncap.c", "the same, of a process that holds more"),
        both("ptracer_capable", "kernel/capability.c", "executing a privileged file under a tracer"),
        both("yama_ptrace_access_check", "security/yama/yama_lsm.c", "attaching to what is no child, under Yama"),
        both("userfaultfd_syscall_allowed", "fs/userfaultfd.c", "userfaultfd for faults in the kernel"),
    ]),
    (Capability::SYS_PACCT, &[
        both("sys_acct", "kernel/acct.c", "acct"),
    ]),
    (Capability::SYS_ADMIN, &[
        both("may_mount", "fs/namespace.c", "mount, umount, move_mount, open_tree, fsopen, pivot_root"),
        both("mount_capable", "fs/super.c", "mounting a file system of its type"),
        both("copy_namespaces", "kernel/nsproxy.c", "clone with new namespaces"),
        both("unshare_nsproxy_namespaces", "kernel/nsproxy.c", "unshare of namespaces other than user"),
        both("mntns_install", "fs/namespace.c", "setns to a mount namespace"),
        both("netns_install", "net/core/net_namespace.c", "setns to a network namespace"),
        both("sys_sethostname", "kernel/sys.c", "sethostname"),
        both("sys_setdomainname", "kernel/sys.c", "setdomainname"),
        both("sys_swapon", "mm/swapfile.c", "swapon"),
        both("seccomp_prepare_filter", "kernel/seccomp.c", "a seccomp filter without no_new_privs"),
        both("cap_inode_setxattr", "security/commoncap.c", "setting attributes security.* other than capability"),
        both("xattr_permission", "fs/xattr.c", "attributes trusted.*"),
        both("check_quotactl_permission", "fs/quota/quota.c", "quotactl about others"),
        both("sys_fanotify_init", "fs/notify/fanotify/fanotify_user.c", "fanotify beyond what everybody may"),
        both("blkdev_common_ioctl", "block/ioctl.c", "ioctls of block devices"),
        both("devcgroup_update_access", "security/device_cgroup.c", "opening devices to a cgroup (version 1)"),
        both("cgroup_release_agent_write", "kernel/cgroup/cgroup-v1.c", "setting a cgroup's release agent"),
        both("proc_pid_stack", "fs/proc/base.c", "reading /proc/PID/stack"),
        both("bpf_prog_get_fd_by_id", "kernel/bpf/syscall.c", "getting at others' BPF programs"),
        both("ioprio_check_cap", "block/ioprio.c", "ioprio_set to real time (SYS_NICE serves as well)"),
        both("cap_vm_enough_memory", "security/commoncap.c", "every mapping, for a reserve: no need of the program's"),
    ]),
    (Capability::SYS_BOOT, &[
        both("sys_reboot", "kernel/reboot.c", "reboot"),
        before("kexec_load_check", "kernel/kexec.c", "kexec_load"),
        before("sys_kexec_file_load", "kernel/kexec_file.c", "kexec_file_load"),
        after("kexec_load_permitted", "kernel/kexec_core.c", "kexec_load, kexec_file_load"),
    ]),
    (Capability::SYS_NICE, &[
        before("can_nice", "kernel/sched/core.c", "nice, setpriority to a higher priority"),
        after("can_nice", "kernel/sched/syscalls.c", "nice, setpriority to a higher priority"),
        before("user_check_sched_setscheduler", "kernel/sched/core.c", "sched_setscheduler to real time, or of another user"),
        after("user_check_sched_setscheduler", "kernel/sched/syscalls.c", "sched_setscheduler to real time, or of another user"),
        before("sched_setaffinity", "kernel/sched/core.c", "sched_setaffinity of another user's process"),
        after("sched_setaffinity", "kernel/sched/syscalls.c", "sched_setaffinity of another user's process"),
        both("set_one_prio_perm", "kernel/sys.c", "setpriority of another user's process"),
        both("cap_safe_nice", "security/commoncap.c", "changing the scheduling of a process that holds more"),
        both("ioprio_check_cap", "block/ioprio.c", "ioprio_set to real time"),
        both("set_task_ioprio", "block/blk-ioc.c", "ioprio_set of another user's process"),
        both("do_mbind", "mm/mempolicy.c", "mbind MPOL_MF_MOVE_ALL"),
        both("kernel_migrate_pages", "mm/mempolicy.c", "migrate_pages to nodes that are not allowed"),
        both("sys_process_madvise", "mm/madvise.c", "process_madvise of another process"),
    ]),
    (Capability::SYS_RESOURCE, &[
        both("do_prlimit", "kernel/sys.c", "setrlimit, prlimit: raising a hard limit"),
        both("check_prlimit_permission", "kernel/sys.c", "prlimit of another user's process"),
        both("__set_oom_adj", "fs/proc/base.c", "lowering oom_score_adj"),
        both("copy_process", "kernel/fork.c", "fork beyond RLIMIT_NPROC (SYS_ADMIN serves as well)"),
        both("pipe_set_size", "fs/pipe.c", "fcntl F_SETPIPE_SZ beyond fs.pipe-max-size"),
        both("mqueue_get_inode", "ipc/mqueue.c", "POSIX message queues beyond their limits"),
        both("prctl_set_mm", "kernel/sys.c", "prctl PR_SET_MM"),
        both("ignore_hardlimit", "fs/quota/dquot.c", "writing beyond a quota"),
        both("ext4_has_free_clusters", "fs/ext4/balloc.c", "writing to the reserved blocks of a full ext4"),
        both("too_many_unix_fds", "net/unix/af_unix.c", "passing more descriptors than RLIMIT_NOFILE"),
    ]),
    (Capability::SYS_TIME, &[
        both("cap_settime", "security/commoncap.c", "settimeofday, clock_settime"),
        both("timekeeping_validate_timex", "kernel/time/timekeeping.c", "adjtimex, clock_adjtime: what NTP services do"),
        both("rtc_dev_ioctl", "drivers/rtc/dev.c", "setting the hardware clock: hwclock"),
        both("proc_timens_set_offset", "kernel/time/namespace.c", "the offsets of a time namespace"),
    ]),
    (Capability::SYS_TTY_CONFIG, &[
        both("sys_vhangup", "fs/open.c", "vhangup"),
        both("vt_ioctl", "drivers/tty/vt/vt_ioctl.c", "ioctls of virtual consoles"),
        both("vt_do_kdsk_ioctl", "drivers/tty/vt/keyboard.c", "loadkeys"),
    ]),
    (Capability::MKNOD, &[
        both("vfs_mknod", "fs/namei.c", "mknod of a device (not of pipes and sockets)"),
    ]),
    (Capability::LEASE, &[
        before("generic_setlease", "fs/locks.c", "fcntl F_SETLEASE on another's file"),
        after("vfs_setlease", "fs/locks.c", "fcntl F_SETLEASE on another's file"),
    ]),
    (Capability::AUDIT_WRITE, &[
        both("audit_netlink_ok", "kernel/audit.c", "sending a record: login, PAM, sshd, sudo"),
    ]),
    (Capability::AUDIT_CONTROL, &[
        both("audit_netlink_ok", "kernel/audit.c", "auditctl, auditd"),
        both("audit_set_loginuid_perm", "kernel/audit.c", "changing /proc/self/loginuid once set"),
    ]),
    (Capability::SETFCAP, &[
        both("cap_convert_nscap", "security/commoncap.c", "setting security.capability: setcap"),
        both("cap_inode_removexattr", "security/commoncap.c", "removing security.capability"),
        both("verify_root_map", "kernel/user_namespace.c", "mapping the parent's root into a user namespace"),
    ]),
    (Capability::MAC_OVERRIDE, &[
        both("smk_tskacc", "security/smack/smack_access.c", "any access that Smack forbids"),
        both("smack_file_send_sigiotask", "security/smack/smack_lsm.c", "SIGIO that Smack forbids"),
        both("smack_unix_stream_connect", "security/smack/smack_lsm.c", "connections that Smack forbids"),
    ]),
    (Capability::MAC_ADMIN, &[
        both("aa_policy_admin_capable", "security/apparmor/policy.c", "apparmor_parser: loading and removing profiles"),
        both("has_cap_mac_admin", "security/selinux/hooks.c", "SELinux labels that the policy does not know"),
        both("smack_inode_setxattr", "security/smack/smack_lsm.c", "Smack labels of files"),
        both("smk_write_load2", "security/smack/smackfs.c", "Smack rules"),
    ]),
    (Capability::SYSLOG, &[
        both("check_syslog_permissions", "kernel/printk/printk.c", "syslog, /dev/kmsg: dmesg under dmesg_restrict"),
        before("kallsyms_show_value", "kernel/kallsyms.c", "addresses in /proc/kallsyms and /proc/modules"),
        after("kallsyms_show_value", "kernel/ksyms_common.c", "addresses in /proc/kallsyms and /proc/modules"),
        both("restricted_pointer", "lib/vsprintf.c", "pointers printed under kptr_restrict=1"),
    ]),
    (Capability::WAKE_ALARM, &[
        both("sys_timerfd_create", "fs/timerfd.c", "timerfd_create with an alarm clock"),
        both("do_timerfd_settime", "fs/timerfd.c", "timerfd_settime of an alarm clock"),
        both("alarm_timer_create", "kernel/time/alarmtimer.c", "timer_create with an alarm clock"),
        both("alarm_timer_nsleep", "kernel/time/alarmtimer.c", "clock_nanosleep with an alarm clock"),
    ]),
    (Capability::BLOCK_SUSPEND, &[
        after("ep_take_care_of_epollwakeup", "fs/eventpoll.c", "epoll_ctl with EPOLLWAKEUP"),
        both("pm_wake_lock", "kernel/power/wakelock.c", "writing /sys/power/wake_lock"),
        both("pm_wake_unlock", "kernel/power/wakelock.c", "writing /sys/power/wake_unlock"),
    ]),
    (Capability::AUDIT_READ, &[
        both("audit_multicast_bind", "kernel/audit.c", "listening to audit records: journald"),
    ]),
    (Capability::PERFMON, &[
        both("perf_check_permission", "kernel/events/core.c", "perf_event_open on another process"),
        both("perf_allow_cpu", "include/linux/perf_event.h", "perf_event_open on a whole CPU"),
        before("perf_allow_kernel", "include/linux/perf_event.h", "perf_event_open on the kernel"),
        after("perf_allow_kernel", "kernel/events/core.c", "perf_event_open on the kernel"),
        both("perf_kprobe_event_init", "kernel/events/core.c", "perf_event_open of a kprobe"),
        both("bpf_prog_load", "kernel/bpf/syscall.c", "loading BPF programs for tracing"),
    ]),
    (Capability::BPF, &[
        both("bpf_prog_load", "kernel/bpf/syscall.c", "bpf BPF_PROG_LOAD"),
        after("map_create", "kernel/bpf/syscall.c", "bpf BPF_MAP_CREATE"),
        before("htab_map_alloc_check", "kernel/bpf/hashtab.c", "bpf BPF_MAP_CREATE, a hash with LRU"),
        both("bpf_btf_load", "kernel/bpf/syscall.c", "bpf BPF_BTF_LOAD"),
        both("bpf_check", "kernel/bpf/verifier.c", "what the verifier lets a program do"),
    ]),
    (Capability::CHECKPOINT_RESTORE, &[
        both("alloc_pid", "kernel/pid.c", "clone3 with set_tid"),
        both("pid_ns_ctl_handler", "kernel/pid_namespace.c", "writing kernel.ns_last_pid"),
        both("proc_map_files_get_link", "fs/proc/base.c", "opening /proc/PID/map_files/*"),
        both("prctl_set_mm_map", "kernel/sys.c", "replacing /proc/self/exe"),
    ]),
];

// The lookup is by position: it must be the number.
const _: () = {
    let mut index = 0;
    while index < NAMED {
        assert!(ASKED[index].0.number() as usize == index);
        index += 1;
    }
};

impl Capability {
    /// Kernel functions that ask for it, the usual ones first; none for an unknown capability.
    #[must_use]
    pub fn asked_by(self) -> &'static [Asked] {
        ASKED
            .get(usize::from(self.number()))
            .map_or(&[], |(_, asked)| asked)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::kernel::{layers, sites};

    #[test]
    fn each_is_asked_for_on_every_kernel_between_the_sources() {
        for capability in Capability::KNOWN {
            for release in [Release::OLD, Release(6, 6), Release::NEW, Release(7, 0)] {
                let mut asked = capability.asked_by().iter();
                assert!(
                    asked.any(|row| row.source.may_be_in(release)),
                    "{capability} {release:?}"
                );
            }
        }
    }

    #[test]
    fn every_row_is_one_of_the_table_of_call_sites() {
        for capability in Capability::KNOWN {
            for row in capability.asked_by() {
                let layer = layers().iter().any(|layer| layer.function == row.function);
                let site = |release: Release| {
                    sites().iter().any(|site| {
                        site.function == row.function
                            && site.file == row.file
                            && site.capability.is_none_or(|one| one == capability)
                            && site.may_be_in(release)
                    })
                };
                let (old, new) = (row.source != Source::After, row.source != Source::Before);
                assert!(
                    layer || site(Release::OLD) == old && site(Release::NEW) == new,
                    "{capability} {row:?}"
                );
            }
        }
    }

    #[test]
    fn rows_are_distinct_and_plain() {
        for capability in Capability::KNOWN {
            let mut seen = BTreeSet::new();
            for row in capability.asked_by() {
                assert!(seen.insert((row.function, row.file)), "twice: {row:?}");
                let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                assert!(row.function.chars().all(is_name), "{row:?}");
                assert!(
                    row.file.ends_with(".c") || row.file.ends_with(".h"),
                    "{row:?}"
                );
                assert!(
                    !row.about.is_empty() && !row.about.ends_with('.'),
                    "{row:?}"
                );
            }
        }
    }

    #[test]
    fn releases_are_read_and_compared_by_number() {
        assert_eq!(Release::parse("6.1.0-18-amd64"), Some(Release::OLD));
        assert_eq!(Release::parse("6.12-rc1"), Some(Release::NEW));
        assert_eq!(Release::parse("unknown"), None);
        assert!(
            Source::Before.may_be_in(Release(5, 15)) && !Source::After.may_be_in(Release(5, 15))
        );
        assert!(
            Source::After.may_be_in(Release(6, 18)) && !Source::Before.may_be_in(Release(6, 18))
        );
        assert!(Source::After.may_be_in(Release(6, 6)) && Source::Before.may_be_in(Release(6, 6)));
    }
}
