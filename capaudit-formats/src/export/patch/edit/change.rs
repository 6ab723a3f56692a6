//! A list that a service has itself, in each of the forms that YAML has for it.

use std::{ops::Range, rc::Rc};

use super::{Members, Service, Value, scalar};
use crate::{
    manifest::compose::Project,
    yaml::{Entry, Kind, Node, Unusable},
};

impl Service<'_> {
    /// Changes a list that the service has itself.
    pub(super) fn change(
        &self,
        key: &'static str,
        entry: &Entry,
        members: &Members,
        result: Vec<String>,
    ) -> Result<Project, Unusable> {
        self.untagged(entry)?;
        let inherited = self.body.merged().any(|mapping| mapping.get(key).is_some());
        let in_flow_body = matches!(self.body.kind, Kind::Mapping { flow: true, .. });
        match &entry.value.kind {
            Kind::Sequence { flow: false, items } if !items.is_empty() => {
                let lines = self.item_lines(items)?;
                if result.is_empty() {
                    if inherited || entry.value.anchor.is_some() {
                        return self.emptied(entry, &lines);
                    }
                    return self.removed(entry);
                }
                self.change_block(items, &lines, members)
            }
            Kind::Sequence { flow: true, items } => {
                if result.is_empty() && !inherited && !in_flow_body && entry.value.anchor.is_none()
                {
                    return self.removed(entry);
                }
                self.change_flow(entry, items, members)
            }
            _ if entry.value.span.is_empty() => {
                // Left out: behind the colon, which is behind the key.
                let after = entry.value.span.end;
                let colon = self.text()[after..]
                    .find(':')
                    .map_or(after, |at| after + at + 1);
                let value = Value::List(result).in_flow(self.quote());
                self.replaced(colon..colon, &format!(" {value}"))
            }
            _ => {
                let value = Value::List(result).in_flow(self.quote());
                self.replaced(entry.value.span.clone(), &value)
            }
        }
    }

    /// For each member of a block list, its lines: from its dash's to the last of its content.
    fn item_lines(&self, items: &[Rc<Node>]) -> Result<Vec<Range<usize>>, Unusable> {
        items
            .iter()
            .map(|item| {
                let start = self.source.line_start(item.start);
                let lead = self.text()[start..item.start].trim_start();
                // Where something else than a scalar ends, its parts do not always tell.
                if lead.trim_end() != "-" || item.text().is_none() {
                    return Err(self.unusable(item.start, "has a list in an unusual form here"));
                }
                Ok(start..self.source.line_end(item.span.end.max(item.start)))
            })
            .collect()
    }

    fn change_block(
        &self,
        items: &[Rc<Node>],
        lines: &[Range<usize>],
        members: &Members,
    ) -> Result<Project, Unusable> {
        let mut text = self.text().to_owned();
        let mut add = members.add.iter();
        let last_kept = members.keep.iter().rposition(|keep| *keep);
        // Without any that stays, the first one's line becomes the first new one's.
        let anchor = last_kept.unwrap_or(0);
        let lead = &self.text()[lines[anchor].start..items[anchor].start];
        let eol = self.eol(lines[anchor].start);
        for index in (0..items.len()).rev() {
            let line = lines[index].clone();
            if index == anchor {
                let mut new = if last_kept.is_some() {
                    text[line.clone()].to_owned()
                } else {
                    let first = add.next().map(|item| scalar(item, "")).unwrap_or_default();
                    format!("{lead}{first}{eol}")
                };
                for item in add.by_ref() {
                    new.push_str(&format!("{lead}{}{eol}", scalar(item, "")));
                }
                text.replace_range(line, &new);
            } else if !members.keep.get(index).copied().unwrap_or(true) {
                text.replace_range(line, "");
            }
        }
        self.replaced(0..self.text().len(), &text)
    }

    /// A block list that has to stay as an empty one.
    fn emptied(&self, entry: &Entry, lines: &[Range<usize>]) -> Result<Project, Unusable> {
        let mut text = self.text().to_owned();
        for line in lines.iter().rev() {
            text.replace_range(line.clone(), "");
        }
        // Behind the anchor if there is one, else behind the colon.
        let from = match &entry.value.anchor {
            Some(name) => entry.value.start + 1 + name.len(),
            None => {
                let after = entry.key.span.end;
                self.text()[after..]
                    .find(':')
                    .map_or(after, |at| after + at + 1)
            }
        };
        text.insert_str(from, " []");
        self.replaced(0..self.text().len(), &text)
    }

    /// Removes a key with its list, by whole lines.
    fn removed(&self, entry: &Entry) -> Result<Project, Unusable> {
        let start = self.source.line_start(entry.key.start);
        if !self.text()[start..entry.key.start].trim().is_empty() {
            return self.replaced(entry.value.span.clone(), "[]");
        }
        let end = self
            .source
            .line_end(entry.value.span.end.max(entry.key.span.end));
        self.replaced(start..end, "")
    }

    fn change_flow(
        &self,
        entry: &Entry,
        items: &[Rc<Node>],
        members: &Members,
    ) -> Result<Project, Unusable> {
        let quote = if items.is_empty() {
            self.quote()
        } else if items
            .iter()
            .all(|item| self.text()[item.span.clone()].starts_with('"'))
        {
            "\""
        } else {
            ""
        };
        let new: Vec<String> = members.add.iter().map(|item| scalar(item, quote)).collect();
        let new = new.join(", ");
        let kept: Vec<usize> = (0..items.len())
            .filter(|index| members.keep[*index])
            .collect();
        let Some(last_kept) = kept.last() else {
            let span = match (items.first(), items.last()) {
                (Some(first), Some(last)) => first.start..last.span.end,
                _ => entry.value.span.start + 1..entry.value.span.start + 1,
            };
            // A comma that is left behind would be an empty member.
            let after = &self.text()[span.end..entry.value.span.end];
            let comma = after.len() - after.trim_start().len();
            let end = if new.is_empty() && after.trim_start().starts_with(',') {
                span.end + comma + 1
            } else {
                span.end
            };
            return self.replaced(span.start..end, &new);
        };
        let mut text = self.text().to_owned();
        for index in (0..items.len()).rev() {
            if index == *last_kept && !new.is_empty() {
                text.insert_str(items[index].span.end, &format!(", {new}"));
            }
            if !members.keep[index] {
                // Up to the next one, or from the last that stays.
                let span = if index > *last_kept {
                    items[index - 1].span.end..items[index].span.end
                } else {
                    items[index].start..items[index + 1].start
                };
                text.replace_range(span, "");
            }
        }
        self.replaced(0..self.text().len(), &text)
    }
}
