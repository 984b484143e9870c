//! Reads: what is read is kept as long as its reader says that he is there.

use super::*;

fn get(id: u64, array_id: &str, range: Option<(u64, u64)>) -> Message {
    Message::request(id, GetResult { array_id: array_id.into(), array: true, range })
}

fn read_plan(desk: &mut Desk) -> ReadPlan {
    match desk.heard(1).pop().map(|message| message.body) {
        Some(Body::ReadPlan(plan)) => plan,
        other => panic!("{other:?}"),
    }
}

/// An array that is deleted while somebody reads it. Gives its version and the pin.
fn read_and_deleted(desk: &mut Desk) -> (VersionId, u64) {
    let version = store(desk, 1, "a");
    desk.say(1, get(3, "a", None));
    let plan = read_plan(desk);
    assert_eq!((plan.version, plan.lease_ms), (version, 60_000));
    desk.say(1, Message::request(4, DeleteArray { array_id: "a".into() }));
    assert_eq!(desk.heard_kinds(1), ["DONE"]);
    (version, plan.pin)
}

#[test]
fn a_lease_ends_after_a_minute_and_after_a_minute_from_its_renewal() {
    let alive = [11, 21];
    let mut desk = two_workers();
    let (version, _) = read_and_deleted(&mut desk);
    desk.wait(59_950, &alive);
    assert!(!desk.is_told_to_drop(10, version));
    desk.wait(50, &alive);
    assert!(desk.is_told_to_drop(10, version) && desk.is_told_to_drop(20, version));

    let mut desk = two_workers();
    let (version, pin) = read_and_deleted(&mut desk);
    desk.wait(40_000, &alive);
    desk.say(1, Message::request(5, RenewPin { pin }));
    assert_eq!(desk.heard_kinds(1), ["DONE"]);
    desk.wait(59_950, &alive);
    assert!(!desk.is_told_to_drop(10, version));
    desk.wait(50, &alive);
    assert!(desk.is_told_to_drop(10, version));
    desk.say(1, Message::request(6, RenewPin { pin }));
    assert_eq!(desk.heard_error(1), Some(ErrorCode::UnknownVersion), "there is nothing to renew");
}

#[test]
fn what_is_given_back_is_dropped_at_once_and_other_readers_keep_theirs() {
    let mut desk = two_workers();
    let version = store(&mut desk, 1, "a");
    desk.say(1, get(3, "a", None));
    let first = read_plan(&mut desk).pin;
    desk.say(1, get(4, "a", None));
    let second = read_plan(&mut desk).pin;
    assert_eq!(second, first + 1, "pins of a later master begin with a later time");
    desk.say(1, Message::request(5, DeleteArray { array_id: "a".into() }));
    desk.say(1, Message::request(6, Unpin { pin: second }));
    assert!(!desk.is_told_to_drop(10, version));
    desk.say(1, Message::request(7, Unpin { pin: first }));
    assert!(desk.is_told_to_drop(10, version));
}

#[test]
fn a_read_waits_for_a_worker_that_is_being_taken_in() {
    let mut desk = two_workers();
    let version = store(&mut desk, 1, "a");
    for conn in [10, 20] {
        desk.step(Event::Disconnected { conn, why: "killed".into() });
    }
    desk.wait(5_000, &[]);
    desk.say(1, get(3, "a", None));
    assert_eq!(desk.heard_error(1), Some(ErrorCode::SegmentsLost));
    desk.log_is_slow = true;
    desk.register(30, "w1", 2, vec![CopyRecord(version, 0, 7, 16)]);
    desk.say(1, get(4, "a", None));
    assert_eq!(desk.heard(1), [], "it has the copy, and the log does not know it yet");
    desk.write_log();
    assert_eq!(read_plan(&mut desk).version, version);
}

/// Its workers may have lost their connections meanwhile.
#[test]
fn a_master_that_stood_still_for_more_than_half_a_second_hopes_for_its_workers() {
    for (still_ms, hopes) in [(500, false), (501, true)] {
        let mut desk = two_workers();
        store(&mut desk, 1, "a");
        for conn in [10, 20] {
            desk.step(Event::Disconnected { conn, why: "killed".into() });
        }
        desk.wait(5_000, &[]);
        desk.now += Duration::from_millis(still_ms);
        desk.say(1, get(3, "a", None));
        assert_eq!(desk.heard_error(1).is_none(), hopes, "{still_ms} ms");
        desk.step(Event::Tick);
        desk.wait(2_950, &[]);
        assert_eq!(desk.heard_error(1), None);
        desk.wait(50, &[]);
        assert_eq!(desk.heard_error(1).is_some(), hopes);
    }
}

#[test]
fn whoever_has_nothing_of_an_array_hears_nothing_of_its_end() {
    let mut desk = two_workers();
    let version = store(&mut desk, 1, "a");
    desk.register(30, "w3", 1, vec![]);
    desk.sent.clear();
    desk.say(1, Message::request(3, DeleteArray { array_id: "a".into() }));
    assert_eq!(desk.heard(30), []);
    assert!(desk.is_told_to_drop(10, version) && desk.is_told_to_drop(20, version));
}

#[test]
fn a_range_is_read_from_the_segments_that_it_touches() {
    let mut desk = two_workers();
    store_two_segments(&mut desk, 1, "a");
    let len = 2 * LONG;
    let mut segments = |id, range| {
        desk.say(1, get(id, "a", Some(range)));
        read_plan(&mut desk).segments.iter().map(|PlannedRead(segment, ..)| *segment).collect::<Vec<_>>()
    };
    assert_eq!(segments(10, (0, LONG)), [0]);
    assert_eq!(segments(11, (LONG - 1, LONG + 1)), [0, 1]);
    assert_eq!(segments(12, (LONG, len)), [1]);
    assert_eq!(segments(13, (len, len)), [0; 0], "nothing, which is allowed");
    for (id, range) in [(14, (1, 0)), (15, (0, len + 1))] {
        desk.say(1, get(id, "a", Some(range)));
        assert_eq!(desk.heard_error(1), Some(ErrorCode::OutOfRange), "{range:?}");
    }
}

#[test]
fn a_handle_means_its_version_and_one_that_is_gone_is_told_what_there_is() {
    let mut desk = two_workers();
    let version = store(&mut desk, 1, "a");
    desk.say(1, get(3, &format!("a@v{}", version.0), None));
    assert_eq!(read_plan(&mut desk).version, version);
    desk.say(1, get(4, &format!("a@v{}", version.0 + 1), None));
    match desk.heard(1).pop().map(|message| message.body) {
        Some(Body::Error(error)) => {
            assert_eq!(error.code, ErrorCode::UnknownVersion);
            assert!(error.message.contains(&format!("there is a@v{}", version.0)), "{error}");
        }
        other => panic!("{other:?}"),
    }
    desk.say(1, get(5, "b@v1", None));
    assert_eq!(desk.heard_error(1), Some(ErrorCode::UnknownArray));
}
