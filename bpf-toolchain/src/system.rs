//! The distribution's own Rust, such as Debian's `rustc-web`, `cargo-web` and `rust-web-src`.

use crate::compiler::Compiler;

/// The compiler in `/usr/bin`, or why it cannot be used.
pub(crate) fn compiler() -> Result<Compiler, String> {
    Compiler::examine("/usr/bin/cargo".into(), "/usr/bin/rustc".into())
}
