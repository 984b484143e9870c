//! Processes: the master with its log, the workers with their stores, and starting, killing and pausing them.

use super::network::{Cont, Network, Packet, Purpose, RpcAnswer, address_of};
use super::random::Random;
use super::{Action, Chance, Life, Node, World};
use array::{Buffer, DType};
use master::cluster::{Cluster, Config, Effect, Event, Now, TICK};
use protocol::limits::HEARTBEAT_INTERVAL;
use protocol::message::client::Endpoint;
use protocol::message::data::*;
use protocol::message::worker::FEATURE_LEVEL_1;
use protocol::message::{Body, Hello, PayloadKind, Role};
use protocol::{CopyId, ErrorCode, Message, Payload, WireError, WorkerId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use worker::agent::{Agent, FetchJob, Fetched, Settings};
use worker::compute::{Computed, Made};
use worker::store::{Account, Admission, Grant, Store, Write};

/// Any process.
#[derive(Debug, Default)]
pub struct Process {
    /// Which life of it.
    pub life: u64,
    /// Whether it runs, or is stopped, but not killed.
    pub alive: bool,
    /// Stopped by SIGSTOP.
    pub paused: bool,
    /// The whole machine stands still since then, its clock too.
    pub frozen: Option<Duration>,
    /// What has happened to it meanwhile.
    pub backlog: Vec<Action>,
}

/// The master.
pub struct MasterNode {
    config: Config,
    /// As long as it runs; and after its death, for the checks.
    pub cluster: Option<Cluster>,
    /// What it has told whom, for stories.
    sent: Vec<(Node, Message)>,
}

impl MasterNode {
    pub(crate) fn new(replication: u32, min_copies: u32) -> MasterNode {
        let config = Config { replication, min_copies, address: "master".to_string(), data_dir: "memory".to_string() };
        MasterNode { config, cluster: None, sent: Vec::new() }
    }
}

/// A worker.
#[derive(Default)]
pub struct WorkerNode {
    /// While it runs.
    pub agent: Option<Agent>,
    /// Its copies.
    pub store: Option<Store>,
    started: Duration,
    /// Its control connection, by the agent's number for it.
    links: BTreeMap<u64, u64>,
    /// Its heartbeat connection, and the link it belongs to.
    heartbeats: Option<(u64, u64)>,
    link_of_heartbeats: u64,
    incarnation: u64,
}

/// What fetching a copy is said to take: about as long as computing some, so that replicas receive now and compute then.
const FETCHING: Duration = Duration::from_millis(1);

impl World {
    // ---- the master ----

    /// Starts the master on its log.
    pub fn start_master(&mut self) {
        let catalog = self.disk.replay();
        self.checker.told.extend(catalog.versions().map(|(id, _)| id));
        let life = self.processes.get(&Node::Master).map_or(0, |process| process.life) + 1;
        self.processes.insert(Node::Master, Process { life, alive: true, ..Process::default() });
        let mut entropy = Random::new(self.luck(Node::Master, Chance::Entropy).bits());
        let source = move || u128::from(entropy.bits()) << 64 | u128::from(entropy.bits());
        let cluster = Cluster::new(self.master.config.clone(), catalog, self.master_now(), Box::new(source));
        self.master.cluster = Some(cluster.with_quotas(self.quotas()));
        self.note("master starts");
        self.tick_at(Node::Master, self.now);
    }

    fn master_now(&self) -> Now {
        Now { elapsed: self.clock(Node::Master), unix_ms: self.unix_ms(Node::Master) }
    }

    pub(crate) fn tick_master(&mut self) {
        self.step_master(Event::Tick);
        self.tick_at(Node::Master, self.now + TICK);
    }

    pub(crate) fn step_master(&mut self, event: Event) {
        // What a step has caused at once comes when everything that it decided is on its way.
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let (now, life) = (self.master_now(), self.life(Node::Master));
            let Some(cluster) = &mut self.master.cluster else { return };
            let effects = cluster.step(now, event);
            self.check_master();
            for effect in effects {
                if !self.is_alive(life) {
                    return; // its log could not be written
                }
                match effect {
                    Effect::Send { conn, message } => {
                        self.check_reply(conn, &message);
                        if let (true, Some(conn)) = (self.watched, self.conns.get(&conn)) {
                            self.master.sent.push((conn.from.0, message.clone()));
                        }
                        self.send_packet(conn, Node::Master, Packet::Message(Box::new(message)));
                    }
                    Effect::Close { conn } => self.close_conn(conn, Node::Master, "the master closed the connection"),
                    Effect::Propose { command, sync } => events.extend(self.write_log(command, sync)),
                    Effect::Dial { worker, incarnation, .. } => {
                        let reached = self.is_open(Node::Master, Node::Worker(World::worker_number(&worker)));
                        let failure = (!reached).then(|| "no answer".to_string());
                        events.push_back(Event::Dialed { worker, incarnation, failure });
                    }
                    Effect::Stop => {
                        self.note("master ends");
                        self.end(Node::Master);
                    }
                }
            }
        }
    }

    /// Whether such a command is in the log.
    pub fn has_written(&self, command: &str) -> bool {
        let kind = |command: &master::cluster::command::Command| {
            serde_json::to_value(command).ok()?["command"].as_str().map(ToString::to_string)
        };
        self.disk.log.iter().any(|written| kind(written).as_deref() == Some(command))
    }

    /// Kills the master. What it was writing may be in the file or not; with `power_loss`, what was not synced either.
    pub fn kill_master(&mut self, power_loss: bool) {
        if !self.is_alive(self.life(Node::Master)) {
            return;
        }
        self.end(Node::Master);
        self.crash_disk(power_loss);
        self.note(if power_loss { "master is killed by a power loss" } else { "master is killed" });
    }

    // ---- workers ----

    /// Starts a worker that holds nothing.
    pub fn start_worker(&mut self, n: usize) {
        let node = Node::Worker(n);
        let life = self.processes.get(&node).map_or(0, |process| process.life) + 1;
        self.processes.insert(node, Process { life, alive: true, ..Process::default() });
        let name = World::name_of(node);
        let is_level_1 = n < self.plan.level_1;
        let settings = Settings {
            worker: WorkerId::from(name.as_str()),
            incarnation: self.unix_ms(node) * 100 + life,
            masters: vec!["master".to_string()],
            address: address_of(n, life),
            cores: 2,
            zone: is_level_1.then(|| "level-1".to_string()),
            join_new: self.joins_new(n),
            kernels: if is_level_1 { format!("level-1 {name}") } else { array::KERNELS_ID.to_string() },
            features: if is_level_1 { vec![FEATURE_LEVEL_1.to_string()] } else { Vec::new() },
            compute_slots: 2,
            small_elements: 2 << 10, // some last segments are
            medium_bytes: 24 << 10,  // int32 ones are
            fetch_slots: 2,
            seed: self.luck(node, Chance::Entropy).bits(),
        };
        let store = match is_level_1 {
            true => Store::sharing(self.plan.worker_bytes, Account::open(&self.pool)),
            false => Store::new(self.plan.worker_bytes),
        };
        self.workers[n] = WorkerNode {
            agent: Some(Agent::new(settings)),
            store: Some(store),
            started: self.clock(node),
            ..WorkerNode::default()
        };
        if self.draining == Some(n) {
            self.draining = None;
        }
        self.note(format!("{} starts", World::name_of(node)));
        self.step_worker(n, worker::agent::Event::Tick);
    }

    /// One more worker.
    pub fn add_worker(&mut self) {
        self.workers.push(WorkerNode::default());
        self.start_worker(self.workers.len() - 1);
    }

    /// Kills a worker: its copies are gone.
    pub fn kill_worker(&mut self, n: usize) {
        if self.is_alive(self.life(Node::Worker(n))) {
            self.note(format!("{} is killed", World::name_of(Node::Worker(n))));
            self.checker.killed.push(self.now);
            self.end(Node::Worker(n));
            self.workers[n] = WorkerNode::default();
        }
    }

    /// Stops a process, or lets it go on.
    pub fn pause(&mut self, node: Node, paused: bool) {
        let Some(process) = self.processes.get_mut(&node).filter(|process| process.alive && process.paused != paused)
        else {
            return;
        };
        process.paused = paused;
        let frozen = process.frozen.take();
        if let Some(since) = frozen.filter(|_| !paused) {
            *self.behind.entry(node).or_default() += self.now - since;
        }
        let Some(process) = self.processes.get_mut(&node) else { return };
        let backlog = std::mem::take(&mut process.backlog);
        if node == Node::Master {
            self.master_stands_still(paused);
        }
        self.note(format!("{} is {}", World::name_of(node), if paused { "stopped" } else { "continued" }));
        backlog.into_iter().for_each(|action| self.perform(action));
    }

    /// Stops a process with its clock, as a machine that is suspended.
    pub(crate) fn freeze(&mut self, node: Node) {
        self.pause(node, true);
        if let Some(process) = self.processes.get_mut(&node).filter(|process| process.paused) {
            process.frozen.get_or_insert(self.now);
        }
    }

    pub(crate) fn end(&mut self, node: Node) {
        let life = self.life(node);
        if let Some(process) = self.processes.get_mut(&node) {
            process.alive = false;
            process.paused = false;
            process.frozen = None;
            process.backlog.clear();
        }
        if node == Node::Master {
            self.master_stands_still(false);
        }
        self.cut_off(life);
    }

    pub(crate) fn step_worker(&mut self, n: usize, event: worker::agent::Event) {
        let now = self.clock(Node::Worker(n)) - self.workers[n].started;
        let node = &mut self.workers[n];
        let (Some(agent), Some(store)) = (&mut node.agent, &mut node.store) else { return };
        let effects = agent.step(now, store, event);
        let next = agent.next_deadline();
        for effect in effects {
            self.perform_worker_effect(n, effect);
        }
        if let Some(next) = next {
            let time = self.when(Node::Worker(n), self.workers[n].started + next);
            self.tick_at(Node::Worker(n), time);
        }
    }

    fn perform_worker_effect(&mut self, n: usize, effect: worker::agent::Effect) {
        use worker::agent::Effect;
        let node = Node::Worker(n);
        match effect {
            Effect::OpenLink { link, .. } => {
                let conn = self.dial_master(node, Purpose::Control(link));
                self.workers[n].links.insert(link, conn);
            }
            Effect::CloseLink { link } => {
                if let Some(conn) = self.workers[n].links.remove(&link) {
                    self.close_conn(conn, node, "the worker closed the connection");
                }
            }
            Effect::Send { link, message } => {
                if let Some(conn) = self.workers[n].links.get(&link).copied() {
                    self.send_packet(conn, node, Packet::Message(Box::new(message)));
                }
            }
            // A sign of life of level 1 to a master that has not answered yet: it means nothing to ours.
            Effect::Reply { link, .. } => self.step_worker(n, worker::agent::Event::Written { link }),
            Effect::Compute(job) => {
                let is_level_1 = n < self.plan.level_1;
                let mut outcome = job.run(&array::BufferPool::new(0));
                if let (true, Ok(Made::Elements(buffer, crc32c))) = (is_level_1, &mut outcome)
                    && job.program.output() == Some(DType::Float64)
                {
                    // Another library's sine: other last bits, those of this worker.
                    let values = buffer.as_mut_slice::<f64>();
                    values.iter_mut().for_each(|value| *value = f64::from_bits(value.to_bits() ^ (1 + n as u64)));
                    *crc32c = array::checksum::crc32c(buffer.as_bytes());
                }
                let effort = self.luck(node, Chance::Effort);
                let busy = match is_level_1 && effort.one_in(20) {
                    true => effort.time(Duration::from_secs(1), Duration::from_secs(8)),
                    false => effort.time(Duration::from_micros(100), Duration::from_millis(5)),
                };
                let busy = self.odd_effort(n).unwrap_or(busy);
                let computed = job.ended(outcome, busy);
                let who = self.life(node);
                self.after(busy, Action::Computed { who, computed });
            }
            Effect::Fetch(job) => self.fetch(n, job, 0),
            Effect::StartHeartbeats(job) => {
                self.workers[n].incarnation = job.incarnation;
                self.workers[n].link_of_heartbeats += 1;
                let link = self.workers[n].link_of_heartbeats;
                let conn = self.dial_master(node, Purpose::Heartbeat(link));
                self.workers[n].heartbeats = Some((conn, link));
            }
            Effect::StopHeartbeats => {
                if let Some((conn, _)) = self.workers[n].heartbeats.take() {
                    self.close_conn(conn, node, "the worker stopped its heartbeats");
                }
            }
            Effect::Free(segments) => drop(segments),
            Effect::Exit(reason) => {
                self.note(format!("{} ends: {reason}", World::name_of(node)));
                assert!(
                    [0, 3].contains(&reason.code()),
                    "nobody has taken its id, and nothing is wrong with its settings"
                );
                // Without having handed over it ends like a killed one.
                self.loss_allowed |= !self.may_lose(n);
                self.checker.killed.push(self.now);
                self.end(node);
                self.workers[n] = WorkerNode::default();
                // Whoever looks after it starts it again.
                self.after(Duration::from_secs(1), Action::Undo(super::faults::Undo::StartWorker(n)));
            }
        }
    }

    pub(crate) fn on_worker_dialed(&mut self, n: usize, conn: u64, failed: bool) {
        use worker::agent::Event;
        if self.workers[n].heartbeats.is_some_and(|(heartbeats, _)| heartbeats == conn) {
            if failed {
                return self.retry_heartbeats(n);
            }
            let incarnation = Some(self.workers[n].incarnation);
            let worker = Some(WorkerId::from(World::name_of(Node::Worker(n)).as_str()));
            let hello = Hello { worker, incarnation, ..Hello::new(Role::Heartbeat) };
            return self.send_packet(conn, Node::Worker(n), Packet::Message(Box::new(Message::new(hello))));
        }
        let Some(link) = self.workers[n].links.iter().find(|(_, c)| **c == conn).map(|(link, _)| *link) else {
            return self.close_conn(conn, Node::Worker(n), "nobody wants it any more");
        };
        let event = match failed {
            true => Event::LinkFailed { link, why: "connection refused".to_string() },
            false => Event::LinkOpened { link, local: None },
        };
        self.step_worker(n, event);
    }

    pub(crate) fn on_worker_packet(&mut self, n: usize, conn: u64, packet: Packet) {
        use worker::agent::Event;
        if let Some((_, link)) = self.workers[n].heartbeats.filter(|(heartbeats, _)| *heartbeats == conn) {
            let who = self.life(Node::Worker(n));
            return match packet {
                Packet::Message(_) => self.at(self.now, Action::Beat { who, link }),
                Packet::Closed(_) => self.retry_heartbeats(n),
            };
        }
        let Some(link) = self.workers[n].links.iter().find(|(_, c)| **c == conn).map(|(link, _)| *link) else { return };
        let event = match packet {
            Packet::Message(message) => Event::Received { link, message: *message },
            Packet::Closed(why) => Event::LinkClosed { link, why },
        };
        self.step_worker(n, event);
    }

    /// The heartbeats' connection is gone while the link lives: it is opened again soon.
    fn retry_heartbeats(&mut self, n: usize) {
        self.workers[n].link_of_heartbeats += 1; // beats that are still due for the old one are void
        let link = self.workers[n].link_of_heartbeats;
        self.workers[n].heartbeats = Some((0, link));
        let who = self.life(Node::Worker(n));
        self.after(HEARTBEAT_INTERVAL, Action::Beat { who, link });
    }

    pub(crate) fn on_beat(&mut self, who: Life, link: u64) {
        let Node::Worker(n) = who.0 else { return };
        if !self.is_alive(who) {
            return;
        }
        let Some((conn, _)) = self.workers[n].heartbeats.filter(|(_, current)| *current == link) else { return };
        if conn == 0 {
            let conn = self.dial_master(who.0, Purpose::Heartbeat(link));
            self.workers[n].heartbeats = Some((conn, link));
            return;
        }
        let node = &self.workers[n];
        if let (Some(agent), Some(store)) = (&node.agent, &node.store) {
            let heartbeat = agent.heartbeat(store);
            self.send_packet(conn, who.0, Packet::Message(Box::new(Message::new(heartbeat))));
            self.after(HEARTBEAT_INTERVAL, Action::Beat { who, link });
        }
    }

    pub(crate) fn on_computed(&mut self, who: Life, computed: Computed) {
        if let (Node::Worker(n), true) = (who.0, self.is_alive(who)) {
            self.step_worker(n, worker::agent::Event::Computed(vec![computed]));
        }
    }

    /// The last instruction of a kind to a worker comes once more, as from a master that does not know what happened since. False if
    /// there was none.
    pub fn repeat_instruction(&mut self, n: usize, kind: &str) -> bool {
        let is_meant = |(to, message): &&(Node, Message)| *to == Node::Worker(n) && message.body.kind() == kind;
        let late = self.master.sent.iter().rev().find(is_meant).map(|(_, message)| message.clone());
        match (late, self.workers[n].links.values().next().copied()) {
            (Some(late), Some(conn)) => {
                self.send_packet(conn, Node::Master, Packet::Message(Box::new(late)));
                true
            }
            _ => false,
        }
    }

    // ---- the data port ----

    /// A worker takes up a request to its data port.
    pub(crate) fn serve(&mut self, rpc: u64) {
        let request = &self.rpcs[&rpc];
        let Node::Worker(n) = request.to.0 else { return };
        match request.message.body.clone() {
            Body::DistributeArray(write) => self.serve_write(rpc, n, &write),
            Body::GetSegment(get) => {
                let answer = self.serve_read(n, &get);
                self.return_rpc(rpc, Ok(answer.unwrap_or_else(|error| (Message::new(error), Vec::new()))));
            }
            other => panic!("{} at a data port", other.kind()),
        }
    }

    fn serve_write(&mut self, rpc: u64, n: usize, write: &DistributeArray) {
        let request = &self.rpcs[&rpc];
        let payload = request.message.head.payload.expect("writes have a payload");
        let PayloadKind::Elements(dtype) = payload.kind else { panic!("elements") };
        let copy = CopyId(write.version, write.segment);
        let store = self.workers[n].store.as_mut().expect("it runs");
        let wanted = Write { copy, ticket: &write.ticket, dtype, bytes: payload.bytes, crc32c: payload.crc32c };
        match store.admit(wanted) {
            Err(error) => self.return_rpc(rpc, Ok((Message::new(error), Vec::new()))),
            Ok(Admission::Receive(grant)) => {
                let from = request.from.0;
                let takes = self.delay(from, Node::Worker(n));
                let at = self.life(Node::Worker(n));
                self.after(takes, Action::RpcReceived { rpc, at, grant });
            }
            Ok(Admission::Held(segment)) => self.stored(rpc, n, segment.record()),
        }
    }

    pub(crate) fn on_rpc_received(&mut self, rpc: u64, at: Life, grant: Grant) {
        let (Node::Worker(n), true) = (at.0, self.is_alive(at)) else { return };
        let Some(request) = self.rpcs.get(&rpc) else {
            // The writer has given up and closed its connection.
            return self.workers[n].store.as_mut().expect("it runs").abandon(grant);
        };
        let buffer = Buffer::from_bytes(&request.bytes);
        let payload = request.message.head.payload.expect("writes have a payload");
        let store = self.workers[n].store.as_mut().expect("it runs");
        if array::checksum::crc32c(&request.bytes) != payload.crc32c {
            store.abandon(grant);
            let error = WireError::new(ErrorCode::ChecksumMismatch, "the payload does not have the checksum stated");
            return self.return_rpc(rpc, Ok((Message::new(error), Vec::new())));
        }
        match store.finish(grant, buffer) {
            Ok(segment) => self.stored(rpc, n, segment.record()),
            Err(error) => self.return_rpc(rpc, Ok((Message::new(error), Vec::new()))),
        }
    }

    /// A segment is here: the master is told, then it is forwarded or acknowledged.
    fn stored(&mut self, rpc: u64, n: usize, record: protocol::CopyRecord) {
        self.step_worker(n, worker::agent::Event::Stored(record));
        let request = &self.rpcs[&rpc];
        let Body::DistributeArray(write) = &request.message.body else { return };
        let me = WorkerId::from(World::name_of(Node::Worker(n)).as_str());
        let Some((next, rest)) = write.forward.split_first() else {
            let stored = SegmentStored { copy: record, workers: vec![me], failed: vec![] };
            return self.return_rpc(rpc, Ok((Message::new(stored), Vec::new())));
        };
        let body = DistributeArray { forward: rest.to_vec(), ..write.clone() };
        let message = Message { head: request.message.head.clone(), ..Message::new(body) };
        let (bytes, next) = (request.bytes.clone(), next.clone());
        self.ask(Node::Worker(n), &next.address, message, bytes, Duration::from_secs(3), Cont::Forward { parent: rpc });
    }

    pub(crate) fn on_forwarded(&mut self, parent: u64, answer: RpcAnswer) {
        let Some(request) = self.rpcs.get(&parent) else { return };
        let Node::Worker(n) = request.to.0 else { return };
        let Body::DistributeArray(write) = &request.message.body else { return };
        let me = WorkerId::from(World::name_of(request.to.0).as_str());
        let payload = request.message.head.payload.expect("writes have a payload");
        let copy = protocol::CopyRecord(write.version, write.segment, payload.crc32c, payload.bytes);
        let failed = |worker: &Endpoint, error: WireError| FailedWorker { worker: worker.worker.clone(), error };
        let stored = match answer {
            Ok((Message { body: Body::SegmentStored(stored), .. }, _)) => {
                let workers = std::iter::once(me).chain(stored.workers).collect();
                SegmentStored { copy, workers, failed: stored.failed }
            }
            Ok((Message { body: Body::Error(error), .. }, _)) => {
                let failed = write.forward.iter().map(|worker| failed(worker, error.clone())).collect();
                SegmentStored { copy, workers: vec![me], failed }
            }
            _ => {
                let gone = WireError::new(ErrorCode::NoWorkers, "it could not be reached");
                let failed = write.forward.iter().map(|worker| failed(worker, gone.clone())).collect();
                SegmentStored { copy, workers: vec![me], failed }
            }
        };
        debug_assert!(self.workers[n].store.is_some());
        self.return_rpc(parent, Ok((Message::new(stored), Vec::new())));
    }

    fn serve_read(&mut self, n: usize, get: &GetSegment) -> Result<(Message, Vec<u8>), WireError> {
        let store = self.workers[n].store.as_mut().expect("it runs");
        let segment = store.get_or_refuse(CopyId(get.version, get.segment))?;
        if !segment.is_intact() {
            store.remove_broken(&segment);
            self.step_worker(n, worker::agent::Event::Broken(segment.record().id()));
            return Err(WireError::new(ErrorCode::ChecksumMismatch, "the copy is broken"));
        }
        let size = segment.dtype().size() as u64;
        let (from, to) = get.range.unwrap_or((0, segment.elements()));
        let bytes = segment.buffer().as_bytes()[(from * size) as usize..(to * size) as usize].to_vec();
        let payload = Payload {
            kind: PayloadKind::Elements(segment.dtype()),
            bytes: bytes.len() as u64,
            crc32c: array::checksum::crc32c(&bytes),
        };
        let message = Message::new(Segment { copy: segment.record() }).with_payload(payload);
        Ok((message, bytes))
    }

    // ---- fetching ----

    /// A worker's connections, for people.
    pub(crate) fn links_of(&self, n: usize) -> String {
        let node = &self.workers[n];
        let open = |conn: &u64| self.conns.contains_key(conn);
        let links: Vec<String> =
            node.links.iter().map(|(link, conn)| format!("{link}: {conn} open {}", open(conn))).collect();
        format!("started {:?}, links {links:?}, heartbeats {:?}", node.started, node.heartbeats)
    }

    fn fetch(&mut self, n: usize, job: FetchJob, next: usize) {
        let Some(source) = job.sources.get(next).cloned() else {
            let error = WireError::new(ErrorCode::NotHeld, "no source gives it");
            let fetched = Fetched { job: job.job, outcome: Err(error), busy: FETCHING };
            return self.step_worker(n, worker::agent::Event::Fetched(fetched));
        };
        let get = GetSegment { version: job.copy.0, segment: job.copy.1, range: None };
        let cont = Cont::Fetch { job: Box::new(job), next: next + 1 };
        self.ask(
            Node::Worker(n),
            &source.address,
            Message::request(1, get),
            Arc::default(),
            Duration::from_secs(3),
            cont,
        );
    }

    pub(crate) fn on_fetch_answered(&mut self, node: Node, job: FetchJob, next: usize, answer: RpcAnswer) {
        let Node::Worker(n) = node else { return };
        match answer {
            Ok((Message { body: Body::Segment(segment), .. }, bytes))
                if segment.copy == job.copy && array::checksum::crc32c(&bytes) == job.copy.crc32c() =>
            {
                let fetched = Fetched { job: job.job, outcome: Ok(Buffer::from_bytes(&bytes)), busy: FETCHING };
                self.step_worker(n, worker::agent::Event::Fetched(fetched));
            }
            _ => self.fetch(n, job, next),
        }
    }

    /// Flips a bit in one copy that a worker holds, as a broken memory would.
    pub fn corrupt(&mut self, n: usize, copy: CopyId) -> bool {
        self.checker.flipped.insert(copy);
        let luck = self.luck(Node::Worker(n), Chance::Choice).bits();
        let Some(store) = &mut self.workers[n].store else { return false };
        let Some(segment) = store.get(copy) else { return false };
        let mut bytes = segment.buffer().as_bytes().to_vec();
        let (record, dtype) = (segment.record(), segment.dtype());
        drop(segment);
        if bytes.is_empty() {
            return false;
        }
        let at = (luck % bytes.len() as u64) as usize;
        bytes[at] ^= 1 << (at % 8);
        store.drop_copy(copy);
        drop(store.take_trash());
        let Ok(room) = store.make_room(record.bytes()) else { return false };
        let broken = worker::store::Segment::new(copy, dtype, Buffer::from_bytes(&bytes), record.crc32c());
        self.workers[n].store.as_mut().is_some_and(|store| store.insert(room, broken).is_ok())
    }
}

/// A network on which nothing is random: for scripts.
pub fn still_network() -> Network {
    Network { delay: Duration::from_micros(100), jitter: Duration::ZERO, loss_one_in: 0 }
}
