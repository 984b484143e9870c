//! The kernels: plain loops over slices, one thread, the same bits on every CPU.
//!
//! Each kernel is a [`Loop`], compiled for several kinds of CPU ([`build`]). All builds run the
//! same operations in the same order, `mul_add` included, and IEEE 754 fixes the result of each. So on a CPU
//! without FMA, where each `mul_add` is a call of the C library's `fma`, which rounds once by definition,
//! example1 is some twenty times slower and gives the same bits.
//!
//! A result depends on its element only, never on the neighbours or on where a slice begins: a caller may cut
//! a slice anywhere.
//!
//! Absent: kernels without `mul_add` for old CPUs (other bits), the C library's elementary functions
//! (their bits change with its version), programs, which say what loops run ([`crate::program`]), and reductions ([`crate::reduction`]).

pub mod build;
pub mod elementary;
pub mod elementwise;
mod example1;
mod example2;
pub mod number;
pub mod stream;

pub use build::{Build, Loop};

use elementary::Map;

/// Names the bits these kernels give. Workers with the same id give the same bits for the same input.
///
/// It changes whenever a bit of a result does, also through a new version of the `libm` crate; a test holds
/// the checksums of some results to notice that.
pub const KERNELS_ID: &str = "darray-3";

/// `(sin x + cos x)^2 / (sqrt|x| + 1)` of every element.
///
/// A finite x has a finite result, NaN and the infinities give the NaN with bits `0x7FF8_0000_0000_0000`.
/// Sine and cosine are within one unit in the last place; their sum cancels near `-pi/4 + k pi`, so the
/// result is within 1e-15 of the exact one, not within some units in the last place.
///
/// # Panics
/// If the slices have different lengths.
pub fn example1(input: &[f64], output: &mut [f64]) {
    assert_eq!(input.len(), output.len(), "a kernel needs as many results as elements");
    Build::best().run(Map(example1::Example1, input, output));
}

/// `trunc((x ln x) mod 7)` where x is a multiple of 3 or in `500..=1000`, else x itself.
///
/// A multiple of 3 that is zero or negative, where the logarithm is not a number, gives 0, as the original's
/// conversion of NaN to int does.
///
/// # Panics
/// If the slices have different lengths.
pub fn example2(input: &[i32], output: &mut [i32]) {
    Build::best().run(example2::Example2(input, output));
}

#[cfg(test)]
mod tests;
