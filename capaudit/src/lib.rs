//! capaudit: finds the minimal set of Linux capabilities that a program needs, from what the kernel was
//! really asked while it ran.
//!
//! One event's way: [`probe`] (kernel to user space) -> [`subject`] (who did it) and [`session`] (totals) ->
//! [`ledger`] (facts, saved and merged) -> [`advise`] (what they mean) -> [`report`] and [`export`].
//!
//! Beside it, without any watching: [`inspect`] (what is held now) and [`explain`] (what is known of a capability).
//! [`manifest`] reads what files grant, [`check`] compares it with what was used; both rest on [`yaml`].

pub mod advise;
pub mod capability;
pub mod check;
pub mod cli;
pub mod daemon;
pub mod explain;
pub mod export;
pub mod inspect;
pub mod launch;
pub mod ledger;
pub mod manifest;
pub mod privilege;
pub mod probe;
pub mod report;
pub mod session;
pub mod subject;
pub mod verify;
pub mod watch;
pub mod yaml;
