//! Who sits at the master's address for a moment and is not the master: a program that talks nonsense, the master of another cluster, a
//! former one that does not know that its time is over, one whose instructions cannot be followed. Clients and workers come to them
//! in runs with odd clients. They must find back to the master, and lose no more than they were told to give up.

use super::network::{Packet, Purpose};
use super::odd::NEVER;
use super::random::Random;
use super::{Chance, Node, World};
use crate::run::FAULTS_LAST;
use array::DType;
use protocol::message::client::*;
use protocol::message::worker::{ProcessSegment, RecoverData, RegisterWorker, Reserved};
use protocol::message::{Body, Hello, Role};
use protocol::{CopyRecord, ErrorCode, Message, WireError};
use uuid::Uuid;

/// A cluster that nobody of a run belongs to.
const OTHER_CLUSTER: Uuid = Uuid::from_u128(1);

/// A program that reads nothing.
const ZEROS: &str = ": float64 constant 0; elements 0";

/// What one of them is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imposter {
    /// It says what it should not, and hangs up.
    Talkative,
    /// It returns a client's greeting, and then says nothing more.
    Silent,
}

impl World {
    /// Whether a worker gives up its copies when it comes to another cluster, as `--join-new` says.
    pub(crate) fn joins_new(&self, n: usize) -> bool {
        self.plan.odd && self.loss_allowed && n.is_multiple_of(2)
    }

    /// Whether who opens a connection to the master now comes to an imposter.
    pub(crate) fn meet_imposter(&mut self, from: Node, purpose: Purpose) -> Option<Imposter> {
        let may_be = match purpose {
            Purpose::Client => true,
            Purpose::Control(_) => self.loss_allowed, // a worker that does not get to its master looks dead
            Purpose::Heartbeat(_) => false,
        };
        if !self.plan.odd || !may_be || self.now >= FAULTS_LAST {
            return None;
        }
        let luck = self.luck(from, Chance::Odd);
        // A worker takes who says nothing for a master of the original system, and waits for half a minute.
        let silent = luck.one_in(5) && purpose == Purpose::Client;
        luck.one_in(12).then_some(if silent { Imposter::Silent } else { Imposter::Talkative })
    }

    /// An imposter hears something, answers, and hangs up, unless it was a client's greeting.
    pub(crate) fn on_packet_to_imposter(&mut self, conn: u64, packet: Packet) {
        let (Packet::Message(message), Some(from)) = (packet, self.conns.get(&conn).map(|conn| conn.from.0)) else {
            return;
        };
        let is_greeting = matches!((from, &message.body), (Node::Client(_), Body::Hello(_)));
        if self.imposters[&conn] == Imposter::Silent && !is_greeting {
            return;
        }
        let mut luck = self.luck(from, Chance::Odd).clone();
        let answers = match (from, &message.body) {
            (Node::Worker(n), Body::RegisterWorker(register)) => self.answer_worker(n, register, &mut luck),
            (_, Body::Hello(_)) if luck.one_in(4) => vec![refusal(ErrorCode::NotAllowed)],
            (_, Body::Hello(_)) => vec![Message::new(Hello::new(Role::Master))],
            _ => vec![answer_to_client(&message, &mut luck)],
        };
        *self.luck(from, Chance::Odd) = luck;
        for answer in answers {
            self.send_packet(conn, Node::Master, Packet::Message(Box::new(answer)));
        }
        if !is_greeting {
            self.close_conn(conn, Node::Master, "the imposter hung up");
        }
    }

    /// They go, and the master is where it should be. Who says nothing is left for those who wait for it to notice.
    pub(crate) fn send_imposters_away(&mut self) {
        let talkative = self.imposters.iter().filter(|(_, imposter)| **imposter == Imposter::Talkative);
        let talkative: Vec<u64> = talkative.map(|(conn, _)| *conn).collect();
        talkative.into_iter().for_each(|conn| self.close_conn(conn, Node::Master, "the imposter is gone"));
    }

    /// What a worker is told that wants to register.
    fn answer_worker(&mut self, n: usize, register: &RegisterWorker, luck: &mut Random) -> Vec<Message> {
        let master = |cluster, term| {
            Message::new(Hello { cluster: Some(cluster), term: Some(term), ..Hello::new(Role::Master) })
        };
        let ours = self.cluster().map(|cluster| cluster.catalog().cluster());
        let dice = luck.below(6);
        if dice > 2 && self.joins_new(n) {
            self.checker.killed.push(self.now); // as good as that: its copies will be gone
        }
        match (dice, ours.filter(|cluster| !cluster.is_nil())) {
            (0, _) => vec![Message::new(Reserved {})],
            (1, _) => vec![Message::new(Hello::new(Role::Client))],
            (2, Some(ours)) => vec![master(ours, 0)], // of a term before the first
            (3 | 4, _) if self.joins_new(n) => {
                let held = register.hello.as_ref().and_then(|hello| hello.inventory.first());
                let instructions = impossible_instructions(held).into_iter().map(Message::new);
                [master(OTHER_CLUSTER, 0)].into_iter().chain(instructions).collect()
            }
            _ => vec![refusal(ErrorCode::WrongCluster)],
        }
    }
}

fn refusal(code: ErrorCode) -> Message {
    Message::new(WireError::new(code, "whoever you are looking for is not here"))
}

/// What a worker cannot do, among it with a copy that it holds.
fn impossible_instructions(held: Option<&CopyRecord>) -> Vec<Body> {
    let process = |operation: &str, sources, segment| {
        let segments = vec![segment];
        let (operation, result, elements) = (operation.to_string(), NEVER, 1);
        ProcessSegment { operation, sources, result, elements, segments, verify: false, inline: vec![] }.into()
    };
    let fetch = |bytes| {
        let copy = CopyRecord(NEVER, 0, 0, bytes);
        RecoverData { copy, dtype: DType::Int32, sources: vec![], background: false }.into()
    };
    let mut all: Vec<Body> = vec![
        WireError::new(ErrorCode::Internal, "never mind").into(),
        Status {}.into(),
        fetch(0),
        fetch(3),
        process("example1", vec![], 0),
        process(ZEROS, vec![], 7),
    ];
    if let Some(CopyRecord(version, segment, ..)) = held {
        // They take different dtypes.
        all.extend(["example1", "example2"].map(|operation| process(operation, vec![*version], *segment)));
    }
    all
}

/// What a client gets for a request: nothing that can be taken for its answer.
fn answer_to_client(message: &Message, luck: &mut Random) -> Message {
    let reply = |body: Body| Message::reply(&message.head, body);
    match (&message.body, luck.below(4)) {
        (Body::CreateArray(_) | Body::GetResult(_), 0) => reply(Reserved {}.into()),
        (Body::CreateArray(create), dice @ (1 | 2)) => reply(impossible_write(create, dice == 1).into()),
        (Body::GetResult(_), dice @ 1..) => reply(impossible_read(dice).into()),
        _ => refusal(ErrorCode::Malformed), // about the whole connection
    }
}

/// A plan without a length of segments, or one that names workers it does not list.
fn impossible_write(create: &CreateArray, without_length: bool) -> WritePlan {
    let len = create.shape.iter().product::<u64>();
    let segments = (0..len.min(1) as u32).map(|segment| PlannedWrite(segment, vec![7])).collect();
    let segment_length = if without_length { 0 } else { len.max(1) };
    WritePlan { version: NEVER, ticket: "none".to_string(), segment_length, workers: vec![], segments }
}

/// A plan without a length of segments, one that has the wrong segments, or one that names workers it does not list.
fn impossible_read(dice: u64) -> ReadPlan {
    let (segment_length, len, segment) = match dice {
        1 => (0, 1, 0),
        2 => (4096, 1 << 20, 9999),
        _ => (4096, 1, 0),
    };
    ReadPlan {
        array_id: "nobody's".to_string(),
        version: NEVER,
        handle: format!("nobody's@v{}", NEVER.0),
        source: Source::Array,
        dtype: DType::Int32,
        shape: vec![len],
        segment_length,
        pin: 0,
        lease_ms: 60_000,
        workers: vec![],
        segments: vec![PlannedRead(segment, 0, vec![7])],
    }
}
