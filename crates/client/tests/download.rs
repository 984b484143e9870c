//! Stories about reading: other holders, other plans, other versions.

use array::DType;
use client::Error;
use client::download::{Download, Effect, Event, Layout, ReadOrder, Request};
use client::error::{CallError, Failure};
use protocol::message::client::*;
use protocol::{Body, ErrorCode, VersionId, WireError};
use std::time::Duration;

struct Story {
    download: Download,
    now: Duration,
    asks: Vec<(u64, Body)>,
    reads: Vec<ReadOrder>,
    told: Vec<Body>,
    prepared: Vec<Layout>,
    end: Option<Result<(), Error>>,
}

fn endpoint(id: &str) -> Endpoint {
    Endpoint { worker: id.into(), address: format!("{id}:1") }
}

/// Seven elements of 8 bytes in segments of 2; the pin has the version's number.
fn plan(version: u64, segments: &[(u32, &[u32])]) -> ReadPlan {
    ReadPlan {
        array_id: "a".into(),
        version: VersionId(version),
        handle: format!("a@v{version}"),
        source: Source::Array,
        dtype: DType::Float64,
        shape: vec![7],
        segment_length: 2,
        pin: version,
        lease_ms: 60_000,
        workers: ["w0", "w1", "w2"].map(endpoint).to_vec(),
        segments: segments.iter().map(|(s, w)| PlannedRead(*s, 100 + s, w.to_vec())).collect(),
    }
}

fn whole(version: u64) -> ReadPlan {
    plan(version, &[(0, &[0, 1]), (1, &[1, 2]), (2, &[2, 0]), (3, &[0, 1])])
}

fn unreachable() -> Failure {
    Failure::Unreachable("refused".into())
}

fn not_held() -> Failure {
    Failure::Refused(WireError::new(ErrorCode::NotHeld, "not here"))
}

impl Story {
    fn begin(name: &str, range: Option<(u64, u64)>) -> Story {
        let request = Request { name: name.into(), array: false, range, deadline: Duration::from_secs(600) };
        let mut story = Story {
            download: Download::new(request),
            now: Duration::ZERO,
            asks: vec![],
            reads: vec![],
            told: vec![],
            prepared: vec![],
            end: None,
        };
        story.step(Event::Tick);
        story
    }

    fn reading(name: &str) -> Story {
        let mut story = Story::begin(name, None);
        story.expect("GET_RESULT", whole(1));
        story.step(Event::Ready);
        assert_eq!(story.reads.len(), 4);
        story
    }

    fn step(&mut self, event: Event) {
        for effect in self.download.step(self.now, event) {
            assert!(self.end.is_none(), "an effect after the end: {effect:?}");
            match effect {
                Effect::Ask { ask, body } => self.asks.push((ask, body)),
                Effect::Tell(body) => self.told.push(body),
                Effect::Prepare(layout) => {
                    assert!(self.reads.is_empty(), "reads are under way while the destination changes");
                    self.prepared.push(layout);
                }
                Effect::Read(order) => self.reads.push(order),
                Effect::Done => self.end = Some(Ok(())),
                Effect::Failed(error) => self.end = Some(Err(error)),
            }
        }
    }

    fn question(&mut self, kind: &str) -> (u64, Body) {
        assert_eq!(self.asks.iter().map(|(_, body)| body.kind()).collect::<Vec<_>>(), [kind]);
        self.asks.remove(0)
    }

    fn expect(&mut self, kind: &str, reply: impl Into<Body>) -> Body {
        let (ask, body) = self.question(kind);
        self.step(Event::Reply { ask, result: Ok(reply.into()) });
        body
    }

    fn refuse(&mut self, kind: &str, code: ErrorCode) {
        let (ask, _) = self.question(kind);
        let error = WireError::new(code, "as the story wants it");
        self.step(Event::Reply { ask, result: Err(CallError::Refused(error)) });
    }

    fn take(&mut self, segment: u32) -> ReadOrder {
        let at = self.reads.iter().position(|order| order.segment == segment);
        self.reads.remove(at.unwrap_or_else(|| panic!("segment {segment} is not being read")))
    }

    fn read(&mut self, segment: u32) {
        let worker = self.take(segment).from.worker;
        self.step(Event::Read { segment, worker });
    }

    fn fail(&mut self, segment: u32, failure: Failure) {
        let worker = self.take(segment).from.worker;
        self.step(Event::ReadFailed { segment, worker, failure });
    }

    fn from(&self, segment: u32) -> &str {
        self.reads.iter().find(|order| order.segment == segment).unwrap().from.worker.as_str()
    }

    fn until_question(&mut self) {
        while self.asks.is_empty() && self.end.is_none() {
            self.now = self.now.max(self.download.next_deadline().expect("something is waited for"));
            self.step(Event::Tick);
        }
    }
}

#[test]
fn all_goes_well() {
    let mut story = Story::reading("a");
    assert_eq!((story.prepared[0].bytes(), story.prepared[0].handle.as_str()), (56, "a@v1"));
    let order = story.reads[3].clone();
    assert_eq!((order.into, order.range, order.segment_bytes, order.crc32c), (48..56, None, 8, 103));
    (0..4).for_each(|segment| story.read(segment));
    assert!(matches!(story.end, Some(Ok(()))));
    assert_eq!(story.told, [Body::Unpin(Unpin { pin: 1 })]);
    assert_eq!(story.download.progress(), (56, 56));
}

#[test]
fn a_range_is_cut_out_of_its_segments() {
    let mut story = Story::begin("a", Some((3, 5)));
    story.expect("GET_RESULT", plan(1, &[(1, &[1]), (2, &[2])]));
    assert_eq!(story.prepared[0].elements, 3..5);
    assert_eq!(story.prepared[0].parts().collect::<Vec<_>>(), [(1, 0..8), (2, 8..16)]);
    story.step(Event::Ready);
    let parts: Vec<_> = story.reads.iter().map(|order| (order.range, order.into.clone())).collect();
    assert_eq!(parts, [(Some((1, 2)), 0..8), (Some((0, 1)), 8..16)]);
}

#[test]
fn nothing_to_read_is_done_at_once() {
    let mut story = Story::begin("a", Some((3, 3)));
    story.expect("GET_RESULT", plan(1, &[]));
    story.step(Event::Ready);
    assert!(matches!(story.end, Some(Ok(()))));
}

#[test]
fn a_replica_helps_out() {
    let mut story = Story::reading("a");
    story.fail(1, not_held());
    assert_eq!(story.from(1), "w2");
    story.fail(0, unreachable());
    assert_eq!(story.from(0), "w1");
    assert!(story.asks.is_empty());
}

#[test]
fn a_worker_in_doubt_is_asked_last() {
    let mut story = Story::begin("a", None);
    let many: Vec<(u32, &[u32])> = (0..50).map(|segment| (segment, &[0_u32, 1][..])).collect();
    story.expect("GET_RESULT", ReadPlan { shape: vec![100], ..plan(1, &many) });
    story.step(Event::Ready);
    assert!(story.reads.len() < 50 && story.reads.iter().all(|order| order.from.worker.as_str() == "w0"));
    story.fail(0, unreachable());
    assert!(story.reads.iter().any(|order| order.segment == 49 || order.from.worker.as_str() == "w1"));
    assert_eq!(story.from(0), "w1");
}

#[test]
fn when_no_holder_gives_it_the_master_is_asked_by_handle() {
    let mut story = Story::reading("a");
    story.fail(1, unreachable());
    story.fail(1, not_held());
    let Body::GetResult(question) = story.expect("GET_RESULT", plan(1, &[(0, &[0]), (1, &[0]), (2, &[2]), (3, &[0])]))
    else {
        panic!()
    };
    assert_eq!(question, GetResult { array_id: "a@v1".into(), array: false, range: None });
    assert_eq!(story.from(1), "w0");
    assert_eq!(story.told, [Body::Unpin(Unpin { pin: 1 })], "the pin of the first plan");
    assert_eq!(story.prepared.len(), 1, "what was read stays");
    (0..4).for_each(|segment| story.read(segment));
    assert!(matches!(story.end, Some(Ok(()))));
}

#[test]
fn plans_without_progress_are_spaced_out() {
    let mut story = Story::reading("a");
    let mut asked = Vec::new();
    story.fail(1, not_held());
    for _ in 0..6 {
        story.fail(1, not_held());
        story.until_question();
        asked.push(story.now.as_millis());
        story.expect("GET_RESULT", plan(1, &[(0, &[0]), (1, &[2]), (2, &[2]), (3, &[0])]));
    }
    assert_eq!(asked, [0, 20, 60, 140, 300, 620]);
}

#[test]
fn a_version_that_is_gone_is_read_anew_under_its_name() {
    let mut story = Story::reading("a");
    story.read(0);
    story.read(2);
    story.fail(1, not_held());
    story.fail(1, not_held());
    story.refuse("GET_RESULT", ErrorCode::UnknownVersion);
    story.until_quiet();
    assert!(story.asks.is_empty(), "segment 3 is still being read into the old destination");
    story.read(3);
    story.until_question();
    let Body::GetResult(question) = story.expect("GET_RESULT", whole(2)) else { panic!() };
    assert_eq!(question.array_id, "a");
    assert_eq!(story.prepared[1].version, VersionId(2));
    assert_eq!(story.download.progress(), (0, 56), "what was read is void");
    story.step(Event::Ready);
    assert!(story.reads.iter().all(|order| order.version == VersionId(2)));
    (0..4).for_each(|segment| story.read(segment));
    assert!(matches!(story.end, Some(Ok(()))));
    assert_eq!(story.told, [1, 2].map(|pin| Body::Unpin(Unpin { pin })));
}

impl Story {
    /// Lets time pass without reports.
    fn until_quiet(&mut self) {
        self.now += Duration::from_secs(5);
        self.step(Event::Tick);
    }
}

#[test]
fn a_version_that_was_asked_for_by_handle_is_not_replaced() {
    let mut story = Story::reading("a@v1");
    story.fail(1, not_held());
    story.fail(1, not_held());
    story.refuse("GET_RESULT", ErrorCode::UnknownVersion);
    assert!(matches!(&story.end, Some(Err(Error::Refused(error))) if error.code == ErrorCode::UnknownVersion));
}

#[test]
fn lost_segments_are_said_at_once() {
    let mut story = Story::reading("a");
    story.fail(1, not_held());
    story.fail(1, not_held());
    story.refuse("GET_RESULT", ErrorCode::SegmentsLost);
    assert!(matches!(&story.end, Some(Err(Error::Refused(error))) if error.code == ErrorCode::SegmentsLost));
}

#[test]
fn segments_that_nobody_has_reported_yet_are_waited_for() {
    let mut story = Story::begin("a", None);
    story.expect("GET_RESULT", plan(1, &[(0, &[]), (1, &[]), (2, &[]), (3, &[])]));
    story.step(Event::Ready);
    story.expect("GET_RESULT", whole(1));
    assert_eq!(story.reads.len(), 4);
}

#[test]
fn slow_reading_renews_the_pin() {
    let mut story = Story::reading("a");
    story.until_question();
    assert_eq!(story.now, Duration::from_secs(30));
    let renewal = story.expect("RENEW_PIN", protocol::message::Done {});
    assert_eq!(renewal, Body::RenewPin(RenewPin { pin: 1 }));
    story.until_question();
    assert_eq!(story.now, Duration::from_secs(60));
    // The master has been restarted and knows no pins: a new plan brings a new one.
    story.refuse("RENEW_PIN", ErrorCode::UnknownVersion);
    story.expect("GET_RESULT", ReadPlan { pin: 77, ..whole(1) });
    (0..4).for_each(|segment| story.read(segment));
    assert_eq!(story.told.last(), Some(&Body::Unpin(Unpin { pin: 77 })));
}

#[test]
fn who_does_not_want_what_is_coming_gives_the_pin_back() {
    let mut story = Story::begin("a", None);
    story.expect("GET_RESULT", whole(1));
    story.step(Event::Stop);
    assert_eq!(story.told, [Body::Unpin(Unpin { pin: 1 })]);
    assert!(story.end.is_none() && story.download.next_deadline().is_none());
}

#[test]
fn the_deadline_says_what_is_missing() {
    let mut story = Story::reading("a");
    story.read(0);
    story.fail(1, not_held());
    story.now = Duration::from_secs(600);
    story.step(Event::Tick);
    let text = story.end.unwrap().unwrap_err().to_string();
    assert!(
        text.contains("3 of 4 segments to be read (last: segment 1 from worker 'w1': not here (NotHeld))"),
        "{text}"
    );
    assert_eq!(story.told, [Body::Unpin(Unpin { pin: 1 })]);
}

#[test]
fn plans_that_make_no_sense_are_refused() {
    let broken = [
        plan(1, &[(0, &[0]), (1, &[0]), (2, &[0])]),
        plan(1, &[(0, &[0]), (1, &[0]), (2, &[0]), (3, &[9])]),
        ReadPlan { segment_length: 0, ..whole(1) },
        ReadPlan { shape: vec![u64::MAX, 2], ..whole(1) },
    ];
    for plan in broken {
        let mut story = Story::begin("a", None);
        story.expect("GET_RESULT", plan);
        assert!(matches!(story.end, Some(Err(Error::Protocol { .. }))), "{:?}", story.end);
    }
}
