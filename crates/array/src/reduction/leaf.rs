//! A leaf under several reducers.

use std::cell::OnceCell;

use super::count::Count;
use super::extreme::{Direction, Extreme};
use super::moments::Moments;
use super::partial::State;
use super::product::Product;
use super::sum::Sum;
use super::{LEAF, Partial, Reducer, Values};
use crate::kernels::Build;

/// The elements of one leaf, and what more than one reducer asks of them.
#[derive(Clone, Debug)]
pub struct Leaf<'a> {
    build: Build,
    first_index: u64,
    values: Values<'a>,
    /// Of sum, mean, var and std.
    sum: OnceCell<Sum>,
}

impl<'a> Leaf<'a> {
    /// A leaf of which the first element has this index in the array.
    ///
    /// # Panics
    /// If there are more than [`LEAF`] elements.
    pub fn new(build: Build, first_index: u64, values: Values<'a>) -> Leaf<'a> {
        assert!(values.len() <= LEAF, "a leaf of {} elements, {LEAF} at most", values.len());
        Leaf { build, first_index, values, sum: OnceCell::new() }
    }

    /// What a reducer knows of it.
    pub fn partial(&self, reducer: Reducer) -> Partial {
        let Leaf { build, first_index, values, .. } = *self;
        let state = match reducer {
            Reducer::Sum | Reducer::Mean => State::Sum(self.sum()),
            Reducer::Prod => State::Product(Product::of(build, values)),
            Reducer::Min => State::Extreme(Extreme::of(Direction::Least, build, values)),
            Reducer::Max => State::Extreme(Extreme::of(Direction::Greatest, build, values)),
            Reducer::Argmin => State::Extreme(Extreme::first_of(Direction::Least, build, first_index, values)),
            Reducer::Argmax => State::Extreme(Extreme::first_of(Direction::Greatest, build, first_index, values)),
            Reducer::Var | Reducer::Std => State::Moments(Moments::of(build, values, self.sum())),
            Reducer::Count | Reducer::Any | Reducer::All => State::Count(Count::of(build, values)),
        };
        Partial::new(reducer, values.dtype(), state)
    }

    fn sum(&self) -> Sum {
        *self.sum.get_or_init(|| Sum::of(self.build, self.values))
    }
}
