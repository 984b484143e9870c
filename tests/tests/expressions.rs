//! Expressions, reductions and generated arrays on real processes: bad ones, workers that die in the middle, the same bits on any
//! layout, and what EXPLAIN foretells beside the receipt.

use client::{ApplyOptions, Cluster, GenerateOptions};
use protocol::message::client::{Receipt, ReductionComplete};
use protocol::{ErrorCode, WireError};
use std::thread;
use tests::harness::oracle::Numbers;
use tests::harness::wait::until;
use tests::harness::{Processes, SOON, Setup};

/// 62 segments.
const LEN: usize = 1_000_000;

/// Every reduction there is.
const REDUCTIONS: &str = "sum(x), prod(where(x > 50, 1.0001, 0.9999)), min(x), max(x), argmin(x), argmax(x), mean(x), var(x), \
                          std(x), count(x > 0), any(x > 99.9999), all(x > -200), sum(sin(x) * exp(x / 50))";

/// A cluster with `a`, a million doubles, and `n`, as many ints from -1000 to 2000.
fn with_arrays(setup: Setup) -> (Processes, Cluster) {
    let cluster = setup.start();
    let client = cluster.connect();
    client.create("a", &Numbers::new(1).doubles(LEN)).unwrap();
    client.create("n", &Numbers::new(2).ints(LEN)).unwrap();
    (cluster, client)
}

fn refusal(error: client::Error) -> WireError {
    match error {
        client::Error::Refused(refusal) => refusal,
        other => panic!("not a refusal: {other}"),
    }
}

fn memory_used(client: &Cluster) -> u64 {
    client.status().unwrap().memory_used_bytes
}

/// Waits until the workers have told that they use so much.
fn wait_memory(client: &Cluster, bytes: u64) {
    until(&format!("{bytes} bytes in use"), SOON, || (memory_used(client) == bytes).then_some(()));
}

fn values(complete: &ReductionComplete) -> Vec<String> {
    complete.values.iter().map(|value| format!("{} = {} {}", value.reduction, value.dtype, value.value)).collect()
}

fn into(name: &str) -> ApplyOptions {
    ApplyOptions { into: Some(name.to_string()), ..ApplyOptions::default() }
}

// ---- what cannot be ----

#[test]
fn bad_expressions_are_refused_with_their_place_and_harm_nobody() {
    let (mut cluster, client) = with_arrays(Setup::new());
    client.create("short", &[1.0, 2.0]).unwrap();
    client.create("large", &[1.0, 1e12, 3.0]).unwrap();
    let mut ints = Numbers::new(3).ints(LEN);
    ints.iter_mut().for_each(|value| *value |= 1);
    ints[500_001] = 0; // in the middle of a segment
    client.create("divisor", &ints).unwrap();
    let before = 2 * (LEN as u64 * 16 + 5 * 8);
    wait_memory(&client, before);

    let long = format!("x{}", " + x".repeat(1 << 18));
    let deep = format!("{}x{}", "(".repeat(10_000), ")".repeat(10_000));
    let unary = format!("{}x", "-".repeat(10_000));
    let calls = format!("{}x{}", "sqrt(".repeat(2_000), ")".repeat(2_000));
    let bad = ErrorCode::BadExpression;
    let cases: [(&str, &str, ErrorCode, &str, Option<u32>); 11] = [
        ("a", &long, bad, "", None),
        ("a", &deep, bad, "", None),
        ("a", &unary, bad, "", None),
        ("a", &calls, bad, "", None),
        ("a", "x + nothing", bad, "nothing", Some(5)),
        ("a", "x + short", bad, "shape", Some(5)),
        ("a", "x +* 2", bad, "", Some(4)),
        ("a", "sinn(x)", bad, "sinn", Some(1)),
        ("large", "int32(x)", ErrorCode::BadElement, "element 1: ", None),
        ("n", "n // divisor", ErrorCode::BadElement, "element 500001: ", None),
        ("n", "x + (1 // divisor) * 0", ErrorCode::BadElement, "element 500001: ", None),
    ];
    for (array, expression, code, words, column) in cases {
        let shown = &expression[..expression.len().min(40)];
        let of_apply = refusal(client.apply(array, expression).unwrap_err());
        let of_reduce = refusal(client.reduce(array, &format!("sum({expression})")).unwrap_err());
        assert_eq!((of_apply.code, of_reduce.code), (code, code), "{shown}: {of_apply}; {of_reduce}");
        assert!(of_apply.message.len() < 2000, "{shown}: an answer of {} bytes", of_apply.message.len());
        assert!(of_apply.message.contains(words) && of_reduce.message.contains(words), "{shown}: {of_apply}");
        assert_eq!(of_apply.array.as_deref(), Some(array), "{shown}");
        match (code, column) {
            (ErrorCode::BadExpression, None) => assert!(of_apply.column.is_some(), "{shown}: {of_apply}"),
            (_, column) => assert_eq!(of_apply.column.map(|column| column.get()), column, "{shown}: {of_apply}"),
        }
        assert_eq!(client.reduce("a", "count(x >= x)").unwrap().values[0].value, LEN.to_string(), "after {shown}");
    }
    cluster.check();
    wait_memory(&client, before);
}

#[test]
fn what_does_not_fit_is_refused_before_it_begins() {
    const ELEMENTS: u64 = 3_000_000;
    let mut cluster = Setup::new().workers(2).worker_flags("--memory 40M").start();
    let client = cluster.connect();
    let options = GenerateOptions { seed: Some(1), ..GenerateOptions::default() };
    client.generate("a", &format!("uniform(0, 1, {ELEMENTS})"), &options).unwrap();
    let before = 2 * 8 * ELEMENTS;
    wait_memory(&client, before);
    let sum = values(&client.reduce("a", "sum(x)").unwrap());

    let too_much = [
        refusal(client.apply("a", "x * 2").unwrap_err()),
        refusal(client.apply_with("a", "x * 2", &into("b")).unwrap_err()),
        refusal(client.generate("b", "zeros(100000000)", &options).unwrap_err()),
        client.explain("a", "x * 2").unwrap().refusal.expect("it would be refused"),
    ];
    for error in too_much {
        assert_eq!(error.code, ErrorCode::InsufficientMemory, "{error}");
        for words in ["w1 ", "w2 ", "'a' ", "MiB", "--memory"] {
            assert!(error.message.contains(words), "{words} is not in: {error}");
        }
    }
    let workers = client.workers().unwrap();
    assert!(workers.iter().all(|worker| worker.memory_used_bytes == before / 2), "{workers:?}");
    assert_eq!(values(&client.reduce("a", "sum(x)").unwrap()), sum);
    // What fits is computed, and what is deleted makes room.
    client.apply_with("a", "x > 0.5", &into("half")).unwrap();
    client.delete("half").unwrap();
    wait_memory(&client, before);
    client.apply("a", "float32(x)").unwrap();
    cluster.check();
}

#[test]
fn results_that_nobody_fetches_take_the_place_of_one_another() {
    let (mut cluster, client) = with_arrays(Setup::new());
    let arrays = 2 * (LEN as u64 * 12);
    for n in 1..=5 {
        let other = cluster.connect();
        let no_wait = ApplyOptions { no_wait: true, ..ApplyOptions::default() };
        other.apply_with("a", &format!("x * {n}"), &no_wait).unwrap();
    }
    wait_memory(&client, arrays + 2 * LEN as u64 * 8);
    assert!(client.operations().unwrap().is_empty());
    client.delete("a").unwrap();
    wait_memory(&client, 2 * LEN as u64 * 4);
    client.delete("n").unwrap();
    wait_memory(&client, 0);
    cluster.check();
}

// ---- workers that die ----

/// Waits until an operation has done something and cannot do all, while a worker stands still.
fn wait_half_done(client: &Cluster) {
    until("an operation half done", SOON, || {
        let operations = client.operations().unwrap();
        operations.iter().any(|operation| operation.done > 0 && operation.done < operation.segments).then_some(())
    });
}

/// Kills a worker in the middle of what is run in the background, and gives what came of it.
fn killed_in_the_middle<T: Send + 'static>(
    cluster: &mut Processes,
    client: &Cluster,
    run: impl FnOnce(&Cluster) -> T + Send + 'static,
) -> T {
    cluster.pause("w1");
    let background = {
        let client = client.clone();
        thread::spawn(move || run(&client))
    };
    wait_half_done(client);
    cluster.kill("w1");
    let outcome = background.join().expect("it is answered");
    cluster.start_worker("w1");
    cluster.wait_whole(3);
    outcome
}

fn check_failed_over(receipt: &Receipt) {
    assert!(receipt.retries > 0 && receipt.promoted > 0, "w1 has died: {receipt:?}");
}

#[test]
fn a_worker_killed_in_the_middle_of_a_reduction_changes_no_bit() {
    let (mut cluster, client) = with_arrays(Setup::new());
    let before = client.reduce("a", REDUCTIONS).unwrap();
    assert_eq!((before.receipt.retries, before.receipt.promoted), (0, 0));
    let after = killed_in_the_middle(&mut cluster, &client, |client| client.reduce("a", REDUCTIONS)).unwrap();
    assert_eq!(values(&before), values(&after));
    check_failed_over(&after.receipt);
    cluster.check();
}

#[test]
fn a_worker_killed_in_the_middle_of_an_expression_of_two_arrays_changes_no_bit() {
    const EXPRESSION: &str = "where(n > 0, sin(x) * n, sqrt(abs(x)))";
    let (mut cluster, client) = with_arrays(Setup::new());
    let before = client.apply_with("a", EXPRESSION, &into("before")).unwrap();
    let after = killed_in_the_middle(&mut cluster, &client, |client| client.apply("a", EXPRESSION)).unwrap();
    check_failed_over(after.receipt.as_ref().expect("it is complete"));
    assert_eq!(before.crc32c, after.crc32c);
    assert_eq!(client.get::<f64>(&before.handle).unwrap(), client.get::<f64>(&after.handle).unwrap());
    cluster.check();
}

// ---- the same everywhere ----

#[test]
fn any_number_of_workers_and_threads_gives_the_same_bits() {
    let mut first: Option<(Vec<String>, Vec<String>, Option<String>)> = None;
    for (workers, threads) in [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)] {
        let (_cluster, client) = with_arrays(Setup::new().workers(workers).threads(threads));
        let options = GenerateOptions { seed: Some(7), ..GenerateOptions::default() };
        let made = client.generate("g", &format!("normal(0, 30, {LEN})"), &options).unwrap();
        let of_a = values(&client.reduce("a", REDUCTIONS).unwrap());
        let of_both = values(&client.reduce("g", "sum(x * a), std(x - n), argmax(x), mean(x)").unwrap());
        let found = (of_a, of_both, made.crc32c.map(|crc32c| format!("{crc32c:?}")));
        match &first {
            None => first = Some(found),
            Some(first) => assert_eq!(*first, found, "{workers} workers of {threads} threads"),
        }
    }
}

// ---- what is foretold ----

/// Within a tenth.
fn check_near(what: &str, foretold: u64, taken: u64) {
    assert!(foretold.abs_diff(taken) * 10 <= taken, "{what}: {foretold} is foretold, and {taken} is taken");
}

fn check_estimate(what: &str, foretold: &Receipt, taken: &Receipt) {
    check_near(&format!("{what}: bytes read"), foretold.bytes_read, taken.bytes_read);
    check_near(&format!("{what}: bytes written"), foretold.bytes_written, taken.bytes_written);
    check_near(&format!("{what}: network"), foretold.network_bytes, taken.network_bytes);
    for worker in &taken.workers {
        let same = foretold.workers.iter().find(|same| same.worker == worker.worker);
        let foretold = same.map_or(0, |same| same.memory_bytes);
        check_near(&format!("{what}: memory of {}", worker.worker), foretold, worker.memory_bytes);
    }
    assert_eq!(
        (foretold.workers.len(), taken.retries, taken.promoted),
        (taken.workers.len(), 0, 0),
        "{what}: {taken:?}"
    );
}

#[test]
fn what_is_foretold_is_what_is_taken() {
    const COSTLY: &str =
        "atan2(sinh(x / 50), cosh(x / 60)) ** 1.5 + tan(x) * log1p(abs(x)) + cbrt(exp(sin(x)) + atan(x))";
    for replication in [1, 2] {
        let (_cluster, client) = with_arrays(Setup::new().replication(replication));
        for expression in ["x * 2 + 1", "x + n", "example1", "float32(x) > n", COSTLY] {
            client.apply("a", expression).unwrap(); // how costly it is, is known from now on
            let foretold = client.explain("a", expression).unwrap();
            assert_eq!(foretold.refusal, None);
            let taken = client.apply("a", expression).unwrap();
            let what = format!("{expression}, {replication} copies, {}", foretold.replicas);
            assert_eq!(foretold.replicas, taken.replicas, "{what}");
            check_estimate(&what, &foretold.estimate, taken.receipt.as_ref().expect("it is complete"));
        }
        for reductions in ["sum(x)", "sum(x * n), max(n)"] {
            let foretold = client.explain("a", reductions).unwrap();
            let taken = client.reduce("a", reductions).unwrap();
            assert_eq!((foretold.copies, foretold.estimate.bytes_written), (0, 0));
            check_estimate(&format!("{reductions}, {replication} copies"), &foretold.estimate, &taken.receipt);
        }
    }
}
