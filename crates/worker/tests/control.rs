//! The link to the master, over real sockets: registering, heartbeats, computing, losing the link, leaving.

mod common;

use common::*;
use protocol::message::worker::*;
use protocol::message::{Hello, Role};
use protocol::{Body, Digest, ErrorCode, Incoming, Message, VersionId, net};
use std::net::TcpListener;
use std::time::Instant;
use worker::{Config, ExitReason, Worker};

fn process(source: u64, result: u64, segments: &[u32]) -> ProcessSegment {
    ProcessSegment {
        operation: "example2".into(),
        sources: vec![VersionId(source)],
        elements: 52 * 4096,
        result: VersionId(result),
        segments: segments.to_vec(),
        verify: true,
        inline: Vec::new(),
    }
}

#[test]
fn a_worker_registers_and_gives_signs_of_life_with_its_digest() {
    let master = Master::start();
    let worker = Worker::start(Config::new("w1", master.address.to_string())).unwrap();
    let register = master.registration("w1");
    let hello = register.hello.unwrap();
    assert_eq!((hello.worker.as_str(), hello.kernels.as_str()), ("w1", array::KERNELS_ID));
    assert_eq!((hello.address, hello.inventory, hello.cluster), (worker.address().to_string(), vec![], None));
    assert!(hello.incarnation > 1_600_000_000_000, "milliseconds since 1970");
    assert_ne!(register.port, 0);
    eventually("several signs of life", || master.heartbeat("w1").is_some_and(|(count, _)| count > 3));

    master.reserve("w1", 7, &[(0, 100)]);
    let stored = Client::connect(worker.address()).write(segment(7, 0), &data(1, 100)).unwrap();
    let mut digest = Digest::default();
    digest.toggle(stored.copy.id(), stored.copy.crc32c());
    eventually("the digest of the copy", || {
        master.heartbeat("w1").is_some_and(|(_, beat)| {
            (beat.digest, beat.copies, beat.memory_used_bytes, beat.tasks) == (digest, 1, 400, 0)
        })
    });
}

#[test]
fn signs_of_life_go_on_when_only_their_connection_ends() {
    let master = Master::start();
    let _worker = master.worker("w1");
    eventually("the first sign of life", || master.heartbeat("w1").is_some());
    master.hang_up_heartbeats("w1");
    let before = master.heartbeat("w1").map_or(0, |(count, _)| count);
    eventually("signs of life on a new connection", || master.heartbeat("w1").unwrap().0 > before + 2);
    assert_eq!(master.said_already("w1"), [], "the control link did not notice");
}

#[test]
fn what_it_does_not_understand_is_refused_and_the_link_lives() {
    let master = Master::start();
    let _worker = master.worker("w1");
    let refusal = || master.hear("w1", |m| if let Body::Error(e) = m.body { Some((m.head.id, e.code)) } else { None });
    master.tell_raw("w1", &sealed("{\"type\":\"DANCE\",\"id\":5}\n"));
    assert_eq!(refusal(), (Some(5), ErrorCode::UnknownType));
    master.tell_raw("w1", &sealed("{\"type\":\"RESERVE\",\"id\":6,\"data\":{}}\n"));
    assert_eq!(refusal(), (Some(6), ErrorCode::Malformed));
    master.tell_raw("w1", &sealed("{\"type\":\"GET_SEGMENT\",\"id\":7,\"data\":{\"version\":1,\"segment\":0}}\n"));
    assert_eq!(refusal(), (Some(7), ErrorCode::NotAllowed));
    master.tell("w1", protocol::message::Ping {});
    master.hear("w1", |m| matches!(m.body, Body::Pong(_)).then_some(()));
}

#[test]
fn many_segments_are_computed_and_each_is_answered_once() {
    let master = Master::start();
    let worker = master.worker("w1");
    let segments: Vec<(u32, u64)> = (0..50).map(|index| (index, 4096)).collect();
    master.reserve("w1", 1, &segments);
    let mut client = Client::connect(worker.address());
    let mut expected = Vec::new();
    for (index, _) in &segments {
        let data = data(u64::from(*index), 4096);
        client.write(segment(1, *index), &data).unwrap();
        let (result, crc) = array::Operation::Example2.apply(&data);
        expected.push(protocol::CopyRecord(VersionId(2), *index, crc, result.len() as u64));
    }
    let all: Vec<u32> = (0..52).collect();
    master.tell_message("w1", Message::new(process(1, 2, &all)).serving(Some("0199/3".into())));
    let (mut copies, mut failed) = (Vec::new(), Vec::new());
    while copies.len() + failed.len() < all.len() {
        let result = master.hear("w1", |m| match m.body {
            Body::SegmentResult(result) => {
                assert_eq!(m.head.request.as_deref(), Some("0199/3"));
                Some(result)
            }
            _ => None,
        });
        assert_eq!(result.result, VersionId(2));
        copies.extend(result.copies);
        failed.extend(result.failed.iter().map(|f| f.segment));
    }
    copies.sort();
    assert_eq!(copies, expected);
    assert_eq!(failed, [50, 51]);
    let (result, _) = array::Operation::Example2.apply(&data(49, 4096));
    assert_eq!(client.get(copy(2, 49), None).unwrap(), result.as_bytes());
    worker.abort();
    assert_eq!(worker.join(), ExitReason::Aborted);
}

#[test]
fn after_losing_the_link_it_registers_again_with_everything_it_has() {
    let master = Master::start();
    let worker = master.worker("w1");
    master.reserve("w1", 7, &[(0, 100), (1, 100)]);
    let mut client = Client::connect(worker.address());
    let kept = client.write(segment(7, 0), &data(1, 100)).unwrap().copy;
    master.hang_up("w1");
    let hello = master.registration("w1").hello.unwrap();
    assert_eq!((hello.inventory, hello.cluster), (vec![kept], Some(CLUSTER)));
    assert_eq!(client.get(copy(7, 0), None).unwrap(), data(1, 100).as_bytes());
    let late = client.write(segment(7, 1), &data(1, 100));
    assert_eq!(code(late), ErrorCode::UnknownTicket, "the reservation ended with the link");
    let before = master.heartbeat("w1").map_or(0, |(count, _)| count);
    eventually("signs of life on a new connection", || master.heartbeat("w1").unwrap().0 > before + 2);
}

#[test]
fn it_keeps_trying_until_there_is_a_master_and_takes_the_next_address() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let master = Master::start();
    let mut config = Config::new("w1", nobody.to_string());
    let worker = Worker::start(config.clone()).unwrap();
    worker.stop();
    assert!(matches!(worker.join(), ExitReason::Undrained { copies: 0, .. }), "no master: it ends at once");

    config.masters.push(master.address.to_string());
    let worker = master.worker_with(config);
    worker.abort();
    master.hear_end("w1");
    worker.join();
}

#[test]
fn a_master_that_says_nothing_is_hung_up_on_by_a_worker_of_a_cluster_and_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let worker = Worker::start(Config::new("w1", listener.local_addr().unwrap().to_string())).unwrap();
    for time in 0..3 {
        let (mut receiver, mut sender) = net::split(listener.accept().unwrap().0, "master", "w1").unwrap();
        let by = Some(Instant::now() + PATIENCE);
        let first = receiver.read(by);
        assert!(matches!(&first, Ok(Some(Incoming::Message(m))) if m.body.kind() == "REGISTER_WORKER"), "{first:?}");
        if time == 0 {
            let answer = Hello { cluster: Some(CLUSTER), term: Some(1), ..Hello::new(Role::Master) };
            sender.write(&Message::new(answer)).unwrap();
            listener.accept().expect("its heartbeats");
            continue; // and the connection is closed
        }
        assert!(matches!(receiver.read(by), Ok(None)), "the worker closes the connection");
    }
    worker.abort();
    worker.join();
}

#[test]
fn stopping_drains_and_ends_when_the_master_says_so() {
    let master = Master::start();
    let worker = master.worker("w1");
    worker.stop();
    let state = master.hear("w1", |m| if let Body::WorkerStatus(s) = m.body { Some(s.state) } else { None });
    assert_eq!(state, WorkerStage::Draining);
    master.tell("w1", WorkerStatus { state: WorkerStage::Drained });
    assert_eq!(worker.join(), ExitReason::Drained);
    master.hear_end("w1");
}

#[test]
fn shutdown_ends_it_with_open_connections_and_work() {
    let master = Master::start();
    let worker = master.worker("w1");
    master.reserve("w1", 1, &[(0, 1_000_000)]);
    let mut client = Client::connect(worker.address());
    client.write(segment(1, 0), &data(1, 1_000_000)).unwrap();
    let _idle = Client::connect_silently(worker.address());
    master.tell("w1", process(1, 2, &[0]));
    master.tell("w1", protocol::message::client::Shutdown {});
    assert_eq!(worker.join(), ExitReason::Shutdown);
    assert!(client.is_closed());
}
