//! Uploads: an array on its way from a client to the workers.
//!
//! CREATE_ARRAY makes an upload and a plan: the workers are asked to keep room, and when all have answered, the client is
//! told where to write. The workers report what arrives. COMMIT_ARRAY then waits until every segment has its copies
//! (those that got lost on the way are fetched from worker to worker) and makes the array exist by one command.

use super::catalog::{already_exists, element_count};
use super::command::{Command, NewSegment, combined_crc32c};
use super::placement::place;
use super::requests::{Answer, Key, number_reused};
use super::{Cluster, Member, Then};
use array::{DType, Grid, LEN_MAX};
use protocol::message::Body;
use protocol::message::client::*;
use protocol::message::worker::{DropCopies, Reserve};
use protocol::size::format_size;
use protocol::{
    ArrayId, CopyId, CopyRecord, ErrorCode, SegmentIndex, SessionId, VersionId, WireError, WorkerId, limits, name,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// An upload that nobody has touched for so long is given up: what was staged dies with its client.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// The same where the client has no connection: most are dead, and others may wait for the room. One that has only lost its connection
/// is back before that, or begins its upload again.
const ORPHANED_MAX: Duration = Duration::from_secs(10);

/// How often a plan is made anew because workers have no room, before the client is told.
const ROUNDS_MAX: u32 = 5;

/// When to ask again for room that running operations may leave, in milliseconds.
const ROOM_RETRY_MS: u64 = 500;

/// How long COMMIT waits for a worker to report a copy that it has acknowledged to the client: the report is sent first, so
/// it is under way.
const REPORT_PATIENCE: Duration = Duration::from_secs(2);

/// An array that does not exist yet.
#[derive(Debug)]
pub(super) struct Upload {
    pub name: String,
    dtype: DType,
    shape: Vec<u64>,
    replace: bool,
    /// The CREATE_ARRAY that it comes from.
    created_by: Key,
    ticket: String,
    grid: Grid,
    /// The workers planned for each segment, the primary first.
    planned: Vec<Vec<WorkerId>>,
    /// For what each worker was ever asked to keep room.
    asked: BTreeMap<WorkerId, BTreeSet<SegmentIndex>>,
    planning: Option<Planning>,
    committing: Option<Committing>,
    last_used: Duration,
}

impl Upload {
    /// Whose it is.
    pub fn session(&self) -> SessionId {
        self.created_by.0
    }

    /// Bytes of a copy of it.
    pub fn bytes(&self) -> u64 {
        self.grid.len() * self.dtype.size() as u64
    }

    /// For how many bytes each worker was asked to keep room.
    pub fn asked(&self) -> impl Iterator<Item = (&WorkerId, u64)> {
        let bytes =
            |segments: &BTreeSet<SegmentIndex>| segments.iter().map(|segment| self.segment_bytes(*segment)).sum();
        self.asked.iter().map(move |(worker, segments)| (worker, bytes(segments)))
    }

    /// Whether this is what was asked for.
    fn is_of(&self, create: &CreateArray) -> bool {
        (&self.name, self.dtype, &self.shape, self.replace)
            == (&create.array_id, create.dtype, &create.shape, create.replace)
    }

    /// Whether a worker is to get a segment of it.
    pub fn is_planned_on(&self, worker: &WorkerId) -> bool {
        self.planned.iter().flatten().any(|planned| planned == worker)
    }
}

/// A plan that workers have been asked about.
#[derive(Debug)]
struct Planning {
    key: Key,
    segments: Vec<SegmentIndex>,
    asked: BTreeSet<WorkerId>,
    /// Workers that refused, could not be reached by the client, or went down.
    avoid: BTreeSet<WorkerId>,
    /// Plans that found workers without room.
    rounds: u32,
    refused: bool,
    last_refusal: Option<WireError>,
}

/// A commit that waits for copies.
#[derive(Debug)]
struct Committing {
    key: Key,
    segments: Vec<WrittenSegment>,
    reports_until: Duration,
    proposed: bool,
}

impl Upload {
    fn segment_bytes(&self, segment: SegmentIndex) -> u64 {
        let range = self.grid.range(segment);
        (range.end - range.start) * self.dtype.size() as u64
    }
}

impl Cluster {
    pub(super) fn on_create_array(&mut self, key: Key, create: CreateArray) -> Result<Answer, WireError> {
        let earlier = self.uploads.iter().find(|(_, upload)| upload.created_by == key);
        let earlier = earlier.map(|(version, upload)| (*version, upload.is_of(&create)));
        let answer = self.plan_array(key, create, earlier);
        // A request that comes again may be refused though it was not at first; whoever is told that will not go on.
        if let (Some((version, true)), Err(_)) = (earlier, &answer) {
            if let Some(upload) = self.uploads.get_mut(&version) {
                upload.planning = None; // its answer is this one
            }
            self.abandon(version);
        }
        answer
    }

    /// `earlier` is the upload that a request of this number began, and whether that asked for the same.
    fn plan_array(
        &mut self,
        key: Key,
        create: CreateArray,
        earlier: Option<(VersionId, bool)>,
    ) -> Result<Answer, WireError> {
        name::check_new_array(&create.array_id)?;
        let len = checked_length(&create)?;
        if self.catalog.find(&create.array_id).is_some() && !create.replace {
            return Err(already_exists(&create.array_id));
        }
        if !self.settled() {
            return Ok(Answer::Park("report of the workers after the master's start".to_string()));
        }
        if let Some(park) = self.enough_workers(len > 0)? {
            return Ok(park);
        }
        self.check_fits_at_all(&create, len)?;
        let grid = Grid::new(len);
        let segments = grid.segments();
        if let Some((version, is_same)) = earlier {
            if !is_same {
                return Err(number_reused(key.1));
            }
            self.plan(version, key, (0..segments).collect(), BTreeSet::new()); // it found no worker the first time
            return Ok(Answer::Later);
        }
        self.check_uploads(key)?;
        if !create.replace {
            self.check_arrays()?;
        }
        let Some(version) = self.new_id() else { return Ok(Answer::Park("id from the log".to_string())) };
        let upload = Upload {
            name: create.array_id,
            dtype: create.dtype,
            shape: create.shape,
            replace: create.replace,
            created_by: key,
            ticket: format!("{:032x}", (self.entropy)()),
            grid,
            planned: vec![Vec::new(); segments as usize],
            asked: BTreeMap::new(),
            planning: None,
            committing: None,
            last_used: self.now.elapsed,
        };
        self.uploads.insert(version, upload);
        self.plan(version, key, (0..segments).collect(), BTreeSet::new());
        Ok(Answer::Later)
    }

    /// Refuses what all workers together have no room for, even if they were empty: planning its segments would only keep
    /// everybody waiting.
    fn check_fits_at_all(&self, create: &CreateArray, len: u64) -> Result<(), WireError> {
        let bytes = len * create.dtype.size() as u64;
        let memory = self.placeable().fold(0_u64, |sum, (_, member)| sum.saturating_add(member.hello.memory_bytes));
        if bytes <= memory {
            return Ok(());
        }
        let text = format!(
            "'{}' has {}, and all workers together have {} of memory; add workers, or give them more --memory",
            create.array_id,
            format_size(bytes),
            format_size(memory)
        );
        Err(WireError::new(ErrorCode::InsufficientMemory, text).array(create.array_id.clone()))
    }

    /// Whether there are workers for something new: none if there are, a reason to wait, or an error.
    pub(super) fn enough_workers(&self, any_segments: bool) -> Result<Option<Answer>, WireError> {
        let there = self.placeable().count();
        let demanded = (self.config.min_copies as usize).max(1);
        if !any_segments || there >= demanded {
            return Ok(None);
        }
        if self.hopes() {
            return Ok(Some(Answer::Park(format!("{demanded} workers; {there} are alive"))));
        }
        let alive = self.members.values().filter(|member| member.up).count();
        Err(match there {
            0 if alive > 0 => {
                let text = format!(
                    "none of the {alive} workers that are alive takes new copies: they are leaving, or of the original system; start \
                     one more: worker --id w1 --master HOST:PORT"
                );
                WireError::new(ErrorCode::NoWorkers, text)
            }
            0 => WireError::new(
                ErrorCode::NoWorkers,
                "there is no worker; start some: worker --id w1 --master HOST:PORT",
            ),
            _ => {
                let text =
                    format!("at least {demanded} copies are demanded (--min-copies), and {there} workers are alive");
                WireError::new(ErrorCode::InsufficientReplicas, text)
            }
        })
    }

    pub(super) fn on_replan_write(&mut self, key: Key, replan: ReplanWrite) -> Result<Answer, WireError> {
        let now = self.now.elapsed;
        let Some(upload) = self.uploads.get_mut(&replan.version) else {
            return Err(unknown_upload(replan.version));
        };
        upload.last_used = now;
        if let Some(wrong) = replan.segments.iter().find(|segment| **segment >= upload.grid.segments()) {
            let text = format!("segment {wrong} of an upload of {}", upload.grid.segments());
            return Err(WireError::new(ErrorCode::OutOfRange, text));
        }
        if upload.planning.is_some() || upload.committing.is_some() {
            return Ok(Answer::Park("earlier request about this upload".to_string()));
        }
        if let Some(park) = self.enough_workers(true)? {
            return Ok(park);
        }
        self.plan(replan.version, key, replan.segments, replan.avoid.into_iter().collect());
        Ok(Answer::Later)
    }

    /// Chooses workers for segments and asks them to keep room.
    fn plan(&mut self, version: VersionId, key: Key, segments: Vec<SegmentIndex>, avoid: BTreeSet<WorkerId>) {
        let planning = Planning {
            key,
            segments: segments.clone(),
            asked: BTreeSet::new(),
            avoid,
            rounds: 0,
            refused: false,
            last_refusal: None,
        };
        if let Some(upload) = self.uploads.get_mut(&version) {
            upload.planning = Some(planning);
        }
        self.ask_for_room(version, &segments);
    }

    fn ask_for_room(&mut self, version: VersionId, segments: &[SegmentIndex]) {
        let Some(upload) = self.uploads.get(&version) else {
            return;
        };
        let Some(planning) = &upload.planning else { return };
        let bytes: Vec<u64> = segments.iter().map(|segment| upload.segment_bytes(*segment)).collect();
        let avoid: Vec<WorkerId> = planning.avoid.iter().cloned().collect();
        let mut candidates = self.candidates(&avoid);
        if candidates.is_empty() {
            candidates = self.candidates(&[]); // rather an unlikely worker than none
        }
        self.leave_room_for_operations(bytes.iter().sum(), &mut candidates);
        let placed = place(&bytes, upload.grid.len(), self.config.replication as usize, &candidates);
        let mut asks: BTreeMap<WorkerId, Vec<(SegmentIndex, u64)>> = BTreeMap::new();
        for ((segment, bytes), workers) in segments.iter().zip(&bytes).zip(&placed) {
            workers.iter().for_each(|worker| asks.entry(worker.clone()).or_default().push((*segment, *bytes)));
        }
        let Some(upload) = self.uploads.get_mut(&version) else {
            return;
        };
        for (segment, workers) in segments.iter().zip(placed) {
            upload.planned[*segment as usize] = workers;
        }
        let (ticket, dtype) = (upload.ticket.clone(), upload.dtype);
        if let Some(planning) = &mut upload.planning {
            // Workers that died meanwhile don't count; but if there is nobody to ask, another round is in vain.
            planning.rounds += u32::from(std::mem::take(&mut planning.refused));
            planning.rounds = if asks.is_empty() { ROUNDS_MAX } else { planning.rounds };
            planning.asked.extend(asks.keys().cloned());
        }
        for (worker, segments) in &asks {
            upload.asked.entry(worker.clone()).or_default().extend(segments.iter().map(|(segment, _)| *segment));
        }
        for (worker, segments) in asks {
            if let Some(member) = self.members.get_mut(&worker) {
                member.promised += segments.iter().map(|(_, bytes)| bytes).sum::<u64>();
            }
            self.call_reserve(&worker, Reserve { version, ticket: ticket.clone(), dtype, segments });
        }
        protocol::fault_point!(RoomAskedFor);
        self.finish_plan(version);
    }

    /// A worker keeps room for an upload, or refuses.
    pub(super) fn on_reserved(&mut self, worker: &WorkerId, version: VersionId, refusal: Option<WireError>) {
        let Some(upload) = self.uploads.get_mut(&version) else {
            return match self.is_needed(version) {
                true => self.end_reservations(worker, version),
                false => self.drop_version(worker, version),
            };
        };
        let Some(planning) = &mut upload.planning else {
            return;
        };
        planning.asked.remove(worker);
        if let Some(error) = refusal {
            log::info!("worker {worker} does not keep room for {version}: {error}");
            planning.avoid.insert(worker.clone());
            planning.refused |= error.code != ErrorCode::NoWorkers;
            planning.last_refusal = Some(error);
            let segments = planning.segments.clone();
            for segment in segments {
                upload.planned[segment as usize].retain(|planned| planned != worker);
            }
        }
        self.finish_plan(version);
    }

    /// A worker that may have been asked to keep room is gone.
    pub(super) fn on_reservers_down(&mut self, worker: &WorkerId) {
        let asked = |upload: &Upload| upload.planning.as_ref().is_some_and(|planning| planning.asked.contains(worker));
        let versions: Vec<VersionId> =
            self.uploads.iter().filter(|(_, upload)| asked(upload)).map(|(id, _)| *id).collect();
        for version in versions {
            let gone = WireError::new(ErrorCode::NoWorkers, format!("worker {worker} went down"));
            self.on_reserved(worker, version, Some(gone));
        }
    }

    /// When all workers have answered: tells the client, or plans anew what found no room.
    fn finish_plan(&mut self, version: VersionId) {
        let members = &self.members;
        let Some(upload) = self.uploads.get_mut(&version) else { return };
        let Some(planning) = upload.planning.as_ref().filter(|planning| planning.asked.is_empty()) else { return };
        for segment in &planning.segments {
            // Some may have gone down after they had answered.
            upload.planned[*segment as usize].retain(|worker| members.contains_key(worker));
        }
        let Some((upload, planning)) = self.uploads.get(&version).and_then(|u| Some((u, u.planning.as_ref()?))) else {
            return;
        };
        let homeless: Vec<SegmentIndex> =
            planning.segments.iter().filter(|segment| upload.planned[**segment as usize].is_empty()).copied().collect();
        let (key, rounds) = (planning.key, planning.rounds);
        if !homeless.is_empty() && rounds < ROUNDS_MAX {
            return self.ask_for_room(version, &homeless);
        }
        if !homeless.is_empty() && self.placeable().next().is_none() && self.hopes() {
            return self.plan_later(version, key);
        }
        if !homeless.is_empty() {
            let error = self.enough_workers(true).err().unwrap_or_else(|| self.no_room(upload, planning));
            self.answer(key, Body::Error(error));
            return self.abandon(version);
        }
        let plan = self.write_plan(version, upload, &planning.segments);
        if let Some(upload) = self.uploads.get_mut(&version) {
            upload.planning = None;
        }
        protocol::fault_point!(PlanNotTold);
        self.answer(key, plan.into());
    }

    /// All workers are gone, and some may come back: the request is tried again when something changes.
    fn plan_later(&mut self, version: VersionId, key: Key) {
        if let Some(upload) = self.uploads.get_mut(&version) {
            upload.planning = None;
        }
        self.park(key, "worker that is alive".to_string());
    }

    fn no_room(&self, upload: &Upload, planning: &Planning) -> WireError {
        let free: Vec<String> = self
            .placeable()
            .map(|(worker, member)| format!("{worker} {}", protocol::size::format_size(member.free_bytes())))
            .collect();
        let needed = element_count(&upload.shape) * upload.dtype.size() as u64;
        let text = format!(
            "no room for array '{}': {} in {} copies; free: {}{}; delete arrays, add workers, or give them more --memory",
            upload.name,
            protocol::size::format_size(needed),
            self.config.replication,
            if free.is_empty() { "no worker is alive".to_string() } else { free.join(", ") },
            planning
                .last_refusal
                .as_ref()
                .map_or(String::new(), |error| format!(" (the last refusal: {})", error.message)),
        );
        let error = WireError::new(ErrorCode::InsufficientMemory, text).array(upload.name.clone());
        let bytes: Vec<u64> = planning.segments.iter().map(|segment| upload.segment_bytes(*segment)).collect();
        let placed = place(&bytes, upload.grid.len(), 1, &self.candidates(&[]));
        let is_in_use = !self.operations.is_empty() && placed.iter().all(|workers| !workers.is_empty());
        // Without the operations that are running there would be room: some of it comes back when they end.
        if is_in_use { error.retry_after_ms(ROOM_RETRY_MS) } else { error }
    }

    fn write_plan(&self, version: VersionId, upload: &Upload, segments: &[SegmentIndex]) -> WritePlan {
        let mut workers: Vec<WorkerId> = segments.iter().flat_map(|s| upload.planned[*s as usize].clone()).collect();
        workers.sort();
        workers.dedup();
        let number = |worker: &WorkerId| workers.binary_search(worker).expect("it was put there") as u32;
        let planned = |segment: &SegmentIndex| {
            PlannedWrite(*segment, upload.planned[*segment as usize].iter().map(number).collect())
        };
        WritePlan {
            version,
            ticket: upload.ticket.clone(),
            segment_length: upload.grid.segment_len(),
            segments: segments.iter().map(planned).collect(),
            workers: self.endpoints(&workers),
        }
    }

    pub(super) fn on_commit_array(&mut self, key: Key, commit: CommitArray) -> Result<Answer, WireError> {
        let now = self.now.elapsed;
        let Some(upload) = self.uploads.get_mut(&commit.version) else {
            return Err(unknown_upload(commit.version));
        };
        upload.last_used = now;
        if upload.planning.is_some() || upload.committing.is_some() {
            return Ok(Answer::Park("earlier request about this upload".to_string()));
        }
        let mut segments = commit.segments;
        segments.sort_by_key(|WrittenSegment(segment, ..)| *segment);
        let stated: Vec<SegmentIndex> = segments.iter().map(|WrittenSegment(segment, ..)| *segment).collect();
        if stated != (0..upload.grid.segments()).collect::<Vec<_>>() {
            let text = format!(
                "a commit states each of the {} segments once; this one states {}",
                upload.grid.segments(),
                stated.len()
            );
            return Err(WireError::new(ErrorCode::Malformed, text));
        }
        upload.committing = Some(Committing { key, segments, reports_until: now + REPORT_PATIENCE, proposed: false });
        self.advance_upload(commit.version);
        Ok(Answer::Later)
    }

    pub(super) fn advance_uploads(&mut self) {
        let committing: Vec<VersionId> =
            self.uploads.iter().filter(|(_, upload)| upload.committing.is_some()).map(|(id, _)| *id).collect();
        committing.into_iter().for_each(|version| self.advance_upload(version));
    }

    /// Commits an upload if every segment has its copies; else sees to it that it gets them.
    fn advance_upload(&mut self, version: VersionId) {
        let Some(upload) = self.uploads.get(&version) else {
            return;
        };
        let Some(committing) = upload.committing.as_ref().filter(|committing| !committing.proposed) else {
            return;
        };
        let (key, dtype) = (committing.key, upload.dtype);
        let segments = committing.segments.clone();
        let reports_pending = self.now.elapsed < committing.reports_until;
        let required = self.acknowledged_copies(self.config.replication);
        let (mut missing, mut waiting, mut held) = (Vec::new(), !self.settled(), Vec::new());
        for WrittenSegment(segment, crc32c, acknowledged) in segments {
            let upload = &self.uploads[&version];
            let copy = CopyRecord(version, segment, crc32c, upload.segment_bytes(segment));
            let have = self.live_holders(copy.id(), crc32c, &upload.planned[segment as usize]);
            let unreported =
                |worker: &WorkerId| self.live(worker).is_some_and(|member| member.holds(copy.id()).is_none());
            if reports_pending && have.len() < required && acknowledged.iter().any(unreported) {
                waiting = true;
            } else if have.is_empty() {
                missing.push(segment);
            } else if !self.ensure_copies(copy, dtype, &have, required, &[]) {
                waiting = true;
            }
            held.push(NewSegment(crc32c, have));
        }
        if !missing.is_empty() {
            self.tell_missing(version, key, missing);
        } else if !waiting {
            self.commit_upload(version, key, held);
        }
    }

    fn tell_missing(&mut self, version: VersionId, key: Key, missing: Vec<SegmentIndex>) {
        let Some(upload) = self.uploads.get_mut(&version) else {
            return;
        };
        upload.committing = None;
        let text = format!("{} segments of the upload of '{}' are nowhere (any more)", missing.len(), upload.name);
        let error = WireError::new(ErrorCode::SegmentsMissing, text).array(upload.name.clone()).segments(missing);
        self.answer(key, Body::Error(error));
    }

    fn commit_upload(&mut self, version: VersionId, key: Key, segments: Vec<NewSegment>) {
        let replication = self.config.replication;
        let upload = &self.uploads[&version];
        let copies = segments.iter().map(|NewSegment(_, holders)| holders.len()).min();
        let body = Body::from(ArrayCommitted {
            array_id: upload.name.clone(),
            status: "created".to_string(),
            handle: name::handle(&upload.name, version),
            // Those beyond it are dropped as soon as somebody looks.
            copies: copies.map_or(replication, |copies| replication.min(copies as u32)),
            target: replication,
            crc32c: Some(combined_crc32c(&segments, |segment| upload.segment_bytes(segment))),
            durability: Durability::Synced,
        });
        let command = Command::CreateArray {
            request: Some(self.outcome(self.origin(key), &body)),
            array: ArrayId(version.0),
            version,
            name: upload.name.clone(),
            dtype: upload.dtype,
            shape: upload.shape.clone(),
            replication,
            replace: upload.replace,
            segments,
        };
        if let Some(committing) = self.uploads.get_mut(&version).and_then(|upload| upload.committing.as_mut()) {
            committing.proposed = true;
        }
        if planted::bug!(ReplyBeforeLog) {
            self.answer(key, body.clone());
        }
        protocol::fault_point!(ArrayNotProposed);
        self.propose(command, true, Then::UploadCommitted { version, key, body });
    }

    /// An upload is in the catalog: room that was kept for it and not used is given back.
    pub(super) fn end_upload(&mut self, version: VersionId) {
        let Some(upload) = self.uploads.remove(&version) else { return };
        for (worker, segments) in upload.asked {
            let lacks = |member: &Member| segments.iter().any(|s| member.holds(CopyId(version, *s)).is_none());
            if self.members.get(&worker).is_some_and(lacks) {
                self.end_reservations(&worker, version);
            }
        }
    }

    /// Has a worker give back the room of what it has not got of a version. It is not told to drop what it has not: that may have
    /// arrived, with its report on the way, which will count as a copy.
    fn end_reservations(&mut self, worker: &WorkerId, version: VersionId) {
        if self.members.contains_key(worker) {
            self.tell(worker, DropCopies { reservations: vec![version], ..DropCopies::default() });
        }
    }

    /// Gives up an upload; what is staged is dropped.
    pub(super) fn abandon(&mut self, version: VersionId) {
        let proposed = |upload: &Upload| upload.committing.as_ref().is_some_and(|committing| committing.proposed);
        if self.uploads.get(&version).is_none_or(proposed) {
            return;
        }
        let Some(upload) = self.uploads.remove(&version) else {
            return;
        };
        let waiting =
            [upload.planning.map(|planning| planning.key), upload.committing.map(|committing| committing.key)];
        for key in waiting.into_iter().flatten() {
            self.answer(key, Body::Error(unknown_upload(version)));
        }
        // All workers: some may keep room for it without having a copy yet.
        let workers: Vec<WorkerId> = self.members.keys().cloned().collect();
        workers.iter().for_each(|worker| self.drop_version(worker, version));
    }

    pub(super) fn watch_uploads(&mut self) {
        let now = self.now.elapsed;
        let idle = |upload: &Upload| {
            let most = if self.sessions.contains_key(&upload.session()) { IDLE_MAX } else { ORPHANED_MAX };
            now - upload.last_used >= most && upload.planning.is_none() && upload.committing.is_none()
        };
        let idle: Vec<VersionId> = self.uploads.iter().filter(|(_, upload)| idle(upload)).map(|(id, _)| *id).collect();
        for version in idle {
            let Upload { name, last_used, .. } = &self.uploads[&version];
            log::info!("upload {version} of '{name}' is given up: nothing happened for {:?}", now - *last_used);
            self.abandon(version);
        }
    }

    /// The client of a request about an upload does not wait any more.
    /// What a request to commit waits for, in words, if it is one.
    pub(super) fn explain_commit(&self, key: Key) -> Option<String> {
        let is_of = |committing: &Committing| committing.key == key;
        let (version, upload) =
            self.uploads.iter().find(|(_, upload)| upload.committing.as_ref().is_some_and(is_of))?;
        let required = self.acknowledged_copies(self.config.replication);
        let segments = &upload.committing.as_ref()?.segments;
        let lacks = |WrittenSegment(segment, crc32c, _): &&WrittenSegment| {
            self.live_holders(CopyId(*version, *segment), *crc32c, &[]).len() < required
        };
        let thin = segments.iter().filter(lacks).count();
        Some(match thin {
            0 => format!("commit of '{}'", upload.name),
            thin => format!("{required} copies of {thin} of the {} segments of '{}'", segments.len(), upload.name),
        })
    }

    pub(super) fn give_up_upload_request(&mut self, key: Key) {
        for upload in self.uploads.values_mut() {
            if upload.planning.as_ref().is_some_and(|planning| planning.key == key) {
                upload.planning = None;
            }
            if upload.committing.as_ref().is_some_and(|committing| committing.key == key && !committing.proposed) {
                upload.committing = None;
            }
        }
    }

    /// An upload lives while its bytes arrive.
    pub(super) fn touch_upload(&mut self, version: VersionId) {
        if let Some(upload) = self.uploads.get_mut(&version) {
            upload.last_used = self.now.elapsed;
        }
    }
}

fn unknown_upload(version: VersionId) -> WireError {
    let text = format!("there is no upload {version} (any more); begin again with CREATE_ARRAY");
    WireError::new(ErrorCode::UnknownUpload, text)
}

/// The number of elements, if the array can exist.
fn checked_length(create: &CreateArray) -> Result<u64, WireError> {
    let too_large = |text: String| Err(WireError::new(ErrorCode::TooLarge, text).array(create.array_id.clone()));
    if create.shape.len() > limits::DIMENSIONS_MAX {
        return too_large(format!("{} dimensions; the limit is {}", create.shape.len(), limits::DIMENSIONS_MAX));
    }
    // A side of length 0 makes the array empty, however long the others are.
    let product = match create.shape.contains(&0) {
        true => Some(0),
        false => create.shape.iter().try_fold(1u64, |product, side| product.checked_mul(*side)),
    };
    match product {
        Some(len) if len <= LEN_MAX => Ok(len),
        _ => too_large(format!("shape {:?} has more elements than an array may have, {LEN_MAX}", create.shape)),
    }
}
