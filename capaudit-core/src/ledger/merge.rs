//! Several ledgers into one: of several runs of a test suite, or of replicas of a service.

use std::collections::HashMap;

use super::{
    CallRecord, CheckIdentity, CheckRecord, Container, ExecRecord, Ledger, Phases, Sample, Session,
    Subject, SubjectRecord, Unseen, bound::MOST_FACTS,
};

/// What containers are called together whose image is not known.
const UNKNOWN_IMAGE: &str = "containers of unknown images";

/// What containers are called that are not told apart any more.
const OTHER_CONTAINERS: &str = "other containers";

/// Merges ledgers; the first gives kernel, hook and command. `None` if there is none.
///
/// Subjects that people know by the same name become one: a compose service by project and service, a container of a
/// pod by namespace, name and image, another by id and name, the command by being the same.
pub fn merge(ledgers: impl IntoIterator<Item = Ledger>) -> Option<Ledger> {
    let mut ledgers = ledgers.into_iter();
    let mut merged = ledgers.next()?;
    merged.subjects = unite(merged.subjects);
    for ledger in ledgers {
        merged.session.add(ledger.session);
        let mut subjects = std::mem::take(&mut merged.subjects);
        subjects.extend(ledger.subjects);
        merged.subjects = unite(subjects);
    }
    Some(merged)
}

/// Makes one of each group of subjects that are the same to people. The order stays.
pub fn unite(subjects: Vec<SubjectRecord>) -> Vec<SubjectRecord> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut united: Vec<SubjectRecord> = Vec::new();
    for subject in subjects {
        match places.get(&same_name(&subject)) {
            Some(place) => united[*place].add(subject),
            None => {
                places.insert(same_name(&subject), united.len());
                united.push(subject);
            }
        }
    }
    united
}

/// As [`unite`], with all containers of one image as one, and all of which none is known, unless they are of a compose service or a pod: for records of
/// so many that their names say nothing.
pub fn unite_by_image(subjects: Vec<SubjectRecord>) -> Vec<SubjectRecord> {
    let by_image = subjects.into_iter().map(|mut subject| {
        if let Subject::Container(Container {
            id,
            image,
            compose_service: None,
            pod: None,
            ..
        }) = &mut subject.identity
        {
            // No engine may ever tell any image.
            subject.name = image.as_deref().unwrap_or(UNKNOWN_IMAGE).to_owned();
            *id = None;
        }
        subject
    });
    unite(by_image.collect())
}

/// At most so many subjects: those beyond become one, with what any of them needs and has lost.
pub fn unite_beyond(subjects: Vec<SubjectRecord>, most: usize) -> Vec<SubjectRecord> {
    if subjects.len() <= most {
        return subjects;
    }
    let mut kept = subjects;
    let rest = kept.split_off(most.saturating_sub(1));
    let others = rest.into_iter().map(|mut subject| {
        subject.identity = Container::default().into();
        OTHER_CONTAINERS.clone_into(&mut subject.name);
        subject
    });
    kept.extend(others);
    unite(kept)
}

/// Equal for subjects that get one recommendation.
fn same_name(subject: &SubjectRecord) -> String {
    match &subject.identity {
        Subject::Container(Container {
            compose_project: Some(project),
            compose_service: Some(service),
            ..
        }) => format!("service {project}/{service}"),
        // Replicas of a workload are pods of different names with the same container.
        Subject::Container(Container {
            pod: Some(pod),
            image,
            ..
        }) => {
            let image = image.as_deref().unwrap_or_default();
            format!("pod {}/{} {image}", pod.namespace, pod.container)
        }
        _ => {
            let id = subject.id().unwrap_or_default();
            format!("{:?} {id} {}", subject.kind(), subject.name)
        }
    }
}

impl Session {
    fn add(&mut self, other: Self) {
        self.duration_ms = self.duration_ms.saturating_add(other.duration_ms);
        self.exit_status = match (self.exit_status, other.exit_status) {
            (Some(0) | None, status) => status.or(self.exit_status),
            (failed, _) => failed,
        };
        self.losses.add(&other.losses);
        for (capability, count) in other.unattributed {
            match self
                .unattributed
                .iter_mut()
                .find(|(known, _)| *known == capability)
            {
                Some((_, total)) => *total = total.saturating_add(count),
                None => self.unattributed.push((capability, count)),
            }
        }
        self.checks_only |= other.checks_only;
        for note in other.notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }
}

impl SubjectRecord {
    /// Adds the facts of another subject that is the same to people.
    pub fn add(&mut self, other: Self) {
        self.granted = self.granted.union(other.granted);
        if self.settled != other.settled {
            self.settled = None;
        }
        self.seen_from_start |= other.seen_from_start;
        self.other &= other.other;
        self.lost.add(&other.lost);
        self.life = match (self.life.take(), other.life.clone()) {
            (Some(one), Some(other)) => Some(one.united(other)),
            // Of one of the two nothing is known.
            _ => None,
        };
        if let Some(container) = self.container_mut()
            && container.engine_version.as_deref() != other.engine_version()
        {
            // Two engines, or one before and after its update: what only one of them has may be in force.
            container.engine_version = None;
        }
        for unseen in other.unseen {
            self.add_unseen(unseen);
        }
        if self.seen_from_start {
            self.unseen.retain(|unseen| !unseen.is_about_start());
        }
        for check in other.checks {
            self.add_check(check);
        }
        for exec in other.execs {
            self.add_exec(exec);
        }
        for call in other.calls {
            self.add_call(call);
        }
    }

    /// Adds a check to those already counted.
    pub fn add_check(&mut self, check: CheckRecord) {
        let has_room = self.checks.len() < MOST_FACTS;
        match self
            .checks
            .iter_mut()
            .find(|known| known.identity == check.identity)
        {
            Some(known) => known.add(check),
            None if has_room => self.checks.push(check),
            None => self.add_check_beyond(check),
        }
    }

    /// Adds what is known to be missing, once.
    pub fn add_unseen(&mut self, unseen: Unseen) {
        if !self.unseen.contains(&unseen) {
            self.unseen.push(unseen);
        }
    }

    /// Adds an execution to those already counted.
    pub fn add_exec(&mut self, exec: ExecRecord) {
        let has_room = self.execs.len() < MOST_FACTS;
        match self.execs.iter_mut().find(|known| {
            known.exe == exec.exe
                && known.capabilities == exec.capabilities
                && known.setid == exec.setid
                && known.unseen == exec.unseen
                && known.ignored == exec.ignored
        }) {
            Some(known) => {
                known.count = known.count.saturating_add(exec.count);
                known.phases = known.phases.union(exec.phases);
            }
            None if has_room => self.execs.push(exec),
            None => self.add_exec_beyond(&exec),
        }
    }

    /// Adds a system call to those already counted.
    pub fn add_call(&mut self, call: CallRecord) {
        let has_room = self.calls.len() < MOST_FACTS;
        match self.calls.iter_mut().find(|known| {
            known.syscall == call.syscall
                && known.requester == call.requester
                && known.operation == call.operation
                && known.failed == call.failed
                && known.unasked == call.unasked
                && known.target == call.target
                && known.object == call.object
        }) {
            Some(known) => {
                known.count = known.count.saturating_add(call.count);
                known.seccomp = under_either(known.seccomp, call.seccomp);
                known.phases = known.phases.union(call.phases);
            }
            None if has_room => self.calls.push(call),
            None => self.add_call_beyond(&call),
        }
    }
}

/// Whether a filter was in force for either of two calls; unknown if it may have been.
fn under_either(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (None, _) | (_, None) => None,
        (Some(false), Some(false)) => Some(false),
    }
}

impl CheckRecord {
    /// Adds the counts and samples of the same check.
    pub fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.first_ms = self.first_ms.min(other.first_ms);
        self.last_ms = self.last_ms.max(other.last_ms);
        self.succeeded = self.succeeded.saturating_add(other.succeeded);
        self.failed = self.failed.saturating_add(other.failed);
        if other.errno != 0 {
            self.errno = other.errno;
        }
        self.phases = self.phases.union(other.phases);
        // Of one that is not kept, nobody knows how many checks it spoke for.
        let mut all_kept = true;
        for sample in other.samples {
            all_kept &= self.add_sample(sample);
        }
        if all_kept {
            self.sampled = self.sampled.saturating_add(other.sampled);
        }
    }

    /// The call of a single check returned this, if that was seen; negative is an errno.
    pub fn returned(&mut self, result: Option<i64>) {
        match result {
            Some(value) if value < 0 => {
                self.failed = 1;
                self.errno = u32::try_from(value.unsigned_abs()).unwrap_or(0);
            }
            Some(_) => self.succeeded = 1,
            None => {}
        }
    }

    /// Keeps a sample if it is a new one and there is room, or if it tells more than another one. Returns whether one that is
    /// kept speaks for it.
    pub fn add_sample(&mut self, sample: Sample) -> bool {
        if self.samples.contains(&sample) {
            return true;
        }
        if self.samples.len() < Self::MAX_SAMPLES {
            self.samples.push(sample);
            return true;
        }
        if self.samples.iter().any(|known| known.is_alike(&sample)) {
            return true;
        }
        let repeats = |place: &usize| {
            let (before, rest) = self.samples.split_at(*place);
            rest.first()
                .is_some_and(|one| before.iter().any(|known| known.is_alike(one)))
        };
        match (0..self.samples.len()).rfind(repeats) {
            Some(place) => {
                self.samples[place] = sample;
                true
            }
            None => false,
        }
    }

    /// A check that was not counted yet.
    pub fn new(identity: CheckIdentity) -> Self {
        Self {
            identity,
            count: 0,
            first_ms: u64::MAX,
            last_ms: 0,
            succeeded: 0,
            failed: 0,
            errno: 0,
            samples: Vec::new(),
            sampled: 0,
            phases: Phases::default(),
        }
    }
}

#[cfg(test)]
mod tests;
