//! The segments that an original master has given.

use super::heard::{Content, SegmentGiven};
use crate::store::{Room, Segment, Store};
use log::{info, warn};
use protocol::{CopyId, ErrorCode, VersionId, WireError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A segment to be computed: its id, and its elements or why there are none.
pub(super) type Primary = (i64, Result<Arc<Segment>, WireError>);

/// Every array, by its id. Names with `_` in them are as good as any: a segment is found by both its ids, and not by a
/// text made of them.
#[derive(Debug, Default)]
pub(super) struct Arrays {
    arrays: BTreeMap<String, Array>,
    /// Elements that are held no more and still computed on: they count until nobody reads them.
    leaving: Vec<Elements>,
    /// Segments that have come so far; the name of each in the log.
    given: u64,
}

#[derive(Debug, Default)]
struct Array {
    segments: BTreeMap<i64, Held>,
    /// Grows whenever a segment takes the place of another one, and with every operation.
    generation: u64,
    /// The generation since the last operation. What is older is of an array that is complete.
    asked: u64,
}

#[derive(Debug)]
struct Held {
    start: u64,
    end: u64,
    /// Not known of a segment that never came.
    data_type: Option<String>,
    is_primary: bool,
    /// That of the array when it came.
    generation: u64,
    elements: Result<Elements, WireError>,
}

#[derive(Debug)]
struct Elements {
    segment: Arc<Segment>,
    room: Room,
}

impl Array {
    /// Takes out what belongs to an earlier array of the same id than `given` does. Nobody says when an array is created
    /// again, so it has to be concluded. What came before the segment that proves it is of the earlier array too. What
    /// came after another replacement, or after the last operation, may be of the new one, whose segments come one by
    /// one, and stays.
    fn take_outdated(&mut self, given: &SegmentGiven) -> Vec<Held> {
        let asked = self.asked;
        let proves = |held: &&Held| held.contradicts(given) || (held.generation < asked && held.is_older(given));
        let proof = self.segments.values().filter(proves).map(|held| held.generation).max();
        let replaced = self.segments.remove(&given.segment);
        if proof.is_some() || replaced.is_some() {
            self.generation += 1;
        }
        let is_outdated = |held: &Held| proof.is_some_and(|proof| held.generation <= proof);
        let outdated = self.segments.extract_if(.., |_, held| is_outdated(held)).map(|(_, held)| held);
        outdated.chain(replaced).collect()
    }
}

impl Held {
    /// Whether the two cannot be of one array: they have different types, or a part of one is a part of the other.
    fn contradicts(&self, given: &SegmentGiven) -> bool {
        let overlaps = self.start < given.end && given.start < self.end;
        let differs = (self.start, self.end) != (given.start, given.end);
        self.data_type.as_ref().is_some_and(|held| *held != given.data_type) || (overlaps && differs)
    }

    /// Whether `given` is of a newer array than this, of which an operation has been asked for meanwhile. Then all of it
    /// was sent before, and only a replica may still come, in place of one that was lost. Segments of one array have
    /// equal lengths, or the first ones are longer by one.
    fn is_older(&self, given: &SegmentGiven) -> bool {
        let lengths = (self.end.saturating_sub(self.start), given.end.saturating_sub(given.start));
        given.is_primary || (self.data_type.is_some() && lengths.0.abs_diff(lengths.1) > 1)
    }
}

impl Arrays {
    /// Keeps a segment, in place of what it replaces.
    pub(super) fn keep(&mut self, store: &mut Store, given: SegmentGiven) {
        let array = self.arrays.entry(given.array.clone()).or_default();
        let outdated = array.take_outdated(&given);
        let generation = array.generation;
        self.let_go(store, outdated);
        let SegmentGiven { array, segment, start, end, data_type, is_primary, content } = given;
        if let Err(error) = &content {
            warn!("'{array}'/{segment} is not stored, and operations on it will fail: {error}");
        }
        self.given += 1;
        let id = CopyId(VersionId(self.given), 0);
        let elements = content.map(|Content { dtype, buffer, room }| {
            // Nobody checks these bytes: an original master keeps no checksum to compare with.
            Elements { segment: Arc::new(Segment::new(id, dtype, buffer, 0)), room }
        });
        let held = Held { start, end, data_type: Some(data_type), is_primary, generation, elements };
        self.arrays.entry(array).or_default().segments.insert(segment, held);
    }

    /// Takes note that an operation on an array is asked for.
    pub(super) fn note_asked(&mut self, array: &str) {
        if let Some(array) = self.arrays.get_mut(array) {
            array.generation += 1;
            array.asked = array.generation;
        }
    }

    /// What is to be computed of an array, in the order of its segments.
    pub(super) fn primaries(&self, array: &str) -> Vec<Primary> {
        let Some(array) = self.arrays.get(array) else { return Vec::new() };
        let primaries = array.segments.iter().filter(|(_, held)| held.is_primary);
        let source = |held: &Held| match &held.elements {
            Ok(elements) => Ok(elements.segment.clone()),
            Err(error) => Err(error.clone()),
        };
        primaries.map(|(id, held)| (*id, source(held))).collect()
    }

    /// Makes a replica the primary; false if it is not here. The master will wait for its result all the same, so it is
    /// kept in mind without elements.
    pub(super) fn promote(&mut self, array: &str, segment: i64) -> bool {
        let in_array = self.arrays.entry(array.to_string()).or_default();
        let generation = in_array.generation;
        let held = in_array.segments.entry(segment).or_insert_with(|| {
            let why = format!("segment {segment} of '{array}' never came here, or has been forgotten");
            let elements = Err(WireError::new(ErrorCode::NotHeld, why));
            Held { start: 0, end: 0, data_type: None, is_primary: true, generation, elements }
        });
        held.is_primary = true;
        held.data_type.is_some()
    }

    /// Segments held, and their bytes.
    pub(super) fn held(&self) -> (usize, u64) {
        let held = self.arrays.values().flat_map(|array| array.segments.values());
        let bytes = |held: &Held| held.elements.as_ref().map_or(0, |elements| elements.segment.record().bytes());
        held.fold((0, 0), |(segments, sum), held| (segments + 1, sum + bytes(held)))
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self, store: &mut Store) {
        let (segments, _) = self.held();
        if segments > 0 {
            info!("forgetting {segments} segments of an original master");
        }
        let held: Vec<Held> =
            std::mem::take(&mut self.arrays).into_values().flat_map(|a| a.segments.into_values()).collect();
        self.let_go(store, held);
    }

    /// Gives back the memory of what was let go and is read by nobody any more.
    pub(super) fn release_unread(&mut self, store: &mut Store) {
        for Elements { segment, room } in self.leaving.extract_if(.., |gone| Arc::strong_count(&gone.segment) == 1) {
            drop(segment);
            store.release(room);
        }
    }

    fn let_go(&mut self, store: &mut Store, held: Vec<Held>) {
        self.leaving.extend(held.into_iter().filter_map(|held| held.elements.ok()));
        self.release_unread(store);
    }
}
