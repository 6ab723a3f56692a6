//! The place in which an operation is set up: namespaces of its own and an empty tmpfs.

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path};

use crate::{
    operation::{Operation, Place},
    sys::{self, call},
};

/// The place below a directory. Nothing is made.
pub(crate) fn below(base: &Path) -> Place {
    Place {
        root: base.join("place"),
        disk: base.join("disk"),
    }
}

/// Moves this process into namespaces of its own, mounts an empty tmpfs below `base` and empties the directory on disk.
///
/// # Errors
///
/// Those of the calls; in a user namespace some of them are refused.
pub(crate) fn make(operation: &Operation, base: &Path) -> io::Result<Place> {
    let place = below(base);
    own_mounts(operation.namespaces)?;
    let root = sys::text(&place.root.to_string_lossy());
    call!(SYS_mount, c"operations", &root, c"tmpfs", 0, c"mode=755")?;
    for entry in fs::read_dir(&place.disk)? {
        let path = entry?.path();
        if path.is_dir() {
            fs::remove_dir_all(path)?
        } else {
            fs::remove_file(path)?
        }
    }
    (operation.setup)(&place)?;
    Ok(place)
}

/// Gives this process mounts of its own, and other namespaces (`CLONE_NEW*`).
///
/// # Errors
///
/// Those of unshare(2) and mount(2).
pub(crate) fn own_mounts(namespaces: i32) -> io::Result<()> {
    call!(SYS_unshare, libc::CLONE_NEWNS | namespaces)?;
    let flags = libc::MS_REC | libc::MS_PRIVATE;
    call!(SYS_mount, c"none", c"/", 0, flags, 0)?;
    Ok(())
}

/// Makes the directories that places are made in. A user has to get there.
///
/// # Errors
///
/// Those of mkdir(2).
pub(crate) fn prepare(base: &Path) -> io::Result<()> {
    for directory in [base, &base.join("place"), &base.join("disk")] {
        fs::create_dir_all(directory)?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}
