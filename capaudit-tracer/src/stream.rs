//! Writing to where somebody else reads: a pipe, a terminal, a socket. Whoever reads may stop, and capaudit has taken the signals
//! that would end it then.

use std::{
    fs::File,
    io::{self, Write as _},
    mem::ManuallyDrop,
    os::fd::{AsFd, AsRawFd as _, FromRawFd as _},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use crate::launch::is_asked_to_end;

/// What is written at a time: where poll(2) says that a pipe has room, it has room for a page (`pipe_poll`, fs/pipe.c, Linux 6.12).
const PIECE: usize = 4096;
/// How often it is looked whether capaudit is to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long nobody may read once it is.
const LAST_PATIENCE: Duration = Duration::from_millis(200);

/// Writes all of it, and waits for whoever reads: without end, until a signal asks capaudit to end.
///
/// # Errors
///
/// As for write(2). [`io::ErrorKind::TimedOut`]: a signal has come, and nobody reads.
pub fn write_all(stream: impl AsFd, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: the descriptor is open as long as `stream` is borrowed, and is not closed here.
    let mut file = ManuallyDrop::new(unsafe { File::from_raw_fd(stream.as_fd().as_raw_fd()) });
    let mut rest = bytes;
    while !rest.is_empty() {
        wait(&file)?;
        let piece = rest.get(..PIECE).unwrap_or(rest);
        match file.write(piece) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits until there is room.
fn wait(file: &File) -> io::Result<()> {
    let mut asked = None;
    loop {
        let mut waited = [PollFd::new(file, PollFlags::OUT)];
        match poll(
            &mut waited,
            Some(&Timespec::try_from(LOOK_EVERY).map_err(io::Error::other)?),
        ) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        if is_asked_to_end() && asked.get_or_insert_with(Instant::now).elapsed() >= LAST_PATIENCE {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "nobody reads, and a signal has come",
            ));
        }
    }
}
