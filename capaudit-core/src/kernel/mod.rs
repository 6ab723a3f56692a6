//! Which functions of the kernel ask for a capability, and what a refusal does there.
//!
//! The facts are data, read from the sources of Linux 6.1, 6.12 and 7.2: `layers.txt` has the functions that pass a question
//! on, `sites/` those that ask. `cargo xtask sites` compares both with a kernel's sources.

mod effect;
mod layer;
mod site;

pub use effect::Effect;
pub use layer::{Layer, asker, function_name, layers};
pub use site::{Exercise, Question, Reported, Site, deciding, known_sites, sites};
