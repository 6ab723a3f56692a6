//! Ledgers in which every text is somebody else's, and the rest is such that rules apply.

use capaudit_core::{
    capability::{CapSet, Capability, FileCapabilities},
    ledger::{
        CallRecord, CheckIdentity, CheckRecord, Container, Credentials, Engine, ExecRecord,
        FileOwner, Hook, Ledger, Losses, Object, Options, Outcome, Phase, Phases, Place, Pod,
        Requester, SCHEMA, Sample, Session, Subject, SubjectRecord, Target, UserIds,
    },
};
use proptest::{collection::vec, prelude::*};

use crate::text;

/// System calls that rules, advice and seccomp conditions are about, and one that there is not.
const CALLS: [&str; 28] = [
    "bind",
    "chown",
    "fchownat",
    "openat",
    "execve",
    "setuid",
    "setgid",
    "setgroups",
    "kill",
    "mount",
    "unshare",
    "clone",
    "ptrace",
    "prctl",
    "capset",
    "capget",
    "sethostname",
    "settimeofday",
    "setns",
    "bpf",
    "socket",
    "setsockopt",
    "sendto",
    "mmap",
    "get_mempolicy",
    "set_mempolicy",
    "chroot",
    "no such call",
];
/// Kernel functions that rules go by.
const CALLERS: [&str; 16] = [
    "ns_capable",
    "capable",
    "generic_permission",
    "setattr_prepare",
    "__inet_bind",
    "__inet6_bind",
    "__vm_enough_memory",
    "ptrace_may_access",
    "sock_setsockopt",
    "__sys_setuid",
    "may_setuid_ns",
    "ns_capable_noaudit",
    "check_kill_permission",
    "security_capable",
    "cap_inode_setxattr",
    "privileged_wrt_inode_uidgid",
];

/// As from a file, where counts may be anything.
pub(crate) fn of_files() -> impl Strategy<Value = Ledger> {
    prop::bool::ANY.prop_flat_map(made)
}

/// As the kernel counts, which nobody can make count to the end of 64 bits.
pub(crate) fn of_kernels() -> impl Strategy<Value = Ledger> {
    made(false)
}

fn made(extreme: bool) -> impl Strategy<Value = Ledger> {
    let texts = vec(text::hostile(), 6..=6);
    (texts, vec(any::<u32>(), 48..=48)).prop_map(move |(texts, dice)| {
        Maker {
            texts,
            dice,
            extreme,
            next: 0,
        }
        .ledger()
    })
}

struct Maker {
    texts: Vec<String>,
    dice: Vec<u32>,
    /// Counts at their limits.
    extreme: bool,
    next: usize,
}

impl Maker {
    fn roll(&mut self) -> usize {
        self.next += 1;
        // Beyond the last they come again, turned a little.
        let turns = (self.next / self.dice.len()) as u32;
        self.dice[self.next % self.dice.len()].rotate_left(turns * 7) as usize
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.roll().is_multiple_of(many)
    }

    fn text(&mut self) -> String {
        let number = self.roll() % (self.texts.len() + 1);
        let odd = self.texts.get(number).cloned().unwrap_or_default();
        match self.roll() % 4 {
            0 => format!("/usr/bin/{odd}"),
            1 => format!("web{odd}"),
            _ => odd,
        }
    }

    fn perhaps<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.one_in(2)).then(|| value(self))
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll() % from.len()]
    }

    fn count(&mut self) -> u64 {
        if self.extreme {
            return u64::MAX - self.roll() as u64 % 2;
        }
        self.roll() as u64 % 1000
    }

    fn set(&mut self) -> CapSet {
        let bits = self.roll() as u64 | (self.roll() as u64) << 32;
        CapSet::from_bits(bits)
    }

    fn capability(&mut self) -> Capability {
        let number = self.roll() as u8 % 42;
        Capability::from_number(number).unwrap_or(Capability::CHOWN)
    }

    fn ledger(mut self) -> Ledger {
        // Mostly one: several are for what joins them.
        let subjects = (0..1 + self.roll() % 8 / 6)
            .map(|_| self.subject())
            .collect();
        let losses = if self.one_in(4) {
            Losses {
                events: self.count(),
                stacks: self.count(),
                ..Losses::default()
            }
        } else {
            Losses::default()
        };
        Ledger {
            schema: SCHEMA.to_owned(),
            session: Session {
                started: "2026-01-01T00:00:00Z".to_owned(),
                duration_ms: self.roll() as u64,
                kernel: self.text(),
                hook: self.pick(&Hook::BEST_FIRST),
                command: vec![self.text(), self.text()],
                exit_status: self.perhaps(|it| it.roll() as i32 % 3),
                losses,
                unattributed: self
                    .perhaps(|it| (it.capability(), it.count()))
                    .into_iter()
                    .collect(),
                checks_only: self.roll().is_multiple_of(8),
                notes: self.perhaps(Self::text).into_iter().collect(),
            },
            subjects,
        }
    }

    fn subject(&mut self) -> SubjectRecord {
        let identity = match self.roll() % 4 {
            0 => Subject::Command,
            1 => Subject::Process {
                id: self.text(),
                engine: self.perhaps(Self::engine),
                program: self.roll().is_multiple_of(2),
            },
            _ => Subject::Container(self.container()),
        };
        let mut subject = SubjectRecord::new(identity);
        subject.name = self.text();
        subject.uid = self.pick(&[0, 33, u32::MAX]);
        subject.granted = self.set();
        subject.user_namespace_level = self.pick(&[0, 0, 0, 1, u32::MAX]);
        subject.seen_from_start = !self.one_in(4);
        subject.checks = (0..self.roll() % 3).map(|_| self.check()).collect();
        subject.execs = self.perhaps(Self::exec).into_iter().collect();
        subject.calls = (0..self.roll() % 3).map(|_| self.call()).collect();
        subject
    }

    fn container(&mut self) -> Container {
        Container {
            id: Some(self.text()).filter(|text| !text.is_empty()),
            image: Some(self.text()).filter(|text| !text.is_empty()),
            engine: self.perhaps(Self::engine),
            engine_version: self.perhaps(Self::text),
            compose_project: self.perhaps(Self::text),
            compose_service: self.perhaps(Self::text),
            pod: self.one_in(4).then(|| Pod {
                namespace: self.text(),
                name: self.text(),
                container: self.text(),
            }),
        }
    }

    fn engine(&mut self) -> Engine {
        self.pick(&[
            Engine::Docker,
            Engine::Podman,
            Engine::Containerd,
            Engine::Crio,
        ])
    }

    fn requester(&mut self) -> Requester {
        Requester {
            exe: self.text(),
            comm: self.text(),
            setup: self.one_in(8),
        }
    }

    fn check(&mut self) -> CheckRecord {
        let identity = CheckIdentity {
            capability: self.capability(),
            outcome: self.pick(&[Outcome::Granted, Outcome::Denied]),
            requester: self.requester(),
            place: self.pick(&[
                Place::Own,
                Place::Own,
                Place::Own,
                Place::Inner,
                Place::InnerOfOthers,
                Place::Outer,
            ]),
            inner_credentials: self.one_in(8),
            credentials: self.pick(&[
                Credentials::Own,
                Credentials::Own,
                Credentials::Borrowed,
                Credentials::Foreign,
            ]),
            options: self.perhaps(|it| Options {
                noaudit: it.one_in(4),
                insetid: it.one_in(4),
            }),
            syscall: match self.roll() % 8 {
                0 => None,
                1 => Some(self.text()),
                _ => Some(self.pick(&CALLS).to_owned()),
            },
            operation: self.roll() as u32,
            callers: (0..self.roll() % 4)
                .map(|_| match self.roll() % 8 {
                    0 => self.text(),
                    _ => self.pick(&CALLERS).to_owned(),
                })
                .collect(),
        };
        let mut check = CheckRecord::new(identity);
        check.count = self.count();
        check.first_ms = self.count();
        check.last_ms = self.count();
        check.succeeded = self.count();
        check.failed = self.count();
        check.errno = self.pick(&[0, 1, 13, u32::MAX]);
        check.sampled = self.count();
        check.phases = self.phases();
        for _ in 0..self.roll() % 2 {
            check.add_sample(self.sample());
        }
        check
    }

    fn phases(&mut self) -> Phases {
        let phases = Phase::ALL.into_iter();
        phases.filter(|_phase| self.one_in(4)).collect()
    }

    fn sample(&mut self) -> Sample {
        Sample {
            arguments: [self.roll() as u64, self.count(), 0, 0, 0, u64::MAX],
            object: self.perhaps(Self::object),
            second: self.perhaps(Self::text),
            owner: self.perhaps(Self::owner),
            ids: UserIds {
                uid: self.pick(&[0, 33, u32::MAX]),
                ..UserIds::default()
            },
            result: self.perhaps(|it| it.pick(&[0, -1, -13, 7, i64::MIN, i64::MAX])),
        }
    }

    fn object(&mut self) -> Object {
        match self.roll() % 5 {
            0 | 1 => Object::Path(self.text()),
            2 => Object::Internet {
                address: self.text(),
                port: self.roll() as u16,
            },
            3 => Object::Unix(self.text()),
            _ => Object::Netlink {
                kind: self.roll() as u16,
                flags: self.roll() as u16,
                text: self.text(),
            },
        }
    }

    fn owner(&mut self) -> FileOwner {
        FileOwner {
            uid: self.pick(&[0, 33]),
            gid: self.pick(&[0, 33]),
            mode: self.roll() as u32,
        }
    }

    fn exec(&mut self) -> ExecRecord {
        ExecRecord {
            exe: self.text(),
            capabilities: self.perhaps(|it| FileCapabilities {
                permitted: it.set(),
                inheritable: it.set(),
                effective: it.one_in(2),
                root_id: it.perhaps(|it| it.roll() as u32),
            }),
            setid: self.perhaps(Self::owner),
            unseen: self.one_in(4),
            ignored: self.one_in(4),
            count: self.count(),
            phases: self.phases(),
        }
    }

    fn call(&mut self) -> CallRecord {
        CallRecord {
            syscall: match self.roll() % 8 {
                0 => self.text(),
                _ => self.pick(&CALLS).to_owned(),
            },
            requester: self.requester(),
            operation: self.roll() as u32,
            arguments: [
                self.pick(&[0, 0x1000_0000, 0x7e02_0000, u64::MAX]),
                0,
                0,
                0,
                0,
                0,
            ],
            failed: self.one_in(2),
            result: self.pick(&[0, -1, -38, i64::MIN]),
            count: self.count(),
            target: self.perhaps(|it| Target {
                permitted: it.set(),
                same_user_namespace: it.one_in(2),
                same_subject: it.one_in(2),
            }),
            object: self.perhaps(Self::object),
            seccomp: self.perhaps(|it| it.one_in(2)),
            unasked: self.one_in(4),
            phases: self.phases(),
        }
    }
}
