//! The wire types that capaudit's BPF programs and its user side share.
//!
//! Everything here is `repr(C)`, has no implicit padding and an asserted size, so that both sides,
//! compiled by different compilers for different targets, agree byte for byte.
//!
//! This crate never says what a record means (that is the user side's), and uses neither the standard library nor aya.
//!
//! Begin to read with [`event`] (the records), then [`key`] (what is counted).
#![no_std]

pub mod event;
pub mod key;
pub mod offset;
pub mod scope;
pub mod syscall;
pub mod trail;
#[cfg(feature = "user")]
mod user;

/// Fails to compile when a wire type's size is not the sum of what is written down for it.
macro_rules! assert_size {
    ($type:ty, $size:expr) => {
        const _: () = assert!(core::mem::size_of::<$type>() == $size);
        const _: () = assert!(core::mem::align_of::<$type>() <= 8);
    };
}
pub(crate) use assert_size;
