//! Small operations: how long one takes beside blocking round trips of the same run, and how many there are in a second.

use crate::judge::Expected;
use crate::machine::Wire;
use crate::options::{Options, SMALL};
use crate::ours::{Ours, Small, doubles};
use crate::peer::Peer;
use crate::times::{Times, ms};
use client::{Cluster, DataPath};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// Operations one after the other, and round trips as many.
const OPERATIONS: usize = 2_000;
const OPERATIONS_QUICKLY: usize = 200;

/// How many of them follow each other before as many round trips do.
const BLOCK: usize = 100;

/// How many clients ask at the same time, each over a connection of its own.
const CLIENTS: [usize; 4] = [1, 2, 4, 8];

/// With how many clients others are compared.
pub const CLIENTS_COMPARED: usize = 8;

/// How long operations are counted. Long against the start of the threads, short against a change of the machine's mood.
const COUNTED: Duration = Duration::from_secs(2);
const COUNTED_QUICKLY: Duration = Duration::from_millis(200);

/// Times of operations and of round trips.
#[derive(Default)]
pub struct Latency {
    pub operations: Times,
    pub trips: Times,
}

/// Measures one operation after the other.
pub fn measure(ours: &Ours, options: &Options) -> Result<Latency, String> {
    let mut wire = Wire::new(1, 1);
    let mut latency = Latency::default();
    let operations = if options.quick { OPERATIONS_QUICKLY } else { OPERATIONS };
    // The first block only warms up.
    for block in 0..=operations / BLOCK {
        let counts = block > 0;
        let mut small = Small::store(&ours.client, &format!("latency{block}"), block as u64)?;
        for _ in 0..BLOCK {
            latency.operations.add_if(counts, small.apply()?);
        }
        small.check()?;
        for _ in 0..BLOCK {
            latency.trips.add_if(counts, wire.round_trip());
        }
    }
    Ok(latency)
}

/// Operations a second of so many clients.
pub fn rate(ours: &Ours, clients: usize, seed: usize, options: &Options) -> Result<f64, String> {
    let barrier = Barrier::new(clients);
    let counted = counted(options);
    let results: Vec<(usize, Duration)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|i| (ours.processes.connect(), seed * CLIENTS_COMPARED + i, &barrier))
            .map(|(client, seed, barrier)| scope.spawn(move || count(&client, seed, barrier, counted)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a client panicked".to_string())?)
            .collect::<Result<_, String>>()
    })?;
    let operations: usize = results.iter().map(|(operations, _)| operations).sum();
    let longest = results.iter().map(|(_, time)| *time).max().unwrap_or_default();
    Ok(operations as f64 / longest.as_secs_f64())
}

/// How long operations are counted.
pub fn counted(options: &Options) -> Duration {
    if options.quick { COUNTED_QUICKLY } else { COUNTED }
}

/// One client: its operations, and what they took together.
fn count(client: &Cluster, seed: usize, barrier: &Barrier, counted: Duration) -> Result<(usize, Duration), String> {
    let stored = Small::store(client, &format!("rate{seed}"), seed as u64);
    // Nobody waits for one that failed, and all begin at once.
    barrier.wait();
    let mut small = stored?;
    let began = Instant::now();
    while began.elapsed() < counted {
        small.apply()?;
    }
    let took = began.elapsed();
    Ok((small.check()?, took))
}

/// Measures, and prints.
pub fn run(options: &Options) -> Result<(), String> {
    let mut ray = match &options.python {
        Some(python) => Some(Peer::ray(python)?),
        None => None,
    };
    if let Some(ray) = &mut ray {
        ray.calibrate(options.large())?;
        println!("{}: {}\n", ray.what, ray.settings);
    }
    let expected = Expected::of(&doubles(0, SMALL)); // what Ray tells of is its first array
    let mut clusters = [1, 2].map(|copies| Ours::start(copies, DataPath::Auto));
    println!(
        "{:>30}  {:>10}  {:>10}  {:>15}  {:>6}",
        "example1 on 10,000", "p50 ms", "p99 ms", "round trip, p50", "ratio"
    );
    for (ours, what) in clusters.iter().zip(["1 copy", "2 copies"]) {
        let Latency { operations, trips } = measure(ours, options)?;
        let (p50, p99, trip) = (ms(operations.median()), ms(operations.p99()), ms(trips.median()));
        println!("{what:>30}  {p50:>10}  {p99:>10}  {trip:>15}  {:>5.1}x", operations.ratio(&trips));
    }
    println!("\n{:>30}  {:>10}  {:>10}  {:>15}", "operations a second, clients", "1 copy", "2 copies", "Ray");
    for clients in CLIENTS {
        let mut rates: [Vec<f64>; 3] = Default::default();
        for rep in 0..options.reps {
            for (ours, rates) in clusters.iter().zip(&mut rates) {
                rates.push(rate(ours, clients, rep, options)?);
            }
            if let (Some(ray), CLIENTS_COMPARED) = (&mut ray, clients) {
                rates[2].push(ray.operations(counted(options), &expected)?);
            }
        }
        let [one, two, ray] =
            rates.map(|rates| median_rate(&rates).map_or("-".to_string(), |rate| format!("{rate:.0}")));
        println!("{clients:>30}  {one:>10}  {two:>10}  {ray:>15}");
    }
    if ray.is_none() {
        println!("\nRay was not asked; --peers has it take part.");
    }
    for ours in &mut clusters {
        ours.processes.check();
    }
    Ok(())
}

/// The one in the middle, if there is any.
pub fn median_rate(rates: &[f64]) -> Option<f64> {
    let mut sorted = rates.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}
