//! The driver's queue, as everybody else sees it.

use crate::agent::Event;
use crate::original::Reply;
use crossbeam_channel::Sender;
use protocol::Message;
use protocol::net::{self, Stream};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a thread waits until the driver has taken note of something. The driver never waits, so this only
/// ends when the machine is overloaded beyond use.
const NOTE_TIMEOUT: Duration = Duration::from_secs(10);

/// What the driver is woken by.
pub(crate) enum Input {
    /// Something happened.
    Event(Event),
    /// Something happened, and somebody waits until everything about it is queued.
    Noted(Event, Sender<()>),
    /// A connection to the master exists.
    Opened { link: u64, local: Option<SocketAddr>, line: Line },
    /// End at once.
    Abort,
}

/// The driver's queue, as everybody else sees it. Who sends into a full queue waits.
#[derive(Clone)]
pub(crate) struct Events(Sender<Input>);

impl Events {
    pub(crate) fn new(queue: Sender<Input>) -> Events {
        Events(queue)
    }

    /// Tells of an event. When the driver has ended, nobody needs to know.
    pub(crate) fn send(&self, event: Event) {
        let _ = self.0.send(Input::Event(event));
    }

    /// Tells of an event and waits until its effects are performed: what it has to say to the master is
    /// queued then. False when the driver has ended.
    pub(crate) fn note(&self, event: Event) -> bool {
        let (done, is_done) = crossbeam_channel::bounded(1);
        self.0.send(Input::Noted(event, done)).is_ok() && is_done.recv_timeout(NOTE_TIMEOUT).is_ok()
    }

    pub(crate) fn opened(&self, link: u64, local: Option<SocketAddr>, line: Line) {
        let _ = self.0.send(Input::Opened { link, local, line });
    }

    /// Ends the driver.
    pub(crate) fn abort(&self) {
        let _ = self.0.send(Input::Abort);
    }
}

/// What goes to the master.
pub(crate) enum Outgoing {
    /// A message of level 2.
    Message(Message),
    /// A line for an original master; the driver is told when it is written.
    Reply { reply: Reply, short: bool },
}

/// The writing end of a connection to the master. Dropping it hangs up.
pub(crate) struct Line {
    pub(crate) queue: Sender<Outgoing>,
    stream: Arc<Stream>,
}

impl Line {
    pub(crate) fn new(queue: Sender<Outgoing>, stream: Arc<Stream>) -> Line {
        Line { queue, stream }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        net::hang_up(&*self.stream);
    }
}
