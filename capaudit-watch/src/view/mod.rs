//! The screen: a pure function of the model.

mod advice;
mod popup;
mod stream;
mod table;
mod theme;

use capaudit_core::text::sanitize;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

use crate::{
    columns::{self, clip, fit},
    model::{Model, Pane, Prompt, Purpose},
};

pub use self::theme::Theme;

/// Draws a frame: the panes that the model has room for, and what covers them.
pub fn draw(frame: &mut Frame<'_>, model: &Model, theme: Theme) {
    let areas = model.areas();
    line(
        frame,
        areas.header,
        header(model, theme, areas.header.width),
    );
    if let Some(area) = areas.table {
        table::draw(frame, area, model, theme);
    }
    if let Some(area) = areas.advice {
        advice::draw(frame, area, model, theme);
    }
    if let Some(area) = areas.stream {
        stream::draw(frame, area, model, theme);
    }
    if let Some(area) = areas.output {
        output(frame, area, model, theme);
    }
    line(
        frame,
        areas.footer,
        footer(model, theme, areas.footer.width),
    );
    if let Some(popup) = &model.popup {
        popup::draw(frame, popup, model.scrolled, theme);
    }
}

/// Marks what is pointed at: reversed, whatever its parts look like.
fn pointed(mut line: Line<'_>, theme: Theme) -> Line<'_> {
    for span in &mut line.spans {
        span.style = span.style.patch(theme.selected());
    }
    line
}

fn line(frame: &mut Frame<'_>, area: Rect, line: Line<'_>) {
    frame.render_widget(Paragraph::new(line), area);
}

fn header<'a>(model: &'a Model, theme: Theme, width: u16) -> Line<'a> {
    let (checks, rate) = model.checks();
    let since = if model.is_marked() { " since now" } else { "" };
    let mut right = format!(
        "{} checks{since} {}/s",
        grouped(checks),
        grouped(rate as u64)
    );
    let mut alarms = String::new();
    if !model.missing.losses.is_none() {
        alarms = format!(" INCOMPLETE: lost {}", model.missing.losses);
    }
    if model.missing.unsent > 0 {
        right.push_str(&format!(
            " ({} counted only)",
            grouped(model.missing.unsent)
        ));
    }
    let room = usize::from(width);
    let state = if model.paused {
        format!(" PAUSED +{}", model.stream.held())
    } else {
        String::new()
    };
    let taken = right.len() + alarms.len() + state.len() + 3;
    let hook = model
        .hook
        .map(|hook| format!(" ({hook})"))
        .unwrap_or_default();
    let title = format!("capaudit watch: {}{hook}", model.watching);
    let title = clip(&title, room.saturating_sub(taken).max(9));
    Line::from(vec![
        Span::styled(title, theme.heading()),
        Span::styled(state, theme.alarm()),
        Span::styled(alarms, theme.alarm()),
        Span::raw(format!("  {right}")),
    ])
}

fn footer<'a>(model: &'a Model, theme: Theme, width: u16) -> Line<'a> {
    if let Some(prompt) = &model.prompt {
        return typing(prompt, theme, width);
    }
    if let Some(notice) = &model.notice {
        return Line::styled(clip(notice, width.into()), theme.notice());
    }
    let mut words = Vec::new();
    if let Some(ended) = &model.ended {
        words.push(format!("{ended}: q ends"));
    }
    let filter = model.filter.words();
    if !filter.is_empty() {
        words.push(format!("only {}", sanitize(&filter)));
    }
    if model.filter.noise {
        words.push("with noise".to_owned());
    }
    words.push(format!(
        "by {}, {} first",
        model.grouping.name(),
        model.sorting.name()
    ));
    let told = words.join("; ");
    let keys = "  ? help  / filter  Tab pane  Enter details  q quit";
    let spare = usize::from(width).saturating_sub(keys.len());
    Line::from(vec![
        Span::styled(clip(&told, spare.max(12)), theme.notice()),
        Span::styled(keys, theme.faint()),
    ])
}

fn typing<'a>(prompt: &Prompt, theme: Theme, width: u16) -> Line<'a> {
    let purpose = match prompt.purpose {
        Purpose::Filter => "filter: ",
        Purpose::Save => "save session to: ",
        Purpose::Write => "write snippet to: ",
    };
    if let Some(error) = &prompt.error {
        return Line::styled(clip(error, width.into()), theme.alarm());
    }
    // The end of what is typed is what matters.
    let room = usize::from(width).saturating_sub(purpose.len() + 1);
    Line::from(vec![
        Span::styled(purpose, theme.heading()),
        Span::raw(columns::end(&sanitize(&prompt.text), room)),
        Span::styled(" ", theme.selected()),
    ])
}

/// The heading of a pane.
fn heading<'a>(text: &str, model: &Model, pane: Pane, theme: Theme, width: u16) -> Line<'a> {
    let style = if model.focus == pane {
        theme.focused()
    } else {
        theme.heading()
    };
    Line::styled(fit(text, width.into()), style)
}

fn output(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let height = usize::from(area.height.saturating_sub(1));
    let all = model.output.ended().len() + 1;
    let end = all - model.scrolled.min(all.saturating_sub(height));
    let mut lines = vec![heading(
        "OUTPUT of the command",
        model,
        Pane::Output,
        theme,
        area.width,
    )];
    let unfinished = model.output.unfinished();
    let texts = model.output.ended().iter().chain([&unfinished]);
    lines.extend(
        texts
            .skip(end.saturating_sub(height))
            .take(height)
            .map(|text| Line::raw(clip(text, area.width.into()))),
    );
    frame.render_widget(Paragraph::new(lines), area);
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number in at most seven columns.
fn short(number: u64) -> String {
    match number {
        0..1_000_000 => grouped(number),
        1_000_000..1_000_000_000 => format!("{:.1}M", number as f64 / 1e6),
        _ => format!("{:.1}G", number as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests;
