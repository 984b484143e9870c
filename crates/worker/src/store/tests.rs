//! The store's stories, and random sequences after each of which everything is counted anew.

use super::*;
use array::{Buffer, DType};
use proptest::prelude::*;
use protocol::limits::PAYLOAD_BYTES_MAX;

const V1: VersionId = VersionId(1);
const TICKET: &str = "5f0c";

fn bytes_of(fill: u8, len: usize) -> Buffer {
    Buffer::from_bytes(&vec![fill; len])
}

fn crc(buffer: &Buffer) -> u32 {
    array::checksum::crc32c(buffer.as_bytes())
}

/// Puts a copy in as a result or a repair would.
fn put(store: &mut Store, id: CopyId, buffer: Buffer) -> Result<Arc<Segment>, WireError> {
    let room = store.make_room(buffer.len() as u64)?;
    let crc = crc(&buffer);
    store.insert(room, Segment::new(id, DType::UInt8, buffer, crc))
}

fn admit(store: &mut Store, segment: u32, ticket: &str, buffer: &Buffer) -> Result<Admission, WireError> {
    let bytes = buffer.len() as u64;
    store.admit(Write { copy: CopyId(V1, segment), ticket, dtype: DType::UInt8, bytes, crc32c: crc(buffer) })
}

/// Begins a write that must be admitted.
fn grant(store: &mut Store, segment: u32, buffer: &Buffer) -> Grant {
    match admit(store, segment, TICKET, buffer) {
        Ok(Admission::Receive(grant)) => grant,
        other => panic!("segment {segment} is not received: {other:?}"),
    }
}

fn expecting(segments: &[(SegmentIndex, u64)]) -> Store {
    let mut store = Store::new(1000);
    store.reserve(V1, TICKET, DType::UInt8, segments).unwrap();
    store
}

fn code<T>(result: Result<T, WireError>) -> Option<ErrorCode> {
    result.err().map(|e| e.code)
}

#[test]
fn a_reserved_segment_is_received_stored_and_served() {
    let mut store = expecting(&[(0, 300), (1, 300)]);
    assert_eq!((store.used(), store.reserved(), store.free()), (0, 600, 400));
    let data = bytes_of(7, 300);
    let grant = grant(&mut store, 0, &data);
    assert_eq!((grant.bytes(), store.reserved()), (300, 600), "room moves from the reservation to the writer");
    let stored = store.finish(grant, data.clone()).unwrap();
    assert_eq!(stored.record(), CopyRecord(V1, 0, crc(&data), 300));
    assert_eq!((store.used(), store.reserved()), (300, 300));
    assert_eq!(store.get(CopyId(V1, 0)).unwrap().buffer(), &data);
    assert_eq!(store.inventory(), [stored.record()]);
    assert_eq!(code(store.get_or_refuse(CopyId(V1, 1))), Some(ErrorCode::NotHeld));
    store.check_invariants();
}

#[test]
fn nothing_is_taken_without_the_right_ticket_segment_length_and_dtype() {
    let mut store = expecting(&[(0, 300)]);
    let data = bytes_of(7, 300);
    assert_eq!(code(admit(&mut store, 0, "other", &data)), Some(ErrorCode::UnknownTicket));
    assert_eq!(code(admit(&mut store, 5, TICKET, &data)), Some(ErrorCode::UnknownTicket));
    assert_eq!(code(admit(&mut store, 0, TICKET, &bytes_of(7, 299))), Some(ErrorCode::UnknownTicket));
    let write = Write { copy: CopyId(V1, 0), ticket: TICKET, dtype: DType::Float32, bytes: 300, crc32c: crc(&data) };
    assert_eq!(code(store.admit(write)), Some(ErrorCode::TypeMismatch));
    assert_eq!((store.used(), store.reserved()), (0, 300));
}

#[test]
fn a_repeated_write_is_told_that_it_is_here_and_other_bytes_are_refused() {
    let mut store = expecting(&[(0, 300)]);
    let data = bytes_of(7, 300);
    let first = grant(&mut store, 0, &data);
    store.finish(first, data.clone()).unwrap();
    assert!(matches!(admit(&mut store, 0, TICKET, &data), Ok(Admission::Held(_))));
    assert_eq!(code(admit(&mut store, 0, TICKET, &bytes_of(8, 300))), Some(ErrorCode::ChecksumMismatch));
    store.check_invariants();
}

#[test]
fn an_abandoned_write_can_be_made_again() {
    let mut store = expecting(&[(0, 300)]);
    let data = bytes_of(7, 300);
    let first = grant(&mut store, 0, &data);
    store.abandon(first);
    assert_eq!(store.reserved(), 300);
    let second = grant(&mut store, 0, &data);
    store.finish(second, data).unwrap();
    assert_eq!((store.used(), store.reserved()), (300, 0));
}

#[test]
fn two_writers_of_one_segment_have_room_each_or_the_second_is_busy() {
    let mut store = expecting(&[(0, 300)]);
    let data = bytes_of(7, 300);
    let (first, second) = (grant(&mut store, 0, &data), grant(&mut store, 0, &data));
    assert_eq!(store.reserved(), 600);
    store.abandon(first);
    assert_eq!(store.reserved(), 600, "the room of the first is expected again, the second still has its own");
    store.finish(second, data.clone()).unwrap();
    assert_eq!((store.used(), store.reserved()), (300, 0));

    let mut store = expecting(&[(0, 300)]);
    let (first, second) = (grant(&mut store, 0, &data), grant(&mut store, 0, &data));
    store.finish(first, data.clone()).unwrap();
    store.abandon(second);
    assert_eq!((store.used(), store.reserved()), (300, 0), "it is here, and not expected any more");

    let mut store = expecting(&[(0, 300)]);
    let (first, second) = (grant(&mut store, 0, &data), grant(&mut store, 0, &data));
    store.abandon(first);
    store.abandon(second);
    assert_eq!(store.reserved(), 300, "it is expected once");
    store.check_invariants();

    let mut full = expecting(&[(0, 300), (1, 600)]);
    let first = grant(&mut full, 0, &data);
    assert_eq!(code(admit(&mut full, 0, TICKET, &data)), Some(ErrorCode::Busy));
    full.finish(first, data).unwrap();
    full.check_invariants();
}

#[test]
fn a_write_that_outlives_its_reservation_is_refused_and_its_room_is_free_then() {
    let mut store = expecting(&[(0, 300), (1, 300)]);
    let data = bytes_of(7, 300);
    let (of_lost_link, of_dropped) = (grant(&mut store, 0, &data), grant(&mut store, 1, &data));
    store.drop_version(V1);
    assert_eq!(store.reserved(), 600, "the buffers are still being filled");
    assert_eq!(code(store.finish(of_dropped, data.clone())), Some(ErrorCode::UnknownTicket));
    store.reserve(V1, "another", DType::UInt8, &[(0, 300)]).unwrap();
    assert_eq!(code(store.finish(of_lost_link, data)), Some(ErrorCode::UnknownTicket), "an old ticket");
    assert_eq!((store.used(), store.reserved(), store.copies()), (0, 300, 0));
    store.forget_reservations();
    assert_eq!(store.reserved(), 0);
    store.check_invariants();
}

#[test]
fn what_does_not_fit_is_refused_with_the_sizes_and_changes_nothing() {
    let mut store = expecting(&[(0, 300)]);
    let error = store.reserve(VersionId(2), TICKET, DType::UInt8, &[(0, 400), (1, 301)]).unwrap_err();
    assert_eq!(error.code, ErrorCode::InsufficientMemory);
    for part in ["701 B asked", "700 B free", "1000 B", "300 B reserved", "--memory"] {
        assert!(error.message.contains(part), "{} lacks {part}", error.message);
    }
    assert!(error.retryable);
    assert_eq!(store.reserved(), 300, "all or none");
    store.reserve(VersionId(2), TICKET, DType::UInt8, &[(0, 400), (1, 300)]).unwrap();
    assert_eq!(code(store.make_room(1).map(drop)), Some(ErrorCode::InsufficientMemory));
    store.reserve(VersionId(2), "again", DType::UInt8, &[(0, 400), (1, 300)]).unwrap();
    assert_eq!(store.free(), 0, "the same segments again reuse their room");
    store.check_invariants();
}

#[test]
fn lengths_that_no_segment_has_are_refused_before_anything_is_kept() {
    let mut store = Store::new(1 << 40);
    let mut reserve = |dtype, bytes| code(store.reserve(V1, TICKET, dtype, &[(0, bytes)]));
    assert_eq!(reserve(DType::Float64, 12), Some(ErrorCode::Malformed));
    assert_eq!(reserve(DType::Float64, 0), Some(ErrorCode::Malformed));
    assert_eq!(reserve(DType::UInt8, PAYLOAD_BYTES_MAX + 1), Some(ErrorCode::TooLarge));
    assert_eq!(reserve(DType::UInt8, u64::MAX), Some(ErrorCode::TooLarge));
    assert_eq!(reserve(DType::UInt8, PAYLOAD_BYTES_MAX), None);
    assert_eq!(store.reserved(), PAYLOAD_BYTES_MAX);
}

#[test]
fn a_dropped_copy_counts_until_its_last_reader_is_done() {
    let mut store = Store::new(1000);
    put(&mut store, CopyId(V1, 0), bytes_of(1, 600)).unwrap();
    put(&mut store, CopyId(V1, 1), bytes_of(2, 100)).unwrap();
    let reader = store.get(CopyId(V1, 0)).unwrap();
    store.drop_version(V1);
    assert_eq!((store.copies(), store.used()), (0, 600), "the unread one is free at once");
    assert_eq!(code(put(&mut store, CopyId(V1, 2), bytes_of(3, 500))), Some(ErrorCode::InsufficientMemory));
    assert!(reader.is_intact());
    drop(reader);
    assert_eq!(store.take_trash().len(), 2);
    assert_eq!(store.used(), 0);
    put(&mut store, CopyId(V1, 2), bytes_of(3, 500)).unwrap();
    store.check_invariants();
}

#[test]
fn dropped_copies_whose_readers_are_done_do_not_pile_up() {
    let mut store = Store::new(1000);
    for segment in 0..100 {
        put(&mut store, CopyId(V1, segment), bytes_of(1, 10)).unwrap();
        let reader = store.get(CopyId(V1, segment));
        store.drop_copy(CopyId(V1, segment));
        assert_eq!((store.used(), store.retired.len()), (10, 1), "that of this reader");
        drop(reader);
        store.take_trash();
    }
    assert_eq!(store.used(), 0);
}

#[test]
fn an_equal_copy_is_stored_once_and_another_one_is_refused() {
    let mut store = Store::new(1000);
    let first = put(&mut store, CopyId(V1, 0), bytes_of(1, 100)).unwrap();
    let again = put(&mut store, CopyId(V1, 0), bytes_of(1, 100)).unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    assert_eq!(code(put(&mut store, CopyId(V1, 0), bytes_of(2, 100))), Some(ErrorCode::ChecksumMismatch));
    assert_eq!((store.used(), store.reserved()), (100, 0));
}

#[test]
fn a_broken_copy_goes_and_only_that_one() {
    let mut store = Store::new(1000);
    let wrong = bytes_of(1, 100);
    let room = store.make_room(100).unwrap();
    let broken = store.insert(room, Segment::new(CopyId(V1, 0), DType::UInt8, wrong, 12345)).unwrap();
    assert!(!broken.is_intact());
    assert!(store.remove_broken(&broken));
    assert!(!store.remove_broken(&broken), "gone already");
    let good = put(&mut store, CopyId(V1, 0), bytes_of(1, 100)).unwrap();
    assert!(good.is_intact());
    assert!(!store.remove_broken(&broken), "the new copy is another one");
    assert_eq!(store.inventory(), [good.record()]);
    store.check_invariants();
}

#[test]
fn dropping_one_copy_leaves_the_rest_of_its_version() {
    let mut store = expecting(&[(0, 100), (1, 100)]);
    put(&mut store, CopyId(V1, 5), bytes_of(1, 100)).unwrap();
    store.drop_copy(CopyId(V1, 0));
    store.drop_copy(CopyId(V1, 9));
    assert_eq!((store.used(), store.reserved()), (100, 100));
    store.drop_copy(CopyId(V1, 5));
    assert_eq!((store.used(), store.reserved(), store.digest()), (0, 100, Digest::default()));
}

#[test]
fn a_segment_that_is_here_needs_no_room_when_it_is_reserved() {
    let mut store = Store::new(500);
    let data = bytes_of(1, 400);
    put(&mut store, CopyId(V1, 0), data.clone()).unwrap();
    store.reserve(V1, TICKET, DType::UInt8, &[(0, 400), (1, 100)]).unwrap();
    assert_eq!(store.reserved(), 100);
    assert!(matches!(admit(&mut store, 0, TICKET, &data), Ok(Admission::Held(_))));
}

#[test]
fn clearing_forgets_copies_reservations_and_epochs() {
    let mut store = expecting(&[(0, 100)]);
    put(&mut store, CopyId(VersionId(2), 0), bytes_of(1, 100)).unwrap();
    store.admit_epoch(CopyId(V1, 0), Some(Epoch(9, 9))).unwrap();
    store.clear();
    assert_eq!((store.copies(), store.used(), store.reserved()), (0, 0, 0));
    store.admit_epoch(CopyId(V1, 0), Some(Epoch(1, 1))).unwrap();
    store.check_invariants();
}

#[test]
fn reservations_that_end_take_no_copy_with_them() {
    let mut store = expecting(&[(0, 100), (1, 200)]);
    store.reserve(VersionId(2), TICKET, DType::UInt8, &[(0, 50)]).unwrap();
    let (first, second) = (bytes_of(1, 100), bytes_of(2, 200));
    let written = grant(&mut store, 0, &first);
    store.finish(written, first.clone()).unwrap();
    let late = grant(&mut store, 1, &second);
    store.end_reservations(V1);
    store.check_invariants();
    assert_eq!((store.copies(), store.reserved()), (1, 250), "of the other version, and what is being written");
    assert!(matches!(admit(&mut store, 0, TICKET, &first), Ok(Admission::Held(_))), "again, it is answered as before");
    assert_eq!(code(admit(&mut store, 1, TICKET, &second)), Some(ErrorCode::UnknownTicket));
    assert_eq!(code(store.finish(late, second)), Some(ErrorCode::UnknownTicket));
    assert_eq!((store.copies(), store.reserved()), (1, 50));
}

#[test]
fn stores_that_share_a_pool_leave_each_other_what_they_do_not_use() {
    let pool = Pool::new(1000, "wait");
    assert_eq!(pool.limit(), 1000);
    let [mut one, mut other] = [(); 2].map(|()| Store::sharing(800, Account::open(&pool)));
    put(&mut one, CopyId(V1, 0), bytes_of(1, 300)).unwrap();
    one.reserve(VersionId(2), TICKET, DType::UInt8, &[(0, 200)]).unwrap();
    assert_eq!(pool.taken(), 500);
    assert_eq!(code(other.make_room(501).map(drop)), Some(ErrorCode::InsufficientMemory), "its own budget has more");
    let room = other.make_room(500).unwrap();
    assert_eq!(pool.taken(), 1000);
    assert_eq!(code(one.make_room(1).map(drop)), Some(ErrorCode::InsufficientMemory));
    assert_eq!(one.heartbeat(0).memory_used_bytes, 800, "nobody should count on the 300 that it does not use itself");
    other.release(room);
    one.drop_version(V1);
    one.take_trash();
    // What was given back is there for others with the next sign of life.
    assert_eq!(pool.taken(), 1000);
    assert_eq!(one.heartbeat(3).memory_used_bytes, 500, "the other has not said yet that it gives back 500");
    assert_eq!((other.heartbeat(0).memory_used_bytes, pool.taken()), (0, 200));
    assert_eq!(
        one.heartbeat(3),
        Heartbeat { digest: one.digest(), copies: 0, memory_used_bytes: 200, memory_idle_bytes: 0, tasks: 3 }
    );
    let room = other.make_room(800).unwrap();
    other.release(room);
    drop(one);
    assert_eq!(pool.taken(), 800, "until its next sign of life");
}

#[test]
fn a_sign_of_life_tells_copies_and_memory() {
    let mut store = expecting(&[(1, 100)]);
    let segment = put(&mut store, CopyId(V1, 0), bytes_of(1, 300)).unwrap();
    assert_eq!((segment.elements(), segment.dtype()), (300, DType::UInt8));
    let wide = Segment::new(CopyId(V1, 2), DType::Float64, bytes_of(0, 48), 0);
    assert_eq!((wide.elements(), wide.dtype()), (6, DType::Float64));
    let heartbeat = store.heartbeat(0);
    assert_eq!((heartbeat.copies, heartbeat.memory_used_bytes), (1, 400));
    assert_eq!(heartbeat.digest, store.digest());
}

/// Epochs of what is here or expected are kept, and of so much else that a refused instruction is refused again.
#[test]
fn epochs_of_what_is_not_here_do_not_pile_up() {
    use crate::fence::SPARE_ENTRIES_MAX;
    let mut store = expecting(&[(0, 100)]);
    put(&mut store, CopyId(V1, 1), bytes_of(1, 100)).unwrap();
    let heard = |store: &mut Store, version, segment, n| {
        store.admit_epoch(CopyId(VersionId(version), segment), Some(Epoch(1, n)))
    };
    heard(&mut store, 1, 0, 9).unwrap();
    heard(&mut store, 1, 1, 9).unwrap();
    for version in 2..3 * SPARE_ENTRIES_MAX as u64 {
        heard(&mut store, version, 0, 9).unwrap();
        assert!(store.fence.len() <= 3 + 2 * SPARE_ENTRIES_MAX);
    }
    assert_eq!(code(heard(&mut store, 1, 0, 8)), Some(ErrorCode::Fenced), "it is expected");
    assert_eq!(code(heard(&mut store, 1, 1, 8)), Some(ErrorCode::Fenced), "it is here");
    assert_eq!(code(heard(&mut store, 2, 0, 8)), None, "forgotten");
}

/// One thing that can happen to a store; segments are 0 to 3 of versions 1 to 3, lengths and bytes depend on
/// them.
#[derive(Clone, Debug)]
enum Act {
    Reserve { version: u64, segments: Vec<u32>, ticket: usize },
    Admit { version: u64, segment: u32, ticket: usize, fill: u8 },
    Finish(usize),
    Abandon(usize),
    Put { version: u64, segment: u32, fill: u8 },
    Read { version: u64, segment: u32 },
    StopReading(usize),
    DropCopy { version: u64, segment: u32 },
    DropVersion(u64),
    Break { version: u64, segment: u32 },
    Empty,
    ForgetReservations,
}

const TICKETS: [&str; 2] = ["t0", "t1"];

fn act() -> impl Strategy<Value = Act> {
    let (v, s, t, f, n) = (1..4_u64, 0..4_u32, 0..2_usize, 0..2_u8, 0..8_usize);
    prop_oneof![
        3 => (v.clone(), prop::collection::vec(s.clone(), 1..4), t.clone())
            .prop_map(|(version, segments, ticket)| Act::Reserve { version, segments, ticket }),
        6 => (v.clone(), s.clone(), t, f.clone())
            .prop_map(|(version, segment, ticket, fill)| Act::Admit { version, segment, ticket, fill }),
        4 => n.clone().prop_map(Act::Finish),
        2 => n.clone().prop_map(Act::Abandon),
        3 => (v.clone(), s.clone(), f)
            .prop_map(|(version, segment, fill)| Act::Put { version, segment, fill }),
        2 => (v.clone(), s.clone()).prop_map(|(version, segment)| Act::Read { version, segment }),
        2 => n.prop_map(Act::StopReading),
        1 => (v.clone(), s.clone()).prop_map(|(version, segment)| Act::DropCopy { version, segment }),
        1 => v.clone().prop_map(Act::DropVersion),
        1 => (v, s).prop_map(|(version, segment)| Act::Break { version, segment }),
        2 => Just(Act::Empty),
        1 => Just(Act::ForgetReservations),
    ]
}

/// A store, and everything that is out of it.
struct World {
    store: Store,
    grants: Vec<(Grant, Buffer)>,
    readers: Vec<Arc<Segment>>,
}

impl World {
    fn buffer(version: u64, segment: u32, fill: u8) -> Buffer {
        bytes_of(fill, 10 * version as usize + segment as usize + 1)
    }

    fn perform(&mut self, act: Act) {
        let store = &mut self.store;
        match act {
            Act::Reserve { version, segments, ticket } => {
                let len = |s: u32| World::buffer(version, s, 0).len() as u64;
                let segments: Vec<_> = segments.into_iter().map(|s| (s, len(s))).collect();
                let _ = store.reserve(VersionId(version), TICKETS[ticket], DType::UInt8, &segments);
            }
            Act::Admit { version, segment, ticket, fill } => {
                let buffer = World::buffer(version, segment, fill);
                let (bytes, crc32c) = (buffer.len() as u64, crc(&buffer));
                let copy = CopyId(VersionId(version), segment);
                let write = Write { copy, ticket: TICKETS[ticket], dtype: DType::UInt8, bytes, crc32c };
                if let Ok(Admission::Receive(grant)) = store.admit(write) {
                    self.grants.push((grant, buffer));
                }
            }
            Act::Finish(n) if n < self.grants.len() => {
                let (grant, buffer) = self.grants.swap_remove(n);
                let _ = store.finish(grant, buffer);
            }
            Act::Abandon(n) if n < self.grants.len() => store.abandon(self.grants.swap_remove(n).0),
            Act::Put { version, segment, fill } => {
                let _ = put(store, CopyId(VersionId(version), segment), World::buffer(version, segment, fill));
            }
            Act::Read { version, segment } => self.readers.extend(store.get(CopyId(VersionId(version), segment))),
            Act::StopReading(n) if n < self.readers.len() => drop(self.readers.swap_remove(n)),
            Act::DropCopy { version, segment } => store.drop_copy(CopyId(VersionId(version), segment)),
            Act::DropVersion(version) => store.drop_version(VersionId(version)),
            Act::Break { version, segment } => {
                if let Some(held) = store.get(CopyId(VersionId(version), segment)) {
                    assert!(store.remove_broken(&held));
                }
            }
            Act::Empty => drop(store.take_trash()),
            Act::ForgetReservations => store.forget_reservations(),
            Act::Finish(_) | Act::Abandon(_) | Act::StopReading(_) => {}
        }
    }

    /// What is out, counted from outside: the room of the writers, and the dropped copies that somebody
    /// reads.
    fn recount(&self) -> (u64, u64) {
        let mut read_still: Vec<&Arc<Segment>> = self.readers.iter().collect();
        read_still.retain(|r| !self.store.get(r.record().id()).is_some_and(|held| Arc::ptr_eq(&held, r)));
        read_still.sort_by_key(|r| Arc::as_ptr(r));
        read_still.dedup_by(|a, b| Arc::ptr_eq(a, b));
        let retired = read_still.iter().map(|r| r.record().bytes()).sum();
        (self.grants.iter().map(|(grant, _)| grant.bytes()).sum(), retired)
    }
}

proptest! {
    #[test]
    fn totals_always_equal_a_recount(acts in prop::collection::vec(act(), 1..120), budget in 40_u64..400) {
        let mut world = World { store: Store::new(budget), grants: Vec::new(), readers: Vec::new() };
        for act in acts {
            world.perform(act);
            world.store.take_trash();
            world.store.check_invariants();
            let (in_flight, retired) = world.recount();
            prop_assert_eq!(world.store.in_flight, in_flight);
            prop_assert_eq!(world.store.used(), world.store.held + retired);
        }
        let World { mut store, grants, readers } = world;
        drop(readers);
        grants.into_iter().for_each(|(grant, _)| store.abandon(grant));
        (1..4).for_each(|version| store.drop_version(VersionId(version)));
        prop_assert_eq!((store.used(), store.reserved(), store.free()), (0, 0, budget));
        prop_assert_eq!(store.digest(), Digest::default());
    }
}
