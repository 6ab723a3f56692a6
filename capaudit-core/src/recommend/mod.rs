//! The recommendation for each thing that can be configured.

#[cfg(any(test, feature = "samples"))]
pub mod sample;
pub mod workload;
