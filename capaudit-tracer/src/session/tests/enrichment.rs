//! What is looked up for which record, and in which order: the process may be gone a moment later.

use std::collections::HashSet;

use capaudit_core::{
    capability::Capability,
    ledger::{ExecRecord, FileOwner, Phases},
};
use syscalls::Sysno;

use super::replay::{Asked, DB, HOST, Replay, SETUP, WEB, adopt, asks, exec, fork, pid_of};
use crate::subject::{Identity, Owner, attached::Attached};

const ALICE: FileOwner = FileOwner {
    uid: 1000,
    gid: 1000,
    mode: 0o100_644,
};

fn identity(replay: &Replay, execution: u64) -> Option<Identity> {
    let tracker = replay.collector.tracker();
    match tracker.execution(execution)?.owner {
        Owner::Subject(id) => Some(tracker.get(id).identity.clone()),
        _ => None,
    }
}

#[test]
fn owners_of_files_are_looked_up_where_advice_wants_them_and_the_kernel_did_not_tell() {
    let mut replay = Replay::new();
    replay.command();
    replay.machine.log();
    let file = "/srv/file".to_owned();
    replay.machine.found().owners.insert(file, ALICE);
    let chown = Asked {
        path: "/srv/file",
        ..asks(2, Capability::CHOWN, Sysno::fchownat)
    };
    replay.check(&chown, 1);
    assert_eq!(replay.machine.log(), ["owner 1002 /srv/file"]);
    let known = Asked {
        file_mode: 0o100_600,
        ..chown
    };
    let of_nobody = Asked { path: "", ..chown };
    let other = Asked {
        path: "/srv/file",
        ..asks(2, Capability::SYS_ADMIN, Sysno::mount)
    };
    for asked in [&known, &of_nobody, &other] {
        replay.check(asked, 1);
    }
    assert_eq!(replay.machine.log(), [""; 0]);
    let (records, _) = replay.finish();
    let samples = records[0]
        .checks
        .iter()
        .flat_map(|check| check.samples().seen());
    let owners: Vec<FileOwner> = samples.filter_map(|sample| sample.owner).collect();
    assert_eq!(owners.len(), 2);
    assert!(owners.contains(&ALICE));
}

#[test]
fn whenever_a_runtime_asks_the_way_to_its_files_is_kept_first() {
    let mut replay = Replay::new();
    replay.records([adopt(10, WEB, SETUP)]);
    let set_up = Asked {
        flags: SETUP,
        path: "/etc/passwd",
        ..asks(10, Capability::CHOWN, Sysno::fchownat)
    };
    replay.check(&set_up, 1);
    assert_eq!(
        replay.machine.log(),
        ["hold 570 1010", "owner 1010 /etc/passwd"]
    );
    // Nobody knows the mount namespace of this one.
    let unknown = Asked {
        flags: SETUP,
        ..asks(99, Capability::CHOWN, Sysno::fchownat)
    };
    replay.check(&unknown, 1);
    replay.check(&Asked { flags: 0, ..set_up }, 1);
    assert_eq!(replay.machine.log(), ["owner 1010 /etc/passwd"]);
}

#[test]
fn executed_files_of_subjects_are_looked_at_and_no_others() {
    let mut replay = Replay::new();
    let record = ExecRecord {
        exe: "/bin/ping".to_owned(),
        capabilities: None,
        setid: None,
        unseen: true,
        ignored: false,
        count: 1,
        phases: Phases::default(),
    };
    let pid = pid_of(3);
    replay.machine.found().executed.insert(pid, record.clone());
    replay.command();
    replay.records([
        exec(3, 2, HOST, "/bin/ping"),
        exec(40, 0, HOST, "/usr/sbin/cups"),
    ]);
    assert_eq!(
        replay.machine.log(),
        ["executed 1002 level 0", "executed 1003 level 0"]
    );
    let (records, _) = replay.finish();
    assert_eq!(records[0].execs, [record]);
    assert_eq!(replay.collector.facts().unseen_files(&HashSet::new()), 1);
}

#[test]
fn where_everything_is_observed_places_are_looked_up_before_files() {
    let mut replay = Replay::new();
    replay.collector.expect(&Attached::Machine);
    replay
        .machine
        .found()
        .executables
        .insert(pid_of(1), "/usr/bin/runc".to_owned());
    let unit = Identity::Unit("cron.service".into());
    replay
        .machine
        .found()
        .places
        .insert(pid_of(1), unit.clone());
    replay.records([exec(1, 0, HOST, "/proc/self/fd/6")]);
    assert_eq!(
        replay.machine.log(),
        [
            "executable 1001",
            "place 1001 /usr/bin/runc",
            "executed 1001 level 0",
        ]
    );
    assert_eq!(identity(&replay, 1), Some(unit.clone()));
    let exe = replay
        .collector
        .tracker()
        .execution(1)
        .map(|execution| execution.exe.to_string());
    assert_eq!(exe.as_deref(), Some("/usr/bin/runc"));
    // A file that was never linked, and a process that is gone by now: it is what it was before.
    replay.records([exec(2, 1, HOST, "/dev/fd/3")]);
    let exe = replay
        .collector
        .tracker()
        .execution(2)
        .map(|execution| execution.exe.to_string());
    assert_eq!(exe.as_deref(), Some("/usr/bin/runc"));
    assert_eq!(identity(&replay, 2), Some(unit));
    replay.machine.log();
    // A container's cgroup is in the record: that is enough.
    replay.records([exec(3, 2, DB, "/init")]);
    assert_eq!(replay.machine.log(), ["executed 1003 level 0"]);
    assert_eq!(
        identity(&replay, 3),
        Some(Identity::Container(DB.container()))
    );
}

#[test]
fn programs_outside_of_services_are_told_apart_by_their_paths() {
    let mut replay = Replay::new();
    replay.collector.expect(&Attached::Machine);
    replay.records([
        exec(1, 0, HOST, "/bin/sh"),
        exec(2, 1, HOST, "/bin/chown"),
        fork(3, 2, HOST, 0),
    ]);
    for (execution, program) in [(1, "/bin/sh"), (2, "/bin/chown"), (3, "/bin/chown")] {
        assert_eq!(
            identity(&replay, execution),
            Some(Identity::Program(program.into()))
        );
    }
}

#[test]
fn what_is_met_while_everything_is_observed_is_looked_at() -> std::io::Result<()> {
    let mut replay = Replay::new();
    replay.collector.expect(&Attached::Machine);
    let mut child = std::process::Command::new("sleep").arg("60").spawn()?;
    let running = Attached::Tree(child.id()).look_at(child.id());
    child.kill()?;
    child.wait()?;
    let running = running.ok_or(std::io::ErrorKind::NotFound)?;
    replay.machine.found().running.insert(pid_of(1), running);
    replay.records([adopt(1, HOST, 0), adopt(2, HOST, 0)]);
    assert_eq!(replay.machine.log(), ["running 1001", "running 1002"]);
    assert_eq!(identity(&replay, 1), Some(Identity::Process(child.id())));
    // Gone by then, or a kernel thread.
    assert_eq!(
        identity(&replay, 2),
        Some(Identity::Program("[forked]".into()))
    );
    Ok(())
}
