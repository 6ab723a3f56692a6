//! `operations`: the smallest things that ask the kernel for a capability, each with the truth by knock-out.
//!
//! One static program that runs on any kernel. It never asks capaudit, whose answers are compared with its own elsewhere.
//! Begin to read with [`operation`], then [`judge`]. `docs/internals/operations.md` says how to add an operation.

mod areas;
mod credentials;
mod judge;
mod keeper;
mod operation;
mod place;
mod profile;
mod series;
mod show;
mod sys;
mod trial;
mod truth;

use std::{
    error::Error,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use capaudit_core::capability::CapSet;
use clap::{Parser, Subcommand};
use serde_json::json;

use credentials::{Grant, Mode};
use operation::Operation;
use profile::Profile;
use series::Series;
use trial::Actor;
use truth::Extent;

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the operations
    List {
        /// One object a line: name, area, and the capabilities that its author had in mind
        #[arg(long)]
        json: bool,
    },
    /// Set an operation up in DIR and leave it so
    Setup { name: String, dir: PathBuf },
    /// Act, in a process that has entered DIR's namespaces, and print what was seen
    Act { name: String, dir: PathBuf },
    /// Enter the namespaces of what was set up in DIR and execute a command
    Enter {
        dir: PathBuf,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Undo what was set up in DIR
    Teardown { dir: PathBuf },
    /// Set an operation up and let it act with exactly these capabilities
    Try {
        name: String,
        /// All but these
        #[arg(long, conflicts_with = "only")]
        without: Option<CapSet>,
        /// None but these
        #[arg(long)]
        only: Option<CapSet>,
        #[arg(long)]
        no_new_privs: bool,
        /// As this user, with ambient capabilities
        #[arg(long, default_value_t = 0)]
        uid: u32,
        /// In a user namespace of its own
        #[arg(long)]
        userns: bool,
    },
    /// Find the truth by knock-out: one JSON object a line
    Truth {
        names: Vec<String>,
        /// root, user, nnp, user-nnp, userns, docker
        #[arg(long = "as", value_delimiter = ',', default_value = "root", value_parser = mode)]
        modes: Vec<Mode>,
        /// Leave out how each act differs without each single capability, which takes most of the time
        #[arg(long)]
        minimal_only: bool,
        /// What `docker` allows, by capability: JSON
        #[arg(long)]
        profile: Option<PathBuf>,
        /// Where to work; the file system decides a few operations
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Let one after the other act with everything, each executed in a cgroup of its own that is named like a
    /// container's: one JSON object a line
    Series {
        names: Vec<String>,
        /// root, user, nnp, user-nnp, userns, docker
        #[arg(long = "as", default_value = "root", value_parser = mode)]
        mode: Mode,
        /// What `docker` allows, by capability: JSON
        #[arg(long)]
        profile: Option<PathBuf>,
        /// Where to work; the file system decides a few operations
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

fn mode(text: &str) -> Result<Mode, String> {
    let found = Mode::ALL.into_iter().find(|mode| mode.name() == text);
    found.ok_or_else(|| format!("no mode; one of {}", Mode::ALL.map(Mode::name).join(", ")))
}

fn main() -> ExitCode {
    if show::is_asked() {
        return show::run();
    }
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "operations: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    match command {
        Command::List { json } => {
            for (area, operation) in areas::by_area() {
                if json {
                    writeln!(
                        out,
                        "{}",
                        json!({"operation": operation.name, "area": area, "aim": operation.aim, "looks_at_sets": operation.looks_at_sets})
                    )?;
                } else {
                    writeln!(out, "{:40} {area:15} {}", operation.name, operation.aim)?;
                }
            }
        }
        Command::Setup { name, dir } => {
            drop(out);
            keeper::setup(find(&name)?, &absolute(&dir)?)?;
        }
        Command::Act { name, dir } => {
            let seen = keeper::act(find(&name)?, &absolute(&dir)?);
            writeln!(out, "{}", serde_json::to_string(&seen)?)?;
        }
        Command::Enter { dir, command } => {
            return Err(keeper::enter(&absolute(&dir)?, &command).into());
        }
        Command::Teardown { dir } => keeper::teardown(&absolute(&dir)?)?,
        Command::Try {
            name,
            without,
            only,
            no_new_privs,
            uid,
            userns,
        } => {
            let operation = find(&name)?;
            let mode = if userns { Mode::Userns } else { Mode::Root };
            let whole = truth::whole(mode, None)?;
            let set = only
                .unwrap_or(whole - without.unwrap_or_default())
                .intersection(whole);
            let grant = Grant {
                set,
                user: uid,
                no_new_privs,
                filters: None,
            };
            let base = scratch(None)?;
            let trial = trial::run(operation, &base.0, mode, &grant, Actor::Forked)?;
            let line = json!({"operation": name, "kernel": truth::kernel_release(), "set": set, "trial": trial});
            writeln!(out, "{line}")?;
        }
        Command::Truth {
            names,
            modes,
            minimal_only,
            profile,
            dir,
        } => {
            let profile = profile.as_deref().map(Profile::read).transpose()?;
            let extent = if minimal_only {
                Extent::Minimal
            } else {
                Extent::Each
            };
            let base = scratch(dir)?;
            for operation in chosen(&names)? {
                for mode in &modes {
                    let truth = truth::of(operation, &base.0, *mode, profile.as_ref(), extent)?;
                    writeln!(out, "{}", serde_json::to_string(&truth)?)?;
                }
            }
        }
        Command::Series {
            names,
            mode,
            profile,
            dir,
        } => {
            let profile = profile.as_deref().map(Profile::read).transpose()?;
            let base = scratch(dir)?;
            let series = Series::prepare(&base.0, mode, profile.as_ref())?;
            for operation in chosen(&names)? {
                let line = series.act(operation)?;
                writeln!(out, "{}", serde_json::to_string(&line)?)?;
            }
        }
    }
    Ok(())
}

/// The operations with these names, or all.
fn chosen(names: &[String]) -> Result<Vec<&'static Operation>, String> {
    if names.is_empty() {
        Ok(areas::all().collect())
    } else {
        names.iter().map(|name| find(name)).collect()
    }
}

fn find(name: &str) -> Result<&'static Operation, String> {
    areas::all()
        .find(|operation| operation.name == name)
        .ok_or_else(|| format!("no operation is called {name}"))
}

/// A directory for trials, which is removed in the end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left in it is of no use, and nobody waits for it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn scratch(parent: Option<PathBuf>) -> io::Result<Scratch> {
    let parent = parent.map_or_else(|| Ok(std::env::temp_dir()), |parent| absolute(&parent))?;
    let scratch = Scratch(parent.join(format!("operations.{}", std::process::id())));
    place::prepare(&scratch.0)?;
    Ok(scratch)
}

fn absolute(path: &Path) -> io::Result<PathBuf> {
    std::path::absolute(path)
}
