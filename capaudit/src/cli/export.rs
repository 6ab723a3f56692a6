//! `capaudit export FORMAT FILE…`

use std::{
    io,
    path::{Path, PathBuf},
};

use capaudit_core::{
    recommend::{Recommendation, START_UNSEEN, Workload},
    report::Report,
    text::{Style, sanitize},
};
use capaudit_formats::export::{
    Format,
    kubernetes::{self, Owner},
    oci,
};

use super::{
    deliver::deliver,
    exit::Exit,
    failure::{Failure, note},
    patch::{self, IfIncomplete},
    selection::{Selection, tell_others},
    sessions::Sessions,
};

/// What is made of a Kubernetes container's securityContext.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Shape {
    /// The securityContext by itself
    Snippet,
    /// A patch for `kubectl patch --patch-file` and for kustomize
    StrategicMerge,
    /// A kustomization with that patch
    Kustomization,
}

/// Write the recommendation of saved sessions in the format of those who apply it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  capaudit export compose session.json > capabilities.yaml
  docker-compose -f compose.yaml -f capabilities.yaml up
  capaudit export compose session.json --patch compose.yaml --diff
  capaudit export kubernetes --as strategic-merge --workload deployment/web session.json
  capaudit export oci --service web --patch bundle/config.json session.json

Exit status: 0; 1 if --patch leaves something that has to be changed elsewhere; 2 for bad usage or input.")]
pub(super) struct Arguments {
    /// The format
    #[arg(value_enum)]
    format: Format,

    /// Write into this file and keep the rest of it (oci: a config.json; compose: each of the files that are used
    /// together, whose comments, order and style stay)
    #[arg(long, value_name = "FILE")]
    patch: Vec<PathBuf>,

    /// compose: only show what --patch would change
    #[arg(long, requires = "patch")]
    diff: bool,

    /// compose: --patch also from an incomplete record; nothing is taken away then, and a comment says so
    #[arg(long, requires = "patch")]
    incomplete: bool,

    /// kubernetes: what to write
    #[arg(long = "as", value_name = "SHAPE", value_enum)]
    shape: Option<Shape>,

    /// kubernetes: the object to patch, as deployment/web
    #[arg(long, value_name = "KIND/NAME")]
    workload: Option<Owner>,

    /// Write to this file, not to standard output; of a patched file, the result
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    selection: Selection,

    #[command(flatten)]
    sessions: Sessions,
}

/// What is written of a report, once it is known that the options fit each other.
enum Product<'a> {
    /// The format as it is.
    Plain(Format),
    /// A patch of a Kubernetes object.
    Kubernetes(Shape, &'a Owner, Option<&'a str>),
    /// An OCI runtime's configuration with the recommendation in it.
    Patched(&'a Path),
    /// Compose files with the recommendation in them.
    Compose(patch::Job<'a>),
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let product = arguments.product().map_err(Failure::usage)?;
    let selection = match &product {
        // There, it is a name in the pod.
        Product::Kubernetes(..) => &arguments.selection.with_any_container(),
        _ => &arguments.selection,
    };
    let report = selection.report(&selection.of(arguments.sessions.merged()?)?);
    tell_others(&report);
    let recommendation = Recommendation::of(&report);
    warn(&recommendation);
    let output = arguments.output.as_deref();
    let (text, output) = match product {
        Product::Plain(format) => {
            if format.is_of_containers() && recommendation.containers().next().is_none() {
                return Err(without_container(&report));
            }
            let text = format.render(&report, &recommendation, Style::PLAIN, false);
            (text.map_err(Failure::usage)?, output)
        }
        Product::Kubernetes(shape, owner, container) => {
            let patch = match shape {
                Shape::Kustomization => kubernetes::kustomization,
                Shape::Snippet | Shape::StrategicMerge => kubernetes::strategic_merge,
            };
            let text = patch(&recommendation, owner, container);
            (text.map_err(Failure::usage)?, output)
        }
        Product::Patched(file) => {
            let text = patched(&recommendation, file).map_err(Failure::usage)?;
            if let Some(why) = patch::lacking(&report, |_subject| true) {
                return Err(patch::refused(&why));
            }
            (text, Some(output.unwrap_or(file)))
        }
        Product::Compose(job) => return job.run(&report, &recommendation),
    };
    deliver(&text, output, io::stdout()).map_err(Failure::usage)?;
    Ok(Exit::Success)
}

impl Arguments {
    fn product(&self) -> Result<Product<'_>, String> {
        let kubernetes_only = [
            ("--as", self.shape.is_some()),
            ("--workload", self.workload.is_some()),
        ];
        if let Some((option, _)) = kubernetes_only
            .into_iter()
            .find(|(_, given)| *given && self.format != Format::Kubernetes)
        {
            return Err(format!("{option} is for the format kubernetes"));
        }
        if self.diff && self.format != Format::Compose {
            return Err("--diff is for the format compose".to_owned());
        }
        if self.incomplete && self.format != Format::Compose {
            return Err("--incomplete is for the format compose".to_owned());
        }
        match (self.patch.as_slice(), self.format) {
            ([], _) => {}
            (files, Format::Compose) => {
                let job = patch::Job {
                    files,
                    diff: self.diff,
                    output: self.output.as_deref(),
                    narrowed: self.selection.is_narrow(),
                    if_incomplete: if self.incomplete {
                        IfIncomplete::Widen
                    } else {
                        IfIncomplete::Refuse
                    },
                };
                job.check()?;
                return Ok(Product::Compose(job));
            }
            ([file], Format::Oci) => return Ok(Product::Patched(file)),
            (_, Format::Oci) => return Err("oci: one --patch at a time".to_owned()),
            (_, _) => return Err("--patch is for the formats compose and oci".to_owned()),
        }
        let shape = self.shape.unwrap_or(Shape::Snippet);
        let container = match self.selection.containers() {
            [] => None,
            [name] => Some(name.as_str()),
            _ if shape == Shape::Snippet => None,
            _ => return Err("a patch is of one --container of the pod".to_owned()),
        };
        match (shape, &self.workload) {
            (Shape::Snippet, None) => Ok(Product::Plain(self.format)),
            (Shape::Snippet, _) => Err(
                "--workload is for patches: add --as strategic-merge or --as kustomization"
                    .to_owned(),
            ),
            (_, None) => Err(
                "a patch needs the object that it is for: --workload KIND/NAME, as deployment/web"
                    .to_owned(),
            ),
            (shape, Some(owner)) => Ok(Product::Kubernetes(shape, owner, container)),
        }
    }
}

/// Tells what the recommendation lacks: not every format has comments, and what is redirected is not read at once.
fn warn(recommendation: &Recommendation) {
    for caveat in &recommendation.caveats {
        note(&format!("warning: {caveat}"));
    }
    for workload in &recommendation.workloads {
        if workload.start_unseen {
            note(&format!("warning: {}: {START_UNSEEN}", workload.name));
        }
    }
}

/// An OCI runtime's configuration with the recommendation for the only container in it.
fn patched(recommendation: &Recommendation, file: &Path) -> Result<String, String> {
    let containers: Vec<&Workload> = recommendation.containers().collect();
    let [workload] = containers.as_slice() else {
        let names: Vec<&str> = containers.iter().map(|one| one.name.as_str()).collect();
        return Err(match names.as_slice() {
            [] => "no container was audited".to_owned(),
            names => format!(
                "{file:?} is of one container: choose by --service one of {}",
                names.join(", ")
            ),
        });
    };
    let config =
        std::fs::read_to_string(file).map_err(|error| format!("cannot read {file:?}: {error}"))?;
    oci::patch(&config, workload).map_err(|error| format!("{file:?}: {error}"))
}

/// What is said where a format of containers has nothing to write.
fn without_container(report: &Report) -> Failure {
    let what = match report.session.command.as_slice() {
        [] => "processes that are in none".to_owned(),
        words => format!("the command `{}`", sanitize(&words.join(" "))),
    };
    Failure::usage(format!("no container was audited, but {what}"))
        .hint("`capaudit export systemd` and `setcap` are for what runs in no container")
}
