//! The `capaudit` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    capaudit::cli::main()
}
