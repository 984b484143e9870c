//! How long faults are felt: by a client that asks again and again, on three workers with two copies of everything. Every answer is
//! compared with what it must be.

use crate::options::Options;
use crate::ours::say;
use crate::peer::Peer;
use crate::readme::write_section;
use crate::times::{Times, ms};
use array::random;
use client::Cluster;
use client::cluster::GenerateOptions;
use protocol::message::client::{Incident, IncidentKind};
use rustix::process::{Pid, Signal, kill_process};
use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tests::harness::wait::until;
use tests::harness::{Processes, SOON, Setup};

const WORKERS: usize = 3;
const COPIES: u32 = 2;

/// Elements of the array that is asked for: eight megabytes, segments on every worker.
const ELEMENTS: usize = 1_000_000;

/// What is asked again and again: every segment is looked at.
const QUESTION: &str = "sum(x)";

/// A fault comes at any moment of a request, which takes about a millisecond.
const MOMENT_MAX: Duration = Duration::from_millis(20);

/// How often each fault is made.
const KILLS: usize = 100;
const PAUSES: usize = 20;
const MASTERS: usize = 10;
/// Of the peers, each of which takes seconds.
const PEERS_KILLS: usize = 5;
const QUICKLY: usize = 3;

/// The worker stands still longer than it takes until it counts as dead.
const PAUSE: Duration = Duration::from_millis(1500);

/// How long the machine is kept busy to see whether somebody is taken for dead.
const BUSY: Duration = Duration::from_secs(600);
const BUSY_QUICKLY: Duration = Duration::from_secs(2);

/// Threads that compete with the cluster, for each processor.
const COMPETITORS: usize = 2;

/// Elements of an array of which each worker holds 1 GiB: 1.5 GiB in two copies on three workers.
const LOST_ELEMENTS: usize = 3 << 26;
const LOST_ELEMENTS_QUICKLY: usize = 3 << 18;

/// Arrays in the catalog that a master reads when it starts.
const ARRAYS: usize = 1_000;
const ARRAYS_QUICKLY: usize = 50;

/// What small operations take, without a fault and while copies are made.
const SMALL_OPERATIONS: usize = 2_000;
const SMALL_ELEMENTS: u64 = 10_000;

/// A cluster with an array, and a client that knows the sum.
struct Served {
    processes: Processes,
    client: Cluster,
    sum: String,
}

impl Served {
    fn start() -> Result<Served, String> {
        let processes = Setup::new().workers(WORKERS).replication(COPIES).start();
        let client = processes.connect();
        let mut values = vec![0; ELEMENTS];
        random::fill_long(1, 0, &mut values, -1000, 1000); // of int64 there is one right sum
        client.create("a", &values).map_err(say)?;
        Ok(Served { processes, client, sum: values.iter().sum::<i64>().to_string() })
    }

    fn ask(&self) -> Result<(), String> {
        let found = self.client.reduce("a", QUESTION).map_err(say)?;
        match &found.values[..] {
            [value] if value.value == self.sum => Ok(()),
            other => Err(format!("{QUESTION} is {other:?} and not {}", self.sum)),
        }
    }

    /// Asks again and again, makes a fault at a moment that the seed says, and gives the time from then to the end of the first request
    /// that began after it. One that was under way must have ended before, so its delay is in it.
    fn felt(&self, seed: u64, fault: impl FnOnce() + Send) -> Result<Duration, String> {
        let wait = MOMENT_MAX.mul_f64(random::bits(seed, 0) as f64 / u64::MAX as f64);
        self.ask()?;
        thread::scope(|scope| {
            let fault = scope.spawn(move || {
                thread::sleep(wait);
                let made = Instant::now();
                fault();
                made
            });
            while !fault.is_finished() {
                self.ask()?;
            }
            let made = fault.join().map_err(|_| "the fault could not be made")?;
            self.ask()?;
            Ok(made.elapsed())
        })
    }

    /// As [`Served::felt`], and then all is mended.
    fn kill_worker(&mut self, n: usize) -> Result<Duration, String> {
        let name = format!("w{}", n % WORKERS + 1);
        let process = self.processes.id(&name);
        let felt = self.felt(n as u64, || signal(process, Signal::KILL))?;
        self.processes.kill(&name); // it is dead, and waited for
        self.processes.start_worker(&name);
        self.processes.wait_whole(WORKERS);
        Ok(felt)
    }

    fn pause_worker(&mut self, n: usize) -> Result<Duration, String> {
        let name = format!("w{}", n % WORKERS + 1);
        let process = self.processes.id(&name);
        let felt = self.felt(n as u64, || signal(process, Signal::STOP));
        thread::sleep(PAUSE);
        signal(process, Signal::CONT);
        self.processes.wait_whole(WORKERS);
        felt
    }

    /// From the kill of the master, after which another one is started at once.
    fn kill_master(&mut self) -> Result<Duration, String> {
        self.ask()?;
        let killed = Instant::now();
        self.processes.restart_master();
        self.ask()?;
        let felt = killed.elapsed();
        self.processes.wait_whole(WORKERS);
        Ok(felt)
    }

    /// Workers that were taken for dead, ever.
    fn downs(&self) -> Result<usize, String> {
        let incidents = self.client.incidents().map_err(say)?;
        Ok(incidents.iter().filter(|incident| incident.kind == IncidentKind::WorkerDown).count())
    }
}

fn signal(process: u32, signal: Signal) {
    let process = Pid::from_raw(process as i32).expect("a process id is positive");
    kill_process(process, signal).expect("it is our child, and not waited for yet");
}

/// Threads that keep every processor busy, until this is dropped.
struct Competitors(Arc<AtomicBool>, Vec<thread::JoinHandle<()>>);

impl Competitors {
    fn start() -> Competitors {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let over = Arc::new(AtomicBool::new(false));
        let threads = (0..COMPETITORS * processors).map(|n| {
            let over = over.clone();
            thread::spawn(move || {
                let mut x = n as u64;
                while !over.load(Ordering::Relaxed) {
                    x = black_box(random::bits(x, 1));
                }
            })
        });
        let threads = threads.collect();
        Competitors(over, threads)
    }
}

impl Drop for Competitors {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// What was found: printed as it comes, and for the README.
#[derive(Default)]
struct Report {
    rows: String,
    notes: String,
}

impl Report {
    fn start() -> Report {
        println!("{:>44}  {:>8}  {:>8}  {:>8}   ms", "", "p50", "p99", "most");
        Report::default()
    }

    /// What was done, what was felt, and what is the most it may be.
    fn row(&mut self, what: &str, times: &Times, bound: &str) {
        let (p50, p99, max) = (ms(times.median()), ms(times.p99()), ms(times.max()));
        println!("{what:>44}  {p50:>8}  {p99:>8}  {max:>8}   {bound}");
        let _ = writeln!(self.rows, "| {what}, {} times | {p50} ms | {p99} ms | {max} ms | {bound} |", times.len());
    }

    fn note(&mut self, text: String) {
        println!("{text}");
        let _ = writeln!(self.notes, "- {text}.");
    }

    fn section(&self, about: &str) -> String {
        format!(
            "One run of `scripts/bench recovery`: {WORKERS} workers with {COPIES} copies of everything and a client that asks for the sum of\n\
             {} million elements again and again, the peers with as many workers; from a fault to the first right answer after it.\n\
             {about}\n\n| | p50 | p99 | most | must |\n|---|---|---|---|---|\n{}\n{}",
            ELEMENTS / 1_000_000,
            self.rows,
            self.notes
        )
    }
}

fn all_of(count: usize, mut measure: impl FnMut(usize) -> Result<Duration, String>) -> Result<Times, String> {
    let mut times = Times::default();
    for n in 0..count {
        times.add(measure(n)?);
    }
    Ok(times)
}

/// Measures, prints, and writes the README's section if that is wanted.
pub fn run(options: &Options) -> Result<(), String> {
    let python = options.python.as_ref().ok_or("recovery needs python=PATH, a Python that has the packages")?;
    let count = |count: usize| if options.quick { QUICKLY } else { count };
    let mut served = Served::start()?;
    let mut report = Report::start();
    report.row("kill -9 of a worker", &all_of(count(KILLS), |n| served.kill_worker(n))?, "p50 50, p99 300");
    report.row("pause of a worker", &all_of(count(PAUSES), |n| served.pause_worker(n))?, "p99 1,200");
    report.row("kill -9 of the master, started again", &all_of(count(MASTERS), |_| served.kill_master())?, "");
    {
        let _competitors = Competitors::start();
        let times = all_of(count(KILLS), |n| served.kill_worker(n))?;
        report.row("kill -9 of a worker, processors busy", &times, "p99 1,000");
    }
    for which in ["dask", "ray"] {
        let mut peer = Peer::with_workers_to_lose(python, which)?;
        let (times, note) = peer.recovery(ELEMENTS, count(PEERS_KILLS))?;
        report.row(&format!("kill -9 of a worker: {}", peer.what), &times, "");
        report.note(format!("{}: {note}", peer.what));
    }
    report.note(busy(&served, options)?);
    served.processes.check();
    drop(served);
    report.note(many_arrays(options)?);
    report.note(repair(options)?);
    match &options.readme {
        Some(readme) => write_section(readme, "recovery", &report.section(&options.about)),
        None => Ok(()),
    }
}

/// Whether somebody is taken for dead who only gets little of the processors.
fn busy(served: &Served, options: &Options) -> Result<String, String> {
    let (busy, before) = (if options.quick { BUSY_QUICKLY } else { BUSY }, served.downs()?);
    let _competitors = Competitors::start();
    let (began, mut asked) = (Instant::now(), 0);
    while began.elapsed() < busy {
        served.ask()?;
        asked += 1;
    }
    let wrong = served.downs()? - before;
    Ok(format!(
        "{} s with all processors busy, {asked} requests: {wrong} workers taken for dead (must: 0)",
        busy.as_secs()
    ))
}

/// A master that starts with many arrays in its log.
fn many_arrays(options: &Options) -> Result<String, String> {
    let arrays = if options.quick { ARRAYS_QUICKLY } else { ARRAYS };
    let mut processes = Setup::new().workers(WORKERS).replication(COPIES).start();
    let client = processes.connect();
    for n in 0..arrays {
        client.create(&format!("a{n}"), &[n as i64]).map_err(say)?;
    }
    processes.kill("master");
    let began = Instant::now();
    processes.start_master();
    let last = client.get::<i64>(&format!("a{}", arrays - 1)).map_err(say)?;
    let felt = began.elapsed();
    if last != [arrays as i64 - 1] {
        return Err(format!("a{} is {last:?} after the master's restart", arrays - 1));
    }
    processes.wait_whole(WORKERS);
    processes.check();
    Ok(format!("master started with {arrays} arrays: the first is read after {} ms (must: 2,000)", ms(felt)))
}

/// Brings all copies back that a worker held, while others compute.
fn repair(options: &Options) -> Result<String, String> {
    let elements = if options.quick { LOST_ELEMENTS_QUICKLY } else { LOST_ELEMENTS };
    let mut processes = Setup::new().workers(WORKERS).replication(COPIES).start();
    let client = processes.connect();
    let generate = |name: &str, generator: &str| {
        let made = client.generate(name, generator, &GenerateOptions { seed: Some(1), ..GenerateOptions::default() });
        made.map(drop).map_err(say)
    };
    generate("large", &format!("uniform(0, 1, {elements})"))?;
    generate("small", &format!("uniform(0, 1, {SMALL_ELEMENTS})"))?;
    processes.wait_whole(WORKERS);
    let before = small_operations(&client, |done| done < SMALL_OPERATIONS)?;
    processes.kill("w2");
    let other = processes.connect();
    let is_whole = AtomicBool::new(false);
    let meanwhile = thread::scope(|scope| {
        let meanwhile = scope.spawn(|| small_operations(&other, |_| !is_whole.load(Ordering::Relaxed)));
        until("all copies", 4 * SOON, || {
            let status = client.status().ok()?;
            (status.workers_alive as usize == WORKERS - 1 && status.under_replicated == 0).then_some(())
        });
        is_whole.store(true, Ordering::Relaxed);
        meanwhile.join().map_err(|_| "a client panicked".to_string())?
    })?;
    let incidents = client.incidents().map_err(say)?;
    let Some(Incident { bytes_moved, redundancy_restored_ms: Some(restored), .. }) =
        incidents.iter().rev().find(|incident| incident.kind == IncidentKind::WorkerDown)
    else {
        return Err("no incident tells when all copies were there again".to_string());
    };
    processes.check();
    Ok(format!(
        "{:.2} GiB are back in {COPIES} copies after {restored} ms (must: 10,000 for 1 GiB); of {} small operations meanwhile p99 {} ms, of {} \
         before {} ms: {:.1} times (must: 5)",
        *bytes_moved as f64 / (1_u64 << 30) as f64,
        meanwhile.len(),
        ms(meanwhile.p99()),
        before.len(),
        ms(before.p99()),
        meanwhile.p99().as_secs_f64() / before.p99().as_secs_f64()
    ))
}

/// Times of small operations as long as there are to be more.
fn small_operations(client: &Cluster, more: impl Fn(usize) -> bool) -> Result<Times, String> {
    let mut times = Times::default();
    while more(times.len()) {
        let began = Instant::now();
        client.reduce("small", "max(x)").map_err(say)?;
        times.add(began.elapsed());
    }
    Ok(times)
}
