//! A text file, and places in it.

use std::{fmt, rc::Rc};

use capaudit_core::text::sanitize;

/// A text with the name of the file that it was read from.
#[derive(Clone, Debug)]
pub struct Source {
    name: Rc<str>,
    text: String,
    /// Where each line starts, in bytes.
    lines: Vec<usize>,
}

/// A place in a file, as editors count: from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Name of the file as it was given.
    pub file: Rc<str>,
    /// Line; 0 for the file as a whole.
    pub line: usize,
    /// Column, from 1; 0 for the file as a whole.
    pub column: usize,
}

/// `compose.yaml:3:5`, in one safe line.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return f.write_str(&sanitize(&self.file));
        }
        write!(f, "{}:{}:{}", sanitize(&self.file), self.line, self.column)
    }
}

impl Place {
    /// A file as a whole.
    pub fn file(name: &str) -> Self {
        Self {
            file: name.into(),
            line: 0,
            column: 0,
        }
    }
}

impl Source {
    /// A text and the name of the file that it came from.
    pub fn new(name: &str, text: String) -> Self {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        Self {
            name: name.into(),
            text,
            lines,
        }
    }

    /// The same file with another text.
    pub fn with_text(&self, text: String) -> Self {
        Self::new(&self.name, text)
    }

    /// Name of the file as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of the whole file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Number of the line, from 0, that a byte stands in.
    pub fn line_of(&self, byte: usize) -> usize {
        self.lines
            .partition_point(|start| *start <= byte)
            .saturating_sub(1)
    }

    /// Where the line of a byte starts.
    pub fn line_start(&self, byte: usize) -> usize {
        self.lines.get(self.line_of(byte)).copied().unwrap_or(0)
    }

    /// Where the line of a byte ends, with its line break.
    pub fn line_end(&self, byte: usize) -> usize {
        self.lines
            .get(self.line_of(byte) + 1)
            .copied()
            .unwrap_or(self.text.len())
    }

    /// The place of a byte.
    pub fn place(&self, byte: usize) -> Place {
        let start = self.line_start(byte);
        let before = self.text.get(start..byte).unwrap_or_default();
        Place {
            file: Rc::clone(&self.name),
            line: self.line_of(byte) + 1,
            column: before.trim_start_matches('\u{feff}').chars().count() + 1,
        }
    }
}
