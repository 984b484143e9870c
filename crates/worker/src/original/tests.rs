//! What an original master and this worker say to each other, line by line, in virtual time. Each test is named by what
//! goes wrong without it.

use super::*;
use array::{Buffer, DType};
use protocol::level1::{Incoming, LINE_BYTES_MAX, LineReader, LineWriter};
use std::collections::VecDeque;

/// The machine, its memory, the time, and what was handed out.
struct Desk {
    original: Original,
    store: Store,
    now: Duration,
    spaced: bool,
    /// Written lines, with the time at which they were handed out.
    lines: Vec<(Duration, String)>,
    computing: VecDeque<ComputeJob>,
    others: Vec<String>,
    /// Whether lines are written as soon as they are handed out.
    writes: bool,
    short: bool,
}

const BUDGET: u64 = 1 << 20;

impl Desk {
    fn new() -> Desk {
        let mut original = Original::new(2);
        original.begin(Duration::ZERO);
        let (lines, computing, others) = (Vec::new(), VecDeque::new(), Vec::new());
        let store = Store::new(BUDGET);
        Desk {
            original,
            store,
            now: Duration::ZERO,
            spaced: false,
            lines,
            computing,
            others,
            writes: true,
            short: false,
        }
    }

    /// A machine that may write, under a Java or a Python master.
    fn under(flavour: Flavour) -> Desk {
        let mut desk = Desk { spaced: flavour == Flavour::Python, ..Desk::new() };
        desk.hear(LineWriter::new("NODE_FAILURE", "master", "w"));
        desk.now = FIRST_LINE_AFTER;
        desk.step(Event::Tick);
        assert!(desk.take_lines()[0].contains("HEARTBEAT"));
        desk
    }

    fn step(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for effect in self.original.step(self.now, &mut self.store, event) {
                match effect {
                    Effect::Write { reply, short } => {
                        let line = reply.to_line("w", short).map_or("none".into(), |l| String::from_utf8(l).unwrap());
                        self.lines.push((self.now, line));
                        self.short = short;
                        drop(reply);
                        events.extend(self.writes.then_some(Event::Written));
                    }
                    Effect::Compute(job) => self.computing.push_back(job),
                    other => self.others.push(format!("{other:?}")),
                }
            }
            self.store.check_invariants();
        }
    }

    /// Hears a line that was written as this master writes.
    fn hear(&mut self, line: LineWriter) {
        let mut line = String::from_utf8(line.finish()).unwrap();
        if self.spaced {
            line = line.replacen("\"type\":", "\"type\": ", 1);
        }
        let mut reader = LineReader::new(line.as_bytes(), LINE_BYTES_MAX);
        let Ok(Some(Incoming::Line(line))) = reader.read(None, &mut |_| Ok(())) else { panic!("{line}") };
        let heard = Heard::new(line, |bytes| self.store.make_room(bytes)).unwrap();
        self.step(Event::Heard(heard));
    }

    fn give(&mut self, kind: &str, array: &str, start: i64, values: &[i32]) {
        let line = LineWriter::new(kind, "master", "w").text("arrayId", array).integer("segmentId", start);
        let line = line.integer("startIndex", start).integer("endIndex", start + values.len() as i64);
        self.hear(line.text("dataType", "int").ints("data", values));
    }

    fn distribute(&mut self, array: &str, start: i64, values: &[i32]) {
        self.give("DISTRIBUTE_ARRAY", array, start, values);
    }

    fn replicate(&mut self, array: &str, start: i64, values: &[i32]) {
        self.give("REPLICATE_DATA", array, start, values);
    }

    fn process(&mut self, array: &str, operation: &str) {
        let line = LineWriter::new("PROCESS_SEGMENT", "master", "w").text("arrayId", array);
        self.hear(line.text("operation", operation));
    }

    fn recover(&mut self, array: &str, segment: i64, make_primary: bool) {
        let line = LineWriter::new("RECOVER_DATA", "master", "w").text("arrayId", array);
        self.hear(line.integer("segmentId", segment).flag("makePrimary", make_primary));
    }

    /// Ends one computation.
    fn compute(&mut self, which: usize) {
        let job = self.computing.remove(which).expect("a computation");
        let computed = job.ended(job.run(&array::BufferPool::new(0)), Duration::ZERO);
        drop(job); // and its source with it
        self.step(Event::Computed(computed));
    }

    fn compute_all(&mut self) {
        while !self.computing.is_empty() {
            self.compute(0);
        }
    }

    /// What was written, from `data` on for results.
    fn take_lines(&mut self) -> Vec<String> {
        self.lines.drain(..).map(|(_, line)| line).collect()
    }

    /// `segmentId status data` of every result.
    fn take_results(&mut self) -> Vec<String> {
        let field = |line: &str, name: &str| {
            let value = &line[line.find(&format!("\"{name}\":")).unwrap_or_else(|| panic!("{line} lacks {name}"))..];
            value.split_once(':').unwrap().1.to_string()
        };
        let results = self.take_lines().into_iter().filter(|line| line.contains("SEGMENT_RESULT"));
        let describe = |line: String| {
            let data = field(&line[line.find("\"arrayId\"").unwrap()..], "data");
            let id: String = field(&line, "segmentId").chars().take_while(|c| *c != ',').collect();
            let status = field(&line, "status").split('"').nth(1).unwrap().to_string();
            format!("{id} {status} {}", data.trim_end().trim_end_matches('}'))
        };
        results.map(describe).collect()
    }

    /// The results of an operation that is computed at once.
    fn results(&mut self, array: &str, operation: &str) -> Vec<String> {
        self.process(array, operation);
        self.compute_all();
        self.take_results()
    }

    /// Goes to the next deadline.
    fn wait(&mut self) -> Duration {
        self.now = self.original.next_deadline().expect("it waits for something");
        self.step(Event::Tick);
        self.now
    }
}

// ---- S2, heartbeats

#[test]
fn nothing_is_written_within_a_second_of_the_registration() {
    let mut desk = Desk::new();
    desk.distribute("a", 0, &[4]);
    desk.process("a", "example2");
    desk.recover("a", 0, true);
    desk.compute_all();
    desk.now = FIRST_LINE_AFTER - Duration::from_millis(1);
    desk.step(Event::Tick);
    assert_eq!(desk.take_lines(), [""; 0]);
    assert_eq!(desk.wait(), FIRST_LINE_AFTER);
    assert_eq!(desk.take_lines().len(), 3, "a heartbeat, then what has waited");
}

#[test]
fn signs_of_life_come_every_three_seconds_while_it_computes() {
    let mut desk = Desk::under(Flavour::Java);
    desk.distribute("a", 0, &[4]);
    desk.process("a", "example2");
    let first = desk.now;
    for n in 1..5 {
        assert_eq!(desk.wait(), first + n * HEARTBEAT_EVERY);
        let lines = desk.take_lines();
        assert!(
            lines.len() == 1 && lines[0].contains("\"HEARTBEAT\"") && lines[0].ends_with("\"data\":{}}\n"),
            "{lines:?}"
        );
    }
}

// ---- S3, S4, S5, S6: results

#[test]
fn every_primary_segment_is_answered_once_in_order_and_with_its_own_id() {
    let mut desk = Desk::under(Flavour::Java);
    desk.distribute("a_b", 334, &[3, 4]);
    desk.distribute("a_b", 0, &[-3, 500]);
    desk.replicate("a_b", 668, &[9]);
    desk.distribute("a", 0, &[1]);
    desk.process("a_b", "example2");
    assert_eq!(desk.computing.len(), 2);
    desk.compute(1);
    assert_eq!(desk.take_results(), [""; 0], "the first one comes first");
    desk.compute(0);
    assert_eq!(desk.take_results(), ["0 completed [0,6]", "334 completed [3,4]"]);
    // An operation reads what was given, not what an earlier one has made.
    assert_eq!(desk.results("a_b", "example2"), ["0 completed [0,6]", "334 completed [3,4]"]);
}

#[test]
fn several_operations_run_side_by_side() {
    let mut desk = Desk::under(Flavour::Java);
    desk.distribute("a", 0, &[3]);
    desk.distribute("b", 0, &[4]);
    desk.process("a", "example2");
    desk.process("b", "example2");
    desk.compute(1);
    let lines = desk.take_lines();
    assert!(lines.len() == 1 && lines[0].contains("\"arrayId\":\"b\""), "{lines:?}");
    desk.compute(0);
    assert_eq!(desk.take_results(), ["0 completed [3]"]);
}

#[test]
fn two_operations_on_one_array_are_answered_one_after_the_other() {
    let mut desk = Desk::under(Flavour::Java);
    desk.distribute("a", 0, &[3]);
    desk.distribute("a", 1, &[4]);
    desk.process("a", "example2");
    desk.process("a", "example2");
    desk.compute(0);
    desk.compute(1);
    assert_eq!(desk.take_results(), ["0 completed [3]"], "the second answer about 0 waits for the first about 1");
    desk.compute_all();
    assert_eq!(desk.take_results(), ["1 completed [4]", "0 completed [3]", "1 completed [4]"]);
}

#[test]
fn what_cannot_be_computed_is_an_error_with_an_empty_list() {
    let mut desk = Desk::under(Flavour::Java);
    desk.distribute("a", 0, &[3]);
    desk.distribute("a", 1, &[3]);
    desk.replicate("r", 0, &[3]);
    assert_eq!(desk.results("a", "example9"), ["0 error []", "1 error []"]);
    assert_eq!(desk.results("a", "example1"), ["0 error []", "1 error []"], "of ints");
    assert_eq!(desk.results("nothing", "example1"), ["0 error []"], "the master waits for something");
    assert_eq!(desk.results("r", "example2"), ["0 error []"], "only a replica");
    assert_eq!(desk.results("a", "example2"), ["0 completed [3]", "1 completed [3]"], "and it goes on");
}

#[test]
fn a_kernel_that_panics_is_an_error() {
    let mut desk = Desk::under(Flavour::Java);
    desk.distribute("a", 0, &[3]);
    desk.process("a", "example2");
    let job = desk.computing.pop_front().unwrap();
    let outcome = Err(crate::compute::ComputeFailure::Panicked("oh".into()));
    let number = job.job;
    drop(job);
    desk.step(Event::Computed(Computed { job: number, elements: 1, outcome, busy: Duration::ZERO }));
    assert_eq!(desk.take_results(), ["0 error []"]);
}

#[test]
fn a_segment_without_room_is_not_stored_and_answered_for() {
    let mut desk = Desk::under(Flavour::Java);
    desk.distribute("a", 0, &[3]);
    let more = vec![1; BUDGET as usize / 4];
    desk.distribute("a", 1, &more);
    assert_eq!(desk.results("a", "example2"), ["0 completed [3]", "1 error []"]);
    // A result without room waits for that of others, and is an error if there are none.
    let half = vec![1; BUDGET as usize / 8];
    desk.distribute("b", 0, &half);
    assert_eq!(desk.results("b", "example2"), ["0 error []"]);
    desk.distribute("b", 0, &half[..40_000]);
    desk.distribute("c", 0, &half[..40_000]);
    desk.distribute("d", 0, &half[..40_000]);
    desk.process("b", "example2");
    desk.process("c", "example2");
    desk.process("d", "example2");
    desk.process("b", "example2");
    assert_eq!(desk.computing.len(), 2);
    desk.compute_all();
    let results = desk.take_results();
    assert!(results.len() == 4 && results.iter().all(|result| result.contains("completed")), "none is given up");
}

#[test]
fn numbers_become_elements_as_the_originals_make_them() {
    let mut desk = Desk::under(Flavour::Java);
    let line = LineWriter::new("DISTRIBUTE_ARRAY", "master", "w").text("arrayId", "i").integer("segmentId", 0);
    let line = line.integer("startIndex", 0).integer("endIndex", 4).text("dataType", "int");
    desk.hear(line.doubles("data", &[1.9, -1.9, 7.0, 2_147_483_648.0]));
    assert_eq!(desk.results("i", "example2"), ["0 completed [1,-1,7,2147483647]"]);
    let line = LineWriter::new("DISTRIBUTE_ARRAY", "master", "w").text("arrayId", "d").integer("segmentId", 0);
    let line = line.integer("startIndex", 0).integer("endIndex", 2).text("dataType", "double");
    desk.hear(line.doubles("data", &[0.0, f64::INFINITY]));
    assert_eq!(desk.results("d", "example1"), ["0 completed [1.0,NaN]"]);
    let line = LineWriter::new("DISTRIBUTE_ARRAY", "master", "w").text("arrayId", "f").integer("segmentId", 5);
    desk.hear(line.integer("startIndex", 5).integer("endIndex", 6).text("dataType", "float").ints("data", &[1]));
    assert_eq!(desk.results("f", "example1"), ["5 error []"]);
}

// ---- S7: arrays that are created again

#[test]
fn an_equal_segment_replaces_what_is_held() {
    let mut desk = Desk::under(Flavour::Java);
    desk.distribute("a", 0, &[3, 4]);
    desk.distribute("a", 2, &[5]);
    desk.distribute("a", 0, &[6, 7]);
    assert_eq!(desk.results("a", "example2"), ["0 completed [3,7]", "2 completed [5]"]);
    desk.replicate("a", 0, &[6, 7]);
    assert_eq!(desk.results("a", "example2"), ["2 completed [5]"], "somebody else computes it now");
}

#[test]
fn another_layout_or_type_wipes_the_array_of_that_id() {
    let mut desk = Desk::under(Flavour::Java);
    desk.distribute("b", 0, &[1]);
    desk.distribute("a", 0, &[1, 2]);
    desk.distribute("a", 2, &[1, 2]);
    desk.replicate("a", 4, &[1, 2]);
    desk.distribute("a", 0, &[7, 8, 10]);
    desk.recover("a", 4, true);
    assert_eq!(desk.results("a", "example2"), ["0 completed [7,8,10]", "4 error []"], "all of it, replicas too");
    let line = LineWriter::new("REPLICATE_DATA", "master", "w").text("arrayId", "a").integer("segmentId", 100);
    let line = line.integer("startIndex", 100).integer("endIndex", 101).text("dataType", "double");
    desk.hear(line.doubles("data", &[0.0]));
    assert_eq!(desk.results("a", "example2"), ["0 error []"], "nothing of it is an int any more");
    assert_eq!(desk.results("b", "example2"), ["0 completed [1]"], "other arrays stay");
}

#[test]
fn what_has_come_of_the_new_array_already_is_not_wiped_with_the_old_one() {
    // 20 elements on two workers, then 19: the first segment has the same bounds, and only the second tells.
    let mut desk = Desk::under(Flavour::Java);
    desk.distribute("a", 0, &[1; 10]);
    desk.replicate("a", 10, &[1; 10]);
    desk.distribute("a", 0, &[2; 10]);
    desk.replicate("a", 10, &[2; 9]);
    desk.recover("a", 10, true);
    let (first, second) = (format!("0 completed {:?}", [2; 10]), format!("10 completed {:?}", [2; 9]));
    assert_eq!(
        desk.results("a", "example2"),
        [
            first.replace(' ', "").replace("completed", " completed "),
            second.replace(' ', "").replace("completed", " completed ")
        ]
    );
}

#[test]
fn a_shorter_array_leaves_nothing_of_the_longer_one_behind() {
    // The third of three workers: 60 elements, then 9, of which nothing overlaps what it holds of the 60.
    let mut desk = Desk::under(Flavour::Java);
    desk.replicate("a", 20, &[1; 20]);
    desk.distribute("a", 40, &[1; 20]);
    assert_eq!(desk.results("a", "example2").len(), 1);
    desk.replicate("a", 3, &[7; 3]);
    desk.distribute("a", 6, &[8; 3]);
    desk.recover("a", 3, true);
    assert_eq!(desk.results("a", "example2"), ["3 completed [7,7,7]", "6 completed [8,8,8]"]);
    // The second of two: the lengths are the same again, and it is the second primary that tells.
    desk.replicate("a", 0, &[4; 3]);
    desk.distribute("a", 3, &[5; 3]);
    assert_eq!(desk.results("a", "example2"), ["3 completed [5,5,5]"]);
    desk.recover("a", 0, true);
    assert_eq!(desk.results("a", "example2"), ["0 completed [4,4,4]", "3 completed [5,5,5]"]);
}

#[test]
fn a_replica_that_comes_in_place_of_a_lost_one_wipes_nothing() {
    let mut desk = Desk::under(Flavour::Java);
    desk.distribute("a", 0, &[1; 4]);
    desk.replicate("a", 7, &[2; 3]);
    assert_eq!(desk.results("a", "example2").len(), 1);
    desk.replicate("a", 4, &[4; 3]);
    desk.recover("a", 7, true);
    desk.recover("a", 4, true);
    assert_eq!(desk.results("a", "example2"), ["0 completed [1,1,1,1]", "4 completed [4,4,4]", "7 completed [2,2,2]"]);
}

#[test]
fn the_memory_of_what_is_wiped_comes_back_when_nobody_computes_on_it() {
    let mut desk = Desk::under(Flavour::Java);
    desk.distribute("a", 0, &[3, 4]);
    let one = desk.store.reserved();
    desk.process("a", "example2");
    desk.distribute("a", 0, &[5]);
    assert!(desk.store.reserved() > one + 8, "the old one is still read");
    desk.compute_all();
    assert!(desk.store.reserved() < one + 8);
    assert_eq!(desk.take_results(), ["0 completed [3,4]"], "what was asked for is answered");
    desk.original.end(&mut desk.store);
    assert_eq!(desk.store.reserved(), 0);
}

// ---- recovery

#[test]
fn a_promoted_replica_computes_from_then_on() {
    let mut desk = Desk::under(Flavour::Java);
    desk.distribute("a", 0, &[3]);
    desk.replicate("a", 1, &[4]);
    desk.recover("a", 1, false);
    assert_eq!(desk.take_lines(), [""; 0], "nothing changes, and nothing is said");
    desk.recover("a", 1, true);
    let lines = desk.take_lines();
    assert!(
        lines[0].contains("\"RECOVERY_COMPLETE\"") && lines[0].contains("\"segmentId\":1,\"status\":\"recovered\""),
        "{lines:?}"
    );
    assert_eq!(desk.results("a", "example2"), ["0 completed [3]", "1 completed [4]"]);
}

#[test]
fn promoting_what_is_not_here_is_said_to_be_done_and_answered_for_later() {
    let mut desk = Desk::under(Flavour::Java);
    desk.recover("a", 7, true);
    assert!(desk.take_lines()[0].contains("RECOVERY_COMPLETE"));
    assert_eq!(desk.results("a", "example2"), ["7 error []"]);
    desk.distribute("a", 0, &[3]);
    desk.distribute("a", 7, &[4]);
    assert_eq!(desk.results("a", "example2"), ["0 completed [3]", "7 completed [4]"]);
}

#[test]
fn shutdown_ends_the_process() {
    let mut desk = Desk::under(Flavour::Java);
    desk.others.clear();
    desk.hear(LineWriter::new("SHUTDOWN", "master", "w"));
    assert_eq!(desk.others, ["Shutdown"]);
}

// ---- S8, S9, S10: the two masters

#[test]
fn the_master_is_recognised_once_by_its_first_line() {
    for flavour in [Flavour::Java, Flavour::Python] {
        let mut desk = Desk::under(flavour);
        desk.distribute("a", 0, &[1]);
        assert_eq!(desk.others, [format!("Recognised({flavour:?})")]);
        desk.process("a", "example2");
        desk.compute_all();
        desk.wait();
        assert_eq!(desk.short, flavour == Flavour::Python);
    }
}

#[test]
fn who_has_said_nothing_yet_is_spared_like_a_python_master() {
    let mut desk = Desk { writes: false, ..Desk::new() };
    desk.wait();
    assert!(desk.short);
    desk.now += HEARTBEAT_EVERY;
    desk.step(Event::Written);
    assert_eq!(desk.original.next_deadline(), Some(desk.now + LINE_GAP), "a heartbeat is due, but not at once");
}

#[test]
fn a_python_master_never_finds_two_lines_in_one_read() {
    let mut desk = Desk::under(Flavour::Python);
    for start in 0..100 {
        desk.distribute("a", start, &[3]);
    }
    desk.process("a", "example2");
    desk.compute_all();
    while desk.original.outbox.as_ref().is_some_and(|outbox| !outbox.is_empty()) {
        desk.wait();
    }
    let beats = desk.lines.iter().filter(|(_, line)| line.contains("HEARTBEAT")).count();
    assert_eq!((desk.lines.len() - beats, beats), (100, 7), "heartbeats go on in between");
    assert!(desk.lines.windows(2).all(|two| two[1].0 >= two[0].0 + LINE_GAP), "never closer than the gap");
    let beat = desk.lines.iter().position(|(_, line)| line.contains("HEARTBEAT")).unwrap();
    let at = desk.lines[beat].0;
    assert!(
        at >= FIRST_LINE_AFTER + HEARTBEAT_EVERY && at < FIRST_LINE_AFTER + HEARTBEAT_EVERY + 2 * LINE_GAP,
        "{at:?}"
    );
}

#[test]
fn the_gap_begins_when_a_line_is_written_and_not_when_it_is_handed_out() {
    let mut desk = Desk { writes: false, spaced: true, ..Desk::new() };
    desk.now = FIRST_LINE_AFTER;
    desk.step(Event::Tick);
    desk.recover("a", 0, true);
    desk.now += Duration::from_secs(2);
    desk.step(Event::Tick);
    assert_eq!(desk.lines.len(), 1, "the thread that writes was held up");
    desk.step(Event::Written);
    assert_eq!(desk.original.next_deadline(), Some(desk.now + LINE_GAP));
}

#[test]
fn a_line_for_a_python_master_has_at_most_8192_bytes() {
    let result = |elements: usize, segment: i64| {
        let values = Some(Values { dtype: DType::Float64, buffer: Buffer::from_slice(&vec![0.5; elements]) });
        Reply::Result { array: "a".into(), segment, values }
    };
    let line = |reply: &Reply, short| String::from_utf8(reply.to_line("w", short).unwrap()).unwrap();
    let one = line(&result(1, 0), true).len();
    let most = 1 + (LINE_BYTES_SHORT - one) / 4; // ",0.5"
    let to_fill = LINE_BYTES_SHORT - (one + 4 * (most - 1));
    let segment = 10_i64.pow(to_fill as u32);
    let exact = line(&result(most, segment), true);
    assert_eq!((exact.len(), exact.contains("0.5")), (LINE_BYTES_SHORT, true));
    for too_long in [line(&result(most, segment * 10), true), line(&result(1_000_000, 0), true)] {
        assert!(too_long.contains("\"status\":\"completed\",\"data\":[]}}"), "{too_long}");
    }
    assert!(line(&result(1_000_000, 0), false).len() > 4_000_000, "a Java master reads all of it");
    let name = Reply::Recovered { array: "x".repeat(LINE_BYTES_SHORT), segment: 0 };
    assert_eq!((name.to_line("w", true), name.to_line("w", false).is_some()), (None, true));
}

#[test]
fn lines_are_ascii_and_values_are_exact() {
    let values = Some(Values { dtype: DType::Float64, buffer: Buffer::from_slice(&[f64::NAN, 0.1, 1e300]) });
    let reply = Reply::Result { array: "größe".into(), segment: 3, values };
    let line = String::from_utf8(reply.to_line("wörker", false).unwrap()).unwrap();
    assert!(line.is_ascii() && line.ends_with("\n"));
    assert!(
        line.contains("\"segmentId\":3,\"status\":\"completed\",\"data\":[NaN,0.1,1e+300]}}")
            || line.contains("[NaN,0.1,1e300]}}"),
        "{line}"
    );
    for key in ["type", "from", "to", "timestamp", "data"] {
        assert!(line.contains(&format!("\"{key}\":")), "{line} lacks {key}");
    }
}

// ---- bounds, and the end

#[test]
fn a_master_that_takes_no_replies_is_given_up() {
    let mut desk = Desk { writes: false, ..Desk::new() };
    desk.now = FIRST_LINE_AFTER;
    for n in 0..REPLIES_MAX as i64 {
        assert!(!desk.others.iter().any(|other| other.contains("GiveUp")), "{n}");
        desk.recover("a", n, true);
    }
    assert!(
        desk.others.last().unwrap().contains("GiveUp(\"it takes replies too slowly: 4097 wait"),
        "{:?}",
        desk.others
    );
}

#[test]
fn a_new_connection_begins_with_nothing() {
    let mut desk = Desk::under(Flavour::Python);
    desk.distribute("a", 0, &[3]);
    desk.process("a", "example2");
    desk.original.end(&mut desk.store);
    assert_eq!(desk.original.next_deadline(), None);
    desk.compute_all();
    assert_eq!((desk.store.reserved(), desk.original.held()), (0, (0, 0)));
    desk.spaced = false;
    desk.original.begin(desk.now);
    assert_eq!(desk.wait(), 2 * FIRST_LINE_AFTER, "a pause after this registration too");
    desk.take_lines();
    desk.now += LINE_GAP;
    assert_eq!(desk.results("a", "example2"), ["0 error []"]);
    assert_eq!(desk.others, ["Recognised(Python)", "Recognised(Java)"]);
}
