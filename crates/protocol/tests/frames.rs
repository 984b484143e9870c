//! Frames as they come off a wire: whole, in pieces, too long, too deep, broken.

use protocol::error::ErrorCode;
use protocol::frame::{Documents, ReadDeadline};
use protocol::limits::*;
use protocol::message::client::{CreateArray, DeleteArray, GetResult};
use protocol::message::worker::Inventory;
use protocol::message::{Body, Message, Payload, PayloadKind, Ping};
use protocol::{CopyRecord, FrameError, FrameReader, FrameWriter, Incoming, VersionId};
use std::io::{self, Read};
use std::time::Instant;

/// Gives bytes one at a time.
struct Drip<'a>(&'a [u8]);

impl Read for Drip<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = buf.len().min(1).min(self.0.len());
        buf[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

impl ReadDeadline for Drip<'_> {
    fn set_read_deadline(&mut self, _: Option<Instant>) {}
}

fn read_all(bytes: &[u8]) -> Result<Vec<Incoming>, FrameError> {
    let mut reader = FrameReader::new(bytes);
    let mut all = Vec::new();
    while let Some(incoming) = reader.read(None)? {
        all.push(incoming);
    }
    Ok(all)
}

fn broken_code(bytes: &[u8]) -> ErrorCode {
    match read_all(bytes) {
        Err(FrameError::Broken(error)) => error.code,
        other => panic!("{other:?}"),
    }
}

fn refusal(bytes: &[u8]) -> (Option<u64>, ErrorCode) {
    match read_all(bytes).unwrap().as_slice() {
        [Incoming::Refused { head, error }] => (head.id, error.code),
        other => panic!("{other:?}"),
    }
}

const PING: &str = "{\"type\":\"PING\"}\n";

#[test]
fn a_line_typed_by_hand_is_enough() {
    let incoming = read_all(b"{\"type\":\"PING\",\"id\":7}\r\n\n  \n{\"type\":\"PING\"}\n").unwrap();
    assert_eq!(incoming, [Incoming::Message(Message::request(7, Ping {})), Incoming::Message(Message::new(Ping {}))]);
}

#[test]
fn bytes_may_come_one_by_one() {
    let mut wire = Vec::new();
    let payload = Payload {
        kind: PayloadKind::Elements(array::DType::Int32),
        bytes: 8,
        crc32c: array::checksum::crc32c(b"AAAABBBB"),
    };
    let mut writer = FrameWriter::new(&mut wire, "a", "b");
    writer.write_with(&Message::new(Ping {}).with_payload(payload), b"AAAABBBB").unwrap();
    writer.write(&Message::request(2, Ping {})).unwrap();
    let mut reader = FrameReader::new(Drip(&wire));
    let Some(Incoming::Message(first)) = reader.read(None).unwrap() else { panic!() };
    let mut bytes = [0; 8];
    reader.read_payload(&first.head.payload.unwrap(), &mut bytes).unwrap();
    assert_eq!(&bytes, b"AAAABBBB");
    let Some(Incoming::Message(second)) = reader.read(None).unwrap() else { panic!() };
    assert_eq!(second.head.id, Some(2));
    assert!(reader.read(None).unwrap().is_none());
}

#[test]
fn elements_may_be_written_and_read_in_blocks() {
    let data: Vec<u8> = (0..2 * BLOCK_BYTES + 3).map(|index| (index % 251) as u8).collect();
    let crc32c = array::checksum::crc32c(&data);
    let kind = PayloadKind::Elements(array::DType::Int8);
    let message = Message::request(1, Ping {}).with_payload(Payload { kind, bytes: data.len() as u64, crc32c });
    let mut wire = Vec::new();
    let mut writer = FrameWriter::new(&mut wire, "a", "b");
    writer.begin(&message).unwrap();
    data.chunks(70_001).for_each(|block| writer.write_block(block).unwrap());
    writer.write(&Message::request(2, Ping {})).unwrap();
    let mut reader = FrameReader::new(&wire[..]);
    let Some(Incoming::Message(first)) = reader.read(None).unwrap() else { panic!() };
    let (mut bytes, mut seen) = (vec![0; data.len()], Vec::new());
    let arrived = |block: &[u8]| seen.push(block.to_vec());
    reader.read_payload_with(&first.head.payload.unwrap(), &mut bytes, arrived).unwrap();
    assert_eq!(seen.iter().map(Vec::len).collect::<Vec<_>>(), [BLOCK_BYTES, BLOCK_BYTES, 3]);
    assert!(bytes == data && seen.concat() == data, "the bytes differ");
    let Some(Incoming::Message(second)) = reader.read(None).unwrap() else { panic!() };
    assert_eq!(second.head.id, Some(2));
}

#[test]
fn a_stream_that_ends_inside_a_frame_is_an_error_wherever_that_is() {
    let payload =
        Payload { kind: PayloadKind::Elements(array::DType::Int8), bytes: 3, crc32c: array::checksum::crc32c(b"abc") };
    let mut wire = Vec::new();
    FrameWriter::new(&mut wire, "a", "b").write_with(&Message::new(Ping {}).with_payload(payload), b"abc").unwrap();
    for end in 1..wire.len() {
        let mut reader = FrameReader::new(&wire[..end]);
        let result = reader.read(None).and_then(|incoming| match incoming {
            Some(Incoming::Message(message)) => reader.read_payload(&message.head.payload.unwrap(), &mut [0; 3]),
            other => panic!("{end}: {other:?}"),
        });
        assert!(matches!(result, Err(FrameError::Truncated)), "{end}: {result:?}");
    }
    assert!(read_all(b"").unwrap().is_empty(), "an end between frames is none");
}

#[test]
fn long_data_travels_as_a_payload_by_itself() {
    let copies: Vec<CopyRecord> = (0..20_000).map(|n| CopyRecord(VersionId(n), n as u32, 1, 2)).collect();
    let message = Message::request(3, Inventory { copies });
    let mut wire = Vec::new();
    FrameWriter::new(&mut wire, "a", "b").write(&message).unwrap();
    assert!(wire.iter().position(|b| *b == b'\n').unwrap() < 300, "the line is short");
    let read = read_all(&wire).unwrap();
    let [Incoming::Message(read)] = read.as_slice() else { panic!() };
    assert_eq!((&read.body, read.head.payload), (&message.body, None));
}

#[test]
fn unknown_types_and_wrong_data_are_refused_and_the_connection_lives() {
    assert_eq!(refusal(b"{\"type\":\"LEVITATE\",\"id\":4}\n"), (Some(4), ErrorCode::UnknownType));
    assert_eq!(refusal(b"{\"type\":\"GET_RESULT\",\"id\":5,\"data\":{}}\n"), (Some(5), ErrorCode::Malformed));
    assert_eq!(
        refusal(b"{\"type\":\"CANCEL_OPERATION\",\"id\":5,\"data\":{\"operation\":-1}}\n"),
        (Some(5), ErrorCode::Malformed)
    );
    assert_eq!(refusal(b"{\"type\":\"UNPIN\",\"data\":{\"pin\":1.0}}\n").1, ErrorCode::Malformed);
    assert_eq!(refusal(b"{\"type\":\"UNPIN\",\"data\":{\"pin\":1e999}}\n").1, ErrorCode::Malformed);
    assert_eq!(refusal(b"{\"type\":\"UNPIN\",\"data\":{\"pin\":1,\"pin\":2}}\n").1, ErrorCode::Malformed);
    // With a payload: it is skipped.
    let wire = [
        b"{\"type\":\"LEVITATE\",\"payload\":{\"dtype\":\"int8\",\"bytes\":3,\"crc32c\":1}}\nabc".as_slice(),
        PING.as_bytes(),
    ]
    .concat();
    let read = read_all(&wire).unwrap();
    assert!(matches!(&read[..], [Incoming::Refused { .. }, Incoming::Message(_)]), "{read:?}");
}

#[test]
fn unknown_fields_are_ignored() {
    let line = b"{\"type\":\"GET_RESULT\",\"colour\":[{}],\"data\":{\"arrayId\":\"a\",\"size\":{\"x\":[1]}}}\n";
    let read = read_all(line).unwrap();
    let body = Body::from(GetResult { array_id: "a".into(), array: false, range: None });
    assert_eq!(read, [Incoming::Message(Message::new(body))]);
}

#[test]
fn what_is_no_message_breaks_the_connection() {
    for line in [
        "nonsense\n",
        "[]\n",
        "{}\n",
        "{\"type\":7}\n",
        "{\"type\":\"PING\"} {\"type\":\"PING\"}\n",
        "{\"type\":\"PING\",\"id\":-1}\n",
        "{\"type\":\"PING\",\"id\":1e400}\n",
        "{\"type\":\"PING\",\"payload\":{\"bytes\":3}}\n",
        "{\"type\":\"PING\",\"payload\":{\"dtype\":\"object\",\"bytes\":3,\"crc32c\":1}}\n",
        "{\"type\":\"PING\",\"from\":\"\\ud800\"}\n",
        "\u{feff}{\"type\":\"PING\"}\n",
        "{\"type\":\"PING\"\0}\n",
    ] {
        assert_eq!(broken_code(line.as_bytes()), ErrorCode::Malformed, "{line:?}");
    }
    assert_eq!(broken_code(b"{\"type\":\"PING\xff\"}\n"), ErrorCode::Malformed);
}

#[test]
fn lines_are_capped() {
    let of = |bytes: usize| format!("{{\"type\":\"PING\",\"from\":\"{}\"}}\n", "x".repeat(bytes - 26));
    assert_eq!(of(HEADER_BYTES_MAX).len(), HEADER_BYTES_MAX);
    assert_eq!(read_all(of(HEADER_BYTES_MAX).as_bytes()).unwrap().len(), 1);
    assert_eq!(broken_code(of(HEADER_BYTES_MAX + 1).as_bytes()), ErrorCode::TooLarge);
    assert_eq!(broken_code(&vec![b' '; 10 * HEADER_BYTES_MAX]), ErrorCode::TooLarge);
}

#[test]
fn nesting_is_capped_outside_strings() {
    let nested =
        |depth: usize| format!("{{\"type\":\"PING\",\"x\":{}{}}}\n", "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert_eq!(read_all(nested(JSON_DEPTH_MAX).as_bytes()).unwrap().len(), 1);
    assert_eq!(broken_code(nested(JSON_DEPTH_MAX + 1).as_bytes()), ErrorCode::Malformed);
    assert_eq!(broken_code(nested(30_000).as_bytes()), ErrorCode::Malformed);
    let in_string = format!("{{\"type\":\"PING\",\"from\":\"\\\"{}\"}}\n", "[".repeat(1000));
    assert_eq!(read_all(in_string.as_bytes()).unwrap().len(), 1);
}

#[test]
fn payloads_are_capped_before_they_cost_memory() {
    let line = |kind: &str, bytes: u64| {
        format!("{{\"type\":\"PING\",\"payload\":{{\"dtype\":\"{kind}\",\"bytes\":{bytes},\"crc32c\":0}}}}\n")
    };
    assert_eq!(broken_code(line("int8", PAYLOAD_BYTES_MAX + 1).as_bytes()), ErrorCode::TooLarge);
    assert_eq!(broken_code(line("json", JSON_PAYLOAD_BYTES_MAX + 1).as_bytes()), ErrorCode::TooLarge);
    assert_eq!(broken_code(line("int8", u64::MAX).as_bytes()), ErrorCode::TooLarge);
}

#[test]
fn a_payload_with_another_checksum_breaks_the_connection() {
    let wire = b"{\"type\":\"PING\",\"payload\":{\"dtype\":\"int8\",\"bytes\":3,\"crc32c\":1}}\nabc";
    let mut reader = FrameReader::new(&wire[..]);
    let Some(Incoming::Message(message)) = reader.read(None).unwrap() else { panic!() };
    match reader.read_payload(&message.head.payload.unwrap(), &mut [0; 3]) {
        Err(FrameError::Broken(error)) => assert_eq!(error.code, ErrorCode::ChecksumMismatch),
        other => panic!("{other:?}"),
    }
}

#[test]
fn values_survive_bit_for_bit() {
    let body = Body::from(CreateArray {
        array_id: "größe\u{1F600}".into(),
        dtype: array::DType::Complex128,
        shape: vec![0, (1 << 53) - 1],
        replace: true,
    });
    let mut wire = Vec::new();
    FrameWriter::new(&mut wire, "x", "y").write(&Message::new(body.clone())).unwrap();
    let read = read_all(&wire).unwrap();
    assert!(matches!(&read[..], [Incoming::Message(message)] if message.body == body));
}

#[test]
fn json_payloads_share_memory_and_what_finds_none_is_busy_while_the_connection_lives() {
    let inventory = |copies: u64| {
        let copies = (0..copies).map(|n| CopyRecord(VersionId(n), 0, 7, 8)).collect();
        let mut wire = Vec::new();
        FrameWriter::new(&mut wire, "a", "b").write(&Message::request(3, Inventory { copies })).unwrap();
        wire
    };
    let (long, longer) = (inventory(100_000), inventory(200_000));
    assert!(longer.len() > 2 * BLOCK_BYTES && long.len() > BLOCK_BYTES);
    let documents = Documents::new(long.len() as u64);
    for _ in 0..2 {
        // Twice: what was read goes back, and so does what was given up in the middle.
        let mut wire = longer.clone();
        wire.extend(&long);
        FrameWriter::new(&mut wire, "", "").write(&Message::new(Ping {})).unwrap();
        let mut reader = FrameReader::new(wire.as_slice()).sharing(documents.clone());
        match reader.read(None).unwrap() {
            Some(Incoming::Refused { head, error }) => {
                assert_eq!((head.id, error.code), (Some(3), ErrorCode::Busy));
                assert!(error.retry_after_ms.is_some());
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            reader.read(None).unwrap(),
            Some(Incoming::Message(Message { body: Body::Inventory(_), .. }))
        ));
        assert!(matches!(reader.read(None).unwrap(), Some(Incoming::Message(Message { body: Body::Ping(_), .. }))));
    }
}

// ---- checksums of lines ----

#[test]
fn every_flipped_bit_of_a_line_is_noticed() {
    let mut wire = Vec::new();
    let mut writer = FrameWriter::new(&mut wire, "a", "b");
    writer.write(&Message::new(Ping {})).unwrap();
    let ask = DeleteArray { array_id: "prices".into() };
    writer.write(&Message::request(17, ask)).unwrap();
    assert_eq!(read_all(&wire).unwrap().len(), 2);
    let second = wire.iter().position(|byte| *byte == b'\n').expect("two lines") + 1;
    for bit in second * 8..wire.len() * 8 {
        let mut damaged = wire.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let read = read_all(&damaged);
        assert!(read.is_err(), "bit {} of {:?} goes unnoticed: {read:?}", bit % 8, damaged[bit / 8] as char);
    }
}

#[test]
fn a_checksum_may_be_left_out_but_not_later() {
    let with = "{\"type\":\"PING\",\"id\":7,\"data\":{},\"crc32c\":4191390400}\n"; // as PROTOCOL.md has it
    let ping = || Incoming::Message(Message::request(7, Ping {}));
    assert_eq!(read_all(format!("{PING}{with}{with}").as_bytes()).unwrap()[1..], [ping(), ping()]);
    assert_eq!(broken_code(format!("{with}{PING}").as_bytes()), ErrorCode::ChecksumMismatch);
    for wrong in ["4191390401", "", "41913904004191390400", "-1"] {
        let line = with.replace("4191390400", wrong);
        assert_eq!(broken_code(format!("{with}{line}").as_bytes()), ErrorCode::ChecksumMismatch, "{wrong}");
    }
    // That of a payload, within an object, is something else.
    let payload = "{\"type\":\"PING\",\"payload\":{\"dtype\":\"int8\",\"bytes\":0,\"crc32c\":0}}\n";
    assert!(read_all(payload.as_bytes()).is_ok());
}
