//! `capaudit export compose --patch FILE`: the recommendation put into the files that it is for.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use capaudit_core::{recommend::workload::containers, report::Report, text::sanitize};
use capaudit_formats::{
    export::patch::{self, Patch, Wish},
    manifest,
};
use similar::TextDiff;

use super::{
    deliver::deliver,
    exit::Exit,
    failure::{Failure, note},
};
use crate::storage;

/// Which files are patched, and where the result goes.
pub struct Job<'a> {
    /// Compose files that are used together.
    pub files: &'a [PathBuf],
    /// Only show what would change.
    pub diff: bool,
    /// Where the result goes; into the file itself if `None`.
    pub output: Option<&'a Path>,
    /// The report is not of everything that was audited.
    pub narrowed: bool,
}

impl Job<'_> {
    /// Whether the options fit each other.
    ///
    /// # Errors
    ///
    /// They do not.
    pub fn check(&self) -> Result<(), String> {
        match self.output {
            Some(_) if self.diff => Err("--diff writes no file: leave --output out".to_owned()),
            Some(_) if self.files.len() > 1 => {
                Err("--output is for one --patch file: several are patched in place".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Patches the files with what a report's containers need. It is a finding if that does not suffice.
    ///
    /// # Errors
    ///
    /// Nothing was written.
    pub fn run(&self, report: &Report) -> Result<Exit, Failure> {
        let wishes = wishes(report);
        let project = manifest::project(self.files, &storage::Disk).map_err(Failure::usage)?;
        let patch = patch::patch(&project, &wishes).map_err(Failure::usage)?;
        if patch.not_here.len() == wishes.len() {
            return Err(Failure::usage(format!(
                "no audited service is in these files: the sessions know {}, the files have {}",
                listed(&patch.not_here),
                listed(&patch.not_audited)
            )));
        }
        if self.diff {
            deliver(&unified(&patch), None, io::stdout()).map_err(Failure::usage)?;
        } else {
            self.write(&patch).map_err(Failure::usage)?;
        }
        self.tell(&patch);
        Ok(if patch.left.is_empty() {
            Exit::Success
        } else {
            Exit::Finding
        })
    }

    fn write(&self, patch: &Patch) -> io::Result<()> {
        if let (Some(output), [file]) = (self.output, patch.files.as_slice()) {
            return deliver(&file.after, Some(output), io::sink());
        }
        let changed: Vec<_> = patch
            .files
            .iter()
            .filter(|file| file.before != file.after)
            .map(|file| (file.path.as_path(), file.after.as_str()))
            .collect();
        storage::replace(&changed)
    }

    /// Says on standard error what was done, what was not, and what is left to do.
    fn tell(&self, patch: &Patch) {
        for file in &patch.files {
            let name = self.output.unwrap_or(&file.path).display();
            if file.before == file.after {
                note(&format!("{name}: nothing to change"));
            } else if !self.diff {
                note(&format!("{name}: patched"));
            }
        }
        if !patch.not_audited.is_empty() {
            let why = if self.narrowed {
                "left as they are"
            } else {
                "not audited"
            };
            note(&format!("{why}: {}", listed(&patch.not_audited)));
        }
        if !patch.not_here.is_empty() {
            note(&format!(
                "audited, and in none of these files: {}",
                listed(&patch.not_here)
            ));
        }
        for text in &patch.notes {
            note(&format!("note: {text}"));
        }
        for left in &patch.left {
            note(&format!("left to do: {left}"));
        }
    }
}

fn wishes(report: &Report) -> BTreeMap<String, Wish> {
    containers(report)
        .into_iter()
        .map(|workload| {
            let wish = Wish {
                capabilities: workload.cap_add(),
                no_new_privileges: workload.no_new_privileges_is_safe,
            };
            (workload.name, wish)
        })
        .collect()
}

fn unified(patch: &Patch) -> String {
    let mut text = String::new();
    for file in &patch.files {
        let name = sanitize(&file.path.to_string_lossy());
        let diff = TextDiff::from_lines(&file.before, &file.after);
        let mut unified = diff.unified_diff();
        unified
            .context_radius(3)
            .header(&format!("a/{name}"), &format!("b/{name}"));
        text.push_str(&unified.to_string());
    }
    text
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
