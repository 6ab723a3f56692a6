//! Edits of one key of one service, as spans of the text. Each takes a project and gives the edited one, parsed anew:
//! compose files are small, and no offset can go stale.

use std::{ops::Range, rc::Rc};

use crate::{
    manifest::compose::Project,
    yaml::{Entry, Kind, Node, Source, Unusable},
};

/// What becomes of a list.
pub struct Members {
    /// For each member, whether it stays.
    pub keep: Vec<bool>,
    /// What is added.
    pub add: Vec<String>,
}

/// A service in a file.
struct Service<'a> {
    project: &'a Project,
    file: usize,
    source: &'a Source,
    name: &'a str,
    key: Rc<Node>,
    body: Rc<Node>,
    /// It stands within braces.
    in_flow: bool,
}

/// Keys that are kept beside each other, in this order.
const ORDER: [&str; 3] = ["cap_drop", "cap_add", "security_opt"];

/// Makes a service that is privileged another one; `explicitly` if it is by what it extends.
pub fn privileged(
    project: &Project,
    file: usize,
    service: &str,
    explicitly: bool,
) -> Result<Project, Unusable> {
    with_last_line_break(project, file, |project| {
        not_privileged(&Service::find(project, file, service)?, explicitly)
    })
}

fn not_privileged(service: &Service<'_>, explicitly: bool) -> Result<Project, Unusable> {
    match service.get("privileged") {
        Some(entry) if !entry.merged && entry.value.is_true() => {
            service.untagged(&entry)?;
            service.replaced(entry.value.span.clone(), "false")
        }
        Some(entry) if entry.value.is_true() => service.insert("privileged", &Value::False),
        None if explicitly => service.insert("privileged", &Value::False),
        _ => Ok(service.project.clone()),
    }
}

/// Changes a list of a service; makes it if it is not there, and removes it if nothing is left of it.
pub fn list(
    project: &Project,
    file: usize,
    service: &str,
    key: &'static str,
    decide: impl Fn(&[String]) -> Members,
) -> Result<Project, Unusable> {
    with_last_line_break(project, file, |project| {
        with_members(&Service::find(project, file, service)?, key, decide)
    })
}

/// Edits by line need the last one to end like the others. If it did not, it does not afterwards.
fn with_last_line_break(
    project: &Project,
    file: usize,
    edit: impl FnOnce(&Project) -> Result<Project, Unusable>,
) -> Result<Project, Unusable> {
    let text = project.source(file).text();
    if text.ends_with('\n') {
        return edit(project);
    }
    let eol = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let edited = edit(&project.with_text(file, format!("{text}{eol}"))?)?;
    let text = edited.source(file).text();
    let text = text.strip_suffix(eol).unwrap_or(text).to_owned();
    edited.with_text(file, text)
}

fn with_members(
    service: &Service<'_>,
    key: &'static str,
    decide: impl Fn(&[String]) -> Members,
) -> Result<Project, Unusable> {
    let entry = service.get(key);
    let old: Vec<String> = entry
        .iter()
        .flat_map(|entry| entry.value.items())
        .map(|item| item.text().unwrap_or_default().to_owned())
        .collect();
    let members = decide(&old);
    if members.add.is_empty() && members.keep.iter().all(|keep| *keep) {
        return Ok(service.project.clone());
    }
    let all = |old: &[String]| {
        let kept = old.iter().zip(&members.keep).filter(|(_, keep)| **keep);
        kept.map(|(item, _)| item.clone())
            .chain(members.add.iter().cloned())
            .collect::<Vec<_>>()
    };
    match entry {
        Some(entry) if !entry.merged => service.change(key, &entry, &members, all(&old)),
        // What is taken over from another mapping is written out here, and left as it is there.
        _ => service.insert(key, &Value::List(all(&old))),
    }
}

/// A new value.
enum Value {
    False,
    List(Vec<String>),
}

impl Value {
    fn in_flow(&self, quote: &str) -> String {
        match self {
            Self::False => "false".to_owned(),
            Self::List(items) => format!(
                "[{}]",
                items
                    .iter()
                    .map(|item| scalar(item, quote))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        }
    }
}

/// Members are plain, except what braces or a colon would break; all of them are quoted in JSON.
fn scalar(item: &str, quote: &str) -> String {
    let plain = item.bytes().all(|byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':' | b'.' | b'/')
    }) && !item.starts_with(|first: char| matches!(first, '-' | ':' | '.' | '0'..='9'))
        && !item.ends_with(':');
    if plain && quote.is_empty() {
        return item.to_owned();
    }
    // JSON's escapes are YAML's.
    serde_json::to_string(item).unwrap_or_else(|_| item.to_owned())
}

impl<'a> Service<'a> {
    fn find(project: &'a Project, file: usize, name: &'a str) -> Result<Self, Unusable> {
        let source = project.source(file);
        let services = project.document(file).root.get("services");
        let found = services.as_ref().and_then(|services| {
            let (key, body) = services
                .value
                .entries()
                .iter()
                .find(|(key, _)| key.text() == Some(name))?;
            let in_flow = matches!(
                services.value.target().kind,
                Kind::Mapping { flow: true, .. }
            );
            Some((Rc::clone(key), Rc::clone(body), in_flow))
        });
        let Some((key, body, in_flow)) = found else {
            return Err(Unusable {
                place: source.place(0),
                message: format!("there is no service {name:?}"),
            });
        };
        let service = Self {
            project,
            file,
            source,
            name,
            key,
            body,
            in_flow,
        };
        if !service.body.is_null() && !matches!(service.body.target().kind, Kind::Mapping { .. }) {
            return Err(service.unusable(service.body.start, "is no mapping"));
        }
        Ok(service)
    }

    fn unusable(&self, at: usize, what: &str) -> Unusable {
        Unusable {
            place: self.source.place(at),
            message: format!("service {:?} {what}: nothing was changed", self.name),
        }
    }

    /// A key's value; what a body that is an alias has is not the service's own.
    fn get(&self, key: &str) -> Option<Entry> {
        let entry = self.body.get(key)?;
        let merged = entry.merged || matches!(self.body.kind, Kind::Alias(_));
        Some(Entry { merged, ..entry })
    }

    fn text(&self) -> &'a str {
        self.source.text()
    }

    /// The project with a span of the text replaced.
    fn replaced(&self, span: Range<usize>, by: &str) -> Result<Project, Unusable> {
        let mut text = self.text().to_owned();
        let place = self.source.place(span.start);
        text.replace_range(span, by);
        self.project
            .with_text(self.file, text)
            .map_err(|error| Unusable {
                place,
                message: format!(
                    "service {:?} is written in a way that cannot be edited ({}): nothing was changed",
                    self.name, error.message
                ),
            })
    }

    /// Tags like compose's `!reset` say how a value is laid over another: they are the user's to change.
    fn untagged(&self, entry: &Entry) -> Result<(), Unusable> {
        match &entry.value.tag {
            Some(tag) => {
                let key = entry.key.text().unwrap_or_default();
                Err(self.unusable(
                    entry.value.start,
                    &format!("has {key} with the tag {tag}, which is not understood"),
                ))
            }
            None => Ok(()),
        }
    }

    /// Changes a list that the service has itself.
    fn change(
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

    /// Gives the service a key that it does not have itself.
    fn insert(&self, key: &str, value: &Value) -> Result<Project, Unusable> {
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
            let data = |node: &Node| crate::yaml::Data::of(node, self.source).ok();
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

    /// Where a value's line would be left with a space at its end without it.
    fn before_value(&self, start: usize) -> usize {
        self.text()[..start].trim_end_matches(' ').len()
    }

    /// How far the file's lists are indented below their keys.
    fn dash(&self) -> String {
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
    fn new_indent(&self) -> String {
        let column = self.key.start - self.source.line_start(self.key.start);
        " ".repeat(column + self.step())
    }

    /// The quote that the body's keys have, as JSON's do.
    fn quote(&self) -> &'static str {
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
    fn eol(&self, at: usize) -> &'static str {
        let line = &self.text()[..self.source.line_end(at)];
        if line.ends_with("\r\n") { "\r\n" } else { "\n" }
    }
}
