//! `capaudit.lock`: where it is, read and written; which images an engine has now.

use std::{
    collections::BTreeMap,
    io,
    path::{Component, Path, PathBuf},
};

use capaudit_formats::lock::{Image, Lock, NAME};
use capaudit_verify::life;

use super::{deliver::deliver, failure::Failure};

/// Where the lock is: where it is said to be, else beside the first file.
pub(super) fn place(given: Option<&Path>, files: &[PathBuf]) -> PathBuf {
    match (given, files.first()) {
        (Some(given), _) => given.to_owned(),
        (None, Some(file)) => file.with_file_name(NAME),
        (None, None) => NAME.into(),
    }
}

/// Reads it; `None` if there is none.
///
/// # Errors
///
/// It cannot be read, or is no lock.
pub(super) fn read(place: &Path) -> Result<Option<Lock>, Failure> {
    let text = match std::fs::read(place) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::usage(format!("cannot read {place:?}: {error}"))),
    };
    let lock = Lock::parse(&text)
        .map_err(|error| Failure::usage(format!("cannot use {place:?}: {error}")))?;
    Ok(Some(lock))
}

/// Writes it whole.
///
/// # Errors
///
/// It cannot be written.
pub(super) fn write(lock: &Lock, place: &Path) -> Result<(), Failure> {
    let text = lock.text().map_err(Failure::usage)?;
    deliver(&text, Some(place), io::stdout()).map_err(Failure::usage)
}

/// The compose files that it is about.
pub(super) fn files(lock: &Lock, place: &Path) -> Vec<PathBuf> {
    let directory = place.parent().unwrap_or(Path::new(""));
    lock.files.iter().map(|file| directory.join(file)).collect()
}

/// Files as they are called in a lock.
///
/// # Errors
///
/// There is no working directory, or a name is not UTF-8.
pub(super) fn called(files: &[PathBuf], place: &Path) -> Result<Vec<String>, Failure> {
    let absolute = |path: &Path| {
        std::path::absolute(path).map_err(|error| Failure::usage(format!("{path:?}: {error}")))
    };
    let lock = absolute(place)?;
    let directory = lock.parent().unwrap_or(Path::new("/"));
    files
        .iter()
        .map(|file| {
            seen_from(directory, &absolute(file)?)
                .into_os_string()
                .into_string()
                .map_err(|file| Failure::usage(format!("{file:?} is not UTF-8")))
        })
        .collect()
}

/// A path from a directory to a file, both absolute.
fn seen_from(directory: &Path, file: &Path) -> PathBuf {
    let common = directory
        .components()
        .zip(file.components())
        .take_while(|(one, other)| one == other)
        .count();
    let up = directory
        .components()
        .skip(common)
        .map(|_| Component::ParentDir);
    up.chain(file.components().skip(common)).collect()
}

/// What the engine of a lock has now, by service: nothing of what is built, or has variables in its name.
pub(super) fn images(lock: &Lock) -> BTreeMap<String, Image> {
    let services = lock.services.iter();
    services
        .filter(|(_, service)| !service.image.name.contains('$'))
        .filter_map(|(name, service)| {
            let client = match service.exercised.engine.split(' ').next() {
                Some("podman") => "podman",
                _ => "docker",
            };
            // Where there is no engine, the image is one that cannot be compared, which is told.
            let image = life::image::known(&[client.to_owned()], &service.image.name).ok()??;
            Some((name.clone(), of_lock(image)))
        })
        .collect()
}

/// An image, as a lock has it.
pub(super) fn of_lock(image: life::Image) -> Image {
    Image {
        name: image.name,
        id: image.id,
        digests: image.digests,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_called_from_where_the_lock_is() {
        let seen = |directory: &str, file: &str| seen_from(directory.as_ref(), file.as_ref());
        assert_eq!(seen("/a", "/a/compose.yaml"), Path::new("compose.yaml"));
        assert_eq!(seen("/a/b", "/a/c/x.yaml"), Path::new("../c/x.yaml"));
        assert_eq!(seen("/a", "/b.yaml"), Path::new("../b.yaml"));
    }

    #[test]
    fn a_lock_is_beside_the_first_file() {
        let files = ["x/compose.yaml".into(), "y/more.yaml".into()];
        assert_eq!(place(None, &files), Path::new("x/capaudit.lock"));
        assert_eq!(place(None, &[]), Path::new("capaudit.lock"));
        assert_eq!(place(Some("z".as_ref()), &files), Path::new("z"));
    }
}
