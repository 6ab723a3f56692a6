//! perf events, BPF, tracing.

use std::io;

use capaudit_core::capability::Capability as C;

use crate::{
    operation::{Details, Operation, Place, done, nothing, op, saw},
    sys::{self, call},
};

/// Opens a perf event: type, configuration, process, processor; without the kernel or with it.
pub(super) fn perf(
    kind: u32,
    config: u64,
    process: i32,
    processor: i32,
    user_only: bool,
) -> io::Result<Details> {
    let mut attributes = [0_u64; 16];
    attributes[0] = u64::from(kind) | 128 << 32;
    attributes[1] = config;
    // disabled, exclude_kernel, exclude_hv
    attributes[5] = if user_only { 1 | 1 << 5 | 1 << 6 } else { 1 };
    call!(SYS_perf_event_open, &attributes, process, processor, -1, 0).and_then(|_| done())
}

/// bpf(2) with sixteen words of attributes.
fn bpf(command: i32, words: &[u64]) -> io::Result<i64> {
    let mut attributes = [0_u64; 16];
    for (to, from) in attributes.iter_mut().zip(words) {
        *to = *from;
    }
    call!(SYS_bpf, command, &mut attributes, 128)
}

fn map(kind: u32, key: u32, value: u32, entries: u32, flags: u32) -> io::Result<i64> {
    bpf(
        0,
        &[
            u64::from(kind) | u64::from(key) << 32,
            u64::from(value) | u64::from(entries) << 32,
            flags.into(),
        ],
    )
}

const LICENCE: &std::ffi::CStr = c"GPL";

/// Loads instructions as a program of this kind.
fn load(kind: u32, instructions: &[u64], attach: u32) -> io::Result<i64> {
    let head = u64::from(kind) | (instructions.len() as u64) << 32;
    // expected_attach_type is at byte 68.
    let words = [
        head,
        instructions.as_ptr() as u64,
        LICENCE.as_ptr() as u64,
        0,
        0,
        0,
        0,
        0,
        u64::from(attach) << 32,
    ];
    bpf(5, &words)
}

/// r0 = value; exit
const fn constant(value: u64) -> [u64; 2] {
    [0xb7 | value << 32, 0x95]
}

fn program(kind: u32, attach: u32) -> io::Result<Details> {
    load(kind, &constant(0), attach).and_then(|_| done())
}

/// The id of a map that this process makes.
fn own_map() -> io::Result<(i64, u64)> {
    let map = map(2, 4, 8, 1, 0)?;
    let mut information = [0_u32; 32];
    bpf(
        15,
        &[map as u64 | 128 << 32, information.as_mut_ptr() as u64],
    )?;
    Ok((map, information[1].into()))
}

/// The kernel's own number for "not supported", which libraries do not know.
const ENOTSUPP: i32 = 524;

/// A tracefs of its own on `t`.
fn tracing(p: &Place) -> io::Result<()> {
    p.directory("t", 0o755, 0, 0)?;
    call!(SYS_mount, c"none", &p.at("t"), c"tracefs", 0, 0).map(drop)
}

const SOFTWARE: u32 = 1;
const TRACEPOINT: u32 = 2;

pub(super) const OPERATIONS: &[Operation] = &[
    op("perf-own-user-only", &[], nothing, |_| {
        perf(SOFTWARE, 0, 0, -1, true)
    }),
    op(
        "perf-own-with-kernel",
        &[C::PERFMON, C::SYS_ADMIN],
        nothing,
        |_| perf(SOFTWARE, 0, 0, -1, false),
    ),
    op(
        "perf-processor-wide",
        &[C::PERFMON, C::SYS_ADMIN],
        nothing,
        |_| perf(SOFTWARE, 0, -1, 0, true),
    ),
    op(
        "perf-tracepoint",
        &[C::PERFMON, C::SYS_ADMIN],
        |p| {
            tracing(p)?;
            let id = std::fs::read_to_string(p.path("t/events/sched/sched_switch/id"))?;
            std::fs::write(p.path("id"), id)
        },
        |p| {
            perf(
                TRACEPOINT,
                p.noted("id")?.unsigned_abs().into(),
                0,
                -1,
                false,
            )
        },
    ),
    op("perf-hardware-user-only", &[], nothing, |_| {
        perf(0, 0, 0, -1, true)
    }),
    op("perf-breakpoint-kernel", &[C::SYS_ADMIN], nothing, |_| {
        let mut attributes = [0_u64; 16];
        attributes[0] = 5 | 128 << 32;
        attributes[5] = 1;
        // bp_type, bp_addr, bp_len: write, an address of the kernel's half
        attributes[6] = 2 << 32;
        attributes[7] = 0xffff_ffff_8100_0000;
        attributes[8] = 4;
        call!(SYS_perf_event_open, &attributes, 0, -1, -1, 0).and_then(|_| done())
    }),
    op(
        "bpf-socket-filter",
        &[C::BPF, C::SYS_ADMIN],
        nothing,
        |_| program(1, 0),
    ),
    op(
        "bpf-socket-filter-pointer-leak",
        &[C::BPF, C::PERFMON, C::SYS_ADMIN],
        nothing,
        |_| {
            // r0 = r1; exit: a pointer leaks, which only PERFMON allows.
            load(1, &[0x10bf, 0x95], 0).and_then(|_| done())
        },
    ),
    op(
        "bpf-kprobe",
        &[C::BPF, C::PERFMON, C::SYS_ADMIN],
        nothing,
        |_| program(2, 0),
    ),
    op(
        "bpf-classifier",
        &[C::BPF, C::NET_ADMIN, C::SYS_ADMIN],
        nothing,
        |_| program(3, 0),
    ),
    op(
        "bpf-tracepoint",
        &[C::BPF, C::PERFMON, C::SYS_ADMIN],
        nothing,
        |_| program(5, 0),
    ),
    op(
        "bpf-xdp",
        &[C::BPF, C::NET_ADMIN, C::SYS_ADMIN],
        nothing,
        |_| program(6, 0),
    ),
    op(
        "bpf-perf-event",
        &[C::BPF, C::PERFMON, C::SYS_ADMIN],
        nothing,
        |_| program(7, 0),
    ),
    op("bpf-cgroup-skb", &[C::BPF, C::SYS_ADMIN], nothing, |_| {
        program(8, 0)
    }),
    op(
        "bpf-cgroup-sock",
        &[C::BPF, C::NET_ADMIN, C::SYS_ADMIN],
        nothing,
        |_| load(9, &constant(1), 2).and_then(|_| done()),
    ),
    op(
        "bpf-cgroup-device",
        &[C::BPF, C::NET_ADMIN, C::SYS_ADMIN],
        nothing,
        |_| program(15, 0),
    ),
    op(
        "bpf-raw-tracepoint",
        &[C::BPF, C::PERFMON, C::SYS_ADMIN],
        nothing,
        |_| program(17, 0),
    ),
    op(
        "bpf-syscall-program",
        &[C::BPF, C::SYS_ADMIN],
        nothing,
        |_| {
            // Only as BPF_F_SLEEPABLE (prog_flags, byte 44).
            let instructions = constant(0);
            let words = [
                31 | 2 << 32,
                instructions.as_ptr() as u64,
                LICENCE.as_ptr() as u64,
                0,
                0,
                1 << 36,
            ];
            bpf(5, &words).and_then(|_| done())
        },
    ),
    op("bpf-map-array", &[C::BPF, C::SYS_ADMIN], nothing, |_| {
        map(2, 4, 8, 1, 0).and_then(|_| done())
    }),
    op("bpf-map-hash", &[C::BPF, C::SYS_ADMIN], nothing, |_| {
        map(1, 4, 8, 1, 0).and_then(|_| done())
    }),
    op("bpf-map-lpm", &[C::BPF, C::SYS_ADMIN], nothing, |_| {
        map(11, 8, 8, 1, 1).and_then(|_| done())
    }),
    op(
        "bpf-map-stack-trace",
        &[C::BPF, C::SYS_ADMIN],
        nothing,
        |_| map(7, 4, 8, 1, 0).and_then(|_| done()),
    ),
    op(
        "bpf-map-devices",
        &[C::NET_ADMIN, C::BPF, C::SYS_ADMIN],
        nothing,
        |_| map(14, 4, 4, 1, 0).and_then(|_| done()),
    ),
    op(
        "bpf-map-sockets",
        &[C::NET_ADMIN, C::BPF, C::SYS_ADMIN],
        nothing,
        |_| map(15, 4, 4, 1, 0).and_then(|_| done()),
    ),
    op(
        "bpf-map-xsk",
        &[C::NET_ADMIN, C::BPF, C::SYS_ADMIN],
        nothing,
        |_| map(17, 4, 4, 1, 0).and_then(|_| done()),
    ),
    op(
        "bpf-map-ring-buffer",
        &[C::BPF, C::SYS_ADMIN],
        nothing,
        |_| map(27, 0, 0, 4096, 0).and_then(|_| done()),
    ),
    op("bpf-map-update", &[C::BPF, C::SYS_ADMIN], nothing, |_| {
        let map = map(2, 4, 8, 1, 0)?;
        let (key, value) = ([0_u32], [1_u64]);
        bpf(
            2,
            &[map as u64, key.as_ptr() as u64, value.as_ptr() as u64, 0],
        )
        .and_then(|_| done())
    }),
    op("bpf-map-next-id", &[C::SYS_ADMIN], nothing, |_| {
        sys::granted_although(bpf(12, &[0]), &[libc::ENOENT]).and_then(|_| done())
    }),
    op("bpf-map-by-id", &[C::SYS_ADMIN], nothing, |_| {
        bpf(14, &[own_map()?.1]).and_then(|_| done())
    }),
    op("bpf-map-by-id-missing", &[C::SYS_ADMIN], nothing, |_| {
        sys::granted_although(bpf(14, &[u64::from(u32::MAX - 1)]), &[libc::ENOENT])
            .and_then(|_| done())
    }),
    op(
        "bpf-program-by-id-missing",
        &[C::SYS_ADMIN],
        nothing,
        |_| {
            sys::granted_although(bpf(13, &[u64::from(u32::MAX - 1)]), &[libc::ENOENT])
                .and_then(|_| done())
        },
    ),
    op("bpf-statistics", &[C::SYS_ADMIN], nothing, |_| {
        bpf(32, &[0]).and_then(|_| done())
    }),
    op(
        "bpf-type-information",
        &[C::BPF, C::SYS_ADMIN],
        nothing,
        |_| {
            let information: [u32; 10] = [0x0001_eb9f, 24, 0, 16, 16, 3, 1, 0x0100_0000, 4, 32];
            let information: Vec<u8> = information
                .iter()
                .flat_map(|word| word.to_ne_bytes())
                .chain([0, b'a', 0])
                .collect();
            bpf(
                18,
                &[information.as_ptr() as u64, 0, information.len() as u64],
            )
            .and_then(|_| done())
        },
    ),
    op("bpf-task-of-descriptor", &[C::SYS_ADMIN], nothing, |_| {
        // BPF_TASK_FD_QUERY of a descriptor that is no event.
        let process = call!(SYS_getpid)? as u64;
        sys::granted_although(bpf(20, &[process, 0]), &[ENOTSUPP, libc::EBADF]).and_then(|_| done())
    }),
    op(
        "tracefs-open",
        &[C::DAC_OVERRIDE, C::DAC_READ_SEARCH],
        tracing,
        |p| sys::open(&p.at("t/available_events"), libc::O_RDONLY).and_then(|_| done()),
    ),
    op("classic-filter", &[], nothing, |_| {
        let socket = sys::socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
        let instruction = [6_u64 | 0xffff << 32];
        let filter = [1_u64, instruction.as_ptr() as u64];
        call!(SYS_setsockopt, socket, libc::SOL_SOCKET, 26, &filter, 16)
            .and_then(|_| saw("attached", true))
    }),
];
