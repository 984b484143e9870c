//! The data port: takes segments from clients and other workers, and gives them.
//!
//! One thread per connection reads requests and does them in order, [`receive`] takes segments, and [`crate::replies`] writes
//! the answers in that order. Whatever a peer sends, this worker answers an error or closes within a deadline, and takes no
//! memory for it that was not reserved: the length of a payload is compared with the reservation before a
//! buffer is made, and what is not wanted is skipped in small blocks.

mod accept;
mod receive;
#[cfg(target_os = "linux")]
mod same_host;
#[cfg(test)]
mod tests;

pub(crate) use accept::DataPort;

use crate::Serving;
use crate::agent::Event;
use crate::driver::Events;
use crate::lock;
use crate::peer::Peers;
use crate::replies::{Replies, Reply};
use crate::sockets::Sockets;
use crate::store::{Segment, Store};
use array::BufferPool;
use log::{debug, info};
use protocol::door::Entry;
use protocol::limits::{BLOCK_BYTES, FIRST_MESSAGE_TIMEOUT, PROTOCOL_VERSION};
use protocol::message::data::{self, GetSegment};
use protocol::message::{Hello, PayloadKind, Pong, Role};
use protocol::net::{Receiver, Stream};
use protocol::{Body, CopyId, ErrorCode, FrameError, Head, Incoming, Message, Payload, WireError, WorkerId};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A connection without a request for this long is closed, so that forgotten ones do not add up. Peers
/// connect again.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) worker: WorkerId,
    pub(crate) store: Arc<Mutex<Store>>,
    pub(crate) buffers: BufferPool,
    pub(crate) events: Events,
    pub(crate) sockets: Sockets,
    /// The name under which programs of this machine get connections through shared memory.
    pub(crate) shared_memory: Option<String>,
}

/// Why a connection ends.
enum End {
    /// The peer has closed it, or it is dead.
    Quiet(String),
    /// The peer shall know: this is the last answer.
    Said(Box<Message>),
}

impl From<io::Error> for End {
    fn from(e: io::Error) -> End {
        End::Quiet(e.to_string())
    }
}

/// The end that a broken frame brings; `head` is of the request it belongs to.
fn end_of_frame(head: &Head, error: FrameError) -> End {
    match error {
        FrameError::Broken(error) => End::Said(Box::new(Message::reply(head, error))),
        other => End::Quiet(other.to_string()),
    }
}

struct Connection {
    shared: Arc<Shared>,
    /// For the log.
    peer: String,
    receiver: Receiver<Stream>,
    replies: Replies,
    /// Who gets segments while they arrive.
    peers: Peers,
    /// Its place, if it counts among those of its address.
    entry: Option<Entry>,
}

impl Connection {
    fn run(mut self) {
        let end = match self.greet() {
            Ok(()) => self.serve(),
            Err(end) => end,
        };
        match end {
            End::Quiet(why) => {
                debug!("{}: {why}", self.peer);
                self.replies.finish();
            }
            End::Said(message) => {
                info!("{}: closing: {:?}", self.peer, message.body);
                let sent = self.replies.send(Reply::Message(*message)).is_ok();
                if let Some(writer) = self.replies.finish()
                    && sent
                {
                    writer.linger();
                }
            }
        }
    }

    /// The next message; refused ones are answered here, and payloads that no message should have are
    /// skipped.
    fn next(&mut self, by: Instant) -> Result<Message, End> {
        loop {
            match self.receiver.read(Some(by)) {
                Ok(Some(Incoming::Message(message))) => {
                    if let (Some(payload), false) =
                        (&message.head.payload, matches!(message.body, Body::DistributeArray(_)))
                    {
                        self.receiver.skip_payload(payload).map_err(|e| end_of_frame(&message.head, e))?;
                    }
                    return Ok(message);
                }
                Ok(Some(Incoming::Refused { head, error })) => self.answer(&head, error)?,
                Ok(None) => return Err(End::Quiet("closed by the peer".into())),
                Err(e) => return Err(end_of_frame(&Head::default(), e)),
            }
        }
    }

    fn answer(&mut self, to: &Head, body: impl Into<Body>) -> Result<(), End> {
        Ok(self.replies.send(Reply::Message(Message::reply(to, body)))?)
    }

    fn refuse(&mut self, to: &Head, error: WireError) -> Result<(), End> {
        debug!("{}{}: refused: {error}", Serving(&to.request), self.peer);
        self.answer(to, error)
    }

    /// Waits for HELLO and answers it.
    fn greet(&mut self) -> Result<(), End> {
        let by = Instant::now() + FIRST_MESSAGE_TIMEOUT;
        loop {
            let Message { head, body, .. } = self.next(by)?;
            let refusal = match body {
                Body::Hello(hello) => match check_hello(&hello) {
                    Ok(()) => {
                        if self.entry.as_ref().is_some_and(|entry| !entry.introduced()) {
                            return Err(End::Quiet("it was silent for too long, and others came".into()));
                        }
                        self.replies.set_to(&head.from);
                        return self.answer(&head, self.hello());
                    }
                    Err(error) => return Err(End::Said(Box::new(Message::reply(&head, error)))),
                },
                Body::DistributeArray(_) => {
                    self.skip_payload(&head)?;
                    not_allowed("DISTRIBUTE_ARRAY before HELLO; introduce yourself first")
                }
                other => not_allowed(&format!("{} before HELLO; introduce yourself first", other.kind())),
            };
            self.refuse(&head, refusal)?;
        }
    }

    fn hello(&self) -> Hello {
        Hello {
            worker: Some(self.shared.worker.clone()),
            shared_memory: self.shared.shared_memory.clone(),
            program: Some(env!("CARGO_PKG_VERSION").to_string()),
            ..Hello::new(Role::Worker)
        }
    }

    /// Does requests until the connection ends.
    fn serve(&mut self) -> End {
        loop {
            let done = self.next(Instant::now() + IDLE_TIMEOUT).and_then(|message| self.on_request(message));
            if let Err(end) = done {
                return end;
            }
        }
    }

    fn on_request(&mut self, message: Message) -> Result<(), End> {
        let Message { head, body, .. } = message;
        match body {
            Body::DistributeArray(distribute) => self.on_distribute(head, distribute),
            Body::GetSegment(get) => self.on_get(head, get),
            Body::Ping(_) => self.answer(&head, Pong {}),
            // Refusing a refusal could go on for ever.
            Body::Error(error) => {
                debug!("{}: {error}", self.peer);
                Ok(())
            }
            other => {
                let why = format!("the data port takes DISTRIBUTE_ARRAY and GET_SEGMENT, not {}", other.kind());
                self.refuse(&head, not_allowed(&why))
            }
        }
    }

    fn skip_payload(&mut self, head: &Head) -> Result<(), End> {
        match &head.payload {
            Some(payload) => self.receiver.skip_payload(payload).map_err(|e| end_of_frame(head, e)),
            None => Ok(()),
        }
    }

    fn on_get(&mut self, head: Head, get: GetSegment) -> Result<(), End> {
        match self.read(&get) {
            Ok((segment, range)) => {
                protocol::fault_point!(SegmentNotSent);
                let bytes = &segment.buffer().as_bytes()[range.clone()];
                // A whole segment is compared with its checksum: a short one has been, a long one will be on its way.
                let crc32c = match get.range {
                    None => segment.record().crc32c(),
                    Some(_) => array::checksum::crc32c(bytes),
                };
                let kind = PayloadKind::Elements(segment.dtype());
                let payload = Payload { kind, bytes: bytes.len() as u64, crc32c };
                let answer = data::Segment { copy: segment.record() };
                let message = Message::reply(&head, answer).with_payload(payload);
                let is_on_its_way = get.range.is_none() && range.len() > BLOCK_BYTES;
                Ok(self.replies.send(match is_on_its_way {
                    true => Reply::Whole(message, segment),
                    false => Reply::Bytes(message, segment, range),
                })?)
            }
            Err(error) => self.refuse(&head, error),
        }
    }

    /// The copy asked for, and which of its bytes.
    fn read(&self, get: &GetSegment) -> Result<(Arc<Segment>, Range<usize>), WireError> {
        let copy = CopyId(get.version, get.segment);
        let segment = lock(&self.shared.store).get_or_refuse(copy)?;
        let Some((from, to)) = get.range else {
            let all = 0..segment.buffer().len();
            if all.len() <= BLOCK_BYTES && !segment.is_intact() {
                return Err(self.shared.throw_away(&segment));
            }
            return Ok((segment, all));
        };
        if from > to || to > segment.elements() {
            let why = format!(
                "elements {from} to {to} of segment {} of {}, which has {}",
                copy.1,
                copy.0,
                segment.elements()
            );
            return Err(WireError::new(ErrorCode::OutOfRange, why).segments([copy.segment()]));
        }
        let size = segment.dtype().size();
        Ok((segment, from as usize * size..to as usize * size))
    }
}

impl Shared {
    /// Throws a broken copy away, and reports it.
    pub(crate) fn throw_away(&self, broken: &Arc<Segment>) -> WireError {
        let copy = broken.record().id();
        let was_here = lock(&self.store).remove_broken(broken);
        if was_here {
            self.events.tell(Event::Broken(copy));
        }
        let why =
            format!("the copy of segment {} of version {} here is broken; it has been thrown away", copy.1, copy.0);
        WireError::new(ErrorCode::ChecksumMismatch, why).segments([copy.segment()])
    }
}

fn check_hello(hello: &Hello) -> Result<(), WireError> {
    if hello.protocol < PROTOCOL_VERSION {
        let why = format!("protocol {}; the data port speaks {PROTOCOL_VERSION}", hello.protocol);
        return Err(WireError::new(ErrorCode::Unsupported, why));
    }
    match hello.role {
        Role::Client | Role::Worker | Role::Master => Ok(()),
        Role::Heartbeat => Err(not_allowed("heartbeats go to the master, this is a worker's data port")),
    }
}

fn not_allowed(why: &str) -> WireError {
    WireError::new(ErrorCode::NotAllowed, why)
}
