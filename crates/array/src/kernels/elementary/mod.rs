//! Elementary functions of slices of floats, with the same bits on every CPU.
//!
//! Most have a fast path without branches, which the compiler turns into vector instructions, and go through a block
//! again for the few elements that it does not hold for (`map.rs`). A result depends on its element only. Special values are
//! those of C99's Annex F, but every NaN is the one with the bits `0x7FF8_0000_0000_0000`.
//!
//! Everything in a fast path is `#[inline(always)]`: only inside a function with the `fma` feature is `mul_add` one
//! instruction.
//!
//! Absent: other rounding modes, floating-point exceptions.

mod arcsine;
mod arctangent;
mod double_double;
mod exponential;
mod hyperbolic;
mod integer_power;
mod logarithm;
mod map;
mod power;
mod remainder;
mod root;
mod trigonometric;

pub use integer_power::{EXPONENTS, integer_power};
pub use map::Float;

pub(super) use double_double::ROUND;
pub(super) use logarithm::ln;
pub(super) use map::{Function, Map, nan_unless_finite};
pub(super) use trigonometric::{SIN_COS_MAX, sin_plus_cos};

use super::Build;
use map::Map2;

/// A function of one number.
///
/// Results are less than one unit in the last place from the exact ones; `crates/array/README.md` has how much less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unary {
    /// The cube root.
    Cbrt,
    /// `e^x`.
    Exp,
    /// `e^x - 1`, also where that cancels.
    Expm1,
    /// The natural logarithm.
    Log,
    /// The logarithm to base 2.
    Log2,
    /// The logarithm to base 10.
    Log10,
    /// The natural logarithm of `1 + x`, also for small x.
    Log1p,
    /// The sine of an angle in radians.
    Sin,
    /// The cosine.
    Cos,
    /// The tangent.
    Tan,
    /// The arcsine, in radians.
    Asin,
    /// The arccosine.
    Acos,
    /// The arctangent.
    Atan,
    /// The hyperbolic sine.
    Sinh,
    /// The hyperbolic cosine.
    Cosh,
    /// The hyperbolic tangent.
    Tanh,
}

impl Unary {
    /// Every one there is.
    pub const ALL: [Unary; 16] = [
        Unary::Cbrt,
        Unary::Exp,
        Unary::Expm1,
        Unary::Log,
        Unary::Log2,
        Unary::Log10,
        Unary::Log1p,
        Unary::Sin,
        Unary::Cos,
        Unary::Tan,
        Unary::Asin,
        Unary::Acos,
        Unary::Atan,
        Unary::Sinh,
        Unary::Cosh,
        Unary::Tanh,
    ];

    /// Its name in C.
    pub fn name(self) -> &'static str {
        match self {
            Unary::Cbrt => "cbrt",
            Unary::Exp => "exp",
            Unary::Expm1 => "expm1",
            Unary::Log => "log",
            Unary::Log2 => "log2",
            Unary::Log10 => "log10",
            Unary::Log1p => "log1p",
            Unary::Sin => "sin",
            Unary::Cos => "cos",
            Unary::Tan => "tan",
            Unary::Asin => "asin",
            Unary::Acos => "acos",
            Unary::Atan => "atan",
            Unary::Sinh => "sinh",
            Unary::Cosh => "cosh",
            Unary::Tanh => "tanh",
        }
    }

    /// Its value for every element. Of float32 it is computed in float64, [`Unary::Exp`] to 2^-34 of its value, and rounded.
    ///
    /// # Panics
    /// If the slices have different lengths.
    pub fn run<T: Float>(self, build: Build, input: &[T], output: &mut [T]) {
        assert_eq!(input.len(), output.len(), "a kernel needs as many results as elements");
        match self {
            Unary::Cbrt => build.run(Map(root::Cbrt, input, output)),
            Unary::Exp => build.run(exponential::Exp(input, output)),
            Unary::Expm1 => build.run(Map(exponential::Expm1, input, output)),
            Unary::Log => build.run(Map(logarithm::Log, input, output)),
            Unary::Log2 => build.run(Map(logarithm::Log2, input, output)),
            Unary::Log10 => build.run(Map(logarithm::Log10, input, output)),
            Unary::Log1p => build.run(Map(logarithm::Log1p, input, output)),
            Unary::Sin => build.run(Map(trigonometric::Sin, input, output)),
            Unary::Cos => build.run(Map(trigonometric::Cos, input, output)),
            Unary::Tan => build.run(Map(trigonometric::Tan, input, output)),
            Unary::Asin => build.run(Map(arcsine::Asin, input, output)),
            Unary::Acos => build.run(Map(arcsine::Acos, input, output)),
            Unary::Atan => build.run(Map(arctangent::Atan, input, output)),
            Unary::Sinh => build.run(Map(hyperbolic::Sinh, input, output)),
            Unary::Cosh => build.run(Map(hyperbolic::Cosh, input, output)),
            Unary::Tanh => build.run(Map(hyperbolic::Tanh, input, output)),
        }
    }
}

/// Sine and cosine of every element, with the bits of [`Unary::Sin`] and [`Unary::Cos`], in less time than both.
///
/// # Panics
/// If the slices have different lengths.
pub fn sin_cos<T: Float>(build: Build, input: &[T], sin: &mut [T], cos: &mut [T]) {
    assert_eq!((input.len(), input.len()), (sin.len(), cos.len()), "a kernel needs as many results as elements");
    build.run(trigonometric::SinCos(input, sin, cos));
}

/// A function of two numbers.
///
/// Results are less than one unit in the last place from the exact ones, [`Binary::Fmod`] is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binary {
    /// `a^b`. The exponent 2 gives the bits of `a * a`.
    Pow,
    /// The angle of the point with the second coordinate a and the first coordinate b, in radians.
    Atan2,
    /// `sqrt(a^2 + b^2)`, also where the squares overflow.
    Hypot,
    /// The remainder of `a / b` with the sign of a.
    Fmod,
}

impl Binary {
    /// Every one there is.
    pub const ALL: [Binary; 4] = [Binary::Pow, Binary::Atan2, Binary::Hypot, Binary::Fmod];

    /// Its name in C.
    pub fn name(self) -> &'static str {
        match self {
            Binary::Pow => "pow",
            Binary::Atan2 => "atan2",
            Binary::Hypot => "hypot",
            Binary::Fmod => "fmod",
        }
    }

    /// Its value for every pair of elements.
    ///
    /// # Panics
    /// If the slices have different lengths.
    pub fn run(self, build: Build, a: &[f64], b: &[f64], output: &mut [f64]) {
        assert_eq!((a.len(), b.len()), (output.len(), output.len()), "a kernel needs as many results as elements");
        match self {
            Binary::Pow => build.run(Map2(power::Pow, a, b, output)),
            Binary::Atan2 => build.run(Map2(arctangent::Atan2, a, b, output)),
            Binary::Hypot => build.run(Map2(root::Hypot, a, b, output)),
            Binary::Fmod => build.run(Map2(remainder::Fmod, a, b, output)),
        }
    }
}
