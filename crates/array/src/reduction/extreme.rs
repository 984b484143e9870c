//! The least and the greatest, and where they are.

use super::lanes::{self, Number};
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

    /// Of float elements among which there may be NaNs, or surely is none.
    pub fn of(direction: Direction, build: Build, values: Values<'_>, nans: bool) -> Extreme {
        if values.is_empty() {
            return Extreme::EMPTY;
        }
        let value = match values {
            Values::Bool(values) => Scalar::Bool(build.run(Bytes(direction, values))),
            Values::Int32(values) => Scalar::Int32(build.run(Integers(direction, values))),
            Values::Int64(values) => Scalar::Int64(build.run(Integers(direction, values))),
            Values::Float32(values) => Scalar::Float32(narrow(build.run(Floats(direction, values, nans)))),
            Values::Float64(values) => Scalar::Float64(build.run(Floats(direction, values, nans))),
        };
        Extreme(Some((value, 0)))
    }

    /// With the index of the first such element.
    pub fn first_of(direction: Direction, build: Build, first_index: u64, values: Values<'_>, nans: bool) -> Extreme {
        let Extreme(Some((value, _))) = Extreme::of(direction, build, values, nans) else {
            return Extreme::EMPTY;
        };
        let place = match (value, values) {
            (Scalar::Bool(value), Values::Bool(values)) => build.run(First(values, |x| (x != 0) == value)),
            (Scalar::Int32(value), Values::Int32(values)) => build.run(First(values, |x| x == value)),
            (Scalar::Int64(value), Values::Int64(values)) => build.run(First(values, |x| x == value)),
            (Scalar::Float32(value), Values::Float32(values)) if value.is_nan() => {
                build.run(First(values, f32::is_nan))
            }
            (Scalar::Float32(value), Values::Float32(values)) => build.run(First(values, |x| x == value)),
            (Scalar::Float64(value), Values::Float64(values)) if value.is_nan() => {
                build.run(First(values, f64::is_nan))
            }
            (Scalar::Float64(value), Values::Float64(values)) => build.run(First(values, |x| x == value)),
            _ => unreachable!("an extreme has the dtype of the elements"),
        };
        let place = place.expect("an extreme is one of the elements");
        Extreme(Some((value.with_one_zero(), first_index + place as u64)))
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

impl Scalar {
    /// Itself, but 0.0 for -0.0: where zeros are equal, no bit may tell which one came first.
    fn with_one_zero(self) -> Scalar {
        match self {
            Scalar::Float32(value) => Scalar::Float32(value + 0.0),
            Scalar::Float64(value) => Scalar::Float64(value + 0.0),
            _ => self,
        }
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
ordered_integers!(bool, i32, i64);

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

struct Bytes<'a>(Direction, &'a [u8]);

impl Loop for Bytes<'_> {
    type Output = bool;

    /// The least of truth values is whether all are true, the greatest whether any is.
    #[inline(always)]
    fn run(self) -> bool {
        let Bytes(direction, values) = self;
        match direction {
            Direction::Least => values.iter().fold(true, |all, &x| all & (x != 0)),
            Direction::Greatest => values.iter().fold(false, |any, &x| any | (x != 0)),
        }
    }
}

struct Integers<'a, T>(Direction, &'a [T]);

impl<T: Copy + Ord> Loop for Integers<'_, T> {
    type Output = T;

    #[inline(always)]
    fn run(self) -> T {
        let Integers(direction, values) = self;
        match direction {
            Direction::Least => values.iter().fold(values[0], |least, &x| least.min(x)),
            Direction::Greatest => values.iter().fold(values[0], |greatest, &x| greatest.max(x)),
        }
    }
}

/// Elements among which there may be NaNs, or surely is none.
struct Floats<'a, T>(Direction, &'a [T], bool);

impl<T: Number> Loop for Floats<'_, T> {
    type Output = f64;

    /// Numbers first, as if there were one zero and no NaN; the processor's instructions know neither.
    #[inline(always)]
    fn run(self) -> f64 {
        let Floats(direction, values, nans) = self;
        if nans && values.iter().map(|x| u32::from(x.to_f64().is_nan())).sum::<u32>() > 0 {
            return NAN;
        }
        let (found, outer_zero) = match direction {
            Direction::Least => (lanes::combine(values, f64::INFINITY, |x| x, |a, b| if b < a { b } else { a }), -0.0),
            Direction::Greatest => {
                (lanes::combine(values, f64::NEG_INFINITY, |x| x, |a, b| if b > a { b } else { a }), 0.0_f64)
            }
        };
        if found != 0.0 {
            return found;
        }
        let has_outer = values.iter().any(|x| x.to_f64().to_bits() == outer_zero.to_bits());
        if has_outer { outer_zero } else { -outer_zero }
    }
}

/// An extreme of float32 elements, computed in float64, as the element that it is.
fn narrow(x: f64) -> f32 {
    if x.is_nan() { NAN_F32 } else { x as f32 }
}

/// Elements that are compared between two looks whether one was found.
const BLOCK: usize = 64;

/// Where the first element is that meets a condition.
struct First<'a, T, F>(&'a [T], F);

impl<T: Copy, F: Fn(T) -> bool> Loop for First<'_, T, F> {
    type Output = Option<usize>;

    #[inline(always)]
    fn run(self) -> Option<usize> {
        let First(values, condition) = self;
        let meets = |block: &&[T]| block.iter().fold(false, |any, &x| any | condition(x));
        let (block, start) = values.chunks(BLOCK).zip((0..).step_by(BLOCK)).find(|(block, _)| meets(block))?;
        block.iter().position(|&x| condition(x)).map(|place| start + place)
    }
}
