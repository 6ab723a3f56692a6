//! The life of a compose project: its containers start on empty volumes, are tested, stop, start again, and are made anew.
//!
//! This crate never knows what a capability is: it drives an engine by its client's commands, and says whether everything
//! went as it should, and if not, in which phase and by whose fault. Nor does it decide which life is led: that is in a
//! [`Plan`].
//!
//! Begin to read with [`live`]. `engine` asks and orders; `state` is what the engine says of containers; `ready` waits until a
//! phase has begun; `expect` remembers what a life looked like when nothing was wrong, and finds what is different now;
//! `guard` removes what is left if all of that is killed.

mod engine;
mod expect;
mod guard;
pub mod image;
mod live;
mod plan;
mod ready;
mod state;
mod test;

pub use expect::{Expected, Service};
pub use guard::{Guard, keep};
pub use live::{Failure, LifeError, live};
pub use plan::{Plan, Test};
pub use state::Image;
