//! How reports are shown.

use std::{
    io::{self, IsTerminal},
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use capaudit_core::{
    capability::CapSet,
    ledger::Ledger,
    recommend::Recommendation,
    report::{Report, hint},
    text::Style,
};
use capaudit_formats::export::Format;
use capaudit_tracer::privilege;

use super::{
    deliver::{check_writable, deliver, save},
    failure::Failure,
    terminal,
};

/// Where a report goes, and how.
#[derive(Debug, clap::Args)]
pub(super) struct Presentation {
    /// How the report is shown
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,

    /// Write the report to this file
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Show also what was asked without making any difference
    #[arg(long)]
    pub all: bool,
}

impl Presentation {
    /// Shows a report, on `otherwise` if no file is given.
    ///
    /// # Errors
    ///
    /// It cannot be written. A closed pipe is no error.
    pub(super) fn show(
        &self,
        report: &Report,
        otherwise: impl AsFd + IsTerminal,
    ) -> io::Result<()> {
        let text = self.rendered(report, &otherwise)?;
        deliver(&text, self.output.as_deref(), otherwise)
    }

    fn rendered(
        &self,
        report: &Report,
        otherwise: &(impl AsFd + IsTerminal),
    ) -> io::Result<String> {
        let style = match &self.output {
            Some(_) => Style::PLAIN,
            None => terminal::style_of(otherwise),
        };
        let recommendation = Recommendation::of(report);
        let format = self.format;
        let mut rendered = format.render(report, &recommendation, style, self.all)?;
        if self.format == Format::Text && self.output.is_none() && otherwise.is_terminal() {
            rendered.push_str(&hint(report, style));
        }
        Ok(rendered)
    }

    /// Whether what is to be written at the end could be.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub(super) fn check(&self, save: Option<&Path>) -> Result<(), Failure> {
        check_writable(save.into_iter().chain(self.output.as_deref()))
    }

    /// What of capaudit's own capabilities it takes to write what is to be written at the end.
    pub(super) fn takes(&self, save: Option<&Path>) -> CapSet {
        if save.is_some() || self.output.is_some() {
            privilege::TO_WRITE
        } else {
            CapSet::EMPTY
        }
    }

    /// Saves a ledger and shows a report on it: both are tried, whatever becomes of the other, and a report that cannot be
    /// written to its file is shown on `otherwise`.
    ///
    /// # Errors
    ///
    /// One of them cannot be written where it was to be.
    pub(super) fn keep(
        &self,
        ledger: &Ledger,
        report: &Report,
        file: Option<&Path>,
        otherwise: impl AsFd + IsTerminal,
    ) -> Result<(), Failure> {
        let saved = file.map_or(Ok(()), |file| save(ledger, file));
        let shown = self.rendered(report, &otherwise).and_then(|text| {
            deliver(&text, self.output.as_deref(), &otherwise).or_else(|error| {
                if self.output.is_some() {
                    deliver(&text, None, &otherwise)?;
                }
                Err(error)
            })
        });
        match (saved, shown.map_err(Failure::usage)) {
            (Err(first), Err(second)) => {
                first.print();
                Err(second)
            }
            (saved, shown) => saved.and(shown),
        }
    }
}
