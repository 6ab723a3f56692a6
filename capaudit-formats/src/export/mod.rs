//! Recommendations in the formats of those who apply them: one file a format. All are pure functions of the recommendation.

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
    recommend::Recommendation,
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
    /// Whether it has nothing to say of what runs in no container.
    pub fn is_of_containers(self) -> bool {
        matches!(
            self,
            Self::Compose | Self::Docker | Self::Podman | Self::Kubernetes | Self::Oci
        )
    }

    /// Writes a report or its recommendation out; `style` and `all` (show also what made no difference) matter to people only.
    ///
    /// # Errors
    ///
    /// A report that JSON or XML cannot hold, which there is none of.
    pub fn render(
        self,
        report: &Report,
        recommendation: &Recommendation,
        style: Style,
        all: bool,
    ) -> serde_json::Result<String> {
        Ok(match self {
            Self::Text => text(report, style, all) + &compose_text(recommendation, style),
            Self::Json => json(report)?,
            Self::Markdown => markdown::page(recommendation),
            Self::Compose => comment::warnings(recommendation) + &compose::snippet(recommendation),
            Self::Docker => docker::options(recommendation),
            Self::Podman => podman::units(recommendation),
            Self::Kubernetes => kubernetes::snippets(recommendation),
            Self::Systemd => systemd::drop_ins(recommendation),
            Self::Setcap => setcap::dockerfile(recommendation),
            Self::Oci => oci::fragments(recommendation)?,
            Self::Sarif => json(&check::sarif(&check::own_grants(recommendation)))?,
            Self::Junit => check::junit(&check::own_grants(recommendation), check::Level::Warning)
                .map_err(serde::ser::Error::custom)?,
        })
    }
}

/// The compose snippet, as it ends the text of a report about containers; empty if there are none.
pub fn compose_text(recommendation: &Recommendation, style: Style) -> String {
    if recommendation.containers().next().is_none() {
        return String::new();
    }
    let mut out = format!("\n{}\n", style.bold("For compose.yaml:"));
    for line in compose::snippet(recommendation).lines() {
        out.push_str("  ");
        out.push_str(line);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests;
