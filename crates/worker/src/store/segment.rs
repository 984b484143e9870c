//! One complete copy.

use array::{Buffer, DType};
use protocol::{CopyId, CopyRecord};

/// One complete copy.
#[derive(Debug, PartialEq)]
pub struct Segment {
    dtype: DType,
    record: CopyRecord,
    buffer: Buffer,
}

impl Segment {
    /// A copy with the given bytes, whose CRC-32C the caller has computed.
    ///
    /// # Panics
    /// If the bytes are not whole elements: every way into the store checks that before it takes memory.
    pub fn new(copy: CopyId, dtype: DType, buffer: Buffer, crc32c: u32) -> Segment {
        assert!(buffer.len().is_multiple_of(dtype.size()), "{copy}: {} bytes of {dtype}", buffer.len());
        let record = CopyRecord(copy.version(), copy.segment(), crc32c, buffer.len() as u64);
        Segment { dtype, record, buffer }
    }

    /// The type of its elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Which copy it is, with checksum and length.
    pub fn record(&self) -> CopyRecord {
        self.record
    }

    /// Its bytes.
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// Its length.
    pub fn elements(&self) -> u64 {
        self.record.bytes() / self.dtype.size() as u64
    }

    /// Whether its bytes still have their checksum. Reads all of them: not under the lock.
    pub fn is_intact(&self) -> bool {
        array::checksum::crc32c(self.buffer.as_bytes()) == self.record.crc32c() || planted::bug!(ReadNotChecked)
    }
}
