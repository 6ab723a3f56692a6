//! A terminal that shows what is drawn on it: tmux, with a server of its own.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use libtest_mimic::Failed;

use crate::audit::{CAPAUDIT, Verdicts};

/// How long something may take to appear.
const PATIENCE: Duration = Duration::from_secs(20);

/// A shell in a terminal; gone when this is.
pub(crate) struct Tmux {
    socket: String,
}

impl Tmux {
    /// A shell on a terminal of this size.
    pub(crate) fn shell(name: &str, columns: u16, rows: u16) -> Result<Self, Failed> {
        let tmux = Self {
            socket: format!("capaudit-test-{name}-{}", std::process::id()),
        };
        tmux.run(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &columns.to_string(),
            "-y",
            &rows.to_string(),
            "env -u NO_COLOR PS1='ready> ' sh",
        ])?;
        tmux.run(&["set-option", "-g", "set-clipboard", "on"])?;
        tmux.shows("ready>")?;
        Ok(tmux)
    }

    /// Types a call of `capaudit watch`.
    pub(crate) fn watch(&self, words: &str) -> Verdicts {
        self.line(&format!("{CAPAUDIT} watch {words}; echo status $?"))
    }

    fn run(&self, words: &[&str]) -> Result<String, Failed> {
        let output = Command::new("tmux")
            .args(["-L", &self.socket])
            .args(words)
            .output()?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("tmux {words:?}: {text}").into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Presses keys, as tmux calls them.
    pub(crate) fn keys(&self, keys: &[&str]) -> Verdicts {
        let mut words = vec!["send-keys"];
        words.extend(keys);
        self.run(&words).map(|_| ())
    }

    pub(crate) fn text(&self, text: &str) -> Verdicts {
        self.run(&["send-keys", "-l", text]).map(|_| ())
    }

    pub(crate) fn line(&self, text: &str) -> Verdicts {
        self.text(text)?;
        self.keys(&["Enter"])
    }

    /// Changes the size of the terminal.
    pub(crate) fn resize(&self, columns: u16, rows: u16) -> Verdicts {
        self.run(&[
            "resize-window",
            "-x",
            &columns.to_string(),
            "-y",
            &rows.to_string(),
        ])
        .map(|_| ())
    }

    /// What is shown now.
    pub(crate) fn screen(&self) -> Result<String, Failed> {
        self.run(&["capture-pane", "-p"])
    }

    /// What was last copied to the clipboard.
    pub(crate) fn clipboard(&self) -> Result<String, Failed> {
        self.run(&["show-buffer"])
    }

    /// Waits until the screen is as wanted; returns it.
    pub(crate) fn until(&self, what: &str, is: impl Fn(&str) -> bool) -> Result<String, Failed> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen()?;
            if is(&screen) {
                return Ok(screen);
            }
            if Instant::now() > deadline {
                return Err(format!("never {what}:\n{screen}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the screen shows a text; returns it.
    pub(crate) fn shows(&self, text: &str) -> Result<String, Failed> {
        self.until(&format!("shown: {text:?}"), |screen| screen.contains(text))
    }

    /// Takes the terminal away.
    pub(crate) fn close(&self) -> Verdicts {
        self.run(&["kill-server"]).map(|_| ())
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.close();
    }
}
