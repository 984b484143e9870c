//! Hyperbolic functions.
//!
//! With `|x| = n ln 2 + r`, and S and C the hyperbolic sine and cosine of r,
//! `sinh |x| = b C + a S` and `cosh |x| = a C + b S`, where `a = (2^n + 2^-n) / 2` and `b = (2^n - 2^-n) / 2`. No
//! division, and no cancellation that the two parts of each don't hold.

use super::double_double::{divide, fast_sum, polynomial, product};
use super::exponential::{self, exp};
use super::map::{Function, itself_unless_finite};

/// Up to here, in absolute value, [`parts`] holds: the powers of 2 are normal.
const MAX: f64 = 700.0;

/// `sinh x` and `cosh x` in two parts each, for x in `0..MAX`.
#[inline(always)]
fn parts(x: f64) -> ((f64, f64), (f64, f64)) {
    // By Remez' algorithm; their errors are 2^-61 and 2^-70 of S and C.
    const S: [f64; 5] = [
        f64::from_bits(0x3FC5_5555_5555_5557),
        f64::from_bits(0x3F81_1111_1110_FD74),
        f64::from_bits(0x3F2A_01A0_1AD8_F854),
        f64::from_bits(0x3EC7_1DDF_D9A7_A1B1),
        f64::from_bits(0x3E5A_F565_3947_F138),
    ];
    const C: [f64; 5] = [
        f64::from_bits(0x3FA5_5555_5555_5558),
        f64::from_bits(0x3F56_C16C_16C1_504B),
        f64::from_bits(0x3EFA_01A0_1AD6_3CC7),
        f64::from_bits(0x3E92_7E4C_C4E3_B4DB),
        f64::from_bits(0x3E21_F8B7_B338_90DC),
    ];
    let (n, r, tail) = exponential::reduce(x, 0.0);
    let half_power = |k: u64| f64::from_bits(k.wrapping_add(1022) << 52);
    let n = n.to_bits();
    let (up, down) = (half_power(n), half_power(0_u64.wrapping_sub(n)));
    let (a, a_low) = fast_sum(up, down);
    let (b, b_low) = fast_sum(up, -down);

    let z = r * r;
    let s_low = (z * r).mul_add(polynomial(z, S), tail);
    let c_minus_1 = z.mul_add(z.mul_add(polynomial(z, C), 0.5), r * tail);

    let part = |high: f64, factor: f64, rest: f64| {
        let (product, product_error) = product(factor, r);
        let (sum, error) = fast_sum(high, product);
        (sum, rest + (product_error + error))
    };
    let sinh = part(b, a, a.mul_add(s_low, b.mul_add(c_minus_1, a_low.mul_add(r, b_low))));
    let cosh = part(a, b, b.mul_add(s_low, a.mul_add(c_minus_1, b_low.mul_add(r, a_low))));
    (sinh, cosh)
}

/// `e^x / 2` for a finite `x >= MAX`: so are sinh and cosh.
fn half_exp(x: f64) -> f64 {
    const LN2: (f64, f64) = (std::f64::consts::LN_2, f64::from_bits(0x3C7A_BC9E_3B39_803F));
    let (high, low) = fast_sum(x, -LN2.0);
    exp(high, low - LN2.1)
}

/// The hyperbolic sine.
pub struct Sinh;

impl Function for Sinh {
    #[inline(always)]
    fn usual(x: f64) -> f64 {
        let ((high, low), _) = parts(x.abs());
        (high + low).copysign(x)
    }

    #[inline(always)]
    fn is_usual(x: f64) -> bool {
        x.abs() < MAX
    }

    #[inline(always)]
    fn special(x: f64) -> Option<f64> {
        itself_unless_finite(x)
    }

    fn unusual(x: f64) -> f64 {
        half_exp(x.abs()).copysign(x)
    }
}

/// The hyperbolic cosine.
pub struct Cosh;

impl Function for Cosh {
    #[inline(always)]
    fn usual(x: f64) -> f64 {
        let (_, (high, low)) = parts(x.abs());
        high + low
    }

    #[inline(always)]
    fn is_usual(x: f64) -> bool {
        x.abs() < MAX
    }

    #[inline(always)]
    fn special(x: f64) -> Option<f64> {
        itself_unless_finite(x.abs())
    }

    fn unusual(x: f64) -> f64 {
        half_exp(x.abs())
    }
}

/// The hyperbolic tangent.
pub struct Tanh;

impl Function for Tanh {
    #[inline(always)]
    fn usual(x: f64) -> f64 {
        // From 20 on it rounds to 1.
        let magnitude = if x.abs() > 20.0 { 20.0 } else { x.abs() };
        let (sinh, cosh) = parts(magnitude);
        let above = fast_sum(sinh.0, sinh.1);
        let below = fast_sum(cosh.0, cosh.1);
        divide(above, below).copysign(x)
    }

    #[inline(always)]
    fn is_usual(x: f64) -> bool {
        !x.is_nan()
    }

    fn unusual(_: f64) -> f64 {
        unreachable!("it is usual or special")
    }
}
