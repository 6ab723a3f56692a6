//! Ring buffer records, from bytes to types.

use capaudit_common::event::{Call, Check, Exec, Exit, Fork, Header, Result as CallResult, kind};

/// A record.
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
    /// A process ended.
    Exit(Exit),
    /// A system call that matters without any check.
    Call(Call),
}

/// Decodes one record; `None` if it is none that this version knows, or too short for its kind.
pub fn decode(bytes: &[u8]) -> Option<Event> {
    let header: Header = record(bytes)?;
    Some(match header.kind {
        kind::CHECK => Event::Check(Box::new(record(bytes)?)),
        kind::RESULT => Event::Result(record(bytes)?),
        kind::FORK => Event::Fork(record(bytes)?),
        kind::ADOPT => Event::Adopt(record(bytes)?),
        kind::EXEC => Event::Exec(Box::new(record(bytes)?)),
        kind::EXIT => Event::Exit(record(bytes)?),
        kind::CALL => Event::Call(record(bytes)?),
        _ => return None,
    })
}

/// Marks the types that may be read from a record's bytes.
///
/// # Safety
///
/// The type is `repr(C)` and every bit pattern is a value of it.
unsafe trait Record: Copy {}

macro_rules! records {
    ($($type:ty),*) => {
        // SAFETY: wire types of capaudit-common: integers and arrays of them only.
        $(unsafe impl Record for $type {})*
    };
}
records!(Header, Check, CallResult, Fork, Exec, Exit, Call);

fn record<T: Record>(bytes: &[u8]) -> Option<T> {
    if bytes.len() < size_of::<T>() {
        return None;
    }
    // SAFETY: there are enough bytes, read unaligned, and by the trait every pattern is a value.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_short_or_unknown_record_is_none() {
        assert!(decode(&[]).is_none());
        let mut bytes = vec![0; 32];
        bytes[16] = kind::EXIT as u8;
        assert!(decode(&bytes).is_none(), "an exit has 40 bytes");
        bytes.resize(40, 0);
        assert!(matches!(decode(&bytes), Some(Event::Exit(_))));
        bytes[16] = 99;
        assert!(decode(&bytes).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..1024)) {
            let _ = decode(&bytes);
        }
    }
}
