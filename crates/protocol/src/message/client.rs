//! What clients and the master say to each other.

use super::empty;
use crate::id::{Epoch, SegmentIndex, VersionId, WorkerId};
use array::DType;
use serde::{Deserialize, Serialize};

empty! {
    /// Data of LIST_ARRAYS.
    ListArrays
    /// Data of LIST_WORKERS.
    ListWorkers
    /// Data of STATUS.
    Status
    /// Data of LIST_OPERATIONS.
    ListOperations
    /// Data of LIST_INCIDENTS.
    ListIncidents
    /// Data of SHUTDOWN. From a client: the workers end, then the master. To a worker: end now, without handing over.
    Shutdown
}

/// Data of CREATE_ARRAY: asks for a place for a new array. Nothing exists before COMMIT_ARRAY.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateArray {
    /// The name it shall have.
    pub array_id: String,
    /// The dtype of its elements.
    #[serde(with = "crate::dtype")]
    pub dtype: DType,
    /// Lengths of its sides; `[]` is a single element. The length of the storage is their product.
    pub shape: Vec<u64>,
    /// Whether it may take the place of an array of that name, at its commit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
}

/// Data of REPLAN_WRITE: asks for another place for segments that could not be written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplanWrite {
    /// The upload, as WRITE_PLAN named it.
    pub version: VersionId,
    /// The segments.
    pub segments: Vec<SegmentIndex>,
    /// Workers the client could not reach; they are avoided if others are there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub avoid: Vec<WorkerId>,
}

/// A worker and where its data port is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The worker.
    pub worker: WorkerId,
    /// HOST:PORT.
    pub address: String,
}

/// Data of WRITE_PLAN: where to write. Each segment goes to the first of its workers, which forwards it to the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WritePlan {
    /// The upload, and the version that the commit will make of it.
    pub version: VersionId,
    /// What workers want to see before they take a byte. Unguessable, in hexadecimal.
    pub ticket: String,
    /// Elements in every segment but the last.
    pub segment_length: u64,
    /// The workers concerned.
    pub workers: Vec<Endpoint>,
    /// `[segment, [indices into workers]]`, the primary first.
    pub segments: Vec<PlannedWrite>,
}

/// One segment of a write plan: `[segment, [indices into workers]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedWrite(pub SegmentIndex, pub Vec<u32>);

/// Data of COMMIT_ARRAY: all segments are written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitArray {
    /// The upload.
    pub version: VersionId,
    /// For every segment `[segment, crc32c of its bytes, [workers that acknowledged it]]`.
    pub segments: Vec<WrittenSegment>,
}

/// One segment of a commit: `[segment, crc32c, [workers]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WrittenSegment(pub SegmentIndex, pub u32, pub Vec<WorkerId>);

/// Whether an answer outlives the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// On the master's disk before this answer.
    Synced,
    /// In the master's memory, and soon in its log.
    Memory,
}

/// Data of ARRAY_COMMITTED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArrayCommitted {
    /// The array's name.
    pub array_id: String,
    /// "created".
    pub status: String,
    /// `NAME@vN` of its content.
    pub handle: String,
    /// Verified copies of every segment.
    pub copies: u32,
    /// Copies it is meant to have.
    pub target: u32,
    /// CRC-32C of all its bytes in order, combined from those of the segments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc32c: Option<u32>,
    /// Whether the answer outlives the master.
    pub durability: Durability,
}

/// Data of ABANDON_ARRAY.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AbandonArray {
    /// The upload.
    pub version: VersionId,
}

/// Data of APPLY_OPERATION: computes a new version and leaves the array as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApplyOperation {
    /// The array by name, or one version by handle.
    pub array_id: String,
    /// An expression, or the name of an operation.
    pub operation: String,
    /// The array that the result shall become; without it, it becomes the unnamed result of the array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub into: Option<String>,
    /// Whether `into` may replace an array of that name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
    /// Whether to answer as soon as the operation has begun.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_wait: bool,
    /// Whether the elements of the result are wanted with the answer, if they are few. They may be missing all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inline: bool,
}

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OperationState {
    /// It has begun.
    Processing,
    /// Its result is complete.
    Complete,
}

/// Data of OPERATION_COMPLETE, the answer to APPLY_OPERATION and WAIT_OPERATION.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationComplete {
    /// The array it was applied to.
    pub array_id: String,
    /// How far it is.
    pub status: OperationState,
    /// The operation's id, which is also the version of its result.
    pub operation: VersionId,
    /// `NAME@vN` of the result.
    pub handle: String,
    /// Segments of the result.
    pub segments: u32,
    /// Verified copies of every segment so far.
    pub copies: u32,
    /// Copies it is meant to have.
    pub target: u32,
    /// How replicas got their copies: "recomputed", "received" from the worker that had computed the first, or "mixed".
    pub replicas: String,
    /// Segments that were given to another worker because the first one failed.
    pub redispatched: u32,
    /// Whether every bit is the same on any layout.
    pub exact: bool,
    /// CRC-32C of all bytes of the result in order, combined from those of the segments; when it is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc32c: Option<u32>,
    /// Whether the answer outlives the master.
    pub durability: Durability,
    /// From the request to this answer.
    pub elapsed_us: u64,
    /// What it took; when it is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
}

/// What an operation took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// Bytes of elements that were read from memory, of all workers together.
    pub bytes_read: u64,
    /// Bytes of elements that were written to memory, of all workers together.
    pub bytes_written: u64,
    /// Bytes of elements that went from worker to worker.
    pub network_bytes: u64,
    /// Segments that were given to another worker because the first one failed.
    pub retries: u32,
    /// Segments that were read and lost their primary meanwhile, so that another copy was promoted.
    pub promoted: u32,
    /// Who did how much, by id.
    pub workers: Vec<WorkerReceipt>,
}

/// What an operation took of one worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerReceipt {
    /// The worker.
    pub worker: WorkerId,
    /// Segments that it computed.
    pub segments: u32,
    /// Time that its threads were busy with them, all together; none for what has not been done yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy_us: Option<u64>,
    /// Bytes of elements that it read.
    pub bytes_read: u64,
    /// Bytes of elements that it wrote.
    pub bytes_written: u64,
    /// Memory that it took for copies: of the result, and of what was read and not here before.
    pub memory_bytes: u64,
}

/// Data of EXPLAIN: asks what an operation would do, without doing it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explain {
    /// The array by name, or one version by handle.
    pub array_id: String,
    /// An expression, the name of an operation, or reductions.
    pub operation: String,
}

/// Data of EXPLANATION: what an operation would do if it began now and nobody failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The array it is about.
    pub array_id: String,
    /// What is computed, one step a line: a number, the dtype, and what is done with the numbers before.
    pub steps: Vec<String>,
    /// What it reads, by handle.
    pub reads: Vec<String>,
    /// The dtype of the result; none if it is reduced.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::dtype::optional")]
    pub dtype: Option<DType>,
    /// Elements of the array.
    pub elements: u64,
    /// Segments that are computed.
    pub segments: u32,
    /// Copies that the result will have; 0 if it is reduced.
    pub copies: u32,
    /// How replicas get their copies: "recomputed" or "received".
    pub replicas: String,
    /// What it will take, busy time not included.
    pub estimate: Receipt,
    /// Why it would be refused now, if it would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<crate::error::WireError>,
}

/// Data of REDUCE_ARRAY.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReduceArray {
    /// The array by name, or one version by handle.
    pub array_id: String,
    /// Reductions of expressions, separated by commas: `sum(sin(x)), max(x)`.
    pub reductions: String,
}

/// Data of REDUCTION_COMPLETE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReductionComplete {
    /// The array it was of.
    pub array_id: String,
    /// `NAME@vN` of what was read.
    pub handle: String,
    /// The values, in the order of the request.
    pub values: Vec<ReducedValue>,
    /// Elements that were reduced.
    pub elements: u64,
    /// Segments that they lie in.
    pub segments: u32,
    /// Segments that were given to another worker because the first one failed.
    pub redispatched: u32,
    /// From the request to this answer.
    pub elapsed_us: u64,
    /// What it took.
    pub receipt: Receipt,
}

/// What a reduction gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReducedValue {
    /// The reduction, as it was asked for.
    pub reduction: String,
    /// The dtype of the value.
    #[serde(with = "crate::dtype")]
    pub dtype: DType,
    /// The value in decimal, as many digits as tell it from all others of its dtype; or `NaN`, `inf`, `-inf`, `true`, `false`.
    pub value: String,
}

/// Data of GENERATE_ARRAY: has the workers make a new array. Answered as APPLY_OPERATION with `into`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GenerateArray {
    /// The name it shall have.
    pub array_id: String,
    /// What its elements are: `zeros(1000)`, `uniform(0, 1, (100, 100))`.
    pub generator: String,
    /// The dtype of its elements; without it that which NumPy would choose.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::dtype::optional")]
    pub dtype: Option<DType>,
    /// Which random numbers; below 2^53.
    #[serde(default)]
    pub seed: u64,
    /// Whether it may take the place of an array of that name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
}

/// Data of WAIT_OPERATION.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WaitOperation {
    /// The operation.
    pub operation: VersionId,
}

/// Data of CANCEL_OPERATION.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CancelOperation {
    /// The operation.
    pub operation: VersionId,
}

/// Data of GET_RESULT: asks where to read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetResult {
    /// An array by name, or one version by handle.
    pub array_id: String,
    /// By name: the array itself, even if there is a result of an operation on it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub array: bool,
    /// Elements `[from, to)`; without it all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<(u64, u64)>,
}

/// What a version is to its array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The array itself.
    Array,
    /// The newest result of an operation on it.
    Result,
}

/// Data of READ_PLAN: where to read. The version stays as long as the pin is renewed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadPlan {
    /// The array's name.
    pub array_id: String,
    /// The version to ask the workers for.
    pub version: VersionId,
    /// `NAME@vN` of it.
    pub handle: String,
    /// The array, or a result.
    pub source: Source,
    /// The dtype of the elements.
    #[serde(with = "crate::dtype")]
    pub dtype: DType,
    /// Lengths of the sides of the whole.
    pub shape: Vec<u64>,
    /// Elements in every segment but the last.
    pub segment_length: u64,
    /// Keeps the version alive; give it back with UNPIN.
    pub pin: u64,
    /// How long it does without RENEW_PIN.
    pub lease_ms: u64,
    /// The workers concerned.
    pub workers: Vec<Endpoint>,
    /// The segments that the range touches.
    pub segments: Vec<PlannedRead>,
}

/// One segment of a read plan: `[segment, crc32c of the whole segment, [indices into workers]]`, the primary first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedRead(pub SegmentIndex, pub u32, pub Vec<u32>);

/// Data of RENEW_PIN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RenewPin {
    /// The pin.
    pub pin: u64,
}

/// Data of UNPIN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unpin {
    /// The pin.
    pub pin: u64,
}

/// Data of ARRAYS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arrays {
    /// By name.
    pub arrays: Vec<ArraySummary>,
}

/// How well an array is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArrayState {
    /// Every segment has all its copies.
    Ok,
    /// Every segment has a copy, some have fewer than they should.
    Degraded,
    /// Some segments wait for workers that have not reported since the master started, or are silent.
    Waiting,
    /// Some segments have no copy left.
    Lost,
}

/// One array, in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArraySummary {
    /// Its name.
    pub array_id: String,
    /// `NAME@vN` of its content.
    pub handle: String,
    /// The dtype of its elements.
    #[serde(with = "crate::dtype")]
    pub dtype: DType,
    /// Lengths of its sides.
    pub shape: Vec<u64>,
    /// Bytes of one copy of it.
    pub bytes: u64,
    /// Segments it is cut into.
    pub segments: u32,
    /// Fewest live copies of any of its segments.
    pub copies: u32,
    /// Copies it is meant to have.
    pub target: u32,
    /// How well it is kept.
    pub state: ArrayState,
    /// `NAME@vN` of the newest unnamed result of an operation on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}

/// Data of DESCRIBE_ARRAY.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeArray {
    /// Its name.
    pub array_id: String,
}

/// Data of ARRAY_INFO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArrayInfo {
    /// The array, in short.
    pub summary: ArraySummary,
    /// Its content, then its result.
    pub versions: Vec<VersionInfo>,
}

/// One version of an array.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionInfo {
    /// `NAME@vN`.
    pub handle: String,
    /// The array, or a result.
    pub source: Source,
    /// The operation that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Its segments.
    pub segments: Vec<SegmentInfo>,
}

/// One segment of a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SegmentInfo {
    /// Its ordinal.
    pub segment: SegmentIndex,
    /// Its first element.
    pub start: u64,
    /// The element after its last.
    pub end: u64,
    /// CRC-32C of its bytes.
    pub crc32c: u32,
    /// Version of its assignment.
    pub epoch: Epoch,
    /// Who has a copy, the primary first.
    pub holders: Vec<WorkerId>,
}

/// Data of WAIT_WORKERS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WaitWorkers {
    /// How many must be alive.
    pub count: u32,
}

/// Data of WORKERS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workers {
    /// By id.
    pub workers: Vec<WorkerInfo>,
}

/// A worker as the master sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerState {
    /// It gives signs of life.
    Alive,
    /// It has been silent for a while.
    Suspect,
    /// Its connection is gone, or it was silent for too long.
    Down,
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerInfo {
    /// Its id.
    pub id: WorkerId,
    /// How the master sees it.
    pub state: WorkerState,
    /// The protocol level it speaks.
    pub level: u32,
    /// HOST:PORT of its data port.
    pub address: String,
    /// Whether the master could dial that address; unknown until it has tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reachable: Option<bool>,
    /// Whether it is on its way out.
    pub draining: bool,
    /// Where it is, if it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Its kernels: workers with the same id produce the same bits.
    pub kernels: String,
    /// Which life of it.
    pub incarnation: u64,
    /// Threads it computes with.
    pub cores: u32,
    /// Copies it holds.
    pub segments: u64,
    /// Of these, those it is the primary of.
    pub primaries: u64,
    /// Its memory budget.
    pub memory_bytes: u64,
    /// What it uses and has reserved of it.
    pub memory_used_bytes: u64,
    /// What it keeps of it beside that for copies to come, and gives up when it is needed.
    #[serde(default)]
    pub memory_idle_bytes: u64,
    /// Segments it is computing or has been asked to compute.
    pub tasks: u64,
    /// Time since its last sign of life; none when it is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_heard_ms: Option<u64>,
}

/// Data of CLUSTER_STATUS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// The cluster's id.
    pub cluster: uuid::Uuid,
    /// Address of the leading master.
    pub leader: String,
    /// Its term.
    pub term: u64,
    /// Version of the program.
    pub program: String,
    /// Since the master started.
    pub uptime_ms: u64,
    /// Workers that give signs of life.
    pub workers_alive: u32,
    /// Workers silent for a while.
    pub workers_suspect: u32,
    /// Workers known and gone.
    pub workers_down: u32,
    /// Arrays.
    pub arrays: u64,
    /// Segments of all versions.
    pub segments: u64,
    /// Of these, those with fewer live copies than they should have, the lost ones included.
    pub under_replicated: u64,
    /// Of these, those whose holders have not reported since the master started.
    pub waiting: u64,
    /// Of these, those without a live copy, waiting ones not included.
    pub lost: u64,
    /// Operations under way.
    pub running_operations: u64,
    /// Uploads under way.
    pub uploads: u64,
    /// Copies being fetched from one worker by another.
    pub transfers: u64,
    /// Copies every segment is meant to have.
    pub replication: u32,
    /// Memory budget of all live workers.
    pub memory_bytes: u64,
    /// What they use of it.
    pub memory_used_bytes: u64,
    /// Where the catalog's log is.
    pub data_dir: String,
    /// Records in the catalog's log.
    pub log_index: u64,
}

/// Data of OPERATIONS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operations {
    /// The running ones, oldest first.
    pub operations: Vec<OperationInfo>,
}

/// One running operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationInfo {
    /// Its id.
    pub operation: VersionId,
    /// The array it is applied to.
    pub array_id: String,
    /// The operation's name, its expression, its reductions, or what makes the array.
    pub name: String,
    /// The array the result becomes, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub into: Option<String>,
    /// The client's request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Segments of it.
    pub segments: u32,
    /// Segments that are complete.
    pub done: u32,
    /// Segments that were given to another worker because the first one failed.
    pub redispatched: u32,
    /// Since it began.
    pub running_ms: u64,
    /// Until its deadline.
    pub left_ms: u64,
}

/// Data of INCIDENTS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incidents {
    /// Oldest first.
    pub incidents: Vec<Incident>,
}

/// What kind of incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentKind {
    /// A worker went down.
    WorkerDown,
    /// A worker handed over and left.
    WorkerLeft,
    /// The master started on an existing log.
    MasterRestarted,
    /// A copy did not have the bytes it should have, and was thrown away.
    BrokenCopy,
}

/// One incident and what became of it. Times are since its detection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Incident {
    /// Its number: that of its record in the catalog's log.
    pub id: u64,
    /// What kind.
    pub kind: IncidentKind,
    /// When it was detected, in milliseconds since 1970.
    pub at: u64,
    /// The worker it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// How it was noticed.
    pub cause: String,
    /// From the last sign of life to the detection.
    pub detected_ms: u64,
    /// Segments whose primary changed.
    pub promoted: u64,
    /// Until those changes were in the catalog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted_ms: Option<u64>,
    /// Segments of running operations that were given to another worker.
    pub redispatched: u64,
    /// Until the first segment of a running operation was completed afterwards; none if nothing was running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_ms: Option<u64>,
    /// Copies that went with it.
    pub copies_lost: u64,
    /// Segments left without any live copy.
    pub segments_lost: u64,
    /// Bytes copied from worker to worker to mend it.
    pub bytes_moved: u64,
    /// Until every segment had all its copies again; none while it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redundancy_restored_ms: Option<u64>,
}

/// Data of DELETE_ARRAY.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteArray {
    /// Its name.
    pub array_id: String,
}
