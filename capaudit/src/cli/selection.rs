//! Options for a part of what was audited.

use capaudit_core::{
    ledger::{self, Ledger},
    report::Report,
};

use super::failure::{Failure, note};

/// What of a record is of interest.
#[derive(Debug, clap::Args)]
pub(super) struct Selection {
    /// Only containers of this compose project
    #[arg(long, value_name = "NAME")]
    project: Vec<String>,

    /// Only this compose service (or PROJECT/SERVICE), or what is called so otherwise
    #[arg(long, value_name = "NAME")]
    service: Vec<String>,

    /// Only this container, by name or by the beginning of its id
    #[arg(long, value_name = "NAME")]
    container: Vec<String>,

    /// Also containers that others started while the command ran
    #[arg(long)]
    others: bool,
}

impl Selection {
    /// Whether it leaves out what was audited.
    pub(super) fn is_narrow(&self) -> bool {
        !(self.project.is_empty() && self.service.is_empty() && self.container.is_empty())
    }

    /// The names of `--container`.
    pub(super) fn containers(&self) -> &[String] {
        &self.container
    }

    /// The same without the members of `--container` that this takes.
    pub(super) fn without_containers(&self, mut takes: impl FnMut(&str) -> bool) -> Self {
        let (project, service) = (self.project.clone(), self.service.clone());
        Self {
            project,
            service,
            container: self
                .container
                .iter()
                .filter(|name| !takes(name))
                .cloned()
                .collect(),
            others: self.others,
        }
    }

    /// The same without names of containers.
    pub(super) fn with_any_container(&self) -> Self {
        self.without_containers(|_| true)
    }

    /// What is of interest of a ledger.
    ///
    /// # Errors
    ///
    /// Nothing has one of the names.
    pub(super) fn of(&self, ledger: Ledger) -> Result<Ledger, Failure> {
        let names = ledger::Selection {
            projects: self.project.clone(),
            services: self.service.clone(),
            containers: self.container.clone(),
        };
        names.of(ledger).map_err(Failure::usage)
    }

    /// The report on what [`Self::of`] has left.
    pub(super) fn report(&self, ledger: &Ledger) -> Report {
        if self.others {
            Report::with_others(ledger)
        } else {
            Report::of(ledger)
        }
    }
}

/// Tells of what others had running, where nothing else does.
pub(super) fn tell_others(report: &Report) {
    if let Some(others) = report.others() {
        note(&others);
    }
}
