//! Acts one after the other, so that whoever watches can tell them apart: each is executed in a cgroup of its own, whose
//! name is made as container engines make theirs.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process, thread,
    time::Duration,
};

use serde::Serialize;

use crate::{
    credentials::Mode,
    operation::Operation,
    place,
    profile::Profile,
    sys::{self, call},
    trial::{self, Actor, Trial},
    truth,
};

/// What an operation saw that acted with everything.
#[derive(Debug, Serialize)]
pub(crate) struct Act {
    pub operation: String,
    pub mode: Mode,
    /// Name of its cgroup: 64 hexadecimal digits.
    pub id: String,
    pub trial: Trial,
}

/// How often a cgroup is tried to be removed, whose last process may not have been reaped yet.
const ATTEMPTS: u32 = 1000;
const PAUSE: Duration = Duration::from_millis(5);

/// Where acts run one after the other.
#[derive(Debug)]
pub(crate) struct Series<'a> {
    base: &'a Path,
    mode: Mode,
    profile: Option<&'a Profile>,
    program: PathBuf,
    cgroups: PathBuf,
}

impl<'a> Series<'a> {
    /// Mounts the unified hierarchy for this process alone, and copies the program to where everybody can execute it.
    ///
    /// # Errors
    ///
    /// Those of the calls: the kernel has no cgroup2, or this process is not root.
    pub(crate) fn prepare(
        base: &'a Path,
        mode: Mode,
        profile: Option<&'a Profile>,
    ) -> io::Result<Self> {
        let program = base.join("operations");
        fs::copy("/proc/self/exe", &program)?;
        place::own_mounts(0)?;
        let cgroups = base.join("cgroup");
        fs::create_dir_all(&cgroups)?;
        let target = sys::text(&cgroups.to_string_lossy());
        call!(SYS_mount, c"operations", &target, c"cgroup2", 0, 0)?;
        Ok(Self {
            base,
            mode,
            profile,
            program,
            cgroups,
        })
    }

    /// Lets an operation act with everything.
    ///
    /// # Errors
    ///
    /// The machine's: of fork(2) and of cgroups.
    pub(crate) fn act(&self, operation: &Operation) -> io::Result<Act> {
        let id = id(operation.name);
        let cgroup = self.cgroups.join(&id);
        fs::create_dir(&cgroup)?;
        let processes = sys::open(
            &sys::text(&cgroup.join("cgroup.procs").to_string_lossy()),
            libc::O_WRONLY,
        )?;
        let actor = Actor::Executed {
            program: &self.program,
            cgroup: processes,
        };
        let grant = self
            .mode
            .grant(truth::whole(self.mode, self.profile)?, self.profile)?;
        let trial = trial::run(operation, self.base, self.mode, &grant, actor);
        call!(SYS_close, processes)?;
        remove(&cgroup)?;
        Ok(Act {
            operation: operation.name.to_owned(),
            mode: self.mode,
            id,
            trial: trial?,
        })
    }
}

impl Drop for Series<'_> {
    fn drop(&mut self) {
        // The mount ends with this process at the latest, and with it what keeps the directory.
        let target = sys::text(&self.cgroups.to_string_lossy());
        let _ = call!(SYS_umount2, &target, libc::MNT_DETACH);
    }
}

/// A name as engines give it: the same operation has another one in another run.
fn id(name: &str) -> String {
    // FNV-1a: names differ, nobody attacks.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let again = hash.rotate_left(29);
    format!("{hash:016x}{:08x}{again:040x}", process::id())
}

fn remove(cgroup: &Path) -> io::Result<()> {
    for _ in 1..ATTEMPTS {
        match fs::remove_dir(cgroup) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => thread::sleep(PAUSE),
            other => return other,
        }
    }
    fs::remove_dir(cgroup)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_form_of_a_container_s_id() {
        let (one, other) = (id("chown"), id("chmod"));
        assert_ne!(one, other);
        for id in [one, other] {
            assert_eq!(id.len(), 64);
            assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        }
    }
}
