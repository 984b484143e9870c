//! Links that are late, slow, cut, reset, or damage what goes over them, between real processes. No call may fail for that, and no
//! value be wrong.

use client::Cluster;
use protocol::message::client::WorkerState;
use std::thread;
use std::time::{Duration, Instant};
use tests::harness::calls::{calls_go_on, check_array, some_values, state_of, wait_state};
use tests::harness::links::Link;
use tests::harness::oracle::check_example1;
use tests::harness::proxy::{Direction, Quality};
use tests::harness::wait::until;
use tests::harness::{Processes, SOON, Setup};

/// How soon calls must go on when a worker cannot be reached: the cluster and the clients notice within three seconds, one after
/// the other; far below the deadline of a call, on a busy machine too.
const GOES_ON_WITHIN: Duration = Duration::from_secs(20);

/// A cluster with links, and `a` in it.
fn with_array(setup: Setup) -> (Processes, Cluster, Vec<f64>) {
    let cluster = setup.links().start();
    let client = cluster.connect();
    let values = some_values(1);
    client.create("a", &values).unwrap();
    (cluster, client, values)
}

/// Stores, computes and reads, all that within a time.
fn calls_go_on_within(client: &Cluster, name: &str, seed: u64, within: Duration) {
    let began = Instant::now();
    calls_go_on(client, name, seed);
    let took = began.elapsed();
    assert!(took < within, "it took {took:?}");
}

/// Everything is as it was, and what was stored is there.
fn all_is_well(cluster: &mut Processes, client: &Cluster, workers: usize, values: &[f64]) {
    cluster.links().mend();
    cluster.wait_whole(workers);
    cluster.check();
    check_array(client, "a", values);
    calls_go_on_within(client, "afterwards", 99, GOES_ON_WITHIN);
}

// ---- cut ----

fn cut_off_in_one_direction(direction: Direction) {
    let (mut cluster, client, values) = with_array(Setup::new());
    cluster.links().get(&Link::control("w2")).cut(direction);
    calls_go_on_within(&client, "b", 2, GOES_ON_WITHIN);
    wait_state(&client, "w2", WorkerState::Down);
    all_is_well(&mut cluster, &client, 3, &values);
}

#[test]
fn a_worker_that_the_master_does_not_hear_is_replaced_and_comes_back() {
    cut_off_in_one_direction(Direction::There);
}

#[test]
fn a_worker_that_does_not_hear_the_master_is_replaced_and_comes_back() {
    cut_off_in_one_direction(Direction::Back);
}

#[test]
fn a_worker_cut_off_from_the_master_only_is_replaced_and_comes_back() {
    let (mut cluster, client, values) = with_array(Setup::new());
    Direction::BOTH.into_iter().for_each(|direction| cluster.links().get(&Link::control("w2")).cut(direction));
    calls_go_on_within(&client, "b", 2, GOES_ON_WITHIN);
    wait_state(&client, "w2", WorkerState::Down);
    all_is_well(&mut cluster, &client, 3, &values);
}

#[test]
fn a_worker_that_is_alone_is_replaced_and_comes_back() {
    let (mut cluster, client, values) = with_array(Setup::new());
    cluster.links().isolate("w3");
    check_array(&client, "a", &values);
    calls_go_on_within(&client, "b", 2, GOES_ON_WITHIN);
    wait_state(&client, "w3", WorkerState::Down);
    all_is_well(&mut cluster, &client, 3, &values);
}

/// The master has no reason to take such a worker for dead: clients and workers have to find their way around it.
fn data_port_cut(directions: &[Direction]) {
    let (mut cluster, client, values) = with_array(Setup::new());
    let cut = || directions.iter().for_each(|direction| cluster.links().get(&Link::data("w1")).cut(*direction));
    cut();
    check_array(&client, "a", &values);
    calls_go_on_within(&client, "b", 2, GOES_ON_WITHIN);
    assert_eq!(state_of(&client, "w1"), Some(WorkerState::Alive));
    all_is_well(&mut cluster, &client, 3, &values);
}

#[test]
fn a_data_port_that_hears_nothing_is_gone_around() {
    data_port_cut(&[Direction::There]);
}

#[test]
fn a_data_port_whose_answers_do_not_arrive_is_gone_around() {
    data_port_cut(&[Direction::Back]);
}

#[test]
fn a_data_port_that_is_cut_off_is_gone_around() {
    data_port_cut(&Direction::BOTH);
}

#[test]
fn a_data_port_that_vanishes_in_the_middle_of_a_segment_is_gone_around() {
    let (mut cluster, client, values) = with_array(Setup::new());
    let swallowing = Quality { swallowing: true, ..Quality::default() };
    for direction in Direction::BOTH {
        let link = cluster.links().get(&Link::data("w1"));
        let passed = link.passed(direction);
        let slow = Quality { bytes_per_second: Some(5_000_000), ..Quality::default() };
        link.set(direction, slow);
        thread::scope(|scope| {
            let call = scope.spawn(|| calls_go_on_within(&client, &format!("{direction:?}"), 5, GOES_ON_WITHIN));
            until("bytes on their way", SOON, || (link.passed(direction) > passed + 100_000).then_some(()));
            link.set(direction, swallowing);
            call.join().unwrap();
        });
        link.mend();
        link.reset(); // what is in the middle of a swallowed message is of no use to anybody
    }
    all_is_well(&mut cluster, &client, 3, &values);
}

#[test]
fn clients_cut_off_from_the_master_go_on_when_they_reach_it_again() {
    let (mut cluster, client, values) = with_array(Setup::new());
    for directions in [&[Direction::There][..], &[Direction::Back], &Direction::BOTH] {
        let link = cluster.links().get(&Link::Clients);
        directions.iter().for_each(|direction| link.cut(*direction));
        thread::scope(|scope| {
            let apply = scope.spawn(|| client.apply("a", "example1"));
            thread::sleep(Duration::from_secs(2)); // longer than anybody waits for an answer before he asks again
            assert!(!apply.is_finished());
            link.mend();
            let done = apply.join().unwrap().unwrap();
            check_example1(&values, &client.get(&done.handle).unwrap()).unwrap();
        });
    }
    all_is_well(&mut cluster, &client, 3, &values);
}

// ---- reset, damaged ----

/// Spoils links one after the other while clients store, compute and read, until each was spoiled so many times.
fn under_spoiling(
    times: usize,
    which: impl Fn(&Link) -> bool,
    spoil: impl Fn(&Link, &tests::harness::proxy::Proxy) -> bool,
) {
    let (mut cluster, client, values) = with_array(Setup::new());
    let is_over = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|n| {
                let (client, is_over) = (cluster.connect(), &is_over);
                scope.spawn(move || {
                    for round in 0.. {
                        calls_go_on_within(&client, &format!("c{n}-{round}"), n * 100 + round, GOES_ON_WITHIN);
                        client.delete(&format!("c{n}-{round}")).unwrap();
                        if is_over.load(std::sync::atomic::Ordering::Relaxed) {
                            return;
                        }
                    }
                })
            })
            .collect();
        for (link, proxy) in (0..times).flat_map(|_| cluster.links().iter()).filter(|(link, _)| which(link)) {
            until(&format!("{link:?} to be spoiled"), SOON, || {
                let has_failed = clients.iter().any(|client| client.is_finished());
                (has_failed || spoil(link, proxy)).then_some(())
            });
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    all_is_well(&mut cluster, &client, 3, &values);
}

#[test]
fn connections_that_are_reset_are_opened_anew() {
    under_spoiling(10, |_| true, |_, proxy| proxy.reset() > 0);
}

#[test]
fn bytes_that_are_damaged_are_noticed_and_sent_again() {
    let is_data = |link: &Link| matches!(link, Link::Data(_));
    under_spoiling(10, is_data, |_, proxy| {
        Direction::BOTH.into_iter().for_each(|direction| proxy.damage(direction));
        until("the damage to be done", SOON, || (!proxy.is_damage_pending(Direction::There)).then_some(()));
        true
    });
}

/// A flipped bit may leave a line that can be read and says something else, such as another request number; its checksum tells.
#[test]
fn lines_that_are_damaged_are_noticed_and_said_again() {
    let is_to_the_master = |link: &Link| !matches!(link, Link::Data(_));
    under_spoiling(10, is_to_the_master, |_, proxy| {
        proxy.damage(Direction::There);
        until("the damage to be done", SOON, || (!proxy.is_damage_pending(Direction::There)).then_some(()));
        true
    });
}

// ---- late, slow ----

#[test]
fn late_and_slow_links_are_no_reason_to_take_anybody_for_dead() {
    let (mut cluster, client, values) = with_array(Setup::new());
    let incidents = client.incidents().unwrap().len();
    let (delay, jitter) = (Duration::from_millis(25), Duration::from_millis(50));
    let quality = Quality { delay, jitter, bytes_per_second: Some(20_000_000), ..Quality::default() };
    cluster.links().iter().for_each(|(_, proxy)| proxy.set_both(quality));
    calls_go_on_within(&client, "b", 2, SOON);
    assert_eq!(client.incidents().unwrap().len(), incidents);
    all_is_well(&mut cluster, &client, 3, &values);
}
