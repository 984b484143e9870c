//! What a line of the master asks for. Made by the thread that reads, so that millions of values are turned into
//! elements there and not where everything is decided.

use crate::store::{Room, Store};
use array::{Buffer, DType};
use protocol::level1::{self, Body, SegmentData};
use protocol::{ErrorCode, WireError};

/// What this worker keeps in mind about a segment beside its elements: charged to the budget too, or segments without
/// elements could fill the memory.
const SEGMENT_BYTES_EXTRA: u64 = 512;

/// Largest segment id: beyond it two whole numbers are one double, and the id would not come back as it was sent.
const SEGMENT_ID_MAX: f64 = (1_u64 << 53) as f64;

/// A line of the master.
#[derive(Debug)]
pub struct Heard {
    /// Whether a space follows its first colon, which only a Python master writes.
    pub spaced: bool,
    /// What it asks for.
    pub instruction: Instruction,
}

/// What a line asks for.
#[derive(Debug)]
pub enum Instruction {
    /// Keep a segment.
    Keep(SegmentGiven),
    /// Compute what is held of an array as its primary.
    Process {
        /// The array.
        array: String,
        /// The operation's name.
        operation: String,
    },
    /// Compute a segment from now on, the worker that did is gone.
    Recover {
        /// The array.
        array: String,
        /// Which segment of it.
        segment: i64,
        /// Whether to do so; otherwise nothing changes.
        make_primary: bool,
    },
    /// End the process.
    Shutdown,
    /// Something of this kind that a worker takes no notice of.
    Ignored(String),
}

/// A segment that came from the master.
#[derive(Debug)]
pub struct SegmentGiven {
    /// The array.
    pub array: String,
    /// Which segment of it.
    pub segment: i64,
    /// Its first element.
    pub start: u64,
    /// The first element after it.
    pub end: u64,
    /// "int" or "double", or whatever the master says.
    pub data_type: String,
    /// Whether it is the one that computes.
    pub is_primary: bool,
    /// Its elements, or why there are none.
    pub content: Result<Content, WireError>,
}

/// The elements of a segment.
#[derive(Debug)]
pub struct Content {
    /// Their type.
    pub dtype: DType,
    /// Their bytes.
    pub buffer: Buffer,
    /// The memory of `buffer`.
    pub room: Room,
}

impl Heard {
    /// Reads a line. `make_room` sets memory aside for the elements of a segment.
    ///
    /// # Errors
    /// `Malformed` when the line lacks something, or has a segment id that is no whole number.
    pub fn new(line: level1::Line, make_room: impl FnOnce(u64) -> Result<Room, WireError>) -> Result<Heard, WireError> {
        let (spaced, kind) = (line.spaced, line.kind.clone());
        let instruction = match line.into_body()? {
            Body::Segment(given) => Instruction::Keep(SegmentGiven::new(given, make_room)?),
            Body::ProcessSegment { array_id: array, operation } => Instruction::Process { array, operation },
            Body::RecoverData { array_id: array, segment_id, make_primary } => {
                Instruction::Recover { array, segment: whole(segment_id)?, make_primary }
            }
            Body::Shutdown => Instruction::Shutdown,
            _ => Instruction::Ignored(kind),
        };
        Ok(Heard { spaced, instruction })
    }

    /// Whether this is one of the messages by which an original master is recognised.
    pub fn is_of_a_master(&self) -> bool {
        !matches!(self.instruction, Instruction::Ignored(_))
    }

    /// Throws it away, and gives its memory back.
    pub fn discard(self, store: &mut Store) {
        if let Instruction::Keep(SegmentGiven { content: Ok(Content { buffer, room, .. }), .. }) = self.instruction {
            drop(buffer);
            store.release(room);
        }
    }
}

impl SegmentGiven {
    fn new(
        given: SegmentData,
        make_room: impl FnOnce(u64) -> Result<Room, WireError>,
    ) -> Result<SegmentGiven, WireError> {
        let segment = whole(given.segment_id)?;
        let SegmentData { array_id: array, start, end, data_type, values, is_primary, .. } = given;
        let content = values.and_then(|values| {
            let dtype = level1::dtype(&data_type)?;
            let room = make_room((values.len() * dtype.size()) as u64 + SEGMENT_BYTES_EXTRA)?;
            Ok(Content { dtype, buffer: elements(dtype, &values), room })
        });
        Ok(SegmentGiven { array, segment, start, end, data_type, is_primary, content })
    }
}

/// Values as elements. A Java master may send an int as 3.0, and anything else that is no int32 only if it is broken:
/// then the fraction is cut off and what is too large becomes the nearest int32, as the original's workers do. Giving up
/// the segment would cost the whole array its result.
fn elements(dtype: DType, values: &[f64]) -> Buffer {
    if dtype != DType::Int32 {
        return Buffer::from_slice(values);
    }
    let mut buffer = Buffer::zeroed(size_of_val(values) / 2);
    let ints: &mut [i32] = buffer.as_mut_slice();
    ints.iter_mut().zip(values).for_each(|(int, value)| *int = *value as i32);
    buffer
}

fn whole(segment_id: f64) -> Result<i64, WireError> {
    if segment_id.fract() == 0.0 && segment_id.abs() <= SEGMENT_ID_MAX {
        return Ok(segment_id as i64);
    }
    Err(WireError::new(ErrorCode::Malformed, format!("segmentId {segment_id} is no whole number up to 2^53")))
}
