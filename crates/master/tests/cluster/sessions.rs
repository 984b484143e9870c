//! Sessions, ids and the end: what is remembered for how long, and what waits for the log.

use super::*;
use protocol::limits::SESSION_IDLE_MAX;

const HOUR: u64 = SESSION_IDLE_MAX.as_millis() as u64;

fn forgets(log: &[Command]) -> usize {
    log.iter().filter(|command| matches!(command, Command::ForgetSessions { .. })).count()
}

#[test]
fn a_session_of_exactly_an_hour_is_kept_and_an_older_one_replaced() {
    let now = STARTED_UNIX_MS + 500;
    for (made_ms, is_kept) in [(now - HOUR, true), (now - HOUR - 1, false), (now, true), (now - HOUR + 999, true)] {
        let mut desk = Desk::new();
        desk.now += Duration::from_millis(500);
        let session = uuid::Builder::from_unix_timestamp_millis(made_ms, &[1; 10]).into_uuid();
        desk.say(1, Message::new(Hello { session: Some(session), ..Hello::new(Role::Client) }));
        match &desk.heard(1)[0].body {
            Body::Hello(hello) => assert_eq!(hello.session == Some(session), is_kept, "made {} ms ago", now - made_ms),
            other => panic!("{other:?}"),
        }
    }
}

/// However old it is, nothing of it is forgotten.
#[test]
fn a_session_that_is_connected_or_has_outcomes_is_kept() {
    let mut desk = two_workers();
    let says_hello = |desk: &mut Desk, conn, session| {
        desk.say(conn, Message::new(Hello { session: Some(session), ..Hello::new(Role::Client) }));
        match &desk.heard(conn)[0].body {
            Body::Hello(hello) => hello.session.expect("clients get a session"),
            other => panic!("{other:?}"),
        }
    };
    let [silent, busy] = [5, 6].map(|conn| desk.client(conn));
    desk.now += Duration::from_secs(3590);
    let delete = DeleteArray { array_id: "a".into() };
    store(&mut desk, 1, "a");
    desk.say(6, Message::request(1, delete));
    assert_eq!(desk.heard_kinds(6), ["DONE"]);
    desk.step(Event::Disconnected { conn: 6, why: "end of stream".into() });
    desk.now += Duration::from_secs(3590);
    assert_eq!(says_hello(&mut desk, 7, silent), silent, "it is connected");
    assert_eq!(says_hello(&mut desk, 8, busy), busy, "it has deleted an array within the hour");
    desk.step(Event::Disconnected { conn: 7, why: "end of stream".into() });
    assert_ne!(says_hello(&mut desk, 9, silent), silent);
}

#[test]
fn outcomes_of_a_session_that_asks_nothing_for_an_hour_are_forgotten() {
    let mut desk = two_workers();
    store(&mut desk, 1, "a");
    desk.now += Duration::from_secs(3540);
    desk.step(Event::Tick);
    assert_eq!(forgets(&desk.log), 0);
    desk.now += Duration::from_secs(60);
    desk.step(Event::Tick);
    assert_eq!(forgets(&desk.log), 0, "exactly an hour is not longer");
    desk.now += Duration::from_secs(59);
    desk.step(Event::Tick);
    assert_eq!(forgets(&desk.log), 0, "it looks once a minute");
    desk.now += Duration::from_secs(1);
    desk.step(Event::Tick);
    assert_eq!(forgets(&desk.log), 1);
    desk.now += Duration::from_secs(60);
    desk.step(Event::Tick);
    assert_eq!(forgets(&desk.log), 1, "there is nothing more to forget");
}

#[test]
fn ids_are_reserved_in_blocks_before_they_are_used_up() {
    let mut desk = two_workers();
    let reserves = |log: &[Command]| log.iter().filter(|c| matches!(c, Command::ReserveIds { .. })).count();
    assert_eq!(reserves(&desk.log), 1);
    desk.log_is_slow = true;
    let mut id = 0;
    let mut given = 0;
    // Uploads take ids and leave nothing in the log.
    while given < 4096 {
        id += 1;
        desk.say(1, create(2 * id, "a", 4));
        let Some(version) = desk.heard(10).into_iter().find_map(|message| match message.body {
            Body::Reserve(reserve) => Some(reserve.version),
            _ => None,
        }) else {
            panic!("id {given} was not given")
        };
        desk.say(1, Message::request(2 * id + 1, AbandonArray { version }));
        desk.sent.clear();
        given += 1;
        let asked = reserves(&desk.unwritten);
        assert_eq!(asked, usize::from(given > 4096 - 512), "after {given}");
    }
    desk.say(1, create(2 * id + 2, "a", 4));
    assert_eq!(desk.heard(10), [], "it waits for the log");
    assert!(desk.cluster.pending_requests()[0].contains("id from the log"));
    desk.write_log();
    assert_eq!(desk.heard_kinds(10), ["RESERVE"]);
}

#[test]
fn a_master_that_is_shut_down_ends_when_its_workers_have_gone_or_two_seconds_later() {
    let mut desk = two_workers();
    desk.say(1, Message::request(1, Shutdown {}));
    assert_eq!((desk.heard_kinds(1), desk.heard_kinds(10)), (vec!["DONE".to_string()], vec!["SHUTDOWN".to_string()]));
    desk.say(1, Message::request(2, Status {}));
    assert_eq!(desk.heard_error(1), Some(ErrorCode::ShuttingDown));
    desk.wait(1950, &[11, 21]);
    assert!(!desk.stopped);
    desk.wait(50, &[11, 21]);
    assert!(desk.stopped);

    let mut desk = two_workers();
    desk.say(1, Message::request(1, Shutdown {}));
    desk.step(Event::Disconnected { conn: 10, why: "end of stream".into() });
    desk.wait(50, &[21]);
    assert!(!desk.stopped);
    desk.step(Event::Disconnected { conn: 20, why: "end of stream".into() });
    desk.wait(50, &[]);
    assert!(desk.stopped);
    assert_eq!(desk.cluster.list_incidents().incidents, [], "whoever was sent away has not failed");
}

#[test]
fn a_master_stops_when_it_is_told_to() {
    let mut desk = two_workers();
    desk.wait(5_000, &[11, 21]);
    assert!(!desk.stopped);
    desk.step(Event::Stop);
    assert!(desk.stopped);
}

#[test]
fn a_request_number_is_below_the_largest_whole_number_of_the_wire() {
    let mut desk = two_workers();
    for (id, is_taken) in [(protocol::limits::INTEGER_MAX - 1, true), (protocol::limits::INTEGER_MAX, false)] {
        desk.say(1, Message::request(id, Ping {}));
        assert_eq!(desk.heard_error(1).is_none(), is_taken, "{id}");
    }
}

#[test]
fn a_session_that_connects_anew_gets_its_answers_there() {
    let mut desk = two_workers();
    let session = desk.client(5);
    desk.say(5, Message::request(1, WaitWorkers { count: 3 }));
    desk.say(6, Message::new(Hello { session: Some(session), ..Hello::new(Role::Client) }));
    assert!(desk.closed.contains(&5));
    desk.heard(6);
    desk.say(6, Message::request(1, WaitWorkers { count: 3 })); // it is running
    desk.register(30, "w3", 1, vec![]);
    assert_eq!((desk.heard_kinds(5), desk.heard_kinds(6)), (vec![], vec!["WORKERS".to_string()]));
}
