//! What few clients do: they ask for what must be refused, lose patience, change their minds, begin operations that they do not wait
//! for, and leave uploads and reads behind. In some runs all clients are like that now and then, and the cluster has to clear up behind
//! them. There are strangers, too, who do not belong here, and sometimes a worker takes too long.

use super::clients::PATIENCE;
use super::model::{Computation, Content};
use super::network::{Cont, RpcAnswer};
use super::random::Random;
use super::wishes::Wish;
use super::{Action, Chance, Node, World};
use crate::run::FAULTS_LAST;
use array::DType;
use master::cluster::{Event, Quotas};
use protocol::limits::IN_FLIGHT_MAX;
use protocol::message::client::*;
use protocol::message::data::DistributeArray;
use protocol::message::worker::{RegisterWorker, Reserved, WorkerHello};
use protocol::message::{Body, Hello, Role};
use protocol::{ErrorCode, Message, Payload, PayloadKind, VersionId, WorkerId};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// A request that few would make.
#[derive(Clone, Debug)]
pub struct Odd {
    /// What is asked.
    pub body: Body,
    /// The errors that may be its answer.
    refused: &'static [ErrorCode],
    /// Whether one of them has to be.
    must: bool,
    /// The array that there is, if it succeeds.
    makes: Option<(String, Content)>,
}

/// A version and an operation that there never will be.
pub(super) const NEVER: VersionId = VersionId(1 << 50);

/// More than all workers of a run have together.
const TOO_LONG: u64 = 1 << 32;

fn must_be_refused(body: impl Into<Body>, refused: &'static [ErrorCode]) -> Odd {
    Odd { body: body.into(), refused, must: true, makes: None }
}

fn may_be_refused(body: impl Into<Body>, refused: &'static [ErrorCode]) -> Odd {
    Odd { must: false, ..must_be_refused(body, refused) }
}

impl World {
    /// What a client does next, and for how long it waits for that.
    pub(crate) fn odd_wish(&mut self, n: usize) -> (Wish, Duration) {
        let mut luck = self.luck(Node::Client(n), Chance::Odd).clone();
        let patience = match luck.one_in(12) {
            true => luck.time(Duration::from_millis(1), Duration::from_millis(300)),
            false => PATIENCE,
        };
        let wish = match self.clients[n].next.take() {
            Some(next) => next,
            None if luck.one_in(6) => self.new_odd_wish(n, &mut luck),
            None => self.next_wish(n),
        };
        *self.luck(Node::Client(n), Chance::Odd) = luck;
        (wish, patience)
    }

    fn new_odd_wish(&mut self, n: usize, luck: &mut Random) -> Wish {
        let known: Vec<&String> = self.clients[n].names.keys().collect();
        let name = if known.is_empty() { None } else { Some(known[luck.below(known.len() as u64) as usize].clone()) };
        let odd = match (luck.below(4), name) {
            (0, Some(name)) => self.unattended(n, &name),
            (1, _) => self.upload_to_leave(n, luck),
            (2, Some(array_id)) if luck.one_in(3) => {
                may_be_refused(GetResult { array_id, array: true, range: None }, &[])
            }
            (2, Some(name)) => self.wrong_about(n, &name, luck),
            _ => wrong(luck),
        };
        Wish::Odd(Box::new(odd))
    }

    /// A name that nobody has used.
    fn new_name(&mut self, n: usize) -> String {
        let client = &mut self.clients[n];
        client.made += 1;
        format!("c{}.{}-odd-{}", n + 1, client.life, client.made)
    }

    /// An operation that is not waited for.
    fn unattended(&mut self, n: usize, name: &str) -> Odd {
        let operation = "x + 1".to_string();
        let into = self.new_name(n);
        let computation = Computation::expression(&self.clients[n].names, name, &operation);
        let result = computation.and_then(|computation| computation.elements(self.plan.level_1 == 0));
        let body = ApplyOperation {
            array_id: name.to_string(),
            operation,
            into: Some(into.clone()),
            replace: false,
            no_wait: true,
            inline: false,
        };
        Odd { makes: result.ok().map(|result| (into, Content::of(result))), ..may_be_refused(body, &[]) }
    }

    /// An upload that is given up as soon as there is room for it.
    fn upload_to_leave(&mut self, n: usize, luck: &mut Random) -> Odd {
        let shape = vec![luck.pick(&[0, 1, 4097, 20_000])];
        may_be_refused(CreateArray { array_id: self.new_name(n), dtype: DType::Int32, shape, replace: false }, &[])
    }

    /// Something about an array that cannot be.
    fn wrong_about(&self, n: usize, name: &str, luck: &mut Random) -> Odd {
        let array_id = name.to_string();
        let len = self.clients[n].names[name].array.len() as u64;
        let apply = |operation: &str, into: Option<&str>| ApplyOperation {
            array_id: name.to_string(),
            operation: operation.to_string(),
            into: into.map(str::to_string),
            replace: false,
            no_wait: false,
            inline: false,
        };
        let names = &self.clients[n].names;
        let longer = names.iter().find(|(_, content)| content.array.len() as u64 > len).map(|(name, _)| name);
        match luck.below(10) {
            0 => must_be_refused(
                GetResult { array_id, array: true, range: Some((len, len + 1)) },
                &[ErrorCode::OutOfRange],
            ),
            1 => must_be_refused(
                GetResult { array_id: format!("{name}@v{}", NEVER.0), array: false, range: None },
                &[ErrorCode::UnknownVersion],
            ),
            2 => must_be_refused(
                CreateArray { array_id, dtype: DType::Int32, shape: vec![1], replace: false },
                &[ErrorCode::AlreadyExists],
            ),
            3 => must_be_refused(apply("x + 1", Some(name)), &[ErrorCode::AlreadyExists]),
            4 => must_be_refused(apply("nonsense", None), &[ErrorCode::UnknownOperation]),
            5 => must_be_refused(apply("x + ", None), &[ErrorCode::BadExpression]),
            6 => must_be_refused(apply("x + `nobody's`", None), &[ErrorCode::BadExpression]),
            8 if longer.is_some() => {
                let text = format!("x + `{}`", longer.expect("there is one"));
                must_be_refused(apply(&text, None), &[ErrorCode::BadExpression])
            }
            7 | 8 => {
                must_be_refused(ReduceArray { array_id, reductions: "summ(x)".into() }, &[ErrorCode::BadExpression])
            }
            _ => must_be_refused(
                GenerateArray { array_id, generator: "zeros(1)".into(), dtype: None, seed: 0, replace: false },
                &[ErrorCode::AlreadyExists],
            ),
        }
    }

    /// Sees what there is to do after an odd request was answered, and gives what the client knows now.
    pub(crate) fn go_on(&mut self, n: usize, odd: &Odd, answer: &Message) -> Option<(String, Content)> {
        if self.clients[n].is_misled {
            return None; // an imposter may have said that
        }
        assert!(!odd.must, "c{}: {:?} is not refused but answered {:?}", n + 1, odd.body, answer.body);
        let luck = self.luck(Node::Client(n), Chance::Odd).below(6);
        let next = match &answer.body {
            Body::OperationComplete(complete) if complete.status == OperationState::Complete => {
                return odd.makes.clone();
            }
            Body::OperationComplete(OperationComplete { operation, .. }) => {
                let operation = *operation;
                // A master that was started meanwhile does not know of it; and it may have ended.
                match luck {
                    0 => may_be_refused(CancelOperation { operation }, &[ErrorCode::UnknownOperationId]),
                    1 => return None,
                    _ => {
                        let wait = may_be_refused(WaitOperation { operation }, &[ErrorCode::UnknownOperationId]);
                        Odd { makes: odd.makes.clone(), ..wait }
                    }
                }
            }
            Body::WritePlan(plan) => {
                if luck == 4 {
                    self.write_wrongly(n, plan);
                }
                let (version, worker) = (plan.version, plan.workers.first().map(|worker| worker.worker.clone()));
                match (luck, &odd.body, worker) {
                    (0, ..) => return None, // it is forgotten after a minute
                    (1, Body::CreateArray(_), Some(worker)) => replan(version, worker),
                    (2, _, Some(_)) => must_be_refused(
                        CommitArray { version, segments: vec![] },
                        &[ErrorCode::Malformed, ErrorCode::UnknownUpload],
                    ),
                    (3, ..) => must_be_refused(
                        ReplanWrite { version, segments: vec![9999], avoid: vec![] },
                        &[ErrorCode::OutOfRange, ErrorCode::UnknownUpload],
                    ),
                    _ => may_be_refused(AbandonArray { version }, &[]),
                }
            }
            Body::ReadPlan(ReadPlan { pin, .. }) => match luck {
                0 => return None, // its lease ends
                1 | 2 => may_be_refused(RenewPin { pin: *pin }, &[ErrorCode::UnknownVersion]),
                _ => may_be_refused(Unpin { pin: *pin }, &[]),
            },
            _ => return None,
        };
        self.clients[n].next = Some(Wish::Odd(Box::new(next)));
        None
    }

    /// Writes a segment that is not what was planned: of another dtype, and of another length unless it has one element.
    fn write_wrongly(&mut self, n: usize, plan: &WritePlan) {
        let Some(PlannedWrite(segment, workers)) = plan.segments.first() else { return };
        let address = plan.workers[workers[0] as usize].address.clone();
        let bytes = vec![0; DType::Float32.size()];
        let payload = Payload {
            kind: PayloadKind::Elements(DType::Float32),
            bytes: bytes.len() as u64,
            crc32c: array::checksum::crc32c(&bytes),
        };
        let (version, ticket) = (plan.version, plan.ticket.clone());
        let write = DistributeArray { version, segment: *segment, ticket, forward: vec![] };
        let message = Message::request(1, write).with_payload(payload);
        self.ask(Node::Client(n), &address, message, Arc::new(bytes), PATIENCE, Cont::WrongWrite);
    }

    /// Whether an odd request may be refused with that.
    pub(crate) fn may_be_refused(&self, odd: &Odd, code: ErrorCode) -> bool {
        odd.refused.contains(&code)
    }
}

/// A worker must not take what was not planned.
pub(crate) fn see_wrong_write(answer: &RpcAnswer) {
    let is_taken = matches!(answer, Ok((message, _)) if !matches!(message.body, Body::Error(_)));
    assert!(!is_taken, "what was not planned is taken: {answer:?}");
}

/// The longest time that somebody waits before he changes his mind.
const CHANGES_WITHIN: Duration = Duration::from_millis(200);

/// What a worker takes that does not get on: longer than the master waits for it.
pub const EFFORT: Duration = Duration::from_secs(11);

/// Two hours, in milliseconds.
const TWO_HOURS: i64 = 2 * 3_600_000;

impl World {
    /// What comes with an odd wish of a client: that it changes its mind, or that a stranger comes by.
    pub(crate) fn disturb(&mut self, n: usize) {
        let mut luck = self.luck(Node::Client(n), Chance::Odd).clone();
        if luck.one_in(20) {
            let job = self.clients[n].jobs();
            self.after(luck.time(Duration::ZERO, CHANGES_WITHIN), Action::ClientCancels { client: n, job });
        }
        if luck.one_in(20) {
            self.stranger_comes(&mut luck);
        }
        *self.luck(Node::Client(n), Chance::Odd) = luck;
    }

    /// Somebody connects to the master who does not belong here, says something, and hangs up.
    fn stranger_comes(&mut self, luck: &mut Random) {
        let is_paused = self.processes.get(&Node::Master).is_none_or(|process| process.paused);
        if is_paused || !self.is_alive(self.life(Node::Master)) {
            return;
        }
        let there = self.cluster().map_or(Vec::new(), |cluster| cluster.list_workers().workers);
        let taken = there.iter().find(|worker| worker.state != WorkerState::Down).map(|worker| worker.id.clone());
        let conn = self.number();
        self.step_master(Event::Opened { conn, address: IpAddr::V4(Ipv4Addr::LOCALHOST) });
        for message in strange_words(luck, taken) {
            self.step_master(Event::Received { conn, message });
        }
        self.step_master(Event::Disconnected { conn, why: "the stranger hung up".to_string() });
    }

    /// How long a worker takes that is alive and does not get on.
    pub(crate) fn odd_effort(&mut self, n: usize) -> Option<Duration> {
        let odd = self.plan.odd && n >= self.plan.level_1 && self.now < FAULTS_LAST;
        let takes_long = odd && self.luck(Node::Worker(n), Chance::Odd).one_in(2000);
        if takes_long {
            self.checker.disturbed.get_or_insert(self.now);
        }
        takes_long.then_some(EFFORT)
    }

    /// What clients may have going at once: where there are odd ones, for two of three masters so little that strangers get to know
    /// those limits.
    pub(crate) fn quotas(&self) -> Quotas {
        let usual = Quotas::default();
        match self.life(Node::Master).1 % 3 {
            0 if self.plan.odd => Quotas { requests_per_address: 16, ..usual },
            1 if self.plan.odd => Quotas { bytes_pending: 1000, ..usual },
            _ => usual,
        }
    }

    /// The master's wall clock jumps: nobody has asked anything for more than an hour.
    pub(crate) fn forget_sessions(&mut self) {
        self.ahead_ms.insert(Node::Master, TWO_HOURS);
    }
}

/// What a stranger says, one message after the other; `taken` is the id of a worker that is there.
fn strange_words(luck: &mut Random, taken: Option<WorkerId>) -> Vec<Message> {
    let hello = |role, protocol| Message::new(Hello { protocol, ..Hello::new(role) });
    let status = |id| Message::request(id, Status {});
    let worker = |id: &str, protocol, cluster| {
        let hello = WorkerHello {
            protocol,
            features: vec![],
            worker: id.into(),
            incarnation: 0,
            address: "nowhere:1".into(),
            kernels: "strange".into(),
            memory_bytes: 1 << 30,
            zone: None,
            cluster,
            draining: false,
            inventory: vec![],
        };
        registration(Some(hello))
    };
    match (luck.below(10), taken) {
        (0, _) => vec![status(1)],
        (1, _) => vec![hello(Role::Client, 1)],
        (2, _) => vec![hello(Role::Master, 2)],
        (3, _) => vec![hello(Role::Heartbeat, 2)],
        (4, _) => vec![registration(None)],
        (5, _) => vec![worker("stranger", 1, None)],
        (6, _) => vec![worker("two words", 2, None)],
        (7, _) => vec![worker("stranger", 2, Some(uuid::Uuid::from_u128(1)))],
        // Whoever waits for the decision about an id cannot be a client.
        (8, Some(taken)) => vec![worker(taken.as_str(), 2, None), status(1)],
        _ => {
            let wait = |id, count| {
                let mut message = Message::request(id, WaitWorkers { count });
                message.head.timeout_ms = Some(200);
                message
            };
            let without_number = Message::new(Status {});
            let many = (1..=IN_FLIGHT_MAX as u64 + 1).map(|id| wait(id, 99));
            let greeting = [hello(Role::Client, 2), without_number, hello(Role::Client, 2)];
            greeting.into_iter().chain(many).chain([wait(1, 98)]).collect()
        }
    }
}

fn registration(hello: Option<WorkerHello>) -> Message {
    Message::new(RegisterWorker { host: "nowhere".into(), port: 1, cores: 2, memory: 1, hello })
}

/// The other workers shall have the first segment.
fn replan(version: VersionId, avoid: WorkerId) -> Odd {
    may_be_refused(ReplanWrite { version, segments: vec![0], avoid: vec![avoid] }, &[ErrorCode::UnknownUpload])
}

/// Something that cannot be.
fn wrong(luck: &mut Random) -> Odd {
    let nobodys = || "nobody's".to_string();
    let create = |array_id: &str, shape: Vec<u64>| CreateArray {
        array_id: array_id.to_string(),
        dtype: DType::Float64,
        shape,
        replace: true,
    };
    match luck.below(17) {
        0 => must_be_refused(DescribeArray { array_id: nobodys() }, &[ErrorCode::UnknownArray]),
        1 => must_be_refused(DeleteArray { array_id: nobodys() }, &[ErrorCode::UnknownArray]),
        2 => must_be_refused(
            GetResult { array_id: "nobody's@v1".into(), array: false, range: None },
            &[ErrorCode::UnknownArray],
        ),
        3 => must_be_refused(Explain { array_id: nobodys(), operation: "sum(x)".into() }, &[ErrorCode::UnknownArray]),
        4 => must_be_refused(create("", vec![1]), &[ErrorCode::InvalidName]),
        5 => must_be_refused(create("many sides", vec![1; 65]), &[ErrorCode::InvalidName]),
        6 => must_be_refused(create("many-sides", vec![1; 65]), &[ErrorCode::TooLarge]),
        7 => must_be_refused(create("endless", vec![1 << 40, 1 << 40]), &[ErrorCode::TooLarge]),
        8 => must_be_refused(create("too-long", vec![TOO_LONG]), &[ErrorCode::InsufficientMemory]),
        9 => must_be_refused(
            GenerateArray { array_id: nobodys(), generator: "nonsense(3)".into(), dtype: None, seed: 0, replace: true },
            &[ErrorCode::BadExpression],
        ),
        10 => must_be_refused(CommitArray { version: NEVER, segments: vec![] }, &[ErrorCode::UnknownUpload]),
        11 => must_be_refused(RenewPin { pin: 0 }, &[ErrorCode::UnknownVersion]),
        12 => must_be_refused(WaitOperation { operation: NEVER }, &[ErrorCode::UnknownOperationId]),
        13 => must_be_refused(CancelOperation { operation: NEVER }, &[ErrorCode::UnknownOperationId]),
        14 => must_be_refused(Hello::new(Role::Client), &[ErrorCode::NotAllowed]),
        15 => must_be_refused(Reserved {}, &[ErrorCode::NotAllowed]),
        _ => may_be_refused(WaitWorkers { count: 1 }, &[]),
    }
}
