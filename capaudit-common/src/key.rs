//! What a capability check is counted under.

use crate::assert_size;

/// The identity of a repeated check: same execution, same question, same answer.
///
/// `execution` is one run of one executable: a process between two `execve` calls. All its threads share it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct CheckKey {
    /// Which execution asked, as numbered by [`crate::event::Header::execution`].
    pub execution: u64,
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

/// What a check asks, whoever asks it: all of a [`CheckKey`] but the execution, in two words that are made and compared faster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CheckKind {
    /// The namespace of the question, below that of the credentials.
    namespaces: u64,
    /// From below: operation, system call, capability, flags.
    what: u64,
}
assert_size!(CheckKind, 16);

impl CheckKind {
    /// The words of `key`; its execution does not matter.
    #[inline(always)]
    pub const fn of(key: &CheckKey) -> Self {
        Self {
            namespaces: key.target_ns as u64 | (key.cred_ns as u64) << 32,
            what: key.operation as u64
                | (key.syscall as u64) << 32
                | (key.capability as u64) << 48
                | (key.flags as u64) << 56,
        }
    }

    /// The key of the question, where `execution` asks it.
    #[inline(always)]
    pub const fn asked_by(self, execution: u64) -> CheckKey {
        CheckKey {
            execution,
            target_ns: self.namespaces as u32,
            cred_ns: (self.namespaces >> 32) as u32,
            operation: self.what as u32,
            syscall: (self.what >> 32) as u16,
            capability: (self.what >> 48) as u8,
            flags: (self.what >> 56) as u8,
        }
    }

    /// The two words, each put through `change`.
    #[inline(always)]
    pub fn map(self, change: impl Fn(u64) -> u64) -> Self {
        Self {
            namespaces: change(self.namespaces),
            what: change(self.what),
        }
    }

    /// The two words, to be handed on as numbers.
    #[inline(always)]
    pub const fn words(self) -> [u64; 2] {
        [self.namespaces, self.what]
    }

    /// What [`Self::words`] took apart.
    #[inline(always)]
    pub const fn from_words([namespaces, what]: [u64; 2]) -> Self {
        Self { namespaces, what }
    }

    /// `CheckKey::flags`.
    #[inline(always)]
    pub const fn flags(self) -> u8 {
        (self.what >> 56) as u8
    }

    /// `CheckKey::capability`.
    #[inline(always)]
    pub const fn capability(self) -> u8 {
        (self.what >> 48) as u8
    }

    /// What is asked, but not in which namespaces, as a number.
    #[inline(always)]
    pub const fn what(self) -> u64 {
        self.what
    }
}

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
    /// The question's namespace is one below that of the credentials, or lies in such a one, that their user made.
    pub const OWNED: u8 = 1 << 7;
}

/// Totals of one [`CheckKey`]. Times are nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CheckCount {
    /// How often.
    pub count: u64,
    /// When first.
    pub first: u64,
    /// When last, of those that a processor did not count by itself ([`Recent`]).
    pub last: u64,
    /// The check that makes the count this or more is walked, where call sites are not told apart ([`next_walk`]).
    pub next_walk: u64,
    /// Call sites that are known, where they are told apart ([`SiteKey::site`]), in no order; 0 where there is none.
    pub sites: [u32; KNOWN_SITES],
}
assert_size!(CheckCount, 64);

/// Call sites of one key that are recognized at a time.
pub const KNOWN_SITES: usize = 8;

/// The call site of checks whose call sites are not told apart.
pub const ANY_SITE: u32 = 0;

/// Checks of one key, from one call site where these are told apart, that one processor has counted and not yet added to the totals.
///
/// The processor alone writes it, and user space reads `execution`, `question`, `site` and `pending` without any lock: whoever
/// changes the former three, or adds what is pending to the totals, sets `tail` to a new number first and `head` to the same
/// last, and who reads in ascending order has a whole one if the two are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Recent {
    /// Number of the last change that is complete.
    pub head: u32,
    /// The process that asked, valid as long as `epoch` is the current one.
    pub tgid: u32,
    /// The execution that asked; 0 if none has yet, or if the process is not followed.
    pub execution: u64,
    /// What it asked.
    pub question: CheckKind,
    /// When it was last seen that the process runs the execution ([`crate::scope::epoch`]).
    pub epoch: u64,
    /// Checks not in the totals yet.
    pub pending: u32,
    /// Checks that may still be counted here.
    pub quota: u32,
    /// The call site, or [`ANY_SITE`].
    pub site: u32,
    /// Number of the last change begun.
    pub tail: u32,
    /// Of a process that is not followed: inode number of the mount namespace where that is so.
    pub mount_namespace: u32,
}
assert_size!(Recent, 64);

/// Keys that a processor counts by itself at a time; a power of two.
pub const RECENT_LEN: usize = 256;

/// What a processor counts by itself, each at a place that a hash of the process and of what it asks decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RecentChecks(pub [Recent; RECENT_LEN]);

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

/// The checks of one [`SiteKey`], and what became of those that were sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SiteCount {
    /// Checks that are known to have been made here: all of them where call sites are told apart, else those that were walked.
    pub count: u64,
    /// The check that makes the count this or more is sampled.
    pub next_sample: u64,
    /// System calls, among those that made a sampled check, that then succeeded.
    pub succeeded: u32,
    /// System calls that then failed.
    pub failed: u32,
    /// The last failure, as a positive errno; 0 if there was none.
    pub errno: u32,
    /// Always zero.
    pub reserved: u32,
}
assert_size!(SiteCount, 32);

/// Sightings of a call site that are sampled whatever their number; later ones at powers of two.
const ALWAYS_SAMPLED: u64 = 4;

/// Whether the `count`th check from a call site is a sighting, which is sent to user space.
pub const fn is_sighting(count: u64) -> bool {
    count <= ALWAYS_SAMPLED || count & (count - 1) == 0
}

/// After the `count`th check of a key whose call sites are not told apart, the number of the next one that the kernel stack is
/// walked for: each of the first 64, then every 64th, from 4096 on every 1024th, from 65536 on every 4096th. A walk takes as long
/// as a hundred checks without one.
pub const fn next_walk(count: u64) -> u64 {
    let distance = match count {
        0..64 => 1,
        64..4096 => 64,
        4096..65536 => 1024,
        _ => 4096,
    };
    (count | (distance - 1)) + 1
}

/// After the `count`th check from a call site, the number of the next one that is sampled: that the kernel stack is walked for,
/// and the outcome of its system call awaited.
///
/// Sightings are. As long as their outcomes alone do not tell enough, so are as many others as [`next_walk`] has walked.
pub const fn next_sample(count: u64, is_outcome_known: bool) -> u64 {
    if !is_outcome_known {
        return next_walk(count);
    }
    if count < ALWAYS_SAMPLED {
        return count + 1;
    }
    (u64::MAX >> count.leading_zeros()) + 1
}

/// Bits of [`CallKey::flags`].
pub mod call_flag {
    /// A seccomp filter was in force for the caller.
    pub const FILTERED: u8 = 1 << 0;
    /// The kernel has seccomp: the bit above means something.
    pub const FILTER_KNOWN: u8 = 1 << 1;
    /// The call failed with EPERM or EACCES, and no check was seen during it.
    pub const UNASKED: u8 = 1 << 2;
    /// A system call of the 32-bit table: nothing else is known of it.
    pub const COMPAT: u8 = 1 << 3;
}

/// Checks of a known call site that a processor counts by itself, at most, before it adds them to the totals.
pub const MOST_PENDING: u64 = 4096;

/// A system call that needs a capability no check shows (it is unlocked by a seccomp profile, or reads
/// the caller's capabilities).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct CallKey {
    /// Which execution called.
    pub execution: u64,
    /// Hash of the arguments that decide what the call does.
    pub operation: u32,
    /// System call number.
    pub syscall: u16,
    /// 1 if it failed.
    pub failed: u8,
    /// [`call_flag`] bits.
    pub flags: u8,
}
assert_size!(CallKey, 16);
