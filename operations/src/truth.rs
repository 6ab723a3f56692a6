//! The truth about an operation in a mode, by knock-out.

use std::{collections::BTreeMap, io, path::Path};

use capaudit_core::capability::{CapSet, Capability};
use serde::{Deserialize, Serialize};

use crate::{
    credentials::{self, Mode},
    judge::{self, Difference},
    operation::{Details, Operation, Seen},
    profile::Profile,
    trial::{self, Actor, Trial},
};

/// What is known of an operation in a mode. One line of JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Truth {
    pub operation: String,
    pub mode: Mode,
    pub kernel: String,
    /// What its author had in mind.
    pub aim: CapSet,
    #[serde(flatten)]
    pub state: State,
    /// Capabilities that could not be granted, so nothing is known of them.
    pub lacking: CapSet,
    /// How many trials it took.
    pub trials: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub(crate) enum State {
    Tested {
        /// What the act saw with everything.
        full: Details,
        /// How it differs with nothing.
        with_none: Option<Difference>,
        /// The minimal sets with which the act sees the same as with everything.
        minimal: Vec<CapSet>,
        /// The minimal sets with which it succeeds, whatever it sees.
        minimal_to_succeed: Vec<CapSet>,
        /// How it differs with all but this one; those that make no difference are left out. Missing if that was not
        /// asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        each: Option<BTreeMap<Capability, Difference>>,
    },
    /// This kernel or machine does not have what the operation is about.
    Absent { why: String },
    /// It is refused whatever is granted: no capability helps.
    Refused {
        why: String,
        /// The minimal sets with which it comes as far: it fails in the same way as with everything.
        minimal: Vec<CapSet>,
    },
    /// It cannot be set up in this mode, or it needs what cannot be granted here.
    Untestable { why: String },
    /// Two trials with the same set differ, so nothing is taken for true.
    Nondeterministic { set: CapSet, seen: Vec<Seen> },
}

/// How much is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The minimal sets alone.
    Minimal,
    /// And how the act differs without each capability, which takes five times as many trials.
    Each,
}

/// How often an act has to hang.
const PATIENCE: u32 = 3;

/// Trials of one operation in one mode.
struct Bench<'a> {
    operation: &'a Operation,
    base: &'a Path,
    mode: Mode,
    profile: Option<&'a Profile>,
    trials: u32,
}

/// Why the search was given up: the machine failed, or the operation is not the same twice.
enum Stop {
    Io(io::Error),
    Differs(CapSet, Vec<Seen>),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Bench<'_> {
    /// One trial. On a loaded machine an act may wait for others: only what hangs again and again hangs.
    fn attempt(&mut self, set: CapSet) -> io::Result<Seen> {
        for _ in 1..PATIENCE {
            match self.once(set)? {
                Seen::Hung => {}
                seen => return Ok(seen),
            }
        }
        self.once(set)
    }

    fn once(&mut self, set: CapSet) -> io::Result<Seen> {
        self.trials += 1;
        let grant = self.mode.grant(set, self.profile)?;
        match trial::run(self.operation, self.base, self.mode, &grant, Actor::Forked)? {
            Trial::Acted(seen) | Trial::NotSetUp(seen) => Ok(seen),
        }
    }

    /// Twice, because once proves nothing.
    fn twice(&mut self, set: CapSet) -> Result<Seen, Stop> {
        let (first, second) = (self.attempt(set)?, self.attempt(set)?);
        if first == second {
            Ok(first)
        } else {
            Err(Stop::Differs(set, vec![first, second]))
        }
    }
}

/// Finds the truth.
///
/// # Errors
///
/// Those of the machine: fork(2) and the like.
pub(crate) fn of(
    operation: &Operation,
    base: &Path,
    mode: Mode,
    profile: Option<&Profile>,
    extent: Extent,
) -> io::Result<Truth> {
    let whole = whole(mode, profile)?;
    let lacking = kernel_has()? - whole;
    let mut bench = Bench {
        operation,
        base,
        mode,
        profile,
        trials: 0,
    };
    let state = match state(&mut bench, whole, lacking, extent) {
        Ok(state) => state,
        Err(Stop::Differs(set, seen)) => State::Nondeterministic { set, seen },
        Err(Stop::Io(error)) => return Err(error),
    };
    Ok(Truth {
        operation: operation.name.to_owned(),
        mode,
        kernel: kernel_release(),
        aim: operation.aim,
        state,
        lacking,
        trials: bench.trials,
    })
}

fn state(
    bench: &mut Bench<'_>,
    whole: CapSet,
    lacking: CapSet,
    extent: Extent,
) -> Result<State, Stop> {
    bench.trials += 1;
    if let Trial::NotSetUp(seen) = trial::run(
        bench.operation,
        bench.base,
        bench.mode,
        &bench.mode.grant(whole, bench.profile)?,
        Actor::Forked,
    )? {
        return Ok(without_set_up(&seen));
    }
    let full = match bench.twice(whole)? {
        Seen::Ok { details } => details,
        seen => {
            let lacking = bench.operation.aim.intersection(lacking);
            return without_success(bench, whole, &seen, lacking);
        }
    };
    let with_none = judge::difference(&full, &bench.twice(CapSet::EMPTY)?);
    let each = match extent {
        Extent::Minimal => None,
        Extent::Each => Some(without_each(bench, whole, &full)?),
    };
    let minimal = judge::minimal_sets(whole, |set| {
        let seen = bench.attempt(set)?;
        Ok::<_, Stop>(judge::difference(&full, &seen).is_none())
    })?;
    let minimal_to_succeed = if matches!(with_none, None | Some(Difference::Degrades { .. })) {
        vec![CapSet::EMPTY]
    } else {
        judge::minimal_sets(whole, |set| {
            bench
                .attempt(set)
                .map(|seen| seen.is_ok())
                .map_err(Stop::from)
        })?
    };
    // Each minimal set once more, and without each of its members.
    for set in &minimal {
        let again = bench.attempt(*set)?;
        if judge::difference(&full, &again).is_some() {
            return Err(Stop::Differs(*set, vec![Seen::Ok { details: full }, again]));
        }
        for member in set {
            let smaller = *set - CapSet::from(member);
            let again = bench.attempt(smaller)?;
            if judge::difference(&full, &again).is_none() {
                return Err(Stop::Differs(smaller, vec![again]));
            }
        }
    }
    Ok(State::Tested {
        full,
        with_none,
        minimal,
        minimal_to_succeed,
        each,
    })
}

/// How the act differs with all but each capability.
fn without_each(
    bench: &mut Bench<'_>,
    whole: CapSet,
    full: &Details,
) -> Result<BTreeMap<Capability, Difference>, Stop> {
    let mut each = BTreeMap::new();
    for capability in &whole {
        let seen = bench.twice(whole - CapSet::from(capability))?;
        if let Some(difference) = judge::difference(full, &seen) {
            each.insert(capability, difference);
        }
    }
    Ok(each)
}

/// What it means that an act fails with everything. `lacking`: what its author had in mind and cannot be granted.
fn without_success(
    bench: &mut Bench<'_>,
    whole: CapSet,
    seen: &Seen,
    lacking: CapSet,
) -> Result<State, Stop> {
    let why = reason(seen);
    Ok(match seen {
        _ if !lacking.is_empty() => State::Untestable {
            why: format!("{why} without {lacking}, which cannot be granted"),
        },
        Seen::Error { errno, .. } if judge::is_absent(*errno) => State::Absent { why },
        Seen::Hung => State::Untestable {
            why: format!("{why} with everything"),
        },
        _ => State::Refused {
            why,
            minimal: judge::minimal_sets(whole, |set| {
                bench
                    .attempt(set)
                    .map(|other| other == *seen)
                    .map_err(Stop::from)
            })?,
        },
    })
}

/// What it means that a set-up fails.
fn without_set_up(seen: &Seen) -> State {
    let why = format!("set-up: {}", reason(seen));
    match seen {
        Seen::Error { errno, .. } if judge::is_absent(*errno) => State::Absent { why },
        _ => State::Untestable { why },
    }
}

fn reason(seen: &Seen) -> String {
    match judge::difference(&Details::new(), seen) {
        Some(Difference::Fails { with }) => with,
        Some(Difference::Degrades { .. }) | None => "succeeds".to_owned(),
    }
}

/// Everything that can be granted in a mode: in a user namespace that it made, a process holds every capability, and a container
/// only what its engine knows.
///
/// # Errors
///
/// The kernel does not tell its capabilities, or those of this process.
pub(crate) fn whole(mode: Mode, profile: Option<&Profile>) -> io::Result<CapSet> {
    match mode {
        Mode::Userns => kernel_has(),
        Mode::Root | Mode::User | Mode::Nnp | Mode::UserNnp => credentials::available(),
        Mode::Docker => {
            let grantable = profile.map(Profile::grantable).unwrap_or_default();
            Ok(credentials::available()?.intersection(grantable))
        }
    }
}

/// The capabilities that the running kernel has.
fn kernel_has() -> io::Result<CapSet> {
    let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap")?;
    let last: u8 = last.trim().parse().map_err(io::Error::other)?;
    Ok((0..=last).filter_map(Capability::from_number).collect())
}

/// The running kernel's release, empty if it hides it.
pub(crate) fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .unwrap_or_default()
        .trim()
        .to_owned()
}
