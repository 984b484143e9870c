//! Powers.

use super::double_double::product;
use super::exponential::exp;
use super::logarithm::ln_parts;
use super::map::Function2;

/// `x^y`: e to `y ln x`, where the logarithm has 65 bits, so that some 55 are left of a product of up to 745.
///
/// The exponent 2 gives the bits of `x * x`.
pub struct Pow;

impl Function2 for Pow {
    #[inline(always)]
    fn usual(x: f64, y: f64) -> f64 {
        let (ln, ln_low) = ln_parts(x.abs());
        let (high, error) = product(y, ln);
        let magnitude = exp(high, y.mul_add(ln_low, error));
        let half = 0.5 * y;
        // A number with a fraction is the half of none or an odd one; no double of 2^53 or more is odd.
        let is_odd = half != half.trunc();
        let sign = if is_odd { x.to_bits() & (1 << 63) } else { 0 };
        let value = f64::from_bits(magnitude.to_bits() | sign);
        if y == 2.0 { x * x } else { value }
    }

    /// A finite y, and an x with a logarithm, or a negative one and an integer y.
    #[inline(always)]
    fn is_usual(x: f64, y: f64) -> bool {
        let is_normal = (f64::MIN_POSITIVE..=f64::MAX).contains(&x.abs());
        is_normal & (y.abs() <= f64::MAX) & ((x > 0.0) | (y == y.trunc()))
    }

    /// A y of 0 gives 1 with all x, and an x of 1 with all y. The powers of zero and infinity are these, with the sign of x if y is odd.
    #[inline(always)]
    fn special(x: f64, y: f64) -> Option<f64> {
        let has_fraction = y != y.trunc();
        let is_odd = !has_fraction & (0.5 * y != (0.5 * y).trunc());
        let is_zero = (x == 0.0) == (y > 0.0);
        let power = if is_zero { 0.0 } else { f64::INFINITY };
        if (y == 0.0) | (x == 1.0) {
            Some(1.0)
        } else if x.is_nan() | y.is_nan() | ((x < 0.0) & x.is_finite() & has_fraction) {
            Some(f64::NAN)
        } else {
            let is_known = ((x == 0.0) | x.is_infinite()) & y.is_finite();
            is_known.then_some(if is_odd { power.copysign(x) } else { power })
        }
    }

    fn unusual(x: f64, y: f64) -> f64 {
        libm::pow(x, y)
    }
}
