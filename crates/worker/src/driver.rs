//! The driver: the [`Agent`] under its lock, and what performs its effects.
//!
//! Whoever brings an event steps the agent himself and performs what comes of it: the thread that reads what the master says, a
//! connection of the data port that has stored a segment, a thread of the pool that has computed one. Nothing is performed
//! that could wait, so nobody has the lock for longer than a step takes, and no thread has to be woken between an
//! instruction and its answer.

use crate::agent::{Agent, Effect, Event, ExitReason, FetchJob, HeartbeatJob};
use crate::compute::ComputeJob;
use crate::control::{Dialer, Line};
use crate::executor::Executor;
use crate::lock;
use crate::sockets::Sockets;
use crate::store::Store;
use crossbeam_channel::{Receiver, Sender, TrySendError};
use log::debug;
use protocol::{Message, WorkerId};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// Somebody who is told what happens.
pub(crate) trait Listener: Send + Sync {
    /// Tells of an event. When this returns its effects are performed: what the worker has to say to the master about it is on its
    /// way. False when the worker has ended, and nobody needs to know.
    fn tell(&self, event: Event) -> bool;
}

/// The driver, as those see it who have something to tell.
pub(crate) type Events = Arc<dyn Listener>;

/// The agent, for all threads; without one before it begins and after it has ended.
#[derive(Default)]
pub(crate) struct Driver {
    state: Mutex<Option<State>>,
    /// Wakes the timer when the agent's next deadline has come nearer, or the agent has ended.
    timer: Condvar,
}

/// What the lock guards.
pub(crate) struct State {
    pub(crate) agent: Agent,
    pub(crate) started: Instant,
    pub(crate) store: Arc<Mutex<Store>>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) fetches: Sender<FetchJob>,
    /// Both ends of a queue of one: what was not taken yet is replaced.
    pub(crate) heartbeats: (Sender<Option<HeartbeatJob>>, Receiver<Option<HeartbeatJob>>),
    /// For the heartbeats, which must not wait for a step.
    pub(crate) tasks: Arc<AtomicU64>,
    pub(crate) worker: WorkerId,
    pub(crate) sockets: Sockets,
    pub(crate) lines: HashMap<u64, Line>,
    /// When the timer will wake up.
    pub(crate) timer_at: Option<Duration>,
    pub(crate) exit: Option<ExitReason>,
}

impl Driver {
    /// Takes the agent; from now on events are heard.
    pub(crate) fn begin(&self, state: State) {
        *self.lock() = Some(state);
    }

    /// Steps the agent when its time comes, until it ends or is ended. Closes everything, so that every thread ends, and gives the reason.
    pub(crate) fn run(self: &Arc<Driver>) -> ExitReason {
        self.tell(Event::Tick);
        let mut guard = self.lock();
        let reason = loop {
            let Some(state) = guard.as_mut() else { break ExitReason::Aborted };
            if let Some(reason) = state.exit.take() {
                break reason;
            }
            let (next, now) = (state.agent.next_deadline(), state.started.elapsed());
            state.timer_at = next;
            guard = match next {
                Some(at) if at <= now => {
                    drop(guard);
                    self.tell(Event::Tick);
                    self.lock()
                }
                Some(at) => self.timer.wait_timeout(guard, at - now).expect(PANICKED).0,
                None => self.timer.wait(guard).expect(PANICKED),
            };
        };
        if let Some(state) = guard.take() {
            // Threads of the link are not waited for: one may be looking up a name, and they have nothing but their sockets.
            state.sockets.close_all();
        }
        reason
    }

    /// Ends the agent at once.
    pub(crate) fn abort(&self) {
        if let Some(state) = self.lock().as_mut() {
            state.exit.get_or_insert(ExitReason::Aborted);
        }
        self.timer.notify_all();
    }

    /// A connection to the master exists.
    pub(crate) fn open(self: &Arc<Driver>, link: u64, local: Option<SocketAddr>, line: Line) {
        if let Some(state) = self.lock().as_mut() {
            state.lines.insert(link, line);
        }
        self.tell(Event::LinkOpened { link, local });
    }

    /// Sends a message to the master that no step has decided about.
    pub(crate) fn send(&self, link: u64, message: &Message) {
        let mut guard = self.lock();
        if let Some(line) = guard.as_mut().and_then(|state| state.lines.get_mut(&link))
            && let Err(e) = line.messages.write(message)
        {
            debug!("the connection to the master takes no more: {e}"); // its reader notices
        }
    }

    /// Steps the agent, and gives what it wants to have computed. None when it has ended.
    fn step(self: &Arc<Driver>, event: Event) -> Option<(Vec<ComputeJob>, Arc<dyn Executor>)> {
        let mut guard = self.lock();
        let state = guard.as_mut().filter(|state| state.exit.is_none())?;
        let jobs = state.step(event, self);
        let next = state.agent.next_deadline();
        let is_sooner = next.is_some_and(|next| state.timer_at.is_none_or(|at| next < at));
        if is_sooner || state.exit.is_some() {
            self.timer.notify_all();
        }
        Some((jobs, state.executor.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().expect(PANICKED)
    }
}

/// A broken invariant ends the process: nobody goes on with a state that is in doubt.
const PANICKED: &str = "a step of the agent panicked";

impl Listener for Arc<Driver> {
    fn tell(&self, event: Event) -> bool {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let Some((jobs, executor)) = self.step(event) else { return false };
            if !jobs.is_empty() {
                let ended = executor.start(jobs);
                next = (!ended.is_empty()).then_some(Event::Computed(ended));
            }
        }
        true
    }
}

impl State {
    /// Steps the agent with an event, and with those that performing its effects leads to.
    fn step(&mut self, event: Event, driver: &Arc<Driver>) -> Vec<ComputeJob> {
        let mut jobs = Vec::new();
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let effects = self.agent.step(self.started.elapsed(), &mut lock(&self.store), event);
            for effect in effects {
                match effect {
                    Effect::Compute(job) => jobs.push(job),
                    effect => events.extend(self.perform(effect, driver)),
                }
            }
        }
        self.tasks.store(self.agent.tasks(), Ordering::Relaxed);
        jobs
    }

    /// Performs an effect. Gives what happened at once instead of what should.
    fn perform(&mut self, effect: Effect, driver: &Arc<Driver>) -> Option<Event> {
        match effect {
            Effect::OpenLink { link, address } => {
                let why = self.open_link(link, address, driver).err()?;
                return Some(Event::LinkFailed { link, why: format!("no thread for the connection: {why}") });
            }
            Effect::CloseLink { link } => drop(self.lines.remove(&link)),
            Effect::Send { link, message } => {
                let sent = self.lines.get_mut(&link)?.messages.write(&message);
                return self.hang_up_if_failed(link, sent);
            }
            Effect::Reply { link, reply, short } => {
                let queued = self.lines.get_mut(&link)?.reply(reply, short, driver);
                return self.hang_up_if_failed(link, queued);
            }
            Effect::Compute(_) => unreachable!("computations begin when the lock is free"),
            Effect::Fetch(job) => {
                let queued = self.fetches.try_send(job);
                queued.expect("the agent hands out no more fetches than there are slots, and the fetchers live");
            }
            Effect::StartHeartbeats(job) => self.order_heartbeats(Some(job)),
            Effect::StopHeartbeats => self.order_heartbeats(None),
            Effect::Free(trash) => self.executor.free(trash),
            Effect::Exit(reason) => self.exit = Some(reason),
        }
        None
    }

    /// Lets a thread connect: names are looked up there, which may take as long as it likes.
    fn open_link(&mut self, link: u64, address: String, driver: &Arc<Driver>) -> std::io::Result<()> {
        let (worker, sockets, driver) = (self.worker.clone(), self.sockets.clone(), driver.clone());
        let dialer = Dialer { worker, sockets, driver, store: self.store.clone() };
        thread::Builder::new().name("control".into()).spawn(move || dialer.run(link, &address)).map(drop)
    }

    fn hang_up_if_failed(&mut self, link: u64, sent: std::io::Result<()>) -> Option<Event> {
        let why = sent.err()?;
        debug!("the connection to the master takes no more: {why}");
        self.lines.remove(&link);
        Some(Event::LinkClosed { link, why: format!("it does not take what this worker sends: {why}") })
    }

    fn order_heartbeats(&self, order: Option<HeartbeatJob>) {
        let (orders, taken) = &self.heartbeats;
        let mut order = order;
        while let Err(TrySendError::Full(back)) = orders.try_send(order) {
            let _ = taken.try_recv();
            order = back;
        }
    }
}
