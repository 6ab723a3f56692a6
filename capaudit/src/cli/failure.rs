//! Errors on their way out: a subcommand returns one, and `main` prints it.

use std::fmt::Display;

use capaudit_core::text::sanitize;
use capaudit_tracer::stream;
use capaudit_verify::channel::Failed;

use super::exit::Exit;

/// Why a subcommand did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub exit: Exit,
    /// What went wrong, in one sentence.
    pub message: String,
    /// What helps, in a sentence of its own.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(exit: Exit, message: impl Display) -> Self {
        Self {
            exit,
            message: message.to_string(),
            hint: None,
        }
    }

    /// The usage or an input is wrong, or something cannot be written.
    pub fn usage(message: impl Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Tracing is not possible here.
    pub fn cannot_trace(message: impl Display) -> Self {
        Self::new(Exit::CannotTrace, message)
    }

    /// The same with a hint.
    pub fn hint(self, hint: impl Display) -> Self {
        Self {
            hint: Some(hint.to_string()),
            ..self
        }
    }

    /// The same with a hint, if there is one.
    pub fn with(self, hint: Option<String>) -> Self {
        Self { hint, ..self }
    }

    /// Prints message and hint, a line each. `main` does that for the failure that capaudit ends with; subcommands only for
    /// one that they do not end with.
    pub fn print(&self) {
        note(&self.message);
        if let Some(hint) = &self.hint {
            note(hint);
        }
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self {
            exit: failure.exit.status(),
            message: failure.message,
            hint: failure.hint,
        }
    }
}

/// Prints one line on standard error.
pub(super) fn note(text: &(impl Display + ?Sized)) {
    let text = sanitize(&text.to_string());
    // Nobody is left to read it if this fails.
    let _ = stream::write_all(std::io::stderr(), format!("capaudit: {text}\n").as_bytes());
}
