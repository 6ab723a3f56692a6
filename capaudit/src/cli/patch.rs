//! `capaudit export compose --patch FILE`: the recommendation put into the files that it is for.

use std::{collections::BTreeMap, io::Write as _, path::PathBuf};

use similar::TextDiff;

use super::{Exit, complain};
use crate::{
    check::used,
    export::patch::{self, Patch, Wish},
    ledger::{Kind, Ledger},
    manifest::compose,
    report::{Report, sanitize},
};

/// Which files, and whether they are written.
#[derive(Debug, clap::Args)]
pub struct Target {
    /// Put the recommendation into this compose file, in place; comments, order and style stay. Several are patched
    /// as they are used together, with -f
    #[arg(long, value_name = "FILE")]
    patch: Vec<PathBuf>,

    /// Only show what --patch would change
    #[arg(long, requires = "patch")]
    diff: bool,
}

impl Target {
    /// Whether anything is to be patched.
    pub fn is_wanted(&self) -> bool {
        !self.patch.is_empty()
    }
}

/// Patches files with what a ledger's containers need.
///
/// `narrowed` tells that the ledger is not all of what was audited.
pub fn run(target: &Target, ledger: &Ledger, narrowed: bool, output: Option<&PathBuf>) -> Exit {
    if let Err(message) = check_output(target, output) {
        complain(message);
        return Exit::Usage;
    }
    let report = Report::of(ledger);
    let wishes = wishes(&report);
    let patch = compose::read(&target.patch).and_then(|project| patch::patch(&project, &wishes));
    let patch = match patch {
        Ok(patch) => patch,
        Err(error) => {
            complain(&error);
            return Exit::Usage;
        }
    };
    if patch.not_here.len() == wishes.len() {
        complain(&format!(
            "no audited service is in these files: the sessions know {}, the files have {}",
            listed(&patch.not_here),
            listed(&patch.not_audited)
        ));
        return Exit::Usage;
    }
    let written = if target.diff {
        show(&patch)
    } else {
        write(&patch, output)
    };
    if let Err(error) = written {
        complain(&error);
        return Exit::Usage;
    }
    tell(target, &report, &patch, narrowed, output);
    if patch.left.is_empty() {
        Exit::Success
    } else {
        Exit::Finding
    }
}

fn check_output(target: &Target, output: Option<&PathBuf>) -> Result<(), &'static str> {
    match output {
        Some(_) if target.diff => Err("--diff writes no file: leave --output out"),
        Some(_) if target.patch.len() > 1 => {
            Err("--output is for one --patch file: several are patched in place")
        }
        _ => Ok(()),
    }
}

fn wishes(report: &Report) -> BTreeMap<String, Wish> {
    used(report)
        .into_iter()
        .filter(|used| used.kind == Kind::Container)
        .map(|used| {
            let wish = Wish {
                capabilities: used.needed,
                no_new_privileges: used.no_new_privileges_is_safe,
            };
            (used.name, wish)
        })
        .collect()
}

fn show(patch: &Patch) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for file in &patch.files {
        let name = sanitize(&file.path.to_string_lossy());
        let diff = TextDiff::from_lines(&file.before, &file.after);
        let mut unified = diff.unified_diff();
        let text = unified
            .context_radius(3)
            .header(&format!("a/{name}"), &format!("b/{name}"))
            .to_string();
        match out.write_all(text.as_bytes()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            result => result?,
        }
    }
    Ok(())
}

fn write(patch: &Patch, output: Option<&PathBuf>) -> std::io::Result<()> {
    if let (Some(output), [file]) = (output, patch.files.as_slice()) {
        return crate::ledger::write_whole(output, file.after.as_bytes()).map_err(|error| {
            std::io::Error::new(error.kind(), format!("cannot write {output:?}: {error}"))
        });
    }
    let changed: Vec<_> = patch
        .files
        .iter()
        .filter(|file| file.before != file.after)
        .map(|file| (file.path.as_path(), file.after.as_str()))
        .collect();
    patch::replace(&changed)
}

/// Says on standard error what was done, what was not, and what is left to do.
fn tell(target: &Target, report: &Report, patch: &Patch, narrowed: bool, output: Option<&PathBuf>) {
    for file in &patch.files {
        let name = output.unwrap_or(&file.path).to_string_lossy().into_owned();
        if file.before == file.after {
            complain(&format!("{name}: nothing to change"));
        } else if !target.diff {
            complain(&format!("{name}: patched"));
        }
    }
    if !patch.not_audited.is_empty() {
        let why = if narrowed {
            "left as they are"
        } else {
            "not audited"
        };
        complain(&format!("{why}: {}", listed(&patch.not_audited)));
    }
    if !patch.not_here.is_empty() {
        complain(&format!(
            "audited, and in none of these files: {}",
            listed(&patch.not_here)
        ));
    }
    let session = &report.session;
    if !session.complete {
        complain(&format!(
            "warning: the record is incomplete ({} things were not seen), so a needed capability may be missing",
            session.lost_events
        ));
    }
    if let Some(status) = session.exit_status.filter(|status| *status != 0) {
        complain(&format!(
            "warning: the audited command failed with status {status}: what it would have needed later was not seen"
        ));
    }
    for note in session.notes.iter().chain(&patch.notes) {
        complain(&format!("note: {note}"));
    }
    for left in &patch.left {
        complain(&format!("left to do: {left}"));
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
