//! Uploads that do not go as planned: nobody goes on with them, nobody has room, or whoever waits has no more time.

use super::*;

/// A planned upload of four elements on both workers (connections 10 and 20), by client connection 1.
fn planned_upload(desk: &mut Desk, id: u64, name: &str) -> VersionId {
    desk.say(1, create(id, name, 4));
    desk.reserved(&[10, 20]);
    planned(desk, 1).version
}

/// A planned upload that w3 (connection 30), which has just come, keeps room for in the place of w1.
fn upload_planned_anew(desk: &mut Desk) -> VersionId {
    let version = planned_upload(desk, 1, "a");
    desk.register(30, "w3", 1, vec![]);
    desk.say(1, replan(2, version, &["w1"]));
    desk.reserved(&[20, 30]);
    desk.heard(1);
    version
}

/// A worker has received the only segment of an upload of four elements.
fn arrives(desk: &mut Desk, conn: ConnId, version: VersionId) {
    let stored = vec![CopyRecord(version, 0, 7, 16)];
    desk.say(conn, Message::new(CopiesChanged { stored, broken: vec![] }));
}

/// The client says that these workers have acknowledged the segment.
fn commit(id: u64, version: VersionId, acknowledged: &[&str]) -> Message {
    let workers = acknowledged.iter().map(|worker| WorkerId::from(*worker)).collect();
    Message::request(id, CommitArray { version, segments: vec![WrittenSegment(0, 7, workers)] })
}

fn replan(id: u64, version: VersionId, avoid: &[&str]) -> Message {
    let avoid = avoid.iter().map(|worker| WorkerId::from(*worker)).collect();
    Message::request(id, ReplanWrite { version, segments: vec![0], avoid })
}

fn copies_committed(desk: &mut Desk, id: u64) -> u32 {
    match desk.heard(1).pop() {
        Some(Message { head, body: Body::ArrayCommitted(committed), .. }) if head.id == Some(id) => committed.copies,
        other => panic!("{other:?}"),
    }
}

fn refuses_room(desk: &mut Desk, conn: ConnId) -> usize {
    let asked = desk.heard(conn).into_iter().filter(|message| matches!(message.body, Body::Reserve(_)));
    let asked: Vec<Message> = asked.collect();
    for message in &asked {
        desk.say(conn, Message::reply(&message.head, WireError::new(ErrorCode::InsufficientMemory, "mine is full")));
    }
    asked.len()
}

#[test]
fn when_the_last_worker_leaves_it_is_not_room_that_is_missing() {
    let mut desk = Desk::new();
    desk.register(10, "w1", 1, vec![]);
    desk.client(1);
    desk.wait(5000, &[11]);
    desk.say(1, create(1, "a", 4));
    let asked = desk.heard(10).into_iter().find(|message| matches!(message.body, Body::Reserve(_))).expect("a reserve");
    desk.say(10, Message::new(WorkerStatus { state: WorkerStage::Draining }));
    desk.say(10, Message::reply(&asked.head, WireError::new(ErrorCode::ShuttingDown, "this worker is draining")));
    desk.wait(500, &[11]);
    assert_eq!(desk.heard_error(1), Some(ErrorCode::NoWorkers));
}

// ---- nobody goes on ----

/// So that others need not wait a minute for the room.
#[test]
fn an_upload_whose_client_is_gone_is_given_up_after_ten_seconds() {
    let mut desk = two_workers();
    planned_upload(&mut desk, 1, "a");
    desk.wait(5000, &[11, 21]);
    desk.step(Event::Disconnected { conn: 1, why: "end of stream".into() });
    desk.wait(4950, &[11, 21]);
    assert_eq!(desk.cluster.cluster_status().uploads, 1);
    desk.wait(50, &[11, 21]);
    assert_eq!(desk.cluster.cluster_status().uploads, 0);
}

#[test]
fn an_upload_that_nobody_goes_on_with_is_given_up_after_a_minute() {
    let mut desk = two_workers();
    let version = planned_upload(&mut desk, 1, "a");
    desk.wait(30_000, &[11, 21]);
    arrives(&mut desk, 10, version); // so much later it still lives
    desk.sent.clear();
    desk.wait(59_950, &[11, 21]);
    assert_eq!(desk.cluster.cluster_status().uploads, 1);
    assert!(!desk.is_told_to_drop(10, version));
    desk.wait(50, &[11, 21]);
    assert_eq!(desk.cluster.cluster_status().uploads, 0);
    assert!(desk.is_told_to_drop(10, version), "what it has received");
    assert!(desk.is_told_to_drop(20, version), "the room that it keeps");
    for request in [replan(2, version, &[]), commit(3, version, &["w1"])] {
        desk.say(1, request);
        assert_eq!(desk.heard_error(1), Some(ErrorCode::UnknownUpload));
    }
}

#[test]
fn requests_about_an_upload_keep_it_alive() {
    let mut desk = two_workers();
    let version = planned_upload(&mut desk, 1, "a");
    desk.wait(59_000, &[11, 21]);
    desk.say(1, replan(2, version, &[]));
    desk.reserved(&[10, 20]);
    desk.wait(59_000, &[11, 21]);
    desk.heard(1);
    desk.say(1, commit(3, version, &[]));
    assert_eq!(desk.heard_error(1), Some(ErrorCode::SegmentsMissing));
    desk.wait(59_000, &[11, 21]);
    arrives(&mut desk, 10, version);
    arrives(&mut desk, 20, version);
    desk.say(1, commit(4, version, &["w1", "w2"]));
    assert_eq!(copies_committed(&mut desk, 4), 2);
}

#[test]
fn an_upload_is_not_idle_while_its_client_waits_for_the_workers() {
    let mut desk = two_workers();
    desk.say(1, within(300_000, create(1, "a", 4)));
    desk.wait(70_000, &[11, 21]);
    desk.reserved(&[10, 20]);
    let version = planned(&mut desk, 1).version;
    arrives(&mut desk, 10, version);
    desk.say(1, within(300_000, commit(2, version, &["w1"])));
    desk.wait(70_000, &[11, 21]);
    assert_eq!(desk.heard(1), [], "the second copy is being fetched");
    fetches(&mut desk, 20, 7);
    assert_eq!(copies_committed(&mut desk, 2), 2);
}

#[test]
fn whoever_waits_for_an_upload_that_is_abandoned_is_told() {
    let mut desk = two_workers();
    desk.say(1, create(1, "a", 4));
    let reserve = desk.heard(10).pop().expect("it is asked to keep room");
    let Body::Reserve(Reserve { version, .. }) = reserve.body else { panic!("{reserve:?}") };
    desk.say(1, Message::request(2, AbandonArray { version }));
    let replies: Vec<(Option<u64>, String)> =
        desk.heard(1).iter().map(|message| (message.head.id, message.body.kind().to_string())).collect();
    assert_eq!(replies, [(Some(1), "ERROR".to_string()), (Some(2), "DONE".to_string())]);
    desk.sent.clear();
    desk.say(10, Message::reply(&reserve.head, Reserved {}));
    assert!(desk.is_told_to_drop(10, version), "an answer that comes too late is no promise");
}

#[test]
fn an_upload_whose_create_comes_again_and_is_refused_keeps_no_room() {
    let mut desk = two_workers();
    let version = planned_upload(&mut desk, 1, "a");
    let other = planned_upload(&mut desk, 2, "a");
    arrives(&mut desk, 10, other);
    arrives(&mut desk, 20, other);
    desk.say(1, commit(3, other, &["w1", "w2"]));
    assert_eq!(copies_committed(&mut desk, 3), 2);
    desk.sent.clear();
    desk.say(1, create(1, "a", 4)); // as if the plan had never arrived
    assert_eq!(desk.heard_error(1), Some(ErrorCode::AlreadyExists));
    assert!(desk.is_told_to_drop(10, version) && desk.is_told_to_drop(20, version));
    assert_eq!(desk.cluster.cluster_status().uploads, 0);
}

// ---- no room ----

#[test]
fn what_all_workers_together_have_no_room_for_is_refused_before_anybody_is_asked() {
    let mut desk = two_workers();
    let together = 2_u64 << 30;
    desk.say(1, create(1, "large", together / 4 + 1));
    assert_eq!((desk.heard_kinds(10).len(), desk.heard_kinds(20).len()), (0, 0));
    match desk.heard(1).pop().map(|message| message.body) {
        Some(Body::Error(error)) => {
            assert_eq!(error.code, ErrorCode::InsufficientMemory);
            assert!(error.message.contains("all workers together have 2 GiB"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    desk.say(1, create(2, "large", together / 4));
    assert_eq!(desk.heard_kinds(10), ["RESERVE"], "it might fit, in one copy");
}

#[test]
fn room_that_a_worker_was_asked_for_is_not_asked_for_twice() {
    let mut desk = Desk::new();
    let mut message = registration("w1", 1, None, vec![]);
    let Body::RegisterWorker(register) = &mut message.body else { unreachable!() };
    register.hello.as_mut().expect("it says hello").memory_bytes = 31;
    desk.register_with(10, "w1", 1, message);
    desk.client(1);
    desk.sent.clear();
    desk.say(1, create(1, "a", 4));
    assert_eq!(desk.heard_kinds(10), ["RESERVE"]);
    desk.say(1, create(2, "b", 4));
    assert!(!desk.heard_kinds(10).contains(&"RESERVE".to_string()));
    assert_eq!(desk.heard_error(1), Some(ErrorCode::InsufficientMemory));
}

#[test]
fn shapes_have_as_many_sides_and_elements_as_they_may() {
    use array::LEN_MAX;
    use protocol::limits::DIMENSIONS_MAX;
    let mut desk = two_workers();
    let shapes = [
        (vec![1; DIMENSIONS_MAX], None),
        (vec![1; DIMENSIONS_MAX + 1], Some(ErrorCode::TooLarge)),
        (vec![LEN_MAX], Some(ErrorCode::InsufficientMemory)),
        (vec![LEN_MAX + 1], Some(ErrorCode::TooLarge)),
        (vec![u64::MAX, 2], Some(ErrorCode::TooLarge)),
        (vec![u64::MAX, 2, 0], None),
    ];
    for (id, (shape, error)) in (1..).zip(shapes) {
        let create = CreateArray { array_id: "a".into(), dtype: DType::Int32, shape: shape.clone(), replace: false };
        desk.say(1, Message::request(id, create));
        assert_eq!(desk.heard_error(1), error, "{shape:?}");
    }
}

#[test]
fn workers_that_refuse_are_asked_six_times_then_the_client_is_told_why() {
    let mut desk = two_workers();
    desk.say(1, create(1, "a", 4));
    let mut asked = 0;
    for _round in 0..100 {
        asked += refuses_room(&mut desk, 10) + refuses_room(&mut desk, 20);
    }
    assert_eq!(asked, 2 * 6);
    match desk.heard(1).pop().map(|message| message.body) {
        Some(Body::Error(error)) => {
            assert_eq!((error.code, error.retry_after_ms), (ErrorCode::InsufficientMemory, None));
            for part in ["'a': 16 B in 2 copies", "free: w1 1.0 GiB", "mine is full"] {
                assert!(error.message.contains(part), "{part}: {error}");
            }
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_worker_that_refuses_is_left_out_and_the_other_is_planned() {
    let mut desk = two_workers();
    desk.say(1, create(1, "a", 4));
    assert_eq!(refuses_room(&mut desk, 10), 1);
    desk.reserved(&[20]);
    let plan = planned(&mut desk, 1);
    assert_eq!(plan.workers.iter().map(|endpoint| endpoint.worker.as_str()).collect::<Vec<_>>(), ["w2"]);
    assert_eq!(plan.segments, [PlannedWrite(0, vec![0])]);
    assert_eq!(desk.heard_kinds(10), [""; 0], "one copy is enough to begin with");
}

#[test]
fn a_write_is_not_held_up_by_a_worker_without_room() {
    let mut desk = Desk::new();
    desk.register(10, "w1", 1, vec![]);
    let mut message = registration("w2", 1, None, vec![]);
    let Body::RegisterWorker(register) = &mut message.body else { unreachable!() };
    register.hello.as_mut().expect("it says hello").memory_bytes = 15;
    desk.register_with(20, "w2", 1, message);
    desk.client(1);
    let version = planned_upload(&mut desk, 1, "a");
    arrives(&mut desk, 10, version);
    desk.say(1, commit(2, version, &["w1"]));
    assert_eq!(copies_committed(&mut desk, 2), 1);
}

#[test]
fn the_checksum_of_an_array_is_that_of_all_its_bytes() {
    use array::checksum::crc32c;
    let mut desk = two_workers();
    desk.say(1, create(1, "a", LONG + 4));
    desk.reserved(&[10, 20]);
    let version = planned(&mut desk, 1).version;
    let bytes: Vec<u8> = (0..(LONG + 4) * 4).map(|n| n as u8).collect();
    let (first, second) = bytes.split_at(LONG as usize * 4);
    let stored: Vec<CopyRecord> =
        (0..).zip([first, second]).map(|(n, b)| CopyRecord(version, n, crc32c(b), b.len() as u64)).collect();
    let workers = ["w1", "w2"].map(WorkerId::from).to_vec();
    for conn in [10, 20] {
        desk.say(conn, Message::new(CopiesChanged { stored: stored.clone(), broken: vec![] }));
    }
    let segments = stored.iter().map(|copy| WrittenSegment(copy.1, copy.crc32c(), workers.clone())).collect();
    desk.say(1, Message::request(2, CommitArray { version, segments }));
    match desk.heard(1).pop().map(|message| message.body) {
        Some(Body::ArrayCommitted(committed)) => assert_eq!(committed.crc32c, Some(crc32c(&bytes))),
        other => panic!("{other:?}"),
    }
}

// ---- not enough workers ----

fn refusal(desk: &mut Desk) -> (ErrorCode, String) {
    match desk.heard(1).pop().map(|message| message.body) {
        Some(Body::Error(error)) => (error.code, error.message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_array_needs_as_many_workers_as_copies_are_demanded() {
    let mut desk = Desk::with_min_copies(2);
    desk.register(10, "w1", 1, vec![]);
    desk.client(1);
    desk.say(1, create(1, "a", 4));
    desk.wait(2_950, &[11]);
    assert_eq!(desk.heard(1), [], "others may come when the master has just started");
    desk.wait(50, &[11]);
    let (code, text) = refusal(&mut desk);
    assert!(code == ErrorCode::InsufficientReplicas && text.contains("at least 2 copies"), "{text}");
    desk.register(20, "w2", 1, vec![]);
    let version = planned_upload(&mut desk, 2, "a");
    arrives(&mut desk, 10, version);
    desk.step(Event::Disconnected { conn: 20, why: "killed".into() });
    desk.say(1, commit(3, version, &["w1"]));
    desk.wait(10_000, &[11]);
    assert_eq!(desk.heard(1), [], "one copy is not acknowledged");
    desk.register(30, "w2", 2, vec![]);
    fetches(&mut desk, 30, 7);
    assert_eq!(copies_committed(&mut desk, 3), 2);
}

#[test]
fn whoever_finds_no_worker_is_told_whether_there_are_some_that_take_nothing() {
    let mut desk = Desk::new();
    desk.client(1);
    desk.wait(5_000, &[]);
    desk.say(1, create(1, "a", 4));
    let (code, text) = refusal(&mut desk);
    assert!(code == ErrorCode::NoWorkers && text.contains("there is no worker"), "{text}");
    desk.register_with(10, "w1", 1, registration_at_level_1("w1", 1));
    desk.say(1, create(2, "a", 4));
    let (code, text) = refusal(&mut desk);
    assert!(code == ErrorCode::NoWorkers && text.contains("none of the 1 workers"), "{text}");
}

// ---- no time ----

#[test]
fn a_plan_that_came_too_late_does_not_hold_up_the_next_one() {
    let mut desk = two_workers();
    desk.say(1, within(300, create(1, "a", 4)));
    desk.say(1, create(2, "b", 4));
    let asked: Vec<Message> = desk.heard(10);
    let Body::Reserve(Reserve { version, .. }) = asked[0].body else { panic!("{asked:?}") };
    desk.wait(300, &[11, 21]);
    assert_eq!(desk.heard_error(1), Some(ErrorCode::DeadlineExceeded));
    desk.sent.clear();
    desk.say(1, replan(3, version, &[]));
    assert_eq!(desk.heard_kinds(10), ["RESERVE"]);
    // The other one is waited for all the same.
    desk.say(10, Message::reply(&asked[1].head, Reserved {}));
    desk.step(Event::Disconnected { conn: 20, why: "killed".into() });
    assert!(matches!(desk.heard(1)[..], [Message { body: Body::WritePlan(_), .. }]));
}

#[test]
fn a_commit_that_came_too_late_does_not_hold_up_the_next_one() {
    let mut desk = two_workers();
    let [a, b] = [(1, "a"), (2, "b")].map(|(id, name)| planned_upload(&mut desk, id, name));
    for version in [a, b] {
        arrives(&mut desk, 10, version);
    }
    desk.say(1, within(300, commit(3, a, &["w1"])));
    desk.say(1, commit(4, b, &["w1"]));
    desk.wait(300, &[11, 21]);
    assert_eq!(desk.heard_error(1), Some(ErrorCode::DeadlineExceeded));
    desk.say(1, commit(5, a, &["w1"]));
    for version in [a, b] {
        let copy = CopyRecord(version, 0, 7, 16);
        desk.say(20, Message::new(RecoveryComplete { copy, busy_us: None, error: None }));
    }
    let answered: Vec<Option<u64>> = desk.heard(1).iter().map(|message| message.head.id).collect();
    assert_eq!(answered, [Some(5), Some(4)]);
}

#[test]
fn a_commit_whose_deadline_passes_while_it_is_written_is_still_made_once() {
    let mut desk = two_workers();
    let version = planned_upload(&mut desk, 1, "a");
    arrives(&mut desk, 10, version);
    arrives(&mut desk, 20, version);
    desk.log_is_slow = true;
    desk.say(1, within(300, commit(2, version, &["w1", "w2"])));
    desk.wait(300, &[11, 21]);
    assert_eq!(desk.heard_error(1), Some(ErrorCode::DeadlineExceeded));
    desk.say(1, commit(3, version, &["w1", "w2"]));
    desk.say(1, Message::request(4, AbandonArray { version }));
    assert_eq!(desk.heard_kinds(1), ["DONE"], "too late for that, and the other one waits");
    let creates = desk.unwritten.iter().filter(|command| matches!(command, Command::CreateArray { .. })).count();
    assert_eq!(creates, 1);
    desk.write_log();
    assert!(desk.cluster.catalog().find("a").is_some());
    assert!(!desk.is_told_to_drop(10, version) && !desk.is_told_to_drop(20, version));
    assert_eq!(desk.heard_error(1), Some(ErrorCode::UnknownUpload), "it is an array now");
}

/// It is alive or down in a moment.
#[test]
fn a_write_is_not_acknowledged_with_fewer_copies_because_a_worker_is_silent_for_a_moment() {
    for comes_back in [true, false] {
        let mut desk = two_workers();
        let version = planned_upload(&mut desk, 1, "a");
        arrives(&mut desk, 10, version);
        desk.wait(600, &[11]);
        assert_eq!(desk.state("w2"), WorkerState::Suspect);
        desk.sent.clear();
        desk.say(1, commit(2, version, &["w1"]));
        assert_eq!(desk.heard(1), []);
        desk.wait(50, if comes_back { &[11, 21] } else { &[11] });
        if comes_back {
            fetches(&mut desk, 20, 7);
        }
        desk.wait(350, if comes_back { &[11, 21] } else { &[11] });
        assert_eq!(copies_committed(&mut desk, 2), if comes_back { 2 } else { 1 });
    }
}

#[test]
fn an_array_is_not_refused_because_the_only_worker_is_silent_for_a_moment() {
    let mut desk = Desk::new();
    desk.register(10, "w1", 1, vec![]);
    desk.client(1);
    desk.wait(5_000, &[11]);
    desk.wait(600, &[]);
    desk.sent.clear();
    desk.say(1, create(1, "a", 4));
    assert_eq!((desk.heard(1), desk.heard(10)), (vec![], vec![]));
    desk.wait(50, &[11]);
    desk.reserved(&[10]);
    planned(&mut desk, 1);
}

// ---- what comes together ----

#[test]
fn requests_about_an_upload_wait_for_each_other() {
    let mut desk = two_workers();
    let version = planned_upload(&mut desk, 1, "a");
    desk.say(1, replan(2, version, &[]));
    arrives(&mut desk, 10, version);
    arrives(&mut desk, 20, version);
    desk.say(1, commit(3, version, &["w1", "w2"]));
    desk.say(1, replan(4, version, &[]));
    assert_eq!(desk.heard(1), []);
    desk.reserved(&[10, 20]);
    desk.wait(50, &[11, 21]);
    let answered: Vec<(Option<u64>, String)> =
        desk.heard(1).iter().map(|message| (message.head.id, message.body.kind().to_string())).collect();
    let answer = |id, kind: &str| (Some(id), kind.to_string());
    assert_eq!(answered, [answer(2, "WRITE_PLAN"), answer(3, "ARRAY_COMMITTED"), answer(4, "ERROR")]);
}

#[test]
fn segments_that_an_upload_does_not_have_are_refused() {
    let mut desk = two_workers();
    let version = planned_upload(&mut desk, 1, "a");
    let replan = |id, segments| Message::request(id, ReplanWrite { version, segments, avoid: vec![] });
    desk.say(1, replan(2, vec![0, 1]));
    assert_eq!(desk.heard_error(1), Some(ErrorCode::OutOfRange));
    for segments in [vec![], vec![WrittenSegment(0, 7, vec![]), WrittenSegment(1, 7, vec![])]] {
        desk.say(1, Message::request(3, CommitArray { version, segments }));
        assert_eq!(desk.heard_error(1), Some(ErrorCode::Malformed));
    }
}

#[test]
fn a_copy_that_was_acknowledged_and_not_reported_is_waited_for_for_two_seconds() {
    let mut desk = two_workers();
    let version = planned_upload(&mut desk, 1, "a");
    arrives(&mut desk, 10, version);
    desk.sent.clear();
    desk.say(1, commit(2, version, &["w1", "w2"]));
    desk.wait(1_950, &[11, 21]);
    assert_eq!(desk.heard_kinds(20), [""; 0], "its report is under way");
    desk.wait(50, &[11, 21]);
    assert_eq!(desk.heard_kinds(20), ["RECOVER_DATA"], "it shall fetch what it seems not to have");
    let version = planned_upload(&mut desk, 3, "b");
    desk.say(1, commit(4, version, &["w1"]));
    desk.wait(1_950, &[11, 21]);
    assert_eq!(desk.heard(1), []);
    desk.wait(50, &[11, 21]);
    assert_eq!(desk.heard_error(1), Some(ErrorCode::SegmentsMissing));
}

#[test]
fn a_copy_that_was_reported_before_the_commit_is_not_waited_for() {
    let mut desk = two_workers();
    let version = planned_upload(&mut desk, 1, "a");
    arrives(&mut desk, 10, version);
    desk.sent.clear();
    desk.say(1, commit(2, version, &["w1"]));
    assert_eq!(desk.heard_kinds(20), ["RECOVER_DATA"], "nobody has acknowledged the second copy");
    let copy = CopyRecord(version, 0, 7, 16);
    desk.say(20, Message::new(RecoveryComplete { copy, busy_us: None, error: None }));
    assert_eq!(copies_committed(&mut desk, 2), 2);
}

/// The first plan has failed half way, so there are more copies than there are meant to be; one of them will be dropped.
#[test]
fn no_more_copies_are_promised_than_will_be_kept() {
    let mut desk = two_workers();
    let version = upload_planned_anew(&mut desk);
    [10, 20, 30].into_iter().for_each(|conn| arrives(&mut desk, conn, version));
    desk.say(1, commit(3, version, &["w2", "w3"]));
    assert_eq!(copies_committed(&mut desk, 3), 2);
}

/// What a worker was told to drop and to give back since it was looked at last.
fn told_to_drop(desk: &mut Desk, conn: ConnId) -> Vec<DropCopies> {
    let told = desk.heard(conn).into_iter().filter_map(|message| match message.body {
        Body::DropCopies(drop) => Some(drop),
        _ => None,
    });
    told.collect()
}

/// Its copy may have arrived, with the report on the way: were it told to drop what it has not, it would count as a copy afterwards.
#[test]
fn room_that_a_commit_leaves_unused_is_given_back_and_no_copy_with_it() {
    let mut desk = two_workers();
    let version = upload_planned_anew(&mut desk);
    [10, 20].into_iter().for_each(|conn| arrives(&mut desk, conn, version));
    desk.sent.clear();
    desk.say(1, commit(3, version, &["w1", "w2"]));
    assert_eq!(copies_committed(&mut desk, 3), 2);
    let room_only = DropCopies { reservations: vec![version], ..DropCopies::default() };
    assert_eq!(told_to_drop(&mut desk, 30), [room_only]);
    assert_eq!(told_to_drop(&mut desk, 20), [], "it has all that it kept room for");
    desk.step(Event::Disconnected { conn: 10, why: "killed".into() });
    arrives(&mut desk, 30, version);
    let holders = &desk.cluster.catalog().segment(CopyId(version, 0)).expect("it is committed").holders;
    assert_eq!(holders.iter().map(WorkerId::as_str).collect::<Vec<_>>(), ["w2", "w3"]);
    assert_eq!(told_to_drop(&mut desk, 30), []);
}

#[test]
fn room_that_is_promised_after_the_commit_costs_no_copy() {
    let mut desk = two_workers();
    let version = planned_upload(&mut desk, 1, "a");
    [10, 20].into_iter().for_each(|conn| arrives(&mut desk, conn, version));
    let mut impatient = replan(2, version, &[]);
    impatient.head.timeout_ms = Some(100);
    desk.say(1, impatient);
    desk.wait(150, &[11, 21]);
    desk.heard(1);
    desk.say(1, commit(3, version, &["w1", "w2"]));
    assert_eq!(copies_committed(&mut desk, 3), 2);
    desk.reserved(&[10, 20]);
    for conn in [10, 20] {
        let told = told_to_drop(&mut desk, conn);
        assert!(!told.is_empty(), "it keeps room");
        assert!(told.iter().all(|drop| drop.versions.is_empty() && drop.copies.is_empty()), "{told:?}");
    }
}

#[test]
fn a_draining_worker_stays_while_a_client_may_be_writing_to_it() {
    let mut desk = two_workers();
    let version = planned_upload(&mut desk, 1, "a");
    desk.sent.clear();
    desk.say(10, Message::new(WorkerStatus { state: WorkerStage::Draining }));
    desk.wait(1_000, &[11, 21]);
    assert_eq!(desk.heard_kinds(10), [""; 0]);
    desk.register(30, "w3", 1, vec![]);
    desk.sent.clear();
    desk.say(30, Message::new(WorkerStatus { state: WorkerStage::Draining }));
    assert_eq!(desk.heard_kinds(30), ["WORKER_STATUS"], "nobody writes to this one");
    desk.say(1, Message::request(2, AbandonArray { version }));
    desk.wait(50, &[11, 21]);
    assert_eq!(desk.heard_kinds(10), ["DROP_COPIES", "WORKER_STATUS"], "now it may leave");
}
