//! Products.

use super::lanes::{self, Number};
use super::{Values, canonical};
use crate::DType;
use crate::kernels::{Build, Loop};

/// The product of some elements.
#[derive(Clone, Copy, Debug)]
pub enum Product {
    /// Of bool and integers. A magnitude that does not fit stays at the highest until it is multiplied by zero, so the order of
    /// the factors makes no difference.
    Integer { negative: bool, magnitude: u64 },
    /// Of floats.
    Float(f64),
}

impl Product {
    pub fn empty(dtype: DType) -> Product {
        match dtype {
            DType::Float32 | DType::Float64 => Product::Float(1.0),
            _ => Product::Integer { negative: false, magnitude: 1 },
        }
    }

    pub fn of(build: Build, values: Values<'_>) -> Product {
        match values {
            Values::Bool(values) => Product::Integer { negative: false, magnitude: build.run(AllTrue(values)).into() },
            Values::Int32(values) => build.run(Integers(values)),
            Values::Int64(values) => build.run(Integers(values)),
            Values::Float32(values) => Product::Float(canonical(build.run(Floats(values)))),
            Values::Float64(values) => Product::Float(canonical(build.run(Floats(values)))),
        }
    }

    pub fn merge(self, later: Product) -> Product {
        match (self, later) {
            (Product::Float(a), Product::Float(b)) => Product::Float(canonical(a * b)),
            (
                Product::Integer { negative: a_negative, magnitude: a },
                Product::Integer { negative: b_negative, magnitude: b },
            ) => Product::Integer { negative: a_negative != b_negative, magnitude: a.saturating_mul(b) },
            _ => unreachable!("the dtype determines the kind"),
        }
    }
}

struct AllTrue<'a>(&'a [u8]);

impl Loop for AllTrue<'_> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        self.0.iter().fold(true, |all, &x| all & (x != 0))
    }
}

struct Integers<'a, T>(&'a [T]);

impl<T: Copy + Into<i64>> Loop for Integers<'_, T> {
    type Output = Product;

    #[inline(always)]
    fn run(self) -> Product {
        let start = (false, 1_u64);
        let (negative, magnitude) = self.0.iter().fold(start, |(negative, magnitude), &x| {
            let x: i64 = x.into();
            (negative != (x < 0), magnitude.saturating_mul(x.unsigned_abs()))
        });
        Product::Integer { negative, magnitude }
    }
}

struct Floats<'a, T>(&'a [T]);

impl<T: Number> Loop for Floats<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        lanes::combine(self.0, 1.0, |x| x, |a, b| a * b)
    }
}
