//! What a path that a program gave says of processes, looked for in [`PATH`].
//!
//! Functions that the verifier looks at once by themselves: see [`crate::trail`].

use crate::{
    kernel,
    maps::{PATH, PATH_LEN},
};

/// The directory of processes, as a path begins.
pub const PROC: &[u8; 6] = b"/proc/";
/// Most digits of a pid.
const DIGITS: usize = 10;

/// The number of the process or thread whose link the path in [`PATH`] goes through: `/proc/7/root/etc`, `/proc/7/task/8/fd/0`;
/// 0 if it goes through none, or `follows` is 0 and it ends there.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn number_of_link(follows: u32) -> u32 {
    const TASK: &[u8; 5] = b"task/";
    let Some(path) = PATH.get(0) else {
        return 0;
    };
    if !is(path, 0, PROC) {
        return 0;
    }
    let found = digits(PROC.len() as u32);
    let (mut number, mut end) = (found as u32, (found >> 32) as u32);
    if end != 0 && is(path, end, TASK) {
        let found = digits(end + TASK.len() as u32);
        (number, end) = (found as u32, (found >> 32) as u32);
    }
    if end == 0 || is_link(end, follows) == 0 {
        return 0;
    }
    number
}

/// A number in [`PATH`] with a slash behind it, and, shifted by 32, where that ends; 0 if there is none.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn digits(from: u32) -> u64 {
    let Some(path) = PATH.get(0) else {
        return 0;
    };
    let mut number: u32 = 0;
    let mut end = from;
    for _ in 0..DIGITS {
        let digit = byte(path, end);
        if !digit.is_ascii_digit() {
            break;
        }
        number = number
            .wrapping_mul(10)
            .wrapping_add(u32::from(digit - b'0'));
        end = end.wrapping_add(1);
    }
    if end == from || byte(path, end) != b'/' {
        return 0;
    }
    u64::from(end.wrapping_add(1)) << 32 | u64::from(number)
}

/// 1 if what the path in [`PATH`] goes on with is a link, and one that is followed: the last name of a path need not be.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn is_link(from: u32, follows: u32) -> u32 {
    let Some(path) = PATH.get(0) else {
        return 0;
    };
    let follows = follows != 0;
    let ends = |length: u32| match byte(path, from.wrapping_add(length)) {
        0 => follows,
        b'/' => true,
        _ => false,
    };
    u32::from(
        (is(path, from, b"exe") && ends(3))
            || (is(path, from, b"cwd") && ends(3))
            || (is(path, from, b"root") && ends(4))
            || (follows && (is(path, from, b"fd/") || is(path, from, b"ns/")))
            || is(path, from, b"map_files/"),
    )
}

#[inline(always)]
fn is<const N: usize>(path: &[u8; PATH_LEN], from: u32, word: &[u8; N]) -> bool {
    let mut differences = 0;
    for (index, letter) in word.iter().enumerate() {
        let difference = byte(path, from.wrapping_add(index as u32)) ^ letter;
        differences = kernel::opaque(differences | u64::from(difference));
    }
    differences == 0
}

#[inline(always)]
fn byte(path: &[u8; PATH_LEN], index: u32) -> u8 {
    path[index as usize & (PATH_LEN - 1)]
}
