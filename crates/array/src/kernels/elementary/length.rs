//! The length of a vector.

use super::double_double::{fast_sum, product};
use super::map::Function2;

/// Squares between these are normal, and so are their errors.
const MAX: f64 = f64::from_bits((1023 + 500) << 52);
const MIN: f64 = f64::from_bits((1023 - 480) << 52);

const UP: f64 = f64::from_bits((1023 + 600) << 52);
const DOWN: f64 = f64::from_bits((1023 - 600) << 52);

/// `sqrt(a^2 + b^2)`.
pub struct Hypot;

impl Function2 for Hypot {
    /// The root of the sum in two parts, with one step of Newton's.
    #[inline(always)]
    fn usual(a: f64, b: f64) -> f64 {
        let (a, b) = (a.abs(), b.abs());
        let (low, high) = if b > a { (a, b) } else { (b, a) };
        let (square, square_error) = product(high, high);
        let (other, other_error) = product(low, low);
        let (sum, sum_error) = fast_sum(square, other);
        let root = sum.sqrt();
        let rest = (-root).mul_add(root, sum) + (sum_error + (square_error + other_error));
        root + rest / (root + root)
    }

    #[inline(always)]
    fn is_usual(a: f64, b: f64) -> bool {
        let (a, b) = (a.abs(), b.abs());
        (a <= MAX) & (b <= MAX) & ((a >= MIN) | (b >= MIN))
    }

    /// Scaled to where `usual` holds. What underflows then is too small to be seen in the length.
    fn unusual(a: f64, b: f64) -> f64 {
        let greater = a.abs().max(b.abs());
        if a.is_infinite() || b.is_infinite() {
            f64::INFINITY
        } else if a.is_nan() || b.is_nan() || greater == 0.0 {
            a.abs() + b.abs()
        } else if greater > 1.0 {
            Self::usual(a * DOWN, b * DOWN) * UP
        } else {
            Self::usual(a * UP, b * UP) * DOWN
        }
    }
}
