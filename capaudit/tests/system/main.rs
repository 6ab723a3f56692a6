//! Tests against the real kernel, real programs and a real container engine. They need root, and what
//! `cargo xtask setup --tests` installs; what is missing makes them fail, not pass.
//!
//! The binary is also the audited program, where a test needs one that does exactly one thing: `system payload
//! NAME ARG…`.

mod attach;
mod audit;
mod check;
mod command;
mod compose_patch;
mod container;
mod daemon;
mod enforcement;
mod exports;
mod faults;
mod harden;
mod live;
mod log;
mod mine;
mod mounts;
mod packaging;
mod payload;
mod podman;
mod privilege;
mod project;
mod runner;
mod secrets;
mod shop;
mod silent;
mod sites;
mod suites;
mod terminal;
mod tmux;
mod tools;
mod unasked;
mod verify;
mod watch;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if words.get(1).is_some_and(|word| word == "payload") {
        return payload::run(&words[2..]);
    }
    let mut arguments = Arguments::from_args();
    // One at a time: an audit sees every container that starts meanwhile where it cannot tell whose that is.
    arguments.test_threads = Some(arguments.test_threads.unwrap_or(1));
    let trials: Vec<Trial> = [
        command::trials(),
        sites::trials(),
        runner::trials(),
        log::trials(),
        secrets::trials(),
        attach::trials(),
        daemon::trials(),
        live::trials(),
        mine::trials(),
        privilege::trials(),
        container::trials(),
        enforcement::trials(),
        harden::trials(),
        suites::trials(),
        exports::trials(),
        podman::trials(),
        shop::trials(),
        verify::trials(),
        compose_patch::trials(),
        check::trials(),
        watch::trials(),
        tools::trials(),
        unasked::trials(),
        faults::trials(),
        packaging::trials(),
    ]
    .into_iter()
    .flatten()
    .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
