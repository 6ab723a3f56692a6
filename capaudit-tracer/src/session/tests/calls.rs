//! System calls that matter although the kernel asks for nothing: whom and what they acted upon.

use capaudit_common::{
    event::{OBJECT_LEN, Target, object, target},
    key::{CallKey, call_flag},
};
use capaudit_core::{
    capability::CapSet,
    ledger::{CallRecord, Object, Target as Found},
};
use syscalls::Sysno;

use super::replay::{HOST, Replay, WEB, call_of, exec, exit, fork, number, pid_of};

fn key(syscall: Sysno, operation: u32, flags: u8) -> CallKey {
    CallKey {
        execution: 2,
        operation,
        syscall: number(syscall),
        failed: 0,
        flags,
    }
}

fn recorded(mut replay: Replay) -> Vec<CallRecord> {
    replay.finish().0.remove(0).calls
}

#[test]
fn whose_process_was_acted_upon_is_found_while_it_lives() {
    let mut replay = Replay::new();
    replay.command();
    replay.records([fork(3, 2, HOST, 0), fork(4, 2, HOST, 0), exit(4)]);
    replay.container(11, WEB);
    let followed = target::PRESENT | target::FOLLOWED | target::SAME_USER_NS;
    let cases = [
        (pid_of(3), followed, (true, true)),
        (pid_of(11), followed, (true, false)),
        // That number is another process's by now.
        (pid_of(4), target::PRESENT, (false, false)),
        (0, target::PRESENT | target::SAME_USER_NS, (true, false)),
    ];
    for (number, (tgid, flags, _expected)) in cases.iter().enumerate() {
        let mut call = call_of(key(Sysno::setpriority, number as u32, 0));
        call.target = Target {
            permitted: 1 << number,
            tgid: *tgid,
            flags: *flags,
        };
        replay.called(call);
    }
    // What becomes of the process later does not matter.
    replay.records([exit(3), exec(12, 11, WEB, "/bin/later")]);
    let calls = recorded(replay);
    assert_eq!(calls.len(), cases.len());
    for call in calls {
        let (same_user_namespace, same_subject) = cases[call.operation as usize].2;
        let expected = Found {
            permitted: CapSet::from_bits(1 << call.operation),
            same_user_namespace,
            same_subject,
        };
        assert_eq!(call.target, Some(expected), "case {}", call.operation);
    }
}

#[test]
fn what_was_acted_upon_is_told_by_path_name_or_address() {
    let path = |text: &str| Some(Object::Path(text.to_owned()));
    let cases: [(u8, &[u8], Option<Object>); 5] = [
        (object::NONE, b"", None),
        (object::PATH, b"/proc/7/environ\0", path("/proc/7/environ")),
        (object::NAMES, b"environ\x007\0/\0", path("/proc/7/environ")),
        (
            object::ADDRESS,
            &[2, 0, 0, 80, 127, 0, 0, 1],
            Some(Object::Internet {
                address: "127.0.0.1".to_owned(),
                port: 80,
            }),
        ),
        (object::ADDRESS, &[2], None),
    ];
    for (kind, bytes, expected) in cases {
        let mut replay = Replay::new();
        replay.command();
        let mut call = call_of(key(Sysno::openat, 0, 0));
        call.object_kind = kind;
        call.object[..bytes.len()].copy_from_slice(bytes);
        call.object_len = bytes.len() as u16;
        replay.called(call);
        let calls = recorded(replay);
        assert_eq!(calls[0].object, expected, "{bytes:?}");
        assert_eq!(calls[0].target, None);
    }
}

#[test]
fn a_length_beyond_the_record_is_survived() {
    let mut replay = Replay::new();
    replay.command();
    let mut call = call_of(key(Sysno::openat, 0, 0));
    call.object_kind = object::PATH;
    call.object = [b'a'; OBJECT_LEN];
    call.object_len = u16::MAX;
    replay.called(call);
    assert_eq!(
        recorded(replay)[0].object,
        Some(Object::Path("a".repeat(OBJECT_LEN)))
    );
}

#[test]
fn filters_and_refusals_before_any_check_are_told() {
    for (flags, seccomp, unasked) in [
        (0, None, false),
        (call_flag::FILTER_KNOWN, Some(false), false),
        (
            call_flag::FILTER_KNOWN | call_flag::FILTERED,
            Some(true),
            false,
        ),
        (call_flag::UNASKED, None, true),
    ] {
        let mut replay = Replay::new();
        replay.command();
        replay.called(call_of(key(Sysno::mount, 0, flags)));
        let call = recorded(replay).remove(0);
        assert_eq!((call.seccomp, call.unasked), (seccomp, unasked));
    }
}
