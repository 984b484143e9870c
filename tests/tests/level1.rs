//! Original workers and clients under our master.
//!
//! The workers are programs that imitate the original's, with every defect that was seen in them switched on; a defect that
//! comes to bear says so in the worker's report. So each rule of the master is tried in two ways: the values are right, and
//! nothing has bitten. That the defects do bite a master without the rules is shown by `tests/interop/selftest`.

use protocol::message::client::WorkerState;
use std::thread;
use std::time::Duration;
use tests::harness::level1::OriginalClient;
use tests::harness::oracle::{Numbers, check_example1, check_example2};
use tests::harness::wait::until;
use tests::harness::{Processes, SOON, Setup};

/// Some 5 segments, each less than a piece.
const LEN: usize = 20_000;

/// Our own workers are started by name, so that those of level 1 come first where that matters.
fn cluster(level_1: &[(&str, &str, &[&str])], ours: usize) -> Processes {
    let mut cluster = Setup::new().workers(0).start();
    for (id, flavour, options) in level_1 {
        cluster.start_imitation(id, flavour, options);
    }
    for n in 1..=ours {
        cluster.start_worker(&format!("w{n}"));
    }
    cluster.wait_alive(level_1.len() + ours);
    cluster
}

/// The worker has computed, and none of its defects came to bear.
fn check_unbitten(cluster: &Processes, id: &str) {
    let report = cluster.report(id);
    assert!(report["computed"].as_u64() > Some(0), "{id} took no part: {report}");
    assert_eq!(report["bitten"], serde_json::json!({}), "{id}");
}

#[test]
fn java_and_python_workers_compute_arrays_of_any_name() {
    let cluster = cluster(&[("worker-J0", "java", &[]), ("worker-P0", "python", &[])], 0);
    let client = cluster.original_client();
    for (seed, name) in ["plain", "a_b", "x_5", "p", "p_1", "größe", "数_列", "p_1_"].into_iter().enumerate() {
        client.check_doubles(name, seed as u64, LEN);
        client.check_ints(&format!("{name}_int"), seed as u64, LEN);
    }
    check_unbitten(&cluster, "worker-J0");
    check_unbitten(&cluster, "worker-P0");
}

#[test]
fn several_arrays_at_once_dead_lock_nobody() {
    for flavour in ["java", "python"] {
        let cluster = cluster(&[("only", flavour, &[])], 0);
        let client = cluster.original_client();
        thread::scope(|scope| {
            for n in 0..6 {
                let client = &client;
                scope.spawn(move || client.check_doubles(&format!("a{n}"), n, LEN));
            }
        });
        check_unbitten(&cluster, "only");
    }
}

#[test]
fn repeated_and_alternating_operations_give_what_was_asked_for() {
    let cluster = cluster(&[("j", "java", &[]), ("p", "python", &[])], 0);
    let client = cluster.original_client();
    for round in 0..3 {
        client.check_ints("same", round, 5_000);
        client.check_doubles("same", round, 6_000);
        let values = Numbers::new(round).doubles(6_000);
        for _ in 0..3 {
            client.apply("same", "example1");
            check_example1(&values, &client.doubles("same")).unwrap();
        }
    }
    check_unbitten(&cluster, "j");
    check_unbitten(&cluster, "p");
}

#[test]
fn values_that_original_workers_are_silent_about_have_results() {
    let cluster = cluster(&[("j", "java", &[]), ("p", "python", &[])], 0);
    let client = cluster.original_client();
    let ints = [0, -3, -6, -1, 1, 3, i32::MIN, i32::MAX, 999, 1002, -999_999].repeat(2_000);
    client.create_ints("ints", &ints);
    client.apply("ints", "example2");
    check_example2(&ints, &client.ints("ints")).unwrap();
    let doubles = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 5e-324, f64::MAX, 1e22, 2.5].repeat(2_000);
    client.create_doubles("doubles", &doubles);
    client.apply("doubles", "example1");
    for (value, result) in doubles.iter().zip(client.doubles("doubles")) {
        match value.is_finite() {
            true => check_example1(&[*value], &[result]).unwrap(),
            false => assert!(result.is_nan(), "{value} gave {result}"),
        }
    }
    check_unbitten(&cluster, "j");
    check_unbitten(&cluster, "p");
}

#[test]
fn empty_and_single_element_arrays_need_no_worker_that_knows_them() {
    let cluster = cluster(&[("j", "java", &[]), ("p", "python", &[])], 0);
    let client = cluster.original_client();
    client.create_doubles("empty", &[]);
    client.apply("empty", "example1");
    assert_eq!(client.doubles("empty"), [0.0; 0]);
    client.check_doubles("one", 1, 1);
    for id in ["j", "p"] {
        assert_eq!(cluster.report(id)["bitten"], serde_json::json!({}));
    }
}

#[test]
fn a_result_of_megabytes_is_whole() {
    let cluster = cluster(&[("p0", "python", &[]), ("p1", "python", &[])], 0);
    cluster.original_client().check_doubles("long", 1, 300_000);
    check_unbitten(&cluster, "p0");
}

#[test]
fn a_result_torn_by_a_heartbeat_is_asked_for_again() {
    // Lines of segments of 4,096 doubles are about 75 KB, so only a segment of a longer array is torn; it comes in one
    // piece of 8,192 doubles.
    let cluster = cluster(&[("p", "python", &["--quirks", "torn-heartbeat=100000", "--heartbeat", "0.2"])], 2);
    cluster.original_client().check_doubles("long", 1, 500_000);
    let report = cluster.report("p");
    assert!(report["bitten"]["torn-heartbeat"].as_u64() > Some(0), "nothing was torn: {report}");
}

#[test]
fn a_killed_worker_is_no_reason_for_a_short_answer() {
    for (killed, stays) in [("java", "python"), ("python", "java"), ("java", "java")] {
        let mut cluster = cluster(&[("killed", killed, &[]), ("stays", stays, &[]), ("third", "java", &[])], 0);
        let client = cluster.original_client();
        let values = Numbers::new(3).doubles(LEN);
        client.create_doubles("a_b", &values);
        cluster.kill("killed");
        client.apply("a_b", "example1");
        check_example1(&values, &client.doubles("a_b")).unwrap();
        cluster.wait_whole(2);
        cluster.kill("third");
        client.apply("a_b", "example1");
        check_example1(&values, &client.doubles("a_b")).unwrap();
        check_unbitten(&cluster, "stays");
    }
}

#[test]
fn a_worker_that_dies_of_its_work_loses_it_to_others() {
    let dies: &[&str] = &["--faults", "die-on-process"];
    let cluster = cluster(&[("dies", "java", dies), ("lives", "java", &[]), ("lives-too", "python", &[])], 0);
    cluster.original_client().check_doubles("a", 1, LEN);
    until("the death of the worker to be known", SOON, || {
        let workers = cluster.connect().workers().unwrap();
        workers.iter().any(|worker| worker.id == "dies".into() && worker.state == WorkerState::Down).then_some(())
    });
}

#[test]
fn a_mute_worker_keeps_nobody_waiting_when_one_of_ours_has_the_values() {
    let mute: &[&str] = &["--faults", "mute-after=1"];
    let cluster = cluster(&[("mute", "java", mute)], 2);
    let client = cluster.connect();
    let values = Numbers::new(5).doubles(500_000);
    client.create("a", &values).unwrap();
    let done = client.apply("a", "example1").unwrap();
    check_example1(&values, &client.get(&done.handle).unwrap()).unwrap();
    assert!(done.redispatched > 0, "the mute one was waited for: {done:?}");
    assert!(done.elapsed_us < 20_000_000, "less than it takes to give it up");
    assert!(
        done.exact == (cluster.report("mute")["computed"].as_u64() == Some(0)),
        "the reply says whose bits they are"
    );
}

#[test]
fn a_mute_worker_is_given_up_and_its_work_goes_to_another_of_its_kind() {
    let mute: &[&str] = &["--faults", "mute-after=1"];
    let cluster = cluster(&[("mute", "python", mute), ("speaks", "java", &[])], 0);
    cluster.original_client().check_doubles("a", 5, LEN);
    let log = cluster.log_text("master");
    assert!(log.contains("worker mute of level 1 is gone: it gives signs of life, but does not answer"), "{log}");
    check_unbitten(&cluster, "speaks");
}

#[test]
fn a_silent_worker_is_dead_after_ten_seconds() {
    let silent: &[&str] = &["--faults", "no-heartbeat"];
    let cluster = cluster(&[("silent", "python", silent), ("speaks", "python", &[])], 0);
    let client = cluster.connect();
    until("the silent worker to be down", SOON, || (client.status().unwrap().workers_alive == 1).then_some(()));
    assert!(cluster.log_text("master").contains("worker silent of level 1 is gone"));
    cluster.original_client().check_doubles("a", 1, LEN);
}

#[test]
fn a_new_process_under_the_id_of_a_killed_one_begins_with_nothing_and_counts() {
    let mut cluster = cluster(&[("j", "java", &[]), ("p", "python", &[])], 0);
    let client = cluster.original_client();
    let values = Numbers::new(8).doubles(LEN);
    client.create_doubles("a", &values);
    cluster.kill("j");
    cluster.start_imitation("j", "java", &[]);
    cluster.wait_whole(2);
    cluster.kill("p");
    client.apply("a", "example1");
    check_example1(&values, &client.doubles("a")).unwrap();
    check_unbitten(&cluster, "j");
}

#[test]
fn a_second_process_under_a_live_id_replaces_the_first() {
    let mut cluster = cluster(&[("j", "java", &[]), ("p", "python", &[])], 0);
    let client = cluster.original_client();
    let values = Numbers::new(8).doubles(LEN);
    client.create_doubles("a", &values);
    // The first one stays as it is and loses its connection, as a frozen machine would.
    cluster.start_imitation_beside("j", "java", &[]);
    until("the old connection to end", SOON, || {
        cluster.log_text("master").contains("worker j of level 1 has registered anew").then_some(())
    });
    cluster.wait_whole(2);
    cluster.kill("p");
    cluster.wait_alive(1);
    client.apply("a", "example1");
    check_example1(&values, &client.doubles("a")).unwrap();
}

#[test]
fn a_worker_with_one_core_is_kept_out_of_the_way() {
    let cluster = cluster(&[("single", "java", &["--cores", "1"]), ("p", "python", &[])], 0);
    cluster.original_client().check_doubles("a", 1, LEN);
    let report = cluster.report("single");
    assert_eq!((&report["computed"], &report["bitten"]), (&0.into(), &serde_json::json!({})));
    check_unbitten(&cluster, "p");
}

#[test]
fn original_and_our_workers_mix_and_ours_keep_a_copy_of_everything() {
    let mut cluster = cluster(&[("j", "java", &[]), ("p", "python", &[])], 2);
    let (client, ours) = (cluster.original_client(), cluster.connect());
    let values = Numbers::new(9).doubles(300_000);
    client.create_doubles("a", &values);
    client.apply("a", "example1");
    check_example1(&values, &client.doubles("a")).unwrap();
    check_unbitten(&cluster, "j");
    check_unbitten(&cluster, "p");
    // Both originals at once, and the master with all it kept for them: what is left has everything.
    cluster.kill("j");
    cluster.kill("p");
    cluster.restart_master();
    cluster.wait_whole(2);
    assert_eq!(ours.get::<f64>(&ours.array_info("a").unwrap().summary.handle).unwrap(), values);
    client.apply("a", "example1");
    check_example1(&values, &client.doubles("a")).unwrap();
}

#[test]
fn slow_workers_take_part_and_are_not_given_up() {
    let slow: &[&str] = &["--faults", "slow=1"];
    let cluster = cluster(&[("slow", "java", slow), ("quick", "java", &[])], 0);
    cluster.original_client().check_doubles("a", 1, LEN);
    check_unbitten(&cluster, "slow");
    assert_eq!(cluster.connect().status().unwrap().workers_alive, 2);
}

#[test]
fn clients_of_both_levels_see_the_same_arrays() {
    let cluster = cluster(&[], 2);
    let (level_1, level_2) = (cluster.original_client(), cluster.connect());
    let values = Numbers::new(1).doubles(LEN);
    level_2.create("a", &values).unwrap();
    level_1.apply("a", "example1");
    let result = level_1.doubles("a");
    check_example1(&values, &result).unwrap();
    assert_eq!(level_2.get::<f64>("a").unwrap(), result, "to the last bit");
    level_1.create_ints("a", &[1, 2, 3]);
    assert_eq!(level_2.get::<i32>("a").unwrap(), [1, 2, 3], "replaced, with another type");
}

#[test]
fn a_get_waits_for_the_newest_operation_accepted_before_it() {
    let cluster = cluster(&[("slow", "java", &["--faults", "slow=0.5"])], 0);
    let client = cluster.original_client();
    for round in 0..3 {
        client.check_doubles("a", round, 8_000);
    }
}

#[test]
fn memory_of_the_master_is_a_limit_for_level_1_alone() {
    let cluster = Setup::new().workers(2).master_flags("--memory 4M").start();
    let values = Numbers::new(1).doubles(1_000_000);
    cluster.connect().create("big", &values).unwrap(); // 8 MB that never see the master
    let client = cluster.original_client();
    let stays = client.begin(
        &protocol::level1::LineWriter::new("CREATE_ARRAY", "client", "master")
            .text("arrayId", "a")
            .text("dataType", "double")
            .doubles("values", &values)
            .finish(),
    );
    let answer = OriginalClient::read(stays.try_clone().unwrap());
    assert_eq!(answer.status, "error");
    assert!(answer.text.as_ref().is_some_and(|text| text.contains("4 MiB") && text.contains("--memory")), "{answer:?}");
    client.check_doubles("small", 1, 10_000); // though that connection is still there
    drop(stays);
    let waiting = Duration::from_secs(10);
    until("the memory to be given back", waiting, || {
        let answer = client.send(b"{\"type\":\"GET_RESULT\",\"data\":{\"arrayId\":\"small\"}}");
        (answer.status == "complete").then_some(())
    });
}
