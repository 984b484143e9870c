//! A partial as bytes.

use std::fmt;

use super::count::Count;
use super::extreme::Extreme;
use super::moments::Moments;
use super::partial::{State, is_computed};
use super::product::Product;
use super::sum::{Sum, Total};
use super::{NAN_F32, Partial, Reducer, Scalar, canonical};
use crate::{DType, LEN_MAX};

/// Where the state begins: behind the positions of reducer and dtype in their `ALL`, a flag, and five zeros.
const STATE: usize = 8;

impl Partial {
    /// Bytes of every partial.
    pub const BYTES: usize = 32;

    /// Itself as bytes, little-endian: position of the reducer in [`Reducer::ALL`], of the dtype in [`DType::ALL`], a flag (of an
    /// integer product: it is negative; of an extreme: there is one), five zeros, then the state, zeros behind it:
    ///
    /// - sum, mean: number of elements (u64); their sum (i128, or f64 and what was rounded off it, f64)
    /// - prod: magnitude (u64), or the product (f64)
    /// - min, max, argmin, argmax: the element in 8 bytes, zeros behind; its index (u64), 0 for min and max
    /// - var, std: number of elements (u64), sum (f64), sum of squared deviations (f64)
    /// - count, any, all: how many are not zero (u64), number of elements (u64)
    pub fn to_bytes(&self) -> [u8; Partial::BYTES] {
        let mut bytes = [0; Partial::BYTES];
        bytes[0] = position(&Reducer::ALL, self.reducer());
        bytes[1] = position(&DType::ALL, self.dtype());
        let (flag, words) = match self.state {
            State::Sum(Sum { len, total: Total::Integer(total) }) => (false, [len, total as u64, (total >> 64) as u64]),
            State::Sum(Sum { len, total: Total::Float { high, low } }) => (false, [len, high.to_bits(), low.to_bits()]),
            State::Product(Product::Integer { negative, magnitude }) => (negative, [magnitude, 0, 0]),
            State::Product(Product::Float(product)) => (false, [product.to_bits(), 0, 0]),
            State::Extreme(Extreme(None)) => (false, [0; 3]),
            State::Extreme(Extreme(Some((value, index)))) => (true, [scalar_bits(value), index, 0]),
            State::Moments(Moments { len, sum, squares }) => (false, [len, sum.to_bits(), squares.to_bits()]),
            State::Count(Count { nonzero, len }) => (false, [nonzero, len, 0]),
        };
        bytes[2] = flag.into();
        for (place, word) in bytes[STATE..].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The partial of this reducer and dtype that these bytes are.
    ///
    /// # Errors
    /// [`BadPartial`] if they are none: every partial has one form, and numbers that no array can have are refused.
    pub fn from_bytes(reducer: Reducer, dtype: DType, bytes: &[u8]) -> Result<Partial, BadPartial> {
        let bad = BadPartial { reducer, dtype };
        let bytes: &[u8; Partial::BYTES] = bytes.try_into().map_err(|_| bad)?;
        if !is_computed(dtype) {
            return Err(bad);
        }
        let mut partial = Partial::empty(reducer, dtype);
        let word = |index: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[STATE + 8 * index + byte]));
        let flag = bytes[2] != 0;
        partial.state = state(partial.state, reducer, dtype, flag, [word(0), word(1), word(2)]);
        let is_possible = match partial.state {
            State::Sum(Sum { len, .. }) => len <= LEN_MAX,
            State::Product(_) => true,
            State::Extreme(Extreme(found)) => found.is_none_or(|(_, index)| index < LEN_MAX),
            State::Moments(Moments { len, squares, .. }) => len <= LEN_MAX && (squares >= 0.0 || squares.is_nan()),
            State::Count(Count { nonzero, len }) => nonzero <= len && len <= LEN_MAX,
        };
        // One comparison for all: the reducer and the dtype, the zeros, bools of 0 and 1, the one NaN.
        if is_possible && partial.to_bytes() == *bytes { Ok(partial) } else { Err(bad) }
    }
}

/// The state of the kind of `empty` that these words say, if they say one.
fn state(empty: State, reducer: Reducer, dtype: DType, flag: bool, words: [u64; 3]) -> State {
    let [first, second, third] = words;
    let float = |bits| canonical(f64::from_bits(bits));
    match empty {
        State::Sum(Sum { total: Total::Integer(_), .. }) => {
            let total = i128::from(third.cast_signed()) << 64 | i128::from(second);
            State::Sum(Sum { len: first, total: Total::Integer(total) })
        }
        State::Sum(_) => State::Sum(Sum { len: first, total: Total::Float { high: float(second), low: float(third) } }),
        State::Product(Product::Integer { .. }) => {
            State::Product(Product::Integer { negative: flag, magnitude: first })
        }
        State::Product(_) => State::Product(Product::Float(float(first))),
        State::Extreme(_) => {
            let index = if matches!(reducer, Reducer::Argmin | Reducer::Argmax) { second } else { 0 };
            State::Extreme(Extreme(flag.then(|| (scalar(dtype, first), index))))
        }
        State::Moments(_) => State::Moments(Moments { len: first, sum: float(second), squares: float(third) }),
        State::Count(_) => State::Count(Count { nonzero: first, len: second }),
    }
}

fn scalar_bits(scalar: Scalar) -> u64 {
    match scalar {
        Scalar::Bool(value) => value.into(),
        Scalar::Int32(value) => value.cast_unsigned().into(),
        Scalar::Int64(value) => value.cast_unsigned(),
        Scalar::Float32(value) => value.to_bits().into(),
        Scalar::Float64(value) => value.to_bits(),
    }
}

fn scalar(dtype: DType, bits: u64) -> Scalar {
    match dtype {
        DType::Bool => Scalar::Bool(bits != 0),
        DType::Int32 => Scalar::Int32(bits as i32),
        DType::Int64 => Scalar::Int64(bits.cast_signed()),
        DType::Float32 => {
            let value = f32::from_bits(bits as u32);
            Scalar::Float32(if value.is_nan() { NAN_F32 } else { value })
        }
        _ => Scalar::Float64(canonical(f64::from_bits(bits))),
    }
}

fn position<T: PartialEq>(all: &[T], one: T) -> u8 {
    all.iter().position(|other| *other == one).expect("ALL has all").try_into().expect("there are few")
}

/// The bytes are no partial of this reducer and dtype.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPartial {
    /// The reducer that was asked for.
    pub reducer: Reducer,
    /// The dtype that was asked for.
    pub dtype: DType,
}

impl fmt::Display for BadPartial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = Partial::BYTES;
        write!(
            f,
            "these are not the {bytes} bytes of a {} of {}; sender and receiver may be of different versions",
            self.reducer, self.dtype
        )
    }
}

impl std::error::Error for BadPartial {}
