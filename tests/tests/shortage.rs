//! Processes that may have little: few descriptors, little memory of the system. What does not fit is refused with a reason, no process
//! ends, and when others let go of what they had, all is as before.

use client::Cluster;
use protocol::ErrorCode;
use std::time::Duration;
use tests::harness::oracle::{Numbers, check_example1};
use tests::harness::raw::Raw;
use tests::harness::wait::until;
use tests::harness::{Processes, SOON, Setup};

/// 25 segments.
const LEN: usize = 100_000;

/// Room for 16 connections, at three descriptors each beside 32.
const FEW_DESCRIPTORS: &str = "-n 80";

/// Values are stored, computed and read, by a client that has just come and stays no longer.
fn check_served(cluster: &Processes, name: &str) {
    let client = cluster.connect();
    let values = Numbers::new(LEN as u64).doubles(LEN);
    client.create(name, &values).unwrap();
    let done = client.apply(name, "example1").unwrap();
    check_example1(&values, &client.get(&done.handle).unwrap()).unwrap();
    client.delete(name).unwrap();
}

/// As many connections as somebody takes who have introduced themselves, so that they are not closed for others; and how the next
/// one is refused.
fn take_all(address: &str) -> (Vec<Raw>, serde_json::Value) {
    let mut taken = Vec::new();
    loop {
        assert!(taken.len() < 200, "that many do not fit");
        let mut peer = Raw::connect(address);
        let answer = peer.ask("{\"type\":\"HELLO\",\"data\":{\"role\":\"client\"}}");
        match answer["type"] == "HELLO" {
            true => taken.push(peer),
            false => return (taken, answer),
        }
    }
}

fn few_descriptors(setup: Setup, of: &str) {
    let mut cluster = setup.workers(2).worker_flags("--no-shared-memory").start();
    let watcher = cluster.connect();
    let address = match of {
        "master" => cluster.master_address().to_string(),
        worker => watcher.workers().unwrap().into_iter().find(|found| found.id.as_str() == worker).unwrap().address,
    };
    check_served(&cluster, "before");
    let [before, _] = cluster.open_things(of);
    // Many that say nothing keep nobody out.
    let silent: Vec<Raw> = (0..200).map(|_| Raw::connect(&address)).collect();
    check_served(&cluster, "silent");
    drop(silent);
    let (taken, refusal) = take_all(&address);
    assert!(taken.len() > 3, "{} connections are no use to anybody", taken.len());
    assert_eq!(refusal["data"]["code"], "Busy", "{refusal}");
    assert!(refusal["data"]["message"].as_str().is_some_and(|why| why.contains("connections")), "{refusal}");
    // Whoever was there before goes on.
    assert_eq!(watcher.status().unwrap().workers_alive, 2);
    drop(taken);
    check_served(&cluster, "after");
    let few_more = before + 12;
    until("descriptors to be closed", SOON, || (cluster.open_things(of)[0] <= few_more).then_some(()));
    assert_eq!(watcher.incidents().unwrap(), [], "nobody was taken for dead");
    cluster.check();
}

#[test]
fn a_master_with_few_descriptors_refuses_and_goes_on() {
    few_descriptors(Setup::new().master_limits(FEW_DESCRIPTORS), "master");
}

#[test]
fn a_worker_with_few_descriptors_refuses_and_goes_on() {
    few_descriptors(Setup::new().worker_limits(FEW_DESCRIPTORS), "w1");
}

/// The worker believes that it has much more memory than the system gives it.
#[test]
fn a_worker_that_the_system_gives_no_memory_refuses_and_goes_on() {
    let setup = Setup::new().workers(1).replication(1).worker_limits("-d 600000").worker_flags("--memory 8G");
    let mut cluster = setup.start();
    let client = cluster.connect().with_timeout(Duration::from_secs(10));
    let values = Numbers::new(1).doubles(4_000_000);
    let store = |client: &Cluster, n: usize| client.create(&format!("a{n}"), &values);
    let mut stored = 0;
    let refusal = loop {
        assert!(stored < 40, "so much does not fit");
        match store(&client, stored) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(stored > 0);
    assert_eq!(refusal.code(), Some(ErrorCode::InsufficientMemory), "{refusal}");
    cluster.check();
    for n in 0..stored {
        assert!(client.get::<f64>(&format!("a{n}")).unwrap() == values, "what was stored before is there");
        client.delete(&format!("a{n}")).unwrap();
    }
    until("room for the next one", SOON, || store(&client, stored).ok());
    cluster.check();
}
