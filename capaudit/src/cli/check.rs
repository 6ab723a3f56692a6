//! `capaudit check --against FILE SESSION…`

use std::{
    io,
    path::{Path, PathBuf},
};

use capaudit_core::{
    recommend::Recommendation,
    text::{self, Style},
};
use capaudit_formats::{
    check::{self, Level, Mapping, Outcome},
    manifest,
};
use capaudit_storage::Disk;
use serde_json::json;

use super::{
    deliver::deliver,
    exit::Exit,
    failure::Failure,
    lock,
    selection::{Selection, tell_others},
    sessions::OptionalSessions,
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
#[command(mut_arg("container", |arg| arg.value_name("NAME|HERE=AUDITED").help(
    "Only this container, by name or by the beginning of its id; HERE=AUDITED: the container or service HERE of the files was audited as AUDITED"
)))]
#[command(after_help = "Examples:
  capaudit check --against compose.yaml session.json
  capaudit check --against deployment.yaml --format sarif --output capaudit.sarif session.json
  capaudit check --against CHOWN,SETUID session.json
  capaudit check --against deployment.yaml --container nginx=web session.json
  capaudit check --lock
  capaudit check --lock=deploy/capaudit.lock --against compose.yaml session.json

Several compose files are taken together, as with -f; a unit with the drop-ins beside it.
With --lock, compose files are compared with what `capaudit harden --write` found, images with those that the engine has now,
and sessions, if any are given, with the lock.
A comment `# capaudit:allow NET_ADMIN reason` beside a capability or at its service vouches for it.

Exit status: 0 without findings; 1 if there is one of --level or worse; 2 for bad usage or input.")]
pub(super) struct Arguments {
    /// A compose file, a Kubernetes manifest, a unit of systemd's, or a set
    #[arg(long, required_unless_present = "lock", value_name = "FILE|SET")]
    against: Vec<String>,

    /// Compare with this lock [default: capaudit.lock beside the first file; without --against, the files that it names]
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    lock: Option<Option<PathBuf>>,

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
    sessions: OptionalSessions,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let mut mapping = Mapping::default();
    // A container's name has no such sign.
    let selection = &arguments
        .selection
        .without_containers(|name| mapping.add(name));
    if arguments.lock.is_some() && !mapping.is_empty() {
        return Err(Failure::usage(
            "--container HERE=AUDITED is for a comparison without --lock",
        ));
    }
    let report = match arguments.sessions.merged()? {
        Some(ledger) => Some(selection.report(&selection.of(ledger)?)),
        None => None,
    };
    let audited = report.as_ref().map(Recommendation::of);
    let outcome = match (&arguments.lock, &audited) {
        (Some(file), _) => against_lock(arguments, file.as_deref(), audited.as_ref())?,
        (None, Some(audited)) => {
            let workloads = manifest::load(&arguments.against, &Disk).map_err(Failure::usage)?;
            check::check(&workloads, audited, &mapping).map_err(Failure::usage)?
        }
        (None, None) => return Err(Failure::usage("no session is given")),
    };
    report.as_ref().map(tell_others);
    show(arguments, &outcome).map_err(Failure::usage)?;
    Ok(if outcome.reaches(arguments.level) {
        Exit::Finding
    } else {
        Exit::Success
    })
}

fn against_lock(
    arguments: &Arguments,
    file: Option<&Path>,
    audited: Option<&Recommendation>,
) -> Result<Outcome, Failure> {
    let mut files: Vec<PathBuf> = arguments.against.iter().map(PathBuf::from).collect();
    let place = lock::place(file, &files);
    let locked = lock::read(&place)?.ok_or_else(|| {
        Failure::usage(format!("there is no {place:?}"))
            .hint("`capaudit harden --write` writes one")
    })?;
    if files.is_empty() {
        files = lock::files(&locked, &place);
    }
    let project = manifest::project(&files, &Disk).map_err(Failure::usage)?;
    let images = lock::images(&locked);
    capaudit_formats::lock::compare(&locked, &project, &images, audited).map_err(Failure::usage)
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
