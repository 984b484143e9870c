//! Registration: how a worker comes in, with what it holds.
//!
//! Its inventory is compared with what is needed: copies that the catalog can use count again, copies of what is being
//! written or computed are kept, all others are dropped. A worker is *up* when its registration is in the catalog.
//!
//! A worker id belongs to whoever has it as long as he answers; otherwise to the newer process.

use super::catalog::Applied;
use super::command::Command;
use super::members::{Call, Member, RETURN_AFTER_CLOSE};
use super::quotas::WORKERS_MAX;
use super::requests::Peer;
use super::{Cluster, ConnId, Effect, Then};
use protocol::message::client::IncidentKind;
use protocol::message::worker::*;
use protocol::message::{Body, Hello, Message, Ping, Role};
use protocol::{CopyId, CopyRecord, ErrorCode, WireError, WorkerId, limits, name};
use std::time::Duration;

/// How long the holder of a worker id has to answer a ping when another process claims the id.
const CLAIM_TIMEOUT: Duration = Duration::from_millis(200);

/// A process that says it is a worker whose id is taken.
#[derive(Debug)]
pub(super) struct Claim {
    worker: WorkerId,
    incarnation: u64,
    /// Whether it was registered with this cluster before.
    was_here: bool,
    /// Its registration.
    message: Message,
    until: Duration,
}

impl Cluster {
    /// A connection introduces itself as a worker.
    pub(super) fn on_register(&mut self, conn: ConnId, message: Message) {
        let Body::RegisterWorker(RegisterWorker { hello: Some(hello), .. }) = &message.body else {
            let error = WireError::new(
                ErrorCode::Unsupported,
                "REGISTER_WORKER without `hello` is level 1, and this connection began with level 2",
            );
            return self.refuse_connection(conn, &message, error);
        };
        if let Err(error) = self.check_hello(hello) {
            return self.refuse_connection(conn, &message, error);
        }
        let Some(old) = self.members.get_mut(&hello.worker) else {
            return self.register(conn, message);
        };
        if old.hello.incarnation == hello.incarnation || planted::bug!(IncarnationNotCompared) {
            let worker = hello.worker.clone();
            self.member_down(&worker, IncidentKind::WorkerDown, "it connected anew", RETURN_AFTER_CLOSE);
            return self.register(conn, message);
        }
        // Another process under a live worker's id. Whoever is there stays, if it is there.
        let (old_conn, call) = (old.conn, old.number());
        old.calls.insert(call, Call::Claim);
        let (worker, incarnation, was_here) = (hello.worker.clone(), hello.incarnation, hello.cluster.is_some());
        let until = self.now.elapsed + CLAIM_TIMEOUT;
        self.claims.insert(conn, Claim { worker, incarnation, was_here, message, until });
        self.send(old_conn, Message::request(call, Ping {}));
    }

    fn check_hello(&self, hello: &WorkerHello) -> Result<(), WireError> {
        name::check("worker", hello.worker.as_str())?;
        if hello.protocol < limits::PROTOCOL_VERSION {
            let message = format!(
                "worker {} speaks protocol {}, this master {}",
                hello.worker,
                hello.protocol,
                limits::PROTOCOL_VERSION
            );
            return Err(WireError::new(ErrorCode::Unsupported, message));
        }
        if self.catalog.worker(&hello.worker).is_none() && self.catalog.workers().count() >= WORKERS_MAX {
            let text = format!(
                "{WORKERS_MAX} workers are known, the most a cluster remembers; start this one under an id it had before"
            );
            return Err(WireError::new(ErrorCode::TooLarge, text));
        }
        match hello.cluster {
            Some(cluster) if cluster != self.catalog.cluster() => {
                let message = format!(
                    "worker {} holds data of cluster {cluster}, this is cluster {}; start it with --join-new to give that data up",
                    hello.worker,
                    self.catalog.cluster()
                );
                Err(WireError::new(ErrorCode::WrongCluster, message).workers([hello.worker.clone()]))
            }
            _ => Ok(()),
        }
    }

    /// The holder of a claimed id has answered, or time is up.
    pub(super) fn decide_claims(&mut self, worker: &WorkerId, holder_answered: bool) {
        let claims = self.claims.iter().filter(|(_, claim)| claim.worker == *worker);
        let conns: Vec<ConnId> = claims.map(|(conn, _)| *conn).collect();
        for conn in conns {
            let Some(claim) = self.claims.remove(&conn) else {
                continue;
            };
            if holder_answered {
                let error = WireError::new(
                    ErrorCode::WorkerIdInUse,
                    format!("a live worker has the id '{worker}'; give this one another"),
                );
                self.refuse_connection(conn, &claim.message, error.workers([worker.clone()]));
                continue;
            }
            match self.members.get(worker) {
                Some(member) if claim.incarnation <= member.hello.incarnation => {
                    // Incarnations are times. Whoever was here before is what is left of an older process, and ends; but one
                    // that has just been started may be the newer one after all, on a clock that went back.
                    let (code, text) = match claim.was_here {
                        true => (ErrorCode::Fenced, format!("a newer process has registered as worker '{worker}'")),
                        false => (
                            ErrorCode::WorkerIdInUse,
                            format!("worker '{worker}' is not known to be gone, and was started later by its clock"),
                        ),
                    };
                    let error = WireError::new(code, text).workers([worker.clone()]);
                    self.refuse_connection(conn, &claim.message, error);
                }
                Some(_) => {
                    self.member_down(
                        worker,
                        IncidentKind::WorkerDown,
                        "a newer process took its id",
                        RETURN_AFTER_CLOSE,
                    );
                    self.register(conn, claim.message);
                }
                None => self.register(conn, claim.message),
            }
        }
    }

    /// The holder of an id is gone: whoever claims it need not wait for its answer.
    pub(super) fn hurry_claims(&mut self, worker: &WorkerId) {
        let now = self.now.elapsed;
        self.claims.values_mut().filter(|claim| claim.worker == *worker).for_each(|claim| claim.until = now);
    }

    pub(super) fn watch_claims(&mut self) {
        let now = self.now.elapsed;
        let late: Vec<WorkerId> =
            self.claims.values().filter(|claim| now >= claim.until).map(|claim| claim.worker.clone()).collect();
        late.iter().for_each(|worker| self.decide_claims(worker, false));
    }

    /// Takes a worker in: compares its inventory with what is needed, and proposes its registration.
    fn register(&mut self, conn: ConnId, message: Message) {
        let Body::RegisterWorker(register @ RegisterWorker { hello: Some(hello), .. }) = &message.body else {
            return;
        };
        let mut hello = hello.clone();
        let worker = hello.worker.clone();
        let mut inventory = std::mem::take(&mut hello.inventory);
        if planted::bug!(InventoryIgnored) {
            inventory.clear();
        }
        let incarnation = hello.incarnation;
        log::info!("worker {worker} registers from {} with {} copies", hello.address, inventory.len());
        self.peers.insert(conn, Peer::Worker(worker.clone()));
        self.effects.push(Effect::Dial { worker: worker.clone(), incarnation, address: hello.address.clone() });
        self.members.insert(worker.clone(), Member::new(conn, register, hello, self.liveness_clock));
        self.unreported.remove(&worker);
        self.send(conn, Message::reply(&message.head, self.hello()));
        let copies = self.take_inventory(&worker, inventory);
        protocol::fault_point!(RegistrationNotProposed);
        self.flush_copies(); // what it is told to drop it has not lost
        let command = Command::WorkerUp { worker: worker.clone(), incarnation, copies, at: self.now.unix_ms };
        self.propose(command, true, Then::WorkerIsUp { worker, incarnation });
    }

    pub(super) fn hello(&self) -> Hello {
        Hello {
            cluster: Some(self.catalog.cluster()),
            term: Some(self.term),
            program: Some(env!("CARGO_PKG_VERSION").to_string()),
            ..Hello::new(Role::Master)
        }
    }

    /// Mirrors what a worker says it holds, tells it to drop what nobody needs, and gives the copies that count in the
    /// catalog.
    pub(super) fn take_inventory(&mut self, worker: &WorkerId, inventory: Vec<CopyRecord>) -> Vec<CopyId> {
        let mut counted = Vec::new();
        let mut useless = Vec::new();
        for copy in inventory {
            let needed = match self.catalog.version(copy.0) {
                Some(_) if self.counts_in_catalog(worker, copy) => {
                    counted.push(copy.id());
                    true
                }
                Some(_) => false,
                None if planted::bug!(UnconfirmedCopyCounted) => self.is_needed(copy.0),
                None => self.is_needed(copy.0) && !self.is_unconfirmed_result(copy),
            };
            match (needed, self.members.get_mut(worker)) {
                (true, Some(member)) => {
                    member.add(copy);
                }
                _ => {
                    self.lose_copy(worker, copy.id());
                    useless.push(copy.id());
                }
            }
        }
        if !useless.is_empty() {
            log::info!("worker {worker} is told to drop {} copies that nobody needs", useless.len());
            self.tell(worker, DropCopies { copies: useless, ..DropCopies::default() });
        }
        counted
    }

    pub(super) fn on_worker_up(&mut self, worker: &WorkerId, incarnation: u64, applied: &Applied) {
        self.open_incident(applied.incident, self.now.elapsed, false, 0);
        if let Some(member) = self.members.get_mut(worker)
            && member.hello.incarnation == incarnation
        {
            member.up = true;
            log::info!("worker {worker} is up");
        }
        self.reconcile(worker, None);
    }

    pub(super) fn on_dialed(&mut self, worker: &WorkerId, incarnation: u64, failure: Option<String>) {
        let Some(member) = self.members.get_mut(worker) else {
            return;
        };
        if member.hello.incarnation != incarnation {
            return;
        }
        member.reachable = Some(failure.is_none());
        if let Some(why) = failure {
            log::warn!(
                "the data port of worker {worker} at {} cannot be reached from the master: {why}; see --advertise",
                member.hello.address
            );
        }
    }

    /// A connection introduces itself as the heartbeats of a worker.
    pub(super) fn on_heartbeat_hello(&mut self, conn: ConnId, message: &Message, hello: &Hello) {
        let member = hello.worker.as_ref().and_then(|worker| Some((worker.clone(), self.members.get_mut(worker)?)));
        match member {
            Some((worker, member)) if Some(member.hello.incarnation) == hello.incarnation => {
                let old = member.heartbeat_conn.replace(conn);
                self.peers.insert(conn, Peer::Heartbeat(worker));
                self.effects.extend(old.map(|conn| Effect::Close { conn }));
                let reply = Message::reply(&message.head, self.hello());
                self.send(conn, reply);
            }
            _ => {
                let error = WireError::new(
                    ErrorCode::NotAllowed,
                    "heartbeats of a worker that is not registered; register first",
                );
                self.refuse_connection(conn, message, error);
            }
        }
    }
}
