//! What calls show that profiles have conditions on, and what they do not.

use super::*;
use crate::ledger::Container;

pub(super) fn call(syscall: &str, arguments: [u64; 6]) -> CallRecord {
    CallRecord {
        arguments,
        ..CallRecord::sample(syscall)
    }
}

fn container(engine: Option<Engine>, version: &str, calls: Vec<CallRecord>) -> SubjectRecord {
    SubjectRecord {
        calls,
        ..SubjectRecord::new(Container {
            engine,
            engine_version: (!version.is_empty()).then(|| version.to_owned()),
            ..Container::default()
        })
    }
}

fn found(subject: &SubjectRecord) -> Vec<(CapSet, Evidence)> {
    needs(subject)
        .into_iter()
        .filter_map(|judgement| Some((judgement.satisfied_by()?.set(), judgement.evidence())))
        .collect()
}

fn needed(engine: Option<Engine>, syscall: &str, arguments: [u64; 6]) -> CapSet {
    let subject = container(engine, "", vec![call(syscall, arguments)]);
    found(&subject)
        .into_iter()
        .flat_map(|(set, _)| set)
        .collect()
}

const DOCKER: Option<Engine> = Some(Engine::Docker);
const PODMAN: Option<Engine> = Some(Engine::Podman);
const ADMIN: CapSet = CapSet::of(&[Capability::SYS_ADMIN]);
const NICE: CapSet = CapSet::of(&[Capability::SYS_NICE]);

#[test]
fn each_engine_has_its_own_conditions() {
    let unshare = |engine| needed(engine, "unshare", [0x1000_0000, 0, 0, 0, 0, 0]);
    assert_eq!(unshare(DOCKER), ADMIN);
    assert_eq!(unshare(Some(Engine::Containerd)), ADMIN);
    assert_eq!(unshare(PODMAN), CapSet::EMPTY);
    assert_eq!(unshare(None), ADMIN, "rather too many");
    assert_eq!(needed(PODMAN, "sethostname", [0; 6]), ADMIN);
}

#[test]
fn arguments_decide_where_the_profile_says_so() {
    let clone = |flags| needed(DOCKER, "clone", [flags, 0, 0, 0, 0, 0]);
    // A thread, and a fork that only wants a signal.
    assert_eq!(clone(0x003d_0f00), CapSet::EMPTY);
    assert_eq!(clone(0x11), CapSet::EMPTY);
    assert_eq!(clone(0x1000_0011), ADMIN);
}

#[test]
fn releases_differ_and_an_unknown_one_leaves_a_doubt() {
    let of =
        |engine, version, syscall| found(&container(engine, version, vec![call(syscall, [0; 6])]));
    let handle = |version| of(DOCKER, version, "name_to_handle_at");
    assert_eq!(handle("20.10.24+dfsg1"), [(ADMIN, Evidence::Decisive)]);
    assert_eq!(handle("28.3.3"), []);
    assert_eq!(handle(""), [(ADMIN, Evidence::Possible)]);
    let bpf = CapSet::of(&[Capability::SYS_ADMIN, Capability::BPF]);
    assert_eq!(of(DOCKER, "20.10.24", "bpf"), [(ADMIN, Evidence::Decisive)]);
    assert_eq!(of(DOCKER, "26.1.0", "bpf"), [(bpf, Evidence::Decisive)]);
    // Whichever it is, both are met.
    assert_eq!(
        of(DOCKER, "", "bpf"),
        [(ADMIN, Evidence::Possible), (bpf, Evidence::Possible)]
    );
    assert_eq!(
        of(PODMAN, "5.4.2", "fanotify_init"),
        [(ADMIN, Evidence::Decisive)]
    );
    assert_eq!(of(PODMAN, "5.5.0", "fanotify_init"), []);
}

#[test]
fn a_process_that_ran_in_a_container_already_is_confined_as_well() {
    let mut subject = SubjectRecord::new(Subject::Process {
        id: "7".to_owned(),
        engine: DOCKER,
        program: false,
    });
    subject.calls.push(call("unshare", [0; 6]));
    assert_eq!(found(&subject), [(ADMIN, Evidence::Decisive)]);
    subject.identity = Subject::Command;
    assert_eq!(found(&subject), []);
}

#[test]
fn clone3_is_needed_as_far_as_there_is_no_other_way() {
    // Hashes of the flags of pthread_create, of a plain fork, and of a new user namespace.
    let clone3 = |operation, version| {
        let mut call = call("clone3", [0; 6]);
        call.operation = operation;
        call.result = 7;
        found(&container(DOCKER, version, vec![call]))
    };
    assert_eq!(clone3(796_925_863, "24.0.0"), []);
    assert_eq!(clone3(0, "24.0.0"), [(ADMIN, Evidence::Possible)]);
    assert_eq!(clone3(0, "20.10.5"), [], "allowed to nobody");
    let user_namespace = 0x1000_0000u32.wrapping_mul(0x9e37_79b1).rotate_left(15);
    assert_eq!(
        clone3(user_namespace, "24.0.0"),
        [(ADMIN, Evidence::Decisive)]
    );
}

#[test]
fn a_policy_that_is_used_and_put_back_is_work() {
    let set = |mode| call("set_mempolicy", [mode, 1, 64, 0, 0, 0]);
    let of = |calls| container(DOCKER, "24.0.0", calls);
    const INTERLEAVE: u64 = 3;
    const PREFERRED_MANY: u64 = 5;
    let work = of(vec![set(INTERLEAVE), set(0)]);
    assert!(found(&work).contains(&(NICE, Evidence::Decisive)));
    assert_eq!(notes(&work), Vec::<String>::new());
    // libnuma when it is loaded.
    let probe = of(vec![
        call("get_mempolicy", [1, 1, 64, 0, 0, 0]),
        set(PREFERRED_MANY),
        set(0),
    ]);
    assert_eq!(found(&probe), []);
    assert_eq!(notes(&probe).len(), 1);
    let kept = of(vec![set(PREFERRED_MANY)]);
    assert!(found(&kept).contains(&(NICE, Evidence::Decisive)));
    let both = of(vec![set(PREFERRED_MANY), set(0), set(INTERLEAVE)]);
    assert!(found(&both).contains(&(NICE, Evidence::Decisive)));
    let asked = of(vec![call("get_mempolicy", [0; 6])]);
    assert_eq!(found(&asked), []);
    assert_eq!(notes(&asked).len(), 1);
}

#[test]
fn where_no_filter_was_in_force_there_is_a_note_instead_of_a_need() {
    let of = |seccomp| {
        let mut unshare = call("unshare", [0x1000_0000, 0, 0, 0, 0, 0]);
        unshare.seccomp = seccomp;
        let mut thread = call("clone3", [0; 6]);
        (thread.operation, thread.result, thread.seccomp) = (796_925_863, 7, seccomp);
        let subject = container(DOCKER, "24.0.0", vec![unshare, thread]);
        (found(&subject).len(), notes(&subject))
    };
    assert_eq!(of(Some(true)), (1, vec![]));
    assert_eq!(of(None), (1, vec![]));
    let (needs, notes) = of(Some(false));
    assert_eq!(needs, 0);
    assert_eq!(
        notes,
        [
            "no seccomp filter was in force: with Docker's default profile it would take SYS_ADMIN to call unshare"
        ]
    );
}
