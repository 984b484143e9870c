//! A computation, from whoever asks for it to whoever does it, and back.

use crate::store::Segment;
use array::{Buffer, Operation};
use protocol::CopyId;
use std::sync::Arc;
use std::time::Duration;

/// One segment to compute.
#[derive(Debug)]
pub struct ComputeJob {
    /// Its number, for the answer.
    pub job: u64,
    /// What to compute.
    pub operation: Operation,
    /// From what.
    pub source: Arc<Segment>,
    /// What it will be.
    pub result: CopyId,
    /// Whether to check the source's bytes first.
    pub verify: bool,
    /// The client's request it serves.
    pub request: Option<String>,
}

/// What became of a [`ComputeJob`].
#[derive(Debug)]
pub struct Computed {
    /// Its number.
    pub job: u64,
    /// The result and its CRC-32C.
    pub outcome: Result<(Buffer, u32), ComputeFailure>,
    /// How long it took.
    pub busy: Duration,
}

/// Why a computation gave nothing.
#[derive(Debug)]
pub enum ComputeFailure {
    /// The source's bytes don't fit its checksum any more.
    SourceBroken(Arc<Segment>),
    /// The kernel panicked, with this message.
    Panicked(String),
}
