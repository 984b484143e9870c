//! A worker under masters of the original system, over real sockets. They are as particular as the real ones: the Java
//! one throws away what comes in one read with REGISTER_WORKER, and to the Python one each read must be exactly one line.

mod common;

use common::*;
use protocol::level1::LineWriter;
use protocol::message::{Hello, Role};
use protocol::{Body, FrameError, Incoming, Message, net};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;
use worker::{Config, ExitReason, Worker};

#[derive(Clone, Copy, PartialEq)]
enum Flavour {
    Java,
    Python,
}

/// What a Python master reads at once.
const READ_BYTES: usize = 8192;

/// A master of the original system.
struct Original {
    listener: TcpListener,
    flavour: Flavour,
}

/// A worker's connection to it.
struct Link {
    stream: TcpStream,
    flavour: Flavour,
    received: Vec<u8>,
}

impl Original {
    fn start(flavour: Flavour) -> Original {
        Original { listener: TcpListener::bind("127.0.0.1:0").unwrap(), flavour }
    }

    fn config(&self) -> Config {
        Config::new("wörker", self.listener.local_addr().unwrap().to_string())
    }

    fn worker(&self) -> (Worker, Link) {
        let worker = Worker::start(self.config()).unwrap();
        (worker, self.accept())
    }

    /// Accepts a connection and reads the registration, and all that comes with it.
    fn accept(&self) -> Link {
        let stream = self.listener.accept().unwrap().0;
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut link = Link { stream, flavour: self.flavour, received: Vec::new() };
        let mut first = Vec::new();
        while !first.contains(&b'\n') {
            assert!(link.read_into(&mut first) > 0, "it registers");
        }
        let end = first.iter().position(|byte| *byte == b'\n').unwrap();
        let register: Value = serde_json::from_slice(&first[..end]).unwrap();
        assert_eq!((register["type"].as_str(), register["from"].as_str()), (Some("REGISTER_WORKER"), Some("wörker")));
        let data = &register["data"];
        assert!(data["cores"].is_u64() && data["memory"].is_u64() && data["port"].is_u64(), "{data}");
        assert!(data["host"].is_string() && data["hello"].is_object(), "level 2 is tried first: {data}");
        link
    }
}

impl Link {
    fn read_into(&mut self, bytes: &mut Vec<u8>) -> usize {
        let mut chunk = vec![0; READ_BYTES];
        let read = self.stream.read(&mut chunk).expect("the worker says something");
        bytes.extend(&chunk[..read]);
        read
    }

    /// The next line, as the master reads it; `None` at the end of the connection.
    fn next_line(&mut self) -> Option<Vec<u8>> {
        let mut looked_at = 0;
        loop {
            if let Some(end) = self.received[looked_at..].iter().position(|byte| *byte == b'\n') {
                return Some(self.received.drain(..=looked_at + end).collect());
            }
            looked_at = self.received.len();
            let mut received = std::mem::take(&mut self.received);
            let read = self.read_into(&mut received);
            if self.flavour == Flavour::Python && read > 0 {
                let ends = received.iter().filter(|byte| **byte == b'\n').count();
                let shown = String::from_utf8_lossy(&received).into_owned();
                assert!(looked_at == 0 && ends == 1 && received.ends_with(b"\n"), "not one line in one read: {shown}");
            }
            self.received = received;
            if read == 0 {
                return None;
            }
        }
    }

    fn message(&mut self) -> Value {
        let line = self.next_line().expect("the connection lives");
        let message: Value = serde_json::from_slice(&line).unwrap();
        assert!(line.is_ascii() && message["timestamp"].is_u64() && message["to"] == "master", "{message}");
        assert_eq!(message["from"], "wörker");
        message
    }

    /// The next message that is no heartbeat: its type and data.
    fn hear(&mut self) -> (String, Value) {
        loop {
            let mut message = self.message();
            if message["type"] != "HEARTBEAT" {
                return (message["type"].as_str().unwrap().into(), message["data"].take());
            }
            assert_eq!(message["data"], serde_json::json!({}));
        }
    }

    fn say(&mut self, line: LineWriter) {
        let mut line = String::from_utf8(line.finish()).unwrap();
        if self.flavour == Flavour::Python {
            line = line.replace("\":", "\": ");
        }
        self.stream.write_all(line.as_bytes()).unwrap();
    }

    fn give(&mut self, kind: &str, array: &str, start: usize, values: &[f64]) {
        let line = LineWriter::new(kind, "master", "w").doubles("data", values).text("dataType", "double");
        let line = line.integer("segmentId", start as i64).integer("startIndex", start as i64);
        self.say(line.integer("endIndex", (start + values.len()) as i64).text("arrayId", array));
    }

    fn process(&mut self, array: &str, operation: &str) {
        let line = LineWriter::new("PROCESS_SEGMENT", "master", "w").text("arrayId", array);
        self.say(line.text("operation", operation));
    }

    /// The next result: segment, status, and values.
    fn result(&mut self) -> (u64, String, Vec<f64>) {
        let (kind, data) = self.hear();
        assert_eq!(kind, "SEGMENT_RESULT");
        let values = data["data"].as_array().expect("a list").iter().map(|value| value.as_f64().unwrap()).collect();
        (data["segmentId"].as_u64().expect("a number"), data["status"].as_str().unwrap().into(), values)
    }
}

fn example1(values: &[f64]) -> Vec<f64> {
    let (result, _) = array::Operation::Example1.apply(&array::Buffer::from_slice(values));
    result.as_slice::<f64>().to_vec()
}

fn values(seed: u64, len: usize) -> Vec<f64> {
    let mut values = vec![0.0; len];
    array::random::fill_double(seed, 0, &mut values, -1e4, 1e4);
    values
}

#[test]
fn under_a_java_master_every_segment_is_computed_whole_and_again() {
    let master = Original::start(Flavour::Java);
    let (worker, mut link) = master.worker();
    assert_eq!(link.message()["type"], "HEARTBEAT", "whole, though it throws away what comes with the registration");
    // Several megabytes as text, and more than one read of it.
    let (first, second, replica) = (values(1, 300_000), values(2, 200_000), values(3, 5));
    link.give("DISTRIBUTE_ARRAY", "a_b", 0, &first);
    link.give("DISTRIBUTE_ARRAY", "a_b", 300_000, &second);
    link.give("REPLICATE_DATA", "a_b", 500_000, &replica);
    for _ in 0..2 {
        link.process("a_b", "example1");
        assert!(link.result() == (0, "completed".into(), example1(&first)));
        assert!(link.result() == (300_000, "completed".into(), example1(&second)));
    }
    let line = LineWriter::new("RECOVER_DATA", "master", "w").text("arrayId", "a_b");
    link.say(line.integer("segmentId", 500_000).flag("makePrimary", true));
    let (kind, data) = link.hear();
    assert_eq!((kind.as_str(), &data["status"]), ("RECOVERY_COMPLETE", &"recovered".into()));
    assert_eq!((&data["arrayId"], &data["segmentId"]), (&"a_b".into(), &500_000.into()));
    link.process("a_b", "example1");
    let segments: Vec<u64> = (0..3).map(|_| link.result().0).collect();
    assert_eq!(segments, [0, 300_000, 500_000]);
    link.process("a_b", "example2");
    for segment in [0, 300_000, 500_000] {
        assert_eq!(link.result(), (segment, "error".into(), vec![]));
    }
    link.say(LineWriter::new("SHUTDOWN", "master", "w"));
    assert_eq!(worker.join(), ExitReason::Shutdown);
    assert_eq!(ExitReason::Shutdown.code(), 0);
}

#[test]
fn under_a_python_master_every_read_is_one_line() {
    let master = Original::start(Flavour::Python);
    let (worker, mut link) = master.worker();
    let (small, large) = (values(1, 100), values(2, 10_000));
    link.give("DISTRIBUTE_ARRAY", "a", 0, &small);
    link.give("DISTRIBUTE_ARRAY", "a", 100, &large);
    link.give("DISTRIBUTE_ARRAY", "a", 10_100, &small);
    for _ in 0..3 {
        link.process("a", "example1");
    }
    for _ in 0..3 {
        assert_eq!(link.result(), (0, "completed".into(), example1(&small)));
        assert_eq!(link.result(), (100, "completed".into(), vec![]), "too long for one read");
        assert_eq!(link.result(), (10_100, "completed".into(), example1(&small)));
    }
    worker.abort();
    worker.join();
}

#[test]
fn after_the_end_of_the_connection_it_registers_again_as_a_new_worker() {
    for flavour in [Flavour::Java, Flavour::Python] {
        let master = Original::start(flavour);
        let (worker, mut link) = master.worker();
        link.give("DISTRIBUTE_ARRAY", "a", 0, &[1.0, 2.0]);
        link.process("a", "example1");
        assert_eq!(link.result().1, "completed");
        drop(link);
        let mut link = master.accept();
        link.process("a", "example1");
        assert_eq!(link.result(), (0, "error".into(), vec![]), "it has forgotten everything");
        link.give("DISTRIBUTE_ARRAY", "a", 0, &[1.0]);
        link.process("a", "example1");
        assert_eq!(link.result(), (0, "completed".into(), example1(&[1.0])));
        worker.abort();
        worker.join();
    }
}

#[test]
fn what_does_not_fit_into_its_memory_is_answered_with_an_error() {
    let master = Original::start(Flavour::Java);
    let worker = Worker::start(Config { memory_bytes: 1 << 20, ..master.config() }).unwrap();
    let mut link = master.accept();
    link.give("DISTRIBUTE_ARRAY", "a", 0, &[1.0]);
    link.give("DISTRIBUTE_ARRAY", "a", 1, &values(1, 200_000));
    link.give("DISTRIBUTE_ARRAY", "a", 200_001, &[2.0]);
    link.process("a", "example1");
    assert_eq!(link.result(), (0, "completed".into(), example1(&[1.0])));
    assert_eq!(link.result(), (1, "error".into(), vec![]));
    assert_eq!(link.result(), (200_001, "completed".into(), example1(&[2.0])));
    worker.abort();
    worker.join();
}

#[test]
fn lines_that_make_no_sense_are_left_out() {
    let master = Original::start(Flavour::Java);
    let (worker, mut link) = master.worker();
    link.give("DISTRIBUTE_ARRAY", "a", 0, &[1.0]);
    link.stream.write_all(b"\nno json\n{\"type\":\"PROCESS_SEGMENT\",\"data\":{}}\n{\"type\":\"DANCE\"}\n").unwrap();
    link.process("a", "example1");
    assert_eq!(link.result().1, "completed");
    worker.abort();
    worker.join();
}

#[test]
fn a_peer_that_is_no_master_at_all_is_hung_up_on() {
    let master = Original::start(Flavour::Java);
    let (worker, mut link) = master.worker();
    link.stream.write_all(b"HTTP/1.1 400 Bad Request\r\n").unwrap();
    while link.next_line().is_some() {}
    master.accept();
    worker.abort();
    worker.join();
}

#[test]
fn a_master_of_level_2_that_was_slow_to_answer_gets_a_worker_of_level_2() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let worker = Worker::start(Config::new("w1", listener.local_addr().unwrap().to_string())).unwrap();
    let answer = || Message::new(Hello { cluster: Some(CLUSTER), term: Some(1), ..Hello::new(Role::Master) });
    let by = Some(Instant::now() + PATIENCE);
    let accept = || {
        let (mut receiver, sender) = net::split(listener.accept().unwrap().0, "master", "w1").unwrap();
        let first = receiver.read(by);
        assert!(matches!(&first, Ok(Some(Incoming::Message(m))) if m.body.kind() == "REGISTER_WORKER"), "{first:?}");
        (receiver, sender)
    };
    let (mut receiver, mut sender) = accept();
    let beat = receiver.read(by);
    assert!(matches!(beat, Err(FrameError::Broken(_))), "a sign of life of level 1, which has no checksum: {beat:?}");
    sender.write(&answer()).unwrap();
    while !matches!(receiver.read(by), Ok(None)) {}
    let (mut receiver, mut sender) = accept();
    sender.write(&answer()).unwrap();
    let (mut heartbeats, _) = net::split(listener.accept().unwrap().0, "master", "w1").unwrap();
    let hello = heartbeats.read(by);
    assert!(
        matches!(&hello, Ok(Some(Incoming::Message(Message { body: Body::Hello(h), .. }))) if h.role == Role::Heartbeat)
    );
    sender.write(&Message::request(1, protocol::message::Ping {})).unwrap();
    let pong = receiver.read(by);
    assert!(matches!(&pong, Ok(Some(Incoming::Message(Message { body: Body::Pong(_), .. })))), "{pong:?}");
    worker.abort();
    worker.join();
}
