//! The peers that run beside us, each with its times.

use crate::judge::{Expected, Judge};
use crate::peer::Peer;
use crate::table::Other;
use crate::times::Times;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// What each step took.
#[derive(Default)]
pub struct Steps(BTreeMap<String, Times>);

impl Steps {
    pub fn add_if(&mut self, counts: bool, step: &str, time: Duration) {
        self.0.entry(step.to_string()).or_default().add_if(counts, time);
    }

    /// None if there is no such step.
    pub fn of(&self, step: &str) -> Option<Times> {
        self.0.get(step).cloned()
    }
}

/// A peer, and what it took.
pub struct Beside {
    pub who: Other,
    pub peer: Peer,
    pub steps: Steps,
}

impl Beside {
    /// All of them, in the order of the columns.
    pub fn start(python: &Path) -> Result<Vec<Beside>, String> {
        let peers = [
            (Other::NumExpr, Peer::numexpr(python)?),
            (Other::Numba, Peer::numba(python)?),
            (Other::DaskTuned, Peer::dask(python, "tuned")?),
            (Other::Dask, Peer::dask(python, "plain")?),
            (Other::Ray, Peer::ray(python)?),
            (Other::NumPy, Peer::numpy(python)?),
        ];
        Ok(peers.into_iter().map(|(who, peer)| Beside { who, peer, steps: Steps::default() }).collect())
    }

    /// Whether it takes part where arrays are stored, computed on with `example1`, and read.
    pub fn stores(&self) -> bool {
        Other::STORING.contains(&self.who)
    }

    /// Has it store, compute and read.
    pub fn round(&mut self, seed: u64, counts: bool, expected: &Expected) -> Result<(), String> {
        let times = self.peer.round(seed, expected)?;
        self.add(counts, times);
        Ok(())
    }

    /// Has it make arrays, reduce and compute; those that are one process are asked for the ten formulas too.
    pub fn compute(&mut self, seed: u64, counts: bool, elements: usize, judge: &Judge) -> Result<(), String> {
        let mut workloads = vec!["compute"];
        if matches!(self.who, Other::NumExpr | Other::Numba | Other::NumPy) {
            workloads.push("expr");
        }
        for workload in workloads {
            let times = self.peer.steps(workload, elements, seed, |step, told| judge.check(step, told))?;
            self.add(counts, times);
        }
        Ok(())
    }

    fn add(&mut self, counts: bool, times: BTreeMap<String, Duration>) {
        for (step, time) in times {
            self.steps.add_if(counts, &step, time);
        }
    }
}
