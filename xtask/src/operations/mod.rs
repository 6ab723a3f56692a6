//! `cargo xtask operations`: compares capaudit's answers with what the kernel does, operation by operation.
//!
//! Every operation acts once under `capaudit run`, as a subject of its own that may use everything, and its
//! recommendation is compared with the truth that knock-out finds (`docs/internals/operations.md`).

mod audit;
mod baseline;
mod compare;
mod machine;
mod mode;
mod page;
mod profile;
mod program;
mod row;
mod truth;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};

use crate::{command, project};

pub(crate) use machine::Selection;
pub(crate) use mode::Mode;

use baseline::Baseline;
use page::Setting;
use program::Program;
use row::Row;

/// Compare capaudit's recommendations with the truth about small operations
///
/// Fails if a recommendation lacks something, unless a baseline knows of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Operations, or parts of their names [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// Areas of the kernel, as `operations list` shows them
    #[arg(long, value_name = "AREA", value_delimiter = ',')]
    area: Vec<String>,

    /// As whom the operations act
    #[arg(long = "as", value_name = "MODE", value_delimiter = ',', default_values_t = Mode::ALL, value_enum)]
    modes: Vec<Mode>,

    /// How many searches for the truth run at a time: they mostly wait for the kernel
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..))]
    jobs: u8,

    /// Every comparison, exact ones too, as one JSON object a line
    #[arg(long)]
    json: bool,

    /// Write the result to this file, as Markdown
    #[arg(long, value_name = "FILE", conflicts_with_all = ["names", "area"])]
    write: Option<PathBuf>,

    /// Fail, too, if of a hundred recommendations in a mode more than these call something decisive that is not
    #[arg(long, value_name = "PERCENT")]
    extra_decisive: Option<usize>,

    /// Fail only if more is wrong than this file knows of, or less: what is right now has to go from it
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,

    /// Write what is wrong to this file, as a baseline
    #[arg(long, value_name = "FILE", conflicts_with_all = ["names", "area"])]
    write_baseline: Option<PathBuf>,

    /// The capaudit to use, instead of building one
    #[arg(long, value_name = "FILE")]
    capaudit: Option<PathBuf>,
}

/// Audits, finds the truth, prints how they compare, and judges that.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if !project::is_root() {
        bail!("operations are set up under full rights: run `cargo xtask operations` as root");
    }
    let baseline = args.baseline.as_deref().map(Baseline::read).transpose()?;
    let program = Program::build()?;
    let chosen = program.choose(&args.names, &args.area)?;
    let capaudit = match &args.capaudit {
        Some(file) => file
            .canonicalize()
            .with_context(|| format!("no capaudit at {}", file.display()))?,
        None => audit::build()?,
    };
    let folder = project::target().join("operations");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;

    let profile = match args.modes.contains(&Mode::Docker) {
        true => Some(profile::of_docker(&folder)?),
        false => None,
    };
    let mut rows: Vec<Row> = Vec::new();
    // Audits come first: every trial of the search for the truth would be met by them.
    let audits = args
        .modes
        .iter()
        .map(|mode| {
            audit::of(
                &capaudit,
                &program,
                &chosen,
                *mode,
                profile.as_deref(),
                &folder,
            )
        })
        .collect::<Result<Vec<_>>>()?;
    let truths = truth::of(
        &program,
        &chosen,
        &args.modes,
        profile.as_deref(),
        usize::from(args.jobs),
        &folder,
    )?;
    for (mode, audit) in args.modes.iter().zip(&audits) {
        for operation in &chosen {
            let truth = truths.get(&operation.operation, *mode)?;
            rows.push(Row::new(operation, truth, audit)?);
        }
    }

    if args.json {
        for row in &rows {
            println!("{}", serde_json::to_string(row)?);
        }
    } else {
        println!("{}", page::text(&rows));
    }
    if let Some(path) = &args.write {
        command::write(path, &page::whole(&rows, &Setting::here()?))?;
        eprintln!("wrote {}", path.display());
    }
    if let Some(path) = &args.write_baseline {
        Baseline::of(&rows, args.extra_decisive).write(path)?;
        eprintln!("wrote {}", path.display());
    }
    let faults = baseline
        .unwrap_or_default()
        .faults(&rows, args.extra_decisive);
    for fault in &faults {
        eprintln!("error: {fault}");
    }
    Ok(if faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
