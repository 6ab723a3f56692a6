//! Files replaced by new ones, all or none.

use std::{io, path::Path};

use crate::{
    Written,
    place::{Name, Place, Writer},
};

/// Gives files new texts. All are written beside the old ones first, with their mode and owner, and only then take
/// their place, so that an error before leaves every file as it was. What a link points to is replaced, not the link.
///
/// # Errors
///
/// One of them cannot be written, or others decide what its path leads to; the message says which.
pub fn replace(files: &[(&Path, &str)]) -> io::Result<()> {
    let writer = Writer::this();
    let place = |path: &Path| match Place::of(path, writer)? {
        Place::Name(name) => Ok(name),
        Place::Descriptor(_) => Err(io::ErrorKind::InvalidInput.into()),
    };
    let mut names: Vec<(&Path, Box<Name>)> = Vec::new();
    for (path, _text) in files {
        names.push((path, place(path).map_err(|error| named(path, &error))?));
    }
    let mut ready = Vec::new();
    for ((path, name), (_path, text)) in names.iter().zip(files) {
        let written = name
            .attributes_of_edited()
            .and_then(|attributes| Written::beside(name, text.as_bytes(), attributes));
        ready.push((path, written.map_err(|error| named(path, &error))?));
    }
    for (path, written) in ready {
        written.take_place().map_err(|error| named(path, &error))?;
    }
    Ok(())
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write {path:?}: {error}"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    };

    use super::*;

    #[test]
    fn mode_and_link_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("f"), directory.path().join("l"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("f", &link).unwrap();
        replace(&[(&link, "new")]).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn one_that_cannot_be_written_leaves_all() {
        let directory = tempfile::tempdir().unwrap();
        let (file, missing) = (directory.path().join("f"), directory.path().join("no"));
        fs::write(&file, "old").unwrap();
        assert!(replace(&[(&file, "new"), (&missing, "new")]).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "old");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }
}
