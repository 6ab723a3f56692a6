//! From what is observed to messages.

use std::{
    ops::ControlFlow,
    path::PathBuf,
    process::ExitStatus,
    time::{Duration, Instant},
};

use capaudit_core::capability::CapSet;
use capaudit_tracer::{
    launch::{Arrived, Launched, Signals, shell_status},
    privilege,
    proc::ContainerId,
    session::{
        AttachError, AuditError, ObservationError, Timer,
        driver::raise_priority,
        observation::{Observation, Origin},
        signals::readable,
    },
    subject::Identity,
};
use nix::sys::signal::Signal;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::{
    live::{
        BATCH, Missing, Summary,
        judged::{JudgedCheck, judged},
    },
    storage,
    watch::{
        Plan, Scope, live,
        message::{
            Ending, Finished, Message, Request, STATE_EVERY, STATE_SHARE, TICK, Telling, WatchError,
        },
        state::State,
    },
};

/// How long a command may take to end when nobody watches any more.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// Watches, and tells `sink`, until that has enough, a signal or a request comes, or what is watched has ended.
///
/// # Errors
///
/// Tracing is not possible, a target is not there, the command cannot be executed, or no daemon answers.
pub async fn watch(
    plan: &Plan,
    telling: Telling,
    signals: Signals,
    requests: UnboundedReceiver<Request>,
    sink: impl FnMut(Message) -> ControlFlow<()>,
) -> Result<Finished, WatchError> {
    match &plan.scope {
        Scope::Daemon(daemon) => live::watch(plan, daemon, &telling, signals, requests, sink).await,
        _ => Ok(observe(plan, telling, signals, requests, sink).await?),
    }
}

/// Watches with programs of our own.
async fn observe(
    plan: &Plan,
    telling: Telling,
    signals: Signals,
    mut requests: UnboundedReceiver<Request>,
    mut sink: impl FnMut(Message) -> ControlFlow<()>,
) -> Result<Finished, AuditError> {
    let mut observation = Observation::start(&plan.settings).await?;
    observation
        .keep_check_events(true)
        .map_err(AttachError::from)?;
    let arrivals =
        readable(&signals).map_err(ObservationError::system("cannot wait for signals"))?;
    let mut processes = 0;
    let mut command = None;
    match &plan.scope {
        Scope::Machine => {
            processes = observation
                .attach_machine()
                .await
                .map_err(AttachError::from)?;
        }
        Scope::Targets(targets) => {
            for target in targets {
                processes += observation.attach(target).await?;
            }
        }
        Scope::Command(words) => {
            let launched = observation
                .launch(|| Launched::start_with(words, &signals, telling.streams))
                .map_err(|error| AuditError::Command {
                    program: words.first().cloned().unwrap_or_default(),
                    error,
                })?;
            command = Some(launched);
        }
        // Not by ourselves.
        Scope::Daemon(_) => {}
    }
    raise_priority();
    let of_command = match &command {
        Some(_) => privilege::TO_SIGNAL,
        None => CapSet::EMPTY,
    };
    observation.give_up_all_but(of_command.union(plan.reserve))?;
    let mut running = Running {
        name: plan.scope.command(),
        observation,
        command,
        status: None,
        ending: None,
        next_state: Instant::now(),
        next_missing: Instant::now() + STATE_EVERY,
    };
    let began = Message::Began {
        hook: running.observation.hook(),
        processes,
    };
    let mut timer = Timer::new(plan.duration);
    let mut tick = tokio::time::interval(TICK);
    let mut flow = sink(began);
    while flow.is_continue() {
        tokio::select! {
            biased;
            ready = arrivals.readable() => {
                let mut ready = ready.map_err(ObservationError::system("cannot wait for signals"))?;
                match signals.next().map_err(ObservationError::system("cannot read signals"))? {
                    Some(arrived) => flow = running.signal(arrived, telling.linger, &mut sink)?,
                    None => ready.clear_ready(),
                }
            }
            request = requests.recv() => match request {
                Some(Request::Save(path)) => {
                    let saved = running.save(path).await;
                    flow = sink(Message::Saved(saved));
                }
                Some(Request::Quit) | None => break,
            },
            () = timer.over() => break,
            _ = tick.tick() => flow = running.tell(&mut sink, telling.states).await?,
            advanced = running.observation.advance() => advanced?,
        }
        let checks = running.checks(false);
        if flow.is_continue() && !checks.is_empty() {
            flow = sink(Message::Checks(checks));
        }
        if flow.is_continue()
            && let Some(ending) = running.has_ended(plan)
        {
            flow = sink(Message::Ended(ending));
            if !telling.linger {
                break;
            }
        }
    }
    running.finish(flow, &mut sink).await
}

/// A watch under way.
struct Running {
    /// The command in words.
    name: Vec<String>,
    observation: Observation,
    command: Option<Launched>,
    status: Option<ExitStatus>,
    ending: Option<Ending>,
    next_state: Instant,
    next_missing: Instant,
}

impl Running {
    /// Who shows on a terminal is told of signals; else they end the watch, or are the command's.
    fn signal(
        &mut self,
        arrived: Arrived,
        told: bool,
        sink: &mut impl FnMut(Message) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, AuditError> {
        if let (Some(command), None) = (&mut self.command, self.status) {
            self.status = command
                .ended()
                .map_err(ObservationError::system("cannot wait for the command"))?;
        }
        let lives = self.command.is_some() && self.status.is_none();
        Ok(match (arrived, &self.command) {
            (Arrived::Child, _) => ControlFlow::Continue(()),
            (Arrived::Sent(signal) | Arrived::FromTerminal(signal), _) if told => {
                sink(Message::Signal(signal))
            }
            (Arrived::Sent(signal), Some(command)) if lives => {
                command.forward(signal);
                ControlFlow::Continue(())
            }
            // The command has got it, too.
            (Arrived::FromTerminal(_), _) if lives => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        })
    }

    /// What has ended just now, if anything has.
    fn has_ended(&mut self, plan: &Plan) -> Option<Ending> {
        if self.ending.is_some() {
            return None;
        }
        self.ending = match plan.scope {
            Scope::Machine | Scope::Daemon(_) => None,
            Scope::Command(_) => self.status.map(Ending::Command),
            // With a time given, a container may still be started again.
            Scope::Targets(_) => {
                let is_over = plan.duration.is_none() && !self.observation.tracker().is_any_live();
                is_over.then_some(Ending::Targets)
            }
        };
        self.ending
    }

    fn origin(&self) -> Origin {
        Origin {
            command: self.name.clone(),
            exit_status: self.status.map(shell_status),
        }
    }

    async fn save(&mut self, path: PathBuf) -> Result<PathBuf, String> {
        let ledger = self.observation.snapshot(self.origin()).await;
        ledger
            .map_err(|error| error.to_string())
            .and_then(|ledger| storage::save(&ledger, &path).map_err(|error| error.to_string()))
            .map_err(|error| format!("cannot save to {path:?}: {error}"))?;
        Ok(path)
    }

    /// Checks that have come meanwhile; with `last`, all that are left.
    fn checks(&mut self, last: bool) -> Vec<JudgedCheck> {
        let events = self.observation.check_events(&self.name, BATCH, last);
        if events.is_empty() {
            return Vec::new();
        }
        judged(events, &self.observation.session_so_far())
    }

    fn missing(&self) -> Result<Missing, AuditError> {
        Ok(Missing::of(&self.observation).map_err(AttachError::from)?)
    }

    /// What is due now and then.
    async fn tell(
        &mut self,
        sink: &mut impl FnMut(Message) -> ControlFlow<()>,
        states: bool,
    ) -> Result<ControlFlow<()>, AuditError> {
        let began = Instant::now();
        let mut flow = sink(Message::Tick);
        if flow.is_continue() && began >= self.next_missing {
            self.next_missing = began + STATE_EVERY;
            flow = sink(Message::Missing(self.missing()?));
        }
        if flow.is_continue() && states && began >= self.next_state {
            let ledger = self.observation.snapshot(self.origin()).await?;
            let tracker = self.observation.tracker();
            let state = State::of(ledger, self.missing()?, |subject| {
                ContainerId::new(&subject.id)
                    .is_some_and(|id| !tracker.is_live(&Identity::Container(id)))
            });
            self.next_state = began + STATE_EVERY.max(began.elapsed() * STATE_SHARE);
            flow = sink(Message::State(Box::new(state)));
        }
        Ok(flow)
    }

    async fn finish(
        mut self,
        flow: ControlFlow<()>,
        sink: &mut impl FnMut(Message) -> ControlFlow<()>,
    ) -> Result<Finished, AuditError> {
        self.end_command().await?;
        self.observation.stop();
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
        let ending = self.status.map(Ending::Command).or(self.ending);
        let origin = self.origin();
        let ledger = self.observation.finish(origin).await?;
        Ok(Finished {
            summary: Summary::of(&ledger, unsent),
            ledger: Some(ledger),
            ending,
        })
    }

    /// Whoever stops watching a command has no use for it.
    async fn end_command(&mut self) -> Result<(), AuditError> {
        let (Some(command), None) = (&mut self.command, self.status) else {
            return Ok(());
        };
        command.forward(Signal::SIGTERM);
        let deadline = Instant::now() + LAST_PATIENCE;
        while Instant::now() < deadline {
            let ended = command.ended();
            if ended
                .map_err(ObservationError::system("cannot wait for the command"))?
                .is_some()
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}
