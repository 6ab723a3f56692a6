//! What a life looked like when nothing was wrong, and what is different now.

use std::collections::{BTreeMap, BTreeSet};

use capaudit_core::ledger::Phase;
use serde::{Deserialize, Serialize};

use crate::state::{Condition, Health, Image, State};

/// What each service did in each phase.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// By phase, then by the service's name.
    pub services: BTreeMap<Phase, BTreeMap<String, Service>>,
    /// How long the phases took to begin, in milliseconds: the longest.
    pub begun_after_ms: u64,
    /// What the services' containers were made of, in the first phase.
    #[serde(default)]
    pub images: BTreeMap<String, Image>,
}

impl Expected {
    /// Adds what other phases looked like. Ports that a service did not listen on in all of them are some that it was given, and
    /// other ones the next time.
    pub fn add(&mut self, other: Self) {
        self.services.extend(other.services);
        let mut common: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
        for (name, service) in self.services.values().flatten() {
            if let Service::Daemon { listening, .. } = service {
                common
                    .entry(name.clone())
                    .and_modify(|ports| ports.retain(|port| listening.contains(port)))
                    .or_insert_with(|| listening.clone());
            }
        }
        for (name, service) in self.services.values_mut().flatten() {
            if let (Service::Daemon { listening, .. }, Some(common)) = (service, common.get(name)) {
                listening.clone_from(common);
            }
        }
        self.begun_after_ms = self.begun_after_ms.max(other.begun_after_ms);
        for (service, image) in other.images {
            self.images.entry(service).or_insert(image);
        }
    }
}

/// What a service did in a phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// It ended by itself, with status 0.
    Job,
    /// It went on until it was stopped.
    Daemon {
        /// Ports that it listened on.
        listening: BTreeSet<u16>,
        /// Its health check said that all is well.
        healthy: bool,
        /// The status that it ended with when it was stopped; `None` if it was not.
        stopped: Option<i64>,
    },
}

impl Service {
    /// Whether it can be seen from outside that it does what it is there for.
    pub(crate) fn shows_that_it_works(&self) -> bool {
        match self {
            Self::Job => true,
            Self::Daemon {
                listening, healthy, ..
            } => *healthy || !listening.is_empty(),
        }
    }
}

/// What is wrong with a container, in a few words that follow the service's name.
pub(crate) fn fault(state: &State, expected: Option<&Service>) -> Option<String> {
    if state.restarts > 0 {
        return Some("ended, and was started again by the engine".to_owned());
    }
    match (state.condition, expected) {
        (Condition::Running(Some(Health::Unhealthy)), _) => Some("is unhealthy".to_owned()),
        (Condition::Ended(0), Some(Service::Daemon { .. })) => {
            Some("ended, although it went on with all capabilities".to_owned())
        }
        (Condition::Ended(0), _) | (Condition::Created | Condition::Running(_), _) => None,
        (Condition::Ended(status), _) => Some(format!("ended with status {status}")),
    }
}

/// What a container still has to do for its phase to have begun, in a few words; `None` if it has done all.
pub(crate) fn awaited(state: &State, expected: &Service) -> Option<String> {
    match (state.condition, expected) {
        (Condition::Created, _) => Some("has not started".to_owned()),
        (Condition::Ended(_), _) => None,
        (Condition::Running(_), Service::Job) => Some("has not ended".to_owned()),
        (
            Condition::Running(health),
            Service::Daemon {
                listening, healthy, ..
            },
        ) => {
            if *healthy && health != Some(Health::Healthy) {
                return Some("is not healthy".to_owned());
            }
            let missing: Vec<String> = listening
                .difference(&state.listening)
                .map(u16::to_string)
                .collect();
            (!missing.is_empty()).then(|| format!("does not listen on port {}", missing.join(", ")))
        }
    }
}

/// What is learned of a container at the end of a phase, before it is stopped.
pub(crate) fn learned(state: &State) -> Service {
    match state.condition {
        Condition::Ended(_) => Service::Job,
        Condition::Created | Condition::Running(_) => Service::Daemon {
            listening: state.listening.clone(),
            healthy: state.condition == Condition::Running(Some(Health::Healthy)),
            stopped: None,
        },
    }
}

/// What is wrong with how a container was stopped.
pub(crate) fn fault_of_stop(state: &State, expected: &Service) -> Option<String> {
    match (state.condition, expected) {
        (
            Condition::Ended(status),
            Service::Daemon {
                stopped: Some(usual),
                ..
            },
        ) if status != *usual => Some(format!(
            "ended with status {status} when it was stopped, not with {usual}"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(condition: Condition) -> State {
        State {
            service: "db".to_owned(),
            id: String::new(),
            condition,
            restarts: 0,
            listening: BTreeSet::new(),
            address: None,
            published: BTreeMap::new(),
            image: Image::default(),
        }
    }

    fn daemon(listening: &[u16], healthy: bool) -> Service {
        Service::Daemon {
            listening: listening.iter().copied().collect(),
            healthy,
            stopped: Some(0),
        }
    }

    #[test]
    fn a_daemon_must_go_on_and_a_job_must_succeed() {
        let ended = |status| state(Condition::Ended(status));
        assert!(fault(&ended(0), Some(&daemon(&[], false))).is_some());
        assert!(fault(&ended(0), Some(&Service::Job)).is_none());
        assert!(fault(&ended(1), Some(&Service::Job)).is_some());
        assert!(fault(&ended(1), None).is_some());
        let mut again = state(Condition::Running(None));
        assert!(fault(&again, None).is_none());
        again.restarts = 1;
        assert!(fault(&again, None).is_some());
    }

    #[test]
    fn a_phase_has_begun_when_all_is_as_it_was() {
        let mut running = state(Condition::Running(Some(Health::Starting)));
        let told = |state: &State, expected: &Service| awaited(state, expected).unwrap_or_default();
        assert_eq!(told(&running, &Service::Job), "has not ended");
        assert_eq!(told(&running, &daemon(&[5432], true)), "is not healthy");
        running.condition = Condition::Running(Some(Health::Healthy));
        assert_eq!(
            told(&running, &daemon(&[80, 5432], true)),
            "does not listen on port 80, 5432"
        );
        running.listening = BTreeSet::from([80, 5432]);
        assert_eq!(told(&running, &daemon(&[80, 5432], true)), "");
    }

    #[test]
    fn a_port_that_changes_is_not_waited_for() {
        let of = |phase, ports: &[u16]| Expected {
            services: BTreeMap::from([(
                phase,
                BTreeMap::from([("ftp".to_owned(), daemon(ports, false))]),
            )]),
            begun_after_ms: 7,
            images: BTreeMap::new(),
        };
        let mut all = of(Phase::Start, &[21, 40_001]);
        all.add(of(Phase::Restart, &[21, 40_002]));
        for phase in [Phase::Start, Phase::Restart] {
            assert_eq!(all.services[&phase]["ftp"], daemon(&[21], false));
        }
    }

    #[test]
    fn a_daemon_shows_that_it_works_by_a_port_or_its_health() {
        assert!(Service::Job.shows_that_it_works());
        assert!(daemon(&[80], false).shows_that_it_works());
        assert!(daemon(&[], true).shows_that_it_works());
        assert!(!daemon(&[], false).shows_that_it_works());
    }

    #[test]
    fn a_daemon_that_has_to_be_killed_is_stopped_in_another_way() {
        assert!(fault_of_stop(&state(Condition::Ended(137)), &daemon(&[], false)).is_some());
        assert!(fault_of_stop(&state(Condition::Ended(0)), &daemon(&[], false)).is_none());
    }
}
