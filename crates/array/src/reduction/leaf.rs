//! A leaf under several reducers.

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
    /// Of sum, mean, var and std; and of extremes of floats, see [`Leaf::nans`].
    sum: Option<Sum>,
}

impl<'a> Leaf<'a> {
    /// A leaf of which the first element has this index in the array.
    ///
    /// # Panics
    /// If there are more than [`LEAF`] elements.
    pub fn new(build: Build, first_index: u64, values: Values<'a>) -> Leaf<'a> {
        assert!(values.len() <= LEAF, "a leaf of {} elements, {LEAF} at most", values.len());
        Leaf { build, first_index, values, sum: None }
    }

    /// What a reducer knows of it.
    pub fn partial(&mut self, reducer: Reducer) -> Partial {
        let Leaf { build, values, .. } = *self;
        let state = match reducer {
            Reducer::Sum | Reducer::Mean => State::Sum(self.sum()),
            Reducer::Prod => State::Product(Product::of(build, values)),
            Reducer::Min => State::Extreme(Extreme::of(Direction::Least, build, values, self.nans())),
            Reducer::Max => State::Extreme(Extreme::of(Direction::Greatest, build, values, self.nans())),
            Reducer::Argmin => State::Extreme(self.first(Direction::Least)),
            Reducer::Argmax => State::Extreme(self.first(Direction::Greatest)),
            Reducer::Var | Reducer::Std => State::Moments(Moments::of(build, values, self.sum())),
            Reducer::Count | Reducer::Any | Reducer::All => State::Count(Count::of(build, values)),
        };
        Partial::new(reducer, values.dtype(), state)
    }

    fn first(&mut self, direction: Direction) -> Extreme {
        let nans = self.nans();
        Extreme::first_of(direction, self.build, self.first_index, self.values, nans)
    }

    /// Whether there may be NaNs. A sum with one is one; so if it is a number, which somebody else mostly asks for anyway, nobody
    /// needs to look for them.
    fn nans(&mut self) -> bool {
        let floats = matches!(self.values, Values::Float32(_) | Values::Float64(_));
        floats && self.sum().total.to_f64().is_nan()
    }

    fn sum(&mut self) -> Sum {
        *self.sum.get_or_insert_with(|| Sum::of(self.build, self.values))
    }
}
