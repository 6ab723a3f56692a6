//! Whether code keeps anything from those who read its names: code that lies elsewhere, and, in a pure crate, what reaches
//! beyond a function's arguments without a name that is forbidden.
//!
//! Types are not known here. What a method of a value does, clippy knows: a pure crate's root has to deny what its
//! `clippy.toml` lists. It cannot forbid that: derive macros allow all of clippy's style in what they write, which the
//! compiler would refuse (E0453). That the crate's own code allows nothing is for [`super::paths`].

use std::{collections::BTreeSet, path::Path};

use syn::{Attribute, Meta, Token, punctuated::Punctuated};

use super::{
    names::{Call, Hiding},
    source::{Module, Tree},
};

/// What the root of a pure crate has to deny outside tests; the first, to forbid.
const DENIED_LINTS: [&str; 4] = [
    "unsafe_code",
    "clippy::disallowed_macros",
    "clippy::disallowed_methods",
    "clippy::disallowed_types",
];

/// Finds what the modules of a crate hide. `folder` is a pure crate's, and none any other's; files are shown relative to
/// `root`.
pub(super) fn check(tree: &Tree, folder: Option<&Path>, root: &Path) -> Vec<String> {
    // A macro's argument is scanned in the macro's tokens, too.
    let mut found = BTreeSet::new();
    for module in tree.ids().map(|id| tree.module(id)) {
        let names = &module.names;
        let hidings = names.hidings.iter().filter_map(|(hiding, line)| {
            Some((*line, of_hiding(*hiding, folder.is_some())?.to_owned()))
        });
        let calls = names
            .calls
            .iter()
            .filter_map(|call| Some((call.line, of_call(call, module, folder)?)));
        found.extend(
            hidings
                .chain(calls)
                .map(|(line, what)| (&module.file, line, what)),
        );
    }
    let found = found.into_iter();
    found
        .map(|(file, line, what)| {
            let file = file.strip_prefix(root).unwrap_or(file).display();
            format!("{file}:{line}: {what}")
        })
        .collect()
}

fn of_hiding(hiding: Hiding, is_pure: bool) -> Option<&'static str> {
    match hiding {
        Hiding::ExternCrate => {
            Some("`extern crate` gives a library another name in every module: use `use`")
        }
        Hiding::InnerModule => {
            Some("a module that a function or a macro declares is hidden: declare it in its parent")
        }
        Hiding::ForeignBlock => {
            is_pure.then_some("functions of another language are forbidden: pure code is Rust")
        }
        Hiding::OpenPath => is_pure.then_some(
            "a path that a macro's argument completes is forbidden: it may name anything",
        ),
    }
}

fn of_call(call: &Call, module: &Module, folder: Option<&Path>) -> Option<String> {
    let name = call.name.as_str();
    if name == "include" {
        return Some("include! hides code from the architecture: make it a module".to_owned());
    }
    let folder = folder?;
    match name {
        "print" | "println" | "eprint" | "eprintln" | "dbg" => {
            Some(format!("{name}! is forbidden: text goes out as a result"))
        }
        "option_env" => Some(
            "option_env! is forbidden: results depend on arguments alone, not on who compiles"
                .to_owned(),
        ),
        "env" if !string(call).is_some_and(|variable| is_cargos(&variable)) => Some(
            "env! is forbidden, but for what the manifest says (`CARGO_PKG_…`): results depend on arguments alone"
                .to_owned(),
        ),
        "include_str" | "include_bytes"
            if !string(call).is_some_and(|path| is_in(&path, &module.file, folder)) =>
        {
            Some(format!(
                "{name}! of what is not named outright, or lies outside the crate, is forbidden: a crate is all that it knows"
            ))
        }
        _ => None,
    }
}

/// The one string that a macro is handed.
fn string(call: &Call) -> Option<String> {
    let only = Punctuated::<syn::LitStr, Token![,]>::parse_terminated;
    let strings = syn::parse::Parser::parse2(only, call.tokens.clone()).ok()?;
    strings.first().map(syn::LitStr::value)
}

/// Whether cargo sets a variable from the manifest, for whoever compiles.
fn is_cargos(variable: &str) -> bool {
    variable.starts_with("CARGO_PKG_")
}

/// Whether a path that a file includes lies in the crate's folder, links followed.
fn is_in(path: &str, file: &Path, folder: &Path) -> bool {
    let included = file.with_file_name("").join(path).canonicalize();
    let folder = folder.canonicalize();
    let (Ok(included), Ok(folder)) = (included, folder) else {
        return false;
    };
    included.starts_with(folder)
}

/// Which of the lints that a pure crate denies the text of its root leaves out.
pub(super) fn lints_left_out(root: &str) -> Vec<&'static str> {
    let denied: Vec<String> = syn::parse_file(root)
        .map(|file| file.attrs.iter().flat_map(denied_by).collect())
        .unwrap_or_default();
    DENIED_LINTS
        .into_iter()
        .filter(|lint| denied.iter().all(|denied| denied != lint))
        .collect()
}

/// The lints that an attribute denies wherever no test is compiled.
fn denied_by(attribute: &Attribute) -> Vec<String> {
    let lists = |meta: &Meta| -> Option<Vec<Meta>> {
        let list = meta.require_list().ok()?;
        let parts = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
        Some(parts.ok()?.into_iter().collect())
    };
    let of_list = |meta: &Meta| -> Vec<String> {
        let is_forbidden = meta.path().is_ident("forbid");
        if !is_forbidden && !meta.path().is_ident("deny") {
            return Vec::new();
        }
        let lints = lists(meta).unwrap_or_default();
        let lints = lints
            .iter()
            .filter_map(|lint| lint.require_path_only().ok());
        let names = lints.map(|lint| {
            let segments = lint.segments.iter();
            let segments: Vec<String> = segments.map(|segment| segment.ident.to_string()).collect();
            segments.join("::")
        });
        names
            .filter(|lint| is_forbidden || lint != DENIED_LINTS[0])
            .collect()
    };
    if !attribute.path().is_ident("cfg_attr") {
        return of_list(&attribute.meta);
    }
    match lists(&attribute.meta).as_deref() {
        Some([condition, attributes @ ..]) if is_not_test(condition) => {
            attributes.iter().flat_map(of_list).collect()
        }
        _ => Vec::new(),
    }
}

fn is_not_test(condition: &Meta) -> bool {
    condition.require_list().is_ok_and(|list| {
        list.path.is_ident("not")
            && list
                .parse_args::<syn::Path>()
                .is_ok_and(|path| path.is_ident("test"))
    })
}
