//! Which instructions are too old to be obeyed.
//!
//! Every instruction carries the epoch `[term, n]` of its maker's knowledge. For each segment the largest
//! epoch seen is kept, and an older instruction about that segment is refused. Two facts keep the memory
//! small:
//!
//! - Within one term there is one master with one connection at a time, which delivers in order. What is late
//!   from an earlier connection never gets here. So an entry only matters against a master of an older term,
//!   and for that the largest term ever seen is enough; it is checked first.
//! - A dropped version is never instructed about again by that term's master, as version numbers are not used
//!   twice. So its entries go with it ([`Fence::forget`]).
//!
//! What is left are entries of segments that were instructed about and never came to anything;
//! [`Fence::trim`] bounds them.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use protocol::{CopyId, Epoch, ErrorCode, VersionId, WireError};
use std::collections::BTreeMap;

/// Entries kept for segments of which nothing is here: as many as the largest plan that fits into one header
/// line, so a refused instruction does not forget what the one before it has taught.
pub const SPARE_ENTRIES_MAX: usize = 8192;

/// The largest epoch seen, per segment.
#[derive(Debug, Default)]
pub struct Fence {
    term: u64,
    seen: BTreeMap<CopyId, Epoch>,
}

impl Fence {
    /// How many segments have an entry.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether no segment has an entry.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Takes note of a master's term.
    ///
    /// # Errors
    /// `Fenced` if a master of a later term has been heard already.
    pub fn admit_term(&mut self, term: u64) -> Result<(), WireError> {
        if term < self.term {
            let why = format!("term {term} is over: a master of term {} has been heard", self.term);
            return Err(WireError::new(ErrorCode::Fenced, why));
        }
        self.term = term;
        Ok(())
    }

    /// Takes note of an instruction about one segment. One without an epoch passes.
    ///
    /// # Errors
    /// `Fenced` if a newer one has been seen.
    pub fn admit(&mut self, copy: CopyId, epoch: Option<Epoch>) -> Result<(), WireError> {
        let Some(epoch) = epoch else { return Ok(()) };
        self.admit_term(epoch.0)?;
        let newest = self.seen.entry(copy).or_insert(epoch);
        if epoch < *newest && !planted::bug!(NoFence) {
            return Err(refusal(copy, epoch, *newest));
        }
        *newest = epoch;
        Ok(())
    }

    /// Takes note of an instruction about a whole version: it must be as new as everything seen about its
    /// segments.
    ///
    /// # Errors
    /// `Fenced` if something newer has been seen about any of them.
    pub fn admit_version(&mut self, version: VersionId, epoch: Option<Epoch>) -> Result<(), WireError> {
        let Some(epoch) = epoch else { return Ok(()) };
        self.admit_term(epoch.0)?;
        match self.seen.range(CopyId(version, 0)..=CopyId(version, u32::MAX)).find(|(_, seen)| epoch < **seen) {
            Some((copy, newest)) => Err(refusal(*copy, epoch, *newest)),
            None => Ok(()),
        }
    }

    /// Forgets a dropped version.
    pub fn forget(&mut self, version: VersionId) {
        let entries = self.seen.range(CopyId(version, 0)..=CopyId(version, u32::MAX));
        let gone: Vec<CopyId> = entries.map(|(copy, _)| *copy).collect();
        for copy in gone {
            self.seen.remove(&copy);
        }
    }

    /// Forgets the oldest entries of segments of which nothing is here, when there are too many of them.
    /// `holds` tells of which something is here, and `held` how many those are at most.
    pub fn trim(&mut self, held: usize, holds: impl Fn(CopyId) -> bool) {
        // Twice as many may pile up before a pass over all of them, so that a pass is rare.
        if self.seen.len() <= held + 2 * SPARE_ENTRIES_MAX {
            return;
        }
        let idle: Vec<CopyId> = self.seen.keys().copied().filter(|copy| !holds(*copy)).collect();
        for copy in &idle[..idle.len().saturating_sub(SPARE_ENTRIES_MAX)] {
            self.seen.remove(copy);
        }
    }
}

fn refusal(copy: CopyId, epoch: Epoch, newest: Epoch) -> WireError {
    let why = format!("an instruction of epoch {epoch} about {copy}, for which {newest} has been seen");
    WireError::new(ErrorCode::Fenced, why).segments([copy.segment()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(version: u64, segment: u32) -> CopyId {
        CopyId(VersionId(version), segment)
    }

    #[test]
    fn an_older_epoch_is_refused_per_segment() {
        let mut fence = Fence::default();
        assert_eq!(fence.admit(copy(1, 0), Some(Epoch(1, 7))), Ok(()));
        assert_eq!(fence.admit(copy(1, 0), Some(Epoch(1, 7))), Ok(()), "the same again");
        assert_eq!(fence.admit(copy(1, 0), Some(Epoch(1, 6))).unwrap_err().code, ErrorCode::Fenced);
        assert_eq!(fence.admit(copy(1, 1), Some(Epoch(1, 6))), Ok(()), "another segment has its own history");
        assert_eq!(fence.admit(copy(1, 0), None), Ok(()));
        assert!(fence.admit_version(VersionId(1), Some(Epoch(1, 6))).is_err());
        assert_eq!(fence.admit_version(VersionId(1), Some(Epoch(1, 7))), Ok(()));
    }

    #[test]
    fn an_older_term_is_refused_for_everything_ever_after() {
        let mut fence = Fence::default();
        assert_eq!(fence.admit(copy(1, 0), Some(Epoch(2, 1))), Ok(()));
        assert!(fence.admit(copy(9, 0), Some(Epoch(1, 99))).is_err());
        fence.forget(VersionId(1));
        assert!(fence.admit(copy(1, 0), Some(Epoch(1, 99))).is_err());
        assert!(fence.admit_version(VersionId(1), Some(Epoch(1, 99))).is_err());
        assert!(fence.admit_term(1).is_err());
        assert_eq!(fence.admit_term(3), Ok(()));
        assert_eq!(fence.term, 3);
    }

    #[test]
    fn dropped_versions_leave_nothing_behind() {
        let mut fence = Fence::default();
        for version in 1..=3 {
            for segment in 0..4 {
                fence.admit(copy(version, segment), Some(Epoch(1, version))).unwrap();
            }
        }
        fence.forget(VersionId(2));
        assert_eq!(fence.len(), 8);
        assert!(fence.admit(copy(1, 3), Some(Epoch(1, 0))).is_err(), "the neighbours stay");
        assert!(fence.admit(copy(3, 0), Some(Epoch(1, 0))).is_err());
        fence.forget(VersionId(1));
        fence.forget(VersionId(3));
        assert!(fence.is_empty());
        fence.admit(copy(u64::MAX, 0), Some(Epoch(1, 1))).unwrap();
        fence.forget(VersionId(u64::MAX));
        assert!(fence.is_empty());
    }

    #[test]
    fn entries_of_nothing_are_bounded_and_the_newest_stay() {
        let mut fence = Fence::default();
        for version in 0..3 * SPARE_ENTRIES_MAX as u64 {
            fence.admit(copy(version, 0), Some(Epoch(1, 5))).unwrap();
            fence.trim(1, |copy| copy.version().0 == 7);
        }
        assert!(fence.len() <= 1 + 2 * SPARE_ENTRIES_MAX);
        assert!(fence.admit(copy(7, 0), Some(Epoch(1, 4))).is_err(), "what is held keeps its entry");
        assert!(fence.admit(copy(3 * SPARE_ENTRIES_MAX as u64 - 1, 0), Some(Epoch(1, 4))).is_err());
    }
}
