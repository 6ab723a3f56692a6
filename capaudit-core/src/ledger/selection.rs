//! A part of a ledger, by names.

use std::{collections::BTreeSet, fmt};

use super::{Ledger, SubjectRecord};

/// What is wanted of a ledger. Without any name, everything is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Containers of these compose projects only.
    pub projects: Vec<String>,
    /// Of those, these compose services (`SERVICE` or `PROJECT/SERVICE`), containers of a pod, or what is called so otherwise.
    pub services: Vec<String>,
    /// And these containers, by name or by the beginning of their id.
    pub containers: Vec<String>,
}

/// A name that nothing has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    /// What was to be called so.
    what: &'static str,
    name: String,
    /// What there is.
    known: BTreeSet<String>,
}

impl Selection {
    /// Whether no name is given.
    pub fn is_everything(&self) -> bool {
        self.projects.is_empty() && self.services.is_empty() && self.containers.is_empty()
    }

    /// Leaves only what is wanted. What others had running meanwhile is wanted where nothing else has the name.
    ///
    /// # Errors
    ///
    /// Nothing has one of the names.
    pub fn of(&self, mut ledger: Ledger) -> Result<Ledger, UnknownName> {
        if self.is_everything() {
            return Ok(ledger);
        }
        let subjects = std::mem::take(&mut ledger.subjects);
        let in_projects = chosen(
            subjects,
            "compose project",
            &self.projects,
            |record, name| record.compose_project() == Some(name),
        )?;
        let services = |record: &SubjectRecord, name: &str| is_service(record, name);
        let containers = |record: &SubjectRecord, name: &str| is_container(record, name);
        ledger.subjects = match (self.services.is_empty(), self.containers.is_empty()) {
            (true, true) => in_projects,
            (false, true) => chosen(
                in_projects,
                "service or container",
                &self.services,
                services,
            )?,
            (true, false) => chosen(in_projects, "container", &self.containers, containers)?,
            (false, false) => {
                let by_service = chosen(
                    in_projects.clone(),
                    "service or container",
                    &self.services,
                    services,
                )?;
                let mut more = chosen(in_projects, "container", &self.containers, containers)?;
                more.retain(|record| !by_service.contains(record));
                by_service.into_iter().chain(more).collect()
            }
        };
        Ok(ledger)
    }
}

/// The subjects that have one of these names, by `has`; all if there is no name.
fn chosen(
    subjects: Vec<SubjectRecord>,
    what: &'static str,
    names: &[String],
    has: impl Fn(&SubjectRecord, &str) -> bool,
) -> Result<Vec<SubjectRecord>, UnknownName> {
    if names.is_empty() {
        return Ok(subjects);
    }
    let mut wanted: BTreeSet<usize> = BTreeSet::new();
    for name in names {
        let named = |other: bool| {
            let all = subjects.iter().enumerate();
            all.filter(move |(_place, record)| record.other == other)
                .filter(|(_place, record)| has(record, name))
                .map(|(place, _record)| place)
                .collect::<Vec<usize>>()
        };
        let mut found = named(false);
        if found.is_empty() {
            found = named(true);
        }
        if found.is_empty() {
            return Err(UnknownName {
                what,
                name: name.clone(),
                known: subjects.iter().filter_map(|it| known(it, what)).collect(),
            });
        }
        wanted.extend(found);
    }
    Ok(subjects
        .into_iter()
        .enumerate()
        .filter(|(place, _record)| wanted.contains(place))
        .map(|(_place, record)| SubjectRecord {
            other: false,
            ..record
        })
        .collect())
}

fn is_service(record: &SubjectRecord, name: &str) -> bool {
    match record.compose_service() {
        Some(service) => {
            let qualified = record
                .compose_project()
                .map(|project| format!("{project}/{service}"));
            service == name || qualified.as_deref() == Some(name)
        }
        None => match record.pod() {
            Some(pod) => pod.container == name,
            None => record.name == name,
        },
    }
}

fn is_container(record: &SubjectRecord, name: &str) -> bool {
    let id = record
        .container()
        .and_then(|container| container.id.as_deref());
    record.container().is_some()
        && (record.name == name || id.is_some_and(|id| !name.is_empty() && id.starts_with(name)))
}

/// How a subject could have been named where `what` was.
fn known(record: &SubjectRecord, what: &str) -> Option<String> {
    match what {
        "compose project" => record.compose_project().map(str::to_owned),
        "container" => record.container().map(|_container| record.name.clone()),
        _ => Some(
            record
                .compose_service()
                .or(record.pod().map(|pod| pod.container.as_str()))
                .unwrap_or(&record.name)
                .to_owned(),
        ),
    }
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, name, known } = self;
        write!(f, "no {what} {name:?} was audited; there are: ")?;
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        f.write_str(&match known.as_slice() {
            [] => "none".to_owned(),
            names => names.join(", "),
        })
    }
}

impl std::error::Error for UnknownName {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Container, Hook, SCHEMA, Session, Subject};

    fn container(name: &str, service: Option<(&str, &str)>) -> SubjectRecord {
        SubjectRecord {
            name: name.to_owned(),
            ..SubjectRecord::new(Container {
                id: Some(format!("id-of-{name}")),
                compose_project: service.map(|(project, _service)| project.to_owned()),
                compose_service: service.map(|(_project, service)| service.to_owned()),
                ..Container::default()
            })
        }
    }

    fn ledger() -> Ledger {
        let mut neighbour = container("neighbour", Some(("other", "db")));
        neighbour.other = true;
        Ledger {
            schema: SCHEMA.to_owned(),
            session: Session::new(Hook::Fexit),
            subjects: vec![
                SubjectRecord {
                    name: "make".to_owned(),
                    ..SubjectRecord::new(Subject::Command)
                },
                container("shop-web-1", Some(("shop", "web"))),
                container("shop-db-1", Some(("shop", "db"))),
                container("plain", None),
                neighbour,
            ],
        }
    }

    fn of(projects: &[&str], services: &[&str], containers: &[&str]) -> Result<String, String> {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let selection = Selection {
            projects: owned(projects),
            services: owned(services),
            containers: owned(containers),
        };
        let ledger = selection.of(ledger()).map_err(|error| error.to_string())?;
        let names: Vec<String> = ledger.subjects.into_iter().map(|it| it.name).collect();
        Ok(names.join(" "))
    }

    #[test]
    fn names_narrow_a_ledger() {
        for (projects, services, containers, expected) in [
            (&["shop"][..], &[][..], &[][..], "shop-web-1 shop-db-1"),
            (&[], &["db"], &[], "shop-db-1"),
            (&[], &["shop/web", "plain"], &[], "shop-web-1 plain"),
            (&["shop"], &["db"], &[], "shop-db-1"),
            (&[], &[], &["id-of-pl"], "plain"),
            (&[], &["web"], &["plain", "shop-web-1"], "shop-web-1 plain"),
            (&[], &[], &[], "make shop-web-1 shop-db-1 plain neighbour"),
        ] {
            assert_eq!(of(projects, services, containers).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_others_had_running_is_there_for_whoever_names_it() {
        for named in [of(&["other"], &[], &[]), of(&[], &[], &["neighbour"])] {
            assert_eq!(named.as_deref(), Ok("neighbour"));
        }
    }

    #[test]
    fn a_name_that_nothing_has_is_told_with_those_that_there_are() {
        assert_eq!(
            of(&["shop"], &[], &["plain"]),
            Err("no container \"plain\" was audited; there are: shop-db-1, shop-web-1".to_owned())
        );
        assert_eq!(
            of(&["x"], &[], &[]),
            Err("no compose project \"x\" was audited; there are: other, shop".to_owned())
        );
        assert_eq!(
            of(&[], &["y"], &[]),
            Err(
                "no service or container \"y\" was audited; there are: db, make, plain, web"
                    .to_owned()
            )
        );
    }
}
