//! Operations: computed segment by segment, and answered exactly once for each. A Java master counts answers, so one
//! too many ends its wait early, and one too few makes it wait for 10 s.

use super::arrays::Primary;
use super::outbox::Outbox;
use super::reply::{Reply, Values};
use super::{Effect, FIRST_JOB};
use crate::compute::{ComputeJob, Computed, Made};
use crate::store::{Room, Segment, Store};
use array::Operation;
use log::{debug, warn};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// The segment that is named in the answer of a worker that has none.
const NO_SEGMENT: i64 = 0;

/// What is to be computed and said. Computations of all requests run side by side; the answers about an array keep the
/// order of its requests, and in each that of its segments: the first so many that a Java master counts are then of all
/// segments, also when it has asked twice.
#[derive(Debug)]
pub(super) struct Work {
    slots: usize,
    /// Requests with answers that are not in the outbox yet, by their number.
    requests: BTreeMap<u64, Request>,
    /// Computations that wait, in the order of their requests.
    queue: VecDeque<Task>,
    /// Those handed out, by the number of the job.
    running: BTreeMap<u64, Running>,
    next_request: u64,
    next_job: u64,
}

#[derive(Debug)]
struct Request {
    array: String,
    parts: VecDeque<Part>,
}

/// One answer of a request.
#[derive(Debug)]
enum Part {
    /// Being computed, or waiting for it.
    Open(i64),
    /// Ready, with the memory of its values.
    Ready(Reply, Option<Room>),
}

#[derive(Debug)]
struct Task {
    request: u64,
    array: String,
    segment: i64,
    operation: Operation,
    source: Arc<Segment>,
}

#[derive(Debug)]
struct Running {
    /// Without its source, which the job has. `None` when its connection has ended.
    answer: Option<Answer>,
    room: Room,
}

/// What an answer is about.
#[derive(Debug)]
struct Answer {
    request: u64,
    array: String,
    segment: i64,
    operation: Operation,
}

impl Work {
    pub(super) fn new(slots: usize) -> Work {
        assert!(slots > 0, "without slots nothing is ever computed");
        let (requests, queue, running) = (BTreeMap::new(), VecDeque::new(), BTreeMap::new());
        Work { slots, requests, queue, running, next_request: 0, next_job: FIRST_JOB }
    }

    /// Answers that are not in the outbox yet.
    pub(super) fn len(&self) -> usize {
        self.requests.values().map(|request| request.parts.len()).sum()
    }

    /// Queues something about an array that needs no computing.
    pub(super) fn say(&mut self, array: String, reply: Reply) {
        self.push(array, [Part::Ready(reply, None)].into());
    }

    /// Queues an operation on all primaries of an array. A master asks only those of whom it waits for an answer, so
    /// there is one also when nothing is held, as after a new registration.
    pub(super) fn request(&mut self, array: String, operation: &str, primaries: Vec<Primary>) {
        if primaries.is_empty() {
            warn!("no primary segment of '{array}' is here to compute {operation} on; the answer is an error");
            return self.say(array.clone(), failed(array, NO_SEGMENT));
        }
        let request = self.next_request;
        let parts = primaries.into_iter().map(|(segment, source)| {
            let task = plan(operation, source).map(|(operation, source)| {
                self.queue.push_back(Task { request, array: array.clone(), segment, operation, source });
            });
            match task {
                Ok(()) => Part::Open(segment),
                Err(why) => refused(&array, segment, &why),
            }
        });
        let parts = parts.collect();
        self.push(array, parts);
    }

    fn push(&mut self, array: String, parts: VecDeque<Part>) {
        self.requests.insert(self.next_request, Request { array, parts });
        self.next_request += 1;
    }

    /// Hands out computations while there are slots and memory. One for whose result there is no memory waits for that
    /// of others; when there are none, `all_written` says, it has failed.
    pub(super) fn start(&mut self, store: &mut Store, all_written: bool, effects: &mut Vec<Effect>) {
        while self.running.len() < self.slots
            && let Some(task) = self.queue.front()
        {
            let elements = 0..task.source.elements();
            let room = store.make_room(elements.end * task.operation.output().size() as u64);
            if room.is_err() && !(all_written && self.is_alone()) {
                return;
            }
            let Task { request, array, segment, operation, source } = self.queue.pop_front().expect("just seen");
            match room {
                Ok(room) => {
                    let result = source.record().id();
                    let serving = Some(format!("'{array}'/{segment}"));
                    let job = self.next_job;
                    self.next_job += 1;
                    let answer = Some(Answer { request, array, segment, operation });
                    self.running.insert(job, Running { answer, room });
                    effects.push(Effect::Compute(ComputeJob {
                        job,
                        program: operation.program(),
                        sources: vec![source],
                        result,
                        elements,
                        verify: false,
                        request: serving,
                    }));
                }
                Err(error) => {
                    let part = refused(&array, segment, &error.to_string());
                    self.finish(request, segment, part);
                }
            }
        }
    }

    /// Whether no memory is taken by results that will be given back by themselves.
    fn is_alone(&self) -> bool {
        let is_ready = |part: &Part| matches!(part, Part::Ready(_, Some(_)));
        self.running.is_empty() && !self.requests.values().flat_map(|request| &request.parts).any(is_ready)
    }

    pub(super) fn on_computed(&mut self, store: &mut Store, Computed { job, outcome, .. }: Computed) {
        let Some(Running { answer, room }) = self.running.remove(&job) else { return };
        match (answer, outcome) {
            (Some(Answer { request, array, segment, operation }), Ok(Made::Elements(buffer, _))) => {
                let values = Some(Values { dtype: operation.output(), buffer });
                self.finish(request, segment, Part::Ready(Reply::Result { array, segment, values }, Some(room)));
            }
            (Some(Answer { request, array, segment, operation }), outcome) => {
                store.release(room);
                self.finish(request, segment, refused(&array, segment, &format!("{operation} failed: {outcome:?}")));
            }
            (None, outcome) => {
                debug!("nobody waits for computation {job} any more");
                drop(outcome);
                store.release(room);
            }
        }
    }

    /// Closes the open part of a segment. A request has each segment once.
    fn finish(&mut self, request: u64, segment: i64, with: Part) {
        let is_its = |part: &&mut Part| matches!(part, Part::Open(open) if *open == segment);
        let part = self.requests.get_mut(&request).and_then(|request| request.parts.iter_mut().find(is_its));
        *part.expect("a computation belongs to an open part of a request") = with;
    }

    /// Moves what is ready, and has nothing open before it, into the outbox.
    pub(super) fn hand_over(&mut self, outbox: &mut Outbox) {
        let mut open = BTreeSet::new();
        for Request { array, parts } in self.requests.values_mut().filter(|request| !request.parts.is_empty()) {
            if open.contains(array.as_str()) {
                continue;
            }
            while let Some(part) = parts.pop_front_if(|part| matches!(part, Part::Ready(..))) {
                if let Part::Ready(reply, room) = part {
                    outbox.push(reply, room);
                }
            }
            if !parts.is_empty() {
                open.insert(array.as_str());
            }
        }
        self.requests.retain(|_, request| !request.parts.is_empty());
    }

    /// Forgets every request. What is being computed ends for nothing.
    pub(super) fn forget(&mut self, store: &mut Store) {
        self.queue.clear();
        self.running.values_mut().for_each(|running| running.answer = None);
        for part in std::mem::take(&mut self.requests).into_values().flat_map(|request| request.parts) {
            if let Part::Ready(reply, Some(room)) = part {
                drop(reply);
                store.release(room);
            }
        }
    }
}

/// Whether and how an operation can be done on a segment.
fn plan(
    operation: &str,
    source: Result<Arc<Segment>, protocol::WireError>,
) -> Result<(Operation, Arc<Segment>), String> {
    let operation: Operation = operation.parse().map_err(|e: array::UnknownOperation| e.to_string())?;
    let source = source.map_err(|e| e.to_string())?;
    operation.check_input(source.dtype()).map_err(|e| e.to_string())?;
    Ok((operation, source))
}

fn refused(array: &str, segment: i64, why: &str) -> Part {
    warn!("'{array}'/{segment}: no result: {why}");
    Part::Ready(failed(array.to_string(), segment), None)
}

fn failed(array: String, segment: i64) -> Reply {
    Reply::Result { array, segment, values: None }
}
