//! Checks that differ in nothing but the place in the kernel that makes them.

use capaudit_core::{advise::Verdict, ledger::CheckRecord};
use libtest_mimic::Trial;

use crate::audit::{Audited, Verdicts, audit, audit_payload, capability, ensure};

/// Frequent checks beside a rare one.
const FREQUENT: u64 = 5000;
/// How many of them come before it: among those that are all looked at, and at no number that anything is sampled by.
const POSITIONS: [u64; 5] = [0, 5, 100, 1501, 4999];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("sites::one_read_among_thousands", one_read),
        Trial::test("sites::one_write_among_thousands", one_write),
        Trial::test("sites::one_refusal_among_thousands", one_refusal),
        Trial::test("sites::several_in_turn", several_in_turn),
        Trial::test("sites::one_among_several_in_turn", one_among_several),
    ]
}

/// The checks for a capability that were made below a function of the kernel.
fn below<'a>(audited: &'a Audited, name: &'a str) -> impl Iterator<Item = &'a CheckRecord> {
    let checks = audited
        .ledger
        .subjects
        .iter()
        .flat_map(|subject| &subject.checks);
    checks.filter(move |check| check.identity.callers.iter().any(|caller| caller == name))
}

fn counted(audited: &Audited, name: &str) -> u64 {
    below(audited, name).map(|check| check.count).sum()
}

/// `stat` of another user's process leaves out numbers where SYS_PTRACE is refused (`do_task_stat`, fs/proc/array.c), `io`
/// cannot be read then (`do_io_accounting`, fs/proc/base.c).
fn one_read() -> Verdicts {
    for before in POSITIONS {
        let (before, after) = (before.to_string(), (FREQUENT - before).to_string());
        let audited = audit_payload(&[], &["reads", &before, "stat", "1", "io", &after, "stat"])?;
        audited.succeeded()?;
        let found = capability(audited.command()?, "SYS_PTRACE")?;
        ensure(found.verdict == Verdict::Needed, (before, found))?;
        ensure(found.checks.granted == FREQUENT + 1, found)?;
        ensure(counted(&audited, "do_io_accounting") == 1, &audited.ledger)?;
        ensure(
            counted(&audited, "do_task_stat") == FREQUENT,
            &audited.ledger,
        )?;
    }
    Ok(())
}

/// As [`one_read`] by a process that is refused: thousands of times it gets by all the same, once it fails.
fn one_refusal() -> Verdicts {
    let own = std::env::current_exe()?;
    let own = own.to_str().ok_or("not UTF-8")?;
    for before in POSITIONS {
        let (before, after) = (before.to_string(), (FREQUENT - before).to_string());
        let without = ["setpriv", "--bounding-set=-sys_ptrace", own, "payload"];
        let reads = ["reads", &before, "stat", "1", "io", &after, "stat"];
        let audited = audit(&[without.as_slice(), &reads].concat())?;
        let found = capability(audited.command()?, "SYS_PTRACE")?;
        ensure(found.verdict == Verdict::Needed, (&before, found))?;
        ensure(found.checks.denied == FREQUENT + 1, found)?;
        let rare = counted(&audited, "do_io_accounting");
        ensure(rare == 1, (before, rare, &audited.ledger))?;
    }
    Ok(())
}

/// A page of a file in memory is accounted for (`shmem_inode_acct_blocks`, mm/shmem.c), which asks for SYS_ADMIN whatever
/// the answer; kernel.dmesg_restrict takes it (`proc_dointvec_minmax_sysadmin`, kernel/printk/sysctl.c).
fn one_write() -> Verdicts {
    for before in POSITIONS {
        let (before, after) = (before.to_string(), (FREQUENT - before).to_string());
        let audited = audit_payload(&[], &["writes", &before, &after])?;
        audited.succeeded()?;
        let found = capability(audited.command()?, "SYS_ADMIN")?;
        ensure(found.verdict == Verdict::Needed, (before, found))?;
        let rare = counted(&audited, "proc_dointvec_minmax_sysadmin");
        ensure(rare == 1, &audited.ledger)?;
    }
    Ok(())
}

/// The files of /proc/PID whose every read asks for SYS_PTRACE, each from a function of its own (fs/proc/array.c, base.c).
const SITES: [(&str, &str); 4] = [
    ("stat", "do_task_stat"),
    ("wchan", "proc_pid_wchan"),
    ("personality", "proc_pid_personality"),
    ("syscall", "proc_pid_syscall"),
];

/// Each call site's own checks are counted exactly, too.
fn several_in_turn() -> Verdicts {
    let files = SITES.map(|(file, _function)| file).join("+");
    let times = FREQUENT.to_string();
    let audited = audit_payload(&[], &["reads", &times, &files])?;
    audited.succeeded()?;
    for (file, function) in SITES {
        let found = counted(&audited, function);
        ensure(found == FREQUENT, (file, found, &audited.ledger))?;
    }
    let found = capability(audited.command()?, "SYS_PTRACE")?;
    ensure(found.checks.granted == 4 * FREQUENT, found)
}

fn one_among_several() -> Verdicts {
    let files = SITES.map(|(file, _function)| file).join("+");
    for before in POSITIONS {
        let (before, after) = (before.to_string(), (FREQUENT - before).to_string());
        let audited = audit_payload(&[], &["reads", &before, &files, "1", "io", &after, &files])?;
        audited.succeeded()?;
        let rare = counted(&audited, "do_io_accounting");
        ensure(rare == 1, (before, rare, &audited.ledger))?;
    }
    Ok(())
}
