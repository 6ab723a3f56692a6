//! A check as one line of aligned columns.

use nix::errno::Errno;
use unicode_width::UnicodeWidthStr as _;

use crate::{
    ledger::Outcome, report::sanitize, session::single::Single, watch::filter::verdict_name,
};

/// Widths of the columns before the last; what is longer moves the rest.
const WIDTHS: [usize; 8] = [12, 7, 20, 22, 20, 14, 36, 8];

/// The line, without its end.
pub fn line(check: &Single) -> String {
    let identity = &check.record.identity;
    let local = check.time.to_zoned_datetime(jiff::tz::TimeZone::system());
    let columns = [
        local.strftime("%H:%M:%S.%3f").to_string(),
        outcome(identity.outcome).to_owned(),
        check.subject.name.clone(),
        format!("{}[{}]", identity.asker.comm, check.pid),
        identity.capability.cap_name().to_owned(),
        identity.syscall.clone().unwrap_or_else(|| "-".to_owned()),
        if check.object.is_empty() {
            "-".to_owned()
        } else {
            check.object.clone()
        },
        result(check.result()),
    ];
    let mut text = String::new();
    for (column, width) in columns.iter().zip(WIDTHS) {
        let column = sanitize(column);
        text.push_str(&column);
        let padding = width.saturating_sub(column.width());
        text.push_str(&" ".repeat(padding + 2));
    }
    text.push_str(&format!(
        "{}: {}",
        verdict_name(check.judgement.verdict),
        sanitize(&check.judgement.reason)
    ));
    text
}

/// The kernel's answer.
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
