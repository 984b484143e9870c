//! How the instructions of the master are followed, from the first look at them to their answer.

use super::Agent;
use super::event::{Effect, FetchJob, Fetched};
use super::work::{FetchTask, Origin, Reports, ResultTask, Weight};
use crate::Serving;
use crate::compute::{ComputeFailure, ComputeJob, Computed, Made};
use crate::store::{Segment, Store, check_length};
use array::program::NotAProgram;
use array::{DType, Grid, LEN_MAX, Operation, Program};
use log::{debug, warn};
use protocol::message::worker::*;
use protocol::{CopyId, CopyRecord, ErrorCode, Head, VersionId, WireError, fault_point};
use std::ops::Range;
use std::sync::Arc;

impl Agent {
    pub(super) fn on_reserve(&mut self, store: &mut Store, head: &Head, reserve: Reserve) {
        let Reserve { version, ticket, dtype, segments } = reserve;
        let mut outcome = match self.drain_until {
            Some(_) => Err(WireError::new(ErrorCode::ShuttingDown, "this worker is draining and takes no new uploads")),
            None => Ok(()),
        };
        for (segment, _) in &segments {
            outcome = outcome.and_then(|()| store.admit_epoch(CopyId(version, *segment), head.epoch));
        }
        match outcome.and_then(|()| store.reserve(version, &ticket, dtype, &segments)) {
            Ok(()) => {
                debug!("{}reserved {} segments of {version}", Serving(&head.request), segments.len());
                fault_point!(ReservedNotAnswered);
                self.answer(head, Reserved {});
            }
            Err(error) => self.refuse(head, error),
        }
    }

    pub(super) fn on_process_segment(&mut self, store: &mut Store, head: &Head, process: ProcessSegment) {
        debug!(
            "{}computing {} segments of {}: {}",
            Serving(&head.request),
            process.segments.len(),
            process.result,
            process.operation
        );
        let origin = Origin::wanting(head, process.inline.clone());
        let mut reports = Reports::default();
        let program = check_program(&process);
        for &segment in &process.segments {
            let result = CopyId(process.result, segment);
            let planned = program.clone().map_err(Refusal::from).and_then(|program| {
                store.admit_epoch(result, head.epoch)?;
                let task = ResultTask {
                    program,
                    sources: process.sources.clone(),
                    elements: process.elements,
                    verify: process.verify,
                    origin: origin.clone(),
                };
                self.plan_result(store, result, task)
            });
            match planned {
                Ok(Some(held)) => reports.add(&origin, &held),
                Ok(None) => {}
                Err(refusal) => refusal.tell(&mut reports, &origin, result),
            }
        }
        self.send_reports(reports);
        self.start_computations(store);
    }

    /// Queues the computation of one segment, with room for its result; gives the copy that is here already.
    fn plan_result(
        &mut self,
        store: &mut Store,
        result: CopyId,
        task: ResultTask,
    ) -> Result<Option<Arc<Segment>>, Refusal> {
        if let Some(held) = store.get(result) {
            return Ok(Some(held));
        }
        if self.results.is_wanted(result) {
            return Ok(None); // asked for twice, answered once
        }
        let sources = sources_of(store, result, &task)?;
        let elements = range_of(result, &task, &sources)?;
        let len = elements.end - elements.start;
        let room = store.make_room(len * task.program.bytes_written())?;
        let weight = Weight::of(&task.program, len, &self.settings);
        self.results.push(result, task, room, weight);
        Ok(None)
    }

    /// Hands out queued computations while there are slots. A source that has been dropped meanwhile fails
    /// its segment.
    fn start_computations(&mut self, store: &mut Store) {
        let mut reports = Reports::default();
        while let Some((job, result, task)) = self.results.start() {
            let found = sources_of(store, result, task);
            match found.and_then(|sources| Ok((range_of(result, task, &sources)?, sources))) {
                Ok((elements, sources)) => self.effects.push(Effect::Compute(ComputeJob {
                    job,
                    program: task.program.clone(),
                    sources,
                    result,
                    elements,
                    verify: task.verify,
                    request: task.origin.request.clone(),
                })),
                Err(refusal) => {
                    refusal.tell(&mut reports, &task.origin, result);
                    let ended = self.results.end(job).expect("it has just begun");
                    store.release(ended.room);
                }
            }
        }
        self.send_reports(reports);
    }

    pub(super) fn on_computed(&mut self, store: &mut Store, ended: Vec<Computed>) {
        let mut reports = Reports::default();
        let mut broken = Vec::new();
        for Computed { job, elements, outcome, busy } in ended {
            let Some(ended) = self.results.end(job) else {
                continue;
            };
            let (result, task) = (ended.copy, ended.task);
            if !ended.wanted {
                debug!("{}nobody wants {result} any more", Serving(&task.origin.request));
                drop(outcome);
                if !planted::bug!(RoomLeaked) {
                    store.release(ended.room);
                }
                continue;
            }
            reports.spend(&task.origin, result.version(), busy);
            let stored = match outcome {
                Ok(Made::Partials(partials)) => {
                    store.release(ended.room);
                    reports.count(&task, result.version(), elements);
                    reports.reduced(&task.origin, result, &partials);
                    continue;
                }
                // What is here already is what is told, as for an instruction to compute it; the master sees whether it fits.
                Ok(Made::Elements(buffer, crc)) => {
                    let dtype = task.program.output().expect("it has made elements");
                    fault_point!(ComputedNotStored);
                    reports.count(&task, result.version(), elements);
                    let stored = store.insert(ended.room, Segment::new(result, dtype, buffer, crc));
                    stored.or_else(|differs| store.get(result).ok_or(differs)).map_err(Refusal::from)
                }
                Err(failure) => {
                    store.release(ended.room);
                    if let ComputeFailure::SourceBroken(source) = &failure
                        && store.remove_broken(source)
                    {
                        broken.push(source.record().id());
                    }
                    Err(failure.to_refusal(result, &task))
                }
            };
            match stored {
                Ok(copy) => reports.add(&task.origin, &copy),
                Err(refusal) => refusal.tell(&mut reports, &task.origin, result),
            }
        }
        fault_point!(ComputedNotReported);
        if !broken.is_empty() {
            self.tell_copies_changed([], broken);
        }
        self.send_reports(reports);
        self.start_computations(store);
    }

    fn send_reports(&mut self, reports: Reports) {
        for report in reports.into_reports() {
            let SegmentResult { result, failed, .. } = &report.result;
            for failed in failed {
                warn!("{}{result}/{}: {}", Serving(&report.origin.request), failed.segment, failed.error);
            }
            self.send(report.into_message());
        }
    }

    pub(super) fn on_cancel_segments(&mut self, store: &mut Store, head: &Head, cancel: CancelSegments) {
        match store.admit_version_epoch(cancel.result, head.epoch) {
            Ok(()) => self.results.forget(store, |copy| copy.version() == cancel.result),
            Err(error) => self.refuse(head, error),
        }
        self.start_computations(store);
    }

    pub(super) fn on_recover_data(&mut self, store: &mut Store, head: &Head, recover: RecoverData) {
        let (copy, origin) = (recover.copy, Origin::of(head));
        match self.plan_fetch(store, head, recover) {
            Ok(true) => self.send(origin.message(RecoveryComplete { copy, busy_us: None, error: None })),
            Ok(false) => self.start_fetches(),
            Err(error) => self.fail_fetch(&origin, copy, error),
        }
    }

    /// Queues a fetch, with room for the copy; true when it is here already.
    fn plan_fetch(&mut self, store: &mut Store, head: &Head, recover: RecoverData) -> Result<bool, WireError> {
        let RecoverData { copy, dtype, sources, background } = recover;
        let id = copy.id();
        store.admit_epoch(id, head.epoch)?;
        check_length(id.segment(), copy.bytes(), dtype)?;
        if let Some(held) = store.get(id) {
            // Another copy under the same id is a zombie's; the master drops it first if it wants this one.
            let why = || format!("{id} is here with crc32c {}, not {}", held.record().crc32c(), copy.crc32c());
            let same = held.record() == copy;
            return if same { Ok(true) } else { Err(WireError::new(ErrorCode::ChecksumMismatch, why())) };
        }
        if !self.fetches.is_wanted(id) {
            let room = store.make_room(copy.bytes())?;
            let task = FetchTask { copy, dtype, sources, background, origin: Origin::of(head) };
            self.fetches.push(id, task, room, Weight::Large);
        }
        Ok(false)
    }

    fn start_fetches(&mut self) {
        while let Some((job, _, task)) = self.fetches.start() {
            let &FetchTask { copy, dtype, background, .. } = task;
            let (sources, request) = (task.sources.clone(), task.origin.request.clone());
            self.effects.push(Effect::Fetch(FetchJob { job, copy, dtype, sources, request, background }));
        }
    }

    pub(super) fn on_fetched(&mut self, store: &mut Store, Fetched { job, outcome, busy }: Fetched) {
        let Some(ended) = self.fetches.end(job) else {
            return;
        };
        let FetchTask { copy, dtype, origin, .. } = ended.task;
        let stored = match outcome {
            Ok(buffer) if ended.wanted => {
                fault_point!(FetchedNotStored);
                store.insert(ended.room, Segment::new(copy.id(), dtype, buffer, copy.crc32c())).map(|_| ())
            }
            outcome => {
                let failed = outcome.map(drop);
                store.release(ended.room);
                failed
            }
        };
        match stored {
            _ if !ended.wanted => debug!("{}nobody wants {} any more", Serving(&origin.request), copy.id()),
            Ok(()) => {
                let busy_us = Some(busy.as_micros() as u64);
                fault_point!(FetchedNotReported);
                self.send(origin.message(RecoveryComplete { copy, busy_us, error: None }));
            }
            Err(error) => self.fail_fetch(&origin, copy, error),
        }
        self.start_fetches();
    }

    fn fail_fetch(&mut self, origin: &Origin, copy: CopyRecord, error: WireError) {
        warn!("{}{} was not fetched: {error}", Serving(&origin.request), copy.id());
        self.send(origin.message(RecoveryComplete { copy, busy_us: None, error: Some(error) }));
    }

    pub(super) fn on_drop_copies(&mut self, store: &mut Store, head: &Head, drop: DropCopies) {
        let versions: Vec<VersionId> =
            self.admitted(head, drop.versions, |v| store.admit_version_epoch(*v, head.epoch));
        let copies: Vec<CopyId> = self.admitted(head, drop.copies, |c| store.admit_epoch(*c, head.epoch));
        let reservations = self.admitted(head, drop.reservations, |v| store.admit_version_epoch(*v, head.epoch));
        debug!(
            "{}dropping {} versions, {} copies, and the reservations of {} versions",
            Serving(&head.request),
            versions.len(),
            copies.len(),
            reservations.len()
        );
        fault_point!(DropNotDone);
        let is_dropped = |copy: CopyId| versions.contains(&copy.version()) || copies.contains(&copy);
        self.results.forget(store, is_dropped);
        self.fetches.forget(store, is_dropped);
        versions.iter().for_each(|version| store.drop_version(*version));
        copies.iter().for_each(|copy| store.drop_copy(*copy));
        reservations.iter().for_each(|version| store.end_reservations(*version));
        self.start_computations(store);
        self.start_fetches();
    }

    /// Those of a list that the fence lets through; the rest is refused in one answer.
    fn admitted<T>(&mut self, head: &Head, list: Vec<T>, mut admit: impl FnMut(&T) -> Result<(), WireError>) -> Vec<T> {
        let mut refusal = None;
        let mut admitted = Vec::with_capacity(list.len());
        for item in list {
            match admit(&item) {
                Ok(()) => admitted.push(item),
                Err(error) => refusal = Some(error),
            }
        }
        if let Some(error) = refusal {
            self.refuse(head, error);
        }
        admitted
    }
}

/// Why a segment has no result here.
#[derive(Clone)]
struct Refusal {
    /// The version whose copy is missing or broken, if that is why.
    source: Option<VersionId>,
    /// On the heap: results are returned often, refusals seldom.
    error: Box<WireError>,
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Refusal {
        Refusal { source: None, error: Box::new(error) }
    }
}

impl Refusal {
    fn tell(self, reports: &mut Reports, origin: &Arc<Origin>, result: CopyId) {
        reports.fail(origin, result, self.source, *self.error);
    }
}

/// The program of an instruction, if it is one and takes as many sources as there are.
fn check_program(process: &ProcessSegment) -> Result<Arc<Program>, WireError> {
    let unknown = |e: NotAProgram| WireError::new(ErrorCode::UnknownOperation, e.to_string());
    let program = match process.operation.parse::<Operation>() {
        Ok(operation) => operation.program(), // made ready before
        Err(_) => Arc::new(process.operation.parse::<Program>().map_err(unknown)?),
    };
    let (takes, given) = (program.inputs().len(), process.sources.len());
    if takes != given {
        let why = format!("a program that reads {takes} arrays, and {given} to read");
        return Err(WireError::new(ErrorCode::Malformed, why));
    }
    Ok(program)
}

/// The elements of a segment, by their places in the array: as many as there are of what is read.
fn range_of(result: CopyId, task: &ResultTask, sources: &[Arc<Segment>]) -> Result<Range<u64>, WireError> {
    let (elements, segment) = (task.elements, result.segment());
    if elements > LEN_MAX || segment >= Grid::new(elements).segments() {
        let why = format!("segment {segment} of an array of {elements} elements");
        return Err(WireError::new(ErrorCode::OutOfRange, why));
    }
    let range = Grid::new(elements).range(segment);
    let range = sources.first().map_or(range.clone(), |source| range.start..range.start + source.elements());
    if planted::bug!(PlaceForgotten) && task.verify {
        return Ok(0..range.end - range.start);
    }
    Ok(range)
}

/// What a segment is computed from: copies that are here, of the right dtypes and of one length.
fn sources_of(store: &Store, result: CopyId, task: &ResultTask) -> Result<Vec<Arc<Segment>>, Refusal> {
    let mut elements = None;
    let source = |(version, dtype): (&VersionId, &DType)| {
        let missing = |error| Refusal { source: Some(*version), error: Box::new(error) };
        let source = store.get_or_refuse(CopyId(*version, result.segment())).map_err(missing)?;
        let elements = *elements.get_or_insert(source.elements());
        if source.dtype() != *dtype || source.elements() != elements {
            let why = format!(
                "{elements} elements of {dtype} are to be read, and {} has {} of {}",
                source.record().id(),
                source.elements(),
                source.dtype()
            );
            return Err(WireError::new(ErrorCode::TypeMismatch, why).segments([result.segment()]).into());
        }
        Ok(source)
    };
    task.sources.iter().zip(task.program.inputs()).map(source).collect()
}

impl ComputeFailure {
    fn to_refusal(&self, result: CopyId, task: &ResultTask) -> Refusal {
        let segment = result.segment();
        let (source, error) = match self {
            ComputeFailure::SourceBroken(source) => {
                let version = source.record().id().version();
                let why =
                    format!("the copy of segment {segment} of version {version} here was broken; it is thrown away");
                (Some(version), WireError::new(ErrorCode::ChecksumMismatch, why))
            }
            ComputeFailure::Element(error) => (None, WireError::new(ErrorCode::BadElement, error.to_string())),
            ComputeFailure::Panicked(why) => {
                let why =
                    format!("computing segment {segment} with '{}' panicked: {why}; please report this", task.program);
                (None, WireError::new(ErrorCode::Internal, why))
            }
        };
        Refusal { source, error: Box::new(error.segments([segment])) }
    }
}
