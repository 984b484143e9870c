//! What goes wrong: a list of faults with times, made from the seed before the run begins.
//!
//! Each seed switches each kind of fault fully on or off and draws how often it comes, so that rare combinations occur.
//! Unless the plan allows losses, a fault that would take the last copy of anything is left out when its time comes:
//! then no call may fail, whatever else goes wrong.

use super::random::Random;
use super::{Action, Node, World};
use master::cluster::catalog::Catalog;
use protocol::CopyId;
use std::time::Duration;

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// A worker is killed, and started again without its copies after a while.
    KillWorker { worker: usize, down: Duration },
    /// It is started again.
    StartWorker { worker: usize },
    /// Any process is stopped for a while.
    Pause { node: Node, stopped: Duration },
    /// It goes on.
    Continue { node: Node },
    /// The master is killed, and started again on its log.
    KillMaster { down: Duration, power_loss: bool },
    /// It is started again.
    StartMaster,
    /// A connection is reset.
    Reset { which: u64 },
    /// A bit flips in a copy.
    FlipBit { which: u64 },
    /// A worker is asked to end, and started again.
    Drain { worker: usize },
    /// The network is slow for a while.
    Slow { factor: u32, lasts: Duration },
    /// It is as before.
    Fast { delay: Duration, jitter: Duration },
}

/// Makes the faults of a run.
pub fn generate(random: &mut Random, workers: usize, from: Duration, until: Duration) -> Vec<(Duration, Fault)> {
    const KINDS: u64 = 8;
    let enabled: Vec<u64> = (0..KINDS).filter(|_| !random.one_in(2)).collect();
    let enabled = if enabled.is_empty() { vec![random.below(KINDS)] } else { enabled };
    let mean_gap = random.pick(&[Duration::from_millis(150), Duration::from_millis(600), Duration::from_secs(2)]);
    let mut faults = Vec::new();
    let mut time = from;
    loop {
        time += random.time(Duration::ZERO, 2 * mean_gap);
        if time >= until {
            return faults;
        }
        let worker = random.below(workers as u64) as usize;
        let short = random.time(Duration::from_millis(1), Duration::from_millis(2500));
        let fault = match random.pick(&enabled) {
            0 => Fault::KillWorker { worker, down: short },
            1 => Fault::Pause { node: Node::Worker(worker), stopped: short },
            2 => Fault::KillMaster {
                down: random.time(Duration::from_millis(1), Duration::from_millis(1500)),
                power_loss: false,
            },
            3 => Fault::Reset { which: random.bits() },
            4 => Fault::FlipBit { which: random.bits() },
            5 => Fault::Drain { worker },
            6 => Fault::Slow { factor: random.pick(&[5, 50]), lasts: short },
            _ => Fault::Pause { node: Node::Master, stopped: short },
        };
        faults.push((time, fault));
    }
}

impl World {
    pub(crate) fn on_fault(&mut self, fault: Fault) {
        self.checker.disturbed.get_or_insert(self.now);
        match fault {
            Fault::KillWorker { worker, down } => {
                if self.may_lose(worker) && self.may_kill_one_more() {
                    self.unmended_kills += 1;
                    self.kill_worker(worker);
                    self.after(down, Action::Fault(Fault::StartWorker { worker }));
                }
            }
            Fault::StartWorker { worker } => {
                if !self.is_alive(self.life(Node::Worker(worker))) {
                    self.start_worker(worker);
                }
            }
            Fault::Pause { node, .. }
                if self.last_reset.get(&node).is_some_and(|at| self.now - *at < Duration::from_secs(2)) => {}
            Fault::Pause { node, stopped } => {
                self.pause(node, true);
                self.after(stopped, Action::Fault(Fault::Continue { node }));
            }
            Fault::Continue { node } => self.pause(node, false),
            Fault::KillMaster { down, power_loss } => {
                self.kill_master(power_loss);
                self.after(down, Action::Fault(Fault::StartMaster));
            }
            Fault::StartMaster => {
                if !self.is_alive(self.life(Node::Master)) {
                    self.start_master();
                }
            }
            Fault::Reset { which } => {
                // A connection that is lost while its worker stands still looks like a death, and is told as one.
                let runs = |life: &super::Life| self.processes.get(&life.0).is_some_and(|process| !process.paused);
                let conns = self.conns.iter().filter(|(_, conn)| runs(&conn.from) && runs(&conn.to));
                let conns: Vec<(u64, Node)> = conns.map(|(id, conn)| (*id, conn.from.0)).collect();
                if let Some((conn, from)) = conns.get((which % conns.len().max(1) as u64) as usize) {
                    self.last_reset.insert(*from, self.now);
                    self.reset(*conn);
                }
            }
            Fault::FlipBit { which } => self.flip_some_bit(which),
            // One at a time: when all leave, there is nobody to hand over to.
            Fault::Drain { worker } if self.draining.is_none() => {
                self.draining = Some(worker);
                self.step_worker(worker, worker::agent::Event::Drain);
                self.after(Duration::from_secs(11), Action::Fault(Fault::StartWorker { worker }));
            }
            Fault::Drain { .. } => {}
            // Not slower than slow: a packet must arrive within the run.
            Fault::Slow { factor, lasts } if !self.slow => {
                let before = self.plan.network.clone();
                self.slow = true;
                // Seconds of delay are as good as losing everybody at once; that is for runs that may lose something.
                let most = if self.loss_allowed { Duration::from_secs(3) } else { Duration::from_millis(150) };
                self.plan.network.delay = (before.delay * factor).min(most);
                self.plan.network.jitter = (before.jitter * factor).min(most);
                self.after(lasts, Action::Fault(Fault::Fast { delay: before.delay, jitter: before.jitter }));
            }
            Fault::Slow { .. } => {}
            Fault::Fast { delay, jitter } => {
                self.slow = false;
                self.plan.network.delay = delay;
                self.plan.network.jitter = jitter;
            }
        }
    }

    /// Breaks a copy that somebody else holds too.
    fn flip_some_bit(&mut self, which: u64) {
        let intact =
            |world: &World, copy: CopyId| (0..world.workers.len()).filter(|n| world.holds_intact(*n, copy)).count();
        let held = |world: &World, copy: CopyId| (0..world.workers.len()).filter(|n| world.has_copy(*n, copy)).count();
        let copies: Vec<(usize, CopyId)> = (0..self.workers.len())
            .flat_map(|n| {
                let store = self.workers[n].store.as_ref();
                store.map_or(Vec::new(), |store| store.inventory()).into_iter().map(move |copy| (n, copy.id()))
            })
            .collect();
        if let Some((n, copy)) = copies.get((which % copies.len().max(1) as u64) as usize).copied()
            // Nothing looks for broken copies that nobody reads, so one of a segment at a time is what R = 2 survives.
            && (self.loss_allowed || (intact(self, copy) == held(self, copy) && self.is_safe_without(&self.master.replay_all(), n, copy)))
            && self.corrupt(n, copy)
        {
            self.note(format!("a bit of {copy} flips on {}", World::name_of(Node::Worker(n))));
        }
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

    /// Whether fewer than R - 1 workers have died since all segments had all their copies: what is being written or
    /// computed is in no catalog yet, and is promised to survive no more than that either.
    fn may_kill_one_more(&mut self) -> bool {
        let noticed = self.checker.killed.last().is_none_or(|at| self.now - *at > Duration::from_secs(2));
        let master = &self.processes[&Node::Master];
        let whole = self.cluster().is_some_and(|cluster| cluster.catalog().under_replicated().is_empty());
        if noticed && whole && master.alive && !master.paused {
            self.unmended_kills = 0;
        }
        self.loss_allowed || self.unmended_kills + 1 < self.plan.replication
    }

    /// Whether a worker may be killed: nothing is lost by that that the cluster has promised to keep.
    pub(crate) fn may_lose(&self, n: usize) -> bool {
        if self.loss_allowed {
            return true;
        }
        // While all others are dead or stand still, what is being written has one copy, and its reply says so.
        let runs = |other: usize| {
            self.processes.get(&Node::Worker(other)).is_some_and(|process| process.alive && !process.paused)
        };
        if !(0..self.workers.len()).any(|other| other != n && runs(other)) {
            return false;
        }
        let catalog = self.master.replay_all();
        let mut copies = catalog
            .versions()
            .flat_map(|(id, version)| (0..version.segments.len() as u32).map(move |segment| CopyId(id, segment)));
        copies.all(|copy| !self.has_copy(n, copy) || self.is_safe_without(&catalog, n, copy))
    }

    /// Whether somebody else holds a copy with the right bytes. Copies that the catalog does not count don't count here
    /// either: they may be dropped at any moment; unless it lacks some, and a master that starts is told of them.
    fn is_safe_without(&self, catalog: &Catalog, n: usize, copy: CopyId) -> bool {
        let running = self.is_alive(self.life(Node::Master));
        let holders = catalog.segment(copy).map_or(&[][..], |segment| &segment.holders);
        let lacks = holders.len() < self.plan.replication as usize;
        let counts =
            |other: usize| !running && lacks || holders.iter().any(|holder| World::worker_number(holder) == other);
        (0..self.workers.len()).any(|other| other != n && counts(other) && self.holds_intact(other, copy))
    }

    /// Ends all faults: everybody runs, and the network is as it was planned.
    pub fn heal(&mut self, delay: Duration, jitter: Duration) {
        self.queue.retain(|_, action| !matches!(action, Action::Fault(_)));
        self.plan.network.delay = delay;
        self.plan.network.jitter = jitter;
        self.plan.network.loss_one_in = 0;
        let nodes: Vec<Node> = self.processes.keys().copied().collect();
        nodes.into_iter().for_each(|node| self.pause(node, false));
        if !self.is_alive(self.life(Node::Master)) {
            self.start_master();
        }
        for n in 0..self.workers.len() {
            if !self.is_alive(self.life(Node::Worker(n))) {
                self.start_worker(n);
            }
        }
    }
}
