//! A whole cluster in one thread: the real state machines of master, workers and clients, with simulated time, network,
//! processes and log.
//!
//! [`World`] holds everything and a queue of [`Action`]s by time; [`World::run_until`] takes the next one, gives it to
//! its node, and performs what the node's state machine says. One seed decides everything that is random, so the same
//! seed gives the same run, event by event. The parts: [`network`] (connections with delay and loss, requests to data
//! ports), [`processes`] (master, workers: start, kill, pause), [`disk`] (the log in its file), [`clock`] (what time each node
//! believes it is), [`clients`], [`wishes`], [`odd`] and [`shared`] (what they do, and what they must be answered), [`model`] and
//! [`linearizability`] (the right answers), [`faults`] (what goes wrong), [`imposters`] (who is not the master), [`outcome`] (what that
//! changed), [`checks`] (what must hold).
//!
//! What is random is drawn by each node from a sequence of its own, so leaving out a fault changes nothing but what follows
//! from it: that is how a run tells whether a fault mattered.
//!
//! Real in it: catalog, coordinator, segment store, agent, the client's session, upload and download, every kernel and
//! every byte. Simulated: sockets, threads, clock, disk.

#![deny(clippy::disallowed_methods)]

pub mod checks;
pub mod clients;
pub mod clock;
pub mod disk;
pub mod faults;
pub mod imposters;
pub mod model;
pub mod network;
pub mod odd;
pub mod outcome;
pub mod processes;
pub mod random;
pub mod shared;
pub mod wishes;

use crate::linearizability;
use clients::ClientNode;
use disk::Disk;
use faults::{Fault, Undo};
use imposters::Imposter;
use network::{Conn, Cut, Network, Packet, Rpc};
use outcome::{Outcome, Tally};
use processes::{MasterNode, Process, WorkerNode};
use protocol::WorkerId;
use random::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use worker::store::Pool;

/// Who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// The master.
    Master,
    /// A worker, by number.
    Worker(usize),
    /// A client, by number.
    Client(usize),
}

/// One life of a node's process.
pub type Life = (Node, u64);

/// Something that will happen.
#[derive(Debug)]
pub enum Action {
    /// A packet arrives at a node.
    Packet { conn: u64, to: Life, packet: Packet },
    /// A damaged line arrives at a node.
    DamagedLine { conn: u64, to: Life },
    /// A connection that a node asked for is there, or not.
    Dialed { who: Life, conn: u64, failed: bool },
    /// A node's timer.
    Tick { who: Life },
    /// A heartbeat is due.
    Beat { who: Life, link: u64 },
    /// The commands that were being written are in the log.
    Written { life: u64 },
    /// A computation ends.
    Computed { who: Life, computed: worker::compute::Computed },
    /// A request reaches a data port.
    RpcArrives { rpc: u64 },
    /// Its bytes are there.
    RpcReceived { rpc: u64, at: Life, grant: worker::store::Grant },
    /// Its answer reaches who asked.
    RpcReturns { rpc: u64, answer: network::RpcAnswer },
    /// Who asked loses patience.
    RpcExpires { rpc: u64 },
    /// A client does the next thing.
    ClientActs { client: usize },
    /// It does not want any more what it wished for with this job.
    ClientCancels { client: usize, job: u64 },
    /// Something goes wrong; how often it has waited for a node that is at work.
    Fault { fault: Fault, waited: u32 },
    /// It ends, or goes on.
    Undo(Undo),
}

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Note {
    /// When.
    pub at: Duration,
    /// What.
    pub what: String,
}

/// What happened, for people: a line each.
pub fn tell(notes: &[Note]) -> String {
    let line = |note: &Note| format!("{:9.3} s  {}", note.at.as_secs_f64(), note.what);
    notes.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What a run looks like, besides its seed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Workers that are started.
    pub workers: usize,
    /// So many of them, the first ones, stand in for workers of level 1: each computes bits of its own, some of it late.
    pub level_1: usize,
    /// Copies of every segment.
    pub replication: u32,
    /// Copies without which nothing is acknowledged.
    pub min_copies: u32,
    /// Clients.
    pub clients: usize,
    /// Delays and losses of the network.
    pub network: Network,
    /// Memory of every worker.
    pub worker_bytes: u64,
    /// Whether clients do odd things, too: see [`odd`].
    pub odd: bool,
}

/// The cluster and everything around it.
pub struct World {
    /// The time.
    pub now: Duration,
    next_action: u64,
    queue: BTreeMap<(Duration, u64), Action>,
    seed: u64,
    luck: BTreeMap<(Node, Chance), Random>,
    /// The plan.
    pub plan: Plan,
    pub(crate) processes: BTreeMap<Node, Process>,
    pub(crate) master: MasterNode,
    pub(crate) workers: Vec<WorkerNode>,
    /// The memory that all stand-ins for workers of level 1 share.
    pub(crate) pool: Arc<Pool>,
    pub(crate) clients: Vec<ClientNode>,
    pub(crate) conns: BTreeMap<u64, Conn>,
    /// Who has closed which connection: nothing arrives there any more.
    pub(crate) hung_up: BTreeSet<(u64, Node)>,
    /// Connections that were reset: nothing arrives on them any more.
    severed: BTreeSet<u64>,
    /// Connections to somebody else than the master: see [`imposters`].
    pub(crate) imposters: BTreeMap<u64, Imposter>,
    pub(crate) rpcs: BTreeMap<u64, Rpc>,
    next_number: u64,
    ticks: BTreeMap<Life, Duration>,
    /// What happened, for people and for comparing runs.
    pub trace: Vec<Note>,
    /// Whether losing data is allowed: more copies were killed than the cluster promises to survive.
    pub loss_allowed: bool,
    /// Whether changes in what the master believes are written down.
    pub watched: bool,
    pub(crate) watch: checks::Watch,
    /// When a connection of each node was reset last.
    pub(crate) last_reset: BTreeMap<Node, Duration>,
    /// How many times as long the network takes, and the packets from and to single nodes.
    pub(crate) slow: u32,
    pub(crate) slow_nodes: BTreeMap<Node, u32>,
    /// Where nothing comes through.
    pub(crate) cuts: Vec<Cut>,
    /// The next packet, or the next bytes, of these nodes arrive damaged.
    pub(crate) damage: BTreeSet<(Node, network::What)>,
    pub(crate) disk: Disk,
    /// How far the clocks of nodes are behind, because they stood still.
    pub(crate) behind: BTreeMap<Node, Duration>,
    /// How far their wall clocks are ahead, in milliseconds.
    pub(crate) ahead_ms: BTreeMap<Node, i64>,
    /// Workers killed since all segments had all their copies.
    pub(crate) unmended_kills: u32,
    /// A worker that was asked to end.
    pub(crate) draining: Option<usize>,
    /// Counters for the summary.
    pub events: u64,
    /// Everything that happened, event by event, as one number.
    pub(crate) events_hash: u64,
    /// Faults by kind.
    pub tally: Tally,
    /// What clients and operators could see.
    pub outcome: Outcome,
    /// What clients saw of the names that they share.
    pub(crate) histories: BTreeMap<String, Vec<linearizability::Operation>>,
    /// Values given to shared names so far.
    pub(crate) values: u32,
    pub(crate) checker: checks::Checker,
}

/// What is decided by chance; each node has one sequence for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Chance {
    /// Delays and losses of what it sends.
    Network,
    /// What it does.
    Choice,
    /// How long it takes.
    Effort,
    /// What it needs to be unpredictable.
    Entropy,
    /// What it does that few do.
    Odd,
}

/// Memory of a worker that nothing of a run fills.
pub const PLENTY: u64 = 64 << 20;

/// Milliseconds since 1970 at time zero of every run.
pub const EPOCH_MS: u64 = 1_795_216_748_000;

impl World {
    /// A world in which nothing runs yet but clients that have nothing to do.
    pub fn new(seed: u64, plan: Plan) -> World {
        let mut world = World {
            now: Duration::ZERO,
            next_action: 0,
            queue: BTreeMap::new(),
            processes: BTreeMap::new(),
            master: MasterNode::new(plan.replication, plan.min_copies),
            workers: (0..plan.workers).map(|_| WorkerNode::default()).collect(),
            // Each claims all that it may have, and together they may have less, as behind a gateway.
            pool: Pool::new(plan.worker_bytes * (plan.level_1 as u64).div_ceil(2).max(1), "start fewer of them"),
            clients: Vec::new(),
            conns: BTreeMap::new(),
            hung_up: BTreeSet::new(),
            severed: BTreeSet::new(),
            imposters: BTreeMap::new(),
            rpcs: BTreeMap::new(),
            next_number: 1,
            ticks: BTreeMap::new(),
            trace: Vec::new(),
            loss_allowed: false,
            slow: 1,
            slow_nodes: BTreeMap::new(),
            cuts: Vec::new(),
            damage: BTreeSet::new(),
            disk: Disk::default(),
            behind: BTreeMap::new(),
            ahead_ms: BTreeMap::new(),
            draining: None,
            unmended_kills: 0,
            watched: false,
            watch: checks::Watch::default(),
            last_reset: BTreeMap::new(),
            events: 0,
            events_hash: seed,
            tally: Tally::default(),
            outcome: Outcome::default(),
            histories: BTreeMap::new(),
            values: 0,
            checker: checks::Checker::default(),
            seed,
            luck: BTreeMap::new(),
            plan,
        };
        for n in 0..world.plan.clients {
            let node = Node::Client(n);
            world.processes.insert(node, Process { life: 1, alive: true, ..Process::default() });
            let seed = world.luck(node, Chance::Entropy).bits();
            world.clients.push(ClientNode::new(n, 1, seed));
        }
        world
    }

    /// The sequence that decides something about a node.
    pub(crate) fn luck(&mut self, node: Node, chance: Chance) -> &mut Random {
        let seed = self.seed;
        self.luck.entry((node, chance)).or_insert_with(|| {
            let number = match node {
                Node::Master => 0,
                Node::Worker(n) => 1 + 2 * n as u64,
                Node::Client(n) => 2 + 2 * n as u64,
            };
            Random::new(array::random::bits(seed, number * 8 + chance as u64))
        })
    }

    /// A number nobody else has.
    pub(crate) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Lets something happen after a while.
    pub(crate) fn after(&mut self, delay: Duration, action: Action) {
        self.at(self.now + delay, action);
    }

    /// Lets something happen at a time.
    pub(crate) fn at(&mut self, time: Duration, action: Action) {
        self.next_action += 1;
        self.queue.insert((time.max(self.now), self.next_action), action);
    }

    /// Writes down what happened, and when.
    pub(crate) fn note(&mut self, what: impl Into<String>) {
        self.trace.push(Note { at: self.now, what: what.into() });
    }

    /// The master's state machine, if it has ever run.
    pub fn cluster(&self) -> Option<&master::cluster::Cluster> {
        self.master.cluster.as_ref()
    }

    /// A client.
    pub fn client(&self, n: usize) -> &ClientNode {
        &self.clients[n]
    }

    /// How people call a node.
    pub fn name_of(node: Node) -> String {
        match node {
            Node::Master => "master".to_string(),
            Node::Worker(n) => format!("w{}", n + 1),
            Node::Client(n) => format!("c{}", n + 1),
        }
    }

    /// The worker with this id.
    pub(crate) fn worker_number(id: &WorkerId) -> usize {
        id.as_str().trim_start_matches('w').parse::<usize>().expect("workers are called w1, w2, …") - 1
    }

    /// This node's process, as it is now.
    pub(crate) fn life(&self, node: Node) -> Life {
        (node, self.processes.get(&node).map_or(0, |process| process.life))
    }

    /// Whether that life of a node still goes on.
    pub(crate) fn is_alive(&self, (node, life): Life) -> bool {
        self.processes.get(&node).is_some_and(|process| process.alive && process.life == life)
    }

    /// Lets time pass.
    pub fn run_until(&mut self, time: Duration) {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > time {
                break;
            }
            let ((at, _), action) = entry.remove_entry();
            self.now = at;
            self.events += 1;
            self.perform(action);
        }
        self.now = time;
    }

    /// Lets time pass until a condition holds, or a time is over. Says whether it holds.
    pub fn run_while(&mut self, limit: Duration, mut go_on: impl FnMut(&World) -> bool) -> bool {
        let end = self.now + limit;
        while go_on(self) {
            let Some((time, _)) = self.queue.first_key_value().map(|(key, _)| *key) else { return false };
            if time > end {
                self.now = end;
                return false;
            }
            self.run_until(time);
        }
        true
    }

    /// Whose process must be able to run for an action to happen now.
    fn actor(&self, action: &Action) -> Option<Life> {
        match action {
            Action::Packet { to, .. } | Action::DamagedLine { to, .. } => Some(*to),
            Action::Dialed { who, .. }
            | Action::Tick { who }
            | Action::Beat { who, .. }
            | Action::Computed { who, .. } => Some(*who),
            Action::RpcReceived { at, .. } => Some(*at),
            Action::RpcArrives { rpc } => self.rpcs.get(rpc).map(|rpc| rpc.to),
            Action::RpcReturns { rpc, .. } | Action::RpcExpires { rpc } => self.rpcs.get(rpc).map(|rpc| rpc.from),
            // The disk goes on while the process stands still; what it has done is told when that runs again.
            Action::Written { life } => Some((Node::Master, *life)),
            Action::ClientActs { client } | Action::ClientCancels { client, .. } => {
                Some(self.life(Node::Client(*client)))
            }
            Action::Fault { .. } | Action::Undo(_) => None,
        }
    }

    fn perform(&mut self, action: Action) {
        self.hash_event(&action);
        if let Some(actor) = self.actor(&action) {
            let process = self.processes.get_mut(&actor.0);
            if let Some(process) = process.filter(|process| process.alive && process.paused && process.life == actor.1)
            {
                process.backlog.push(action);
                return;
            }
        }
        match action {
            Action::Packet { conn, to, packet } => self.on_packet(conn, to, packet),
            Action::DamagedLine { conn, to } => self.on_damaged_line(conn, to),
            Action::Dialed { who, conn, failed } => self.on_dialed(who, conn, failed),
            Action::Tick { who } => self.on_tick(who),
            Action::Beat { who, link } => self.on_beat(who, link),
            Action::Written { life } => self.on_written(life),
            Action::Computed { who, computed } => self.on_computed(who, computed),
            Action::RpcArrives { rpc } => self.on_rpc_arrives(rpc),
            Action::RpcReceived { rpc, at, grant } => self.on_rpc_received(rpc, at, grant),
            Action::RpcReturns { rpc, answer } => self.on_rpc_returns(rpc, answer),
            Action::RpcExpires { rpc } => self.on_rpc_expires(rpc),
            Action::ClientActs { client } => self.on_client_acts(client),
            Action::ClientCancels { client, job } => self.on_client_cancels(client, job),
            Action::Fault { fault, waited } => self.on_fault(fault, waited),
            Action::Undo(undo) => self.on_undo(undo),
        }
    }

    /// Mixes an event into the number that stands for the whole run.
    fn hash_event(&mut self, action: &Action) {
        let (kind, detail) = match action {
            Action::Packet { conn, .. } => (1, *conn),
            Action::Dialed { conn, .. } => (2, *conn),
            Action::Tick { .. } => (3, 0),
            Action::Beat { link, .. } => (4, *link),
            Action::Written { life } => (5, *life),
            Action::Computed { .. } => (6, 0),
            Action::RpcArrives { rpc } => (7, *rpc),
            Action::RpcReceived { rpc, .. } => (8, *rpc),
            Action::RpcReturns { rpc, .. } => (9, *rpc),
            Action::RpcExpires { rpc } => (10, *rpc),
            Action::ClientActs { client } => (11, *client as u64),
            Action::Fault { waited, .. } => (12, u64::from(*waited)),
            Action::Undo(_) => (13, 0),
            Action::ClientCancels { job, .. } => (14, *job),
            Action::DamagedLine { conn, .. } => (15, *conn),
        };
        let event = (self.now.as_micros() as u64) << 8 ^ detail << 4 ^ kind;
        self.events_hash = array::random::bits(self.events_hash, event);
    }

    /// Every event and everything that was told, as one number.
    pub fn trace_hash(&self) -> u64 {
        self.trace.iter().fold(self.events_hash, |hash, note| {
            array::random::bits(hash, u64::from(array::checksum::crc32c(note.what.as_bytes())))
        })
    }

    /// Lets a node's timer ring, unless it rings before that anyway.
    pub(crate) fn tick_at(&mut self, node: Node, time: Duration) {
        let (time, who) = (time.max(self.now), self.life(node));
        if self.ticks.get(&who).is_some_and(|set| *set <= time && *set >= self.now) {
            return;
        }
        self.ticks.insert(who, time);
        self.at(time, Action::Tick { who });
    }

    fn on_tick(&mut self, who: Life) {
        if self.ticks.get(&who).is_some_and(|set| *set <= self.now) {
            self.ticks.remove(&who);
        }
        if !self.is_alive(who) {
            return;
        }
        match who.0 {
            Node::Master => self.tick_master(),
            Node::Worker(n) => self.step_worker(n, worker::agent::Event::Tick),
            Node::Client(n) => self.tick_client(n),
        }
    }
}
