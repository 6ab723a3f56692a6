//! What a word means that somebody has found in a log, in /proc or in a configuration: mask, process, file or list.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use capaudit_core::capability::{CapSet, ParseCapSetError};
use thiserror::Error;

use crate::proc::{
    is_gone,
    status::{ParseStatusError, SetName, Status, mask},
};

/// What a word is read as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// A mask as the kernel writes it.
    Mask(CapSet),
    /// A process of this machine.
    Process(u32),
    /// capaudit's own process.
    Own,
    /// Text in the form of /proc/PID/status, in a file.
    File(PathBuf),
    /// The same from standard input.
    Input,
    /// Capabilities that were named one by one.
    List(CapSet),
}

/// How words are to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// Each by its form: a mask, a process id, names or a file.
    #[default]
    ByLook,
    /// All as masks, however few digits they have.
    Mask,
    /// All as process ids, however many digits they have.
    Process,
}

/// A word that means nothing here.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// There is nothing in it.
    #[error("an empty word is no set (for one without members, write 0x0)")]
    Empty,
    /// It is to be a mask.
    #[error("not a mask of 1 to 16 hex digits: {0:?}")]
    Mask(String),
    /// It is to be a process id.
    #[error("not a process id: {0:?}")]
    Process(String),
    /// It is a list with a member that is none.
    #[error(
        "{0}; a mask has 8 digits or more, a letter, or 0x in front; a file has a / in its name"
    )]
    List(#[from] ParseCapSetError),
    /// The process is gone.
    #[error("there is no process {0} (for a mask of few digits, write 0x{0} or --mask {0})")]
    NoProcess(u32),
    /// The text cannot be read.
    #[error("cannot read {place}: {error}")]
    Read {
        /// What was to be read.
        place: String,
        /// What the kernel answered.
        error: io::Error,
    },
    /// A line of the text cannot be parsed.
    #[error("{place}: {error}")]
    Status {
        /// Path of the text, quoted, or what standard input is called.
        place: String,
        /// Line and reason.
        error: ParseStatusError,
    },
    /// The text has none of the five sets.
    #[error("{place} has no line like CapEff: in /proc/PID/status")]
    NoSets {
        /// Path of the text, quoted, or what standard input is called.
        place: String,
    },
}

/// Process ids have at most 7 digits (`PID_MAX_LIMIT`, include/linux/threads.h, is 4194304), so 8 or more are no id.
const MASK_DIGITS: usize = 8;

impl Word {
    /// Reads a word.
    ///
    /// By its look: `-` is standard input; `self` capaudit's own process; what has a `/` in it a file; what starts with
    /// `0x` a mask; hex digits a mask if they are 8 or more or have a letter among them (no capability's name is made of
    /// hex digits); other digits a process id; all else a list of names.
    ///
    /// # Errors
    ///
    /// It cannot be read that way.
    pub fn read(word: &str, reading: Reading) -> Result<Self, DecodeError> {
        if word.trim().is_empty() {
            return Err(DecodeError::Empty);
        }
        let prefixed = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
        let digits = prefixed.unwrap_or(word);
        let as_mask = || {
            mask(digits)
                .map(Self::Mask)
                .ok_or_else(|| DecodeError::Mask(word.to_owned()))
        };
        let as_process = || match word {
            "self" => Ok(Self::Own),
            _ if word.bytes().all(|byte| byte.is_ascii_digit()) => word
                .parse()
                .map(Self::Process)
                .map_err(|_error| DecodeError::Process(word.to_owned())),
            _ => Err(DecodeError::Process(word.to_owned())),
        };
        match reading {
            Reading::Mask => return as_mask(),
            Reading::Process => return as_process(),
            Reading::ByLook => {}
        }
        if word == "-" {
            return Ok(Self::Input);
        }
        if word == "self" {
            return Ok(Self::Own);
        }
        if word.contains('/') {
            return Ok(Self::File(word.into()));
        }
        let is_hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let has_letter = digits.bytes().any(|byte| byte.is_ascii_alphabetic());
        // A list may begin with a mask, too: 0x3,!CHOWN.
        if is_hex && (prefixed.is_some() || digits.len() >= MASK_DIGITS || has_letter) {
            return as_mask();
        }
        if is_hex {
            return as_process();
        }
        Ok(Self::List(word.parse()?))
    }
}

/// What a word turned out to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// The members of a mask.
    Mask(CapSet),
    /// The sets of a process or of a text like its status, each with its name; never empty.
    Status {
        /// Command name, if there is one: hostile.
        name: Option<String>,
        /// The sets that are there.
        sets: Vec<(SetName, CapSet)>,
    },
    /// The mask of a list.
    List(CapSet),
}

impl Word {
    /// Finds out what it holds; reads /proc, a file or standard input where it has to.
    ///
    /// # Errors
    ///
    /// There is no such process or file, or it has no capability lines.
    pub fn decode(&self) -> Result<Decoded, DecodeError> {
        Ok(match self {
            Self::Mask(set) => Decoded::Mask(*set),
            Self::List(set) => Decoded::List(*set),
            Self::Process(pid) => {
                status(Path::new(&format!("/proc/{pid}/status"))).map_err(|error| match error {
                    DecodeError::Read { error, .. } if is_gone(&error) => {
                        DecodeError::NoProcess(*pid)
                    }
                    other => other,
                })?
            }
            Self::Own => status(Path::new("/proc/self/status"))?,
            Self::File(path) => status(path)?,
            Self::Input => text("standard input".to_owned(), io::stdin())?,
        })
    }
}

/// More than any status has; what goes on beyond it is something else.
const LONGEST: u64 = 1 << 20;

fn status(path: &Path) -> Result<Decoded, DecodeError> {
    let place = format!("{path:?}");
    match std::fs::File::open(path) {
        Ok(file) => text(place, file),
        Err(error) => Err(DecodeError::Read { place, error }),
    }
}

fn text(place: String, from: impl io::Read) -> Result<Decoded, DecodeError> {
    let mut bytes = Vec::new();
    if let Err(error) = from.take(LONGEST).read_to_end(&mut bytes) {
        return Err(DecodeError::Read { place, error });
    }
    let status = match Status::parse(&String::from_utf8_lossy(&bytes)) {
        Ok(status) => status,
        Err(error) => return Err(DecodeError::Status { place, error }),
    };
    let sets: Vec<_> = status.sets().collect();
    if sets.is_empty() {
        return Err(DecodeError::NoSets { place });
    }
    Ok(Decoded::Status {
        name: status.name,
        sets,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use proptest::prelude::*;

    use super::*;

    fn read(word: &str) -> Word {
        Word::read(word, Reading::ByLook).unwrap()
    }

    fn mask_of(bits: u64) -> Word {
        Word::Mask(CapSet::from_bits(bits))
    }

    #[test]
    fn an_empty_word_is_refused() {
        for (word, reading) in [("", Reading::ByLook), (" ", Reading::Mask)] {
            let read = Word::read(word, reading);
            assert!(matches!(read, Err(DecodeError::Empty)), "{read:?}");
        }
    }

    #[test]
    fn every_word_has_one_meaning() {
        assert_eq!(read("0x5"), mask_of(5));
        assert_eq!(read("0X1f"), mask_of(0x1f));
        assert_eq!(read("00000000a80425fb"), mask_of(0xa804_25fb));
        assert_eq!(read("12345678"), mask_of(0x1234_5678));
        assert_eq!(read("3f"), mask_of(0x3f));
        assert_eq!(read("FB"), mask_of(0xfb));
        assert_eq!(read("4194304"), Word::Process(4_194_304));
        assert_eq!(read("0"), Word::Process(0));
        assert_eq!(read("self"), Word::Own);
        assert_eq!(read("-"), Word::Input);
        assert_eq!(read("/proc/1/status"), Word::File("/proc/1/status".into()));
        assert_eq!(read("./self"), Word::File("./self".into()));
        let list = Word::List("CHOWN,NET_RAW".parse().unwrap());
        for words in ["chown,net_raw", "CAP_NET_RAW CAP_CHOWN", "0x1,net_raw"] {
            assert_eq!(read(words), list, "{words}");
        }
        assert_eq!(read("all"), Word::List(CapSet::known()));
        assert_eq!(read("cap_5"), Word::List(CapSet::from_bits(0x20)));
        assert_eq!(read("5,0"), Word::List(CapSet::from_bits(0x21)));
    }

    #[test]
    fn a_reading_can_be_forced() {
        let forced = |word, reading| Word::read(word, reading).map_err(|error| error.to_string());
        assert_eq!(forced("21", Reading::Mask), Ok(mask_of(0x21)));
        assert_eq!(
            forced("12345678", Reading::Process),
            Ok(Word::Process(12_345_678))
        );
        assert_eq!(forced("self", Reading::Process), Ok(Word::Own));
        assert_eq!(
            forced("chown", Reading::Mask),
            Err("not a mask of 1 to 16 hex digits: \"chown\"".to_owned())
        );
        for word in ["", "+1", "-1", "0x1", "99999999999"] {
            assert!(forced(word, Reading::Process).is_err(), "{word}");
        }
    }

    #[test]
    fn what_means_nothing_is_told() {
        let message = |word| {
            Word::read(word, Reading::ByLook)
                .map_err(|error| error.to_string())
                .unwrap_err()
        };
        assert!(message("chwn").contains("did you mean CAP_CHOWN?"));
        assert!(message("0x").contains("not a mask"));
        assert!(message("11112222333344445").contains("16 hex digits"));
        assert!(message("!chown").contains("ALL,!NAME"));
    }

    #[test]
    fn no_capability_can_be_taken_for_a_mask() {
        for capability in capaudit_core::capability::Capability::KNOWN {
            for name in [capability.name(), capability.cap_name()] {
                assert_eq!(read(name), Word::List(capability.into()), "{name}");
            }
        }
    }

    #[test]
    fn processes_and_files_are_read() {
        let own = Word::Process(std::process::id()).decode().unwrap();
        let Decoded::Status { sets, .. } = &own else {
            panic!("{own:?}");
        };
        assert_eq!(sets.len(), 5);
        let message = |word: Word| word.decode().unwrap_err().to_string();
        assert!(message(Word::Process(4_194_305)).contains("no process 4194305"));
        assert!(message(Word::File("/no/such".into())).contains("\"/no/such\""));
        assert!(message(Word::File("/proc/version".into())).contains("CapEff:"));
        assert!(message(Word::File("/".into())).contains("cannot read"));
    }

    proptest! {
        #[test]
        fn any_word_is_survived(word in any::<String>()) {
            for reading in [Reading::ByLook, Reading::Mask, Reading::Process] {
                let _ = Word::read(&word, reading);
            }
        }

        #[test]
        fn masks_and_lists_are_each_others_reverse(bits in any::<u64>()) {
            let set = CapSet::from_bits(bits);
            prop_assert_eq!(read(&format!("{bits:016x}")), Word::Mask(set));
            prop_assert_eq!(read(&format!("{bits:#x}")), Word::Mask(set));
            // "none" for the empty one.
            prop_assert_eq!(read(&set.to_string()), Word::List(set));
        }
    }
}
