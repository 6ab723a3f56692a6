//! `capaudit harden FILE`

use std::{
    ffi::OsString,
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use capaudit_core::{capability::CapSet, ledger::Phase, recommend::Recommendation};
use capaudit_tracer::launch::Signals;
use capaudit_verify::{Aim, Life, Plan, Run, Source, Verified, life::Test, progress::Terminal};

use super::{
    deliver::{check_writable, save},
    exit::Exit,
    failure::Failure,
    lock,
    locking::Locking,
    made::Made,
    patch::{IfIncomplete, Job},
    terminal,
};

/// Find what the services of a compose project, or the container of a `docker run`, need through their whole life, prove it,
/// and write it into the file.
///
/// The project is made anew, with volumes of its own: its containers start on empty volumes, stop, start again, and are made
/// anew on the same volumes, as after an update of their image. In each phase TEST is run. First every service may use all
/// capabilities, and capaudit records what is asked for; then the same life is led with nothing but what was found. All of it
/// is removed in the end. The user's own containers, volumes and mounted directories are not touched: what a
/// service mounts writable is copied.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  capaudit harden compose.yaml -- ./integration-test.sh
  capaudit harden --exit-code-from tests --write compose.yaml
  capaudit harden --service db --proofs --save db.json compose.yaml
  capaudit harden docker run -d -p 8080:80 -v data:/data nginx:1 -- ./integration-test.sh

A `docker run` or `podman run` is led through its life as the one service of a project; its command is printed with what it
needs. Options of capaudit stand before it.

TEST finds in its environment: COMPOSE_PROJECT_NAME and COMPOSE_FILE, CAPAUDIT_PHASE (start, restart or recreate), and for
each service CAPAUDIT_SERVICE_CONTAINER, CAPAUDIT_SERVICE_ADDRESS and CAPAUDIT_SERVICE_PORT_80 (where port 80 is published).

Exit status: 0 if the services lead their life with what was found; 1 if they do not, or something is left to do by hand; 2 if
a file or an option cannot be used; 3 if tracing is not possible here.")]
pub(super) struct Arguments {
    /// Compose files that are used together, or a command: `docker run IMAGE`, `podman run IMAGE`
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The command that is hardened in place of files, with its own options
    #[arg(skip)]
    pub(super) command: Vec<OsString>,

    /// Only this service; several times for several [default: all]
    #[arg(long, value_name = "NAME")]
    service: Vec<String>,

    /// This service tests the others: each phase lasts until it ends, and its exit status counts
    #[arg(long, value_name = "SERVICE")]
    exit_code_from: Option<String>,

    /// Phases of the life: start, restart, recreate
    #[arg(long, value_name = "PHASES", value_delimiter = ',', value_parser = phase)]
    phases: Vec<Phase>,

    /// Mount this directory or file itself, not a copy of it
    #[arg(long, value_name = "PATH")]
    as_is: Vec<PathBuf>,

    /// Run TEST as root, not as the user who called sudo
    #[arg(long)]
    test_as_root: bool,

    /// Show for each capability that the life fails without it
    #[arg(long, conflicts_with = "only_possible")]
    proofs: bool,

    /// Only find out whether what is possible is needed
    #[arg(long)]
    pub(super) only_possible: bool,

    /// Audit nothing, but lead the life with this set: SERVICE=SET, several times, or one for all
    #[arg(long, value_name = "SET", value_parser = super::verify::set,
        conflicts_with_all = ["service", "proofs", "only_possible", "write", "save"])]
    caps: Vec<(Option<String>, CapSet)>,

    /// Write the result into the files, without asking
    #[arg(long)]
    write: bool,

    /// Save the record with what the runs showed, for `capaudit report`, `export` and `check`
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,

    /// Where the lock is, which --write writes [default: capaudit.lock beside the first file]
    #[arg(long, value_name = "FILE", conflicts_with = "caps")]
    lock: Option<PathBuf>,

    /// Find it out again, although the lock still holds
    #[arg(long)]
    again: bool,

    /// Keep the runs in this file; the same command then goes on where it was interrupted
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,

    /// Runs that a set must pass
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    repeat: u16,

    /// The longest that a phase may take to begin
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    patience: u32,

    /// What tests the services in each phase
    #[arg(last = true, value_name = "TEST")]
    test: Vec<OsString>,
}

/// Runs the subcommand.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    check_command(arguments)?;
    // What compose says of it names no file.
    for file in &arguments.files {
        std::fs::File::open(file)
            .map_err(|error| Failure::usage(format!("cannot read {file:?}: {error}")))?;
    }
    let made = Made::of(&arguments.command)?;
    let place = lock::place(arguments.lock.as_deref(), &arguments.files);
    let lock_too = [&place].into_iter().filter(|_| arguments.write);
    check_writable(arguments.save.iter().chain(lock_too).map(PathBuf::as_path))?;
    let engine = Engine::find(made.as_ref().map(Made::client))?;
    let locking = Locking {
        place,
        client: engine.client.clone(),
        phases: phases(&arguments.phases)?.into_iter().collect(),
        files: arguments.files.clone(),
        services: arguments.service.clone(),
        test: arguments.test.clone(),
        exit_code_from: arguments.exit_code_from.clone(),
        proofs: arguments.proofs,
    };
    let may_hold = made.is_none() && arguments.caps.is_empty() && !arguments.again;
    if may_hold && locking.holds()? {
        return Ok(Exit::Success);
    }
    let plan = Plan {
        command: shown(arguments),
        run: Run::Life(Box::new(Life {
            compose: engine.compose,
            client: engine.client,
            files: match &made {
                Some(made) => vec![made.file()],
                None => arguments.files.clone(),
            },
            services: arguments.service.clone(),
            test: test(arguments)?,
            exit_code_from: arguments.exit_code_from.clone(),
            phases: phases(&arguments.phases)?,
            as_is: absolute(&arguments.as_is)?,
            patience: Duration::from_secs(arguments.patience.into()),
        })),
        may_change: false,
        aim: match (arguments.proofs, arguments.only_possible) {
            _ if !arguments.caps.is_empty() => Aim::Enough,
            (true, _) => Aim::Minimum,
            (_, true) => Aim::OnlyDoubt,
            _ => Aim::Doubt,
        },
        source: if arguments.caps.is_empty() {
            Source::Audit
        } else {
            Source::Given(arguments.caps.clone())
        },
        repeat: arguments.repeat.into(),
        timeout: None,
        state: arguments.state.clone(),
    };
    let verified = {
        let signals = Signals::take().map_err(Failure::cannot_trace)?;
        capaudit_verify::run(&plan, &signals, &mut Terminal::default())?
    };
    if let (Some(file), Some(ledger)) = (&arguments.save, &verified.ledger) {
        save(ledger, file)?;
    }
    let stdout = io::stdout();
    let text = capaudit_verify::text(&verified, terminal::style_of(&stdout), false);
    super::deliver::deliver(&text, None, stdout).map_err(Failure::usage)?;
    if !verified.verification.passed {
        return Ok(Exit::Finding);
    }
    match &made {
        Some(made) => made.show(&verified),
        None => written(arguments, &verified, &locking),
    }
}

/// Whether no option is there that does not go with a command.
fn check_command(arguments: &Arguments) -> Result<(), Failure> {
    let Some(client) = arguments.command.first() else {
        return if arguments.files.is_empty() {
            Err(Failure::usage(
                "nothing to harden: name a compose file, or a command (capaudit harden docker run IMAGE)",
            ))
        } else {
            Ok(())
        };
    };
    let refused = [
        (
            arguments.write,
            "--write",
            "it is in no file, and printed with what it needs",
        ),
        (
            !arguments.service.is_empty(),
            "--service",
            "it has no services to choose from",
        ),
        (
            arguments.exit_code_from.is_some(),
            "--exit-code-from",
            "it has no services to choose from",
        ),
        (
            !arguments.files.is_empty(),
            "FILE",
            "harden one or the other",
        ),
    ];
    if let Some((_, option, why)) = refused.into_iter().find(|(is_given, ..)| *is_given) {
        return Err(Failure::usage(format!(
            "{option} does not go with a `{} run`: {why}",
            client.to_string_lossy()
        )));
    }
    Ok(())
}

/// Shows what changes, and writes it if that is wanted.
fn written(arguments: &Arguments, verified: &Verified, locking: &Locking) -> Result<Exit, Failure> {
    let Some(report) = &verified.report else {
        return Ok(Exit::Success);
    };
    let recommendation = Recommendation::of(report);
    let job = |diff| Job {
        files: &arguments.files,
        diff,
        output: None,
        narrowed: !arguments.service.is_empty(),
        // With --only-possible, the services may not have been run with it.
        if_incomplete: if arguments.only_possible {
            IfIncomplete::Refuse
        } else {
            IfIncomplete::Trust
        },
    };
    let shown = job(true).run(report, &recommendation)?;
    if arguments.write || is_wanted(arguments) {
        let exit = job(false).run(report, &recommendation)?;
        locking.write(verified, report)?;
        return Ok(exit);
    }
    super::failure::note("nothing was written: --write does");
    Ok(shown)
}

/// Asks, if there is somebody to ask.
fn is_wanted(arguments: &Arguments) -> bool {
    let (stdin, mut stderr) = (io::stdin(), io::stderr());
    if !stdin.is_terminal() || !stderr.is_terminal() {
        return false;
    }
    let names: Vec<String> = arguments
        .files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    // Who cannot be asked cannot answer.
    let _ = write!(stderr, "Write this into {}? [y/N] ", names.join(", "));
    let _ = stderr.flush();
    let mut answer = String::new();
    stdin.read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// What leads the life.
struct Engine {
    compose: Vec<OsString>,
    client: String,
}

impl Engine {
    /// The first that is there: `docker compose`, `docker-compose`, `podman compose`.
    fn find(wanted: Option<&str>) -> Result<Self, Failure> {
        let candidates: [(&str, &[&str]); 3] = [
            ("docker", &["docker", "compose"]),
            ("docker", &["docker-compose"]),
            ("podman", &["podman", "compose"]),
        ];
        let is_wanted =
            |client: &str| wanted.is_none_or(|wanted| Path::new(wanted).ends_with(client));
        for (client, compose) in candidates.into_iter().filter(|(it, _)| is_wanted(it)) {
            let [program, arguments @ ..] = compose else {
                continue;
            };
            let version = Command::new(program)
                .args(arguments)
                .arg("version")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            if version.is_ok_and(|status| status.success()) {
                return Ok(Self {
                    compose: compose.iter().map(OsString::from).collect(),
                    client: client.to_owned(),
                });
            }
        }
        Err(Failure::usage(
            "neither `docker compose` nor `docker-compose` nor `podman compose` is here: install one of them",
        ))
    }
}

fn test(arguments: &Arguments) -> Result<Option<Test>, Failure> {
    if arguments.test.is_empty() {
        return Ok(None);
    }
    let words = arguments.test.iter();
    let command = words
        .map(|word| word.clone().into_string())
        .collect::<Result<_, _>>()
        .map_err(|word| Failure::usage(format!("TEST has a word that is not UTF-8: {word:?}")))?;
    let directory = std::env::current_dir()
        .map_err(|error| Failure::usage(format!("there is no working directory: {error}")))?;
    Ok(Some(Test {
        command,
        directory,
        user: (!arguments.test_as_root)
            .then(capaudit_storage::caller)
            .flatten(),
    }))
}

fn phase(text: &str) -> Result<Phase, String> {
    Phase::ALL
        .into_iter()
        .find(|phase| phase.name() == text)
        .ok_or_else(|| format!("{text:?} is none of start, restart, recreate"))
}

/// In the order of a life, which begins with a start.
fn phases(given: &[Phase]) -> Result<Vec<Phase>, Failure> {
    if given.is_empty() {
        return Ok(Phase::ALL.to_vec());
    }
    if !given.contains(&Phase::Start) {
        return Err(Failure::usage(
            "--phases: a life begins with `start`: put it before the others",
        ));
    }
    let all = Phase::ALL.into_iter();
    Ok(all.filter(|phase| given.contains(phase)).collect())
}

fn absolute(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    paths
        .iter()
        .map(|path| {
            std::path::absolute(path)
                .map_err(|error| Failure::usage(format!("--as-is {path:?}: {error}")))
        })
        .collect()
}

/// The command as people know it.
fn shown(arguments: &Arguments) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["capaudit".into(), "harden".into()];
    for service in &arguments.service {
        words.extend(["--service".into(), service.into()]);
    }
    if let Some(service) = &arguments.exit_code_from {
        words.extend(["--exit-code-from".into(), service.into()]);
    }
    for phase in &arguments.phases {
        words.extend(["--phases".into(), phase.name().into()]);
    }
    words.extend(arguments.files.iter().map(OsString::from));
    words.extend(arguments.command.iter().cloned());
    if !arguments.test.is_empty() {
        words.push("--".into());
        words.extend(arguments.test.iter().cloned());
    }
    words
}
