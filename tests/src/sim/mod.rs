//! A whole cluster in one thread: the real state machines of master, workers and clients, with simulated time, network,
//! processes and log.
//!
//! [`World`] holds everything and a queue of [`Action`]s by time; [`World::run_until`] takes the next one, gives it to
//! its node, and performs what the node's state machine says. One seed decides everything that is random, so the same
//! seed gives the same run, event by event. The parts: [`network`] (connections with delay and loss, requests to data
//! ports), [`processes`] (master, workers: start, kill, pause), [`clients`] and [`wishes`] (what they do, and what they must be answered), [`model`] (the right answers),
//! [`faults`] (what goes wrong), [`checks`] (what must hold).
//!
//! Real in it: catalog, coordinator, segment store, agent, the client's session, upload and download, every kernel and
//! every byte. Simulated: sockets, threads, clock, disk.

#![deny(clippy::disallowed_methods)]

pub mod checks;
pub mod clients;
pub mod faults;
pub mod model;
pub mod network;
pub mod processes;
pub mod random;
pub mod wishes;

use clients::ClientNode;
use network::{Conn, Network, Packet, Rpc};
use processes::{MasterNode, Process, WorkerNode};
use protocol::WorkerId;
use random::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

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
    /// A connection that a node asked for is there, or not.
    Dialed { who: Life, conn: u64, failed: bool },
    /// A node's timer.
    Tick { who: Life },
    /// A heartbeat is due.
    Beat { who: Life, link: u64 },
    /// The oldest proposed command is in the log.
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
    /// Something goes wrong.
    Fault(faults::Fault),
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
    /// Clients.
    pub clients: usize,
    /// Delays and losses of the network.
    pub network: Network,
}

/// The cluster and everything around it.
pub struct World {
    /// The time.
    pub now: Duration,
    next_action: u64,
    queue: BTreeMap<(Duration, u64), Action>,
    /// What is random.
    pub random: Random,
    /// The plan.
    pub plan: Plan,
    pub(crate) processes: BTreeMap<Node, Process>,
    pub(crate) master: MasterNode,
    pub(crate) workers: Vec<WorkerNode>,
    pub(crate) clients: Vec<ClientNode>,
    pub(crate) conns: BTreeMap<u64, Conn>,
    /// Who has closed which connection: nothing arrives there any more.
    pub(crate) hung_up: BTreeSet<(u64, Node)>,
    pub(crate) rpcs: BTreeMap<u64, Rpc>,
    next_number: u64,
    ticks: BTreeMap<Life, Duration>,
    /// What happened, for people and for comparing runs.
    pub trace: Vec<String>,
    /// Whether losing data is allowed: more copies were killed than the cluster promises to survive.
    pub loss_allowed: bool,
    /// Whether changes in what the master believes are written down.
    pub watched: bool,
    pub(crate) watch: checks::Watch,
    /// When a connection of each node was reset last.
    pub(crate) last_reset: BTreeMap<Node, Duration>,
    /// Whether the network is slow for a while.
    pub(crate) slow: bool,
    /// Workers killed since all segments had all their copies.
    pub(crate) unmended_kills: u32,
    /// A worker that was asked to end.
    pub(crate) draining: Option<usize>,
    /// Counters for the summary.
    pub events: u64,
    pub(crate) checker: checks::Checker,
}

/// Milliseconds since 1970 at time zero of every run.
pub const EPOCH_MS: u64 = 1_795_216_748_000;

impl World {
    /// A world in which nothing runs yet but clients that have nothing to do.
    pub fn new(seed: u64, plan: Plan) -> World {
        let mut random = Random::new(seed);
        let mut world = World {
            now: Duration::ZERO,
            next_action: 0,
            queue: BTreeMap::new(),
            processes: BTreeMap::new(),
            master: MasterNode::new(plan.replication),
            workers: (0..plan.workers).map(|_| WorkerNode::default()).collect(),
            clients: (0..plan.clients).map(|n| ClientNode::new(n, random.bits())).collect(),
            conns: BTreeMap::new(),
            hung_up: BTreeSet::new(),
            rpcs: BTreeMap::new(),
            next_number: 1,
            ticks: BTreeMap::new(),
            trace: Vec::new(),
            loss_allowed: false,
            slow: false,
            draining: None,
            unmended_kills: 0,
            watched: false,
            watch: checks::Watch::default(),
            last_reset: BTreeMap::new(),
            events: 0,
            checker: checks::Checker::default(),
            random,
            plan,
        };
        for client in 0..world.plan.clients {
            world.processes.insert(Node::Client(client), Process { life: 1, alive: true, ..Process::default() });
        }
        world
    }

    /// Milliseconds since 1970.
    pub fn unix_ms(&self) -> u64 {
        EPOCH_MS + self.now.as_millis() as u64
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

    /// Writes down what happened.
    pub(crate) fn note(&mut self, what: impl Into<String>) {
        self.trace.push(what.into());
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
            Action::Packet { to, .. } => Some(*to),
            Action::Dialed { who, .. }
            | Action::Tick { who }
            | Action::Beat { who, .. }
            | Action::Computed { who, .. } => Some(*who),
            Action::RpcReceived { at, .. } => Some(*at),
            Action::RpcArrives { rpc } => self.rpcs.get(rpc).map(|rpc| rpc.to),
            Action::RpcReturns { rpc, .. } | Action::RpcExpires { rpc } => self.rpcs.get(rpc).map(|rpc| rpc.from),
            // The disk goes on while the process stands still; what it has done is told when that runs again.
            Action::Written { life } => Some((Node::Master, *life)),
            Action::ClientActs { .. } | Action::Fault(_) => None,
        }
    }

    fn perform(&mut self, action: Action) {
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
            Action::Fault(fault) => self.on_fault(fault),
        }
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
