//! Input that comes from outside, as somebody hostile would write it: nothing may panic, take long or be lost, and nothing
//! that is shown may reach a terminal, a shell or a parser unescaped.
//!
//! Each target takes as many inputs as `PROPTEST_CASES` says, 256 without it; `cargo xtask fuzz` is the long run
//! (docs/results/fuzzing.md).

mod drive;
mod files;
mod kernel;
mod ledgers;
mod mutate;
mod outputs;
mod services;
mod socket;
mod text;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let targets = [
        files::targets(),
        kernel::targets(),
        socket::targets(),
        outputs::targets(),
    ];
    libtest_mimic::run(
        &Arguments::from_args(),
        targets.into_iter().flatten().collect(),
    )
    .exit_code()
}
