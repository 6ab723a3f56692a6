//! Single checks that were kept of many, and what they say of those that were not.

use super::{CheckRecord, Object, Sample};

/// Checks of one call site of one execution that are sampled whatever their number (`is_sighting`,
/// capaudit-common/src/key.rs).
const ALWAYS_SAMPLED: u64 = 4;

/// What is known of single checks of a record.
///
/// A check is counted whether it is sampled or not, so the samples speak for all checks only if they cover the count: the
/// one that decides may be among the rest. Whoever judges asks by the methods here, which know that.
#[derive(Clone, Copy, Debug)]
pub struct Samples<'a> {
    record: &'a CheckRecord,
}

impl<'a> Samples<'a> {
    /// Whether something is so of every single check; not where it is not known of some, or of none.
    pub fn every(self, is_so: impl FnMut(&Sample) -> bool) -> bool {
        self.cover_all() && self.every_seen(is_so)
    }

    /// Whether an argument of the system call is such in every single check. All checks of a record have the same
    /// one where that makes a record what it is ([`identifying_arguments`]), so that one sample shows it.
    pub fn every_argument(self, index: usize, mut is_such: impl FnMut(u64) -> bool) -> bool {
        let argument = |sample: &Sample| sample.arguments.get(index).copied();
        let identifies = self
            .record
            .identity
            .syscall
            .as_deref()
            .is_some_and(|name| identifying_arguments(name).contains(&index));
        (identifies || self.cover_all())
            && self.every_seen(|sample| argument(sample).is_some_and(&mut is_such))
    }

    /// Whether a sample shows that something is so of a check at least.
    pub fn shows(self, is_so: impl FnMut(&Sample) -> bool) -> bool {
        self.record.samples.iter().any(is_so)
    }

    /// Whether something may be so of a check: a sample shows it, or not all are known.
    pub fn may_show(self, is_so: impl FnMut(&Sample) -> bool) -> bool {
        !self.cover_all() || self.shows(is_so)
    }

    /// What was seen, for sentences and for what is only ever added to by more.
    pub fn seen(self) -> &'a [Sample] {
        &self.record.samples
    }

    /// Whether the samples speak for all checks of the record.
    pub fn cover_all(self) -> bool {
        self.covered() >= self.record.count
    }

    /// How many checks the samples speak for.
    pub fn covered(self) -> u64 {
        let CheckRecord {
            samples,
            sampled,
            count,
            ..
        } = self.record;
        let told = (*sampled).max(samples.len() as u64);
        // Sessions that do not say so: as many were sampled for certain.
        if *sampled == 0 && !samples.is_empty() && *count <= ALWAYS_SAMPLED {
            return *count;
        }
        told
    }

    fn every_seen(self, is_so: impl FnMut(&Sample) -> bool) -> bool {
        !self.record.samples.is_empty() && self.record.samples.iter().all(is_so)
    }
}

/// The arguments of a system call that are the same in all checks of one record, because
/// [`CheckIdentity::operation`](super::CheckIdentity::operation) is a hash of them: those of the calls whose arguments rules read.
pub fn identifying_arguments(syscall: &str) -> &'static [usize] {
    match syscall {
        "open" | "chmod" | "fchmod" | "ioctl" | "kill" | "tkill" => &[1],
        "openat" | "fchmodat" | "fchmodat2" | "tgkill" => &[2],
        "setuid" | "setgid" | "prctl" => &[0],
        "setsockopt" => &[1, 2],
        _ => &[],
    }
}

impl CheckRecord {
    /// What is known of single checks.
    pub fn samples(&self) -> Samples<'_> {
        Samples { record: self }
    }
}

impl Sample {
    /// Whether a rule can tell this check from another one by nothing: addresses in the program's memory, names of files whose
    /// owner and mode are known, and results are all that differs.
    pub fn is_alike(&self, other: &Self) -> bool {
        let argument = |one: &u64, other: &u64| {
            let is_address = |word: &u64| *word > u64::from(u32::MAX);
            one == other || (is_address(one) && is_address(other))
        };
        let named = |sample: &Self| matches!(sample.object, Some(Object::Path(_)));
        self.owner == other.owner
            && self.ids == other.ids
            && self.second == other.second
            && (self.object == other.object
                || (self.owner.is_some() && named(self) && named(other)))
            && std::iter::zip(&self.arguments, &other.arguments)
                .all(|(one, two)| argument(one, two))
    }
}
