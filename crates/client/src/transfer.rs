//! The data path: what [`Upload`] and [`Download`] decide, done with one thread per worker.
//!
//! The calling thread owns the machine. It steps it with replies of the master and reports of the lanes, and performs
//! the effects: questions go through the control connection, orders into the queues of the lanes. Bytes are sent from
//! the caller's slice and read into the caller's slice; each part of it belongs to one job at a time.
//!
//! | queue | room | when full |
//! |---|---|---|
//! | jobs of a lane | the most segments the machines have in flight per worker | cannot be |
//! | reports | a few | the lane waits for the calling thread |
//! | answers of the master | the questions the machines have out | cannot be |

use crate::cancel::Cancel;
use crate::connection::{Answer, Control};
use crate::data::{DataConnection, Pool};
use crate::download::{self, Download, Layout, ReadOrder};
use crate::error::{CallError, Error, Failure, Waiting};
use crate::lane::{Interrupt, Job, Lane, Report};
use crate::upload::{self, Upload, WriteOrder};
use array::checksum::crc32c;
use crossbeam_channel::{Receiver, Sender, after, bounded, never, select};
use protocol::frame::FrameError;
use protocol::message::client::{ArrayCommitted, Endpoint};
use protocol::message::data::{DistributeArray, GetSegment, SegmentStored};
use protocol::{Body, CopyRecord, Message, Payload, PayloadKind, SegmentIndex, WorkerId};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, Scope};
use std::time::Duration;

/// Room in a lane's queue: above the largest window of [`crate::pace`].
const LANE_JOBS_MAX: usize = 32;

/// Reports on their way to the calling thread.
const REPORTS_MAX: usize = 16;

/// Questions the machines can have out at once: two, and some that are forgotten.
const ANSWERS_MAX: usize = 64;

/// How long the master has for what is only a courtesy (UNPIN, ABANDON_ARRAY): a lease ends by itself too.
const COURTESY: Duration = Duration::from_secs(5);

/// Bytes moved so far, and in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that have arrived.
    pub done: u64,
    /// Bytes of the whole transfer; 0 while that is not known.
    pub total: u64,
}

/// What a transfer needs of the cluster.
#[derive(Clone, Copy)]
pub(crate) struct Link<'a> {
    pub(crate) control: &'a Control,
    pub(crate) pool: &'a Pool,
    pub(crate) cancel: &'a Cancel,
}

impl Link<'_> {
    fn tell(&self, body: Body) {
        let (sender, _) = bounded(1);
        self.control.ask(0, body, self.control.now() + COURTESY, sender);
    }
}

/// The questions one transfer has out. Those still open when it ends are given up.
struct Questions<'a> {
    control: &'a Control,
    cancel: &'a Cancel,
    deadline: Duration,
    sender: Sender<Answer>,
    answers: Receiver<Answer>,
    /// The call of each open question.
    open: BTreeMap<u64, u64>,
}

impl<'a> Questions<'a> {
    fn new(link: Link<'a>, deadline: Duration) -> Questions<'a> {
        let (sender, answers) = bounded(ANSWERS_MAX);
        let Link { control, cancel, .. } = link;
        Questions { control, cancel, deadline, sender, answers, open: BTreeMap::new() }
    }

    /// The time of the machines. For one that is cancelled its deadline has come.
    fn now(&self) -> Duration {
        let now = self.control.now();
        if self.cancel.is_cancelled() { now.max(self.deadline) } else { now }
    }

    /// What happens next in a transfer that is cancelled: its questions end, then it can.
    fn cut_short<J: Job>(&mut self) -> Next<J> {
        let Some((ask, call)) = self.open.pop_first() else {
            return Next::Tick;
        };
        self.control.give_up(call);
        Next::Answer((ask, Err(CallError::Deadline(Waiting::Answer))))
    }

    fn ask(&mut self, ask: u64, body: Body) {
        let call = self.control.ask(ask, body, self.deadline, self.sender.clone());
        self.open.insert(ask, call);
    }
}

impl Drop for Questions<'_> {
    fn drop(&mut self) {
        for &call in self.open.values() {
            self.control.give_up(call);
        }
    }
}

/// The lanes of one transfer, opened when they are first needed.
struct Lanes<'scope, 'env, J: Job> {
    scope: &'scope Scope<'scope, 'env>,
    link: Link<'env>,
    interrupt: &'env Interrupt,
    deadline: Duration,
    queues: BTreeMap<(WorkerId, String), Sender<J>>,
    reports: Receiver<Report<J>>,
    /// For the lanes to come.
    reporter: Sender<Report<J>>,
}

impl<'scope, 'env: 'scope, J: Job + 'scope> Lanes<'scope, 'env, J>
where
    J::Output: 'scope,
{
    fn new(
        scope: &'scope Scope<'scope, 'env>,
        link: Link<'env>,
        interrupt: &'env Interrupt,
        deadline: Duration,
    ) -> Self {
        let (reporter, reports) = bounded(REPORTS_MAX);
        Lanes { scope, link, interrupt, deadline, queues: BTreeMap::new(), reports, reporter }
    }

    /// Gives a job to the lane of a worker.
    fn give(&mut self, worker: &Endpoint, job: J) -> Result<(), Error> {
        let key = (worker.worker.clone(), worker.address.clone());
        if !self.queues.contains_key(&key) {
            let queue = self.open(worker).map_err(|e| Error::Io {
                doing: format!("starting a thread for worker '{}'", worker.worker),
                source: Arc::new(e),
            })?;
            self.queues.insert(key.clone(), queue);
        }
        // There is room, because the machines keep to their window.
        let _ = self.queues[&key].send(job);
        Ok(())
    }

    fn open(&self, worker: &Endpoint) -> io::Result<Sender<J>> {
        let (queue, jobs) = bounded(LANE_JOBS_MAX);
        let lane = Lane {
            worker: worker.clone(),
            jobs,
            reports: self.reporter.clone(),
            pool: self.link.pool,
            interrupt: self.interrupt,
            deadline: self.link.control.instant(self.deadline),
        };
        Builder::new().name(format!("client-lane-{}", worker.worker)).spawn_scoped(self.scope, move || lane.run())?;
        Ok(queue)
    }
}

/// What a transfer waits for.
enum Next<J: Job> {
    Tick,
    /// To the question of that number.
    Answer((u64, Result<Body, CallError>)),
    Report(Report<J>),
}

/// Waits for the next thing that happens, until `tick` at the latest. Without one a question is open, and its deadline
/// is the limit.
fn wait<J: Job>(questions: &mut Questions, tick: Option<Duration>, reports: &Receiver<Report<J>>) -> Next<J> {
    let timer = tick.map_or_else(never, |at| after(at.saturating_sub(questions.control.now())));
    select! {
        recv(questions.answers) -> answer => {
            let Ok(answer) = answer else { return Next::Tick };
            let (ask, result) = answer;
            questions.open.remove(&ask);
            Next::Answer((ask, result.map(|message| message.body)))
        },
        recv(reports) -> report => report.map_or(Next::Tick, Next::Report),
        recv(timer) -> _ => Next::Tick,
        recv(questions.cancel.cancelled) -> _ => questions.cut_short(),
    }
}

/// A segment on its way to a worker.
struct WriteJob<'a> {
    order: WriteOrder,
    bytes: &'a [u8],
    /// Of the bytes; computed by the lane when it sends them.
    crc32c: u32,
}

impl Job for WriteJob<'_> {
    type Output = SegmentStored;

    fn patience(&self) -> Duration {
        self.order.patience
    }

    fn send(&mut self, id: u64, connection: &mut DataConnection) -> io::Result<()> {
        self.crc32c = crc32c(self.bytes);
        let WriteOrder { version, segment, dtype, ticket, forward, .. } = &self.order;
        let data =
            DistributeArray { version: *version, segment: *segment, ticket: ticket.clone(), forward: forward.clone() };
        let kind = PayloadKind::Elements(*dtype);
        let payload = Payload { kind, bytes: self.bytes.len() as u64, crc32c: self.crc32c };
        connection.writer.write_with(&Message::request(id, data).with_payload(payload), self.bytes)
    }

    fn receive(&mut self, reply: Message, _: &mut DataConnection) -> Result<SegmentStored, Failure> {
        let WriteOrder { version, segment, .. } = self.order;
        let expected = CopyRecord(version, segment, self.crc32c, self.bytes.len() as u64);
        match reply.body {
            Body::SegmentStored(stored) if stored.copy == expected && !stored.workers.is_empty() => Ok(stored),
            other => Err(Failure::Damaged(format!("the answer to segment {segment} was {other:?}"))),
        }
    }
}

/// Stores an array whose bytes are `bytes`.
pub(crate) fn run_upload(
    link: Link,
    request: upload::Request,
    bytes: &[u8],
    progress: &mut dyn FnMut(Progress),
) -> Result<ArrayCommitted, Error> {
    let deadline = request.deadline;
    let mut machine = Upload::new(request)?;
    let interrupt = Interrupt::default();
    let mut questions = Questions::new(link, deadline);
    std::thread::scope(|scope| {
        let mut lanes = Lanes::new(scope, link, &interrupt, deadline);
        let mut event = upload::Event::Tick;
        loop {
            for effect in machine.step(questions.now(), event) {
                match effect {
                    upload::Effect::Ask { ask, body } => questions.ask(ask, body),
                    upload::Effect::Tell(body) => link.tell(body),
                    upload::Effect::Write(order) => {
                        let primary = order.primary.clone();
                        lanes.give(&primary, write_job(order, bytes))?;
                    }
                    upload::Effect::Done(committed) => return Ok(committed),
                    upload::Effect::Failed(error) => {
                        interrupt.raise();
                        return Err(error);
                    }
                }
            }
            let (done, total) = machine.progress();
            progress(Progress { done, total });
            event = match wait(&mut questions, machine.next_deadline(), &lanes.reports) {
                Next::Tick => upload::Event::Tick,
                Next::Answer((ask, result)) => upload::Event::Reply { ask, result },
                Next::Report(report) => written(report),
            };
        }
    })
}

fn write_job(order: WriteOrder, bytes: &[u8]) -> WriteJob<'_> {
    let bytes = &bytes[order.bytes.start as usize..order.bytes.end as usize];
    WriteJob { order, bytes, crc32c: 0 }
}

fn written(report: Report<WriteJob>) -> upload::Event {
    let WriteOrder { version, segment, primary, .. } = report.job.order;
    let primary = primary.worker;
    match report.result {
        Ok(SegmentStored { workers, .. }) => {
            upload::Event::Written { version, segment, primary, crc32c: report.job.crc32c, workers }
        }
        Err(failure) => upload::Event::WriteFailed { version, segment, primary, failure },
    }
}

/// A segment on its way from a worker, and the place it belongs to.
struct ReadJob<'a> {
    order: ReadOrder,
    into: &'a mut [u8],
}

impl Job for ReadJob<'_> {
    type Output = ();

    fn patience(&self) -> Duration {
        self.order.patience
    }

    fn send(&mut self, id: u64, connection: &mut DataConnection) -> io::Result<()> {
        let ReadOrder { version, segment, range, .. } = self.order;
        connection.writer.write(&Message::request(id, GetSegment { version, segment, range }))
    }

    fn receive(&mut self, reply: Message, connection: &mut DataConnection) -> Result<(), Failure> {
        let ReadOrder { version, segment, dtype, crc32c, segment_bytes, ref range, .. } = self.order;
        let damaged = |what: String| Failure::Damaged(format!("segment {segment}: {what}"));
        let copy = CopyRecord(version, segment, crc32c, segment_bytes);
        let (Body::Segment(found), Some(payload)) = (&reply.body, reply.head.payload) else {
            return Err(damaged(format!("the answer was {:?}", reply.body)));
        };
        let fits = found.copy == copy
            && payload.kind == PayloadKind::Elements(dtype)
            && payload.bytes == self.into.len() as u64
            // All of a segment must have the checksum the master knows, not just any that fits the bytes.
            && (range.is_some() || payload.crc32c == crc32c);
        if !fits {
            return Err(damaged(format!("{:?} with {payload:?} came instead of {copy:?}", found.copy)));
        }
        connection.reader.read_payload(&payload, self.into).map_err(|e| match e {
            FrameError::Broken(error) => damaged(error.to_string()),
            FrameError::Io(_) | FrameError::Truncated => Failure::Unreachable(format!("segment {segment}: {e}")),
        })
    }
}

/// Where a download puts its bytes.
pub(crate) trait Destination {
    /// Checks what is coming and makes room for it: as many bytes as the layout has. It can be called again, for
    /// another version, with everything void that came before.
    fn prepare(&mut self, layout: &Layout) -> Result<&mut [u8], Error>;
}

/// How a phase of a download ended.
enum Phase {
    /// Everything is there.
    Done,
    /// This is coming next.
    Prepare(Layout),
}

/// Reads what `request` says into `destination`.
pub(crate) fn run_download(
    link: Link,
    request: download::Request,
    destination: &mut dyn Destination,
    progress: &mut dyn FnMut(Progress),
) -> Result<Layout, Error> {
    let mut download = Running {
        link,
        deadline: request.deadline,
        questions: Questions::new(link, request.deadline),
        machine: Download::new(request),
        progress,
    };
    let mut layout = None;
    // The first phase only learns what is coming; another one begins whenever the version read so far is gone.
    let mut phase = download.run(download::Event::Tick, None, &mut [])?;
    loop {
        match (phase, layout) {
            (Phase::Done, Some(layout)) => return Ok(layout),
            (Phase::Done, None) => unreachable!("a download prepares before it is done"),
            (Phase::Prepare(next), _) => {
                let room = match destination.prepare(&next) {
                    Ok(room) => room,
                    Err(error) => {
                        download.stop();
                        return Err(error);
                    }
                };
                assert_eq!(room.len() as u64, next.bytes(), "the destination has made room");
                phase = download.run(download::Event::Ready, Some(&next), room)?;
                layout = Some(next);
            }
        }
    }
}

/// A download under way.
struct Running<'a> {
    link: Link<'a>,
    deadline: Duration,
    machine: Download,
    questions: Questions<'a>,
    progress: &'a mut dyn FnMut(Progress),
}

impl Running<'_> {
    /// Drives the machine until it is done or wants to prepare. `room` is for what `layout` says.
    fn run(&mut self, first: download::Event, layout: Option<&Layout>, room: &mut [u8]) -> Result<Phase, Error> {
        let interrupt = Interrupt::default();
        let link = self.link;
        std::thread::scope(|scope| {
            let mut lanes = Lanes::new(scope, link, &interrupt, self.deadline);
            let mut room = Room::cut(layout, room);
            let mut event = first;
            loop {
                for effect in self.machine.step(self.questions.now(), event) {
                    match effect {
                        download::Effect::Ask { ask, body } => self.questions.ask(ask, body),
                        download::Effect::Tell(body) => link.tell(body),
                        download::Effect::Prepare(layout) => return Ok(Phase::Prepare(layout)),
                        download::Effect::Read(order) => {
                            let from = order.from.clone();
                            let into = room.take(order.segment);
                            lanes.give(&from, ReadJob { order, into })?;
                        }
                        download::Effect::Done => return Ok(Phase::Done),
                        download::Effect::Failed(error) => {
                            interrupt.raise();
                            return Err(error);
                        }
                    }
                }
                let (done, total) = self.machine.progress();
                (self.progress)(Progress { done, total });
                event = match wait(&mut self.questions, self.machine.next_deadline(), &lanes.reports) {
                    Next::Tick => download::Event::Tick,
                    Next::Answer((ask, result)) => download::Event::Reply { ask, result },
                    Next::Report(report) => read(report, &mut room),
                };
            }
        })
    }

    /// The caller does not want it.
    fn stop(&mut self) {
        for effect in self.machine.step(self.link.control.now(), download::Event::Stop) {
            if let download::Effect::Tell(body) = effect {
                self.link.tell(body);
            }
        }
    }
}

fn read<'a>(report: Report<ReadJob<'a>>, room: &mut Room<'a>) -> download::Event {
    let (segment, worker) = (report.job.order.segment, report.worker.worker);
    match report.result {
        Ok(()) => download::Event::Read { segment, worker },
        Err(failure) => {
            room.put_back(segment, report.job.into);
            download::Event::ReadFailed { segment, worker, failure }
        }
    }
}

/// The caller's slice, cut into the parts of the segments. A part is here, or with the one job that fills it.
struct Room<'a>(BTreeMap<SegmentIndex, &'a mut [u8]>);

impl<'a> Room<'a> {
    fn cut(layout: Option<&Layout>, mut rest: &'a mut [u8]) -> Room<'a> {
        let mut parts = BTreeMap::new();
        for (segment, bytes) in layout.into_iter().flat_map(Layout::parts) {
            let (part, others) = rest.split_at_mut((bytes.end - bytes.start) as usize);
            parts.insert(segment, part);
            rest = others;
        }
        Room(parts)
    }

    fn take(&mut self, segment: SegmentIndex) -> &'a mut [u8] {
        self.0.remove(&segment).expect("a segment is read by one job at a time")
    }

    fn put_back(&mut self, segment: SegmentIndex, part: &'a mut [u8]) {
        self.0.insert(segment, part);
    }
}
