//! The sockets of the link to the master: one thread that connects and then reads; one more that writes long lines, to masters of
//! the original system only.

use crate::agent::{DIAL_TIMEOUT, Event};
use crate::driver::{Driver, Listener};
use crate::lock;
use crate::original::{Heard, Reply};
use crate::sockets::{Sockets, Writer};
use crate::store::{Room, Store};
use crossbeam_channel::{Receiver, Sender, TrySendError};
use log::warn;
use protocol::level1::{self, LINE_BYTES_MAX, Level, LineReader, Opened};
use protocol::net::{self, DeadlineStream, Stream};
use protocol::outbox::Outbox;
use protocol::{FrameReader, FrameWriter, Incoming, Message, WireError, WorkerId};
use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

/// Replies to an original master that wait to be written; the agent lets one wait at a time.
const QUEUE_REPLIES: usize = 16;

/// The writing end of a connection to the master. Dropping it hangs up.
pub(crate) struct Line {
    /// Messages of level 2.
    pub(crate) messages: FrameWriter<Outbox>,
    worker: WorkerId,
    link: u64,
    stream: Arc<Stream>,
    /// For lines of level 1, until there is a thread that writes them: making and writing one takes longer than a step may.
    writer: Option<Writer>,
    replies: Option<Sender<(Reply, bool)>>,
}

impl Line {
    fn new(worker: WorkerId, link: u64, stream: TcpStream, writer: Writer) -> Line {
        let outbox = Outbox::new(stream, "control-writer");
        let messages = FrameWriter::new(outbox, worker.as_str(), "master");
        Line { messages, worker, link, stream: writer.stream().clone(), writer: Some(writer), replies: None }
    }

    /// Has a reply to an original master written; `driver` is told when it is.
    pub(crate) fn reply(&mut self, reply: Reply, short: bool, driver: &Arc<Driver>) -> io::Result<()> {
        if let Some(writer) = self.writer.take() {
            let (replies, to_write) = crossbeam_channel::bounded(QUEUE_REPLIES);
            let (worker, link, driver) = (self.worker.clone(), self.link, driver.clone());
            let name = "control-replies".to_string();
            thread::Builder::new().name(name).spawn(move || write(&worker, link, writer, to_write, &driver))?;
            self.replies = Some(replies);
        }
        match self.replies.as_ref().map(|replies| replies.try_send((reply, short))) {
            Some(Err(TrySendError::Full(_))) => Err(io::Error::other("it does not read its lines")),
            _ => Ok(()), // a thread that has ended has said why
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        net::hang_up(&*self.stream);
    }
}

/// Everything a link needs.
pub(crate) struct Dialer {
    pub(crate) worker: WorkerId,
    pub(crate) sockets: Sockets,
    pub(crate) driver: Arc<Driver>,
    /// For the memory of what an original master sends inside its lines.
    pub(crate) store: Arc<Mutex<Store>>,
}

impl Dialer {
    /// Connects, then reads until the connection ends. Runs on a thread of its own.
    pub(crate) fn run(self, link: u64, address: &str) {
        let ended = match self.connect(link, address) {
            Ok(receiver) => Event::LinkClosed { link, why: self.read(link, receiver) },
            Err(e) => Event::LinkFailed { link, why: e.to_string() },
        };
        self.driver.tell(ended);
    }

    fn connect(&self, link: u64, address: &str) -> io::Result<net::Receiver<Stream>> {
        let stream = net::dial(address, Instant::now() + DIAL_TIMEOUT)?;
        // A master that has not answered yet, and an original one, is heard of on this connection alone.
        net::notice_loss(&stream)?;
        let local = stream.local_addr().ok();
        let for_line = stream.try_clone()?;
        let (receiver, writer) = self.sockets.open(stream, self.worker.as_str(), "master")?;
        self.driver.open(link, local, Line::new(self.worker.clone(), link, for_line, writer));
        Ok(receiver)
    }

    /// Passes on what the master says; gives the reason why that ended. How it speaks its first line tells. There is
    /// no deadline: a master may have nothing to say for hours, and keepalive tells when it is gone.
    fn read(&self, link: u64, receiver: net::Receiver<Stream>) -> String {
        match level1::introduction(receiver.into_inner(), None) {
            Ok(Some((Level::Two, stream))) => self.read_messages(link, FrameReader::new(stream)),
            Ok(Some((Level::One, stream))) => self.read_lines(link, LineReader::new(stream, LINE_BYTES_MAX)),
            Ok(None) => "it closed the connection".to_string(),
            Err(e) => format!("the connection failed: {e}"),
        }
    }

    /// Level 2.
    fn read_messages(&self, link: u64, mut receiver: FrameReader<Opened<DeadlineStream<Stream>>>) -> String {
        loop {
            match receiver.read(None) {
                Ok(Some(Incoming::Message(mut message))) => {
                    if let Err(e) = receiver.take_elements(&mut message, 0) {
                        return e.to_string();
                    }
                    if !self.driver.tell(Event::Received { link, message }) {
                        return "this worker has ended".to_string();
                    }
                }
                Ok(Some(Incoming::Refused { head, error })) => {
                    warn!("refused a message of the master: {error}");
                    self.driver.send(link, &Message::reply(&head, error));
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
                Ok(heard) => {
                    if !self.driver.tell(Event::Heard { link, heard }) {
                        return "this worker has ended".to_string();
                    }
                }
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

/// Writes replies until the link is closed.
fn write(worker: &WorkerId, link: u64, mut writer: Writer, queue: Receiver<(Reply, bool)>, driver: &Arc<Driver>) {
    for (reply, short) in queue {
        if let Err(e) = write_reply(worker, &mut writer, reply, short) {
            net::hang_up(&**writer.stream());
            driver.tell(Event::LinkClosed { link, why: format!("writing to it failed: {e}") });
            return;
        }
        driver.tell(Event::Written { link });
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
