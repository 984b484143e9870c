//! The cluster beside what the machine itself can do, in one run.

use crate::machine::{Arithmetic, Wire};
use crate::options::Options;
use crate::ours::{Ours, Small, checked_round, doubles};
use crate::times::Times;
use client::DataPath;

/// Operations on small arrays in each repetition, and round trips as many.
const SMALL_OPERATIONS: usize = 200;

/// A cluster, and what it took.
struct Subject {
    ours: Ours,
    /// Create, apply, get.
    steps: [Times; 3],
    small: Times,
    memory: Vec<f64>,
}

impl Subject {
    fn start(replication: u32, path: DataPath) -> Subject {
        Subject {
            ours: Ours::start(replication, path),
            steps: Default::default(),
            small: Times::default(),
            memory: Vec::new(),
        }
    }

    fn round(&mut self, rep: usize, counts: bool, values: &[f64]) -> Result<(), String> {
        let steps = checked_round(&self.ours.client, &format!("large{rep}"), values, &mut self.memory)?;
        for (times, step) in self.steps.iter_mut().zip(steps) {
            times.add_if(counts, step);
        }
        let mut small = Small::store(&self.ours.client, &format!("small{rep}"), rep as u64)?;
        for _ in 0..SMALL_OPERATIONS {
            self.small.add_if(counts, small.apply()?);
        }
        small.check().map(drop)
    }
}

/// Measures, and prints the table.
pub fn run(options: &Options) -> Result<(), String> {
    let large = options.large();
    let mut subjects = [(1, DataPath::Tcp), (2, DataPath::Tcp), (1, DataPath::Auto), (2, DataPath::Auto)]
        .map(|(replication, path)| Subject::start(replication, path));
    let mut wires = [Wire::new(1, large * 8), Wire::new(2, large * 8)];
    let mut arithmetic = Arithmetic::new(&doubles(0, large));
    let [mut one_copy, mut two_copies, mut computed, mut trips]: [Times; 4] = Default::default();
    for (rep, counts) in options.rounds() {
        let values = doubles(rep as u64, large);
        for subject in &mut subjects {
            subject.round(rep, counts, &values)?;
        }
        one_copy.add_if(counts, wires[0].transfer());
        two_copies.add_if(counts, wires[1].transfer());
        computed.add_if(counts, arithmetic.run());
        for _ in 0..SMALL_OPERATIONS {
            trips.add_if(counts, wires[0].round_trip());
        }
    }
    for subject in &mut subjects {
        subject.ours.check();
    }
    let [r1, r2, here1, here2] = &subjects;
    let row = |what: &str, ours: &Times, floor: &str, its: &Times| {
        let ratio = ours.ratio(its);
        println!("{what:>34}  {:>22}   {floor:<34}  {:>22}  {ratio:>6.2}x", ours.show(), its.show());
    };
    println!("{:>34}  {:>22}   {:<34}  {:>22}  {:>7}", "darray", "ms", "floor", "ms", "ratio");
    row("create, 1 copy", &r1.steps[0], "raw TCP, one stream", &one_copy);
    row("create, 2 copies", &r2.steps[0], "raw TCP, two streams at once", &two_copies);
    row("get", &r2.steps[2], "raw TCP, one stream", &one_copy);
    row("create, 1 copy, same host", &here1.steps[0], "raw TCP, one stream", &one_copy);
    row("create, 2 copies, same host", &here2.steps[0], "raw TCP, two streams at once", &two_copies);
    row("get, same host", &here2.steps[2], "raw TCP, one stream", &one_copy);
    row("example1, 1 copy", &r1.steps[1], "two plain threads", &computed);
    row("example1, 2 copies", &r2.steps[1], "two plain threads", &computed);
    row("example1 on 10,000, 1 copy", &r1.small, "blocking round trip", &trips);
    row("example1 on 10,000, 2 copies", &r2.small, "blocking round trip", &trips);
    Ok(())
}
