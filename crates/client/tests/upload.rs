//! Stories about storing: what becomes of segments whose workers fail, and of uploads that the master forgets.

use array::DType;
use client::Error;
use client::error::{CallError, Failure, Waiting};
use client::upload::{Effect, Event, Request, Upload, WriteOrder};
use protocol::message::client::*;
use protocol::{Body, ErrorCode, VersionId, WireError, WorkerId};
use std::time::Duration;

/// Three segments: 2, 2 and 1 elements of 8 bytes.
const LEN: u64 = 5;

struct Story {
    upload: Upload,
    now: Duration,
    asks: Vec<(u64, Body)>,
    writes: Vec<WriteOrder>,
    told: Vec<Body>,
    end: Option<Result<ArrayCommitted, Error>>,
}

fn endpoint(id: &str) -> Endpoint {
    Endpoint { worker: id.into(), address: format!("{id}:1") }
}

fn plan(version: u64, segments: &[(u32, &[u32])]) -> WritePlan {
    WritePlan {
        version: VersionId(version),
        ticket: format!("ticket{version}"),
        segment_length: 2,
        workers: ["w0", "w1", "w2"].map(endpoint).to_vec(),
        segments: segments.iter().map(|(segment, workers)| PlannedWrite(*segment, workers.to_vec())).collect(),
    }
}

fn committed() -> ArrayCommitted {
    ArrayCommitted {
        array_id: "a".into(),
        status: "created".into(),
        handle: "a@v1".into(),
        copies: 2,
        target: 2,
        crc32c: Some(7),
        durability: Durability::Synced,
    }
}

impl Story {
    fn begin(len: u64) -> Story {
        let (name, dtype, shape) = ("a".to_string(), DType::Float64, vec![len]);
        let request = Request { name, dtype, shape, replace: false, deadline: Duration::from_secs(60) };
        let upload = Upload::new(request).unwrap();
        let mut story = Story { upload, now: Duration::ZERO, asks: vec![], writes: vec![], told: vec![], end: None };
        story.step(Event::Tick);
        story
    }

    /// With the usual plan, all writes under way.
    fn writing() -> Story {
        let mut story = Story::begin(LEN);
        story.expect("CREATE_ARRAY", plan(1, &[(0, &[0, 1]), (1, &[1, 2]), (2, &[2, 0])]));
        assert_eq!(story.writes.len(), 3);
        story
    }

    fn step(&mut self, event: Event) {
        for effect in self.upload.step(self.now, event) {
            assert!(self.end.is_none(), "an effect after the end: {effect:?}");
            match effect {
                Effect::Ask { ask, body } => self.asks.push((ask, body)),
                Effect::Tell(body) => self.told.push(body),
                Effect::Write(order) => self.writes.push(order),
                Effect::Done(committed) => self.end = Some(Ok(committed)),
                Effect::Failed(error) => self.end = Some(Err(error)),
            }
        }
    }

    /// Takes the one question that is out, which is of this kind.
    fn question(&mut self, kind: &str) -> (u64, Body) {
        assert_eq!(self.asks.iter().map(|(_, body)| body.kind()).collect::<Vec<_>>(), [kind]);
        self.asks.remove(0)
    }

    /// Answers the one question that is out.
    fn expect(&mut self, kind: &str, reply: impl Into<Body>) -> Body {
        let (ask, body) = self.question(kind);
        self.step(Event::Reply { ask, result: Ok(reply.into()) });
        body
    }

    fn refuse(&mut self, kind: &str, error: WireError) {
        let (ask, _) = self.question(kind);
        self.step(Event::Reply { ask, result: Err(CallError::Refused(error)) });
    }

    /// The order for a segment, which ends now.
    fn take(&mut self, segment: u32) -> WriteOrder {
        let at = self.writes.iter().position(|order| order.segment == segment);
        self.writes.remove(at.unwrap_or_else(|| panic!("segment {segment} is not being written")))
    }

    fn written(&mut self, segment: u32) {
        let WriteOrder { version, primary, forward, .. } = self.take(segment);
        let workers: Vec<WorkerId> = [&primary].into_iter().chain(&forward).map(|e| e.worker.clone()).collect();
        self.step(Event::Written { version, segment, primary: primary.worker, crc32c: 100 + segment, workers });
    }

    fn failed(&mut self, segment: u32, failure: Failure) {
        let WriteOrder { version, primary, .. } = self.take(segment);
        self.step(Event::WriteFailed { version, segment, primary: primary.worker, failure });
    }

    fn until_question(&mut self) {
        while self.asks.is_empty() && self.end.is_none() {
            self.now = self.now.max(self.upload.next_deadline().expect("something is waited for"));
            self.step(Event::Tick);
        }
    }
}

fn unreachable() -> Failure {
    Failure::Unreachable("refused".into())
}

#[test]
fn all_goes_well() {
    let mut story = Story::writing();
    let order = story.writes[1].clone();
    assert_eq!((order.bytes, order.ticket.as_str()), (16..32, "ticket1"));
    assert_eq!((order.primary, order.forward), (endpoint("w1"), vec![endpoint("w2")]));
    assert_eq!(story.writes[2].bytes, 32..40);
    for segment in [2, 0, 1] {
        story.written(segment);
    }
    assert_eq!(story.upload.progress(), (40, 40));
    let Body::CommitArray(commit) = story.expect("COMMIT_ARRAY", committed()) else { panic!() };
    assert_eq!(commit.segments[2], WrittenSegment(2, 102, vec!["w2".into(), "w0".into()]));
    assert!(story.end.unwrap().is_ok());
    assert!(story.told.is_empty());
}

#[test]
fn nothing_is_stored_by_two_questions() {
    let mut story = Story::begin(0);
    story.expect("CREATE_ARRAY", plan(1, &[]));
    story.expect("COMMIT_ARRAY", committed());
    assert!(story.end.unwrap().is_ok());
}

#[test]
fn a_worker_that_is_gone_is_avoided() {
    let mut story = Story::writing();
    story.written(0);
    story.failed(1, unreachable());
    let question = story.expect("REPLAN_WRITE", plan(1, &[(1, &[0, 2])]));
    let expected = ReplanWrite { version: VersionId(1), segments: vec![1], avoid: vec!["w1".into()] };
    assert_eq!(question, Body::ReplanWrite(expected));
    assert_eq!(story.writes.last().unwrap().primary, endpoint("w0"));
    story.written(1);
    story.written(2);
    story.expect("COMMIT_ARRAY", committed());
    assert!(story.end.unwrap().is_ok());
}

#[test]
fn all_segments_of_a_lost_worker_get_one_new_plan() {
    let mut story = Story::begin(100);
    let planned: Vec<(u32, &[u32])> = (0..50).map(|segment| (segment, &[0_u32][..])).collect();
    story.expect("CREATE_ARRAY", plan(1, &planned));
    let in_flight = story.writes.len();
    assert!(in_flight < 50, "the rest waits for its turn");
    for segment in 0..in_flight as u32 {
        assert!(story.asks.is_empty(), "the connection still has reports to come");
        story.failed(segment, unreachable());
    }
    let (_, Body::ReplanWrite(replan)) = story.question("REPLAN_WRITE") else { panic!() };
    assert_eq!(replan.segments, (0..50).collect::<Vec<_>>());
}

#[test]
fn a_worker_that_has_lost_its_reservation_is_not_avoided() {
    let mut story = Story::writing();
    story.failed(0, Failure::Refused(WireError::new(ErrorCode::UnknownTicket, "who?")));
    let (_, Body::ReplanWrite(replan)) = story.question("REPLAN_WRITE") else { panic!() };
    assert_eq!((replan.segments, replan.avoid), (vec![0], vec![]));
}

#[test]
fn rounds_without_progress_are_spaced_out_and_get_more_patient() {
    let mut story = Story::writing();
    story.written(1);
    story.written(2);
    let mut asked = Vec::new();
    let mut patience = Vec::new();
    for _ in 0..8 {
        patience.push(story.writes[0].patience);
        story.failed(0, Failure::Damaged("bits".into()));
        story.until_question();
        asked.push(story.now.as_millis());
        story.expect("REPLAN_WRITE", plan(1, &[(0, &[0])]));
    }
    assert_eq!(asked, [0, 20, 60, 140, 300, 620, 1120, 1620]);
    assert!(patience.is_sorted() && patience[0] < patience[7], "{patience:?}");
}

#[test]
fn segments_that_got_lost_meanwhile_are_written_again() {
    let mut story = Story::writing();
    (0..3).for_each(|segment| story.written(segment));
    story.refuse("COMMIT_ARRAY", WireError::new(ErrorCode::SegmentsMissing, "lost").segments([1]));
    assert_eq!(story.upload.progress(), (24, 40));
    story.expect("REPLAN_WRITE", plan(1, &[(1, &[0])]));
    story.written(1);
    let Body::CommitArray(commit) = story.expect("COMMIT_ARRAY", committed()) else { panic!() };
    assert_eq!(commit.segments.len(), 3);
    assert!(story.end.unwrap().is_ok());
}

#[test]
fn a_forgotten_upload_begins_again() {
    for kind in ["REPLAN_WRITE", "COMMIT_ARRAY"] {
        let mut story = Story::writing();
        story.written(1);
        story.written(2);
        match kind {
            "REPLAN_WRITE" => story.failed(0, unreachable()),
            _ => story.written(0),
        }
        story.refuse(kind, WireError::new(ErrorCode::UnknownUpload, "restarted"));
        story.until_question();
        story.expect("CREATE_ARRAY", plan(9, &[(0, &[0]), (1, &[1]), (2, &[2])]));
        assert!(story.writes.iter().all(|order| order.version == VersionId(9) && order.ticket == "ticket9"));
        (0..3).for_each(|segment| story.written(segment));
        let Body::CommitArray(commit) = story.expect("COMMIT_ARRAY", committed()) else { panic!() };
        assert_eq!(commit.version, VersionId(9));
    }
}

#[test]
fn what_is_reported_of_a_forgotten_upload_does_not_count() {
    let mut story = Story::writing();
    story.failed(0, unreachable());
    story.refuse("REPLAN_WRITE", WireError::new(ErrorCode::UnknownUpload, "restarted"));
    story.until_question();
    story.expect("CREATE_ARRAY", plan(9, &[(0, &[0]), (1, &[1]), (2, &[2])]));
    // Segments 1 and 2 of the old upload are reported while those of the new one are under way.
    story.written(1);
    story.failed(2, unreachable());
    assert_eq!(story.upload.progress().0, 0);
    (0..3).for_each(|segment| story.written(segment));
    story.expect("COMMIT_ARRAY", committed());
    assert!(story.end.unwrap().is_ok());
}

#[test]
fn a_refusal_ends_it_and_gives_the_memory_back() {
    let mut story = Story::begin(LEN);
    story.refuse("CREATE_ARRAY", WireError::new(ErrorCode::AlreadyExists, "taken"));
    assert!(matches!(story.end, Some(Err(Error::Refused(_)))));
    assert!(story.told.is_empty());
    let mut story = Story::writing();
    story.failed(0, unreachable());
    story.refuse("REPLAN_WRITE", WireError::new(ErrorCode::NoWorkers, "nobody"));
    assert!(matches!(story.end, Some(Err(Error::Refused(_)))));
    assert_eq!(story.told, [Body::AbandonArray(AbandonArray { version: VersionId(1) })]);
}

#[test]
fn the_deadline_says_what_is_missing() {
    let mut story = Story::writing();
    story.written(0);
    story.failed(1, Failure::Damaged("bits flipped".into()));
    story.expect("REPLAN_WRITE", plan(1, &[(1, &[1])]));
    story.now = Duration::from_secs(60);
    story.step(Event::Tick);
    let text = story.end.unwrap().unwrap_err().to_string();
    assert!(text.contains("2 of 3 segments to be stored (last: segment 1 to worker 'w1': bits flipped)"), "{text}");
}

#[test]
fn a_question_that_ends_by_the_deadline_says_so_itself() {
    let mut story = Story::begin(LEN);
    assert_eq!(story.upload.next_deadline(), None);
    let (ask, _) = story.question("CREATE_ARRAY");
    let why = CallError::Deadline(Waiting::Master { why: "m:1: refused".into() });
    story.step(Event::Reply { ask, result: Err(why) });
    assert!(matches!(story.end, Some(Err(Error::Unreachable { .. }))));
}

#[test]
fn plans_that_make_no_sense_are_refused() {
    let broken = [
        plan(1, &[(0, &[0])]),
        plan(1, &[(0, &[0]), (1, &[7]), (2, &[0])]),
        plan(1, &[(0, &[]), (1, &[0]), (2, &[0])]),
    ];
    for plan in broken.into_iter().chain([WritePlan { segment_length: 0, ..plan(1, &[]) }]) {
        let mut story = Story::begin(LEN);
        story.expect("CREATE_ARRAY", plan);
        assert!(matches!(story.end, Some(Err(Error::Protocol { .. }))), "{:?}", story.end);
    }
}

#[test]
fn shapes_beyond_the_limit_are_refused_before_anything_is_asked() {
    let shape = vec![1 << 40, 1 << 40];
    let request = Request { name: "a".into(), dtype: DType::Int8, shape, replace: false, deadline: Duration::MAX };
    assert!(matches!(Upload::new(request), Err(Error::WrongLength { .. })));
}
