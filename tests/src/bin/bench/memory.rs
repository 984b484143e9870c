//! What the processes use for an array and its result, and how the times grow with the length.

use crate::options::Options;
use crate::ours::{Ours, checked_round, doubles, say};
use crate::times::Times;
use client::DataPath;

/// How many times as long the longer array is.
pub const FACTOR: usize = 5;

/// What a process uses, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// All that is resident.
    pub resident: u64,
    /// The same with what is shared divided among those that share it.
    pub proportional: u64,
    /// What of it is shared memory, of files in memory included.
    pub shared: u64,
    /// The most that was ever resident.
    pub peak: u64,
}

impl Footprint {
    /// Of a process that runs.
    fn of(process: u32) -> Result<Footprint, String> {
        let read = |file: &str| {
            let path = format!("/proc/{process}/{file}");
            std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))
        };
        Footprint::parse(&read("status")?, &read("smaps_rollup")?)
    }

    fn parse(status: &str, rollup: &str) -> Result<Footprint, String> {
        Ok(Footprint {
            resident: bytes(status, "VmRSS:")?,
            proportional: bytes(rollup, "Pss:")?,
            shared: bytes(status, "RssShmem:")?,
            peak: bytes(status, "VmHWM:")?,
        })
    }

    fn plus(self, other: Footprint) -> Footprint {
        Footprint {
            resident: self.resident + other.resident,
            proportional: self.proportional + other.proportional,
            shared: self.shared + other.shared,
            peak: self.peak + other.peak,
        }
    }
}

/// The value of a line such as `VmRSS: 1024 kB`.
fn bytes(text: &str, field: &str) -> Result<u64, String> {
    let mut words = text.lines().filter_map(|line| line.strip_prefix(field)).flat_map(str::split_whitespace);
    let kib: u64 = words.next().and_then(|word| word.parse().ok()).ok_or_else(|| format!("no {field} in /proc"))?;
    Ok(kib * 1024)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_understood() {
        let status = "Name:\tworker\nVmHWM:\t    3072 kB\nVmRSS:\t    2048 kB\nRssShmem:\t       4 kB\n";
        let rollup = "55-7f ---p 00000000 00:00 0 [rollup]\nRss:  2048 kB\nPss:  1024 kB\nPss_Dirty: 9 kB\n";
        let expected = Footprint { resident: 2 << 20, proportional: 1 << 20, shared: 4096, peak: 3 << 20 };
        assert_eq!(Footprint::parse(status, rollup), Ok(expected));
        assert_eq!(Footprint::parse(status, "").unwrap_err(), "no Pss: in /proc");
    }
}
