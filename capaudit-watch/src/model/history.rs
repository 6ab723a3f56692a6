//! How totals grew: rates and the little curves.

use std::collections::{HashMap, VecDeque};

/// Points that are kept of a total: about one a second.
const POINTS: usize = 60;

/// One total over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    last: u64,
    points: VecDeque<u32>,
    /// Checks a second, lately.
    pub rate: f64,
}

impl Series {
    /// The last points, the newest last: what was added between one state and the next.
    pub fn points(&self) -> impl DoubleEndedIterator<Item = u32> {
        self.points.iter().copied()
    }

    fn grow(&mut self, total: u64, seconds: f64) {
        let added = total.saturating_sub(self.last);
        self.last = total;
        if self.points.len() == POINTS {
            self.points.pop_front();
        }
        self.points
            .push_back(u32::try_from(added).unwrap_or(u32::MAX));
        self.rate = if seconds > 0.0 {
            added as f64 / seconds
        } else {
            0.0
        };
    }

    /// Adds another series, point by point from the newest on.
    pub fn add(&mut self, other: &Self) {
        while self.points.len() < other.points.len() {
            self.points.push_front(0);
        }
        let sums = self.points.iter_mut().rev().zip(other.points.iter().rev());
        for (sum, more) in sums {
            *sum = sum.saturating_add(*more);
        }
        self.rate += other.rate;
    }
}

/// All totals over time, by name.
#[derive(Clone, Debug, Default)]
pub struct History {
    series: HashMap<String, Series>,
    at_ms: u64,
}

impl History {
    /// Takes totals of a moment. What is not among them any more is forgotten.
    pub fn take(&mut self, at_ms: u64, totals: impl IntoIterator<Item = (String, u64)>) {
        let first = self.at_ms == 0;
        let seconds = at_ms.saturating_sub(self.at_ms) as f64 / 1000.0;
        self.at_ms = at_ms;
        let mut before = std::mem::take(&mut self.series);
        for (name, total) in totals {
            let mut series = before.remove(&name).unwrap_or_default();
            // What was there before the first look has not come within a second.
            series.grow(total, if first { 0.0 } else { seconds });
            self.series.insert(name, series);
        }
    }

    pub fn get(&self, name: &str) -> Option<&Series> {
        self.series.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_last_step_and_what_is_gone_is_forgotten() {
        let mut history = History::default();
        history.take(1000, [("a".to_owned(), 10), ("b".to_owned(), 1)]);
        history.take(3000, [("a".to_owned(), 30)]);
        let rate = history.get("a").map(|series| series.rate);
        assert_eq!(rate, Some(10.0));
        assert_eq!(history.get("b"), None);
    }

    #[test]
    fn series_are_added_from_the_newest_on() {
        let mut history = History::default();
        history.take(1000, [("a".to_owned(), 1)]);
        history.take(2000, [("a".to_owned(), 3), ("b".to_owned(), 5)]);
        let mut sum = Series::default();
        for name in ["a", "b"] {
            sum.add(history.get(name).unwrap_or(&Series::default()));
        }
        assert_eq!(sum.points().collect::<Vec<_>>(), [1, 7]);
    }
}
