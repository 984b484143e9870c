//! The least and the greatest, and where they are.

use super::{NAN, NAN_F32, Scalar, Values};
use crate::kernels::{Build, Loop};

/// The least or greatest of some elements and an index of it; none of no elements. The index is 0 where nobody asks for it.
#[derive(Clone, Copy, Debug)]
pub struct Extreme(pub Option<(Scalar, u64)>);

/// Which extreme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Least,
    Greatest,
}

impl Extreme {
    pub const EMPTY: Extreme = Extreme(None);

    pub fn of(direction: Direction, build: Build, values: Values<'_>) -> Extreme {
        if values.is_empty() {
            return Extreme::EMPTY;
        }
        let value = match values {
            Values::Bool(values) => Scalar::Bool(build.run(Find(direction, values)) != 0),
            Values::Int32(values) => Scalar::Int32(build.run(Find(direction, values))),
            Values::Int64(values) => Scalar::Int64(build.run(Find(direction, values))),
            Values::Float32(values) => Scalar::Float32(build.run(Find(direction, values))),
            Values::Float64(values) => Scalar::Float64(build.run(Find(direction, values))),
        };
        Extreme(Some((value, 0)))
    }

    /// With the index of the first such element.
    pub fn first_of(direction: Direction, build: Build, first_index: u64, values: Values<'_>) -> Extreme {
        let Extreme(Some((value, _))) = Extreme::of(direction, build, values) else {
            return Extreme::EMPTY;
        };
        let place = match (value, values) {
            (Scalar::Bool(value), Values::Bool(values)) => values.iter().position(|&x| (x != 0) == value),
            (Scalar::Int32(value), Values::Int32(values)) => values.iter().position(|&x| x == value),
            (Scalar::Int64(value), Values::Int64(values)) => values.iter().position(|&x| x == value),
            (Scalar::Float32(value), Values::Float32(values)) => {
                values.iter().position(|&x| x == value || (x.is_nan() && value.is_nan()))
            }
            (Scalar::Float64(value), Values::Float64(values)) => {
                values.iter().position(|&x| x == value || (x.is_nan() && value.is_nan()))
            }
            _ => unreachable!("an extreme has the dtype of the elements"),
        };
        let place = place.expect("an extreme is one of the elements");
        Extreme(Some((value, first_index + place as u64)))
    }

    pub fn merge(self, later: Extreme, direction: Direction) -> Extreme {
        let (Extreme(Some((a, _))), Extreme(Some((b, _)))) = (self, later) else {
            return Extreme(self.0.or(later.0));
        };
        let value = match (a, b) {
            (Scalar::Bool(a), Scalar::Bool(b)) => Scalar::Bool(a.pick(b, direction)),
            (Scalar::Int32(a), Scalar::Int32(b)) => Scalar::Int32(a.pick(b, direction)),
            (Scalar::Int64(a), Scalar::Int64(b)) => Scalar::Int64(a.pick(b, direction)),
            (Scalar::Float32(a), Scalar::Float32(b)) => Scalar::Float32(a.pick(b, direction)),
            (Scalar::Float64(a), Scalar::Float64(b)) => Scalar::Float64(a.pick(b, direction)),
            _ => unreachable!("an extreme has the dtype of the elements"),
        };
        Extreme(Some((value, 0)))
    }

    /// Keeps the earlier of two equal ones.
    pub fn merge_first(self, later: Extreme, direction: Direction) -> Extreme {
        let (Extreme(Some((a, _))), Extreme(Some((b, _)))) = (self, later) else {
            return Extreme(self.0.or(later.0));
        };
        let later_is_better = match (a, b) {
            (Scalar::Bool(a), Scalar::Bool(b)) => b.beats(a, direction),
            (Scalar::Int32(a), Scalar::Int32(b)) => b.beats(a, direction),
            (Scalar::Int64(a), Scalar::Int64(b)) => b.beats(a, direction),
            (Scalar::Float32(a), Scalar::Float32(b)) => b.beats(a, direction),
            (Scalar::Float64(a), Scalar::Float64(b)) => b.beats(a, direction),
            _ => unreachable!("an extreme has the dtype of the elements"),
        };
        if later_is_better { later } else { self }
    }
}

/// What has an order, but for NaN and the zeros.
trait Ordered: Copy + PartialOrd {
    /// The one of two that min or max gives.
    fn pick(self, other: Self, direction: Direction) -> Self;

    /// Whether it is before the other: a NaN before all numbers.
    #[inline(always)]
    fn beats(self, other: Self, direction: Direction) -> bool {
        #[allow(clippy::eq_op)]
        let (is_nan, other_is_nan) = (self != self, other != other);
        let is_beyond = match direction {
            Direction::Least => self < other,
            Direction::Greatest => self > other,
        };
        !other_is_nan && (is_nan || is_beyond)
    }
}

macro_rules! ordered_integers {
    ($($type:ty),*) => {
        $(impl Ordered for $type {
            #[inline(always)]
            fn pick(self, other: Self, direction: Direction) -> Self {
                match direction {
                    Direction::Least => self.min(other),
                    Direction::Greatest => self.max(other),
                }
            }
        })*
    };
}
ordered_integers!(bool, u8, i32, i64);

macro_rules! ordered_floats {
    ($($type:ty, $nan:expr);*) => {
        $(impl Ordered for $type {
            #[inline(always)]
            fn pick(self, other: Self, direction: Direction) -> Self {
                if self.is_nan() || other.is_nan() {
                    return $nan;
                }
                let is_below = self.total_cmp(&other).is_lt();
                if is_below == (direction == Direction::Least) { self } else { other }
            }
        })*
    };
}
ordered_floats!(f32, NAN_F32; f64, NAN);

struct Find<'a, T>(Direction, &'a [T]);

impl<T: Ordered> Loop for Find<'_, T> {
    type Output = T;

    #[inline(always)]
    fn run(self) -> T {
        let Find(direction, values) = self;
        values.iter().fold(values[0].pick(values[0], direction), |found, &x| found.pick(x, direction))
    }
}
