//! `capaudit files PATH…`

use std::path::{Path, PathBuf};

use capaudit_core::{capability::CapSet, text::sanitize};
use capaudit_tracer::inspect::files::{Found, Privileged, Search, exact};
use serde::Serialize;

use super::{
    exit::Exit,
    failure::{Failure, note},
    output::{Format, print, print_json},
};

/// Unentered file systems and unreadable places that are named one by one.
const NAMED: usize = 10;

/// List files with capabilities, at each PATH and below it.
///
/// In the form of getcap(8): `/bin/ping cap_net_raw=ep`, with `[rootid=N]` where the capabilities count only in user
/// namespaces whose root is the user N. Other file systems and symbolic links are not entered, save a PATH itself. What could
/// not be looked at is told at the end, on standard error.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  capaudit files /
  capaudit files --setuid /usr /opt
  capaudit files --cross --format json /var/lib/docker/overlay2

Exit status: 0, even if something below could not be looked at; 2 if a PATH does not exist or cannot be looked at itself.")]
pub(super) struct Arguments {
    /// Also list files that are set-user-ID and root's: programs that get everything
    #[arg(long)]
    setuid: bool,

    /// Enter other file systems, too (but not proc, sysfs and the like)
    #[arg(long)]
    cross: bool,

    /// How the result is shown
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Directories or files
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// The contract capaudit.files/1.
#[derive(Debug, Serialize)]
struct Report {
    schema: &'static str,
    files: Vec<Entry>,
    unseen: Vec<Unseen>,
    not_entered: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Entry {
    path: String,
    /// Where the path is no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    capabilities: Option<Capabilities>,
    setuid_root: bool,
}

#[derive(Debug, Serialize)]
struct Capabilities {
    text: String,
    permitted: CapSet,
    inheritable: CapSet,
    effective: bool,
    root_id: Option<u32>,
}

#[derive(Debug, Serialize)]
struct Unseen {
    path: String,
    why: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let search = Search {
        setuid: arguments.setuid,
        cross: arguments.cross,
    };
    let mut found = Found::default();
    let mut exit = Exit::Success;
    for path in &arguments.paths {
        if let Err(error) = search.below(path, &mut found) {
            note(&format!("{path:?}: {error}"));
            exit = Exit::Usage;
        }
        // An empty list would be taken for its answer.
        if found.unseen.iter().any(|unseen| unseen.path == *path) {
            exit = Exit::Usage;
        }
    }
    match arguments.format {
        Format::Text => {
            let lines: Vec<String> = found.files.iter().map(line).collect();
            print(&lines.concat())?;
            tell_unseen(&found);
        }
        Format::Json => print_json(&report(&found))?,
    }
    Ok(exit)
}

fn line(file: &Privileged) -> String {
    let mut line = sanitize(&file.path.to_string_lossy());
    if let Some(capabilities) = &file.capabilities {
        line.push_str(&format!(" {capabilities}"));
        if let Some(root_id) = capabilities.root_id {
            line.push_str(&format!(" [rootid={root_id}]"));
        }
    }
    if file.setuid_root {
        line.push_str(" [setuid root]");
    }
    line.push('\n');
    line
}

fn tell_unseen(found: &Found) {
    for unseen in found.unseen.iter().take(NAMED) {
        note(&format!("cannot look at {:?}: {}", unseen.path, unseen.why));
    }
    if found.unseen.len() > NAMED {
        let more = found.unseen.len() - NAMED;
        note(&format!(
            "{more} more places could not be looked at (--format json names them)"
        ));
    }
    if !found.not_entered.is_empty() {
        let mut names: Vec<String> = found
            .not_entered
            .iter()
            .take(NAMED)
            .map(|path| format!("{path:?}"))
            .collect();
        if found.not_entered.len() > NAMED {
            names.push(format!("{} more", found.not_entered.len() - NAMED));
        }
        note(&format!(
            "other file systems were not entered (--cross does): {}",
            names.join(", ")
        ));
    }
}

fn report(found: &Found) -> Report {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    Report {
        schema: "capaudit.files/1",
        files: found
            .files
            .iter()
            .map(|file| Entry {
                path: text(&file.path),
                path_hex: exact(&file.path),
                capabilities: file.capabilities.map(|capabilities| Capabilities {
                    text: capabilities.to_string(),
                    permitted: capabilities.permitted,
                    inheritable: capabilities.inheritable,
                    effective: capabilities.effective,
                    root_id: capabilities.root_id,
                }),
                setuid_root: file.setuid_root,
            })
            .collect(),
        unseen: found
            .unseen
            .iter()
            .map(|unseen| Unseen {
                path: text(&unseen.path),
                why: unseen.why.clone(),
            })
            .collect(),
        not_entered: found.not_entered.iter().map(|path| text(path)).collect(),
    }
}
