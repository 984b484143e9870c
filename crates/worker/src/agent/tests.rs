//! The agent's stories. Each event is followed by what the agent does about it, one short line per effect.

use super::*;
use crate::compute::{ComputeFailure, ComputeJob};
use crate::original::{Content, Heard, Instruction, SegmentGiven};
use crate::store::Segment;
use array::checksum::crc32c;
use array::{Buffer, BufferPool, DType};
use protocol::limits::HELLO_TIMEOUT;
use protocol::message::client::Endpoint;
use protocol::message::{Hello, Ping, Role};
use protocol::{CopyId, CopyRecord, Epoch, PayloadKind, SegmentIndex, VersionId};
use uuid::Uuid;

const CLUSTER: Uuid = Uuid::from_u128(1);
const OTHER_CLUSTER: Uuid = Uuid::from_u128(2);
const SOURCE: VersionId = VersionId(1);
const RESULT: VersionId = VersionId(2);

/// An agent, its store, and the time.
struct Desk {
    agent: Agent,
    store: Store,
    now: Duration,
    /// Computations and fetches handed out.
    computing: Vec<ComputeJob>,
    fetching: Vec<FetchJob>,
}

fn settings() -> Settings {
    Settings {
        worker: "w1".into(),
        incarnation: 77,
        masters: vec!["m:1".into()],
        address: "w:9".into(),
        cores: 2,
        zone: None,
        join_new: false,
        kernels: array::KERNELS_ID.to_string(),
        features: Vec::new(),
        compute_slots: 2,
        small_elements: 0,
        medium_bytes: 0,
        fetch_slots: 1,
        seed: 5,
    }
}

impl Desk {
    fn new(settings: Settings) -> Desk {
        let agent = Agent::new(settings);
        Desk { agent, store: Store::new(1000), now: Duration::ZERO, computing: Vec::new(), fetching: Vec::new() }
    }

    /// A worker that link 1 has just registered.
    fn registered(settings: Settings) -> Desk {
        let mut desk = Desk::new(settings);
        desk.step(Event::Tick);
        desk.step(opened(1));
        desk.step(hello(1, CLUSTER));
        assert!(desk.agent.is_registered());
        desk
    }

    fn step(&mut self, event: Event) -> Vec<String> {
        let effects = self.agent.step(self.now, &mut self.store, event);
        self.store.check_invariants();
        effects.into_iter().filter_map(|effect| self.take(effect)).collect()
    }

    /// One line for an effect; none for memory that is freed, by dropping it.
    fn take(&mut self, effect: Effect) -> Option<String> {
        Some(match effect {
            Effect::OpenLink { link, address } => format!("open {link} {address}"),
            Effect::CloseLink { link } => format!("close {link}"),
            Effect::Send { link, message } => format!("{link}< {}", describe(&message)),
            Effect::Reply { link, reply, .. } => format!("{link}< {reply:?}"),
            Effect::Compute(job) => {
                let line = format!("compute {} of {}", job.program, job.sources[0].record().id());
                self.computing.push(job);
                line
            }
            Effect::Fetch(job) => {
                let line = format!("fetch {}", job.copy.id());
                self.fetching.push(job);
                line
            }
            Effect::StartHeartbeats(job) => {
                format!("beat {} {} {}", job.address, job.worker, job.incarnation)
            }
            Effect::StopHeartbeats => "stop beating".into(),
            Effect::Free(_) => return None,
            Effect::Exit(reason) => format!("exit {}: {reason}", reason.code()),
        })
    }

    /// Advances to the agent's next deadline; gives how long that took, and what was done then.
    fn wait(&mut self) -> (Duration, Vec<String>) {
        let next = self.agent.next_deadline().expect("the agent waits for something");
        let waited = next - self.now;
        self.now = next;
        (waited, self.step(Event::Tick))
    }

    /// An int32 copy of `SOURCE`, as if it had been written.
    fn hold(&mut self, segment: SegmentIndex, values: &[i32]) -> CopyRecord {
        let buffer = Buffer::from_slice(values);
        let crc = crc32c(buffer.as_bytes());
        let room = self.store.make_room(buffer.len() as u64).unwrap();
        let segment = Segment::new(CopyId(SOURCE, segment), DType::Int32, buffer, crc);
        self.store.insert(room, segment).unwrap().record()
    }

    /// Ends the oldest `n` computations at the same time, as the executor would.
    fn compute(&mut self, n: usize) -> Vec<String> {
        let buffers = BufferPool::new(0);
        let ended = self.computing.drain(..n).map(|job| job.ended(job.run(&buffers), Duration::from_micros(10)));
        let ended = ended.collect();
        self.step(Event::Computed(ended))
    }

    fn instruct(&mut self, body: impl Into<Body>) -> Vec<String> {
        let link = self.agent.link.registered().expect("registered");
        self.step(Event::Received { link, message: Message::new(body) })
    }

    fn instruct_at(&mut self, epoch: Epoch, body: impl Into<Body>) -> Vec<String> {
        let link = self.agent.link.registered().expect("registered");
        self.step(Event::Received { link, message: Message::new(body).at_epoch(epoch) })
    }
}

fn hello(link: u64, cluster: Uuid) -> Event {
    let hello = Hello { cluster: Some(cluster), term: Some(1), ..Hello::new(Role::Master) };
    Event::Received { link, message: Message::new(hello) }
}

fn refusal(link: u64, code: ErrorCode) -> Event {
    Event::Received { link, message: Message::new(WireError::new(code, "no")) }
}

fn opened(link: u64) -> Event {
    Event::LinkOpened { link, local: None }
}

fn failed(link: u64) -> Event {
    Event::LinkFailed { link, why: "refused".into() }
}

fn closed(link: u64) -> Event {
    Event::LinkClosed { link, why: "gone".into() }
}

fn process(segments: &[SegmentIndex]) -> ProcessSegment {
    ProcessSegment {
        operation: "example2".into(),
        sources: vec![SOURCE],
        elements: 1_000_000,
        result: RESULT,
        segments: segments.to_vec(),
        verify: false,
        inline: Vec::new(),
    }
}

fn drop_version(version: VersionId) -> DropCopies {
    DropCopies { versions: vec![version], ..DropCopies::default() }
}

fn describe(message: &Message) -> String {
    let body = match &message.body {
        Body::RegisterWorker(register) => {
            let hello = register.hello.as_ref().unwrap();
            let cluster = hello.cluster.map_or("fresh".into(), |c| format!("of {}", c.as_u128()));
            let draining = if hello.draining { " draining" } else { "" };
            format!("register {} {cluster} with {} copies{draining}", hello.worker, hello.inventory.len())
        }
        Body::SegmentResult(result) => {
            let copies: Vec<SegmentIndex> = result.copies.iter().map(|c| c.id().segment()).collect();
            let failed: Vec<String> = result.failed.iter().map(|f| format!("{} {}", f.segment, f.error.code)).collect();
            format!("result {} {copies:?} failed [{}]", result.result, failed.join(", "))
        }
        Body::RecoveryComplete(done) => match &done.error {
            None => format!("recovered {}", done.copy.id()),
            Some(error) => format!("not recovered {}: {}", done.copy.id(), error.code),
        },
        Body::CopiesChanged(changed) => format!("stored {:?} broken {:?}", changed.stored, changed.broken),
        Body::Inventory(inventory) => format!("inventory {:?}", inventory.copies),
        Body::WorkerStatus(status) => format!("{:?}", status.state),
        Body::Error(error) => format!("ERROR {}", error.code),
        other => other.kind().to_string(),
    };
    let id = message.head.id.map(|id| format!(" #{id}")).unwrap_or_default();
    let request = message.head.request.as_ref().map(|request| format!(" for {request}")).unwrap_or_default();
    format!("{body}{id}{request}")
}

// ---- the link

#[test]
fn a_fresh_worker_connects_registers_and_gives_signs_of_life() {
    let mut desk = Desk::new(settings());
    assert_eq!(desk.step(Event::Tick), ["open 1 m:1"]);
    assert_eq!(desk.step(opened(1)), ["1< register w1 fresh with 0 copies"]);
    assert!(!desk.agent.is_registered());
    assert_eq!(desk.step(hello(1, CLUSTER)), ["beat m:1 w1 77"]);
    assert_eq!(desk.agent.next_deadline(), None);
    assert_eq!(desk.agent.heartbeat(&desk.store), desk.store.heartbeat(0));
}

#[test]
fn the_registration_says_everything_about_the_worker() {
    let mut desk = Desk::new(Settings { zone: Some("z".into()), ..settings() });
    let record = desk.hold(3, &[1, 2]);
    desk.step(Event::Tick);
    let local = "127.0.0.1:40022".parse().ok();
    let effects = desk.agent.step(desk.now, &mut desk.store, Event::LinkOpened { link: 1, local });
    let [Effect::Send { link: 1, message }] = &effects[..] else { panic!("{effects:?}") };
    let Body::RegisterWorker(register) = &message.body else { panic!("{message:?}") };
    assert_eq!((register.host.as_str(), register.port, register.cores), ("127.0.0.1", 40022, 2));
    let hello = register.hello.as_ref().unwrap();
    assert_eq!((hello.incarnation, hello.address.as_str()), (77, "w:9"));
    assert_eq!((hello.kernels.as_str(), hello.memory_bytes), (array::KERNELS_ID, 1000));
    assert_eq!((hello.zone.as_deref(), &hello.inventory), (Some("z"), &vec![record]));
}

#[test]
fn without_a_master_the_pauses_double_up_to_a_second_with_jitter() {
    let mut desk = Desk::new(settings());
    desk.step(Event::Tick);
    let mut nominal = BACKOFF_MIN;
    let mut factors = Vec::new();
    for link in 1..12 {
        assert_eq!(desk.step(failed(link)), [format!("close {link}")]);
        let (pause, done) = desk.wait();
        assert_eq!(done, [format!("open {} m:1", link + 1)]);
        let factor = pause.as_secs_f64() / nominal.as_secs_f64();
        assert!((0.75..=1.25).contains(&factor), "{pause:?} instead of about {nominal:?}");
        factors.push(factor);
        nominal = (nominal * 2).min(BACKOFF_MAX);
    }
    assert!(factors.windows(2).any(|f| f[0] != f[1]), "no jitter: {factors:?}");
    let mut other = Desk::new(Settings { seed: 6, ..settings() });
    other.step(Event::Tick);
    other.step(failed(1));
    let (pause, _) = other.wait();
    assert_ne!(pause.as_secs_f64() / BACKOFF_MIN.as_secs_f64(), factors[0], "another seed, another pause");
}

#[test]
fn a_registration_that_succeeded_makes_the_pauses_short_again() {
    let mut desk = Desk::new(settings());
    desk.step(Event::Tick);
    for link in 1..8 {
        desk.step(failed(link));
        desk.wait();
    }
    desk.step(opened(8));
    assert_eq!(desk.step(hello(8, CLUSTER)), ["beat m:1 w1 77"]);
    desk.step(closed(8));
    let (pause, done) = desk.wait();
    assert_eq!(done, ["open 9 m:1"]);
    assert!(pause <= BACKOFF_MIN * 5 / 4, "{pause:?}");
}

#[test]
fn several_masters_are_tried_at_once_before_the_pause() {
    let masters = ["m:1", "m:2", "m:3"].map(String::from).to_vec();
    let mut desk = Desk::new(Settings { masters, ..settings() });
    assert_eq!(desk.step(Event::Tick), ["open 1 m:1"]);
    assert_eq!(desk.step(failed(1)), ["close 1", "open 2 m:2"]);
    assert_eq!(desk.step(failed(2)), ["close 2", "open 3 m:3"]);
    assert_eq!(desk.step(failed(3)), ["close 3"]);
    let (pause, done) = desk.wait();
    assert_eq!(done, ["open 4 m:1"]);
    assert!(pause >= BACKOFF_MIN / 2, "{pause:?}");
    desk.step(failed(4));
    desk.step(opened(5));
    assert_eq!(desk.step(hello(5, CLUSTER)), ["beat m:2 w1 77"]);
    assert_eq!(desk.step(closed(5)), ["close 5", "stop beating"]);
    assert_eq!(desk.wait().1, ["open 6 m:2"], "the one that was the master first");
}

#[test]
fn who_has_data_gives_a_master_up_that_does_not_answer_within_a_second() {
    let mut desk = Desk::registered(settings());
    desk.step(closed(1));
    desk.wait();
    desk.step(opened(2));
    let (waited, done) = desk.wait();
    assert_eq!((waited, done), (Duration::from_secs(1), vec!["close 2".to_string()]));
    assert_eq!(desk.step(hello(2, CLUSTER)), [""; 0], "too late");
    assert!(!desk.agent.is_registered());
}

// ---- masters of the original system

/// A worker whose master has not answered its registration within the time of rule S2.
fn unanswered(settings: Settings) -> Desk {
    let mut desk = Desk::new(settings);
    desk.step(Event::Tick);
    desk.step(opened(1));
    let (waited, done) = desk.wait();
    assert_eq!((waited, done), (HELLO_TIMEOUT, vec!["1< Heartbeat".to_string()]));
    desk
}

fn heard(link: u64, instruction: Instruction) -> Event {
    Event::Heard { link, heard: Heard { spaced: false, instruction } }
}

fn process_all(array: &str) -> Instruction {
    Instruction::Process { array: array.into(), operation: "example2".into() }
}

fn given(store: &mut Store, array: &str, values: &[i32]) -> Instruction {
    let buffer = Buffer::from_slice(values);
    let room = store.make_room(buffer.len() as u64).unwrap();
    Instruction::Keep(SegmentGiven {
        array: array.into(),
        segment: 0,
        start: 0,
        end: values.len() as u64,
        data_type: "int".into(),
        is_primary: true,
        content: Ok(Content { dtype: DType::Int32, buffer, room }),
    })
}

#[test]
fn a_silent_master_hears_heartbeats_of_level_1_on_the_same_connection_and_no_other_one() {
    let mut desk = unanswered(settings());
    assert_eq!(desk.agent.next_deadline(), None, "until the line is written");
    assert_eq!(desk.step(Event::Written { link: 1 }), [""; 0]);
    let (waited, done) = desk.wait();
    assert_eq!((waited, done), (Duration::from_secs(3), vec!["1< Heartbeat".to_string()]));
}

#[test]
fn a_master_of_level_2_that_was_slow_is_registered_with_anew() {
    let mut desk = unanswered(settings());
    assert_eq!(desk.step(hello(1, CLUSTER)), ["close 1"]);
    assert_eq!(desk.wait().1, ["open 2 m:1"]);
    assert_eq!(desk.step(opened(2)), ["2< register w1 fresh with 0 copies"]);
    assert_eq!(desk.step(hello(2, CLUSTER)), ["beat m:1 w1 77"]);
}

#[test]
fn a_line_of_an_original_master_is_followed_before_the_second_is_over() {
    let mut desk = Desk::new(settings());
    desk.step(Event::Tick);
    desk.step(opened(1));
    let given = given(&mut desk.store, "a", &[3, 4]);
    assert_eq!(desk.step(heard(1, given)), [""; 0]);
    let computing = desk.step(heard(1, process_all("a")));
    assert_eq!(computing, ["compute example2 of v1/0"]);
    assert_eq!(desk.compute(1), [""; 0], "nothing is written within a second of the registration");
    let (waited, done) = desk.wait();
    assert_eq!((waited, done), (HELLO_TIMEOUT, vec!["1< Heartbeat".to_string()]));
    let result = desk.step(Event::Written { link: 1 });
    assert!(result.len() == 1 && result[0].starts_with("1< Result"), "{result:?}");
    desk.step(Event::Written { link: 1 });
    assert_eq!(desk.step(closed(1)), ["close 1"]);
    assert_eq!((desk.store.used(), desk.store.reserved()), (0, 0), "everything is forgotten");
    let (pause, done) = desk.wait();
    assert!(pause <= BACKOFF_MIN * 2, "{pause:?}");
    assert_eq!(done, ["open 2 m:1"]);
    assert_eq!(desk.step(opened(2)), ["2< register w1 fresh with 0 copies"], "level 2 is tried first again");
}

#[test]
fn a_computation_that_outlives_its_original_master_gives_its_memory_back() {
    let mut desk = unanswered(settings());
    desk.step(Event::Written { link: 1 });
    let given = given(&mut desk.store, "a", &[3, 4]);
    desk.step(heard(1, given));
    desk.step(heard(1, process_all("a")));
    desk.step(closed(1));
    assert_eq!(desk.store.reserved(), 16, "source and result are in use");
    assert_eq!(desk.compute(1), [""; 0]);
    assert_eq!(desk.store.reserved(), 0);
    let late = self::given(&mut desk.store, "a", &[3, 4]);
    assert_eq!(desk.step(heard(1, late)), [""; 0], "of a connection that has ended");
    assert_eq!(desk.store.reserved(), 0);
}

#[test]
fn who_has_data_of_a_cluster_does_not_serve_an_original_master() {
    let mut desk = Desk::registered(settings());
    desk.hold(0, &[1, 2, 3]);
    desk.step(closed(1));
    desk.wait();
    desk.step(opened(2));
    let other = given(&mut desk.store, "a", &[3, 4]);
    assert_eq!(desk.step(heard(2, other)), ["close 2"]);
    assert_eq!((desk.store.copies(), desk.store.reserved()), (1, 0));
}

#[test]
fn what_no_original_master_says_ends_a_registration() {
    let mut desk = Desk::new(settings());
    desk.step(Event::Tick);
    desk.step(opened(1));
    assert_eq!(desk.step(heard(1, Instruction::Ignored("PING".into()))), ["close 1"]);
}

#[test]
fn of_several_masters_a_silent_one_waits_until_all_were_asked_and_not_for_ever() {
    let masters = ["m:1", "m:2"].map(String::from).to_vec();
    let mut desk = Desk::new(Settings { masters, ..settings() });
    desk.step(Event::Tick);
    desk.step(opened(1));
    assert_eq!(desk.wait(), (HELLO_TIMEOUT, vec!["close 1".to_string()]));
    assert_eq!(desk.wait().1, ["open 2 m:2"]);
    assert_eq!(desk.step(failed(2)), ["close 2"]);
    assert_eq!(desk.wait().1, ["open 3 m:1"]);
    desk.step(opened(3));
    assert_eq!(desk.wait().1, ["3< Heartbeat"]);
    let silent = desk.now + QUIET_MAX;
    let mut done = Vec::new();
    while desk.now < silent {
        desk.step(Event::Written { link: 3 });
        done = desk.wait().1;
    }
    assert_eq!(done, ["close 3"]);
    assert_eq!(desk.wait().1, ["open 4 m:2"]);
}

#[test]
fn an_original_master_takes_over_nothing_so_draining_ends_at_once() {
    let mut desk = unanswered(settings());
    desk.step(Event::Written { link: 1 });
    let given = given(&mut desk.store, "a", &[3, 4]);
    desk.step(heard(1, given));
    let done = desk.step(Event::Drain);
    assert!(
        done[0].starts_with("exit 3: ended undrained (an original master takes over no duties): 1 copies, 8 B"),
        "{done:?}"
    );

    let mut desk = Desk::new(settings());
    desk.step(Event::Tick);
    desk.step(opened(1));
    desk.step(Event::Drain);
    assert!(desk.wait().1[0].starts_with("exit 0: "), "asked to end before the second was over");
}

#[test]
fn an_original_master_can_end_the_process() {
    let mut desk = unanswered(settings());
    assert_eq!(desk.step(heard(1, Instruction::Shutdown)), ["exit 0: the master shut the cluster down"]);
}

#[test]
fn an_attempt_that_never_ends_is_given_up_and_closed_when_it_succeeds_later() {
    let mut desk = Desk::new(settings());
    desk.step(Event::Tick);
    let (waited, done) = desk.wait();
    assert_eq!(done, ["close 1"]);
    assert!(waited > DIAL_TIMEOUT);
    assert_eq!(desk.wait().1, ["open 2 m:1"]);
    assert_eq!(desk.step(opened(1)), ["close 1"]);
    assert_eq!(desk.step(closed(1)), [""; 0]);
}

#[test]
fn losing_the_link_keeps_the_copies_and_registers_with_them() {
    let mut desk = Desk::registered(settings());
    desk.hold(0, &[1, 2, 3]);
    desk.instruct(Reserve { version: VersionId(9), ticket: "t".into(), dtype: DType::Int32, segments: vec![(0, 400)] });
    assert_eq!(desk.store.reserved(), 400);
    assert_eq!(desk.step(closed(1)), ["close 1", "stop beating"]);
    assert_eq!((desk.store.reserved(), desk.store.copies()), (0, 1));
    let (pause, done) = desk.wait();
    assert!(pause <= BACKOFF_MIN * 2);
    assert_eq!(done, ["open 2 m:1"]);
    assert_eq!(desk.step(opened(2)), ["2< register w1 of 1 with 1 copies"]);
    assert_eq!(desk.step(hello(2, CLUSTER)), ["beat m:1 w1 77"]);
}

#[test]
fn a_worker_of_another_cluster_keeps_its_data_and_asks_again() {
    let mut desk = Desk::registered(settings());
    desk.hold(0, &[1]);
    desk.step(closed(1));
    desk.wait();
    desk.step(opened(2));
    assert_eq!(desk.step(refusal(2, ErrorCode::WrongCluster)), ["close 2"]);
    let (pause, done) = desk.wait();
    assert_eq!(done, ["open 3 m:1"]);
    assert!(pause >= BACKOFF_MAX / 2, "{pause:?}");
    // A master that does not notice is not obeyed either.
    desk.step(opened(3));
    assert_eq!(desk.step(hello(3, OTHER_CLUSTER)), ["close 3"]);
    assert_eq!(desk.store.copies(), 1);
    desk.wait();
    desk.step(opened(4));
    assert_eq!(desk.step(hello(4, CLUSTER)), ["beat m:1 w1 77"], "its own master is back");
}

#[test]
fn join_new_gives_up_data_and_cluster() {
    let mut desk = Desk::registered(Settings { join_new: true, ..settings() });
    desk.hold(0, &[1]);
    desk.step(closed(1));
    desk.wait();
    desk.step(opened(2));
    assert_eq!(desk.step(refusal(2, ErrorCode::WrongCluster)), ["close 2", "open 3 m:1"]);
    assert_eq!(desk.step(opened(3)), ["3< register w1 fresh with 0 copies"]);
    assert_eq!(desk.step(hello(3, OTHER_CLUSTER)), ["beat m:1 w1 77"]);
}

#[test]
fn an_id_in_use_is_asked_for_again_and_a_newer_process_ends_this_one() {
    let mut desk = Desk::new(settings());
    desk.step(Event::Tick);
    desk.step(opened(1));
    assert_eq!(desk.step(refusal(1, ErrorCode::WorkerIdInUse)), ["close 1"]);
    assert_eq!(desk.wait().1, ["open 2 m:1"]);
    desk.step(opened(2));
    let done = desk.step(refusal(2, ErrorCode::Fenced));
    assert!(done.len() == 1 && done[0].starts_with("exit 1: a newer process"), "{done:?}");
    assert_eq!(desk.step(Event::Tick), [""; 0], "nothing after the end");
}

#[test]
fn a_master_of_an_earlier_term_is_not_obeyed() {
    let mut desk = Desk::registered(settings());
    desk.hold(0, &[1]);
    desk.instruct_at(Epoch(3, 1), process(&[0]));
    desk.step(closed(1));
    desk.wait();
    desk.step(opened(2));
    assert_eq!(desk.step(hello(2, CLUSTER)), ["close 2"]);
}

#[test]
fn an_answer_that_is_no_answer_ends_the_attempt() {
    let mut desk = Desk::new(settings());
    desk.step(Event::Tick);
    desk.step(opened(1));
    let ping = Event::Received { link: 1, message: Message::new(Ping {}) };
    assert_eq!(desk.step(ping), ["close 1"]);
    desk.wait();
    desk.step(opened(2));
    let no_cluster = Event::Received { link: 2, message: Message::new(Hello::new(Role::Master)) };
    assert_eq!(desk.step(no_cluster), ["close 2"]);
}

// ---- copies that come and go on the data port

#[test]
fn a_written_copy_is_told_and_one_during_registration_after_the_answer() {
    let mut desk = Desk::registered(settings());
    let record = desk.hold(0, &[1]);
    assert_eq!(desk.step(Event::Stored(record)), [format!("1< stored [{record:?}] broken []")]);
    assert_eq!(desk.step(Event::Broken(CopyId(SOURCE, 0))), ["1< stored [] broken [CopyId(VersionId(1), 0)]"]);
    desk.step(closed(1));
    assert_eq!(desk.step(Event::Stored(record)), [""; 0], "the inventory will say it");
    desk.wait();
    desk.step(opened(2));
    assert_eq!(desk.step(Event::Stored(record)), [""; 0]);
    assert_eq!(
        desk.step(hello(2, CLUSTER)),
        ["beat m:1 w1 77".to_string(), format!("2< stored [{record:?}] broken []")]
    );
}

#[test]
fn small_instructions_are_answered_with_their_id_and_request() {
    let mut desk = Desk::registered(settings());
    let record = desk.hold(0, &[1]);
    let mut ask = |body: Body| {
        let message = Message::request(4, body).serving(Some("0199/7".into()));
        desk.step(Event::Received { link: 1, message })
    };
    assert_eq!(ask(Ping {}.into()), ["1< PONG #4 for 0199/7"]);
    assert_eq!(ask(SendInventory {}.into()), [format!("1< inventory [{record:?}] #4 for 0199/7")]);
    assert_eq!(ask(Reserved {}.into()), ["1< ERROR NotAllowed #4 for 0199/7"]);
    assert_eq!(ask(WireError::new(ErrorCode::Internal, "x").into()), [""; 0], "refusals are not refused");
    let fits =
        |bytes| Reserve { version: VersionId(9), ticket: "t".into(), dtype: DType::Int32, segments: vec![(0, bytes)] };
    assert_eq!(ask(fits(400).into()), ["1< RESERVED #4 for 0199/7"]);
    assert_eq!(ask(fits(4000).into()), ["1< ERROR InsufficientMemory #4 for 0199/7"]);
    assert_eq!(ask(fits(401).into()), ["1< ERROR Malformed #4 for 0199/7"]);
    assert_eq!(ask(client::Shutdown {}.into()), ["exit 0: the master shut the cluster down"]);
}

// ---- computing

#[test]
fn each_segment_is_answered_once_and_those_that_end_together_together() {
    let mut desk = Desk::registered(settings());
    for segment in 0..4 {
        desk.hold(segment, &[3, 4, 5]);
    }
    assert_eq!(
        desk.instruct(process(&[0, 1, 2, 3])),
        ["compute example2 of v1/0", "compute example2 of v1/1"],
        "two slots"
    );
    assert_eq!(desk.store.reserved(), 4 * 12, "room for all results");
    assert_eq!(desk.agent.heartbeat(&desk.store).tasks, 4);
    assert_eq!(desk.instruct(process(&[0, 3])), [""; 0], "asked twice, answered once");
    assert_eq!(desk.compute(1), ["1< result v2 [0] failed []", "compute example2 of v1/2"]);
    assert_eq!(desk.compute(2), ["1< result v2 [1, 2] failed []", "compute example2 of v1/3"]);
    assert_eq!(desk.compute(1), ["1< result v2 [3] failed []"]);
    assert_eq!((desk.store.reserved(), desk.agent.tasks()), (0, 0));
    assert_eq!(desk.store.get(CopyId(RESULT, 3)).unwrap().buffer().as_slice::<i32>(), [3, 4, 5]);
    assert_eq!(desk.instruct(process(&[0, 3])), ["1< result v2 [0, 3] failed []"], "here already: told again");
}

#[test]
fn small_computations_wait_for_no_slot() {
    let mut desk = Desk::registered(Settings { small_elements: 2, ..settings() });
    for segment in 0..3 {
        desk.hold(segment, &[1, 2, 3]);
    }
    for segment in 3..6 {
        desk.hold(segment, &[4, 5]);
    }
    desk.instruct(process(&[0, 1, 2, 3, 4, 5]));
    let computing: Vec<SegmentIndex> = desk.computing.iter().map(|job| job.result.segment()).collect();
    assert_eq!(computing, [3, 4, 5, 0, 1], "there are two slots, for those that are not small");
    desk.compute(3);
    assert_eq!(desk.computing.len(), 2, "small ones leave no slot free");
    desk.compute(1);
    assert_eq!(desk.computing.len(), 2);
    desk.compute(2);
    assert_eq!((desk.agent.tasks(), desk.store.reserved()), (0, 0));
}

#[test]
fn four_medium_computations_share_a_slot_and_a_large_one_has_its_own() {
    let mut desk = Desk::registered(Settings { medium_bytes: 4, ..settings() });
    for segment in 0..10 {
        desk.hold(segment, &[3]);
    }
    desk.hold(10, &[3, 3]);
    desk.instruct(process(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 9]));
    assert_eq!(desk.computing.len(), 8, "two slots of four");
    desk.compute(1);
    assert_eq!(desk.computing.len(), 8);
    desk.compute(4);
    assert_eq!(desk.computing.len(), 5, "the large one has begun, and there is room for no other");
    desk.compute(5);
    desk.compute(1);
    assert_eq!((desk.agent.tasks(), desk.store.reserved()), (0, 0));
}

#[test]
fn elements_come_with_the_answer_where_they_are_wanted() {
    let mut desk = Desk::registered(settings());
    for segment in 0..3 {
        desk.hold(segment, &[segment as i32 + 1, 7]);
    }
    desk.instruct(ProcessSegment { inline: vec![0, 2], ..process(&[0, 1, 2]) });
    desk.compute(2);
    desk.compute(1);
    // All three are here now: this is answered at once, with what it wants.
    let link = desk.agent.link.registered().unwrap();
    let again = Message::new(ProcessSegment { inline: vec![0, 2], ..process(&[0, 1, 2]) });
    let effects = desk.agent.step(desk.now, &mut desk.store, Event::Received { link, message: again });
    let [Effect::Send { message, .. }] = &effects[..] else { panic!("{effects:?}") };
    let Body::SegmentResult(result) = &message.body else { panic!("{message:?}") };
    assert_eq!((result.copies.len(), &result.inline[..]), (3, &[0, 2][..]));
    let expected: Vec<u8> = [1_i32, 7, 3, 7].into_iter().flat_map(i32::to_le_bytes).collect();
    assert_eq!(message.elements.as_deref(), Some(&expected[..]));
    assert_eq!(message.head.payload.unwrap().kind, PayloadKind::Elements(DType::Int32));
}

#[test]
fn results_of_two_instructions_are_answered_apart_with_their_ids() {
    let mut desk = Desk::registered(settings());
    desk.hold(0, &[3]);
    desk.hold(1, &[3]);
    for (id, segment) in [(7, 0), (8, 1)] {
        let message = Message::request(id, process(&[segment])).serving(Some(format!("r/{id}")));
        desk.step(Event::Received { link: 1, message });
    }
    assert_eq!(desk.compute(2), ["1< result v2 [0] failed [] #7 for r/7", "1< result v2 [1] failed [] #8 for r/8"]);
}

#[test]
fn what_cannot_be_computed_is_answered_at_once_and_the_rest_goes_on() {
    let mut desk = Desk::registered(settings());
    desk.hold(0, &[3]);
    desk.hold(1, &[3]);
    assert_eq!(desk.instruct(process(&[0, 7])), ["1< result v2 [] failed [7 NotHeld]", "compute example2 of v1/0"]);
    let wrong = |operation: &str| ProcessSegment { operation: operation.into(), result: VersionId(3), ..process(&[1]) };
    assert_eq!(desk.instruct(wrong("example1")), ["1< result v3 [] failed [1 TypeMismatch]"]);
    assert_eq!(desk.instruct(wrong("example9")), ["1< result v3 [] failed [1 UnknownOperation]"]);
    desk.hold(2, &[1; 240]);
    assert_eq!(
        desk.instruct(process(&[1, 2])),
        ["1< result v2 [] failed [2 InsufficientMemory]", "compute example2 of v1/1"]
    );
    assert_eq!(desk.compute(2), ["1< result v2 [0] failed []", "1< result v2 [1] failed []"]);
}

#[test]
fn a_panic_and_a_broken_source_fail_their_segments() {
    let mut desk = Desk::registered(settings());
    desk.hold(0, &[3]);
    desk.hold(1, &[3]);
    desk.instruct(ProcessSegment { verify: true, ..process(&[0, 1]) });
    assert!(desk.computing.iter().all(|job| job.verify));
    let end = |job: ComputeJob, failure| job.ended(Err(failure), Duration::ZERO);
    let (second, first) = (desk.computing.pop().unwrap(), desk.computing.pop().unwrap());
    let broken = first.sources[0].clone();
    let ended =
        vec![end(first, ComputeFailure::SourceBroken(broken)), end(second, ComputeFailure::Panicked("index".into()))];
    assert_eq!(
        desk.step(Event::Computed(ended)),
        ["1< stored [] broken [CopyId(VersionId(1), 0)]", "1< result v2 [] failed [0 ChecksumMismatch, 1 Internal]"]
    );
    assert!(desk.store.get(CopyId(SOURCE, 0)).is_none(), "thrown away");
    assert_eq!(desk.store.reserved(), 0);
}

#[test]
fn a_source_dropped_while_its_computation_waits_fails_that_segment() {
    let mut desk = Desk::registered(settings());
    for segment in 0..3 {
        desk.hold(segment, &[3]);
    }
    desk.instruct(process(&[0, 1, 2]));
    desk.instruct(drop_version(SOURCE));
    assert_eq!(desk.compute(2), ["1< result v2 [0, 1] failed []", "1< result v2 [] failed [2 NotHeld]"]);
    assert_eq!((desk.store.reserved(), desk.agent.tasks()), (0, 0));
}

#[test]
fn a_result_that_was_dropped_or_cancelled_meanwhile_is_thrown_away_in_silence() {
    for cancel in [Body::from(CancelSegments { result: RESULT }), Body::from(drop_version(RESULT))] {
        let mut desk = Desk::registered(settings());
        for segment in 0..3 {
            desk.hold(segment, &[3]);
        }
        desk.instruct(process(&[0, 1, 2]));
        assert_eq!(desk.instruct(cancel), [""; 0]);
        assert_eq!(desk.store.reserved(), 8, "the two that run have their buffers still");
        assert_eq!(desk.instruct(process(&[2])), [""; 0], "no slot is free yet");
        assert_eq!(desk.compute(2), ["compute example2 of v1/2"]);
        assert_eq!(desk.compute(1), ["1< result v2 [2] failed []"]);
        assert_eq!((desk.store.reserved(), desk.store.copies()), (0, 4));
    }
}

#[test]
fn cancelling_keeps_what_is_complete_and_other_results() {
    let mut desk = Desk::registered(settings());
    desk.hold(0, &[3]);
    desk.hold(1, &[3]);
    desk.instruct(process(&[0]));
    desk.compute(1);
    desk.instruct(ProcessSegment { result: VersionId(3), ..process(&[1]) });
    assert_eq!(desk.instruct(CancelSegments { result: RESULT }), [""; 0]);
    assert!(desk.store.get(CopyId(RESULT, 0)).is_some());
    assert_eq!(desk.compute(1), ["1< result v3 [1] failed []"]);
}

#[test]
fn results_for_a_lost_link_are_thrown_away_and_the_new_one_gets_its_own() {
    let mut desk = Desk::registered(settings());
    for segment in 0..3 {
        desk.hold(segment, &[3]);
    }
    desk.instruct(process(&[0, 1, 2]));
    desk.step(closed(1));
    assert_eq!(desk.compute(1), [""; 0]);
    assert_eq!(desk.store.copies(), 3);
    desk.wait();
    desk.step(opened(2));
    desk.step(hello(2, CLUSTER));
    assert_eq!(desk.instruct(process(&[1])), ["compute example2 of v1/1"], "computed again");
    assert_eq!(desk.compute(1), [""; 0], "the old one");
    assert_eq!(desk.compute(1), ["2< result v2 [1] failed []"]);
    assert_eq!(desk.store.reserved(), 0);
}

#[test]
fn what_an_earlier_link_still_says_is_ignored() {
    let mut desk = Desk::registered(settings());
    desk.hold(0, &[3]);
    desk.step(closed(1));
    desk.wait();
    desk.step(opened(2));
    desk.step(hello(2, CLUSTER));
    let late = Event::Received { link: 1, message: Message::new(drop_version(SOURCE)) };
    assert_eq!(desk.step(late), [""; 0]);
    assert_eq!(desk.store.copies(), 1);
    assert_eq!(desk.step(closed(1)), [""; 0]);
    assert!(desk.agent.is_registered());
}

// ---- epochs

#[test]
fn older_instructions_are_fenced_each_in_its_own_way() {
    let mut desk = Desk::registered(settings());
    desk.hold(0, &[3]);
    desk.hold(1, &[3]);
    desk.instruct_at(Epoch(1, 5), process(&[0]));
    desk.compute(1);
    let (old, fine) = (Epoch(1, 4), Epoch(1, 5));
    assert_eq!(
        desk.instruct_at(old, process(&[0, 1])),
        ["1< result v2 [] failed [0 Fenced]", "compute example2 of v1/1"],
        "only for the segment it knows better"
    );
    desk.compute(1);
    let reserve = Reserve { version: RESULT, ticket: "t".into(), dtype: DType::Int32, segments: vec![(0, 4)] };
    assert_eq!(desk.instruct_at(old, reserve.clone()), ["1< ERROR Fenced"]);
    assert_eq!(desk.instruct_at(fine, reserve), ["1< RESERVED"]);
    assert_eq!(desk.instruct_at(old, drop_version(RESULT)), ["1< ERROR Fenced"]);
    assert_eq!(desk.instruct_at(old, CancelSegments { result: RESULT }), ["1< ERROR Fenced"]);
    let copy = desk.store.get(CopyId(RESULT, 0)).unwrap().record();
    let recover = RecoverData { copy, dtype: DType::Int32, sources: vec![], background: false };
    assert_eq!(desk.instruct_at(old, recover), ["1< not recovered v2/0: Fenced"]);
    let single = DropCopies { copies: vec![CopyId(RESULT, 0), CopyId(RESULT, 1)], ..DropCopies::default() };
    assert_eq!(desk.instruct_at(old, single), ["1< ERROR Fenced"]);
    assert!(desk.store.get(CopyId(RESULT, 0)).is_some());
    assert!(desk.store.get(CopyId(RESULT, 1)).is_none(), "of that nothing newer was known");
    assert_eq!(desk.instruct_at(fine, drop_version(RESULT)), [""; 0]);
    assert!(desk.store.get(CopyId(RESULT, 0)).is_none());
}

// ---- repairs

/// A copy that is somewhere else.
/// What the fetches of these tests take.
const FETCHING: Duration = Duration::from_micros(10);

fn elsewhere(version: u64, values: &[i32]) -> (RecoverData, Buffer) {
    let buffer = Buffer::from_slice(values);
    let copy = CopyRecord(VersionId(version), 0, crc32c(buffer.as_bytes()), buffer.len() as u64);
    let sources = vec![Endpoint { worker: "w2".into(), address: "x:1".into() }];
    (RecoverData { copy, dtype: DType::Int32, sources, background: false }, buffer)
}

#[test]
fn a_copy_is_fetched_stored_and_reported_and_told_again_when_it_is_here() {
    let mut desk = Desk::registered(settings());
    let (recover, buffer) = elsewhere(4, &[1, 2, 3]);
    assert_eq!(desk.instruct(recover.clone()), ["fetch v4/0"]);
    assert_eq!(desk.store.reserved(), 12);
    assert_eq!(desk.instruct(recover.clone()), [""; 0], "under way already");
    let (other, other_buffer) = elsewhere(5, &[4]);
    assert_eq!(desk.instruct(RecoverData { background: true, ..other }), [""; 0], "one slot");
    let job = desk.fetching.remove(0);
    assert_eq!((job.copy, job.sources[0].address.as_str(), job.background), (recover.copy, "x:1", false));
    let fetched = Event::Fetched(Fetched { job: job.job, outcome: Ok(buffer), busy: FETCHING });
    assert_eq!(desk.step(fetched), ["1< recovered v4/0", "fetch v5/0"]);
    assert_eq!(desk.store.inventory(), [recover.copy]);
    assert_eq!(desk.instruct(recover.clone()), ["1< recovered v4/0"]);
    let zombie = RecoverData { copy: CopyRecord(VersionId(4), 0, 99, 12), ..recover };
    assert_eq!(desk.instruct(zombie), ["1< not recovered v4/0: ChecksumMismatch"]);
    let job = desk.fetching.remove(0);
    assert!(job.background);
    desk.instruct(drop_version(VersionId(5)));
    let late = Event::Fetched(Fetched { job: job.job, outcome: Ok(other_buffer), busy: FETCHING });
    assert_eq!(desk.step(late), [""; 0], "dropped meanwhile");
    assert_eq!((desk.store.copies(), desk.store.reserved()), (1, 0));
}

#[test]
fn a_fetch_that_fails_or_does_not_fit_is_reported() {
    let mut desk = Desk::registered(settings());
    let (recover, _) = elsewhere(4, &[1]);
    desk.instruct(recover.clone());
    let error = WireError::new(ErrorCode::NotHeld, "no");
    let failed = Event::Fetched(Fetched { job: desk.fetching.remove(0).job, outcome: Err(error), busy: FETCHING });
    assert_eq!(desk.step(failed), ["1< not recovered v4/0: NotHeld"]);
    let sized = |bytes| RecoverData { copy: CopyRecord(VersionId(4), 0, 0, bytes), ..recover.clone() };
    assert_eq!(desk.instruct(sized(2000)), ["1< not recovered v4/0: InsufficientMemory"]);
    assert_eq!(desk.instruct(sized(3)), ["1< not recovered v4/0: Malformed"]);
    assert_eq!(desk.store.reserved(), 0);
}

// ---- leaving

#[test]
fn a_draining_worker_tells_takes_no_uploads_and_ends_when_it_may() {
    let mut desk = Desk::registered(settings());
    desk.hold(0, &[3]);
    assert_eq!(desk.step(Event::Drain), ["1< Draining"]);
    let reserve = Reserve { version: RESULT, ticket: "t".into(), dtype: DType::Int32, segments: vec![(0, 4)] };
    assert_eq!(desk.instruct(reserve), ["1< ERROR ShuttingDown"]);
    assert_eq!(desk.instruct(process(&[0])), ["compute example2 of v1/0"], "it still works");
    assert_eq!(desk.step(Event::Drain), [""; 0]);
    let drained = desk.instruct(WorkerStatus { state: WorkerStage::Drained });
    assert!(drained.len() == 1 && drained[0].starts_with("exit 0: drained"), "{drained:?}");
}

#[test]
fn draining_goes_on_over_a_lost_link_and_ends_after_ten_seconds() {
    let mut desk = Desk::registered(settings());
    desk.hold(0, &[3]);
    desk.step(Event::Drain);
    desk.step(closed(1));
    desk.wait();
    assert_eq!(desk.step(opened(2)), ["2< register w1 of 1 with 1 copies draining"]);
    assert_eq!(desk.step(hello(2, CLUSTER)), ["beat m:1 w1 77", "2< Draining"]);
    let (_, done) = desk.wait();
    assert_eq!(desk.now, DRAIN_TIMEOUT);
    assert!(done.len() == 1 && done[0].starts_with("exit 3: ended undrained"), "{done:?}");
    assert!(done[0].contains("1 copies, 4 B"), "{done:?}");
}

#[test]
fn without_a_master_draining_ends_at_once_if_there_is_nothing_to_lose() {
    let mut empty = Desk::new(settings());
    empty.step(Event::Tick);
    let done = empty.step(Event::Drain);
    assert!(done.len() == 1 && done[0].starts_with("exit 0: "), "{done:?}");
}

/// The master may just be starting again.
#[test]
fn copies_wait_for_a_master_to_take_them_over_for_ten_seconds() {
    let mut desk = Desk::registered(settings());
    desk.hold(0, &[3, 4]);
    desk.step(closed(1));
    assert_eq!(desk.step(Event::Drain), [""; 0]);
    desk.wait();
    assert_eq!(desk.step(opened(2)), ["2< register w1 of 1 with 1 copies draining"]);

    let mut desk = Desk::registered(settings());
    desk.hold(0, &[3, 4]);
    desk.step(closed(1));
    desk.step(Event::Drain);
    let mut done = Vec::new();
    while done.iter().all(|done: &String| !done.starts_with("exit")) {
        done = desk.wait().1;
    }
    assert_eq!(desk.now, DRAIN_TIMEOUT);
    let said = "exit 3: ended undrained (no master could be reached within 10 s): 1 copies, 8 B";
    assert!(done[0].starts_with(said), "{done:?}");
}

#[test]
fn draining_while_registering_waits_for_the_answer() {
    let mut desk = Desk::new(settings());
    desk.step(Event::Tick);
    desk.step(opened(1));
    assert_eq!(desk.step(Event::Drain), [""; 0]);
    assert_eq!(desk.step(hello(1, CLUSTER)), ["beat m:1 w1 77", "1< Draining"]);
}
