//! `capaudit man`

use std::{
    io,
    path::{Path, PathBuf},
};

use capaudit_storage::write_whole;
use clap::CommandFactory as _;
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

use super::{exit::Exit, failure::Failure, output::print};

/// Write manual pages: capaudit's own, a subcommand's, or all of them into a directory.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  capaudit man run | man -l -
  capaudit man --output /usr/local/share/man/man1")]
pub(super) struct Arguments {
    /// Write every page into this directory, a file each
    #[arg(long, value_name = "DIR", conflicts_with = "subcommand")]
    output: Option<PathBuf>,

    /// The page of this subcommand, on standard output
    #[arg(value_name = "SUBCOMMAND")]
    subcommand: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    match (&arguments.output, &arguments.subcommand) {
        (Some(directory), _) => write_all(directory),
        (None, Some(name)) => match commands().find(|command| command.get_name() == name) {
            Some(command) => show(command),
            None => {
                let known: Vec<String> = commands()
                    .map(|command| command.get_name().to_owned())
                    .collect();
                Err(Failure::usage(format!(
                    "no subcommand {name:?}; there are: {}",
                    known.join(", ")
                )))
            }
        },
        (None, None) => show(root()),
    }?;
    Ok(Exit::Success)
}

fn show(command: clap::Command) -> Result<(), Failure> {
    let page = page(command).map_err(Failure::usage)?;
    print(&String::from_utf8_lossy(&page))
}

fn write_all(directory: &Path) -> Result<(), Failure> {
    if !directory.is_dir() {
        return Err(Failure::usage(format!(
            "{directory:?} is no directory: make it first"
        )));
    }
    for command in std::iter::once(root()).chain(commands()) {
        let file = directory.join(format!("{}.1", page_name(&command)));
        page(command)
            .and_then(|page| write_whole(&file, &page))
            .map_err(|error| Failure::usage(format!("cannot write {file:?}: {error}")))?;
    }
    Ok(())
}

/// The whole command line; its built-in help has no page of its own.
fn root() -> clap::Command {
    let mut root = super::Arguments::command().disable_help_subcommand(true);
    root.build();
    root
}

fn commands() -> impl Iterator<Item = clap::Command> {
    let commands: Vec<clap::Command> = root()
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .cloned()
        .collect();
    commands.into_iter()
}

fn page_name(command: &clap::Command) -> String {
    command
        .get_display_name()
        .unwrap_or(command.get_name())
        .to_owned()
}

fn page(command: clap::Command) -> io::Result<Vec<u8>> {
    let after = command.get_after_help().map(ToString::to_string);
    let has_subcommands = command.has_subcommands();
    let name = page_name(&command);
    // Of a subcommand's, no version is known to clap.
    let man = Man::new(command)
        .title(name)
        // None, in quotes: an empty argument would be left out, and the next take its place.
        .date("\"\"")
        .source(concat!("capaudit ", env!("CARGO_PKG_VERSION")))
        .manual("User Commands");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if has_subcommands {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(after) = after {
        extra(&after).to_writer(&mut page)?;
    }
    Ok(page)
}

/// What stands below the options in --help: "Examples:" with indented lines, and paragraphs like "Exit status: …", each a
/// section of its own.
fn extra(text: &str) -> Roff {
    let mut roff = Roff::new();
    for part in text.split("\n\n") {
        let (title, rest) = part.split_once(':').unwrap_or(("Notes", part));
        roff.control("SH", [title.to_uppercase().as_str()]);
        let is_code = rest.starts_with('\n');
        if is_code {
            roff.control("nf", []);
        }
        for line in rest.lines().filter(|line| !line.is_empty()) {
            roff.text([roman(line.trim())]);
        }
        if is_code {
            roff.control("fi", []);
        }
    }
    roff
}
