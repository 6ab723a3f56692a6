//! A process's own user, groups, sets and securebits.

use std::io;

use capaudit_core::capability::Capability as C;

use crate::{
    operation::{Details, Operation, done, nothing, op, saw},
    sys::{self, call, prctl},
};

const DROP: i32 = libc::PR_CAPBSET_DROP;
const AMBIENT: i32 = libc::PR_CAP_AMBIENT;
const RAISE: u64 = libc::PR_CAP_AMBIENT_RAISE as u64;
const NET_RAW: u64 = 1 << 13;

fn bits(bits: u64) -> io::Result<Details> {
    prctl(libc::PR_SET_SECUREBITS, [bits, 0, 0, 0]).and_then(|_| done())
}

fn own_sets() -> io::Result<Details> {
    let text = String::from_utf8_lossy(&sys::read_from(c"/proc/self/status")?).into_owned();
    Ok(text
        .lines()
        .filter_map(|line| line.split_once(":\t"))
        .filter(|(name, _)| name.starts_with("Cap"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

/// Sends `SCM_CREDENTIALS` with these: process, user, group.
fn claim(process: u32, user: u32, group: u32) -> io::Result<Details> {
    let mut pair = [0_i32; 2];
    call!(
        SYS_socketpair,
        libc::AF_UNIX,
        libc::SOCK_DGRAM,
        0,
        &mut pair
    )?;
    let control = [
        28_u64,
        u64::from(libc::SOL_SOCKET as u32) | 2 << 32,
        u64::from(process) | u64::from(user) << 32,
        group.into(),
    ];
    let byte = [0_u8; 1];
    let vector = [byte.as_ptr() as u64, 1];
    let message = [
        0,
        0,
        vector.as_ptr() as u64,
        1,
        control.as_ptr() as u64,
        32,
        0,
    ];
    call!(SYS_sendmsg, pair[0], &message, 0).and_then(|_| done())
}

pub(super) const OPERATIONS: &[Operation] = &[
    op("setuid-other", &[C::SETUID], nothing, |_| {
        call!(SYS_setuid, 1001).and_then(|_| done())
    }),
    op("setresuid-other", &[C::SETUID], nothing, |_| {
        call!(SYS_setresuid, 1001, 1001, 1001).and_then(|_| done())
    }),
    op("setreuid-effective", &[C::SETUID], nothing, |_| {
        call!(SYS_setreuid, u32::MAX, 1001).and_then(|_| done())
    }),
    op("setuid-same", &[], nothing, |_| {
        call!(SYS_setuid, call!(SYS_getuid)?).and_then(|_| done())
    }),
    op("setresuid-back-to-saved", &[C::SETUID], nothing, |_| {
        let own = call!(SYS_getuid)?;
        call!(SYS_setresuid, u32::MAX, 1001, own)?;
        call!(SYS_setresuid, u32::MAX, own, own).and_then(|_| done())
    }),
    op("setfsuid-other", &[C::SETUID], nothing, |_| {
        call!(SYS_setfsuid, 1001)?;
        saw("fsuid", call!(SYS_setfsuid, u32::MAX)?)
    }),
    op("setgid-other", &[C::SETGID], nothing, |_| {
        call!(SYS_setgid, 1001).and_then(|_| done())
    }),
    op("setresgid-other", &[C::SETGID], nothing, |_| {
        call!(SYS_setresgid, 1001, 1001, 1001).and_then(|_| done())
    }),
    op("setregid-effective", &[C::SETGID], nothing, |_| {
        call!(SYS_setregid, u32::MAX, 1001).and_then(|_| done())
    }),
    op("setfsgid-other", &[C::SETGID], nothing, |_| {
        call!(SYS_setfsgid, 1001)?;
        saw("fsgid", call!(SYS_setfsgid, u32::MAX)?)
    }),
    op("setgroups-none", &[C::SETGID], nothing, |_| {
        call!(SYS_setgroups, 0, 0).and_then(|_| done())
    }),
    op("setgroups-some", &[C::SETGID], nothing, |_| {
        call!(SYS_setgroups, 1, &[1001_u32]).and_then(|_| done())
    }),
    op("getgroups", &[], nothing, |_| {
        call!(SYS_getgroups, 0, 0).and_then(|count| saw("count", count))
    }),
    op("setuid-drops-capabilities", &[C::SETUID], nothing, |_| {
        call!(SYS_setresuid, 1001, 1001, 1001)?;
        saw("effective", sys::capget(0)?[0])
    })
    .looks_at_sets(),
    op("bounding-drop", &[C::SETPCAP], nothing, |_| {
        prctl(DROP, [13, 0, 0, 0]).and_then(|_| done())
    }),
    op("bounding-read", &[], nothing, |_| {
        prctl(libc::PR_CAPBSET_READ, [0, 0, 0, 0])
            .map(drop)
            .and_then(|()| done())
    }),
    op("bounding-read-net-raw", &[C::NET_RAW], nothing, |_| {
        prctl(libc::PR_CAPBSET_READ, [13, 0, 0, 0]).and_then(|held| saw("held", held))
    })
    .looks_at_sets(),
    op("securebits-no-root", &[C::SETPCAP], nothing, |_| bits(1)),
    op("securebits-no-setuid-fixup", &[C::SETPCAP], nothing, |_| {
        bits(4)
    }),
    op(
        "securebits-keep-capabilities",
        &[C::SETPCAP],
        nothing,
        |_| bits(0x10),
    ),
    op("securebits-no-ambient", &[C::SETPCAP], nothing, |_| {
        bits(0x40)
    }),
    op("securebits-exec-checks", &[], nothing, |_| bits(0x100)),
    op("keep-capabilities", &[], nothing, |_| {
        prctl(libc::PR_SET_KEEPCAPS, [1, 0, 0, 0]).and_then(|_| done())
    }),
    op("capset-same", &[], nothing, |_| {
        let [effective, permitted, inheritable] = sys::capget(0)?;
        sys::capset(effective, permitted, inheritable).and_then(|_| done())
    }),
    op("capset-drop-all", &[], nothing, |_| {
        sys::capset(0, 0, 0).and_then(|_| done())
    }),
    op("capset-net-raw-only", &[C::NET_RAW], nothing, |_| {
        sys::capset(NET_RAW, NET_RAW, 0).and_then(|_| done())
    }),
    op(
        "capset-fixed-list",
        &[
            C::CHOWN,
            C::DAC_OVERRIDE,
            C::FOWNER,
            C::FSETID,
            C::KILL,
            C::SETGID,
            C::SETUID,
            C::SETPCAP,
        ],
        nothing,
        |_| sys::capset(0x1fb, 0x1fb, 0).and_then(|_| done()),
    ),
    op("capset-inheritable-net-raw", &[C::NET_RAW], nothing, |_| {
        let [effective, permitted, _] = sys::capget(0)?;
        sys::capset(effective, permitted, NET_RAW).and_then(|_| done())
    }),
    op(
        "capset-inheritable-not-permitted",
        &[C::NET_RAW, C::SETPCAP],
        nothing,
        |_| {
            // Of the bounding set, but given up: cap_inh_is_capped (security/commoncap.c).
            let [effective, permitted, _] = sys::capget(0)?;
            sys::capset(effective & !NET_RAW, permitted & !NET_RAW, 0)?;
            sys::capset(effective & !NET_RAW, permitted & !NET_RAW, NET_RAW).and_then(|_| done())
        },
    ),
    op("ambient-raise-net-raw", &[C::NET_RAW], nothing, |_| {
        let [effective, permitted, inheritable] = sys::capget(0)?;
        sys::capset(effective, permitted, inheritable | permitted & NET_RAW)?;
        prctl(AMBIENT, [RAISE, 13, 0, 0]).and_then(|_| done())
    }),
    op("ambient-clear", &[], nothing, |_| {
        prctl(AMBIENT, [4, 0, 0, 0]).and_then(|_| done())
    }),
    op("read-own-sets-in-proc", &[], nothing, |_| own_sets()).looks_at_sets(),
    op("read-own-sets-by-capget", &[], nothing, |_| {
        let [effective, permitted, inheritable] = sys::capget(0)?;
        saw(
            "sets",
            format!("{effective:x} {permitted:x} {inheritable:x}"),
        )
    })
    .looks_at_sets(),
    op(
        "refuse-unless-net-admin-is-held",
        &[C::NET_ADMIN],
        nothing,
        |_| {
            // As programs do that inspect their own set and never ask the kernel.
            if sys::capget(0)?[1] >> 12 & 1 == 1 {
                done()
            } else {
                Err(sys::errno(libc::EPERM))
            }
        },
    )
    .looks_at_sets(),
    op(
        "capget-of-other",
        &[],
        |p| p.companion("c", || Ok(())),
        |p| sys::capget(p.noted("c")?).and_then(|_| done()),
    ),
    op("no-new-privs", &[], nothing, |_| {
        prctl(libc::PR_SET_NO_NEW_PRIVS, [1, 0, 0, 0]).and_then(|_| done())
    }),
    op("seccomp-filter", &[C::SYS_ADMIN], nothing, |_| {
        seccomp_allow()
    }),
    op("seccomp-filter-after-no-new-privs", &[], nothing, |_| {
        prctl(libc::PR_SET_NO_NEW_PRIVS, [1, 0, 0, 0])?;
        seccomp_allow()
    }),
    op("landlock-restrict-self", &[C::SYS_ADMIN], nothing, |_| {
        let rules = call!(SYS_landlock_create_ruleset, &[1_u64], 8, 0)?;
        call!(SYS_landlock_restrict_self, rules, 0).and_then(|_| done())
    }),
    op("credentials-message-own", &[], nothing, |_| {
        let user = call!(SYS_getuid)? as u32;
        claim(call!(SYS_getpid)? as u32, user, user)
    }),
    op(
        "credentials-message-other-user",
        &[C::SETUID],
        nothing,
        |_| claim(call!(SYS_getpid)? as u32, 1001, call!(SYS_getgid)? as u32),
    ),
    op(
        "credentials-message-other-group",
        &[C::SETGID],
        nothing,
        |_| claim(call!(SYS_getpid)? as u32, call!(SYS_getuid)? as u32, 1001),
    ),
    op(
        "credentials-message-other-process",
        &[C::SYS_ADMIN],
        nothing,
        |_| claim(1, call!(SYS_getuid)? as u32, call!(SYS_getgid)? as u32),
    ),
    op("dumpable", &[], nothing, |_| {
        prctl(libc::PR_SET_DUMPABLE, [0; 4]).and_then(|_| done())
    }),
];

/// A filter that allows everything.
fn seccomp_allow() -> io::Result<Details> {
    let instruction = [6_u64 | 0x7fff_0000 << 32];
    let program = [1_u64, instruction.as_ptr() as u64];
    call!(SYS_seccomp, 1, 0, &program).and_then(|_| done())
}
