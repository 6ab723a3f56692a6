//! Edits of one key of one service, as spans of the text. Each takes a project and gives the edited one, parsed anew:
//! compose files are small, and no offset can go stale.

mod change;
mod insert;
mod style;

use std::{ops::Range, rc::Rc};

use crate::{
    manifest::compose::Project,
    yaml::{Entry, Kind, Node, Source, Unusable},
};

/// What becomes of a list.
pub(super) struct Members {
    /// For each member, whether it stays.
    pub keep: Vec<bool>,
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

/// Makes a service that is privileged another one; `explicitly` if it is by what it extends.
pub(super) fn privileged(
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
pub(super) fn list(
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
}
