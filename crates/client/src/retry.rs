//! [`Session`]: requests to the master, each answered once, however often connections and masters come and go.
//!
//! It is a state machine without socket, clock or thread. The shell tells it what happened ([`Event`]) and does what it
//! says ([`Effect`]):
//!
//! ```text
//!            a call            dialled            HELLO answered
//!   Idle ------------> Connecting ------> Greeting ------------> Ready <-> requests and replies
//!     ^                  |    ^              |                     |
//!     | no calls         v    | wait over    v                     v
//!     +---------------- Backoff <-- (Closing, until the shell says Disconnected)
//! ```
//!
//! - Requests are numbered from 1 within the session when they are first sent, and keep their number and content until they
//!   are answered: after a lost connection, after a restart of the master, after `Busy`. `ackedBelow` tells the master what
//!   it may forget.
//! - It connects when there is something to ask, to the masters in turn, and waits between attempts.
//! - If the master does not remember the session, requests that change something end in [`CallError::OutcomeUnknown`];
//!   the others are asked again in the new session.
//! - A request ends by its deadline at the latest. The master knows the deadline too and gets a moment to answer first,
//!   because it can say what is missing.
//! - A master that says nothing while something is asked gets a PING, and is taken for dead without any reply to it.
//!
//! The contract: each [`Effect::Connect`] is followed by one [`Event::Connected`] or [`Event::ConnectFailed`], each `Connected`
//! ends with one [`Event::Disconnected`] (soon after [`Effect::Disconnect`]), call numbers grow, and a [`Event::Tick`]
//! comes at [`Session::next_deadline`]. Then every call gets exactly one [`Effect::Finish`], or was given up.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::error::{CallError, Waiting};
use crate::pace::{self, Jitter};
use protocol::limits::{HELLO_TIMEOUT, IN_FLIGHT_MAX};
use protocol::message::{Hello, Ping, Role};
use protocol::{Body, ErrorCode, Message, SessionId, WireError};
use std::collections::BTreeMap;
use std::time::Duration;

/// When to send a request again that was refused as `Busy` without a time.
const BUSY_WAIT: Duration = Duration::from_millis(100);

/// How long a call waits beyond its deadline for the master's own account of what is missing.
const ANSWER_GRACE: Duration = Duration::from_millis(250);

/// How long the master may say nothing while something is asked of it, before it is asked whether it is there. TCP itself would
/// wait for many minutes after a power cut.
const PING_AFTER: Duration = Duration::from_secs(5);

/// How long it may take to answer that; a master at its limits, or stopped for a moment, does it in time.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// What the shell tells the session.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// Somebody wants to know something by `deadline`. `call` is his number for it, larger than all before.
    Call {
        /// The caller's number.
        call: u64,
        /// The request.
        body: Body,
        /// When he stops waiting, in the time of `now`.
        deadline: Duration,
    },
    /// The caller does not want the answer any more; there will be no [`Effect::Finish`].
    GiveUp {
        /// The caller's number.
        call: u64,
    },
    /// The connection that was asked for is there.
    Connected,
    /// It could not be made.
    ConnectFailed {
        /// Address and reason, for people.
        why: String,
    },
    /// The connection has ended.
    Disconnected {
        /// Address and reason, for people.
        why: String,
    },
    /// The master said something.
    Received(Message),
}

/// What the session tells the shell to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Connect to this master (an index into the list of addresses).
    Connect {
        /// Which one.
        master: usize,
    },
    /// Close the connection, and say [`Event::Disconnected`].
    Disconnect,
    /// Send this on the connection. If that fails, the connection is to be closed; no other report is needed.
    Send(Message),
    /// A call has ended.
    Finish {
        /// The caller's number.
        call: u64,
        /// The reply, or why there is none. An ERROR is always [`CallError::Refused`].
        result: Result<Message, CallError>,
    },
}

/// The state of the connection.
#[derive(Clone, Debug, PartialEq)]
enum Link {
    /// None, and none is needed.
    Idle,
    /// None; the next attempt is at that time.
    Backoff { until: Duration },
    /// The shell is dialling.
    Connecting,
    /// HELLO is sent, its answer is awaited until then.
    Greeting { until: Duration },
    /// Requests may be sent.
    Ready { heard: Duration, ping_sent: Option<Duration> },
    /// The shell was told to close it.
    Closing,
}

/// Where a request is.
#[derive(Clone, Debug, PartialEq)]
enum Place {
    /// Not on this connection yet.
    Unsent,
    /// Sent on this connection.
    Sent,
    /// Refused for now; to be sent again then.
    Delayed { until: Duration, refusal: WireError },
}

#[derive(Clone, Debug)]
struct Pending {
    body: Body,
    deadline: Duration,
    /// Its number in the session, from its first sending on.
    id: Option<u64>,
    place: Place,
    /// How often it was refused for now.
    refusals: u32,
}

/// The requests of one client; see the [module](self).
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    cluster: Option<uuid::Uuid>,
    masters: usize,
    /// The master that is connected to, or will be tried next.
    master: usize,
    link: Link,
    /// Attempts without an answered HELLO in a row, and how the last one ended.
    failures: u32,
    last_failure: String,
    /// For how long the master has asked not to be dialled again.
    asked_to_wait: Option<Duration>,
    jitter: Jitter,
    next_id: u64,
    /// By the callers' numbers.
    pending: BTreeMap<u64, Pending>,
    /// Numbers that are sent on this connection and not answered, and whose they are: none when given up, and for PING.
    in_flight: BTreeMap<u64, Option<u64>>,
}

impl Session {
    /// A session that will call itself `id` and knows so many masters. `seed` decides the jitter.
    ///
    /// # Panics
    /// If there are no masters.
    pub fn new(id: SessionId, masters: usize, seed: u64) -> Session {
        assert!(masters > 0, "a session needs a master to talk to");
        Session {
            id,
            cluster: None,
            masters,
            master: 0,
            link: Link::Idle,
            failures: 0,
            last_failure: "none has been tried yet".to_string(),
            asked_to_wait: None,
            jitter: Jitter::new(seed),
            next_id: 1,
            pending: BTreeMap::new(),
            in_flight: BTreeMap::new(),
        }
    }

    /// The name it goes by now; the master can change it.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Whether a master has answered HELLO on the present connection.
    pub fn is_ready(&self) -> bool {
        matches!(self.link, Link::Ready { .. })
    }

    /// Takes note of an event at the time `now`, which never goes back.
    pub fn step(&mut self, now: Duration, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Tick => {}
            Event::Call { call, body, deadline } => {
                self.pending.insert(call, Pending { body, deadline, id: None, place: Place::Unsent, refusals: 0 });
            }
            Event::GiveUp { call } => self.forget(call),
            Event::Connected => self.on_connected(now, &mut effects),
            Event::ConnectFailed { why } => self.on_lost(now, why),
            Event::Disconnected { why } => self.on_lost(now, why),
            Event::Received(message) => self.on_message(now, message, &mut effects),
        }
        self.end_overdue_calls(now, &mut effects);
        self.run_link_timers(now, &mut effects);
        self.send_what_may_be_sent(now, &mut effects);
        effects
    }

    /// When the next [`Event::Tick`] is needed; none while nothing is waited for.
    pub fn next_deadline(&self) -> Option<Duration> {
        let link = match &self.link {
            Link::Backoff { until } | Link::Greeting { until } => Some(*until),
            Link::Ready { ping_sent: Some(sent), .. } => Some(*sent + PING_TIMEOUT),
            Link::Ready { heard, .. } if !self.in_flight.is_empty() => Some(*heard + PING_AFTER),
            Link::Ready { .. } | Link::Idle | Link::Connecting | Link::Closing => None,
        };
        let calls = self.pending.values().flat_map(|pending| {
            let retry = match pending.place {
                Place::Delayed { until, .. } if self.is_ready() => Some(until),
                _ => None,
            };
            [Some(self.overdue_at(pending)), retry]
        });
        calls.chain([link]).flatten().min()
    }

    /// When a call ends without an answer.
    fn overdue_at(&self, pending: &Pending) -> Duration {
        match pending.place {
            Place::Sent => pending.deadline + ANSWER_GRACE,
            Place::Unsent | Place::Delayed { .. } => pending.deadline,
        }
    }

    fn on_connected(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        debug_assert_eq!(self.link, Link::Connecting, "nobody asked for a connection");
        let hello = Hello { session: Some(self.id), ..Hello::new(Role::Client) };
        effects.push(Effect::Send(Message::new(hello)));
        self.link = Link::Greeting { until: now + HELLO_TIMEOUT };
    }

    /// The connection, or the attempt at one, is gone.
    fn on_lost(&mut self, now: Duration, why: String) {
        // After our own Disconnect the reason is known better than "connection closed".
        if self.link != Link::Closing {
            self.last_failure = why;
        }
        self.in_flight.clear();
        for pending in self.pending.values_mut().filter(|pending| pending.place == Place::Sent) {
            pending.place = Place::Unsent;
        }
        self.failures += 1;
        self.master = (self.master + 1) % self.masters;
        // Each master gets one attempt before the wait grows.
        let round = self.failures.div_ceil(u32::try_from(self.masters).unwrap_or(u32::MAX));
        let wait = self.jitter.shorten(pace::backoff(round));
        // Another master may have room.
        let asked = self.asked_to_wait.take().filter(|_| self.masters == 1).map(|wait| self.jitter.lengthen(wait));
        self.link = Link::Backoff { until: now + wait.max(asked.unwrap_or_default()) };
    }

    fn on_message(&mut self, now: Duration, message: Message, effects: &mut Vec<Effect>) {
        match (&mut self.link, message.body) {
            (Link::Greeting { .. }, Body::Hello(hello)) => self.on_hello(now, hello, effects),
            (Link::Greeting { .. }, Body::Error(error)) => self.on_hello_refused(error, effects),
            (Link::Ready { heard, ping_sent }, body) => {
                (*heard, *ping_sent) = (now, None);
                if let Some(id) = message.head.id {
                    self.on_reply(now, id, Message { body, ..message }, effects);
                } else if let Body::Error(error) = body {
                    // About the connection as a whole: the master closes it next.
                    self.disconnect(error.to_string(), effects);
                }
            }
            // What was still on its way when we hung up.
            _ => {}
        }
    }

    fn on_hello(&mut self, now: Duration, hello: Hello, effects: &mut Vec<Effect>) {
        let other_session = hello.session.is_some_and(|session| session != self.id);
        let other_cluster = self.cluster.is_some() && hello.cluster.is_some() && self.cluster != hello.cluster;
        if other_session || other_cluster {
            self.end_requests_of_unknown_outcome(effects);
        }
        if other_session {
            self.next_id = 1;
            for pending in self.pending.values_mut() {
                pending.id = None;
            }
        }
        self.id = hello.session.unwrap_or(self.id);
        self.cluster = hello.cluster.or(self.cluster);
        self.failures = 0;
        self.link = Link::Ready { heard: now, ping_sent: None };
    }

    /// The master does not remember what we asked: what could have changed something has ended.
    fn end_requests_of_unknown_outcome(&mut self, effects: &mut Vec<Effect>) {
        let unknown: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.id.is_some() && changes_something(&pending.body))
            // A refusal was its answer; there is nothing unknown about it.
            .filter(|(_, pending)| !matches!(pending.place, Place::Delayed { .. }))
            .map(|(&call, _)| call)
            .collect();
        for call in unknown {
            self.finish(call, Err(CallError::OutcomeUnknown), effects);
        }
    }

    fn on_hello_refused(&mut self, error: WireError, effects: &mut Vec<Effect>) {
        if error.code == ErrorCode::Unsupported || error.code == ErrorCode::NotAllowed {
            // Asking again cannot help.
            for call in self.pending.keys().copied().collect::<Vec<_>>() {
                self.finish(call, Err(CallError::Refused(error.clone())), effects);
            }
        }
        self.asked_to_wait = retry_after(&error);
        self.disconnect(error.to_string(), effects);
    }

    fn on_reply(&mut self, now: Duration, id: u64, message: Message, effects: &mut Vec<Effect>) {
        // Nobody's: a second answer, one to PING, or one to a call that was given up.
        let Some(Some(call)) = self.in_flight.remove(&id) else {
            return;
        };
        match message.body {
            Body::Error(error) => match retry_after(&error) {
                Some(named) => {
                    let pending = self.pending.get_mut(&call).expect("who is in flight is pending");
                    pending.refusals += 1;
                    let wait = self.jitter.lengthen(pace::busy_wait(named, pending.refusals));
                    // Once more before the deadline, if the master's own time allows it.
                    let latest = pending.deadline.saturating_sub(named).max(now + named);
                    pending.place = Place::Delayed { until: (now + wait).min(latest), refusal: error };
                }
                None => self.finish(call, Err(CallError::Refused(error)), effects),
            },
            _ => self.finish(call, Ok(message), effects),
        }
    }

    fn disconnect(&mut self, why: String, effects: &mut Vec<Effect>) {
        self.last_failure = why;
        self.link = Link::Closing;
        effects.push(Effect::Disconnect);
    }

    fn finish(&mut self, call: u64, result: Result<Message, CallError>, effects: &mut Vec<Effect>) {
        self.forget(call);
        effects.push(Effect::Finish { call, result });
    }

    /// Ends a call. A request that was sent stays in flight, because the master still counts it.
    fn forget(&mut self, call: u64) {
        self.pending.remove(&call);
        for owner in self.in_flight.values_mut().filter(|owner| **owner == Some(call)) {
            *owner = None;
        }
    }

    fn end_overdue_calls(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let overdue: Vec<(u64, Waiting)> = self
            .pending
            .iter()
            .filter(|(_, pending)| self.overdue_at(pending) <= now)
            .map(|(&call, pending)| (call, self.waiting_for(pending)))
            .collect();
        for (call, waiting) in overdue {
            self.finish(call, Err(CallError::Deadline(waiting)), effects);
        }
    }

    fn waiting_for(&self, pending: &Pending) -> Waiting {
        match (&pending.place, &self.link) {
            (Place::Delayed { refusal, .. }, _) => Waiting::Retry(refusal.clone()),
            (Place::Sent, _) => Waiting::Answer,
            (Place::Unsent, Link::Ready { .. }) => Waiting::Turn,
            (Place::Unsent, _) => Waiting::Master { why: self.last_failure.clone() },
        }
    }

    fn run_link_timers(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        match self.link {
            Link::Backoff { until } if until <= now => self.link = Link::Idle,
            Link::Greeting { until } if until <= now => {
                let why = format!("it accepted the connection, but did not answer HELLO within {HELLO_TIMEOUT:?}");
                self.disconnect(why, effects);
            }
            Link::Ready { ping_sent: Some(sent), .. } if sent + PING_TIMEOUT <= now => {
                let why = format!("it said nothing for {:?}", PING_AFTER + PING_TIMEOUT);
                self.disconnect(why, effects);
            }
            Link::Ready { heard, ping_sent: None } if heard + PING_AFTER <= now && !self.in_flight.is_empty() => {
                let id = self.take_id();
                self.in_flight.insert(id, None);
                effects.push(Effect::Send(Message::request(id, Ping {})));
                self.link = Link::Ready { heard, ping_sent: Some(now) };
            }
            _ => {}
        }
        if self.link == Link::Idle && !self.pending.is_empty() {
            effects.push(Effect::Connect { master: self.master });
            self.link = Link::Connecting;
        }
    }

    fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// Sends requests in the order of their calls, as many as may be in flight.
    fn send_what_may_be_sent(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let Link::Ready { heard, .. } = &mut self.link else {
            return;
        };
        if self.in_flight.is_empty() {
            *heard = now; // silence counts from when something is asked
        }
        let may_go = |pending: &Pending| match pending.place {
            Place::Unsent => true,
            Place::Sent => false,
            Place::Delayed { until, .. } => until <= now,
        };
        let room = IN_FLIGHT_MAX.saturating_sub(self.in_flight.len());
        let ready = self.pending.iter().filter(|(_, pending)| may_go(pending)).map(|(&call, _)| call);
        for call in ready.take(room).collect::<Vec<_>>() {
            let message = self.request(now, call);
            effects.push(Effect::Send(message));
        }
    }

    /// The message for a call, which is in flight from now on.
    fn request(&mut self, now: Duration, call: u64) -> Message {
        let next_id = self.next_id;
        let pending = self.pending.get_mut(&call).expect("only pending calls are sent");
        let id = *pending.id.get_or_insert(next_id);
        pending.place = Place::Sent;
        let mut message = Message::request(id, pending.body.clone());
        message.head.timeout_ms = Some(pending.deadline.saturating_sub(now).as_millis() as u64);
        self.next_id = next_id.max(id + 1);
        message.head.acked_below = self.pending.values().filter_map(|pending| pending.id).min();
        self.in_flight.insert(id, Some(call));
        message
    }
}

/// Whether a request, carried out twice, differs from one carried out once.
fn changes_something(body: &Body) -> bool {
    matches!(body, Body::CommitArray(_) | Body::ApplyOperation(_) | Body::GenerateArray(_) | Body::DeleteArray(_))
}

/// Whether the same request is to be sent again by itself, and when. A caller can do nothing about a busy master; about
/// missing workers or memory only the master knows whether waiting helps, and says so by naming a time.
fn retry_after(error: &WireError) -> Option<Duration> {
    let named = error.retry_after_ms.map(Duration::from_millis);
    match error.code {
        ErrorCode::Busy | ErrorCode::ShuttingDown => Some(named.unwrap_or(BUSY_WAIT)),
        ErrorCode::NoWorkers | ErrorCode::InsufficientReplicas | ErrorCode::InsufficientMemory => named,
        _ => None,
    }
}
