//! Files that people write, read as text.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use capaudit_formats::{manifest::Files, yaml::Source};
use capaudit_tracer::regular;

/// Bytes of a file at most.
const LARGEST: u64 = 16 << 20;

/// The machine's own files.
#[derive(Clone, Copy, Debug)]
pub struct Disk;

impl Files for Disk {
    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn read(&self, path: &Path) -> io::Result<Source> {
        read(path, File::open(path)?)
    }

    fn read_named(&self, path: &Path) -> io::Result<Source> {
        read(path, regular::open(path)?)
    }

    fn drop_ins(&self, unit: &Path) -> Vec<PathBuf> {
        drop_ins(unit)
    }
}

fn read(path: &Path, file: File) -> io::Result<Source> {
    let mut text = String::new();
    // One more than may be: /dev/zero has no end.
    file.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {} MiB", LARGEST >> 20),
        ));
    }
    Ok(Source::new(&path.to_string_lossy(), text))
}

fn drop_ins(unit: &Path) -> Vec<PathBuf> {
    let mut directory = unit.as_os_str().to_owned();
    directory.push(".d");
    let Ok(entries) = std::fs::read_dir(PathBuf::from(directory)) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "conf")
        })
        .collect();
    files.sort();
    files
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_end_is_refused() {
        let error = Disk.read(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(error.to_string(), "it has more than 16 MiB");
    }

    #[test]
    fn of_what_files_name_only_regular_files_are_opened() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("base.yaml");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        for other in [&fifo, Path::new("/dev/zero")] {
            let error = Disk.read_named(other).unwrap_err();
            assert_eq!(error.to_string(), "it is no regular file");
        }
    }

    #[test]
    fn drop_ins_are_those_beside_the_unit_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let unit = directory.path().join("web.service");
        assert!(Disk.drop_ins(&unit).is_empty());
        let beside = directory.path().join("web.service.d");
        std::fs::create_dir(&beside).unwrap();
        for name in ["20.conf", "10.conf", "README"] {
            std::fs::write(beside.join(name), "").unwrap();
        }
        assert_eq!(
            Disk.drop_ins(&unit),
            [beside.join("10.conf"), beside.join("20.conf")]
        );
    }
}
