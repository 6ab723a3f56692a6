//! A check as one line of aligned columns.

use capaudit_core::text::sanitize;
use capaudit_live::judged::JudgedCheck;
use jiff::tz::TimeZone;
use unicode_width::UnicodeWidthStr as _;

use crate::{columns::clip, words};

/// Widths of the columns before the last; what is longer moves the rest.
const WIDTHS: [usize; 8] = [12, 7, SUBJECT, 22, 20, 14, 36, 8];
/// The subject's, which is clipped: a command may be long, and says the same in every line.
const SUBJECT: usize = 20;

/// The line, without its end.
pub fn line(check: &JudgedCheck, zone: &TimeZone) -> String {
    let identity = &check.record.identity;
    let local = check.time.to_zoned_datetime(zone.clone());
    let columns = [
        local.strftime("%H:%M:%S.%3f").to_string(),
        words::outcome(identity.outcome).to_owned(),
        clip(&sanitize(&words::subject(&check.subject)), SUBJECT),
        format!("{}[{}]", identity.requester.comm, check.pid),
        identity.capability.cap_name().to_owned(),
        identity.syscall.clone().unwrap_or_else(|| "-".to_owned()),
        if check.object.is_empty() {
            "-".to_owned()
        } else {
            check.object.clone()
        },
        words::result(check.result()),
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
        words::sure_verdict(check.judgement.verdict, check.judgement.evidence),
        sanitize(&check.judgement.reason)
    ));
    text
}
