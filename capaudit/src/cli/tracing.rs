//! Options of every subcommand that watches the kernel.

use std::io;

use super::{Exit, complain};
use crate::{
    launch::Signals,
    probe::{Hook, Settings},
    session::observation::{AttachError, ObservationError},
};

/// How the kernel is watched.
#[derive(Debug, clap::Args)]
pub struct Tracing {
    /// Use this hook, not the best that works: fexit, tp_btf or kprobe
    #[arg(long, value_name = "HOOK")]
    hook: Option<Hook>,

    /// Size of the buffer between kernel and capaudit, in KiB (a power of two)
    #[arg(long, value_name = "KIB", default_value_t = 8192, value_parser = ring_size)]
    ring_buffer: u32,
}

impl Tracing {
    /// The settings that they make.
    pub fn settings(&self) -> Settings {
        Settings {
            hook: self.hook,
            ring_bytes: self.ring_buffer * 1024,
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

/// How capaudit ends if nothing can be observed, for which the reason was told already; tells what to do.
pub fn of_observation(error: &ObservationError) -> Exit {
    match error {
        ObservationError::Probe(_) => see_doctor(),
        ObservationError::System { .. } => Exit::CannotTrace,
    }
}

/// The same if what runs already cannot be observed.
pub fn of_attach(error: &AttachError) -> Exit {
    match error {
        AttachError::Probe(_) => see_doctor(),
        AttachError::Target(_) => Exit::Usage,
    }
}

fn see_doctor() -> Exit {
    complain("`capaudit doctor` tells what is missing and how to mend it");
    Exit::CannotTrace
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
