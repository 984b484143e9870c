//! The catalog, command by command: what the coordinator prevents in all but the rarest moments.

use array::DType;
use master::cluster::catalog::{Applied, Catalog, Memory};
use master::cluster::command::{Command, NewSegment, Request};
use protocol::{ArrayId, ErrorCode, SessionId, VersionId, WorkerId};

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
