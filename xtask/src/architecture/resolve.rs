//! What the names in a crate stand for: modules use each other by them.
//!
//! A re-export is followed to the module that defines what it names. This sees names only: neither the methods that the
//! compiler finds by a value's type, nor what a macro defines.

use std::collections::HashSet;

use super::{
    names::Name,
    source::{ModuleId, Tree},
};

/// A name by which one module uses another.
#[derive(Clone, Debug)]
pub(super) struct Use<'tree> {
    pub user: ModuleId,
    pub used: ModuleId,
    pub name: &'tree Name,
}

/// A name of something that is not in the crate, in full and without the local name of an import.
#[derive(Clone, Debug)]
pub(super) struct Foreign<'tree> {
    pub user: ModuleId,
    pub name: &'tree Name,
    pub path: Vec<String>,
    /// Whether everything in it is imported.
    pub is_glob: bool,
}

/// The names of a crate, each with what it stands for.
#[derive(Debug, Default)]
pub(super) struct Resolved<'tree> {
    pub uses: Vec<Use<'tree>>,
    pub foreign: Vec<Foreign<'tree>>,
}

/// Resolves every name of a crate.
pub(super) fn resolve(tree: &Tree) -> Resolved<'_> {
    let mut resolved = Resolved::default();
    for user in tree.ids() {
        let names = &tree.module(user).names;
        let globs = names.globs.len();
        let imports = names.imports.len();
        for (index, name) in names.all().enumerate() {
            let is_glob = (imports..imports + globs).contains(&index);
            // What one word stands for is imported, and counted there, unless a glob imports it.
            if name.segments.len() == 1 && index >= imports + globs && globs == 0 {
                continue;
            }
            for reached in Search::new(tree).resolve(user, name) {
                match reached.target {
                    Target::Foreign(path) => resolved.foreign.push(Foreign {
                        user,
                        name,
                        path,
                        is_glob,
                    }),
                    Target::Module(used) | Target::Item(used) => {
                        let used = reached.through.into_iter().chain([used]);
                        resolved
                            .uses
                            .extend(used.filter(|used| *used != user).map(|used| Use {
                                user,
                                used,
                                name,
                            }));
                    }
                }
            }
        }
    }
    resolved
}

#[derive(Clone, Debug)]
enum Target {
    Module(ModuleId),
    /// Something that this module defines.
    Item(ModuleId),
    Foreign(Vec<String>),
}

#[derive(Clone, Debug)]
struct Reached {
    target: Target,
    /// The modules on the way that import it from outside of themselves. A module that re-exports what lies in it is only a
    /// front: a use of the name is a use of that part, not of the whole.
    through: Vec<ModuleId>,
}

impl From<Target> for Reached {
    fn from(target: Target) -> Self {
        Self {
            target,
            through: Vec::new(),
        }
    }
}

/// One name's search, which does not look for the same thing in the same place twice.
struct Search<'tree> {
    tree: &'tree Tree,
    seen: HashSet<(ModuleId, Vec<String>)>,
}

impl<'tree> Search<'tree> {
    fn new(tree: &'tree Tree) -> Self {
        Self {
            tree,
            seen: HashSet::new(),
        }
    }

    /// What a name in the module `user` stands for: several things if it is of several kinds, as `mod x; use x::x;` is.
    fn resolve(&mut self, user: ModuleId, name: &Name) -> Vec<Reached> {
        let foreign = || vec![Target::Foreign(name.segments.clone()).into()];
        if name.is_absolute {
            return foreign();
        }
        let mut rest = name.segments.as_slice();
        let mut start = None;
        while let [first, others @ ..] = rest {
            start = match (first.as_str(), start) {
                ("crate", None) => Some(Tree::ROOT),
                ("self", None) => Some(user),
                ("super", above) => self.tree.parent(above.unwrap_or(user)),
                _ => break,
            };
            rest = others;
        }
        match start {
            Some(start) => {
                let found = self.find(start, rest);
                if found.is_empty() {
                    // A macro made it.
                    vec![Target::Item(self.deepest(start, rest)).into()]
                } else {
                    found
                }
            }
            None => {
                let found = self.find(user, rest);
                if found.is_empty() { foreign() } else { found }
            }
        }
    }

    /// What a path stands for that begins in `module`.
    fn find(&mut self, module: ModuleId, path: &[String]) -> Vec<Reached> {
        let [first, rest @ ..] = path else {
            return vec![Target::Module(module).into()];
        };
        if !self.seen.insert((module, path.to_vec())) {
            return Vec::new();
        }
        let tree = self.tree;
        let mut found = Vec::new();
        if let Some(child) = tree.child(module, first) {
            found.extend(self.find(child, rest));
        }
        let names = &tree.module(module).names;
        for (_, import) in names.imports.iter().filter(|(alias, _)| alias == first) {
            found.extend(self.find_behind(module, import, rest));
        }
        if names.items.contains(first) {
            found.push(Target::Item(module).into());
        }
        if found.is_empty() {
            for glob in &names.globs {
                let behind = self.find_behind(module, glob, path);
                // Whether another crate has the name is not known.
                let known = |reached: &Reached| !matches!(reached.target, Target::Foreign(_));
                found.extend(behind.into_iter().filter(known));
            }
        }
        found
    }

    /// What `path` stands for in what `module` imports.
    fn find_behind(&mut self, module: ModuleId, import: &Name, path: &[String]) -> Vec<Reached> {
        let mut found = Vec::new();
        for imported in self.resolve(module, import) {
            let inner = match imported.target {
                Target::Module(behind) => self.find(behind, path),
                Target::Item(definer) => vec![Target::Item(definer).into()],
                Target::Foreign(mut full) => {
                    full.extend_from_slice(path);
                    vec![Target::Foreign(full).into()]
                }
            };
            for mut reached in inner {
                reached.through.extend_from_slice(&imported.through);
                if let Target::Module(used) | Target::Item(used) = reached.target
                    && !self.tree.is_within(used, module)
                {
                    reached.through.push(module);
                }
                found.push(reached);
            }
        }
        found
    }

    /// The last module on a path.
    fn deepest(&self, start: ModuleId, path: &[String]) -> ModuleId {
        let mut module = start;
        for name in path {
            match self.tree.child(module, name) {
                Some(child) => module = child,
                None => break,
            }
        }
        module
    }
}
