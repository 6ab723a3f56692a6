//! Priorities, policies, affinity, limits, clocks and timers.

use std::io;

use capaudit_core::capability::Capability as C;

use super::other_processes::{foreign, meek, mighty};
use crate::{
    operation::{Details, Operation, Place, done, nothing, op, saw},
    sys::{self, call, granted_although},
};

fn nice(who: i32, value: i32) -> io::Result<Details> {
    call!(SYS_setpriority, 0, who, value)?;
    // getpriority gives 20 - nice.
    saw("nice", 20 - call!(SYS_getpriority, 0, who)?)
}

fn policy(who: i32, policy: i32, priority: i32) -> io::Result<Details> {
    call!(SYS_sched_setscheduler, who, policy, &[priority]).and_then(|_| done())
}

/// `sched_attr` with policy, flags, nice and the three times of a deadline.
fn attributes(
    who: i32,
    policy: u32,
    flags: u64,
    nice: i32,
    times: [u64; 3],
) -> io::Result<Details> {
    let first = 48 | u64::from(policy) << 32;
    let attributes = [
        first,
        flags,
        u64::from(nice as u32),
        times[0],
        times[1],
        times[2],
    ];
    call!(SYS_sched_setattr, who, &attributes, 0).and_then(|_| done())
}

fn io_priority(who: i32, class: i32, level: i32) -> io::Result<Details> {
    call!(SYS_ioprio_set, 1, who, class << 13 | level).and_then(|_| done())
}

fn affinity(p: &Place) -> io::Result<Details> {
    call!(SYS_sched_setaffinity, p.noted("c")?, 8, &[u64::MAX]).and_then(|_| done())
}

fn raise(resource: impl Into<sys::Word> + Copy, from: u64, to: u64) -> io::Result<Details> {
    sys::limit(resource, from)?;
    sys::limit(resource, to).and_then(|_| done())
}

/// `EPOLLWAKEUP`
const WAKE_UP: u32 = 1 << 29;

/// Asks epoll for input with a wake-up, and reads back what it made of that.
fn epoll_events() -> io::Result<u32> {
    let [end, _] = sys::fork::pipe()?;
    let poller = call!(SYS_epoll_create1, 0)?;
    // struct epoll_event is packed: events, then data.
    call!(SYS_epoll_ctl, poller, 1, end, &[1 | WAKE_UP, 0, 0])?;
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{poller}"))?;
    let mut words = text
        .split_whitespace()
        .skip_while(|word| *word != "events:");
    let events = words
        .nth(1)
        .and_then(|word| u32::from_str_radix(word, 16).ok());
    events.ok_or_else(|| sys::errno(libc::EPROTO))
}

const REALTIME_ALARM: i32 = 8;
const BOOT_ALARM: i32 = 9;

pub(super) const OPERATIONS: &[Operation] = &[
    op("nice-own-higher", &[], nothing, |_| nice(0, 5)),
    op("nice-own-lower", &[C::SYS_NICE], nothing, |_| nice(0, -5)),
    op("nice-own-there-and-back", &[C::SYS_NICE], nothing, |_| {
        nice(0, 5)?;
        nice(0, 0)
    }),
    op("nice-foreign-higher", &[C::SYS_NICE], foreign, |p| {
        nice(p.noted("c")?, 5)
    }),
    op("nice-root-mighty-higher", &[C::SYS_NICE], mighty, |p| {
        nice(p.noted("c")?, 5)
    }),
    op("nice-root-meek-higher", &[], meek, |p| {
        nice(p.noted("c")?, 5)
    }),
    op("policy-fifo", &[C::SYS_NICE], nothing, |_| policy(0, 1, 1)),
    op("policy-round-robin", &[C::SYS_NICE], nothing, |_| {
        policy(0, 2, 1)
    }),
    op("policy-batch", &[], nothing, |_| policy(0, 3, 0)),
    op("policy-idle", &[], nothing, |_| policy(0, 5, 0)),
    op("policy-idle-and-back", &[C::SYS_NICE], nothing, |_| {
        policy(0, 5, 0)?;
        policy(0, 0, 0)
    }),
    op("policy-deadline", &[C::SYS_NICE], nothing, |_| {
        attributes(0, 6, 0, 0, [10_000_000, 100_000_000, 100_000_000])
    }),
    op(
        "policy-fifo-within-limit",
        &[],
        |_| sys::limit(libc::RLIMIT_RTPRIO, 10).map(drop),
        |_| policy(0, 1, 1),
    ),
    op("policy-reset-on-fork-off", &[C::SYS_NICE], nothing, |_| {
        attributes(0, 0, 1, 0, [0; 3])?;
        attributes(0, 0, 0, 0, [0; 3])
    }),
    op("policy-batch-foreign", &[C::SYS_NICE], foreign, |p| {
        policy(p.noted("c")?, 3, 0)
    }),
    op("policy-batch-root-mighty", &[C::SYS_NICE], mighty, |p| {
        policy(p.noted("c")?, 3, 0)
    }),
    op(
        "policy-by-attributes-nicer",
        &[C::SYS_NICE],
        nothing,
        |_| attributes(0, 0, 0, -5, [0; 3]),
    ),
    op("policy-read-foreign", &[], foreign, |p| {
        call!(SYS_sched_getscheduler, p.noted("c")?).and_then(|_| done())
    }),
    op("affinity-foreign", &[C::SYS_NICE], foreign, affinity),
    op("affinity-root-mighty", &[C::SYS_NICE], mighty, affinity),
    op(
        "io-priority-realtime",
        &[C::SYS_NICE, C::SYS_ADMIN],
        nothing,
        |_| io_priority(0, 1, 4),
    ),
    op("io-priority-best-effort", &[], nothing, |_| {
        io_priority(0, 2, 4)
    }),
    op("io-priority-idle", &[], nothing, |_| io_priority(0, 3, 0)),
    op("io-priority-foreign", &[C::SYS_NICE], foreign, |p| {
        io_priority(p.noted("c")?, 2, 4)
    }),
    op("io-priority-root-mighty", &[C::SYS_NICE], mighty, |p| {
        io_priority(p.noted("c")?, 2, 4)
    }),
    op(
        "limit-open-files-raise",
        &[C::SYS_RESOURCE],
        nothing,
        |_| raise(libc::RLIMIT_NOFILE, 64, 128),
    ),
    op("limit-core-raise", &[C::SYS_RESOURCE], nothing, |_| {
        raise(libc::RLIMIT_CORE, 0, 4096)
    }),
    op(
        "limit-locked-memory-raise",
        &[C::SYS_RESOURCE],
        nothing,
        |_| raise(libc::RLIMIT_MEMLOCK, 0, 4096),
    ),
    op("limit-open-files-lower", &[], nothing, |_| {
        sys::limit(libc::RLIMIT_NOFILE, 64).and_then(|_| done())
    }),
    op(
        "limit-processes-exceeded",
        &[C::SYS_RESOURCE, C::SYS_ADMIN],
        foreign,
        |_| {
            sys::limit(libc::RLIMIT_NPROC, 0)?;
            sys::fork::apart(|| Ok(0)).and_then(|_| done())
        },
    ),
    op("io-flusher", &[C::SYS_RESOURCE], nothing, |_| {
        sys::prctl(57, [1, 0, 0, 0]).and_then(|_| done())
    }),
    op("timer-slack-own", &[], nothing, |_| {
        sys::prctl(libc::PR_SET_TIMERSLACK, [60000, 0, 0, 0]).and_then(|_| done())
    }),
    op("clock-zone-out-of-range", &[C::SYS_TIME], nothing, |_| {
        // do_sys_settimeofday64 (kernel/time/time.c) asks before it looks at the zone.
        granted_although(
            call!(SYS_settimeofday, 0, &[10_000_i32, 0]),
            &[libc::EINVAL],
        )
        .and_then(|_| done())
    }),
    op("clock-set-process-time", &[], nothing, |_| {
        // Clocks of processes cannot be set, by nobody.
        granted_although(
            call!(SYS_clock_settime, 2, &[1_u64, 0]),
            &[libc::EPERM, libc::EINVAL],
        )
        .and_then(|_| done())
    }),
    op(
        "clock-adjust-tick-out-of-range",
        &[C::SYS_TIME],
        nothing,
        |_| {
            // ADJ_TICK with a tick of 0: ntp_validate_timex (kernel/time/timekeeping.c) asks first.
            let mut change = [0_u64; 26];
            change[0] = 0x4000;
            granted_although(call!(SYS_adjtimex, &mut change), &[libc::EINVAL]).and_then(|_| done())
        },
    ),
    op("clock-adjust-by-id", &[C::SYS_TIME], nothing, |_| {
        let mut change = [0_u64; 26];
        change[0] = 0x4000;
        granted_although(call!(SYS_clock_adjtime, 0, &mut change), &[libc::EINVAL])
            .and_then(|_| done())
    }),
    op("clock-read-adjustment", &[], nothing, |_| {
        call!(SYS_adjtimex, &mut [0_u64; 26]).and_then(|_| done())
    }),
    op("timerfd-alarm", &[C::WAKE_ALARM], nothing, |_| {
        call!(SYS_timerfd_create, REALTIME_ALARM, 0).and_then(|_| done())
    }),
    op("timerfd-boot-alarm", &[C::WAKE_ALARM], nothing, |_| {
        call!(SYS_timerfd_create, BOOT_ALARM, 0).and_then(|_| done())
    }),
    op("timerfd-plain", &[], nothing, |_| {
        call!(SYS_timerfd_create, 0, 0).and_then(|_| done())
    }),
    op(
        "timerfd-alarm-settime-passed",
        &[C::WAKE_ALARM],
        nothing,
        |_| {
            let timer = call!(SYS_timerfd_create, BOOT_ALARM, 0)?;
            call!(SYS_timerfd_settime, timer, 0, &[0_u64, 0, 100, 0], 0).and_then(|_| done())
        },
    ),
    op("timer-alarm", &[C::WAKE_ALARM], nothing, |_| {
        call!(SYS_timer_create, REALTIME_ALARM, 0, &mut [0_i32]).and_then(|_| done())
    }),
    op("sleep-on-alarm-clock", &[C::WAKE_ALARM], nothing, |_| {
        call!(SYS_clock_nanosleep, BOOT_ALARM, 0, &[0_u64, 1000], 0).and_then(|_| done())
    }),
    op(
        "epoll-wake-up",
        &[C::BLOCK_SUSPEND],
        |_| {
            // Without CONFIG_PM_SLEEP the kernel drops the flag for everybody.
            let kept = epoll_events()? & WAKE_UP != 0;
            if kept {
                Ok(())
            } else {
                Err(sys::errno(libc::ENOSYS))
            }
        },
        |_| saw("wakes up", epoll_events()? & WAKE_UP != 0),
    ),
    op("wake-lock", &[C::BLOCK_SUSPEND], nothing, |_| {
        sys::write_to(c"/sys/power/wake_lock", b"operations 1000000")?;
        sys::write_to(c"/sys/power/wake_unlock", b"operations").and_then(|_| done())
    }),
];
