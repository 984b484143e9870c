//! Fetches copies from other workers, for repairs.

use crate::Serving;
use crate::agent::{Event, FetchJob, Fetched};
use crate::driver::Events;
use crate::peer::{Peer, PeerError, Peers, REPLY_TIMEOUT};
use array::{Buffer, BufferPool};
use crossbeam_channel::Receiver;
use log::debug;
use protocol::limits::CONNECT_TIMEOUT;
use protocol::message::client::Endpoint;
use protocol::message::data::{GetSegment, Segment};
use protocol::{Body, ErrorCode, Message, WireError};
use std::thread;
use std::time::{Duration, Instant};

/// Threads that fetch. With one, a slow source would hold up every repair; more share the same network, and
/// repairs are spread over all workers anyway.
pub(crate) const FETCHERS: usize = 2;

/// Fetches the agent hands out at once: one for each thread, and one more each, so that no thread waits for
/// the driver.
pub(crate) const FETCH_SLOTS: usize = 2 * FETCHERS;

/// How many times as long as it has fetched a copy for which nobody waits a thread rests. Two threads on each side that go on and on
/// take all that a small machine has: small operations then take ten times as long. With rests, 1 GiB takes some
/// four seconds, not half of one.
const RESTS: u32 = 16;

/// The longest rest: where the network is what fetching waits for, the processors are free anyway.
const REST_MAX: Duration = Duration::from_millis(500);

/// Does fetches until there are no more.
pub(crate) fn run(jobs: Receiver<FetchJob>, mut peers: Peers, buffers: &BufferPool, events: Events) {
    for job in jobs {
        let begun = Instant::now();
        protocol::fault_point!(FetchNotBegun);
        let outcome = fetch(&mut peers, buffers, &job);
        let busy = begun.elapsed();
        let rest = (busy * RESTS).min(REST_MAX);
        let rests = job.background && outcome.is_ok();
        let is_needed = events.tell(Event::Fetched(Fetched { job: job.job, outcome, busy }));
        if rests && is_needed {
            thread::sleep(rest);
        }
    }
}

/// Tries each source in turn.
fn fetch(peers: &mut Peers, buffers: &BufferPool, job: &FetchJob) -> Result<Buffer, WireError> {
    let mut refusals: Vec<WireError> = Vec::new();
    for source in &job.sources {
        match fetch_from(peers, buffers, source, job) {
            Ok(buffer) => {
                debug!("{}fetched {} from {}", Serving(&job.request), job.copy.id(), source.worker);
                return Ok(buffer);
            }
            Err(error) => refusals.push(error),
        }
    }
    let code = refusals.last().map_or(ErrorCode::NotHeld, |last| last.code);
    let why = refusals.iter().map(|error| error.message.as_str()).collect::<Vec<_>>().join("; ");
    let workers = job.sources.iter().map(|source| source.worker.clone());
    let mut error =
        WireError::new(code, format!("nobody gave the copy: {}", if why.is_empty() { "no sources" } else { &why }));
    error.retryable = true; // with other sources
    Err(error.segments([job.copy.id().segment()]).workers(workers))
}

fn fetch_from(peers: &mut Peers, buffers: &BufferPool, source: &Endpoint, job: &FetchJob) -> Result<Buffer, WireError> {
    let take = |peers: &mut Peers| peers.take(source, CONNECT_TIMEOUT).map_err(PeerError::into_error);
    let (mut peer, reused) = take(peers)?;
    let mut outcome = ask(&mut peer, buffers, source, job);
    if reused && outcome.as_ref().is_err_and(PeerError::is_end) {
        // The other side closes what is idle for long; that says nothing about it.
        (peer, _) = take(peers)?;
        outcome = ask(&mut peer, buffers, source, job);
    }
    if !outcome.as_ref().is_err_and(PeerError::is_end) {
        peers.put(peer);
    }
    outcome.map_err(PeerError::into_error)
}

/// One request and its reply.
fn ask(peer: &mut Peer, buffers: &BufferPool, source: &Endpoint, job: &FetchJob) -> Result<Buffer, PeerError> {
    let copy = job.copy;
    let get = GetSegment { version: copy.id().version(), segment: copy.id().segment(), range: None };
    let id = peer.send(Message::new(get).serving(job.request.clone()))?;
    let reply = peer.answers().receive(id, Instant::now() + REPLY_TIMEOUT)?;
    let payload = match (&reply.body, reply.head.payload) {
        (Body::Segment(Segment { copy: given }), Some(payload)) if *given == copy => payload,
        (Body::Segment(Segment { copy: given }), _) => return Err(other_copy(source, given.crc32c(), job)),
        (other, _) => {
            let why = format!("worker {} answered GET_SEGMENT with {}", source.worker, other.kind());
            return Err(PeerError::Lost(WireError::new(ErrorCode::Malformed, why)));
        }
    };
    if (payload.bytes, payload.crc32c) != (copy.bytes(), copy.crc32c()) {
        return Err(other_copy(source, payload.crc32c, job));
    }
    // The agent has reserved this memory. What arrives is checked against the checksum that has just been
    // compared.
    let mut buffer = buffers.take(payload.bytes as usize);
    protocol::fault_point!(FetchHalfReceived);
    peer.answers().read_payload(&payload, buffer.as_bytes_mut())?;
    Ok(buffer)
}

/// The connection counts as lost, as bytes follow that nobody wants.
fn other_copy(source: &Endpoint, crc32c: u32, job: &FetchJob) -> PeerError {
    let wanted = job.copy;
    let why = format!(
        "worker {} has {} with crc32c {crc32c}, not the one with {} and {} bytes",
        source.worker,
        wanted.id(),
        wanted.crc32c(),
        wanted.bytes()
    );
    PeerError::Lost(WireError::new(ErrorCode::ChecksumMismatch, why))
}
