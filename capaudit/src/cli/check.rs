//! `capaudit check --against FILE SESSION…`

use std::{io, path::PathBuf};

use capaudit_core::{
    recommend::Recommendation,
    text::{self, Style},
};
use capaudit_formats::{
    check::{self, Level, Outcome},
    manifest,
};
use capaudit_storage::Disk;
use serde_json::json;

use super::{
    deliver::deliver,
    exit::Exit,
    failure::Failure,
    selection::{Selection, tell_others},
    sessions::Sessions,
    terminal,
};

/// How findings are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Text,
    /// SARIF 2.1.0, for code hosts
    Sarif,
    /// JUnit's XML, for CI systems
    Junit,
    /// For programs
    Json,
}

/// Compare what files grant with what saved sessions used, and fail if it is too much or too little.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  capaudit check --against compose.yaml session.json
  capaudit check --against deployment.yaml --format sarif --output capaudit.sarif session.json
  capaudit check --against CHOWN,SETUID session.json

Several compose files are taken together, as with -f; a unit with the drop-ins beside it.
A comment `# capaudit:allow NET_ADMIN reason` beside a capability or at its service vouches for it.

Exit status: 0 without findings; 1 if there is one of --level or worse; 2 for bad usage or input.")]
pub(super) struct Arguments {
    /// A compose file, a Kubernetes manifest, a unit of systemd's, or a set
    #[arg(long, required = true, value_name = "FILE|SET")]
    against: Vec<String>,

    /// How findings are shown
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Fail for findings of this level and worse ones
    #[arg(long, value_enum, default_value_t = Level::Warning)]
    level: Level,

    /// Write to this file, not to standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    selection: Selection,

    #[command(flatten)]
    sessions: Sessions,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let selection = &arguments.selection;
    let report = selection.report(&selection.of(arguments.sessions.merged()?)?);
    let workloads = manifest::load(&arguments.against, &Disk).map_err(Failure::usage)?;
    let outcome = check::check(&workloads, &Recommendation::of(&report)).map_err(Failure::usage)?;
    tell_others(&report);
    show(arguments, &outcome).map_err(Failure::usage)?;
    Ok(if outcome.reaches(arguments.level) {
        Exit::Finding
    } else {
        Exit::Success
    })
}

fn show(arguments: &Arguments, outcome: &Outcome) -> io::Result<()> {
    let rendered = match arguments.format {
        Format::Text => {
            let style = match arguments.output {
                Some(_) => Style::PLAIN,
                None => terminal::style_of(&io::stdout()),
            };
            check::text(outcome, style)
        }
        Format::Sarif => text::json(&check::sarif(outcome))?,
        Format::Junit => check::junit(outcome, arguments.level)?,
        Format::Json => text::json(&for_programs(outcome))?,
    };
    deliver(&rendered, arguments.output.as_deref(), io::stdout())
}

/// Contract `capaudit.check/1`.
fn for_programs(outcome: &Outcome) -> serde_json::Value {
    let place = |place: &Option<capaudit_formats::yaml::Place>| {
        place.as_ref().map(
            |place| json!({ "file": &*place.file, "line": place.line, "column": place.column }),
        )
    };
    json!({
        "schema": "capaudit.check/1",
        "workloads": outcome.subjects.iter().map(|subject| json!({
            "title": subject.title,
            "place": place(&subject.place),
            "audited": subject.audited,
        })).collect::<Vec<_>>(),
        "findings": outcome.findings.iter().map(|finding| json!({
            "rule": finding.rule.id(),
            "level": finding.level.to_string(),
            "workload": finding.subject.and_then(|number| outcome.subjects.get(number)).map(|subject| &subject.title),
            "place": place(&finding.place),
            "capabilities": finding.capabilities,
            "message": finding.message,
            "mend": finding.mend,
        })).collect::<Vec<_>>(),
    })
}
