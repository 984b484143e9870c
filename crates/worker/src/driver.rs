//! The thread that owns the [`Agent`]: takes events, performs effects, and never waits for anybody but the
//! next event.

use crate::agent::{Agent, Effect, Event, ExitReason, HeartbeatJob};
use crate::compute::Computed;
use crate::control::Dialer;
use crate::executor::Executor;
use crate::lock;
use crate::queue::{Events, Input, Line, Outgoing};
use crate::sockets::Sockets;
use crate::store::Store;
use crossbeam_channel::{Receiver, Sender, TrySendError};
use protocol::WorkerId;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

/// Computations that are answered together at most, so that one answer stays small beside a header line.
const MERGED_MAX: usize = 256;

/// The driver. What it may block on is the `inputs` queue alone.
pub(crate) struct Driver {
    pub(crate) agent: Agent,
    pub(crate) store: Arc<Mutex<Store>>,
    pub(crate) inputs: Receiver<Input>,
    pub(crate) events: Events,
    pub(crate) executor: Box<dyn Executor>,
    pub(crate) fetches: Sender<crate::agent::FetchJob>,
    /// Both ends of a queue of one: what was not taken yet is replaced.
    pub(crate) heartbeats: (Sender<Option<HeartbeatJob>>, Receiver<Option<HeartbeatJob>>),
    /// For the heartbeats, which must not wait for the driver.
    pub(crate) tasks: Arc<AtomicU64>,
    pub(crate) worker: WorkerId,
    pub(crate) sockets: Sockets,
    pub(crate) lines: HashMap<u64, Line>,
}

impl Driver {
    /// Runs until the agent, or somebody outside, ends it.
    pub(crate) fn run(mut self) -> ExitReason {
        let started = Instant::now();
        let mut waiting = VecDeque::from([Input::Event(Event::Tick)]);
        let reason = loop {
            let input = waiting.pop_front().unwrap_or_else(|| self.wait(started));
            let (event, noted) = match input {
                Input::Event(Event::Computed(ended)) => (self.merge_computed(ended, &mut waiting), None),
                Input::Event(event) => (event, None),
                Input::Noted(event, noted) => (event, Some(noted)),
                Input::Opened { link, local, line } => {
                    self.lines.insert(link, line);
                    (Event::LinkOpened { link, local }, None)
                }
                Input::Abort => break ExitReason::Aborted,
            };
            let effects = self.agent.step(started.elapsed(), &mut lock(&self.store), event);
            self.tasks.store(self.agent.tasks(), Ordering::Relaxed);
            if let Some(reason) = self.perform(effects, &mut waiting) {
                break reason;
            }
            if let Some(noted) = noted {
                let _ = noted.try_send(());
            }
        };
        self.end();
        reason
    }

    /// The next thing that happens, or that time has passed.
    fn wait(&self, started: Instant) -> Input {
        let received = match self.agent.next_deadline() {
            Some(deadline) => self.inputs.recv_deadline(started + deadline).ok(),
            None => self.inputs.recv().ok(),
        };
        received.unwrap_or(Input::Event(Event::Tick))
    }

    /// Takes computations that have ended meanwhile together, so that they share an answer; waits for none.
    fn merge_computed(&self, mut ended: Vec<Computed>, waiting: &mut VecDeque<Input>) -> Event {
        while ended.len() < MERGED_MAX {
            match self.inputs.try_recv() {
                Ok(Input::Event(Event::Computed(more))) => ended.extend(more),
                Ok(other) => {
                    waiting.push_back(other);
                    break;
                }
                Err(_) => break,
            }
        }
        Event::Computed(ended)
    }

    fn perform(&mut self, effects: Vec<Effect>, waiting: &mut VecDeque<Input>) -> Option<ExitReason> {
        for effect in effects {
            match effect {
                Effect::OpenLink { link, address } => {
                    if let Err(e) = self.open_link(link, address) {
                        let why = format!("no thread for the connection: {e}");
                        waiting.push_back(Input::Event(Event::LinkFailed { link, why }));
                    }
                }
                Effect::CloseLink { link } => drop(self.lines.remove(&link)),
                Effect::Send { link, message } => self.send(link, Outgoing::Message(message), waiting),
                Effect::Reply { link, reply, short } => self.send(link, Outgoing::Reply { reply, short }, waiting),
                Effect::Compute(job) => self.executor.start(job),
                Effect::Fetch(job) => {
                    let queued = self.fetches.try_send(job);
                    queued.expect("the agent hands out no more fetches than there are slots, and the fetchers live");
                }
                Effect::StartHeartbeats(job) => self.order_heartbeats(Some(job)),
                Effect::StopHeartbeats => self.order_heartbeats(None),
                Effect::Free(trash) => self.executor.free(trash),
                Effect::Exit(reason) => return Some(reason),
            }
        }
        None
    }

    /// Lets a thread connect: names are looked up there, which may take as long as it likes.
    fn open_link(&mut self, link: u64, address: String) -> std::io::Result<()> {
        let (worker, sockets, events) = (self.worker.clone(), self.sockets.clone(), self.events.clone());
        let dialer = Dialer { worker, sockets, events, store: self.store.clone() };
        thread::Builder::new().name("control".into()).spawn(move || dialer.run(link, &address)).map(drop)
    }

    fn send(&mut self, link: u64, outgoing: Outgoing, waiting: &mut VecDeque<Input>) {
        let Some(line) = self.lines.get(&link) else { return };
        // When it is disconnected, the thread that writes has ended and says why itself.
        if let Err(TrySendError::Full(_)) = line.queue.try_send(outgoing) {
            self.lines.remove(&link);
            let why = "it does not read what this worker sends".to_string();
            waiting.push_back(Input::Event(Event::LinkClosed { link, why }));
        }
    }

    fn order_heartbeats(&self, order: Option<HeartbeatJob>) {
        let (orders, taken) = &self.heartbeats;
        let mut order = order;
        while let Err(TrySendError::Full(back)) = orders.try_send(order) {
            let _ = taken.try_recv();
            order = back;
        }
    }

    /// Hangs up everything, so that every thread ends. Those of the link are not waited for: one may be
    /// looking up a name, and they have nothing but their sockets.
    fn end(self) {
        self.sockets.close_all();
    }
}
