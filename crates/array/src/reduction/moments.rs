//! Mean and squared deviations.

use super::lanes::{self, Number};
use super::sum::Sum;
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

    /// The second of two passes, of which the first was for the sum.
    pub fn of(build: Build, values: Values<'_>, sum: Sum) -> Moments {
        let mean = sum.mean();
        let squares = match values {
            _ if sum.len == 0 => 0.0,
            Values::Bool(values) => build.run(Squares(values, mean)),
            Values::Int32(values) => build.run(Squares(values, mean)),
            Values::Int64(values) => build.run(Squares(values, mean)),
            Values::Float32(values) => build.run(Squares(values, mean)),
            Values::Float64(values) => build.run(Squares(values, mean)),
        };
        Moments { len: sum.len, sum: sum.total.to_f64(), squares: canonical(squares) }
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

/// The sum of the squared differences from a mean.
struct Squares<'a, T>(&'a [T], f64);

impl<T: Number> Loop for Squares<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let Squares(values, mean) = self;
        lanes::combine(values, 0.0, |x| (x - mean) * (x - mean), |a, b| a + b)
    }
}
