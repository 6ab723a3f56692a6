//! Text that is safe to show.

mod paragraph;
mod table;

use std::fmt::Write as _;

use serde::Serialize;

pub use paragraph::paragraph;
pub use table::table;

/// Makes text safe for a terminal and for one line: control characters, characters that reorder or hide text
/// (bidirectional overrides, zero-width and tag characters, line separators), what neither YAML nor XML may hold
/// (U+FFFE and U+FFFF) and replaced bytes are shown as escapes. Process names, paths and container names come from whoever is audited.
pub fn sanitize(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unsafe(character) {
            // Writing to a string cannot fail.
            let _ = write!(safe, "{}", character.escape_unicode());
        } else {
            safe.push(character);
        }
    }
    safe
}

/// One word of a shell, in one safe line.
pub fn quoted(text: &str) -> String {
    let safe = sanitize(text);
    // shlex quotes some of these, too, which only the first word of a command needs, or the beginning of a word.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=,@%+".contains(&byte);
    if safe.bytes().all(is_plain) && !safe.is_empty() && !safe.starts_with('=') {
        return safe;
    }
    if safe.contains('\\') {
        // Between double quotes, where shlex puts it beside a quote, a backslash would be escaped once more.
        return format!("'{}'", safe.replace('\'', r"'\''"));
    }
    // Only a NUL cannot be quoted, and what is sanitized has none.
    shlex::try_quote(&safe).map_or_else(|_| "?".to_owned(), std::borrow::Cow::into_owned)
}

/// A command line that a shell takes back, in one safe line.
pub fn command_line(words: &[impl AsRef<str>]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word.as_ref())).collect();
    words.join(" ")
}

/// A value as JSON of several lines with a line break at its end, safe for a terminal: what serde_json does not escape by
/// itself (U+007F to U+009F, what reorders or hides text) can only be in strings, and is escaped there.
///
/// # Errors
///
/// JSON cannot hold the value.
pub fn json(value: &impl Serialize) -> serde_json::Result<String> {
    let mut text = escape_json(&serde_json::to_string_pretty(value)?);
    text.push('\n');
    Ok(text)
}

/// JSON with everything unsafe in its strings escaped; its own line breaks stay.
pub fn escape_json(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if is_unsafe(character) && character != '\n' {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(text, "\\u{unit:04x}");
            }
        } else {
            text.push(character);
        }
    }
    text
}

/// Whether a character could move a terminal or mislead a reader.
pub fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..='\u{e007f}')
}

/// Whether and how to colour.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Use ANSI colours.
    pub colour: bool,
    /// Columns to wrap at; at least 40.
    pub width: usize,
}

impl Style {
    /// No colour, for files and pipes.
    pub const PLAIN: Self = Self {
        colour: false,
        width: 100,
    };

    /// Sets `text` in bold; leaves it as it is without colour.
    pub fn bold(self, text: &str) -> String {
        self.ansi("1", text)
    }

    /// Sets `text` in a fainter colour; leaves it as it is without colour.
    pub fn faint(self, text: &str) -> String {
        self.ansi("2", text)
    }

    /// Marks what needs attention, in yellow; leaves it as it is without colour.
    pub fn warning(self, text: &str) -> String {
        self.ansi("33", text)
    }

    /// Marks what is wrong, in red; leaves it as it is without colour.
    pub fn alarm(self, text: &str) -> String {
        self.ansi("31", text)
    }

    /// Marks what is to be used, in green; leaves it as it is without colour.
    pub fn good(self, text: &str) -> String {
        self.ansi("32", text)
    }

    fn ansi(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_could_move_a_terminal_or_a_reader_is_escaped() {
        assert_eq!(sanitize("a\x1b[31mb"), "a\\u{1b}[31mb");
        assert_eq!(sanitize("x\u{202e}y\nz"), "x\\u{202e}y\\u{a}z");
        assert_eq!(sanitize("grüße 漢字"), "grüße 漢字");
    }

    #[test]
    fn a_shell_takes_every_word_back() {
        let words = [
            "docker", "run", "-v", "/a b:/c", "it's", "", "$HOME", "a=b", "=x", "%1",
        ];
        let line = command_line(&words);
        assert_eq!(
            line,
            r#"docker run -v '/a b:/c' "it's" '' '$HOME' a=b '=x' %1"#
        );
        let back: Option<Vec<String>> = shlex::split(&line);
        assert_eq!(back, Some(words.map(str::to_owned).to_vec()));
        assert!(!command_line(&["a\nb"]).contains('\n'));
    }

    #[test]
    fn a_word_is_escaped_once_and_stays_one() {
        assert_eq!(quoted("a\x1b'b"), r"'a\u{1b}'\''b'");
        for word in ["/bin/ls", "a b", "a'b\"c", r"a\b'c", ""] {
            let read = shlex::split(&quoted(word));
            assert_eq!(read, Some(vec![word.to_owned()]), "{word}");
        }
    }

    #[test]
    fn json_is_read_back_and_controls_no_terminal() -> serde_json::Result<()> {
        let value = ["a\u{9b}31m", "\u{2028}\u{e0041}\u{7f}", "é\n"];
        let text = json(&value)?;
        assert_eq!(
            text,
            "[\n  \"a\\u009b31m\",\n  \"\\u2028\\udb40\\udc41\\u007f\",\n  \"é\\n\"\n]\n"
        );
        assert_eq!(serde_json::from_str::<Vec<String>>(&text)?, value);
        Ok(())
    }

    proptest! {
        #[test]
        fn nothing_unsafe_is_left(text in any::<String>()) {
            prop_assert!(!sanitize(&text).chars().any(is_unsafe));
        }
    }
}
