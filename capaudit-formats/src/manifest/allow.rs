//! Capabilities that somebody vouches for, in a comment beside what grants them:
//! `# capaudit:allow NET_ADMIN the sidecar sets routes`.

use std::collections::HashSet;

use capaudit_core::capability::CapSet;

use crate::yaml::{Place, Source, Stream};

/// A comment that vouches for capabilities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// For which; or why that cannot be said.
    pub capabilities: Result<CapSet, String>,
    /// Why; empty if that is not told.
    pub reason: String,
    /// Where the comment's `#` stands.
    pub place: Place,
}

impl Allowance {
    /// Understands what stands behind a `#`; `None` if it is another comment.
    pub fn parse(comment: &str, place: Place) -> Option<Self> {
        let rest = comment.trim().strip_prefix("capaudit:allow")?;
        if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
            return None;
        }
        let rest = rest.trim_start();
        let (word, reason) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let capabilities = if word.is_empty() {
            Err("it names no capability".to_owned())
        } else {
            word.parse::<CapSet>().map_err(|error| error.to_string())
        };
        Some(Self {
            capabilities,
            reason: reason.trim_start_matches(['-', '—', ':']).trim().to_owned(),
            place,
        })
    }
}

/// Lines of a YAML file whose comments are about one workload.
#[derive(Debug, Default)]
pub(super) struct Lines(HashSet<usize>);

impl Lines {
    /// The lines from one byte to another, and the comments directly above.
    pub(super) fn add(&mut self, source: &Source, stream: &Stream, from: usize, to: usize) {
        let first = source.line_of(from);
        self.0.extend(first..=source.line_of(to));
        let alone: HashSet<usize> = stream
            .comments
            .iter()
            .filter(|comment| {
                let start = source.line_start(comment.start);
                source.text()[start..comment.start].trim().is_empty()
            })
            .map(|comment| source.line_of(comment.start))
            .collect();
        self.0
            .extend((0..first).rev().take_while(|line| alone.contains(line)));
    }

    /// The line of a byte.
    pub(super) fn add_line(&mut self, source: &Source, byte: usize) {
        self.0.insert(source.line_of(byte));
    }

    /// What the comments in these lines vouch for.
    pub(super) fn allowances(&self, source: &Source, stream: &Stream) -> Vec<Allowance> {
        stream
            .comments
            .iter()
            .filter(|comment| self.0.contains(&source.line_of(comment.start)))
            .filter_map(|comment| Allowance::parse(&comment.text, source.place(comment.start)))
            .collect()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn parsed(comment: &str) -> Option<Allowance> {
        Allowance::parse(comment, Source::new("f", String::new()).place(0))
    }

    #[test]
    fn names_and_reason_are_told_apart() {
        let allowance = parsed(" capaudit:allow NET_ADMIN,cap_kill sets routes").unwrap();
        assert_eq!(
            allowance.capabilities.unwrap().to_string(),
            "CAP_KILL,CAP_NET_ADMIN"
        );
        assert_eq!(allowance.reason, "sets routes");
        assert_eq!(parsed("capaudit:allow KILL").unwrap().reason, "");
        assert_eq!(
            parsed("capaudit:allow KILL - for x").unwrap().reason,
            "for x"
        );
    }

    #[test]
    fn other_comments_are_none() {
        assert_eq!(parsed("capaudit:allowed KILL x"), None);
        assert_eq!(parsed("see capaudit:allow KILL x"), None);
        assert!(
            parsed("capaudit:allow NET_ADMN x")
                .unwrap()
                .capabilities
                .is_err()
        );
        assert!(parsed("capaudit:allow").unwrap().capabilities.is_err());
    }
}
