//! Linux capabilities as types: what they are called, what they allow, and how much each is worth to an attacker.
//!
//! [`Capability`] is one capability, [`CapSet`] a set of them. Both cover all 64 numbers the kernel's masks have room
//! for, not only those known here, because the audited kernel may be newer than this program.

mod asked;
mod brief;
mod default_sets;
mod file;
mod meaning;
mod name;
mod power;
mod set;

pub use asked::{Asked, Release, Source};
pub use default_sets::{DOCKER_DEFAULT, PODMAN_DEFAULT};
pub use file::{FileCapabilities, ParseFileCapabilitiesError};
pub use name::{Capability, ParseCapabilityError};
pub use power::cmp_power;
pub use set::{CapSet, Iter, ParseCapSetError};
