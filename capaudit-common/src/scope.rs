//! Which processes are followed.

use crate::assert_size;

/// What the kernel side knows of a followed process; keyed by its pid in the initial pid namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Process {
    /// The execution it runs.
    pub execution: u64,
    /// [`execution`] bits.
    pub flags: u32,
    /// Inode number of a mount namespace. Of an ignored process: of that in which it is ignored. Of another: of that in
    /// which its execution was executed, 0 if that was before it was followed.
    pub mount_namespace: u32,
}
assert_size!(Process, 16);

/// Bits of [`Process::flags`] and of every record's header.
pub mod execution {
    /// Not yet the audited program: what sets it up (a container runtime before its last execve, capaudit's
    /// own child before the command). The next execve clears it.
    pub const SETUP: u32 = 1 << 0;
    /// There before, in another mount namespace than capaudit's: known, so that it is not taken for a new
    /// container, but not followed. Ends when it, or what it forks, enters yet another mount namespace: container
    /// engines may have one of their own.
    pub const IGNORED: u32 = 1 << 1;
}

/// Indices of the two numbers whose sum is the epoch: it changes whenever a process begins to run another execution, ends, or is
/// not followed any more. What was known of a process holds as long as it has not changed.
pub mod epoch {
    /// Raised by the BPF programs.
    pub const KERNEL: u32 = 0;
    /// Raised by user space.
    pub const USER: u32 = 1;
    /// Number of them.
    pub const COUNT: u32 = 2;
}

/// Indices of the counters of what could not be recorded.
pub mod loss {
    /// Records for which the ring buffer had no room.
    pub const RING: u32 = 0;
    /// Checks counted only by capability, because the map of checks was full.
    pub const CHECKS: u32 = 1;
    /// Call sites not remembered, because their map was full.
    pub const SITES: u32 = 2;
    /// Processes not followed, because their map was full.
    pub const PROCESSES: u32 = 3;
    /// System calls not remembered, because their map was full.
    pub const CALLS: u32 = 4;
    /// Checks whose call site could not be found, because the stack walk failed.
    pub const STACKS: u32 = 5;
    /// kprobe hook: checks whose result was not seen.
    pub const RETURNS: u32 = 6;
    /// Not a loss: single checks, counted like all others, that were not sent because there were too many.
    pub const UNSENT: u32 = 7;
    /// Number of counters.
    pub const COUNT: u32 = 8;
}
