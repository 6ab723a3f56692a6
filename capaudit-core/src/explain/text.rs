//! Explanations for people.

use super::{Explanation, Explanations, Function, Level};
use crate::text::{Style, paragraph, sanitize, table};

impl Level {
    fn words(self) -> &'static str {
        match self {
            Self::Low => "little or nothing",
            Self::Medium => "harms other processes or the host's availability",
            Self::High => "root inside the container, or the host's secrets",
            Self::Escape => "out of the container, or into the kernel",
        }
    }

    fn coloured(self, text: &str, style: Style) -> String {
        match self {
            Self::Low => style.good(text),
            Self::Medium => text.to_owned(),
            Self::High => style.warning(text),
            Self::Escape => style.alarm(text),
        }
    }
}

/// One line for each, cut to the width if there is one.
pub fn list(explanations: &Explanations, width: Option<usize>, style: Style) -> String {
    let rows: Vec<Vec<String>> = explanations
        .capabilities
        .iter()
        .map(|explained| {
            vec![
                explained.number.to_string(),
                explained.name.to_string(),
                explained.level.as_str().to_owned(),
                defaults(explained).unwrap_or("-").to_owned(),
                explained.allows.to_owned(),
            ]
        })
        .collect();
    let heading = ["NO", "CAPABILITY", "DANGER", "DEFAULT OF", "ALLOWS"];
    let lines = table(&heading, &rows, heading.len() - 1, None, Style::PLAIN);
    let mut out = String::new();
    for (number, line) in lines.lines().enumerate() {
        let line = cut(line, width);
        out.push_str(&if number == 0 { style.bold(&line) } else { line });
        out.push('\n');
    }
    out
}

/// Which engines grant it unasked.
fn defaults(explained: &Explanation) -> Option<&'static str> {
    match (explained.docker_default, explained.podman_default) {
        (true, true) => Some("Docker, Podman"),
        (true, false) => Some("Docker"),
        (false, true) => Some("Podman"),
        (false, false) => None,
    }
}

/// Our own texts, all of whose characters take one column.
fn cut(line: &str, width: Option<usize>) -> String {
    match width.and_then(|width| Some((width, line.char_indices().nth(width)?))) {
        Some((width, _)) => {
            let kept: String = line.chars().take(width.saturating_sub(1)).collect();
            format!("{kept}…")
        }
        None => line.to_owned(),
    }
}

/// All there is to say of each.
pub fn page(explanations: &Explanations, style: Style) -> String {
    let mut out = String::new();
    for explained in &explanations.capabilities {
        if !out.is_empty() {
            out.push('\n');
        }
        of(&mut out, explained, explanations, style);
    }
    out
}

const INDENT: &str = "              ";

fn field(out: &mut String, name: &str, text: &str, style: Style) {
    paragraph(out, &format!("  {name:<10}  "), INDENT, text, style);
}

fn of(out: &mut String, explained: &Explanation, all: &Explanations, style: Style) {
    out.push_str(&style.bold(&format!("{}, number {}", explained.name, explained.number)));
    out.push('\n');
    field(out, "allows", explained.allows, style);
    let level = explained.level;
    let start = format!(
        "  {:<10}  {} ({} of 100: {}).",
        "danger",
        level.coloured(level.as_str(), style),
        explained.power,
        level.words()
    );
    out.push_str(&format!("{start}\n"));
    paragraph(out, INDENT, INDENT, explained.danger, style);
    let default = defaults(explained).map_or(
        "Neither Docker nor Podman grants it unasked.".to_owned(),
        |engines| format!("Granted unasked by {}.", engines.replace(", ", " and ")),
    );
    field(out, "default", &default, style);
    for unlocked in &explained.seccomp_unlocks {
        let text = format!(
            "With it, {} default profile allows {}.",
            unlocked.profile,
            unlocked.calls.join(", ")
        );
        field(out, "seccomp", &text, style);
    }
    field(out, "instead", explained.instead, style);
    if explained.asked_by.is_empty() {
        return;
    }
    let [old, new] = &all.sources;
    let source = format!(
        "These kernel functions, in the sources of Linux {old} and {new}; this kernel is {}{}",
        sanitize(&all.kernel),
        hidden(&explained.asked_by)
    );
    field(out, "asked by", &source, style);
    for row in &explained.asked_by {
        let mark = match row.symbol {
            Some(false) => "· ",
            _ => "",
        };
        let place = style.faint(&format!("({})", row.file));
        let only = match row.sources.as_slice() {
            [only] if !is_beyond(&all.kernel) => format!(", {only} only"),
            _ => String::new(),
        };
        paragraph(
            out,
            "    - ",
            "      ",
            &format!("{mark}{}: {}{only} {place}", row.function, row.about),
            style,
        );
    }
}

/// Whether a kernel is as old or as new as the sources, so that a row that is shown fits it.
fn is_beyond(kernel: &str) -> bool {
    use crate::capability::Release;
    Release::parse(kernel).is_some_and(|release| release <= Release::OLD || release >= Release::NEW)
}

fn hidden(asked_by: &[Function]) -> &'static str {
    if asked_by.iter().any(|row| row.symbol.is_none()) {
        ", whose symbols are hidden, so what of it is there cannot be told:"
    } else if asked_by.iter().any(|row| row.symbol == Some(false)) {
        ". Those with · have no symbol in it: part of their caller, in a module that is not loaded, or not built:"
    } else {
        " and has a symbol for each:"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{capability::Capability, explain::Kernel};

    #[test]
    fn a_line_each_and_none_too_wide() {
        let all = Kernel::default().explain(&Capability::KNOWN);
        let text = list(&all, Some(60), Style::PLAIN);
        assert_eq!(text.lines().count(), Capability::KNOWN.len() + 1);
        assert!(
            text.lines().all(|line| line.chars().count() <= 60),
            "{text}"
        );
        let whole = list(&all, None, Style::PLAIN);
        assert!(
            Capability::KNOWN
                .iter()
                .all(|one| whole.contains(one.summary()))
        );
    }

    #[test]
    fn a_page_tells_what_is_known_and_what_not() {
        let kernel = Kernel {
            release: "6.18.44".to_owned(),
            functions: ["__x64_sys_chroot".to_owned()].into(),
        };
        let text = page(&kernel.explain(&[Capability::SYS_CHROOT]), Style::PLAIN);
        assert!(
            text.contains("    - sys_chroot: chroot (fs/open.c)"),
            "{text}"
        );
        assert!(text.contains("    - · mntns_install"), "{text}");
        assert!(
            text.contains("Granted unasked by Docker and Podman."),
            "{text}"
        );
        let unknown = Capability::from_number(41).map(|one| kernel.explain(&[one]));
        let text = unknown
            .map(|unknown| page(&unknown, Style::PLAIN))
            .unwrap_or_default();
        assert!(
            text.starts_with("CAP_41, number 41\n") && !text.contains("asked by"),
            "{text}"
        );
    }
}
