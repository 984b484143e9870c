//! Arcsine and arccosine.
//!
//! Up to 1/2, `asin x = x + x^3 p(x^2)`. Beyond, `asin x = pi/2 - 2 asin s` with `s = sqrt((1 - x) / 2)`, which is in that
//! range.

use super::double_double::{fast_sum, polynomial, product};
use super::map::Function;

/// pi/2 in two parts.
const HALF_PI: (f64, f64) = (std::f64::consts::FRAC_PI_2, f64::from_bits(0x3C91_A626_3314_5C07));

/// `asin r = r + rest` for the r that belongs to `|x|`, up to 1, as `(r, rest)`, and whether it is the s of above.
#[inline(always)]
fn parts(x: f64) -> (f64, f64, bool) {
    // The polynomial of its degree with the least error, 2^-59 of the arcsine, found by Remez' algorithm.
    const P: [f64; 13] = [
        f64::from_bits(0x3FC5_5555_5555_5559),
        f64::from_bits(0x3FB3_3333_3333_18FD),
        f64::from_bits(0x3FA6_DB6D_B6FC_A091),
        f64::from_bits(0x3F9F_1C71_B587_410C),
        f64::from_bits(0x3F96_E8BC_B662_0914),
        f64::from_bits(0x3F91_C4B3_0BA5_A0CD),
        f64::from_bits(0x3F8C_A03D_1849_BC47),
        f64::from_bits(0x3F87_658F_03C6_7C5D),
        f64::from_bits(0x3F85_CE56_7028_5C9D),
        f64::from_bits(0x3F71_1E6D_9BB0_4643),
        f64::from_bits(0x3F95_1C98_70E1_B168),
        f64::from_bits(0xBF93_FFCD_43AE_8E45),
        f64::from_bits(0x3FA0_41BB_C72E_020D),
    ];
    let magnitude = x.abs();
    let is_beyond = magnitude > 0.5;
    let half = 0.5 - 0.5 * magnitude;
    let root = half.sqrt();
    let (square, square_error) = product(root, root);
    // The smallest number keeps 0 / 0 away, and changes no other quotient.
    let root_low = ((half - square) - square_error) / (root + root + f64::MIN_POSITIVE);
    let z = if is_beyond { half } else { magnitude * magnitude };
    let r = if is_beyond { root } else { magnitude };
    let low = if is_beyond { root_low } else { 0.0 };
    (r, (r * z).mul_add(polynomial(z, P), low), is_beyond)
}

/// `k pi/2 + factor (r + rest)` for a k up to 2.
#[inline(always)]
fn from_multiple_of_half_pi(k: f64, factor: f64, r: f64, rest: f64) -> f64 {
    let (value, error) = fast_sum(k * HALF_PI.0, factor * r);
    value + (error + factor.mul_add(rest, k * HALF_PI.1))
}

/// The arcsine.
pub struct Asin;

impl Function for Asin {
    #[inline(always)]
    fn usual(x: f64) -> f64 {
        let (r, rest, is_beyond) = parts(x);
        let (k, factor) = if is_beyond { (1.0, -2.0) } else { (0.0, 1.0) };
        from_multiple_of_half_pi(k, factor, r, rest).copysign(x)
    }

    #[inline(always)]
    fn is_usual(x: f64) -> bool {
        x.abs() <= 1.0
    }

    #[inline(always)]
    fn special(x: f64) -> Option<f64> {
        (!Self::is_usual(x)).then_some(f64::NAN)
    }

    fn unusual(_: f64) -> f64 {
        unreachable!("it is usual or special")
    }
}

/// The arccosine, which is pi/2 less the arcsine.
pub struct Acos;

impl Function for Acos {
    #[inline(always)]
    fn usual(x: f64) -> f64 {
        let (r, rest, is_beyond) = parts(x);
        let k = if !is_beyond {
            1.0
        } else if x < 0.0 {
            2.0
        } else {
            0.0
        };
        let size = if is_beyond { 2.0 } else { -1.0 };
        from_multiple_of_half_pi(k, f64::copysign(1.0, x) * size, r, rest)
    }

    #[inline(always)]
    fn is_usual(x: f64) -> bool {
        x.abs() <= 1.0
    }

    #[inline(always)]
    fn special(x: f64) -> Option<f64> {
        (!Self::is_usual(x)).then_some(f64::NAN)
    }

    fn unusual(_: f64) -> f64 {
        unreachable!("it is usual or special")
    }
}
