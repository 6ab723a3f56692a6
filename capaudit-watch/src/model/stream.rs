//! Check events, the last of them.

use std::collections::VecDeque;

use capaudit_core::{ledger::Outcome, text::sanitize};
use capaudit_live::judged::JudgedCheck;

use crate::filter::{Facets, Filter};

/// Checks that are kept.
const MOST_KEPT: usize = 5000;

/// A check with what it takes to filter it.
#[derive(Debug)]
pub struct Shown {
    /// Counts from the first on.
    pub number: u64,
    pub check: JudgedCheck,
    subject: String,
    text: String,
}

impl Shown {
    fn is_shown(&self, filter: &Filter) -> bool {
        let identity = &self.check.record.identity;
        filter.shows(&Facets {
            capability: identity.capability,
            denied: identity.outcome == Outcome::Denied,
            verdict: self.check.judgement.verdict,
            subject: &self.subject,
            text: &self.text,
        })
    }
}

/// The last check events, a bounded number of them.
#[derive(Debug, Default)]
pub struct Stream {
    kept: VecDeque<Shown>,
    /// Came while nothing was to move.
    held: VecDeque<JudgedCheck>,
    next: u64,
    /// The line that is pointed at; `None` follows the newest.
    pub at: Option<u64>,
}

impl Stream {
    /// Takes checks; with `hold` they are not shown yet.
    pub fn take(&mut self, checks: Vec<JudgedCheck>, hold: bool) {
        if hold {
            self.held.extend(checks);
            let surplus = self.held.len().saturating_sub(MOST_KEPT);
            self.held.drain(..surplus);
        } else {
            for check in checks {
                self.push(check);
            }
        }
    }

    /// Shows what was held.
    pub fn release(&mut self) {
        for check in std::mem::take(&mut self.held) {
            self.push(check);
        }
    }

    fn push(&mut self, check: JudgedCheck) {
        if self.kept.len() == MOST_KEPT {
            self.kept.pop_front();
        }
        let subject = &check.subject;
        let name = format!(
            "{} {} {}",
            subject.name,
            subject.compose_service().unwrap_or_default(),
            subject.image().unwrap_or_default()
        );
        let identity = &check.record.identity;
        let text = sanitize(&format!(
            "{name} {} {} {} {} {} {}",
            identity.requester.comm,
            identity.requester.exe,
            identity.capability.cap_name(),
            identity.syscall.as_deref().unwrap_or_default(),
            check.object,
            check.judgement.reason
        ));
        self.kept.push_back(Shown {
            number: self.next,
            subject: name,
            text: text.to_lowercase(),
            check,
        });
        self.next += 1;
    }

    /// Checks that came while nothing was to move.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// The line that is pointed at.
    pub fn current(&self, filter: &Filter) -> Option<&Shown> {
        match self.at {
            Some(number) => self
                .kept
                .iter()
                .find(|shown| shown.number >= number && shown.is_shown(filter)),
            None => self.kept.iter().rev().find(|shown| shown.is_shown(filter)),
        }
    }

    /// At most `height` lines around the one pointed at, the newest last.
    pub fn visible(&self, filter: &Filter, height: usize) -> Vec<&Shown> {
        let at = self.at.unwrap_or(u64::MAX);
        let newer = self
            .kept
            .iter()
            .filter(|shown| shown.number > at && shown.is_shown(filter))
            .take(height / 2);
        let newer: Vec<&Shown> = newer.collect();
        let older = self
            .kept
            .iter()
            .rev()
            .filter(|shown| shown.number <= at && shown.is_shown(filter))
            .take(height - newer.len());
        let mut lines: Vec<&Shown> = older.collect();
        lines.reverse();
        lines.extend(newer);
        lines
    }

    /// Points `by` lines further on; past the newest, it follows again.
    pub fn step(&mut self, by: isize, filter: &Filter) {
        let numbers: Vec<u64> = self
            .kept
            .iter()
            .filter(|shown| shown.is_shown(filter))
            .map(|shown| shown.number)
            .collect();
        let last = numbers.len().saturating_sub(1);
        let place = match self.at {
            None => last,
            Some(at) => numbers.partition_point(|number| *number < at).min(last),
        };
        let next = place.saturating_add_signed(by);
        self.at = if next >= last && by > 0 {
            None
        } else {
            numbers.get(next).copied()
        };
    }
}
