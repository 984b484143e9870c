//! What goes wrong: a list of faults with times, made from the seed before the run begins.
//!
//! Each seed switches each kind of fault fully on or off and draws how often it comes, so that rare combinations occur. Three
//! quarters of the faults look for a node with work in flight, and wait a moment for one. Unless the plan allows losses, a
//! fault that would take the last copy of anything is left out when its time comes: then no call may fail, whatever else
//! goes wrong. [`inject`] does it, [`safe`] says what may be done.

mod inject;
mod safe;

use super::Node;
use super::random::Random;
use std::time::Duration;

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A worker is killed, and started again without its copies after a while.
    KillWorker,
    /// The same, but it is back within a heartbeat.
    RestartWorker,
    /// A worker is stopped for a while.
    PauseWorker,
    /// A worker is asked to end, and started again.
    Drain,
    /// The master is stopped for a while.
    PauseMaster,
    /// The master is killed, and started again on its log.
    KillMaster,
    /// The same with the loss of what was not synced.
    PowerLoss,
    /// Writes and syncs fail, the master ends, and cannot start until that is over.
    DiskFails,
    /// Writes and syncs take up to 200 times as long.
    SlowDisk,
    /// A master or worker is killed again and again, as soon as it is back.
    RestartStorm,
    /// The master is killed and all workers are stopped, or, where losses are allowed, killed too.
    Everybody,
    /// A client is killed, and comes back as a new one.
    KillClient,
    /// A machine stands still with its clock.
    Freeze,
    /// The wall clock of a machine is wrong for a while.
    WrongClock,
    /// A connection to the master is reset.
    Reset,
    /// A connection to a data port is reset in the middle.
    ResetData,
    /// A line arrives damaged: a broken frame.
    DamageLine,
    /// The bytes of a segment arrive damaged.
    DamageBytes,
    /// A bit flips in a copy.
    FlipBit,
    /// Everything takes longer on the network.
    SlowNetwork,
    /// Everything from and to one node does.
    SlowNode,
    /// Some nodes can't be reached by the others, nor reach them.
    Partition,
    /// Nothing comes through in one direction between two nodes.
    OneWay,
    /// Two groups that one node alone can reach both of.
    Bridge,
    /// A node is cut off again and again for moments.
    Flapping,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 25] = [
        Kind::KillWorker,
        Kind::RestartWorker,
        Kind::PauseWorker,
        Kind::Drain,
        Kind::PauseMaster,
        Kind::KillMaster,
        Kind::PowerLoss,
        Kind::DiskFails,
        Kind::SlowDisk,
        Kind::RestartStorm,
        Kind::Everybody,
        Kind::KillClient,
        Kind::Freeze,
        Kind::WrongClock,
        Kind::Reset,
        Kind::ResetData,
        Kind::DamageLine,
        Kind::DamageBytes,
        Kind::FlipBit,
        Kind::SlowNetwork,
        Kind::SlowNode,
        Kind::Partition,
        Kind::OneWay,
        Kind::Bridge,
        Kind::Flapping,
    ];
}

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    /// Whether it looks for a node with work in flight.
    pub aimed: bool,
    /// Decides what is left open, such as which node.
    pub which: u64,
    /// How long it lasts.
    pub lasts: Duration,
}

/// How a fault ends, or goes on.
#[derive(Clone, Debug, PartialEq)]
pub enum Undo {
    /// A worker is started.
    StartWorker(usize),
    /// The master is started, as soon as its disk lets it.
    StartMaster,
    /// A client is started.
    StartClient(usize),
    /// A process goes on.
    Continue(Node),
    /// The disk works again.
    DiskWorks,
    /// It is as fast as before.
    DiskIsFast,
    /// So is the network.
    NetworkIsFast,
    /// So is the network of a node.
    NodeIsFast(Node),
    /// A wall clock is right again.
    ClockIsRight(Node),
    /// A node is killed once more, and so many times after that.
    Strike {
        /// Which.
        node: Node,
        /// How often after that.
        left: u32,
        /// How long it is dead.
        down: Duration,
    },
    /// A node is cut off once more, and so many times after that.
    Flap {
        /// Which.
        node: Node,
        /// How often after that.
        left: u32,
    },
}

/// Makes the faults of a run.
pub fn generate(random: &mut Random, from: Duration, until: Duration) -> Vec<(Duration, Fault)> {
    const GAPS: [Duration; 3] = [Duration::from_millis(800), Duration::from_secs(2), Duration::from_secs(5)];
    let mut kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|_| random.one_in(4)).collect();
    if kinds.is_empty() {
        kinds.push(random.pick(&Kind::ALL));
    }
    let mut faults = Vec::new();
    for kind in kinds {
        let mean_gap = random.pick(&GAPS);
        let mut time = from + random.time(Duration::ZERO, mean_gap);
        while time < until {
            let longest =
                random.pick(&[Duration::from_millis(40), Duration::from_millis(600), Duration::from_millis(2500)]);
            let lasts = random.time(Duration::from_millis(1), longest);
            faults.push((time, Fault { kind, aimed: !random.one_in(4), which: random.bits(), lasts }));
            time += random.time(Duration::ZERO, 2 * mean_gap);
        }
    }
    faults.sort_by_key(|(time, _)| *time);
    faults
}
