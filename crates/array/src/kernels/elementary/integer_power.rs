//! Small integer powers, as products that keep what they round off.

use super::double_double::product;
use crate::kernels::{Build, Loop};

/// Exponents that [`integer_power`] takes. Smaller ones are a product or two; for larger ones the general power is as fast.
pub const EXPONENTS: std::ops::RangeInclusive<u8> = 4..=16;

/// `x^exponent` of every element, less than 0.51 units in the last place from the exact one where that is a normal number, and
/// less than one elsewhere.
///
/// Square and multiply on pairs of doubles: a product and, by a fused multiplication, what it rounds off (Dekker's product). Relative
/// errors of pairs are some 2^-104 for each of at most six products, so only the last sum rounds.
///
/// # Panics
/// If the exponent is not in [`EXPONENTS`], or the slices have different lengths.
pub fn integer_power(build: Build, exponent: u8, input: &[f64], output: &mut [f64]) {
    assert_eq!(input.len(), output.len(), "a kernel needs as many results as elements");
    macro_rules! dispatch {
        ($($n:literal)*) => {
            match exponent {
                $($n => build.run(Power::<$n>(input, output)),)*
                other => panic!("an exponent of {other}"),
            }
        };
    }
    dispatch!(4 5 6 7 8 9 10 11 12 13 14 15 16)
}

/// The loop for one exponent, which the compiler unrolls.
struct Power<'a, const N: u32>(&'a [f64], &'a mut [f64]);

impl<const N: u32> Loop for Power<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (y, x) in self.1.iter_mut().zip(self.0) {
            *y = power::<N>(*x);
        }
    }
}

#[inline(always)]
fn power<const N: u32>(x: f64) -> f64 {
    let times_x_if = |bit: u32, (high, low): (f64, f64)| {
        if N >> bit & 1 == 0 {
            return (high, low);
        }
        let (times_x, rounded_off) = product(high, x);
        (times_x, low.mul_add(x, rounded_off))
    };
    // The first square is that of a number. (The loop is one that the compiler unrolls: only then does it take vectors.)
    let mut bit = N.ilog2() - 1;
    let (mut high, mut low) = times_x_if(bit, product(x, x));
    while bit > 0 {
        bit -= 1;
        let (square, rounded_off) = product(high, high);
        (high, low) = times_x_if(bit, (square, (high + high).mul_add(low, rounded_off)));
    }
    // Of an infinity nothing was rounded off that is a number, and the sign of a zero is that of the product.
    if high.is_finite() && high != 0.0 { high + low } else { high }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn power(exponent: u8, x: f64) -> f64 {
        let mut y = [0.0];
        integer_power(Build::best(), exponent, &[x], &mut y);
        y[0]
    }

    #[test]
    fn whole_numbers_are_exact_and_signs_are_kept() {
        for exponent in EXPONENTS {
            for x in -9_i64..=9 {
                let exact = (x as i128).pow(exponent.into());
                assert_eq!(power(exponent, x as f64), exact as f64, "{x}^{exponent}");
            }
            let odd = exponent % 2 == 1;
            for tiny in [-0.0, -5e-324, -1e-100] {
                let y = power(exponent, tiny);
                assert_eq!((y.abs() < 1e-300, y.is_sign_negative()), (true, odd), "{tiny}^{exponent}");
            }
            let infinity = if odd { f64::NEG_INFINITY } else { f64::INFINITY };
            assert_eq!([power(exponent, -1e300), power(exponent, f64::NEG_INFINITY)], [infinity; 2], "{exponent}");
            assert!(power(exponent, f64::NAN).is_nan());
        }
    }

    #[test]
    fn builds_give_the_same_bits() {
        let mut input = vec![0.0; 10_000];
        crate::random::fill_double(4, 0, &mut input, -1e20, 1e20);
        for exponent in EXPONENTS {
            let of = |build| {
                let mut output = vec![0.0; input.len()];
                integer_power(build, exponent, &input, &mut output);
                output.into_iter().map(f64::to_bits).collect::<Vec<u64>>()
            };
            let all: Vec<Vec<u64>> = Build::all().into_iter().map(of).collect();
            assert!(all.iter().all(|bits| *bits == all[0]), "{exponent}");
        }
    }

    #[test]
    #[should_panic]
    fn other_exponents_are_refused() {
        power(3, 2.0);
    }
}
