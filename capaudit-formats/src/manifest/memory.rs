//! Files in memory, for tests.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::Files;
use crate::yaml::Source;

/// Files by name, each with its text.
#[derive(Clone, Debug, Default)]
pub struct Memory(Vec<(String, String)>);

impl Memory {
    /// These files and no others.
    pub fn new(files: &[(&str, &str)]) -> Self {
        let files = files.iter();
        Self(
            files
                .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
                .collect(),
        )
    }
}

impl Files for Memory {
    fn exists(&self, path: &Path) -> bool {
        self.0.iter().any(|(name, _text)| path == Path::new(name))
    }

    fn read(&self, path: &Path) -> io::Result<Source> {
        let named = self.0.iter().find(|(name, _text)| path == Path::new(name));
        let (name, text) = named.ok_or(io::ErrorKind::NotFound)?;
        Ok(Source::new(name, text.clone()))
    }

    fn read_named(&self, path: &Path) -> io::Result<Source> {
        self.read(path)
    }

    fn drop_ins(&self, unit: &Path) -> Vec<PathBuf> {
        let mut beside = unit.as_os_str().to_owned();
        beside.push(".d");
        let mut files: Vec<PathBuf> = self.0.iter().map(|(name, _text)| name.into()).collect();
        files.retain(|path| path.parent() == Some(Path::new(&beside)));
        files.sort();
        files
    }
}
