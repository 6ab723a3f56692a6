//! Namespaces of processes, by their inode numbers.

use std::{
    fmt::Display,
    fs::File,
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
};

/// Inode number of the mount namespace of a process; `None` if it is gone.
pub fn mount_namespace_of(process: impl Display) -> Option<u32> {
    namespace_inode(process, "mnt")
}

/// Inode number of a namespace of a process, `kind` as in `/proc/PID/ns`; `None` if the process is gone, or the namespace may
/// not be seen. `process` is what its directory below /proc is called: a pid, `self`, or `PID/task/TID`.
pub fn namespace_inode(process: impl Display, kind: &str) -> Option<u32> {
    let link = std::fs::read_link(format!("/proc/{process}/ns/{kind}")).ok()?;
    inode_in(link.to_str()?)
}

/// Whether this process is in the initial pid namespace: the one in whose numbers the BPF programs tell processes. False, too,
/// if that cannot be seen.
pub fn is_in_initial_pid_namespace() -> bool {
    /// `PROC_PID_INIT_INO`, include/linux/proc_ns.h since 3.8: the number that only the initial pid namespace has, whatever
    /// instance of procfs it is read through.
    const INITIAL: u32 = 0xefff_fffc;
    namespace_inode("self", "pid") == Some(INITIAL)
}

/// The number in `KIND:[NUMBER]` (`ns_get_name`, fs/nsfs.c, Linux 6.12).
fn inode_in(link: &str) -> Option<u32> {
    link.split_once('[')?.1.strip_suffix(']')?.parse().ok()
}

/// `NS_GET_PARENT`, include/uapi/linux/nsfs.h since 4.9
const NS_GET_PARENT: nix::libc::c_ulong = 0xb702;

/// How deep a process's user namespace lies below the initial one; `None` if it is gone.
pub(crate) fn user_namespace_level(pid: u32) -> Option<u32> {
    let mut namespace: OwnedFd = File::open(format!("/proc/{pid}/ns/user")).ok()?.into();
    let mut level = 0;
    // 32 is the most that the kernel allows (create_user_ns, kernel/user_namespace.c).
    while level < 33 {
        // SAFETY: the request takes no argument, and returns a new descriptor or -1.
        let parent = unsafe { nix::libc::ioctl(namespace.as_fd().as_raw_fd(), NS_GET_PARENT as _) };
        if parent < 0 {
            break; // EPERM: it has no parent
        }
        // SAFETY: just opened, and owned by nobody else.
        namespace = unsafe { OwnedFd::from_raw_fd(parent) };
        level += 1;
    }
    Some(level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_named_by_its_number() {
        assert_eq!(inode_in("mnt:[4026531841]"), Some(4_026_531_841));
        for link in ["", "mnt:", "mnt:[]", "mnt:[-1]", "mnt:[1", "/bin/sh"] {
            assert_eq!(inode_in(link), None, "{link:?}");
        }
    }
}
