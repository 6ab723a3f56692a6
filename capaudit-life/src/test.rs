//! The command that tests what has started.

use std::{
    io,
    os::unix::process::CommandExt as _,
    process::{Command, ExitStatus, Stdio},
};

use capaudit_core::ledger::Phase;
use nix::unistd::{Gid, Uid, User};

use crate::{
    engine::end_with_us,
    plan::{Plan, Test},
    state::State,
};

/// Runs it.
///
/// # Errors
///
/// It cannot be executed.
pub(crate) fn run(
    test: &Test,
    plan: &Plan,
    phase: Phase,
    states: &[State],
) -> io::Result<ExitStatus> {
    let Some((program, arguments)) = test.command.split_first() else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(&test.directory)
        .stdin(Stdio::null())
        .envs(environment(plan, phase, states));
    if let Some((uid, gid)) = test.user {
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        if let Some(user) = &user {
            command
                .env("HOME", &user.dir)
                .env("USER", &user.name)
                .env("LOGNAME", &user.name);
        }
        let name = user.and_then(|user| std::ffi::CString::new(user.name).ok());
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        // SAFETY: initgroups reads files, as any program does that has one thread: this one has no other.
        unsafe {
            command.pre_exec(move || {
                match &name {
                    Some(name) => nix::unistd::initgroups(name, gid)?,
                    None => nix::unistd::setgroups(&[gid])?,
                }
                nix::unistd::setgid(gid)?;
                nix::unistd::setuid(uid)?;
                Ok(())
            });
        }
    }
    // After the change of user, which would undo it (`commit_creds`, kernel/cred.c).
    end_with_us(&mut command);
    command.status().map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot run the test {program:?}: {error}"),
        )
    })
}

/// What the test is told of the project.
fn environment(plan: &Plan, phase: Phase, states: &[State]) -> Vec<(String, String)> {
    let mut variables = vec![
        ("COMPOSE_PROJECT_NAME".to_owned(), plan.project.clone()),
        (
            "COMPOSE_FILE".to_owned(),
            plan.file.to_string_lossy().into_owned(),
        ),
        ("CAPAUDIT_PHASE".to_owned(), phase.name().to_owned()),
    ];
    for state in states {
        let service = variable_name(&state.service);
        variables.push((format!("CAPAUDIT_{service}_CONTAINER"), state.id.clone()));
        if let Some(address) = &state.address {
            variables.push((format!("CAPAUDIT_{service}_ADDRESS"), address.clone()));
        }
        for (port, at) in &state.published {
            let port = variable_name(port.trim_end_matches("/tcp"));
            variables.push((format!("CAPAUDIT_{service}_PORT_{port}"), at.clone()));
        }
    }
    variables
}

/// In capitals, with `_` for whatever a shell would not have in a name.
fn variable_name(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect()
}
