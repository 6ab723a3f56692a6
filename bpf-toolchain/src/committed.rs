//! The object that lies in the repository, so that capaudit can be built with stable Rust alone.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{Toolchain, sources};

/// The object's place below the repository's root.
const OBJECT: &str = "capaudit-tracer/bpf/capaudit.bpf.o";
/// That of the record of what it was built from.
const RECORD: &str = "capaudit-tracer/bpf/capaudit.bpf.txt";

/// What an object was built from, and with. Written as one line for each, `name: value`, so that the build script that
/// reads it needs no parser.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    /// SHA-256 of the sources.
    sources: String,
    /// SHA-256 of the object.
    object: String,
    /// Compiler and linker: the same ones make the same bytes of the same sources.
    toolchain: String,
}

impl Record {
    /// Reads what [`fmt::Display`] writes, and nothing else.
    fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("sources: ")?;
        let (sources, rest) = rest.split_once("\nobject: ")?;
        let (object, rest) = rest.split_once("\ntoolchain: ")?;
        let record = Self {
            sources: sources.to_owned(),
            object: object.to_owned(),
            toolchain: rest.strip_suffix('\n')?.to_owned(),
        };
        (record.to_string().lines().count() == 3).then_some(record)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sources,
            object,
            toolchain,
        } = self;
        writeln!(
            f,
            "sources: {sources}\nobject: {object}\ntoolchain: {toolchain}"
        )
    }
}

/// The committed object of a repository.
#[derive(Debug, Clone)]
pub struct Committed {
    repository: PathBuf,
}

/// Why the committed object must not be used.
#[derive(Debug)]
pub enum Stale {
    /// It cannot be read.
    Absent(anyhow::Error),
    /// The sources have changed since.
    Sources,
    /// It is not the object that the record tells of.
    Object,
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(error) => write!(f, "there is no committed BPF object: {error:#}"),
            Self::Sources => {
                write!(
                    f,
                    "the BPF sources have changed since {OBJECT} was built from them"
                )
            }
            Self::Object => write!(f, "{OBJECT} is not the object that {RECORD} tells of"),
        }
    }
}

/// How a fresh build compares with the committed object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// The bytes are the same.
    Same,
    /// Other bytes, from the compiler and linker that are said to have made the committed ones.
    Different,
    /// Another compiler or linker than this one made it, so that the bytes say nothing.
    AnotherToolchain(String),
}

impl Committed {
    /// That of the repository with this root.
    pub fn of(repository: &Path) -> Self {
        Self {
            repository: repository.to_owned(),
        }
    }

    /// Its path, if it was built from the very sources that are there now.
    ///
    /// # Errors
    ///
    /// It was not, or cannot be read.
    pub fn fresh(&self) -> Result<PathBuf, Stale> {
        let record = self.record().map_err(Stale::Absent)?;
        let path = self.repository.join(OBJECT);
        let object = fs::read(&path)
            .with_context(|| format!("cannot read {}", path.display()))
            .map_err(Stale::Absent)?;
        if record.object != sources::hash_of(&object) {
            return Err(Stale::Object);
        }
        if record.sources != sources::hash(&self.repository).map_err(Stale::Absent)? {
            return Err(Stale::Sources);
        }
        Ok(path)
    }

    /// Puts an object in its place that was built by `toolchain` from the sources that are there now.
    ///
    /// # Errors
    ///
    /// A file cannot be read or written.
    pub fn replace(&self, object: &[u8], toolchain: &Toolchain) -> Result<()> {
        let record = Record {
            sources: sources::hash(&self.repository)?,
            object: sources::hash_of(object),
            toolchain: toolchain.identity()?,
        };
        let text = record.to_string();
        // A record without its object, or the other way round, is noticed by `fresh`.
        for (name, content) in [(OBJECT, object), (RECORD, text.as_bytes())] {
            let path = self.repository.join(name);
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory)
                    .with_context(|| format!("cannot make {}", directory.display()))?;
            }
            fs::write(&path, content)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// Compares it with an object that `toolchain` has just built.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn compare(&self, built: &[u8], toolchain: &Toolchain) -> Result<Comparison> {
        let record = self.record()?;
        Ok(if record.object == sources::hash_of(built) {
            Comparison::Same
        } else if record.toolchain == toolchain.identity()? {
            Comparison::Different
        } else {
            Comparison::AnotherToolchain(record.toolchain)
        })
    }

    fn record(&self) -> Result<Record> {
        let path = self.repository.join(RECORD);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Record::parse(&text).with_context(|| format!("{} is damaged", path.display()))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// A repository with every source, and an object recorded as built from them.
    fn repository() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for source in sources::SOURCES {
            let file = if source.ends_with("/src") {
                root.path().join(source).join("main.rs")
            } else {
                root.path().join(source)
            };
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, source).unwrap();
        }
        let record = Record {
            sources: sources::hash(root.path()).unwrap(),
            object: sources::hash_of(b"object"),
            toolchain: "rustc 1".to_owned(),
        };
        fs::create_dir_all(root.path().join(OBJECT).parent().unwrap()).unwrap();
        fs::write(root.path().join(OBJECT), "object").unwrap();
        fs::write(root.path().join(RECORD), record.to_string()).unwrap();
        root
    }

    #[test]
    fn an_object_of_these_sources_is_fresh() {
        let root = repository();
        let fresh = Committed::of(root.path()).fresh().unwrap();
        assert_eq!(fresh, root.path().join(OBJECT));
    }

    #[test]
    fn changed_sources_a_changed_object_and_a_missing_record_make_it_stale() {
        let root = repository();
        fs::write(root.path().join("capaudit-common/src/new.rs"), "").unwrap();
        let stale = Committed::of(root.path()).fresh().unwrap_err();
        assert!(matches!(stale, Stale::Sources), "{stale}");

        let root = repository();
        fs::write(root.path().join(OBJECT), "another").unwrap();
        let stale = Committed::of(root.path()).fresh().unwrap_err();
        assert!(matches!(stale, Stale::Object), "{stale}");

        let whole = fs::read_to_string(root.path().join(RECORD)).unwrap();
        for damage in [
            String::new(),
            whole.replace("object: ", ""),
            whole.replace("sources", "source"),
            whole.replace('\n', "\r\n"),
            whole.trim_end().to_owned(),
            format!("{whole}more: 1\n"),
        ] {
            fs::write(root.path().join(RECORD), &damage).unwrap();
            let stale = Committed::of(root.path()).fresh().unwrap_err();
            assert!(stale.to_string().contains(RECORD), "{stale}");
        }
    }
}
