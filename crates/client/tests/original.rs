//! Level 1: the library and the program with masters of the original system, made of threads.

mod fake;

use client::{Cancel, Error, Master, Original};
use fake::original::{FakeOriginal, Flavour, Way};
use fake::{FakeMaster, Fault};
use protocol::ErrorCode;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Nothing here takes nearly as long, unless it never happens.
const PATIENCE: Duration = Duration::from_secs(20);

/// The deadline of what is to miss it.
const SHORT: Duration = Duration::from_millis(300);

// ---- the library ----

/// A Java master with [1, 2, 3] applied as `a`, and a way to it that remembers that.
fn stored() -> (Arc<FakeOriginal>, Original) {
    let fake = FakeOriginal::start(Flavour::Java);
    let master = Original::new(&fake.address.to_string()).with_timeout(PATIENCE);
    master.create_doubles("a", &[1.0, 2.0, 3.0]).unwrap();
    master.apply("a", "double").unwrap();
    (fake, master)
}

#[test]
fn arrays_go_in_and_results_come_out() {
    let (fake, master) = stored();
    assert_eq!(master.get("a").unwrap(), [2.0, 4.0, 6.0]);
    master.create_ints("größe", &[i32::MIN / 2, 0, 7]).unwrap();
    master.apply("größe", "double").unwrap();
    assert_eq!(master.get_ints("größe").unwrap(), [i32::MIN, 0, 14]);
    master.create_doubles("a", &[0.25]).unwrap();
    assert_eq!(master.get_ints("a").unwrap_err().code(), Some(ErrorCode::TypeMismatch));
    assert_eq!(master.created_names(), ["a", "größe"]);
    assert_eq!((fake.asked("CREATE_ARRAY"), fake.asked("GET_RESULT"), fake.asked("HELLO")), (3, 3, 0));
}

#[test]
fn a_reply_may_come_in_pieces() {
    let (fake, master) = stored();
    fake.next(Way::Dripping);
    assert_eq!(master.get("a").unwrap(), [2.0, 4.0, 6.0]);
}

#[test]
fn what_never_ends_or_never_comes_ends_with_the_deadline() {
    let (fake, master) = stored();
    for way in [Way::Endless, Way::Silent] {
        fake.next(way.clone());
        let begun = Instant::now();
        let error = master.with_timeout(SHORT).get("a").unwrap_err();
        assert!(matches!(error, Error::DeadlineExceeded { .. }), "{way:?}: {error}");
        assert!(SHORT <= begun.elapsed() && begun.elapsed() < PATIENCE, "{way:?}");
    }
    assert_eq!(master.get("a").unwrap(), [2.0, 4.0, 6.0], "the next call is not concerned");
}

#[test]
fn a_part_is_not_the_result() {
    let (fake, master) = stored();
    fake.next(Way::Short);
    let error = master.get("a").unwrap_err();
    assert!(error.to_string().contains("it calls 2 elements complete where 3 were stored"), "{error}");
    fake.next(Way::Short);
    let somebody_else = Original::new(&fake.address.to_string());
    assert_eq!(somebody_else.get("a").unwrap(), [2.0, 4.0], "who has not stored it cannot know");
}

#[test]
fn what_is_no_result_says_why() {
    let (fake, master) = stored();
    assert_eq!(master.get("nobody").unwrap_err().code(), Some(ErrorCode::UnknownArray));
    fake.next(Way::Instead(json!({"status": "error", "code": "TypeMismatch", "result": "no"}).to_string()));
    assert_eq!(master.apply("a", "example2").unwrap_err().code(), Some(ErrorCode::TypeMismatch));
    fake.next(Way::Closed);
    let closed = master.create_ints("b", &[1]).unwrap_err().to_string();
    assert!(closed.contains("it closed the connection without a reply, as original masters do"), "{closed}");
    for (reply, why) in [
        (r#"{"status":"created","arrayId":"other"}"#, r#"its reply is about "other""#),
        (r#"{"status":"processing","arrayId":"b"}"#, "its reply has status \"processing\""),
        (r#"{"status":3}"#, "data.status of OPERATION_COMPLETE is not a string"),
    ] {
        fake.next(Way::Instead(reply.to_string()));
        let error = master.create_ints("b", &[1]).unwrap_err().to_string();
        assert!(error.contains(why), "{reply}: {error}");
    }
    assert_eq!(master.created("b"), None);
    let python = FakeOriginal::start(Flavour::Python);
    let error = Original::new(&python.address.to_string()).get("a").unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Unsupported));
    assert!(error.to_string().contains("\"Operation completed successfully\""), "{error}");
}

#[test]
fn a_cancelled_call_ends_at_once() {
    let (fake, master) = stored();
    fake.next(Way::Silent);
    let cancel = Cancel::default();
    let waiting = master.with_cancel(&cancel);
    let call = std::thread::spawn(move || waiting.get("a"));
    let begun = Instant::now();
    while fake.asked("GET_RESULT") == 0 {
        assert!(begun.elapsed() < PATIENCE, "it is not asked");
        std::thread::sleep(Duration::from_millis(2));
    }
    cancel.cancel();
    assert!(matches!(call.join().unwrap(), Err(Error::Cancelled { .. })));
    assert!(begun.elapsed() < PATIENCE);
    let nobody = Original::new("127.0.0.1:1").with_cancel(&cancel);
    assert!(matches!(nobody.get("a"), Err(Error::Cancelled { .. })));
    assert!(matches!(Original::new("127.0.0.1:1").with_timeout(SHORT).get("a"), Err(Error::Unreachable { .. })));
}

#[test]
fn who_is_there_answers() {
    for flavour in [Flavour::Java, Flavour::Python] {
        Original::new(&FakeOriginal::start(flavour).address.to_string()).ping().unwrap();
    }
    let nobody = Original::new("127.0.0.1:1").with_timeout(SHORT).ping().unwrap_err();
    assert!(matches!(&nobody, Error::Unreachable { why, .. } if why.contains("connection refused")), "{nobody}");
}

fn connect_any(address: SocketAddr) -> Result<Master, Error> {
    client::Cluster::builder().masters(&address.to_string()).connect_any()
}

#[test]
fn a_master_of_ours_is_not_mistaken_for_an_original_one() {
    // Ours stand still, or are killed again and again; so do original ones, to anybody who says HELLO.
    for (fault, times) in [(Fault::Hang, 2), (Fault::CutBefore, 8)] {
        let ours = FakeMaster::start(0);
        (0..times).for_each(|_| ours.faults.add("HELLO", fault));
        assert!(matches!(connect_any(ours.address), Ok(Master::Cluster(_))), "{fault:?}");
        assert_eq!(ours.faults.left(), 0, "{fault:?}");
    }
    for flavour in [Flavour::Java, Flavour::Python] {
        let original = FakeOriginal::start(flavour);
        assert!(matches!(connect_any(original.address), Ok(Master::Original(_))), "{flavour:?}");
    }
}

#[test]
fn a_master_of_ours_that_answers_is_asked_nothing_else() {
    let ours = FakeMaster::start(0);
    assert!(matches!(connect_any(ours.address), Ok(Master::Cluster(_))));
    let asked: Vec<_> = ours.asked.lock().unwrap().iter().map(|message| message.body.kind()).collect();
    assert_eq!(asked, ["HELLO", "STATUS"]);
}

// ---- the program ----

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn run(master: SocketAddr, line: &str, input: &str) -> Ran {
    use std::io::Write;
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.args(line.split_whitespace()).env("DARRAY_MASTER", master.to_string()).env_remove("RUST_LOG");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes()); // not everybody wants it
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn an_original_master_is_found_by_itself_and_named_once() {
    let fake = FakeOriginal::start(Flavour::Java);
    let ran = run(fake.address, "", "create a --dtype int\ncreate-int a 3 --seed 1\napply a example2\nget a\nlist\n");
    assert_eq!(ran.code, 2, "{}", ran.err);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(lines[0].starts_with("a: 3 elements of int32, 12 B, in "), "{}", ran.out);
    assert_eq!(lines[1], "a: example2 on 'a' is processing; `get a` waits for its result");
    assert_eq!(lines[2], "a, a result: 3 elements of int32");
    assert!(lines[3].starts_with('[') && !lines[3].contains('.'), "{}", ran.out);
    assert_eq!(ran.err.matches(&format!("the master at {} speaks level 1 only", fake.address)).count(), 1);
    assert!(ran.err.contains("error: list needs level 2; the master at "), "{}", ran.err);
    let python = FakeOriginal::start(Flavour::Python);
    let ran = run(python.address, "get a", "");
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("speaks level 1 only") && ran.err.contains("gives no results"), "{}", ran.err);
}

#[test]
fn levels_that_are_named_are_kept_to() {
    let fake = FakeOriginal::start(Flavour::Java);
    let ran = run(fake.address, "--level 1 create-double a 3 --seed 1 --replace", "");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(fake.asked("HELLO"), 0);
    let ran = run(fake.address, "--level 2 --timeout 1.5 list", "");
    assert_eq!(ran.code, 3);
    assert_eq!(fake.asked("GET_RESULT"), 0, "nobody has asked which level it is");
    let ours = FakeMaster::start(0);
    let ran = run(ours.address, "", "list\n--level 1 --timeout 0.3 get a\nlist\n");
    assert_eq!((ran.code, ran.out.as_str()), (1, "no arrays\nno arrays\n"), "{}", ran.err);
}

#[test]
fn what_level_1_does_not_have_is_refused_before_anybody_is_asked() {
    let fake = FakeOriginal::start(Flavour::Java);
    for (line, what) in [
        ("status", "status"),
        ("delete a", "delete"),
        ("apply a example1 --into b", "--into"),
        ("get a@v1", "'a@v1'"),
        ("get a --array", "--array"),
        ("get a --range 0:1", "--range"),
    ] {
        let ran = run(fake.address, &format!("--level 1 {line}"), "");
        assert_eq!(ran.code, 2, "{line}: {}", ran.err);
        assert!(ran.err.starts_with(&format!("error: {what}")) && ran.err.contains("needs level 2"), "{}", ran.err);
    }
    assert_eq!(fake.asked("GET_RESULT"), 0);
    for (input, why) in [("1,2\n3,4\n", "it has 2 dimensions"), ("true\nfalse\n", "it is bool")] {
        let dtype = if why.contains("bool") { "--dtype bool" } else { "" };
        let ran = run(fake.address, &format!("--level 1 create m - {dtype} --format csv"), input);
        assert_eq!(ran.code, 1, "{}", ran.err);
        assert!(ran.err.contains("'m' cannot be stored") && ran.err.contains(why), "{}", ran.err);
    }
    assert_eq!(fake.asked("CREATE_ARRAY"), 0);
}

#[test]
fn programs_and_files_get_results_too() {
    let fake = FakeOriginal::start(Flavour::Java);
    let directory = tempfile::tempdir().unwrap();
    let one = |line: &str, input: &str| -> Value {
        let ran = run(fake.address, &format!("--level 1 --json {line}"), input);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{line}");
        serde_json::from_str(&ran.out).unwrap()
    };
    let created = one("create a", "[1.0, 2.0, 2000.0]");
    assert_eq!(
        (&created["array_id"], &created["status"], &created["shape"], &created["dtype"]),
        (&json!("a"), &json!("created"), &json!([3]), &json!("float64"))
    );
    assert!(created["handle"].is_null() && created["elapsed_ms"].is_u64(), "{created}");
    assert_eq!(one("apply a example1 --no-wait", ""), json!({"array_id": "a", "status": "processing"}));
    let expected = |dtype: &str, data: Value| json!({"name": "a", "handle": null, "source": "result", "dtype": dtype, "shape": [3], "data": data});
    assert_eq!(one("get a", ""), expected("float64", json!([2.0, 4.0, 4000.0])));
    assert_eq!(one("get a --dtype int", ""), expected("int32", json!([2, 4, 4000])));
    for (name, dtype) in [("a.npy", "int"), ("a.csv", "double"), ("a.json", "int")] {
        let path = directory.path().join(name);
        one(&format!("get a --dtype {dtype} --out {}", path.display()), "");
        let copied = one(&format!("create b {} --dtype {dtype}", path.display()), "");
        assert_eq!(copied["shape"], json!([3]), "{name}");
        one("apply b example1", "");
        assert_eq!(one("get b --dtype int", "")["data"], json!([4, 8, 8000]), "{name}");
    }
    let ran = run(fake.address, "--level 1 --json get nobody", "");
    let error: Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!((ran.code, &error["error"]["code"]), (1, &json!("UnknownArray")));
}

#[test]
fn a_short_complete_is_an_error_to_whoever_has_stored_it() {
    let fake = FakeOriginal::start(Flavour::Java);
    let ran = run(fake.address, "--level 1", "create-double a 2000 --seed 1\napply a example1\nget a\n");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains(" ... "), "long arrays are shortened: {}", ran.out);
    [Way::Dripping, Way::Dripping, Way::Short].into_iter().for_each(|way| fake.next(way));
    let ran = run(fake.address, "--level 1", "create-double a 20 --seed 1\napply a example1\nget a\nget a\n");
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("it calls 19 elements complete where 20 were stored"), "{}", ran.err);
    assert!(ran.out.contains("a, a result: 20 elements of float64"), "the next is whole: {}", ran.out);
}
