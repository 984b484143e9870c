//! Computations and fetches that wait for their turn, and what is answered about them.

use super::Settings;
use crate::compute::bytes_gone_through;
use crate::store::{Room, Segment, Store};
use array::reduction::Partial;
use array::{DType, Program};
use protocol::limits::INLINE_BYTES_MAX;
use protocol::message::client::Endpoint;
use protocol::message::worker::{FailedSegment, ReducedSegment, SegmentResult};
use protocol::{Body, CopyId, CopyRecord, Head, Message, SegmentIndex, VersionId, WireError};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// What an answer has from the head of its instruction. One per instruction, shared by its segments.
#[derive(Debug)]
pub(super) struct Origin {
    id: Option<u64>,
    /// Segments whose elements are wanted with the answer.
    inline: Vec<SegmentIndex>,
    /// The client's request that is served.
    pub(super) request: Option<String>,
}

impl Origin {
    pub(super) fn of(head: &Head) -> Arc<Origin> {
        Origin::wanting(head, Vec::new())
    }

    /// Of an instruction that wants elements of these segments with the answer.
    pub(super) fn wanting(head: &Head, inline: Vec<SegmentIndex>) -> Arc<Origin> {
        Arc::new(Origin { id: head.id, inline, request: head.request.clone() })
    }

    pub(super) fn message(&self, body: impl Into<Body>) -> Message {
        Message::new(body).with_id(self.id).serving(self.request.clone())
    }
}

/// How a segment is to be computed.
#[derive(Debug)]
pub(super) struct ResultTask {
    pub(super) program: Arc<Program>,
    /// The versions to read; the segment is that of the result.
    pub(super) sources: Vec<VersionId>,
    /// Elements of the whole result.
    pub(super) elements: u64,
    pub(super) verify: bool,
    pub(super) origin: Arc<Origin>,
}

/// How a copy is to be fetched.
#[derive(Debug)]
pub(super) struct FetchTask {
    pub(super) copy: CopyRecord,
    pub(super) dtype: DType,
    pub(super) sources: Vec<Endpoint>,
    pub(super) background: bool,
    pub(super) origin: Arc<Origin>,
}

/// Work of one kind: queued with room for what it makes, handed out a few at a time. The queue is bounded by
/// the memory budget, as each entry holds room; those that reduce and hold none, by what the master asks for at a time.
#[derive(Debug)]
pub(super) struct Jobs<T> {
    /// In quarters.
    slots: usize,
    queue: VecDeque<Waiting<T>>,
    small: VecDeque<Waiting<T>>,
    running: BTreeMap<u64, Ended<T>>,
    /// Copies of which a wanted job is queued or running.
    wanted: BTreeSet<CopyId>,
    /// Number of the next job.
    next: u64,
}

/// A job that is queued, and how much of the slots it takes.
type Waiting<T> = (CopyId, T, Room, Weight);

/// How much of the slots a job takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// Nothing: it does not wait for others.
    Small,
    /// A quarter of one, so that several are done in one go and told of together.
    Medium,
    /// A slot.
    Large,
}

impl Weight {
    /// The weight of computing so many elements.
    pub(super) fn of(program: &Program, elements: u64, settings: &Settings) -> Weight {
        match elements {
            _ if elements <= settings.small_elements => Weight::Small,
            _ if bytes_gone_through(program, elements) <= settings.medium_bytes => Weight::Medium,
            _ => Weight::Large,
        }
    }

    fn quarters(self) -> usize {
        match self {
            Weight::Small => 0,
            Weight::Medium => 1,
            Weight::Large => 4,
        }
    }
}

/// A job that was handed out, as [`Jobs::end`] gives it back.
#[derive(Debug)]
pub(super) struct Ended<T> {
    pub(super) copy: CopyId,
    pub(super) task: T,
    pub(super) room: Room,
    weight: Weight,
    /// False when it was cancelled or dropped, or its link has ended.
    pub(super) wanted: bool,
}

impl<T> Jobs<T> {
    /// So many are handed out at once, beside small ones.
    pub(super) fn new(slots: usize) -> Jobs<T> {
        assert!(slots > 0, "without slots nothing is ever done");
        let (queue, small) = (VecDeque::new(), VecDeque::new());
        Jobs { slots: 4 * slots, queue, small, running: BTreeMap::new(), wanted: BTreeSet::new(), next: 0 }
    }

    /// Queued and running ones.
    pub(super) fn len(&self) -> usize {
        self.queue.len() + self.small.len() + self.running.len()
    }

    pub(super) fn is_wanted(&self, copy: CopyId) -> bool {
        self.wanted.contains(&copy)
    }

    /// Queues a job. Small ones do not wait for the others.
    pub(super) fn push(&mut self, copy: CopyId, task: T, room: Room, weight: Weight) {
        let is_new = self.wanted.insert(copy);
        assert!(is_new, "{copy} is wanted already");
        let queue = if weight == Weight::Small { &mut self.small } else { &mut self.queue };
        queue.push_back((copy, task, room, weight));
    }

    /// Hands out the next job, if there is a small one, or another one and a slot for it.
    pub(super) fn start(&mut self) -> Option<(u64, CopyId, &T)> {
        let taken = || self.running.values().map(|running| running.weight.quarters()).sum::<usize>();
        let (copy, task, room, weight) = match self.small.pop_front() {
            Some(small) => small,
            None if self.queue.is_empty() || taken() >= self.slots => return None,
            None => self.queue.pop_front()?,
        };
        let job = self.next;
        self.next += 1;
        let started = self.running.entry(job).or_insert(Ended { copy, task, room, weight, wanted: true });
        Some((job, copy, &started.task))
    }

    /// Takes back a job that was handed out; `None` for one that never was.
    pub(super) fn end(&mut self, job: u64) -> Option<Ended<T>> {
        let ended = self.running.remove(&job)?;
        if ended.wanted {
            self.wanted.remove(&ended.copy);
        }
        Some(ended)
    }

    /// Drops the queued jobs that `is_forgotten`, and lets the running ones of them end for nothing.
    pub(super) fn forget(&mut self, store: &mut Store, is_forgotten: impl Fn(CopyId) -> bool) {
        for queue in [&mut self.queue, &mut self.small] {
            for (copy, task, room, weight) in std::mem::take(queue) {
                if is_forgotten(copy) {
                    self.wanted.remove(&copy);
                    store.release(room);
                } else {
                    queue.push_back((copy, task, room, weight));
                }
            }
        }
        for running in self.running.values_mut().filter(|running| running.wanted && is_forgotten(running.copy)) {
            running.wanted = false;
            self.wanted.remove(&running.copy);
        }
    }
}

/// What to tell about segments, gathered by the instruction that they belong to.
#[derive(Default)]
pub(super) struct Reports(Vec<Report>);

/// What one answer will say.
pub(super) struct Report {
    pub(super) origin: Arc<Origin>,
    pub(super) result: SegmentResult,
    /// The copies whose elements are to come with it.
    copies: Vec<Arc<Segment>>,
}

impl Reports {
    /// The report to add to.
    fn of(&mut self, origin: &Arc<Origin>, result: VersionId) -> &mut Report {
        // Few instructions end at a time, and mostly it is the same as before.
        let found =
            self.0.iter().rposition(|report| Arc::ptr_eq(&report.origin, origin) && report.result.result == result);
        let at = found.unwrap_or_else(|| {
            self.0.push(Report { origin: origin.clone(), result: SegmentResult::of(result), copies: Vec::new() });
            self.0.len() - 1
        });
        &mut self.0[at]
    }

    /// A copy is here.
    pub(super) fn add(&mut self, origin: &Arc<Origin>, copy: &Arc<Segment>) {
        let id = copy.record().id();
        let report = self.of(origin, id.version());
        report.result.copies.push(copy.record());
        if origin.inline.contains(&id.segment()) {
            report.copies.push(copy.clone());
        }
    }

    /// A segment was reduced.
    pub(super) fn reduced(&mut self, origin: &Arc<Origin>, result: CopyId, partials: &[Partial]) {
        let reduced = ReducedSegment::new(result.segment(), partials);
        self.of(origin, result.version()).result.partials.push(reduced);
    }

    /// Time was spent on it.
    pub(super) fn spend(&mut self, origin: &Arc<Origin>, result: VersionId, busy: Duration) {
        self.of(origin, result).result.busy_us += busy.as_micros() as u64;
    }

    /// So many elements were gone through.
    pub(super) fn count(&mut self, task: &ResultTask, result: VersionId, elements: u64) {
        let report = &mut self.of(&task.origin, result).result;
        report.bytes_read += elements * task.program.bytes_read();
        report.bytes_written += elements * task.program.bytes_written();
    }

    /// A segment has no result here; because of the copy of this version, if it is that.
    pub(super) fn fail(&mut self, origin: &Arc<Origin>, result: CopyId, source: Option<VersionId>, error: WireError) {
        let failed = FailedSegment { segment: result.segment(), source, error };
        self.of(origin, result.version()).result.failed.push(failed);
    }

    pub(super) fn into_reports(self) -> impl Iterator<Item = Report> {
        self.0.into_iter()
    }
}

impl Report {
    /// The answer, with elements if they are wanted and few.
    pub(super) fn into_message(self) -> Message {
        let bytes: u64 = self.copies.iter().map(|copy| copy.record().bytes()).sum();
        let dtype = self.copies.first().filter(|_| bytes <= INLINE_BYTES_MAX).map(|copy| copy.dtype());
        let Some(dtype) = dtype else { return self.origin.message(self.result) };
        let parts: Vec<&[u8]> = self.copies.iter().map(|copy| copy.buffer().as_bytes()).collect();
        let inline = self.copies.iter().map(|copy| copy.record().id().segment()).collect();
        self.origin.message(SegmentResult { inline, ..self.result }).with_elements(dtype, parts.concat().into())
    }
}
