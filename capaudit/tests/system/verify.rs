//! Sets, enforced: the exit status is the judge.

use std::process::{Command, Output};

use libtest_mimic::{Failed, Trial};

use crate::audit::{CAPAUDIT, Verdicts, ensure};

const IMAGE: &str = "gt-corpus:1";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("verify::bounding_minimizes_with_proofs", bounding),
        Trial::test("verify::docker_minimizes_with_proofs", docker),
        Trial::test(
            "verify::a_set_that_is_not_enough_fails_as_the_command_does",
            not_enough,
        ),
        Trial::test("verify::an_interrupted_search_goes_on", resumed),
        Trial::test("verify::lsm_works_or_says_why_not", lsm),
        Trial::test("verify::bad_usage", bad_usage),
        Trial::test("verify::a_child_that_cannot_trace_says_why", cannot_trace),
        Trial::test("verify::the_command_inherits_no_descriptor", no_descriptor),
    ]
}

fn verify(words: &[&str]) -> Result<Output, Failed> {
    Ok(Command::new(CAPAUDIT).arg("verify").args(words).output()?)
}

/// The names in a JSON array.
fn names(value: &serde_json::Value) -> Vec<&str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(serde_json::Value::as_str)
        .collect()
}

/// What `verify --minimize --format json` says: the set, its proofs, and how many runs it took. What it saves says the same.
fn minimized(words: &[&str]) -> Result<serde_json::Value, Failed> {
    let directory = tempfile::tempdir()?;
    let report = directory.path().join("report.json");
    let path = report.to_string_lossy().into_owned();
    let session = directory.path().join("session.json");
    let saved = session.to_string_lossy().into_owned();
    let mut all = vec!["--minimize", "--format", "json", "--output", &path];
    all.extend(["--save", &saved, "--"]);
    all.extend(words);
    let output = verify(&all)?;
    ensure(
        output.status.success(),
        String::from_utf8_lossy(&output.stderr),
    )?;
    let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(report)?)?;
    let again = Command::new(CAPAUDIT)
        .args(["report", "--format", "json", &saved])
        .output()?;
    let again: serde_json::Value = serde_json::from_slice(&again.stdout)?;
    ensure(again["subjects"] == report["subjects"], &again)?;
    Ok(report)
}

fn proven(verification: &serde_json::Value) -> Result<Vec<&str>, Failed> {
    let proofs = verification["proofs"].as_array().ok_or("no proofs")?;
    for proof in proofs {
        ensure(proof["exit_status"] != 0, proof)?;
    }
    Ok(proofs
        .iter()
        .filter_map(|proof| proof["capability"].as_str())
        .collect())
}

fn removed(verification: &serde_json::Value) -> Vec<&str> {
    verification["removed"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|removed| removed["capability"].as_str())
        .collect()
}

/// Each candidate is left out once, and the audit and the confirmation come on top.
fn few_runs(verification: &serde_json::Value) -> Verdicts {
    let candidates = proven(verification)?.len() + removed(verification).len();
    let runs = verification["runs"].as_u64().unwrap_or(u64::MAX);
    // One more for a member that was thought sure and is not, where something weaker was left out before: whether that could
    // stand in for it is tried first.
    let tried_twice = u64::from(!removed(verification).is_empty());
    ensure(runs <= candidates as u64 + 2 + tried_twice, verification)
}

/// chown of a file to another owner, whose failure is ignored, and a change of user, whose failure is not.
fn bounding() -> Verdicts {
    let file = tempfile::NamedTempFile::new()?;
    let script = format!(
        "chown 1 {} 2>/dev/null; exec setpriv --reuid=1 --clear-groups true",
        file.path().display()
    );
    let report = minimized(&["sh", "-c", &script])?;
    let verification = &report["verification"];
    ensure(verification["via"] == "bounding", verification)?;
    ensure(
        names(&report["subjects"][0]["cap_add"]) == ["SETGID", "SETUID"],
        &report,
    )?;
    ensure(proven(verification)? == ["SETGID", "SETUID"], verification)?;
    ensure(removed(verification).contains(&"CHOWN"), verification)?;
    few_runs(verification)
}

fn docker() -> Verdicts {
    let report = minimized(&[
        "docker",
        "run",
        "--rm",
        "--network",
        "none",
        "--cap-add",
        "NET_ADMIN",
        IMAGE,
        "sh",
        "-c",
        "chown 1 /etc/motd; chroot / true",
    ])?;
    let verification = &report["verification"];
    ensure(verification["via"] == "docker", verification)?;
    ensure(proven(verification)? == ["SYS_CHROOT"], verification)?;
    ensure(removed(verification) == ["CHOWN"], verification)?;
    few_runs(verification)
}

fn not_enough() -> Verdicts {
    let output = verify(&[
        "--caps",
        "KILL",
        "--",
        "sh",
        "-c",
        "chroot / true || exit 9",
    ])?;
    ensure(
        output.status.code() == Some(9),
        String::from_utf8_lossy(&output.stderr),
    )?;
    let output = verify(&["--caps", "sys_chroot", "--", "chroot", "/", "true"])?;
    ensure(
        output.status.success(),
        String::from_utf8_lossy(&output.stderr),
    )
}

/// What the audit, a process of its own, cannot do is told as if it were told by `verify` itself.
fn cannot_trace() -> Verdicts {
    let output = Command::new("setpriv")
        .args(["--bounding-set", "-bpf,-perfmon,-sys_admin", CAPAUDIT])
        .args(["verify", "--", "true"])
        .output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    const HINT: &str = "`capaudit doctor` tells what is missing and how to mend it";
    ensure(output.status.code() == Some(3), &told)?;
    let lines: Vec<&str> = told.lines().collect();
    let [why, hint] = lines[..] else {
        return Err(told.into_owned().into());
    };
    ensure(
        why.starts_with("capaudit: the command cannot be audited: capaudit may not trace here: ")
            && why.contains("CAP_BPF missing: run as root"),
        why,
    )?;
    ensure(hint == format!("capaudit: {HINT}"), hint)?;
    let output = verify(&["--", "/no/such"])?;
    ensure(output.status.code() == Some(127), output.status)?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure(
        told == "capaudit: cannot run \"/no/such\": No such file or directory (os error 2)\n",
        &told,
    )
}

/// Neither when it is audited nor when a set is enforced on it does the command get more than the three streams.
fn no_descriptor() -> Verdicts {
    // What the tests themselves were started with is not meant.
    let listed = Command::new("sh")
        .args([
            "-c",
            "for n in $(seq 3 300); do [ -e /proc/$$/fd/$n ] && echo $n; done; true",
        ])
        .output()?;
    let known = String::from_utf8(listed.stdout)?.replace('\n', " ");
    let script = format!(
        "for n in $(seq 3 300); do case ' {known}' in *\" $n \"*) ;; \
         *) [ -e /proc/$$/fd/$n ] && exit 7;; esac; done; true"
    );
    let output = verify(&["--minimize", "--", "sh", "-c", &script])?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure(output.status.success(), (output.status, &told))?;
    ensure(told.contains("run 2/"), &told)
}

/// With a state file, a second search makes no run again that the first has made.
fn resumed() -> Verdicts {
    let directory = tempfile::tempdir()?;
    let state = directory
        .path()
        .join("state.json")
        .to_string_lossy()
        .into_owned();
    let log = directory.path().join("runs");
    let script = format!("echo run >> {}; chroot / true", log.display());
    for expected in [3, 3] {
        let output = verify(&["--minimize", "--state", &state, "--", "sh", "-c", &script])?;
        ensure(
            output.status.success(),
            String::from_utf8_lossy(&output.stderr),
        )?;
        let runs = std::fs::read_to_string(&log)?.lines().count();
        ensure(
            runs == expected,
            (runs, String::from_utf8_lossy(&output.stderr)),
        )?;
    }
    Ok(())
}

/// Where the kernel lets it: on others `cargo xtask kernels` tests it.
fn lsm() -> Verdicts {
    let doctor = Command::new(CAPAUDIT).arg("doctor").output()?;
    let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
    let works = doctor
        .lines()
        .any(|line| line.starts_with("ok  verify --via lsm"));
    let output = verify(&["--via", "lsm", "--minimize", "--", "chroot", "/", "true"])?;
    let text = String::from_utf8_lossy(&output.stderr);
    if works {
        return ensure(output.status.success(), &text);
    }
    ensure(output.status.code() == Some(3), output.status)?;
    ensure(
        text.lines().count() == 1 && (text.contains("LSM") || text.contains("enforce_capable")),
        &text,
    )
}

fn bad_usage() -> Verdicts {
    for words in [
        &["--caps", "NO_SUCH", "--", "true"][..],
        &["--from", "/no/such/file", "--", "true"],
        &["--minimize"],
    ] {
        let output = verify(words)?;
        ensure(output.status.code() == Some(2), (words, output.status))?;
    }
    Ok(())
}
