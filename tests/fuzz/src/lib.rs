//! Hostile input: what must hold for any bytes, one function for each target.
//!
//! libFuzzer calls the functions with bytes that it makes from those of the corpora (`scripts/fuzz`), and `cargo test` with the
//! corpora alone. A target panics where a promise is broken, so each says in asserts what it promises, beside not
//! panicking, hanging or taking memory without end:
//!
//! | target | bytes are | promised |
//! |---|---|---|
//! | [`frame`](fn@frame) | what a connection of level 2 brings | the same in one piece and in small ones; what is accepted can be written, and reads as the same |
//! | [`message`](fn@message) | a type, and its `data` | what is accepted can be written, and reads as the same |
//! | [`level1`](fn@level1) | what a connection of level 1 brings | as of `frame` |
//! | [`list`](fn@list) | a list of numbers in a line of level 1 | the same numbers, bit for bit, as those of `serde_json` |
//! | [`expression`](fn@expression) | what people type to be computed | a place for each error; the program of it as of `program` |
//! | [`program`](fn@program) | a program as workers get it | its text reads as the same; it runs, and gives the same in two pieces |
//! | [`partial`](fn@partial) | what a worker says that it has reduced | one form for each; merging and finishing never fail |
//! | [`npy`](fn@npy), [`csv`](fn@csv), [`json`](fn@json) | a file of the client's user | what was read can be written, and reads as the same |
//! | [`log`](fn@log) | the master's log | a prefix that replays to the same state, or a refusal with the place |
//! | [`core`](fn@core) | events for the master's state machine | see [`cluster`](mod@cluster): its invariants after every step |

#![allow(missing_docs, reason = "test support; what is not obvious has a comment")]

pub mod cluster;
mod expression;
mod file;
mod frame;
mod level1;
mod log;
mod message;
mod pieces;

pub use cluster::core;
pub use expression::{expression, partial, program};
pub use file::{csv, json, npy};
pub use frame::frame;
pub use level1::{level1, list};
pub use log::log;
pub use message::message;

/// A target.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Target); 12] = [
    ("core", core),
    ("csv", csv),
    ("expression", expression),
    ("frame", frame),
    ("json", json),
    ("level1", level1),
    ("list", list),
    ("log", log),
    ("message", message),
    ("npy", npy),
    ("partial", partial),
    ("program", program),
];
