//! What can only be seen from inside: broken copies, the order of telling the master and answering the
//! writer, the cap on connections. The rest is tested over real workers in `tests/`.

mod chain;

use super::*;
use crate::driver::Listener;
use crate::store::{Admission, Write};
use array::{Buffer, DType};
use protocol::door::Capacity;
use protocol::message::data::{DistributeArray, Segment as SegmentData};
use protocol::{CopyRecord, VersionId, net};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

const COPY: CopyId = CopyId(VersionId(1), 0);

/// For everything that should happen at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// A driver without an agent: passes on what it is told, and takes note when it is allowed to.
struct Clerk {
    told: crossbeam_channel::Sender<Event>,
    notes: crossbeam_channel::Receiver<bool>,
}

impl Listener for Clerk {
    fn tell(&self, event: Event) -> bool {
        self.told.send(event).unwrap();
        self.notes.recv_timeout(PATIENCE).unwrap()
    }
}

/// A data port without an agent behind it.
struct Bench {
    store: Arc<Mutex<Store>>,
    told: crossbeam_channel::Receiver<Event>,
    notes: crossbeam_channel::Sender<bool>,
    address: SocketAddr,
}

impl Bench {
    fn new(connections_max: usize) -> Bench {
        Bench::start("w1", 1 << 20, connections_max)
    }

    fn start(worker: &str, budget: u64, connections_max: usize) -> Bench {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let store = Arc::new(Mutex::new(Store::new(budget)));
        let ((telling, told), (notes, noting)) = (crossbeam_channel::bounded(8), crossbeam_channel::bounded(8));
        let (events, sockets): (Events, _) = (Arc::new(Clerk { told: telling, notes: noting }), Sockets::default());
        let (worker, buffers) = (worker.into(), BufferPool::new(budget));
        let shared = Shared { worker, store: store.clone(), buffers, events, sockets, shared_memory: None };
        let capacity = Capacity { connections: connections_max, per_address: connections_max };
        DataPort::start(listener, shared, capacity, false).unwrap();
        Bench { store, told, notes, address }
    }

    fn connect(&self) -> (Receiver, net::Sender) {
        net::split(TcpStream::connect(self.address).unwrap(), "client", "w1").unwrap()
    }

    /// A connection that has introduced itself.
    fn client(&self) -> (Receiver, net::Sender) {
        let (mut receiver, mut sender) = self.connect();
        sender.write(&Message::new(Hello::new(Role::Client))).unwrap();
        assert!(matches!(read(&mut receiver).body, Body::Hello(_)));
        (receiver, sender)
    }

    /// What the driver is told; it has not taken note yet.
    fn told(&self) -> Event {
        self.told.recv_timeout(PATIENCE).expect("the driver is told")
    }

    /// The driver takes note of what it was told, or has ended.
    fn note(&self, lives: bool) {
        self.notes.send(lives).unwrap();
    }
}

fn read(receiver: &mut Receiver) -> Message {
    match receiver.read(Some(Instant::now() + PATIENCE)) {
        Ok(Some(Incoming::Message(message))) => message,
        other => panic!("no message: {other:?}"),
    }
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Whether there is room for [`COPY`], of so many bytes, which are all there are: nobody is writing it, and it is not here.
fn is_expected(store: &Mutex<Store>, bytes: u64, crc32c: u32) -> bool {
    let mut store = lock(store);
    store.check_invariants();
    match store.admit(Write { copy: COPY, ticket: "t", dtype: DType::UInt8, bytes, crc32c }) {
        Ok(Admission::Receive(grant)) => {
            store.abandon(grant);
            true
        }
        Ok(Admission::Held(_)) => panic!("it is stored"),
        Err(error) => {
            assert_eq!(error.code, ErrorCode::Busy);
            false
        }
    }
}

fn code(message: &Message) -> ErrorCode {
    match &message.body {
        Body::Error(error) => error.code,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_broken_copy_is_never_served_whole_and_is_reported() {
    let bench = Bench::new(8);
    {
        let mut store = lock(&bench.store);
        let room = store.make_room(4).unwrap();
        let broken = Segment::new(COPY, DType::UInt8, Buffer::from_bytes(&[1, 2, 3, 4]), 12345);
        store.insert(room, broken).unwrap();
    }
    let (mut receiver, mut sender) = bench.client();
    let get = |range| GetSegment { version: COPY.version(), segment: COPY.segment(), range };
    sender.write(&Message::request(1, get(Some((0, 4))))).unwrap();
    let part = read(&mut receiver);
    assert_eq!(part.body, SegmentData { copy: CopyRecord(COPY.version(), 0, 12345, 4) }.into());
    receiver.skip_payload(&part.head.payload.unwrap()).unwrap();

    sender.write(&Message::request(2, get(None))).unwrap();
    assert!(matches!(bench.told(), Event::Broken(COPY)));
    bench.note(true);
    assert_eq!(code(&read(&mut receiver)), ErrorCode::ChecksumMismatch);
    sender.write(&Message::request(3, get(None))).unwrap();
    assert_eq!(code(&read(&mut receiver)), ErrorCode::NotHeld);
    assert!(bench.told.is_empty(), "reported once");
}

#[test]
fn of_a_long_broken_copy_the_last_block_is_never_sent() {
    let long = 2 * BLOCK_BYTES + 5;
    let bench = Bench::start("w1", long as u64, 8);
    let data: Vec<u8> = (0..long).map(|n| (n * 7) as u8).collect();
    let right = array::checksum::crc32c(&data);
    let hold = |crc32c| {
        let mut store = lock(&bench.store);
        let room = store.make_room(long as u64).unwrap();
        store.insert(room, Segment::new(COPY, DType::UInt8, Buffer::from_bytes(&data), crc32c)).unwrap();
    };
    let get = GetSegment { version: COPY.version(), segment: COPY.segment(), range: None };
    let (mut receiver, mut sender) = bench.client();
    hold(right);
    sender.write(&Message::request(1, get.clone())).unwrap();
    let payload = read(&mut receiver).head.payload.unwrap();
    let mut whole = vec![0; long];
    receiver.read_payload(&payload, &mut whole).unwrap();
    assert!(whole == data);

    lock(&bench.store).drop_copy(COPY);
    lock(&bench.store).take_trash();
    hold(right ^ 1);
    sender.write(&Message::request(2, get)).unwrap();
    let payload = read(&mut receiver).head.payload.unwrap();
    let cut_short = thread::spawn(move || receiver.read_payload(&payload, &mut whole));
    assert!(matches!(bench.told(), Event::Broken(COPY)));
    bench.note(true);
    assert!(matches!(cut_short.join().unwrap(), Err(FrameError::Truncated)));
    assert!(lock(&bench.store).get(COPY).is_none());
}

#[test]
fn a_writer_is_answered_only_after_the_driver_has_taken_note() {
    let bench = Bench::new(8);
    lock(&bench.store).reserve(COPY.version(), "t", DType::UInt8, &[(0, 4)]).unwrap();
    let (mut receiver, mut sender) = bench.client();
    let crc32c = array::checksum::crc32c(b"abcd");
    let payload = Payload { kind: PayloadKind::Elements(DType::UInt8), bytes: 4, crc32c };
    let distribute = DistributeArray { version: COPY.version(), segment: 0, ticket: "t".into(), forward: vec![] };
    let message = Message::request(1, distribute).with_payload(payload);
    // The driver ends instead of taking note: then the writer must not believe that the master knows.
    sender.write_with(&message, b"abcd").unwrap();
    assert!(matches!(bench.told(), Event::Stored(record) if record.id() == COPY));
    bench.note(false);
    assert_eq!(code(&read(&mut receiver)), ErrorCode::ShuttingDown);
    // It takes note.
    sender.write_with(&message, b"abcd").unwrap();
    assert!(matches!(bench.told(), Event::Stored(_)));
    assert!(receiver.read(Some(Instant::now() + Duration::from_millis(50))).is_err(), "no answer before it has");
    bench.note(true);
    assert!(matches!(read(&mut receiver).body, Body::SegmentStored(_)));
}

#[test]
fn the_room_of_half_a_payload_is_expected_again_when_its_connection_ends() {
    let bench = Bench::new(8);
    let all = lock(&bench.store).budget();
    lock(&bench.store).reserve(COPY.version(), "t", DType::UInt8, &[(0, all)]).unwrap();
    let data = vec![7; all as usize];
    let crc32c = array::checksum::crc32c(&data);
    let payload = Payload { kind: PayloadKind::Elements(DType::UInt8), bytes: all, crc32c };
    let distribute = DistributeArray { version: COPY.version(), segment: 0, ticket: "t".into(), forward: vec![] };
    let message = Message::request(1, distribute).with_payload(payload);
    let mut frame = Vec::new();
    protocol::FrameWriter::new(&mut frame, "c", "w").write_with(&message, &data).unwrap();
    let half = bench.client();
    std::io::Write::write_all(&mut half.1.get_ref(), &frame[..frame.len() / 2]).unwrap();

    let is_free = || is_expected(&bench.store, all, crc32c);
    eventually("the first writer has the room", || !is_free());
    drop(half);
    eventually("the room is back", is_free);
}

#[test]
fn one_connection_too_many_is_busy_until_another_has_ended() {
    let bench = Bench::new(2);
    let (first, second) = (bench.client(), bench.client());
    let (mut receiver, _sender) = bench.connect();
    assert_eq!(code(&read(&mut receiver)), ErrorCode::Busy);
    assert!(matches!(receiver.read(Some(Instant::now() + PATIENCE)), Ok(None)), "and it is closed");
    drop(first);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (mut receiver, mut sender) = bench.connect();
        let _ = sender.write(&Message::new(Hello::new(Role::Client)));
        let answer = receiver.read(Some(deadline));
        if matches!(answer, Ok(Some(Incoming::Message(Message { body: Body::Hello(_), .. })))) {
            break;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
    }
    drop(second);
}
