//! The kernel as a whole: its log, modules, audit, reboot, ports, entropy. Every call is one that changes nothing.

use std::io;

use capaudit_core::capability::Capability as C;

use crate::{
    operation::{Details, Operation, done, nothing, op, saw},
    sys::{self, call, granted_although, netlink},
};

const AUDIT: i32 = 9;

fn syslog(action: i32, length: i32) -> io::Result<i64> {
    let mut buffer = [0_u8; 4096];
    call!(SYS_syslog, action, &mut buffer, length)
}

/// An audit request; the reply to one that is granted is the answer or an acknowledgement.
fn audit(kind: u16, payload: &[u8]) -> io::Result<Details> {
    netlink::request(AUDIT, kind, netlink::ACK, payload).and_then(|_| done())
}

fn zeroed(length: usize) -> Vec<u8> {
    vec![0; length]
}

pub(super) const OPERATIONS: &[Operation] = &[
    op("log-read-all", &[C::SYSLOG], nothing, |_| {
        syslog(3, 4096).and_then(|_| done())
    }),
    op("log-size", &[C::SYSLOG], nothing, |_| {
        syslog(10, 0).and_then(|size| saw("size", size))
    }),
    op("log-unread-size", &[C::SYSLOG], nothing, |_| {
        syslog(9, 0).and_then(|_| done())
    }),
    op("log-console-level-invalid", &[C::SYSLOG], nothing, |_| {
        granted_although(syslog(8, 0), &[libc::EINVAL]).and_then(|_| done())
    }),
    op("log-open-close", &[C::SYSLOG], nothing, |_| {
        syslog(0, 0).and_then(|_| done())
    }),
    op("log-device-read", &[C::SYSLOG], nothing, |_| {
        let log = sys::open(c"/dev/kmsg", libc::O_RDONLY | libc::O_NONBLOCK)?;
        sys::read(log, 8192).and_then(|_| done())
    }),
    op("log-device-write", &[], nothing, |_| {
        sys::open(c"/dev/kmsg", libc::O_WRONLY).and_then(|_| done())
    }),
    op("log-proc-open", &[C::SYSLOG], nothing, |_| {
        sys::open(c"/proc/kmsg", libc::O_RDONLY | libc::O_NONBLOCK).and_then(|_| done())
    }),
    op("symbol-addresses", &[C::SYSLOG], nothing, |_| {
        let text = String::from_utf8_lossy(&sys::read_from(c"/proc/kallsyms")?).into_owned();
        let shown = text
            .lines()
            .any(|line| !line.starts_with("0000000000000000"));
        saw("addresses", shown)
    }),
    op("module-addresses", &[C::SYSLOG], nothing, |_| {
        let text = String::from_utf8_lossy(&sys::read_from(c"/proc/modules")?).into_owned();
        saw("addresses", !text.contains("0x0000000000000000"))
    }),
    op("module-load-invalid", &[C::SYS_MODULE], nothing, |_| {
        let result = call!(SYS_init_module, &[0_u8; 64], 64, c"");
        granted_although(result, &[libc::ENOEXEC, libc::EFAULT, libc::EINVAL]).and_then(|_| done())
    }),
    op(
        "module-load-by-descriptor-invalid",
        &[C::SYS_MODULE],
        nothing,
        |_| {
            granted_although(call!(SYS_finit_module, -1, c"", 0), &[libc::EBADF])
                .and_then(|_| done())
        },
    ),
    op("module-remove-missing", &[C::SYS_MODULE], nothing, |_| {
        granted_although(
            call!(SYS_delete_module, c"no_such_module", 0),
            &[libc::ENOENT],
        )
        .and_then(|_| done())
    }),
    op(
        "helper-sets-sysctl",
        &[C::SETPCAP, C::SYS_MODULE],
        nothing,
        |_| {
            // proc_cap_handler (kernel/umh.c) intersects: the same set again changes nothing.
            let same = sys::read_from(c"/proc/sys/kernel/usermodehelper/inheritable")?;
            sys::write_to(c"/proc/sys/kernel/usermodehelper/inheritable", &same)
                .and_then(|_| done())
        },
    ),
    op("reboot-wrong-magic", &[C::SYS_BOOT], nothing, |_| {
        // reboot (kernel/reboot.c) asks before it looks at the numbers, which are none of its.
        granted_although(call!(SYS_reboot, 0, 0, 0, 0), &[libc::EINVAL]).and_then(|_| done())
    }),
    op("kexec-nothing-wrong-flags", &[C::SYS_BOOT], nothing, |_| {
        // kexec_load_check (kernel/kexec.c) asks before it refuses the flags.
        granted_although(call!(SYS_kexec_load, 0, 0, 0, 0x4000), &[libc::EINVAL])
            .and_then(|_| done())
    }),
    op("ports-level", &[C::SYS_RAWIO], nothing, |_| {
        // SYS_iopl; nothing is written to a port.
        sys::syscall(172, &[3.into()]).and_then(|_| done())
    }),
    op("ports-permit", &[C::SYS_RAWIO], nothing, |_| {
        sys::syscall(173, &[0x80.into(), 1.into(), 1.into()]).and_then(|_| done())
    }),
    op("ports-level-same", &[], nothing, |_| {
        sys::syscall(172, &[0.into()]).and_then(|_| done())
    }),
    op("memory-device", &[C::SYS_RAWIO], nothing, |_| {
        sys::open(c"/dev/mem", libc::O_RDONLY).and_then(|_| done())
    }),
    op("port-device", &[C::SYS_RAWIO], nothing, |_| {
        sys::open(c"/dev/port", libc::O_RDONLY).and_then(|_| done())
    }),
    op(
        "kernel-core",
        &[C::SYS_RAWIO, C::DAC_OVERRIDE],
        nothing,
        |_| sys::open(c"/proc/kcore", libc::O_RDONLY).and_then(|_| done()),
    ),
    op("model-specific-registers", &[C::SYS_RAWIO], nothing, |_| {
        sys::open(c"/dev/cpu/0/msr", libc::O_RDONLY).and_then(|_| done())
    }),
    op("io-memory-addresses", &[C::SYS_ADMIN], nothing, |_| {
        let text = String::from_utf8_lossy(&sys::read_from(c"/proc/iomem")?).into_owned();
        saw(
            "addresses",
            text.lines()
                .any(|line| !line.trim_start().starts_with("00000000-00000000")),
        )
    }),
    op("io-port-addresses", &[C::SYS_ADMIN], nothing, |_| {
        let text = String::from_utf8_lossy(&sys::read_from(c"/proc/ioports")?).into_owned();
        saw(
            "addresses",
            text.lines()
                .any(|line| !line.trim_start().starts_with("0000-0000")),
        )
    }),
    op("page-counts", &[], nothing, |_| {
        sys::open(c"/proc/kpagecount", libc::O_RDONLY).and_then(|_| done())
    }),
    op("timer-list", &[], nothing, |_| {
        sys::read_from(c"/proc/timer_list").and_then(|_| done())
    }),
    op("allocations", &[], nothing, |_| {
        sys::read_from(c"/proc/vmallocinfo").and_then(|_| done())
    }),
    op("audit-user-message", &[C::AUDIT_WRITE], nothing, |_| {
        audit(1112, b"op=operations\0")
    }),
    op(
        "audit-user-message-first",
        &[C::AUDIT_WRITE],
        nothing,
        |_| audit(1005, b"op=operations\0"),
    ),
    op("audit-status", &[C::AUDIT_CONTROL], nothing, |_| {
        audit(1000, &[])
    }),
    op("audit-set-nothing", &[C::AUDIT_CONTROL], nothing, |_| {
        audit(1001, &zeroed(44))
    }),
    op("audit-rules", &[C::AUDIT_CONTROL], nothing, |_| {
        audit(1013, &[])
    }),
    op("audit-features", &[C::AUDIT_CONTROL], nothing, |_| {
        audit(1019, &[])
    }),
    op(
        "audit-terminal-status",
        &[C::AUDIT_CONTROL],
        nothing,
        |_| audit(1016, &[]),
    ),
    op("audit-listen", &[C::AUDIT_READ], nothing, |_| {
        let socket = sys::socket(libc::AF_NETLINK, libc::SOCK_RAW, AUDIT)?;
        let address = [16_u32, 0, 1];
        call!(SYS_bind, socket, &address, 12).and_then(|_| done())
    }),
    op("entropy-reseed", &[C::SYS_ADMIN], nothing, |_| {
        sys::ioctl(sys::open(c"/dev/urandom", libc::O_RDONLY)?, 0x5207, 0).and_then(|_| done())
    }),
    op("entropy-credit-nothing", &[C::SYS_ADMIN], nothing, |_| {
        sys::ioctl(
            sys::open(c"/dev/urandom", libc::O_RDONLY)?,
            0x4004_5201,
            &[0_i32],
        )
        .and_then(|_| done())
    }),
    op("entropy-write", &[], nothing, |_| {
        sys::write_to(c"/dev/urandom", b"x").and_then(|_| done())
    }),
    op("entropy-count", &[], nothing, |_| {
        sys::ioctl(
            sys::open(c"/dev/urandom", libc::O_RDONLY)?,
            0x8004_5200,
            &mut [0_i32],
        )
        .and_then(|_| done())
    }),
    op(
        "security-module-own-label",
        &[C::MAC_ADMIN],
        nothing,
        |_| sys::write_to(c"/proc/self/attr/current", b"x").and_then(|_| done()),
    ),
];
