#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::ffi::OsString;

use capaudit_core::{
    capability::Capability,
    ledger::{Container, Hook, SCHEMA, Session},
};

use super::*;
use crate::enforce::{
    compose::{ComposeRun, Resolved},
    docker::DockerRun,
};

fn subject(name: &str, identity: impl Into<Subject>) -> SubjectRecord {
    SubjectRecord {
        name: name.to_owned(),
        granted: CapSet::from(Capability::CHOWN),
        ..SubjectRecord::new(identity)
    }
}

fn container(id: &str, name: &str, image: &str) -> SubjectRecord {
    subject(
        name,
        Container {
            id: Some(id.to_owned()),
            image: Some(image.to_owned()),
            ..Container::default()
        },
    )
}

fn service(project: &str, service: &str) -> SubjectRecord {
    subject(
        service,
        Container {
            id: Some(project.to_owned()),
            image: Some("image".to_owned()),
            compose_project: Some(project.to_owned()),
            compose_service: Some(service.to_owned()),
            ..Container::default()
        },
    )
}

fn command() -> SubjectRecord {
    subject("make test", Subject::Command)
}

fn ledger(subjects: Vec<SubjectRecord>) -> Ledger {
    Ledger {
        schema: SCHEMA.to_owned(),
        session: Session {
            exit_status: Some(0),
            ..Session::new(Hook::TpBtf)
        },
        subjects,
    }
}

fn words(text: &str) -> Vec<OsString> {
    text.split(' ').map(OsString::from).collect()
}

fn docker(text: &str) -> Enforcement {
    Enforcement::Docker(Box::new(DockerRun::parse(&words(text)).unwrap()))
}

fn found(
    enforcement: &Enforcement,
    subjects: Vec<SubjectRecord>,
    started: Option<&str>,
) -> Result<Vec<(String, Vec<usize>)>, String> {
    find(enforcement, &ledger(subjects), started, &[])
        .map(|targets| {
            targets
                .into_iter()
                .map(|target| (target.name, target.subjects))
                .collect()
        })
        .map_err(|error| error.to_string())
}

fn only(places: &[usize]) -> Result<Vec<(String, Vec<usize>)>, String> {
    Ok(vec![(String::new(), places.to_vec())])
}

#[test]
fn a_plain_command_is_the_command() {
    let bounding = Enforcement::Bounding(words("make test"));
    let subjects = vec![command(), container("1", "x", "a")];
    assert_eq!(found(&bounding, subjects, None), only(&[0]));
    let error = found(&bounding, vec![container("1", "x", "a")], None).unwrap_err();
    assert!(error.contains("--caps"), "{error}");
}

#[test]
fn a_container_is_known_by_the_id_that_its_client_told() {
    let subjects = || {
        vec![
            command(),
            container("1", "x", "a"),
            container("2", "y", "a"),
        ]
    };
    let run = docker("docker run a");
    assert_eq!(found(&run, subjects(), Some("2")), only(&[2]));
    let error = found(&run, subjects(), Some("3")).unwrap_err();
    assert!(error.contains("saw nothing"), "{error}");
}

#[test]
fn in_a_session_of_somebody_else_name_and_image_tell() {
    let subjects = || {
        vec![
            command(),
            container("1", "x", "a"),
            container("2", "y", "b"),
            container("3", "z", "b"),
        ]
    };
    assert_eq!(
        found(&docker("docker run --name y c"), subjects(), None),
        only(&[2])
    );
    // Two runs of the same image are two sessions of the same thing.
    assert_eq!(
        found(&docker("docker run b"), subjects(), None),
        only(&[2, 3])
    );
    let error = found(&docker("docker run c"), subjects(), None).unwrap_err();
    assert!(error.contains("x, y, z"), "{error}");
    let one = vec![command(), container("1", "x", "sha256:1")];
    assert_eq!(found(&docker("docker run c"), one, None), only(&[1]));
}

#[test]
fn services_are_those_of_the_project_that_were_started() {
    let run = ComposeRun::parse(&words("docker-compose run web"), "mine".to_owned()).unwrap();
    let resolved = "services:\n  db:\n    image: a\n  idle:\n    image: b\n  web:\n    image: c\n";
    let resolved = Resolved::new(resolved.to_owned()).unwrap();
    let compose = Enforcement::Compose(Box::new(run), resolved);
    let subjects = || {
        vec![
            command(),
            service("other", "web"),
            service("mine", "web"),
            service("mine", "db"),
        ]
    };
    assert_eq!(
        found(&compose, subjects(), Some("mine")),
        Ok(vec![
            ("db".to_owned(), vec![3]),
            ("web".to_owned(), vec![2])
        ])
    );
    assert_eq!(
        found(&compose, subjects(), None),
        Ok(vec![
            ("db".to_owned(), vec![3]),
            ("web".to_owned(), vec![1, 2])
        ])
    );
    assert!(found(&compose, vec![command()], None).is_err());
}

#[test]
fn what_was_granted_is_told_for_each_target() {
    let ledger = ledger(vec![service("mine", "db"), service("mine", "web")]);
    let target = |name: &str, subject| Target {
        name: name.to_owned(),
        subjects: vec![subject],
    };
    let findings = findings(&Report::of(&ledger), &[target("db", 0), target("web", 1)]);
    assert!(findings.candidates.is_empty());
    assert_eq!(
        findings.granted,
        Grants::new(vec![CapSet::from(Capability::CHOWN); 2])
    );
}
