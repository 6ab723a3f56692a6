//! What is asked and ordered of an engine, by its client's commands.

use std::{
    io,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use nix::sys::{prctl, signal::Signal};
use thiserror::Error;

use crate::{
    plan::Plan,
    state::{Inspected, State, listening_ports},
};

/// Why an order was not carried out.
#[derive(Debug, Error)]
pub(crate) enum OrderError {
    /// The client cannot be executed.
    #[error(transparent)]
    System(#[from] io::Error),
    /// It failed.
    #[error("`{command}` failed: {}", said.trim())]
    Failed {
        /// As people would call it.
        command: String,
        /// What it printed on standard error.
        said: String,
    },
}

impl From<OrderError> for io::Error {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::System(error) => error,
            failed @ OrderError::Failed { .. } => Self::other(failed),
        }
    }
}

/// The engine, for one project.
pub(crate) struct Engine<'a>(pub(crate) &'a Plan);

impl Engine<'_> {
    /// Has compose do something.
    ///
    /// # Errors
    ///
    /// It cannot be executed, or fails: the error holds what it said last.
    pub(crate) fn compose(&self, subcommand: &[&str]) -> Result<(), OrderError> {
        output(&self.0.compose, subcommand).map(drop)
    }

    /// The project's containers, by service.
    ///
    /// # Errors
    ///
    /// The engine does not answer as it should.
    pub(crate) fn states(&self) -> io::Result<Vec<State>> {
        let label = label_of(&self.0.project);
        let listed = output(
            &self.0.client,
            &["ps", "--all", "--quiet", "--filter", &label],
        )?;
        let ids: Vec<&str> = listed.split_whitespace().collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let words: Vec<&str> = ["inspect", "--type", "container"]
            .into_iter()
            .chain(ids)
            .collect();
        let inspected: Vec<Inspected> =
            serde_json::from_str(&output(&self.0.client, &words)?).map_err(io::Error::other)?;
        let mut states: Vec<State> = inspected
            .into_iter()
            .map(|inspected| inspected.state(listened_on))
            .collect();
        states.sort_by(|one, other| (&one.service, &one.id).cmp(&(&other.service, &other.id)));
        Ok(states)
    }

    /// The last lines that a container printed.
    pub(crate) fn last_words(&self, state: &State) -> String {
        let mut words = self.0.client.iter();
        let Some(program) = words.next() else {
            return String::new();
        };
        let output = Command::new(program)
            .args(words)
            .args(["logs", "--tail", "10", &state.id])
            .stdin(Stdio::null())
            .output();
        output.map_or(String::new(), |output| {
            let both = [output.stdout, output.stderr].concat();
            String::from_utf8_lossy(&both).into_owned()
        })
    }
}

/// Ports that are listened on in the network of a process; none if it is gone.
fn listened_on(pid: u32) -> std::collections::BTreeSet<u16> {
    ["tcp", "tcp6"]
        .into_iter()
        .filter_map(|table| std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).ok())
        .flat_map(|table| listening_ports(&table))
        .collect()
}

/// The filter that a client lists what is of a project by.
pub(crate) fn label_of(project: &str) -> String {
    format!("label=com.docker.compose.project={project}")
}

/// Runs a client and gives its standard output.
///
/// # Errors
///
/// It cannot be executed, or fails.
pub(crate) fn output(words: &[String], more: &[&str]) -> Result<String, OrderError> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
    };
    let mut command = Command::new(program);
    command.args(arguments).args(more).stdin(Stdio::null());
    end_with_us(&mut command);
    let output = command.output().map_err(|error| {
        io::Error::new(error.kind(), format!("cannot run {program:?}: {error}"))
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(OrderError::Failed {
        command: format!("{program} … {}", more.first().copied().unwrap_or_default()),
        said: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Has the kernel kill a child when this process ends: whoever ended it wants nothing to go on.
pub(crate) fn end_with_us(command: &mut Command) {
    // SAFETY: between fork and execve only one system call is made.
    unsafe {
        command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?));
    }
}
