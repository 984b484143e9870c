//! Sums.

use super::count::True;
use super::lanes::{self, Number};
use super::{NAN, Values, canonical};
use crate::DType;
use crate::kernels::{Build, Loop};

/// How many elements there are, and their sum.
#[derive(Clone, Copy, Debug)]
pub struct Sum {
    pub len: u64,
    pub total: Total,
}

/// A sum of elements.
#[derive(Clone, Copy, Debug)]
pub enum Total {
    /// Of bool and integers: exact.
    Integer(i128),
    /// Of floats: `high + low`, where low is what the merges have rounded off.
    Float { high: f64, low: f64 },
}

impl Total {
    /// The exact sum, if it is one.
    pub fn integer(self) -> Option<i128> {
        match self {
            Total::Integer(total) => Some(total),
            Total::Float { .. } => None,
        }
    }

    pub fn to_f64(self) -> f64 {
        match self {
            Total::Integer(total) => total as f64,
            Total::Float { high, low } => high + low,
        }
    }
}

impl Sum {
    pub fn empty(dtype: DType) -> Sum {
        let total = match dtype {
            DType::Float32 | DType::Float64 => Total::Float { high: 0.0, low: 0.0 },
            _ => Total::Integer(0),
        };
        Sum { len: 0, total }
    }

    pub fn of(build: Build, values: Values<'_>) -> Sum {
        let total = match values {
            Values::Bool(values) => Total::Integer(build.run(True(values)).into()),
            Values::Int32(values) => Total::Integer(build.run(Ints(values))),
            Values::Int64(values) => Total::Integer(build.run(Longs(values))),
            Values::Float32(values) => Total::Float { high: canonical(build.run(Floats(values))), low: 0.0 },
            Values::Float64(values) => Total::Float { high: canonical(build.run(Floats(values))), low: 0.0 },
        };
        Sum { len: values.len() as u64, total }
    }

    /// Saturating, because sums from elsewhere may be anything; 2^45 elements of int64 have one below 2^108.
    pub fn merge(self, later: Sum) -> Sum {
        let total = match (self.total, later.total) {
            (Total::Integer(a), Total::Integer(b)) => Total::Integer(a.saturating_add(b)),
            (Total::Float { high: a, low: a_low }, Total::Float { high: b, low: b_low }) => {
                let high = canonical(a + b);
                // Where there is no number, there is no rest.
                let low = if high.is_finite() { a_low + b_low + rounded_off(a, b, high) } else { 0.0 };
                Total::Float { high, low }
            }
            _ => unreachable!("the dtype determines the kind"),
        };
        Sum { len: self.len.saturating_add(later.len), total }
    }

    pub fn mean(self) -> f64 {
        if self.len == 0 { NAN } else { self.total.to_f64() / self.len as f64 }
    }
}

/// What an addition has rounded off, exactly: 2Sum of Knuth, "The Art of Computer Programming", volume 2, 4.2.2, theorem B.
fn rounded_off(a: f64, b: f64, sum: f64) -> f64 {
    let b_part = sum - a;
    (a - (sum - b_part)) + (b - b_part)
}

struct Ints<'a>(&'a [i32]);

impl Loop for Ints<'_> {
    type Output = i128;

    #[inline(always)]
    fn run(self) -> i128 {
        self.0.iter().map(|&x| i64::from(x)).sum::<i64>().into()
    }
}

struct Longs<'a>(&'a [i64]);

impl Loop for Longs<'_> {
    type Output = i128;

    /// An element is `high * 2^32 + low` with low in 0..2^32. The sum of the lows is below 2^42, so it is known from what the
    /// wrapped sum of the elements differs from that of the highs: it needs no loop of its own.
    #[inline(always)]
    fn run(self) -> i128 {
        let (mut wrapped, mut highs) = (0_i64, 0_i64);
        for &x in self.0 {
            wrapped = wrapped.wrapping_add(x);
            highs += x >> 32;
        }
        let lows = wrapped.wrapping_sub(highs << 32);
        (i128::from(highs) << 32) + i128::from(lows)
    }
}

struct Floats<'a, T>(&'a [T]);

impl<T: Number> Loop for Floats<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        lanes::combine(self.0, 0.0, |x| x, |a, b| a + b)
    }
}
