//! The reductions against naive loops, cut against cut, build against build, and sums against exact ones.

mod accuracy;
mod bits;
mod data;
mod naive;
mod values;
