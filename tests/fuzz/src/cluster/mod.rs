//! The master's state machine under events that nobody should send, in orders that nobody would think of.
//!
//! Bytes become a sequence of actions: connections that come and go, workers and clients that behave, that lie, and that say any
//! message of the protocol with any of its fields changed; what somebody has said before, again, from another connection; time,
//! log writes and restarts. After every step the master's own invariants are checked ([`Cluster::check`](master::cluster::Cluster::check)),
//! and that no epoch goes back and everything it says can be read. At the end the log must tell the state that it has, and a
//! new client must be served.

mod clients;
mod desk;
mod templates;
mod workers;

use arbitrary::{Result, Unstructured};
use desk::{Desk, SLOTS};
use std::time::Duration;

/// Actions of one run at most: what takes more of them to happen is for the simulator.
const ACTIONS_MAX: usize = 400;

/// Copies of everything, then actions.
pub fn core(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let mut desk = Desk::new(input.int_in_range(1..=3).unwrap_or(1));
    for _ in 0..ACTIONS_MAX {
        if input.is_empty() || desk.has_stopped() || act(&mut desk, &mut input).is_err() {
            break;
        }
    }
    desk.end();
}

/// One action, by somebody.
fn act(desk: &mut Desk, input: &mut Unstructured<'_>) -> Result<()> {
    let slot = input.int_in_range(0..=SLOTS - 1)?;
    match input.int_in_range(0..=19)? {
        0 => desk.wait(Duration::from_millis(50)),
        1 => {
            let ms = *input.choose(&[0, 1, 200, 600, 1100, 3000, 6000, 70_000, 4_000_000])?;
            desk.wait(Duration::from_millis(ms));
        }
        2 => desk.disconnect(slot),
        3 => desk.commit(input.int_in_range(1..=8)?),
        4 => desk.dialed(input.arbitrary()?),
        5 => desk.repeat(slot, input.arbitrary()?),
        6 if input.int_in_range(0..=3)? == 0 => desk.restart(input.int_in_range(0..=4)?),
        6 => desk.beats(),
        7 | 8 => desk.register(slot, input)?,
        9 | 10 => desk.answer(slot, input)?,
        11 => desk.store(input)?,
        12 => desk.hello(slot, input)?,
        13..=15 => desk.ask(slot, input)?,
        16 => desk.finish_upload(slot, input)?,
        _ => desk.say_anything(slot, input)?,
    }
    Ok(())
}
