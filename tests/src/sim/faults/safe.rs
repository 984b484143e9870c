//! What may be done to whom without breaking what the cluster does not promise to survive.

use super::super::{Node, World};
use master::cluster::catalog::Catalog;
use protocol::CopyId;
use protocol::message::client::{WorkerInfo, WorkerState};
use std::time::Duration;

/// A worker whose connection was reset so recently may still be on its way back.
const COMING_BACK: Duration = Duration::from_secs(2);

/// How long the master waits for a worker whose connection ended before it says that its last copies are lost.
const RETURN_AFTER_CLOSE: Duration = Duration::from_millis(500);

impl World {
    /// Whether a node may be made unreachable for a while. A worker whose connection is lost and that cannot come back looks
    /// dead, and with its last copies is told as lost; so does one that is cut off again before it is back.
    pub(super) fn may_isolate(&self, node: Node) -> bool {
        let is_there = |node: &Node| !self.was_reset(*node) && !self.is_missed(*node);
        self.loss_allowed
            || match node {
                // All workers lose it.
                Node::Master => self.processes.keys().all(is_there),
                _ => is_there(&node),
            }
    }

    /// Whether the connections of a node may be lost: not while it cannot come back, or not soon.
    pub(super) fn may_reset(&self, node: Node) -> bool {
        self.loss_allowed
            || self.runs(node) && self.is_open(node, Node::Master) && self.is_back_in_time(node, self.slow)
    }

    /// Whether everything may be so many times as slow: not while somebody whose connections were lost is on his way back.
    pub(super) fn may_slow_all(&self, times: u32) -> bool {
        let node_is_back = |node: &Node| self.is_back_in_time(*node, times) || !self.was_reset(*node);
        self.loss_allowed || self.processes.keys().all(node_is_back)
    }

    /// Whether a node may be so many times as far away.
    pub(super) fn may_slow(&self, node: Node, times: u32) -> bool {
        let others_are_back = node != Node::Master || self.may_slow_all(times);
        self.loss_allowed || others_are_back && (self.is_back_in_time(node, times) || !self.was_reset(node))
    }

    fn was_reset(&self, node: Node) -> bool {
        self.last_reset.get(&node).is_some_and(|at| self.now - *at < COMING_BACK)
    }

    /// Whether a node whose connections are lost, which is so many times as far away, is back before it is missed: it hears of
    /// the loss, connects, and registers.
    fn is_back_in_time(&self, node: Node, times: u32) -> bool {
        3 * self.longest_delay(node, Node::Master, times) < RETURN_AFTER_CLOSE
    }

    /// Whether the master counts a worker as gone, which is there.
    fn is_missed(&self, node: Node) -> bool {
        let Some(cluster) = self.cluster().filter(|_| self.is_alive(self.life(Node::Master))) else { return false };
        let name = World::name_of(node);
        let is_it = |worker: &WorkerInfo| worker.id.as_str() == name;
        matches!(node, Node::Worker(_))
            && cluster.list_workers().workers.iter().any(|worker| is_it(worker) && worker.state == WorkerState::Down)
    }

    /// Whether a process goes on.
    pub(crate) fn runs(&self, node: Node) -> bool {
        self.processes.get(&node).is_some_and(|process| process.alive && !process.paused)
    }

    /// Whether fewer than R - 1 workers have died since all segments had all their copies: what is being written or
    /// computed is in no catalog yet, and is promised to survive no more than that either.
    pub(super) fn may_kill_one_more(&mut self) -> bool {
        let noticed = self.checker.killed.last().is_none_or(|at| self.now - *at > Duration::from_secs(2));
        let whole = self.cluster().is_some_and(|cluster| cluster.catalog().under_replicated().is_empty());
        if noticed && whole && self.runs(Node::Master) {
            self.unmended_kills = 0;
        }
        self.loss_allowed || self.unmended_kills + 1 < self.plan.replication
    }

    /// Whether a worker may be killed: nothing is lost by that that the cluster has promised to keep.
    pub(crate) fn may_lose(&self, n: usize) -> bool {
        if self.loss_allowed {
            return true;
        }
        // While nobody else can be reached, what is being written has one copy, and its reply says so.
        let reachable = |other: usize| {
            let node = Node::Worker(other);
            self.runs(node) && self.is_open(node, Node::Master) && self.draining != Some(other)
        };
        if !(0..self.workers.len()).any(|other| other != n && reachable(other)) {
            return false;
        }
        let catalog = self.disk.replay_all();
        let mut copies = catalog
            .versions()
            .flat_map(|(id, version)| (0..version.segments.len() as u32).map(move |segment| CopyId(id, segment)));
        copies.all(|copy| !self.has_copy(n, copy) || self.is_safe_without(&catalog, n, copy))
    }

    /// Whether there is another worker for new arrays: one of level 1 takes none.
    pub(super) fn others_take_copies(&self, n: usize) -> bool {
        let takes_copies = |other: usize| {
            let node = Node::Worker(other);
            other >= self.plan.level_1 && self.runs(node) && self.is_open(node, Node::Master)
        };
        (0..self.workers.len()).any(|other| other != n && takes_copies(other))
    }

    /// Whether somebody else holds a copy with the right bytes. Copies that the catalog does not count don't count here
    /// either: they may be dropped at any moment; unless it lacks some, and a master that starts is told of them.
    pub(super) fn is_safe_without(&self, catalog: &Catalog, n: usize, copy: CopyId) -> bool {
        let running = self.is_alive(self.life(Node::Master));
        let holders = catalog.segment(copy).map_or(&[][..], |segment| &segment.holders);
        let lacks = holders.len() < self.plan.replication as usize;
        let counts =
            |other: usize| !running && lacks || holders.iter().any(|holder| World::worker_number(holder) == other);
        (0..self.workers.len()).any(|other| other != n && counts(other) && self.holds_intact(other, copy))
    }

    /// Whether a worker holds a copy with the right bytes.
    pub(crate) fn holds_intact(&self, n: usize, copy: CopyId) -> bool {
        let store = self.workers[n].store.as_ref();
        // Not by what the worker itself would ask: that may be wrong.
        let right = |segment: &worker::store::Segment| {
            array::checksum::crc32c(segment.buffer().as_bytes()) == segment.record().crc32c()
        };
        store.and_then(|store| store.get(copy)).is_some_and(|segment| right(&segment))
    }
}
