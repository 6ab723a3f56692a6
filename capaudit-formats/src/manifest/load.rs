//! From words of the command line to what they grant.

use std::path::{Path, PathBuf};

use capaudit_core::capability::CapSet;

use super::{Files, Named, Platform, Workload, compose, kubernetes, systemd};
use crate::yaml::{self, Place, Unusable};

/// Units that have the settings of systemd.exec(5).
const UNITS: [&str; 4] = ["service", "socket", "mount", "swap"];

/// What files and sets grant. Compose files among them are one project, as with several `-f`.
///
/// # Errors
///
/// One of them cannot be read, or is nothing of what is understood.
pub fn load(words: &[String], files: &dyn Files) -> Result<Vec<Workload>, Unusable> {
    let mut workloads = Vec::new();
    let mut project = Vec::new();
    for word in words {
        let path = Path::new(word);
        let unusable = |message: String| Unusable {
            place: Place::file(word),
            message,
        };
        if !files.exists(path) {
            let set = word.parse().map_err(|error| {
                unusable(format!("there is no such file, and it is no set: {error}"))
            })?;
            workloads.push(of_set(set));
            continue;
        }
        let failed =
            |path: &Path, error: std::io::Error| unusable(format!("cannot read {path:?}: {error}"));
        let read = || files.read(path).map_err(|error| failed(path, error));
        let extension = path.extension().and_then(|extension| extension.to_str());
        if extension.is_some_and(|extension| UNITS.contains(&extension)) {
            let mut unit = vec![read()?];
            for drop_in in files.drop_ins(path) {
                let read = files.read_named(&drop_in);
                unit.push(read.map_err(|error| failed(&drop_in, error))?);
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            workloads.push(systemd::workload(&name, &unit));
            continue;
        }
        if extension == Some("conf") {
            return Err(unusable(
                "this looks like a drop-in: give the unit that it belongs to, drop-ins beside it are read too"
                    .to_owned(),
            ));
        }
        let source = read()?;
        let stream = yaml::parse(&source)?;
        if stream
            .documents
            .iter()
            .any(|document| kubernetes::is_object(&document.root))
        {
            workloads.extend(kubernetes::workloads(&source, &stream)?);
        } else if stream
            .documents
            .iter()
            .any(|document| document.root.get("services").is_some())
        {
            project.push((path.to_owned(), source));
        } else {
            return Err(unusable(
                "this is neither a compose file (services:), nor a Kubernetes manifest (kind:), nor a unit (*.service)"
                    .to_owned(),
            ));
        }
    }
    if !project.is_empty() {
        workloads.extend(compose::Project::new(project, files)?.workloads()?);
    }
    Ok(workloads)
}

/// Reads the compose files of one project.
///
/// # Errors
///
/// One of them cannot be read or is none.
pub fn project(paths: &[PathBuf], files: &dyn Files) -> Result<compose::Project, Unusable> {
    let mut given = Vec::new();
    for path in paths {
        let source = files.read(path).map_err(|error| Unusable {
            place: Place::file(&path.to_string_lossy()),
            message: format!("cannot be read: {error}"),
        })?;
        given.push((path.clone(), source));
    }
    compose::Project::new(given, files)
}

fn of_set(granted: CapSet) -> Workload {
    Workload {
        title: "what was audited".to_owned(),
        named: granted
            .iter()
            .map(|capability| Named {
                capabilities: capability.into(),
                place: None,
            })
            .collect(),
        ..Workload::of_set(Platform::Set, granted)
    }
}
