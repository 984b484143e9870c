//! Level 1: the original system's protocol, with values as JSON lists inside the line.
//!
//! - [`LineReader`] reads lines of any length as a stream: a list of numbers goes straight into a `Vec<f64>`, everything
//!   else is small, and no tree is ever built. What is wrong with a line is [`Incoming::Refused`], and the next line is
//!   found again.
//! - [`LineWriter`] makes one line, to be sent in one write.
//! - [`Body`] is what a line says.
//! - [`introduction()`] tells whether whoever has connected speaks this level or level 2.
//!
//! Original nodes are particular about what they read: all five fields of the envelope, `timestamp` an integer, nothing
//! but ASCII, no blank lines. [`LineWriter`] writes nothing else.

mod introduction;
mod read;
mod source;
mod write;

pub use introduction::{Level, Opened, introduction};
pub use read::{Incoming, LineReader};
pub use write::LineWriter;

use crate::error::{ErrorCode, WireError};
use array::DType;
use std::collections::BTreeMap;

/// Longest line that is read unless somebody says something else: 13 million doubles.
pub const LINE_BYTES_MAX: u64 = 256 << 20;

/// Most bytes that one element of a list takes in a line: a double of 24 characters and its comma.
pub const ELEMENT_BYTES_MAX: u64 = 25;

/// A line as it was read, before it is known whether it makes sense.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// What it is about.
    pub kind: String,
    /// Who says it.
    pub from: String,
    /// Whether a space follows the first colon: the original's Python nodes write so, its Java nodes do not.
    pub spaced: bool,
    fields: BTreeMap<&'static str, Scalar>,
    /// Each list of numbers, or why there was no memory for it.
    lists: BTreeMap<&'static str, Result<Vec<f64>, WireError>>,
}

/// The value of a field that is not a list.
#[derive(Clone, Debug, PartialEq)]
enum Scalar {
    Text(String),
    Number(f64),
    Flag(bool),
    Null,
}

/// Fields of `data` that mean something; all others are skipped.
const FIELDS: &[&str] = &[
    "arrayId",
    "dataType",
    "operation",
    "segmentId",
    "startIndex",
    "endIndex",
    "isPrimary",
    "makePrimary",
    "status",
    "result",
    "code",
    "cores",
    "memory",
];

/// Fields of `data` that may be lists of numbers.
const LISTS: &[&str] = &["values", "data", "result"];

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Worker: here I am.
    RegisterWorker {
        /// Threads it computes with.
        cores: u32,
        /// Its memory in MiB.
        memory: u64,
    },
    /// Worker: I am alive.
    Heartbeat,
    /// Master to worker: a segment to keep, as its primary or as a replica.
    Segment(SegmentData),
    /// Master to worker: compute what you hold of an array as its primary.
    ProcessSegment {
        /// The array.
        array_id: String,
        /// The operation's name.
        operation: String,
    },
    /// Worker to master: a result.
    SegmentResult {
        /// The array.
        array_id: String,
        /// The result, element by element.
        values: Vec<f64>,
    },
    /// Master to worker: your replica is the primary now.
    RecoverData {
        /// The array.
        array_id: String,
        /// Which segment of it.
        segment_id: f64,
        /// Whether it becomes the primary.
        make_primary: bool,
    },
    /// Worker to master: so it is.
    RecoveryComplete,
    /// Master to worker: end.
    Shutdown,
    /// Client: store this.
    CreateArray {
        /// The array.
        array_id: String,
        /// "int" or "double".
        data_type: String,
        /// Its elements.
        values: Vec<f64>,
    },
    /// Client: compute.
    ApplyOperation {
        /// The array.
        array_id: String,
        /// The operation's name.
        operation: String,
    },
    /// Client: what came out?
    GetResult {
        /// The array.
        array_id: String,
    },
    /// Master to client: the answer to any of these.
    OperationComplete(Answer),
    /// A type that means nothing to anybody.
    Unknown,
}

/// Data of DISTRIBUTE_ARRAY and REPLICATE_DATA.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentData {
    /// The array.
    pub array_id: String,
    /// Which segment of it.
    pub segment_id: f64,
    /// Its first element.
    pub start: u64,
    /// The first element after it.
    pub end: u64,
    /// "int" or "double".
    pub data_type: String,
    /// Its elements; or why there was no memory for them, so that a worker can say of which segment it has none.
    pub values: Result<Vec<f64>, WireError>,
    /// Whether it is the one that computes.
    pub is_primary: bool,
}

/// Data of OPERATION_COMPLETE.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// "created", "processing", "complete" or "error".
    pub status: String,
    /// The array, where the master names it.
    pub array_id: Option<String>,
    /// The elements of a result.
    pub values: Option<Vec<f64>>,
    /// What is said instead of elements.
    pub text: Option<String>,
    /// The code of an error; original masters have none.
    pub code: Option<ErrorCode>,
}

impl Line {
    /// What it says.
    ///
    /// # Errors
    /// `Malformed`, naming the field that is missing or wrong.
    pub fn into_body(mut self) -> Result<Body, WireError> {
        Ok(match self.kind.as_str() {
            "REGISTER_WORKER" => {
                Body::RegisterWorker { cores: self.whole("cores")? as u32, memory: self.whole("memory")? }
            }
            "HEARTBEAT" => Body::Heartbeat,
            "SHUTDOWN" => Body::Shutdown,
            "DISTRIBUTE_ARRAY" | "REPLICATE_DATA" => Body::Segment(SegmentData {
                array_id: self.text("arrayId")?,
                segment_id: self.segment_id()?,
                start: self.whole("startIndex")?,
                end: self.whole("endIndex")?,
                data_type: self.text("dataType")?,
                // A replica is one whatever is said: so have the original's workers it.
                is_primary: self.kind == "DISTRIBUTE_ARRAY" && self.flag("isPrimary").unwrap_or(true),
                values: self.list("data")?,
            }),
            "PROCESS_SEGMENT" => {
                Body::ProcessSegment { array_id: self.text("arrayId")?, operation: self.text("operation")? }
            }
            "SEGMENT_RESULT" => Body::SegmentResult { array_id: self.text("arrayId")?, values: self.numbers("data")? },
            "RECOVER_DATA" => Body::RecoverData {
                array_id: self.text("arrayId")?,
                segment_id: self.segment_id()?,
                make_primary: self.flag("makePrimary").unwrap_or(false),
            },
            "RECOVERY_COMPLETE" => Body::RecoveryComplete,
            "CREATE_ARRAY" => Body::CreateArray {
                array_id: self.text("arrayId")?,
                data_type: self.text("dataType")?,
                values: self.numbers("values")?,
            },
            "APPLY_OPERATION" => {
                Body::ApplyOperation { array_id: self.text("arrayId")?, operation: self.text("operation")? }
            }
            "GET_RESULT" => Body::GetResult { array_id: self.text("arrayId")? },
            "OPERATION_COMPLETE" => Body::OperationComplete(Answer {
                status: self.text("status")?,
                array_id: self.text("arrayId").ok(),
                values: self.numbers("result").ok(),
                text: self.text("result").ok(),
                code: self.code(),
            }),
            _ => Body::Unknown,
        })
    }

    fn wrong(&self, field: &str, wanted: &str) -> WireError {
        let (kind, found) = (&self.kind, self.fields.get(field));
        let text = match found {
            None => format!("{kind} lacks data.{field}; it must be {wanted}"),
            Some(_) => format!("data.{field} of {kind} is not {wanted}"),
        };
        WireError::new(ErrorCode::Malformed, text)
    }

    fn text(&self, field: &str) -> Result<String, WireError> {
        match self.fields.get(field) {
            Some(Scalar::Text(text)) => Ok(text.clone()),
            _ => Err(self.wrong(field, "a string")),
        }
    }

    fn whole(&self, field: &str) -> Result<u64, WireError> {
        match self.fields.get(field) {
            Some(Scalar::Number(number)) if *number >= 0.0 && number.fract() == 0.0 => Ok(*number as u64),
            _ => Err(self.wrong(field, "a whole number from 0")),
        }
    }

    /// An error's code. One that is not known here, of a newer master, still is an error of a master of ours.
    fn code(&self) -> Option<ErrorCode> {
        let text = self.text("code").ok()?;
        Some(serde_json::from_value(text.into()).unwrap_or(ErrorCode::Internal))
    }

    fn flag(&self, field: &str) -> Option<bool> {
        match self.fields.get(field) {
            Some(Scalar::Flag(flag)) => Some(*flag),
            _ => None,
        }
    }

    /// A segment's id: a number, or one in quotes.
    fn segment_id(&self) -> Result<f64, WireError> {
        let number = match self.fields.get("segmentId") {
            Some(Scalar::Number(number)) => Some(*number),
            Some(Scalar::Text(text)) => text.parse().ok(),
            _ => None,
        };
        number.ok_or_else(|| self.wrong("segmentId", "a number"))
    }

    fn numbers(&mut self, field: &str) -> Result<Vec<f64>, WireError> {
        self.list(field)?
    }

    /// The list of that name, or why there was no memory for it.
    fn list(&mut self, field: &str) -> Result<Result<Vec<f64>, WireError>, WireError> {
        self.lists.remove(field).ok_or_else(|| self.wrong(field, "a list of numbers"))
    }
}

/// The original's name of a dtype, as in `dataType`; `None` for a dtype that it does not have.
pub fn data_type(dtype: DType) -> Option<&'static str> {
    match dtype {
        DType::Int32 => Some("int"),
        DType::Float64 => Some("double"),
        _ => None,
    }
}

/// The dtype of a `dataType`.
///
/// # Errors
/// `TypeMismatch` for any but the two there are.
pub fn dtype(data_type: &str) -> Result<DType, WireError> {
    match data_type {
        "int" => Ok(DType::Int32),
        "double" => Ok(DType::Float64),
        other => {
            let shown: String = other.chars().take(64).collect();
            let text = format!("dataType '{}' is not known; level 1 has \"int\" and \"double\"", shown.escape_debug());
            Err(WireError::new(ErrorCode::TypeMismatch, text))
        }
    }
}

/// The values of an int array. Level 1 does not tell 3 from 3.0.
///
/// # Errors
/// `TypeMismatch`, naming the first value that is no int32.
pub fn to_int32(values: &[f64]) -> Result<Vec<i32>, WireError> {
    let whole = |(index, value): (usize, &f64)| {
        let int = *value as i32;
        if f64::from(int) == *value {
            return Ok(int);
        }
        let why = match value.fract() == 0.0 {
            true => "outside of int32, -2147483648 to 2147483647",
            false => "not a whole number",
        };
        Err(WireError::new(ErrorCode::TypeMismatch, format!("values[{index}] = {value} is {why}; use \"double\"")))
    };
    values.iter().enumerate().map(whole).collect()
}
