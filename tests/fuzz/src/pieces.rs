//! A stream that brings its bytes in small pieces.

use protocol::frame::ReadDeadline;
use std::io::{self, Read};
use std::time::Instant;

/// Bytes, at most so many at a time.
pub struct Pieces<'a> {
    bytes: &'a [u8],
    size: usize,
}

impl<'a> Pieces<'a> {
    pub fn new(bytes: &'a [u8], size: usize) -> Pieces<'a> {
        Pieces { bytes, size: size.max(1) }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let size = self.size.min(into.len());
        self.bytes.read(&mut into[..size])
    }
}

/// Bytes in memory never wait.
impl ReadDeadline for Pieces<'_> {
    fn set_read_deadline(&mut self, _: Option<Instant>) {}
}
