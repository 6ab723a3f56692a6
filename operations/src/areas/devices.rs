//! Devices: terminals, loops, tunnels, block devices.

use std::io;

use capaudit_core::capability::Capability as C;

use crate::{
    operation::{Details, Operation, Place, done, nothing, op},
    sys::{self, call, granted_although},
};

const VT: &std::ffi::CStr = c"/dev/tty0";

fn terminal() -> io::Result<(i32, std::ffi::CString)> {
    let main = sys::open(c"/dev/ptmx", libc::O_RDWR | libc::O_NOCTTY)?;
    sys::ioctl(main, 0x4004_5431, &[0_i32])?;
    let mut number = [0_u32];
    sys::ioctl(main, 0x8004_5430, &mut number)?;
    Ok((main, sys::text(&format!("/dev/pts/{}", number[0]))))
}

/// An ioctl on a terminal of this process's own.
fn on_terminal(request: u64, argument: &[u8]) -> io::Result<Details> {
    let (_main, name) = terminal()?;
    let side = sys::open(&name, libc::O_RDWR | libc::O_NOCTTY)?;
    sys::ioctl(side, request, argument).and_then(|_| done())
}

fn on_console(request: u64, argument: u64) -> io::Result<i64> {
    sys::ioctl(
        sys::open(VT, libc::O_RDWR | libc::O_NOCTTY)?,
        request,
        argument,
    )
}

/// A pseudo-terminal is made by root's set-up; a user gets the device as its own.
fn open_loop(_: &Place) -> io::Result<()> {
    std::fs::metadata("/dev/loop7").map(drop)
}

fn tunnel(flags: u16) -> io::Result<(i32, [u8; 40])> {
    let device = sys::open(c"/dev/net/tun", libc::O_RDWR)?;
    let mut request = [0_u8; 40];
    request[..3].copy_from_slice(b"op0");
    request[16..18].copy_from_slice(&flags.to_ne_bytes());
    sys::ioctl(device, 0x4004_54ca, &mut request)?;
    Ok((device, request))
}

pub(super) const OPERATIONS: &[Operation] = &[
    op("terminal-open", &[], nothing, |_| {
        terminal().and_then(|_| done())
    }),
    op("terminal-insert-input", &[C::SYS_ADMIN], nothing, |_| {
        on_terminal(0x5412, b"x")
    }),
    op("terminal-console", &[C::SYS_ADMIN], nothing, |_| {
        // TIOCCONS takes the console's output until the terminal is closed, which the end of this process does.
        let (_main, name) = terminal()?;
        let side = sys::open(&name, libc::O_RDWR | libc::O_NOCTTY)?;
        granted_although(sys::ioctl(side, 0x541d, 0), &[libc::EBUSY]).and_then(|_| done())
    }),
    op("terminal-hang-up-own", &[C::SYS_ADMIN], nothing, |_| {
        on_terminal(0x5437, b"")
    }),
    op(
        "terminal-exclusive-open-again",
        &[C::SYS_ADMIN],
        nothing,
        |_| {
            let (_main, name) = terminal()?;
            let side = sys::open(&name, libc::O_RDWR | libc::O_NOCTTY)?;
            sys::ioctl(side, 0x540c, 0)?;
            sys::open(&name, libc::O_RDWR | libc::O_NOCTTY).and_then(|_| done())
        },
    ),
    op("terminal-discipline", &[], nothing, |_| {
        on_terminal(0x5423, &0_i32.to_ne_bytes())
    }),
    op(
        "terminal-steal",
        &[C::SYS_ADMIN],
        |p| {
            // A session of the companion's has a terminal; its name is left for the act.
            let name = p.path("name");
            p.companion("c", || {
                call!(SYS_setsid)?;
                let (_main, terminal) = terminal()?;
                let side = sys::open(&terminal, libc::O_RDWR | libc::O_NOCTTY)?;
                sys::ioctl(side, 0x540e, 0)?;
                call!(SYS_fchmod, side, 0o666)?;
                std::fs::write(name, terminal.as_bytes())
            })
        },
        |p| {
            let name = sys::text(&std::fs::read_to_string(p.path("name"))?);
            sys::fork::apart(|| {
                call!(SYS_setsid)?;
                let side = sys::open(&name, libc::O_RDWR | libc::O_NOCTTY)?;
                sys::ioctl(side, 0x540e, 1).map(|_| 0)
            })
            .and_then(|_| done())
        },
    ),
    op("console-tone-off", &[C::SYS_TTY_CONFIG], nothing, |_| {
        on_console(0x4b30, 0).and_then(|_| done())
    }),
    op("console-lock-switch", &[C::SYS_TTY_CONFIG], nothing, |_| {
        on_console(0x560b, 0)?;
        on_console(0x560c, 0).and_then(|_| done())
    }),
    op(
        "console-signal-invalid",
        &[C::SYS_TTY_CONFIG, C::KILL],
        nothing,
        |_| granted_although(on_console(0x4b4e, 9), &[libc::EINVAL]).and_then(|_| done()),
    ),
    op("console-mode-read", &[], nothing, |_| {
        sys::ioctl(
            sys::open(VT, libc::O_RDWR | libc::O_NOCTTY)?,
            0x4b3b,
            &mut [0_i32],
        )
        .and_then(|_| done())
    }),
    op(
        "console-ports",
        &[C::SYS_TTY_CONFIG, C::SYS_RAWIO],
        nothing,
        |_| {
            // KDENABIO: ports of the graphics card, for this process only.
            on_console(0x4b36, 0).and_then(|_| done())
        },
    ),
    op("console-screen-copy", &[C::DAC_OVERRIDE], nothing, |_| {
        sys::open(c"/dev/vcs", libc::O_RDONLY).and_then(|_| done())
    }),
    op("block-flush", &[C::SYS_ADMIN], open_loop, |_| {
        sys::ioctl(sys::open(c"/dev/loop7", libc::O_RDONLY)?, 0x1261, 0).and_then(|_| done())
    }),
    op("block-read-ahead", &[C::SYS_ADMIN], open_loop, |_| {
        let device = sys::open(c"/dev/loop7", libc::O_RDONLY)?;
        let mut now = [0_u64];
        sys::ioctl(device, 0x1263, &mut now)?;
        sys::ioctl(device, 0x1262, now[0]).and_then(|_| done())
    }),
    op("block-read-only-off", &[C::SYS_ADMIN], open_loop, |_| {
        sys::ioctl(sys::open(c"/dev/loop7", libc::O_RDONLY)?, 0x125d, &[0_i32]).and_then(|_| done())
    }),
    op(
        "block-partition-invalid",
        &[C::SYS_ADMIN],
        open_loop,
        |_| {
            let result = sys::ioctl(
                sys::open(c"/dev/loop7", libc::O_RDONLY)?,
                0x1269,
                &[0_u64; 4],
            );
            granted_although(result, &[libc::EINVAL, libc::ENOTTY, libc::EFAULT])
                .and_then(|_| done())
        },
    ),
    op("block-size", &[], open_loop, |_| {
        sys::ioctl(
            sys::open(c"/dev/loop7", libc::O_RDONLY)?,
            0x8008_1272,
            &mut [0_u64],
        )
        .and_then(|_| done())
    }),
    op(
        "block-open-foreign",
        &[C::DAC_OVERRIDE, C::DAC_READ_SEARCH],
        |p| {
            call!(
                SYS_mknodat,
                libc::AT_FDCWD,
                &p.at("n"),
                libc::S_IFBLK | 0o600,
                0x707
            )?;
            crate::operation::own(&p.at("n"), 0o600, 1001, 1001)
        },
        |p| sys::open(&p.at("n"), libc::O_RDONLY).and_then(|_| done()),
    ),
    op("loop-free-device", &[], nothing, |_| {
        sys::ioctl(sys::open(c"/dev/loop-control", libc::O_RDWR)?, 0x4c82, 0).and_then(|_| done())
    }),
    op("loop-status-none", &[], open_loop, |_| {
        let result = sys::ioctl(
            sys::open(c"/dev/loop7", libc::O_RDONLY)?,
            0x4c05,
            &mut [0_u64; 32],
        );
        granted_although(result, &[libc::ENXIO]).and_then(|_| done())
    }),
    op("tunnel", &[C::NET_ADMIN], nothing, |_| {
        tunnel(0x1001).and_then(|_| done())
    })
    .net(),
    op("tunnel-tap", &[C::NET_ADMIN], nothing, |_| {
        tunnel(0x1002).and_then(|_| done())
    })
    .net(),
    op(
        "tunnel-of-other-owner",
        &[C::NET_ADMIN],
        |_| {
            let (device, _) = tunnel(0x1001)?;
            sys::ioctl(device, 0x4004_54cc, 1001)?;
            sys::ioctl(device, 0x4004_54cb, 1)?;
            call!(SYS_close, device).map(drop)
        },
        |_| tunnel(0x1001).and_then(|_| done()),
    )
    .net(),
    op(
        "tunnel-of-own",
        &[],
        |_| {
            let (device, _) = tunnel(0x1001)?;
            sys::ioctl(device, 0x4004_54cc, 0)?;
            sys::ioctl(device, 0x4004_54cb, 1)?;
            call!(SYS_close, device).map(drop)
        },
        |_| tunnel(0x1001).and_then(|_| done()),
    )
    .net(),
    op("fuse-device", &[], nothing, |_| {
        sys::open(c"/dev/fuse", libc::O_RDWR).and_then(|_| done())
    }),
    op("kvm-device", &[], nothing, |_| {
        sys::open(c"/dev/kvm", libc::O_RDWR).and_then(|_| done())
    }),
    op("latency-device", &[], nothing, |_| {
        sys::open(c"/dev/cpu_dma_latency", libc::O_RDWR).and_then(|_| done())
    }),
];
