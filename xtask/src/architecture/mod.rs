//! Whether the code keeps to the architecture: which crates use which, what pure crates must not touch, that modules do not
//! depend on each other in a circle, that files stay short, that comments of public items say more than the
//! name, and that every test is there that a page names.

mod circles;
mod dependencies;
mod docs;
mod hiding;
mod names;
mod packages;
mod paths;
mod policy;
mod resolve;
mod source;
mod test_code;
#[cfg(test)]
mod tests;
mod threats;

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use self::{
    packages::Package,
    policy::{CRATES, Crate, DOCUMENTED, LONGEST_FILE},
    source::Tree,
};
use crate::project;

/// Checks every crate of the project.
///
/// # Errors
///
/// The architecture is violated, each violation having been printed; or sources or manifests cannot be read.
pub(crate) fn check() -> Result<()> {
    let packages = packages::of_project()?;
    let mut violations = dependencies::check_crates(&packages, CRATES);
    for package in &packages {
        let rule = CRATES.iter().find(|rule| rule.name == package.name);
        if let Some(rule) = rule.filter(|rule| !rule.forbidden_packages.is_empty()) {
            let chains = packages::dependencies_of(&package.name)?;
            violations.extend(dependencies::check_tree(&chains, rule.forbidden_packages));
        }
        violations.extend(check_role(package)?);
        let is_pure = rule.is_some_and(|rule| rule.is_pure);
        if is_pure {
            violations.extend(check_lints(package)?);
        }
        for target in &package.targets {
            if target.is_product() {
                let tree = Tree::read(&target.src_path)?;
                violations.extend(check_code(&package.name, &tree, rule, project::root()));
                let folder = is_pure.then(|| package.folder());
                violations.extend(hiding::check(&tree, folder, project::root()));
                if DOCUMENTED.contains(&package.name.as_str()) {
                    violations.extend(check_docs(&tree, project::root()));
                }
            } else if target.is_build_script() {
                let tree = Tree::read(&target.src_path)?;
                violations.extend(check_lengths(&tree, project::root()));
            }
        }
    }
    violations.extend(threats::check(project::root())?);
    for violation in &violations {
        eprintln!("{violation}");
    }
    match violations.len() {
        0 => Ok(()),
        1 => bail!("the architecture is violated"),
        count => bail!("the architecture is violated {count} times"),
    }
}

/// Checks a library or program.
fn check_code(package: &str, tree: &Tree, rule: Option<&Crate>, root: &Path) -> Vec<String> {
    let resolved = resolve::resolve(tree);
    let modules = circles::among_modules(tree, &resolved.uses);
    let mut files = circles::among_files(tree, &resolved.uses);
    files.retain(|file| !modules.iter().any(|module| module.is_same_as(file)));
    let circle = |kind: &str, circle: &circles::Circle| {
        format!(
            "{package}: {kind} in a circle: {}",
            circle.describe(tree, root)
        )
    };
    let forbidden = rule.map_or(&[][..], |rule| rule.forbidden_paths);
    let mut violations = Vec::new();
    violations.extend(modules.iter().map(|modules| circle("modules", modules)));
    violations.extend(files.iter().map(|files| circle("files", files)));
    violations.extend(paths::check(tree, &resolved.foreign, forbidden, root));
    let parts = rule.map_or(&[][..], |rule| rule.parts);
    violations.extend(paths::check_parts(tree, &resolved.foreign, parts, root));
    violations.extend(check_lengths(tree, root));
    violations
}

/// Checks that clippy is told what a pure crate must not touch, and that nothing in the crate can allow it again.
fn check_lints(package: &Package) -> Result<Vec<String>> {
    let name = &package.name;
    let mut violations = Vec::new();
    for target in package.targets.iter().filter(|target| target.is_product()) {
        let text = std::fs::read_to_string(&target.src_path)
            .with_context(|| format!("cannot read {}", target.src_path.display()))?;
        for lint in hiding::lints_left_out(&text) {
            violations.push(format!("{name}: the crate's root does not deny {lint}"));
        }
    }
    let told = std::fs::read_to_string(package.folder().join("clippy.toml"));
    let wanted = project::root().join("capaudit-core/clippy.toml");
    let wanted = std::fs::read_to_string(&wanted)
        .with_context(|| format!("cannot read {}", wanted.display()))?;
    if !told.is_ok_and(|told| told == wanted) {
        violations.push(format!(
            "{name}: clippy.toml is not that of capaudit-core: clippy does not know what pure code must not touch"
        ));
    }
    Ok(violations)
}

fn check_lengths(tree: &Tree, root: &Path) -> Vec<String> {
    let long = tree.files.iter().filter(|file| file.lines > LONGEST_FILE);
    long.map(|file| {
        let path = file.path.strip_prefix(root).unwrap_or(&file.path);
        format!(
            "{}: {} lines beside its tests, more than {LONGEST_FILE}",
            path.display(),
            file.lines
        )
    })
    .collect()
}

/// Checks that a crate's root says what the crate is for: that of the library, where there is one.
fn check_role(package: &Package) -> Result<Option<String>> {
    let Some(target) = package.targets.iter().find(|target| target.is_product()) else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(&target.src_path)
        .with_context(|| format!("cannot read {}", target.src_path.display()))?;
    Ok(docs::left_out_of_role(&text).map(|words| {
        format!(
            "{}: the crate's root does not say `{words}`: what it must never know or do, and where to begin reading",
            package.name
        )
    }))
}

fn check_docs(tree: &Tree, root: &Path) -> Vec<String> {
    let modules = tree.ids().map(|id| tree.module(id));
    let short = modules.flat_map(|module| {
        let path = module.file.strip_prefix(root).unwrap_or(&module.file);
        module.docs.short.iter().map(move |short| (path, short))
    });
    short
        .map(|(path, docs::Short { item, text, line })| {
            format!(
                "{}:{line}: {item}: {text:?} is too short to say what it means",
                path.display()
            )
        })
        .collect()
}
