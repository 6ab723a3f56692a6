//! `capaudit export FORMAT FILE…`

use std::path::PathBuf;

use super::{
    Exit, complain, patch,
    report::{Format, Presentation, merged},
};

/// Formats to export to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Target {
    /// A snippet for a compose file
    Compose,
    /// The report for programs
    Json,
    /// What containers were started with and did not need, as SARIF 2.1.0
    Sarif,
    /// The same as JUnit's XML
    Junit,
}

/// Write the recommendation of saved sessions in the format of those who apply it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  capaudit export compose session.json > capabilities.yaml
  docker-compose -f compose.yaml -f capabilities.yaml up
  capaudit export compose session.json --patch compose.yaml --diff

Exit status: 0; 1 if --patch leaves something that has to be changed elsewhere; 2 for bad usage or input.")]
pub struct Arguments {
    /// The format
    #[arg(value_enum)]
    target: Target,

    /// Only this compose service, or the container of this name
    #[arg(long, value_name = "NAME")]
    service: Option<String>,

    /// Write to this file, not to standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    patch: patch::Target,

    /// Sessions that `capaudit run --save` wrote
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> Exit {
    let mut ledger = match merged(&arguments.files) {
        Ok(ledger) => ledger,
        Err(exit) => return exit,
    };
    if let Some(wanted) = &arguments.service {
        let known: Vec<String> = ledger
            .subjects
            .iter()
            .map(|subject| {
                subject
                    .compose_service
                    .clone()
                    .unwrap_or_else(|| subject.name.clone())
            })
            .collect();
        ledger
            .subjects
            .retain(|subject| subject.compose_service.as_ref().unwrap_or(&subject.name) == wanted);
        if ledger.subjects.is_empty() {
            complain(&format!(
                "no service or container {wanted:?} was audited; there are: {}",
                known.join(", ")
            ));
            return Exit::Usage;
        }
    }
    if arguments.patch.is_wanted() {
        if arguments.target != Target::Compose {
            complain("--patch is for compose files: capaudit export compose --patch FILE");
            return Exit::Usage;
        }
        let narrowed = arguments.service.is_some();
        return patch::run(
            &arguments.patch,
            &ledger,
            narrowed,
            arguments.output.as_ref(),
        );
    }
    let presentation = Presentation {
        format: match arguments.target {
            Target::Compose => Format::Compose,
            Target::Json => Format::Json,
            Target::Sarif => Format::Sarif,
            Target::Junit => Format::Junit,
        },
        output: arguments.output.clone(),
        all: false,
    };
    match presentation.show(&ledger, std::io::stdout()) {
        Ok(()) => Exit::Success,
        Err(error) => {
            complain(&error);
            Exit::Usage
        }
    }
}
