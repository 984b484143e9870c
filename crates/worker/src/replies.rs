//! What goes out on one connection of the data port, in the order of its requests.
//!
//! At first the thread that reads the requests also writes the replies. When the first segment is passed on to another
//! worker, the writing moves to a companion thread, and all replies go through one short queue: so the next segment is
//! received, and passed on, while the other worker stores this one, and replies stay in order. The companion waits for
//! other workers' answers, with a deadline; see [`crate::forward`].

use crate::data_port::Shared;
use crate::forward::{self, Forwarding};
use crate::peer::Peers;
use crate::sockets::Writer;
use crate::store::Segment;
use array::checksum::crc32c_append;
use crossbeam_channel::{Receiver, Sender};
use log::debug;
use protocol::limits::{BLOCK_BYTES, WRITE_TIMEOUT, payload_timeout};
use protocol::{Message, net};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// Replies that wait for the companion, and so the most segments but two that are under way to another worker: as many as
/// keep it busy while answers travel. Each has at most a reference to a copy that is stored anyway. When it is full, the
/// reader waits, and so the peer.
const QUEUE_REPLIES: usize = 8;

/// Something to send back.
pub(crate) enum Reply {
    /// A message.
    Message(Message),
    /// A message and some bytes of a copy, which it announces.
    Bytes(Message, Arc<Segment>, Range<usize>),
    /// A message and a whole copy, which is compared with its checksum on the way.
    Whole(Message, Arc<Segment>),
    /// SEGMENT_STORED, after everybody has the segment.
    Stored(Stored),
}

/// A segment that is stored here.
pub(crate) struct Stored {
    /// Who else shall get it.
    pub(crate) forwarding: Forwarding,
    pub(crate) segment: Arc<Segment>,
}

/// Where replies go.
pub(crate) struct Replies {
    shared: Arc<Shared>,
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
    /// Replies go straight to `writer`; `peers` will be used for segments that are not passed on while they arrive.
    pub(crate) fn new(writer: Writer, peers: Peers, shared: Arc<Shared>) -> Replies {
        Replies { shared, route: Route::Direct(writer), peers: Some(peers) }
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
        if matches!(&reply, Reply::Stored(stored) if stored.forwarding.is_open()) {
            self.make_companion()?;
        }
        let gone = || io::Error::other("the connection takes no more replies");
        match &mut self.route {
            Route::Direct(writer) => write(writer, reply, &self.shared),
            Route::Companion { queue, .. } => queue.send(reply).map_err(|_| gone()),
            Route::Gone => Err(gone()),
        }
    }

    fn make_companion(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.route, Route::Gone) {
            Route::Direct(writer) => {
                let (queue, replies) = crossbeam_channel::bounded(QUEUE_REPLIES);
                let peers = self.peers.take().expect("there is one companion per connection");
                let (shared, name) = (self.shared.clone(), "answer".to_string());
                let thread = thread::Builder::new().name(name).spawn(move || run(writer, peers, &shared, replies))?;
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

/// The companion: runs until the reader has no more; gives the writer back.
fn run(mut writer: Writer, mut peers: Peers, shared: &Shared, replies: Receiver<Reply>) -> Writer {
    for mut reply in replies {
        if let Reply::Stored(Stored { forwarding, segment, .. }) = &mut reply {
            forward::settle(&mut peers, forwarding, segment.buffer().as_bytes());
        }
        if let Err(e) = write(&mut writer, reply, shared) {
            debug!("a reply could not be written: {e}");
            net::hang_up(&**writer.stream());
            break; // the reader notices at its next reply
        }
    }
    writer
}

fn write(writer: &mut Writer, reply: Reply, shared: &Shared) -> io::Result<()> {
    match reply {
        Reply::Message(message) => writer.write(&message, &[]),
        Reply::Bytes(message, segment, range) => writer.write(&message, &segment.buffer().as_bytes()[range]),
        Reply::Whole(message, segment) => write_whole(writer, &message, &segment, shared),
        Reply::Stored(stored) => writer.write(&stored.forwarding.into_message(), &[]),
    }
}

/// Sends a whole copy block by block, and takes the checksum of each while it is in the cache: memory is read once. Of a broken copy
/// the last block is not sent, so nobody ever has all of it; the connection ends there.
fn write_whole(writer: &mut Writer, message: &Message, segment: &Arc<Segment>, shared: &Shared) -> io::Result<()> {
    let bytes = segment.buffer().as_bytes();
    let until = Instant::now() + payload_timeout(bytes.len() as u64).max(WRITE_TIMEOUT);
    let (mut crc32c, mut left) = (0, bytes.len());
    writer.begin(message)?;
    for block in bytes.chunks(BLOCK_BYTES) {
        crc32c = crc32c_append(crc32c, block);
        left -= block.len();
        if left == 0 && crc32c != segment.record().crc32c() {
            return Err(io::Error::other(shared.throw_away(segment).message));
        }
        writer.write_block(block, until.saturating_duration_since(Instant::now()))?;
    }
    Ok(())
}
