//! What manifests are read from.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::yaml::Source;

/// The files that manifests are read from: on a disk, or in a test's memory.
pub trait Files {
    /// Whether there is one, or something else that is called so.
    fn exists(&self, path: &Path) -> bool;

    /// Reads one.
    ///
    /// # Errors
    ///
    /// It cannot be read, is not UTF-8, or larger than anybody writes by hand.
    fn read(&self, path: &Path) -> io::Result<Source>;

    /// Reads one that another file names, or that lies beside it: whoever wrote that is not who runs capaudit.
    ///
    /// # Errors
    ///
    /// As for [`Self::read`], or it is no regular file.
    fn read_named(&self, path: &Path) -> io::Result<Source>;

    /// The drop-ins beside a unit, in systemd's order: by name. None where they cannot be listed.
    fn drop_ins(&self, unit: &Path) -> Vec<PathBuf>;
}
