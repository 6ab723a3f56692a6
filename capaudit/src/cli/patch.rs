//! `capaudit export compose --patch FILE`: the recommendation put into the files that it is for.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use capaudit_core::{
    ledger::{Kind, not_seen},
    recommend::{Recommendation, name_of},
    report::{Report, SubjectReport},
    text::sanitize,
};
use capaudit_formats::{
    check::{self, Finding},
    export::patch::{self, Patch, Patched, TargetGrant},
    manifest::{self, compose::Project},
};
use similar::TextDiff;

use super::{
    deliver::deliver,
    exit::Exit,
    failure::{Failure, note},
};

/// Which files are patched, and where the result goes.
pub(super) struct Job<'a> {
    /// Compose files that are used together.
    pub files: &'a [PathBuf],
    /// Only show what would change.
    pub diff: bool,
    /// Where the result goes; into the file itself if `None`.
    pub output: Option<&'a Path>,
    /// The report is not of everything that was audited.
    pub narrowed: bool,
    /// What to do with a record that lacks something.
    pub if_incomplete: IfIncomplete,
}

/// What to do with a record that lacks something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IfIncomplete {
    /// Patch nothing.
    Refuse,
    /// Take nothing away.
    Widen,
    /// Patch: the services were run with what is written, and nothing went wrong.
    Trust,
}

impl Job<'_> {
    /// Whether the options fit each other.
    ///
    /// # Errors
    ///
    /// They do not.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.output {
            Some(_) if self.diff => Err("--diff writes no file: leave --output out".to_owned()),
            Some(_) if self.files.len() > 1 => {
                Err("--output is for one --patch file: several are patched in place".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Patches the files with what containers need. It is a finding if that does not suffice.
    ///
    /// # Errors
    ///
    /// Nothing was written.
    pub(super) fn run(
        &self,
        report: &Report,
        recommendation: &Recommendation,
    ) -> Result<Exit, Failure> {
        let mut targets = targets(recommendation);
        let project =
            manifest::project(self.files, &capaudit_storage::Disk).map_err(Failure::usage)?;
        let services = project.services();
        let lacking = lacking(report, |subject| {
            services.iter().any(|service| service == name_of(subject))
        });
        let is_any_here = services.iter().any(|service| targets.contains_key(service));
        let lacking = lacking.filter(|_why| self.if_incomplete != IfIncomplete::Trust);
        if let (Some(why), true) = (&lacking, is_any_here) {
            if self.if_incomplete == IfIncomplete::Refuse {
                return Err(refused(why));
            }
            let widened = patch::widened(&project, &targets).map_err(Failure::usage)?;
            for service in &widened.left_alone {
                note(&format!(
                    "left as it is, because the record is incomplete: {service}"
                ));
            }
            targets = widened.targets;
        }
        let mut patch = patch::patch(&project, &targets).map_err(Failure::usage)?;
        if patch.not_here.len() == targets.len() {
            return Err(Failure::usage(format!(
                "no audited service is in these files: the sessions know {}, the files have {}",
                listed(&patch.not_here),
                listed(&patch.not_audited)
            )));
        }
        for file in &mut patch.files {
            if file.before != file.after || lacking.is_none() {
                file.after = match &lacking {
                    Some(why) => patch::marked(&file.after, why),
                    None => patch::unmarked(&file.after),
                };
            }
        }
        let in_vain = in_vain(&project, &patch, recommendation)?;
        if self.diff {
            deliver(&unified(&patch.files), None, io::stdout()).map_err(Failure::usage)?;
        } else {
            self.write(&patch).map_err(Failure::usage)?;
        }
        self.tell(&patch);
        for workload in recommendation.containers() {
            if let Some(life) = workload.life_note()
                && services.contains(&workload.service)
            {
                note(&format!("note: {}: {life}", workload.name));
            }
        }
        for finding in in_vain {
            note(&format!("warning: {}: {}", finding.message, finding.mend));
        }
        Ok(if patch.left.is_empty() {
            Exit::Success
        } else {
            Exit::Finding
        })
    }

    fn write(&self, patch: &Patch) -> io::Result<()> {
        if let (Some(output), [file]) = (self.output, patch.files.as_slice()) {
            return deliver(&file.after, Some(output), io::stdout());
        }
        let changed: Vec<_> = patch
            .files
            .iter()
            .filter(|file| file.before != file.after)
            .map(|file| (file.path.as_path(), file.after.as_str()))
            .collect();
        capaudit_storage::replace(&changed)
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

/// What of the files as they will be reaches nobody.
fn in_vain(
    project: &Project,
    patch: &Patch,
    recommendation: &Recommendation,
) -> Result<Vec<Finding>, Failure> {
    let mut patched = project.clone();
    for (number, file) in patch.files.iter().enumerate() {
        let with_text = patched.with_text(number, file.after.clone());
        patched = with_text.map_err(Failure::usage)?;
    }
    let workloads = patched.workloads().map_err(Failure::usage)?;
    Ok(check::in_vain(&workloads, recommendation))
}

/// Why nothing must be taken away by what a report says of these subjects; `None` if it rests on all that they did.
pub(super) fn lacking(
    report: &Report,
    concerns: impl Fn(&SubjectReport) -> bool,
) -> Option<String> {
    let session = &report.session;
    if session.lost_events > 0 {
        return Some(not_seen(session.lost_events));
    }
    let is_partial = |subject: &&SubjectReport| !subject.incomplete.is_empty();
    let partial: Vec<&str> = report
        .subjects
        .iter()
        .filter(is_partial)
        .filter(|subject| subject.kind == Kind::Container && concerns(subject))
        .map(|subject| subject.name.as_str())
        .collect();
    if !partial.is_empty() {
        return Some(format!("not all was seen of {}", partial.join(", ")));
    }
    // Nothing else makes it incomplete.
    let are_checks_only = !session.complete && !report.subjects.iter().any(|it| is_partial(&it));
    are_checks_only.then(|| "only checks were recorded".to_owned())
}

/// What is said of a patch that might take away what is needed.
pub(super) fn refused(why: &str) -> Failure {
    Failure::usage(format!(
        "the record is incomplete ({why}), and a patch could take away what is needed: nothing was changed"
    ))
    .hint("run the audit again, on containers that are made anew; or patch with --incomplete (compose), which takes nothing away")
}

fn targets(recommendation: &Recommendation) -> BTreeMap<String, TargetGrant> {
    let mut targets: BTreeMap<String, TargetGrant> = BTreeMap::new();
    for workload in recommendation.containers() {
        // A file does not name its project: services of the same name may all be meant.
        targets
            .entry(workload.service.clone())
            .and_modify(|target| {
                target.capabilities |= workload.cap_add();
                target.no_new_privileges &= workload.no_new_privileges_is_safe;
            })
            .or_insert_with(|| TargetGrant {
                capabilities: workload.cap_add(),
                no_new_privileges: workload.no_new_privileges_is_safe,
            });
    }
    targets
}

/// What `diff -u` says of the files, with three lines around each change; nothing of a file that stays as it is.
fn unified(files: &[Patched]) -> String {
    let mut text = String::new();
    for file in files {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, before: &str, after: &str) -> Patched {
        Patched {
            path: path.into(),
            before: before.to_owned(),
            after: after.to_owned(),
        }
    }

    /// The difference between two texts, without the two lines that name them.
    fn hunks(before: &str, after: &str) -> String {
        let text = unified(&[file("f", before, after)]);
        let names = "--- a/f\n+++ b/f\n";
        text.strip_prefix(names).unwrap_or(&text).to_owned()
    }

    const TWENTY: &str = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n16\n17\n18\n19\n20\n";

    #[test]
    fn every_file_that_changes_is_named() {
        let files = [
            file("x/compose.yaml", "a: 1\n", "a: 2\n"),
            file("same.yaml", "a: 1\n", "a: 1\n"),
            file("/y\u{1b}.yaml", "b: 1\n", "b: 2\n"),
        ];
        assert_eq!(
            unified(&files),
            "--- a/x/compose.yaml\n+++ b/x/compose.yaml\n@@ -1 +1 @@\n-a: 1\n+a: 2\n\
             --- a//y\\u{1b}.yaml\n+++ b//y\\u{1b}.yaml\n@@ -1 +1 @@\n-b: 1\n+b: 2\n"
        );
    }

    #[test]
    fn changes_share_a_hunk_while_their_surroundings_touch() {
        let both = |second: &str| {
            let after = TWENTY.replace("\n5\n", "\nfive\n");
            hunks(TWENTY, &after.replace(&format!("\n{second}\n"), "\n"))
        };
        // Six lines between.
        assert_eq!(
            both("12"),
            "@@ -2,14 +2,13 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n 9\n 10\n 11\n-12\n 13\n 14\n 15\n"
        );
        // Seven.
        assert_eq!(
            both("13"),
            "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n\
             @@ -10,7 +10,6 @@\n 10\n 11\n 12\n-13\n 14\n 15\n 16\n"
        );
    }

    #[test]
    fn lines_are_inserted_at_the_start_at_the_end_and_into_nothing() {
        assert_eq!(
            hunks(TWENTY, &format!("0\n{TWENTY}21\n22\n")),
            "@@ -1,3 +1,4 @@\n+0\n 1\n 2\n 3\n@@ -18,3 +19,5 @@\n 18\n 19\n 20\n+21\n+22\n"
        );
        assert_eq!(hunks("", "1\n2\n"), "@@ -0,0 +1,2 @@\n+1\n+2\n");
        assert_eq!(hunks("1\n", ""), "@@ -1 +0,0 @@\n-1\n");
    }

    #[test]
    fn among_equal_lines_the_last_ones_are_new() {
        let before = "a:\n  - X\n\nb:\n  - X\n";
        let after = "a:\n  - X\n  - X\n\nc:\n  - X\n\nb:\n  - X\n";
        assert_eq!(
            hunks(before, after),
            "@@ -1,5 +1,9 @@
 a:
   - X
+  - X
+
+c:
+  - X
 
 b:
   - X
"
        );
    }

    #[test]
    fn a_last_line_without_its_end_is_marked() {
        let mark = "\\ No newline at end of file";
        assert_eq!(
            hunks("1\n2", "1\n2\n"),
            format!("@@ -1,2 +1,2 @@\n 1\n-2\n{mark}\n+2\n")
        );
        assert_eq!(
            hunks("1\n2\n", "1\n2"),
            format!("@@ -1,2 +1,2 @@\n 1\n-2\n+2\n{mark}\n")
        );
        assert_eq!(
            hunks("1\n2", "0\n1\n2"),
            format!("@@ -1,2 +1,3 @@\n+0\n 1\n 2\n{mark}\n")
        );
    }
}
