//! Totals as rows of a tree.

use std::collections::{BTreeMap, HashMap, HashSet};

use capaudit_core::{
    advise::{Evidence, Verdict},
    capability::CapSet,
    ledger::Kind,
    report::SubjectReport,
    text::sanitize,
};

use crate::{
    filter::{Facets, Filter},
    model::history::{History, Series},
    state::{Leaf, State},
};

/// What programs outside containers and services are gathered under.
const MACHINE: &str = "this machine's programs";

/// What the rows are gathered under, outermost first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grouping {
    /// Container (or command, or program), program, capability.
    #[default]
    Subject,
    /// Compose service, program, capability: replicas are one.
    Service,
    /// Capability, then container, then program.
    Capability,
    /// Program, then capability, then container.
    Program,
}

impl Grouping {
    /// The one after this.
    pub fn next(self) -> Self {
        match self {
            Self::Subject => Self::Service,
            Self::Service => Self::Capability,
            Self::Capability => Self::Program,
            Self::Program => Self::Subject,
        }
    }

    /// What the heading of the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Subject => "container",
            Self::Service => "service",
            Self::Capability => "capability",
            Self::Program => "program",
        }
    }

    fn path(self, leaf: &Leaf, subject: &SubjectReport) -> [String; 3] {
        let program = program_name(leaf);
        let subject_name = |subject: &SubjectReport| {
            if subject.program {
                MACHINE.to_owned()
            } else {
                subject_name(subject)
            }
        };
        let capability = leaf.capability.name().to_owned();
        match self {
            Self::Subject => [subject_name(subject), program, capability],
            Self::Service if subject.compose_service.is_none() => {
                [subject_name(subject), program, capability]
            }
            Self::Service => [service_name(subject), program, capability],
            Self::Capability => [capability, subject_name(subject), program],
            Self::Program => [program, capability, subject_name(subject)],
        }
    }
}

/// What comes first within a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sorting {
    /// What matters most: by verdict, then by total.
    #[default]
    Verdict,
    /// The most checks first.
    Total,
    /// The most checks a second first, by the last two states.
    Rate,
    /// The most refused checks first.
    Denied,
    /// By name, in the alphabet's order.
    Name,
}

impl Sorting {
    /// The one after this.
    pub fn next(self) -> Self {
        match self {
            Self::Verdict => Self::Total,
            Self::Total => Self::Rate,
            Self::Rate => Self::Denied,
            Self::Denied => Self::Name,
            Self::Name => Self::Verdict,
        }
    }

    /// What the heading of the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Verdict => "verdict",
            Self::Total => "total",
            Self::Rate => "rate",
            Self::Denied => "denied",
            Self::Name => "name",
        }
    }
}

/// A row. All text is safe to show.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Identifies the row in this state and in later ones.
    pub key: String,
    /// Groups that it lies in: 0 for the outermost.
    pub depth: usize,
    /// Its name within its group.
    pub label: String,
    /// Whether there are rows below it that are shown; `None` if there are none at all.
    pub open: Option<bool>,
    /// Checks that were granted.
    pub granted: u64,
    /// Checks that were refused.
    pub denied: u64,
    /// How its checks grew, about once a second over the last minute.
    pub series: Series,
    /// What it is so far: of a group, the greatest.
    pub verdict: Verdict,
    /// How sure that is.
    pub evidence: Evidence,
    /// What is needed of it, so far.
    pub needs: CapSet,
    /// Its leaf, or the most important of those below it: index in the state.
    pub leaf: usize,
}

impl Row {
    /// Checks, whatever their outcome.
    pub fn total(&self) -> u64 {
        self.granted + self.denied
    }
}

/// What rows are made from, beside the state.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// Which totals become rows.
    pub filter: &'a Filter,
    /// What the rows are gathered under.
    pub grouping: Grouping,
    /// The order of the rows of a group.
    pub sorting: Sorting,
    /// Keys of groups that show no rows below.
    pub closed: &'a HashSet<String>,
    /// Totals to begin counting at, by [`leaf_key`].
    pub base: Option<&'a HashMap<String, (u64, u64)>>,
}

/// The rows of a state.
pub fn rows(state: &State, history: &History, choice: &Choice<'_>) -> Vec<Row> {
    let mut root = Node::default();
    for (index, leaf) in state.leaves.iter().enumerate() {
        let Some(subject) = state.report.subjects.get(leaf.subject) else {
            continue;
        };
        let key = leaf_key(subject, leaf);
        let (granted, denied) = choice
            .base
            .and_then(|base| base.get(&key).copied())
            .unwrap_or_default();
        let counted = Counted {
            granted: leaf.granted.saturating_sub(granted),
            denied: leaf.denied.saturating_sub(denied),
            series: history.get(&key),
            index,
            leaf,
            rank: rank(leaf, subject),
        };
        let since_mark = choice.base.is_none() || counted.granted + counted.denied > 0;
        if since_mark && is_shown(leaf, subject, counted.denied > 0, choice.filter) {
            let path = choice
                .grouping
                .path(leaf, subject)
                .map(|part| sanitize(&part));
            root.add(&path, &counted);
        }
    }
    let mut rows = Vec::new();
    root.rows("", 0, choice, &mut rows);
    rows
}

fn is_shown(leaf: &Leaf, subject: &SubjectReport, denied: bool, filter: &Filter) -> bool {
    let name = format!(
        "{} {} {}",
        subject.name,
        subject.compose_service.as_deref().unwrap_or_default(),
        subject.image.as_deref().unwrap_or_default()
    );
    let text = format!(
        "{name} {} {} {} {} {}",
        leaf.program,
        leaf.capability.cap_name(),
        leaf.syscall(),
        leaf.object,
        leaf.reason
    );
    filter.shows(&Facets {
        capability: leaf.capability,
        denied,
        verdict: leaf.verdict,
        subject: &name,
        text: &text.to_lowercase(),
    })
}

struct Counted<'a> {
    granted: u64,
    denied: u64,
    series: Option<&'a Series>,
    index: usize,
    leaf: &'a Leaf,
    rank: Rank,
}

/// What comes first: what is needed, the surest of that, and what is no mere program of the machine.
type Rank = (bool, Verdict, Evidence);

fn rank(leaf: &Leaf, subject: &SubjectReport) -> Rank {
    (!subject.program, leaf.verdict, leaf.evidence)
}

/// A row to be, with those below it.
#[derive(Default)]
struct Node {
    granted: u64,
    denied: u64,
    series: Series,
    needs: CapSet,
    best: Option<(Rank, usize)>,
    below: BTreeMap<String, Node>,
}

impl Node {
    fn add(&mut self, path: &[String], counted: &Counted<'_>) {
        self.granted += counted.granted;
        self.denied += counted.denied;
        if let Some(series) = counted.series {
            self.series.add(series);
        }
        if counted.leaf.verdict == Verdict::Needed {
            self.needs.insert(counted.leaf.capability);
        }
        if self.best.is_none_or(|(rank, _)| rank < counted.rank) {
            self.best = Some((counted.rank, counted.index));
        }
        if let Some((first, rest)) = path.split_first() {
            let below = self.below.entry(first.clone()).or_default();
            below.add(rest, counted);
        }
    }

    fn rank(&self) -> (Option<Rank>, u64) {
        (self.best.map(|(rank, _)| rank), self.granted + self.denied)
    }

    fn rows(self, key: &str, depth: usize, choice: &Choice<'_>, rows: &mut Vec<Row>) {
        let mut below: Vec<(String, Self)> = self.below.into_iter().collect();
        // Stable: equal ones stay in the order of their names.
        below.sort_by(|(_, a), (_, b)| match choice.sorting {
            Sorting::Verdict => b.rank().cmp(&a.rank()),
            Sorting::Total => (b.granted + b.denied).cmp(&(a.granted + a.denied)),
            Sorting::Rate => b.series.rate.total_cmp(&a.series.rate),
            Sorting::Denied => b.denied.cmp(&a.denied),
            Sorting::Name => std::cmp::Ordering::Equal,
        });
        for (label, node) in below {
            let Some(((_, verdict, evidence), leaf)) = node.best else {
                continue;
            };
            let key = format!("{key}\u{0}{label}");
            let is_open = !choice.closed.contains(&key);
            rows.push(Row {
                depth,
                label,
                open: (!node.below.is_empty()).then_some(is_open),
                granted: node.granted,
                denied: node.denied,
                series: node.series.clone(),
                verdict,
                evidence,
                needs: node.needs,
                leaf,
                key: key.clone(),
            });
            if is_open {
                node.rows(&key, depth + 1, choice, rows);
            }
        }
    }
}

/// Names a leaf across states.
pub fn leaf_key(subject: &SubjectReport, leaf: &Leaf) -> String {
    let id = subject.id.as_ref().unwrap_or(&subject.name);
    format!(
        "{:?}\u{0}{id}\u{0}{}\u{0}{}\u{0}{}",
        subject.kind, leaf.program, leaf.setup, leaf.capability
    )
}

/// What a subject is called in a row.
pub fn subject_name(subject: &SubjectReport) -> String {
    match subject.kind {
        Kind::Container => subject.name.clone(),
        Kind::Command => format!("$ {}", subject.name),
        Kind::Process => subject.name.clone(),
    }
}

fn service_name(subject: &SubjectReport) -> String {
    let known = |text: &Option<String>| text.clone().unwrap_or_default();
    format!(
        "{}/{}",
        known(&subject.compose_project),
        known(&subject.compose_service)
    )
}

fn program_name(leaf: &Leaf) -> String {
    let name = leaf
        .program
        .rsplit('/')
        .find(|part| !part.is_empty())
        .unwrap_or("?");
    if leaf.setup {
        format!("{name} (sets it up)")
    } else {
        name.to_owned()
    }
}
