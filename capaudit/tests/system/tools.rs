//! The small tools, compared with what they are like: capsh, getcap, setcap and /proc.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use capaudit_core::capability::{CapSet, Capability, FileCapabilities};
use libtest_mimic::{Failed, Trial};
use rustix::fs::{XattrFlags, setxattr};
use serde_json::Value;

use crate::{
    audit::{CAPAUDIT, Verdicts, audit, capability, ensure},
    terminal::Terminal,
};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("tools::decode_is_capshs", decode_is_capshs),
        Trial::test("tools::decode_of_processes", decode_of_processes),
        Trial::test("tools::decode_refuses", decode_refuses),
        Trial::test("tools::ps_of_a_process", ps_of_a_process),
        Trial::test("tools::ps_of_a_hostile_name", ps_of_a_hostile_name),
        Trial::test("tools::ps_of_threads", ps_of_threads),
        Trial::test("tools::ps_of_a_container", ps_of_a_container),
        Trial::test(
            "tools::ps_while_processes_vanish",
            ps_while_processes_vanish,
        ),
        Trial::test("tools::ps_fits_the_terminal", ps_fits_the_terminal),
        Trial::test("tools::files_are_getcaps", files_are_getcaps),
        Trial::test("tools::files_of_a_hostile_name", files_of_a_hostile_name),
        Trial::test(
            "tools::files_stay_on_their_file_system",
            files_stay_on_their_file_system,
        ),
        Trial::test(
            "tools::files_that_cannot_be_seen",
            files_that_cannot_be_seen,
        ),
        Trial::test("tools::files_with_setuid", files_with_setuid),
        Trial::test(
            "tools::explain_knows_this_kernel",
            explain_knows_this_kernel,
        ),
        Trial::test("tools::completions_work_in_bash", completions_work_in_bash),
        Trial::test("tools::man_pages_are_clean", man_pages_are_clean),
        Trial::test("tools::run_points_to_explain", run_points_to_explain),
    ]
}

fn capaudit<S: AsRef<OsStr>>(words: &[S]) -> Result<Output, Failed> {
    Ok(Command::new(CAPAUDIT)
        .args(words)
        .stdin(Stdio::null())
        .output()?)
}

/// What it prints, if it succeeds and complains of nothing.
fn printed<S: AsRef<OsStr>>(words: &[S]) -> Result<String, Failed> {
    let output = capaudit(words)?;
    ensure(output.status.success() && output.stderr.is_empty(), &output)?;
    Ok(String::from_utf8(output.stdout)?)
}

fn json<S: AsRef<OsStr>>(words: &[S]) -> Result<Value, Failed> {
    Ok(serde_json::from_str(&printed(words)?)?)
}

/// Fails unless it ends with status 2 and one line on standard error that holds `wanted`.
fn refused<S: AsRef<OsStr>>(words: &[S], wanted: &str) -> Verdicts {
    let output = capaudit(words)?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure(
        output.status.code() == Some(2) && output.stdout.is_empty(),
        &output,
    )?;
    ensure(
        complaint.lines().count() == 1 && complaint.contains(wanted),
        &complaint,
    )
}

/// Numbers with many patterns, always the same (xorshift64).
fn numbers(count: usize) -> Vec<u64> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        })
        .collect()
}

fn decode_is_capshs() -> Verdicts {
    let mut masks: Vec<u64> = (0..64).map(|bit| 1 << bit).collect();
    masks.extend([0, u64::MAX, 0x1ff_ffff_ffff, 0xa804_25fb]);
    // Sparse ones, dense ones and any.
    let random = numbers(120);
    masks.extend(random.windows(3).map(|some| some[0] & some[1] & some[2]));
    masks.extend(random.windows(2).map(|some| some[0] | some[1]));
    masks.extend(&random);
    let words: Vec<String> = masks.iter().map(|mask| format!("{mask:016x}")).collect();
    let mut arguments = vec!["decode", "--format", "json"];
    arguments.extend(words.iter().map(String::as_str));
    let decoded = json(&arguments)?;
    for (index, word) in words.iter().enumerate() {
        let set = &decoded["decoded"][index]["sets"][0];
        let names: Vec<String> = serde_json::from_value(set["capabilities"].clone())?;
        let ours: Vec<String> = names
            .iter()
            .map(|name| {
                if name.parse::<u8>().is_ok() {
                    name.clone()
                } else {
                    format!("cap_{}", name.to_lowercase())
                }
            })
            .collect();
        let capsh = Command::new("capsh")
            .arg(format!("--decode={word}"))
            .output()?;
        let theirs = String::from_utf8(capsh.stdout)?;
        let ours = format!("0x{word}={}\n", ours.join(","));
        ensure(ours == theirs, (ours, theirs))?;
        // And back, through the list.
        if !names.is_empty() {
            let list: Vec<String> = names
                .iter()
                .map(|name| format!("cap_{}", name.to_lowercase()))
                .collect();
            let back = printed(&["decode", &list.join(",")])?;
            ensure(back == format!("{word}\n"), back)?;
        }
    }
    Ok(())
}

/// A process of ours that ends when it is let go of.
struct Running(Child);

impl Running {
    fn start(words: &[&str]) -> Result<Self, Failed> {
        let child = Command::new(words[0])
            .args(&words[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self(child))
    }

    /// Starts what says when it is what it is to be.
    fn ready(words: &[&str]) -> Result<Self, Failed> {
        let mut running = Self::start(words)?;
        let stdout = running.0.stdout.take().ok_or("no standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure(line == "ready\n", line)?;
        Ok(running)
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A shell as nobody that holds NET_RAW in its ambient set, no-new-privs set.
fn with_ambient() -> Result<Running, Failed> {
    Running::ready(&[
        "setpriv",
        "--reuid=65534",
        "--clear-groups",
        "--inh-caps=+net_raw",
        "--ambient-caps=+net_raw",
        "--no-new-privs",
        "sh",
        "-c",
        "echo ready; read x",
    ])
}

fn decode_of_processes() -> Verdicts {
    let running = with_ambient()?;
    let pid = running.pid();
    let status = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&status)?;
    let by_pid = json(&["decode", "--format", "json", &pid])?["decoded"][0]["sets"].clone();
    for (name, label) in [
        ("effective", "CapEff:\t"),
        ("permitted", "CapPrm:\t"),
        ("inheritable", "CapInh:\t"),
        ("ambient", "CapAmb:\t"),
        ("bounding", "CapBnd:\t"),
    ] {
        let mask = text
            .lines()
            .find_map(|line| line.strip_prefix(label))
            .ok_or(label)?;
        let ours = by_pid
            .as_array()
            .into_iter()
            .flatten()
            .find(|set| set["name"] == name);
        ensure(ours.is_some_and(|set| set["mask"] == mask), &by_pid)?;
    }
    let by_path = json(&["decode", "--format", "json", &status])?["decoded"][0]["sets"].clone();
    ensure(by_path == by_pid, by_path)?;
    let mut child = Command::new(CAPAUDIT)
        .args(["decode", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    // Dropped at once: the end of the input.
    child
        .stdin
        .take()
        .ok_or("no input")?
        .write_all(text.as_bytes())?;
    let output = child.wait_with_output()?;
    let shown = String::from_utf8(output.stdout)?;
    ensure(
        shown.contains("  effective    0000000000002000  CAP_NET_RAW\n"),
        &shown,
    )?;
    ensure(shown.starts_with("- (sh)\n"), &shown)
}

fn decode_refuses() -> Verdicts {
    refused(&["decode", "chwn"], "did you mean CAP_CHOWN?")?;
    refused(&["decode", "a80425fb", "0x\x1b[31m"], "\\u{1b}")?;
    refused(&["decode", "/no/such/file"], "/no/such/file")?;
    refused(&["decode", "/dev/null"], "no line like CapEff:")?;
    refused(&["decode", "4194305"], "no process 4194305")?;
    refused(&["decode", "--mask", "chown"], "not a mask")
}

fn tasks(words: &[&str]) -> Result<Vec<Value>, Failed> {
    let mut arguments = vec!["ps", "--format", "json"];
    arguments.extend(words);
    let report = json(&arguments)?;
    ensure(report["schema"] == "capaudit.processes/1", &report)?;
    Ok(report["tasks"].as_array().cloned().unwrap_or_default())
}

fn ps_of_a_process() -> Verdicts {
    let running = with_ambient()?;
    let pid = running.pid();
    let found = tasks(&["--pid", &pid])?;
    let [task] = found.as_slice() else {
        return Err(format!("{found:#?}").into());
    };
    for set in ["effective", "permitted", "inheritable", "ambient"] {
        ensure(task[set] == serde_json::json!(["NET_RAW"]), task)?;
    }
    ensure(
        task["command"] == "sh" && task["euid"] == 65534 && task["container"].is_null(),
        task,
    )?;
    ensure(
        task["no_new_privileges"] == true && task["seccomp"] == "off",
        task,
    )?;
    let namespace = std::fs::read_link(format!("/proc/{pid}/ns/user"))?;
    let namespace = namespace.to_string_lossy().into_owned();
    ensure(
        namespace == format!("user:[{}]", task["user_namespace"]),
        task,
    )?;
    let is_listed = |words: &[&str]| -> Result<bool, Failed> {
        let own = |task: &Value| task["pid"] == running.0.id();
        Ok(tasks(words)?.iter().any(own))
    };
    ensure(is_listed(&[])?, "left out by default")?;
    ensure(is_listed(&["--user", "nobody"])?, "left out by --user")?;
    ensure(!is_listed(&["--user", "root"])?, "shown by another --user")?;
    ensure(
        is_listed(&["--capability", "cap_net_raw", "--set", "ambient"])?,
        "left out by --set",
    )?;
    ensure(
        !is_listed(&["--capability", "SYS_ADMIN"])?,
        "shown by another --capability",
    )?;
    ensure(
        is_listed(&["--capability", "SYS_ADMIN", "--set", "bounding"])?,
        "bounding",
    )?;
    // The kernel's own threads have everything and are no news.
    ensure(
        tasks(&[])?
            .iter()
            .all(|task| task["kernel_thread"] == false),
        "kernel threads",
    )?;
    let text = printed(&["ps", "--pid", &pid])?;
    ensure(
        text.contains("nobody") && text.contains("no-new-privs"),
        &text,
    )?;
    ensure(!text.contains('\x1b'), &text)?;
    refused(&["ps", "--pid", "4194305"], "no process 4194305")?;
    refused(
        &["ps", "--container", "no-such-container"],
        "no-such-container",
    )
}

/// A program's file name is its command name: line breaks and escape sequences included.
fn ps_of_a_hostile_name() -> Verdicts {
    let directory = tempfile::tempdir()?;
    let program = directory.path().join("x\nCap\x1b[31m)\u{202e}");
    std::fs::copy("/bin/sleep", &program)?;
    let program = program.to_string_lossy().into_owned();
    let running = Running::start(&[&program, "60"])?;
    let pid = running.pid();
    // Between fork and execve it still has the test's name.
    let comm = format!("/proc/{pid}/comm");
    while !std::fs::read_to_string(&comm)?.starts_with("x\n") {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let task = tasks(&["--pid", &pid])?
        .first()
        .cloned()
        .ok_or("not found")?;
    ensure(task["command"] == "x\nCap\x1b[31m)\u{202e}", &task)?;
    for words in [["ps", "--pid"], ["decode", "--pid"]] {
        let text = printed(&[words[0], words[1], &pid])?;
        ensure(!text.contains('\x1b') && !text.contains('\u{202e}'), &text)?;
        ensure(text.contains("x\\u{a}Cap\\u{1b}[31m)\\u{202e}"), &text)?;
    }
    Ok(())
}

fn ps_of_threads() -> Verdicts {
    let own = std::env::current_exe()?;
    let own = own.to_string_lossy();
    let running = Running::ready(&[&own, "payload", "only-a-thread-holds"])?;
    let pid = running.pid();
    let by_default = tasks(&[])?;
    let ours: Vec<&Value> = by_default
        .iter()
        .filter(|task| task["pid"] == running.0.id())
        .collect();
    // The first thread holds nothing; the other must not go unseen for that.
    let [thread] = ours.as_slice() else {
        return Err(format!("{ours:#?}").into());
    };
    ensure(thread["tid"] != thread["pid"], thread)?;
    ensure(
        thread["effective"]
            .as_array()
            .is_some_and(|set| set.len() > 10),
        thread,
    )?;
    let all = tasks(&["--threads", "--pid", &pid])?;
    let listed: BTreeSet<String> = all.iter().map(|task| task["tid"].to_string()).collect();
    let real: BTreeSet<String> = std::fs::read_dir(format!("/proc/{pid}/task"))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, Failed>>()?;
    ensure(listed == real && real.len() == 2, (listed, real))
}

/// Removed when the test is over, however it ends.
struct Container(String);

impl Drop for Container {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "-f", &self.0]).output();
    }
}

fn ps_of_a_container() -> Verdicts {
    let name = format!("capaudit-test-ps-{}", std::process::id());
    let started = Command::new("docker")
        .args(["run", "-d", "--name", &name, "--network", "none"])
        .args([
            "--cap-drop",
            "ALL",
            "--cap-add",
            "CHOWN",
            "--cap-add",
            "KILL",
        ])
        .args(["gt-corpus:1", "sleep", "60"])
        .output()?;
    let container = Container(name.clone());
    ensure(started.status.success(), &started)?;
    let id = String::from_utf8(started.stdout)?.trim().to_owned();
    let found = tasks(&["--container", &name])?;
    ensure(!found.is_empty(), &found)?;
    for task in &found {
        ensure(task["container"]["name"] == *name, task)?;
        ensure(task["container"]["id"] == *id, task)?;
        ensure(task["container"]["image"] == "gt-corpus:1", task)?;
        ensure(
            task["bounding"] == serde_json::json!(["CHOWN", "KILL"]),
            task,
        )?;
        ensure(task["seccomp"] == "filter", task)?;
    }
    let text = printed(&["ps", "--container", &name])?;
    ensure(text.contains("CHOWN KILL") && text.contains(&name), &text)?;
    // Without an engine it is known by its id.
    let output = Command::new(CAPAUDIT)
        .args(["ps", "--container", &id[..12]])
        .env("DOCKER_HOST", "unix:///no/such/socket")
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    ensure(
        output.status.success() && text.contains(&id[..12]) && !text.contains(&name),
        &text,
    )?;
    drop(container);
    Ok(())
}

fn ps_while_processes_vanish() -> Verdicts {
    let storm = Running::start(&["sh", "-c", "while :; do /bin/true & /bin/true; done"])?;
    for _ in 0..10 {
        for words in [
            &["ps"][..],
            &["ps", "--all", "--threads", "--format", "json"],
        ] {
            // Fails also for any complaint.
            printed(words)?;
        }
    }
    drop(storm);
    Ok(())
}

fn ps_fits_the_terminal() -> Verdicts {
    let running = with_ambient()?;
    let terminal = Terminal::capaudit(&["ps", "--pid", &running.pid()])?;
    let (text, status) = terminal.end()?;
    ensure(status.success() && text.contains("\x1b[1mPID"), &text)?;
    let plain = text
        .replace("\x1b[1m", "")
        .replace("\x1b[2m", "")
        .replace("\x1b[0m", "");
    ensure(!plain.contains('\x1b'), &plain)?;
    let widest = plain
        .lines()
        .map(|line| line.trim_end().chars().count())
        .max();
    ensure(widest.is_some_and(|widest| widest <= 80), (widest, &plain))?;
    for part in ["NET_RAW", "no-new-privs", "nobody"] {
        ensure(plain.contains(part), &plain)?;
    }
    Ok(())
}

fn lines(text: &[u8]) -> BTreeSet<String> {
    String::from_utf8_lossy(text)
        .lines()
        .map(str::to_owned)
        .collect()
}

fn files_are_getcaps() -> Verdicts {
    let directory = tempfile::tempdir()?;
    let below = directory.path().join("one/two");
    std::fs::create_dir_all(&below)?;
    let mut count = 0;
    let mut file = || -> Result<std::path::PathBuf, Failed> {
        count += 1;
        let file = below.join(format!("file {count}"));
        std::fs::write(&file, "")?;
        Ok(file)
    };
    for text in [
        "=ep",
        "=eip",
        "=p",
        "=",
        "cap_net_raw=ep",
        "cap_net_raw+p",
        "cap_net_raw,cap_chown=eip",
        "cap_chown=ei",
        "cap_kill=i",
        "cap_chown=p cap_kill=i",
        "cap_chown=pi cap_kill=i cap_fowner=p",
        "=ep cap_chown-ep",
        "=eip cap_sys_admin-i",
    ] {
        let done = Command::new("setcap").arg(text).arg(file()?).output()?;
        ensure(done.status.success(), (text, done))?;
    }
    let done = Command::new("setcap")
        .args(["-n", "1000", "cap_net_raw=ep"])
        .arg(file()?)
        .output()?;
    ensure(done.status.success(), done)?;
    // Whatever else the attribute can hold.
    for (index, some) in numbers(300).windows(4).enumerate() {
        let sparse = index % 2 == 0;
        let value = FileCapabilities {
            permitted: CapSet::from_bits(if sparse {
                some[0] & some[1]
            } else {
                some[0] | some[1]
            }),
            inheritable: CapSet::from_bits(if sparse { some[2] & some[3] } else { some[2] }),
            effective: some[0] & 1 == 0,
            root_id: (index % 3 == 0).then_some(1 + index as u32),
        };
        let name = FileCapabilities::ATTRIBUTE;
        setxattr(&file()?, name, &value.to_bytes(), XattrFlags::CREATE)?;
    }
    file()?;
    std::os::unix::fs::symlink("file 1", below.join("link"))?;
    let theirs = Command::new("getcap")
        .args(["-r", "-n"])
        .arg(directory.path())
        .output()?;
    let theirs = lines(&theirs.stdout);
    ensure(theirs.len() > 300, theirs.len())?;
    let ours = lines(printed(&[OsStr::new("files"), directory.path().as_os_str()])?.as_bytes());
    let differing: Vec<_> = ours.symmetric_difference(&theirs).collect();
    ensure(differing.is_empty(), differing)?;
    // A link that is given is followed.
    let link = below.join("link");
    let text = printed(&[OsStr::new("files"), link.as_os_str()])?;
    ensure(text == format!("{} =ep\n", link.display()), text)
}

fn with_capability(file: &Path) -> Verdicts {
    std::fs::write(file, "")?;
    let value = FileCapabilities {
        permitted: Capability::NET_RAW.into(),
        inheritable: CapSet::EMPTY,
        effective: true,
        root_id: None,
    };
    setxattr(
        file,
        FileCapabilities::ATTRIBUTE,
        &value.to_bytes(),
        XattrFlags::CREATE,
    )?;
    Ok(())
}

fn files_of_a_hostile_name() -> Verdicts {
    use std::os::unix::ffi::OsStrExt as _;
    let directory = tempfile::tempdir()?;
    let name = b"a\n/bin/true cap_sys_admin=ep\x1b[31m\xff"
        .map(|byte| if byte == b'/' { b'-' } else { byte });
    with_capability(&directory.path().join(OsStr::from_bytes(&name)))?;
    let words = [OsStr::new("files"), directory.path().as_os_str()];
    let text = printed(&words)?;
    ensure(text.lines().count() == 1 && !text.contains('\x1b'), &text)?;
    ensure(
        text.contains("/a\\u{a}-bin") && text.ends_with(" cap_net_raw=ep\n"),
        &text,
    )?;
    let report = json(&[
        words[0],
        words[1],
        OsStr::new("--format"),
        OsStr::new("json"),
    ])?;
    let hex = report["files"][0]["path_hex"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    ensure(hex.ends_with("1b5b33316dff"), &report)
}

/// Unmounted when the test is over, however it ends.
struct Mount<'a>(&'a Path);

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).output();
    }
}

fn files_stay_on_their_file_system() -> Verdicts {
    let directory = tempfile::tempdir()?;
    let other = directory.path().join("other");
    std::fs::create_dir(&other)?;
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "none"])
        .arg(&other)
        .output()?;
    ensure(mounted.status.success(), mounted)?;
    let mount = Mount(&other);
    with_capability(&other.join("f"))?;
    let words = [OsStr::new("files"), directory.path().as_os_str()];
    let output = capaudit(&words)?;
    ensure(output.status.success() && output.stdout.is_empty(), &output)?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure(told.contains("--cross") && told.contains("/other\""), told)?;
    let crossed = printed(&[words[0], words[1], OsStr::new("--cross")])?;
    ensure(crossed.ends_with("/other/f cap_net_raw=ep\n"), crossed)?;
    drop(mount);
    // Nothing there to find, and nothing to disturb.
    printed(&["files", "/proc/self", "/sys/kernel"]).map(drop)
}

fn files_that_cannot_be_seen() -> Verdicts {
    let directory = tempfile::tempdir()?;
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))?;
    let hidden = directory.path().join("hidden");
    std::fs::create_dir(&hidden)?;
    std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(0o700))?;
    with_capability(&hidden.join("f"))?;
    with_capability(&directory.path().join("seen"))?;
    let program = directory.path().join("capaudit");
    // Where it was built, others may have no access.
    std::fs::copy(CAPAUDIT, &program)?;
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--clear-groups"])
        .args([
            program.as_os_str(),
            OsStr::new("files"),
            directory.path().as_os_str(),
        ])
        .output()?;
    let (found, told) = (
        lines(&output.stdout),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    ensure(output.status.success() && found.len() == 1, &output)?;
    ensure(
        told.lines().count() == 1 && told.contains("/hidden\": Permission denied"),
        told,
    )?;
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--clear-groups"])
        .args([program.as_os_str(), OsStr::new("files"), hidden.as_os_str()])
        .output()?;
    ensure(output.status.code() == Some(2), &output)?;
    refused(&["files", "/no/such/path"], "/no/such/path")
}

fn files_with_setuid() -> Verdicts {
    let directory = tempfile::tempdir()?;
    for (name, owner, mode) in [
        ("roots", 0, 0o4755),
        ("others", 1, 0o4755),
        ("plain", 0, 0o755),
    ] {
        let file = directory.path().join(name);
        std::fs::write(&file, "")?;
        // Owner first: chown takes the bit away.
        chown(&file, Some(owner), None)?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode))?;
    }
    let path = directory.path().to_string_lossy().into_owned();
    let text = printed(&["files", "--setuid", &path])?;
    ensure(text == format!("{path}/roots [setuid root]\n"), text)?;
    ensure(printed(&["files", &path])?.is_empty(), "setuid unasked")
}

fn explain_knows_this_kernel() -> Verdicts {
    let report = json(&["explain", "--format", "json"])?;
    let explained = report["capabilities"].as_array().ok_or("no list")?;
    ensure(explained.len() == Capability::KNOWN.len(), explained.len())?;
    // Functions that no compiler can put into a caller, since other files call them.
    for (name, function) in [
        ("DAC_OVERRIDE", "generic_permission"),
        ("FOWNER", "inode_owner_or_capable"),
        ("SETUID", "__sys_setresuid"),
        ("SETPCAP", "cap_task_prctl"),
        ("NET_BIND_SERVICE", "__inet_bind"),
        ("MKNOD", "vfs_mknod"),
        ("IPC_OWNER", "ipcperms"),
        ("SYS_CHROOT", "sys_chroot"),
        ("SYSLOG", "kallsyms_show_value"),
        ("SETFCAP", "cap_convert_nscap"),
    ] {
        let has = explained
            .iter()
            .filter(|one| one["name"] == name)
            .flat_map(|one| one["asked_by"].as_array().into_iter().flatten())
            .any(|row| row["function"] == function && row["symbol"] == true);
        ensure(has, (name, function))?;
    }
    // What is said to ask is what is seen to ask.
    let directory = tempfile::tempdir()?;
    let device = directory.path().join("null").to_string_lossy().into_owned();
    let audited = audit(&["mknod", &device, "c", "1", "3"])?;
    let place = capability(audited.command()?, "MKNOD")?
        .seen_in
        .first()
        .cloned();
    let caller = place.ok_or("nowhere seen")?.caller;
    let text = printed(&["explain", "mknod"])?;
    ensure(text.contains(&format!("- {caller}: ")), (caller, &text))?;
    ensure(
        printed(&["explain", "CAP_MKNOD"])? == text && printed(&["explain", "27"])? == text,
        text,
    )?;
    let wrong = capaudit(&["explain", "CHWN"])?;
    ensure(
        wrong.status.code() == Some(2)
            && String::from_utf8_lossy(&wrong.stderr).contains("CAP_CHOWN"),
        wrong,
    )
}

fn completions_work_in_bash() -> Verdicts {
    let directory = tempfile::tempdir()?;
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = printed(&["completions", shell])?;
        for name in ["decode", "explain", "ps", "files", "run"] {
            ensure(script.contains(name), (shell, name))?;
        }
        std::fs::write(directory.path().join(shell), script)?;
    }
    let script = directory.path().join("bash");
    let checked = Command::new("bash").arg("-n").arg(&script).output()?;
    ensure(
        checked.status.success() && checked.stderr.is_empty(),
        checked,
    )?;
    let complete = |words: &str, current: &str, index: usize| -> Result<String, Failed> {
        let output = Command::new("bash")
            .args(["-c", r#"source "$1"; COMP_WORDS=($2); COMP_CWORD=$4; _capaudit capaudit "$3" ""; echo "${COMPREPLY[*]}""#])
            .args([OsStr::new("bash"), script.as_os_str()])
            .args([words, current, &index.to_string()])
            .output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let found = complete("capaudit dec", "dec", 1)?;
    ensure(found == "decode", found)?;
    let found = complete("capaudit ps --cap", "--cap", 2)?;
    ensure(found == "--capability", found)
}

fn man_pages_are_clean() -> Verdicts {
    let directory = tempfile::tempdir()?;
    let path = directory.path().to_string_lossy().into_owned();
    printed(&["man", "--output", &path])?;
    let help = printed(&["--help"])?;
    let commands: BTreeSet<String> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| Some(line.split_whitespace().next()?.to_owned()))
        .filter(|name| name != "help")
        .collect();
    let mut expected: BTreeSet<String> = commands
        .iter()
        .map(|name| format!("capaudit-{name}.1"))
        .collect();
    expected.insert("capaudit.1".to_owned());
    let pages: BTreeSet<String> = std::fs::read_dir(directory.path())?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, Failed>>()?;
    ensure(pages == expected && pages.len() > 10, (pages, &expected))?;
    for page in &expected {
        let set = Command::new("groff")
            .args(["-man", "-Tutf8", "-ww"])
            .arg(directory.path().join(page))
            .output()?;
        ensure(set.status.success() && set.stderr.is_empty(), (page, &set))?;
    }
    let page = printed(&["man", "run"])?;
    let file = std::fs::read_to_string(directory.path().join("capaudit-run.1"))?;
    ensure(
        page == file && page.contains(".SH EXAMPLES") && page.contains(".SH \"EXIT STATUS\""),
        &page,
    )?;
    refused(&["man", "nonsense"], "there are: run,")?;
    refused(&["man", "--output", "/no/such/directory"], "make it first")
}

/// Once, on a terminal, and only if there is something to explain.
fn run_points_to_explain() -> Verdicts {
    let file = tempfile::NamedTempFile::new()?;
    let path = file.path().to_string_lossy().into_owned();
    let hint = "`capaudit explain CHOWN`";
    let shown = |command: &[&str]| -> Result<String, Failed> {
        let mut words = vec!["run", "--"];
        words.extend(command);
        Ok(Terminal::capaudit(&words)?.end()?.0)
    };
    let text = shown(&["chown", "1:1", &path])?;
    ensure(text.matches(hint).count() == 1, &text)?;
    let text = shown(&["true"])?;
    ensure(
        text.contains("no capability at all") && !text.contains("capaudit explain"),
        &text,
    )?;
    let piped = capaudit(&["run", "--", "chown", "1:1", &path])?;
    let text = String::from_utf8_lossy(&piped.stderr).into_owned();
    ensure(
        text.contains("needs CHOWN") && !text.contains("capaudit explain"),
        text,
    )
}
