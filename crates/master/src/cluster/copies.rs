//! Copies: how many a segment needs, fetching missing ones, dropping useless ones.
//!
//! A copy moves by `RECOVER_DATA`: the worker that shall have it fetches it from one that has it, and says so. The same
//! is used to complete what is being written or computed ([`Cluster::ensure_copies`], before it is acknowledged) and to
//! mend what a worker's death has thinned out ([`Cluster::repair`]).

use super::placement::{Candidate, place_replica};
use super::{Cluster, Member};
use array::DType;
use protocol::message::client::{Endpoint, IncidentKind};
use protocol::message::worker::{CopiesChanged, DropCopies, RecoverData, RecoveryComplete};
use protocol::{CopyId, CopyRecord, VersionId, WorkerId, limits};
use std::time::Duration;

/// How long a worker that could not fetch a copy is not asked for it again. Whoever has it may be dead without the master knowing
/// yet: eight tries in that pace, as many as an operation makes, last longer than it takes to notice.
const FETCH_PAUSE: Duration = Duration::from_millis(250);

/// How long others are asked first, after a worker got nothing from one that has a copy: the network between the two may be cut, and
/// finding that out again takes two seconds each time.
const ESTRANGED: Duration = Duration::from_secs(10);

/// Copies one worker fetches at a time: two are under way, the others keep it from waiting for the master.
const TRANSFERS_PER_WORKER: usize = 4;

/// Copies that repair looks for at a time, for each worker: some have no target now, so more than can be started.
const REPAIRS_PER_WORKER: usize = 2 * TRANSFERS_PER_WORKER;

/// With two copies or more left, repair waits this long for the worker to come back; then no byte has to move.
const REPAIR_GRACE: Duration = Duration::from_secs(1);

/// How long after a client has asked for work he is thought to ask for more.
const AT_WORK: Duration = Duration::from_secs(1);

impl Cluster {
    /// Copies that something can have with the workers there are.
    pub(super) fn required_copies(&self, replication: u32) -> usize {
        self.members.values().filter(|member| member.stays()).count().min(replication as usize)
    }

    /// Verified copies that a write needs before it is acknowledged: as many as there can be, and those that are demanded even if
    /// there are too few workers for them.
    pub(super) fn acknowledged_copies(&self, replication: u32) -> usize {
        let demanded = self.config.min_copies.min(replication).max(1) as usize;
        self.required_copies(replication).max(demanded)
    }

    /// Those who have a copy now, in the order given, then any others.
    pub(super) fn live_holders(&self, copy: CopyId, crc32c: u32, order: &[WorkerId]) -> Vec<WorkerId> {
        let has = |worker: &&WorkerId| self.live(worker).is_some_and(|member| member.holds(copy) == Some(crc32c));
        let mut holders: Vec<WorkerId> = order.iter().filter(has).cloned().collect();
        for (worker, member) in &self.members {
            if member.up && member.holds(copy) == Some(crc32c) && !holders.contains(worker) {
                holders.push(worker.clone());
            }
        }
        holders
    }

    /// Holders of a segment of the catalog that can be asked now, the primary first, suspects last.
    pub(super) fn readers(&self, copy: CopyId) -> Vec<WorkerId> {
        let Some(segment) = self.catalog.segment(copy) else {
            return Vec::new();
        };
        let has =
            |worker: &&WorkerId| self.live(worker).is_some_and(|member| member.holds(copy) == Some(segment.crc32c));
        let live = segment.holders.iter().filter(has);
        let mut readers: Vec<WorkerId> = live.cloned().collect();
        readers.sort_by_key(|worker| self.members[worker].suspect);
        readers
    }

    /// Address book of some workers.
    pub(super) fn endpoints(&self, workers: &[WorkerId]) -> Vec<Endpoint> {
        let endpoint = |worker: &WorkerId| {
            let address = self.members.get(worker)?.hello.address.clone();
            Some(Endpoint { worker: worker.clone(), address })
        };
        workers.iter().filter_map(endpoint).collect()
    }

    /// Workers that could take copies, but for some.
    pub(super) fn candidates(&self, except: &[WorkerId]) -> Vec<Candidate> {
        let others = self.placeable().filter(|(worker, _)| !except.contains(worker));
        let candidate = |(worker, member): (&WorkerId, &Member)| Candidate {
            worker: worker.clone(),
            cores: member.threads(),
            memory_bytes: member.hello.memory_bytes,
            free_bytes: member.free_bytes(),
            zone: member.hello.zone.clone(),
        };
        others.map(candidate).collect()
    }

    /// Sees to it that a copy exists `required` times. True when it does, or when no more can be had and `min_copies`
    /// exist; false while there is something to wait for. Workers of `preferred` get it before others.
    pub(super) fn ensure_copies(
        &mut self,
        copy: CopyRecord,
        dtype: DType,
        have: &[WorkerId],
        required: usize,
        preferred: &[WorkerId],
    ) -> bool {
        if have.len() >= required {
            return true;
        }
        let first = (copy.id(), WorkerId::from(""));
        let under_way = self.transfers.range(first..).take_while(|((id, _), _)| *id == copy.id());
        let mut holders = have.to_vec();
        holders.extend(under_way.map(|((_, target), _)| target.clone()));
        while holders.len() < required {
            match self.start_transfer(copy, dtype, have, &holders, preferred, Haste::Awaited) {
                Target::Chosen(target) => holders.push(target),
                Target::AllBusy => return false,
                Target::None => break,
            }
        }
        let all_there = holders.len() == have.len() || planted::bug!(AckBeforeCopies);
        all_there && have.len() >= self.config.min_copies as usize
    }

    /// Has one more worker fetch a copy from those who `have` it: if possible one that reaches them, and among those one of
    /// `preferred`; `holders` have or fetch it already.
    fn start_transfer(
        &mut self,
        copy: CopyRecord,
        dtype: DType,
        have: &[WorkerId],
        holders: &[WorkerId],
        preferred: &[WorkerId],
        haste: Haste,
    ) -> Target {
        let mut candidates = self.candidates(holders);
        prefer(&mut candidates, |candidate| candidate.free_bytes >= copy.bytes());
        prefer(&mut candidates, |candidate| self.reaches(&candidate.worker, have));
        prefer(&mut candidates, |candidate| preferred.contains(&candidate.worker));
        let idle = |candidate: &Candidate| self.members[&candidate.worker].fetching < TRANSFERS_PER_WORKER;
        let (idle, busy): (Vec<_>, Vec<_>) = candidates.into_iter().partition(idle);
        let zones: Vec<Option<&str>> = holders
            .iter()
            .filter_map(|holder| self.members.get(holder))
            .map(|member| member.hello.zone.as_deref())
            .collect();
        let Some(target) = place_replica(copy.1, copy.bytes(), &zones, &idle) else {
            // A suspect one is alive or down in a moment.
            let suspects =
                self.members.iter().any(|(id, member)| member.stays() && member.suspect && !holders.contains(id));
            return if busy.is_empty() && !suspects { Target::None } else { Target::AllBusy };
        };
        self.start_fetch(copy, dtype, &target, have, haste);
        Target::Chosen(target)
    }

    /// Whether a worker reaches one of those who have a copy, as far as is known.
    pub(super) fn reaches(&self, target: &WorkerId, have: &[WorkerId]) -> bool {
        have.iter().any(|giver| !self.estranged.contains_key(&(giver.clone(), target.clone())))
    }

    /// Tells a worker to fetch a copy from those who have it.
    pub(super) fn start_fetch(
        &mut self,
        copy: CopyRecord,
        dtype: DType,
        target: &WorkerId,
        have: &[WorkerId],
        haste: Haste,
    ) {
        let sources = self.endpoints(have);
        log::debug!(
            "worker {target} fetches {} from {}",
            copy.id(),
            sources.iter().map(|s| s.worker.as_str()).collect::<Vec<_>>().join(", ")
        );
        if let Some(member) = self.members.get_mut(target) {
            member.fetching += 1;
            member.promised += copy.bytes();
        }
        self.transfers.insert((copy.id(), target.clone()), self.now.elapsed);
        protocol::fault_point!(RepairNotTold);
        let background = haste == Haste::Background && self.clients_are_at_work();
        self.tell(target, RecoverData { copy, dtype, sources, background });
        if planted::bug!(FetchCountedAtOnce) {
            self.take_copy(target, copy);
        }
    }

    /// Whether clients wait for something that takes processors or the network, or did a moment ago and may again.
    fn clients_are_at_work(&self) -> bool {
        let lately = self.last_work.is_some_and(|at| self.now.elapsed < at + AT_WORK);
        lately || !self.operations.is_empty() || !self.uploads.is_empty()
    }

    /// Fetches copies that are missing in the catalog, those of segments with the fewest copies first.
    pub(super) fn repair(&mut self) {
        let capacity =
            |cluster: &Cluster| cluster.placeable().any(|(_, member)| member.fetching < TRANSFERS_PER_WORKER);
        if !self.settled() || !capacity(self) {
            return;
        }
        let grace_over = self.now.elapsed >= self.last_down + REPAIR_GRACE;
        let workers = self.placeable().count() as u32;
        // Only so many can be started before all workers are busy; the rest is for later.
        let limit = workers as usize * REPAIRS_PER_WORKER;
        let fewest = if planted::bug!(LastCopyNotRepaired) { 2 } else { 1 };
        let worth_it =
            |(copies, _): &&(u32, CopyId)| *copies >= fewest && *copies < workers && (*copies == 1 || grace_over);
        let thin = self.catalog.under_replicated().iter().filter(worth_it).map(|(_, copy)| *copy);
        let fetched = |copy: &CopyId| {
            self.transfers.range((*copy, WorkerId::from(""))..).next().is_some_and(|((id, _), _)| id == copy)
        };
        let thin: Vec<CopyId> = thin.filter(|copy| !fetched(copy)).take(limit).collect();
        for copy in thin.into_iter().chain(self.copies_only_on_draining(limit)) {
            self.repair_segment(copy);
            if !capacity(self) {
                return;
            }
        }
    }

    fn repair_segment(&mut self, id: CopyId) {
        let Some(version) = self.catalog.version(id.version()) else {
            return;
        };
        let (dtype, replication) = (version.dtype, version.replication);
        let Some(segment) = version.segments.get(id.segment() as usize) else {
            return;
        };
        let copy = CopyRecord(id.version(), id.segment(), segment.crc32c, version.segment_bytes(id.segment()));
        let order = segment.holders.clone();
        let have = self.live_holders(id, copy.crc32c(), &order);
        let staying = have.iter().filter(|worker| !self.members[*worker].draining).count();
        let under_way =
            self.transfers.range((id, WorkerId::from(""))..).take_while(|((other, _), _)| *other == id).count();
        if have.is_empty() || staying + under_way >= self.required_copies(replication) {
            return;
        }
        let mut holders = have.clone();
        holders.extend(order);
        self.start_transfer(copy, dtype, &have, &holders, &[], Haste::Background);
    }

    /// Segments that would have too few copies if the draining workers went now.
    fn copies_only_on_draining(&self, limit: usize) -> Vec<CopyId> {
        let draining = self.members.iter().filter(|(_, member)| member.draining && member.up);
        let held = draining.flat_map(|(worker, _)| self.catalog.holdings(worker));
        held.filter(|copy| !self.survives_draining(*copy)).take(limit).collect()
    }

    /// Whether a segment has all the copies it can have on workers that stay.
    fn survives_draining(&self, copy: CopyId) -> bool {
        let Some(version) = self.catalog.version(copy.version()) else {
            return true;
        };
        let stays = |worker: &&WorkerId| self.live(worker).is_some_and(|member| !member.draining);
        let staying = self.catalog.segment(copy).map_or(0, |segment| segment.holders.iter().filter(stays).count());
        staying >= self.required_copies(version.replication).max(1)
    }

    /// Whether a worker can go without a trace.
    pub(super) fn is_dispensable(&self, worker: &WorkerId) -> bool {
        let busy =
            self.members.get(worker).is_some_and(|member| !member.in_flight.is_empty() || !member.queue.is_empty());
        let staged = self.uploads.keys().chain(self.operations.keys());
        let holds_staged = staged.into_iter().any(|version| self.holds_any(worker, *version));
        // What it is being sent it may have without our having heard of it.
        let is_written_to = self.uploads.values().any(|upload| upload.is_planned_on(worker));
        !busy
            && !holds_staged
            && !is_written_to
            && (planted::bug!(DrainedTooEarly)
                || self.catalog.holdings(worker).all(|copy| self.survives_draining(copy)))
    }

    fn holds_any(&self, worker: &WorkerId, version: VersionId) -> bool {
        self.members.get(worker).is_some_and(|member| member.holds_version(version))
    }

    pub(super) fn on_recovery_complete(&mut self, worker: &WorkerId, complete: RecoveryComplete) {
        protocol::fault_point!(RepairReported);
        let copy = complete.copy;
        let is_expected = self.transfers.remove(&(copy.id(), worker.clone())).is_some();
        if let (None, Some(busy_us)) = (&complete.error, complete.busy_us) {
            self.costs.moved(copy.bytes(), busy_us);
        }
        if let Some(member) = self.members.get_mut(worker).filter(|_| is_expected) {
            member.fetching = member.fetching.saturating_sub(1);
        }
        self.changed = true;
        if !is_expected {
            return; // the instruction to drop it may have crossed this; its heartbeats tell whether it is there
        }
        if let Some(error) = complete.error {
            log::warn!("worker {worker} could not fetch {}: {error}", copy.id());
            if self.members.contains_key(worker) {
                let key = (copy.id(), worker.clone());
                self.transfers.insert(key.clone(), self.now.elapsed);
                self.failed_transfers.insert(key, self.now.elapsed + FETCH_PAUSE);
                for giver in self.live_holders(copy.id(), copy.crc32c(), &[]) {
                    self.estranged.insert((giver, worker.clone()), self.now.elapsed + ESTRANGED);
                }
            }
            return;
        }
        self.count_moved(copy.bytes());
        self.count_received(worker, copy);
        self.take_copy(worker, copy);
    }

    /// A worker has a copy that it did not have.
    fn take_copy(&mut self, worker: &WorkerId, copy: CopyRecord) {
        let in_catalog = self.catalog.version(copy.0).is_some();
        let wanted = match in_catalog {
            true => self.counts_in_catalog(worker, copy),
            false => self.is_needed(copy.0) || planted::bug!(FetchedAfterDrop),
        };
        if !wanted && !self.is_gathered(copy.id(), worker) {
            return self.tell(worker, DropCopies { copies: vec![copy.id()], ..DropCopies::default() });
        }
        if let Some(member) = self.members.get_mut(worker) {
            member.add(copy);
        }
        if in_catalog && wanted {
            self.keep_gathered(copy.id(), worker);
            self.copies_added.push((copy.id(), worker.clone()));
        }
    }

    /// Whether a worker's copy is that of the catalog, and one that its segment can use. A copy is one too many only beside enough
    /// others that are there: who else is listed may be dead, or may have handed over and left just before a power loss, which takes
    /// with it who got the copies.
    pub(super) fn counts_in_catalog(&self, worker: &WorkerId, copy: CopyRecord) -> bool {
        let Some(version) = self.catalog.version(copy.0) else {
            return false;
        };
        let Some(segment) = version.segments.get(copy.1 as usize) else {
            return false;
        };
        if segment.crc32c != copy.crc32c() || version.segment_bytes(copy.1) != copy.bytes() {
            return false;
        }
        let replication = version.replication as usize;
        let is_one_of_few = segment.holders.len() <= replication && segment.holders.contains(worker);
        let holds = |(other, member): &(&WorkerId, &Member)| {
            let is_good = member.holds(copy.id()) == Some(segment.crc32c);
            *other != worker && !member.draining && is_good && !self.is_gathered(copy.id(), other)
        };
        is_one_of_few || self.members.iter().filter(holds).count() < replication
    }

    /// Sees to it that the catalog knows the copies that a worker holds of its versions (of one, or of all), and no others. They
    /// differ when a copy was reported, or broke, while the command that names its version, or its holder, was on its way into
    /// the log.
    pub(super) fn reconcile(&mut self, worker: &WorkerId, version: Option<VersionId>) {
        let Some(member) = self.members.get(worker).filter(|member| member.up) else { return };
        let gone = |copy: &CopyId| member.holds(*copy).is_none();
        let gone: Vec<CopyId> = match version {
            Some(version) => self.catalog.holdings_of(worker, version).filter(gone).collect(),
            None => self.catalog.holdings(worker).filter(gone).collect(),
        };
        self.copies_removed.extend(gone.into_iter().map(|copy| (copy, worker.clone())));
        let unlisted = |copy: &CopyRecord| {
            let segment = self.catalog.segment(copy.id());
            segment.is_some_and(|segment| !segment.holders.contains(worker))
        };
        let copies: Vec<CopyRecord> = member.records(version).filter(unlisted).collect();
        copies.into_iter().for_each(|copy| self.take_copy(worker, copy));
    }

    /// The same for all workers, when a version has come into being.
    pub(super) fn reconcile_version(&mut self, version: VersionId) {
        let workers: Vec<WorkerId> = self.members.keys().cloned().collect();
        workers.iter().for_each(|worker| self.reconcile(worker, Some(version)));
    }

    /// Copies arrived on a worker's data port, or broke.
    pub(super) fn on_copies_changed(&mut self, worker: &WorkerId, changed: CopiesChanged) {
        for copy in changed.stored {
            self.touch_upload(copy.0);
            self.take_copy(worker, copy);
        }
        for copy in changed.broken {
            self.on_broken_copy(worker, copy);
        }
        self.changed = true;
    }

    /// A copy did not have the bytes it should have.
    pub(super) fn on_broken_copy(&mut self, worker: &WorkerId, copy: CopyId) {
        if self.lose_copy(worker, copy) {
            self.record_incident(
                IncidentKind::BrokenCopy,
                worker,
                format!("its copy of {copy} did not have its checksum"),
            );
        }
    }

    /// A worker does not have a copy that it was thought to have. False if that was known already.
    pub(super) fn lose_copy(&mut self, worker: &WorkerId, copy: CopyId) -> bool {
        let news = self.members.get_mut(worker).is_some_and(|member| member.remove(copy));
        if self.catalog.segment(copy).is_some_and(|segment| segment.holders.contains(worker)) {
            self.copies_removed.push((copy, worker.clone()));
        }
        self.changed = true;
        news
    }

    /// Tells the catalog about copies that came and went. Not synced: inventories tell it again after a restart.
    pub(super) fn flush_copies(&mut self) {
        if self.copies_added.is_empty() && self.copies_removed.is_empty() {
            return;
        }
        let added = std::mem::take(&mut self.copies_added);
        let removed = std::mem::take(&mut self.copies_removed);
        self.propose(super::Command::CopiesChanged { added, removed }, false, super::Then::Nothing);
    }

    /// Whether anybody may still ask for a version.
    pub fn is_needed(&self, version: VersionId) -> bool {
        self.catalog.version(version).is_some()
            || self.uploads.contains_key(&version)
            || self.operations.contains_key(&version)
            || self.operations.values().any(|running| running.reads(version))
            || !planted::bug!(PinIgnored) && self.pins.values().any(|pin| pin.version == version)
    }

    /// Copies that are being fetched are not wanted any more.
    pub(super) fn forget_transfers_of(&mut self, copy: CopyId) {
        let first = (copy, WorkerId::from(""));
        let of_copy = self.transfers.range(first..).take_while(|((id, _), _)| *id == copy);
        let fetching: Vec<WorkerId> = of_copy.map(|((_, target), _)| target.clone()).collect();
        fetching.iter().for_each(|target| self.forget_transfer(copy, target));
    }

    /// A copy that a worker is fetching, if it is, is not waited for any more.
    pub(super) fn forget_transfer(&mut self, copy: CopyId, target: &WorkerId) {
        let was_under_way = self.transfers.remove(&(copy, target.clone())).is_some()
            && self.failed_transfers.remove(&(copy, target.clone())).is_none();
        if let Some(member) = self.members.get_mut(target).filter(|_| was_under_way) {
            member.fetching = member.fetching.saturating_sub(1);
        }
    }

    pub(super) fn forget_transfers_to(&mut self, worker: &WorkerId) {
        self.transfers.retain(|(_, target), _| target != worker);
        self.failed_transfers.retain(|(_, target), _| target != worker);
    }

    /// Gives up transfers that take too long; whoever needs the copy asks for it again, elsewhere if possible.
    pub(super) fn watch_transfers(&mut self) {
        let now = self.now.elapsed;
        let patience = |copy: &CopyId| {
            let bytes = self.catalog.version(copy.version()).map_or(0, |version| version.segment_bytes(copy.segment()));
            // One payload time for each of the transfers that may be before it in the queue.
            limits::payload_timeout(bytes).min(Duration::from_secs(60)) * (TRANSFERS_PER_WORKER as u32 / 2)
        };
        let late = self.transfers.iter().filter(|((copy, _), since)| now - **since >= patience(copy));
        let late: Vec<(CopyId, WorkerId)> = late.map(|(key, _)| key.clone()).collect();
        for (copy, target) in late {
            log::warn!("worker {target} takes too long to fetch {copy}");
            self.forget_transfer(copy, &target);
        }
        let rested = self.failed_transfers.iter().filter(|(_, until)| now >= **until);
        let rested: Vec<(CopyId, WorkerId)> = rested.map(|(key, _)| key.clone()).collect();
        for (copy, target) in rested {
            self.forget_transfer(copy, &target);
        }
        self.estranged.retain(|_, until| now < *until);
    }
}

/// Leaves those that are better, if any is.
fn prefer(candidates: &mut Vec<Candidate>, is_better: impl Fn(&Candidate) -> bool) {
    if candidates.iter().any(&is_better) {
        candidates.retain(is_better);
    }
}

/// Whether somebody waits for a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Haste {
    Awaited,
    /// It is for safety, and gives way to what clients ask for.
    Background,
}

/// Who shall have one more copy.
enum Target {
    Chosen(WorkerId),
    /// There are workers for it, but all have enough to do.
    AllBusy,
    /// Nobody is left.
    None,
}
