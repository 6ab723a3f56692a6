//! The loop of everyone who observes: signals, the command, time, and the records.
//!
//! [`Driver::next`] does what has to be done and says what became of it; what that means, and what
//! else there is to wait for, is the consumer's.

use std::{
    ffi::OsString,
    pin::{Pin, pin},
    process::ExitStatus,
    time::{Duration, Instant},
};

use capaudit_core::{capability::CapSet, ledger::Ledger};
use nix::sys::signal::Signal;

use crate::{
    launch::{Arrived, Launched, Signals, Streams, is_asked_to_end, is_ending, shell_status},
    opaque::{Boxed, Opaque},
    privilege,
    probe::TracerConfig,
    session::{
        check_event::CheckEvent,
        clock::Timer,
        error::{AttachError, AuditError, ObservationError},
        observation::{Observation, Origin},
        signals::SignalStream,
    },
    subject::{Identity, attached::Target},
};

/// How long processes that are continued together take to do so.
const CONTINUE_TOGETHER: Duration = Duration::from_millis(20);
/// How long a command may take to end when nobody watches it any more.
const LAST_PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked whether it has.
const LAST_LOOK: Duration = Duration::from_millis(20);

/// How long descendants of a command that has ended may take to end, too, before they count as going on.
const STRAGGLERS: Duration = Duration::from_millis(300);

/// What is observed, and how.
#[derive(Debug)]
pub struct Plan {
    /// How the kernel is watched.
    pub settings: TracerConfig,
    /// Command, targets or everything.
    pub aim: Aim,
    /// End after this time; `None`: when the aim has ended, or a signal asks.
    pub duration: Option<Duration>,
    /// What is kept in reserve of capaudit's own capabilities for what follows.
    pub reserve: CapSet,
    /// Whether the command gets the signals that capaudit receives.
    pub on_signal: OnSignal,
    /// Keep checks one by one, from the first.
    pub keep_check_events: bool,
}

/// What is observed, which also says when observation ends.
#[derive(Debug)]
pub enum Aim {
    /// A command, from its start to its end, and containers that start meanwhile.
    Command {
        /// Program and arguments.
        words: Vec<OsString>,
        /// What it reads from and writes to.
        streams: Streams,
        /// Go on until the last of its descendants has ended.
        wait_children: bool,
    },
    /// What runs already, until all of it has ended. Where a time is given, until that is over: a
    /// container may be started again.
    Targets(Vec<Target>),
    /// Every container that runs or starts, without end.
    EveryContainer,
    /// Every process of the machine, without end.
    Machine,
}

/// What a signal does that capaudit receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnSignal {
    /// The command while it runs; without one that runs, they end the observation.
    PassOn,
    /// The same; and as job control suspends and continues the command, so it does capaudit.
    PassOnWithJobControl,
    /// The consumer, as [`Step::Signal`].
    HandOut,
}

/// What happened. `T` is what the consumer waits for besides.
#[derive(Debug)]
pub enum Step<T> {
    /// Records may have been taken.
    Advanced,
    /// A signal, where they are handed out.
    Signal(Signal),
    /// What the consumer waits for.
    Other(T),
    /// It is over, as far as the plan says. What has ended by itself is said once; going on after
    /// that is the consumer's choice.
    Ended(Ending),
}

/// Why it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The command has ended, with this status.
    Command(ExitStatus),
    /// All targets have ended.
    Targets,
    /// The time is over.
    Time,
    /// A signal came, and there is no command that could get it.
    Signal,
}

/// An observation under way.
pub struct Driver {
    observation: Opaque<Observation>,
    signals: SignalStream,
    on_signal: OnSignal,
    command: Option<Command>,
    end: End,
    /// Whether [`Step::Ended`] has said so.
    is_said: bool,
    timer: Timer,
    processes: usize,
}

/// The command under way.
struct Command {
    name: Vec<String>,
    launched: Launched,
    status: Option<ExitStatus>,
}

/// What has to have ended for the observation to end.
#[derive(Clone, Copy)]
enum End {
    Command { wait_children: bool },
    Targets,
    Nothing,
}

impl Driver {
    /// Begins: starts the command, or finds what runs already. From then on capaudit has
    /// priority, and no capabilities but those that observing takes.
    ///
    /// # Errors
    ///
    /// Tracing is not possible, a target is not there, or the command cannot be executed.
    pub fn start(plan: Plan, signals: Signals) -> Boxed<'static, Result<Self, AuditError>> {
        Box::pin(Self::begin(plan, signals))
    }

    async fn begin(plan: Plan, signals: Signals) -> Result<Self, AuditError> {
        let mut signals = SignalStream::new(signals)?;
        // What is waited for is whoever listens at an engine's socket.
        let mut observation = tokio::select! {
            started = Observation::start(&plan.settings) => started?,
            signal = ending(&mut signals) => return Err(AuditError::Signal(signal?)),
        };
        if plan.keep_check_events {
            observation
                .keep_check_events(true)
                .map_err(AttachError::from)?;
        }
        let mut processes = 0;
        let mut command = None;
        let end = match plan.aim {
            Aim::Command {
                words,
                streams,
                wait_children,
            } => {
                let launched = observation
                    .launch(|| Launched::start_with(&words, signals.signals(), streams))
                    .map_err(|error| AuditError::Command {
                        program: words.first().cloned().unwrap_or_default(),
                        error,
                    })?;
                command = Some(Command {
                    name: words
                        .iter()
                        .map(|word| word.to_string_lossy().into_owned())
                        .collect(),
                    launched,
                    status: None,
                });
                End::Command { wait_children }
            }
            Aim::Targets(targets) => {
                for target in &targets {
                    processes += observation.attach(target).await?;
                }
                match plan.duration {
                    Some(_) => End::Nothing,
                    None => End::Targets,
                }
            }
            Aim::EveryContainer => {
                processes = observation.attach(&Target::EveryContainer).await?;
                End::Nothing
            }
            Aim::Machine => {
                processes = observation
                    .attach_machine()
                    .await
                    .map_err(AttachError::from)?;
                End::Nothing
            }
        };
        privilege::raise_priority();
        let of_command = match &command {
            Some(_) => privilege::TO_SIGNAL,
            None => CapSet::EMPTY,
        };
        observation.give_up_all_but(of_command.union(plan.reserve))?;
        Ok(Self {
            observation: Opaque::new(observation),
            signals,
            on_signal: plan.on_signal,
            command,
            end,
            is_said: false,
            timer: Timer::new(plan.duration),
            processes,
        })
    }

    /// How many processes ran already.
    pub fn processes(&self) -> usize {
        self.processes
    }

    /// The command in words; empty if there is none.
    pub fn command(&self) -> &[String] {
        self.command
            .as_ref()
            .map_or(&[], |command| command.name.as_slice())
    }

    /// The command's status, if it has ended.
    pub fn status(&self) -> Option<ExitStatus> {
        self.command.as_ref()?.status
    }

    /// The observation that this drives, for callers that read ledgers and check events while it goes on.
    pub fn observation(&mut self) -> &mut Observation {
        &mut self.observation
    }

    /// Waits for what happens next: signals come first, then `other`, then the end of the time,
    /// then records. `other` is dropped if it is not what happened.
    ///
    /// # Errors
    ///
    /// Something that observing needs of the system failed.
    pub async fn next<T>(&mut self, other: impl Future<Output = T>) -> Result<Step<T>, AuditError> {
        let mut value = None;
        let step = {
            let other = pin!(async { value = Some(other.await) });
            self.step(other).await?
        };
        Ok(match step {
            Step::Other(()) => value.map_or(Step::Advanced, Step::Other),
            Step::Advanced => Step::Advanced,
            Step::Signal(signal) => Step::Signal(signal),
            Step::Ended(ending) => Step::Ended(ending),
        })
    }

    /// The same for whatever the consumer waits for, so that it is compiled once.
    fn step<'a>(
        &'a mut self,
        other: Pin<&'a mut dyn Future<Output = ()>>,
    ) -> Boxed<'a, Result<Step<()>, AuditError>> {
        Box::pin(self.happened(other))
    }

    async fn happened(
        &mut self,
        other: Pin<&mut dyn Future<Output = ()>>,
    ) -> Result<Step<()>, AuditError> {
        if let (false, Some(ending)) = (self.is_said, self.ending()) {
            self.is_said = true;
            return Ok(Step::Ended(ending));
        }
        tokio::select! {
            biased;
            arrived = self.signals.next() => {
                let arrived = arrived?;
                self.signal(arrived).await
            }
            () = other => Ok(Step::Other(())),
            () = self.timer.over() => Ok(Step::Ended(Ending::Time)),
            advanced = self.observation.advance() => {
                advanced?;
                // While records never cease, nothing here ever waits, and tokio would ask for signals only once in 128
                // rounds, each of which may read whole maps.
                tokio::task::yield_now().await;
                Ok(Step::Advanced)
            }
        }
    }

    /// What has ended by itself.
    fn ending(&self) -> Option<Ending> {
        let tracker = self.observation.tracker();
        match self.end {
            End::Command { wait_children } => self
                .status()
                .filter(|_status| !(wait_children && tracker.is_live(&Identity::Command)))
                .map(Ending::Command),
            End::Targets => (!tracker.is_any_live()).then_some(Ending::Targets),
            End::Nothing => None,
        }
    }

    async fn signal(&mut self, arrived: Arrived) -> Result<Step<()>, AuditError> {
        let step = match (arrived, &self.command) {
            (Arrived::Child, _) => Step::Advanced,
            (Arrived::Sent(signal) | Arrived::FromTerminal(signal), _)
                if self.on_signal == OnSignal::HandOut =>
            {
                Step::Signal(signal)
            }
            (
                Arrived::Sent(signal),
                Some(Command {
                    status: None,
                    launched,
                    ..
                }),
            ) => {
                launched.forward(signal);
                Step::Advanced
            }
            // The command has got it, too.
            (Arrived::FromTerminal(_), Some(Command { status: None, .. })) => Step::Advanced,
            // Nobody to pass it on to: whoever waits for the children has waited enough.
            (
                _,
                Some(Command {
                    status: Some(status),
                    ..
                }),
            ) => Step::Ended(Ending::Command(*status)),
            (_, None) => Step::Ended(Ending::Signal),
        };
        self.look_at_command().await?;
        Ok(step)
    }

    /// Whether the command has ended, or is suspended.
    async fn look_at_command(&mut self) -> Result<(), ObservationError> {
        let Some(Command {
            launched,
            status: status @ None,
            ..
        }) = &mut self.command
        else {
            return Ok(());
        };
        *status = launched
            .ended()
            .map_err(ObservationError::system("cannot wait for the command"))?;
        if self.on_signal == OnSignal::PassOnWithJobControl && launched.is_suspended() {
            // Ctrl-Z stops capaudit as well as the command, and what goes on again goes on one
            // after the other.
            tokio::time::sleep(CONTINUE_TOGETHER).await;
            if launched.is_suspended() {
                launched.suspend();
            }
        }
        Ok(())
    }

    /// Check events that have come meanwhile, see [`Observation::check_events`].
    pub fn check_events(&mut self, most: usize, last: bool) -> Vec<CheckEvent> {
        let command = self.command.as_ref();
        let name = command.map_or(&[][..], |command| &command.name);
        self.observation.check_events(name, most, last)
    }

    /// What was found so far; everything goes on.
    ///
    /// # Errors
    ///
    /// The kernel's maps cannot be read.
    pub fn snapshot(&mut self) -> Boxed<'_, Result<Ledger, ObservationError>> {
        let origin = self.origin();
        Box::pin(self.observation.snapshot(origin))
    }

    /// Has a command that nobody watches any more end; waits for that, but not for long.
    ///
    /// # Errors
    ///
    /// It cannot be waited for.
    pub fn end_command(&mut self) -> Boxed<'_, Result<(), ObservationError>> {
        Box::pin(self.terminate_command())
    }

    async fn terminate_command(&mut self) -> Result<(), ObservationError> {
        let Some(Command {
            launched,
            status: None,
            ..
        }) = &mut self.command
        else {
            return Ok(());
        };
        launched.forward(Signal::SIGTERM);
        let deadline = Instant::now() + LAST_PATIENCE;
        while Instant::now() < deadline {
            let ended = launched.ended();
            if ended
                .map_err(ObservationError::system("cannot wait for the command"))?
                .is_some()
                || is_asked_to_end()
            {
                break;
            }
            tokio::time::sleep(LAST_LOOK).await;
        }
        Ok(())
    }

    /// Ends, and returns what was found.
    ///
    /// # Errors
    ///
    /// The kernel's maps cannot be read.
    pub fn finish(self) -> Boxed<'static, Result<Ledger, ObservationError>> {
        Box::pin(self.into_ledger())
    }

    async fn into_ledger(mut self) -> Result<Ledger, ObservationError> {
        let origin = self.origin();
        // What is about to end when the command does, such as the other end of its pipe, is no more worth a word than what ended
        // just before.
        let deadline = Instant::now() + STRAGGLERS;
        // A short command has ended before a record of it was taken: that it runs, and what it left running, is in these.
        self.observation.catch_up();
        while self.status().is_some()
            && self.observation.tracker().is_live(&Identity::Command)
            && Instant::now() < deadline
            && !is_asked_to_end()
        {
            self.observation.advance().await?;
        }
        self.observation.finish(origin).await
    }

    fn origin(&self) -> Origin {
        Origin {
            command: self.command().to_vec(),
            exit_status: self.status().map(shell_status),
        }
    }
}

/// Waits for a signal that ends what has not begun.
async fn ending(signals: &mut SignalStream) -> Result<Signal, ObservationError> {
    loop {
        match signals.next().await? {
            Arrived::Sent(signal) | Arrived::FromTerminal(signal) if is_ending(signal) => {
                return Ok(signal);
            }
            _ => {}
        }
    }
}
