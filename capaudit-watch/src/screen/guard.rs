//! The terminal, taken over and given back whatever happens: on return, error, panic, and while we are stopped.

use std::{
    io::{self, Stdout, stdout},
    sync::Once,
};

use crossterm::{
    cursor::Show,
    event::{DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture},
    execute,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};
use nix::sys::signal::{Signal, raise};
use ratatui::{
    Frame, Terminal,
    backend::CrosstermBackend,
    layout::{Position, Rect},
};

/// The terminal, ours while this exists.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    ///
    /// It cannot be used.
    pub(super) fn enter() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                give_back();
                before(panic);
            }));
        });
        take_over()?;
        let terminal = Terminal::new(CrosstermBackend::new(stdout()));
        terminal
            .map(|terminal| Self { terminal })
            .inspect_err(|_error| give_back())
    }

    /// Columns and rows.
    ///
    /// # Errors
    ///
    /// The terminal does not tell.
    pub(super) fn size(&self) -> io::Result<(u16, u16)> {
        let size = self.terminal.size()?;
        Ok((size.width, size.height))
    }

    /// Draws a frame.
    ///
    /// # Errors
    ///
    /// The terminal is gone.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw)?;
        Ok(())
    }

    /// Forgets what is on the screen, so that everything is drawn. Takes the terminal over again, as whoever let us
    /// go on may have changed its modes.
    ///
    /// # Errors
    ///
    /// The terminal is gone.
    pub(super) fn repaint(&mut self) -> io::Result<()> {
        // crossterm sets the modes only if it has not set them already, whatever has become of them since.
        let _ = disable_raw_mode();
        take_over()?;
        // Not `clear`, which asks the terminal where its cursor is, and waits for the answer among the keys.
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::from((Position::ORIGIN, size)))
    }

    /// Gives the terminal back and stops until somebody lets us go on.
    ///
    /// # Errors
    ///
    /// The terminal is gone.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        give_back();
        // SIGTSTP itself is blocked, to be read as a message.
        raise(Signal::SIGSTOP)?;
        self.repaint()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn take_over() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(
        stdout(),
        EnterAlternateScreen,
        EnableMouseCapture,
        EnableBracketedPaste
    )
}

/// As far as that is still possible.
fn give_back() {
    let _ = execute!(
        stdout(),
        DisableBracketedPaste,
        DisableMouseCapture,
        LeaveAlternateScreen,
        Show
    );
    let _ = disable_raw_mode();
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::{
        fs::File,
        io::Read as _,
        process::{Command, ExitStatus, Stdio},
    };

    use nix::{
        pty::openpty,
        sys::termios::{LocalFlags, tcgetattr},
    };
    use rustix::fs::OFlags;

    use super::*;

    /// Tells the test, started again on a terminal, how to end.
    const ENDING: &str = "CAPAUDIT_TEST_OF_SCREEN";
    const TAKEN: &str = "\x1b[?1049h";
    const GIVEN_BACK: &str = "\x1b[?1049l";

    /// Runs a test on a terminal of its own. Gives how it ended, what it wrote, and whether the terminal is as it was.
    fn on_a_terminal(test: &str, ending: &str) -> (ExitStatus, String, bool) {
        let pty = openpty(None, None).unwrap();
        let before = tcgetattr(&pty.slave).unwrap();
        assert!(
            before
                .local_flags
                .contains(LocalFlags::ECHO | LocalFlags::ICANON)
        );
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads", "1"])
            .env(ENDING, ending)
            .env("RUST_BACKTRACE", "0")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .status()
            .unwrap();
        let is_as_before = tcgetattr(&pty.slave).unwrap() == before;
        // Our end of the terminal stays open, so that reading does not come to an end.
        rustix::fs::fcntl_setfl(&pty.master, OFlags::NONBLOCK).unwrap();
        let mut written = Vec::new();
        let error = File::from(pty.master)
            .read_to_end(&mut written)
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let written = String::from_utf8_lossy(&written).into_owned();
        (status, written, is_as_before)
    }

    fn modes_are_undone(written: &str) {
        for mode in ["?1049", "?1000", "?2004"] {
            let (set, reset) = (format!("\x1b[{mode}h"), format!("\x1b[{mode}l"));
            let last = written.rfind(&set).unwrap();
            assert!(written[last..].contains(&reset), "{mode}: {written:?}");
        }
        let given_back = written.rfind(GIVEN_BACK).unwrap();
        assert!(written[given_back..].contains("\x1b[?25h"), "{written:?}");
    }

    #[test]
    fn the_terminal_is_given_back_on_return_and_on_panic() {
        const TEST: &str =
            "screen::guard::tests::the_terminal_is_given_back_on_return_and_on_panic";
        if let Ok(ending) = std::env::var(ENDING) {
            // Here the test is on its own terminal.
            let screen = Screen::enter().unwrap();
            let raw = tcgetattr(io::stdin()).unwrap();
            assert!(
                !raw.local_flags
                    .intersects(LocalFlags::ECHO | LocalFlags::ICANON)
            );
            match ending.as_str() {
                "panic" => panic!("as it was meant to"),
                // What panics elsewhere must not be told on a screen that is wiped.
                "thread" => {
                    let ended = std::thread::spawn(|| panic!("as it was meant to")).join();
                    assert!(ended.is_err());
                }
                _ => {}
            }
            drop(screen);
            return;
        }
        for (ending, succeeds) in [("return", true), ("panic", false), ("thread", true)] {
            let (status, written, is_as_before) = on_a_terminal(TEST, ending);
            assert_eq!(status.success(), succeeds, "{ending}: {written}");
            assert!(is_as_before, "{ending}: {written:?}");
            assert!(written.contains(TAKEN), "{ending}: {written:?}");
            modes_are_undone(&written);
            if ending != "return" {
                let told = written.find("as it was meant to").unwrap();
                let given_back = written.find(GIVEN_BACK).unwrap();
                assert!(given_back < told, "{ending}: {written:?}");
            }
        }
    }
}
