//! What each capability allows, and what it is worth to someone who has taken over a container that holds it.

use super::Capability;
use super::name::NAMED;

struct Meaning {
    of: Capability,
    summary: &'static str,
    danger: &'static str,
    instead: &'static str,
}

static UNKNOWN: (&str, &str, &str) = (
    "Not known to this version of capaudit: newer than Linux 6.18.",
    "Not known to this version of capaudit, so counted as the worst.",
    "Not known to this version of capaudit: ask a newer one.",
);

/// By number.
///
/// From capabilities(7) and the kernel. What surprises, with its place in the source:
/// - "without a user namespace" is said where the kernel asks `capable()`, so the initial namespace:
///   <https://github.com/torvalds/linux/blob/v6.18/fs/fhandle.c> (`may_decode_fh`);
/// - `NET_BROADCAST` is not about broadcasts any more, and not unused as the manual says:
///   <https://github.com/torvalds/linux/blob/v6.18/net/netlink/af_netlink.c> (`NETLINK_LISTEN_ALL_NSID`);
/// - audit records are multicast in the first network namespace only, and auditing is switched from the first PID
///   namespace only:
///   <https://github.com/torvalds/linux/blob/v6.18/kernel/audit.c> (`audit_netlink_ok`, `kauditd_send_multicast_skb`);
/// - reboot(2) outside the first PID namespace ends that namespace only:
///   <https://github.com/torvalds/linux/blob/v6.18/kernel/pid_namespace.c> (`reboot_pid_ns`).
static MEANINGS: [Meaning; NAMED] = [
    Meaning {
        of: Capability::CHOWN,
        summary: "Change the owner and the group of any file (chown).",
        danger: "Makes any file of the container and its volumes its own, then reads or rewrites it: /etc/shadow, keys.",
        instead: "Give files to their owner when the image is built (COPY --chown) and start as that user.",
    },
    Meaning {
        of: Capability::DAC_OVERRIDE,
        summary: "Read, write and execute files despite permission bits and ACLs.",
        danger: "Reads and writes whatever the mounts reach, whoever owns it: secrets, bind-mounted host files, sockets.",
        instead: "Start as the user that owns the files, or set owner, group or mode when the image is built.",
    },
    Meaning {
        of: Capability::DAC_READ_SEARCH,
        summary: "Read files and search directories despite permission bits and ACLs; open files by handle \
                  (open_by_handle_at).",
        danger: "Reads every file of the mounts; without a user namespace, by handle, also the host's files beside them.",
        instead: "Let the reader be the owner or in the files' group, or hand it the file already open.",
    },
    Meaning {
        of: Capability::FOWNER,
        summary: "Do to any file what its owner may: chmod, times, ACLs, inode flags, deletion in sticky directories.",
        danger: "Opens any file by chmod: makes secrets readable, or root's shell set-user-ID, and so becomes root.",
        instead: "Let the owner change its files, or give them to the user that changes them.",
    },
    Meaning {
        of: Capability::FSETID,
        summary: "Keep set-user-ID and set-group-ID bits on writing to a file, and set the latter for a foreign group.",
        danger: "Rewrites a set-user-ID program it may write to without losing the bit: a way back to root inside.",
        instead: "Set the bits when the image is built, as the owner and in the group, and change nothing at run time.",
    },
    Meaning {
        of: Capability::KILL,
        summary: "Send signals to processes of any user.",
        danger: "Kills or stops any process of the container; the host's too where the PID namespace is shared.",
        instead: "Run sender and receiver as the same user, or let their parent or the engine send the signal.",
    },
    Meaning {
        of: Capability::SETGID,
        summary: "Take any group ID (setgid, setgroups), forge it on sockets, and map groups into user namespaces.",
        danger: "Joins any group and uses what is open to it: shadow, disk, the socket of a container engine.",
        instead: "Start in the right group (user: and group_add: in compose) instead of changing to it.",
    },
    Meaning {
        of: Capability::SETUID,
        summary: "Take any user ID (setuid, setresuid), forge it on sockets, and map users into user namespaces.",
        danger: "Becomes any user; as root, the next exec regains the whole bounding set unless no_new_privs is set.",
        instead: "Start as the right user (user: in compose, USER in the Dockerfile) instead of changing to it.",
    },
    Meaning {
        of: Capability::SETPCAP,
        summary: "Make capabilities of the bounding set inheritable, drop them from it, and change the securebits.",
        danger: "Little alone: keeps what it holds past a change of user, or passes it on to programs it starts.",
        instead: "Have the engine set the bounding set (cap_drop), or the service manager, before the program starts.",
    },
    Meaning {
        of: Capability::LINUX_IMMUTABLE,
        summary: "Set and clear the immutable and append-only flags of files.",
        danger: "Alters logs meant to be append-only, and leaves files in volumes that resist deletion by the host's root.",
        instead: "Set the flags from the host, or mount the volume read-only.",
    },
    Meaning {
        of: Capability::NET_BIND_SERVICE,
        summary: "Bind ports below net.ipv4.ip_unprivileged_port_start (1024 unless set).",
        danger: "Poses as a system service on its port; of weight only in the host's network namespace.",
        instead: "Listen on a port from 1024 up and publish it as the low one, or set net.ipv4.ip_unprivileged_port_start.",
    },
    Meaning {
        of: Capability::NET_BROADCAST,
        summary: "Let a netlink socket hear of other network namespaces (NETLINK_LISTEN_ALL_NSID); no use in broadcasts.",
        danger: "Watches link, address and route changes of neighbouring network namespaces, little more.",
        instead: "Run one listener in each network namespace.",
    },
    Meaning {
        of: Capability::NET_ADMIN,
        summary: "Configure interfaces, addresses, routes, firewall and traffic control; use SO_MARK and the like.",
        danger: "Redirects all traffic of its network namespace, maybe the host's; nftables and tc have led into the kernel.",
        instead: "Have network and firewall set up from outside: by the engine, a CNI plugin, the host; sysctls by sysctls: in compose.",
    },
    Meaning {
        of: Capability::NET_RAW,
        summary: "Open raw and packet sockets; bind to foreign addresses for transparent proxying.",
        danger: "Sniffs and forges packets on its network: ARP and DNS spoofing against neighbouring containers.",
        instead: "For ping, open net.ipv4.ping_group_range; for captures, hand the program an open socket.",
    },
    Meaning {
        of: Capability::IPC_LOCK,
        summary: "Lock memory beyond RLIMIT_MEMLOCK (mlock, SHM_LOCK) and back shared memory with huge pages.",
        danger: "Pins memory up to the limit of its cgroup; all of the host's where there is no limit.",
        instead: "Raise the limit of locked memory (ulimits: memlock in compose).",
    },
    Meaning {
        of: Capability::IPC_OWNER,
        summary: "Bypass permission checks on System V shared memory, semaphores and message queues.",
        danger: "Reads and alters the shared memory of every process in its IPC namespace.",
        instead: "Run those that share memory as one user or group, or give the segment a mode that lets them.",
    },
    Meaning {
        of: Capability::SYS_MODULE,
        summary: "Load and unload kernel modules.",
        danger: "Runs its own code in the host's kernel: the machine is lost.",
        instead: "Load the module on the host, at boot (modules-load.d).",
    },
    Meaning {
        of: Capability::SYS_RAWIO,
        summary: "Use I/O ports, /dev/mem, /proc/kcore, MSRs and raw SCSI commands; map below vm.mmap_min_addr.",
        danger: "Reads and writes physical memory and hardware past the kernel, as far as devices and lockdown allow.",
        instead: "Use the device by its driver, with the one device passed in (devices: in compose).",
    },
    Meaning {
        of: Capability::SYS_CHROOT,
        summary: "Change the root directory (chroot); together with SYS_ADMIN, enter mount namespaces (setns).",
        danger: "Leaves a chroot jail, though not the container, and deceives set-user-ID programs with a forged root.",
        instead: "Switch the program's own chroot off: the container is one already.",
    },
    Meaning {
        of: Capability::SYS_PTRACE,
        summary: "Trace any process, read and write its memory, and take its file descriptors (pidfd_getfd).",
        danger: "Takes over every process it sees; where the PID namespace is shared, the host's and so the host.",
        instead: "Trace as the same user, from the parent (the kernel then asks for nothing), or from the host.",
    },
    Meaning {
        of: Capability::SYS_PACCT,
        summary: "Switch process accounting on and off (acct).",
        danger: "Stops or diverts the accounting of its PID namespace to hide what it runs, or fills a disk with it.",
        instead: "Do the accounting on the host.",
    },
    Meaning {
        of: Capability::SYS_ADMIN,
        summary: "Mount, create and enter namespaces, set quotas, swap and hostname, use privileged ioctls and xattrs, \
                  and all of BPF and PERFMON.",
        danger: "Mounts its way to the host's files, cgroups and devices: the usual escape, all but root on the host.",
        instead: "Have the one thing done from outside: mounts by volumes:, namespaces and hostname by the engine; for BPF and perf there are BPF and PERFMON.",
    },
    Meaning {
        of: Capability::SYS_BOOT,
        summary: "Reboot, and load another kernel (reboot, kexec_load).",
        danger: "Starts a kernel of its own by kexec; reboots the host where the PID namespace is shared.",
        instead: "Leave rebooting to the host; to end a container, let its first process exit.",
    },
    Meaning {
        of: Capability::SYS_NICE,
        summary: "Raise priorities, use real-time scheduling, and set CPU affinity, I/O class and NUMA node of any process.",
        danger: "Starves other processes of CPU and disk by real-time priorities, beyond its own container too.",
        instead: "Set priority, affinity or I/O class from outside: cpuset and cpu_shares, or ulimits: rtprio, nice.",
    },
    Meaning {
        of: Capability::SYS_RESOURCE,
        summary: "Raise hard resource limits, exceed quotas and reserved space, and lower oom_score_adj.",
        danger: "Exhausts disk, processes and descriptors and has the OOM killer take others; cgroup limits still hold.",
        instead: "Raise the limit from outside (ulimits: and oom_score_adj: in compose).",
    },
    Meaning {
        of: Capability::SYS_TIME,
        summary: "Set the system clock and the hardware clock.",
        danger: "Moves the clock of the whole host, as no namespace has its own: certificates, logs, timed jobs break.",
        instead: "Keep the clock outside: let the host's time service set it.",
    },
    Meaning {
        of: Capability::SYS_TTY_CONFIG,
        summary: "Hang up terminals (vhangup) and use the privileged ioctls of virtual consoles.",
        danger: "Hangs up sessions and remaps keys, on consoles that were passed into the container.",
        instead: "Let the engine provide the terminal (tty: in compose).",
    },
    Meaning {
        of: Capability::MKNOD,
        summary: "Create block and character device files (mknod).",
        danger: "Makes a file for any device; what the device cgroup lets it open, disks at worst, it reads and writes raw.",
        instead: "Pass the device in (devices: in compose); for pipes and sockets it is not needed.",
    },
    Meaning {
        of: Capability::LEASE,
        summary: "Take leases on files of other users (fcntl F_SETLEASE).",
        danger: "Delays others on opening files it can open itself, and learns that they do.",
        instead: "Let the owner of the file take the lease.",
    },
    Meaning {
        of: Capability::AUDIT_WRITE,
        summary: "Write records into the kernel's audit log.",
        danger: "Forges records, say of logins, or floods the host's audit log.",
        instead: "Switch auditing off in the program or its PAM configuration: login, sshd and sudo go on without.",
    },
    Meaning {
        of: Capability::AUDIT_CONTROL,
        summary: "Switch auditing on and off, change its rules, and set login user IDs.",
        danger: "Falsifies who is logged as acting; silences the host's audit where its PID namespace is shared.",
        instead: "Configure auditing on the host.",
    },
    Meaning {
        of: Capability::SETFCAP,
        summary: "Set capabilities on files, and map the parent's root into a user namespace.",
        danger: "Puts anything from the bounding set on a program of its own: whoever runs it holds it.",
        instead: "Set file capabilities when the image is built (RUN setcap).",
    },
    Meaning {
        of: Capability::MAC_OVERRIDE,
        summary: "Bypass mandatory access control where the security module heeds it (Smack).",
        danger: "Acts as if there were no policy on Smack hosts; gains little on others.",
        instead: "Write a rule that allows the access.",
    },
    Meaning {
        of: Capability::MAC_ADMIN,
        summary: "Change mandatory access control: AppArmor and Smack policy, SELinux labels unknown to the policy.",
        danger: "Loads a policy that lifts its own confinement and the protection of the host.",
        instead: "Load policies on the host, and name the profile in security_opt:.",
    },
    Meaning {
        of: Capability::SYSLOG,
        summary: "Read and clear the kernel log despite dmesg_restrict, and see addresses despite kptr_restrict=1.",
        danger: "Learns the kernel's addresses, half of a kernel exploit, and clears traces from the log.",
        instead: "Read the kernel log on the host, or set kernel.dmesg_restrict=0 there.",
    },
    Meaning {
        of: Capability::WAKE_ALARM,
        summary: "Set timers that wake the system from suspend (CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM).",
        danger: "Wakes a sleeping machine and drains its battery; nothing on a server.",
        instead: "Use a clock that does not wake the system.",
    },
    Meaning {
        of: Capability::BLOCK_SUSPEND,
        summary: "Keep the system from suspending (EPOLLWAKEUP, /sys/power/wake_lock).",
        danger: "Keeps a machine awake and drains its battery; nothing on a server.",
        instead: "Ask the host's service manager for an inhibitor lock.",
    },
    Meaning {
        of: Capability::AUDIT_READ,
        summary: "Read the audit log over multicast netlink.",
        danger: "Follows commands, paths and users of the whole host, where the network namespace is shared.",
        instead: "Have the host's journal or audit daemon read the records.",
    },
    Meaning {
        of: Capability::PERFMON,
        summary: "Observe any process and the kernel by perf_event_open; lift verifier limits of tracing BPF programs.",
        danger: "Samples addresses and branches of all processes and the kernel; with BPF reads all of kernel memory.",
        instead: "Profile from the host, or lower kernel.perf_event_paranoid there.",
    },
    Meaning {
        of: Capability::BPF,
        summary: "Create all kinds of BPF maps, load BPF programs and BTF; tracing needs PERFMON too, networking NET_ADMIN.",
        danger: "Runs programs in the host's kernel, behind a verifier that has had holes; with PERFMON reads all memory.",
        instead: "Load the programs from the host, pin the maps, and hand them in.",
    },
    Meaning {
        of: Capability::CHECKPOINT_RESTORE,
        summary: "Choose PIDs of new processes (clone3 set_tid), open /proc/PID/map_files, replace /proc/self/exe.",
        danger: "Opens files that others have mapped past directory permissions, takes trusted PIDs, poses as another program.",
        instead: "Checkpoint from the host, by the engine.",
    },
];

// The lookup is by position: it must be the number.
const _: () = {
    let mut index = 0;
    while index < NAMED {
        assert!(MEANINGS[index].of.number() as usize == index);
        index += 1;
    }
};

impl Capability {
    fn meaning(self) -> Option<&'static Meaning> {
        MEANINGS.get(usize::from(self.number()))
    }

    /// What it allows: one line of plain text, a sentence with its full stop.
    #[must_use]
    pub fn summary(self) -> &'static str {
        self.meaning().map_or(UNKNOWN.0, |meaning| meaning.summary)
    }

    /// What an attacker gains who holds it inside a container: one line of plain text, a sentence with its full stop.
    #[must_use]
    pub fn danger(self) -> &'static str {
        self.meaning().map_or(UNKNOWN.1, |meaning| meaning.danger)
    }

    /// How a container usually gets along without it: one line of plain text, a sentence with its full stop.
    #[must_use]
    pub fn instead(self) -> &'static str {
        self.meaning().map_or(UNKNOWN.2, |meaning| meaning.instead)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_is_its_own_line_and_sentence() {
        let mut seen = BTreeSet::new();
        for capability in Capability::KNOWN {
            for text in [
                capability.summary(),
                capability.danger(),
                capability.instead(),
            ] {
                assert!(
                    text.ends_with('.') && !text.contains(char::is_control) && !text.contains("  "),
                    "{text}"
                );
                assert!(text.starts_with(char::is_uppercase), "{text}");
                assert!(text.len() <= 140, "{} characters: {text}", text.len());
                assert!(seen.insert(text), "twice: {text}");
            }
        }
    }

    #[test]
    fn lookup_goes_by_number() {
        assert!(Capability::CHOWN.summary().contains("chown"));
        assert!(Capability::SYS_MODULE.summary().contains("modules"));
        assert!(
            Capability::CHECKPOINT_RESTORE
                .summary()
                .contains("map_files")
        );
    }

    #[test]
    fn unknown_ones_say_so() {
        let unknown = Capability::from_number(41).unwrap();
        assert!(unknown.summary().contains("Not known"));
        assert!(unknown.danger().contains("Not known"));
        assert!(unknown.instead().contains("Not known"));
    }
}
