//! YAML with positions: a tree whose nodes know where in the text they stand, and the comments beside it.
//!
//! [`granit_parser`] gives the events of YAML 1.2 with byte spans. A tree of values alone would not do: files are
//! edited in place here, and findings point to a line.

mod data;
mod source;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, ops::Range, rc::Rc};

use granit_parser::{Event, Parser, StructureStyle, options};

pub use data::{Data, difference};
pub use source::{Place, Source};

/// A file that cannot be used, and where the reason is. The message fits one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct Unusable {
    /// Where the reason stands.
    pub place: Place,
    /// What is wrong there, in one line.
    pub message: String,
}

/// One document of a stream.
#[derive(Clone, Debug)]
pub struct Document {
    /// The outermost value, with all that it holds.
    pub root: Rc<Node>,
}

/// A comment of a YAML text, from `#` to the end of its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// What stands behind the `#`.
    pub text: String,
    /// Where the `#` stands, in bytes.
    pub start: usize,
}

/// All of a YAML text.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// Its documents, without empty ones.
    pub documents: Vec<Document>,
    /// Its comments, in their order.
    pub comments: Vec<Comment>,
}

/// A value, and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where its properties (anchor, tag) start; the content's start if it has none. In bytes.
    pub start: usize,
    /// Where its content stands, without trailing white space. Empty for a value that is left out, which then is
    /// at the end of its key.
    pub span: Range<usize>,
    /// Name of its anchor, without `&`.
    pub anchor: Option<String>,
    /// Its tag as it was written.
    pub tag: Option<String>,
    /// What the node holds.
    pub kind: Kind,
    reach: Reach,
}

/// How far it is from a node to the last of what it stands for. What goes through nodes calls itself, and aliases make a few
/// lines stand for more than a stack or anybody's time has room for: both are bounded when a file is read.
#[derive(Clone, Copy, Debug, Default)]
struct Reach {
    /// Nodes within each other, through aliases as well.
    depth: usize,
    /// Mappings that are looked into for a key that is in none: itself, and what it takes over.
    mappings: usize,
}

/// Nodes within each other: the parser's own limit is half of it, without aliases.
const DEEPEST: usize = 512;
/// Mappings that one takes over, and those that they take over.
const MOST_MERGED: usize = 10_000;

/// What a node holds.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Text; `plain` if it is not quoted and not a block.
    Scalar {
        /// Without quotes and escapes.
        text: String,
        /// Neither quoted nor a block.
        plain: bool,
    },
    /// A list of values, with or without brackets.
    Sequence {
        /// Whether it is written with brackets, as `[a, b]`, and not with dashes.
        flow: bool,
        /// The members in their order.
        items: Vec<Rc<Node>>,
    },
    /// A mapping of keys to values, with or without braces.
    Mapping {
        /// Whether it is written with braces, as `{a: b}`, and not by indentation.
        flow: bool,
        /// Keys and values in their order.
        entries: Vec<(Rc<Node>, Rc<Node>)>,
    },
    /// `*name`, and what it stands for.
    Alias(Rc<Node>),
}

/// A key's value in a mapping.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key; that of the other mapping, if the entry is merged.
    pub key: Rc<Node>,
    /// The value, possibly an alias.
    pub value: Rc<Node>,
    /// It comes from another mapping, through `<<`.
    pub merged: bool,
}

impl Node {
    /// What it stands for, if it is an alias, else itself.
    pub fn target(&self) -> &Self {
        let mut node = self;
        while let Kind::Alias(target) = &node.kind {
            node = target;
        }
        node
    }

    /// Its text, if it is a scalar or stands for one.
    pub fn text(&self) -> Option<&str> {
        match &self.target().kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether it is nothing: left out, `~` or `null`.
    pub fn is_null(&self) -> bool {
        matches!(&self.target().kind, Kind::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// Whether it is true to YAML 1.1, which compose 1 and many others read: `true`, `yes` or `on`, unquoted.
    pub fn is_true(&self) -> bool {
        matches!(&self.target().kind, Kind::Scalar { text, plain: true }
            if ["true", "yes", "on"].contains(&text.to_ascii_lowercase().as_str()))
    }

    /// Members of a list; none of anything else.
    pub fn items(&self) -> &[Rc<Self>] {
        match &self.target().kind {
            Kind::Sequence { items, .. } => items,
            _ => &[],
        }
    }

    /// Its own keys and values, `<<` among them; none of anything but a mapping.
    pub fn entries(&self) -> &[(Rc<Self>, Rc<Self>)] {
        match &self.target().kind {
            Kind::Mapping { entries, .. } => entries,
            _ => &[],
        }
    }

    /// The value of a key, its own or one that it takes over through `<<`
    /// (<https://yaml.org/type/merge.html>: own keys first, then earlier mappings before later ones).
    pub fn get(&self, wanted: &str) -> Option<Entry> {
        let own = self
            .entries()
            .iter()
            .find(|(key, _)| key.text() == Some(wanted));
        if let Some((key, value)) = own {
            return Some(Entry {
                key: Rc::clone(key),
                value: Rc::clone(value),
                merged: false,
            });
        }
        self.merged().find_map(|mapping| {
            mapping.get(wanted).map(|entry| Entry {
                merged: true,
                ..entry
            })
        })
    }

    /// The value of a path of keys.
    pub fn at(&self, path: &[&str]) -> Option<Rc<Self>> {
        let (first, rest) = path.split_first()?;
        let value = self.get(first)?.value;
        if rest.is_empty() {
            Some(value)
        } else {
            value.at(rest)
        }
    }

    /// Mappings that are merged into it.
    pub fn merged(&self) -> impl Iterator<Item = &Self> {
        self.entries()
            .iter()
            .filter(|(key, _)| is_merge(key))
            .flat_map(|(_, value)| match &value.target().kind {
                Kind::Sequence { items, .. } => items.iter().map(AsRef::as_ref).collect(),
                _ => vec![value.as_ref()],
            })
    }
}

/// Whether a key is YAML 1.1's merge key.
fn is_merge(key: &Node) -> bool {
    matches!(&key.kind, Kind::Scalar { text, plain: true } if text == "<<")
}

/// Reads a text.
///
/// # Errors
///
/// It is no YAML, has a key twice in one mapping, or an anchor whose value contains itself, or is one of those texts that
/// stand for more than anybody writes.
pub fn parse(source: &Source) -> Result<Stream, Unusable> {
    let options = options! { emit_anchor_events: true };
    let mut builder = Builder::new(source);
    for next in Parser::new_from_str_with_options(source.text(), options) {
        let (event, span) = next.map_err(|error| Unusable {
            place: source.place(byte_of(error.marker(), source.text())),
            message: format!("this is no YAML: {}", error.info().replace('\n', " ")),
        })?;
        let bytes = span.byte_range().unwrap_or_default();
        let tag = span.tag_span().and_then(|span| span.byte_range());
        builder.take(event, bytes, tag)?;
    }
    Ok(builder.stream)
}

/// An error's marker may know its character only.
fn byte_of(marker: &granit_parser::Marker, text: &str) -> usize {
    marker.byte_offset().unwrap_or_else(|| {
        text.char_indices()
            .nth(marker.index())
            .map_or(text.len(), |(byte, _)| byte)
    })
}

/// A node that is not yet whole.
struct Open {
    node: Node,
    anchor_id: Option<usize>,
    /// A mapping's key that has no value yet.
    key: Option<Rc<Node>>,
}

struct Builder<'a> {
    source: &'a Source,
    stream: Stream,
    open: Vec<Open>,
    /// Anchored nodes that are whole.
    anchored: HashMap<usize, Rc<Node>>,
    /// Scalars wait for their anchor, which comes behind them.
    scalar: Option<Open>,
}

impl<'a> Builder<'a> {
    fn new(source: &'a Source) -> Self {
        Self {
            source,
            stream: Stream::default(),
            open: Vec::new(),
            anchored: HashMap::new(),
            scalar: None,
        }
    }

    fn take(
        &mut self,
        event: Event<'_>,
        span: Range<usize>,
        tag: Option<Range<usize>>,
    ) -> Result<(), Unusable> {
        if let Event::Anchor(id, name) = event {
            let open = self.scalar.as_mut().or_else(|| self.open.last_mut());
            if let Some(open) = open {
                open.node.start = open.node.start.min(span.start);
                open.node.anchor = Some(name.into_owned());
                open.anchor_id = Some(id);
            }
            return Ok(());
        }
        if let Some(scalar) = self.scalar.take() {
            self.close(scalar)?;
        }
        let start = tag
            .as_ref()
            .map_or(span.start, |tag| tag.start.min(span.start));
        let tag = tag.and_then(|tag| self.source.text().get(tag).map(str::to_owned));
        let open = |kind, span: Range<usize>| Open {
            node: Node {
                start,
                span,
                anchor: None,
                tag: tag.clone(),
                kind,
                reach: Reach::default(),
            },
            anchor_id: None,
            key: None,
        };
        match event {
            Event::Comment(text, _) => self.stream.comments.push(Comment {
                text: text.into_owned(),
                start: span.start,
            }),
            Event::Scalar(text, style, _, _) => {
                let written = self.source.text().get(span.clone()).unwrap_or_default();
                let end = span.start + written.trim_end().len();
                self.scalar = Some(open(
                    Kind::Scalar {
                        text: text.into_owned(),
                        plain: style == granit_parser::ScalarStyle::Plain,
                    },
                    span.start..end,
                ));
            }
            Event::SequenceStart(style, ..) => self.open.push(open(
                Kind::Sequence {
                    flow: style == StructureStyle::Flow,
                    items: Vec::new(),
                },
                span,
            )),
            Event::MappingStart(style, ..) => self.open.push(open(
                Kind::Mapping {
                    flow: style == StructureStyle::Flow,
                    entries: Vec::new(),
                },
                span,
            )),
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(mut open) = self.open.pop() {
                    let flow = matches!(
                        open.node.kind,
                        Kind::Sequence { flow: true, .. } | Kind::Mapping { flow: true, .. }
                    );
                    // A block has no end of its own: it ends with its last member.
                    open.node.span.end = if flow {
                        span.end
                    } else {
                        open.node.last_member_end().max(open.node.span.start)
                    };
                    self.close(open)?;
                }
            }
            Event::Alias(id) => {
                let Some(target) = self.anchored.get(&id) else {
                    return Err(self.unusable(span.start, "an anchor's value contains itself"));
                };
                let alias = open(Kind::Alias(Rc::clone(target)), span);
                self.close(alias)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// A node is whole: it goes to the one that it is a part of.
    fn close(&mut self, mut closed: Open) -> Result<(), Unusable> {
        closed.node.reach = closed.node.reach_of_parts();
        let Reach { depth, mappings } = closed.node.reach;
        if depth > DEEPEST {
            let message = format!("more than {DEEPEST} values are within each other here");
            return Err(self.unusable(closed.node.span.start, &message));
        }
        if mappings > MOST_MERGED {
            let message = format!("this takes over more than {MOST_MERGED} mappings");
            return Err(self.unusable(closed.node.span.start, &message));
        }
        let node = Rc::new(closed.node);
        if let Some(id) = closed.anchor_id {
            self.anchored.insert(id, Rc::clone(&node));
        }
        let Some(parent) = self.open.last_mut() else {
            if !(node.is_null() && node.span.is_empty()) {
                self.stream.documents.push(Document { root: node });
            }
            return Ok(());
        };
        match (&mut parent.node.kind, parent.key.take()) {
            (Kind::Sequence { items, .. }, _) => items.push(node),
            (Kind::Mapping { .. }, None) => parent.key = Some(node),
            (Kind::Mapping { entries, .. }, Some(key)) => {
                // Readers differ in which of two would count. Keys that are no text are of no concern here.
                let twice = key.text().is_some_and(|text| {
                    !is_merge(&key) && entries.iter().any(|(other, _)| other.text() == Some(text))
                });
                entries.push((Rc::clone(&key), node));
                if twice {
                    let message = format!("the key {:?} is here twice", key.text().unwrap_or("?"));
                    return Err(self.unusable(key.span.start, &message));
                }
            }
            (Kind::Scalar { .. } | Kind::Alias(_), _) => {}
        }
        Ok(())
    }

    fn unusable(&self, at: usize, message: &str) -> Unusable {
        Unusable {
            place: self.source.place(at),
            message: message.to_owned(),
        }
    }
}

impl Node {
    fn reach_of_parts(&self) -> Reach {
        let depth = |nodes: &mut dyn Iterator<Item = &Rc<Self>>| {
            1 + nodes.map(|node| node.reach.depth).max().unwrap_or(0)
        };
        match &self.kind {
            Kind::Scalar { .. } => Reach {
                depth: 1,
                mappings: 0,
            },
            Kind::Sequence { items, .. } => Reach {
                depth: depth(&mut items.iter()),
                mappings: 0,
            },
            Kind::Mapping { entries, .. } => Reach {
                depth: depth(&mut entries.iter().flat_map(|(key, value)| [key, value])),
                mappings: self
                    .merged()
                    .map(|mapping| mapping.reach.mappings)
                    .fold(1, usize::saturating_add),
            },
            Kind::Alias(target) => Reach {
                depth: 1 + target.reach.depth,
                mappings: target.reach.mappings,
            },
        }
    }

    fn last_member_end(&self) -> usize {
        match &self.kind {
            Kind::Sequence { items, .. } => items.last().map_or(0, |node| node.span.end),
            Kind::Mapping { entries, .. } => entries
                .last()
                .map_or(0, |(key, value)| key.span.end.max(value.span.end)),
            Kind::Scalar { .. } | Kind::Alias(_) => self.span.end,
        }
    }
}
