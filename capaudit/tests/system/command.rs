//! Plain commands: what each asks of the kernel, and what is made of it.

use capaudit_core::{
    advise::{Evidence, Verdict},
    capability::{CapSet, Capability},
    ledger::{Object, Place, SubjectRecord},
};
use libtest_mimic::Trial;

use crate::audit::{
    Verdicts, audit, audit_payload, audit_script, audit_with, capability, ensure, needs,
};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("command::chown", chown),
        Trial::test("command::nothing_needed", nothing_needed),
        Trial::test("command::low_port_refused", low_port_refused),
        Trial::test("command::low_port_granted", low_port_granted),
        Trial::test("command::file_capability", file_capability),
        Trial::test("command::chroot", chroot),
        Trial::test("command::kill_across_users", kill_across_users),
        Trial::test(
            "command::mount_in_own_user_namespace",
            mount_in_own_user_namespace,
        ),
        Trial::test("command::chosen_bounding_set", chosen_bounding_set),
        Trial::test("command::read_by_either", read_by_either),
        Trial::test("command::setuid_to_self", setuid_to_self),
        Trial::test("command::setgid_bit", setgid_bit),
        Trial::test("command::first_execve", first_execve),
        Trial::test("command::threads_count_exactly", threads_count_exactly),
        Trial::test(
            "command::fork_storm_counts_exactly",
            fork_storm_counts_exactly,
        ),
        Trial::test(
            "command::many_kinds_count_exactly",
            many_kinds_count_exactly,
        ),
        Trial::test(
            "command::short_lives_count_exactly",
            short_lives_count_exactly,
        ),
        Trial::test("command::hooks_agree", hooks_agree),
        Trial::test("command::checks_only", checks_only),
    ]
}

fn chown() -> Verdicts {
    let file = tempfile::NamedTempFile::new()?;
    let path = file.path().to_string_lossy().into_owned();
    let audited = audit(&["chown", "1:1", &path])?;
    audited.succeeded()?;
    needs(audited.command()?, &["CHOWN"])?;
    let found = capability(audited.command()?, "CHOWN")?;
    // Owner and group are asked for separately (`setattr_prepare`, fs/attr.c).
    ensure(found.checks.total == 2 && found.checks.denied == 0, found)?;
    let place = found.seen_in.first().ok_or("nowhere seen")?;
    ensure(place.object == path && place.exe.ends_with("/chown"), place)?;
    ensure(
        place.syscall == "fchownat" && place.caller == "setattr_prepare",
        place,
    )
}

fn nothing_needed() -> Verdicts {
    let audited = audit(&["true"])?;
    audited.succeeded()?;
    needs(audited.command()?, &[])?;
    // Asked all the same, of every mapping.
    let found = capability(audited.command()?, "SYS_ADMIN")?;
    ensure(
        found.verdict == Verdict::Noise && found.checks.granted > 0,
        found,
    )
}

fn low_port_refused() -> Verdicts {
    let own = std::env::current_exe()?;
    let own = own.to_string_lossy();
    let script = [
        "setpriv",
        "--reuid=65534",
        "--clear-groups",
        &own,
        "payload",
        "bind",
        "80",
    ];
    let audited = audit(&script)?;
    ensure(
        audited.output.status.code() == Some(1),
        audited.output.status,
    )?;
    let found = capability(audited.command()?, "NET_BIND_SERVICE")?;
    ensure(found.checks.denied == 1 && found.checks.granted == 0, found)?;
    // The command failed, and this refusal may be why.
    ensure(
        found.verdict == Verdict::Needed && found.evidence == Evidence::Possible,
        found,
    )?;
    let place = found.seen_in.first().ok_or("nowhere seen")?;
    ensure(
        place.object == "127.0.0.1:80" && place.syscall == "bind",
        place,
    )?;
    let checks = &audited.ledger.subjects[0].checks;
    let refused = checks
        .iter()
        .find(|check| check.identity.capability == Capability::NET_BIND_SERVICE)
        .ok_or("no such check")?;
    ensure(refused.failed == 1 && refused.errno == 13, refused)
}

fn low_port_granted() -> Verdicts {
    let audited = audit_payload(&[], &["bind", "81"])?;
    audited.succeeded()?;
    needs(audited.command()?, &["NET_BIND_SERVICE"])?;
    let found = capability(audited.command()?, "NET_BIND_SERVICE")?;
    ensure(
        found
            .need_less
            .as_ref()
            .is_some_and(|way| way.contains("ip_unprivileged_port_start")),
        found,
    )
}

/// execve insists on effective file capabilities, whether they are used or not.
fn file_capability() -> Verdicts {
    let audited = audit_script(
        "d=$(mktemp -d); trap 'rm -r $d' EXIT; chmod 755 $d; cp /bin/true $d/t; setcap cap_sys_time=ep $d/t
         setpriv --reuid=65534 --clear-groups $d/t",
    )?;
    audited.succeeded()?;
    let found = capability(audited.command()?, "SYS_TIME")?;
    ensure(
        found.verdict == Verdict::Needed && found.checks.total == 0,
        found,
    )?;
    ensure(
        !audited.command()?.no_new_privileges_is_safe,
        "no-new-privileges would break it",
    )
}

fn chroot() -> Verdicts {
    let audited = audit(&["chroot", "/", "true"])?;
    audited.succeeded()?;
    ensure(
        audited.command()?.cap_add.contains(Capability::SYS_CHROOT),
        audited.command()?.cap_add,
    )?;
    let found = capability(audited.command()?, "SYS_CHROOT")?;
    ensure(found.evidence == Evidence::Decisive, found)
}

fn kill_across_users() -> Verdicts {
    let audited = audit_script(
        "setpriv --reuid=65534 --clear-groups sleep 30 & p=$!
         until [ \"$(cat /proc/$p/comm)\" = sleep ]; do sleep 0.02; done
         kill -15 $p; wait $p || true",
    )?;
    audited.succeeded()?;
    let found = capability(audited.command()?, "KILL")?;
    ensure(
        found.verdict == Verdict::Needed && found.checks.granted == 1,
        found,
    )?;
    let place = found.seen_in.first().ok_or("nowhere seen")?;
    ensure(
        place.syscall == "kill" && place.object.contains("signal 15"),
        place,
    )
}

fn mount_in_own_user_namespace() -> Verdicts {
    let audited = audit(&[
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "mount",
        "-t",
        "tmpfs",
        "none",
        "/mnt",
    ])?;
    audited.succeeded()?;
    let found = capability(audited.command()?, "SYS_ADMIN")?;
    ensure(found.verdict < Verdict::Needed, found)?;
    let inner = audited.ledger.subjects[0].checks.iter().any(|check| {
        check.identity.place == Place::Inner && check.identity.syscall.as_deref() == Some("mount")
    });
    ensure(inner, "no check in the inner namespace was recorded")
}

fn chosen_bounding_set() -> Verdicts {
    let audited = audit(&["setpriv", "--bounding-set=-all,+chown,+kill", "true"])?;
    audited.succeeded()?;
    // What the command itself was started with, not what it then made of it.
    ensure(
        audited.command()?.granted.len() > 10,
        audited.command()?.granted,
    )?;
    needs(audited.command()?, &["SETPCAP"])
}

fn read_by_either() -> Verdicts {
    let script = |how: &str| {
        format!(
            "d=$(mktemp -d); echo x > $d/f; chmod 600 $d/f; chown 65534 $d/f; {how} $d/f; rm -r $d"
        )
    };
    let read = audit_script(&script("cat"))?;
    read.succeeded()?;
    let found = capability(read.command()?, "DAC_READ_SEARCH")?;
    ensure(found.verdict == Verdict::Needed, found)?;
    ensure(
        found.alternatives == [CapSet::from(Capability::DAC_OVERRIDE)],
        found,
    )?;
    let written = audit_script(&script("cat >>"))?;
    let found = capability(written.command()?, "DAC_OVERRIDE")?;
    ensure(
        found.verdict == Verdict::Needed && found.alternatives.is_empty(),
        found,
    )?;
    // Writing takes DAC_OVERRIDE, which then serves for reading, too.
    let both = audit_script(&script("cat ").replace("rm -r", "echo y >> $d/f; rm -r"))?;
    both.succeeded()?;
    let found = capability(both.command()?, "DAC_READ_SEARCH")?;
    ensure(found.verdict == Verdict::Alternative, found)
}

fn setuid_to_self() -> Verdicts {
    let audited = audit_payload(&[], &["setuid-to-self"])?;
    audited.succeeded()?;
    needs(audited.command()?, &[])?;
    let found = capability(audited.command()?, "SETUID")?;
    ensure(
        found.verdict == Verdict::Noise && found.checks.total == 1,
        found,
    )
}

/// chmod of a foreign group's file always asks for FSETID; only with the setgid bit does it matter.
fn setgid_bit() -> Verdicts {
    let script = |mode: &str| format!("f=$(mktemp); chgrp 1 $f; chmod {mode} $f; rm $f");
    let plain = audit_script(&script("0755"))?;
    plain.succeeded()?;
    let found = capability(plain.command()?, "FSETID")?;
    ensure(found.verdict == Verdict::Noise, found)?;
    let setgid = audit_script(&script("2755"))?;
    let found = capability(setgid.command()?, "FSETID")?;
    ensure(found.verdict == Verdict::Needed, found)
}

/// What the kernel asks while it executes the command itself.
fn first_execve() -> Verdicts {
    let directory = tempfile::tempdir()?;
    let program = directory.path().join("t");
    std::fs::copy("/bin/true", &program)?;
    std::os::unix::fs::chown(&program, Some(65534), Some(65534))?;
    std::fs::set_permissions(
        &program,
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )?;
    let audited = audit(&[&program])?;
    audited.succeeded()?;
    let found = capability(audited.command()?, "DAC_OVERRIDE")?;
    ensure(found.verdict == Verdict::Needed, found)?;
    let place = found.seen_in.first().ok_or("nowhere seen")?;
    ensure(place.syscall == "execve", place)
}

fn threads_count_exactly() -> Verdicts {
    let file = tempfile::NamedTempFile::new()?;
    let audited = audit_payload(&[], &["threads", "20", &file.path().to_string_lossy()])?;
    audited.succeeded()?;
    let found = capability(audited.command()?, "CHOWN")?;
    ensure(found.checks.granted == 200, found)
}

fn fork_storm_counts_exactly() -> Verdicts {
    let file = tempfile::NamedTempFile::new()?;
    let audited = audit_payload(&[], &["fork-storm", "3000", &file.path().to_string_lossy()])?;
    audited.succeeded()?;
    ensure(audited.report.session.complete, &audited.ledger.session)?;
    let found = capability(audited.command()?, "CHOWN")?;
    ensure(found.checks.granted == 3000, found)
}

/// More kinds of checks than a processor counts by itself, moving between processors, in images that end.
fn many_kinds_count_exactly() -> Verdicts {
    const RUNS: u64 = 3;
    const EACH: u64 = 50_000;
    let files: Vec<_> = (0..4)
        .map(|_| tempfile::NamedTempFile::new())
        .collect::<Result<_, _>>()?;
    let paths: Vec<String> = files
        .iter()
        .map(|file| file.path().to_string_lossy().into_owned())
        .collect();
    let (runs, each) = (RUNS.to_string(), EACH.to_string());
    let mut words = vec!["mixed", &runs, &each];
    words.extend(paths.iter().map(String::as_str));
    let audited = audit_payload(&[], &words)?;
    audited.succeeded()?;
    ensure(audited.report.session.complete, &audited.ledger.session)?;
    let found = capability(audited.command()?, "CHOWN")?;
    ensure(found.checks.granted == 4 * RUNS * EACH, found)
}

fn short_lives_count_exactly() -> Verdicts {
    let own = std::env::current_exe()?;
    let file = tempfile::NamedTempFile::new()?;
    let audited = audit_script(&format!(
        "i=0; while [ $i -lt 200 ]; do '{}' payload chown '{}'; i=$((i+1)); done",
        own.display(),
        file.path().display()
    ))?;
    audited.succeeded()?;
    let found = capability(audited.command()?, "CHOWN")?;
    ensure(found.checks.granted == 200, found)?;
    let exact = found
        .seen_in
        .iter()
        .all(|place| place.exe == own.to_string_lossy());
    ensure(exact, &found.seen_in)
}

/// Every hook that works here finds the same.
/// Without system calls, checks are counted as ever, and what is missing is said and costs `--strict` its status.
fn checks_only() -> Verdicts {
    let file = tempfile::NamedTempFile::new()?;
    let path = file.path().to_string_lossy().into_owned();
    let script = "unshare --user true; chown 1:1 \"$1\"";
    let command = ["sh", "-ec", script, "sh", &path];
    let all = audit(&command)?;
    let alone = audit_with(&["--checks-only", "--strict"], &command)?;

    let (full, bare) = (&all.ledger.subjects[0], &alone.ledger.subjects[0]);
    ensure(!full.calls.is_empty() && bare.calls.is_empty(), &bare.calls)?;
    let returned = |subject: &SubjectRecord| {
        let mut samples = subject
            .checks
            .iter()
            .flat_map(|check| check.samples().seen());
        samples.any(|sample| sample.result.is_some())
    };
    ensure(returned(full) && !returned(bare), "results")?;

    needs(alone.command()?, &["CHOWN"])?;
    let found = capability(alone.command()?, "CHOWN")?;
    ensure(found.checks.total == 2, found)?;
    ensure(!alone.report.session.complete, &alone.report.session)?;
    let notes = &alone.report.session.notes;
    ensure(
        notes.iter().any(|note| note.contains("--checks-only")),
        notes,
    )?;
    ensure(alone.output.status.code() == Some(4), alone.output.status)
}

fn hooks_agree() -> Verdicts {
    let mut working = Vec::new();
    for hook in ["fexit", "tp_btf", "kprobe"] {
        let file = tempfile::NamedTempFile::new()?;
        let path = file.path().to_string_lossy().into_owned();
        // Where a hook does not work, capaudit says so with status 3 and makes no report.
        let Ok(audited) = audit_with(&["--hook", hook], &["chown", "1:1", &path]) else {
            continue;
        };
        audited.succeeded()?;
        ensure(audited.report.session.hook.to_string() == hook, hook)?;
        needs(audited.command()?, &["CHOWN"])?;
        let object = audited.ledger.subjects[0]
            .checks
            .iter()
            .flat_map(|check| check.samples().seen())
            .any(|sample| sample.object == Some(Object::Path(path.clone())));
        ensure(object, "the path was not recorded")?;
        working.push(hook);
    }
    ensure(!working.is_empty(), "no hook works here")
}
