//! The demo: a cluster that goes on computing while its workers and its master are killed.
//!
//! `scripts/demo` runs it. It starts a master and three workers, keeps running both operations on ten million elements
//! each, kills a worker while segments are in flight, kills and restarts the master, kills another worker, and
//! compares every answer with an independent loop. It ends with exit code 1 if anything was not as promised.

use client::{Cluster, Error};
use protocol::message::client::{Incident, IncidentKind, OperationInfo};
use std::fmt::Display;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;
use tests::harness::oracle::{Numbers, check_example1, check_example2};
use tests::harness::wait::maybe_until;
use tests::harness::{Processes, Programs, SOON, Setup};

/// Elements of each of the two arrays.
const ELEMENTS: usize = 10_000_000;

const WORKERS: usize = 3;

/// How often a worker is killed at most until segments were in flight to it. Nearly always once is enough.
const KILLS_MAX: usize = 20;

/// Correct answers of each operation between two incidents, so that one sees the cluster at rest.
const ANSWERS_BETWEEN: u64 = 2;

fn main() -> ExitCode {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    Programs::built();
    let stage = Stage { began: Instant::now(), over: AtomicBool::new(false), answers: Default::default() };
    println!("A master and {WORKERS} workers on this machine, two copies of everything.\n");
    let mut cluster = Setup::new().workers(WORKERS).threads((cores / WORKERS).max(1)).start();
    stage.tell("", format!("master at {}, workers w1, w2, w3, each a process", cluster.master_address()));
    match play(&stage, &mut cluster) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            cluster.show_logs();
            eprintln!("\nThe demo FAILED: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What the threads of the demo share.
struct Stage {
    began: Instant,
    over: AtomicBool,
    /// Checked answers, of example1 and of example2.
    answers: [AtomicU64; 2],
}

impl Stage {
    fn tell(&self, mark: &str, what: impl Display) {
        println!("{:7.2} s {mark:<3} {what}", self.began.elapsed().as_secs_f64());
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn answers(&self) -> [u64; 2] {
        [self.answers[0].load(Ordering::Relaxed), self.answers[1].load(Ordering::Relaxed)]
    }
}

fn play(stage: &Stage, cluster: &mut Processes) -> Result<(), String> {
    let (doubles, ints) = store(stage, &cluster.connect())?;
    let (client1, client2) = (cluster.connect(), cluster.connect());
    thread::scope(|scope| {
        let example1 = scope.spawn(|| {
            let check = |handle: &str| check_example1(&doubles, &client1.get(handle).map_err(say)?);
            repeat(stage, &client1, 0, ("doubles", "example1"), check)
        });
        let example2 = scope.spawn(|| {
            let check = |handle: &str| check_example2(&ints, &client2.get(handle).map_err(say)?);
            repeat(stage, &client2, 1, ("ints", "example2"), check)
        });
        let incidents = incidents(stage, cluster);
        stage.over.store(true, Ordering::Relaxed);
        let outcomes = [example1.join(), example2.join()];
        incidents?;
        outcomes.into_iter().try_for_each(|outcome| outcome.map_err(|_| "a thread panicked".to_string())?)
    })?;
    cluster.check();
    conclude(stage, cluster)
}

fn store(stage: &Stage, client: &Cluster) -> Result<(Vec<f64>, Vec<i32>), String> {
    let mut numbers = Numbers::new(stage.began.elapsed().as_nanos() as u64);
    let (doubles, ints) = (numbers.doubles(ELEMENTS), numbers.ints(ELEMENTS));
    let began = Instant::now();
    client.create("doubles", &doubles).map_err(say)?;
    stage.tell("", format!("stored 'doubles': {} float64 in two copies, {}", grouped(ELEMENTS), ms(began)));
    let began = Instant::now();
    client.create("ints", &ints).map_err(say)?;
    stage.tell("", format!("stored 'ints': {} int32 in two copies, {}", grouped(ELEMENTS), ms(began)));
    Ok((doubles, ints))
}

/// Applies an operation again and again, reads every result, and compares all of it.
fn repeat(
    stage: &Stage,
    client: &Cluster,
    which: usize,
    (array, operation): (&str, &str),
    check: impl Fn(&str) -> Result<(), String>,
) -> Result<(), String> {
    let result = (|| {
        while !stage.is_over() {
            let began = Instant::now();
            let done = client.apply(array, operation).map_err(say)?;
            let applied = began.elapsed().as_millis();
            check(&done.handle).map_err(|wrong| format!("{operation}: {wrong}"))?;
            stage.answers[which].fetch_add(1, Ordering::Relaxed);
            let redispatched = match done.redispatched {
                0 => String::new(),
                n => format!("; {n} of its {} segments were given to another worker", done.segments),
            };
            let text = format!("{operation} in {applied:4} ms: {} values, all right{redispatched}", grouped(ELEMENTS));
            stage.tell("ok", text);
        }
        Ok(())
    })();
    if result.is_err() {
        stage.over.store(true, Ordering::Relaxed);
    }
    result
}

/// What is done to the cluster while it computes.
fn incidents(stage: &Stage, cluster: &mut Processes) -> Result<(), String> {
    let watcher = cluster.connect();
    let mut next = WORKERS + 1;
    wait_answers(stage)?;
    kill_until_redispatched(stage, cluster, &watcher, &mut next)?;
    wait_answers(stage)?;

    let during = wait_in_flight(stage, &watcher)?;
    cluster.kill("master");
    stage.tell("!!!", format!("kill -9 of the master, {}", in_words(&during)));
    cluster.start_master();
    stage.tell("", "a new master on the same data directory and port; the calls go on with it");
    wait_answers(stage)?;
    kill_until_redispatched(stage, cluster, &watcher, &mut next)?;
    wait_answers(stage)
}

/// Kills workers, each with another in its place, until one had segments in flight.
fn kill_until_redispatched(
    stage: &Stage,
    cluster: &mut Processes,
    watcher: &Cluster,
    next: &mut usize,
) -> Result<(), String> {
    for _ in 0..KILLS_MAX {
        let during = wait_in_flight(stage, watcher)?;
        let victim = format!("w{}", *next - WORKERS);
        cluster.kill(&victim);
        stage.tell("!!!", format!("kill -9 of worker {victim}, {}", in_words(&during)));
        let replacement = format!("w{next}");
        *next += 1;
        cluster.start_worker(&replacement);
        stage.tell("", format!("worker {replacement} is started in its place"));
        let incident = wait_mended(stage, watcher, &victim)?;
        stage.tell("", incident_in_words(&incident));
        if incident.redispatched > 0 {
            return Ok(());
        }
        stage.tell("", "it had no segment in flight at that moment; once more");
    }
    Err(format!("in {KILLS_MAX} kills no segment was in flight"))
}

/// Waits for an operation that has done some of its segments and not all.
fn wait_in_flight(stage: &Stage, watcher: &Cluster) -> Result<OperationInfo, String> {
    wait(stage, "an operation half done", || {
        let operations = watcher.operations().map_err(say)?;
        Ok(operations.into_iter().find(|operation| operation.done > 0 && operation.done < operation.segments))
    })
}

fn wait_mended(stage: &Stage, watcher: &Cluster, worker: &str) -> Result<Incident, String> {
    wait(stage, "the end of the repair", || {
        let incidents = watcher.incidents().map_err(say)?;
        let of_worker = |i: &Incident| i.worker.as_ref().is_some_and(|id| id.as_str() == worker);
        Ok(incidents.into_iter().rfind(of_worker).filter(|incident| incident.redundancy_restored_ms.is_some()))
    })
}

fn wait_answers(stage: &Stage) -> Result<(), String> {
    let [a, b] = stage.answers();
    wait(stage, "answers", || {
        let [now_a, now_b] = stage.answers();
        Ok((now_a >= a + ANSWERS_BETWEEN && now_b >= b + ANSWERS_BETWEEN).then_some(()))
    })
}

fn wait<T>(stage: &Stage, what: &str, mut look: impl FnMut() -> Result<Option<T>, String>) -> Result<T, String> {
    let found = maybe_until(SOON, || match stage.is_over() {
        true => Some(Err("a call failed".to_string())),
        false => look().transpose(),
    });
    found.unwrap_or_else(|| Err(format!("waited {SOON:?} in vain for {what}")))
}

fn conclude(stage: &Stage, cluster: &mut Processes) -> Result<(), String> {
    let client = cluster.connect();
    println!(
        "\nWhat recovery did (`client recovery` tells more):\n\n{}",
        recovery_table(&client.incidents().map_err(say)?)
    );
    let status = client.status().map_err(say)?;
    if status.under_replicated > 0 || status.lost > 0 {
        return Err(format!("{} segments have fewer copies than they should", status.under_replicated));
    }
    let down = cluster.client("shutdown --yes");
    if down.code != 0 {
        return Err(down.err);
    }
    let [a, b] = stage.answers();
    println!(
        "{a} calls of example1 and {b} of example2, none failed. {} values compared with an independent loop, none wrong.\n\
         Every segment has its two copies again. Stopped and cleaned up after {:.1} s.",
        grouped((a + b) as usize * ELEMENTS),
        stage.began.elapsed().as_secs_f64()
    );
    Ok(())
}

fn recovery_table(incidents: &[Incident]) -> String {
    let after = |ms: Option<u64>| ms.map_or("-".to_string(), |ms| format!("{ms} ms"));
    let row = |cells: [&str; 7]| {
        let [what, promoted, first, redispatched, flows, copied, whole] = cells;
        format!("  {what:<18}{promoted:>9}{first:>9}{redispatched:>15}{flows:>14}{copied:>9}{whole:>13}\n")
    };
    let mut table = row(["", "promoted", "after", "re-dispatched", "work flows", "copied", "all copies"]);
    for incident in incidents {
        let what = match (&incident.worker, incident.kind) {
            (Some(worker), IncidentKind::WorkerDown) => format!("worker {worker} died"),
            (Some(worker), _) => format!("worker {worker}"),
            (None, IncidentKind::MasterRestarted) => "master restarted".to_string(),
            (None, _) => "other".to_string(),
        };
        table += &row([
            &what,
            &incident.promoted.to_string(),
            &after(incident.promoted_ms),
            &incident.redispatched.to_string(),
            &after(incident.resumed_ms),
            &format!("{:.0} MB", incident.bytes_moved as f64 / 1e6),
            &after(incident.redundancy_restored_ms),
        ]);
    }
    table
}

fn in_words(operation: &OperationInfo) -> String {
    format!("with {} of {} segments of {} done", operation.done, operation.segments, operation.name)
}

fn incident_in_words(incident: &Incident) -> String {
    let after = |ms: Option<u64>| ms.map_or("-".to_string(), |ms| format!("{ms} ms"));
    format!(
        "{} segments promoted, {} re-dispatched, work flowed again after {}; {:.0} MB copied, whole after {}",
        incident.promoted,
        incident.redispatched,
        after(incident.resumed_ms),
        incident.bytes_moved as f64 / 1e6,
        after(incident.redundancy_restored_ms),
    )
}

fn say(error: Error) -> String {
    error.to_string()
}

fn ms(began: Instant) -> String {
    format!("{} ms", began.elapsed().as_millis())
}

/// 12,345,678
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or("")).collect();
    groups.join(",")
}
