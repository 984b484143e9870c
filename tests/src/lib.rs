//! What is tested across crates: [`story`] runs the core scripts of `scripts/`, [`sim`] is the simulator under them, and
//! [`run`] a whole run of it from one seed. [`harness`] starts real processes. [`linearizability`] judges what clients saw in both.

#![allow(missing_docs, reason = "test support; what is not obvious has a comment")]

pub mod harness;
pub mod linearizability;
pub mod run;
pub mod sim;
pub mod story;
