//! One simulated run, from one seed: a cluster, clients that never stop, faults, and then a healed cluster that must have
//! kept everything.

use crate::sim::faults::{self, Fault};
use crate::sim::network::Network;
use crate::sim::random::Random;
use crate::sim::wishes::Wish;
use crate::sim::{Action, Node, Plan, World};
use std::time::Duration;

/// How long faults go on.
const FAULTS_LAST: Duration = Duration::from_secs(8);

/// In which time a healed cluster must be whole again and have answered everybody.
const HEALS_WITHIN: Duration = Duration::from_secs(30);

/// A run as its seed decides it.
#[derive(Clone, Debug)]
pub struct Run {
    pub seed: u64,
    pub plan: Plan,
    pub faults: Vec<(Duration, Fault)>,
    pub loss_allowed: bool,
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    pub events: u64,
    pub wishes: u64,
    pub faults: u64,
    pub simulated: Duration,
    pub trace_hash: u32,
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
        let faults = faults::generate(&mut random, workers, Duration::from_secs(1), FAULTS_LAST);
        let loss_allowed = random.one_in(4);
        let level_1 = if random.one_in(3) { random.between(1, workers as u64) as usize } else { 0 };
        Run { seed, plan: Plan { workers, level_1, replication, clients, network }, faults, loss_allowed }
    }

    /// Runs it. Panics when something is not as it must be; the world stays for who wants to know more.
    pub fn execute(&self, world: &mut Option<World>) -> Summary {
        let world = world.insert(World::new(self.seed, self.plan.clone()));
        world.loss_allowed = self.loss_allowed;
        world.start_master();
        (0..self.plan.workers).for_each(|n| world.start_worker(n));
        for (time, fault) in &self.faults {
            world.at(*time, Action::Fault(fault.clone()));
        }
        for client in 0..self.plan.clients {
            world.clients[client].busy = true;
            world.at(Duration::from_millis(500), Action::ClientActs { client });
        }
        world.run_until(FAULTS_LAST);
        self.heal(world);
        let trace = world.trace.join("\n");
        Summary {
            events: world.events,
            wishes: world.clients.iter().map(|client| client.fulfilled).sum(),
            faults: self.faults.len() as u64,
            simulated: world.now,
            trace_hash: array::checksum::crc32c(trace.as_bytes()),
        }
    }

    fn heal(&self, world: &mut World) {
        world.heal(self.plan.network.delay, self.plan.network.jitter);
        world.note("healed");
        world.clients.iter_mut().for_each(|client| client.busy = false);
        let waiting = |world: &World| world.clients.iter().any(|client| client.is_waiting());
        let answered = world.run_while(HEALS_WITHIN, waiting);
        assert!(answered, "{HEALS_WITHIN:?} after the last fault somebody still waits: {}", world.who_waits());
        // Everything that is known is read once more, by who knows it.
        for n in 0..world.clients.len() {
            let names: Vec<String> = world.clients[n].names.keys().cloned().collect();
            for name in names {
                for array in [true, false] {
                    world.clients[n].busy = true; // so that a failure is judged as in the run
                    world.wish(n, Wish::Get { name: name.clone(), array, range: None });
                    world.clients[n].busy = false;
                    assert!(
                        world.run_while(HEALS_WITHIN, |world| world.clients[n].is_waiting()),
                        "no answer for '{name}'"
                    );
                    if !world.clients[n].names.contains_key(&name) {
                        break; // it was lost, and that was allowed
                    }
                }
            }
        }
        let end = world.now + Duration::from_secs(10);
        world.run_until(end);
        world.check_healed();
        assert!(world.clients.iter().all(|client| !client.is_waiting()));
        assert!(world.is_alive(world.life(Node::Master)));
    }
}
