//! A page for a pull request, in GitHub Flavored Markdown.

mod escape;

use std::collections::BTreeMap;

use capaudit_core::{
    advise::{Evidence, Use, Verdict},
    capability::Capability,
    ledger::Kind,
    recommend::{Declined, Need, Recommendation, START_UNSEEN, Workload},
};
use escape::{code, fence, prose};

use super::{compose, systemd};

/// Uses that are shown of a capability.
const SHOWN_USES: usize = 3;

const LEGEND: &str = "
Decisive: without it the call would have failed. Possible: one run cannot tell, `capaudit verify` settles it.
Proven: it was run without, and failed.
";

/// A section with a table for each workload, and what to put into which file.
pub fn page(recommendation: &Recommendation) -> String {
    let workloads: Vec<&Workload> = recommendation.of_interest().collect();
    let has_containers = workloads
        .iter()
        .any(|workload| workload.kind == Kind::Container);
    let mut text = "## Linux capabilities\n".to_owned();
    for caveat in &recommendation.caveats {
        text.push_str(&format!("\n**Warning:** {}\n", prose(&caveat.to_string())));
    }
    for workload in &workloads {
        section(&mut text, workload);
    }
    if workloads.is_empty() {
        text.push_str("\nNothing was audited.\n");
    }
    if has_containers {
        snippet(
            &mut text,
            "For compose.yaml",
            "yaml",
            &compose::snippet(recommendation),
        );
    } else if !workloads.is_empty() {
        snippet(
            &mut text,
            "For a systemd unit",
            "ini",
            &systemd::drop_ins(recommendation),
        );
    }
    text
}

fn section(text: &mut String, workload: &Workload) {
    let kind = match workload.kind {
        Kind::Command => "command",
        Kind::Container => "container",
        Kind::Process => "process",
    };
    text.push_str(&format!("\n### {kind} {}\n\n", code(&workload.name)));
    if !workload.images.is_empty() {
        let images: Vec<String> = workload.images.iter().map(|image| code(image)).collect();
        text.push_str(&format!("Image {}. ", images.join(", ")));
    }
    if workload.members != [workload.name.as_str()] {
        let members: Vec<String> = workload.members.iter().map(|member| code(member)).collect();
        text.push_str(&format!("Audited: {}. ", members.join(", ")));
    }
    if workload.start_unseen {
        text.push_str(&format!("**{START_UNSEEN}.** "));
    }
    if let Some(lost) = workload.lost() {
        text.push_str(&format!("**{lost}.** "));
    }
    if workload.needs.is_empty() {
        text.push_str(if workload.is_whole {
            "Needs no capability at all.\n"
        } else {
            "Needs no capability, as far as it was seen.\n"
        });
    } else {
        let names: Vec<String> = workload.cap_add().names().map(code).collect();
        text.push_str(&format!("Needs {}.\n\n", names.join(" ")));
        needs(text, &workload.needs);
    }
    for note in workload.notes.iter().chain(&workload.life_note()) {
        text.push_str(&format!("\nNote: {}\n", prose(note)));
    }
    declined(text, &workload.declined);
}

fn needs(text: &mut String, needs: &BTreeMap<Capability, Need>) {
    text.push_str(
        "| Capability | Evidence | Why | Where | To need less |\n|---|---|---|---|---|\n",
    );
    for (capability, need) in needs {
        let evidence = match need.evidence {
            Evidence::Possible => "possible",
            Evidence::Decisive => "decisive",
            Evidence::Proven => "proven",
        };
        let mut uses: Vec<String> = need.seen_in.iter().take(SHOWN_USES).map(used).collect();
        if need.seen_in.len() > SHOWN_USES {
            uses.push(format!("and {} more", need.seen_in.len() - SHOWN_USES));
        }
        text.push_str(&format!(
            "| {} | {evidence} | {} | {} | {} |\n",
            code(capability.name()),
            prose(&need.reason),
            uses.join("<br>"),
            prose(need.need_less.as_deref().unwrap_or_default())
        ));
    }
    text.push_str(LEGEND);
}

fn used(used: &Use) -> String {
    let mut words = vec![used.program()];
    words.extend([used.syscall.as_str(), used.object.as_str()]);
    words.retain(|word| !word.is_empty());
    code(&words.join(" "))
}

fn declined(text: &mut String, declined: &BTreeMap<Capability, Declined>) {
    if declined.is_empty() {
        return;
    }
    text.push_str(&format!(
        "\n<details><summary>Asked for, but not needed ({})</summary>\n\n| Capability | | Why not |\n|---|---|---|\n",
        declined.len()
    ));
    for (capability, declined) in declined {
        let verdict = match declined.verdict {
            Verdict::Noise => "noise",
            Verdict::Tolerated => "tolerated",
            Verdict::Ungrantable => "ungrantable",
            Verdict::Alternative => "alternative",
            Verdict::Needed => "needed elsewhere",
        };
        text.push_str(&format!(
            "| {} | {verdict} | {} |\n",
            code(capability.name()),
            prose(&declined.reason)
        ));
    }
    text.push_str("\n</details>\n");
}

fn snippet(text: &mut String, title: &str, language: &str, snippet: &str) {
    let fence = fence(snippet);
    text.push_str(&format!(
        "\n<details><summary>{title}</summary>\n\n{fence}{language}\n{snippet}{fence}\n\n</details>\n"
    ));
}

#[cfg(test)]
mod tests;
