//! The reductions against naive loops.
