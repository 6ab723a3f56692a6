//! The ring buffer full, because nobody reads it; the kernel's maps full. Every check is counted, and every loss told.

use std::time::Duration;

use capaudit_core::capability::Capability;
use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use super::{Run, counted, payload, unattributed};
use crate::{
    audit::{Verdicts, audit_payload, ensure},
    watch::temporary,
};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("faults::stopped_while_the_buffer_fills", stopped),
        Trial::test("faults::stopped_during_a_flood", flood),
        Trial::test("faults::an_end_that_was_lost_is_found_out", lost_end),
        Trial::test("faults::maps_full", maps),
    ]
}

/// The records of most of these processes are lost. Their checks are not.
fn stopped() -> Verdicts {
    const PROCESSES: u64 = 3000;
    let (_file, path) = temporary()?;
    let storm = payload(&["fork-storm", &PROCESSES.to_string(), &path])?;
    let (mark, marked) = temporary()?;
    let script = format!("{storm}; echo over > {marked}; sleep 0.3");
    let mut run = Run::start(&["--strict", "--ring-buffer", "64"], &script)?;
    run.signal(Signal::SIGSTOP)?;
    run.go()?;
    super::until("over", || Ok(std::fs::read(mark.path())? == b"over\n"))?;
    run.signal(Signal::SIGCONT)?;
    let ended = run.end()?;
    ensure(ended.status.code() == Some(4), ended.status)?;
    let losses = &ended.report.session.losses;
    ensure(
        losses.events > 1000 && !ended.report.session.complete,
        losses,
    )?;
    let all = counted(&ended.ledger, Capability::CHOWN);
    ensure(all == PROCESSES, (all, &ended.ledger.session))?;
    // Whose they were cannot be told any more, and this is.
    ensure(
        unattributed(&ended.ledger, Capability::CHOWN) > 1000,
        &ended.ledger.session,
    )?;
    let told = ended
        .report
        .session
        .notes
        .iter()
        .any(|note| note.contains("CAP_CHOWN ("));
    ensure(told, &ended.report.session.notes)
}

/// Few processes and very many checks: there is hardly anything to lose, and totals are exact.
fn flood() -> Verdicts {
    const EACH: u64 = 100_000;
    let (_one, first) = temporary()?;
    let (_two, second) = temporary()?;
    let flood = payload(&["flood", &EACH.to_string(), &first, &second])?;
    let mut run = Run::start(&["--strict"], &flood)?;
    run.signal(Signal::SIGSTOP)?;
    run.go()?;
    std::thread::sleep(Duration::from_millis(500));
    run.signal(Signal::SIGCONT)?;
    let ended = run.end()?;
    ensure(
        ended.status.success(),
        (ended.status, &ended.report.session),
    )?;
    let all = counted(&ended.ledger, Capability::CHOWN);
    ensure(all == 2 * EACH, all)
}

/// With the record of a process's end lost, `--wait-children` would wait for it for ever.
fn lost_end() -> Verdicts {
    let (_file, path) = temporary()?;
    let storm = payload(&["fork-storm", "500", &path])?;
    let (mark, marked) = temporary()?;
    // One that is known to live before the buffer fills, and ends while it is full.
    let script = format!("{storm}; kill $child; wait; echo over > {marked}");
    let mut run = Run::start(
        &["--wait-children", "--ring-buffer", "4"],
        &format!("sleep 60 & child=$!; read go; {script}"),
    )?;
    {
        use std::io::Write as _;
        let input = run.input.as_mut().ok_or("no input")?;
        input.write_all(b"\n")?;
    }
    std::thread::sleep(Duration::from_millis(300));
    run.signal(Signal::SIGSTOP)?;
    run.go()?;
    super::until("over", || Ok(std::fs::read(mark.path())? == b"over\n"))?;
    run.signal(Signal::SIGCONT)?;
    let began = std::time::Instant::now();
    let ended = run.end()?;
    ensure(began.elapsed() < Duration::from_secs(5), began.elapsed())?;
    ensure(
        ended.report.session.losses.events > 0,
        &ended.report.session,
    )?;
    ensure(
        counted(&ended.ledger, Capability::CHOWN) == 500,
        &ended.ledger.session,
    )
}

/// More processes at a time, with more distinct checks, than there is room for.
fn maps() -> Verdicts {
    let (_file, path) = temporary()?;
    let alive = |options: &[&str], count: &str| audit_payload(options, &["alive", count, &path]);
    // Room for the processes, but not for what each of them asks for and calls.
    let audited = alive(&["--strict", "--map-entries", "1024"], "1000")?;
    let losses = &audited.report.session.losses;
    ensure(
        audited.output.status.code() == Some(4),
        (audited.output.status, losses),
    )?;
    ensure(losses.checks > 0 && losses.sites > 0, losses)?;
    // By capability, if by nothing else.
    let all = counted(&audited.ledger, Capability::CHOWN);
    ensure(all + losses.processes == 1000, (all, losses))?;
    ensure(
        unattributed(&audited.ledger, Capability::CHOWN) > 0,
        &audited.ledger.session,
    )?;
    // Not even room for the processes.
    let audited = alive(&["--strict", "--map-entries", "1024"], "1500")?;
    let losses = &audited.report.session.losses;
    ensure(
        audited.output.status.code() == Some(4),
        (audited.output.status, losses),
    )?;
    let all = counted(&audited.ledger, Capability::CHOWN);
    ensure(
        losses.processes > 400 && all + losses.processes == 1500,
        (all, losses),
    )?;
    // As the report says, it takes more entries.
    let audited = alive(&["--strict", "--map-entries", "8192"], "1500")?;
    ensure(audited.output.status.success(), &audited.report.session)?;
    ensure(
        counted(&audited.ledger, Capability::CHOWN) == 1500,
        "not exact",
    )?;
    // One after the other, very little room does: what has ended makes room.
    let audited = audit_payload(
        &["--strict", "--map-entries", "1024"],
        &["fork-storm", "3000", &path],
    )?;
    ensure(audited.output.status.success(), &audited.report.session)?;
    ensure(
        counted(&audited.ledger, Capability::CHOWN) == 3000,
        "not exact",
    )
}
