//! Connections between two programs of one machine: a stream of bytes each way, through memory that both have.
//!
//! Such a [`SharedStream`] takes the place of a TCP connection below [`FrameReader`](crate::FrameReader) and
//! [`FrameWriter`](crate::FrameWriter): everything that is said over it is the same, and so are deadlines and ends. TCP copies
//! each byte into the kernel and out of it, with the work of a network in between; here it is copied into a ring that fits
//! into the cache, and out of it. Payloads are checked where they have arrived, in memory that nobody else has.
//!
//! The listening side makes everything ([`mod@listen`]), the other checks it before it believes in it ([`mod@connect`]). A stream
//! consists of a memory file with two rings ([`ring`]) and of two pairs of sockets, the bells: on each a single byte says "look
//! again" to one who sleeps, and its end says that the other side is gone, also when that was killed ([`stream`]).

mod connect;
mod listen;
mod memory;
mod ring;
mod stream;
#[cfg(test)]
mod tests;

pub use connect::connect;
pub use listen::{Listener, admit, wake};
pub use stream::SharedStream;

/// What every name of a listener begins with; 32 hexadecimal digits follow, which nobody can guess.
const NAME_PREFIX: &str = "darray-";

/// Random bytes of a name.
const NAME_BYTES: usize = 16;

/// Goes with the two files that the listener sends: a caller that has reached something else notices. The number is that of
/// the layout in memory.
const GREETING: &[u8; 8] = b"darray 1";
