//! What must survive: arrays, versions, segments, holders, epochs, workers, incidents, outcomes of requests.
//!
//! A deterministic state machine. It changes by [`Command`]s only, in the order of the log, and equal commands give equal
//! states ([`Catalog::hash`]). A command carries the time and every random value it needs.
//!
//! Who holds what is kept per segment, the primary first. A worker's death is one command, `WorkerDown`; who is promoted
//! follows from the order of the holders. A returning worker's copies come back with `WorkerUp`, which states all of them.

use super::command::{Command, NewArray, NewSegment, Request};
use array::{DType, Grid};
use protocol::message::client::{Incident, IncidentKind};
use protocol::{
    ArrayId, CopyId, Epoch, ErrorCode, SegmentIndex, SessionId, VersionId, WireError, WorkerId, limits, name,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Incidents remembered; older ones go when a new one comes.
const INCIDENTS_MAX: usize = 1000;

/// Longest error that is remembered as the outcome of a request, in bytes of JSON: a longer one is cut. Errors list names, and one
/// of 255 bytes may take 1,020 in the text of a JSON string. Replies to changes are shorter.
const OUTCOME_BYTES_MAX: usize = 4096;

/// The catalog.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Catalog {
    /// The last command applied.
    index: u64,
    /// Term of the leader; 1 while there is one master.
    term: u64,
    cluster: uuid::Uuid,
    /// Ids and versions below are taken, or will never be.
    ids_below: u64,
    arrays: BTreeMap<ArrayId, Array>,
    versions: BTreeMap<VersionId, Version>,
    workers: BTreeMap<WorkerId, WorkerRecord>,
    sessions: BTreeMap<SessionId, Session>,
    incidents: BTreeMap<u64, Incident>,
    /// Derived from `arrays`.
    #[serde(skip)]
    names: BTreeMap<String, ArrayId>,
    /// Derived from `versions`: what each worker holds.
    #[serde(skip)]
    holdings: BTreeMap<WorkerId, BTreeSet<CopyId>>,
    /// Derived from `versions`: segments with fewer holders than they should have, those with the fewest first.
    #[serde(skip)]
    under_replicated: BTreeSet<(u32, CopyId)>,
}

/// A user's array.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Array {
    /// Its name.
    pub name: String,
    /// The version that is its content.
    pub content: VersionId,
    /// The newest unnamed result of an operation on it.
    pub result: Option<VersionId>,
}

/// One immutable content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// Whose content or result it is.
    pub array: ArrayId,
    /// The dtype of its elements.
    #[serde(with = "protocol::dtype")]
    pub dtype: DType,
    /// Lengths of its sides.
    pub shape: Vec<u64>,
    /// Copies every segment is meant to have.
    pub replication: u32,
    /// The operation that made it.
    pub operation: Option<String>,
    /// Its segments.
    pub segments: Vec<Segment>,
}

/// One segment of a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// CRC-32C of its bytes.
    pub crc32c: u32,
    /// Version of its assignment.
    pub epoch: Epoch,
    /// Who has a copy, the primary first.
    pub holders: Vec<WorkerId>,
}

impl Version {
    /// Elements in it.
    pub fn elements(&self) -> u64 {
        element_count(&self.shape)
    }

    /// The grid it is cut by.
    pub fn grid(&self) -> Grid {
        Grid::new(self.elements())
    }

    /// Bytes of one copy of a segment.
    pub fn segment_bytes(&self, segment: SegmentIndex) -> u64 {
        let range = self.grid().range(segment);
        (range.end - range.start) * self.dtype.size() as u64
    }

    /// Bytes of one copy of all of it.
    pub fn bytes(&self) -> u64 {
        self.elements() * self.dtype.size() as u64
    }
}

/// Product of the sides. The caller has checked that it fits.
pub fn element_count(shape: &[u64]) -> u64 {
    shape.iter().product()
}

/// A worker that has ever registered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerRecord {
    /// Its latest life.
    pub incarnation: u64,
    /// Whether it is taken to be there.
    pub up: bool,
}

/// A client's requests that changed something.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Session {
    outcomes: BTreeMap<u64, Outcome>,
    /// Outcomes of requests below are forgotten.
    forgotten_below: u64,
    /// When the last of them came, in milliseconds since 1970.
    last_used_ms: u64,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Fingerprint of the request's content.
    pub fingerprint: u32,
    /// Type of the reply.
    pub kind: String,
    /// Data of the reply.
    pub data: String,
}

/// What the catalog remembers about a request.
#[derive(Debug, PartialEq)]
pub enum Memory<'a> {
    /// Nothing: it has not changed anything.
    None,
    /// How it ended.
    Outcome(&'a Outcome),
    /// It is too old to know.
    Forgotten,
}

/// What applying a command did, for the coordinator to go on from.
#[derive(Debug, Default)]
pub struct Applied {
    /// Why the command was refused; it then changed nothing but the outcome of its request.
    pub refused: Option<WireError>,
    /// Versions that nothing names any more.
    pub removed: Vec<VersionId>,
    /// Segments that lost their last holder.
    pub orphaned: Vec<CopyId>,
    /// The incident that was recorded.
    pub incident: Option<u64>,
}

impl Catalog {
    /// The last command applied.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The state of knowledge now.
    pub fn epoch(&self) -> Epoch {
        Epoch::new(self.term, self.index)
    }

    /// Term of the leader.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// The cluster's id; nil before the first command.
    pub fn cluster(&self) -> uuid::Uuid {
        self.cluster
    }

    /// Ids below are taken, or will never be.
    pub fn ids_below(&self) -> u64 {
        self.ids_below
    }

    /// The array of this name.
    pub fn find(&self, name: &str) -> Option<(ArrayId, &Array)> {
        let id = *self.names.get(name)?;
        Some((id, &self.arrays[&id]))
    }

    /// All arrays, by name.
    pub fn arrays(&self) -> impl Iterator<Item = &Array> {
        self.names.values().map(|id| &self.arrays[id])
    }

    /// How many arrays there are.
    pub fn array_count(&self) -> usize {
        self.arrays.len()
    }

    /// The array with this id.
    pub fn array(&self, id: ArrayId) -> Option<&Array> {
        self.arrays.get(&id)
    }

    /// The version with this id.
    pub fn version(&self, id: VersionId) -> Option<&Version> {
        self.versions.get(&id)
    }

    /// All versions.
    pub fn versions(&self) -> impl Iterator<Item = (VersionId, &Version)> {
        self.versions.iter().map(|(id, version)| (*id, version))
    }

    /// One segment of one version.
    pub fn segment(&self, copy: CopyId) -> Option<&Segment> {
        self.versions.get(&copy.version())?.segments.get(copy.segment() as usize)
    }

    /// The worker with this id.
    pub fn worker(&self, id: &WorkerId) -> Option<&WorkerRecord> {
        self.workers.get(id)
    }

    /// All workers that ever registered.
    pub fn workers(&self) -> impl Iterator<Item = (&WorkerId, &WorkerRecord)> {
        self.workers.iter()
    }

    /// Every copy that a worker holds.
    pub fn holdings(&self, worker: &WorkerId) -> impl Iterator<Item = CopyId> {
        self.holdings.get(worker).into_iter().flatten().copied()
    }

    /// Copies of one version that are listed for a worker.
    pub fn holdings_of(&self, worker: &WorkerId, version: VersionId) -> impl Iterator<Item = CopyId> {
        let all = CopyId(version, 0)..=CopyId(version, SegmentIndex::MAX);
        self.holdings.get(worker).into_iter().flat_map(move |copies| copies.range(all.clone())).copied()
    }

    /// Segments with fewer holders than they should have, with how many they have; those with the fewest first.
    pub fn under_replicated(&self) -> &BTreeSet<(u32, CopyId)> {
        &self.under_replicated
    }

    /// All incidents, oldest first.
    pub fn incidents(&self) -> impl Iterator<Item = &Incident> {
        self.incidents.values()
    }

    /// What is remembered about a request.
    pub fn memory(&self, session: SessionId, id: u64) -> Memory<'_> {
        match self.sessions.get(&session) {
            None => Memory::None,
            Some(session) => match session.outcomes.get(&id) {
                Some(outcome) => Memory::Outcome(outcome),
                None if id < session.forgotten_below => Memory::Forgotten,
                None => Memory::None,
            },
        }
    }

    /// Whether any session has been unused since before `idle_before_ms`.
    pub fn has_idle_sessions(&self, idle_before_ms: u64) -> bool {
        self.sessions.values().any(|session| session.last_used_ms < idle_before_ms)
    }

    /// Whether requests of a session may have been remembered once and are not any more.
    pub fn remembers(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    /// Fingerprint of the state: equal commands give equal fingerprints.
    pub fn hash(&self) -> u32 {
        array::checksum::crc32c(&self.to_snapshot())
    }

    /// The whole state, to begin a log with.
    pub fn to_snapshot(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("the catalog has string keys only")
    }

    /// Takes up a state that [`Catalog::to_snapshot`] gave.
    pub fn from_snapshot(bytes: &[u8]) -> serde_json::Result<Catalog> {
        let mut catalog: Catalog = serde_json::from_slice(bytes)?;
        catalog.names = catalog.arrays.iter().map(|(id, array)| (array.name.clone(), *id)).collect();
        for (id, version) in std::mem::take(&mut catalog.versions) {
            catalog.insert_version(id, version);
        }
        Ok(catalog)
    }

    /// Applies the next command of the log.
    pub fn apply(&mut self, index: u64, command: &Command) -> Applied {
        assert_eq!(index, self.index + 1, "commands are applied in the order of the log");
        self.index = index;
        match command {
            Command::Founded { cluster } => {
                self.cluster = *cluster;
                self.term = 1;
                self.ids_below = 1;
                Applied::default()
            }
            Command::MasterStarted { at } => self.master_started(*at),
            Command::ReserveIds { below } => {
                self.ids_below = self.ids_below.max(*below);
                Applied::default()
            }
            Command::WorkerUp { worker, incarnation, copies, at } => self.worker_up(worker, *incarnation, copies, *at),
            Command::WorkerDown { worker, incident } => self.worker_down(worker, incident),
            Command::CopiesChanged { added, removed } => self.copies_changed(added, removed),
            Command::CreateArray { request, array, version, name, dtype, shape, replication, replace, segments } => {
                let into = NewArray { array: *array, name: name.clone(), replace: *replace };
                let content = Version {
                    array: *array,
                    dtype: *dtype,
                    shape: shape.clone(),
                    replication: *replication,
                    operation: None,
                    segments: self.assigned(segments),
                };
                let applied = self.name_version(*version, content, &into);
                self.finish(request, applied)
            }
            Command::AddResult { request, version, source, into, operation, dtype, segments } => {
                let applied = self.add_result(*version, *source, into.as_ref(), operation, *dtype, segments);
                self.finish(request, applied)
            }
            Command::DeleteArray { request, name } => {
                let applied = self.delete_array(name);
                self.finish(request, applied)
            }
            Command::IncidentChanged { incident } => {
                self.incidents.insert(incident.id, incident.clone());
                Applied::default()
            }
            Command::Incident { incident } => self.record(incident.clone()),
            Command::ForgetSessions { idle_before_ms } => {
                self.sessions.retain(|_, session| session.last_used_ms >= *idle_before_ms);
                Applied::default()
            }
        }
    }

    fn master_started(&mut self, at: u64) -> Applied {
        if planted::bug!(ReplyTableForgotten) {
            self.sessions.clear();
        }
        if self.index <= 2 {
            return Applied::default(); // the first start of a new cluster
        }
        // What was not synced before a power loss is gone, and its places in the log are given again: epochs grow all the same.
        self.term += 1;
        let cause = "the master started on an existing log".to_string();
        self.record(incident(IncidentKind::MasterRestarted, None, at, cause, 0))
    }

    fn worker_up(&mut self, worker: &WorkerId, incarnation: u64, copies: &[CopyId], at: u64) -> Applied {
        let held: BTreeSet<CopyId> = copies.iter().copied().collect();
        let gone: Vec<CopyId> = self.holdings(worker).filter(|copy| !held.contains(copy)).collect();
        let was_up = self.workers.get(worker).is_some_and(|record| record.up);
        self.workers.insert(worker.clone(), WorkerRecord { incarnation, up: true });
        let mut applied = Applied::default();
        let promoted = gone.iter().filter(|copy| self.remove_holder(**copy, worker, &mut applied)).count();
        for copy in held {
            self.add_holder(copy, worker);
        }
        if was_up && !gone.is_empty() {
            let cause = "it came back without copies it had".to_string();
            let mut incident = incident(IncidentKind::WorkerDown, Some(worker.clone()), at, cause, 0);
            incident.promoted = promoted as u64;
            incident.copies_lost = gone.len() as u64;
            incident.segments_lost = applied.orphaned.len() as u64;
            applied.incident = self.record(incident).incident;
        }
        applied
    }

    fn worker_down(&mut self, worker: &WorkerId, incident: &Incident) -> Applied {
        let Some(record) = self.workers.get_mut(worker) else {
            return Applied::default();
        };
        record.up = false;
        let held: Vec<CopyId> = self.holdings(worker).collect();
        let mut applied = Applied::default();
        let promoted = held.iter().filter(|copy| self.remove_holder(**copy, worker, &mut applied)).count();
        let incident = Incident {
            promoted: promoted as u64,
            copies_lost: held.len() as u64,
            segments_lost: applied.orphaned.len() as u64,
            ..incident.clone()
        };
        applied.incident = self.record(incident).incident;
        applied
    }

    fn copies_changed(&mut self, added: &[(CopyId, WorkerId)], removed: &[(CopyId, WorkerId)]) -> Applied {
        let mut applied = Applied::default();
        for (copy, worker) in removed {
            self.remove_holder(*copy, worker, &mut applied);
        }
        for (copy, worker) in added {
            if self.workers.get(worker).is_some_and(|record| record.up) {
                self.add_holder(*copy, worker);
            }
        }
        applied
    }

    /// Takes a worker out of a segment's holders; true if another one became its primary by that.
    fn remove_holder(&mut self, copy: CopyId, worker: &WorkerId, applied: &mut Applied) -> bool {
        let epoch = self.epoch();
        let Some(version) = self.versions.get_mut(&copy.version()) else {
            return false;
        };
        let Some(segment) = version.segments.get_mut(copy.segment() as usize) else {
            return false;
        };
        let Some(position) = segment.holders.iter().position(|holder| holder == worker) else {
            return false;
        };
        self.under_replicated.remove(&(segment.holders.len() as u32, copy));
        segment.holders.remove(position);
        segment.epoch = epoch;
        if segment.holders.is_empty() {
            applied.orphaned.push(copy);
        }
        let promoted = position == 0 && !segment.holders.is_empty();
        if segment.holders.len() < version.replication as usize {
            self.under_replicated.insert((segment.holders.len() as u32, copy));
        }
        if let Some(holdings) = self.holdings.get_mut(worker) {
            holdings.remove(&copy);
        }
        promoted
    }

    /// Puts a worker behind the other holders of a segment, unless it is one.
    fn add_holder(&mut self, copy: CopyId, worker: &WorkerId) {
        let epoch = self.epoch();
        let Some(version) = self.versions.get_mut(&copy.version()) else {
            return;
        };
        let Some(segment) = version.segments.get_mut(copy.segment() as usize) else {
            return;
        };
        if segment.holders.contains(worker) {
            return;
        }
        self.under_replicated.remove(&(segment.holders.len() as u32, copy));
        segment.holders.push(worker.clone());
        segment.epoch = epoch;
        self.holdings.entry(worker.clone()).or_default().insert(copy);
        if segment.holders.len() < version.replication as usize {
            self.under_replicated.insert((segment.holders.len() as u32, copy));
        }
    }

    /// New segments with the epoch of now; holders that went down meanwhile are left out.
    fn assigned(&self, segments: &[NewSegment]) -> Vec<Segment> {
        let up = |worker: &WorkerId| self.workers.get(worker).is_some_and(|record| record.up);
        let assign = |NewSegment(crc32c, holders): &NewSegment| Segment {
            crc32c: *crc32c,
            epoch: self.epoch(),
            holders: holders.iter().filter(|worker| up(worker)).cloned().collect(),
        };
        segments.iter().map(assign).collect()
    }

    fn insert_version(&mut self, id: VersionId, version: Version) {
        for (segment, record) in version.segments.iter().enumerate() {
            let copy = CopyId(id, segment as SegmentIndex);
            for holder in &record.holders {
                self.holdings.entry(holder.clone()).or_default().insert(copy);
            }
            if record.holders.len() < version.replication as usize {
                self.under_replicated.insert((record.holders.len() as u32, copy));
            }
        }
        self.versions.insert(id, version);
    }

    fn remove_version(&mut self, id: VersionId) {
        let Some(version) = self.versions.remove(&id) else {
            return;
        };
        for (segment, record) in version.segments.iter().enumerate() {
            let copy = CopyId(id, segment as SegmentIndex);
            for holder in &record.holders {
                if let Some(holdings) = self.holdings.get_mut(holder) {
                    holdings.remove(&copy);
                }
            }
            self.under_replicated.remove(&(record.holders.len() as u32, copy));
        }
    }

    /// Makes `version` the content of a new array.
    fn name_version(&mut self, id: VersionId, version: Version, into: &NewArray) -> Applied {
        if self.names.contains_key(&into.name) && !into.replace {
            return refused(already_exists(&into.name));
        }
        let removed = self.remove_array(&into.name);
        self.insert_version(id, version);
        self.arrays.insert(into.array, Array { name: into.name.clone(), content: id, result: None });
        self.names.insert(into.name.clone(), into.array);
        Applied { removed, ..Applied::default() }
    }

    fn add_result(
        &mut self,
        id: VersionId,
        source: VersionId,
        into: Option<&NewArray>,
        operation: &str,
        dtype: DType,
        segments: &[NewSegment],
    ) -> Applied {
        let Some(source) = self.versions.get(&source) else {
            return refused(WireError::new(
                ErrorCode::UnknownVersion,
                "the array was deleted or replaced while the operation was running",
            ));
        };
        let array = into.map_or(source.array, |into| into.array);
        let version = Version {
            array,
            dtype,
            shape: source.shape.clone(),
            replication: source.replication,
            operation: Some(operation.to_string()),
            segments: self.assigned(segments),
        };
        if let Some(into) = into {
            return self.name_version(id, version, into);
        }
        let Some(array) = self.arrays.get_mut(&array) else {
            return refused(WireError::new(
                ErrorCode::UnknownVersion,
                "the array was deleted or replaced while the operation was running",
            ));
        };
        let removed: Vec<VersionId> = array.result.replace(id).into_iter().collect();
        removed.iter().for_each(|old| self.remove_version(*old));
        self.insert_version(id, version);
        Applied { removed, ..Applied::default() }
    }

    fn delete_array(&mut self, name: &str) -> Applied {
        if !self.names.contains_key(name) {
            return refused(unknown_array(name, self.names.keys()));
        }
        Applied { removed: self.remove_array(name), ..Applied::default() }
    }

    /// Removes the array of this name, if there is one, with its versions, which it gives.
    fn remove_array(&mut self, name: &str) -> Vec<VersionId> {
        let Some(id) = self.names.remove(name) else { return Vec::new() };
        let array = self.arrays.remove(&id).expect("names are those of arrays");
        let removed: Vec<VersionId> = [Some(array.content), array.result].into_iter().flatten().collect();
        removed.iter().for_each(|version| self.remove_version(*version));
        removed
    }

    fn record(&mut self, incident: Incident) -> Applied {
        let id = self.index;
        self.incidents.insert(id, Incident { id, ..incident });
        while self.incidents.len() > INCIDENTS_MAX {
            self.incidents.pop_first();
        }
        Applied { incident: Some(id), ..Applied::default() }
    }

    /// Remembers how the request behind a command ended.
    fn finish(&mut self, request: &Option<Request>, applied: Applied) -> Applied {
        let Some(request) = request else { return applied };
        let (kind, data) = match &applied.refused {
            None => (request.reply_kind.clone(), request.reply_data.clone()),
            Some(error) => ("ERROR".to_string(), outcome_of(error)),
        };
        let session = self.sessions.entry(request.session).or_default();
        session.last_used_ms = session.last_used_ms.max(request.at);
        session.outcomes.insert(request.id, Outcome { fingerprint: request.fingerprint, kind, data });
        session.forget_below(request.acked_below);
        if self.sessions.len() > limits::SESSIONS_MAX {
            let oldest = self.sessions.iter().min_by_key(|(_, session)| session.last_used_ms);
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                self.sessions.remove(&oldest);
            }
        }
        applied
    }

    /// Panics if the derived tables do not follow from the others, or an invariant is broken. For tests and simulation.
    pub fn check(&self) {
        let rebuilt = Catalog::from_snapshot(&self.to_snapshot()).expect("a snapshot can be read");
        assert_eq!(rebuilt.names, self.names);
        assert_eq!(rebuilt.under_replicated, self.under_replicated);
        let nonempty = |holdings: &BTreeMap<WorkerId, BTreeSet<CopyId>>| {
            let held = holdings.iter().filter(|(_, copies)| !copies.is_empty());
            held.map(|(worker, copies)| (worker.clone(), copies.clone())).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(nonempty(&rebuilt.holdings), nonempty(&self.holdings));
        for (id, version) in &self.versions {
            assert_eq!(version.segments.len(), version.grid().segments() as usize, "{id}");
            for segment in &version.segments {
                let distinct: BTreeSet<_> = segment.holders.iter().collect();
                assert_eq!(distinct.len(), segment.holders.len(), "two copies of {id} on one worker");
                assert!(segment.epoch <= self.epoch(), "an epoch from the future");
                assert!(
                    segment.holders.iter().all(|holder| self.workers[holder].up),
                    "{id} is held by a worker that is down"
                );
            }
        }
        for array in self.arrays.values() {
            for version in [Some(array.content), array.result].into_iter().flatten() {
                assert!(self.versions.contains_key(&version), "{} names a version that is gone", array.name);
            }
        }
    }
}

impl Session {
    fn forget_below(&mut self, id: u64) {
        self.forgotten_below = self.forgotten_below.max(id);
        self.outcomes = self.outcomes.split_off(&self.forgotten_below);
        while self.outcomes.len() > limits::OUTCOMES_PER_SESSION_MAX {
            let (oldest, _) = self.outcomes.pop_first().expect("it is not empty");
            self.forgotten_below = self.forgotten_below.max(oldest + 1);
        }
    }
}

/// An error as it is remembered. This must not fail: the command that was refused is in the log.
fn outcome_of(error: &WireError) -> String {
    /// Its characters take at most so many bytes each, in JSON.
    const CHAR_BYTES_MAX: usize = 6;
    let json = |error: &WireError| serde_json::to_string(error).expect("errors are plain");
    let whole = json(error);
    if whole.len() <= OUTCOME_BYTES_MAX {
        return whole;
    }
    let begun: String = error.message.chars().take(OUTCOME_BYTES_MAX / (2 * CHAR_BYTES_MAX)).collect();
    let cut = WireError::new(error.code, format!("{begun}…"));
    json(&WireError { retryable: error.retryable, retry_after_ms: error.retry_after_ms, ..cut })
}

fn refused(error: WireError) -> Applied {
    Applied { refused: Some(error), ..Applied::default() }
}

/// An incident as it begins.
pub fn incident(kind: IncidentKind, worker: Option<WorkerId>, at: u64, cause: String, detected_ms: u64) -> Incident {
    Incident {
        id: 0,
        kind,
        at,
        worker,
        cause,
        detected_ms,
        promoted: 0,
        promoted_ms: None,
        redispatched: 0,
        resumed_ms: None,
        copies_lost: 0,
        segments_lost: 0,
        bytes_moved: 0,
        redundancy_restored_ms: None,
    }
}

/// The error for a name that is taken.
pub fn already_exists(name: &str) -> WireError {
    let message = format!("there is an array '{name}'; say replace (--replace), delete it, or choose another name");
    WireError::new(ErrorCode::AlreadyExists, message).array(name)
}

/// The error for a name that is not there; it lists some that are.
pub fn unknown_array<'a>(wanted: &str, names: impl Iterator<Item = &'a String>) -> WireError {
    const SHOWN: usize = 10;
    let mut names: Vec<&str> = names.map(String::as_str).collect();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    let wanted: String = wanted.chars().take(limits::NAME_BYTES_MAX).collect();
    let there = match (names.is_empty(), more) {
        (true, _) => "there is none yet".to_string(),
        (false, 0) => format!("there are: {}", names.join(", ")),
        (false, more) => format!("there are: {} and {more} more", names.join(", ")),
    };
    WireError::new(ErrorCode::UnknownArray, format!("there is no array '{}'; {there}", wanted.escape_debug()))
        .array(wanted)
}

/// The handle of a version, by its array's name.
pub fn handle_of(catalog: &Catalog, id: VersionId) -> String {
    let array = catalog.version(id).and_then(|version| catalog.array(version.array));
    name::handle(array.map_or("", |array| &array.name), id)
}
