//! The memory that both ends of a connection have in common: two rings with their positions.
//!
//! ```text
//!            0   words of ring 0: bytes written, bytes read, the reader sleeps, the writer sleeps
//!          512   words of ring 1
//!         4096   the bytes of ring 0
//!  + capacity    the bytes of ring 1
//! ```
//!
//! A word is a `u64` of the machine, in 128 bytes of its own. All `unsafe` code of this path is in this file. What makes it
//! sound, though another process can write here at any time: there is never a reference to the bytes, they are only copied,
//! and whatever they are is a valid byte; words are atomic; and every offset is computed here, modulo the capacity,
//! whatever the words say.

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU64;

/// Bytes of each ring that a worker makes. Large enough that a segment of 2 MiB goes through with few naps of its reader and
/// writer, small enough that both rings of a few connections stay in the cache.
pub(crate) const RING_BYTES: usize = 1 << 20;

/// The smallest and the largest ring that is accepted: a page; and more than anybody needs, so that a wrong size does no harm.
const RING_BYTES_MIN: usize = 4096;
const RING_BYTES_MAX: usize = 64 << 20;

/// Where the bytes begin: the page of the words is before them.
const BYTES_AT: usize = 4096;

/// Words are as far apart that no two are ever in one cache line, nor in two that the processor fetches together.
const WORD_SPACING: usize = 128;
const RING_SPACING: usize = 4 * WORD_SPACING;

/// With these nobody can take pages away under somebody who reads them, which would end him with SIGBUS.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// What the words of a ring are.
#[derive(Clone, Copy)]
pub(crate) enum Word {
    /// Bytes written since the beginning.
    Written = 0,
    /// Bytes read since the beginning.
    Read = 1,
    /// Not 0: the reader wants to be woken when something is written.
    ReaderSleeps = 2,
    /// Not 0: the writer wants to be woken when there is room.
    WriterSleeps = 3,
}

/// Two rings, mapped.
#[derive(Debug)]
pub(crate) struct Memory {
    start: NonNull<u8>,
    capacity: usize,
}

// SAFETY: the mapping belongs to no thread, and all access to it is atomic or a copy of bytes; see the top of this file.
#[expect(unsafe_code, reason = "a pointer says nothing about threads")]
unsafe impl Send for Memory {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "a pointer says nothing about threads")]
unsafe impl Sync for Memory {}

impl Memory {
    /// Makes two empty rings of `capacity` bytes, a power of two, and a file to give to the other end.
    pub(crate) fn create(capacity: usize) -> io::Result<(Memory, OwnedFd)> {
        let file = memfd_create("darray-ring", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, len(capacity) as u64)?;
        fcntl_add_seals(&file, SEALS)?;
        Ok((Memory::map(&file, capacity)?, file))
    }

    /// Maps what the other end has made, if it is of a size that makes sense and will keep it.
    pub(crate) fn open(file: &OwnedFd) -> io::Result<Memory> {
        let refuse = |why: &str| io::Error::new(io::ErrorKind::InvalidData, format!("shared memory {why}"));
        let seals = fcntl_get_seals(file).map_err(|_| refuse("that is no memory file"))?;
        if !seals.contains(SEALS) {
            return Err(refuse("whose size can change"));
        }
        let size = usize::try_from(fstat(file)?.st_size).unwrap_or_default();
        let capacity = size.saturating_sub(BYTES_AT) / 2;
        let fits = capacity.is_power_of_two() && (RING_BYTES_MIN..=RING_BYTES_MAX).contains(&capacity);
        if !fits || size != len(capacity) {
            return Err(refuse(&format!("of {size} bytes")));
        }
        Memory::map(file, capacity)
    }

    fn map(file: impl AsFd, capacity: usize) -> io::Result<Memory> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the system chooses an address where nothing is. The file is as long and cannot shrink.
        #[expect(
            unsafe_code,
            reason = "mapping memory can replace what is mapped there; without an address it does not"
        )]
        let start = unsafe { mmap(ptr::null_mut(), len(capacity), access, MapFlags::SHARED, file, 0)? };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Memory { start, capacity })
    }

    /// Bytes of each ring.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// A word of ring 0 or 1.
    pub(crate) fn word(&self, ring: usize, word: Word) -> &AtomicU64 {
        let at = ring % 2 * RING_SPACING + word as usize * WORD_SPACING;
        // SAFETY: the offset is within the first page and a multiple of 8; the mapping lives as long as `self`; whoever
        // writes the word, here or in the other process, does so atomically or breaks his own connection.
        #[expect(unsafe_code, reason = "atomics at an address that the system chose")]
        unsafe {
            self.start.add(at).cast::<AtomicU64>().as_ref()
        }
    }

    /// Copies bytes into a ring from a position on.
    pub(crate) fn copy_in(&self, ring: usize, position: u64, bytes: &[u8]) {
        assert!(bytes.len() <= self.capacity, "more than a ring has room for");
        let (first, second) = bytes.split_at(bytes.len().min(self.capacity - self.offset(position)));
        for (part, offset) in [(first, self.offset(position)), (second, 0)] {
            // SAFETY: offset and length are within the ring (the assertion and the split); `part` is memory of this
            // process, so they do not overlap. See the top of this file for the other process.
            #[expect(unsafe_code, reason = "there can be no slice of memory that another process writes")]
            unsafe {
                ptr::copy_nonoverlapping(part.as_ptr(), self.bytes(ring, offset), part.len());
            }
        }
    }

    /// Copies bytes out of a ring from a position on.
    pub(crate) fn copy_out(&self, ring: usize, position: u64, into: &mut [u8]) {
        assert!(into.len() <= self.capacity, "more than a ring has");
        let border = into.len().min(self.capacity - self.offset(position));
        let (first, second) = into.split_at_mut(border);
        for (part, offset) in [(first, self.offset(position)), (second, 0)] {
            // SAFETY: as in `copy_in`.
            #[expect(unsafe_code, reason = "there can be no slice of memory that another process writes")]
            unsafe {
                ptr::copy_nonoverlapping(self.bytes(ring, offset), part.as_mut_ptr(), part.len());
            }
        }
    }

    /// Where a position is in its ring: the capacity is a power of two.
    fn offset(&self, position: u64) -> usize {
        position as usize & (self.capacity - 1)
    }

    fn bytes(&self, ring: usize, offset: usize) -> *mut u8 {
        // SAFETY: ring 0 or 1, and at most `capacity` bytes into it, are within the mapping.
        #[expect(unsafe_code, reason = "an address within the mapping")]
        unsafe {
            self.start.as_ptr().add(BYTES_AT + ring % 2 * self.capacity + offset)
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this address and length, and nothing refers to it any more.
        #[expect(unsafe_code, reason = "nobody else can know that nothing refers to it")]
        let _ = unsafe { munmap(self.start.as_ptr().cast(), len(self.capacity)) };
    }
}

fn len(capacity: usize) -> usize {
    BYTES_AT + 2 * capacity
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    const WORDS: [Word; 4] = [Word::Written, Word::Read, Word::ReaderSleeps, Word::WriterSleeps];

    #[test]
    fn both_ends_see_the_same_bytes_and_words_and_none_overlap() {
        let (one, file) = Memory::create(4096).unwrap();
        let other = Memory::open(&file).unwrap();
        assert_eq!(other.capacity(), 4096);
        for ring in [0, 1] {
            one.copy_in(ring, 0, &[7 + ring as u8; 4096]);
            WORDS.iter().for_each(|word| one.word(ring, *word).store(*word as u64 + 10, Ordering::Relaxed));
        }
        for ring in [0, 1] {
            let mut bytes = [0; 4096];
            other.copy_out(ring, 0, &mut bytes);
            assert_eq!(bytes, [7 + ring as u8; 4096]);
            let words = WORDS.map(|word| other.word(ring, word).load(Ordering::Relaxed));
            assert_eq!(words, [10, 11, 12, 13]);
        }
    }

    #[test]
    fn what_reaches_the_end_of_a_ring_goes_on_at_its_beginning() {
        let (memory, _) = Memory::create(4096).unwrap();
        memory.copy_in(1, 4095 + (u64::MAX - 4095), b"a");
        memory.copy_in(1, 4094, b"bcde");
        let (mut across, mut beginning) = ([0; 4], [0; 2]);
        memory.copy_out(1, 3 * 4096 - 2, &mut across);
        memory.copy_out(1, 0, &mut beginning);
        assert_eq!((&across, &beginning), (b"bcde", b"de"));
    }

    #[test]
    fn only_sealed_memory_of_a_sensible_size_is_taken() {
        let file = |size: usize, seals: SealFlags| {
            let file = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
            ftruncate(&file, size as u64).unwrap();
            fcntl_add_seals(&file, seals).unwrap();
            file
        };
        let refusal = |file: OwnedFd| Memory::open(&file).unwrap_err().to_string();
        assert!(Memory::open(&file(len(8192), SEALS)).is_ok());
        assert!(Memory::open(&file(len(8192), SEALS | SealFlags::WRITE)).is_err(), "nobody can write it");
        for seals in [SealFlags::empty(), SealFlags::SHRINK, SEALS - SealFlags::SHRINK, SEALS - SealFlags::GROW] {
            assert!(refusal(file(len(8192), seals)).contains("can change"), "{seals:?}");
        }
        for size in [0, 1, 4096, len(2048), len(8192) - 1, len(8192) + 1, len(12288), len(128 << 20)] {
            assert!(refusal(file(size, SEALS)).contains(&format!("{size} bytes")), "{size}");
        }
        let no_memory = std::fs::File::open("/dev/null").unwrap();
        assert!(refusal(no_memory.into()).contains("no memory file"));
    }
}
