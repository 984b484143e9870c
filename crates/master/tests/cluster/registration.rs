//! Who may join, and what a worker that comes in is told.

use super::*;

/// A registration of w1, changed.
fn registration_with(change: impl FnOnce(&mut WorkerHello)) -> Message {
    let mut message = registration("w1", 1, None, vec![]);
    let Body::RegisterWorker(register) = &mut message.body else { unreachable!() };
    change(register.hello.as_mut().expect("it says hello"));
    message
}

#[test]
fn versions_of_the_protocol_before_ours_are_refused_and_later_ones_taken() {
    for (protocol, is_taken) in [(1, false), (2, true), (3, true)] {
        let mut desk = Desk::new();
        desk.say(10, registration_with(|hello| hello.protocol = protocol));
        let is_hello = matches!(desk.heard(10)[0].body, Body::Hello(_));
        assert_eq!((is_hello, desk.closed.is_empty()), (is_taken, is_taken), "a worker of {protocol}");
        desk.say(1, Message::new(Hello { protocol, ..Hello::new(Role::Client) }));
        let is_hello = matches!(desk.heard(1)[0].body, Body::Hello(_));
        assert_eq!((is_hello, desk.closed.contains(&1)), (is_taken, !is_taken), "a client of {protocol}");
    }
}

#[test]
fn whether_a_data_port_can_be_reached_is_told_of_the_life_that_was_dialled() {
    let mut desk = two_workers();
    let reachable = |desk: &Desk| desk.cluster.list_workers().workers[0].reachable;
    assert_eq!(reachable(&desk), None);
    let dialed = |incarnation, failure: Option<&str>| Event::Dialed {
        worker: "w1".into(),
        incarnation,
        failure: failure.map(str::to_string),
    };
    desk.step(dialed(1, Some("no route")));
    assert_eq!(reachable(&desk), Some(false));
    desk.step(dialed(0, None));
    assert_eq!(reachable(&desk), Some(false), "that was another process");
    desk.step(dialed(1, None));
    assert_eq!(reachable(&desk), Some(true));
    desk.step(Event::Dialed { worker: "w9".into(), incarnation: 1, failure: None });
}

#[test]
fn a_worker_is_told_to_drop_what_nobody_needs_and_nothing_else() {
    let mut desk = two_workers();
    let version = store(&mut desk, 1, "a");
    desk.step(Event::Disconnected { conn: 10, why: "reset".into() });
    let needed = CopyRecord(version, 0, 7, 16);
    desk.register(30, "w1", 1, vec![needed]);
    let told = desk.heard_kinds(30);
    assert!(!told.contains(&"DROP_COPIES".to_string()), "{told:?}");
    // Another checksum, another length, a segment or a version that is not there.
    for useless in [
        CopyRecord(version, 0, 8, 16),
        CopyRecord(version, 0, 7, 12),
        CopyRecord(version, 1, 7, 16),
        CopyRecord(VersionId(9999), 0, 7, 16),
    ] {
        desk.step(Event::Disconnected { conn: 30, why: "reset".into() });
        desk.heard(30);
        desk.register(30, "w1", 1, vec![useless]);
        let drops = |message: &Message| matches!(&message.body, Body::DropCopies(drop) if drop.copies == [useless.id()] && drop.versions.is_empty());
        assert!(desk.heard(30).iter().any(drops), "{useless:?}");
    }
}

#[test]
fn what_a_worker_says_of_itself_is_shown() {
    let mut desk = Desk::new();
    desk.wait(100, &[]);
    let mut message = registration_with(|hello| {
        hello.zone = Some("north".into());
        hello.memory_bytes = 5000;
    });
    if let Body::RegisterWorker(register) = &mut message.body {
        register.cores = 0;
    }
    desk.register_with(10, "w1", 1, message);
    let (digest, memory_used_bytes, memory_idle_bytes) = (Digest::default(), 300, 200);
    desk.now += Duration::from_millis(50);
    desk.step(Event::Tick);
    let before = desk.cluster.list_workers().workers[0].last_heard_ms;
    desk.say(11, Message::new(Heartbeat { digest, copies: 0, memory_used_bytes, memory_idle_bytes, tasks: 0 }));
    let worker = desk.cluster.list_workers().workers.remove(0);
    assert_eq!((worker.zone.as_deref(), worker.address.as_str()), (Some("north"), "w1:1"));
    assert_eq!((worker.memory_bytes, worker.memory_used_bytes, worker.memory_idle_bytes), (5000, 300, 200));
    assert_eq!((worker.cores, worker.level, worker.draining), (1, 2, false), "it has one thread at least");
    assert_eq!((before, worker.last_heard_ms), (Some(50), Some(0)));
    desk.say(10, Message::new(WorkerStatus { state: WorkerStage::Draining }));
    assert!(desk.cluster.list_workers().workers[0].draining);
}

#[test]
fn a_draining_worker_with_nothing_leaves_without_an_incident_of_loss() {
    let mut desk = two_workers();
    desk.say(10, Message::new(WorkerStatus { state: WorkerStage::Draining }));
    assert_eq!(desk.heard_kinds(10), ["WORKER_STATUS"]);
    desk.step(Event::Disconnected { conn: 10, why: "end of stream".into() });
    let kinds: Vec<IncidentKind> =
        desk.cluster.list_incidents().incidents.iter().map(|incident| incident.kind).collect();
    assert_eq!(kinds, [IncidentKind::WorkerLeft]);
    assert_eq!(desk.state("w1"), WorkerState::Down);
}

/// A heartbeat counts from the tick before it.
#[test]
fn a_worker_whose_silence_ends_in_time_is_alive_again() {
    let mut desk = two_workers();
    desk.wait(500, &[21]);
    assert_eq!(desk.state("w1"), WorkerState::Suspect);
    desk.wait(450, &[11, 21]);
    assert_eq!(desk.state("w1"), WorkerState::Alive);
    for (ms, state) in [(400, WorkerState::Alive), (50, WorkerState::Suspect), (450, WorkerState::Suspect)] {
        desk.wait(ms, &[21]);
        assert_eq!(desk.state("w1"), state, "its silence began anew");
    }
    desk.wait(50, &[21]);
    assert_eq!(desk.state("w1"), WorkerState::Down);
}

#[test]
fn what_came_too_many_through_a_power_loss_is_dropped_when_enough_others_are_there() {
    let mut desk = two_workers();
    let version = store(&mut desk, 1, "a");
    let mut catalog = Catalog::default();
    desk.log.iter().enumerate().for_each(|(index, command)| drop(catalog.apply(index as u64 + 1, command)));
    let mut desk = Desk::with_log(catalog, desk.log.clone());
    let copy = CopyRecord(version, 0, 7, 16);
    let told_to_drop = |desk: &mut Desk, conn| {
        let drops = |message: &Message| matches!(&message.body, Body::DropCopies(drop) if drop.copies == [copy.id()]);
        desk.heard(conn).iter().any(drops)
    };
    // That w3 had got a copy was lost with the end of the log; who else has one has yet to come.
    for (conn, worker, is_one_too_many) in [(30, "w3", false), (10, "w1", false), (20, "w2", true)] {
        desk.register(conn, worker, 2, vec![copy]);
        assert_eq!(told_to_drop(&mut desk, conn), is_one_too_many, "{worker}");
    }
    let holders = &desk.cluster.catalog().segment(copy.id()).expect("the array is there").holders;
    assert_eq!(*holders, ["w1", "w3"].map(WorkerId::from));
    let downs = desk.cluster.list_incidents().incidents.into_iter().filter(|i| i.kind == IncidentKind::WorkerDown);
    assert_eq!(downs.count(), 0, "nobody has lost what he was told to drop");
}
