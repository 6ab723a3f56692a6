//! The whole life of a compose project, in a project of its own: capaudit itself leads it (`capaudit life`), so that it is a command
//! like any other, whose exit status is the judge.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use capaudit_core::{
    capability::{CapSet, Capability},
    ledger::Phase,
};
use capaudit_life::{Expected, Failure, Plan, Test};
use capaudit_tracer::privilege::own;

use super::{
    Scratch,
    compose::{
        self, ComposeRun, Resolved, with_capabilities, with_capabilities_and_no_more,
        with_everything,
    },
    words::NotUnderstood,
};

/// A life that is to be led.
#[derive(Clone, Debug)]
pub struct Life {
    /// The command of compose: `docker compose`, `docker-compose`.
    pub compose: Vec<OsString>,
    /// The engine's client.
    pub client: String,
    /// Compose files that are used together.
    pub files: Vec<PathBuf>,
    /// Services that are audited; empty: all.
    pub services: Vec<String>,
    /// What each phase is tested by.
    pub test: Option<Test>,
    /// A service that tests the others, by its exit status.
    pub exit_code_from: Option<String>,
    /// Its phases, in the order of a life.
    pub phases: Vec<Phase>,
    /// Mounted places of the machine that the project gets itself, not a copy of.
    pub as_is: Vec<PathBuf>,
    /// The longest that a phase may take to begin.
    pub patience: Duration,
}

/// A life, but for what is granted in it.
#[derive(Clone, Debug)]
pub struct LifeRun {
    /// What it consists of; the services are those that sets are enforced on.
    pub life: Life,
    /// Which project, and the command of compose.
    pub compose: ComposeRun,
    /// Name of the project to those whose it is.
    pub called: String,
    /// What it looked like when it was audited.
    pub expected: OnceCell<Expected>,
    /// Services that can do with no-new-privileges, as the audit says: they have it in each trial.
    pub no_new_privileges: OnceCell<BTreeSet<String>>,
}

impl LifeRun {
    /// Makes the project that the life is audited in: the audited services are granted everything.
    ///
    /// # Errors
    ///
    /// A file cannot be written or copied, or the project is not understood.
    pub fn prepare_audit(&self, resolved: &Resolved, scratch: Scratch<'_>) -> io::Result<()> {
        let granted = match ungrantable() {
            beyond if beyond.is_empty() => with_everything(resolved.text(), &self.life.services),
            beyond => {
                let rest = CapSet::known().difference(beyond);
                let sets = self.life.services.iter().map(|name| (name.clone(), rest));
                with_capabilities(resolved.text(), &sets.collect())
            }
        };
        self.prepare(granted, scratch)
    }

    /// Makes the project in which services have exactly these sets.
    ///
    /// # Errors
    ///
    /// A file cannot be written or copied, or the project is not understood.
    pub fn prepare_trial(
        &self,
        resolved: &Resolved,
        sets: &BTreeMap<String, CapSet>,
        scratch: Scratch<'_>,
    ) -> io::Result<()> {
        let nobody = BTreeSet::new();
        let hardened = self.no_new_privileges.get().unwrap_or(&nobody);
        self.prepare(
            with_capabilities_and_no_more(resolved.text(), sets, hardened),
            scratch,
        )
    }

    fn prepare(
        &self,
        granted: Result<String, NotUnderstood>,
        scratch: Scratch<'_>,
    ) -> io::Result<()> {
        let granted = granted.map_err(io::Error::other)?;
        let copies = scratch.directory.join("mounts");
        let own = compose::isolated(&granted, self.compose.project(), &copies, &self.life.as_is)
            .map_err(io::Error::other)?;
        std::fs::create_dir(&copies)?;
        for copy in &own.copies {
            copied(copy)?;
        }
        std::fs::write(scratch.compose_file(), own.text)
    }

    /// Makes the file of the project, so that what is left of it can be removed.
    ///
    /// # Errors
    ///
    /// It cannot be written, or the project is not understood.
    pub fn prepare_end(&self, resolved: &Resolved, scratch: Scratch<'_>) -> io::Result<()> {
        let copies = scratch.directory.join("mounts");
        let own = compose::isolated(
            resolved.text(),
            self.compose.project(),
            &copies,
            &self.life.as_is,
        )
        .map_err(io::Error::other)?;
        std::fs::write(scratch.compose_file(), own.text)
    }

    /// Has runs go as this one did, which was audited.
    pub fn expect(&self, expected: Expected) {
        // The audit is made once.
        let _ = self.expected.set(expected);
    }

    /// The command that leads these phases of the life in the project that was made.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub fn leading(&self, phases: &[Phase], scratch: Scratch<'_>) -> io::Result<Vec<OsString>> {
        let text = |words: Vec<OsString>| -> Vec<String> {
            words
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect()
        };
        let plan = Plan {
            compose: text(self.compose.bare(&scratch.compose_file())),
            client: vec![self.life.client.clone()],
            project: self.compose.project().to_owned(),
            file: scratch.compose_file(),
            phases: phases.to_vec(),
            test: self.life.test.clone(),
            exit_code_from: self.life.exit_code_from.clone(),
            expected: self.expected.get().cloned(),
            learned: learned(scratch),
            failure: failure(scratch),
            patience_ms: u64::try_from(self.life.patience.as_millis()).unwrap_or(u64::MAX),
        };
        let file = scratch.directory.join("life.json");
        std::fs::write(&file, serde_json::to_vec(&plan).map_err(io::Error::other)?)?;
        Ok(vec!["/proc/self/exe".into(), "life".into(), file.into()])
    }

    /// The service by whose fault the life that was led went wrong, if it did and that is known.
    pub fn at_fault(scratch: Scratch<'_>) -> Option<String> {
        let text = std::fs::read(failure(scratch)).ok()?;
        let failure: Failure = serde_json::from_slice(&text).ok()?;
        failure.service
    }

    /// What the phases that were led looked like.
    ///
    /// # Errors
    ///
    /// They were not led to their end.
    pub fn learned(&self, scratch: Scratch<'_>) -> io::Result<Expected> {
        let text = std::fs::read(learned(scratch))?;
        serde_json::from_slice(&text).map_err(io::Error::other)
    }
}

/// What the engine cannot grant, if it can grant no more than what we were started with. Such an engine refuses `ALL`, as a whole;
/// then the names that engines learned last are left out, too, since one that is not known is as bad.
pub fn ungrantable() -> CapSet {
    const RECENT: CapSet = CapSet::of(&[
        Capability::PERFMON,
        Capability::BPF,
        Capability::CHECKPOINT_RESTORE,
    ]);
    let beyond = CapSet::known().difference(own::bounding());
    if beyond.is_empty() {
        return beyond;
    }
    beyond.union(RECENT)
}

fn failure(scratch: Scratch<'_>) -> PathBuf {
    scratch.directory.join("failure.json")
}

fn learned(scratch: Scratch<'_>) -> PathBuf {
    scratch.directory.join("learned.json")
}

/// Copies a file or directory with everything that it is: owners, modes, attributes, links.
fn copied(copy: &compose::Copy) -> io::Result<()> {
    let kind = std::fs::metadata(&copy.from);
    let fails = |what: &str| {
        io::Error::other(format!(
            "service {} mounts {:?} writable, and {what}: mount it read-only, or let the life have it itself with --as-is",
            copy.service, copy.from
        ))
    };
    match kind {
        // The engine makes a directory of what is not there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fails(&error.to_string())),
        Ok(kind) if !kind.is_dir() && !kind.is_file() => {
            return Err(fails(
                "it is neither a directory nor a file that could be copied",
            ));
        }
        Ok(_) if is_of_the_machine(&copy.from) => {
            return Err(fails("it belongs to the machine, of which no copy is made"));
        }
        Ok(_) => {}
    }
    let output = Command::new("cp")
        .args(["--archive", "--reflink=auto", "--one-file-system", "--"])
        .args([&copy.from, &copy.to])
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(fails(&format!("it cannot be copied ({})", said.trim())))
}

/// Places that are the machine itself, not somebody's data.
fn is_of_the_machine(path: &Path) -> bool {
    let of_the_machine = [
        "/",
        "/bin",
        "/boot",
        "/dev",
        "/etc",
        "/lib",
        "/proc",
        "/run",
        "/sbin",
        "/sys",
        "/usr",
        "/var",
        "/var/run",
        "/var/lib/docker",
    ];
    of_the_machine.iter().any(|it| path == Path::new(it))
        || ["/dev", "/proc", "/sys"]
            .iter()
            .any(|it| path.starts_with(it))
}
