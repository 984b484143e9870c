//! A segment that goes from worker to worker while it arrives, and what the others do to it.

use super::*;
use protocol::message::client::Endpoint;
use protocol::message::data::SegmentStored;
use std::io::{Read, Write as _};

/// Several blocks, and a piece of one.
const SEVERAL_BLOCKS: usize = 1_500_001;

/// More than the buffers of two sockets take, so that a worker who does not read makes others wait.
const TOO_LONG_TO_BUFFER: usize = 12 << 20;

/// A worker's data port, whose driver takes note of everything.
fn worker(id: &str, budget: usize) -> Bench {
    let bench = Bench::start(id, budget as u64, 8);
    let (told, notes) = (bench.told.clone(), bench.notes.clone());
    thread::spawn(move || told.iter().try_for_each(|_| notes.send(true)));
    bench
}

fn workers<const N: usize>(budget: usize) -> [Bench; N] {
    std::array::from_fn(|index| worker(&format!("w{}", index + 1), budget))
}

fn bytes(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 31 + index / 997 + seed) as u8).collect()
}

fn endpoint(worker: &str, address: SocketAddr) -> Endpoint {
    Endpoint { worker: worker.into(), address: address.to_string() }
}

fn reserve(bench: &Bench, ticket: &str, segments: u32, len: usize) {
    let segments: Vec<_> = (0..segments).map(|segment| (segment, len as u64)).collect();
    lock(&bench.store).reserve(COPY.version(), ticket, DType::UInt8, &segments).unwrap();
}

/// DISTRIBUTE_ARRAY with everything but the bytes.
fn request(segment: u32, data: &[u8], forward: &[Endpoint]) -> Message {
    let kind = PayloadKind::Elements(DType::UInt8);
    let payload = Payload { kind, bytes: data.len() as u64, crc32c: array::checksum::crc32c(data) };
    let (version, ticket) = (COPY.version(), "t".to_string());
    let distribute = DistributeArray { version, segment, ticket, forward: forward.to_vec() };
    Message::request(u64::from(segment), distribute).with_payload(payload)
}

fn stored(reply: Message) -> SegmentStored {
    match reply.body {
        Body::SegmentStored(stored) => stored,
        other => panic!("not stored: {other:?}"),
    }
}

/// Has a segment written through `first`.
fn write(first: &Bench, segment: u32, data: &[u8], forward: &[Endpoint]) -> SegmentStored {
    let (mut receiver, mut sender) = first.client();
    sender.write_with(&request(segment, data, forward), data).unwrap();
    stored(read(&mut receiver))
}

fn failed(stored: &SegmentStored) -> Vec<(&str, ErrorCode)> {
    stored.failed.iter().map(|failed| (failed.worker.as_str(), failed.error.code)).collect()
}

#[track_caller]
fn assert_holds(bench: &Bench, segment: u32, data: &[u8]) {
    let store = lock(&bench.store);
    store.check_invariants();
    let held = store.get(CopyId(COPY.version(), segment)).expect("it is not stored");
    assert!(held.buffer().as_bytes() == data, "the bytes differ");
}

/// A worker of another kind: accepts one connection, and does with it what the test says, on a thread of its own.
fn stranger(act: impl FnOnce(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || act(listener.accept().unwrap().0));
    address
}

#[test]
fn everybody_in_a_chain_of_three_gets_the_bytes() {
    let [first, second, third] = workers(SEVERAL_BLOCKS);
    let data = bytes(1, SEVERAL_BLOCKS);
    [&first, &second, &third].into_iter().for_each(|worker| reserve(worker, "t", 1, data.len()));
    let forward = [endpoint("w2", second.address), endpoint("w3", third.address)];
    let answer = write(&first, 0, &data, &forward);
    assert_eq!((answer.workers, answer.failed), (vec!["w1".into(), "w2".into(), "w3".into()], vec![]));
    [&first, &second, &third].into_iter().for_each(|worker| assert_holds(worker, 0, &data));
}

#[test]
fn two_workers_forward_to_each_other_many_segments_at_once() {
    const SEGMENTS: u32 = 24;
    let [first, second] = workers::<2>(2 * SEGMENTS as usize * SEVERAL_BLOCKS);
    [&first, &second].into_iter().for_each(|worker| reserve(worker, "t", SEGMENTS, SEVERAL_BLOCKS));
    let halves = [(&first, "w2", &second, 0), (&second, "w1", &first, 1)];
    thread::scope(|scope| {
        for (primary, other, replica, parity) in halves {
            scope.spawn(move || {
                let (mut receiver, mut sender) = primary.client();
                let mine = || (0..SEGMENTS).filter(move |segment| segment % 2 == parity);
                for segment in mine() {
                    let data = bytes(segment as usize, SEVERAL_BLOCKS);
                    let message = request(segment, &data, &[endpoint(other, replica.address)]);
                    sender.write_with(&message, &data).unwrap();
                }
                for segment in mine() {
                    let reply = read(&mut receiver);
                    assert_eq!(reply.head.id, Some(u64::from(segment)), "in the order of the requests");
                    let answer = stored(reply);
                    assert_eq!((answer.copy.id().segment(), answer.workers.len()), (segment, 2), "{:?}", answer.failed);
                }
            });
        }
    });
    for segment in 0..SEGMENTS {
        let data = bytes(segment as usize, SEVERAL_BLOCKS);
        [&first, &second].into_iter().for_each(|worker| assert_holds(worker, segment, &data));
    }
}

#[test]
fn one_that_stops_reading_is_given_up_and_left_alone_for_a_moment() {
    let first = worker("w1", 2 * TOO_LONG_TO_BUFFER);
    let data = bytes(1, TOO_LONG_TO_BUFFER);
    reserve(&first, "t", 2, data.len());
    let (go_on, is_answered) = crossbeam_channel::bounded::<()>(1);
    let (has_ended, end) = crossbeam_channel::bounded(1);
    let stopped = stranger(move |mut stream| {
        stream.read_exact(&mut [0; 100_000]).unwrap();
        is_answered.recv().unwrap(); // it neither reads nor closes
        let _ = std::io::copy(&mut stream, &mut std::io::sink()); // that it was reset is an end too
        has_ended.send(()).unwrap();
    });
    let forward = [endpoint("w2", stopped)];
    let (mut receiver, mut sender) = first.client();
    for segment in [0, 1] {
        sender.write_with(&request(segment, &data, &forward), &data).unwrap();
    }
    for (segment, reason) in [(0, "does not take"), (1, "a moment ago")] {
        let answer = stored(read(&mut receiver));
        assert_eq!(answer.workers, ["w1".into()]);
        assert_eq!(failed(&answer), [("w2", ErrorCode::Internal)]);
        assert!(answer.failed[0].error.message.contains(reason), "{}", answer.failed[0].error);
        assert_holds(&first, segment, &data);
    }
    go_on.send(()).unwrap();
    end.recv_timeout(PATIENCE).expect("the connection to it has ended");
}

#[test]
fn one_that_takes_everything_and_never_answers_is_given_up() {
    let [first, _, third] = workers(SEVERAL_BLOCKS);
    let data = bytes(1, SEVERAL_BLOCKS);
    [&first, &third].into_iter().for_each(|worker| reserve(worker, "t", 1, data.len()));
    let mute = stranger(|mut stream| drop(std::io::copy(&mut stream, &mut std::io::sink())));
    let answer = write(&first, 0, &data, &[endpoint("w2", mute), endpoint("w3", third.address)]);
    assert_eq!((failed(&answer), answer.workers.len()), (vec![("w2", ErrorCode::Internal)], 2));
    assert_holds(&third, 0, &data);
}

#[test]
fn when_one_breaks_off_in_the_middle_the_next_gets_all_of_it() {
    let [first, _, third] = workers(TOO_LONG_TO_BUFFER);
    let data = bytes(1, TOO_LONG_TO_BUFFER);
    [&first, &third].into_iter().for_each(|worker| reserve(worker, "t", 1, data.len()));
    let broken = stranger(|mut stream| stream.read_exact(&mut [0; 100_000]).unwrap());
    let answer = write(&first, 0, &data, &[endpoint("w2", broken), endpoint("w3", third.address)]);
    assert_eq!(answer.workers, ["w1".into(), "w3".into()]);
    assert_eq!(failed(&answer), [("w2", ErrorCode::Internal)]);
    [&first, &third].into_iter().for_each(|worker| assert_holds(worker, 0, &data));
}

#[test]
fn one_that_refuses_is_skipped_and_its_connection_lives() {
    let [first, second, third] = workers(2 * SEVERAL_BLOCKS);
    let data = bytes(1, SEVERAL_BLOCKS);
    [&first, &third].into_iter().for_each(|worker| reserve(worker, "t", 2, data.len()));
    reserve(&second, "another ticket", 1, data.len());
    let forward = [endpoint("w2", second.address), endpoint("w3", third.address)];
    let (mut receiver, mut sender) = first.client();
    sender.write_with(&request(0, &data, &forward), &data).unwrap();
    let answer = stored(read(&mut receiver));
    assert_eq!(answer.workers, ["w1".into(), "w3".into()]);
    assert_eq!(failed(&answer), [("w2", ErrorCode::UnknownTicket)]);
    assert_holds(&third, 0, &data);

    reserve(&second, "t", 2, data.len());
    sender.write_with(&request(1, &data, &forward), &data).unwrap();
    assert_eq!(stored(read(&mut receiver)).workers.len(), 3);
    assert_holds(&second, 1, &data);
}

#[test]
fn one_that_has_it_already_says_so() {
    let [first, second] = workers::<2>(SEVERAL_BLOCKS);
    let data = bytes(1, SEVERAL_BLOCKS);
    [&first, &second].into_iter().for_each(|worker| reserve(worker, "t", 1, data.len()));
    assert_eq!(write(&second, 0, &data, &[]).workers, ["w2".into()]);
    let forward = [endpoint("w2", second.address)];
    assert_eq!(write(&first, 0, &data, &forward).workers.len(), 2);
    assert_eq!(write(&first, 0, &data, &forward).workers.len(), 2, "and both again, when it is repeated");
    [&first, &second].into_iter().for_each(|worker| assert_holds(worker, 0, &data));
}

#[test]
fn when_the_writer_vanishes_nobody_has_anything_and_all_the_room_is_back() {
    let [first, second, third] = workers(SEVERAL_BLOCKS);
    let data = bytes(1, SEVERAL_BLOCKS);
    let all = [&first, &second, &third];
    all.into_iter().for_each(|worker| reserve(worker, "t", 1, data.len()));
    let forward = [endpoint("w2", second.address), endpoint("w3", third.address)];
    let message = request(0, &data, &forward);
    let crc32c = message.head.payload.unwrap().crc32c;
    let mut frame = Vec::new();
    protocol::FrameWriter::new(&mut frame, "c", "w").write_with(&message, &data).unwrap();
    let client = first.client();
    client.1.get_ref().write_all(&frame[..frame.len() / 2]).unwrap();
    let is_free = |worker: &Bench| is_expected(&worker.store, data.len() as u64, crc32c);
    eventually("half of it is on its way to everybody", || !all.into_iter().any(is_free));
    drop(client);
    eventually("everybody expects it again", || all.into_iter().all(is_free));

    assert_eq!(write(&first, 0, &data, &forward).workers.len(), 3, "from its next writer");
}

#[test]
fn what_has_a_wrong_checksum_is_stored_nowhere() {
    let [first, second, third] = workers(SEVERAL_BLOCKS);
    let data = bytes(1, SEVERAL_BLOCKS);
    let all = [&first, &second, &third];
    all.into_iter().for_each(|worker| reserve(worker, "t", 1, data.len()));
    let forward = [endpoint("w2", second.address), endpoint("w3", third.address)];
    let message = request(0, &data, &forward);
    let mut damaged = data.clone();
    damaged[SEVERAL_BLOCKS - 1] ^= 1;
    let (mut receiver, mut sender) = first.client();
    sender.write_with(&message, &damaged).unwrap();
    assert_eq!(code(&read(&mut receiver)), ErrorCode::ChecksumMismatch);
    assert!(matches!(receiver.read(Some(Instant::now() + PATIENCE)), Ok(None)), "and the connection is closed");
    let crc32c = message.head.payload.unwrap().crc32c;
    let is_free = |worker: &Bench| is_expected(&worker.store, data.len() as u64, crc32c);
    eventually("everybody expects it again", || all.into_iter().all(is_free));
    assert_eq!(write(&first, 0, &data, &forward).workers.len(), 3, "the right bytes");
}
