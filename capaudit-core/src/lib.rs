//! What capability checks mean: the facts of an audit go in, and the least powerful set of capabilities that meets
//! every need comes out, with a reason for each.
//!
//! This crate never knows a kernel, a process, a socket, a file or a clock, so that it builds on any system and a saved
//! session can be judged again by better rules.
//!
//! Begin to read with [`ledger`] (the facts), then [`advise`] (the rules), [`recommend`] and [`report`] (the answer).

#![forbid(unsafe_code)]
// What `clippy.toml` lists reaches beyond arguments; tests read their samples.
#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        reason = "tests read their samples"
    )
)]

pub mod advise;
pub mod capability;
pub mod client_options;
pub mod explain;
pub mod kernel;
pub mod ledger;
pub mod recommend;
pub mod report;
pub mod text;
pub mod whose;
