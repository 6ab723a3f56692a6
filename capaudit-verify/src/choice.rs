//! Which way to enforce sets fits a plan, and what that way works on.

use std::{cell::OnceCell, path::PathBuf};

use capaudit_core::ledger::Ledger;
use capaudit_tracer::{
    launch::Signals,
    probe::{Enforcer, EnforcerConfig},
};

use super::{
    Life, Plan, Run, Source, VerifyError, Via,
    enforce::{
        Enforcement, NotUnderstood,
        compose::{ComposeRun, Resolved},
        docker::DockerRun,
        life::LifeRun,
        socket::SocketRun,
    },
    execute,
};

/// The way to enforce sets that fits where they come from, if nobody asked for one.
pub(super) fn fitting(plan: &Plan) -> Via {
    let via = plan.run.via();
    if !plan.may_change || via != Via::Bounding {
        return via;
    }
    let is_of_containers = match &plan.source {
        Source::Audit => false,
        Source::Sessions(ledger) => starts_containers(ledger),
        Source::Given(sets) => sets.iter().any(|(name, _set)| name.is_some()),
    };
    if is_of_containers { Via::Socket } else { via }
}

/// Whether containers were audited that the command started.
pub(super) fn starts_containers(ledger: &Ledger) -> bool {
    ledger
        .subjects
        .iter()
        .any(|subject| subject.container().is_some() && !subject.other)
}

pub(super) fn enforcement(
    plan: &Plan,
    via: Via,
    signals: &Signals,
) -> Result<Enforcement, VerifyError> {
    if let Run::Life(life) = &plan.run {
        return living(life, signals);
    }
    match via {
        Via::Life => Err(NotUnderstood::new("a life is led by `capaudit harden`").into()),
        Via::Bounding => Ok(Enforcement::Bounding(plan.command.clone())),
        Via::Socket => Ok(Enforcement::Socket(Box::new(SocketRun::new(
            &plan.command,
        )?))),
        Via::Lsm => {
            // Better told before the command is audited than after.
            drop(Enforcer::start(EnforcerConfig::PERMISSIVE).map_err(VerifyError::CannotEnforce)?);
            Ok(Enforcement::Lsm(plan.command.clone()))
        }
        Via::Docker => {
            let run = DockerRun::parse(&plan.command)?;
            if let Some(name) = run.name().and_then(|name| name.to_str()) {
                let known = run.client(&["container", "inspect", "--format", "{{.Id}}", name]);
                if execute::ask(&known, signals).is_ok() {
                    return Err(NotUnderstood::new(format!(
                        "there is a container {name:?} already, so that no run can give the name to its own: remove it, or leave --name out"
                    ))
                    .into());
                }
            }
            Ok(Enforcement::Docker(Box::new(run)))
        }
        Via::Compose => {
            let run = ComposeRun::parse(&plan.command, own_project())?;
            let resolved = resolved(&run, signals)?;
            Ok(Enforcement::Compose(Box::new(run), resolved))
        }
    }
}

/// Name of the compose project that runs make.
pub(super) fn own_project() -> String {
    format!("capaudit-{}", std::process::id())
}

/// Name of the project that compose makes of these files (`project_name_from_path` of compose 1, `NormalizeProjectName` of
/// compose-go).
fn project_of(files: &[PathBuf]) -> String {
    if let Some(given) = std::env::var("COMPOSE_PROJECT_NAME")
        .ok()
        .filter(|name| !name.is_empty())
    {
        return given;
    }
    let directory = files
        .first()
        .and_then(|file| std::path::absolute(file).ok())
        .and_then(|file| Some(file.parent()?.file_name()?.to_string_lossy().to_lowercase()))
        .unwrap_or_default();
    directory
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(*c))
        .collect()
}

fn resolved(run: &ComposeRun, signals: &Signals) -> Result<Resolved, NotUnderstood> {
    let printed = execute::ask(&run.resolving(), signals).map_err(|error| {
        NotUnderstood::new(format!("compose does not understand its files: {error}"))
    })?;
    Resolved::new(printed)
}

fn living(life: &Life, signals: &Signals) -> Result<Enforcement, VerifyError> {
    let compose = ComposeRun::of_files(life.compose.clone(), &life.files, own_project());
    let resolved = resolved(&compose, signals)?;
    let there_is = |service: &String| resolved.services().contains(service);
    let named = life.services.iter().chain(&life.exit_code_from);
    if let Some(unknown) = named.clone().find(|service| !there_is(service)) {
        return Err(NotUnderstood::new(format!(
            "there is no service {unknown:?}; there are: {}",
            resolved.services().join(", ")
        ))
        .into());
    }
    let mut life = life.clone();
    if life.services.is_empty() {
        life.services = resolved.services().to_vec();
    }
    let run = LifeRun {
        called: project_of(&life.files),
        life,
        compose,
        expected: OnceCell::new(),
        no_new_privileges: OnceCell::new(),
    };
    Ok(Enforcement::Life(Box::new(run), resolved))
}
