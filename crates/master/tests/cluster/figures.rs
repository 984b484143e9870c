//! What STATUS, LIST_ARRAYS, LIST_OPERATIONS and LIST_INCIDENTS say: scripts read it.

use super::*;

#[test]
fn the_status_counts_workers_arrays_segments_and_what_runs() {
    let mut desk = two_workers();
    store_two_segments(&mut desk, 1, "a");
    store(&mut desk, 3, "b");
    desk.wait(1_000, &[11, 21]);
    let beat = |desk: &mut Desk, conn, memory_used_bytes| {
        let (digest, memory_idle_bytes) = (Digest::default(), 0);
        desk.say(conn, Message::new(Heartbeat { digest, copies: 0, memory_used_bytes, memory_idle_bytes, tasks: 0 }));
    };
    beat(&mut desk, 11, 300);
    beat(&mut desk, 21, 400);
    let status = desk.cluster.cluster_status();
    assert_eq!((status.workers_alive, status.workers_suspect, status.workers_down), (2, 0, 0));
    assert_eq!((status.arrays, status.segments, status.replication, status.uptime_ms), (2, 3, 2, 1_000));
    assert_eq!((status.under_replicated, status.waiting, status.lost), (0, 0, 0));
    assert_eq!((status.memory_bytes, status.memory_used_bytes), (2 << 30, 700));
    assert_eq!((status.running_operations, status.uploads, status.transfers), (0, 0, 0));
    assert_eq!((status.term, status.log_index), (1, desk.log.len() as u64));

    desk.wait(500, &[21]);
    desk.say(1, apply_to_a(9));
    desk.say(1, create(10, "c", 4));
    let status = desk.cluster.cluster_status();
    assert_eq!((status.workers_alive, status.workers_suspect, status.workers_down), (1, 1, 0));
    assert_eq!((status.running_operations, status.uploads), (1, 1));
    desk.wait(500, &[21]);
    let status = desk.cluster.cluster_status();
    assert_eq!((status.workers_alive, status.workers_suspect, status.workers_down), (1, 0, 1));
    assert_eq!((status.under_replicated, status.waiting, status.lost), (3, 0, 0));
}

#[test]
fn segments_without_a_copy_wait_while_there_is_hope_and_are_lost_then() {
    let mut desk = two_workers();
    store_two_segments(&mut desk, 1, "a");
    let state = |desk: &Desk| {
        let status = desk.cluster.cluster_status();
        let array = desk.cluster.list_arrays().arrays.remove(0);
        (array.state, array.copies, status.under_replicated, status.waiting, status.lost)
    };
    assert_eq!(state(&desk), (ArrayState::Ok, 2, 0, 0, 0));
    desk.wait(5_000, &[11, 21]);
    desk.step(Event::Disconnected { conn: 10, why: "killed".into() });
    assert_eq!(state(&desk), (ArrayState::Degraded, 1, 2, 0, 0));
    desk.step(Event::Disconnected { conn: 20, why: "killed".into() });
    desk.wait(450, &[]);
    assert_eq!(state(&desk), (ArrayState::Waiting, 0, 2, 2, 0));
    desk.wait(50, &[]);
    assert_eq!(state(&desk), (ArrayState::Lost, 0, 2, 0, 2), "half a second after a connection ended");
}

#[test]
fn after_silence_there_is_hope_for_five_seconds() {
    let mut desk = two_workers();
    store(&mut desk, 1, "a");
    desk.wait(5_000, &[11, 21]);
    desk.wait(950, &[]);
    assert_eq!(desk.state("w1"), WorkerState::Down);
    let state = |desk: &Desk| desk.cluster.list_arrays().arrays[0].state;
    desk.wait(4_950, &[]);
    assert_eq!(state(&desk), ArrayState::Waiting);
    desk.wait(50, &[]);
    assert_eq!(state(&desk), ArrayState::Lost);
}

#[test]
fn after_a_line_that_cannot_be_read_there_is_hope_for_five_seconds() {
    let mut desk = two_workers();
    store(&mut desk, 1, "a");
    desk.step(Event::Disconnected { conn: 20, why: "killed".into() });
    desk.step(Event::Unreadable { conn: 10, why: "a broken frame".into() });
    assert_eq!(desk.state("w1"), WorkerState::Down);
    let state = |desk: &Desk| desk.cluster.list_arrays().arrays[0].state;
    desk.wait(4_950, &[]);
    assert_eq!(state(&desk), ArrayState::Waiting, "w1 was there to send it");
    desk.wait(50, &[]);
    assert_eq!(state(&desk), ArrayState::Lost);
}

#[test]
fn workers_that_do_not_report_after_the_masters_start_are_down_after_three_seconds() {
    let mut first = two_workers();
    store(&mut first, 1, "a");
    let mut catalog = Catalog::default();
    (1..).zip(&first.log).for_each(|(index, command)| drop(catalog.apply(index, command)));
    let mut desk = Desk::with_log(catalog, first.log.clone());
    desk.client(1);
    desk.say(1, Message::request(1, GetResult { array_id: "a".into(), array: true, range: None }));
    desk.wait(2_950, &[]);
    let up = |desk: &Desk| desk.cluster.catalog().workers().filter(|(_, record)| record.up).count();
    assert_eq!((up(&desk), desk.heard(1)), (2, vec![]));
    desk.wait(50, &[]);
    assert_eq!((up(&desk), desk.heard(1)), (0, vec![]), "there is still hope");
    desk.wait(4_950, &[]);
    assert_eq!(desk.heard(1), []);
    desk.wait(50, &[]);
    assert_eq!(desk.heard_error(1), Some(ErrorCode::SegmentsLost));
    assert_eq!(desk.cluster.cluster_status().term, 2);
}

#[test]
fn running_operations_are_listed_with_how_far_they_are() {
    let mut desk = two_workers();
    store_two_segments(&mut desk, 1, "a");
    desk.sent.clear();
    desk.say(1, within(10_000, apply_to_a(9)));
    desk.wait(300, &[11, 21]);
    for conn in [10, 20] {
        let asked = asked_to_compute(&mut desk, conn).expect("it is asked");
        let copies = vec![CopyRecord(asked.1, 0, 5, LONG * 4)];
        desk.say(conn, Message::reply(&asked.0.head, SegmentResult { copies, ..SegmentResult::of(asked.1) }));
    }
    let listed = desk.cluster.list_operations().operations;
    let [operation] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!((operation.array_id.as_str(), operation.name.as_str(), &operation.into), ("a", "example2", &None));
    assert_eq!((operation.segments, operation.done, operation.redispatched), (2, 1, 0));
    assert_eq!((operation.running_ms, operation.left_ms), (300, 9_700));
    assert!(operation.request.as_ref().is_some_and(|request| request.ends_with("/9")), "{operation:?}");
}

#[test]
fn what_an_operation_took_is_in_its_receipt() {
    let mut desk = two_workers();
    store(&mut desk, 1, "a");
    desk.sent.clear();
    desk.say(1, apply_to_a(9));
    desk.wait(50, &[11, 21]);
    for (conn, busy_us) in [(10, 30), (20, 40)] {
        let asked = asked_to_compute(&mut desk, conn).expect("it is asked");
        let copies = vec![CopyRecord(asked.1, 0, 5, 16)];
        let (bytes_read, bytes_written) = (16, 17);
        let result = SegmentResult { copies, busy_us, bytes_read, bytes_written, ..SegmentResult::of(asked.1) };
        desk.say(conn, Message::reply(&asked.0.head, result));
    }
    let complete = completed(&mut desk);
    assert_eq!((complete.copies, complete.target, complete.segments, complete.elapsed_us), (2, 2, 1, 50_000));
    let receipt = complete.receipt.expect("a receipt");
    assert_eq!((receipt.bytes_read, receipt.bytes_written, receipt.network_bytes), (32, 34, 0));
    let busy: Vec<Option<u64>> = receipt.workers.iter().map(|worker| worker.busy_us).collect();
    assert_eq!(busy, [Some(30), Some(40)]);
    assert!(receipt.workers.iter().all(|worker| (worker.segments, worker.memory_bytes) == (1, 16)));
}

#[test]
fn an_incident_tells_when_it_was_noticed_what_was_lost_and_when_all_was_whole_again() {
    let mut desk = two_workers();
    let source = store(&mut desk, 1, "a");
    desk.register(30, "w3", 1, vec![]);
    desk.wait(5_000, &[11, 21, 31]);
    desk.sent.clear();
    desk.wait(950, &[21, 31]); // w1 falls silent
    desk.wait(150, &[21, 31]);
    fetches(&mut desk, 30, 7);
    let incidents = desk.cluster.list_incidents().incidents;
    let [incident] = &incidents[..] else { panic!("{incidents:?}") };
    assert_eq!((incident.kind, incident.worker.clone()), (IncidentKind::WorkerDown, Some("w1".into())));
    assert_eq!((incident.detected_ms, incident.promoted_ms, incident.redispatched), (1_000, Some(0), 0));
    assert_eq!((incident.copies_lost, incident.segments_lost, incident.bytes_moved), (1, 0, 16));
    assert_eq!((incident.resumed_ms, incident.redundancy_restored_ms), (None, Some(150)));
    let holders = &desk.cluster.catalog().segment(CopyId(source, 0)).expect("it is there").holders;
    assert_eq!(holders, &[WorkerId::from("w2"), WorkerId::from("w3")]);
}

#[test]
fn an_incident_ends_when_its_copies_are_back_whatever_has_begun_since() {
    let mut desk = two_workers();
    store(&mut desk, 1, "a");
    desk.register(30, "w3", 1, vec![]);
    desk.sent.clear();
    let ended = |desk: &Desk| -> Vec<bool> {
        let incidents = desk.cluster.list_incidents().incidents.into_iter();
        incidents.map(|incident| incident.redundancy_restored_ms.is_some()).collect()
    };
    desk.step(Event::Disconnected { conn: 10, why: "killed".into() });
    desk.say(1, apply_to_a(9)); // it begins after the death, and nobody computes
    assert_eq!(ended(&desk), [false]);
    fetches(&mut desk, 30, 7);
    assert_eq!(ended(&desk), [true]);
}

#[test]
fn the_incident_of_a_start_ends_when_the_workers_have_told_what_they_hold() {
    let mut first = two_workers();
    let version = store(&mut first, 1, "a");
    let mut catalog = Catalog::default();
    (1..).zip(&first.log).for_each(|(index, command)| drop(catalog.apply(index, command)));
    let mut desk = Desk::with_log(catalog, first.log.clone());
    let ended = |desk: &Desk| desk.cluster.list_incidents().incidents[0].redundancy_restored_ms;
    desk.wait(500, &[]);
    assert_eq!(ended(&desk), None);
    for (conn, id) in [(10, "w1"), (20, "w2")] {
        desk.register(conn, id, 1, vec![CopyRecord(version, 0, 7, 16)]);
    }
    assert_eq!(ended(&desk), Some(500));
}

#[test]
fn what_is_lost_keeps_open_the_incident_that_cost_it_and_no_other() {
    let mut desk = Desk::with_replication(1);
    desk.register(10, "w1", 1, vec![]);
    desk.client(1);
    store_on(&mut desk, &[10], 1, "a", &[4]);
    desk.register(20, "w2", 1, vec![]);
    for conn in [10, 20] {
        desk.step(Event::Disconnected { conn, why: "killed".into() });
    }
    let ended = desk.cluster.list_incidents().incidents.into_iter();
    let ended: Vec<bool> = ended.map(|incident| incident.redundancy_restored_ms.is_some()).collect();
    assert_eq!(ended, [false, true]);
}

#[test]
fn when_more_than_a_hundred_incidents_are_open_the_oldest_is_closed_as_it_is() {
    let mut desk = two_workers();
    let version = store(&mut desk, 1, "a");
    store(&mut desk, 3, "b");
    desk.step(Event::Disconnected { conn: 10, why: "killed".into() }); // there is no second worker for its copies
    let closed = |desk: &Desk| desk.log.iter().filter(|c| matches!(c, Command::IncidentChanged { .. })).count();
    let copy = CopyRecord(version, 0, 7, 16);
    for open in 2..=101 {
        desk.say(20, Message::new(CopiesChanged { stored: vec![], broken: vec![copy.id()] }));
        desk.say(20, Message::new(CopiesChanged { stored: vec![copy], broken: vec![] }));
        assert_eq!(closed(&desk), usize::from(open > 100), "{open}");
    }
    let first = &desk.cluster.list_incidents().incidents[0];
    assert_eq!((first.kind, first.redundancy_restored_ms), (IncidentKind::WorkerDown, None));
}

#[test]
fn work_that_flows_again_after_a_death_is_told() {
    let mut desk = two_workers();
    store(&mut desk, 1, "a");
    desk.wait(1_000, &[11, 21]);
    desk.sent.clear();
    desk.say(1, apply_to_a(9));
    desk.step(Event::Disconnected { conn: 10, why: "killed".into() });
    desk.wait(200, &[21]);
    let asked = asked_to_compute(&mut desk, 20).expect("it is asked");
    desk.say(20, computed(&asked, 5));
    let incident = desk.cluster.list_incidents().incidents.remove(0);
    assert_eq!((incident.redispatched, incident.resumed_ms), (1, Some(200)));
}

#[test]
fn what_another_worker_computes_too_counts_for_the_incident_that_is_open() {
    let mut desk = level_1_and_ours();
    asked_to_compute(&mut desk, 10).expect("it is the primary");
    desk.register(30, "w3", 1, vec![]);
    desk.step(Event::Disconnected { conn: 30, why: "killed".into() });
    desk.wait(2_100, &[11, 21]);
    let asked = asked_to_compute(&mut desk, 20).expect("w1 takes too long");
    desk.say(20, computed(&asked, 5));
    let incident = desk.cluster.list_incidents().incidents.remove(0);
    assert_eq!((incident.worker, incident.redispatched), (Some("w3".into()), 1));
}
