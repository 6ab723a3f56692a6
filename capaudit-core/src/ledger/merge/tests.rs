//! Merging adds up, and keeps what is different apart.

use super::*;
use crate::{
    capability::{CapSet, Capability},
    ledger::{Hook, Losses, Object, Phase, SCHEMA, Target, UserIds},
};
use proptest::prelude::*;

fn check(capability: Capability, count: u64, argument: u64) -> CheckRecord {
    let mut record = CheckRecord::new(CheckIdentity::usual(capability, None));
    record.count = count;
    record.first_ms = count;
    record.last_ms = count;
    record.add_sample(Sample {
        arguments: [argument, 0, 0, 0, 0, 0],
        object: None,
        second: None,
        owner: None,
        ids: UserIds::default(),
        result: None,
    });
    record
}

fn subject(name: &str, service: Option<&str>, checks: Vec<CheckRecord>) -> SubjectRecord {
    SubjectRecord {
        name: name.to_owned(),
        checks,
        ..SubjectRecord::new(Container {
            compose_project: service.map(|_| "shop".to_owned()),
            compose_service: service.map(str::to_owned),
            ..Container::default()
        })
    }
}

fn ledger(exit_status: i32, events: u64, subjects: Vec<SubjectRecord>) -> Ledger {
    Ledger {
        schema: SCHEMA.to_owned(),
        session: Session {
            duration_ms: 1,
            exit_status: Some(exit_status),
            losses: Losses {
                events,
                ..Losses::default()
            },
            notes: vec!["same".to_owned()],
            ..Session::new(Hook::TpBtf)
        },
        subjects,
    }
}

#[test]
fn replicas_of_a_service_become_one_and_others_stay_apart() {
    let chown = || check(Capability::CHOWN, 2, 1);
    let united = unite(vec![
        subject("shop-web-1", Some("web"), vec![chown()]),
        subject("shop-db-1", Some("db"), vec![chown()]),
        subject(
            "shop-web-2",
            Some("web"),
            vec![chown(), check(Capability::KILL, 1, 1)],
        ),
    ]);
    assert_eq!(united.len(), 2);
    let counts: Vec<u64> = united[0].checks.iter().map(|check| check.count).collect();
    assert_eq!(counts, [4, 1]);
    assert_eq!(united[1].checks[0].count, 2);
}

fn call(permitted: Option<CapSet>, seccomp: Option<bool>) -> CallRecord {
    CallRecord {
        target: permitted.map(|permitted| Target {
            permitted,
            same_user_namespace: true,
            same_subject: false,
        }),
        seccomp,
        ..CallRecord::sample("setpriority")
    }
}

#[test]
fn calls_upon_different_processes_stay_apart() {
    let kill = Some(CapSet::from(Capability::KILL));
    let mut record = subject("c", None, vec![]);
    for target in [kill, None, kill, Some(CapSet::EMPTY)] {
        record.add_call(call(target, None));
    }
    let counts: Vec<u64> = record.calls.iter().map(|call| call.count).collect();
    assert_eq!(counts, [2, 1, 1]);
}

#[test]
fn a_filter_that_may_have_been_in_force_is_never_ruled_out() {
    for (states, expected) in [
        ([Some(false), Some(false)], Some(false)),
        ([Some(false), Some(true)], Some(true)),
        ([None, Some(true)], Some(true)),
        ([Some(false), None], None),
    ] {
        let mut record = subject("c", None, vec![]);
        for seccomp in states {
            record.add_call(call(None, seccomp));
        }
        assert_eq!(record.calls[0].seccomp, expected, "{states:?}");
    }
}

#[test]
fn facts_that_older_sessions_lack_leave_no_trace_where_they_are_absent() -> serde_json::Result<()> {
    let mut plain = call(None, None);
    let text = serde_json::to_string(&plain)?;
    for key in ["target", "object", "seccomp", "unasked"] {
        assert!(!text.contains(key), "{text}");
    }
    assert_eq!(serde_json::from_str::<CallRecord>(&text)?, plain);
    plain.target = call(Some(CapSet::known()), None).target;
    plain.object = Some(Object::Path("/proc/self/status".to_owned()));
    plain.seccomp = Some(false);
    let text = serde_json::to_string(&plain)?;
    assert_eq!(serde_json::from_str::<CallRecord>(&text)?, plain);
    Ok(())
}

#[test]
fn a_failure_and_a_loss_survive_merging() {
    let merged = merge([
        ledger(0, 0, vec![]),
        ledger(3, 2, vec![]),
        ledger(0, 1, vec![]),
    ]);
    let Some(merged) = merged else {
        panic!("there are ledgers");
    };
    assert_eq!(merged.session.exit_status, Some(3));
    assert_eq!(merged.session.losses.events, 3);
    assert!(!merged.session.is_complete());
    assert_eq!(merged.session.notes, ["same"]);
    assert!(merge([]).is_none());
}

#[test]
fn samples_speak_for_what_is_merged_only_as_far_as_all_are_kept() {
    let sampled = |argument: u64, sampled| {
        let mut check = check(Capability::FOWNER, 1, argument);
        check.sampled = sampled;
        check
    };
    let merged = |arguments: std::ops::Range<u64>| {
        let mut checks = arguments.map(|argument| sampled(argument, 1));
        let mut all = checks.next().unwrap_or_else(|| sampled(0, 1));
        checks.for_each(|check| all.add(check));
        all
    };
    let all = merged(0..8);
    assert!(all.samples().cover_all());
    assert!(all.samples().every(|sample| sample.arguments[0] < 8));
    let too_many = merged(0..9);
    assert!(!too_many.samples().cover_all());
    assert!(!too_many.samples().every(|_| true), "one is not known");
    assert!(too_many.samples().may_show(|_| false));
    // Addresses tell no check from another.
    let alike = merged((1 << 40)..(1 << 40) + 20);
    assert!(alike.samples().cover_all());
    // One that was counted, and not seen.
    let mut unseen = merged(0..2);
    unseen.add(CheckRecord {
        count: 1,
        ..CheckRecord::new(unseen.identity.clone())
    });
    assert!(!unseen.samples().cover_all());
}

#[test]
fn of_a_session_that_does_not_say_so_the_first_four_were_sampled() {
    let old = |count| check(Capability::FOWNER, count, 7);
    assert!(old(4).samples().cover_all());
    assert!(!old(5).samples().cover_all());
}

#[test]
fn another_sample_takes_the_place_of_one_that_tells_the_same() {
    let mut all = check(Capability::FOWNER, 1, 1 << 40);
    for address in 1..8 {
        all.add(check(Capability::FOWNER, 1, (1 << 40) + address));
    }
    all.add(check(Capability::FOWNER, 1, 7));
    assert_eq!(all.samples().seen().len(), CheckRecord::MAX_SAMPLES);
    assert!(all.samples().shows(|sample| sample.arguments[0] == 7));
}

proptest! {
    #[test]
    fn counts_add_up_whatever_the_order(counts in proptest::collection::vec((0u8..4, 1u64..100, 0u64..20), 0..20)) {
        let ledgers = |counts: &[(u8, u64, u64)]| -> Vec<Ledger> {
            counts
                .iter()
                .map(|(capability, count, argument)| {
                    let capability = Capability::from_number(*capability).unwrap_or(Capability::CHOWN);
                    ledger(0, 0, vec![subject("c", None, vec![check(capability, *count, *argument)])])
                })
                .collect()
        };
        let total = |merged: Option<Ledger>| -> u64 {
            merged
                .iter()
                .flat_map(|merged| &merged.subjects)
                .flat_map(|subject| &subject.checks)
                .map(|check| check.count)
                .sum()
        };
        let mut reversed = counts.clone();
        reversed.reverse();
        let expected: u64 = counts.iter().map(|(_, count, _)| count).sum();
        let merged = merge(ledgers(&counts));
        for check in merged.iter().flat_map(|merged| &merged.subjects).flat_map(|subject| &subject.checks) {
            prop_assert!(check.samples.len() <= CheckRecord::MAX_SAMPLES);
            prop_assert!(check.first_ms <= check.last_ms);
        }
        prop_assert_eq!(total(merged), expected);
        prop_assert_eq!(total(merge(ledgers(&reversed))), expected);
    }

    #[test]
    fn a_ledger_is_read_as_it_was_written(count in any::<u64>(), argument in any::<u64>()) {
        let written = ledger(0, 0, vec![subject("c", Some("s"), vec![check(Capability::BPF, count, argument)])]);
        let text = serde_json::to_string(&written).unwrap_or_default();
        prop_assert_eq!(serde_json::from_str::<Ledger>(&text).ok(), Some(written));
    }
}

#[test]
fn a_loss_stays_with_its_subject_whatever_becomes_of_that() {
    let lost = |events| Losses {
        events,
        ..Losses::default()
    };
    let container = |name: &str, lost: Losses| {
        let mut subject = SubjectRecord::new(Container {
            id: Some(name.to_owned()),
            image: Some("nginx:1".to_owned()),
            ..Container::default()
        });
        name.clone_into(&mut subject.name);
        subject.lost = lost;
        subject
    };
    let (a, b) = (container("a", lost(2)), container("b", Losses::default()));
    // One of the same name adds its own.
    let united = unite(vec![a.clone(), b.clone(), container("a", lost(3))]);
    let of: Vec<u64> = united.iter().map(|it| it.lost.events).collect();
    assert_eq!(of, [5, 0]);
    assert!(!united[0].is_complete() && united[1].is_complete());
    let of_past = |subjects| Ledger {
        schema: SCHEMA.to_owned(),
        session: Session::new(Hook::TpBtf),
        subjects,
    };
    assert!(of_past(united.clone()).has_lost());
    assert!(!of_past(vec![united[1].clone()]).has_lost());
    // One of many has lost what any of them has.
    let united = unite_by_image(vec![a.clone(), b]);
    let of: Vec<u64> = united.iter().map(|it| it.lost.events).collect();
    assert_eq!(of, [2]);
    // What is limited to a phase may have lost it there.
    assert_eq!(a.limited_to(Phase::Start).lost, lost(2));
    let saved = serde_json::to_string(&a).unwrap_or_default();
    assert_eq!(serde_json::from_str::<SubjectRecord>(&saved).ok(), Some(a));
}
