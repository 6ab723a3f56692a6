//! What the program and its BPF programs write into the log.

use libtest_mimic::Trial;

use crate::audit::{Verdicts, audit_payload, ensure};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("log::bpf_programs_say_what_they_lost", losses),
        Trial::test("log::nothing_is_said_unless_asked_for", silence),
    ]
}

/// What the BPF programs say of a full ring buffer.
const FULL: &str = "the ring buffer had no room for a record";

fn storm(options: &[&str]) -> Result<(u64, String), libtest_mimic::Failed> {
    let file = tempfile::NamedTempFile::new()?;
    let path = file.path().to_string_lossy().into_owned();
    let mut all = vec!["--ring-buffer", "4"];
    all.extend(options);
    let audited = audit_payload(&all, &["fork-storm", "2000", &path])?;
    let text = String::from_utf8_lossy(&audited.output.stderr).into_owned();
    Ok((audited.report.session.lost_events, text))
}

fn losses() -> Verdicts {
    let (lost, text) = storm(&["--log", "info"])?;
    ensure(lost > 0, "the buffer was to be too small")?;
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(FULL)).collect();
    ensure(
        lines
            .iter()
            .any(|line| line.contains(" WARN number 1 on this processor")),
        &text,
    )?;
    // The first, second, fourth … of each processor: no flood, however much is lost.
    let processors = std::thread::available_parallelism()?.get();
    ensure(lines.len() <= 64 * processors, lines.len())?;
    ensure(
        (lines.len() as u64) <= lost,
        format!("{} lines about {lost} records", lines.len()),
    )?;
    ensure(
        text.lines().any(|line| {
            line.contains(" INFO ") && line.contains("hook=") && line.contains("kernel=")
        }),
        &text,
    )
}

fn silence() -> Verdicts {
    let (lost, text) = storm(&[])?;
    ensure(lost > 0, "the buffer was to be too small")?;
    ensure(!text.contains(FULL), text)
}
