//! Records of the ring buffer. Each starts with a [`Header`]; `kind` tells which type it is.

use crate::{
    assert_size,
    key::{CallKey, CheckKey},
};

/// Values of [`Header::kind`].
pub mod kind {
    /// [`super::Check`]
    pub const CHECK: u32 = 1;
    /// [`super::Result`]
    pub const RESULT: u32 = 2;
    /// [`super::Fork`], of a process that a followed process forked.
    pub const FORK: u32 = 3;
    /// [`super::Fork`] without a parent execution, of a process met in a namespace of interest.
    pub const ADOPT: u32 = 4;
    /// [`super::Exec`]
    pub const EXEC: u32 = 5;
    /// [`super::Exit`]
    pub const EXIT: u32 = 6;
    /// [`super::Call`]
    pub const CALL: u32 = 7;
}

/// Length of a command name with its NUL (`TASK_COMM_LEN`).
pub const COMM_LEN: usize = 16;
/// Frames of a kernel stack that are recorded.
pub const STACK_LEN: usize = 16;
/// Bytes of a first object (a path, an address, …).
pub const OBJECT_LEN: usize = 256;
/// Bytes of a second object (a rename's new name, an xattr's name, …).
pub const SECOND_LEN: usize = 128;
/// Bytes of one cgroup name.
pub const CGROUP_LEN: usize = 96;
/// Cgroup names recorded, from the leaf upwards.
pub const CGROUP_DEPTH: usize = 3;

/// Start of every record.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Header {
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub time: u64,
    /// The execution this is about; never reused within a session.
    pub execution: u64,
    /// One of [`kind`].
    pub kind: u32,
    /// Process id, in the initial pid namespace.
    pub tgid: u32,
    /// Thread id, in the initial pid namespace.
    pub tid: u32,
    /// [`crate::scope::execution`] bits.
    pub flags: u32,
}
assert_size!(Header, 32);

/// User and group ids, in the initial user namespace.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Ids {
    /// Real user.
    pub uid: u32,
    /// Real group.
    pub gid: u32,
    /// Saved user.
    pub suid: u32,
    /// Saved group.
    pub sgid: u32,
    /// Effective user.
    pub euid: u32,
    /// Effective group.
    pub egid: u32,
    /// File-system user.
    pub fsuid: u32,
    /// File-system group.
    pub fsgid: u32,
}
assert_size!(Ids, 32);

/// Capability sets of a process.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Sets {
    /// Inheritable.
    pub inheritable: u64,
    /// Permitted.
    pub permitted: u64,
    /// Effective.
    pub effective: u64,
    /// Bounding.
    pub bounding: u64,
    /// Ambient.
    pub ambient: u64,
}
assert_size!(Sets, 40);

/// Inode numbers of a process's namespaces.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Namespaces {
    /// Mount namespace.
    pub mnt: u32,
    /// Pid namespace of the process's children.
    pub pid: u32,
    /// User namespace of its credentials.
    pub user: u32,
    /// Depth of that user namespace; the initial one has 0.
    pub user_level: u32,
}
assert_size!(Namespaces, 16);

/// How [`Check::object`] is to be read.
pub mod object {
    /// Nothing was recorded.
    pub const NONE: u8 = 0;
    /// A NUL-terminated path, as the program gave it.
    pub const PATH: u8 = 1;
    /// NUL-terminated names from an open file upwards to the root of its mount.
    pub const NAMES: u8 = 2;
    /// A `sockaddr`.
    pub const ADDRESS: u8 = 3;
    /// The start of a netlink message.
    pub const NETLINK: u8 = 4;
    /// The two `__user_cap_data_struct` of capset(2).
    pub const CAPDATA: u8 = 5;
}

/// A check, seen for the first times at its call site (or every one of them, where asked for).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Check {
    /// Common start.
    pub header: Header,
    /// What was asked.
    pub key: CheckKey,
    /// Hash of the call site, as in [`crate::key::SiteKey::site`].
    pub site: u32,
    /// Number of valid `stack` entries.
    pub depth: u32,
    /// Joins this record with the [`Result`] of the same system call.
    pub call: u64,
    /// Kernel return addresses, innermost first.
    pub stack: [u64; STACK_LEN],
    /// Arguments of the system call.
    pub arguments: [u64; 6],
    /// Who asks: ids of the task's (possibly borrowed) credentials.
    pub ids: Ids,
    /// Capability sets of the same credentials.
    pub sets: Sets,
    /// Depth of the user namespace the capability was asked in.
    pub target_level: u32,
    /// Depth of the user namespace of the examined credentials.
    pub cred_level: u32,
    /// Mode of the file in `object`, where it was an open one; else 0.
    pub file_mode: u32,
    /// Its owner.
    pub file_uid: u32,
    /// Its group.
    pub file_gid: u32,
    /// One of [`object`].
    pub object_kind: u8,
    /// Non-zero if `second` holds a string.
    pub second_kind: u8,
    /// Valid bytes of `object`.
    pub object_len: u16,
    /// Command name of the asking thread.
    pub comm: [u8; COMM_LEN],
    /// What the system call acts upon.
    pub object: [u8; OBJECT_LEN],
    /// A second such thing, NUL-terminated.
    pub second: [u8; SECOND_LEN],
}
assert_size!(
    Check,
    32 + 24 + 16 + 8 * STACK_LEN + 48 + 32 + 40 + 24 + COMM_LEN + OBJECT_LEN + SECOND_LEN
);

/// The outcome of a system call during which checks were recorded.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Result {
    /// Common start.
    pub header: Header,
    /// As in [`Check::call`].
    pub call: u64,
    /// Return value; negative is an errno.
    pub value: i64,
}
assert_size!(Result, 48);

/// A new process.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Fork {
    /// Common start; `execution`, `tgid` and `tid` are the child's.
    pub header: Header,
    /// Execution it was forked from, 0 if that is not followed.
    pub parent: u64,
    /// Its namespaces.
    pub namespaces: Namespaces,
    /// Its ids.
    pub ids: Ids,
    /// Its capability sets.
    pub sets: Sets,
    /// Its command name.
    pub comm: [u8; COMM_LEN],
}
assert_size!(Fork, 32 + 8 + 16 + 32 + 40 + COMM_LEN);

/// Bits of [`Exec::ignored`]: why the kernel pays no attention to a file's privileges (`mnt_may_suid`, fs/namespace.c).
pub mod ignored {
    /// The mount has `nosuid`.
    pub const NOSUID: u32 = 1 << 0;
    /// The mount is of another mount namespace.
    pub const FOREIGN: u32 = 1 << 1;
    /// The file system was mounted in a user namespace that the process is not in.
    pub const USER_NAMESPACE: u32 = 1 << 2;
}

/// A process that runs another executable from now on.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Exec {
    /// Common start; `execution` is the new one.
    pub header: Header,
    /// The execution it was before, 0 if that was not followed.
    pub previous: u64,
    /// Its namespaces.
    pub namespaces: Namespaces,
    /// Its new ids.
    pub ids: Ids,
    /// Its new capability sets.
    pub sets: Sets,
    /// Inode number of the file whose privileges count: the last interpreter, or what that interprets, where binfmt_misc has the
    /// flag C (`bprm_creds_from_file`, fs/exec.c).
    pub inode: u64,
    /// Device of its file system (kernel encoding: `major << 20 | minor`).
    pub device: u32,
    /// Its mode.
    pub mode: u32,
    /// Its owner.
    pub owner: u32,
    /// Its group.
    pub group: u32,
    /// Non-zero if its privileges count for nothing where it lies ([`ignored`] bits).
    pub ignored: u32,
    /// Always zero.
    pub reserved: u32,
    /// Its new command name.
    pub comm: [u8; COMM_LEN],
    /// Path as given to execve.
    pub path: [u8; OBJECT_LEN],
    /// Path of the last interpreter; the same as `path` if there is none.
    pub interpreter: [u8; OBJECT_LEN],
    /// Names of its cgroup and the cgroups above, where the mount namespace is not capaudit's own.
    pub cgroups: [[u8; CGROUP_LEN]; CGROUP_DEPTH],
}
assert_size!(
    Exec,
    32 + 8 + 16 + 32 + 40 + 8 + 24 + COMM_LEN + 2 * OBJECT_LEN + CGROUP_LEN * CGROUP_DEPTH
);

/// The end of a process (its last thread).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Exit {
    /// Common start.
    pub header: Header,
    /// As wait(2) reports it.
    pub status: u32,
    /// Always zero.
    pub reserved: u32,
}
assert_size!(Exit, 40);

/// Another process, that a call acted upon.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Target {
    /// Its permitted set; every bit where it could not be found.
    pub permitted: u64,
    /// Its process id in the initial pid namespace; 0 if unknown, or if there are several.
    pub tgid: u32,
    /// [`target`] bits; 0 if there is no such process.
    pub flags: u32,
}
assert_size!(Target, 16);

/// Bits of [`Target::flags`].
pub mod target {
    /// There is one.
    pub const PRESENT: u32 = 1 << 0;
    /// It is of the caller's user namespace.
    pub const SAME_USER_NS: u32 = 1 << 1;
    /// It is followed.
    pub const FOLLOWED: u32 = 1 << 2;
}

/// The first sighting of a [`CallKey`].
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Call {
    /// Common start.
    pub header: Header,
    /// What was called.
    pub key: CallKey,
    /// Its arguments. Of clone3(2), the third is the first word of what the first points to: the flags.
    pub arguments: [u64; 6],
    /// Return value; negative is an errno.
    pub value: i64,
    /// Whom it acted upon.
    pub target: Target,
    /// One of [`object`].
    pub object_kind: u8,
    /// Always zero.
    pub reserved: u8,
    /// Valid bytes of `object`.
    pub object_len: u16,
    /// Always zero.
    pub padding: u32,
    /// What it acted upon.
    pub object: [u8; OBJECT_LEN],
}
assert_size!(Call, 32 + 16 + 48 + 8 + 16 + 8 + OBJECT_LEN);
