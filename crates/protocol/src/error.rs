//! What a refusal says: a stable code for programs, a sentence for people, and whether to try again.

use crate::id::{SegmentIndex, WorkerId};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::NonZeroU32;

/// The stable code of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorCode {
    /// The message cannot be read: not JSON, a field missing, of the wrong type or out of range.
    Malformed,
    /// A line, payload, array or list above its cap.
    TooLarge,
    /// No message of this type is known here.
    UnknownType,
    /// A known message that this peer, in its role, may not send; or one sent before HELLO.
    NotAllowed,
    /// A protocol version or feature this side does not speak.
    Unsupported,
    /// A name that breaks the rules for names.
    InvalidName,
    /// No array has this name.
    UnknownArray,
    /// The array exists, the version asked for does not (any more).
    UnknownVersion,
    /// No operation has this name.
    UnknownOperation,
    /// The text is no expression; `column` tells where.
    BadExpression,
    /// An element has no value: an int divided by zero, a number that does not fit the dtype it is cast to.
    BadElement,
    /// No running operation has this id.
    UnknownOperationId,
    /// No upload has this id (any more); begin again with CREATE_ARRAY.
    UnknownUpload,
    /// The worker does not take these bytes: no such ticket (any more).
    UnknownTicket,
    /// The worker does not hold the copy asked for.
    NotHeld,
    /// The operation or the values do not fit the dtype.
    TypeMismatch,
    /// A range that is not within the array.
    OutOfRange,
    /// The name is taken; say `replace`, or choose another.
    AlreadyExists,
    /// Bytes with another checksum than stated, or copies that differ.
    ChecksumMismatch,
    /// Segments of an upload have not arrived anywhere; send them again by a new plan.
    SegmentsMissing,
    /// Every copy of these segments is gone.
    SegmentsLost,
    /// There is no worker.
    NoWorkers,
    /// Fewer workers than the copies that are demanded at least.
    InsufficientReplicas,
    /// It does not fit into the memory that is free.
    InsufficientMemory,
    /// Too much at once; try again after `retryAfterMs`.
    Busy,
    /// The request's deadline passed.
    DeadlineExceeded,
    /// Somebody cancelled it.
    Cancelled,
    /// An instruction of an older epoch, or from an older incarnation.
    Fenced,
    /// Another live worker has this id.
    WorkerIdInUse,
    /// The worker belongs to another cluster.
    WrongCluster,
    /// A retry of a request whose outcome is not remembered any more. It is not run a second time.
    OutcomeUnknown,
    /// A request id that was used before, for something else.
    IdReused,
    /// The program is shutting down.
    ShuttingDown,
    /// A bug or a broken machine on the other side; its log says more.
    Internal,
}

impl ErrorCode {
    /// Whether the same request may succeed later, without anybody changing it.
    pub fn is_retryable(self) -> bool {
        use ErrorCode::*;
        match self {
            UnknownUpload | UnknownTicket | NotHeld | ChecksumMismatch | SegmentsMissing | NoWorkers
            | InsufficientReplicas | InsufficientMemory | Busy | DeadlineExceeded | WorkerIdInUse | ShuttingDown => {
                true
            }
            Malformed | TooLarge | UnknownType | NotAllowed | Unsupported | InvalidName | UnknownArray
            | UnknownVersion | UnknownOperation | BadExpression | BadElement | UnknownOperationId | TypeMismatch
            | OutOfRange | AlreadyExists | SegmentsLost | Cancelled | Fenced | WrongCluster | OutcomeUnknown
            | IdReused | Internal => false,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A refusal, as it travels in an ERROR message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WireError {
    /// For programs.
    pub code: ErrorCode,
    /// For people: names the thing, the limit, and what to do.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// When to try again, if the other side can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The array it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array: Option<String>,
    /// The segments it is about; the first 100 when there are more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<SegmentIndex>,
    /// The workers it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerId>,
    /// The character of an expression that it is about, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<NonZeroU32>,
}

/// Most segments an error lists, so that it always fits into a header line.
pub const ERROR_SEGMENTS_MAX: usize = 100;

impl WireError {
    /// A refusal with a code and a sentence; retryable as its code is.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> WireError {
        WireError {
            code,
            message: message.into(),
            retryable: code.is_retryable(),
            retry_after_ms: None,
            array: None,
            segments: Vec::new(),
            workers: Vec::new(),
            column: None,
        }
    }

    /// Names the array it is about.
    pub fn array(mut self, name: impl Into<String>) -> WireError {
        self.array = Some(name.into());
        self
    }

    /// Names the segments it is about, the first hundred of them.
    pub fn segments(mut self, segments: impl IntoIterator<Item = SegmentIndex>) -> WireError {
        self.segments = segments.into_iter().take(ERROR_SEGMENTS_MAX).collect();
        self
    }

    /// Names the workers it is about.
    pub fn workers(mut self, workers: impl IntoIterator<Item = WorkerId>) -> WireError {
        self.workers = workers.into_iter().collect();
        self
    }

    /// Names the character of an expression that it is about, counted from 1.
    pub fn column(mut self, column: u32) -> WireError {
        self.column = NonZeroU32::new(column);
        self
    }

    /// Says when to try again.
    pub fn retry_after_ms(mut self, after_ms: u64) -> WireError {
        self.retry_after_ms = Some(after_ms);
        self
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for WireError {}
