//! What EXPLAIN foretells: to the byte, as long as nobody fails.

use super::*;

/// Of each worker: segments, bytes read, bytes written, memory.
fn shares(receipt: &Receipt) -> Vec<(&str, u32, u64, u64, u64)> {
    let share =
        |worker: &WorkerReceipt| (worker.segments, worker.bytes_read, worker.bytes_written, worker.memory_bytes);
    let of = receipt.workers.iter().map(|worker| (worker.worker.as_str(), share(worker)));
    of.map(|(worker, (segments, read, written, memory))| (worker, segments, read, written, memory)).collect()
}

/// Bytes of a segment of [`LONG`] int32.
const SEGMENT: u64 = LONG * 4;

#[test]
fn every_holder_computes_its_own_copy() {
    let mut desk = two_workers();
    let version = store_two_segments(&mut desk, 1, "a");
    let explanation = explain(&mut desk, "x + 1.5");
    assert_eq!(explanation.reads, [format!("a@v{}", version.0)]);
    assert_eq!((explanation.elements, explanation.segments, explanation.copies), (2 * LONG, 2, 2));
    assert_eq!((explanation.dtype, explanation.replicas.as_str()), (Some(DType::Float64), "recomputed"));
    assert_eq!(explanation.refusal, None);
    let estimate = explanation.estimate;
    let (read, written) = (2 * SEGMENT, 4 * SEGMENT); // float64 is twice as long
    assert_eq!(shares(&estimate), [("w1", 2, read, written, written), ("w2", 2, read, written, written)]);
    assert_eq!((estimate.bytes_read, estimate.bytes_written, estimate.network_bytes), (2 * read, 2 * written, 0));
    assert_eq!((estimate.retries, estimate.promoted), (0, 0));
}

#[test]
fn a_reduction_reads_one_copy_and_writes_nothing() {
    let mut desk = two_workers();
    store_two_segments(&mut desk, 1, "a");
    let explanation = explain(&mut desk, " sum (x), max(x * 2)");
    assert_eq!((explanation.dtype, explanation.copies, explanation.segments), (None, 0, 2));
    let estimate = explanation.estimate;
    assert_eq!((estimate.bytes_read, estimate.bytes_written, estimate.network_bytes), (2 * SEGMENT, 0, 0));
    assert_eq!(estimate.workers.iter().map(|worker| worker.segments).sum::<u32>(), 2);
    assert!(estimate.workers.iter().all(|worker| worker.memory_bytes == 0));
}

/// The array `a` of two segments on these workers with so many threads each, after an operation `example2` on it that has taken 100 ns
/// a byte.
fn after_a_costly_operation(conns: &[ConnId], cores: u32) -> Desk {
    let mut desk = Desk::new();
    for conn in conns {
        let id = format!("w{}", conn / 10);
        let mut message = registration(&id, 1, None, vec![]);
        let Body::RegisterWorker(register) = &mut message.body else { unreachable!() };
        register.cores = cores;
        desk.register_with(*conn, &id, 1, message);
    }
    desk.client(1);
    store_on(&mut desk, conns, 1, "a", &[LONG, LONG]);
    desk.sent.clear();
    desk.say(1, apply_to_a(3));
    for conn in conns {
        let asked = asked_to_compute(&mut desk, *conn).expect("it is asked");
        let copies: Vec<CopyRecord> = (0..2).map(|segment| CopyRecord(asked.1, segment, 9, SEGMENT)).collect();
        let result = SegmentResult { copies, busy_us: 2 * SEGMENT / 10, ..SegmentResult::of(asked.1) };
        desk.say(*conn, Message::reply(&asked.0.head, result));
    }
    assert_eq!(completed(&mut desk).replicas, "recomputed");
    desk
}

#[test]
fn what_is_costly_is_moved_to_replicas() {
    let mut desk = after_a_costly_operation(&[10, 20], 2);
    let explanation = explain(&mut desk, "example2");
    assert_eq!((explanation.replicas.as_str(), explanation.copies), ("received", 2));
    let estimate = explanation.estimate;
    assert_eq!((estimate.bytes_read, estimate.bytes_written), (2 * SEGMENT, 2 * SEGMENT));
    assert_eq!(estimate.network_bytes, 2 * SEGMENT);
    assert_eq!(estimate.workers.iter().map(|worker| worker.segments).sum::<u32>(), 2);
    assert!(estimate.workers.iter().all(|worker| worker.memory_bytes == 2 * SEGMENT), "both keep a copy of each");
    assert_eq!(explain(&mut desk, "x + 1").replicas, "recomputed", "that is another program, which nobody has tried");
}

#[test]
fn what_many_threads_compute_sooner_than_it_is_moved_is_computed_by_each() {
    for (cores, replicas) in [(40, "received"), (60, "recomputed")] {
        let mut desk = after_a_costly_operation(&[10, 20], cores);
        desk.register_with(30, "w3", 1, registration_at_level_1("w3", 100)); // which uses one, and receives
        assert_eq!(explain(&mut desk, "example2").replicas, replicas, "{cores} threads");
    }
}

#[test]
fn a_single_copy_is_moved_nowhere_however_costly() {
    let mut desk = after_a_costly_operation(&[10], 2);
    let explanation = explain(&mut desk, "example2");
    assert_eq!((explanation.replicas.as_str(), explanation.copies), ("recomputed", 1));
    assert_eq!(explanation.estimate.network_bytes, 0);
}

#[test]
fn what_lies_apart_is_fetched_first() {
    let mut desk = arrays_that_lie_apart();
    let explanation = explain(&mut desk, "x + b");
    let estimate = explanation.estimate;
    assert_eq!(estimate.network_bytes, SEGMENT);
    let [(_, segments, read, written, memory)] = shares(&estimate)[..] else { panic!("{estimate:?}") };
    assert_eq!((segments, read, written, memory), (1, 2 * SEGMENT, SEGMENT, 2 * SEGMENT), "with what it fetches");
}

#[test]
fn it_tells_why_it_would_be_refused() {
    let mut desk = Desk::new();
    let mut message = registration("w1", 1, None, vec![]);
    if let Body::RegisterWorker(register) = &mut message.body {
        register.hello.as_mut().expect("it says hello").memory_bytes = 3 * SEGMENT;
    }
    desk.register_with(10, "w1", 1, message);
    desk.client(1);
    store_on(&mut desk, &[10], 1, "a", &[LONG]);
    assert_eq!(explain(&mut desk, "x + 1.5").refusal, None, "float64: two segments' worth");
    store_on(&mut desk, &[10], 3, "b", &[1]);
    let refusal = explain(&mut desk, "x + 1.5").refusal.map(|error| error.code);
    assert_eq!(refusal, Some(ErrorCode::InsufficientMemory), "four bytes are missing");
}

#[test]
fn only_reducers_with_a_parenthesis_are_reductions() {
    let mut desk = two_workers();
    store(&mut desk, 1, "a");
    for (text, code) in [("sum", ErrorCode::UnknownOperation), ("summ(x)", ErrorCode::BadExpression)] {
        desk.say(1, Message::request(900, Explain { array_id: "a".into(), operation: text.into() }));
        assert_eq!(desk.heard_error(1), Some(code), "{text}");
    }
    for (text, is_reduced) in [("sum(x)", true), ("\tmax ( x )", true), ("x + 1", false), ("abs(x)", false)] {
        assert_eq!(explain(&mut desk, text).dtype.is_none(), is_reduced, "{text}");
    }
}
