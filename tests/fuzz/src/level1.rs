//! Lines of level 1.

use super::pieces::Pieces;
use protocol::frame::ReadDeadline;
use protocol::level1::{Body, Incoming, LINE_BYTES_MAX, LineReader, LineWriter, introduction};
use protocol::{ErrorCode, WireError};
use std::io::Read;

/// A line that is too long for some.
const SHORT_LINE_BYTES: u64 = 100;

/// Memory for a list that some do not have: more than a thousand elements.
const SHORT_LIST_BYTES: u64 = 8 << 10;

/// How it is read (size of pieces; flags of short lines and lists), then what a connection brings.
pub fn level1(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    let size = usize::from(*how & 0x3f);
    check_introduction(bytes, size);
    let list_bytes_max = if how & 0x80 == 0 { u64::MAX } else { SHORT_LIST_BYTES };
    if how & 0x40 != 0 {
        // How much of a line is too long depends on how it comes.
        drop(read_all(Pieces::new(bytes, size), SHORT_LINE_BYTES, list_bytes_max));
        return;
    }
    let found = read_all(bytes, LINE_BYTES_MAX, list_bytes_max);
    let in_pieces = read_all(Pieces::new(bytes, size), LINE_BYTES_MAX, list_bytes_max);
    assert_eq!(format!("{found:?}"), format!("{in_pieces:?}"), "in pieces of {size} it is something else");
    for incoming in found {
        if let Incoming::Line(line) = incoming
            && let Ok(body) = line.into_body()
        {
            round_trip(&body);
        }
    }
}

/// Elements of a list in a line.
pub fn list(data: &[u8]) {
    if data.contains(&b'\n') {
        return;
    }
    let before = b"{\"type\":\"CREATE_ARRAY\",\"data\":{\"arrayId\":\"a\",\"dataType\":\"double\",\"values\":";
    let line = [&before[..], data, b"}}\n"].concat();
    let found = values(read_all(&line[..], LINE_BYTES_MAX, u64::MAX));
    let in_pieces = values(read_all(Pieces::new(&line, 1), LINE_BYTES_MAX, u64::MAX));
    let bits = |values: &Vec<f64>| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(found.as_ref().map(bits), in_pieces.as_ref().map(bits), "in pieces it is something else");
    // What nobody writes may be refused: a number of more than 1,100 characters.
    let is_usual = data.split(|byte| *byte == b',').all(|token| token.len() < 1000);
    if let Ok(expected) = serde_json::from_slice::<Vec<f64>>(data)
        && is_usual
    {
        assert_eq!(found.as_ref().map(bits), Some(bits(&expected)), "serde_json reads something else");
    }
}

fn values(found: Vec<Incoming>) -> Option<Vec<f64>> {
    match found.into_iter().next()? {
        Incoming::Line(line) => match line.into_body() {
            Ok(Body::CreateArray { values, .. }) => Some(values),
            _ => None,
        },
        _ => None,
    }
}

fn read_all(stream: impl ReadDeadline, line_bytes_max: u64, list_bytes_max: u64) -> Vec<Incoming> {
    let mut reader = LineReader::new(stream, line_bytes_max);
    let mut grant = |bytes: u64| match bytes > list_bytes_max {
        true => Err(WireError::new(ErrorCode::InsufficientMemory, "no room")),
        false => Ok(()),
    };
    let mut found = Vec::new();
    while let Some(incoming) = reader.read(None, &mut grant).expect("memory can be read") {
        let is_last = matches!(incoming, Incoming::TooLong(_));
        found.push(incoming);
        if is_last {
            break;
        }
    }
    found
}

/// Whoever looks at the first line leaves everything to be read, and sees the same in pieces.
fn check_introduction(bytes: &[u8], size: usize) {
    let mut levels = [None; 2];
    let streams: [Box<dyn ReadDeadline>; 2] = [Box::new(bytes), Box::new(Pieces::new(bytes, size))];
    for (level, stream) in levels.iter_mut().zip(streams) {
        let Some((found, mut opened)) = introduction(Boxed(stream), None).expect("memory can be read") else {
            continue;
        };
        let mut again = Vec::new();
        opened.read_to_end(&mut again).expect("memory can be read");
        assert_eq!(again, bytes, "it is not read again from its first byte");
        *level = Some(found);
    }
    assert_eq!(levels[0], levels[1], "in pieces of {size} it is another level");
}

struct Boxed<'a>(Box<dyn ReadDeadline + 'a>);

impl Read for Boxed<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(into)
    }
}

impl ReadDeadline for Boxed<'_> {
    fn set_read_deadline(&mut self, _: Option<std::time::Instant>) {}
}

/// What was understood can be written, and reads as the same.
fn round_trip(body: &Body) {
    let Some(line) = line_of(body) else { return };
    let found = read_all(&line[..], LINE_BYTES_MAX, u64::MAX);
    let Some(Incoming::Line(again)) = found.into_iter().next() else {
        panic!("{body:?} is written as {}, and not read", String::from_utf8_lossy(&line));
    };
    // NaN is NaN here.
    assert_eq!(format!("{:?}", again.into_body()), format!("Ok({body:?})"), "{}", String::from_utf8_lossy(&line));
}

/// The line of a message; none for what nobody writes.
fn line_of(body: &Body) -> Option<Vec<u8>> {
    let line = |kind: &str| LineWriter::new(kind, "x", "y");
    let whole = |number: u64| i64::try_from(number).ok();
    let text = |line: LineWriter, key, value: &Option<String>| match value {
        Some(value) => line.text(key, value),
        None => line,
    };
    let line = match body {
        Body::RegisterWorker { cores, memory } => {
            line("REGISTER_WORKER").integer("cores", i64::from(*cores)).integer("memory", whole(*memory)?)
        }
        Body::Heartbeat => line("HEARTBEAT"),
        Body::Segment(segment) => line("DISTRIBUTE_ARRAY")
            .text("arrayId", &segment.array_id)
            .text("segmentId", &segment.segment_id.to_string())
            .integer("startIndex", whole(segment.start)?)
            .integer("endIndex", whole(segment.end)?)
            .text("dataType", &segment.data_type)
            .flag("isPrimary", segment.is_primary)
            .doubles("data", segment.values.as_ref().ok()?),
        Body::ProcessSegment { array_id, operation } => {
            line("PROCESS_SEGMENT").text("arrayId", array_id).text("operation", operation)
        }
        Body::SegmentResult { array_id, values } => {
            line("SEGMENT_RESULT").text("arrayId", array_id).doubles("data", values)
        }
        Body::RecoverData { array_id, segment_id, make_primary } => line("RECOVER_DATA")
            .text("arrayId", array_id)
            .text("segmentId", &segment_id.to_string())
            .flag("makePrimary", *make_primary),
        Body::RecoveryComplete => line("RECOVERY_COMPLETE"),
        Body::Shutdown => line("SHUTDOWN"),
        Body::CreateArray { array_id, data_type, values } => {
            line("CREATE_ARRAY").text("arrayId", array_id).text("dataType", data_type).doubles("values", values)
        }
        Body::ApplyOperation { array_id, operation } => {
            line("APPLY_OPERATION").text("arrayId", array_id).text("operation", operation)
        }
        Body::GetResult { array_id } => line("GET_RESULT").text("arrayId", array_id),
        Body::OperationComplete(answer) => {
            let mut line = line("OPERATION_COMPLETE").text("status", &answer.status);
            line = text(line, "arrayId", &answer.array_id);
            if let Some(values) = &answer.values {
                line = line.doubles("result", values);
            }
            line = text(line, "result", &answer.text);
            text(line, "code", &answer.code.map(|code| code.to_string()))
        }
        Body::Unknown => return None,
    };
    Some(line.finish())
}
