//! How many elements are not zero.

use super::Values;
use crate::kernels::{Build, Loop};

/// How many elements there are, and how many of them are not zero.
#[derive(Clone, Copy, Debug)]
pub struct Count {
    pub nonzero: u64,
    pub len: u64,
}

impl Count {
    pub const EMPTY: Count = Count { nonzero: 0, len: 0 };

    pub fn of(build: Build, values: Values<'_>) -> Count {
        let nonzero = match values {
            Values::Bool(values) => build.run(Nonzero(values)),
            Values::Int32(values) => build.run(Nonzero(values)),
            Values::Int64(values) => build.run(Nonzero(values)),
            Values::Float32(values) => build.run(Nonzero(values)),
            Values::Float64(values) => build.run(Nonzero(values)),
        };
        Count { nonzero: nonzero.into(), len: values.len() as u64 }
    }

    /// Saturating, because counts from elsewhere may be anything.
    pub fn merge(self, later: Count) -> Count {
        Count { nonzero: self.nonzero.saturating_add(later.nonzero), len: self.len.saturating_add(later.len) }
    }
}

struct Nonzero<'a, T>(&'a [T]);

impl<T: Copy + Default + PartialEq> Loop for Nonzero<'_, T> {
    type Output = u32;

    #[inline(always)]
    fn run(self) -> u32 {
        self.0.iter().map(|&x| u32::from(x != T::default())).sum()
    }
}
