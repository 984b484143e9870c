//! The master's log.

use array::checksum::crc32c;
use master::cluster::catalog::Catalog;
use master::log_file::{MAGIC, replay};
use std::path::Path;

/// How the rest becomes a log: as it is, or line by line as records with good checksums, perhaps cut or with a flipped bit.
pub fn log(data: &[u8]) {
    let [how, at, rest @ ..] = data else { return };
    let mut bytes = match how % 4 {
        0 => [MAGIC, rest].concat(),
        _ => MAGIC.iter().copied().chain(rest.split(|byte| *byte == b'\n').flat_map(record)).collect(),
    };
    let place = bytes.len() * usize::from(*at) / 256;
    match how % 4 {
        2 => bytes.truncate(place),
        3 => bytes[place] ^= 1 << (at % 8),
        _ => {}
    }
    let Ok((catalog, valid)) = replay(Path::new("catalog.log"), &bytes) else { return };
    assert!(valid <= bytes.len());
    let (again, same) = replay(Path::new("catalog.log"), &bytes[..valid]).expect("its valid part is a log");
    assert_eq!((again.hash(), same), (catalog.hash(), valid), "its valid part tells something else");
    let snapshot = Catalog::from_snapshot(&catalog.to_snapshot()).expect("a snapshot can be read");
    assert_eq!(snapshot.hash(), catalog.hash(), "its snapshot tells something else");
}

fn record(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_le_bytes(), &crc32c(body).to_le_bytes(), body].concat()
}
