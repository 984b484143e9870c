//! [`Download`]: how a version, or a range of it, is read, as a state machine without socket, clock or bytes.
//!
//! ```text
//!   GET_RESULT by name -> Prepare -> (Ready) -> read every segment from a holder -> UNPIN, done
//!        ^                                       |    ^
//!        |                no holder gives it     v    | new holders
//!        |                                  GET_RESULT by handle
//!        +---- UnknownVersion: the version is gone, and everything read so far with it
//! ```
//!
//! It deals in segment numbers and byte ranges of the destination; the shell holds the bytes. All of them come from one
//! version. Before it begins to read, and again when it has to begin anew, it says with [`Effect::Prepare`] what is
//! coming; at that moment no read is under way, so the shell is free to provide another destination.
//!
//! The contract: each [`Effect::Ask`] is answered by one [`Event::Reply`] by its deadline, each [`Effect::Read`] by one
//! [`Event::Read`] or [`Event::ReadFailed`], each [`Effect::Prepare`] by [`Event::Ready`] or [`Event::Stop`], and a [`Event::Tick`]
//! comes at [`Download::next_deadline`], the first one at once. [`Effect::Done`] or [`Effect::Failed`] is the last effect.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::error::{CallError, Error, Failure};
use crate::pace;
use crate::upload::length;
use array::DType;
use protocol::message::client::*;
use protocol::{Body, ErrorCode, Reference, SegmentIndex, VersionId, WorkerId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// What is to be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// A name, or a handle.
    pub name: String,
    /// By name: the array itself, even if there is a result.
    pub array: bool,
    /// Elements `[from, to)`; all without it.
    pub range: Option<(u64, u64)>,
    /// When the caller stops waiting, in the time of `now`.
    pub deadline: Duration,
}

/// What the shell tells the machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Time has passed, or the machine shall begin.
    Tick,
    /// There is room for what [`Effect::Prepare`] announced.
    Ready,
    /// The caller does not want it: give back the pin and end, without Done or Failed.
    Stop,
    /// The master's reply to an [`Effect::Ask`].
    Reply {
        /// The number of the question.
        ask: u64,
        /// The reply, never an ERROR, or why there is none.
        result: Result<Body, CallError>,
    },
    /// A segment has been read, and its checksum was right.
    Read {
        /// The segment.
        segment: SegmentIndex,
        /// The worker it came from.
        worker: WorkerId,
    },
    /// A segment has not been read. Its part of the destination may hold anything.
    ReadFailed {
        /// The segment.
        segment: SegmentIndex,
        /// The worker that was asked.
        worker: WorkerId,
        /// Why not.
        failure: Failure,
    },
}

/// What the machine tells the shell to do, in this order.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Ask the master. The question ends with the download's deadline.
    Ask {
        /// A number for the reply, growing.
        ask: u64,
        /// The question.
        body: Body,
    },
    /// Tell the master; the reply does not matter.
    Tell(Body),
    /// This is what is coming. Whatever was read before is void.
    Prepare(Layout),
    /// Read a segment.
    Read(ReadOrder),
    /// Everything announced is there.
    Done,
    /// It is not; what is under way may be interrupted.
    Failed(Error),
}

/// What a download gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// The array's name.
    pub name: String,
    /// `NAME@vN` of the version.
    pub handle: String,
    /// The version.
    pub version: VersionId,
    /// The array, or a result of an operation on it.
    pub source: Source,
    /// The dtype of the elements.
    pub dtype: DType,
    /// Lengths of the sides of the whole version.
    pub shape: Vec<u64>,
    /// Elements in every segment but the last.
    pub segment_length: u64,
    /// The elements that are read.
    pub elements: Range<u64>,
}

impl Layout {
    /// Bytes that are read.
    pub fn bytes(&self) -> u64 {
        (self.elements.end - self.elements.start) * self.dtype.size() as u64
    }

    /// The segments that are read, each with its bytes within the destination; they tile it.
    pub fn parts(&self) -> impl Iterator<Item = (SegmentIndex, Range<u64>)> + use<'_> {
        let Range { start, end } = self.elements;
        let segments = if start == end { 0..0 } else { start / self.segment_length..end.div_ceil(self.segment_length) };
        segments.map(|segment| (segment as SegmentIndex, self.bytes_of(segment)))
    }

    /// The bytes of a segment within the destination.
    fn bytes_of(&self, segment: u64) -> Range<u64> {
        let elements = self.elements_of(segment);
        let size = self.dtype.size() as u64;
        (elements.start - self.elements.start) * size..(elements.end - self.elements.start) * size
    }

    /// The elements that are read of a segment.
    fn elements_of(&self, segment: u64) -> Range<u64> {
        let start = segment * self.segment_length;
        start.max(self.elements.start)..(start + self.segment_length).min(self.elements.end)
    }
}

/// One segment, or a part of one, to be read from a data port, by GET_SEGMENT.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadOrder {
    /// The version.
    pub version: VersionId,
    /// The segment.
    pub segment: SegmentIndex,
    /// The dtype of its elements.
    pub dtype: DType,
    /// CRC-32C of the whole segment.
    pub crc32c: u32,
    /// Bytes of the whole segment.
    pub segment_bytes: u64,
    /// Elements counted from the segment's first; none for all of it.
    pub range: Option<(u64, u64)>,
    /// Where the bytes belong in the destination.
    pub into: Range<u64>,
    /// Whom to ask.
    pub from: Endpoint,
    /// How long the worker may be silent before it counts as failed.
    pub patience: Duration,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    /// GET_RESULT by name is to be asked, not before that time, and not before all reads have ended.
    Beginning { not_before: Duration },
    /// It is asked.
    Planning { ask: u64 },
    /// The shell prepares.
    Preparing,
    /// Segments are being read.
    Reading,
    /// Done or failed.
    Ended,
}

/// Where one segment is.
#[derive(Clone, Debug)]
enum Place {
    /// It can be read from these, as far as known; none means that it needs a new plan.
    Wanted { holders: Vec<Endpoint> },
    /// It is on its way; these are the others.
    Reading { others: Vec<Endpoint> },
    /// It is there.
    Read,
}

/// One version on its way; see the [module](self).
#[derive(Debug)]
pub struct Download {
    request: Request,
    /// The user asked for exactly this version.
    by_handle: bool,
    state: State,
    next_ask: u64,
    plan: Option<Arc<ReadPlan>>,
    elements: Range<u64>,
    segments: BTreeMap<SegmentIndex, (u32, Place)>,
    /// Orders without an answer.
    in_flight: BTreeMap<WorkerId, usize>,
    /// Workers that were unreachable; they are asked last.
    doubted: BTreeSet<WorkerId>,
    /// The outstanding GET_RESULT by handle, and RENEW_PIN.
    replan: Option<u64>,
    renewal: Option<u64>,
    /// The pin could not be renewed: a new plan brings a new one.
    pin_lost: bool,
    renew_at: Duration,
    not_before: Duration,
    /// Plans in a row without a segment read.
    rounds: u32,
    read_bytes: u64,
    total_bytes: u64,
    last_failure: Option<String>,
}

impl Download {
    /// A download that begins with the first step.
    pub fn new(request: Request) -> Download {
        Download {
            by_handle: Reference::parse(&request.name).version.is_some(),
            request,
            state: State::Beginning { not_before: Duration::ZERO },
            next_ask: 1,
            plan: None,
            elements: 0..0,
            segments: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            doubted: BTreeSet::new(),
            replan: None,
            renewal: None,
            pin_lost: false,
            renew_at: Duration::ZERO,
            not_before: Duration::ZERO,
            rounds: 0,
            read_bytes: 0,
            total_bytes: 0,
            last_failure: None,
        }
    }

    /// Bytes read so far, and bytes to read; 0 before the first plan.
    pub fn progress(&self) -> (u64, u64) {
        (self.read_bytes, self.total_bytes)
    }

    /// Takes note of an event at the time `now`, which never goes back.
    pub fn step(&mut self, now: Duration, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Tick => {}
            Event::Ready => self.on_ready(),
            Event::Stop => self.end(&mut effects),
            Event::Reply { ask, result } => self.on_reply(now, ask, result, &mut effects),
            Event::Read { segment, worker } => self.on_read(segment, &worker),
            Event::ReadFailed { segment, worker, failure } => self.on_read_failed(segment, worker, failure),
        }
        self.go_on(now, &mut effects);
        effects
    }

    /// When the next [`Event::Tick`] is needed.
    pub fn next_deadline(&self) -> Option<Duration> {
        let deadline = self.request.deadline;
        match self.state {
            State::Ended | State::Planning { .. } | State::Preparing => None,
            State::Beginning { not_before } if self.is_quiet() => Some(not_before.min(deadline)),
            State::Beginning { .. } => Some(deadline),
            State::Reading => {
                let renew = (self.renewal.is_none() && self.replan.is_none()).then_some(self.renew_at);
                let replan = (self.needs_plan() && self.replan.is_none()).then_some(self.not_before);
                let end = self.replan.is_none().then_some(deadline);
                [renew, replan, end].into_iter().flatten().min()
            }
        }
    }

    fn on_reply(&mut self, now: Duration, ask: u64, result: Result<Body, CallError>, effects: &mut Vec<Effect>) {
        if self.renewal == Some(ask) {
            self.renewal = None;
            // The next plan, by handle, brings another pin, or says that the version is gone.
            self.pin_lost |= result.is_err();
            return;
        }
        let planning = self.state == State::Planning { ask };
        let replanning = self.state == State::Reading && self.replan == Some(ask);
        if !planning && !replanning {
            self.unpin_late_plan(result, effects);
            return;
        }
        self.replan = None;
        match result {
            Ok(Body::ReadPlan(plan)) => self.on_plan(now, plan, planning, effects),
            Ok(other) => self.fail_protocol(&format!("an unexpected {}", other.kind()), effects),
            Err(CallError::Refused(error))
                if replanning && !self.by_handle && error.code == ErrorCode::UnknownVersion =>
            {
                self.begin_again(now, error.to_string());
            }
            Err(error) => {
                let doing = self.doing();
                self.fail(error.into_error(&doing), effects);
            }
        }
    }

    /// A plan nobody waits for any more must not keep its version alive.
    fn unpin_late_plan(&self, result: Result<Body, CallError>, effects: &mut Vec<Effect>) {
        if let Ok(Body::ReadPlan(plan)) = result {
            effects.push(Effect::Tell(Unpin { pin: plan.pin }.into()));
        }
    }

    fn on_plan(&mut self, now: Duration, plan: ReadPlan, first: bool, effects: &mut Vec<Effect>) {
        let elements = match self.check(&plan) {
            Ok(elements) => elements,
            Err(what) => return self.fail_protocol(what, effects),
        };
        if let Some(old) = &self.plan {
            effects.push(Effect::Tell(Unpin { pin: old.pin }.into()));
        }
        self.pin_lost = false;
        // Half of the lease leaves the other half for a master that is being restarted.
        self.renew_at = now + Duration::from_millis(plan.lease_ms / 2);
        self.elements = elements;
        self.total_bytes = self.layout(&plan).bytes();
        if first {
            effects.push(Effect::Prepare(self.layout(&plan)));
            self.segments.clear();
            self.read_bytes = 0;
            self.state = State::Preparing;
        }
        let holders_of = |planned: &PlannedRead| -> Vec<Endpoint> {
            planned.2.iter().map(|&index| plan.workers[index as usize].clone()).collect()
        };
        for planned in &plan.segments {
            let (_, place) =
                self.segments.entry(planned.0).or_insert((planned.1, Place::Wanted { holders: Vec::new() }));
            if let Place::Wanted { holders } = place {
                *holders = holders_of(planned);
            }
        }
        self.plan = Some(Arc::new(plan));
    }

    /// Checks that a plan is for what was asked, and gives the elements it is about.
    fn check(&self, plan: &ReadPlan) -> Result<Range<u64>, &'static str> {
        let len = length(&plan.shape).ok_or("a plan of an impossible shape")?;
        let (from, to) = self.request.range.unwrap_or((0, len));
        if from > to || to > len || plan.segment_length == 0 {
            return Err("a plan that does not have the range");
        }
        let same = self.state != State::Reading || self.plan.as_ref().is_none_or(|old| old.version == plan.version);
        if !same {
            return Err("a plan for another version than the one asked for");
        }
        let first = from / plan.segment_length;
        let end = if from == to { first } else { to.div_ceil(plan.segment_length) };
        let segments: BTreeSet<u64> = plan.segments.iter().map(|planned| u64::from(planned.0)).collect();
        if !segments.into_iter().eq(first..end) {
            return Err("a plan that does not cover the range");
        }
        match plan.segments.iter().flat_map(|planned| &planned.2).all(|&index| (index as usize) < plan.workers.len()) {
            true => Ok(from..to),
            false => Err("a plan that names workers it does not list"),
        }
    }

    fn layout(&self, plan: &ReadPlan) -> Layout {
        Layout {
            name: plan.array_id.clone(),
            handle: plan.handle.clone(),
            version: plan.version,
            source: plan.source,
            dtype: plan.dtype,
            shape: plan.shape.clone(),
            segment_length: plan.segment_length,
            elements: self.elements.clone(),
        }
    }

    fn on_ready(&mut self) {
        if self.state == State::Preparing {
            self.state = State::Reading;
        }
    }

    fn on_read(&mut self, segment: SegmentIndex, worker: &WorkerId) {
        self.answered(worker);
        if self.state != State::Reading {
            return;
        }
        let (Some((_, place)), Some(plan)) = (self.segments.get_mut(&segment), &self.plan) else {
            return;
        };
        *place = Place::Read;
        let bytes = self.layout(plan).bytes_of(segment.into());
        self.read_bytes += bytes.end - bytes.start;
        self.rounds = 0;
    }

    fn on_read_failed(&mut self, segment: SegmentIndex, worker: WorkerId, failure: Failure) {
        self.answered(&worker);
        self.last_failure = Some(format!("segment {segment} from worker '{worker}': {failure}"));
        if matches!(failure, Failure::Unreachable(_)) {
            self.doubted.insert(worker);
        }
        if let Some((_, place)) = self.segments.get_mut(&segment)
            && let Place::Reading { others } = place
        {
            *place = Place::Wanted { holders: std::mem::take(others) };
        }
    }

    fn answered(&mut self, worker: &WorkerId) {
        let in_flight = self.in_flight.get_mut(worker).expect("the answer is to an order for this worker");
        *in_flight -= 1;
    }

    /// The version is gone: what the name means now is to be read instead, from its beginning.
    fn begin_again(&mut self, now: Duration, why: String) {
        self.rounds += 1;
        self.state = State::Beginning { not_before: now + pace::backoff(self.rounds) };
        self.last_failure = Some(why);
        self.renewal = None;
        self.replan = None;
    }

    /// Does what can be done now.
    fn go_on(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let waits_by_itself = matches!(self.state, State::Beginning { .. } | State::Reading) && self.replan.is_none();
        if waits_by_itself && now >= self.request.deadline {
            return self.fail_deadline(effects);
        }
        match self.state {
            State::Beginning { not_before } if not_before <= now && self.is_quiet() => {
                let Request { name, array, range, .. } = self.request.clone();
                let ask = self.ask(GetResult { array_id: name, array, range }, effects);
                self.state = State::Planning { ask };
            }
            State::Reading if self.segments.values().all(|(_, place)| matches!(place, Place::Read)) => {
                self.end(effects);
                effects.push(Effect::Done);
            }
            State::Reading => {
                self.read_what_may_be_read(effects);
                self.maybe_replan(now, effects);
                self.maybe_renew(now, effects);
            }
            _ => {}
        }
    }

    /// Whether no read is under way.
    fn is_quiet(&self) -> bool {
        self.in_flight.values().all(|&in_flight| in_flight == 0)
    }

    fn read_what_may_be_read(&mut self, effects: &mut Vec<Effect>) {
        let Some(plan) = self.plan.clone() else { return };
        let window = pace::window(plan.segment_length * plan.dtype.size() as u64);
        let wanted: Vec<SegmentIndex> = self
            .segments
            .iter()
            .filter(|(_, (_, place))| matches!(place, Place::Wanted { holders } if !holders.is_empty()))
            .map(|(&segment, _)| segment)
            .collect();
        for segment in wanted {
            let Some((_, Place::Wanted { holders })) = self.segments.get(&segment) else {
                continue;
            };
            // The first that is not in doubt, else simply the first.
            let chosen = holders.iter().position(|holder| !self.doubted.contains(&holder.worker)).unwrap_or(0);
            let in_flight = self.in_flight.entry(holders[chosen].worker.clone()).or_insert(0);
            if *in_flight >= window {
                continue;
            }
            *in_flight += 1;
            let mut others = holders.clone();
            let from = others.remove(chosen);
            effects.push(Effect::Read(self.order(&plan, segment, from)));
            if let Some((_, place)) = self.segments.get_mut(&segment) {
                *place = Place::Reading { others };
            }
        }
    }

    fn order(&self, plan: &ReadPlan, segment: SegmentIndex, from: Endpoint) -> ReadOrder {
        let size = plan.dtype.size() as u64;
        let len = length(&plan.shape).unwrap_or(0);
        let start = u64::from(segment) * plan.segment_length;
        let whole = start..len.min(start + plan.segment_length);
        let layout = self.layout(plan);
        let part = layout.elements_of(segment.into());
        ReadOrder {
            version: plan.version,
            segment,
            dtype: plan.dtype,
            crc32c: self.segments[&segment].0,
            segment_bytes: (whole.end - whole.start) * size,
            range: (part != whole).then(|| (part.start - start, part.end - start)),
            patience: pace::patience(0, self.rounds),
            into: layout.bytes_of(segment.into()),
            from,
        }
    }

    /// Whether a segment has nobody left to be read from, or the pin is lost.
    fn needs_plan(&self) -> bool {
        let stranded = |place: &Place| matches!(place, Place::Wanted { holders } if holders.is_empty());
        self.pin_lost || self.segments.values().any(|(_, place)| stranded(place))
    }

    fn maybe_replan(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if self.replan.is_some() || now < self.not_before || !self.needs_plan() {
            return;
        }
        let Some(plan) = self.plan.clone() else { return };
        let question = GetResult { array_id: plan.handle.clone(), array: false, range: self.request.range };
        self.replan = Some(self.ask(question, effects));
        self.rounds += 1;
        self.not_before = now + pace::backoff(self.rounds);
    }

    fn maybe_renew(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if self.renewal.is_some() || self.replan.is_some() || now < self.renew_at {
            return;
        }
        let Some(plan) = self.plan.clone() else { return };
        self.renewal = Some(self.ask(RenewPin { pin: plan.pin }, effects));
        self.renew_at = now + Duration::from_millis(plan.lease_ms / 2);
    }

    fn ask(&mut self, body: impl Into<Body>, effects: &mut Vec<Effect>) -> u64 {
        self.next_ask += 1;
        effects.push(Effect::Ask { ask: self.next_ask, body: body.into() });
        self.next_ask
    }

    fn fail_deadline(&mut self, effects: &mut Vec<Effect>) {
        let missing = self.segments.values().filter(|(_, place)| !matches!(place, Place::Read)).count();
        let why = self.last_failure.as_ref().map_or(String::new(), |why| format!(" (last: {why})"));
        let waiting_for = format!("{missing} of {} segments to be read{why}", self.segments.len());
        self.fail(Error::DeadlineExceeded { doing: self.doing(), waiting_for }, effects);
    }

    fn fail_protocol(&mut self, what: &str, effects: &mut Vec<Effect>) {
        let error = Error::protocol(&self.doing(), what);
        self.fail(error, effects);
    }

    fn fail(&mut self, error: Error, effects: &mut Vec<Effect>) {
        self.end(effects);
        effects.push(Effect::Failed(error));
    }

    /// Gives the pin back.
    fn end(&mut self, effects: &mut Vec<Effect>) {
        self.state = State::Ended;
        if let Some(plan) = self.plan.take() {
            effects.push(Effect::Tell(Unpin { pin: plan.pin }.into()));
        }
    }

    fn doing(&self) -> String {
        format!("reading '{}'", self.request.name)
    }
}
