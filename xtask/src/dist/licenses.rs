//! The licences of everything that is linked into the program: most want to be handed on with it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::{command, project, setup::musl::TARGET};

/// The package whose program is handed out.
const PROGRAM: &str = "capaudit";

/// What the names of files begin with that hold a licence, or what a licence wants to be handed on.
const FILES: [&str; 6] = [
    "license",
    "licence",
    "copying",
    "notice",
    "copyright",
    "unlicense",
];

/// `cargo metadata`, as far as it is needed.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    repository: Option<String>,
    /// Where it came from; `None` if it is one of ours.
    source: Option<String>,
    manifest_path: PathBuf,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    /// `build`, `dev`, or none for what is linked.
    kind: Option<String>,
}

impl Metadata {
    /// What is linked into the program and is not ours, by name.
    fn linked(&self) -> Vec<&Package> {
        let nodes: HashMap<&str, &Node> = self
            .resolve
            .nodes
            .iter()
            .map(|node| (node.id.as_str(), node))
            .collect();
        let mut open: Vec<&str> = self
            .packages
            .iter()
            .filter(|package| package.source.is_none() && package.name == PROGRAM)
            .map(|package| package.id.as_str())
            .collect();
        let mut reached = HashSet::new();
        while let Some(id) = open.pop() {
            if let (true, Some(node)) = (reached.insert(id), nodes.get(id)) {
                let linked = node.deps.iter().filter(|dependency| {
                    let mut kinds = dependency.dep_kinds.iter();
                    kinds.any(|kind| kind.kind.is_none())
                });
                open.extend(linked.map(|dependency| dependency.pkg.as_str()));
            }
        }
        let mut linked: Vec<&Package> = self
            .packages
            .iter()
            .filter(|package| package.source.is_some() && reached.contains(package.id.as_str()))
            .collect();
        linked.sort_by_key(|package| (&package.name, &package.version));
        linked
    }
}

/// Writes them to a file.
pub(super) fn write(file: &Path) -> Result<()> {
    let mut cargo = project::cargo();
    cargo.args(["metadata", "--format-version", "1", "--locked"]);
    cargo.args(["--filter-platform", TARGET]);
    let metadata: Metadata = serde_json::from_str(&command::text_of(&mut cargo)?)
        .context("cannot read what cargo says about the packages")?;
    let linked = metadata.linked();
    let mut texts = BTreeMap::new();
    for package in &linked {
        for text in texts_of(package)? {
            let of: &mut BTreeSet<String> = texts.entry(text).or_default();
            of.insert(format!("{} {}", package.name, package.version));
        }
    }
    command::write(file, &page(&linked, &texts))
}

/// The licence files of a package. Some have none, and name a licence that everybody knows.
fn texts_of(package: &Package) -> Result<Vec<String>> {
    let directory = package
        .manifest_path
        .parent()
        .context("a package in no directory")?;
    let cannot_read = || format!("cannot read {}", directory.display());
    let mut texts = Vec::new();
    for entry in fs::read_dir(directory).with_context(cannot_read)? {
        let entry = entry.with_context(cannot_read)?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if entry.path().is_file() && FILES.iter().any(|start| name.starts_with(start)) {
            let text = fs::read(entry.path()).with_context(cannot_read)?;
            texts.push(String::from_utf8_lossy(&text).trim_end().to_owned());
        }
    }
    Ok(texts)
}

/// A list of the packages, then every text with those that it is of.
fn page(linked: &[&Package], texts: &BTreeMap<String, BTreeSet<String>>) -> String {
    let mut page = "What capaudit's program is made of besides its own sources, and under which licences.\n\nmusl, the C library, https://musl.libc.org: MIT\nThe Rust standard library, https://github.com/rust-lang/rust: MIT OR Apache-2.0\n".to_owned();
    for package in linked {
        let license = package.license.as_deref().unwrap_or("see below");
        let repository = package.repository.as_deref().unwrap_or("crates.io");
        // Writing to a string cannot fail.
        let _ = writeln!(
            page,
            "{} {}, {repository}: {license}",
            package.name, package.version
        );
    }
    for (text, of) in texts {
        let of: Vec<&str> = of.iter().map(String::as_str).collect();
        let rule = "-".repeat(72);
        let _ = write!(page, "\n{rule}\n{}\n{rule}\n\n{text}\n", of.join(", "));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Result<Metadata> {
        let package = |name: &str, source: Option<&str>| {
            serde_json::json!({
                "id": name, "name": name, "version": "1.0.0", "license": "MIT", "repository": null,
                "source": source, "manifest_path": format!("/nowhere/{name}/Cargo.toml"),
            })
        };
        let needs = |name: &str, kind: Option<&str>| serde_json::json!({ "pkg": name, "dep_kinds": [{ "kind": kind }] });
        let json = serde_json::json!({
            "packages": [
                package("capaudit", None),
                package("ours", None),
                package("linked", Some("registry")),
                package("deeper", Some("registry")),
                package("builds", Some("registry")),
                package("tests", Some("registry")),
                package("another-s", Some("registry")),
            ],
            "resolve": { "nodes": [
                { "id": "capaudit", "deps": [needs("ours", None), needs("builds", Some("build")), needs("tests", Some("dev"))] },
                { "id": "ours", "deps": [needs("linked", None)] },
                { "id": "linked", "deps": [needs("deeper", None)] },
                { "id": "deeper", "deps": [needs("linked", None)] },
            ] },
        });
        Ok(serde_json::from_value(json)?)
    }

    #[test]
    fn what_is_linked_is_listed_and_nothing_else() -> Result<()> {
        let metadata = metadata()?;
        let linked = metadata.linked();
        let names: Vec<&str> = linked.iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["deeper", "linked"]);
        Ok(())
    }

    #[test]
    fn a_text_appears_once_whoever_s_it_is() -> Result<()> {
        let metadata = metadata()?;
        let of = ["deeper 1.0.0", "linked 1.0.0"].map(str::to_owned);
        let texts = BTreeMap::from([("Do what you like.".to_owned(), BTreeSet::from(of))]);
        let page = page(&metadata.linked(), &texts);
        assert_eq!(page.matches("Do what you like.").count(), 1);
        assert!(page.contains("\ndeeper 1.0.0, linked 1.0.0\n"), "{page}");
        assert!(page.contains("\nlinked 1.0.0, crates.io: MIT\n"), "{page}");
        Ok(())
    }
}
