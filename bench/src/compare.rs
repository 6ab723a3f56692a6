//! Two capaudits side by side: what a change costs.

use anyhow::Result;

use crate::{
    page::Page,
    rounds::least,
    tracing::{Programs, Tracing},
};

/// What is measured of both, and what that is called.
const WAYS: [Tracing; 3] = [Tracing::Run, Tracing::RunChecksOnly, Tracing::RunElsewhere];

/// Measures `programs` beside `earlier`, which differ in the capaudit alone.
pub(crate) fn measure(programs: &Programs, earlier: &Programs, page: &mut Page) -> Result<()> {
    page.heading("Before and after");
    for (what, words) in [
        ("The same check over and over", &["checks", "400000"][..]),
        ("A system call without any check", &["calls", "400000"]),
        (
            "Checks that differ in the call site alone, from four sites in turn",
            &["turns", "40000"],
        ),
        (
            "A process that is forked, makes ten checks and ends",
            &["processes", "1000", "10"],
        ),
    ] {
        let none = [(programs, Tracing::None)];
        let both = WAYS.map(|way| [(earlier, way), (programs, way)]);
        let kinds: Vec<(&Programs, Tracing)> = none.into_iter().chain(both.concat()).collect();
        let found = least(programs.rounds, &kinds, |(programs, tracing)| {
            programs.measure(tracing, words)
        })?;
        let Some((none, traced)) = found.split_first() else {
            continue;
        };
        let rows: Vec<Vec<String>> = WAYS
            .iter()
            .zip(traced.chunks_exact(2))
            .map(|(way, pair)| {
                let [before, after] = [pair[0] - none, pair[1] - none];
                vec![
                    way.name().to_owned(),
                    format!("{before:+.1} ns"),
                    format!("{after:+.1} ns"),
                    format!("{:+.1} ns", after - before),
                    format!("{:.2}", after / before),
                ]
            })
            .collect();
        page.say(&format!(
            "{what}, {none:.0} ns without tracing; added to that:"
        ));
        page.table(&["tracing", "before", "after", "change", "ratio"], &rows);
    }
    Ok(())
}
