//! The names that a module defines, imports and mentions.

use std::collections::HashSet;

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Ident, Item, ItemUse, Macro, Meta, Path, UseTree, Visibility,
    visit::{self, Visit},
};

use super::test_code;

/// A path as it is written, without generic arguments.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub segments: Vec<String>,
    /// Whether it begins with `::`, so that it can only name something of another crate.
    pub is_absolute: bool,
    /// Whether it names a macro that is called: `std::env!` is not the module of that name.
    pub is_macro: bool,
    pub line: usize,
}

impl Name {
    fn starting_with(first: &Ident) -> Self {
        Self {
            segments: vec![first.to_string()],
            is_absolute: false,
            is_macro: false,
            line: first.span().start().line,
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.segments.join("::"))
    }
}

/// The standard library's crates.
const LIBRARIES: [&str; 3] = ["std", "core", "alloc"];

/// A macro that is called, also in what is handed to another one.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// Its name without its path.
    pub name: String,
    /// What it is handed.
    pub tokens: TokenStream,
    pub line: usize,
}

/// What keeps code from those who read names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hiding {
    /// `extern crate a as b`: another name, in every module.
    ExternCrate,
    /// `extern "C" { … }`: functions of another language.
    ForeignBlock,
    /// A module that a function declares, or a macro.
    InnerModule,
    /// `std::$name`: what is named is the macro's caller's to say.
    OpenPath,
}

/// The names of one module; those of its own modules are theirs.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// What it defines itself.
    pub items: HashSet<String>,
    /// What it imports, by the name that it has here.
    pub imports: Vec<(String, Name)>,
    /// Where it imports everything from.
    pub globs: Vec<Name>,
    /// Every path in its code.
    pub mentions: Vec<Name>,
    /// Every macro that it calls.
    pub calls: Vec<Call>,
    /// What it keeps from this, each with its line.
    pub hidings: Vec<(Hiding, usize)>,
}

impl Names {
    /// Adds an item of the module, unless it is there for tests only.
    pub(super) fn add(&mut self, item: &Item) {
        let (attributes, defined) = parts(item);
        if !test_code::is_test_only(attributes) {
            self.items.extend(defined.map(Ident::to_string));
            self.visit_item(item);
        }
    }

    /// Adds what attributes name that stand on a whole module.
    pub(super) fn add_attributes(&mut self, attributes: &[Attribute]) {
        for attribute in attributes {
            self.visit_attribute(attribute);
        }
    }

    /// All of them, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Name> {
        let imports = self.imports.iter().map(|(_, name)| name);
        imports.chain(&self.globs).chain(&self.mentions)
    }

    fn import(&mut self, tree: &UseTree, before: Option<&Name>) {
        let extended = |with: &Ident| match before {
            Some(before) => {
                let mut name = before.clone();
                name.line = with.span().start().line;
                name.segments.push(with.to_string());
                name
            }
            None => Name::starting_with(with),
        };
        match tree {
            UseTree::Path(path) => self.import(&path.tree, Some(&extended(&path.ident))),
            UseTree::Name(leaf) => self.import_as(extended(&leaf.ident), None),
            UseTree::Rename(leaf) => {
                self.import_as(extended(&leaf.ident), Some(leaf.rename.to_string()));
            }
            UseTree::Glob(_) => self.globs.extend(before.cloned()),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, before);
                }
            }
        }
    }

    fn import_as(&mut self, mut name: Name, alias: Option<String>) {
        // `use a::b::{self}` is `use a::b`.
        if name.segments.len() > 1 && name.segments.last().is_some_and(|last| last == "self") {
            name.segments.pop();
        }
        let alias = alias.or_else(|| name.segments.last().cloned());
        self.imports.extend(alias.map(|alias| (alias, name)));
    }

    /// Mentions what looks like a path among the tokens of a macro or an attribute, which have no other syntax to go by.
    fn scan(&mut self, tokens: TokenStream) {
        let mut current: Option<Name> = None;
        let mut colons = 0;
        let mut called: Option<Name> = None;
        let mut declared: Option<usize> = None;
        for token in tokens {
            match token {
                TokenTree::Punct(punctuation) if punctuation.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Ident(ident) => match &mut current {
                    Some(name) if colons == 2 => name.segments.push(ident.to_string()),
                    _ => {
                        self.mentions.extend(current.take());
                        if ident == "mod" {
                            declared = Some(ident.span().start().line);
                        }
                        current = Some(Name {
                            is_absolute: colons == 2,
                            ..Name::starting_with(&ident)
                        });
                    }
                },
                TokenTree::Punct(punctuation) => {
                    let name = current.take();
                    // One between braces is scanned here.
                    if punctuation.as_char() == ';' {
                        let line = declared.take();
                        self.hidings
                            .extend(line.map(|line| (Hiding::InnerModule, line)));
                    }
                    if punctuation.as_char() == '$'
                        && colons == 2
                        && let Some(name) = &name
                        && matches!(name.segments.as_slice(), [first, ..] if LIBRARIES.contains(&first.as_str()))
                    {
                        self.hidings.push((Hiding::OpenPath, name.line));
                    }
                    called = name.clone().filter(|_| punctuation.as_char() == '!');
                    self.mentions.extend(name);
                    colons = 0;
                    continue;
                }
                other => {
                    self.mentions.extend(current.take());
                    declared = None;
                    if let TokenTree::Group(group) = other {
                        if let Some(Name { segments, line, .. }) = called.take() {
                            self.calls.extend(segments.last().map(|name| Call {
                                name: name.clone(),
                                tokens: group.stream(),
                                line,
                            }));
                        }
                        self.scan(group.stream());
                    }
                }
            }
            colons = 0;
            called = None;
        }
        self.mentions.extend(current);
    }

    /// Mentions the paths in an attribute's strings: `#[serde(with = "super::seconds")]`.
    fn scan_strings(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.scan_strings(group.stream()),
                TokenTree::Literal(literal) => {
                    let Ok(string) = syn::parse_str::<syn::LitStr>(&literal.to_string()) else {
                        continue;
                    };
                    if let Ok(path) = string.parse::<Path>()
                        && path.segments.len() > 1
                    {
                        let line = literal.span().start().line;
                        self.mentions.push(Name {
                            line,
                            ..of_path(&path)
                        });
                    }
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) => {}
            }
        }
    }
}

fn of_path(path: &Path) -> Name {
    let ident = |segment: &syn::PathSegment| segment.ident.to_string();
    let first = path.segments.first();
    Name {
        segments: path.segments.iter().map(ident).collect(),
        is_absolute: path.leading_colon.is_some(),
        is_macro: false,
        line: first.map_or(0, |first| first.ident.span().start().line),
    }
}

/// The attributes of an item, and the name that it defines in its module.
pub(super) fn parts(item: &Item) -> (&[Attribute], Option<&Ident>) {
    match item {
        Item::Const(item) => (&item.attrs, Some(&item.ident)),
        Item::Enum(item) => (&item.attrs, Some(&item.ident)),
        Item::ExternCrate(item) => (&item.attrs, None),
        Item::Fn(item) => (&item.attrs, Some(&item.sig.ident)),
        Item::ForeignMod(item) => (&item.attrs, None),
        Item::Impl(item) => (&item.attrs, None),
        Item::Macro(item) => (&item.attrs, item.ident.as_ref()),
        Item::Mod(item) => (&item.attrs, None),
        Item::Static(item) => (&item.attrs, Some(&item.ident)),
        Item::Struct(item) => (&item.attrs, Some(&item.ident)),
        Item::Trait(item) => (&item.attrs, Some(&item.ident)),
        Item::TraitAlias(item) => (&item.attrs, Some(&item.ident)),
        Item::Type(item) => (&item.attrs, Some(&item.ident)),
        Item::Union(item) => (&item.attrs, Some(&item.ident)),
        Item::Use(item) => (&item.attrs, None),
        // `Item` may grow.
        _ => (&[], None),
    }
}

/// Leaves out what only tests compile, wherever the language lets an attribute stand.
macro_rules! leave_out_tests {
    ($($visit:ident: $node:ident,)*) => {
        $(
            fn $visit(&mut self, node: &'ast syn::$node) {
                if !test_code::is_test_only(&node.attrs) {
                    visit::$visit(self, node);
                }
            }
        )*
    };
}

impl<'ast> Visit<'ast> for Names {
    leave_out_tests! {
        visit_arm: Arm,
        visit_field: Field,
        visit_field_value: FieldValue,
        visit_impl_item_const: ImplItemConst,
        visit_impl_item_fn: ImplItemFn,
        visit_local: Local,
        visit_stmt_macro: StmtMacro,
        visit_trait_item_fn: TraitItemFn,
        visit_variant: Variant,
    }

    fn visit_item(&mut self, item: &'ast Item) {
        if !test_code::is_test_only(parts(item).0) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let known = (self.imports.len(), self.globs.len());
        self.import(&item.tree, None);
        if item.leading_colon.is_some() {
            let imports = self.imports.iter_mut().skip(known.0).map(|(_, name)| name);
            for name in imports.chain(self.globs.iter_mut().skip(known.1)) {
                name.is_absolute = true;
            }
        }
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        let line = item.ident.span().start().line;
        self.hidings.push((Hiding::ExternCrate, line));
    }

    fn visit_item_foreign_mod(&mut self, item: &'ast syn::ItemForeignMod) {
        let line = item.abi.extern_token.span.start().line;
        self.hidings.push((Hiding::ForeignBlock, line));
        visit::visit_item_foreign_mod(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        // What a module declares itself is read as a module, and does not get here.
        if item.content.is_none() {
            let line = item.ident.span().start().line;
            self.hidings.push((Hiding::InnerModule, line));
        }
        visit::visit_item_mod(self, item);
    }

    fn visit_path(&mut self, path: &'ast Path) {
        self.mentions.push(of_path(path));
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        self.mentions.push(Name {
            is_macro: true,
            ..of_path(&called.path)
        });
        self.calls
            .extend(called.path.segments.last().map(|last| Call {
                name: last.ident.to_string(),
                tokens: called.tokens.clone(),
                line: last.ident.span().start().line,
            }));
        self.scan(called.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.scan(list.tokens.clone());
            self.scan_strings(list.tokens.clone());
        }
    }

    fn visit_visibility(&mut self, _: &'ast Visibility) {
        // `pub(super)` lets the parent use something and uses nothing of it.
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn names(source: &str) -> Names {
        let mut names = Names::default();
        for item in &syn::parse_file(source).unwrap().items {
            names.add(item);
        }
        names
    }

    fn mentions(source: &str) -> Vec<String> {
        names(source).mentions.iter().map(Name::to_string).collect()
    }

    #[test]
    fn imports_are_taken_apart() {
        let names = names("use crate::{a, b::{self, C as D}, e::*}; use ::std::fs; use self::f;");
        let imports: Vec<_> = names
            .imports
            .iter()
            .map(|(alias, name)| (alias.as_str(), name.to_string(), name.is_absolute))
            .collect();
        assert_eq!(
            imports,
            [
                ("a", "crate::a".to_owned(), false),
                ("b", "crate::b".to_owned(), false),
                ("D", "crate::b::C".to_owned(), false),
                ("fs", "std::fs".to_owned(), true),
                ("f", "self::f".to_owned(), false),
            ]
        );
        let globs: Vec<_> = names.globs.iter().map(Name::to_string).collect();
        assert_eq!(globs, ["crate::e"]);
    }

    #[test]
    fn paths_are_found_in_code_macros_and_attributes() {
        assert_eq!(
            mentions("fn f(x: a::B<c::D>) { e::g(); }"),
            ["a::B", "c::D", "e::g"]
        );
        assert_eq!(
            mentions("a::b!(x, c::d(e::f), ::g::h);"),
            ["a::b", "x", "c::d", "e::f", "g::h"]
        );
        assert_eq!(
            mentions("#[serde(with = \"a::b\", default)] struct S;"),
            ["with", "default", "a::b"]
        );
        assert!(mentions("pub(super) struct S;").is_empty());
    }

    #[test]
    fn what_only_tests_compile_is_left_out() {
        let names = names(
            "#[cfg(test)] use a::b; #[cfg(test)] fn f() { c::d(); }
             impl S { #[cfg(test)] fn g() { e::h(); } fn i() { #[cfg(test)] let x = j::k; } }
             struct S { #[cfg(test)] field: l::M }",
        );
        assert!(names.imports.is_empty());
        assert_eq!(names.items, HashSet::from(["S".to_owned()]));
        let mentions: Vec<_> = names.mentions.iter().map(Name::to_string).collect();
        assert_eq!(mentions, ["S"]);
    }

    #[test]
    fn a_name_has_the_line_it_stands_on() {
        let names = names("use a::{\n    b,\n    c,\n};\nfn f() {\n    d::e();\n}\n");
        let lines: Vec<_> = names.all().map(|name| name.line).collect();
        assert_eq!(lines, [2, 3, 6]);
    }
}
