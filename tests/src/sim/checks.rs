//! What must hold: the invariants of the reliability plan, checked while a run goes on and at its end.

use super::faults::Kind;
use super::processes::WorkerNode;
use super::{Life, Node, PLENTY, World};
use master::cluster::Cluster;
use master::cluster::catalog::Catalog;
use protocol::message::Body;
use protocol::message::client::{
    ArrayCommitted, Durability, OperationComplete, OperationState, Receipt, WorkerInfo, WorkerReceipt, WorkerState,
};
use protocol::{CopyId, Epoch, Message, Reference, SessionId, VersionId, WorkerId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The expensive checks are made once in so many steps of the master.
const EXPENSIVE_EVERY: u64 = 256;

/// A copy whose holder died so recently may be counted in an acknowledgement: nobody could have known yet.
const DETECTION: Duration = Duration::from_millis(2500);

/// What the checks remember.
#[derive(Debug, Default)]
pub struct Checker {
    steps: u64,
    /// Changes of the catalog that have been looked at.
    index: u64,
    /// The newest epoch of each segment, and who was primary then.
    epochs: BTreeMap<VersionId, Vec<(Epoch, Option<WorkerId>)>>,
    /// The newest epoch of all before the last power loss: whatever changes after it has a newer one, though it may have taken
    /// back some that were not on the disk.
    floor: Epoch,
    /// The newest incarnation of each worker.
    incarnations: BTreeMap<WorkerId, u64>,
    /// What clients were told to exist. What they are told again was true then, and may have lost copies since; so may what an
    /// earlier master has written to the log and not told.
    pub(crate) told: BTreeSet<VersionId>,
    /// What each request that changed something was answered, whatever connection the answer took.
    answers: BTreeMap<(Life, SessionId, u64), String>,
    /// Copies that broke: they may be thrown away between a commit and its answer.
    pub(crate) flipped: BTreeSet<CopyId>,
    /// When workers were killed; as much later as the master has stood still since then.
    pub(crate) killed: Vec<Duration>,
    /// Since when the master stands still.
    pub(crate) master_stopped: Option<Duration>,
    /// When the master last had no worker but those of level 1, or none that it was sure of.
    pub(crate) without_native: Option<Duration>,
    /// When the last power loss was.
    pub(crate) power_lost: Option<Duration>,
    /// When the first fault came, and when the last one came or ended.
    pub(crate) disturbed: Option<Duration>,
    pub(crate) disturbed_last: Duration,
}

/// What the master believes, as far as stories tell it.
#[derive(Debug, Default)]
pub struct Watch {
    workers: BTreeMap<WorkerId, String>,
    versions: BTreeMap<VersionId, Watched>,
}

/// One version.
#[derive(Debug, PartialEq)]
struct Watched {
    copies: usize,
    target: usize,
    primaries: Vec<Option<WorkerId>>,
}

impl Checker {
    /// After every change of the catalog: epochs and incarnations never go back, and a segment has one primary in each epoch.
    fn check_catalog(&mut self, catalog: &Catalog) {
        for (id, version) in catalog.versions() {
            let before = self.epochs.entry(id).or_default();
            for (n, segment) in version.segments.iter().enumerate() {
                let (now, primary) = (segment.epoch, segment.holders.first());
                match before.get_mut(n) {
                    None => before.push((now, primary.cloned())),
                    Some((epoch, known)) => {
                        assert!(*epoch <= now, "the epoch of {id}/{n} went from {epoch} back to {now}");
                        if let (Some(known), Some(primary)) = (&known, primary) {
                            assert!(
                                *epoch < now || known == primary,
                                "{id}/{n} has two primaries in epoch {now}: {known} and {primary}"
                            );
                        }
                        assert!(*epoch == now || now > self.floor, "the epoch {now} of {id}/{n} was given before");
                        if *epoch < now || known.is_none() && primary.is_some() {
                            (*epoch, *known) = (now, primary.cloned());
                        }
                    }
                }
            }
        }
        for (worker, record) in catalog.workers() {
            let before = self.incarnations.entry(worker.clone()).or_default();
            *before = (*before).max(record.incarnation);
        }
    }

    /// An answer that was not on the disk is forgotten with its request, which is run anew if it comes again.
    pub(crate) fn forget_answers(&mut self) {
        self.answers.clear();
    }

    /// A power loss has taken back what was not on the disk.
    pub(crate) fn go_back_to(&mut self, catalog: &Catalog) {
        let known = self.epochs.values().flatten().map(|(epoch, _)| *epoch).max();
        self.floor = self.floor.max(known.unwrap_or_default());
        self.epochs.clear();
        self.check_catalog(catalog);
    }
}

impl World {
    /// After every step of the master.
    pub(crate) fn check_master(&mut self) {
        self.checker.steps += 1;
        if self.watched {
            self.watch_master();
        }
        if self.plan.level_1 > 0 {
            self.look_for_native_workers();
        }
        let Some(cluster) = &self.master.cluster else { return };
        cluster.check_bounds();
        if cluster.catalog().index() != self.checker.index {
            self.checker.index = cluster.catalog().index();
            self.checker.check_catalog(cluster.catalog());
        }
        if self.checker.steps.is_multiple_of(EXPENSIVE_EVERY) {
            self.check_thoroughly();
        }
    }

    /// All checks, now.
    pub fn check_now(&mut self) {
        self.check_thoroughly();
    }

    fn look_for_native_workers(&mut self) {
        let Some(cluster) = &self.master.cluster else { return };
        let is_native = |worker: &WorkerInfo| World::worker_number(&worker.id) >= self.plan.level_1;
        let alive = |worker: &WorkerInfo| worker.state == WorkerState::Alive;
        if !cluster.list_workers().workers.iter().any(|worker| is_native(worker) && alive(worker)) {
            self.checker.without_native = Some(self.now);
        }
    }

    /// A receipt must add up. What was computed and could not be told, because its connection was lost, is in none.
    pub(crate) fn check_receipt(&self, receipt: &Receipt, input_bytes: u64) {
        if !receipt.workers.is_empty() {
            let sum = |bytes: fn(&WorkerReceipt) -> u64| receipt.workers.iter().map(bytes).sum::<u64>();
            assert_eq!(receipt.bytes_read, sum(|worker| worker.bytes_read), "{receipt:?}");
            assert_eq!(receipt.bytes_written, sum(|worker| worker.bytes_written), "{receipt:?}");
        }
        let undisturbed = self.plan.network.loss_one_in == 0 && self.checker.disturbed.is_none() && !self.watched;
        if undisturbed && self.plan.level_1 == 0 && self.plan.worker_bytes == PLENTY {
            assert!(receipt.bytes_read >= input_bytes, "{input_bytes} bytes at least must be read: {receipt:?}");
            assert_eq!((receipt.retries, receipt.promoted), (0, 0), "nothing has failed: {receipt:?}");
        }
    }

    /// Writes down what has changed in what the master believes: workers, and versions with their copies.
    fn watch_master(&mut self) {
        let Some(cluster) = &self.master.cluster else { return };
        let mut now = Watch::default();
        for worker in cluster.list_workers().workers {
            now.workers.insert(worker.id, format!("{:?}", worker.state).to_lowercase());
        }
        for (id, version) in cluster.catalog().versions() {
            let copies = version.segments.iter().map(|segment| segment.holders.len()).min();
            let primaries = version.segments.iter().map(|segment| segment.holders.first().cloned()).collect();
            let target = version.replication as usize;
            now.versions.insert(id, Watched { copies: copies.unwrap_or(target), target, primaries });
        }
        let before = std::mem::replace(&mut self.watch, now);
        let mut news = Vec::new();
        for (worker, state) in &self.watch.workers {
            match before.workers.get(worker) {
                Some(old) if old != state => news.push(format!("master: {worker} {old} -> {state}")),
                None => news.push(format!("master: {worker} is {state}")),
                _ => {}
            }
        }
        for (id, version) in &self.watch.versions {
            let Some(old) = before.versions.get(id).filter(|old| *old != version) else { continue };
            let changed = old.primaries.iter().zip(&version.primaries).filter(|(old, new)| old != new && new.is_some());
            let (promoted, target) = (changed.count(), version.target);
            news.push(format!(
                "master: {id} copies {}/{target} -> {}/{target}, {promoted} promoted",
                old.copies, version.copies
            ));
        }
        news.extend(
            before
                .versions
                .keys()
                .filter(|id| !self.watch.versions.contains_key(id))
                .map(|id| format!("master: {id} is gone")),
        );
        news.into_iter().for_each(|what| self.note(what));
    }

    fn check_thoroughly(&mut self) {
        let Some(cluster) = &self.master.cluster else { return };
        cluster.check();
        assert!(self.pool.taken() <= self.pool.limit(), "stand-ins hold more than there is");
        for n in 0..self.workers.len() {
            let Some(store) = &self.workers[n].store else { continue };
            store.check_invariants();
            // What the catalog does not count on a worker may be anything: it is about to be dropped.
            let me = WorkerId::from(World::name_of(Node::Worker(n)).as_str());
            for copy in store.inventory() {
                let counted = cluster.catalog().segment(copy.id()).filter(|segment| segment.holders.contains(&me));
                let expected = counted.map_or(copy.crc32c(), |segment| segment.crc32c);
                assert_eq!(expected, copy.crc32c(), "{me} has another {} than the catalog", copy.id());
            }
        }
    }

    /// An answer that is about to be given: a write must have the copies it says and be as durable as it says, and a request has one
    /// outcome.
    pub(crate) fn check_reply(&mut self, conn: u64, message: &Message) {
        let (handle, copies, durability) = match &message.body {
            Body::ArrayCommitted(ArrayCommitted { handle, copies, durability, .. }) => (handle, *copies, *durability),
            Body::OperationComplete(OperationComplete {
                handle,
                copies,
                durability,
                status: OperationState::Complete,
                ..
            }) => (handle, *copies, *durability),
            _ => return,
        };
        let Some(version) = Reference::parse(handle).version else { panic!("{handle} is no handle") };
        let is_synced = durability != Durability::Synced || self.disk.has_synced(version);
        assert!(is_synced, "{handle} is acknowledged before it is on the disk");
        let demanded = self.plan.min_copies;
        assert!(copies >= demanded, "{handle} is acknowledged with {copies} copies, and {demanded} are demanded");
        if self.checker.told.insert(version) {
            self.check_copies(version, copies);
        }
        let Some(life @ (Node::Client(n), _)) = self.conns.get(&conn).map(|conn| conn.from) else { return };
        if let Some(id) = message.head.id {
            let key = (life, self.clients[n].session_id(), id);
            let first = self.checker.answers.entry(key).or_insert_with(|| handle.clone());
            assert_eq!(first, handle, "request {id} of c{} has two outcomes", n + 1);
        }
    }

    /// The master is stopped, goes on, or ends. While it stands still it notices nobody's death.
    pub(crate) fn master_stands_still(&mut self, stopped: bool) {
        let since = std::mem::replace(&mut self.checker.master_stopped, stopped.then_some(self.now));
        if let Some(since) = since {
            let stood_still = self.now - since;
            self.checker.killed.iter_mut().for_each(|at| *at = (*at + stood_still).min(self.now));
        }
    }

    fn check_copies(&mut self, id: VersionId, copies: u32) {
        let Some(cluster) = &self.master.cluster else { return };
        let Some(version) = cluster.catalog().version(id) else { return };
        let recently = self.checker.killed.iter().filter(|at| self.now.saturating_sub(**at) <= DETECTION).count();
        let mut died_before = false;
        for segment in 0..version.segments.len() as u32 {
            let held = (0..self.workers.len()).filter(|n| self.has_copy(*n, CopyId(id, segment))).count();
            let broken = usize::from(self.checker.flipped.contains(&CopyId(id, segment)));
            assert!(
                held + broken + recently >= copies as usize,
                "{id}/{segment} is acknowledged with {copies} copies, and {held} workers hold it, {recently} died just now"
            );
            died_before |= held == 0 && copies < version.replication;
        }
        // Its last copies died when it was in no catalog yet, so nothing kept the fault away. Nothing but fewer copies than R,
        // and an answer that says so, makes that possible: fewer than R workers were killed.
        self.loss_allowed |= died_before;
    }

    pub(crate) fn has_copy(&self, n: usize, copy: CopyId) -> bool {
        self.workers[n].store.as_ref().is_some_and(|store| store.get(copy).is_some())
    }

    /// Who waits for what, for people.
    pub fn who_waits(&self) -> String {
        let wishes = self.clients.iter().filter_map(|client| client.wish()).map(super::wishes::describe);
        let pending = self.master.cluster.iter().flat_map(|cluster| cluster.pending_requests());
        let waits: Vec<String> = wishes.chain(pending).collect();
        waits.join("; ")
    }

    /// How the workers see their links, for people.
    fn worker_states(&self) -> String {
        let state = |n: usize| {
            let agent = self.workers[n].agent.as_ref();
            let next = agent.and_then(|agent| agent.next_deadline());
            format!(
                "w{}: registered {:?}, next {next:?}, {}",
                n + 1,
                agent.map(|agent| agent.is_registered()),
                self.links_of(n)
            )
        };
        (0..self.workers.len()).map(state).collect::<Vec<_>>().join("\n")
    }

    /// When faults have stopped and some time has passed: nothing is pending, and every segment has its copies.
    pub fn check_healed(&mut self) {
        self.check_thoroughly();
        let live = (0..self.workers.len()).filter(|n| self.is_alive(self.life(Node::Worker(*n)))).count();
        if !self.loss_allowed {
            self.check_nothing_is_lost();
        }
        let cluster = self.master.cluster.as_ref().expect("it runs");
        let pending = cluster.pending_requests();
        assert!(pending.is_empty(), "{}", pending.join("; "));
        for worker in cluster.list_workers().workers {
            let store = self.workers[World::worker_number(&worker.id)].store.as_ref();
            let copies = store.map_or(0, |store| store.copies() as u64);
            assert_eq!(worker.segments, copies, "the master believes something else of {}", worker.id);
        }
        let homeless = |worker: &WorkerNode| worker.agent.as_ref().is_some_and(|agent| !agent.is_registered());
        assert!(!self.workers.iter().any(homeless), "a worker has no master\n{}", self.worker_states());
        let catalog = cluster.catalog();
        for (id, version) in catalog.versions() {
            for (n, segment) in version.segments.iter().enumerate() {
                let wanted = (version.replication as usize).min(live);
                let lost = segment.holders.is_empty() && (self.loss_allowed || self.may_be_gone(id))
                    || !segment.holders.is_empty() && self.plan.worker_bytes < PLENTY;
                assert!(
                    lost || segment.holders.len() >= wanted,
                    "{id}/{n} has {} of {wanted} copies\n{}",
                    segment.holders.len(),
                    self.worker_states()
                );
                for holder in &segment.holders {
                    let holds = self.has_copy(World::worker_number(holder), CopyId(id, n as u32));
                    assert!(holds, "the catalog says that {holder} holds {id}/{n}, and it does not");
                }
            }
        }
        for n in 0..self.workers.len() {
            let Some(store) = &self.workers[n].store else { continue };
            for copy in store.inventory() {
                let me = WorkerId::from(World::name_of(Node::Worker(n)).as_str());
                // Of what the catalog has forgotten, somebody may still be reading: for a minute.
                let is_needed = match catalog.segment(copy.id()) {
                    Some(segment) => segment.holders.contains(&me),
                    None => !self.plan.odd && cluster.is_needed(copy.0),
                };
                assert!(is_needed, "{me} keeps {}, which nobody needs there", copy.id());
            }
            // What a client was storing when it was killed is kept for a minute, which odd runs wait for.
            if self.plan.odd || !self.tally.contains_key(&Kind::KillClient) {
                assert_eq!(store.reserved(), 0, "w{} keeps room for nobody", n + 1);
            }
        }
        assert_eq!(self.disk.replay().hash(), catalog.hash(), "the log tells another story than the catalog");
    }

    /// Whether a worker was asked to end and is not back yet.
    pub fn is_draining(&self) -> bool {
        self.draining.is_some()
    }

    /// Whether everything is as it was before all faults: all answered, all copies there, nobody suspect.
    pub fn is_whole(&self) -> bool {
        let Some(cluster) = self.cluster() else { return false };
        let alive = cluster.list_workers().workers.iter().all(|worker| worker.state == WorkerState::Alive);
        // What has lost its last copy, where that is allowed, stays so.
        let few = cluster.catalog().under_replicated().iter();
        let whole = self.plan.worker_bytes < PLENTY
            || few.into_iter().all(|(_, copy)| {
                let lost = self.loss_allowed || self.may_be_gone(copy.version());
                lost && cluster.catalog().segment(*copy).is_some_and(|segment| segment.holders.is_empty())
            });
        alive && whole && (self.room_is_left_behind() || !cluster.has_pending_requests())
    }

    /// Whether clients that were killed have left uploads behind where memory is short: their room is kept for ten seconds, and
    /// operations wait for it.
    fn room_is_left_behind(&self) -> bool {
        let uploads = self.cluster().map_or(0, |cluster| cluster.cluster_status().uploads);
        self.plan.worker_bytes < PLENTY && uploads > 0 && self.tally.contains_key(&Kind::KillClient)
    }

    /// Whether the master keeps room for uploads, or somebody waits, for that room perhaps.
    pub fn is_occupied(&self) -> bool {
        self.cluster().is_some_and(|cluster| cluster.has_pending_requests() || cluster.cluster_status().uploads > 0)
    }

    /// What keeps [`World::is_whole`] from being true, for people.
    pub fn what_is_missing(&self) -> String {
        let Some(cluster) = self.cluster() else { return "there is no master".to_string() };
        let workers = cluster.list_workers().workers;
        let absent = workers.iter().filter(|worker| worker.state != WorkerState::Alive);
        let absent: Vec<String> = absent.map(|worker| format!("{} {:?}", worker.id, worker.state)).collect();
        let few: Vec<String> = cluster.catalog().under_replicated().iter().map(|(_, copy)| copy.to_string()).collect();
        format!(
            "not alive: {}; too few copies: {}; pending: {}\n{}",
            absent.join(", "),
            few.join(", "),
            cluster.pending_requests().join("; "),
            self.worker_states()
        )
    }

    /// Whether a power loss may have made this the newest result again after its copies were dropped: an unnamed result is in
    /// the log without waiting for the disk, and so is that another one took its place.
    fn may_be_gone(&self, version: VersionId) -> bool {
        let unnamed = |cluster: &Cluster| cluster.catalog().arrays().any(|array| array.result == Some(version));
        self.tally.contains_key(&Kind::PowerLoss) && self.cluster().is_some_and(unnamed)
    }

    /// Where no loss is allowed, every segment of the catalog has a copy with the right bytes somewhere.
    fn check_nothing_is_lost(&self) {
        let Some(cluster) = &self.master.cluster else { return };
        for (id, version) in cluster.catalog().versions().filter(|(id, _)| !self.may_be_gone(*id)) {
            for segment in 0..version.segments.len() as u32 {
                let copy = CopyId(id, segment);
                let is_there = (0..self.workers.len()).any(|n| self.holds_intact(n, copy));
                assert!(is_there, "{copy} is in the catalog, and nobody has it any more");
            }
        }
    }
}
