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

    /// Whether the call is of interest itself.
    pub const fn is_reported(self) -> bool {
        self.0 & (1 << 16) != 0
    }
}
