//! Expecting segments from writers: reservations, and writes from their admission to their end.

use super::{Room, Segment, Store, differs};
use array::{Buffer, DType};
use protocol::limits::PAYLOAD_BYTES_MAX;
use protocol::{CopyId, ErrorCode, SegmentIndex, VersionId, WireError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The right to write one segment, from [`Store::admit`]; ends in [`Store::finish`] or [`Store::abandon`].
#[derive(Debug)]
#[must_use = "a grant holds room until it is finished or abandoned"]
pub struct Grant {
    copy: CopyId,
    ticket: Arc<str>,
    dtype: DType,
    crc32c: u32,
    room: Room,
}

impl Grant {
    /// How many bytes to receive.
    #[cfg(test)]
    pub fn bytes(&self) -> u64 {
        self.room.bytes
    }
}

/// What somebody who wants to write a segment states.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// Which segment.
    pub copy: CopyId,
    /// From the write plan.
    pub ticket: &'a str,
    /// The type of the elements.
    pub dtype: DType,
    /// Length of the payload.
    pub bytes: u64,
    /// CRC-32C of the payload.
    pub crc32c: u32,
}

/// The answer to somebody who wants to write.
#[derive(Debug)]
pub enum Admission {
    /// Receive the bytes.
    Receive(Grant),
    /// These very bytes are here already; skip them.
    Held(Arc<Segment>),
}

/// A segment expected from a writer.
#[derive(Debug)]
pub(super) struct Slot {
    ticket: Arc<str>,
    dtype: DType,
    bytes: u64,
    /// Whether room is kept here. While a writer has it, and once the copy is complete, it is not.
    pub(super) has_room: bool,
}

impl Store {
    /// Keeps room for segments `[segment, bytes]` of a version, to be written by whoever shows the ticket.
    /// All or none. A segment that is expected already is expected anew; one that is here already needs no
    /// room.
    ///
    /// # Errors
    /// `Malformed` for a length that is not whole elements, `TooLarge` for one that no payload can have,
    /// `InsufficientMemory`.
    pub fn reserve(
        &mut self,
        version: VersionId,
        ticket: &str,
        dtype: DType,
        segments: &[(SegmentIndex, u64)],
    ) -> Result<(), WireError> {
        segments.iter().try_for_each(|&(segment, bytes)| check_length(segment, bytes, dtype))?;
        // One that is named twice counts once, with its last length.
        let wanted: BTreeMap<CopyId, u64> = segments.iter().map(|&(s, bytes)| (CopyId(version, s), bytes)).collect();
        let needed: u64 = wanted.iter().filter(|(id, _)| !self.copies.contains_key(id)).map(|(_, bytes)| bytes).sum();
        let reused: u64 = wanted.keys().filter_map(|id| self.slots.get(id)).map(Slot::room).sum();
        self.check_fits(needed.saturating_sub(reused))?;
        let ticket: Arc<str> = ticket.into();
        for (id, bytes) in wanted {
            self.remove_slot(id);
            let slot = Slot { ticket: ticket.clone(), dtype, bytes, has_room: !self.copies.contains_key(&id) };
            self.expected += slot.room();
            self.slots.insert(id, slot);
        }
        Ok(())
    }

    /// Forgets all reservations. Writes in progress will not be able to finish; their room stays until they
    /// end.
    pub fn forget_reservations(&mut self) {
        self.slots.clear();
        self.expected = 0;
    }

    /// Gives back the room for segments of a version that are not here, as nobody will write them any more. Copies stay, and so
    /// does what a repeated write of one is answered.
    pub fn end_reservations(&mut self, version: VersionId) {
        let all = CopyId(version, 0)..=CopyId(version, SegmentIndex::MAX);
        let unwritten = |id: &CopyId| !self.copies.contains_key(id);
        let unwritten: Vec<CopyId> = self.slots.range(all).map(|(id, _)| *id).filter(unwritten).collect();
        unwritten.into_iter().for_each(|id| self.remove_slot(id));
    }

    /// Lets a writer begin, or tells that its bytes are here already.
    ///
    /// # Errors
    /// `UnknownTicket` when nothing like this is expected, `TypeMismatch`, `ChecksumMismatch` when a copy
    /// with other bytes is here, `Busy` when another connection is writing it and there is no room for a
    /// second buffer.
    pub fn admit(&mut self, write: Write) -> Result<Admission, WireError> {
        let id = write.copy;
        let slot = self.slots.get_mut(&id).filter(|slot| *slot.ticket == *write.ticket);
        let slot = slot.ok_or_else(|| unknown_ticket(id))?;
        if slot.bytes != write.bytes {
            let why = format!("segment {} of version {} has {} bytes, not {}", id.1, id.0, slot.bytes, write.bytes);
            return Err(WireError::new(ErrorCode::UnknownTicket, why).segments([id.segment()]));
        }
        if slot.dtype != write.dtype {
            let why = format!("version {} is of {}, not {}", id.version(), slot.dtype, write.dtype);
            return Err(WireError::new(ErrorCode::TypeMismatch, why).segments([id.segment()]));
        }
        if let Some(held) = self.copies.get(&id) {
            let same = held.record().crc32c() == write.crc32c && held.record().bytes() == write.bytes;
            return if same { Ok(Admission::Held(held.clone())) } else { Err(differs(held.record(), write.crc32c)) };
        }
        let (ticket, dtype) = (slot.ticket.clone(), slot.dtype);
        let room = self.room_for_writer(id)?;
        Ok(Admission::Receive(Grant { copy: id, ticket, dtype, crc32c: write.crc32c, room }))
    }

    /// The room of an expected segment, or more when another writer has that already.
    fn room_for_writer(&mut self, id: CopyId) -> Result<Room, WireError> {
        let slot = self.slots.get_mut(&id).expect("the caller has found it");
        let bytes = slot.bytes;
        if slot.has_room {
            slot.has_room = false;
            self.expected -= bytes;
            self.in_flight += bytes;
            return Ok(Room { bytes });
        }
        self.make_room(bytes).map_err(|e| {
            let why = format!("segment {} of version {} is being written already, and {}", id.1, id.0, e.message);
            WireError::new(ErrorCode::Busy, why).segments([id.segment()])
        })
    }

    /// Ends a write whose bytes have arrived and have the checksum that was announced.
    ///
    /// # Errors
    /// `UnknownTicket` when the reservation has ended meanwhile, `ChecksumMismatch` as for [`Store::insert`].
    /// The grant is over either way.
    pub fn finish(&mut self, grant: Grant, buffer: Buffer) -> Result<Arc<Segment>, WireError> {
        let segment = Segment::new(grant.copy, grant.dtype, buffer, grant.crc32c);
        if !self.is_expected(&grant) {
            self.release(grant.room);
            self.trash.push(Arc::new(segment));
            return Err(unknown_ticket(grant.copy));
        }
        self.insert(grant.room, segment)
    }

    /// Ends a write that came to nothing; the segment is expected again.
    pub fn abandon(&mut self, grant: Grant) {
        let wanted = self.is_expected(&grant) && !self.copies.contains_key(&grant.copy);
        let (bytes, copy) = (grant.room.bytes, grant.copy);
        self.release(grant.room);
        if let Some(slot) = self.slots.get_mut(&copy).filter(|slot| wanted && !slot.has_room) {
            slot.has_room = true;
            self.expected += bytes;
        }
    }

    fn is_expected(&self, grant: &Grant) -> bool {
        self.slots.get(&grant.copy).is_some_and(|slot| slot.ticket == grant.ticket && slot.bytes == grant.room.bytes)
    }

    pub(super) fn remove_slot(&mut self, id: CopyId) {
        if let Some(slot) = self.slots.remove(&id) {
            self.expected -= slot.room();
        }
    }
}

impl Slot {
    /// Bytes kept for it.
    pub(super) fn room(&self) -> u64 {
        if self.has_room { self.bytes } else { 0 }
    }
}

/// Checks the length of a segment that somebody wants to send or have fetched.
///
/// # Errors
/// `Malformed` if it is not whole elements or none, `TooLarge` if it is more than a payload can be.
pub fn check_length(segment: SegmentIndex, bytes: u64, dtype: DType) -> Result<(), WireError> {
    let (code, why) = match bytes {
        0 => (ErrorCode::Malformed, "0 bytes; an empty array has no segments".to_string()),
        n if n > PAYLOAD_BYTES_MAX => (ErrorCode::TooLarge, format!("{n} bytes; the limit is {PAYLOAD_BYTES_MAX}")),
        n if !n.is_multiple_of(dtype.size() as u64) => (
            ErrorCode::Malformed,
            format!("{n} bytes, which are not whole elements of {dtype} ({} bytes each)", dtype.size()),
        ),
        _ => return Ok(()),
    };
    Err(WireError::new(code, format!("segment {segment} of {why}")).segments([segment]))
}

fn unknown_ticket(id: CopyId) -> WireError {
    let why = format!(
        "no segment {} of version {} is expected under this ticket (any more); ask the master for a new plan",
        id.segment(),
        id.version()
    );
    WireError::new(ErrorCode::UnknownTicket, why).segments([id.segment()])
}
