//! A ring: bytes from one writer to one reader, in memory that both have.
//!
//! Each side keeps its own position to itself and shows it to the other. What the other shows is believed as far as it can be
//! true: at most a ring full of bytes is between the two. Who finds nothing to do says that he sleeps, **looks again**, and
//! then waits to be woken; who has done something looks whether the other sleeps. Both do it in this order with a fence in
//! between, so that at least one sees what the other did. Who wakes takes the sign away: one waking for each sleep.

use super::memory::{Memory, Word};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

/// A writer that sleeps is woken when the reader has made room of this part of the ring, so that it does not wake for every
/// few bytes.
const ROOM_PART: usize = 2;

/// The writing end.
#[derive(Debug)]
pub(crate) struct RingWriter {
    memory: Arc<Memory>,
    ring: usize,
    written: u64,
}

/// The reading end.
#[derive(Debug)]
pub(crate) struct RingReader {
    memory: Arc<Memory>,
    ring: usize,
    read: u64,
}

/// Bytes between two positions, of which one was said by the other side.
fn distance(written: u64, read: u64, capacity: usize) -> io::Result<usize> {
    match written.wrapping_sub(read) {
        distance if distance <= capacity as u64 => Ok(distance as usize),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the other side states an impossible position")),
    }
}

/// Whether somebody has said that he sleeps; takes the sign away. Comes after the store that he may wait for.
fn take_sign(memory: &Memory, ring: usize, sleeps: Word) -> bool {
    fence(Ordering::SeqCst);
    let sign = memory.word(ring, sleeps);
    sign.load(Ordering::Relaxed) != 0 && sign.swap(0, Ordering::Relaxed) != 0
}

/// Says that somebody sleeps. He has to look again afterwards.
fn give_sign(memory: &Memory, ring: usize, sleeps: Word) {
    memory.word(ring, sleeps).store(1, Ordering::Relaxed);
    fence(Ordering::SeqCst);
}

impl RingWriter {
    /// The writing end of an empty ring.
    pub(crate) fn new(memory: Arc<Memory>, ring: usize) -> RingWriter {
        RingWriter { memory, ring, written: 0 }
    }

    /// How many bytes there is room for.
    ///
    /// # Errors
    /// When the reader says that it has read what was never written.
    pub(crate) fn room(&self) -> io::Result<usize> {
        let read = self.memory.word(self.ring, Word::Read).load(Ordering::Acquire);
        Ok(self.memory.capacity() - distance(self.written, read, self.memory.capacity())?)
    }

    /// Puts bytes behind those that are there; there must be room. The reader sees them after [`RingWriter::publish`].
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.memory.copy_in(self.ring, self.written, bytes);
        self.written = self.written.wrapping_add(bytes.len() as u64);
    }

    /// Shows the reader what was written. Whether it has to be woken.
    #[must_use]
    pub(crate) fn publish(&mut self) -> bool {
        self.memory.word(self.ring, Word::Written).store(self.written, Ordering::Release);
        take_sign(&self.memory, self.ring, Word::ReaderSleeps)
    }

    /// Says that this side sleeps until there is room. Look again, then wait.
    pub(crate) fn fall_asleep(&self) {
        give_sign(&self.memory, self.ring, Word::WriterSleeps);
    }

    /// Says that it does not sleep any more.
    pub(crate) fn wake_up(&self) {
        self.memory.word(self.ring, Word::WriterSleeps).store(0, Ordering::Relaxed);
    }
}

impl RingReader {
    /// The reading end of an empty ring.
    pub(crate) fn new(memory: Arc<Memory>, ring: usize) -> RingReader {
        RingReader { memory, ring, read: 0 }
    }

    /// How many bytes can be read.
    ///
    /// # Errors
    /// When the writer says that it has written more than fits.
    pub(crate) fn available(&self) -> io::Result<usize> {
        let written = self.memory.word(self.ring, Word::Written).load(Ordering::Acquire);
        distance(written, self.read, self.memory.capacity())
    }

    /// Takes bytes; so many must be available. Whether the writer has to be woken.
    #[must_use]
    pub(crate) fn read(&mut self, into: &mut [u8]) -> bool {
        self.memory.copy_out(self.ring, self.read, into);
        self.read = self.read.wrapping_add(into.len() as u64);
        self.memory.word(self.ring, Word::Read).store(self.read, Ordering::Release);
        let written = self.memory.word(self.ring, Word::Written).load(Ordering::Relaxed);
        let has_room = written.wrapping_sub(self.read) <= (self.memory.capacity() / ROOM_PART) as u64;
        has_room && take_sign(&self.memory, self.ring, Word::WriterSleeps)
    }

    /// Says that this side sleeps until something is written. Look again, then wait.
    pub(crate) fn fall_asleep(&self) {
        give_sign(&self.memory, self.ring, Word::ReaderSleeps);
    }

    /// Says that it does not sleep any more.
    pub(crate) fn wake_up(&self) {
        self.memory.word(self.ring, Word::ReaderSleeps).store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const CAPACITY: usize = 4096;

    fn ring() -> (RingWriter, RingReader, Arc<Memory>) {
        let memory = Arc::new(Memory::create(CAPACITY).unwrap().0);
        (RingWriter::new(memory.clone(), 0), RingReader::new(memory.clone(), 0), memory)
    }

    #[test]
    fn bytes_come_out_in_order_and_the_counts_add_up() {
        let (mut writer, mut reader, _) = ring();
        assert_eq!((writer.room().unwrap(), reader.available().unwrap()), (CAPACITY, 0));
        writer.write(b"ab");
        writer.write(b"cde");
        assert_eq!(reader.available().unwrap(), 0, "not shown yet");
        assert!(!writer.publish(), "nobody sleeps");
        assert_eq!((writer.room().unwrap(), reader.available().unwrap()), (CAPACITY - 5, 5));
        let mut bytes = [0; 4];
        assert!(!reader.read(&mut bytes));
        assert_eq!((&bytes, writer.room().unwrap()), (b"abcd", CAPACITY - 1));
    }

    #[test]
    fn a_sleeping_reader_is_woken_once() {
        let (mut writer, reader, _) = ring();
        reader.fall_asleep();
        writer.write(b"a");
        assert!(writer.publish());
        writer.write(b"b");
        assert!(!writer.publish(), "the first waking is on its way");
        reader.fall_asleep();
        reader.wake_up();
        assert!(!writer.publish(), "it looked again and found something");
    }

    #[test]
    fn a_sleeping_writer_is_woken_when_half_of_the_ring_is_free() {
        let (mut writer, mut reader, _) = ring();
        writer.write(&[0; CAPACITY]);
        let _ = writer.publish();
        writer.fall_asleep();
        assert_eq!(writer.room().unwrap(), 0);
        assert!(!reader.read(&mut [0; CAPACITY / 2 - 1]));
        assert!(reader.read(&mut [0; 1]));
        assert!(!reader.read(&mut [0; 1]), "once");
    }

    #[test]
    fn impossible_positions_are_errors() {
        let (mut writer, mut reader, memory) = ring();
        for forged in [CAPACITY as u64 + 1, u64::MAX, 1 << 63] {
            memory.word(0, Word::Written).store(forged, Ordering::Relaxed);
            assert_eq!(reader.available().unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        writer.write(b"abc");
        let _ = writer.publish();
        let _ = reader.read(&mut [0; 3]);
        memory.word(0, Word::Written).store(2, Ordering::Relaxed);
        assert!(reader.available().is_err(), "back behind what was read");
        for forged in [4, 5000, 1 << 63] {
            memory.word(0, Word::Read).store(forged, Ordering::Relaxed);
            assert!(writer.room().is_err(), "{forged}");
        }
    }

    /// The positions wrap around at 2^64 without anybody noticing.
    #[test]
    fn positions_may_overflow() {
        let (mut writer, mut reader, memory) = ring();
        let near_the_end = u64::MAX - 1;
        (writer.written, reader.read) = (near_the_end, near_the_end);
        memory.word(0, Word::Written).store(near_the_end, Ordering::Relaxed);
        memory.word(0, Word::Read).store(near_the_end, Ordering::Relaxed);
        writer.write(b"abcd");
        let _ = writer.publish();
        assert_eq!((writer.room().unwrap(), reader.available().unwrap()), (CAPACITY - 4, 4));
        let mut bytes = [0; 4];
        let _ = reader.read(&mut bytes);
        assert_eq!((&bytes, writer.room().unwrap()), (b"abcd", CAPACITY));
    }

    #[test]
    fn two_threads_exchange_a_million_bytes_in_pieces_of_all_sizes() {
        const BYTES: u64 = 1_000_000;
        let byte = |position: u64| (array::random::bits(7, position / 8) >> (position % 8 * 8)) as u8;
        let (mut writer, mut reader, _) = ring();
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut at = 0;
                while at < BYTES {
                    let piece = (array::random::bits(1, at) % 700 + 1).min(BYTES - at);
                    let piece = (piece as usize).min(writer.room().unwrap());
                    let bytes: Vec<u8> = (at..at + piece as u64).map(byte).collect();
                    writer.write(&bytes);
                    let _ = writer.publish();
                    at += piece as u64;
                    if piece == 0 {
                        thread::yield_now();
                    }
                }
            });
            let mut at = 0;
            while at < BYTES {
                let piece = (array::random::bits(2, at) % 900 + 1) as usize;
                let mut bytes = vec![0; piece.min(reader.available().unwrap())];
                let _ = reader.read(&mut bytes);
                bytes.iter().enumerate().for_each(|(n, found)| assert_eq!(*found, byte(at + n as u64)));
                at += bytes.len() as u64;
                if bytes.is_empty() {
                    thread::yield_now();
                }
            }
        });
    }
}
