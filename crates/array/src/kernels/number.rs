//! The arithmetic of one element: how ints wrap, how floats divide with a floor, and what is not a number.
//!
//! The rules are NumPy's, whose functions are named beside them.

use crate::Element;

/// What a [`crate::program`] computes with, apart from bool.
pub trait Number: Element {
    /// a + b; ints wrap.
    fn add(self, other: Self) -> Self;
    /// a - b; ints wrap.
    fn sub(self, other: Self) -> Self;
    /// a b; ints wrap.
    fn mul(self, other: Self) -> Self;
    /// The floor of a / b (`npy_floor_divide`); 0 for an int b = 0, which is an error that is found elsewhere.
    fn floor_div(self, other: Self) -> Self;
    /// a - b floor(a / b), with the sign of b (`npy_remainder`); 0 for an int b = 0.
    fn modulo(self, other: Self) -> Self;
    /// Whether [`Number::floor_div_fast`] and [`Number::modulo_fast`] hold.
    fn divides_fast(self, other: Self) -> bool;
    /// [`Number::floor_div`] without a branch.
    fn floor_div_fast(self, other: Self) -> Self;
    /// [`Number::modulo`] without a branch.
    fn modulo_fast(self, other: Self) -> Self;
    /// -a; the least int stays.
    fn neg(self) -> Self;
    /// |a|; the least int stays.
    fn abs(self) -> Self;
    /// -1, 0 or 1; NaN of NaN.
    fn sign(self) -> Self;
    /// The lesser, NaN if one is.
    fn minimum(self, other: Self) -> Self;
    /// The greater, NaN if one is.
    fn maximum(self, other: Self) -> Self;
}

/// Adding 1.5 * 2^52 rounds to a whole number, whose lowest bits are then those of the sum.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// A whole number below 2^51 as an int: a conversion that looks at the range does not vectorise well.
#[inline(always)]
pub fn to_int(whole: f64) -> i64 {
    (whole + ROUND).to_bits().wrapping_sub(ROUND.to_bits()).cast_signed()
}

/// A whole number that is an int64 as one: its halves of 32 bits, each exact.
#[inline(always)]
pub fn to_long(whole: f64) -> i64 {
    const HALF: f64 = 4_294_967_296.0;
    let high = (whole / HALF).floor();
    let low = whole - high * HALF;
    (to_int(high) << 32).wrapping_add(to_int(low))
}

/// The rounding of `a / b` goes to no whole number that the quotient does not reach, as long as |a| is below 2^53: it is off by less
/// than 2^-53 |a / b|, and a quotient that is no whole number is 1 / |b| or more away from one.
macro_rules! ints {
    ($($int:ty, $is_small:expr);* $(;)?) => {$(
        impl Number for $int {
            #[inline(always)]
            fn divides_fast(self, other: $int) -> bool {
                $is_small(self) & $is_small(other) & (other != 0)
            }
            #[inline(always)]
            fn floor_div_fast(self, other: $int) -> $int {
                to_int((self as f64 / other as f64).floor()) as $int
            }
            #[inline(always)]
            fn modulo_fast(self, other: $int) -> $int {
                self.wrapping_sub(self.floor_div_fast(other).wrapping_mul(other))
            }
            #[inline(always)]
            fn add(self, other: $int) -> $int {
                self.wrapping_add(other)
            }
            #[inline(always)]
            fn sub(self, other: $int) -> $int {
                self.wrapping_sub(other)
            }
            #[inline(always)]
            fn mul(self, other: $int) -> $int {
                self.wrapping_mul(other)
            }
            #[inline(always)]
            fn floor_div(self, other: $int) -> $int {
                if other == 0 {
                    return 0;
                }
                let quotient = self.wrapping_div(other);
                let rest = self.wrapping_rem(other);
                if rest != 0 && (rest < 0) != (other < 0) { quotient - 1 } else { quotient }
            }
            #[inline(always)]
            fn modulo(self, other: $int) -> $int {
                if other == 0 {
                    return 0;
                }
                let rest = self.wrapping_rem(other);
                if rest != 0 && (rest < 0) != (other < 0) { rest + other } else { rest }
            }
            #[inline(always)]
            fn neg(self) -> $int {
                self.wrapping_neg()
            }
            #[inline(always)]
            fn abs(self) -> $int {
                self.wrapping_abs()
            }
            #[inline(always)]
            fn sign(self) -> $int {
                self.signum()
            }
            #[inline(always)]
            fn minimum(self, other: $int) -> $int {
                self.min(other)
            }
            #[inline(always)]
            fn maximum(self, other: $int) -> $int {
                self.max(other)
            }
        }
    )*};
}

/// Below 2^51 in absolute value.
#[inline(always)]
fn is_small(x: i64) -> bool {
    x.wrapping_add(1 << 51).cast_unsigned() < 1 << 52
}

ints! {
    i32, |_| true;
    i64, is_small;
}

macro_rules! floats {
    ($($float:ident, $of_rest:ident, $rem:path, $whole_max:expr);* $(;)?) => {$(
        /// What dividing makes of what it leaves.
        mod $of_rest {
            /// What `a / b` leaves, with the sign of a, but for a zero's: exactly `fmod`, for a quotient below 2^53 (2^24 of float32) and
            /// a finite b. The quotient may have been rounded up to the next whole number; what is left then is negative, and a
            /// multiple of the last place of b that is not above |b|, so it is exact in both cases.
            #[inline(always)]
            pub fn rest(a: $float, b: $float) -> $float {
                let rest = (-(a / b).trunc()).mul_add(b, a);
                let is_beyond = (rest != 0.0) & ((rest < 0.0) != (a < 0.0));
                if is_beyond { rest + b.abs().copysign(a) } else { rest }
            }

            /// `npy_floor_divide` after its `fmod`.
            #[inline(always)]
            pub fn floor_div(a: $float, b: $float, rest: $float) -> $float {
                let quotient = (a - rest) / b;
                let is_above = (rest != 0.0) & ((b < 0.0) != (rest < 0.0));
                let quotient = if is_above { quotient - 1.0 } else { quotient };
                let floor = quotient.floor();
                let near = if quotient - floor > 0.5 { floor + 1.0 } else { floor };
                let zero: $float = 0.0;
                if b == 0.0 {
                    a / b
                } else if quotient == 0.0 {
                    zero.copysign(a / b)
                } else {
                    near
                }
            }

            /// `npy_remainder` after its `fmod`.
            #[inline(always)]
            pub fn modulo(b: $float, rest: $float) -> $float {
                let is_below = (b < 0.0) != (rest < 0.0);
                let zero: $float = 0.0;
                let moved = if is_below { rest + b } else { rest };
                if rest == 0.0 { zero.copysign(b) } else { moved }
            }
        }

        impl Number for $float {
            #[inline(always)]
            fn add(self, other: $float) -> $float {
                self + other
            }
            #[inline(always)]
            fn sub(self, other: $float) -> $float {
                self - other
            }
            #[inline(always)]
            fn mul(self, other: $float) -> $float {
                self * other
            }
            fn floor_div(self, other: $float) -> $float {
                $of_rest::floor_div(self, other, $rem(self, other))
            }
            fn modulo(self, other: $float) -> $float {
                $of_rest::modulo(other, $rem(self, other))
            }
            #[inline(always)]
            fn divides_fast(self, other: $float) -> bool {
                // By zero, what is left is a NaN, and a NaN stays one.
                let is_large = ((self / other).abs() >= $whole_max) & (other != 0.0);
                !(is_large | (other.abs() == <$float>::INFINITY))
            }
            #[inline(always)]
            fn floor_div_fast(self, other: $float) -> $float {
                $of_rest::floor_div(self, other, $of_rest::rest(self, other))
            }
            #[inline(always)]
            fn modulo_fast(self, other: $float) -> $float {
                $of_rest::modulo(other, $of_rest::rest(self, other))
            }
            #[inline(always)]
            fn neg(self) -> $float {
                -self
            }
            #[inline(always)]
            fn abs(self) -> $float {
                <$float>::abs(self)
            }
            #[inline(always)]
            fn sign(self) -> $float {
                let sign = (self > 0.0) as i8 - (self < 0.0) as i8;
                if self.is_nan() { self } else { <$float>::from(sign) }
            }
            #[inline(always)]
            fn minimum(self, other: $float) -> $float {
                if self < other || self.is_nan() { self } else { other }
            }
            #[inline(always)]
            fn maximum(self, other: $float) -> $float {
                if self > other || self.is_nan() { self } else { other }
            }
        }
    )*};
}

floats! {
    f32, of_rest_32, libm::fmodf, 16_777_216.0;
    f64, of_rest_64, libm::fmod, 9_007_199_254_740_992.0;
}

/// What dividing ints leaves with the sign of a, from what it leaves with the sign of b.
#[inline(always)]
pub fn rem<T: Number>(a: T, b: T, modulo: T) -> T {
    let zero = T::default();
    if (modulo != zero) & ((a < zero) != (b < zero)) { modulo.sub(b) } else { modulo }
}

macro_rules! int_pow {
    ($($name:ident $int:ty),*) => {$(
        /// `base` to the power of an exponent that is not negative, wrapping; 0 for a negative one, which is an error that is
        /// found elsewhere.
        pub fn $name(base: $int, exponent: $int) -> $int {
            if exponent < 0 {
                return 0;
            }
            let (mut result, mut square, mut rest): ($int, $int, $int) = (1, base, exponent);
            while rest != 0 {
                if rest & 1 == 1 {
                    result = result.wrapping_mul(square);
                }
                square = square.wrapping_mul(square);
                rest >>= 1;
            }
            result
        }
    )*};
}

int_pow! { int_pow_32 i32, int_pow_64 i64 }

/// Whether it is 2^n or -2^n for an n of -1022 to 1023: multiplying by it or dividing rounds nothing, as long as that stays in range.
pub fn is_power_of_two(x: f64) -> bool {
    x.is_normal() && x.to_bits() << 12 == 0 // no bit of its fraction is set
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    /// Multiples of a divisor and their neighbours, where a rounded quotient reaches a whole number too early.
    #[test]
    fn fast_divisions_have_the_bits_of_the_others() {
        let mut fast = 0;
        for at in 0..200_000 {
            let random = |n: u64| f64::from_bits(random::bits(n, at));
            let (tame, any) = (random(1) % 1e9, random(2));
            let b = if at % 2 == 0 { tame } else { (random::bits(3, at) % 1000) as f64 / 10.0 - 50.0 };
            let whole = b * (random::bits(4, at) >> (11 + at % 53)) as f64;
            for a in [
                tame,
                any,
                whole,
                whole.next_up(),
                whole.next_down(),
                -whole,
                b,
                b.next_down(),
                0.0,
                -0.0,
                f64::INFINITY,
                f64::NAN,
            ] {
                fast += u32::from(agrees(a, b)) + u32::from(agrees(a as f32, b as f32)) + u32::from(agrees(b, any));
            }
            for b in [0.0, -0.0, f64::NAN] {
                assert!(agrees(any, b) && agrees(tame as f32, b as f32), "{any} by {b}");
            }
        }
        assert!(fast > 1_000_000, "{fast} were computed the fast way");
    }

    fn agrees<T: Number>(a: T, b: T) -> bool {
        let is_fast = a.divides_fast(b);
        if is_fast {
            let text = |x: T| format!("{x:?}");
            assert_eq!(text(a.floor_div_fast(b)), text(a.floor_div(b)), "{a} // {b}");
            assert_eq!(text(a.modulo_fast(b)), text(a.modulo(b)), "{a} % {b}");
        }
        is_fast
    }

    #[test]
    fn fast_divisions_of_ints_are_exact() {
        let edges = |max: i64| [0, 1, 2, 3, 7, 10, max / 3, max / 2, max - 1, max];
        let around = |max: i64| edges(max).into_iter().flat_map(|x| [x, -x, -x - 1]).collect::<Vec<i64>>();
        let (ints, longs) = (around(i32::MAX.into()), around((1 << 51) - 1));
        for (a, b) in ints.iter().flat_map(|a| ints.iter().map(move |b| (*a as i32, *b as i32))) {
            assert_eq!(agrees(a, b), b != 0);
        }
        for (a, b) in longs.iter().flat_map(|a| longs.iter().map(move |b| (*a, *b))) {
            assert_eq!(agrees(a, b), b != 0);
        }
        assert!(!agrees(1_i64 << 51, 3) && !agrees(3, 1_i64 << 51) && !agrees(i64::MIN, -1));
        for at in 0..500_000 {
            let (a, b) = (random::bits(1, at) as i64, random::bits(2, at) as i64);
            agrees(a as i32, (b >> (32 + at % 31)) as i32);
            let b = b >> (13 + at % 50);
            let whole = b * ((a >> 13) / b.unsigned_abs().max(1) as i64);
            [a >> 13, whole, whole - 1, whole + 1].into_iter().for_each(|a| {
                agrees(a, b);
            });
        }
    }
}
