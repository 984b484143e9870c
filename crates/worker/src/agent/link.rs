//! The link to the master: connecting, registering, backing off, leaving.
//!
//! ```text
//! Waiting -> Dialing -> Registering -> Registered
//!    ^          |            |    |        |        failed, refused, silent, closed
//!    |          |            |    +-> Original      no answer: see `original_link.rs`
//!    +----------+------------+-----+-------+
//! ```
//!
//! After a failure the next address is tried at once; after a round through all of them comes a pause, 20 ms
//! at first and twice as long each round, up to 1 s. A registration that succeeded begins anew with the short
//! pause.

use super::{Agent, Effect, ExitReason, HeartbeatJob};
use crate::store::Store;
use log::{info, warn};
use protocol::limits::{HELLO_TIMEOUT, PROTOCOL_VERSION};
use protocol::message::worker::*;
use protocol::message::{Hello, Role};
use protocol::size::format_size;
use protocol::{Body, CopyId, CopyRecord, ErrorCode, Message, WireError};
use std::net::SocketAddr;
use std::time::Duration;

/// The first pause between two rounds: a master that restarts is back in about that time.
pub const BACKOFF_MIN: Duration = Duration::from_millis(20);

/// The longest pause: a master that comes back is noticed within a second, and an absent one costs nothing.
pub const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// How much a pause differs from its nominal length, either way, so that many workers do not come all at
/// once.
const JITTER: f64 = 0.25;

/// For one attempt to connect: a name may have two addresses, of which the first does not answer.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// When an attempt to connect is given up that the shell has not answered: it had its time and a second more.
const DIAL_GIVE_UP: Duration = Duration::from_secs(6);

/// How long a worker that is asked to end waits until its duties are taken over.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a master may say nothing that has not answered, when there are others to try: one of the original's has
/// nothing to say until somebody stores an array, but it may be one of ours that hangs while another is in office.
pub const QUIET_MAX: Duration = Duration::from_secs(10);

/// Why there is no draining with a master of the original system.
pub(super) const ORIGINALS_TAKE_NOTHING: &str = "an original master takes over no duties";

/// Between two log lines about a master that can't be reached.
pub const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// Where the link stands. `give_up` is when a wait ends in failure.
#[derive(Debug)]
pub(super) enum State {
    /// Until the next attempt.
    Waiting { until: Duration },
    /// The shell is connecting.
    Dialing { give_up: Duration },
    /// REGISTER_WORKER is sent. What changes since then is told after the answer.
    Registering { give_up: Duration, unreported: Vec<CopiesChanged> },
    /// A master has accepted this worker.
    Registered,
    /// The master seems to be, or is, one of the original system. `give_up` is when it must have said something.
    Original { give_up: Option<Duration> },
}

/// The link, and how to get a new one.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) state: State,
    /// Name of the current connection or attempt; grows with each.
    pub(super) number: u64,
    /// Which of the masters.
    address: usize,
    /// Attempts that failed in this round.
    failed: usize,
    /// Whether a whole round has failed since the last registration.
    pub(super) is_round_over: bool,
    /// The next pause, before jitter.
    backoff: Duration,
    seed: u64,
    /// Pauses made so far: the position in the sequence of random numbers.
    pauses: u64,
    /// When the last complaint was logged; none since the last registration.
    complained: Option<Duration>,
}

impl Link {
    pub(super) fn new(seed: u64) -> Link {
        Link {
            state: State::Waiting { until: Duration::ZERO },
            number: 0,
            address: 0,
            failed: 0,
            is_round_over: false,
            backoff: BACKOFF_MIN,
            seed,
            pauses: 0,
            complained: None,
        }
    }

    /// The connection to the master that has accepted this worker.
    pub(super) fn registered(&self) -> Option<u64> {
        matches!(self.state, State::Registered).then_some(self.number)
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        match self.state {
            State::Waiting { until } => Some(until),
            State::Dialing { give_up } | State::Registering { give_up, .. } => Some(give_up),
            State::Original { give_up } => give_up,
            State::Registered => None,
        }
    }

    /// Takes note that a master has use for this worker: the next failure is the first again.
    pub(super) fn succeed(&mut self) {
        self.backoff = BACKOFF_MIN;
        self.failed = 0;
        self.is_round_over = false;
        self.complained = None;
    }

    /// Whether to log another failure: the first one, and then now and then.
    pub(super) fn may_complain(&mut self, now: Duration) -> bool {
        let may = self.complained.is_none_or(|last| now >= last + COMPLAINT_INTERVAL);
        if may {
            self.complained = Some(now);
        }
        may
    }

    /// Whether `link` is the connection, or the attempt, that counts.
    pub(super) fn is_current(&self, link: u64) -> bool {
        link == self.number && !matches!(self.state, State::Waiting { .. })
    }

    /// The next pause: the nominal length, give or take the jitter.
    fn next_pause(&mut self) -> Duration {
        let mut factor = [0.0];
        array::random::fill_double(self.seed, self.pauses, &mut factor, 1.0 - JITTER, 1.0 + JITTER);
        self.pauses += 1;
        let pause = self.backoff.mul_f64(factor[0]);
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
        pause
    }
}

impl Agent {
    /// Does what is due.
    pub(super) fn on_time(&mut self, now: Duration, store: &mut Store) {
        if self.exited {
            return;
        }
        if self.drain_until.is_some_and(|until| now >= until) {
            let why = match self.link.state {
                State::Waiting { .. } | State::Dialing { .. } => "no master could be reached within 10 s",
                _ => "the master did not take over its duties within 10 s",
            };
            return self.exit_undrained(store, why);
        }
        match self.link.state {
            State::Waiting { until } if now >= until => self.dial(now),
            State::Dialing { give_up } if now >= give_up => self.fail(now, store, "no connection within 6 s"),
            State::Registering { give_up, .. } if now >= give_up => self.on_no_answer(now, store),
            State::Original { give_up: Some(give_up) } if now >= give_up => {
                self.fail(now, store, "it said nothing within 10 s, and there are other masters to try");
            }
            State::Original { .. } => self.on_original_time(now, store),
            _ => {}
        }
    }

    fn dial(&mut self, now: Duration) {
        self.link.number += 1;
        self.link.state = State::Dialing { give_up: now + DIAL_GIVE_UP };
        let address = self.settings.masters[self.link.address].clone();
        self.effects.push(Effect::OpenLink { link: self.link.number, address });
    }

    pub(super) fn on_link_opened(&mut self, now: Duration, store: &Store, link: u64, local: Option<SocketAddr>) {
        if !self.link.is_current(link) {
            return self.effects.push(Effect::CloseLink { link });
        }
        self.link.state = State::Registering { give_up: now + HELLO_TIMEOUT, unreported: Vec::new() };
        protocol::fault_point!(NotRegistered);
        let message = Message::new(self.registration(store, local));
        self.effects.push(Effect::Send { link, message });
    }

    fn registration(&self, store: &Store, local: Option<SocketAddr>) -> RegisterWorker {
        let settings = &self.settings;
        RegisterWorker {
            host: local.map(|l| l.ip().to_string()).unwrap_or_default(),
            port: local.map(|l| l.port()).unwrap_or_default(),
            cores: settings.cores,
            memory: store.budget() >> 20,
            hello: Some(WorkerHello {
                protocol: PROTOCOL_VERSION,
                features: settings.features.clone(),
                worker: settings.worker.clone(),
                incarnation: settings.incarnation,
                address: settings.address.clone(),
                kernels: settings.kernels.clone(),
                memory_bytes: store.budget(),
                zone: settings.zone.clone(),
                cluster: self.cluster,
                draining: self.drain_until.is_some(),
                inventory: store.inventory(),
            }),
        }
    }

    pub(super) fn on_received(&mut self, now: Duration, store: &mut Store, link: u64, message: Message) {
        if !self.link.is_current(link) {
            return; // what an earlier link still had to say
        }
        if let State::Registered = self.link.state {
            return self.on_instruction(store, message);
        }
        if let State::Original { .. } = self.link.state {
            return self.fail(now, store, "it speaks level 2 and was only slow to say so; registering anew");
        }
        match message.body {
            Body::Hello(hello) => match self.check_master(store, &hello) {
                Ok(cluster) => self.on_accepted(cluster),
                Err(error) => self.on_refused(now, store, error),
            },
            Body::Error(error) => self.on_refused(now, store, error),
            other => self.fail(now, store, &format!("it answered REGISTER_WORKER with {}", other.kind())),
        }
    }

    /// Whether to obey who answered; gives its cluster.
    fn check_master(&self, store: &mut Store, hello: &Hello) -> Result<uuid::Uuid, WireError> {
        let refuse = |code, why: String| Err(WireError::new(code, why));
        let Some(cluster) = hello.cluster.filter(|_| hello.role == Role::Master) else {
            return refuse(
                ErrorCode::Malformed,
                "it answered REGISTER_WORKER without role \"master\" and a cluster".into(),
            );
        };
        match self.cluster {
            Some(ours) if ours != cluster => {
                refuse(ErrorCode::WrongCluster, format!("it is the master of cluster {cluster}"))
            }
            _ => store.admit_term(hello.term.unwrap_or(0)).map(|()| cluster).map_err(|e| {
                // Not the Fenced that ends this process: that one comes from a master in office.
                WireError::new(ErrorCode::NotAllowed, e.message)
            }),
        }
    }

    fn on_accepted(&mut self, cluster: uuid::Uuid) {
        let address = self.master().to_string();
        info!("registered with the master at {address}, cluster {cluster}");
        self.cluster = Some(cluster);
        self.link.succeed();
        let before = std::mem::replace(&mut self.link.state, State::Registered);
        protocol::fault_point!(RegisteredNotBeating);
        self.effects.push(Effect::StartHeartbeats(HeartbeatJob {
            address,
            worker: self.settings.worker.clone(),
            incarnation: self.settings.incarnation,
        }));
        if let State::Registering { unreported, .. } = before {
            unreported.into_iter().for_each(|changed| self.send(Message::new(changed)));
        }
        if self.drain_until.is_some() {
            self.send(Message::new(WorkerStatus { state: WorkerStage::Draining }));
        }
    }

    fn on_refused(&mut self, now: Duration, store: &mut Store, error: WireError) {
        match error.code {
            ErrorCode::Fenced => return self.exit(ExitReason::Replaced),
            ErrorCode::WrongCluster if self.settings.join_new => {
                warn!("{error}; giving up {} copies of the old cluster, as --join-new says", store.copies());
                let address = self.link.address;
                self.fail(now, store, "it is the master of another cluster, which is joined now");
                store.clear();
                self.cluster = None;
                self.link.address = address;
                self.link.state = State::Waiting { until: now };
                return;
            }
            ErrorCode::WrongCluster => {
                // Nothing changes quickly here: somebody has to decide.
                self.link.backoff = BACKOFF_MAX;
                let why = format!(
                    "{error}; this worker keeps its {} copies of cluster {} and asks again; --join-new gives them up",
                    store.copies(),
                    self.cluster.map_or("?".into(), |cluster| cluster.to_string()),
                );
                return self.fail(now, store, &why);
            }
            _ => {}
        }
        self.fail(now, store, &error.to_string());
    }

    pub(super) fn on_link_ended(&mut self, now: Duration, store: &mut Store, link: u64, why: &str) {
        if self.link.is_current(link) {
            self.fail(now, store, why);
        }
    }

    /// Ends the link or the attempt, and sees when and where to try next.
    pub(super) fn fail(&mut self, now: Duration, store: &mut Store, why: &str) {
        self.complain(now, why);
        self.effects.push(Effect::CloseLink { link: self.link.number });
        let masters = self.settings.masters.len();
        let had_master = self.has_master();
        match self.link.state {
            State::Registered => {
                self.effects.push(Effect::StopHeartbeats);
                self.forget_work(store);
            }
            State::Original { .. } => self.original.end(store),
            State::Waiting { .. } | State::Dialing { .. } | State::Registering { .. } => {}
        }
        if !had_master {
            self.link.address = (self.link.address + 1) % masters;
            self.link.failed += 1;
        }
        let until = if had_master || self.link.failed >= masters {
            self.link.is_round_over |= !had_master;
            self.link.failed = 0;
            now + self.link.next_pause()
        } else {
            now
        };
        self.link.state = State::Waiting { until };
    }

    /// Logs a failure, the first one and then now and then.
    fn complain(&mut self, now: Duration, why: &str) {
        match self.link.state {
            State::Registered => {
                let address = self.master();
                warn!("lost the master at {address}: {why}; the copies here stay; trying to reach it again");
            }
            State::Original { .. } if self.has_master() => {
                let address = self.master();
                warn!("lost the original master at {address}: {why}; trying to reach it again");
            }
            _ => {
                if self.link.may_complain(now) {
                    warn!("no master at {}: {why}; trying again", self.master());
                }
            }
        }
    }

    /// Where the current master is, or may be.
    pub(super) fn master(&self) -> &str {
        &self.settings.masters[self.link.address]
    }

    /// Whether a master has use for this worker.
    fn has_master(&self) -> bool {
        match self.link.state {
            State::Registered => true,
            State::Original { .. } => self.original.is_recognised(),
            State::Waiting { .. } | State::Dialing { .. } | State::Registering { .. } => false,
        }
    }

    /// Tells the master about copies, at once or after its answer to the registration. Without a connection
    /// nothing needs telling: the inventory of the next registration says it.
    pub(super) fn tell_copies_changed(
        &mut self,
        stored: impl IntoIterator<Item = CopyRecord>,
        broken: impl IntoIterator<Item = CopyId>,
    ) {
        let changed = CopiesChanged { stored: stored.into_iter().collect(), broken: broken.into_iter().collect() };
        changed.broken.iter().for_each(|copy| warn!("the copy of {copy} is broken; it has been thrown away"));
        match &mut self.link.state {
            State::Registering { unreported, .. } => unreported.push(changed),
            State::Registered => self.send(Message::new(changed)),
            State::Waiting { .. } | State::Dialing { .. } | State::Original { .. } => {}
        }
    }

    pub(super) fn on_drain(&mut self, now: Duration, store: &Store) {
        if self.drain_until.is_some() {
            return;
        }
        info!("asked to end: draining");
        protocol::fault_point!(DrainNotTold);
        self.drain_until = Some(now + DRAIN_TIMEOUT);
        match self.link.state {
            State::Registered => self.send(Message::new(WorkerStatus { state: WorkerStage::Draining })),
            State::Registering { .. } => {} // told after the answer
            State::Waiting { .. } | State::Dialing { .. } if store.copies() == 0 => {
                self.exit_undrained(store, "no master is connected");
            }
            State::Waiting { .. } | State::Dialing { .. } => {
                let (copies, size) = (store.copies(), format_size(store.used()));
                warn!("no master is connected; its {copies} copies, {size}, wait up to 10 s for one to take them over");
            }
            State::Original { .. } => self.exit_undrained(store, ORIGINALS_TAKE_NOTHING),
        }
    }

    pub(super) fn exit_undrained(&mut self, store: &Store, why: &'static str) {
        let (segments, bytes) = self.original.held();
        self.exit(ExitReason::Undrained { copies: store.copies() + segments, bytes: store.used() + bytes, why });
    }
}
