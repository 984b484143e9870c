//! Workers: those that behave, and those that say something else than they have done. All arrays are zeros.

use super::desk::{Desk, SLOTS, zeros};
use arbitrary::{Result, Unstructured};
use array::{Buffer, Grid, Program};
use protocol::message::Body;
use protocol::message::worker::*;
use protocol::{CopyId, CopyRecord, ErrorCode, Message, WireError, WorkerId};
use std::sync::Arc;

/// Bytes of a segment that is too large for a test to have.
const BYTES_MAX: u64 = 1 << 20;

/// How a worker answers.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Well,
    Twice,
    Not,
    WithErrors,
    WrongBits,
    WrongLength,
}

const MANNERS: [Manner; 8] = [
    Manner::Well,
    Manner::Well,
    Manner::Well,
    Manner::Twice,
    Manner::Not,
    Manner::WithErrors,
    Manner::WrongBits,
    Manner::WrongLength,
];

impl Desk {
    /// Somebody registers as a worker, with what it holds or nothing.
    pub fn register(&mut self, slot: usize, input: &mut Unstructured<'_>) -> Result<()> {
        let worker = WorkerId::from(*input.choose(&["w1", "w2", "w3"])?);
        let incarnation = *input.choose(&[1, 2, 3, 4, 5, u64::MAX])?;
        let fresh = input.ratio(1, 4)?;
        let held = self.held.entry(worker.clone()).or_default();
        if fresh {
            held.clear();
        }
        let hello = WorkerHello {
            protocol: 2,
            features: vec![],
            worker: worker.clone(),
            incarnation,
            address: format!("{worker}:1"),
            kernels: array::KERNELS_ID.to_string(),
            memory_bytes: 1 << 30,
            zone: None,
            cluster: None,
            draining: input.ratio(1, 16)?,
            inventory: held.values().copied().collect(),
        };
        let register = RegisterWorker { host: "h".into(), port: 1, cores: 2, memory: 1024, hello: Some(hello) };
        self.slots[slot].worker = Some((worker, incarnation));
        self.say(slot, Message::new(register));
        self.commit(2);
        Ok(())
    }

    /// Whoever is there does the oldest thing that the master wants.
    pub fn answer(&mut self, slot: usize, input: &mut Unstructured<'_>) -> Result<()> {
        // Replies to clients are in the same place, and want nothing.
        let of_worker = |desk: &Desk, slot: usize| desk.slots[slot].worker.is_some();
        let slot = (slot..SLOTS).chain(0..slot).find(|slot| of_worker(self, *slot)).unwrap_or(slot);
        let Some(message) = self.slots[slot].inbox.pop_front() else { return Ok(()) };
        let Some((worker, _)) = self.slots[slot].worker.clone() else { return Ok(()) };
        let manner = *input.choose(&MANNERS)?;
        if let Body::DropCopies(dropped) = &message.body {
            let held = self.held.entry(worker.clone()).or_default();
            held.retain(|copy, _| !dropped.versions.contains(&copy.version()) && !dropped.copies.contains(copy));
        }
        let Some(reply) = self.reply_of(&worker, &message, manner) else { return Ok(()) };
        let times = match manner {
            Manner::Not => 0,
            Manner::Twice => 2,
            _ => 1,
        };
        (0..times).for_each(|_| self.say(slot, reply.clone()));
        Ok(())
    }

    fn reply_of(&mut self, worker: &WorkerId, message: &Message, manner: Manner) -> Option<Message> {
        Some(match &message.body {
            Body::Reserve(_) if manner == Manner::WithErrors => Message::reply(&message.head, error()),
            Body::Reserve(_) => Message::reply(&message.head, Reserved {}),
            Body::ProcessSegment(process) => self.computed(worker, process, manner),
            Body::RecoverData(RecoverData { copy, .. }) if manner == Manner::WithErrors => {
                Message::new(RecoveryComplete { copy: *copy, busy_us: Some(1), error: Some(error()) })
            }
            Body::RecoverData(RecoverData { copy, .. }) => {
                let copy = changed(*copy, manner);
                self.hold(worker, copy);
                Message::new(RecoveryComplete { copy, busy_us: Some(1), error: None })
            }
            Body::SendInventory(_) => {
                let copies = self.held.entry(worker.clone()).or_default().values().copied().collect();
                Message::reply(&message.head, Inventory { copies })
            }
            Body::Ping(_) => Message::reply(&message.head, protocol::message::Pong {}),
            _ => return None,
        })
    }

    pub fn hold(&mut self, worker: &WorkerId, copy: CopyRecord) {
        self.held.entry(worker.clone()).or_default().insert(copy.id(), copy);
    }

    fn computed(&mut self, worker: &WorkerId, process: &ProcessSegment, manner: Manner) -> Message {
        let mut result = SegmentResult { busy_us: 5, ..SegmentResult::of(process.result) };
        let program: Program = process.operation.parse().expect("the master sends programs");
        let grid = Grid::new(process.elements);
        let mut elements = Vec::new();
        for &segment in &process.segments {
            let range = grid.range(segment);
            let len = range.end - range.start;
            if manner == Manner::WithErrors || len * 16 > BYTES_MAX {
                let source = process.sources.first().copied();
                result.failed.push(FailedSegment { segment, source, error: error() });
                continue;
            }
            match program.output() {
                None => {
                    let zeros: Vec<Buffer> =
                        program.inputs().iter().map(|dtype| Buffer::zeroed(len as usize * dtype.size())).collect();
                    let sources: Vec<_> = zeros
                        .iter()
                        .map(|zeros| array::program::Source { bytes: zeros.as_bytes(), crc32c: None })
                        .collect();
                    if let Ok(partials) = program.reduce(&sources, range.start, len as usize) {
                        result.partials.push(ReducedSegment::new(segment, &partials));
                    }
                }
                Some(dtype) => {
                    let copy = zeros(CopyId(process.result, segment), len * dtype.size() as u64);
                    let copy = changed(copy, manner);
                    self.hold(worker, copy);
                    result.copies.push(copy);
                    if process.inline.contains(&segment) && manner == Manner::Well {
                        result.inline.push(segment);
                        elements.resize(elements.len() + copy.bytes() as usize, 0_u8);
                    }
                }
            }
        }
        let inline = !result.inline.is_empty();
        let message = Message::new(result);
        match program.output().filter(|_| inline) {
            Some(dtype) => message.with_elements(dtype, Arc::from(elements)),
            None => message,
        }
    }

    /// Some of the workers have what a client has written to them.
    pub fn store(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let manner = *input.choose(&MANNERS)?;
        let Some(reserved) = self.known.reserved.back().cloned() else { return Ok(()) };
        let skipped = input.int_in_range(0..=2 * SLOTS)?;
        for slot in (0..SLOTS).filter(|slot| *slot != skipped) {
            let Some((worker, _)) = self.slots[slot].worker.clone() else { continue };
            let small = reserved.segments.iter().filter(|(_, bytes)| *bytes <= BYTES_MAX);
            let stored: Vec<CopyRecord> = small
                .map(|(segment, bytes)| changed(zeros(CopyId(reserved.version, *segment), *bytes), manner))
                .collect();
            stored.iter().for_each(|copy| self.hold(&worker, *copy));
            self.say(slot, Message::new(CopiesChanged { stored, broken: vec![] }));
        }
        Ok(())
    }
}

fn changed(copy: CopyRecord, manner: Manner) -> CopyRecord {
    match manner {
        Manner::WrongBits => CopyRecord(copy.0, copy.1, copy.2 ^ 1, copy.3),
        Manner::WrongLength => CopyRecord(copy.0, copy.1, copy.2, copy.3.wrapping_sub(8)),
        _ => copy,
    }
}

fn error() -> WireError {
    WireError::new(ErrorCode::NotHeld, "it is not here")
}
