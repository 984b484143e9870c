//! Operations: what they need to begin, which worker computes what, and what each is sent at a time.

use super::*;

/// What a worker was told to compute since it was looked at last.
fn instructions(desk: &mut Desk, conn: ConnId) -> Vec<(Message, ProcessSegment)> {
    let instructions = desk.heard(conn).into_iter().filter_map(|message| match &message.body {
        Body::ProcessSegment(process) => Some((message.clone(), process.clone())),
        _ => None,
    });
    instructions.collect()
}

/// A worker answers an instruction for these segments, of so many bytes each.
fn answer(
    desk: &mut Desk,
    conn: ConnId,
    asked: &(Message, ProcessSegment),
    segments: &[u32],
    bytes: u64,
    busy_us: u64,
) {
    let copies = segments.iter().map(|segment| CopyRecord(asked.1.result, *segment, 5, bytes)).collect();
    let result = SegmentResult { copies, busy_us, ..SegmentResult::of(asked.1.result) };
    desk.say(conn, Message::reply(&asked.0.head, result));
}

// ---- what it needs to begin ----

#[test]
fn arrays_without_elements_need_no_worker() {
    let mut desk = Desk::new();
    desk.client(1);
    desk.say(1, create(1, "a", 0));
    let version = planned(&mut desk, 1).version;
    desk.say(1, Message::request(2, CommitArray { version, segments: vec![] }));
    assert_eq!(desk.heard_kinds(1), ["ARRAY_COMMITTED"]);
    assert_eq!(explain(&mut desk, "x + 1").refusal, None);
    desk.say(1, operation_on_a(3, "x + 1"));
    let complete = completed(&mut desk);
    assert_eq!((complete.status, complete.segments, complete.copies), (OperationState::Complete, 0, 2));
}

#[test]
fn with_no_worker_left_an_operation_is_refused_and_as_long_as_one_may_come_back_it_waits() {
    let mut desk = two_workers();
    let version = store(&mut desk, 1, "a");
    desk.wait(5_000, &[11, 21]);
    for conn in [10, 20] {
        desk.step(Event::Disconnected { conn, why: "killed".into() });
    }
    let ask = |desk: &mut Desk, id| {
        let (array_id, generator, dtype) = ("b".into(), "zeros(4)".into(), Some(DType::Int32));
        desk.say(1, operation_on_a(id, "x + 1"));
        let generate = GenerateArray { array_id, generator, dtype, seed: 0, replace: false };
        desk.say(1, Message::request(id + 1, generate));
    };
    let errors = |desk: &mut Desk| -> Vec<ErrorCode> {
        let replies = desk.heard(1).into_iter();
        let code = |message: Message| match message.body {
            Body::Error(error) => error.code,
            other => panic!("{other:?}"),
        };
        replies.map(code).collect()
    };
    ask(&mut desk, 3);
    desk.wait(450, &[]);
    assert_eq!(errors(&mut desk), []);
    desk.wait(50, &[]);
    assert_eq!(errors(&mut desk), [ErrorCode::NoWorkers; 2]);
    ask(&mut desk, 5);
    assert_eq!(errors(&mut desk), [ErrorCode::NoWorkers; 2]);
    desk.register(30, "w1", 1, vec![CopyRecord(version, 0, 7, 16)]);
    ask(&mut desk, 7);
    assert_eq!((instructions(&mut desk, 30).len(), errors(&mut desk)), (2, vec![]));
}

#[test]
fn expressions_need_a_worker_of_ours_and_named_operations_do_not() {
    let mut desk = Desk::new();
    desk.register_with(10, "w1", 1, registration_at_level_1("w1", 2));
    desk.client(1);
    store_on(&mut desk, &[10], 1, "a", &[4]);
    desk.wait(5_000, &[11]);
    assert_eq!(explain(&mut desk, "example2").refusal, None);
    let refusal = explain(&mut desk, "x + 1").refusal.map(|error| error.code);
    assert_eq!(refusal, Some(ErrorCode::Unsupported));
    desk.say(1, operation_on_a(3, "x + 1"));
    assert_eq!(desk.heard_error(1), Some(ErrorCode::Unsupported));
}

#[test]
fn a_result_is_not_acknowledged_with_fewer_copies_than_are_demanded() {
    let mut desk = Desk::with_min_copies(2);
    desk.register(10, "w1", 1, vec![]);
    desk.register(20, "w2", 1, vec![]);
    desk.client(1);
    store(&mut desk, 1, "a");
    desk.sent.clear();
    desk.say(1, apply_to_a(3));
    desk.step(Event::Disconnected { conn: 20, why: "killed".into() });
    let first = instructions(&mut desk, 10).remove(0);
    answer(&mut desk, 10, &first, &[0], 16, 1);
    let checked = instructions(&mut desk, 10).remove(0);
    assert!(checked.1.verify, "there is nobody to compare with");
    answer(&mut desk, 10, &checked, &[0], 16, 1);
    desk.wait(10_000, &[11]);
    assert_eq!(desk.heard(1), []);
    desk.register(30, "w2", 2, vec![]);
    told_to_fetch(&mut desk, 30).into_iter().for_each(|copy| fetched(&mut desk, 30, copy, None));
    assert_eq!(completed(&mut desk).copies, 2);
}

#[test]
fn a_result_does_not_take_the_name_of_another_array_unasked() {
    let mut desk = two_workers();
    store(&mut desk, 1, "a");
    store(&mut desk, 3, "b");
    desk.sent.clear();
    let apply = |id, into: &str, replace| {
        let (array_id, operation, into) = ("a".into(), "x + 1".into(), Some(into.to_string()));
        Message::request(id, ApplyOperation { array_id, operation, into, replace, no_wait: false, inline: false })
    };
    desk.say(1, apply(5, "b", false));
    assert_eq!(desk.heard_error(1), Some(ErrorCode::AlreadyExists));
    desk.say(1, apply(6, "c@v7", false));
    assert_eq!(desk.heard_error(1), Some(ErrorCode::InvalidName));
    assert_eq!(instructions(&mut desk, 10), []);
    desk.say(1, apply(7, "b", true));
    assert_eq!(instructions(&mut desk, 10).len(), 1);
}

// ---- who computes ----

/// w2 has computed one of the two that w1 had not begun.
#[test]
fn a_worker_of_level_1_is_spared_what_another_one_has_done_and_nothing_else() {
    let mut desk = level_1_and_ours_with(&[LONG; 4]);
    let first = instructions(&mut desk, 10).remove(0);
    assert_eq!(first.1.segments, [0, 1], "two at a time");
    desk.step(Event::Tick);
    assert_eq!(instructions(&mut desk, 20), [], "it has only just been given them");
    desk.wait(50, &[11, 21]);
    let helps = instructions(&mut desk, 20).remove(0);
    assert_eq!(helps.1.segments, [2, 3]);
    answer(&mut desk, 20, &helps, &[2], LONG * 4, 1);
    assert_eq!(instructions(&mut desk, 10), []);
    answer(&mut desk, 10, &first, &[0, 1], LONG * 4, 1);
    let next: Vec<Vec<u32>> = instructions(&mut desk, 10).into_iter().map(|(_, process)| process.segments).collect();
    assert_eq!(next, [[3]]);
}

/// Its bits are not ours, and go with it.
#[test]
fn what_a_worker_of_level_1_has_made_and_taken_with_it_is_made_anew() {
    let mut desk = level_1_and_ours();
    let asked = asked_to_compute(&mut desk, 10).expect("it is the primary");
    desk.say(10, computed(&asked, 5));
    let copy = told_to_fetch(&mut desk, 20).pop().expect("the second copy");
    desk.step(Event::Disconnected { conn: 10, why: "killed".into() });
    fetched(&mut desk, 20, copy, Some(ErrorCode::Internal));
    desk.wait(100, &[21]);
    let asked = asked_to_compute(&mut desk, 20).expect("it has the source");
    desk.say(20, computed(&asked, 9));
    let complete = completed(&mut desk);
    assert_eq!((complete.copies, complete.exact), (1, true));
}

#[test]
fn a_worker_with_something_to_do_does_not_help_one_of_level_1() {
    let mut desk = level_1_and_ours_with(&[LONG; 4]);
    let (array_id, generator, dtype) = ("b".into(), "zeros(4)".into(), Some(DType::Int32));
    desk.say(1, Message::request(4, GenerateArray { array_id, generator, dtype, seed: 0, replace: false }));
    let (generate, process) = instructions(&mut desk, 20).remove(0);
    desk.wait(200, &[11, 21]);
    assert_eq!(instructions(&mut desk, 20), []);
    answer(&mut desk, 20, &(generate, process), &[0], 16, 1);
    desk.wait(50, &[11, 21]);
    assert_eq!(instructions(&mut desk, 20).remove(0).1.segments, [2, 3]);
}

#[test]
fn a_worker_of_level_1_that_is_not_late_yet_is_asked_first() {
    let mut desk = level_1_and_ours();
    asked_to_compute(&mut desk, 10).expect("it is the primary");
    desk.wait(1_000, &[11, 21]);
    desk.say(1, apply_to_a(4));
    assert!(asked_to_compute(&mut desk, 10).is_some() && asked_to_compute(&mut desk, 20).is_none());
}

#[test]
fn a_worker_of_level_1_that_is_late_twice_is_late() {
    let mut desk = level_1_and_ours();
    desk.wait(100, &[11, 21]);
    desk.say(1, apply_to_a(4));
    assert!(asked_to_compute(&mut desk, 10).is_some());
    desk.wait(2_100, &[11, 21]);
    assert_eq!(instructions(&mut desk, 20).len(), 2, "ours helps with both");
    desk.say(1, apply_to_a(5));
    assert!(asked_to_compute(&mut desk, 20).is_some(), "and is asked first");
}

#[test]
fn what_turns_out_to_be_costly_is_left_to_the_primaries_from_there_on() {
    const MIB: u64 = 1 << 20;
    let mut desk = two_workers();
    let source = store_on(&mut desk, &[10, 20], 1, "a", &[MIB; 64]);
    let primaries = |worker: &str| -> Vec<u32> {
        let segments = desk.cluster.catalog().version(source).expect("it is stored").segments.iter();
        (0..).zip(segments).filter(|(_, s)| s.holders[0] == worker.into()).map(|(segment, _)| segment).collect()
    };
    let of_primary = [primaries("w1"), primaries("w2")];
    desk.sent.clear();
    desk.say(1, apply_to_a(3));
    let (mut computed, mut fetched_by) = ([const { Vec::<u32>::new() }; 2], [0, 0]);
    let mut begun = Vec::new();
    while desk.cluster.cluster_status().running_operations > 0 {
        let mut is_stuck = true;
        for (n, conn) in [(0, 10), (1, 20)] {
            let heard = desk.heard(conn);
            is_stuck &= heard.is_empty();
            for message in heard {
                match &message.body {
                    Body::ProcessSegment(process) => {
                        let asked = (message.clone(), process.clone());
                        computed[n].extend(&process.segments);
                        // Both have been sent their first ones when the first answer comes: 100 ns a byte.
                        if begun.len() < 2 {
                            begun.push(process.segments.clone());
                        }
                        answer(&mut desk, conn, &asked, &process.segments, 4 * MIB, 4 * MIB / 10);
                    }
                    Body::RecoverData(recover) => {
                        fetched_by[n] += 1;
                        fetched(&mut desk, conn, recover.copy, None);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        assert!(!is_stuck, "nobody has anything to do: {computed:?}");
    }
    let complete = completed(&mut desk);
    assert_eq!((complete.copies, complete.replicas.as_str()), (2, "mixed"));
    for (n, other) in [(0, 1), (1, 0)] {
        let mut expected = [of_primary[n].clone(), begun[other].clone()].concat();
        expected.sort_unstable();
        computed[n].sort_unstable();
        assert_eq!(computed[n], expected, "its own, and of the other's what had been begun by then");
        assert_eq!(fetched_by[n], 64 - expected.len());
    }
}

#[test]
fn a_segment_that_is_computed_again_takes_no_other_from_the_queues() {
    const MIB: u64 = 1 << 20;
    let mut desk = two_workers();
    store_on(&mut desk, &[10, 20], 1, "a", &[MIB; 64]);
    desk.sent.clear();
    desk.say(1, apply_to_a(3));
    let mut is_first = true;
    while desk.cluster.cluster_status().running_operations > 0 {
        let asked = [10, 20].map(|conn| (conn, instructions(&mut desk, conn)));
        assert!(asked.iter().any(|(_, asked)| !asked.is_empty()), "nobody has anything to do");
        for (conn, instructions) in asked {
            for asked in instructions {
                let copy = |segment: &u32| {
                    let crc32c = if *segment == 0 && std::mem::take(&mut is_first) { 6 } else { 5 };
                    CopyRecord(asked.1.result, *segment, crc32c, 4 * MIB)
                };
                let copies = asked.1.segments.iter().map(copy).collect();
                let result = SegmentResult { copies, ..SegmentResult::of(asked.1.result) };
                desk.say(conn, Message::reply(&asked.0.head, result));
            }
        }
    }
    assert_eq!(completed(&mut desk).copies, 2);
}

#[test]
fn nobody_computes_with_what_it_is_still_fetching() {
    let mut desk = arrays_that_lie_apart();
    desk.sent.clear();
    let apply = ApplyOperation {
        array_id: "b".into(),
        operation: "x + a".into(),
        into: None,
        replace: false,
        no_wait: false,
        inline: false,
    };
    desk.say(1, Message::request(5, apply));
    let copy = told_to_fetch(&mut desk, 10)[0];
    desk.wait(100, &[11, 21]);
    assert_eq!(instructions(&mut desk, 10), []);
    fetched(&mut desk, 10, copy, None);
    assert_eq!(instructions(&mut desk, 10).len(), 1);
}

/// w1 has `a`, w2 has `b`, and they do not reach each other.
#[test]
fn what_two_workers_do_not_get_of_each_other_a_third_one_gathers() {
    let mut desk = arrays_that_lie_apart();
    desk.register(30, "w3", 1, vec![]);
    desk.sent.clear();
    desk.say(1, operation_on_a(5, "x + b"));
    for conn in [10, 20] {
        let copy = told_to_fetch(&mut desk, conn).pop().expect("it lacks only one of them");
        fetched(&mut desk, conn, copy, Some(ErrorCode::Internal));
        desk.wait(50, &[11, 21, 31]);
    }
    assert_eq!([10, 20].map(|conn| told_to_fetch(&mut desk, conn)), [[], []]);
    let both = told_to_fetch(&mut desk, 30);
    assert_eq!(both.len(), 2);
    both.into_iter().for_each(|copy| fetched(&mut desk, 30, copy, None));
    assert_eq!(instructions(&mut desk, 30).len(), 1);
}

/// w1 has fetched `b`, which two operations read.
#[test]
fn what_was_fetched_for_two_operations_goes_when_the_last_one_ends() {
    let mut desk = arrays_that_lie_apart();
    desk.sent.clear();
    desk.say(1, operation_on_a(5, "x + b"));
    let copy = told_to_fetch(&mut desk, 10)[0];
    fetched(&mut desk, 10, copy, None);
    desk.say(1, operation_on_a(6, "x * b"));
    let asked = instructions(&mut desk, 10);
    assert_eq!(asked.len(), 2);
    // It does not read it, and goes on longer.
    desk.say(1, operation_on_a(7, "x + 1"));
    let drops = |desk: &mut Desk| -> Vec<Vec<CopyId>> {
        let told = desk.heard(10).into_iter().filter_map(|message| match message.body {
            Body::DropCopies(drop) => Some(drop.copies),
            _ => None,
        });
        told.filter(|copies| !copies.is_empty()).collect()
    };
    answer(&mut desk, 10, &asked[0], &[0], LONG * 4, 1);
    assert_eq!(drops(&mut desk), Vec::<Vec<CopyId>>::new());
    answer(&mut desk, 10, &asked[1], &[0], LONG * 4, 1);
    assert_eq!(drops(&mut desk), [[copy.id()]]);
}

#[test]
fn arrays_that_are_made_from_nothing_are_made_by_workers_of_ours() {
    let mut desk = Desk::with_replication(1);
    desk.register_with(10, "w1", 1, registration_at_level_1("w1", 2));
    desk.register(20, "w2", 1, vec![]);
    desk.client(1);
    desk.sent.clear();
    let (array_id, generator, dtype) = ("b".into(), format!("zeros({})", 64 * LONG), Some(DType::Int32));
    desk.say(1, Message::request(1, GenerateArray { array_id, generator, dtype, seed: 0, replace: false }));
    let sent = |desk: &mut Desk, conn| -> usize {
        instructions(desk, conn).iter().map(|(_, process)| process.segments.len()).sum()
    };
    assert_eq!((sent(&mut desk, 10), sent(&mut desk, 20)), (0, 64));
}

#[test]
fn what_a_dead_worker_was_to_make_from_nothing_another_one_makes() {
    let mut desk = Desk::with_replication(1);
    desk.register(10, "w1", 1, vec![]);
    desk.register(20, "w2", 1, vec![]);
    desk.client(1);
    desk.sent.clear();
    let (array_id, generator, dtype) = ("b".into(), format!("zeros({})", 4 * LONG), Some(DType::Int32));
    desk.say(1, Message::request(1, GenerateArray { array_id, generator, dtype, seed: 0, replace: false }));
    let [first, second] = [10, 20].map(|conn| instructions(&mut desk, conn).remove(0));
    desk.step(Event::Disconnected { conn: 10, why: "killed".into() });
    answer(&mut desk, 20, &second, &second.1.segments.clone(), 4 * LONG, 1);
    desk.wait(50, &[21]);
    assert_eq!(instructions(&mut desk, 20).remove(0).1.segments, first.1.segments);
}

// ---- how much is sent ----

#[test]
fn a_worker_is_sent_two_large_segments_for_each_of_its_threads() {
    const MIB: u64 = 1 << 20;
    for (cores, sent) in [(1, 8), (4, 8), (8, 16), (16, 32), (40, 64)] {
        let mut desk = Desk::new();
        let mut message = registration("w1", 1, None, vec![]);
        let Body::RegisterWorker(register) = &mut message.body else { unreachable!() };
        register.cores = cores;
        desk.register_with(10, "w1", 1, message);
        desk.client(1);
        store_on(&mut desk, &[10], 1, "a", &[MIB; 64]);
        desk.sent.clear();
        desk.say(1, apply_to_a(3));
        let asked = instructions(&mut desk, 10);
        assert_eq!(asked.iter().map(|(_, process)| process.segments.len()).sum::<usize>(), sent, "{cores} threads");
        assert_eq!(desk.cluster.list_workers().workers[0].tasks, 64, "those that wait here are shown too");
    }
}
