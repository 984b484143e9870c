//! What is known of consecutive elements so far.

use std::fmt;

use super::count::Count;
use super::extreme::{Direction, Extreme};
use super::moments::Moments;
use super::product::Product;
use super::sum::Sum;
use super::{Leaf, NAN_F32, Reducer, Scalar, Values, canonical};
use crate::DType;
use crate::kernels::Build;

/// What one reducer knows of consecutive elements so far, of a fixed small size.
#[derive(Clone, Copy, Debug)]
pub struct Partial {
    reducer: Reducer,
    dtype: DType,
    pub(super) state: State,
}

/// What several reducers have in common.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// Of sum and mean.
    Sum(Sum),
    Product(Product),
    /// Of min, max, argmin and argmax.
    Extreme(Extreme),
    /// Of var and std.
    Moments(Moments),
    /// Of count, any and all.
    Count(Count),
}

impl Partial {
    /// What is known of no elements.
    ///
    /// # Panics
    /// If the dtype is not computed on.
    pub fn empty(reducer: Reducer, dtype: DType) -> Partial {
        let state = match reducer {
            Reducer::Sum | Reducer::Mean => State::Sum(Sum::empty(dtype)),
            Reducer::Prod => State::Product(Product::empty(dtype)),
            Reducer::Min | Reducer::Max | Reducer::Argmin | Reducer::Argmax => State::Extreme(Extreme::EMPTY),
            Reducer::Var | Reducer::Std => State::Moments(Moments::EMPTY),
            Reducer::Count | Reducer::Any | Reducer::All => State::Count(Count::EMPTY),
        };
        assert!(is_computed(dtype), "nothing is computed on {dtype}");
        Partial { reducer, dtype, state }
    }

    /// What is known of one leaf, of which the first element has this index in the array. Several reducers of the same leaf share
    /// more work as a [`Leaf`].
    ///
    /// # Panics
    /// If there are more than [`LEAF`](super::LEAF) elements.
    pub fn of(reducer: Reducer, build: Build, first_index: u64, values: Values<'_>) -> Partial {
        Leaf::new(build, first_index, values).partial(reducer)
    }

    pub(super) fn new(reducer: Reducer, dtype: DType, state: State) -> Partial {
        Partial { reducer, dtype, state }
    }

    /// The same, of another reducer that knows the same.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) fn with_reducer(self, reducer: Reducer) -> Partial {
        assert_eq!(
            reducer.knows_as(),
            self.reducer.knows_as(),
            "what {} knows is not what {reducer} knows",
            self.reducer
        );
        Partial { reducer, ..self }
    }

    /// The reducer it is of.
    pub fn reducer(&self) -> Reducer {
        self.reducer
    }

    /// The dtype of the elements it is of.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    pub(super) fn assert_like(&self, other: &Partial) {
        let same = (self.reducer, self.dtype) == (other.reducer, other.dtype);
        assert!(same, "{} of {} and {} of {}", self.reducer, self.dtype, other.reducer, other.dtype);
    }

    /// Adds what is known of the elements directly behind. In place: copying what was just written, in larger pieces, is what takes
    /// time here.
    ///
    /// # Panics
    /// If it is of another reducer or dtype.
    pub fn merge(&mut self, later: &Partial) {
        self.assert_like(later);
        match (&mut self.state, &later.state) {
            (State::Sum(a), State::Sum(b)) => *a = a.merge(*b),
            (State::Product(a), State::Product(b)) => *a = a.merge(*b),
            (State::Extreme(a), State::Extreme(b)) => {
                *a = match self.reducer {
                    Reducer::Min => a.merge(*b, Direction::Least),
                    Reducer::Max => a.merge(*b, Direction::Greatest),
                    Reducer::Argmin => a.merge_first(*b, Direction::Least),
                    _ => a.merge_first(*b, Direction::Greatest),
                }
            }
            (State::Moments(a), State::Moments(b)) => *a = a.merge(*b),
            (State::Count(a), State::Count(b)) => *a = a.merge(*b),
            _ => unreachable!("the reducer determines the state"),
        }
    }

    /// The value of the reduction, of dtype [`Reducer::output`].
    ///
    /// # Errors
    /// [`ReductionError::Overflow`] if the sum or product of integers does not fit int64, [`ReductionError::Empty`] if there is no
    /// element to be the least or greatest.
    pub fn finish(self) -> Result<Scalar, ReductionError> {
        let reducer = self.reducer;
        Ok(match (reducer, self.state) {
            (Reducer::Mean, State::Sum(sum)) => self.float(sum.mean()),
            (_, State::Sum(Sum { total, .. })) => match total.integer() {
                None => self.float(total.to_f64()),
                Some(total) => Scalar::Int64(total.try_into().map_err(|_| ReductionError::Overflow { reducer })?),
            },
            (_, State::Product(Product::Float(product))) => self.float(product),
            (_, State::Product(Product::Integer { negative, magnitude })) => {
                let product = if negative { -i128::from(magnitude) } else { i128::from(magnitude) };
                Scalar::Int64(product.try_into().map_err(|_| ReductionError::Overflow { reducer })?)
            }
            (_, State::Extreme(Extreme(found))) => {
                let (value, index) = found.ok_or(ReductionError::Empty { reducer })?;
                let is_index = matches!(reducer, Reducer::Argmin | Reducer::Argmax);
                if is_index { Scalar::Int64(index.cast_signed()) } else { value }
            }
            (Reducer::Std, State::Moments(moments)) => self.float(moments.variance().sqrt()),
            (_, State::Moments(moments)) => self.float(moments.variance()),
            (Reducer::Any, State::Count(count)) => Scalar::Bool(count.nonzero > 0),
            (Reducer::All, State::Count(count)) => Scalar::Bool(count.nonzero == count.len),
            (_, State::Count(count)) => Scalar::Int64(count.nonzero.cast_signed()),
        })
    }

    /// A float result, rounded once to float32 if the elements are.
    fn float(&self, x: f64) -> Scalar {
        match self.dtype {
            DType::Float32 if x.is_nan() => Scalar::Float32(NAN_F32),
            DType::Float32 => Scalar::Float32(x as f32),
            _ => Scalar::Float64(canonical(x)),
        }
    }
}

/// Whether something is computed on arrays of this dtype.
pub(super) fn is_computed(dtype: DType) -> bool {
    matches!(dtype, DType::Bool | DType::Int32 | DType::Int64 | DType::Float32 | DType::Float64)
}

/// A reduction has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReductionError {
    /// The sum or product of integers does not fit int64.
    Overflow {
        /// Which of them.
        reducer: Reducer,
    },
    /// No elements have no least and no greatest.
    Empty {
        /// What was asked for.
        reducer: Reducer,
    },
}

impl fmt::Display for ReductionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReductionError::Overflow { reducer } => {
                write!(f, "the {reducer} does not fit int64; take {reducer}(float64(...)) for a rounded one")
            }
            ReductionError::Empty { reducer } => write!(f, "no elements have no {reducer}; it needs one at least"),
        }
    }
}

impl std::error::Error for ReductionError {}
