//! A key that a service does not have itself.

use std::rc::Rc;

use super::{Service, Value, scalar};
use crate::{
    manifest::compose::Project,
    yaml::{Data, Kind, Node, Unusable},
};

/// Keys that are kept beside each other, in this order.
const ORDER: [&str; 3] = ["cap_drop", "cap_add", "security_opt"];

impl Service<'_> {
    /// Gives the service a key that it does not have itself.
    pub(super) fn insert(&self, key: &str, value: &Value) -> Result<Project, Unusable> {
        match &self.body.kind {
            Kind::Mapping {
                flow: true,
                entries,
            } => {
                let quote = self.quote();
                let new = format!("{quote}{key}{quote}: {}", value.in_flow(quote));
                match entries.last() {
                    Some((last_key, last)) => {
                        let mut end = last.span.end.max(last_key.span.end);
                        if last.span.is_empty() {
                            // A key whose value is left out may have a colon.
                            let rest = &self.text()[end..self.body.span.end];
                            end += if rest.starts_with(':') { 1 } else { 0 };
                        }
                        self.replaced(end..end, &format!(", {new}"))
                    }
                    None => self.replaced(self.body.span.clone(), &format!("{{{new}}}")),
                }
            }
            Kind::Mapping {
                flow: false,
                entries,
            } => self.insert_in_block(entries, key, value),
            Kind::Alias(_) => {
                let alias = self.text()[self.body.span.clone()].to_owned();
                if self.in_flow {
                    let new = format!("{{<<: {alias}, {key}: {}}}", value.in_flow(""));
                    return self.replaced(self.body.span.clone(), &new);
                }
                let indent = self.new_indent();
                let eol = self.eol(self.key.start);
                let mut text = self.text().to_owned();
                let end = self.source.line_end(self.body.span.end);
                let lines = format!(
                    "{indent}<<: {alias}{eol}{}",
                    self.block(&indent, key, value, eol)
                );
                text.insert_str(end, &lines);
                text.replace_range(
                    self.before_value(self.body.span.start)..self.body.span.end,
                    "",
                );
                self.replaced(0..self.text().len(), &text)
            }
            _ => {
                if self.in_flow || self.body.tag.is_some() || self.body.anchor.is_some() {
                    let new = format!("{{{key}: {}}}", value.in_flow(self.quote()));
                    let span = self.body.span.clone();
                    if !span.is_empty() {
                        return self.replaced(span, &new);
                    }
                    return Err(
                        self.unusable(self.key.start, "is empty in a form that cannot be edited")
                    );
                }
                let indent = self.new_indent();
                let eol = self.eol(self.key.start);
                let end = self.source.line_end(self.body.span.end);
                let mut text = self.text().to_owned();
                text.insert_str(end, &self.block(&indent, key, value, eol));
                if !self.body.span.is_empty() {
                    let start = self.before_value(self.body.span.start);
                    text.replace_range(start..self.body.span.end, "");
                }
                self.replaced(0..self.text().len(), &text)
            }
        }
    }

    /// Beside a key that it belongs to, else behind the last key, else before the first: where a value ends is not
    /// in every style a matter of lines, and what comes out is looked at.
    fn insert_in_block(
        &self,
        entries: &[(Rc<Node>, Rc<Node>)],
        key: &str,
        value: &Value,
    ) -> Result<Project, Unusable> {
        let Some((first, _)) = entries.first() else {
            return Err(self.unusable(self.body.start, "is empty in an unusual form"));
        };
        let line = self.source.line_start(first.start);
        let indent = &self.text()[line..first.start];
        if !indent.bytes().all(|byte| byte == b' ') {
            return Err(self.unusable(first.start, "starts in an unusual form here"));
        }
        let own = |wanted: &str| entries.iter().find(|(key, _)| key.text() == Some(wanted));
        let place = ORDER.iter().position(|name| *name == key).unwrap_or(0);
        let after_entry = |(key, value): &(Rc<Node>, Rc<Node>)| {
            self.source.line_end(value.span.end.max(key.span.end))
        };
        let before = ORDER[..place].iter().rev().find_map(|name| own(name));
        let after = ORDER[place..].iter().skip(1).find_map(|name| own(name));
        let mut spots = Vec::new();
        spots.extend(before.map(after_entry));
        spots.extend(after.map(|(key, _)| self.source.line_start(key.start)));
        spots.extend(entries.last().map(after_entry));
        spots.push(line);
        let eol = self.eol(line);
        let lines = self.block(indent, key, value, eol);
        let mut result = Err(self.unusable(first.start, "cannot be added to"));
        for spot in spots {
            result = self.replaced(spot..spot, &lines);
            if let Ok(project) = &result
                && self.is_kept_in(project)
            {
                return result;
            }
        }
        result
    }

    /// Whether all keys that the service has itself are there as they were.
    fn is_kept_in(&self, project: &Project) -> bool {
        let Ok(after) = Service::find(project, self.file, self.name) else {
            return false;
        };
        self.body.entries().iter().all(|(key, value)| {
            let data = |node: &Node| Data::of(node, self.source).ok();
            let Some(text) = key.text() else { return true };
            let found = after
                .body
                .entries()
                .iter()
                .find(|(key, _)| key.text() == Some(text));
            found.is_some_and(|(_, other)| data(value) == data(other))
        })
    }

    fn block(&self, indent: &str, key: &str, value: &Value, eol: &str) -> String {
        match value {
            Value::List(items) if !items.is_empty() => {
                let dash = self.dash();
                let mut text = format!("{indent}{key}:{eol}");
                for item in items {
                    text.push_str(&format!("{indent}{dash}- {}{eol}", scalar(item, "")));
                }
                text
            }
            other => format!("{indent}{key}: {}{eol}", other.in_flow("")),
        }
    }
}
