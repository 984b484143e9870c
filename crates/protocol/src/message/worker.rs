//! What workers and the master say to each other on the control connection, and on the heartbeat connection.

use super::client::Endpoint;
use super::empty;
use crate::error::WireError;
use crate::id::{CopyId, CopyRecord, Digest, SegmentIndex, VersionId, WorkerId};
use array::{DType, Partial, Reducer};
use serde::{Deserialize, Serialize};

empty! {
    /// Data of RESERVED.
    Reserved
    /// Data of SEND_INVENTORY.
    SendInventory
}

/// Data of REGISTER_WORKER. The first four fields are the original's; a message without `hello` is from a level-1 worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegisterWorker {
    /// The worker's end of this connection.
    #[serde(default)]
    pub host: String,
    /// The worker's end of this connection.
    #[serde(default)]
    pub port: u16,
    /// Threads it computes with.
    pub cores: u32,
    /// Its memory budget in MiB.
    pub memory: u64,
    /// What level 2 adds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hello: Option<WorkerHello>,
}

/// Feature of a worker that the master stands in for: it speaks level 1 itself.
pub const FEATURE_LEVEL_1: &str = "level-1";

/// How a worker of level 2 introduces itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerHello {
    /// The newest protocol version it speaks.
    pub protocol: u32,
    /// Features it has beyond that version, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// Its id.
    pub worker: WorkerId,
    /// Which life of it: larger than that of every earlier process under this id.
    pub incarnation: u64,
    /// HOST:PORT of its data port, as others reach it.
    pub address: String,
    /// Its kernels: workers with the same id produce the same bits.
    pub kernels: String,
    /// Its memory budget.
    pub memory_bytes: u64,
    /// Where it is: replicas go to other zones if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The cluster whose data it holds; none for a fresh worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<uuid::Uuid>,
    /// Whether it is on its way out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
    /// Every complete copy it holds.
    pub inventory: Vec<CopyRecord>,
}

/// Data of HEARTBEAT; an original worker sends `{}`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// Fingerprint of its inventory.
    pub digest: Digest,
    /// Copies it holds.
    pub copies: u64,
    /// Memory used and reserved.
    pub memory_used_bytes: u64,
    /// Memory that it keeps beside that for copies to come, and gives up when it is needed.
    #[serde(default)]
    pub memory_idle_bytes: u64,
    /// Segments queued or being computed.
    pub tasks: u64,
}

/// Where a worker stands on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerStage {
    /// Worker to master: I am leaving; take over what only I have.
    Draining,
    /// Master to worker: nothing depends on you any more.
    Drained,
}

/// Data of WORKER_STATUS.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Where it stands.
    pub state: WorkerStage,
}

/// Data of RESERVE: keep room, and take these segments from whoever shows the ticket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reserve {
    /// The version that is being written.
    pub version: VersionId,
    /// What the writer will show.
    pub ticket: String,
    /// The dtype of the elements.
    #[serde(with = "crate::dtype")]
    pub dtype: DType,
    /// `[segment, bytes]`.
    pub segments: Vec<(SegmentIndex, u64)>,
}

/// Data of PROCESS_SEGMENT: compute segments of `result` from those of other versions with the same numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessSegment {
    /// The program, as `array::program` writes it; the name of an operation is one.
    pub operation: String,
    /// The versions it reads, in the order of its inputs. None for one that makes its elements from nothing.
    pub sources: Vec<VersionId>,
    /// The version to make; if the program reduces, the name of its computation.
    pub result: VersionId,
    /// Elements of the whole result, which tell where a segment begins and ends.
    pub elements: u64,
    /// The segments.
    pub segments: Vec<SegmentIndex>,
    /// Whether to check the sources' bytes against their checksums: there is nobody to compare the result with, or two differed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub verify: bool,
    /// Those of them whose elements are wanted with the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inline: Vec<SegmentIndex>,
}

/// Data of SEGMENT_RESULT: what became of some of the segments of a PROCESS_SEGMENT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SegmentResult {
    /// The version that was to be made.
    pub result: VersionId,
    /// Copies of it that now exist here.
    pub copies: Vec<CopyRecord>,
    /// Segments that could not be computed here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedSegment>,
    /// What was reduced: for each segment `[segment, [what is known of it, in hexadecimal, …]]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partials: Vec<ReducedSegment>,
    /// Time spent computing, of all threads together.
    pub busy_us: u64,
    /// Bytes of elements read for it.
    #[serde(default)]
    pub bytes_read: u64,
    /// Bytes of elements written for it.
    #[serde(default)]
    pub bytes_written: u64,
    /// Segments among `copies` whose elements follow, in this order, without anything in between.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inline: Vec<SegmentIndex>,
}

impl SegmentResult {
    /// Nothing yet.
    pub fn of(result: VersionId) -> SegmentResult {
        SegmentResult {
            result,
            copies: Vec::new(),
            failed: Vec::new(),
            partials: Vec::new(),
            busy_us: 0,
            bytes_read: 0,
            bytes_written: 0,
            inline: Vec::new(),
        }
    }
}

/// What the reductions of a program made of one segment: `[segment, [what is known of it, in hexadecimal, …]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReducedSegment(pub SegmentIndex, pub Vec<String>);

impl ReducedSegment {
    /// What these partials are on the wire.
    pub fn new(segment: SegmentIndex, partials: &[Partial]) -> ReducedSegment {
        let hex = |partial: &Partial| partial.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        ReducedSegment(segment, partials.iter().map(hex).collect())
    }

    /// The partials, if they are those of these reductions.
    pub fn partials(&self, reductions: &[(Reducer, DType)]) -> Option<Vec<Partial>> {
        let partial = |(text, (reducer, dtype)): (&String, &(Reducer, DType))| {
            Partial::from_bytes(*reducer, *dtype, &bytes_of(text)?).ok()
        };
        let fits = self.1.len() == reductions.len();
        self.1.iter().zip(reductions).map(partial).collect::<Option<_>>().filter(|_| fits)
    }
}

/// The bytes of hexadecimal digits.
fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if !digits.len().is_multiple_of(2) { None } else { digits.chunks(2).map(byte).collect() }
}

/// One segment that could not be computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailedSegment {
    /// Its ordinal.
    pub segment: SegmentIndex,
    /// The version whose copy is missing or broken, if that is why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<VersionId>,
    /// Why.
    pub error: WireError,
}

/// Data of CANCEL_SEGMENTS: do not begin segments of this version any more. What is complete stays until DROP_COPIES.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CancelSegments {
    /// The version that was to be made.
    pub result: VersionId,
}

/// Data of RECOVER_DATA: fetch a copy from the first of these workers that gives it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecoverData {
    /// The copy to fetch.
    pub copy: CopyRecord,
    /// The dtype of its elements.
    #[serde(with = "crate::dtype")]
    pub dtype: DType,
    /// Who has it, the best first.
    pub sources: Vec<Endpoint>,
    /// Nobody waits for it, and clients are at work: the worker rests between such copies.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub background: bool,
}

/// Data of RECOVERY_COMPLETE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryComplete {
    /// Which copy it is about.
    pub copy: CopyRecord,
    /// Time spent fetching it; absent when nothing was fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy_us: Option<u64>,
    /// Why there is none; absent when there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<WireError>,
}

/// Data of COPIES_CHANGED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CopiesChanged {
    /// Copies that arrived and were checked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stored: Vec<CopyRecord>,
    /// Copies whose bytes did not fit their checksum any more; they are thrown away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub broken: Vec<CopyId>,
}

/// Data of DROP_COPIES.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DropCopies {
    /// Versions of which no copy, reservation or queued computation shall remain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<VersionId>,
    /// Single copies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<CopyId>,
    /// Versions of which nobody will write anything any more: the room for what is not here is free, and copies stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reservations: Vec<VersionId>,
}

/// Data of INVENTORY.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    /// Every complete copy it holds.
    pub copies: Vec<CopyRecord>,
}
