//! The files of those who grant capabilities: what compose files, Kubernetes manifests and systemd units grant is read,
//! compared with what was used, and a recommendation is written in their formats.
//!
//! This crate never opens a file: text goes in and text comes out, and what a text refers to is asked of
//! [`manifest::Files`].
//!
//! Begin to read with [`export`] (what is written), or with [`manifest`] and [`check`] (what is read); both rest on
//! [`yaml`], which knows where in a file everything stands.

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

pub mod check;
pub mod export;
pub mod lock;
pub mod manifest;
pub mod yaml;
