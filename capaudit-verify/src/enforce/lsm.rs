//! A set enforced by a BPF LSM program, on whatever the command starts.
//!
//! The programs live as long as the process that loaded them: each run has one of its own, which is capaudit again
//! (`capaudit enforce`).

use std::{ffi::OsString, path::Path};

use super::listed;
use crate::Grants;

/// Name of the command and its descendants among the subjects.
pub const COMMAND: &str = "command";
/// Name of the containers that start meanwhile: all of them get one set, as the kernel cannot tell in time which is
/// which.
pub const CONTAINERS: &str = "containers";

/// The command, with these sets in force. A subject without a set may do everything.
pub fn enforced(
    command: &[OsString],
    subjects: &[String],
    sets: &Grants,
    in_force: &Path,
) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["/proc/self/exe".into(), "enforce".into()];
    for (place, name) in subjects.iter().enumerate() {
        words.extend([format!("--{name}").into(), listed(sets.of(place)).into()]);
    }
    words.extend(["--in-force".into(), in_force.into(), "--".into()]);
    words.extend(command.iter().cloned());
    words
}

#[cfg(test)]
mod tests {
    use capaudit_core::capability::{CapSet, Capability};

    use super::*;

    #[test]
    fn each_subject_gets_its_set() {
        let sets = Grants::new(vec![
            CapSet::of(&[Capability::CHOWN, Capability::KILL]),
            CapSet::EMPTY,
        ]);
        let subjects = [CONTAINERS.to_owned(), COMMAND.to_owned()];
        let words = enforced(&["make".into()], &subjects, &sets, Path::new("/x"));
        let words: Vec<_> = words.iter().filter_map(|word| word.to_str()).collect();
        assert_eq!(
            words[1..].join(" "),
            "enforce --containers CHOWN,KILL --command NONE --in-force /x -- make"
        );
    }
}
