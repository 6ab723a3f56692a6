//! Netlink: one request, and what the kernel answers.

use std::io;

use super::{call, errno, read, set_int, socket};

pub(crate) const REQUEST: u16 = 1;
pub(crate) const ACK: u16 = 4;
pub(crate) const CREATE: u16 = 0x400;
pub(crate) const EXCLUSIVE: u16 = 0x200;
pub(crate) const DUMP: u16 = 0x300;

/// A netlink socket of this family, whose reads end after half a second.
pub(crate) fn open(family: i32) -> io::Result<i32> {
    let socket = socket(libc::AF_NETLINK, libc::SOCK_RAW, family)?;
    super::set_option(socket, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &timeout())?;
    set_int(socket, libc::SOL_NETLINK, 11, 1)?;
    Ok(socket)
}

fn timeout() -> [u8; 16] {
    let mut time = [0_u8; 16];
    time[8..].copy_from_slice(&500_000_u64.to_ne_bytes());
    time
}

/// One attribute: type, value, padding.
pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A message with its header.
pub(crate) fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 16).unwrap_or(u32::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((flags | REQUEST).to_ne_bytes());
    bytes.extend(1_u32.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Sends bytes to the kernel and returns its first answer, header included.
///
/// # Errors
///
/// Those of the calls, and the error of an `NLMSG_ERROR`.
pub(crate) fn exchange(socket: i32, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let kernel = [u32::from(libc::AF_NETLINK.unsigned_abs() as u16), 0, 0];
    call!(SYS_sendto, socket, bytes, bytes.len(), 0, &kernel, 12)?;
    let answer = read(socket, 65536)?;
    let kind = answer
        .get(4..6)
        .map(|kind| u16::from_ne_bytes([kind[0], kind[1]]));
    if kind == Some(2) {
        let code = answer
            .get(16..20)
            .and_then(|code| <[u8; 4]>::try_from(code).ok())
            .map_or(0, i32::from_ne_bytes);
        if code < 0 {
            return Err(errno(-code));
        }
    }
    Ok(answer)
}

/// One request on a socket of its own.
pub(crate) fn request(family: i32, kind: u16, flags: u16, payload: &[u8]) -> io::Result<Vec<u8>> {
    exchange(open(family)?, &message(kind, flags, payload))
}

/// The number of a family of generic netlink. It is looked up without any permission.
pub(crate) fn generic_family(socket: i32, name: &str) -> io::Result<u16> {
    let mut payload = vec![3, 1, 0, 0];
    let mut name = name.as_bytes().to_vec();
    name.push(0);
    payload.extend(attribute(2, &name));
    let answer = exchange(socket, &message(16, 0, &payload))?;
    let mut rest = answer.get(20..).unwrap_or_default();
    while let [length_low, length_high, kind_low, kind_high, low, high, ..] = *rest {
        if u16::from_ne_bytes([kind_low, kind_high]) == 1 {
            return Ok(u16::from_ne_bytes([low, high]));
        }
        let length = usize::from(u16::from_ne_bytes([length_low, length_high]))
            .next_multiple_of(4)
            .max(4);
        rest = rest.get(length..).unwrap_or_default();
    }
    Err(errno(libc::ENOENT))
}

/// One request to a family of generic netlink: command, version, attributes.
pub(crate) fn generic(
    name: &str,
    command: u8,
    version: u8,
    attributes: &[u8],
) -> io::Result<Vec<u8>> {
    let socket = open(16)?;
    let family = generic_family(socket, name)?;
    let mut payload = vec![command, version, 0, 0];
    payload.extend(attributes);
    exchange(socket, &message(family, ACK, &payload))
}
