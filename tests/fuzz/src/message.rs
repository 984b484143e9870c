//! The data of every message of level 2.

use protocol::Body;

/// Which type, then its `data`.
pub fn message(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let Ok(data) = std::str::from_utf8(data) else { return };
    let kind = Body::KINDS[usize::from(*kind) % Body::KINDS.len()];
    if let Some(Ok(body)) = Body::from_parts(kind, data) {
        check(&body);
    }
}

/// A message can be written, and reads as the same.
pub fn check(body: &Body) {
    let (kind, data) = body.to_parts();
    let again = Body::from_parts(&kind, &data).expect("a type that exists");
    let again = again.unwrap_or_else(|e| panic!("{kind} is written as {data}, and not read: {e}"));
    assert_eq!(&again, body, "{kind} is written as {data}");
}
