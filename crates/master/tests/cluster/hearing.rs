//! Whether workers hear the master: heartbeats arrive, and answers do not.

use super::*;

/// Two workers that send heartbeats, and a client that waits for a plan that both are needed for; what each was told.
fn asked_for_room() -> (Desk, [Message; 2]) {
    let mut desk = two_workers();
    let create = CreateArray { array_id: "a".into(), dtype: DType::Int32, shape: vec![4], replace: false };
    desk.say(1, Message::request(1, create));
    let told = [10, 20].map(|conn| desk.heard(conn).pop().expect("it is asked to keep room"));
    (desk, told)
}

/// The PING that a worker got, if it did, and nothing else.
fn ping(desk: &mut Desk, conn: ConnId) -> Option<Message> {
    let mut heard = desk.heard(conn);
    assert!(heard.len() <= 1, "{heard:?}");
    heard.pop().filter(|message| message.body == Body::from(Ping {}))
}

#[test]
fn who_owes_an_answer_and_gives_none_is_down_and_nobody_waits_for_it_any_longer() {
    let (mut desk, [to_w1, _]) = asked_for_room();
    desk.say(10, Message::reply(&to_w1.head, Reserved {}));
    desk.wait_unanswered(500, &[11, 21]);
    assert_eq!(ping(&mut desk, 20), None, "half a second is not long");
    desk.wait_unanswered(100, &[11, 21]);
    assert!(ping(&mut desk, 20).is_some());
    assert_eq!(ping(&mut desk, 10), None, "it owes nothing");
    // What a worker says by itself is no answer.
    desk.wait_unanswered(1500, &[11, 21]);
    desk.say(20, Message::new(CopiesChanged { stored: vec![], broken: vec![] }));
    assert_eq!((desk.state("w2"), desk.heard(1).len()), (WorkerState::Alive, 0));
    desk.wait_unanswered(500, &[11, 21]);
    assert_eq!((desk.state("w1"), desk.state("w2")), (WorkerState::Alive, WorkerState::Down));
    assert!(desk.closed.contains(&20) && desk.closed.contains(&21), "if it hears again, it comes back");
    assert!(matches!(desk.heard(1)[..], [Message { body: Body::WritePlan(_), .. }]), "the client is not kept waiting");
}

#[test]
fn who_is_told_to_fetch_a_copy_owes_an_answer() {
    let mut desk = Desk::new();
    desk.register(10, "w1", 1, vec![]);
    desk.client(1);
    store_on(&mut desk, &[10], 1, "a", &[4]);
    desk.register(20, "w2", 1, vec![]);
    assert_eq!(told_to_fetch(&mut desk, 20).len(), 1);
    desk.wait_unanswered(600, &[11, 21]);
    assert!(ping(&mut desk, 20).is_some());
    desk.wait_unanswered(2_000, &[11, 21]);
    assert_eq!((desk.state("w1"), desk.state("w2")), (WorkerState::Alive, WorkerState::Down));
}

#[test]
fn who_says_that_it_hears_may_take_its_time() {
    let (mut desk, told) = asked_for_room();
    for _ in 0..20 {
        desk.wait_unanswered(600, &[11, 21]);
        for conn in [10, 20] {
            let ping = ping(&mut desk, conn).expect("it is asked once more");
            desk.say(conn, Message::reply(&ping.head, Pong {}));
        }
    }
    assert_eq!((desk.state("w1"), desk.state("w2")), (WorkerState::Alive, WorkerState::Alive));
    for (conn, told) in [10, 20].into_iter().zip(told) {
        desk.say(conn, Message::reply(&told.head, Reserved {}));
    }
    assert!(matches!(desk.heard(1)[..], [Message { body: Body::WritePlan(_), .. }]));
    desk.wait_unanswered(5000, &[11, 21]);
    assert_eq!((ping(&mut desk, 10), ping(&mut desk, 20)), (None, None), "who owes nothing is asked nothing");
}
