//! What matters although the kernel asks for no capability, recorded of real programs.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use capaudit_core::{
    capability::{CapSet, Capability},
    ledger::{CallRecord, ExecRecord, Object, Place, Target},
};
use libtest_mimic::{Failed, Trial};

use crate::audit::{Audited, Verdicts, audit, audit_payload, audit_script, ensure};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("unasked::another_process_that_holds_more", another_process),
        Trial::test("unasked::links_of_another_process", links),
        Trial::test("unasked::files_of_another_process", files),
        Trial::test("unasked::own_descendants_are_of_the_subject", descendants),
        Trial::test("unasked::a_look_at_the_own_sets", own_status),
        Trial::test("unasked::namespaces_of_somebody_else", namespaces),
        Trial::test("unasked::what_no_new_privs_hides", no_new_privs),
        Trial::test("unasked::privileges_on_nosuid_are_ignored", nosuid),
        Trial::test("unasked::ports_and_pings", ports),
        Trial::test("unasked::flags_of_clone3_and_filters", clone3),
    ]
}

/// A process that is none of what is audited, with every capability.
struct Bystander(Child);

impl Bystander {
    fn new() -> Result<Self, Failed> {
        let child = Command::new("sleep")
            .arg("1000")
            .stdout(Stdio::null())
            .spawn()?;
        // Until it runs what it is to run.
        std::thread::sleep(Duration::from_millis(100));
        Ok(Self(child))
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn calls(audited: &Audited) -> &[CallRecord] {
    &audited.ledger.subjects[0].calls
}

/// The calls that acted upon a process with every capability, none of the subject's.
fn upon_others<'a>(audited: &'a Audited, syscalls: &[&str]) -> Vec<&'a CallRecord> {
    let is_it = |target: Target| {
        !target.same_subject
            && target.same_user_namespace
            && target.permitted.contains(Capability::SYS_ADMIN)
            && target.permitted != CapSet::from_bits(u64::MAX)
    };
    calls(audited)
        .iter()
        .filter(|call| syscalls.contains(&call.syscall.as_str()))
        .filter(|call| call.target.is_some_and(is_it))
        .collect()
}

fn another_process() -> Verdicts {
    let other = Bystander::new()?;
    let pid = other.pid();
    for (command, syscall) in [
        (format!("renice -n 1 -p {pid}"), "setpriority"),
        (format!("taskset -p 1 {pid}"), "sched_setaffinity"),
        (format!("chrt -b -p 0 {pid}"), "sched_setscheduler"),
        (format!("ionice -c 3 -p {pid}"), "ioprio_set"),
    ] {
        let audited = audit_script(&command)?;
        audited.succeeded()?;
        // Newer versions of chrt use another call.
        let found = upon_others(&audited, &[syscall, "sched_setattr"]);
        ensure(!found.is_empty(), (&command, calls(&audited)))?;
        // The same of itself is none of it.
        let own = audit_script(&command.replace(&pid.to_string(), "$$"))?;
        ensure(upon_others(&own, &[syscall]).is_empty(), calls(&own))?;
    }
    Ok(())
}

fn files() -> Verdicts {
    let other = Bystander::new()?;
    let pid = other.pid();
    let mut names = vec![
        "environ", "maps", "auxv", "io", "syscall", "wchan", "stat", "fdinfo/1",
    ];
    names.push("task/PID/smaps");
    for name in names {
        let path = format!("/proc/{pid}/{}", name.replace("PID", &pid.to_string()));
        let audited = audit_script(&format!("cat {path} >/dev/null"))?;
        audited.succeeded()?;
        let found = upon_others(&audited, &["open", "openat"]);
        let object = Some(Object::Path(path.clone()));
        ensure(
            found.iter().any(|call| call.object == object),
            (path, calls(&audited)),
        )?;
    }
    // By a directory's descriptor, by the working directory.
    let audited = audit_script(&format!("cd /proc/{pid}; cat environ >/dev/null"))?;
    let found = upon_others(&audited, &["open", "openat"]);
    let object = Some(Object::Path(format!("/proc/{pid}/environ")));
    ensure(
        found.iter().any(|call| call.object == object),
        calls(&audited),
    )?;
    // What everybody may read is nothing to record.
    let audited = audit_script(&format!(
        "cat /proc/{pid}/status /proc/{pid}/cmdline >/dev/null"
    ))?;
    ensure(
        upon_others(&audited, &["open", "openat"]).is_empty(),
        calls(&audited),
    )
}

fn links() -> Verdicts {
    let other = Bystander::new()?;
    let pid = other.pid();
    for (command, syscalls) in [
        (
            format!("readlink /proc/{pid}/exe"),
            &["readlink", "readlinkat"][..],
        ),
        (
            format!("readlink /proc/{pid}/ns/net"),
            &["readlink", "readlinkat"],
        ),
        (
            format!("cat /proc/{pid}/root/etc/hostname"),
            &["open", "openat"],
        ),
        (format!("cd /proc/{pid}/cwd"), &["chdir"]),
        (
            format!("stat -L /proc/{pid}/ns/pid"),
            &["stat", "newfstatat", "statx"],
        ),
        (
            format!("cd /proc/{pid}; cat root/etc/hostname"),
            &["open", "openat"],
        ),
    ] {
        let audited = audit_script(&command)?;
        audited.succeeded()?;
        let found = upon_others(&audited, syscalls);
        ensure(!found.is_empty(), (&command, calls(&audited)))?;
    }
    let audited = audit_script(&format!(
        "stat -c %i /proc/{pid}/exe; readlink /proc/self/exe"
    ))?;
    let all = ["readlink", "readlinkat", "stat", "newfstatat", "statx"];
    ensure(upon_others(&audited, &all).is_empty(), calls(&audited))
}

fn descendants() -> Verdicts {
    let audited = audit_script("sleep 5 & sleep 0.2; cat /proc/$!/environ >/dev/null; kill $!")?;
    audited.succeeded()?;
    let same: Vec<bool> = calls(&audited)
        .iter()
        .filter_map(|call| call.target)
        .map(|target| target.same_subject)
        .collect();
    ensure(same == [true], calls(&audited))
}

fn own_status() -> Verdicts {
    for path in ["/proc/self/status", "/proc/thread-self/status"] {
        let audited = audit(&["cat", path])?;
        let found = calls(&audited)
            .iter()
            // By the kernel's names, whatever the program called it.
            .filter(|call| {
                matches!(&call.object, Some(Object::Path(path))
                    if path.starts_with("/proc/") && path.ends_with("/status") && !path.contains("self"))
            })
            .filter(|call| call.target.is_none())
            .count();
        ensure(found == 1, calls(&audited))?;
    }
    let other = Bystander::new()?;
    let path = format!("/proc/{}/status", other.pid());
    let audited = audit(&["cat", &path])?;
    ensure(
        calls(&audited).iter().all(|call| call.object.is_none()),
        calls(&audited),
    )
}

fn namespaces() -> Verdicts {
    // A process in a namespace that another user made, and that is killed by root.
    let script = "setpriv --reuid=65534 --regid=65534 --clear-groups unshare --user --map-root-user \
                  sleep 1000 & sleep 0.5; kill $!";
    let audited = audit_script(script)?;
    audited.succeeded()?;
    let places: Vec<Place> = audited.ledger.subjects[0]
        .checks
        .iter()
        .filter(|check| check.identity.capability == Capability::KILL)
        .map(|check| check.identity.place)
        .collect();
    ensure(places == [Place::InnerOfOthers], &places)?;
    // Its own one counts as before: whoever made it has every capability in it.
    let audited = audit_script(
        "unshare --user sleep 1000 & sleep 0.5; echo '0 0 1' >/proc/$!/uid_map; kill $!",
    )?;
    audited.succeeded()?;
    let places: Vec<Place> = audited.ledger.subjects[0]
        .checks
        .iter()
        .filter(|check| check.identity.capability == Capability::SYS_ADMIN)
        .map(|check| check.identity.place)
        .collect();
    ensure(
        places.contains(&Place::Inner) && !places.contains(&Place::InnerOfOthers),
        &places,
    )
}

fn execs(audited: &Audited) -> &[ExecRecord] {
    &audited.ledger.subjects[0].execs
}

fn no_new_privs() -> Verdicts {
    let script = "d=$(mktemp -d); chmod 755 $d; cp /bin/true $d/t; setcap cap_net_raw=ep $d/t; \
                  setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs $d/t; rm -r $d";
    let audited = audit_script(script)?;
    audited.succeeded()?;
    let raw = CapSet::from(Capability::NET_RAW);
    let found = execs(&audited).iter().any(|exec| {
        exec.exe.ends_with("/t")
            && !exec.unseen
            && !exec.ignored
            && exec
                .capabilities
                .is_some_and(|of| of.effective && of.permitted == raw)
    });
    ensure(found, execs(&audited))
}

fn nosuid() -> Verdicts {
    let script = "d=$(mktemp -d); mount -t tmpfs -o nosuid none $d; cp /bin/true $d/t; \
                  setcap cap_net_raw=ep $d/t; $d/t; umount -l $d; rmdir $d";
    let audited = audit_script(script)?;
    audited.succeeded()?;
    let found = execs(&audited)
        .iter()
        .filter(|exec| exec.exe.ends_with("/t"))
        .all(|exec| exec.ignored);
    ensure(found, execs(&audited))
}

fn ports() -> Verdicts {
    let audited = audit_payload(&[], &["bind", "81"])?;
    audited.succeeded()?;
    let expected = Object::Internet {
        address: "127.0.0.1".to_owned(),
        port: 81,
    };
    let found = |audited: &Audited, syscall: &str| -> Vec<Option<Object>> {
        let of = calls(audited).iter().filter(|call| call.syscall == syscall);
        of.map(|call| call.object.clone()).collect()
    };
    ensure(found(&audited, "bind") == [Some(expected)], calls(&audited))?;
    let audited = audit_payload(&[], &["bind", "8081"])?;
    audited.succeeded()?;
    ensure(found(&audited, "bind").is_empty(), calls(&audited))
}

fn clone3() -> Verdicts {
    let audited = audit_payload(&[], &["threads", "2", "/dev/null"])?;
    let found = calls(&audited).iter().find(|call| call.syscall == "clone3");
    // CLONE_THREAD, include/uapi/linux/sched.h
    ensure(
        found.is_some_and(|call| call.arguments[2] & 0x10000 != 0),
        calls(&audited),
    )?;
    ensure(
        calls(&audited)
            .iter()
            .all(|call| call.seccomp == Some(false)),
        calls(&audited),
    )
}
