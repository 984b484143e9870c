//! Real TCP over a network that loses, repeats, delays and reorders packets, and is cut in one direction or between some nodes only:
//! each process in a network namespace, a switch between them. No call may fail for that, and no value be wrong.
//!
//! These need root and a TUN device, so `scripts/prove` runs them: `cargo test --release --workspace --test switch -- --ignored`.

use client::Cluster;
use protocol::message::client::WorkerState;
use std::time::Duration;
use tests::harness::calls::{calls_go_on, check_array, some_values, wait_state};
use tests::harness::oracle::check_example1;
use tests::harness::switch::{Impairment, Switch};
use tests::harness::{CLIENTS, Processes, Setup};

fn with_array() -> (Processes, Cluster, Vec<f64>) {
    let cluster = Setup::new().switch().start();
    let client = cluster.connect();
    let values = some_values(1);
    client.create("a", &values).unwrap();
    (cluster, client, values)
}

/// Everything is as it was, and what was stored is there.
fn all_is_well(cluster: &mut Processes, client: &Cluster, values: &[f64]) {
    cluster.switch().mend();
    cluster.wait_whole(3);
    cluster.check();
    check_array(client, "a", values);
    calls_go_on(client, "afterwards", 99);
}

/// The same for all ways between all nodes.
fn everywhere(cluster: &Processes, impairment: Impairment) {
    cluster.switch().names().for_each(|node| cluster.switch().impair_all_of(node, impairment));
}

#[test]
#[ignore = "needs root and a TUN device"]
fn packets_that_are_lost_repeated_or_late_change_no_value() {
    let (mut cluster, client, values) = with_array();
    let (delay, jitter) = (Duration::from_millis(1), Duration::from_millis(4));
    let impairment = Impairment { loss: 0.02, duplication: 0.05, delay, jitter, bytes_per_second: None };
    everywhere(&cluster, impairment);
    let before = cluster.switch().counts();
    for round in 0..5 {
        calls_go_on(&client, &format!("b{round}"), round);
    }
    let now = cluster.switch().counts();
    assert!(now.lost > before.lost && now.repeated > before.repeated && now.overtaken > before.overtaken, "{now:?}");
    all_is_well(&mut cluster, &client, &values);
}

#[test]
#[ignore = "needs root and a TUN device"]
fn a_slow_network_whose_queues_are_full_is_no_reason_to_take_anybody_for_dead() {
    let (mut cluster, client, values) = with_array();
    let incidents = client.incidents().unwrap().len();
    let lost = cluster.switch().counts().lost;
    everywhere(&cluster, Impairment { bytes_per_second: Some(3_000_000), ..Impairment::default() });
    calls_go_on(&client, "b", 2);
    assert!(cluster.switch().counts().lost > lost, "no queue was full");
    assert_eq!(client.incidents().unwrap().len(), incidents);
    all_is_well(&mut cluster, &client, &values);
}

/// Nothing gets through between w2 and any other node, in the direction that `cut` cuts.
fn cut_off_in_one_direction(cut: impl Fn(&Switch, &str)) {
    let (mut cluster, client, values) = with_array();
    let switch = cluster.switch();
    switch.names().filter(|node| *node != "w2").for_each(|other| cut(switch, other));
    calls_go_on(&client, "b", 2);
    wait_state(&client, "w2", WorkerState::Down);
    all_is_well(&mut cluster, &client, &values);
}

#[test]
#[ignore = "needs root and a TUN device"]
fn a_worker_that_is_heard_by_nobody_is_replaced_and_comes_back() {
    cut_off_in_one_direction(|switch, other| switch.impair("w2", other, Impairment::CUT));
}

#[test]
#[ignore = "needs root and a TUN device"]
fn a_worker_that_hears_nobody_is_replaced_and_comes_back() {
    cut_off_in_one_direction(|switch, other| switch.impair(other, "w2", Impairment::CUT));
}

/// The master and the clients reach both: a bridge. Nobody is taken for dead, and copies find another way.
#[test]
#[ignore = "needs root and a TUN device"]
fn two_workers_that_do_not_reach_each_other_both_serve() {
    let (mut cluster, client, values) = with_array();
    cluster.switch().impair_both("w1", "w2", Impairment::CUT);
    calls_go_on(&client, "b", 2);
    for worker in ["w1", "w2"] {
        wait_state(&client, worker, WorkerState::Alive);
    }
    all_is_well(&mut cluster, &client, &values);
}

#[test]
#[ignore = "needs root and a TUN device"]
fn a_worker_that_clients_do_not_reach_is_gone_around() {
    let (mut cluster, client, values) = with_array();
    cluster.switch().impair_both(CLIENTS, "w3", Impairment::CUT);
    check_array(&client, "a", &values);
    calls_go_on(&client, "b", 2);
    all_is_well(&mut cluster, &client, &values);
}

#[test]
#[ignore = "needs root and a TUN device"]
fn a_master_that_is_cut_off_from_everybody_finds_all_as_it_was() {
    let (mut cluster, client, values) = with_array();
    cluster.switch().impair_all_of("master", Impairment::CUT);
    std::thread::scope(|scope| {
        let apply = scope.spawn(|| client.apply("a", "example1"));
        std::thread::sleep(Duration::from_secs(3)); // longer than a silent node is waited for
        assert!(!apply.is_finished());
        cluster.switch().mend();
        let done = apply.join().unwrap().unwrap();
        check_example1(&values, &client.get(&done.handle).unwrap()).unwrap();
    });
    all_is_well(&mut cluster, &client, &values);
}
