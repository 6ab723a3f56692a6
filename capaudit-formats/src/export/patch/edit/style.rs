//! How a file is written: indentation, quotes, line breaks.

use std::rc::Rc;

use super::Service;
use crate::yaml::{Kind, Node};

impl Service<'_> {
    /// Where a value's line would be left with a space at its end without it.
    pub(super) fn before_value(&self, start: usize) -> usize {
        self.text()[..start].trim_end_matches(' ').len()
    }

    /// How far the file's lists are indented below their keys.
    pub(super) fn dash(&self) -> String {
        let found = self.first_list(&self.project.document(self.file).root, 0);
        " ".repeat(found.unwrap_or_else(|| self.step()))
    }

    fn first_list(&self, node: &Node, depth: usize) -> Option<usize> {
        if depth > 8 {
            return None;
        }
        match &node.kind {
            Kind::Mapping { entries, .. } => entries.iter().find_map(|(key, value)| {
                if let Kind::Sequence { flow: false, items } = &value.kind {
                    let item = items.first()?;
                    let line = self.source.line_start(item.start);
                    let dash = self.text()[line..item.start].find('-')?;
                    let own = key.start.checked_sub(self.source.line_start(key.start))?;
                    return dash.checked_sub(own);
                }
                self.first_list(value, depth + 1)
            }),
            _ => None,
        }
    }

    /// By how much the file indents services.
    fn step(&self) -> usize {
        let column = |at: usize| at - self.source.line_start(at);
        match column(self.key.start) {
            0 => 2,
            column => column,
        }
    }

    /// The indentation of a body that is not there yet.
    pub(super) fn new_indent(&self) -> String {
        let column = self.key.start - self.source.line_start(self.key.start);
        " ".repeat(column + self.step())
    }

    /// The quote that the body's keys have, as JSON's do.
    pub(super) fn quote(&self) -> &'static str {
        let keys = match self.body.entries() {
            [] => vec![&self.key],
            entries => entries.iter().map(|(key, _)| key).collect(),
        };
        let quoted = |key: &&Rc<Node>| self.text()[key.span.clone()].starts_with('"');
        let json = self.text().trim_start().starts_with('{');
        if keys.iter().all(quoted) && (json || !self.body.entries().is_empty()) {
            "\""
        } else {
            ""
        }
    }

    /// The line break that is used here.
    pub(super) fn eol(&self, at: usize) -> &'static str {
        let line = &self.text()[..self.source.line_end(at)];
        if line.ends_with("\r\n") { "\r\n" } else { "\n" }
    }
}
