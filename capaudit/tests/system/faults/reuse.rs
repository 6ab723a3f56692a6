//! Numbers that the kernel gives again: pids, inode numbers of namespaces, cgroups and files.

use std::process::{Child, Command, Stdio};

use capaudit_core::{
    ledger::Kind,
    report::{Report, SubjectReport},
};
use libtest_mimic::{Failed, Trial};

use super::{Run, payload, until};
use crate::{
    audit::{Verdicts, audit_script, audit_with, capability, ensure, needs},
    container::{docker, unique},
    mounts,
    watch::temporary,
};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("faults::one_pid_for_two_programs", pids),
        Trial::test("faults::restarted_with_the_same_namespaces", restart),
        Trial::test("faults::one_pid_namespace_number_for_two", pid_namespaces),
        Trial::test("faults::one_cgroup_path_for_two_containers", cgroups),
        Trial::test("faults::one_inode_for_two_files", files),
    ]
}

/// 200 processes with the same pid, one after the other, of two programs.
fn pids() -> Verdicts {
    let (_file, path) = temporary()?;
    let same = payload(&["same-pid", "100", &path])?;
    let audited = audit_script(&same)?;
    audited.succeeded()?;
    for (name, exe, count) in [("CHOWN", "/chown", 100), ("SYS_CHROOT", "/chroot", 100)] {
        let found = capability(audited.command()?, name)?;
        ensure(found.checks.granted == count, (name, &found.checks))?;
        ensure(
            found.seen_in.iter().all(|place| place.exe.ends_with(exe)),
            (name, &found.seen_in),
        )?;
    }
    Ok(())
}

/// A container that was there before, and is restarted: the kernel gives it the numbers that it had.
fn restart() -> Verdicts {
    let name = unique("again");
    docker(&[
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        &name,
        "gt-corpus:1",
        "sh",
        "-c",
        "chown 1 /opt; exec sleep 600",
    ])?;
    let audited = audit_with(&[], &["docker", "restart", "-t", "0", &name]);
    docker(&["rm", "-f", &name])?;
    let audited = audited?;
    let container = audited.container(&name)?;
    // All of it is followed, and not only what would have been executed in the old one; but it is no new container.
    ensure(
        container
            .incomplete
            .iter()
            .all(|cause| cause.contains("made before the audit began")),
        &container.incomplete,
    )?;
    needs(container, &["CHOWN"])
}

/// A process, first of a pid and a mount namespace of its own, none of any engine's. It does what it is told when its
/// input ends.
fn apart(script: &str) -> Result<(Child, u64), Failed> {
    let child = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c"])
        .arg(format!("read go; {script}"))
        .stdin(Stdio::piped())
        .spawn()?;
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let mut number = 0;
    until("forked", || {
        use std::os::unix::fs::MetadataExt as _;
        let text = std::fs::read_to_string(&children)?;
        let Some(first) = text.split(' ').next().filter(|pid| !pid.is_empty()) else {
            return Ok(false);
        };
        number = std::fs::metadata(format!("/proc/{first}/ns/pid"))?.ino();
        Ok(true)
    })?;
    Ok((child, number))
}

fn gone(mut child: Child) -> Verdicts {
    drop(child.stdin.take());
    child.wait()?;
    Ok(())
}

fn pid_namespaces() -> Verdicts {
    let (_file, path) = temporary()?;
    let (before, number) = apart("true")?;
    let run = Run::start(&[], "true")?;
    gone(before)?;
    // Whoever else makes namespaces meanwhile may get the number first.
    let mut reused = false;
    let mut numbers = Vec::new();
    for _ in 0..5 {
        let (after, new) = apart(&format!("chown 1 {path}"))?;
        reused |= new == number;
        numbers.push(new);
        gone(after)?;
    }
    let ended = run.end()?;
    let seen: u64 = ended
        .report
        .subjects
        .iter()
        .filter(|subject| {
            subject.kind == Kind::Container && subject.name.starts_with("pid namespace")
        })
        .flat_map(|subject| &subject.capabilities)
        .filter(|capability| capability.capability.name() == "CHOWN")
        .map(|capability| capability.checks.granted)
        .sum();
    // All of them, whether they have got the number of what was there before or not.
    ensure(seen == 5, (seen, number, reused, numbers))
}

fn by_id<'a>(report: &'a Report, id: &str) -> Result<&'a SubjectReport, Failed> {
    let is_it = |subject: &&SubjectReport| subject.id.as_deref() == Some(id);
    let found = report.subjects.iter().find(is_it);
    found.ok_or_else(|| format!("no container {id}").into())
}

/// A parent cgroup that is made anew each time, with one container after the other in it; the first comes twice.
fn cgroups() -> Verdicts {
    let parent = mounts::unified()?.join(unique("again"));
    let ids = ["aa", "bb"].map(|digits| digits.repeat(32));
    let (_file, path) = temporary()?;
    let once = |id: &str, words: &str| {
        format!(
            "g={0}/docker-{id}.scope; mkdir -p $g; stat -c %i $g
             (echo 0 > $g/cgroup.procs; exec unshare --mount --pid --fork {words}); rmdir $g {0}\n",
            parent.display()
        )
    };
    let script = [
        once(&ids[0], &format!("chown 1 {path}")),
        once(&ids[1], "chroot / true"),
        once(&ids[0], &format!("chown 1 {path}")),
    ]
    .concat();
    let audited = audit_script(&script)?;
    audited.succeeded()?;
    let first = by_id(&audited.report, &ids[0])?;
    needs(first, &["CHOWN"])?;
    ensure(capability(first, "CHOWN")?.checks.granted == 2, first)?;
    let second = by_id(&audited.report, &ids[1])?;
    needs(second, &["SYS_CHROOT"])?;
    ensure(
        capability(second, "SYS_CHROOT")?.checks.granted == 1,
        second,
    )
}

/// A program without file capabilities, and then one with, under the same name and with the same inode number.
fn files() -> Verdicts {
    let audited = audit_script(
        "d=$(mktemp -d); trap 'rm -r $d' EXIT
         cp /bin/true $d/t; $d/t; stat -c %i $d/t
         setcap cap_sys_time=ep $d/t; $d/t; stat -c %i $d/t
         rm $d/t; cp /bin/true $d/u; $d/u; setcap cap_sys_boot=ep $d/u; $d/u; stat -c %i $d/u",
    )?;
    audited.succeeded()?;
    for name in ["SYS_TIME", "SYS_BOOT"] {
        ensure(
            audited
                .command()?
                .cap_add
                .names()
                .any(|needed| needed == name),
            (name, &audited.command()?.cap_add),
        )?;
    }
    Ok(())
}
