//! Text wrapped to a width.

use super::Style;

/// Writes `text` behind `first`, wrapped to the width, later lines behind `next`. Escape sequences in `first`
/// take no room.
pub fn paragraph(out: &mut String, first: &str, next: &str, text: &str, style: Style) {
    let mut column = visible_length(first);
    out.push_str(first);
    let mut fresh = true;
    for word in text.split(' ') {
        let length = word.chars().count();
        if !fresh && column + 1 + length > style.width {
            out.push('\n');
            out.push_str(next);
            column = next.len();
            fresh = true;
        }
        if !fresh {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
        fresh = false;
    }
    out.push('\n');
}

fn visible_length(text: &str) -> usize {
    let mut length = 0;
    let mut escaped = false;
    for character in text.chars() {
        match character {
            '\x1b' => escaped = true,
            'm' if escaped => escaped = false,
            _ if escaped => {}
            _ => length += 1,
        }
    }
    length
}
