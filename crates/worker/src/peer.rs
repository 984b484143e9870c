//! Connections to the data ports of other workers: through shared memory to those of this machine, over TCP to all others.

use crate::sockets::{Sockets, Writer};
use log::debug;
use protocol::frame::is_timeout;
use protocol::limits::{CONNECT_TIMEOUT, SHARED_MEMORY_TIMEOUT};
use protocol::message::client::Endpoint;
use protocol::message::{Hello, Role};
use protocol::net::{self, Receiver, Stream};
use protocol::{Body, ErrorCode, FrameError, Incoming, Message, Payload, WireError, WorkerId};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Connections kept per thread. A cluster has fewer workers than that in most cases; otherwise some are
/// opened anew.
const PEERS_MAX: usize = 64;

/// A worker that could not be connected to is not tried again for this long, so that a hundred segments for a
/// dead one do not wait for it a hundred times.
const DOWN_FOR: Duration = Duration::from_secs(2);

/// How long the first bytes of an answer may take that needs no work on the other side: after a second of silence the
/// master takes a worker for dead too.
pub(crate) const REPLY_TIMEOUT: Duration = Duration::from_secs(1);

/// Why an exchange with another worker failed.
#[derive(Debug)]
pub(crate) enum PeerError {
    /// The connection is no more, or of no use.
    Lost(WireError),
    /// The other worker said no. The connection lives.
    Refused(WireError),
}

impl PeerError {
    /// What to tell others.
    pub(crate) fn into_error(self) -> WireError {
        match self {
            PeerError::Lost(error) | PeerError::Refused(error) => error,
        }
    }
}

fn lost(to: &Endpoint, why: impl std::fmt::Display) -> PeerError {
    let mut error = WireError::new(ErrorCode::Internal, format!("worker {} at {}: {why}", to.worker, to.address));
    error.retryable = true; // another worker, or the same a little later
    PeerError::Lost(error.workers([to.worker.clone()]))
}

/// One connection, and what is under way on it.
pub(crate) struct Peer {
    to: Endpoint,
    receiver: Receiver<Stream>,
    writer: Writer,
    /// Whether the answer to HELLO has been read.
    greeted: bool,
    last_id: u64,
    /// Tells connections to the same worker apart.
    generation: u64,
}

impl Peer {
    /// Which of the connections of its [`Peers`].
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Sends a request; gives its id.
    pub(crate) fn send(&mut self, message: Message, elements: &[u8]) -> Result<u64, PeerError> {
        self.last_id += 1;
        let message = message.with_id(Some(self.last_id));
        self.writer.write(&message, elements).map_err(|e| lost(&self.to, format!("sending failed: {e}")))?;
        Ok(self.last_id)
    }

    /// Waits for the reply to a request; replies come in the order of the requests.
    pub(crate) fn receive(&mut self, id: u64, deadline: Instant) -> Result<Message, PeerError> {
        if !self.greeted {
            self.check_hello(deadline)?;
        }
        let reply = self.read(deadline)?;
        match reply.body {
            _ if reply.head.id != Some(id) => Err(lost(&self.to, format!("it answered {:?}, not {id}", reply.head.id))),
            Body::Error(error) => Err(PeerError::Refused(error)),
            _ => Ok(reply),
        }
    }

    fn check_hello(&mut self, deadline: Instant) -> Result<(), PeerError> {
        let answer = self.receiver.read(Some(deadline));
        self.take_hello(answer).map(|_| ())
    }

    /// The name under which the other worker can be reached through shared memory, if it has answered HELLO and said one within
    /// a moment.
    fn shared_memory(&mut self) -> Result<Option<String>, PeerError> {
        match self.receiver.read(Some(Instant::now() + SHARED_MEMORY_TIMEOUT)) {
            Err(FrameError::Io(e)) if is_timeout(&e) => Ok(None),
            answer => Ok(self.take_hello(answer)?.shared_memory),
        }
    }

    fn take_hello(&mut self, answer: Result<Option<Incoming>, FrameError>) -> Result<Hello, PeerError> {
        let answer = self.message(answer)?;
        self.greeted = true;
        match answer.body {
            Body::Hello(hello) => match &hello.worker {
                Some(worker) if *worker == self.to.worker => Ok(hello),
                // A port is given to another program when its owner has ended.
                Some(other) => Err(lost(&self.to, format!("worker {other} answered"))),
                None => Err(lost(&self.to, "it answered HELLO with HELLO of no worker")),
            },
            Body::Error(error) => Err(lost(&self.to, error)),
            other => Err(lost(&self.to, format!("it answered HELLO with {}", other.kind()))),
        }
    }

    fn read(&mut self, deadline: Instant) -> Result<Message, PeerError> {
        let answer = self.receiver.read(Some(deadline));
        self.message(answer)
    }

    fn message(&self, answer: Result<Option<Incoming>, FrameError>) -> Result<Message, PeerError> {
        match answer {
            Ok(Some(Incoming::Message(message))) => Ok(message),
            Ok(Some(Incoming::Refused { error, .. })) => Err(lost(&self.to, error)),
            Ok(None) => Err(lost(&self.to, "the connection has ended")),
            Err(e) => Err(lost(&self.to, e)),
        }
    }

    /// Reads the payload of the last reply.
    pub(crate) fn read_payload(&mut self, payload: &Payload, into: &mut [u8]) -> Result<(), PeerError> {
        self.receiver.read_payload(payload, into).map_err(|e: FrameError| lost(&self.to, e))
    }
}

/// The connections of one thread, kept for reuse.
pub(crate) struct Peers {
    me: WorkerId,
    sockets: Sockets,
    /// Whether to use shared memory where that is possible.
    shared_memory: bool,
    open: HashMap<String, Peer>,
    /// Addresses that could not be connected to: until when they are left alone, and why.
    down: HashMap<String, (Instant, String)>,
    generations: u64,
}

impl Peers {
    /// None yet. With `shared_memory`, those of this machine will go through it.
    pub(crate) fn new(me: WorkerId, sockets: Sockets, shared_memory: bool) -> Peers {
        Peers { me, sockets, shared_memory, open: HashMap::new(), down: HashMap::new(), generations: 0 }
    }

    /// The connection to a worker, if it is still that one.
    pub(crate) fn get(&mut self, to: &Endpoint, generation: u64) -> Result<&mut Peer, PeerError> {
        let peer = self.open.get_mut(&to.address).filter(|peer| peer.generation == generation);
        peer.ok_or_else(|| lost(to, "the connection has ended"))
    }

    /// A connection to a worker, and whether it was there before. One that was may turn out to be dead when
    /// it is used.
    pub(crate) fn connect(&mut self, to: &Endpoint) -> Result<(&mut Peer, bool), PeerError> {
        let reused = self.open.get(&to.address).is_some_and(|peer| peer.to == *to);
        if !reused {
            let peer = self.dial(to)?;
            if self.open.len() >= PEERS_MAX {
                self.open.clear();
            }
            self.open.insert(to.address.clone(), peer);
        }
        Ok((self.open.get_mut(&to.address).expect("just looked up"), reused))
    }

    /// Closes a connection that failed.
    pub(crate) fn close(&mut self, to: &Endpoint) {
        self.open.remove(&to.address);
    }

    fn dial(&mut self, to: &Endpoint) -> Result<Peer, PeerError> {
        let now = Instant::now();
        self.down.retain(|_, (until, _)| now < *until);
        if let Some((_, why)) = self.down.get(&to.address) {
            return Err(lost(to, format!("{why}, a moment ago")));
        }
        let stream = net::dial(&to.address, now + CONNECT_TIMEOUT).map_err(|e| {
            let why = format!("cannot connect: {e}");
            self.down.insert(to.address.clone(), (now + DOWN_FOR, why.clone()));
            lost(to, why)
        })?;
        let mut peer = self.introduce(to, stream.into())?;
        if self.shared_memory
            && let Some(name) = peer.shared_memory()?
        {
            let here = Stream::connect_here(&name, Instant::now() + SHARED_MEMORY_TIMEOUT);
            match here.map_err(|e| lost(to, e)).and_then(|stream| self.introduce(to, stream)) {
                Ok(here) => return Ok(here),
                Err(error) => debug!("staying with TCP: {}", error.into_error()),
            }
        }
        Ok(peer)
    }

    /// Sends HELLO; the answer is read before the first reply.
    fn introduce(&mut self, to: &Endpoint, stream: Stream) -> Result<Peer, PeerError> {
        let opened = self.sockets.open(stream, self.me.as_str(), to.worker.as_str());
        let (receiver, mut writer) = opened.map_err(|e| lost(to, e))?;
        let hello = Hello { worker: Some(self.me.clone()), ..Hello::new(Role::Worker) };
        writer.write(&Message::new(hello), &[]).map_err(|e| lost(to, e))?;
        self.generations += 1;
        Ok(Peer { to: to.clone(), receiver, writer, greeted: false, last_id: 0, generation: self.generations })
    }
}
