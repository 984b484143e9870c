//! Memory, before anything is computed: an operation begins when what it makes fits beside what others will make that have begun
//! before. If it would fit without those it waits for them; if not, it is refused, with the sizes. An upload gets what they leave.
//!
//! Those who wait go on in the order in which they came. What takes less than a [`SMALL_SHARE`] of a worker's memory does not queue
//! behind them.

use super::plan::Plan;
use super::{Running, Work};
use crate::cluster::catalog::Version;
use crate::cluster::placement::Candidate;
use crate::cluster::requests::{Answer, Key};
use crate::cluster::{Cluster, Member};
use protocol::size::format_size;
use protocol::{CopyId, ErrorCode, VersionId, WireError, WorkerId};
use std::collections::BTreeMap;

/// What takes less than this part of the memory of every worker goes before those who wait for room, if there is room for it: it
/// delays nobody by much, and would itself wait for all of a large one.
const SMALL_SHARE: u64 = 64;

/// Bytes of copies, by worker.
type Bytes = BTreeMap<WorkerId, u64>;

impl Cluster {
    /// Whether there is memory for an operation; else why it has to wait. `key` is the request that asks for it, if it shall begin.
    ///
    /// # Errors
    /// `InsufficientMemory` if nothing that is under way makes room for it.
    pub(super) fn check_room(&self, key: Option<Key>, plan: &Plan) -> Result<Option<Answer>, WireError> {
        let most = most_bytes(plan);
        let is_small = self.placeable().all(|(_, member)| most <= member.hello.memory_bytes / SMALL_SHARE);
        let is_before = |(_, first): &(_, Key)| Some(*first) != key;
        if !is_small && key.is_some() && self.for_room.first().is_some_and(is_before) {
            return Ok(Some(Answer::ParkForRoom(self.waits_for_room(plan))));
        }
        // Mostly there is far more than enough, and nobody has to count.
        let begun = self.most_bytes_begun();
        if self.placeable().all(|(_, member)| most.saturating_add(begun) <= member.unheld_bytes()) {
            return Ok(None);
        }
        let (needed, under_way) = (self.needed(plan), self.under_way());
        let beside = |worker: &WorkerId, member: &Member| {
            member.unheld_bytes().saturating_sub(under_way.get(worker).copied().unwrap_or(0))
        };
        if self.fits(plan, &needed, &beside) {
            return Ok(None);
        }
        let staged = self.staged();
        let alone = |worker: &WorkerId, member: &Member| {
            member.unheld_bytes().saturating_add(staged.get(worker).copied().unwrap_or(0))
        };
        let is_alone = self.operations.is_empty() && self.uploads.is_empty() && self.transfers.is_empty();
        if !is_alone && self.fits(plan, &needed, &alone) {
            return Ok(Some(Answer::ParkForRoom(self.waits_for_room(plan))));
        }
        Err(self.no_room_for(plan, &needed))
    }

    /// Whether there is, or may soon be, a worker with room for a segment that is made from nothing. Memory that is enough for all of
    /// the operation may be with workers of level 1, who can keep it and not make it.
    ///
    /// # Errors
    /// `InsufficientMemory` if nothing is under way that would leave room, as all operations wait for it, and nobody is hoped for.
    pub(super) fn check_room_for_segment(&self, plan: &Plan, segment: u32) -> Result<(), WireError> {
        let waits = |running: &Running| !running.proposed && !running.works.iter().any(Work::is_outstanding);
        let is_stalled = self.operations.values().all(waits) && self.uploads.is_empty() && self.transfers.is_empty();
        let bytes = plan.result_bytes(segment);
        match is_stalled && !self.hopes() && self.native_workers().all(|(_, member)| member.unheld_bytes() < bytes) {
            true => Err(self.no_room_for(plan, &self.needed(plan))),
            false => Ok(()),
        }
    }

    /// Whether so much is free: for every segment on somebody who can make it, for what is made from nothing on all together.
    fn fits(&self, plan: &Plan, needed: &Bytes, free: &dyn Fn(&WorkerId, &Member) -> u64) -> bool {
        if plan.inputs.is_empty() {
            let whole: u64 = (0..plan.segments()).map(|segment| plan.result_bytes(segment)).sum();
            let copies = self.required_copies(plan.replication) as u64;
            let free = self.placeable().fold(0_u64, |sum, (worker, member)| sum.saturating_add(free(worker, member)));
            return whole.saturating_mul(copies) <= free;
        }
        let is_full = |worker: &WorkerId| {
            let needed = needed.get(worker).copied().unwrap_or(0);
            self.live(worker).is_some_and(|member| needed > free(worker, member))
        };
        (0..plan.segments()).all(|segment| {
            let makers = self.makers(plan, segment).0;
            makers.is_empty() || !makers.iter().all(is_full)
        })
    }

    /// Who would make a segment, and what the first of them has to fetch before.
    fn makers(&self, plan: &Plan, segment: u32) -> (Vec<WorkerId>, u64) {
        if plan.inputs.is_empty() {
            return (plan.placed.get(segment as usize).cloned().unwrap_or_default(), 0);
        }
        let computers = self.computers(&plan.inputs, segment, plan.program.named());
        if !computers.is_empty() {
            return (computers, 0);
        }
        match self.gatherer(&plan.inputs, segment) {
            Some((worker, missing)) => (vec![worker], missing.iter().map(|copy| self.copy_bytes(*copy)).sum()),
            None => (Vec::new(), 0),
        }
    }

    /// What a plan takes of each worker.
    fn needed(&self, plan: &Plan) -> Bytes {
        let mut needed = Bytes::new();
        for segment in 0..plan.segments() {
            let (makers, fetched) = self.makers(plan, segment);
            for worker in makers {
                *needed.entry(worker).or_default() += plan.result_bytes(segment) + fetched;
            }
        }
        needed
    }

    /// What workers will still need for what has begun: for operations, uploads, and copies on their way.
    fn under_way(&self) -> Bytes {
        let mut bytes = Bytes::new();
        for (id, running) in &self.operations {
            for (worker, needed) in self.needed(&running.plan) {
                let made = self.held_of(&worker, *id);
                *bytes.entry(worker).or_default() += needed.saturating_sub(made);
            }
        }
        for (id, upload) in &self.uploads {
            for (worker, asked) in upload.asked() {
                *bytes.entry(worker.clone()).or_default() += asked.saturating_sub(self.held_of(worker, *id));
            }
        }
        for (copy, worker) in self.transfers.keys() {
            *bytes.entry(worker.clone()).or_default() += self.copy_bytes(*copy);
        }
        bytes
    }

    /// Takes from the room of candidates for something new what operations that have begun will still need of it, unless there is far
    /// more than enough for both.
    pub(in crate::cluster) fn leave_room_for_operations(&self, bytes: u64, candidates: &mut [Candidate]) {
        let begun = self.operations.values().map(|running| most_bytes(&running.plan)).fold(bytes, u64::saturating_add);
        if candidates.iter().all(|candidate| candidate.free_bytes >= begun) {
            return;
        }
        for (id, running) in &self.operations {
            let needed = self.needed(&running.plan);
            for candidate in candidates.iter_mut() {
                let needed = needed.get(&candidate.worker).copied().unwrap_or(0);
                let open = needed.saturating_sub(self.held_of(&candidate.worker, *id));
                candidate.free_bytes = candidate.free_bytes.saturating_sub(open);
            }
        }
    }

    /// What workers hold for operations that have not ended: it is gone if they fail, and takes the place of something else if it is
    /// the result of the same array.
    fn staged(&self) -> Bytes {
        let mut bytes = Bytes::new();
        for (id, worker) in self.operations.keys().flat_map(|id| self.members.keys().map(move |worker| (*id, worker))) {
            *bytes.entry(worker.clone()).or_default() += self.held_of(worker, id);
        }
        bytes
    }

    fn held_of(&self, worker: &WorkerId, version: VersionId) -> u64 {
        let member = self.members.get(worker);
        member.map_or(0, |member| member.records(Some(version)).map(|copy| copy.bytes()).sum())
    }

    /// More than what has begun can take of any worker.
    fn most_bytes_begun(&self) -> u64 {
        let operations = self.operations.values().map(|running| most_bytes(&running.plan));
        let uploads = self.uploads.values().map(|upload| upload.bytes());
        let transfers = self.transfers.keys().map(|(copy, _)| self.copy_bytes(*copy));
        operations.chain(uploads).chain(transfers).fold(0, u64::saturating_add)
    }

    /// Bytes of a copy of the catalog.
    pub(super) fn copy_bytes(&self, copy: CopyId) -> u64 {
        self.catalog.version(copy.version()).map_or(0, |version| version.segment_bytes(copy.segment()))
    }

    fn waits_for_room(&self, plan: &Plan) -> String {
        let size = format_size(plan.grid.len() * plan.program.bytes_written());
        let (operations, uploads) = (self.operations.len(), self.uploads.len());
        let free: Vec<String> = self
            .placeable()
            .map(|(worker, member)| format!("{worker} {}", format_size(member.unheld_bytes())))
            .collect();
        format!(
            "room for {} of '{}', {size} in each copy, beside {operations} operations and {uploads} uploads under way; free: {}",
            plan.text,
            plan.array_name,
            free.join(", ")
        )
    }

    fn no_room_for(&self, plan: &Plan, needed: &Bytes) -> WireError {
        let worker = |(worker, member): (&WorkerId, &Member)| {
            let needs = needed.get(worker).map_or(String::new(), |bytes| format!(" of {} needed", format_size(*bytes)));
            format!("{worker} {}{needs}", format_size(member.unheld_bytes()))
        };
        let free: Vec<String> = self.placeable().map(worker).collect();
        let text = format!(
            "no room for {} of '{}': {} in {} copies; free: {}; {}delete arrays, add workers, or give them more --memory",
            plan.text,
            plan.array_name,
            format_size(plan.grid.len() * plan.program.bytes_written()),
            self.required_copies(plan.replication),
            free.join(", "),
            self.largest_arrays(),
        );
        WireError::new(ErrorCode::InsufficientMemory, text).array(plan.array_name.clone())
    }

    /// The arrays that hold most, for people who look for room.
    fn largest_arrays(&self) -> String {
        const SHOWN: usize = 3;
        let bytes = |id: VersionId| self.catalog.version(id).map_or(0, Version::bytes);
        let mut arrays: Vec<(u64, &str)> = self
            .catalog
            .arrays()
            .map(|array| (bytes(array.content) + array.result.map_or(0, bytes), array.name.as_str()))
            .collect();
        arrays.sort_unstable_by(|a, b| b.cmp(a));
        let shown: Vec<String> =
            arrays.iter().take(SHOWN).map(|(bytes, name)| format!("'{name}' {}", format_size(*bytes))).collect();
        if shown.is_empty() { String::new() } else { format!("largest, in each copy: {}; ", shown.join(", ")) }
    }
}

/// More than what a plan can take of any worker: one copy of what it makes and of all that it reads.
fn most_bytes(plan: &Plan) -> u64 {
    let each = plan.program.bytes_written() + plan.program.bytes_read();
    plan.grid.len().saturating_mul(each)
}
