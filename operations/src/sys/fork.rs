//! Children. The program has one thread, so a forked child may do everything.

use std::io;

use super::{call, int, prctl, read, write};

/// A signal that asks nothing, sent when the parent ends.
const KILL: u64 = libc::SIGKILL as u64;

/// Ends this process at once, without the clean-up that belongs to its parent.
pub(crate) fn exit(status: i32) -> ! {
    // SAFETY: `_exit` takes any number and does not return.
    unsafe { libc::_exit(status) }
}

/// Forks, and returns the child's id. The child runs `body` and ends with its status.
///
/// # Errors
///
/// Those of fork(2).
pub(crate) fn spawn(body: impl FnOnce() -> i32) -> io::Result<i32> {
    // SAFETY: the program has one thread, so no lock is held by another that the child would miss.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => exit(body()),
        child => Ok(child),
    }
}

/// Has the kernel end this process with its parent. A change of credentials undoes it (`commit_creds`, kernel/cred.c,
/// Linux 6.18), so it is to be said again afterwards.
pub(crate) fn end_with_parent() -> io::Result<i64> {
    prctl(libc::PR_SET_PDEATHSIG, [KILL, 0, 0, 0])
}

/// Forks a child that runs `prepare` and then stays until its parent ends. Returns once it is prepared.
///
/// # Errors
///
/// Those of fork(2) and pipe(2), and that of `prepare`.
pub(crate) fn companion(prepare: impl FnOnce() -> io::Result<()>) -> io::Result<i32> {
    let [ours, theirs] = pipe()?;
    let child = spawn(|| {
        let result = prepare().and_then(|()| end_with_parent().map(drop));
        let number = result
            .err()
            .map_or(0, |error| error.raw_os_error().unwrap_or(libc::EPROTO));
        if write(theirs, &number.to_ne_bytes()).is_err() {
            return 1;
        }
        let _ = call!(SYS_close, theirs);
        loop {
            let _ = call!(SYS_ppoll, 0, 0, 0, 0, 0);
        }
    })?;
    call!(SYS_close, theirs)?;
    let answer = read(ours, 4)?;
    call!(SYS_close, ours)?;
    match <[u8; 4]>::try_from(answer).map(i32::from_ne_bytes) {
        Ok(0) => Ok(child),
        Ok(number) => Err(super::errno(number)),
        Err(_) => Err(super::errno(libc::ECHILD)),
    }
}

/// Runs `body` in a child and returns what it returns; the child's changes of itself are gone afterwards.
///
/// # Errors
///
/// That of `body`, or `ECHILD` if the child died.
pub(crate) fn apart(body: impl FnOnce() -> io::Result<i32>) -> io::Result<i32> {
    let [ours, theirs] = pipe()?;
    let child = spawn(|| {
        let (failed, value) = match body() {
            Ok(value) => (0, value),
            Err(error) => (1, error.raw_os_error().unwrap_or(libc::EPROTO)),
        };
        let mut answer = value.to_ne_bytes().to_vec();
        answer.push(failed);
        i32::from(write(theirs, &answer).is_err())
    })?;
    call!(SYS_close, theirs)?;
    let answer = read(ours, 5)?;
    wait(child)?;
    let (Some(value), Some(failed)) = (
        answer
            .first_chunk::<4>()
            .map(|value| i32::from_ne_bytes(*value)),
        answer.get(4),
    ) else {
        return Err(super::errno(libc::ECHILD));
    };
    if *failed == 0 {
        Ok(value)
    } else {
        Err(super::errno(value))
    }
}

/// Waits for a child and returns its status as wait(2) gives it.
pub(crate) fn wait(child: i32) -> io::Result<i32> {
    let mut status = [0_i32];
    loop {
        match call!(SYS_wait4, child, &mut status, 0x4000_0000, 0) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(status[0]),
        }
    }
}

/// A pipe: where to read, and where to write.
pub(crate) fn pipe() -> io::Result<[i32; 2]> {
    let mut ends = [0_i32; 2];
    call!(SYS_pipe2, &mut ends, libc::O_CLOEXEC)?;
    Ok(ends)
}

/// Whether something can be read within this many milliseconds.
pub(crate) fn is_ready_within(descriptor: i32, milliseconds: u128) -> io::Result<bool> {
    let mut asked = [u64::from(descriptor.unsigned_abs()) | 1 << 32];
    let time = [
        (milliseconds / 1000) as u64,
        (milliseconds % 1000 * 1_000_000) as u64,
    ];
    Ok(call!(SYS_ppoll, &mut asked, 1, &time, 0, 0)? > 0)
}

/// The id that fork(2) and the like return as a number of the kernel.
pub(crate) fn id(value: i64) -> i32 {
    int(value)
}
