//! Chaos on real processes: three copies, six workers, seven clients that never stop, and kills, pauses, restarts and spoiled
//! links at moments that a seed decides. No call may fail, every value is checked, and what clients see of the names that they
//! share must be linearizable.
//!
//! `CHAOS_SECONDS=600 CHAOS_ELEMENTS=1000000 CHAOS_SEED=7 CHAOS_FAULTS_MIN=150 cargo test --release --workspace --test chaos --
//! --nocapture --test-threads=1` is the long form, for hours if you like; `scripts/prove` runs it. The seed decides what is done, not
//! what the machine makes of it: a failure may need some runs to come again. `CHAOS_TOLD=1` tells every wave.
//!
//! [`faults`] is what is done to the cluster, [`own`] and [`shared`] are the clients, [`course`] is what all threads share.

mod course;
mod faults;
mod own;
mod shared;

use client::Cluster;
use course::Course;
use faults::{Faults, Network};
use std::thread;
use std::time::Duration;
use tests::harness::Setup;
use tests::harness::wait::until;

const WORKERS: usize = 6;
const REPLICATION: u32 = 3;
const OWN_CLIENTS: u64 = 4;
const SHARING_CLIENTS: u64 = 3;

/// How long memory that nobody needs may stay in use.
const FREED_WITHIN: Duration = Duration::from_secs(30);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|e| panic!("{name}: {e}")))
}

fn seconds() -> u64 {
    setting("CHAOS_SECONDS", 20)
}

#[test]
fn no_call_fails_and_no_value_is_wrong() {
    run(Setup::new().links(), Network::Links, seconds(), setting("CHAOS_FAULTS_MIN", 3));
}

/// The bytes of arrays take another way where no link is between the processes, and there is nothing to spoil but processes.
#[test]
fn nor_when_the_bytes_go_through_shared_memory() {
    run(Setup::new(), Network::Plain, seconds() / 4, 1);
}

/// As the first one, with packets instead of connections spoiled.
#[test]
#[ignore = "needs root and a TUN device"]
fn nor_when_the_network_loses_packets() {
    run(Setup::new().switch(), Network::Switch, seconds(), setting("CHAOS_FAULTS_MIN", 3));
}

fn run(setup: Setup, network: Network, seconds: u64, faults_min: u64) {
    let seed = setting("CHAOS_SEED", 1);
    let elements = setting("CHAOS_ELEMENTS", 200_000);
    let mut cluster = setup.workers(WORKERS).replication(REPLICATION).start();
    let watcher = cluster.connect_directly();
    let course = Course::new();
    let own: Vec<_> =
        (0..OWN_CLIENTS).map(|n| own::Client::new(n, seed, elements, cluster.connect(), &course)).collect();
    let sharing: Vec<_> =
        (0..SHARING_CLIENTS).map(|n| shared::Client::new(n, seed, cluster.connect(), &course)).collect();
    let mut faults = Faults::new(&mut cluster, &watcher, seed, network, &course);
    thread::scope(|scope| {
        own.into_iter().for_each(|mut client| drop(scope.spawn(move || client.run())));
        sharing.into_iter().for_each(|mut client| drop(scope.spawn(move || client.run())));
        // Clients end, whatever happens here.
        let waves =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| faults.go_on(Duration::from_secs(seconds))));
        course.end();
        if let Err(panic) = waves {
            std::panic::resume_unwind(panic);
        }
    });
    let operations = course.judge_histories();
    let failures = course.failures();
    assert!(failures.is_empty(), "seed {seed}\n{}\n{failures}", faults.told());
    let done = faults.count();
    if std::env::var_os("CHAOS_TOLD").is_some() {
        println!("{}", faults.told());
    }
    println!(
        "chaos: seed {seed}, {seconds} s, {elements} elements: {done} faults: {}; {}; {operations} operations on shared names, \
         linearizable; {}",
        faults.summary(),
        course.summary(),
        course::incidents_summary(&watcher),
    );
    assert!(done >= faults_min, "only {done} faults in {seconds} s");
    nothing_is_left(&watcher);
}

/// When everything is deleted, no worker keeps a byte: nothing was forgotten.
fn nothing_is_left(watcher: &Cluster) {
    for array in watcher.arrays().unwrap() {
        watcher.delete(&array.array_id).unwrap();
    }
    until("the memory of everything deleted", FREED_WITHIN, || {
        let status = watcher.status().ok()?;
        (status.memory_used_bytes == 0 && status.uploads == 0 && status.running_operations == 0).then_some(())
    });
}
