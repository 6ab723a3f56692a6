//! What is told while runs are made.

use std::{
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use capaudit_core::text::sanitize;

use super::{
    Grant, Grants,
    minimize::{Outcome, Purpose, Step},
    proof::Member,
    state::Run,
};

/// Takes what is to be told.
pub trait Progress {
    /// A run begins; `run` says which, `left` how long it and those after it may take, as far as earlier ones tell.
    fn begins(&mut self, run: &str, left: Option<Duration>);
    /// The run that began last has ended; `how` is its conclusion.
    fn ended(&mut self, run: &str, how: &str);
    /// Something that is no run.
    fn note(&mut self, text: &str);
}

/// Tells it on standard error: a line a run, which on a terminal is begun when the run begins.
#[derive(Debug, Default)]
pub struct Terminal {
    begun: bool,
}

impl Progress for Terminal {
    fn begins(&mut self, run: &str, left: Option<Duration>) {
        let mut stream = std::io::stderr();
        if stream.is_terminal() {
            let left = left.map_or_else(String::new, |left| format!(" ({})", estimate(left)));
            // Nobody is left to tell if this cannot be printed.
            let _ = write!(stream, "{run}{left} … ");
            let _ = stream.flush();
            self.begun = true;
        }
    }

    fn ended(&mut self, run: &str, how: &str) {
        if std::mem::take(&mut self.begun) {
            let _ = writeln!(std::io::stderr(), "{how}");
        } else {
            let _ = writeln!(std::io::stderr(), "{run} … {how}");
        }
    }

    fn note(&mut self, text: &str) {
        if std::mem::take(&mut self.begun) {
            let _ = writeln!(std::io::stderr());
        }
        let _ = writeln!(std::io::stderr(), "{}", sanitize(text));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.begun {
            let _ = writeln!(std::io::stderr());
        }
    }
}

/// How long something may take, for people: as exact as such an estimate is.
fn estimate(left: Duration) -> String {
    match left.as_secs() {
        0..=9 => "some seconds left".to_owned(),
        seconds @ 10..=90 => format!("about {} s left", seconds.next_multiple_of(10)),
        seconds => format!("about {} minutes left", seconds.div_ceil(60)),
    }
}

/// Grants that are named one by one; of more, only the number is told.
const NAMED: usize = 8;

/// What a run is to find out, for people.
pub fn purpose(step: &Step, set: &Grants, subjects: &[String]) -> String {
    let of = |grants: &[Grant]| told(grants, subjects);
    let whole: Vec<Grant> = set.iter().collect();
    let mut text = match &step.purpose {
        Purpose::Whole if whole.is_empty() => "without any capability".to_owned(),
        Purpose::Whole => format!("with only {}", of(&whole)),
        Purpose::Without(grants) => format!("without {}", of(grants)),
        Purpose::Granted => "with all that it was granted".to_owned(),
        Purpose::Added(grants) => format!("with {} in addition", of(grants)),
        Purpose::Confirm if whole.is_empty() => "without any capability, to confirm".to_owned(),
        Purpose::Confirm => format!("with only {}, to confirm", of(&whole)),
    };
    if step.again {
        text.push_str(", again");
    }
    text
}

fn told(grants: &[Grant], subjects: &[String]) -> String {
    if grants.len() > NAMED {
        return format!("{} capabilities", grants.len());
    }
    let mut text = String::new();
    let mut service = String::new();
    for grant in grants {
        let member = Member::of(*grant, subjects);
        if !text.is_empty() {
            text.push(' ');
        }
        // Of services, each is named once.
        if member.service != service {
            text.push_str(&sanitize(&member.service));
            text.push(':');
            service = member.service;
        }
        text.push_str(member.capability.name());
    }
    text
}

/// How a run ended, and what that means.
pub fn result(step: &Step, run: &Run) -> String {
    let meaning = |text| match &step.purpose {
        Purpose::Without(grants) if grants.len() == 1 => text,
        _ => "",
    };
    match run.outcome {
        Outcome::Passed => format!("passed{}", meaning(": not needed")),
        Outcome::Disturbed => "could not be started".to_owned(),
        Outcome::Refused | Outcome::Failed if run.timed_out => {
            let after = Duration::from_millis(run.duration_ms).as_secs();
            format!("killed after {after} s{}", meaning(": needed"))
        }
        Outcome::Refused | Outcome::Failed => {
            format!(
                "failed with status {}{}",
                run.exit_status,
                meaning(": needed")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use capaudit_core::capability::{CapSet, Capability};

    use super::*;

    fn step(purpose: Purpose) -> Step {
        Step {
            purpose,
            again: false,
            left: 0,
        }
    }

    #[test]
    fn what_is_left_is_told_no_more_exactly_than_it_is_known() {
        let told = |seconds| estimate(Duration::from_secs(seconds));
        assert_eq!(told(9), "some seconds left");
        assert_eq!(told(41), "about 50 s left");
        assert_eq!(told(91), "about 2 minutes left");
    }

    #[test]
    fn a_run_is_told_in_a_few_words() {
        let grants = |subject, set: CapSet| -> Vec<Grant> {
            set.iter()
                .map(|capability| Grant {
                    subject,
                    capability,
                })
                .collect()
        };
        let set = CapSet::of(&[Capability::CHOWN, Capability::KILL]);
        let one = [String::new()];
        let two = ["db".to_owned(), "web".to_owned()];
        let told = |purpose, set: CapSet, subjects: &[String]| {
            super::purpose(&step(purpose), &Grants::new(vec![set, set]), subjects)
        };
        assert_eq!(
            purpose(&step(Purpose::Whole), &Grants::new(vec![set]), &one),
            "with only CHOWN KILL"
        );
        assert_eq!(
            told(Purpose::Without(grants(0, set)), set, &one),
            "without CHOWN KILL"
        );
        assert_eq!(
            told(Purpose::Whole, set, &two),
            "with only db:CHOWN KILL web:CHOWN KILL"
        );
        assert_eq!(
            told(Purpose::Whole, CapSet::EMPTY, &one),
            "without any capability"
        );
        assert_eq!(
            told(Purpose::Without(grants(1, CapSet::known())), set, &two),
            "without 41 capabilities"
        );
    }
}
