//! Needs of capset(2), which no check shows.
//!
//! `cap_capset` (security/commoncap.c, Linux 6.12) compares sets: the permitted one asked for has to be within the one
//! held, and what is new in the inheritable one within what is permitted, or inheritable, already. With everything
//! granted neither ever fails.
//!
//! A program sets one of two things. A *list* of its own making fails if a member is not there to keep, so each member is
//! a need. A *remainder* is what it held but for what it gives up, and works whatever it holds. Who has not looked at its
//! sets cannot make a remainder.
//!
//! What is effective has to be permitted (`cap_capset`), so a program that keeps what is permitted and makes a list of its own
//! effective fails as well.

use super::own_set;
use crate::{
    advise::{Judgement, Meaning, Rule},
    capability::CapSet,
    ledger::{CheckRecord, Object, Place, Session, SubjectRecord},
};

/// The sets of one call.
#[derive(Clone, Copy, Debug)]
struct Sets {
    held: CapSet,
    held_inheritable: CapSet,
    permitted: CapSet,
    effective: CapSet,
    inheritable: CapSet,
}

/// What the permitted set asked for is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retained {
    /// A list of the program's own making, and these are its members.
    List(CapSet),
    /// What is left of what it held, as far as can be told, and these are the members if it is a list all the same.
    Remainder(CapSet),
    /// Kept permitted, and nothing of it effective, after a look: what a program takes out of what it has, if it looks first
    /// (as that of iputils does), or a list.
    Reserve(CapSet),
    /// Nothing that could fail.
    Nothing,
}

impl Sets {
    /// Members of the inheritable set that were not in it before.
    fn newly_inheritable(&self) -> CapSet {
        self.inheritable - self.held_inheritable
    }

    fn retained(&self, looked: bool) -> Retained {
        if self.permitted.is_empty() {
            return Retained::Nothing;
        }
        if !looked {
            return Retained::List(self.permitted);
        }
        if self.permitted == self.held {
            // As well what a program does that only changes another set.
            return Retained::Nothing;
        }
        if is_majority(self.permitted, self.held) {
            return Retained::Remainder(self.permitted);
        }
        // Should it ever use what it only keeps in reserve, there is a check that tells.
        if self.effective.is_empty() {
            return Retained::Reserve(self.permitted);
        }
        Retained::List(self.permitted)
    }

    /// Members of the effective set, where what is permitted is no list that has them. `reserved`: what is held is what the
    /// program has put in reserve before.
    fn raised(&self, looked: bool, reserved: bool) -> Retained {
        let listed = matches!(self.retained(looked), Retained::List(_));
        match () {
            () if listed || self.effective.is_empty() || self.effective == self.permitted => {
                Retained::Nothing
            }
            () if reserved => Retained::Nothing,
            () if is_majority(self.effective, self.held) => Retained::Remainder(self.effective),
            () => Retained::List(self.effective),
        }
    }

    /// Members of the inheritable set that have to be permitted, or at least in the bounding set.
    fn inherited(&self, looked: bool) -> Retained {
        let new = self.newly_inheritable();
        match () {
            () if new.is_empty() => Retained::Nothing,
            () if looked && is_majority(new, self.held) => Retained::Remainder(new),
            () => Retained::List(new),
        }
    }

    /// Members of the inheritable set that were in it before, and with fewer might not be: whoever holds them as ambient
    /// ones has them there, too.
    fn inherited_still(&self, looked: bool) -> Retained {
        let still = self.inheritable & self.held_inheritable;
        match () {
            () if still.is_empty() => Retained::Nothing,
            () if !looked => Retained::List(still),
            // As well what a program does that only changes another set.
            () if self.held_inheritable.is_subset(self.inheritable) => Retained::Nothing,
            () if is_majority(still, self.held_inheritable) => Retained::Remainder(still),
            () => Retained::List(still),
        }
    }
}

/// Whether most of `held` is in `part`: then it looks like what is left of it rather than like a list.
fn is_majority(part: CapSet, held: CapSet) -> bool {
    let kept = part & held;
    kept.len() > (held - kept).len()
}

/// The needs that the capset(2) calls of a check show.
pub(crate) fn needs(
    check: &CheckRecord,
    subject: &SubjectRecord,
    session: &Session,
) -> Vec<Judgement> {
    let looked = may_have_looked(check, subject, session);
    let (mut kept, mut inherited) = (CapSet::EMPTY, CapSet::EMPTY);
    for sets in sampled(check) {
        if let Retained::List(list) = sets.retained(looked) {
            kept |= list;
        }
        if let Retained::List(list) = sets.raised(looked, is_reserve(sets.held, check, subject)) {
            kept |= list;
        }
        if let Retained::List(list) = sets.inherited_still(looked) {
            kept |= list;
        }
        if let Retained::List(list) = sets.inherited(looked) {
            inherited |= list;
        }
    }
    let kept = (kept - inherited).iter().map(|capability| {
        Meaning::possible(
            capability,
            "kept or made effective with capset(2) in a list of the program's own making, which fails if it is not there to keep",
        )
        .by(Rule::KeptByCapset)
    });
    let inherited = inherited.iter().map(|capability| {
        Meaning::decisive(
            capability,
            "made inheritable with capset(2), which fails if it is neither permitted nor in the bounding set",
        )
        .by(Rule::MadeInheritable)
    });
    inherited.chain(kept).collect()
}

/// What one run cannot tell of the capset(2) calls of a subject, each a sentence: sets that look like a remainder, and
/// would be needs if they are lists.
pub(crate) fn notes(subject: &SubjectRecord, session: &Session) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for check in subject.checks.iter().filter(|check| is_capset(check)) {
        let requester = &check.identity.requester;
        let program = own_set::program(requester);
        let looked = may_have_looked(check, subject, session);
        for sets in sampled(check) {
            let names = |set: CapSet| set.names().collect::<Vec<_>>().join(" ");
            let mut note = |kept: Retained, held: CapSet, what: &str| {
                let note = match kept {
                    Retained::Remainder(set) if held.is_subset(set) => format!(
                        "{program} {what} with capset(2) all that it held: if that is a list of its own, it fails where one of them is missing; `capaudit verify` tells"
                    ),
                    Retained::Remainder(set) => format!(
                        "{program} {what} with capset(2) what it held without {}: if that is a list of its own, and not what is left, it fails where one of the others is missing; `capaudit verify` tells",
                        names(held - set)
                    ),
                    Retained::Reserve(set) => format!(
                        "{program} {what} in reserve with capset(2), after it had looked at its sets: {}; if that is a list of its own, and not what it found there, the call fails where one is missing; `capaudit verify` tells",
                        names(set)
                    ),
                    Retained::List(_) | Retained::Nothing => return,
                };
                if !notes.contains(&note) {
                    notes.push(note);
                }
            };
            note(sets.retained(looked), sets.held, "kept");
            let raised = sets.raised(looked, is_reserve(sets.held, check, subject));
            note(raised, sets.held, "made effective");
            note(sets.inherited(looked), sets.held, "made inheritable");
            let still = sets.inherited_still(looked);
            note(still, sets.held_inheritable, "kept inheritable");
        }
    }
    notes
}

/// Whether the program has looked at its sets before; where only checks were seen, it may have.
fn may_have_looked(check: &CheckRecord, subject: &SubjectRecord, session: &Session) -> bool {
    session.checks_only || own_set::looked(subject, &check.identity.requester.exe)
}

/// Whether a program has put just this set in reserve itself: what it makes effective of that later fails only where that did.
fn is_reserve(held: CapSet, check: &CheckRecord, subject: &SubjectRecord) -> bool {
    let exe = &check.identity.requester.exe;
    let own = |other: &&CheckRecord| is_capset(other) && other.identity.requester.exe == *exe;
    let reserves =
        |sets: Sets| sets.permitted == held && sets.held != held && sets.effective.is_empty();
    subject
        .checks
        .iter()
        .filter(own)
        .any(|check| sampled(check).any(reserves))
}

/// Whether a check is of a capset(2) that counts.
pub(crate) fn is_capset(check: &CheckRecord) -> bool {
    let identity = &check.identity;
    identity.by_syscall(&["capset"])
        && identity.place == Place::Own
        && !identity.inner_credentials
        && !identity.requester.setup
}

/// The sets of the sampled capset(2) calls of a check.
fn sampled(check: &CheckRecord) -> impl Iterator<Item = Sets> {
    check
        .samples()
        .seen()
        .iter()
        .filter_map(|sample| match sample.object {
            Some(Object::Capset {
                held,
                held_inheritable,
                permitted,
                effective,
                inheritable,
            }) => Some(Sets {
                held,
                held_inheritable,
                permitted,
                effective,
                inheritable,
            }),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        advise::Evidence,
        capability::{Capability, DOCKER_DEFAULT},
        ledger::{CallRecord, CheckIdentity, Container, Hook, Requester, Sample, UserIds},
    };

    const LIST: CapSet = CapSet::of(&[Capability::NET_BIND_SERVICE, Capability::SYS_TIME]);

    fn sets(held: CapSet, permitted: CapSet) -> Sets {
        Sets {
            held,
            held_inheritable: CapSet::EMPTY,
            permitted,
            effective: permitted,
            inheritable: CapSet::EMPTY,
        }
    }

    /// A program that sets these, after a look at what it has or without one.
    fn subject(sets: Sets, looks: bool) -> SubjectRecord {
        let requester = Requester {
            exe: "/bin/x".to_owned(),
            comm: "x".to_owned(),
            setup: false,
        };
        let mut check = CheckRecord::new(CheckIdentity {
            requester: requester.clone(),
            ..CheckIdentity::usual(Capability::SETPCAP, Some("capset"))
        });
        check.add_sample(Sample {
            arguments: [0; 6],
            object: Some(Object::Capset {
                held: sets.held,
                held_inheritable: sets.held_inheritable,
                effective: sets.effective,
                permitted: sets.permitted,
                inheritable: sets.inheritable,
            }),
            second: None,
            owner: None,
            ids: UserIds::default(),
            result: Some(0),
        });
        let capget = CallRecord {
            requester,
            // Without a second argument it only tells the version.
            arguments: [1, u64::from(looks), 0, 0, 0, 0],
            ..CallRecord::sample("capget")
        };
        SubjectRecord {
            checks: vec![check],
            calls: vec![capget],
            ..SubjectRecord::new(Container::default())
        }
    }

    /// What is needed, what of it surely, and how many notes there are.
    fn found(sets: Sets, looks: bool) -> (CapSet, CapSet, usize) {
        found_in(&Session::new(Hook::TpBtf), sets, looks)
    }

    fn found_in(session: &Session, sets: Sets, looks: bool) -> (CapSet, CapSet, usize) {
        let subject = subject(sets, looks);
        let (mut all, mut sure) = (CapSet::EMPTY, CapSet::EMPTY);
        for judgement in needs(&subject.checks[0], &subject, session) {
            if let Some(any) = judgement.satisfied_by() {
                all |= any.set();
                if judgement.evidence() == Evidence::Decisive {
                    sure |= any.set();
                }
            }
        }
        (all, sure, notes(&subject, session).len())
    }

    const NONE: CapSet = CapSet::EMPTY;

    #[test]
    fn who_has_not_looked_can_only_set_a_list() {
        // Eight of Docker's fourteen.
        let eight = CapSet::from_bits(0x1fb);
        assert_eq!(found(sets(DOCKER_DEFAULT, eight), false), (eight, NONE, 0));
        assert_eq!(found(sets(eight, eight), false), (eight, NONE, 0));
        assert_eq!(found(sets(CapSet::known(), LIST), false), (LIST, NONE, 0));
        assert_eq!(found(sets(LIST, NONE), false), (NONE, NONE, 0));
    }

    #[test]
    fn who_has_looked_keeps_a_list_or_gives_something_up() {
        let all = CapSet::known();
        assert_eq!(found(sets(all, LIST), true), (LIST, NONE, 0));
        assert_eq!(found(sets(all, all - LIST), true), (NONE, NONE, 1), "noted");
        assert_eq!(found(sets(LIST, LIST), true), (NONE, NONE, 0));
    }

    #[test]
    fn where_only_checks_were_seen_it_may_have_looked() {
        let session = Session {
            checks_only: true,
            ..Session::new(Hook::TpBtf)
        };
        let all = CapSet::known();
        assert_eq!(found_in(&session, sets(all, all), false), (NONE, NONE, 0));
    }

    #[test]
    fn what_is_only_kept_in_reserve_after_a_look_is_no_need() {
        let reserve = Sets {
            effective: NONE,
            ..sets(CapSet::known(), LIST)
        };
        assert_eq!(found(reserve, true), (NONE, NONE, 1), "noted");
        assert_eq!(found(reserve, false), (LIST, NONE, 0));
    }

    #[test]
    fn all_of_a_list_has_to_be_permitted_whatever_of_it_is_effective() {
        let one = CapSet::of(&[Capability::SYS_TIME]);
        let partly = Sets {
            effective: one,
            ..sets(CapSet::known(), LIST)
        };
        assert_eq!(found(partly, true), (LIST, NONE, 0));
    }

    #[test]
    fn what_is_made_effective_has_to_be_permitted() {
        let all = CapSet::known();
        let raising = |held, effective| Sets {
            effective,
            ..sets(held, held)
        };
        assert_eq!(found(raising(all, LIST), true), (LIST, NONE, 0));
        assert_eq!(found(raising(all, NONE), true), (NONE, NONE, 0));
        assert_eq!(
            found(raising(all, all - LIST), true),
            (NONE, NONE, 1),
            "noted"
        );
        let dropping = Sets {
            effective: LIST,
            ..sets(all, all - CapSet::of(&[Capability::SYS_ADMIN]))
        };
        assert_eq!(found(dropping, true), (LIST, NONE, 1));
        // Out of what it has put in reserve before.
        let one = CapSet::of(&[Capability::SYS_TIME]);
        let mut subject = subject(raising(LIST, one), true);
        let reserve = Sets {
            effective: NONE,
            ..sets(all, LIST)
        };
        subject.checks.extend(self::subject(reserve, true).checks);
        let session = Session::new(Hook::TpBtf);
        assert_eq!(needs(&subject.checks[0], &subject, &session), []);
    }

    #[test]
    fn what_is_made_inheritable_has_to_be_there() {
        let all = CapSet::known();
        let inheriting = |inheritable| Sets {
            inheritable,
            ..sets(all, all)
        };
        assert_eq!(found(inheriting(LIST), true), (LIST, LIST, 0));
        assert_eq!(found(inheriting(all), true), (NONE, NONE, 1), "a copy");
        let again = Sets {
            held_inheritable: LIST,
            ..inheriting(LIST)
        };
        assert_eq!(found(again, true), (NONE, NONE, 0));
    }

    #[test]
    fn what_is_inheritable_already_may_not_be_with_less() {
        let all = CapSet::known();
        // With everything as ambient capabilities.
        let keeping = |inheritable| Sets {
            held_inheritable: all,
            inheritable,
            ..sets(all, all)
        };
        assert_eq!(found(keeping(LIST), true), (LIST, NONE, 0));
        assert_eq!(found(keeping(all - LIST), true), (NONE, NONE, 1), "noted");
        assert_eq!(found(keeping(all), true), (NONE, NONE, 0));
        assert_eq!(found(keeping(NONE), true), (NONE, NONE, 0));
    }
}
