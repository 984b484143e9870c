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

    /// The median, in seconds.
    pub fn median_s(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort();
        median(&sorted).as_secs_f64()
    }

    /// The median and, beside it, the least and the greatest, in milliseconds: `  12.3 (11.0..15.2)`.
    pub fn show(&self) -> String {
        let mut sorted = self.0.clone();
        sorted.sort();
        let (Some(min), Some(max)) = (sorted.first(), sorted.last()) else { return "-".to_string() };
        format!("{} ({}..{})", ms(median(&sorted)), ms(*min), ms(*max))
    }
}

fn median(sorted: &[Duration]) -> Duration {
    (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2
}

fn ms(time: Duration) -> String {
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
}
