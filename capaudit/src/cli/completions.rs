//! `capaudit completions SHELL`

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{exit::Exit, failure::Failure, output::print};

/// Write a script that has a shell complete capaudit's subcommands and options.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  capaudit completions bash > /etc/bash_completion.d/capaudit
  capaudit completions zsh > /usr/local/share/zsh/site-functions/_capaudit
  capaudit completions fish > ~/.config/fish/completions/capaudit.fish")]
pub(super) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut super::Arguments::command(),
        "capaudit",
        &mut script,
    );
    print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Success)
}
