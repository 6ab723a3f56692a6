//! What limits a recommendation.

use std::fmt;

use crate::{
    ledger::{Losses, not_seen},
    report::Report,
    text::sanitize,
};

/// What a reader of the recommendation has to know of the record it rests on. Shown as a sentence in one safe line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caveat {
    /// Something was not seen.
    Incomplete {
        /// How many things, among them checks of processes that were lost track of.
        count: u64,
        /// What was lost, by cause.
        losses: Losses,
    },
    /// The audited command failed.
    Failed {
        /// Its exit status, 128 + signal if a signal ended it.
        status: i32,
    },
    /// Of what was audited, something is known not to have been seen.
    Partial {
        /// What people call it.
        subject: String,
        /// What was not seen, in the report's words.
        what: String,
    },
    /// What else there is to know, in the record's own words.
    Note(String),
}

pub(super) fn of_report(report: &Report) -> Vec<Caveat> {
    let session = &report.session;
    let incomplete = (session.lost_events > 0).then(|| Caveat::Incomplete {
        count: session.lost_events,
        losses: session.losses.clone(),
    });
    let failed = session
        .exit_status
        .filter(|status| *status != 0)
        .map(|status| Caveat::Failed { status });
    let partial = report.subjects.iter().flat_map(|subject| {
        let causes = if subject.seen_from_start && !subject.other {
            subject.incomplete.clone()
        } else {
            // That a start was not seen is told of the workload, where another replica may have shown it.
            Vec::from_iter(lost(&subject.losses))
        };
        let of_subject = |what| Caveat::Partial {
            subject: subject.name.clone(),
            what,
        };
        causes.into_iter().map(of_subject)
    });
    let notes = session.notes.iter().cloned().map(Caveat::Note);
    incomplete
        .into_iter()
        .chain(failed)
        .chain(partial)
        .chain(notes)
        .collect()
}

fn lost(losses: &Losses) -> Option<String> {
    (!losses.is_none()).then(|| format!("{losses} lost while it was observed"))
}

impl fmt::Display for Caveat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete { count, .. } => write!(
                f,
                "the record is incomplete ({}): a needed capability may be missing",
                not_seen(*count)
            ),
            Self::Failed { status } => write!(
                f,
                "the audited command failed with status {status}: what it would have needed later was not seen"
            ),
            Self::Partial { subject, what } => write!(
                f,
                "the record of {} is incomplete: {}",
                sanitize(subject),
                sanitize(what)
            ),
            Self::Note(note) => f.write_str(&sanitize(note)),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::recommend::{
        Recommendation,
        sample::{command, report},
    };

    #[test]
    fn what_was_not_seen_is_told() {
        let mut report = report(vec![]);
        report.session.notes.push("a\nb".to_owned());
        let recommendation = Recommendation::of(&report);
        assert!(recommendation.rests_on_everything());
        assert_eq!(recommendation.caveats.len(), 1);

        report.session.lost_events = 3;
        report.session.exit_status = Some(1);
        let recommendation = Recommendation::of(&report);
        assert!(!recommendation.rests_on_everything());
        let caveats: Vec<String> = recommendation
            .caveats
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(caveats.len(), 3);
        assert!(caveats[0].contains("3 things were not seen"));
        report.session.lost_events = 1;
        let one = Recommendation::of(&report).caveats[0].to_string();
        assert!(one.contains("1 thing was not seen"), "{one}");
        assert!(caveats[1].contains("status 1"));
        assert_eq!(caveats[2], "a\\u{a}b");
    }

    #[test]
    fn what_a_subject_lacks_limits_all_of_it() {
        let mut command = command("make", &[]);
        command.incomplete = vec!["still running: sleep 7".to_owned()];
        let recommendation = Recommendation::of(&report(vec![command]));
        assert!(!recommendation.rests_on_everything());
        assert_eq!(
            recommendation.caveats[0].to_string(),
            "the record of make is incomplete: still running: sleep 7"
        );
    }
}
