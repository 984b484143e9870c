//! The numbers and names things go by on the wire.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// One array, from its creation to its deletion. Never used again: deleting a name and creating it anew gives a new id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ArrayId(pub u64);

/// One immutable content of an array. Unique in the whole cluster and never used again, so it names its array too.
/// People write it after the array's name: `a@v17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VersionId(pub u64);

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

/// Ordinal of a segment in the grid of its array, from 0.
pub type SegmentIndex = u32;

/// Lifetime of one client: its requests are numbered within it, and a retry is recognised by it.
pub type SessionId = uuid::Uuid;

/// What the logs call a client's request: the last eight digits of its session, which tell sessions apart where the first
/// ones only tell their time, and its number.
pub fn request_name(session: SessionId, id: u64) -> String {
    format!("{:08x}/{id}", session.as_u128() as u32)
}

/// The id a worker was started with. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerId(Arc<str>);

impl WorkerId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for WorkerId {
    fn from(id: &str) -> Self {
        WorkerId(id.into())
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Version of a segment's assignment, `[term, n]` on the wire. It grows with every change of who holds what; a worker
/// refuses instructions about a segment that are older than the newest it has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64, pub u64);

impl Epoch {
    /// The epoch made by log record `index` in `term`.
    pub fn new(term: u64, index: u64) -> Epoch {
        Epoch(term, index)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// What a copy is a copy of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CopyId(pub VersionId, pub SegmentIndex);

impl CopyId {
    /// The version of the copy.
    pub fn version(self) -> VersionId {
        self.0
    }

    /// The segment of the copy.
    pub fn segment(self) -> SegmentIndex {
        self.1
    }
}

impl fmt::Display for CopyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0, self.1)
    }
}

/// A copy somebody holds: `[version, segment, crc32c, bytes]` on the wire. Two copies with equal records are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CopyRecord(pub VersionId, pub SegmentIndex, pub u32, pub u64);

impl CopyRecord {
    /// Which copy.
    pub fn id(self) -> CopyId {
        CopyId(self.0, self.1)
    }

    /// CRC-32C of its bytes.
    pub fn crc32c(self) -> u32 {
        self.2
    }

    /// Its length in bytes.
    pub fn bytes(self) -> u64 {
        self.3
    }
}

/// Fingerprint of a set of copies, sixteen hexadecimal digits on the wire: the exclusive or of one hash per copy, so it
/// is kept up to date in constant time and does not depend on the order. Equal digests mean equal inventories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    /// Adds a copy to the set, or takes it out again.
    pub fn toggle(&mut self, copy: CopyId, crc32c: u32) {
        let place = mix(copy.version().0 ^ mix(u64::from(copy.segment())));
        self.0 ^= mix(place ^ u64::from(crc32c));
    }
}

/// One step of SplitMix64, which hashes 64 bits.
fn mix(x: u64) -> u64 {
    array::random::bits(x, 0)
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map(Digest).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_depends_on_the_set_only() {
        let (a, b) = (CopyId(VersionId(1), 2), CopyId(VersionId(2), 1));
        let mut ab = Digest::default();
        ab.toggle(a, 7);
        ab.toggle(b, 8);
        let mut ba = Digest::default();
        ba.toggle(b, 8);
        ba.toggle(a, 7);
        assert_eq!(ab, ba);
        ba.toggle(a, 7);
        assert_ne!(ab, ba);
        ba.toggle(b, 8);
        assert_eq!(ba, Digest::default());
    }

    #[test]
    fn digest_of_one_known_copy_is_fixed_for_ever() {
        let mut digest = Digest::default();
        digest.toggle(CopyId(VersionId(17), 3), 0xdead_beef);
        let text = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), digest);
        assert_eq!(text, "\"dc0f866b6a8ea4f6\"");
    }
}
