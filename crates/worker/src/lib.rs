//! The worker: keeps segments of arrays in memory, computes on them, gives them to whoever asks, and does
//! what the master says.
//!
//! These parts are pure, without clock, threads and sockets, and a lint keeps them so:
//!
//! - [`store`]: the copies, the memory budget, reservations; [`fence`]: which instructions are too old;
//! - [`agent`]: the link to the master and the work, as a state machine of events and effects;
//! - [`original`]: the same for a master of the original system.
//!
//! Around them is the shell, which has the computations ([`compute`]) done. [`server`] makes its queues and threads, `driver` has the agent under a lock and performs
//! its effects, the data port serves segments, the executor computes, the fetchers repair, the heartbeat says
//! that the worker lives. `PROTOCOL.md` of the crate `protocol` says what is spoken, in its sections 2.7 and 2.8.

pub mod agent;
pub mod compute;
pub mod config;
mod control;
pub mod cores;
mod data_port;
mod driver;
pub mod executor;
pub mod fence;
mod fetcher;
mod forward;
mod heartbeat;
pub mod original;
mod peer;
pub mod program;
mod replies;
pub mod server;
mod sockets;
pub mod store;

pub use agent::{Agent, Effect, Event, ExitReason};
pub use executor::{Computations, Executor};
pub use server::{Config, Handle, Server, Worker};
pub use store::Store;

use std::fmt;
use std::sync::{Mutex, MutexGuard};

/// Takes the lock. Whoever panics while he has it leaves the store in doubt, so that everybody else ends too.
pub(crate) fn lock(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().expect("a thread panicked while it had the store")
}

/// The client's request that something serves, as the beginning of a log line; nothing if there is none.
pub(crate) struct Serving<'a>(pub &'a Option<String>);

impl fmt::Display for Serving<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(request) => write!(f, "[{request}] "),
            None => Ok(()),
        }
    }
}
