//! What a run leaves as proof that sets were in force in it. A run that leaves none says nothing of a set, however it ended.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    VerifyError,
    enforce::socket::called as called_by,
    minimize::{Outcome, Purpose, Step},
    proxy::{
        Made, Seen,
        role::{Matched, Traits, look_alike},
    },
};

/// That sets were in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Evidence {
    /// How many containers of each subject ran with its set.
    pub in_force: BTreeMap<String, usize>,
    /// What the run says, given that.
    pub outcome: Outcome,
    /// What else there is to know.
    pub notes: BTreeSet<String>,
}

/// The subjects that a run is to find out something of.
pub(super) fn concerned(step: &Step, subjects: &[String]) -> Vec<String> {
    match &step.purpose {
        Purpose::Without(grants) | Purpose::Added(grants) => {
            let places: BTreeSet<usize> = grants.iter().map(|grant| grant.subject).collect();
            let names = places.iter().filter_map(|place| subjects.get(*place));
            names.cloned().collect()
        }
        Purpose::Whole | Purpose::Granted | Purpose::Confirm => subjects.to_vec(),
    }
}

/// Judges a run by what passed through its sockets.
///
/// # Errors
///
/// A set was not in force on one of its containers; or the command passed, and nothing was enforced on one of the subjects.
pub(super) fn of_sockets(
    seen: &Seen,
    subjects: &[String],
    past: &[Traits],
    outcome: Outcome,
    step: &Step,
) -> Result<Evidence, VerifyError> {
    for made in &seen.made {
        if let Matched::Several(places) = &made.subject {
            let names = places.iter().filter_map(|place| subjects.get(*place));
            return Err(VerifyError::Ambiguous {
                container: called(made),
                subjects: names.cloned().collect(),
            });
        }
        if made.escaped() {
            return Err(VerifyError::NotInForce {
                container: called(made),
                wanted: made.set.unwrap_or_default(),
                found: made.bounding.or(made.granted),
            });
        }
    }
    let mut in_force = BTreeMap::new();
    for made in seen.made.iter().filter(|made| made.is_in_force()) {
        if let Matched::One(place) = &made.subject
            && let Some(name) = subjects.get(*place)
        {
            *in_force.entry(name.clone()).or_default() += 1;
        }
    }
    let lacks = |name: &&String| !in_force.contains_key(*name);
    let without: Vec<String> = subjects.iter().filter(lacks).cloned().collect();
    // Whoever else starts containers does not start the same in each run.
    let recurs = |known: &&Traits| seen.past.iter().any(|it| look_alike(known, it));
    let escaped = past.iter().filter(recurs).filter_map(called_by);
    let without: Vec<String> = without.into_iter().chain(escaped).collect();
    if outcome == Outcome::Passed && !without.is_empty() {
        return Err(VerifyError::NotEnforced(without));
    }
    let tried = concerned(step, subjects);
    // It failed before what was tried came into play.
    let is_idle = !tried.is_empty() && tried.iter().all(|name| lacks(&name));
    let outcome = match outcome {
        Outcome::Refused | Outcome::Failed if is_idle => Outcome::Disturbed,
        outcome => outcome,
    };
    Ok(Evidence {
        in_force,
        outcome,
        notes: notes(seen, past),
    })
}

fn notes(seen: &Seen, past: &[Traits]) -> BTreeSet<String> {
    let mut notes = BTreeSet::new();
    let past: BTreeSet<String> = past.iter().filter_map(called_by).collect();
    if !past.is_empty() {
        let names: Vec<String> = past.into_iter().collect();
        notes.insert(format!(
            "started while the command was audited, but not through the socket, and not again in the runs, so taken for somebody else's: {}",
            names.join(", ")
        ));
    }
    let names = |is_one: &dyn Fn(&Made) -> bool| -> Option<String> {
        let named: BTreeSet<String> = seen
            .made
            .iter()
            .filter(|made| is_one(made))
            .map(called)
            .collect();
        let names: Vec<String> = named.into_iter().collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    if let Some(names) = names(&|made| made.was_privileged) {
        notes.insert(format!(
            "privileged is left out of the runs for {names}; it also gives devices and takes away seccomp and other protection"
        ));
    }
    if let Some(names) = names(&|made| made.started && made.subject == Matched::None) {
        notes.insert(format!(
            "started in the runs, but not when it was audited, and so left with what it asks for: {names}"
        ));
    }
    if !seen.others_started.is_empty() {
        notes.insert(
            "the command started containers that had been made before: nothing is enforced on these"
                .to_owned(),
        );
    }
    if seen.privileged_executions > 0 {
        notes.insert(
            "executions in containers that were to be privileged (`docker exec --privileged`) got what their container has"
                .to_owned(),
        );
    }
    notes
}

/// What people call a container.
fn called(made: &Made) -> String {
    called_by(&made.traits).unwrap_or_else(|| made.id.clone())
}

#[cfg(test)]
mod tests {
    use capaudit_core::capability::{CapSet, Capability};

    use super::*;
    use crate::Grant;

    const SET: CapSet = CapSet::of(&[Capability::CHOWN]);

    fn made(name: &str, subject: Matched) -> Made {
        Made {
            set: Some(SET),
            granted: Some(SET),
            started: true,
            ..Made::new(
                name.to_owned(),
                Traits {
                    name: Some(name.to_owned()),
                    ..Traits::default()
                },
                subject,
            )
        }
    }

    fn judged(made: &[Made], outcome: Outcome, purpose: Purpose) -> Result<Evidence, VerifyError> {
        let subjects = ["db".to_owned(), "web".to_owned()];
        let step = Step {
            purpose,
            again: false,
            left: 0,
        };
        let named = |name: &str| Traits {
            name: Some(name.to_owned()),
            ..Traits::default()
        };
        let seen = Seen {
            made: made.to_vec(),
            past: vec![named("neighbour")],
            ..Seen::default()
        };
        of_sockets(&seen, &subjects, &[named("side")], outcome, &step)
    }

    #[test]
    fn a_run_that_passes_shows_something_if_every_subject_was_limited() {
        let all = [made("db", Matched::One(0)), made("web", Matched::One(1))];
        let evidence = judged(&all, Outcome::Passed, Purpose::Confirm);
        assert!(evidence.is_ok_and(|it| it.in_force.len() == 2 && it.outcome == Outcome::Passed));
        let one = judged(&all[..1], Outcome::Passed, Purpose::Confirm);
        assert!(matches!(one, Err(VerifyError::NotEnforced(names)) if names == ["web"]));
        let only_made = Made {
            started: false,
            ..all[1].clone()
        };
        let idle = judged(
            &[all[0].clone(), only_made],
            Outcome::Passed,
            Purpose::Confirm,
        );
        assert!(matches!(idle, Err(VerifyError::NotEnforced(names)) if names == ["web"]));
    }

    #[test]
    fn what_started_past_the_socket_in_each_run_is_the_commands() {
        let all = [made("db", Matched::One(0)), made("web", Matched::One(1))];
        let seen = Seen {
            made: all.to_vec(),
            past: vec![Traits {
                name: Some("side".to_owned()),
                ..Traits::default()
            }],
            ..Seen::default()
        };
        let step = Step {
            purpose: Purpose::Confirm,
            again: false,
            left: 0,
        };
        let subjects = ["db".to_owned(), "web".to_owned()];
        let found = of_sockets(&seen, &subjects, &seen.past, Outcome::Passed, &step);
        assert!(matches!(found, Err(VerifyError::NotEnforced(names)) if names == ["side"]));
    }

    #[test]
    fn a_failure_before_what_is_tried_began_shows_nothing() {
        let db = [made("db", Matched::One(0))];
        let without = |subject| {
            Purpose::Without(vec![Grant {
                subject,
                capability: Capability::KILL,
            }])
        };
        let outcome = |subject| {
            judged(&db, Outcome::Refused, without(subject)).map(|evidence| evidence.outcome)
        };
        assert!(matches!(outcome(0), Ok(Outcome::Refused)));
        assert!(matches!(outcome(1), Ok(Outcome::Disturbed)));
    }

    #[test]
    fn another_set_and_another_subject_are_errors_however_it_ended() {
        for outcome in [Outcome::Passed, Outcome::Failed] {
            let more = Made {
                bounding: Some(CapSet::of(&[Capability::CHOWN, Capability::KILL])),
                ..made("db", Matched::One(0))
            };
            let found = judged(&[more], outcome, Purpose::Whole);
            assert!(matches!(found, Err(VerifyError::NotInForce { .. })));
            let either = made("app", Matched::Several(vec![0, 1]));
            let found = judged(&[either], outcome, Purpose::Whole);
            assert!(matches!(found, Err(VerifyError::Ambiguous { .. })));
        }
    }
}
