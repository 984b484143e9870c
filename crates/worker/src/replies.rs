//! What goes out on one connection of the data port, in the order of its requests.
//!
//! At first the thread that reads the requests also writes the replies. When the first segment is to be
//! forwarded, the writing moves to a companion thread, and all replies go through one short queue: so the
//! next segment is received while this one is forwarded, and replies stay in order.
//!
//! The companion sends up to [`WINDOW`] segments to other workers before it waits for the first answer. It
//! depends on other workers, which may depend on yet others, but never in a circle: each hop has connections
//! of its own, and the list of those who are still to get the segment is shorter than on the hop before.
//! Every wait has a deadline.

use crate::Serving;
use crate::peer::{PeerError, Peers};
use crate::sockets::Writer;
use crate::store::Segment;
use crossbeam_channel::{Receiver, Sender};
use log::{debug, warn};
use protocol::message::PayloadKind;
use protocol::message::client::Endpoint;
use protocol::message::data::{DistributeArray, FailedWorker, SegmentStored};
use protocol::{Body, ErrorCode, Head, Message, Payload, WireError, WorkerId, net};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Segments that are sent to another worker and not answered yet: one on its way, one being stored there, one
/// whose answer is on its way back, and one to spare.
const WINDOW: usize = 4;

/// Replies that wait for the companion. Each has at most a reference to a copy that is stored anyway. When it
/// is full, the reader waits, and so the peer.
const QUEUE_REPLIES: usize = 4;

/// Something to send back.
pub(crate) enum Reply {
    /// A message.
    Message(Message),
    /// A message and some bytes of a copy, which it announces.
    Bytes(Message, Arc<Segment>, Range<usize>),
    /// SEGMENT_STORED, after the segment is forwarded.
    Stored(Forwarding),
}

/// A segment that is stored here, and who else shall get it.
pub(crate) struct Forwarding {
    /// The head of the request.
    head: Head,
    segment: Arc<Segment>,
    ticket: String,
    /// Who shall get it; the first is being tried, the others are its `forward`.
    targets: VecDeque<Endpoint>,
    workers: Vec<WorkerId>,
    failed: Vec<FailedWorker>,
    sent: Option<Sent>,
}

/// A request under way to the first target.
struct Sent {
    generation: u64,
    id: u64,
    deadline: Instant,
    /// Whether the connection had been used before, so that its failure says little about the worker.
    reused: bool,
}

impl Forwarding {
    /// `me` has stored `segment`, which came with `head` and `ticket`, and `targets` shall get it too.
    pub(crate) fn new(
        me: &WorkerId,
        head: Head,
        segment: Arc<Segment>,
        ticket: String,
        targets: Vec<Endpoint>,
    ) -> Self {
        Forwarding {
            head,
            segment,
            ticket,
            targets: targets.into(),
            workers: vec![me.clone()],
            failed: Vec::new(),
            sent: None,
        }
    }

    fn message(&self) -> Message {
        let record = self.segment.record();
        let distribute = DistributeArray {
            version: record.id().version(),
            segment: record.id().segment(),
            ticket: self.ticket.clone(),
            forward: self.targets.iter().skip(1).cloned().collect(),
        };
        let kind = PayloadKind::Elements(self.segment.dtype());
        let payload = Payload { kind, bytes: record.bytes(), crc32c: record.crc32c() };
        Message::new(distribute).with_payload(payload).serving(self.head.request.clone())
    }

    /// How long the answer of the first target may take: receiving, at each hop from there on. In vain it costs a copy,
    /// which the master makes anew; but a stopped replica must not hold its primary for longer than the writer, who waits
    /// for 1.5 s and these bytes, waits for the primary.
    fn patience(&self) -> Duration {
        const PER_HOP: Duration = Duration::from_millis(600);
        const BYTES_PER_MS: u64 = 10 << 10; // 100 Mbit/s, well used
        let receiving = Duration::from_millis(self.segment.record().bytes() / BYTES_PER_MS);
        (PER_HOP + receiving) * self.targets.len() as u32
    }

    fn fail_first(&mut self, error: WireError) {
        let Some(target) = self.targets.pop_front() else {
            return;
        };
        let (request, copy) = (Serving(&self.head.request), self.segment.record().id());
        warn!("{request}{copy} was not forwarded to {}: {error}", target.worker);
        self.failed.push(FailedWorker { worker: target.worker, error });
    }

    fn into_message(self) -> Message {
        let stored = SegmentStored { copy: self.segment.record(), workers: self.workers, failed: self.failed };
        Message::reply(&self.head, stored)
    }
}

/// Where replies go.
pub(crate) struct Replies {
    route: Route,
    /// For the companion, until there is one.
    peers: Option<Peers>,
}

enum Route {
    Direct(Writer),
    Companion {
        queue: Sender<Reply>,
        thread: JoinHandle<Writer>,
    },
    /// The connection is dead, or no thread could be made.
    Gone,
}

impl Replies {
    /// Replies go straight to `writer`; `peers` will be used to forward.
    pub(crate) fn new(writer: Writer, peers: Peers) -> Replies {
        Replies { route: Route::Direct(writer), peers: Some(peers) }
    }

    /// Addresses what follows.
    pub(crate) fn set_to(&mut self, to: &str) {
        if let Route::Direct(writer) = &mut self.route {
            writer.set_to(to);
        }
    }

    /// Sends a reply after all those before it; waits while too many are under way.
    ///
    /// # Errors
    /// When the connection is dead.
    pub(crate) fn send(&mut self, reply: Reply) -> io::Result<()> {
        if matches!(&reply, Reply::Stored(forwarding) if !forwarding.targets.is_empty()) {
            self.make_companion()?;
        }
        let gone = || io::Error::other("the connection takes no more replies");
        match &mut self.route {
            Route::Direct(writer) => match reply {
                Reply::Stored(forwarding) => writer.write(&forwarding.into_message(), &[]),
                reply => write(writer, &reply),
            },
            Route::Companion { queue, .. } => queue.send(reply).map_err(|_| gone()),
            Route::Gone => Err(gone()),
        }
    }

    fn make_companion(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.route, Route::Gone) {
            Route::Direct(writer) => {
                let (queue, replies) = crossbeam_channel::bounded(QUEUE_REPLIES);
                let peers = self.peers.take().expect("there is one companion per connection");
                let companion = Companion { writer, peers };
                let thread = thread::Builder::new().name("forward".into()).spawn(move || companion.run(replies))?;
                self.route = Route::Companion { queue, thread };
            }
            other => self.route = other,
        }
        Ok(())
    }

    /// Waits until everything is sent, and gives the writer back; none if the connection has died on the way.
    pub(crate) fn finish(self) -> Option<Writer> {
        match self.route {
            Route::Direct(writer) => Some(writer),
            Route::Companion { queue, thread } => {
                drop(queue);
                thread.join().ok()
            }
            Route::Gone => None,
        }
    }
}

fn write(writer: &mut Writer, reply: &Reply) -> io::Result<()> {
    match reply {
        Reply::Message(message) => writer.write(message, &[]),
        Reply::Bytes(message, segment, range) => writer.write(message, &segment.buffer().as_bytes()[range.clone()]),
        Reply::Stored(_) => unreachable!("it is made a message before"),
    }
}

/// Forwards and writes replies.
struct Companion {
    writer: Writer,
    peers: Peers,
}

impl Companion {
    /// Runs until the reader has no more; gives the writer back.
    fn run(mut self, replies: Receiver<Reply>) -> Writer {
        let mut under_way: VecDeque<Reply> = VecDeque::with_capacity(WINDOW);
        loop {
            if under_way.is_empty() {
                match replies.recv() {
                    Ok(reply) => under_way.push_back(self.begin(reply)),
                    Err(_) => return self.writer,
                }
            }
            while under_way.len() < WINDOW
                && let Ok(reply) = replies.try_recv()
            {
                under_way.push_back(self.begin(reply));
            }
            let reply = under_way.pop_front().expect("there is at least one");
            if let Err(e) = self.complete(reply) {
                debug!("a reply could not be written: {e}");
                net::hang_up(&**self.writer.stream());
                return self.writer; // the reader notices at its next reply
            }
        }
    }

    /// Sends a segment on its way, so that the answer may come while others are sent.
    fn begin(&mut self, reply: Reply) -> Reply {
        match reply {
            Reply::Stored(mut forwarding) => {
                self.send_to_first(&mut forwarding);
                Reply::Stored(forwarding)
            }
            reply => reply,
        }
    }

    fn complete(&mut self, reply: Reply) -> io::Result<()> {
        match reply {
            Reply::Stored(forwarding) => {
                let message = self.settle(forwarding);
                self.writer.write(&message, &[])
            }
            reply => write(&mut self.writer, &reply),
        }
    }

    /// Goes through the targets until one has taken the segment for all that are left, or none is left.
    fn settle(&mut self, mut forwarding: Forwarding) -> Message {
        while let Some(target) = forwarding.targets.front().cloned() {
            let Some(sent) = forwarding.sent.take() else {
                self.send_to_first(&mut forwarding);
                continue;
            };
            match self.receive(&target, &sent, &forwarding) {
                Ok(stored) => {
                    forwarding.workers.extend(stored.workers);
                    forwarding.failed.extend(stored.failed);
                    break;
                }
                Err(PeerError::Lost(_)) if sent.reused => {
                    // It may just have been idle for too long. Again, on a connection of which that can't be
                    // said.
                    self.close(&target, sent.generation);
                    self.send_to_first(&mut forwarding);
                    if let Some(sent) = &mut forwarding.sent {
                        sent.reused = false;
                    }
                }
                Err(error) => {
                    if let PeerError::Lost(_) = error {
                        self.close(&target, sent.generation);
                    }
                    forwarding.fail_first(error.into_error());
                }
            }
        }
        forwarding.into_message()
    }

    /// Sends the segment to the first target that can be connected to.
    fn send_to_first(&mut self, forwarding: &mut Forwarding) {
        while let Some(target) = forwarding.targets.front().cloned() {
            match self.send(&target, forwarding) {
                Ok(sent) => {
                    forwarding.sent = Some(sent);
                    return;
                }
                Err(error) => forwarding.fail_first(error.into_error()),
            }
        }
    }

    fn send(&mut self, target: &Endpoint, forwarding: &Forwarding) -> Result<Sent, PeerError> {
        loop {
            let (peer, reused) = self.peers.connect(target)?;
            match peer.send(forwarding.message(), forwarding.segment.buffer().as_bytes()) {
                Ok(id) => {
                    let deadline = Instant::now() + forwarding.patience();
                    return Ok(Sent { generation: peer.generation(), id, deadline, reused });
                }
                Err(error) => {
                    self.peers.close(target);
                    if !reused {
                        return Err(error);
                    }
                }
            }
        }
    }

    fn receive(&mut self, target: &Endpoint, sent: &Sent, forwarding: &Forwarding) -> Result<SegmentStored, PeerError> {
        let reply = self.peers.get(target, sent.generation)?.receive(sent.id, sent.deadline)?;
        let refuse = |why: String| Err(PeerError::Refused(WireError::new(ErrorCode::ChecksumMismatch, why)));
        match reply.body {
            Body::SegmentStored(stored) if stored.copy == forwarding.segment.record() => Ok(stored),
            Body::SegmentStored(stored) => refuse(format!("it stored {:?} instead", stored.copy)),
            other => refuse(format!("it answered DISTRIBUTE_ARRAY with {}", other.kind())),
        }
    }

    /// Closes the connection on which something failed, unless it has been replaced already.
    fn close(&mut self, target: &Endpoint, generation: u64) {
        if self.peers.get(target, generation).is_ok() {
            self.peers.close(target);
        }
    }
}
