//! Text in columns: wide characters count twice, and what is too long ends in `…`.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// At most `width` columns.
pub fn clip(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut clipped = String::new();
    let mut used = 0;
    for character in text.chars() {
        let columns = character.width().unwrap_or(0);
        if used + columns + 1 > width {
            break;
        }
        used += columns;
        clipped.push(character);
    }
    if width > 0 {
        clipped.push('…');
    }
    clipped
}

/// The text in exactly `width` columns: clipped, or filled up with blanks.
pub fn fit(text: &str, width: usize) -> String {
    let mut fitted = clip(text, width);
    let padding = width.saturating_sub(fitted.width());
    fitted.extend(std::iter::repeat_n(' ', padding));
    fitted
}

/// The end of a text: at most `width` columns.
pub fn end(text: &str, width: usize) -> String {
    let mut used = 0;
    let mut start = text.len();
    for (place, character) in text.char_indices().rev() {
        used += character.width().unwrap_or(0);
        if used > width {
            break;
        }
        start = place;
    }
    text[start..].to_owned()
}

/// Lines of at most `width` columns, broken between words where that is possible.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let mut columns = word.width();
        if used > 0 && used + 1 + columns <= width {
            push(&mut lines, " ");
            push(&mut lines, word);
            used += 1 + columns;
            continue;
        }
        if used > 0 {
            lines.push(String::new());
        }
        used = 0;
        let mut rest = word;
        while columns > width {
            let place = cut(rest, width);
            push(&mut lines, &rest[..place]);
            lines.push(String::new());
            rest = &rest[place..];
            columns = rest.width();
        }
        push(&mut lines, rest);
        used += columns;
    }
    lines
}

fn push(lines: &mut [String], text: &str) {
    if let Some(last) = lines.last_mut() {
        last.push_str(text);
    }
}

/// Where at least one character, and at most `width` columns, end.
fn cut(text: &str, width: usize) -> usize {
    let mut used = 0;
    for (place, character) in text.char_indices() {
        used += character.width().unwrap_or(0);
        if used > width && place > 0 {
            return place;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(clip("漢字漢字", 5), "漢字…");
        assert_eq!(fit("漢", 4), "漢  ");
        assert_eq!(clip("abc", 3), "abc");
        assert_eq!(clip("abcd", 3), "ab…");
        assert_eq!(end("abcd", 2), "cd");
        assert_eq!(wrap("ab cd efghij", 5), ["ab cd", "efghi", "j"]);
    }

    proptest! {
        #[test]
        fn nothing_is_wider_than_its_column(text in any::<String>(), width in 0usize..40) {
            let text = capaudit_core::text::sanitize(&text);
            prop_assert!(clip(&text, width).width() <= width);
            prop_assert_eq!(fit(&text, width).width(), width);
            prop_assert!(end(&text, width).width() <= width);
            let lines = wrap(&text, width.max(2));
            prop_assert!(lines.iter().all(|line| line.width() <= width.max(2)));
        }
    }
}
