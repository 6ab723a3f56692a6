//! Whether a crate's code names paths that are forbidden to it.

use std::{collections::BTreeMap, path::Path};

use super::{
    policy::{Forbidden, Part},
    resolve::Foreign,
    source::Tree,
};

/// Finds the forbidden paths among the names of a crate, each once in a file, with files relative to `root`.
pub(super) fn check(
    tree: &Tree,
    names: &[Foreign<'_>],
    forbidden: &[Forbidden],
    root: &Path,
) -> Vec<String> {
    let mut found = BTreeMap::new();
    for name in names {
        for forbidden in forbidden.iter().filter(|one| is_named(name, one)) {
            let file = &tree.module(name.user).file;
            let line = found.entry((file, forbidden.name)).or_insert((
                name.name.line,
                name.name.to_string(),
                forbidden.reason,
            ));
            if name.name.line < line.0 {
                (line.0, line.1) = (name.name.line, name.name.to_string());
            }
        }
    }
    let found = found.into_iter();
    found
        .map(|((file, forbidden), (line, name, reason))| {
            let file = file.strip_prefix(root).unwrap_or(file).display();
            format!("{file}:{line}: {name}: {forbidden} is forbidden: {reason}")
        })
        .collect()
}

/// Finds the names of other crates that lie outside the parts that a crate may name, each once, with files relative to `root`.
pub(super) fn check_parts(
    tree: &Tree,
    names: &[Foreign<'_>],
    parts: &[Part],
    root: &Path,
) -> Vec<String> {
    let mut found = BTreeMap::new();
    for name in names {
        for part in parts.iter().filter(|part| is_outside(name, part)) {
            let file = &tree.module(name.user).file;
            let path = name.path.join("::");
            let line = found.entry((file, path)).or_insert((name.name.line, part));
            line.0 = line.0.min(name.name.line);
        }
    }
    let found = found.into_iter();
    found
        .map(|((file, path), (line, part))| {
            let file = file.strip_prefix(root).unwrap_or(file).display();
            let paths = part.paths.join(", ");
            format!(
                "{file}:{line}: {path}: of {} only {paths} may be named: {}",
                part.of, part.reason
            )
        })
        .collect()
}

/// Whether a name is one of the other crate and not in the part.
fn is_outside(name: &Foreign<'_>, part: &Part) -> bool {
    let is_inside = |allowed: &&str| {
        let allowed = allowed.split("::");
        name.path.len() >= allowed.clone().count()
            && allowed
                .zip(&name.path)
                .all(|(allowed, named)| allowed == named)
    };
    name.path.first().is_some_and(|first| first == part.of) && !part.paths.iter().any(is_inside)
}

/// Whether a name is the forbidden path or below it, or imports the forbidden path along with all that is beside it.
fn is_named(name: &Foreign<'_>, forbidden: &Forbidden) -> bool {
    let forbidden: Vec<&str> = forbidden.name.split("::").collect();
    let path = name.path.iter().map(String::as_str);
    let shared = path
        .zip(&forbidden)
        .take_while(|(named, forbidden)| named == *forbidden)
        .count();
    let is_macro = name.name.is_macro && name.path.len() == forbidden.len();
    let is_below = shared == forbidden.len() && !is_macro;
    let is_above = name.is_glob && shared == name.path.len();
    is_below || is_above
}
