//! Reads: which version is meant, where it is, and keeping it while it is read.

use super::Cluster;
use super::catalog::{Version, handle_of, unknown_array};
use super::requests::{Answer, Key};
use protocol::message::Done;
use protocol::message::client::*;
use protocol::{CopyId, ErrorCode, Reference, SegmentIndex, SessionId, VersionId, WireError, WorkerId, limits, name};
use std::time::Duration;

/// Keeps a version while somebody reads it.
#[derive(Debug)]
pub(super) struct Pin {
    pub version: VersionId,
    /// Whose read it is.
    pub session: SessionId,
    expires: Duration,
}

impl Cluster {
    /// The error for an array that is not there.
    pub(super) fn unknown_array(&self, name: &str) -> WireError {
        let names: Vec<String> = self.catalog.arrays().map(|array| array.name.clone()).collect();
        unknown_array(name, names.iter())
    }

    /// What a reference means: a version, whose it is, and as what. A plain name means the array itself.
    pub(super) fn resolve(&self, text: &str) -> Result<(VersionId, Source, String), WireError> {
        if let Some((_, array)) = self.catalog.find(text) {
            return Ok((array.content, Source::Array, array.name.clone()));
        }
        let Reference { name, version: Some(version) } = Reference::parse(text) else {
            return Err(self.unknown_array(text));
        };
        let Some((_, array)) = self.catalog.find(&name) else {
            return Err(self.unknown_array(&name));
        };
        match (version == array.content, Some(version) == array.result) {
            (true, _) => Ok((version, Source::Array, name)),
            (_, true) => Ok((version, Source::Result, name)),
            _ => {
                let there: Vec<String> =
                    [Some(array.content), array.result].into_iter().flatten().map(|v| name::handle(&name, v)).collect();
                let text = format!("there is no {text} (any more); there is {}", there.join(" and "));
                Err(WireError::new(ErrorCode::UnknownVersion, text).array(name))
            }
        }
    }

    pub(super) fn on_get_result(&mut self, key: Key, get: GetResult) -> Result<Answer, WireError> {
        self.check_pins(key)?;
        let (mut id, mut source, name) = self.resolve(&get.array_id)?;
        if let Some((_, array)) = self.catalog.find(&get.array_id)
            && let Some(result) = array.result.filter(|_| !get.array)
        {
            (id, source) = (result, Source::Result);
        }
        let version = self.catalog.version(id).expect("names name versions");
        let wanted = wanted_segments(version, get.range, &name)?;
        let located: Vec<(SegmentIndex, Vec<WorkerId>)> =
            wanted.map(|segment| (segment, self.readers(CopyId(id, segment)))).collect();
        let missing: Vec<SegmentIndex> =
            located.iter().filter(|(_, readers)| readers.is_empty()).map(|(s, _)| *s).collect();
        if !missing.is_empty() {
            return self.wait_for_segments(&name, id, missing);
        }
        let plan = self.read_plan(key.0, name, id, source, located);
        Ok(Answer::Now(plan.into()))
    }

    /// Segments that nobody can give now: wait if they may come back, else tell.
    fn wait_for_segments(&self, name: &str, id: VersionId, missing: Vec<SegmentIndex>) -> Result<Answer, WireError> {
        if self.hopes() {
            return Ok(Answer::Park(format!("copy of {} segments of '{name}'", missing.len())));
        }
        Err(self.segments_lost(name, id, missing))
    }

    /// The error for segments that are gone for good, unless a worker brings them back.
    pub(super) fn segments_lost(&self, name: &str, id: VersionId, missing: Vec<SegmentIndex>) -> WireError {
        let gone: Vec<String> =
            self.catalog.workers().filter(|(_, record)| !record.up).map(|(worker, _)| worker.to_string()).collect();
        let segments = self.catalog.version(id).map_or(0, |version| version.segments.len());
        let text = format!(
            "every copy of {} of {segments} segments of '{name}' ({}) is gone; workers that are down: {}; the array is whole again if one that holds them comes back",
            missing.len(),
            handle_of(&self.catalog, id),
            if gone.is_empty() { "none".to_string() } else { gone.join(", ") },
        );
        WireError::new(ErrorCode::SegmentsLost, text).array(name).segments(missing)
    }

    fn read_plan(
        &mut self,
        session: SessionId,
        array_id: String,
        id: VersionId,
        source: Source,
        located: Vec<(SegmentIndex, Vec<WorkerId>)>,
    ) -> ReadPlan {
        let mut workers: Vec<WorkerId> = located.iter().flat_map(|(_, readers)| readers.clone()).collect();
        workers.sort();
        workers.dedup();
        let number = |worker: &WorkerId| workers.binary_search(worker).expect("it was put there") as u32;
        let version = self.catalog.version(id).expect("it was just resolved");
        let planned = |(segment, readers): &(SegmentIndex, Vec<WorkerId>)| {
            PlannedRead(*segment, version.segments[*segment as usize].crc32c, readers.iter().map(number).collect())
        };
        let plan = ReadPlan {
            array_id,
            version: id,
            handle: handle_of(&self.catalog, id),
            source,
            dtype: version.dtype,
            shape: version.shape.clone(),
            segment_length: version.grid().segment_len(),
            pin: 0,
            lease_ms: limits::PIN_LEASE.as_millis() as u64,
            workers: self.endpoints(&workers),
            segments: located.iter().map(planned).collect(),
        };
        let pin = self.pin(session, id);
        protocol::fault_point!(PinNotTold);
        ReadPlan { pin, ..plan }
    }

    fn pin(&mut self, session: SessionId, version: VersionId) -> u64 {
        let pin = self.next_pin;
        self.next_pin += 1;
        self.pins.insert(pin, Pin { version, session, expires: self.now.elapsed + limits::PIN_LEASE });
        pin
    }

    pub(super) fn on_renew_pin(&mut self, pin: u64) -> Result<Answer, WireError> {
        let expires = self.now.elapsed + limits::PIN_LEASE;
        match self.pins.get_mut(&pin) {
            Some(pin) => {
                pin.expires = expires;
                Ok(Answer::Now(Done {}.into()))
            }
            None => {
                Err(WireError::new(ErrorCode::UnknownVersion, format!("pin {pin} has expired; plan the read again")))
            }
        }
    }

    pub(super) fn unpin(&mut self, pin: u64) {
        if let Some(pin) = self.pins.remove(&pin) {
            self.collect(pin.version);
        }
    }

    pub(super) fn watch_pins(&mut self) {
        let now = self.now.elapsed;
        let expired: Vec<u64> = self.pins.iter().filter(|(_, pin)| now >= pin.expires).map(|(id, _)| *id).collect();
        expired.into_iter().for_each(|pin| self.unpin(pin));
    }
}

/// The segments that a range of elements touches.
fn wanted_segments(
    version: &Version,
    range: Option<(u64, u64)>,
    name: &str,
) -> Result<std::ops::Range<SegmentIndex>, WireError> {
    let (from, to) = range.unwrap_or((0, version.elements()));
    if from > to || to > version.elements() {
        let text = format!("elements {from}:{to} of '{name}', which has {}", version.elements());
        return Err(WireError::new(ErrorCode::OutOfRange, text).array(name));
    }
    Ok(version.grid().segments_in(from..to))
}
