//! Whose a container is that starts while a command runs.

use capaudit_common::key::CallKey;
use capaudit_core::ledger::SubjectRecord;
use syscalls::Sysno;

use super::replay::{
    DB, HOST, Replay, SETUP, Space, WEB, adopt, call_of, exec, exit, fork, number, pid_of,
};
use crate::{probe::Event, proc::Existing, subject::engine::Description};

/// Length of the address of a socket with a path.
const UNIX: u64 = 110;
const INTERNET: u64 = 16;

fn at(time: u64, mut event: Event) -> Event {
    match &mut event {
        Event::Exec(exec) => exec.header.time = time,
        Event::Call(call) => call.header.time = time,
        _ => {}
    }
    event
}

/// The command's own execution is 2.
fn replay() -> Replay {
    let mut replay = Replay::new();
    replay.command();
    replay
}

fn executes(replay: &mut Replay, time: u64, execution: u64, line: &str) {
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let path = format!("/usr/bin/{}", words[0]);
    replay
        .machine
        .found()
        .words
        .insert(pid_of(execution), words);
    replay.records([
        fork(execution - 1, 2, HOST, 0),
        at(time, exec(execution, execution - 1, HOST, &path)),
    ]);
}

fn connects(replay: &mut Replay, time: u64, execution: u64, length: u64, failed: bool) {
    let mut call = call_of(CallKey {
        execution,
        operation: length as u32,
        syscall: number(Sysno::connect),
        failed: failed.into(),
        flags: 0,
    });
    call.arguments = [3, 0, length, 0, 0, 0];
    replay.records([at(time, Event::Call(Box::new(call)))]);
}

/// An engine's daemon starts a container.
fn starts(replay: &mut Replay, time: u64, execution: u64, space: Space, name: &str) {
    let described = Description {
        name: name.to_owned(),
        image: "nginx:1".to_owned(),
        ..Description::default()
    };
    replay.described.insert(space.container(), described);
    replay.records([
        adopt(execution - 1, space, SETUP),
        at(time, exec(execution, execution - 1, space, "/init")),
    ]);
}

/// Names of the containers, those of others in brackets.
fn containers(replay: &mut Replay) -> Vec<String> {
    let (records, _) = replay.finish();
    let of = |record: &SubjectRecord| match record.other {
        true => format!("[{}]", record.name),
        false => record.name.clone(),
    };
    records
        .iter()
        .filter(|it| it.container().is_some())
        .map(of)
        .collect()
}

#[test]
fn without_a_word_to_anybody_every_container_is_anothers() {
    let mut replay = replay();
    starts(&mut replay, 10, 21, WEB, "neighbour");
    connects(&mut replay, 20, 2, UNIX, true);
    assert_eq!(containers(&mut replay), ["[neighbour]"]);
}

#[test]
fn what_starts_after_the_command_spoke_to_somebody_may_be_the_commands() {
    for (length, failed) in [(UNIX, false), (INTERNET, false), (INTERNET, true)] {
        let mut replay = replay();
        starts(&mut replay, 10, 21, WEB, "before");
        connects(&mut replay, 20, 2, length, failed);
        starts(&mut replay, 30, 31, DB, "after");
        assert_eq!(containers(&mut replay), ["[before]", "after"]);
    }
}

#[test]
fn the_words_of_a_client_say_what_it_starts() {
    let mut replay = replay();
    executes(&mut replay, 10, 4, "docker run --name web nginx:1");
    connects(&mut replay, 11, 4, UNIX, false);
    starts(&mut replay, 20, 21, WEB, "web");
    starts(&mut replay, 30, 31, DB, "neighbour");
    assert_eq!(containers(&mut replay), ["web", "[neighbour]"]);
}

#[test]
fn words_that_come_late_explain_earlier_connections_all_the_same() {
    let mut replay = replay();
    replay.machine.found().silent.insert(pid_of(4));
    executes(&mut replay, 10, 4, "docker run --name web nginx:1");
    connects(&mut replay, 11, 4, UNIX, false);
    replay.machine.found().answers_late = true;
    replay.collector.take_answers();
    starts(&mut replay, 20, 21, WEB, "web");
    starts(&mut replay, 30, 31, DB, "neighbour");
    assert_eq!(containers(&mut replay), ["web", "[neighbour]"]);
}

#[test]
fn words_that_could_not_be_read_may_have_been_any() {
    let mut replay = replay();
    replay.records([
        fork(3, 2, HOST, 0),
        at(10, exec(4, 3, HOST, "/usr/bin/docker")),
    ]);
    starts(&mut replay, 20, 21, WEB, "web");
    assert_eq!(containers(&mut replay), ["web"]);
}

#[test]
fn what_others_are_asked_to_do_may_be_to_start_a_container() {
    let mut replay = replay();
    executes(&mut replay, 10, 4, "systemctl start shop");
    starts(&mut replay, 20, 21, WEB, "web");
    assert_eq!(containers(&mut replay), ["web"]);
}

#[test]
fn what_descends_from_the_command_is_the_commands() {
    let mut replay = replay();
    replay.records([
        fork(3, 2, HOST, 0),
        exec(4, 3, HOST, "/usr/bin/podman"),
        fork(5, 4, WEB, 0),
        exec(6, 5, WEB, "/init"),
    ]);
    starts(&mut replay, 20, 21, DB, "neighbour");
    assert_eq!(containers(&mut replay), ["39bf4a995c6c", "[neighbour]"]);
}

#[test]
fn a_container_of_the_commands_may_start_further_ones_through_a_socket() {
    for (length, expected) in [(UNIX, "inner"), (INTERNET, "[inner]")] {
        let mut replay = replay();
        executes(&mut replay, 10, 4, "docker run --name web nginx:1");
        starts(&mut replay, 20, 21, WEB, "web");
        connects(&mut replay, 30, 21, length, false);
        starts(&mut replay, 40, 31, DB, "inner");
        assert_eq!(containers(&mut replay), ["web", expected]);
    }
}

#[test]
fn what_a_neighbour_executes_in_an_old_container_is_the_neighbours() {
    for (line, expected) in [
        ("docker run --name web nginx:1", "[old]"),
        ("docker exec old id", "old"),
    ] {
        let mut replay = Replay::new();
        let existing = Existing::with(&[(DB.container(), DB.pid_namespace)], &[]);
        replay.collector.begin(existing, 0);
        replay.command();
        executes(&mut replay, 10, 4, line);
        starts(&mut replay, 20, 31, DB, "old");
        replay.records([exit(31)]);
        assert_eq!(containers(&mut replay), [expected]);
    }
}

#[test]
fn what_may_have_been_said_is_no_fact_of_the_command() {
    let mut replay = replay();
    connects(&mut replay, 20, 2, UNIX, false);
    replay.call(2, Sysno::connect, None, 1);
    let (records, _) = replay.finish();
    assert_eq!(records[0].calls, []);
}
