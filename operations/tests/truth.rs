//! Operations whose truth is well known, against the running kernel. They need root.

use std::{collections::BTreeSet, error::Error, process::Command};

use serde_json::Value;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

fn operations(arguments: &[&str]) -> Result<Vec<Value>> {
    let output = Command::new(env!("CARGO_BIN_EXE_operations"))
        .args(arguments)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(text
        .lines()
        .map(serde_json::from_str)
        .collect::<std::result::Result<_, _>>()?)
}

/// The truth about one operation in one mode.
fn truth(name: &str, mode: &str) -> Result<Value> {
    operations(&["truth", name, "--as", mode])?
        .pop()
        .ok_or_else(|| "no line".into())
}

fn sets(truth: &Value, field: &str) -> BTreeSet<String> {
    let of = |set: &Value| {
        set.as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    };
    truth[field]
        .as_array()
        .into_iter()
        .flatten()
        .map(of)
        .collect()
}

#[track_caller]
fn check(name: &str, mode: &str, expected: &[&str]) -> Result {
    let truth = truth(name, mode)?;
    let expected: BTreeSet<String> = expected.iter().map(|set| (*set).to_owned()).collect();
    assert_eq!(sets(&truth, "minimal"), expected, "{truth:#}");
    Ok(())
}

#[test]
fn one_capability_is_needed() -> Result {
    check("chown-own-to-other", "root", &["CHOWN"])?;
    check("bind-low-port-tcp", "root", &["NET_BIND_SERVICE"])?;
    check("kill-foreign", "root", &["KILL"])?;
    check("mount-tmpfs", "root", &["SYS_ADMIN"])?;
    check("open-by-handle-on-disk", "root", &["DAC_READ_SEARCH"])?;
    check(
        "linkat-empty-path-after-capset",
        "root",
        &["DAC_READ_SEARCH"],
    )?;
    check("exec-file-capability", "root", &["NET_RAW"])
}

#[test]
fn either_of_two_is_needed() -> Result {
    check("read-foreign", "root", &["DAC_OVERRIDE", "DAC_READ_SEARCH"])?;
    check("option-mark", "root", &["NET_ADMIN", "NET_RAW"])?;
    check("utimes-foreign-now", "root", &["DAC_OVERRIDE", "FOWNER"])
}

#[test]
fn several_are_needed() -> Result {
    check("setns-mounts-of-meek", "root", &["SYS_CHROOT SYS_ADMIN"])?;
    check("setns-mounts", "root", &["SYS_CHROOT SYS_PTRACE SYS_ADMIN"])
}

#[test]
fn nothing_is_needed() -> Result {
    for mode in ["root", "user", "nnp", "user-nnp", "userns"] {
        check("bind-high-port", mode, &[""])?;
    }
    Ok(())
}

#[test]
fn a_target_that_holds_more_needs_what_an_equal_does_not() -> Result {
    check("nice-root-mighty-higher", "root", &["SYS_NICE"])?;
    check("nice-root-meek-higher", "root", &[""])
}

#[test]
fn a_mode_bit_degrades_without_an_error() -> Result {
    let truth = truth("chmod-setgid-own-foreign-group", "root")?;
    assert_eq!(
        sets(&truth, "minimal"),
        BTreeSet::from(["FSETID".to_owned()]),
        "{truth:#}"
    );
    assert_eq!(
        sets(&truth, "minimal_to_succeed"),
        BTreeSet::from([String::new()]),
        "{truth:#}"
    );
    let mode = &truth["each"]["FSETID"]["details"]["mode"];
    assert_eq!(*mode, serde_json::json!(["102755", "100755"]), "{truth:#}");
    Ok(())
}

#[test]
fn no_new_privs_takes_the_place_of_a_capability() -> Result {
    check("seccomp-filter", "root", &["SYS_ADMIN"])?;
    check("seccomp-filter", "nnp", &[""])
}

#[test]
fn in_a_user_namespace_the_machine_s_capabilities_are_not_there() -> Result {
    check("chown-own-to-other", "userns", &["CHOWN"])?;
    let truth = truth("log-read-all", "userns")?;
    assert_eq!(truth["state"], "refused", "{truth:#}");
    Ok(())
}

/// Sets the operation up, acts and takes the set-up down, each in a process of its own; the act has to succeed.
fn succeeds_in_processes_of_its_own(name: &str) -> Result {
    let directory = format!("{}/{name}", env!("CARGO_TARGET_TMPDIR"));
    operations(&["setup", name, &directory])?;
    let program = env!("CARGO_BIN_EXE_operations");
    let seen = operations(&["enter", &directory, "--", program, "act", name, &directory])?;
    operations(&["teardown", &directory])?;
    assert_eq!(seen, [serde_json::json!({"result": "ok", "details": {}})]);
    Ok(())
}

#[test]
fn set_up_act_and_teardown_are_processes_of_their_own() -> Result {
    succeeds_in_processes_of_its_own("mount-tmpfs")
}

#[test]
fn what_a_set_up_leaves_behind_does_not_hold_the_caller_s_output() -> Result {
    // The output of the set-up is read to its end, which must not wait for the operation's companion.
    succeeds_in_processes_of_its_own("kill-foreign-probe")
}

#[test]
fn a_trial_holds_exactly_what_it_is_given() -> Result {
    let lines = operations(&[
        "try",
        "read-own-sets-by-capget",
        "--only",
        "CHOWN,KILL",
        "--uid",
        "1000",
    ])?;
    assert_eq!(lines[0]["trial"]["acted"]["details"]["sets"], "21 21 21");
    Ok(())
}
