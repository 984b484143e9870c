//! What the worker keeps: complete copies of segments, and room for those that are expected.
//!
//! A copy is immutable. It is handed out as an `Arc`, so whoever reads one is not disturbed when it is
//! dropped, and no byte is copied, received, checked or freed under the lock that the shell puts around the
//! store.
//!
//! # Memory
//! There is one budget, and at any time `used + reserved <= budget`:
//!
//! - *used* are the bytes of all complete copies, and of dropped ones that somebody still reads;
//! - *reserved* is room: of segments expected from writers ([`Store::reserve`]), and of segments that are
//!   being received, fetched or computed right now ([`Room`]). Whoever has a [`Room`] gives it back by
//!   [`Store::insert`] or [`Store::release`], not before its buffer is gone.
//!
//! What does not fit is refused with the sizes; nothing is ever evicted. A dropped copy that nobody reads
//! counts as free at once, though its pages go back to the system a moment later, when the shell drops
//! [`Store::take_trash`].
//!
//! # Writes
//! [`Store::reserve`] expects segments under a ticket. A writer shows it in [`Store::admit`] and gets a
//! [`Grant`], receives the bytes, and ends with [`Store::finish`] or [`Store::abandon`]. A reservation
//! outlives its write, without room, so that a repeated write is answered like the first; it ends when the
//! version or copy is dropped or the link to the master ends.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod pool;
mod segment;
#[cfg(test)]
mod tests;
mod write;

pub use pool::{Account, Pool};
pub use segment::Segment;
use write::Slot;
pub use write::{Admission, Grant, Write, check_length};

use crate::fence::Fence;
use protocol::message::worker::Heartbeat;
use protocol::size::format_size;
use protocol::{CopyId, CopyRecord, Digest, Epoch, ErrorCode, SegmentIndex, VersionId, WireError};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

/// Memory set aside for one buffer. Not given back by itself: see [`Store::insert`] and [`Store::release`].
#[derive(Debug)]
#[must_use = "room that is not given back is lost"]
pub struct Room {
    bytes: u64,
}

/// The copies of a worker. See the module's documentation.
#[derive(Debug)]
pub struct Store {
    budget: u64,
    copies: BTreeMap<CopyId, Arc<Segment>>,
    /// Bytes of `copies`.
    held: u64,
    digest: Digest,
    /// Dropped copies that were being read at that moment: they count until the last reader is done.
    retired: Vec<(Weak<Segment>, u64)>,
    /// Dropped copies on their way to be freed by the shell.
    trash: Vec<Arc<Segment>>,
    slots: BTreeMap<CopyId, Slot>,
    /// Bytes of the room in `slots`.
    expected: u64,
    /// Bytes of all [`Room`]s that are out.
    in_flight: u64,
    fence: Fence,
    /// Where its memory comes from, if it is not all its own.
    account: Option<Account>,
}

impl Store {
    /// An empty store that may use `budget` bytes.
    pub fn new(budget: u64) -> Store {
        Store {
            account: None,
            budget,
            copies: BTreeMap::new(),
            held: 0,
            digest: Digest::default(),
            retired: Vec::new(),
            trash: Vec::new(),
            slots: BTreeMap::new(),
            expected: 0,
            in_flight: 0,
            fence: Fence::default(),
        }
    }

    /// An empty store that may use `budget` bytes, as far as the pool of its account has them.
    pub fn sharing(budget: u64, account: Account) -> Store {
        Store { account: Some(account), ..Store::new(budget) }
    }

    // ---- memory

    /// The budget in bytes.
    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// Bytes of complete copies, and of dropped ones that are still read.
    pub fn used(&self) -> u64 {
        let read_still = self.retired.iter().filter(|(segment, _)| segment.strong_count() > 0);
        self.held + read_still.map(|(_, bytes)| bytes).sum::<u64>()
    }

    /// Bytes set aside for copies that are not complete.
    pub fn reserved(&self) -> u64 {
        self.expected + self.in_flight
    }

    /// Bytes that may still be reserved.
    pub fn free(&self) -> u64 {
        self.budget.saturating_sub(self.used() + self.reserved())
    }

    /// Sets memory aside for one buffer.
    ///
    /// # Errors
    /// `InsufficientMemory`, with the sizes.
    pub fn make_room(&mut self, bytes: u64) -> Result<Room, WireError> {
        self.check_fits(bytes)?;
        self.in_flight += bytes;
        Ok(Room { bytes })
    }

    /// Gives room back; its buffer must be gone.
    pub fn release(&mut self, room: Room) {
        self.in_flight -= room.bytes;
    }

    fn check_fits(&self, bytes: u64) -> Result<(), WireError> {
        let free = self.free();
        if bytes <= free {
            return match &self.account {
                Some(account) => account.try_set(self.used() + self.reserved() + bytes),
                None => Ok(()),
            };
        }
        let why = format!(
            "{} asked for, {} free of this worker's {} ({} in copies, {} reserved); delete arrays, add workers, \
             or give more --memory",
            format_size(bytes),
            format_size(free),
            format_size(self.budget),
            format_size(self.used()),
            format_size(self.reserved()),
        );
        Err(WireError::new(ErrorCode::InsufficientMemory, why))
    }

    // ---- copies

    /// The copy, if it is here.
    pub fn get(&self, copy: CopyId) -> Option<Arc<Segment>> {
        self.copies.get(&copy).cloned()
    }

    /// The copy.
    ///
    /// # Errors
    /// `NotHeld`.
    pub fn get_or_refuse(&self, copy: CopyId) -> Result<Arc<Segment>, WireError> {
        self.get(copy).ok_or_else(|| {
            let why = format!("this worker holds no copy of segment {} of version {}", copy.segment(), copy.version());
            WireError::new(ErrorCode::NotHeld, why).segments([copy.segment()])
        })
    }

    /// How many copies are here.
    pub fn copies(&self) -> usize {
        self.copies.len()
    }

    /// Every copy, in order.
    pub fn inventory(&self) -> Vec<CopyRecord> {
        self.copies.values().map(|segment| segment.record()).collect()
    }

    /// Fingerprint of the inventory.
    #[cfg(test)]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// A sign of life. `tasks` is how many segments are queued or being computed. What the pool of an account lacks counts as used:
    /// a master that took it for free would choose this worker again and again, and be refused each time.
    pub fn heartbeat(&self, tasks: u64) -> Heartbeat {
        let own = self.used() + self.reserved();
        let free = self.account.as_ref().map_or(self.free(), |account| {
            account.set(own); // what was given back since something was asked for
            account.pool_free().min(self.free())
        });
        Heartbeat {
            digest: self.digest,
            copies: self.copies.len() as u64,
            memory_used_bytes: self.budget - free,
            memory_idle_bytes: 0, // whoever keeps buffers for later knows
            tasks,
        }
    }

    /// Adds a complete copy in the room that was made for it, and gives back the copy that is here now: that
    /// one, or an equal one that was here before.
    ///
    /// # Errors
    /// `ChecksumMismatch` when a copy with other bytes is here; that one stays.
    ///
    /// # Panics
    /// If the room was made for another length.
    pub fn insert(&mut self, room: Room, segment: Segment) -> Result<Arc<Segment>, WireError> {
        let (record, id) = (segment.record(), segment.record().id());
        assert_eq!(room.bytes, record.bytes(), "the room of {id}");
        self.release(room);
        if let Some(held) = self.copies.get(&id).cloned() {
            self.trash.push(Arc::new(segment));
            return if held.record() == record { Ok(held) } else { Err(differs(held.record(), record.crc32c())) };
        }
        if let Some(slot) = self.slots.get_mut(&id) {
            // Whoever else was to write it has no need to: it came as a repair, or by a second connection.
            self.expected -= slot.room();
            slot.has_room = false;
        }
        self.held += record.bytes();
        self.digest.toggle(id, record.crc32c());
        let segment = Arc::new(segment);
        self.copies.insert(id, segment.clone());
        Ok(segment)
    }

    /// Takes a copy out whose bytes turned out to be broken. False if exactly this one is not here any more.
    pub fn remove_broken(&mut self, broken: &Arc<Segment>) -> bool {
        let id = broken.record().id();
        let is_here = self.copies.get(&id).is_some_and(|held| Arc::ptr_eq(held, broken));
        if is_here {
            self.remove(id);
        }
        is_here
    }

    /// Forgets a copy, and its reservation.
    pub fn drop_copy(&mut self, copy: CopyId) {
        self.remove(copy);
        self.remove_slot(copy);
    }

    /// Forgets every copy and reservation of a version, and its epochs.
    pub fn drop_version(&mut self, version: VersionId) {
        let all = CopyId(version, 0)..=CopyId(version, SegmentIndex::MAX);
        let copies: Vec<CopyId> = self.copies.range(all.clone()).map(|(id, _)| *id).collect();
        let slots: Vec<CopyId> = self.slots.range(all).map(|(id, _)| *id).collect();
        copies.into_iter().for_each(|id| self.remove(id));
        slots.into_iter().for_each(|id| self.remove_slot(id));
        self.fence.forget(version);
    }

    /// Forgets everything, epochs included: the worker leaves its cluster for another.
    pub fn clear(&mut self) {
        let copies: Vec<CopyId> = self.copies.keys().copied().collect();
        copies.into_iter().for_each(|id| self.remove(id));
        self.forget_reservations();
        self.fence = Fence::default();
    }

    fn remove(&mut self, id: CopyId) {
        let Some(segment) = self.copies.remove(&id) else {
            return;
        };
        self.held -= segment.record().bytes();
        self.digest.toggle(id, segment.record().crc32c());
        self.retired.retain(|(segment, _)| segment.strong_count() > 0);
        if Arc::strong_count(&segment) > 1 {
            self.retired.push((Arc::downgrade(&segment), segment.record().bytes()));
        }
        self.trash.push(segment);
    }

    /// What was dropped and not freed yet. Freeing gigabytes takes a while, so the caller does it outside the
    /// lock.
    pub fn take_trash(&mut self) -> Vec<Arc<Segment>> {
        std::mem::take(&mut self.trash)
    }

    // ---- epochs

    /// Takes note of a master's term; see [`Fence::admit_term`].
    ///
    /// # Errors
    /// `Fenced` if a later one has been heard.
    pub fn admit_term(&mut self, term: u64) -> Result<(), WireError> {
        self.fence.admit_term(term)
    }

    /// Takes note of the epoch of an instruction about one segment; see [`Fence::admit`].
    ///
    /// # Errors
    /// `Fenced` if a newer one has been seen.
    pub fn admit_epoch(&mut self, copy: CopyId, epoch: Option<Epoch>) -> Result<(), WireError> {
        let (copies, slots) = (&self.copies, &self.slots);
        self.fence.trim(copies.len() + slots.len(), |id| copies.contains_key(&id) || slots.contains_key(&id));
        self.fence.admit(copy, epoch)
    }

    /// Takes note of the epoch of an instruction about a whole version; see [`Fence::admit_version`].
    ///
    /// # Errors
    /// `Fenced` if something newer has been seen about any segment of it.
    pub fn admit_version_epoch(&mut self, version: VersionId, epoch: Option<Epoch>) -> Result<(), WireError> {
        self.fence.admit_version(version, epoch)
    }

    /// Counts everything anew and compares. For tests, after every step.
    ///
    /// # Panics
    /// If any of the running totals is wrong.
    pub fn check_invariants(&self) {
        assert_eq!(self.held, self.copies.values().map(|s| s.record().bytes()).sum::<u64>(), "bytes of copies");
        assert_eq!(self.expected, self.slots.values().map(Slot::room).sum::<u64>(), "room of expected segments");
        assert!(self.used() + self.reserved() <= self.budget, "{} + {} used", self.used(), self.reserved());
        let mut digest = Digest::default();
        self.copies.iter().for_each(|(id, s)| digest.toggle(*id, s.record().crc32c()));
        assert_eq!(self.digest, digest, "digest");
        for (id, slot) in &self.slots {
            assert!(!(slot.has_room && self.copies.contains_key(id)), "{id} is complete and has room");
        }
        assert!(self.copies.iter().all(|(id, segment)| *id == segment.record().id()));
    }
}

fn differs(held: CopyRecord, crc32c: u32) -> WireError {
    let why = format!(
        "segment {} of version {} is here with crc32c {} and {} bytes; crc32c {crc32c} is something else",
        held.1,
        held.0,
        held.crc32c(),
        held.bytes()
    );
    WireError::new(ErrorCode::ChecksumMismatch, why).segments([held.1])
}
