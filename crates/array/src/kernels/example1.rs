//! `(sin x + cos x)^2 / (sqrt|x| + 1)`.

use super::Loop;
use super::elementary::{SIN_COS_MAX, sin_plus_cos};

/// Elements between two looks for arguments the fast path cannot take. The block and its results stay in the
/// first-level cache (8 KiB), so that going through it again is cheap.
const BLOCK: usize = 512;

/// The loop over slices of equal length: elements, results.
pub struct Example1<'a>(pub &'a [f64], pub &'a mut [f64]);

impl Loop for Example1<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Example1(input, output) = self;
        assert_eq!(input.len(), output.len(), "a kernel needs as many results as elements");
        for (input, output) in input.chunks(BLOCK).zip(output.chunks_mut(BLOCK)) {
            let mut within = true;
            for (&x, y) in input.iter().zip(output.iter_mut()) {
                *y = formula(sin_plus_cos(x), x);
                within &= x.abs() <= SIN_COS_MAX;
            }
            if !within {
                replace(input, output);
            }
        }
    }
}

/// Computes again what lies beyond the fast path. Only those elements, so that no result depends on its
/// neighbours; and one NaN for all: which one the arithmetic gives differs between CPUs.
#[inline(always)]
fn replace(input: &[f64], output: &mut [f64]) {
    let mut known = true;
    for (&x, y) in input.iter().zip(output.iter_mut()) {
        *y = if x.is_finite() { *y } else { f64::NAN };
        known &= (x.abs() <= SIN_COS_MAX) | !x.is_finite();
    }
    if !known {
        replace_far(input, output);
    }
}

#[cold]
#[inline(never)]
fn replace_far(input: &[f64], output: &mut [f64]) {
    for (&x, y) in input.iter().zip(output) {
        if x.is_finite() && x.abs() > SIN_COS_MAX {
            *y = formula(libm::sin(x) + libm::cos(x), x);
        }
    }
}

#[inline(always)]
fn formula(sin_plus_cos: f64, x: f64) -> f64 {
    sin_plus_cos * sin_plus_cos / (x.abs().sqrt() + 1.0)
}
