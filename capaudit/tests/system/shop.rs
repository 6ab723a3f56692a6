//! The example project, by the lines of its own README: audited, patched, started again.

use std::{path::Path, process::Command};

use libtest_mimic::{Failed, Trial};

use crate::{
    audit::{Verdicts, ensure},
    project::Project,
};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("shop::hardened_in_one_command", || {
            shop(&commands(true, 3)?)
        }),
        Trial::test("shop::audit_patch_and_up_again", || {
            shop(&commands(false, 6)?)
        }),
    ]
}

fn example() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/shop")
}

/// The commands of the README, in order: those of the one command, or those of the steps.
fn commands(at_once: bool, number: usize) -> Result<Vec<String>, Failed> {
    let text = std::fs::read_to_string(example().join("README.md"))?;
    let (first, second) = text
        .split_once("## Step by step")
        .ok_or("the README has no steps")?;
    let commands: Vec<String> = if at_once { first } else { second }
        .lines()
        .filter_map(|line| line.strip_prefix("    # "))
        .map(str::to_owned)
        .collect();
    ensure(commands.len() == number, &commands)?;
    Ok(commands)
}

fn shop(commands: &[String]) -> Verdicts {
    let before = std::fs::read_to_string(example().join("compose.yaml"))?;
    let project = Project::new(&before)?;
    let copied = Command::new("cp")
        .arg("-a")
        .arg(format!("{}/.", example().display()))
        .arg(project.path())
        .status()?;
    ensure(copied.success(), copied)?;
    for command in commands {
        let words = shlex::split(command).ok_or("odd quotes")?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let program = match words[0] {
            "capaudit" => crate::audit::CAPAUDIT,
            other => other,
        };
        let (out, err) = project.expect(0, program, &words[1..])?;
        if command.contains("up --abort-on-container-exit") {
            ensure(
                out.contains("all tests passed") || err.contains("all tests passed"),
                (out, err),
            )?;
        }
    }
    let after = project.read("compose.yaml")?;
    ensure(after.matches("cap_drop:").count() == 4, &after)?;
    for kept in ["# drops root", "&debian", "# Listens on port 80"] {
        ensure(
            !before.contains(kept) || after.contains(kept),
            (kept, &after),
        )?;
    }
    let granted = |service: &str| -> Result<Vec<String>, Failed> {
        let (config, _) = project.expect(0, "docker-compose", &["config"])?;
        let config: serde_json::Value = serde_saphyr::from_str(&config)?;
        Ok(config["services"][service]["cap_add"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect())
    };
    ensure(
        granted("web")? == ["CHOWN", "SETGID", "SETUID"],
        granted("web")?,
    )?;
    ensure(granted("tests")?.is_empty(), granted("tests")?)?;
    ensure(
        granted("db")? == ["CHOWN", "FOWNER", "KILL", "SETGID", "SETUID"],
        granted("db")?,
    )
}
