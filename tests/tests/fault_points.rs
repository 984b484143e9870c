//! Every fault point of master and worker is reached, the process dies there and is started again, and all that was acknowledged is
//! right, every later call answered: three copies on four workers, a client that never stops, a worker that dies as well, and
//! one that drains.
//!
//! A point that nobody reaches fails. `FAULT_POINT=Name` takes only that one; `FAULT_POINTS=long` has the process die at later times
//! of getting there too, and stand still instead of dying: long enough to be taken for dead.

use array::DType;
use client::{ApplyOptions, Cluster};
use protocol::ErrorCode;
use protocol::fault::Point;
use protocol::message::client::ClusterStatus;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tests::harness::oracle::{Numbers, check_example1};
use tests::harness::{CALL_TIMEOUT, Processes, SOON, Setup};

/// 25 segments: each worker has some of each array, and is the first of some.
const LEN: usize = 100_000;

/// Clusters at the same time: they wait more than they compute.
const AT_ONCE: usize = 3;

/// With three copies: one may die of the fault and one be killed.
const WORKERS: usize = 4;

/// How long a look at the cluster may take, so that its processes are looked at meanwhile.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// What happens, where, and when.
#[derive(Clone, Copy, Debug)]
struct Fault {
    point: Point,
    /// At which time of getting there.
    at: u64,
    /// How long to stand still, in milliseconds; 0: to die.
    pause_ms: u64,
}

impl Fault {
    /// The process that it happens to.
    fn process(self) -> &'static str {
        if Point::OF_MASTER.contains(&self.point) { "master" } else { "w1" }
    }

    fn text(self) -> String {
        match self.pause_ms {
            0 => format!("{:?}:{}:abort", self.point, self.at),
            ms => format!("{:?}:{}:pause={ms}", self.point, self.at),
        }
    }
}

/// At which time of getting there something is under way: what happens all the time does so before there is anything to lose.
fn first_time(point: Point) -> u64 {
    match point {
        Point::CommittedNotTold | Point::CommittedHalfTold => 12,
        Point::GroupNotWritten | Point::GroupNotSynced | Point::GroupNotCommitted => 8,
        Point::SegmentHalfReceived | Point::SegmentNotStored | Point::StoredNotReported => 3,
        Point::SegmentsSent | Point::SegmentsAnswered | Point::HeartbeatNotSent => 3,
        _ => 1,
    }
}

/// Whether a process gets there again and again while clients work.
fn recurs(point: Point) -> bool {
    !matches!(
        point,
        Point::LogBegun
            | Point::LogRead
            | Point::CompactionBegun
            | Point::CompactionHalfWritten
            | Point::CompactionNotSynced
            | Point::CompactionNotRenamed
            | Point::CompactionRenamed
            | Point::DeathNotProposed
            | Point::DrainedNotTold
            | Point::NotRegistered
            | Point::RegisteredNotBeating
            | Point::DrainNotTold
            | Point::DrainedNotEnded
    )
}

/// All that are to be tried.
fn faults() -> VecDeque<Fault> {
    let only = std::env::var("FAULT_POINT").ok();
    let points = Point::OF_MASTER.iter().chain(Point::OF_WORKER).copied();
    let wanted = points.filter(|point| only.as_ref().is_none_or(|only| *only == format!("{point:?}")));
    let is_long = std::env::var("FAULT_POINTS").is_ok_and(|how| how == "long");
    let of_point = |point| {
        let first = Fault { point, at: first_time(point), pause_ms: 0 };
        match is_long {
            false => vec![first],
            true => {
                let later = recurs(point).then_some(Fault { at: first.at + 2, ..first });
                [first, Fault { pause_ms: 2500, ..first }].into_iter().chain(later).collect()
            }
        }
    };
    wanted.flat_map(of_point).collect()
}

#[test]
fn wherever_a_process_dies_nothing_is_lost_and_every_call_is_answered() {
    let (faults, failed) = (Mutex::new(faults()), Mutex::new(Vec::new()));
    let count = faults.lock().unwrap().len();
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(fault) = { faults.lock().unwrap().pop_front() } {
                    if std::panic::catch_unwind(|| survive(fault)).is_err() {
                        failed.lock().unwrap().push(fault.text());
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {count}: {}", failed.len(), failed.join(", "));
    println!("fault points: {count} faults, every one met and survived, {:?}", began.elapsed());
}

/// A cluster, one of whose processes meets with a fault while a client works and never stops.
fn survive(fault: Fault) {
    let setup = Setup::new().workers(WORKERS).replication(3).faulty(env!("CARGO_BIN_EXE_faulty"));
    let mut patient = Patient { cluster: setup.nothing(), fault, has_drained: false, watcher: None };
    patient.cluster.arm(fault.process(), fault.text());
    patient.cluster.start_all();
    patient.wait("all workers", |client| is_whole(client, WORKERS));
    let address = patient.cluster.master_address().to_string();
    let connect = || Cluster::builder().masters(&address).timeout(CALL_TIMEOUT).connect_timeout(SOON).connect();
    let (is_over, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let client = connect().unwrap(); // here, as the master may have to be started again
            let kept = Kept::store(&client);
            while !is_over.load(Ordering::Relaxed) {
                work(&client, rounds.fetch_add(1, Ordering::Relaxed));
            }
            (client, kept)
        });
        let course = std::panic::catch_unwind(AssertUnwindSafe(|| {
            patient.go_through_everything(&|| worker.is_finished(), &rounds);
        }));
        is_over.store(true, Ordering::Relaxed);
        let (client, kept) = worker.join().expect("no call fails");
        if let Err(panic) = course {
            std::panic::resume_unwind(panic);
        }
        patient.wait("all copies", |client| is_whole(client, WORKERS));
        kept.check(&client);
        work(&client, rounds.load(Ordering::Relaxed));
    });
    patient.cluster.check();
}

fn is_whole(client: &Cluster, workers: usize) -> bool {
    let is_whole = |status: ClusterStatus| status.workers_alive as usize == workers && status.under_replicated == 0;
    client.status().is_ok_and(is_whole)
}

fn incarnation(client: &Cluster, worker: &str) -> Option<u64> {
    Some(client.workers().ok()?.into_iter().find(|found| found.id.as_str() == worker)?.incarnation)
}

/// A cluster that is looked after: whoever dies of the fault is started again.
struct Patient {
    cluster: Processes,
    fault: Fault,
    /// w1 was asked to end, and is started again then.
    has_drained: bool,
    watcher: Option<Cluster>,
}

impl Patient {
    /// What makes every point be reached, one thing after the other.
    fn go_through_everything(&mut self, has_failed: &dyn Fn() -> bool, rounds: &AtomicU64) {
        let begun = |rounds: &AtomicU64| rounds.load(Ordering::Relaxed);
        self.wait("some rounds of work", |_| begun(rounds) >= 3 || has_failed());
        self.cluster.kill("w4");
        self.wait("copies of what w4 had", |client| is_whole(client, WORKERS - 1) || has_failed());
        self.cluster.start_worker("w4");
        self.wait("w4 to be back", |client| is_whole(client, WORKERS) || has_failed());
        let before = self.watcher.as_ref().and_then(|client| incarnation(client, "w1"));
        self.cluster.drain("w1");
        self.has_drained = true;
        let is_back = |client: &Cluster| incarnation(client, "w1") > before && is_whole(client, WORKERS);
        self.wait("w1 to be back", |client| is_back(client) || has_failed());
        let process = self.fault.process();
        let (log, line) = (self.cluster.log(process), format!("fault point {:?}", self.fault.point));
        let has_met = || std::fs::read_to_string(&log).is_ok_and(|text| text.lines().any(|found| found == line));
        self.wait(&format!("anybody to get to {:?}", self.fault.point), |_| has_met() || has_failed());
        let now = begun(rounds);
        self.wait("a round of work after it", |_| begun(rounds) > now + 1 || has_failed());
    }

    /// Looks until something is so, and after the patient meanwhile.
    fn wait(&mut self, what: &str, is_so: impl Fn(&Cluster) -> bool) {
        let end = Instant::now() + SOON;
        loop {
            self.start_whoever_has_ended();
            if self.watcher.is_none() {
                let builder = Cluster::builder().masters(self.cluster.master_address()).timeout(LOOK_TIMEOUT);
                self.watcher = builder.connect_timeout(LOOK_TIMEOUT).connect().ok();
            }
            if self.watcher.as_ref().is_some_and(&is_so) {
                return;
            }
            assert!(Instant::now() < end, "waited {SOON:?} in vain for {what}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn start_whoever_has_ended(&mut self) {
        for name in ["master", "w1"] {
            let may_end = name == self.fault.process() || name == "w1" && self.has_drained;
            if may_end && self.cluster.ended(name).is_some() {
                self.cluster.kill(name);
                match name {
                    "master" => self.cluster.start_master(),
                    worker => self.cluster.start_worker(worker),
                }
            }
        }
    }
}

/// An array and a result that are there from the first to the last moment.
struct Kept(Vec<f64>);

impl Kept {
    fn store(client: &Cluster) -> Kept {
        let values = Numbers::new(77).doubles(LEN);
        client.create("kept", &values).unwrap();
        compute_into(client, "kept", "kept-result");
        Kept(values)
    }

    fn check(&self, client: &Cluster) {
        assert!(client.get::<f64>("kept").unwrap() == self.0, "other values than were stored");
        check_example1(&self.0, &client.get("kept-result").unwrap()).unwrap();
    }
}

fn compute_into(client: &Cluster, name: &str, into: &str) {
    let options = ApplyOptions { into: Some(into.to_string()), replace: true, no_wait: false };
    client.apply_with(name, "example1", &options).unwrap();
}

/// One of each kind of call, each answer compared.
fn work(client: &Cluster, round: u64) {
    let values = Numbers::new(round).doubles(LEN);
    let bytes = bytemuck::cast_slice(&values);
    client.create_with("a", DType::Float64, &[LEN as u64], bytes, true).unwrap();
    let done = client.apply("a", "example1").unwrap();
    check_example1(&values, &client.get(&done.handle).unwrap()).unwrap();
    let mut part = vec![0.0; 5000];
    client.read_into(&done.handle, 30_000..35_000, &mut part).unwrap();
    check_example1(&values[30_000..35_000], &part).unwrap();
    compute_into(client, "a", "b");
    check_example1(&values, &client.get("b").unwrap()).unwrap();
    let reduced = client.reduce("a", "count(x > 0)").unwrap();
    let positive = values.iter().filter(|x| **x > 0.0).count();
    assert_eq!(reduced.values[0].value, positive.to_string());
    client.delete("b").unwrap();
    assert_eq!(client.get::<f64>("b").unwrap_err().code(), Some(ErrorCode::UnknownArray));
}
