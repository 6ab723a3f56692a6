//! What `capaudit harden` has to do with the lock: whether it still holds, and a new one.

use std::{ffi::OsString, path::PathBuf};

use capaudit_core::{capability::Capability, ledger::Phases, report::Report};
use capaudit_formats::{
    lock::{self, Wanted},
    manifest,
};
use capaudit_storage::Disk;
use capaudit_verify::{Verified, life, proof::Proof};

use super::{
    failure::{Failure, note},
    lock as file,
};

/// The lock of a project that is to be hardened.
pub(super) struct Locking {
    /// Where it is.
    pub place: PathBuf,
    /// The engine's client.
    pub client: String,
    /// The phases of the life.
    pub phases: Phases,
    /// The compose files.
    pub files: Vec<PathBuf>,
    /// The services that are audited; empty: all.
    pub services: Vec<String>,
    /// What each phase is tested by.
    pub test: Vec<OsString>,
    /// A service that tests the others.
    pub exit_code_from: Option<String>,
    /// Each member is to have a failing run.
    pub proofs: bool,
}

impl Locking {
    /// Whether there is a lock that says all that would be found out. Tells which, or why not.
    ///
    /// # Errors
    ///
    /// It, or a compose file, cannot be used.
    pub(super) fn holds(&self) -> Result<bool, Failure> {
        let hint = |failure: Failure| failure.hint("--again takes no notice of it");
        let Some(locked) = file::read(&self.place).map_err(hint)? else {
            return Ok(false);
        };
        let project = manifest::project(&self.files, &Disk).map_err(Failure::usage)?;
        let kernel = rustix::system::uname();
        let wanted = Wanted {
            files: file::called(&self.files, &self.place)?,
            services: self.services.clone(),
            phases: self.phases,
            test: self.test(),
            exit_code_from: self.exit_code_from.clone().unwrap_or_default(),
            proofs: self.proofs,
            engine: self.engine()?,
            kernel: kernel.release().to_string_lossy().into_owned(),
        };
        let reasons = lock::why_not(&locked, &project, &file::images(&locked), &wanted)
            .map_err(Failure::usage)?;
        let place = self.place.display();
        if reasons.is_empty() {
            note(&format!(
                "{place} still holds, so nothing was run: files, images, test command, engine and series of kernels are those of the lock; what is in the test and in mounted files was not compared (--again runs it all)"
            ));
            return Ok(true);
        }
        note(&format!(
            "{place} does not hold any more: {}",
            reasons.join("; ")
        ));
        Ok(false)
    }

    /// Writes the lock of what was found.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub(super) fn write(&self, verified: &Verified, report: &Report) -> Result<(), Failure> {
        let project = manifest::project(&self.files, &Disk).map_err(Failure::usage)?;
        let verification = &verified.verification;
        let images = verified.images.clone().into_iter();
        let found = lock::Life {
            files: file::called(&self.files, &self.place)?,
            images: images
                .map(|(service, image)| (service, file::of_lock(image)))
                .collect(),
            engine: self.engine()?,
            proofs: verification.proofs.iter().filter_map(in_short).collect(),
            phases: self.phases,
            test: self.test(),
            exit_code_from: self.exit_code_from.clone().unwrap_or_default(),
            // The first run is the audit, and the last one goes through the whole life with the final set.
            enforced: verification.passed && verification.enforced && verification.runs > 1,
        };
        let mut locked = lock::lock(report, &project, &found).map_err(Failure::usage)?;
        if !self.services.is_empty()
            && let Ok(Some(earlier)) = file::read(&self.place)
            && earlier.files == locked.files
        {
            locked.keep(earlier);
        }
        file::write(&locked, &self.place)?;
        note(&format!("{}: written", self.place.display()));
        Ok(())
    }

    fn test(&self) -> Vec<String> {
        let words = self.test.iter();
        words
            .map(|word| word.to_string_lossy().into_owned())
            .collect()
    }

    fn engine(&self) -> Result<String, Failure> {
        life::image::engine(&self.client)
            .map_err(|error| Failure::usage(format!("cannot run {:?}: {error}", self.client)))
    }
}

/// How the life went wrong without a capability: what the run said last.
fn in_short(proof: &Proof) -> Option<((String, Capability), String)> {
    let said = proof.output.last()?;
    let said = said.strip_prefix("capaudit: ").unwrap_or(said);
    Some((
        (proof.of.service.clone(), proof.of.capability),
        said.to_owned(),
    ))
}
