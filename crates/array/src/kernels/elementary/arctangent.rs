//! The angle of a point, and the arctangent, which is that of a point over 1.

use super::double_double::{divide_parts, fast_sum, polynomial, product};
use super::map::{Function, Function2};

/// Both arguments divided by their greater one stay normal between its inverse and this.
const MAX: f64 = f64::from_bits((1023 + 500) << 52);
const MIN: f64 = f64::from_bits((1023 - 500) << 52);

/// The angle of the point `(x, y)`, which is not the origin, for arguments as [`Atan2::is_usual`] has them.
///
/// Reflected into the half of the first quadrant next to its axis, and if it is above pi/8 there, turned back by pi/4, it has
/// the tangent t in `-0.4143..=0.4143`. So the angle is `k pi/4 + t + t^3 p(t^2)` or `k pi/4 - ...`.
#[inline(always)]
fn angle(y: f64, x: f64) -> f64 {
    const TAN_EIGHTH_PI: f64 = std::f64::consts::SQRT_2 - 1.0;
    const QUARTER_PI: (f64, f64) = (std::f64::consts::FRAC_PI_4, f64::from_bits(0x3C81_A626_3314_5C07));

    let (a, b) = (x.abs(), y.abs());
    let is_steep = b > a;
    let (low, high) = if is_steep { (a, b) } else { (b, a) };
    let is_turned = low > high * TAN_EIGHTH_PI;
    let (difference, sum) = (fast_sum(-high, low), fast_sum(high, low));
    let above = if is_turned { difference } else { (low, 0.0) };
    let below = if is_turned { sum } else { (high, 0.0) };
    let (t, t_low) = divide_parts(above, below);

    let k = if is_turned { 1.0 } else { 0.0 };
    let (k, sign) = if is_steep { (2.0 - k, -1.0) } else { (k, 1.0) };
    let (k, sign) = if x.is_sign_negative() { (4.0 - k, -sign) } else { (k, sign) };
    let (base, base_low) = product(k, QUARTER_PI.0);
    let (angle, error) = fast_sum(base, sign * t);
    let rest = sign * above_linear(t, t_low) + k.mul_add(QUARTER_PI.1, base_low);
    (angle + (error + rest)).copysign(y)
}

/// `atan(t + low) - t` for `|t|` up to 0.4143. The polynomial is the one of its degree with the least error, 2^-63 of the
/// arctangent, found by Remez' algorithm.
#[inline(always)]
fn above_linear(t: f64, low: f64) -> f64 {
    const P: [f64; 12] = [
        f64::from_bits(0xBFD5_5555_5555_5555),
        f64::from_bits(0x3FC9_9999_9999_9871),
        f64::from_bits(0xBFC2_4924_9248_37CE),
        f64::from_bits(0x3FBC_71C7_1BD2_6DB9),
        f64::from_bits(0xBFB7_45D1_5728_2FA8),
        f64::from_bits(0x3FB3_B137_CAC1_688A),
        f64::from_bits(0xBFB1_10D3_359B_B27C),
        f64::from_bits(0x3FAE_17F6_4C62_2575),
        f64::from_bits(0xBFAA_BCC9_793A_F92F),
        f64::from_bits(0x3FA7_2168_3824_5EB3),
        f64::from_bits(0xBFA1_4BB6_7809_843D),
        f64::from_bits(0x3F8F_B766_31CD_4798),
    ];
    let z = t * t;
    (t * z).mul_add(polynomial(z, P), low)
}

/// The arctangent.
pub struct Atan;

impl Function for Atan {
    #[inline(always)]
    fn usual(x: f64) -> f64 {
        angle(x, 1.0)
    }

    /// From 2^500 on it is pi/2.
    #[inline(always)]
    fn is_usual(x: f64) -> bool {
        x.abs() <= MAX
    }

    #[inline(always)]
    fn special(x: f64) -> Option<f64> {
        let far = std::f64::consts::FRAC_PI_2.copysign(x);
        (!Self::is_usual(x)).then_some(if x.is_nan() { f64::NAN } else { far })
    }

    fn unusual(_: f64) -> f64 {
        unreachable!("it is usual or special")
    }
}

/// The angle between the first axis and the line to a point: the second coordinate comes first, as in C.
pub struct Atan2;

impl Function2 for Atan2 {
    #[inline(always)]
    fn usual(y: f64, x: f64) -> f64 {
        angle(y, x)
    }

    #[inline(always)]
    fn is_usual(y: f64, x: f64) -> bool {
        let (a, b) = (x.abs(), y.abs());
        let is_fit = |value: f64| (value == 0.0) | (value >= MIN);
        (a <= MAX) & (b <= MAX) & is_fit(a) & is_fit(b) & (a + b > 0.0)
    }

    /// The origin is on the first axis, on the side of the sign of its zero.
    #[inline(always)]
    fn special(y: f64, x: f64) -> Option<f64> {
        if x.is_nan() | y.is_nan() {
            return Some(f64::NAN);
        }
        let angle = if x.is_sign_negative() { std::f64::consts::PI } else { 0.0 };
        ((x == 0.0) & (y == 0.0)).then_some(angle.copysign(y))
    }

    /// Scaled to where [`angle`] holds. What underflows then is too small to be seen in an angle from pi/2 on; the angles
    /// next to 0 are their tangents.
    fn unusual(y: f64, x: f64) -> f64 {
        const NEXT_TO_0: f64 = 1e-20;
        if x == 0.0 || y == 0.0 || !x.is_finite() || !y.is_finite() {
            return libm::atan2(y, x);
        }
        if x > 0.0 && (y / x).abs() < NEXT_TO_0 {
            return y / x;
        }
        let scale = if x.abs().max(y.abs()) > 1.0 { MIN } else { MAX };
        angle(y * scale, x * scale)
    }
}
