//! The control connection: what [`Session`] decides, done with a socket, the clock and two threads.
//!
//! - A **caller** steps the session under its mutex and writes the request to the socket itself. Then it reads the replies, unless
//!   somebody else does: its own mostly comes next, and no other thread has to be woken.
//! - The **link** thread dials when told to, and reads while there are answers to come that no caller reads.
//! - The **timer** thread steps the session with a tick when its next deadline comes.
//!
//! The mutex is held for a step and the writing of what it gave: small lines, with a deadline. The reading end lies in it while nobody
//! reads. So the loss of a connection on which nothing is asked is noticed when something is.

use crate::cancel::Cancel;
use crate::error::{CallError, Waiting};
use crate::retry::{Effect, Event, Session};
use crossbeam_channel::{Receiver, Sender, at, bounded, select};
use protocol::frame::is_timeout;
use protocol::id::request_name;
use protocol::limits::{CONNECT_TIMEOUT, INLINE_BYTES_MAX};
use protocol::{Body, FrameError, Incoming, Message, SessionId, net};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A write to the master that makes no progress for so long has lost it. Lines are small, so the socket's buffer takes
/// them at once unless the master has not read for a long time.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a caller listens beyond the moment when the session must have ended his call: a defence against our own
/// mistakes, never reached without one.
const FINISH_GRACE: Duration = Duration::from_secs(5);

/// A caller that reads looks so often whether it is cancelled, or its time is over.
const LOOK_UP: Duration = Duration::from_millis(100);

/// The answer to one call: the caller's number for it, and the reply.
pub(crate) type Answer = (u64, Result<Message, CallError>);

/// The control connection of one cluster.
pub(crate) struct Control {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    epoch: Instant,
    masters: Vec<String>,
    core: Mutex<Core>,
    /// Wakes the timer when the next deadline has come nearer.
    timer: Condvar,
    /// Wakes the link thread when somebody has to read, or the connection is lost.
    link: Condvar,
    /// To the link thread. At most one order to connect is open at a time, and one to end.
    orders: Sender<Order>,
}

/// What the mutex guards.
struct Core {
    session: Session,
    writer: Option<net::Sender>,
    /// The reading end, while nobody reads.
    reader: Option<net::Receiver>,
    /// How the connection has ended; the link thread deals with it.
    lost: Option<String>,
    /// Where the answers go, by the session's call numbers; each takes one without blocking.
    waiting: HashMap<u64, Waiter>,
    next_call: u64,
    /// When the timer will wake up.
    timer_at: Option<Duration>,
    /// The link thread is in the middle of dialling, which cannot be interrupted.
    dialling: bool,
    closed: bool,
}

struct Waiter {
    tag: u64,
    answers: Sender<Answer>,
}

enum Order {
    Connect(usize),
    End,
}

impl Control {
    /// Starts the threads; nothing is dialled before the first call.
    pub(crate) fn start(masters: Vec<String>, session: SessionId) -> io::Result<Control> {
        let seed = session.as_u128() as u64 ^ (session.as_u128() >> 64) as u64;
        let (orders, inbox) = bounded(2);
        let core = Core {
            session: Session::new(session, masters.len(), seed),
            writer: None,
            reader: None,
            lost: None,
            waiting: HashMap::new(),
            next_call: 1,
            timer_at: None,
            dialling: false,
            closed: false,
        };
        let (core, timer, link) = (Mutex::new(core), Condvar::new(), Condvar::new());
        let shared = Arc::new(Shared { epoch: Instant::now(), masters, core, timer, link, orders });
        let mut control = Control { shared: shared.clone(), threads: Vec::new() };
        let link = shared.clone();
        control.threads.push(spawn("client-link", move || link.run_link(&inbox))?);
        control.threads.push(spawn("client-timer", move || shared.run_timer())?);
        Ok(control)
    }

    /// The time of the state machines.
    pub(crate) fn now(&self) -> Duration {
        self.shared.now()
    }

    /// A time of the state machines as the clock's.
    pub(crate) fn instant(&self, at: Duration) -> Instant {
        self.shared.epoch + at
    }

    /// The name of the session.
    pub(crate) fn session(&self) -> SessionId {
        self.shared.lock().session.id()
    }

    /// Asks the master and waits for the answer, until `deadline` (and a moment longer for the master's own account of
    /// what it is waiting for). When it is cancelled, the deadline has come.
    pub(crate) fn call(&self, body: Body, deadline: Duration, cancel: &Cancel) -> Result<Message, CallError> {
        let (sender, receiver) = bounded(1);
        let (call, reader) = {
            let mut core = self.shared.lock();
            let call = self.shared.call(&mut core, 0, body, deadline, sender);
            (call, core.take_reader())
        };
        if let Some(reader) = reader {
            let done = || !receiver.is_empty() || cancel.is_cancelled() || self.now() > deadline + FINISH_GRACE;
            self.shared.read_until(reader, done);
        }
        select! {
            recv(receiver) -> answer => if let Ok((_, result)) = answer {
                return result;
            },
            recv(cancel.cancelled) -> _ => {}
            recv(at(self.instant(deadline) + FINISH_GRACE)) -> _ => {
                log::error!("call {call} was not ended by its deadline: a bug in this client");
            }
        }
        self.give_up(call);
        Err(CallError::Deadline(Waiting::Answer))
    }

    /// Asks the master; the answer comes into `answers` with `tag`. There must be room for it.
    pub(crate) fn ask(&self, tag: u64, body: Body, deadline: Duration, answers: Sender<Answer>) -> u64 {
        let mut core = self.shared.lock();
        let call = self.shared.call(&mut core, tag, body, deadline, answers);
        self.shared.link.notify_all();
        call
    }

    /// The caller is not interested in the answer any more.
    pub(crate) fn give_up(&self, call: u64) {
        let mut core = self.shared.lock();
        core.waiting.remove(&call);
        self.shared.step(&mut core, Event::GiveUp { call });
    }
}

impl Drop for Control {
    /// Closes the connection and ends the threads. Only a dial under way is not waited for; it ends by itself.
    fn drop(&mut self) {
        let dialling = {
            let mut core = self.shared.lock();
            core.closed = true;
            if let Some(writer) = &core.writer {
                net::hang_up(writer.get_ref());
            }
            core.dialling
        };
        // Room is certain: at most one Connect can be before it.
        let _ = self.shared.orders.try_send(Order::End);
        self.shared.timer.notify_all();
        self.shared.link.notify_all();
        for thread in self.threads.drain(..) {
            if !dialling {
                let _ = thread.join();
            }
        }
    }
}

/// Starts a thread.
pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_string()).spawn(run)
}

impl Core {
    /// The reading end, for whoever will read now; none if somebody does, or there is nothing more to read.
    fn take_reader(&mut self) -> Option<net::Receiver> {
        self.reader.take_if(|_| self.lost.is_none())
    }
}

impl Shared {
    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        // A caller that panicked in the middle of a step leaves the session as it was: the next step goes on from there.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_and_step(&self, event: Event) {
        self.step(&mut self.lock(), event);
    }

    /// Begins a call; gives its number.
    fn call(&self, core: &mut Core, tag: u64, body: Body, deadline: Duration, answers: Sender<Answer>) -> u64 {
        let call = core.next_call;
        core.next_call += 1;
        core.waiting.insert(call, Waiter { tag, answers });
        self.step(core, Event::Call { call, body, deadline });
        call
    }

    /// Steps the session and does what it says.
    fn step(&self, core: &mut Core, event: Event) {
        let effects = core.session.step(self.now(), event);
        for effect in effects {
            self.perform(core, effect);
        }
        let next = core.session.next_deadline();
        if next.is_some_and(|next| core.timer_at.is_none_or(|at| next < at)) {
            self.timer.notify_all();
        }
    }

    fn perform(&self, core: &mut Core, effect: Effect) {
        match effect {
            Effect::Connect { master } => {
                core.dialling = true;
                // Room is certain: the last order to connect has been reported on.
                let _ = self.orders.try_send(Order::Connect(master));
            }
            Effect::Disconnect => self.hang_up(core),
            Effect::Send(message) => {
                log::debug!("{} -> master: {}", name_of(core, &message), message.body.kind());
                let Some(writer) = &mut core.writer else { return };
                if let Err(e) = writer.write(&message) {
                    log::debug!("the master's connection failed while writing: {e}");
                    self.hang_up(core); // whoever reads notices
                }
            }
            Effect::Finish { call, result } => {
                let Some(waiter) = core.waiting.remove(&call) else {
                    return;
                };
                let _ = waiter.answers.try_send((waiter.tag, result));
            }
        }
    }

    fn hang_up(&self, core: &mut Core) {
        if let Some(writer) = &core.writer {
            net::hang_up(writer.get_ref());
        }
        if core.reader.is_some() {
            core.lost = Some("it was hung up".to_string());
            self.link.notify_all();
        }
    }

    /// Ticks, until the end.
    fn run_timer(&self) {
        let mut core = self.lock();
        while !core.closed {
            let (next, now) = (core.session.next_deadline(), self.now());
            core.timer_at = next;
            match next {
                Some(at) if at <= now => self.step(&mut core, Event::Tick),
                Some(at) => {
                    core = self.timer.wait_timeout(core, at - now).unwrap_or_else(PoisonError::into_inner).0;
                }
                // Nothing is waited for: the next call wakes us.
                None => core = self.timer.wait(core).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Dials and reads, until the end.
    fn run_link(&self, orders: &Receiver<Order>) {
        while let Ok(Order::Connect(master)) = orders.recv() {
            let address = &self.masters[master];
            let dialled = net::dial(address, Instant::now() + CONNECT_TIMEOUT)
                .and_then(|stream| net::split(stream, "client", "master"))
                .and_then(|(reader, writer)| {
                    writer.get_ref().set_write_timeout(Some(WRITE_TIMEOUT))?;
                    Ok((reader, writer))
                });
            match dialled {
                Ok((reader, writer)) => self.serve(address, reader, writer),
                Err(e) => {
                    let mut core = self.lock();
                    core.dialling = false;
                    self.step(&mut core, Event::ConnectFailed { why: format!("{address}: {}", plain(&e)) });
                }
            }
        }
    }

    /// One connection, from Connected to Disconnected. Reads while somebody waits and nobody reads.
    fn serve(&self, address: &str, reader: net::Receiver, writer: net::Sender) {
        let mut core = self.lock();
        core.dialling = false;
        if core.closed {
            return;
        }
        (core.writer, core.reader, core.lost) = (Some(writer), Some(reader), None);
        self.step(&mut core, Event::Connected);
        let why = loop {
            if let Some(why) = core.lost.take() {
                break why;
            }
            if core.closed {
                return;
            }
            let reader = if core.waiting.is_empty() { None } else { core.take_reader() };
            core = match reader {
                Some(reader) => {
                    drop(core);
                    self.read_until(reader, || self.lock().waiting.is_empty());
                    self.lock()
                }
                None => self.link.wait(core).unwrap_or_else(PoisonError::into_inner),
            };
        };
        log::debug!("the connection to the master at {address} has ended: {why}");
        (core.writer, core.reader) = (None, None);
        self.step(&mut core, Event::Disconnected { why: format!("{address}: {why}") });
    }

    /// Reads and steps the session with every message, until `done` or the end of the connection. Whoever waits still is left to the
    /// link thread.
    fn read_until(&self, mut reader: net::Receiver, done: impl Fn() -> bool) {
        let ended = loop {
            match read(&mut reader, Instant::now() + LOOK_UP) {
                Ok(Some(message)) => {
                    log::debug!("master -> {:?}: {}", message.head.id, message.body.kind());
                    self.lock_and_step(Event::Received(message));
                }
                Ok(None) => {}
                Err(why) => break Some(why),
            }
            if done() {
                break None;
            }
        };
        let mut core = self.lock();
        core.lost = ended;
        core.reader = core.lost.is_none().then_some(reader);
        if core.lost.is_some() || !core.waiting.is_empty() {
            self.link.notify_all();
        }
    }
}

/// The next message, if it begins in time; the error tells how the connection has ended. Silence is watched over by the session,
/// which hangs up.
fn read(reader: &mut net::Receiver, begins_by: Instant) -> Result<Option<Message>, String> {
    let mut message = match reader.read(Some(begins_by)) {
        Ok(Some(Incoming::Message(message))) => message,
        // An answer of a newer program that we do not understand is an answer.
        Ok(Some(Incoming::Refused { head, error })) => Message { head: *head, ..Message::new(error) },
        Ok(None) => return Err("it closed the connection".to_string()),
        Err(FrameError::Io(e)) if is_timeout(&e) && reader.is_between_frames() => return Ok(None),
        Err(e) => return Err(e.to_string()),
    };
    reader.take_elements(&mut message, INLINE_BYTES_MAX).map_err(|e| e.to_string())?;
    Ok(Some(message))
}

/// How logs name a request: as the master's do.
fn name_of(core: &Core, message: &Message) -> String {
    request_name(core.session.id(), message.head.id.unwrap_or(0))
}

/// An error without the "(os error 111)" that helps nobody.
pub(crate) fn plain(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_string(),
        io::ErrorKind::ConnectionReset => "connection reset".to_string(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "no answer in time".to_string(),
        _ => e.to_string(),
    }
}
