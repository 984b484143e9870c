//! In which order a worker is sent what waits for it.
//!
//! A queue is ordered by *virtual time*, which passes with the bytes that are gone through (self-clocked fair queueing). An operation
//! joins at the time that the queue has reached, and each of its segments stands as much later than that, or the one before, as it has
//! bytes, times the number of operations that its client has running. So clients share a worker evenly, however large their arrays are and
//! however many operations each has: one with small ones gets its turn after every segment or so of the one with large ones.
//!
//! Operations with segments so small that a worker does them at once have a queue of their own, and do not wait for the others at all.

use protocol::{CopyId, SegmentIndex, WorkerId};
use std::collections::{BTreeMap, BTreeSet};

/// Virtual time counts in pieces of this size, at least one for each segment.
const UNIT_BYTES: u64 = 4096;

/// Segments that wait for a worker.
#[derive(Debug, Default)]
pub(in crate::cluster) struct Queue {
    small: BTreeSet<(u64, CopyId)>,
    others: BTreeSet<(u64, CopyId)>,
    /// The largest place that was taken from it.
    reached: u64,
}

impl Queue {
    fn of(&mut self, small: bool) -> &mut BTreeSet<(u64, CopyId)> {
        if small { &mut self.small } else { &mut self.others }
    }

    pub fn insert(&mut self, small: bool, place: u64, copy: CopyId) {
        self.of(small).insert((place, copy));
    }

    /// What comes next, of one kind.
    pub fn first(&mut self, small: bool) -> Option<(u64, CopyId)> {
        self.of(small).first().copied()
    }

    pub fn take_first(&mut self, small: bool) {
        if let Some((place, _)) = self.of(small).pop_first() {
            self.reached = self.reached.max(place);
        }
    }

    pub fn contains(&self, place: u64, copy: CopyId) -> bool {
        self.small.contains(&(place, copy)) || self.others.contains(&(place, copy))
    }

    pub fn retain(&mut self, is_kept: impl Fn(CopyId) -> bool) {
        self.small.retain(|(_, copy)| is_kept(*copy));
        self.others.retain(|(_, copy)| is_kept(*copy));
    }

    pub fn iter(&self) -> impl Iterator<Item = CopyId> {
        self.small.iter().chain(&self.others).map(|(_, copy)| *copy)
    }

    pub fn len(&self) -> usize {
        self.small.len() + self.others.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The places of an operation's segments in the queues.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Between one segment and the next.
    step: u64,
    segments: u32,
    /// When it joined the queue of each worker.
    joined: BTreeMap<WorkerId, u64>,
}

impl Places {
    /// Of an operation with segments of so many bytes, when its client has so many operations with this one.
    pub fn of(segment_bytes: u64, of_client: u64, segments: u32) -> Places {
        let step = segment_bytes.div_ceil(UNIT_BYTES).max(1).saturating_mul(of_client);
        Places { step, segments, joined: BTreeMap::new() }
    }

    /// The place of a segment in the queue of a worker, which it joins if it has not yet. Replicas stand behind all primaries.
    pub fn on(&mut self, worker: &WorkerId, queue: &Queue, segment: SegmentIndex, is_replica: bool) -> u64 {
        let joined = match self.joined.get(worker) {
            Some(joined) => *joined,
            None => *self.joined.entry(worker.clone()).or_insert(queue.reached),
        };
        let nth = 1 + u64::from(segment) + if is_replica { u64::from(self.segments) } else { 0 };
        joined.saturating_add(nth.saturating_mul(self.step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::VersionId;

    /// Queues all segments of an operation, as primaries of one worker.
    fn join(queue: &mut Queue, id: u64, segment_bytes: u64, of_client: u64, segments: u32) {
        let mut places = Places::of(segment_bytes, of_client, segments);
        for segment in 0..segments {
            let place = places.on(&WorkerId::from("w1"), queue, segment, false);
            queue.insert(false, place, CopyId(VersionId(id), segment));
        }
    }

    /// Takes one after the other, until those of an operation are all taken; gives of which operations they were.
    fn take_until_done(queue: &mut Queue, id: u64) -> Vec<u64> {
        let mut taken = Vec::new();
        while queue.iter().any(|copy| copy.version().0 == id) {
            taken.push(queue.first(false).expect("it is not empty").1.version().0);
            queue.take_first(false);
        }
        taken
    }

    #[test]
    fn a_small_operation_waits_for_one_segment_of_a_large_one_not_for_all() {
        let mut queue = Queue::default();
        join(&mut queue, 1, 8 << 20, 1, 50);
        (0..10).for_each(|_| queue.take_first(false));
        join(&mut queue, 2, 64 << 10, 1, 8);
        let taken = take_until_done(&mut queue, 2);
        assert!(taken.iter().filter(|id| **id == 1).count() <= 1, "{taken:?}");
        assert_eq!(queue.len(), 50 - 10 - taken.iter().filter(|id| **id == 1).count());
    }

    #[test]
    fn many_small_operations_one_after_the_other_do_not_stop_a_large_one() {
        let mut queue = Queue::default();
        join(&mut queue, 1, 8 << 20, 1, 50);
        let mut bytes_of_small = 0;
        for id in 2.. {
            join(&mut queue, id, 1 << 20, 1, 4);
            bytes_of_small += 4 << 20;
            let taken = take_until_done(&mut queue, id);
            if queue.iter().all(|copy| copy.version().0 > 1) {
                break;
            }
            assert!(id < 1000, "{taken:?}");
        }
        assert!(bytes_of_small <= 2 * (50 * (8 << 20)), "it got less than a third: {bytes_of_small}");
    }

    #[test]
    fn a_client_gains_little_by_having_many_operations() {
        let mut queue = Queue::default();
        (1..=64).for_each(|n| join(&mut queue, n, 1 << 20, n, 64));
        join(&mut queue, 100, 1 << 20, 1, 16);
        let taken = take_until_done(&mut queue, 100);
        let of_others = taken.len() - 16;
        assert!(of_others < 16 * 6, "{of_others} segments of the other client before 16 of this one");
    }

    #[test]
    fn a_worker_that_is_ahead_does_not_make_newcomers_wait_elsewhere() {
        let (w1, w2) = (WorkerId::from("w1"), WorkerId::from("w2"));
        let (mut ahead, mut behind) = (Queue::default(), Queue::default());
        let mut large = Places::of(8 << 20, 1, 50);
        for segment in 0..50 {
            ahead.insert(false, large.on(&w1, &ahead, segment, false), CopyId(VersionId(1), segment));
            behind.insert(false, large.on(&w2, &behind, segment, false), CopyId(VersionId(1), segment));
        }
        (0..40).for_each(|_| ahead.take_first(false));
        behind.take_first(false);
        let mut small = Places::of(4096, 1, 1);
        let place = small.on(&w2, &behind, 0, false);
        behind.insert(false, place, CopyId(VersionId(2), 0));
        assert!(take_until_done(&mut behind, 2).len() <= 2);
    }
}
