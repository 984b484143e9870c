//! Every cap and deadline of the protocol, each with its reason.

use std::time::Duration;

/// The protocol version this build speaks; it also talks to the version before it.
pub const PROTOCOL_VERSION: u32 = 2;

/// Longest header line of level 2, newline included. A plan for 5,000 segments fits; whatever is longer sends its
/// `data` as a JSON payload, so that one line never costs a peer more than one small buffer.
pub const HEADER_BYTES_MAX: usize = 64 * 1024;

/// Longest binary payload: 32 times the largest segment. Stated before the bytes, so refused before any memory.
pub const PAYLOAD_BYTES_MAX: u64 = 1 << 30;

/// Largest result whose elements come with the reply, through the master: 16 Ki float64. Moving more than that straight from the
/// workers takes less time than the master would be kept from other requests.
pub const INLINE_BYTES_MAX: u64 = 128 * 1024;

/// Longest JSON payload: the inventory of a worker that holds two million copies.
pub const JSON_PAYLOAD_BYTES_MAX: u64 = 64 << 20;

/// JSON payloads that a program reads at the same time, in bytes: four of the longest. Those that do not fit are answered `Busy`.
pub const JSON_PAYLOADS_BYTES_MAX: u64 = 4 * JSON_PAYLOAD_BYTES_MAX;

/// Deepest nesting of a header line or JSON payload. Our messages need 5; parsers recurse, so this bounds the stack.
pub const JSON_DEPTH_MAX: usize = 32;

/// Longest name of an array or worker, in bytes of UTF-8: what file systems and DNS users are used to.
pub const NAME_BYTES_MAX: usize = 255;

/// Payloads are received, checked and passed on in blocks of this size: small enough that checksum and next hop find the block
/// in the cache of one core, large enough that system calls and the waking of whoever takes it next do not eat that up again,
/// as they do at 128 KiB.
pub const BLOCK_BYTES: usize = 512 << 10;

/// Most dimensions of a shape: NumPy 2's limit.
pub const DIMENSIONS_MAX: usize = 64;

/// Connections one program serves at once, unless a flag says otherwise; each costs a thread. For one more the oldest that has
/// said nothing yet is closed; if there is none, it is answered `Busy` and closed.
pub const CONNECTIONS_MAX: usize = 4096;

/// The same for those from one address: one machine with a thousand programs, and three more like it.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 1024;

/// Requests one client connection may have in flight; the next is answered `Busy`.
pub const IN_FLIGHT_MAX: usize = 64;

/// Requests that all clients of one address may have in flight at a master, unless a flag says otherwise: sixteen sessions with all
/// they may have, and a tenth of what a master takes.
pub const REQUESTS_PER_ADDRESS_MAX: usize = 1024;

/// Outcomes remembered per session, so that a retry gets the first answer.
pub const OUTCOMES_PER_SESSION_MAX: usize = 64;

/// Sessions remembered at once; beyond it the longest unused goes first.
pub const SESSIONS_MAX: usize = 10_000;

/// A session unused this long is forgotten, by a command in the log: far above any deadline of a call.
pub const SESSION_IDLE_MAX: Duration = Duration::from_secs(3600);

/// Connecting: on a working network a handshake takes one round trip; Linux alone would try for two minutes.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Replacing a TCP connection by one through shared memory: on one machine an answer takes microseconds, and whoever is too
/// busy for it is reached over TCP as well.
pub const SHARED_MEMORY_TIMEOUT: Duration = Duration::from_millis(200);

/// The first message of a connection: people type.
pub const FIRST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// From the first byte of a line to its newline: people type, and nobody may hold a line open for ever.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a level-2 peer waits for the answer to its HELLO before it takes the other side for level 1 (rule S2).
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(1);

/// Slowest payload that is still waited for, in bytes a second: below it a connection is as good as stuck.
pub const PAYLOAD_BYTES_PER_SECOND_MIN: u64 = 64 * 1024;

/// What a payload may take on top of its bytes at the slowest rate: a pause of the peer or of this machine.
pub const PAYLOAD_GRACE: Duration = Duration::from_secs(5);

/// One write to a socket. After a write that timed out the connection is dead: the frame border is lost.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a worker gives a sign of life. Ten a second cost nothing and let silence be noticed within a second.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(100);

/// How long a read plan keeps its version alive without renewal.
pub const PIN_LEASE: Duration = Duration::from_secs(60);

/// The deadline of a request that states none.
pub const REQUEST_TIMEOUT_DEFAULT: Duration = Duration::from_secs(120);

/// Largest whole number on the wire: JSON readers in other languages hold numbers in doubles. Larger ones are strings.
pub const INTEGER_MAX: u64 = 1 << 53;

/// How long receiving a payload of `bytes` may take.
pub fn payload_timeout(bytes: u64) -> Duration {
    PAYLOAD_GRACE + Duration::from_millis(bytes.saturating_mul(1000) / PAYLOAD_BYTES_PER_SECOND_MIN)
}
