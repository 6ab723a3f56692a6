//! Colours that can be read on dark and on light terminals of 16 colours, and without any.

use capaudit_core::advise::{Evidence, Verdict};
use ratatui::style::{Color, Modifier, Style};

/// Colours and emphasis; without colours, emphasis alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    colour: bool,
}

impl Theme {
    /// With colours, or with nothing but bold, faint and reversed text.
    pub fn new(colour: bool) -> Self {
        Self { colour }
    }

    /// As the environment wants it: no colour with `NO_COLOR`, or on a dumb terminal.
    pub fn of_environment() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self::new(!refused)
    }

    // Red, green and magenta are the only ones of the 16 that every usual palette shows well on both black and white.
    fn coloured(self, colour: Color) -> Style {
        if self.colour {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }

    /// Of a part of the screen.
    pub fn heading(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Of the part that is looked at.
    pub fn focused(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED)
    }

    /// What is pointed at.
    pub fn selected(self) -> Style {
        Style::new()
            .fg(Color::Reset)
            .add_modifier(Modifier::REVERSED)
            .remove_modifier(Modifier::DIM)
    }

    /// What is of less interest.
    pub fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// Failures, losses and refusals that the user has to notice.
    pub fn alarm(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// What was just done.
    pub fn notice(self) -> Style {
        self.coloured(Color::Magenta)
    }

    /// The colour of what the kernel refused.
    pub fn denied(self) -> Style {
        self.coloured(Color::Red)
    }

    /// What is to be used.
    pub fn good(self) -> Style {
        self.coloured(Color::Green).add_modifier(Modifier::BOLD)
    }

    /// How a verdict looks, by how sure it is.
    pub fn verdict(self, verdict: Verdict, evidence: Evidence) -> Style {
        match (verdict, evidence) {
            (Verdict::Needed, Evidence::Possible) => self.coloured(Color::Magenta),
            (Verdict::Needed, _) => self.good(),
            (Verdict::Alternative, _) => self.coloured(Color::Magenta),
            (Verdict::Ungrantable, _) => self.denied(),
            (Verdict::Tolerated | Verdict::Noise, _) => self.faint(),
        }
    }
}
