//! The language darray's programs speak: newline-delimited JSON messages over TCP, where a line may announce
//! a raw binary payload that follows it.
//!
//! `PROTOCOL.md` beside this crate specifies it for people who write a client or a worker of their own. Here:
//!
//! - [`message`]: what can be said. [`Body`] is the closed list of messages, [`Head`] the fields around them.
//! - [`frame`]: how a message becomes bytes and back, with the caps of [`limits`] and a deadline on every wait.
//! - [`level1`]: the same for the original protocol, whose lines carry the values themselves.
//! - [`error`]: what a refusal says, with a stable code and whether to try again.
//! - [`id`]: the numbers and names things go by. [`name`]: which names arrays and workers may have.
//! - [`net`]: opening and accepting connections the way all three programs need them. [`outbox`]: writing to them without
//!   waiting. [`door`]: how many connections a program serves. On Linux, `shared`: connections between programs of one machine, which take the place of TCP.
//! - [`fault`]: where tests have a process die.
//!
//! What is deliberately absent: roles. Nothing here knows what a master does with a message.

pub mod door;
pub mod dtype;
pub mod error;
pub mod fault;
pub mod frame;
pub mod id;
pub mod level1;
pub mod limits;
pub mod message;
pub mod name;
pub mod net;
pub mod outbox;
#[cfg(target_os = "linux")]
pub mod shared;
pub mod size;

pub use error::{ErrorCode, WireError};
pub use frame::{FrameError, FrameReader, FrameWriter, Incoming};
pub use id::{ArrayId, CopyId, CopyRecord, Digest, Epoch, SegmentIndex, SessionId, VersionId, WorkerId};
pub use message::{Body, Head, Message, Payload, PayloadKind};
pub use name::Reference;
