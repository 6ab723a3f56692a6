//! What cargo knows of the project's packages.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::{command, project};

/// A package of the project.
#[derive(Debug, Deserialize)]
pub(super) struct Package {
    pub name: String,
    manifest_path: PathBuf,
    pub targets: Vec<Target>,
    pub dependencies: Vec<Dependency>,
}

impl Package {
    /// Where its manifest lies.
    pub(super) fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new(""))
    }
}

/// What cargo compiles of a package: its library, a program, its build script, a test, …
#[derive(Debug, Deserialize)]
pub(super) struct Target {
    kind: Vec<String>,
    /// The file that the compiler is given.
    pub src_path: PathBuf,
}

impl Target {
    /// Whether it becomes part of a library or a program.
    pub(super) fn is_product(&self) -> bool {
        self.kind
            .iter()
            .any(|kind| ["lib", "bin", "proc-macro"].contains(&kind.as_str()))
    }

    /// Whether it runs before its package is compiled.
    pub(super) fn is_build_script(&self) -> bool {
        self.kind.iter().any(|kind| kind == "custom-build")
    }
}

/// A dependency as a manifest states it.
#[derive(Debug, Deserialize)]
pub(super) struct Dependency {
    pub name: String,
    pub kind: Option<DependencyKind>,
    /// The folder of a dependency that is no registry's.
    path: Option<PathBuf>,
}

impl Dependency {
    /// Whether it is a crate of the project.
    pub(super) fn is_ours(&self) -> bool {
        self.path.is_some()
    }
}

/// What a dependency is for, if not for the package's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum DependencyKind {
    Dev,
    Build,
}

/// The packages of the workspace, and that of the BPF programs, which is a workspace of its own.
pub(super) fn of_project() -> Result<Vec<Package>> {
    let mut packages = of_workspace(&project::root().join("Cargo.toml"))?;
    packages.extend(of_workspace(
        &project::root().join("capaudit-ebpf/Cargo.toml"),
    )?);
    Ok(packages)
}

fn of_workspace(manifest: &Path) -> Result<Vec<Package>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    let text = command::text_of(
        project::cargo()
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .arg("--manifest-path")
            .arg(manifest),
    )?;
    let metadata: Metadata =
        serde_json::from_str(&text).context("cannot understand `cargo metadata`")?;
    Ok(metadata.packages)
}

/// Every dependency of a workspace's package and of its build script, also of its dependencies, on any system and with
/// any feature, each with the chain of packages that leads to it.
///
/// `cargo metadata` would resolve the whole workspace at once, and show features and so packages that only another
/// member asks for.
pub(super) fn dependencies_of(package: &str) -> Result<Vec<Vec<String>>> {
    let tree = command::text_of(project::cargo().args([
        "tree",
        "--package",
        package,
        "--edges",
        "normal,build",
        "--all-features",
        "--target",
        "all",
        "--prefix",
        "depth",
        "--format",
        " {p}",
    ]))?;
    chains(&tree).with_context(|| format!("cannot understand `cargo tree --package {package}`"))
}

/// Reads lines of a depth and a package.
fn chains(tree: &str) -> Result<Vec<Vec<String>>> {
    let mut chain: Vec<String> = Vec::new();
    tree.lines()
        .map(|line| {
            let mut words = line.split_whitespace();
            let depth: usize = words.next().context("an empty line")?.parse()?;
            chain.truncate(depth);
            chain.push(words.next().context("no package")?.to_owned());
            Ok(chain.clone())
        })
        .collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_read_as_chains_of_packages() {
        let tree = "0 core v0.1.0 (/core)\n1 serde v1.0.0\n2 libc v0.2.0\n1 thiserror v2.0.0 (*)\n";
        assert_eq!(
            chains(tree).unwrap(),
            [
                vec!["core"],
                vec!["core", "serde"],
                vec!["core", "serde", "libc"],
                vec!["core", "thiserror"],
            ]
        );
        assert!(chains("core v0.1.0\n").is_err());
    }

    #[test]
    fn cargo_lists_every_package_of_the_project() {
        let packages = of_project().unwrap();
        let named = |name: &str| packages.iter().find(|package| package.name == name);
        assert!(named("capaudit-ebpf").is_some());
        let xtask = named("xtask").unwrap();
        assert!(xtask.targets.iter().any(Target::is_product));
        let used = |name: &str| xtask.dependencies.iter().find(|used| used.name == name);
        assert!(used("bpf-toolchain").unwrap().is_ours());
        assert!(!used("anyhow").unwrap().is_ours());
    }

    #[test]
    fn cargo_lists_what_a_package_depends_on() {
        let chains = dependencies_of("bpf-toolchain").unwrap();
        assert!(chains.contains(&vec!["bpf-toolchain".to_owned(), "anyhow".to_owned()]));
    }

    #[test]
    fn cargo_lists_what_a_feature_brings_that_nobody_asks_for() {
        let chains = dependencies_of("capaudit-core").unwrap();
        assert!(chains.contains(&vec!["capaudit-core".to_owned(), "schemars".to_owned()]));
    }

    #[test]
    fn cargo_lists_what_a_build_script_depends_on() {
        let chains = dependencies_of("capaudit-tracer").unwrap();
        assert!(chains.contains(&vec![
            "capaudit-tracer".to_owned(),
            "bpf-toolchain".to_owned()
        ]));
    }
}
