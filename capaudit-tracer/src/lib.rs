//! Everything that touches Linux.

pub mod inspect;
pub mod launch;
pub mod privilege;
pub mod probe;
pub mod session;
pub mod subject;
