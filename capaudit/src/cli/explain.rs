//! `capaudit explain CAP…`

use capaudit_core::{
    capability::Capability,
    explain::{Kernel, list, page},
};
use capaudit_tracer::proc::kallsyms;

use super::{
    exit::Exit,
    failure::Failure,
    output::{Format, print, print_json, style, width},
};

/// Tell what capabilities allow, how dangerous each is in a container, what asks for it, and how to do without.
///
/// Without CAP, list all of them, a line each. The kernel functions that ask for a capability were read from the sources
/// of two kernels; which of them the running kernel has is looked up in its symbols. What really asked is told by `capaudit
/// run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  capaudit explain
  capaudit explain NET_ADMIN cap_sys_ptrace 21
  capaudit explain --format json SYS_ADMIN")]
pub(super) struct Arguments {
    /// How the result is shown
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Names in any case, with or without CAP_, or numbers
    #[arg(value_name = "CAP")]
    capabilities: Vec<Capability>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let kernel = running();
    let wanted = if arguments.capabilities.is_empty() {
        &Capability::KNOWN[..]
    } else {
        &arguments.capabilities
    };
    let explained = kernel.explain(wanted);
    match arguments.format {
        Format::Json => print_json(&explained),
        Format::Text if arguments.capabilities.is_empty() => {
            print(&list(&explained, width(), style()))
        }
        Format::Text => print(&page(&explained, style())),
    }?;
    Ok(Exit::Success)
}

fn running() -> Kernel {
    Kernel {
        release: rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned(),
        // Hidden ones are told as such.
        functions: kallsyms::names_of_running_kernel().unwrap_or_default(),
    }
}
