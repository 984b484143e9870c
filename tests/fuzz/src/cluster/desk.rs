//! The master's state machine, its log, and the connections to it.

use array::checksum::crc32c;
use master::cluster::catalog::Catalog;
use master::cluster::command::Command;
use master::cluster::{Cluster, Config, ConnId, Effect, Event, Now};
use protocol::message::client::*;
use protocol::message::worker::*;
use protocol::message::{Body, Hello, Message, Role};
use protocol::{CopyId, CopyRecord, Digest, Epoch, SessionId, WorkerId};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Connections at once, beside those of heartbeats.
pub const SLOTS: usize = 7;

/// Milliseconds since 1970 at the beginning.
const EPOCH_MS: u64 = 1_795_216_748_000;

/// Messages that may be said again.
const HISTORY_MAX: usize = 64;

/// What is kept of each kind of number that the master has given.
const KNOWN_MAX: usize = 16;

/// One connection and whoever is at its other end.
#[derive(Default)]
pub struct Slot {
    pub conn: ConnId,
    /// The master has closed it; the end has still to come.
    closed: bool,
    /// The worker that has registered here, its life and its heartbeats.
    pub worker: Option<(WorkerId, u64)>,
    heartbeats: Option<ConnId>,
    /// What the master has said and nobody has reacted to.
    pub inbox: VecDeque<Message>,
    /// Number of the last request.
    pub last_id: u64,
}

/// Numbers and names that the master has given.
#[derive(Default)]
pub struct Known {
    pub versions: VecDeque<u64>,
    pub pins: VecDeque<u64>,
    pub tickets: VecDeque<String>,
    pub sessions: VecDeque<SessionId>,
    pub plans: VecDeque<WritePlan>,
    /// What was reserved where: dtypes matter to nobody here.
    pub reserved: VecDeque<Reserve>,
}

fn remember<T>(known: &mut VecDeque<T>, one: T) {
    known.push_back(one);
    if known.len() > KNOWN_MAX {
        known.pop_front();
    }
}

/// All of it.
pub struct Desk {
    config: Config,
    cluster: Cluster,
    now: Duration,
    /// What is in the log.
    log: Vec<Command>,
    /// What is on its way there.
    writing: VecDeque<Command>,
    pub slots: Vec<Slot>,
    next_conn: ConnId,
    dials: VecDeque<(WorkerId, u64)>,
    history: VecDeque<Message>,
    pub known: Known,
    /// What each worker holds, in all its lives.
    pub held: BTreeMap<WorkerId, BTreeMap<CopyId, CopyRecord>>,
    epochs: BTreeMap<CopyId, Epoch>,
    /// The command after which the catalog was checked last.
    checked: u64,
    stopped: bool,
}

impl Desk {
    pub fn new(replication: u32) -> Desk {
        let config = Config { replication, min_copies: 1, address: "here".into(), data_dir: "nowhere".into() };
        let mut desk = Desk {
            cluster: new_cluster(&config, Catalog::default(), Duration::ZERO),
            config,
            now: Duration::ZERO,
            log: Vec::new(),
            writing: VecDeque::new(),
            slots: Vec::new(),
            next_conn: 1,
            dials: VecDeque::new(),
            history: VecDeque::new(),
            known: Known::default(),
            held: BTreeMap::new(),
            epochs: BTreeMap::new(),
            checked: 0,
            stopped: false,
        };
        desk.slots = (0..SLOTS).map(|_| desk.new_slot()).collect();
        desk.step(Event::Tick);
        desk.commit(usize::MAX);
        desk
    }

    fn new_slot(&mut self) -> Slot {
        Slot { conn: self.new_conn(), ..Slot::default() }
    }

    fn new_conn(&mut self) -> ConnId {
        self.next_conn += 1;
        self.next_conn
    }

    pub fn has_stopped(&self) -> bool {
        self.stopped
    }

    // ---- what happens to the master ----

    fn step(&mut self, event: Event) {
        let now = Now { elapsed: self.now, unix_ms: EPOCH_MS + self.now.as_millis() as u64 };
        let effects = self.cluster.step(now, event);
        self.check();
        for effect in effects {
            match effect {
                Effect::Send { conn, message } => self.hear(conn, message),
                Effect::Close { conn } => {
                    if let Some(slot) = self.slots.iter_mut().find(|slot| slot.conn == conn) {
                        slot.closed = true;
                    }
                }
                Effect::Propose { command, .. } => self.writing.push_back(command),
                Effect::Dial { worker, incarnation, .. } => self.dials.push_back((worker, incarnation)),
                Effect::Stop => self.stopped = true,
            }
        }
    }

    /// All invariants, those of the catalog when it has changed.
    fn check(&mut self) {
        self.cluster.check_coordinator();
        let index = self.cluster.catalog().index();
        if std::mem::replace(&mut self.checked, index) != index {
            self.cluster.catalog().check();
            self.check_epochs();
        }
    }

    /// The epoch of a segment never goes back, over restarts too.
    fn check_epochs(&mut self) {
        for (id, version) in self.cluster.catalog().versions() {
            for (segment, record) in (0..).zip(&version.segments) {
                let seen = self.epochs.entry(CopyId(id, segment)).or_insert(record.epoch);
                assert!(*seen <= record.epoch, "the epoch of {id}/{segment} went from {seen} back to {}", record.epoch);
                *seen = record.epoch;
            }
        }
    }

    /// What the master says can be read, and is kept for whoever it is for.
    fn hear(&mut self, conn: ConnId, message: Message) {
        crate::message::check(&message.body);
        let known = &mut self.known;
        match &message.body {
            Body::Hello(Hello { session: Some(session), .. }) => remember(&mut known.sessions, *session),
            Body::WritePlan(plan) => {
                remember(&mut known.versions, plan.version.0);
                remember(&mut known.tickets, plan.ticket.clone());
                remember(&mut known.plans, plan.clone());
            }
            Body::OperationComplete(done) => remember(&mut known.versions, done.operation.0),
            Body::ReadPlan(plan) => {
                remember(&mut known.versions, plan.version.0);
                remember(&mut known.pins, plan.pin);
            }
            Body::Reserve(reserve) => remember(&mut known.reserved, reserve.clone()),
            Body::ProcessSegment(process) => remember(&mut known.versions, process.result.0),
            _ => {}
        }
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.conn == conn) {
            slot.inbox.push_back(message);
        }
    }

    /// Something is said on a connection.
    pub fn say(&mut self, slot: usize, message: Message) {
        self.history.push_back(message.clone());
        if self.history.len() > HISTORY_MAX {
            self.history.pop_front();
        }
        let conn = self.slots[slot].conn;
        self.step(Event::Received { conn, message });
    }

    /// Something that was said before is said again, by somebody else perhaps.
    pub fn repeat(&mut self, slot: usize, which: u8) {
        if let Some(message) = self.history.get(usize::from(which) % self.history.len().max(1)).cloned() {
            self.say(slot, message);
        }
    }

    pub fn disconnect(&mut self, slot: usize) {
        let new = self.new_slot();
        let old = std::mem::replace(&mut self.slots[slot], new);
        for conn in [Some(old.conn), old.heartbeats].into_iter().flatten() {
            self.step(Event::Disconnected { conn, why: "its connection was closed".into() });
        }
    }

    /// Some of what is on its way is in the log now.
    pub fn commit(&mut self, count: usize) {
        for _ in 0..count {
            let Some(command) = self.writing.pop_front() else { return };
            self.log.push(command.clone());
            self.step(Event::Committed { index: self.log.len() as u64, command });
        }
    }

    pub fn dialed(&mut self, fails: bool) {
        if let Some((worker, incarnation)) = self.dials.pop_front() {
            let failure = fails.then(|| "connection refused".to_string());
            self.step(Event::Dialed { worker, incarnation, failure });
        }
    }

    pub fn wait(&mut self, time: Duration) {
        self.now += time;
        self.step(Event::Tick);
    }

    /// All workers give a sign of life, and some time passes.
    pub fn beats(&mut self) {
        for at in 0..SLOTS {
            let Some((worker, incarnation)) = self.slots[at].worker.clone() else { continue };
            let conn = match self.slots[at].heartbeats {
                Some(conn) => conn,
                None => {
                    let conn = self.new_conn();
                    self.slots[at].heartbeats = Some(conn);
                    let hello = Hello { incarnation: Some(incarnation), ..Hello::new(Role::Heartbeat) };
                    let hello = Hello { worker: Some(worker.clone()), ..hello };
                    self.step(Event::Received { conn, message: Message::new(hello) });
                    conn
                }
            };
            let mut digest = Digest::default();
            let held = self.held.entry(worker).or_default();
            held.values().for_each(|copy| digest.toggle(copy.id(), copy.crc32c()));
            let copies = held.len() as u64;
            let memory_used_bytes = held.values().fold(0, |sum: u64, copy| sum.saturating_add(copy.bytes()));
            let heartbeat = Heartbeat { digest, copies, memory_used_bytes, memory_idle_bytes: 0, tasks: 0 };
            self.step(Event::Received { conn, message: Message::new(heartbeat) });
        }
        self.wait(Duration::from_millis(100));
    }

    /// The master dies, with so many of the commands that were on their way in its log, and another one takes it up.
    pub fn restart(&mut self, written: usize) {
        let written = written.min(self.writing.len());
        self.log.extend(self.writing.drain(..written));
        self.writing.clear();
        self.dials.clear();
        self.slots = (0..SLOTS).map(|_| self.new_slot()).collect();
        self.cluster = new_cluster(&self.config, self.replay(), self.now);
        self.checked = 0;
        self.wait(Duration::from_millis(1));
    }

    fn replay(&self) -> Catalog {
        let mut catalog = Catalog::default();
        (1..).zip(&self.log).for_each(|(index, command)| drop(catalog.apply(index, command)));
        catalog
    }

    /// What must hold whatever has happened.
    pub fn end(mut self) {
        self.commit(usize::MAX);
        assert_eq!(self.replay().hash(), self.cluster.catalog().hash(), "the log tells another state");
        (0..SLOTS).for_each(|slot| self.disconnect(slot));
        (0..4).for_each(|_| self.wait(Duration::from_secs(40)));
        self.commit(usize::MAX);
        if self.stopped || self.cluster.catalog().cluster().is_nil() {
            return; // somebody said SHUTDOWN, or the first record was lost in a restart
        }
        self.say(0, Message::new(Hello::new(Role::Client)));
        self.say(0, Message::request(1, Status {}));
        let served = self.slots[0].inbox.iter().any(|message| matches!(message.body, Body::ClusterStatus(_)));
        assert!(served || self.stopped, "a new client gets {:?}", self.slots[0].inbox);
    }
}

fn new_cluster(config: &Config, catalog: Catalog, now: Duration) -> Cluster {
    let seed = catalog.index();
    let mut drawn = 0;
    let entropy = move || {
        drawn += 1;
        u128::from(array::random::bits(seed, drawn))
    };
    let now = Now { elapsed: now, unix_ms: EPOCH_MS + now.as_millis() as u64 };
    Cluster::new(config.clone(), catalog, now, Box::new(entropy))
}

/// The copy of zeros.
pub fn zeros(CopyId(version, segment): CopyId, bytes: u64) -> CopyRecord {
    const BLOCK: [u8; 4096] = [0; 4096];
    let mut crc = 0;
    let mut left = bytes;
    while left > 0 {
        let length = left.min(BLOCK.len() as u64);
        crc = array::checksum::combine(crc, crc32c(&BLOCK[..length as usize]), length);
        left -= length;
    }
    CopyRecord(version, segment, crc, bytes)
}
