//! The exponential function and what follows from it at once.

use std::f64::consts::{LN_2, LOG2_E};

use super::double_double::{ROUND, fast_sum, polynomial, product, sum};
use super::logarithm::{LN2_HIGH, LN2_LOW};
use super::map::{BLOCK, Float, Function, itself_unless_finite, replace_special};
use crate::kernels::Loop;

/// Above, the exponential function is infinite.
const MAX: f64 = 710.0;
/// Below, it is 0, and not computed: CPUs take a hundred cycles for each product that underflows.
const MIN: f64 = -746.0;

/// The coefficients of q in `e^r = 1 + r + r^2 / 2 + r^3 q(r)`. The polynomial is the one of its degree with the least
/// error, 2^-64, found by Remez' algorithm.
const Q: [f64; 10] = [
    f64::from_bits(0x3FC5_5555_5555_555B),
    f64::from_bits(0x3FA5_5555_5555_555A),
    f64::from_bits(0x3F81_1111_1110_EBF8),
    f64::from_bits(0x3F56_C16C_16C1_4148),
    f64::from_bits(0x3F2A_01A0_1B3A_58FF),
    f64::from_bits(0x3EFA_01A0_1B20_13C4),
    f64::from_bits(0x3EC7_1DDE_FC10_B09A),
    f64::from_bits(0x3E92_7E4C_2BA9_C143),
    f64::from_bits(0x3E5A_F6C8_8B50_180C),
    f64::from_bits(0x3E21_F99C_7DAA_B305),
];

/// The coefficients of `e^r` for float32: to 2^-34 of its value, where float32 rounds to 2^-24. Found likewise.
const SHORT: [f64; 8] = [
    f64::from_bits(0x3FEF_FFFF_FFFA_B679),
    f64::from_bits(0x3FF0_0000_0010_C5AE),
    f64::from_bits(0x3FE0_0000_05A1_02C5),
    f64::from_bits(0x3FC5_5555_3426_CF09),
    f64::from_bits(0x3FA5_5546_7F90_D53F),
    f64::from_bits(0x3F81_112F_B25D_D865),
    f64::from_bits(0x3F56_DA51_1E60_4739),
    f64::from_bits(0x3F29_EB6C_A2CA_FC99),
];

/// The loop of `e^x` over slices of equal length: elements, results.
pub struct Exp<'a, T>(pub &'a [T], pub &'a mut [T]);

/// Up to here the result is a normal number, and so is 2^n.
const NEAR_MAX: f64 = 708.0;

impl<T: Float> Loop for Exp<'_, T> {
    type Output = ();

    /// Blocks without far arguments in a third less time, unless they are special. The others have the same bits where arguments are
    /// near.
    #[inline(always)]
    fn run(self) {
        for (input, output) in self.0.chunks(BLOCK).zip(self.1.chunks_mut(BLOCK)) {
            let mut all_near = true;
            for (&x, y) in input.iter().zip(output.iter_mut()) {
                let x = x.into();
                *y = T::rounded(near(T::exponential(x)));
                all_near &= is_near(x);
            }
            if !all_near && !replace_special(input, output, is_near, special) {
                for (&x, y) in input.iter().zip(output) {
                    *y = T::rounded(far(x.into(), T::exponential));
                }
            }
        }
    }
}

#[inline(always)]
fn is_near(x: f64) -> bool {
    x.abs() <= NEAR_MAX
}

/// What is beyond all doubles, and of a NaN.
#[inline(always)]
fn special(x: f64) -> Option<f64> {
    if x > MAX {
        Some(f64::INFINITY)
    } else if x < MIN {
        Some(0.0)
    } else {
        x.is_nan().then_some(f64::NAN)
    }
}

/// [`Float::exponential`] of float64: with `x = n ln 2 + r` it is `1 + r + r^2 / 2 + r^3 q(r)`.
#[inline(always)]
pub fn parts(x: f64) -> (f64, f64) {
    let (rounded, n, high) = nearest(x);
    let low = -n * LN2_LOW;
    let r = high + low;
    let rest = (r * r).mul_add(r.mul_add(polynomial(r, Q), 0.5), low);
    (1.0 + (high + rest), rounded)
}

/// [`Float::exponential`] of float32.
#[inline(always)]
pub fn short_parts(x: f64) -> (f64, f64) {
    let (rounded, n, _) = nearest(x);
    (polynomial((-n).mul_add(LN_2, x), SHORT), rounded)
}

#[inline(always)]
fn near((value, n): (f64, f64)) -> f64 {
    f64::from_bits(value.to_bits().wrapping_add(n.to_bits() << 52))
}

#[inline(always)]
fn far(x: f64, parts: impl FnOnce(f64) -> (f64, f64)) -> f64 {
    let value = scaled(x, parts);
    if x.is_nan() { f64::NAN } else { value }
}

/// `v 2^n`, of v and `n + ROUND` that are computed of x as far as that is in the range of the function; beyond, infinity or 0.
#[inline(always)]
fn scaled(x: f64, parts: impl FnOnce(f64) -> (f64, f64)) -> f64 {
    let underflows = x < MIN;
    let clamped = if x > MAX { MAX } else { x };
    let (value, n) = parts(if underflows { 0.0 } else { clamped });
    if underflows { 0.0 } else { scale(value, n) }
}

/// `e^(x + low)` for a low below about 2^-43: 0.51 units in the last place.
///
/// With `x + low = n ln 2 + r` it is `2^n (1 + r + r^2 / 2 + r^3 q(r))`.
#[inline(always)]
pub fn exp(x: f64, low: f64) -> f64 {
    let low = if (MIN..=MAX).contains(&x) { low } else { 0.0 };
    scaled(x, |x| {
        let (n, r, tail) = reduce(x, low);
        let (one_plus_r, error) = fast_sum(1.0, r);
        let rest = (r * r).mul_add(r.mul_add(polynomial(r, Q), 0.5), tail);
        (one_plus_r + (error + rest), n)
    })
}

/// `(n + ROUND, n, x - n LN2_HIGH)` for the whole number n next to x / ln 2. The difference is exact, as both are multiples of the last
/// place of x.
#[inline(always)]
fn nearest(x: f64) -> (f64, f64, f64) {
    let rounded = x.mul_add(LOG2_E, ROUND);
    let n = rounded - ROUND;
    (rounded, n, (-n).mul_add(LN2_HIGH, x))
}

/// `x + low = r + tail + n ln 2` with `|r|` at most a little above ln 2 / 2.
///
/// Returns `(n + ROUND, r, tail)`.
#[inline(always)]
pub fn reduce(x: f64, low: f64) -> (f64, f64, f64) {
    let (rounded, n, high) = nearest(x);
    let (r, tail) = fast_sum(high, (-n).mul_add(LN2_LOW, low));
    (rounded, r, tail)
}

/// `x 2^n` for `n + ROUND` with n in `-1100..=1100`, rounded once where it is subnormal, infinite where it is too big.
///
/// In two steps, as 2^n may be neither; n is kept positive since AVX2 shifts no signed numbers.
#[inline(always)]
fn scale(x: f64, n: f64) -> f64 {
    let shifted = n.to_bits().wrapping_add(2048) & 0xFFF;
    let half = shifted >> 1;
    let power = |k: u64| f64::from_bits(k.wrapping_sub(1) << 52);
    x * power(half) * power(shifted - half)
}

/// `e^x - 1`.
pub struct Expm1;

impl Function for Expm1 {
    /// `2^n - 1 + 2^n (r + r^2 / 2 + ...)`, of which the first three terms are summed without an error.
    #[inline(always)]
    fn usual(x: f64) -> f64 {
        let (n, r, tail) = reduce(x, 0.0);
        let power = f64::from_bits(n.to_bits().wrapping_add(1023) << 52);
        let (minus_one, minus_one_error) = sum(power, -1.0);
        let (square, square_error) = product(r, r);
        let (value, error) = sum(minus_one, power * r);
        let (value, square_sum_error) = fast_sum(value, power * (0.5 * square));
        let rest = (r * square).mul_add(polynomial(r, Q), square_error.mul_add(0.5, tail));
        let value = value + (power.mul_add(rest, minus_one_error) + (error + square_sum_error));
        // The sums lose the sign of -0.0, and r is x.
        if x == 0.0 { x } else { value }
    }

    #[inline(always)]
    fn is_usual(x: f64) -> bool {
        x.abs() < 700.0
    }

    #[inline(always)]
    fn special(x: f64) -> Option<f64> {
        if x <= -700.0 { Some(-1.0) } else { itself_unless_finite(x) }
    }

    fn unusual(x: f64) -> f64 {
        exp(x, 0.0)
    }
}
