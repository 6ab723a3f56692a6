//! Records on their way from the ring buffer to the decoder.
//!
//! Each record is copied once, out of the kernel's memory into an arena of ours. From there on it is a slice of that: a batch
//! can be handed to another thread, or be kept, without copying it again, and an arena is used anew once nothing of it is left.

use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use bytes::{Bytes, BytesMut};

use super::{error::ProbeError, load::take};

/// Size of an arena: a hundred of the longest records.
const ARENA_BYTES: usize = 1 << 16;

/// Records in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct RecordBatch(Vec<Bytes>);

impl RecordBatch {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl IntoIterator for RecordBatch {
    type Item = Bytes;
    type IntoIter = std::vec::IntoIter<Bytes>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Takes records out of the ring buffer.
pub(super) struct RecordReader {
    ring: RingBuf<MapData>,
    arena: Arena,
}

impl RecordReader {
    /// The ring buffer of a loaded object.
    pub(super) fn of(bpf: &mut Ebpf) -> Result<Self, ProbeError> {
        Ok(Self {
            ring: RingBuf::try_from(take(bpf, "EVENTS")?)?,
            arena: Arena::default(),
        })
    }

    /// Takes records that are there by now, at most `most`.
    pub(super) fn read(&mut self, most: usize) -> RecordBatch {
        let mut batch = RecordBatch::default();
        while batch.len() < most
            && let Some(record) = self.ring.next()
        {
            batch.0.push(self.arena.copy(&record));
        }
        batch
    }

    /// Readable when there are records.
    pub(super) fn ring(&self) -> &RingBuf<MapData> {
        &self.ring
    }
}

/// Memory for records, of which each takes the next part.
#[derive(Debug, Default)]
struct Arena(BytesMut);

impl Arena {
    fn copy(&mut self, record: &[u8]) -> Bytes {
        if self.0.capacity() < record.len() {
            // Takes the old memory if no record in it is left.
            self.0.reserve(ARENA_BYTES.max(record.len()));
        }
        self.0.extend_from_slice(record);
        self.0.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_an_arena_lie_behind_each_other() {
        let mut arena = Arena::default();
        let records = [arena.copy(&[1; 48]), arena.copy(&[2; 616])];
        assert_eq!(records[0], [1; 48][..]);
        assert_eq!(records[1], [2; 616][..]);
        let next = records[0].as_ptr().wrapping_add(48);
        assert_eq!(records[1].as_ptr(), next, "copied once more");
    }

    #[test]
    fn an_arena_that_is_full_is_used_anew_when_nothing_of_it_is_left() {
        let mut arena = Arena::default();
        let first = arena.copy(&[0; ARENA_BYTES]);
        let kept = arena.copy(&[1; ARENA_BYTES]);
        assert_ne!(kept.as_ptr(), first.as_ptr());
        assert_eq!(first, [0; ARENA_BYTES][..]);
        drop(first);
        let place = kept.as_ptr();
        drop(kept);
        assert_eq!(arena.copy(&[2; 48]).as_ptr(), place);
    }

    #[test]
    fn a_batch_can_be_handed_to_another_thread() {
        let mut arena = Arena::default();
        let batch = RecordBatch(vec![arena.copy(&[7; 40])]);
        let decoding = std::thread::spawn(move || batch.into_iter().map(|record| record[0]).sum());
        assert_eq!(decoding.join().ok(), Some(7u8));
    }
}
