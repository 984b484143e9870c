//! What many tests ask a whole cluster for.

use super::SOON;
use super::oracle::{Numbers, check_example1};
use super::wait::until;
use client::Cluster;
use protocol::message::client::WorkerState;

/// So many random doubles that every worker of three has sixteen segments or more.
pub fn some_values(seed: u64) -> Vec<f64> {
    const LEN: usize = 500_000;
    Numbers::new(seed).doubles(LEN)
}

/// Stores, computes and reads an array of that name, and compares every value.
pub fn calls_go_on(client: &Cluster, name: &str, seed: u64) {
    let values = some_values(seed);
    client.create(name, &values).unwrap();
    let done = client.apply(name, "example1").unwrap();
    check_example1(&values, &client.get(&done.handle).unwrap()).unwrap();
}

/// An array itself is what was stored, whatever was computed of it.
pub fn check_array(client: &Cluster, name: &str, values: &[f64]) {
    let handle = client.array_info(name).unwrap().summary.handle;
    assert!(client.get::<f64>(&handle).unwrap() == values, "other values than were stored");
}

/// The state of a worker, if it is known.
pub fn state_of(client: &Cluster, worker: &str) -> Option<WorkerState> {
    let workers = client.workers().unwrap();
    workers.into_iter().find(|found| found.id.as_str() == worker).map(|found| found.state)
}

/// Waits until a worker is in a state.
pub fn wait_state(client: &Cluster, worker: &str, state: WorkerState) {
    until(&format!("{worker} to be {state:?}"), SOON, || (state_of(client, worker) == Some(state)).then_some(()));
}
