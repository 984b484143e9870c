//! The whole client against a master and workers made of threads, with connections cut at the worst moments.

mod fake;

use array::Scalar;
use client::{Cancel, Cluster, Error, GenerateOptions};
use fake::{FakeMaster, Fault};
use protocol::{Body, ErrorCode, Message};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Enough for several segments on every worker.
const LEN: usize = 300_000;

fn start() -> (Arc<FakeMaster>, Cluster) {
    let master = FakeMaster::start(3);
    let builder = Cluster::builder().masters(&master.address.to_string()).timeout(Duration::from_secs(30));
    let cluster = builder.connect().unwrap();
    (master, cluster)
}

fn values() -> Vec<f64> {
    (0..LEN).map(|n| n as f64 / 3.0).collect()
}

#[test]
fn create_apply_and_get() {
    let (_master, cluster) = start();
    let values = values();
    let committed = cluster.create("a", &values).unwrap();
    assert_eq!(committed.handle, "a@v1");
    assert_eq!(cluster.get::<f64>("a").unwrap(), values);
    let done = cluster.apply("a", "double").unwrap();
    let doubled: Vec<f64> = values.iter().map(|x| 2.0 * x).collect();
    assert_eq!(cluster.get::<f64>("a").unwrap(), doubled);
    assert_eq!(cluster.get::<f64>(&done.handle).unwrap(), doubled);
    assert_eq!(cluster.get::<f64>("a@v1").unwrap(), values);
    cluster.delete("a").unwrap();
    assert_eq!(cluster.get::<f64>("a").unwrap_err().code(), Some(ErrorCode::UnknownArray));
}

#[test]
fn arrays_are_generated_reduced_and_explained() {
    let (master, cluster) = start();
    let made = cluster.generate("a", "zeros((100, 100))", &GenerateOptions::default()).unwrap();
    assert_eq!(cluster.describe(&made.handle, true).unwrap().shape, [100, 100]);
    let again = cluster.generate("a", "zeros(3)", &GenerateOptions::default()).unwrap_err();
    assert_eq!(again.code(), Some(ErrorCode::AlreadyExists));
    let options = GenerateOptions { replace: true, ..GenerateOptions::default() };
    cluster.generate("a", "zeros(3)", &options).unwrap();
    let done = cluster.reduce("a", "sum(x), argmax(x * 2), any(x)").unwrap();
    let values: Vec<Scalar> = done.values.iter().map(|value| client::scalar(value).unwrap()).collect();
    assert_eq!(values, [Scalar::Float64(1.25), Scalar::Int64(9_007_199_254_740_993), Scalar::Bool(true)]);
    assert_eq!(done.values[1].reduction, "argmax(x * 2)");
    let explanation = cluster.explain("a", "sin(x)").unwrap();
    assert_eq!((explanation.steps.len(), explanation.refusal), (2, None));
    let Err(Error::Refused(refusal)) = cluster.apply("a", "sin(q)") else { panic!() };
    assert_eq!((refusal.code, refusal.column.map(NonZeroU32::get)), (ErrorCode::BadExpression, Some(5)));
    assert_eq!(master.asked("GENERATE_ARRAY").len(), 3);
}

#[test]
fn seeds_that_nobody_names_differ_and_are_whole_to_every_reader() {
    let (master, cluster) = start();
    for name in ["a", "b"] {
        cluster.generate(name, "random(3)", &GenerateOptions::default()).unwrap();
    }
    let options = GenerateOptions { seed: Some(7), ..GenerateOptions::default() };
    cluster.generate("c", "random(3)", &options).unwrap();
    let asked = master.asked.lock().unwrap();
    let seed = |message: &Message| match &message.body {
        Body::GenerateArray(generate) => Some(generate.seed),
        _ => None,
    };
    let seeds: Vec<u64> = asked.iter().filter_map(seed).collect();
    assert_eq!((seeds.len(), seeds[2]), (3, 7));
    assert!(seeds[0] != seeds[1] && seeds.iter().all(|seed| *seed < 1 << 53), "{seeds:?}");
}

#[test]
fn an_array_is_generated_once_and_reductions_are_asked_for_again() {
    let (master, cluster) = start();
    for fault in [Fault::CutBefore, Fault::CutAfter] {
        master.faults.add("GENERATE_ARRAY", fault);
        let runs = master.runs();
        let options = GenerateOptions { replace: true, ..GenerateOptions::default() };
        cluster.generate("a", "zeros(3)", &options).unwrap();
        assert_eq!(master.runs() - runs, 1, "{fault:?}");
        master.faults.add("REDUCE_ARRAY", fault);
        assert_eq!(cluster.reduce("a", "sum(x)").unwrap().values[0].value, "1.25", "{fault:?}");
    }
    assert_eq!(master.faults.left(), 0);
}

#[test]
fn ranges_go_straight_into_a_slice() {
    let (_master, cluster) = start();
    let values = values();
    cluster.create("a", &values).unwrap();
    for (from, to) in [(0, 0), (0, 1), (5, 9000), (8191, 8193), (LEN - 1, LEN), (0, LEN)] {
        let mut slice = vec![f64::NAN; to - from];
        cluster.read_into("a", from as u64..to as u64, &mut slice).unwrap();
        assert_eq!(slice, values[from..to], "{from}..{to}");
    }
    let short = cluster.read_into("a", 0..5, &mut [0.0; 4]).unwrap_err();
    assert!(matches!(short, Error::WrongLength { given: 4, expected: 5, .. }), "{short}");
    let beyond = cluster.read_into("a", 0..LEN as u64 + 1, &mut vec![0.0; LEN + 1]).unwrap_err();
    assert_eq!(beyond.code(), Some(ErrorCode::OutOfRange));
}

#[test]
fn empty_arrays_and_other_shapes() {
    let (_master, cluster) = start();
    cluster.create::<f64>("empty", &[]).unwrap();
    assert!(cluster.get::<f64>("empty").unwrap().is_empty());
    cluster.create_with("flat", array::DType::Float64, &[3, 0, 7], &[], false).unwrap();
    assert_eq!(cluster.describe("flat", false).unwrap().shape, [3, 0, 7]);
    cluster.create_with("one", array::DType::Float64, &[], &1.5_f64.to_le_bytes(), false).unwrap();
    assert_eq!(cluster.get::<f64>("one").unwrap(), [1.5]);
    let error = cluster.create_with("bad", array::DType::Float64, &[2], &[0; 8], false).unwrap_err();
    assert!(matches!(error, Error::WrongLength { given: 1, expected: 2, .. }), "{error}");
}

#[test]
fn another_dtype_is_refused() {
    let (_master, cluster) = start();
    cluster.create("a", &[1.0, 2.0]).unwrap();
    let error = cluster.get::<i32>("a").unwrap_err();
    assert!(matches!(error, Error::WrongDType { .. }), "{error}");
    assert_eq!(error.to_string(), "'a@v1' is float64, but int32 was asked for; nothing is converted silently");
}

#[test]
fn the_master_goes_in_the_middle_of_everything() {
    let (master, cluster) = start();
    let values = values();
    for kind in ["CREATE_ARRAY", "COMMIT_ARRAY", "APPLY_OPERATION", "GET_RESULT"] {
        master.faults.add(kind, Fault::CutBefore);
        master.faults.add(kind, Fault::CutAfter);
    }
    cluster.create("a", &values).unwrap();
    cluster.apply("a", "double").unwrap();
    assert_eq!(cluster.get::<f64>("a").unwrap()[3], 2.0);
    assert_eq!(master.faults.left(), 0);
    assert_eq!(master.runs(), 1, "an operation whose answer was lost is not run again");
    for kind in ["COMMIT_ARRAY", "APPLY_OPERATION"] {
        let ids = master.asked(kind);
        assert_eq!(ids.len(), 3);
        assert!(ids.iter().all(|id| *id == ids[0]), "{kind} was sent as {ids:?}");
    }
}

#[test]
fn a_worker_goes_in_the_middle_of_a_write() {
    for fault in [Fault::CutBefore, Fault::CutAfter, Fault::Hang, Fault::Refuse(ErrorCode::UnknownTicket)] {
        let (master, cluster) = start();
        master.workers[1].faults.add("DISTRIBUTE_ARRAY", fault);
        cluster.create("a", &values()).unwrap();
        assert_eq!(cluster.get::<f64>("a").unwrap(), values(), "{fault:?}");
        assert!(!master.asked("REPLAN_WRITE").is_empty(), "{fault:?}");
    }
}

#[test]
fn a_worker_goes_in_the_middle_of_a_read() {
    let faults =
        [Fault::CutBefore, Fault::CutAfter, Fault::CutInPayload, Fault::Hang, Fault::Refuse(ErrorCode::NotHeld)];
    for fault in faults {
        let (master, cluster) = start();
        cluster.create("a", &values()).unwrap();
        master.workers[2].faults.add("GET_SEGMENT", fault);
        assert_eq!(cluster.get::<f64>("a").unwrap(), values(), "{fault:?}");
    }
}

#[test]
fn many_threads_share_a_cluster() {
    let (_master, cluster) = start();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let cluster = cluster.clone();
            scope.spawn(move || {
                let (name, values) = (format!("a{n}"), vec![f64::from(n); 10_000]);
                cluster.create(&name, &values).unwrap();
                assert_eq!(cluster.get::<f64>(&name).unwrap(), values);
            });
        }
    });
}

#[test]
fn nobody_there_is_said_in_time() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let builder = Cluster::builder().masters(&free.to_string()).connect_timeout(Duration::from_millis(100));
    let error = builder.connect().unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&format!("{free}: connection refused")), "{error}");
}

#[test]
fn a_master_that_says_nothing_ends_with_the_deadline() {
    let (master, cluster) = start();
    master.faults.add("APPLY_OPERATION", Fault::Hang);
    let error = cluster.with_timeout(Duration::from_millis(100)).apply("a", "double").unwrap_err();
    assert!(matches!(error, Error::DeadlineExceeded { .. }), "{error}");
}

/// Makes a call, and cancels it as soon as it has got so far.
fn cancelled<T>(
    cluster: &Cluster,
    got_there: impl Fn() -> bool + Send + Sync,
    call: impl FnOnce(&Cluster) -> Result<T, Error>,
) -> String {
    let cancel = Cancel::default();
    let begun = Instant::now();
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !got_there() && begun.elapsed() < Duration::from_secs(10) {
                std::thread::yield_now();
            }
            cancel.cancel();
        });
        call(&cluster.with_cancel(&cancel))
    });
    assert!(begun.elapsed() < Duration::from_secs(10), "it ended by its deadline");
    match result {
        Err(Error::Cancelled { doing }) => doing,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was not cancelled"),
    }
}

#[test]
fn whoever_cancels_does_not_wait() {
    let (master, cluster) = start();
    let worker = &master.workers[0];
    worker.faults.add("DISTRIBUTE_ARRAY", Fault::Hang);
    let stored = |cluster: &Cluster| cluster.create("a", &values());
    assert_eq!(cancelled(&cluster, || worker.faults.left() == 0, stored), "storing 'a'");
    cluster.create("a", &values()).unwrap();
    assert_eq!(master.asked("ABANDON_ARRAY").len(), 1, "the master is told that nobody goes on with it");
    worker.faults.add("GET_SEGMENT", Fault::Hang);
    let read = |cluster: &Cluster| cluster.get::<f64>("a");
    assert_eq!(cancelled(&cluster, || worker.faults.left() == 0, read), "reading 'a'");
    assert_eq!(cluster.get::<f64>("a").unwrap(), values());
    // In the end the master itself says nothing: to a question, and to the one that begins a transfer.
    master.faults.add("GET_RESULT", Fault::Hang);
    assert_eq!(cancelled(&cluster, || master.faults.left() == 0, read), "reading 'a'");
    assert_eq!(cancelled(&cluster, || true, Cluster::arrays), "listing the arrays");
}
