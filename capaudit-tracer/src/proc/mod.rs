//! What /proc shows of processes and of the kernel: for each of its files one parser, which is pure, beside the function
//! that reads the file. A leaf: it uses no other module of this crate.

mod cgroup;
mod container;
mod existing;
pub mod kallsyms;
mod namespace;
mod stat;
pub mod status;

use std::{io, path::Path};

pub(crate) use self::namespace::user_namespace_level;
pub use self::{
    cgroup::Cgroups,
    container::ContainerId,
    existing::Existing,
    namespace::{is_in_initial_pid_namespace, mount_namespace_of, namespace_inode},
    stat::Stat,
};

/// The processes of the machine, by their pids.
pub(crate) fn pids() -> io::Result<impl Iterator<Item = u32>> {
    numbers(Path::new("/proc"))
}

/// The threads of a process, by their ids.
pub(crate) fn threads(pid: u32) -> io::Result<impl Iterator<Item = u32>> {
    numbers(Path::new(&format!("/proc/{pid}/task")))
}

fn numbers(directory: &Path) -> io::Result<impl Iterator<Item = u32> + use<>> {
    Ok(std::fs::read_dir(directory)?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}

/// Whether a process of /proc could not be read because it has ended: ENOENT, or ESRCH from a file that was open.
pub fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// The bytes before the first NUL, all of them if there is none: names as the kernel writes them into fields of fixed length.
pub(crate) fn until_nul(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == 0);
    &bytes[..end.unwrap_or(bytes.len())]
}
