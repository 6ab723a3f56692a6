//! The recommendation so far, for the subject that is pointed at.

use capaudit_core::{
    advise::{Evidence, Finding, Verdict},
    report::SubjectReport,
    text::sanitize,
};
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{Theme, heading};
use crate::{
    columns::wrap,
    model::{Model, Pane, table::subject_name},
};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let area = Rect {
        x: area.x + 1,
        width: area.width.saturating_sub(1),
        ..area
    };
    let width = usize::from(area.width);
    let title = heading(
        "RECOMMENDATION so far",
        model,
        Pane::Advice,
        theme,
        area.width,
    );
    let mut lines = vec![title];
    let body = model.subject().map_or_else(
        || vec![Line::styled("nothing was asked so far", theme.faint())],
        |subject| text(subject, model, theme, width),
    );
    let height = usize::from(area.height.saturating_sub(1));
    let offset = if model.focus == Pane::Advice {
        model.scrolled.min(body.len().saturating_sub(height))
    } else {
        0
    };
    lines.extend(body.into_iter().skip(offset));
    frame.render_widget(Paragraph::new(lines), area);
}

fn text<'a>(subject: &SubjectReport, model: &Model, theme: Theme, width: usize) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    let mut say = |text: &str, indent: usize, style| {
        for part in wrap(&sanitize(text), width.saturating_sub(indent)) {
            lines.push(Line::from(vec![
                Span::raw(" ".repeat(indent)),
                Span::styled(part, style),
            ]));
        }
    };
    say(&subject_name(subject), 0, theme.heading());
    if let Some(image) = &subject.image {
        say(image, 0, theme.faint());
    }
    if !subject.seen_from_start {
        say(
            "ran already: what it asked at its start is not known",
            0,
            theme.alarm(),
        );
    }
    if !model.missing.losses.is_none() {
        say("INCOMPLETE: some checks were lost", 0, theme.alarm());
    }
    if !subject.losses.is_none() {
        let lost = format!("INCOMPLETE: {} lost while it ran", subject.losses);
        say(&lost, 0, theme.alarm());
    }
    let is_whole = model.missing.losses.is_none() && subject.incomplete.is_empty();
    if subject.cap_add.is_empty() {
        if is_whole {
            say("needs no capability so far", 0, theme.good());
        } else {
            say(
                "no need was seen so far, and not all was seen",
                0,
                theme.faint(),
            );
        }
    }
    let of = |verdict: Verdict| {
        let of_verdict = move |known: &&Finding| known.verdict == verdict;
        subject.capabilities.iter().filter(of_verdict)
    };
    for needed in of(Verdict::Needed) {
        let sure = needed.evidence != Evidence::Possible;
        let mark = if sure { "" } else { " (possibly)" };
        let style = theme.verdict(needed.verdict, needed.evidence);
        say(&format!("+ {}{mark}", needed.capability.name()), 0, style);
        say(&needed.reason, 4, theme.faint());
        if let Some(need_less) = &needed.need_less {
            say(
                &format!("to need less: {need_less}"),
                4,
                ratatui::style::Style::new(),
            );
        }
    }
    for (verdict, title) in [
        (Verdict::Alternative, "covered by those above:"),
        (Verdict::Tolerated, "refused without consequence:"),
        (Verdict::Ungrantable, "cannot be granted:"),
    ] {
        let names: Vec<&str> = of(verdict).map(|known| known.capability.name()).collect();
        if !names.is_empty() {
            say(title, 0, theme.heading());
            say(&names.join(" "), 4, theme.faint());
        }
    }
    lines
}
