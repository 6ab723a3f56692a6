//! Comments of formats in which `#` begins one.

use super::workload::{Workload, caveats};
use crate::{capability::CapSet, report::Report};

/// Why `no_new_privs` is not set.
pub const PRIVILEGED_EXECS: &str = "setuid or file-capability programs were run";

/// What has to be known before anything that follows is used: a line for each, and an empty one behind them.
pub fn warnings(report: &Report) -> String {
    let mut text: String = caveats(report)
        .iter()
        .map(|caveat| format!("# Warning: {caveat}\n"))
        .collect();
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// A line that names the workload.
pub fn title(workload: &Workload) -> String {
    format!("# {}\n", workload.title())
}

/// A line that names what one run cannot be sure of; none if it is sure of all.
pub fn possible(set: CapSet) -> String {
    if set.is_empty() {
        return String::new();
    }
    format!(
        "# Possibly needed, capaudit verify settles it: {}\n",
        set.names().collect::<Vec<_>>().join(" ")
    )
}

/// What stands for the containers of a report without any.
pub const NO_CONTAINER: &str = "# No container was audited.\n";
