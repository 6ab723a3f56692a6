//! Hostile text in GitHub Flavored Markdown.
//!
//! Two things read it: the [parser][spec], for which a character reference is always text, and then GitHub's own
//! filters, which make links of `@name`, `#1` and addresses that stand in text, and leave code alone.
//!
//! [spec]: https://github.github.com/gfm/

use capaudit_core::text::sanitize;

/// As code, in one line. No code span, because within one nothing can be escaped, `|` in a table apart.
pub(super) fn code(text: &str) -> String {
    format!("<code>{}</code>", inert(text))
}

/// As text, in one line.
pub(super) fn prose(text: &str) -> String {
    // An empty comment between makes two texts, which the filters do not see as one.
    inert(text)
        .replace("&#64;", "&#64;<!-- -->")
        .replace("&#35;", "&#35;<!-- -->")
}

/// Every character that means anything to the parser as a reference; those of addresses only where they make one.
fn inert(text: &str) -> String {
    let text = sanitize(text);
    let mut safe = String::with_capacity(text.len());
    for (index, character) in text.char_indices() {
        let (before, after) = (&text[..index], &text[index + character.len_utf8()..]);
        let is_inert = match character {
            // `https://…`; `mailto:…` wants an @
            ':' => !after.starts_with('/'),
            // Within a word it is no emphasis.
            '_' => {
                before.ends_with(|c: char| c.is_ascii_alphanumeric())
                    && after.starts_with(|c: char| c.is_ascii_alphanumeric())
            }
            // `www.…`
            '.' => !before
                .get(before.len().saturating_sub(3)..)
                .is_some_and(|end| end.eq_ignore_ascii_case("www")),
            // A list or a heading at the start of a line is none in a cell, a summary or a code element.
            ',' | '/' | '-' | '(' | ')' | ';' | '=' | '+' | '\'' | '?' | '%' => true,
            // Two would be folded, one at an end lost.
            ' ' => !before.is_empty() && !after.is_empty() && !before.ends_with(' '),
            _ => !character.is_ascii_punctuation(),
        };
        if is_inert {
            safe.push(character);
        } else {
            safe.push_str(&format!("&#{};", u32::from(character)));
        }
    }
    safe
}

/// A fence that nothing within closes.
pub(super) fn fence(text: &str) -> String {
    let longest = text
        .split(|c| c != '`')
        .map(str::len)
        .max()
        .unwrap_or_default();
    "`".repeat(longest.max(2) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_common_stays_legible() {
        assert_eq!(
            code("/usr/sbin/nginx bind 0.0.0.0:80"),
            "<code>/usr/sbin/nginx bind 0.0.0.0:80</code>"
        );
        assert_eq!(code("NET_RAW"), "<code>NET_RAW</code>");
        assert_eq!(
            prose("listen on port 8080 (say), or so"),
            "listen on port 8080 (say), or so"
        );
    }

    #[test]
    fn what_makes_markup_or_links_is_broken_up() {
        assert_eq!(
            code("a|b`<i>\n"),
            "<code>a&#124;b&#96;&#60;i&#62;&#92;u&#123;a&#125;</code>"
        );
        assert_eq!(prose("@all #1"), "&#64;<!-- -->all &#35;<!-- -->1");
        assert_eq!(
            code("http://x www.x"),
            "<code>http&#58;//x www&#46;x</code>"
        );
    }

    #[test]
    fn a_fence_outlasts_what_is_within() {
        assert_eq!(fence("a"), "```");
        assert_eq!(fence("a ```` b"), "`````");
    }
}
