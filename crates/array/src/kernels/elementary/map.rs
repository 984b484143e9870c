//! The loops over slices: a fast path for all, then the few elements again that it does not hold for.

use super::exponential;
use crate::kernels::Loop;

/// Elements between two looks for arguments that the fast path does not hold for. The block and its results stay in
/// the first-level cache, so that going through it again is cheap.
pub const BLOCK: usize = 512;

/// What functions of one number take and give: float64, or float32, which is computed in float64.
pub trait Float: Copy + Into<f64> {
    /// The number, rounded.
    fn rounded(x: f64) -> Self;
    /// `e^x = v 2^n` as v, between 0.7 and 1.42, and `n + ROUND`, as exactly as a result needs that is rounded to this type.
    fn exponential(x: f64) -> (f64, f64);
}

impl Float for f64 {
    #[inline(always)]
    fn rounded(x: f64) -> f64 {
        x
    }

    #[inline(always)]
    fn exponential(x: f64) -> (f64, f64) {
        exponential::parts(x)
    }
}

impl Float for f32 {
    #[inline(always)]
    fn rounded(x: f64) -> f32 {
        x as f32
    }

    #[inline(always)]
    fn exponential(x: f64) -> (f64, f64) {
        exponential::short_parts(x)
    }
}

/// A function of one double.
pub trait Function {
    /// Its value where [`Function::is_usual`]; anything elsewhere. Without branches.
    fn usual(x: f64) -> f64;
    /// Whether `usual` holds.
    fn is_usual(x: f64) -> bool;
    /// Its value elsewhere; any NaN.
    fn unusual(x: f64) -> f64;
}

/// A function of two doubles, likewise.
pub trait Function2 {
    /// As [`Function::usual`].
    fn usual(a: f64, b: f64) -> f64;
    /// As [`Function::is_usual`].
    fn is_usual(a: f64, b: f64) -> bool;
    /// As [`Function::unusual`].
    fn unusual(a: f64, b: f64) -> f64;
}

/// One NaN for all: which one the arithmetic gives differs between CPUs.
#[inline(always)]
fn one_nan(x: f64) -> f64 {
    if x.is_nan() { f64::NAN } else { x }
}

/// The loop over slices of equal length: elements, results.
pub struct Map<'a, F, T>(pub F, pub &'a [T], pub &'a mut [T]);

impl<F: Function, T: Float> Loop for Map<'_, F, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Map(_, input, output) = self;
        for (input, output) in input.chunks(BLOCK).zip(output.chunks_mut(BLOCK)) {
            let mut usual = true;
            for (&x, y) in input.iter().zip(output.iter_mut()) {
                let x = x.into();
                *y = T::rounded(F::usual(x));
                usual &= F::is_usual(x);
            }
            if !usual {
                replace::<F, T>(input, output);
            }
        }
    }
}

/// Computes again what lies beyond the fast path. Only those elements, so that no result depends on its neighbours.
#[cold]
#[inline(never)]
pub fn replace<F: Function, T: Float>(input: &[T], output: &mut [T]) {
    for (&x, y) in input.iter().zip(output) {
        let x = x.into();
        if !F::is_usual(x) {
            *y = T::rounded(one_nan(F::unusual(x)));
        }
    }
}

/// The loop over slices of equal length: first arguments, second arguments, results.
pub struct Map2<'a, F>(pub F, pub &'a [f64], pub &'a [f64], pub &'a mut [f64]);

impl<F: Function2> Loop for Map2<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Map2(_, a, b, output) = self;
        for ((a, b), output) in a.chunks(BLOCK).zip(b.chunks(BLOCK)).zip(output.chunks_mut(BLOCK)) {
            let mut usual = true;
            for ((&a, &b), y) in a.iter().zip(b).zip(output.iter_mut()) {
                *y = F::usual(a, b);
                usual &= F::is_usual(a, b);
            }
            if !usual {
                replace2::<F>(a, b, output);
            }
        }
    }
}

#[cold]
#[inline(never)]
fn replace2<F: Function2>(a: &[f64], b: &[f64], output: &mut [f64]) {
    for ((&a, &b), y) in a.iter().zip(b).zip(output) {
        if !F::is_usual(a, b) {
            *y = one_nan(F::unusual(a, b));
        }
    }
}
