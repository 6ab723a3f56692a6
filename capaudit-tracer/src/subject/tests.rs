//! The tracker, fed with records as the kernel writes them.

use capaudit_common::{
    event::{
        CGROUP_DEPTH, CGROUP_LEN, COMM_LEN, Exec, Exit, Fork, Header, Ids, Namespaces, OBJECT_LEN,
        Sets, kind,
    },
    scope::execution,
};
use capaudit_core::capability::CapSet;

use super::{
    attached::{Attached, Running},
    *,
};
use crate::proc::{ContainerId, Existing};

const HOST_PID_NS: u32 = 1;
const ID: &str = "39bf4a995c6cb1e532f912c87300949dcff77a405c644395cc2cd3095c6a8914";

fn header(execution: u64, kind: u32, flags: u32) -> Header {
    Header {
        time: 0,
        execution,
        kind,
        tgid: execution as u32 + 1000,
        tid: execution as u32 + 1000,
        flags,
    }
}

fn namespaces(pid: u32) -> Namespaces {
    Namespaces {
        mnt: pid + 500,
        pid,
        user: 9,
        user_level: 0,
    }
}

fn fork(execution: u64, parent: u64, pid: u32, flags: u32) -> Fork {
    Fork {
        header: header(execution, kind::FORK, flags),
        parent,
        namespaces: namespaces(pid),
        ids: Ids::default(),
        sets: Sets::default(),
        comm: [0; COMM_LEN],
    }
}

fn exec(execution: u64, previous: u64, pid: u32, path: &str, cgroup: &str) -> Exec {
    let mut exec = Exec {
        header: header(execution, kind::EXEC, 0),
        previous,
        namespaces: namespaces(pid),
        ids: Ids::default(),
        sets: Sets {
            bounding: 0b101,
            ..Sets::default()
        },
        inode: 0,
        device: 0,
        mode: 0,
        owner: 0,
        group: 0,
        ignored: 0,
        reserved: 0,
        comm: [0; COMM_LEN],
        path: [0; OBJECT_LEN],
        interpreter: [0; OBJECT_LEN],
        cgroups: [[0; CGROUP_LEN]; CGROUP_DEPTH],
    };
    exec.path[..path.len()].copy_from_slice(path.as_bytes());
    exec.cgroups[0][..cgroup.len()].copy_from_slice(cgroup.as_bytes());
    exec
}

fn exit(execution: u64) -> Exit {
    Exit {
        header: header(execution, kind::EXIT, 0),
        status: 0,
        reserved: 0,
    }
}

fn identity(tracker: &Tracker, execution: u64) -> Option<&Identity> {
    match tracker.execution(execution)?.owner {
        Owner::Subject(id) => Some(&tracker.get(id).identity),
        _ => None,
    }
}

fn tracker() -> Tracker {
    Tracker::new(Existing::with(&[], &[HOST_PID_NS]))
}

#[test]
fn the_command_and_its_descendants_are_one_subject() {
    let mut tracker = tracker();
    tracker.fork(&fork(1, 0, HOST_PID_NS, execution::SETUP));
    tracker.exec(&exec(2, 1, HOST_PID_NS, "/bin/sh", ""), |_container| false);
    tracker.fork(&fork(3, 2, HOST_PID_NS, 0));
    tracker.exec(&exec(4, 3, HOST_PID_NS, "/bin/chown", ""), |_container| {
        false
    });
    assert_eq!(tracker.subjects().count(), 1);
    for execution in 1..=4 {
        assert_eq!(identity(&tracker, execution), Some(&Identity::Command));
    }
    let setup: Vec<bool> = (1..=4)
        .filter_map(|execution| Some(tracker.execution(execution)?.setup))
        .collect();
    assert_eq!(setup, [true, false, false, false]);
    assert_eq!(
        tracker.execution(3).map(|execution| &*execution.exe),
        Some("/bin/sh")
    );
    let granted = tracker.subjects().map(|(_id, subject)| subject.granted);
    assert!(granted.eq([CapSet::from_bits(0b101)]));
}

#[test]
fn a_runtime_belongs_to_its_container_as_setup() {
    let mut tracker = tracker();
    tracker.adopt(&fork(1, 0, 70, execution::SETUP));
    tracker.fork(&fork(2, 1, 70, execution::SETUP));
    assert_eq!(identity(&tracker, 2), None, "nothing is known yet");
    tracker.exec(&exec(3, 2, 70, "/usr/sbin/nginx", ID), |_container| false);
    let expected = ContainerId::new(ID).map(Identity::Container);
    for execution in 1..=3 {
        assert_eq!(identity(&tracker, execution), expected.as_ref());
    }
    assert_eq!(
        tracker.execution(2).map(|execution| execution.setup),
        Some(true)
    );
    assert_eq!(
        tracker.execution(3).map(|execution| execution.setup),
        Some(false)
    );
}

#[test]
fn a_container_is_over_with_its_last_process_however_it_was_set_up() {
    let mut tracker = tracker();
    tracker.adopt(&fork(1, 0, 70, execution::SETUP));
    tracker.fork(&fork(2, 1, 70, execution::SETUP));
    // The runtime's first stage ends before anybody knows whose it was.
    tracker.exit(&exit(1));
    tracker.exec(&exec(3, 2, 70, "/app", ID), |_container| false);
    let is_live = |tracker: &Tracker| tracker.subjects().any(|(_, subject)| subject.is_live());
    assert!(is_live(&tracker));
    tracker.exit(&exit(3));
    assert!(!is_live(&tracker));
}

#[test]
fn what_is_executed_in_it_later_belongs_to_the_same_container() {
    let mut tracker = tracker();
    tracker.exec(&exec(1, 0, 70, "/init", ID), |_container| false);
    tracker.adopt(&fork(2, 0, 70, execution::SETUP));
    tracker.exec(&exec(3, 2, 70, "/bin/sh", ID), |_container| false);
    assert_eq!(tracker.subjects().count(), 1);
    assert_eq!(identity(&tracker, 2), identity(&tracker, 1));
}

#[test]
fn a_container_that_the_command_starts_itself_leaves_the_command() {
    let mut tracker = tracker();
    tracker.fork(&fork(1, 0, HOST_PID_NS, execution::SETUP));
    tracker.exec(
        &exec(2, 1, HOST_PID_NS, "/usr/bin/podman", ""),
        |_container| false,
    );
    tracker.fork(&fork(3, 2, HOST_PID_NS, 0));
    tracker.exec(
        &exec(4, 3, 80, "/app", &format!("libpod-{ID}.scope")),
        |_container| false,
    );
    assert_eq!(identity(&tracker, 3), Some(&Identity::Command));
    assert!(matches!(
        identity(&tracker, 4),
        Some(Identity::Container(_))
    ));
}

#[test]
fn namespaces_of_the_commands_own_making_do_not_leave_it() {
    let mut tracker = tracker();
    tracker.fork(&fork(1, 0, HOST_PID_NS, execution::SETUP));
    tracker.exec(
        &exec(2, 1, HOST_PID_NS, "/usr/bin/unshare", ""),
        |_container| false,
    );
    tracker.fork(&fork(3, 2, 90, 0));
    tracker.exec(&exec(4, 3, 90, "/bin/ls", "user.slice"), |_container| false);
    assert_eq!(identity(&tracker, 4), Some(&Identity::Command));
}

#[test]
fn what_was_there_before_is_none_of_ours() {
    let Some(container) = ContainerId::new(ID) else {
        panic!("the id is one");
    };
    let existing = Existing::with(&[(container, 70)], &[HOST_PID_NS, 70]);
    let mut tracker = Tracker::new(existing);
    // docker exec in a container that ran already
    tracker.exec(&exec(1, 0, 70, "/bin/sh", ID), |_container| false);
    // a service with private mounts
    tracker.exec(
        &exec(2, 0, HOST_PID_NS, "/usr/sbin/cups", "cups.service"),
        |_container| false,
    );
    for execution in 1..=2 {
        assert_eq!(
            tracker
                .execution(execution)
                .map(|execution| execution.owner),
            Some(Owner::Unrelated)
        );
    }
    let expected = [(1, 570), (2, 501)].map(|(execution, mount_namespace)| Unrelated {
        execution,
        process: execution as u32 + 1000,
        mount_namespace,
    });
    assert_eq!(tracker.take_unrelated(), expected);
    // The same container, stopped and started again: it is new.
    tracker.exec(&exec(3, 0, 71, "/init", ID), |_container| false);
    assert!(identity(&tracker, 3).is_some() && tracker.take_unrelated().is_empty());
}

#[test]
fn a_reused_namespace_of_an_unknown_engine_is_a_new_subject() {
    let mut tracker = tracker();
    tracker.exec(&exec(1, 0, 70, "/init", "lxc"), |_container| false);
    tracker.exit(&exit(1));
    tracker.exec(&exec(2, 0, 70, "/init", "lxc"), |_container| false);
    assert_eq!(tracker.subjects().count(), 2);
}

#[test]
fn what_came_from_a_lost_record_is_nobodys_until_its_cgroup_tells() {
    let mut tracker = tracker();
    tracker.fork(&fork(1, 0, HOST_PID_NS, execution::SETUP));
    // Execution 2 was never heard of.
    tracker.fork(&fork(3, 2, HOST_PID_NS, 0));
    tracker.exec(&exec(4, 3, HOST_PID_NS, "/bin/chown", ""), |_container| {
        false
    });
    tracker.exec(&exec(6, 5, HOST_PID_NS, "/bin/chown", ""), |_container| {
        false
    });
    for execution in [3, 4, 6] {
        assert_eq!(
            tracker
                .execution(execution)
                .map(|execution| execution.owner),
            Some(Owner::Lost)
        );
    }
    tracker.exec(&exec(7, 5, 70, "/init", ID), |_container| false);
    assert!(matches!(
        identity(&tracker, 7),
        Some(Identity::Container(_))
    ));
}

#[test]
fn an_end_found_out_and_its_late_record_are_one_end() {
    let mut tracker = tracker();
    tracker.fork(&fork(1, 0, HOST_PID_NS, execution::SETUP));
    tracker.exec(&exec(2, 1, HOST_PID_NS, "/bin/sh", ""), |_container| false);
    tracker.fork(&fork(3, 2, HOST_PID_NS, 0));
    let live = |tracker: &Tracker| {
        let mut live: Vec<u64> = tracker.live_executions().collect();
        live.sort_unstable();
        live
    };
    assert_eq!(live(&tracker), [2, 3]);
    tracker.missed_end(3);
    tracker.exit(&exit(3));
    assert!(tracker.is_live(&Identity::Command), "execution 2 lives");
    tracker.missed_end(2);
    assert!(!tracker.is_any_live() && live(&tracker).is_empty());
    // One that was never known takes room in the kernel's maps all the same.
    tracker.missed_end(9);
    assert_eq!(tracker.take_ended(), [1, 3, 2, 9]);
}

#[test]
fn what_was_met_before_the_audit_began_is_none_of_ours() {
    let mut tracker = tracker();
    tracker.exec(&exec(1, 0, 70, "/init", ID), |_container| false);
    let Some(container) = ContainerId::new(ID) else {
        panic!("the id is one");
    };
    tracker.disown(Existing::with(&[(container, 70)], &[HOST_PID_NS, 70]));
    tracker.fork(&fork(2, 1, 70, 0));
    tracker.exec(&exec(3, 2, 70, "/bin/sh", ID), |_container| false);
    assert_eq!(tracker.subjects().count(), 0);
    assert_eq!(identity(&tracker, 3), None);
}

#[test]
fn ended_executions_are_listed_once() {
    let mut tracker = tracker();
    tracker.fork(&fork(1, 0, HOST_PID_NS, execution::SETUP));
    tracker.exec(&exec(2, 1, HOST_PID_NS, "/bin/true", ""), |_container| {
        false
    });
    tracker.exit(&exit(2));
    assert_eq!(tracker.take_ended(), [1, 2]);
    assert_eq!(tracker.ended(), 0);
    tracker.forget(1);
    assert!(tracker.execution(1).is_none());
}

#[test]
fn what_is_executed_from_outside_in_an_old_container_is_a_part_of_it() {
    let mut tracker = tracker();
    let Some(container) = ContainerId::new(ID) else {
        panic!("the id is one");
    };
    tracker.disown(Existing::with(
        &[(container.clone(), 70)],
        &[HOST_PID_NS, 70],
    ));
    // The runtime, and what is executed; what that executes came from inside.
    tracker.adopt(&fork(1, 0, 70, execution::SETUP));
    tracker.exec(&exec(2, 1, 70, "/bin/sh", ID), |_container| true);
    tracker.fork(&fork(3, 2, 70, 0));
    tracker.exec(&exec(4, 3, 70, "/bin/chown", ID), |_container| false);
    // Something of its own that changes its mount namespace.
    tracker.exec(&exec(5, 0, 70, "/bin/own", ID), |_container| false);
    let part = Identity::ExecutedIn(container);
    for execution in 1..=4 {
        assert_eq!(identity(&tracker, execution), Some(&part));
    }
    assert_eq!(identity(&tracker, 5), None);
    assert!(
        tracker
            .subjects()
            .all(|(_id, subject)| !subject.seen_from_start)
    );
    // Where something else was attached to, it is of no interest.
    let mut attached = tracker_of(&Attached::Tree(1));
    attached.adopt(&fork(1, 0, 70, execution::SETUP));
    attached.exec(&exec(2, 1, 70, "/bin/sh", ID), |_container| true);
    assert_eq!(identity(&attached, 2), None);
}

fn tracker_of(attached: &Attached) -> Tracker {
    let Some(container) = ContainerId::new(ID) else {
        panic!("the id is one");
    };
    let mut tracker = Tracker::new(Existing::with(&[(container, 70)], &[HOST_PID_NS, 70]));
    tracker.expect(attached);
    tracker
}

#[test]
fn a_runtime_is_none_of_its_container_until_it_enters_the_mount_namespace() {
    let mut tracker = tracker();
    // An engine in a mount namespace of its own executes a runtime, puts it into the container's cgroup, and it executes
    // itself once more.
    tracker.fork(&fork(1, 0, HOST_PID_NS, execution::SETUP));
    tracker.exec(
        &exec(2, 1, 60, "/usr/bin/dockerd", "engine.service"),
        |_| false,
    );
    tracker.fork(&fork(3, 2, 60, 0));
    tracker.exec(&exec(4, 3, 60, "/usr/bin/runc", "engine.service"), |_| {
        false
    });
    tracker.exec(&exec(5, 4, 60, "/proc/self/fd/5", ID), |_| false);
    tracker.fork(&fork(6, 5, 70, 0));
    assert_eq!(identity(&tracker, 6), Some(&Identity::Command));
    tracker.exec(&exec(7, 6, 70, "/init", ID), |_| false);
    tracker.exec(&exec(8, 7, 70, "/app", ID), |_| false);
    for execution in [7, 8] {
        assert!(matches!(
            identity(&tracker, execution),
            Some(Identity::Container(_))
        ));
    }
}

#[test]
fn a_container_that_is_started_again_keeps_what_it_did_before() {
    let mut tracker = tracker();
    let Some(container) = ContainerId::new(ID) else {
        panic!("the id is one");
    };
    let identity = Identity::Container(container);
    let running = Running::of_test(identity.clone(), 70);
    tracker.attach(1, &running);
    tracker.exit(&exit(1));
    tracker.exec(&exec(2, 0, 70, "/init", ID), |_| false);
    let seen: Vec<bool> = tracker
        .subjects()
        .map(|(_id, subject)| subject.seen_from_start)
        .collect();
    assert_eq!(seen, [false]);
}

#[test]
fn what_still_runs_is_listed() {
    let mut tracker = tracker();
    tracker.fork(&fork(1, 0, HOST_PID_NS, execution::SETUP));
    tracker.exec(&exec(2, 1, HOST_PID_NS, "/bin/sh", ""), |_| false);
    tracker.fork(&fork(3, 2, HOST_PID_NS, 0));
    tracker.exec(&exec(4, 3, HOST_PID_NS, "/bin/sleep", ""), |_| false);
    tracker.exec(&exec(9, 0, 70, "/init", ID), |_| false);
    tracker.exit(&exit(2));
    let processes = tracker.live_processes(&Identity::Command);
    let pids: Vec<u32> = processes.iter().map(|(pid, _comm)| *pid).collect();
    assert_eq!(pids, [1004]);
}
