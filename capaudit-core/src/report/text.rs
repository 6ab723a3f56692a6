//! The report for people.

use super::{Report, SubjectReport};
use crate::text::{Style, paragraph, sanitize};
use crate::{
    advise::{Evidence, Finding, Rule, Verdict},
    capability::CapSet,
    ledger::{Kind, Life, not_seen},
};

/// Uses that are shown of a capability.
const SHOWN_USES: usize = 3;

/// Writes the report out; `all` shows also what made no difference.
pub fn text(report: &Report, style: Style, all: bool) -> String {
    let mut out = String::new();
    heading(&mut out, report, style);
    for subject in &report.subjects {
        if all || is_of_interest(report, subject) {
            out.push('\n');
            let is_whole = report.session.is_whole() && subject.incomplete.is_empty();
            subject_text(&mut out, subject, is_whole, style, all);
        }
    }
    out
}

/// Where to read on, a line for a person who has just run an audit: about the most powerful capability that is needed.
/// Empty if none is.
pub fn hint(report: &Report, style: Style) -> String {
    let needed = report
        .subjects
        .iter()
        .flat_map(|subject| subject.cap_add)
        .max_by_key(|capability| capability.power());
    needed.map_or(String::new(), |capability| {
        let words = format!(
            "`capaudit explain {}` tells what a capability allows and how to do without",
            capability.name()
        );
        format!("\n{}\n", style.faint(&words))
    })
}

impl Report {
    /// A line on the containers that others started meanwhile and that are left out; `None` if there are none.
    pub fn others(&self) -> Option<String> {
        match self.session.others {
            0 => None,
            1 => Some("1 other container ran meanwhile: --others shows it".to_owned()),
            count => Some(format!(
                "{count} other containers ran meanwhile: --others shows them"
            )),
        }
    }
}

/// A command that only started containers and asked for nothing itself need not be told about, unless more is to be said.
fn is_of_interest(report: &Report, subject: &SubjectReport) -> bool {
    subject.kind != Kind::Command
        || !subject.cap_add.is_empty()
        || !subject.incomplete.is_empty()
        || report.subjects.len() == 1
}

fn heading(out: &mut String, report: &Report, style: Style) {
    let session = &report.session;
    let status = match session.exit_status {
        None => String::new(),
        Some(0) => ", the command succeeded".to_owned(),
        Some(status) => format!(", the command failed with status {status}"),
    };
    line(
        out,
        &style.bold(&format!(
            "capaudit: {} s, kernel {}, hook {}{status}",
            session.duration_s,
            sanitize(&session.kernel),
            session.hook
        )),
    );
    let partial: Vec<String> = report
        .subjects
        .iter()
        .filter(|subject| !subject.incomplete.is_empty() && !subject.other)
        .map(|subject| sanitize(&subject.name))
        .collect();
    // Executed files that were not seen are told of the subject that executed them.
    let is_told_of_subjects = session.losses.files == session.lost_events && !partial.is_empty();
    if session.lost_events > 0 && !is_told_of_subjects {
        line(
            out,
            &style.alarm(&format!(
                "INCOMPLETE: {} ({}), so a needed capability may be missing below. Run again with {}.",
                not_seen(session.lost_events),
                session.losses,
                session.losses.remedy()
            )),
        );
    }
    if !partial.is_empty() {
        paragraph(
            out,
            &style.alarm("INCOMPLETE: "),
            "      ",
            &format!(
                "not all of this was seen, so a needed capability may be missing below, where it says what: {}",
                partial.join(", ")
            ),
            style,
        );
    }
    if session.exit_status.is_some_and(|status| status != 0) {
        line(
            out,
            &style.warning("The command failed: what it would have needed later was not seen."),
        );
    }
    for note in &session.notes {
        paragraph(
            out,
            &style.warning("Note: "),
            "      ",
            &sanitize(note),
            style,
        );
    }
    if let Some(others) = report.others() {
        line(out, &style.faint(&others));
    }
}

fn subject_text(
    out: &mut String,
    subject: &SubjectReport,
    is_whole: bool,
    style: Style,
    all: bool,
) {
    let kind = match subject.kind {
        Kind::Command => "command",
        Kind::Container => "container",
        Kind::Process => "process",
    };
    let mut title = format!("{kind} {}", sanitize(&subject.name));
    if let Some(image) = &subject.image {
        title.push_str(&format!(" ({})", sanitize(image)));
    }
    if subject.other {
        title.push_str(", started by others");
    }
    line(out, &style.bold(&title));
    let of = |verdict: Verdict| {
        subject
            .capabilities
            .iter()
            .filter(move |capability| capability.verdict == verdict)
    };
    for cause in &subject.incomplete {
        paragraph(
            out,
            &style.alarm("  INCOMPLETE: "),
            "    ",
            &sanitize(cause),
            style,
        );
    }
    if subject.cap_add.is_empty() {
        line(
            out,
            &if is_whole {
                format!("  needs {}", style.good("no capability at all"))
            } else {
                "  needs no capability, as far as it was seen".to_owned()
            },
        );
    } else {
        line(
            out,
            &format!("  needs {}", style.good(&words(subject.cap_add))),
        );
    }
    for capability in of(Verdict::Needed) {
        needed(out, capability, style);
    }
    let life = subject.life.as_ref().and_then(Life::note);
    for note in subject.notes.iter().chain(&life) {
        line(out, "");
        paragraph(out, "  Note: ", "    ", &sanitize(note), style);
    }
    let others: Vec<&Finding> = subject
        .capabilities
        .iter()
        .filter(|capability| capability.verdict != Verdict::Needed)
        .filter(|capability| all || !is_background(capability))
        .collect();
    if !others.is_empty() {
        out.push('\n');
        line(out, "  asked for, but not needed:");
        for capability in others {
            let name = format!("{:<18}", capability.capability.name());
            paragraph(
                out,
                &format!("    {}", style.faint(&name)),
                "                      ",
                &format!("{} ({})", sanitize(&capability.reason), counts(capability)),
                style,
            );
        }
    }
}

/// Every program's every mapping asks for SYS_ADMIN: not worth a line.
fn is_background(capability: &Finding) -> bool {
    capability.rule == Some(Rule::MemoryReserve)
}

fn needed(out: &mut String, capability: &Finding, style: Style) {
    let mark = match capability.evidence {
        Evidence::Possible => style.warning(" (possibly)"),
        Evidence::Decisive => String::new(),
        Evidence::Proven => style.good(" (proven)"),
    };
    out.push('\n');
    paragraph(
        out,
        &format!("  {}{mark}: ", style.bold(capability.capability.name())),
        "    ",
        &format!("{} ({})", sanitize(&capability.reason), counts(capability)),
        style,
    );
    for used in capability.seen_in.iter().take(SHOWN_USES) {
        let mut seen = format!("{}: {}", sanitize(used.program()), sanitize(&used.syscall));
        if !used.object.is_empty() {
            seen.push_str(&format!(" {}", sanitize(&used.object)));
        }
        if !used.caller.is_empty() {
            seen.push_str(&format!(", asked by {}", sanitize(&used.caller)));
        }
        paragraph(out, "    - ", "      ", &seen, style);
    }
    if !capability.alternatives.is_empty() {
        let sets: Vec<String> = capability.alternatives.iter().copied().map(words).collect();
        paragraph(
            out,
            "    would do as well: ",
            "      ",
            &sets.join(" or "),
            style,
        );
    }
    if let Some(need_less) = &capability.need_less {
        paragraph(
            out,
            &style.good("    to need less: "),
            "      ",
            &sanitize(need_less),
            style,
        );
    }
}

fn counts(capability: &Finding) -> String {
    let checks = capability.checks;
    let counts = match (checks.granted, checks.denied) {
        (0, 0) => "never asked".to_owned(),
        (granted, 0) => format!("asked {granted}×"),
        (0, denied) => format!("refused {denied}×"),
        (granted, denied) => format!("granted {granted}×, refused {denied}×"),
    };
    if capability.phases.is_empty() {
        return counts;
    }
    let phases = match capability.phases.iter().count() {
        1 => "phase",
        _ => "phases",
    };
    format!("{counts}; in the {phases} {}", capability.phases)
}

fn words(set: CapSet) -> String {
    set.names().collect::<Vec<_>>().join(" ")
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}
