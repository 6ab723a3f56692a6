//! Observing every container for days: totals that outlive a restart, a socket to ask them from, metrics.
//!
//! One loop owns everything; the [`socket`] and [`metrics`] tasks send it questions.

pub mod client;
pub mod metrics;
mod peer;
pub mod socket;
mod state;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use sd_notify::NotifyState;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::{
    capability::{CapSet, Capability, own},
    launch::{Arrived, Signals},
    ledger::{Ledger, LoadError},
    probe::Settings,
    session::{
        audit::hurry,
        observation::{AttachError, Observation, ObservationError, Origin, readable},
    },
    subject::attached::Target,
};
use state::State;

/// Where the socket is, unless somebody says otherwise.
pub const SOCKET: &str = "/run/capaudit/capaudit.sock";
/// Where totals are kept, unless somebody says otherwise.
pub const STATE: &str = "/var/lib/capaudit";

/// How often what has ended is put with the past, so that memory stays bounded.
const RETIRE: Duration = Duration::from_secs(10);
/// Questions that may wait.
const QUESTIONS: usize = 16;

/// What stays of capaudit's own capabilities once everything is loaded: reading the kernel's maps (BPF: on kernels
/// before 5.19 every bpf(2) takes it), and other processes' links, roots and files.
pub const KEPT: [Capability; 3] = [
    Capability::BPF,
    Capability::SYS_PTRACE,
    Capability::DAC_READ_SEARCH,
];

/// How the daemon runs.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How the kernel is watched.
    pub settings: Settings,
    /// Where to listen.
    pub socket: PathBuf,
    /// Who may ask, besides root and the daemon's own user.
    pub group: Option<String>,
    /// Directory of the totals.
    pub state: PathBuf,
    /// How often totals are saved.
    pub save_every: Duration,
    /// Where metrics are served; on loopback.
    pub metrics: Option<SocketAddr>,
}

/// Why the daemon ended.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// Nothing can be observed here.
    #[error(transparent)]
    Observation(#[from] ObservationError),
    /// Running containers cannot be followed.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The totals of before cannot be used. They are left as they are.
    #[error("the totals of before cannot be used: {0}; move the file away to begin anew")]
    Load(#[from] LoadError),
    /// Something of the system failed.
    #[error("{what}: {error}")]
    System {
        /// What.
        what: String,
        /// Why.
        error: std::io::Error,
    },
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
    /// All totals.
    Ledger(oneshot::Sender<Ledger>),
}

/// Runs until a signal asks to stop.
///
/// # Errors
///
/// It cannot begin, or cannot go on. What was totalled by then is saved.
pub async fn run(plan: &Plan, signals: Signals) -> Result<(), DaemonError> {
    let mut state = State::load(&plan.state)?;
    let (ask, mut questions) = mpsc::channel(QUESTIONS);
    let listener = socket::Listener::bind(&plan.socket, plan.group.as_deref())?;
    let metrics = match plan.metrics {
        Some(address) => Some(metrics::Server::bind(address).await?),
        None => None,
    };
    let mut observation = Observation::start(&plan.settings).await?;
    observation.attach(&Target::EveryContainer).await?;
    hurry();
    let kept: CapSet = KEPT.into_iter().collect();
    // Nothing is executed from here on.
    own::give_up_all_but(kept).map_err(DaemonError::system("cannot drop capabilities"))?;

    let tasks = [
        Some(tokio::spawn(listener.serve(ask.clone()))),
        metrics.map(|server| tokio::spawn(server.serve(ask))),
    ];
    let arrivals = readable(&signals).map_err(DaemonError::system("cannot wait for signals"))?;
    notify(&[NotifyState::Ready]);
    let mut save = tokio::time::interval(plan.save_every);
    let mut retire = tokio::time::interval(RETIRE);
    let result = loop {
        let stepped = tokio::select! {
            biased;
            ready = arrivals.readable() => match ready {
                Err(error) => Err(DaemonError::system("cannot wait for signals")(error)),
                Ok(mut ready) => match signals.next() {
                    Ok(Some(Arrived::Sent(_) | Arrived::FromTerminal(_))) => break Ok(()),
                    Ok(Some(Arrived::Child)) => Ok(()),
                    Ok(None) => {
                        ready.clear_ready();
                        Ok(())
                    }
                    Err(error) => Err(DaemonError::system("cannot read signals")(error)),
                },
            },
            Some(question) = questions.recv() => answer(question, &mut observation, &state).await,
            _ = retire.tick() => put_with_past(&mut observation, &mut state).await,
            _ = save.tick() => keep(&mut observation, &state).await,
            advanced = observation.advance() => advanced.map_err(DaemonError::from),
        };
        if let Err(error) = stepped {
            break Err(error);
        }
    };
    notify(&[NotifyState::Stopping]);
    for task in tasks.into_iter().flatten() {
        task.abort();
    }
    // Nobody can ask any more; that it cannot be removed is no reason to lose totals.
    let _ = std::fs::remove_file(&plan.socket);
    let ended = observation.finish(Origin::default()).await?;
    state.save(&state.with(ended))?;
    result
}

async fn answer(
    question: Question,
    observation: &mut Observation,
    state: &State,
) -> Result<(), DaemonError> {
    match question {
        Question::Ledger(sender) => {
            let ledger = state.with(observation.snapshot(Origin::default()).await?);
            // Whoever asked may be gone.
            let _ = sender.send(ledger);
        }
    }
    Ok(())
}

async fn put_with_past(
    observation: &mut Observation,
    state: &mut State,
) -> Result<(), DaemonError> {
    if let Some(ended) = observation.retire().await? {
        state.add(ended);
    }
    Ok(())
}

async fn keep(observation: &mut Observation, state: &State) -> Result<(), DaemonError> {
    let ledger = state.with(observation.snapshot(Origin::default()).await?);
    let status = format!(
        "{} workloads, {} things lost",
        ledger.subjects.len(),
        ledger.session.losses.total()
    );
    state.save(&ledger)?;
    notify(&[NotifyState::Status(&status), NotifyState::Watchdog]);
    Ok(())
}

/// Tells systemd, if it started this process.
fn notify(states: &[NotifyState<'_>]) {
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(states);
}

/// The loop's answer to a question about everything.
async fn ledger(ask: &mpsc::Sender<Question>) -> Option<Ledger> {
    let (sender, answer) = oneshot::channel();
    ask.send(Question::Ledger(sender)).await.ok()?;
    answer.await.ok()
}
