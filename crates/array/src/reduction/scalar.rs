//! One value, or many, of a dtype that is computed on.

use std::fmt;

use super::{LEAF, NAN, NAN_F32};
use crate::DType;

/// One value of a dtype that is computed on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// Of [`DType::Bool`].
    Bool(bool),
    /// Of [`DType::Int32`].
    Int32(i32),
    /// Of [`DType::Int64`].
    Int64(i64),
    /// Of [`DType::Float32`].
    Float32(f32),
    /// Of [`DType::Float64`].
    Float64(f64),
}

impl Scalar {
    /// Its dtype.
    pub fn dtype(self) -> DType {
        match self {
            Scalar::Bool(_) => DType::Bool,
            Scalar::Int32(_) => DType::Int32,
            Scalar::Int64(_) => DType::Int64,
            Scalar::Float32(_) => DType::Float32,
            Scalar::Float64(_) => DType::Float64,
        }
    }

    /// Reads what [`fmt::Display`] writes, to the same bits; of numbers also any other decimal.
    ///
    /// # Errors
    /// [`BadScalar`] if the text is no value of that dtype, or the dtype is not computed on. A number too large for the dtype is
    /// none, not infinity.
    pub fn parse(dtype: DType, text: &str) -> Result<Scalar, BadScalar> {
        let scalar = match dtype {
            DType::Bool => text.parse().ok().map(Scalar::Bool),
            DType::Int32 => text.parse().ok().map(Scalar::Int32),
            DType::Int64 => text.parse().ok().map(Scalar::Int64),
            DType::Float32 => text.parse().ok().map(|x: f32| Scalar::Float32(if x.is_nan() { NAN_F32 } else { x })),
            DType::Float64 => text.parse().ok().map(|x: f64| Scalar::Float64(if x.is_nan() { NAN } else { x })),
            _ => None,
        };
        let is_infinite = match scalar {
            Some(Scalar::Float32(x)) => x.is_infinite(),
            Some(Scalar::Float64(x)) => x.is_infinite(),
            _ => false,
        };
        let is_written = !is_infinite || !text.contains(|c: char| c.is_ascii_digit());
        scalar.filter(|_| is_written).ok_or_else(|| BadScalar { dtype, text: text.to_owned() })
    }
}

/// The shortest decimal that is read back to the same bits, or `NaN`, `inf`, `-inf`; `true`, `false`.
impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Bool(value) => write!(f, "{value}"),
            Scalar::Int32(value) => write!(f, "{value}"),
            Scalar::Int64(value) => write!(f, "{value}"),
            Scalar::Float32(value) => write!(f, "{value:?}"),
            Scalar::Float64(value) => write!(f, "{value:?}"),
        }
    }
}

/// The text is no value of the dtype.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadScalar {
    /// The dtype that was asked for.
    pub dtype: DType,
    /// The text as it was given.
    pub text: String,
}

impl fmt::Display for BadScalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is no value of {}", self.text, self.dtype)
    }
}

impl std::error::Error for BadScalar {}

/// Consecutive elements, typed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Values<'a> {
    /// Of [`DType::Bool`]: each byte 0 or 1.
    Bool(&'a [u8]),
    /// Of [`DType::Int32`].
    Int32(&'a [i32]),
    /// Of [`DType::Int64`].
    Int64(&'a [i64]),
    /// Of [`DType::Float32`].
    Float32(&'a [f32]),
    /// Of [`DType::Float64`].
    Float64(&'a [f64]),
}

impl<'a> Values<'a> {
    /// Elements from their bytes.
    ///
    /// # Panics
    /// If the dtype is not computed on, or the bytes are not aligned for it or no whole number of elements.
    pub fn of(dtype: DType, bytes: &'a [u8]) -> Values<'a> {
        match dtype {
            DType::Bool => Values::Bool(bytes),
            DType::Int32 => Values::Int32(bytemuck::cast_slice(bytes)),
            DType::Int64 => Values::Int64(bytemuck::cast_slice(bytes)),
            DType::Float32 => Values::Float32(bytemuck::cast_slice(bytes)),
            DType::Float64 => Values::Float64(bytemuck::cast_slice(bytes)),
            other => panic!("nothing is computed on {other}"),
        }
    }

    /// Their dtype.
    pub fn dtype(self) -> DType {
        match self {
            Values::Bool(_) => DType::Bool,
            Values::Int32(_) => DType::Int32,
            Values::Int64(_) => DType::Int64,
            Values::Float32(_) => DType::Float32,
            Values::Float64(_) => DType::Float64,
        }
    }

    /// How many there are.
    pub fn len(self) -> usize {
        match self {
            Values::Bool(values) => values.len(),
            Values::Int32(values) => values.len(),
            Values::Int64(values) => values.len(),
            Values::Float32(values) => values.len(),
            Values::Float64(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The first leaf and the rest.
    pub(super) fn split_leaf(self) -> (Values<'a>, Values<'a>) {
        macro_rules! split {
            ($($kind:ident),*) => {
                match self {
                    $(Values::$kind(values) => {
                        let (leaf, rest) = values.split_at(values.len().min(LEAF));
                        (Values::$kind(leaf), Values::$kind(rest))
                    })*
                }
            };
        }
        split!(Bool, Int32, Int64, Float32, Float64)
    }
}
