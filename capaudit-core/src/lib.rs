//! What capability checks mean.

pub mod advise;
pub mod capability;
pub mod explain;
pub mod ledger;
pub mod recommend;
pub mod report;
pub mod text;
