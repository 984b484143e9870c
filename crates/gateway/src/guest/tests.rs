//! Conversations with an original worker, message by message. Each test is about one thing that original workers get wrong.

use super::*;
use array::{Buffer, DType, Operation};
use protocol::level1::{Incoming, LINE_BYTES_MAX, LineReader, SegmentData};
use protocol::{CopyId, ErrorCode, VersionId};
use std::sync::Arc;
use worker::compute::Made;
use worker::store::Segment;

/// A guest, the time, and what it has sent and ended so far.
struct Talk {
    guest: Guest,
    now: Duration,
    sent: Vec<Body>,
    lines: Vec<Vec<u8>>,
    ended: Vec<Computed>,
    given_up: Option<String>,
}

impl Talk {
    fn new() -> Talk {
        let guest = Guest::new("wörker_1", Duration::ZERO);
        Talk { guest, now: Duration::ZERO, sent: vec![], lines: vec![], ended: vec![], given_up: None }
    }

    fn step(&mut self, event: Event) {
        assert!(self.given_up.is_none(), "nothing comes after a guest was given up");
        for effect in self.guest.step(self.now, event) {
            match effect {
                Effect::Send(line) => {
                    let Ok(Some(Incoming::Line(parsed))) =
                        LineReader::new(&line[..], LINE_BYTES_MAX).read(None, &mut |_| Ok(()))
                    else {
                        panic!("a line that cannot be read");
                    };
                    self.sent.push(parsed.into_body().unwrap());
                    self.lines.push(line);
                }
                Effect::Ended(computed) => self.ended.push(computed),
                Effect::GiveUp(why) => self.given_up = Some(why),
            }
        }
    }

    fn job(&mut self, job: Order) {
        self.step(Event::Job(job));
    }

    fn after(&mut self, time: Duration) {
        self.now += time;
        self.step(Event::Tick);
    }

    fn heartbeat(&mut self) {
        self.step(Event::Received(Body::Heartbeat));
    }

    fn answer(&mut self, array_id: &str, values: Vec<f64>) {
        self.step(Event::Received(Body::SegmentResult { array_id: array_id.to_string(), values }));
    }

    /// The segments sent so far, oldest first.
    fn segments(&self) -> Vec<&SegmentData> {
        let sent = self.sent.iter();
        sent.filter_map(|body| if let Body::Segment(segment) = body { Some(segment) } else { None }).collect()
    }

    /// The ids of what was asked for, oldest first.
    fn asked(&self) -> Vec<&str> {
        let sent = self.sent.iter();
        sent.filter_map(
            |body| if let Body::ProcessSegment { array_id, .. } = body { Some(array_id.as_str()) } else { None },
        )
        .collect()
    }

    /// Answers what was asked last as an original would: from the values it was sent under that id.
    fn answer_truly(&mut self) {
        let id = self.asked().last().expect("something was asked for").to_string();
        let segment = self.segments().into_iter().rev().find(|segment| segment.array_id == id).unwrap();
        let values = match segment.data_type.as_str() {
            "int" => {
                let ints: Vec<i32> = values(segment).iter().map(|value| *value as i32).collect();
                let (result, _) = Operation::Example2.apply(&Buffer::from_slice(&ints));
                result.as_slice::<i32>().iter().map(|value| f64::from(*value)).collect()
            }
            _ => Operation::Example1.apply(&Buffer::from_slice(values(segment))).0.as_slice::<f64>().to_vec(),
        };
        self.answer(&id, values);
    }

    fn result<T: array::Element>(&self, nth: usize) -> Vec<T> {
        match &self.ended[nth].outcome {
            Ok(Made::Elements(buffer, _)) => buffer.as_slice().to_vec(),
            other => panic!("it was not computed: {other:?}"),
        }
    }
}

fn job<T: array::Element>(number: u64, values: &[T]) -> Order {
    let buffer = Buffer::from_slice(values);
    let crc32c = array::checksum::crc32c(buffer.as_bytes());
    let source = Arc::new(Segment::new(CopyId(VersionId(number), 0), T::DTYPE, buffer, crc32c));
    let operation = if T::DTYPE == DType::Int32 { Operation::Example2 } else { Operation::Example1 };
    Order { job: number, operation, source, verify: true }
}

fn values(segment: &SegmentData) -> &[f64] {
    segment.values.as_ref().expect("a list")
}

fn own(values: &[f64]) -> Vec<f64> {
    Operation::Example1.apply(&Buffer::from_slice(values)).0.as_slice().to_vec()
}

#[test]
fn a_segment_is_sent_and_asked_for_under_an_id_of_its_own() {
    let mut talk = Talk::new();
    talk.job(job(1, &[1.5, 2.5]));
    let segment = talk.segments()[0].clone();
    assert_eq!(segment.array_id, "seg1", "no '_' in it, which original workers take ids apart at");
    assert_eq!((segment.start, segment.end, segment.is_primary), (0, 2, true));
    assert_eq!(talk.asked(), ["seg1"]);
    let text = String::from_utf8(talk.lines[0].clone()).unwrap();
    assert!(text.contains(r#""segmentId":"0""#), "a number ends a Java worker: {text}");
    assert!(text.is_ascii(), "a character cut in two by a read ends a Python worker: {text}");
    talk.answer_truly();
    assert_eq!(talk.result::<f64>(0), own(&[1.5, 2.5]));
    assert_eq!(talk.ended[0].job, 1);
}

#[test]
fn no_id_is_used_for_two_segments() {
    let mut talk = Talk::new();
    for number in 1..50 {
        talk.job(job(number, &[number as f64]));
        talk.answer_truly();
    }
    let mut ids: Vec<&str> = talk.segments().iter().map(|segment| segment.array_id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 49);
}

#[test]
fn there_is_one_operation_at_a_time() {
    let mut talk = Talk::new();
    talk.job(job(1, &[1.0]));
    talk.job(job(2, &[2.0]));
    assert_eq!(talk.asked(), ["seg1"], "two at once may dead-lock a worker with two cores");
    assert_eq!(talk.segments().len(), 2, "but the next values are on their way");
    talk.answer_truly();
    assert_eq!(talk.asked(), ["seg1", "seg2"]);
    talk.answer_truly();
    assert_eq!((talk.ended[0].job, talk.ended[1].job), (1, 2));
}

#[test]
fn a_long_segment_goes_in_pieces() {
    let values: Vec<f64> = (0..120_001).map(|n| f64::from(n) * 0.5).collect();
    let mut talk = Talk::new();
    talk.job(job(1, &values));
    for asked in 1..=3 {
        assert_eq!(talk.asked().len(), asked);
        talk.answer_truly();
    }
    let lengths: Vec<usize> = talk.segments().iter().map(|segment| segment.end as usize).collect();
    assert_eq!(lengths, [50_000, 50_000, 20_001]);
    assert_eq!(talk.result::<f64>(0), own(&values));
}

#[test]
fn what_a_worker_has_is_not_sent_again() {
    let mut talk = Talk::new();
    talk.job(job(1, &[1.0, 2.0]));
    talk.answer_truly();
    let again = Order { job: 9, ..job(1, &[1.0, 2.0]) };
    talk.job(again);
    assert_eq!(talk.segments().len(), 1);
    assert_eq!(talk.asked(), ["seg1", "seg1"]);
    talk.answer_truly();
    assert_eq!(talk.ended[1].job, 9);
}

#[test]
fn values_that_original_workers_are_silent_about_are_not_sent_to_them() {
    let mut talk = Talk::new();
    talk.job(job(1, &[f64::NAN, 2.0, f64::INFINITY, f64::NEG_INFINITY, 0.0]));
    assert_eq!(values(talk.segments()[0]), [1.0, 2.0, 1.0, 1.0, 0.0]);
    talk.answer_truly();
    let result = talk.result::<f64>(0);
    assert!(result[0].is_nan() && result[2].is_nan() && result[3].is_nan());
    assert_eq!([result[1], result[4]], [own(&[2.0])[0], 1.0]);

    talk.job(job(2, &[-3, 0, 4, 6, -6, -1, i32::MIN, 501]));
    assert_eq!(values(talk.segments()[1]), [1.0, 1.0, 4.0, 6.0, 1.0, -1.0, f64::from(i32::MIN), 501.0]);
    talk.answer_truly();
    assert_eq!(talk.result::<i32>(1), [0, 0, 4, 3, 0, -1, i32::MIN, 6]);
}

#[test]
fn a_result_of_something_else_is_not_taken() {
    let mut talk = Talk::new();
    talk.job(job(1, &[1.0, 2.0]));
    talk.answer("seg7", vec![5.0, 6.0]);
    talk.answer("a_b", vec![5.0, 6.0]);
    assert!(talk.ended.is_empty());
    talk.answer_truly();
    talk.answer("seg1", own(&[1.0, 2.0])); // once more
    assert_eq!(talk.ended.len(), 1);
}

#[test]
fn a_wrong_result_is_not_taken_and_the_worker_is_given_up_if_it_insists() {
    for wrong in [vec![1.0], vec![7.0, 7.0], vec![f64::NAN, f64::NAN], vec![]] {
        let mut talk = Talk::new();
        talk.job(job(1, &[1.0, 2.0]));
        for attempt in 1..=3 {
            assert!(talk.given_up.is_none(), "{wrong:?}");
            assert_eq!(talk.asked().len(), attempt);
            let id = talk.asked().last().unwrap().to_string();
            talk.answer(&id, wrong.clone());
        }
        assert!(talk.given_up.as_ref().is_some_and(|why| why.contains("3 times")), "{:?}", talk.given_up);
        assert!(talk.ended.is_empty());
        let ids = talk.asked();
        assert!(ids[0] != ids[1] && ids[1] != ids[2], "each time with the values, under a new id");
    }
}

#[test]
fn a_torn_answer_is_asked_for_again() {
    let mut talk = Talk::new();
    talk.job(job(1, &[1.0, 2.0]));
    let torn = || Event::Refused(WireError::new(ErrorCode::Malformed, "torn"));
    talk.step(torn());
    talk.step(torn()); // its other half
    assert_eq!(talk.asked().len(), 1, "the rest of it may still be on its way");
    talk.after(Duration::from_millis(200));
    assert_eq!(talk.asked(), ["seg1", "seg2"]);
    talk.answer_truly();
    assert_eq!(talk.result::<f64>(0), own(&[1.0, 2.0]));
}

#[test]
fn a_worker_that_never_answers_is_given_up_though_it_gives_signs_of_life() {
    let mut talk = Talk::new();
    talk.job(job(1, &[1.0]));
    for _ in 0..6 {
        talk.now += Duration::from_secs(3);
        talk.heartbeat();
    }
    assert!(talk.given_up.is_none(), "18 s are not too long: a Java virtual machine may have just started");
    talk.now += Duration::from_secs(3);
    talk.heartbeat();
    assert!(talk.given_up.is_some_and(|why| why.contains("does not answer")));
}

#[test]
fn the_clock_starts_anew_with_each_answer_and_has_time_to_read() {
    let values = vec![1.0; 150_000];
    let mut talk = Talk::new();
    talk.job(job(1, &values));
    for _ in 0..3 {
        for _ in 0..7 {
            talk.now += Duration::from_secs(3);
            talk.heartbeat(); // 21 s: more than for a short piece
        }
        assert!(talk.given_up.is_none());
        talk.answer_truly();
    }
    assert_eq!(talk.ended.len(), 1);
}

#[test]
fn silence_is_death() {
    let mut talk = Talk::new();
    talk.after(Duration::from_millis(9_999));
    assert!(talk.given_up.is_none());
    assert_eq!(talk.guest.next_deadline(), Duration::from_secs(10));
    talk.after(Duration::from_millis(1));
    assert!(talk.given_up.is_some_and(|why| why.contains("silent")));
}

#[test]
fn a_result_is_no_sign_of_trouble_and_an_idle_worker_may_stay() {
    let mut talk = Talk::new();
    for _ in 0..100 {
        talk.now += Duration::from_secs(3);
        talk.heartbeat();
    }
    assert!(talk.given_up.is_none());
}

#[test]
fn a_broken_source_is_told_and_not_sent() {
    let mut talk = Talk::new();
    let source = Arc::new(Segment::new(CopyId(VersionId(1), 0), DType::Float64, Buffer::from_slice(&[1.0]), 7));
    talk.job(Order { source, ..job(1, &[1.0]) });
    assert!(talk.sent.is_empty());
    assert!(matches!(talk.ended[0].outcome, Err(ComputeFailure::SourceBroken(_))));
}
