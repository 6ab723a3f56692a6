//! Which checks are shown.

use std::str::FromStr;

use capaudit_core::{
    advise::Verdict,
    capability::{CapSet, Capability},
};

use crate::words;

/// What a check, or the total of some, is filtered by.
#[derive(Clone, Copy, Debug)]
pub struct Facets<'a> {
    /// The capability that was asked for.
    pub capability: Capability,
    /// Whether any of it was refused.
    pub denied: bool,
    /// Its verdict so far.
    pub verdict: Verdict,
    /// What people call the subject; also its compose service and image.
    pub subject: &'a str,
    /// Everything that is shown of it, in lower case.
    pub text: &'a str,
}

/// Which checks are shown. Every condition must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Also those that make no difference.
    pub noise: bool,
    /// Show only what was refused.
    pub denied: bool,
    /// Only those with this verdict.
    pub verdict: Option<Verdict>,
    /// The words that a line has to match.
    pub typed: Typed,
}

impl Filter {
    /// Whether a check is shown.
    pub fn shows(&self, check: &Facets<'_>) -> bool {
        let wanted = self.verdict.or(self.typed.verdict);
        let is_noise = check.verdict == Verdict::Noise && wanted != Some(Verdict::Noise);
        (self.noise || !is_noise)
            && (!self.denied || check.denied)
            && self.verdict.is_none_or(|verdict| verdict == check.verdict)
            && self.typed.shows(check)
    }

    /// The conditions in few words; empty if there are none but that noise is hidden.
    pub fn words(&self) -> String {
        let mut words = Vec::new();
        if self.denied {
            words.push("denied".to_owned());
        }
        if let Some(verdict) = self.verdict {
            words.push(format!("verdict:{}", words::verdict(verdict)));
        }
        if !self.typed.line.is_empty() {
            words.push(self.typed.line.clone());
        }
        words.join(" ")
    }
}

/// A line of conditions: `cap:chown,kill`, `container:web`, `verdict:needed`, `denied`, and text that is to occur.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Typed {
    /// As it was typed.
    pub line: String,
    capabilities: Option<CapSet>,
    containers: Vec<String>,
    verdict: Option<Verdict>,
    denied: bool,
    texts: Vec<String>,
}

impl Typed {
    fn shows(&self, check: &Facets<'_>) -> bool {
        self.capabilities
            .is_none_or(|capabilities| capabilities.contains(check.capability))
            && (self.containers.is_empty()
                || self
                    .containers
                    .iter()
                    .any(|name| check.subject.to_lowercase().contains(name)))
            && self.verdict.is_none_or(|verdict| verdict == check.verdict)
            && (!self.denied || check.denied)
            && self.texts.iter().all(|text| check.text.contains(text))
    }
}

impl FromStr for Typed {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut typed = Self {
            line: line.trim().to_owned(),
            ..Self::default()
        };
        for word in line.split_whitespace() {
            match word.split_once(':') {
                Some(("cap" | "capability", set)) => {
                    let set: CapSet = set.parse().map_err(|error| format!("{error}"))?;
                    let known = typed.capabilities.unwrap_or_default();
                    typed.capabilities = Some(known.union(set));
                }
                Some(("container" | "service", name)) => {
                    typed.containers.push(name.to_lowercase());
                }
                Some(("verdict", name)) => typed.verdict = Some(verdict_of(name)?),
                _ if word == "denied" => typed.denied = true,
                _ => typed.texts.push(word.to_lowercase()),
            }
        }
        Ok(typed)
    }
}

/// All verdicts, the most important first.
pub const VERDICTS: [Verdict; 5] = [
    Verdict::Needed,
    Verdict::Alternative,
    Verdict::Tolerated,
    Verdict::Ungrantable,
    Verdict::Noise,
];

fn verdict_of(name: &str) -> Result<Verdict, String> {
    VERDICTS
        .into_iter()
        .find(|verdict| !name.is_empty() && words::verdict(*verdict).starts_with(name))
        .ok_or_else(|| format!("no such verdict: {name:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(verdict: Verdict) -> Facets<'static> {
        Facets {
            capability: Capability::CHOWN,
            denied: false,
            verdict,
            subject: "shop-Web-1",
            text: "shop-web-1 nginx chown /var/lib",
        }
    }

    #[test]
    fn each_condition_hides_and_shows() {
        for (line, shown) in [
            ("", true),
            ("cap:chown", true),
            ("cap:kill,CAP_CHOWN", true),
            ("cap:kill", false),
            ("container:web", true),
            ("container:db", false),
            ("verdict:need", true),
            ("verdict:noise", false),
            ("denied", false),
            ("NGINX /var", true),
            ("nginx redis", false),
        ] {
            let filter = Filter {
                typed: line.parse().unwrap_or_default(),
                ..Filter::default()
            };
            assert_eq!(filter.typed.line, line, "it was understood");
            assert_eq!(filter.shows(&check(Verdict::Needed)), shown, "{line}");
        }
    }

    #[test]
    fn noise_is_hidden_unless_it_is_asked_for() {
        let noise = check(Verdict::Noise);
        assert!(!Filter::default().shows(&noise));
        let all = Filter {
            noise: true,
            ..Filter::default()
        };
        assert!(all.shows(&noise));
        let typed = Filter {
            typed: "verdict:noise".parse().unwrap_or_default(),
            ..Filter::default()
        };
        assert!(typed.shows(&noise));
    }

    #[test]
    fn nonsense_is_named() {
        assert!(
            "cap:nonsense"
                .parse::<Typed>()
                .is_err_and(|error| error.contains("nonsense"))
        );
        assert!("verdict:".parse::<Typed>().is_err());
    }
}
