//! The pane of totals: a row for each, with its curve and verdict.

use capaudit_core::text::sanitize;
use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{Theme, grouped, heading, pointed, short};
use crate::{
    columns::{clip, fit},
    model::{Model, Pane, table::Row},
    words,
};

/// Widths of the columns; 0 for one that has no room.
#[derive(Clone, Copy, Debug)]
struct Columns {
    name: usize,
    granted: usize,
    denied: usize,
    rate: usize,
    curve: usize,
    verdict: usize,
    call: usize,
}

impl Columns {
    fn of(width: usize) -> Self {
        let none = Self {
            name: 0,
            granted: 8,
            denied: 8,
            rate: 0,
            curve: 0,
            verdict: 0,
            call: 0,
        };
        let columns = match width {
            0..56 => none,
            56..76 => Self {
                verdict: 16,
                ..none
            },
            76..110 => Self {
                rate: 8,
                curve: 9,
                verdict: 16,
                ..none
            },
            _ => Self {
                rate: 8,
                curve: 13,
                verdict: 16,
                ..none
            },
        };
        let fixed =
            columns.granted + columns.denied + columns.rate + columns.curve + columns.verdict;
        let spare = width.saturating_sub(fixed);
        if spare < 48 {
            return Self {
                name: spare,
                ..columns
            };
        }
        let name = (spare * 2 / 5).clamp(26, 40);
        Self {
            name,
            call: spare - name,
            ..columns
        }
    }
}

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let columns = Columns::of(area.width.into());
    let titles = [
        fit(
            &format!("WHO, BY {}", model.grouping.name().to_uppercase()),
            columns.name,
        ),
        right("granted", columns.granted),
        right("denied", columns.denied),
        right("per s", columns.rate),
        fit(" lately", columns.curve),
        fit(" verdict so far", columns.verdict),
        fit("call, and why", columns.call),
    ];
    let mut lines = vec![heading(
        &titles.concat(),
        model,
        Pane::Table,
        theme,
        area.width,
    )];
    let height = usize::from(area.height.saturating_sub(1));
    let shown = model.rows.iter().enumerate().skip(model.first).take(height);
    lines.extend(shown.map(|(index, row)| {
        let line = line(row, columns, model, theme);
        if index == model.selected {
            pointed(line, theme)
        } else {
            line
        }
    }));
    if model.rows.is_empty() {
        lines.push(Line::styled(
            clip(nothing(model), area.width.into()),
            theme.faint(),
        ));
    }
    let more = model.state.as_ref().map_or(0, |state| state.more);
    if more > 0 && lines.len() < usize::from(area.height) {
        let text = format!("and {} more with fewer checks", grouped(more as u64));
        lines.push(Line::styled(clip(&text, area.width.into()), theme.faint()));
    }
    let forgotten = model.state.as_ref().map_or(0, |state| state.forgotten);
    if forgotten > 0 && lines.len() < usize::from(area.height) {
        let text = format!(
            "{} containers that ended long ago are one by service or image",
            grouped(forgotten as u64)
        );
        lines.push(Line::styled(clip(&text, area.width.into()), theme.faint()));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn nothing(model: &Model) -> &'static str {
    if model.state.as_ref().is_none_or(|state| state.checks == 0) {
        "no check so far"
    } else if model.filter.noise || !model.filter.words().is_empty() {
        "nothing that the filter shows; Esc takes it back"
    } else {
        "nothing that matters so far; n shows the rest"
    }
}

fn line<'a>(row: &Row, columns: Columns, model: &Model, theme: Theme) -> Line<'a> {
    let mark = match row.open {
        Some(true) => "▾ ",
        Some(false) => "▸ ",
        None => "  ",
    };
    let name = format!("{}{mark}{}", "  ".repeat(row.depth), row.label);
    let name_style = match row.depth {
        0 => theme.heading(),
        _ => Style::new(),
    };
    let denied_style = if row.denied > 0 {
        theme.denied()
    } else {
        Style::new()
    };
    let rate = match row.series.rate as u64 {
        0 => String::new(),
        rate => short(rate),
    };
    let verdict = words::sure_verdict(row.verdict, row.evidence);
    let why = if columns.call == 0 {
        String::new()
    } else {
        why(row, model)
    };
    Line::from(vec![
        Span::styled(fit(&name, columns.name), name_style),
        Span::raw(right(&short(row.granted), columns.granted)),
        Span::styled(right(&short(row.denied), columns.denied), denied_style),
        Span::raw(right(&rate, columns.rate)),
        Span::raw(fit(
            &format!(" {}", curve(row, columns.curve)),
            columns.curve,
        )),
        Span::styled(
            fit(&format!(" {verdict}"), columns.verdict),
            theme.verdict(row.verdict, row.evidence),
        ),
        Span::raw(fit(&why, columns.call)),
    ])
}

/// Of a group of a subject's what it needs so far, else the deciding check.
fn why(row: &Row, model: &Model) -> String {
    let Some(state) = &model.state else {
        return String::new();
    };
    let Some(leaf) = state.leaves.get(row.leaf) else {
        return String::new();
    };
    if row.open.is_some() {
        let names: Vec<&str> = row.needs.names().collect();
        return names.join(" ");
    }
    let mut words = vec![leaf.syscall(), &leaf.object, "-", &leaf.reason];
    words.retain(|word| !word.is_empty());
    sanitize(&words.join(" "))
}

fn right(text: &str, width: usize) -> String {
    let text = clip(text, width);
    format!("{text:>width$}")
}

/// The last points, scaled to the highest of them.
fn curve(row: &Row, width: usize) -> String {
    const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = width.saturating_sub(1);
    let mut points: Vec<u32> = row.series.points().rev().take(shown).collect();
    points.reverse();
    let highest = points.iter().copied().max().unwrap_or(0);
    points
        .iter()
        .map(|point| match point {
            0 => ' ',
            point => {
                let step = u64::from(*point) * 7 / u64::from(highest.max(1));
                STEPS[step.min(7) as usize]
            }
        })
        .collect()
}
