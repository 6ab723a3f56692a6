//! The inner cargo run.

use std::{
    env,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{Toolchain, environment};

/// The target that the BPF crate's own cargo configuration names.
const TARGET: &str = "bpfel-unknown-none";

/// The name of its binary.
const BINARY: &str = "capaudit";

impl Toolchain {
    /// Compiles the crate in directory `ebpf_crate` and gives the path of the linked object, which lies below
    /// `target_dir`. What cargo says goes to standard error.
    pub fn build(&self, ebpf_crate: &Path, target_dir: &Path) -> Result<PathBuf> {
        let ebpf_crate = ebpf_crate
            .canonicalize()
            .with_context(|| format!("no BPF crate at {}", ebpf_crate.display()))?;
        let target_dir = std::path::absolute(target_dir)
            .with_context(|| format!("{} is no target directory", target_dir.display()))?;
        let cargo = self.compiler().cargo();
        let status = self
            .command(&ebpf_crate, &target_dir)?
            .status()
            .with_context(|| {
                format!(
                    "{} does not start: run `cargo xtask setup`",
                    cargo.display()
                )
            })?;
        if !status.success() {
            bail!(
                "building the BPF programs failed ({status}, {self}): see cargo's messages above"
            );
        }
        let linked = target_dir.join(TARGET).join("release").join(BINARY);
        if !linked.is_file() {
            bail!(
                "the BPF build succeeded but left no object at {}",
                linked.display()
            );
        }
        Ok(linked)
    }

    fn command(&self, ebpf_crate: &Path, target_dir: &Path) -> Result<Command> {
        let compiler = self.compiler();
        let mut command = Command::new(compiler.cargo());
        environment::clean(&mut command);
        // The directory counts: the crate's own .cargo/config.toml holds target, linker, flags and build-std.
        command.current_dir(ebpf_crate);
        command
            .args(["build", "--release", "--locked", "--target-dir"])
            .arg(target_dir);
        command
            .arg("--config")
            .arg(remapping(&self.named_paths(ebpf_crate)));
        command
            .env("RUSTC", compiler.rustc())
            .env("PATH", self.search_path()?);
        if !compiler.is_nightly() {
            // build-std and the asm of aya-ebpf are unstable: a stable compiler has to be told to allow them.
            command.env("RUSTC_BOOTSTRAP", "1");
        }
        command.stdin(Stdio::null()).stdout(io::stderr());
        Ok(command)
    }

    /// The search path with the linker's directory in front.
    fn search_path(&self) -> Result<OsString> {
        let directory = self.linker().path().parent().map(Path::to_owned);
        let path = env::var_os("PATH").unwrap_or_default();
        env::join_paths(directory.into_iter().chain(env::split_paths(&path)))
            .context("the search path cannot be extended by bpf-linker's directory")
    }

    /// The machine's paths that would end up in debug information, with the names they get instead, so that the object
    /// does not depend on where it was built. The compiler applies the last rule that fits.
    fn named_paths(&self, ebpf_crate: &Path) -> Vec<(PathBuf, &'static str)> {
        let cargo_home = env::var_os("CARGO_HOME")
            .filter(|home| !home.is_empty())
            .map(PathBuf::from);
        let cargo_home = cargo_home.or_else(|| Some(env::home_dir()?.join(".cargo")));
        let library = self.compiler().sysroot().join("lib/rustlib/src/rust");
        // Distributions link the sources to where they really are, and the compiler names both.
        let library_itself = library.canonicalize().ok();
        let repository = ebpf_crate.parent().unwrap_or(ebpf_crate);
        [
            cargo_home.map(|home| (home, "cargo")),
            Some((library, "rust")),
            library_itself.map(|path| (path, "rust")),
            Some((repository.to_owned(), ".")),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// A cargo setting that adds one `--remap-path-prefix` for each path to the flags of the crate's own configuration.
fn remapping(paths: &[(PathBuf, &str)]) -> String {
    let flags: Vec<String> = paths
        .iter()
        .map(|(path, name)| toml_string(&format!("--remap-path-prefix={}={name}", path.display())))
        .collect();
    format!("target.{TARGET}.rustflags=[{}]", flags.join(","))
}

fn toml_string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remapping_is_one_toml_array() {
        let paths = [
            (PathBuf::from("/home/a \"b\""), "cargo"),
            (PathBuf::from("/src"), "."),
        ];
        assert_eq!(
            remapping(&paths),
            r#"target.bpfel-unknown-none.rustflags=["--remap-path-prefix=/home/a \"b\"=cargo","--remap-path-prefix=/src=."]"#
        );
    }
}
