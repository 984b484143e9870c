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

macro_rules! ints {
    ($($int:ty)*) => {$(
        impl Number for $int {
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

ints! { i32 i64 }

macro_rules! floats {
    ($($float:ty, $floor:path, $rem:path, $copysign:path);* $(;)?) => {$(
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
                if other == 0.0 {
                    return self / other;
                }
                let rest = $rem(self, other);
                let mut quotient = (self - rest) / other;
                if rest != 0.0 && (other < 0.0) != (rest < 0.0) {
                    quotient -= 1.0;
                }
                if quotient == 0.0 {
                    return $copysign(0.0, self / other);
                }
                let floor = $floor(quotient);
                if quotient - floor > 0.5 { floor + 1.0 } else { floor }
            }
            fn modulo(self, other: $float) -> $float {
                let rest = $rem(self, other);
                if rest == 0.0 {
                    return $copysign(0.0, other);
                }
                if (other < 0.0) != (rest < 0.0) { rest + other } else { rest }
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
    f32, libm::floorf, libm::fmodf, libm::copysignf;
    f64, libm::floor, libm::fmod, libm::copysign;
}

/// `base` to the power of an exponent that is not negative, wrapping; 0 for a negative one, which is an error that is found
/// elsewhere.
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
