//! Connections to the data ports of other workers: through shared memory to those of this machine, over TCP to all others.
//!
//! Whoever sends on a connection owns it, as a [`Peer`]; the replies may be taken by another thread, from its [`Answers`].
//! Whichever of them finds that a connection is of no use ends it, and the other learns why.

use crate::sockets::{Sockets, Writer};
use log::debug;
use protocol::frame::is_timeout;
use protocol::limits::SHARED_MEMORY_TIMEOUT;
use protocol::message::client::Endpoint;
use protocol::message::{Hello, Role};
use protocol::net::{self, Receiver, Stream};
use protocol::{Body, ErrorCode, FrameError, Incoming, Message, Payload, WireError, WorkerId};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

/// Connections kept per thread. A cluster has fewer workers than that in most cases; otherwise some are
/// opened anew.
const PEERS_MAX: usize = 64;

/// A worker that could not be connected to, or did not go on in its time, is not tried again for this long, so that a
/// hundred segments for a dead one do not wait for it a hundred times.
const DOWN_FOR: Duration = Duration::from_secs(2);

/// How long the first bytes of an answer may take that needs no work on the other side: after a second of silence the
/// master takes a worker for dead too.
pub(crate) const REPLY_TIMEOUT: Duration = Duration::from_secs(1);

/// Why an exchange with another worker failed.
#[derive(Debug)]
pub(crate) enum PeerError {
    /// The connection is no more, or of no use.
    Lost(WireError),
    /// The other worker did not go on in its time. Nor would it on another connection.
    Silent(WireError),
    /// The other worker said no. The connection lives.
    Refused(WireError),
}

impl PeerError {
    /// What to tell others.
    pub(crate) fn into_error(self) -> WireError {
        match self {
            PeerError::Lost(error) | PeerError::Silent(error) | PeerError::Refused(error) => error,
        }
    }

    /// Whether the connection can't be used any more.
    pub(crate) fn is_end(&self) -> bool {
        !matches!(self, PeerError::Refused(_))
    }
}

fn unreachable(to: &Endpoint, why: impl std::fmt::Display) -> WireError {
    let mut error = WireError::new(ErrorCode::Internal, format!("worker {} at {}: {why}", to.worker, to.address));
    error.retryable = true; // another worker, or the same a little later
    error.workers([to.worker.clone()])
}

/// One connection. Its owner sends requests; replies come in the order of the requests.
pub(crate) struct Peer {
    writer: Writer,
    last_id: u64,
    answers: Arc<Answers>,
}

impl Peer {
    /// What the other worker answers.
    pub(crate) fn answers(&self) -> &Arc<Answers> {
        &self.answers
    }

    /// Sends a request; gives its id.
    pub(crate) fn send(&mut self, message: Message) -> Result<u64, PeerError> {
        self.last_id += 1;
        let written = self.writer.write(&message.with_id(Some(self.last_id)), &[]);
        self.sent(written)
    }

    /// Begins a request whose elements follow in blocks; gives its id.
    pub(crate) fn begin(&mut self, message: Message) -> Result<u64, PeerError> {
        self.last_id += 1;
        let begun = self.writer.begin(&message.with_id(Some(self.last_id)));
        self.sent(begun)
    }

    /// Sends elements of the request that was begun, within this time.
    pub(crate) fn send_block(&mut self, elements: &[u8], time: Duration) -> Result<(), PeerError> {
        let written = self.writer.write_block(elements, time);
        self.sent(written).map(drop)
    }

    fn sent(&self, result: io::Result<()>) -> Result<u64, PeerError> {
        match result {
            Ok(()) => Ok(self.last_id),
            Err(e) if is_timeout(&e) => Err(self.answers.end(true, "it does not take what is sent to it")),
            Err(e) => Err(self.answers.end(false, format!("sending failed: {e}"))),
        }
    }
}

/// What comes back on a connection.
pub(crate) struct Answers {
    to: Endpoint,
    stream: Arc<Stream>,
    inbox: Mutex<Inbox>,
    ended: OnceLock<Ended>,
}

struct Inbox {
    receiver: Receiver<Stream>,
    /// Whether the answer to HELLO has been read.
    greeted: bool,
}

/// Why a connection is of no use any more.
struct Ended {
    since: Instant,
    silent: bool,
    why: String,
}

impl Answers {
    /// Waits for the reply to a request. All replies before it have been taken.
    pub(crate) fn receive(&self, id: u64, deadline: Instant) -> Result<Message, PeerError> {
        let mut inbox = self.inbox();
        if !inbox.greeted {
            self.greet(&mut inbox, deadline)?;
        }
        let reply = self.read(&mut inbox, deadline)?;
        match reply.body {
            _ if reply.head.id != Some(id) => {
                Err(self.end(false, format!("it answered {:?}, not {id}", reply.head.id)))
            }
            Body::Error(error) => Err(PeerError::Refused(error)),
            _ => Ok(reply),
        }
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().expect("a thread panicked in the middle of a reply")
    }

    /// The name under which the other worker can be reached through shared memory, if it has answered HELLO and said one within
    /// a moment.
    fn shared_memory(&self) -> Option<String> {
        let mut inbox = self.inbox();
        match inbox.receiver.read(Some(Instant::now() + SHARED_MEMORY_TIMEOUT)) {
            Err(FrameError::Io(e)) if is_timeout(&e) && inbox.receiver.is_between_frames() => None,
            answer => {
                inbox.greeted = true;
                // What is wrong with it, whoever uses the connection is told.
                self.message(answer).and_then(|answer| self.check_hello(answer)).ok()?.shared_memory
            }
        }
    }

    fn greet(&self, inbox: &mut Inbox, deadline: Instant) -> Result<(), PeerError> {
        let answer = self.read(inbox, deadline)?;
        inbox.greeted = true;
        self.check_hello(answer).map(drop)
    }

    fn check_hello(&self, answer: Message) -> Result<Hello, PeerError> {
        match answer.body {
            Body::Hello(hello) => match &hello.worker {
                Some(worker) if *worker == self.to.worker => Ok(hello),
                // A port is given to another program when its owner has ended.
                Some(other) => Err(self.end(false, format!("worker {other} answered"))),
                None => Err(self.end(false, "it answered HELLO with HELLO of no worker")),
            },
            Body::Error(error) => Err(self.end(false, error)),
            other => Err(self.end(false, format!("it answered HELLO with {}", other.kind()))),
        }
    }

    fn read(&self, inbox: &mut Inbox, deadline: Instant) -> Result<Message, PeerError> {
        if let Some(ended) = self.ended.get() {
            return Err(self.error(ended));
        }
        let answer = inbox.receiver.read(Some(deadline));
        self.message(answer)
    }

    fn message(&self, answer: Result<Option<Incoming>, FrameError>) -> Result<Message, PeerError> {
        match answer {
            Ok(Some(Incoming::Message(message))) => Ok(message),
            Ok(Some(Incoming::Refused { error, .. })) => Err(self.end(false, error)),
            Ok(None) => Err(self.end(false, "the connection has ended")),
            Err(e) => Err(self.broken(e)),
        }
    }

    /// Reads the payload of the last reply.
    pub(crate) fn read_payload(&self, payload: &Payload, into: &mut [u8]) -> Result<(), PeerError> {
        self.inbox().receiver.read_payload(payload, into).map_err(|e| self.broken(e))
    }

    fn broken(&self, error: FrameError) -> PeerError {
        let silent = matches!(&error, FrameError::Io(e) if is_timeout(e));
        self.end(silent, error)
    }

    /// Ends the connection, which wakes up whoever waits on it. What it ended of first is the reason for everybody.
    pub(crate) fn end(&self, silent: bool, why: impl std::fmt::Display) -> PeerError {
        let ended = self.ended.get_or_init(|| Ended { since: Instant::now(), silent, why: why.to_string() });
        net::hang_up(&*self.stream);
        self.error(ended)
    }

    fn error(&self, ended: &Ended) -> PeerError {
        let error = unreachable(&self.to, &ended.why);
        if ended.silent { PeerError::Silent(error) } else { PeerError::Lost(error) }
    }
}

/// The connections of one thread, kept for reuse.
pub(crate) struct Peers {
    me: WorkerId,
    sockets: Sockets,
    /// Whether to use shared memory where that is possible.
    shared_memory: bool,
    idle: HashMap<String, Peer>,
    /// Addresses that are of no use for now: until when they are left alone, and why.
    down: HashMap<String, (Instant, String)>,
}

impl Peers {
    /// None yet. With `shared_memory`, those of this machine will go through it.
    pub(crate) fn new(me: WorkerId, sockets: Sockets, shared_memory: bool) -> Peers {
        Peers { me, sockets, shared_memory, idle: HashMap::new(), down: HashMap::new() }
    }

    /// A connection to a worker, and whether it was there before. One that was may turn out to be dead when
    /// it is used. A new one is tried for this long.
    pub(crate) fn take(&mut self, to: &Endpoint, patience: Duration) -> Result<(Peer, bool), PeerError> {
        let idle = self.idle.remove(&to.address).filter(|peer| peer.answers.to == *to);
        match idle.as_ref().map(|peer| peer.answers.ended.get()) {
            Some(None) => return Ok((idle.expect("just looked at"), true)),
            Some(Some(Ended { since, silent: true, why })) => {
                self.down.insert(to.address.clone(), (*since + DOWN_FOR, why.clone()));
            }
            _ => {}
        }
        Ok((self.dial(to, patience)?, false))
    }

    /// Keeps a connection for the next time.
    pub(crate) fn put(&mut self, peer: Peer) {
        if self.idle.len() >= PEERS_MAX {
            self.idle.clear();
        }
        self.idle.insert(peer.answers.to.address.clone(), peer);
    }

    fn dial(&mut self, to: &Endpoint, patience: Duration) -> Result<Peer, PeerError> {
        let lost = |why| PeerError::Lost(unreachable(to, why));
        let now = Instant::now();
        self.down.retain(|_, (until, _)| now < *until);
        if let Some((_, why)) = self.down.get(&to.address) {
            return Err(lost(format!("{why}, a moment ago")));
        }
        let stream = net::dial(&to.address, now + patience).map_err(|e| {
            let why = format!("cannot connect: {e}");
            self.down.insert(to.address.clone(), (now + DOWN_FOR, why.clone()));
            lost(why)
        })?;
        let peer = self.introduce(to, stream)?;
        if self.shared_memory
            && let Some(name) = peer.answers.shared_memory()
        {
            let here = Stream::connect_here(&name, Instant::now() + SHARED_MEMORY_TIMEOUT);
            match here.map_err(|e| lost(e.to_string())).and_then(|stream| self.introduce(to, stream)) {
                Ok(here) => return Ok(here),
                Err(error) => debug!("staying with TCP: {}", error.into_error()),
            }
        }
        Ok(peer)
    }

    /// Sends HELLO; the answer is read before the first reply.
    fn introduce(&self, to: &Endpoint, stream: impl Into<Stream>) -> Result<Peer, PeerError> {
        let lost = |e: io::Error| PeerError::Lost(unreachable(to, e));
        let (receiver, mut writer) = self.sockets.open(stream, self.me.as_str(), to.worker.as_str()).map_err(lost)?;
        let hello = Hello { worker: Some(self.me.clone()), ..Hello::new(Role::Worker) };
        writer.write(&Message::new(hello), &[]).map_err(lost)?;
        let (stream, inbox) = (writer.stream().clone(), Mutex::new(Inbox { receiver, greeted: false }));
        let answers = Arc::new(Answers { to: to.clone(), stream, inbox, ended: OnceLock::new() });
        Ok(Peer { writer, last_id: 0, answers })
    }
}
