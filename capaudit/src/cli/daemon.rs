//! `capaudit daemon`

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use capaudit_daemon::{DaemonError, Plan, STATE};
use capaudit_live::SOCKET;

use super::{
    exit::Exit,
    failure::{Failure, note},
    tracing::{Tracing, duration},
};

/// Observe every container, for days: those that run and those that start.
///
/// Totals are saved every minute and at the end, and taken up again at the next start. `capaudit report --live` shows
/// them. Once everything is loaded, the daemon gives up all capabilities but BPF, SYS_PTRACE and DAC_READ_SEARCH.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  systemctl enable --now capaudit
  capaudit daemon --group adm --metrics 127.0.0.1:9477
  capaudit report --live

Exit status: 0 after SIGTERM or SIGINT; 2 if an option or the totals of before cannot be used;
3 if tracing is not possible here (see `capaudit doctor`).")]
pub(super) struct Arguments {
    /// Listen at this socket
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    socket: PathBuf,

    /// Let members of this group ask, too
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,

    /// Keep totals in this directory
    #[arg(long, value_name = "DIR", default_value = STATE)]
    state: PathBuf,

    /// Save totals this often
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    save_every: Duration,

    /// Serve metrics for Prometheus at this address, which has to be on loopback
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = loopback)]
    metrics: Option<SocketAddr>,

    #[command(flatten)]
    tracing: Tracing,
}

pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let plan = Plan {
        settings: arguments.tracing.settings(),
        socket: arguments.socket,
        group: arguments.group,
        state: arguments.state,
        save_every: arguments.save_every,
        metrics: arguments.metrics,
    };
    capaudit_daemon::run(&plan, &|text| note(text))?;
    Ok(Exit::Success)
}

impl From<DaemonError> for Failure {
    fn from(error: DaemonError) -> Self {
        match error {
            // Its text is its source's.
            DaemonError::Audit(error) => error.into(),
            DaemonError::Load(_) | DaemonError::Elsewhere(..) | DaemonError::System { .. } => {
                Self::usage(error)
            }
        }
    }
}

/// An address that only this machine can reach.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_error| format!("{text:?} is no address and port: write 127.0.0.1:9477"))?;
    if !address.ip().is_loopback() {
        return Err(format!(
            "{address} is not on loopback, and what containers do is nobody else's business: write 127.0.0.1:{}",
            address.port()
        ));
    }
    Ok(address)
}
