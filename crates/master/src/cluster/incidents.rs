//! Incidents: what went wrong, and how it was mended.
//!
//! An incident is recorded in the catalog when it happens, stays *open* here until every segment has all its copies
//! again, and is then recorded once more with what it cost.

use super::Cluster;
use super::Then;
use super::catalog::incident;
use super::command::Command;
use protocol::WorkerId;
use protocol::message::client::{Incident, IncidentKind};
use std::time::Duration;

/// Incidents that may be open at once; while copies can't be mended, the oldest is closed as it is.
const OPEN_MAX: usize = 100;

/// An incident whose end is not known yet.
#[derive(Debug)]
pub(super) struct OpenIncident {
    since: Duration,
    /// Operations were running when it happened.
    operations_running: bool,
    pub incident: Incident,
}

impl Cluster {
    /// Begins to follow an incident that was just recorded.
    pub(super) fn open_incident(
        &mut self,
        id: Option<u64>,
        detected: Duration,
        operations_running: bool,
        redispatched: u64,
    ) {
        let Some(incident) = id.and_then(|id| self.catalog.incidents().find(|incident| incident.id == id)) else {
            return;
        };
        let mut incident = incident.clone();
        incident.promoted_ms = Some(self.since_ms(detected));
        incident.redispatched = redispatched;
        // While it was being recorded, work may have been flowing already.
        let resumed = self.last_progress.checked_sub(detected).filter(|_| operations_running);
        incident.resumed_ms = resumed.map(|resumed| resumed.as_millis() as u64);
        self.incidents.push(OpenIncident { since: detected, operations_running, incident });
        self.changed = true;
        if self.incidents.len() > OPEN_MAX {
            let oldest = self.incidents.remove(0);
            self.close(oldest.incident);
        }
    }

    fn since_ms(&self, since: Duration) -> u64 {
        self.now.elapsed.saturating_sub(since).as_millis() as u64
    }

    /// A segment of a running operation was completed: work flows again.
    pub(super) fn note_progress(&mut self) {
        let now = self.now.elapsed;
        self.last_progress = now;
        for open in self.incidents.iter_mut().filter(|open| open.operations_running) {
            let since = now.saturating_sub(open.since).as_millis() as u64;
            open.incident.resumed_ms.get_or_insert(since);
        }
    }

    /// Bytes went from worker to worker; they are put down to the oldest open incident.
    pub(super) fn count_moved(&mut self, bytes: u64) {
        if let Some(open) = self.incidents.first_mut() {
            open.incident.bytes_moved = open.incident.bytes_moved.saturating_add(bytes);
        }
    }

    /// Segments of running operations were given to another worker, other than by a death.
    pub(super) fn count_redispatched(&mut self, segments: u64) {
        if let Some(open) = self.incidents.last_mut() {
            open.incident.redispatched += segments;
        }
    }

    /// Closes open incidents when every segment that can be mended has its copies again, and work flows. Those that cost
    /// the last copy of something stay open as long as that is not back.
    pub(super) fn close_incidents(&mut self) {
        if self.incidents.is_empty() || !self.settled() || !self.proposed.is_empty() {
            return;
        }
        let (thin, lost) = match self.catalog.under_replicated().first() {
            None => (false, false),
            Some((first, _)) => {
                (self.catalog.under_replicated().last().is_some_and(|(last, _)| *last > 0), *first == 0)
            }
        };
        let still_open = |open: &OpenIncident| {
            let stuck = open.operations_running && open.incident.resumed_ms.is_none() && !self.operations.is_empty();
            thin || stuck || (lost && open.incident.segments_lost > 0)
        };
        let (waiting, done): (Vec<_>, Vec<_>) = std::mem::take(&mut self.incidents).into_iter().partition(still_open);
        self.incidents = waiting;
        for mut open in done {
            open.incident.redundancy_restored_ms = Some(self.since_ms(open.since));
            self.close(open.incident);
        }
    }

    fn close(&mut self, incident: Incident) {
        log::info!("incident {} ({:?}): {}", incident.id, incident.kind, incident.cause);
        self.propose(Command::IncidentChanged { incident }, false, Then::Nothing);
    }

    /// Records something that is over as soon as it is known.
    pub(super) fn record_incident(&mut self, kind: IncidentKind, worker: &WorkerId, cause: String) {
        log::warn!("worker {worker}: {cause}");
        let incident = incident(kind, Some(worker.clone()), self.now.unix_ms, cause, 0);
        let then = Then::IncidentRecorded { detected: self.now.elapsed, operations_running: false, redispatched: 0 };
        self.propose(Command::Incident { incident }, false, then);
    }
}
