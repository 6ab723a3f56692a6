//! How the kernel side treats a system call: one 32-bit word a system call number, filled in by user space
//! (which knows names and meaning) and read by the BPF programs (which know neither).

/// System call numbers are below this; a power of two.
pub const TABLE_LEN: usize = 512;

/// A word of the table.
///
/// ```text
/// bits 0..=5    arguments that decide what the call does: bit n is argument n
/// bits 6..=8    1 + index of the argument that is a path, 0 if none
/// bits 9..=11   1 + index of the argument that is a second string, 0 if none
/// bits 12..=15  one of the `special` values
/// bit 16        report the call itself, not only the checks it makes
/// bits 17..=21  one of the `watch` values: report the call itself if it does that
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct SyscallSpec(pub u32);

/// Values of [`SyscallSpec::special`].
pub mod special {
    /// Nothing special.
    pub const NONE: u32 = 0;
    /// Argument 0 is a file descriptor of the object.
    pub const FILE: u32 = 1;
    /// Argument 1 is a `sockaddr` of the length in argument 2.
    pub const ADDRESS: u32 = 2;
    /// Argument 1 is a `msghdr`, of interest if it carries netlink.
    pub const MESSAGE: u32 = 3;
    /// Argument 1 is a buffer, of interest if it carries netlink.
    pub const BUFFER: u32 = 4;
    /// Argument 1 is capset(2)'s data.
    pub const CAPDATA: u32 = 5;
    /// Argument 0 is a `clone_args`, whose first word decides what the call does.
    pub const CLONE3: u32 = 6;
    /// Argument 0 is an option; of those about capabilities ([`super::prctl`]) the next two arguments decide, too.
    pub const PRCTL: u32 = 7;
}

/// Values of [`SyscallSpec::watch`]: what makes a call a fact of its own although the kernel asks for no capability.
///
/// Most are about other processes. Before the kernel asks for a capability, it compares what the other process holds with what
/// the caller does (`cap_ptrace_access_check`, `cap_safe_nice`, security/commoncap.c).
pub mod watch {
    /// Nothing.
    pub const NONE: u32 = 0;
    /// Argument 0 is a pid.
    pub const PID: u32 = 1;
    /// Argument 1 is a pid: perf_event_open(2).
    pub const MONITORED: u32 = 2;
    /// Arguments 0 and 1 are pids: kcmp(2).
    pub const TWO_PIDS: u32 = 3;
    /// Argument 0 says what argument 1 is: setpriority(2).
    pub const PRIORITY: u32 = 4;
    /// The same for ioprio_set(2), whose numbers for that are others.
    pub const IO_PRIORITY: u32 = 5;
    /// ptrace(2): attaches to the process of argument 1.
    pub const PTRACE: u32 = 6;
    /// Argument 0 is a pidfd.
    pub const PIDFD: u32 = 7;
    /// Argument 0 may be a pidfd: setns(2).
    pub const NAMESPACE: u32 = 8;
    /// ioctl(2) that asks a pidfd for a namespace.
    pub const PIDFD_IOCTL: u32 = 9;
    /// prctl(2) that shares a core-scheduling cookie with the process of argument 2.
    pub const CORE_SCHEDULING: u32 = 10;
    /// Returns a descriptor of what the path leads to: open(2) and its kin.
    pub const OPEN: u32 = 11;
    /// Follows the path to its end.
    pub const PATH: u32 = 12;
    /// The same unless argument 2 has `AT_SYMLINK_NOFOLLOW`.
    pub const PATH_BY_FLAGS_2: u32 = 13;
    /// The same unless argument 3 has it.
    pub const PATH_BY_FLAGS_3: u32 = 14;
    /// Arguments 0 and 1 are paths, whatever [`super::SyscallSpec::path_index`] says: mount(2).
    pub const SOURCE: u32 = 15;
    /// Binds a socket to the port of argument 1, of interest below 1024, or to a path.
    pub const BIND: u32 = 16;
    /// Makes a socket, of interest if it is one for pings; or is refused before any check.
    pub const SOCKET: u32 = 17;
    /// Is refused before any check.
    pub const REFUSAL: u32 = 18;
    /// Follows the path, but not to what its last name links to.
    pub const PATH_BUT_LAST: u32 = 19;
    /// Follows the path and the second string, each to its end: rename(2).
    pub const TWO_PATHS: u32 = 20;
    /// Follows the second string: symlink(2).
    pub const SECOND: u32 = 21;
    /// As [`PATH`], or is refused before any check.
    pub const PATH_OR_REFUSAL: u32 = 22;
    /// Argument 1 is a `sockaddr`, which may be a path: connect(2).
    pub const CONNECT: u32 = 23;
}

/// Options of prctl(2) that are about capabilities (include/uapi/linux/prctl.h).
pub mod prctl {
    /// Is the capability of the next argument in the bounding set?
    pub const CAPBSET_READ: u64 = 23;
    /// Ambient set: the next argument says what, that after it which capability.
    pub const CAP_AMBIENT: u64 = 47;
    /// [`CAP_AMBIENT`]: add.
    pub const AMBIENT_RAISE: u64 = 2;
}

impl SyscallSpec {
    /// Nothing of interest but the number.
    pub const NONE: Self = Self(0);

    /// These arguments (bit n: argument n) decide what the call does.
    pub const fn selecting(self, mask: u32) -> Self {
        Self(self.0 | (mask & 0x3f))
    }

    /// Argument `index` is a path.
    pub const fn path(self, index: u32) -> Self {
        Self(self.0 | ((index + 1) << 6))
    }

    /// Argument `index` is a second string.
    pub const fn second(self, index: u32) -> Self {
        Self(self.0 | ((index + 1) << 9))
    }

    /// One of [`special`].
    pub const fn special(self, value: u32) -> Self {
        Self(self.0 | (value << 12))
    }

    /// The call is of interest itself.
    pub const fn reported(self) -> Self {
        Self(self.0 | (1 << 16))
    }

    /// Bit n: argument n decides what the call does.
    pub const fn selectors(self) -> u32 {
        self.0 & 0x3f
    }

    /// Index of the path argument, plus one.
    pub const fn path_index(self) -> u32 {
        (self.0 >> 6) & 7
    }

    /// Index of the second string argument, plus one.
    pub const fn second_index(self) -> u32 {
        (self.0 >> 9) & 7
    }

    /// One of [`special`].
    pub const fn special_value(self) -> u32 {
        (self.0 >> 12) & 15
    }

    /// One of [`watch`].
    pub const fn watching(self, value: u32) -> Self {
        Self(self.0 | (value << 17))
    }

    /// Whether the call is of interest itself, whatever it does.
    pub const fn is_reported(self) -> bool {
        self.0 & (1 << 16) != 0
    }

    /// One of [`watch`].
    pub const fn watch(self) -> u32 {
        (self.0 >> 17) & 0x1f
    }

    /// Whether the call may be of interest itself.
    pub const fn may_be_reported(self) -> bool {
        self.0 >> 16 != 0
    }
}
