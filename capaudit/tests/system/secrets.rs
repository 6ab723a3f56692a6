//! Nothing that a program sends to others is in any record.

use std::{
    io::{Error, Result},
    mem::{size_of, zeroed},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    process::Command,
};

use libtest_mimic::Trial;
use nix::libc;

use crate::audit::{CAPAUDIT, Verdicts, audit_payload, capability, ensure};

/// What the payload sends; short enough for the 64 bytes that are kept of a netlink message.
const SECRET: &str = "hunter2-is-secret";

pub(crate) fn trials() -> Vec<Trial> {
    vec![Trial::test(
        "secrets::nothing_that_is_sent_is_recorded",
        nothing_that_is_sent,
    )]
}

fn nothing_that_is_sent() -> Verdicts {
    let audited = audit_payload(&[], &["send-secret"])?;
    ensure(audited.output.status.success(), &audited.output)?;
    let subject = audited.command()?;
    // Each of the calls made its check, so that there was something to record.
    for wanted in ["NET_ADMIN", "SYS_ADMIN", "AUDIT_WRITE"] {
        capability(subject, wanted)?;
    }
    let session = tempfile::NamedTempFile::new()?;
    serde_json::to_writer(session.as_file(), &audited.ledger)?;
    let path = session.path().to_string_lossy().into_owned();
    let json = std::fs::read_to_string(&path)?;
    for places in [
        &["report"][..],
        &["report", "--format", "json"],
        &["export", "markdown"],
        &["export", "systemd"],
        &["export", "setcap"],
    ] {
        let mut words = vec![places[0]];
        words.extend(&places[1..]);
        words.push(&path);
        let output = Command::new(CAPAUDIT).args(&words).output()?;
        ensure(output.status.success(), (&words, &output))?;
        for text in [&output.stdout, &output.stderr] {
            ensure(
                !String::from_utf8_lossy(text).contains(SECRET),
                format!("{words:?} tells what was sent"),
            )?;
        }
    }
    ensure(!json.contains(SECRET), "the session holds what was sent")?;
    // Bytes are saved as numbers, too.
    let numbers: Vec<String> = SECRET.bytes().map(|byte| byte.to_string()).collect();
    let packed: String = json.split_whitespace().collect();
    ensure(
        !packed.contains(&numbers.join(",")),
        "the session holds what was sent",
    )
}

/// Sends it in every way that is looked at closer, each time with a check: over UDP with a mark, over a socket pair with somebody
/// else's pid, as a name of an interface, and as an audit message.
pub(crate) fn send() -> Result<bool> {
    let udp = socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    // SAFETY: all zeroes is a valid address.
    let mut address: libc::sockaddr_in = unsafe { zeroed() };
    address.sin_family = libc::AF_INET as u16;
    address.sin_port = 9_u16.to_be();
    address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
    let marked = message(&udp, Some(address), libc::SOL_SOCKET, libc::SO_MARK, 7_u32)?;

    let mut pair = [0; 2];
    // SAFETY: room for both.
    check(unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_DGRAM, 0, pair.as_mut_ptr()) })?;
    // SAFETY: new, and nobody else's.
    let pair = pair.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    let credentials = libc::ucred {
        pid: 1,
        uid: 0,
        gid: 0,
    };
    let forged = message(
        &pair[0],
        None,
        libc::SOL_SOCKET,
        libc::SCM_CREDENTIALS,
        credentials,
    )?;

    // struct nlmsghdr, struct ifinfomsg, and IFLA_IFNAME: refused, as there is no such interface to name.
    let mut name = vec![0; 16];
    name[4..8].copy_from_slice(&i32::MAX.to_ne_bytes());
    name.extend((4 + SECRET.len() as u16 + 1).to_ne_bytes());
    name.extend(3_u16.to_ne_bytes());
    name.extend(SECRET.bytes().chain([0]));
    let named = netlink(libc::NETLINK_ROUTE, libc::RTM_NEWLINK, &name)?;
    // AUDIT_USER, include/uapi/linux/audit.h
    let audited = netlink(libc::NETLINK_AUDIT, 1005, SECRET.as_bytes());
    Ok(marked && forged && named && audited.is_ok())
}

fn netlink(protocol: i32, kind: u16, body: &[u8]) -> Result<bool> {
    let socket = socket(libc::AF_NETLINK, libc::SOCK_RAW, protocol)?;
    let mut bytes = Vec::new();
    bytes.extend((16 + body.len() as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((libc::NLM_F_REQUEST as u16).to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(body);
    // SAFETY: the buffer is as long as that.
    let sent = unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
    Ok(sent == bytes.len() as isize)
}

/// Sends the secret with one control message.
fn message<T>(
    socket: &OwnedFd,
    mut to: Option<libc::sockaddr_in>,
    level: i32,
    kind: i32,
    data: T,
) -> Result<bool> {
    let mut part = libc::iovec {
        iov_base: SECRET.as_ptr().cast_mut().cast(),
        iov_len: SECRET.len(),
    };
    let mut control = [0_u64; 8];
    // SAFETY: pointers to what lives until the call is over, with the lengths that belong to them.
    unsafe {
        let mut header: libc::msghdr = zeroed();
        if let Some(to) = &mut to {
            header.msg_name = std::ptr::from_mut(to).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
        }
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = libc::CMSG_SPACE(size_of::<T>() as u32) as usize;
        let first = libc::CMSG_FIRSTHDR(&raw const header);
        (*first).cmsg_level = level;
        (*first).cmsg_type = kind;
        (*first).cmsg_len = libc::CMSG_LEN(size_of::<T>() as u32) as usize;
        libc::CMSG_DATA(first).cast::<T>().write_unaligned(data);
        Ok(libc::sendmsg(socket.as_raw_fd(), &raw const header, 0) == SECRET.len() as isize)
    }
}

fn socket(family: i32, kind: i32, protocol: i32) -> Result<OwnedFd> {
    // SAFETY: no pointers; the descriptor is new.
    unsafe {
        let fd = libc::socket(family, kind, protocol);
        check(fd)?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

fn check(status: i32) -> Result<()> {
    if status < 0 {
        return Err(Error::last_os_error());
    }
    Ok(())
}
