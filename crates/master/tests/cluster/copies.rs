//! Copies that are missing: who fetches them, how many at a time, and when it is tried again.

use super::*;

/// Worker w1 (connection 10) has the only copy of all ten segments of an array; w2 (connection 20) has just come. Gives what it is
/// told to fetch.
fn ten_thin_segments() -> (Desk, Vec<CopyRecord>) {
    let mut desk = Desk::new();
    desk.register(10, "w1", 1, vec![]);
    desk.client(1);
    store_on(&mut desk, &[10], 1, "a", &[LONG; 10]);
    desk.register(20, "w2", 1, vec![]);
    let told = told_to_fetch(&mut desk, 20);
    (desk, told)
}

#[test]
fn a_worker_fetches_four_copies_at_a_time_until_all_are_there() {
    let (mut desk, mut told) = ten_thin_segments();
    assert_eq!(told.len(), 4);
    assert_eq!(desk.cluster.cluster_status().transfers, 4);
    let mut seen = told.clone();
    while let Some(copy) = told.pop() {
        fetched(&mut desk, 20, copy, None);
        let more = told_to_fetch(&mut desk, 20);
        assert!(told.len() + more.len() <= 4);
        seen.extend(more.iter().copied());
        told.extend(more);
    }
    seen.sort_by_key(|copy| copy.1);
    assert_eq!(seen.iter().map(|copy| copy.1).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>(), "each once");
    assert_eq!(desk.cluster.catalog().under_replicated().len(), 0);
    assert_eq!(desk.cluster.cluster_status().transfers, 0);
    let moved = desk.cluster.list_incidents().incidents.iter().map(|incident| incident.bytes_moved).sum::<u64>();
    assert_eq!(moved, 0, "nothing was lost, so it is put down to no incident");
}

#[test]
fn repair_gives_way_to_clients_who_have_asked_for_work_within_a_second() {
    let mut desk = Desk::new();
    desk.register(10, "w1", 1, vec![]);
    desk.client(1);
    store_on(&mut desk, &[10], 1, "a", &[LONG; 10]);
    desk.register(20, "w2", 1, vec![]);
    let told = |desk: &mut Desk| -> Vec<(CopyRecord, bool)> {
        let told = desk.heard(20).into_iter().filter_map(|message| match message.body {
            Body::RecoverData(recover) => Some((recover.copy, recover.background)),
            _ => None,
        });
        told.collect()
    };
    let first = told(&mut desk);
    assert!(first.len() == 4 && first.iter().all(|(_, background)| *background), "it has just stored something");
    desk.wait(950, &[11, 21]);
    fetched(&mut desk, 20, first[0].0, None);
    assert!(told(&mut desk)[0].1, "it may ask for more");
    desk.wait(50, &[11, 21]);
    desk.say(1, Message::request(90, Status {}));
    fetched(&mut desk, 20, first[1].0, None);
    assert!(!told(&mut desk)[0].1, "whoever looks how things are does not mind");
    desk.say(1, Message::request(91, GetResult { array_id: "nobody's".into(), array: false, range: None }));
    fetched(&mut desk, 20, first[2].0, None);
    assert!(told(&mut desk)[0].1);
    desk.say(1, apply_to_a(92));
    desk.wait(5_000, &[11, 21]);
    desk.sent.clear();
    fetched(&mut desk, 20, first[3].0, None);
    assert!(told(&mut desk)[0].1, "it waits for an operation");
}

#[test]
fn repair_gives_way_to_uploads() {
    let (mut desk, copies) = ten_thin_segments();
    desk.say(1, create(5, "b", 4));
    desk.reserved(&[10, 20]);
    desk.wait(5_000, &[11, 21]);
    desk.sent.clear();
    fetched(&mut desk, 20, copies[0], None);
    let told = desk.heard(20).into_iter().find_map(|message| match message.body {
        Body::RecoverData(recover) => Some(recover.background),
        _ => None,
    });
    assert_eq!(told, Some(true));
}

#[test]
fn a_copy_that_could_not_be_fetched_is_asked_for_again_a_quarter_of_a_second_later() {
    let (mut desk, told) = ten_thin_segments();
    fetched(&mut desk, 20, told[0], Some(ErrorCode::NotHeld));
    let others: Vec<CopyRecord> = told_to_fetch(&mut desk, 20);
    assert!(!others.contains(&told[0]), "the next one in its place");
    for copy in told[1..].iter().chain(&others).copied().collect::<Vec<_>>() {
        fetched(&mut desk, 20, copy, None);
    }
    let mut again = told_to_fetch(&mut desk, 20);
    while let Some(copy) = again.pop() {
        assert_ne!(copy, told[0]);
        fetched(&mut desk, 20, copy, None);
        again.extend(told_to_fetch(&mut desk, 20));
    }
    assert_eq!(desk.cluster.catalog().under_replicated().len(), 1);
    desk.wait(200, &[11, 21]);
    assert_eq!(told_to_fetch(&mut desk, 20), []);
    desk.wait(50, &[11, 21]);
    assert_eq!(told_to_fetch(&mut desk, 20), [told[0]]);
    fetched(&mut desk, 20, told[0], None);
    assert_eq!(desk.cluster.catalog().under_replicated().len(), 0);
}

#[test]
fn a_copy_that_could_not_be_fetched_is_no_reason_to_fetch_five_at_a_time() {
    let (mut desk, told) = ten_thin_segments();
    fetched(&mut desk, 20, told[0], Some(ErrorCode::NotHeld));
    assert_eq!(told_to_fetch(&mut desk, 20).len(), 1, "one in its place");
    desk.wait(1_000, &[11, 21]);
    assert_eq!(told_to_fetch(&mut desk, 20), []);
}

#[test]
fn the_death_of_another_worker_does_not_change_when_a_copy_is_asked_for_again() {
    let (mut desk, told) = ten_thin_segments();
    desk.register(90, "w9", 1, vec![]);
    desk.sent.clear();
    told.iter().for_each(|copy| fetched(&mut desk, 20, *copy, Some(ErrorCode::NotHeld)));
    desk.step(Event::Disconnected { conn: 90, why: "killed".into() });
    let thin = |desk: &mut Desk| {
        loop {
            let told = told_to_fetch(desk, 20);
            if told.is_empty() {
                return desk.cluster.catalog().under_replicated().len();
            }
            told.into_iter().for_each(|copy| fetched(desk, 20, copy, None));
        }
    };
    assert_eq!(thin(&mut desk), 4);
    desk.wait(250, &[11, 21]);
    assert_eq!(thin(&mut desk), 0);
}

#[test]
fn a_worker_is_told_to_fetch_what_it_has_room_for() {
    let mut desk = Desk::new();
    desk.register(10, "w1", 1, vec![]);
    desk.client(1);
    store_on(&mut desk, &[10], 1, "a", &[LONG; 10]);
    let mut message = registration("w2", 1, None, vec![]);
    let Body::RegisterWorker(register) = &mut message.body else { unreachable!() };
    register.hello.as_mut().expect("it says hello").memory_bytes = 3 * LONG * 4;
    desk.register_with(20, "w2", 1, message);
    assert_eq!(told_to_fetch(&mut desk, 20).len(), 3);
}

#[test]
fn the_end_of_an_array_is_nothing_to_those_who_fetch_another() {
    let (mut desk, told) = ten_thin_segments();
    store_on(&mut desk, &[10, 20], 3, "b", &[4]);
    desk.say(1, Message::request(5, DeleteArray { array_id: "b".into() }));
    assert_eq!(desk.cluster.cluster_status().transfers, 4);
    fetched(&mut desk, 20, told[0], None);
    let holders = desk.cluster.catalog().segment(told[0].id()).map(|segment| segment.holders.len());
    assert_eq!(holders, Some(2));
}

#[test]
fn a_copy_that_does_not_come_is_asked_for_again_after_twice_the_time_that_its_bytes_may_take() {
    let (mut desk, told) = ten_thin_segments();
    let patience = 2 * (5_000 + LONG * 4 * 1000 / (64 * 1024)); // for 16 KiB, with 64 KiB a second at least
    desk.wait(patience - 50, &[11, 21]);
    assert_eq!(told_to_fetch(&mut desk, 20), []);
    desk.wait(50, &[11, 21]);
    assert_eq!(told_to_fetch(&mut desk, 20), told);
    for copy in told.iter().chain(&told).copied().collect::<Vec<_>>() {
        fetched(&mut desk, 20, copy, None);
    }
    let open = desk.cluster.catalog().under_replicated().len();
    assert_eq!(open, 6, "what came second changes nothing");
}

#[test]
fn with_copies_left_repair_waits_a_second_for_the_worker_and_with_the_last_one_it_does_not() {
    for (replication, waits) in [(3, true), (2, false)] {
        let mut desk = Desk::with_replication(replication);
        for (n, id) in (1..).zip(["w1", "w2", "w3", "w4"]) {
            desk.register(10 * n, id, 1, vec![]);
        }
        desk.client(1);
        desk.sent.clear();
        desk.say(1, create(1, "a", 4));
        let all = [10, 20, 30, 40];
        let beats = [11, 21, 31, 41];
        desk.reserved(&all);
        let plan = planned(&mut desk, 1);
        let workers: Vec<WorkerId> = plan.workers.iter().map(|endpoint| endpoint.worker.clone()).collect();
        let conn_of = |worker: &WorkerId| 10 * worker.as_str()[1..].parse::<u64>().expect("w and a number");
        let copy = CopyRecord(plan.version, 0, 7, 16);
        for worker in &workers {
            desk.say(conn_of(worker), Message::new(CopiesChanged { stored: vec![copy], broken: vec![] }));
        }
        let segments = vec![WrittenSegment(0, 7, workers.clone())];
        desk.say(1, Message::request(2, CommitArray { version: plan.version, segments }));
        let dead = conn_of(&workers[0]);
        let spare = all.into_iter().find(|conn| workers.iter().all(|worker| conn_of(worker) != *conn));
        desk.wait(5_000, &beats);
        desk.sent.clear();
        desk.step(Event::Disconnected { conn: dead, why: "killed".into() });
        let alive: Vec<ConnId> = beats.into_iter().filter(|conn| conn - 1 != dead).collect();
        let told = |desk: &mut Desk| match spare.filter(|_| waits) {
            Some(spare) => told_to_fetch(desk, spare).len(),
            None => all.iter().map(|conn| told_to_fetch(desk, *conn).len()).sum(),
        };
        assert_eq!(told(&mut desk), usize::from(!waits));
        desk.wait(950, &alive);
        assert_eq!(told(&mut desk), 0);
        desk.wait(50, &alive);
        assert_eq!(told(&mut desk), usize::from(waits));
    }
}

#[test]
fn copies_beyond_what_is_wanted_are_dropped_and_those_of_the_catalog_are_kept() {
    let mut desk = two_workers();
    let version = store(&mut desk, 1, "a");
    desk.register(30, "w3", 1, vec![]);
    desk.sent.clear();
    let copy = CopyRecord(version, 0, 7, 16);
    desk.say(30, Message::new(CopiesChanged { stored: vec![copy], broken: vec![] }));
    assert_eq!(desk.heard_kinds(30), ["DROP_COPIES"]);
    desk.say(10, Message::new(CopiesChanged { stored: vec![copy], broken: vec![] }));
    assert_eq!(desk.heard_kinds(10), [""; 0]);
    let other_bytes = CopyRecord(version, 0, 8, 16);
    desk.say(20, Message::new(CopiesChanged { stored: vec![other_bytes], broken: vec![] }));
    assert_eq!(desk.heard_kinds(20), ["DROP_COPIES"]);
}

#[test]
fn what_a_draining_worker_holds_alone_is_copied_before_it_may_leave() {
    let (mut desk, mut told) = ten_thin_segments();
    desk.say(10, Message::new(WorkerStatus { state: WorkerStage::Draining }));
    while let Some(copy) = told.pop() {
        assert_eq!(desk.heard_kinds(10), [""; 0]);
        fetched(&mut desk, 20, copy, None);
        told.extend(told_to_fetch(&mut desk, 20));
    }
    assert_eq!(desk.heard_kinds(10), ["WORKER_STATUS"]);
}

#[test]
fn a_draining_worker_stays_until_the_operations_are_over_that_it_computes_for() {
    let mut desk = two_workers();
    store(&mut desk, 1, "a");
    desk.sent.clear();
    desk.say(1, apply_to_a(3));
    let [first, second] = [10, 20].map(|conn| asked_to_compute(&mut desk, conn).expect("both are asked"));
    desk.say(10, Message::new(WorkerStatus { state: WorkerStage::Draining }));
    desk.wait(50, &[11, 21]);
    assert_eq!(desk.heard_kinds(10), [""; 0], "it computes");
    desk.say(10, computed(&first, 5));
    desk.wait(50, &[11, 21]);
    assert_eq!(desk.heard_kinds(10), [""; 0], "it has a result that is in no list yet");
    desk.say(20, computed(&second, 5));
    completed(&mut desk);
    assert_eq!(desk.heard_kinds(10), ["WORKER_STATUS"]);
}

/// Two of three copies are left, so nobody is in a hurry at first.
#[test]
fn all_workers_fetch_at_once_what_a_death_has_left_thin() {
    let mut desk = Desk::with_replication(3);
    desk.register(10, "w1", 1, vec![]);
    desk.register(20, "w2", 1, vec![]);
    desk.client(1);
    store_on(&mut desk, &[10, 20], 1, "a", &[LONG; 64]);
    desk.register(90, "w9", 1, vec![]);
    desk.step(Event::Disconnected { conn: 90, why: "killed".into() });
    let others = [30, 40, 50, 60];
    others.iter().for_each(|conn| desk.register(*conn, &format!("w{}", conn / 10), 1, vec![]));
    let beats = [11, 21, 31, 41, 51, 61];
    desk.wait(950, &beats);
    assert_eq!(others.map(|conn| told_to_fetch(&mut desk, conn).len()), [0; 4]);
    desk.wait(50, &beats);
    assert_eq!(others.map(|conn| told_to_fetch(&mut desk, conn).len()), [4; 4]);
}

/// Whoever has not told yet what it holds may have the copy.
#[test]
fn after_a_start_nothing_is_fetched_before_all_workers_have_told_what_they_hold() {
    let mut first = Desk::new();
    first.register(10, "w1", 1, vec![]);
    first.client(1);
    let version = store_on(&mut first, &[10], 1, "a", &[4]);
    first.register(30, "w3", 1, vec![]);
    let mut catalog = Catalog::default();
    (1..).zip(&first.log).for_each(|(index, command)| drop(catalog.apply(index, command)));
    let mut desk = Desk::with_log(catalog, first.log.clone());
    desk.register(10, "w1", 1, vec![CopyRecord(version, 0, 7, 16)]);
    desk.register(20, "w2", 1, vec![]);
    desk.wait(2_950, &[11, 21]);
    assert_eq!(told_to_fetch(&mut desk, 20), []);
    desk.wait(50, &[11, 21]);
    assert_eq!(told_to_fetch(&mut desk, 20).len(), 1, "w3 does not come any more");
}

#[test]
fn a_digest_that_changes_all_the_time_is_not_asked_about_and_one_that_stays_is() {
    let mut desk = two_workers();
    let beat = |desk: &mut Desk, value: u32| {
        let mut digest = Digest::default();
        digest.toggle(CopyId(VersionId(1), 0), value);
        let heartbeat = Heartbeat { digest, copies: 0, memory_used_bytes: 0, memory_idle_bytes: 0, tasks: 0 };
        desk.say(11, Message::new(heartbeat));
        desk.wait(50, &[21]);
    };
    for n in 0..60 {
        beat(&mut desk, n / 2); // each for 100 ms: copies come and go
    }
    assert_eq!(desk.heard_kinds(10), [""; 0]);
    for _ in 0..20 {
        assert_eq!(desk.heard_kinds(10), [""; 0]);
        beat(&mut desk, 1000);
    }
    beat(&mut desk, 1000);
    assert_eq!(desk.heard_kinds(10), ["SEND_INVENTORY"]);
}

#[test]
fn an_answer_that_nobody_waits_for_is_no_copy() {
    let (mut desk, told) = ten_thin_segments();
    let CopyRecord(version, _, crc32c, bytes) = told[0];
    let last = CopyRecord(version, 9, crc32c, bytes);
    assert!(!told.contains(&last), "four at a time");
    // It has crossed the instruction to drop the copy.
    fetched(&mut desk, 20, last, None);
    let holders = |desk: &Desk, copy: CopyRecord| desk.cluster.catalog().segment(copy.id()).map(|s| s.holders.clone());
    assert_eq!(holders(&desk, last), Some(vec!["w1".into()]));
    fetched(&mut desk, 20, told[0], None);
    assert_eq!(holders(&desk, told[0]), Some(vec!["w1".into(), "w2".into()]));
}

/// The two may not reach each other, while the master reaches both.
#[test]
fn a_copy_that_one_worker_does_not_get_is_fetched_by_another() {
    let mut desk = Desk::new();
    desk.register(10, "w1", 1, vec![]);
    desk.client(1);
    let lengths = [LONG; 12];
    store_on(&mut desk, &[10], 1, "a", &lengths);
    desk.register(20, "w2", 1, vec![]);
    desk.register(30, "w3", 1, vec![]);
    let mut cut_off = 0;
    for _ in 0..200 {
        desk.wait(100, &[11, 21, 31]);
        for copy in told_to_fetch(&mut desk, 20) {
            cut_off += 1;
            fetched(&mut desk, 20, copy, Some(ErrorCode::Internal));
        }
        for copy in told_to_fetch(&mut desk, 30) {
            fetched(&mut desk, 30, copy, None);
        }
        if desk.cluster.cluster_status().under_replicated == 0 {
            break;
        }
    }
    assert_eq!(desk.cluster.cluster_status().under_replicated, 0);
    assert!((1..=4).contains(&cut_off), "{cut_off} tries: those that were under way when the first failed");
}

/// w1 (connection 10) has the only copy of an array, and w2 (connection 20), which has just come, is to fetch it.
fn one_copy_to_fetch() -> (Desk, CopyRecord) {
    let mut desk = Desk::new();
    desk.register(10, "w1", 1, vec![]);
    desk.client(1);
    store_on(&mut desk, &[10], 1, "a", &[LONG]);
    desk.register(20, "w2", 1, vec![]);
    let copy = told_to_fetch(&mut desk, 20).pop().expect("the second copy");
    (desk, copy)
}

/// What it did not reach before says nothing of where it is now.
#[test]
fn a_worker_that_is_started_anew_is_asked_again_to_fetch() {
    let (mut desk, copy) = one_copy_to_fetch();
    desk.step(Event::Disconnected { conn: 20, why: "killed".into() });
    desk.register(22, "w2", 2, vec![]);
    let again = told_to_fetch(&mut desk, 22).pop().expect("it is as good as another");
    fetched(&mut desk, 22, again, Some(ErrorCode::Internal));
    desk.step(Event::Disconnected { conn: 22, why: "killed".into() });
    desk.log_is_slow = true;
    desk.register(24, "w2", 3, vec![]);
    desk.register(30, "w3", 1, vec![]);
    desk.write_log();
    assert_eq!(told_to_fetch(&mut desk, 24), [copy]);
}

#[test]
fn copies_of_a_deleted_array_that_are_being_fetched_keep_nobody_busy() {
    let mut desk = Desk::new();
    desk.register(10, "w1", 1, vec![]);
    desk.client(1);
    store_on(&mut desk, &[10], 1, "a", &[LONG; 12]);
    let kept = store_on(&mut desk, &[10], 3, "b", &[LONG]);
    desk.register(20, "w2", 1, vec![]);
    let told = told_to_fetch(&mut desk, 20);
    assert!(told.len() == 4 && told.iter().all(|copy| copy.0 != kept), "four at a time: {told:?}");
    fetched(&mut desk, 20, told[0], None); // so it is told to drop it, and from then on says nothing about the others
    desk.sent.clear();
    desk.say(1, Message::request(5, DeleteArray { array_id: "a".into() }));
    desk.wait(50, &[11, 21]);
    assert_eq!(told_to_fetch(&mut desk, 20).iter().map(|copy| copy.0).collect::<Vec<_>>(), [kept]);
}

#[test]
fn the_death_of_a_third_worker_says_nothing_of_who_reaches_whom() {
    let (mut desk, copy) = one_copy_to_fetch();
    desk.register(30, "w3", 1, vec![]);
    desk.register(40, "w4", 1, vec![]);
    fetched(&mut desk, 20, copy, Some(ErrorCode::Internal));
    desk.step(Event::Disconnected { conn: 30, why: "killed".into() });
    desk.wait(1_000, &[11, 21, 41]);
    assert_eq!((told_to_fetch(&mut desk, 20), told_to_fetch(&mut desk, 40)), (vec![], vec![copy]));
}

#[test]
fn a_commit_that_misses_its_deadline_says_which_copies_are_missing() {
    let mut desk = two_workers();
    desk.say(1, create(1, "b", 3 * LONG));
    desk.reserved(&[10, 20]);
    let version = planned(&mut desk, 1).version;
    let stored = (0..3).map(|segment| CopyRecord(version, segment, 7, 4 * LONG)).collect();
    desk.say(10, Message::new(CopiesChanged { stored, broken: vec![] }));
    let segments = (0..3).map(|segment| WrittenSegment(segment, 7, vec!["w1".into()])).collect();
    desk.say(1, within(2000, Message::request(2, CommitArray { version, segments })));
    let told = told_to_fetch(&mut desk, 20);
    fetched(&mut desk, 20, told[0], None);
    desk.wait(2050, &[11, 21]);
    let reply = desk.heard(1).pop().map(|message| message.body);
    let Some(Body::Error(error)) = reply else { panic!("{reply:?}") };
    assert!(error.message.starts_with("no 2 copies of 2 of the 3 segments of 'b' within 2"), "{error}");
}

/// The broken copy is in no list when it is reported: not in the catalog, which has struck its holder off, and soon not in what the
/// worker holds; but the command that lists it is on its way.
#[test]
fn a_copy_that_breaks_while_its_worker_is_being_taken_in_is_listed_nowhere() {
    let mut desk = Desk::new();
    desk.register(10, "w1", 1, vec![]);
    desk.register(20, "w2", 1, vec![]);
    desk.client(1);
    let version = store(&mut desk, 1, "a");
    let segment = CopyId(version, 0);
    let stored = desk.cluster.catalog().version(version).expect("it was stored");
    let copy = CopyRecord(version, 0, stored.segments[0].crc32c, stored.segment_bytes(0));
    desk.step(Event::Disconnected { conn: 20, why: "reset".into() });
    desk.log_is_slow = true;
    desk.register(22, "w2", 1, vec![copy]);
    desk.say(22, Message::new(CopiesChanged { stored: vec![], broken: vec![segment] }));
    desk.write_log();
    let holders = &desk.cluster.catalog().segment(segment).expect("it was stored").holders;
    assert_eq!(holders.iter().map(WorkerId::as_str).collect::<Vec<_>>(), ["w1"]);
    assert_eq!(told_to_fetch(&mut desk, 22), [copy], "a new one");
}
