//! Who can compute a segment: whoever has that segment of all that is read. Arrays of equal length lie side by side, so mostly
//! that is everybody who has one of them; after failures it may be nobody, and then what is missing is fetched first.

use super::{Cluster, Member};
use crate::cluster::copies::Haste;
use array::Operation;
use protocol::message::worker::DropCopies;
use protocol::{CopyId, CopyRecord, ErrorCode, SegmentIndex, VersionId, WireError, WorkerId};
use std::collections::BTreeSet;

/// How often what is missing for a segment is fetched, before the operation fails.
const GATHERED_MAX: u32 = 8;

impl Cluster {
    /// Workers that have this segment of everything that is read, the primary of the first input first. Those of level 1 know named
    /// operations only.
    pub(super) fn computers(
        &self,
        inputs: &[VersionId],
        segment: SegmentIndex,
        named: Option<Operation>,
    ) -> Vec<WorkerId> {
        let Some((first, others)) = inputs.split_first() else { return Vec::new() };
        let has_all = |worker: &WorkerId| others.iter().all(|input| self.has(worker, CopyId(*input, segment)));
        let knows = |worker: &WorkerId| named.is_some() || self.members[worker].level() > 1;
        let mut readers = self.readers(CopyId(*first, segment));
        let gathered = self.gathered_by(CopyId(*first, segment)).filter(|worker| !readers.contains(worker));
        let gathered: Vec<WorkerId> = gathered.cloned().collect();
        readers.extend(gathered);
        readers.retain(|worker| has_all(worker) && knows(worker));
        readers
    }

    /// Whether a worker that can be asked now has a copy of the catalog, or has fetched it for an operation.
    fn has(&self, worker: &WorkerId, copy: CopyId) -> bool {
        let crc32c = self.catalog.segment(copy).map(|segment| segment.crc32c);
        self.live(worker).is_some_and(|member| crc32c.is_some() && member.holds(copy) == crc32c)
    }

    /// Workers that have fetched a copy for an operation.
    fn gathered_by(&self, copy: CopyId) -> impl Iterator<Item = &WorkerId> {
        let fetched = self.operations.values().flat_map(|running| &running.gathered);
        fetched.filter(move |(gathered, worker)| *gathered == copy && self.has(worker, copy)).map(|(_, worker)| worker)
    }

    /// Whether an operation has had a worker fetch this copy.
    pub(in crate::cluster) fn is_gathered(&self, copy: CopyId, worker: &WorkerId) -> bool {
        self.operations.values().any(|running| running.gathered.contains(&(copy, worker.clone())))
    }

    /// Workers that know more than named operations.
    pub(super) fn native_workers(&self) -> impl Iterator<Item = (&WorkerId, &Member)> {
        self.members.iter().filter(|(_, member)| member.level() > 1 && member.up)
    }

    /// Whether there is somebody who knows more than named operations; an error if nobody will come soon.
    pub(super) fn any_native_worker(&self, what: &str) -> Result<bool, WireError> {
        if self.native_workers().next().is_some() {
            return Ok(true);
        }
        match self.hopes() {
            true => Ok(false),
            false => {
                let text = format!(
                    "nobody can compute {what}: all workers that are alive are of the original system, which knows \
                     example1 and example2; start a worker of this one"
                );
                Err(WireError::new(ErrorCode::Unsupported, text))
            }
        }
    }

    /// Who should fetch what to be able to compute a segment: the one that lacks least, with what it lacks. Those come last who do
    /// not reach anybody that has it.
    pub(super) fn gatherer(&self, inputs: &[VersionId], segment: SegmentIndex) -> Option<(WorkerId, Vec<CopyId>)> {
        let copies: Vec<CopyId> = inputs.iter().map(|input| CopyId(*input, segment)).collect();
        let lacks = |worker: &WorkerId| -> Vec<CopyId> {
            copies.iter().filter(|copy| !self.has(worker, **copy)).copied().collect()
        };
        let able = self.native_workers().filter(|(_, member)| member.stays());
        let able = able.map(|(worker, member)| (lacks(worker), member.fetching, worker.clone()));
        let best = able.min_by_key(|(lacks, fetching, worker)| {
            let reaches_all = lacks.iter().all(|copy| self.reaches(worker, &self.readers(*copy)));
            (!reaches_all, lacks.len(), *fetching)
        });
        best.map(|(lacks, _, worker)| (worker, lacks))
    }

    /// Whether all that somebody lacks to compute a segment is on its way there.
    fn is_gathering(&self, inputs: &[VersionId], segment: SegmentIndex) -> bool {
        let comes = |copy: CopyId, worker: &WorkerId| {
            let transfer = (copy, worker.clone());
            self.transfers.contains_key(&transfer) && !self.failed_transfers.contains_key(&transfer)
        };
        let gathers = |worker: &WorkerId| {
            let copies = inputs.iter().map(|input| CopyId(*input, segment));
            let mut lacks = copies.filter(|copy| !self.has(worker, *copy)).peekable();
            lacks.peek().is_some() && lacks.all(|copy| comes(copy, worker))
        };
        self.native_workers().any(|(worker, member)| member.stays() && gathers(worker))
    }

    /// Has somebody fetch what it lacks to compute a segment. Else says why nobody ever will.
    pub(super) fn gather(&mut self, id: VersionId, segment: SegmentIndex) -> Result<(), WireError> {
        let running = &self.operations[&id];
        let (inputs, name) = (running.plan.inputs.clone(), running.plan.array_name.clone());
        for input in &inputs {
            if self.readers(CopyId(*input, segment)).is_empty() {
                return match self.hopes() {
                    true => Ok(()), // a holder may come back; the next change tries again
                    false => Err(self.segments_lost(&name, *input, self.unreadable(*input))),
                };
            }
        }
        if self.is_gathering(&inputs, segment) {
            return Ok(());
        }
        let Some((worker, lacks)) = self.gatherer(&inputs, segment) else {
            let what = running.text().to_string();
            return self.any_native_worker(&what).map(drop).map_err(|error| error.array(name).segments([segment]));
        };
        let under_way = |copy: &&CopyId| !self.transfers.contains_key(&(**copy, worker.clone()));
        let missing: Vec<CopyId> = lacks.iter().filter(under_way).copied().collect();
        if missing.is_empty() {
            return Ok(());
        }
        let running = self.operations.get_mut(&id).expect("it was just there");
        let work = &mut running.works[segment as usize];
        work.gathers += 1;
        if work.gathers > GATHERED_MAX {
            let text = format!("worker {worker} could not fetch what it lacks of segment {segment} for '{name}'");
            return Err(WireError::new(ErrorCode::Internal, text).array(name).segments([segment]).workers([worker]));
        }
        running.gathered.extend(missing.iter().map(|copy| (*copy, worker.clone())));
        missing.into_iter().for_each(|copy| self.fetch(copy, &worker));
        Ok(())
    }

    /// Has a worker fetch a copy of the catalog.
    fn fetch(&mut self, copy: CopyId, target: &WorkerId) {
        let Some(version) = self.catalog.version(copy.version()) else { return };
        let (crc32c, bytes) = (version.segments[copy.segment() as usize].crc32c, version.segment_bytes(copy.segment()));
        let (dtype, record) = (version.dtype, CopyRecord(copy.version(), copy.segment(), crc32c, bytes));
        self.start_fetch(record, dtype, target, &self.readers(copy), Haste::Awaited);
    }

    /// A copy that was fetched for an operation will be one of the catalog's, and stays when the operation ends.
    pub(in crate::cluster) fn keep_gathered(&mut self, copy: CopyId, worker: &WorkerId) {
        let gathered = (copy, worker.clone());
        for running in self.operations.values_mut() {
            running.gathered.remove(&gathered);
        }
    }

    /// Drops what was fetched for an operation that has ended, unless another one computes with it there, or waits for it: then it is
    /// that one's from now on.
    pub(super) fn drop_gathered(&mut self, gathered: BTreeSet<(CopyId, WorkerId)>) {
        for (copy, worker) in gathered {
            let is_holder = self.catalog.segment(copy).is_some_and(|segment| segment.holders.contains(&worker));
            if is_holder || self.is_gathered(copy, &worker) {
                continue;
            }
            if let Some(heir) = self.operations.values_mut().find(|running| running.is_computed_with(copy, &worker)) {
                heir.gathered.insert((copy, worker));
                continue;
            }
            self.forget_transfer(copy, &worker);
            if let Some(member) = self.members.get_mut(&worker) {
                member.remove(copy);
                self.tell(&worker, DropCopies { copies: vec![copy], ..DropCopies::default() });
            }
        }
    }
}
