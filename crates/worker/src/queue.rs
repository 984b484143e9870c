//! The driver's queue, as everybody else sees it.

use crate::agent::Event;
use crate::original::Reply;
use crossbeam_channel::{Receiver, Sender};
use protocol::{Message, net};
use std::net::{SocketAddr, TcpStream};
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

    /// Tells of an event whose effects somebody must be sure of later.
    pub(crate) fn note(&self, event: Event) -> Noted {
        let (done, is_done) = crossbeam_channel::bounded(1);
        let _ = self.0.send(Input::Noted(event, done));
        Noted(is_done)
    }

    pub(crate) fn opened(&self, link: u64, local: Option<SocketAddr>, line: Line) {
        let _ = self.0.send(Input::Opened { link, local, line });
    }

    /// Ends the driver.
    pub(crate) fn abort(&self) {
        let _ = self.0.send(Input::Abort);
    }
}

/// An event that the driver has been told of, see [`Events::note`].
pub(crate) struct Noted(Receiver<()>);

impl Noted {
    /// Waits until its effects are performed: what there is to say to the master is queued then. False when the driver has
    /// ended.
    pub(crate) fn wait(self) -> bool {
        self.0.recv_timeout(NOTE_TIMEOUT).is_ok()
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
    stream: Arc<TcpStream>,
}

impl Line {
    pub(crate) fn new(queue: Sender<Outgoing>, stream: Arc<TcpStream>) -> Line {
        Line { queue, stream }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        net::hang_up(&self.stream);
    }
}
