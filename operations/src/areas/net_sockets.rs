//! Sockets: families, types, ports, and what is sent through them.

use std::io;

use capaudit_core::capability::Capability as C;

use super::other_processes::become_user;
use crate::{
    operation::{Details, Operation, Place, done, nothing, op, saw},
    sys::{self, bind, call, netlink, set_int, socket},
};

const INET: i32 = libc::AF_INET;
const INET6: i32 = libc::AF_INET6;
const STREAM: i32 = libc::SOCK_STREAM;
const DGRAM: i32 = libc::SOCK_DGRAM;
const RAW: i32 = libc::SOCK_RAW;

fn open(family: i32, kind: i32, protocol: i32) -> io::Result<Details> {
    socket(family, kind, protocol).and_then(|_| done())
}

fn port(kind: i32, number: u16) -> io::Result<Details> {
    bind(socket(INET, kind, 0)?, &sys::loopback(number)).and_then(|_| done())
}

/// The loopback goes up: SIOCSIFFLAGS.
pub(super) fn up(_: &Place) -> io::Result<()> {
    let mut request = [0_u8; 40];
    request[..2].copy_from_slice(b"lo");
    request[16] = 1;
    sys::ioctl(socket(INET, DGRAM, 0)?, 0x8914, &mut request).map(drop)
}

/// A connection on the loopback, of user 1001's, between ports 5001 and 5002; with a mark.
fn connection(p: &Place) -> io::Result<()> {
    up(p)?;
    p.companion("c", || {
        let (listener, client) = (socket(INET, STREAM, 0)?, socket(INET, STREAM, 0)?);
        set_int(client, libc::SOL_SOCKET, libc::SO_MARK, 7)?;
        bind(listener, &sys::loopback(5001))?;
        call!(SYS_listen, listener, 1)?;
        bind(client, &sys::loopback(5002))?;
        sys::connect(client, &sys::loopback(5001))?;
        become_user(1001)
    })
}

/// `inet_diag_req_v2` for the connection's client.
fn diag(extensions: u8) -> Vec<u8> {
    let mut request = vec![
        INET as u8,
        libc::IPPROTO_TCP as u8,
        extensions,
        0,
        0xff,
        0xff,
        0xff,
        0xff,
    ];
    request.extend(5002_u16.to_be_bytes());
    request.extend(5001_u16.to_be_bytes());
    for _ in 0..2 {
        request.extend([127, 0, 0, 1]);
        request.extend([0; 12]);
    }
    request.extend([0; 4]);
    request.extend([0xff; 8]);
    request
}

const SOCK_DIAG: i32 = 4;

/// Sends on a socket with one control message, to port 9 of the loopback.
fn send_with(socket: i32, level: i32, kind: i32, value: u64, length: u64) -> io::Result<Details> {
    let control = [
        16 + length,
        u64::from(level as u32) | u64::from(kind as u32) << 32,
        value,
    ];
    let (byte, target) = ([0_u8; 1], sys::loopback(9));
    let vector = [byte.as_ptr() as u64, 1];
    let message = [
        target.as_ptr() as u64,
        16,
        vector.as_ptr() as u64,
        1,
        control.as_ptr() as u64,
        24,
        0,
    ];
    call!(SYS_sendmsg, socket, &message, 0).and_then(|_| done())
}

pub(super) const OPERATIONS: &[Operation] = &[
    op("bind-low-port-tcp", &[C::NET_BIND_SERVICE], nothing, |_| {
        port(STREAM, 80)
    })
    .net(),
    op("bind-low-port-udp", &[C::NET_BIND_SERVICE], nothing, |_| {
        port(DGRAM, 53)
    })
    .net(),
    op("bind-low-port-tcp6", &[C::NET_BIND_SERVICE], up, |_| {
        bind(socket(INET6, STREAM, 0)?, &sys::loopback6(443)).and_then(|_| done())
    })
    .net(),
    op(
        "bind-low-port-sctp",
        &[C::NET_BIND_SERVICE],
        nothing,
        |_| bind(socket(INET, STREAM, 132)?, &sys::loopback(80)).and_then(|_| done()),
    )
    .net(),
    op(
        "bind-low-port-mptcp",
        &[C::NET_BIND_SERVICE],
        nothing,
        |_| bind(socket(INET, STREAM, 262)?, &sys::loopback(80)).and_then(|_| done()),
    )
    .net(),
    op("bind-high-port", &[], nothing, |_| port(STREAM, 8080)).net(),
    op(
        "bind-low-port-opened",
        &[],
        |_| std::fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"),
        |_| port(STREAM, 80),
    )
    .net(),
    op(
        "bind-low-port-vsock",
        &[C::NET_BIND_SERVICE],
        nothing,
        |_| {
            let address = [40_u32, 800, u32::MAX, 0];
            call!(SYS_bind, socket(40, STREAM, 0)?, &address, 16).and_then(|_| done())
        },
    ),
    op("socket-raw-icmp", &[C::NET_RAW], nothing, |_| {
        open(INET, RAW, 1)
    })
    .net(),
    op("socket-raw-icmp6", &[C::NET_RAW], nothing, |_| {
        open(INET6, RAW, 58)
    })
    .net(),
    op("socket-raw-ip", &[C::NET_RAW], nothing, |_| {
        open(INET, RAW, 255)
    })
    .net(),
    op("socket-packet", &[C::NET_RAW], nothing, |_| {
        open(libc::AF_PACKET, RAW, 0x300)
    })
    .net(),
    op("socket-packet-cooked", &[C::NET_RAW], nothing, |_| {
        open(libc::AF_PACKET, DGRAM, 0)
    })
    .net(),
    op("socket-xdp", &[C::NET_RAW], nothing, |_| open(44, RAW, 0)).net(),
    op("socket-key", &[C::NET_ADMIN], nothing, |_| open(15, RAW, 2)).net(),
    op("socket-ping-closed", &[], nothing, |_| {
        // Nobody's group is in the range, and no capability helps.
        saw("refused", socket(INET, DGRAM, 1).is_err())
    })
    .net(),
    op(
        "socket-ping-opened",
        &[],
        |_| std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647"),
        |_| open(INET, DGRAM, 1),
    )
    .net(),
    op("socket-vsock", &[], nothing, |_| open(40, STREAM, 0)),
    op("socket-unix", &[], nothing, |_| {
        open(libc::AF_UNIX, STREAM, 0)
    }),
    op("socket-sctp", &[], nothing, |_| open(INET, STREAM, 132)).net(),
    op("socket-mptcp", &[], nothing, |_| open(INET, STREAM, 262)).net(),
    op("socket-smc", &[], nothing, |_| open(43, STREAM, 0)).net(),
    op("socket-crypto", &[], nothing, |_| open(38, 5, 0)),
    op("socket-bluetooth-raw", &[C::NET_RAW], nothing, |_| {
        open(31, RAW, 1)
    }),
    op("socket-can-raw", &[C::NET_RAW], nothing, |_| {
        open(29, RAW, 1)
    }),
    op(
        "socket-unknown-name-of-module",
        &[C::SYS_MODULE],
        nothing,
        |_| {
            // dev_load would load a module by the interface's name; there is none, and nothing says so.
            let mut request = [0_u8; 40];
            request[..4].copy_from_slice(b"noif");
            let result = sys::ioctl(socket(INET, DGRAM, 0)?, 0x8913, &mut request);
            saw(
                "error",
                result
                    .err()
                    .and_then(|error| error.raw_os_error())
                    .unwrap_or(0),
            )
        },
    )
    .net(),
    op("send-zero-copy", &[], up, |_| {
        let socket = socket(INET, DGRAM, 0)?;
        set_int(socket, libc::SOL_SOCKET, 60, 1)?;
        let target = sys::loopback(9);
        call!(SYS_sendto, socket, &[0_u8; 64], 64, 0x400_0000, &target, 16).and_then(|_| done())
    })
    .net(),
    op(
        "send-zero-copy-no-locked-memory",
        &[C::IPC_LOCK],
        |p| {
            up(p)?;
            sys::limit(libc::RLIMIT_MEMLOCK, 0).map(drop)
        },
        |_| {
            let socket = socket(INET, DGRAM, 0)?;
            set_int(socket, libc::SOL_SOCKET, 60, 1)?;
            let target = sys::loopback(9);
            call!(SYS_sendto, socket, &[0_u8; 64], 64, 0x400_0000, &target, 16).and_then(|_| done())
        },
    )
    .net(),
    op("send-with-mark", &[C::NET_ADMIN, C::NET_RAW], up, |_| {
        send_with(
            socket(INET, DGRAM, 0)?,
            libc::SOL_SOCKET,
            libc::SO_MARK,
            7,
            4,
        )
    })
    .net(),
    op(
        "send-with-priority",
        &[C::NET_ADMIN, C::NET_RAW],
        up,
        |_| {
            send_with(
                socket(INET, DGRAM, 0)?,
                libc::SOL_SOCKET,
                libc::SO_PRIORITY,
                7,
                4,
            )
        },
    )
    .net(),
    op("send-with-ttl", &[], up, |_| {
        send_with(socket(INET, DGRAM, 0)?, 0, libc::IP_TTL, 7, 4)
    })
    .net(),
    op("send-broadcast", &[], up, |_| {
        let socket = socket(INET, DGRAM, 0)?;
        set_int(socket, libc::SOL_SOCKET, libc::SO_BROADCAST, 1)?;
        let mut target = sys::loopback(9);
        target[4..8].copy_from_slice(&[127, 255, 255, 255]);
        call!(SYS_sendto, socket, &[0_u8; 8], 8, 0, &target, 16).and_then(|_| done())
    })
    .net(),
    op("diag-connection", &[], connection, |_| {
        netlink::request(SOCK_DIAG, 20, 0, &diag(0)).and_then(|_| done())
    })
    .net(),
    op("diag-connection-mark", &[C::NET_ADMIN], connection, |_| {
        // INET_DIAG_MARK (15) is in the answer only for those with NET_ADMIN: inet_diag_msg_attrs_fill.
        let answer = netlink::request(SOCK_DIAG, 20, 0, &diag(0))?;
        saw(
            "mark",
            has_attribute(answer.get(88..).unwrap_or_default(), 15),
        )
    })
    .net(),
    op("diag-kill-connection", &[C::NET_ADMIN], connection, |_| {
        netlink::request(SOCK_DIAG, 21, netlink::ACK, &diag(0)).and_then(|_| done())
    })
    .net(),
    op("diag-unix-dump", &[], nothing, |_| {
        let mut request = [0_u8; 24];
        request[0] = 1;
        request[4..8].fill(0xff);
        netlink::request(SOCK_DIAG, 20, netlink::DUMP, &request).and_then(|_| done())
    })
    .net(),
    op(
        "diag-packet-filters",
        &[C::NET_ADMIN],
        |p| p.companion("c", || socket(libc::AF_PACKET, RAW, 0x300).map(drop)),
        |_| {
            // PACKET_SHOW_FILTER (1 << 5): the attribute is filled only for NET_ADMIN (packet_diag_handler_dump).
            let request = [
                17_u8, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                0xff, 0xff,
            ];
            let answer = netlink::request(SOCK_DIAG, 20, netlink::DUMP, &request)?;
            saw("length", answer.len())
        },
    )
    .net(),
    op("proc-net-tcp", &[], connection, |_| {
        sys::read_from(c"/proc/net/tcp").and_then(|_| done())
    })
    .net(),
    op(
        "netlink-all-namespaces",
        &[C::NET_BROADCAST],
        nothing,
        |_| set_int(netlink::open(0)?, libc::SOL_NETLINK, 8, 1).and_then(|_| done()),
    )
    .net(),
    op("netlink-listen-links", &[], nothing, |_| {
        call!(SYS_bind, netlink::open(0)?, &[16_u32, 0, 1], 12).and_then(|_| done())
    })
    .net(),
    op("netlink-listen-nftables", &[C::NET_ADMIN], nothing, |_| {
        call!(SYS_bind, netlink::open(12)?, &[16_u32, 0, 1 << 6], 12).and_then(|_| done())
    })
    .net(),
    op("netlink-listen-xfrm", &[C::NET_ADMIN], nothing, |_| {
        call!(SYS_bind, netlink::open(6)?, &[16_u32, 0, 1], 12).and_then(|_| done())
    })
    .net(),
    op("netlink-listen-connector", &[C::NET_ADMIN], nothing, |_| {
        call!(SYS_bind, netlink::open(11)?, &[16_u32, 0, 1], 12).and_then(|_| done())
    }),
    op("netlink-listen-device-events", &[], nothing, |_| {
        call!(SYS_bind, netlink::open(15)?, &[16_u32, 0, 1], 12).and_then(|_| done())
    })
    .net(),
    op(
        "netlink-send-device-event",
        &[C::SYS_ADMIN],
        nothing,
        |_| {
            // uevent_net_rcv_skb (lib/kobject_uevent.c) passes it on to listeners in this namespace, of which there are none.
            let text = b"add@/nowhere\0ACTION=add\0DEVPATH=/nowhere\0SUBSYSTEM=none\0";
            let result = netlink::request(15, 16, netlink::ACK, text).map(|_| 0);
            sys::granted_although(result, &[libc::ESRCH]).and_then(|_| done())
        },
    )
    .net(),
    op("netlink-send-group-user", &[], nothing, |_| {
        let socket = netlink::open(2)?;
        let result = call!(SYS_sendto, socket, &[0_u8; 16], 16, 0, &[16_u32, 0, 1], 12);
        sys::granted_although(result, &[libc::ECONNREFUSED]).and_then(|_| done())
    })
    .net(),
];

/// Whether attributes contain one of this type.
fn has_attribute(mut bytes: &[u8], wanted: u16) -> bool {
    while let [length_low, length_high, kind_low, kind_high, ..] = *bytes {
        if u16::from_ne_bytes([kind_low, kind_high]) == wanted {
            return true;
        }
        let length = usize::from(u16::from_ne_bytes([length_low, length_high]))
            .next_multiple_of(4)
            .max(4);
        bytes = bytes.get(length..).unwrap_or_default();
    }
    false
}
