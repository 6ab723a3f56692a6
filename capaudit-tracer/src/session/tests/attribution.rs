//! Whose a check is, and what it is recorded as.

use std::collections::HashSet;

use capaudit_common::key::flag;
use capaudit_core::{
    capability::Capability,
    ledger::{CheckRecord, Credentials, Deputy, Options, Outcome, Place, Subject, Unseen},
};
use syscalls::Sysno;

use super::replay::{
    Asked, BEGAN, CHOWN_COMMON, DB, GENERIC_PERMISSION, HOST, Replay, SETUP, Space, UNNAMED, WEB,
    adopt, asks, exec, exit, fork, lines, pid_of,
};
use crate::{
    proc::Existing,
    subject::{Identity, Owner, attached::Attached, engine::Description},
};

#[test]
fn checks_of_the_command_and_its_descendants_are_the_commands() {
    let mut replay = Replay::new();
    replay.command();
    replay.records([
        fork(3, 2, HOST, 0),
        exec(4, 3, HOST, "/bin/chown"),
        exit(4),
        exit(2),
    ]);
    replay.check(&asks(1, Capability::SETPCAP, Sysno::prctl), 1);
    replay.check(&asks(3, Capability::KILL, Sysno::kill), 2);
    replay.check(&asks(4, Capability::CHOWN, Sysno::fchownat), 5);
    let (records, unattributed) = replay.finish();
    assert_eq!(
        lines(&records),
        [
            "cmd: CHOWN 5x /bin/chown fchownat",
            "cmd: KILL 2x /bin/sh kill",
            "cmd: SETPCAP 1x  (set-up) prctl",
        ]
    );
    assert_eq!(records[0].identity, Subject::Command);
    assert_eq!(unattributed, []);
}

#[test]
fn a_container_has_its_runtimes_checks_as_set_up_and_the_programs_as_its_own() {
    let mut replay = Replay::new();
    replay.command();
    replay.records([adopt(10, WEB, SETUP), fork(11, 10, WEB, SETUP)]);
    // Nobody knows by now whose these are.
    replay.check(&asks(10, Capability::SYS_ADMIN, Sysno::mount), 3);
    replay.check(&asks(11, Capability::SYS_CHROOT, Sysno::pivot_root), 1);
    replay.records([exec(12, 11, WEB, "/usr/sbin/nginx")]);
    replay.check(&asks(12, Capability::NET_BIND_SERVICE, Sysno::bind), 1);
    replay.check(&asks(2, Capability::KILL, Sysno::kill), 1);
    assert_eq!(
        replay.ending(),
        [
            "39bf4a995c6c: NET_BIND_SERVICE 1x /usr/sbin/nginx bind",
            "39bf4a995c6c: SYS_ADMIN 3x  (set-up) mount",
            "39bf4a995c6c: SYS_CHROOT 1x  (set-up) pivot_root",
            "cmd: KILL 1x /bin/sh kill",
        ]
    );
}

#[test]
fn what_a_runtime_asks_in_its_last_execve_is_for_the_program() {
    let mut replay = Replay::new();
    replay.container(11, WEB);
    let in_execve = asks(10, Capability::DAC_OVERRIDE, Sysno::execve);
    replay.check(&in_execve, 1);
    replay.check(&asks(10, Capability::DAC_OVERRIDE, Sysno::openat), 1);
    // In the 32-bit table another call has this number.
    let mut compat = in_execve;
    compat.key.flags = flag::COMPAT;
    replay.check(&compat, 1);
    assert_eq!(
        replay.ending(),
        [
            &*format!(
                "39bf4a995c6c: DAC_OVERRIDE 1x  (set-up) 32-bit {}",
                Sysno::execve.id()
            ),
            "39bf4a995c6c: DAC_OVERRIDE 1x  (set-up) openat",
            "39bf4a995c6c: DAC_OVERRIDE 1x  execve",
        ]
    );
}

#[test]
fn where_everything_is_observed_a_services_execve_into_a_container_is_the_containers() {
    let mut replay = Replay::new();
    replay.collector.expect(&Attached::Machine);
    let service = Identity::Unit("engine.service".into());
    replay.machine.found().places.insert(1001, service);
    replay.records([
        exec(1, 0, HOST, "/usr/bin/crun"),
        exec(2, 1, WEB, "/usr/sbin/nginx"),
    ]);
    replay.check(&asks(1, Capability::SYS_ADMIN, Sysno::mount), 1);
    replay.check(&asks(1, Capability::DAC_OVERRIDE, Sysno::execve), 1);
    replay.check(&asks(2, Capability::NET_BIND_SERVICE, Sysno::bind), 1);
    assert_eq!(
        replay.ending(),
        [
            "39bf4a995c6c: DAC_OVERRIDE 1x /usr/bin/crun execve",
            "39bf4a995c6c: NET_BIND_SERVICE 1x /usr/sbin/nginx bind",
            "engine.service: SYS_ADMIN 1x /usr/bin/crun mount",
        ]
    );
}

/// Under load, records are taken late: by then, the engine has put the runtime into the container's cgroup.
#[test]
fn a_runtime_that_is_looked_at_late_is_none_of_its_container() {
    let mut replay = Replay::new();
    replay.collector.expect(&Attached::Machine);
    let container = Identity::Container(WEB.container());
    replay
        .machine
        .found()
        .places
        .extend([(pid_of(1), container.clone()), (pid_of(2), container)]);
    let host = |execution, previous, path| exec(execution, previous, UNNAMED, path);
    replay.records([host(1, 0, "/usr/sbin/runc"), host(2, 1, "/proc/self/exe")]);
    replay.records([fork(3, 2, WEB, 0)]);
    replay.check(&asks(3, Capability::SYS_ADMIN, Sysno::mount), 1);
    replay.records([exec(4, 3, WEB, "/usr/bin/sleep")]);
    assert_eq!(
        replay.ending(),
        ["/usr/sbin/runc: SYS_ADMIN 1x /usr/sbin/runc mount"]
    );
}

#[test]
fn a_container_that_was_made_before_is_not_seen_from_its_start() {
    for (created, seen) in [(BEGAN - 1, false), (BEGAN, true)] {
        let mut replay = Replay::new();
        replay.container(11, WEB);
        let description = Description {
            created: Some(created),
            ..Description::default()
        };
        replay.described.insert(WEB.container(), description);
        let (records, _) = replay.finish();
        assert_eq!(records[0].seen_from_start, seen);
        let expected = if seen {
            vec![]
        } else {
            vec![Unseen::EarlierStart]
        };
        assert_eq!(records[0].unseen, expected);
    }
}

#[test]
fn docker_exec_in_an_old_container_is_told_apart() {
    let mut replay = Replay::new();
    let existing = Existing::with(&[(WEB.container(), WEB.pid_namespace)], &[]);
    replay.collector.begin(existing, BEGAN);
    replay.records([adopt(20, WEB, SETUP), exec(21, 20, WEB, "/bin/sh")]);
    replay.check(&asks(21, Capability::SETUID, Sysno::setuid), 4);
    let (records, _) = replay.finish();
    assert_eq!(lines(&records), ["39bf4a995c6c: SETUID 4x /bin/sh setuid"]);
    assert_eq!(records[0].unseen, [Unseen::AllButExecuted]);
    assert!(!records[0].seen_from_start);
}

#[test]
fn what_still_runs_when_the_command_has_ended_is_named() {
    let mut replay = Replay::new();
    replay.command();
    replay.records([fork(3, 2, HOST, 0), exit(2)]);
    replay.collector.end();
    let (records, _) = replay.finish();
    let [
        Unseen::Rest {
            processes,
            count: 1,
        },
    ] = records[0].unseen.as_slice()
    else {
        panic!("{:?}", records[0].unseen);
    };
    assert_eq!(processes[0].pid, pid_of(3));
    assert!(!records[0].is_complete());
}

#[test]
fn what_others_did_for_the_command_is_told_unless_it_was_seen() {
    for is_followed in [false, true] {
        let mut replay = Replay::new();
        replay.command();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        replay.machine.found().words.extend([
            (pid_of(4), words(&["docker", "exec", "web", "id"])),
            (pid_of(6), words(&["systemctl", "restart", "nginx"])),
        ]);
        replay.records([
            fork(3, 2, HOST, 0),
            exec(4, 3, HOST, "/usr/bin/docker"),
            exit(4),
            fork(5, 2, HOST, 0),
            exec(6, 5, HOST, "/usr/bin/systemctl"),
            exit(6),
            exit(2),
        ]);
        // Another container says nothing of this one.
        replay.container(21, DB);
        if is_followed {
            replay.container(11, WEB);
            let web = Description {
                name: "web".to_owned(),
                ..Description::default()
            };
            replay.described.insert(WEB.container(), web);
        }
        replay.collector.end();
        let (records, _) = replay.finish();
        let told: Vec<(Deputy, &str)> = records[0]
            .unseen
            .iter()
            .filter_map(|unseen| match unseen {
                Unseen::Delegated { to, object, .. } => Some((*to, object.as_str())),
                _ => None,
            })
            .collect();
        let engine = (Deputy::Engine, "web");
        let manager = (Deputy::ServiceManager, "nginx.service");
        let expected = if is_followed {
            vec![manager]
        } else {
            vec![engine, manager]
        };
        assert_eq!(told, expected);
    }
}

#[test]
fn docker_exec_is_the_same_container_and_sets_it_up_once_more() {
    let mut replay = Replay::new();
    replay.container(11, WEB);
    replay.records([adopt(20, WEB, SETUP)]);
    replay.check(&asks(20, Capability::SETUID, Sysno::setuid), 1);
    replay.records([exec(21, 20, WEB, "/bin/sh")]);
    replay.check(&asks(21, Capability::SETUID, Sysno::setuid), 4);
    replay.check(&asks(11, Capability::SETUID, Sysno::setuid), 2);
    let (records, _) = replay.finish();
    assert_eq!(
        lines(&records),
        [
            "39bf4a995c6c: SETUID 1x  (set-up) setuid",
            "39bf4a995c6c: SETUID 2x /init setuid",
            "39bf4a995c6c: SETUID 4x /bin/sh setuid",
        ]
    );
    assert_eq!(records.len(), 1);
    assert!(records[0].seen_from_start);
}

#[test]
fn what_is_asked_between_two_executions_belongs_to_the_one_it_was_counted_under() {
    let mut replay = Replay::new();
    replay.command();
    let before = asks(2, Capability::CHOWN, Sysno::fchownat);
    let after = asks(3, Capability::CHOWN, Sysno::fchownat);
    // Records and totals of the earlier one come after the later one began.
    replay.records([exec(3, 2, HOST, "/bin/chown")]);
    replay.check(&before, 2);
    replay.check(&after, 7);
    assert_eq!(
        replay.ending(),
        [
            "cmd: CHOWN 2x /bin/sh fchownat",
            "cmd: CHOWN 7x /bin/chown fchownat",
        ]
    );
}

#[test]
fn checks_of_the_unknown_are_nobodys_and_those_of_others_are_not_there() {
    let mut replay = Replay::new();
    replay.command();
    // A fork whose parent's record was lost; an execution that was never heard of.
    replay.records([fork(31, 30, HOST, 0)]);
    replay.check(&asks(31, Capability::CHOWN, Sysno::fchownat), 2);
    replay.counts(&asks(99, Capability::CHOWN, Sysno::fchownat), 3, 0);
    replay.counts(&asks(99, Capability::KILL, Sysno::kill), 1, 1);
    // A service with private mounts that was there before.
    replay.records([exec(40, 0, HOST, "/usr/sbin/cups")]);
    replay.check(&asks(40, Capability::SYS_ADMIN, Sysno::mount), 9);
    replay.kernel.overflow = vec![(Capability::KILL, 10, 5)];
    let (records, unattributed) = replay.finish();
    assert_eq!(lines(&records), [""; 0]);
    let expected = HashSet::from([(Capability::CHOWN, 5), (Capability::KILL, 16)]);
    assert_eq!(unattributed.into_iter().collect::<HashSet<_>>(), expected);
}

#[test]
fn a_total_is_divided_among_its_call_sites() {
    let mut replay = Replay::new();
    replay.command();
    let common = asks(2, Capability::CHOWN, Sysno::fchownat);
    let rare = Asked {
        site: 2,
        caller: GENERIC_PERMISSION,
        path: "/etc/shadow",
        ..common
    };
    let unheard = Asked { site: 3, ..common };
    replay.records([common, rare].map(|asked| asked.record(0)));
    replay.counts(&common, 90, 7);
    replay.counts(&rare, 8, 2);
    replay.counts(&unheard, 2, 1);
    let (records, _) = replay.finish();
    let mut shares: Vec<(Vec<&str>, u64, usize)> = records[0]
        .checks
        .iter()
        .map(|check| {
            let callers = check.identity.callers.iter().map(String::as_str);
            (callers.collect(), check.count, check.samples().seen().len())
        })
        .collect();
    shares.sort();
    let [unheard, common, rare] = &shares[..] else {
        panic!("{shares:?}");
    };
    assert_eq!(unheard.0, [""; 0], "nobody heard from where");
    assert_eq!(common.0, ["security_capable", "chown_common"]);
    assert_eq!(rare.0, ["security_capable", "generic_permission"]);
    // 7 : 2 : 1, without any rest.
    assert_eq!((common.1, rare.1, unheard.1), (70, 20, 10));
    assert_eq!((common.2, rare.2, unheard.2), (1, 1, 0));
}

#[test]
fn results_join_the_checks_of_the_same_call_of_the_same_thread() {
    let mut replay = Replay::new();
    replay.command();
    replay.records([fork(3, 2, HOST, 0)]);
    let shell = Asked {
        call: 5,
        path: "/a",
        ..asks(2, Capability::CHOWN, Sysno::fchownat)
    };
    let again = Asked {
        call: 6,
        path: "/b",
        ..shell
    };
    let child = Asked {
        call: 5,
        path: "/c",
        ..asks(3, Capability::CHOWN, Sysno::fchownat)
    };
    for asked in [&shell, &again, &child] {
        replay.check(asked, 1);
    }
    replay.records([
        child.returns(-13),
        again.returns(0),
        // Of a call without any check.
        Asked { call: 7, ..shell }.returns(-1),
    ]);
    let (records, _) = replay.finish();
    let samples = records[0]
        .checks
        .iter()
        .flat_map(|check| check.samples().seen());
    let mut results: Vec<(String, Option<i64>)> = samples
        .map(|sample| (format!("{:?}", sample.object), sample.result))
        .collect();
    results.sort();
    let expected = [("/a", None), ("/b", Some(0)), ("/c", Some(-13))]
        .map(|(path, result)| (format!("Some(Path({path:?}))"), result));
    assert_eq!(results, expected);
}

#[test]
fn samples_are_distinct_and_few() {
    let mut replay = Replay::new();
    replay.command();
    let paths = ["/1", "/2", "/3", "/4", "/5", "/6", "/7", "/8", "/9"];
    for path in ["/1", "/1"].iter().chain(&paths) {
        let asked = Asked {
            path,
            ..asks(2, Capability::CHOWN, Sysno::fchownat)
        };
        replay.check(&asked, 1);
    }
    let (records, _) = replay.finish();
    let check = &records[0].checks[0];
    assert_eq!(check.count, 11);
    assert_eq!(check.samples().seen().len(), CheckRecord::MAX_SAMPLES);
    // The last one is not known, and a kept one speaks for each of the others.
    assert_eq!((check.sampled, check.samples().cover_all()), (10, false));
}

#[test]
fn namespaces_answers_and_credentials_tell_checks_apart() {
    let recorded = |asked: &Asked| -> CheckRecord {
        let mut replay = Replay::new();
        replay.command();
        replay.check(asked, 1);
        replay.finish().0.remove(0).checks.remove(0)
    };
    let plain = asks(2, Capability::CHOWN, Sysno::fchownat);
    let with = |flags, target_ns, target_level| -> CheckRecord {
        let mut asked = Asked {
            target_level,
            ..plain
        };
        asked.key.flags = flags;
        asked.key.target_ns = target_ns;
        recorded(&asked)
    };
    let own = with(0, HOST.user_namespace, 0).identity;
    assert_eq!(
        (own.place, own.outcome, own.credentials, own.options),
        (Place::Own, Outcome::Granted, Credentials::Own, None)
    );
    assert_eq!(with(flag::OWNED, 77, 1).identity.place, Place::Inner);
    assert_eq!(with(0, 77, 1).identity.place, Place::InnerOfOthers);
    let mut inner = Asked {
        target_level: 2,
        ..plain
    };
    (inner.key.target_ns, inner.key.cred_ns) = (78, 77);
    assert_eq!(recorded(&inner).identity.place, Place::Inner);
    assert_eq!(with(0, 77, 0).identity.place, Place::Outer);
    let of_flags = |flags| with(flags, HOST.user_namespace, 0).identity;
    assert_eq!(of_flags(flag::DENIED).outcome, Outcome::Denied);
    assert_eq!(
        of_flags(flag::OVERRIDDEN).credentials,
        Credentials::Borrowed
    );
    assert_eq!(
        of_flags(flag::FOREIGN | flag::OVERRIDDEN).credentials,
        Credentials::Foreign
    );
    assert_eq!(
        of_flags(flag::OPTIONS_KNOWN | flag::NOAUDIT).options,
        Some(Options {
            noaudit: true,
            insetid: false
        })
    );
}

#[test]
fn times_are_of_the_audit_and_results_are_counted_by_site() {
    let mut replay = Replay::new();
    replay.command();
    let first = Asked {
        time: 2_000_000,
        ..asks(2, Capability::CHOWN, Sysno::fchownat)
    };
    let last = Asked {
        time: 9_900_000,
        ..first
    };
    replay.check(&first, 1);
    replay.check(&last, 1);
    for site in replay.kernel.sites.values_mut() {
        (site.succeeded, site.failed, site.errno) = (1, 2, 13);
    }
    let check = replay.finish().0.remove(0).checks.remove(0);
    assert_eq!((check.first_ms, check.last_ms), (2, 9));
    assert_eq!((check.succeeded, check.failed, check.errno), (1, 2, 13));
    assert_eq!(
        check.identity.requester.comm, "requester",
        "the thread's name"
    );
}

#[test]
fn calls_without_checks_are_counted_with_the_first_ones_arguments() {
    let mut replay = Replay::new();
    replay.command();
    replay.call(2, Sysno::prctl, Some(23), 4);
    replay.call(2, Sysno::capget, None, 1);
    // Nobody's.
    replay.call(99, Sysno::prctl, Some(1), 1);
    replay.records([exec(40, 0, HOST, "/usr/sbin/cups")]);
    replay.call(40, Sysno::prctl, Some(1), 1);
    let (records, _) = replay.finish();
    let mut calls: Vec<_> = records[0]
        .calls
        .iter()
        .map(|call| (&*call.syscall, call.arguments[0], call.result, call.count))
        .collect();
    calls.sort_unstable();
    assert_eq!(calls, [("capget", 0, 0, 1), ("prctl", 23, 7, 4)]);
    assert_eq!(records[0].calls[0].requester.exe, "/bin/sh");
    assert!(replay.kernel.calls.is_empty(), "taken over");
}

#[test]
fn subjects_have_the_names_that_engines_give() {
    let mut replay = Replay::new();
    replay.container(11, WEB);
    replay.container(21, DB);
    describe(&mut replay, WEB, "shop-web-1", "web");
    let (records, _) = replay.finish();
    let names: Vec<(&str, Option<&str>)> = records
        .iter()
        .map(|record| (&*record.name, record.compose_service()))
        .collect();
    let [web, db] = &names[..] else {
        panic!("{names:?}");
    };
    assert_eq!(*web, ("shop-web-1", Some("web")));
    assert_eq!(*db, ("444444444444", None), "the id, if no engine answers");
}

#[test]
fn with_a_service_only_its_new_containers_are_of_interest() -> std::io::Result<()> {
    let mut replay = Replay::new();
    let service = Attached::Service("web".to_owned(), HashSet::new());
    replay.collector.expect(&service);
    // What was attached to by another name stays.
    let mut child = std::process::Command::new("sleep").arg("60").spawn()?;
    let running = Attached::Tree(child.id()).look_at(child.id());
    child.kill()?;
    child.wait()?;
    replay
        .collector
        .attach(1, &running.ok_or(std::io::ErrorKind::NotFound)?);
    replay.container(11, WEB);
    replay.container(21, DB);
    describe(&mut replay, WEB, "shop-web-1", "web");
    describe(&mut replay, DB, "shop-db-1", "db");
    let (records, _) = replay.finish();
    let names: Vec<&str> = records.iter().map(|record| &*record.name).collect();
    let [web, process] = names[..] else {
        panic!("{names:?}");
    };
    assert_eq!(web, "shop-web-1");
    assert_eq!(process, format!("sleep[{}]", child.id()));
    Ok(())
}

fn describe(replay: &mut Replay, space: Space, name: &str, service: &str) {
    let description = Description {
        name: name.to_owned(),
        compose_service: Some(service.to_owned()),
        ..Description::default()
    };
    replay.described.insert(space.container(), description);
}

#[test]
fn check_events_come_in_order_and_know_whose_they_are() {
    let mut replay = Replay::new();
    replay.command();
    replay.collector.keep_check_events(true);
    replay.records([adopt(10, WEB, SETUP)]);
    let undecided = asks(10, Capability::SYS_ADMIN, Sysno::mount);
    let shell = Asked {
        call: 3,
        time: 4_000_000,
        caller: CHOWN_COMMON,
        ..asks(2, Capability::CHOWN, Sysno::fchownat)
    };
    let unrelated = asks(40, Capability::KILL, Sysno::kill);
    replay.records([exec(40, 0, HOST, "/usr/sbin/cups")]);
    for asked in [&unrelated, &undecided, &shell] {
        replay.check(asked, 1);
    }
    replay.records([shell.returns(-1)]);
    let next = |replay: &mut Replay| {
        let (_waiting, id, record) = replay.collector.next_check_event(false, |_, _| true)?;
        Some((replay.collector.tracker().get(id).identity.clone(), record))
    };
    assert!(next(&mut replay).is_none(), "whose the second is, is open");
    replay.records([exec(11, 10, WEB, "/init")]);
    let (whose, set_up) = match next(&mut replay) {
        Some(next) => next,
        None => panic!("it is known now"),
    };
    assert_eq!(whose, Identity::Container(WEB.container()));
    assert!(set_up.identity.requester.setup);
    let (whose, of_shell) = match next(&mut replay) {
        Some(next) => next,
        None => panic!("it has returned"),
    };
    assert_eq!(whose, Identity::Command);
    assert_eq!((of_shell.count, of_shell.first_ms), (1, 4));
    assert_eq!((of_shell.failed, of_shell.errno), (1, 1));
    assert_eq!(
        of_shell.identity.callers,
        ["security_capable", "chown_common"]
    );
    assert!(next(&mut replay).is_none());
}

#[test]
fn a_check_event_outlives_its_execution() {
    let mut replay = Replay::new();
    replay.kernel.max_checks = 1;
    replay.command();
    replay.collector.keep_check_events(true);
    let asked = Asked {
        call: 1,
        ..asks(2, Capability::CHOWN, Sysno::fchownat)
    };
    replay.check(&asked, 1);
    replay.records([exit(2)]);
    replay.sweep();
    let owner = replay
        .collector
        .tracker()
        .execution(2)
        .map(|execution| execution.owner);
    assert_eq!(owner, None::<Owner>, "forgotten");
    let next = replay.collector.next_check_event(true, |_, _| true);
    let exe = next.map(|(_, _, record)| record.identity.requester.exe);
    assert_eq!(exe.as_deref(), Some("/bin/sh"));
}
