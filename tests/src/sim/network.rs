//! The network: connections that deliver in order, late, or not at all, and requests to data ports.
//!
//! It behaves as TCP does: what a cut holds up is sent again when that ends, a lost packet after the shortest time-out, and a
//! connection cannot be opened while either direction is cut. Damaged bytes are what passes TCP's own checksum.

use super::{Action, Chance, Life, Node, World};
use master::cluster::Event;
use protocol::Message;
use std::sync::Arc;
use std::time::Duration;

/// How the network behaves.
#[derive(Clone, Debug)]
pub struct Network {
    /// The shortest time a packet takes.
    pub delay: Duration,
    /// What may come on top.
    pub jitter: Duration,
    /// One packet in so many is lost and sent again, as TCP does, after 200 ms; 0: none.
    pub loss_one_in: u64,
}

/// The shortest retransmission time-out of Linux.
const RETRANSMIT: Duration = Duration::from_millis(200);

/// How long whoever opens a connection waits for it, as clients and workers do.
const CONNECT_TIMEOUT: Duration = protocol::limits::CONNECT_TIMEOUT;

/// One direction in which nothing comes through for a while.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// From whom.
    pub from: Node,
    /// To whom.
    pub to: Node,
    /// When it ends.
    pub until: Duration,
}

/// What is on its way between two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A line of a connection to the master.
    Line,
    /// The bytes of a segment.
    Bytes,
}

/// What goes over a connection.
#[derive(Clone, Debug)]
pub enum Packet {
    /// A message.
    Message(Box<Message>),
    /// The other end has closed, or its process is gone.
    Closed(String),
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Purpose {
    /// A worker's control connection; the agent's number for it.
    Control(u64),
    /// A worker's heartbeats; the number of their link.
    Heartbeat(u64),
    /// A client's connection.
    Client,
}

/// A connection to the master.
#[derive(Debug)]
pub struct Conn {
    /// Who opened it.
    pub from: Life,
    /// The master's life that accepted it.
    pub to: Life,
    /// What it is for.
    pub purpose: Purpose,
    /// When the last packet in each direction arrives: nothing overtakes it.
    last: [Duration; 2],
}

/// Who waits for the answer of a data port, and what for.
#[derive(Debug)]
pub enum Cont {
    /// The upload of a client's job with that number.
    Write(u64, Box<client::upload::WriteOrder>),
    /// The download of one.
    Read(u64, Box<client::download::ReadOrder>),
    /// A worker that forwards for another request.
    Forward { parent: u64 },
    /// A worker that fetches a copy; which source comes next.
    Fetch { job: Box<worker::agent::FetchJob>, next: usize },
    /// A client that has written what was not planned.
    WrongWrite,
}

/// What a data port answered: a message, perhaps with bytes, or nothing because the connection broke.
pub type RpcAnswer = Result<(Message, Vec<u8>), String>;

/// A request to a data port, each on a connection of its own.
#[derive(Debug)]
pub struct Rpc {
    /// Who asks.
    pub from: Life,
    /// Whom.
    pub to: Life,
    /// What.
    pub message: Message,
    /// The bytes with it.
    pub bytes: Arc<Vec<u8>>,
    /// What for.
    pub cont: Cont,
}

impl World {
    /// How long the next packet takes from one node to another.
    pub(crate) fn delay(&mut self, from: Node, to: Node) -> Duration {
        let (delay, jitter) = self.delays(from, to, self.slow);
        let loss_one_in = self.plan.network.loss_one_in;
        let cut = self.cut_until(from, to);
        let now = self.now;
        let luck = self.luck(from, Chance::Network);
        let mut takes = luck.time(delay, delay + jitter);
        if loss_one_in > 0 && luck.one_in(loss_one_in) {
            takes += RETRANSMIT;
        }
        match cut {
            // The longer nothing came through, the longer TCP waits until it tries again.
            Some(until) => takes + (until - now) + luck.time(Duration::ZERO, RETRANSMIT + (until - now) / 2),
            None => takes,
        }
    }

    /// How long a packet between two nodes takes, and how much longer at most, where everything is so many times as slow.
    fn delays(&self, a: Node, b: Node, slow: u32) -> (Duration, Duration) {
        let Network { delay, jitter, .. } = self.plan.network;
        let slow_node = |node: &Node| self.slow_nodes.get(node).copied().unwrap_or(1);
        let slow = slow.max(slow_node(&a)).max(slow_node(&b));
        // Seconds of delay are as good as losing everybody at once; that is for runs that may lose something.
        let most = if self.loss_allowed { Duration::from_secs(3) } else { Duration::from_millis(150) };
        match slow {
            1 => (delay, jitter),
            slow => ((delay * slow).min(most), (jitter * slow).min(most)),
        }
    }

    /// The longest time that a packet takes where nothing is lost, and everything is so many times as slow.
    pub(crate) fn longest_delay(&self, a: Node, b: Node, slow: u32) -> Duration {
        let (delay, jitter) = self.delays(a, b, slow);
        delay + jitter
    }

    /// When the last cut in this direction ends, if there is one.
    pub(crate) fn cut_until(&self, from: Node, to: Node) -> Option<Duration> {
        let cuts = self.cuts.iter().filter(|cut| cut.from == from && cut.to == to && cut.until > self.now);
        cuts.map(|cut| cut.until).max()
    }

    /// Whether both directions between two nodes are open.
    pub(crate) fn is_open(&self, a: Node, b: Node) -> bool {
        self.cut_until(a, b).is_none() && self.cut_until(b, a).is_none()
    }

    /// Whether what goes between two nodes is to be damaged this time.
    fn is_damaged(&mut self, a: Node, b: Node, what: What) -> bool {
        !self.damage.is_empty() && (self.damage.remove(&(a, what)) || self.damage.remove(&(b, what)))
    }

    /// Begins to open a connection to the master. `Action::Dialed` follows.
    pub(crate) fn dial_master(&mut self, from: Node, purpose: Purpose) -> u64 {
        let conn = self.number();
        let mut delay = self.delay(from, Node::Master).max(self.delay(Node::Master, from));
        let (who, to) = (self.life(from), self.life(Node::Master));
        let mut failed = !self.is_alive(to);
        if !self.is_open(from, Node::Master) && delay > CONNECT_TIMEOUT {
            (failed, delay) = (true, CONNECT_TIMEOUT);
        }
        if !failed {
            // Nothing arrives on it before it is known to be there.
            self.conns.insert(conn, Conn { from: who, to, purpose, last: [self.now + delay; 2] });
            let imposter = self.meet_imposter(from, purpose);
            self.imposters.extend(imposter.map(|imposter| (conn, imposter)));
        }
        self.after(delay, Action::Dialed { who, conn, failed });
        conn
    }

    /// Sends over a connection, if it is still there.
    pub(crate) fn send_packet(&mut self, conn: u64, by: Node, packet: Packet) {
        let Some(connection) = self.conns.get(&conn) else { return };
        let (direction, to) = if connection.from.0 == by { (0, connection.to) } else { (1, connection.from) };
        let is_damaged = matches!(packet, Packet::Message(_)) && self.is_damaged(by, to.0, What::Line);
        if is_damaged {
            self.note(format!("a line from {} to {} is damaged", World::name_of(by), World::name_of(to.0)));
        }
        let delay = self.delay(by, to.0);
        let now = self.now;
        let Some(connection) = self.conns.get_mut(&conn) else { return };
        let time = (now + delay).max(connection.last[direction]);
        connection.last[direction] = time;
        self.at(time, if is_damaged { Action::DamagedLine { conn, to } } else { Action::Packet { conn, to, packet } });
    }

    /// Ends a connection: the other end hears of it after what was sent before.
    pub(crate) fn close_conn(&mut self, conn: u64, by: Node, why: &str) {
        self.send_packet(conn, by, Packet::Closed(why.to_string()));
        self.conns.remove(&conn);
        self.hung_up.insert((conn, by));
    }

    /// Ends all connections of a process that is gone. Packets that are on their way still arrive.
    pub(crate) fn cut_off(&mut self, gone: Life) {
        let conns: Vec<u64> =
            self.conns.iter().filter(|(_, conn)| conn.from == gone || conn.to == gone).map(|(id, _)| *id).collect();
        conns.into_iter().for_each(|conn| self.close_conn(conn, gone.0, "its connection was closed"));
        let asked: Vec<u64> = self.rpcs.iter().filter(|(_, rpc)| rpc.to == gone).map(|(id, _)| *id).collect();
        asked.into_iter().for_each(|rpc| self.return_rpc(rpc, Err("connection reset".to_string())));
    }

    /// Resets a connection: what is on its way is lost, and both ends hear of it.
    pub(crate) fn reset(&mut self, conn: u64) {
        self.severed.insert(conn);
        let Some(connection) = self.conns.get(&conn) else { return };
        let (from, to) = (connection.from.0, connection.to.0);
        self.last_reset.insert(from, self.now);
        self.send_packet(conn, from, Packet::Closed("connection reset".to_string()));
        self.send_packet(conn, to, Packet::Closed("connection reset".to_string()));
        self.conns.remove(&conn);
    }

    /// Whoever reads a damaged line cannot tell where the next begins, and closes the connection.
    pub(crate) fn on_damaged_line(&mut self, conn: u64, to: Life) {
        const WHY: &str = "a broken frame";
        if !self.is_alive(to) || self.hung_up.contains(&(conn, to.0)) {
            return;
        }
        if let Some(connection) = self.conns.get(&conn) {
            self.last_reset.insert(connection.from.0, self.now);
        }
        self.close_conn(conn, to.0, WHY);
        match to.0 {
            Node::Master if self.imposters.contains_key(&conn) => {}
            Node::Master => self.step_master(Event::Unreadable { conn, why: WHY.to_string() }),
            Node::Worker(n) => self.on_worker_packet(n, conn, Packet::Closed(WHY.to_string())),
            Node::Client(n) => self.on_client_packet(n, conn, Packet::Closed(WHY.to_string())),
        }
    }

    /// Resets all connections of a node.
    pub fn reset_links_of(&mut self, node: Node) {
        let conns: Vec<u64> = self.conns.iter().filter(|(_, conn)| conn.from.0 == node).map(|(id, _)| *id).collect();
        conns.into_iter().for_each(|conn| self.reset(conn));
    }

    pub(crate) fn on_packet(&mut self, conn: u64, to: Life, packet: Packet) {
        let is_lost = matches!(packet, Packet::Message(_)) && self.severed.contains(&conn);
        if is_lost || !self.is_alive(to) || self.hung_up.contains(&(conn, to.0)) {
            return;
        }
        self.outcome.retries += u64::from(matches!(packet, Packet::Closed(_)));
        match (to.0, packet) {
            (Node::Master, packet) if self.imposters.contains_key(&conn) => self.on_packet_to_imposter(conn, packet),
            (Node::Master, Packet::Message(message)) => {
                self.step_master(Event::Received { conn, message: *message });
            }
            (Node::Master, Packet::Closed(why)) => self.step_master(Event::Disconnected { conn, why }),
            (Node::Worker(n), packet) => self.on_worker_packet(n, conn, packet),
            (Node::Client(n), packet) => self.on_client_packet(n, conn, packet),
        }
    }

    pub(crate) fn on_dialed(&mut self, who: Life, conn: u64, failed: bool) {
        let failed = failed || !self.conns.contains_key(&conn);
        if !self.is_alive(who) {
            return self.close_conn(conn, who.0, "its process is gone");
        }
        match who.0 {
            Node::Worker(n) => self.on_worker_dialed(n, conn, failed),
            Node::Client(n) => self.on_client_dialed(n, conn, failed),
            Node::Master => {}
        }
    }

    // ---- data ports ----

    /// Asks a data port. Its answer, or the end of patience, comes back to `cont`.
    pub(crate) fn ask(
        &mut self,
        from: Node,
        address: &str,
        message: Message,
        bytes: Arc<Vec<u8>>,
        patience: Duration,
        cont: Cont,
    ) {
        let rpc = self.number();
        let (worker, life) = parse_address(address);
        let mut bytes = bytes;
        let delay = self.delay(from, Node::Worker(worker));
        if !bytes.is_empty() && self.is_damaged(from, Node::Worker(worker), What::Bytes) {
            bytes = Arc::new(self.damage_bytes(from, &bytes));
        }
        self.rpcs.insert(rpc, Rpc { from: self.life(from), to: (Node::Worker(worker), life), message, bytes, cont });
        self.after(delay, Action::RpcArrives { rpc });
        self.after(patience, Action::RpcExpires { rpc });
    }

    pub(crate) fn on_rpc_arrives(&mut self, rpc: u64) {
        let Some(request) = self.rpcs.get(&rpc) else { return };
        if !self.is_alive(request.to) {
            return self.return_rpc(rpc, Err("connection refused".to_string()));
        }
        self.serve(rpc);
    }

    /// Sends an answer of a data port on its way.
    pub(crate) fn return_rpc(&mut self, rpc: u64, answer: RpcAnswer) {
        let Some(request) = self.rpcs.get(&rpc) else { return };
        let (from, to) = (request.to.0, request.from.0);
        let delay = self.delay(from, to);
        let answer = match answer {
            Ok((message, bytes)) if !bytes.is_empty() && self.is_damaged(from, to, What::Bytes) => {
                Ok((message, self.damage_bytes(from, &bytes)))
            }
            other => other,
        };
        self.after(delay, Action::RpcReturns { rpc, answer });
    }

    /// Bytes as they arrive when one bit of them has flipped.
    fn damage_bytes(&mut self, from: Node, bytes: &[u8]) -> Vec<u8> {
        self.note(format!("bytes from {} are damaged on their way", World::name_of(from)));
        let mut damaged = bytes.to_vec();
        let at = self.luck(from, Chance::Network).below(8 * bytes.len() as u64);
        damaged[(at / 8) as usize] ^= 1 << (at % 8);
        damaged
    }

    /// Breaks the connection on which a request to a data port is under way.
    pub(crate) fn break_rpc(&mut self, rpc: u64) {
        self.on_rpc_returns(rpc, Err("connection reset".to_string()));
    }

    pub(crate) fn on_rpc_returns(&mut self, rpc: u64, answer: RpcAnswer) {
        let Some(request) = self.rpcs.remove(&rpc) else { return };
        if !self.is_alive(request.from) {
            return;
        }
        // A process that died while it was answering has not answered.
        let answer = if self.is_alive(request.to) { answer } else { Err("connection reset".to_string()) };
        self.outcome.retries +=
            u64::from(!matches!(&answer, Ok((message, _)) if !matches!(message.body, protocol::Body::Error(_))));
        match request.cont {
            Cont::Write(job, order) => self.on_write_answered(request.from.0, job, *order, answer),
            Cont::Read(job, order) => self.on_read_answered(request.from.0, job, *order, answer),
            Cont::Forward { parent } => self.on_forwarded(parent, answer),
            Cont::Fetch { job, next } => self.on_fetch_answered(request.from.0, *job, next, answer),
            Cont::WrongWrite => super::odd::see_wrong_write(&answer),
        }
    }

    pub(crate) fn on_rpc_expires(&mut self, rpc: u64) {
        if self.rpcs.contains_key(&rpc) {
            self.on_rpc_returns(rpc, Err("silence".to_string()));
        }
    }
}

/// The address of a worker's data port: a process that is gone is not there any more.
pub(crate) fn address_of(worker: usize, life: u64) -> String {
    format!("w{}:{life}", worker + 1)
}

fn parse_address(address: &str) -> (usize, u64) {
    let (worker, life) = address.split_once(':').expect("addresses are made by address_of");
    (worker[1..].parse::<usize>().expect("a number") - 1, life.parse().expect("a number"))
}
