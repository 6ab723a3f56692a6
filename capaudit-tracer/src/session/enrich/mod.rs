//! What records do not carry, looked up while the process may still be there. All I/O of taking
//! records is here.
//!
//! The order counts: a program may live for less than a millisecond, so each look-up is made as
//! soon as the record that calls for it is taken.

mod file_capabilities;
mod file_owner;

use std::fmt;

use capaudit_common::event::Exec;
use capaudit_core::ledger::{ExecRecord, FileOwner};

use self::file_capabilities::Reader;
use crate::{
    proc::{Cgroups, ContainerId, status::Status},
    subject::{
        Identity,
        attached::{self, Attached, Running},
    },
};

/// Words of a command line that are looked at: those that say what it is to do come early.
const MOST_WORDS: usize = 64;

/// Looks up what records do not carry. `pid` is always that of the initial pid namespace, and
/// may be gone, or be another process's by now.
pub(super) trait Enrich: fmt::Debug + Send {
    /// Path of the file that a process executes; `None` if nothing leads to that file.
    fn executable(&self, pid: u32) -> Option<String>;

    /// Where on the machine a process that runs `program` belongs.
    fn place(&self, pid: u32, program: &str) -> Option<Identity>;

    /// A process that was met as the whole machine is observed; `None` for kernel threads, too.
    fn running(&self, pid: u32) -> Option<Running>;

    /// Whether a process that is in a container was put there by one outside of it, as by `docker exec`; also if that cannot
    /// be seen any more.
    fn came_from_outside(&self, pid: u32, container: &ContainerId) -> bool;

    /// The words that a process was executed with; empty if it is gone.
    fn words(&self, pid: u32) -> Vec<String>;

    /// Owner and mode of a file, by its path as the process sees it.
    fn file_owner(&self, pid: u32, path: &str) -> Option<FileOwner>;

    /// Keeps the way to the files of a mount namespace, through a process in it.
    fn hold_root(&mut self, mount_namespace: u32, pid: u32);

    /// The privileges that an executed file carries, for a subject whose user namespace lies
    /// `level` below the initial one; `None` if none of them counts.
    fn executed(&mut self, exec: &Exec, level: u32) -> Option<ExecRecord>;

    /// Gives up the way to the files of mount namespaces in which nothing `lives`.
    fn let_go(&mut self, lives: &dyn Fn(u32) -> bool);
}

/// The machine that capaudit runs on.
#[derive(Debug, Default)]
pub(super) struct Machine {
    files: Reader,
}

impl Enrich for Machine {
    fn executable(&self, pid: u32) -> Option<String> {
        std::fs::read_link(format!("/proc/{pid}/exe"))
            .ok()
            .filter(|target| target.exists())
            .filter(|target| target.file_name().is_some())
            .map(|target| target.to_string_lossy().into_owned())
    }

    fn place(&self, pid: u32, program: &str) -> Option<Identity> {
        attached::place_of(pid, program)
    }

    fn running(&self, pid: u32) -> Option<Running> {
        Attached::Machine.look_at(pid)
    }

    fn came_from_outside(&self, pid: u32, container: &ContainerId) -> bool {
        let parent = Status::read(pid).ok().and_then(|status| status.parent);
        let of_parent = parent.and_then(|parent| Cgroups::read(parent).ok()?.container());
        of_parent.as_ref() != Some(container)
    }

    fn words(&self, pid: u32) -> Vec<String> {
        let text = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        text.strip_suffix(b"\0")
            .map(|words| {
                words
                    .split(|byte| *byte == 0)
                    .take(MOST_WORDS)
                    .map(|word| String::from_utf8_lossy(word).into_owned())
                    .collect()
            })
            .unwrap_or_default()
    }

    fn file_owner(&self, pid: u32, path: &str) -> Option<FileOwner> {
        file_owner::of(pid, path)
    }

    fn hold_root(&mut self, mount_namespace: u32, pid: u32) {
        self.files.hold_root(mount_namespace, pid);
    }

    fn executed(&mut self, exec: &Exec, level: u32) -> Option<ExecRecord> {
        self.files.look(exec, level)
    }

    fn let_go(&mut self, lives: &dyn Fn(u32) -> bool) {
        self.files.let_go(lives);
    }
}
