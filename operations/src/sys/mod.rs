//! System calls for operations: thin, single-threaded, and without the C library's own ideas.
//!
//! Descriptors are plain numbers and stay open: whoever acts lives for one act.

pub(crate) mod fork;
pub(crate) mod netlink;
pub(crate) mod uring;

use std::{
    ffi::{CStr, CString},
    io,
};

/// One argument of a system call.
#[derive(Clone, Copy)]
pub(crate) struct Word(pub usize);

macro_rules! from_integer {
    ($($kind:ty),*) => {$(
        impl From<$kind> for Word {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the kernel takes the bits")]
            fn from(value: $kind) -> Self {
                Self(value as usize)
            }
        }
    )*};
}
from_integer!(i32, u32, i64, u64, usize);

impl From<&CStr> for Word {
    fn from(text: &CStr) -> Self {
        Self(text.as_ptr() as usize)
    }
}

impl From<&CString> for Word {
    fn from(text: &CString) -> Self {
        Self(text.as_ptr() as usize)
    }
}

impl<T> From<&[T]> for Word {
    fn from(values: &[T]) -> Self {
        Self(values.as_ptr() as usize)
    }
}

impl<T> From<&mut [T]> for Word {
    fn from(values: &mut [T]) -> Self {
        Self(values.as_mut_ptr() as usize)
    }
}

impl<T, const N: usize> From<&[T; N]> for Word {
    fn from(values: &[T; N]) -> Self {
        Self(values.as_ptr() as usize)
    }
}

impl<T, const N: usize> From<&mut [T; N]> for Word {
    fn from(values: &mut [T; N]) -> Self {
        Self(values.as_mut_ptr() as usize)
    }
}

/// Makes a system call.
///
/// # Errors
///
/// The kernel's error number.
pub(crate) fn syscall(number: i64, arguments: &[Word]) -> io::Result<i64> {
    let at = |index: usize| arguments.get(index).map_or(0, |word| word.0);
    // SAFETY: pointers are made of references that outlive the call (`Word::from`); each operation passes the lengths
    // of what they point to. Calls that change the address space change mappings that no reference points into.
    let result = unsafe { libc::syscall(number, at(0), at(1), at(2), at(3), at(4), at(5)) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Makes the system call with this name of libc's (`SYS_chown`): `call!(SYS_chown, path, 1, 2)?`.
macro_rules! call {
    ($number:ident $(, $argument:expr)* $(,)?) => {
        $crate::sys::syscall(libc::$number, &[$($crate::sys::Word::from($argument)),*])
    };
}
pub(crate) use call;

/// The error with this number.
pub(crate) fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

/// Takes one of these errors for success: the kernel gave the permission and failed at a later, harmless step.
///
/// # Errors
///
/// Any other error.
pub(crate) fn granted_although(result: io::Result<i64>, errors: &[i32]) -> io::Result<i64> {
    match result {
        Err(error)
            if error
                .raw_os_error()
                .is_some_and(|number| errors.contains(&number)) =>
        {
            Ok(0)
        }
        other => other,
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "descriptors and process ids are ints"
)]
fn int(value: i64) -> i32 {
    value as i32
}

pub(crate) fn open(path: &CStr, flags: i32) -> io::Result<i32> {
    call!(
        SYS_openat,
        libc::AT_FDCWD,
        path,
        flags | libc::O_CLOEXEC,
        0o644
    )
    .map(int)
}

pub(crate) fn read(descriptor: i32, length: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0_u8; length];
    let got = call!(SYS_read, descriptor, buffer.as_mut_slice(), length)?;
    buffer.truncate(usize::try_from(got).unwrap_or(0));
    Ok(buffer)
}

pub(crate) fn write(descriptor: i32, bytes: &[u8]) -> io::Result<i64> {
    call!(SYS_write, descriptor, bytes, bytes.len())
}

/// Opens an existing file without `O_CREAT` or `O_TRUNC`, as sysctls want it, and writes once.
pub(crate) fn write_to(path: &CStr, bytes: &[u8]) -> io::Result<i64> {
    write(open(path, libc::O_WRONLY)?, bytes)
}

/// Opens a file and reads once, at most 64 KiB.
pub(crate) fn read_from(path: &CStr) -> io::Result<Vec<u8>> {
    read(open(path, libc::O_RDONLY)?, 65536)
}

pub(crate) fn socket(domain: i32, kind: i32, protocol: i32) -> io::Result<i32> {
    call!(SYS_socket, domain, kind | libc::SOCK_CLOEXEC, protocol).map(int)
}

pub(crate) fn set_option(socket: i32, level: i32, name: i32, value: &[u8]) -> io::Result<i64> {
    call!(SYS_setsockopt, socket, level, name, value, value.len())
}

/// Sets an `int` option.
pub(crate) fn set_int(socket: i32, level: i32, name: i32, value: i32) -> io::Result<i64> {
    set_option(socket, level, name, &value.to_ne_bytes())
}

/// Reads an `int` option.
pub(crate) fn get_int(socket: i32, level: i32, name: i32) -> io::Result<i32> {
    let mut value = [0_i32];
    let mut length = [4_u32];
    call!(SYS_getsockopt, socket, level, name, &mut value, &mut length)?;
    Ok(value[0])
}

pub(crate) fn ioctl(descriptor: i32, request: u64, argument: impl Into<Word>) -> io::Result<i64> {
    syscall(
        libc::SYS_ioctl,
        &[descriptor.into(), request.into(), argument.into()],
    )
}

pub(crate) fn prctl(option: i32, arguments: [u64; 4]) -> io::Result<i64> {
    call!(
        SYS_prctl,
        option,
        arguments[0],
        arguments[1],
        arguments[2],
        arguments[3]
    )
}

/// The address of the loopback, IPv4, as `sockaddr_in`.
pub(crate) fn loopback(port: u16) -> [u8; 16] {
    let mut address = [0_u8; 16];
    address[..2].copy_from_slice(&2_u16.to_ne_bytes());
    address[2..4].copy_from_slice(&port.to_be_bytes());
    address[4..8].copy_from_slice(&[127, 0, 0, 1]);
    address
}

/// The address `::1`, as `sockaddr_in6`.
pub(crate) fn loopback6(port: u16) -> [u8; 28] {
    let mut address = [0_u8; 28];
    address[..2].copy_from_slice(&10_u16.to_ne_bytes());
    address[2..4].copy_from_slice(&port.to_be_bytes());
    address[23] = 1;
    address
}

pub(crate) fn bind(socket: i32, address: &[u8]) -> io::Result<i64> {
    call!(SYS_bind, socket, address, address.len())
}

pub(crate) fn connect(socket: i32, address: &[u8]) -> io::Result<i64> {
    call!(SYS_connect, socket, address, address.len())
}

/// Maps memory: anonymous with a descriptor of -1.
pub(crate) fn map(
    address: usize,
    length: usize,
    protection: i32,
    flags: i32,
    descriptor: i32,
) -> io::Result<usize> {
    call!(SYS_mmap, address, length, protection, flags, descriptor, 0)
        .map(|address| usize::try_from(address).unwrap_or(0))
}

/// Sets a limit, soft and hard, of this process.
pub(crate) fn limit(resource: impl Into<Word>, value: u64) -> io::Result<i64> {
    call!(SYS_prlimit64, 0, resource.into().0, &[value, value], 0)
}

/// Sets the sets of this process: effective, permitted, inheritable.
pub(crate) fn capset(effective: u64, permitted: u64, inheritable: u64) -> io::Result<i64> {
    let low = |set: u64| (set & 0xffff_ffff) as u32;
    let high = |set: u64| (set >> 32) as u32;
    let data = [
        low(effective),
        low(permitted),
        low(inheritable),
        high(effective),
        high(permitted),
        high(inheritable),
    ];
    call!(SYS_capset, &[0x2008_0522_u32, 0], &data)
}

/// Effective, permitted and inheritable set of a process, 0 for this one.
pub(crate) fn capget(process: i32) -> io::Result<[u64; 3]> {
    let mut data = [0_u32; 6];
    call!(
        SYS_capget,
        &[0x2008_0522_u32, u32::try_from(process).unwrap_or(0)],
        &mut data
    )?;
    Ok([0, 1, 2].map(|index| u64::from(data[index]) | u64::from(data[index + 3]) << 32))
}

/// Text as the kernel wants it. A text with a zero byte is cut there.
pub(crate) fn text(text: &str) -> CString {
    let before_zero = text.split('\0').next().unwrap_or_default();
    CString::new(before_zero).unwrap_or_default()
}
