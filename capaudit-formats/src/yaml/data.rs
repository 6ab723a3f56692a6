//! What a YAML text says, apart from how it is written.

use super::{Kind, Node, Source, Unusable, is_merge};

/// A value with aliases and merge keys resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Text, whether it may be more than text (a number, say), and its tag.
    Scalar(String, bool, Option<String>),
    /// The members of a list, in their order.
    Sequence(Vec<Data>),
    /// Keys and values; those of merged mappings come last.
    Mapping(Vec<(Data, Data)>),
}

/// Nodes that the aliases of a file may stand for together: more is an attack ("billion laughs").
const MOST_NODES: usize = 1_000_000;

impl Data {
    /// What a node says.
    ///
    /// # Errors
    ///
    /// Its aliases stand for more than anybody writes.
    pub fn of(node: &Node, source: &Source) -> Result<Self, Unusable> {
        let mut left = MOST_NODES;
        resolve(node, &mut left).ok_or_else(|| Unusable {
            place: source.place(node.span.start),
            message: format!("its aliases stand for more than {MOST_NODES} values"),
        })
    }

    /// The value of a key.
    pub fn get(&self, wanted: &str) -> Option<&Self> {
        match self {
            Self::Mapping(entries) => entries
                .iter()
                .find(|(key, _)| key.is_text(wanted))
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, wanted: &str) -> Option<&mut Self> {
        match self {
            Self::Mapping(entries) => entries
                .iter_mut()
                .find(|(key, _)| key.is_text(wanted))
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// Takes keys out of a mapping.
    pub fn remove(&mut self, unwanted: &[&str]) {
        if let Self::Mapping(entries) = self {
            entries.retain(|(key, _)| !unwanted.iter().any(|name| key.is_text(name)));
        }
    }

    fn is_text(&self, wanted: &str) -> bool {
        matches!(self, Self::Scalar(text, ..) if text == wanted)
    }
}

/// `None` if nothing is left of the number of nodes.
fn resolve(node: &Node, left: &mut usize) -> Option<Data> {
    *left = left.checked_sub(1)?;
    let target = node.target();
    Some(match &target.kind {
        Kind::Scalar { text, plain } => Data::Scalar(text.clone(), *plain, target.tag.clone()),
        Kind::Sequence { items, .. } => Data::Sequence(
            items
                .iter()
                .map(|item| resolve(item, left))
                .collect::<Option<_>>()?,
        ),
        Kind::Mapping { entries, .. } => {
            let mut resolved: Vec<(Data, Data)> = Vec::new();
            for (key, value) in entries.iter().filter(|(key, _)| !is_merge(key)) {
                resolved.push((resolve(key, left)?, resolve(value, left)?));
            }
            for mapping in target.merged() {
                if let Data::Mapping(more) = resolve(mapping, left)? {
                    for (key, value) in more {
                        if resolved.iter().all(|(known, _)| *known != key) {
                            resolved.push((key, value));
                        }
                    }
                }
            }
            Data::Mapping(resolved)
        }
        // target() is never an alias.
        Kind::Alias(_) => return None,
    })
}

/// Where two values first differ: the path of keys, `services.web.image`; empty for the values themselves.
/// The order of keys makes no difference.
pub fn difference(one: &Data, other: &Data) -> Option<String> {
    let mut path = Vec::new();
    differ(one, other, &mut path).then(|| path.join("."))
}

fn differ(one: &Data, other: &Data, path: &mut Vec<String>) -> bool {
    match (one, other) {
        (Data::Sequence(one), Data::Sequence(other)) if one.len() == other.len() => one
            .iter()
            .zip(other)
            .enumerate()
            .any(|(index, (one, other))| {
                path.push(index.to_string());
                let differs = differ(one, other, path);
                if !differs {
                    path.pop();
                }
                differs
            }),
        (Data::Mapping(ours), Data::Mapping(theirs)) => {
            let has = |entries: &[(Data, Data)], wanted: &Data| {
                entries.iter().any(|(key, _)| key == wanted)
            };
            for (key, value) in ours {
                path.push(name(key));
                let found = theirs.iter().find(|(known, _)| known == key);
                if found.is_none_or(|(_, other)| differ(value, other, path)) {
                    return true;
                }
                path.pop();
            }
            if let Some((key, _)) = theirs.iter().find(|(key, _)| !has(ours, key)) {
                path.push(name(key));
                return true;
            }
            false
        }
        _ => one != other,
    }
}

fn name(key: &Data) -> String {
    match key {
        Data::Scalar(text, ..) => text.clone(),
        _ => "?".to_owned(),
    }
}
