//! Windows over the rest: the keys, and everything about one row or check.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::{Block, Clear, Paragraph},
};

use super::Theme;
use crate::{
    columns::{fit, wrap},
    model::{Popup, keys::HELP},
};

/// Columns that a window takes at most: longer lines are hard to read.
const WIDEST: u16 = 110;

pub(super) fn draw(frame: &mut Frame<'_>, popup: &Popup, scrolled: usize, theme: Theme) {
    let screen = frame.area();
    let width = screen.width.min(WIDEST);
    let inner = usize::from(width.saturating_sub(2));
    let (title, lines) = match popup {
        Popup::Help => (" keys ", help(inner, theme)),
        Popup::Details(details) => {
            let pairs: Vec<(&str, &str)> = details
                .iter()
                .map(|detail| (detail.name, detail.text.as_str()))
                .collect();
            (" details ", pairs_text(&pairs, 13, inner, theme))
        }
    };
    let height = u16::try_from(lines.len() + 2)
        .unwrap_or(u16::MAX)
        .min(screen.height);
    let area = Rect {
        x: (screen.width - width) / 2,
        y: (screen.height - height) / 2,
        width,
        height,
    };
    let most = lines
        .len()
        .saturating_sub(usize::from(height.saturating_sub(2)));
    let offset = scrolled.min(most);
    let below = if offset < most { " ↓ more " } else { "" };
    let block = Block::bordered().title(title).title_bottom(below);
    let text: Vec<Line<'_>> = lines.into_iter().skip(offset).collect();
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(text).block(block), area);
}

fn help<'a>(width: usize, theme: Theme) -> Vec<Line<'a>> {
    pairs_text(&HELP, 24, width, theme)
}

/// Names on the left, what there is to say on the right.
fn pairs_text<'a>(
    pairs: &[(&str, &str)],
    left: usize,
    width: usize,
    theme: Theme,
) -> Vec<Line<'a>> {
    let left = left.min(width / 3);
    let mut lines = Vec::new();
    for (name, text) in pairs {
        let names = wrap(name, left.saturating_sub(1));
        let texts = wrap(text, width.saturating_sub(left));
        for index in 0..names.len().max(texts.len()) {
            let part = |parts: &[String]| parts.get(index).cloned().unwrap_or_default();
            lines.push(Line::from(vec![
                Span::styled(fit(&part(&names), left), theme.heading()),
                Span::raw(part(&texts)),
            ]));
        }
    }
    lines
}
