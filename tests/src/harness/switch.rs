//! A network between [namespaces](super::namespace), in this process, that a test can spoil packet by packet while it runs: each way
//! between two nodes on its own may lose, repeat, delay, reorder and hold up packets. What TCP makes of that is the kernel's.
//!
//! One thread for each node reads the packets that it sends and decides what becomes of each; another one writes them to their
//! receivers when their time has come.

use super::namespace::{MTU, Namespace};
use crate::sim::random::Random;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tun::Device;

/// How long a thread waits for packets before it looks whether it is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What waits for a slow way at most; what comes then is lost, as the queue of a real switch is full.
const QUEUE: Duration = Duration::from_millis(50);

/// What happens to packets on one way. By default they arrive at once, all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Impairment {
    /// The part of all packets that is lost, from 0 to 1.
    pub loss: f64,
    /// The part that arrives twice.
    pub duplication: f64,
    /// How long each takes at least.
    pub delay: Duration,
    /// What comes on top, each packet on its own, so that a later one may arrive first.
    pub jitter: Duration,
    /// How much gets through; none: as much as the machine can.
    pub bytes_per_second: Option<u64>,
}

impl Impairment {
    /// Nothing arrives, and nobody is told.
    pub const CUT: Impairment = Impairment {
        loss: 1.0,
        duplication: 0.0,
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        bytes_per_second: None,
    };
}

/// What the switch has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that were sent.
    pub sent: u64,
    /// Those that were lost.
    pub lost: u64,
    /// Those that arrived twice.
    pub repeated: u64,
    /// Those that arrived after one that was sent later on the same way.
    pub overtaken: u64,
}

/// A way, by the numbers of its nodes: from, to.
type Way = (usize, usize);

/// A packet on its way. The order is that in which they arrive.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Packet {
    due: Instant,
    /// Its place among all that were sent.
    number: u64,
    way: Way,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct State {
    impairments: BTreeMap<Way, Impairment>,
    /// When a way has room for its next packet, if its rate is limited.
    free_at: BTreeMap<Way, Instant>,
    /// What is on its way.
    queue: BinaryHeap<Reverse<Packet>>,
    /// The last packet that has arrived on a way, by its number.
    last: BTreeMap<Way, u64>,
    random: Random,
    counts: Counts,
}

/// What the threads of a switch share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something new is in the queue.
    sent: Condvar,
    ended: AtomicBool,
}

/// The switch, and the namespaces that it joins.
#[derive(Debug)]
pub struct Switch {
    nodes: Vec<(String, Namespace)>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Switch {
    /// One for nodes with these names.
    pub fn start(names: impl Iterator<Item = String>, seed: u64) -> Switch {
        let (mut nodes, mut devices) = (Vec::new(), Vec::new());
        for (number, name) in names.enumerate() {
            let (namespace, device) = Namespace::new(address_of(number));
            nodes.push((name, namespace));
            devices.push(Arc::new(device));
        }
        let state = State {
            impairments: BTreeMap::new(),
            free_at: BTreeMap::new(),
            queue: BinaryHeap::new(),
            last: BTreeMap::new(),
            random: Random::new(seed),
            counts: Counts::default(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), sent: Condvar::new(), ended: AtomicBool::new(false) });
        let mut threads: Vec<JoinHandle<()>> = Vec::new();
        for (node, device) in devices.iter().enumerate() {
            let (shared, device, len) = (shared.clone(), device.clone(), devices.len());
            threads.push(thread::spawn(move || shared.read(node, &device, len)));
        }
        threads.push({
            let shared = shared.clone();
            thread::spawn(move || shared.deliver(&devices))
        });
        Switch { nodes, shared, threads }
    }

    /// The names of all nodes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().map(|(name, _)| name.as_str())
    }

    /// The address of a node.
    pub fn address(&self, name: &str) -> Ipv4Addr {
        address_of(self.number(name))
    }

    /// A command that runs another one as a node.
    pub fn command(&self, name: &str) -> Command {
        self.nodes[self.number(name)].1.command()
    }

    /// Makes this thread, and those that it starts from now on, part of a node.
    pub fn enter(&self, name: &str) {
        self.nodes[self.number(name)].1.enter();
    }

    /// What happens to packets from one node to another from now on.
    pub fn impair(&self, from: &str, to: &str, impairment: Impairment) {
        let way = (self.number(from), self.number(to));
        self.shared.state().impairments.insert(way, impairment);
    }

    /// The same for both ways between two nodes.
    pub fn impair_both(&self, a: &str, b: &str, impairment: Impairment) {
        self.impair(a, b, impairment);
        self.impair(b, a, impairment);
    }

    /// The same for both ways between a node and every other.
    pub fn impair_all_of(&self, name: &str, impairment: Impairment) {
        self.names().filter(|other| *other != name).for_each(|other| self.impair_both(name, other, impairment));
    }

    /// Nothing is wrong with any way any more.
    pub fn mend(&self) {
        self.shared.state().impairments.clear();
    }

    /// What it has done so far.
    pub fn counts(&self) -> Counts {
        self.shared.state().counts
    }

    fn number(&self, name: &str) -> usize {
        self.nodes.iter().position(|(node, _)| node == name).unwrap_or_else(|| panic!("there is no node {name}"))
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        let ended: Vec<_> = self.threads.drain(..).map(JoinHandle::join).collect();
        if ended.iter().any(Result::is_err) && !thread::panicking() {
            panic!("the switch has panicked");
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Reads what a node sends to one of so many, until the end.
    fn read(&self, from: usize, device: &Device, nodes: usize) {
        let mut buffer = [0; MTU as usize];
        while !self.has_ended() {
            let Ok(len) = device.recv_timeout(&mut buffer, LOOK_EVERY) else { continue };
            if let Some(to) = receiver(&buffer[..len], nodes) {
                self.state().send((from, to), &buffer[..len]);
                self.sent.notify_one();
            }
        }
    }

    /// Writes packets to their receivers when they are due, until the end.
    fn deliver(&self, devices: &[Arc<Device>]) {
        let mut state = self.state();
        while !self.has_ended() {
            match state.next(Instant::now()) {
                Ok(packet) => {
                    drop(state);
                    let _ = devices[packet.way.1].send(&packet.bytes); // a full queue loses packets, as they do
                    state = self.state();
                }
                Err(wait) => {
                    let waited = self.sent.wait_timeout(state, wait);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }
}

impl State {
    /// Decides what becomes of a packet.
    fn send(&mut self, way: Way, bytes: &[u8]) {
        let now = Instant::now();
        let impairment = self.impairments.get(&way).copied().unwrap_or_default();
        let Impairment { loss, duplication, delay, jitter, bytes_per_second } = impairment;
        self.counts.sent += 1;
        let mut begins = now;
        if let Some(rate) = bytes_per_second {
            let free_at = self.free_at.entry(way).or_insert(now);
            begins = now.max(*free_at);
            if begins - now < QUEUE {
                *free_at = begins + Duration::from_secs_f64(bytes.len() as f64 / rate as f64);
            }
        }
        if begins - now >= QUEUE || self.chance() < loss {
            self.counts.lost += 1;
            return;
        }
        let is_repeated = self.chance() < duplication;
        self.counts.repeated += u64::from(is_repeated);
        for _ in 0..=usize::from(is_repeated) {
            let due = begins + delay + jitter.mul_f64(self.chance());
            self.queue.push(Reverse(Packet { due, number: self.counts.sent, way, bytes: bytes.to_vec() }));
        }
    }

    /// The next packet that arrives, or how long to wait for one.
    fn next(&mut self, now: Instant) -> Result<Packet, Duration> {
        let until_next =
            self.queue.peek().map_or(LOOK_EVERY, |Reverse(packet)| packet.due.saturating_duration_since(now));
        if !until_next.is_zero() {
            return Err(until_next.min(LOOK_EVERY));
        }
        let Some(Reverse(packet)) = self.queue.pop() else { return Err(LOOK_EVERY) };
        let last = self.last.entry(packet.way).or_default();
        self.counts.overtaken += u64::from(packet.number < *last);
        *last = packet.number.max(*last);
        Ok(packet)
    }

    /// Any number from 0 to 1.
    fn chance(&mut self) -> f64 {
        self.random.below(1 << 20) as f64 / f64::from(1 << 20)
    }
}

/// The address of a node by its number: 10.77.0.1 and so on.
fn address_of(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, u8::try_from(number + 1).expect("no more than 254 nodes"))
}

/// The node that a packet is for. None of what is not IPv4, or for nobody here.
fn receiver(packet: &[u8], nodes: usize) -> Option<usize> {
    let is_ipv4 = packet.len() >= 20 && packet[0] >> 4 == 4;
    let [10, 77, 0, last] = packet.get(16..20)? else { return None };
    let number = usize::from(*last).checked_sub(1)?;
    (is_ipv4 && number < nodes).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_for_the_node_with_their_address() {
        let mut packet = [0; 40];
        packet[0] = 0x45;
        packet[16..20].copy_from_slice(&address_of(2).octets());
        assert_eq!(receiver(&packet, 3), Some(2));
        assert_eq!(receiver(&packet, 2), None, "there is no such node");
        packet[16] = 224;
        assert_eq!(receiver(&packet, 3), None, "not in this network");
        packet[0] = 0x60;
        assert_eq!(receiver(&packet, 3), None, "not IPv4");
        assert_eq!(receiver(&packet[..19], 3), None, "half a packet");
    }
}
