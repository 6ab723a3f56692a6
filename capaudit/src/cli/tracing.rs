//! Options of every subcommand that watches the kernel.

use std::io;

use capaudit_core::ledger::Hook;
use capaudit_tracer::{
    launch::Signals,
    probe::{ProbeError, Settings},
    session::observation::{AttachError, ObservationError},
};

use super::{Exit, complain};

/// How the kernel is watched.
#[derive(Debug, clap::Args)]
pub struct Tracing {
    /// Use this hook, not the best that works: fexit, tp_btf or kprobe
    #[arg(long, value_name = "HOOK")]
    hook: Option<Hook>,

    /// Size of the buffer between kernel and capaudit, in KiB (a power of two)
    #[arg(long, value_name = "KIB", default_value_t = 8192, value_parser = ring_size)]
    ring_buffer: u32,

    /// Room for so many distinct checks, call sites and processes at a time (400 bytes each)
    #[arg(long, value_name = "N", default_value_t = Settings::default().max_checks, value_parser = map_entries)]
    map_entries: u32,

    /// Slow down only what makes capability checks, and see only these: not how system calls end, nor needs that no
    /// check shows. The record is incomplete
    #[arg(long)]
    checks_only: bool,
}

impl Tracing {
    /// The settings that they make.
    pub fn settings(&self) -> Settings {
        Settings {
            hook: self.hook,
            ring_bytes: self.ring_buffer * 1024,
            max_checks: self.map_entries,
            max_processes: self.map_entries,
            checks_only: self.checks_only,
            ..Settings::default()
        }
    }
}

/// Does what takes time with signals taken, on this thread.
///
/// # Errors
///
/// The kernel refuses what that takes.
pub fn with_signals<F: Future>(work: impl FnOnce(Signals) -> F) -> io::Result<F::Output> {
    let signals = Signals::take()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(work(signals)))
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

/// How capaudit ends if nothing can be observed, for which the reason was told already; tells what to do.
pub fn of_observation(error: &ObservationError) -> Exit {
    match error {
        ObservationError::Probe(error) => of_probe(error),
        ObservationError::System { .. } => Exit::CannotTrace,
    }
}

/// The same if what runs already cannot be observed.
pub fn of_attach(error: &AttachError) -> Exit {
    match error {
        AttachError::Probe(error) => of_probe(error),
        AttachError::Blind => see_doctor(),
        AttachError::Target(_) => Exit::Usage,
    }
}

fn of_probe(error: &ProbeError) -> Exit {
    if !is_out_of_memory(error) {
        return see_doctor();
    }
    complain(
        "there is too little memory (a cgroup's limit, maybe): it takes less with a smaller --ring-buffer and fewer --map-entries",
    );
    Exit::CannotTrace
}

fn see_doctor() -> Exit {
    complain("`capaudit doctor` tells what is missing and how to mend it");
    Exit::CannotTrace
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
