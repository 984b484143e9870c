//! Exact values of the elementary functions, to 128 bits, and how far a double is from one.

use array::kernels::elementary::{Binary, Unary};
use astro_float_num::{BigFloat, Consts, RoundingMode};

/// Bits of an exact value. More are used where they cancel.
const BITS: usize = 128;
const NO_ROUNDING: RoundingMode = RoundingMode::None;

/// The constants that the arbitrary precision needs, kept from one call to the next.
pub struct Reference(Consts);

/// The crate gets subnormal doubles wrong, so those are scaled on the way.
fn big(x: f64) -> BigFloat {
    const SHIFT: i32 = 64;
    if x == 0.0 || x.is_normal() {
        return BigFloat::from_f64(x, BITS);
    }
    let mut scaled = BigFloat::from_f64(x * 2_f64.powi(SHIFT), BITS);
    if let Some(exponent) = scaled.exponent() {
        scaled.set_exponent(exponent - SHIFT);
    }
    scaled
}

impl Reference {
    /// One for each thread.
    pub fn new() -> Reference {
        Reference(Consts::new().expect("there is memory for some constants"))
    }

    /// The function's value for a finite x. What is not a number there gives NaN.
    pub fn unary(&mut self, function: Unary, x: f64) -> BigFloat {
        let (value, constants) = (big(x), &mut self.0);
        match function {
            Unary::Cbrt => value.cbrt(BITS, NO_ROUNDING),
            Unary::Exp => value.exp(BITS, NO_ROUNDING, constants),
            Unary::Expm1 => self.expm1(x),
            Unary::Log => value.ln(BITS, NO_ROUNDING, constants),
            Unary::Log2 => value.log2(BITS, NO_ROUNDING, constants),
            Unary::Log10 => value.log10(BITS, NO_ROUNDING, constants),
            Unary::Log1p => self.log1p(x),
            Unary::Sin => value.sin(BITS, NO_ROUNDING, constants),
            Unary::Cos => value.cos(BITS, NO_ROUNDING, constants),
            // The crate's own tangent has too few bits for big arguments.
            Unary::Tan => {
                let sin = value.sin(BITS, NO_ROUNDING, constants);
                sin.div(&value.cos(BITS, NO_ROUNDING, constants), BITS, NO_ROUNDING)
            }
            Unary::Asin => value.asin(BITS, NO_ROUNDING, constants),
            Unary::Acos => value.acos(BITS, NO_ROUNDING, constants),
            Unary::Atan => value.atan(BITS, NO_ROUNDING, constants),
            Unary::Sinh => value.sinh(BITS, NO_ROUNDING, constants),
            Unary::Cosh => value.cosh(BITS, NO_ROUNDING, constants),
            Unary::Tanh => value.tanh(BITS, NO_ROUNDING, constants),
        }
    }

    /// The function's value for finite arguments.
    pub fn binary(&mut self, function: Binary, a: f64, b: f64) -> BigFloat {
        match function {
            Binary::Pow => {
                let mut value = big(a.abs()).pow(&big(b), BITS, NO_ROUNDING, &mut self.0);
                if a < 0.0 && b % 2.0 != 0.0 {
                    value.inv_sign();
                }
                value
            }
            Binary::Atan2 => self.atan2(a, b),
            Binary::Hypot => {
                let square = |x: f64| big(x).mul_full_prec(&big(x));
                square(a).add(&square(b), 2 * BITS, NO_ROUNDING).sqrt(BITS, NO_ROUNDING)
            }
            // The standard library's is exact by IEEE 754.
            Binary::Fmod => big(a % b),
        }
    }

    fn expm1(&mut self, x: f64) -> BigFloat {
        if x.abs() < 1e-20 {
            return self.series(x, [1.0, 2.0, 6.0]);
        }
        let exp = big(x).exp(2 * BITS, NO_ROUNDING, &mut self.0);
        exp.sub(&big(1.0), 2 * BITS, NO_ROUNDING)
    }

    fn log1p(&mut self, x: f64) -> BigFloat {
        if x.abs() < 1e-20 {
            return self.series(x, [1.0, -2.0, 3.0]);
        }
        let sum = big(1.0).add(&big(x), 10 * BITS, NO_ROUNDING);
        sum.ln(BITS, NO_ROUNDING, &mut self.0)
    }

    /// `x / d1 + x^2 / d2 + x^3 / d3`.
    fn series(&mut self, x: f64, divisors: [f64; 3]) -> BigFloat {
        let (mut power, mut sum) = (big(1.0), big(0.0));
        for divisor in divisors {
            power = power.mul(&big(x), BITS, NO_ROUNDING);
            sum = sum.add(&power.div(&big(divisor), BITS, NO_ROUNDING), BITS, NO_ROUNDING);
        }
        sum
    }

    fn atan2(&mut self, y: f64, x: f64) -> BigFloat {
        let pi = self.0.pi(2 * BITS, NO_ROUNDING);
        if x == 0.0 {
            let mut half = pi.div(&big(2.0), BITS, NO_ROUNDING);
            half.set_sign(big(y).sign().expect("y is a number"));
            return half;
        }
        let ratio = big(y).div(&big(x), 2 * BITS, NO_ROUNDING);
        let angle = ratio.atan(2 * BITS, NO_ROUNDING, &mut self.0);
        match (x < 0.0, y.is_sign_negative()) {
            (false, _) => angle,
            (true, false) => angle.add(&pi, BITS, NO_ROUNDING),
            (true, true) => angle.sub(&pi, BITS, NO_ROUNDING),
        }
    }
}

/// The distance of a double from the exact value, in units of the last place of the double next to the exact value. Infinity
/// counts as 2^1024.
pub fn ulps(found: f64, exact: &BigFloat) -> f64 {
    const LARGEST: i32 = 1024;
    const SMALLEST_ULP: i32 = -1074;
    if exact.is_nan() || found.is_nan() {
        return if exact.is_nan() && found.is_nan() { 0.0 } else { f64::INFINITY };
    }
    // The exact value is in 2^(exponent - 1) .. 2^exponent.
    let exponent = if exact.is_zero() { i32::MIN } else { exact.exponent().unwrap_or(i32::MAX) };
    if found.is_infinite() && exponent > LARGEST {
        return 0.0;
    }
    let ulp = exponent.saturating_sub(53).clamp(SMALLEST_ULP, LARGEST - 53);
    let found = if found.is_infinite() {
        big(found.signum() * 2_f64.powi(1023)).mul(&big(2.0), BITS, NO_ROUNDING)
    } else {
        big(found)
    };
    let difference = found.sub(exact, 2 * BITS, NO_ROUNDING);
    match difference.as_raw_parts() {
        Some((words, _, _, exponent, _)) if !difference.is_zero() => {
            // Word by word, the most significant one last, as a fraction.
            let fraction = *words.last().expect("a number has words") as f64 / 2_f64.powi(64);
            libm::ldexp(fraction, exponent.saturating_sub(ulp))
        }
        Some(_) => 0.0,
        None => f64::INFINITY,
    }
}
