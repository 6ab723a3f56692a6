//! What is on the screen, and what keys and messages make of it. Pure: no terminal, no clock, no files.

pub mod details;
mod history;
pub mod keys;
pub mod layout;
pub mod output;
mod stream;
pub mod table;

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

use capaudit_core::{
    ledger::{Hook, Kind},
    recommend::Recommendation,
    report::{Report, SubjectReport},
    text::sanitize,
};
use capaudit_formats::export;
use capaudit_live::Missing;
use capaudit_tracer::launch::shell_status;
use jiff::tz::TimeZone;

use crate::{
    filter::{Filter, VERDICTS},
    message::{Ending, Message},
    model::{
        details::Detail,
        history::History,
        layout::Areas,
        output::Output,
        stream::Stream,
        table::{Choice, Grouping, Row, Sorting, leaf_key, rows},
    },
    state::{Leaf, State},
};

/// A part of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pane {
    /// The totals, a row for each subject and capability.
    Table,
    /// The check events, one a line.
    Stream,
    /// The recommendation as it is so far.
    Advice,
    /// What the command writes.
    Output,
}

impl Pane {
    /// In the order in which they are gone through.
    pub const ALL: [Self; 4] = [Self::Table, Self::Stream, Self::Advice, Self::Output];
}

/// What covers the rest.
#[derive(Clone, Debug, PartialEq)]
pub enum Popup {
    /// The list of keys.
    Help,
    /// Everything about a row or a check.
    Details(Vec<Detail>),
}

/// What a line is typed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// What the totals and the check events are filtered by.
    Filter,
    /// To save the session in that file.
    Save,
    /// To write the snippet into that file.
    Write,
}

/// A line that is being typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// What Enter does with it.
    pub purpose: Purpose,
    /// As it is so far.
    pub text: String,
    /// Why it cannot be used.
    pub error: Option<String>,
}

/// What is to be done outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Leave the live view.
    Quit,
    /// Give the terminal back and stop, until somebody lets us go on.
    Suspend,
    /// Clear the screen and paint all of it.
    Repaint,
    /// Save the session so far.
    Save(PathBuf),
    /// Write a text into a file.
    Write(PathBuf, String),
    /// Copy a text to the clipboard of whoever sits at the terminal.
    Copy(String),
}

/// Where counting began anew.
#[derive(Clone, Debug)]
struct Mark {
    checks: u64,
    totals: HashMap<String, (u64, u64)>,
}

/// What is on the screen.
#[derive(Debug)]
pub struct Model {
    /// What is watched, in words, safe to show.
    pub watching: String,
    /// How checks are seen.
    pub hook: Option<Hook>,
    /// Why nothing more will come.
    pub ended: Option<String>,
    /// Time zone that times of day are shown in.
    pub zone: TimeZone,
    /// Columns and rows of the terminal.
    pub size: (u16, u16),
    /// The pane that keys go to.
    pub focus: Pane,
    /// The window over the panes; keys go to it while there is one.
    pub popup: Option<Popup>,
    /// How far the popup, or else the recommendation, is scrolled.
    pub scrolled: usize,
    /// The line that is being typed; `None` while keys are commands.
    pub prompt: Option<Prompt>,
    /// What was just done, or why not.
    pub notice: Option<String>,
    /// Totals and check events stand still; those that come meanwhile are held.
    pub paused: bool,
    /// Which totals and check events are shown.
    pub filter: Filter,
    /// What the rows are gathered under.
    pub grouping: Grouping,
    /// The order of the rows of a group.
    pub sorting: Sorting,
    /// The totals that are shown.
    pub state: Option<State>,
    /// The same as rows.
    pub rows: Vec<Row>,
    /// Index of the row that is pointed at.
    pub selected: usize,
    /// Index of the first row on the screen.
    pub first: usize,
    /// The last check events, with those held while paused.
    pub stream: Stream,
    /// What the command wrote, safe to show.
    pub output: Output,
    /// Whether there is a command.
    pub has_command: bool,
    /// What is not among the check events.
    pub missing: Missing,
    later: Option<State>,
    history: History,
    all: HashMap<String, (u64, u64)>,
    mark: Option<Mark>,
    closed: HashSet<String>,
}

impl Model {
    /// An empty screen; `noise` also shows what makes no difference.
    pub fn new(
        watching: &str,
        has_command: bool,
        noise: bool,
        size: (u16, u16),
        zone: TimeZone,
    ) -> Self {
        Self {
            watching: sanitize(watching),
            hook: None,
            ended: None,
            zone,
            size,
            focus: Pane::Table,
            popup: None,
            scrolled: 0,
            prompt: None,
            notice: None,
            paused: false,
            filter: Filter {
                noise,
                ..Filter::default()
            },
            grouping: Grouping::default(),
            sorting: Sorting::default(),
            state: None,
            rows: Vec::new(),
            selected: 0,
            first: 0,
            stream: Stream::default(),
            output: Output::default(),
            has_command,
            missing: Missing::default(),
            later: None,
            history: History::default(),
            all: HashMap::new(),
            mark: None,
            closed: HashSet::new(),
        }
    }

    /// Takes a message of the source into what is shown; while paused, totals and check events wait.
    pub fn take(&mut self, message: Message) {
        match message {
            Message::Began { hook, .. } => self.hook = Some(hook),
            Message::Checks(checks) => self.stream.take(checks, self.paused),
            Message::State(state) if self.paused => self.later = Some(*state),
            Message::State(state) => self.show(*state),
            Message::Missing(missing) => self.missing = missing,
            Message::Output(bytes) => self.output.take(&bytes),
            Message::Ended(ending) => {
                self.ended = Some(match ending {
                    Ending::Command(status) if status.success() => {
                        "the command succeeded".to_owned()
                    }
                    Ending::Command(status) => {
                        format!("the command failed with status {}", shell_status(status))
                    }
                    Ending::Targets => "all of it has ended".to_owned(),
                    Ending::Daemon => "the daemon has ended".to_owned(),
                });
            }
            Message::Saved(saved) => {
                self.notice = Some(match saved {
                    Ok(path) => format!("saved to {path:?}: `capaudit report` reads it"),
                    Err(error) => sanitize(&error),
                });
            }
            Message::Signal(_) | Message::Tick => {}
        }
    }

    fn show(&mut self, state: State) {
        self.all = state
            .leaves
            .iter()
            .filter_map(|leaf| {
                let subject = state.report.subjects.get(leaf.subject)?;
                Some((leaf_key(subject, leaf), (leaf.granted, leaf.denied)))
            })
            .collect();
        let totals = self
            .all
            .iter()
            .map(|(name, (granted, denied))| (name.clone(), granted + denied));
        self.history
            .take(state.at_ms, totals.chain([(String::new(), state.checks)]));
        self.state = Some(state);
        self.arrange();
    }

    /// Makes the rows anew; the one pointed at stays the same if it is still there.
    fn arrange(&mut self) {
        let Some(state) = &self.state else {
            return;
        };
        let pointed = self.rows.get(self.selected).map(|row| row.key.clone());
        self.rows = rows(
            state,
            &self.history,
            &Choice {
                filter: &self.filter,
                grouping: self.grouping,
                sorting: self.sorting,
                closed: &self.closed,
                base: self.mark.as_ref().map(|mark| &mark.totals),
            },
        );
        let place = pointed.and_then(|key| self.rows.iter().position(|row| row.key == key));
        self.select(place.unwrap_or(self.selected));
    }

    fn select(&mut self, row: usize) {
        self.selected = row.min(self.rows.len().saturating_sub(1));
        let height = self.areas().height(Pane::Table).max(1);
        self.first = self
            .first
            .clamp((self.selected + 1).saturating_sub(height), self.selected);
        self.first = self.first.min(self.rows.len().saturating_sub(height));
    }

    /// Where the panes are on a screen of this size.
    pub fn areas(&self) -> Areas {
        Areas::of(self.size, self.focus)
    }

    /// The row that is pointed at.
    pub fn row(&self) -> Option<&Row> {
        self.rows.get(self.selected)
    }

    /// The leaf of the row that is pointed at.
    pub fn leaf(&self) -> Option<&Leaf> {
        self.state.as_ref()?.leaves.get(self.row()?.leaf)
    }

    /// The subject of the row that is pointed at.
    pub fn subject(&self) -> Option<&SubjectReport> {
        let subjects = &self.state.as_ref()?.report.subjects;
        self.leaf()
            .and_then(|leaf| subjects.get(leaf.subject))
            .or_else(|| subjects.first())
    }

    /// Checks, since the mark if there is one, and how many a second lately.
    pub fn checks(&self) -> (u64, f64) {
        let all = self.state.as_ref().map_or(0, |state| state.checks);
        let before = self.mark.as_ref().map_or(0, |mark| mark.checks);
        let rate = self.history.get("").map_or(0.0, |series| series.rate);
        (all.saturating_sub(before), rate)
    }

    /// Whether counting began anew at some moment.
    pub fn is_marked(&self) -> bool {
        self.mark.is_some()
    }

    /// What is to be put into a file for the subject that is pointed at.
    pub fn snippet(&self) -> Option<String> {
        let subject = self.subject()?;
        if subject.kind == Kind::Container {
            let report = &self.state.as_ref()?.report;
            let only = Recommendation::of(&Report {
                subjects: vec![subject.clone()],
                ..report.clone()
            });
            return Some(export::compose::snippet(&only));
        }
        Some(format!(
            "{}\n",
            subject.cap_add.names().collect::<Vec<_>>().join(",")
        ))
    }

    fn pause(&mut self) {
        self.paused = !self.paused;
        if !self.paused {
            self.stream.release();
            if let Some(state) = self.later.take() {
                self.show(state);
            }
        }
    }

    fn begin_anew(&mut self) {
        self.mark = Some(Mark {
            checks: self.state.as_ref().map_or(0, |state| state.checks),
            totals: self.all.clone(),
        });
        self.notice = Some("counting from now on; M counts from the beginning again".to_owned());
        self.arrange();
    }

    fn next_verdict(&mut self) {
        let place = self
            .filter
            .verdict
            .and_then(|verdict| VERDICTS.iter().position(|known| *known == verdict));
        let next = place.map_or(0, |place| place + 1);
        self.filter.verdict = VERDICTS.get(next).copied();
        self.arrange();
    }

    /// Shows the rows below the one pointed at, or not.
    fn open(&mut self, open: bool) {
        let Some(row) = self.row() else {
            return;
        };
        let key = row.key.clone();
        match row.open {
            Some(is_open) if is_open != open => {
                if open {
                    self.closed.remove(&key);
                } else {
                    self.closed.insert(key);
                }
                self.arrange();
            }
            _ if !open => {
                // To the group that it is in.
                if let Some((above, _)) = key.rsplit_once('\u{0}')
                    && let Some(place) = self.rows.iter().position(|row| row.key == above)
                {
                    self.select(place);
                }
            }
            _ => {}
        }
    }

    /// Shows the rows below all groups, or below none.
    fn open_all(&mut self) {
        if self.closed.is_empty() {
            let groups = self.rows.iter().filter(|row| row.depth == 0);
            self.closed = groups.map(|row| row.key.clone()).collect();
        } else {
            self.closed.clear();
        }
        self.arrange();
    }

    fn look(&mut self, pane: Pane) {
        self.focus = pane;
        self.scrolled = 0;
        self.select(self.selected);
    }

    fn panes(&self) -> impl Iterator<Item = Pane> + Clone + use<> {
        let has_command = self.has_command;
        Pane::ALL
            .into_iter()
            .filter(move |pane| *pane != Pane::Output || has_command)
    }

    fn look_on(&mut self, back: bool) {
        let panes: Vec<Pane> = self.panes().collect();
        let place = panes
            .iter()
            .position(|pane| *pane == self.focus)
            .unwrap_or(0);
        let step = if back { panes.len() - 1 } else { 1 };
        if let Some(pane) = panes.get((place + step) % panes.len()) {
            self.look(*pane);
        }
    }

    /// Goes `by` rows on in what is looked at.
    fn step(&mut self, by: isize) {
        if self.popup.is_some() {
            self.scrolled = self.scrolled.saturating_add_signed(by);
            return;
        }
        match self.focus {
            Pane::Table => self.select(self.selected.saturating_add_signed(by)),
            Pane::Stream => self.stream.step(by, &self.filter),
            Pane::Advice => self.scrolled = self.scrolled.saturating_add_signed(by),
            // From the end upwards.
            Pane::Output => self.scrolled = self.scrolled.saturating_add_signed(-by),
        }
    }

    fn page(&self) -> isize {
        let height = if self.popup.is_some() {
            usize::from(self.size.1).saturating_sub(4)
        } else {
            self.areas().height(self.focus)
        };
        isize::try_from(height.saturating_sub(1).max(1)).unwrap_or(1)
    }

    fn details(&mut self) {
        let details = match self.focus {
            Pane::Stream => self
                .stream
                .current(&self.filter)
                .map(|shown| details::of_check(&shown.check, &self.zone)),
            _ => self
                .leaf()
                .zip(self.subject())
                .map(|(leaf, subject)| details::of_leaf(leaf, subject)),
        };
        if let Some(details) = details {
            self.scrolled = 0;
            self.popup = Some(Popup::Details(details));
        }
    }

    /// The screen has this size, in columns and rows.
    pub fn resize(&mut self, size: (u16, u16)) {
        if size != self.size {
            self.size = size;
            self.select(self.selected);
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
