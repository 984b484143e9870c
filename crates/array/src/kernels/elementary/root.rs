//! Roots: the cube root, and the length of a vector.

use super::double_double::{fast_sum, polynomial, product};
use super::map::{Function, Function2, itself_unless_finite};

/// Powers of 2 whose exponents are multiples of 3, for numbers whose squares or cubes overflow or underflow.
const UP: f64 = f64::from_bits((1023 + 600) << 52);
/// The inverse.
const DOWN: f64 = f64::from_bits((1023 - 600) << 52);

/// The cube root.
pub struct Cbrt;

impl Function for Cbrt {
    /// From y, the inverse of the root, which takes no division to improve: with `e = 1 - x y^3` the exact one is
    /// `y (1 - e)^(-1/3)`, whose series is `1 + e/3 + 2/9 e^2 + 14/81 e^3`. Then the root is `t = x y^2`, and `t^2 y^2` is 1,
    /// so that Newton's last step is `t + (x - t^3) y^2 / 3`; `t^3` is taken with its error.
    #[inline(always)]
    fn usual(x: f64) -> f64 {
        let magnitude = x.abs();
        let y = inverse_estimate(magnitude);
        let error = |y: f64| (-(magnitude * y * y)).mul_add(y, 1.0);
        let e = error(y);
        let y = (y * e).mul_add(polynomial(e, [1.0 / 3.0, 2.0 / 9.0, 14.0 / 81.0]), y);
        let e = error(y);
        let y = (y * e).mul_add(polynomial(e, [1.0 / 3.0, 2.0 / 9.0]), y);
        let root = magnitude * y * y;
        let (square, square_error) = product(root, root);
        let (cube, cube_error) = product(square, root);
        let rest = ((magnitude - cube) - cube_error) - square_error * root;
        rest.mul_add(y * y * (1.0 / 3.0), root).copysign(x)
    }

    #[inline(always)]
    fn is_usual(x: f64) -> bool {
        const MAX: f64 = f64::from_bits((1023 + 900) << 52);
        const MIN: f64 = f64::from_bits((1023 - 900) << 52);
        (MIN..=MAX).contains(&x.abs())
    }

    #[inline(always)]
    fn special(x: f64) -> Option<f64> {
        if x == 0.0 { Some(x) } else { itself_unless_finite(x) }
    }

    fn unusual(x: f64) -> f64 {
        const ROOT_OF_UP: f64 = f64::from_bits((1023 + 200) << 52);
        const ROOT_OF_DOWN: f64 = f64::from_bits((1023 - 200) << 52);
        if x.abs() > 1.0 { Self::usual(x * DOWN) * ROOT_OF_UP } else { Self::usual(x * UP) * ROOT_OF_DOWN }
    }
}

/// The inverse of the cube root of a positive normal x: `1 - x y^3` is within 0.103 of 0.
///
/// A third of the bits as an integer is a third of the exponent and of some logarithm of the rest. The upper half is
/// divided by a multiplication; the constant, the best for that, was found by trying.
#[inline(always)]
fn inverse_estimate(x: f64) -> f64 {
    const THIRD: u64 = 0x5555_5556;
    const BEST: u64 = 0x553E_E8E3;
    let third = ((x.to_bits() >> 32) * THIRD) >> 32;
    f64::from_bits(BEST.wrapping_sub(third) << 32)
}

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

    /// The length is infinite if one of them is, whatever the other.
    #[inline(always)]
    fn special(a: f64, b: f64) -> Option<f64> {
        if a.is_infinite() | b.is_infinite() {
            Some(f64::INFINITY)
        } else if a.is_nan() | b.is_nan() {
            Some(f64::NAN)
        } else {
            ((a == 0.0) & (b == 0.0)).then_some(0.0)
        }
    }

    /// Scaled to where `usual` holds. What underflows then is too small to be seen in the length.
    fn unusual(a: f64, b: f64) -> f64 {
        if a.abs().max(b.abs()) > 1.0 {
            Self::usual(a * DOWN, b * DOWN) * UP
        } else {
            Self::usual(a * UP, b * UP) * DOWN
        }
    }
}
