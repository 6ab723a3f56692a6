//! The `capaudit` command: its subcommands, and what several of the other crates are needed for: proofs by running
//! again ([`verify`]), every container for days ([`daemon`]), checks live ([`watch`]), files on disk ([`storage`]).
//!
//! This crate never decides what a check means (that is `capaudit-core`'s) and never reads the kernel itself (that is
//! `capaudit-tracer`'s).
//!
//! Begin to read with [`cli`]: one file a subcommand.

pub mod cli;
#[cfg(feature = "daemon")]
pub mod daemon;
pub mod live;
pub mod storage;
pub mod verify;
pub mod watch;
