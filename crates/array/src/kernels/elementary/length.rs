//! The length of a vector.

use super::double_double::{fast_sum, product};
use super::map::Function2;

/// Squares between these are normal, and so are their errors.
const MAX: f64 = f64::from_bits((1023 + 500) << 52);
const MIN: f64 = f64::from_bits((1023 - 480) << 52);

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

    fn unusual(a: f64, b: f64) -> f64 {
        libm::hypot(a, b)
    }
}
