//! Observing every container for days: totals that outlive a restart, a socket to ask them from, metrics.
//!
//! This crate never decides what a check means (that is `capaudit-core`'s), nor how anybody shows it; what it tells is a
//! session, lines of `capaudit-live`'s, or metrics.
//!
//! Begin to read with [`run`]: one loop owns everything; the [`socket`] and [`metrics`] tasks send it questions.

pub mod metrics;
mod peer;
mod room;
pub mod socket;
mod state;
mod watchers;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use capaudit_core::{
    capability::CapSet,
    ledger::{self, Ledger, LoadError},
};
use capaudit_live::{Missing, check_events_a_second};
use capaudit_tracer::{
    launch::Signals,
    probe::{self, CheckEvents, TracerConfig},
    session::{
        AttachError, AuditError, ObservationError,
        driver::{self, Aim, Driver, OnSignal, Step},
        signals::with_signals,
    },
};
use sd_notify::NotifyState;
use state::State;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use watchers::{Subscription, Watchers};

/// Where totals are kept, unless somebody says otherwise.
pub const STATE: &str = "/var/lib/capaudit";

/// How often what has ended is put with the past, so that memory stays bounded.
const RETIRE: Duration = Duration::from_secs(10);
/// Questions that may wait.
const QUESTIONS: usize = 16;

/// How the daemon runs.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How the kernel is watched.
    pub settings: TracerConfig,
    /// Path of the Unix socket that the daemon listens at.
    pub socket: PathBuf,
    /// Who may ask, besides root and the daemon's own user.
    pub group: Option<String>,
    /// Directory that the totals are saved in; made if it is missing.
    pub state: PathBuf,
    /// How often totals are saved.
    pub save_every: Duration,
    /// Where metrics are served; on loopback.
    pub metrics: Option<SocketAddr>,
}

/// Why the daemon ended.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// Nothing can be observed here, or running containers cannot be followed.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The totals of before cannot be used. They are left as they are.
    #[error("the totals of before cannot be used: {0}; move the file away to begin anew")]
    Load(#[from] LoadError),
    /// The totals could not be saved where they were to be.
    #[error("{0}; they were saved to {1:?} instead: move that there before the next start")]
    Elsewhere(String, PathBuf),
    /// Something of the system failed.
    #[error("{what}: {error}")]
    System {
        /// What was being done, and to what.
        what: String,
        /// What the system answered.
        error: std::io::Error,
    },
}

impl From<ObservationError> for DaemonError {
    fn from(error: ObservationError) -> Self {
        AuditError::from(error).into()
    }
}

impl From<AttachError> for DaemonError {
    fn from(error: AttachError) -> Self {
        AuditError::from(error).into()
    }
}

impl DaemonError {
    fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::System {
            what: what.into(),
            error,
        }
    }
}

/// A question to the loop.
#[derive(Debug)]
pub enum Question {
    /// The totals so far, past and present.
    Ledger(oneshot::Sender<Ledger>),
    /// Check events from now on; `None` if too many ask for that.
    Watch(oneshot::Sender<Option<Subscription>>),
    /// What is missing among all check events.
    Missing(oneshot::Sender<Missing>),
}

/// Runs until a signal asks to stop. That totals cannot be saved for the time being (a full disk, say) is no reason to
/// lose them: `complain` is told, and they are saved when that is possible again.
///
/// # Errors
///
/// It cannot begin, or cannot go on. What was totalled by then is saved.
pub fn run(plan: &Plan, complain: &dyn Fn(&str)) -> Result<(), DaemonError> {
    with_signals(|signals| observe(plan, signals, complain))?
}

async fn observe(
    plan: &Plan,
    signals: Signals,
    complain: &dyn Fn(&str),
) -> Result<(), DaemonError> {
    // Before a directory of the system's cannot be made, which would be all that is said.
    probe::may_trace().map_err(ObservationError::from)?;
    let descriptors = room::raise_limit()
        .map_err(DaemonError::system("cannot raise the limit of descriptors"))?;
    let mut state = State::load(&plan.state)?;
    let (ask, mut questions) = mpsc::channel(QUESTIONS);
    let listener = socket::Listener::bind(&plan.socket, plan.group.as_deref())?;
    let metrics = match plan.metrics {
        Some(address) => Some(metrics::Server::bind(address).await?),
        None => None,
    };
    let watching = driver::Plan {
        settings: TracerConfig {
            check_events: CheckEvents::PerSecond(check_events_a_second()),
            ..plan.settings.clone()
        },
        aim: Aim::EveryContainer,
        duration: None,
        // Its files are its own user's.
        reserve: CapSet::EMPTY,
        on_signal: OnSignal::PassOn,
        keep_check_events: false,
    };
    let mut driver = Driver::start(watching, signals).await?;

    let tasks = [
        Some(tokio::spawn(listener.serve(ask.clone(), descriptors))),
        metrics.map(|server| tokio::spawn(server.serve(ask, descriptors))),
    ];
    notify(&[NotifyState::Ready]);
    let mut save = tokio::time::interval(plan.save_every);
    let mut is_saved = true;
    let mut retire = tokio::time::interval(RETIRE);
    let mut watchers = Watchers::new();
    let result = loop {
        let due = async {
            tokio::select! {
                biased;
                Some(question) = questions.recv() => Due::Question(question),
                _ = retire.tick() => Due::Retire,
                _ = save.tick() => Due::Save,
            }
        };
        let stepped = match driver.next(due).await {
            Err(error) => Err(error.into()),
            Ok(Step::Ended(_)) => break Ok(()),
            Ok(Step::Advanced | Step::Signal(_)) => Ok(()),
            Ok(Step::Other(Due::Question(question))) => {
                answer(question, &mut driver, &state, &mut watchers).await
            }
            Ok(Step::Other(Due::Retire)) => put_with_past(&mut driver, &mut state).await,
            Ok(Step::Other(Due::Save)) => {
                keep(&mut driver, &state).await.map(|saved| match saved {
                    Ok(()) => is_saved = true,
                    // Once is enough; it is tried again each time.
                    Err(error) if is_saved => {
                        complain(&error.to_string());
                        is_saved = false;
                    }
                    Err(_again) => {}
                })
            }
        };
        let told = stepped.and_then(|()| {
            let told = watchers.tell(driver.observation());
            told.map_err(|error| AttachError::from(error).into())
        });
        if let Err(error) = told {
            break Err(error);
        }
    };
    notify(&[NotifyState::Stopping]);
    // Whoever watches is told the end.
    drop((watchers, questions));
    for task in tasks.into_iter().flatten() {
        task.abort();
    }
    // Nobody can ask any more; that it cannot be removed is no reason to lose totals.
    let _ = std::fs::remove_file(&plan.socket);
    let ended = driver.finish().await?;
    let all = state.with(ended);
    if let Err(error) = state.save(&all) {
        return Err(match capaudit_storage::save_elsewhere(&all) {
            Ok(other) => DaemonError::Elsewhere(error.to_string(), other),
            Err(_no_room) => error,
        });
    }
    result
}

/// What the daemon does besides observing.
enum Due {
    Question(Question),
    /// Put what has ended with the past.
    Retire,
    Save,
}

async fn answer(
    question: Question,
    driver: &mut Driver,
    state: &State,
    watchers: &mut Watchers,
) -> Result<(), DaemonError> {
    match question {
        Question::Ledger(sender) => {
            let ledger = state.with(driver.snapshot().await?);
            // Whoever asked may be gone.
            let _ = sender.send(ledger);
        }
        Question::Watch(sender) => {
            let admitted = watchers
                .admit(driver.observation())
                .map_err(AttachError::from)?;
            let _ = sender.send(admitted);
        }
        Question::Missing(sender) => {
            let _ = sender.send(Missing::of(driver.observation()).map_err(AttachError::from)?);
        }
    }
    Ok(())
}

async fn put_with_past(driver: &mut Driver, state: &mut State) -> Result<(), DaemonError> {
    if let Some(ended) = driver.observation().retire().await? {
        state.add(ended);
    }
    Ok(())
}

/// Saves all totals. What is wrong with the file is told inside.
async fn keep(driver: &mut Driver, state: &State) -> Result<Result<(), DaemonError>, DaemonError> {
    let ledger = state.with(driver.snapshot().await?);
    let status = format!(
        "{} workloads, {} things lost",
        ledger.subjects.len(),
        ledger.session.losses.total()
    );
    let saved = state.save(&ledger);
    notify(&[NotifyState::Status(&status), NotifyState::Watchdog]);
    Ok(saved)
}

/// Tells systemd, if it started this process.
fn notify(states: &[NotifyState<'_>]) {
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(states);
}

/// The loop's answer to a question about everything; `None` if the daemon is ending.
async fn ledger(ask: &mpsc::Sender<Question>) -> Option<Ledger> {
    answer_to(ask, Question::Ledger).await
}

/// One more who watches.
async fn subscription(ask: &mpsc::Sender<Question>) -> Option<Option<Subscription>> {
    answer_to(ask, Question::Watch).await
}

/// What is missing among check events.
async fn missing(ask: &mpsc::Sender<Question>) -> Option<Missing> {
    answer_to(ask, Question::Missing).await
}

async fn answer_to<T>(
    ask: &mpsc::Sender<Question>,
    question: impl FnOnce(oneshot::Sender<T>) -> Question,
) -> Option<T> {
    let (sender, answer) = oneshot::channel();
    ask.send(question(sender)).await.ok()?;
    answer.await.ok()
}
