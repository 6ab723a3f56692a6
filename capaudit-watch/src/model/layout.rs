//! Where everything is on the screen: a pure function of its size and of what is looked at.

use ratatui::layout::{Constraint, Layout, Rect};

use super::Pane;

/// Columns from which on the recommendation has a place beside the table.
const WIDE: u16 = 120;
/// Rows from which on there is room for two panes, one above the other.
const HIGH: u16 = 18;
/// Columns of the recommendation beside the table.
const SIDE: u16 = 44;

/// Rectangles; `None` for what is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Areas {
    /// What is watched, and how much there is.
    pub header: Rect,
    /// The table of totals.
    pub table: Option<Rect>,
    /// The recommendation, beside the totals if the screen is wide.
    pub advice: Option<Rect>,
    /// Check events, one a line.
    pub stream: Option<Rect>,
    /// What the command writes.
    pub output: Option<Rect>,
    /// Keys, a prompt, or what was just done.
    pub footer: Rect,
}

impl Areas {
    /// Divides a screen of `size` columns and rows. On one too low for all panes, that with the focus is alone.
    pub fn of(size: (u16, u16), focus: Pane) -> Self {
        let all = Rect::new(0, 0, size.0, size.1);
        let [header, middle, footer] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Min(0),
            Constraint::Length(1),
        ])
        .areas(all);
        let mut areas = Self {
            header,
            table: None,
            advice: None,
            stream: None,
            output: None,
            footer,
        };
        let wide = size.0 >= WIDE;
        if size.1 < HIGH {
            areas.set(focus, middle);
            return areas;
        }
        let below = (middle.height / 3).max(6);
        let [upper, lower] =
            Layout::vertical([Constraint::Min(0), Constraint::Length(below)]).areas(middle);
        let lower_pane = if focus == Pane::Output {
            Pane::Output
        } else {
            Pane::Stream
        };
        areas.set(lower_pane, lower);
        if wide {
            let [left, right] =
                Layout::horizontal([Constraint::Min(0), Constraint::Length(SIDE)]).areas(upper);
            areas.set(Pane::Table, left);
            areas.set(Pane::Advice, right);
        } else if focus == Pane::Advice {
            areas.set(Pane::Advice, upper);
        } else {
            areas.set(Pane::Table, upper);
        }
        areas
    }

    fn set(&mut self, pane: Pane, area: Rect) {
        *match pane {
            Pane::Table => &mut self.table,
            Pane::Advice => &mut self.advice,
            Pane::Stream => &mut self.stream,
            Pane::Output => &mut self.output,
        } = Some(area);
    }

    /// Where a pane is, if it is shown.
    pub fn get(&self, pane: Pane) -> Option<Rect> {
        match pane {
            Pane::Table => self.table,
            Pane::Advice => self.advice,
            Pane::Stream => self.stream,
            Pane::Output => self.output,
        }
    }

    /// The pane at a place.
    pub fn at(&self, column: u16, row: u16) -> Option<(Pane, Rect)> {
        Pane::ALL.into_iter().find_map(|pane| {
            let area = self.get(pane)?;
            area.contains((column, row).into()).then_some((pane, area))
        })
    }

    /// Rows of a pane's content: without its heading.
    pub fn height(&self, pane: Pane) -> usize {
        self.get(pane)
            .map_or(0, |area| usize::from(area.height.saturating_sub(1)))
    }
}
