//! Checks as lines: for people and `grep`, or for programs.

pub mod plain;

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    ops::ControlFlow,
    os::fd::AsFd,
};

use capaudit_core::advise::Verdict;
use capaudit_live::{Missing, Summary, judged::JudgedCheck, line::Line};
use capaudit_tracer::{
    launch::{Streams, is_asked_to_end},
    session::{AuditError, signals::with_signals},
    stream,
};
use jiff::tz::TimeZone;
use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::mpsc::unbounded_channel;

use crate::{
    Plan,
    message::{Delivery, Finished, Message, WatchError},
    source::watch,
};

/// Distinct checks that are remembered for [`Choice::unique`].
const MOST_DISTINCT: usize = 1 << 20;

/// How a check becomes a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Text in aligned columns, for people.
    Plain,
    /// One JSON object a line: the contract `capaudit.watch/1`.
    Json,
}

/// Which checks become lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice {
    /// Also those that make no difference.
    pub all: bool,
    /// Of checks that differ in nothing but their object only the first.
    pub unique: bool,
    /// End after so many lines; `None`: never for that reason.
    pub count: Option<u64>,
}

/// Watches, with lines on standard output. The outer error is the system's.
///
/// # Errors
///
/// Nothing can be watched, or lines cannot be written.
pub fn run(plan: &Plan, form: Form, choice: Choice) -> io::Result<Result<Finished, WatchError>> {
    let mut lines = Lines::new(form, choice, plan.scope.to_string(), io::stdout());
    let delivery = Delivery {
        states: false,
        linger: false,
        streams: Streams::OutputAside,
    };
    // Nobody asks for anything, but the channel stays open.
    let (_requests, asked) = unbounded_channel();
    let mut sink = |message| lines.take(message);
    let watched = with_signals(|signals| watch(plan, delivery, signals, asked, &mut sink))
        .map_err(AuditError::from)
        .map_err(WatchError::from)
        .flatten();
    if let Ok(finished) = &watched {
        lines.end(&finished.summary)?;
    }
    Ok(watched)
}

/// Writes messages as lines.
pub struct Lines<W> {
    form: Form,
    choice: Choice,
    watching: String,
    zone: TimeZone,
    out: W,
    distinct: HashSet<u64>,
    written: u64,
    hidden: u64,
    missing: Missing,
    error: Option<io::Error>,
}

impl<W: AsFd> Lines<W> {
    /// Lines go to `out`, each at once.
    pub fn new(form: Form, choice: Choice, watching: String, out: W) -> Self {
        Self {
            form,
            choice,
            watching,
            zone: TimeZone::system(),
            out,
            distinct: HashSet::new(),
            written: 0,
            hidden: 0,
            missing: Missing::default(),
            error: None,
        }
    }

    /// Writes what there is to write. Breaks when there is nobody to read it, or enough was written.
    pub fn take(&mut self, message: Message) -> ControlFlow<()> {
        match message {
            Message::Began { hook, .. } if self.form == Form::Json => {
                let line = Line::begin(hook, &self.watching);
                self.line(&line.text())
            }
            Message::Began { processes, .. } => {
                tell(&format!("watching {}{}", self.watching, running(processes)));
                ControlFlow::Continue(())
            }
            Message::Checks(checks) => checks.iter().try_for_each(|check| self.check(check)),
            Message::Missing(missing) => self.missing(missing),
            Message::Tick if self.is_closed() => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }

    fn check(&mut self, check: &JudgedCheck) -> ControlFlow<()> {
        let is_noise = check.judgement.verdict == Verdict::Noise;
        if (is_noise && !self.choice.all) || (self.choice.unique && !self.is_first(check)) {
            self.hidden += 1;
            return ControlFlow::Continue(());
        }
        let text = match self.form {
            Form::Plain => plain::line(check, &self.zone),
            Form::Json => Line::check(check).text(),
        };
        self.line(&text)?;
        self.written += 1;
        if self.choice.count == Some(self.written) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// Whether no check like this one was seen before.
    fn is_first(&mut self, check: &JudgedCheck) -> bool {
        let mut hasher = DefaultHasher::new();
        check.subject.name.hash(&mut hasher);
        let identity = &check.record.identity;
        identity.capability.hash(&mut hasher);
        identity.outcome.hash(&mut hasher);
        identity.requester.exe.hash(&mut hasher);
        identity.syscall.hash(&mut hasher);
        identity.callers.hash(&mut hasher);
        check.judgement.verdict.hash(&mut hasher);
        if self.distinct.len() >= MOST_DISTINCT {
            self.distinct.clear();
        }
        self.distinct.insert(hasher.finish())
    }

    /// Whatever was not shown is told, at most once a second.
    fn missing(&mut self, missing: Missing) -> ControlFlow<()> {
        if missing == self.missing {
            return ControlFlow::Continue(());
        }
        let more = missing.unsent.saturating_sub(self.missing.unsent);
        let is_new_loss = missing.losses != self.missing.losses;
        self.missing = missing;
        if self.form == Form::Json {
            let line = Line::missing(&self.missing);
            return self.line(&line.text());
        }
        if more > 0 {
            tell(&format!(
                "{more} checks were counted, but are not among the lines: there were too many at once"
            ));
        }
        if is_new_loss {
            tell(&format!("INCOMPLETE: lost {}", self.missing.losses));
        }
        ControlFlow::Continue(())
    }

    fn line(&mut self, text: &str) -> ControlFlow<()> {
        match stream::write_all(&self.out, format!("{text}\n").as_bytes()) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                let is_ending = error.kind() == io::ErrorKind::TimedOut && is_asked_to_end();
                if error.kind() != io::ErrorKind::BrokenPipe && !is_ending {
                    self.error = Some(error);
                }
                ControlFlow::Break(())
            }
        }
    }

    /// Whether nobody reads any more. A watch in which nothing happens would else go on for ever.
    fn is_closed(&self) -> bool {
        let mut fds = [PollFd::new(&self.out, PollFlags::empty())];
        let polled = poll(&mut fds, Some(&rustix::time::Timespec::default()));
        // A pipe whose readers are gone (poll(2)).
        matches!(polled, Ok(1)) && fds[0].revents().contains(PollFlags::ERR)
    }

    /// Sums up.
    ///
    /// # Errors
    ///
    /// Something could not be written, now or before; nobody to read it is no error.
    pub fn end(mut self, summary: &Summary) -> io::Result<()> {
        match self.form {
            Form::Json => {
                let line = Line::end(self.written, summary);
                let _ = self.line(&line.text());
            }
            Form::Plain => {
                let hidden = match self.hidden {
                    0 => String::new(),
                    hidden if self.choice.unique => format!(", {hidden} like them or noise hidden"),
                    hidden => format!(", {hidden} without consequence hidden (--all)"),
                };
                tell(&format!(
                    "{} checks in {:.1} s: {} shown{hidden}{}",
                    summary.checks,
                    summary.duration_ms as f64 / 1000.0,
                    self.written,
                    match summary.missing.unsent {
                        0 => String::new(),
                        unsent => format!(", {unsent} too many to be shown"),
                    }
                ));
                let losses = &summary.missing.losses;
                if !losses.is_none() {
                    tell(&format!("INCOMPLETE: lost {losses}"));
                }
            }
        }
        self.error.map_or(Ok(()), Err)
    }
}

fn running(processes: usize) -> String {
    match processes {
        0 => String::new(),
        1 => " (1 process runs)".to_owned(),
        several => format!(" ({several} processes run)"),
    }
}

/// Prints a remark on standard error, so that standard output holds lines of checks only.
fn tell(text: &str) {
    let text = capaudit_core::text::sanitize(text);
    // Nobody is left to tell if this cannot be printed.
    let _ = stream::write_all(io::stderr(), format!("capaudit: {text}\n").as_bytes());
}
