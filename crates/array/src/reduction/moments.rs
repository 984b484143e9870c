//! Mean and squared deviations.

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

/// What is computed with in float64.
trait Number: Copy {
    fn to_f64(self) -> f64;
}

macro_rules! numbers {
    ($($type:ty),*) => {
        $(impl Number for $type {
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
        })*
    };
}
numbers!(u8, i32, i64, f32, f64);

impl<T: Number> Loop for Deviations<'_, T> {
    type Output = Moments;

    #[inline(always)]
    fn run(self) -> Moments {
        let len = self.0.len();
        let sum = self.0.iter().fold(0.0, |sum, &x| sum + x.to_f64());
        let mean = sum / len as f64;
        let square = |x: &T| (x.to_f64() - mean) * (x.to_f64() - mean);
        let squares = self.0.iter().map(square).fold(0.0, |sum, square| sum + square);
        Moments { len: len as u64, sum: canonical(sum), squares: canonical(squares) }
    }
}
