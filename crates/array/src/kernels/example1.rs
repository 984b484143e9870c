//! `(sin x + cos x)^2 / (sqrt|x| + 1)`.

use super::elementary::{Function, SIN_COS_MAX, nan_unless_finite, sin_plus_cos};

/// The function of one element.
pub struct Example1;

impl Function for Example1 {
    #[inline(always)]
    fn usual(x: f64) -> f64 {
        formula(sin_plus_cos(x), x)
    }

    #[inline(always)]
    fn is_usual(x: f64) -> bool {
        x.abs() <= SIN_COS_MAX
    }

    #[inline(always)]
    fn special(x: f64) -> Option<f64> {
        nan_unless_finite(x)
    }

    fn unusual(x: f64) -> f64 {
        formula(libm::sin(x) + libm::cos(x), x)
    }
}

#[inline(always)]
fn formula(sin_plus_cos: f64, x: f64) -> f64 {
    sin_plus_cos * sin_plus_cos / (x.abs().sqrt() + 1.0)
}
