//! The client of a darray cluster: a blocking library, and the command line `client` on top of it.
//!
//! [`Cluster`] is the way in:
//!
//! ```no_run
#![doc = include_str!("../examples/double.rs")]
//! ```
//!
//! How it is built, from the outside in:
//!
//! - [`Cluster`] has one blocking method per thing to do, each with a deadline and a typed [`Error`].
//! - Three state machines decide, without socket, clock or thread: [`retry::Session`] (requests to the master and what
//!   happens to them when connections and masters come and go), [`upload::Upload`] and [`download::Download`] (which bytes go
//!   where, and where else when a worker fails).
//! - Around them the shell: `connection` (the control connection: a thread that dials and reads, a timer), `transfer` and `lane`
//!   (one thread per worker for the length of a call), `data` (connections to workers, and the pool they rest in).
//! - [`Original`] is for masters of the original system, which speak level 1 only; [`Builder::connect_any`] finds out.
//! - [`mod@format`] reads and writes `.npy`, CSV and JSON; `cli` is the command line, with the feature of that name.
//!
//! Deliberately absent: an async runtime, a cache of names or plans (the master alone says what a name means), and a
//! limit on the number of attempts (the deadline is the limit).

pub mod cancel;
#[cfg(feature = "cli")]
pub mod cli;
pub mod cluster;
mod connection;
mod data;
pub mod download;
pub mod error;
pub mod format;
mod lane;
pub mod original;
pub mod pace;
pub mod retry;
mod transfer;
pub mod upload;

pub use cancel::Cancel;
pub use cluster::{ApplyOptions, Builder, Cluster, GenerateOptions, scalar};
pub use data::{Carried, DataPath};
pub use download::Layout;
pub use error::Error;
pub use original::Original;
pub use original::find::Master;
pub use transfer::Progress;
