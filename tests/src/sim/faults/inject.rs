//! Faults as they happen: which node it is, what is done to it, and how that ends.

use super::super::network::{Cut, What};
use super::super::{Action, Node, World};
use super::{Fault, Kind, Undo};
use protocol::CopyId;
use std::time::Duration;

/// How long a fault waits for a node with work in flight, and how often it looks.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
const LOOKS: u32 = 150;

impl World {
    pub(crate) fn on_fault(&mut self, fault: Fault, waited: u32) {
        self.checker.disturbed.get_or_insert(self.now);
        self.checker.disturbed_last = self.now;
        let mut nodes = self.nodes_for(fault.kind);
        if nodes.is_empty() {
            return;
        }
        let first = (fault.which % nodes.len() as u64) as usize;
        nodes.rotate_left(first);
        if fault.aimed {
            nodes.sort_by_key(|node| !self.is_at_work(*node));
            if !self.is_at_work(nodes[0]) && waited < LOOKS {
                return self.after(LOOK_AGAIN, Action::Fault { fault, waited: waited + 1 });
            }
        }
        for node in nodes {
            let at_work = self.is_at_work(node);
            if self.inject(&fault, node) {
                let count = self.tally.entry(fault.kind).or_default();
                count.injected += 1;
                count.at_work += u64::from(at_work);
                return;
            }
        }
    }

    /// Whom it can hit.
    fn nodes_for(&self, kind: Kind) -> Vec<Node> {
        let workers = (0..self.workers.len()).map(Node::Worker);
        let clients = (0..self.clients.len()).map(Node::Client);
        let nodes: Vec<Node> = match kind {
            Kind::KillWorker | Kind::RestartWorker | Kind::PauseWorker | Kind::Drain | Kind::FlipBit => {
                workers.collect()
            }
            Kind::PauseMaster
            | Kind::KillMaster
            | Kind::PowerLoss
            | Kind::DiskFails
            | Kind::SlowDisk
            | Kind::Everybody => vec![Node::Master],
            Kind::KillClient => clients.collect(),
            Kind::RestartStorm | Kind::WrongClock => workers.chain([Node::Master]).collect(),
            Kind::Reset | Kind::DamageLine => workers.chain(clients).collect(),
            Kind::Freeze
            | Kind::ResetData
            | Kind::DamageBytes
            | Kind::SlowNetwork
            | Kind::SlowNode
            | Kind::Partition
            | Kind::OneWay
            | Kind::Bridge
            | Kind::Flapping => workers.chain(clients).chain([Node::Master]).collect(),
        };
        nodes.into_iter().filter(|node| self.runs(*node)).collect()
    }

    /// Does it to a node that runs. False if that may not be, or does nothing.
    fn inject(&mut self, fault: &Fault, node: Node) -> bool {
        let Fault { kind, which, lasts, .. } = *fault;
        let undo = |world: &mut World, undo| world.after(lasts, Action::Undo(undo));
        match (kind, node) {
            (Kind::KillWorker | Kind::RestartWorker, Node::Worker(n)) => {
                if !self.may_lose(n) || !self.may_kill_one_more() {
                    return false;
                }
                self.unmended_kills += 1;
                self.kill_worker(n);
                let down = if kind == Kind::KillWorker { lasts } else { lasts / 32 };
                self.after(down, Action::Undo(Undo::StartWorker(n)));
            }
            (Kind::PauseWorker | Kind::PauseMaster, _) if self.may_isolate(node) => {
                self.pause(node, true);
                undo(self, Undo::Continue(node));
            }
            (Kind::Freeze, _) if self.may_isolate(node) => {
                self.freeze(node);
                undo(self, Undo::Continue(node));
            }
            // One at a time: when all leave, there is nobody to hand over to.
            (Kind::Drain, Node::Worker(n)) if self.draining.is_none() && self.others_take_copies(n) => {
                self.drain_worker(n);
            }
            (Kind::KillMaster | Kind::PowerLoss, _) => {
                self.kill_master(kind == Kind::PowerLoss);
                undo(self, Undo::StartMaster);
            }
            (Kind::DiskFails, _) => {
                self.note("the master's disk fails");
                self.disk.fails = true;
                undo(self, Undo::DiskWorks);
            }
            (Kind::SlowDisk, _) => {
                self.disk.slow = [10, 50, 200][(which % 3) as usize];
                undo(self, Undo::DiskIsFast);
            }
            (Kind::RestartStorm, _) => return self.strike(node, 2 + (which >> 8) as u32 % 6, lasts / 16),
            (Kind::Everybody, _) => self.hit_everybody(lasts),
            (Kind::KillClient, Node::Client(n)) => {
                self.kill_client(n);
                undo(self, Undo::StartClient(n));
            }
            (Kind::WrongClock, _) => {
                let hours = (which >> 8) as i64 % 5 - 2;
                let ms = hours * 3_600_000 + (which >> 16) as i64 % 120_000 - 60_000;
                self.note(format!("the clock of {} goes wrong by {ms} ms", World::name_of(node)));
                self.ahead_ms.insert(node, ms);
                undo(self, Undo::ClockIsRight(node));
            }
            (Kind::Reset, _) => return self.reset_some_link(node, which),
            (Kind::ResetData, _) => {
                let moves = self.rpcs.iter().filter(|(_, rpc)| rpc.from.0 == node || rpc.to.0 == node);
                let moves: Vec<u64> = moves.map(|(id, _)| *id).collect();
                let Some(rpc) = moves.get((which % moves.len().max(1) as u64) as usize) else { return false };
                self.break_rpc(*rpc);
            }
            (Kind::DamageLine, _) if self.may_reset(node) => drop(self.damage.insert((node, What::Line))),
            (Kind::DamageBytes, _) => drop(self.damage.insert((node, What::Bytes))),
            (Kind::FlipBit, Node::Worker(n)) => return self.flip_some_bit(n, which),
            (Kind::SlowNetwork, _) if self.slow == 1 => {
                let times = [5, 50][(which % 2) as usize];
                if !self.may_slow_all(times) {
                    return false;
                }
                self.slow = times;
                self.note(format!("the network is {} times as slow", self.slow));
                undo(self, Undo::NetworkIsFast);
            }
            (Kind::SlowNode, _) => {
                let times = [5, 50, 500][(which >> 8) as usize % 3];
                if !self.may_slow(node, times) {
                    return false;
                }
                self.note(format!("{} is {times} times as far away", World::name_of(node)));
                self.slow_nodes.insert(node, times);
                undo(self, Undo::NodeIsFast(node));
            }
            (Kind::Partition, _) if self.may_isolate(node) => self.cut_off_group(node, which, lasts),
            (Kind::OneWay, _) if self.may_isolate(node) => {
                let others: Vec<Node> = self.processes.keys().copied().filter(|other| *other != node).collect();
                let other = match node {
                    Node::Master => others[(which >> 8) as usize % others.len()],
                    _ if which & 1 == 0 => Node::Master,
                    _ => others[(which >> 8) as usize % others.len()],
                };
                if !self.may_isolate(other) {
                    return false;
                }
                let (from, to) = if which & 2 == 0 { (node, other) } else { (other, node) };
                self.cut_direction(from, to, lasts);
            }
            (Kind::Bridge, _) => self.leave_a_bridge(node, which, lasts),
            (Kind::Flapping, _) if self.may_isolate(node) => {
                self.on_undo(Undo::Flap { node, left: 3 + (which % 8) as u32 });
            }
            _ => return false,
        }
        true
    }

    pub(crate) fn on_undo(&mut self, undo: Undo) {
        self.checker.disturbed_last = self.now;
        match undo {
            Undo::StartWorker(n) => {
                if !self.is_alive(self.life(Node::Worker(n))) {
                    self.start_worker(n);
                }
            }
            Undo::StartMaster => {
                if self.disk.fails {
                    return self.after(Duration::from_millis(100), Action::Undo(Undo::StartMaster));
                }
                if !self.is_alive(self.life(Node::Master)) {
                    self.start_master();
                }
            }
            Undo::StartClient(n) => self.start_client(n, true),
            Undo::Continue(node) => self.pause(node, false),
            Undo::DiskWorks => {
                self.disk.fails = false;
                self.on_undo(Undo::StartMaster);
            }
            Undo::DiskIsFast => self.disk.slow = 1,
            Undo::NetworkIsFast => self.slow = 1,
            Undo::NodeIsFast(node) => drop(self.slow_nodes.remove(&node)),
            Undo::ClockIsRight(node) => drop(self.ahead_ms.remove(&node)),
            Undo::Strike { node, left, down } => drop(self.strike(node, left, down)),
            Undo::Flap { node, left } => {
                let open = Duration::from_millis(30 + 20 * u64::from(left));
                let others: Vec<Node> = self.processes.keys().copied().filter(|other| *other != node).collect();
                if self.may_isolate(node) {
                    self.cut(&[node], &others, open);
                }
                if left > 0 {
                    self.after(2 * open, Action::Undo(Undo::Flap { node, left: left - 1 }));
                }
            }
        }
    }

    /// Asks a worker to end; it is started again when it has had its time.
    pub fn drain_worker(&mut self, n: usize) {
        self.draining = Some(n);
        self.step_worker(n, worker::agent::Event::Drain);
        self.after(Duration::from_secs(11), Action::Undo(Undo::StartWorker(n)));
    }

    /// Kills a node that is to be killed again as soon as it is back.
    fn strike(&mut self, node: Node, left: u32, down: Duration) -> bool {
        match node {
            Node::Master => {
                self.kill_master(false);
                self.after(down, Action::Undo(Undo::StartMaster));
            }
            Node::Worker(n) => {
                if !self.may_lose(n) || !self.may_kill_one_more() {
                    return false;
                }
                self.unmended_kills += 1;
                self.kill_worker(n);
                self.after(down, Action::Undo(Undo::StartWorker(n)));
            }
            Node::Client(_) => return false,
        }
        if left > 0 {
            let next = down + down / 2 + Duration::from_millis(10);
            self.after(next, Action::Undo(Undo::Strike { node, left: left - 1, down }));
        }
        true
    }

    fn hit_everybody(&mut self, lasts: Duration) {
        self.note("everybody is hit at once");
        for n in 0..self.workers.len() {
            let back = lasts / 4 + lasts / 2 * n as u32 / self.workers.len() as u32;
            if self.loss_allowed {
                self.kill_worker(n);
                self.after(back, Action::Undo(Undo::StartWorker(n)));
            } else if self.runs(Node::Worker(n)) && self.may_isolate(Node::Worker(n)) {
                // The master is not there to miss them; they are back before it gives them up.
                self.pause(Node::Worker(n), true);
                self.after(back, Action::Undo(Undo::Continue(Node::Worker(n))));
            }
        }
        self.kill_master(false);
        self.after(lasts / 2, Action::Undo(Undo::StartMaster));
    }

    /// Nothing comes through from one node to another for a while.
    pub fn cut_direction(&mut self, from: Node, to: Node, lasts: Duration) {
        self.note(format!("nothing gets from {} to {}", World::name_of(from), World::name_of(to)));
        self.cuts.push(Cut { from, to, until: self.now + lasts });
    }

    /// Cuts all links between two groups.
    fn cut(&mut self, some: &[Node], others: &[Node], lasts: Duration) {
        let until = self.now + lasts;
        self.cuts.retain(|cut| cut.until > self.now);
        for a in some {
            for b in others.iter().filter(|b| *b != a) {
                self.cuts.extend([Cut { from: *a, to: *b, until }, Cut { from: *b, to: *a, until }]);
            }
        }
    }

    /// Cuts off a node, and whoever is in its group.
    fn cut_off_group(&mut self, node: Node, which: u64, lasts: Duration) {
        let all: Vec<Node> = self.processes.keys().copied().collect();
        let with_it = |n: usize, other: &Node| *other != Node::Master && which >> (8 + n) & 3 == 0;
        let inside: Vec<Node> = all
            .iter()
            .enumerate()
            .filter(|(n, other)| **other == node || with_it(*n, other) && self.may_isolate(**other))
            .map(|(_, other)| *other)
            .collect();
        let outside: Vec<Node> = all.into_iter().filter(|other| !inside.contains(other)).collect();
        let names: Vec<String> = inside.iter().map(|node| World::name_of(*node)).collect();
        self.note(format!("{} cut off for {lasts:?}", names.join(", ")));
        self.cut(&inside, &outside, lasts);
    }

    /// Parts all others into two groups that only this node reaches both of.
    fn leave_a_bridge(&mut self, bridge: Node, which: u64, lasts: Duration) {
        let others = self.processes.keys().copied().filter(|other| *other != bridge);
        // The master keeps whoever may not be isolated on its side.
        let (left, right): (Vec<_>, Vec<_>) = others
            .enumerate()
            .partition(|(n, node)| *node == Node::Master || which >> (8 + n) & 1 == 0 || !self.may_isolate(*node));
        let nodes = |group: Vec<(usize, Node)>| group.into_iter().map(|(_, node)| node).collect::<Vec<_>>();
        let (left, right) = (nodes(left), nodes(right));
        self.note(format!("only {} reaches everybody", World::name_of(bridge)));
        self.cut(&left, &right, lasts);
    }

    fn reset_some_link(&mut self, node: Node, which: u64) -> bool {
        if !self.may_reset(node) || !self.may_reset(Node::Master) {
            return false;
        }
        let conns = self.conns.iter().filter(|(_, conn)| conn.from.0 == node).map(|(id, _)| *id);
        let conns: Vec<u64> = conns.collect();
        let Some(conn) = conns.get((which % conns.len().max(1) as u64) as usize) else { return false };
        self.reset(*conn);
        true
    }

    /// Breaks a copy that somebody else holds too.
    fn flip_some_bit(&mut self, n: usize, which: u64) -> bool {
        let Some(store) = &self.workers[n].store else { return false };
        let copies: Vec<CopyId> = store.inventory().into_iter().map(|copy| copy.id()).collect();
        let Some(copy) = copies.get((which % copies.len().max(1) as u64) as usize).copied() else { return false };
        if !self.loss_allowed {
            // Nothing looks for broken copies that nobody reads, so one of a segment at a time is what R = 2 survives.
            // With R = 1, or while somebody hands over, the intact one may be the one that is let go.
            if self.plan.replication == 1 || self.draining.is_some() {
                return false;
            }
            let all_intact = (0..self.workers.len()).all(|n| !self.has_copy(n, copy) || self.holds_intact(n, copy));
            if !all_intact || !self.is_safe_without(&self.disk.replay_all(), n, copy) {
                return false;
            }
        }
        let flipped = self.corrupt(n, copy);
        if flipped {
            self.note(format!("a bit of {copy} flips on {}", World::name_of(Node::Worker(n))));
        }
        flipped
    }

    /// Ends all faults: everybody runs, and the network is as it was planned.
    pub fn heal(&mut self) {
        self.queue.retain(|_, action| !matches!(action, Action::Fault { .. } | Action::Undo(_)));
        self.plan.network.loss_one_in = 0;
        (self.slow, self.disk.slow, self.disk.fails) = (1, 1, false);
        self.slow_nodes.clear();
        self.cuts.clear();
        self.damage.clear();
        self.ahead_ms.clear();
        self.send_imposters_away();
        let nodes: Vec<Node> = self.processes.keys().copied().collect();
        nodes.into_iter().for_each(|node| self.pause(node, false));
        self.on_undo(Undo::StartMaster);
        (0..self.workers.len()).for_each(|n| self.on_undo(Undo::StartWorker(n)));
        (0..self.clients.len()).for_each(|n| self.start_client(n, false));
    }
}
