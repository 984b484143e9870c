//! Operations that take too long, or whose workers fail: what is given up when, what is tried again how often, and who is told.

use super::*;

fn unattended(id: u64) -> Message {
    let (array_id, operation) = ("a".into(), "example2".into());
    Message::request(
        id,
        ApplyOperation { array_id, operation, into: None, replace: false, no_wait: true, inline: false },
    )
}

fn wait_for(id: u64, operation: VersionId) -> Message {
    Message::request(id, WaitOperation { operation })
}

/// The instruction to compute that a worker was sent.
fn instruction(desk: &mut Desk, conn: ConnId) -> (Message, VersionId, bool) {
    asked_to_compute(desk, conn).expect("it is asked to compute")
}

fn fails(asked: &(Message, VersionId, bool), source: Option<VersionId>, code: ErrorCode) -> Message {
    let failed = vec![FailedSegment { segment: 0, source, error: WireError::new(code, "no") }];
    Message::reply(&asked.0.head, SegmentResult { failed, ..SegmentResult::of(asked.1) })
}

/// One worker, w1 on connection 10, that holds an array `a` of one segment. Gives its version.
fn alone_with_an_array() -> (Desk, VersionId) {
    let mut desk = Desk::new();
    desk.register(10, "w1", 1, vec![]);
    desk.client(1);
    let version = store_on(&mut desk, &[10], 1, "a", &[4]);
    desk.sent.clear();
    (desk, version)
}

// ---- time is up ----

#[test]
fn an_operation_ends_with_the_deadline_of_its_request() {
    let mut desk = two_workers();
    store(&mut desk, 1, "a");
    desk.sent.clear();
    desk.say(1, within(1000, apply_to_a(3)));
    let result = instruction(&mut desk, 10).1;
    desk.wait(950, &[11, 21]);
    assert_eq!(desk.heard(1), []);
    desk.wait(50, &[11, 21]);
    assert_eq!(desk.heard_error(1), Some(ErrorCode::DeadlineExceeded));
    assert_eq!(desk.cluster.cluster_status().running_operations, 0);
    let cancelled = |message: &Message| message.body == Body::from(CancelSegments { result });
    assert!(desk.heard(10).iter().any(cancelled) && desk.heard(20).iter().any(cancelled));
}

#[test]
fn whoever_asks_for_an_operation_that_took_too_long_is_told_which_segments_were_missing() {
    let mut desk = two_workers();
    store_two_segments(&mut desk, 1, "a");
    desk.sent.clear();
    desk.say(1, unattended(3));
    let operation = completed(&mut desk).operation;
    for conn in [10, 20] {
        let asked = instruction(&mut desk, conn);
        let copies = vec![CopyRecord(asked.1, 0, 5, LONG * 4)];
        desk.say(conn, Message::reply(&asked.0.head, SegmentResult { copies, ..SegmentResult::of(asked.1) }));
    }
    desk.now += Duration::from_secs(600);
    desk.step(Event::Tick);
    desk.say(1, wait_for(4, operation));
    match desk.heard(1).pop().map(|message| message.body) {
        Some(Body::Error(error)) => assert_eq!((error.code, error.segments), (ErrorCode::DeadlineExceeded, vec![1])),
        other => panic!("{other:?}"),
    }
}

#[test]
fn whoever_waits_for_an_operation_of_another_one_does_not_end_it_with_his_deadline() {
    let mut desk = two_workers();
    store(&mut desk, 1, "a");
    desk.sent.clear();
    desk.say(1, unattended(3));
    let operation = completed(&mut desk).operation;
    desk.client(2);
    desk.say(2, within(300, wait_for(1, operation)));
    desk.say(2, within(600_000, wait_for(2, operation)));
    desk.wait(300, &[11, 21]);
    assert_eq!(desk.heard_error(2), Some(ErrorCode::DeadlineExceeded));
    assert_eq!(desk.cluster.cluster_status().running_operations, 1);
    for conn in [10, 20] {
        let asked = instruction(&mut desk, conn);
        desk.say(conn, computed(&asked, 5));
    }
    assert_eq!(desk.heard_kinds(2), ["OPERATION_COMPLETE"]);
    desk.say(2, wait_for(3, operation));
    assert_eq!(desk.heard_kinds(2), ["OPERATION_COMPLETE"], "it is remembered how it ended");
}

/// Its own request is over, so another one may have its number; what becomes of that one is no business of the operation.
#[test]
fn the_number_of_an_operation_that_nobody_waits_for_used_again() {
    let mut desk = two_workers();
    store(&mut desk, 1, "a");
    desk.say(1, unattended(3));
    completed(&mut desk);
    desk.say(1, within(100, Message::request(3, WaitWorkers { count: 9 })));
    desk.wait(100, &[11, 21]);
    assert_eq!(desk.heard_error(1), Some(ErrorCode::DeadlineExceeded));
    assert_eq!(desk.cluster.cluster_status().running_operations, 1);
}

#[test]
fn an_operation_that_nobody_waits_for_has_ten_minutes() {
    let mut desk = two_workers();
    store(&mut desk, 1, "a");
    desk.sent.clear();
    desk.say(1, unattended(3));
    let operation = completed(&mut desk).operation;
    // Nobody computes, and the workers are gone, so that nothing else ends it.
    for conn in [10, 20] {
        let held = vec![CopyRecord(VersionId(0), 0, 0, 0)];
        desk.say(conn, Message::new(CopiesChanged { stored: held, broken: vec![] }));
    }
    let left = |desk: &Desk| desk.cluster.list_operations().operations.first().map(|operation| operation.left_ms);
    assert_eq!(left(&desk), Some(600_000));
    desk.now += Duration::from_millis(599_950);
    desk.step(Event::Tick);
    assert_eq!(left(&desk), Some(50));
    desk.now += Duration::from_millis(50);
    desk.step(Event::Tick);
    assert_eq!(left(&desk), None);
    desk.say(1, wait_for(4, operation));
    assert_eq!(desk.heard_error(1), Some(ErrorCode::DeadlineExceeded));
}

#[test]
fn a_result_that_is_being_written_when_its_deadline_passes_is_kept() {
    let mut desk = two_workers();
    store(&mut desk, 1, "a");
    desk.sent.clear();
    desk.log_is_slow = true;
    desk.say(1, within(1000, apply_to_a(3)));
    let asked = [10, 20].map(|conn| (conn, instruction(&mut desk, conn)));
    asked.iter().for_each(|(conn, asked)| desk.say(*conn, computed(asked, 5)));
    let result = asked[0].1.1;
    desk.wait(1000, &[11, 21]);
    assert_eq!(desk.heard_error(1), Some(ErrorCode::DeadlineExceeded), "whether it was done, the log will tell");
    desk.say(1, Message::request(4, CancelOperation { operation: result }));
    assert_eq!(desk.heard_error(1), Some(ErrorCode::UnknownOperationId), "it cannot be stopped any more");
    desk.write_log();
    let array = desk.cluster.catalog().find("a").map(|(_, array)| array.result);
    assert_eq!(array, Some(Some(result)));
    assert!(!desk.is_told_to_drop(10, result) && !desk.is_told_to_drop(20, result));
}

#[test]
fn a_worker_that_is_alive_has_ten_seconds_for_a_segment() {
    let (mut desk, _) = alone_with_an_array();
    desk.say(1, apply_to_a(3));
    let late = instruction(&mut desk, 10);
    desk.wait(9_950, &[11]);
    assert_eq!(asked_to_compute(&mut desk, 10), None);
    desk.wait(50, &[11]);
    let again = instruction(&mut desk, 10);
    desk.say(10, computed(&late, 6)); // what it was asked first does not count any more
    assert_eq!(desk.heard(1), []);
    desk.say(10, computed(&again, 5));
    assert_eq!(completed(&mut desk).redispatched, 1);
}

// ---- workers fail ----

#[test]
fn a_segment_that_no_worker_can_compute_is_tried_three_times() {
    let (mut desk, _) = alone_with_an_array();
    desk.say(1, apply_to_a(3));
    for _try in 0..3 {
        assert_eq!(desk.heard(1), []);
        let asked = instruction(&mut desk, 10);
        desk.say(10, fails(&asked, None, ErrorCode::Internal));
    }
    assert_eq!(desk.heard_error(1), Some(ErrorCode::Internal));
    assert_eq!(asked_to_compute(&mut desk, 10), None);
}

#[test]
fn what_is_missing_for_a_segment_is_fetched_eight_times_at_most() {
    let mut desk = arrays_that_lie_apart();
    desk.sent.clear();
    desk.say(1, operation_on_a(5, "x + b"));
    let told_both = |desk: &mut Desk| -> Vec<(ConnId, CopyRecord)> {
        let told = [10, 20].map(|conn| told_to_fetch(desk, conn).into_iter().map(move |copy| (conn, copy)));
        told.into_iter().flatten().collect()
    };
    for _try in 0..8 {
        let told = told_both(&mut desk);
        assert_eq!(told.len(), 1, "one of the two is enough");
        desk.wait(100, &[11, 21]);
        fetched(&mut desk, told[0].0, told[0].1, Some(ErrorCode::NotHeld));
        assert_eq!(desk.heard(1), []);
        desk.wait(250, &[11, 21]);
    }
    assert_eq!(desk.heard_error(1), Some(ErrorCode::Internal));
    assert_eq!(told_both(&mut desk), []);
}

#[test]
fn a_copy_that_is_not_there_any_more_uses_up_no_try() {
    let (mut desk, version) = alone_with_an_array();
    desk.say(1, apply_to_a(3));
    for _try in 0..5 {
        let asked = instruction(&mut desk, 10);
        desk.say(10, fails(&asked, Some(version), ErrorCode::NotHeld));
        assert_eq!(desk.cluster.catalog().segment(CopyId(version, 0)).map(|s| s.holders.len()), Some(0));
        assert_eq!(asked_to_compute(&mut desk, 10), None, "there is nobody to ask");
        desk.say(10, Message::new(CopiesChanged { stored: vec![CopyRecord(version, 0, 7, 16)], broken: vec![] }));
    }
    let asked = instruction(&mut desk, 10);
    desk.say(10, computed(&asked, 5));
    assert_eq!(completed(&mut desk).redispatched, 5);
}

#[test]
fn what_no_other_worker_would_do_better_ends_the_operation_at_once() {
    for code in [ErrorCode::BadElement, ErrorCode::TypeMismatch, ErrorCode::UnknownOperation] {
        let mut desk = two_workers();
        store(&mut desk, 1, "a");
        desk.sent.clear();
        desk.say(1, apply_to_a(3));
        let asked = instruction(&mut desk, 10);
        desk.say(10, fails(&asked, None, code));
        assert_eq!(desk.heard_error(1), Some(code));
        assert!(desk.heard(20).iter().any(|message| matches!(message.body, Body::CancelSegments(_))));
    }
}

#[test]
fn results_of_the_wrong_length_do_not_count() {
    let (mut desk, _) = alone_with_an_array();
    desk.say(1, apply_to_a(3));
    let asked = instruction(&mut desk, 10);
    let copies = vec![CopyRecord(asked.1, 0, 5, 12)];
    desk.say(10, Message::reply(&asked.0.head, SegmentResult { copies, ..SegmentResult::of(asked.1) }));
    assert_eq!(desk.heard(1), []);
    let asked = instruction(&mut desk, 10);
    desk.say(10, computed(&asked, 5));
    assert_eq!(completed(&mut desk).copies, 1);
}

#[test]
fn a_result_that_nobody_has_confirmed_is_not_taken_from_a_worker_that_comes_back() {
    let mut desk = two_workers();
    let source = store(&mut desk, 1, "a");
    desk.sent.clear();
    desk.say(1, apply_to_a(3));
    let asked = instruction(&mut desk, 10);
    desk.say(10, computed(&asked, 5));
    desk.step(Event::Disconnected { conn: 10, why: "reset".into() });
    let inventory = vec![CopyRecord(source, 0, 7, 16), CopyRecord(asked.1, 0, 5, 16)];
    desk.register(30, "w1", 1, inventory);
    let dropped: Vec<CopyId> = desk
        .heard(30)
        .into_iter()
        .filter_map(|message| match message.body {
            Body::DropCopies(drop) => Some(drop.copies),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(dropped, [CopyId(asked.1, 0)]);
}

#[test]
fn a_result_that_was_confirmed_is_taken_from_a_worker_that_comes_back() {
    let mut desk = two_workers();
    let source = store_two_segments(&mut desk, 1, "a");
    desk.sent.clear();
    desk.say(1, apply_to_a(3));
    // Both have the first segment, nobody the second.
    for conn in [10, 20] {
        let asked = instruction(&mut desk, conn);
        let copies = vec![CopyRecord(asked.1, 0, 5, LONG * 4)];
        desk.say(conn, Message::reply(&asked.0.head, SegmentResult { copies, ..SegmentResult::of(asked.1) }));
    }
    let result = VersionId(desk.cluster.list_operations().operations[0].operation.0);
    desk.step(Event::Disconnected { conn: 10, why: "reset".into() });
    let of = |version, segment| CopyRecord(version, segment, if version == source { 7 } else { 5 }, LONG * 4);
    desk.register(30, "w1", 1, vec![of(source, 0), of(source, 1), of(result, 0)]);
    let drops = |message: &Message| matches!(message.body, Body::DropCopies(_));
    assert!(!desk.heard(30).iter().any(drops));
}

/// It comes too late to be computed again: the others agree, and the log has begun to write who they are.
#[test]
fn a_result_that_differs_from_one_that_is_being_written_to_the_log_costs_no_copy() {
    let (mut desk, conns) = three_of_which_one_drains(&[4]);
    desk.say(1, apply_to_a(3));
    let asked = conns.map(|conn| instruction(&mut desk, conn));
    desk.log_is_slow = true;
    desk.say(10, computed(&asked[0], 5));
    desk.say(20, computed(&asked[1], 5));
    desk.sent.clear();
    desk.say(30, computed(&asked[2], 6));
    let dropped: Vec<(ConnId, &[CopyId])> = desk
        .sent
        .iter()
        .filter_map(|(conn, message)| match &message.body {
            Body::DropCopies(drop) => Some((*conn, &drop.copies[..])),
            _ => None,
        })
        .collect();
    assert_eq!(dropped, [(30, &[CopyId(asked[0].1, 0)][..])], "only what differs");
    desk.write_log();
    assert_eq!(completed(&mut desk).copies, 2);
}

/// Three workers, connections 10, 20 and 30, with an array `a` in segments of these lengths on each, of which the last drains.
fn three_of_which_one_drains(lengths: &[u64]) -> (Desk, [ConnId; 3]) {
    let conns = [10, 20, 30];
    let mut desk = Desk::with_replication(3);
    conns.iter().for_each(|conn| desk.register(*conn, &format!("w{}", conn / 10), 1, vec![]));
    desk.client(1);
    store_on(&mut desk, &conns, 1, "a", lengths);
    desk.say(30, Message::new(WorkerStatus { state: WorkerStage::Draining }));
    desk.sent.clear();
    (desk, conns)
}

/// Whoever goes is not waited for, so its answer may come when the segment is done.
#[test]
fn a_segment_that_was_done_and_turns_out_to_be_doubtful_is_counted_anew() {
    let (mut desk, conns) = three_of_which_one_drains(&[LONG, LONG]);
    desk.say(1, apply_to_a(3));
    let answer = |desk: &mut Desk, asked: &(Message, VersionId, bool), conn, segment, crc32c| {
        let copies = vec![CopyRecord(asked.1, segment, crc32c, LONG * 4)];
        desk.say(conn, Message::reply(&asked.0.head, SegmentResult { copies, ..SegmentResult::of(asked.1) }));
    };
    let done = |desk: &Desk| desk.cluster.list_operations().operations.first().map(|running| running.done);
    let asked = conns.map(|conn| instruction(&mut desk, conn));
    answer(&mut desk, &asked[0], 10, 0, 5);
    answer(&mut desk, &asked[1], 20, 0, 5);
    assert_eq!(done(&desk), Some(1));
    answer(&mut desk, &asked[2], 30, 0, 6);
    assert_eq!(done(&desk), Some(0), "one of the three has read broken bytes");
    for conn in conns {
        let again = instruction(&mut desk, conn);
        assert!(again.2, "of checked sources");
        answer(&mut desk, &again, conn, 0, 5);
    }
    assert_eq!(done(&desk), Some(1));
    asked.iter().zip(conns).for_each(|(asked, conn)| answer(&mut desk, asked, conn, 1, 5));
    assert_eq!(completed(&mut desk).segments, 2);
}

#[test]
fn a_late_worker_of_level_1_that_fails_stays_the_last_to_be_asked() {
    let mut desk = level_1_and_ours();
    let late = instruction(&mut desk, 10);
    desk.wait(2100, &[11, 21]); // it is late, and ours has been asked
    desk.say(10, fails(&late, None, ErrorCode::Internal));
    let asked = instruction(&mut desk, 20);
    desk.say(20, computed(&asked, 9));
    fetches(&mut desk, 10, 9);
    completed(&mut desk);
    desk.sent.clear();
    desk.say(1, apply_to_a(4));
    assert_eq!(asked_to_compute(&mut desk, 10), None);
    instruction(&mut desk, 20);
}

// ---- what is told of it ----

#[test]
fn only_segments_that_another_worker_leads_from_now_on_are_promoted() {
    let mut desk = two_workers();
    let source = store(&mut desk, 1, "a");
    desk.sent.clear();
    desk.say(1, apply_to_a(3));
    let primary = desk.cluster.catalog().segment(CopyId(source, 0)).map(|segment| segment.holders[0].clone());
    let (dies, stays) = if primary == Some("w1".into()) { (10, 20) } else { (20, 10) };
    let asked = instruction(&mut desk, stays);
    desk.step(Event::Disconnected { conn: dies, why: "killed".into() });
    desk.say(stays, computed(&asked, 5));
    let again = instruction(&mut desk, stays); // of a checked source, as there is nobody to compare with
    desk.say(stays, computed(&again, 5));
    let receipt = completed(&mut desk).receipt.expect("a receipt");
    assert_eq!((receipt.promoted, receipt.retries), (1, 1));

    let (mut desk, source) = alone_with_an_array();
    desk.say(1, apply_to_a(3));
    desk.step(Event::Disconnected { conn: 10, why: "reset".into() });
    desk.register(30, "w1", 1, vec![CopyRecord(source, 0, 7, 16)]);
    let asked = instruction(&mut desk, 30);
    desk.say(30, computed(&asked, 5));
    let receipt = completed(&mut desk).receipt.expect("a receipt");
    assert_eq!((receipt.promoted, receipt.retries), (0, 1));
}

#[test]
fn shares_of_up_to_sixteen_workers_are_remembered_with_the_outcome() {
    for (workers, remembered) in [(16, 16), (17, 0)] {
        let mut desk = Desk::new();
        for n in 0..workers {
            desk.register(100 + 2 * n, &format!("w{n}"), 1, vec![]);
        }
        desk.client(1);
        desk.sent.clear();
        let (array_id, generator) = ("a".into(), format!("zeros({})", 64 * LONG));
        let generate = GenerateArray { array_id, generator, dtype: Some(DType::Float64), seed: 0, replace: false };
        desk.say(1, Message::request(1, generate.clone()));
        let mut replies = Vec::new();
        while replies.is_empty() {
            for n in 0..workers {
                computes_all(&mut desk, 100 + 2 * n);
            }
            replies = desk.heard(1);
        }
        let shares = |message: &Message| match &message.body {
            Body::OperationComplete(complete) => complete.receipt.as_ref().map(|receipt| receipt.workers.len()),
            other => panic!("{other:?}"),
        };
        assert_eq!(shares(&replies[0]), Some(workers as usize));
        desk.say(1, Message::request(1, generate));
        assert_eq!(shares(&desk.heard(1)[0]), Some(remembered), "of {workers} workers");
    }
}

/// A worker computes what it was asked to, of float64.
fn computes_all(desk: &mut Desk, conn: ConnId) {
    for message in desk.heard(conn) {
        let Body::ProcessSegment(process) = &message.body else { continue };
        let copy = |segment: &u32| {
            let range = array::Grid::new(process.elements).range(*segment);
            CopyRecord(process.result, *segment, 5, (range.end - range.start) * 8)
        };
        let copies = process.segments.iter().map(copy).collect();
        desk.say(conn, Message::reply(&message.head, SegmentResult { copies, ..SegmentResult::of(process.result) }));
    }
}

#[test]
fn the_last_thousand_operations_are_remembered() {
    let (mut desk, _) = alone_with_an_array();
    let mut operations = Vec::new();
    for id in 3..3 + 1001 {
        let mut apply = apply_to_a(id);
        apply.head.acked_below = Some(id); // the log need not remember them
        desk.say(1, apply);
        let asked = instruction(&mut desk, 10);
        desk.say(10, computed(&asked, 5));
        operations.push(completed(&mut desk).operation);
        desk.sent.clear();
    }
    desk.say(1, wait_for(2000, operations[0]));
    assert_eq!(desk.heard_error(1), Some(ErrorCode::UnknownOperationId));
    desk.say(1, wait_for(2001, operations[1]));
    assert_eq!(completed(&mut desk).operation, operations[1]);
}

#[test]
fn of_two_results_with_elements_into_one_name_the_one_that_is_refused_gives_none() {
    let mut desk = two_workers();
    store(&mut desk, 1, "a");
    desk.sent.clear();
    desk.log_is_slow = true;
    let elements = [7; 16];
    let crc32c = array::checksum::crc32c(&elements);
    for id in [3, 4] {
        let mut message = apply_inline(id);
        if let Body::ApplyOperation(apply) = &mut message.body {
            apply.into = Some("b".into());
        }
        desk.say(1, message);
        answers(&mut desk, 10, crc32c, Some(&elements));
        answers(&mut desk, 20, crc32c, Some(&elements));
    }
    assert_eq!(desk.heard(1), []);
    desk.write_log();
    let replies = desk.heard(1);
    assert_eq!(replies.iter().map(|reply| reply.head.id).collect::<Vec<_>>(), [Some(3), Some(4)]);
    assert!(replies[0].elements.is_some() && matches!(replies[0].body, Body::OperationComplete(_)));
    assert!(matches!(&replies[1].body, Body::Error(error) if error.code == ErrorCode::AlreadyExists));
    assert_eq!(replies[1].elements, None);
}

#[test]
fn an_array_that_is_deleted_ends_what_reads_it() {
    let mut desk = two_workers();
    let version = store(&mut desk, 1, "a");
    desk.sent.clear();
    desk.say(1, apply_to_a(3));
    desk.say(1, Message::request(4, DeleteArray { array_id: "a".into() }));
    let answered: Vec<(Option<u64>, String)> =
        desk.heard(1).iter().map(|message| (message.head.id, message.body.kind().to_string())).collect();
    assert_eq!(answered, [(Some(4), "DONE".to_string()), (Some(3), "ERROR".to_string())]);
    let told = desk.heard(10);
    let last = told.iter().rposition(|message| matches!(message.body, Body::CancelSegments(_)));
    let drop =
        told.iter().position(|message| matches!(&message.body, Body::DropCopies(drop) if drop.versions == [version]));
    assert!(last.is_some() && last < drop, "first it stops to read: {told:?}");
}
