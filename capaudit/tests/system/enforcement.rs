//! What `capaudit verify` does to the command: the set is really enforced, nothing is left behind, its status and
//! its end are the command's.

use std::{
    io::Read as _,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use capaudit_core::capability::Capability;
use capaudit_verify::Verified;
use libtest_mimic::{Failed, Trial};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::audit::{CAPAUDIT, Verdicts, ensure};

const IMAGE: &str = "gt-corpus:1";
/// It changes an owner in vain, and its root directory in earnest.
const CONTAINER: [&str; 10] = [
    "docker",
    "run",
    "--rm",
    "--network=none",
    "--cap-add",
    "SYS_NICE",
    IMAGE,
    "sh",
    "-c",
    "touch /f; chown 33 /f; chroot / true",
];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("enforcement::only_the_set_is_left", only_the_set),
        Trial::test("enforcement::execution_that_is_refused", refused_execution),
        Trial::test("enforcement::shown_command_repeats_the_proof", shown),
        Trial::test("enforcement::compose_services_are_told_apart", compose),
        Trial::test("enforcement::what_an_audit_missed_is_found", missed),
        Trial::test("enforcement::status_is_the_commands", status),
        Trial::test("enforcement::what_hangs_is_ended_with_all", hanging),
        Trial::test(
            "enforcement::ctrl_c_ends_at_once_and_is_resumed",
            interrupted,
        ),
        Trial::test("enforcement::taken_name_is_told", taken_name),
        Trial::test("enforcement::what_cannot_be_judged_is_refused", refused),
    ]
}

fn verify(options: &[&str], command: &[&str]) -> Result<Output, Failed> {
    let output = Command::new(CAPAUDIT)
        .arg("verify")
        .args(options)
        .arg("--")
        .args(command)
        .stdin(Stdio::null())
        .output()?;
    Ok(output)
}

fn verified(options: &[&str], command: &[&str]) -> Result<Verified, Failed> {
    let options = [&["--format", "json"], options].concat();
    let output = verify(&options, command)?;
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("no result ({error}): {}", text(&output.stderr)).into())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn none_runs(pattern: &str) -> Verdicts {
    let output = Command::new("pgrep").args(["-f", pattern]).output()?;
    ensure(output.stdout.is_empty(), text(&output.stdout))
}

fn no_container_is_left() -> Verdicts {
    let output = Command::new("docker")
        .args(["ps", "--all", "--quiet"])
        .args(["--filter", "label=capaudit.verify"])
        .output()?;
    ensure(output.stdout.is_empty(), text(&output.stdout))
}

fn only_the_set() -> Verdicts {
    let found = verified(
        &["--caps", "CHOWN,SETUID"],
        &["sh", "-c", "grep ^Cap /proc/self/status; exit 3"],
    )?
    .verification;
    ensure(!found.passed && found.exit_status == 3, &found)?;
    let expected = [
        "CapInh: 0000000000000000",
        "CapPrm: 0000000000000081",
        "CapEff: 0000000000000081",
        "CapBnd: 0000000000000081",
        "CapAmb: 0000000000000000",
    ];
    ensure(found.output == expected, &found.output)
}

/// `cap_bprm_creds_from_file` refuses to execute a file whose effective capabilities are not in the bounding set.
fn refused_execution() -> Verdicts {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("true");
    std::fs::copy("/bin/true", &file)?;
    let path = file.to_str().ok_or("path")?;
    let set = Command::new("setcap")
        .args(["cap_net_raw+ep", path])
        .status()?;
    ensure(set.success(), set)?;
    let found = verified(&["--minimize"], &[path])?.verification;
    ensure(
        found.passed && found.set == Capability::NET_RAW.into(),
        &found,
    )?;
    ensure(
        found.proofs.iter().all(|proof| proof.exit_status == 126),
        &found,
    )
}

fn shown() -> Verdicts {
    let found = verified(&["--minimize"], &CONTAINER)?;
    let report = found.report.as_ref().ok_or("no report")?;
    ensure(report.session.command == CONTAINER, &report.session)?;
    let [proof] = found.verification.proofs.as_slice() else {
        return Err(format!("not one proof: {:#?}", found.verification).into());
    };
    let output = Command::new(&proof.command[0])
        .args(&proof.command[1..])
        .output()?;
    ensure(output.status.code() == Some(125), (proof, &output))?;
    ensure(
        proof
            .output
            .iter()
            .any(|line| line.contains("chroot: cannot change root")),
        proof,
    )?;
    no_container_is_left()
}

/// The second service waits for what the first one does with a capability. `1e3` is text to compose 1, and a number
/// to others.
const COMPOSE: &str = r#"
version: "3.9"
services:
  db:
    image: gt-corpus:1
    network_mode: none
    cap_add: [SYS_NICE, NET_ADMIN]
    environment: {NUMBER: "1e3"}
    stop_grace_period: 0s
    volumes: ["data:/data"]
    command: ["sh", "-c", "test $$NUMBER = 1e3 && touch /data/f && chown 33 /data/f && touch /data/up; sleep 20"]
  test:
    image: gt-corpus:1
    network_mode: none
    stop_grace_period: 0s
    volumes: ["data:/data"]
    depends_on: [db]
    command: ["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do test -e /data/up && exec chroot / true; sleep 0.3; done; exit 4"]
volumes:
  data: {}
"#;

fn compose() -> Verdicts {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("compose.yaml");
    std::fs::write(&file, COMPOSE)?;
    let file = file.to_str().ok_or("path")?;
    let command = [
        "docker-compose",
        "-f",
        file,
        "up",
        "--exit-code-from",
        "test",
    ];
    let found = verified(&["--minimize"], &command)?.verification;
    ensure(found.passed, &found)?;
    let sets: Vec<String> = found
        .services
        .iter()
        .map(|(service, set)| {
            let names: Vec<&str> = set.names().collect();
            format!("{service}={}", names.join(","))
        })
        .collect();
    ensure(sets == ["db=CHOWN", "test=SYS_CHROOT"], &found)?;
    let proofs: Vec<(&str, i32)> = found
        .proofs
        .iter()
        .map(|proof| (proof.of.service.as_str(), proof.exit_status))
        .collect();
    ensure(proofs == [("db", 4), ("test", 125)], &found)?;
    let options = ["--caps", &sets[0], "--caps", &sets[1]];
    ensure(verify(&options, &command)?.status.success(), options)?;
    for kind in ["volume", "network"] {
        let left = Command::new("docker").args([kind, "ls"]).output()?;
        let left = text(&left.stdout);
        ensure(!left.contains("capaudit-"), left)?;
    }
    Ok(())
}

fn missed() -> Verdicts {
    let directory = tempfile::tempdir()?;
    let session = directory.path().join("session.json");
    let session = session.to_str().ok_or("path")?;
    let audited = Command::new(CAPAUDIT)
        .args(["run", "--save", session, "--"])
        .args(CONTAINER)
        .output()?;
    ensure(audited.status.success(), text(&audited.stderr))?;
    let mut ledger = capaudit_storage::load(Path::new(session))?;
    for subject in &mut ledger.subjects {
        subject
            .checks
            .retain(|check| check.identity.capability != Capability::SYS_CHROOT);
    }
    capaudit_storage::save(&ledger, Path::new(session))?;

    let output = verify(&["--from", session], &CONTAINER)?;
    ensure(output.status.code() == Some(125), output.status)?;
    let output = verify(&["--minimize", "--from", session], &CONTAINER)?;
    ensure(output.status.success(), text(&output.stderr))?;
    let told = text(&output.stdout);
    ensure(told.contains("THE AUDIT MISSED SYS_CHROOT"), told)?;
    let found = verified(&["--minimize", "--from", session], &CONTAINER)?.verification;
    ensure(found.set == Capability::SYS_CHROOT.into(), &found)?;
    let names = found.missed.iter().map(|it| it.capability.name());
    ensure(names.eq(["SYS_CHROOT"]), &found)
}

fn status() -> Verdicts {
    for (options, command, expected) in [
        (&["--caps", "NONE"][..], &["true"][..], 0),
        (&["--caps", "NONE"], &["sh", "-c", "exit 7"], 7),
        (&["--caps", "NONE"], &["sh", "-c", "kill -KILL $$"], 137),
        (&[], &["sh", "-c", "exit 9"], 9),
        (&["--minimize"], &["sh", "-c", "exit 9"], 9),
        (&["--caps", "NONE"], &["/no/such/program"], 127),
        (&[], &["/no/such/program"], 127),
        (&[], &["/etc/passwd"], 126),
    ] {
        let output = verify(options, command)?;
        ensure(
            output.status.code() == Some(expected),
            (options, command, output.status, text(&output.stderr)),
        )?;
    }
    Ok(())
}

fn hanging() -> Verdicts {
    let started = Instant::now();
    let script = "echo before; (setsid sleep 7531 &) ; sleep 7531";
    let found =
        verified(&["--caps", "NONE", "--timeout", "1"], &["sh", "-c", script])?.verification;
    ensure(!found.passed && found.exit_status == 137, &found)?;
    ensure(found.output == ["before"], &found)?;
    let script = "trap '' TERM; sleep 7532";
    let command = ["docker", "run", "--network=none", IMAGE, "sh", "-c", script];
    let found = verified(&["--caps", "NONE", "--timeout", "2"], &command)?.verification;
    ensure(found.exit_status == 137, &found)?;
    ensure(
        started.elapsed() < Duration::from_secs(15),
        started.elapsed(),
    )?;
    // What a run leaves behind is ended even if the run itself succeeds.
    let script = "(setsid sleep 7532 &)";
    let found = verified(&["--caps", "NONE"], &["sh", "-c", script])?.verification;
    ensure(found.passed, &found)?;
    none_runs("sleep 753[12]")?;
    no_container_is_left()
}

fn interrupted() -> Verdicts {
    let directory = tempfile::tempdir()?;
    let file = |name: &str| directory.path().join(name);
    let (state, report, go) = (file("state.json"), file("report.json"), file("go"));
    // The first run passes, the second hangs until it is told to go on.
    let script = format!(
        "cd {}; echo >>runs; test $(wc -l <runs) -lt 2 || test -e go || sleep 7533; touch f; chown 33 f; chroot / true",
        directory.path().display()
    );
    let command = || {
        let mut command = Command::new(CAPAUDIT);
        command
            .args(["verify", "--minimize", "--caps", "CHOWN,SYS_CHROOT"])
            .arg("--state")
            .arg(&state)
            .args(["--format", "json", "--output"])
            .arg(&report)
            .args(["--", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        command
    };
    let mut child = command().spawn()?;
    let mut stderr = child.stderr.take().ok_or("no stderr")?;
    let mut told = String::new();
    let mut byte = [0];
    while !told.contains('\n') {
        ensure(stderr.read(&mut byte)? == 1, &told)?;
        told.push(char::from(byte[0]));
    }
    let before = Instant::now();
    kill(Pid::from_raw(child.id().try_into()?), Signal::SIGINT)?;
    stderr.read_to_string(&mut told)?;
    let status = child.wait()?;
    ensure(before.elapsed() < Duration::from_secs(3), &told)?;
    ensure(status.signal() == Some(2), (status, &told))?;
    ensure(told.contains("is kept in"), &told)?;
    none_runs("sleep 7533")?;
    ensure(
        !report.exists(),
        "a result of a verification that was stopped",
    )?;

    std::fs::write(&go, "")?;
    let output = command().output()?;
    let told = text(&output.stderr);
    ensure(output.status.success(), &told)?;
    ensure(told.contains("(kept from before)"), &told)?;
    let found: Verified = serde_json::from_slice(&std::fs::read(&report)?)?;
    ensure(
        found.verification.set == Capability::SYS_CHROOT.into(),
        &found,
    )?;
    let mut files: Vec<String> = std::fs::read_dir(directory.path())?
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    files.sort();
    ensure(
        files == ["f", "go", "report.json", "runs", "state.json"],
        &files,
    )?;
    let other = verify(&["--state", state.to_str().ok_or("path")?], &["true"])?;
    ensure(other.status.code() == Some(2), text(&other.stderr))
}

fn taken_name() -> Verdicts {
    let name = format!("capaudit-test-taken-{}", std::process::id());
    let docker = |words: &[&str]| Command::new("docker").args(words).output();
    let made = docker(&["create", "--name", &name, IMAGE, "true"])?;
    ensure(made.status.success(), text(&made.stderr))?;
    let command = [
        "docker",
        "run",
        "--name",
        &name,
        "--network=none",
        IMAGE,
        "true",
    ];
    let taken = verify(&["--caps", "NONE"], &command);
    docker(&["rm", "--force", &name])?;
    let taken = taken?;
    ensure(taken.status.code() == Some(2), text(&taken.stderr))?;
    ensure(text(&taken.stderr).contains(&name), text(&taken.stderr))?;
    // And no run takes it from the next, although none of them removes its container.
    let free = verify(&["--caps", "NONE", "--repeat", "2"], &command)?;
    ensure(free.status.success(), text(&free.stderr))?;
    no_container_is_left()
}

fn refused() -> Verdicts {
    for words in [
        &["--caps", "63", "--", "true"][..],
        &["--caps", "NONE", "--from", "x", "--", "true"],
        &["--state", "/no/such/directory/x", "--", "true"],
        &["--output", "/no/such/directory/x", "--", "true"],
        &["--via", "magic", "--", "true"],
        &["--via", "docker", "--", "true"],
        &["--repeat", "0", "--", "true"],
        &["--", "docker", "ps"],
        &["--", "docker", "run", "-d", IMAGE],
        &["--", "docker", "run", "--no-such-option", "x", IMAGE],
        &["--", "docker-compose", "up"],
    ] {
        let output = Command::new(CAPAUDIT).arg("verify").args(words).output()?;
        ensure(
            output.status.code() == Some(2),
            (words, output.status, text(&output.stderr)),
        )?;
        ensure(output.stdout.is_empty() && !output.stderr.is_empty(), words)?;
    }
    // It starts no container, so that there is nothing that the set could be enforced on.
    let nothing = verify(&["--caps", "web=CHOWN"], &["true"])?;
    ensure(nothing.status.code() == Some(3), nothing.status)?;
    ensure(
        text(&nothing.stderr).contains("not verified: nothing was enforced on web"),
        text(&nothing.stderr),
    )
}
