//! Where file systems are mounted.

use std::path::PathBuf;

use libtest_mimic::Failed;

/// Where the first file system is mounted whose kind and options are as wanted.
pub(crate) fn find(wanted: impl Fn(&str, &str) -> bool) -> Result<Option<PathBuf>, Failed> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    Ok(mounts.lines().find_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let (place, kind, options) = (words.get(1)?, words.get(2)?, words.get(3)?);
        wanted(kind, options).then(|| PathBuf::from(place))
    }))
}

/// Where the unified hierarchy of control groups is mounted.
pub(crate) fn unified() -> Result<PathBuf, Failed> {
    find(|kind, _options| kind == "cgroup2")?
        .ok_or_else(|| "no cgroup2 file system is mounted".into())
}
