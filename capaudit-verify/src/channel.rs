//! How a capaudit that `verify` starts says why it failed: one JSON object on a pipe that it inherits.
//!
//! What it prints is for people, and mixed with what the command prints.

use std::{
    fmt,
    io::{self, PipeReader, PipeWriter, Read as _, Write as _},
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
};

use rustix::{
    fs::OFlags,
    io::{FdFlags, fcntl_getfd, fcntl_setfd},
};
use serde::{Deserialize, Serialize};

/// The option, before any subcommand, that has the number of the descriptor.
pub const OPTION: &str = "--failure-descriptor";
/// Bytes of an object at most: as many as a pipe takes without a reader (pipe(7)).
const LARGEST: u64 = 64 * 1024;
/// Characters of a text at most. Even if each of them is escaped, and takes six bytes, two texts fit into a pipe.
const LONGEST: usize = 4096;

/// Why a capaudit failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Its exit status, as documented for its subcommand.
    pub exit: i32,
    /// What went wrong, in one sentence without `capaudit:` before it.
    pub message: String,
    /// What to do about it, in a sentence of its own; `None` if there is no advice.
    pub hint: Option<String>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// The end of the capaudit that fails.
#[derive(Debug)]
pub struct Sender(PipeWriter);

impl Sender {
    /// The descriptor of this number, which was inherited. Commands that this process starts do not inherit it.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn inherited(number: RawFd) -> io::Result<Self> {
        // SAFETY: it is only asked for its flags, and a number that is no open descriptor's is an error.
        let flags = fcntl_getfd(unsafe { BorrowedFd::borrow_raw(number) })?;
        // SAFETY: whoever started this process gave it this descriptor for this purpose, and nothing else here knows of it.
        let pipe = PipeWriter::from(unsafe { OwnedFd::from_raw_fd(number) });
        fcntl_setfd(&pipe, flags | FdFlags::CLOEXEC)?;
        Ok(Self(pipe))
    }

    /// Says why. Nobody may be left to read it: that is no error.
    pub fn send(mut self, failed: Failed) {
        let cut = |text: String| -> String { text.chars().take(LONGEST).collect() };
        let failed = Failed {
            message: cut(failed.message),
            hint: failed.hint.map(cut),
            ..failed
        };
        if let Ok(json) = serde_json::to_vec(&failed) {
            let _ = self.0.write_all(&json);
        }
    }
}

/// The end of who wants to know.
#[derive(Debug)]
pub struct Receiver(PipeReader);

/// Makes a channel. The writer is for [`inherit`].
///
/// # Errors
///
/// The kernel refuses a pipe.
pub fn channel() -> io::Result<(PipeWriter, Receiver)> {
    let (reader, writer) = io::pipe()?;
    // A descendant could hold the other end open for ever.
    let flags = rustix::fs::fcntl_getfl(&reader)?;
    rustix::fs::fcntl_setfl(&reader, flags | OFlags::NONBLOCK)?;
    Ok((writer, Receiver(reader)))
}

/// Has the program that this process becomes inherit the descriptor. Makes one system call, so that it may be called
/// between fork and execve.
///
/// # Errors
///
/// The kernel refuses.
pub fn inherit(writer: &PipeWriter) -> io::Result<()> {
    Ok(fcntl_setfd(writer, FdFlags::empty())?)
}

/// Words that tell a capaudit, started by `words`, to use the channel.
pub fn with_option<T: From<String> + Clone>(words: &[T], writer: &PipeWriter) -> Vec<T> {
    let option = [OPTION.to_owned(), writer.as_raw_fd().to_string()].map(T::from);
    let (program, arguments) = words.split_at(words.len().min(1));
    [program, &option, arguments].concat()
}

impl Receiver {
    /// What was sent, once the sender has ended; `None` if that is nothing, or cannot be read.
    pub fn received(self) -> Option<Failed> {
        let mut json = Vec::new();
        let mut pipe = self.0.take(LARGEST);
        match pipe.read_to_end(&mut json) {
            // Nothing more for now: somebody still holds the other end.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => None,
            _ => serde_json::from_slice(&json).ok(),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::os::fd::IntoRawFd as _;

    use super::*;

    fn failed(message: &str, hint: Option<&str>) -> Failed {
        Failed {
            exit: 3,
            message: message.to_owned(),
            hint: hint.map(str::to_owned),
        }
    }

    fn sent(failed: Failed) -> Option<Failed> {
        let (writer, receiver) = channel().unwrap();
        inherit(&writer).unwrap();
        let sender = Sender::inherited(writer.into_raw_fd()).unwrap();
        sender.send(failed);
        receiver.received()
    }

    #[test]
    fn what_is_sent_is_received() {
        for one in [
            failed("cannot", None),
            failed("capaudit: \"\n\u{1b}[31m", Some("do\nthis")),
        ] {
            assert_eq!(sent(one.clone()), Some(one));
        }
    }

    #[test]
    fn the_longest_texts_fit_into_the_pipe() {
        let long = "\u{1}".repeat(100_000);
        let received = sent(failed(&long, Some(&long))).unwrap();
        assert_eq!(received.message.len(), LONGEST);
        assert_eq!(received.hint.map(|hint| hint.len()), Some(LONGEST));
    }

    #[test]
    fn what_is_no_object_is_nothing() {
        for text in [&b""[..], b"{", b"{}", b"capaudit: cannot", &[b' '; 60_000]] {
            let (mut writer, receiver) = channel().unwrap();
            writer.write_all(text).unwrap();
            drop(writer);
            assert_eq!(receiver.received(), None, "{text:?}");
        }
    }

    #[test]
    fn who_holds_the_other_end_open_is_not_waited_for() {
        let (mut writer, receiver) = channel().unwrap();
        let one = failed("cannot", None);
        writer
            .write_all(&serde_json::to_vec(&one).unwrap())
            .unwrap();
        assert_eq!(receiver.received(), Some(one));
    }

    #[test]
    fn it_is_inherited_once() {
        let (writer, _receiver) = channel().unwrap();
        let flags = |fd: &PipeWriter| fcntl_getfd(fd).unwrap();
        assert!(flags(&writer).contains(FdFlags::CLOEXEC));
        inherit(&writer).unwrap();
        assert!(!flags(&writer).contains(FdFlags::CLOEXEC));
        let sender = Sender::inherited(writer.into_raw_fd()).unwrap();
        assert!(flags(&sender.0).contains(FdFlags::CLOEXEC));
    }

    #[test]
    fn the_option_comes_before_the_subcommand() {
        let (writer, _receiver) = channel().unwrap();
        let words = ["capaudit", "run"].map(str::to_owned);
        let number = writer.as_raw_fd().to_string();
        assert_eq!(
            with_option(&words, &writer),
            ["capaudit", OPTION, number.as_str(), "run"]
        );
    }
}
