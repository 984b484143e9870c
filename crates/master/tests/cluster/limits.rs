//! What is refused, what waits, and who goes first, when there is more to do than there is memory or a queue may hold.

use super::*;
use array::{Grid, Operation, Program};
use master::cluster::Quotas;
use master::cluster::quotas::*;
use protocol::limits::IN_FLIGHT_MAX;
use std::net::{IpAddr, Ipv4Addr};

/// One segment of float64.
const KIB_32: u64 = 4096;

/// A cluster with one worker, w1 on connection 10, of so many bytes, and clients on connections 1 and 2.
fn one_worker(memory_bytes: u64) -> Desk {
    let mut desk = Desk::new();
    let mut message = registration("w1", 1, None, vec![]);
    let Body::RegisterWorker(register) = &mut message.body else { unreachable!() };
    register.hello.as_mut().expect("it says hello").memory_bytes = memory_bytes;
    desk.register_with(10, "w1", 1, message);
    desk.client(1);
    desk.client(2);
    desk.sent.clear();
    desk
}

/// What the worker was asked to compute since it was looked at last: of which operation, how many segments.
fn asked(desk: &mut Desk) -> Vec<(Message, VersionId, usize)> {
    let instructions = desk.heard(10).into_iter();
    let asked = instructions.filter_map(|message| match &message.body {
        Body::ProcessSegment(process) => Some((message.clone(), process.result, process.segments.len())),
        _ => None,
    });
    asked.collect()
}

/// The worker has done what an instruction asks for.
fn done(desk: &mut Desk, instruction: &Message) {
    let Body::ProcessSegment(process) = &instruction.body else { panic!("{instruction:?}") };
    let program = process.operation.parse::<Operation>().map(|operation| operation.program());
    let program = program.unwrap_or_else(|_| process.operation.parse::<Program>().expect("a program").into());
    let copy = |segment: &u32| {
        let range = Grid::new(process.elements).range(*segment);
        CopyRecord(process.result, *segment, *segment + 1000, (range.end - range.start) * program.bytes_written())
    };
    let copies = process.segments.iter().map(copy).collect();
    desk.say(10, Message::reply(&instruction.head, SegmentResult { copies, ..SegmentResult::of(process.result) }));
}

/// w1 has room for what two operations make from nothing; w2 of level 1 has some and cannot make it, and w3 (connection 30) has not
/// enough of it.
fn too_little_beside_one_worker() -> Desk {
    let mut desk = one_worker(1 << 20);
    desk.register_with(20, "w2", 1, registration_at_level_1("w2", 2));
    let mut small = registration("w3", 1, None, vec![]);
    let Body::RegisterWorker(register) = &mut small.body else { unreachable!() };
    register.hello.as_mut().expect("it says hello").memory_bytes = 31 << 10;
    desk.register_with(30, "w3", 1, small);
    desk.wait(5000, &[11, 21, 31]);
    desk
}

fn two_make_zeros(desk: &mut Desk) {
    for (client, array) in [(1, "a"), (2, "b")] {
        let (array_id, generator, dtype) = (array.into(), "zeros(16384)".into(), Some(DType::Float64));
        let generate = GenerateArray { array_id, generator, dtype, seed: 0, replace: false };
        desk.say(client, Message::request(1, generate));
    }
}

/// All together have room, but those of level 1 cannot make it.
#[test]
fn what_workers_that_can_make_it_have_no_room_for_is_told() {
    let mut desk = too_little_beside_one_worker();
    two_make_zeros(&mut desk);
    desk.step(Event::Disconnected { conn: 10, why: "killed".into() });
    desk.wait(450, &[21, 31]);
    assert_eq!([desk.heard(1), desk.heard(2)], [[], []], "w1 may come back");
    desk.wait(50, &[21, 31]);
    for client in [1, 2] {
        let error = error(&mut desk, client);
        assert_eq!(error.code, ErrorCode::InsufficientMemory, "{error}");
        assert!(error.message.contains("w3 31 KiB"), "{error}");
    }
}

#[test]
fn operations_wait_for_the_room_that_an_upload_may_give_back() {
    let mut desk = too_little_beside_one_worker();
    desk.client(3);
    desk.say(3, create(1, "c", 1));
    desk.reserved(&[10, 20, 30]);
    let version = planned(&mut desk, 3).version;
    two_make_zeros(&mut desk);
    desk.step(Event::Disconnected { conn: 10, why: "killed".into() });
    desk.wait(5_000, &[21, 31]);
    assert_eq!([desk.heard(1), desk.heard(2)], [[], []], "its room may be enough for one of them");
    desk.say(3, Message::request(2, AbandonArray { version }));
    desk.wait(50, &[21, 31]);
    assert_eq!([error(&mut desk, 1).code, error(&mut desk, 2).code], [ErrorCode::InsufficientMemory; 2]);
}

/// The worker does all it is asked to, until there is nothing more.
fn compute(desk: &mut Desk) {
    loop {
        let asked = asked(desk);
        if asked.is_empty() {
            return;
        }
        asked.iter().for_each(|(instruction, ..)| done(desk, instruction));
    }
}

fn generate(desk: &mut Desk, id: u64, name: &str, len: u64) {
    let generator = format!("zeros({len})");
    let (array_id, dtype, seed, replace) = (name.into(), Some(DType::Float64), 0, false);
    desk.say(1, Message::request(id, GenerateArray { array_id, generator, dtype, seed, replace }));
    compute(desk);
    assert_eq!(completed(desk).handle.split('@').next(), Some(name));
}

fn apply(id: u64, array: &str, into: Option<&str>) -> Message {
    let (array_id, operation, into) = (array.into(), "x + 1".into(), into.map(str::to_string));
    let apply = ApplyOperation { array_id, operation, into, replace: false, no_wait: false, inline: false };
    Message::request(id, apply)
}

fn error(desk: &mut Desk, conn: ConnId) -> WireError {
    match desk.heard(conn).pop().map(|message| message.body) {
        Some(Body::Error(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn is_busy(error: &WireError) -> bool {
    error.code == ErrorCode::Busy && error.retryable && error.retry_after_ms.is_some_and(|ms| ms > 0)
}

fn two_workers_with(quotas: Quotas) -> Desk {
    let desk = two_workers();
    Desk { cluster: desk.cluster.with_quotas(quotas), ..desk }
}

// ---- quotas ----

#[test]
fn one_address_cannot_have_all_requests() {
    let mut desk = two_workers_with(Quotas { requests_per_address: 100, ..Quotas::default() });
    let [here, there] = [1, 2].map(|n| IpAddr::V4(Ipv4Addr::new(10, 0, 0, n)));
    for (conn, address) in [(31, here), (32, here), (33, there)] {
        desk.step(Event::Opened { conn, address });
        desk.client(conn);
    }
    let mut wait = |conn, id: usize| {
        let mut request = Message::request(id as u64, WaitWorkers { count: 9 });
        request.head.timeout_ms = Some(1000);
        desk.say(conn, request);
        desk.heard(conn).pop().map(|message| message.body)
    };
    assert!((1..=IN_FLIGHT_MAX).all(|id| wait(31, id).is_none()));
    assert!((1..=36).all(|id| wait(32, id).is_none()));
    match wait(32, 37) {
        Some(Body::Error(error)) => {
            assert!(is_busy(&error), "{error:?}");
            assert!(error.message.contains("10.0.0.1") && error.message.contains("--requests-per-address"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert!(wait(33, 1).is_none(), "other addresses have their own");
    desk.wait(1000, &[11, 21]); // all of them are answered
    desk.sent.clear();
    desk.say(32, Message::request(37, Status {}));
    assert!(matches!(desk.heard(32)[0].body, Body::ClusterStatus(_)), "the refused number was not used up");
}

#[test]
fn the_requests_of_an_address_count_whatever_others_end() {
    let mut desk = two_workers_with(Quotas { requests_per_address: 2, ..Quotas::default() });
    for n in [1, 2] {
        let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, n));
        desk.step(Event::Opened { conn: 30 + ConnId::from(n), address });
        desk.client(30 + ConnId::from(n));
    }
    (1..=2).for_each(|id| desk.say(31, Message::request(id, WaitWorkers { count: 9 })));
    desk.say(32, Message::request(1, Status {}));
    assert!(matches!(desk.heard(32)[0].body, Body::ClusterStatus(_)));
    desk.say(31, Message::request(3, WaitWorkers { count: 9 }));
    assert!(is_busy(&error(&mut desk, 31)));
}

#[test]
fn long_requests_are_bounded_by_their_bytes_together() {
    let wait = |id| Message::request(id, WaitWorkers { count: 9 }); // of eleven bytes
    for bytes_pending in [99, 109] {
        let mut desk = two_workers_with(Quotas { bytes_pending, ..Quotas::default() });
        (1..=9).for_each(|id| desk.say(1, wait(id)));
        assert_eq!(desk.heard(1), []);
        desk.say(1, wait(10));
        let error = error(&mut desk, 1);
        assert!(is_busy(&error) && error.message.contains("99 bytes"), "{error:?}");
    }
    let mut alone = two_workers_with(Quotas { bytes_pending: 1, ..Quotas::default() });
    alone.say(1, wait(1));
    assert_eq!(alone.heard(1), [], "one is always taken, however long");
}

#[test]
fn operations_that_nobody_waits_for_are_bounded_too() {
    let mut desk = one_worker(1 << 30);
    generate(&mut desk, 1, "a", 4);
    let unattended = |id| {
        let (array_id, operation) = ("a".into(), "x + 1".into());
        let apply = ApplyOperation { array_id, operation, into: None, replace: false, no_wait: true, inline: false };
        Message::request(id, apply)
    };
    for id in 2..2 + OPERATIONS_PER_SESSION_MAX as u64 {
        desk.say(1, unattended(id));
        assert_eq!(completed(&mut desk).status, OperationState::Processing);
    }
    desk.say(1, unattended(1000));
    assert!(is_busy(&error(&mut desk, 1)));
    desk.say(2, unattended(1));
    assert!(matches!(desk.heard(2)[0].body, Body::OperationComplete(_)), "others have their own");
    compute(&mut desk);
    desk.say(1, unattended(1000));
    assert_eq!(completed(&mut desk).status, OperationState::Processing, "the same request, once there is room");
}

#[test]
fn a_full_cluster_takes_no_new_array_and_what_replaces_one() {
    let create_empty = |number: u64| Command::CreateArray {
        request: None,
        array: protocol::ArrayId(number),
        version: VersionId(number),
        name: format!("a{number}"),
        dtype: DType::Int32,
        shape: vec![0],
        replication: 2,
        replace: false,
        segments: vec![],
    };
    let arrays = (2..=ARRAYS_MAX as u64).map(create_empty);
    let log: Vec<Command> =
        std::iter::once(Command::Founded { cluster: uuid::Uuid::from_u128(1) }).chain(arrays).collect();
    let mut catalog = Catalog::default();
    (1..).zip(&log).for_each(|(index, command)| drop(catalog.apply(index, command)));
    let mut desk = Desk::with_log(catalog, log);
    desk.client(1);
    let make = |id, name: &str, replace| {
        let (array_id, generator, dtype) = (name.into(), "zeros(0)".into(), Some(DType::Int32));
        Message::request(id, GenerateArray { array_id, generator, dtype, seed: 0, replace })
    };
    let upload = |id, name: &str, replace| {
        Message::request(id, CreateArray { array_id: name.into(), dtype: DType::Int32, shape: vec![0], replace })
    };
    desk.say(1, make(1, "last", false));
    assert_eq!(completed(&mut desk).handle.split('@').next(), Some("last"));
    for (id, one_more) in [make(2, "b", false), upload(3, "b", false)].into_iter().enumerate() {
        desk.say(1, one_more);
        let error = error(&mut desk, 1);
        assert_eq!(error.code, ErrorCode::TooLarge, "{id}: {error}");
        assert!(error.message.contains("100000 arrays"), "{error}");
    }
    desk.say(1, make(4, "a2", true));
    assert_eq!(completed(&mut desk).handle.split('@').next(), Some("a2"));
    desk.say(1, upload(5, "a3", true));
    planned(&mut desk, 1);
}

#[test]
fn uploads_are_bounded() {
    let mut desk = one_worker(1 << 30);
    let create = |id: u64| {
        let create = CreateArray { array_id: format!("a{id}"), dtype: DType::Int32, shape: vec![4], replace: false };
        Message::request(id, create)
    };
    for id in 1..=UPLOADS_PER_SESSION_MAX as u64 {
        desk.say(1, create(id));
        let reserve = desk.heard(10).pop().expect("a reserve");
        desk.say(10, Message::reply(&reserve.head, Reserved {}));
        assert!(matches!(desk.heard(1)[0].body, Body::WritePlan(_)));
    }
    desk.say(1, create(1000));
    assert!(is_busy(&error(&mut desk, 1)));
    assert_eq!(desk.heard(10), [], "no room is kept for it");
    desk.say(2, create(1000));
    assert_eq!(desk.heard(2), [], "others have their own");
    desk.wait(60_100, &[11]); // a minute later those that nobody touches are forgotten
    desk.sent.clear();
    desk.say(1, create(1000));
    assert_eq!(desk.heard(1), [], "it is planned");
}

#[test]
fn reads_are_bounded() {
    let mut desk = one_worker(1 << 30);
    generate(&mut desk, 1, "a", 4);
    let get = |id| Message::request(id, GetResult { array_id: "a".into(), array: true, range: None });
    let mut pins = Vec::new();
    for id in 2..2 + PINS_PER_SESSION_MAX as u64 {
        desk.say(1, get(id));
        match desk.heard(1).pop().map(|message| message.body) {
            Some(Body::ReadPlan(plan)) => pins.push(plan.pin),
            other => panic!("{other:?}"),
        }
    }
    desk.say(1, get(1000));
    assert!(is_busy(&error(&mut desk, 1)));
    desk.say(2, get(1));
    assert!(matches!(desk.heard(2)[0].body, Body::ReadPlan(_)), "others have their own");
    desk.say(1, Message::request(1001, Unpin { pin: pins[0] }));
    desk.heard(1);
    desk.say(1, get(1000));
    assert!(matches!(desk.heard(1)[0].body, Body::ReadPlan(_)));
}

// ---- memory ----

#[test]
fn operations_that_do_not_fit_together_run_one_after_the_other() {
    let mut desk = one_worker(127 << 10);
    generate(&mut desk, 1, "a", KIB_32);
    desk.say(1, apply(2, "a", None));
    compute(&mut desk);
    completed(&mut desk);
    // The array and a result take 64 KiB; one more result fits beside them, and two don't.
    desk.say(1, apply(3, "a", None));
    let first = asked(&mut desk);
    assert_eq!(first.len(), 1);
    desk.say(2, apply(1, "a", None));
    assert_eq!((asked(&mut desk), desk.heard(2)), (vec![], vec![]), "it waits");
    let waits = desk.cluster.pending_requests().join("; ");
    assert!(waits.contains("room for x + 1 of 'a', 32 KiB in each copy, beside 1 operations"), "{waits}");
    done(&mut desk, &first[0].0);
    completed(&mut desk);
    let told: Vec<String> = desk.heard(10).iter().map(|message| message.body.kind().to_string()).collect();
    assert_eq!(told, ["DROP_COPIES", "PROCESS_SEGMENT"], "the result of before makes room for the next one");
}

#[test]
fn what_does_not_fit_alone_is_refused_at_once_with_the_sizes() {
    let mut desk = one_worker(60 << 10);
    generate(&mut desk, 1, "a", KIB_32);
    desk.say(1, apply(2, "a", None));
    let error = error(&mut desk, 1);
    assert_eq!(error.code, ErrorCode::InsufficientMemory);
    assert!(error.message.contains("w1 28 KiB of 32 KiB needed"), "{error}");
}

#[test]
fn what_waited_is_refused_when_the_room_is_gone_for_good() {
    let mut desk = one_worker(70 << 10);
    generate(&mut desk, 1, "a", KIB_32);
    desk.say(1, apply(2, "a", Some("b")));
    desk.say(2, apply(1, "a", Some("c")));
    assert_eq!(desk.heard(2), [], "it would fit without the other");
    compute(&mut desk);
    assert_eq!(error(&mut desk, 2).code, ErrorCode::InsufficientMemory);
}

#[test]
fn those_who_wait_for_room_take_turns_and_small_ones_pass() {
    let mut desk = one_worker(650 << 10);
    generate(&mut desk, 1, "large", 8 * KIB_32);
    generate(&mut desk, 2, "middle", 2 * KIB_32);
    generate(&mut desk, 3, "small", 600); // 9,600 bytes read and written, less than a 64th of all
    desk.say(1, apply(4, "large", Some("b"))); // 581 of 650 KiB are taken then
    let running = asked(&mut desk);
    desk.say(2, apply(1, "large", Some("c")));
    desk.say(2, apply(2, "middle", Some("d"))); // there is room for this one, but the other came first
    assert_eq!(asked(&mut desk).len(), 0);
    desk.say(2, apply(3, "small", Some("e")));
    let small = asked(&mut desk);
    assert_eq!(small.len(), 1, "a small one does not wait");
    small.iter().chain(&running).for_each(|(instruction, ..)| done(&mut desk, instruction));
    compute(&mut desk);
    let answers: Vec<(Option<u64>, String)> =
        desk.heard(2).into_iter().map(|message| (message.head.id, message.body.kind().to_string())).collect();
    let answer = |id, kind: &str| (Some(id), kind.to_string());
    assert_eq!(
        answers,
        [answer(3, "OPERATION_COMPLETE"), answer(1, "ERROR"), answer(2, "OPERATION_COMPLETE")],
        "for the first there is no room any more, and the second went on"
    );
}

#[test]
fn an_upload_does_not_take_the_room_of_operations_and_is_asked_for_again() {
    let mut desk = one_worker(90 << 10);
    generate(&mut desk, 1, "a", KIB_32);
    desk.say(1, apply(2, "a", None));
    let running = asked(&mut desk);
    let beat = |desk: &mut Desk, kib: u64| {
        let (digest, memory_used_bytes) = (Digest::default(), kib << 10);
        desk.say(11, Message::new(Heartbeat { digest, copies: 1, memory_used_bytes, memory_idle_bytes: 0, tasks: 0 }));
    };
    beat(&mut desk, 32);
    let create = |id| {
        let shape = vec![KIB_32]; // it fits beside the array, not beside its result too
        Message::request(id, CreateArray { array_id: "b".into(), dtype: DType::Float64, shape, replace: false })
    };
    desk.say(2, create(1));
    let refusal = error(&mut desk, 2);
    assert_eq!((refusal.code, refusal.retry_after_ms.is_some()), (ErrorCode::InsufficientMemory, true), "{refusal:?}");
    done(&mut desk, &running[0].0);
    desk.heard(10);
    beat(&mut desk, 64);
    desk.say(2, create(1));
    let refusal = error(&mut desk, 2);
    assert_eq!(
        (refusal.code, refusal.retry_after_ms),
        (ErrorCode::InsufficientMemory, None),
        "now it is gone for good"
    );
}

#[test]
fn an_operation_waits_for_the_room_of_all_that_have_begun() {
    let mut desk = one_worker(96 << 10);
    generate(&mut desk, 1, "a", KIB_32);
    desk.say(1, apply(2, "a", None));
    desk.say(1, apply(3, "a", None));
    assert_eq!(asked(&mut desk).len(), 2, "they fit beside the array and each other, to the byte");
    desk.say(1, apply(4, "a", None));
    assert_eq!((asked(&mut desk), desk.heard(1)), (vec![], vec![]));
}

#[test]
fn an_operation_waits_for_the_room_of_an_upload() {
    let mut desk = one_worker(127 << 10);
    generate(&mut desk, 1, "a", KIB_32);
    let shape = vec![2 * KIB_32];
    let create = CreateArray { array_id: "b".into(), dtype: DType::Float64, shape, replace: false };
    desk.say(2, Message::request(1, create));
    let reserve = desk.heard(10).pop().expect("it is asked for room");
    let Body::Reserve(Reserve { version, .. }) = reserve.body else { panic!("{reserve:?}") };
    desk.say(10, Message::reply(&reserve.head, Reserved {}));
    desk.heard(2);
    desk.say(1, apply(2, "a", None));
    assert_eq!((asked(&mut desk), desk.heard(1)), (vec![], vec![]), "32 KiB beside 32 and 64 of 127");
    desk.say(2, Message::request(2, AbandonArray { version }));
    desk.wait(50, &[11]);
    assert_eq!(asked(&mut desk).len(), 1);
}

/// w2 is fetching a copy of `b` when there is hardly room for it and for the result.
#[test]
fn an_operation_waits_for_the_room_of_copies_that_are_being_fetched() {
    let mut desk = one_worker(1 << 30);
    generate(&mut desk, 1, "b", KIB_32);
    let mut message = registration("w2", 1, None, vec![]);
    let Body::RegisterWorker(register) = &mut message.body else { unreachable!() };
    register.hello.as_mut().expect("it says hello").memory_bytes = 127 << 10;
    desk.register_with(20, "w2", 1, message);
    let copy = told_to_fetch(&mut desk, 20).pop().expect("the second copy");
    let generate = |id, len: u64| {
        let (array_id, generator, dtype) = (format!("c{id}"), format!("zeros({len})"), Some(DType::Float64));
        Message::request(id, GenerateArray { array_id, generator, dtype, seed: 0, replace: true })
    };
    desk.step(Event::Disconnected { conn: 10, why: "killed".into() });
    desk.sent.clear();
    desk.say(1, generate(2, 3 * KIB_32));
    assert_eq!((desk.heard_kinds(20), desk.heard(1)), (vec![], vec![]), "96 KiB beside 32 of 127");
    fetched(&mut desk, 20, copy, Some(ErrorCode::NotHeld));
    desk.wait(250, &[21]);
    assert_eq!(desk.heard_kinds(20), ["PROCESS_SEGMENT"]);
}

/// Of two segments that the first operation makes, one is there already.
fn half_done(memory_bytes: u64) -> Desk {
    let mut desk = one_worker(memory_bytes);
    generate(&mut desk, 1, "a", 2 * KIB_32);
    desk.say(1, apply(2, "a", None));
    let (mut instruction, ..) = asked(&mut desk).remove(0);
    let Body::ProcessSegment(process) = &mut instruction.body else { unreachable!() };
    process.segments.truncate(1);
    done(&mut desk, &instruction);
    assert_eq!(desk.cluster.list_operations().operations[0].done, 1);
    desk
}

#[test]
fn what_an_operation_has_made_already_it_does_not_need_once_more() {
    let mut desk = half_done(192 << 10);
    desk.say(1, apply(3, "a", None));
    assert_eq!(asked(&mut desk).len(), 1, "64 KiB beside 64 of the array, 32 that are made and 32 that are to come");
}

#[test]
fn what_an_operation_has_made_is_room_for_who_waits_for_its_end() {
    let mut desk = half_done(150 << 10);
    desk.say(1, apply(3, "a", None));
    assert_eq!((asked(&mut desk), desk.heard(1)), (vec![], vec![]), "64 KiB beside 64 fit when the 32 are gone");
}

#[test]
fn what_does_not_fit_even_alone_is_refused_at_once_though_others_run() {
    let mut desk = one_worker(150 << 10);
    generate(&mut desk, 1, "a", KIB_32);
    generate(&mut desk, 2, "b", 2 * KIB_32);
    desk.say(1, apply(3, "a", None));
    assert_eq!(asked(&mut desk).len(), 1);
    desk.say(1, apply(4, "b", None));
    assert_eq!(error(&mut desk, 1).code, ErrorCode::InsufficientMemory);
}

#[test]
fn whoever_is_refused_for_want_of_room_is_told_what_takes_most() {
    let mut desk = one_worker(120 << 10);
    generate(&mut desk, 1, "b", 100);
    generate(&mut desk, 2, "a", KIB_32);
    desk.say(1, apply(3, "a", None));
    compute(&mut desk);
    completed(&mut desk);
    desk.say(1, apply(4, "a", Some("c")));
    compute(&mut desk);
    completed(&mut desk);
    desk.say(1, apply(5, "a", Some("d")));
    let error = error(&mut desk, 1);
    assert!(error.message.contains("largest, in each copy: 'a' 64 KiB, 'c' 32 KiB, 'b' 800 B;"), "{error}");
}

/// Asks for the elements with the answer.
fn with_elements(id: u64, array: &str, no_wait: bool) -> Message {
    let (array_id, operation) = (array.into(), "x + 1".into());
    Message::request(id, ApplyOperation { array_id, operation, into: None, replace: false, no_wait, inline: true })
}

#[test]
fn elements_come_with_the_answer_up_to_a_size_and_for_whoever_waits() {
    use protocol::limits::INLINE_BYTES_MAX;
    let mut desk = one_worker(1 << 30);
    generate(&mut desk, 1, "a", INLINE_BYTES_MAX / 8);
    generate(&mut desk, 2, "b", INLINE_BYTES_MAX / 8 + 1);
    let mut is_wanted = |id, array: &str, no_wait| {
        desk.say(1, with_elements(id, array, no_wait));
        let (instruction, ..) = asked(&mut desk).remove(0);
        done(&mut desk, &instruction);
        desk.heard(1);
        matches!(instruction.body, Body::ProcessSegment(process) if !process.inline.is_empty())
    };
    assert_eq!([is_wanted(3, "a", false), is_wanted(4, "b", false), is_wanted(5, "a", true)], [true, false, false]);
}

#[test]
fn elements_are_kept_for_512_operations_at_a_time() {
    let mut desk = one_worker(1 << 30);
    generate(&mut desk, 1, "a", 4);
    let mut ask = |session: u64, id| {
        let conn = 100 + session;
        if id == 1 {
            desk.client(conn);
        }
        desk.say(conn, with_elements(id, "a", false));
    };
    (0..8).for_each(|session| (1..=64).for_each(|id| ask(session, id)));
    ask(8, 1);
    let mut wanted = Vec::new();
    loop {
        let asked = asked(&mut desk);
        if asked.is_empty() {
            break;
        }
        for (message, ..) in &asked {
            let Body::ProcessSegment(process) = &message.body else { unreachable!() };
            wanted.push(!process.inline.is_empty());
            done(&mut desk, message);
        }
    }
    assert_eq!((wanted.len(), wanted.iter().filter(|wanted| **wanted).count()), (513, 512));
}

#[test]
fn a_reduction_needs_no_room() {
    let mut desk = one_worker(33 << 10);
    generate(&mut desk, 1, "a", KIB_32);
    desk.say(1, Message::request(2, ReduceArray { array_id: "a".into(), reductions: "sum(x)".into() }));
    assert_eq!(asked(&mut desk).len(), 1);
}

// ---- fairness ----

#[test]
fn a_client_with_many_operations_takes_little_of_one_with_a_single_one() {
    let mut desk = one_worker(8 << 30);
    generate(&mut desk, 1, "huge", 50_000_000);
    (2..10).for_each(|id| desk.say(1, apply(id, "huge", None)));
    desk.say(2, apply(1, "huge", None));
    let single = desk.cluster.list_operations().operations.last().expect("it runs").operation;
    let (mut of_single, mut of_many) = (0, 0);
    while of_single < 10 {
        for (instruction, of, segments) in asked(&mut desk) {
            *if of == single { &mut of_single } else { &mut of_many } += segments;
            done(&mut desk, &instruction);
        }
    }
    assert!((10..60).contains(&of_many), "{of_many} segments of the eight others before ten of this one");
}

#[test]
fn operations_with_small_segments_do_not_wait_for_those_with_large_ones() {
    let mut desk = one_worker(8 << 30);
    generate(&mut desk, 1, "huge", 50_000_000);
    generate(&mut desk, 2, "middle", 1_000_000);
    generate(&mut desk, 3, "small", 100);
    desk.say(1, apply(4, "huge", None));
    let sent = |asked: Vec<(Message, VersionId, usize)>| asked.iter().map(|(_, _, segments)| segments).sum::<usize>();
    assert_eq!(sent(asked(&mut desk)), 4, "few of the 48 large segments at a time");
    desk.say(2, apply(1, "small", None));
    let small = asked(&mut desk);
    done(&mut desk, &small[0].0);
    desk.say(2, apply(2, "middle", None));
    assert!(sent(asked(&mut desk)) >= 60, "what a worker may have of such short ones");
}

#[test]
fn small_operations_in_any_number_do_not_stop_a_huge_one() {
    let mut desk = one_worker(8 << 30);
    generate(&mut desk, 1, "huge", 50_000_000);
    generate(&mut desk, 2, "small", 100);
    for id in 1..=60 {
        desk.say(2, apply(id, "small", None));
    }
    asked(&mut desk);
    desk.say(1, apply(3, "huge", None));
    assert_eq!(asked(&mut desk).len(), 1, "the first large segments go out while 60 small ones are under way");
}
