//! What a daemon observes, as messages: it writes check events as lines, and is asked for its totals.

use std::{
    future::pending,
    ops::ControlFlow,
    path::PathBuf,
    time::{Duration, Instant},
};

use capaudit_core::ledger::{Ledger, Outcome, SubjectRecord};
use capaudit_live::{
    BATCH, Missing, Summary,
    client::{self, ClientError},
    line::{CheckLine, Line, SubjectLine},
    scope::Daemon,
};
use capaudit_tracer::{
    launch::{Arrived, Signals},
    privilege,
    probe::TracerConfig,
    session::{AuditError, ObservationError, Timer, milliseconds_since, signals::SignalStream},
};
use tokio::{sync::mpsc::UnboundedReceiver, task::JoinHandle};

use crate::{
    Plan,
    message::{
        Delivery, Ending, Finished, Message, Request, STATE_EVERY, STATE_SHARE, TICK, WatchError,
    },
    state::State,
};

/// How long the last lines may take.
const LAST_PATIENCE: Duration = Duration::from_secs(1);
/// Fewest digits that are taken for the beginning of an id: as many as engines show.
const ID_DIGITS: usize = 12;

/// Watches through a daemon, as [`super::source::watch`] does by itself.
pub(super) async fn watch(
    plan: &Plan,
    daemon: &Daemon,
    delivery: &Delivery,
    signals: Signals,
    mut requests: UnboundedReceiver<Request>,
    sink: &mut dyn FnMut(Message) -> ControlFlow<()>,
) -> Result<Finished, WatchError> {
    privilege::keep(privilege::to_connect(&daemon.socket), plan.reserve)
        .map_err(ObservationError::system("cannot drop capabilities"))
        .map_err(AuditError::from)?;
    let mut lines = client::watch(&daemon.socket).await?;
    let mut signals = SignalStream::new(signals).map_err(AuditError::from)?;
    let mut live = Live {
        selection: Selection {
            daemon,
            settings: &plan.settings,
        },
        checks: 0,
        missing: Missing::default(),
        since: Instant::now(),
        totals: None,
        next_state: Instant::now(),
    };
    let mut timer = Timer::new(plan.duration);
    let mut tick = tokio::time::interval(TICK);
    let mut flow = sink(Message::Began {
        hook: lines.hook(),
        processes: 0,
    });
    let mut ending = None;
    let mut batch = Vec::new();
    while flow.is_continue() {
        tokio::select! {
            biased;
            arrived = signals.next() => match arrived.map_err(AuditError::from)? {
                Arrived::Child => {}
                Arrived::Sent(_) | Arrived::FromTerminal(_) if !delivery.linger => break,
                Arrived::Sent(signal) | Arrived::FromTerminal(signal) => {
                    flow = sink(Message::Signal(signal));
                }
            },
            request = requests.recv() => match request {
                Some(Request::Save(path)) => {
                    flow = sink(Message::Saved(live.save(path).await));
                }
                Some(Request::Quit) | None => break,
            },
            () = timer.over() => break,
            _ = tick.tick() => {
                flow = sink(Message::Tick);
                if delivery.states && ending.is_none() {
                    live.ask();
                }
            }
            state = live.answered() => {
                if let Some(state) = state && flow.is_continue() {
                    flow = sink(Message::State(Box::new(state)));
                }
            }
            taken = lines.take(&mut batch, BATCH), if ending.is_none() => {
                if taken? == 0 {
                    ending = Some(Ending::Daemon);
                    flow = sink(Message::Ended(Ending::Daemon));
                    if !delivery.linger {
                        break;
                    }
                }
            }
        }
        for message in live.take(&mut batch)? {
            if flow.is_continue() {
                flow = sink(message);
            }
        }
    }
    if ending.is_none() {
        // What was on its way when it was enough; whoever has no more use for it does not wait for long.
        let rest = async {
            lines.end().await;
            while lines.take(&mut batch, BATCH).await? > 0 {
                for message in live.take(&mut batch)? {
                    if flow.is_continue() {
                        flow = sink(message);
                    }
                }
            }
            Ok::<_, ClientError>(())
        };
        if let Ok(rest) = tokio::time::timeout(LAST_PATIENCE, rest).await {
            rest?;
        }
    }
    let ledger = match (&plan.save, ending) {
        (Some(_), None) => Some(live.selection.totals()?),
        _ => None,
    };
    Ok(Finished {
        summary: Summary {
            checks: live.checks + live.missing.unsent,
            missing: live.missing,
            duration_ms: milliseconds_since(live.since),
        },
        ledger,
        ending,
    })
}

/// A watch under way.
struct Live<'a> {
    selection: Selection<'a>,
    /// Checks that came, of those that are selected.
    checks: u64,
    missing: Missing,
    since: Instant,
    /// Totals that were asked for, and when.
    totals: Option<(Instant, JoinHandle<Result<Ledger, ClientError>>)>,
    next_state: Instant,
}

impl Live<'_> {
    /// Turns lines into messages.
    fn take(&mut self, lines: &mut Vec<Line>) -> Result<Vec<Message>, ClientError> {
        let mut messages = Vec::new();
        let mut checks = Vec::new();
        for line in lines.drain(..) {
            match line {
                Line::Check(check) if self.selection.check(&check) => {
                    checks.push(check.judged().ok_or(ClientError::NoLine)?);
                }
                Line::Missing { unsent, losses } => {
                    self.missing = Missing { unsent, losses };
                    messages.push(Message::Missing(self.missing.clone()));
                }
                Line::Begin { .. } | Line::Check(_) | Line::End { .. } => {}
            }
        }
        self.checks += checks.len() as u64;
        if !checks.is_empty() {
            messages.insert(0, Message::Checks(checks));
        }
        Ok(messages)
    }

    /// Asks for totals if that is due.
    fn ask(&mut self) {
        if self.totals.is_none() && Instant::now() >= self.next_state {
            let socket = self.selection.daemon.socket.clone();
            let answer = tokio::task::spawn_blocking(move || client::totals(&socket));
            self.totals = Some((Instant::now(), answer));
        }
    }

    /// Waits for totals that were asked for. `None` if none came: the lines tell if the daemon is gone.
    async fn answered(&mut self) -> Option<State> {
        let Some((asked, answer)) = &mut self.totals else {
            return pending().await;
        };
        let answer = answer.await;
        self.next_state = *asked + STATE_EVERY.max(asked.elapsed() * STATE_SHARE);
        self.totals = None;
        let mut ledger = answer.ok()?.ok()?;
        self.selection.narrow(&mut ledger);
        // The daemon does not say which have ended: of too many, those that asked longest ago are taken together.
        Some(State::of(ledger, self.missing.clone(), |_subject| true))
    }

    async fn save(&self, path: PathBuf) -> Result<PathBuf, String> {
        let ledger = self.selection.totals().map_err(|error| error.to_string())?;
        capaudit_storage::save(&ledger, &path)
            .map_err(|error| format!("cannot save to {path:?}: {error}"))?;
        Ok(path)
    }
}

/// Which of the daemon's checks this watch shows: the same that the kernel side would send if it watched by itself.
struct Selection<'a> {
    daemon: &'a Daemon,
    settings: &'a TracerConfig,
}

impl Selection<'_> {
    fn totals(&self) -> Result<Ledger, ClientError> {
        let mut ledger = client::totals(&self.daemon.socket)?;
        self.narrow(&mut ledger);
        Ok(ledger)
    }

    fn check(&self, check: &CheckLine) -> bool {
        let SubjectLine {
            name,
            id,
            compose_service,
            ..
        } = &check.subject;
        self.settings.capabilities.contains(check.capability)
            && (!self.settings.denied_only || check.outcome == Outcome::Denied)
            && self.subject(name, id, compose_service)
    }

    /// Leaves only what is selected.
    fn narrow(&self, ledger: &mut Ledger) {
        let named = |subject: &SubjectRecord| {
            let service = subject.compose_service().unwrap_or_default();
            self.subject(&subject.name, subject.id().unwrap_or_default(), service)
        };
        ledger.subjects.retain(named);
        for subject in &mut ledger.subjects {
            subject.checks.retain(|check| {
                let identity = &check.identity;
                self.settings.capabilities.contains(identity.capability)
                    && (!self.settings.denied_only || identity.outcome == Outcome::Denied)
            });
        }
    }

    fn subject(&self, name: &str, id: &str, service: &str) -> bool {
        let Daemon {
            containers,
            services,
            ..
        } = self.daemon;
        (containers.is_empty() && services.is_empty())
            || services.iter().any(|wanted| wanted == service)
            || containers.iter().any(|wanted| {
                wanted == name || (wanted.len() >= ID_DIGITS && id.starts_with(wanted.as_str()))
            })
    }
}

#[cfg(test)]
mod tests {
    use capaudit_core::capability::{CapSet, Capability};

    use super::*;
    use crate::samples;

    fn daemon(containers: &[&str], services: &[&str]) -> Daemon {
        Daemon {
            socket: PathBuf::new(),
            containers: containers.iter().map(|name| (*name).to_owned()).collect(),
            services: services.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn a_line_is_the_check_that_it_tells() {
        for event in samples::check_events() {
            let line = Line::check(&event);
            let Line::Check(check) = line.clone() else {
                panic!("{line:?}");
            };
            let again = check.judged().map(|check| Line::check(&check));
            assert_eq!(again, Some(line));
        }
    }

    #[test]
    fn lines_and_totals_are_narrowed_alike() {
        for (daemon, set, denied_only, names) in [
            (daemon(&[], &[]), CapSet::known(), false, 4),
            (daemon(&["shop-web-1"], &[]), CapSet::known(), false, 1),
            (
                daemon(&["id-of-shop-web-1"], &[]),
                CapSet::known(),
                false,
                1,
            ),
            (daemon(&["id-of"], &[]), CapSet::known(), false, 0),
            (daemon(&[], &["web"]), CapSet::known(), false, 2),
            (daemon(&[], &[]), Capability::CHOWN.into(), false, 4),
            (daemon(&[], &[]), CapSet::known(), true, 3),
        ] {
            let settings = TracerConfig {
                capabilities: set,
                denied_only,
                ..TracerConfig::default()
            };
            let selection = Selection {
                daemon: &daemon,
                settings: &settings,
            };
            let mut ledger = samples::ledger(1);
            selection.narrow(&mut ledger);
            let subjects: std::collections::BTreeSet<String> = ledger
                .subjects
                .iter()
                .filter(|subject| !subject.checks.is_empty())
                .map(|subject| subject.name.clone())
                .collect();
            let events = samples::check_events();
            let told = events.iter().filter_map(|event| match Line::check(event) {
                Line::Check(check) if selection.check(&check) => Some(check.subject.name),
                _ => None,
            });
            assert_eq!(subjects, told.collect(), "{daemon}");
            assert_eq!(subjects.len(), names, "{daemon} {set:?} {denied_only}");
        }
    }
}
