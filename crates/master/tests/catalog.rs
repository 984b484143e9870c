//! The catalog, command by command: what the coordinator prevents in all but the rarest moments.

use array::DType;
use master::cluster::catalog::{Applied, Catalog, Memory, incident, unknown_array};
use master::cluster::command::{Command, NewSegment, Request};
use protocol::message::client::IncidentKind;
use protocol::{ArrayId, CopyId, Epoch, ErrorCode, SessionId, VersionId, WorkerId};

/// A catalog and how many commands it has.
#[derive(Default)]
struct Log {
    catalog: Catalog,
    commands: u64,
}

impl Log {
    /// A catalog with a worker.
    fn new() -> Log {
        let mut log = Log::default();
        log.apply(Command::Founded { cluster: uuid::Uuid::from_u128(1) });
        log.apply(Command::WorkerUp { worker: WorkerId::from("w1"), incarnation: 1, copies: vec![], at: 0 });
        log
    }

    fn apply(&mut self, command: Command) -> Applied {
        self.commands += 1;
        self.catalog.apply(self.commands, &command)
    }

    /// An array of four int32, by the request of this number.
    fn create(&mut self, version: u64, name: &str, replace: bool, request: u64) -> Applied {
        self.apply(Command::CreateArray {
            request: Some(by(request)),
            array: ArrayId(version),
            version: VersionId(version),
            name: name.to_string(),
            dtype: DType::Int32,
            shape: vec![4],
            replication: 1,
            replace,
            segments: vec![NewSegment(7, vec![WorkerId::from("w1")])],
        })
    }
}

const SESSION: SessionId = SessionId::from_u128(9);

fn by(id: u64) -> Request {
    let (reply_kind, reply_data) = ("DONE".to_string(), "{}".to_string());
    Request { session: SESSION, id, acked_below: id, fingerprint: 0, at: 1000, reply_kind, reply_data }
}

#[test]
fn of_two_creations_of_one_name_the_second_is_refused_and_remembered_as_refused() {
    let mut log = Log::new();
    assert_eq!(log.create(1, "a", false, 1).refused, None);
    let second = log.create(2, "a", false, 2);
    assert_eq!(second.refused.map(|error| error.code), Some(ErrorCode::AlreadyExists));
    assert_eq!(log.catalog.find("a").unwrap().1.content, VersionId(1));
    assert!(log.catalog.version(VersionId(2)).is_none());
    assert!(matches!(log.catalog.memory(SESSION, 2), Memory::Outcome(outcome) if outcome.kind == "ERROR"));
    assert_eq!(log.create(3, "a", true, 3).removed, [VersionId(1)], "unless it may replace it");
    log.catalog.check();
}

#[test]
fn an_array_is_deleted_once() {
    let mut log = Log::new();
    log.create(1, "a", false, 1);
    let delete = |id| Command::DeleteArray { request: Some(by(id)), name: "a".to_string() };
    assert_eq!(log.apply(delete(2)).removed, [VersionId(1)]);
    assert_eq!(log.apply(delete(3)).refused.map(|error| error.code), Some(ErrorCode::UnknownArray));
}

#[test]
fn a_request_that_has_not_come_yet_is_not_too_old() {
    let mut log = Log::new();
    log.apply(Command::DeleteArray { request: Some(Request { acked_below: 5, ..by(4) }), name: "a".to_string() });
    assert_eq!(log.catalog.memory(SESSION, 4), Memory::Forgotten);
    assert_eq!(log.catalog.memory(SESSION, 5), Memory::None);
}

#[test]
fn different_catalogs_have_different_fingerprints_and_sizes_are_those_of_the_elements() {
    let mut log = Log::new();
    let before = log.catalog.hash();
    log.create(1, "a", false, 1);
    assert_ne!(log.catalog.hash(), before);
    let version = log.catalog.version(VersionId(1)).unwrap();
    assert_eq!((version.elements(), version.bytes(), version.segment_bytes(0)), (4, 16, 16));
}

/// An array of one segment in two copies, on workers w1 and w2.
fn on_two_workers() -> Log {
    let mut log = Log::new();
    log.apply(Command::WorkerUp { worker: WorkerId::from("w2"), incarnation: 1, copies: vec![], at: 0 });
    log.apply(Command::CreateArray {
        request: None,
        array: ArrayId(1),
        version: VersionId(1),
        name: "a".to_string(),
        dtype: DType::Int32,
        shape: vec![4],
        replication: 2,
        replace: false,
        segments: vec![NewSegment(7, ["w1", "w2"].map(WorkerId::from).to_vec())],
    });
    log
}

fn down(worker: &str) -> Command {
    let worker = WorkerId::from(worker);
    let incident = incident(IncidentKind::WorkerDown, Some(worker.clone()), 0, "killed".to_string(), 0);
    Command::WorkerDown { worker, incident }
}

const COPY: CopyId = CopyId(VersionId(1), 0);

fn holders(log: &Log) -> Vec<&str> {
    log.catalog.segment(COPY).expect("it is there").holders.iter().map(WorkerId::as_str).collect()
}

#[test]
fn the_death_of_a_primary_promotes_the_next_holder_and_that_of_the_last_one_loses_the_segment() {
    let mut log = on_two_workers();
    let before = log.catalog.segment(COPY).map(|segment| segment.epoch);
    log.apply(down("w1"));
    assert_eq!(holders(&log), ["w2"]);
    assert!(log.catalog.segment(COPY).map(|segment| segment.epoch) > before);
    assert!(log.catalog.under_replicated().contains(&(1, COPY)));
    let applied = log.apply(down("w2"));
    assert_eq!(applied.orphaned, [COPY]);
    let told: Vec<(u64, u64, u64)> = log
        .catalog
        .incidents()
        .map(|incident| (incident.promoted, incident.copies_lost, incident.segments_lost))
        .collect();
    assert_eq!(told, [(1, 1, 0), (0, 1, 1)]);
    assert_eq!(log.apply(down("w9")).incident, None, "nobody knows it");
    log.catalog.check();
}

#[test]
fn the_death_of_a_replica_promotes_nobody() {
    let mut log = on_two_workers();
    log.apply(down("w2"));
    assert_eq!(holders(&log), ["w1"]);
    assert_eq!(log.catalog.incidents().map(|incident| incident.promoted).collect::<Vec<_>>(), [0]);
}

#[test]
fn a_worker_that_comes_back_without_copies_it_had_is_an_incident_if_it_was_not_known_to_be_down() {
    let up = |copies: Vec<CopyId>| Command::WorkerUp { worker: WorkerId::from("w1"), incarnation: 2, copies, at: 5 };
    let mut log = on_two_workers();
    let applied = log.apply(up(vec![]));
    assert_eq!(holders(&log), ["w2"]);
    let incident = log.catalog.incidents().next().expect("it is recorded");
    assert_eq!(Some(incident.id), applied.incident);
    assert_eq!((incident.promoted, incident.copies_lost, incident.segments_lost, incident.at), (1, 1, 0, 5));

    let mut log = on_two_workers();
    assert_eq!(log.apply(up(vec![COPY])).incident, None, "it has all of them");
    assert_eq!(holders(&log), ["w1", "w2"]);

    let mut log = on_two_workers();
    log.apply(down("w1"));
    assert_eq!(log.apply(up(vec![COPY])).incident, None, "that was told when it died");
    assert_eq!(holders(&log), ["w2", "w1"], "whoever comes back is the last");
    assert!(log.catalog.under_replicated().is_empty());
    log.catalog.check();
}

#[test]
fn copies_of_workers_that_are_down_do_not_count() {
    let mut log = on_two_workers();
    log.apply(down("w2"));
    let changed = |added: &[&str], removed: &[&str]| Command::CopiesChanged {
        added: added.iter().map(|worker| (COPY, WorkerId::from(*worker))).collect(),
        removed: removed.iter().map(|worker| (COPY, WorkerId::from(*worker))).collect(),
    };
    log.apply(changed(&["w2", "w9"], &[]));
    assert_eq!(holders(&log), ["w1"]);
    assert_eq!(log.apply(changed(&[], &["w1"])).orphaned, [COPY]);
    log.apply(changed(&["w1", "w1"], &[]));
    assert_eq!(holders(&log), ["w1"], "once");
    let segments = vec![NewSegment(7, ["w1", "w2"].map(WorkerId::from).to_vec())];
    log.apply(Command::AddResult {
        request: None,
        version: VersionId(2),
        source: VersionId(1),
        into: None,
        operation: "example2".to_string(),
        dtype: DType::Int32,
        segments,
    });
    let result = log.catalog.segment(CopyId(VersionId(2), 0)).expect("it is there");
    assert_eq!(result.holders, ["w1"].map(WorkerId::from));
    log.catalog.check();
}

#[test]
fn one_result_is_kept_and_that_of_an_array_that_is_gone_is_refused() {
    let mut log = on_two_workers();
    let result = |version, id| Command::AddResult {
        request: Some(by(id)),
        version: VersionId(version),
        source: VersionId(1),
        into: None,
        operation: "example2".to_string(),
        dtype: DType::Int32,
        segments: vec![NewSegment(8, vec![WorkerId::from("w1")])],
    };
    assert_eq!(log.apply(result(2, 1)).removed, []);
    assert_eq!(log.apply(result(3, 2)).removed, [VersionId(2)]);
    let delete = Command::DeleteArray { request: Some(by(3)), name: "a".to_string() };
    assert_eq!(log.apply(delete).removed, [VersionId(1), VersionId(3)]);
    assert_eq!(log.apply(result(4, 4)).refused.map(|error| error.code), Some(ErrorCode::UnknownVersion));
    assert_eq!(log.catalog.versions().count(), 0);
    assert!(log.catalog.under_replicated().is_empty());
    log.catalog.check();
}

#[test]
fn every_start_on_an_existing_log_is_a_new_term_and_told() {
    let mut log = Log::default();
    log.apply(Command::Founded { cluster: uuid::Uuid::from_u128(1) });
    log.apply(Command::MasterStarted { at: 1 });
    assert_eq!((log.catalog.term(), log.catalog.incidents().count()), (1, 0), "a new cluster");
    for starts in 1..=2 {
        log.apply(Command::MasterStarted { at: 10 * starts });
        assert_eq!((log.catalog.term(), log.catalog.incidents().count() as u64), (1 + starts, starts));
        assert_eq!(log.catalog.epoch(), Epoch(1 + starts, log.commands));
    }
    let incident = log.catalog.incidents().last().expect("it was told");
    assert_eq!((incident.kind, incident.at), (IncidentKind::MasterRestarted, 20));
}

#[test]
fn the_last_thousand_incidents_are_remembered() {
    let mut log = Log::new();
    for at in 0..1001 {
        let incident = incident(IncidentKind::BrokenCopy, None, at, "broken".to_string(), 0);
        log.apply(Command::Incident { incident });
    }
    let remembered: Vec<u64> = log.catalog.incidents().map(|incident| incident.at).collect();
    assert_eq!((remembered.len(), remembered[0]), (1000, 1));
}

#[test]
fn the_last_64_outcomes_of_a_session_are_remembered() {
    let mut log = Log::new();
    let delete =
        |id| Command::DeleteArray { request: Some(Request { acked_below: 0, ..by(id) }), name: "a".to_string() };
    for id in 1..=65 {
        log.apply(delete(id));
    }
    assert_eq!(log.catalog.memory(SESSION, 1), Memory::Forgotten);
    assert!(matches!(log.catalog.memory(SESSION, 2), Memory::Outcome(_)));
    assert_eq!(log.catalog.memory(SessionId::from_u128(10), 1), Memory::None);
}

#[test]
fn of_too_many_sessions_the_one_that_was_not_used_for_longest_is_forgotten() {
    let mut log = Log::new();
    let used = |session: u128, at| {
        let request = Request { session: SessionId::from_u128(session), at, acked_below: 0, ..by(1) };
        Command::DeleteArray { request: Some(request), name: "a".to_string() }
    };
    for session in 1..=10_000 {
        log.apply(used(session, 5 + session as u64));
    }
    log.apply(used(1, 100_000)); // it is the newest now
    log.apply(used(1, 3)); // by a clock that went back: it is as new as before
    assert!(log.catalog.remembers(SessionId::from_u128(2)), "there are as many as there may be");
    log.apply(used(10_001, 6));
    let remembered = |session| log.catalog.remembers(SessionId::from_u128(session));
    assert_eq!([1, 2, 3, 10_001].map(remembered), [true, true, true, false], "it has the oldest clock");
    assert!(log.catalog.has_idle_sessions(8) && !log.catalog.has_idle_sessions(7));
    log.apply(Command::ForgetSessions { idle_before_ms: 8 });
    let remembered = |session| log.catalog.remembers(SessionId::from_u128(session));
    assert_eq!([1, 2, 3].map(remembered), [true, false, true]);
}

#[test]
fn ids_are_never_given_twice() {
    let mut log = Log::new();
    log.apply(Command::ReserveIds { below: 50 });
    log.apply(Command::ReserveIds { below: 20 });
    assert_eq!(log.catalog.ids_below(), 50);
}

#[test]
fn the_error_for_a_name_that_is_not_there_lists_ten_that_are() {
    let error = |names: u64| {
        let names: Vec<String> = (0..names).map(|n| format!("a{n}")).collect();
        unknown_array("b", names.iter()).message
    };
    assert!(error(0).ends_with("there is none yet"));
    assert!(error(10).ends_with("a8, a9"), "{}", error(10));
    assert!(error(11).ends_with("a9 and 1 more"), "{}", error(11));
}

/// A line of it is read by every master that starts on the log.
#[test]
fn an_error_that_is_too_long_to_be_remembered_is_cut_and_a_shorter_one_is_not() {
    let mut log = Log::new();
    let names = 8; // with the longest ones there may be, of characters that take no more room in JSON
    for number in 0..names {
        let name = format!("{}{number}", "a".repeat(254));
        log.create(number + 1, &name, false, number + 1);
    }
    let told = |log: &mut Log, id, name: String| {
        log.apply(Command::DeleteArray { request: Some(by(id)), name });
        let Memory::Outcome(outcome) = log.catalog.memory(SESSION, id) else { panic!("it is remembered") };
        let error: protocol::WireError = serde_json::from_str(&outcome.data).unwrap();
        (outcome.data.len(), error)
    };
    let (bytes, error) = told(&mut log, 100, "b".to_string());
    assert!(bytes > 2000 && error.message.matches("aaaa").count() > 7, "{bytes} bytes, whole");
    let (bytes, error) = told(&mut log, 101, "\u{1}".repeat(255));
    assert!(bytes <= 4096 && error.code == ErrorCode::UnknownArray, "{bytes}: {error}");
}
