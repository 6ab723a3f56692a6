//! A verification for people.

use capaudit_core::{
    capability::CapSet,
    recommend::Recommendation,
    report::text as report_text,
    text::{Style, command_line, sanitize},
};
use capaudit_formats::export::compose_text;

use super::{
    enforce::Via,
    proof::{Member, Verification, Verified},
};

/// Writes it out; `all` shows also what made no difference.
pub fn text(verified: &Verified, style: Style, all: bool) -> String {
    let mut out = String::new();
    let is_life = verified.verification.via == Via::Life;
    // Of a life that went wrong at once, what was asked for until then says nothing.
    let shown = verified
        .report
        .as_ref()
        .filter(|_report| verified.verification.enforced || !is_life);
    if let Some(report) = shown {
        out.push_str(&report_text(report, style, all));
        // The services have a file, into which it is written.
        if !is_life {
            out.push_str(&compose_text(&Recommendation::of(report), style));
        }
        out.push('\n');
    }
    verification_text(&mut out, &verified.verification, style);
    out
}

fn verification_text(out: &mut String, verification: &Verification, style: Style) {
    let runs = match verification.runs {
        1 => "1 run".to_owned(),
        runs => format!("{runs} runs"),
    };
    line(
        out,
        "",
        &style.bold(&match verification.via {
            _ if verification.passed && !verification.enforced => {
                "not verified: nothing is doubtful, so that no run was made with the set".to_owned()
            }
            Via::Life if verification.passed => format!("verified over the whole life, in {runs}"),
            Via::Life => format!("not verified, in {runs}"),
            via if verification.passed => format!("verified by {} in {runs}", via.name()),
            via => format!("not verified, by {} in {runs}", via.name()),
        }),
    );
    let is_life = verification.via == Via::Life;
    let verdict = match (verification.passed, is_life) {
        (true, _) if !verification.enforced => "what was found, as it was found".to_owned(),
        (true, true) => style.good("everything went as with all capabilities"),
        (true, false) => style.good("the command succeeds"),
        (false, true) => style.alarm("it went wrong"),
        (false, false) => style.alarm(&format!(
            "the command fails with status {}",
            verification.exit_status
        )),
    };
    let set = if verification.enforced || verification.passed {
        format!("with {}", set_text(verification))
    } else {
        match is_life {
            true => "with all capabilities, before anything is taken from the services".to_owned(),
            false => "with what it grants itself, before anything is taken from it".to_owned(),
        }
    };
    line(out, "  ", &format!("{set}: {verdict}"));
    if !verification.in_force.is_empty() {
        let counted: Vec<String> = verification
            .in_force
            .iter()
            .map(|(name, count)| match name.is_empty() {
                true => count.to_string(),
                false => format!("{} {count}", sanitize(name)),
            })
            .collect();
        line(
            out,
            "  ",
            &format!(
                "in force, as engine and kernel say, on containers: {}",
                counted.join(", ")
            ),
        );
    }
    for text in &verification.output {
        line(out, "    | ", &sanitize(text));
    }
    if verification.flaky {
        line(
            out,
            "  ",
            &style.warning(
                "Runs with the same set disagreed: the command is not reliable. --repeat makes each run several times.",
            ),
        );
    }
    if !verification.missed.is_empty() {
        line(
            out,
            "  ",
            &style.alarm(&format!(
                "THE AUDIT MISSED {}: found by trial.",
                members(&verification.missed)
            )),
        );
    }
    if !verification.removed.is_empty() {
        line(
            out,
            "  ",
            &format!("not needed: {}", members(&verification.removed)),
        );
    }
    if !verification.unsettled.is_empty() {
        line(
            out,
            "  ",
            &style.warning(&format!(
                "not settled: {}",
                members(&verification.unsettled)
            )),
        );
    }
    for note in &verification.notes {
        line(
            out,
            "  ",
            &format!("{}{}", style.warning("Note: "), sanitize(note)),
        );
    }
    for proof in &verification.proofs {
        let how = if proof.timed_out {
            "does not end".to_owned()
        } else {
            format!("fails with status {}", proof.exit_status)
        };
        out.push('\n');
        line(
            out,
            "  ",
            &format!(
                "{} is needed: without it the command {how}",
                style.bold(&member(&proof.of))
            ),
        );
        line(out, "    $ ", &command_line(&proof.command));
        for text in &proof.output {
            line(out, "    | ", &sanitize(text));
        }
    }
}

fn set_text(verification: &Verification) -> String {
    let list = |set: CapSet| {
        if set.is_empty() {
            "no capability".to_owned()
        } else {
            set.names().collect::<Vec<_>>().join(" ")
        }
    };
    if verification.services.is_empty() {
        return list(verification.set);
    }
    let services: Vec<String> = verification
        .services
        .iter()
        .map(|(service, set)| format!("{} ({})", sanitize(service), list(*set)))
        .collect();
    services.join(", ")
}

fn members(members: &[Member]) -> String {
    let names: Vec<String> = members.iter().map(member).collect();
    names.join(", ")
}

fn member(member: &Member) -> String {
    let name = member.capability.name();
    if member.service.is_empty() {
        name.to_owned()
    } else {
        format!("{name} of {}", sanitize(&member.service))
    }
}

fn line(out: &mut String, indentation: &str, text: &str) {
    out.push_str(indentation);
    out.push_str(text);
    out.push('\n');
}
