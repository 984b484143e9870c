//! Frames of level 2, as the master takes them.

use super::pieces::Pieces;
use protocol::frame::{ReadDeadline, encode};
use protocol::{Body, FrameReader, Incoming, Message, limits};

/// The size of pieces, then what a connection brings.
pub fn frame(data: &[u8]) {
    let Some((size, bytes)) = data.split_first() else { return };
    let (found, end) = read_all(bytes);
    let in_pieces = read_all(Pieces::new(bytes, usize::from(*size)));
    assert_eq!((&found, &end), (&in_pieces.0, &in_pieces.1), "in pieces of {size} it is something else");
    for incoming in found {
        match incoming {
            Incoming::Message(message) => round_trip(&message),
            // What a refused message is answered.
            Incoming::Refused { head, error } => round_trip(&Message::reply(&head, error)),
        }
    }
}

/// Everything up to the end of the stream or of what can be read of it, and how it ended.
fn read_all(stream: impl ReadDeadline) -> (Vec<Incoming>, String) {
    let mut reader = FrameReader::new(stream);
    let mut found = Vec::new();
    loop {
        let mut incoming = match reader.read(None) {
            Ok(Some(incoming)) => incoming,
            Ok(None) => return (found, "the end".to_string()),
            Err(e) => return (found, e.to_string()),
        };
        if let Incoming::Message(message) = &mut incoming {
            let bytes_max = if let Body::SegmentResult(_) = message.body { limits::INLINE_BYTES_MAX } else { 0 };
            if let Err(e) = reader.take_elements(message, bytes_max) {
                return (found, e.to_string());
            }
        }
        found.push(incoming);
    }
}

/// What was accepted can be written, and reads as the same.
fn round_trip(message: &Message) {
    let mut bytes = Vec::new();
    let document = encode(&message.head, &message.body, &mut bytes).expect("memory takes everything");
    match &document {
        Some(document) => bytes.extend(document.get().as_bytes()),
        None => bytes.extend(message.elements.as_deref().unwrap_or_default()),
    }
    let (again, end) = read_all(&bytes[..]);
    assert_eq!(again, [Incoming::Message(message.clone())], "{end}: {}", String::from_utf8_lossy(&bytes));
}
