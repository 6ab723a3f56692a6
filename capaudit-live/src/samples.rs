//! For tests: a ledger and checks as a watch would make them.

use std::{sync::Arc, time::Duration};

use capaudit_core::{
    capability::{CapSet, Capability},
    ledger::{
        CheckIdentity, CheckRecord, Container, Credentials, Hook, Ledger, Object, Outcome, Place,
        Requester, SCHEMA, Sample, Session, Subject, SubjectRecord, UserIds,
    },
};
use capaudit_tracer::session::check_event::CheckEvent;

use crate::judged::JudgedCheck;

/// A container's name that nobody should show as it is.
pub const HOSTILE: &str = "evil\u{1b}[31m\u{202e}漢字漢字漢字-with-a-very-long-name";

fn check(
    exe: &str,
    capability: Capability,
    outcome: Outcome,
    call: (&str, Option<Object>, i64),
    callers: &[&str],
    count: u64,
) -> CheckRecord {
    let (syscall, object, result) = call;
    let mut record = CheckRecord::new(CheckIdentity {
        capability,
        outcome,
        requester: Requester {
            exe: exe.to_owned(),
            comm: exe.rsplit('/').next().unwrap_or_default().to_owned(),
            setup: false,
        },
        place: Place::Own,
        inner_credentials: false,
        credentials: Credentials::Own,
        options: None,
        syscall: Some(syscall.to_owned()),
        operation: 0,
        callers: callers.iter().map(|caller| (*caller).to_owned()).collect(),
    });
    record.count = count;
    record.first_ms = 0;
    record.last_ms = 1000;
    if result < 0 {
        record.failed = count;
        record.errno = u32::try_from(-result).unwrap_or(0);
    } else {
        record.succeeded = count;
    }
    record.add_sample(Sample {
        arguments: [0xffff_ff9c, 0x55d0_c0de, 0x1, 0xffff_ffff, 0, 0],
        object,
        second: None,
        owner: None,
        ids: UserIds::default(),
        result: Some(result),
    });
    record
}

fn checks(factor: u64) -> Vec<CheckRecord> {
    let chown = [
        "capable_wrt_inode_uidgid",
        "setattr_prepare",
        "notify_change",
    ];
    let path = |path: &str| Some(Object::Path(path.to_owned()));
    let port = Some(Object::Internet {
        address: "0.0.0.0".to_owned(),
        port: 80,
    });
    vec![
        check(
            "/usr/sbin/nginx",
            Capability::CHOWN,
            Outcome::Granted,
            ("chown", path("/var/lib/nginx/body"), 0),
            &chown,
            12 * factor,
        ),
        check(
            "/usr/sbin/nginx",
            Capability::NET_BIND_SERVICE,
            Outcome::Granted,
            ("bind", port, 0),
            &["ns_capable", "__inet_bind"],
            1,
        ),
        check(
            "/usr/sbin/nginx",
            Capability::SYS_ADMIN,
            Outcome::Granted,
            ("mmap", None, 4096),
            &["cap_vm_enough_memory", "__vm_enough_memory"],
            345 * factor,
        ),
        check(
            "/bin/sh",
            Capability::DAC_OVERRIDE,
            Outcome::Denied,
            ("openat", path("/root/.profile"), -13),
            &["generic_permission", "inode_permission"],
            2,
        ),
    ]
}

/// A ledger of `subjects` by kind and name; every total of the busy ones is multiplied by `factor`.
pub fn ledger(factor: u64) -> Ledger {
    let subject = |identity, name: &str| SubjectRecord {
        name: name.to_owned(),
        granted: CapSet::known(),
        checks: checks(factor),
        ..SubjectRecord::new(identity)
    };
    let id = |name: &str| format!("id-of-{name}");
    let container = |name: &str, image: &str, service: Option<&str>| {
        let container = Container {
            id: Some(id(name)),
            image: Some(image.to_owned()),
            compose_project: service.map(|_| "shop".to_owned()),
            compose_service: service.map(str::to_owned),
            ..Container::default()
        };
        subject(container.into(), name)
    };
    let nginx = "/usr/sbin/nginx";
    let process = Subject::Process {
        id: id(nginx),
        engine: None,
        program: true,
    };
    let mut program = subject(process, nginx);
    program.seen_from_start = false;
    program.checks.truncate(3);
    Ledger {
        schema: SCHEMA.to_owned(),
        session: Session {
            started: "2026-01-02T03:04:05Z".to_owned(),
            duration_ms: 1000 * factor,
            kernel: "6.18.0".to_owned(),
            ..Session::new(Hook::TpBtf)
        },
        subjects: vec![
            container("shop-web-1", "nginx:1", Some("web")),
            container("shop-web-2", "nginx:1", Some("web")),
            container(HOSTILE, "evil:1", None),
            program,
        ],
    }
}

/// One check after another, of all subjects.
pub fn check_events() -> Vec<JudgedCheck> {
    let ledger = ledger(1);
    let mut time = jiff::Timestamp::UNIX_EPOCH;
    let mut events = Vec::new();
    for subject in &ledger.subjects {
        let named = Arc::new(SubjectRecord {
            checks: Vec::new(),
            ..subject.clone()
        });
        for check in &subject.checks {
            let mut record = check.clone();
            record.count = 1;
            time = time
                .checked_add(Duration::from_millis(1234))
                .unwrap_or(time);
            let event = CheckEvent {
                time,
                subject: Arc::clone(&named),
                pid: 4711,
                tid: 4711,
                record,
                target_namespace: 4_026_531_837,
                target_level: 0,
                credentials_namespace: 4_026_531_837,
                credentials_level: 0,
            };
            events.push(JudgedCheck::of(event, &ledger.session));
        }
    }
    events
}
