//! Files replaced by new ones, all or none.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, fchown},
    path::Path,
};

/// Gives files new texts. All are written beside the old ones first, with their mode and owner, and only then take
/// their place, so that an error before leaves every file as it was. What a link points to is replaced, not the link.
///
/// # Errors
///
/// One of them cannot be written; the message says which.
pub fn replace(files: &[(&Path, &str)]) -> io::Result<()> {
    let mut ready = Vec::new();
    for (path, text) in files {
        let prepare = || -> io::Result<_> {
            let place = fs::canonicalize(path)?;
            let old = fs::metadata(&place)?;
            let directory = place.parent().unwrap_or(Path::new("/"));
            let mut new = tempfile::Builder::new()
                .prefix(".capaudit-")
                .tempfile_in(directory)?;
            new.write_all(text.as_bytes())?;
            let owner = new.as_file().metadata()?;
            if (owner.uid(), owner.gid()) != (old.uid(), old.gid()) {
                fchown(new.as_file(), Some(old.uid()), Some(old.gid()))?;
            }
            // After the owner: changing that takes setuid bits away.
            new.as_file().set_permissions(old.permissions())?;
            new.as_file().sync_all()?;
            Ok((place, new))
        };
        ready.push((path, prepare().map_err(|error| named(path, &error))?));
    }
    for (path, (place, new)) in ready {
        new.persist(&place)
            .map_err(|error| named(path, &error.error))?;
    }
    Ok(())
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write {path:?}: {error}"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

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
