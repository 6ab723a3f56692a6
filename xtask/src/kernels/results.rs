//! What a virtual machine reports, as `init.sh` writes it to the second serial port, one item a line:
//!
//! ```text
//! ready 1.93            set up, after so many seconds
//! has cap_capable       a property of the kernel
//! step 000              a step begins
//! exit 000 0            … and has ended, with this status
//! file report.json      a file from /out follows,
//! |{ "schema": …        … line by line
//! done                  nothing is missing
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::initramfs::Step;

/// What happened in a virtual machine.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Seconds from the kernel's start to the first process being ready, as the virtual machine counts them.
    pub(super) ready: Option<String>,
    /// Properties of the kernel: the symbols `init.sh` looks for, and `btf`.
    pub(super) has: BTreeSet<String>,
    /// The steps by label, with their exit status; none for one that was not reached or did not end.
    pub(super) steps: Vec<(String, Option<i32>)>,
    /// The files that the steps left in /out, by name.
    pub(super) files: BTreeMap<String, String>,
    /// Whether the report is complete.
    pub(super) complete: bool,
}

impl Outcome {
    /// Reads a report on these steps. A report may end anywhere, as a virtual machine may.
    pub(super) fn parse(report: &str, steps: &[Step]) -> Self {
        let mut outcome = Self {
            steps: steps
                .iter()
                .map(|step| (step.label.clone(), None))
                .collect(),
            ..Self::default()
        };
        let mut file = None;
        for line in report.lines() {
            let line = line.trim_end_matches('\r');
            if let Some(content) = line.strip_prefix('|') {
                if let Some(file) = file.as_ref().and_then(|name| outcome.files.get_mut(name)) {
                    file.push_str(content);
                    file.push('\n');
                }
                continue;
            }
            let mut words = line.split(' ');
            match (words.next(), words.next()) {
                (Some("ready"), Some(seconds)) => outcome.ready = Some(seconds.to_owned()),
                (Some("has"), Some(property)) => {
                    outcome.has.insert(property.to_owned());
                }
                (Some("exit"), Some(step)) => {
                    let status = words.next().and_then(|status| status.parse().ok());
                    let step = step
                        .parse()
                        .ok()
                        .and_then(|index: usize| outcome.steps.get_mut(index));
                    if let Some((_, exit)) = step {
                        *exit = status;
                    }
                }
                (Some("file"), Some(name)) => {
                    outcome.files.insert(name.to_owned(), String::new());
                    file = Some(name.to_owned());
                }
                (Some("done"), None) => outcome.complete = true,
                _ => {}
            }
        }
        outcome
    }

    /// The exit status of a step; none if there is no such step or it did not end.
    pub(super) fn status_of(&self, label: &str) -> Option<i32> {
        self.steps
            .iter()
            .find(|(step, _)| step == label)
            .and_then(|(_, status)| *status)
    }

    /// The first step without an exit status: the one a virtual machine stopped in.
    pub(super) fn unfinished(&self) -> Option<&str> {
        self.steps
            .iter()
            .find(|(_, status)| status.is_none())
            .map(|(label, _)| label.as_str())
    }

    /// The steps that failed, each as a sentence.
    pub(super) fn failures(&self) -> Vec<String> {
        self.steps
            .iter()
            .filter_map(|(label, status)| match status {
                Some(0) => None,
                Some(status) => Some(format!("`{label}` failed with exit status {status}")),
                None => Some(format!("`{label}` did not end")),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps() -> Vec<Step> {
        ["one", "two"]
            .map(|label| Step {
                label: label.to_owned(),
                script: String::new(),
            })
            .to_vec()
    }

    #[test]
    fn a_complete_report_is_read() {
        let report = "ready 1.9\r\nhas btf\r\nstep 000\r\nexit 000 0\r\nstep 001\r\nexit 001 3\r\n\
                      file a.json\r\n|{\r\n|}\r\nfile b\r\n|x\r\ndone\r\n";
        let outcome = Outcome::parse(report, &steps());
        assert!(outcome.complete);
        assert_eq!(outcome.ready.as_deref(), Some("1.9"));
        assert!(outcome.has.contains("btf"));
        assert_eq!(
            outcome.files.get("a.json").map(String::as_str),
            Some("{\n}\n")
        );
        assert_eq!(outcome.files.get("b").map(String::as_str), Some("x\n"));
        assert_eq!(outcome.failures(), ["`two` failed with exit status 3"]);
    }

    #[test]
    fn a_report_that_breaks_off_names_the_step() {
        let outcome = Outcome::parse("ready 1.9\nstep 000\nexit 000 0\nstep 001\n", &steps());
        assert!(!outcome.complete);
        assert_eq!(outcome.unfinished(), Some("two"));
    }
}
