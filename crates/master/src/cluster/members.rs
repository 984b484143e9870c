//! The workers that are there: signs of life, and death. How they come in is in [`registration`](super::registration).
//!
//! A member is *alive*, *suspect* after [`SUSPECT_AFTER`] without a heartbeat, and *down* when its control connection ends
//! or after [`DOWN_AFTER`] without a heartbeat; then it is no member any more. Silence is measured by a clock that stands
//! still while the master does, so that a master that was starved does not take that for its workers' silence.
//!
//! Heartbeats tell that the master hears a worker, not that the worker hears the master. So a member that owes an answer is
//! asked, after [`ASK_AFTER`], whether it is there, and is down if it has answered nothing for [`DEAF_AFTER`] since it began to owe.
//!
//! A worker is *up*, able to take part, from the moment its registration is in the catalog.

use super::catalog::incident;
use super::command::Command;
use super::operations::{Queue, Sent};
use super::requests::Peer;
use super::{Cluster, ConnId, Effect, Then};
use protocol::message::client::{IncidentKind, WorkerState};
use protocol::message::worker::*;
use protocol::message::{Body, Message, Ping};
use protocol::{CopyId, CopyRecord, Digest, VersionId, WorkerId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Five heartbeats missed: long enough that a busy machine seldom gets there, and nothing is moved yet.
pub const SUSPECT_AFTER: Duration = Duration::from_millis(500);

/// Ten heartbeats missed. Being wrong is cheap: the worker comes back with its copies, and no byte moves.
pub const DOWN_AFTER: Duration = Duration::from_millis(1000);

/// How long a worker may owe an answer before it is asked whether it hears: much of what it is told to do takes less.
pub const ASK_AFTER: Duration = Duration::from_millis(500);

/// How long it may owe in all without answering anything. Its answer to the question may wait behind what it was told before, so it
/// has more time than its heartbeats, which wait for nothing.
pub const DEAF_AFTER: Duration = Duration::from_millis(2500);

/// How long a restarted master waits for the workers of its catalog: they ask every second at the latest.
pub const REPORT_GRACE: Duration = Duration::from_secs(3);

/// How long the last copy of a segment may still come back after its holder's connection ended: a worker that has only lost
/// its connection is back within some tens of milliseconds. After that the loss is told.
pub(super) const RETURN_AFTER_CLOSE: Duration = Duration::from_millis(500);

/// The same where the process is probably there: it is only slow, or sent something that cannot be read.
pub(super) const RETURN_OF_THE_LIVING: Duration = Duration::from_secs(5);

/// How long a digest may differ, without changing, before the inventory is asked for.
const DIGEST_PATIENCE: Duration = Duration::from_secs(1);

/// A worker that is there.
#[derive(Debug)]
pub(super) struct Member {
    pub conn: ConnId,
    pub heartbeat_conn: Option<ConnId>,
    pub hello: WorkerHello,
    pub cores: u32,
    /// Its registration is in the catalog.
    pub up: bool,
    pub suspect: bool,
    pub draining: bool,
    /// It was told that nothing depends on it.
    drained: bool,
    pub reachable: Option<bool>,
    /// By the liveness clock.
    pub last_heard: Duration,
    /// As it reported last.
    pub memory_used: u64,
    pub memory_idle: u64,
    /// What it was asked to keep room for since then.
    pub promised: u64,
    pub tasks_reported: u64,
    /// Every copy it has reported and not been told to drop.
    held: BTreeMap<CopyId, (u32, u64)>,
    /// Bytes of all of them.
    /// Their sizes as it says them: together they may be more than 64 bits count.
    held_bytes: u128,
    digest: Digest,
    /// The digest it reports instead, and since when.
    mismatch: Option<(Digest, Duration)>,
    /// Segments waiting to be sent to it, and those sent.
    pub queue: Queue,
    pub in_flight: BTreeMap<CopyId, Sent>,
    /// Copies it is fetching.
    pub fetching: usize,
    /// It has kept others waiting, and has not answered since: a worker of level 1 may never do.
    pub late: bool,
    next_call: u64,
    pub calls: BTreeMap<u64, Call>,
    hearing: Hearing,
}

/// Whether a worker hears the master, as far as its answers tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Hearing {
    /// It owes no answer.
    #[default]
    Idle,
    /// Since then, by the liveness clock, it has owed answers and given none.
    Owing(Duration),
    /// It was asked whether it hears, too.
    Asked(Duration),
}

/// A question to a worker that it has not answered.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Reserve(VersionId),
    Inventory,
    Claim,
    Hearing,
}

impl Member {
    pub fn new(conn: ConnId, register: &RegisterWorker, hello: WorkerHello, heard: Duration) -> Member {
        Member {
            conn,
            heartbeat_conn: None,
            cores: register.cores.max(1),
            up: false,
            suspect: false,
            draining: hello.draining,
            drained: false,
            reachable: None,
            last_heard: heard,
            memory_used: 0,
            memory_idle: 0,
            promised: 0,
            tasks_reported: 0,
            held: BTreeMap::new(),
            held_bytes: 0,
            digest: Digest::default(),
            mismatch: None,
            queue: Queue::default(),
            in_flight: BTreeMap::new(),
            fetching: 0,
            late: false,
            next_call: 1,
            calls: BTreeMap::new(),
            hearing: Hearing::Idle,
            hello,
        }
    }

    /// Whether it has been told to do something that it has not answered.
    fn owes(&self) -> bool {
        !self.calls.is_empty() || !self.in_flight.is_empty() || self.fetching > 0
    }

    /// A number for the next instruction.
    pub fn number(&mut self) -> u64 {
        self.next_call += 1;
        self.next_call
    }

    pub fn state(&self) -> WorkerState {
        match self.suspect {
            true => WorkerState::Suspect,
            false => WorkerState::Alive,
        }
    }

    /// The level of the protocol that it speaks itself.
    pub fn level(&self) -> u32 {
        match self.hello.features.iter().any(|feature| feature == FEATURE_LEVEL_1) {
            true => 1,
            false => 2,
        }
    }

    /// Threads that count when work is shared out. A worker of level 1 does one thing at a time.
    pub fn threads(&self) -> u32 {
        match self.level() {
            1 => 1,
            _ => self.cores,
        }
    }

    /// Whether it counts as one that copies can be on: it takes part, and is not on its way out. An original worker waits
    /// for its only thread on that very thread, so with one core it computes nothing, ever.
    pub fn stays(&self) -> bool {
        self.up && !self.draining && (self.level() > 1 || self.cores > 1)
    }

    /// Whether it may be given new copies.
    pub fn takes_copies(&self) -> bool {
        self.stays() && !self.suspect
    }

    /// Memory that nobody has laid claim to, as far as the master knows; the worker decides.
    pub fn free_bytes(&self) -> u64 {
        self.hello.memory_bytes.saturating_sub(self.memory_used).saturating_sub(self.promised)
    }

    /// Memory beside all copies it holds: what there is if everything else that uses some ends.
    pub fn unheld_bytes(&self) -> u64 {
        self.hello.memory_bytes.saturating_sub(self.held_bytes.try_into().unwrap_or(u64::MAX))
    }

    /// The checksum of a copy it holds.
    pub fn holds(&self, copy: CopyId) -> Option<u32> {
        self.held.get(&copy).map(|(crc32c, _)| *crc32c)
    }

    pub fn held_count(&self) -> usize {
        self.held.len()
    }

    /// What it holds, of one version or of all.
    pub fn records(&self, version: Option<VersionId>) -> impl Iterator<Item = CopyRecord> {
        let (first, last) = version.map_or((VersionId(0), VersionId(u64::MAX)), |version| (version, version));
        let held = self.held.range(CopyId(first, 0)..=CopyId(last, u32::MAX));
        held.map(|(copy, (crc32c, bytes))| CopyRecord(copy.version(), copy.segment(), *crc32c, *bytes))
    }

    /// Takes note that it holds a copy. True if that is news.
    pub fn add(&mut self, copy: CopyRecord) -> bool {
        let news = self.held.insert(copy.id(), (copy.crc32c(), copy.bytes()));
        self.held_bytes += u128::from(copy.bytes());
        if let Some((old, bytes)) = news {
            self.held_bytes -= u128::from(bytes);
            self.digest.toggle(copy.id(), old);
        }
        self.digest.toggle(copy.id(), copy.crc32c());
        news.is_none()
    }

    /// Takes note that it does not hold a copy any more. True if it did.
    pub fn remove(&mut self, copy: CopyId) -> bool {
        let Some((crc32c, bytes)) = self.held.remove(&copy) else {
            return false;
        };
        self.held_bytes -= u128::from(bytes);
        self.digest.toggle(copy, crc32c);
        true
    }

    /// The copies it holds of a version.
    fn copies_of(&self, version: VersionId) -> impl Iterator<Item = CopyId> {
        self.held.range(CopyId(version, 0)..=CopyId(version, u32::MAX)).map(|(copy, _)| *copy)
    }

    /// Whether it holds any copy of a version.
    pub fn holds_version(&self, version: VersionId) -> bool {
        self.copies_of(version).next().is_some()
    }

    /// Takes note that it holds nothing of a version any more.
    pub fn remove_version(&mut self, version: VersionId) {
        let copies: Vec<CopyId> = self.copies_of(version).collect();
        copies.into_iter().for_each(|copy| {
            self.remove(copy);
        });
    }
}

impl Cluster {
    /// Members that may be given new copies.
    pub(super) fn placeable(&self) -> impl Iterator<Item = (&WorkerId, &Member)> {
        self.members.iter().filter(|(_, member)| member.takes_copies())
    }

    /// A worker that can be asked for something now.
    pub(super) fn live(&self, worker: &WorkerId) -> Option<&Member> {
        self.members.get(worker).filter(|member| member.up)
    }

    /// Whether the workers of the catalog have had their time to report since the master started.
    pub(super) fn settled(&self) -> bool {
        self.unreported.is_empty() || planted::bug!(ReportsNotAwaited)
    }

    /// Whether a copy that is gone may still come back.
    pub(super) fn hopes(&self) -> bool {
        let undecided = |member: &Member| !member.up || member.suspect;
        !self.unreported.is_empty() || self.now.elapsed < self.hope_until || self.members.values().any(undecided)
    }

    // ---- signs of life ----

    pub(super) fn on_heartbeat(&mut self, worker: &WorkerId, heartbeat: &Heartbeat) {
        let now = self.liveness_clock;
        let Some(member) = self.members.get_mut(worker) else {
            return;
        };
        member.last_heard = now;
        if std::mem::take(&mut member.suspect) {
            log::info!("worker {worker}: suspect -> alive");
            self.changed = true;
        }
        member.memory_used = heartbeat.memory_used_bytes;
        member.memory_idle = heartbeat.memory_idle_bytes;
        member.promised = 0;
        member.tasks_reported = heartbeat.tasks;
        member.mismatch = match member.mismatch {
            _ if heartbeat.digest == member.digest => None,
            Some((digest, since)) if digest == heartbeat.digest => Some((digest, since)),
            _ => Some((heartbeat.digest, now)),
        };
        if member.mismatch.is_some_and(|(_, since)| now - since >= DIGEST_PATIENCE) {
            member.mismatch = None;
            log::warn!("worker {worker} holds something else than the master thinks; asking for its inventory");
            self.call(worker, Call::Inventory, SendInventory {});
        }
    }

    pub(super) fn watch_members(&mut self) {
        if !self.unreported.is_empty() && self.now.elapsed >= self.started + REPORT_GRACE {
            for worker in std::mem::take(&mut self.unreported) {
                self.propose_down(
                    &worker,
                    IncidentKind::WorkerDown,
                    "it did not report after the master's start",
                    Duration::ZERO,
                    false,
                    0,
                );
            }
            self.hope_until = self.now.elapsed + RETURN_OF_THE_LIVING;
        }
        let clock = self.liveness_clock;
        let mut silent = Vec::new();
        for (worker, member) in &mut self.members {
            let silence = clock - member.last_heard;
            if silence >= DOWN_AFTER {
                silent.push(worker.clone());
            } else if silence >= SUSPECT_AFTER && !member.suspect {
                member.suspect = true;
                log::warn!("worker {worker}: alive -> suspect, silent for {} ms", silence.as_millis());
            }
        }
        for worker in silent {
            self.member_down(&worker, IncidentKind::WorkerDown, "silence", RETURN_OF_THE_LIVING);
        }
        self.watch_hearing();
    }

    /// Asks those that owe answers whether they hear.
    fn watch_hearing(&mut self) {
        let clock = self.liveness_clock;
        let (mut doubtful, mut deaf) = (Vec::new(), Vec::new());
        for (worker, member) in &mut self.members {
            member.hearing = match member.hearing {
                _ if !member.owes() => Hearing::Idle,
                Hearing::Idle => Hearing::Owing(clock),
                Hearing::Owing(since) if clock - since >= ASK_AFTER => {
                    doubtful.push(worker.clone());
                    Hearing::Asked(since)
                }
                Hearing::Asked(since) if clock - since >= DEAF_AFTER => {
                    deaf.push(worker.clone());
                    Hearing::Asked(since)
                }
                same => same,
            };
        }
        doubtful.iter().for_each(|worker| self.call(worker, Call::Hearing, Ping {}));
        for worker in deaf {
            self.member_down(&worker, IncidentKind::WorkerDown, "it answers nothing", RETURN_OF_THE_LIVING);
        }
    }

    // ---- death ----

    pub(super) fn on_worker_disconnected(&mut self, worker: &WorkerId, conn: ConnId, why: &str, may_return: Duration) {
        let Some(member) = self.members.get(worker).filter(|member| member.conn == conn) else {
            return;
        };
        match member.drained {
            true => self.member_down(worker, IncidentKind::WorkerLeft, "it handed over and left", Duration::ZERO),
            false => self.member_down(worker, IncidentKind::WorkerDown, why, may_return),
        }
    }

    /// A worker is gone: from here everybody hears of it. Its connections are closed, so that it registers again if it is
    /// still there; `may_return` is how long its copies may still be hoped for.
    pub(super) fn member_down(&mut self, worker: &WorkerId, kind: IncidentKind, cause: &str, may_return: Duration) {
        let Some(member) = self.members.remove(worker) else {
            return;
        };
        for conn in [Some(member.conn), member.heartbeat_conn].into_iter().flatten() {
            self.peers.remove(&conn);
            self.effects.push(Effect::Close { conn });
        }
        self.hope_until = self.hope_until.max(self.now.elapsed + may_return);
        self.last_down = self.now.elapsed;
        if self.stopping.is_some() {
            return;
        }
        let silence = self.liveness_clock - member.last_heard;
        let operations_running = !self.operations.is_empty();
        let redispatched = self.take_over_tasks(worker);
        if !planted::bug!(DeadFetchAwaited) {
            self.forget_transfers_to(worker);
        }
        self.estranged.retain(|(giver, target), _| giver != worker && target != worker);
        self.on_reservers_down(worker);
        self.propose_down(worker, kind, cause, silence, operations_running, redispatched);
        self.hurry_claims(worker);
        self.changed = true;
    }

    fn propose_down(
        &mut self,
        worker: &WorkerId,
        kind: IncidentKind,
        cause: &str,
        silence: Duration,
        operations_running: bool,
        redispatched: u64,
    ) {
        log::warn!("worker {worker} is down: {cause}");
        protocol::fault_point!(DeathNotProposed);
        let silence_ms = silence.as_millis() as u64;
        let incident = incident(kind, Some(worker.clone()), self.now.unix_ms, cause.to_string(), silence_ms);
        let then = Then::IncidentRecorded { detected: self.now.elapsed, operations_running, redispatched };
        self.propose(Command::WorkerDown { worker: worker.clone(), incident }, true, then);
    }

    // ---- talking with workers ----

    /// Sends an instruction that is not answered, or not by its number.
    pub(super) fn tell(&mut self, worker: &WorkerId, body: impl Into<Body>) {
        self.instruct(worker, None, None, body);
    }

    /// Sends an instruction, with the epoch of what the master knows now, and the client's request it serves.
    pub(super) fn instruct(
        &mut self,
        worker: &WorkerId,
        id: Option<u64>,
        request: Option<String>,
        body: impl Into<Body>,
    ) {
        let epoch = self.epoch();
        if let Some(conn) = self.members.get(worker).map(|member| member.conn) {
            self.send(conn, Message::new(body).with_id(id).serving(request).at_epoch(epoch));
        }
    }

    fn call(&mut self, worker: &WorkerId, call: Call, body: impl Into<Body>) {
        let Some(member) = self.members.get_mut(worker) else { return };
        let id = member.number();
        member.calls.insert(id, call);
        self.instruct(worker, Some(id), None, body);
    }

    /// Asks a worker to keep room for segments of an upload.
    pub(super) fn call_reserve(&mut self, worker: &WorkerId, reserve: Reserve) {
        self.call(worker, Call::Reserve(reserve.version), reserve);
    }

    pub(super) fn on_worker_message(&mut self, worker: &WorkerId, message: Message) {
        let call = |cluster: &mut Cluster| cluster.members.get_mut(worker)?.calls.remove(&message.head.id?);
        // What it says by itself tells nothing about what it hears.
        if !matches!(message.body, Body::CopiesChanged(_) | Body::WorkerStatus(_))
            && let Some(member) = self.members.get_mut(worker)
        {
            member.hearing = Hearing::Idle;
        }
        match message.body {
            Body::SegmentResult(result) => self.on_segment_result(worker, message.head.id, result, message.elements),
            Body::CopiesChanged(changed) => self.on_copies_changed(worker, changed),
            Body::RecoveryComplete(complete) => self.on_recovery_complete(worker, complete),
            Body::Reserved(_) => {
                if let Some(Call::Reserve(version)) = call(self) {
                    self.on_reserved(worker, version, None);
                }
            }
            Body::Inventory(inventory) => {
                call(self);
                self.on_inventory(worker, inventory.copies);
            }
            Body::Pong(_) => {
                if let Some(Call::Claim) = call(self) {
                    self.decide_claims(worker, true);
                }
            }
            Body::Error(error) => match call(self) {
                Some(Call::Reserve(version)) => self.on_reserved(worker, version, Some(error)),
                _ => log::warn!("worker {worker} says: {error}"),
            },
            Body::WorkerStatus(WorkerStatus { state: WorkerStage::Draining }) => {
                log::info!("worker {worker} is draining");
                if let Some(member) = self.members.get_mut(worker) {
                    member.draining = true;
                }
                self.changed = true;
            }
            other => log::warn!("worker {worker} sent {}, which workers do not send", other.kind()),
        }
    }

    /// The truth about a worker whose digest differed.
    fn on_inventory(&mut self, worker: &WorkerId, inventory: Vec<CopyRecord>) {
        let Some(member) = self.members.get_mut(worker) else {
            return;
        };
        let there: BTreeSet<CopyId> = inventory.iter().map(|copy| copy.id()).collect();
        let missing: Vec<CopyId> = member.held.keys().filter(|copy| !there.contains(copy)).copied().collect();
        for copy in missing {
            self.lose_copy(worker, copy);
        }
        let counted = self.take_inventory(worker, inventory);
        self.copies_added.extend(counted.into_iter().map(|copy| (copy, worker.clone())));
        self.changed = true;
    }

    /// Lets draining workers go when nothing depends on them any more.
    pub(super) fn drain_members(&mut self) {
        let leaving: Vec<WorkerId> = self
            .members
            .iter()
            .filter(|(_, member)| member.draining && !member.drained)
            .map(|(id, _)| id.clone())
            .collect();
        for worker in leaving {
            if self.is_dispensable(&worker) {
                log::info!("worker {worker} may leave: nothing depends on it");
                protocol::fault_point!(DrainedNotTold);
                self.tell(&worker, WorkerStatus { state: WorkerStage::Drained });
                if let Some(member) = self.members.get_mut(&worker) {
                    member.drained = true;
                }
            }
        }
    }

    /// Drops all copies of a version that nobody needs any more.
    pub(super) fn collect(&mut self, version: VersionId) {
        if self.is_needed(version) {
            return;
        }
        let holds = |(worker, member): (&WorkerId, &Member)| member.holds_version(version).then(|| worker.clone());
        let holders: Vec<WorkerId> = self.members.iter().filter_map(holds).collect();
        holders.iter().for_each(|worker| self.drop_version(worker, version));
    }

    /// Has a worker forget a version: copies, reservations, queued work.
    pub(super) fn drop_version(&mut self, worker: &WorkerId, version: VersionId) {
        if let Some(member) = self.members.get_mut(worker) {
            member.remove_version(version);
        }
        // It says nothing about what it was fetching of it, and would count as busy with that.
        let of_version = CopyId(version, 0)..=CopyId(version, u32::MAX);
        let fetching = self.transfers.keys().filter(|(copy, target)| target == worker && of_version.contains(copy));
        let fetching: Vec<CopyId> = fetching.map(|(copy, _)| *copy).collect();
        fetching.into_iter().for_each(|copy| self.forget_transfer(copy, worker));
        protocol::fault_point!(DropNotTold);
        self.tell(worker, DropCopies { versions: vec![version], ..DropCopies::default() });
    }

    /// Panics if an invariant about members is broken.
    pub(super) fn check_members(&self) {
        for (worker, member) in &self.members {
            assert_eq!(
                self.peers.get(&member.conn),
                Some(&Peer::Worker(worker.clone())),
                "a member has its connection"
            );
            let mut digest = Digest::default();
            member.held.iter().for_each(|(copy, (crc32c, _))| digest.toggle(*copy, *crc32c));
            assert_eq!(digest, member.digest, "the digest follows from what is held");
            let bytes: u128 = member.held.values().map(|(_, bytes)| u128::from(*bytes)).sum();
            assert_eq!(bytes, member.held_bytes, "so does their size");
            let versions: BTreeSet<VersionId> = member.held.keys().map(|copy| copy.version()).collect();
            for version in versions {
                let named = self.catalog.version(version).is_some();
                assert!(named || self.is_needed(version), "{worker} keeps {version}, which nobody needs");
            }
        }
    }
}
