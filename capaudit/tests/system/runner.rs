//! capaudit as a runner: nobody notices it.

use std::{
    io::{Read as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    process::{Command, Stdio},
    time::Duration,
};

use libtest_mimic::Trial;

use crate::{
    audit::{CAPAUDIT, Verdicts, audit_payload, audit_with, capability, ensure, needs},
    terminal::Terminal,
};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test(
            "runner::streams_and_status_pass_through",
            streams_and_status,
        ),
        Trial::test("runner::death_by_signal_passes_through", death_by_signal),
        Trial::test("runner::sent_signals_are_passed_on", sent_signals),
        Trial::test("runner::terminal_is_the_commands", terminal),
        Trial::test("runner::ctrl_c_ends_the_command_only_once", ctrl_c),
        Trial::test("runner::signal_mask_is_clean", signal_mask),
        Trial::test("runner::unknown_command", unknown_command),
        Trial::test("runner::bad_usage", bad_usage),
        Trial::test(
            "runner::files_belong_to_the_caller",
            files_belong_to_the_caller,
        ),
        Trial::test(
            "runner::unwritable_output_is_found_before",
            unwritable_output,
        ),
        Trial::test("runner::daemons_are_left_unless_waited_for", daemons),
        Trial::test("runner::strict_refuses_an_incomplete_record", strict),
        Trial::test("runner::two_at_once", two_at_once),
        Trial::test("runner::nothing_is_left_after_sigkill", sigkill),
        Trial::test("runner::saved_sessions_report_and_merge", saved_sessions),
        Trial::test("runner::hostile_names_are_escaped", hostile_names),
        Trial::test("runner::broken_session_files", broken_session_files),
        Trial::test("runner::what_runs_on_is_told", runs_on),
        Trial::test("runner::what_others_do_for_it_is_told", deputies),
        Trial::test("runner::doctor", doctor),
        Trial::test("runner::not_root_is_one_line", not_root),
        Trial::test("runner::another_pid_namespace_is_refused", pid_namespace),
    ]
}

fn capaudit() -> Command {
    Command::new(CAPAUDIT)
}

fn streams_and_status() -> Verdicts {
    let mut child = capaudit()
        .args(["run", "--", "sh", "-c", "cat; echo to-stderr >&2; exit 7"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .ok_or("no stdin")?
        .write_all(b"through\n")?;
    let output = child.wait_with_output()?;
    ensure(output.status.code() == Some(7), output.status)?;
    ensure(
        output.stdout == b"through\n",
        String::from_utf8_lossy(&output.stdout),
    )?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure(stderr.starts_with("to-stderr\n"), &stderr)?;
    ensure(stderr.contains("the command failed with status 7"), &stderr)
}

fn death_by_signal() -> Verdicts {
    let output = capaudit()
        .args(["run", "--", "sh", "-c", "kill -SEGV $$"])
        .output()?;
    ensure(output.status.signal() == Some(11), output.status)?;
    let audited = audit_with(&[], &["sh", "-c", "kill -TERM $$"])?;
    ensure(
        audited.report.session.exit_status == Some(143),
        &audited.report.session,
    )
}

fn sent_signals() -> Verdicts {
    let mut child = capaudit()
        .args([
            "run",
            "--",
            "sh",
            "-c",
            "trap 'echo got; exit 9' USR1; echo ready; while :; do sleep 0.05; done",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut stdout = child.stdout.take().ok_or("no stdout")?;
    let mut ready = [0; 6];
    stdout.read_exact(&mut ready)?;
    let pid = nix::unistd::Pid::from_raw(child.id().try_into()?);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGUSR1)?;
    let mut rest = String::new();
    stdout.read_to_string(&mut rest)?;
    ensure(rest == "got\n", &rest)?;
    ensure(child.wait()?.code() == Some(9), "status")
}

/// `script` gives a terminal to what it runs.
fn terminal() -> Verdicts {
    let (text, status) = Terminal::capaudit(&[
        "run",
        "--",
        "sh",
        "-c",
        "test -t 0 && test -t 1 && stty size >/dev/null && echo terminal",
    ])?
    .end()?;
    ensure(
        status.success() && text.contains("terminal"),
        (status, text),
    )
}

fn ctrl_c() -> Verdicts {
    let mut terminal = Terminal::capaudit(&[
        "run",
        "--",
        "sh",
        "-c",
        "trap \"echo INT-\\$((6*7))\" INT; echo ready; sleep 20; echo after; exit 3",
    ])?;
    terminal.read_until("ready")?;
    std::thread::sleep(Duration::from_millis(200));
    terminal.send(b"\x03")?;
    let (text, status) = terminal.end()?;
    ensure(status.code() == Some(3), (status, &text))?;
    // The terminal's signal reached the command; capaudit did not send it a second time, nor die of it.
    ensure(text.matches("INT-42").count() == 1, &text)?;
    ensure(text.contains("capaudit:"), &text)
}

fn signal_mask() -> Verdicts {
    let output = capaudit()
        .args(["run", "--", "grep", "SigBlk", "/proc/self/status"])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure(text.trim_end().ends_with("0000000000000000"), &text)
}

fn unknown_command() -> Verdicts {
    let output = capaudit()
        .args(["run", "--", "/no/such/program"])
        .output()?;
    ensure(output.status.code() == Some(127), output.status)?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure(
        text.lines().count() == 1 && text.contains("/no/such/program"),
        &text,
    )?;
    let output = capaudit().args(["run", "--", "/etc/passwd"]).output()?;
    ensure(output.status.code() == Some(126), output.status)
}

fn bad_usage() -> Verdicts {
    for words in [
        &["run"][..],
        &["run", "--ring-buffer", "5", "--", "true"],
        &["run", "--hook", "magic", "--", "true"],
        &["report", "/no/such/file"],
        &["nonsense"],
    ] {
        let output = capaudit().args(words).output()?;
        ensure(output.status.code() == Some(2), (words, output.status))?;
        ensure(!output.stderr.is_empty(), words)?;
    }
    Ok(())
}

fn files_belong_to_the_caller() -> Verdicts {
    use std::os::unix::fs::MetadataExt as _;
    let directory = tempfile::tempdir()?;
    std::os::unix::fs::chown(directory.path(), Some(12), Some(34))?;
    let file = directory.path().join("session.json");
    let output = capaudit()
        .args(["run", "--save"])
        .arg(&file)
        .args(["--", "true"])
        .env("SUDO_UID", "12")
        .env("SUDO_GID", "34")
        .output()?;
    ensure(output.status.success(), output.status)?;
    let metadata = std::fs::metadata(&file)?;
    let found = (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777);
    ensure(found == (12, 34, 0o600), found)
}

fn unwritable_output() -> Verdicts {
    let output = capaudit()
        .args([
            "run",
            "--output",
            "/no/such/directory/x",
            "--",
            "echo",
            "ran",
        ])
        .output()?;
    ensure(output.status.code() == Some(2), output.status)?;
    ensure(output.stdout.is_empty(), "the command was run all the same")
}

fn daemons() -> Verdicts {
    let file = tempfile::NamedTempFile::new()?;
    let script = format!(
        "(sleep 0.7; exec chown 1 {}) >/dev/null 2>&1 & true",
        file.path().display()
    );
    let left = audit_with(&[], &["sh", "-c", &script])?;
    needs(left.command()?, &[])?;
    let waited = audit_with(&["--wait-children"], &["sh", "-c", &script])?;
    needs(waited.command()?, &["CHOWN"])
}

fn strict() -> Verdicts {
    let file = tempfile::NamedTempFile::new()?;
    let path = file.path().to_string_lossy().into_owned();
    let storm = ["fork-storm", "2000", &path];
    let audited = audit_payload(&["--strict", "--ring-buffer", "4"], &storm)?;
    ensure(
        audited.output.status.code() == Some(4),
        audited.output.status,
    )?;
    ensure(!audited.report.session.complete, &audited.report.session)?;
    ensure(
        audited.report.session.lost_events > 0,
        &audited.report.session,
    )?;
    // Without --strict the status stays the command's, but the loss is told.
    let audited = audit_payload(&["--ring-buffer", "4"], &storm)?;
    ensure(audited.output.status.success(), audited.output.status)?;
    ensure(!audited.report.session.complete, &audited.report.session)?;
    let complete = audit_payload(&["--strict"], &["chown", &path])?;
    ensure(complete.output.status.success(), complete.output.status)
}

fn two_at_once() -> Verdicts {
    let file = tempfile::NamedTempFile::new()?;
    let path = file.path().to_string_lossy().into_owned();
    std::thread::scope(|scope| {
        let audits: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| audit_payload(&[], &["fork-storm", "300", &path])))
            .collect();
        for audit in audits {
            let audited = audit.join().map_err(|_| "panicked")??;
            let found = capability(audited.command()?, "CHOWN")?;
            ensure(found.checks.granted == 300, found)?;
        }
        Ok(())
    })
}

fn sigkill() -> Verdicts {
    let programs = || -> Result<usize, libtest_mimic::Failed> {
        let listed = Command::new("bpftool").args(["prog", "list"]).output()?;
        ensure(
            listed.status.success(),
            String::from_utf8_lossy(&listed.stderr),
        )?;
        Ok(String::from_utf8_lossy(&listed.stdout)
            .matches("check_tp_btf")
            .count())
    };
    let mut child = capaudit()
        .args(["run", "--", "sh", "-c", "echo ready; sleep 20"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let id = child.id();
    child
        .stdout
        .take()
        .ok_or("no stdout")?
        .read_exact(&mut [0; 6])?;
    let of_child = |id: u32| -> Result<bool, libtest_mimic::Failed> {
        let listed = Command::new("bpftool").args(["prog", "list"]).output()?;
        Ok(String::from_utf8_lossy(&listed.stdout).contains(&format!("capaudit({id})")))
    };
    let before = of_child(id)?;
    ensure(
        before || programs()? > 0,
        "the programs are not there to begin with",
    )?;
    child.kill()?;
    child.wait()?;
    for _ in 0..50 {
        if !of_child(id)? {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err("programs are still loaded".into())
}

fn saved_sessions() -> Verdicts {
    let directory = tempfile::tempdir()?;
    let target = tempfile::NamedTempFile::new()?;
    let target = target.path().to_string_lossy().into_owned();
    let first = directory.path().join("1.json");
    let second = directory.path().join("2.json");
    for (session, command) in [
        (&first, &["chown", "1", target.as_str()][..]),
        (&second, &["chroot", "/", "true"][..]),
    ] {
        let output = capaudit()
            .arg("run")
            .arg("--save")
            .arg(session)
            .arg("--")
            .args(command)
            .output()?;
        ensure(
            output.status.success(),
            String::from_utf8_lossy(&output.stderr),
        )?;
    }
    let output = capaudit()
        .args(["report", "--format", "json"])
        .args([&first, &first])
        .output()?;
    let merged: capaudit_core::report::Report = serde_json::from_slice(&output.stdout)?;
    ensure(merged.subjects.len() == 1, &merged.subjects)?;
    let found = capability(&merged.subjects[0], "CHOWN")?;
    // The same audit, whatever it is given for.
    ensure(found.checks.granted == 1, found)?;
    let output = capaudit().arg("report").args([&first, &second]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure(
        text.contains("needs CHOWN") && text.contains("SYS_CHROOT"),
        &text,
    )?;
    let closed = Command::new("sh")
        .args([
            "-c",
            &format!("{CAPAUDIT} report {} | true", first.display()),
        ])
        .output()?;
    ensure(
        closed.stderr.is_empty(),
        String::from_utf8_lossy(&closed.stderr),
    )
}

fn hostile_names() -> Verdicts {
    let directory = tempfile::tempdir()?;
    let program = directory.path().join("a\x1b[31m\u{202e}\nb");
    std::fs::copy("/bin/chown", &program)?;
    let target = tempfile::NamedTempFile::new()?;
    let output = capaudit()
        .arg("run")
        .arg("--")
        .arg(&program)
        .arg("1")
        .arg(target.path())
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure(output.status.success(), &text)?;
    ensure(
        text.contains("CHOWN") && text.contains("\\u{1b}[31m\\u{202e}\\u{a}b"),
        &text,
    )?;
    ensure(!text.contains('\x1b') && !text.contains('\u{202e}'), &text)
}

fn broken_session_files() -> Verdicts {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("s.json");
    for (content, hint) in [
        ("", "not a session"),
        ("{}", "not a session"),
        (
            "{\"schema\": \"capaudit.session/99\"}",
            "capaudit.session/99",
        ),
        (
            "{\"schema\": \"capaudit.session/1\", \"session\": 3}",
            "not a session",
        ),
    ] {
        std::fs::write(&file, content)?;
        let output = capaudit().arg("report").arg(&file).output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure(output.status.code() == Some(2), &text)?;
        ensure(text.lines().count() == 1 && text.contains(hint), &text)?;
    }
    Ok(())
}

fn doctor() -> Verdicts {
    let output = capaudit().arg("doctor").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure(
        output.status.success() && text.contains("capaudit works here"),
        &text,
    )?;
    for hook in ["fexit", "tp_btf", "kprobe"] {
        ensure(text.contains(hook), &text)?;
    }
    let unprivileged = Command::new("setpriv")
        .args(["--reuid=65534", "--clear-groups", CAPAUDIT, "doctor"])
        .output()?;
    let text = String::from_utf8_lossy(&unprivileged.stdout);
    ensure(
        unprivileged.status.code() == Some(3) && text.contains("run as root"),
        &text,
    )
}

/// Whoever is not root reads that, and nothing of programs and verifiers.
fn not_root() -> Verdicts {
    for words in [
        &["run", "--", "true"][..],
        &["attach", "--pid", "1", "--duration", "1s"],
        &["watch", "--json", "--", "true"],
        &["daemon"],
    ] {
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--clear-groups", CAPAUDIT])
            .args(words)
            .output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure(output.status.code() == Some(3), (words, &text))?;
        let is_told = text.lines().count() == 1 && text.contains("run as root (sudo capaudit");
        ensure(is_told && text.contains("CAP_BPF"), (words, &text))?;
    }
    Ok(())
}

/// In a pid namespace of its own, capaudit would follow whoever has its processes' numbers in the machine's.
fn pid_namespace() -> Verdicts {
    for words in [
        &["doctor"][..],
        &["run", "--", "true"],
        &["run", "--strict", "--", "true"],
        &["attach", "--pid", "1"],
        &["watch", "--plain", "--duration", "1s"],
        &["watch", "--plain", "--", "true"],
        &["daemon"],
        &["verify", "--", "true"],
    ] {
        // With a /proc of its own, and with the machine's.
        for options in [
            &["--pid", "--fork", "--mount-proc"][..],
            &["--pid", "--fork"],
        ] {
            let output = Command::new("unshare")
                .args(options)
                .args(["--kill-child", CAPAUDIT])
                .args(words)
                .stdin(Stdio::null())
                .output()?;
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            ensure(
                output.status.code() == Some(3) && said.contains("--pid=host"),
                (words, options, output.status, &said),
            )?;
            ensure(!said.contains("works here"), (words, &said))?;
        }
    }
    Ok(())
}

/// What the command leaves in the background may ask for anything later.
fn runs_on() -> Verdicts {
    let script = "sleep 60 >/dev/null 2>&1 & echo $! >&2";
    let audited = audit_with(&["--strict"], &["sh", "-c", script])?;
    let left: i32 = String::from_utf8_lossy(&audited.output.stderr)
        .trim()
        .parse()?;
    let _ = nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(left),
        nix::sys::signal::Signal::SIGKILL,
    );
    ensure(audited.output.status.code() == Some(4), &audited.output)?;
    let causes = &audited.command()?.incomplete;
    ensure(
        causes.len() == 1 && causes[0].contains(&format!(" {left}.")),
        causes,
    )?;
    // What ends with it does not, and what was waited for neither.
    for (options, script) in [
        (&["--strict"][..], "sleep 0.05 >/dev/null 2>&1 & true"),
        (
            &["--strict", "--wait-children"],
            "sleep 1 >/dev/null 2>&1 & true",
        ),
    ] {
        let audited = audit_with(options, &["sh", "-c", script])?;
        ensure(
            audited.output.status.success() && audited.report.session.complete,
            (options, &audited.report),
        )?;
    }
    Ok(())
}

/// A client without anybody who answers: what it has done is seen nowhere, and that is said.
fn deputies() -> Verdicts {
    let script = "DOCKER_HOST=tcp://127.0.0.1:9 docker exec nobody id || true; systemctl restart nobody || true; docker ps -q >/dev/null";
    let directory = tempfile::tempdir()?;
    let client = directory.path().join("systemctl");
    std::fs::write(&client, "#!/bin/sh\nsleep 0.1\n")?;
    std::fs::set_permissions(&client, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let path = format!(
        "PATH={}:/usr/sbin:/usr/bin:/sbin:/bin",
        directory.path().display()
    );
    let audited = audit_with(&["--strict"], &["env", &path, "sh", "-c", script])?;
    ensure(audited.output.status.code() == Some(4), &audited.output)?;
    let causes = audited.command()?.incomplete.join("\n");
    for part in [
        "`docker exec nobody id` had a container engine do the work",
        "capaudit attach --container nobody",
        "`systemctl restart nobody` had the service manager do the work",
        "/system.slice/nobody.service",
    ] {
        ensure(causes.contains(part), (part, &causes))?;
    }
    ensure(!causes.contains("docker ps"), &causes)
}
