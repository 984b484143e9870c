//! The worker under a master of the original system (level 1 of the protocol): a state machine beside the agent's own.
//!
//! Such a master answers nothing to a registration. It sends segments with their values inside the line, asks for an
//! operation on all of an array at once, and expects a worker to be exactly as the original's were where that matters
//! to it, as nobody can mend it any more. The pieces:
//!
//! - [`Heard`]: what a line of it asks for, made by the thread that reads;
//! - `arrays`: the segments it has given, which of them compute, and which are of an array that exists no more;
//! - `work`: operations, answered once for every segment;
//! - `outbox`: when which line may be written; [`Reply`] is a line, which the thread that writes puts into bytes.
//!
//! The agent decides when a master is taken for such a one (`agent/link.rs`), and performs the effects. Memory is that
//! of the [`Store`]; its copies are not touched, as a worker that has any waits for its own master.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod arrays;
mod heard;
mod outbox;
mod reply;
#[cfg(test)]
mod tests;
mod work;

pub use heard::{Content, Heard, Instruction, SegmentGiven};
pub use outbox::{FIRST_LINE_AFTER, HEARTBEAT_EVERY, LINE_GAP};
pub use reply::{LINE_BYTES_SHORT, Reply, Values};

use crate::compute::{ComputeJob, Computed};
use crate::store::Store;
use arrays::Arrays;
use log::{debug, info, warn};
use outbox::Outbox;
use std::fmt;
use std::time::Duration;
use work::Work;

/// Replies that are computed or wait to be written. At the pace that a Python master can read they are written in a
/// quarter of an hour; a master that is further behind than that is as good as gone.
pub const REPLIES_MAX: usize = 4096;

/// The number of the first computation here. The agent's own count from 0, so that every number is of one of them.
const FIRST_JOB: u64 = 1 << 63;

/// Which of the original's masters it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// It reads lines of any length, and uses results.
    Java,
    /// What one read of 8,192 bytes gives it must be exactly one line, or it gives the worker up. Results it only counts.
    Python,
}

/// What can happen.
#[derive(Debug)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// The master said something.
    Heard(Heard),
    /// The reply that was handed out last is written, and its values are gone from memory.
    Written,
    /// A computation has ended.
    Computed(Computed),
}

/// What shall be done.
#[derive(Debug)]
pub enum Effect {
    /// It is known now who the master is.
    Recognised(Flavour),
    /// Write a reply, in few bytes if `short`; answered by [`Event::Written`]. One at a time.
    Write {
        /// What to say.
        reply: Reply,
        /// Whether the line may have no more than [`LINE_BYTES_SHORT`].
        short: bool,
    },
    /// Compute; answered by [`Event::Computed`].
    Compute(ComputeJob),
    /// The connection is of no more use.
    GiveUp(String),
    /// The master wants this process to end.
    Shutdown,
}

/// The state machine. See the module's documentation. It outlives connections, as computations do.
#[derive(Debug)]
pub struct Original {
    /// Of the current connection, once it is known.
    flavour: Option<Flavour>,
    arrays: Arrays,
    work: Work,
    outbox: Option<Outbox>,
}

impl Original {
    /// A machine without a connection, which hands out `slots` computations at once.
    pub fn new(slots: usize) -> Original {
        Original { flavour: None, arrays: Arrays::default(), work: Work::new(slots), outbox: None }
    }

    /// Whether a computation is one of this machine's.
    pub fn has_given(computed: &Computed) -> bool {
        computed.job >= FIRST_JOB
    }

    /// Goes on with a connection on which REGISTER_WORKER was sent at `registered`.
    pub fn begin(&mut self, registered: Duration) {
        self.flavour = None;
        self.outbox = Some(Outbox::new(registered));
    }

    /// Ends the connection and forgets everything: the original's masters take whoever registers for a new process.
    pub fn end(&mut self, store: &mut Store) {
        self.arrays.clear(store);
        self.work.forget(store);
        if let Some(outbox) = self.outbox.take() {
            outbox.into_rooms().for_each(|room| store.release(room));
        }
    }

    /// Segments held, and their bytes.
    pub fn held(&self) -> (usize, u64) {
        self.arrays.held()
    }

    /// Whether the master has said anything yet.
    pub fn is_recognised(&self) -> bool {
        self.flavour.is_some()
    }

    /// When [`Event::Tick`] is due, if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.outbox.as_ref().and_then(|outbox| outbox.deadline(self.is_paced()))
    }

    /// Takes one event and says what to do about it.
    pub fn step(&mut self, now: Duration, store: &mut Store, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Tick => {}
            Event::Heard(heard) => self.on_heard(store, heard, &mut effects),
            Event::Written => self.on_written(now, store),
            Event::Computed(computed) => {
                self.work.on_computed(store, computed);
                self.arrays.release_unread(store);
            }
        }
        let Some(outbox) = &mut self.outbox else {
            return effects; // a computation for a connection that has ended
        };
        self.work.start(store, outbox.is_empty(), &mut effects);
        self.work.hand_over(outbox);
        let waiting = self.work.len() + outbox.len();
        if waiting > REPLIES_MAX {
            let why = format!("it takes replies too slowly: {waiting} wait, {REPLIES_MAX} are the limit");
            effects.push(Effect::GiveUp(why));
            return effects;
        }
        let short = self.is_paced();
        if let Some(reply) = self.outbox.as_mut().and_then(|outbox| outbox.next(now, short)) {
            effects.push(Effect::Write { reply, short });
        }
        effects
    }

    /// Whether lines must be short and far from each other. So they are until the master has shown that it needs
    /// neither.
    fn is_paced(&self) -> bool {
        self.flavour != Some(Flavour::Java)
    }

    fn on_heard(&mut self, store: &mut Store, heard: Heard, effects: &mut Vec<Effect>) {
        if self.flavour.is_none() {
            let flavour = if heard.spaced { Flavour::Python } else { Flavour::Java };
            self.flavour = Some(flavour);
            effects.push(Effect::Recognised(flavour));
        }
        match heard.instruction {
            Instruction::Keep(given) => self.arrays.keep(store, given),
            Instruction::Process { array, operation } => {
                debug!("computing {operation} of '{array}'");
                self.arrays.note_asked(&array);
                let primaries = self.arrays.primaries(&array);
                self.work.request(array, &operation, primaries);
            }
            Instruction::Recover { array, segment, make_primary: true } => {
                match self.arrays.promote(&array, segment) {
                    true => info!("'{array}'/{segment}: the replica here is the primary now"),
                    false => warn!("'{array}'/{segment} is not here to be made a primary; operations on it will fail"),
                }
                self.work.say(array.clone(), Reply::Recovered { array, segment });
            }
            // The original's workers have nothing to say to that either.
            Instruction::Recover { .. } => {}
            Instruction::Shutdown => effects.push(Effect::Shutdown),
            Instruction::Ignored(kind) => debug!("ignored {kind} of an original master"),
        }
    }

    fn on_written(&mut self, now: Duration, store: &mut Store) {
        if let Some(room) = self.outbox.as_mut().and_then(|outbox| outbox.written(now)) {
            store.release(room);
        }
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flavour::Java => "Java",
            Flavour::Python => "Python",
        })
    }
}
