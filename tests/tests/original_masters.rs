//! Our client and our workers on level 1: with programs that imitate the original's masters, with every defect that was seen in
//! them, and our client with our own master.

use std::fmt::Display;
use std::time::{Duration, Instant};
use tests::harness::oracle::{Numbers, check_example1, check_example2};
use tests::harness::wait::until;
use tests::harness::{Processes, SOON, Setup};

/// Two segments of some thousand elements.
const LEN: usize = 5_000;

/// A Java master with workers that can work for it, which only Python's can. `faults` are of the second one.
fn java(options: &[&str], faults: &[&str]) -> Processes {
    let mut cluster = Setup::new().start_original("java", options);
    cluster.start_imitation("p0", "python", &["--heartbeat", "0.3"]);
    cluster.wait_registered(1);
    cluster.start_imitation("p1", "python", &[&["--heartbeat", "0.3"], faults].concat());
    cluster.wait_registered(2);
    cluster
}

fn json(values: &[impl Display]) -> String {
    format!("[{}]", values.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
}

/// Stores, computes and reads with our client, and compares every value.
fn check(cluster: &Processes, options: &str) {
    let run = |line: &str, input: &str| cluster.client_with_input(&format!("{options} {line}"), input.as_bytes());
    let get = |line: &str| run(line, "").json()["data"].as_array().expect("a list").clone();
    // Python's workers are silent about multiples of 3 that are not positive.
    let ints: Vec<i32> = Numbers::new(1).ints(LEN).into_iter().map(|x| x.abs() + 1).collect();
    run("create ints --dtype int", &json(&ints)).ok();
    run("apply ints example2", "").ok();
    let results: Vec<i32> =
        get("get ints --dtype int --json").iter().map(|x| x.as_i64().expect("an int") as i32).collect();
    check_example2(&ints, &results).unwrap();
    let doubles = Numbers::new(2).doubles(LEN);
    run("create doubles --dtype double", &json(&doubles)).ok();
    run("apply doubles example1", "").ok();
    let results: Vec<f64> = get("get doubles --json").iter().map(|x| x.as_f64().expect("a double")).collect();
    check_example1(&doubles, &results).unwrap();
}

#[test]
fn results_of_a_java_master_are_right() {
    let cluster = java(&[], &[]);
    check(&cluster, "--level auto");
    check(&cluster, "--level 1");
    let ran = cluster.client("list");
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("speaks level 1 only") && ran.err.contains("list needs level 2"), "{}", ran.err);
    assert!(cluster.report("master")["applied"].as_u64() == Some(4), "{}", cluster.report("master"));
}

#[test]
fn a_part_that_a_java_master_calls_complete_is_an_error() {
    let cluster = java(&["--time-scale", "0.1"], &["--faults", "mute-after=1"]);
    let commands = "create-double a 1000\napply a example1\nget a\napply a example1\nget a\n";
    let ran = cluster.client_with_input("", commands.as_bytes());
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert_eq!(ran.out.matches("a, a result: 1000 elements of float64").count(), 1, "{}", ran.out);
    assert!(ran.err.contains("it calls 500 elements complete where 1000 were stored"), "{}", ran.err);
    assert!(cluster.report("master")["bitten"]["partial"].as_u64() > Some(0));
}

#[test]
fn a_master_that_does_not_reply_is_told_of() {
    for (flavour, code, told) in [("java", 4, "while waiting for the whole reply"), ("python", 1, "without a reply")] {
        let cluster = Setup::new().start_original(flavour, &[]);
        let ran = cluster.client("--timeout 2 create-int a 3");
        assert_eq!(ran.code, code, "{flavour}: {}", ran.err);
        assert!(ran.err.contains(told) && ran.err.contains("without workers"), "{flavour}: {}", ran.err);
    }
}

#[test]
fn a_python_master_computes_and_gives_no_results() {
    let mut cluster = Setup::new().start_original("python", &[]);
    cluster.start_imitation("p0", "python", &[]);
    cluster.wait_registered(1);
    let ran = cluster.client_with_input("", b"create-int a 10\napply a example2\nget a\n");
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.out.contains("a: example2 on 'a' is processing"), "{}", ran.out);
    assert!(ran.err.contains("\"Operation completed successfully\"; it gives no results"), "{}", ran.err);
}

#[test]
fn our_master_is_spoken_with_on_either_level() {
    let mut cluster = Setup::new().workers(2).start();
    check(&cluster, "--level 1");
    let both = cluster.connect();
    assert_eq!(both.array_info("ints").unwrap().summary.dtype.name(), "int32");
    // The same seed gives the same numbers on both levels.
    cluster.client("--level 1 create-double a 1000 --seed 7").ok();
    cluster.client("create-double b 1000 --seed 7").ok();
    let array = |name: &str| both.read_bytes(name, true, None, &mut |_| ()).unwrap().1;
    assert_eq!(array("a"), array("b"));
    let ran = cluster.client("--level 1 get a");
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("(UnknownVersion)"), "nothing has been applied: {}", ran.err);
    assert!(cluster.client("--level 1 apply a example2").err.contains("(TypeMismatch)"));
    // While it stands still it says as little as a Java master.
    cluster.pause("master");
    let ran = cluster.client("--timeout 5 list");
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(!ran.err.contains("speaks level 1"), "{}", ran.err);
    cluster.resume("master");
    cluster.kill("master");
    let ran = cluster.client("--timeout 3 list");
    assert_eq!(ran.code, 3, "{}", ran.err);
    cluster.start_master();
    assert!(cluster.client("list").ok().contains("doubles"));
}

/// A master of the original with three of our workers.
fn with_our_workers(flavour: &str, options: &[&str]) -> Processes {
    let mut cluster = Setup::new().start_original(flavour, options);
    for (n, id) in ["w1", "w2", "w3"].into_iter().enumerate() {
        cluster.start_worker(id);
        cluster.wait_registered(n + 1);
    }
    cluster
}

fn check_nobody_lost(cluster: &Processes) {
    let report = cluster.report("master");
    assert_eq!(report["lost"], serde_json::json!([]), "{report}");
}

#[test]
fn our_workers_give_a_java_master_what_its_own_never_could() {
    let cluster = with_our_workers("java", &[]);
    let client = cluster.original_client();
    client.check_doubles("a_b", 1, 60_000);
    client.check_ints("p", 2, 20_000);
    client.check_ints("p_1", 3, 20_000);
    client.check_doubles("gr\u{f6}\u{df}e", 4, 1);
    // Again under the same id: longer, shorter, and of the other type.
    client.check_doubles("a_b", 5, 70_000);
    client.check_doubles("a_b", 6, 100);
    client.check_ints("a_b", 7, 5_000);
    for _ in 0..3 {
        client.apply("p", "example2");
        check_example2(&Numbers::new(2).ints(20_000), &client.ints("p")).unwrap();
    }
    // What can't be done ends at once, and the next operation works.
    let begun = Instant::now();
    client.apply("p", "nonsense");
    assert_eq!(client.doubles("p"), [0.0; 0], "a Java master knows no other way to say no");
    assert!(begun.elapsed() < Duration::from_secs(9), "it did not have to wait for its ten seconds");
    client.apply("p", "example2");
    check_example2(&Numbers::new(2).ints(20_000), &client.ints("p")).unwrap();
    check_nobody_lost(&cluster);
}

#[test]
fn our_workers_give_a_java_master_complete_results_after_a_kill() {
    let mut cluster = with_our_workers("java", &["--time-scale", "0.5"]);
    let client = cluster.original_client();
    let values = Numbers::new(1).doubles(30_000);
    client.create_doubles("a", &values);
    cluster.kill("w2");
    until("the failover", SOON, || {
        let report = cluster.report("master");
        (report["lost"].as_array()?.len() == 1 && !report["recovered"].as_array()?.is_empty()).then_some(())
    });
    // Somebody has two primaries now, where the original's own workers answer for one.
    client.apply("a", "example1");
    check_example1(&values, &client.doubles("a")).unwrap();
    assert_eq!(cluster.report("master")["lost"][0]["worker"], "w2");
}

#[test]
fn a_python_master_does_not_lose_our_workers_over_results_of_any_length() {
    let cluster = with_our_workers("python", &[]);
    let client = cluster.original_client();
    client.create_doubles("a", &Numbers::new(1).doubles(60_000));
    for name in ["b", "c"] {
        client.create_ints(name, &Numbers::new(1).ints(1_000));
    }
    for name in ["a", "b", "c"] {
        let operation = if name == "a" { "example1" } else { "example2" };
        client.apply(name, operation);
    }
    until("all results and some signs of life", SOON, || {
        let report = cluster.report("master");
        (report["results"].as_array()?.len() >= 9 && report["heartbeats"].as_u64() >= Some(6)).then_some(())
    });
    check_nobody_lost(&cluster);
    assert_eq!(cluster.report("master")["registered"].as_array().map(Vec::len), Some(3), "none had to come again");
}
