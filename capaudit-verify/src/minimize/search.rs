//! The search for an inclusion-minimal set: which run comes next, and what it says. Pure but for the runs.

mod estimate;

use std::cmp::Reverse;

use capaudit_core::advise::Evidence;

use super::{
    Candidate, Fate, MANY, Minimum, Outcome, PATIENCE, Problem, Purpose, Step, TOGETHER, Trial,
    Trials,
    known::{Known, Verdict},
};
use crate::{Grant, Grants};

/// When a failure is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// After one run.
    AtOnce,
    /// At once if the command's last words tell that it was refused something, else if it fails again.
    IfTold,
    /// If it fails again.
    IfRepeated,
}

pub(super) struct Search<'a, T> {
    problem: &'a Problem,
    trials: &'a mut T,
    /// What the search started from: the candidates, and what had to be added to them.
    start: Vec<Candidate>,
    /// What is left of it. Passes, unless the start is not enough.
    current: Grants,
    /// Candidates that are still to be left out.
    todo: Vec<Candidate>,
    /// What may stand in for a more powerful member.
    alternatives: Grants,
    fates: Vec<(Grant, Fate)>,
    missed: Grants,
    known: Known,
    /// Candidates without which the command failed.
    failures: usize,
    passed: bool,
    flaky: bool,
    last: Option<usize>,
    /// The subject that went wrong in the last run, where that tells.
    at_fault: Option<usize>,
}

impl<'a, T: Trials> Search<'a, T> {
    pub(super) fn new(problem: &'a Problem, trials: &'a mut T) -> Self {
        Self {
            problem,
            trials,
            start: Vec::new(),
            current: Grants::new(Vec::new()),
            todo: Vec::new(),
            alternatives: problem.alternatives.clone(),
            fates: Vec::new(),
            missed: Grants::new(Vec::new()),
            known: Known::default(),
            failures: 0,
            passed: false,
            flaky: false,
            last: None,
            at_fault: None,
        }
    }

    pub(super) fn result(self) -> Minimum {
        Minimum {
            set: self.current,
            fates: self.fates,
            missed: self.missed,
            passed: self.passed,
            flaky: self.flaky,
            last_trial: self.last,
        }
    }

    /// Finds out whether a set passes.
    pub(super) fn verify(&mut self, set: Grants) -> Result<(), T::Error> {
        self.current = set.clone();
        self.passed = self.passes(&set, Purpose::Whole)?;
        Ok(())
    }

    /// Finds what the candidates come down to.
    pub(super) fn run(&mut self) -> Result<(), T::Error> {
        let problem = self.problem;
        let (granted, refused): (Vec<Candidate>, Vec<Candidate>) =
            problem.candidates.iter().copied().partition(|candidate| {
                problem
                    .granted
                    .as_ref()
                    .is_none_or(|granted| granted.contains(candidate.grant))
            });
        // The command passed with what it was granted, and so without these.
        let refused = refused.iter().map(|it| (it.grant, Fate::Removed));
        let fates: Vec<(Grant, Fate)> = refused.collect();
        self.restart(granted);
        if !self.leave_out_doubtful_together()? {
            return Ok(());
        }
        loop {
            let known = self.known.of(&self.current) == Some(Verdict::Passes);
            if !known && (self.failures >= PATIENCE || self.todo.is_empty()) {
                if !self.make_enough()? {
                    return Ok(());
                }
            } else if self.todo.is_empty() {
                if !self.try_weaker_again()? {
                    break;
                }
            } else {
                let candidate = self.todo.remove(0);
                self.leave_out(candidate)?;
            }
        }
        self.passed = true;
        self.confirm()?;
        self.fates.extend(fates);
        self.fates.sort_by_key(|(grant, _fate)| *grant);
        Ok(())
    }

    fn restart(&mut self, start: Vec<Candidate>) {
        let grants: Vec<Grant> = start.iter().map(|candidate| candidate.grant).collect();
        self.current = Grants::new(Vec::new()).with(&grants);
        self.todo = start.clone();
        // Doubtful before sure; among these the powerful first, so that of two that can stand in for each other
        // the weaker stays.
        self.todo.sort_by_key(|candidate| {
            let power = candidate.grant.capability.power();
            (candidate.evidence, Reverse(power), candidate.grant)
        });
        self.start = start;
        self.fates.clear();
        let kept = &self.problem.kept;
        self.todo
            .retain(|candidate| !kept.contains(&candidate.grant));
        self.fates
            .extend(kept.iter().map(|grant| (*grant, Fate::Kept)));
        self.failures = 0;
    }

    /// Leaves out all doubtful candidates together, and if the command needs some, finds out which if they are
    /// many. Says whether to go on.
    fn leave_out_doubtful_together(&mut self) -> Result<bool, T::Error> {
        let doubtful = |candidate: &Candidate| candidate.evidence == Evidence::Possible;
        let mut pool: Vec<Grant> = self
            .todo
            .iter()
            .filter(|candidate| doubtful(candidate))
            .map(|candidate| candidate.grant)
            .collect();
        let mut needed = Vec::new();
        loop {
            if pool.len() < TOGETHER {
                return Ok(true);
            }
            let rest = self.current.without(&pool);
            self.at_fault = None;
            if self.passes(&rest, Purpose::Without(pool.clone()))? {
                break;
            }
            // The others may well do without theirs: they have not gone wrong.
            let others: Vec<Grant> = not_of(self.at_fault, &pool);
            if !others.is_empty() && others.len() < pool.len() {
                pool = others;
                continue;
            }
            if pool.len() <= MANY {
                return Ok(true);
            }
            if !self.make_enough()? {
                return Ok(false);
            }
            let weakest_first: Vec<Grant> = pool.iter().rev().copied().collect();
            let left = self.current.clone();
            needed = self.needed_of(&left.without(&pool), false, &weakest_first, &|tried| {
                Purpose::Without(left.difference(tried).iter().collect())
            })?;
            break;
        }
        for grant in pool {
            if !needed.contains(&grant) {
                self.current = self.current.without(&[grant]);
                self.todo.retain(|candidate| candidate.grant != grant);
                self.fates.push((grant, Fate::Removed));
            }
        }
        Ok(true)
    }

    fn leave_out(&mut self, candidate: Candidate) -> Result<(), T::Error> {
        let grant = candidate.grant;
        let rest = self.current.without(&[grant]);
        let (trust, is_doubtful) = match candidate.evidence {
            Evidence::Possible => (Trust::IfTold, true),
            Evidence::Decisive | Evidence::Proven => (Trust::AtOnce, false),
        };
        let without = || Purpose::Without(vec![grant]);
        let mut weaker = self.weaker_than(grant);
        // What is sure to be needed will fail, and then with all that is weaker in its place: that says the most.
        let mut replaced = None;
        if !weaker.is_empty() && !is_doubtful {
            replaced = Some(self.conclude(&rest.with(&weaker), trust, without())?);
        }
        let mut verdict = match replaced {
            Some(failed @ Verdict::Fails { .. }) => failed,
            _ => self.conclude(&rest, trust, without())?,
        };
        if let Verdict::Fails { .. } = verdict
            && !weaker.is_empty()
        {
            if is_doubtful {
                replaced = Some(self.conclude(&rest.with(&weaker), trust, without())?);
            }
            if replaced == Some(Verdict::Disturbed) {
                // An engine may not know the names of all alternatives, but it knows those of the candidates.
                self.alternatives = Grants::new(Vec::new());
                weaker = self.weaker_than(grant);
                let set = rest.with(&weaker);
                replaced = Some(self.conclude(&set, trust, without())?);
            }
            match replaced {
                Some(Verdict::Passes) => {
                    let needed = self.needed_of(&rest, false, &weaker, &|tried| {
                        Purpose::Added(tried.difference(&rest).iter().collect())
                    })?;
                    self.replace(grant, rest, &needed);
                    return Ok(());
                }
                Some(failed @ Verdict::Fails { .. }) => verdict = failed,
                _ => {}
            }
        }
        let fate = match verdict {
            Verdict::Passes => Fate::Removed,
            Verdict::Fails { trial, .. } => Fate::Proven { trial },
            Verdict::Disagrees | Verdict::Disturbed => Fate::Unsettled,
        };
        if fate == Fate::Removed {
            self.current = rest;
        } else {
            self.failures += 1;
        }
        self.fates.push((grant, fate));
        Ok(())
    }

    /// What is not in the set and could be, in place of something more powerful of the same subject: weakest first.
    fn weaker_than(&self, grant: Grant) -> Vec<Grant> {
        let power = grant.capability.power();
        let removed = self.start.iter().map(|candidate| candidate.grant);
        let mut weaker: Vec<Grant> = removed
            .chain(self.alternatives.iter())
            .filter(|other| other.subject == grant.subject && other.capability.power() < power)
            .filter(|other| !self.current.contains(*other))
            .collect();
        weaker.sort_by_key(|other| (other.capability.power(), *other));
        weaker.dedup();
        weaker
    }

    /// Puts weaker grants in the place of one; that they are needed is still to be shown.
    fn replace(&mut self, grant: Grant, rest: Grants, by: &[Grant]) {
        self.current = rest.with(by);
        self.fates.push((grant, Fate::Removed));
        self.fates.retain(|(known, _fate)| !by.contains(known));
        self.todo.extend(by.iter().map(|grant| Candidate {
            grant: *grant,
            evidence: Evidence::Decisive,
        }));
    }

    /// Makes sure that no member can be replaced by weaker ones, which may have been known, or left out, only after its turn:
    /// one that can has its turn again. Says whether there is one.
    fn try_weaker_again(&mut self) -> Result<bool, T::Error> {
        let mut members: Vec<Grant> = self
            .fates
            .iter()
            .filter(|(_grant, fate)| matches!(fate, Fate::Proven { .. }))
            .map(|(grant, _fate)| *grant)
            .collect();
        members.sort_by_key(|grant| Reverse((grant.capability.power(), *grant)));
        for grant in members {
            let weaker = self.weaker_than(grant);
            let set = self.current.without(&[grant]).with(&weaker);
            // Mostly known: its own turn has shown more, unless something took another's place since.
            let verdict = self.conclude(&set, Trust::AtOnce, Purpose::Without(vec![grant]))?;
            let fate = match verdict {
                Verdict::Fails { trial, .. } => Fate::Proven { trial },
                Verdict::Disagrees => Fate::Unsettled,
                Verdict::Disturbed => continue,
                Verdict::Passes => {
                    self.fates.retain(|(known, _fate)| *known != grant);
                    self.todo.push(Candidate {
                        grant,
                        evidence: Evidence::Decisive,
                    });
                    return Ok(true);
                }
            };
            for (known, of_known) in &mut self.fates {
                if *known == grant {
                    *of_known = fate;
                }
            }
        }
        Ok(false)
    }

    /// Makes sure that what is left of the candidates is enough, by adding what they lack: then all is to be
    /// done again. Says whether it is possible.
    fn make_enough(&mut self) -> Result<bool, T::Error> {
        let current = self.current.clone();
        match self.conclude(&current, Trust::IfRepeated, Purpose::Whole)? {
            Verdict::Passes => return Ok(true),
            // It can pass, and there is nothing better to start from.
            Verdict::Disagrees => {
                self.known.learn(&current, Verdict::Passes);
                return Ok(true);
            }
            Verdict::Disturbed => return Ok(false),
            Verdict::Fails { .. } => {}
        }
        let Some(granted) = self.problem.granted.clone() else {
            return Ok(false);
        };
        let lacking = granted.difference(&current);
        if lacking.is_empty() {
            return Ok(false);
        }
        let suspects: Vec<Grant> = lacking
            .intersection(&self.problem.suspects)
            .iter()
            .collect();
        let with_suspects = current.with(&suspects);
        let mut pool = suspects;
        if pool.is_empty() || !self.passes(&with_suspects, Purpose::Added(pool.clone()))? {
            match self.conclude(&granted, Trust::IfRepeated, Purpose::Granted)? {
                Verdict::Passes | Verdict::Disagrees => {}
                Verdict::Fails { .. } | Verdict::Disturbed => return Ok(false),
            }
            pool = lacking.iter().collect();
        }
        pool.sort_by_key(|grant| (grant.capability.power(), *grant));
        let added = self.needed_of(&current, false, &pool, &|tried| {
            Purpose::Added(tried.difference(&current).iter().collect())
        })?;
        self.missed = self.missed.with(&added);
        let mut start = self.start.clone();
        start.extend(added.into_iter().map(|grant| Candidate {
            grant,
            evidence: Evidence::Decisive,
        }));
        self.restart(start);
        Ok(true)
    }

    /// QuickXplain: an inclusion-minimal part of `pool` that is enough together with `background`, given that
    /// all of it is. What stands early in the pool is rather kept.
    fn needed_of(
        &mut self,
        background: &Grants,
        grown: bool,
        pool: &[Grant],
        purpose: &impl Fn(&Grants) -> Purpose,
    ) -> Result<Vec<Grant>, T::Error> {
        if pool.is_empty() || (grown && self.passes(background, purpose(background))?) {
            return Ok(Vec::new());
        }
        if pool.len() == 1 {
            return Ok(pool.to_vec());
        }
        let (first, second) = pool.split_at(pool.len() / 2);
        let mut needed = self.needed_of(&background.with(first), true, second, purpose)?;
        let with_second = background.with(&needed);
        needed.extend(self.needed_of(&with_second, !needed.is_empty(), first, purpose)?);
        Ok(needed)
    }

    /// Runs the final set again, if it is not the one that the search started from. If that fails, all that was
    /// removed comes back.
    fn confirm(&mut self) -> Result<(), T::Error> {
        let start: Vec<Grant> = self.start.iter().map(|candidate| candidate.grant).collect();
        let whole = Grants::new(Vec::new()).with(&start);
        if whole.is_subset(&self.current) {
            return Ok(());
        }
        let set = self.current.clone();
        if self.try_set(&set, Trust::AtOnce, Purpose::Confirm)? == Verdict::Passes {
            return Ok(());
        }
        self.flaky = true;
        // A run may have shown less than the whole: of a life, as much as could be different.
        self.passed = self.try_set(&whole, Trust::AtOnce, Purpose::Whole)? == Verdict::Passes;
        self.current = whole;
        for (_grant, fate) in &mut self.fates {
            if *fate == Fate::Removed {
                *fate = Fate::Unsettled;
            }
        }
        Ok(())
    }

    fn passes(&mut self, set: &Grants, purpose: Purpose) -> Result<bool, T::Error> {
        Ok(self.conclude(set, Trust::AtOnce, purpose)? == Verdict::Passes)
    }

    /// What is known of a set, by a run if need be.
    fn conclude(
        &mut self,
        set: &Grants,
        trust: Trust,
        purpose: Purpose,
    ) -> Result<Verdict, T::Error> {
        let verdict = match self.known.of(set) {
            None => self.try_set(set, trust, purpose)?,
            // It failed in passing, which was enough then.
            Some(Verdict::Fails { firm: false, .. }) if trust != Trust::AtOnce => {
                let again = self.try_set(set, Trust::AtOnce, purpose)?;
                match again {
                    Verdict::Passes => self.disagreement(),
                    Verdict::Fails { trial, .. } => Verdict::Fails { trial, firm: true },
                    Verdict::Disagrees | Verdict::Disturbed => again,
                }
            }
            Some(verdict) => return Ok(verdict),
        };
        self.known.learn(set, verdict);
        Ok(verdict)
    }

    fn disagreement(&mut self) -> Verdict {
        self.flaky = true;
        Verdict::Disagrees
    }

    fn try_set(
        &mut self,
        set: &Grants,
        trust: Trust,
        purpose: Purpose,
    ) -> Result<Verdict, T::Error> {
        let mut trial = self.trial(set, &purpose, false)?;
        if trial.outcome == Outcome::Disturbed {
            trial = self.trial(set, &purpose, true)?;
        }
        let believed = match trial.outcome {
            Outcome::Disturbed => return Ok(Verdict::Disturbed),
            Outcome::Passed => {
                for _ in 1..self.problem.repeat {
                    if self.trial(set, &purpose, true)?.outcome != Outcome::Passed {
                        return Ok(self.disagreement());
                    }
                }
                return Ok(Verdict::Passes);
            }
            Outcome::Refused => trust != Trust::IfRepeated,
            Outcome::Failed => trust == Trust::AtOnce,
        };
        if !believed && self.trial(set, &purpose, true)?.outcome == Outcome::Passed {
            return Ok(self.disagreement());
        }
        Ok(Verdict::Fails {
            trial: trial.number,
            firm: !believed || trial.outcome == Outcome::Refused,
        })
    }

    fn trial(&mut self, set: &Grants, purpose: &Purpose, again: bool) -> Result<Trial, T::Error> {
        let step = Step {
            purpose: purpose.clone(),
            again,
            left: self.left(purpose),
        };
        let trial = self.trials.run(set, &step)?;
        self.last = Some(trial.number);
        self.at_fault = trial.at_fault;
        Ok(trial)
    }
}

/// What is of other subjects than that.
fn not_of(subject: Option<usize>, grants: &[Grant]) -> Vec<Grant> {
    let is_other = |grant: &&Grant| Some(grant.subject) != subject;
    grants.iter().filter(is_other).copied().collect()
}
