//! Operations: a new version computed from another one, segment by segment, where the copies are.
//!
//! Every live holder of a source segment computes the result's segment for itself: the kernels give the same bits, so the
//! copies need not travel, and their checksums are compared. Primaries are asked first. What is missing in the end
//! (its holder died) is fetched from worker to worker; so are all replicas of a result that is costly to compute ([`super::cost`]).
//!
//! Workers whose kernels differ from the primary's receive copies instead: among them those of level 1, each of which has
//! kernels of its own. When one of those keeps a segment waiting for [`dispatch::LEVEL_1_PATIENCE`], or has not begun it while another
//! holder has nothing to do, that holder computes it too, and the first answer counts.

mod admission;
mod dispatch;
mod inputs;
mod plan;
mod queue;
mod reduce;

pub(super) use dispatch::Sent;
pub(super) use queue::Queue;

use super::command::{Command, NewArray, NewSegment, combined_crc32c};
use super::placement::place_replica;
use super::requests::{Answer, Key, Origin};
use super::{Cluster, Member, Then};
use array::DType;
use array::checksum::crc32c;
use array::program::CHUNK;
use array::reduction::Partial;
use plan::{Plan, empty_receipt, fingerprint, total};
use protocol::limits::INLINE_BYTES_MAX;
use protocol::message::Body;
use protocol::message::client::*;
use protocol::message::worker::*;
use protocol::{
    CopyId, CopyRecord, ErrorCode, SegmentIndex, SessionId, VersionId, WireError, WorkerId, id::request_name, name,
};
use queue::Places;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How many ended operations are remembered, for who asks later.
pub const ENDED_MAX: usize = 1000;

/// How long an operation may run that nobody waits for.
const UNATTENDED_MAX: Duration = Duration::from_secs(600);

/// How long a worker that gives signs of life may take for the few segments it has been sent. The largest takes
/// about 0.1 s; a worker that needs 100 times as long has a problem, and others take over.
const TASK_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a segment is tried on all its holders, before the operation fails.
const ROUNDS_MAX: u32 = 3;

/// Shares of workers that are remembered with the outcome of a request, some 150 bytes each beside their names; those of more are left
/// out.
const SHARES_REMEMBERED_MAX: usize = 16;

/// Operations whose elements are kept for the answer at a time: 64 MiB at most, and others are answered without.
const INLINE_OPERATIONS_MAX: usize = 512;

/// What becomes of what is computed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Becomes {
    /// The unnamed result of the array it is about.
    Result,
    /// An array of its own.
    Array(NewArray),
    /// Values in the answer.
    Values,
}

/// An operation under way.
#[derive(Debug)]
pub(super) struct Running {
    plan: Plan,
    becomes: Becomes,
    origin: Origin,
    /// Requests that are answered when it ends.
    pub waiters: Vec<Key>,
    pub started: Duration,
    pub deadline: Duration,
    /// Where it stands in the queues of workers.
    places: Places,
    works: Vec<Work>,
    pub done: u32,
    pub redispatched: u32,
    /// Copies of the result that were fetched from another worker, not computed.
    received: u32,
    /// Copies that were computed beside those of their primaries.
    recomputed: u32,
    /// Copies that workers have fetched, or are fetching, to be able to compute.
    gathered: BTreeSet<(CopyId, WorkerId)>,
    /// What it has taken so far.
    taken: BTreeMap<WorkerId, WorkerReceipt>,
    network_bytes: u64,
    promoted: u32,
    /// Tells programs apart in [`super::cost`].
    fingerprint: u32,
    /// Whoever asked for it wants the elements with the answer.
    inline: bool,
    /// Only primaries compute: moving the result costs less than computing it again, or there is no result to keep.
    replicas_receive: bool,
    /// Its segments are no longer than a chunk, which a worker does at once.
    small: bool,
    /// Its result is on its way into the log.
    proposed: bool,
    last_failure: Option<WireError>,
}

/// One segment of it.
#[derive(Debug, Default)]
struct Work {
    tasks: BTreeMap<WorkerId, Task>,
    /// When they were given to whom they were given first.
    planned: Duration,
    rounds: u32,
    /// The sources are checked before they are read: there is nobody to compare the result with, or results differed.
    verify: bool,
    crc32c: Option<u32>,
    /// The kernels that gave this checksum.
    kernels: String,
    /// They are not ours.
    is_of_level_1: bool,
    /// Two workers gave this checksum, or one from a checked source.
    confirmed: bool,
    /// Its elements and their checksum, if they are wanted with the answer.
    elements: Option<(u32, Arc<[u8]>)>,
    /// What is known of it, if it is reduced.
    partials: Option<Vec<Partial>>,
    /// How often somebody has been told to fetch what is missing for it.
    gathers: u32,
    done: bool,
}

/// What a worker's answer about a segment is.
enum Answered {
    /// The answer to what it was asked last.
    Expected,
    /// To something that it is not asked any more.
    Late,
    /// To an earlier question; the answer to the last one is still to come.
    Superseded,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Task {
    Queued,
    Sent,
    Failed,
}

impl Work {
    fn is_outstanding(&self) -> bool {
        self.tasks.values().any(|task| *task != Task::Failed)
    }
}

impl Running {
    /// The client's request it comes from, for the logs.
    pub fn request(&self) -> String {
        request_name(self.origin.key.0, self.origin.key.1)
    }

    /// Whose it is.
    pub fn session(&self) -> SessionId {
        self.origin.key.0
    }

    /// Segments of it.
    pub fn segments(&self) -> u32 {
        self.works.len() as u32
    }

    /// Bytes that computing a full segment goes through: of the larger of what is read and what is made.
    fn segment_bytes(&self) -> u64 {
        let program = &self.plan.program;
        self.plan.grid.segment_len() * program.bytes_read().max(program.bytes_written())
    }

    /// The array it is about.
    pub fn array_name(&self) -> &str {
        &self.plan.array_name
    }

    /// What it is called: its expression, its reductions, or what makes the array.
    pub fn text(&self) -> &str {
        &self.plan.text
    }

    /// The name of the array that it becomes.
    pub fn into(&self) -> Option<&str> {
        match &self.becomes {
            Becomes::Array(new) => Some(&new.name),
            Becomes::Result | Becomes::Values => None,
        }
    }

    /// Whether it reads a version.
    pub fn reads(&self, version: VersionId) -> bool {
        self.plan.inputs.contains(&version)
    }

    /// Whether a worker computes with a copy for it, or may be about to.
    fn is_computed_with(&self, copy: CopyId, worker: &WorkerId) -> bool {
        let work = self.works.get(copy.segment() as usize).filter(|_| self.reads(copy.version()));
        work.is_some_and(|work| !work.done && (work.tasks.is_empty() || work.tasks.contains_key(worker)))
    }

    /// What it has taken so far of one worker.
    fn of_worker(&mut self, worker: &WorkerId) -> &mut WorkerReceipt {
        self.taken.entry(worker.clone()).or_insert_with(|| empty_receipt(worker.clone()))
    }

    /// What it has taken.
    fn receipt(&self) -> Receipt {
        let total = total(self.taken.clone(), self.network_bytes);
        Receipt { retries: self.redispatched, promoted: self.promoted, ..total }
    }

    /// How replicas got their copies.
    fn replicas(&self) -> &'static str {
        match (self.received, self.recomputed) {
            (0, _) => "recomputed",
            (_, 0) => "received",
            _ => "mixed",
        }
    }

    /// The elements of the result, if all are here.
    fn elements(&self) -> Option<Arc<[u8]>> {
        let of = |work: &'_ Work| work.elements.clone().filter(|(crc32c, _)| work.crc32c == Some(*crc32c));
        let segments: Vec<Arc<[u8]>> =
            self.works.iter().map(|work| of(work).map(|(_, bytes)| bytes)).collect::<Option<_>>()?;
        Some(segments.concat().into())
    }
}

impl Cluster {
    /// Begins what a request asks for.
    fn begin(&mut self, id: VersionId, key: Key, plan: Plan, becomes: Becomes, no_wait: bool, inline: bool) -> Answer {
        let segments = plan.segments();
        let with_answer = self.operations.values().filter(|running| running.inline).count();
        let bytes = plan.grid.len() * plan.program.bytes_written();
        let fingerprint = fingerprint(&plan.program);
        let is_reduced = becomes == Becomes::Values;
        let running = Running {
            becomes,
            origin: self.origin(key),
            waiters: if no_wait { vec![] } else { vec![key] },
            started: self.now.elapsed,
            deadline: if no_wait { self.now.elapsed + UNATTENDED_MAX } else { self.deadline_of(key) },
            places: Places::default(),
            works: (0..segments).map(|_| Work::default()).collect(),
            done: 0,
            redispatched: 0,
            received: 0,
            recomputed: 0,
            gathered: BTreeSet::new(),
            taken: BTreeMap::new(),
            network_bytes: 0,
            promoted: 0,
            fingerprint,
            inline: inline
                && !no_wait
                && !is_reduced
                && bytes <= INLINE_BYTES_MAX
                && with_answer < INLINE_OPERATIONS_MAX,
            replicas_receive: is_reduced || self.costs.receives(fingerprint, self.most_threads()),
            small: false,
            proposed: false,
            last_failure: None,
            plan,
        };
        let of_session = self.operations.values().filter(|other| other.session() == key.0).count() as u64;
        let places = Places::of(running.segment_bytes(), of_session + 1, segments);
        let running = Running { small: running.plan.grid.segment_len() <= CHUNK as u64, places, ..running };
        log::debug!(
            "[{}] operation {id}: {} on '{}', {segments} segments",
            running.request(),
            running.text(),
            running.array_name()
        );
        let processing = self.processing(id, &running);
        self.operations.insert(id, running);
        self.advance_operation(id);
        if no_wait { Answer::Now(processing.into()) } else { Answer::Later }
    }

    /// What is said of an operation that has begun.
    fn processing(&self, id: VersionId, running: &Running) -> OperationComplete {
        OperationComplete {
            array_id: running.array_name().to_string(),
            status: OperationState::Processing,
            operation: id,
            handle: name::handle(running.into().unwrap_or(running.array_name()), id),
            segments: running.segments(),
            copies: 0,
            target: running.plan.replication,
            replicas: running.replicas().to_string(),
            redispatched: running.redispatched,
            exact: !running.works.iter().any(|work| work.is_of_level_1),
            crc32c: None,
            durability: if running.into().is_some() { Durability::Synced } else { Durability::Memory },
            elapsed_us: self.now.elapsed.saturating_sub(running.started).as_micros() as u64,
            receipt: None,
        }
    }

    pub(super) fn on_wait_operation(&mut self, key: Key, operation: VersionId) -> Result<Answer, WireError> {
        if let Some(running) = self.operations.get_mut(&operation) {
            running.waiters.push(key);
            return Ok(Answer::Later);
        }
        match self.ended.get(&operation) {
            Some(Ok(reply)) => Ok(Answer::Now(reply.clone())),
            Some(Err(error)) => Err(error.clone()),
            None => Err(unknown_operation_id(operation)),
        }
    }

    pub(super) fn on_cancel_operation(&mut self, operation: VersionId) -> Result<Answer, WireError> {
        let Some(running) = self.operations.get(&operation).filter(|running| !running.proposed) else {
            return Err(unknown_operation_id(operation));
        };
        let text = format!("operation {operation} ({} on '{}') was cancelled", running.text(), running.array_name());
        self.end_operation(operation, Err(WireError::new(ErrorCode::Cancelled, text)));
        Ok(Answer::Now(protocol::message::Done {}.into()))
    }

    // ---- how it goes on ----

    pub(super) fn advance_operations(&mut self) {
        let running: Vec<VersionId> = self.operations.keys().copied().collect();
        running.into_iter().for_each(|id| self.advance_operation(id));
    }

    fn advance_operation(&mut self, id: VersionId) {
        let Some(running) = self.operations.get(&id).filter(|running| !running.proposed) else {
            return;
        };
        if running.plan.inputs.iter().any(|input| self.catalog.version(*input).is_none()) {
            let text = format!(
                "'{}', or another array that is read, was deleted or replaced while {} was running",
                running.array_name(),
                running.text()
            );
            let error = WireError::new(ErrorCode::UnknownVersion, text).array(running.array_name());
            return self.end_operation(id, Err(error));
        }
        for segment in 0..running.segments() {
            if let Err(error) = self.advance_segment(id, segment) {
                return self.end_operation(id, Err(error));
            }
        }
        self.maybe_commit(id);
    }

    /// Sees what a segment of a result still needs.
    fn advance_segment(&mut self, id: VersionId, segment: SegmentIndex) -> Result<(), WireError> {
        let Some(running) = self.operations.get(&id) else {
            return Ok(());
        };
        let work = &running.works[segment as usize];
        if work.done {
            return Ok(());
        }
        let satisfied = match running.plan.dtype() {
            None if work.partials.is_some() => true,
            None => {
                if !work.is_outstanding() {
                    self.plan_segment(id, segment)?;
                }
                false
            }
            Some(dtype) => self.has_its_copies(id, segment, dtype)?,
        };
        if satisfied && let Some(running) = self.operations.get_mut(&id) {
            running.works[segment as usize].done = true;
            running.done += 1;
        }
        Ok(())
    }

    /// Sees what copies of a segment of a result are still missing; whether none is.
    fn has_its_copies(&mut self, id: VersionId, segment: SegmentIndex, dtype: DType) -> Result<bool, WireError> {
        let running = &self.operations[&id];
        let work = &running.works[segment as usize];
        let have = self.result_holders(id, segment);
        let required = self.acknowledged_copies(running.plan.replication);
        Ok(match work.is_outstanding() {
            true => work.confirmed && have.len() >= required,
            false if have.is_empty() => {
                self.plan_segment(id, segment)?;
                false
            }
            false if !work.confirmed => {
                self.recompute(CopyId(id, segment)); // the other worker that was to compute it is gone
                false
            }
            false => {
                let copy = self.result_copy(id, segment);
                let preferred = self.order_of(running, segment);
                self.settled() && self.ensure_copies(copy, dtype, &have, required, &preferred)
            }
        })
    }

    /// Who should have a segment of the result, the primary first: who has it of the first input, or was chosen to make it.
    fn order_of(&self, running: &Running, segment: SegmentIndex) -> Vec<WorkerId> {
        match running.plan.inputs.first() {
            Some(input) => self.readers(CopyId(*input, segment)),
            None => running.plan.placed[segment as usize].clone(),
        }
    }

    /// Who has the result's segment, in the order of the source's holders.
    fn result_holders(&self, id: VersionId, segment: SegmentIndex) -> Vec<WorkerId> {
        let running = &self.operations[&id];
        let Some(crc32c) = running.works[segment as usize].crc32c else {
            return Vec::new();
        };
        let order = match running.plan.inputs.first() {
            Some(input) => self.catalog.segment(CopyId(*input, segment)).map_or(&[][..], |segment| &segment.holders),
            None => &running.plan.placed[segment as usize],
        };
        self.live_holders(CopyId(id, segment), crc32c, order)
    }

    /// Whether a copy is a result that nobody has vouched for: of a running operation, and not with the checksum that was
    /// confirmed. A worker that comes back with it would offer it instead of computing it from a checked source.
    pub(super) fn is_unconfirmed_result(&self, copy: CopyRecord) -> bool {
        let work = self.operations.get(&copy.0).map(|running| running.works.get(copy.1 as usize));
        work.is_some_and(|work| work.is_none_or(|work| !work.confirmed || work.crc32c != Some(copy.crc32c())))
    }

    fn result_copy(&self, id: VersionId, segment: SegmentIndex) -> CopyRecord {
        let running = &self.operations[&id];
        let crc32c = running.works[segment as usize].crc32c.unwrap_or(0);
        CopyRecord(id, segment, crc32c, running.plan.result_bytes(segment))
    }

    /// Those who can compute a segment now, the primary first. Of an array that is made from nothing, another is chosen when all are
    /// gone.
    fn computers_of(&mut self, id: VersionId, segment: SegmentIndex) -> Vec<WorkerId> {
        let plan = &self.operations[&id].plan;
        if !plan.inputs.is_empty() {
            return self.computers(&plan.inputs, segment, plan.program.named());
        }
        let able = |worker: &WorkerId| self.live(worker).is_some_and(Member::takes_copies);
        let mut placed = plan.placed[segment as usize].clone();
        placed.retain(able);
        if placed.is_empty() {
            let mut native = self.candidates(&[]);
            native.retain(|candidate| self.members[&candidate.worker].level() > 1);
            placed.extend(place_replica(segment, plan.result_bytes(segment), &[], &native));
            let running = self.operations.get_mut(&id).expect("it was just there");
            running.plan.placed[segment as usize].clone_from(&placed);
        }
        placed
    }

    /// Queues a segment at every worker that can compute it and gives the same bits as the primary.
    fn plan_segment(&mut self, id: VersionId, segment: SegmentIndex) -> Result<(), WireError> {
        let mut holders = self.computers_of(id, segment);
        holders.sort_by_key(|worker| self.members[worker].late);
        let running = &self.operations[&id];
        let Some(primary) = holders.first() else {
            return match running.plan.inputs.is_empty() {
                false => self.gather(id, segment),
                true if self.any_native_worker(running.text())? => self.check_room_for_segment(&running.plan, segment),
                true => Ok(()),
            };
        };
        let kernels = self.members[primary].hello.kernels.clone();
        let copy = CopyId(id, segment);
        let now = self.now.elapsed;
        let work = &running.works[segment as usize];
        if work.crc32c.is_some() && work.kernels != kernels {
            // There was a result, and its holders are gone; what comes now has other bits, and copies on their way do not
            // belong to it.
            self.recompute(copy);
        }
        let running = self.operations.get_mut(&id).expect("it was just there");
        let work = &mut running.works[segment as usize];
        work.planned = now;
        if !work.tasks.is_empty() {
            work.rounds += 1; // all of them failed
            work.tasks.clear();
        }
        if work.rounds >= ROUNDS_MAX {
            let text =
                format!("segment {segment} of '{}' could not be computed on any of its holders", running.array_name());
            let error = WireError::new(ErrorCode::Internal, text).array(running.array_name()).segments([segment]);
            return Err(running.last_failure.clone().unwrap_or(error).workers(holders));
        }
        let computing = if running.replicas_receive { 1 } else { holders.len() };
        for (role, worker) in holders.into_iter().take(computing).enumerate() {
            let Some(member) = self.members.get_mut(&worker) else { continue };
            if member.hello.kernels == kernels {
                let place = running.places.on(&worker, &member.queue, segment, role > 0);
                member.queue.insert(running.small, place, copy);
                work.tasks.insert(worker, Task::Queued);
            }
        }
        if work.tasks.len() == 1 {
            work.verify = true; // there is nobody to compare with
        }
        Ok(())
    }

    /// A segment has its result: whoever computes it with other kernels does so for nothing.
    fn forget_other_kernels(&mut self, copy: CopyId) {
        let Some(running) = self.operations.get_mut(&copy.version()) else { return };
        let work = &mut running.works[copy.segment() as usize];
        work.tasks.retain(|worker, _| match self.members.get_mut(worker) {
            Some(member) if member.hello.kernels != work.kernels => {
                member.queue.retain(|queued| queued != copy); // what it has been sent keeps its place in the window
                false
            }
            _ => true,
        });
    }

    fn unreadable(&self, version: VersionId) -> Vec<SegmentIndex> {
        let segments = self.catalog.version(version).map_or(0, |version| version.segments.len() as u32);
        (0..segments).filter(|segment| self.readers(CopyId(version, *segment)).is_empty()).collect()
    }

    /// Commits an operation whose segments are all complete.
    fn maybe_commit(&mut self, id: VersionId) {
        let complete = |running: &&Running| !running.proposed && running.done == running.segments();
        let Some(running) = self.operations.get(&id).filter(complete) else {
            return;
        };
        if running.becomes == Becomes::Values {
            return self.end_reduction(id);
        }
        let segment = |segment: SegmentIndex| {
            let crc32c = running.works[segment as usize].crc32c.unwrap_or(0);
            NewSegment(crc32c, self.result_holders(id, segment))
        };
        let segments: Vec<NewSegment> = (0..running.segments()).map(segment).collect();
        let copies = segments.iter().map(|NewSegment(_, holders)| holders.len() as u32).min();
        let reply = OperationComplete {
            status: OperationState::Complete,
            copies: copies.map_or(running.plan.replication, |copies| copies.min(running.plan.replication)),
            crc32c: Some(combined_crc32c(&segments, |segment| self.result_copy(id, segment).bytes())),
            receipt: Some(running.receipt()),
            ..self.processing(id, running)
        };
        let sync = running.into().is_some(); // the result of an unnamed one can be computed again
        let command = self.command_of(id, running, &reply, segments);
        if let Some(running) = self.operations.get_mut(&id) {
            running.proposed = true;
        }
        protocol::fault_point!(ResultNotProposed);
        self.propose(command, sync, Then::OperationCommitted { version: id, reply });
    }

    /// The change of the catalog that a complete operation is.
    fn command_of(
        &self,
        id: VersionId,
        running: &Running,
        reply: &OperationComplete,
        segments: Vec<NewSegment>,
    ) -> Command {
        let mut receipt = reply.receipt.clone();
        if let Some(receipt) = receipt.as_mut().filter(|receipt| receipt.workers.len() > SHARES_REMEMBERED_MAX) {
            receipt.workers.clear();
        }
        let request = Some(self.outcome(running.origin, &OperationComplete { receipt, ..reply.clone() }.into()));
        let dtype = running.plan.dtype().expect("it has elements");
        match (running.plan.inputs.first(), &running.becomes) {
            (None, Becomes::Array(new)) => Command::CreateArray {
                request,
                array: new.array,
                version: id,
                name: new.name.clone(),
                dtype,
                shape: running.plan.shape.clone(),
                replication: running.plan.replication,
                replace: new.replace,
                segments,
            },
            (source, becomes) => Command::AddResult {
                request,
                version: id,
                source: *source.expect("what is made from nothing becomes an array"),
                into: if let Becomes::Array(new) = becomes { Some(new.clone()) } else { None },
                operation: running.text().to_string(),
                dtype,
                segments,
            },
        }
    }

    /// Ends an operation that gives elements, or that has failed.
    pub(super) fn end_operation(&mut self, id: VersionId, result: Result<OperationComplete, WireError>) {
        self.end_with(id, result.map(Body::from));
    }

    /// Ends an operation: tells who waits, and clears up behind it.
    fn end_with(&mut self, id: VersionId, result: Result<Body, WireError>) {
        let Some(running) = self.operations.remove(&id) else {
            return;
        };
        if let Err(error) = &result {
            log::info!("[{}] operation {id} ends: {error}", running.request());
        }
        let busy = |member: &mut Member| {
            member.queue.retain(|copy| copy.version() != id);
            let sent = member.in_flight.len();
            member.in_flight.retain(|copy, _| copy.version() != id);
            sent != member.in_flight.len()
        };
        let busy: Vec<WorkerId> = self.members.iter_mut().filter_map(|(id, m)| busy(m).then(|| id.clone())).collect();
        for worker in busy {
            self.tell(&worker, CancelSegments { result: id });
        }
        let body = match &result {
            Ok(reply) => reply.clone(),
            Err(error) => Body::Error(error.clone()),
        };
        let elements = running.elements().filter(|_| running.inline && result.is_ok()).zip(running.plan.dtype());
        for key in running.waiters {
            let elements = elements.clone().filter(|_| key == running.origin.key);
            self.answer_with(key, body.clone(), elements.map(|(elements, dtype)| (dtype, elements)));
        }
        self.ended.insert(id, result);
        while self.ended.len() > ENDED_MAX {
            self.ended.pop_first();
        }
        self.collect(id);
        running.plan.inputs.iter().for_each(|input| self.collect(*input));
        self.drop_gathered(running.gathered);
    }

    // ---- what workers say ----

    /// Answers to PROCESS_SEGMENT number `call`.
    pub(super) fn on_segment_result(
        &mut self,
        worker: &WorkerId,
        call: Option<u64>,
        result: SegmentResult,
        elements: Option<Arc<[u8]>>,
    ) {
        protocol::fault_point!(SegmentsAnswered);
        let id = result.result;
        if let Some(running) = self.operations.get_mut(&id) {
            let bytes = result.copies.iter().fold(0_u64, |sum, copy| sum.saturating_add(copy.bytes()));
            let taken = running.of_worker(worker);
            taken.segments += (result.copies.len() + result.partials.len()) as u32;
            taken.busy_us = Some(taken.busy_us.unwrap_or_default().saturating_add(result.busy_us));
            taken.bytes_read = taken.bytes_read.saturating_add(result.bytes_read);
            taken.bytes_written = taken.bytes_written.saturating_add(result.bytes_written);
            taken.memory_bytes = taken.memory_bytes.saturating_add(bytes);
            self.costs.computed(running.fingerprint, bytes, result.busy_us);
            self.maybe_let_replicas_receive(id);
        }
        if let Some(elements) = elements {
            self.keep_elements(&result, &elements);
        }
        if let Some(member) = self.members.get_mut(worker) {
            member.late &= result.copies.is_empty() && result.partials.is_empty();
        }
        for copy in result.copies {
            match self.end_task(worker, copy.id(), call) {
                Answered::Expected => self.on_segment_computed(worker, copy),
                // While the operation runs, the instruction to drop that copy may have crossed this; its heartbeats tell whether
                // it is there.
                Answered::Late if self.operations.contains_key(&id) => {}
                Answered::Late => self.on_copies_changed(worker, CopiesChanged { stored: vec![copy], broken: vec![] }),
                Answered::Superseded => {}
            }
        }
        for reduced in result.partials {
            if let Answered::Expected = self.end_task(worker, CopyId(id, reduced.0), call) {
                self.on_segment_reduced(worker, id, &reduced);
            }
        }
        for FailedSegment { segment, source, error } in result.failed {
            if let Answered::Expected = self.end_task(worker, CopyId(id, segment), call) {
                self.on_segment_failed(worker, CopyId(id, segment), source, error);
            }
        }
        self.maybe_commit(id);
    }

    /// Keeps the elements that came with an answer for the answer to the client. Whatever is wrong with them, the client will read
    /// them from the workers.
    fn keep_elements(&mut self, result: &SegmentResult, mut elements: &[u8]) {
        let Some(running) = self.operations.get_mut(&result.result).filter(|running| running.inline) else { return };
        for segment in &result.inline {
            let copy = result.copies.iter().find(|copy| copy.1 == *segment);
            let own = copy.and_then(|copy| elements.split_at_checked(copy.bytes() as usize));
            let (Some((own, others)), Some(work)) = (own, running.works.get_mut(*segment as usize)) else { return };
            work.elements = Some((crc32c(own), own.into()));
            elements = others;
        }
    }

    /// Takes a segment off the list of what a worker is computing, if this is the answer to the instruction on that list.
    fn end_task(&mut self, worker: &WorkerId, copy: CopyId, call: Option<u64>) -> Answered {
        let Some(member) = self.members.get_mut(worker) else { return Answered::Superseded };
        match member.in_flight.get(&copy) {
            Some(sent) if Some(sent.call) == call => {
                member.in_flight.remove(&copy);
                Answered::Expected
            }
            Some(_) => Answered::Superseded,
            None => Answered::Late,
        }
    }

    /// A copy was fetched from another worker: of a result, or of what is read for one.
    pub(super) fn count_received(&mut self, worker: &WorkerId, copy: CopyRecord) {
        if let Some(running) = self.operations.get_mut(&copy.0) {
            running.received += 1;
        }
        let gathered = (copy.id(), worker.clone());
        let concerned = self.operations.iter_mut();
        let concerned = concerned.filter(|(id, running)| **id == copy.0 || running.gathered.contains(&gathered));
        for (_, running) in concerned {
            running.network_bytes = running.network_bytes.saturating_add(copy.bytes());
            let taken = running.of_worker(worker);
            taken.memory_bytes = taken.memory_bytes.saturating_add(copy.bytes());
        }
    }

    fn on_segment_computed(&mut self, worker: &WorkerId, copy: CopyRecord) {
        let expected = self.result_copy(copy.0, copy.1).bytes();
        let Some(running) = self.operations.get(&copy.0) else { return };
        if expected != copy.bytes() {
            let text = format!("a result of {} bytes; it must have {expected}", copy.bytes());
            return self.on_segment_failed(worker, copy.id(), None, WireError::new(ErrorCode::Internal, text));
        }
        let Some(member) = self.members.get_mut(worker) else { return };
        let (kernels, level) = (member.hello.kernels.clone(), member.level());
        let work = &running.works[copy.1 as usize];
        let known = work.crc32c;
        if known.is_some_and(|crc32c| crc32c != copy.crc32c()) && !planted::bug!(ChecksumsNotCompared) {
            if work.kernels == kernels && !running.proposed {
                return self.on_results_differ(worker, copy);
            }
            // Another kind of worker was first; this one was not waited for any more. Or what the others agree about, of sources that
            // were checked or by two of them, is on its way into the log.
            log::warn!("the result of {} from {worker} differs from what counts, and is dropped", copy.id());
            return self.tell(worker, DropCopies { copies: vec![copy.id()], ..DropCopies::default() });
        }
        member.add(copy);
        if let Some(running) = self.operations.get_mut(&copy.0) {
            let work = &mut running.works[copy.1 as usize];
            work.is_of_level_1 = level == 1;
            work.confirmed |= work.verify || known.is_some() || planted::bug!(ResultNotConfirmed);
            running.recomputed += u32::from(known.is_some());
            work.crc32c = Some(copy.crc32c());
            work.kernels = kernels;
            work.tasks.remove(worker);
        }
        self.forget_other_kernels(copy.id());
        self.note_progress();
        if let Err(error) = self.advance_segment(copy.0, copy.1) {
            self.end_operation(copy.0, Err(error));
        }
    }

    /// Two workers with the same kernels gave different bits: one of them had broken bytes.
    fn on_results_differ(&mut self, worker: &WorkerId, copy: CopyRecord) {
        log::error!("results of {} differ between workers, {worker} among them; computing it again", copy.id());
        let Some(running) = self.operations.get_mut(&copy.0) else { return };
        let text = format!("workers give different results for segment {} of '{}'", copy.1, running.array_name());
        let error = WireError::new(ErrorCode::ChecksumMismatch, text).array(running.array_name());
        running.last_failure = Some(error);
        running.works[copy.1 as usize].tasks.insert(worker.clone(), Task::Failed); // one round is over
        self.recompute(copy.id());
    }

    /// Throws away all results of a segment, so that it is computed again, from sources that are checked first.
    fn recompute(&mut self, copy: CopyId) {
        let Some(running) = self.operations.get_mut(&copy.version()) else { return };
        let work = &mut running.works[copy.segment() as usize];
        running.done -= u32::from(std::mem::take(&mut work.done));
        work.crc32c = None;
        work.confirmed = false;
        work.elements = None;
        work.verify = true;
        work.tasks.values_mut().for_each(|task| *task = Task::Failed);
        for member in self.members.values_mut() {
            member.queue.retain(|queued| queued != copy);
            member.in_flight.remove(&copy);
            if !planted::bug!(DroppedCopyCounted) {
                member.remove(copy);
            }
        }
        self.forget_transfers_of(copy);
        // All of them: some may have the result without having said so.
        let workers: Vec<WorkerId> = self.members.keys().cloned().collect();
        workers.iter().for_each(|worker| self.tell(worker, DropCopies { copies: vec![copy], ..DropCopies::default() }));
        self.changed = true;
    }

    /// A worker could not compute a segment; because of its copy of `source`, if that is named.
    fn on_segment_failed(&mut self, worker: &WorkerId, copy: CopyId, source: Option<VersionId>, error: WireError) {
        let Some(running) =
            self.operations.get_mut(&copy.version()).filter(|running| copy.segment() < running.segments())
        else {
            return;
        };
        log::warn!("[{}] worker {worker} could not compute {copy}: {error}", running.request());
        let source = source.filter(|source| running.reads(*source)).map(|source| CopyId(source, copy.segment()));
        if let Some(member) = self.members.get_mut(worker) {
            member.late |= member.level() == 1; // others first, from now on
        }
        let tasks = &mut running.works[copy.segment() as usize].tasks;
        tasks.insert(worker.clone(), Task::Failed);
        running.redispatched += 1;
        match error.code {
            // It is no holder any more, so this can't happen again for ever, and does not count as a try.
            ErrorCode::NotHeld | ErrorCode::ChecksumMismatch => drop(tasks.remove(worker)),
            _ => running.last_failure = Some(error.clone()),
        }
        match (error.code, source) {
            (ErrorCode::NotHeld, Some(source)) => {
                self.lose_copy(worker, source);
            }
            (ErrorCode::ChecksumMismatch, Some(source)) => self.on_broken_copy(worker, source),
            // No other worker would do better.
            (ErrorCode::UnknownOperation | ErrorCode::TypeMismatch | ErrorCode::BadElement, _) => {
                let running = &self.operations[&copy.version()];
                let message = format!("{} on '{}': {}", running.text(), running.array_name(), error.message);
                let error = WireError { message, ..error }.array(running.array_name());
                self.end_operation(copy.version(), Err(error));
            }
            _ => {}
        }
        self.changed = true;
    }

    // ---- workers that fail ----

    /// A worker is gone: what it was computing goes to others. Gives how many segments it had been sent.
    pub(super) fn take_over_tasks(&mut self, worker: &WorkerId) -> u64 {
        let mut taken_over = 0;
        self.count_promotions(worker);
        for running in self.operations.values_mut().filter(|running| !running.proposed) {
            if !planted::bug!(DoneCountedTwice) {
                running.done = 0;
            }
            running.gathered.retain(|(_, fetcher)| fetcher != worker);
            for work in &mut running.works {
                work.done = false; // it may have been one of the copies
                if planted::bug!(RedispatchLost) && work.tasks.get(worker) == Some(&Task::Sent) {
                    continue;
                }
                if work.tasks.remove(worker) == Some(Task::Sent) {
                    running.redispatched += 1;
                    taken_over += 1;
                }
            }
        }
        taken_over
    }

    /// Counts the segments that running operations read and that this worker, which is gone, was the primary of.
    fn count_promotions(&mut self, worker: &WorkerId) {
        for running in self.operations.values_mut() {
            let versions = running.plan.inputs.iter().filter_map(|input| self.catalog.version(*input));
            let led = versions.flat_map(|version| &version.segments).filter(|s| s.holders.first() == Some(worker));
            running.promoted += led.filter(|segment| segment.holders.len() > 1).count() as u32;
        }
    }

    pub(super) fn watch_operations(&mut self) {
        let now = self.now.elapsed;
        let late: Vec<VersionId> =
            self.operations.iter().filter(|(_, r)| now >= r.deadline && !r.proposed).map(|(id, _)| *id).collect();
        for id in late {
            let running = &self.operations[&id];
            let open = (0..running.segments()).filter(|segment| !running.works[*segment as usize].done);
            let text = format!("no {} within {} ms", self.explain_operation(id), (now - running.started).as_millis());
            let error = WireError::new(ErrorCode::DeadlineExceeded, text).array(running.array_name()).segments(open);
            self.end_operation(id, Err(error));
        }
        self.help_level_1();
        let mut stuck = Vec::new();
        // Those of level 1 are supervised by whoever stands in for them, who knows how much they have been sent.
        for (worker, member) in self.members.iter().filter(|(_, member)| member.level() > 1) {
            let late = member.in_flight.iter().filter(|(_, sent)| now - sent.at >= TASK_TIMEOUT);
            stuck.extend(late.map(|(copy, _)| (worker.clone(), *copy)));
        }
        for (worker, copy) in stuck {
            if let Some(member) = self.members.get_mut(&worker) {
                member.in_flight.remove(&copy);
            }
            let text = format!("no answer from a worker that is alive within {TASK_TIMEOUT:?}");
            self.on_segment_failed(&worker, copy, None, WireError::new(ErrorCode::DeadlineExceeded, text));
            self.count_redispatched(1);
        }
    }

    // ---- requests that wait ----

    /// What a request waits for, in words.
    pub(super) fn explain_wait(&self, key: Key) -> String {
        let waits = self.operations.iter().find(|(_, running)| running.waiters.contains(&key));
        match (waits, self.requests.get(&key)) {
            (Some((id, _)), _) => self.explain_operation(*id),
            (None, Some(request)) => self.explain_commit(key).unwrap_or_else(|| request.waits_for.clone()),
            (None, None) => "answer".to_string(),
        }
    }

    /// Whether any request is not answered yet.
    pub fn has_pending_requests(&self) -> bool {
        !self.requests.is_empty()
    }

    /// Every request that is not answered, with what it waits for: for people who look for a hang.
    pub fn pending_requests(&self) -> Vec<String> {
        let explain = |key: &Key| format!("[{}] waits for {}", request_name(key.0, key.1), self.explain_wait(*key));
        self.requests.keys().map(explain).collect()
    }

    fn explain_operation(&self, id: VersionId) -> String {
        let running = &self.operations[&id];
        let mut busy: Vec<&str> = running.works.iter().flat_map(|work| work.tasks.keys()).map(|w| w.as_str()).collect();
        busy.sort_unstable();
        busy.dedup();
        let by = if busy.is_empty() { "copies".to_string() } else { busy.join(", ") };
        format!(
            "result of {} on '{}' ({} of {} segments done, waiting for {by})",
            running.text(),
            running.array_name(),
            running.done,
            running.segments()
        )
    }

    /// A request will be answered that its time is up: nothing waits for it any more.
    pub(super) fn give_up_waiting(&mut self, key: Key) {
        self.give_up_upload_request(key);
        let mut abandoned = Vec::new();
        for (id, running) in &mut self.operations {
            let waited = running.waiters.len();
            running.waiters.retain(|waiter| *waiter != key);
            if waited > 0 && running.waiters.is_empty() && running.origin.key == key && !running.proposed {
                abandoned.push(*id);
            }
        }
        for id in abandoned {
            let text = format!("the deadline of its request passed: {}", self.explain_operation(id));
            self.end_operation(id, Err(WireError::new(ErrorCode::DeadlineExceeded, text)));
        }
    }
}

fn unknown_operation_id(operation: VersionId) -> WireError {
    let text = format!("no operation {operation} is running; see `operations`");
    WireError::new(ErrorCode::UnknownOperationId, text)
}
