//! The sockets of the link to the master: one thread that connects and then reads, one that writes.

use crate::agent::{DIAL_TIMEOUT, Event};
use crate::lock;
use crate::original::{Heard, Reply};
use crate::queue::{Events, Line, Outgoing};
use crate::sockets::{Sockets, Writer};
use crate::store::{Room, Store};
use crossbeam_channel::{Receiver, Sender};
use log::warn;
use protocol::level1::{self, LINE_BYTES_MAX, Level, LineReader, Opened};
use protocol::net::{self, DeadlineStream, Stream};
use protocol::{FrameReader, Incoming, Message, WireError, WorkerId};
use std::io;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

/// Messages that wait to be written. The answers to a plan of a thousand segments fit; a master that takes no
/// more than that within the time of a write is as good as gone, and the link is closed.
const QUEUE_MESSAGES: usize = 1024;

/// Everything a link needs.
pub(crate) struct Dialer {
    pub(crate) worker: WorkerId,
    pub(crate) sockets: Sockets,
    pub(crate) events: Events,
    /// For the memory of what an original master sends inside its lines.
    pub(crate) store: Arc<Mutex<Store>>,
}

impl Dialer {
    /// Connects, then reads until the connection ends. Runs on a thread of its own.
    pub(crate) fn run(self, link: u64, address: &str) {
        let ended = match self.connect(link, address) {
            Ok((receiver, queue)) => Event::LinkClosed { link, why: self.read(link, receiver, &queue) },
            Err(e) => Event::LinkFailed { link, why: e.to_string() },
        };
        self.events.send(ended);
    }

    fn connect(&self, link: u64, address: &str) -> io::Result<(net::Receiver<Stream>, Sender<Outgoing>)> {
        let stream = net::dial(address, Instant::now() + DIAL_TIMEOUT)?;
        // A master that has not answered yet, and an original one, is heard of on this connection alone.
        net::notice_loss(&stream)?;
        let local = stream.local_addr().ok();
        let (receiver, writer) = self.sockets.open(stream, self.worker.as_str(), "master")?;
        let (queue, outgoing) = crossbeam_channel::bounded(QUEUE_MESSAGES);
        let line = Line::new(queue.clone(), writer.stream().clone());
        let (worker, events) = (self.worker.clone(), self.events.clone());
        let name = "control-writer".to_string();
        thread::Builder::new().name(name).spawn(move || write(&worker, link, writer, outgoing, events))?;
        self.events.opened(link, local, line);
        Ok((receiver, queue))
    }

    /// Passes on what the master says; gives the reason why that ended. How it speaks its first line tells. There is
    /// no deadline: a master may have nothing to say for hours, and keepalive tells when it is gone.
    fn read(&self, link: u64, receiver: net::Receiver<Stream>, queue: &Sender<Outgoing>) -> String {
        match level1::introduction(receiver.into_inner(), None) {
            Ok(Some((Level::Two, stream))) => self.read_messages(link, FrameReader::new(stream), queue),
            Ok(Some((Level::One, stream))) => self.read_lines(link, LineReader::new(stream, LINE_BYTES_MAX)),
            Ok(None) => "it closed the connection".to_string(),
            Err(e) => format!("the connection failed: {e}"),
        }
    }

    /// Level 2.
    fn read_messages(
        &self,
        link: u64,
        mut receiver: FrameReader<Opened<DeadlineStream<Stream>>>,
        queue: &Sender<Outgoing>,
    ) -> String {
        loop {
            match receiver.read(None) {
                Ok(Some(Incoming::Message(message))) => {
                    if let Some(payload) = &message.head.payload
                        && let Err(e) = receiver.skip_payload(payload)
                    {
                        return e.to_string();
                    }
                    // Waits if the queue is full, and so makes the master wait.
                    self.events.send(Event::Received { link, message });
                }
                Ok(Some(Incoming::Refused { head, error })) => {
                    warn!("refused a message of the master: {error}");
                    if queue.try_send(Outgoing::Message(Message::reply(&head, error))).is_err() {
                        return "it does not read what this worker sends".to_string();
                    }
                }
                Ok(None) => return "it closed the connection".to_string(),
                Err(e) => return e.to_string(),
            }
        }
    }

    /// Level 1. A line that makes no sense is of no master if it is the first, and is left out later.
    fn read_lines(&self, link: u64, mut reader: LineReader<Opened<DeadlineStream<Stream>>>) -> String {
        let mut is_first = true;
        loop {
            let mut list = ListRoom { store: &self.store, granted: 0, rooms: Vec::new() };
            let heard = match reader.read(None, &mut |bytes| list.grow_to(bytes)) {
                Ok(Some(level1::Incoming::Line(line))) => Heard::new(line, |bytes| lock(&self.store).make_room(bytes)),
                Ok(Some(level1::Incoming::Refused(error))) => Err(error),
                Ok(Some(level1::Incoming::TooLong(error))) => return error.to_string(),
                Ok(None) => return "it closed the connection".to_string(),
                Err(e) => return format!("the connection failed: {e}"),
            };
            drop(list); // its numbers are elements now, with a room of their own
            match heard {
                Ok(heard) => self.events.send(Event::Heard { link, heard }),
                Err(error) if is_first => return format!("its first line is no message: {error}"),
                Err(error) => warn!("left out a line of the original master: {error}"),
            }
            is_first = false;
        }
    }
}

/// Memory for the numbers of one line while they are read.
struct ListRoom<'a> {
    store: &'a Mutex<Store>,
    granted: u64,
    rooms: Vec<Room>,
}

impl ListRoom<'_> {
    fn grow_to(&mut self, bytes: u64) -> Result<(), WireError> {
        self.rooms.push(lock(self.store).make_room(bytes - self.granted)?);
        self.granted = bytes;
        Ok(())
    }
}

impl Drop for ListRoom<'_> {
    fn drop(&mut self) {
        let mut store = lock(self.store);
        self.rooms.drain(..).for_each(|room| store.release(room));
    }
}

/// Writes what is queued until the link is closed.
fn write(worker: &WorkerId, link: u64, mut writer: Writer, queue: Receiver<Outgoing>, events: Events) {
    for outgoing in queue {
        let written = match outgoing {
            Outgoing::Message(message) => writer.write(&message, &[]),
            Outgoing::Reply { reply, short } => {
                write_reply(worker, &mut writer, reply, short).map(|()| events.send(Event::Written { link }))
            }
        };
        if let Err(e) = written {
            net::hang_up(&**writer.stream());
            return events.send(Event::LinkClosed { link, why: format!("writing to it failed: {e}") });
        }
    }
}

fn write_reply(worker: &WorkerId, writer: &mut Writer, reply: Reply, short: bool) -> io::Result<()> {
    match reply.to_line(worker.as_str(), short) {
        Some(line) => writer.write_line(&line),
        None => {
            warn!("a reply is not sent: even without values its line is longer than the master can read");
            Ok(())
        }
    }
}
