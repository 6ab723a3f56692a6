//! What a path that a program gave says of processes, looked for in [`PATH`].
//!
//! Functions that the verifier looks at once by themselves: see [`crate::trail`].

use crate::{
    kernel::{self, packed},
    maps::{PATH, PATH_LEN, WALK, Walk},
};

/// Most digits of a pid, and more.
const DIGITS: u64 = 10;

/// What [`find_link`] found: a link of the process of this number.
pub const NUMBER: u64 = 1 << 32;
/// The number is of a directory that is called `proc`: it is a process's, if not one of the caller's own pid namespace.
pub const BELOW_PROC: u64 = 1 << 33;
/// The directory that the path begins in is the process's, or with [`NUMBER`] that of all processes, if it is one of procfs.
pub const OF_DIRECTORY: u64 = 1 << 34;

/// 1 if the path in [`PATH`] may lead through a link of a process's directory: it has a name that is a number, or begins with
/// what may be such a link. Hardly any does. Eight bytes at a time, as this is asked of every path.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn may_have_link() -> u32 {
    let Some(path) = PATH.get(0) else {
        return 0;
    };
    let (mut digits, mut slashes) = (0_u64, 0_u64);
    for index in 0..PATH_LEN / 8 {
        // SAFETY: within the array.
        let word = unsafe { path.as_ptr().cast::<u64>().add(index).read_unaligned() };
        digits |= of_words(below(word ^ EACH * b'0' as u64, 10)) << (8 * index);
        slashes |= of_words(below(word ^ EACH * b'/' as u64, 1)) << (8 * index);
    }
    // A number's first digit carries through its digits to what stands behind it.
    let first = (slashes << 1 | 1) & digits;
    (digits.wrapping_add(first) & slashes != 0 || begins_with_link(path)).into()
}

/// Each byte 1.
const EACH: u64 = 0x0101_0101_0101_0101;

/// The highest bit of each byte of `word` that is below `least`, which is at most 128.
#[inline(always)]
fn below(word: u64, least: u64) -> u64 {
    let low = EACH * 0x7f;
    !(((word & low) + EACH * (128 - least)) | word) & EACH * 0x80
}

/// The highest bits of a word's bytes, one beside the other.
#[inline(always)]
fn of_words(bits: u64) -> u64 {
    (bits >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// Whether the path begins as those of such links do where they are relative to a process's directory.
#[inline(always)]
fn begins_with_link(path: &[u8; PATH_LEN]) -> bool {
    let start = u32::from_le_bytes([path[0], path[1], path[2], 0]);
    let three = |name: &[u8; 3]| start == u32::from_le_bytes([name[0], name[1], name[2], 0]);
    let mut is_link = three(b"exe") as u64;
    for name in [b"cwd", b"roo", b"fd/", b"ns/", b"map"] {
        is_link |= three(name) as u64;
    }
    kernel::opaque(is_link) != 0
}

/// The first link of a process's directory that the path in [`PATH`] goes through: `/proc/7/root/etc`, `7/task/8/fd/0`,
/// `/host/proc/7/ns/net`, `exe`; 0 if there is none, or `follows` is 0 and the path ends there. It goes through such a link only if the
/// directory is one of procfs, which is the caller's to find out unless it is called so.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn find_link(follows: u32) -> u64 {
    let (Some(path), Some(walk)) = (PATH.get(0), WALK.get_ptr_mut(0)) else {
        return 0;
    };
    let within = if path[0] == b'/' { 0 } else { OF_DIRECTORY };
    // SAFETY: a map value of this processor, which only a program that does not interrupt itself uses.
    unsafe {
        *walk = Walk {
            is_number: 1,
            within,
            ..Walk::default()
        };
    }
    for index in 0..PATH_LEN as u32 {
        let found = step(index, follows);
        if found != GO_ON {
            return found;
        }
    }
    0
}

/// The path's next letter is no end of it.
const GO_ON: u64 = 1 << 63;

/// One letter of the path; [`GO_ON`], or what [`find_link`] gives. A function by itself, so that the verifier looks once at what is done with
/// a letter, not once for each.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn step(index: u32, follows: u32) -> u64 {
    const LINKS: [u64; 3] = [packed(b"exe"), packed(b"cwd"), packed(b"root")];
    const DIRECTORIES: [u64; 3] = [packed(b"fd"), packed(b"ns"), packed(b"map_fil")];
    let (Some(path), Some(walk)) = (PATH.get(0), WALK.get_ptr_mut(0)) else {
        return 0;
    };
    // SAFETY: as in `find_link`.
    let walk = unsafe { &mut *walk };
    let byte = path[index as usize & (PATH_LEN - 1)];
    if byte != 0 && byte != b'/' {
        if walk.length < 7 {
            walk.name |= u64::from(byte) << (8 * (walk.length & 7));
        }
        let digit = byte.wrapping_sub(b'0');
        walk.is_number &= u64::from(digit < 10 && walk.length < DIGITS);
        walk.number = walk
            .number
            .wrapping_mul(10)
            .wrapping_add(u64::from(digit & 15));
        walk.length = walk.length.wrapping_add(1);
        return GO_ON;
    }
    let is_last = byte == 0;
    if walk.length == 0 {
        // Two slashes are one.
        return if is_last { 0 } else { GO_ON };
    }
    let name = walk.name;
    let is_link = walk.within != 0 && (walk.is_of_links != 0 || is_one(name, LINKS));
    if is_link && (!is_last || follows != 0) {
        return walk.within;
    }
    if is_last {
        return 0;
    }
    if walk.is_number != 0 {
        let of_directory = walk.within & OF_DIRECTORY;
        walk.within = NUMBER | walk.is_proc | of_directory | (walk.number & 0xffff_ffff);
        walk.is_of_links = 0;
    } else if walk.within != 0 && is_one(name, DIRECTORIES) && walk.is_of_links == 0 {
        walk.is_of_links = 1;
    } else if name != packed(b"task") && name != packed(b".") {
        walk.within = 0;
        walk.is_of_links = 0;
    }
    walk.is_proc = if name == packed(b"proc") {
        BELOW_PROC
    } else {
        0
    };
    walk.name = 0;
    walk.length = 0;
    walk.number = 0;
    walk.is_number = 1;
    GO_ON
}

/// Whether a name is one of these, without a branch for each.
#[inline(always)]
fn is_one(name: u64, names: [u64; 3]) -> bool {
    let mut found = 0;
    for other in names {
        found |= u64::from(name == other);
    }
    kernel::opaque(found) != 0
}
