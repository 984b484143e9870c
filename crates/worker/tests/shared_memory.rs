//! The data port through shared memory: the same requests and answers, with a limit of its own.
#![cfg(target_os = "linux")]

mod common;

use common::*;
use protocol::message::data::GetSegment;
use protocol::message::{Hello, Ping, Role};
use protocol::net::{Receiver, Stream, Transport};
use protocol::{Body, FrameReader, FrameWriter, Incoming, Message, Payload, PayloadKind, VersionId};
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// As many as a worker serves.
const CONNECTIONS_MAX: usize = 64;

/// The name that a worker says over TCP.
fn name_of(worker: &worker::Worker) -> Option<String> {
    let mut client = Client::connect_silently(worker.address());
    client.sender.write(&Message::new(Hello::new(Role::Client))).unwrap();
    match client.read().0.body {
        Body::Hello(hello) => hello.shared_memory,
        other => panic!("{other:?}"),
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn connect(name: &str) -> io::Result<Stream> {
    Stream::connect_here(name, soon())
}

fn read(receiver: &mut Receiver<Stream>) -> Message {
    match receiver.read(Some(soon())) {
        Ok(Some(Incoming::Message(message))) => message,
        other => panic!("no message: {other:?}"),
    }
}

#[test]
fn the_same_is_said_through_shared_memory() {
    let master = Master::start();
    let worker = master.worker("w1");
    master.reserve("w1", 7, &[(0, 1_000_000)]);
    let stream = connect(&name_of(&worker).unwrap()).unwrap();
    let writing = stream.try_clone().unwrap();
    let mut receiver = FrameReader::new(stream.prepare().unwrap());
    let mut sender = FrameWriter::new(&writing, "client", "w1");
    sender.write(&Message::request(1, Ping {})).unwrap();
    assert!(matches!(read(&mut receiver).body, Body::Error(_)), "not before HELLO");
    sender.write(&Message::new(Hello::new(Role::Client))).unwrap();
    assert!(matches!(read(&mut receiver).body, Body::Hello(Hello { worker: Some(id), .. }) if id.as_str() == "w1"));

    let data = data(1, 1_000_000);
    let crc32c = array::checksum::crc32c(data.as_bytes());
    let payload = Payload { kind: PayloadKind::Elements(array::DType::Int32), bytes: data.len() as u64, crc32c };
    sender.write_with(&Message::request(2, segment(7, 0)).with_payload(payload), data.as_bytes()).unwrap();
    assert_eq!(stored(read(&mut receiver)).unwrap().copy, record(7, 0, &data));
    let get = GetSegment { version: VersionId(7), segment: 0, range: None };
    sender.write(&Message::request(3, get)).unwrap();
    let mut bytes = vec![0; data.len()];
    assert_eq!(read(&mut receiver).head.payload, Some(payload));
    receiver.read_payload(&payload, &mut bytes).unwrap();
    assert!(bytes == data.as_bytes());

    (&writing).write_all(b"no message\n").unwrap();
    assert!(matches!(read(&mut receiver).body, Body::Error(_)), "the last answer can be read");
    assert!(matches!(receiver.read(Some(soon())), Ok(None)));
}

#[test]
fn half_a_payload_is_no_copy_and_an_ending_worker_hangs_up() {
    let master = Master::start();
    let worker = master.worker("w1");
    master.reserve("w1", 7, &[(0, 1000)]);
    let name = name_of(&worker).unwrap();
    let data = data(1, 1000);
    let crc32c = array::checksum::crc32c(data.as_bytes());
    let payload = Payload { kind: PayloadKind::Elements(array::DType::Int32), bytes: 4000, crc32c };
    let mut frames = b"{\"type\":\"HELLO\",\"data\":{\"role\":\"client\"}}\n".to_vec();
    let message = Message::request(1, segment(7, 0)).with_payload(payload);
    FrameWriter::new(&mut frames, "c", "w").write_with(&message, data.as_bytes()).unwrap();
    for cut in [60, 200, frames.len() - 1] {
        let stream = connect(&name).unwrap();
        (&stream).write_all(&frames[..cut]).unwrap();
    }
    let stream = connect(&name).unwrap();
    let mut client = Client::connect(worker.address());
    // The grants of those that went are given back before there is another.
    eventually("it is taken whole", || client.write(segment(7, 0), &data).is_ok());
    worker.abort();
    worker.join();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_eq!(stream.receive(&mut [0]).unwrap(), 0);
    assert!(connect(&name).is_err(), "nobody listens there any more");
}

#[test]
fn no_more_than_some_are_served_and_those_that_end_make_room() {
    let master = Master::start();
    let worker = master.worker("w1");
    let name = name_of(&worker).unwrap();
    let mut connections: Vec<Stream> = (0..CONNECTIONS_MAX).map(|_| connect(&name).unwrap()).collect();
    for _ in 0..3 {
        assert_eq!(connect(&name).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
    let _over_tcp = Client::connect(worker.address());
    connections.truncate(CONNECTIONS_MAX - 2);
    for _ in 0..2 {
        eventually("there is room again", || connect(&name).map(|stream| connections.push(stream)).is_ok());
    }
    assert_eq!(connect(&name).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_worker_that_shall_not_share_memory_says_no_name() {
    let master = Master::start();
    let config = worker::Config { shared_memory: false, ..worker::Config::new("w1", master.address.to_string()) };
    assert_eq!(name_of(&master.worker_with(config)), None);
}
