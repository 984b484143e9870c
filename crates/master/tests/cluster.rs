//! The cluster's state machine, message by message: what the stories and the simulator do not reach.

use array::DType;
use master::cluster::catalog::{Catalog, Memory};
use master::cluster::command::Command;
use master::cluster::{Cluster, Config, ConnId, Effect, Event, Now};
use protocol::message::client::*;
use protocol::message::worker::*;
use protocol::message::{Body, Hello, Message, Ping, Pong, Role};
use protocol::{CopyId, CopyRecord, Digest, ErrorCode, SessionId, VersionId, WireError, WorkerId};
use std::time::Duration;

#[path = "cluster/copies.rs"]
mod copies;
#[path = "cluster/deadlines.rs"]
mod deadlines;
#[path = "cluster/estimates.rs"]
mod estimates;
#[path = "cluster/figures.rs"]
mod figures;
#[path = "cluster/hearing.rs"]
mod hearing;
#[path = "cluster/limits.rs"]
mod limits;
#[path = "cluster/operations.rs"]
mod operations;
#[path = "cluster/reads.rs"]
mod reads;
#[path = "cluster/registration.rs"]
mod registration;
#[path = "cluster/sessions.rs"]
mod sessions;
#[path = "cluster/uploads.rs"]
mod uploads;

/// When the master of a [`Desk`] starts, by the clock of its machine, which has been on for a while by then.
const STARTED: Duration = Duration::from_secs(7200);

/// The same in milliseconds since 1970.
const STARTED_UNIX_MS: u64 = 1_795_216_748_000;

/// A cluster whose log writes at once, unless it is slow, and whose peers are this test.
struct Desk {
    cluster: Cluster,
    now: Duration,
    log: Vec<Command>,
    /// Commands stay in `unwritten` until [`Desk::write_log`].
    log_is_slow: bool,
    unwritten: Vec<Command>,
    /// What was sent, oldest first, until it is looked at.
    sent: Vec<(ConnId, Message)>,
    closed: Vec<ConnId>,
    /// The master has asked for its end.
    stopped: bool,
}

impl Desk {
    fn new() -> Desk {
        Desk::with_replication(2)
    }

    fn with_replication(replication: u32) -> Desk {
        Desk::start(replication, 1, Catalog::default(), Vec::new())
    }

    fn with_min_copies(min_copies: u32) -> Desk {
        Desk::start(2, min_copies, Catalog::default(), Vec::new())
    }

    fn with_log(catalog: Catalog, log: Vec<Command>) -> Desk {
        Desk::start(2, 1, catalog, log)
    }

    fn start(replication: u32, min_copies: u32, catalog: Catalog, log: Vec<Command>) -> Desk {
        let config = Config { replication, min_copies, address: "here".into(), data_dir: "nowhere".into() };
        let mut counter = 0_u128;
        let entropy = move || {
            counter += 1;
            counter
        };
        let now = Now { elapsed: STARTED, unix_ms: STARTED_UNIX_MS };
        let cluster = Cluster::new(config, catalog, now, Box::new(entropy));
        let mut desk = Desk {
            cluster,
            now: STARTED,
            log,
            log_is_slow: false,
            unwritten: Vec::new(),
            sent: Vec::new(),
            closed: Vec::new(),
            stopped: false,
        };
        desk.step(Event::Tick);
        desk
    }

    fn step(&mut self, event: Event) {
        let since_start_ms = (self.now - STARTED).as_millis() as u64;
        let now = Now { elapsed: self.now, unix_ms: STARTED_UNIX_MS + since_start_ms };
        for effect in self.cluster.step(now, event) {
            match effect {
                Effect::Send { conn, message } => self.sent.push((conn, message)),
                Effect::Close { conn } => self.closed.push(conn),
                Effect::Propose { command, .. } if self.log_is_slow => self.unwritten.push(command),
                Effect::Propose { command, .. } => self.commit(command),
                Effect::Dial { .. } => {}
                Effect::Stop => self.stopped = true,
            }
        }
        self.cluster.check();
    }

    fn commit(&mut self, command: Command) {
        self.log.push(command.clone());
        self.step(Event::Committed { index: self.log.len() as u64, command });
    }

    /// A slow log writes what it has been given, and is as fast as usual from then on.
    fn write_log(&mut self) {
        self.log_is_slow = false;
        std::mem::take(&mut self.unwritten).into_iter().for_each(|command| self.commit(command));
    }

    fn say(&mut self, conn: ConnId, message: impl Into<Message>) {
        self.step(Event::Received { conn, message: message.into() });
    }

    /// Lets time pass, with the heartbeats of some workers, which say that they hear when they are asked.
    fn wait(&mut self, ms: u64, alive: &[ConnId]) {
        for _ in 0..ms / 50 {
            self.wait_unanswered(50, alive);
            let (pings, rest) = std::mem::take(&mut self.sent)
                .into_iter()
                .partition(|(conn, message)| message.body == Body::from(Ping {}) && alive.contains(&(conn + 1)));
            self.sent = rest;
            for (conn, ping) in Vec::<(ConnId, Message)>::into_iter(pings) {
                self.say(conn, Message::reply(&ping.head, Pong {}));
            }
        }
    }

    /// The same, but nobody answers.
    fn wait_unanswered(&mut self, ms: u64, alive: &[ConnId]) {
        for _ in 0..ms / 50 {
            self.now += Duration::from_millis(50);
            for conn in alive {
                self.say(
                    *conn,
                    Message::new(Heartbeat {
                        digest: Digest::default(),
                        copies: 0,
                        memory_used_bytes: 0,
                        memory_idle_bytes: 0,
                        tasks: 0,
                    }),
                );
            }
            self.step(Event::Tick);
        }
    }

    /// What was sent on a connection since it was looked at last.
    fn heard(&mut self, conn: ConnId) -> Vec<Message> {
        let (heard, rest) = std::mem::take(&mut self.sent).into_iter().partition(|(to, _)| *to == conn);
        self.sent = rest;
        heard.into_iter().map(|(_, message): (ConnId, Message)| message).collect()
    }

    fn heard_error(&mut self, conn: ConnId) -> Option<ErrorCode> {
        self.heard(conn).iter().find_map(|message| match &message.body {
            Body::Error(error) => Some(error.code),
            _ => None,
        })
    }

    /// Whether a worker was told to drop a version since it was looked at last.
    fn is_told_to_drop(&mut self, conn: ConnId, version: VersionId) -> bool {
        let drops = |message: &Message| matches!(&message.body, Body::DropCopies(drop) if drop.versions == [version]);
        self.heard(conn).iter().any(drops)
    }

    /// The types of what was sent on a connection since it was looked at last.
    fn heard_kinds(&mut self, conn: ConnId) -> Vec<String> {
        self.heard(conn).iter().map(|message| message.body.kind().to_string()).collect()
    }

    /// Takes the answers of the workers on these connections to whoever asks them to keep room.
    fn reserved(&mut self, conns: &[ConnId]) {
        for conn in conns {
            for message in self.heard(*conn) {
                if let Body::Reserve(_) = message.body {
                    self.say(*conn, Message::reply(&message.head, Reserved {}));
                }
            }
        }
    }

    /// Registers a worker on connection `conn`, with heartbeats on `conn + 1`.
    fn register(&mut self, conn: ConnId, id: &str, incarnation: u64, inventory: Vec<CopyRecord>) {
        self.register_with(conn, id, incarnation, registration(id, incarnation, None, inventory));
    }

    fn register_with(&mut self, conn: ConnId, id: &str, incarnation: u64, registration: Message) {
        self.say(conn, registration);
        let hello = Hello { worker: Some(id.into()), incarnation: Some(incarnation), ..Hello::new(Role::Heartbeat) };
        self.say(conn + 1, Message::new(hello));
    }

    fn client(&mut self, conn: ConnId) -> SessionId {
        self.say(conn, Message::new(Hello::new(Role::Client)));
        match &self.heard(conn)[0].body {
            Body::Hello(hello) => hello.session.expect("clients get a session"),
            other => panic!("{other:?}"),
        }
    }

    fn state(&self, id: &str) -> WorkerState {
        let workers = self.cluster.list_workers().workers;
        workers.iter().find(|worker| worker.id == WorkerId::from(id)).expect("it is known").state
    }
}

fn registration(id: &str, incarnation: u64, cluster: Option<uuid::Uuid>, inventory: Vec<CopyRecord>) -> Message {
    let hello = WorkerHello {
        protocol: 2,
        features: vec![],
        worker: id.into(),
        incarnation,
        address: format!("{id}:1"),
        kernels: "darray-1".into(),
        memory_bytes: 1 << 30,
        zone: None,
        cluster,
        draining: false,
        inventory,
    };
    Message::new(RegisterWorker { host: "127.0.0.1".into(), port: 1, cores: 2, memory: 1024, hello: Some(hello) })
}

/// Asks for the upload of an array of int32.
fn create(id: u64, name: &str, len: u64) -> Message {
    Message::request(id, CreateArray { array_id: name.into(), dtype: DType::Int32, shape: vec![len], replace: false })
}

/// The plan of an upload that a client was sent.
fn planned(desk: &mut Desk, conn: ConnId) -> WritePlan {
    match desk.heard(conn).pop().map(|message| message.body) {
        Some(Body::WritePlan(plan)) => plan,
        other => panic!("{other:?}"),
    }
}

/// A request with a deadline.
fn within(ms: u64, mut request: Message) -> Message {
    request.head.timeout_ms = Some(ms);
    request
}

/// Stores four elements; see [`store_elements`].
fn store(desk: &mut Desk, id: u64, name: &str) -> VersionId {
    store_elements(desk, id, name, 4)
}

/// The longest array of one segment, in elements.
const LONG: u64 = 4096;

/// Stores an array of one segment on both workers (connections 10 and 20), by client connection 1. Gives its version.
fn store_elements(desk: &mut Desk, id: u64, name: &str, len: u64) -> VersionId {
    store_on(desk, &[10, 20], id, name, &[len])
}

/// The same with two segments, of [`LONG`] elements each.
fn store_two_segments(desk: &mut Desk, id: u64, name: &str) -> VersionId {
    store_on(desk, &[10, 20], id, name, &[LONG, LONG])
}

/// Stores segments of these lengths, all of them on each of these workers: w1 is on connection 10, w2 on 20.
fn store_on(desk: &mut Desk, conns: &[ConnId], id: u64, name: &str, lengths: &[u64]) -> VersionId {
    desk.say(1, create(id, name, lengths.iter().sum()));
    desk.reserved(conns);
    let version = planned(desk, 1).version;
    let copy = |(segment, len): (u32, &u64)| CopyRecord(version, segment, 7, len * 4);
    let stored: Vec<CopyRecord> = (0..).zip(lengths).map(copy).collect();
    for conn in conns {
        desk.say(*conn, Message::new(CopiesChanged { stored: stored.clone(), broken: vec![] }));
    }
    let workers: Vec<WorkerId> = conns.iter().map(|conn| format!("w{}", conn / 10).as_str().into()).collect();
    let segments = stored.iter().map(|copy| WrittenSegment(copy.1, 7, workers.clone())).collect();
    desk.say(1, Message::request(id + 1, CommitArray { version, segments }));
    let replies = desk.heard(1);
    let is_stored =
        |body: &Body| matches!(body, Body::ArrayCommitted(committed) if committed.copies == conns.len() as u32);
    assert!(matches!(&replies[..], [reply] if is_stored(&reply.body)), "{replies:?}");
    version
}

/// The same as that of a worker of level 1, as its stand-in sends it.
fn registration_at_level_1(id: &str, cores: u32) -> Message {
    let mut message = registration(id, 1, None, vec![]);
    let Body::RegisterWorker(register) = &mut message.body else { unreachable!() };
    register.cores = cores;
    let hello = register.hello.as_mut().expect("it says hello");
    hello.features = vec![FEATURE_LEVEL_1.to_string()];
    hello.kernels = format!("level-1 {id}");
    hello.zone = Some("level-1".into());
    message
}

/// Worker w1 (connection 10) speaks level 1 and is the primary of an array `a` of one segment; w2 (connection 20), one of ours, has
/// come later and has fetched a copy. The operation has been asked for.
fn level_1_and_ours() -> Desk {
    level_1_and_ours_with(&[4])
}

/// The same with segments of these lengths.
fn level_1_and_ours_with(lengths: &[u64]) -> Desk {
    let mut desk = Desk::new();
    desk.register_with(10, "w1", 1, registration_at_level_1("w1", 2));
    desk.client(1);
    store_on(&mut desk, &[10], 1, "a", lengths);
    desk.register(20, "w2", 1, vec![]);
    desk.wait(100, &[11, 21]);
    told_to_fetch(&mut desk, 20).into_iter().for_each(|copy| fetched(&mut desk, 20, copy, None));
    desk.sent.clear();
    desk.say(1, apply_to_a(3));
    desk
}

/// Workers w1 (connection 10) and w2 (connection 20) have one copy each: w1 that of an array `a`, w2 that of an array `b` of as many
/// elements, [`LONG`].
fn arrays_that_lie_apart() -> Desk {
    let mut desk = Desk::with_replication(1);
    desk.register(10, "w1", 1, vec![]);
    desk.client(1);
    store_on(&mut desk, &[10], 1, "a", &[LONG]);
    desk.register(20, "w2", 1, vec![]);
    desk.wait(450, &[21]); // w1 is as good as silent, and gets nothing new
    desk.wait(100, &[21]);
    assert_eq!(desk.state("w1"), WorkerState::Suspect);
    store_on(&mut desk, &[20], 3, "b", &[LONG]);
    desk.wait(50, &[11, 21]);
    desk
}

/// The segments that a worker was asked to compute since it was looked at last, and whether to check them first.
fn asked_to_compute(desk: &mut Desk, conn: ConnId) -> Option<(Message, VersionId, bool)> {
    desk.heard(conn).into_iter().find_map(|message| match &message.body {
        Body::ProcessSegment(process) => Some((message.clone(), process.result, process.verify)),
        _ => None,
    })
}

fn computed(asked: &(Message, VersionId, bool), crc32c: u32) -> Message {
    let copies = vec![CopyRecord(asked.1, 0, crc32c, 16)];
    Message::reply(&asked.0.head, SegmentResult { copies, busy_us: 1, ..SegmentResult::of(asked.1) })
}

/// Copies that a worker was told to fetch since it was looked at last.
fn told_to_fetch(desk: &mut Desk, conn: ConnId) -> Vec<CopyRecord> {
    let told = desk.heard(conn).into_iter();
    let told = told.filter_map(|message| match message.body {
        Body::RecoverData(recover) => Some(recover.copy),
        _ => None,
    });
    told.collect()
}

fn fetched(desk: &mut Desk, conn: ConnId, copy: CopyRecord, error: Option<ErrorCode>) {
    let error = error.map(|code| WireError::new(code, "no"));
    desk.say(conn, Message::new(RecoveryComplete { copy, busy_us: None, error }));
}

/// A worker is asked to fetch a copy with this checksum, and does.
fn fetches(desk: &mut Desk, conn: ConnId, crc32c: u32) {
    let copy = *told_to_fetch(desk, conn).first().expect("it is asked to fetch");
    assert_eq!(copy.crc32c(), crc32c);
    fetched(desk, conn, copy, None);
}

fn completed(desk: &mut Desk) -> OperationComplete {
    match desk.heard(1).pop().map(|message| message.body) {
        Some(Body::OperationComplete(complete)) => complete,
        other => panic!("{other:?}"),
    }
}

/// Asks for `example2` on the array `a`.
fn apply_to_a(id: u64) -> Message {
    operation_on_a(id, "example2")
}

fn operation_on_a(id: u64, operation: &str) -> Message {
    let (array_id, operation) = ("a".into(), operation.into());
    Message::request(
        id,
        ApplyOperation { array_id, operation, into: None, replace: false, no_wait: false, inline: false },
    )
}

/// What an operation on the array `a` would do.
fn explain(desk: &mut Desk, operation: &str) -> Explanation {
    desk.say(1, Message::request(900, Explain { array_id: "a".into(), operation: operation.into() }));
    match desk.heard(1).pop().map(|message| message.body) {
        Some(Body::Explanation(explanation)) => explanation,
        other => panic!("{other:?}"),
    }
}

fn two_workers() -> Desk {
    let mut desk = Desk::new();
    desk.register(10, "w1", 1, vec![]);
    desk.register(20, "w2", 1, vec![]);
    desk.client(1);
    desk.sent.clear();
    desk
}

#[test]
fn a_live_workers_id_cannot_be_taken() {
    let mut desk = two_workers();
    desk.say(30, registration("w1", 2, None, vec![]));
    let ping = desk.heard(10).pop().expect("the holder is asked");
    assert_eq!(ping.body, Body::from(Ping {}));
    desk.say(10, Message::reply(&ping.head, Pong {}));
    assert_eq!(desk.heard_error(30), Some(ErrorCode::WorkerIdInUse));
    assert!(desk.closed.contains(&30));
    assert_eq!(desk.state("w1"), WorkerState::Alive);
}

#[test]
fn a_silent_holders_id_goes_to_the_newer_process_only() {
    let mut desk = two_workers();
    let cluster = desk.cluster.catalog().cluster();
    desk.say(30, registration("w1", 0, Some(cluster), vec![]));
    desk.wait(250, &[21]);
    assert_eq!(desk.heard_error(30), Some(ErrorCode::Fenced), "an older process");
    desk.say(40, registration("w1", 2, None, vec![]));
    desk.wait(250, &[21]);
    assert!(desk.heard(40).iter().any(|message| matches!(message.body, Body::Hello(_))), "a newer one is taken in");
    assert!(desk.closed.contains(&10) && desk.closed.contains(&11), "the old connections are closed");
}

#[test]
fn a_worker_whose_clock_went_back_registers_when_the_one_before_it_is_known_to_be_dead() {
    let mut desk = two_workers();
    desk.say(30, registration("w1", 0, None, vec![]));
    desk.wait(250, &[21]);
    assert_eq!(desk.heard_error(30), Some(ErrorCode::WorkerIdInUse), "it was just started, whatever its clock says");
    desk.wait(1500, &[21]);
    desk.say(40, registration("w1", 0, None, vec![]));
    assert!(desk.heard(40).iter().any(|message| matches!(message.body, Body::Hello(_))), "it is taken in");
}

#[test]
fn of_two_processes_that_claim_a_dead_workers_id_the_newer_one_stays() {
    let mut desk = two_workers();
    desk.say(30, registration("w1", 3, None, vec![]));
    desk.say(40, registration("w1", 2, None, vec![]));
    desk.step(Event::Disconnected { conn: 10, why: "killed".into() });
    desk.wait(50, &[21]);
    assert!(desk.heard(30).iter().any(|message| matches!(message.body, Body::Hello(_))), "they need not wait");
    assert_eq!(desk.heard_error(40), Some(ErrorCode::WorkerIdInUse));
    let w1 = desk.cluster.list_workers().workers.into_iter().find(|worker| worker.id == "w1".into());
    assert_eq!(w1.map(|worker| worker.incarnation), Some(3));
}

#[test]
fn a_worker_of_another_cluster_is_refused_and_keeps_its_data() {
    let mut desk = two_workers();
    desk.say(30, registration("w3", 1, Some(uuid::Uuid::from_u128(99)), vec![CopyRecord(VersionId(1), 0, 1, 1)]));
    assert_eq!(desk.heard_error(30), Some(ErrorCode::WrongCluster));
    assert!(desk.closed.contains(&30));
}

#[test]
fn silence_makes_a_worker_suspect_then_down() {
    let mut desk = two_workers();
    desk.wait(400, &[21]);
    assert_eq!(desk.state("w1"), WorkerState::Alive);
    desk.wait(200, &[21]);
    assert_eq!((desk.state("w1"), desk.state("w2")), (WorkerState::Suspect, WorkerState::Alive));
    desk.wait(500, &[21]);
    assert_eq!((desk.state("w1"), desk.state("w2")), (WorkerState::Down, WorkerState::Alive));
}

#[test]
fn a_master_that_stood_still_does_not_blame_its_workers() {
    let mut desk = two_workers();
    desk.wait(100, &[11, 21]);
    desk.now += Duration::from_secs(30);
    desk.step(Event::Tick);
    assert_eq!(desk.state("w1"), WorkerState::Alive);
}

#[test]
fn a_digest_that_differs_makes_the_master_ask() {
    let mut desk = two_workers();
    let version = store(&mut desk, 1, "a");
    desk.wait(900, &[11, 21]); // both say they hold nothing
    assert!(!desk.heard(10).iter().any(|message| matches!(message.body, Body::SendInventory(_))), "not at once");
    desk.wait(300, &[11, 21]);
    let asked = desk.heard(10).into_iter().find(|message| matches!(message.body, Body::SendInventory(_)));
    desk.say(10, Message::reply(&asked.expect("it is asked").head, Inventory { copies: vec![] }));
    let holders = &desk.cluster.catalog().segment(CopyId(version, 0)).expect("it is there").holders;
    assert_eq!(holders, &[WorkerId::from("w2")], "the truth is in the catalog");
}

#[test]
fn a_request_is_answered_once_however_often_it_comes() {
    let mut desk = two_workers();
    store(&mut desk, 1, "a");
    let delete = |name: &str| Message::request(3, DeleteArray { array_id: name.into() });
    desk.say(1, delete("a"));
    let first = desk.heard(1);
    assert!(matches!(first[0].body, Body::Done(_)));
    desk.say(1, delete("a"));
    assert_eq!(desk.heard(1), first, "a retry gets the first answer, not UnknownArray");
    desk.say(1, delete("b"));
    assert_eq!(desk.heard_error(1), Some(ErrorCode::IdReused));
}

#[test]
fn a_forgotten_outcome_is_not_run_again() {
    let mut desk = two_workers();
    store(&mut desk, 1, "a");
    store(&mut desk, 3, "b");
    let mut later = Message::request(5, DeleteArray { array_id: "b".into() });
    later.head.acked_below = Some(5);
    desk.say(1, later);
    desk.heard(1);
    desk.say(1, Message::request(2, DeleteArray { array_id: "a".into() }));
    assert_eq!(desk.heard_error(1), Some(ErrorCode::OutcomeUnknown));
    assert!(desk.cluster.catalog().find("a").is_some(), "nothing was done");
}

#[test]
fn outcomes_survive_the_master() {
    let mut desk = two_workers();
    let session = {
        desk.say(2, Message::new(Hello { session: Some(uuid::Uuid::now_v7()), ..Hello::new(Role::Client) }));
        match &desk.heard(2)[0].body {
            Body::Hello(hello) => hello.session,
            other => panic!("{other:?}"),
        }
    };
    store(&mut desk, 1, "a");
    desk.say(2, Message::request(1, DeleteArray { array_id: "a".into() }));
    assert!(matches!(desk.heard(2)[0].body, Body::Done(_)));
    let mut catalog = Catalog::default();
    desk.log.iter().enumerate().for_each(|(index, command)| drop(catalog.apply(index as u64 + 1, command)));
    let mut restarted = Desk::with_log(catalog, desk.log.clone());
    restarted.say(2, Message::new(Hello { session, ..Hello::new(Role::Client) }));
    restarted.heard(2);
    restarted.say(2, Message::request(1, DeleteArray { array_id: "a".into() }));
    assert!(matches!(restarted.heard(2)[0].body, Body::Done(_)), "not UnknownArray");
}

#[test]
fn an_old_unknown_session_is_replaced() {
    let mut desk = two_workers();
    let old = uuid::Builder::from_unix_timestamp_millis(STARTED_UNIX_MS - 2 * 3_600_000, &[1; 10]).into_uuid();
    desk.say(2, Message::new(Hello { session: Some(old), ..Hello::new(Role::Client) }));
    match &desk.heard(2)[0].body {
        Body::Hello(hello) => assert_ne!(hello.session, Some(old), "outcomes of it may have been forgotten"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn too_many_requests_of_one_session_are_refused() {
    let mut desk = two_workers();
    for id in 1..=64 {
        desk.say(1, Message::request(id, WaitWorkers { count: 9 }));
    }
    assert_eq!(desk.heard(1), []);
    desk.say(1, Message::request(65, WaitWorkers { count: 9 }));
    assert_eq!(desk.heard_error(1), Some(ErrorCode::Busy));
}

#[test]
fn a_deadline_is_answered() {
    let mut desk = two_workers();
    let mut request = Message::request(1, WaitWorkers { count: 9 });
    request.head.timeout_ms = Some(300);
    desk.say(1, request);
    desk.wait(250, &[11, 21]);
    assert_eq!(desk.heard(1), []);
    desk.wait(100, &[11, 21]);
    assert_eq!(desk.heard_error(1), Some(ErrorCode::DeadlineExceeded));
}

#[test]
fn roles_are_kept() {
    let mut desk = two_workers();
    desk.say(50, Message::request(1, Status {}));
    assert_eq!(desk.heard_error(50), Some(ErrorCode::NotAllowed), "before HELLO");
    desk.say(1, Message::request(1, Reserved {}));
    assert_eq!(desk.heard_error(1), Some(ErrorCode::NotAllowed), "what only workers say");
    desk.say(1, Message::request(2, Hello::new(Role::Client)));
    assert_eq!(desk.heard_error(1), Some(ErrorCode::NotAllowed), "HELLO twice");
    desk.say(
        51,
        Message::new(Hello { worker: Some("w9".into()), incarnation: Some(1), ..Hello::new(Role::Heartbeat) }),
    );
    assert_eq!(desk.heard_error(51), Some(ErrorCode::NotAllowed), "heartbeats of nobody");
    desk.say(1, Message::new(Status {}));
    assert_eq!(desk.heard_error(1), Some(ErrorCode::Malformed), "a request without a number");
}

#[test]
fn results_that_differ_are_computed_again_from_checked_sources() {
    let mut desk = two_workers();
    let source = store(&mut desk, 1, "a");
    desk.say(1, apply_to_a(3));
    let answer = |desk: &mut Desk, conn: ConnId, crc: u32| {
        let asked = desk
            .heard(conn)
            .into_iter()
            .rev()
            .find(|message| matches!(message.body, Body::ProcessSegment(_)))
            .expect("it is asked");
        let Body::ProcessSegment(process) = &asked.body else { unreachable!() };
        assert_eq!(process.sources, [source]);
        let copies = vec![CopyRecord(process.result, 0, crc, 16)];
        desk.say(
            conn,
            Message::reply(&asked.head, SegmentResult { copies, busy_us: 1, ..SegmentResult::of(process.result) }),
        );
        process.verify
    };
    assert!(!answer(&mut desk, 10, 100));
    assert!(!answer(&mut desk, 20, 200), "it lies, or its source is broken");
    assert_eq!(desk.heard(1), [], "no answer yet");
    assert!(answer(&mut desk, 10, 100), "both are asked again, to check first");
    assert!(answer(&mut desk, 20, 100));
    let replies = desk.heard(1);
    assert!(
        matches!(&replies[..], [Message { body: Body::OperationComplete(complete), .. }] if complete.copies == 2),
        "{replies:?}"
    );
}

/// What a worker is asked to compute, with the answer that it has one with this checksum, and these elements.
fn answers(desk: &mut Desk, conn: ConnId, crc32c: u32, elements: Option<&[u8]>) -> ProcessSegment {
    let messages = desk.heard(conn);
    let asked = messages.iter().find_map(|message| match &message.body {
        Body::ProcessSegment(process) => Some((message, process.clone())),
        _ => None,
    });
    let (message, process) = asked.unwrap_or_else(|| panic!("it is not asked: {messages:?}"));
    let copies = vec![CopyRecord(process.result, 0, crc32c, 16)];
    let inline = process.inline.clone();
    let result = SegmentResult { copies, busy_us: 1, inline, ..SegmentResult::of(process.result) };
    let answer = Message::reply(&message.head, result);
    desk.say(
        conn,
        match elements {
            Some(elements) => answer.with_elements(DType::Int32, elements.into()),
            None => answer,
        },
    );
    process
}

fn apply_inline(id: u64) -> Message {
    let mut message = apply_to_a(id);
    if let Body::ApplyOperation(apply) = &mut message.body {
        apply.inline = true;
    }
    message
}

#[test]
fn elements_of_a_small_result_come_with_the_answer() {
    let mut desk = two_workers();
    store(&mut desk, 1, "a");
    let elements = [7; 16];
    let crc32c = array::checksum::crc32c(&elements);
    desk.say(1, apply_inline(3));
    assert!(answers(&mut desk, 20, crc32c, None).inline.is_empty(), "the replica need not say it again");
    assert_eq!(answers(&mut desk, 10, crc32c, Some(&elements)).inline, [0]);
    let reply = desk.heard(1).pop().expect("it is complete");
    assert_eq!(reply.elements.as_deref(), Some(&elements[..]));
    assert_eq!(reply.head.payload.map(|payload| payload.crc32c), Some(crc32c));

    // A reply that was lost is sent again without.
    desk.say(1, apply_inline(3));
    let again = desk.heard(1).pop().expect("it is complete");
    assert_eq!((again.body, again.elements), (reply.body, None));

    // Elements that are not those of the result are left out.
    desk.say(1, apply_inline(4));
    answers(&mut desk, 10, crc32c, Some(&[8; 16]));
    answers(&mut desk, 20, crc32c, None);
    let reply = desk.heard(1).pop().expect("it is complete");
    assert!(matches!(reply.body, Body::OperationComplete(_)));
    assert_eq!(reply.elements, None);

    // Too few of them, too: and nobody who did not ask gets any.
    desk.say(1, apply_inline(5));
    answers(&mut desk, 10, crc32c, Some(&elements[..8]));
    answers(&mut desk, 20, crc32c, None);
    assert_eq!(desk.heard(1).pop().expect("it is complete").elements, None);
    desk.say(1, apply_to_a(6));
    assert!(answers(&mut desk, 10, crc32c, Some(&elements)).inline.is_empty());
    answers(&mut desk, 20, crc32c, None);
    assert_eq!(desk.heard(1).pop().expect("it is complete").elements, None);
}

#[test]
fn replicas_receive_a_result_that_takes_longer_to_compute_than_to_move() {
    let mut desk = two_workers();
    let source = store_elements(&mut desk, 1, "a", LONG);
    desk.say(1, apply_to_a(3));
    let bytes = LONG * 4;
    let answer = |desk: &mut Desk, conn: ConnId, busy_us: u64| {
        let messages = desk.heard(conn);
        let asked = messages.into_iter().find_map(|message| match &message.body {
            Body::ProcessSegment(process) => Some((message.head.clone(), process.clone())),
            _ => None,
        })?;
        let (head, process) = asked;
        assert_eq!(process.sources, [source]);
        let copies = vec![CopyRecord(process.result, 0, 9, bytes)];
        let result = SegmentResult { copies, busy_us, ..SegmentResult::of(process.result) };
        desk.say(conn, Message::reply(&head, result));
        Some(process.verify)
    };
    // Never measured: both compute. It turns out to be slow: 100 ns a byte.
    assert_eq!(answer(&mut desk, 10, bytes / 10), Some(false));
    assert_eq!(answer(&mut desk, 20, bytes / 10), Some(false));
    assert_eq!(completed(&mut desk).replicas, "recomputed");
    // So the next time the primary computes, from a checked source, and the replica receives.
    desk.say(1, apply_to_a(4));
    assert_eq!(answer(&mut desk, 10, bytes / 10), Some(true));
    assert_eq!(desk.heard(1), [], "one copy is not enough");
    fetches(&mut desk, 20, 9);
    let complete = completed(&mut desk);
    assert_eq!((complete.copies, complete.replicas.as_str()), (2, "received"));
    assert_eq!(complete.receipt.expect("a receipt").network_bytes, bytes);
}

#[test]
fn workers_that_never_agree_fail_the_operation_not_the_master() {
    let mut desk = two_workers();
    store(&mut desk, 1, "a");
    desk.say(1, apply_to_a(3));
    for _round in 0..10 {
        for (conn, crc) in [(10, 100), (20, 200)] {
            for message in desk.heard(conn) {
                if let Body::ProcessSegment(process) = &message.body {
                    let copies = vec![CopyRecord(process.result, 0, crc, 16)];
                    desk.say(
                        conn,
                        Message::reply(
                            &message.head,
                            SegmentResult { copies, busy_us: 1, ..SegmentResult::of(process.result) },
                        ),
                    );
                }
            }
        }
        desk.wait(100, &[11, 21]);
    }
    assert_eq!(desk.heard_error(1), Some(ErrorCode::ChecksumMismatch));
}

#[test]
fn equal_logs_tell_equal_catalogs() {
    let mut desk = two_workers();
    store(&mut desk, 1, "a");
    store(&mut desk, 3, "b");
    desk.step(Event::Disconnected { conn: 10, why: "killed".into() });
    let mut twice = [Catalog::default(), Catalog::default()];
    for catalog in &mut twice {
        desk.log.iter().enumerate().for_each(|(index, command)| drop(catalog.apply(index as u64 + 1, command)));
    }
    assert_eq!(twice[0].hash(), twice[1].hash());
    assert_eq!(twice[0].hash(), desk.cluster.catalog().hash());
    let again = Catalog::from_snapshot(&twice[0].to_snapshot()).expect("a snapshot can be read");
    assert_eq!(again.hash(), twice[0].hash());
    again.check();
}

#[test]
fn a_worker_of_level_1_computes_what_it_is_primary_of_and_others_receive_it() {
    let mut desk = level_1_and_ours();
    let asked = asked_to_compute(&mut desk, 10).expect("it is the primary");
    assert!(asked.2, "nobody else computes with its kernels, so its source is checked");
    assert!(asked_to_compute(&mut desk, 20).is_none(), "our bits are not its bits");
    desk.say(10, computed(&asked, 5));
    fetches(&mut desk, 20, 5);
    let complete = completed(&mut desk);
    assert_eq!((complete.copies, complete.exact, complete.redispatched), (2, false, 0));
    let level = |id: &str| desk.cluster.list_workers().workers.iter().find(|w| w.id == id.into()).map(|w| w.level);
    assert_eq!((level("w1"), level("w2")), (Some(1), Some(2)));
}

#[test]
fn a_segment_that_waits_for_level_1_is_computed_elsewhere_too_and_the_first_answer_counts() {
    let mut desk = level_1_and_ours();
    let late = asked_to_compute(&mut desk, 10).expect("it is the primary");
    desk.wait(1900, &[11, 21]);
    assert!(asked_to_compute(&mut desk, 20).is_none(), "it has two seconds");
    desk.wait(200, &[11, 21]);
    let asked = asked_to_compute(&mut desk, 20).expect("then ours computes it too");
    assert!(asked.2, "there is nobody to compare with");
    desk.say(20, computed(&asked, 9));
    desk.sent.retain(|(conn, message)| *conn != 10 || matches!(message.body, Body::RecoverData(_)));
    fetches(&mut desk, 10, 9);
    let complete = completed(&mut desk);
    assert_eq!((complete.copies, complete.exact, complete.redispatched), (2, true, 1));
    desk.say(10, computed(&late, 5));
    let dropped =
        |message: &Message| matches!(&message.body, Body::DropCopies(drop) if drop.copies == [CopyId(late.1, 0)]);
    assert!(desk.heard(10).iter().any(dropped), "what came second is dropped");
}

#[test]
fn a_late_worker_of_level_1_is_asked_last_until_it_answers() {
    let mut desk = level_1_and_ours();
    let late = asked_to_compute(&mut desk, 10).expect("it is the primary");
    desk.wait(2100, &[11, 21]);
    let asked = asked_to_compute(&mut desk, 20).expect("ours helps");
    desk.say(20, computed(&asked, 9));
    fetches(&mut desk, 10, 9);
    desk.sent.clear();
    desk.say(1, apply_to_a(4));
    assert!(asked_to_compute(&mut desk, 10).is_none(), "nobody waits for it a second time");
    let asked = asked_to_compute(&mut desk, 20).expect("ours is asked at once");
    desk.say(20, computed(&asked, 9));
    fetches(&mut desk, 10, 9);
    desk.say(10, computed(&late, 9));
    desk.sent.clear();
    desk.say(1, apply_to_a(5));
    assert!(asked_to_compute(&mut desk, 10).is_some(), "it has answered");
}

#[test]
fn a_worker_of_level_1_that_fails_is_not_asked_again_while_there_is_another() {
    let mut desk = level_1_and_ours();
    let asked = asked_to_compute(&mut desk, 10).expect("it is the primary");
    let error = protocol::WireError::new(ErrorCode::Internal, "no");
    let failed = vec![FailedSegment { segment: 0, source: None, error }];
    let result = SegmentResult { failed, busy_us: 1, ..SegmentResult::of(asked.1) };
    desk.say(10, Message::reply(&asked.0.head, result));
    let asked = asked_to_compute(&mut desk, 20).expect("ours is asked");
    desk.say(20, computed(&asked, 9));
    fetches(&mut desk, 10, 9);
    assert!(completed(&mut desk).exact);
}

#[test]
fn a_worker_of_level_1_is_not_held_to_our_deadline_for_a_segment() {
    let mut desk = Desk::new();
    desk.register_with(10, "w1", 1, registration_at_level_1("w1", 2));
    desk.register_with(20, "w2", 1, registration_at_level_1("w2", 2));
    desk.client(1);
    store(&mut desk, 1, "a");
    desk.sent.clear();
    desk.say(1, apply_to_a(3));
    let first = asked_to_compute(&mut desk, 10);
    let (asker, other) = if first.is_some() { (10, 20) } else { (20, 10) };
    let asked = first.or_else(|| asked_to_compute(&mut desk, 20)).expect("one of them is the primary");
    desk.wait(30_000, &[11, 21]);
    assert!(asked_to_compute(&mut desk, 20).is_none() && asked_to_compute(&mut desk, 10).is_none());
    desk.say(asker, computed(&asked, 5));
    fetches(&mut desk, other, 5);
    assert_eq!(completed(&mut desk).copies, 2);
}

#[test]
fn a_worker_of_level_1_with_one_core_gets_no_copies() {
    let mut desk = Desk::new();
    desk.register_with(10, "w1", 1, registration_at_level_1("w1", 1));
    desk.register(20, "w2", 1, vec![]);
    desk.client(1);
    desk.sent.clear();
    let create = CreateArray { array_id: "a".into(), dtype: array::DType::Int32, shape: vec![100_000], replace: false };
    desk.say(1, Message::request(1, create));
    let reserves = |message: &Message| matches!(message.body, Body::Reserve(_));
    assert!(!desk.heard(10).iter().any(reserves), "it would never compute them");
    assert!(desk.heard(20).iter().any(reserves));
}

#[test]
fn copies_on_level_1_stand_beside_one_of_ours() {
    let mut desk = Desk::new();
    desk.register_with(10, "w1", 1, registration_at_level_1("w1", 2));
    desk.register_with(20, "w2", 1, registration_at_level_1("w2", 2));
    desk.register_with(30, "w3", 1, registration_at_level_1("w3", 2));
    desk.register(40, "w4", 1, vec![]);
    desk.client(1);
    desk.sent.clear();
    let create = CreateArray { array_id: "a".into(), dtype: array::DType::Int32, shape: vec![100_000], replace: false };
    desk.say(1, Message::request(1, create));
    let reserved = |message: &Message| match &message.body {
        Body::Reserve(reserve) => reserve.segments.len(),
        _ => 0,
    };
    let ours: usize = desk.heard(40).iter().map(reserved).sum();
    assert_eq!(ours, array::Grid::new(100_000).segments() as usize, "what is in the master ends with the master");
}

/// It would be two workers on one connection.
#[test]
fn whoever_waits_for_an_id_cannot_be_somebody_else_meanwhile() {
    for second in [registration("w2", 1, None, vec![]), Message::new(Hello::new(Role::Client))] {
        let mut desk = Desk::new();
        desk.register(10, "w1", 1, vec![]);
        desk.say(30, registration("w1", 2, None, vec![]));
        assert!(desk.heard(30).is_empty(), "whoever has the id is asked first");
        desk.say(30, second);
        assert_eq!(desk.heard_error(30), Some(ErrorCode::NotAllowed));
        assert_eq!(desk.closed, [30]);
        desk.wait(500, &[11]);
        assert!(desk.heard(30).is_empty(), "and it does not wait any more");
        assert_eq!(desk.state("w1"), WorkerState::Alive);
    }
}

/// What it says adds up to more than 64 bits count; the memory of an honest worker is not misjudged for that.
#[test]
fn a_worker_that_says_it_holds_more_than_there_are_numbers_for() {
    let mut desk = Desk::new();
    desk.register(10, "w1", 1, vec![]);
    desk.register(20, "w2", 1, vec![]);
    desk.client(1);
    let version = store(&mut desk, 1, "a");
    for (bytes, segment) in [(u64::MAX, 0), (u64::MAX - 7, 0), (4, 0), (u64::MAX, 1), (u64::MAX, 2)] {
        let stored = vec![CopyRecord(version, segment, 9, bytes)];
        desk.say(20, Message::new(CopiesChanged { stored, broken: vec![] }));
    }
    assert_eq!(desk.state("w2"), WorkerState::Alive);
}

/// What was planned is not written yet, so nothing in the log knows the number.
#[test]
fn the_number_of_an_upload_used_again_for_another_one() {
    let mut desk = Desk::new();
    desk.register(10, "w1", 1, vec![]);
    desk.client(1);
    let create = |shape: &[u64]| CreateArray {
        array_id: "a".into(),
        dtype: DType::Int32,
        shape: shape.to_vec(),
        replace: false,
    };
    desk.say(1, Message::request(1, create(&[])));
    for message in desk.heard(10) {
        if let Body::Reserve(_) = message.body {
            desk.say(10, Message::reply(&message.head, Reserved {}));
        }
    }
    assert!(matches!(desk.heard(1)[..], [Message { body: Body::WritePlan(_), .. }]));
    for shape in [&[100_000][..], &[0], &[2]] {
        desk.say(1, Message::request(1, create(shape)));
        assert_eq!(desk.heard_error(1), Some(ErrorCode::IdReused), "{shape:?}");
    }
}

/// Of two clients that delete an array at the same time the second is told which arrays there are. It is in the log by then, so what
/// cannot be remembered could never be replayed either.
#[test]
fn outcomes_with_the_longest_names_there_are() {
    let mut catalog = Catalog::default();
    let mut index = 0;
    let mut apply = |command: Command| {
        index += 1;
        catalog.apply(index, &command)
    };
    let session = SessionId::from_u128(1);
    let request = |id| master::cluster::command::Request {
        session,
        id,
        acked_below: 0,
        fingerprint: 7,
        at: 0,
        reply_kind: "DONE".into(),
        reply_data: "{}".into(),
    };
    apply(Command::Founded { cluster: session });
    for number in 0..12 {
        apply(Command::CreateArray {
            request: None,
            array: protocol::ArrayId(number),
            version: VersionId(100 + number),
            name: format!("{}{number:02}", "\"".repeat(253)),
            dtype: DType::Int32,
            shape: vec![0],
            replication: 2,
            replace: false,
            segments: vec![],
        });
    }
    let delete = Command::DeleteArray { request: Some(request(1)), name: "\"".repeat(255) };
    assert_eq!(apply(delete).refused.map(|error| error.code), Some(ErrorCode::UnknownArray));
    let Memory::Outcome(outcome) = catalog.memory(session, 1) else { panic!("it is remembered") };
    assert!(outcome.data.len() <= 4096, "{} bytes", outcome.data.len());
    let error: protocol::WireError = serde_json::from_str(&outcome.data).unwrap();
    assert_eq!(error.code, ErrorCode::UnknownArray);
    assert!(error.message.chars().count() > 300, "what fits is remembered: {}", error.message);
}
