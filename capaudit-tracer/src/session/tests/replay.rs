//! Records and maps as the kernel side writes them, and a machine to look things up in: what a
//! [`Collector`] is fed with, without a kernel.

use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use capaudit_common::{
    event::{
        CGROUP_DEPTH, CGROUP_LEN, COMM_LEN, Call, Check, Exec, Exit, Fork, Header, Ids, Namespaces,
        OBJECT_LEN, Result as CallResult, SECOND_LEN, STACK_LEN, Sets, Target, kind, object,
    },
    key::{CallKey, CheckCount, CheckKey, SiteCount, SiteKey},
    scope::execution,
};
use capaudit_core::{
    capability::Capability,
    ledger::{ExecRecord, FileOwner, Phases, SubjectRecord},
};
use syscalls::Sysno;

use crate::{
    probe::{Event, ProbeError},
    proc::{ContainerId, Existing, kallsyms::Symbols},
    session::{
        account::Totals,
        collector::Collector,
        enrich::{Answer, Enrich, Wanted},
        facts::Facts,
    },
    subject::{Identity, attached::Running, engine::Description},
};

/// Set up by what runs now, see [`execution::SETUP`].
pub(super) const SETUP: u32 = execution::SETUP;

/// Functions of the kernel, and an address in each.
const SYMBOLS: &[u8] = b"0000000000000010 T cap_capable\n\
    0000000000000020 T security_capable\n\
    0000000000000030 t chown_common\n\
    0000000000000040 t generic_permission\n\
    0000000000000050 T do_syscall_64\n";
pub(super) const CHOWN_COMMON: u64 = 0x31;
pub(super) const GENERIC_PERMISSION: u64 = 0x41;

/// When a replay's audit begins, in seconds since 1970.
pub(super) const BEGAN: i64 = 1_700_000_000;

/// Where a process is.
#[derive(Clone, Copy)]
pub(super) struct Space {
    pub(super) pid_namespace: u32,
    pub(super) user_namespace: u32,
    pub(super) user_level: u32,
    pub(super) cgroup: &'static str,
}

pub(super) const HOST: Space = Space {
    pid_namespace: 1,
    user_namespace: 9,
    user_level: 0,
    cgroup: "user.slice",
};
/// The same, as records of what is executed in capaudit's own mount namespace tell it: without a cgroup.
pub(super) const UNNAMED: Space = Space { cgroup: "", ..HOST };
pub(super) const WEB: Space = Space {
    pid_namespace: 70,
    user_namespace: 9,
    user_level: 0,
    cgroup: "docker-39bf4a995c6cb1e532f912c87300949dcff77a405c644395cc2cd3095c6a8914.scope",
};
pub(super) const DB: Space = Space {
    pid_namespace: 80,
    user_namespace: 9,
    user_level: 0,
    cgroup: "docker-4444444444444444444444444444444444444444444444444444444444444444.scope",
};

impl Space {
    /// The container whose space this is.
    pub(super) fn container(self) -> ContainerId {
        match ContainerId::from_cgroup(self.cgroup.as_bytes()) {
            Some(container) => container,
            None => panic!("{} is no container's", self.cgroup),
        }
    }

    /// Its mount namespace.
    pub(super) fn mount_namespace(self) -> u32 {
        self.pid_namespace + 500
    }

    fn namespaces(self) -> Namespaces {
        Namespaces {
            mnt: self.mount_namespace(),
            pid: self.pid_namespace,
            user: self.user_namespace,
            user_level: self.user_level,
        }
    }
}

/// The process of an execution.
pub(super) fn pid_of(execution: u64) -> u32 {
    execution as u32 + 1000
}

fn header(execution: u64, kind: u32, flags: u32) -> Header {
    Header {
        time: 0,
        execution,
        kind,
        tgid: pid_of(execution),
        tid: pid_of(execution),
        flags,
    }
}

pub(super) fn fork(execution: u64, parent: u64, space: Space, flags: u32) -> Event {
    Event::Fork(forked(execution, parent, space, flags))
}

pub(super) fn adopt(execution: u64, space: Space, flags: u32) -> Event {
    Event::Adopt(forked(execution, 0, space, flags))
}

fn forked(execution: u64, parent: u64, space: Space, flags: u32) -> Fork {
    Fork {
        header: header(execution, kind::FORK, flags),
        parent,
        namespaces: space.namespaces(),
        ids: Ids::default(),
        sets: Sets::default(),
        comm: bytes("forked"),
    }
}

pub(super) fn exec(execution: u64, previous: u64, space: Space, path: &str) -> Event {
    let mut cgroups = [[0; CGROUP_LEN]; CGROUP_DEPTH];
    cgroups[0] = bytes(space.cgroup);
    Event::Exec(Box::new(Exec {
        header: header(execution, kind::EXEC, 0),
        previous,
        namespaces: space.namespaces(),
        ids: Ids::default(),
        sets: Sets::default(),
        inode: 0,
        device: 0,
        mode: 0,
        owner: 0,
        group: 0,
        ignored: 0,
        reserved: 0,
        comm: bytes("executed"),
        path: bytes::<OBJECT_LEN>(path),
        interpreter: bytes::<OBJECT_LEN>(path),
        cgroups,
    }))
}

pub(super) fn exit(execution: u64) -> Event {
    Event::Exit(Exit {
        header: header(execution, kind::EXIT, 0),
        status: 0,
        reserved: 0,
    })
}

fn bytes<const LENGTH: usize>(text: &str) -> [u8; LENGTH] {
    let mut field = [0; LENGTH];
    field[..text.len()].copy_from_slice(text.as_bytes());
    field
}

pub(super) fn number(syscall: Sysno) -> u16 {
    syscall.id() as u16
}

/// A check: its key, and what its record tells besides.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) key: CheckKey,
    /// Names the call site.
    pub(super) site: u32,
    /// An address in the function that asks.
    pub(super) caller: u64,
    /// Number of the system call, among its thread's.
    pub(super) call: u64,
    /// The file it is about; empty if none.
    pub(super) path: &'static str,
    /// The file's mode, if it is known from the kernel.
    pub(super) file_mode: u32,
    /// Bits of the execution.
    pub(super) flags: u32,
    /// How deep the namespace of the question lies.
    pub(super) target_level: u32,
    /// When, in nanoseconds after the start.
    pub(super) time: u64,
}

/// A record of calls that are counted under `key`.
pub(super) fn call_of(key: CallKey) -> Call {
    Call {
        header: header(key.execution, kind::CALL, 0),
        key,
        arguments: [0; 6],
        value: 7,
        target: Target::default(),
        object_kind: object::NONE,
        reserved: 0,
        object_len: 0,
        padding: 0,
        object: [0; OBJECT_LEN],
    }
}

/// An execution of [`HOST`]'s user namespace asks for a capability in a system call.
pub(super) fn asks(execution: u64, capability: Capability, syscall: Sysno) -> Asked {
    Asked {
        key: CheckKey {
            execution,
            target_ns: HOST.user_namespace,
            cred_ns: HOST.user_namespace,
            operation: 0,
            syscall: number(syscall),
            capability: capability.number(),
            flags: 0,
        },
        site: 1,
        caller: CHOWN_COMMON,
        call: 0,
        path: "",
        file_mode: 0,
        flags: 0,
        target_level: 0,
        time: 0,
    }
}

impl Asked {
    pub(super) fn site_key(&self) -> SiteKey {
        SiteKey {
            check: self.key,
            site: self.site,
            reserved: 0,
        }
    }

    /// The record that the kernel side sends of this check.
    pub(super) fn record(&self, started: u64) -> Event {
        let mut stack = [0; STACK_LEN];
        stack[..4].copy_from_slice(&[0x11, 0x21, self.caller, 0x51]);
        Event::Check(Box::new(Check {
            header: Header {
                time: started + self.time,
                ..header(self.key.execution, kind::CHECK, self.flags)
            },
            key: self.key,
            site: self.site,
            depth: 4,
            call: self.call,
            stack,
            arguments: [0; 6],
            ids: Ids::default(),
            sets: Sets::default(),
            target_level: self.target_level,
            cred_level: 0,
            file_mode: self.file_mode,
            file_uid: 0,
            file_gid: 0,
            object_kind: if self.path.is_empty() {
                object::NONE
            } else {
                object::PATH
            },
            second_kind: 0,
            object_len: self.path.len() as u16,
            comm: bytes::<COMM_LEN>("requester"),
            object: bytes(self.path),
            second: [0; SECOND_LEN],
        }))
    }

    /// The record of what its system call returned.
    pub(super) fn returns(&self, value: i64) -> Event {
        Event::Result(CallResult {
            header: header(self.key.execution, kind::RESULT, 0),
            call: self.call,
            value,
        })
    }
}

/// The maps of the kernel side.
#[derive(Default)]
pub(super) struct Kernel {
    pub(super) checks: HashMap<CheckKey, CheckCount>,
    pub(super) sites: HashMap<SiteKey, SiteCount>,
    pub(super) calls: HashMap<CallKey, u64>,
    pub(super) overflow: Vec<(Capability, u64, u64)>,
    pub(super) lost: u64,
    /// `None`: they cannot be listed.
    pub(super) live: Option<HashSet<u64>>,
    /// How often they were listed.
    pub(super) listed: Cell<u32>,
    pub(super) max_checks: u32,
    /// Processes that are not followed any more, and in which mount namespace.
    pub(super) let_go: Vec<(u32, u32)>,
}

impl Totals for Kernel {
    fn checks(&self) -> Result<HashMap<CheckKey, CheckCount>, ProbeError> {
        Ok(self.checks.clone())
    }

    fn sites(&self) -> Result<HashMap<SiteKey, SiteCount>, ProbeError> {
        Ok(self.sites.clone())
    }

    fn calls(&self) -> Result<HashMap<CallKey, u64>, ProbeError> {
        Ok(self.calls.clone())
    }

    fn overflow(&self) -> Result<Vec<(Capability, u64, u64)>, ProbeError> {
        Ok(self.overflow.clone())
    }

    fn lost_records(&self) -> Result<u64, ProbeError> {
        Ok(self.lost)
    }

    fn live_executions(&self) -> Result<Option<HashSet<u64>>, ProbeError> {
        self.listed.set(self.listed.get() + 1);
        Ok(self.live.clone())
    }

    fn max_checks(&self) -> u32 {
        self.max_checks
    }

    fn stop_following(&mut self, pid: u32, mount_namespace: u32) {
        self.let_go.push((pid, mount_namespace));
    }

    fn remove_check(&mut self, key: &CheckKey) {
        self.checks.remove(key);
    }

    fn remove_site(&mut self, key: &SiteKey) {
        self.sites.remove(key);
    }

    fn remove_call(&mut self, key: &CallKey) {
        self.calls.remove(key);
    }
}

/// What can be looked up, and what was, in this order.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) executables: HashMap<u32, String>,
    pub(super) places: HashMap<u32, Identity>,
    pub(super) running: HashMap<u32, Running>,
    pub(super) owners: HashMap<String, FileOwner>,
    pub(super) executed: HashMap<u32, ExecRecord>,
    pub(super) words: HashMap<u32, Vec<String>>,
    /// Processes whose parents are in their containers.
    pub(super) inside: HashSet<u32>,
    /// Processes about which nothing is answered, unless it is late.
    pub(super) silent: HashSet<u32>,
    /// Whether what is late comes now.
    pub(super) answers_late: bool,
    pub(super) late: Vec<(u64, Answer)>,
    unanswered: HashMap<u64, ExecRecord>,
    pub(super) log: Vec<String>,
}

/// Shared with the collector.
#[derive(Clone, Debug, Default)]
pub(super) struct FakeMachine(Arc<Mutex<Found>>);

impl FakeMachine {
    pub(super) fn found(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was looked up since the last call.
    pub(super) fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.found().log)
    }
}

/// What there is to say of an execution whose file was not seen.
fn unseen(exec: &Exec) -> ExecRecord {
    ExecRecord {
        exe: crate::session::describe::text(&exec.path),
        capabilities: None,
        setid: None,
        unseen: true,
        ignored: false,
        count: 1,
        phases: Phases::default(),
    }
}

impl Enrich for FakeMachine {
    fn executable(&self, pid: u32, _mount_namespace: u32) -> Option<String> {
        let mut found = self.found();
        found.log.push(format!("executable {pid}"));
        found.executables.get(&pid).cloned()
    }

    fn place(&self, pid: u32, program: &str) -> Option<Identity> {
        let mut found = self.found();
        found.log.push(format!("place {pid} {program}"));
        found.places.get(&pid).cloned()
    }

    fn running(&self, pid: u32, _mount_namespace: u32) -> Option<Running> {
        let mut found = self.found();
        found.log.push(format!("running {pid}"));
        found.running.remove(&pid)
    }

    fn came_from_outside(&self, pid: u32, _container: &ContainerId) -> bool {
        let mut found = self.found();
        found.log.push(format!("outside {pid}"));
        !found.inside.contains(&pid)
    }

    fn hold_root(&mut self, mount_namespace: u32, pid: u32) {
        let mut found = self.found();
        found.log.push(format!("hold {mount_namespace} {pid}"));
    }

    fn ask(&mut self, number: u64, wanted: Wanted<'_>) -> Option<Answer> {
        let mut found = self.found();
        let (pid, answer) = match wanted {
            Wanted::Executed { exec, level } => {
                let pid = exec.header.tgid;
                found.log.push(format!("executed {pid} level {level}"));
                let record = found.executed.get(&pid).cloned();
                if found.silent.contains(&pid) {
                    found.unanswered.insert(number, unseen(exec));
                }
                (pid, Answer::Executed(record))
            }
            Wanted::Owner { pid, path, .. } => {
                found.log.push(format!("owner {pid} {path}"));
                (pid, Answer::Owner(found.owners.get(path).copied()))
            }
            Wanted::Words { pid, .. } => {
                found.log.push(format!("words {pid}"));
                let words = found.words.get(&pid).cloned();
                (pid, Answer::Words(words.unwrap_or_default()))
            }
        };
        if found.silent.contains(&pid) {
            found.late.push((number, answer));
            return None;
        }
        Some(answer)
    }

    fn answers(&mut self) -> Vec<(u64, Answer)> {
        let mut found = self.found();
        if !found.answers_late {
            return Vec::new();
        }
        found.unanswered.clear();
        std::mem::take(&mut found.late)
    }

    fn so_far(&self, number: u64) -> Option<ExecRecord> {
        self.found().unanswered.get(&number).cloned()
    }

    fn close(&mut self) {
        let mut found = self.found();
        let unanswered = std::mem::take(&mut found.unanswered).into_iter();
        let unanswered =
            unanswered.map(|(number, record)| (number, Answer::Executed(Some(record))));
        found.late = unanswered.collect();
        found.answers_late = true;
    }

    fn started(&mut self) -> Vec<u32> {
        Vec::new()
    }

    fn let_go(&mut self, lives: &dyn Fn(u32) -> bool) {
        let mut found = self.found();
        for space in [HOST, WEB, DB] {
            if !lives(space.mount_namespace()) {
                let namespace = space.mount_namespace();
                found.log.push(format!("let go {namespace}"));
            }
        }
    }
}

/// A collector between a kernel and a machine.
pub(super) struct Replay {
    pub(super) collector: Collector,
    pub(super) kernel: Kernel,
    pub(super) machine: FakeMachine,
    /// What engines say of containers.
    pub(super) described: HashMap<ContainerId, Description>,
}

impl Replay {
    /// An audit that has just begun; in the host's namespaces some processes run already.
    pub(super) fn new() -> Self {
        let symbols = match Symbols::parse(SYMBOLS) {
            Ok(symbols) => symbols,
            Err(error) => panic!("{error}"),
        };
        let machine = FakeMachine::default();
        let mut collector = Collector::with(symbols, Box::new(machine.clone()));
        collector.begin(Existing::with(&[], &[HOST.pid_namespace]), BEGAN);
        Self {
            collector,
            kernel: Kernel {
                max_checks: 1 << 16,
                ..Kernel::default()
            },
            machine,
            described: HashMap::new(),
        }
    }

    pub(super) fn records(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            self.collector.record(event);
        }
    }

    /// The command begins, as execution 2; capaudit's child sets it up, as execution 1.
    pub(super) fn command(&mut self) {
        self.records([fork(1, 0, HOST, SETUP), exec(2, 1, HOST, "/bin/sh")]);
    }

    /// A container begins, as execution `execution`; a runtime sets it up, as the one before.
    pub(super) fn container(&mut self, execution: u64, space: Space) {
        self.records([
            adopt(execution - 1, space, SETUP),
            exec(execution, execution - 1, space, "/init"),
        ]);
    }

    /// Checks that nobody hears of: they are counted, and of so many the call site is known.
    pub(super) fn counts(&mut self, asked: &Asked, count: u64, at_site: u64) {
        let started = self.collector.started;
        let total = self.kernel.checks.entry(asked.key).or_insert(CheckCount {
            first: started + asked.time,
            ..CheckCount::default()
        });
        total.count += count;
        total.last = started + asked.time;
        if at_site > 0 {
            let site = self.kernel.sites.entry(asked.site_key()).or_default();
            site.count += at_site;
        }
    }

    /// Checks of which the first one's record comes.
    pub(super) fn check(&mut self, asked: &Asked, count: u64) {
        self.records([asked.record(self.collector.started)]);
        self.counts(asked, count, 1);
    }

    /// So many system calls that matter without any check.
    pub(super) fn call(&mut self, execution: u64, syscall: Sysno, first: Option<u64>, count: u64) {
        let key = CallKey {
            execution,
            operation: 0,
            syscall: number(syscall),
            failed: 0,
            flags: 0,
        };
        if let Some(argument) = first {
            self.records([Event::Call(Box::new(Call {
                arguments: [argument, 0, 0, 0, 0, 0],
                ..call_of(key)
            }))]);
        }
        *self.kernel.calls.entry(key).or_default() += count;
    }

    /// A system call that matters without any check, as its record tells of it.
    pub(super) fn called(&mut self, call: Call) {
        *self.kernel.calls.entry(call.key).or_default() += 1;
        self.records([Event::Call(Box::new(call))]);
    }

    /// The end: all records, and the checks of nobody.
    pub(super) fn finish(&mut self) -> (Vec<SubjectRecord>, Vec<(Capability, u64)>) {
        if let Err(error) = self.collector.finish(&mut self.kernel) {
            panic!("{error}");
        }
        let facts = self.collector.facts();
        (self.named(facts), facts.unattributed())
    }

    /// Facts about the subjects that there are, with names.
    pub(super) fn named(&self, facts: &Facts) -> Vec<SubjectRecord> {
        let subjects = self.collector.subjects();
        let others = self.collector.others(&self.described);
        self.collector.records(
            facts,
            &subjects,
            &["cmd".to_owned()],
            &self.described,
            &others,
        )
    }

    /// The end, as [`lines`].
    pub(super) fn ending(&mut self) -> Vec<String> {
        lines(&self.finish().0)
    }

    pub(super) fn sweep(&mut self) {
        if let Err(error) = self.collector.sweep(&mut self.kernel) {
            panic!("{error}");
        }
    }

    pub(super) fn look_for_missed(&mut self) {
        if let Err(error) = self.collector.look_for_missed(&self.kernel) {
            panic!("{error}");
        }
    }
}

/// Each check of each subject in a line, sorted: maps have no order.
pub(super) fn lines(records: &[SubjectRecord]) -> Vec<String> {
    let mut lines: Vec<String> = records
        .iter()
        .flat_map(|subject| {
            subject.checks.iter().map(|check| {
                let identity = &check.identity;
                format!(
                    "{}: {} {}x {}{} {}",
                    subject.name,
                    identity.capability.name(),
                    check.count,
                    identity.requester.exe,
                    if identity.requester.setup {
                        " (set-up)"
                    } else {
                        ""
                    },
                    identity.syscall.as_deref().unwrap_or("-"),
                )
            })
        })
        .collect();
    lines.sort();
    lines
}
