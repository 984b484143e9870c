//! What is said on the data port of a worker, by clients and other workers.

use super::client::Endpoint;
use crate::error::WireError;
use crate::id::{CopyRecord, SegmentIndex, VersionId, WorkerId};
use serde::{Deserialize, Serialize};

/// Data of DISTRIBUTE_ARRAY; the segment's bytes follow as payload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DistributeArray {
    /// The version that is being written.
    pub version: VersionId,
    /// The segment.
    pub segment: SegmentIndex,
    /// From the write plan.
    pub ticket: String,
    /// Whom the receiver shall forward it to; it sends to the first, with the rest as that one's `forward`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forward: Vec<Endpoint>,
}

/// Data of SEGMENT_STORED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SegmentStored {
    /// The copy, with the checksum the worker computed.
    pub copy: CopyRecord,
    /// Who has stored it, the receiver included.
    pub workers: Vec<WorkerId>,
    /// Who was to get it and did not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedWorker>,
}

/// A worker that a segment could not be forwarded to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailedWorker {
    /// The worker.
    pub worker: WorkerId,
    /// Why.
    pub error: WireError,
}

/// Data of GET_SEGMENT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetSegment {
    /// The version.
    pub version: VersionId,
    /// The segment.
    pub segment: SegmentIndex,
    /// Elements `[from, to)` counted from the segment's first; without it all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<(u64, u64)>,
}

/// Data of SEGMENT; the bytes follow as payload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// The copy the bytes are from, with the checksum of all of it.
    pub copy: CopyRecord,
}
