//! The `capaudit` command: its subcommands, each of which reads arguments, has another crate do the work, and shows the
//! result.
//!
//! This crate never decides what a check means (that is `capaudit-core`'s) and never reads the kernel itself (that is
//! `capaudit-tracer`'s).
//!
//! Begin to read with [`cli`]: one file a subcommand.

pub mod cli;
