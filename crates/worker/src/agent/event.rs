//! What an agent takes and gives: events, effects, jobs and why it ends.

use crate::compute::{ComputeJob, Computed};
use crate::original::{Heard, Reply};
use crate::store::Segment;
use array::{Buffer, DType};
use protocol::message::client::Endpoint;
use protocol::size::format_size;
use protocol::{CopyId, CopyRecord, Message, WireError, WorkerId};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// What can happen.
#[derive(Debug)]
pub enum Event {
    /// Time has passed; also the first event of all.
    Tick,
    /// A connection that was asked for exists.
    LinkOpened {
        /// Which one.
        link: u64,
        /// This end of it, for the registration.
        local: Option<SocketAddr>,
    },
    /// A connection that was asked for can't be made.
    LinkFailed {
        /// Which one.
        link: u64,
        /// Why.
        why: String,
    },
    /// The master said something.
    Received {
        /// On which connection.
        link: u64,
        /// What.
        message: Message,
    },
    /// The master said something as the original's masters speak.
    Heard {
        /// On which connection.
        link: u64,
        /// What.
        heard: Heard,
    },
    /// A [`Effect::Reply`] is written.
    Written {
        /// On which connection.
        link: u64,
    },
    /// A connection has ended, or takes no more.
    LinkClosed {
        /// Which one.
        link: u64,
        /// Why.
        why: String,
    },
    /// A copy was written on the data port, or written again. The writer is answered when the effects of this
    /// are performed.
    Stored(CopyRecord),
    /// A copy turned out broken and was taken out of the store.
    Broken(CopyId),
    /// Computations have ended; those that ended about the same time, together.
    Computed(Vec<Computed>),
    /// A fetch has ended.
    Fetched(Fetched),
    /// Somebody wants this worker to end.
    Drain,
}

/// What shall be done.
#[derive(Debug)]
pub enum Effect {
    /// Connect to a master; answered by `LinkOpened` or `LinkFailed`.
    OpenLink {
        /// Its name from now on.
        link: u64,
        /// `HOST:PORT`.
        address: String,
    },
    /// End a connection, or the attempt. No event about it matters any more.
    CloseLink {
        /// Which one.
        link: u64,
    },
    /// Queue a message for the master.
    Send {
        /// On which connection.
        link: u64,
        /// What.
        message: Message,
    },
    /// Write a reply to an original master; answered by `Written`.
    Reply {
        /// On which connection.
        link: u64,
        /// What.
        reply: Reply,
        /// Whether its line must be short: see [`Reply::to_line`].
        short: bool,
    },
    /// Compute; answered by `Computed`.
    Compute(ComputeJob),
    /// Fetch a copy; answered by `Fetched`.
    Fetch(FetchJob),
    /// Give signs of life to this master, until told to stop, on a connection of their own.
    StartHeartbeats(HeartbeatJob),
    /// Stop giving signs of life.
    StopHeartbeats,
    /// Free this memory, outside the lock of the store.
    Free(Vec<Arc<Segment>>),
    /// End the program.
    Exit(ExitReason),
}

/// One copy to fetch from another worker.
#[derive(Debug)]
pub struct FetchJob {
    /// Its number, for the answer.
    pub job: u64,
    /// Which copy.
    pub copy: CopyRecord,
    /// The type of its elements.
    pub dtype: DType,
    /// Who has it, the best first.
    pub sources: Vec<Endpoint>,
    /// The client's request it serves.
    pub request: Option<String>,
    /// Nobody waits for it, and clients are at work.
    pub background: bool,
}

/// What became of a [`FetchJob`].
#[derive(Debug)]
pub struct Fetched {
    /// Its number.
    pub job: u64,
    /// The bytes, which have the length and checksum of the copy that was asked for.
    pub outcome: Result<Buffer, WireError>,
    /// How long it took.
    pub busy: Duration,
}

/// Where and as whom to give signs of life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatJob {
    /// The master.
    pub address: String,
    /// The worker.
    pub worker: WorkerId,
    /// Which life of it.
    pub incarnation: u64,
}

/// Why the worker ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// Asked to, and nothing depends on it any more.
    Drained,
    /// The master said so.
    Shutdown,
    /// Asked to, and there was no time or no master to hand the data over.
    Undrained {
        /// Copies that end with this process.
        copies: usize,
        /// Their bytes.
        bytes: u64,
        /// Why nobody took them over.
        why: &'static str,
    },
    /// A newer process has registered under this worker's id.
    Replaced,
    /// The shell was told to end at once.
    Aborted,
}

impl ExitReason {
    /// The process's exit code.
    pub fn code(&self) -> u8 {
        match self {
            ExitReason::Drained | ExitReason::Shutdown | ExitReason::Aborted => 0,
            ExitReason::Undrained { copies: 0, .. } => 0,
            ExitReason::Undrained { .. } => 3,
            ExitReason::Replaced => 1,
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitReason::Drained => f.write_str("drained: nothing depends on this worker any more"),
            ExitReason::Shutdown => f.write_str("the master shut the cluster down"),
            ExitReason::Undrained { copies: 0, why, .. } => {
                write!(f, "ended without copies of its own ({why})")
            }
            ExitReason::Undrained { copies, bytes, why } => {
                let size = format_size(*bytes);
                write!(f, "ended undrained ({why}): {copies} copies, {size}, end with it; other workers may have them")
            }
            ExitReason::Replaced => {
                f.write_str("a newer process has registered under this worker's id; every id is for one process")
            }
            ExitReason::Aborted => f.write_str("ended at once"),
        }
    }
}
