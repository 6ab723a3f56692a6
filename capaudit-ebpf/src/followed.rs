//! Paths that lead through a link of another process's directory in procfs: whoever follows one must be allowed to trace that process,
//! and no capability is asked for where both hold the same.

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel_str, bpf_probe_read_user_str};
use capaudit_common::{
    event::object,
    syscall::{SyscallSpec, watch},
};

use crate::{
    kernel::{self, Pointer, follow, user},
    maps::{FINDING, Finding, PATH, PATH_LEN},
    path::{BELOW_PROC, NUMBER, OF_DIRECTORY, find_link, may_have_link},
    setting::offset,
    target::{self, NOBODY},
};

/// `AT_SYMLINK_NOFOLLOW`, `AT_FDCWD`, include/uapi/linux/fcntl.h
const NOFOLLOW: u64 = 0x100;
pub const AT_FDCWD: u64 = -100_i64 as u64;

/// A path led somewhere: of interest if that was through a link of another process's directory in procfs, which only those
/// follow who may trace it (`proc_pid_get_link`, fs/proc/base.c; `proc_ns_get_link`, fs/proc/namespaces.c).
#[inline(always)]
pub fn followed(registers: Pointer, spec: SyscallSpec) -> Option<Finding> {
    let argument = |index| kernel::argument(registers, index);
    let (first, second) = (
        spec.path_index().saturating_sub(1),
        spec.second_index().saturating_sub(1),
    );
    let follows = match spec.watch() {
        watch::PATH_BY_FLAGS_2 => argument(2) & NOFOLLOW == 0,
        watch::PATH_BY_FLAGS_3 => argument(3) & NOFOLLOW == 0,
        watch::PATH_BUT_LAST => false,
        _ => true,
    };
    // Where the first path has no descriptor before it, the second has none either.
    let at = |index: u32| {
        if first == 0 {
            AT_FDCWD
        } else {
            argument(index.wrapping_sub(1))
        }
    };
    let (paths, others) = match spec.watch() {
        watch::SOURCE => (0, Some(1)),
        watch::SECOND => (second, None),
        watch::TWO_PATHS => (first, Some(second)),
        _ => (first, None),
    };
    let of = |index| followed_by(argument(index), at(index), follows);
    of(paths).or_else(|| others.and_then(of))
}

/// The same of one path, which if it is relative begins in the directory of `descriptor`.
#[inline(always)]
pub fn followed_by(address: u64, descriptor: u64, follows: bool) -> Option<Finding> {
    let link = link_in_memory(address, follows.into());
    // One after the other, not one within the other: Linux 6.1 has 512 bytes of stack for all that call each other.
    if link == 0 || find_linked(link, descriptor, address) == 0 {
        return None;
    }
    FINDING.get(0).copied()
}

/// The first link of a process's directory that a path of the program's goes through: see [`find_link`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn link_in_memory(address: u64, follows: u32) -> u64 {
    let Some(path) = PATH.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: a map value of this processor; the buffer has that size.
    let length = unsafe {
        bpf_probe_read_user_str(
            (*path).as_mut_ptr().cast(),
            PATH_LEN as u32,
            address as *const _,
        )
    };
    link_in_path(length, follows)
}

/// The same for a path in the kernel.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn link_in_kernel(address: u64) -> u64 {
    let Some(path) = PATH.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: a map value of this processor; the buffer has that size, and the helper checks the address.
    let length = unsafe {
        bpf_probe_read_kernel_str(
            (*path).as_mut_ptr().cast(),
            PATH_LEN as u32,
            address as *const _,
        )
    };
    link_in_path(length, 1)
}

/// The same of the path in [`PATH`], of this length.
#[inline(always)]
fn link_in_path(length: i64, follows: u32) -> u64 {
    if length > 1 && may_have_link() != 0 {
        find_link(follows)
    } else {
        0
    }
}

/// Stores in [`FINDING`] whose link that is in the path at `address`, which if it is relative begins in the directory of `descriptor`;
/// 0 if it is no process's.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_linked(link: u64, descriptor: u64, address: u64) -> u32 {
    let task = kernel::current();
    let (inode, dentry) = directory(task, descriptor as u32);
    let of_directory = link & OF_DIRECTORY != 0;
    if of_directory && !target::is_proc(inode) {
        return 0;
    }
    let number = link as u32;
    let target = if link & NUMBER == 0 {
        target::of_proc(inode)
    } else if of_directory || link & BELOW_PROC != 0 || target::find_pid(number) != 0 {
        target::of_number(number)
    } else {
        NOBODY // a name that is a number by chance
    };
    let Some(finding) = FINDING.get_ptr_mut(0) else {
        return 0;
    };
    let object = if user::<u8>(address) == Some(b'/') {
        object::PATH
    } else {
        object::NAMES
    };
    // SAFETY: a map value of this processor, which only a program that does not interrupt itself uses.
    unsafe {
        *finding = Finding {
            target,
            detail: 0,
            object: object as u32,
            address,
            dentry: dentry as u64,
        };
    }
    target::is_somebody(&target).into()
}

/// Whose link what is executed was found through, by its path in the kernel.
#[inline(always)]
pub fn executed(filename: u64) -> Option<Finding> {
    let link = link_in_kernel(filename);
    if link == 0 || find_linked(link, AT_FDCWD, 0) == 0 {
        return None;
    }
    let found = FINDING.get(0).copied()?;
    // The path is not the program's any more.
    Some(Finding {
        object: object::NONE as u32,
        address: 0,
        dentry: 0,
        ..found
    })
}

/// The directory that a relative path begins in: that of the descriptor, else the working directory.
#[inline(always)]
fn directory(task: Pointer, descriptor: u32) -> (Pointer, Pointer) {
    // AT_FDCWD is negative.
    if descriptor <= i32::MAX as u32 {
        let file = target::file(task, descriptor);
        return (
            follow(file, &offset::FILE_INODE),
            follow(file, &offset::FILE_DENTRY),
        );
    }
    let dentry = follow(follow(task, &offset::TASK_FS), &offset::FS_DIRECTORY);
    (follow(dentry, &offset::DENTRY_INODE), dentry)
}
