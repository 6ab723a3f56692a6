//! The pane of check events: one line each, with the reason where there is room.

use capaudit_core::{ledger::Outcome, text::sanitize};
use capaudit_live::judged::JudgedCheck;
use jiff::tz::TimeZone;
use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{Theme, heading, pointed};
use crate::{
    columns::fit,
    model::{Model, Pane},
    words,
};

/// Columns from which on there is room for the reason, too.
const WITH_REASON: usize = 140;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let title = match model.stream.at {
        Some(_) => "CHECKS, one by one (End follows the newest)",
        None => "CHECKS, one by one",
    };
    let mut lines = vec![heading(title, model, Pane::Stream, theme, area.width)];
    let height = usize::from(area.height.saturating_sub(1));
    for shown in model.stream.visible(&model.filter, height) {
        let line = line(&shown.check, &model.zone, theme, area.width.into());
        lines.push(if model.stream.at == Some(shown.number) {
            pointed(line, theme)
        } else {
            line
        });
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn line<'a>(check: &JudgedCheck, zone: &TimeZone, theme: Theme, width: usize) -> Line<'a> {
    let identity = &check.record.identity;
    let judgement = &check.judgement;
    let local = check.time.to_zoned_datetime(zone.clone());
    let is_denied = identity.outcome == Outcome::Denied;
    let answer = if is_denied {
        theme.denied()
    } else {
        Style::new()
    };
    let call = match check.result() {
        Some(value) if value < 0 => words::result(Some(value)),
        _ => String::new(),
    };
    let mut words = vec![identity.syscall.as_deref().unwrap_or_default()];
    words.extend([check.object.as_str(), call.as_str()]);
    if width >= WITH_REASON {
        words.extend(["-", judgement.reason.as_str()]);
    }
    words.retain(|word| !word.is_empty());
    let call = sanitize(&words.join(" "));
    let capability = identity.capability.name();
    let who = sanitize(&format!("{}[{}]", identity.requester.comm, check.pid));
    let verdict = words::sure_verdict(judgement.verdict, judgement.evidence);
    let style = theme.verdict(judgement.verdict, judgement.evidence);
    // Name, columns and style of each part, and from what width on there is room for it.
    let parts = [
        (
            local.strftime("%H:%M:%S.%3f").to_string(),
            13,
            theme.faint(),
            70,
        ),
        (words::outcome(identity.outcome).to_owned(), 8, answer, 0),
        (
            sanitize(&words::subject(&check.subject)),
            20,
            Style::new(),
            90,
        ),
        (who, 21, Style::new(), 70),
        (capability.to_owned(), 17, theme.heading(), 0),
        (verdict, 16, style, 60),
    ];
    let mut spans = Vec::new();
    let mut used = 0;
    for (text, columns, style, least) in parts {
        if width >= least {
            spans.push(Span::styled(fit(&text, columns - 1), style));
            spans.push(Span::raw(" "));
            used += columns;
        }
    }
    spans.push(Span::raw(fit(&call, width.saturating_sub(used))));
    Line::from(spans)
}
