//! Waiting until a phase has begun.

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, Instant},
};

use crate::{
    engine::Engine,
    expect::{self, Service},
    state::{Condition, Health, State},
};

/// How often the engine is asked.
const INTERVAL: Duration = Duration::from_millis(200);
/// How long everything has to stay as it is where it is not known what is to come.
const SETTLED: Duration = Duration::from_secs(3);
/// How many times as long as it took when nothing was wrong a phase may take to begin.
const TIMES: u32 = 5;
/// And at least that long.
const LEAST: Duration = Duration::from_secs(10);

/// What waiting came to.
pub(crate) enum Begun {
    /// Everything runs, or has ended as it should.
    Yes(Vec<State>),
    /// A container does not do what it should.
    No {
        /// The container.
        state: Box<State>,
        /// What is wrong with it.
        fault: String,
    },
}

/// Waits until all services do what they did when nothing was wrong. Where nothing shows that they do it yet, or nobody tests
/// them afterwards, they have to go on with it for as long as nothing had to change then: a service that is about to fail runs, too.
///
/// # Errors
///
/// The engine does not answer.
pub(crate) fn as_expected(
    engine: &Engine<'_>,
    expected: &BTreeMap<String, Service>,
    usual: Duration,
) -> io::Result<Begun> {
    let began = Instant::now();
    let deadline = began + (usual * TIMES).max(LEAST).min(engine.0.patience());
    let is_tested = engine.0.test.is_some() || engine.0.exit_code_from.is_some();
    let is_shown = is_tested && expected.values().all(Service::shows_that_it_works);
    loop {
        let states = engine.states()?;
        if let Some((state, fault)) = first_fault(&states, expected) {
            return Ok(Begun::No {
                state: Box::new(state),
                fault,
            });
        }
        let waiting = states.iter().find_map(|state| {
            let what = expect::awaited(state, expected.get(&state.service)?)?;
            Some((state, what))
        });
        let Some((state, what)) = waiting else {
            let have_ended = |state: &State| matches!(state.condition, Condition::Ended(_));
            if is_shown || states.iter().all(have_ended) || began.elapsed() >= SETTLED {
                return Ok(Begun::Yes(states));
            }
            std::thread::sleep(INTERVAL);
            continue;
        };
        if Instant::now() >= deadline {
            return Ok(Begun::No {
                state: Box::new(state.clone()),
                fault: what,
            });
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Waits until nothing changes any more: every health check has spoken, and who is to end has ended.
///
/// # Errors
///
/// The engine does not answer.
pub(crate) fn settled(engine: &Engine<'_>) -> io::Result<Begun> {
    let deadline = Instant::now() + engine.0.patience();
    let mut last = engine.states()?;
    let mut since = Instant::now();
    loop {
        if let Some((state, fault)) = first_fault(&last, &BTreeMap::new()) {
            return Ok(Begun::No {
                state: Box::new(state),
                fault,
            });
        }
        let waiting = last.iter().find_map(|state| {
            let what = unsettled(state, engine.0.exit_code_from.as_deref())?;
            Some((state, what))
        });
        let has_ended = |state: &State| matches!(state.condition, Condition::Ended(_));
        match waiting {
            None if last.iter().all(has_ended) || since.elapsed() >= SETTLED => {
                return Ok(Begun::Yes(last));
            }
            Some((state, what)) if Instant::now() >= deadline => {
                return Ok(Begun::No {
                    state: Box::new(state.clone()),
                    fault: what.to_owned(),
                });
            }
            _ => {}
        }
        std::thread::sleep(INTERVAL);
        let states = engine.states()?;
        if states != last {
            (last, since) = (states, Instant::now());
        }
    }
}

/// What a container is known to have before it.
fn unsettled(state: &State, exit_code_from: Option<&str>) -> Option<&'static str> {
    match state.condition {
        Condition::Created => Some("has not started"),
        Condition::Running(Some(Health::Starting)) => Some("is not healthy"),
        Condition::Running(_) if exit_code_from == Some(&state.service) => Some("has not ended"),
        _ => None,
    }
}

/// The first container with which something is wrong, and what.
pub(crate) fn first_fault(
    states: &[State],
    expected: &BTreeMap<String, Service>,
) -> Option<(State, String)> {
    states.iter().find_map(|state| {
        let fault = expect::fault(state, expected.get(&state.service))?;
        Some((state.clone(), fault))
    })
}
