//! One simulated run, from one seed: a cluster, clients that never stop, faults, and then a healed cluster that must have
//! kept everything.

use crate::sim::faults::{self, Fault, Kind};
use crate::sim::network::Network;
use crate::sim::odd::EFFORT;
use crate::sim::outcome::{Outcome, Tally};
use crate::sim::random::Random;
use crate::sim::shared;
use crate::sim::wishes::Wish;
use crate::sim::{Action, Node, PLENTY, Plan, World};
use protocol::message::client::{Shutdown, Status};
use std::time::Duration;

/// How long faults go on.
pub const FAULTS_LAST: Duration = Duration::from_secs(8);

/// In which time a healed cluster must have answered everybody, those too who wait for the deadline of what can't be had.
const ANSWERS_WITHIN: Duration = Duration::from_secs(70);

/// In which time it must be whole again.
const HEALS_WITHIN: Duration = Duration::from_secs(10);

/// In which time a worker that was asked to end is back.
const DRAINS_WITHIN: Duration = Duration::from_secs(15);

/// How long the cluster may keep what somebody has left behind: an upload, or what is read.
const LEFT_FOR: Duration = Duration::from_secs(61);

/// How long uploads whose clients were killed may keep their room, and operations wait for it.
const ROOM_KEPT: Duration = Duration::from_secs(12);

/// In which time it ends when it is told to.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// Decides which seeds have odd clients: none of those that `tests/seeds` knew before there were any.
const ODD: u64 = 0xddb;

/// Decides which seeds demand two copies of everything: none of those that `tests/seeds` knew before.
const DEMANDING: u64 = 0xded5;

/// Memory that a run may fill.
const LITTLE: u64 = 1 << 20;

/// A run as its seed decides it.
#[derive(Clone, Debug)]
pub struct Run {
    pub seed: u64,
    pub plan: Plan,
    pub faults: Vec<(Duration, Fault)>,
    pub loss_allowed: bool,
}

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub events: u64,
    /// Calls of clients, each answer of which was checked.
    pub wishes: u64,
    /// Those of them on names that all clients use, checked for linearizability.
    pub shared: u64,
    pub faults: Tally,
    pub simulated: Duration,
    pub trace_hash: u64,
    pub outcome: Outcome,
}

impl Run {
    /// The run of a seed.
    pub fn of(seed: u64) -> Run {
        let mut random = Random::new(seed ^ 0xda77a);
        let workers = random.between(3, 8) as usize;
        let replication = random.between(1, 4) as u32;
        let delay = random.pick(&[Duration::from_micros(50), Duration::from_millis(1), Duration::from_millis(20)]);
        let network = Network { delay, jitter: 2 * delay, loss_one_in: random.pick(&[0, 0, 200]) };
        let clients = random.between(1, 5) as usize;
        let faults = faults::generate(&mut random, Duration::from_secs(1), FAULTS_LAST);
        let may_lose = random.one_in(4);
        let level_1 = if random.one_in(3) { random.between(1, workers as u64) as usize } else { 0 };
        let worker_bytes = if random.one_in(10) { LITTLE } else { PLENTY };
        // Where there is no room for R copies a write has fewer, and its reply says so.
        let loss_allowed = may_lose || worker_bytes == LITTLE;
        let odd = Random::new(seed ^ ODD).one_in(4);
        // Where memory is short, whoever demands two copies waits for them in vain.
        let demands_two = worker_bytes == PLENTY && Random::new(seed ^ DEMANDING).one_in(4);
        let min_copies = if demands_two { replication.min(2) } else { 1 };
        let plan = Plan { workers, level_1, replication, min_copies, clients, network, worker_bytes, odd };
        Run { seed, plan, faults, loss_allowed }
    }

    /// The same without the faults of one kind.
    pub fn without(&self, kind: Kind) -> Run {
        let mut run = self.clone();
        run.faults.retain(|(_, fault)| fault.kind != kind);
        run
    }

    /// Runs it. Panics when something is not as it must be; the world stays for who wants to know more.
    pub fn execute(&self, world: &mut Option<World>) -> Summary {
        let world = world.insert(World::new(self.seed, self.plan.clone()));
        world.loss_allowed = self.loss_allowed;
        world.start_master();
        (0..self.plan.workers).for_each(|n| world.start_worker(n));
        for (time, fault) in &self.faults {
            world.at(*time, Action::Fault { fault: fault.clone(), waited: 0 });
        }
        for client in 0..self.plan.clients {
            world.clients[client].busy = true;
            // Odd ones do not wait for the cluster to be there.
            let begins = Duration::from_millis(if self.plan.odd { 0 } else { 500 });
            world.at(begins, Action::ClientActs { client });
        }
        world.run_until(FAULTS_LAST);
        world.heal();
        world.note("healed");
        world.clients.iter_mut().for_each(|client| client.busy = false);
        let waiting = |world: &World| world.clients.iter().any(|client| client.is_waiting());
        let answered = world.run_while(ANSWERS_WITHIN, waiting);
        assert!(answered, "{ANSWERS_WITHIN:?} after the last fault somebody still waits: {}", world.who_waits());
        // Who was asked to end takes ten seconds if there is nobody to hand over to, and is back a second later.
        world.run_while(DRAINS_WITHIN, |world| world.is_draining());
        // With one copy a worker that does not get on is waited for: nobody else can compute what it has.
        let within = HEALS_WITHIN + if self.plan.odd { EFFORT } else { Duration::ZERO };
        let whole = world.run_while(within, |world| !world.is_whole());
        assert!(whole, "{within:?} after that not everything is as it was: {}", world.what_is_missing());
        self.read_everything(world);
        world.run_while(ROOM_KEPT, World::is_occupied);
        // What workers of level 1 compute late is in vain by then, and what was sent through a network that is too slow for the
        // cluster has arrived: whoever registered through it has been answered, or has tried again.
        let is_late = self.plan.level_1 > 0 || world.loss_allowed;
        let late = Duration::from_secs(if is_late { 10 } else { 3 });
        if self.plan.odd {
            world.forget_sessions();
        }
        world.run_until(world.now + if self.plan.odd { LEFT_FOR } else { late });
        world.check_healed();
        assert!(world.clients.iter().all(|client| !client.is_waiting()));
        assert!(world.is_alive(world.life(Node::Master)));
        world.see_incidents();
        let summary = Summary {
            events: world.events,
            wishes: world.clients.iter().map(|client| client.fulfilled).sum(),
            shared: world.check_histories(),
            faults: world.tally.clone(),
            simulated: world.now,
            trace_hash: world.trace_hash(),
            outcome: world.outcome.clone(),
        };
        if self.plan.odd {
            self.shut_down(world);
        }
        summary
    }

    /// A client has the cluster end.
    fn shut_down(&self, world: &mut World) {
        world.wish(0, Wish::Ask(Box::new(Shutdown {}.into())));
        if self.plan.clients > 1 {
            world.wish(1, Wish::Ask(Box::new(Status {}.into()))); // perhaps it is not answered any more
        }
        let nodes = || (0..self.plan.workers).map(Node::Worker).chain([Node::Master]);
        let ended = world.run_while(ENDS_WITHIN, |world| nodes().any(|node| world.is_alive(world.life(node))));
        assert!(ended, "{ENDS_WITHIN:?} after it was shut down the cluster has not ended");
    }

    /// Everything that is known is read once more, by who knows it; the names that all use by each of them.
    fn read_everything(&self, world: &mut World) {
        for n in 0..world.clients.len() {
            let mine = world.clients[n].names.keys().cloned();
            let names: Vec<String> = mine.chain(shared::names()).collect();
            for name in names {
                for array in [true, false] {
                    world.clients[n].busy = true; // so that a failure is judged as in the run
                    world.wish(n, Wish::Get { name: name.clone(), array, range: None });
                    world.clients[n].busy = false;
                    assert!(
                        world.run_while(ANSWERS_WITHIN, |world| world.clients[n].is_waiting()),
                        "no answer for '{name}'"
                    );
                    if !shared::is_shared(&name) && !world.clients[n].names.contains_key(&name) {
                        break; // it was lost, and that was allowed
                    }
                }
            }
        }
    }
}
