//! Whether the crates depend only on what they may depend on.

use super::{
    packages::{DependencyKind, Package},
    policy::{Crate, Forbidden},
};

/// Compares the packages with the table of crates: both name the same, and none uses more of them than it may.
pub(super) fn check_crates(packages: &[Package], crates: &[Crate]) -> Vec<String> {
    let missing = crates
        .iter()
        .filter(|listed| packages.iter().all(|package| package.name != listed.name))
        .map(|listed| format!("{} has a rule and no package", listed.name));
    let uses = packages.iter().flat_map(|package| {
        match crates.iter().find(|listed| listed.name == package.name) {
            Some(rule) => {
                let mut violations = check_uses(package, rule);
                violations.extend(check_manifest(package, rule.forbidden_dependencies));
                violations
            }
            None => vec![format!(
                "{} has no rule that says what it may use",
                package.name
            )],
        }
    });
    missing.chain(uses).collect()
}

fn check_uses(package: &Package, rule: &Crate) -> Vec<String> {
    package
        .dependencies
        .iter()
        .filter(|used| used.is_ours())
        .filter_map(|used| {
            let (user, allowed) = match used.kind {
                None => ("", rule.uses),
                Some(DependencyKind::Build) => ("'s build script", rule.build_script_uses),
                // Tests may bring together what the product keeps apart.
                Some(DependencyKind::Dev) => return None,
            };
            (!allowed.contains(&used.name.as_str()))
                .then(|| format!("{}{user} may not use {}", package.name, used.name))
        })
        .collect()
}

/// Finds the forbidden ones among what a manifest names for anything but tests, optional or not.
fn check_manifest(package: &Package, forbidden: &[Forbidden]) -> Vec<String> {
    let named = |forbidden: &&Forbidden| {
        package.dependencies.iter().any(|dependency| {
            dependency.name == forbidden.name
                && !matches!(dependency.kind, Some(DependencyKind::Dev))
        })
    };
    let found = forbidden.iter().filter(named);
    found
        .map(|Forbidden { name, reason }| {
            format!("{} may not depend on {name}: {reason}", package.name)
        })
        .collect()
}

/// Finds the forbidden ones among a crate's dependencies, each of which is given as the chain of packages that leads to it.
pub(super) fn check_tree(chains: &[Vec<String>], forbidden: &[Forbidden]) -> Vec<String> {
    forbidden
        .iter()
        .filter_map(|forbidden| {
            let chain = chains
                .iter()
                .find(|chain| chain.last().is_some_and(|name| name == forbidden.name))?;
            let user = chain.first()?;
            Some(format!(
                "{user} may not depend on {} ({}), but does through {}",
                forbidden.name,
                forbidden.reason,
                chain.join(" -> ")
            ))
        })
        .collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::{super::policy::NO_MORE, *};

    const RULE: Crate = Crate {
        name: "formats",
        uses: &["core"],
        forbidden_dependencies: &[Forbidden {
            name: "tokio",
            reason: "it waits for nothing",
        }],
        ..NO_MORE
    };

    fn package(dependencies: &str) -> Package {
        serde_json::from_str(&format!(
            r#"{{"name": "formats", "manifest_path": "/Cargo.toml", "targets": [], "dependencies": [{dependencies}]}}"#
        ))
        .unwrap()
    }

    #[test]
    fn a_crate_uses_what_its_rule_names_and_any_registry() {
        let package = package(
            r#"{"name": "core", "kind": null, "path": "/core"},
               {"name": "tracer", "kind": "dev", "path": "/tracer"},
               {"name": "serde", "kind": null}"#,
        );
        assert!(check_crates(&[package], &[RULE]).is_empty());
    }

    #[test]
    fn a_crate_that_its_rule_does_not_name_is_reported() {
        let package = package(
            r#"{"name": "tracer", "kind": null, "path": "/tracer"},
               {"name": "core", "kind": "build", "path": "/core"}"#,
        );
        assert_eq!(
            check_crates(&[package], &[RULE]),
            [
                "formats may not use tracer",
                "formats's build script may not use core"
            ]
        );
    }

    #[test]
    fn a_package_that_a_manifest_must_not_name_is_reported_if_it_is_optional_too() {
        let of = |dependency| check_crates(&[package(dependency)], &[RULE]);
        for dependency in [
            r#"{"name": "tokio", "kind": null}"#,
            r#"{"name": "tokio", "kind": null, "optional": true, "rename": "other"}"#,
            r#"{"name": "tokio", "kind": "build"}"#,
        ] {
            assert_eq!(
                of(dependency),
                ["formats may not depend on tokio: it waits for nothing"],
                "{dependency}"
            );
        }
        assert!(of(r#"{"name": "tokio", "kind": "dev"}"#).is_empty());
    }

    #[test]
    fn packages_and_rules_are_the_same() {
        assert_eq!(
            check_crates(&[], &[RULE]),
            ["formats has a rule and no package"]
        );
        assert_eq!(
            check_crates(&[package("")], &[]),
            ["formats has no rule that says what it may use"]
        );
    }

    #[test]
    fn a_forbidden_package_is_reported_with_its_chain() {
        let chain = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let chains: [Vec<String>; 3] = [
            chain(&["core"]),
            chain(&["core", "jiff"]),
            chain(&["core", "jiff", "libc"]),
        ];
        let forbidden = |name| Forbidden {
            name,
            reason: "asks the system",
        };
        assert_eq!(
            check_tree(&chains, &[forbidden("tokio"), forbidden("libc")]),
            [
                "core may not depend on libc (asks the system), but does through core -> jiff -> libc"
            ]
        );
    }
}
