//! What must hold: the invariants of the reliability plan, checked while a run goes on and at its end.

use super::{Node, World};
use protocol::message::Body;
use protocol::message::client::{
    ArrayCommitted, Durability, OperationComplete, OperationState, Receipt, WorkerInfo, WorkerReceipt, WorkerState,
};
use protocol::{CopyId, Epoch, Message, Reference, VersionId, WorkerId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The expensive checks are made once in so many steps of the master.
const EXPENSIVE_EVERY: u64 = 64;

/// A copy whose holder died so recently may be counted in an acknowledgement: nobody could have known yet.
const DETECTION: Duration = Duration::from_millis(2500);

/// What the checks remember.
#[derive(Debug, Default)]
pub struct Checker {
    steps: u64,
    /// The highest epoch seen of each segment.
    epochs: BTreeMap<CopyId, Epoch>,
    /// Copies that broke: they may be thrown away between a commit and its answer.
    pub(crate) flipped: BTreeSet<CopyId>,
    /// When workers were killed.
    pub(crate) killed: Vec<Duration>,
    /// When the master last had no worker but those of level 1, or none that it was sure of.
    pub(crate) without_native: Option<Duration>,
    /// When the first fault came.
    pub(crate) disturbed: Option<Duration>,
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
        if undisturbed && self.plan.level_1 == 0 {
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
        self.trace.extend(news);
    }

    fn check_thoroughly(&mut self) {
        let Some(cluster) = &self.master.cluster else { return };
        cluster.check();
        for (id, version) in cluster.catalog().versions() {
            for (n, segment) in version.segments.iter().enumerate() {
                let copy = CopyId(id, n as u32);
                let before = self.checker.epochs.insert(copy, segment.epoch).unwrap_or_default();
                assert!(before <= segment.epoch, "the epoch of {copy} went from {before} back to {}", segment.epoch);
            }
        }
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

    /// An answer that is about to be given: a write must have the copies it says.
    pub(crate) fn check_reply(&self, message: &Message) {
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
        let is_synced = durability != Durability::Synced || self.master.has_synced(version);
        assert!(is_synced, "{handle} is acknowledged before it is on the disk");
        self.check_copies(version, copies);
    }

    fn check_copies(&self, id: VersionId, copies: u32) {
        let Some(cluster) = &self.master.cluster else { return };
        let Some(version) = cluster.catalog().version(id) else { return };
        let recently = self.checker.killed.iter().filter(|at| self.now.saturating_sub(**at) <= DETECTION).count();
        for segment in 0..version.segments.len() as u32 {
            let held = (0..self.workers.len()).filter(|n| self.has_copy(*n, CopyId(id, segment))).count();
            let broken = usize::from(self.checker.flipped.contains(&CopyId(id, segment)));
            assert!(
                held + broken + recently >= copies as usize,
                "{id}/{segment} is acknowledged with {copies} copies, and {held} workers hold it, {recently} died just now"
            );
        }
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
        let cluster = self.master.cluster.as_ref().expect("it runs");
        let catalog = cluster.catalog();
        for (id, version) in catalog.versions() {
            for (n, segment) in version.segments.iter().enumerate() {
                let wanted = (version.replication as usize).min(live);
                let lost = segment.holders.is_empty() && self.loss_allowed;
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
                // Of what the catalog has forgotten, somebody may still be reading.
                let is_needed = match catalog.segment(copy.id()) {
                    Some(segment) => segment.holders.contains(&me),
                    None => cluster.is_needed(copy.0),
                };
                assert!(is_needed, "{me} keeps {}, which nobody needs there", copy.id());
            }
            assert_eq!(store.reserved(), 0, "w{} keeps room for nobody", n + 1);
        }
        assert_eq!(self.master.replay().hash(), catalog.hash(), "the log tells another story than the catalog");
    }
}
