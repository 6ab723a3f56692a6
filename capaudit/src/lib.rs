//! The `capaudit` command.

pub mod cli;
pub mod daemon;
pub mod storage;
pub mod verify;
pub mod watch;
