//! What things are called, for people.

use capaudit_core::{
    advise::{Evidence, Verdict},
    ledger::{Kind, Outcome, SubjectRecord},
};
use nix::errno::Errno;

/// A verdict as reports write it.
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Needed => "needed",
        Verdict::Alternative => "alternative",
        Verdict::Tolerated => "tolerated",
        Verdict::Ungrantable => "ungrantable",
        Verdict::Noise => "noise",
    }
}

/// A verdict with how sure it is.
pub fn sure_verdict(verdict: Verdict, evidence: Evidence) -> String {
    let name = self::verdict(verdict);
    if verdict == Verdict::Needed && evidence == Evidence::Possible {
        format!("possibly {name}")
    } else {
        name.to_owned()
    }
}

/// The kernel's answer in the words of `capaudit.watch/1`.
pub fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Granted => "granted",
        Outcome::Denied => "denied",
    }
}

/// What a call returned.
pub fn result(value: Option<i64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value < 0 => {
            let errno = i32::try_from(-value).map_or(Errno::UnknownErrno, Errno::from_raw);
            match errno {
                // The kernel's own codes, which no program sees.
                Errno::UnknownErrno => value.to_string(),
                known => format!("{known:?}"),
            }
        }
        Some(value) => value.to_string(),
    }
}

/// Whose a check is, in short.
pub fn subject(subject: &SubjectRecord) -> String {
    match subject.kind() {
        Kind::Container => subject.name.clone(),
        Kind::Command => "command".to_owned(),
        // The program's, the service's or the cgroup's name without its place.
        Kind::Process => subject
            .name
            .rsplit('/')
            .find(|part| !part.is_empty())
            .unwrap_or(&subject.name)
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_named() {
        assert_eq!(result(None), "-");
        assert_eq!(result(Some(3)), "3");
        assert_eq!(result(Some(-13)), "EACCES");
        assert_eq!(result(Some(-512)), "-512");
        assert_eq!(result(Some(i64::MIN + 1)), (i64::MIN + 1).to_string());
    }
}
