//! capaudit: finds the minimal set of Linux capabilities that a program needs, from what the kernel was
//! really asked while it ran.

pub mod capability;
pub mod probe;
