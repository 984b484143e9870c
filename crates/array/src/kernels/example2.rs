//! `trunc((x ln x) mod 7)` for some ints, the others as they are.

use super::Loop;
use super::elementary::{ROUND, ln};

/// The loop over slices of equal length: elements, results.
pub struct Example2<'a>(pub &'a [i32], pub &'a mut [i32]);

impl Loop for Example2<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Example2(input, output) = self;
        assert_eq!(input.len(), output.len(), "a kernel needs as many results as elements");
        for (&x, y) in input.iter().zip(output) {
            let chosen = x % 3 == 0 || (500..=1000).contains(&x);
            // Computed for every x, as a branch would cost more. Below 1 it is the value of 1, which is 0.
            let value = x_ln_x_mod_7(x.max(1));
            *y = if chosen { value } else { x };
        }
    }
}

/// `trunc((x ln x) mod 7)` for x >= 1.
///
/// The product is positive, so truncating it first changes nothing, and what is left is integer arithmetic,
/// exact in doubles: below 2^36 here. The half keeps the quotient away from the integers, where rounding
/// could reach the next one.
#[inline(always)]
fn x_ln_x_mod_7(x: i32) -> i32 {
    let x = f64::from(x);
    let whole = (x * ln(x)).floor();
    let sevens = ((whole + 0.5) * (1.0 / 7.0)).floor();
    small_to_i32(whole - 7.0 * sevens)
}

/// An integer in `0..2^31` that is held as a double. Adding [`ROUND`] leaves it in the lowest bits: a checked conversion does not vectorise
/// well.
#[inline(always)]
fn small_to_i32(x: f64) -> i32 {
    (x + ROUND).to_bits() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_integers_convert_exactly() {
        for x in [0, 1, 6, 7, 65_535, i32::MAX] {
            assert_eq!(small_to_i32(f64::from(x)), x);
        }
    }
}
