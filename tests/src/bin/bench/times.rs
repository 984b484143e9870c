//! Times of repetitions, and how they are shown.

use std::time::Duration;

/// What one step took, in every repetition.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// Adds it, unless it was for warming up.
    pub fn add_if(&mut self, counts: bool, time: Duration) {
        if counts {
            self.add(time);
        }
    }

    /// The median.
    pub fn median(&self) -> Duration {
        median(&self.sorted())
    }

    /// How many times as long as the others, by the medians.
    pub fn ratio(&self, others: &Times) -> f64 {
        self.median().as_secs_f64() / others.median().as_secs_f64()
    }

    /// The time that 99 in 100 do not exceed.
    pub fn p99(&self) -> Duration {
        let sorted = self.sorted();
        sorted[(sorted.len() * 99).div_ceil(100) - 1]
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        self.0.iter().max().copied().unwrap_or_default()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The median and, beside it, the least and the greatest, in milliseconds: `  12.3 (11.0..15.2)`.
    pub fn show(&self) -> String {
        let sorted = self.sorted();
        let (Some(min), Some(max)) = (sorted.first(), sorted.last()) else { return "-".to_string() };
        format!("{} ({}..{})", ms(median(&sorted)), ms(*min), ms(*max))
    }

    fn sorted(&self) -> Vec<Duration> {
        let mut sorted = self.0.clone();
        sorted.sort();
        sorted
    }
}

fn median(sorted: &[Duration]) -> Duration {
    (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2
}

/// Milliseconds, as many digits as mean something.
pub fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    match ms {
        _ if ms < 10.0 => format!("{ms:.2}"),
        _ if ms < 100.0 => format!("{ms:.1}"),
        _ => format!("{ms:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_even_and_odd_numbers_of_times() {
        let mut times = Times::default();
        assert_eq!(times.show(), "-");
        for (ms, shown) in
            [(3, "3.00 (3.00..3.00)"), (1, "2.00 (1.00..3.00)"), (200, "3.00 (1.00..200)"), (50, "26.5 (1.00..200)")]
        {
            times.add(Duration::from_millis(ms));
            assert_eq!(times.show(), shown);
        }
    }

    #[test]
    fn of_many_times_one_in_a_hundred_may_be_longer() {
        let mut times = Times::default();
        for ms in (1..=200).rev() {
            times.add(Duration::from_millis(ms));
        }
        assert_eq!(times.p99(), Duration::from_millis(198));
        assert_eq!(times.median(), Duration::from_micros(100_500));
        let mut half = Times::default();
        half.add(Duration::from_micros(50_250));
        assert_eq!((times.ratio(&half), half.p99()), (2.0, half.median()));
    }
}
