//! `capaudit harden`: whole lives of compose projects, led for real.

use std::{
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use libtest_mimic::{Failed, Trial};

use crate::{
    audit::{CAPAUDIT, Verdicts, ensure},
    container::docker,
    project::Project,
};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("harden::a_later_start_needs_more_than_the_first", later),
        Trial::test("harden::proofs_and_what_is_saved", proofs),
        Trial::test("harden::what_was_found_is_locked", locked),
        Trial::test("harden::what_is_mounted_is_copied", mounted),
        Trial::test("harden::a_failed_test_writes_nothing", failed_test),
        Trial::test("harden::killed_it_leaves_nothing", killed),
        Trial::test("harden::the_command_of_one_container", command),
        Trial::test("harden::bad_usage", bad_usage),
    ]
}

/// A service that gives its directory to somebody else at the first start, as databases do: from then on root, which has to look into
/// it, is a stranger there. Then it serves until it is stopped.
const DATABASE: &str = "\
services:
  # Its data is its own.
  db:
    image: gt-corpus:1
    network_mode: none
    command: [/srv/script/serve.sh]
    volumes:
      - data:/data
      - ./script:/srv/script:ro
volumes:
  data:
";

const SERVE: &str = "\
#!/bin/sh
set -e
trap 'exit 0' TERM
mkdir -p /data/own
find /data/own -mindepth 1 > /dev/null
if [ \"$(stat -c %u /data/own)\" = 0 ]; then
    chmod 700 /data/own
    chown 33:33 /data/own
fi
chmod 700 /data/own 2> /dev/null || :
sleep 1000 &
wait
";

fn database() -> Result<Project, Failed> {
    let project = Project::new(DATABASE)?;
    project.write("script/serve.sh", SERVE)?;
    let script = project.file("script/serve.sh");
    ensure(
        Command::new("chmod")
            .arg("755")
            .arg(&script)
            .status()?
            .success(),
        script,
    )?;
    Ok(project)
}

/// Containers, volumes and networks that a `harden` made: none may be there when no `harden` runs.
fn left() -> Result<Vec<String>, Failed> {
    let mut left = Vec::new();
    for words in [
        ["ps", "--all", "--quiet", "--filter", "name=capaudit-"].as_slice(),
        &["volume", "ls", "--quiet", "--filter", "name=capaudit-"],
        &["network", "ls", "--quiet", "--filter", "name=capaudit-"],
    ] {
        left.extend(docker(words)?.split_whitespace().map(str::to_owned));
    }
    Ok(left)
}

fn nothing_is_left() -> Verdicts {
    let left = left()?;
    ensure(left.is_empty(), left)
}

fn later() -> Verdicts {
    let project = database()?;
    let (out, err) = project.expect(0, CAPAUDIT, &["harden", "--write", "compose.yaml"])?;
    let after = project.read("compose.yaml")?;
    ensure(
        after.contains("cap_add:\n      - CHOWN\n      - DAC_READ_SEARCH\n"),
        (&after, &out, &err),
    )?;
    ensure(after.contains("# Its data is its own."), &after)?;
    ensure(
        out.contains("+      - DAC_READ_SEARCH"),
        "no difference is shown",
    )?;
    let needs = |name: &str| {
        out.lines()
            .skip_while(|line| !line.trim_start().starts_with(&format!("{name}:")))
            .take(2)
            .flat_map(str::split_whitespace)
            .collect::<Vec<_>>()
            .join(" ")
    };
    ensure(needs("CHOWN").contains("in the phase start)"), &out)?;
    ensure(
        needs("DAC_READ_SEARCH").contains("in the phases restart, recreate)"),
        &out,
    )?;
    nothing_is_left()?;
    // Of the first start alone it is not known.
    let project = database()?;
    project.expect(
        0,
        CAPAUDIT,
        &["harden", "--phases", "start", "--write", "compose.yaml"],
    )?;
    let after = project.read("compose.yaml")?;
    ensure(!after.contains("DAC_READ_SEARCH"), after)
}

fn proofs() -> Verdicts {
    let project = database()?;
    let words = [
        "harden",
        "--proofs",
        "--save",
        "session.json",
        "compose.yaml",
    ];
    let (out, err) = project.expect(0, CAPAUDIT, &words)?;
    // A chmod whose failure the script does not mind.
    for expected in [
        "not needed: FOWNER of db",
        "CHOWN of db is needed",
        "DAC_READ_SEARCH of db is needed",
        "restart: service db ended with status",
    ] {
        ensure(out.contains(expected), (expected, &out, &err))?;
    }
    // What is shown as a proof can be repeated.
    let proof = out
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("$ capaudit "))
        .find(|line| line.contains("--caps db=CHOWN "))
        .ok_or_else(|| format!("no run without DAC_READ_SEARCH: {out}"))?;
    let words: Vec<&str> = proof.split(' ').collect();
    let (out, err) = project.expect(1, CAPAUDIT, &words)?;
    ensure(out.contains("restart: service db ended"), (out, err))?;
    ensure(
        project.read("compose.yaml")? == DATABASE,
        "it was written without being asked for",
    )?;
    let export = ["export", "compose", "session.json"];
    let (snippet, _) = project.expect(0, CAPAUDIT, &export)?;
    ensure(
        snippet.contains("- CHOWN") && snippet.contains("- DAC_READ_SEARCH"),
        &snippet,
    )?;
    ensure(!snippet.contains("- FOWNER"), &snippet)?;
    nothing_is_left()
}

fn locked() -> Verdicts {
    let project = database()?;
    let harden = ["harden", "--proofs", "--write", "compose.yaml"];
    let (_, err) = project.expect(0, CAPAUDIT, &harden)?;
    ensure(err.contains("capaudit.lock: written"), err)?;
    let text = project.read("capaudit.lock")?;
    let lock: serde_json::Value = serde_json::from_str(&text)?;
    let db = &lock["services"]["db"];
    ensure(
        db["capabilities"]["CHOWN"]["phases"] == serde_json::json!(["start"])
            && db["capabilities"]["DAC_READ_SEARCH"]["proof"]
                .as_str()
                .is_some_and(|proof| proof.starts_with("restart: service db ended"))
            && db["not_needed"]["FOWNER"]["evidence"] == "proven"
            && db["exercised"]["enforced"] == true
            && db["image"]["id"].as_str().is_some_and(|id| id.len() == 64),
        &text,
    )?;
    let check = ["check", "--lock"];
    let (out, _) = project.expect(0, CAPAUDIT, &check)?;
    ensure(out.starts_with("0 errors, 0 warnings, 0 notes"), out)?;
    // What is known is not found out again.
    let (out, err) = project.expect(0, CAPAUDIT, &harden)?;
    ensure(
        err.contains("capaudit.lock still holds") && out.is_empty(),
        (out, err),
    )?;
    let hardened = project.read("compose.yaml")?;
    for (from, to, status, expected) in [
        (
            "- CHOWN\n",
            "- CHOWN\n      - KILL\n",
            1,
            "error[lock-drift]: service db is granted KILL",
        ),
        (
            "- CHOWN\n",
            "",
            1,
            "error[lock-drift]: service db is not granted CHOWN",
        ),
        (
            "serve.sh]",
            "serve.sh, now]",
            1,
            "warning[definition-changed]",
        ),
        ("gt-corpus:1", "gt-corpus:2", 1, "warning[image-changed]"),
        (
            "# Its data",
            "# The data",
            0,
            "0 errors, 0 warnings, 0 notes",
        ),
    ] {
        project.write("compose.yaml", &hardened.replacen(from, to, 1))?;
        let (out, err) = project.expect(status, CAPAUDIT, &check)?;
        ensure(out.contains(expected), (to, out, err))?;
    }
    project.write("capaudit.lock", "{}")?;
    let (_, err) = project.expect(2, CAPAUDIT, &check)?;
    ensure(
        err.contains("it is no lock") && err.lines().count() == 1,
        err,
    )?;
    std::fs::remove_file(project.file("capaudit.lock"))?;
    let (_, err) = project.expect(2, CAPAUDIT, &check)?;
    ensure(err.contains("there is no \"capaudit.lock\""), err)?;
    nothing_is_left()
}

fn mounted() -> Verdicts {
    let project = Project::new(
        "\
services:
  job:
    image: gt-corpus:1
    network_mode: none
    command: sh -ec 'echo written >> /mine/file; chown 33:33 /mine'
    volumes:
      - ./mine:/mine
",
    )?;
    project.write("mine/file", "before\n")?;
    project.expect(0, CAPAUDIT, &["harden", "--write", "compose.yaml"])?;
    ensure(
        project.read("mine/file")? == "before\n",
        project.read("mine/file")?,
    )?;
    ensure(
        project.read("compose.yaml")?.contains("- CHOWN"),
        project.read("compose.yaml")?,
    )?;
    // Of the machine's own places no copy is made, and nothing else is done.
    let project = Project::new(
        "\
services:
  job:
    image: gt-corpus:1
    command: [\"true\"]
    volumes:
      - /etc:/mine
",
    )?;
    let (_, err) = project.expect(3, CAPAUDIT, &["harden", "compose.yaml"])?;
    ensure(
        err.contains("\"/etc\" writable") && err.contains("--as-is"),
        err,
    )?;
    nothing_is_left()
}

fn failed_test() -> Verdicts {
    let project = database()?;
    let test = "test \"$CAPAUDIT_PHASE\" != restart && test -n \"$CAPAUDIT_DB_CONTAINER\"";
    let (out, err) = project.expect(
        1,
        CAPAUDIT,
        &["harden", "--write", "compose.yaml", "--", "sh", "-c", test],
    )?;
    ensure(
        out.contains("restart: the test failed: exit status: 1"),
        (&out, &err),
    )?;
    ensure(
        project.read("compose.yaml")? == DATABASE,
        "it was written although the test failed",
    )?;
    nothing_is_left()
}

/// The same life, of a `docker run`, whose options are not taken for capaudit's.
fn command() -> Verdicts {
    let project = database()?;
    let test = "echo $CAPAUDIT_PHASE >> phases";
    let script = format!("{}:/srv/script:ro", project.file("script").display());
    let run = [
        "docker",
        "run",
        "-d",
        "--rm",
        "--name",
        "db",
        "-v",
        "data:/data",
        "-v",
        &script,
        "--network",
        "none",
    ];
    let words = [
        "gt-corpus:1",
        "/srv/script/serve.sh",
        "--",
        "sh",
        "-c",
        test,
    ];
    let line = [&["harden", "--test-as-root"], &run[..], &words].concat();
    let (out, err) = project.expect(0, CAPAUDIT, &line)?;
    let hardened = "docker run --cap-drop ALL --cap-add CHOWN --cap-add DAC_READ_SEARCH --cap-add FOWNER -d --rm --name db -v data:/data";
    ensure(out.contains(hardened), (&out, &err))?;
    ensure(
        out.trim_end().ends_with("gt-corpus:1 /srv/script/serve.sh"),
        &out,
    )?;
    let phases = project.read("phases")?;
    ensure(
        phases.lines().take(3).eq(["start", "restart", "recreate"]),
        &phases,
    )?;
    project.expect(
        2,
        CAPAUDIT,
        &["harden", "docker", "run", "--gpus", "all", "gt-corpus:1"],
    )?;
    project.expect(
        2,
        CAPAUDIT,
        &["harden", "--write", "docker", "run", "gt-corpus:1"],
    )?;
    nothing_is_left()
}

/// At some moments of the way, by signals that can be handled and one that cannot.
fn killed() -> Verdicts {
    let project = database()?;
    for (after, signal) in [(1500, "KILL"), (4000, "KILL"), (6000, "TERM")] {
        // SAFETY: between fork and execve only one system call is made.
        let mut harden = unsafe {
            Command::new(CAPAUDIT)
                .args(["harden", "--write", "compose.yaml"])
                .current_dir(project.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .pre_exec(|| Ok(rustix::process::setsid().map(drop)?))
                .spawn()?
        };
        std::thread::sleep(Duration::from_millis(after));
        let pid = harden.id().to_string();
        ensure(
            Command::new("kill")
                .args([format!("-{signal}"), pid])
                .status()?
                .success(),
            (after, "it had ended already"),
        )?;
        harden.wait()?;
        let deadline = Instant::now() + Duration::from_secs(60);
        let clean = || -> Result<bool, Failed> {
            if !left()?.is_empty() {
                return Ok(false);
            }
            // The engine may still be making something: whoever cleans up looks for longer than that, then removes its directory.
            Ok(!is_cleaning()?)
        };
        while !clean()? {
            ensure(Instant::now() < deadline, (after, signal, left()?))?;
            std::thread::sleep(Duration::from_millis(200));
        }
        nothing_is_left()?;
        ensure(
            project.read("compose.yaml")? == DATABASE,
            project.read("compose.yaml")?,
        )?;
        let names: Vec<_> = std::fs::read_dir(project.path())?.collect();
        ensure(names.len() == 2, names)?;
    }
    Ok(())
}

/// Whether a `capaudit guard` is still there.
fn is_cleaning() -> Result<bool, Failed> {
    for entry in std::fs::read_dir("/proc")? {
        let line = std::fs::read(entry?.path().join("cmdline")).unwrap_or_default();
        if line.starts_with(b"/proc/self/exe\0guard\0") {
            return Ok(true);
        }
    }
    Ok(false)
}

fn bad_usage() -> Verdicts {
    let project = database()?;
    for (words, expected) in [
        (
            ["harden", "--service", "web", "compose.yaml"].as_slice(),
            "there is no service \"web\"; there are: db",
        ),
        (
            &["harden", "--exit-code-from", "tests", "compose.yaml"],
            "there is no service \"tests\"",
        ),
        (&["harden", "nothing.yaml"], "nothing.yaml"),
        (
            &["harden", "--phases", "restart", "compose.yaml"],
            "a life begins with `start`",
        ),
        (
            &["harden", "--phases", "birth", "compose.yaml"],
            "none of start, restart, recreate",
        ),
        (
            &["harden", "--save", "/nowhere/x", "compose.yaml"],
            "cannot write",
        ),
    ] {
        let (out, err) = project.expect(2, CAPAUDIT, words)?;
        ensure(err.contains(expected) && out.is_empty(), (words, out, err))?;
    }
    nothing_is_left()
}
