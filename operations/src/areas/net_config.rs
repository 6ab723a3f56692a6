//! Configuration of the network: netlink and ioctls.

use std::io;

use capaudit_core::capability::Capability as C;

use super::net_sockets::up;
use crate::{
    operation::{Details, Operation, Place, done, nothing, op, saw},
    sys::{
        self,
        netlink::{self, ACK, CREATE, DUMP, EXCLUSIVE, attribute},
        socket,
    },
};

const ROUTE: i32 = 0;

fn route(kind: u16, flags: u16, payload: &[u8]) -> io::Result<Details> {
    netlink::request(ROUTE, kind, flags | ACK, payload).and_then(|_| done())
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// `ifinfomsg` of an interface by number.
fn interface(index: u32, flags: u32, change: u32) -> Vec<u8> {
    let mut header = vec![0_u8; 4];
    for word in [index, flags, change] {
        header.extend(word.to_ne_bytes());
    }
    header
}

/// A new interface of a kind.
fn create(kind: &[u8]) -> io::Result<Details> {
    let information = attribute(18, &attribute(1, kind));
    let payload = joined(&[&interface(0, 0, 0), &attribute(3, b"op0\0"), &information]);
    route(16, CREATE | EXCLUSIVE, &payload)
}

fn bridge(p: &Place) -> io::Result<()> {
    up(p)?;
    create(b"bridge").map(drop)
}

/// An ioctl with `ifreq`: name and what follows.
fn on_interface(request: u64, name: &[u8], rest: &[u8]) -> io::Result<Details> {
    let mut argument = [0_u8; 40];
    argument[..name.len()].copy_from_slice(name);
    argument[16..16 + rest.len()].copy_from_slice(rest);
    sys::ioctl(
        socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?,
        request,
        &mut argument,
    )
    .and_then(|_| done())
}

/// An ethtool command on the loopback, with a large enough structure.
fn ethtool(command: u32, value: u32) -> io::Result<Details> {
    let mut structure = [0_u32; 64];
    structure[0] = command;
    structure[1] = value;
    let address = structure.as_mut_ptr() as u64;
    on_interface(0x8946, b"lo", &address.to_ne_bytes())
}

/// nftables: a batch with one message.
fn nftables(kind: u16, flags: u16, payload: &[u8]) -> io::Result<Details> {
    let generic = [2_u8, 0, 0, 0];
    let batch = [0_u8, 0, 0, 10];
    let bytes = joined(&[
        &netlink::message(16, 0, &batch),
        &netlink::message(10 << 8 | kind, flags | ACK, &joined(&[&generic, payload])),
        &netlink::message(17, 0, &batch),
    ]);
    netlink::exchange(netlink::open(12)?, &bytes).and_then(|_| done())
}

/// `rtmsg`: IPv4, prefix of 32, main table, scope link, unicast.
const ROUTE_MESSAGE: [u8; 12] = [2, 32, 0, 0, 254, 3, 253, 1, 0, 0, 0, 0];
const ONE: [u8; 4] = [1, 0, 0, 0];

/// `tcmsg` on the loopback.
fn traffic(handle: u32, parent: u32) -> Vec<u8> {
    let mut header = vec![0_u8; 4];
    for word in [1, handle, parent, 0] {
        header.extend(word.to_ne_bytes());
    }
    header
}

pub(super) const OPERATIONS: &[Operation] = &[
    op("link-list", &[], nothing, |_| {
        netlink::request(ROUTE, 18, DUMP, &interface(0, 0, 0)).and_then(|_| done())
    })
    .net(),
    op("link-up", &[C::NET_ADMIN], nothing, |_| {
        route(16, 0, &interface(1, 1, 1))
    })
    .net(),
    op("link-create-bridge", &[C::NET_ADMIN], nothing, |_| {
        create(b"bridge")
    })
    .net(),
    op("link-create-veth", &[C::NET_ADMIN], nothing, |_| {
        create(b"veth")
    })
    .net(),
    op("link-create-dummy", &[C::NET_ADMIN], nothing, |_| {
        create(b"dummy")
    })
    .net(),
    op("link-create-vxlan-no-id", &[C::NET_ADMIN], nothing, |_| {
        create(b"vxlan").or_else(|error| {
            if error.raw_os_error() == Some(libc::EINVAL) {
                done()
            } else {
                Err(error)
            }
        })
    })
    .net(),
    op("link-delete", &[C::NET_ADMIN], bridge, |_| {
        route(
            17,
            0,
            &joined(&[&interface(0, 0, 0), &attribute(3, b"op0\0")]),
        )
    })
    .net(),
    op("link-mtu", &[C::NET_ADMIN], nothing, |_| {
        route(
            16,
            0,
            &joined(&[&interface(1, 0, 0), &attribute(4, &1400_u32.to_ne_bytes())]),
        )
    })
    .net(),
    op("address-add", &[C::NET_ADMIN], up, |_| {
        let header = [2_u8, 32, 0, 0, 1, 0, 0, 0];
        let address = attribute(2, &[10, 0, 0, 1]);
        route(20, CREATE | EXCLUSIVE, &joined(&[&header, &address]))
    })
    .net(),
    op("address-list", &[], up, |_| {
        netlink::request(ROUTE, 22, DUMP, &[0; 8]).and_then(|_| done())
    })
    .net(),
    op("route-add", &[C::NET_ADMIN], up, |_| {
        route(
            24,
            CREATE,
            &joined(&[
                &ROUTE_MESSAGE,
                &attribute(1, &[10, 0, 0, 9]),
                &attribute(4, &ONE),
            ]),
        )
    })
    .net(),
    op("route-get", &[], up, |_| {
        let header = [2_u8, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        netlink::request(
            ROUTE,
            26,
            0,
            &joined(&[&header, &attribute(1, &[127, 0, 0, 1])]),
        )
        .and_then(|_| done())
    })
    .net(),
    op("rule-add", &[C::NET_ADMIN], nothing, |_| {
        let header = [2_u8, 0, 0, 0, 100, 0, 0, 1, 0, 0, 0, 0];
        route(32, CREATE, &header)
    })
    .net(),
    op("neighbour-add", &[C::NET_ADMIN], bridge, |_| {
        let header = joined(&[&[2, 0, 0, 0], &ONE, &[0x80, 0, 0, 0]]);
        route(
            28,
            CREATE,
            &joined(&[
                &header,
                &attribute(1, &[127, 0, 0, 9]),
                &attribute(2, &[2, 0, 0, 0, 0, 9]),
            ]),
        )
    })
    .net(),
    op("namespace-id", &[C::NET_ADMIN], nothing, |_| {
        let process = std::process::id();
        route(
            88,
            0,
            &joined(&[
                &[0; 4],
                &attribute(2, &process.to_ne_bytes()),
                &attribute(1, &7_u32.to_ne_bytes()),
            ]),
        )
    })
    .net(),
    op("queueing-add", &[C::NET_ADMIN], up, |_| {
        route(
            36,
            CREATE,
            &joined(&[&traffic(0x10000, 0xffff_ffff), &attribute(1, b"pfifo\0")]),
        )
    })
    .net(),
    op("queueing-ingress", &[C::NET_ADMIN], up, |_| {
        route(
            36,
            CREATE,
            &joined(&[
                &traffic(0xffff_0000, 0xffff_fff1),
                &attribute(1, b"ingress\0"),
            ]),
        )
    })
    .net(),
    op("queueing-list", &[], up, |_| {
        netlink::request(ROUTE, 38, DUMP, &traffic(0, 0)).and_then(|_| done())
    })
    .net(),
    op("action-list", &[], nothing, |_| {
        let kind = attribute(1, &attribute(1, &attribute(1, b"mirred\0")));
        netlink::request(ROUTE, 50, DUMP, &joined(&[&[0; 4], &kind])).and_then(|_| done())
    })
    .net(),
    op("nftables-table-add", &[C::NET_ADMIN], nothing, |_| {
        nftables(0, CREATE, &attribute(1, b"t\0"))
    })
    .net(),
    op("nftables-generation", &[C::NET_ADMIN], nothing, |_| {
        netlink::request(12, 10 << 8 | 16, 0, &[2, 0, 0, 0]).and_then(|_| done())
    })
    .net(),
    op("conntrack-list", &[C::NET_ADMIN], nothing, |_| {
        netlink::request(12, 1 << 8 | 1, DUMP, &[2, 0, 0, 0]).and_then(|_| done())
    })
    .net(),
    op("log-group-bind", &[C::NET_ADMIN], nothing, |_| {
        netlink::request(
            12,
            4 << 8 | 1,
            ACK,
            &joined(&[&[2, 0, 0, 0], &attribute(1, &[1, 0])]),
        )
        .and_then(|_| done())
    })
    .net(),
    op("xfrm-policy-flush", &[C::NET_ADMIN], nothing, |_| {
        let result = netlink::request(6, 29, ACK, &[]).map(|_| 0);
        sys::granted_although(result, &[libc::ESRCH]).and_then(|_| done())
    })
    .net(),
    op("xfrm-state-list", &[C::NET_ADMIN], nothing, |_| {
        netlink::request(6, 18, DUMP, &[]).and_then(|_| done())
    })
    .net(),
    op("generic-controller", &[], nothing, |_| {
        netlink::generic_family(netlink::open(16)?, "nlctrl")
            .and_then(|number| saw("family", number))
    })
    .net(),
    op("generic-task-statistics", &[C::NET_ADMIN], nothing, |_| {
        netlink::generic(
            "TASKSTATS",
            1,
            1,
            &attribute(1, &std::process::id().to_ne_bytes()),
        )
        .and_then(|_| done())
    }),
    op("generic-mptcp-endpoint", &[C::NET_ADMIN], nothing, |_| {
        let address = joined(&[&attribute(1, &[2, 0]), &attribute(3, &[127, 0, 0, 1])]);
        netlink::generic("mptcp_pm", 1, 1, &attribute(1 | 0x8000, &address)).and_then(|_| done())
    })
    .net(),
    op(
        "generic-tcp-metrics-delete",
        &[C::NET_ADMIN],
        nothing,
        |_| {
            let result =
                netlink::generic("tcp_metrics", 2, 1, &attribute(1, &[127, 0, 0, 1])).map(|_| 0);
            sys::granted_although(result, &[libc::ESRCH]).and_then(|_| done())
        },
    )
    .net(),
    op("generic-ethtool-features-get", &[], nothing, |_| {
        let header = attribute(1 | 0x8000, &attribute(1, &ONE));
        netlink::generic("ethtool", 11, 1, &header).and_then(|_| done())
    })
    .net(),
    op("generic-ethtool-wake-get", &[C::NET_ADMIN], nothing, |_| {
        let header = attribute(1 | 0x8000, &attribute(1, &ONE));
        let result = netlink::generic("ethtool", 9, 1, &header).map(|_| 0);
        sys::granted_although(result, &[libc::EOPNOTSUPP]).and_then(|_| done())
    })
    .net(),
    op(
        "generic-ethtool-private-flags-set",
        &[C::NET_ADMIN],
        nothing,
        |_| {
            let header = attribute(1 | 0x8000, &attribute(1, &ONE));
            let result = netlink::generic("ethtool", 14, 1, &header).map(|_| 0);
            sys::granted_although(result, &[libc::EOPNOTSUPP, libc::EINVAL]).and_then(|_| done())
        },
    )
    .net(),
    op("connector-process-events", &[C::NET_ADMIN], nothing, |_| {
        // cn_msg: CN_IDX_PROC, CN_VAL_PROC, then PROC_CN_MCAST_IGNORE (2), which turns nothing on.
        let message: Vec<u8> = [1_u32, 1, 0, 0, 4, 2]
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect();
        let socket = netlink::open(11)?;
        let bytes = netlink::message(3, 0, &message);
        sys::write(socket, &bytes).and_then(|_| done())
    }),
    op("ioctl-interface-flags", &[C::NET_ADMIN], nothing, |_| {
        on_interface(0x8914, b"lo", &[1, 0])
    })
    .net(),
    op("ioctl-interface-flags-read", &[], nothing, |_| {
        on_interface(0x8913, b"lo", &[])
    })
    .net(),
    op("ioctl-interface-address", &[C::NET_ADMIN], nothing, |_| {
        on_interface(0x8916, b"lo", &sys::loopback(0))
    })
    .net(),
    op("ioctl-interface-mtu", &[C::NET_ADMIN], nothing, |_| {
        on_interface(0x8922, b"lo", &1400_u32.to_ne_bytes())
    })
    .net(),
    op(
        "ioctl-interface-rename-missing",
        &[C::NET_ADMIN],
        nothing,
        |_| {
            on_interface(0x8923, b"none", b"other").or_else(|error| {
                if error.raw_os_error() == Some(libc::ENODEV) {
                    done()
                } else {
                    Err(error)
                }
            })
        },
    )
    .net(),
    op("ioctl-bridge-create", &[C::NET_ADMIN], nothing, |_| {
        sys::ioctl(
            socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?,
            0x89a0,
            b"br7\0",
        )
        .and_then(|_| done())
    })
    .net(),
    op("ioctl-route-add", &[C::NET_ADMIN], up, |_| {
        // struct rtentry: pad, destination, gateway, mask, flags (up, host)... device at byte 88.
        let mut entry = [0_u8; 120];
        entry[8..24].copy_from_slice(&sys::loopback(0));
        entry[12..16].copy_from_slice(&[10, 0, 0, 9]);
        entry[40] = 2;
        entry[56] = 5;
        let device = c"lo";
        entry[88..96].copy_from_slice(&(device.as_ptr() as u64).to_ne_bytes());
        sys::ioctl(socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?, 0x890b, &entry).and_then(|_| done())
    })
    .net(),
    op("ioctl-neighbour-delete", &[C::NET_ADMIN], up, |_| {
        let mut entry = [0_u8; 68];
        entry[..16].copy_from_slice(&sys::loopback(0));
        entry[4..8].copy_from_slice(&[10, 0, 0, 9]);
        let result = sys::ioctl(socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?, 0x8953, &entry);
        sys::granted_although(result, &[libc::ENXIO, libc::ENETUNREACH, libc::ENOENT])
            .and_then(|_| done())
    })
    .net(),
    op("ioctl-ethtool-driver", &[], nothing, |_| ethtool(3, 0)).net(),
    op("ioctl-ethtool-offload", &[C::NET_ADMIN], nothing, |_| {
        ethtool(0x2c, 1)
    })
    .net(),
    op("ioctl-ethtool-wake", &[C::NET_ADMIN], nothing, |_| {
        ethtool(5, 0).or_else(|error| {
            if error.raw_os_error() == Some(libc::EOPNOTSUPP) {
                done()
            } else {
                Err(error)
            }
        })
    })
    .net(),
    op(
        "ioctl-hardware-time-stamps",
        &[C::NET_ADMIN],
        nothing,
        |_| {
            on_interface(0x89b0, b"lo", &[0; 8]).or_else(|error| {
                if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EFAULT)) {
                    done()
                } else {
                    Err(error)
                }
            })
        },
    )
    .net(),
    op(
        "flow-of-network-namespaces",
        &[C::NET_ADMIN],
        nothing,
        |_| {
            route(
                16,
                0,
                &joined(&[&interface(1, 0, 0), &attribute(3, b"same\0")]),
            )
        },
    )
    .net(),
];
