//! capaudit on a terminal of its own: a pseudo-terminal that the test holds the other end of. `setsid` makes it
//! the controlling one and becomes the program, so that the exit status is the program's own.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus, Stdio},
};

use nix::pty::{Winsize, openpty};

use crate::audit::{CAPAUDIT, Verdicts, ensure};

/// capaudit, running on a terminal of 80 columns and 24 rows.
pub(crate) struct Terminal {
    ours: File,
    child: Child,
    text: String,
}

impl Terminal {
    pub(crate) fn capaudit(words: &[&str]) -> Result<Self, Box<dyn std::error::Error>> {
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(&size, None)?;
        let theirs = |end: &OwnedFd| end.try_clone().map(Stdio::from);
        // What starts in a shell's background has signals of the terminal ignored, and so has whatever it starts.
        let child = Command::new("setsid")
            .args(["--ctty", "env", "--default-signal=INT,QUIT", CAPAUDIT])
            .args(words)
            .env("TERM", "xterm")
            .stdin(theirs(&pty.slave)?)
            .stdout(theirs(&pty.slave)?)
            .stderr(theirs(&pty.slave)?)
            .spawn()?;
        Ok(Self {
            ours: File::from(pty.master),
            child,
            text: String::new(),
        })
    }

    /// Reads until the screen has got `wanted`.
    pub(crate) fn read_until(&mut self, wanted: &str) -> Verdicts {
        let mut some = [0; 1];
        while !self.text.contains(wanted) {
            ensure(self.ours.read(&mut some).unwrap_or(0) == 1, &self.text)?;
            self.text.push(char::from(some[0]));
        }
        Ok(())
    }

    pub(crate) fn send(&mut self, keys: &[u8]) -> Verdicts {
        Ok(self.ours.write_all(keys)?)
    }

    /// What has been shown in all, and how the program ended.
    pub(crate) fn end(mut self) -> Result<(String, ExitStatus), Box<dyn std::error::Error>> {
        let mut rest = Vec::new();
        // EIO is how Linux says that the last holder of the other end has closed it.
        let _ = self.ours.read_to_end(&mut rest);
        self.text.push_str(&String::from_utf8_lossy(&rest));
        Ok((self.text, self.child.wait()?))
    }
}
