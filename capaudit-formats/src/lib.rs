//! Files of those who grant capabilities.

pub mod check;
pub mod export;
pub mod manifest;
pub mod yaml;
