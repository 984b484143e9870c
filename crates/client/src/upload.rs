//! [`Upload`]: how an array gets into the cluster, as a state machine without socket, clock or bytes.
//!
//! ```text
//!   CREATE_ARRAY -> plan -> write every segment to its primary -> COMMIT_ARRAY -> done
//!        ^                    |  ^                                   |
//!        |            failed  v  | new plan       SegmentsMissing    |
//!        |                REPLAN_WRITE  <----------------------------+
//!        +---- UnknownUpload, from anywhere: the master has forgotten it, begin again
//! ```
//!
//! It deals in segment numbers and byte ranges of the caller's buffer; the shell holds the bytes. Nothing bounds the
//! number of attempts but the deadline; rounds without progress are backed off.
//!
//! The contract: each [`Effect::Ask`] is answered by one [`Event::Reply`] by its deadline, each [`Effect::Write`] by one
//! [`Event::Written`] or [`Event::WriteFailed`], and a [`Event::Tick`] comes at [`Upload::next_deadline`], the first one at once.
//! [`Effect::Done`] or [`Effect::Failed`] is the last effect.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::error::{CallError, Error, Failure};
use crate::pace;
use array::{DType, LEN_MAX};
use protocol::message::client::*;
use protocol::{Body, ErrorCode, SegmentIndex, VersionId, WorkerId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// What is to be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The array's name.
    pub name: String,
    /// The dtype of its elements.
    pub dtype: DType,
    /// Lengths of its sides.
    pub shape: Vec<u64>,
    /// Whether it may take the place of an array of that name.
    pub replace: bool,
    /// When the caller stops waiting, in the time of `now`.
    pub deadline: Duration,
}

/// What the shell tells the machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Time has passed, or the machine shall begin.
    Tick,
    /// The master's reply to an [`Effect::Ask`].
    Reply {
        /// The number of the question.
        ask: u64,
        /// The reply, never an ERROR, or why there is none.
        result: Result<Body, CallError>,
    },
    /// A segment is stored.
    Written {
        /// As in the order.
        version: VersionId,
        /// As in the order.
        segment: SegmentIndex,
        /// The worker it was sent to.
        primary: WorkerId,
        /// The checksum of its bytes.
        crc32c: u32,
        /// Who has stored it, the primary included.
        workers: Vec<WorkerId>,
    },
    /// A segment is not stored.
    WriteFailed {
        /// As in the order.
        version: VersionId,
        /// As in the order.
        segment: SegmentIndex,
        /// The worker it was sent to.
        primary: WorkerId,
        /// Why not.
        failure: Failure,
    },
}

/// What the machine tells the shell to do, in this order.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Ask the master. The question ends with the upload's deadline.
    Ask {
        /// A number for the reply, growing.
        ask: u64,
        /// The question.
        body: Body,
    },
    /// Tell the master; the reply does not matter.
    Tell(Body),
    /// Send a segment.
    Write(WriteOrder),
    /// The array exists.
    Done(ArrayCommitted),
    /// It does not, or nobody knows; what is under way may be interrupted.
    Failed(Error),
}

/// One segment to be sent to a data port, by DISTRIBUTE_ARRAY.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteOrder {
    /// The upload.
    pub version: VersionId,
    /// The segment.
    pub segment: SegmentIndex,
    /// The dtype of its elements.
    pub dtype: DType,
    /// Its bytes within the caller's buffer.
    pub bytes: Range<u64>,
    /// What the workers want to see.
    pub ticket: String,
    /// Whom to send it to.
    pub primary: Endpoint,
    /// Whom that one shall forward it to.
    pub forward: Vec<Endpoint>,
    /// How long the worker may be silent before it counts as failed.
    pub patience: Duration,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    /// CREATE_ARRAY is to be asked, not before that time.
    Beginning { not_before: Duration },
    /// CREATE_ARRAY is asked.
    Creating { ask: u64 },
    /// Segments are being written.
    Writing,
    /// COMMIT_ARRAY is asked.
    Committing { ask: u64 },
    /// Done or failed.
    Ended,
}

/// Where one segment is.
#[derive(Clone, Debug)]
enum Place {
    /// It needs another plan.
    Unplanned,
    /// It waits for its turn, or is on its way, by entry `entry` of that plan.
    Planned { plan: Arc<WritePlan>, entry: usize },
    /// It is stored.
    Written { crc32c: u32, workers: Vec<WorkerId> },
}

/// What is to be sent to one worker.
#[derive(Clone, Debug, Default)]
struct Lane {
    waiting: VecDeque<SegmentIndex>,
    /// Orders without an answer, those of a forgotten upload too.
    in_flight: usize,
    /// It was unreachable: wait for the other answers before asking for a new plan, which then covers them all.
    broken: bool,
}

/// One array on its way; see the [module](self).
#[derive(Debug)]
pub struct Upload {
    request: Request,
    bytes: u64,
    state: State,
    next_ask: u64,
    plan: Option<Arc<WritePlan>>,
    segments: Vec<Place>,
    lanes: BTreeMap<WorkerId, Lane>,
    avoid: BTreeSet<WorkerId>,
    /// The outstanding REPLAN_WRITE.
    replan: Option<u64>,
    /// No new plan before that.
    not_before: Duration,
    /// Plans in a row without a segment written.
    rounds: u32,
    written_bytes: u64,
    last_failure: Option<String>,
}

impl Upload {
    /// An upload that begins with the first step.
    ///
    /// # Errors
    /// [`Error::WrongLength`] when the shape has more elements than an array may have.
    pub fn new(request: Request) -> Result<Upload, Error> {
        let len = length(&request.shape).ok_or_else(|| Error::WrongLength {
            what: format!("array '{}' of shape {:?} is too long", request.name, request.shape),
            given: request.shape.iter().fold(1, |len, &side| len.saturating_mul(side)),
            expected: LEN_MAX,
        })?;
        Ok(Upload {
            bytes: len * request.dtype.size() as u64,
            request,
            state: State::Beginning { not_before: Duration::ZERO },
            next_ask: 1,
            plan: None,
            segments: Vec::new(),
            lanes: BTreeMap::new(),
            avoid: BTreeSet::new(),
            replan: None,
            not_before: Duration::ZERO,
            rounds: 0,
            written_bytes: 0,
            last_failure: None,
        })
    }

    /// Bytes stored so far, and bytes of the array.
    pub fn progress(&self) -> (u64, u64) {
        (self.written_bytes, self.bytes)
    }

    /// Takes note of an event at the time `now`, which never goes back.
    pub fn step(&mut self, now: Duration, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Tick => {}
            Event::Reply { ask, result } => self.on_reply(now, ask, result, &mut effects),
            Event::Written { version, segment, primary, crc32c, workers } => {
                let lane = self.lane(&primary);
                lane.in_flight -= 1;
                lane.broken &= lane.in_flight > 0;
                self.on_written(version, segment, crc32c, workers);
            }
            Event::WriteFailed { version, segment, primary, failure } => {
                self.on_write_failed(version, segment, primary, failure);
            }
        }
        self.go_on(now, &mut effects);
        effects
    }

    /// When the next [`Event::Tick`] is needed.
    pub fn next_deadline(&self) -> Option<Duration> {
        match self.state {
            State::Ended => None,
            _ if self.is_asking() => None,
            State::Beginning { not_before } => Some(not_before.min(self.request.deadline)),
            State::Writing if self.needs_plan() => Some(self.not_before.min(self.request.deadline)),
            _ => Some(self.request.deadline),
        }
    }

    /// Whether a question is out that the upload cannot end without. It is answered by the deadline, with more to say.
    fn is_asking(&self) -> bool {
        self.replan.is_some() || matches!(self.state, State::Creating { .. } | State::Committing { .. })
    }

    fn on_reply(&mut self, now: Duration, ask: u64, result: Result<Body, CallError>, effects: &mut Vec<Effect>) {
        let creating = self.state == State::Creating { ask };
        let committing = self.state == State::Committing { ask };
        let replanning = self.replan == Some(ask);
        if !creating && !committing && !replanning {
            return; // about an upload that is forgotten
        }
        self.replan = self.replan.filter(|replan| *replan != ask);
        match result {
            Ok(Body::WritePlan(plan)) if creating => self.on_first_plan(plan, effects),
            Ok(Body::WritePlan(plan)) if replanning => self.on_next_plan(plan, effects),
            Ok(Body::ArrayCommitted(committed)) if committing => {
                self.state = State::Ended;
                effects.push(Effect::Done(committed));
            }
            Ok(other) => self.fail_protocol(&format!("an unexpected {}", other.kind()), effects),
            Err(CallError::Refused(error)) if !creating && error.code == ErrorCode::UnknownUpload => {
                self.begin_again(now, error.to_string());
            }
            Err(CallError::Refused(error)) if committing && error.code == ErrorCode::SegmentsMissing => {
                self.on_segments_missing(now, &error.segments, error.to_string());
            }
            Err(error) => {
                let doing = self.doing();
                self.fail(error.into_error(&doing), effects);
            }
        }
    }

    fn on_first_plan(&mut self, plan: WritePlan, effects: &mut Vec<Effect>) {
        let elements = self.bytes / self.request.dtype.size() as u64;
        let segments = elements.div_ceil(plan.segment_length.max(1));
        let numbers: BTreeSet<SegmentIndex> = plan.segments.iter().map(|planned| planned.0).collect();
        let complete = numbers.len() == plan.segments.len() && numbers.iter().copied().map(u64::from).eq(0..segments);
        if plan.segment_length == 0 || !complete {
            let what = format!("a plan that is not for the {segments} segments of {} elements", plan.segment_length);
            return self.fail_protocol(&what, effects);
        }
        self.segments = vec![Place::Unplanned; numbers.len()];
        self.state = State::Writing;
        self.on_next_plan(plan, effects);
    }

    /// Puts the segments of a plan into the lanes of their primaries.
    fn on_next_plan(&mut self, plan: WritePlan, effects: &mut Vec<Effect>) {
        let known = |index: &u32| (*index as usize) < plan.workers.len();
        let usable = |planned: &PlannedWrite| !planned.1.is_empty() && planned.1.iter().all(known);
        let same = self
            .plan
            .as_ref()
            .is_none_or(|old| (old.version, old.segment_length) == (plan.version, plan.segment_length));
        if !same || !plan.segments.iter().all(usable) {
            return self.fail_protocol("a plan for another upload, or naming workers it does not list", effects);
        }
        let plan = Arc::new(plan);
        for (entry, planned) in plan.segments.iter().enumerate() {
            let Some(place @ Place::Unplanned) = self.segments.get_mut(planned.0 as usize) else {
                continue;
            };
            *place = Place::Planned { plan: plan.clone(), entry };
            let primary = &plan.workers[planned.1[0] as usize].worker;
            self.lanes.entry(primary.clone()).or_default().waiting.push_back(planned.0);
        }
        self.plan = Some(plan);
    }

    fn on_written(&mut self, version: VersionId, segment: SegmentIndex, crc32c: u32, workers: Vec<WorkerId>) {
        if self.version() != Some(version) {
            return;
        }
        let bytes = self.range(segment);
        if let Some(place @ Place::Planned { .. }) = self.segments.get_mut(segment as usize) {
            *place = Place::Written { crc32c, workers };
            self.written_bytes += bytes.end - bytes.start;
            self.rounds = 0;
        }
    }

    fn on_write_failed(&mut self, version: VersionId, segment: SegmentIndex, primary: WorkerId, failure: Failure) {
        let lane = self.lane(&primary);
        lane.in_flight -= 1;
        let unreachable = matches!(failure, Failure::Unreachable(_));
        lane.broken = (lane.broken || unreachable) && lane.in_flight > 0;
        let strand = if unreachable { std::mem::take(&mut lane.waiting) } else { VecDeque::new() };
        if self.version() != Some(version) {
            // The worker stays in doubt, the segments of the present upload find out by themselves.
            self.lane(&primary).waiting = strand;
            return;
        }
        self.last_failure = Some(format!("segment {segment} to worker '{primary}': {failure}"));
        // A worker that has lost its reservation takes a new one. All other refusals are reasons to go elsewhere.
        let elsewhere = match &failure {
            Failure::Unreachable(_) => true,
            Failure::Damaged(_) => false,
            Failure::Refused(error) => error.code != ErrorCode::UnknownTicket && error.code != ErrorCode::Busy,
        };
        if elsewhere {
            self.avoid.insert(primary);
        }
        for segment in strand.into_iter().chain([segment]) {
            if let Some(place @ Place::Planned { .. }) = self.segments.get_mut(segment as usize) {
                *place = Place::Unplanned;
            }
        }
    }

    /// The master has found nobody with these segments any more.
    fn on_segments_missing(&mut self, now: Duration, missing: &[SegmentIndex], why: String) {
        self.state = State::Writing;
        let lost: Vec<SegmentIndex> =
            missing.iter().copied().filter(|&segment| (segment as usize) < self.segments.len()).collect();
        if lost.is_empty() {
            return self.begin_again(now, why);
        }
        for segment in lost {
            let bytes = self.range(segment);
            if let Place::Written { .. } = self.segments[segment as usize] {
                self.written_bytes -= bytes.end - bytes.start;
            }
            self.segments[segment as usize] = Place::Unplanned;
        }
        self.last_failure = Some(why);
    }

    /// The master has forgotten the upload.
    fn begin_again(&mut self, now: Duration, why: String) {
        self.rounds += 1;
        self.state = State::Beginning { not_before: now + pace::backoff(self.rounds) };
        self.last_failure = Some(why);
        self.plan = None;
        self.segments.clear();
        self.avoid.clear();
        self.replan = None;
        self.written_bytes = 0;
        for lane in self.lanes.values_mut() {
            lane.waiting.clear();
        }
    }

    /// Does what can be done now.
    fn go_on(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if now >= self.request.deadline && !self.is_asking() && self.state != State::Ended {
            return self.fail_deadline(effects);
        }
        match self.state {
            State::Beginning { not_before } if not_before <= now => {
                let Request { name, dtype, shape, replace, .. } = self.request.clone();
                let ask = self.ask(CreateArray { array_id: name, dtype, shape, replace }, effects);
                self.state = State::Creating { ask };
            }
            State::Writing => {
                self.write_what_may_be_written(effects);
                self.maybe_replan(now, effects);
                self.maybe_commit(effects);
            }
            _ => {}
        }
    }

    fn write_what_may_be_written(&mut self, effects: &mut Vec<Effect>) {
        let window =
            self.plan.as_ref().map_or(0, |plan| pace::window(plan.segment_length * self.request.dtype.size() as u64));
        let mut next = Vec::new();
        for lane in self.lanes.values_mut().filter(|lane| !lane.broken) {
            let room = window.saturating_sub(lane.in_flight).min(lane.waiting.len());
            lane.in_flight += room;
            next.extend(lane.waiting.drain(..room));
        }
        effects.extend(next.into_iter().map(|segment| Effect::Write(self.order(segment))));
    }

    fn order(&self, segment: SegmentIndex) -> WriteOrder {
        let Place::Planned { plan, entry } = &self.segments[segment as usize] else {
            unreachable!("only planned segments are in a lane");
        };
        let mut workers = plan.segments[*entry].1.iter().map(|&index| plan.workers[index as usize].clone());
        let bytes = self.range(segment);
        WriteOrder {
            version: plan.version,
            segment,
            dtype: self.request.dtype,
            ticket: plan.ticket.clone(),
            primary: workers.next().expect("a plan names a worker for each segment"),
            forward: workers.collect(),
            patience: pace::patience(bytes.end - bytes.start, self.rounds),
            bytes,
        }
    }

    fn maybe_replan(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if self.replan.is_some() || now < self.not_before || !self.needs_plan() {
            return;
        }
        let segments = self.unplanned();
        let version = self.version().expect("there are no segments before the first plan");
        let avoid = self.avoid.iter().cloned().collect();
        self.replan = Some(self.ask(ReplanWrite { version, segments, avoid }, effects));
        self.rounds += 1;
        self.not_before = now + pace::backoff(self.rounds);
    }

    /// Whether segments need a plan and all of them are known.
    fn needs_plan(&self) -> bool {
        let settled = !self.lanes.values().any(|lane| lane.broken);
        settled && self.segments.iter().any(|place| matches!(place, Place::Unplanned))
    }

    fn unplanned(&self) -> Vec<SegmentIndex> {
        (0..).zip(&self.segments).filter(|(_, place)| matches!(place, Place::Unplanned)).map(|(s, _)| s).collect()
    }

    fn maybe_commit(&mut self, effects: &mut Vec<Effect>) {
        let written = (0..).zip(&self.segments).map(|(segment, place)| match place {
            Place::Written { crc32c, workers } => Some(WrittenSegment(segment, *crc32c, workers.clone())),
            _ => None,
        });
        let Some(segments) = written.collect::<Option<Vec<_>>>() else {
            return;
        };
        let version = self.version().expect("writing begins with a plan");
        let ask = self.ask(CommitArray { version, segments }, effects);
        self.state = State::Committing { ask };
    }

    fn ask(&mut self, body: impl Into<Body>, effects: &mut Vec<Effect>) -> u64 {
        self.next_ask += 1;
        effects.push(Effect::Ask { ask: self.next_ask, body: body.into() });
        self.next_ask
    }

    fn fail_deadline(&mut self, effects: &mut Vec<Effect>) {
        let missing = self.segments.iter().filter(|place| !matches!(place, Place::Written { .. })).count();
        let why = self.last_failure.as_ref().map_or(String::new(), |why| format!(" (last: {why})"));
        let waiting_for = format!("{missing} of {} segments to be stored{why}", self.segments.len());
        self.fail(Error::DeadlineExceeded { doing: self.doing(), waiting_for }, effects);
    }

    fn fail_protocol(&mut self, what: &str, effects: &mut Vec<Effect>) {
        let error = Error::protocol(&self.doing(), what);
        self.fail(error, effects);
    }

    /// Ends the upload. The master is told, so that the memory is free at once.
    fn fail(&mut self, error: Error, effects: &mut Vec<Effect>) {
        self.state = State::Ended;
        if let Some(version) = self.version() {
            effects.push(Effect::Tell(AbandonArray { version }.into()));
        }
        effects.push(Effect::Failed(error));
    }

    fn doing(&self) -> String {
        format!("storing '{}'", self.request.name)
    }

    fn version(&self) -> Option<VersionId> {
        self.plan.as_ref().map(|plan| plan.version)
    }

    fn lane(&mut self, worker: &WorkerId) -> &mut Lane {
        self.lanes.get_mut(worker).expect("the answer is to an order for this worker")
    }

    /// The bytes of a segment within the caller's buffer.
    fn range(&self, segment: SegmentIndex) -> Range<u64> {
        let segment_bytes = self.plan.as_ref().map_or(0, |plan| plan.segment_length) * self.request.dtype.size() as u64;
        let start = (u64::from(segment) * segment_bytes).min(self.bytes);
        start..self.bytes.min(start + segment_bytes)
    }
}

/// Elements of a shape, if an array may have so many.
pub fn length(shape: &[u64]) -> Option<u64> {
    // A zero anywhere makes it empty, however long the other sides are.
    if shape.contains(&0) {
        return Some(0);
    }
    let len = shape.iter().try_fold(1_u64, |len, &side| len.checked_mul(side))?;
    (len <= LEN_MAX).then_some(len)
}
