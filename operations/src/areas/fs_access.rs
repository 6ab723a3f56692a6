//! Access to files by mode bits.

use std::os::unix::{ffi::OsStrExt, net::UnixListener};

use capaudit_core::capability::Capability as C;

use crate::{
    operation::{Operation, Place, done, op, saw},
    sys::{self, call, fork},
};

const HERE: i32 = libc::AT_FDCWD;

/// A file handle as `name_to_handle_at` gives it, with 128 bytes of room.
fn handle(p: &Place, name: &str) -> std::io::Result<[u32; 34]> {
    let mut handle = [0_u32; 34];
    handle[0] = 128;
    call!(
        SYS_name_to_handle_at,
        HERE,
        &p.at(name),
        &mut handle,
        &mut [0_i32],
        0
    )?;
    Ok(handle)
}

/// `sockaddr_un` of a path relative to the working directory.
fn unix(p: &Place, name: &str) -> Vec<u8> {
    let mut address = vec![1, 0];
    address.extend(p.path(name).as_os_str().as_bytes());
    address.push(0);
    address
}

pub(super) const OPERATIONS: &[Operation] = &[
    op(
        "read-own-mode-0",
        &[C::DAC_OVERRIDE, C::DAC_READ_SEARCH],
        |p| p.file("f", 0, 0, 0),
        |p| sys::read_from(&p.at("f")).and_then(|_| done()),
    ),
    op(
        "read-foreign",
        &[C::DAC_OVERRIDE, C::DAC_READ_SEARCH],
        |p| p.file("f", 0o600, 1001, 1001),
        |p| sys::read_from(&p.at("f")).and_then(|_| done()),
    ),
    op(
        "write-foreign",
        &[C::DAC_OVERRIDE],
        |p| p.file("f", 0o644, 1001, 1001),
        |p| sys::write_to(&p.at("f"), b"x").and_then(|_| done()),
    ),
    op(
        "write-own-read-only",
        &[C::DAC_OVERRIDE],
        |p| p.file("f", 0o444, 0, 0),
        |p| sys::write_to(&p.at("f"), b"x").and_then(|_| done()),
    ),
    op(
        "open-read-write-foreign",
        &[C::DAC_OVERRIDE],
        |p| p.file("f", 0o600, 1001, 1001),
        |p| sys::open(&p.at("f"), libc::O_RDWR).and_then(|_| done()),
    ),
    op(
        "open-path-foreign",
        &[],
        |p| p.file("f", 0, 1001, 1001),
        |p| sys::open(&p.at("f"), libc::O_PATH).and_then(|_| done()),
    ),
    op(
        "truncate-foreign",
        &[C::DAC_OVERRIDE],
        |p| p.file("f", 0o644, 1001, 1001),
        |p| call!(SYS_truncate, &p.at("f"), 0).and_then(|_| done()),
    ),
    op(
        "search-foreign-directory",
        &[C::DAC_OVERRIDE, C::DAC_READ_SEARCH],
        |p| {
            p.directory("d", 0o700, 1001, 1001)?;
            p.file("d/f", 0o644, 1001, 1001)
        },
        |p| sys::read_from(&p.at("d/f")).and_then(|_| done()),
    ),
    op(
        "stat-in-foreign-directory",
        &[C::DAC_OVERRIDE, C::DAC_READ_SEARCH],
        |p| {
            p.directory("d", 0o700, 1001, 1001)?;
            p.file("d/f", 0o644, 1001, 1001)
        },
        |p| p.status("d/f"),
    ),
    op(
        "chdir-foreign-directory",
        &[C::DAC_OVERRIDE, C::DAC_READ_SEARCH],
        |p| p.directory("d", 0o700, 1001, 1001),
        |p| call!(SYS_chdir, &p.at("d")).and_then(|_| done()),
    ),
    op(
        "list-foreign-directory",
        &[C::DAC_OVERRIDE, C::DAC_READ_SEARCH],
        |p| p.directory("d", 0o711, 1001, 1001),
        |p| sys::open(&p.at("d"), libc::O_RDONLY | libc::O_DIRECTORY).and_then(|_| done()),
    ),
    op(
        "create-in-foreign-directory",
        &[C::DAC_OVERRIDE],
        |p| p.directory("d", 0o755, 1001, 1001),
        |p| {
            sys::open(&p.at("d/f"), libc::O_CREAT | libc::O_WRONLY)?;
            p.status("d/f")
        },
    ),
    op(
        "mkdir-in-foreign-directory",
        &[C::DAC_OVERRIDE],
        |p| p.directory("d", 0o755, 1001, 1001),
        |p| call!(SYS_mkdirat, HERE, &p.at("d/e"), 0o755).and_then(|_| done()),
    ),
    op(
        "symlink-in-foreign-directory",
        &[C::DAC_OVERRIDE],
        |p| p.directory("d", 0o755, 1001, 1001),
        |p| call!(SYS_symlinkat, c"x", HERE, &p.at("d/l")).and_then(|_| done()),
    ),
    op(
        "unlink-in-foreign-directory",
        &[C::DAC_OVERRIDE],
        |p| {
            p.directory("d", 0o755, 1001, 1001)?;
            p.file("d/f", 0o644, 1001, 1001)
        },
        |p| call!(SYS_unlinkat, HERE, &p.at("d/f"), 0).and_then(|_| done()),
    ),
    op(
        "unlink-in-foreign-sticky-directory",
        &[C::DAC_OVERRIDE, C::FOWNER],
        |p| {
            p.directory("d", 0o1755, 1001, 1001)?;
            p.file("d/f", 0o644, 1001, 1001)
        },
        |p| call!(SYS_unlinkat, HERE, &p.at("d/f"), 0).and_then(|_| done()),
    ),
    op(
        "rename-foreign-directory",
        &[C::DAC_OVERRIDE],
        |p| {
            p.directory("from", 0o777, 0, 0)?;
            p.directory("to", 0o777, 0, 0)?;
            p.directory("from/d", 0o755, 1001, 1001)
        },
        |p| call!(SYS_renameat, HERE, &p.at("from/d"), HERE, &p.at("to/d")).and_then(|_| done()),
    ),
    op(
        "access-foreign-write",
        &[C::DAC_OVERRIDE],
        |p| p.file("f", 0o644, 1001, 1001),
        |p| call!(SYS_faccessat, HERE, &p.at("f"), libc::W_OK).and_then(|_| done()),
    ),
    op(
        "access-foreign-read",
        &[C::DAC_OVERRIDE, C::DAC_READ_SEARCH],
        |p| p.file("f", 0o600, 1001, 1001),
        |p| call!(SYS_faccessat, HERE, &p.at("f"), libc::R_OK).and_then(|_| done()),
    ),
    op(
        "execute-foreign",
        &[C::DAC_OVERRIDE],
        |p| p.program("f", 0o700, 1001, 1001),
        |p| call!(SYS_faccessat, HERE, &p.at("f"), libc::X_OK).and_then(|_| done()),
    ),
    op(
        "open-foreign-fifo",
        &[C::DAC_OVERRIDE],
        |p| {
            call!(SYS_mknodat, HERE, &p.at("n"), libc::S_IFIFO | 0o600, 0)?;
            crate::operation::own(&p.at("n"), 0o600, 1001, 1001)
        },
        |p| sys::open(&p.at("n"), libc::O_RDWR).and_then(|_| done()),
    ),
    op(
        "connect-foreign-unix-socket",
        &[C::DAC_OVERRIDE],
        |p| {
            let path = p.path("s");
            p.companion("server", || {
                std::mem::forget(UnixListener::bind(path)?);
                Ok(())
            })?;
            crate::operation::own(&p.at("s"), 0o600, 1001, 1001)
        },
        |p| {
            let address = unix(p, "s");
            sys::connect(sys::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)?, &address)
                .and_then(|_| done())
        },
    ),
    op(
        "bind-unix-socket-in-foreign-directory",
        &[C::DAC_OVERRIDE],
        |p| p.directory("d", 0o755, 1001, 1001),
        |p| {
            let address = unix(p, "d/s");
            sys::bind(sys::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)?, &address)
                .and_then(|_| done())
        },
    ),
    op(
        "name-to-handle",
        &[],
        |p| p.file("f", 0o644, 0, 0),
        |p| handle(p, "f").and_then(|_| done()),
    ),
    op(
        "open-by-handle",
        &[C::DAC_READ_SEARCH],
        |p| p.file("f", 0o644, 0, 0),
        |p| {
            let handle = handle(p, "f")?;
            let root = sys::open(&p.at("."), libc::O_RDONLY)?;
            call!(SYS_open_by_handle_at, root, &handle, libc::O_RDONLY).and_then(|_| done())
        },
    ),
    op(
        "open-by-handle-on-disk",
        &[C::DAC_READ_SEARCH],
        |p| std::fs::write(p.disk.join("f"), "x"),
        |p| {
            let mut handle = [0_u32; 34];
            handle[0] = 128;
            call!(
                SYS_name_to_handle_at,
                HERE,
                &p.on_disk("f"),
                &mut handle,
                &mut [0_i32],
                0
            )?;
            let root = sys::open(&p.on_disk("."), libc::O_RDONLY)?;
            call!(SYS_open_by_handle_at, root, &handle, libc::O_RDONLY).and_then(|_| done())
        },
    ),
    op(
        "mincore-foreign",
        &[C::FOWNER, C::DAC_OVERRIDE],
        |p| {
            p.file("f", 0o644, 0, 0)?;
            call!(SYS_truncate, &p.at("f"), 8192)?;
            crate::operation::own(&p.at("f"), 0o644, 1001, 1001)
        },
        |p| {
            let file = sys::open(&p.at("f"), libc::O_RDONLY)?;
            let address = sys::map(0, 8192, libc::PROT_READ, libc::MAP_SHARED, file)?;
            let mut pages = [0_u8; 2];
            call!(SYS_mincore, address, 8192, &mut pages)?;
            saw("resident", format!("{pages:?}"))
        },
    ),
    op(
        "cachestat-foreign",
        &[C::FOWNER, C::DAC_OVERRIDE],
        |p| p.file("f", 0o644, 1001, 1001),
        |p| {
            let file = sys::open(&p.at("f"), libc::O_RDONLY)?;
            sys::syscall(
                451,
                &[
                    file.into(),
                    (&[0_u64, 4096]).into(),
                    (&mut [0_u64; 5]).into(),
                    0.into(),
                ],
            )
            .and_then(|_| done())
        },
    ),
    op(
        "pass-more-descriptors-than-allowed",
        &[C::SYS_RESOURCE, C::SYS_ADMIN],
        |_| Ok(()),
        |_| {
            // 12 in flight, of 8 allowed: too_many_unix_fds, net/core/scm.c; only others than root are counted.
            sys::limit(libc::RLIMIT_NOFILE, 64)?;
            let mut pair = [0_i32; 2];
            call!(
                SYS_socketpair,
                libc::AF_UNIX,
                libc::SOCK_STREAM,
                0,
                &mut pair
            )?;
            sys::limit(libc::RLIMIT_NOFILE, 8)?;
            for _ in 0..12 {
                send_descriptor(pair[0])?;
            }
            done()
        },
    ),
    op(
        "pipe-beyond-limit",
        &[C::SYS_RESOURCE],
        |_| Ok(()),
        |_| {
            let [end, _] = fork::pipe()?;
            call!(SYS_fcntl, end, libc::F_SETPIPE_SZ, 4 << 20)?;
            done()
        },
    ),
    op(
        "pipe-within-limit",
        &[],
        |_| Ok(()),
        |_| {
            let [end, _] = fork::pipe()?;
            call!(SYS_fcntl, end, libc::F_SETPIPE_SZ, 1 << 20)?;
            done()
        },
    ),
];

fn send_descriptor(socket: i32) -> std::io::Result<i64> {
    // cmsghdr: length 20, SOL_SOCKET, SCM_RIGHTS, the descriptor.
    let control = [
        20_u64,
        u64::from(libc::SOL_SOCKET as u32) | 1 << 32,
        socket as u64,
    ];
    let byte = [0_u8; 1];
    let vector = [byte.as_ptr() as u64, 1];
    let message = [
        0,
        0,
        vector.as_ptr() as u64,
        1,
        control.as_ptr() as u64,
        24,
        0,
    ];
    call!(SYS_sendmsg, socket, &message, 0)
}
