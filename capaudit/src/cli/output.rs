//! What the tools print: JSON for programs, and text that a closed pipe may cut short.

use std::io::{self, IsTerminal as _};

use capaudit_core::text::Style;
use capaudit_tracer::stream;
use serde::Serialize;

use super::{failure::Failure, terminal};

/// How a result is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// How to write text on standard output.
pub(super) fn style() -> Style {
    terminal::style_of(&io::stdout())
}

/// Columns of standard output; `None` if it is no terminal, and lines may be as long as they are.
pub(super) fn width() -> Option<usize> {
    io::stdout().is_terminal().then(|| style().width)
}

/// Prints text on standard output. A closed pipe is no error.
///
/// # Errors
///
/// It cannot be written.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    match stream::write_all(io::stdout(), text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::usage(format!(
            "cannot write to standard output: {error}"
        ))),
        _ => Ok(()),
    }
}

/// Prints a value as JSON on standard output.
///
/// # Errors
///
/// It cannot be written.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    print(&capaudit_core::text::json(value).map_err(Failure::usage)?)
}
