//! Who computes which segment when: the queues of the workers, what is sent to each at a time, and who else helps.
//!
//! Segments wait in a [`Queue`](super::Queue) per worker, in an order in which clients share the workers evenly. Only a few are sent
//! at a time; the rest can still go elsewhere.

use super::{Running, Task, Work};
use crate::cluster::{Cluster, Member};
use protocol::message::worker::ProcessSegment;
use protocol::{CopyId, SegmentIndex, VersionId, WorkerId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a segment may wait for a worker of level 1 before another holder computes it as well: it may be a Java
/// virtual machine that has just started, and it may never answer.
pub(super) const LEVEL_1_PATIENCE: Duration = Duration::from_secs(2);

/// A segment that was sent to a worker.
#[derive(Clone, Copy, Debug)]
pub(in crate::cluster) struct Sent {
    /// Number of the instruction.
    pub(super) call: u64,
    pub(super) at: Duration,
    /// It is of an operation with small ones.
    small: bool,
}

/// Segments sent to a worker at a time: enough that all its threads have work while the answers travel. Small ones do not wait for
/// the others.
fn window(member: &Member, running: &Running) -> usize {
    match member.level() {
        1 => 2, // one that it computes, one that is on its way; what waits here can still go elsewhere
        _ => {
            let in_bytes = WINDOW_BYTES / running.segment_bytes().max(1);
            (2 * member.cores as usize).max(in_bytes as usize).clamp(4, WINDOW_MAX)
        }
    }
}

/// Bytes that a thread goes through in some milliseconds: shorter segments are sent more at a time, as the way there and back takes
/// longer than computing one.
const WINDOW_BYTES: u64 = 32 << 20;

/// Above it the answers come faster than the master takes them.
const WINDOW_MAX: usize = 64;

/// Segments sent to a worker by one instruction.
struct Batch {
    call: u64,
    segments: Vec<SegmentIndex>,
    /// Those of them whose elements are wanted.
    inline: Vec<SegmentIndex>,
}

impl Cluster {
    /// Segments that have waited long enough for workers of level 1 are computed by others too, and those that others could
    /// compute now.
    pub(super) fn help_level_1(&mut self) {
        let now = self.now.elapsed;
        let (mut late, mut not_begun) = (Vec::new(), Vec::new());
        for (worker, member) in self.members.iter_mut().filter(|(_, member)| member.level() == 1) {
            let waits_since = |copy: &CopyId| {
                let work = &self.operations.get(&copy.version())?.works[copy.segment() as usize];
                (work.tasks.len() == 1 && work.tasks.contains_key(worker)).then_some(work.planned)
            };
            let is_late = |copy: &CopyId| waits_since(copy).is_some_and(|since| now >= since + LEVEL_1_PATIENCE);
            let queued = member.queue.iter();
            not_begun.extend(queued.filter(|copy| waits_since(copy).is_some_and(|since| now > since)));
            let sent = late.len();
            late.extend(member.in_flight.keys().filter(|copy| is_late(copy)));
            member.late |= late.len() > sent;
        }
        if late.is_empty() && not_begun.is_empty() {
            return;
        }
        let idle = |member: &Member| member.queue.is_empty() && member.in_flight.is_empty();
        let idle: BTreeSet<WorkerId> =
            self.members.iter().filter(|(_, member)| idle(member)).map(|(worker, _)| worker.clone()).collect();
        late.into_iter().for_each(|copy| self.give_to_another(copy, |_| true));
        not_begun.into_iter().for_each(|copy| self.give_to_another(copy, |worker| idle.contains(worker)));
    }

    /// Has the first holder of another kind compute a segment as well, if it is a suitable one.
    fn give_to_another(&mut self, copy: CopyId, is_suitable: impl Fn(&WorkerId) -> bool) {
        let Some(running) = self.operations.get(&copy.version()) else { return };
        let holders = self.computers(&running.plan.inputs, copy.segment(), running.plan.program.named());
        let other = holders.into_iter().find(|worker| self.members[worker].level() > 1 && is_suitable(worker));
        let Some(other) = other else { return };
        log::debug!("[{}] {copy} waits for a worker of level 1; {other} computes it too", running.request());
        let Some(member) = self.members.get_mut(&other) else { return };
        if let Some(running) = self.operations.get_mut(&copy.version()) {
            let place = running.places.on(&other, &member.queue, copy.segment(), false);
            member.queue.insert(running.small, place, copy);
            let work = &mut running.works[copy.segment() as usize];
            work.tasks.insert(other, Task::Queued);
            work.verify = true; // there is nobody to compare with
            running.redispatched += 1;
        }
        self.count_redispatched(1);
    }

    /// Threads of the worker that has most.
    pub(super) fn most_threads(&self) -> u32 {
        self.members.values().filter(|member| member.level() > 1).map(|member| member.cores).max().unwrap_or(1)
    }

    /// Leaves the rest of an operation to the primaries, if it turns out to be so costly that replicas should receive their copies.
    pub(super) fn maybe_let_replicas_receive(&mut self, id: VersionId) {
        let threads = self.most_threads();
        let Some(running) = self.operations.get_mut(&id).filter(|running| !running.replicas_receive) else { return };
        if !self.costs.receives(running.fingerprint, threads) {
            return;
        }
        running.replicas_receive = true;
        let not_begun = |work: &Work| work.tasks.values().all(|task| *task == Task::Queued);
        for (segment, work) in (0..).zip(&mut running.works).filter(|(_, work)| not_begun(work)) {
            let copy = CopyId(id, segment);
            for (worker, member) in &mut self.members {
                let place = running.places.on(worker, &member.queue, segment, false);
                let is_replica = work.tasks.contains_key(worker) && !member.queue.contains(place, copy);
                if is_replica && work.tasks.len() > 1 {
                    member.queue.retain(|queued| queued != copy);
                    work.tasks.remove(worker);
                }
            }
            if work.tasks.len() == 1 {
                work.verify = true; // there is nobody to compare with
            }
        }
    }

    /// Sends what is queued, as much as each worker may have at a time; in one instruction per operation.
    pub(in crate::cluster) fn dispatch(&mut self) {
        let mut batches: BTreeMap<(WorkerId, VersionId, bool), Batch> = BTreeMap::new();
        for (worker, member) in self.members.iter_mut().filter(|(_, member)| member.up) {
            for small in [true, false] {
                while let Some((place, copy)) = member.queue.first(small) {
                    let Some(running) = self.operations.get_mut(&copy.version()) else {
                        member.queue.take_first(small);
                        continue;
                    };
                    // Segments of one kind do not wait for those of the other to be answered, but by workers that do one at a time.
                    let counts = |sent: &&Sent| sent.small == small || member.level() == 1;
                    if member.in_flight.values().filter(counts).count() >= window(member, running) {
                        break;
                    }
                    member.queue.take_first(small);
                    let work = &mut running.works[copy.segment() as usize];
                    work.tasks.insert(worker.clone(), Task::Sent);
                    let batch = batches.entry((worker.clone(), copy.version(), work.verify));
                    let Batch { call, segments, inline } = batch.or_insert_with(|| Batch {
                        call: member.number(),
                        segments: Vec::new(),
                        inline: Vec::new(),
                    });
                    segments.push(copy.segment());
                    if running.inline && place == running.places.on(worker, &member.queue, copy.segment(), false) {
                        inline.push(copy.segment()); // replicas need not say it again
                    }
                    member.in_flight.insert(copy, Sent { call: *call, at: self.now.elapsed, small });
                }
            }
        }
        for ((worker, id, verify), Batch { call, segments, inline }) in batches {
            let running = &self.operations[&id];
            let body = ProcessSegment {
                operation: running.plan.program.to_string(),
                sources: running.plan.inputs.clone(),
                result: id,
                elements: running.plan.grid.len(),
                segments,
                verify,
                inline,
            };
            let request = running.request();
            self.instruct(&worker, Some(call), Some(request), body);
            protocol::fault_point!(SegmentsSent);
        }
    }
}
