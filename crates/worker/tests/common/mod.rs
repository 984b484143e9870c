//! A master and a client that say just what a test wants, over real sockets.
#![allow(dead_code, missing_docs)] // each test file uses its own part

use array::{Buffer, DType};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use protocol::message::data::{DistributeArray, GetSegment, SegmentStored};
use protocol::message::worker::*;
use protocol::message::{Hello, PayloadKind, Role};
use protocol::{Body, CopyId, CopyRecord, ErrorCode, Incoming, Message, Payload, VersionId, WireError, net};
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use worker::{Config, Worker};

/// For everything that should happen at once; long enough for a machine that has much else to do.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const CLUSTER: uuid::Uuid = uuid::Uuid::from_u128(0xc1);

/// What a worker said on its control connection; `None` when that has ended.
type Said = (String, Option<Message>);

/// A master that accepts every worker and otherwise does nothing by itself.
pub struct Master {
    pub address: SocketAddr,
    said: Receiver<Said>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    links: Mutex<HashMap<String, net::Sender>>,
    heartbeats: Mutex<HashMap<String, (u64, Heartbeat)>>,
    heartbeat_links: Mutex<HashMap<String, net::Sender>>,
}

impl Master {
    pub fn start() -> Master {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, said) = crossbeam_channel::bounded(10_000);
        let shared = Arc::new(Shared::default());
        let accepting = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, tell) = (accepting.clone(), tell.clone());
                thread::spawn(move || shared.serve(stream, tell));
            }
        });
        Master { address, said, shared }
    }

    /// A worker for this master, registered.
    pub fn worker(&self, id: &str) -> Worker {
        self.worker_with(Config::new(id, self.address.to_string()))
    }

    pub fn worker_with(&self, config: Config) -> Worker {
        let id = config.worker.to_string();
        let worker = Worker::start(config).unwrap();
        let registered = self.registration(&id);
        assert_eq!(registered.hello.unwrap().address, worker.address().to_string());
        worker
    }

    /// Waits for the next message of a worker that `pick` takes; others are skipped.
    pub fn hear<T>(&self, id: &str, pick: impl Fn(Message) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.said.recv_deadline(deadline) {
                Ok((from, Some(message))) if from == id => {
                    if let Some(picked) = pick(message) {
                        return picked;
                    }
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => panic!("{id} did not say it"),
                Err(RecvTimeoutError::Disconnected) => unreachable!(),
            }
        }
    }

    pub fn registration(&self, id: &str) -> RegisterWorker {
        self.hear(id, |m| if let Body::RegisterWorker(r) = m.body { Some(r) } else { None })
    }

    pub fn copies_changed(&self, id: &str) -> CopiesChanged {
        self.hear(id, |m| if let Body::CopiesChanged(c) = m.body { Some(c) } else { None })
    }

    /// What a worker has said so far and nobody has heard.
    pub fn said_already(&self, id: &str) -> Vec<Body> {
        self.said.try_iter().filter(|(from, _)| from == id).filter_map(|(_, m)| m).map(|m| m.body).collect()
    }

    /// Waits until the control connection of a worker has ended.
    pub fn hear_end(&self, id: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.said.recv_deadline(deadline).expect("the control connection ends") != (id.to_string(), None) {}
    }

    pub fn tell(&self, id: &str, body: impl Into<Body>) {
        self.tell_message(id, Message::new(body));
    }

    pub fn tell_message(&self, id: &str, message: Message) {
        let mut links = self.shared.links.lock().unwrap();
        links.get_mut(id).expect("registered").write(&message).unwrap();
    }

    pub fn hang_up(&self, id: &str) {
        net::hang_up(self.shared.links.lock().unwrap()[id].get_ref());
    }

    /// Ends the connection that a worker gives signs of life on, and that one only.
    pub fn hang_up_heartbeats(&self, id: &str) {
        net::hang_up(self.shared.heartbeat_links.lock().unwrap()[id].get_ref());
    }

    /// Sends a worker whatever a test makes up.
    pub fn tell_raw(&self, id: &str, bytes: &str) {
        use std::io::Write;
        self.shared.links.lock().unwrap()[id].get_ref().write_all(bytes.as_bytes()).unwrap();
    }

    /// How often a worker has given a sign of life, and the last one.
    pub fn heartbeat(&self, id: &str) -> Option<(u64, Heartbeat)> {
        self.shared.heartbeats.lock().unwrap().get(id).copied()
    }

    /// Makes a worker expect int32 segments `[segment, elements]` under the ticket "t".
    pub fn reserve(&self, id: &str, version: u64, segments: &[(u32, u64)]) {
        let segments = segments.iter().map(|(s, elements)| (*s, elements * 4)).collect();
        let reserve = Reserve { version: VersionId(version), ticket: "t".into(), dtype: DType::Int32, segments };
        self.tell_message(id, Message::request(1, reserve));
        self.hear(id, |m| match m.body {
            Body::Reserved(_) => Some(()),
            Body::Error(error) => panic!("{error}"),
            _ => None,
        });
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream, tell: Sender<Said>) {
        let (mut receiver, mut sender) = net::split(stream, "master", "").unwrap();
        let Ok(Some(Incoming::Message(first))) = receiver.read(None) else {
            return;
        };
        let answer = Hello { cluster: Some(CLUSTER), term: Some(1), ..Hello::new(Role::Master) };
        let (id, is_control) = match &first.body {
            Body::RegisterWorker(register) => (register.hello.as_ref().unwrap().worker.to_string(), true),
            Body::Hello(hello) if hello.role == Role::Heartbeat => (hello.worker.clone().unwrap().to_string(), false),
            other => panic!("{other:?}"),
        };
        sender.write(&Message::reply(&first.head, answer)).unwrap();
        if is_control {
            self.links.lock().unwrap().insert(id.clone(), sender);
            let _ = tell.send((id.clone(), Some(first)));
        } else {
            self.heartbeat_links.lock().unwrap().insert(id.clone(), sender);
        }
        while let Ok(Some(Incoming::Message(message))) = receiver.read(None) {
            match message.body {
                Body::Heartbeat(beat) => {
                    let mut heartbeats = self.heartbeats.lock().unwrap();
                    let count = heartbeats.get(&id).map_or(0, |(count, _)| *count);
                    heartbeats.insert(id.clone(), (count + 1, beat));
                }
                _ => drop(tell.send((id.clone(), Some(message)))),
            }
        }
        if is_control {
            let _ = tell.send((id, None));
        }
    }
}

/// A client at a data port.
pub struct Client {
    pub receiver: net::Receiver,
    pub sender: net::Sender,
    last_id: u64,
}

/// A reply and its payload.
pub type Reply = (Message, Vec<u8>);

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let mut client = Client::connect_silently(address);
        client.sender.write(&Message::new(Hello::new(Role::Client))).unwrap();
        assert!(matches!(client.read().0.body, Body::Hello(Hello { role: Role::Worker, .. })));
        client
    }

    /// A connection that has not introduced itself.
    pub fn connect_silently(address: SocketAddr) -> Client {
        let (receiver, sender) = net::split(TcpStream::connect(address).unwrap(), "client", "").unwrap();
        Client { receiver, sender, last_id: 0 }
    }

    /// The next message; fails after a while.
    pub fn read(&mut self) -> Reply {
        match self.receiver.read(Some(Instant::now() + PATIENCE)) {
            Ok(Some(Incoming::Message(message))) => {
                let mut bytes = vec![0; message.head.payload.map_or(0, |p| p.bytes as usize)];
                if let Some(payload) = &message.head.payload {
                    self.receiver.read_payload(payload, &mut bytes).unwrap();
                }
                (message, bytes)
            }
            other => panic!("no message: {other:?}"),
        }
    }

    /// Whether the worker closes the connection now.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.receiver.read(Some(Instant::now() + PATIENCE)), Ok(None))
    }

    pub fn request(&mut self, body: impl Into<Body>) -> Reply {
        self.last_id += 1;
        self.sender.write(&Message::request(self.last_id, body)).unwrap();
        let reply = self.read();
        assert_eq!(reply.0.head.id, Some(self.last_id));
        reply
    }

    /// Sends a segment without waiting for the reply.
    pub fn send(&mut self, distribute: DistributeArray, data: &Buffer) -> u64 {
        let crc32c = array::checksum::crc32c(data.as_bytes());
        let kind = PayloadKind::Elements(DType::Int32);
        self.last_id += 1;
        let payload = Payload { kind, bytes: data.len() as u64, crc32c };
        let message = Message::request(self.last_id, distribute).with_payload(payload);
        self.sender.write_with(&message, data.as_bytes()).unwrap();
        self.last_id
    }

    pub fn write(&mut self, distribute: DistributeArray, data: &Buffer) -> Result<SegmentStored, WireError> {
        let id = self.send(distribute, data);
        let (reply, _) = self.read();
        assert_eq!(reply.head.id, Some(id));
        stored(reply)
    }

    pub fn get(&mut self, copy: CopyId, range: Option<(u64, u64)>) -> Result<Vec<u8>, WireError> {
        let (version, segment) = (copy.version(), copy.segment());
        let (reply, bytes) = self.request(GetSegment { version, segment, range });
        match reply.body {
            Body::Segment(given) => {
                assert_eq!(given.copy.id(), copy);
                Ok(bytes)
            }
            Body::Error(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }
}

pub fn stored(reply: Message) -> Result<SegmentStored, WireError> {
    match reply.body {
        Body::SegmentStored(stored) => Ok(stored),
        Body::Error(error) => Err(error),
        other => panic!("{other:?}"),
    }
}

pub fn segment(version: u64, segment: u32) -> DistributeArray {
    DistributeArray { version: VersionId(version), segment, ticket: "t".into(), forward: Vec::new() }
}

/// `elements` int32 values that differ with the seed.
pub fn data(seed: u64, elements: usize) -> Buffer {
    let mut buffer = Buffer::zeroed(elements * 4);
    array::random::fill_int(seed, 0, buffer.as_mut_slice(), i32::MIN, i32::MAX);
    buffer
}

pub fn record(version: u64, segment: u32, data: &Buffer) -> CopyRecord {
    CopyRecord(VersionId(version), segment, array::checksum::crc32c(data.as_bytes()), data.len() as u64)
}

pub fn copy(version: u64, segment: u32) -> CopyId {
    CopyId(VersionId(version), segment)
}

pub fn code<T: std::fmt::Debug>(result: Result<T, WireError>) -> ErrorCode {
    result.expect_err("it should be refused").code
}

/// Waits until something is so.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A frame as a person would type it, its line with the checksum that all must have where one had.
pub fn sealed(frame: &str) -> String {
    let (line, payload) = frame.split_once('\n').expect("a line has an end");
    let open = line.strip_suffix('}').expect("a line is an object");
    format!("{open},\"crc32c\":{}}}\n{payload}", array::checksum::crc32c(line.as_bytes()))
}
