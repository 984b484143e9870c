//! Logarithms.
//!
//! [`ln`] is FreeBSD's, which the `libm` crate has too; see [`super::trigonometric`] for its licence. The others are made of
//! [`parts`], powers of [`longer_parts`].

use std::f64::consts::{LOG2_E, LOG10_2, LOG10_E};

use super::double_double::{divide_parts, fast_sum, multiply, polynomial, product, sum};
use super::map::Function;

/// ln 2 in two parts as in fdlibm: the product of the first, of 33 bits, with an exponent is exact.
pub const LN2_HIGH: f64 = f64::from_bits(0x3FE6_2E42_FEE0_0000);
/// What LN2_HIGH lacks.
pub const LN2_LOW: f64 = f64::from_bits(0x3DEA_39EF_3579_3C76);

/// The coefficients of `R(z) = z (LG[0] + LG[1] z + ...)` in `ln (1 + f) = f - f^2 / 2 + s (f^2 / 2 + R(s^2))`, where s is
/// `f / (2 + f)`; within 2^-58.
// They are written as in the source, with more digits than a double has.
#[allow(clippy::excessive_precision)]
const LG: [f64; 7] = [
    6.666666666666735130e-01,
    3.999999999940941908e-01,
    2.857142874366239149e-01,
    2.222219843214978396e-01,
    1.818357216161805012e-01,
    1.531383769920937332e-01,
    1.479819860511658591e-01,
];

/// The natural logarithm of a positive normal x, with the bits of `libm::log`.
///
/// It is that function's main path, operation by operation (so without `mul_add`). The cases it treats apart
/// do not occur, except x = 1, for which the path gives the same 0.
#[inline(always)]
pub fn ln(x: f64) -> f64 {
    let (k, m) = split(x);
    let f = m - 1.0;
    let half_square = 0.5 * f * f;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let t1 = w * (LG[1] + w * (LG[3] + w * LG[5]));
    let t2 = z * (LG[0] + w * (LG[2] + w * (LG[4] + w * LG[6])));
    let r = t2 + t1;
    s * (half_square + r) + k * LN2_LOW - half_square + f + k * LN2_HIGH
}

/// `x = 2^k m` with m in `[sqrt(2)/2, sqrt(2))`, cut at the upper half of the double as in the source.
#[inline(always)]
fn split(x: f64) -> (f64, f64) {
    const ONE: u64 = 0x3FF0_0000 << 32;
    const SQRT_HALF: u64 = 0x3FE6_A09E << 32;
    let shifted = x.to_bits().wrapping_add(ONE - SQRT_HALF);
    let m = f64::from_bits((shifted & ((1 << 52) - 1)).wrapping_add(SQRT_HALF));
    (exponent(shifted), m)
}

/// The unbiased exponent in the bits of a positive double, as a double. AVX2 has no conversion from 64-bit
/// integers, so the field is placed into the bits of 2^52 and that is subtracted.
#[inline(always)]
fn exponent(bits: u64) -> f64 {
    const TWO_52: f64 = 4_503_599_627_370_496.0;
    f64::from_bits((bits >> 52) | TWO_52.to_bits()) - (TWO_52 + 1023.0)
}

/// `ln x = k ln 2 + high + low` of a positive normal x, as `(k, (high, low))`, within 2^-57 of itself: as [`ln`], with
/// `f - f^2 / 2` in two parts.
#[inline(always)]
fn parts(x: f64) -> (f64, (f64, f64)) {
    let (k, m) = split(x);
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let (square, square_error) = product(f, f);
    let half_square = 0.5 * square;
    let (high, error) = fast_sum(f, -half_square);
    let rest = s * z.mul_add(polynomial(z, LG), half_square);
    (k, (high, square_error.mul_add(-0.5, error + rest)))
}

/// As [`parts`], within 2^-65.
///
/// With `s = f / (2 + f)` it is `2 atanh s = s (2 + z (2/3 + z q(z)))`, where z is `s^2`. All but q is held in two parts;
/// its error is 2^-73 of the result. The coefficients were found by Remez' algorithm.
#[inline(always)]
fn longer_parts(x: f64) -> (f64, (f64, f64)) {
    const TWO_THIRDS: (f64, f64) = (f64::from_bits(0x3FE5_5555_5555_5555), f64::from_bits(0x3C85_5555_5555_5555));
    const Q: [f64; 8] = [
        f64::from_bits(0x3FD9_9999_9999_9999),
        f64::from_bits(0x3FD2_4924_9249_28D2),
        f64::from_bits(0x3FCC_71C7_1C63_E788),
        f64::from_bits(0x3FC7_45D1_7E34_E20B),
        f64::from_bits(0x3FC3_B137_54F3_8F50),
        f64::from_bits(0x3FC1_11E3_4C81_3DEB),
        f64::from_bits(0x3FBD_E8F7_C079_100B),
        f64::from_bits(0x3FBE_8548_6CC5_4029),
    ];
    let (k, m) = split(x);
    let f = m - 1.0;
    let s = divide_parts((f, 0.0), fast_sum(2.0, f));
    let z = multiply(s, s);
    let (w, w_low) = fast_sum(TWO_THIRDS.0, z.0 * polynomial(z.0, Q));
    let c = multiply(z, (w, w_low + TWO_THIRDS.1));
    let (v, v_low) = fast_sum(2.0, c.0);
    (k, multiply(s, (v, v_low + c.1)))
}

/// The natural logarithm of a positive normal x in two parts: within 2^-65 of it.
#[inline(always)]
pub fn ln_parts(x: f64) -> (f64, f64) {
    add_exponent(longer_parts(x))
}

/// `k ln 2 + high + low` in two parts.
#[inline(always)]
fn add_exponent((k, (high, low)): (f64, (f64, f64))) -> (f64, f64) {
    let (sum, error) = fast_sum(k * LN2_HIGH, high);
    // If k is not 0 its product is the greater one, as `|high|` is below ln 2 / 2.
    (sum, k.mul_add(LN2_LOW, low) + error)
}

#[inline(always)]
fn is_positive_normal(x: f64) -> bool {
    (f64::MIN_POSITIVE..=f64::MAX).contains(&x)
}

/// The logarithms, to any base, of what has none, of zero and infinity.
#[inline(always)]
fn special(x: f64) -> Option<f64> {
    if x.is_nan() | (x < 0.0) {
        Some(f64::NAN)
    } else if x == 0.0 {
        Some(f64::NEG_INFINITY)
    } else {
        (x == f64::INFINITY).then_some(x)
    }
}

/// The natural logarithm.
pub struct Log;

impl Function for Log {
    #[inline(always)]
    fn usual(x: f64) -> f64 {
        ln(x)
    }

    #[inline(always)]
    fn is_usual(x: f64) -> bool {
        is_positive_normal(x)
    }

    #[inline(always)]
    fn special(x: f64) -> Option<f64> {
        special(x)
    }

    fn unusual(x: f64) -> f64 {
        libm::log(x)
    }
}

/// The logarithm to base 2; exact for powers of 2.
pub struct Log2;

impl Function for Log2 {
    #[inline(always)]
    fn usual(x: f64) -> f64 {
        const INVERSE_LN2: (f64, f64) = (LOG2_E, f64::from_bits(0x3C77_77D0_FFDA_0D24));
        let (k, ln) = parts(x);
        let (high, low) = multiply(ln, INVERSE_LN2);
        let (sum, error) = fast_sum(k, high);
        sum + (error + low)
    }

    #[inline(always)]
    fn is_usual(x: f64) -> bool {
        is_positive_normal(x)
    }

    #[inline(always)]
    fn special(x: f64) -> Option<f64> {
        special(x)
    }

    fn unusual(x: f64) -> f64 {
        libm::log2(x)
    }
}

/// The logarithm to base 10; exact for powers of 10.
pub struct Log10;

impl Function for Log10 {
    #[inline(always)]
    fn usual(x: f64) -> f64 {
        const INVERSE_LN10: (f64, f64) = (LOG10_E, f64::from_bits(0x3C69_5355_BAAA_FAD3));
        const LOG_2: (f64, f64) = (LOG10_2, f64::from_bits(0xBC49_DC1D_A994_FD21));
        let (k, ln) = parts(x);
        let (high, low) = multiply(ln, INVERSE_LN10);
        let (shift, shift_low) = product(k, LOG_2.0);
        let (sum, error) = fast_sum(shift, high);
        sum + (error + (k.mul_add(LOG_2.1, shift_low) + low))
    }

    #[inline(always)]
    fn is_usual(x: f64) -> bool {
        is_positive_normal(x)
    }

    #[inline(always)]
    fn special(x: f64) -> Option<f64> {
        special(x)
    }

    fn unusual(x: f64) -> f64 {
        libm::log10(x)
    }
}

/// `ln (1 + x)`.
pub struct Log1p;

impl Function for Log1p {
    /// What `1 + x` loses, divided by it, is added to the logarithm.
    #[inline(always)]
    fn usual(x: f64) -> f64 {
        let (one_plus_x, lost) = sum(1.0, x);
        let (high, low) = add_exponent(parts(one_plus_x));
        let value = high + (low + lost / one_plus_x);
        if x == 0.0 { x } else { value }
    }

    #[inline(always)]
    fn is_usual(x: f64) -> bool {
        x > -1.0 && x <= f64::MAX
    }

    #[inline(always)]
    fn special(x: f64) -> Option<f64> {
        special(1.0 + x)
    }

    fn unusual(x: f64) -> f64 {
        libm::log1p(x)
    }
}
