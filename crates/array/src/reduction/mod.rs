//! Reductions: one value of many elements, the same bits for any number of threads, workers and cuts.
//!
//! Elements are taken leaf by leaf, [`LEAF`] of them at a time, counted from the start of the array; what is known of a leaf is a
//! [`Partial`], and partials are merged in a fixed binary tree over their position, a [`Tree`]. A tree of what smaller trees gave
//! is the same tree as long as each smaller one, but the last, is of a power of two leaves. So a chunk, a segment and the array
//! may each have a tree of their own, on different machines, and no bit tells where the cuts were.
//!
//! Absent: axes (an array has one dimension), reductions that need all elements at once, such as the median.

mod count;
mod extreme;
mod lanes;
mod leaf;
mod moments;
mod partial;
mod product;
mod reducer;
mod scalar;
mod sum;
mod tree;
mod wire;

pub use leaf::Leaf;
pub use partial::{Partial, ReductionError};
pub use reducer::{Reducer, UnknownReducer};
pub use scalar::{BadScalar, Scalar, Values};
pub use tree::Tree;
pub use wire::BadPartial;

/// Elements of a leaf; the last of an array may have fewer. 8 KiB of float64, which stay in the first-level cache while several
/// reducers go through them. A power of two, and a divisor of every segment's length but the last.
pub const LEAF: usize = 1024;

/// The only NaN there is in results: which one the arithmetic gives differs between CPUs and builds.
const NAN: f64 = f64::from_bits(0x7FF8_0000_0000_0000);

/// As [`NAN`], of float32.
const NAN_F32: f32 = f32::from_bits(0x7FC0_0000);

/// The number itself, or the one NaN.
#[inline(always)]
fn canonical(x: f64) -> f64 {
    if x.is_nan() { NAN } else { x }
}

#[cfg(test)]
mod tests;
