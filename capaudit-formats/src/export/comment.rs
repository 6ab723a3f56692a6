//! Comments of formats in which `#` begins one.

use capaudit_core::{
    recommend::{Recommendation, START_UNSEEN, Workload},
    text::sanitize,
};

/// Why `no_new_privs` is not set.
pub(super) const PRIVILEGED_EXECS: &str = "setuid or file-capability programs were run";

/// Why a capability is granted that the audit did not see in use.
pub(super) const ELSEWHERE: &str = "not needed where the engine sets the sysctl, as Docker does";

/// What has to be known before anything that follows is used: a line for each, and an empty one behind them.
pub(super) fn warnings(recommendation: &Recommendation) -> String {
    let mut text: String = recommendation
        .caveats
        .iter()
        .map(|caveat| format!("# Warning: {caveat}\n"))
        .collect();
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// What has to be known of a workload: its name, whether its start was seen, what one run cannot tell of it, and which
/// capabilities it cannot be sure of, if they are not marked one by one.
pub(super) fn heading(workload: &Workload, possible: Possible) -> String {
    let mut lines = vec![workload.title()];
    if workload.start_unseen {
        lines.push(START_UNSEEN.to_owned());
    }
    lines.extend(workload.lost());
    lines.extend(
        workload
            .notes
            .iter()
            .map(|note| format!("Note: {}", sanitize(note))),
    );
    lines.extend(life(workload));
    let set = workload.possible();
    if possible == Possible::Here && !set.is_empty() {
        lines.push(format!(
            "Possibly needed, capaudit verify settles it: {}",
            set.names().collect::<Vec<_>>().join(" ")
        ));
    }
    lines.iter().map(|line| format!("# {line}\n")).collect()
}

/// What of its life was not seen.
pub(super) fn life(workload: &Workload) -> Option<String> {
    let note = workload.life_note()?;
    Some(format!("Note: {}", sanitize(&note)))
}

/// What a list of capabilities to add does nothing for, where the engine makes none ambient; `None` if there is no such thing.
pub(super) fn without_effect(workload: &Workload) -> Option<String> {
    let (user, set) = workload.without_effect()?;
    Some(format!(
        "Without effect: {}. It was started as user {user}, to whom neither Docker nor Kubernetes gives what is added, and no file that it executed has it: start it as root, or give its program the file capability (capaudit export setcap)",
        set.names().collect::<Vec<_>>().join(" ")
    ))
}

/// Where it is told what one run cannot be sure of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Possible {
    /// In the heading.
    Here,
    /// At each member.
    AtEach,
}

/// What stands for the containers of a report without any.
pub(super) const NO_CONTAINER: &str = "# No container was audited.\n";
