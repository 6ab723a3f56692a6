//! Whether modules, or files, depend on each other in a circle.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::{Path, PathBuf},
};

use petgraph::{algo::tarjan_scc, graphmap::DiGraphMap};

use super::{
    resolve::Use,
    source::{ModuleId, Tree},
};

/// Modules that use each other in a circle.
#[derive(Debug)]
pub(super) struct Circle {
    members: Vec<ModuleId>,
    /// Those first that the fewest names hold, being the easiest to cut.
    edges: Vec<Edge>,
}

/// That a member uses another.
#[derive(Debug)]
struct Edge {
    user: ModuleId,
    used: ModuleId,
    /// By which names: the first place of each in a file.
    places: Vec<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    file: PathBuf,
    line: usize,
    name: String,
}

/// The circles among the modules of one parent, at every level. Each module stands for all that lies in it.
pub(super) fn among_modules(tree: &Tree, uses: &[Use<'_>]) -> Vec<Circle> {
    let mut levels: BTreeMap<ModuleId, Vec<_>> = BTreeMap::new();
    for one in uses {
        if let Some((level, user, used)) = branches(tree, one.user, one.used) {
            levels.entry(level).or_default().push((user, used, one));
        }
    }
    let levels = levels.into_values();
    levels.flat_map(|uses| circles(tree, &uses)).collect()
}

/// The circles among files. A file and a file of one of its own modules may use each other: the parent uses the parts that it
/// is divided into, and they use what it holds for all of them.
pub(super) fn among_files(tree: &Tree, uses: &[Use<'_>]) -> Vec<Circle> {
    let above = |file| tree.parent(file).map(|parent| tree.file_module(parent));
    let uses = uses.iter().filter_map(|one| {
        let (user, used) = (tree.file_module(one.user), tree.file_module(one.used));
        let is_family = above(user) == Some(used) || above(used) == Some(user);
        (user != used && !is_family).then_some((user, used, one))
    });
    circles(tree, &uses.collect::<Vec<_>>())
}

/// The innermost module that two lie in, and which of its children each lies in; `None` if one lies in the other.
fn branches(tree: &Tree, user: ModuleId, used: ModuleId) -> Option<(ModuleId, ModuleId, ModuleId)> {
    let users: Vec<_> = tree.ancestry(user).collect();
    let useds: Vec<_> = tree.ancestry(used).collect();
    let mut level = Tree::ROOT;
    for (user, used) in users.iter().rev().zip(useds.iter().rev()) {
        if user != used {
            return Some((level, *user, *used));
        }
        level = *user;
    }
    None
}

fn circles(tree: &Tree, uses: &[(ModuleId, ModuleId, &Use<'_>)]) -> Vec<Circle> {
    let graph: DiGraphMap<ModuleId, ()> =
        DiGraphMap::from_edges(uses.iter().map(|(user, used, _)| (*user, *used)));
    let components = tarjan_scc(&graph).into_iter();
    components
        .filter(|members| members.len() > 1)
        .map(|mut members| {
            members.sort();
            let mut edges: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for (user, used, one) in uses {
                if members.contains(user) && members.contains(used) {
                    edges.entry((*user, *used)).or_default().push(*one);
                }
            }
            let edges = edges.into_iter().map(|((user, used), uses)| Edge {
                user,
                used,
                places: places(tree, &uses),
            });
            let mut edges: Vec<_> = edges.collect();
            edges.sort_by_key(|edge| edge.places.len());
            Circle { members, edges }
        })
        .collect()
}

fn places(tree: &Tree, uses: &[&Use<'_>]) -> Vec<Place> {
    let mut places: Vec<_> = uses
        .iter()
        .map(|one| Place {
            file: tree.module(one.user).file.clone(),
            line: one.name.line,
            name: one.name.to_string(),
        })
        .collect();
    places.sort();
    let mut seen = HashSet::new();
    places.retain(|place| seen.insert((place.file.clone(), place.name.clone())));
    places
}

impl Circle {
    /// Whether the same names hold both, so that one explains the other.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.places() == other.places()
    }

    fn places(&self) -> BTreeSet<&Place> {
        self.edges.iter().flat_map(|edge| &edge.places).collect()
    }

    /// The circle for people: its members, then the edges between them with names and places, with files relative to
    /// `root`.
    pub(super) fn describe(&self, tree: &Tree, root: &Path) -> String {
        let members: Vec<_> = self.members.iter().map(|id| tree.path(*id)).collect();
        let mut text = members.join(", ");
        for edge in &self.edges {
            let (user, used) = (tree.path(edge.user), tree.path(edge.used));
            text.push_str(&format!("\n  {user} -> {used}"));
            for Place { file, line, name } in edge.places.iter().take(Self::MOST_PLACES) {
                let file = file.strip_prefix(root).unwrap_or(file);
                text.push_str(&format!("\n    {}:{line} {name}", file.display()));
            }
            if edge.places.len() > Self::MOST_PLACES {
                let more = edge.places.len() - Self::MOST_PLACES;
                text.push_str(&format!("\n    and {more} more"));
            }
        }
        text
    }

    /// How many places are shown of one edge: an edge with more is not the one to cut.
    const MOST_PLACES: usize = 6;
}
