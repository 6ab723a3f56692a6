//! Bytes that were valid once: seeds with a few changes, of the kinds that fuzzers have found to matter.

use std::{fmt, ops::Deref, path::Path};

use proptest::{collection::vec, prelude::*};

/// Bytes that a mutated input has at most.
const LONGEST: usize = 1 << 15;
/// Most changes of one input.
const CHANGES: usize = 8;

/// Bytes that are shown as text, with escapes.
#[derive(Clone)]
pub(crate) struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// The files of a folder of `corpus`, and what else `more` gives.
#[expect(clippy::unwrap_used, reason = "without its seeds a target must fail")]
pub(crate) fn corpus(folder: &str) -> Vec<Bytes> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/hostile/corpus")
        .join(folder);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{folder:?} is empty");
    files
        .into_iter()
        .map(|file| Bytes(std::fs::read(file).unwrap()))
        .collect()
}

/// One of the seeds, changed in a few places; `words` are what the format gives a meaning to.
pub(crate) fn mutated(
    seeds: Vec<Bytes>,
    words: &'static [&'static str],
) -> impl Strategy<Value = Bytes> {
    let change = (any::<u8>(), any::<u32>(), any::<u32>());
    // Most inputs keep enough of their seed to be read.
    let changes = prop_oneof![
        3 => vec(change, 0..=2),
        1 => vec(change, 3..=CHANGES),
    ];
    (any::<u32>(), changes).prop_map(move |(seed, changes)| {
        let mut bytes = seeds[seed as usize % seeds.len()].0.clone();
        for (how, place, with) in changes {
            change_one(
                &mut bytes,
                &seeds,
                words,
                how,
                place as usize,
                with as usize,
            );
        }
        bytes.truncate(LONGEST);
        Bytes(bytes)
    })
}

fn change_one(
    bytes: &mut Vec<u8>,
    seeds: &[Bytes],
    words: &[&str],
    how: u8,
    place: usize,
    with: usize,
) {
    let at = place % (bytes.len() + 1);
    let length = 1 + with % 32;
    let end = (at + length).min(bytes.len());
    let word = if words.is_empty() {
        &[]
    } else {
        words[with % words.len()].as_bytes()
    };
    match how % 13 {
        0 if at < bytes.len() => bytes[at] ^= 1 << (with % 8),
        1 if at < bytes.len() => bytes[at] = with as u8,
        2 => bytes.insert(at, with as u8),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        5 | 6 => drop(bytes.splice(at..at, word.iter().copied())),
        7 => drop(bytes.splice(at..end, word.iter().copied())),
        // The rest is another seed's.
        8 => {
            let other = &seeds[with % seeds.len()];
            bytes.truncate(at);
            bytes.extend_from_slice(&other[(with / 7) % (other.len() + 1)..]);
        }
        9 => bytes.truncate(at),
        // Deep nesting, long runs.
        10 => {
            let part = if word.is_empty() || with.is_multiple_of(2) {
                bytes[at..(at + 1 + with % 3).min(bytes.len())].to_vec()
            } else {
                word.to_vec()
            };
            let count = 1 << (with / 64 % 12);
            drop(bytes.splice(at..at, part.repeat(count)));
        }
        // Numbers at their limits.
        11 if at + 4 <= bytes.len() => {
            const LIMITS: [u32; 8] = [0, 1, 0x7f, 0x80, 0xffff, 0x7fff_ffff, 0x8000_0000, u32::MAX];
            bytes[at..at + 4].copy_from_slice(&LIMITS[with % LIMITS.len()].to_le_bytes());
        }
        // Two lines change places.
        12 => {
            let mut lines: Vec<Vec<u8>> = bytes
                .split_inclusive(|b| *b == b'\n')
                .map(<[u8]>::to_vec)
                .collect();
            if lines.len() > 1 {
                let count = lines.len();
                lines.swap(place % count, with % count);
                *bytes = lines.concat();
            }
        }
        _ => {}
    }
}
