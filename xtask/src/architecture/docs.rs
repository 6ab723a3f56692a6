//! Documentation comments of public items that are too short to say what the item means.

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Expr, ExprLit, Field, Ident, ImplItem, Item, Lit, Meta, TraitItem, Visibility,
};

use super::{names, policy::PUBLISHING_DERIVES, test_code};

/// The most words of a comment that can only repeat the name.
const TOO_FEW: usize = 2;

/// A comment of at most [`TOO_FEW`] words.
#[derive(Debug)]
pub(super) struct Short {
    /// The name of the item that has it.
    pub item: String,
    pub text: String,
    pub line: usize,
}

/// The documentation of one module's public items.
#[derive(Debug, Default)]
pub(super) struct Docs {
    /// The comments that are too short.
    pub short: Vec<Short>,
}

impl Docs {
    /// Adds an item of the module with its members, unless it is there for tests only or a program shows its
    /// documentation.
    pub(super) fn add(&mut self, item: &Item) {
        let (attributes, _) = names::parts(item);
        if test_code::is_test_only(attributes) || is_published(attributes) {
            return;
        }
        match item {
            Item::Const(item) => self.add_public(&item.vis, &item.attrs, &item.ident),
            Item::Enum(item) if is_public(&item.vis) => {
                self.judge(&item.attrs, &item.ident);
                for variant in &item.variants {
                    self.judge(&variant.attrs, &variant.ident);
                    for field in &variant.fields {
                        let name = field.ident.as_ref().unwrap_or(&variant.ident);
                        self.judge(&field.attrs, name);
                    }
                }
            }
            Item::Fn(item) => self.add_public(&item.vis, &item.attrs, &item.sig.ident),
            Item::Impl(item) => {
                for member in &item.items {
                    self.add_member(member);
                }
            }
            Item::Mod(item) => self.add_public(&item.vis, &item.attrs, &item.ident),
            Item::Static(item) => self.add_public(&item.vis, &item.attrs, &item.ident),
            Item::Struct(item) => {
                self.add_public(&item.vis, &item.attrs, &item.ident);
                for field in &item.fields {
                    self.add_field(field, &item.ident);
                }
            }
            Item::Trait(item) if is_public(&item.vis) => {
                self.judge(&item.attrs, &item.ident);
                for member in &item.items {
                    match member {
                        TraitItem::Const(member) => self.judge(&member.attrs, &member.ident),
                        TraitItem::Fn(member) => self.judge(&member.attrs, &member.sig.ident),
                        TraitItem::Type(member) => self.judge(&member.attrs, &member.ident),
                        _ => {}
                    }
                }
            }
            Item::Type(item) => self.add_public(&item.vis, &item.attrs, &item.ident),
            Item::Union(item) => {
                self.add_public(&item.vis, &item.attrs, &item.ident);
                for field in &item.fields.named {
                    self.add_field(field, &item.ident);
                }
            }
            _ => {}
        }
    }

    fn add_member(&mut self, member: &ImplItem) {
        match member {
            ImplItem::Const(member) => self.add_public(&member.vis, &member.attrs, &member.ident),
            ImplItem::Fn(member) => self.add_public(&member.vis, &member.attrs, &member.sig.ident),
            _ => {}
        }
    }

    fn add_field(&mut self, field: &Field, owner: &Ident) {
        let name = field.ident.as_ref().unwrap_or(owner);
        self.add_public(&field.vis, &field.attrs, name);
    }

    fn add_public(&mut self, visibility: &Visibility, attributes: &[Attribute], name: &Ident) {
        if is_public(visibility) {
            self.judge(attributes, name);
        }
    }

    /// Keeps a comment that is too short. None at all is for the compiler's `missing_docs` to find.
    fn judge(&mut self, attributes: &[Attribute], name: &Ident) {
        if test_code::is_test_only(attributes) {
            return;
        }
        let mut docs = attributes.iter().filter(|one| is_doc(one)).peekable();
        let Some(first) = docs.peek() else {
            return;
        };
        let line = first.pound_token.spans[0].start().line;
        let Some(lines) = docs.map(text).collect::<Option<Vec<String>>>() else {
            return;
        };
        let text = lines.join(" ").trim().to_owned();
        if text.split_whitespace().count() <= TOO_FEW {
            self.short.push(Short {
                item: name.to_string(),
                text,
                line,
            });
        }
    }
}

/// What a crate's root has to say beside what the crate is for: what it must never know or do, and where to begin reading.
const ROLE: [&str; 2] = ["never", "egin to read"];

/// What of its role the text of a crate's root leaves out.
pub(super) fn left_out_of_role(root: &str) -> Option<&'static str> {
    let docs: Vec<&str> = root
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .map(str::trim)
        .collect();
    let docs = docs.join(" ");
    ROLE.into_iter().find(|words| !docs.contains(words))
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn is_doc(attribute: &Attribute) -> bool {
    attribute.path().is_ident("doc") && matches!(attribute.meta, Meta::NameValue(_))
}

/// The text of a line; `None` if a macro makes it.
fn text(doc: &Attribute) -> Option<String> {
    match &doc.meta.require_name_value().ok()?.value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => Some(text.value()),
        _ => None,
    }
}

/// Whether a derive makes the documentation a part of what the program shows.
fn is_published(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        (path.is_ident("derive") || path.is_ident("cfg_attr"))
            && attribute
                .meta
                .require_list()
                .is_ok_and(|list| has_publishing_derive(list.tokens.clone()))
    })
}

fn has_publishing_derive(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(name) => PUBLISHING_DERIVES.iter().any(|derive| name == derive),
        TokenTree::Group(group) => has_publishing_derive(group.stream()),
        _ => false,
    })
}
