//! Whose containers `capaudit run` reports: a neighbour starts one in the middle of each audit.

use std::{process::Command, thread, time::Duration};

use libtest_mimic::{Failed, Trial};

use crate::{
    audit::{Audited, CAPAUDIT, Verdicts, audit_payload, audit_with, ensure, needs},
    container::{IMAGE, docker, unique},
    project::Project,
};

/// How long an audited command goes on, so that the neighbour's container starts meanwhile.
const LONG: &str = "5";
/// When that starts: capaudit observes by then.
const NEIGHBOURS_START: Duration = Duration::from_millis(2500);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("mine::without_an_engine", without_an_engine),
        Trial::test("mine::docker_run", docker_run),
        Trial::test("mine::script_that_detaches", script),
        Trial::test("mine::docker_start", docker_start),
        Trial::test("mine::compose_project", compose),
        Trial::test("mine::asked_for_through_a_socket", through_a_socket),
        Trial::test("mine::patch_from_an_incomplete_record", patch),
        Trial::test("mine::unknown_container", unknown_container),
    ]
}

/// A container of somebody else, gone when this is.
struct Neighbour {
    name: String,
    start: Option<thread::JoinHandle<Result<String, String>>>,
}

impl Neighbour {
    /// Will start soon.
    fn soon(stem: &str) -> Self {
        let name = unique(&format!("neighbour-{stem}"));
        let container = name.clone();
        let start = thread::spawn(move || {
            thread::sleep(NEIGHBOURS_START);
            let words = [
                "run", "-d", "--rm", "--name", &container, IMAGE, "sleep", "60",
            ];
            docker(&words).map_err(|failed| format!("{failed:?}"))
        });
        Self {
            name,
            start: Some(start),
        }
    }

    /// Fails unless it started, and is nowhere but among what others had running.
    fn is_apart(&mut self, audited: &Audited) -> Verdicts {
        let started = self.start.take().ok_or("asked twice")?.join();
        started.map_err(|_panic| "the neighbour panicked")??;
        ensure(
            audited.container(&self.name).is_err(),
            &audited.report.subjects,
        )?;
        let record = audited
            .ledger
            .subjects
            .iter()
            .find(|it| it.name == self.name);
        ensure(record.is_some_and(|record| record.other), record)?;
        ensure(audited.report.session.others == 1, &audited.report.session)
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = Command::new("docker")
            .args(["rm", "-f", &self.name])
            .output();
    }
}

fn audit_strictly(command: &[&str]) -> Result<Audited, Failed> {
    audit_with(&["--strict"], command)
}

fn without_an_engine() -> Verdicts {
    let mut neighbour = Neighbour::soon("none");
    let audited = audit_strictly(&["sleep", LONG])?;
    audited.succeeded()?;
    neighbour.is_apart(&audited)?;
    ensure(audited.report.subjects.len() == 1, &audited.report.subjects)
}

fn docker_run() -> Verdicts {
    let name = unique("mine-run");
    for named in [true, false] {
        let mut neighbour = Neighbour::soon("run");
        let mut command = vec!["docker", "run", "--rm"];
        if named {
            command.extend(["--name", &name]);
        }
        let script = format!("chown 1 /opt; sleep {LONG}");
        command.extend([IMAGE, "sh", "-c", &script]);
        let audited = audit_strictly(&command)?;
        audited.succeeded()?;
        neighbour.is_apart(&audited)?;
        ensure(audited.report.subjects.len() == 2, &audited.report.subjects)?;
        needs(&audited.report.subjects[1], &["CHOWN"])?;
    }
    Ok(())
}

fn script() -> Verdicts {
    let (name, mut neighbour) = (unique("mine-detached"), Neighbour::soon("script"));
    let script = format!(
        "docker run -d --rm --name {name} {IMAGE} sh -c 'chown 1 /opt; sleep 3'; sleep {LONG}"
    );
    let audited = audit_strictly(&["sh", "-ec", &script])?;
    audited.succeeded()?;
    neighbour.is_apart(&audited)?;
    needs(audited.container(&name)?, &["CHOWN"])
}

/// A container from before that the command starts is the command's, and not seen from its start.
fn docker_start() -> Verdicts {
    let (name, mut neighbour) = (unique("mine-old"), Neighbour::soon("start"));
    docker(&["create", "--name", &name, IMAGE, "sleep", LONG])?;
    // Times of creation are told in seconds.
    thread::sleep(Duration::from_millis(1100));
    let audited = audit_with(&[], &["docker", "start", "-a", &name]);
    docker(&["rm", "-f", &name])?;
    let audited = audited?;
    audited.succeeded()?;
    neighbour.is_apart(&audited)?;
    let container = audited.container(&name)?;
    ensure(!container.seen_from_start, container)
}

fn compose() -> Verdicts {
    let project = Project::new(&format!(
        "services:
  web:
    image: {IMAGE}
    command: sh -c 'chown 1 /opt; sleep {LONG}'
  db:
    image: {IMAGE}
    command: sleep {LONG}
"
    ))?;
    let mut neighbour = Neighbour::soon("compose");
    project.audit()?;
    let report = |words: &[&str]| -> Result<serde_json::Value, Failed> {
        let words = [&["report", "--format", "json", "session.json"], words].concat();
        let (out, _) = project.expect(0, CAPAUDIT, &words)?;
        Ok(serde_json::from_str(&out)?)
    };
    let services = |report: &serde_json::Value| -> Vec<String> {
        let subjects = report["subjects"].as_array().cloned().unwrap_or_default();
        let mut names: Vec<String> = subjects
            .iter()
            .filter(|subject| subject["kind"] == "container")
            .map(|subject| {
                let service = subject["compose_service"].as_str().unwrap_or_default();
                let name = subject["name"].as_str().unwrap_or_default();
                if service.is_empty() { name } else { service }.to_owned()
            })
            .collect();
        names.sort();
        names
    };
    let audited = Audited {
        report: serde_json::from_value(report(&[])?)?,
        ledger: capaudit_storage::load(&project.file("session.json"))?,
        output: project.run("true", &[])?,
    };
    neighbour.is_apart(&audited)?;
    ensure(services(&report(&[])?) == ["db", "web"], report(&[])?)?;
    let with_others = services(&report(&["--others"])?);
    ensure(
        with_others == [neighbour.name.as_str(), "db", "web"],
        with_others,
    )?;
    let narrowed = services(&report(&["--service", "web"])?);
    ensure(narrowed == ["web"], narrowed)?;
    let words = ["report", "--container", "nobody", "session.json"];
    let (_, said) = project.expect(2, CAPAUDIT, &words)?;
    ensure(
        said.contains("no container \"nobody\"") && said.contains("_db_1"),
        said,
    )
}

/// A report on all else would be taken for that of the container that was asked for.
fn unknown_container() -> Verdicts {
    let directory = tempfile::tempdir()?;
    let saved = directory.path().join("session.json");
    let output = Command::new(CAPAUDIT)
        .args(["run", "--container", "nobody", "--save"])
        .arg(&saved)
        .args(["--", "true"])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure(
        output.status.code() == Some(2) && said.contains("no container \"nobody\" was audited"),
        &output,
    )?;
    ensure(!said.contains("needs"), &output)?;
    ensure(capaudit_storage::load(&saved)?.subjects.len() == 1, said)
}

/// What a program asks an engine for by itself cannot be told, so that everything after that is the command's.
fn through_a_socket() -> Verdicts {
    let name = unique("mine-api");
    let audited = audit_payload(&["--strict"], &["start-container", &name])?;
    audited.succeeded()?;
    needs(audited.container(&name)?, &["CHOWN", "SYS_CHROOT"])
}

fn patch() -> Verdicts {
    let project = Project::new(&format!(
        "services:
  web:
    image: {IMAGE}
    cap_add: [SYS_NICE]
    command: sh -c 'chown 1 /opt'
"
    ))?;
    project.expect(0, "docker-compose", &["up", "--no-start"])?;
    thread::sleep(Duration::from_millis(1100));
    let words = [
        "run",
        "--save",
        "session.json",
        "--output",
        "report.txt",
        "--",
    ];
    let words = [&words[..], &["docker-compose", "up"]].concat();
    project.expect(0, CAPAUDIT, &words)?;
    let before = project.read("compose.yaml")?;
    let words = [
        "export",
        "compose",
        "session.json",
        "--patch",
        "compose.yaml",
    ];
    let (_, said) = project.expect(2, CAPAUDIT, &words)?;
    ensure(
        said.contains("incomplete") && said.contains("--incomplete"),
        &said,
    )?;
    ensure(project.read("compose.yaml")? == before, "it was changed")?;
    project.expect(0, CAPAUDIT, &[&words[..], &["--incomplete"]].concat())?;
    let after = project.read("compose.yaml")?;
    let is_marked = after.starts_with("# capaudit: from an INCOMPLETE record");
    let keeps = ["SYS_NICE", "CHOWN", "KILL"]
        .iter()
        .all(|name| after.contains(name));
    ensure(is_marked && keeps && after.contains("ALL"), after)
}
