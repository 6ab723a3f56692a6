//! Options of every subcommand that watches the kernel.

use std::{io, time::Duration};

use capaudit_core::ledger::Hook;
use capaudit_tracer::{
    probe::{ProbeError, TracerConfig},
    session::{AttachError, AuditError, ObservationError},
};

use super::{exit::Exit, failure::Failure, refusal::Refusal};

/// How the kernel is watched.
#[derive(Debug, clap::Args)]
pub(super) struct Tracing {
    /// Use this hook, not the best that works: fexit, tp_btf or kprobe
    #[arg(long, value_name = "HOOK")]
    hook: Option<Hook>,

    /// Size of the buffer between kernel and capaudit, in KiB (a power of two)
    #[arg(long, value_name = "KIB", default_value_t = 8192, value_parser = ring_size)]
    ring_buffer: u32,

    /// Room for so many distinct checks, call sites and processes at a time (400 bytes each)
    #[arg(long, value_name = "N", default_value_t = TracerConfig::default().max_checks, value_parser = map_entries)]
    map_entries: u32,

    /// Slow down only what makes capability checks, and see only these: not how system calls end, nor needs that no
    /// check shows. The record is incomplete
    #[arg(long)]
    checks_only: bool,
}

impl Tracing {
    /// The settings that they make.
    pub(super) fn settings(&self) -> TracerConfig {
        TracerConfig {
            hook: self.hook,
            ring_bytes: self.ring_buffer * 1024,
            max_checks: self.map_entries,
            max_processes: self.map_entries,
            checks_only: self.checks_only,
            ..TracerConfig::default()
        }
    }
}

/// Fewer are of no use, and the kernel sets the room for all of them aside at once.
fn map_entries(text: &str) -> Result<u32, String> {
    let entries: u32 = text
        .parse()
        .map_err(|_error| format!("{text:?} is not a number"))?;
    if !(1024..=1 << 22).contains(&entries) {
        return Err(format!("{entries} is not from 1024 to {}", 1 << 22));
    }
    Ok(entries)
}

/// What to do if tracing is not possible.
pub(super) const SEE_DOCTOR: &str = "`capaudit doctor` tells what is missing and how to mend it";
/// Why a pid namespace is refused that everything else would work in.
const PID_NAMESPACE: &str =
    "what was recorded would be other processes', or nothing, without a word of that";
/// What to do if the kernel has no memory for maps and buffer.
const USE_LESS: &str = "there is too little memory (a cgroup's limit, maybe): it takes less with a smaller --ring-buffer and fewer --map-entries";

impl From<ObservationError> for Failure {
    fn from(error: ObservationError) -> Self {
        let failure = Self::cannot_trace(&error);
        match &error {
            ObservationError::Probe(error) => failure.with(of_probe(error)),
            ObservationError::System { .. } => failure,
        }
    }
}

impl From<AttachError> for Failure {
    fn from(error: AttachError) -> Self {
        match &error {
            AttachError::Probe(inner) => Self::cannot_trace(&error).with(of_probe(inner)),
            AttachError::Blind => Self::cannot_trace(&error).hint(SEE_DOCTOR),
            AttachError::Target(_) => Self::usage(&error),
        }
    }
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        match error {
            // Their text is their source's.
            AuditError::Observation(error) => error.into(),
            AuditError::Attach(error) => error.into(),
            AuditError::Command { error: ref why, .. } => {
                Self::new(Exit::of_refused_command(why), &error)
            }
            AuditError::Signal(signal) => Self::new(Exit::of_signal(signal), &error),
        }
    }
}

/// What helps; `None` if the error says that itself.
fn of_probe(error: &ProbeError) -> Option<String> {
    let hint = match error {
        ProbeError::Privileges(_) => return None,
        ProbeError::PidNamespace => PID_NAMESPACE,
        error if is_out_of_memory(error) => USE_LESS,
        error => match Refusal::of_machine().reason(error.errno()) {
            Some(reason) => return Some(reason),
            None => SEE_DOCTOR,
        },
    };
    Some(hint.to_owned())
}

fn is_out_of_memory(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::OutOfMemory)
}

/// The kernel wants a power of two and at least a page.
fn ring_size(text: &str) -> Result<u32, String> {
    let kibibytes: u32 = text
        .parse()
        .map_err(|_error| format!("{text:?} is not a number of KiB"))?;
    if !kibibytes.is_power_of_two() || !(4..=1 << 20).contains(&kibibytes) {
        return Err(format!(
            "{kibibytes} is not a power of two from 4 to {}",
            1 << 20
        ));
    }
    Ok(kibibytes)
}

/// `90`, `90s`, `10m`, `2h`, `1d`, and what else jiff reads.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time: write 90s, 10m or 2h");
    let duration = match text.parse::<u32>() {
        Ok(seconds) => Duration::from_secs(seconds.into()),
        Err(_) => text
            .parse::<jiff::SignedDuration>()
            .ok()
            .and_then(|duration| Duration::try_from(duration).ok())
            .ok_or_else(wrong)?,
    };
    if duration.is_zero() {
        return Err(wrong());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_nonsense_is_refused() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "0", "-3s", "ten", "1e9999h", "99999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
