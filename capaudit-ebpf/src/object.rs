//! What a system call acts upon: its deciding arguments, and the path, address or message it names.

use aya_ebpf::helpers::{
    bpf_probe_read_user_buf,
    generated::{bpf_probe_read_kernel_str, bpf_probe_read_user_str},
};
use capaudit_common::{
    event::{Check, OBJECT_LEN, SECOND_LEN, object},
    key::flag,
    syscall::{SyscallSpec, prctl, special},
};

use crate::{
    kernel::{self, Pointer, follow, mix, probe, user},
    setting::{self, offset},
    target,
};

/// `_LINUX_CAPABILITY_VERSION_1`, include/uapi/linux/capability.h: one structure of data, not two.
const CAPABILITY_VERSION_1: u32 = 0x1998_0330;
/// Bytes of a netlink message that are kept: its header and the start of what follows.
const NETLINK_LEN: usize = 64;
/// Room for one name of a file's path.
const NAME_LEN: usize = 64;
/// Names of a file's path that are kept, innermost first.
const NAMES: usize = 12;

/// Capabilities that a netlink message's type decides about: NET_ADMIN, SYS_ADMIN, AUDIT_WRITE, AUDIT_CONTROL
/// and AUDIT_READ (`netlink_capable` and its kin).
const NETLINK_CAPABILITIES: u64 = (1 << 12) | (1 << 21) | (1 << 29) | (1 << 30) | (1 << 37);

/// `AF_NETLINK`, include/linux/socket.h
const AF_NETLINK: u16 = 16;
/// `S_IFMT` and `S_IFSOCK`, include/uapi/linux/stat.h
const TYPE_OF_FILE: u16 = 0o170_000;
const SOCKET: u16 = 0o140_000;

/// Hash of what decides what the call does; 0 where the number alone does.
#[inline(always)]
pub fn operation(registers: Pointer, spec: SyscallSpec, capability: u32) -> u32 {
    let mut hash = 0;
    let selectors = spec.selectors();
    if selectors != 0 {
        for index in 0..6 {
            if selectors & (1 << index) != 0 {
                hash = mix(hash, kernel::argument(registers, index));
            }
        }
    }
    match spec.special_value() {
        special::MESSAGE | special::BUFFER
            if NETLINK_CAPABILITIES & (1 << (capability & 63)) != 0
                && is_netlink(kernel::argument(registers, 0)) != 0 =>
        {
            if let Some(head) = user::<[u32; 2]>(payload(registers, spec)) {
                // nlmsghdr: length, then type and flags
                hash = mix(hash, u64::from(head[1]));
            }
        }
        special::CAPDATA => {
            let data = kernel::argument(registers, 1);
            if user::<u32>(kernel::argument(registers, 0)) == Some(CAPABILITY_VERSION_1) {
                // What lies behind its one structure is anything.
                if let Some([effective, permitted, inheritable]) = user::<[u32; 3]>(data) {
                    hash = mix(hash, u64::from(effective));
                    hash = mix(mix(hash, permitted.into()), inheritable.into());
                }
            } else if let Some(data) = user::<[u64; 3]>(data) {
                hash = mix(mix(mix(hash, data[0]), data[1]), data[2]);
            }
        }
        special::PRCTL => {
            if matches!(
                kernel::argument(registers, 0),
                prctl::CAPBSET_READ | prctl::CAP_AMBIENT
            ) {
                hash = mix(hash, kernel::argument(registers, 1));
                hash = mix(hash, kernel::argument(registers, 2));
            }
        }
        special::CLONE3 => {
            if let Some(flags) = user::<u64>(kernel::argument(registers, 0)) {
                hash = mix(hash, flags);
            }
        }
        _ => {}
    }
    hash
}

/// 1 if the running task's `descriptor` is a netlink socket. What is sent to any other is data of the program's, which decides
/// nothing and is nobody's business. A function that the verifier looks at once by itself (see [`crate::trail`]).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn is_netlink(descriptor: u64) -> u32 {
    let file = target::file(kernel::current(), descriptor as u32);
    let mode: u16 = probe(follow(file, &offset::FILE_INODE), &offset::INODE_MODE);
    if mode & TYPE_OF_FILE != SOCKET {
        return 0;
    }
    let sock = follow(follow(file, &offset::FILE_PRIVATE), &offset::SOCKET_SOCK);
    u32::from(probe::<u16>(sock, &offset::SOCK_FAMILY) == AF_NETLINK)
}

/// Address of the first byte that a sending call sends; 0 if it cannot be told.
#[inline(always)]
fn payload(registers: Pointer, spec: SyscallSpec) -> u64 {
    let argument = kernel::argument(registers, 1);
    if spec.special_value() == special::BUFFER {
        return argument;
    }
    // struct user_msghdr: name, namelen, iov; struct iovec: base, length
    user::<u64>(argument.wrapping_add(16))
        .and_then(user::<u64>)
        .unwrap_or_default()
}

/// Fills in what `check` acts upon.
///
/// # Safety
///
/// `check` is a reserved record.
#[inline(always)]
pub unsafe fn describe(check: *mut Check, task: Pointer) {
    // SAFETY: by the caller's promise.
    let check = unsafe { &mut *check };
    check.object_kind = object::NONE;
    check.second_kind = 0;
    check.object_len = 0;
    check.file_mode = 0;
    check.file_uid = 0;
    check.file_gid = 0;
    for argument in &mut check.arguments {
        // SAFETY: a reference is valid. Assigned as a whole, that is a loop over single bytes.
        unsafe { core::ptr::write_volatile(argument, 0) };
    }
    if check.key.syscall == capaudit_common::key::NO_SYSCALL {
        return;
    }
    let registers = kernel::registers(task);
    check.arguments = kernel::arguments(registers);
    if check.key.flags & flag::COMPAT != 0 {
        return; // numbers of another table
    }
    let spec = setting::spec(check.key.syscall);
    let path = spec.path_index();
    if path != 0 {
        let address = kernel::argument(registers, path - 1);
        // SAFETY: the buffer is the record's.
        let length = unsafe {
            bpf_probe_read_user_str(
                check.object.as_mut_ptr().cast(),
                OBJECT_LEN as u32,
                address as *const _,
            )
        };
        if length > 0 {
            check.object_kind = object::PATH;
            check.object_len = length as u16;
        }
    }
    let second = spec.second_index();
    if second != 0 {
        let address = kernel::argument(registers, second - 1);
        // SAFETY: the buffer is the record's.
        let length = unsafe {
            bpf_probe_read_user_str(
                check.second.as_mut_ptr().cast(),
                SECOND_LEN as u32,
                address as *const _,
            )
        };
        if length > 0 {
            check.second_kind = 1;
        }
    }
    match spec.special_value() {
        special::FILE => names(check, task, check.arguments[0] as u32),
        special::ADDRESS => {
            bytes::<28>(check, object::ADDRESS, check.arguments[1]);
            if check.arguments[2] < 28 {
                check.object_len = check.arguments[2] as u16;
            }
        }
        special::MESSAGE | special::BUFFER if is_netlink(check.arguments[0]) != 0 => {
            bytes::<NETLINK_LEN>(check, object::NETLINK, payload(registers, spec));
        }
        special::CAPDATA => {
            let (header, data) = (check.arguments[0], check.arguments[1]);
            if user::<u32>(header) == Some(CAPABILITY_VERSION_1) {
                bytes::<12>(check, object::CAPDATA, data);
            } else {
                bytes::<24>(check, object::CAPDATA, data);
            }
        }
        _ => {}
    }
}

/// Copies `N` bytes of the program's memory; fewer than that may be valid, and a fault leaves nothing.
#[inline(always)]
fn bytes<const N: usize>(check: &mut Check, kind: u8, address: u64) {
    // SAFETY: the helper checks the address.
    if unsafe { bpf_probe_read_user_buf(address as *const u8, &mut check.object[..N]) }.is_ok() {
        check.object_kind = kind;
        check.object_len = N as u16;
    }
}

/// Records owner, mode and the names of an open file, innermost name first.
#[inline(always)]
fn names(check: &mut Check, task: Pointer, descriptor: u32) {
    let file = target::file(task, descriptor);
    if file.is_null() {
        return;
    }
    let inode = follow(file, &offset::FILE_INODE);
    check.file_mode = u32::from(probe::<u16>(inode, &offset::INODE_MODE));
    check.file_uid = probe(inode, &offset::INODE_UID);
    check.file_gid = probe(inode, &offset::INODE_GID);
    // SAFETY: the buffer is the record's.
    let length = unsafe {
        names_of(
            follow(file, &offset::FILE_DENTRY),
            check.object.as_mut_ptr(),
        )
    };
    if length > 0 {
        check.object_kind = object::NAMES;
        check.object_len = length as u16;
    }
}

/// Writes a file's name and those of the directories above it, each with a NUL; returns the number of bytes.
///
/// # Safety
///
/// `buffer` has room for `OBJECT_LEN` bytes.
#[inline(always)]
pub unsafe fn names_of(mut dentry: Pointer, buffer: *mut u8) -> usize {
    let mut length: usize = 0;
    for _ in 0..NAMES {
        if length > OBJECT_LEN - NAME_LEN {
            break;
        }
        let name = follow(dentry, &offset::DENTRY_NAME);
        // SAFETY: NAME_LEN bytes from `length` on lie within the buffer.
        let read = unsafe {
            bpf_probe_read_kernel_str(buffer.add(length).cast(), NAME_LEN as u32, name.cast())
        };
        if read <= 0 || read > NAME_LEN as i64 {
            break;
        }
        length += read as usize;
        let parent = follow(dentry, &offset::DENTRY_PARENT);
        if parent == dentry || parent.is_null() {
            break;
        }
        dentry = parent;
    }
    length
}
