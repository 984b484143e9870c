//! What the processes use for an array and its result, and how the times grow with the length.

use crate::options::Options;
use crate::ours::{Ours, checked_round, doubles, say};
use crate::times::Times;
use client::DataPath;
use tests::harness::Footprint;

/// How many times as long the longer array is.
pub const FACTOR: usize = 5;

/// What is used once an array is stored and computed on, with one copy of each.
pub struct Memory {
    /// Bytes of the array; the result has as many.
    pub payload: u64,
    /// Both together.
    pub workers: Footprint,
    pub master: Footprint,
    /// This process, with the values it stored.
    pub client: Footprint,
}

/// Stores and computes on a cluster of its own.
pub fn measure(options: &Options) -> Result<Memory, String> {
    let elements = FACTOR * options.large();
    let mut ours = Ours::start(1, DataPath::Auto);
    let values = doubles(0, elements);
    ours.client.create("a", &values).map_err(say)?;
    ours.client.apply("a", "example1").map_err(say)?;
    ours.processes.check();
    let [master, first, second] = ["master", "w1", "w2"].map(|name| Footprint::of(ours.processes.id(name)));
    let client = Footprint::of(std::process::id())?;
    Ok(Memory { payload: elements as u64 * 8, workers: first?.plus(second?), master: master?, client })
}

/// Times of create, apply and get, of the shorter and of the longer array.
pub type Growth = [[Times; 2]; 3];

/// Measures both lengths in turn, with one copy.
pub fn growth(options: &Options) -> Result<Growth, String> {
    let mut ours = Ours::start(1, DataPath::Auto);
    let mut growth = Growth::default();
    let mut memory: [Vec<f64>; 2] = Default::default();
    for (rep, counts) in options.rounds() {
        for (which, elements) in [options.large(), FACTOR * options.large()].into_iter().enumerate() {
            let values = doubles((2 * rep + which) as u64, elements);
            let steps = checked_round(&ours.client, &format!("growth{rep}-{which}"), &values, &mut memory[which])?;
            for (times, step) in growth.iter_mut().zip(steps) {
                times[which].add_if(counts, step);
            }
        }
    }
    ours.processes.check();
    Ok(growth)
}

/// Measures, and prints.
pub fn run(options: &Options) -> Result<(), String> {
    let memory = measure(options)?;
    let mb = |bytes: u64| format!("{:.0}", bytes as f64 / 1e6);
    println!("One copy of {} float64 and of its example1, {} MB each; MB:\n", memory.payload / 8, mb(memory.payload));
    println!(
        "{:>24}  {:>9}  {:>13}  {:>13}  {:>9}  {:>9}",
        "", "resident", "times payload", "proportional", "shared", "peak"
    );
    for (who, used) in
        [("both workers", memory.workers), ("master", memory.master), ("client, with the values", memory.client)]
    {
        let times = used.resident as f64 / memory.payload as f64;
        let [resident, proportional, shared, peak] = [used.resident, used.proportional, used.shared, used.peak].map(mb);
        println!("{who:>24}  {resident:>9}  {times:>12.3}x  {proportional:>13}  {shared:>9}  {peak:>9}");
    }
    let (short, long) = (format!("{} ms", options.large()), format!("{} ms", FACTOR * options.large()));
    println!("\n{:>24}  {short:>22}  {long:>22}  {:>6}", "one copy", "ratio");
    for (what, [short, long]) in ["create", "example1", "get"].into_iter().zip(growth(options)?) {
        println!("{what:>24}  {:>22}  {:>22}  {:>5.2}x", short.show(), long.show(), long.ratio(&short));
    }
    Ok(())
}
