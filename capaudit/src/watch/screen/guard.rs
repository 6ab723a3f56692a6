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
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    ///
    /// It cannot be used.
    pub fn enter() -> io::Result<Self> {
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
    pub fn size(&self) -> io::Result<(u16, u16)> {
        let size = self.terminal.size()?;
        Ok((size.width, size.height))
    }

    /// Draws a frame.
    ///
    /// # Errors
    ///
    /// The terminal is gone.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw)?;
        Ok(())
    }

    /// Forgets what is on the screen, so that everything is drawn. Takes the terminal over again, as whoever let us
    /// go on may have changed its modes.
    ///
    /// # Errors
    ///
    /// The terminal is gone.
    pub fn repaint(&mut self) -> io::Result<()> {
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
    pub fn suspend(&mut self) -> io::Result<()> {
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
