//! What a run leaves as proof that sets were in force in it. A run that leaves none says nothing of a set, however it ended.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    VerifyError,
    minimize::{Outcome, Purpose, Step},
    proxy::{Made, Seen, role::Matched},
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

/// Judges a run by what passed through its sockets.
///
/// # Errors
///
/// A set was not in force on one of its containers; or the command passed, and nothing was enforced on one of the subjects.
pub(super) fn of_sockets(
    seen: &Seen,
    subjects: &[String],
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
    if outcome == Outcome::Passed && !without.is_empty() {
        return Err(VerifyError::NotEnforced(without));
    }
    let tried: Vec<&String> = match &step.purpose {
        Purpose::Without(grants) | Purpose::Added(grants) => grants
            .iter()
            .filter_map(|grant| subjects.get(grant.subject))
            .collect(),
        Purpose::Whole | Purpose::Granted | Purpose::Confirm => subjects.iter().collect(),
    };
    // It failed before what was tried came into play.
    let is_idle = !tried.is_empty() && tried.iter().all(lacks);
    let outcome = match outcome {
        Outcome::Refused | Outcome::Failed if is_idle => Outcome::Disturbed,
        outcome => outcome,
    };
    Ok(Evidence {
        in_force,
        outcome,
        notes: notes(seen),
    })
}

fn notes(seen: &Seen) -> BTreeSet<String> {
    let mut notes = BTreeSet::new();
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
    let traits = &made.traits;
    [&traits.service, &traits.name, &traits.image]
        .into_iter()
        .flatten()
        .next()
        .unwrap_or(&made.id)
        .clone()
}
