//! Which of the outer build's variables the inner one may see.
//!
//! A build script inherits everything that the outer cargo set for it, and what the user set for the outer build:
//! flags, wrappers, profiles, another toolchain. None of that is meant for the BPF crate.

use std::{env, process::Command};

/// Cargo's variables that say how to reach registries, how to share the machine and how to talk; the rest of `CARGO*`
/// goes.
const KEPT: [&str; 10] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "CARGO_TERM_",
    "CARGO_MAKEFLAGS",
    "CARGO_BUILD_JOBS",
    "CARGO_CACHE_",
];

/// What else an outer build leaves behind, by how the name starts.
const DROPPED_PREFIXES: [&str; 4] = ["CARGO", "RUSTC", "RUSTDOC", "DEP_"];

/// And by the whole name.
const DROPPED: [&str; 10] = [
    "DEBUG",
    "HOST",
    "NUM_JOBS",
    "OPT_LEVEL",
    "OUT_DIR",
    "PROFILE",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
    "RUST_RECURSION_COUNT",
    "TARGET",
];

/// Takes the outer build's variables away from `command`.
pub(crate) fn clean(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| !is_passed_on(name)) {
            command.env_remove(name);
        }
    }
}

fn is_passed_on(name: &str) -> bool {
    let starts_with_any =
        |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    starts_with_any(&KEPT) || !(starts_with_any(&DROPPED_PREFIXES) || DROPPED.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outer_build_is_left_behind() {
        for name in [
            "CARGO",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_CFG_TARGET_ARCH",
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_TARGET_DIR",
            "CARGO_BUILD_TARGET",
            "RUSTC",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTC_BOOTSTRAP",
            "RUSTFLAGS",
            "RUSTDOCFLAGS",
            "RUSTUP_TOOLCHAIN",
            "TARGET",
            "OUT_DIR",
            "DEP_Z_ROOT",
        ] {
            assert!(!is_passed_on(name), "{name} reaches the inner build");
        }
    }

    #[test]
    fn the_way_to_the_registry_and_the_users_own_variables_stay() {
        for name in [
            "PATH",
            "HOME",
            "CARGO_HOME",
            "CARGO_HTTP_CAINFO",
            "CARGO_NET_OFFLINE",
            "CARGO_REGISTRIES_CRATES_IO_PROTOCOL",
            "CARGO_MAKEFLAGS",
            "CARGO_TERM_COLOR",
            "RUSTUP_HOME",
            "RUST_BACKTRACE",
            "TARGETS",
        ] {
            assert!(is_passed_on(name), "{name} is lost");
        }
    }
}
