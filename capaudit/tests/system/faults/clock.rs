//! Clocks that are not the machine's.

use std::process::Command;

use capaudit_core::{capability::Capability, ledger::CheckRecord};
use capaudit_live::line::Line;
use libtest_mimic::Trial;

use super::{Ended, Run};
use crate::{
    audit::{CAPAUDIT, Verdicts, ensure},
    watch::temporary,
};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("faults::time_namespace_of_capaudit", of_capaudit),
        Trial::test("faults::time_namespace_of_the_command", of_command),
    ]
}

fn chown(ended: &Ended) -> Option<&CheckRecord> {
    ended
        .ledger
        .subjects
        .iter()
        .flat_map(|subject| &subject.checks)
        .find(|check| check.identity.capability == Capability::CHOWN)
}

/// When the check was made is told by the machine's clock, in whatever namespace.
fn is_in_time(ended: &Ended) -> Verdicts {
    let check = chown(ended).ok_or("no CHOWN")?;
    let duration = ended.ledger.session.duration_ms;
    ensure(
        (450..=duration).contains(&check.first_ms) && check.last_ms == check.first_ms,
        (check.first_ms, check.last_ms, duration),
    )
}

fn of_capaudit() -> Verdicts {
    let (_file, path) = temporary()?;
    for offset in ["100000", "-100"] {
        let inside = || {
            let mut command = Command::new("unshare");
            command.args([
                "--time",
                "--monotonic",
                offset,
                "--boottime",
                offset,
                CAPAUDIT,
            ]);
            command
        };
        let script = format!("sleep 0.5; chown 1 {path}");
        let ended = Run::start_with(inside(), &["--strict"], &script)?.end()?;
        ensure(ended.status.success(), ended.status)?;
        is_in_time(&ended)?;
        // Check events have the time of day.
        let began = jiff::Timestamp::now();
        let output = inside()
            .args(["watch", "--json", "--", "chown", "1", &path])
            .output()?;
        let over = jiff::Timestamp::now();
        let text = String::from_utf8_lossy(&output.stdout);
        let times: Vec<jiff::Timestamp> = text
            .lines()
            .filter_map(|line| match serde_json::from_str(line) {
                Ok(Line::Check(check)) => check.time.parse().ok(),
                _ => None,
            })
            .collect();
        ensure(!times.is_empty(), &text)?;
        for time in times {
            ensure((began..=over).contains(&time), (offset, began, time, over))?;
        }
    }
    Ok(())
}

fn of_command() -> Verdicts {
    let (_file, path) = temporary()?;
    let script = format!(
        "exec unshare --time --fork --monotonic 100000 --boottime 100000 sh -c 'sleep 0.5; chown 1 {path}'"
    );
    let ended = Run::start(&["--strict"], &script)?.end()?;
    ensure(ended.status.success(), ended.status)?;
    is_in_time(&ended)
}
