//! One phase after the other, to the end or to the first that goes wrong.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use capaudit_core::{ledger::Phase, text::sanitize};
use nix::sys::{prctl, signal::Signal};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    engine::{Engine, OrderError},
    expect::{self, Expected, Service},
    image,
    plan::Plan,
    ready::{self, Begun},
    state::{Condition, State},
    test,
};

/// That a life went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("{phase}: {}", sanitize(what))]
pub struct Failure {
    /// In this phase.
    pub phase: Phase,
    /// By the fault of this service; `None` if it was the test that failed.
    pub service: Option<String>,
    /// What happened, with the service's name.
    pub what: String,
    /// What the service printed last.
    #[serde(default)]
    pub output: String,
}

/// Why a life could not be led, or went wrong.
#[derive(Debug, Error)]
pub enum LifeError {
    /// It went wrong.
    #[error(transparent)]
    Failed(#[from] Box<Failure>),
    /// The engine or the test could not be used.
    #[error(transparent)]
    System(#[from] io::Error),
    /// A file could not be written.
    #[error("cannot write {path:?}: {error}")]
    Write {
        /// The file that was to be written.
        path: PathBuf,
        /// What the system answered.
        error: io::Error,
    },
}

/// Leads a life.
///
/// # Errors
///
/// It went wrong, or could not be led.
pub fn live(plan: &Plan) -> Result<(), LifeError> {
    // Who has the life led wants nothing to be started any more once it is gone.
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from)?;
    let mut learned = plan.expected.clone().unwrap_or_default();
    for phase in &plan.phases {
        let led = Living {
            plan,
            engine: Engine(plan),
            phase: *phase,
        }
        .lead(&mut learned);
        if let Err(LifeError::Failed(failure)) = &led {
            write(&plan.failure, failure)?;
        }
        led?;
    }
    write(&plan.learned, &learned)
}

fn write(path: &Path, value: &impl Serialize) -> Result<(), LifeError> {
    serde_json::to_vec(value)
        .map_err(io::Error::other)
        .and_then(|text| std::fs::write(path, text))
        .map_err(|error| LifeError::Write {
            path: path.to_owned(),
            error,
        })
}

/// A phase under way.
struct Living<'a> {
    plan: &'a Plan,
    engine: Engine<'a>,
    phase: Phase,
}

impl Living<'_> {
    fn lead(&self, learned: &mut Expected) -> Result<(), LifeError> {
        let expected = self
            .plan
            .expected
            .as_ref()
            .and_then(|expected| expected.services.get(&self.phase));
        let began = Instant::now();
        let states = self.begin(expected)?;
        let begun_after = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if let Some(test) = &self.plan.test {
            let status = test::run(test, self.plan, self.phase, &states)?;
            if !status.success() {
                // A service that has gone is the reason why the test fails.
                self.look(expected)?;
                return Err(self.failed(
                    None,
                    &format!("the test failed: {status}"),
                    String::new(),
                ));
            }
        }
        let states = self.look(expected)?;
        self.engine.compose(&["stop"]).map_err(io::Error::from)?;
        let stopped = self.engine.states()?;
        match expected {
            Some(expected) => {
                for state in &stopped {
                    let known = expected.get(&state.service);
                    if let Some(fault) = known.and_then(|it| expect::fault_of_stop(state, it)) {
                        return Err(self.failed_by(state, &fault));
                    }
                }
            }
            None => {
                let services = learned.services.entry(self.phase).or_default();
                learn(services, &states, &stopped);
                learned.begun_after_ms = learned.begun_after_ms.max(begun_after);
                for state in &states {
                    let mut image = state.image.clone();
                    if let Some(known) = image::known(&self.plan.client, &image.id)? {
                        image.digests = known.digests;
                    }
                    learned.images.insert(state.service.clone(), image);
                }
            }
        }
        Ok(())
    }

    /// Starts what is to be started, and waits until it has.
    fn begin(&self, expected: Option<&BTreeMap<String, Service>>) -> Result<Vec<State>, LifeError> {
        let started = match self.phase {
            Phase::Start => self.engine.compose(&["up", "--detach"]),
            Phase::Restart => self.engine.compose(&["start"]),
            Phase::Recreate => self.engine.compose(&["up", "--detach", "--force-recreate"]),
        };
        if let Err(error) = started {
            // What compose says of a dependency that failed is less than what that says itself.
            self.look(expected)?;
            return Err(match error {
                OrderError::Failed { command, said } => {
                    self.failed(None, &format!("`{command}` failed"), said)
                }
                OrderError::System(error) => error.into(),
            });
        }
        let begun = match (expected, &self.plan.expected) {
            (Some(services), Some(all)) => {
                let usual = Duration::from_millis(all.begun_after_ms);
                ready::as_expected(&self.engine, services, usual)?
            }
            _ => ready::settled(&self.engine)?,
        };
        match begun {
            Begun::Yes(states) if states.is_empty() => Err(self.failed(
                None,
                "compose started no container of the project",
                String::new(),
            )),
            Begun::Yes(states) => Ok(states),
            Begun::No { state, fault } => Err(self.failed_by(&state, &fault)),
        }
    }

    /// What the containers do now, if nothing is wrong with them.
    fn look(&self, expected: Option<&BTreeMap<String, Service>>) -> Result<Vec<State>, LifeError> {
        let states = self.engine.states()?;
        let nothing = BTreeMap::new();
        match ready::first_fault(&states, expected.unwrap_or(&nothing)) {
            Some((state, fault)) => Err(self.failed_by(&state, &fault)),
            None => Ok(states),
        }
    }

    fn failed_by(&self, state: &State, fault: &str) -> LifeError {
        let what = format!("service {} {fault}", state.service);
        self.failed(Some(&state.service), &what, self.engine.last_words(state))
    }

    fn failed(&self, service: Option<&str>, what: &str, output: String) -> LifeError {
        LifeError::Failed(Box::new(Failure {
            phase: self.phase,
            service: service.map(str::to_owned),
            what: what.to_owned(),
            output,
        }))
    }
}

/// Keeps what services did in a phase: `before` they were stopped, and after.
fn learn(services: &mut BTreeMap<String, Service>, before: &[State], after: &[State]) {
    for state in before {
        let mut service = expect::learned(state);
        if let Service::Daemon { stopped, .. } = &mut service {
            *stopped =
                after
                    .iter()
                    .find(|it| it.id == state.id)
                    .and_then(|it| match it.condition {
                        Condition::Ended(status) => Some(status),
                        _ => None,
                    });
        }
        services.insert(state.service.clone(), service);
    }
}
