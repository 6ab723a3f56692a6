//! Recommendations in the formats of those who apply them: one file a format. All are pure functions of a report.

mod comment;
pub mod compose;
pub mod docker;
pub mod kubernetes;
pub mod markdown;
pub mod oci;
pub mod patch;
pub mod podman;
pub mod setcap;
pub mod systemd;
mod yaml;

use capaudit_core::{
    ledger::Kind,
    report::{Report, text},
    text::{Style, json},
};

use crate::check;

/// The formats of `run --format`, `report --format` and `export FORMAT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Format {
    /// For people
    Text,
    /// For programs: the contract capaudit.report/1
    Json,
    /// For a pull request
    Markdown,
    /// Services for a compose file
    Compose,
    /// Options for docker run, one line a container
    Docker,
    /// Quadlet units for Podman
    Podman,
    /// The securityContext of containers
    Kubernetes,
    /// A drop-in for a service unit
    Systemd,
    /// Dockerfile lines that give files their capabilities, for a USER that is not root
    Setcap,
    /// The process of an OCI runtime's config.json
    Oci,
    /// What was granted and not needed, as SARIF 2.1.0
    Sarif,
    /// The same as JUnit's XML
    Junit,
}

impl Format {
    /// Writes a report out; `style` and `all` (show also what made no difference) matter to people only.
    ///
    /// # Errors
    ///
    /// A report that JSON or XML cannot hold, which there is none of.
    pub fn render(self, report: &Report, style: Style, all: bool) -> serde_json::Result<String> {
        Ok(match self {
            Self::Text => text(report, style, all) + &compose_text(report, style),
            Self::Json => json(report)?,
            Self::Markdown => markdown::page(report),
            Self::Compose => comment::warnings(report) + &compose::snippet(report),
            Self::Docker => docker::options(report),
            Self::Podman => podman::units(report),
            Self::Kubernetes => kubernetes::snippets(report),
            Self::Systemd => systemd::drop_ins(report),
            Self::Setcap => setcap::dockerfile(report),
            Self::Oci => oci::fragments(report)?,
            Self::Sarif => json(&check::sarif(&check::own_grants(report)))?,
            Self::Junit => check::junit(&check::own_grants(report), check::Level::Warning)
                .map_err(serde::ser::Error::custom)?,
        })
    }
}

/// The compose snippet, as it ends the text of a report about containers; empty if there are none.
pub fn compose_text(report: &Report, style: Style) -> String {
    let mut subjects = report.subjects.iter();
    if !subjects.any(|subject| subject.kind == Kind::Container) {
        return String::new();
    }
    let mut out = format!("\n{}\n", style.bold("For compose.yaml:"));
    for line in compose::snippet(report).lines() {
        out.push_str("  ");
        out.push_str(line);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests;
