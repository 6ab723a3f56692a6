//! Text as somebody hostile would choose it for a name, a path or a program; and what must never be shown of it.

use proptest::{collection::vec, prelude::*};

/// What breaks out of terminals, lines, shells, YAML, JSON, XML, Markdown, units, Dockerfiles and metrics.
const PARTS: [&str; 64] = [
    "\u{1b}[2J",
    "\u{1b}]52;c;QQ==\u{7}",
    "\u{1b}",
    "\u{7}",
    "\u{9b}31m",
    "\u{85}",
    "\r\n",
    "\n",
    "\r",
    "\t",
    "\0",
    "\u{7f}",
    "\u{8}",
    "\u{202e}",
    "\u{2066}",
    "\u{2028}",
    "\u{2029}",
    "\u{200b}",
    "\u{feff}",
    "\u{fffe}",
    "\u{ffff}",
    "\u{e0041}",
    "\u{ad}",
    "\u{301}",
    "'",
    "\"",
    "`",
    "$(id)",
    "${HOME}",
    "$",
    "\\",
    "\\\n",
    "|",
    "<",
    ">",
    "<script>",
    "]]>",
    "<!--",
    "-->",
    "&",
    "&amp;",
    "#",
    ":",
    ": ",
    "- ",
    "---\n",
    "...\n",
    "{",
    "}",
    "[",
    "]",
    "*",
    "!",
    "%",
    "@",
    ",",
    ";",
    "=",
    "~",
    "^",
    "\u{fffd}",
    "漢字",
    "null",
    "no",
];

/// A name of up to a dozen such parts, letters, or any characters.
pub(crate) fn hostile() -> impl Strategy<Value = String> {
    vec((any::<u8>(), any::<u32>()), 0..12).prop_map(|parts| {
        let mut text = String::new();
        for (how, what) in parts {
            match how % 4 {
                0 | 1 => text.push_str(PARTS[what as usize % PARTS.len()]),
                2 => text.push(char::from(b"abcXYZ019/._-  "[what as usize % 15])),
                _ => text.extend(char::from_u32(what % 0x11_0000)),
            }
        }
        text
    })
}

/// What must not be shown: it could move a terminal, or mislead a reader about what is there. A list of its own, so that
/// capaudit's is not judged by itself.
pub(crate) fn unsafe_in(text: &str) -> Option<char> {
    // The usual case, fast.
    if text.bytes().all(|byte| matches!(byte, b'\n' | b' '..=b'~')) {
        return None;
    }
    text.chars().find(|character| match character {
        '\n' => false,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => true,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => true,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        _ => false,
    })
}

/// Fails if there is such a character in what is shown.
pub(crate) fn is_shown_safely(what: &str, text: &str) -> Result<(), TestCaseError> {
    match unsafe_in(text) {
        Some(character) => Err(TestCaseError::fail(format!(
            "{what} shows {character:?}: {text:?}"
        ))),
        None => Ok(()),
    }
}
