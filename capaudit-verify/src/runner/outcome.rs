//! How a run is to be understood.

use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus, time::Duration};

use capaudit_core::capability::CapSet;
use capaudit_tracer::launch::shell_status;

use crate::{enforce::Enforcement, execute::Ended, minimize::Outcome, output::Tail};

/// Docker's and Podman's status if the container could not be created or started.
const ENGINE_FAILED: i32 = 125;

/// Of a run whose command the kernel refused to execute with this set: `cap_bprm_creds_from_file` fails with
/// EPERM if the file's effective capabilities are not all in the bounding set.
pub(super) fn not_executed(set: CapSet) -> Ended {
    let mut output = Tail::default();
    output.push(
        format!("cannot be executed with {set} as bounding set: Operation not permitted\n")
            .as_bytes(),
    );
    Ended {
        status: ExitStatus::from_raw(126 << 8),
        timed_out: false,
        output,
        failed: None,
        duration: Duration::ZERO,
    }
}

/// What the end of a run says, whatever was shown of what was in force in it.
pub(super) fn outcome(enforcement: &Enforcement, ended: &Ended) -> Outcome {
    let status = shell_status(ended.status);
    let by_engine = matches!(enforcement, Enforcement::Docker(_) | Enforcement::Life(..))
        && status == ENGINE_FAILED;
    let engine_told = matches!(enforcement, Enforcement::Life(..))
        || ["docker: ", "Error: "]
            .iter()
            .any(|beginning| ended.output.has_line_that_begins(beginning));
    if status == 0 && !ended.timed_out {
        Outcome::Passed
    } else if by_engine && engine_told {
        Outcome::Disturbed
    } else if !ended.timed_out && ended.output.tells_of_refusal() {
        Outcome::Refused
    } else {
        Outcome::Failed
    }
}
