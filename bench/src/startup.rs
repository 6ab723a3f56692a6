//! How long it takes until a command can be seen.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

use crate::{
    page::Page,
    rounds::least,
    tracing::{Programs, Tracing},
};

pub(crate) fn measure(programs: &Programs, page: &mut Page) -> Result<()> {
    page.heading("Start-up");
    let kinds = [Tracing::None, Tracing::Run, Tracing::BpftraceCount];
    let found = least(programs.rounds * 3, &kinds, |tracing| match tracing {
        Tracing::BpftraceCount => {
            let started = SystemTime::now();
            let active = programs.begin(tracing)?;
            let ready = started.elapsed()?;
            active.end()?;
            Ok(ready.as_secs_f64() * 1000.0)
        }
        _ => until_executed(programs, tracing),
    })?;
    let rows: Vec<Vec<String>> = [
        "the command, without capaudit",
        "the command, under `capaudit run`",
        "bpftrace, until it is attached",
    ]
    .iter()
    .zip(found)
    .map(|(what, milliseconds)| vec![(*what).to_owned(), format!("{milliseconds:.0} ms")])
    .collect();
    page.say(
        "From the start until the command's first instruction, by when everything it does is seen:",
    );
    page.table(&["what", "time"], &rows);
    Ok(())
}

/// Milliseconds until `date` looks at the clock.
fn until_executed(programs: &Programs, tracing: Tracing) -> Result<f64> {
    let words = ["+%s%N"].map(std::ffi::OsStr::new);
    let started = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let output = programs
        .command(tracing, std::path::Path::new("/bin/date"), &words)
        .stderr(std::process::Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let executed: u128 = text.trim().parse().context("date printed no number")?;
    Ok((executed.saturating_sub(started.as_nanos())) as f64 / 1e6)
}
