#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::convert::Infallible;

use capaudit_core::capability::{CapSet, Capability};
use proptest::prelude::*;

use super::*;

/// A program that needs one member of each of several sets.
struct Program {
    needs: Vec<Grants>,
    /// For each run that would pass, whether it fails all the same. Exhausted: it does not.
    mishaps: Vec<bool>,
    /// How a run fails.
    failure: Outcome,
    runs: Vec<(Grants, Step, Outcome)>,
}

impl Program {
    fn new(needs: &[&[Capability]]) -> Self {
        Self {
            needs: needs.iter().map(|need| one(CapSet::of(need))).collect(),
            mishaps: Vec::new(),
            failure: Outcome::Refused,
            runs: Vec::new(),
        }
    }

    /// The subject that lacks something.
    fn at_fault(&self, set: &Grants) -> Option<usize> {
        let lacking = self
            .needs
            .iter()
            .find(|need| need.intersection(set).is_empty())?;
        lacking.iter().next().map(|grant| grant.subject)
    }

    fn is_met(&self, set: &Grants) -> bool {
        self.needs
            .iter()
            .all(|need| !need.intersection(set).is_empty())
    }
}

impl Trials for Program {
    type Error = Infallible;

    fn run(&mut self, set: &Grants, step: &Step) -> Result<Trial, Infallible> {
        let outcome = if !self.is_met(set) {
            self.failure
        } else if self.mishaps.pop().unwrap_or(false) {
            Outcome::Failed
        } else {
            Outcome::Passed
        };
        self.runs.push((set.clone(), step.clone(), outcome));
        Ok(Trial {
            number: self.runs.len() - 1,
            outcome,
            at_fault: self.at_fault(set),
        })
    }
}

fn one(set: CapSet) -> Grants {
    Grants::new(vec![set])
}

fn grant(capability: Capability) -> Grant {
    Grant {
        subject: 0,
        capability,
    }
}

fn problem(decisive: &[Capability], possible: &[Capability]) -> Problem {
    let candidate = |evidence| {
        move |capability: &Capability| Candidate {
            grant: grant(*capability),
            evidence,
        }
    };
    Problem {
        candidates: decisive
            .iter()
            .map(candidate(Evidence::Decisive))
            .chain(possible.iter().map(candidate(Evidence::Possible)))
            .collect(),
        kept: Vec::new(),
        granted: Some(one(CapSet::known())),
        alternatives: one(CapSet::EMPTY),
        suspects: one(CapSet::EMPTY),
        repeat: 1,
    }
}

fn found(problem: &Problem, program: &mut Program) -> Minimum {
    minimize(problem, program).unwrap()
}

const A: Capability = Capability::CHOWN;
const B: Capability = Capability::SETUID;
const C: Capability = Capability::SETGID;
const D: Capability = Capability::KILL;
const E: Capability = Capability::SYS_ADMIN;

#[test]
fn what_is_all_needed_takes_one_run_each_and_one_with_all() {
    let mut program = Program::new(&[&[A], &[B], &[C]]);
    let minimum = found(&problem(&[A, B, C], &[]), &mut program);
    assert_eq!(minimum.set, one(CapSet::of(&[A, B, C])));
    assert!(minimum.passed && !minimum.flaky && minimum.missed.is_empty());
    assert_eq!(program.runs.len(), 4);
    assert_eq!(program.runs[3].1.purpose, Purpose::Whole);
    for (grant, fate) in &minimum.fates {
        let Fate::Proven { trial } = fate else {
            panic!("{grant:?}: {fate:?}");
        };
        assert_eq!(program.runs[*trial].0, minimum.set.without(&[*grant]));
    }
}

#[test]
fn what_is_not_needed_takes_one_run_each_and_one_to_confirm() {
    let mut program = Program::new(&[&[A]]);
    let minimum = found(&problem(&[A, B, D], &[]), &mut program);
    assert_eq!(minimum.set, one(CapSet::from(A)));
    assert_eq!(program.runs.len(), 4);
    assert_eq!(program.runs[3].1.purpose, Purpose::Confirm);
    assert_eq!(program.runs[3].0, minimum.set);
}

#[test]
fn no_candidates_take_one_run() {
    let mut program = Program::new(&[]);
    let minimum = found(&problem(&[], &[]), &mut program);
    assert!(minimum.passed && minimum.set.is_empty());
    assert_eq!(program.runs.len(), 1);
}

#[test]
fn the_doubtful_go_together_if_they_can() {
    let mut program = Program::new(&[&[A]]);
    let minimum = found(&problem(&[A], &[B, C, D]), &mut program);
    assert_eq!(minimum.set, one(CapSet::from(A)));
    // All doubtful ones, A, and the confirmation.
    assert_eq!(program.runs.len(), 3);
}

#[test]
fn many_doubtful_are_searched() {
    let mut program = Program::new(&[&[Capability::NET_RAW], &[Capability::SYSLOG]]);
    let all: Vec<Capability> = CapSet::known().iter().collect();
    let minimum = found(&problem(&[], &all), &mut program);
    assert_eq!(
        minimum.set,
        one(CapSet::of(&[Capability::NET_RAW, Capability::SYSLOG]))
    );
    assert!(program.runs.len() < 25, "{}", program.runs.len());
}

#[test]
fn of_two_that_can_stand_in_for_each_other_the_weaker_stays() {
    let weak = Capability::DAC_READ_SEARCH;
    let strong = Capability::DAC_OVERRIDE;
    let mut program = Program::new(&[&[weak, strong]]);
    let minimum = found(&problem(&[weak, strong], &[]), &mut program);
    assert_eq!(minimum.set, one(CapSet::from(weak)));
}

/// cupsd: one need is met by either, the other by the stronger one alone; and then the latter turns out to be none.
#[test]
fn what_was_left_out_comes_back_for_something_stronger() {
    let weak = Capability::DAC_READ_SEARCH;
    let strong = Capability::DAC_OVERRIDE;
    let mut program = Program::new(&[&[weak, strong]]);
    let minimum = found(&problem(&[strong], &[weak]), &mut program);
    assert_eq!(minimum.set, one(CapSet::from(weak)));
    assert!(minimum.fates.contains(&(grant(strong), Fate::Removed)));
}

/// A hard link: FOWNER does, which was never asked for as long as DAC_OVERRIDE was there.
#[test]
fn what_was_never_asked_for_is_tried_where_it_is_weaker() {
    let weak = Capability::FOWNER;
    let strong = Capability::DAC_OVERRIDE;
    let mut either = problem(&[strong, A], &[]);
    either.alternatives = one(CapSet::of(&[weak, Capability::SYS_ADMIN]));
    let mut program = Program::new(&[&[weak, strong], &[A]]);
    let minimum = found(&either, &mut program);
    assert_eq!(minimum.set, one(CapSet::of(&[weak, A])));
    assert!(minimum.missed.is_empty());
    // Where it does not do, that takes no run more.
    let mut program = Program::new(&[&[strong], &[A]]);
    let minimum = found(&either, &mut program);
    assert_eq!(minimum.set, one(CapSet::of(&[strong, A])));
    assert_eq!(program.runs.len(), 3);
}

#[test]
fn an_engine_that_does_not_know_an_alternative_gets_along_without() {
    struct Old(Program);
    impl Trials for Old {
        type Error = Infallible;

        fn run(&mut self, set: &Grants, step: &Step) -> Result<Trial, Infallible> {
            let mut trial = self.0.run(set, step)?;
            if set.contains(grant(Capability::PERFMON)) {
                trial.outcome = Outcome::Disturbed;
            }
            Ok(trial)
        }
    }
    let mut of_admin = problem(&[E], &[]);
    of_admin.alternatives = one(CapSet::from(Capability::PERFMON));
    let minimum = minimize(&of_admin, &mut Old(Program::new(&[&[E]]))).unwrap();
    assert_eq!(minimum.set, one(CapSet::from(E)));
    assert!(matches!(minimum.fates[..], [(_, Fate::Proven { .. })]));
}

#[test]
fn what_was_missed_is_found_and_proven() {
    let mut program = Program::new(&[&[A], &[B], &[E]]);
    let minimum = found(&problem(&[A, D], &[]), &mut program);
    assert_eq!(minimum.set, one(CapSet::of(&[A, B, E])));
    assert_eq!(minimum.missed, one(CapSet::of(&[B, E])));
    assert!(minimum.passed);
    for (grant, fate) in minimum.fates {
        assert_eq!(
            matches!(fate, Fate::Proven { .. }),
            minimum.set.contains(grant)
        );
    }
}

#[test]
fn what_was_missed_is_looked_for_among_what_was_asked() {
    let mut program = Program::new(&[&[A], &[B]]);
    let mut problem = problem(&[A], &[]);
    problem.suspects = one(CapSet::of(&[B, D]));
    let minimum = found(&problem, &mut program);
    assert_eq!(minimum.missed, one(CapSet::from(B)));
    // Without A; with only A, twice; with B and D in addition; with D; with B. Then, that A and B are needed: for
    // B it follows, for A it takes a run.
    assert_eq!(program.runs.len(), 7);
}

#[test]
fn missed_candidates_are_noticed_soon() {
    let many: Vec<Capability> = CapSet::known().iter().take(20).collect();
    let needs: Vec<[Capability; 1]> = many.iter().map(|it| [*it]).collect();
    let mut needs: Vec<&[Capability]> = needs.iter().map(<[_; 1]>::as_slice).collect();
    needs.push(&[E]);
    let mut program = Program::new(&needs);
    let minimum = found(&problem(&many, &[]), &mut program);
    assert!(minimum.missed.contains(grant(E)));
    assert_eq!(program.runs[PATIENCE].1.purpose, Purpose::Whole);
}

#[test]
fn a_command_that_cannot_bear_enforcement_does_not_pass() {
    let mut program = Program::new(&[&[A]]);
    program.needs.push(one(CapSet::EMPTY));
    let minimum = found(&problem(&[A], &[]), &mut program);
    assert!(!minimum.passed);
    let last = program.runs.last().unwrap();
    assert_eq!(last.1.purpose, Purpose::Granted);
}

#[test]
fn what_was_never_granted_is_not_needed() {
    let mut program = Program::new(&[&[A]]);
    let mut problem = problem(&[A, E], &[]);
    problem.granted = Some(one(CapSet::of(&[A, B])));
    let minimum = found(&problem, &mut program);
    assert_eq!(minimum.set, one(CapSet::from(A)));
    assert!(minimum.fates.contains(&(grant(E), Fate::Removed)));
    assert_eq!(program.runs.len(), 2);
}

#[test]
fn a_doubtful_failure_that_tells_nothing_is_repeated() {
    let mut program = Program::new(&[&[A], &[B]]);
    program.failure = Outcome::Failed;
    let minimum = found(&problem(&[A], &[B]), &mut program);
    assert_eq!(minimum.set, one(CapSet::of(&[A, B])));
    let again = program.runs.iter().filter(|run| run.1.again).count();
    assert_eq!((program.runs.len(), again), (4, 1));
}

#[test]
fn nothing_is_removed_where_runs_disagree() {
    let mut program = Program::new(&[]);
    // Without A it fails once; mishaps are taken from the end.
    program.mishaps = vec![true];
    let minimum = found(&problem(&[], &[A]), &mut program);
    assert!(minimum.flaky);
    assert_eq!(minimum.fates, [(grant(A), Fate::Unsettled)]);
    assert_eq!(minimum.set, one(CapSet::from(A)));
}

#[test]
fn a_failing_confirmation_brings_all_back() {
    let mut program = Program::new(&[&[B]]);
    program.mishaps = vec![true, false];
    let minimum = found(&problem(&[A, B], &[]), &mut program);
    assert!(minimum.flaky && minimum.passed);
    assert_eq!(minimum.set, one(CapSet::of(&[A, B])));
    assert!(minimum.fates.contains(&(grant(A), Fate::Unsettled)));
}

#[test]
fn an_engine_that_fails_proves_nothing() {
    let mut program = Program::new(&[&[A]]);
    program.failure = Outcome::Disturbed;
    let minimum = found(&problem(&[A], &[]), &mut program);
    assert_eq!(minimum.fates, [(grant(A), Fate::Unsettled)]);
    assert_eq!(minimum.set, one(CapSet::from(A)));
}

#[test]
fn verifying_runs_the_set_as_often_as_asked() {
    let mut program = Program::new(&[&[A]]);
    let minimum = verify(one(CapSet::from(A)), 3, &mut program).unwrap();
    assert!(minimum.passed);
    assert_eq!(program.runs.len(), 3);
    let minimum = verify(one(CapSet::from(B)), 3, &mut program).unwrap();
    assert!(!minimum.passed);
    assert_eq!(program.runs.len(), 4);
}

#[test]
fn subjects_are_told_apart() {
    let of = |subject, capability| Grant {
        subject,
        capability,
    };
    let mut program = Program::new(&[]);
    program.needs = vec![
        Grants::new(Vec::new()).with(&[of(0, A)]),
        Grants::new(Vec::new()).with(&[of(1, B)]),
    ];
    let candidates = [of(0, A), of(0, B), of(1, A), of(1, B)];
    let problem = Problem {
        candidates: candidates
            .iter()
            .map(|grant| Candidate {
                grant: *grant,
                evidence: Evidence::Possible,
            })
            .collect(),
        kept: Vec::new(),
        granted: None,
        alternatives: one(CapSet::EMPTY),
        suspects: one(CapSet::EMPTY),
        repeat: 1,
    };
    let minimum = found(&problem, &mut program);
    assert_eq!(
        minimum.set,
        Grants::new(vec![CapSet::from(A), CapSet::from(B)])
    );
}

/// Some needs, each satisfied by any of a few capabilities.
fn needs() -> impl Strategy<Value = Vec<Grants>> {
    let need = proptest::collection::vec(0u8..41, 1..3).prop_map(|numbers| {
        one(numbers
            .into_iter()
            .filter_map(Capability::from_number)
            .collect())
    });
    proptest::collection::vec(need, 0..7)
}

/// Candidates: whether each capability is one, and how sure.
fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    proptest::collection::btree_map(0u8..41, any::<bool>(), 0..20).prop_map(|members| {
        members
            .into_iter()
            .filter_map(|(number, decisive)| {
                Some(Candidate {
                    grant: grant(Capability::from_number(number)?),
                    evidence: if decisive {
                        Evidence::Decisive
                    } else {
                        Evidence::Possible
                    },
                })
            })
            .collect()
    })
}

fn set_of(candidates: &[Candidate]) -> Grants {
    let grants: Vec<Grant> = candidates.iter().map(|it| it.grant).collect();
    one(CapSet::EMPTY).with(&grants)
}

/// Few doubtful candidates, and all that is needed.
fn easy() -> impl Strategy<Value = (Vec<Grants>, Vec<Candidate>)> {
    (needs(), candidates()).prop_map(|(needs, mut candidates)| {
        let mut doubtful = 0;
        for candidate in &mut candidates {
            doubtful += usize::from(candidate.evidence == Evidence::Possible);
            if doubtful > MANY {
                candidate.evidence = Evidence::Decisive;
            }
        }
        for need in &needs {
            if need.intersection(&set_of(&candidates)).is_empty() {
                candidates.extend(need.iter().take(1).map(|grant| Candidate {
                    grant,
                    evidence: Evidence::Decisive,
                }));
            }
        }
        (needs, candidates)
    })
}

proptest! {
    #[test]
    fn the_result_is_enough_and_nothing_in_it_is_idle(
        needs in needs(),
        candidates in candidates(),
        told in any::<bool>(),
        suspects in any::<u64>().prop_map(CapSet::from_bits),
    ) {
        let mut program = Program::new(&[]);
        program.needs = needs;
        program.failure = if told { Outcome::Refused } else { Outcome::Failed };
        let whole = set_of(&candidates);
        let enough = program.is_met(&whole);
        let problem = Problem { candidates, kept: Vec::new(), granted: Some(one(CapSet::known())), alternatives: one(CapSet::EMPTY), suspects: one(suspects), repeat: 1 };
        let minimum = found(&problem, &mut program);

        prop_assert!(minimum.passed && !minimum.flaky);
        prop_assert!(program.is_met(&minimum.set));
        prop_assert_eq!(minimum.missed.is_empty(), enough);
        for grant in minimum.set.iter() {
            let less = minimum.set.without(&[grant]);
            prop_assert!(!program.is_met(&less));
            // Its proof is a run with no less than that.
            let fate = minimum.fates.iter().find(|(of, _fate)| *of == grant);
            let Some((_, Fate::Proven { trial })) = fate else {
                panic!("{grant:?} has no proof: {fate:?}");
            };
            let (set, _step, outcome) = &program.runs[*trial];
            prop_assert!(less.is_subset(set) && !set.contains(grant));
            prop_assert_ne!(*outcome, Outcome::Passed);
        }
        if enough {
            prop_assert!(minimum.set.is_subset(&whole));
        }
    }

    /// The order of powers is one by the strongest member, so that from the strongest down each is in the least powerful set
    /// only if nothing weaker does, given what is in it already.
    #[test]
    fn of_all_sets_that_pass_the_least_powerful_is_found(
        (needs, candidates) in easy(),
        alternatives in any::<u64>().prop_map(|bits| CapSet::from_bits(bits).intersection(CapSet::known())),
    ) {
        let mut program = Program::new(&[]);
        program.needs = needs;
        let whole = set_of(&candidates).with(&one(alternatives).iter().collect::<Vec<_>>());
        let problem = Problem { candidates, kept: Vec::new(), granted: Some(one(CapSet::known())), alternatives: one(alternatives), suspects: one(CapSet::EMPTY), repeat: 1 };
        let mut least = whole.clone();
        let mut members: Vec<Grant> = whole.iter().collect();
        members.sort_by_key(|grant| std::cmp::Reverse(grant.capability.power()));
        for grant in members {
            let less = least.without(&[grant]);
            if program.is_met(&less) {
                least = less;
            }
        }
        let minimum = found(&problem, &mut program);
        prop_assert_eq!(minimum.set.all(), least.all());
        // A search among all alternatives for each of those that come in.
        let added = minimum.set.difference(&set_of(&problem.candidates)).len();
        let most = 6 * problem.candidates.len() + 6 + 12 * added;
        prop_assert!(program.runs.len() <= most, "{} runs", program.runs.len());
    }

    #[test]
    fn with_few_doubtful_and_nothing_missed_it_takes_about_one_run_each(
        (needs, candidates) in easy(),
    ) {
        let mut program = Program::new(&[]);
        program.needs = needs;
        let doubtful = candidates.iter().filter(|it| it.evidence == Evidence::Possible).count();
        // Of one that goes, a second run may tell that nothing weaker has to come for it.
        let most = 2 * candidates.len() + 2 + usize::from(doubtful >= TOGETHER);
        let problem = Problem { candidates, kept: Vec::new(), granted: Some(one(CapSet::known())), alternatives: one(CapSet::EMPTY), suspects: one(CapSet::EMPTY), repeat: 1 };
        let minimum = found(&problem, &mut program);
        prop_assert!(program.runs.len() <= most, "{} runs", program.runs.len());
        if minimum.set.len() == problem.candidates.len() && doubtful < TOGETHER {
            prop_assert_eq!(program.runs.len(), problem.candidates.len() + 1);
        }
    }

    #[test]
    fn no_run_that_follows_from_others_is_made(needs in needs(), candidates in candidates()) {
        let mut program = Program::new(&[]);
        program.needs = needs;
        let problem = Problem { candidates, kept: Vec::new(), granted: Some(one(CapSet::known())), alternatives: one(CapSet::EMPTY), suspects: one(CapSet::EMPTY), repeat: 1 };
        found(&problem, &mut program);
        for (index, (set, step, _outcome)) in program.runs.iter().enumerate() {
            if step.again || step.purpose == Purpose::Confirm {
                continue;
            }
            for (earlier, _step, outcome) in &program.runs[..index] {
                let follows = match outcome {
                    Outcome::Passed => earlier.is_subset(set),
                    _ => set.is_subset(earlier),
                };
                prop_assert!(!follows, "run {index} follows");
            }
        }
    }

    #[test]
    fn what_is_needed_survives_a_flaky_program(
        needs in needs(),
        candidates in candidates(),
        mishaps in proptest::collection::vec(any::<bool>(), 0..40),
        repeat in 1usize..3,
    ) {
        let mut program = Program::new(&[]);
        program.needs = needs;
        program.mishaps = mishaps;
        program.failure = Outcome::Failed;
        let problem = Problem { candidates, kept: Vec::new(), granted: Some(one(CapSet::known())), alternatives: one(CapSet::EMPTY), suspects: one(CapSet::EMPTY), repeat };
        let minimum = found(&problem, &mut program);
        if minimum.passed {
            prop_assert!(program.is_met(&minimum.set), "{:?}", minimum);
        }
    }

    #[test]
    fn the_last_run_is_announced_as_the_last((needs, candidates) in easy()) {
        let mut program = Program::new(&[]);
        program.needs = needs;
        let problem = Problem { candidates, kept: Vec::new(), granted: Some(one(CapSet::known())), alternatives: one(CapSet::EMPTY), suspects: one(CapSet::EMPTY), repeat: 1 };
        found(&problem, &mut program);
        if let Some((_set, step, _outcome)) = program.runs.last() {
            prop_assert_eq!(step.left, 0);
        }
    }
}

#[test]
fn what_no_run_could_tell_stays_without_a_run() {
    let mut problem = problem(&[A, B], &[]);
    problem.kept = vec![grant(B)];
    let mut program = Program::new(&[&[A]]);
    let minimum = found(&problem, &mut program);
    assert!(minimum.passed);
    assert_eq!(minimum.set, one(CapSet::of(&[A, B])));
    assert!(minimum.fates.contains(&(grant(B), Fate::Kept)));
}

/// Of a project, one service's doubt must not cost runs for the others.
#[test]
fn what_others_are_doubted_for_is_left_out_together_when_one_goes_wrong() {
    let of = |subject| {
        move |capability: &Capability| Grant {
            subject,
            capability: *capability,
        }
    };
    let doubtful: Vec<Grant> = [A, D]
        .iter()
        .map(of(0))
        .chain([B, C, D].iter().map(of(1)))
        .collect();
    let all = CapSet::known();
    let problem = Problem {
        candidates: doubtful
            .iter()
            .map(|grant| Candidate {
                grant: *grant,
                evidence: Evidence::Possible,
            })
            .collect(),
        granted: Some(Grants::new(vec![all, all])),
        ..problem(&[], &[])
    };
    let needs = Grants::new(vec![CapSet::of(&[A])]);
    let mut program = Program {
        needs: vec![needs.clone()],
        ..Program::new(&[])
    };
    let minimum = found(&problem, &mut program);
    assert_eq!(
        minimum.set.iter().collect::<Vec<_>>(),
        needs.iter().collect::<Vec<_>>()
    );
    // All, those of the other, each of the one's, and once more.
    let purposes: Vec<&Purpose> = program
        .runs
        .iter()
        .map(|(_, step, _)| &step.purpose)
        .collect();
    let left_out: Vec<Vec<usize>> = purposes
        .iter()
        .filter_map(|purpose| match purpose {
            Purpose::Without(grants) => Some(grants.iter().map(|grant| grant.subject).collect()),
            _ => None,
        })
        .collect();
    assert_eq!(left_out[0].len(), 5, "{purposes:?}");
    assert_eq!(left_out[1..], [vec![1, 1, 1], vec![0], vec![0]]);
    assert_eq!(purposes.len(), 5, "{purposes:?}");
}
