//! How many elements are not zero.

use super::{LEAF, Values};
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
            Values::Bool(values) => build.run(True(values)),
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

/// How many bytes of a leaf are not zero.
pub struct True<'a>(pub &'a [u8]);

impl Loop for True<'_> {
    type Output = u32;

    /// Counted in bytes: none of them goes beyond `LEAF / LANES`.
    #[inline(always)]
    fn run(self) -> u32 {
        const LANES: usize = 64;
        const _: () = assert!(LEAF / LANES < u8::MAX as usize);
        let mut lanes = [0_u8; LANES];
        let (vectors, rest) = self.0.as_chunks::<LANES>();
        for vector in vectors {
            for (lane, x) in lanes.iter_mut().zip(vector) {
                *lane += u8::from(*x != 0);
            }
        }
        let in_lanes: u32 = lanes.iter().map(|lane| u32::from(*lane)).sum();
        in_lanes + rest.iter().map(|x| u32::from(*x != 0)).sum::<u32>()
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
