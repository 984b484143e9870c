//! More than there is room for, of everything, to real processes: silent connections, requests that are never read, readers that
//! never read, sessions without end, operations that do not fit together. Memory stays under a cap, and others are served.
//!
//! The limits are told in `crates/README.md`; those that only a state machine can reach are tested beside it, in
//! `crates/master/tests/cluster/limits.rs`.

use client::{ApplyOptions, Cluster, GenerateOptions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use std::io::Read;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;
use tests::harness::oracle::{check_example1, example1};
use tests::harness::raw::{ANSWER, Raw};
use tests::harness::wait::until;
use tests::harness::{Processes, Setup};

/// What a flood may cost a process: connections have buffers of 64 KiB, of which silent ones touch little.
const FLOOD_BYTES_MAX: u64 = 256 << 20;

/// A connection on which nothing is said.
fn silent(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap_or_else(|e| panic!("{address}: {e}"));
    stream.set_read_timeout(Some(ANSWER)).expect("a new socket");
    stream
}

/// What only a cluster that serves can do: values are stored, computed and read, by a client that has just come.
fn check_served(processes: &Processes, name: &str) {
    let client = processes.connect().with_timeout(ANSWER);
    let values = [0.5, -2.0, 1e10];
    client.create(name, &values).unwrap();
    let done = client.apply(name, "example1").unwrap();
    check_example1(&values, &client.get(&done.handle).unwrap()).unwrap();
    client.delete(name).unwrap();
}

fn data_port(client: &Cluster) -> String {
    client.workers().unwrap().remove(0).address
}

fn allow_descriptors(count: u64) {
    let limit = getrlimit(Resource::Nofile);
    let maximum = limit.maximum.unwrap_or(u64::MAX);
    assert!(maximum >= count, "this test needs {count} descriptors; the hard limit is {maximum} (ulimit -Hn)");
    setrlimit(Resource::Nofile, Rlimit { current: Some(count.max(limit.current.unwrap_or(0))), ..limit }).unwrap();
}

fn check_busy(answer: &Value, text: &str) {
    let data = &answer["data"];
    assert_eq!((&answer["type"], &data["code"]), (&"ERROR".into(), &"Busy".into()), "{answer}");
    assert!(data["retryAfterMs"].as_u64().is_some_and(|ms| ms > 0), "{answer}");
    assert!(data["message"].as_str().is_some_and(|message| message.contains(text)), "{answer} lacks '{text}'");
}

#[test]
fn five_thousand_silent_connections_keep_nobody_out() {
    const SILENT: usize = 5000;
    allow_descriptors(SILENT as u64 * 2 + 1000);
    let mut processes = Setup::new().workers(1).replication(1).start();
    let to = [("master", processes.master_address().to_string()), ("w1", data_port(&processes.connect()))];
    let mut open = Vec::new();
    for (name, address) in &to {
        let before = processes.footprint(name).resident;
        open.extend((0..SILENT).map(|_| silent(address)));
        check_served(&processes, name);
        let (memory, threads) = (processes.footprint(name).resident - before, processes.open_things(name)[1]);
        assert!(memory < FLOOD_BYTES_MAX, "{name}: {memory} bytes for {SILENT} silent connections");
        assert!(threads < 1100, "{name}: {threads} threads; the limit is 1024 connections from one address");
    }
    let mut oldest = open.swap_remove(0);
    assert_eq!(oldest.read(&mut [0]).unwrap(), 0, "the oldest was closed for a newer one");
    drop(open);
    check_served(&processes, "afterwards");
    processes.check();
}

#[test]
fn one_address_does_not_take_all_connections_and_room_comes_back() {
    let flags = "--connections-max 40 --connections-per-address 20";
    let mut processes = Setup::new().workers(1).replication(1).master_flags(flags).worker_flags(flags).start();
    let address = processes.master_address().to_string();
    let mut inside = Vec::new();
    let refused = loop {
        assert!(inside.len() < 20, "more than the flag says");
        let mut peer = Raw::connect(&address);
        let answer = peer.ask("{\"type\":\"HELLO\",\"data\":{\"role\":\"client\"}}");
        if answer["type"] != "HELLO" {
            break (peer, answer);
        }
        inside.push(peer);
    };
    let (mut peer, answer) = refused;
    check_busy(&answer, "20 connections from 127.0.0.1");
    peer.wait_end();
    // Our client waits as long as it is told to, and comes again.
    let waiting = {
        let builder = Cluster::builder().masters(&address).timeout(ANSWER).connect_timeout(ANSWER);
        thread::spawn(move || builder.connect().and_then(|client| client.status()).map(|status| status.workers_alive))
    };
    thread::sleep(Duration::from_millis(200));
    assert!(!waiting.is_finished(), "there is no room yet");
    inside.truncate(5);
    assert_eq!(waiting.join().unwrap().unwrap(), 1);
    check_served(&processes, "a");
    processes.check();
}

#[test]
fn who_does_not_read_his_answers_is_not_read_either() {
    const REQUESTS: usize = 100_000;
    let mut processes = Setup::new().workers(1).replication(1).start();
    let before = processes.footprint("master").resident;
    let mut peer = Raw::connect_level_2(processes.master_address());
    let sender = peer.try_clone();
    let flood = thread::spawn(move || {
        let from = "x".repeat(400); // more than sockets keep on their way, some 8 MB
        let mut lines = String::new();
        for id in 1..=REQUESTS {
            lines.push_str(&format!("{{\"type\":\"LIST_WORKERS\",\"from\":\"{from}\",\"id\":{id}}}\n"));
        }
        sender.set_write_patience(Duration::from_secs(60)); // it takes as long as the answers are not read
        sender.send(lines);
    });
    let mut longest = Duration::ZERO;
    for n in 0..20 {
        let began = std::time::Instant::now();
        check_served(&processes, &format!("a{n}"));
        longest = longest.max(began.elapsed());
    }
    let memory = processes.footprint("master").resident.saturating_sub(before);
    assert!(memory < FLOOD_BYTES_MAX, "{memory} bytes for requests whose answers nobody reads");
    assert!(!flood.is_finished(), "the master has taken all requests though nobody reads its answers");
    for id in 1..=REQUESTS {
        let answer = peer.message().line;
        assert_eq!((answer["type"].as_str(), answer["id"].as_u64()), (Some("WORKERS"), Some(id as u64)), "{answer}");
    }
    flood.join().unwrap();
    println!("the slowest round of others took {longest:?}");
    processes.check();
}

#[test]
fn readers_that_never_read_cost_no_memory_and_delay_nobody() {
    const READERS: usize = 50;
    let mut processes = Setup::new().workers(1).replication(1).worker_flags("--no-shared-memory").start();
    let client = processes.connect();
    let len = 1 << 20;
    client.generate("a", &format!("uniform(0, 1, {len})"), &GenerateOptions::default()).unwrap();
    let address = data_port(&client);
    let version = client.describe("a", true).unwrap().handle;
    let version: u64 = version.rsplit_once("@v").unwrap().1.parse().unwrap();
    let before = processes.footprint("w1").resident;
    let mut readers: Vec<Raw> = (0..READERS).map(|_| Raw::connect_level_2(&address)).collect();
    for reader in &readers {
        let mut lines = String::new();
        for id in 1..=64 {
            let get = format!("{{\"version\":{version},\"segment\":{}}}", id % 64);
            lines.push_str(&format!("{{\"type\":\"GET_SEGMENT\",\"id\":{id},\"data\":{get}}}\n"));
        }
        reader.send(lines);
        reader.wait_byte();
    }
    check_served(&processes, "b");
    let values: Vec<f64> = client.get("a").unwrap();
    assert_eq!(values.len(), len);
    let memory = processes.footprint("w1").resident.saturating_sub(before);
    // The 8 MiB of the array 50 times would be 400.
    assert!(memory < 64 << 20, "{memory} bytes for {READERS} readers that do not read");
    let first = readers[0].message();
    assert_eq!(first.line["type"], "SEGMENT");
    processes.check();
}

#[test]
fn sessions_without_end_are_forgotten_not_kept() {
    const SESSIONS: usize = 3000;
    let mut processes = Setup::new().workers(1).replication(1).start();
    processes.connect().create("a", &[1.0]).unwrap();
    let session = || {
        let mut peer = Raw::connect_level_2(processes.master_address());
        let get = peer.ask("{\"type\":\"GET_RESULT\",\"id\":1,\"data\":{\"arrayId\":\"a\"}}");
        assert_eq!(get["type"], "READ_PLAN", "{get}");
    };
    (0..500).for_each(|_| session());
    let before = processes.footprint("master").resident;
    (0..SESSIONS).for_each(|_| session());
    let memory = processes.footprint("master").resident.saturating_sub(before);
    assert!(memory < 32 << 20, "{memory} bytes for {SESSIONS} sessions that are over");
    check_served(&processes, "b");
    processes.check();
}

#[test]
fn one_address_does_not_take_all_requests() {
    let flags = "--requests-per-address 100";
    let mut processes = Setup::new().workers(1).replication(1).master_flags(flags).start();
    let mut peers: Vec<Raw> = (0..2).map(|_| Raw::connect_level_2(processes.master_address())).collect();
    for peer in &peers {
        let mut lines = String::new();
        for id in 1..=50 {
            lines.push_str(&format!(
                "{{\"type\":\"WAIT_WORKERS\",\"id\":{id},\"timeoutMs\":3000,\"data\":{{\"count\":9}}}}\n"
            ));
        }
        peer.send(lines);
    }
    let busy = until("all of them to be pending", ANSWER, || {
        let answer = Raw::connect_level_2(processes.master_address()).ask("{\"type\":\"STATUS\",\"id\":1}");
        (answer["type"] == "ERROR").then_some(answer)
    });
    check_busy(&busy, "100 requests of clients at 127.0.0.1");
    // Ours waits until others are answered, here by their deadlines.
    assert_eq!(processes.connect().status().unwrap().workers_alive, 1);
    for peer in &mut peers {
        for _ in 0..50 {
            assert_eq!(peer.message().line["data"]["code"], "DeadlineExceeded");
        }
    }
    processes.check();
}

#[test]
fn operations_that_do_not_fit_together_wait_for_each_other_and_none_fails() {
    // The array takes 16 MiB, and each result as much: with the one that is replaced there is room for one new one.
    let mut processes = Setup::new().workers(1).replication(1).worker_flags("--memory 60M").start();
    let client = processes.connect();
    let values: Vec<f64> = (0..2 << 20).map(f64::from).collect();
    client.create("a", &values).unwrap();
    let expected: f64 = values.iter().map(|x| example1(*x)).sum();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let client = processes.connect();
                for _ in 0..3 {
                    client.apply("a", "example1").unwrap();
                }
            });
        }
    });
    let result: Vec<f64> = client.get("a").unwrap();
    check_example1(&values, &result).unwrap();
    assert!((result.iter().sum::<f64>() - expected).abs() < 1e-6 * expected.abs());
    let into =
        |name: &str| client.apply_with("a", "x", &ApplyOptions { into: Some(name.into()), ..ApplyOptions::default() });
    into("b").unwrap();
    let error = into("c").unwrap_err().to_string();
    assert!(error.contains("16 MiB needed") && error.contains("w1"), "{error}");
    processes.check();
}
