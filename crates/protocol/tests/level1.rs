//! Lines of the original protocol: what is read and what is refused, however the bytes arrive.

use proptest::prelude::*;
use protocol::ErrorCode;
use protocol::frame::ReadDeadline;
use protocol::level1::{Answer, Body, Incoming, LINE_BYTES_MAX, LineReader, LineWriter, to_int32};
use std::io::{self, Read};
use std::time::Instant;

/// A stream that gives a few bytes at a time.
struct Drips<'a> {
    bytes: &'a [u8],
    size: usize,
}

impl Read for Drips<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let size = self.size.min(buf.len());
        (&mut self.bytes).take(size as u64).read(buf)
    }
}

impl ReadDeadline for Drips<'_> {
    fn set_read_deadline(&mut self, _: Option<Instant>) {}
}

/// Everything in `bytes`, read `size` bytes at a time.
fn read_all(bytes: &[u8], size: usize) -> Vec<Incoming> {
    let mut reader = LineReader::new(Drips { bytes, size }, LINE_BYTES_MAX);
    let mut found = Vec::new();
    while let Some(incoming) = reader.read(None, &mut |_| Ok(())).unwrap() {
        let is_end = matches!(incoming, Incoming::TooLong(_));
        found.push(incoming);
        if is_end {
            break;
        }
    }
    found
}

fn body(line: &str) -> Body {
    match read_all(line.as_bytes(), 7).pop() {
        Some(Incoming::Line(line)) => line.into_body().unwrap(),
        other => panic!("{line}: {other:?}"),
    }
}

fn refused(line: &str) -> String {
    let found = read_all(line.as_bytes(), 1000);
    assert_eq!(found.len(), 1, "{line}");
    match found.into_iter().next() {
        Some(Incoming::Refused(error)) => {
            assert_eq!(error.code, ErrorCode::Malformed);
            error.message
        }
        Some(Incoming::Line(parsed)) => match parsed.into_body() {
            Err(error) => error.message,
            Ok(body) => panic!("{line}: {body:?}"),
        },
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn lines_of_both_originals_say_the_same() {
    let java = r#"{"type":"SEGMENT_RESULT","from":"worker-J0","to":"master","timestamp":1795216748464,"data":{"data":[2.0,3.0E10,1.4869635968220078E-6,-7],"arrayId":"seg17","segmentId":0,"status":"completed"}}"#;
    let python = r#"{"type": "SEGMENT_RESULT", "from": "worker-P0", "to": "master", "timestamp": 1795216748464, "data": {"arrayId": "seg17", "status": "completed", "segmentId": 0, "data": [2.0, 30000000000.0, 1.4869635968220078e-06, -7]}}"#;
    let expected =
        Body::SegmentResult { array_id: "seg17".into(), values: vec![2.0, 3e10, 1.4869635968220078e-6, -7.0] };
    assert_eq!(body(java), expected);
    assert_eq!(body(python), expected);
    let spaced = |text: &str| match read_all(text.as_bytes(), 100).pop() {
        Some(Incoming::Line(line)) => line.spaced,
        other => panic!("{other:?}"),
    };
    assert!(spaced(python) && !spaced(java), "the space tells the masters apart");
}

#[test]
fn every_type_is_understood() {
    let segment = |body: Body| match body {
        Body::Segment(segment) => segment,
        other => panic!("{other:?}"),
    };
    let distribute = r#"{"type":"DISTRIBUTE_ARRAY","data":{"isPrimary":true,"startIndex":334,"endIndex":336,"segmentId":334,"dataType":"int","arrayId":"a_b","data":[1,2.0]}}"#;
    let found = segment(body(distribute));
    assert_eq!((found.segment_id, found.start, found.end, found.is_primary), (334.0, 334, 336, true));
    assert_eq!(to_int32(&found.values.unwrap()).unwrap(), [1, 2]);
    assert!(!segment(body(&distribute.replace("DISTRIBUTE_ARRAY", "REPLICATE_DATA"))).is_primary);
    let quoted = distribute.replace(r#""segmentId":334"#, r#""segmentId":"0""#);
    assert_eq!(segment(body(&quoted)).segment_id, 0.0);

    let register = r#"{"data":{"host":"127.0.0.1","port":4711,"cores":2,"memory":512,"new":{"a":[1,{"b":"]}"}]}},"extra":[],"type":"REGISTER_WORKER","from":"w"}"#;
    assert_eq!(body(register), Body::RegisterWorker { cores: 2, memory: 512 });
    assert_eq!(body(r#"{"type":"HEARTBEAT","from":"w","to":"master","timestamp":1,"data":{}}"#), Body::Heartbeat);
    assert_eq!(body(r#"{"type":"NODE_FAILURE","data":null}"#), Body::Unknown);
    let create =
        body(r#"{"type":"CREATE_ARRAY","data":{"values":[],"dataType":"double","arrayId":"größe\ud83d\ude00"}}"#);
    let expected = Body::CreateArray { array_id: "größe😀".into(), data_type: "double".into(), values: vec![] };
    assert_eq!(create, expected);
    let answer = |text: &str| match body(text) {
        Body::OperationComplete(answer) => answer,
        other => panic!("{other:?}"),
    };
    let complete = answer(r#"{"type":"OPERATION_COMPLETE","data":{"result":[3.0,"NaN"],"status":"complete"}}"#);
    assert!(complete.values.is_some_and(|values| values[0] == 3.0 && values[1].is_nan()));
    let error = answer(r#"{"type":"OPERATION_COMPLETE","data":{"result":"no","status":"error","arrayId":"a"}}"#);
    let expected =
        Answer { status: "error".into(), array_id: Some("a".into()), text: Some("no".into()), ..Answer::default() };
    assert_eq!(error, expected);
    for (code, known) in [("UnknownArray", ErrorCode::UnknownArray), ("OfTheFuture", ErrorCode::Internal)] {
        let line = r#"{"type":"OPERATION_COMPLETE","data":{"result":"no","status":"error","code":"CODE"}}"#;
        assert_eq!(answer(&line.replace("CODE", code)).code, Some(known));
    }
}

#[test]
fn numbers_are_exact_and_python_tokens_are_numbers() {
    let line = r#"{"type":"CREATE_ARRAY","data":{"arrayId":"a","dataType":"double","values":[ 0 ,-0, 0.1,1e22,5e-324,1.7976931348623157E308,123456789012345678,-2147483648,NaN,Infinity, -Infinity ]}}"#;
    let Body::CreateArray { values, .. } = body(line) else { panic!() };
    let expected = [0.0, -0.0, 0.1, 1e22, 5e-324, f64::MAX, 123456789012345678.0, -2147483648.0];
    for (value, expected) in values.iter().zip(expected) {
        assert_eq!(value.to_bits(), expected.to_bits(), "{value} {expected}");
    }
    assert!(values[8].is_nan() && values[9] == f64::INFINITY && values[10] == f64::NEG_INFINITY);
}

#[test]
fn what_is_wrong_is_named() {
    let with = |values: &str| {
        format!(r#"{{"type":"CREATE_ARRAY","data":{{"arrayId":"a","dataType":"double","values":{values}}}}}"#)
    };
    for (line, part) in [
        ("hello".to_string(), "'{'"),
        ("{}".into(), "no \"type\""),
        ("[]".into(), "'{'"),
        (r#"{"type":7}"#.into(), "\"type\" of a message must be a string"),
        (r#"{"type":"GET_RESULT"}"#.into(), "lacks data.arrayId"),
        (r#"{"type":"GET_RESULT","data":null}"#.into(), "lacks data.arrayId"),
        (r#"{"type":"GET_RESULT","data":{"arrayId":5}}"#.into(), "data.arrayId of GET_RESULT is not a string"),
        (r#"{"type":"GET_RESULT","data":{"arrayId":"a"}} x"#.into(), "the end of the line"),
        (r#"{"type":"GET_RESULT","data":{"arrayId":"a"}"#.into(), "ends inside a message"),
        (r#"{"type":"GET_RESULT","data":{"arrayId":"a"#.into(), "ends inside a string"),
        (r#"{"type":"GET_RESULT","data":{"arrayId":"\ud83d"}}"#.into(), "cannot be read"),
        (r#"{"type":"GET_RESULT","data":{"arrayId":tru}}"#.into(), "'tru' is no JSON"),
        (r#"{"type":"GET_RESULT" "data":{}}"#.into(), "',' or '}'"),
        (r#"{type:"GET_RESULT"}"#.into(), "'\"'"),
        (r#"{"type":"REGISTER_WORKER","data":{"cores":"2","memory":1}}"#.into(), "cores"),
        (r#"{"type":"REGISTER_WORKER","data":{"cores":2,"memory":-1}}"#.into(), "whole number from 0"),
        (r#"{"type":"DISTRIBUTE_ARRAY","data":{"arrayId":"a","segmentId":0,"startIndex":0.5}}"#.into(), "whole number"),
        (with("[1,2,\"x\"]"), "values[2]"),
        (with("[1,null]"), "values[1]: 'null'"),
        (with("[1,true]"), "values[1]"),
        (with("[1,[2]]"), "values[1]"),
        (with("[1,{}]"), "values[1]"),
        (with("[1e999]"), "'1e999' is not a double"),
        (with("[01]"), "'01'"),
        (with("[1.]"), "'1.'"),
        (with("[.5]"), "'.5'"),
        (with("[+1]"), "'+1'"),
        (with("[-]"), "'-'"),
        (with("[inf]"), "'inf'"),
        (with("[0x10]"), "'0x10'"),
        (with("[1 2]"), "',' or ']'"),
        (with("[1,]"), "values[1]"),
        (with("[,]"), "values[0]"),
        (with("5"), "lacks data.values"),
        (with("\"abc\""), "lacks data.values"),
        (format!(r#"{{"type":"X","data":{}1{}}}"#, "[".repeat(40), "]".repeat(40)), "deeper than 32"),
        (format!(r#"{{"type":"{}"}}"#, "x".repeat(70_000)), "65536 bytes"),
        (with(&format!("[{}]", "1".repeat(2000))), "is not a double"),
    ] {
        let shown = &line[..line.len().min(80)];
        let message = refused(&line);
        assert!(message.contains(part), "{shown}: {message} lacks {part}");
    }
    let mut bytes = br#"{"type":"GET_RESULT","data":{"arrayId":""#.to_vec();
    bytes.extend([0xff, b'"', b'}', b'}', b'\n']);
    assert!(matches!(&read_all(&bytes, 3)[..], [Incoming::Refused(_)]), "not UTF-8");
}

#[test]
fn after_a_wrong_line_the_next_one_is_read() {
    let good = r#"{"type":"HEARTBEAT","data":{}}"#;
    let text = format!("nonsense {{\"\n\n\r\n{good}\r\n{{\"type\":\"X\",\"data\":[1,\n{good}\n{{}}\n{good}");
    for size in 1..50 {
        let found = read_all(text.as_bytes(), size);
        let kinds: Vec<bool> = found.iter().map(|incoming| matches!(incoming, Incoming::Line(_))).collect();
        assert_eq!(kinds, [false, true, false, true, false, true], "{size}");
    }
}

#[test]
fn a_heartbeat_inside_a_long_line_costs_that_line_only() {
    let result = LineWriter::new("SEGMENT_RESULT", "w", "master").text("arrayId", "s").doubles("data", &[1.5; 100]);
    let result = String::from_utf8(result.finish()).unwrap();
    let heartbeat = "{\"type\": \"HEARTBEAT\", \"data\": {}}\n";
    let torn = format!("{}{heartbeat}{}{heartbeat}", &result[..200], &result[200..]);
    let found = read_all(torn.as_bytes(), 64);
    assert!(matches!(&found[..], [Incoming::Refused(_), Incoming::Refused(_), Incoming::Line(_)]), "{found:?}");
}

#[test]
fn lists_that_mean_something_elsewhere_are_no_hindrance_and_are_paid_for() {
    let line =
        br#"{"type":"CREATE_ARRAY","data":{"result":[1],"values":[7,8],"arrayId":"a","data":[2],"dataType":"int"}}"#;
    let mut asked = Vec::new();
    let mut reader = LineReader::new(&line[..], LINE_BYTES_MAX);
    let found = reader.read(None, &mut |bytes| {
        asked.push(bytes);
        Ok(())
    });
    let Ok(Some(Incoming::Line(line))) = found else { panic!("{found:?}") };
    let expected = Body::CreateArray { array_id: "a".into(), data_type: "int".into(), values: vec![7.0, 8.0] };
    assert_eq!(line.into_body().unwrap(), expected);
    assert_eq!(asked, [8192, 2 * 8192, 3 * 8192], "all of them at once");
}

#[test]
fn a_line_has_a_limit_and_a_list_has_a_grant() {
    let line = LineWriter::new("CREATE_ARRAY", "c", "m").text("arrayId", "a").text("dataType", "double");
    let line = line.doubles("values", &[0.123456789; 100_000]).finish();
    let mut reader = LineReader::new(&line[..], 1_000_000);
    let found = reader.read(None, &mut |_| Ok(())).unwrap();
    assert!(matches!(found, Some(Incoming::TooLong(error)) if error.code == ErrorCode::TooLarge));

    let mut asked = Vec::new();
    let mut grant = |bytes| {
        asked.push(bytes);
        match bytes > 100_000 {
            true => Err(protocol::WireError::new(ErrorCode::InsufficientMemory, "full")),
            false => Ok(()),
        }
    };
    let two = [&line[..], b"{\"type\":\"HEARTBEAT\"}\n"].concat();
    let mut reader = LineReader::new(&two[..], LINE_BYTES_MAX);
    let found = reader.read(None, &mut grant).unwrap();
    assert!(matches!(found, Some(Incoming::Refused(error)) if error.code == ErrorCode::InsufficientMemory));
    assert!(matches!(reader.read(None, &mut grant).unwrap(), Some(Incoming::Line(_))), "the next line is read");
    assert_eq!(asked, [8192, 16384, 32768, 65536, 131072]);
}

#[test]
fn who_has_no_memory_for_a_segment_knows_which_one_it_is() {
    let line = LineWriter::new("DISTRIBUTE_ARRAY", "m", "w").doubles("data", &[0.5; 3000]).text("arrayId", "a");
    let line = line.integer("segmentId", 334).integer("startIndex", 334).integer("endIndex", 3334);
    let line = line.text("dataType", "double").flag("isPrimary", true).finish();
    let two = [&line[..], b"{\"type\":\"HEARTBEAT\"}\n"].concat();
    for limit in [0, 8192, 16384] {
        let mut grant = |bytes| match bytes > limit {
            true => Err(protocol::WireError::new(ErrorCode::InsufficientMemory, "full")),
            false => Ok(()),
        };
        let mut reader = LineReader::new(&two[..], LINE_BYTES_MAX);
        let Ok(Some(Incoming::Line(found))) = reader.read(None, &mut grant) else { panic!("{limit}") };
        let Ok(Body::Segment(found)) = found.into_body() else { panic!("{limit}") };
        assert_eq!((found.array_id.as_str(), found.segment_id, found.end), ("a", 334.0, 3334));
        assert_eq!(found.values.unwrap_err().code, ErrorCode::InsufficientMemory);
        assert!(matches!(reader.read(None, &mut grant).unwrap(), Some(Incoming::Line(_))), "the next line is read");
    }
}

#[test]
fn an_int_is_an_int32() {
    assert_eq!(to_int32(&[3.0, -0.0, -2147483648.0, 2147483647.0]).unwrap(), [3, 0, i32::MIN, i32::MAX]);
    for (value, part) in [(1.9, "not a whole number"), (2147483648.0, "outside of int32"), (f64::NAN, "not a whole")] {
        let error = to_int32(&[0.0, value]).unwrap_err();
        assert!(error.message.contains(part) && error.message.contains("values[1]"), "{error}");
    }
}

proptest! {
    #[test]
    fn doubles_survive_the_line_bit_for_bit(bits in prop::collection::vec(any::<u64>(), 0..3000), size in 1_usize..5000) {
        let values: Vec<f64> = bits.into_iter().map(f64::from_bits).collect();
        let line = LineWriter::new("SEGMENT_RESULT", "w", "m").text("arrayId", "a").doubles("data", &values).finish();
        let Some(Incoming::Line(line)) = read_all(&line, size).pop() else { panic!() };
        let Ok(Body::SegmentResult { values: found, .. }) = line.into_body() else { panic!() };
        prop_assert_eq!(found.len(), values.len());
        for (found, value) in found.iter().zip(&values) {
            prop_assert!(found.to_bits() == value.to_bits() || found.is_nan() && value.is_nan());
        }
    }

    #[test]
    fn ints_survive_the_line(values in prop::collection::vec(any::<i32>(), 0..3000), size in 1_usize..5000) {
        let line = LineWriter::new("SEGMENT_RESULT", "w", "m").ints("data", &values).text("arrayId", "a").finish();
        let Some(Incoming::Line(line)) = read_all(&line, size).pop() else { panic!() };
        let Ok(Body::SegmentResult { values: found, .. }) = line.into_body() else { panic!() };
        prop_assert_eq!(to_int32(&found).unwrap(), values);
    }

    #[test]
    fn strings_survive_the_line(text in any::<String>(), size in 1_usize..50) {
        let line = LineWriter::new("GET_RESULT", "c", "m").text("arrayId", &text).finish();
        prop_assert!(line.is_ascii());
        let Some(Incoming::Line(line)) = read_all(&line, size).pop() else { panic!() };
        prop_assert_eq!(line.into_body().unwrap(), Body::GetResult { array_id: text });
    }

    #[test]
    fn garbage_is_refused_and_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), size in 1_usize..40) {
        read_all(&bytes, size);
    }

    #[test]
    fn broken_messages_never_panic(
        at in 0_usize..160, with in prop::collection::vec(any::<u8>(), 0..4), size in 1_usize..200,
    ) {
        let mut line = br#"{"type":"CREATE_ARRAY","from":"c","to":"m","timestamp":1,"data":{"arrayId":"a","dataType":"int","values":[1,-2.5,3e4,NaN],"x":[{"y":"\""}]}}"#.to_vec();
        let at = at.min(line.len());
        let end = (at + with.len()).min(line.len());
        line.splice(at..end, with);
        for incoming in read_all(&line, size) {
            if let Incoming::Line(line) = incoming {
                let _ = line.into_body();
            }
        }
    }
}

#[test]
fn a_number_is_too_long_however_it_arrives() {
    let line = |digits: usize| {
        format!(
            "{{\"type\":\"SEGMENT_RESULT\",\"data\":{{\"arrayId\":\"a\",\"data\":[0.{},1,2]}}}}\n",
            "1".repeat(digits)
        )
    };
    for size in [1, 7, 5000] {
        let accepted = |digits| matches!(read_all(line(digits).as_bytes(), size)[..], [Incoming::Line(_)]);
        assert_eq!([1000, 1098, 1099, 1200].map(accepted), [true, true, false, false], "{size} bytes at a time");
    }
}
