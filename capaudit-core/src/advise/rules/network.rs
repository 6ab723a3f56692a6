//! Checks about the network.

use super::Definition;
use crate::{
    advise::{AnyOf, Meaning, Rule},
    capability::Capability,
    ledger::Sample,
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

/// Socket diagnostics ask whether to show marks and congestion details too (`inet_diag_dump_icsk` and kin,
/// net/ipv4/inet_diag.c: `netlink_net_capable` into `net_admin`).
pub(super) const DIAGNOSTICS: Definition = Definition {
    rule: Rule::Diagnostics,
    apply: |fact| {
        let identity = &fact.check.identity;
        let diagnostics = identity.callers.iter().any(|caller| {
            [
                "inet_diag_",
                "udp_diag_",
                "tcp_diag_",
                "raw_diag_",
                "unix_diag_",
                "packet_diag_",
            ]
            .iter()
            .any(|prefix| caller.starts_with(prefix))
        });
        (identity.is(Capability::NET_ADMIN) && diagnostics)
            .then(|| Meaning::noise("only decides how much socket diagnostics tell"))
    },
};

/// Naming an interface that does not exist makes the kernel load a module if the caller could have done so
/// itself (`dev_load`, net/core/dev_ioctl.c).
pub(super) const DEVICE_MODULE: Definition = Definition {
    rule: Rule::DeviceModule,
    apply: |fact| {
        let identity = &fact.check.identity;
        ((identity.is(Capability::NET_ADMIN) || identity.is(Capability::SYS_MODULE))
            && identity.called_from(&["dev_load"]))
        .then(|| {
            Meaning::noise(
                "only decides whether the kernel tries to load a module for an unknown interface",
            )
        })
    },
};

/// Marks, transparent sockets and high priorities take NET_RAW or NET_ADMIN (`sk_setsockopt`,
/// net/core/sock.c; `do_ip_setsockopt`, net/ipv4/ip_sockglue.c).
pub(super) const MARK_AND_TRANSPARENT: Definition = Definition {
    rule: Rule::MarkAndTransparent,
    apply: |fact| {
        let identity = &fact.check.identity;
        let either = AnyOf::either(Capability::NET_RAW, Capability::NET_ADMIN);
        let such = sets_option(
            &fact.check.samples,
            &[
                (SOL_SOCKET, SO_MARK),
                (SOL_SOCKET, SO_PRIORITY),
                (IPPROTO_IP, IP_TRANSPARENT),
                (IPPROTO_IPV6, IPV6_TRANSPARENT),
            ],
        );
        (identity.by_syscall(&["setsockopt"]) && either.set().contains(identity.capability) && such)
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
            &fact.check.samples,
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
        let asked_before = fact
            .check
            .samples
            .iter()
            .all(|sample| match sample.arguments[2] {
                SO_SNDBUFFORCE => plainly(SO_SNDBUF),
                _ => plainly(SO_RCVBUF),
            });
        (identity.by_syscall(&["setsockopt"]) && identity.is(Capability::NET_ADMIN) && such).then(|| {
            if asked_before {
                return Meaning::tolerated(
                    "forces a socket buffer beyond the system's limit after it asked without force: it goes on with what it got",
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
            && sets_option(&fact.check.samples, &[(IPPROTO_TCP, TCP_CONGESTION)]))
        .then(|| {
            Meaning::possible(
                identity.capability,
                "chooses a TCP congestion control, which is free to everyone if the system allows that one",
            )
        })
    },
};

fn sets_option(samples: &[Sample], options: &[(u64, u64)]) -> bool {
    !samples.is_empty()
        && samples
            .iter()
            .all(|sample| options.contains(&(sample.arguments[1], sample.arguments[2])))
}
