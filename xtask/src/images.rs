//! `cargo xtask images`: the images that the scenarios run in.

use std::{fs, process::Command};

use anyhow::{Context, Result};
use capaudit_core::capability::CapSet;
use hmac_sha256::Hash;

use crate::{
    command,
    docker::{self, Client},
    grantable, project,
    scenario::{BASE_IMAGE, Scenario, capability_arguments},
};

/// Build the images of the corpus, as far as they are not up to date
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Scenarios whose images are wanted [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Builds the base image and those of the named scenarios.
pub(crate) fn run(args: &Args) -> Result<()> {
    prepare(&docker::connect()?, &Scenario::chosen(&args.names)?)
}

/// Builds the images that `scenarios` run in, as far as they are not up to date.
pub(crate) fn prepare(docker: &Client, scenarios: &[Scenario]) -> Result<()> {
    build_base(docker)?;
    let base = docker
        .inspect_image(BASE_IMAGE, "{{.Id}}")
        .context("the base image is not there after its build")?;
    // Found out only if an image has to be built.
    let mut grantable = None;
    let mut built = 0;
    for scenario in scenarios {
        let Some(script) = scenario.preparation() else {
            continue;
        };
        let text = fs::read_to_string(&script)
            .with_context(|| format!("cannot read {}", script.display()))?;
        let label = label(&base, &text);
        let image = &scenario.settings.image;
        if docker
            .inspect_image(image, "{{index .Config.Labels \"gt.setup\"}}")
            .is_some_and(|have| have == label)
        {
            continue;
        }
        let capabilities = match grantable {
            Some(capabilities) => capabilities,
            None => *grantable.insert(grantable::find(docker)?),
        };
        build(docker, scenario, &label, capabilities)?;
        built += 1;
        println!("built {image}");
    }
    println!(
        "the images of {} scenarios are ready ({built} built)",
        scenarios.len()
    );
    Ok(())
}

fn build_base(docker: &Client) -> Result<()> {
    let mut script = Command::new(project::root().join("corpus/build-image.sh"));
    script
        .env("DOCKER", docker.program())
        .env("IMAGE", BASE_IMAGE);
    command::succeed(&mut script)
}

/// Runs the scenario's preparation on the base image and keeps the result.
fn build(docker: &Client, scenario: &Scenario, label: &str, capabilities: CapSet) -> Result<()> {
    let container = format!("gt-setup-{}", scenario.name);
    docker.remove(&container);
    let mut run = docker.command(["run", "--name", &container, "--network", "none", "--volume"]);
    run.arg(scenario.mount())
        .args(capability_arguments(capabilities));
    run.args([BASE_IMAGE, "bash", "-e", "/scenario/setup.sh"]);
    let mut commit = docker.command([
        "commit",
        "--change",
        &format!("LABEL gt.setup={label}"),
        &container,
    ]);
    commit.arg(&scenario.settings.image);
    let built = command::text_of(&mut run).and_then(|_| command::text_of(&mut commit));
    docker.remove(&container);
    built
        .with_context(|| format!("cannot prepare the image of {}", scenario.name))
        .map(drop)
}

/// What an image was made from, in short.
fn label(base_id: &str, script: &str) -> String {
    let mut hash = Hash::new();
    hash.update(base_id);
    hash.update(script);
    let first = hash.finalize().into_iter().take(8);
    first.map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_base_or_script_makes_another_label() {
        let label_of_both = label("sha256:1", "true");
        assert_eq!(label_of_both.len(), 16);
        assert_ne!(label_of_both, label("sha256:2", "true"));
        assert_ne!(label_of_both, label("sha256:1", "false"));
    }
}
