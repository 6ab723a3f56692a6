//! Rows in aligned columns.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};

use super::Style;

/// Lays rows out under a heading. `width` is the terminal's, in columns: what does not fit is wrapped within its column;
/// without, every row is one line. The columns from `flexible` on may be wrapped, those before only if nothing else helps.
///
/// The cells are taken as they are: hostile text has to be made safe before.
pub fn table(
    heading: &[&str],
    rows: &[Vec<String>],
    flexible: usize,
    width: Option<usize>,
    style: Style,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(heading);
    for row in rows {
        table.add_row(row);
    }
    match width {
        Some(width) => {
            table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(u16::try_from(width).unwrap_or(u16::MAX));
        }
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if index < flexible {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    let mut text = String::new();
    for (number, line) in table.lines().enumerate() {
        let line = line.trim_end();
        if number == 0 {
            text.push_str(&style.bold(line));
        } else {
            text.push_str(line);
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<String>> {
        vec![
            vec!["1".to_owned(), "CHOWN KILL NET_ADMIN NET_RAW".to_owned()],
            vec!["22222".to_owned(), "漢字".to_owned()],
        ]
    }

    #[test]
    fn a_pipe_gets_one_line_a_row() {
        let text = table(&["PID", "HOLDS"], &rows(), 1, None, Style::PLAIN);
        assert_eq!(
            text,
            "PID    HOLDS\n1      CHOWN KILL NET_ADMIN NET_RAW\n22222  漢字\n"
        );
    }

    #[test]
    fn a_terminal_gets_no_line_wider_than_it() {
        let text = table(&["PID", "HOLDS"], &rows(), 1, Some(20), Style::PLAIN);
        assert_eq!(
            text,
            "PID    HOLDS\n1      CHOWN KILL\n       NET_ADMIN\n       NET_RAW\n22222  漢字\n"
        );
    }
}
