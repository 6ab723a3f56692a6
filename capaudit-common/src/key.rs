//! What a capability check is counted under.

use crate::assert_size;

/// The identity of a repeated check: same program image, same question, same answer.
///
/// `image` is one run of one executable: a process between two `execve` calls. All its threads share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct CheckKey {
    /// Which program image asked, as numbered by [`crate::event::Header::image`].
    pub image: u64,
    /// Inode number of the user namespace the capability was asked in.
    pub target_ns: u32,
    /// Inode number of the user namespace of the credentials that were examined.
    pub cred_ns: u32,
    /// Hash of those system call arguments that decide what the call does (see [`crate::syscall`]).
    pub operation: u32,
    /// System call number of the running task, [`NO_SYSCALL`] outside one.
    pub syscall: u16,
    /// Capability number, 0..=63.
    pub capability: u8,
    /// [`flag`] bits.
    pub flags: u8,
}
assert_size!(CheckKey, 24);

/// `CheckKey::syscall` where the check was not made on behalf of a system call.
pub const NO_SYSCALL: u16 = u16::MAX;

/// Bits of [`CheckKey::flags`].
pub mod flag {
    /// The kernel refused.
    pub const DENIED: u8 = 1 << 0;
    /// `CAP_OPT_NOAUDIT`: the kernel only asks, a refusal is not reported.
    pub const NOAUDIT: u8 = 1 << 1;
    /// `CAP_OPT_INSETID`: asked inside a setuid-family call.
    pub const INSETID: u8 = 1 << 2;
    /// The hook shows the options: the two bits above mean something.
    pub const OPTIONS_KNOWN: u8 = 1 << 3;
    /// The task acts with borrowed credentials (`task->cred != task->real_cred`: overlayfs, access(2), …).
    pub const OVERRIDDEN: u8 = 1 << 4;
    /// The examined credentials are neither of the task's own two (an opener's or another task's).
    pub const FOREIGN: u8 = 1 << 5;
    /// The system call number is of the 32-bit table.
    pub const COMPAT: u8 = 1 << 6;
}

/// Totals of one [`CheckKey`]. Times are nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CheckCount {
    /// How often.
    pub count: u64,
    /// When first.
    pub first: u64,
    /// When last, of those for which [`is_walked`].
    pub last: u64,
}
assert_size!(CheckCount, 24);

/// One call site in the kernel from which a [`CheckKey`] was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct SiteKey {
    /// The check.
    pub check: CheckKey,
    /// Hash of the innermost kernel return addresses.
    pub site: u32,
    /// Always zero.
    pub reserved: u32,
}
assert_size!(SiteKey, 32);

/// What became of the sampled checks of one [`SiteKey`].
///
/// The kernel stack is walked for some of a key's checks only ([`is_walked`]), and only these are counted here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SiteCount {
    /// Walked checks.
    pub walked: u32,
    /// System calls, among those that made a walked check, that then succeeded.
    pub succeeded: u32,
    /// System calls that then failed.
    pub failed: u32,
    /// The last failure, as a positive errno; 0 if there was none.
    pub errno: u32,
}
assert_size!(SiteCount, 16);

/// Whether the kernel stack is walked for the `count`th check of a key: for the first 64, then for every 64th, and from
/// 4096 on for every 1024th. A walk takes as long as a few dozen checks without one.
pub const fn is_walked(count: u64) -> bool {
    count <= 64 || count.is_multiple_of(if count < 4096 { 64 } else { 1024 })
}

/// A system call that needs a capability no check shows (it is unlocked by a seccomp profile, or reads
/// the caller's capabilities).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct CallKey {
    /// Which program image called.
    pub image: u64,
    /// Hash of the arguments that decide what the call does.
    pub operation: u32,
    /// System call number.
    pub syscall: u16,
    /// 1 if it failed.
    pub failed: u8,
    /// [`flag::COMPAT`] or 0.
    pub flags: u8,
}
assert_size!(CallKey, 16);
