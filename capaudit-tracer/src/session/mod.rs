//! From the kernel's records and totals to a ledger.
//!
//! [`Collector`] takes records as they come and totals when executions end; at the end it has every
//! fact under the subject and executable that it belongs to, and nothing depends on pids or numbers
//! of executions any more. [`observation`] feeds it, from start to end.

mod account;
pub mod audit;
pub mod check_event;
mod clock;
mod collector;
mod contact;
mod deputy;
mod describe;
pub mod driver;
mod enrich;
mod error;
mod facts;
mod join;
mod lookup;
mod lost;
mod missed;
mod naming;
pub mod observation;
mod placement;
pub mod signals;
#[cfg(test)]
mod tests;

pub use self::{
    clock::{Timer, milliseconds_since},
    collector::Collector,
    error::{AttachError, AuditError, ObservationError},
};
