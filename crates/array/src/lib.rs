//! What an array is made of and what is computed on it: element types, the bytes of a segment, the
//! segment grid, checksums, expressions and the programs they become, generated numbers, kernels and reductions. README.md has the
//! language and its numerics.
//!
//! The idea: an array is cut into segments by a [`Grid`] that depends on its length alone. A segment is a
//! [`Buffer`], mostly one that a [`BufferPool`] has had before; a [`Program`] turns buffers into another one, or into what
//! reductions make of them, and the result has the same bits whatever the layout, the number of threads or the CPU: every
//! elementary function is our own or comes from the `libm` crate, no result depends on a neighbouring element, and what is combined
//! is combined exactly (checksums) or in a fixed tree ([`reduction`]). [`KERNELS_ID`] names those bits.
//!
//! Absent on purpose: sockets, JSON, names of arrays, copies, errors of other nodes. Slices in, slices out.
//! Also absent: a thread pool. [`Program::apply_into`] and [`Program::reduce`] split their work on the rayon pool that they are
//! called on.
//!
//! Bytes are little-endian, in memory as on the wire, so a buffer is sent as it lies.

#[cfg(target_endian = "big")]
compile_error!("buffers are sent as they lie in memory, and the wire format is little-endian");

pub mod buffer;
pub mod checksum;
pub mod dtype;
pub mod element;
pub mod expression;
pub mod grid;
pub mod kernels;
pub mod memory;
pub mod operation;
pub mod pool;
pub mod program;
pub mod random;
pub mod reduction;

pub use buffer::Buffer;
pub use dtype::{DType, UnknownDType};
pub use element::Element;
pub use grid::{Grid, LEN_MAX};
pub use kernels::KERNELS_ID;
pub use operation::{Operation, UnknownOperation, WrongDType};
pub use pool::BufferPool;
pub use program::Program;
pub use reduction::{Leaf, Partial, Reducer, ReductionError, Scalar, Tree, Values};
