//! Segments on their way to further workers, each in one frame to the first of them, who has the rest as its own `forward`.
//!
//! A segment that arrives is passed on while it does: [`begin`] a frame, [`Outgoing::write`] each block as it comes, and
//! [`Outgoing::finish`] when all of it is stored here. [`settle`] waits for the answer later, on another thread, and sends a
//! segment that was not passed on, or in vain, to the next worker, whole.
//!
//! The thread that receives is the one that writes, so it waits for the next worker, who may wait for yet another one, but never
//! in a circle: each connection has a thread of its own, and the list of those who are still to get the segment is shorter on
//! each hop than on the one before. And it never waits for long: a worker that does not take its bytes within
//! [`Forwarding::patience`] in all is given up, and the segment is received and stored without it.

use crate::Serving;
use crate::peer::{Answers, Peer, PeerError, Peers};
use array::DType;
use log::warn;
use protocol::message::PayloadKind;
use protocol::message::client::Endpoint;
use protocol::message::data::{DistributeArray, FailedWorker, SegmentStored};
use protocol::{Body, CopyRecord, ErrorCode, Head, Message, Payload, WireError, WorkerId};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A segment, and who else shall get it.
pub(crate) struct Forwarding {
    /// The head of the request.
    head: Head,
    record: CopyRecord,
    dtype: DType,
    ticket: String,
    /// Who shall get it; the first is being tried, the others are its `forward`.
    targets: VecDeque<Endpoint>,
    workers: Vec<WorkerId>,
    failed: Vec<FailedWorker>,
    sent: Option<Sent>,
}

/// A request under way to the first target.
struct Sent {
    answers: Arc<Answers>,
    id: u64,
    deadline: Instant,
    /// Whether the connection had been used before, so that its failure says little about the worker.
    reused: bool,
}

impl Forwarding {
    /// `me` stores a segment, which comes with `head` and `ticket`, and `targets` shall get it too.
    pub(crate) fn new(
        me: &WorkerId,
        head: Head,
        record: CopyRecord,
        dtype: DType,
        ticket: String,
        targets: Vec<Endpoint>,
    ) -> Self {
        Forwarding {
            head,
            record,
            dtype,
            ticket,
            targets: targets.into(),
            workers: vec![me.clone()],
            failed: Vec::new(),
            sent: None,
        }
    }

    /// The head of the request.
    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    /// Whether somebody is still to get it, or to say that he has.
    pub(crate) fn is_open(&self) -> bool {
        !self.targets.is_empty()
    }

    fn message(&self) -> Message {
        let distribute = DistributeArray {
            version: self.record.id().version(),
            segment: self.record.id().segment(),
            ticket: self.ticket.clone(),
            forward: self.targets.iter().skip(1).cloned().collect(),
        };
        let kind = PayloadKind::Elements(self.dtype);
        let payload = Payload { kind, bytes: self.record.bytes(), crc32c: self.record.crc32c() };
        Message::new(distribute).with_payload(payload).serving(self.head.request.clone())
    }

    /// How long the first target may keep its primary waiting in all, for a connection, for taking the bytes and for the
    /// answer: receiving, at each hop from there on. In vain it costs a copy, which the master makes anew; but a stopped
    /// replica must not hold its primary for longer than the writer, who waits for 1.5 s and these bytes, waits for the
    /// primary.
    fn patience(&self) -> Duration {
        const PER_HOP: Duration = Duration::from_millis(600);
        const BYTES_PER_MS: u64 = 10 << 10; // 100 Mbit/s, well used
        let receiving = Duration::from_millis(self.record.bytes() / BYTES_PER_MS);
        (PER_HOP + receiving) * self.targets.len() as u32
    }

    fn fail_first(&mut self, error: PeerError) {
        let Some(target) = self.targets.pop_front() else {
            return;
        };
        let (request, copy, error) = (Serving(&self.head.request), self.record.id(), error.into_error());
        warn!("{request}{copy} was not forwarded to {}: {error}", target.worker);
        self.failed.push(FailedWorker { worker: target.worker, error });
    }

    /// Gives the first target up, unless all that is known is that an old connection to it has ended. It may just have been
    /// idle for too long; then it is tried again, on another one.
    fn maybe_fail_first(&mut self, error: PeerError, reused: bool) {
        if !(reused && matches!(error, PeerError::Lost(_))) {
            self.fail_first(error);
        }
    }

    /// The answer to the request.
    pub(crate) fn into_message(self) -> Message {
        let stored = SegmentStored { copy: self.record, workers: self.workers, failed: self.failed };
        Message::reply(&self.head, stored)
    }
}

/// A frame that is being written to the first target, as long as there is one who takes it. Dropped before it is finished, its
/// connection ends: nothing else can follow half a frame.
pub(crate) struct Outgoing<'a> {
    forwarding: &'a mut Forwarding,
    peers: &'a mut Peers,
    frame: Option<Frame>,
}

struct Frame {
    peer: Peer,
    reused: bool,
    id: u64,
    /// How much longer the target may keep us waiting.
    patience: Duration,
}

/// Begins a frame to the first target that can be connected to; those that can't be have failed.
pub(crate) fn begin<'a>(peers: &'a mut Peers, forwarding: &'a mut Forwarding) -> Outgoing<'a> {
    let mut frame = None;
    while let (None, Some(target)) = (&frame, forwarding.targets.front()) {
        let (begun, patience) = (Instant::now(), forwarding.patience());
        protocol::fault_point!(ForwardNotBegun);
        let opened = peers.take(target, patience).and_then(|(mut peer, reused)| {
            let id = peer.begin(forwarding.message())?;
            Ok(Frame { peer, reused, id, patience: patience.saturating_sub(begun.elapsed()) })
        });
        match opened {
            Ok(opened) => frame = Some(opened),
            Err(error) => forwarding.fail_first(error),
        }
    }
    Outgoing { forwarding, peers, frame }
}

impl Outgoing<'_> {
    /// Sends the next bytes of the segment. When that fails, the segment goes on without this target.
    pub(crate) fn write(&mut self, block: &[u8]) {
        let Some(frame) = &mut self.frame else { return };
        let begun = Instant::now();
        let written = frame.peer.send_block(block, frame.patience);
        frame.patience = frame.patience.saturating_sub(begun.elapsed());
        if let Err(error) = written
            && let Some(Frame { peer, reused, .. }) = self.frame.take()
        {
            self.forwarding.maybe_fail_first(error, reused);
            self.peers.put(peer); // they remember one that was silent
        }
    }

    /// All of it is sent; the answer will come.
    pub(crate) fn finish(mut self) {
        if let Some(Frame { peer, reused, id, patience }) = self.frame.take() {
            let (answers, deadline) = (peer.answers().clone(), Instant::now() + patience);
            protocol::fault_point!(ForwardNotAnswered);
            self.forwarding.sent = Some(Sent { answers, id, deadline, reused });
            self.peers.put(peer);
        }
    }
}

impl Drop for Outgoing<'_> {
    fn drop(&mut self) {
        if let Some(frame) = &self.frame {
            frame.peer.answers().end(false, "the segment could not be sent to its end");
        }
    }
}

/// Goes through the targets until one has taken the segment for all that are left, or none is left. `bytes` are the segment,
/// for those that have not been sent it.
pub(crate) fn settle(peers: &mut Peers, forwarding: &mut Forwarding, bytes: &[u8]) {
    while forwarding.is_open() {
        let Some(sent) = forwarding.sent.take() else {
            let mut outgoing = begin(peers, forwarding);
            outgoing.write(bytes);
            outgoing.finish();
            continue;
        };
        match receive(&sent, forwarding.record) {
            Ok(stored) => {
                forwarding.workers.extend(stored.workers);
                forwarding.failed.extend(stored.failed);
                forwarding.targets.clear();
            }
            Err(error) => forwarding.maybe_fail_first(error, sent.reused),
        }
    }
}

fn receive(sent: &Sent, record: CopyRecord) -> Result<SegmentStored, PeerError> {
    let reply = sent.answers.receive(sent.id, sent.deadline)?;
    let refuse = |why: String| Err(PeerError::Refused(WireError::new(ErrorCode::ChecksumMismatch, why)));
    match reply.body {
        Body::SegmentStored(stored) if stored.copy == record => Ok(stored),
        Body::SegmentStored(stored) => refuse(format!("it stored {:?} instead", stored.copy)),
        other => refuse(format!("it answered DISTRIBUTE_ARRAY with {}", other.kind())),
    }
}
