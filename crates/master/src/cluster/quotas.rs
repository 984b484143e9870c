//! What clients may have going at once, so that a flood of requests is refused before it costs memory, and nobody takes it all.
//!
//! Every table that grows with what clients ask for has its bound here or beside it. Above it the answer is `Busy`, with a time
//! after which it is worth trying again, and nothing has happened; our client does that by itself.

use super::Cluster;
use super::requests::Key;
use protocol::{ErrorCode, SessionId, WireError, limits};
use std::net::IpAddr;

/// What clients may have in flight at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Requests in flight, of all sessions of one address together.
    pub requests_per_address: usize,
    /// Bytes of all requests in flight, as text. One longer one is taken while there is no other.
    pub bytes_pending: usize,
}

impl Default for Quotas {
    fn default() -> Quotas {
        Quotas { requests_per_address: limits::REQUESTS_PER_ADDRESS_MAX, bytes_pending: BYTES_PENDING_MAX }
    }
}

/// Bytes of all requests pending, if nothing else is said: four of the longest.
const BYTES_PENDING_MAX: usize = 4 * limits::JSON_PAYLOAD_BYTES_MAX as usize;

/// Requests pending in all.
pub const PENDING_MAX: usize = 10_000;

/// Operations running in all, some 30 KB each: those of requests, and those that nobody waits for.
pub const OPERATIONS_MAX: usize = 4096;

/// Operations of one session: those of its requests, and as many again that it does not wait for. All clients of level 1 together
/// are one session.
pub const OPERATIONS_PER_SESSION_MAX: usize = 4 * limits::IN_FLIGHT_MAX;

/// Uploads in all, some 30 KB each beside the room that workers keep.
pub const UPLOADS_MAX: usize = 4096;

/// Uploads of one session. One is forgotten when nothing happens for a minute.
pub const UPLOADS_PER_SESSION_MAX: usize = 4 * limits::IN_FLIGHT_MAX;

/// Reads under way in all: versions that are kept for readers.
pub const PINS_MAX: usize = 10_000;

/// Reads of one session. One ends after a minute without renewal.
pub const PINS_PER_SESSION_MAX: usize = 4 * limits::IN_FLIGHT_MAX;

/// Arrays there may be: the list of them fits into one message.
pub const ARRAYS_MAX: usize = 100_000;

/// Workers the catalog remembers, alive or not.
pub const WORKERS_MAX: usize = 10_000;

/// When it is worth trying again if requests must be answered first, in milliseconds: most are within some.
const REQUEST_RETRY_MS: u64 = 100;

/// The same if something longer must end.
const WORK_RETRY_MS: u64 = 500;

impl Cluster {
    /// With other quotas than usual.
    pub fn with_quotas(self, quotas: Quotas) -> Cluster {
        Cluster { quotas, ..self }
    }

    /// Refuses a request of so many bytes if too much is pending.
    pub(super) fn check_pending(
        &self,
        session: SessionId,
        address: Option<IpAddr>,
        bytes: usize,
    ) -> Result<(), WireError> {
        let of_session = self.requests.range((session, 0)..=(session, u64::MAX)).count();
        let of_address = address.and_then(|address| self.requests_by_address.get(&address)).copied().unwrap_or(0);
        let quota = self.quotas.requests_per_address;
        let refused = |text: String| Err(busy(text, REQUEST_RETRY_MS));
        if of_session >= limits::IN_FLIGHT_MAX {
            return refused(format!("{of_session} requests of this session are pending, the most it may have"));
        }
        if let Some(address) = address.filter(|_| of_address >= quota) {
            return refused(format!(
                "{of_address} requests of clients at {address} are pending; the limit is {quota} (--requests-per-address)"
            ));
        }
        if self.requests.len() >= PENDING_MAX {
            return refused(format!("{} requests are pending, the most there may be", self.requests.len()));
        }
        let (pending, most) = (self.requests_bytes, self.quotas.bytes_pending);
        if pending + bytes > most && pending > 0 {
            return refused(format!(
                "{pending} bytes of requests are pending; {bytes} more are above the limit, {most}"
            ));
        }
        Ok(())
    }

    /// Refuses one more operation of a session if too many are running.
    pub(super) fn check_operations(&self, key: Key) -> Result<(), WireError> {
        let of_session = self.operations.values().filter(|running| running.session() == key.0).count();
        check("operations", self.operations.len(), OPERATIONS_MAX, of_session, OPERATIONS_PER_SESSION_MAX)
    }

    /// Refuses one more upload of a session if too many are under way.
    pub(super) fn check_uploads(&self, key: Key) -> Result<(), WireError> {
        let of_session = self.uploads.values().filter(|upload| upload.session() == key.0).count();
        check("uploads", self.uploads.len(), UPLOADS_MAX, of_session, UPLOADS_PER_SESSION_MAX)
    }

    /// Refuses one more read of a session if too many are under way.
    pub(super) fn check_pins(&self, key: Key) -> Result<(), WireError> {
        let of_session = self.pins.values().filter(|pin| pin.session == key.0).count();
        check("reads", self.pins.len(), PINS_MAX, of_session, PINS_PER_SESSION_MAX)
    }

    /// Refuses one more array if there are too many.
    pub(super) fn check_arrays(&self) -> Result<(), WireError> {
        if self.catalog.array_count() < ARRAYS_MAX {
            return Ok(());
        }
        let text = format!("there are {ARRAYS_MAX} arrays, the most a cluster keeps; delete some");
        Err(WireError::new(ErrorCode::TooLarge, text))
    }

    /// Panics if a table is longer than it may be.
    pub fn check_bounds(&self) {
        assert!(self.requests.len() <= PENDING_MAX);
        assert_eq!(self.requests_bytes, self.requests.values().map(|request| request.bytes).sum::<usize>());
        let by_address = self.requests_by_address.values().sum::<usize>();
        assert_eq!(by_address, self.requests.values().filter(|request| request.address.is_some()).count());
        assert!(self.requests_by_address.values().all(|n| *n > 0 && *n <= self.quotas.requests_per_address));
        assert!(self.operations.len() <= OPERATIONS_MAX);
        assert!(self.uploads.len() <= UPLOADS_MAX);
        assert!(self.pins.len() <= PINS_MAX);
        // Those that were begun when there was one array less may all come true.
        assert!(self.catalog.array_count() <= ARRAYS_MAX + OPERATIONS_MAX + UPLOADS_MAX);
        assert!(self.ended.len() <= super::operations::ENDED_MAX);
        assert!(self.parked.iter().all(|key| self.requests.contains_key(key)), "a parked request that is not pending");
        assert!(self.for_room.iter().all(|(_, key)| self.parked.contains(key)), "one that waits for room is parked");
        for running in self.operations.values() {
            assert!(running.waiters.iter().all(|key| self.requests.contains_key(key)), "somebody answered waits");
        }
    }
}

fn check(what: &str, all: usize, most: usize, of_session: usize, of_session_most: usize) -> Result<(), WireError> {
    if of_session >= of_session_most {
        let text =
            format!("{of_session} {what} of this session are under way, the most it may have; finish some first");
        return Err(busy(text, WORK_RETRY_MS));
    }
    if all >= most {
        return Err(busy(format!("{all} {what} are under way, the most there may be"), WORK_RETRY_MS));
    }
    Ok(())
}

fn busy(text: String, retry_after_ms: u64) -> WireError {
    WireError::new(ErrorCode::Busy, text).retry_after_ms(retry_after_ms)
}
