//! The cluster's state machine, message by message: what the stories and the simulator do not reach.

use master::cluster::catalog::Catalog;
use master::cluster::command::Command;
use master::cluster::{Cluster, Config, ConnId, Effect, Event, Now};
use protocol::message::client::*;
use protocol::message::worker::*;
use protocol::message::{Body, Hello, Message, Ping, Pong, Role};
use protocol::{CopyId, CopyRecord, Digest, ErrorCode, SessionId, VersionId, WorkerId};
use std::time::Duration;

/// A cluster whose log writes at once, and whose peers are this test.
struct Desk {
    cluster: Cluster,
    now: Duration,
    log: Vec<Command>,
    /// What was sent, oldest first, until it is looked at.
    sent: Vec<(ConnId, Message)>,
    closed: Vec<ConnId>,
}

impl Desk {
    fn new() -> Desk {
        Desk::with_log(Catalog::default(), Vec::new())
    }

    fn with_log(catalog: Catalog, log: Vec<Command>) -> Desk {
        let config = Config { replication: 2, min_copies: 1, address: "here".into(), data_dir: "nowhere".into() };
        let mut counter = 0_u128;
        let entropy = move || {
            counter += 1;
            counter
        };
        let now = Now { elapsed: Duration::ZERO, unix_ms: 1_795_216_748_000 };
        let cluster = Cluster::new(config, catalog, now, Box::new(entropy));
        let mut desk = Desk { cluster, now: Duration::ZERO, log, sent: Vec::new(), closed: Vec::new() };
        desk.step(Event::Tick);
        desk
    }

    fn step(&mut self, event: Event) {
        let now = Now { elapsed: self.now, unix_ms: 1_795_216_748_000 + self.now.as_millis() as u64 };
        for effect in self.cluster.step(now, event) {
            match effect {
                Effect::Send { conn, message } => self.sent.push((conn, message)),
                Effect::Close { conn } => self.closed.push(conn),
                Effect::Propose { command, .. } => {
                    self.log.push(command.clone());
                    self.step(Event::Committed { index: self.log.len() as u64, command });
                }
                Effect::Dial { .. } | Effect::Stop => {}
            }
        }
        self.cluster.check();
    }

    fn say(&mut self, conn: ConnId, message: impl Into<Message>) {
        self.step(Event::Received { conn, message: message.into() });
    }

    /// Lets time pass, with the heartbeats of some workers.
    fn wait(&mut self, ms: u64, alive: &[ConnId]) {
        for _ in 0..ms / 50 {
            self.now += Duration::from_millis(50);
            for conn in alive {
                self.say(
                    *conn,
                    Message::new(Heartbeat { digest: Digest::default(), copies: 0, memory_used_bytes: 0, tasks: 0 }),
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

    /// Registers a worker on connection `conn`, with heartbeats on `conn + 1`.
    fn register(&mut self, conn: ConnId, id: &str, incarnation: u64, inventory: Vec<CopyRecord>) {
        self.say(conn, registration(id, incarnation, None, inventory));
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

/// Stores an array of one segment on both workers (connections 10 and 20), by client connection 1. Gives its version.
fn store(desk: &mut Desk, id: u64, name: &str) -> VersionId {
    desk.say(
        1,
        Message::request(
            id,
            CreateArray { array_id: name.into(), dtype: array::DType::Int32, shape: vec![4], replace: false },
        ),
    );
    for conn in [10, 20] {
        for message in desk.heard(conn) {
            if let Body::Reserve(_) = message.body {
                desk.say(conn, Message::reply(&message.head, Reserved {}));
            }
        }
    }
    let plan = desk.heard(1).into_iter().find_map(|message| match message.body {
        Body::WritePlan(plan) => Some(plan),
        _ => None,
    });
    let version = plan.expect("a plan").version;
    let copy = CopyRecord(version, 0, 7, 16);
    for conn in [10, 20] {
        desk.say(conn, Message::new(CopiesChanged { stored: vec![copy], broken: vec![] }));
    }
    let workers = vec!["w1".into(), "w2".into()];
    desk.say(1, Message::request(id + 1, CommitArray { version, segments: vec![WrittenSegment(0, 7, workers)] }));
    let replies = desk.heard(1);
    assert!(
        matches!(&replies[..], [Message { body: Body::ArrayCommitted(committed), .. }] if committed.copies == 2),
        "{replies:?}"
    );
    version
}

/// Asks for `example2` on the array `a`.
fn apply_to_a(id: u64) -> Message {
    let (array_id, operation) = ("a".into(), "example2".into());
    Message::request(id, ApplyOperation { array_id, operation, into: None, replace: false, no_wait: false })
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
    desk.say(30, registration("w1", 0, None, vec![]));
    desk.wait(250, &[21]);
    assert_eq!(desk.heard_error(30), Some(ErrorCode::Fenced), "an older process");
    desk.say(40, registration("w1", 2, None, vec![]));
    desk.wait(250, &[21]);
    assert!(desk.heard(40).iter().any(|message| matches!(message.body, Body::Hello(_))), "a newer one is taken in");
    assert!(desk.closed.contains(&10) && desk.closed.contains(&11), "the old connections are closed");
}

#[test]
fn of_two_processes_that_claim_a_dead_workers_id_the_newer_one_stays() {
    let mut desk = two_workers();
    desk.say(30, registration("w1", 3, None, vec![]));
    desk.say(40, registration("w1", 2, None, vec![]));
    desk.step(Event::Disconnected { conn: 10, why: "killed".into() });
    desk.wait(50, &[21]);
    assert!(desk.heard(30).iter().any(|message| matches!(message.body, Body::Hello(_))), "they need not wait");
    assert_eq!(desk.heard_error(40), Some(ErrorCode::Fenced));
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
    let old = uuid::Builder::from_unix_timestamp_millis(1_795_216_748_000 - 2 * 3_600_000, &[1; 10]).into_uuid();
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
        assert_eq!(process.source, source);
        let copies = vec![CopyRecord(process.result, 0, crc, 16)];
        desk.say(
            conn,
            Message::reply(&asked.head, SegmentResult { result: process.result, copies, failed: vec![], busy_us: 1 }),
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
                            SegmentResult { result: process.result, copies, failed: vec![], busy_us: 1 },
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
