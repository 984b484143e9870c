//! Elementary functions without branches, for loops that are to become vector instructions.
//!
//! The polynomials are those of FreeBSD's msun (fdlibm), which the `libm` crate has too:
//!
//! > Copyright (C) 1993 by Sun Microsystems, Inc. All rights reserved. Permission to use, copy, modify, and
//! > distribute this software is freely granted, provided that this notice is preserved.
//!
//! Everything is `#[inline(always)]`: only inside a function with the `fma` feature is `mul_add` one
//! instruction.

// The constants are written as in the source, with more digits than a double has.
#![allow(clippy::excessive_precision)]

/// Up to here, in absolute value, [`sin_plus_cos`] holds. Its multiple of pi/2 then has less than 47 bits.
pub const SIN_COS_MAX: f64 = 1e14;

/// Adding 1.5 * 2^52 rounds to an integer, whose lowest bits are then those of the sum.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// `sin x + cos x`, or its negative: the same square. For `|x| <= SIN_COS_MAX`.
///
/// With `x = r + n pi/2`, an even n gives `+-(cos r + sin r)`, an odd n `+-(cos r - sin r)`. Sine and cosine
/// are within one unit in the last place, also where x is next to a multiple of pi/2.
#[inline(always)]
pub fn sin_plus_cos(x: f64) -> f64 {
    let (n, r, tail) = reduce(x);
    let sign = n.to_bits() << 63;
    cos(r, tail) + f64::from_bits(sin(r, tail).to_bits() ^ sign)
}

/// `x = r + tail + n pi/2` with `|r|` at most a little above pi/4, and tail what did not fit into r.
///
/// Returns `(n + ROUND, r, tail)`. The method is Cody's and Waite's, with pi/2 in three parts of 53 bits:
/// - `x - n P1` is exact: both are multiples of 2^-53 (or n is 0), and the difference is below 1.
/// - `n P2` is taken exactly, as a rounded product and its error. The subtraction's error is exact too
///   (Dekker's fast sum), as the minuend is a multiple of the last place of the product, which is below 2^-7.
/// - `n P3` is below 2^-63, and the parts after it below 2^-115; no double in the range is nearer than about
///   2^-62 to a multiple of pi/2 other than 0.
///
/// Subtracting `n P2` with a single `mul_add` would be shorter, and tens of thousands of units off near
/// multiples of pi.
#[inline(always)]
fn reduce(x: f64) -> (f64, f64, f64) {
    const TWO_OVER_PI: f64 = f64::from_bits(0x3FE4_5F30_6DC9_C883);
    const P1: f64 = f64::from_bits(0x3FF9_21FB_5444_2D18);
    const P2: f64 = f64::from_bits(0x3C91_A626_3314_5C07);
    const P3: f64 = f64::from_bits(0xB91F_1976_B7ED_8FBC);

    let rounded = x.mul_add(TWO_OVER_PI, ROUND);
    let n = rounded - ROUND;
    let high = (-n).mul_add(P1, x);
    let product = n * P2;
    let product_error = n.mul_add(P2, -product);
    let middle = high - product;
    let middle_error = (high - middle) - product;
    let low = (-n).mul_add(P3, middle_error - product_error);
    let r = middle + low;
    (rounded, r, (middle - r) + low)
}

/// `sin(x + tail)` for x as [`reduce`] returns it: `__kernel_sin` of fdlibm.
#[inline(always)]
fn sin(x: f64, tail: f64) -> f64 {
    const S1: f64 = -1.66666666666666324348e-01;
    const S2: f64 = 8.33333333332248946124e-03;
    const S3: f64 = -1.98412698298579493134e-04;
    const S4: f64 = 2.75573137070700676789e-06;
    const S5: f64 = -2.50507602534068634195e-08;
    const S6: f64 = 1.58969099521155010221e-10;

    let z = x * x;
    let cube = z * x;
    let r = z.mul_add(z.mul_add(z.mul_add(z.mul_add(S6, S5), S4), S3), S2);
    let correction = z.mul_add(cube.mul_add(-r, 0.5 * tail), -tail);
    x - cube.mul_add(-S1, correction)
}

/// `cos(x + tail)` for x as [`reduce`] returns it: `__cos` of FreeBSD.
#[inline(always)]
fn cos(x: f64, tail: f64) -> f64 {
    const C1: f64 = 4.16666666666666019037e-02;
    const C2: f64 = -1.38888888888741095749e-03;
    const C3: f64 = 2.48015872894767294178e-05;
    const C4: f64 = -2.75573143513906633035e-07;
    const C5: f64 = 2.08757232129817482790e-09;
    const C6: f64 = -1.13596475577881948265e-11;

    let z = x * x;
    let r = z * z.mul_add(z.mul_add(z.mul_add(z.mul_add(z.mul_add(C6, C5), C4), C3), C2), C1);
    let half = 0.5 * z;
    let w = 1.0 - half;
    w + (((1.0 - w) - half) + z.mul_add(r, -(x * tail)))
}

/// The natural logarithm of a finite x >= 1, with the bits of `libm::log`.
///
/// It is that function's main path, operation by operation (so without `mul_add`). The cases it treats apart
/// do not occur, except x = 1, for which the path gives the same 0.
#[inline(always)]
pub fn ln(x: f64) -> f64 {
    const LN2_HI: f64 = 6.93147180369123816490e-01;
    const LN2_LO: f64 = 1.90821492927058770002e-10;
    const LG1: f64 = 6.666666666666735130e-01;
    const LG2: f64 = 3.999999999940941908e-01;
    const LG3: f64 = 2.857142874366239149e-01;
    const LG4: f64 = 2.222219843214978396e-01;
    const LG5: f64 = 1.818357216161805012e-01;
    const LG6: f64 = 1.531383769920937332e-01;
    const LG7: f64 = 1.479819860511658591e-01;

    // x = 2^k * m with m in [sqrt(2)/2, sqrt(2)), cut at the upper half of the double as in the source.
    const ONE: u64 = 0x3FF0_0000 << 32;
    const SQRT_HALF: u64 = 0x3FE6_A09E << 32;
    let shifted = x.to_bits().wrapping_add(ONE - SQRT_HALF);
    let m = f64::from_bits((shifted & ((1 << 52) - 1)).wrapping_add(SQRT_HALF));
    let k = exponent(shifted);

    let f = m - 1.0;
    let half_square = 0.5 * f * f;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let t1 = w * (LG2 + w * (LG4 + w * LG6));
    let t2 = z * (LG1 + w * (LG3 + w * (LG5 + w * LG7)));
    let r = t2 + t1;
    s * (half_square + r) + k * LN2_LO - half_square + f + k * LN2_HI
}

/// The unbiased exponent in the bits of a positive double, as a double. AVX2 has no conversion from 64-bit
/// integers, so the field is placed into the bits of 2^52 and that is subtracted.
#[inline(always)]
fn exponent(bits: u64) -> f64 {
    const TWO_52: f64 = 4_503_599_627_370_496.0;
    f64::from_bits((bits >> 52) | TWO_52.to_bits()) - (TWO_52 + 1023.0)
}

/// An integer in `0..2^31` that is held as a double. The same trick: a checked conversion does not vectorise
/// well.
#[inline(always)]
pub fn small_to_i32(x: f64) -> i32 {
    (x + ROUND).to_bits() as i32
}

#[cfg(test)]
mod tests {
    use std::f64::consts::FRAC_PI_2;

    use super::*;
    use crate::random;

    /// Sine and cosine put together from the parts, to compare each with `libm`.
    fn sin_cos(x: f64) -> (f64, f64) {
        let (n, r, tail) = reduce(x);
        let (s, c) = (sin(r, tail), cos(r, tail));
        match n.to_bits() & 3 {
            0 => (s, c),
            1 => (c, -s),
            2 => (-s, -c),
            _ => (-c, s),
        }
    }

    /// Units in the last place between two doubles. The zeros are one: `reduce` loses the sign of -0.0, and
    /// the sum, which is 1 there, cannot show it.
    fn ulps(a: f64, b: f64) -> u64 {
        let ordered = |x: f64| {
            let magnitude = x.abs().to_bits() as i64;
            if x < 0.0 { -magnitude } else { magnitude }
        };
        ordered(a).abs_diff(ordered(b))
    }

    fn assert_near_libm(x: f64) {
        let (sin, cos) = sin_cos(x);
        assert!(ulps(sin, libm::sin(x)) <= 1, "sin {x:e} = {sin:e}, libm {:e}", libm::sin(x));
        assert!(ulps(cos, libm::cos(x)) <= 1, "cos {x:e} = {cos:e}, libm {:e}", libm::cos(x));
        let sum = sin_plus_cos(x).abs();
        assert_eq!(sum, (sin + cos).abs(), "{x:e}");
    }

    /// Where one of the two is tiny, a reduction with too few bits shows in thousands of units.
    #[test]
    fn sin_and_cos_next_to_multiples_of_half_pi() {
        let dense = 0..300_000_u64;
        let sparse = (18..45).flat_map(|bits| (0..200).map(move |offset| (1 << bits) + offset));
        for k in dense.chain(sparse) {
            let x = k as f64 * FRAC_PI_2;
            for x in [x, -x, x.next_up(), x.next_down()] {
                assert_near_libm(x);
            }
        }
    }

    #[test]
    fn sin_and_cos_at_every_magnitude() {
        let mut values = vec![0.0; 20_000];
        for bound in [1e-300, 1e-9, 0.7, 1.0, 3.0, 1e3, 1e6, 1e9, 1e12, SIN_COS_MAX] {
            random::fill_double(21, 0, &mut values, -bound, bound);
            values.iter().copied().for_each(assert_near_libm);
        }
        [0.0, -0.0, 5e-324, -5e-324, SIN_COS_MAX, -SIN_COS_MAX].into_iter().for_each(assert_near_libm);
    }

    #[test]
    fn ln_has_the_bits_of_libm() {
        let mut huge = vec![0.0; 100_000];
        random::fill_double(22, 0, &mut huge, 1.0, f64::MAX);
        let ints = (1..100_000).chain((1..i32::MAX).step_by(9_973)).map(f64::from);
        let near_one = (0..1_000).map(|i| 1.0 + f64::from(i) * f64::EPSILON);
        for x in ints.chain(near_one).chain(huge) {
            assert_eq!(ln(x).to_bits(), libm::log(x).to_bits(), "{x:e}");
        }
    }

    #[test]
    fn small_integers_convert_exactly() {
        for x in [0, 1, 6, 7, 65_535, i32::MAX] {
            assert_eq!(small_to_i32(f64::from(x)), x);
        }
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    Cbrt,
    Exp,
    Expm1,
    Log,
    Log2,
    Log10,
    Log1p,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
}
impl Unary {
    pub const ALL: [Unary; 16] = {
        use Unary::*;
        [Cbrt, Exp, Expm1, Log, Log2, Log10, Log1p, Sin, Cos, Tan, Asin, Acos, Atan, Sinh, Cosh, Tanh]
    };
    pub fn name(self) -> &'static str {
        use Unary::*;
        match self {
            Cbrt => "cbrt",
            Exp => "exp",
            Expm1 => "expm1",
            Log => "log",
            Log2 => "log2",
            Log10 => "log10",
            Log1p => "log1p",
            Sin => "sin",
            Cos => "cos",
            Tan => "tan",
            Asin => "asin",
            Acos => "acos",
            Atan => "atan",
            Sinh => "sinh",
            Cosh => "cosh",
            Tanh => "tanh",
        }
    }
    pub fn run(self, _: super::Build, input: &[f64], output: &mut [f64]) {
        use Unary::*;
        let f = match self {
            Cbrt => libm::cbrt,
            Exp => libm::exp,
            Expm1 => libm::expm1,
            Log => libm::log,
            Log2 => libm::log2,
            Log10 => libm::log10,
            Log1p => libm::log1p,
            Sin => libm::sin,
            Cos => libm::cos,
            Tan => libm::tan,
            Asin => libm::asin,
            Acos => libm::acos,
            Atan => libm::atan,
            Sinh => libm::sinh,
            Cosh => libm::cosh,
            Tanh => libm::tanh,
        };
        for (x, y) in input.iter().zip(output) {
            *y = f(*x);
        }
    }
}
pub fn sin_cos(build: super::Build, input: &[f64], sin: &mut [f64], cos: &mut [f64]) {
    Unary::Sin.run(build, input, sin);
    Unary::Cos.run(build, input, cos);
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    Pow,
    Atan2,
    Hypot,
    Fmod,
}
impl Binary {
    pub const ALL: [Binary; 4] = [Binary::Pow, Binary::Atan2, Binary::Hypot, Binary::Fmod];
    pub fn name(self) -> &'static str {
        use Binary::*;
        match self {
            Pow => "pow",
            Atan2 => "atan2",
            Hypot => "hypot",
            Fmod => "fmod",
        }
    }
    pub fn run(self, _: super::Build, a: &[f64], b: &[f64], output: &mut [f64]) {
        use Binary::*;
        let f = match self {
            Pow => libm::pow,
            Atan2 => libm::atan2,
            Hypot => libm::hypot,
            Fmod => libm::fmod,
        };
        for ((y, a), b) in output.iter_mut().zip(a).zip(b) {
            *y = f(*a, *b);
        }
    }
}
