//! What the catalog's log is made of.

use array::DType;
use protocol::message::client::Incident;
use protocol::{ArrayId, CopyId, SegmentIndex, SessionId, VersionId, WorkerId};
use serde::{Deserialize, Serialize};

/// One change of the catalog. Written to the log as JSON; a record that names a command unknown here refuses the start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// The first record of a log.
    Founded {
        /// The cluster's id.
        cluster: uuid::Uuid,
    },
    /// A master took the log up.
    MasterStarted {
        /// When, in milliseconds since 1970.
        at: u64,
    },
    /// Ids below may be used from now on without telling the log, so an id is never given twice, whatever is lost.
    ReserveIds {
        /// The first id that may not.
        below: u64,
    },
    /// A worker registered; of what the catalog names it holds exactly these copies.
    WorkerUp {
        /// The worker.
        worker: WorkerId,
        /// Which life of it.
        incarnation: u64,
        /// What it holds.
        copies: Vec<CopyId>,
        /// When.
        at: u64,
    },
    /// A worker is gone; its copies do not count any more, and the next holders become primaries.
    WorkerDown {
        /// The worker.
        worker: WorkerId,
        /// How it was noticed; what it cost is filled in when the command is applied.
        incident: Incident,
    },
    /// Copies came into being or went, one by one.
    CopiesChanged {
        /// New ones.
        added: Vec<(CopyId, WorkerId)>,
        /// Gone ones.
        removed: Vec<(CopyId, WorkerId)>,
    },
    /// An upload is complete.
    CreateArray {
        /// The client's request.
        request: Option<Request>,
        /// Id of the new array.
        array: ArrayId,
        /// Id of its content.
        version: VersionId,
        /// Its name.
        name: String,
        /// The dtype of its elements.
        #[serde(with = "protocol::dtype")]
        dtype: DType,
        /// Lengths of its sides.
        shape: Vec<u64>,
        /// Copies it is meant to have.
        replication: u32,
        /// Whether it may take the place of another array.
        replace: bool,
        /// Its segments.
        segments: Vec<NewSegment>,
    },
    /// An operation is complete.
    AddResult {
        /// The client's request.
        request: Option<Request>,
        /// Id of the result.
        version: VersionId,
        /// What it was computed from.
        source: VersionId,
        /// The array it becomes; else the unnamed result of the source's array.
        into: Option<NewArray>,
        /// The operation's name.
        operation: String,
        /// The dtype of its elements.
        #[serde(with = "protocol::dtype")]
        dtype: DType,
        /// Its segments.
        segments: Vec<NewSegment>,
    },
    /// An array is deleted.
    DeleteArray {
        /// The client's request.
        request: Option<Request>,
        /// Its name.
        name: String,
    },
    /// Something worth a record happened.
    Incident {
        /// What.
        incident: Incident,
    },
    /// More is known about an incident.
    IncidentChanged {
        /// All that is known.
        incident: Incident,
    },
    /// Outcomes of sessions unused since are forgotten.
    ForgetSessions {
        /// In milliseconds since 1970.
        idle_before_ms: u64,
    },
}

/// A new array's identity and name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewArray {
    /// Its id.
    pub array: ArrayId,
    /// Its name.
    pub name: String,
    /// Whether it may take the place of another array.
    pub replace: bool,
}

/// One segment of a new version: `[crc32c, [holders, the primary first]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewSegment(pub u32, pub Vec<WorkerId>);

/// CRC-32C of the bytes of all segments in order.
pub fn combined_crc32c(segments: &[NewSegment], bytes: impl Fn(SegmentIndex) -> u64) -> u32 {
    let with_next = |crc, (segment, NewSegment(next, _)): (SegmentIndex, &NewSegment)| {
        array::checksum::combine(crc, *next, bytes(segment))
    };
    (0..).zip(segments).fold(0, with_next)
}

/// The request behind a command, and what it is answered if the command is not refused. Logged with the change, so
/// that the one never exists without the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The client.
    pub session: SessionId,
    /// The request's number.
    pub id: u64,
    /// Outcomes of smaller numbers may be forgotten.
    pub acked_below: u64,
    /// Fingerprint of the request's content.
    pub fingerprint: u32,
    /// When it was answered, in milliseconds since 1970.
    pub at: u64,
    /// Type of the reply.
    pub reply_kind: String,
    /// Data of the reply.
    pub reply_data: String,
}
