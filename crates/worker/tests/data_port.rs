//! The data port, over real sockets: what it takes, what it gives, what it refuses, and that nothing a peer
//! sends harms it.

mod common;

use common::*;
use protocol::limits::{HEADER_BYTES_MAX, PAYLOAD_BYTES_MAX};
use protocol::message::client::{Endpoint, ListArrays};
use protocol::message::worker::{DropCopies, RecoverData};
use protocol::message::{Hello, Ping, Role};
use protocol::{Body, ErrorCode, Message, VersionId};
use std::io::Write;
use worker::Worker;

fn endpoint(id: &str, worker: &Worker) -> Endpoint {
    Endpoint { worker: id.into(), address: worker.address().to_string() }
}

#[test]
fn a_segment_is_written_told_to_the_master_first_and_read() {
    let master = Master::start();
    let worker = master.worker("w1");
    master.reserve("w1", 7, &[(0, 1000), (3, 1000)]);
    let mut client = Client::connect(worker.address());
    for index in [0, 3] {
        let data = data(index.into(), 1000);
        let stored = client.write(segment(7, index), &data).unwrap();
        let told = master.said_already("w1");
        assert_eq!(stored.copy, record(7, index, &data));
        assert_eq!((stored.workers, stored.failed), (vec!["w1".into()], vec![]));
        // The fake master reads on a thread of its own, so it may be a moment behind the writer's answer.
        let told = match told.as_slice() {
            [] => master.copies_changed("w1"),
            [Body::CopiesChanged(told)] => told.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!((told.stored, told.broken), (vec![stored.copy], vec![]));
        assert_eq!(client.get(copy(7, index), None).unwrap(), data.as_bytes());
        assert_eq!(client.get(copy(7, index), Some((10, 20))).unwrap(), &data.as_bytes()[40..80]);
        assert_eq!(client.get(copy(7, index), Some((1000, 1000))).unwrap(), b"");
        assert_eq!(code(client.get(copy(7, index), Some((0, 1001)))), ErrorCode::OutOfRange);
        assert_eq!(code(client.get(copy(7, index), Some((5, 4)))), ErrorCode::OutOfRange);
        assert_eq!(code(client.get(copy(7, index), Some((0, u64::MAX)))), ErrorCode::OutOfRange);
        assert_eq!(client.write(segment(7, index), &data).unwrap().copy, stored.copy, "again");
        master.copies_changed("w1");
    }
    assert_eq!(code(client.get(copy(7, 1), None)), ErrorCode::NotHeld);
    assert_eq!(code(client.get(copy(8, 0), None)), ErrorCode::NotHeld);
    worker.abort();
    worker.join();
}

#[test]
fn replies_come_in_the_order_of_the_requests() {
    let master = Master::start();
    let (first, second) = (master.worker("w1"), master.worker("w2"));
    let segments: Vec<(u32, u64)> = (0..20).map(|index| (index, 5000)).collect();
    master.reserve("w1", 7, &segments);
    master.reserve("w2", 7, &segments);
    let mut client = Client::connect(first.address());
    let forward = vec![endpoint("w2", &second)];
    let mut ids = Vec::new();
    for index in 0..20 {
        // Every third is not forwarded, so that it is done long before the one before it.
        let forward = if index % 3 == 0 { Vec::new() } else { forward.clone() };
        ids.push(client.send(worker_segment(7, index, forward), &data(index.into(), 5000)));
    }
    for (index, id) in (0..20).zip(ids) {
        let (reply, _) = client.read();
        assert_eq!(reply.head.id, Some(id));
        let stored = stored(reply).unwrap();
        assert_eq!(stored.copy, record(7, index, &data(index.into(), 5000)));
        assert_eq!(stored.workers.len(), if index % 3 == 0 { 1 } else { 2 }, "segment {index}: {:?}", stored.failed);
    }
    let mut other = Client::connect(second.address());
    assert_eq!(other.get(copy(7, 19), None).unwrap(), data(19, 5000).as_bytes());
    assert_eq!(code(other.get(copy(7, 18), None)), ErrorCode::NotHeld);
}

fn worker_segment(version: u64, index: u32, forward: Vec<Endpoint>) -> protocol::message::data::DistributeArray {
    protocol::message::data::DistributeArray { forward, ..segment(version, index) }
}

#[test]
fn a_segment_goes_through_a_chain_of_workers() {
    let master = Master::start();
    let workers = ["w1", "w2", "w3"].map(|id| master.worker(id));
    for id in ["w1", "w2", "w3"] {
        master.reserve(id, 7, &[(0, 100_000)]);
    }
    let data = data(1, 100_000);
    let forward = vec![endpoint("w2", &workers[1]), endpoint("w3", &workers[2])];
    let stored = Client::connect(workers[0].address()).write(worker_segment(7, 0, forward), &data).unwrap();
    assert_eq!(stored.workers, ["w1".into(), "w2".into(), "w3".into()]);
    for worker in &workers {
        assert_eq!(Client::connect(worker.address()).get(copy(7, 0), None).unwrap(), data.as_bytes());
    }
}

#[test]
fn who_cannot_be_forwarded_to_is_named_and_the_rest_of_the_chain_gets_it() {
    let master = Master::start();
    let workers = ["w1", "w2", "w3", "w4"].map(|id| master.worker(id));
    master.reserve("w1", 7, &[(0, 1000), (1, 1000)]);
    master.reserve("w4", 7, &[(0, 1000), (1, 1000)]);
    let dead = endpoint("w2", &workers[1]);
    let [first, second, third, fourth] = workers;
    second.abort();
    second.join();
    // w2 is dead, w3 expects nothing, and w4's place is tried under a wrong name first.
    let misnamed = Endpoint { worker: "w9".into(), ..endpoint("w4", &fourth) };
    let forward = vec![dead, endpoint("w3", &third), misnamed, endpoint("w4", &fourth)];
    let mut client = Client::connect(first.address());
    for index in [0, 1] {
        let stored = client.write(worker_segment(7, index, forward.clone()), &data(1, 1000)).unwrap();
        assert_eq!(stored.workers, ["w1".into(), "w4".into()]);
        let failed: Vec<_> =
            stored.failed.iter().map(|f| (f.worker.as_str(), f.error.code, f.error.retryable)).collect();
        let expected = [
            ("w2", ErrorCode::Internal, true),
            ("w3", ErrorCode::UnknownTicket, true),
            ("w9", ErrorCode::Internal, true),
        ];
        assert_eq!(failed, expected);
        assert!(stored.failed[0].error.message.contains("w2"), "{}", stored.failed[0].error);
    }
}

#[test]
fn a_forward_connection_that_went_away_is_replaced() {
    let master = Master::start();
    let first = master.worker("w1");
    master.reserve("w1", 7, &[(0, 10), (1, 10)]);
    let mut client = Client::connect(first.address());
    let second = master.worker("w2");
    master.reserve("w2", 7, &[(0, 10)]);
    client.write(worker_segment(7, 0, vec![endpoint("w2", &second)]), &data(1, 10)).unwrap();
    // Another worker comes up at the very address: what is idle there is gone, what is new works.
    let address = second.address();
    second.abort();
    second.join();
    let config = worker::Config { listen: address, ..worker::Config::new("w2", master.address.to_string()) };
    let second = master.worker_with(config);
    master.reserve("w2", 7, &[(1, 10)]);
    let stored = client.write(worker_segment(7, 1, vec![endpoint("w2", &second)]), &data(1, 10)).unwrap();
    assert_eq!((stored.workers.len(), stored.failed), (2, vec![]));
}

#[test]
fn what_was_not_reserved_is_refused_and_the_connection_lives() {
    let master = Master::start();
    let worker = master.worker("w1");
    master.reserve("w1", 7, &[(0, 1000)]);
    let mut client = Client::connect(worker.address());
    let wrong_ticket = protocol::message::data::DistributeArray { ticket: "x".into(), ..segment(7, 0) };
    assert_eq!(code(client.write(wrong_ticket, &data(1, 1000))), ErrorCode::UnknownTicket);
    assert_eq!(code(client.write(segment(7, 0), &data(1, 999))), ErrorCode::UnknownTicket);
    assert_eq!(code(client.write(segment(7, 1), &data(1, 1000))), ErrorCode::UnknownTicket);
    assert_eq!(code(client.write(segment(7, 0), &data(1, 5_000_000))), ErrorCode::UnknownTicket, "skipped in blocks");
    let (reply, _) = client.request(segment(7, 0));
    assert_eq!(code(stored(reply)), ErrorCode::Malformed, "no payload at all");
    client.write(segment(7, 0), &data(1, 1000)).unwrap();
    assert_eq!(code(client.write(segment(7, 0), &data(2, 1000))), ErrorCode::ChecksumMismatch, "other bytes");
    master.tell("w1", DropCopies { versions: vec![VersionId(7)], ..DropCopies::default() });
    eventually("the version is dropped", || client.get(copy(7, 0), None).is_err());
    assert_eq!(code(client.write(segment(7, 0), &data(1, 1000))), ErrorCode::UnknownTicket);
}

#[test]
fn other_messages_are_refused_and_the_connection_lives() {
    let master = Master::start();
    let worker = master.worker("w1");
    let mut client = Client::connect_silently(worker.address());
    let refused = |client: &mut Client, line: &str| {
        client.sender.get_ref().write_all(line.as_bytes()).unwrap();
        let (reply, _) = client.read();
        let Body::Error(error) = reply.body else { panic!("{reply:?}") };
        (reply.head.id, error.code)
    };
    let before_hello = "{\"type\":\"PING\",\"id\":1}\n";
    assert_eq!(refused(&mut client, before_hello), (Some(1), ErrorCode::NotAllowed));
    client.sender.write(&Message::new(Hello::new(Role::Client))).unwrap();
    assert!(matches!(client.read().0.body, Body::Hello(_)));

    assert_eq!(refused(&mut client, &sealed("{\"type\":\"DANCE\",\"id\":2}\n")), (Some(2), ErrorCode::UnknownType));
    let with_payload = "{\"type\":\"DANCE\",\"id\":3,\"payload\":{\"dtype\":\"int8\",\"bytes\":4,\"crc32c\":0}}\nabcd";
    assert_eq!(refused(&mut client, &sealed(with_payload)), (Some(3), ErrorCode::UnknownType));
    let with_payload =
        "{\"type\":\"LIST_ARRAYS\",\"id\":4,\"payload\":{\"dtype\":\"int8\",\"bytes\":4,\"crc32c\":0}}\nabcd";
    assert_eq!(refused(&mut client, &sealed(with_payload)), (Some(4), ErrorCode::NotAllowed));
    let wrong_data = "{\"type\":\"GET_SEGMENT\",\"id\":5,\"data\":{\"version\":\"x\"}}\n";
    assert_eq!(refused(&mut client, &sealed(wrong_data)), (Some(5), ErrorCode::Malformed));
    let json_payload = format!(
        "{{\"type\":\"GET_SEGMENT\",\"id\":6,\
         \"payload\":{{\"dtype\":\"json\",\"bytes\":2,\"crc32c\":{}}}}}\n{{}}",
        array::checksum::crc32c(b"{}")
    );
    assert_eq!(refused(&mut client, &sealed(&json_payload)), (Some(6), ErrorCode::Malformed));
    assert_eq!(client.request(ListArrays {}).0.head.id, Some(1));
    assert!(matches!(client.request(Ping {}).0.body, Body::Pong(_)));
}

#[test]
fn broken_frames_are_answered_and_the_connection_is_closed() {
    let master = Master::start();
    let worker = master.worker("w1");
    master.reserve("w1", 7, &[(0, 2)]);
    let long_line = format!("{{\"type\":\"{}\"}}\n", "x".repeat(HEADER_BYTES_MAX));
    let deep = format!("{{\"type\":\"PING\",\"data\":{}1{}}}\n", "[".repeat(40), "]".repeat(40));
    let oversize = format!(
        "{{\"type\":\"DISTRIBUTE_ARRAY\",\"payload\":{{\"dtype\":\"int8\",\"bytes\":{},\"crc32c\":0}},\
         \"data\":{{\"version\":7,\"segment\":0,\"ticket\":\"t\"}}}}\n{}",
        PAYLOAD_BYTES_MAX + 1,
        "x".repeat(100_000)
    );
    let wrong_crc = "{\"type\":\"DISTRIBUTE_ARRAY\",\"id\":9,\
         \"payload\":{\"dtype\":\"int32\",\"bytes\":8,\"crc32c\":1},\
         \"data\":{\"version\":7,\"segment\":0,\"ticket\":\"t\"}}\nAAAABBBB";
    let cases = [
        ("GET / HTTP/1.1\r\n\r\n", ErrorCode::Malformed),
        ("\u{16}\u{3}\u{1}\n", ErrorCode::Malformed),
        ("[1,2]\n", ErrorCode::Malformed),
        (&long_line, ErrorCode::TooLarge),
        (&deep, ErrorCode::Malformed),
        (&oversize, ErrorCode::TooLarge),
        (wrong_crc, ErrorCode::ChecksumMismatch),
    ];
    for (bytes, expected) in cases {
        let mut client = Client::connect_silently(worker.address());
        // Typed: where lines have checksums, a line without is all that is noticed.
        client.sender.get_ref().write_all(b"{\"type\":\"HELLO\",\"data\":{\"role\":\"client\"}}\n").unwrap();
        assert!(matches!(client.read().0.body, Body::Hello(_)));
        // Writing may fail when the worker has closed already; its answer must be there all the same.
        let _ = client.sender.get_ref().write_all(bytes.as_bytes());
        let (reply, _) = client.read();
        let Body::Error(error) = reply.body else { panic!("{reply:?}") };
        assert_eq!(error.code, expected, "{}", &bytes[..bytes.len().min(60)]);
        assert!(client.is_closed());
    }
    let mut client = Client::connect(worker.address());
    assert_eq!(code(client.get(copy(7, 0), None)), ErrorCode::NotHeld, "what was broken is not stored");
    client.write(segment(7, 0), &data(1, 2)).unwrap();
}

#[test]
fn half_a_frame_is_no_copy() {
    let master = Master::start();
    let worker = master.worker("w1");
    master.reserve("w1", 7, &[(0, 1000)]);
    for cut in [20, 150, 2000] {
        let client = Client::connect(worker.address());
        let mut frame = Vec::new();
        let data = data(1, 1000);
        let payload = protocol::Payload {
            kind: protocol::PayloadKind::Elements(array::DType::Int32),
            bytes: 4000,
            crc32c: array::checksum::crc32c(data.as_bytes()),
        };
        let message = Message::request(1, segment(7, 0)).with_payload(payload);
        protocol::FrameWriter::new(&mut frame, "c", "w").write_with(&message, data.as_bytes()).unwrap();
        client.sender.get_ref().write_all(&frame[..cut]).unwrap();
        drop(client);
    }
    let mut client = Client::connect(worker.address());
    assert_eq!(code(client.get(copy(7, 0), None)), ErrorCode::NotHeld);
    client.write(segment(7, 0), &data(1, 1000)).unwrap();
}

#[test]
fn wrong_hellos_are_answered_and_closed() {
    let master = Master::start();
    let worker = master.worker("w1");
    let hellos = [
        (Hello::new(Role::Heartbeat), ErrorCode::NotAllowed),
        (Hello { protocol: 1, ..Hello::new(Role::Client) }, ErrorCode::Unsupported),
    ];
    for (hello, expected) in hellos {
        let mut client = Client::connect_silently(worker.address());
        client.sender.write(&Message::new(hello)).unwrap();
        let (reply, _) = client.read();
        assert!(matches!(&reply.body, Body::Error(error) if error.code == expected), "{reply:?}");
        assert!(client.is_closed());
    }
    let mut newer = Client::connect_silently(worker.address());
    newer.sender.write(&Message::new(Hello { protocol: 99, ..Hello::new(Role::Client) })).unwrap();
    assert!(matches!(newer.read().0.body, Body::Hello(Hello { protocol: 2, .. })));
}

#[test]
fn a_copy_is_recovered_from_the_first_source_that_has_it() {
    let master = Master::start();
    let (first, second, third) = (master.worker("w1"), master.worker("w2"), master.worker("w3"));
    master.reserve("w1", 7, &[(0, 100_000)]);
    let data = data(1, 100_000);
    let copy_record = Client::connect(first.address()).write(segment(7, 0), &data).unwrap().copy;
    let nobody = Endpoint { worker: "w0".into(), address: "127.0.0.1:1".into() };
    let sources = vec![nobody.clone(), endpoint("w3", &third), endpoint("w1", &first)];
    let recover = |copy, sources| RecoverData { copy, dtype: array::DType::Int32, sources, background: false };
    let outcome = || master.hear("w2", |m| if let Body::RecoveryComplete(r) = m.body { Some(r) } else { None });
    master.tell("w2", recover(copy_record, sources));
    let done = outcome();
    assert_eq!((done.copy, done.error), (copy_record, None));
    assert_eq!(Client::connect(second.address()).get(copy(7, 0), None).unwrap(), data.as_bytes());

    let in_background = RecoverData { background: true, ..recover(copy_record, vec![endpoint("w1", &first)]) };
    master.tell("w3", in_background);
    let done = master.hear("w3", |m| if let Body::RecoveryComplete(r) = m.body { Some(r) } else { None });
    assert_eq!((done.copy, done.error), (copy_record, None), "without haste");
    master.tell("w3", DropCopies { copies: vec![copy(7, 0)], ..DropCopies::default() });
    let other_bytes = protocol::CopyRecord(VersionId(7), 0, 1, 400_000);
    master.tell("w3", recover(other_bytes, vec![endpoint("w1", &first)]));
    let failed = master.hear("w3", |m| if let Body::RecoveryComplete(r) = m.body { Some(r) } else { None });
    assert_eq!(failed.error.map(|e| e.code), Some(ErrorCode::ChecksumMismatch));
    let elsewhere = protocol::CopyRecord(VersionId(7), 1, 1, 400);
    master.tell("w2", recover(elsewhere, vec![nobody, endpoint("w1", &first)]));
    let error = outcome().error.unwrap();
    assert_eq!(error.code, ErrorCode::NotHeld);
    assert!(error.message.contains("w0") && error.retryable, "{error}");
}

#[test]
fn a_reader_in_the_middle_of_a_dropped_copy_gets_it_whole() {
    let master = Master::start();
    let worker = master.worker("w1");
    let data = data(1, 8_000_000);
    master.reserve("w1", 7, &[(0, 8_000_000)]);
    let mut writer = Client::connect(worker.address());
    writer.write(segment(7, 0), &data).unwrap();
    // 32 MB do not fit into the buffers of a socket, so the worker is in the middle of it until it is read.
    let mut reader = Client::connect(worker.address());
    let get = protocol::message::data::GetSegment { version: VersionId(7), segment: 0, range: None };
    reader.sender.write(&Message::request(1, get)).unwrap();
    eventually("the first bytes arrive", || {
        let mut byte = [0];
        reader.sender.get_ref().peek(&mut byte).unwrap() > 0
    });
    master.tell("w1", DropCopies { versions: vec![VersionId(7)], ..DropCopies::default() });
    eventually("the copy is dropped", || writer.get(copy(7, 0), Some((0, 1))).is_err());
    let (reply, bytes) = reader.read();
    assert!(matches!(reply.body, Body::Segment(_)));
    assert!(bytes == data.as_bytes(), "the bytes differ");
}
