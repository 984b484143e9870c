//! Stories about requests to the master: what becomes of them when connections and masters come and go.

use client::error::{CallError, Waiting};
use client::pace::{BACKOFF_MAX, BACKOFF_MIN};
use client::retry::{Effect, Event, Session};
use protocol::limits::IN_FLIGHT_MAX;
use protocol::message::client::{ApplyOperation, Explain, GenerateArray, ListArrays, ReduceArray, Status};
use protocol::message::{Done, Hello, Role};
use protocol::{Body, ErrorCode, Message, SessionId, WireError};
use std::time::Duration;

const SESSION: SessionId = uuid::Uuid::from_u128(7);
const OTHER: SessionId = uuid::Uuid::from_u128(8);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A session with a clock and a network that the story moves by hand.
struct Story {
    session: Session,
    now: Duration,
    calls: u64,
}

impl Story {
    fn begin() -> Story {
        Story { session: Session::new(SESSION, 1, 1), now: ms(0), calls: 0 }
    }

    /// A session whose connection stands.
    fn connected() -> Story {
        let mut story = Story::begin();
        story.call(Status {}, 60_000);
        story.greet(SESSION);
        story.reply(1, Done {});
        story
    }

    fn step(&mut self, event: Event) -> Vec<Effect> {
        self.session.step(self.now, event)
    }

    fn call(&mut self, body: impl Into<Body>, timeout_ms: u64) -> Vec<Effect> {
        self.calls += 1;
        let (call, deadline) = (self.calls, self.now + ms(timeout_ms));
        self.step(Event::Call { call, body: body.into(), deadline })
    }

    /// The dialled connection stands, and the master answers HELLO with this session.
    fn greet(&mut self, session: SessionId) -> Vec<Effect> {
        let hello = self.step(Event::Connected);
        assert_eq!(kinds(&hello), ["HELLO"]);
        self.hello(session)
    }

    fn hello(&mut self, session: SessionId) -> Vec<Effect> {
        let hello = Hello { session: Some(session), ..Hello::new(Role::Master) };
        self.step(Event::Received(Message::new(hello)))
    }

    fn reply(&mut self, id: u64, body: impl Into<Body>) -> Vec<Effect> {
        self.step(Event::Received(Message::request(id, body)))
    }

    /// Ticks whenever that is due, until something else happens.
    fn until_something(&mut self) -> Vec<Effect> {
        for _ in 0..100 {
            self.now = self.now.max(self.session.next_deadline().expect("something is waited for"));
            let effects = self.step(Event::Tick);
            if !effects.is_empty() {
                return effects;
            }
        }
        panic!("nothing happens");
    }

    fn lose(&mut self) -> Vec<Effect> {
        self.step(Event::Disconnected { why: "m:1: gone".into() })
    }
}

fn apply() -> ApplyOperation {
    let (array_id, operation) = ("a".to_string(), "example1".to_string());
    ApplyOperation { array_id, operation, into: None, replace: false, no_wait: false, inline: false }
}

fn generate() -> GenerateArray {
    let (array_id, generator) = ("a".to_string(), "zeros(3)".to_string());
    GenerateArray { array_id, generator, dtype: None, seed: 0, replace: false }
}

fn sent(effects: &[Effect]) -> Vec<&Message> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send(message) => Some(message),
            _ => None,
        })
        .collect()
}

fn kinds(effects: &[Effect]) -> Vec<&'static str> {
    sent(effects).iter().map(|message| message.body.kind()).collect()
}

fn ids(effects: &[Effect]) -> Vec<u64> {
    sent(effects).iter().filter_map(|message| message.head.id).collect()
}

fn finished(effects: &[Effect]) -> Vec<(u64, Result<&'static str, CallError>)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Finish { call, result } => Some((*call, result.clone().map(|message| message.body.kind()))),
            _ => None,
        })
        .collect()
}

#[test]
fn the_first_call_connects_and_waits_for_hello() {
    let mut story = Story::begin();
    assert_eq!(story.session.next_deadline(), None, "nothing is done before somebody asks");
    assert_eq!(story.call(Status {}, 1000), [Effect::Connect { master: 0 }]);
    let request = story.greet(SESSION);
    assert_eq!((kinds(&request), ids(&request)), (vec!["STATUS"], vec![1]));
    assert_eq!(sent(&request)[0].head.timeout_ms, Some(1000));
    assert_eq!(sent(&request)[0].head.acked_below, Some(1));
    assert_eq!(finished(&story.reply(1, Done {})), [(1, Ok("DONE"))]);
    assert_eq!(story.session.next_deadline(), None);
}

#[test]
fn a_lost_connection_sends_the_same_request_again() {
    let mut story = Story::connected();
    let first = story.call(apply(), 60_000);
    story.now = ms(1000);
    assert_eq!(story.lose(), []);
    assert_eq!(story.until_something(), [Effect::Connect { master: 0 }]);
    let again = story.greet(SESSION);
    assert_eq!(ids(&again), ids(&first));
    assert_eq!(sent(&again)[0].body, sent(&first)[0].body);
    assert!(sent(&again)[0].head.timeout_ms < Some(59_000), "the time that is left, not the time from the beginning");
    assert_eq!(finished(&story.reply(2, Done {})), [(2, Ok("DONE"))]);
    assert_eq!(finished(&story.reply(2, Done {})), [], "a second answer is nobody's");
}

#[test]
fn replies_come_in_any_order_and_say_what_may_be_forgotten() {
    let mut story = Story::connected();
    for _ in 0..3 {
        story.call(ListArrays {}, 60_000);
    }
    story.reply(4, Done {});
    story.reply(2, Done {});
    let request = story.call(ListArrays {}, 60_000);
    assert_eq!((ids(&request), sent(&request)[0].head.acked_below), (vec![5], Some(3)));
}

#[test]
fn a_forgotten_session_ends_what_may_have_changed_something() {
    let mut story = Story::connected();
    story.call(apply(), 60_000);
    story.call(ListArrays {}, 60_000);
    story.lose();
    story.until_something();
    let effects = story.greet(OTHER);
    assert_eq!(finished(&effects), [(2, Err(CallError::OutcomeUnknown))]);
    assert_eq!((kinds(&effects), ids(&effects)), (vec!["LIST_ARRAYS"], vec![1]), "counting begins anew");
    assert_eq!(story.session.id(), OTHER);
    let next = story.call(apply(), 60_000);
    assert_eq!(ids(&next), [2]);
}

#[test]
fn a_forgotten_session_may_have_made_an_array_but_has_reduced_and_explained_nothing() {
    let mut story = Story::connected();
    story.call(generate(), 60_000);
    story.call(ReduceArray { array_id: "a".into(), reductions: "sum(x)".into() }, 60_000);
    story.call(Explain { array_id: "a".into(), operation: "sum(x)".into() }, 60_000);
    story.lose();
    story.until_something();
    let effects = story.greet(OTHER);
    assert_eq!(finished(&effects), [(2, Err(CallError::OutcomeUnknown))]);
    assert_eq!(kinds(&effects), ["REDUCE_ARRAY", "EXPLAIN"]);
}

#[test]
fn what_was_never_sent_has_no_unknown_outcome() {
    let mut story = Story::connected();
    story.lose();
    story.call(apply(), 60_000);
    story.until_something();
    let effects = story.greet(OTHER);
    assert_eq!((finished(&effects), ids(&effects)), (vec![], vec![1]));
}

#[test]
fn another_cluster_at_the_address_is_another_session() {
    let mut story = Story::begin();
    let hello = |cluster: u128| {
        let hello = Hello { session: Some(SESSION), ..Hello::new(Role::Master) };
        Event::Received(Message::new(Hello { cluster: Some(uuid::Uuid::from_u128(cluster)), ..hello }))
    };
    story.call(apply(), 60_000);
    story.step(Event::Connected);
    story.step(hello(1));
    story.lose();
    story.until_something();
    story.step(Event::Connected);
    assert_eq!(finished(&story.step(hello(2))), [(1, Err(CallError::OutcomeUnknown))]);
}

#[test]
fn attempts_are_spaced_out_up_to_the_deadline() {
    let mut story = Story::begin();
    story.call(Status {}, 10_000);
    let mut waits = Vec::new();
    loop {
        let before = story.now;
        story.step(Event::ConnectFailed { why: "m:1: refused".into() });
        match &story.until_something()[..] {
            [Effect::Connect { .. }] => waits.push(story.now - before),
            effects => {
                let waiting = Waiting::Master { why: "m:1: refused".into() };
                assert_eq!(finished(effects), [(1, Err(CallError::Deadline(waiting)))]);
                break;
            }
        }
    }
    assert_eq!(story.now, ms(10_000));
    assert!(waits[0] <= BACKOFF_MIN && waits.iter().all(|wait| *wait <= BACKOFF_MAX), "{waits:?}");
    assert!(waits[10..].iter().all(|wait| *wait >= BACKOFF_MAX / 2), "{waits:?}");
}

#[test]
fn masters_are_tried_in_turn() {
    let mut story = Story { session: Session::new(SESSION, 3, 1), ..Story::begin() };
    let mut effects = story.call(Status {}, 10_000);
    for master in [0, 1, 2, 0] {
        assert_eq!(effects, [Effect::Connect { master }]);
        story.step(Event::ConnectFailed { why: "refused".into() });
        effects = story.until_something();
    }
}

#[test]
fn busy_is_waited_out_under_the_same_number() {
    let mut story = Story::connected();
    story.call(apply(), 60_000);
    let busy = WireError::new(ErrorCode::Busy, "too much").retry_after_ms(300);
    assert_eq!(story.reply(2, busy), []);
    let again = story.until_something();
    assert_eq!(ids(&again), [2]);
    assert!((ms(300)..ms(450)).contains(&story.now), "{:?}", story.now);
    let shutting_down = WireError::new(ErrorCode::ShuttingDown, "bye");
    assert_eq!(story.reply(2, shutting_down.clone()), []);
    story.now = ms(60_000);
    let end = story.step(Event::Tick);
    assert_eq!(finished(&end), [(2, Err(CallError::Deadline(Waiting::Retry(shutting_down))))]);
}

#[test]
fn a_master_that_stays_busy_is_asked_less_often_and_once_more_before_the_deadline() {
    let mut story = Story::connected();
    story.call(apply(), 10_000);
    let busy = || WireError::new(ErrorCode::Busy, "too much").retry_after_ms(300);
    let mut asked = vec![story.now];
    loop {
        assert_eq!(story.reply(2, busy()), []);
        let next = story.until_something();
        if !finished(&next).is_empty() {
            assert_eq!(finished(&next), [(2, Err(CallError::Deadline(Waiting::Retry(busy()))))]);
            break;
        }
        asked.push(story.now);
    }
    let waits: Vec<Duration> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.iter().all(|wait| *wait >= ms(300)), "never sooner than it said: {waits:?}");
    assert!(waits[2] >= ms(1200) && asked.len() < 10, "less and less: {waits:?}");
    assert!(asked.contains(&ms(9_700)), "once more before the deadline: {asked:?}");
}

#[test]
fn clients_that_were_refused_at_the_same_moment_come_back_at_different_ones() {
    let again = |seed: u64| {
        let mut story = Story { session: Session::new(SESSION, 1, seed), ..Story::begin() };
        story.call(apply(), 60_000);
        story.greet(SESSION);
        story.reply(1, WireError::new(ErrorCode::Busy, "too much").retry_after_ms(300));
        story.until_something();
        story.now
    };
    let times: std::collections::BTreeSet<Duration> = (0..100).map(again).collect();
    assert!(times.len() > 90 && times.iter().all(|time| (ms(300)..ms(450)).contains(time)), "{times:?}");
}

#[test]
fn a_master_without_room_for_the_connection_is_dialled_when_it_said() {
    let mut story = Story::begin();
    story.call(Status {}, 60_000);
    story.step(Event::Connected);
    let busy = WireError::new(ErrorCode::Busy, "4096 connections are open").retry_after_ms(1000);
    assert_eq!(story.step(Event::Received(Message::new(busy))), [Effect::Disconnect]);
    story.lose();
    assert_eq!(story.until_something(), [Effect::Connect { master: 0 }]);
    assert!((ms(1000)..ms(1500)).contains(&story.now), "{:?}", story.now);
    story.greet(SESSION);
    story.lose();
    story.until_something();
    assert!(story.now < ms(2000), "once it was let in, it comes back as usual: {:?}", story.now);
}

#[test]
fn only_the_master_knows_whether_workers_will_come() {
    let mut story = Story::connected();
    story.call(apply(), 60_000);
    let none = WireError::new(ErrorCode::NoWorkers, "nobody");
    assert_eq!(finished(&story.reply(2, none.clone())), [(2, Err(CallError::Refused(none.clone())))]);
    story.call(apply(), 60_000);
    assert_eq!(story.reply(3, none.retry_after_ms(50)), []);
    assert_eq!(ids(&story.until_something()), [3]);
}

#[test]
fn the_masters_own_account_of_a_deadline_comes_first() {
    let mut story = Story::connected();
    story.call(apply(), 1000);
    story.now = ms(1000);
    assert_eq!(story.step(Event::Tick), []);
    let account = WireError::new(ErrorCode::DeadlineExceeded, "3 of 64 segments are missing");
    assert_eq!(finished(&story.reply(2, account.clone())), [(2, Err(CallError::Refused(account)))]);
    story.call(apply(), 1000);
    assert_eq!(finished(&story.until_something()), [(3, Err(CallError::Deadline(Waiting::Answer)))]);
}

#[test]
fn only_so_many_requests_are_in_flight() {
    let mut story = Story::connected();
    let sent: usize = (0..IN_FLIGHT_MAX + 2).map(|_| story.call(ListArrays {}, 1000).len()).sum();
    assert_eq!(sent, IN_FLIGHT_MAX);
    assert_eq!(ids(&story.reply(2, Done {})), [IN_FLIGHT_MAX as u64 + 2]);
    // One that is given up still counts, because the master still works on it.
    assert_eq!(story.step(Event::GiveUp { call: 3 }), []);
    assert_eq!(story.reply(3, Done {}).len(), 1, "and its answer makes room");
    story.call(ListArrays {}, 500);
    story.now = ms(500);
    assert_eq!(finished(&story.step(Event::Tick)).last().unwrap().1, Err(CallError::Deadline(Waiting::Turn)));
}

#[test]
fn a_silent_master_is_asked_then_left() {
    let mut story = Story::connected();
    story.call(apply(), 60_000);
    let ping = story.until_something();
    assert_eq!(kinds(&ping), ["PING"]);
    story.reply(ids(&ping)[0], Done {});
    assert_eq!(kinds(&story.until_something()), ["PING"], "it lives, and is asked again after another silence");
    assert_eq!(story.until_something(), [Effect::Disconnect]);
    // The connection is told to end; only then another one is made.
    assert_eq!(story.lose(), []);
    assert_eq!(story.until_something(), [Effect::Connect { master: 0 }]);
    assert_eq!(ids(&story.greet(SESSION)), [2]);
}

#[test]
fn who_does_not_answer_hello_is_no_master() {
    let mut story = Story::begin();
    story.call(Status {}, 1500);
    story.step(Event::Connected);
    assert_eq!(story.until_something(), [Effect::Disconnect]);
    assert_eq!(story.now, ms(1000));
    story.lose();
    assert_eq!(story.until_something(), [Effect::Connect { master: 0 }]);
    let end = story.until_something();
    let [(1, Err(CallError::Deadline(Waiting::Master { why })))] = &finished(&end)[..] else { panic!("{end:?}") };
    assert!(why.contains("did not answer HELLO"), "{why}");
}

#[test]
fn a_master_that_speaks_otherwise_is_the_end_at_once() {
    let mut story = Story::begin();
    story.call(Status {}, 60_000);
    story.step(Event::Connected);
    let error = WireError::new(ErrorCode::Unsupported, "protocol 9");
    let effects = story.step(Event::Received(Message::new(error.clone())));
    assert_eq!(finished(&effects), [(1, Err(CallError::Refused(error)))]);
    assert_eq!(effects.last(), Some(&Effect::Disconnect));
}

#[test]
fn an_idle_connection_that_ends_is_not_replaced_before_it_is_needed() {
    let mut story = Story::connected();
    story.lose();
    story.until_idle();
    assert_eq!(story.call(Status {}, 1000), [Effect::Connect { master: 0 }]);
}

impl Story {
    fn until_idle(&mut self) {
        while let Some(at) = self.session.next_deadline() {
            self.now = self.now.max(at);
            assert_eq!(self.step(Event::Tick), []);
        }
    }
}
