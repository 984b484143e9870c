//! The sockets of the link to the master: one thread that connects and then reads, one that writes.

use crate::agent::{DIAL_TIMEOUT, Event};
use crate::driver::{Events, Line};
use crate::sockets::{Sockets, Writer};
use crossbeam_channel::{Receiver, Sender};
use protocol::net;
use protocol::{Incoming, Message, WorkerId};
use std::io;
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

    fn connect(&self, link: u64, address: &str) -> io::Result<(net::Receiver, Sender<Message>)> {
        let stream = net::dial(address, Instant::now() + DIAL_TIMEOUT)?;
        let local = stream.local_addr().ok();
        let (receiver, writer) = self.sockets.open(stream, self.worker.as_str(), "master")?;
        let (queue, messages) = crossbeam_channel::bounded(QUEUE_MESSAGES);
        let line = Line::new(queue.clone(), writer.stream().clone());
        let events = self.events.clone();
        thread::Builder::new().name("control-writer".into()).spawn(move || write(link, writer, messages, events))?;
        self.events.opened(link, local, line);
        Ok((receiver, queue))
    }

    /// Passes on what the master says; gives the reason why that ended.
    fn read(&self, link: u64, mut receiver: net::Receiver, queue: &Sender<Message>) -> String {
        loop {
            // No deadline: a master may have nothing to say for hours, and keepalive tells when it is gone.
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
                    log::warn!("refused a message of the master: {error}");
                    if queue.try_send(Message::reply(&head, error)).is_err() {
                        return "it does not read what this worker sends".to_string();
                    }
                }
                Ok(None) => return "it closed the connection".to_string(),
                Err(e) => return e.to_string(),
            }
        }
    }
}

/// Writes what is queued until the link is closed.
fn write(link: u64, mut writer: Writer, messages: Receiver<Message>, events: Events) {
    for message in messages {
        if let Err(e) = writer.write(&message, &[]) {
            net::hang_up(writer.stream());
            return events.send(Event::LinkClosed { link, why: format!("writing to it failed: {e}") });
        }
    }
}
