//! Random numbers from one seed: SplitMix64.

use std::time::Duration;

/// A sequence that its seed decides.
#[derive(Clone, Debug)]
pub struct Random {
    seed: u64,
    drawn: u64,
}

impl Random {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Random {
        Random { seed, drawn: 0 }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        let bits = array::random::bits(self.seed, self.drawn);
        self.drawn += 1;
        bits
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// A number in `[low, high)`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// A time in `[low, high)`.
    pub fn time(&mut self, low: Duration, high: Duration) -> Duration {
        Duration::from_micros(
            self.between(low.as_micros() as u64, (high.as_micros() as u64).max(low.as_micros() as u64 + 1)),
        )
    }
}
