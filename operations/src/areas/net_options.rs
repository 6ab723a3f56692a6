//! Socket options.

use std::io;

use capaudit_core::capability::Capability as C;

use super::net_sockets::up;
use crate::{
    operation::{Details, Operation, done, nothing, op, saw},
    sys::{self, bind, call, get_int, set_int, set_option, socket},
};

const INET: i32 = libc::AF_INET;
const INET6: i32 = libc::AF_INET6;
const SOCKET: i32 = libc::SOL_SOCKET;
const TCP: i32 = libc::IPPROTO_TCP;
const IPV6: i32 = libc::IPPROTO_IPV6;
const IP: i32 = 0;

/// Sets an option of a UDP socket.
fn udp(level: i32, name: i32, value: i32) -> io::Result<Details> {
    set_int(socket(INET, libc::SOCK_DGRAM, 0)?, level, name, value).and_then(|_| done())
}

fn udp6(name: i32, value: &[u8]) -> io::Result<Details> {
    set_option(socket(INET6, libc::SOCK_DGRAM, 0)?, IPV6, name, value).and_then(|_| done())
}

fn tcp(level: i32, name: i32, value: i32) -> io::Result<Details> {
    set_int(socket(INET, libc::SOCK_STREAM, 0)?, level, name, value).and_then(|_| done())
}

/// Sets the size of a buffer and tells what came of it.
fn buffer(name: i32, read: i32) -> io::Result<Details> {
    let socket = socket(INET, libc::SOCK_DGRAM, 0)?;
    set_int(socket, SOCKET, name, 1 << 26)?;
    saw("size", get_int(socket, SOCKET, read)?)
}

fn congestion(name: &[u8]) -> io::Result<Details> {
    set_option(
        socket(INET, libc::SOCK_STREAM, 0)?,
        TCP,
        libc::TCP_CONGESTION,
        name,
    )
    .and_then(|_| done())
}

/// iptables' question about a table.
fn table(family: i32, level: i32, name: i32, of: &[u8]) -> io::Result<Details> {
    let socket = socket(family, libc::SOCK_DGRAM, 0)?;
    let mut information = [0_u8; 84];
    information[..of.len()].copy_from_slice(of);
    call!(
        SYS_getsockopt,
        socket,
        level,
        name,
        &mut information,
        &mut [84_u32]
    )
    .and_then(|_| done())
}

pub(super) const OPERATIONS: &[Operation] = &[
    op("option-mark", &[C::NET_ADMIN, C::NET_RAW], nothing, |_| {
        udp(SOCKET, libc::SO_MARK, 7)
    })
    .net(),
    op(
        "option-mark-received",
        &[C::NET_ADMIN, C::NET_RAW],
        nothing,
        |_| udp(SOCKET, 75, 1),
    )
    .net(),
    op("option-priority-6", &[], nothing, |_| {
        udp(SOCKET, libc::SO_PRIORITY, 6)
    })
    .net(),
    op(
        "option-priority-7",
        &[C::NET_ADMIN, C::NET_RAW],
        nothing,
        |_| udp(SOCKET, libc::SO_PRIORITY, 7),
    )
    .net(),
    op(
        "option-send-buffer-forced",
        &[C::NET_ADMIN],
        nothing,
        |_| buffer(libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
    )
    .net(),
    op(
        "option-receive-buffer-forced",
        &[C::NET_ADMIN],
        nothing,
        |_| buffer(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
    )
    .net(),
    op("option-send-buffer", &[], nothing, |_| {
        buffer(libc::SO_SNDBUF, libc::SO_SNDBUF)
    })
    .net(),
    op("option-debug", &[C::NET_ADMIN], nothing, |_| {
        udp(SOCKET, libc::SO_DEBUG, 1)
    })
    .net(),
    op("option-debug-off", &[], nothing, |_| {
        udp(SOCKET, libc::SO_DEBUG, 0)
    })
    .net(),
    op("option-bind-to-device", &[], up, |_| {
        set_option(
            socket(INET, libc::SOCK_DGRAM, 0)?,
            SOCKET,
            libc::SO_BINDTODEVICE,
            b"lo",
        )
        .and_then(|_| done())
    })
    .net(),
    op("option-bind-to-device-again", &[C::NET_RAW], up, |_| {
        let socket = socket(INET, libc::SOCK_DGRAM, 0)?;
        set_option(socket, SOCKET, libc::SO_BINDTODEVICE, b"lo")?;
        set_option(socket, SOCKET, libc::SO_BINDTODEVICE, b"\0").and_then(|_| done())
    })
    .net(),
    op("option-busy-poll", &[C::NET_ADMIN], nothing, |_| {
        udp(SOCKET, 46, 50)
    })
    .net(),
    op(
        "option-busy-poll-preferred",
        &[C::NET_ADMIN],
        nothing,
        |_| udp(SOCKET, 69, 1),
    )
    .net(),
    op("option-busy-poll-budget", &[C::NET_ADMIN], nothing, |_| {
        udp(SOCKET, 70, 64)
    })
    .net(),
    op(
        "option-busy-poll-budget-small",
        &[C::NET_ADMIN],
        nothing,
        |_| udp(SOCKET, 70, 4),
    )
    .net(),
    op(
        "option-send-time-other-clock",
        &[C::NET_ADMIN],
        nothing,
        |_| {
            set_option(
                socket(INET, libc::SOCK_DGRAM, 0)?,
                SOCKET,
                61,
                &[11, 0, 0, 0, 0, 0, 0, 0],
            )
            .and_then(|_| done())
        },
    )
    .net(),
    op("option-send-time-monotonic", &[], nothing, |_| {
        set_option(
            socket(INET, libc::SOCK_DGRAM, 0)?,
            SOCKET,
            61,
            &[1, 0, 0, 0, 0, 0, 0, 0],
        )
        .and_then(|_| done())
    })
    .net(),
    op("option-pacing-rate", &[], nothing, |_| {
        tcp(SOCKET, 47, 1_000_000)
    })
    .net(),
    op("option-memory-reserved", &[], nothing, |_| {
        tcp(SOCKET, 73, 4096)
    })
    .net(),
    op(
        "option-transparent",
        &[C::NET_ADMIN, C::NET_RAW],
        nothing,
        |_| udp(IP, libc::IP_TRANSPARENT, 1),
    )
    .net(),
    op("option-freebind", &[], nothing, |_| {
        udp(IP, libc::IP_FREEBIND, 1)
    })
    .net(),
    op("option-type-of-service", &[], nothing, |_| {
        udp(IP, libc::IP_TOS, 0xe0)
    })
    .net(),
    op("option-xfrm-policy", &[C::NET_ADMIN], nothing, |_| {
        let result = set_option(socket(INET, libc::SOCK_DGRAM, 0)?, IP, 17, &[0; 168]);
        sys::granted_although(result, &[libc::EINVAL]).and_then(|_| done())
    })
    .net(),
    op("option-ip-options-security", &[C::NET_RAW], nothing, |_| {
        // Security (130), 11 bytes; others than NET_RAW may not set it: __ip_options_compile.
        let options = [130_u8, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        set_option(socket(INET, libc::SOCK_DGRAM, 0)?, IP, 4, &options).and_then(|_| done())
    })
    .net(),
    op("option-ip-options-record-route", &[], nothing, |_| {
        set_option(
            socket(INET, libc::SOCK_DGRAM, 0)?,
            IP,
            4,
            &[7, 7, 4, 0, 0, 0, 0, 0],
        )
        .and_then(|_| done())
    })
    .net(),
    op(
        "option-ip6-transparent",
        &[C::NET_ADMIN, C::NET_RAW],
        nothing,
        |_| udp6(75, &1_i32.to_ne_bytes()),
    )
    .net(),
    op("option-ip6-hop-by-hop", &[C::NET_RAW], nothing, |_| {
        udp6(54, &[0, 0, 1, 4, 0, 0, 0, 0])
    })
    .net(),
    op(
        "option-ip6-destination-options",
        &[C::NET_RAW],
        nothing,
        |_| udp6(59, &[0, 0, 1, 4, 0, 0, 0, 0]),
    )
    .net(),
    op("option-ip6-traffic-class", &[], nothing, |_| {
        udp6(67, &8_i32.to_ne_bytes())
    })
    .net(),
    op("option-multicast-join", &[], up, |_| {
        set_option(
            socket(INET, libc::SOCK_DGRAM, 0)?,
            IP,
            35,
            &[224, 0, 0, 99, 127, 0, 0, 1],
        )
        .and_then(|_| done())
    })
    .net(),
    op("option-multicast-router", &[C::NET_RAW], nothing, |_| {
        set_int(socket(INET, libc::SOCK_RAW, 2)?, IP, 200, 1).and_then(|_| done())
    })
    .net(),
    op(
        "option-iptables-information",
        &[C::NET_ADMIN],
        nothing,
        |_| table(INET, IP, 64, b"filter"),
    )
    .net(),
    op(
        "option-ip6tables-information",
        &[C::NET_ADMIN],
        nothing,
        |_| table(INET6, 41, 64, b"filter"),
    )
    .net(),
    op(
        "option-arptables-information",
        &[C::NET_ADMIN],
        nothing,
        |_| table(INET, IP, 96, b"filter"),
    )
    .net(),
    op(
        "option-ebtables-information",
        &[C::NET_ADMIN],
        nothing,
        |_| table(INET, IP, 128, b"filter"),
    )
    .net(),
    op(
        "option-iptables-replace-invalid",
        &[C::NET_ADMIN],
        nothing,
        |_| {
            let result = set_option(socket(INET, libc::SOCK_DGRAM, 0)?, IP, 64, &[0; 8]);
            sys::granted_although(result, &[libc::EINVAL]).and_then(|_| done())
        },
    )
    .net(),
    op("option-tcp-repair", &[C::NET_ADMIN], nothing, |_| {
        tcp(TCP, 19, 1)
    })
    .net(),
    op(
        "option-tcp-congestion-restricted",
        &[C::NET_ADMIN],
        |p| {
            let of = |kind: &str| {
                std::fs::read_to_string(format!("/proc/sys/net/ipv4/tcp_{kind}_congestion_control"))
            };
            let allowed = of("allowed")?;
            let is_restricted =
                |name: &&str| !allowed.split_whitespace().any(|allowed| allowed == *name);
            let available = of("available")?;
            let name = available.split_whitespace().find(is_restricted);
            std::fs::write(
                p.path("name"),
                name.ok_or_else(|| sys::errno(libc::ENOENT))?,
            )
        },
        |p| congestion(&std::fs::read(p.path("name"))?),
    )
    .net(),
    op("option-tcp-congestion-allowed", &[], nothing, |_| {
        congestion(b"reno")
    })
    .net(),
    op("option-tcp-md5", &[], nothing, |_| {
        let mut signature = [0_u8; 216];
        signature[..16].copy_from_slice(&sys::loopback(0));
        signature[130] = 3;
        set_option(socket(INET, libc::SOCK_STREAM, 0)?, TCP, 14, &signature).and_then(|_| done())
    })
    .net(),
    op("option-tcp-layer-tls", &[], up, |_| {
        let (listener, client) = (
            socket(INET, libc::SOCK_STREAM, 0)?,
            socket(INET, libc::SOCK_STREAM, 0)?,
        );
        bind(listener, &sys::loopback(5001))?;
        call!(SYS_listen, listener, 1)?;
        sys::connect(client, &sys::loopback(5001))?;
        set_option(client, TCP, 31, b"tls").and_then(|_| done())
    })
    .net(),
    op("option-tcp-fast-open", &[], nothing, |_| tcp(TCP, 23, 5)).net(),
    op("option-udp-encapsulation", &[], nothing, |_| {
        udp(17, 100, 2)
    })
    .net(),
    op("option-unix-pass-credentials", &[], nothing, |_| {
        set_int(
            socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0)?,
            SOCKET,
            libc::SO_PASSCRED,
            1,
        )
        .and_then(|_| done())
    }),
    op("option-packet-fanout", &[C::NET_RAW], nothing, |_| {
        let socket = socket(libc::AF_PACKET, libc::SOCK_RAW, 0x300)?;
        set_int(socket, 263, 18, 1).and_then(|_| done())
    })
    .net(),
    op("option-vsock-buffer", &[], nothing, |_| {
        set_option(
            socket(40, libc::SOCK_STREAM, 0)?,
            40,
            0,
            &65536_u64.to_ne_bytes(),
        )
        .and_then(|_| done())
    }),
    op("option-network-of-socket", &[C::NET_ADMIN], nothing, |_| {
        sys::ioctl(socket(INET, libc::SOCK_DGRAM, 0)?, 0x894c, 0).and_then(|_| done())
    })
    .net(),
];
