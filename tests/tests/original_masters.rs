//! Our client on level 1: with programs that imitate the original's masters, with every defect that was seen in them, and with our
//! own master.

use std::fmt::Display;
use tests::harness::oracle::{Numbers, check_example1, check_example2};
use tests::harness::{Processes, Setup};

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
