//! How to talk with an original worker: a state machine without socket, clock or thread.
//!
//! It takes the segments that the stand-in is to compute, one after the other, cuts them into pieces, gives each to the
//! worker under a name of its own, and puts the answers together. What original workers get wrong decides how:
//!
//! - They keep one primary per array id, take ids apart at `_`, and answer with results of earlier operations. So every piece
//!   goes under an id that is never used again and has no `_`; what was sent once is computed again under the same id.
//! - They want the segment's id as the string `"0"`; a number ends a Java worker.
//! - As many operations at once as they have cores can dead-lock them for ever. So there is one at a time. The next piece's
//!   values are sent ahead, for these they read meanwhile.
//! - They are silent about what they cannot do: values that are not finite, and ints of which the logarithm is not. Those are
//!   replaced by 1, and their results by our own (see [`piece`]).
//! - A worker that gives signs of life may never answer; one piece too late and it is given up, so that its copies and its
//!   work go elsewhere.
//! - A Python worker writes from two threads without a lock: a heartbeat can tear a result. It is asked again.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod piece;
#[cfg(test)]
mod tests;

use array::{Buffer, Operation, checksum};
use piece::Piece;
use protocol::level1::{Body, LineWriter};
use protocol::{CopyId, WireError};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use worker::compute::{ComputeFailure, ComputeJob, Computed, Made};
use worker::store::Segment;

/// Elements of a piece. A Python worker that has megabytes to say tears them more often, and a piece is what is lost when a
/// worker dies.
pub const PIECE_ELEMENTS: usize = 50_000;

/// How long a worker may take for a piece, beside the time to read it. A Java virtual machine that has just started on a busy
/// machine was seen to need 6 s.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What reading an element may take: 2 s for 10,000 of them were seen in a Java worker that had just started.
const READ_PER_ELEMENT: Duration = Duration::from_micros(400);

/// Silence after which a worker is dead: it gives a sign of life every 3 s.
pub const SILENCE_MAX: Duration = Duration::from_secs(10);

/// How long to wait after a line that cannot be read before asking again: the rest of it is on its way, and is no line either.
const TORN_PAUSE: Duration = Duration::from_millis(200);

/// How often a worker is asked for a piece.
const ATTEMPTS_MAX: u32 = 3;

/// Pieces that the worker is remembered to have. It keeps all it ever got, so forgetting one only costs sending it again.
const KNOWN_MAX: usize = 100_000;

/// Jobs that are handed to a worker at once: one that it computes, and one so that it does not wait for the next.
pub const SLOTS: usize = 2;

/// A segment that an original worker is to compute.
#[derive(Clone, Debug)]
pub struct Order {
    /// Number of the job, for the answer.
    pub job: u64,
    /// What to compute: it knows nothing else.
    pub operation: Operation,
    /// From what.
    pub source: Arc<Segment>,
    /// Whether to check the source's bytes first.
    pub verify: bool,
}

impl TryFrom<ComputeJob> for Order {
    type Error = Computed;

    /// Fails for what an original worker can't compute; the master does not ask for that.
    fn try_from(job: ComputeJob) -> Result<Order, Computed> {
        match (job.program.named(), &job.sources[..]) {
            (Some(operation), [source]) => {
                Ok(Order { job: job.job, operation, source: source.clone(), verify: job.verify })
            }
            _ => {
                let why = format!("a worker of the original system knows no '{}'", job.program);
                let outcome = Err(ComputeFailure::Panicked(why));
                Err(job.ended(outcome, Duration::ZERO))
            }
        }
    }
}

/// What can happen.
#[derive(Debug)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// A segment is to be computed.
    Job(Order),
    /// The worker said something.
    Received(Body),
    /// The worker said something that cannot be understood.
    Refused(WireError),
}

/// What shall be done.
#[derive(Debug)]
pub enum Effect {
    /// Send a line.
    Send(Vec<u8>),
    /// A job has ended.
    Ended(Computed),
    /// The worker is of no use any more: close its connection.
    GiveUp(String),
}

/// The state machine. See the module's documentation.
#[derive(Debug)]
pub struct Guest {
    worker: String,
    jobs: VecDeque<Job>,
    asked: Option<Asked>,
    /// Pieces that the worker has, by segment and number, with their ids.
    known: BTreeMap<(CopyId, u32), u64>,
    /// The same in the order in which they were sent.
    known_in_order: VecDeque<(CopyId, u32)>,
    next_id: u64,
    /// Elements sent that no answer shows to have been read.
    unread: u64,
    /// Those of them that were sent behind what is asked for now.
    ahead: u64,
    heard: Duration,
    effects: Vec<Effect>,
}

/// A segment to compute.
#[derive(Debug)]
struct Job {
    job: Order,
    begun: Duration,
    /// Pieces that are done.
    done: u32,
    result: Buffer,
}

/// A piece that the worker has been asked to compute.
#[derive(Debug)]
struct Asked {
    /// The ids under which it was asked for; an answer to any of them will do.
    ids: Vec<u64>,
    attempts: u32,
    deadline: Duration,
    /// When to ask again, if its answer was lost.
    again_at: Option<Duration>,
}

impl Guest {
    /// For a worker that has just registered.
    pub fn new(worker: &str, now: Duration) -> Guest {
        Guest {
            worker: worker.to_string(),
            jobs: VecDeque::new(),
            asked: None,
            known: BTreeMap::new(),
            known_in_order: VecDeque::new(),
            next_id: 0,
            unread: 0,
            ahead: 0,
            heard: now,
            effects: Vec::new(),
        }
    }

    /// The worker's id.
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// Takes an event, and says what to do. `now` never goes back. After [`Effect::GiveUp`] nothing comes any more.
    pub fn step(&mut self, now: Duration, event: Event) -> Vec<Effect> {
        match event {
            Event::Tick => {}
            Event::Job(job) => self.on_job(now, job),
            Event::Received(body) => {
                self.heard = now;
                self.on_received(now, body);
            }
            Event::Refused(error) => {
                self.heard = now;
                self.on_refused(now, &error);
            }
        }
        self.on_time(now);
        std::mem::take(&mut self.effects)
    }

    /// When to call [`Guest::step`] with [`Event::Tick`], if nothing else happens before.
    pub fn next_deadline(&self) -> Duration {
        let silence = self.heard + SILENCE_MAX;
        self.asked.as_ref().map_or(silence, |asked| asked.again_at.unwrap_or(asked.deadline).min(silence))
    }

    fn on_job(&mut self, now: Duration, job: Order) {
        if job.verify && !job.source.is_intact() {
            let outcome = Err(ComputeFailure::SourceBroken(job.source));
            let (job, elements, busy) = (job.job, 0, Duration::ZERO);
            return self.effects.push(Effect::Ended(Computed { job, elements, outcome, busy }));
        }
        let bytes = job.source.elements() as usize * job.operation.output().size();
        self.jobs.push_back(Job { job, begun: now, done: 0, result: Buffer::zeroed(bytes) });
        match self.asked {
            None => self.ask(now),
            Some(_) => self.send_ahead(),
        }
    }

    fn on_received(&mut self, now: Duration, body: Body) {
        let Body::SegmentResult { array_id, values } = body else {
            return; // signs of life, and RECOVERY_COMPLETE, which says nothing
        };
        let id = array_id.strip_prefix("seg").and_then(|id| id.parse().ok());
        let is_expected = |asked: &Asked| id.is_some_and(|id| asked.ids.contains(&id));
        let Some(job) = self.jobs.front_mut().filter(|_| self.asked.as_ref().is_some_and(is_expected)) else {
            return log::debug!("worker {} answers about '{array_id}', which nobody waits for", self.worker);
        };
        match Piece::new(&job.job, job.done).take_result(values, &mut job.result) {
            Ok(()) => {
                job.done += 1;
                self.asked = None;
                self.unread = std::mem::take(&mut self.ahead);
                self.ask(now);
            }
            Err(why) => self.ask_again(now, &why),
        }
    }

    fn on_refused(&mut self, now: Duration, error: &WireError) {
        log::warn!("worker {} of level 1 said something that is no message: {error}", self.worker);
        if let Some(asked) = &mut self.asked {
            asked.again_at.get_or_insert(now + TORN_PAUSE);
        }
    }

    fn on_time(&mut self, now: Duration) {
        if now >= self.heard + SILENCE_MAX {
            return self.give_up(format!("silent for {} s", SILENCE_MAX.as_secs()));
        }
        let Some(asked) = &self.asked else { return };
        if now >= asked.deadline {
            self.give_up("it gives signs of life, but does not answer".to_string());
        } else if asked.again_at.is_some_and(|at| now >= at) {
            self.ask_again(now, "its answer was torn");
        }
    }

    /// Asks for the next piece. Ends jobs that have no more of them.
    fn ask(&mut self, now: Duration) {
        while let Some(job) = self.jobs.front() {
            if job.done < piece::count(&job.job) {
                let id = self.provide(0, job.done);
                return self.process(now, id, 1);
            }
            if let Some(job) = self.jobs.pop_front() {
                let crc32c = checksum::crc32c(job.result.as_bytes());
                let (busy, outcome) = (now - job.begun, Ok(Made::Elements(job.result, crc32c)));
                let (job, elements) = (job.job.job, job.job.source.elements());
                self.effects.push(Effect::Ended(Computed { job, elements, outcome, busy }));
            }
        }
    }

    /// Asks for the same piece again, from the beginning.
    fn ask_again(&mut self, now: Duration, why: &str) {
        let (Some(asked), Some(job)) = (self.asked.take(), self.jobs.front()) else { return };
        if asked.attempts >= ATTEMPTS_MAX {
            return self.give_up(format!("it was asked {ATTEMPTS_MAX} times for a piece; the last time {why}"));
        }
        log::warn!(
            "worker {} of level 1 is asked again for a piece of {}: {why}",
            self.worker,
            job.job.source.record().id()
        );
        let number = job.done;
        self.known.remove(&(job.job.source.record().id(), number));
        let id = self.provide(0, number);
        self.process(now, id, asked.attempts + 1);
        if let Some(now_asked) = &mut self.asked {
            now_asked.ids.extend(asked.ids);
        }
    }

    fn process(&mut self, now: Duration, id: u64, attempts: u32) {
        let Some(job) = self.jobs.front() else { return };
        let line = LineWriter::new("PROCESS_SEGMENT", "master", &self.worker).text("arrayId", &alias(id));
        self.effects.push(Effect::Send(line.text("operation", job.job.operation.name()).finish()));
        let reading = READ_PER_ELEMENT * u32::try_from(self.unread).unwrap_or(u32::MAX);
        self.asked = Some(Asked { ids: vec![id], attempts, deadline: now + PATIENCE + reading, again_at: None });
        self.send_ahead();
    }

    /// Sends the values of the piece that comes after the one that is asked for, so that the worker has them by then.
    fn send_ahead(&mut self) {
        let Some(job) = self.jobs.front() else { return };
        let unread = self.unread;
        if job.done + 1 < piece::count(&job.job) {
            self.provide(0, job.done + 1);
        } else if self.jobs.len() > 1 {
            self.provide(1, 0);
        }
        self.ahead += self.unread - unread;
    }

    /// Sees to it that the worker has a piece of a job; gives its id there.
    fn provide(&mut self, job: usize, number: u32) -> u64 {
        let piece = Piece::new(&self.jobs[job].job, number);
        let key = (piece.segment(), number);
        if let Some(id) = self.known.get(&key) {
            return *id;
        }
        self.next_id += 1;
        self.effects.push(Effect::Send(piece.to_line(&self.worker, &alias(self.next_id))));
        self.unread += piece.len() as u64;
        self.known.insert(key, self.next_id);
        self.known_in_order.push_back(key);
        if self.known_in_order.len() > KNOWN_MAX
            && let Some(oldest) = self.known_in_order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.next_id
    }

    fn give_up(&mut self, why: String) {
        self.asked = None;
        self.effects.push(Effect::GiveUp(why));
    }
}

/// The array id under which a worker gets a piece.
fn alias(id: u64) -> String {
    format!("seg{id}")
}
