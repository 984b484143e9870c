//! Why an element has no value.

use crate::DType;
use std::fmt;

/// Why an element has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not a number, where an int is wanted.
    NotANumber(DType),
    /// Above or below what the dtype holds.
    OutOfRange(DType),
    /// An int divided by zero.
    DivisionByZero,
    /// An int to the power of a negative one.
    NegativePower,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NotANumber(dtype) => write!(f, "NaN has no value as {dtype}; choose one with where(isnan(…), …, …)"),
            Fault::OutOfRange(dtype) => write!(f, "the value is out of the range of {dtype}; see clip and where"),
            Fault::DivisionByZero => f.write_str("an int is divided by zero; leave those out with where(… != 0, …, …)"),
            Fault::NegativePower => f.write_str("an int to the power of a negative int; make one of them float64(…)"),
        }
    }
}
