//! The scenarios of the corpus.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use capaudit_core::capability::CapSet;
use serde::{Deserialize, de::DeserializeOwned};

use crate::project;

/// The image of the scenarios that need no preparation, and the base of the others.
pub(crate) const BASE_IMAGE: &str = "gt-corpus:1";

/// A program in a container, with the capabilities it is known to need.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    /// The name of its folder.
    pub name: String,
    pub directory: PathBuf,
    /// How its container is started.
    pub settings: Settings,
}

/// The part of `scenario.json` that changes the run.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Settings {
    /// The image to run.
    pub image: String,
    /// Whom the container starts as.
    pub user: String,
    /// More arguments for `docker run`.
    pub docker_args: Vec<String>,
    pub security_opt: Vec<String>,
}

/// What the knock-out runs found.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Truth {
    /// Every set that suffices and of which no member can be left out.
    pub minimal: Vec<CapSet>,
    /// The one of them with the least power.
    pub preferred: CapSet,
}

impl Scenario {
    /// Every scenario, by name.
    pub(crate) fn all() -> Result<Vec<Self>> {
        let folder = folder();
        let entries = fs::read_dir(&folder)
            .with_context(|| format!("no scenarios in {}", folder.display()))?;
        let mut names: Vec<String> = entries
            .flatten()
            .filter(|entry| entry.path().join("scenario.json").is_file())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names.iter().map(|name| Self::load(name)).collect()
    }

    /// Those called `names`, or all if there is no name.
    pub(crate) fn chosen(names: &[String]) -> Result<Vec<Self>> {
        if names.is_empty() {
            Self::all()
        } else {
            names.iter().map(|name| Self::load(name)).collect()
        }
    }

    fn load(name: &str) -> Result<Self> {
        let directory = folder().join(name);
        if !directory.join("scenario.json").is_file() {
            bail!("there is no scenario {name:?} in {}", folder().display());
        }
        Ok(Self {
            name: name.to_owned(),
            settings: read(&directory.join("scenario.json"))?,
            directory,
        })
    }

    /// What it is known to need.
    pub(crate) fn truth(&self) -> Result<Truth> {
        read(&self.directory.join("truth.json"))
    }

    /// The script that prepares an image of its own, if it has one.
    pub(crate) fn preparation(&self) -> Option<PathBuf> {
        Some(self.directory.join("setup.sh")).filter(|script| script.is_file())
    }

    /// The arguments of `docker` that run it once, in a container called `container` that may use `capabilities`.
    pub(crate) fn docker_arguments(&self, container: &str, capabilities: CapSet) -> Vec<String> {
        let mut arguments = ["run", "--rm", "--name", container, "--network", "none"]
            .map(str::to_owned)
            .to_vec();
        arguments.extend(capability_arguments(capabilities));
        for option in &self.settings.security_opt {
            arguments.extend(["--security-opt".to_owned(), option.clone()]);
        }
        if !matches!(self.settings.user.as_str(), "root" | "0") {
            arguments.extend(["--user".to_owned(), self.settings.user.clone()]);
        }
        arguments.extend(self.settings.docker_args.iter().cloned());
        arguments.extend(["--volume".to_owned(), self.mount()]);
        arguments.extend([&self.settings.image, "bash", "/scenario/run.sh"].map(str::to_owned));
        arguments
    }

    /// The scenario's folder as containers see it.
    pub(crate) fn mount(&self) -> String {
        format!("{}:/scenario:ro", self.directory.display())
    }
}

/// The arguments of `docker run` that grant `capabilities` and nothing else.
pub(crate) fn capability_arguments(capabilities: CapSet) -> Vec<String> {
    let nothing = ["--cap-drop", "ALL"].map(str::to_owned);
    let added = capabilities
        .names()
        .flat_map(|name| ["--cap-add".to_owned(), name.to_owned()]);
    nothing.into_iter().chain(added).collect()
}

fn folder() -> PathBuf {
    project::root().join("corpus/scenarios")
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text)
        .with_context(|| format!("{} is not as it should be", path.display()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use hmac_sha256::Hash;

    use super::*;

    #[test]
    fn every_scenario_is_complete_and_its_truth_consistent() {
        let scenarios = Scenario::all().unwrap();
        assert_eq!(scenarios.len(), 47);
        for scenario in scenarios {
            let name = &scenario.name;
            let truth = scenario.truth().unwrap();
            assert!(
                truth.minimal.contains(&truth.preferred),
                "{name}: the preferred set is not minimal"
            );
            for set in &truth.minimal {
                let smaller = truth
                    .minimal
                    .iter()
                    .filter(|other| other.is_subset(*set))
                    .count();
                assert_eq!(smaller, 1, "{name}: {set} contains another minimal set");
            }
            let own_image = format!("gt-corpus-{name}:1");
            let image = if scenario.preparation().is_some() {
                &own_image
            } else {
                BASE_IMAGE
            };
            assert_eq!(scenario.settings.image, image, "{name}");
        }
    }

    /// A scenario whose scripts or settings are changed needs a new truth.
    #[test]
    fn every_truth_was_measured_with_the_scenario_as_it_is() {
        #[derive(Deserialize)]
        struct Measured {
            scenario_sha256: String,
        }
        for scenario in Scenario::all().unwrap() {
            let measured: Measured = read(&scenario.directory.join("truth.json")).unwrap();
            assert_eq!(
                digest(&scenario),
                measured.scenario_sha256,
                "{}",
                scenario.name
            );
        }
    }

    /// The hash over the scripts and over user, docker_args and security_opt.
    fn digest(scenario: &Scenario) -> String {
        let list = |words: &[String]| {
            let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
            format!("[{}]", words.join(", "))
        };
        let mut hash = Hash::new();
        for script in ["run.sh", "setup.sh"] {
            if let Ok(text) = fs::read(scenario.directory.join(script)) {
                hash.update(format!("{script}\0"));
                hash.update(text);
            }
        }
        let Settings {
            user,
            docker_args,
            security_opt,
            ..
        } = &scenario.settings;
        hash.update(format!(
            "[{user:?}, {}, {}]",
            list(docker_args),
            list(security_opt)
        ));
        let digest = hash.finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_container_gets_exactly_the_given_capabilities_and_the_scenarios_settings() {
        let scenario = Scenario {
            name: "demo".into(),
            directory: "/corpus/demo".into(),
            settings: Settings {
                image: BASE_IMAGE.into(),
                user: "1000".into(),
                docker_args: vec!["--tmpfs".into(), "/data".into()],
                security_opt: vec!["seccomp=unconfined".into()],
            },
        };
        let arguments = scenario
            .docker_arguments("box", "CHOWN KILL".parse().unwrap())
            .join(" ");
        assert_eq!(
            arguments,
            "run --rm --name box --network none --cap-drop ALL --cap-add CHOWN --cap-add KILL --security-opt \
             seccomp=unconfined --user 1000 --tmpfs /data --volume /corpus/demo:/scenario:ro gt-corpus:1 bash \
             /scenario/run.sh"
        );
    }

    #[test]
    fn a_scenario_that_is_not_there_is_named() {
        let error = Scenario::chosen(&["no-such".into()]).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("there is no scenario \"no-such\"")
        );
    }
}
