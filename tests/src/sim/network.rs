//! The network: connections that deliver in order, late, or not at all, and requests to data ports.

use super::{Action, Life, Node, World};
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
    /// A client's upload.
    Write(Box<client::upload::WriteOrder>),
    /// A client's download.
    Read(Box<client::download::ReadOrder>),
    /// A worker that forwards for another request.
    Forward { parent: u64 },
    /// A worker that fetches a copy; which source comes next.
    Fetch { job: Box<worker::agent::FetchJob>, next: usize },
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
    /// How long the next packet takes.
    pub(crate) fn delay(&mut self) -> Duration {
        let network = self.plan.network.clone();
        let mut delay = self.random.time(network.delay, network.delay + network.jitter);
        if network.loss_one_in > 0 && self.random.one_in(network.loss_one_in) {
            delay += RETRANSMIT;
        }
        delay
    }

    /// Begins to open a connection to the master. `Action::Dialed` follows.
    pub(crate) fn dial_master(&mut self, from: Node, purpose: Purpose) -> u64 {
        let conn = self.number();
        let delay = self.delay();
        let (who, to) = (self.life(from), self.life(Node::Master));
        let failed = !self.is_alive(to);
        if !failed {
            // Nothing arrives on it before it is known to be there.
            self.conns.insert(conn, Conn { from: who, to, purpose, last: [self.now + delay; 2] });
        }
        self.after(delay, Action::Dialed { who, conn, failed });
        conn
    }

    /// Sends over a connection, if it is still there.
    pub(crate) fn send_packet(&mut self, conn: u64, by: Node, packet: Packet) {
        let delay = self.delay();
        let now = self.now;
        let Some(connection) = self.conns.get_mut(&conn) else { return };
        let (direction, to) = if connection.from.0 == by { (0, connection.to) } else { (1, connection.from) };
        let time = (now + delay).max(connection.last[direction]);
        connection.last[direction] = time;
        self.at(time, Action::Packet { conn, to, packet });
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

    /// Resets a connection: both ends hear of it.
    pub(crate) fn reset(&mut self, conn: u64) {
        let Some(connection) = self.conns.get(&conn) else { return };
        let (from, to) = (connection.from.0, connection.to.0);
        self.send_packet(conn, from, Packet::Closed("connection reset".to_string()));
        self.send_packet(conn, to, Packet::Closed("connection reset".to_string()));
        self.conns.remove(&conn);
    }

    /// Resets all connections of a node.
    pub fn reset_links_of(&mut self, node: Node) {
        let conns: Vec<u64> = self.conns.iter().filter(|(_, conn)| conn.from.0 == node).map(|(id, _)| *id).collect();
        conns.into_iter().for_each(|conn| self.reset(conn));
    }

    pub(crate) fn on_packet(&mut self, conn: u64, to: Life, packet: Packet) {
        if !self.is_alive(to) || self.hung_up.contains(&(conn, to.0)) {
            return;
        }
        match (to.0, packet) {
            (Node::Master, Packet::Message(message)) => {
                self.step_master(master::cluster::Event::Received { conn, message: *message });
            }
            (Node::Master, Packet::Closed(why)) => self.step_master(master::cluster::Event::Disconnected { conn, why }),
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
        let delay = self.delay();
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
        let delay = self.delay();
        self.after(delay, Action::RpcReturns { rpc, answer });
    }

    pub(crate) fn on_rpc_returns(&mut self, rpc: u64, answer: RpcAnswer) {
        let Some(request) = self.rpcs.remove(&rpc) else { return };
        if !self.is_alive(request.from) {
            return;
        }
        // A process that died while it was answering has not answered.
        let answer = if self.is_alive(request.to) { answer } else { Err("connection reset".to_string()) };
        match request.cont {
            Cont::Write(order) => self.on_write_answered(request.from.0, *order, answer),
            Cont::Read(order) => self.on_read_answered(request.from.0, *order, answer),
            Cont::Forward { parent } => self.on_forwarded(parent, answer),
            Cont::Fetch { job, next } => self.on_fetch_answered(request.from.0, *job, next, answer),
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
