//! An operation as two processes: a set-up that stays, and an act that an audit sees by itself.
//!
//! The keeper holds the namespaces and is the parent of the operation's processes. Whatever is to act enters them first.

use std::{fs, io, path::Path, process::Command};

use crate::{
    operation::{Operation, Place, Seen},
    place,
    sys::{self, call, fork},
};

/// How long a keeper stays if nobody tears it down.
const LIFETIME: u64 = 600;

/// Sets an operation up and returns once it is. The keeper stays behind.
///
/// # Errors
///
/// That of the set-up.
pub(crate) fn setup(operation: &Operation, base: &Path) -> io::Result<i32> {
    place::prepare(base)?;
    let [ours, theirs] = fork::pipe()?;
    let keeper = fork::spawn(|| {
        let result = quiet().and_then(|()| place::make(operation, base));
        let number = result
            .err()
            .map_or(0, |error| error.raw_os_error().unwrap_or(libc::EPROTO));
        let _ = sys::write(theirs, &number.to_ne_bytes());
        if number == 0 {
            std::thread::sleep(std::time::Duration::from_secs(LIFETIME));
        }
        0
    })?;
    call!(SYS_close, theirs)?;
    let answer = sys::read(ours, 4)?;
    match <[u8; 4]>::try_from(answer).map(i32::from_ne_bytes) {
        Ok(0) => {
            fs::write(base.join("keeper"), keeper.to_string())?;
            Ok(keeper)
        }
        Ok(number) => Err(sys::errno(number)),
        Err(_) => Err(sys::errno(libc::ECHILD)),
    }
}

/// Leaves the terminal and the caller's pipes: who reads this program's output to its end must not wait for what stays.
fn quiet() -> io::Result<()> {
    call!(SYS_setsid)?;
    let nothing = sys::open(c"/dev/null", libc::O_RDWR)?;
    for descriptor in 0..3 {
        call!(SYS_dup3, nothing, descriptor, 0)?;
    }
    Ok(())
}

/// Acts in this process, with whatever it holds.
pub(crate) fn act(operation: &Operation, base: &Path) -> Seen {
    let place: Place = place::below(base);
    Seen::of((operation.act)(&place))
}

/// Enters the namespaces of a set-up and becomes a command.
///
/// # Errors
///
/// Those of setns(2) and execve(2); no set-up is there.
pub(crate) fn enter(base: &Path, command: &[String]) -> io::Error {
    let entered = fs::read_to_string(base.join("keeper")).and_then(|keeper| {
        for namespace in ["net", "uts", "ipc", "mnt"] {
            let path = sys::text(&format!("/proc/{}/ns/{namespace}", keeper.trim()));
            call!(SYS_setns, sys::open(&path, libc::O_RDONLY)?, 0)?;
        }
        Ok(())
    });
    let Some((program, arguments)) = command.split_first() else {
        return sys::errno(libc::EINVAL);
    };
    match entered {
        Err(error) => error,
        Ok(()) => std::os::unix::process::CommandExt::exec(Command::new(program).args(arguments)),
    }
}

/// Ends the keeper, and with it the operation's processes and mounts, and removes its directories.
///
/// # Errors
///
/// No set-up is there, or its directories are not empty.
pub(crate) fn teardown(base: &Path) -> io::Result<()> {
    let note = base.join("keeper");
    let keeper: i32 = fs::read_to_string(&note)?
        .trim()
        .parse()
        .map_err(io::Error::other)?;
    // Its process group is its own: setsid.
    sys::granted_although(call!(SYS_kill, -keeper, libc::SIGKILL), &[libc::ESRCH])?;
    fs::remove_file(note)?;
    fs::remove_dir_all(base.join("disk"))?;
    fs::remove_dir(base.join("place"))
}
