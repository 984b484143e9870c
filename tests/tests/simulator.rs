//! The simulator over many seeds.
//!
//! `SEEDS=20000 cargo test --release -p tests --test simulator` runs more of them; `SEED=17` replays one and prints its
//! story, with `SHRINK=1` only with the faults it needs to fail, with `RUST_LOG=debug` with the logs of master and workers. A seed that fails is shrunk to the faults it needs, and printed with its last events.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tests::run::{Run, Summary};
use tests::sim::World;

/// How many seeds each run of the tests takes.
const SEEDS: u64 = 2000;

/// The first seed; another range finds other things.
fn first_seed() -> u64 {
    std::env::var("FIRST_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Runs one; on a failure gives what is wrong and the last events.
fn attempt(run: &Run) -> Result<Summary, String> {
    let mut world: Option<World> = None;
    catch_unwind(AssertUnwindSafe(|| run.execute(&mut world))).map_err(|panic| {
        let what = panic.downcast_ref::<String>().cloned();
        let what = what.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
        let trace = world.map_or(Vec::new(), |world| world.trace);
        let last = trace.len().saturating_sub(50);
        format!("{what}\n  {}", trace[last..].join("\n  "))
    })
}

/// Leaves out faults as long as the run still fails.
fn shrink(run: &Run) -> Run {
    let mut smallest = run.clone();
    let mut tries = 0;
    let mut at = 0;
    while at < smallest.faults.len() && tries < 200 {
        let mut candidate = smallest.clone();
        candidate.faults.remove(at);
        tries += 1;
        match attempt(&candidate) {
            Err(_) => smallest = candidate,
            Ok(_) => at += 1,
        }
    }
    smallest
}

fn report(run: &Run) -> String {
    let shrunk = shrink(run);
    let what = attempt(&shrunk).err().unwrap_or_else(|| "it did not fail again".to_string());
    format!("seed {} fails: {:?}\nfaults: {:#?}\n{what}", run.seed, shrunk.plan, shrunk.faults)
}

#[test]
fn every_seed_keeps_its_promises() {
    std::panic::set_hook(Box::new(|info| {
        if std::env::var_os("SEED").is_some() {
            eprintln!("{info}");
        }
    }));
    if let Some(seed) = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        let run = if std::env::var_os("SHRINK").is_some() { shrink(&Run::of(seed)) } else { Run::of(seed) };
        env_logger::init();
        let mut world = None;
        let summary = catch_unwind(AssertUnwindSafe(|| run.execute(&mut world)));
        println!("{}", world.map_or(String::new(), |world| world.trace.join("\n")));
        println!("{summary:?}");
        assert!(summary.is_ok());
        return;
    }
    let seeds: u64 = std::env::var("SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(SEEDS);
    let (next, total) = (AtomicU64::new(first_seed()), Mutex::new(Summary::default()));
    let failure: Mutex<Option<Run>> = Mutex::new(None);
    let started = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first_seed() + seeds || failure.lock().unwrap().is_some() {
                        return;
                    }
                    let run = Run::of(seed);
                    match attempt(&run) {
                        Ok(summary) => add(&mut total.lock().unwrap(), &summary),
                        Err(_) => {
                            failure.lock().unwrap().get_or_insert(run);
                        }
                    }
                    // Some are run twice: a run must depend on its seed alone.
                    if seed % 50 == 0 && failure.lock().unwrap().is_none() {
                        let hashes: Vec<u32> =
                            (0..2).filter_map(|_| attempt(&Run::of(seed)).ok()).map(|s| s.trace_hash).collect();
                        assert_eq!(hashes[0], hashes[1], "seed {seed} runs differently the second time");
                    }
                }
            });
        }
    });
    if let Some(run) = failure.into_inner().unwrap() {
        let report = report(&run);
        let _ = std::panic::take_hook();
        panic!("{report}");
    }
    let total = total.into_inner().unwrap();
    let rate = seeds as f64 * 60.0 / started.elapsed().as_secs_f64() / threads as f64;
    println!(
        "simulator: {seeds} seeds, {:.1} simulated hours, {} faults, {} calls, {} events; {rate:.0} seeds a minute and thread",
        total.simulated.as_secs_f64() / 3600.0,
        total.faults,
        total.wishes,
        total.events
    );
    assert!(total.wishes > seeds * 20, "the clients hardly did anything");
}

fn add(total: &mut Summary, one: &Summary) {
    total.events += one.events;
    total.wishes += one.wishes;
    total.faults += one.faults;
    total.simulated += one.simulated;
}
