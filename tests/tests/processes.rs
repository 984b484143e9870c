//! Real processes: started, killed, paused and restarted, while a client works with them.
//!
//! To hit the middle of something without luck, a worker is paused first: what needs it then stands still, a segment of it
//! in flight, until the worker is killed or goes on. The cluster notices nothing of that before half a second has passed.

use client::{Cluster, Error};
use protocol::message::client::{Incident, IncidentKind, OperationComplete, WorkerState};
use protocol::{ErrorCode, WireError};
use serde_json::json;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tests::harness::oracle::{Numbers, check_example1, check_example2};
use tests::harness::raw::Raw;
use tests::harness::wait::until;
use tests::harness::{Processes, SOON, Setup};

/// 64 segments, eight or more on every worker.
const LEN: usize = 1_000_000;

/// How soon an error must be told that nothing can mend: with much room for a busy machine.
const AT_ONCE: Duration = Duration::from_secs(5);

fn doubles(seed: u64) -> Vec<f64> {
    Numbers::new(seed).doubles(LEN)
}

fn ints(seed: u64) -> Vec<i32> {
    Numbers::new(seed).ints(LEN)
}

/// A cluster with `a` in it.
fn with_array(setup: Setup) -> (Processes, Cluster, Vec<f64>) {
    let cluster = setup.start();
    let client = cluster.connect();
    let values = doubles(1);
    client.create("a", &values).unwrap();
    (cluster, client, values)
}

/// What a correct cluster answers about `a`, whatever has happened to it.
fn check_everything(client: &Cluster, values: &[f64]) {
    let done = client.apply("a", "example1").unwrap();
    check_example1(values, &client.get(&done.handle).unwrap()).unwrap();
    let info = client.array_info("a").unwrap();
    assert_eq!(client.get::<f64>(&info.summary.handle).unwrap(), values);
}

fn apply_in_background(client: &Cluster) -> JoinHandle<Result<OperationComplete, Error>> {
    let client = client.clone();
    thread::spawn(move || client.apply("a", "example1"))
}

/// Waits until an operation has done something and cannot do all.
fn wait_half_done(client: &Cluster) {
    until("an operation half done", SOON, || {
        let operations = client.operations().unwrap();
        operations.iter().any(|operation| operation.done > 0 && operation.done < operation.segments).then_some(())
    });
}

fn incident_of(client: &Cluster, worker: &str) -> Option<Incident> {
    let of_worker = |incident: &Incident| incident.worker.as_ref().is_some_and(|id| id.as_str() == worker);
    client.incidents().unwrap().into_iter().rfind(of_worker)
}

/// The record of a worker's death, when all is mended.
fn mended_incident(client: &Cluster, worker: &str) -> Incident {
    until("the record of the incident", SOON, || {
        incident_of(client, worker).filter(|incident| incident.redundancy_restored_ms.is_some())
    })
}

fn refusal(error: Error) -> WireError {
    match error {
        Error::Refused(refusal) => refusal,
        other => panic!("not a refusal: {other}"),
    }
}

// ---- without failures ----

#[test]
fn the_library_creates_computes_and_reads() {
    let (_cluster, client, values) = with_array(Setup::new());
    check_everything(&client, &values);
    let ints = ints(2);
    assert_eq!(client.create("b", &ints).unwrap().copies, 2);
    let done = client.apply("b", "example2").unwrap();
    check_example2(&ints, &client.get(&done.handle).unwrap()).unwrap();
    let mut slice = vec![0; 5000];
    client.read_into(&done.handle, 3000..8000, &mut slice).unwrap();
    check_example2(&ints[3000..8000], &slice).unwrap();
}

#[test]
fn the_command_line_creates_computes_and_reads() {
    let cluster = Setup::new().start();
    let created = cluster.client("--json create-double a 100000 --seed 7").json();
    assert_eq!((&created["copies"], &created["target"]), (&2.into(), &2.into()));
    let numbers = |value: serde_json::Value| -> Vec<f64> { serde_json::from_value(value["data"].clone()).unwrap() };
    let source = numbers(cluster.client("--json get a").json());
    assert!(source.iter().all(|x| (1.0..100.0).contains(x)));
    cluster.client("apply a example1").ok();
    check_example1(&source, &numbers(cluster.client("--json get a").json())).unwrap();
    assert_eq!(numbers(cluster.client("--json get a --array").json()), source);

    let refused = cluster.client("apply a example2");
    assert_eq!(refused.code, 1, "it takes ints: {}", refused.out);
    cluster.client_with_input("create b", b"[-3, 1, 3, 499, 500, 1000, 1001]").ok();
    cluster.client("apply b example2 --into c").ok();
    let ints: Vec<i32> = serde_json::from_value(cluster.client("--json get c").json()["data"].clone()).unwrap();
    check_example2(&[-3, 1, 3, 499, 500, 1000, 1001], &ints).unwrap();
    assert_eq!(cluster.client("--json status").json()["under_replicated"], 0);
}

#[test]
fn delete_and_shutdown_end_things_for_good() {
    let (mut cluster, client, _) = with_array(Setup::new());
    cluster.client("delete a --yes").ok();
    assert_eq!(client.get::<f64>("a").unwrap_err().code(), Some(ErrorCode::UnknownArray));
    until("the memory of the workers", SOON, || (client.status().unwrap().memory_used_bytes == 0).then_some(()));
    cluster.client("shutdown --yes").ok();
    for name in ["master", "w1", "w2", "w3"] {
        assert_eq!(cluster.wait_end(name).code(), Some(0), "{name}");
    }
    let mut nobody = std::process::Command::new(&tests::harness::Programs::built().client);
    let ran =
        tests::harness::run(nobody.args(["--master", cluster.master_address(), "--timeout", "0.5", "status"]), b"");
    assert_eq!(ran.code, 3);
}

// ---- a worker is killed ----

#[test]
fn a_worker_killed_while_idle_costs_nothing() {
    let (mut cluster, client, values) = with_array(Setup::new());
    cluster.kill("w2");
    check_everything(&client, &values);
    let incident = mended_incident(&client, "w2");
    assert_eq!((incident.kind, incident.segments_lost), (IncidentKind::WorkerDown, 0));
    assert!(incident.copies_lost > 0 && incident.promoted > 0 && incident.bytes_moved > 0, "{incident:?}");
    cluster.wait_whole(2);
    check_everything(&client, &values);
}

#[test]
fn a_worker_killed_in_the_middle_of_an_apply_is_replaced() {
    let (mut cluster, client, values) = with_array(Setup::new());
    cluster.pause("w1");
    let apply = apply_in_background(&client);
    wait_half_done(&client);
    cluster.kill("w1");
    let killed = Instant::now();
    let done = apply.join().unwrap().unwrap();
    assert!(killed.elapsed() < AT_ONCE, "{:?}", killed.elapsed());
    assert!(done.redispatched > 0, "{done:?}");
    check_example1(&values, &client.get(&done.handle).unwrap()).unwrap();
    let incident = mended_incident(&client, "w1");
    assert!(incident.redispatched > 0 && incident.resumed_ms.is_some(), "{incident:?}");
}

#[test]
fn a_worker_killed_in_the_middle_of_a_create_is_replaced() {
    let (mut cluster, client, _) = with_array(Setup::new());
    cluster.pause("w3");
    let values = doubles(3);
    let create = thread::spawn({
        let (client, values) = (client.clone(), values.clone());
        move || client.create("b", &values)
    });
    until("an upload", SOON, || (client.status().unwrap().uploads == 1).then_some(()));
    cluster.kill("w3");
    let committed = create.join().unwrap().unwrap();
    assert_eq!((committed.copies, committed.target), (2, 2));
    assert_eq!(client.get::<f64>("b").unwrap(), values);
    cluster.kill("w1");
    assert_eq!(client.get::<f64>("b").unwrap(), values, "two copies are two copies");
}

#[test]
fn a_worker_killed_in_the_middle_of_a_get_is_replaced() {
    let (mut cluster, client, values) = with_array(Setup::new());
    cluster.pause("w2");
    let (begun, has_begun) = mpsc::channel();
    let get = thread::spawn({
        let client = client.clone();
        move || client.read_bytes("a", false, None, &mut |_| begun.send(()).unwrap_or_default())
    });
    has_begun.recv_timeout(SOON).unwrap();
    cluster.kill("w2");
    let (_, bytes) = get.join().unwrap().unwrap();
    let expected: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    assert!(bytes == expected);
}

#[test]
fn a_worker_that_comes_back_with_nothing_is_filled_again() {
    let (mut cluster, client, values) = with_array(Setup::new().workers(2));
    let life = |client: &Cluster| client.workers().unwrap()[0].incarnation;
    let before = life(&client);
    cluster.kill("w1");
    cluster.start_worker("w1");
    until("its new life", SOON, || (life(&client) > before).then_some(()));
    cluster.wait_whole(2);
    let incident = mended_incident(&client, "w1");
    assert_eq!(incident.bytes_moved, 8 * LEN as u64, "one copy of everything: {incident:?}");
    cluster.kill("w2");
    check_everything(&client, &values);
}

#[test]
fn all_but_one_holder_killed_at_once_lose_nothing() {
    let (mut cluster, client, values) = with_array(Setup::new().workers(4).replication(3));
    let done = client.apply("a", "example1").unwrap();
    cluster.pause("w1");
    let apply = apply_in_background(&client);
    wait_half_done(&client);
    cluster.pause("w3");
    cluster.kill("w1");
    cluster.kill("w3");
    let during = apply.join().unwrap().unwrap();
    check_example1(&values, &client.get(&during.handle).unwrap()).unwrap();
    assert_eq!(client.get::<f64>("a").unwrap(), client.get::<f64>(&during.handle).unwrap());
    assert_ne!(done.handle, during.handle);
    cluster.start_worker("w3");
    cluster.wait_whole(3);
    check_everything(&client, &values);
}

// ---- a worker is silent ----

#[test]
fn a_worker_paused_past_the_timeout_comes_back_and_no_byte_moves() {
    let (cluster, client, values) = with_array(Setup::new().workers(2));
    cluster.pause("w1");
    until("its death", SOON, || (client.workers().unwrap()[0].state == WorkerState::Down).then_some(()));
    check_everything(&client, &values);
    let before = client.array_info("a").unwrap().summary;
    cluster.resume("w1");
    until("its return", SOON, || (client.workers().unwrap()[0].state == WorkerState::Alive).then_some(()));
    cluster.wait_whole(2);
    let incident = mended_incident(&client, "w1");
    // The result that was computed meanwhile has one copy; the array's copies are all where they were.
    let result_bytes = 8 * LEN as u64;
    assert!(incident.bytes_moved <= result_bytes, "{incident:?}");
    assert_eq!(client.array_info("a").unwrap().summary.handle, before.handle);
    check_everything(&client, &values);
}

#[test]
fn a_pause_without_work_moves_nothing() {
    let (cluster, client, values) = with_array(Setup::new().workers(2));
    cluster.pause("w2");
    until("its death", SOON, || (client.workers().unwrap()[1].state == WorkerState::Down).then_some(()));
    cluster.resume("w2");
    cluster.wait_whole(2);
    let incident = mended_incident(&client, "w2");
    assert_eq!(incident.bytes_moved, 0, "{incident:?}");
    assert!(incident.detected_ms >= 1000, "silence is judged after a second: {incident:?}");
    check_everything(&client, &values);
}

// ---- the master ----

#[test]
fn the_master_killed_in_the_middle_of_an_apply_finishes_it_in_its_next_life() {
    let (mut cluster, client, values) = with_array(Setup::new());
    cluster.pause("w1");
    let apply = apply_in_background(&client);
    wait_half_done(&client);
    cluster.kill("master");
    cluster.resume("w1");
    cluster.start_master();
    let done = apply.join().unwrap().unwrap();
    check_example1(&values, &client.get(&done.handle).unwrap()).unwrap();
    let restarted = |incident: &Incident| incident.kind == IncidentKind::MasterRestarted;
    assert!(client.incidents().unwrap().iter().any(restarted));
}

#[test]
fn the_master_killed_again_and_again_is_not_noticed_by_calls() {
    let (mut cluster, _, values) = with_array(Setup::new());
    let (stop, stopped) = mpsc::channel::<()>();
    let client = cluster.connect();
    let worker = thread::spawn(move || {
        let mut rounds = 0;
        while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
            let name = format!("b{rounds}");
            client.create(&name, &values).unwrap();
            let done = client.apply(&name, "example1").unwrap();
            check_example1(&values, &client.get(&done.handle).unwrap()).unwrap();
            client.delete(&name).unwrap();
            assert_eq!(client.get::<f64>("a").unwrap(), values);
            rounds += 1;
        }
        rounds
    });
    let watcher = cluster.connect();
    for _ in 0..5 {
        let at = watcher.status().unwrap().log_index;
        cluster.restart_master();
        until("work of the next master", SOON, || (watcher.status().unwrap().log_index > at + 10).then_some(()));
    }
    drop(stop);
    assert!(worker.join().unwrap() > 0);
    assert_eq!(watcher.arrays().unwrap().len(), 1, "what was created was deleted, once");
}

#[test]
fn master_and_worker_killed_together_lose_nothing() {
    let (mut cluster, client, values) = with_array(Setup::new());
    cluster.kill("w2");
    cluster.kill("master");
    cluster.start_master();
    check_everything(&client, &values);
    cluster.wait_whole(2);
}

#[test]
fn a_worker_of_another_cluster_is_refused_and_keeps_its_data() {
    let (mut cluster, client, values) = with_array(Setup::new().workers(1).replication(1));
    drop(client);
    cluster.kill("master");
    let other = cluster.directory().join("other");
    cluster.start_master_on(&other);
    until("the refusal", SOON, || cluster.log_text("w1").contains("WrongCluster").then_some(()));
    let stranger = cluster.connect();
    assert_eq!(stranger.status().unwrap().workers_alive, 0);
    assert!(stranger.arrays().unwrap().is_empty());
    cluster.restart_master();
    check_everything(&cluster.connect(), &values);
}

// ---- what cannot be mended is said ----

#[test]
fn the_loss_of_every_copy_is_told_at_once_by_name() {
    let (mut cluster, client, _) = with_array(Setup::new().replication(1));
    let segments = client.array_info("a").unwrap().versions.remove(0).segments;
    let of_w2 = |holders: &[protocol::WorkerId]| holders.iter().any(|holder| holder.as_str() == "w2");
    let lost: Vec<u32> = segments.iter().filter(|s| of_w2(&s.holders)).map(|s| s.segment).collect();
    cluster.kill("w2");
    let killed = Instant::now();
    let errors = [client.get::<f64>("a").map(drop), client.apply("a", "example1").map(drop)];
    assert!(killed.elapsed() < AT_ONCE, "{:?}", killed.elapsed());
    for error in errors {
        let error = refusal(error.unwrap_err());
        assert_eq!((error.code, error.retryable), (ErrorCode::SegmentsLost, false), "{error}");
        assert_eq!((error.array.as_deref(), &error.segments), (Some("a"), &lost), "{error}");
    }
    let ran = cluster.client("get a --out a.npy");
    assert_eq!((ran.code, ran.out.as_str()), (5, ""));
    assert!(!cluster.directory().join("a.npy").exists(), "no short array");
    assert_eq!(cluster.client("--json status").json()["lost"], lost.len());
    let incident = until("the record", SOON, || incident_of(&client, "w2"));
    assert_eq!(incident.segments_lost, lost.len() as u64, "{incident:?}");
    // What is still there can be read.
    let there = segments.iter().find(|segment| !of_w2(&segment.holders)).unwrap();
    let mut slice = vec![0.0; (there.end - there.start) as usize];
    client.read_into("a", there.start..there.end, &mut slice).unwrap();
}

#[test]
fn the_loss_of_every_copy_ends_what_is_running() {
    let (mut cluster, client, _) = with_array(Setup::new().replication(1));
    cluster.pause("w2");
    let apply = apply_in_background(&client);
    wait_half_done(&client);
    let get = thread::spawn({
        let client = client.clone();
        move || client.get::<f64>("a")
    });
    cluster.kill("w2");
    let killed = Instant::now();
    let results = [apply.join().unwrap().map(drop), get.join().unwrap().map(drop)];
    assert!(killed.elapsed() < AT_ONCE, "{:?}", killed.elapsed());
    for result in results {
        let error = refusal(result.unwrap_err());
        assert_eq!((error.code, error.array.as_deref()), (ErrorCode::SegmentsLost, Some("a")), "{error}");
        assert!(!error.segments.is_empty());
    }
}

#[test]
fn without_any_worker_the_cluster_says_so() {
    let mut cluster = Setup::new().workers(0).start();
    let client = cluster.connect();
    let error = refusal(client.create("a", &[1.0]).unwrap_err());
    assert_eq!((error.code, error.retryable), (ErrorCode::NoWorkers, true));
    let ran = cluster.client("create-int a 10");
    assert_eq!(ran.code, 1, "{}", ran.err);
    cluster.start_worker("w1");
    cluster.client("wait --workers 1").ok();
    client.create("a", &[1.0]).unwrap();
}

// ---- records, and leaving ----

#[test]
fn every_incident_leaves_a_record() {
    let (mut cluster, client, values) = with_array(Setup::new());
    cluster.pause("w1");
    let apply = apply_in_background(&client);
    wait_half_done(&client);
    cluster.kill("w1");
    apply.join().unwrap().unwrap();
    mended_incident(&client, "w1");
    cluster.restart_master();
    check_everything(&client, &values);
    let answer = cluster.client("--json recovery").json();
    let incidents = answer["incidents"].as_array().unwrap();
    let down = incidents.iter().find(|incident| incident["worker"] == "w1").unwrap();
    assert_eq!(down["kind"], "worker_down");
    for key in ["promoted", "redispatched", "copies_lost", "bytes_moved", "at"] {
        assert!(down[key].as_u64().unwrap() > 0, "{key}: {down}");
    }
    for key in ["detected_ms", "promoted_ms", "resumed_ms", "redundancy_restored_ms"] {
        assert!(down[key].as_u64().is_some(), "{key}: {down}");
    }
    assert!(incidents.iter().any(|incident| incident["kind"] == "master_restarted"), "{answer}");
    let table = cluster.client("recovery").ok();
    assert!(table.contains("worker down") && table.contains("master restarted"), "{table}");
}

#[test]
fn a_worker_asked_to_end_hands_over_the_only_copies_first() {
    let (mut cluster, client, values) = with_array(Setup::new().workers(2).replication(1));
    let done = client.apply("a", "example1").unwrap();
    assert_eq!(cluster.terminate("w1").code(), Some(0));
    check_example1(&values, &client.get(&done.handle).unwrap()).unwrap();
    check_everything(&client, &values);
    let left = until("the record", SOON, || incident_of(&client, "w1"));
    assert_eq!((left.kind, left.segments_lost), (IncidentKind::WorkerLeft, 0), "{left:?}");
    assert_eq!(client.status().unwrap().lost, 0);
}

#[test]
fn a_small_result_comes_with_the_answer_and_a_large_one_from_the_workers() {
    let mut cluster = Setup::new().workers(2).replication(2).start();
    let client = cluster.connect();
    let mut numbers = Numbers::new(5);
    for (name, len) in [("none", 0), ("one", 1), ("small", 10_000), ("large", 200_000)] {
        let values = numbers.doubles(len);
        client.create(name, &values).unwrap();
        let (done, result) = client.apply_and_get::<f64>(name, "example1").unwrap();
        check_example1(&values, &result).unwrap();
        assert_eq!((done.copies, client.get::<f64>(&done.handle).unwrap()), (2, result), "{name}");
        let mut peer = Raw::connect_level_2(cluster.master_address());
        let data = json!({"arrayId": name, "operation": "example1", "inline": true});
        peer.send(format!("{}\n", json!({"type": "APPLY_OPERATION", "id": 1, "data": data})));
        let answer = peer.message();
        let expected = if len <= 10_000 { len * 8 } else { 0 };
        assert_eq!((&answer.line["data"]["status"], answer.payload.len()), (&json!("complete"), expected), "{name}");
    }
    let wrong = client.apply_and_get::<i32>("small", "example1").unwrap_err();
    assert!(matches!(wrong, Error::WrongDType { .. }), "{wrong}");
    cluster.check();
}
