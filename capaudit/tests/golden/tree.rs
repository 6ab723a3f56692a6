//! The files beside this one: which sessions there are, and that all of them are asked about.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use crate::expected;

/// The case that takes no session.
pub(crate) const COMMANDS: &str = "no-session";

/// Cases of several sessions: what each is called, and the sessions.
const MERGED: [(&str, &[&str]); 3] = [
    ("merged-web", &["nginx80", "nginx-phpfpm", "haproxy80"]),
    ("merged-shop", &["shop", "redis-entrypoint", "cron-user"]),
    // The same subject twice.
    ("merged-twice", &["openssh-pty", "openssh-pty"]),
];

/// The 47 scenarios of the corpus, examples/shop and six commands; more are welcome.
const FEWEST_SESSIONS: usize = 54;

/// Sessions that are reported on together: most cases have one.
pub(crate) struct Case {
    pub name: String,
    pub sessions: Vec<String>,
}

/// The directory of this test.
pub(crate) struct Tree(PathBuf);

impl Tree {
    pub(crate) fn of_this_package() -> Self {
        Self(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"))
    }

    pub(crate) fn session(&self, name: &str) -> PathBuf {
        self.0.join("sessions").join(format!("{name}.json"))
    }

    /// The file that holds all that is printed in a case.
    pub(crate) fn output(&self, case: &str) -> PathBuf {
        self.0.join("outputs").join(format!("{case}.txt"))
    }

    /// What a session is checked against, and what is patched: its own files if it has some.
    pub(crate) fn inputs(&self, session: &str) -> PathBuf {
        let own = self.0.join("inputs").join(session);
        if own.is_dir() {
            own
        } else {
            self.0.join("inputs/any")
        }
    }

    /// Every case that takes sessions.
    pub(crate) fn cases(&self) -> Result<Vec<Case>, String> {
        let single = self
            .names("sessions", ".json")?
            .into_iter()
            .map(|name| Case {
                sessions: vec![name.clone()],
                name,
            });
        let merged = MERGED.iter().map(|(name, sessions)| Case {
            name: (*name).to_owned(),
            sessions: sessions.iter().map(|name| (*name).to_owned()).collect(),
        });
        Ok(single.chain(merged).collect())
    }

    /// Fails unless there are as many sessions as there were, each has its outputs, and no outputs are left over. Where
    /// outputs are written, the cases are about to add theirs, and what is left over goes.
    pub(crate) fn judge(&self) -> Result<(), String> {
        let sessions = self.names("sessions", ".json")?;
        if sessions.len() < FEWEST_SESSIONS {
            return Err(format!(
                "{} sessions, where {FEWEST_SESSIONS} were saved",
                sessions.len()
            ));
        }
        let mut wanted: BTreeSet<String> =
            self.cases()?.into_iter().map(|case| case.name).collect();
        wanted.insert(COMMANDS.to_owned());
        let there = self.names("outputs", ".txt")?;
        let left_over: Vec<&String> = there.difference(&wanted).collect();
        if expected::is_to_be_written()? {
            return left_over.into_iter().try_for_each(|case| {
                fs::remove_file(self.output(case))
                    .map_err(|error| format!("cannot remove the outputs of {case}: {error}"))
            });
        }
        let without: Vec<&String> = wanted.difference(&there).collect();
        if without.is_empty() && left_over.is_empty() {
            Ok(())
        } else {
            Err(format!(
                "without outputs: {without:?}; outputs without a session: {left_over:?}"
            ))
        }
    }

    /// The files of a directory, without the end that they all must have.
    fn names(&self, directory: &str, end: &str) -> Result<BTreeSet<String>, String> {
        let path = self.0.join(directory);
        let of_entry = |entry: io::Result<fs::DirEntry>| {
            let name = entry
                .map_err(|error| format!("cannot list {}: {error}", path.display()))?
                .file_name();
            name.to_str()
                .and_then(|name| name.strip_suffix(end))
                .map(str::to_owned)
                .ok_or_else(|| format!("{name:?} in {directory} does not end in {end}"))
        };
        fs::read_dir(&path)
            .map_err(|error| format!("cannot list {}: {error}", path.display()))?
            .map(of_entry)
            .collect()
    }
}
