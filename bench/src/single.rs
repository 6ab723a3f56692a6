//! One check, one system call, one process: what each kind of tracing adds.

use anyhow::Result;

use crate::{
    page::Page,
    rounds::{least, medians},
    tracing::{Programs, Tracing},
};

const KINDS: [Tracing; 8] = [
    Tracing::None,
    Tracing::Baseline,
    Tracing::Run,
    Tracing::RunChecksOnly,
    Tracing::RunElsewhere,
    Tracing::Watch,
    Tracing::BpftraceCount,
    Tracing::BpftracePrint,
];

pub(crate) fn measure(programs: &Programs, page: &mut Page) -> Result<()> {
    page.heading("A check, a system call, a process");
    for (what, unit, is_short, words) in [
        (
            "The same check over and over (`kill` of another user's process with signal 0)",
            "check",
            true,
            &["checks", "400000"][..],
        ),
        (
            "A system call without any check",
            "call",
            true,
            &["calls", "400000"],
        ),
        (
            "A process that is forked, makes ten checks and ends",
            "process",
            false,
            &["processes", "1000", "10"],
        ),
    ] {
        let measure = |tracing| programs.measure(tracing, words);
        let found = if is_short {
            least(programs.rounds, &KINDS, measure)?
        } else {
            medians(programs.rounds, &KINDS, measure)?
        };
        let of = |wanted| {
            let place = KINDS.iter().position(|kind| *kind == wanted);
            place.and_then(|place| found.get(place)).copied()
        };
        let (Some(none), Some(baseline), Some(bpftrace)) = (
            of(Tracing::None),
            of(Tracing::Baseline),
            of(Tracing::BpftraceCount),
        ) else {
            continue;
        };
        let rows: Vec<Vec<String>> = KINDS
            .iter()
            .zip(&found)
            .map(|(tracing, nanoseconds)| {
                let added = nanoseconds - none;
                let times = |of: f64| {
                    // What is within the noise is no ratio.
                    if of > none * 0.02 && *tracing != Tracing::None {
                        format!("{:.2}", added / of)
                    } else {
                        "-".to_owned()
                    }
                };
                vec![
                    tracing.name().to_owned(),
                    format!("{nanoseconds:.0} ns"),
                    format!("{added:+.0} ns"),
                    times(baseline - none),
                    times(bpftrace - none),
                ]
            })
            .collect();
        page.say(&format!("{what}:"));
        page.table(
            &[
                "tracing",
                &format!("a {unit}"),
                "added",
                "times the empty program",
                "times bpftrace, counting",
            ],
            &rows,
        );
    }
    Ok(())
}
