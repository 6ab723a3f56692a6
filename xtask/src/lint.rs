//! `cargo xtask lint`: formatting, clippy (of capaudit also without its optional parts) and the links of the documentation,
//! warnings being errors; that no merge was left half done; that the code keeps to the architecture; and that the committed
//! BPF object is that of its sources.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{architecture, bpf, command, project};

/// Check formatting, lints and documentation of the workspace, the formatting of the BPF crate, that no file holds a merge's
/// conflicts, the architecture, and the committed BPF object
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Check only the architecture: compiles nothing, so it takes seconds
    #[arg(long)]
    architecture: bool,
}

/// Runs every check, also after one has failed.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.architecture {
        return architecture::check();
    }
    let mut failed: Vec<&str> = checks()
        .into_iter()
        .filter_map(|(name, mut check)| {
            println!("== {name}");
            let outcome = command::succeed(&mut check);
            outcome
                .inspect_err(|error| eprintln!("error: {error:#}"))
                .is_err()
                .then_some(name)
        })
        .collect();
    for (name, check) in [
        ("architecture", architecture::check as fn() -> Result<()>),
        ("committed BPF object", bpf::check),
    ] {
        println!("== {name}");
        if let Err(error) = check() {
            eprintln!("error: {error:#}");
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("lint failed: {}", failed.join(", "));
    }
    Ok(())
}

/// The tree without files: its name is the same in every repository.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

fn checks() -> [(&'static str, Command); 8] {
    let cargo = |arguments: &[&str]| {
        let mut cargo = project::cargo();
        cargo.args(arguments);
        cargo
    };
    let features = |chosen: &[&str]| {
        let mut clippy = cargo(&["clippy", "--quiet", "--package=capaudit", "--all-targets"]);
        clippy.arg("--no-default-features").args(chosen);
        clippy.args(["--", "-D", "warnings"]);
        clippy
    };
    let mut bpf = cargo(&["fmt", "--check"]);
    bpf.current_dir(project::root().join("capaudit-ebpf"));
    let mut doc = cargo(&["doc", "--quiet", "--workspace", "--no-deps"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    let mut conflicts = Command::new("git");
    conflicts
        .current_dir(project::root())
        // Blanks are rustfmt's business, and some tests' input.
        .args([
            "-c",
            "core.whitespace=-blank-at-eol,-blank-at-eof,-space-before-tab",
        ])
        .args(["diff", "--check", EMPTY_TREE]);
    [
        ("format", cargo(&["fmt", "--all", "--check"])),
        ("format of the BPF crate", bpf),
        (
            "clippy",
            cargo(&[
                "clippy",
                "--quiet",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ]),
        ),
        ("clippy without features", features(&[])),
        (
            "clippy with the daemon alone",
            features(&["--features=daemon"]),
        ),
        (
            "clippy with the live view alone",
            features(&["--features=live-view"]),
        ),
        ("documentation", doc),
        ("conflicts", conflicts),
    ]
}
