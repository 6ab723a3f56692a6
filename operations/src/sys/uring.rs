//! One request of io_uring, without the library.

use std::io;

use super::{call, errno, int, map};

/// A ring with eight entries, mapped by the kernel.
pub(crate) struct Ring {
    pub descriptor: i32,
    submissions: usize,
    completions: usize,
    entries: usize,
    offsets: [u32; 30],
}

impl Ring {
    /// Sets up a ring with these flags.
    ///
    /// # Errors
    ///
    /// Those of io_uring_setup(2) and mmap(2).
    pub(crate) fn new(flags: u32) -> io::Result<Self> {
        let mut parameters = [0_u32; 30];
        parameters[2] = flags;
        parameters[4] = 100;
        let descriptor = int(call!(SYS_io_uring_setup, 8, &mut parameters)?);
        let at = |offset: usize| {
            call!(SYS_mmap, 0, 4096, 3, libc::MAP_SHARED, descriptor, offset)
                .map(|address| usize::try_from(address).unwrap_or(0))
        };
        Ok(Self {
            descriptor,
            submissions: at(0)?,
            completions: at(0x800_0000)?,
            entries: at(0x1000_0000)?,
            offsets: parameters,
        })
    }

    fn word(base: usize, offset: u32) -> *mut u32 {
        (base + offset as usize) as *mut u32
    }

    /// Submits one entry (64 bytes as words) and waits for its result.
    ///
    /// # Errors
    ///
    /// Those of io_uring_enter(2), and that of the entry.
    pub(crate) fn submit(&self, entry: [u64; 8]) -> io::Result<i64> {
        // params: sq_off begins at word 10 (head, tail, ring_mask, ring_entries, flags, dropped, array), cq_off at
        // word 20 (head, tail, ring_mask, ring_entries, overflow, cqes): include/uapi/linux/io_uring.h, Linux 6.18.
        let array = Self::word(self.submissions, self.offsets[16]);
        let tail = Self::word(self.submissions, self.offsets[11]);
        // SAFETY: the kernel gave these offsets into mappings of a page each, which eight entries fit in, and nobody
        // else writes the submission side.
        unsafe {
            (self.entries as *mut [u64; 8]).write_volatile(entry);
            array.write_volatile(0);
            tail.write_volatile(1);
        }
        call!(SYS_io_uring_enter, self.descriptor, 1, 1, 3, 0, 0)?;
        let completion = Self::word(self.completions, self.offsets[25]).cast::<u64>();
        let completed = Self::word(self.completions, self.offsets[21]);
        // SAFETY: as above; the kernel has written the completion before it moved the tail.
        let (tail, result) =
            unsafe { (completed.read_volatile(), completion.add(1).read_volatile()) };
        if tail == 0 {
            return Err(errno(libc::EAGAIN));
        }
        let result = (result & 0xffff_ffff) as u32 as i32;
        if result < 0 {
            Err(errno(-result))
        } else {
            Ok(i64::from(result))
        }
    }
}

/// An entry: operation, descriptor, offset or second address, address, length, flags of the operation.
pub(crate) fn entry(
    operation: u8,
    descriptor: i32,
    offset: u64,
    address: u64,
    length: u32,
    flags: u32,
) -> [u64; 8] {
    let head = u64::from(operation) | u64::from(descriptor as u32) << 32;
    [
        head,
        offset,
        address,
        u64::from(length) | u64::from(flags) << 32,
        0,
        0,
        0,
        0,
    ]
}

/// Registers a buffer of this many bytes.
///
/// # Errors
///
/// Those of mmap(2) and io_uring_register(2).
pub(crate) fn register_buffer(ring: &Ring, length: usize) -> io::Result<i64> {
    let address = map(0, length, 3, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?;
    call!(
        SYS_io_uring_register,
        ring.descriptor,
        0,
        &[address, length],
        1
    )
}
