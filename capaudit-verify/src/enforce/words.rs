//! Command lines in the manner of pflag (docker, podman) and of docopt (docker-compose): options that take a
//! value or none, long and short, up to the first word that is none.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
};

use capaudit_core::{client_options::is_in, text::sanitize};

/// Why a command line is not understood, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotUnderstood(String);

impl NotUnderstood {
    /// Keeps a sentence that says what is not understood.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

/// An option, or several short ones in one word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Without dashes: one, or each of a group such as `-it`.
    pub names: Vec<String>,
    /// Value of the last one, if it has one.
    pub value: Option<OsString>,
    /// As it was written.
    pub words: Vec<OsString>,
}

impl Word {
    /// For an option that takes no value: whether it switches something on (`--rm`, `--rm=true`).
    pub(super) fn is_on(&self) -> bool {
        let off: [&[u8]; 6] = [b"false", b"False", b"FALSE", b"f", b"F", b"0"];
        self.value
            .as_ref()
            .is_none_or(|value| !off.contains(&value.as_bytes()))
    }
}

#[derive(Debug)]
pub(super) struct Words<'a> {
    words: &'a [OsString],
    at: usize,
    flags: &'static str,
    values: &'static str,
    over: bool,
}

impl<'a> Words<'a> {
    /// Options after the program's name; `flags` and `values` list those that take none and those that do, without
    /// dashes.
    pub(super) fn new(command: &'a [OsString], flags: &'static str, values: &'static str) -> Self {
        Self {
            at: 1.min(command.len()),
            ..Self::from_first(command, flags, values)
        }
    }

    /// Options from the first word on.
    pub(super) fn from_first(
        words: &'a [OsString],
        flags: &'static str,
        values: &'static str,
    ) -> Self {
        Self {
            words,
            at: 0,
            flags,
            values,
            over: false,
        }
    }

    /// Index of the next word.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The next option; `None` at the first word that is none, or behind `--`.
    ///
    /// # Errors
    ///
    /// An option is not known, so it cannot be told whether the next word is its value; or its value is missing.
    pub(super) fn next_option(&mut self) -> Result<Option<Word>, NotUnderstood> {
        let Some(word) = self.words.get(self.at).filter(|_word| !self.over) else {
            return Ok(None);
        };
        let bytes = word.as_bytes();
        if bytes == b"--" {
            self.at += 1;
            self.over = true;
            return Ok(None);
        }
        let found = if let Some(long) = bytes.strip_prefix(b"--") {
            self.long(word, long)?
        } else if bytes.len() > 1 && bytes[0] == b'-' {
            self.short(word, &bytes[1..])?
        } else {
            return Ok(None);
        };
        self.at += found.words.len();
        Ok(Some(found))
    }

    fn long(&self, word: &OsString, text: &[u8]) -> Result<Word, NotUnderstood> {
        let (name, value) = match text.iter().position(|byte| *byte == b'=') {
            Some(at) => (&text[..at], Some(OsStr::from_bytes(&text[at + 1..]))),
            None => (text, None),
        };
        let name = String::from_utf8_lossy(name).into_owned();
        let mut found = Word {
            value: value.map(OsStr::to_owned),
            words: vec![word.clone()],
            names: vec![name.clone()],
        };
        if value.is_none() && !is_in(self.flags, &name) {
            if !is_in(self.values, &name) {
                return Err(NotUnderstood(format!(
                    "it is not known whether --{} takes a value: write it as --{0}=VALUE",
                    sanitize(&name)
                )));
            }
            self.add_next(&mut found)?;
        }
        Ok(found)
    }

    fn short(&self, word: &OsString, text: &[u8]) -> Result<Word, NotUnderstood> {
        let mut found = Word {
            names: Vec::new(),
            value: None,
            words: vec![word.clone()],
        };
        let mut left = text;
        while let Some((letter, rest)) = left.split_first() {
            let name = char::from(*letter).to_string();
            left = rest;
            if is_in(self.values, &name) {
                found.names.push(name);
                if rest.is_empty() {
                    self.add_next(&mut found)?;
                } else {
                    let value = rest.strip_prefix(b"=").unwrap_or(rest);
                    found.value = Some(OsStr::from_bytes(value).to_owned());
                }
                return Ok(found);
            }
            if !is_in(self.flags, &name) {
                return Err(NotUnderstood(format!(
                    "option -{} is not known",
                    sanitize(&name)
                )));
            }
            found.names.push(name);
            if let Some(value) = rest.strip_prefix(b"=") {
                found.value = Some(OsStr::from_bytes(value).to_owned());
                return Ok(found);
            }
        }
        Ok(found)
    }

    fn add_next(&self, option: &mut Word) -> Result<(), NotUnderstood> {
        let Some(value) = self.words.get(self.at + 1) else {
            return Err(NotUnderstood(format!(
                "{} lacks its value",
                sanitize(&option.words[0].to_string_lossy())
            )));
        };
        option.value = Some(value.clone());
        option.words.push(value.clone());
        Ok(())
    }
}
