//! Mean and squared deviations.

use super::lanes::{self, Number};
use super::{NAN, Values, canonical};
use crate::kernels::{Build, Loop};

/// How many elements there are, their sum, and the sum of the squared differences from their mean.
#[derive(Clone, Copy, Debug)]
pub struct Moments {
    pub len: u64,
    pub sum: f64,
    pub squares: f64,
}

impl Moments {
    pub const EMPTY: Moments = Moments { len: 0, sum: 0.0, squares: 0.0 };

    pub fn of(build: Build, values: Values<'_>) -> Moments {
        match values {
            Values::Bool(values) => build.run(Deviations(values)),
            Values::Int32(values) => build.run(Deviations(values)),
            Values::Int64(values) => build.run(Deviations(values)),
            Values::Float32(values) => build.run(Deviations(values)),
            Values::Float64(values) => build.run(Deviations(values)),
        }
    }

    /// Formulas 2.1 of Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances",
    /// Stanford STAN-CS-79-773, 1979, with means in the place of sums.
    pub fn merge(self, later: Moments) -> Moments {
        if self.len == 0 || later.len == 0 {
            return if self.len == 0 { later } else { self };
        }
        let (a, b) = (self.len as f64, later.len as f64);
        let apart = later.sum / b - self.sum / a;
        Moments {
            len: self.len.saturating_add(later.len),
            sum: canonical(self.sum + later.sum),
            squares: canonical(self.squares + later.squares + apart * apart * (a / (a + b) * b)),
        }
    }

    pub fn variance(self) -> f64 {
        if self.len == 0 { NAN } else { self.squares / self.len as f64 }
    }
}

/// Two passes: the mean, then the deviations.
struct Deviations<'a, T>(&'a [T]);

impl<T: Number> Loop for Deviations<'_, T> {
    type Output = Moments;

    #[inline(always)]
    fn run(self) -> Moments {
        let len = self.0.len();
        let sum = lanes::combine(self.0, 0.0, |x| x, |a, b| a + b);
        let mean = sum / len as f64;
        let squares = lanes::combine(self.0, 0.0, |x| (x - mean) * (x - mean), |a, b| a + b);
        Moments { len: len as u64, sum: canonical(sum), squares: canonical(squares) }
    }
}
