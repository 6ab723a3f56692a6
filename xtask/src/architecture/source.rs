//! A crate's modules, read from its sources without those of its tests.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use syn::Item;

use super::{docs::Docs, names::Names, test_code};

/// The modules of one library or program.
#[derive(Debug)]
pub(super) struct Tree {
    /// The crate's root first.
    modules: Vec<Module>,
    pub files: Vec<SourceFile>,
}

/// Which module of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ModuleId(usize);

/// A module, whether it has a file of its own or not.
#[derive(Debug)]
pub(super) struct Module {
    /// Its name; `crate` for the root.
    name: String,
    parent: Option<ModuleId>,
    children: Vec<ModuleId>,
    /// Where it is written.
    pub file: PathBuf,
    /// Whether it is the whole file, and not written between braces in another's.
    is_file: bool,
    /// Where the files of its modules are.
    folder: PathBuf,
    pub names: Names,
    pub docs: Docs,
}

/// A file of a crate.
#[derive(Debug)]
pub(super) struct SourceFile {
    pub path: PathBuf,
    /// How many of its lines are not in a module of tests.
    pub lines: usize,
}

impl Tree {
    /// Reads the crate whose first file is `root`.
    ///
    /// # Errors
    ///
    /// A file cannot be read, is no Rust, or is missing.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let folder = root.parent().context("a file without a folder")?;
        let mut tree = Self {
            modules: Vec::new(),
            files: Vec::new(),
        };
        let id = tree.insert(Module {
            name: "crate".to_owned(),
            parent: None,
            children: Vec::new(),
            file: root.to_owned(),
            is_file: true,
            folder: folder.to_owned(),
            names: Names::default(),
            docs: Docs::default(),
        });
        tree.read_file(id)?;
        Ok(tree)
    }

    fn insert(&mut self, module: Module) -> ModuleId {
        let id = ModuleId(self.modules.len());
        if let Some(parent) = module.parent {
            self.modules[parent.0].children.push(id);
        }
        self.modules.push(module);
        id
    }

    fn read_file(&mut self, id: ModuleId) -> Result<()> {
        let path = self.module(id).file.clone();
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let file = syn::parse_file(&text).map_err(|error| {
            let line = error.span().start().line;
            anyhow::anyhow!("{}:{line}: {error}", path.display())
        })?;
        if test_code::is_test_only(&file.attrs) {
            return Ok(());
        }
        let of_tests: usize = file
            .items
            .iter()
            .filter_map(|item| match item {
                Item::Mod(module) if test_code::is_test_only(&module.attrs) => {
                    Some(test_code::lines(module))
                }
                _ => None,
            })
            .sum();
        self.files.push(SourceFile {
            path,
            lines: text.lines().count() - of_tests,
        });
        if id != Self::ROOT {
            self.modules[id.0].names.add_attributes(&file.attrs);
        }
        self.read_items(id, &file.items)
    }

    fn read_items(&mut self, id: ModuleId, items: &[Item]) -> Result<()> {
        for item in items {
            match item {
                Item::Mod(module) if test_code::is_test_only(&module.attrs) => {}
                Item::Mod(module) => {
                    self.modules[id.0].names.add_attributes(&module.attrs);
                    self.read_module(id, module)?;
                }
                item => self.modules[id.0].names.add(item),
            }
            self.modules[id.0].docs.add(item);
        }
        Ok(())
    }

    fn read_module(&mut self, parent: ModuleId, module: &syn::ItemMod) -> Result<()> {
        let name = module.ident.to_string();
        let above = self.module(parent);
        if module.attrs.iter().any(|it| it.path().is_ident("path")) {
            bail!(
                "module {name} of {} lies where an attribute says: put it where the language looks",
                above.file.display()
            );
        }
        let folder = above.folder.join(&name);
        let file = match &module.content {
            Some(_) => above.file.clone(),
            None => {
                let files = [folder.with_extension("rs"), folder.join("mod.rs")];
                match files.iter().find(|file| file.is_file()) {
                    Some(file) => file.clone(),
                    None => bail!("module {name} of {} has no file", above.file.display()),
                }
            }
        };
        let id = self.insert(Module {
            name,
            parent: Some(parent),
            children: Vec::new(),
            file,
            is_file: module.content.is_none(),
            folder,
            names: Names::default(),
            docs: Docs::default(),
        });
        match &module.content {
            Some((_, items)) => self.read_items(id, items),
            None => self.read_file(id),
        }
    }

    pub(super) const ROOT: ModuleId = ModuleId(0);

    pub(super) fn ids(&self) -> impl Iterator<Item = ModuleId> + use<> {
        (0..self.modules.len()).map(ModuleId)
    }

    pub(super) fn module(&self, id: ModuleId) -> &Module {
        &self.modules[id.0]
    }

    pub(super) fn parent(&self, id: ModuleId) -> Option<ModuleId> {
        self.module(id).parent
    }

    pub(super) fn child(&self, id: ModuleId, name: &str) -> Option<ModuleId> {
        let mut children = self.module(id).children.iter().copied();
        children.find(|child| self.module(*child).name == name)
    }

    /// A module and all that it lies in, the root last.
    pub(super) fn ancestry(&self, id: ModuleId) -> impl Iterator<Item = ModuleId> {
        std::iter::successors(Some(id), |id| self.parent(*id))
    }

    /// Whether `id` is `ancestor` or lies in it.
    pub(super) fn is_within(&self, id: ModuleId, ancestor: ModuleId) -> bool {
        self.ancestry(id).any(|id| id == ancestor)
    }

    /// The module that is the whole file in which `id` is written.
    pub(super) fn file_module(&self, id: ModuleId) -> ModuleId {
        self.ancestry(id)
            .find(|id| self.module(*id).is_file)
            .unwrap_or(Self::ROOT)
    }

    /// The path of a module without `crate`, which the root alone has for a name.
    pub(super) fn path(&self, id: ModuleId) -> String {
        let mut names: Vec<&str> = self
            .ancestry(id)
            .filter(|id| *id != Self::ROOT)
            .map(|id| self.module(id).name.as_str())
            .collect();
        names.reverse();
        if names.is_empty() {
            "crate".to_owned()
        } else {
            names.join("::")
        }
    }
}
