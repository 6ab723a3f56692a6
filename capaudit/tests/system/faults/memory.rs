//! Little memory: capaudit in a memory cgroup of its own, the command outside.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use capaudit_core::capability::Capability;
use libtest_mimic::{Failed, Trial};

use super::{Run, counted, killed::nothing_is_left, payload, until};
use crate::{
    audit::{CAPAUDIT, Verdicts, ensure},
    mounts,
    watch::temporary,
};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("faults::little_memory_is_enough", enough),
        Trial::test("faults::too_little_memory_is_said", too_little),
        Trial::test("faults::killed_for_want_of_memory", out_of_memory),
    ]
}

/// A memory cgroup; gone when this is.
struct Group {
    root: PathBuf,
    place: PathBuf,
    limit: &'static str,
}

impl Group {
    fn new(name: &str, bytes: u64) -> Result<Self, Failed> {
        let first = mounts::find(|kind, options| {
            kind == "cgroup" && options.split(',').any(|option| option == "memory")
        })?;
        let (root, limit) = match first {
            Some(root) => (root, "memory.limit_in_bytes"),
            None => {
                let root = mounts::unified()?;
                std::fs::write(root.join("cgroup.subtree_control"), "+memory")?;
                (root, "memory.max")
            }
        };
        let place = root.join(format!("capaudit-{name}-{}", std::process::id()));
        std::fs::create_dir(&place)?;
        let group = Self { root, place, limit };
        std::fs::write(group.place.join(limit), bytes.to_string())?;
        Ok(group)
    }

    /// A capaudit in it.
    fn capaudit(&self) -> Command {
        let mut command = Command::new("sh");
        // Should one in the group have to go, it is this one.
        let enter = format!(
            "echo 1000 > /proc/self/oom_score_adj; echo 0 > {}; exec \"$@\"",
            self.procs(&self.place)
        );
        command.args(["-c", &enter, "sh", CAPAUDIT]);
        command
    }

    /// For the command, to leave it.
    fn leave(&self) -> String {
        format!("echo 0 > {}", self.procs(&self.root))
    }

    fn procs(&self, group: &Path) -> String {
        group.join("cgroup.procs").to_string_lossy().into_owned()
    }

    fn kills(&self) -> Result<bool, Failed> {
        let file = match self.limit {
            "memory.max" => "memory.events",
            _ => "memory.oom_control",
        };
        let text = std::fs::read_to_string(self.place.join(file))?;
        Ok(text.lines().any(|line| {
            line.strip_prefix("oom_kill ")
                .is_some_and(|count| count != "0")
        }))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for _ in 0..50 {
            if std::fs::remove_dir(&self.place).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// The kernel's maps are charged to whoever makes them, so this is for all of capaudit.
fn enough() -> Verdicts {
    let group = Group::new("enough", ENOUGH)?;
    let (_file, path) = temporary()?;
    let storm = payload(&["fork-storm", "5000", &path])?;
    let script = format!("{}; {storm}", group.leave());
    let ended = Run::start_with(group.capaudit(), &["--strict"], &script)?.end()?;
    ensure(
        ended.status.success(),
        (ended.status, &ended.report.session),
    )?;
    ensure(!group.kills()?, "it was killed")?;
    let all = counted(&ended.ledger, Capability::CHOWN);
    ensure(all == 5000, all)
}

/// What capaudit takes at most for this, with a margin: reading the kernel's types takes most of it.
const ENOUGH: u64 = 112 << 20;

/// It does not begin, or it is killed; it neither hangs nor leaves anything.
fn too_little() -> Verdicts {
    let mut said = 0;
    for bytes in [16 << 20, 48 << 20, 64 << 20] {
        let group = Group::new("little", bytes)?;
        let output = group.capaudit().args(["run", "--", "true"]).output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(0) {
            continue; // enough after all
        }
        let is_said = output.status.code() == Some(3) && text.contains("too little memory");
        ensure(is_said || group.kills()?, (bytes, output.status, &text))?;
        ensure(!text.contains("panicked"), &text)?;
        said += u32::from(is_said);
    }
    ensure(said > 0, "nobody was told")?;
    nothing_is_left()
}

/// The command does not notice, and goes on to its end.
fn out_of_memory() -> Verdicts {
    let group = Group::new("none", ENOUGH)?;
    let (mark, marked) = temporary()?;
    let (_file, path) = temporary()?;
    let script = format!(
        "{}; echo left > {marked}; sleep 1; chown 1 {path}; echo over > {marked}",
        group.leave()
    );
    let mut run = Run::start_with(group.capaudit(), &[], &script)?;
    run.go()?;
    until("outside", || Ok(std::fs::read(mark.path())? == b"left\n"))?;
    // Somebody takes all the memory.
    let hog = format!(
        "echo 0 > {}; exec dd if=/dev/zero of=/dev/null bs=1G count=1",
        group.procs(&group.place)
    );
    let mut hog = Command::new("sh")
        .args(["-c", &hog])
        .stderr(std::process::Stdio::null())
        .spawn()?;
    let status = run.child.wait()?;
    hog.kill()?;
    hog.wait()?;
    use std::os::unix::process::ExitStatusExt as _;
    ensure(status.signal() == Some(9), status)?;
    until("over", || Ok(std::fs::read(mark.path())? == b"over\n"))?;
    ensure(
        !run.directory.path().join("session.json").exists(),
        "a session",
    )?;
    nothing_is_left()
}
