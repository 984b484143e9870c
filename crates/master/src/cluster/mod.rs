//! The cluster as the master knows it: a state machine without sockets, clock or threads.
//!
//! [`Cluster::step`] takes an [`Event`] and the time, and gives [`Effect`]s for the shell to perform, in order. Inside:
//!
//! - [`catalog`]: what must survive. It changes by commands only: `Effect::Propose(command)`, later
//!   `Event::Committed(index, command)`, and nobody is answered in between what depends on it.
//! - the coordinator, which is all the rest: what may be lost and is rebuilt from the catalog and the workers'
//!   inventories. [`registration`] and [`members`]: which workers are there, and what each holds. [`requests`]: clients, their requests, and
//!   that each is answered once; [`quotas`]: how many there may be. [`uploads`], [`operations`], [`reads`]: what the requests set going. [`copies`]: how
//!   many copies a segment needs, fetching missing ones, dropping useless ones. [`cost`]: whether a replica of a result computes or receives its copy. [`incidents`]: what went wrong and
//!   how it was mended. [`views`]: answers that only look.
//! - [`placement`]: pure functions of the workers there are.
//!
//! A worker's death is handled in [`members`] (`member_down`): that is the one place from which everything else hears of it.
//!
//! Two rules keep it simple. *A copy is what a worker reported*: each member mirrors its worker's inventory (`held`),
//! and whatever in it nobody needs is dropped, by one function (`collect`). *Every wait is a condition*: requests that
//! cannot go on are parked and tried again when something has changed, until their deadline.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod catalog;
pub mod command;
mod copies;
mod cost;
mod incidents;
mod members;
mod operations;
pub mod placement;
pub mod quotas;
mod reads;
mod registration;
mod requests;
mod uploads;
mod views;

use catalog::{Applied, Catalog};
use command::Command;
use cost::Costs;
use incidents::OpenIncident;
use members::Member;
use operations::Running;
use protocol::message::client::OperationComplete;
use protocol::message::{Body, Message};
use protocol::{CopyId, Epoch, SessionId, VersionId, WireError, WorkerId};
pub use quotas::Quotas;
use reads::Pin;
use registration::Claim;
use requests::{InFlight, Key, Peer};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;
use uploads::Upload;

/// A connection, as the shell numbers them; never used again.
pub type ConnId = u64;

/// How often the shell sends [`Event::Tick`]: well below the time in which silence is noticed.
pub const TICK: Duration = Duration::from_millis(50);

/// A tick that is later than this tells that the process stood still: workers give up waiting for a HELLO, and clients for
/// an answer, after a second.
const STOOD_STILL: Duration = Duration::from_millis(500);

/// Ids are reserved in blocks of this many, so that the log is written once for many of them.
const IDS_PER_BLOCK: u64 = 4096;

/// What a cluster is told once.
#[derive(Clone, Debug)]
pub struct Config {
    /// Copies every segment is meant to have.
    pub replication: u32,
    /// Copies below which no write is acknowledged.
    pub min_copies: u32,
    /// HOST:PORT of this master, for people.
    pub address: String,
    /// Where the log is, for people.
    pub data_dir: String,
}

/// The time of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Now {
    /// Since some moment before the first step; never goes back. All decisions use it.
    pub elapsed: Duration,
    /// Milliseconds since 1970, for records that people read and for idle sessions.
    pub unix_ms: u64,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// A connection of level 2 was opened. One of which this is not told counts for no address.
    Opened {
        /// Its number.
        conn: ConnId,
        /// Where it comes from.
        address: IpAddr,
    },
    /// A message arrived.
    Received {
        /// On this connection.
        conn: ConnId,
        /// The message; elements come with it only if they are those of a small result.
        message: Message,
    },
    /// A connection ended.
    Disconnected {
        /// Which.
        conn: ConnId,
        /// How.
        why: String,
    },
    /// A connection was closed by us, as what came on it cannot be read. Whoever sent it is there.
    Unreadable {
        /// Which.
        conn: ConnId,
        /// What is wrong with it.
        why: String,
    },
    /// A proposed command is in the log for good.
    Committed {
        /// Its place in the log.
        index: u64,
        /// The command.
        command: Command,
    },
    /// A worker's data port was dialled.
    Dialed {
        /// Which worker.
        worker: WorkerId,
        /// Which life of it.
        incarnation: u64,
        /// Why it could not be reached, if it could not.
        failure: Option<String>,
    },
    /// Somebody wants this process to end.
    Stop,
}

/// What the shell shall do, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send a message; if its connection is gone or its queue is full, close that.
    Send {
        /// To whom.
        conn: ConnId,
        /// What.
        message: Message,
    },
    /// Close a connection, after what was sent before. No [`Event::Disconnected`] need follow.
    Close {
        /// Which.
        conn: ConnId,
    },
    /// Append a command to the log. Committed in this order.
    Propose {
        /// The command.
        command: Command,
        /// Whether it counts as committed only when it is on disk.
        sync: bool,
    },
    /// See whether a worker's data port can be reached; the answer is [`Event::Dialed`].
    Dial {
        /// Which worker.
        worker: WorkerId,
        /// Which life of it.
        incarnation: u64,
        /// HOST:PORT.
        address: String,
    },
    /// End the process.
    Stop,
}

/// What follows when a proposed command is committed.
#[derive(Debug)]
enum Then {
    Nothing,
    IdsReserved { below: u64 },
    WorkerIsUp { worker: WorkerId, incarnation: u64 },
    IncidentRecorded { detected: Duration, operations_running: bool, redispatched: u64 },
    Answer { key: Key, body: Body },
    UploadCommitted { version: VersionId, key: Key, body: Body },
    OperationCommitted { version: VersionId, reply: OperationComplete },
}

/// The whole of it.
pub struct Cluster {
    config: Config,
    catalog: Catalog,
    /// That of this start, also while it is on its way into the log.
    term: u64,
    now: Now,
    started: Duration,
    /// 128 unguessable bits at a time: the shell's random source, or a seed.
    entropy: Box<dyn FnMut() -> u128 + Send>,
    /// Commands proposed and not yet committed, with what follows.
    proposed: VecDeque<Then>,
    effects: Vec<Effect>,
    /// Ids that may be used.
    next_id: u64,
    ids_reserved_below: u64,

    quotas: Quotas,
    addresses: BTreeMap<ConnId, IpAddr>,
    peers: BTreeMap<ConnId, Peer>,
    sessions: BTreeMap<SessionId, ConnId>,
    requests: BTreeMap<Key, InFlight>,
    /// Bytes of those.
    requests_bytes: usize,
    /// How many of them came from where.
    requests_by_address: BTreeMap<IpAddr, usize>,
    /// Requests that wait for something to change.
    parked: BTreeSet<Key>,
    /// Those of them that wait for memory, in the order in which they came.
    for_room: BTreeSet<(Duration, Key)>,

    members: BTreeMap<WorkerId, Member>,
    claims: BTreeMap<ConnId, Claim>,
    /// Workers of the catalog that have not reported since the master started.
    unreported: BTreeSet<WorkerId>,
    /// Until then, a worker that has just gone may come back with its copies.
    hope_until: Duration,
    /// When a worker went down last.
    last_down: Duration,
    /// When a client asked last for something that takes processors or the network.
    last_work: Option<Duration>,
    /// The clock that silence is measured by: it stands still while this process does.
    liveness_clock: Duration,
    last_tick: Duration,

    uploads: BTreeMap<VersionId, Upload>,
    operations: BTreeMap<VersionId, Running>,
    /// What computing and moving results takes here.
    costs: Costs,
    /// How the last operations ended, for who asks later.
    ended: BTreeMap<VersionId, Result<Body, WireError>>,
    pins: BTreeMap<u64, Pin>,
    /// Never used again, by a later master either: it begins with the time.
    next_pin: u64,
    /// Copies being fetched: which, by whom, since when.
    transfers: BTreeMap<(CopyId, WorkerId), Duration>,
    /// Those of them that have failed, until when nobody tries again.
    failed_transfers: BTreeMap<(CopyId, WorkerId), Duration>,
    /// Workers that got nothing from another one that has a copy: who has it, who wanted it, until when others are asked first.
    estranged: BTreeMap<(WorkerId, WorkerId), Duration>,
    copies_added: Vec<(CopyId, WorkerId)>,
    copies_removed: Vec<(CopyId, WorkerId)>,
    incidents: Vec<OpenIncident>,
    /// When a segment of an operation was completed last.
    last_progress: Duration,
    /// Something changed that parked requests or repairs may have waited for.
    changed: bool,
    stopping: Option<Duration>,
}

impl Cluster {
    /// A cluster with the catalog that its log gave, at its start.
    pub fn new(config: Config, catalog: Catalog, now: Now, entropy: Box<dyn FnMut() -> u128 + Send>) -> Cluster {
        let unreported = catalog.workers().filter(|(_, record)| record.up).map(|(id, _)| id.clone()).collect();
        let next_id = match planted::bug!(IdsGivenTwice) {
            true => catalog.versions().last().map_or(1, |(id, _)| id.0 + 1),
            false => catalog.ids_below().max(1),
        };
        let mut cluster = Cluster {
            term: catalog.term() + 1,
            next_id,
            ids_reserved_below: 0,
            config,
            catalog,
            now,
            started: now.elapsed,
            entropy,
            proposed: VecDeque::new(),
            effects: Vec::new(),
            quotas: Quotas::default(),
            addresses: BTreeMap::new(),
            peers: BTreeMap::new(),
            sessions: BTreeMap::new(),
            requests: BTreeMap::new(),
            requests_bytes: 0,
            requests_by_address: BTreeMap::new(),
            parked: BTreeSet::new(),
            for_room: BTreeSet::new(),
            members: BTreeMap::new(),
            claims: BTreeMap::new(),
            unreported,
            hope_until: now.elapsed + members::REPORT_GRACE,
            last_down: Duration::ZERO,
            last_work: None,
            liveness_clock: Duration::ZERO,
            last_tick: now.elapsed,
            uploads: BTreeMap::new(),
            operations: BTreeMap::new(),
            costs: Costs::default(),
            ended: BTreeMap::new(),
            pins: BTreeMap::new(),
            next_pin: now.unix_ms.saturating_mul(1000),
            transfers: BTreeMap::new(),
            failed_transfers: BTreeMap::new(),
            estranged: BTreeMap::new(),
            copies_added: Vec::new(),
            copies_removed: Vec::new(),
            incidents: Vec::new(),
            last_progress: Duration::ZERO,
            changed: false,
            stopping: None,
        };
        if cluster.catalog.index() == 0 {
            let cluster_id = uuid::Builder::from_random_bytes((cluster.entropy)().to_le_bytes()).into_uuid();
            cluster.propose(Command::Founded { cluster: cluster_id }, true, Then::Nothing);
        }
        let then = Then::IncidentRecorded { detected: now.elapsed, operations_running: false, redispatched: 0 };
        cluster.propose(Command::MasterStarted { at: now.unix_ms }, true, then);
        cluster.reserve_ids();
        cluster
    }

    /// The epoch of what is decided now.
    fn epoch(&self) -> Epoch {
        Epoch::new(self.term, self.catalog.index())
    }

    /// What survives.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Takes note of an event and gives what shall be done about it. The first call also gives what the start asks for.
    pub fn step(&mut self, now: Now, event: Event) -> Vec<Effect> {
        debug_assert!(now.elapsed >= self.now.elapsed, "time goes forward");
        self.now = now;
        if now.elapsed.saturating_sub(self.last_tick) > STOOD_STILL {
            // Workers may have lost their connections meanwhile, and try again at their own pace. What has come in may be taken
            // before the tick.
            self.hope_until = self.hope_until.max(now.elapsed + members::REPORT_GRACE);
        }
        match event {
            Event::Tick => self.on_tick(),
            Event::Opened { conn, address } => drop(self.addresses.insert(conn, address)),
            Event::Received { conn, message } => self.on_message(conn, message),
            Event::Disconnected { conn, why } => self.on_disconnected(conn, &why, members::RETURN_AFTER_CLOSE),
            Event::Unreadable { conn, why } => self.on_disconnected(conn, &why, members::RETURN_OF_THE_LIVING),
            Event::Committed { index, command } => self.on_committed(index, &command),
            Event::Dialed { worker, incarnation, failure } => self.on_dialed(&worker, incarnation, failure),
            Event::Stop => self.effects.push(Effect::Stop),
        }
        self.settle();
        std::mem::take(&mut self.effects)
    }

    fn on_tick(&mut self) {
        // A tick that comes late tells that this process stood still, or was starved: the workers' heartbeats of that time
        // may be waiting behind this very tick, so it must not count as their silence.
        let passed = self.now.elapsed.saturating_sub(self.last_tick);
        self.liveness_clock += passed.min(2 * TICK);
        self.last_tick = self.now.elapsed;
        self.watch_members();
        self.watch_claims();
        self.watch_requests();
        self.watch_uploads();
        self.watch_operations();
        self.watch_transfers();
        self.watch_pins();
        self.watch_sessions();
        self.changed = true;
        if self.stopping.is_some_and(|at| self.now.elapsed >= at || self.members.is_empty()) {
            self.effects.push(Effect::Stop);
        }
    }

    fn on_committed(&mut self, index: u64, command: &Command) {
        let then = self.proposed.pop_front().unwrap_or(Then::Nothing);
        let applied = self.catalog.apply(index, command);
        self.follow(then, &applied);
        for version in applied.removed {
            if !planted::bug!(GarbageKept) {
                self.collect(version);
            }
        }
        self.changed = true;
    }

    /// What follows from a command.
    fn follow(&mut self, then: Then, applied: &Applied) {
        let or_refused = |body: Body| match &applied.refused {
            None => body,
            Some(error) => Body::Error(error.clone()),
        };
        match then {
            Then::Nothing => {}
            Then::IdsReserved { below } => self.ids_reserved_below = below,
            Then::WorkerIsUp { worker, incarnation } => self.on_worker_up(&worker, incarnation, applied),
            Then::IncidentRecorded { detected, operations_running, redispatched } => {
                self.open_incident(applied.incident, detected, operations_running, redispatched);
            }
            Then::Answer { key, body } => {
                // Its number may have been used again after its deadline, for something that waits.
                self.give_up_waiting(key);
                self.answer(key, or_refused(body));
            }
            Then::UploadCommitted { version, key, body } => {
                self.end_upload(version);
                self.give_up_waiting(key);
                self.answer(key, or_refused(body));
                self.reconcile_version(version);
                self.collect(version);
            }
            Then::OperationCommitted { version, reply } => {
                let result = match &applied.refused {
                    None => Ok(reply),
                    Some(error) => Err(error.clone()),
                };
                self.end_operation(version, result);
                self.reconcile_version(version);
            }
        }
    }

    fn propose(&mut self, command: Command, sync: bool, then: Then) {
        let sync = sync && !planted::bug!(LogNotSynced);
        self.proposed.push_back(then);
        self.effects.push(Effect::Propose { command, sync });
    }

    /// Ends every step: what has changed may let others go on. Bounded, because each round needs a change.
    fn settle(&mut self) {
        self.flush_copies();
        if std::mem::take(&mut self.changed) {
            self.advance_uploads();
            self.advance_operations();
            self.repair();
            self.drain_members();
            self.close_incidents();
            self.unpark();
            self.flush_copies();
        }
        self.dispatch();
    }

    /// A fresh id. None while the log has not yet reserved more of them.
    fn new_id(&mut self) -> Option<VersionId> {
        if self.next_id + IDS_PER_BLOCK / 8 == self.ids_reserved_below {
            self.reserve_ids();
        }
        if self.next_id >= self.ids_reserved_below {
            return None;
        }
        self.next_id += 1;
        Some(VersionId(self.next_id - 1))
    }

    fn reserve_ids(&mut self) {
        let below = self.next_id.max(self.ids_reserved_below) + IDS_PER_BLOCK;
        self.propose(Command::ReserveIds { below }, true, Then::IdsReserved { below });
    }

    fn send(&mut self, conn: ConnId, message: Message) {
        self.effects.push(Effect::Send { conn, message });
    }

    /// Panics if an invariant is broken. For tests and simulation, after every step.
    pub fn check(&self) {
        self.catalog.check();
        self.check_coordinator();
    }

    /// The part of [`Cluster::check`] that is not about the catalog, which changes by commands only: for who has checked that.
    pub fn check_coordinator(&self) {
        self.check_members();
        self.check_bounds();
    }
}
