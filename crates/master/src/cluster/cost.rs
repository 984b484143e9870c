//! What computing and moving a byte of a result takes here, as it was measured last; and which of the two is cheaper for a
//! replica.
//!
//! Workers say how long they were busy: a thread with computing segments, a connection with fetching copies. Numbers in,
//! a decision out.

use std::collections::BTreeMap;

/// Moving a byte before any copy was fetched, in nanoseconds: 10 Gbit/s, well used.
const MOVING_AT_FIRST: f64 = 1.0;

/// The weight of the last measurement: a change shows after some ten segments, and one that was disturbed does not count for much.
const WEIGHT: f64 = 0.125;

/// Copies below this length say more about the round trip than about the bytes.
const MEASURED_BYTES_MIN: u64 = 16 << 10;

/// Programs that are remembered.
const PROGRAMS_MAX: usize = 1024;

/// Moving keeps both ends busy, computing one.
const ENDS: f64 = 2.0;

/// Nanoseconds for each byte of a result.
#[derive(Clone, Debug)]
pub struct Costs {
    /// On one thread, by the fingerprint of the program.
    computing: BTreeMap<u32, f64>,
    moving: f64,
}

impl Default for Costs {
    fn default() -> Costs {
        Costs { computing: BTreeMap::new(), moving: MOVING_AT_FIRST }
    }
}

impl Costs {
    /// Takes note that a thread was busy for so long with making so many bytes.
    pub fn computed(&mut self, program: u32, bytes: u64, busy_us: u64) {
        if bytes >= MEASURED_BYTES_MIN {
            if self.computing.len() == PROGRAMS_MAX && !self.computing.contains_key(&program) {
                self.computing.clear(); // what is still used is soon measured again
            }
            let now = ns_per_byte(bytes, busy_us);
            self.computing.entry(program).and_modify(|cost| *cost = mixed(*cost, now)).or_insert(now);
        }
    }

    /// Takes note that fetching so many bytes has taken so long.
    pub fn moved(&mut self, bytes: u64, busy_us: u64) {
        if bytes >= MEASURED_BYTES_MIN {
            self.moving = mixed(self.moving, ns_per_byte(bytes, busy_us));
        }
    }

    /// Whether a replica with so many threads gets its copies of a result sooner from the primary than by computing them too. What
    /// has never been measured is computed.
    pub fn receives(&self, program: u32, threads: u32) -> bool {
        let computing = self.computing.get(&program).map(|cost| cost / f64::from(threads.max(1)));
        computing.is_some_and(|computing| computing > ENDS * self.moving)
    }
}

fn ns_per_byte(bytes: u64, busy_us: u64) -> f64 {
    busy_us as f64 * 1000.0 / bytes as f64
}

fn mixed(before: f64, now: f64) -> f64 {
    before + WEIGHT * (now - before)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fingerprints of two programs.
    const ONE: u32 = 1;
    const OTHER: u32 = 2;

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_was_never_measured_is_computed() {
        let mut costs = Costs::default();
        assert!(!costs.receives(ONE, 1));
        costs.moved(MIB, 1);
        assert!(!costs.receives(ONE, 1));
        costs.computed(OTHER, MIB, 1_000_000);
        assert!(!costs.receives(ONE, 1) && costs.receives(OTHER, 1));
        costs.computed(ONE, MIB, 1_000);
        assert!(!costs.receives(ONE, 1) && costs.receives(OTHER, 1), "a nanosecond a byte, and still a thousand");
    }

    #[test]
    fn whatever_is_cheaper_with_the_threads_there_are() {
        // (computing, moving one MiB in us, threads, receives)
        let table = [
            (250, 700, 1, false),
            (1_300, 700, 1, false),
            (1_500, 700, 1, true),
            (1_500, 700, 2, false),
            (40_000, 700, 16, true),
            (40_000, 90_000, 1, false),
        ];
        for (computing, moving, threads, receives) in table {
            let mut costs = Costs::default();
            for _ in 0..100 {
                costs.computed(ONE, MIB, computing);
                costs.moved(MIB, moving);
            }
            assert_eq!(costs.receives(ONE, threads), receives, "{computing} {moving} {threads}");
        }
    }

    #[test]
    fn programs_without_end_take_no_memory_without_end() {
        let mut costs = Costs::default();
        (0..10_000).for_each(|program| costs.computed(program, MIB, 1_000_000));
        assert!(costs.computing.len() <= PROGRAMS_MAX && costs.receives(9_999, 1));
    }

    #[test]
    fn one_disturbed_measurement_changes_no_decision_and_short_copies_say_nothing() {
        let mut costs = Costs::default();
        for _ in 0..100 {
            costs.computed(ONE, MIB, 250);
            costs.moved(MIB, 700);
        }
        costs.computed(ONE, MIB, 5_000);
        costs.computed(ONE, MEASURED_BYTES_MIN - 1, 1_000_000);
        costs.moved(10, 0);
        assert!(!costs.receives(ONE, 1));
    }
}
