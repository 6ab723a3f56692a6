//! What processes of an audit may have asked engines for. Pure.
//!
//! Of the clients `docker` and `docker compose`, the words say it. Whoever else connects to anything may have asked for
//! anything, an engine or a service that asks one; of what runs in a container, whoever connects to a socket with a path, as
//! the engine's is when it is handed in. Not seen: io_uring's connect, that of 32-bit programs, and descriptors of connections
//! that came from elsewhere.

use std::collections::{HashMap, HashSet};

use capaudit_common::{
    event::{Call, Header},
    key::CallKey,
};
use capaudit_core::whose::{Described, Request};

use crate::{
    probe::syscall_name,
    proc::ContainerId,
    session::deputy,
    subject::{Identity, Owner, SubjectId, Tracker, engine::Description},
};

/// Contacts that are kept apart; further ones count as such that may have asked for anything.
const MOST: usize = 4096;
/// Words from which on a command line may have been cut.
const MOST_WORDS: usize = 64;

/// Lengths of `sockaddr_in` and `sockaddr_in6`.
const OF_INTERNET: [u64; 2] = [16, 28];

/// What processes of an audit may have asked engines for, and when.
#[derive(Debug, Default)]
pub(super) struct Contacts {
    all: Vec<Contact>,
    /// Executions whose connections their words explain.
    explained: HashSet<u64>,
    /// When the first process of a subject may have asked for anything.
    anything: HashMap<SubjectId, u64>,
    /// Executions whose words are not known yet, with the first of their connections.
    unexplained: HashMap<u64, Option<(SubjectId, u64)>>,
}

#[derive(Debug)]
struct Contact {
    by: SubjectId,
    /// In nanoseconds of `CLOCK_MONOTONIC`.
    time: u64,
    request: Request,
}

/// Whether a call is one by which somebody outside may be asked for something.
pub(super) fn is_contact(key: &CallKey) -> bool {
    syscall_name(key.syscall) == Some("connect")
}

impl Contacts {
    /// The words of an execution are being looked up.
    pub(super) fn expect(&mut self, execution: u64) {
        self.unexplained.entry(execution).or_default();
    }

    /// A process of a subject executes what may have others do the work, with these words; none: they could not be read.
    pub(super) fn executed(
        &mut self,
        by: SubjectId,
        header: &Header,
        path: &str,
        words: &[String],
    ) {
        let request = request(path, words);
        match request {
            Some(Request::Any) => self.ask_for_anything(by, header.time),
            Some(request) if self.all.len() < MOST => {
                self.explained.insert(header.execution);
                self.all.push(Contact {
                    by,
                    time: header.time,
                    request,
                });
            }
            Some(_) => self.ask_for_anything(by, header.time),
            None => {}
        }
        if let Some(Some((by, time))) = self.unexplained.remove(&header.execution)
            && !self.explained.contains(&header.execution)
        {
            self.ask_for_anything(by, time);
        }
    }

    /// A process connects to something, or tries to.
    pub(super) fn connected(&mut self, tracker: &Tracker, call: &Call) {
        let header = &call.header;
        let is_internet = OF_INTERNET.contains(&call.arguments[2]);
        // One that fails may be under way (EINPROGRESS), but not to a socket with a path (`unix_stream_connect`,
        // net/unix/af_unix.c): nobody listens for nscd, say. Calls are told apart by the address's length.
        if call.key.failed != 0 && !is_internet {
            return;
        }
        if self.explained.contains(&header.execution) {
            return;
        }
        if let Some(execution) = tracker.execution(header.execution)
            && let Owner::Subject(by) = execution.owner
            && (!is_internet || tracker.get(by).identity == Identity::Command)
        {
            match self.unexplained.get_mut(&header.execution) {
                Some(first) => drop(first.get_or_insert((by, header.time))),
                None => self.ask_for_anything(by, header.time),
            }
        }
    }

    fn ask_for_anything(&mut self, by: SubjectId, time: u64) {
        let first = self.anything.entry(by).or_insert(time);
        *first = time.min(*first);
    }

    /// The subjects that neither descend from the command nor can have been asked for by it; none if no command is audited.
    /// `described` is what engines say of containers.
    pub(super) fn others(
        &self,
        tracker: &Tracker,
        described: &HashMap<ContainerId, Description>,
    ) -> HashSet<SubjectId> {
        let is_command = |identity: &Identity| *identity == Identity::Command;
        let (mut own, mut others): (HashSet<SubjectId>, HashSet<SubjectId>) = tracker
            .subjects()
            .map(|(id, _subject)| id)
            .partition(|id| is_command(&tracker.get(*id).identity));
        if own.is_empty() {
            return HashSet::new();
        }
        // What a container of the command's has started is the command's, too.
        loop {
            let found: Vec<SubjectId> = others
                .iter()
                .copied()
                .filter(|id| self.may_be_of(&own, tracker, *id, described))
                .collect();
            if found.is_empty() {
                return others;
            }
            for id in found {
                others.remove(&id);
                own.insert(id);
            }
        }
    }

    fn may_be_of(
        &self,
        own: &HashSet<SubjectId>,
        tracker: &Tracker,
        id: SubjectId,
        described: &HashMap<ContainerId, Description>,
    ) -> bool {
        let subject = tracker.get(id);
        let entries = &subject.entries;
        if entries.lost || entries.from.iter().any(|from| own.contains(from)) {
            return true;
        }
        let was_asked_for = self
            .anything
            .iter()
            .any(|(by, first)| own.contains(by) && *first <= entries.last);
        let container = subject.identity.container();
        let description = container.and_then(|container| described.get(container));
        let known = match (container, description) {
            (Some(container), Some(description)) => Described {
                id: container.as_str(),
                name: &description.name,
                image: &description.image,
                project: description.compose_project.as_deref(),
            },
            _ => Described::default(),
        };
        was_asked_for
            || self
                .all
                .iter()
                .filter(|contact| own.contains(&contact.by) && contact.time <= entries.last)
                .any(|contact| contact.request.may_concern(&known))
    }
}

/// What a client that is executed as `path` with these words may ask for; `None` if that shows by other means.
fn request(path: &str, words: &[String]) -> Option<Request> {
    let name = deputy::base_name(path);
    let is_docker = matches!(name, "docker" | "docker-compose");
    if !is_docker {
        // Podman and its kin start containers themselves, and what they start descends from them, or they connect.
        return match name {
            "podman" | "podman-remote" | "podman-compose" => None,
            _ => deputy::delegated(path, words).map(|_delegated| Request::Any),
        };
    }
    // An interpreter's own words come first.
    let own = words
        .iter()
        .position(|word| deputy::base_name(word) == name);
    let own = own.and_then(|own| words.get(own + 1..));
    let Some(rest) = own.filter(|_rest| words.len() < MOST_WORDS) else {
        return Some(Request::Any);
    };
    let is_compose = name == "docker-compose" || rest.first().is_some_and(|word| word == "compose");
    Some(if is_compose {
        Request::Compose(rest.to_vec())
    } else {
        Request::Docker(rest.to_vec())
    })
}
