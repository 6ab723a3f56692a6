//! Which audited thing a workload of a file is.

use std::fmt;

use capaudit_core::ledger::Kind;

use super::Used;
use crate::manifest::{Platform, Workload};

/// What containers of files are called in sessions, where names and images do not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping(Vec<Pair>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pair {
    /// The file's name: `CONTAINER`, or `OBJECT/CONTAINER`.
    here: String,
    /// What was audited: a service, `PROJECT/SERVICE`, or a container.
    audited: String,
}

/// Why it cannot be said which audited thing a workload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmatched {
    /// Several may be it.
    Ambiguous {
        /// The workload's title.
        title: String,
        /// What the workload is called in its file.
        name: String,
        /// By what they fit.
        by: &'static str,
        /// What may be meant.
        candidates: Vec<String>,
    },
    /// A mapping names what was not audited.
    NotAudited {
        /// The name behind the sign.
        name: String,
        /// What was audited.
        known: Vec<String>,
    },
    /// A mapping names what is in no file.
    NotHere {
        /// The name before the sign.
        name: String,
        /// What is in the files.
        known: Vec<String>,
    },
}

impl fmt::Display for Unmatched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &[String]| match names.is_empty() {
            true => "none".to_owned(),
            false => names.join(", "),
        };
        match self {
            Self::Ambiguous {
                title,
                name,
                by,
                candidates,
            } => write!(
                f,
                "{title} may be any of several audited containers by its {by}: say which with --container {name}=NAME, where NAME is one of {}",
                list(candidates)
            ),
            Self::NotAudited { name, known } => write!(
                f,
                "no audited container is called {name:?}: the sessions know {}",
                list(known)
            ),
            Self::NotHere { name, known } => write!(
                f,
                "no container that is checked is called {name:?}: there are {}",
                list(known)
            ),
        }
    }
}

impl std::error::Error for Unmatched {}

impl Mapping {
    /// Adds `HERE=AUDITED`; whether it is of this form.
    pub fn add(&mut self, word: &str) -> bool {
        match word.split_once('=') {
            Some((here, audited)) if !here.is_empty() && !audited.is_empty() => {
                self.0.push(Pair {
                    here: here.to_owned(),
                    audited: audited.to_owned(),
                });
                true
            }
            _ => false,
        }
    }

    /// Whether it maps nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a workload was called when it was audited: a name with its object's before it goes first.
    fn of(&self, workload: &Workload) -> Option<&str> {
        let named = |name: &str| self.0.iter().rev().find(|pair| pair.here == name);
        let qualified = workload.qualified_name();
        let pair = named(&qualified).or_else(|| named(&workload.name))?;
        Some(&pair.audited)
    }

    /// Every name is that of a workload.
    pub(super) fn is_of(&self, workloads: &[Workload]) -> Result<(), Unmatched> {
        let is_known = |name: &str| {
            let mut all = workloads.iter();
            all.any(|it| it.name == name || it.qualified_name() == name)
        };
        match self.0.iter().find(|pair| !is_known(&pair.here)) {
            None => Ok(()),
            Some(pair) => Err(Unmatched::NotHere {
                name: pair.here.clone(),
                known: workloads.iter().map(Workload::qualified_name).collect(),
            }),
        }
    }
}

/// What the sessions saw of a workload, all of its replicas together; `None` if that is nothing.
pub(super) fn used_by(
    workload: &Workload,
    used: &[Used],
    mapping: &Mapping,
) -> Result<Option<Used>, Unmatched> {
    let containers = || used.iter().filter(|used| used.kind == Kind::Container);
    if let Some(audited) = mapping.of(workload) {
        let found: Vec<&Used> = containers()
            .filter(|used| used.is_called(audited))
            .collect();
        if found.is_empty() {
            return Err(Unmatched::NotAudited {
                name: audited.to_owned(),
                known: containers().map(|used| used.qualified.clone()).collect(),
            });
        }
        return one(workload, "name", found);
    }
    let by_name = |used: &&Used| used.name == workload.name;
    let named = || -> Vec<&Used> { containers().filter(by_name).collect() };
    let matching: Vec<&Used> = match workload.platform {
        Platform::Compose => return one(workload, "name", named()),
        // A test may have started the image under another name.
        Platform::Kubernetes => {
            let named = named();
            if !named.is_empty() {
                return one(workload, "name", named);
            }
            let of_image = containers()
                .filter(|used| !workload.image.is_empty() && used.images.contains(&workload.image));
            return one(workload, "image", of_image.collect());
        }
        Platform::Systemd => {
            let named: Vec<&Used> = used.iter().filter(by_name).collect();
            let others = used.iter().filter(|used| used.kind != Kind::Container);
            if named.is_empty() {
                others.collect()
            } else {
                named
            }
        }
        Platform::Start => used
            .iter()
            .filter(|used| used.qualified == workload.name)
            .collect(),
        // Whatever was audited; a command that started containers only started them.
        Platform::Set => match containers().count() {
            0 => used.iter().collect(),
            _ => containers().collect(),
        },
    };
    Ok(matching.into_iter().cloned().reduce(Used::united))
}

/// The only one that fits.
fn one(
    workload: &Workload,
    by: &'static str,
    fitting: Vec<&Used>,
) -> Result<Option<Used>, Unmatched> {
    match fitting.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some((*only).clone())),
        several => Err(Unmatched::Ambiguous {
            title: workload.title.clone(),
            name: workload.qualified_name(),
            by,
            candidates: several.iter().map(|it| it.qualified.clone()).collect(),
        }),
    }
}
