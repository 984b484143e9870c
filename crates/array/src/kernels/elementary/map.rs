//! The loops over slices: a fast path for all, then the few elements again that it does not hold for.
//!
//! Most of those are special values: zeros, infinities, NaNs that stand for what is missing. They may be half of an array, and are known
//! without computing.

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
    /// Its value of some arguments, all that give a NaN among them; the same as `usual` gives if that holds. Without branches, too:
    /// comparisons and choices only.
    #[inline(always)]
    fn special(x: f64) -> Option<f64> {
        x.is_nan().then_some(f64::NAN)
    }
    /// Its value elsewhere.
    fn unusual(x: f64) -> f64;
}

/// A function of two doubles, likewise.
pub trait Function2 {
    /// As [`Function::usual`].
    fn usual(a: f64, b: f64) -> f64;
    /// As [`Function::is_usual`].
    fn is_usual(a: f64, b: f64) -> bool;
    /// As [`Function::special`].
    fn special(a: f64, b: f64) -> Option<f64>;
    /// As [`Function::unusual`].
    fn unusual(a: f64, b: f64) -> f64;
}

/// What a function has of infinities and NaNs that has no number there.
#[inline(always)]
pub fn nan_unless_finite(x: f64) -> Option<f64> {
    (!x.is_finite()).then_some(f64::NAN)
}

/// What a function has of infinities and NaNs that leaves them as they are.
#[inline(always)]
pub fn itself_unless_finite(x: f64) -> Option<f64> {
    (!x.is_finite()).then_some(if x.is_nan() { f64::NAN } else { x })
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

/// Computes again what lies beyond the fast path. Only those elements, so that no result depends on its neighbours; and one NaN for all:
/// which one the arithmetic gives differs between CPUs.
#[inline(always)]
pub fn replace<F: Function, T: Float>(input: &[T], output: &mut [T]) {
    if !replace_special(input, output, F::is_usual, F::special) {
        replace_others::<F, T>(input, output);
    }
}

/// Puts special values into their places. Whether all others are usual.
#[inline(always)]
pub fn replace_special<T: Float>(
    input: &[T],
    output: &mut [T],
    is_usual: impl Fn(f64) -> bool,
    special: impl Fn(f64) -> Option<f64>,
) -> bool {
    let mut known = true;
    for (&x, y) in input.iter().zip(output) {
        let x = x.into();
        let special = special(x);
        *y = special.map_or(*y, T::rounded);
        known &= special.is_some() | is_usual(x);
    }
    known
}

#[cold]
#[inline(never)]
fn replace_others<F: Function, T: Float>(input: &[T], output: &mut [T]) {
    for (&x, y) in input.iter().zip(output) {
        let x = x.into();
        if !F::is_usual(x) && F::special(x).is_none() {
            *y = T::rounded(F::unusual(x));
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

/// As [`replace`].
#[inline(always)]
fn replace2<F: Function2>(a: &[f64], b: &[f64], output: &mut [f64]) {
    let mut known = true;
    for ((&a, &b), y) in a.iter().zip(b).zip(output.iter_mut()) {
        let special = F::special(a, b);
        *y = special.unwrap_or(*y);
        known &= special.is_some() | F::is_usual(a, b);
    }
    if !known {
        replace_others2::<F>(a, b, output);
    }
}

#[cold]
#[inline(never)]
fn replace_others2<F: Function2>(a: &[f64], b: &[f64], output: &mut [f64]) {
    for ((&a, &b), y) in a.iter().zip(b).zip(output) {
        if !F::is_usual(a, b) && F::special(a, b).is_none() {
            *y = F::unusual(a, b);
        }
    }
}
