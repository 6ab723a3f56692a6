//! What is kept, for how long, and what is handed out when.

use std::{collections::HashSet, time::Instant};

use capaudit_core::{
    capability::Capability,
    ledger::{CheckRecord, ExecRecord, FileOwner, Losses, Phases},
};
use syscalls::Sysno;

use super::replay::{
    Asked, BEGAN, DB, HOST, Kernel, Replay, SETUP, WEB, adopt, asks, exec, exit, fork, lines,
    pid_of,
};
use crate::{
    probe::Event,
    proc::Existing,
    session::{
        account::Counted,
        describe,
        facts::Facts,
        join::{Joined, MAX_AWAITED},
        lost::Lost,
        missed::{LOOK_EVERY, Missed},
    },
    subject::{Identity, Tracker},
};

fn retire(replay: &mut Replay) -> Facts {
    match replay.collector.retire(&mut replay.kernel) {
        Ok(facts) => facts,
        Err(error) => panic!("{error}"),
    }
}

fn snapshot(replay: &Replay) -> Facts {
    let counted = Counted::of(&replay.kernel, |_image| true);
    let facts = counted.and_then(|counted| replay.collector.snapshot(&counted, &replay.kernel));
    match facts {
        Ok(facts) => facts,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn what_was_recorded_before_the_beginning_is_none_of_the_audit() {
    let mut replay = Replay::new();
    replay.container(11, WEB);
    let before = asks(11, Capability::CHOWN, Sysno::fchownat);
    replay.check(&before, 3);
    replay
        .collector
        .begin(Existing::with(&[], &[HOST.pid_namespace]), BEGAN);
    replay.command();
    replay.check(&asks(2, Capability::KILL, Sysno::kill), 1);
    // Were a number given again, nothing of before would stick to it.
    replay.records([fork(11, 2, HOST, 0)]);
    let (records, unattributed) = replay.finish();
    assert_eq!(
        lines(&records),
        [
            "cmd: CHOWN 3x /bin/sh fchownat",
            "cmd: KILL 1x /bin/sh kill",
        ]
    );
    let callers = |capability| {
        let mut checks = records[0].checks.iter();
        let found = checks.find(|check| check.identity.capability == capability);
        found.map(|check| check.identity.callers.len())
    };
    assert_eq!(callers(Capability::CHOWN), Some(0));
    assert_eq!(callers(Capability::KILL), Some(2));
    assert_eq!(unattributed, []);
}

#[test]
fn a_sweep_takes_over_what_has_ended_and_nothing_else() {
    let mut replay = Replay::new();
    // Room for two executions, roughly.
    replay.kernel.max_checks = 128;
    replay.command();
    let ended = asks(1, Capability::SETPCAP, Sysno::prctl);
    let alive = asks(2, Capability::CHOWN, Sysno::fchownat);
    replay.check(&ended, 2);
    replay.check(&alive, 3);
    replay.call(1, Sysno::prctl, Some(1), 1);
    replay.call(2, Sysno::prctl, Some(1), 1);
    replay.sweep();
    assert_eq!(replay.kernel.checks.len(), 2, "one has ended: too few");
    replay.records([fork(3, 2, HOST, 0), exit(3)]);
    replay.sweep();
    let left: Vec<u64> = replay
        .kernel
        .checks
        .keys()
        .map(|key| key.execution)
        .collect();
    assert_eq!(left, [2]);
    assert_eq!(replay.kernel.sites.len(), 1);
    let left: Vec<u64> = replay
        .kernel
        .calls
        .keys()
        .map(|key| key.execution)
        .collect();
    assert_eq!(left, [2]);
    assert!(
        replay.collector.tracker().execution(1).is_none(),
        "forgotten"
    );
    replay.counts(&alive, 4, 0);
    assert_eq!(
        replay.ending(),
        [
            "cmd: CHOWN 7x /bin/sh fchownat",
            "cmd: SETPCAP 2x  (set-up) prctl",
        ]
    );
}

#[test]
fn the_kernel_side_stops_following_what_is_none_of_the_audit() {
    let mut replay = Replay::new();
    replay.records([exec(40, 0, HOST, "/usr/sbin/cups")]);
    replay.sweep();
    assert_eq!(replay.kernel.let_go, [(pid_of(40), HOST.mount_namespace())]);
    assert_eq!(replay.collector.tracker().ended(), 0);
    // What it had forked by then is known as none of ours, too.
    replay.records([fork(41, 40, HOST, 0)]);
    replay.collector.rest();
    assert_eq!(replay.collector.tracker().ended(), 1);
    replay.collector.rest();
    assert_eq!(replay.collector.tracker().ended(), 1, "once is enough");
    replay.check(&asks(41, Capability::KILL, Sysno::kill), 1);
    assert_eq!(replay.finish(), (vec![], vec![]));
}

#[test]
fn facts_of_what_has_ended_are_handed_out_once() {
    let mut replay = Replay::new();
    replay.container(11, WEB);
    replay.check(&asks(11, Capability::CHOWN, Sysno::fchownat), 3);
    assert_eq!(retire(&mut replay).subjects(), [], "it runs");
    replay.records([exit(11)]);
    let ended = retire(&mut replay);
    assert_eq!(
        lines(&replay.collector.records(
            &ended,
            &ended.subjects(),
            &[],
            &replay.described,
            &HashSet::new()
        )),
        ["39bf4a995c6c: CHOWN 3x /init fchownat"]
    );
    assert_eq!(retire(&mut replay).subjects(), []);
    assert_eq!(replay.collector.subjects(), []);
    // Started again, it begins anew.
    replay.container(21, WEB);
    replay.check(&asks(21, Capability::KILL, Sysno::kill), 1);
    assert_eq!(
        lines(&replay.named(&snapshot(&replay))),
        ["39bf4a995c6c: KILL 1x /init kill"]
    );
    replay.records([exit(21)]);
    assert_eq!(retire(&mut replay).subjects().len(), 1);
    assert_eq!(retire(&mut replay).subjects(), []);
    assert_eq!(replay.finish(), (vec![], vec![]));
}

#[test]
fn a_subject_without_any_check_is_handed_out_too() {
    let mut replay = Replay::new();
    replay.container(11, WEB);
    replay.records([exit(11)]);
    assert_eq!(retire(&mut replay).subjects().len(), 1, "it needs nothing");
    assert_eq!(retire(&mut replay).subjects(), []);
}

#[test]
fn a_snapshot_ends_nothing() {
    let mut replay = Replay::new();
    replay.kernel.max_checks = 1;
    replay.command();
    let alive = asks(2, Capability::CHOWN, Sysno::fchownat);
    replay.check(&asks(1, Capability::SETPCAP, Sysno::prctl), 2);
    replay.sweep();
    replay.check(&alive, 3);
    replay.kernel.overflow = vec![(Capability::KILL, 1, 1)];
    let expected = [
        "cmd: CHOWN 3x /bin/sh fchownat",
        "cmd: SETPCAP 2x  (set-up) prctl",
    ];
    for _ in 0..2 {
        let facts = snapshot(&replay);
        assert_eq!(lines(&replay.named(&facts)), expected);
        assert_eq!(facts.unattributed(), [(Capability::KILL, 2)]);
    }
    assert_eq!(replay.kernel.checks.len(), 1);
    let (records, unattributed) = replay.finish();
    assert_eq!(lines(&records), expected);
    assert_eq!(unattributed, [(Capability::KILL, 2)]);
}

#[test]
fn what_is_taken_over_is_forgotten_site_by_site() {
    let mut replay = Replay::new();
    replay.kernel.max_checks = 1;
    replay.command();
    let first = Asked {
        path: "/before",
        ..asks(1, Capability::CHOWN, Sysno::fchownat)
    };
    replay.check(&first, 1);
    replay.sweep();
    // The same key again, of which no record comes: nothing of before may stick to it.
    replay.records([fork(1, 2, HOST, 0)]);
    replay.counts(&first, 1, 1);
    let (records, _) = replay.finish();
    let mut sites: Vec<(usize, usize)> = records[0]
        .checks
        .iter()
        .map(|check| (check.identity.callers.len(), check.samples().seen().len()))
        .collect();
    sites.sort_unstable();
    assert_eq!(sites, [(0, 0), (2, 1)]);
}

#[test]
fn an_end_whose_record_was_lost_is_found_out() {
    let mut replay = Replay::new();
    replay.command();
    replay.check(&asks(2, Capability::CHOWN, Sysno::fchownat), 1);
    // The end of 2 and everything of 50 is lost; 3 lives.
    replay.records([fork(3, 2, HOST, 0)]);
    replay.counts(&asks(50, Capability::KILL, Sysno::kill), 1, 1);
    replay.kernel.live = Some(HashSet::from([3]));
    replay.look_for_missed();
    assert_eq!(replay.kernel.listed.get(), 0, "nothing was lost so far");
    replay.kernel.lost = 2;
    replay.look_for_missed();
    assert_eq!(replay.kernel.listed.get(), 1);
    // Its record may still be under way.
    assert!(
        !replay
            .collector
            .tracker()
            .live_executions()
            .any(|execution| execution == 1)
    );
    assert!(
        replay
            .collector
            .tracker()
            .live_executions()
            .any(|execution| execution == 2)
    );
    replay.look_for_missed();
    assert_eq!(replay.kernel.listed.get(), 1, "no more was lost");
    let live: Vec<u64> = replay.collector.tracker().live_executions().collect();
    assert_eq!(live, [3]);
    assert!(replay.collector.tracker().is_live(&Identity::Command));
    // There is room again, also where nobody knows who it was.
    replay.kernel.max_checks = 1;
    replay.sweep();
    assert!(replay.kernel.checks.is_empty() && replay.kernel.sites.is_empty());
    let (records, unattributed) = replay.finish();
    assert_eq!(lines(&records), ["cmd: CHOWN 1x /bin/sh fchownat"]);
    assert_eq!(unattributed, [(Capability::KILL, 1)]);
}

#[test]
fn what_cannot_be_listed_has_not_ended() {
    let mut replay = Replay::new();
    replay.command();
    replay.kernel.lost = 1;
    replay.look_for_missed();
    replay.look_for_missed();
    assert_eq!(
        replay.kernel.listed.get(),
        1,
        "it is looked again, but not at once"
    );
    assert!(replay.collector.tracker().is_live(&Identity::Command));
}

#[test]
fn each_loss_is_looked_after_once_and_not_all_the_time() {
    let mut tracker = Tracker::new(Existing::default());
    let mut missed = Missed::default();
    let mut kernel = Kernel {
        lost: 1,
        live: Some(HashSet::new()),
        ..Kernel::default()
    };
    let began = Instant::now();
    let mut look = |kernel: &Kernel, now: Instant| {
        if let Err(error) = missed.look(&mut tracker, kernel, now) {
            panic!("{error}");
        }
        kernel.listed.get()
    };
    assert_eq!(look(&kernel, began), 1);
    let later = began + 10 * LOOK_EVERY;
    assert_eq!(look(&kernel, later), 1, "that loss is accounted for");
    kernel.lost = 2;
    assert_eq!(look(&kernel, later), 2);
    kernel.lost = 3;
    assert_eq!(look(&kernel, later + LOOK_EVERY / 2), 2, "too early");
    kernel.live = None;
    assert_eq!(look(&kernel, later + 2 * LOOK_EVERY), 3);
    kernel.live = Some(HashSet::new());
    let again = look(&kernel, later + 4 * LOOK_EVERY);
    assert_eq!(again, 4, "it could not be listed, and is still to be done");
}

#[test]
fn what_waits_for_results_and_what_is_kept_of_a_site_is_bounded() {
    let mut joined = Joined::default();
    let mut feed = |asked: &Asked| {
        if let Event::Check(check) = asked.record(0) {
            joined.check(&check, describe::sample(&check));
        }
    };
    let first = Asked {
        call: 1,
        path: "/0",
        ..asks(2, Capability::CHOWN, Sysno::fchownat)
    };
    let second = Asked {
        call: 2,
        path: "/1",
        ..first
    };
    feed(&first);
    feed(&second);
    for call in 3..=MAX_AWAITED as u64 + 1 {
        feed(&Asked { call, ..first });
    }
    for path in ["/2", "/3", "/4", "/5", "/6", "/7", "/8", "/9"] {
        feed(&Asked {
            call: 2,
            path,
            ..first
        });
    }
    for asked in [&first, &second] {
        if let Event::Result(result) = asked.returns(-1) {
            joined.result(&result);
        }
    }
    let sightings = joined.sightings(&first.site_key());
    let results: Vec<_> = sightings
        .into_iter()
        .flat_map(|sightings| &sightings.samples)
        .map(|sample| sample.result)
        .collect();
    assert_eq!(results.len(), CheckRecord::MAX_SAMPLES);
    assert_eq!(results[..2], [None, Some(-1)], "the oldest is not awaited");
}

#[test]
fn ways_to_files_are_kept_while_something_lives_there() {
    let mut replay = Replay::new();
    replay.command();
    replay.records([adopt(10, WEB, SETUP)]);
    replay.machine.log();
    replay.collector.rest();
    // 580 is another container's, in which nothing lives at all.
    assert_eq!(replay.machine.log(), ["let go 580"]);
    replay.records([exec(11, 10, WEB, "/init"), exit(11)]);
    replay.machine.log();
    replay.collector.rest();
    assert_eq!(replay.machine.log(), ["let go 570", "let go 580"]);
}

#[test]
fn what_is_not_answered_holds_up_nobody_and_is_a_loss_of_that_subject() {
    let mut replay = Replay::new();
    let silent = pid_of(10);
    let ping = ExecRecord {
        exe: "/bin/ping".to_owned(),
        capabilities: None,
        setid: Some(FileOwner {
            uid: 0,
            gid: 0,
            mode: 0o104_755,
        }),
        unseen: false,
        ignored: false,
        count: 1,
        phases: Phases::default(),
    };
    replay.machine.found().silent.insert(silent);
    replay
        .machine
        .found()
        .executed
        .insert(pid_of(20), ping.clone());
    replay.records([
        adopt(10, WEB, 0),
        exec(10, 0, WEB, "/mnt/dead/server"),
        adopt(20, DB, 0),
        exec(20, 0, DB, "/bin/ping"),
    ]);
    let execs = |facts: &Facts| {
        let subjects = facts.subjects();
        let records = subjects.iter().filter_map(|id| facts.of_subject(*id));
        let mut execs: Vec<_> = records
            .flat_map(|record| &record.execs)
            .map(|exec| (exec.exe.clone(), exec.unseen))
            .collect();
        execs.sort();
        execs
    };
    let both = [
        ("/bin/ping".to_owned(), false),
        ("/mnt/dead/server".to_owned(), true),
    ];
    // So far it was not seen; that may change.
    let facts = snapshot(&replay);
    assert_eq!(execs(&facts), both);
    assert!(replay.collector.is_looking());
    // A subject is not done with while something of it is not known.
    replay.records([exit(10), exit(20)]);
    let retired = retire(&mut replay);
    assert_eq!(execs(&retired), both[..1]);
    replay.collector.stop_looking();
    assert!(!replay.collector.is_looking());
    let retired = retire(&mut replay);
    assert_eq!(execs(&retired), both[1..]);
}

/// What was lost is a loss of everything that lived meanwhile, or may have been met then, and stays with it when it ends.
#[test]
fn a_loss_is_of_all_that_lived_meanwhile_and_of_nothing_else() {
    let mut replay = Replay::new();
    let mut lost = Lost::default();
    let mut events = 0;
    let mut look = |replay: &mut Replay, more: u64| {
        events += more;
        let losses = Losses {
            events,
            ..Losses::default()
        };
        lost.attribute(losses, replay.collector.parts());
    };
    let of = |facts: &Facts, replay: &Replay| -> Vec<u64> {
        let known = replay.collector.tracker().subjects();
        known
            .map(|(id, _)| facts.of_subject(id).map_or(0, |it| it.lost.events))
            .collect()
    };
    replay.container(11, WEB);
    look(&mut replay, 0);
    // It ends in the window of the loss, and so may have lost some of it.
    replay.records([exit(11)]);
    look(&mut replay, 7);
    // The record by which this one would have been met earlier may have been lost.
    replay.container(21, DB);
    look(&mut replay, 0);
    assert_eq!(of(replay.collector.facts(), &replay), [7, 7]);
    // What has ended by now has lost nothing.
    look(&mut replay, 5);
    look(&mut replay, 0);
    assert_eq!(of(replay.collector.facts(), &replay), [7, 12]);

    let retired = retire(&mut replay);
    assert_eq!(of(&retired, &replay), [7, 0]);
    look(&mut replay, 1);
    assert_eq!(of(replay.collector.facts(), &replay), [0, 13]);
    assert_eq!(retire(&mut replay).subjects(), [], "it is past");
    // Started again, it begins without a loss.
    replay.container(31, WEB);
    look(&mut replay, 0);
    look(&mut replay, 2);
    assert_eq!(of(replay.collector.facts(), &replay), [3, 15]);
}

/// As for days: what has ended and was handed out takes no room, and comes again as a new one.
#[test]
fn ten_thousand_containers_that_have_ended_take_no_room() {
    let mut replay = Replay::new();
    let mut execution = 10;
    let mut handed_out = 0;
    for _ in 0..10_000 {
        execution += 2;
        replay.container(execution, WEB);
        replay.records([exit(execution)]);
        if execution % 100 == 0 {
            let subjects = retire(&mut replay).subjects();
            handed_out += subjects.len();
            let (tracker, _) = replay.collector.parts();
            for subject in subjects {
                tracker.forget_subject(subject);
            }
            assert_eq!(replay.collector.tracker().subjects().count(), 0);
        }
    }
    assert_eq!(handed_out, 200, "each time it was another one");
    replay.container(execution + 2, WEB);
    assert_eq!(replay.collector.tracker().subjects().count(), 1);
}
