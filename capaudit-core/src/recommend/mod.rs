//! The recommendation: for each thing that can be configured the least powerful set, and what a reader has to know of the
//! record it rests on.
//!
//! It is derived once from a report. Exporters and `capaudit check` know nothing else.

mod caveat;
mod reach;
#[cfg(any(test, feature = "samples"))]
pub mod sample;
mod workload;

pub use caveat::Caveat;
pub use reach::Reach;
pub use workload::{Declined, Need, POSSIBLY, START_UNSEEN, Workload, name_of, qualified_name_of};

use crate::{ledger::Kind, report::Report};

/// The recommendation for every workload of a report, and what limits it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recommendation {
    /// Commands, containers, processes, each by name.
    pub workloads: Vec<Workload>,
    /// What limits all of it.
    pub caveats: Vec<Caveat>,
}

impl Recommendation {
    /// What a report recommends.
    pub fn of(report: &Report) -> Self {
        Self {
            workloads: workload::of_report(report),
            caveats: caveat::of_report(report),
        }
    }

    /// Workloads that are worth a word: a command that only started others, and needs nothing itself, is not.
    pub fn of_interest(&self) -> impl Iterator<Item = &Workload> {
        let are_several = self.workloads.len() > 1;
        self.workloads.iter().filter(move |workload| {
            workload.kind != Kind::Command || !workload.needs.is_empty() || !are_several
        })
    }

    /// Workloads that an engine configures.
    pub fn containers(&self) -> impl Iterator<Item = &Workload> {
        self.workloads
            .iter()
            .filter(|workload| workload.kind == Kind::Container)
    }

    /// Whether the record is complete and the command succeeded, so that what was not seen is not needed.
    pub fn rests_on_everything(&self) -> bool {
        self.caveats
            .iter()
            .all(|caveat| matches!(caveat, Caveat::Note(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::sample::{command, container, recommendation};
    use crate::advise::Evidence;

    #[test]
    fn a_command_that_only_starts_containers_is_of_no_interest() {
        let names = |subjects| -> Vec<String> {
            let recommendation = recommendation(subjects);
            let workloads = recommendation.of_interest();
            workloads.map(|one| one.name.clone()).collect()
        };
        let docker = command("docker", &[]);
        let make = command("make", &[("KILL", Evidence::Possible)]);
        let web = || container("web", "", &[]);
        assert_eq!(names(vec![docker.clone(), web()]), ["web"]);
        assert_eq!(names(vec![make, web()]), ["make", "web"]);
        assert_eq!(names(vec![docker]), ["docker"]);
    }

    #[test]
    fn an_engine_configures_containers_only() {
        let recommendation = recommendation(vec![
            command("docker", &[]),
            container("web", "", &[]),
            container("db", "", &[]),
        ]);
        let names: Vec<&str> = recommendation
            .containers()
            .map(|one| one.name.as_str())
            .collect();
        assert_eq!(names, ["db", "web"]);
    }
}
