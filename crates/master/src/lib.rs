//! darray's master: knows which worker holds what, and keeps it so that nothing is lost.
//!
//! [`cluster`] is the state machine that decides everything, without sockets, clock or threads. Around it:
//! [`server`] has the threads, [`driver`] the lock and the effects, [`connection`] the sockets, [`log_file`] the disk, [`config`] the flags.
//!
//! What is deliberately absent: the bytes of arrays. They go straight between clients and workers, but for small results that a
//! client wants with its answer.

pub mod cluster;
pub mod config;
mod connection;
mod driver;
pub mod error;
pub mod log_file;
pub mod program;
pub mod server;
