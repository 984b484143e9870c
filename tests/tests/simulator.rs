//! The simulator over many seeds.
//!
//! `SEEDS=20000 cargo test --release -p tests --test simulator` runs more of them, from `FIRST_SEED` on, on `THREADS` threads;
//! every run begins with the seeds of `tests/seeds`, which have failed once. `SEED=17` replays one and prints its story, with
//! `SHRINK=1` only with the faults it needs to fail, with `RUST_LOG=debug` with the logs of master and workers. A seed that
//! fails is shrunk to the faults it needs, and printed with its last events.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tests::run::{Run, Summary};
use tests::sim::faults::Kind;
use tests::sim::outcome::Count;
use tests::sim::{World, tell};

/// How many seeds each run of the tests takes.
const SEEDS: u64 = 5000;

/// One seed in so many is run twice: a run must depend on its seed alone.
const TWICE: u64 = 50;

/// Seeds from which on the generator of faults itself is judged.
const ENOUGH: u64 = 1000;

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// The seeds that have failed once, and those that still do.
const KNOWN: &str = include_str!("../seeds");
const OPEN: &str = include_str!("../open_seeds");

/// The numbers of a file of seeds.
fn seeds_in(text: &str) -> Vec<u64> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(|line| line.parse().expect("one number a line")).collect()
}

/// Runs one; on a failure gives what is wrong and the last events.
fn attempt(run: &Run) -> Result<Summary, String> {
    let mut world: Option<World> = None;
    catch_unwind(AssertUnwindSafe(|| run.execute(&mut world))).map_err(|panic| {
        let what = panic.downcast_ref::<String>().cloned();
        let what = what.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
        let trace = world.map_or(Vec::new(), |world| world.trace);
        let last = trace.len().saturating_sub(50);
        format!("{what}\n{}", tell(&trace[last..]))
    })
}

/// Leaves out faults as long as the run still fails: halves, quarters, and so on, then single ones.
fn shrink(run: &Run) -> Run {
    let mut smallest = run.clone();
    let mut chunk = smallest.faults.len().div_ceil(2);
    while chunk > 0 {
        let mut at = 0;
        while at < smallest.faults.len() {
            let mut candidate = smallest.clone();
            candidate.faults.drain(at..(at + chunk).min(candidate.faults.len()));
            match attempt(&candidate) {
                Err(_) => smallest = candidate,
                Ok(_) => at += chunk,
            }
        }
        chunk /= 2;
    }
    smallest
}

/// The faults of a run, one a line.
fn faults_of(run: &Run) -> String {
    run.faults.iter().map(|(time, fault)| format!("  {time:?} {fault:?}")).collect::<Vec<_>>().join("\n")
}

fn report(run: &Run) -> String {
    let shrunk = shrink(run);
    let what = attempt(&shrunk).err().unwrap_or_else(|| "it did not fail again".to_string());
    let loss = if run.loss_allowed { ", losses allowed" } else { "" };
    format!("seed {} fails: {:?}{loss}\nfaults:\n{}\n{what}", run.seed, shrunk.plan, faults_of(&shrunk))
}

/// What all runs together did.
#[derive(Default)]
struct Total {
    sum: Summary,
    /// How often leaving out the faults of a kind gave another outcome.
    mattered: BTreeMap<Kind, u64>,
    failed: Vec<Run>,
}

impl Total {
    fn add(&mut self, one: &Summary) {
        self.sum.events += one.events;
        self.sum.wishes += one.wishes;
        self.sum.shared += one.shared;
        self.sum.simulated += one.simulated;
        for (kind, count) in &one.faults {
            let sum = self.sum.faults.entry(*kind).or_default();
            sum.injected += count.injected;
            sum.at_work += count.at_work;
        }
    }
}

/// A seed and what follows from it. False when it fails.
fn run_seed(seed: u64, total: &Mutex<Total>) -> bool {
    let run = Run::of(seed);
    let Ok(summary) = attempt(&run) else {
        total.lock().unwrap().failed.push(run);
        return false;
    };
    total.lock().unwrap().add(&summary);
    if seed.is_multiple_of(TWICE) {
        let again = attempt(&run).map(|again| again.trace_hash);
        assert_eq!(again, Ok(summary.trace_hash), "seed {seed} runs differently the second time");
    }
    // Until each kind of fault is known to matter, the seed is run without those that are not known yet.
    for kind in summary.faults.keys() {
        if !total.lock().unwrap().mattered.contains_key(kind)
            && attempt(&run.without(*kind)).is_ok_and(|without| without.outcome.differs(&summary.outcome))
        {
            *total.lock().unwrap().mattered.entry(*kind).or_default() += 1;
        }
    }
    true
}

#[test]
fn every_seed_keeps_its_promises() {
    std::panic::set_hook(Box::new(|info| {
        if std::env::var_os("SEED").is_some() {
            eprintln!("{info}");
        }
    }));
    if let Some(seed) = number("SEED") {
        return replay(seed);
    }
    let first = number("FIRST_SEED").unwrap_or(0);
    let range = first..first + number("SEEDS").unwrap_or(SEEDS);
    let (open, asked) = (seeds_in(OPEN), range.end - range.start);
    let mut seeds: Vec<u64> = seeds_in(KNOWN).into_iter().chain(range).collect();
    let all = seeds.len();
    seeds.retain(|seed| !open.contains(seed));
    let threads = number("THREADS")
        .map_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()), |threads| threads as usize);
    // So many failures are reported at most; the rest of the seeds is not run then.
    let most = number("FAILURES").unwrap_or(1) as usize;
    let (next, total) = (AtomicUsize::new(0), Mutex::new(Total::default()));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run_seed(*seed, &total);
                    if total.lock().unwrap().failed.len() >= most {
                        return;
                    }
                }
            });
        }
    });
    let total = total.into_inner().unwrap();
    let reports: Vec<String> = total.failed.iter().map(report).collect();
    let _ = std::panic::take_hook(); // what fails from here on is to be seen
    assert!(reports.is_empty(), "{}", reports.join("\n\n"));
    let rate = seeds.len() as f64 * 60.0 / started.elapsed().as_secs_f64() / threads as f64;
    println!("{}; {} known to fail were skipped", told(seeds.len(), &total, rate), all - seeds.len());
    assert!(total.sum.wishes > 20 * seeds.len() as u64, "the clients hardly did anything");
    if asked >= ENOUGH {
        judge_the_faults(&total);
    }
}

/// The totals, on one line.
fn told(seeds: usize, total: &Total, rate: f64) -> String {
    let sum = &total.sum;
    let (injected, at_work) = injected(total);
    let kinds: Vec<String> = sum.faults.iter().map(|(kind, count)| format!("{kind:?} {}", count.injected)).collect();
    format!(
        "simulator: {seeds} seeds, {:.1} simulated hours, {injected} faults, {:.0} % of them on nodes at work ({}), {} calls \
         checked, {} of them for linearizability, {} events; {rate:.0} seeds a minute and thread",
        sum.simulated.as_secs_f64() / 3600.0,
        100.0 * at_work as f64 / injected.max(1) as f64,
        kinds.join(", "),
        sum.wishes,
        sum.shared,
        sum.events,
    )
}

fn injected(total: &Total) -> (u64, u64) {
    let counts = || total.sum.faults.values();
    (counts().map(|count: &Count| count.injected).sum(), counts().map(|count| count.at_work).sum())
}

/// A generator of faults is weak if some never matter, or most hit nodes that have nothing to do.
fn judge_the_faults(total: &Total) {
    let idle: Vec<&Kind> = Kind::ALL.iter().filter(|kind| !total.mattered.contains_key(kind)).collect();
    assert!(idle.is_empty(), "these faults never changed an outcome: {idle:?}");
    let (injected, at_work) = injected(total);
    assert!(2 * at_work >= injected, "only {at_work} of {injected} faults hit a node with work in flight");
}

fn replay(seed: u64) {
    let run = if std::env::var_os("SHRINK").is_some() { shrink(&Run::of(seed)) } else { Run::of(seed) };
    env_logger::init();
    let mut world = None;
    let summary = catch_unwind(AssertUnwindSafe(|| run.execute(&mut world)));
    println!("{}", world.map_or(String::new(), |world| tell(&world.trace)));
    println!("{:?}, losses allowed: {}\n{}\n{summary:?}", run.plan, run.loss_allowed, faults_of(&run));
    assert!(summary.is_ok());
}
