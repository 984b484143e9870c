//! Sums and products together with their rounding errors, and polynomials.
//!
//! A number is held as `high + low`, about 100 bits. The methods are Dekker's, Knuth's and, for the product, that of
//! the fused multiply-add.

/// Adding 1.5 * 2^52 rounds to an integer, whose lowest bits are then those of the sum.
pub const ROUND: f64 = 6_755_399_441_055_744.0;

/// `a + b` and its error, if `|a| >= |b|` or a is 0.
#[inline(always)]
pub fn fast_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    (sum, (a - sum) + b)
}

/// `a + b` and its error.
#[inline(always)]
pub fn sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

/// `a * b` and its error.
#[inline(always)]
pub fn product(a: f64, b: f64) -> (f64, f64) {
    let product = a * b;
    (product, a.mul_add(b, -product))
}

/// The product of two numbers, with an error of some 2^-104 of it.
#[inline(always)]
pub fn multiply((a, a_low): (f64, f64), (b, b_low): (f64, f64)) -> (f64, f64) {
    let (high, error) = product(a, b);
    (high, a.mul_add(b_low, a_low.mul_add(b, error)))
}

/// The quotient of two numbers whose low parts are below the last places of the high ones, rounded once but for some
/// 2^-100 of it. One division.
#[inline(always)]
pub fn divide((a, a_low): (f64, f64), (b, b_low): (f64, f64)) -> f64 {
    let (quotient, rest) = divide_parts((a, a_low), (b, b_low));
    quotient + rest
}

/// The quotient as `high + low`.
#[inline(always)]
pub fn divide_parts((a, a_low): (f64, f64), (b, b_low): (f64, f64)) -> (f64, f64) {
    let reciprocal = 1.0 / b;
    let quotient = a * reciprocal;
    let rest = (-quotient).mul_add(b, a) + (-quotient).mul_add(b_low, a_low);
    (quotient, rest * reciprocal)
}

/// The value at x of the polynomial with these coefficients, that of the constant term first.
#[inline(always)]
pub fn polynomial<const N: usize>(x: f64, coefficients: [f64; N]) -> f64 {
    let mut value = coefficients[N - 1];
    for i in (0..N - 1).rev() {
        value = x.mul_add(value, coefficients[i]);
    }
    value
}
