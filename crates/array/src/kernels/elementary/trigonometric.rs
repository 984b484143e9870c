//! Sine, cosine and tangent, without branches: for loops that are to become vector instructions.
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

use super::double_double::{ROUND, divide, fast_sum, polynomial};
use super::map::{BLOCK, Float, Function, nan_unless_finite, replace};
use crate::kernels::Loop;

/// Up to here, in absolute value, [`reduce`] holds, and what uses it. Its multiple of pi/2 then has less than 47 bits.
pub const SIN_COS_MAX: f64 = 1e14;

/// `sin x + cos x`, or its negative: the same square. For `|x| <= SIN_COS_MAX`.
///
/// With `x = r + n pi/2`, an even n gives `+-(cos r + sin r)`, an odd n `+-(cos r - sin r)`. Sine and cosine
/// are within one unit in the last place, also where x is next to a multiple of pi/2.
#[inline(always)]
pub fn sin_plus_cos(x: f64) -> f64 {
    let (n, r, tail) = reduce(x);
    let sign = n.to_bits() << 63;
    let (sin, cos) = (sin_parts(r, tail), cos_parts(r, tail));
    (cos.0 + cos.1) + f64::from_bits((sin.0 + sin.1).to_bits() ^ sign)
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

/// `sin(x + tail)` for x and tail as [`reduce`] returns them, in two parts: `__kernel_sin` of fdlibm.
#[inline(always)]
fn sin_parts(x: f64, tail: f64) -> (f64, f64) {
    const S1: f64 = -1.66666666666666324348e-01;
    const S2: f64 = 8.33333333332248946124e-03;
    const S3: f64 = -1.98412698298579493134e-04;
    const S4: f64 = 2.75573137070700676789e-06;
    const S5: f64 = -2.50507602534068634195e-08;
    const S6: f64 = 1.58969099521155010221e-10;

    let z = x * x;
    let cube = z * x;
    let r = polynomial(z, [S2, S3, S4, S5, S6]);
    let correction = z.mul_add(cube.mul_add(-r, 0.5 * tail), -tail);
    (x, -cube.mul_add(-S1, correction))
}

/// `cos(x + tail)` likewise: `__cos` of FreeBSD.
#[inline(always)]
fn cos_parts(x: f64, tail: f64) -> (f64, f64) {
    const C1: f64 = 4.16666666666666019037e-02;
    const C2: f64 = -1.38888888888741095749e-03;
    const C3: f64 = 2.48015872894767294178e-05;
    const C4: f64 = -2.75573143513906633035e-07;
    const C5: f64 = 2.08757232129817482790e-09;
    const C6: f64 = -1.13596475577881948265e-11;

    let z = x * x;
    let r = z * polynomial(z, [C1, C2, C3, C4, C5, C6]);
    let half = 0.5 * z;
    let w = 1.0 - half;
    (w, ((1.0 - w) - half) + z.mul_add(r, -(x * tail)))
}

/// Sine and cosine, one of which the compiler drops where it isn't used, for `|x| <= SIN_COS_MAX`.
///
/// An odd multiple of pi/2 exchanges the two; sine changes its sign at 2 and 3, cosine at 1 and 2.
#[inline(always)]
fn sin_cos_usual(x: f64) -> (f64, f64) {
    let (n, r, tail) = reduce(x);
    let (sin, cos) = (sin_parts(r, tail), cos_parts(r, tail));
    let (sin, cos) = (sin.0 + sin.1, cos.0 + cos.1);
    let n = n.to_bits();
    let is_odd = n & 1 != 0;
    let (sin, cos) = (if is_odd { cos } else { sin }, if is_odd { sin } else { cos });
    let with_sign = |x: f64, n: u64| f64::from_bits(x.to_bits() ^ ((n & 2) << 62));
    // The reduction loses the sign of -0.0.
    (if x == 0.0 { x } else { with_sign(sin, n) }, with_sign(cos, n.wrapping_add(1)))
}

#[inline(always)]
fn is_near(x: f64) -> bool {
    x.abs() <= SIN_COS_MAX
}

/// The sine.
pub struct Sin;

impl Function for Sin {
    #[inline(always)]
    fn usual(x: f64) -> f64 {
        sin_cos_usual(x).0
    }

    #[inline(always)]
    fn is_usual(x: f64) -> bool {
        is_near(x)
    }

    #[inline(always)]
    fn special(x: f64) -> Option<f64> {
        nan_unless_finite(x)
    }

    fn unusual(x: f64) -> f64 {
        libm::sin(x)
    }
}

/// The cosine.
pub struct Cos;

impl Function for Cos {
    #[inline(always)]
    fn usual(x: f64) -> f64 {
        sin_cos_usual(x).1
    }

    #[inline(always)]
    fn is_usual(x: f64) -> bool {
        is_near(x)
    }

    #[inline(always)]
    fn special(x: f64) -> Option<f64> {
        nan_unless_finite(x)
    }

    fn unusual(x: f64) -> f64 {
        libm::cos(x)
    }
}

/// The tangent.
pub struct Tan;

impl Function for Tan {
    /// Sine by cosine; at an odd multiple of pi/2, cosine by the negative of sine.
    #[inline(always)]
    fn usual(x: f64) -> f64 {
        let (n, r, tail) = reduce(x);
        let (sin, cos) = (sin_parts(r, tail), cos_parts(r, tail));
        let (sin, cos) = (fast_sum(sin.0, sin.1), fast_sum(cos.0, cos.1));
        let is_odd = n.to_bits() & 1 != 0;
        let above = if is_odd { (-cos.0, -cos.1) } else { sin };
        let below = if is_odd { sin } else { cos };
        let value = divide(above, below);
        if x == 0.0 { x } else { value }
    }

    #[inline(always)]
    fn is_usual(x: f64) -> bool {
        is_near(x)
    }

    #[inline(always)]
    fn special(x: f64) -> Option<f64> {
        nan_unless_finite(x)
    }

    fn unusual(x: f64) -> f64 {
        libm::tan(x)
    }
}

/// The loop for sine and cosine at once: elements, sines, cosines; slices of equal length. The bits are those of [`Sin`]
/// and [`Cos`].
pub struct SinCos<'a, T>(pub &'a [T], pub &'a mut [T], pub &'a mut [T]);

impl<T: Float> Loop for SinCos<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let SinCos(input, sin, cos) = self;
        let outputs = sin.chunks_mut(BLOCK).zip(cos.chunks_mut(BLOCK));
        for (input, (sin, cos)) in input.chunks(BLOCK).zip(outputs) {
            let mut usual = true;
            for ((&x, sin), cos) in input.iter().zip(sin.iter_mut()).zip(cos.iter_mut()) {
                let x = x.into();
                let both = sin_cos_usual(x);
                (*sin, *cos) = (T::rounded(both.0), T::rounded(both.1));
                usual &= is_near(x);
            }
            if !usual {
                replace::<Sin, T>(input, sin);
                replace::<Cos, T>(input, cos);
            }
        }
    }
}
