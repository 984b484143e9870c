//! `bench`: measures a running cluster, one JSON line for each workload.
//!
//! A repetition begins when a request is handed to the library and ends when its reply says that every segment exists with its
//! copies, with the checksum of all of it; a read ends when the last byte is in memory and checked. Every repetition has other
//! values, and nothing of an earlier one is used. What is made is called `bench-…` and deleted again.

use super::Context;
use super::args::{Bench, Workload};
use super::failure::Failure;
use super::progress::Meter;
use crate::cluster::{ApplyOptions, Cluster, GenerateOptions};
use crate::data::Carried;
use crate::error::Error;
use crate::transfer::Progress;
use array::{DType, Element, Operation, random};
use protocol::limits::HEARTBEAT_INTERVAL;
use serde::Serialize;
use std::time::{Duration, Instant};

/// Operations of `latency`, if nothing else is said.
const LATENCY_OPERATIONS: u32 = 2_000;

/// Repetitions of the others.
const REPETITIONS: u32 = 7;

/// Elements of `latency`, if nothing else is said; of the others.
const LATENCY_ELEMENTS: u64 = 10_000;
const ELEMENTS: u64 = 10_000_000;

/// Arrays that `latency` takes in turn.
const LATENCY_ARRAYS: u32 = 16;

/// What a workload took.
#[derive(Serialize)]
struct Report {
    workload: String,
    n: u64,
    dtype: &'static str,
    replication: u32,
    workers: u32,
    reps: u32,
    median_ms: f64,
    min_ms: f64,
    max_ms: f64,
    p99_ms: f64,
    /// Bytes of one copy of what was stored, computed or read, in each repetition.
    bytes: u64,
    /// How bytes of arrays travelled between this client and the workers, if any did.
    path: &'static str,
    /// `memory` only: what the workers use for copies, now.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
}

/// Measures, and prints a line for each workload.
pub fn run(context: &Context, bench: &Bench) -> Result<(), Failure> {
    for workload in &bench.workload {
        let line = measure(context.cluster()?, *workload, bench)?;
        super::console::print(&format!("{}\n", serde_json::to_string(&line).map_err(std::io::Error::from)?))?;
    }
    Ok(())
}

fn measure(cluster: &Cluster, workload: Workload, bench: &Bench) -> Result<Report, Failure> {
    let is_latency = workload == Workload::Latency;
    let is_memory = workload == Workload::Memory;
    let n = bench.n.unwrap_or(if is_latency { LATENCY_ELEMENTS } else { ELEMENTS });
    let reps = match bench.reps {
        _ if is_memory => 1, // what a second one used would be the first one's
        Some(reps) => reps,
        None if is_latency => LATENCY_OPERATIONS,
        None => REPETITIONS,
    };
    let lab = Lab { cluster, n, expression: &bench.expr, prefix: format!("bench-{}", uuid::Uuid::new_v4().simple()) };
    let mut meter = Meter::count(workload.to_string());
    let mut times = Vec::new();
    let before = cluster.carried();
    let measured = lab.run(workload, reps, &mut |time| {
        times.push(time);
        meter.update(Progress { done: times.len() as u64, total: reps.into() });
    });
    let status = measured.and_then(|()| cluster.status());
    lab.clear()?;
    let status = status?;
    let dtype = match workload {
        Workload::Apply2 => DType::Int32,
        Workload::Arange => DType::Int64,
        _ => DType::Float64,
    };
    let times = Sorted::new(times);
    Ok(Report {
        workload: workload.to_string(),
        n,
        dtype: dtype.name(),
        replication: status.replication,
        workers: status.workers_alive,
        reps,
        median_ms: times.median_ms(),
        min_ms: times.quantile_ms(0.0),
        max_ms: times.quantile_ms(1.0),
        p99_ms: times.quantile_ms(0.99),
        bytes: n * dtype.size() as u64,
        path: path_between(before, cluster.carried()),
        memory_bytes: is_memory.then_some(status.memory_used_bytes),
    })
}

/// The way that the bytes took in between.
fn path_between(before: Carried, after: Carried) -> &'static str {
    match (after.tcp - before.tcp, after.shared_memory - before.shared_memory) {
        (0, 0) => "none",
        (_, 0) => "tcp",
        (0, _) => "shared-memory",
        _ => "tcp and shared-memory",
    }
}

/// Arrays of one measurement.
struct Lab<'a> {
    cluster: &'a Cluster,
    n: u64,
    /// What `expr` computes.
    expression: &'a str,
    prefix: String,
}

impl Lab<'_> {
    /// Repeats a workload, and tells what each repetition took.
    fn run(&self, workload: Workload, reps: u32, tell: &mut dyn FnMut(Duration)) -> Result<(), Error> {
        match workload {
            Workload::Create => {
                for rep in 0..reps {
                    let values = self.doubles(rep);
                    tell(timed(|| self.cluster.create(&self.name(rep), &values))?);
                    self.delete(rep)?;
                }
            }
            Workload::Get => {
                let mut memory = vec![0.0; self.n as usize];
                for rep in 0..reps {
                    self.cluster.create(&self.name(rep), &self.doubles(rep))?;
                    memory.fill(f64::from(rep)); // and so the system does not clear its pages while the time runs
                    tell(timed(|| self.cluster.read_into(&self.name(rep), 0..self.n, &mut memory).map(drop))?);
                    self.delete(rep)?;
                }
            }
            Workload::Apply1 | Workload::Apply1Get => {
                for rep in 0..reps {
                    self.cluster.create(&self.name(rep), &self.doubles(rep))?;
                    let and_get = workload == Workload::Apply1Get;
                    tell(timed(|| match and_get {
                        true => self.cluster.apply_and_get::<f64>(&self.name(rep), "example1").map(drop),
                        false => self.cluster.apply(&self.name(rep), "example1").map(drop),
                    })?);
                    self.delete(rep)?;
                }
            }
            Workload::Apply2 => {
                for rep in 0..reps {
                    self.cluster.create(&self.name(rep), &self.ints(rep))?;
                    tell(timed(|| self.cluster.apply(&self.name(rep), "example2"))?);
                    self.delete(rep)?;
                }
            }
            Workload::Latency => {
                for array in 0..LATENCY_ARRAYS {
                    self.cluster.create(&self.name(array), &self.doubles(array))?;
                }
                for rep in 0..reps {
                    let name = self.name(rep % LATENCY_ARRAYS);
                    tell(timed(|| self.cluster.apply_with(&name, "example1", &ApplyOptions::default()))?);
                }
            }
            Workload::Generate => self.generated(reps, |n| format!("uniform(0, 1, {n})"), tell)?,
            Workload::Arange => self.generated(reps, |n| format!("arange({n})"), tell)?,
            Workload::Sum => self.on_uniform(reps, tell, |name| self.reduced(name, "sum(x)"))?,
            Workload::Reduce5Fused => {
                self.on_uniform(reps, tell, |name| self.reduced(name, "sum(x), min(x), max(x), mean(x), std(x)"))?;
            }
            Workload::Apply1Sum => {
                let sum = format!("sum({})", Operation::Example1.text());
                self.on_uniform(reps, tell, |name| self.reduced(name, &sum))?;
            }
            Workload::Dot => {
                for rep in (0..reps).map(|rep| 2 * rep) {
                    self.uniform(rep)?;
                    self.uniform(rep + 1)?;
                    let dot = format!("sum(x * `{}`)", self.name(rep + 1));
                    tell(timed(|| self.reduced(&self.name(rep), &dot))?);
                    self.delete(rep)?;
                    self.delete(rep + 1)?;
                }
            }
            Workload::Expr => {
                self.on_uniform(reps, tell, |name| self.cluster.apply(name, self.expression).map(drop))?
            }
            Workload::Memory => {
                // One array and its result stay: what the workers use for them is reported.
                tell(timed(|| {
                    self.cluster.create(&self.name(0), &self.doubles(0))?;
                    self.cluster.apply(&self.name(0), "example1")
                })?);
                std::thread::sleep(3 * HEARTBEAT_INTERVAL); // the workers say what they use with every heartbeat
            }
        }
        Ok(())
    }

    /// Times having an array made.
    fn generated(
        &self,
        reps: u32,
        generator: impl Fn(u64) -> String,
        tell: &mut dyn FnMut(Duration),
    ) -> Result<(), Error> {
        for rep in 0..reps {
            tell(timed(|| self.generate(rep, &generator(self.n)))?);
            self.delete(rep)?;
        }
        Ok(())
    }

    /// Times what is done with an array that is made for each repetition.
    fn on_uniform(
        &self,
        reps: u32,
        tell: &mut dyn FnMut(Duration),
        work: impl Fn(&str) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for rep in 0..reps {
            self.uniform(rep)?;
            tell(timed(|| work(&self.name(rep)))?);
            self.delete(rep)?;
        }
        Ok(())
    }

    /// Has an array of uniform numbers in [0, 1) made, for each repetition others.
    fn uniform(&self, rep: u32) -> Result<(), Error> {
        self.generate(rep, &format!("uniform(0, 1, {})", self.n))
    }

    fn generate(&self, rep: u32, generator: &str) -> Result<(), Error> {
        let options = GenerateOptions { seed: Some(rep.into()), ..GenerateOptions::default() };
        self.cluster.generate(&self.name(rep), generator, &options).map(drop)
    }

    fn reduced(&self, name: &str, reductions: &str) -> Result<(), Error> {
        self.cluster.reduce(name, reductions).map(drop)
    }

    fn name(&self, rep: u32) -> String {
        format!("{}-{rep}", self.prefix)
    }

    fn doubles(&self, rep: u32) -> Vec<f64> {
        self.values(|values| random::fill_double(rep.into(), 0, values, -100.0, 100.0))
    }

    fn ints(&self, rep: u32) -> Vec<i32> {
        self.values(|values| random::fill_int(rep.into(), 0, values, -1000, 100_000))
    }

    fn values<T: Element>(&self, fill: impl FnOnce(&mut [T])) -> Vec<T> {
        let mut values = vec![T::default(); self.n as usize];
        fill(&mut values);
        values
    }

    fn delete(&self, rep: u32) -> Result<(), Error> {
        self.cluster.delete(&self.name(rep))
    }

    /// Deletes what is left, also of a measurement that failed.
    fn clear(&self) -> Result<(), Error> {
        for array in self.cluster.arrays()? {
            if array.array_id.starts_with(&self.prefix) {
                self.cluster.delete(&array.array_id)?;
            }
        }
        Ok(())
    }
}

fn timed<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<Duration, Error> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed())
}

/// Times in order.
struct Sorted(Vec<Duration>);

impl Sorted {
    fn new(mut times: Vec<Duration>) -> Sorted {
        times.sort_unstable();
        Sorted(times)
    }

    /// The smallest time that so many of them do not exceed (nearest rank).
    fn quantile_ms(&self, part: f64) -> f64 {
        let rank = (part * self.0.len() as f64).ceil().max(1.0) as usize;
        self.0.get(rank - 1).map_or(0.0, |time| ms(*time))
    }

    fn median_ms(&self) -> f64 {
        match self.0.len() {
            0 => 0.0,
            len => ms((self.0[(len - 1) / 2] + self.0[len / 2]) / 2),
        }
    }
}

/// Milliseconds, to the microsecond.
fn ms(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_times_that_were_measured_and_the_median_is_between_two() {
        let times = Sorted::new([4, 1, 3, 2].map(Duration::from_millis).to_vec());
        let quantiles = [0.0, 0.25, 0.5, 0.99, 1.0].map(|part| times.quantile_ms(part));
        assert_eq!(quantiles, [1.0, 1.0, 2.0, 4.0, 4.0]);
        assert_eq!(times.median_ms(), 2.5);
        let hundred = Sorted::new((1..=200).map(Duration::from_millis).collect());
        assert_eq!(hundred.quantile_ms(0.99), 198.0);
        assert_eq!((Sorted::new(vec![]).median_ms(), Sorted::new(vec![]).quantile_ms(0.99)), (0.0, 0.0));
    }
}
