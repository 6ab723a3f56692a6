//! capaudit's own chores: `cargo xtask setup`, `test`, `lint`, `corpus`, …
//!
//! This crate never is part of what users run, and leaves every rule about capabilities to `capaudit-core`. Begin to
//! read with `project`, which says where everything lies, then with the chore of interest: each has a module.

mod architecture;
mod bench;
mod bpf;
mod capability;
mod command;
mod corpus;
mod dist;
mod docker;
mod fuzz;
mod grantable;
mod images;
mod kernels;
mod lint;
mod operations;
mod picture;
mod project;
mod scenario;
mod setup;
mod sites;
mod strip;
mod table;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What is done to capaudit rather than with it
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    Setup(setup::Args),
    Bpf(bpf::Args),
    Dist(dist::Args),
    Docker(docker::Args),
    Images(images::Args),
    Test(test::Args),
    Lint(lint::Args),
    Fuzz(fuzz::Args),
    Corpus(corpus::Args),
    Verify(corpus::verified::Args),
    Kernels(kernels::Args),
    Operations(operations::Args),
    Picture(picture::Args),
    Sites(sites::Args),
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().chore {
        Chore::Setup(args) => setup::run(&args).map(success),
        Chore::Bpf(args) => bpf::run(&args).map(success),
        Chore::Dist(args) => dist::run(&args).map(success),
        Chore::Docker(args) => docker::run(&args).map(success),
        Chore::Images(args) => images::run(&args).map(success),
        Chore::Test(args) => test::run(&args),
        Chore::Lint(args) => lint::run(&args).map(success),
        Chore::Fuzz(args) => fuzz::run(&args).map(success),
        Chore::Corpus(args) => corpus::run(&args).map(success),
        Chore::Verify(args) => corpus::verified::run(&args).map(success),
        Chore::Bench(args) => bench::run(&args).map(success),
        Chore::Kernels(args) => kernels::run(args).map(success),
        Chore::Operations(args) => operations::run(&args),
        Chore::Picture(args) => picture::run(&args).map(success),
        Chore::Sites(args) => sites::run(&args).map(success),
    };
    match done {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn success((): ()) -> ExitCode {
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
