//! Checks about the network.

use super::{Definition, site};
use crate::{
    advise::{AnyOf, Meaning, Rule},
    capability::{Capability, Release},
    ledger::Samples,
};

const SOL_SOCKET: u64 = 1;
const SO_SNDBUF: u64 = 7;
const SO_RCVBUF: u64 = 8;
const SO_SNDBUFFORCE: u64 = 32;
const SO_RCVBUFFORCE: u64 = 33;
const SO_MARK: u64 = 36;
const SO_PRIORITY: u64 = 12;
const IPPROTO_IP: u64 = 0;
const IP_TRANSPARENT: u64 = 19;
const IPPROTO_IPV6: u64 = 41;
const IPV6_TRANSPARENT: u64 = 75;
const IPPROTO_TCP: u64 = 6;
const TCP_CONGESTION: u64 = 13;

/// Asking about an interface that does not exist makes the kernel load a module if the caller could have done so itself
/// (`dev_load`, which may be part of `dev_ioctl`, net/core/dev_ioctl.c). What changes an interface asks, too, and fails.
pub(super) const DEVICE_MODULE: Definition = Definition {
    rule: Rule::DeviceModule,
    apply: |fact| {
        /// SIOCGIFNAME, CONF, FLAGS, METRIC, MEM, MTU, HWADDR, SLAVE, INDEX, TXQLEN, MAP.
        const ASKING: [u64; 11] = [
            0x8910, 0x8912, 0x8913, 0x891d, 0x891f, 0x8921, 0x8927, 0x8929, 0x8933, 0x8942, 0x8970,
        ];
        (fact.check.identity.is(Capability::NET_ADMIN)
            && fact.check.identity.by_syscall(&["ioctl"])
            && site::is_asked_by(fact, &["dev_load"])
            && fact
                .check
                .samples()
                .every_argument(1, |request| ASKING.contains(&request)))
        .then(|| {
            Meaning::noise(
                "only decides whether the kernel tries to load a module for an unknown interface",
            )
        })
    },
};

/// Transparent sockets take NET_RAW or NET_ADMIN, asked in this order (`do_ip_setsockopt`, net/ipv4/ip_sockglue.c); marks
/// and high priorities do since 5.17, and took NET_ADMIN alone before (`sk_setsockopt`, net/core/sock.c).
pub(super) const MARK_AND_TRANSPARENT: Definition = Definition {
    rule: Rule::MarkAndTransparent,
    apply: |fact| {
        let identity = &fact.check.identity;
        let either = AnyOf::either(Capability::NET_RAW, Capability::NET_ADMIN);
        let samples = fact.check.samples();
        let transparent = [
            (IPPROTO_IP, IP_TRANSPARENT),
            (IPPROTO_IPV6, IPV6_TRANSPARENT),
        ];
        let marks = [(SOL_SOCKET, SO_MARK), (SOL_SOCKET, SO_PRIORITY)];
        let by_either = sets_option(samples, &transparent)
            || sets_option(samples, &marks)
                && (site::release(fact).is_none_or(|release| release >= Release(5, 17))
                    || site::was_refused(fact, Capability::NET_RAW));
        (identity.by_syscall(&["setsockopt"])
            && either.set().contains(identity.capability)
            && by_either)
            .then(|| {
                Meaning::decisive(
                    either,
                    "sets a socket option that takes NET_RAW or NET_ADMIN",
                )
            })
    },
};

/// Buffers beyond the limit by force. A program that asks without force first (`fd_set_sndbuf`, src/basic/socket-util.c of
/// systemd 252) goes on with what it got; others usually ask without force when refused.
pub(super) const FORCED_BUFFER: Definition = Definition {
    rule: Rule::ForcedBuffer,
    apply: |fact| {
        let identity = &fact.check.identity;
        let such = sets_option(
            fact.check.samples(),
            &[(SOL_SOCKET, SO_SNDBUFFORCE), (SOL_SOCKET, SO_RCVBUFFORCE)],
        );
        let plainly = |option: u64| {
            fact.subject.calls.iter().any(|call| {
                call.syscall == "setsockopt"
                    && call.requester.exe == identity.requester.exe
                    && !call.failed
                    && call.arguments[1..3] == [SOL_SOCKET, option]
            })
        };
        // Each in its own direction.
        let asked_before = fact.check.samples().every_argument(2, |option| {
            plainly(match option {
                SO_SNDBUFFORCE => SO_SNDBUF,
                _ => SO_RCVBUF,
            })
        });
        (identity.by_syscall(&["setsockopt"]) && identity.is(Capability::NET_ADMIN) && such).then(|| {
            if asked_before {
                return Meaning::tolerated(
                    "a socket buffer beyond the system's limit, after it asked without force: it goes on with what it got, unless it insists",
                );
            }
            Meaning::possible(
                identity.capability,
                "forces a socket buffer beyond the system's limit, which programs usually do without when refused",
            )
        })
    },
};

/// Choosing a congestion control asks first and needs the answer only for one that is not in
/// net.ipv4.tcp_allowed_congestion_control (`tcp_set_congestion_control`, net/ipv4/tcp_cong.c).
pub(super) const CONGESTION: Definition = Definition {
    rule: Rule::Congestion,
    apply: |fact| {
        let identity = &fact.check.identity;
        (identity.by_syscall(&["setsockopt"])
            && identity.is(Capability::NET_ADMIN)
            && sets_option(fact.check.samples(), &[(IPPROTO_TCP, TCP_CONGESTION)]))
        .then(|| {
            Meaning::possible(
                identity.capability,
                "chooses a TCP congestion control, which is free to everyone if the system allows that one",
            )
        })
    },
};

/// Whether every check is of one of these options, each with its level: both make a record what it is.
fn sets_option(samples: Samples<'_>, options: &[(u64, u64)]) -> bool {
    options.iter().any(|(level, name)| {
        samples.every_argument(1, |argument| argument == *level)
            && samples.every_argument(2, |argument| argument == *name)
    })
}
