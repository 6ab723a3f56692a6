//! Containers, with a real engine and the corpus's images.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use capaudit_core::{advise::Verdict, ledger::Kind, report::Report};
use libtest_mimic::{Failed, Trial};

use crate::{
    audit::{
        Audited, CAPAUDIT, Verdicts, audit, audit_payload, audit_with, capability, ensure, needs,
    },
    mounts,
};

pub(crate) const IMAGE: &str = "gt-corpus:1";

/// Scenarios whose one-run recommendation is to be exactly the truth.
const EXACT: [&str; 14] = [
    "chown-tree",
    "chronyd-x",
    "ionice-rt",
    "iptables-legacy",
    "mount-tmpfs",
    "nginx80",
    "overlay-edit",
    "ping-fcaps-user",
    "python80",
    "redis-entrypoint",
    "setpriv-bset",
    "tar-backup",
    "tar-extract",
    "unshare-userns",
];

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("container::executed_in_later", executed_in_later),
        Trial::test("container::started_through_the_api", through_the_api),
        Trial::test("container::there_before", there_before),
        Trial::test("container::made_before", made_before),
        Trial::test("container::part_of_a_life", part_of_a_life),
        Trial::test("container::churn_loses_nobody", churn),
        Trial::test("container::snippet_is_valid_compose", snippet),
        Trial::test("container::runtime_is_kept_apart", runtime),
        Trial::test(
            "container::engine_in_another_mount_namespace",
            other_mount_namespace,
        ),
        Trial::test("container::cgroup_of_version_2", cgroup_2),
        Trial::test("container::least_privilege", least_privilege),
    ];
    trials.extend(EXACT.into_iter().map(|name| {
        Trial::test(format!("container::scenario::{name}"), move || {
            scenario(name)
        })
    }));
    trials
}

/// capaudit with exactly what it says it needs sees everything; with one of them less it fails or says so.
fn least_privilege() -> Verdicts {
    const NEEDED: [&str; 5] = ["bpf", "perfmon", "syslog", "sys_ptrace", "dac_read_search"];
    let with = |names: &[&str]| -> Result<(Option<i32>, Option<Report>), Failed> {
        let file = tempfile::NamedTempFile::new()?;
        let mut set = "-all".to_owned();
        for name in names {
            set.push_str(&format!(",+{name}"));
        }
        let status = Command::new("setpriv")
            .args(["--bounding-set", &set, CAPAUDIT, "run", "--strict"])
            .args(["--format", "json", "--output"])
            .arg(file.path())
            .args(["--", "docker", "run", "--rm", IMAGE, "chown", "1", "/opt"])
            .stderr(Stdio::null())
            .status()?;
        let report = serde_json::from_str(&std::fs::read_to_string(file.path())?).ok();
        Ok((status.code(), report))
    };
    let (status, report) = with(&NEEDED)?;
    let report = report.ok_or("no report")?;
    ensure(status == Some(0), (status, &report.session))?;
    ensure(report.session.notes.is_empty(), &report.session)?;
    let container = report.subjects.get(1).ok_or("no container")?;
    needs(container, &["CHOWN"])?;
    for left_out in &NEEDED {
        let names: Vec<&str> = NEEDED.iter().copied().filter(|it| it != left_out).collect();
        let (status, report) = with(&names)?;
        let told = report
            .is_some_and(|report| !report.session.complete || !report.session.notes.is_empty());
        ensure(status == Some(3) || told, (left_out, status))?;
    }
    Ok(())
}

pub(crate) fn docker(words: &[&str]) -> Result<String, Failed> {
    let output = Command::new("docker")
        .args(words)
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        return Err(format!(
            "docker {words:?}: {} (`cargo xtask test` starts an engine and builds the images)",
            String::from_utf8_lossy(&output.stderr)
        )
        .into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/scenarios")
}

/// Options that grant everything this engine and this machine can grant: the names the engine knows, within
/// our own bounding set.
fn grant_all() -> Result<&'static [String], Failed> {
    static OPTIONS: OnceLock<Vec<String>> = OnceLock::new();
    if let Some(options) = OPTIONS.get() {
        return Ok(options);
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let bounding = status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))
        .ok_or("no CapBnd in /proc/self/status")?;
    let bounding: capaudit_core::capability::CapSet = bounding.trim().parse()?;
    let mut options = vec!["--cap-drop".to_owned(), "ALL".to_owned()];
    for name in bounding.names() {
        // The engine refuses names it is too old for before anything is created.
        let known = Command::new("docker")
            .args(["create", "--cap-add", name, IMAGE])
            .stderr(Stdio::null())
            .output()?;
        if known.status.success() {
            let container = String::from_utf8_lossy(&known.stdout).trim().to_owned();
            docker(&["rm", &container])?;
            options.extend(["--cap-add".to_owned(), name.to_owned()]);
        }
    }
    Ok(OPTIONS.get_or_init(|| options))
}

/// A name that no other test uses.
pub(crate) fn unique(stem: &str) -> String {
    format!("capaudit-test-{stem}-{}", std::process::id())
}

fn scenario(name: &str) -> Verdicts {
    let audited = audit_scenario(name)?;
    audited.succeeded()?;
    ensure(audited.report.session.complete, &audited.ledger.session)?;
    let truth: serde_json::Value = read(name, "truth.json")?;
    let preferred: Vec<String> = serde_json::from_value(truth["preferred"].clone())?;
    let preferred: Vec<&str> = preferred.iter().map(String::as_str).collect();
    let container = audited.container(&unique(name))?;
    needs(container, &preferred)?;
    let image = read(name, "scenario.json")?["image"].clone();
    ensure(
        container.image.as_deref() == image.as_str(),
        &container.image,
    )
}

pub(crate) fn audit_scenario(name: &str) -> Result<Audited, Failed> {
    let scenario: serde_json::Value = read(name, "scenario.json")?;
    let word = |key: &str| scenario[key].as_str().unwrap_or_default().to_owned();
    let words = |key: &str| -> Result<Vec<String>, Failed> {
        Ok(serde_json::from_value(scenario[key].clone())?)
    };
    let mut command: Vec<String> = ["docker", "run", "--rm", "--network", "none", "--name"]
        .into_iter()
        .map(str::to_owned)
        .collect();
    command.push(unique(name));
    command.extend_from_slice(grant_all()?);
    for option in words("security_opt")? {
        command.extend(["--security-opt".to_owned(), option]);
    }
    if word("user") != "root" {
        command.extend(["--user".to_owned(), word("user")]);
    }
    command.extend(words("docker_args")?);
    let directory = std::fs::canonicalize(corpus().join(name))?;
    command.push(format!("--volume={}:/scenario:ro", directory.display()));
    command.push(word("image"));
    command.extend(["bash".to_owned(), "/scenario/run.sh".to_owned()]);
    audit_with(&[], &command)
}

fn read(name: &str, file: &str) -> Result<serde_json::Value, Failed> {
    let path = corpus().join(name).join(file);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{path:?}: {error}"))?;
    Ok(serde_json::from_str(&text)?)
}

/// A container that is removed when the test is over.
struct Container(String);

impl Container {
    fn start(stem: &str) -> Result<Self, Failed> {
        let name = unique(stem);
        docker(&[
            "run",
            "--detach",
            "--rm",
            "--network",
            "none",
            "--name",
            &name,
            IMAGE,
            "sleep",
            "60",
        ])?;
        Ok(Self(name))
    }

    /// Runs a script, and can be stopped and started again.
    fn running(stem: &str, script: &str) -> Result<Self, Failed> {
        let container = Self(unique(stem));
        docker(&[
            "run",
            "--detach",
            "--network",
            "none",
            "--cap-add",
            "SYS_ADMIN",
            "--name",
            &container.0,
            IMAGE,
            "sh",
            "-c",
            script,
        ])?;
        Ok(container)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = docker(&["rm", "--force", &self.0]);
    }
}

fn executed_in_later() -> Verdicts {
    let name = unique("exec");
    let script = format!(
        "docker run --detach --rm --network none --name {name} {IMAGE} sleep 60 >/dev/null
         docker exec {name} chown 1 /etc/hostname.new /etc/motd 2>/dev/null || docker exec {name} chown 1 /etc/motd
         docker rm --force {name} >/dev/null"
    );
    let audited = audit(&["sh", "-ec", &script])?;
    audited.succeeded()?;
    let container = audited.container(&name)?;
    needs(container, &["CHOWN"])?;
    ensure(
        audited
            .report
            .subjects
            .iter()
            .filter(|subject| subject.kind == Kind::Container && subject.name == name)
            .count()
            == 1,
        "one container is one subject",
    )
}

/// What is executed in a container that was there before is a subject, and said to be a part of one.
fn there_before() -> Verdicts {
    let before = Container::start("before")?;
    let script = format!(
        "docker exec {} sh -c 'chown 1 /etc/motd; chroot / true; true'",
        before.0
    );
    let audited = audit_with(&["--strict"], &["sh", "-ec", &script])?;
    ensure(audited.output.status.code() == Some(4), &audited.output)?;
    ensure(!audited.report.session.complete, &audited.report.session)?;
    let part = audited.container(&before.0)?;
    needs(part, &["CHOWN", "SYS_CHROOT"])?;
    let [cause] = part.incomplete.as_slice() else {
        return Err(format!("not one cause: {:?}", part.incomplete).into());
    };
    ensure(
        cause.contains("only what was executed in it")
            && cause.contains(&format!("capaudit attach --container {}", before.0)),
        cause,
    )?;
    // What it does by itself is not the command's doing.
    let busy = Container::running(
        "busy",
        "while :; do unshare --mount sh -c 'chown 1 /etc/motd; sleep 0.5'; done",
    )?;
    let audited = audit(&["sleep", "1"])?;
    let names: Vec<&String> = audited.report.subjects.iter().map(|it| &it.name).collect();
    ensure(!names.contains(&&busy.0), names)
}

/// A volume that is made meanwhile and one that was there before are told apart, by events that Docker sends.
fn part_of_a_life() -> Verdicts {
    let (name, volume) = (unique("life"), unique("life-volume"));
    let mount = format!("{volume}:/data");
    let run = || {
        // Times of creation are told in seconds.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        audit(&[
            "docker", "run", "--rm", "--name", &name, "-v", &mount, IMAGE, "sleep", "0.5",
        ])
    };
    let (first, again) = (run(), run());
    docker(&["volume", "rm", "-f", &volume])?;
    for (audited, is_new) in [(first?, true), (again?, false)] {
        let container = audited.container(&name)?;
        let life = container.life.as_ref().ok_or("nothing is known")?;
        ensure(
            life.first_start && !life.restart && life.volumes_known,
            life,
        )?;
        ensure(
            life.on_new_volumes == is_new && life.on_existing_volumes != is_new,
            life,
        )?;
        ensure(life.new_volumes.contains(&volume) == is_new, life)?;
        ensure(life.existing_volumes.contains(&volume) != is_new, life)?;
        ensure(life.note().is_some_and(|it| it.contains(&volume)), life)?;
    }
    Ok(())
}

/// A container that was made before keeps what it did when it was started before, whoever starts it now.
fn made_before() -> Verdicts {
    let before = Container::running("made", "chown 1 /etc/motd; exec sleep 60")?;
    docker(&["stop", "--time", "0", &before.0])?;
    // An engine's dates are whole seconds.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let audited = audit_with(&["--strict"], &["docker", "start", &before.0])?;
    ensure(audited.output.status.code() == Some(4), &audited.output)?;
    let container = audited.container(&before.0)?;
    ensure(!container.seen_from_start, container)?;
    ensure(
        container.incomplete.len() == 1 && container.incomplete[0].contains("made anew"),
        &container.incomplete,
    )
}

fn churn() -> Verdicts {
    let name = unique("churn");
    let script = format!(
        "for i in 1 2 3 4 5 6 7 8 9 10; do docker run --rm --network none --name {name}-$i {IMAGE} chown $i /etc/motd; done"
    );
    let audited = audit(&["sh", "-ec", &script])?;
    audited.succeeded()?;
    for index in 1..=10 {
        let container = audited.container(&format!("{name}-{index}"))?;
        needs(container, &["CHOWN"])?;
        let found = capability(container, "CHOWN")?;
        // Once by the program, and where the engine uses overlayfs, once on its layer.
        ensure((1..=2).contains(&found.checks.granted), found)?;
        ensure(container.image.as_deref() == Some(IMAGE), &container.image)?;
    }
    Ok(())
}

fn snippet() -> Verdicts {
    let name = unique("snippet");
    let directory = tempfile::tempdir()?;
    let session = directory.path().join("session.json");
    let output = Command::new(CAPAUDIT)
        .args(["run", "--save"])
        .arg(&session)
        .args([
            "--",
            "docker",
            "run",
            "--rm",
            "--network",
            "none",
            "--name",
            &name,
            IMAGE,
        ])
        .args(["chown", "1", "/etc/motd"])
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure(
        output.status.success() && text.contains("For compose.yaml:"),
        &text,
    )?;
    let output = Command::new(CAPAUDIT)
        .args(["export", "compose", "--service", &name])
        .arg(&session)
        .output()?;
    let snippet = String::from_utf8_lossy(&output.stdout).into_owned();
    // As people use it: on top of the file that has the image.
    let base = directory.path().join("compose.yaml");
    std::fs::write(&base, format!("services:\n  {name}:\n    image: {IMAGE}\n"))?;
    let extra = directory.path().join("capabilities.yaml");
    std::fs::write(&extra, &snippet)?;
    let config = Command::new("docker-compose")
        .arg("-f")
        .arg(&base)
        .arg("-f")
        .arg(&extra)
        .arg("config")
        .output()?;
    let merged = String::from_utf8_lossy(&config.stdout);
    ensure(
        config.status.success(),
        String::from_utf8_lossy(&config.stderr),
    )?;
    for expected in ["- CHOWN", "- ALL", "no-new-privileges:true"] {
        ensure(merged.contains(expected), &merged)?;
    }
    let wrong = Command::new(CAPAUDIT)
        .args(["export", "compose", "--service", "nobody"])
        .arg(&session)
        .output()?;
    ensure(wrong.status.code() == Some(2), wrong.status)
}

/// As the libraries of test suites start containers.
fn through_the_api() -> Verdicts {
    let name = unique("api");
    let audited = audit_payload(&[], &["start-container", &name])?;
    audited.succeeded()?;
    ensure(audited.report.session.complete, &audited.ledger.session)?;
    let container = audited.container(&name)?;
    ensure(container.image.as_deref() == Some(IMAGE), container)?;
    needs(container, &["CHOWN", "SYS_CHROOT"])
}

fn runtime() -> Verdicts {
    let name = unique("runtime");
    let audited = audit(&[
        "docker",
        "run",
        "--rm",
        "--network",
        "none",
        "--name",
        &name,
        IMAGE,
        "true",
    ])?;
    audited.succeeded()?;
    let container = audited.container(&name)?;
    needs(container, &[])?;
    // It was seen, and kept apart.
    let found = capability(container, "SETPCAP")?;
    ensure(
        found.verdict == Verdict::Noise && found.reason.contains("before it was executed"),
        found,
    )
}

/// capaudit, or the engine, may have a mount namespace of its own.
fn other_mount_namespace() -> Verdicts {
    let name = unique("apart");
    let directory = tempfile::tempdir()?;
    let report = directory.path().join("report.json");
    let output = Command::new("unshare")
        .args(["--mount", CAPAUDIT, "run", "--format", "json", "--output"])
        .arg(&report)
        .args([
            "--",
            "docker",
            "run",
            "--rm",
            "--network",
            "none",
            "--name",
            &name,
            IMAGE,
        ])
        .args(["chown", "1", "/etc/motd"])
        .output()?;
    ensure(
        output.status.success(),
        String::from_utf8_lossy(&output.stderr),
    )?;
    let report: Report = serde_json::from_str(&std::fs::read_to_string(&report)?)?;
    let container = report
        .subjects
        .iter()
        .find(|subject| subject.name == name)
        .ok_or("the container was missed")?;
    needs(container, &["CHOWN"])
}

/// The unified hierarchy names a container as well: a process in a cgroup of such a name, with a pid
/// namespace of its own, is one.
fn cgroup_2() -> Verdicts {
    let unified = mounts::unified()?;
    let unified = unified.display();
    let id = "c0ffee".repeat(10) + "1234";
    let file = tempfile::NamedTempFile::new()?;
    let script = format!(
        "g={unified}/docker-{id}.scope; mkdir $g
         (echo 0 > $g/cgroup.procs; exec unshare --mount --pid --fork chown 1 {}); rmdir $g",
        file.path().display()
    );
    let audited = audit(&["sh", "-ec", &script])?;
    audited.succeeded()?;
    let container = container_with_id(&audited.report, &id)?;
    needs(container, &["CHOWN"])
}

fn container_with_id<'a>(
    report: &'a Report,
    id: &str,
) -> Result<&'a capaudit_core::report::SubjectReport, Failed> {
    report
        .subjects
        .iter()
        .find(|subject| subject.id.as_deref() == Some(id))
        .ok_or_else(|| format!("no container {id}: {:?}", report.subjects).into())
}
