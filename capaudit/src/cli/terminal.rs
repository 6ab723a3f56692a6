//! What the terminal can show.

use capaudit_core::text::Style;

/// As fits a file descriptor: colour on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`.
pub(super) fn style_of(stream: &(impl std::os::fd::AsFd + std::io::IsTerminal)) -> Style {
    if !stream.is_terminal() {
        return Style::PLAIN;
    }
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let width = rustix::termios::tcgetwinsize(stream)
        .map(|size| usize::from(size.ws_col))
        .unwrap_or(0);
    Style {
        colour: !refused,
        width: if width == 0 {
            100
        } else {
            width.clamp(40, 120)
        },
    }
}
