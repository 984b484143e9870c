//! Clients: who is on which connection, and that each request is answered once.
//!
//! A request is known by its session and number. It is *in flight* until it is answered; the same request again, from a
//! new connection of the session, takes the place of the first. What changed the catalog is remembered there with its
//! reply, so a retry gets the first answer even from a restarted master.

use super::catalog::Memory;
use super::command::{self, Command};
use super::{Cluster, ConnId, Effect, Then};
use array::DType;
use protocol::message::client::*;
use protocol::message::{Body, Done, Hello, Message, Role};
use protocol::{ErrorCode, SessionId, WireError, WorkerId, id::request_name, limits};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A client's request: session and number.
pub(super) type Key = (SessionId, u64);

/// Who is at the other end of a connection.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Peer {
    Client(SessionId),
    Worker(WorkerId),
    Heartbeat(WorkerId),
}

/// Where a change of the catalog comes from, so that its outcome is remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub key: Key,
    fingerprint: u32,
    acked_below: u64,
}

/// A request that is not answered yet.
#[derive(Debug)]
pub(super) struct InFlight {
    pub body: Body,
    pub origin: Origin,
    pub received: Duration,
    pub deadline: Duration,
    /// What it waits for, in words, for the answer when that does not come.
    pub waits_for: String,
    /// Its length, as text.
    pub bytes: usize,
    /// Where it came from.
    pub address: Option<IpAddr>,
}

/// The error for a request whose number was that of another one.
pub(super) fn number_reused(id: u64) -> WireError {
    WireError::new(ErrorCode::IdReused, format!("request {id} was used before, for something else"))
}

/// What became of a request so far.
pub(super) enum Answer {
    Now(Body),
    /// Somebody has taken note and will answer.
    Later,
    /// It cannot go on now, for this reason; try again when something has changed.
    Park(String),
    /// The same, for memory: those who wait for that take turns.
    ParkForRoom(String),
}

impl Answer {
    fn now(body: impl Into<Body>) -> Result<Answer, WireError> {
        Ok(Answer::Now(body.into()))
    }
}

impl Cluster {
    pub(super) fn on_message(&mut self, conn: ConnId, message: Message) {
        match self.peers.get(&conn).cloned() {
            Some(Peer::Client(session)) => self.on_client_message(conn, session, message),
            Some(Peer::Worker(worker)) => self.on_worker_message(&worker, message),
            Some(Peer::Heartbeat(worker)) => match &message.body {
                Body::Heartbeat(heartbeat) => self.on_heartbeat(&worker, heartbeat),
                other => log::warn!("worker {worker} sent {} on its heartbeat connection", other.kind()),
            },
            // It has introduced itself, and waits for the answer. Somebody else it cannot be any more.
            None if self.claims.remove(&conn).is_some() => {
                let text = format!("{} before the answer to REGISTER_WORKER", message.body.kind());
                self.refuse_connection(conn, &message, WireError::new(ErrorCode::NotAllowed, text));
            }
            None => self.on_introduction(conn, message),
        }
    }

    /// The first message of a connection.
    fn on_introduction(&mut self, conn: ConnId, message: Message) {
        if self.catalog.cluster().is_nil() {
            // A new cluster is being founded: nobody may join it before its id is in the log for good.
            let error = WireError::new(ErrorCode::Busy, "the master is just starting").retry_after_ms(20);
            return self.refuse_connection(conn, &message, error);
        }
        match &message.body {
            Body::Hello(hello) if hello.protocol < limits::PROTOCOL_VERSION => {
                let text = format!("this master speaks protocol {}, not {}", limits::PROTOCOL_VERSION, hello.protocol);
                self.refuse_connection(conn, &message, WireError::new(ErrorCode::Unsupported, text));
            }
            Body::Hello(hello) => match hello.role {
                Role::Client => self.on_client_hello(conn, &message, hello.session),
                Role::Heartbeat => self.on_heartbeat_hello(conn, &message, &hello.clone()),
                Role::Master | Role::Worker => {
                    let error = WireError::new(
                        ErrorCode::NotAllowed,
                        "a master talks to clients and workers; workers register",
                    );
                    self.refuse_connection(conn, &message, error);
                }
            },
            Body::RegisterWorker(_) => self.on_register(conn, message),
            other => {
                let text = format!("{} before HELLO; say HELLO first", other.kind());
                self.refuse_connection(conn, &message, WireError::new(ErrorCode::NotAllowed, text));
            }
        }
    }

    fn on_client_hello(&mut self, conn: ConnId, message: &Message, session: Option<SessionId>) {
        let session = match session {
            Some(session) if !self.has_forgotten(session) => session,
            _ => {
                let bytes = (self.entropy)().to_le_bytes()[..10].try_into().expect("ten of sixteen bytes");
                uuid::Builder::from_unix_timestamp_millis(self.now.unix_ms, &bytes).into_uuid()
            }
        };
        self.peers.insert(conn, Peer::Client(session));
        if let Some(old) = self.sessions.insert(session, conn) {
            self.peers.remove(&old);
            self.effects.push(Effect::Close { conn: old });
        }
        let hello = Hello { session: Some(session), ..self.hello() };
        self.send(conn, Message::reply(&message.head, hello));
    }

    /// Whether a session is so old that outcomes of it may have been forgotten. Sessions carry the time of their making
    /// (UUID version 7), so that those which never changed anything need not be remembered.
    fn has_forgotten(&self, session: SessionId) -> bool {
        let Some(made) = session.get_timestamp() else {
            return false;
        };
        let (seconds, nanos) = made.to_unix();
        let age_ms = self.now.unix_ms.saturating_sub(seconds * 1000 + u64::from(nanos) / 1_000_000);
        age_ms > limits::SESSION_IDLE_MAX.as_millis() as u64
            && !self.catalog.remembers(session)
            && !self.sessions.contains_key(&session)
    }

    pub(super) fn on_disconnected(&mut self, conn: ConnId, why: &str, may_return: Duration) {
        self.claims.remove(&conn);
        self.addresses.remove(&conn);
        match self.peers.remove(&conn) {
            Some(Peer::Client(session)) => {
                self.sessions.remove(&session);
            }
            Some(Peer::Worker(worker)) => self.on_worker_disconnected(&worker, conn, why, may_return),
            Some(Peer::Heartbeat(worker)) => {
                if let Some(member) = self.members.get_mut(&worker) {
                    member.heartbeat_conn = None; // it comes again; if not, silence tells
                }
            }
            None => {}
        }
    }

    /// Answers the first message of a connection with an error, and closes it.
    pub(super) fn refuse_connection(&mut self, conn: ConnId, message: &Message, error: WireError) {
        match error.code {
            ErrorCode::Busy => log::debug!("connection {conn} is refused: {error}"), // it comes again, and is welcome then
            _ => log::warn!("connection {conn} is refused: {error}"),
        }
        self.send(conn, Message::reply(&message.head, error));
        self.effects.push(Effect::Close { conn });
    }

    fn on_client_message(&mut self, conn: ConnId, session: SessionId, message: Message) {
        let Some(id) = message.head.id.filter(|id| *id < limits::INTEGER_MAX) else {
            let error =
                WireError::new(ErrorCode::Malformed, format!("{} without a number as `id`", message.body.kind()));
            return self.send(conn, Message::reply(&message.head, error));
        };
        let key = (session, id);
        let (fingerprint, bytes) = fingerprint(&message.body);
        match self.recall(key, fingerprint) {
            Ok(None) => {}
            Ok(Some(reply)) => return self.reply(key, reply, None),
            Err(error) => return self.reply(key, Body::Error(error), None),
        }
        if self.requests.contains_key(&key) && !planted::bug!(RetryRunTwice) {
            return; // it is running; its answer goes to the newest connection of the session
        }
        let address = self.addresses.get(&conn).copied();
        if let Err(error) = self.check_pending(session, address, bytes) {
            return self.reply(key, Body::Error(error), None);
        }
        let timeout = message.head.timeout_ms.map_or(limits::REQUEST_TIMEOUT_DEFAULT, Duration::from_millis);
        let request = InFlight {
            body: message.body,
            origin: Origin { key, fingerprint, acked_below: message.head.acked_below.unwrap_or(0) },
            received: self.now.elapsed,
            deadline: self.now.elapsed.saturating_add(timeout),
            waits_for: "answer".to_string(),
            bytes,
            address,
        };
        log::debug!("[{}] {}", request_name(session, id), request.body.kind());
        if is_work(&request.body) {
            self.last_work = Some(self.now.elapsed);
        }
        self.requests.insert(key, request);
        self.requests_bytes += bytes;
        if let Some(address) = address {
            *self.requests_by_address.entry(address).or_default() += 1;
        }
        self.run(key);
    }

    /// The answer that a request got before, if it did.
    fn recall(&self, key: Key, fingerprint: u32) -> Result<Option<Body>, WireError> {
        let reused = || number_reused(key.1);
        if self.requests.get(&key).is_some_and(|request| request.origin.fingerprint != fingerprint) {
            return Err(reused());
        }
        match self.catalog.memory(key.0, key.1) {
            Memory::None => Ok(None),
            Memory::Forgotten => {
                let text = format!("request {} is too old: its outcome is forgotten, and it is not run again", key.1);
                Err(WireError::new(ErrorCode::OutcomeUnknown, text))
            }
            Memory::Outcome(outcome) if outcome.fingerprint != fingerprint => Err(reused()),
            Memory::Outcome(outcome) => match Body::from_parts(&outcome.kind, &outcome.data) {
                Some(Ok(body)) => Ok(Some(body)),
                _ => Err(WireError::new(
                    ErrorCode::OutcomeUnknown,
                    "the first answer was in a form that this master cannot read",
                )),
            },
        }
    }

    /// Does what a request asks for, as far as that is possible now.
    fn run(&mut self, key: Key) {
        let Some(request) = self.requests.get(&key) else {
            return;
        };
        let (body, place) = (request.body.clone(), (request.received, key));
        let answer = self.handle(key, body);
        if !matches!(answer, Ok(Answer::ParkForRoom(_))) {
            self.for_room.remove(&place);
        }
        match answer {
            Ok(Answer::Now(reply)) => self.answer(key, reply),
            Ok(Answer::Later) => {}
            Ok(Answer::Park(why)) => self.park(key, why),
            Ok(Answer::ParkForRoom(why)) => {
                self.park(key, why);
                self.for_room.insert(place);
            }
            Err(error) => self.answer(key, Body::Error(error)),
        }
    }

    /// Has a request tried again when something has changed.
    pub(super) fn park(&mut self, key: Key, waits_for: String) {
        if let Some(request) = self.requests.get_mut(&key) {
            request.waits_for = waits_for;
            self.parked.insert(key);
        }
    }

    fn handle(&mut self, key: Key, body: Body) -> Result<Answer, WireError> {
        if self.stopping.is_some() {
            return Err(WireError::new(ErrorCode::ShuttingDown, "the cluster is shutting down").retry_after_ms(200));
        }
        match body {
            Body::CreateArray(create) => self.on_create_array(key, create),
            Body::ReplanWrite(replan) => self.on_replan_write(key, replan),
            Body::CommitArray(commit) => self.on_commit_array(key, commit),
            Body::AbandonArray(AbandonArray { version }) => {
                self.abandon(version);
                Answer::now(Done {})
            }
            Body::ApplyOperation(apply) => self.on_apply_operation(key, apply),
            Body::ReduceArray(reduce) => self.on_reduce_array(key, reduce),
            Body::GenerateArray(generate) => self.on_generate_array(key, generate),
            Body::Explain(explain) => self.on_explain(explain),
            Body::WaitOperation(WaitOperation { operation }) => self.on_wait_operation(key, operation),
            Body::CancelOperation(CancelOperation { operation }) => self.on_cancel_operation(operation),
            Body::GetResult(get) => self.on_get_result(key, get),
            Body::RenewPin(RenewPin { pin }) => self.on_renew_pin(pin),
            Body::Unpin(Unpin { pin }) => {
                self.unpin(pin);
                Answer::now(Done {})
            }
            Body::ListArrays(_) => Answer::now(self.list_arrays()),
            Body::DescribeArray(DescribeArray { array_id }) => Answer::now(self.describe_array(&array_id)?),
            Body::ListWorkers(_) => Answer::now(self.list_workers()),
            Body::WaitWorkers(WaitWorkers { count }) => match self.placeable().count() >= count as usize {
                true => Answer::now(self.list_workers()),
                false => Ok(Answer::Park(format!("{count} workers; {} are alive", self.placeable().count()))),
            },
            Body::Status(_) => Answer::now(self.cluster_status()),
            Body::ListOperations(_) => Answer::now(self.list_operations()),
            Body::ListIncidents(_) => Answer::now(self.list_incidents()),
            Body::DeleteArray(DeleteArray { array_id }) => self.on_delete_array(key, array_id),
            Body::Shutdown(_) => self.on_shutdown(key),
            Body::Ping(_) => Answer::now(protocol::message::Pong {}),
            Body::Hello(_) => Err(WireError::new(ErrorCode::NotAllowed, "HELLO a second time on one connection")),
            other => {
                Err(WireError::new(ErrorCode::NotAllowed, format!("clients do not send {} to a master", other.kind())))
            }
        }
    }

    fn on_delete_array(&mut self, key: Key, name: String) -> Result<Answer, WireError> {
        if self.catalog.find(&name).is_none() {
            return Err(self.unknown_array(&name));
        }
        let body = Body::from(Done {});
        let command = Command::DeleteArray { request: Some(self.outcome(self.origin(key), &body)), name };
        protocol::fault_point!(DeleteNotProposed);
        self.propose(command, true, Then::Answer { key, body });
        Ok(Answer::Later)
    }

    fn on_shutdown(&mut self, key: Key) -> Result<Answer, WireError> {
        /// How long workers have to hang up before the master ends anyway.
        const GRACE: Duration = Duration::from_secs(2);
        log::warn!("[{}] the cluster is shut down by a client", request_name(key.0, key.1));
        self.answer(key, Done {}.into());
        self.stopping = Some(self.now.elapsed + GRACE);
        let workers: Vec<WorkerId> = self.members.keys().cloned().collect();
        workers.iter().for_each(|worker| self.tell(worker, Shutdown {}));
        Ok(Answer::Later)
    }

    /// What the catalog shall remember about a request, if it is answered so.
    pub(super) fn outcome(&self, origin: Origin, reply: &Body) -> command::Request {
        let (reply_kind, reply_data) = reply.to_parts();
        command::Request {
            session: origin.key.0,
            id: origin.key.1,
            acked_below: origin.acked_below,
            fingerprint: origin.fingerprint,
            at: self.now.unix_ms,
            reply_kind,
            reply_data,
        }
    }

    /// The request that a running change comes from.
    pub(super) fn origin(&self, key: Key) -> Origin {
        self.requests[&key].origin
    }

    /// Answers a request in flight.
    pub(super) fn answer(&mut self, key: Key, body: Body) {
        self.answer_with(key, body, None);
    }

    /// As [`Cluster::answer`], with few elements.
    pub(super) fn answer_with(&mut self, key: Key, body: Body, elements: Option<(DType, Arc<[u8]>)>) {
        self.parked.remove(&key);
        let Some(request) = self.requests.remove(&key) else {
            return;
        };
        self.for_room.remove(&(request.received, key));
        self.requests_bytes -= request.bytes;
        if let Some(of_address) = request.address.and_then(|address| self.requests_by_address.get_mut(&address)) {
            *of_address -= 1;
            if *of_address == 0 {
                self.requests_by_address.retain(|_, requests| *requests > 0);
            }
        }
        if let Body::Error(error) = &body {
            log::info!("[{}] {} is refused: {error}", request_name(key.0, key.1), request.body.kind());
        }
        self.reply(key, body, elements);
    }

    /// Sends a reply to where the session is now. If it is nowhere, the client will ask again.
    fn reply(&mut self, key: Key, body: Body, elements: Option<(DType, Arc<[u8]>)>) {
        if let Some(conn) = self.sessions.get(&key.0) {
            let message = Message::request(key.1, body).serving(Some(request_name(key.0, key.1)));
            let message = match elements {
                Some((dtype, elements)) => message.with_elements(dtype, elements),
                None => message,
            };
            self.send(*conn, message);
        }
    }

    /// Time that a request still has.
    pub(super) fn deadline_of(&self, key: Key) -> Duration {
        self.requests.get(&key).map_or(self.now.elapsed, |request| request.deadline)
    }

    /// Tries parked requests again. Of those that wait for memory the first, and the next one if that went on.
    pub(super) fn unpark(&mut self) {
        let for_room: BTreeSet<Key> = self.for_room.iter().map(|(_, key)| *key).collect();
        let (waiting, others) = std::mem::take(&mut self.parked).into_iter().partition(|key| for_room.contains(key));
        self.parked = waiting;
        let others: BTreeSet<Key> = others;
        for key in others {
            self.run(key);
        }
        while let Some(first @ (_, key)) = self.for_room.first().copied() {
            self.parked.remove(&key);
            self.run(key);
            if self.for_room.contains(&first) {
                break;
            }
        }
    }

    pub(super) fn watch_requests(&mut self) {
        let now = self.now.elapsed;
        let late: Vec<Key> =
            self.requests.iter().filter(|(_, request)| now >= request.deadline).map(|(key, _)| *key).collect();
        for key in late {
            let waits_for = self.explain_wait(key);
            let waited = now.saturating_sub(self.requests[&key].received).as_millis();
            let error = WireError::new(ErrorCode::DeadlineExceeded, format!("no {waits_for} within {waited} ms"));
            self.give_up_waiting(key);
            self.answer(key, Body::Error(error));
        }
    }

    pub(super) fn watch_sessions(&mut self) {
        let idle_before_ms = self.now.unix_ms.saturating_sub(limits::SESSION_IDLE_MAX.as_millis() as u64);
        let forgetting = self.now.elapsed.as_secs().is_multiple_of(60); // looking at all sessions once a minute is enough
        if forgetting && self.proposed.is_empty() && self.catalog.has_idle_sessions(idle_before_ms) {
            self.propose(Command::ForgetSessions { idle_before_ms }, false, Then::Nothing);
        }
    }
}

/// Whether a request takes processors or the network of workers.
fn is_work(body: &Body) -> bool {
    matches!(
        body,
        Body::CreateArray(_)
            | Body::ApplyOperation(_)
            | Body::ReduceArray(_)
            | Body::GenerateArray(_)
            | Body::GetResult(_)
    )
}

/// Fingerprint of a request's content, which the same request again has too, and its length.
fn fingerprint(body: &Body) -> (u32, usize) {
    let (kind, data) = body.to_parts();
    (array::checksum::crc32c_append(array::checksum::crc32c(kind.as_bytes()), data.as_bytes()), data.len())
}
