//! What the worker does: a state machine that takes events and gives effects.
//!
//! The shell (`server`) has the sockets, the threads and the clock. It feeds everything that happens into
//! [`Agent::step`] and performs what comes out, in order. The agent owns
//!
//! - the link to the master (`link`): connecting, registering with the inventory, backing off, draining, and noticing
//!   that a master is one of the original system, with whom [`Original`] goes on;
//! - the work (`work`): computations and fetches wait here and are handed out a few at a time, so that
//!   cancelling them is a matter of this thread alone;
//! - obedience: each instruction passes the fence of epochs, and each is answered exactly once, or thrown
//!   away because it was cancelled, its version dropped, or its link lost.
//!
//! Bytes are in the [`Store`], which threads of the data port use beside the agent. Memory for every result
//! and every fetched copy is reserved before it is made, and given back when the buffer is gone, also when
//! nobody wants it any more.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod event;
mod instruct;
mod link;
mod original_link;
#[cfg(test)]
mod tests;
mod work;

pub use event::{Effect, Event, ExitReason, FetchJob, Fetched, HeartbeatJob};
pub use link::{BACKOFF_MAX, BACKOFF_MIN, COMPLAINT_INTERVAL, DIAL_TIMEOUT, DRAIN_TIMEOUT, QUIET_MAX};

use crate::Serving;
use crate::original::Original;
use crate::store::Store;
use link::Link;
use log::{info, warn};
use protocol::message::worker::*;
use protocol::message::{Pong, client};
use protocol::{Body, ErrorCode, Head, Message, WireError, WorkerId};
use std::time::Duration;
use work::{FetchTask, Jobs, ResultTask};

/// What an agent is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The worker's id.
    pub worker: WorkerId,
    /// Which life of it: larger than that of every earlier process under this id.
    pub incarnation: u64,
    /// Where masters may be, `HOST:PORT`; tried in turn.
    pub masters: Vec<String>,
    /// `HOST:PORT` of the data port, as others reach it.
    pub address: String,
    /// Threads it computes with.
    pub cores: u32,
    /// Where it is.
    pub zone: Option<String>,
    /// Whether to give up the data of another cluster rather than wait for its master.
    pub join_new: bool,
    /// What it computes with: workers with the same kernels give the same bits.
    pub kernels: String,
    /// What it tells the master about itself beyond that, by name.
    pub features: Vec<String>,
    /// Computations handed out at once, beside small ones.
    pub compute_slots: usize,
    /// Computations of at most so many elements are small: they wait for no others.
    pub small_elements: u64,
    /// Those that go through at most so many share a slot with three others.
    pub medium_bytes: u64,
    /// Fetches handed out at once.
    pub fetch_slots: usize,
    /// Where the random part of the backoff begins.
    pub seed: u64,
}

/// The state machine. See the module's documentation.
pub struct Agent {
    settings: Settings,
    /// The cluster whose data is here.
    cluster: Option<uuid::Uuid>,
    link: Link,
    results: Jobs<ResultTask>,
    fetches: Jobs<FetchTask>,
    /// What is held and done for a master of the original system.
    original: Original,
    /// Until when somebody who wants this worker to end will wait.
    drain_until: Option<Duration>,
    exited: bool,
    /// What the current step has decided so far.
    effects: Vec<Effect>,
}

impl Agent {
    /// An agent that will connect at its first event.
    ///
    /// # Panics
    /// Without a master's address or without slots.
    pub fn new(settings: Settings) -> Agent {
        assert!(!settings.masters.is_empty(), "an agent needs the address of a master");
        Agent {
            cluster: None,
            link: Link::new(settings.seed),
            results: Jobs::new(settings.compute_slots),
            fetches: Jobs::new(settings.fetch_slots),
            original: Original::new(settings.compute_slots),
            drain_until: None,
            exited: false,
            effects: Vec::new(),
            settings,
        }
    }

    /// Takes one event and says what to do about it. `now` is the time since the start of the process, and
    /// never less than before. After [`Effect::Exit`] nothing comes any more.
    pub fn step(&mut self, now: Duration, store: &mut Store, event: Event) -> Vec<Effect> {
        if self.exited {
            return Vec::new();
        }
        match event {
            Event::Tick => {}
            Event::LinkOpened { link, local } => self.on_link_opened(now, store, link, local),
            Event::LinkFailed { link, why } | Event::LinkClosed { link, why } => {
                self.on_link_ended(now, store, link, &why)
            }
            Event::Received { link, message } => self.on_received(now, store, link, message),
            Event::Heard { link, heard } => self.on_heard(now, store, link, heard),
            Event::Written { link } => self.on_written(now, store, link),
            Event::Stored(record) => self.tell_copies_changed([record], []),
            Event::Broken(copy) => self.tell_copies_changed([], [copy]),
            Event::Computed(ended) => {
                let (original, own) = ended.into_iter().partition(Original::has_given);
                self.on_computed(store, own);
                self.on_original_computed(now, store, original);
            }
            Event::Fetched(ended) => self.on_fetched(store, ended),
            Event::Drain => self.on_drain(now, store),
        }
        self.on_time(now, store);
        let trash = store.take_trash();
        if !trash.is_empty() {
            self.effects.push(Effect::Free(trash));
        }
        std::mem::take(&mut self.effects)
    }

    /// When to call [`Agent::step`] with [`Event::Tick`], if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Duration> {
        [self.link.deadline(), self.original.next_deadline(), self.drain_until].into_iter().flatten().min()
    }

    /// The sign of life to give now.
    pub fn heartbeat(&self, store: &Store) -> Heartbeat {
        store.heartbeat(self.tasks())
    }

    /// Segments queued or being computed.
    pub fn tasks(&self) -> u64 {
        self.results.len() as u64
    }

    /// Whether a master has accepted this worker.
    pub fn is_registered(&self) -> bool {
        self.link.registered().is_some()
    }

    fn exit(&mut self, reason: ExitReason) {
        info!("{reason}");
        self.exited = true;
        self.effects.push(Effect::Exit(reason));
    }

    /// Queues a message for the master, if one has accepted this worker. Otherwise it is not lost: what
    /// matters in it is in the inventory of the next registration.
    fn send(&mut self, message: Message) {
        if let Some(link) = self.link.registered() {
            self.effects.push(Effect::Send { link, message });
        }
    }

    fn answer(&mut self, to: &Head, body: impl Into<Body>) {
        self.send(Message::reply(to, body));
    }

    fn refuse(&mut self, to: &Head, error: WireError) {
        warn!("{}refused: {error}", Serving(&to.request));
        self.answer(to, error);
    }

    /// Follows one message of the master that has accepted this worker.
    fn on_instruction(&mut self, store: &mut Store, message: Message) {
        let Message { head, body, .. } = message;
        match body {
            Body::Reserve(reserve) => self.on_reserve(store, &head, reserve),
            Body::ProcessSegment(process) => self.on_process_segment(store, &head, process),
            Body::CancelSegments(cancel) => self.on_cancel_segments(store, &head, cancel),
            Body::RecoverData(recover) => self.on_recover_data(store, &head, recover),
            Body::DropCopies(drop) => self.on_drop_copies(store, &head, drop),
            Body::SendInventory(_) => self.answer(&head, Inventory { copies: store.inventory() }),
            Body::Ping(_) => self.answer(&head, Pong {}),
            Body::WorkerStatus(WorkerStatus { state: WorkerStage::Drained }) => {
                protocol::fault_point!(DrainedNotEnded);
                self.exit(ExitReason::Drained);
            }
            Body::Shutdown(client::Shutdown {}) => self.exit(ExitReason::Shutdown),
            // Not answered, or two peers could go on refusing each other's refusals for ever.
            Body::Error(error) => warn!("{}the master reports: {error}", Serving(&head.request)),
            other => {
                let why = format!("a worker takes no {} from its master", other.kind());
                self.refuse(&head, WireError::new(ErrorCode::NotAllowed, why));
            }
        }
    }

    /// Forgets what the master of a lost link wanted. Complete copies stay.
    fn forget_work(&mut self, store: &mut Store) {
        self.results.forget(store, |_| true);
        self.fetches.forget(store, |_| true);
        store.forget_reservations();
    }
}
