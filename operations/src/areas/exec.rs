//! execve: files with the setuid bit, with capabilities, on mounts without set-user-ids, under `no_new_privs`.

use std::{collections::BTreeMap, fs, io};

use capaudit_core::capability::Capability as C;

use crate::{
    operation::{Details, Operation, Place, op, own},
    show,
    sys::{self, call, fork, prctl},
};

/// `vfs_cap_data`, revision 2: permitted set, effective or not.
fn file_capability(permitted: u64, inheritable: u64, effective: bool) -> Vec<u8> {
    let mut value = (0x0200_0000_u32 | u32::from(effective))
        .to_le_bytes()
        .to_vec();
    for half in [permitted, inheritable, permitted >> 32, inheritable >> 32] {
        value.extend(((half & 0xffff_ffff) as u32).to_le_bytes());
    }
    value
}

/// Gives a file a permitted set.
pub(super) fn give(p: &Place, file: &str, permitted: u64, effective: bool) -> io::Result<()> {
    let value = file_capability(permitted, 0, effective);
    call!(
        SYS_setxattr,
        &p.at(file),
        c"security.capability",
        value.as_slice(),
        value.len(),
        0
    )?;
    Ok(())
}

/// Executes a file in a child and tells which credentials it got.
pub(super) fn execute(
    p: &Place,
    file: &str,
    before: impl FnOnce() -> io::Result<()>,
) -> io::Result<Details> {
    let [ours, theirs] = fork::pipe()?;
    let [failure, report] = fork::pipe()?;
    let child = fork::spawn(|| {
        let error = before().and_then(|()| {
            call!(SYS_dup3, theirs, 1, 0)?;
            let (path, argument) = (p.at(file), sys::text(show::ARGUMENT));
            let arguments = [path.as_ptr() as usize, argument.as_ptr() as usize, 0];
            call!(SYS_execve, &path, &arguments, &[0_usize])
        });
        let number = error
            .err()
            .and_then(|error| error.raw_os_error())
            .unwrap_or(libc::EPROTO);
        let _ = sys::write(report, &number.to_ne_bytes());
        1
    })?;
    call!(SYS_close, theirs)?;
    call!(SYS_close, report)?;
    // Closed by a successful execve.
    if let Ok(number) = <[u8; 4]>::try_from(sys::read(failure, 4)?) {
        return Err(sys::errno(i32::from_ne_bytes(number)));
    }
    let mut text = Vec::new();
    loop {
        let more = sys::read(ours, 4096)?;
        if more.is_empty() {
            break;
        }
        text.extend(more);
    }
    fork::wait(child)?;
    if text.is_empty() {
        return Err(sys::errno(libc::ECHILD));
    }
    Ok(of_interest(&String::from_utf8_lossy(&text)))
}

/// What must not shrink with the set that was granted: users, groups, and whether the file's own capability arrived. Whole
/// sets would differ for every capability, which is what a set is.
fn of_interest(text: &str) -> Details {
    let mut details = BTreeMap::new();
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
        if name == "Uid" || name == "Gid" {
            details.insert(name.to_owned(), value);
        } else if name == "CapEff" || name == "CapPrm" {
            let bits = u64::from_str_radix(&value, 16).unwrap_or(0);
            details.insert(format!("{name} has NET_RAW"), (bits >> 13 & 1).to_string());
        }
    }
    details
}

fn setuid(p: &Place, user: u32) -> io::Result<()> {
    p.program("f", 0o4755, user, user)
}

const NO_ROOT: u64 = 1;

pub(super) const OPERATIONS: &[Operation] = &[
    op(
        "exec-plain",
        &[],
        |p| p.program("f", 0o755, 0, 0),
        |p| {
            let details = execute(p, "f", || Ok(()))?;
            Ok(details
                .into_iter()
                .filter(|(name, _)| !name.starts_with("Cap"))
                .collect())
        },
    ),
    op(
        "exec-keeps-net-raw",
        &[C::NET_RAW],
        |p| p.program("f", 0o755, 0, 0),
        |p| execute(p, "f", || Ok(())),
    )
    .looks_at_sets(),
    op(
        "exec-setuid-root",
        &[],
        |p| setuid(p, 0),
        |p| {
            let details = execute(p, "f", || Ok(()))?;
            Ok(details
                .into_iter()
                .filter(|(name, _)| !name.starts_with("Cap"))
                .collect())
        },
    ),
    op(
        "exec-setuid-other",
        &[],
        |p| setuid(p, 1001),
        |p| {
            let details = execute(p, "f", || Ok(()))?;
            Ok(details
                .into_iter()
                .filter(|(name, _)| !name.starts_with("Cap"))
                .collect())
        },
    ),
    op(
        "exec-setgid",
        &[],
        |p| p.program("f", 0o2755, 0, 1001),
        |p| {
            let details = execute(p, "f", || Ok(()))?;
            Ok(details
                .into_iter()
                .filter(|(name, _)| !name.starts_with("Cap"))
                .collect())
        },
    ),
    op(
        "exec-setuid-shared-root-directory",
        &[C::SETUID],
        |p| setuid(p, 1001),
        |p| {
            // Somebody else shares the working directory: LSM_UNSAFE_SHARE (fs/exec.c), so the bit counts only with SETUID.
            let details = execute(p, "f", || {
                let child = call!(SYS_clone, libc::CLONE_FS | libc::SIGCHLD, 0, 0, 0, 0)?;
                if child == 0 {
                    let _ = call!(SYS_nanosleep, &[0_u64, 200_000_000], 0);
                    fork::exit(0);
                }
                Ok(())
            })?;
            Ok(details
                .into_iter()
                .filter(|(name, _)| !name.starts_with("Cap"))
                .collect())
        },
    ),
    op(
        "exec-setuid-traced",
        &[C::SETUID, C::SYS_PTRACE],
        |p| setuid(p, 1001),
        |p| {
            let [ours, theirs] = fork::pipe()?;
            let child = fork::spawn(|| {
                let result = execute_traced(p, theirs);
                i32::from(result.is_err())
            })?;
            call!(SYS_close, theirs)?;
            loop {
                let status = fork::wait(child)?;
                if status & 0xff != 0x7f {
                    break;
                }
                call!(SYS_ptrace, libc::PTRACE_CONT, child, 0, 0)?;
            }
            let details = of_interest(&String::from_utf8_lossy(&sys::read(ours, 4096)?));
            Ok(details
                .into_iter()
                .filter(|(name, _)| !name.starts_with("Cap"))
                .collect())
        },
    ),
    op(
        "exec-file-capability",
        &[C::NET_RAW],
        |p| {
            p.program("f", 0o755, 0, 0)?;
            give(p, "f", 1 << 13, true)
        },
        |p| execute(p, "f", || Ok(())),
    ),
    op(
        "exec-file-capability-not-effective",
        &[C::NET_RAW],
        |p| {
            p.program("f", 0o755, 0, 0)?;
            give(p, "f", 1 << 13, false)
        },
        |p| execute(p, "f", || Ok(())),
    )
    .looks_at_sets(),
    op(
        "exec-file-capability-script",
        &[],
        |p| {
            // The file that counts is the interpreter; the script's capabilities do not.
            p.program("i", 0o755, 0, 0)?;
            fs::write(
                p.path("f"),
                format!("#!{} {}\n", p.path("i").display(), show::ARGUMENT),
            )?;
            own(&p.at("f"), 0o755, 0, 0)?;
            give(p, "f", 1 << 13, true)
        },
        |p| {
            let details = execute(p, "f", || Ok(()))?;
            Ok(details
                .into_iter()
                .filter(|(name, _)| !name.starts_with("Cap"))
                .collect())
        },
    ),
    op(
        "exec-file-capability-interpreter",
        &[C::NET_RAW],
        |p| {
            p.program("i", 0o755, 0, 0)?;
            give(p, "i", 1 << 13, true)?;
            fs::write(
                p.path("f"),
                format!("#!{} {}\n", p.path("i").display(), show::ARGUMENT),
            )?;
            own(&p.at("f"), 0o755, 0, 0)
        },
        |p| execute(p, "f", || Ok(())),
    ),
    op(
        "exec-file-capability-nosuid",
        &[],
        |p| {
            p.directory("m", 0o755, 0, 0)?;
            call!(SYS_mount, c"none", &p.at("m"), c"tmpfs", libc::MS_NOSUID, 0)?;
            p.program("m/f", 0o755, 0, 0)?;
            give(p, "m/f", 1 << 13, true)
        },
        |p| {
            let details = execute(p, "m/f", || Ok(()))?;
            Ok(details
                .into_iter()
                .filter(|(name, _)| !name.starts_with("Cap"))
                .collect())
        },
    ),
    op(
        "exec-setuid-nosuid",
        &[],
        |p| {
            p.directory("m", 0o755, 0, 0)?;
            call!(SYS_mount, c"none", &p.at("m"), c"tmpfs", libc::MS_NOSUID, 0)?;
            p.program("m/f", 0o4755, 1001, 1001)
        },
        |p| {
            let details = execute(p, "m/f", || Ok(()))?;
            Ok(details
                .into_iter()
                .filter(|(name, _)| !name.starts_with("Cap"))
                .collect())
        },
    ),
    op(
        "exec-after-no-root",
        &[C::SETPCAP],
        |p| p.program("f", 0o755, 0, 0),
        |p| {
            execute(p, "f", || {
                prctl(libc::PR_SET_SECUREBITS, [NO_ROOT, 0, 0, 0]).map(drop)
            })
        },
    )
    .looks_at_sets(),
    op(
        "exec-as-other-with-keep-capabilities",
        &[C::SETUID],
        |p| p.program("f", 0o755, 0, 0),
        |p| {
            execute(p, "f", || {
                prctl(libc::PR_SET_KEEPCAPS, [1, 0, 0, 0])?;
                call!(SYS_setresuid, 1001, 1001, 1001).map(drop)
            })
        },
    )
    .looks_at_sets(),
    op(
        "exec-no-permission-for-anyone",
        &[],
        |p| p.file("f", 0o644, 0, 0),
        |p| {
            let refused = execute(p, "f", || Ok(()));
            crate::operation::saw("refused", refused.is_err())
        },
    ),
];

fn execute_traced(p: &Place, out: i32) -> io::Result<i64> {
    call!(SYS_dup3, out, 1, 0)?;
    call!(SYS_ptrace, libc::PTRACE_TRACEME, 0, 0, 0)?;
    let (path, argument) = (p.at("f"), sys::text(show::ARGUMENT));
    let arguments = [path.as_ptr() as usize, argument.as_ptr() as usize, 0];
    call!(SYS_execve, &path, &arguments, &[0_usize])
}
