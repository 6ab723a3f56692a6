//! How a call site is recognized without walking the stack.

use crate::assert_size;

/// Return addresses by which a call site is recognized, at most.
pub const STEPS: usize = 12;

/// Where the return addresses of a call site lie on the stack, and what they are.
///
/// A function's frame has one size at one return address, so the addresses of one call path lie at the same distances from what
/// the hook hands to its program, wherever on the stack that is. Another path's differ at the place of the first
/// address that the two do not share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Trail {
    /// The addresses' low halves; then the first again.
    pub addresses: [u32; STEPS],
    /// Their distances in bytes, descending; then the first again.
    pub steps: [u16; STEPS],
    /// All of them lie within so many bytes.
    pub extent: u16,
    /// Always zero.
    pub reserved: u16,
}
assert_size!(Trail, 76);
