//! Our side: a cluster of two workers with one thread each, and what is measured on it.

use crate::options::SMALL;
use array::random;
use client::{Carried, Cluster, DataPath};
use std::fmt::Display;
use std::time::{Duration, Instant};
use tests::harness::oracle::check_example1;
use tests::harness::{Processes, Setup};
use worker::cores::usable;

/// The peers have as many, and as many threads.
const WORKERS: usize = 2;

/// Small arrays that are computed on in turn, so that an operation does not find its input in the cache of the core.
const SMALL_ARRAYS: u64 = 16;

/// A running cluster with a client.
pub struct Ours {
    pub processes: Processes,
    pub client: Cluster,
    path: DataPath,
}

impl Ours {
    /// Starts a cluster, whose workers also pass bytes on by this path.
    pub fn start(replication: u32, path: DataPath) -> Ours {
        let flags = if path == DataPath::Tcp { "--no-shared-memory" } else { "" };
        // Workers have a core each, as those of the peers that are faster so.
        let cores = usable().expect("the system says which cores there are");
        let setup = Setup::new().workers(WORKERS).replication(replication).cores(cores);
        let processes = setup.worker_flags(flags).start();
        let client = processes.connect();
        Ours { processes, client, path }
    }

    /// Ends the measuring: all programs live, and the bytes have gone the way they should.
    pub fn check(&mut self) {
        self.processes.check();
        let Carried { tcp, shared_memory } = self.client.carried();
        let others = if self.path == DataPath::Tcp { shared_memory } else { tcp };
        assert_eq!(others, 0, "segments that did not go by {:?}", self.path);
    }
}

/// What storing, computing and reading took, and what was read.
pub struct Round {
    pub steps: [Duration; 3],
    pub result: Vec<f64>,
}

/// Stores, computes, reads. The operation is done when `apply` returns. `memory` is where the result is read into: as with the
/// peers and on the wire, what was there before is written over, so that no time goes to the system's clearing of fresh pages.
pub fn round(client: &Cluster, name: &str, values: &[f64], mut memory: Vec<f64>) -> Result<Round, String> {
    memory.resize(values.len(), 0.0);
    let began = Instant::now();
    client.create(name, values).map_err(say)?;
    let created = Instant::now();
    client.apply(name, "example1").map_err(say)?;
    let applied = Instant::now();
    client.read_into(name, 0..values.len() as u64, &mut memory).map_err(say)?;
    Ok(Round { steps: [created - began, applied - created, applied.elapsed()], result: memory })
}

/// What reading takes into memory that the system clears while the time runs. Compares every value.
pub fn fresh_read(client: &Cluster, name: &str, values: &[f64]) -> Result<Duration, String> {
    client.create(name, values).map_err(say)?;
    let began = Instant::now();
    let read: Vec<f64> = client.get(name).map_err(say)?;
    let taken = began.elapsed();
    client.delete(name).map_err(say)?;
    match read == values {
        true => Ok(taken),
        false => Err(format!("{name}: other values than were stored")),
    }
}

/// A round that leaves nothing, with every value compared; `memory` is kept for the next one.
pub fn checked_round(
    client: &Cluster,
    name: &str,
    values: &[f64],
    memory: &mut Vec<f64>,
) -> Result<[Duration; 3], String> {
    let round = round(client, name, values, std::mem::take(memory))?;
    check_example1(values, &round.result).map_err(|wrong| format!("{name}: {wrong}"))?;
    client.delete(name).map_err(say)?;
    *memory = round.result;
    Ok(round.steps)
}

/// Small arrays of one client, computed on one after the other.
pub struct Small<'a> {
    client: &'a Cluster,
    prefix: String,
    arrays: Vec<Vec<f64>>,
    done: usize,
}

impl<'a> Small<'a> {
    /// Stores them; the prefix is that of their names.
    pub fn store(client: &'a Cluster, prefix: &str, seed: u64) -> Result<Small<'a>, String> {
        let arrays = (0..SMALL_ARRAYS).map(|i| doubles(seed * SMALL_ARRAYS + i, SMALL)).collect();
        let small = Small { client, prefix: prefix.to_string(), arrays, done: 0 };
        for (i, values) in small.arrays.iter().enumerate() {
            client.create(&small.name(i), values).map_err(say)?;
        }
        Ok(small)
    }

    /// One operation, on the next of them.
    pub fn apply(&mut self) -> Result<Duration, String> {
        let name = self.name(self.done % self.arrays.len());
        let began = Instant::now();
        self.client.apply(&name, "example1").map_err(say)?;
        self.done += 1;
        Ok(began.elapsed())
    }

    /// How many operations there were. Compares every value of the results that are there, and deletes all.
    pub fn check(self) -> Result<usize, String> {
        for (i, values) in self.arrays.iter().enumerate() {
            let name = self.name(i);
            if i < self.done {
                let result = self.client.get(&name).map_err(say)?;
                check_example1(values, &result).map_err(|wrong| format!("{name}: {wrong}"))?;
            }
            self.client.delete(&name).map_err(say)?;
        }
        Ok(self.done)
    }

    fn name(&self, i: usize) -> String {
        format!("{}-{i}", self.prefix)
    }
}

/// The array of a seed; the peers make the same.
pub fn doubles(seed: u64, elements: usize) -> Vec<f64> {
    let mut values = vec![0.0; elements];
    random::fill_double(seed, 0, &mut values, -100.0, 100.0);
    values
}

pub fn say(error: impl Display) -> String {
    error.to_string()
}
