//! Buffers that are used again.
//!
//! Fresh memory is slow: the system clears each page when it is first touched, which takes longer than receiving or computing
//! what goes there. So a [`BufferPool`] keeps what is given back, and asks for large pages.

use crate::Buffer;
use crate::memory::{Memory, WORD};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Shorter buffers are not kept: the allocator does that itself.
const KEPT_BYTES_MIN: usize = 64 * 1024;

/// This part of the budget may lie idle.
const IDLE_PART: usize = 4;

/// Where buffers come from and go back to. Cheap to clone; all clones are one pool.
#[derive(Clone, Debug)]
pub struct BufferPool {
    shelves: Arc<Shelves>,
}

/// What a pooled buffer goes back to when it is dropped.
#[derive(Debug)]
pub(crate) struct Shelves {
    budget: usize,
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    /// Bytes of all buffers that are out.
    lent: usize,
    /// Bytes of those that are here.
    kept: usize,
    /// Those that are here, by the bytes they have room for. The one that came last is warmest.
    by_room: BTreeMap<usize, Vec<Memory>>,
}

impl BufferPool {
    /// A pool for a process that may use `budget` bytes for buffers: what is kept for later ends before lent and kept ones
    /// together are more, and is never more than a quarter.
    pub fn new(budget: u64) -> BufferPool {
        let budget = usize::try_from(budget).unwrap_or(usize::MAX);
        BufferPool { shelves: Arc::new(Shelves { budget, idle: Mutex::default() }) }
    }

    /// A buffer of `bytes` bytes that may hold anything: whoever takes it writes all of it.
    pub fn take(&self, bytes: usize) -> Buffer {
        if bytes < KEPT_BYTES_MIN {
            return Buffer::zeroed(bytes);
        }
        let room = bytes.next_multiple_of(WORD);
        let (kept, surplus) = self.shelves.lend(room);
        drop(surplus); // outside of the lock: giving memory back to the system takes a while
        Buffer::pooled(kept.unwrap_or_else(|| Memory::on_large_pages(room)), bytes, self.shelves.clone())
    }

    /// Bytes that are kept for later.
    pub fn kept_bytes(&self) -> u64 {
        self.shelves.lock().kept as u64
    }
}

impl Shelves {
    fn lock(&self) -> std::sync::MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner) // every change is complete before anything can panic
    }

    /// Takes note of a buffer that goes out, and gives one with that room if there is one, and what must go for a fresh one.
    fn lend(&self, room: usize) -> (Option<Memory>, Vec<Memory>) {
        let mut idle = self.lock();
        idle.lent += room;
        let kept = idle.remove(room);
        let mut surplus = Vec::new();
        while idle.lent + idle.kept > self.budget
            && let Some(largest) = idle.by_room.last_key_value().map(|(room, _)| *room)
        {
            surplus.extend(idle.remove(largest));
        }
        (kept, surplus)
    }

    /// Takes a buffer's memory back.
    pub(crate) fn take_back(&self, memory: Memory) {
        let bytes = memory.room();
        let mut idle = self.lock();
        idle.lent -= bytes;
        let fits = idle.kept + bytes <= self.budget / IDLE_PART && idle.lent + idle.kept + bytes <= self.budget;
        if fits {
            idle.kept += bytes;
            idle.by_room.entry(bytes).or_default().push(memory);
        } else {
            drop(idle);
            drop(memory);
        }
    }
}

impl Idle {
    fn remove(&mut self, room: usize) -> Option<Memory> {
        let shelf = self.by_room.get_mut(&room)?;
        let memory = shelf.pop();
        if shelf.is_empty() {
            self.by_room.remove(&room);
        }
        self.kept -= memory.as_ref().map_or(0, Memory::room);
        memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn what_is_given_back_is_given_out_again() {
        let pool = BufferPool::new(64 * MIB as u64);
        let mut first = pool.take(4 * MIB);
        assert!(first.as_bytes().iter().all(|byte| *byte == 0), "fresh memory is zero, on pages of any size");
        first.as_bytes_mut().fill(7);
        let address = first.as_bytes().as_ptr();
        drop(first);
        assert_eq!(pool.kept_bytes(), 4 * MIB as u64);
        let other = pool.take(2 * MIB);
        assert_ne!(other.as_bytes().as_ptr(), address, "another length");
        let again = pool.take(4 * MIB);
        assert_eq!((again.as_bytes().as_ptr(), again.as_bytes()[0], again.len()), (address, 7, 4 * MIB));
        assert_eq!(pool.kept_bytes(), 0);
    }

    #[test]
    fn lengths_that_are_no_whole_words_are_kept_too() {
        let pool = BufferPool::new(64 * MIB as u64);
        let first = pool.take(MIB + 3);
        assert_eq!(first.as_bytes().len(), MIB + 3);
        drop(first);
        assert_eq!(pool.take(MIB + 5).as_bytes().len(), MIB + 5, "as many words");
        assert_eq!(pool.kept_bytes(), MIB as u64 + 8);
    }

    #[test]
    fn no_more_than_a_quarter_lies_idle_and_all_together_stay_in_the_budget() {
        let pool = BufferPool::new(16 * MIB as u64);
        let buffers: Vec<Buffer> = (0..8).map(|_| pool.take(MIB)).collect();
        drop(buffers);
        assert_eq!(pool.kept_bytes(), 4 * MIB as u64);
        let large = pool.take(14 * MIB);
        assert_eq!(pool.kept_bytes(), 2 * MIB as u64, "what is kept makes way");
        drop(large);
        assert_eq!(pool.kept_bytes(), 2 * MIB as u64, "too large to lie idle");
    }

    #[test]
    fn a_copy_is_not_the_pools_and_short_ones_are_the_allocators() {
        let pool = BufferPool::new(16 * MIB as u64);
        let first = pool.take(MIB);
        let copy = first.clone();
        drop(copy);
        assert_eq!(pool.kept_bytes(), 0);
        drop(first);
        assert_eq!(pool.kept_bytes(), MIB as u64);
        drop(pool.take(100));
        assert_eq!(pool.kept_bytes(), MIB as u64);
    }

    #[test]
    fn many_threads_share_one() {
        let pool = BufferPool::new(64 * MIB as u64);
        std::thread::scope(|scope| {
            for n in 0..4_u8 {
                let pool = pool.clone();
                scope.spawn(move || {
                    for round in 0..50 {
                        let mut buffer = pool.take(MIB / 8 * (1 + usize::from(n + round) % 4));
                        buffer.as_bytes_mut().fill(n);
                        assert!(buffer.as_bytes().iter().all(|byte| *byte == n));
                    }
                });
            }
        });
        assert_eq!(pool.shelves.lock().lent, 0);
        assert!(pool.kept_bytes() <= 16 * MIB as u64);
    }
}
