//! The remainder of a division.

use super::map::Function2;

/// What is left of x after taking y from it as often as it goes, with the sign of x: C's `fmod`. Always exact.
pub struct Fmod;

impl Function2 for Fmod {
    /// For a quotient below 2^53. Rounded, it is at most one too much once it is cut; what is left is then a multiple of
    /// the last place of y not above y, so a double, which the fused multiply-add gives exactly.
    #[inline(always)]
    fn usual(x: f64, y: f64) -> f64 {
        let (magnitude, y) = (x.abs(), y.abs());
        let quotient = (magnitude / y).trunc();
        let rest = (-quotient).mul_add(y, magnitude);
        let rest = if rest < 0.0 { rest + y } else { rest };
        rest.copysign(x)
    }

    #[inline(always)]
    fn is_usual(x: f64, y: f64) -> bool {
        const TWO_53: f64 = 9_007_199_254_740_992.0;
        ((x / y).abs() < TWO_53) & (y.abs() <= f64::MAX)
    }

    #[inline(always)]
    fn special(x: f64, y: f64) -> Option<f64> {
        if !x.is_finite() | y.is_nan() | (y == 0.0) {
            return Some(f64::NAN);
        }
        y.is_infinite().then_some(x)
    }

    fn unusual(x: f64, y: f64) -> f64 {
        libm::fmod(x, y)
    }
}
