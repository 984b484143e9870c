//! What is said to the master, and its bytes.

use array::{Buffer, DType};
use protocol::level1::LineWriter;

/// Longest line for a Python master, newline included: what it reads at once.
pub const LINE_BYTES_SHORT: usize = 8192;

/// Least bytes of one element and its comma in a line. A list that is too long even so is not written to find out.
const ELEMENT_BYTES_MIN: usize = 2;

/// Something to say to the master.
#[derive(Debug, PartialEq)]
pub enum Reply {
    /// This worker lives.
    Heartbeat,
    /// The result of one segment, or that there is none.
    Result {
        /// The array.
        array: String,
        /// Which segment of it.
        segment: i64,
        /// The result; none if the operation could not be done.
        values: Option<Values>,
    },
    /// A replica is the primary now. Said also when it is not here, as the original's workers do: no other answer exists.
    Recovered {
        /// The array.
        array: String,
        /// Which segment of it.
        segment: i64,
    },
}

/// The elements of a result.
#[derive(Debug, PartialEq)]
pub struct Values {
    /// Their type.
    pub dtype: DType,
    /// Their bytes.
    pub buffer: Buffer,
}

impl Reply {
    /// Its line, newline included. With `short` it has at most [`LINE_BYTES_SHORT`]: a result that does not fit goes
    /// without its values, which a Python master does not use; `None` if that is too long as well.
    ///
    /// The time is written on it, so this is called by the thread that writes.
    pub fn to_line(&self, worker: &str, short: bool) -> Option<Vec<u8>> {
        let line = |kind| LineWriter::new(kind, worker, "master");
        match self {
            Reply::Heartbeat => Some(line("HEARTBEAT").finish()),
            Reply::Recovered { array, segment } => {
                let line = line("RECOVERY_COMPLETE").text("arrayId", array).integer("segmentId", *segment);
                fitting(line.text("status", "recovered").finish(), short)
            }
            Reply::Result { array, segment, values } => {
                let result = |status, values: Option<&Values>| {
                    let line = line("SEGMENT_RESULT").text("arrayId", array).integer("segmentId", *segment);
                    with_values(line.text("status", status), values).finish()
                };
                let Some(values) = values else { return fitting(result("error", None), short) };
                let is_long = values.len() * ELEMENT_BYTES_MIN > LINE_BYTES_SHORT;
                let whole = (!short || !is_long).then(|| result("completed", Some(values)));
                whole.and_then(|line| fitting(line, short)).or_else(|| fitting(result("completed", None), short))
            }
        }
    }
}

impl Values {
    fn len(&self) -> usize {
        self.buffer.len() / self.dtype.size()
    }
}

/// Adds `data`, which is a list whatever there is: a Java master stops reading a worker that leaves it out.
fn with_values(line: LineWriter, values: Option<&Values>) -> LineWriter {
    match values {
        Some(Values { dtype: DType::Int32, buffer }) => line.ints("data", buffer.as_slice()),
        Some(Values { buffer, .. }) => line.doubles("data", buffer.as_slice()),
        None => line.ints("data", &[]),
    }
}

/// The line, if it is short enough.
fn fitting(line: Vec<u8>, short: bool) -> Option<Vec<u8>> {
    (!short || line.len() <= LINE_BYTES_SHORT).then_some(line)
}
