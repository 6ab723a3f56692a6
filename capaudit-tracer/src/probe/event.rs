//! Events: what a record of the ring buffer says.

use bytes::Bytes;
use capaudit_common::event::{Call, Check, Exec, Exit, Fork, Header, Result as CallResult, kind};

use super::wire::Wire;

/// What the kernel side tells of something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A check, at one of its first sightings.
    Check(Box<Check>),
    /// What the system call that made checks returned.
    Result(CallResult),
    /// A followed process forked, or (parent 0) a process is followed from now on.
    Fork(Fork),
    /// A process met in a namespace of interest is followed from now on.
    Adopt(Fork),
    /// A process runs another executable.
    Exec(Box<Exec>),
    /// A process ended: its last thread has exited.
    Exit(Exit),
    /// A system call that matters without any check.
    Call(Box<Call>),
}

impl Event {
    /// Decodes a record; `None` if it is none that this version knows, or has another length than its kind.
    pub fn decode(record: Bytes) -> Option<Self> {
        let header = Header::get(&mut record.as_ref()).ok()?;
        Some(match header.kind {
            kind::CHECK => Self::Check(Box::new(whole(record)?)),
            kind::RESULT => Self::Result(whole(record)?),
            kind::FORK => Self::Fork(whole(record)?),
            kind::ADOPT => Self::Adopt(whole(record)?),
            kind::EXEC => Self::Exec(Box::new(whole(record)?)),
            kind::EXIT => Self::Exit(whole(record)?),
            kind::CALL => Self::Call(Box::new(whole(record)?)),
            _ => return None,
        })
    }
}

/// The value that a record holds; `None` if the record is shorter or longer than it.
fn whole<T: Wire>(record: Bytes) -> Option<T> {
    if record.len() != size_of::<T>() {
        return None;
    }
    T::get(&mut record.as_ref()).ok()
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use proptest::prelude::*;

    use super::*;

    /// Every kind, and the length of its records.
    const KINDS: [(u32, usize); 7] = [
        (kind::CHECK, size_of::<Check>()),
        (kind::RESULT, size_of::<CallResult>()),
        (kind::FORK, size_of::<Fork>()),
        (kind::ADOPT, size_of::<Fork>()),
        (kind::EXEC, size_of::<Exec>()),
        (kind::EXIT, size_of::<Exit>()),
        (kind::CALL, size_of::<Call>()),
    ];

    fn kind_of(event: &Event) -> u32 {
        match event {
            Event::Check(check) => check.header.kind,
            Event::Result(result) => result.header.kind,
            Event::Fork(fork) | Event::Adopt(fork) => fork.header.kind,
            Event::Exec(exec) => exec.header.kind,
            Event::Exit(exit) => exit.header.kind,
            Event::Call(call) => call.header.kind,
        }
    }

    fn decode(kind: u32, mut bytes: Vec<u8>) -> Option<Event> {
        let place = offset_of!(Header, kind);
        if let Some(place) = bytes.get_mut(place..place + size_of::<u32>()) {
            place.copy_from_slice(&kind.to_ne_bytes());
        }
        Event::decode(bytes.into())
    }

    #[test]
    fn each_kind_has_one_length() {
        for (kind, length) in KINDS {
            let event = decode(kind, vec![0; length]);
            assert_eq!(event.as_ref().map(kind_of), Some(kind));
            for other in [0, 1, size_of::<Header>() - 1, length - 1, length + 1] {
                let event = decode(kind, vec![0; other]);
                assert!(event.is_none(), "kind {kind} with {other} bytes");
            }
        }
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        for kind in [0, 8, 99, u32::MAX] {
            assert!(decode(kind, vec![0; size_of::<Exec>()]).is_none());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(
            kind in 0u32..9,
            bytes in proptest::collection::vec(any::<u8>(), 0..1024),
        ) {
            let _ = Event::decode(bytes.clone().into());
            let length = bytes.len();
            let is_whole = KINDS.contains(&(kind, length));
            prop_assert_eq!(decode(kind, bytes).is_some(), is_whole);
        }
    }
}
