//! Who holds what: pure functions of the workers there are.
//!
//! [`place`] gives every segment of a new array its workers. It depends on the workers and on the number of segments
//! only, so arrays of equal length lie side by side as long as the workers are the same; every worker gets a share of
//! primaries and of copies in proportion to its weight; no worker gets two copies of one segment; and the replicas of
//! one worker's primaries are spread over all others, so that all of them help when it dies.

use protocol::WorkerId;
use std::collections::BTreeMap;

/// A worker that can take copies.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The worker.
    pub worker: WorkerId,
    /// Threads it computes with: its share of primaries.
    pub cores: u32,
    /// Its memory budget: its share of copies.
    pub memory_bytes: u64,
    /// What of it is free.
    pub free_bytes: u64,
    /// Where it is.
    pub zone: Option<String>,
}

/// Places `segment_bytes.len()` segments of an array of `len` elements in `copies` copies. A segment gets fewer when there are fewer workers with room
/// for it, and none when there is no room at all.
pub fn place(segment_bytes: &[u64], len: u64, copies: usize, candidates: &[Candidate]) -> Vec<Vec<WorkerId>> {
    let mut loads: Vec<Load> = candidates.iter().map(Load::new).collect();
    loads.sort_by(|a, b| a.candidate.worker.cmp(&b.candidate.worker));
    // Single segments of short arrays would all go to the first worker; the length decides where to begin instead, so
    // arrays of equal length begin at the same one, whatever their dtypes.
    if !loads.is_empty() {
        let first = (len.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as usize % loads.len();
        loads.rotate_left(first);
    }
    segment_bytes.iter().map(|bytes| place_one(*bytes, copies, &mut loads)).collect()
}

/// What a worker has been given so far.
struct Load<'a> {
    candidate: &'a Candidate,
    primaries: f64,
    copies: f64,
    free_bytes: u64,
    /// How often it was put beside each other worker.
    beside: BTreeMap<WorkerId, u32>,
}

impl<'a> Load<'a> {
    fn new(candidate: &'a Candidate) -> Self {
        Load { candidate, primaries: 0.0, copies: 0.0, free_bytes: candidate.free_bytes, beside: BTreeMap::new() }
    }

    /// Primaries it would have per core.
    fn primary_pressure(&self) -> f64 {
        (self.primaries + 1.0) / f64::from(self.candidate.cores.max(1))
    }

    /// Copies it would have per byte of its budget.
    fn copy_pressure(&self) -> f64 {
        (self.copies + 1.0) / self.candidate.memory_bytes.max(1) as f64
    }
}

fn place_one(bytes: u64, copies: usize, loads: &mut [Load]) -> Vec<WorkerId> {
    let mut chosen: Vec<usize> = Vec::with_capacity(copies);
    while chosen.len() < copies {
        let free = (0..loads.len()).filter(|i| !chosen.contains(i) && loads[*i].free_bytes >= bytes);
        let best = match chosen.first() {
            None => free.min_by(|a, b| loads[*a].primary_pressure().total_cmp(&loads[*b].primary_pressure())),
            Some(primary) => free.min_by(|a, b| replica_order(loads, &chosen, *primary, *a, *b)),
        };
        let Some(best) = best else { break };
        loads[best].copies += 1.0;
        loads[best].free_bytes -= bytes;
        if chosen.is_empty() {
            loads[best].primaries += 1.0;
        } else {
            let replica = loads[best].candidate.worker.clone();
            *loads[chosen[0]].beside.entry(replica).or_default() += 1;
        }
        chosen.push(best);
    }
    chosen.into_iter().map(|i| loads[i].candidate.worker.clone()).collect()
}

/// The better place for a replica: another zone, then less full, then more seldom beside this primary.
fn replica_order(loads: &[Load], chosen: &[usize], primary: usize, a: usize, b: usize) -> std::cmp::Ordering {
    let same_zone = |i: usize| {
        let zone = &loads[i].candidate.zone;
        zone.is_some() && chosen.iter().any(|c| loads[*c].candidate.zone == *zone)
    };
    let beside = |i: usize| loads[primary].beside.get(&loads[i].candidate.worker).copied().unwrap_or(0);
    same_zone(a)
        .cmp(&same_zone(b))
        .then(loads[a].copy_pressure().total_cmp(&loads[b].copy_pressure()))
        .then(beside(a).cmp(&beside(b)))
}

/// The best worker for one more copy of a segment that `holders` have: the same for every version with this segment
/// number and these candidates, so that versions of one array stay side by side. Highest random weight of the segment
/// number and the worker among those with room, other zones first.
pub fn place_replica(segment: u32, bytes: u64, holders: &[Option<&str>], candidates: &[Candidate]) -> Option<WorkerId> {
    let new_zone = |candidate: &Candidate| candidate.zone.is_none() || !holders.contains(&candidate.zone.as_deref());
    let with_room = candidates.iter().filter(|candidate| candidate.free_bytes >= bytes);
    let best = with_room.max_by_key(|candidate| {
        let mut key = candidate.worker.as_str().as_bytes().to_vec();
        key.extend(segment.to_le_bytes());
        (new_zone(candidate), array::checksum::crc32c(&key), std::cmp::Reverse(candidate.worker.clone()))
    });
    best.map(|candidate| candidate.worker.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(id: &str, cores: u32, memory_bytes: u64) -> Candidate {
        Candidate { worker: id.into(), cores, memory_bytes, free_bytes: memory_bytes, zone: None }
    }

    fn count(placed: &[Vec<WorkerId>], id: &str, primary: bool) -> usize {
        let holds = |holders: &Vec<WorkerId>| match primary {
            true => holders.first() == Some(&id.into()),
            false => holders.contains(&id.into()),
        };
        placed.iter().filter(|holders| holds(holders)).count()
    }

    #[test]
    fn never_two_copies_on_one_worker() {
        for workers in 0..6 {
            for copies in 1..5 {
                let candidates: Vec<_> = (0..workers).map(|i| worker(&format!("w{i}"), 2, 1 << 30)).collect();
                for holders in place(&[1000; 64], 64 * 125, copies, &candidates) {
                    let mut distinct = holders.clone();
                    distinct.sort();
                    distinct.dedup();
                    assert_eq!(distinct.len(), holders.len());
                    assert_eq!(holders.len(), copies.min(workers));
                }
            }
        }
    }

    #[test]
    fn shares_follow_cores_and_memory() {
        let candidates = [worker("a", 1, 1 << 30), worker("b", 3, 1 << 30), worker("c", 4, 2 << 30)];
        let placed = place(&[1000; 80], 80 * 125, 2, &candidates);
        assert_eq!([count(&placed, "a", true), count(&placed, "b", true), count(&placed, "c", true)], [10, 30, 40]);
        let copies = ["a", "b", "c"].map(|id| count(&placed, id, false));
        assert!(copies[2] >= 78 && copies[0].abs_diff(copies[1]) <= 1, "{copies:?}");
        let equal: Vec<_> = ["a", "b", "c", "d"].map(|id| worker(id, 2, 1 << 30)).to_vec();
        let placed = place(&[1000; 64], 64 * 125, 2, &equal);
        for id in ["a", "b", "c", "d"] {
            assert_eq!(count(&placed, id, true), 16, "{id}");
            assert_eq!(count(&placed, id, false), 32, "{id}");
        }
    }

    #[test]
    fn a_single_segment_goes_to_who_has_most_threads_and_its_copy_to_who_has_most_memory() {
        let candidates = [worker("a", 2, 2 << 30), worker("b", 8, 1 << 30), worker("c", 4, 4 << 30)];
        for len in 1..50 {
            assert_eq!(place(&[8 * len], len, 2, &candidates), [["b", "c"].map(WorkerId::from)]);
        }
    }

    #[test]
    fn replicas_of_one_primary_are_on_all_others() {
        let candidates: Vec<_> = ["a", "b", "c", "d"].map(|id| worker(id, 2, 1 << 30)).to_vec();
        let placed = place(&[1000; 64], 64 * 125, 2, &candidates);
        for primary in ["a", "b", "c", "d"] {
            let beside: std::collections::BTreeSet<_> =
                placed.iter().filter(|h| h[0] == primary.into()).map(|h| h[1].clone()).collect();
            assert_eq!(beside.len(), 3, "replicas of {primary}: {beside:?}");
        }
    }

    #[test]
    fn equal_lengths_lie_side_by_side_whatever_the_order_of_the_workers() {
        let mut candidates: Vec<_> = ["a", "b", "c"].map(|id| worker(id, 2, 1 << 30)).to_vec();
        let placed = place(&[1000; 40], 40 * 125, 2, &candidates);
        candidates.reverse();
        assert_eq!(place(&[1000; 40], 40 * 125, 2, &candidates), placed);
    }

    #[test]
    fn short_arrays_of_different_lengths_spread() {
        let candidates: Vec<_> = ["a", "b", "c"].map(|id| worker(id, 2, 1 << 30)).to_vec();
        let first: std::collections::BTreeSet<_> =
            (1..50).map(|n| place(&[n * 8], n, 1, &candidates)[0][0].clone()).collect();
        assert_eq!(first.len(), 3);
    }

    #[test]
    fn full_workers_are_left_out() {
        let mut small = worker("small", 8, 1 << 30);
        small.free_bytes = 2500;
        let placed = place(&[1000; 10], 10 * 125, 2, &[small.clone(), worker("big", 1, 1 << 30)]);
        assert_eq!(count(&placed, "small", false), 2);
        assert_eq!(count(&placed, "big", false), 10);
        small.free_bytes = 0;
        assert_eq!(place(&[1], 1, 1, &[small]), vec![Vec::<WorkerId>::new()]);
    }

    #[test]
    fn replicas_go_to_other_zones_if_there_are_any() {
        let in_zone = |id: &str, zone: &str| Candidate { zone: Some(zone.into()), ..worker(id, 2, 1 << 30) };
        let candidates = [in_zone("a", "x"), in_zone("b", "x"), in_zone("c", "y")];
        for holders in place(&[1000; 30], 30 * 125, 2, &candidates) {
            assert!(holders.contains(&"c".into()), "{holders:?} are in one zone");
        }
        let target = place_replica(0, 1000, &[Some("x")], &candidates).unwrap();
        assert_eq!(target, "c".into());
    }
}
