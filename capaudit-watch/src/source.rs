//! From what is observed to messages.

use std::{ops::ControlFlow, path::PathBuf, time::Instant};

use capaudit_live::{
    BATCH, Missing, Summary,
    judged::{JudgedCheck, judged},
    scope::Scope,
};
use capaudit_tracer::{
    launch::Signals,
    proc::ContainerId,
    session::{
        AttachError, AuditError,
        driver::{self, Aim, Driver, OnSignal, Step},
    },
    subject::Identity,
};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::{
    Plan, live,
    message::{
        Delivery, Ending, Finished, Message, Request, STATE_EVERY, STATE_SHARE, TICK, WatchError,
    },
    state::State,
};

/// Watches, and tells `sink`, until that has enough, a signal or a request comes, or what is watched has ended.
///
/// # Errors
///
/// Tracing is not possible, a target is not there, the command cannot be executed, or no daemon answers.
pub async fn watch(
    plan: &Plan,
    delivery: Delivery,
    signals: Signals,
    mut requests: UnboundedReceiver<Request>,
    sink: &mut dyn FnMut(Message) -> ControlFlow<()>,
) -> Result<Finished, WatchError> {
    let aim = match &plan.scope {
        Scope::Daemon(daemon) => {
            return live::watch(plan, daemon, &delivery, signals, requests, sink).await;
        }
        Scope::Machine => Aim::Machine,
        Scope::Targets(targets) => Aim::Targets(targets.clone()),
        Scope::Command(words) => Aim::Command {
            words: words.clone(),
            streams: delivery.streams,
            wait_children: false,
        },
    };
    let watching = driver::Plan {
        settings: plan.settings.clone(),
        aim,
        duration: plan.duration,
        reserve: plan.reserve,
        // Who shows on a terminal is told of signals.
        on_signal: if delivery.linger {
            OnSignal::HandOut
        } else {
            OnSignal::PassOn
        },
        keep_check_events: true,
    };
    let mut driver = Driver::start(watching, signals).await?;
    let began = Message::Began {
        hook: driver.observation().hook(),
        processes: driver.processes(),
    };
    let mut running = Running {
        driver,
        ending: None,
        next_state: Instant::now(),
        next_missing: Instant::now() + STATE_EVERY,
    };
    let mut tick = tokio::time::interval(TICK);
    let mut flow = sink(began);
    while flow.is_continue() {
        let due = async {
            tokio::select! {
                biased;
                request = requests.recv() => Due::Request(request),
                _ = tick.tick() => Due::Tick,
            }
        };
        match running.driver.next(due).await? {
            Step::Advanced => {}
            Step::Signal(signal) => flow = sink(Message::Signal(signal)),
            Step::Other(Due::Request(Some(Request::Save(path)))) => {
                let saved = running.save(path).await;
                flow = sink(Message::Saved(saved));
            }
            Step::Other(Due::Request(Some(Request::Quit) | None)) => break,
            Step::Other(Due::Tick) => flow = running.tell(sink, delivery.states).await?,
            Step::Ended(driver::Ending::Time | driver::Ending::Signal) => break,
            Step::Ended(driver::Ending::Command(status)) => {
                flow = running.ended(Ending::Command(status), sink);
            }
            Step::Ended(driver::Ending::Targets) => {
                flow = running.ended(Ending::Targets, sink);
            }
        }
        if running.ending.is_some() && !delivery.linger {
            break;
        }
        let checks = running.checks(false);
        if flow.is_continue() && !checks.is_empty() {
            flow = sink(Message::Checks(checks));
        }
    }
    Ok(running.finish(flow, sink).await?)
}

/// What a watch waits for besides what is observed.
enum Due {
    /// Whoever shows asks for something; `None` if nobody is there.
    Request(Option<Request>),
    /// It is time to look after what waits.
    Tick,
}

/// A watch under way.
struct Running {
    driver: Driver,
    ending: Option<Ending>,
    next_state: Instant,
    next_missing: Instant,
}

impl Running {
    fn ended(
        &mut self,
        ending: Ending,
        sink: &mut dyn FnMut(Message) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.ending = Some(ending);
        sink(Message::Ended(ending))
    }

    async fn save(&mut self, path: PathBuf) -> Result<PathBuf, String> {
        let ledger = self.driver.snapshot().await;
        ledger
            .map_err(|error| error.to_string())
            .and_then(|ledger| {
                capaudit_storage::save(&ledger, &path).map_err(|error| error.to_string())
            })
            .map_err(|error| format!("cannot save to {path:?}: {error}"))?;
        Ok(path)
    }

    /// Checks that have come meanwhile; with `last`, all that are left.
    fn checks(&mut self, last: bool) -> Vec<JudgedCheck> {
        let events = self.driver.check_events(BATCH, last);
        if events.is_empty() {
            return Vec::new();
        }
        judged(events, &self.driver.observation().session_so_far())
    }

    fn missing(&mut self) -> Result<Missing, AuditError> {
        Ok(Missing::of(self.driver.observation()).map_err(AttachError::from)?)
    }

    /// What is due now and then.
    async fn tell(
        &mut self,
        sink: &mut dyn FnMut(Message) -> ControlFlow<()>,
        states: bool,
    ) -> Result<ControlFlow<()>, AuditError> {
        let began = Instant::now();
        let mut flow = sink(Message::Tick);
        if flow.is_continue() && began >= self.next_missing {
            self.next_missing = began + STATE_EVERY;
            flow = sink(Message::Missing(self.missing()?));
        }
        if flow.is_continue() && states && began >= self.next_state {
            let ledger = self.driver.snapshot().await?;
            let missing = self.missing()?;
            let tracker = self.driver.observation().tracker();
            let state = State::of(ledger, missing, |subject| {
                let id = subject.id().and_then(ContainerId::new);
                id.is_some_and(|id| !tracker.is_live(&Identity::Container(id)))
            });
            self.next_state = began + STATE_EVERY.max(began.elapsed() * STATE_SHARE);
            flow = sink(Message::State(Box::new(state)));
        }
        Ok(flow)
    }

    async fn finish(
        mut self,
        flow: ControlFlow<()>,
        sink: &mut dyn FnMut(Message) -> ControlFlow<()>,
    ) -> Result<Finished, AuditError> {
        // Whoever stops watching a command has no use for it.
        self.driver.end_command().await?;
        self.driver.observation().stop();
        let mut flow = flow;
        while flow.is_continue() {
            let checks = self.checks(true);
            if checks.is_empty() {
                break;
            }
            flow = sink(Message::Checks(checks));
        }
        let unsent = self.missing()?.unsent;
        // A command's end counts even if it came just now.
        let ending = self.driver.status().map(Ending::Command).or(self.ending);
        let ledger = self.driver.finish().await?;
        Ok(Finished {
            summary: Summary::of(&ledger, unsent),
            ledger: Some(ledger),
            ending,
        })
    }
}
