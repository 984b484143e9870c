//! What is done to the cluster: waves of faults that a seed decides, each followed by what mends it.
//!
//! A wave hits at most R-1 workers, with or without the master, and the next one comes when all copies are there again. The one
//! exception kills everything at once: then everything is lost, and calls about it may fail until it is deleted.

use crate::course::Course;
use crate::shared::delete_everything;
use crate::{REPLICATION, WORKERS};
use client::Cluster;
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};
use tests::harness::links::Link;
use tests::harness::oracle::Numbers;
use tests::harness::proxy::{Direction, Quality};
use tests::harness::switch::{Impairment, Switch};
use tests::harness::wait::maybe_until;
use tests::harness::{CLIENTS, Processes};

/// How long the cluster may take to have all its copies again, with clients at work.
const MENDED_WITHIN: Duration = Duration::from_secs(60);

/// Lives of a worker in a restart storm.
const STORM: usize = 5;

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Kill,
    Pause,
    MasterRestart,
    KillWithMaster,
    PauseOverMasterRestart,
    PauseThenKill,
    RestartStorm,
    EverythingKilled,
    /// Nothing that the master says reaches a worker.
    CutFromMaster,
    /// Nothing that a worker says reaches the master.
    CutToMaster,
    /// A worker is cut off from everybody.
    Isolate,
    /// The link to the master comes and goes.
    Flap,
    /// Nothing reaches a data port.
    CutToData,
    /// Nothing that a data port says arrives.
    CutFromData,
    /// Clients and master do not reach each other.
    CutClients,
    /// What goes to a data port vanishes.
    Swallow,
    Reset,
    ResetClients,
    Damage,
    Slow,
    SlowClients,
    /// No packet reaches a worker.
    Deaf,
    /// No packet of a worker arrives.
    Mute,
    /// No packet to or from a worker arrives.
    Alone,
    /// The same, again and again for moments.
    Unsteady,
    /// Two workers do not reach each other, and all others reach both.
    Bridge,
    /// Clients reach nobody.
    ClientsAlone,
    /// Packets to and from a worker are lost, repeated, late, and arrive in another order.
    Weather,
    /// Little gets through to and from a worker, and what is too much is lost.
    Narrow,
}

/// What is between the processes, and can be spoiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Nothing of ours.
    Plain,
    /// A proxy for each link.
    Links,
    /// A switch for all packets.
    Switch,
}

/// How often each kind comes in a deck of waves; those of processes first.
const PROCESS_KINDS: [(Kind, usize); 8] = [
    (Kind::Kill, 5),
    (Kind::Pause, 4),
    (Kind::MasterRestart, 2),
    (Kind::KillWithMaster, 2),
    (Kind::PauseOverMasterRestart, 2),
    (Kind::PauseThenKill, 2),
    (Kind::RestartStorm, 1),
    (Kind::EverythingKilled, 1),
];

const LINK_KINDS: [(Kind, usize); 13] = [
    (Kind::CutFromMaster, 2),
    (Kind::CutToMaster, 2),
    (Kind::Isolate, 3),
    (Kind::Flap, 1),
    (Kind::CutToData, 1),
    (Kind::CutFromData, 1),
    (Kind::CutClients, 1),
    (Kind::Swallow, 1),
    (Kind::Reset, 3),
    (Kind::ResetClients, 2),
    (Kind::Damage, 3),
    (Kind::Slow, 2),
    (Kind::SlowClients, 1),
];

const PACKET_KINDS: [(Kind, usize); 8] = [
    (Kind::Deaf, 2),
    (Kind::Mute, 2),
    (Kind::Alone, 2),
    (Kind::Unsteady, 1),
    (Kind::Bridge, 2),
    (Kind::ClientsAlone, 1),
    (Kind::Weather, 4),
    (Kind::Narrow, 2),
];

/// The faults of one run.
pub struct Faults<'a> {
    cluster: &'a mut Processes,
    watcher: &'a Cluster,
    numbers: Numbers,
    course: &'a Course,
    kinds: Vec<(Kind, usize)>,
    /// The waves to come, in the order of a shuffled deck, so that every kind has its turn.
    deck: Vec<Kind>,
    told: Vec<String>,
    /// How many processes were killed or paused, or links spoiled, by kind.
    tally: BTreeMap<Kind, u64>,
    slowest_mending: Duration,
}

impl<'a> Faults<'a> {
    pub fn new(
        cluster: &'a mut Processes,
        watcher: &'a Cluster,
        seed: u64,
        network: Network,
        course: &'a Course,
    ) -> Faults<'a> {
        let mut kinds = PROCESS_KINDS.to_vec();
        match network {
            Network::Plain => {}
            Network::Links => kinds.extend(LINK_KINDS),
            Network::Switch => kinds.extend(PACKET_KINDS),
        }
        Faults {
            cluster,
            watcher,
            numbers: Numbers::new(seed * 100 + 99),
            course,
            kinds,
            deck: Vec::new(),
            told: Vec::new(),
            tally: BTreeMap::new(),
            slowest_mending: Duration::ZERO,
        }
    }

    /// One wave after the other, for so long.
    pub fn go_on(&mut self, lasts: Duration) {
        while self.course.now() < lasts && !self.course.is_over() {
            self.rest(700);
            let kind = self.draw();
            self.wave(kind);
        }
    }

    pub fn told(&self) -> String {
        self.told.join("\n")
    }

    pub fn count(&self) -> u64 {
        self.tally.values().sum()
    }

    pub fn summary(&self) -> String {
        let kinds: Vec<String> = self.tally.iter().map(|(kind, count)| format!("{count} {kind:?}")).collect();
        format!("{}; slowest mending {:?}", kinds.join(", "), self.slowest_mending)
    }

    fn draw(&mut self) -> Kind {
        if self.deck.is_empty() {
            self.deck = self.kinds.iter().flat_map(|(kind, times)| vec![*kind; *times]).collect();
        }
        let at = self.numbers.below(self.deck.len() as u64) as usize;
        self.deck.swap_remove(at)
    }

    /// One wave; then the cluster mends itself.
    fn wave(&mut self, kind: Kind) {
        let count = 1 + self.numbers.below(u64::from(REPLICATION) - 1) as usize;
        let victims = self.victims(count);
        let before = self.incarnations();
        self.tell(format!("{kind:?} on {victims:?}"));
        let reborn = self.do_to(kind, &victims);
        self.wait_mended(&reborn, &before);
        self.cluster.check();
    }

    /// Does it; gives who is in a new life.
    fn do_to(&mut self, kind: Kind, victims: &[String]) -> Vec<String> {
        let all_new = victims.to_vec();
        let links = |link: fn(&str) -> Link| victims.iter().map(|victim| link(victim)).collect::<Vec<_>>();
        let cut = Quality { cut: true, ..Quality::default() };
        match kind {
            Kind::Kill => self.kill_and_restart(kind, victims),
            Kind::Pause => self.pause_and_resume(kind, victims, false),
            Kind::MasterRestart => self.restart_master(kind),
            Kind::KillWithMaster => {
                victims.iter().for_each(|victim| self.kill(kind, victim));
                self.restart_master(kind);
                victims.iter().for_each(|victim| self.cluster.start_worker(victim));
            }
            Kind::PauseOverMasterRestart => self.pause_and_resume(kind, victims, true),
            Kind::PauseThenKill => {
                victims.iter().for_each(|victim| self.pause(kind, victim));
                self.rest(900);
                self.kill_and_restart(kind, victims);
            }
            Kind::RestartStorm => {
                for _ in 0..STORM {
                    victims.iter().for_each(|victim| self.kill(kind, victim));
                    victims.iter().for_each(|victim| self.cluster.start_worker(victim));
                }
            }
            Kind::EverythingKilled => return self.kill_everything(kind),
            Kind::CutFromMaster => self.spoil(kind, &links(Link::control), &[Direction::Back], cut, 4000),
            Kind::CutToMaster => self.spoil(kind, &links(Link::control), &[Direction::There], cut, 4000),
            Kind::Isolate => {
                let both = [links(Link::control), links(Link::data)].concat();
                self.spoil(kind, &both, &Direction::BOTH, cut, 4000);
            }
            Kind::Flap => {
                for _ in 0..STORM {
                    self.spoil(kind, &links(Link::control), &Direction::BOTH, cut, 500);
                    self.rest(300);
                }
            }
            Kind::CutToData => self.spoil(kind, &links(Link::data), &[Direction::There], cut, 4000),
            Kind::CutFromData => self.spoil(kind, &links(Link::data), &[Direction::Back], cut, 4000),
            Kind::CutClients => self.spoil(kind, &[Link::Clients], &Direction::BOTH, cut, 3000),
            Kind::Swallow => {
                let swallowing = Quality { swallowing: true, ..Quality::default() };
                self.spoil(kind, &links(Link::data), &[Direction::There], swallowing, 3000);
                // Half of a message is of no use to anybody.
                self.reset(kind, &links(Link::data));
            }
            Kind::Reset => self.reset(kind, &[links(Link::control), links(Link::data)].concat()),
            Kind::ResetClients => self.reset(kind, &[Link::Clients]),
            Kind::Damage => {
                for link in [links(Link::control), links(Link::data), vec![Link::Clients]].concat() {
                    let direction = Direction::BOTH[self.numbers.below(2) as usize];
                    self.cluster.links().get(&link).damage(direction);
                    self.count_one(kind);
                }
            }
            Kind::Slow => {
                let quality = self.slowness();
                self.spoil(kind, &[links(Link::control), links(Link::data)].concat(), &Direction::BOTH, quality, 3000);
            }
            Kind::SlowClients => {
                let quality = self.slowness();
                self.spoil(kind, &[Link::Clients], &Direction::BOTH, quality, 3000);
            }
            Kind::Deaf => {
                self.impair(kind, victims, |switch, victim, other| switch.impair(other, victim, Impairment::CUT), 4000)
            }
            Kind::Mute => {
                self.impair(kind, victims, |switch, victim, other| switch.impair(victim, other, Impairment::CUT), 4000)
            }
            Kind::Alone => self.impair(kind, victims, cut_both, 4000),
            Kind::Unsteady => {
                for _ in 0..STORM {
                    self.impair(kind, victims, cut_both, 500);
                    self.rest(300);
                }
            }
            Kind::Bridge => {
                let cut = |switch: &Switch, victim: &str, other: &str| {
                    if other.starts_with('w') {
                        cut_both(switch, victim, other);
                    }
                };
                self.impair(kind, &victims[..1], cut, 4000);
            }
            Kind::ClientsAlone => self.impair(kind, &[CLIENTS.to_string()], cut_both, 3000),
            Kind::Weather => {
                let weather = self.weather();
                self.impair(kind, victims, |switch, victim, other| switch.impair_both(victim, other, weather), 4000);
            }
            Kind::Narrow => {
                let bytes_per_second = Some((1 + self.numbers.below(20)) * 1_000_000);
                let narrow = Impairment { bytes_per_second, ..Impairment::default() };
                self.impair(kind, victims, |switch, victim, other| switch.impair_both(victim, other, narrow), 4000);
            }
        }
        match kind {
            Kind::Kill | Kind::KillWithMaster | Kind::PauseThenKill | Kind::RestartStorm => all_new,
            _ => Vec::new(),
        }
    }

    fn victims(&mut self, count: usize) -> Vec<String> {
        let mut victims = Vec::new();
        while victims.len() < count {
            let victim = format!("w{}", 1 + self.numbers.below(WORKERS as u64));
            if !victims.contains(&victim) {
                victims.push(victim);
            }
        }
        victims
    }

    fn count_one(&mut self, kind: Kind) {
        *self.tally.entry(kind).or_default() += 1;
    }

    // ---- processes ----

    fn kill(&mut self, kind: Kind, victim: &str) {
        self.cluster.kill(victim);
        self.count_one(kind);
    }

    fn pause(&mut self, kind: Kind, victim: &str) {
        self.cluster.pause(victim);
        self.count_one(kind);
    }

    fn kill_and_restart(&mut self, kind: Kind, victims: &[String]) {
        for victim in victims {
            self.kill(kind, victim);
            self.rest_sometimes(50);
        }
        self.rest_sometimes(2500); // long enough, at times, for repair to begin elsewhere
        for victim in victims {
            self.cluster.start_worker(victim);
            self.rest_sometimes(50);
        }
    }

    fn pause_and_resume(&mut self, kind: Kind, victims: &[String], with_master: bool) {
        for victim in victims {
            self.pause(kind, victim);
            self.rest_sometimes(50);
        }
        if with_master {
            self.restart_master(kind);
        }
        self.rest(3000);
        for victim in victims {
            self.cluster.resume(victim);
            self.rest_sometimes(50);
        }
    }

    fn restart_master(&mut self, kind: Kind) {
        self.kill(kind, "master");
        self.rest_sometimes(1000);
        self.cluster.start_master();
    }

    /// Master and workers at once: names are known afterwards, and what they held is lost.
    fn kill_everything(&mut self, kind: Kind) -> Vec<String> {
        let all: Vec<String> = (1..=WORKERS).map(|n| format!("w{n}")).collect();
        self.course.lose_everything();
        self.kill(kind, "master");
        all.iter().for_each(|worker| self.kill(kind, worker));
        self.cluster.start_master();
        all.iter().for_each(|worker| self.cluster.start_worker(worker));
        self.cluster.wait_alive(WORKERS);
        delete_everything(self.watcher, self.course);
        self.course.lose_everything();
        all
    }

    // ---- links ----

    /// Spoils directions of links for a while of up to so many milliseconds.
    fn spoil(&mut self, kind: Kind, links: &[Link], directions: &[Direction], quality: Quality, millis: u64) {
        for link in links {
            directions.iter().for_each(|direction| self.cluster.links().get(link).set(*direction, quality));
            self.count_one(kind);
        }
        self.rest(millis);
        links.iter().for_each(|link| self.cluster.links().get(link).mend());
    }

    fn reset(&mut self, kind: Kind, links: &[Link]) {
        for link in links {
            self.cluster.links().get(link).reset();
            self.count_one(kind);
        }
    }

    /// A link that is late and slow, and not so much that a heartbeat is missed.
    fn slowness(&mut self) -> Quality {
        let millis = |most: u64, numbers: &mut Numbers| Duration::from_millis(numbers.below(most));
        Quality {
            delay: millis(50, &mut self.numbers),
            jitter: millis(100, &mut self.numbers),
            bytes_per_second: Some((2 + self.numbers.below(48)) * 1_000_000),
            ..Quality::default()
        }
    }

    // ---- packets ----

    /// Spoils the ways between nodes and all others for a while of up to so many milliseconds.
    fn impair(&mut self, kind: Kind, nodes: &[String], spoil: impl Fn(&Switch, &str, &str), millis: u64) {
        for node in nodes {
            let switch = self.cluster.switch();
            switch.names().filter(|other| other != node).for_each(|other| spoil(switch, node, other));
            self.count_one(kind);
        }
        self.rest(millis);
        self.cluster.switch().mend();
    }

    /// Up to a tenth lost and a tenth repeated, and no packet so late that a heartbeat is missed for that alone.
    fn weather(&mut self) -> Impairment {
        let mut part = |most: f64| most * self.numbers.below(1000) as f64 / 1000.0;
        Impairment {
            loss: part(0.1),
            duplication: part(0.1),
            delay: Duration::from_millis(20).mul_f64(part(1.0)),
            jitter: Duration::from_millis(40).mul_f64(part(1.0)),
            bytes_per_second: None,
        }
    }

    // ---- waiting ----

    /// A while of any length up to this.
    fn rest(&mut self, millis: u64) {
        thread::sleep(Duration::from_millis(self.numbers.below(millis)));
    }

    /// The same, or nothing at all.
    fn rest_sometimes(&mut self, millis: u64) {
        if self.numbers.below(2) == 0 {
            self.rest(millis);
        }
    }

    fn incarnations(&self) -> BTreeMap<String, u64> {
        let workers = self.watcher.workers().unwrap_or_default();
        workers.into_iter().map(|worker| (worker.id.to_string(), worker.incarnation)).collect()
    }

    /// Waits until those who were killed are known in their new lives, and all copies are there.
    fn wait_mended(&mut self, killed: &[String], before: &BTreeMap<String, u64>) {
        let began = Instant::now();
        let mended = maybe_until(MENDED_WITHIN, || {
            let now = self.incarnations();
            let reborn = killed.iter().all(|worker| now.get(worker) > before.get(worker));
            let status = self.watcher.status().ok()?;
            let whole = status.workers_alive as usize == WORKERS && status.under_replicated == 0;
            (self.course.is_over() || reborn && whole).then_some(())
        });
        self.slowest_mending = self.slowest_mending.max(began.elapsed());
        self.tell(format!("mended after {:?}", began.elapsed()));
        if mended.is_none() {
            let status = self.watcher.status();
            self.course.fail(format!("NOT MENDED within {MENDED_WITHIN:?}: {status:?}"));
        }
    }

    fn tell(&mut self, what: String) {
        self.told.push(format!("{:8.3} s: {what}", self.course.now().as_secs_f64()));
    }
}

fn cut_both(switch: &Switch, victim: &str, other: &str) {
    switch.impair_both(victim, other, Impairment::CUT);
}
