//! Bad input, sent over plain sockets to real processes. Each case is a test of its own and states the answer: which
//! code, which words, and whether the connection goes on. Silence is never one.
//!
//! All cases of a kind share a cluster, and run at the same time. So none leaves anything behind, and each ends with
//! the same question: does the cluster still give the right values, on both levels, with all its processes alive?
//!
//! | cluster | what for |
//! |---|---|
//! | [`SHARED`] | everything that a client may send, to the master and to the data ports of two workers |
//! | [`LONELY`] | a master without workers, which takes short lines only |
//! | [`GUESTS`] | one worker, and bad ones that join it, one case after the other |

use client::Cluster;
use protocol::ErrorCode;
use protocol::message::client::WorkerState;
use serde_json::{Value, json};
use std::net::TcpStream;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tests::harness::oracle::{Numbers, check_example1, check_example2, example1};
use tests::harness::raw::{ANSWER, Raw};
use tests::harness::wait::until;
use tests::harness::{Processes, Setup};

// ---- clusters ----

static SHARED: LazyLock<Target> = LazyLock::new(|| {
    let target = Target::start(Setup::new().workers(2));
    target.client.create("ints", &[1, 2, 3]).unwrap();
    target.client.create("doubles", &[1.0, 2.0, 3.0]).unwrap();
    target
});

static LONELY: LazyLock<Target> =
    LazyLock::new(|| Target::start(Setup::new().workers(0).master_flags("--line-max 1M")));

static GUESTS: LazyLock<Mutex<Target>> = LazyLock::new(|| Mutex::new(Target::start(Setup::new().workers(1))));

/// The longest line of level 1 that [`LONELY`] takes.
const LINE_MAX: usize = 1 << 20;

/// A cluster that bad input is sent to.
struct Target {
    processes: Mutex<Processes>,
    /// HOST:PORT of the master.
    master: String,
    /// A good client.
    client: Cluster,
}

impl Target {
    fn start(setup: Setup) -> Target {
        let processes = setup.start();
        let (master, client) = (processes.master_address().to_string(), processes.connect().with_timeout(ANSWER));
        Target { processes: Mutex::new(processes), master, client }
    }

    /// A case that failed has done nothing to the list of processes.
    fn processes(&self) -> MutexGuard<'_, Processes> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// HOST:PORT of the data port of a worker of ours.
    fn data_port(&self) -> String {
        self.client.workers().unwrap().remove(0).address
    }

    /// Asks what is asked after each case. `case` is the name of what is stored for it, so that no other case has it.
    fn check(&self, case: &str) {
        serve_at_level_1(&mut Raw::connect(&self.master), case);
        let name = format!("{case}/2");
        let values = [0.5, -2.0, 1e10];
        self.client.create(&name, &values).unwrap();
        let done = self.client.apply(&name, "example1").unwrap();
        check_example1(&values, &self.client.get(&done.handle).unwrap()).unwrap();
        self.client.delete(&name).unwrap();
        self.client.delete(case).unwrap();
        self.processes().check();
    }

    /// The same of a cluster without workers, which can do it with nothing.
    fn check_without_workers(&self, case: &str) {
        let mut peer = Raw::connect(&self.master);
        assert_eq!(answer(&mut peer, &create(case, "int", "[]"))["status"], "created");
        assert_eq!(answer(&mut peer, &apply(case, "example2"))["status"], "processing");
        assert_eq!(answer(&mut peer, &get(case))["result"], json!([]));
        assert!(self.client.get::<i32>(case).unwrap().is_empty());
        self.client.delete(case).unwrap();
        self.processes().check();
    }
}

/// Shows the logs when a case fails: the clusters outlive it.
struct ShowLogs<'a>(&'a Target);

impl Drop for ShowLogs<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.processes().show_logs();
        }
    }
}

// ---- level 1 ----

fn request(kind: &str, data: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"from\":\"case\",\"to\":\"master\",\"timestamp\":1,\"data\":{data}}}")
}

fn create(array_id: &str, data_type: &str, values: &str) -> String {
    request("CREATE_ARRAY", &format!("{{\"arrayId\":\"{array_id}\",\"dataType\":\"{data_type}\",\"values\":{values}}}"))
}

fn apply(array_id: &str, operation: &str) -> String {
    request("APPLY_OPERATION", &format!("{{\"arrayId\":\"{array_id}\",\"operation\":\"{operation}\"}}"))
}

fn get(array_id: &str) -> String {
    request("GET_RESULT", &format!("{{\"arrayId\":\"{array_id}\"}}"))
}

/// A worker of the original protocol introduces itself.
fn register(worker: &str, data: &str) -> String {
    format!("{{\"type\":\"REGISTER_WORKER\",\"from\":\"{worker}\",\"to\":\"master\",\"timestamp\":1,\"data\":{data}}}")
}

/// The next reply line of a master: the whole of it, as JSON.
fn reply(peer: &mut Raw) -> Value {
    let line = peer.line().expect("an answer, and not a close without a word");
    let reply: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e} in {line}"));
    assert_eq!((&reply["type"], &reply["from"]), (&json!("OPERATION_COMPLETE"), &json!("master")), "{reply}");
    reply
}

/// Sends a request, and gives what the answer says.
fn answer(peer: &mut Raw, request: &str) -> Value {
    peer.send(format!("{request}\n"));
    reply(peer)["data"].take()
}

/// The next line refuses something, for this reason.
fn check_refusal(peer: &mut Raw, code: ErrorCode, text: &str) {
    let reply = reply(peer);
    let data = &reply["data"];
    assert_eq!((&data["status"], &data["code"]), (&json!("error"), &json!(code.to_string())), "{reply}");
    let result = data["result"].as_str().expect("a text");
    assert!(result.contains(text), "'{text}' is not in: {result}");
}

/// A good client on this connection.
fn serve_at_level_1(peer: &mut Raw, name: &str) {
    let created = answer(peer, &create(name, "int", "[3,4,-6,500]"));
    assert_eq!(created, json!({"arrayId": name, "status": "created"}));
    let begun = answer(peer, &apply(name, "example2"));
    assert_eq!(begun, json!({"arrayId": name, "status": "processing"}));
    let done = answer(peer, &get(name));
    assert_eq!(done, json!({"arrayId": name, "status": "complete", "result": [3, 4, 0, 6]}));
}

/// Stores an array.
fn stored(peer: &mut Raw, case: &str, data_type: &str, values: &str) {
    let created = answer(peer, &create(case, data_type, values));
    assert_eq!(created["status"], "created", "{created}");
}

/// One line that is refused. The next request on the connection is served, and there is no third answer.
fn refused_at_level_1(case: &str, line: Vec<u8>, code: ErrorCode, text: &str) {
    let cluster = &*SHARED;
    let _logs = ShowLogs(cluster);
    let mut peer = Raw::connect(&cluster.master);
    peer.send(&line);
    if !line.ends_with(b"\n") {
        peer.send("\n");
    }
    check_refusal(&mut peer, code, text);
    let served = format!("{case}/served");
    serve_at_level_1(&mut peer, &served);
    peer.half_close();
    assert_eq!(peer.line(), None, "one answer for each request, and no more");
    cluster.client.delete(&served).unwrap();
    cluster.check(case);
}

/// Cases of level 1: a line, the code, and a piece of the text.
macro_rules! refused_at_level_1 {
    ($($case:ident: $line:expr => $code:ident, $text:expr;)*) => {$(
        #[test]
        fn $case() {
            refused_at_level_1(stringify!($case), $line.into(), ErrorCode::$code, $text);
        }
    )*};
}

/// A case of its own on [`SHARED`], which is asked afterwards whether it is well.
fn on_shared(case: &str, body: impl FnOnce(&Target, &str)) {
    let cluster = &*SHARED;
    let _logs = ShowLogs(cluster);
    body(cluster, case);
    cluster.check(case);
}

macro_rules! on_shared {
    ($($(#[doc = $doc:expr])* $case:ident: $body:expr;)*) => {$(
        $(#[doc = $doc])*
        #[test]
        fn $case() {
            on_shared(stringify!($case), $body);
        }
    )*};
}

// ---- level 2 ----

/// What becomes of a connection after a refusal.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    Lives,
    Closes,
}
use Then::{Closes, Lives};

/// The next message refuses something, for this reason.
fn check_error(peer: &mut Raw, code: ErrorCode, text: &str) {
    let error = peer.message().line;
    assert_eq!((&error["type"], &error["data"]["code"]), (&json!("ERROR"), &json!(code.to_string())), "{error}");
    let message = error["data"]["message"].as_str().expect("a text");
    assert!(message.contains(text), "'{text}' is not in: {message}");
}

/// Something that is refused, and what becomes of the connection then.
fn check_refused(mut peer: Raw, bytes: &[u8], code: ErrorCode, text: &str, then: Then) {
    peer.send_what_is_taken(bytes);
    if !bytes.ends_with(b"\n") && then == Lives {
        peer.send("\n");
    }
    check_error(&mut peer, code, text);
    match then {
        Lives => assert_eq!(peer.ask("{\"type\":\"PING\",\"id\":4711}")["type"], "PONG"),
        Closes => peer.wait_end(),
    }
}

/// Cases behind a good HELLO to the master of [`SHARED`]: what is sent, the code, a piece of the text, and what becomes
/// of the connection.
macro_rules! refused_by_master {
    ($($case:ident: $bytes:expr => $code:ident, $text:expr, $then:expr;)*) => {$(
        #[test]
        fn $case() {
            on_shared(stringify!($case), |cluster, _| {
                let bytes: Vec<u8> = $bytes.into();
                let peer = Raw::connect_level_2(&cluster.master);
                check_refused(peer, &bytes, ErrorCode::$code, $text, $then);
            });
        }
    )*};
}

/// The same for the data port of a worker.
macro_rules! refused_by_worker {
    ($($case:ident: $bytes:expr => $code:ident, $text:expr, $then:expr;)*) => {$(
        #[test]
        fn $case() {
            on_shared(stringify!($case), |cluster, _| {
                let bytes: Vec<u8> = $bytes.into();
                let peer = Raw::connect_level_2(&cluster.data_port());
                check_refused(peer, &bytes, ErrorCode::$code, $text, $then);
            });
        }
    )*};
}

/// A request of level 2, with the newline.
fn ask(kind: &str, data: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"id\":1,\"data\":{data}}}\n")
}

/// CREATE_ARRAY of level 2.
fn plan(array_id: &str, dtype: &str, shape: &str) -> String {
    ask("CREATE_ARRAY", &format!("{{\"arrayId\":\"{array_id}\",\"dtype\":\"{dtype}\",\"shape\":{shape}}}"))
}

/// COMMIT_ARRAY, without the newline. Its number is used for nothing else that changes something.
fn commit(version: &Value, segments: Value) -> String {
    json!({"type": "COMMIT_ARRAY", "id": 3, "data": {"version": version, "segments": segments}}).to_string()
}

/// A segment of int8 that nobody has planned, and so many stated bytes of it.
fn unplanned(stated: u64, sent: &str) -> String {
    let payload = json!({"dtype": "int8", "bytes": stated, "crc32c": 0});
    let data = json!({"version": 77, "segment": 0, "ticket": "t"});
    format!("{}\n{sent}", json!({"type": "DISTRIBUTE_ARRAY", "id": 1, "payload": payload, "data": data}))
}

/// A registration on level 2, without the newline. `more` is put behind its other fields.
fn register_at_level_2(worker: &str, protocol: u32, more: &str) -> String {
    let fields =
        format!(r#""protocol":{protocol},"worker":"{worker}","incarnation":1,"address":"127.0.0.1:1","kernels":"k","#);
    let memory = u64::MAX;
    let hello = format!(r#"{{{fields}"memoryBytes":{memory},{more}}}"#);
    format!(r#"{{"type":"REGISTER_WORKER","data":{{"host":"h","port":1,"cores":1,"memory":1,"hello":{hello}}}}}"#)
}

/// The line that writes a segment of what was planned, with its payload.
fn distribute(plan: &Value, stated: usize, crc32c: u32, sent: &[u8]) -> Vec<u8> {
    let line = json!({
        "type": "DISTRIBUTE_ARRAY", "id": 2,
        "payload": {"dtype": "float64", "bytes": stated, "crc32c": crc32c},
        "data": {"version": plan["data"]["version"], "segment": 0, "ticket": plan["data"]["ticket"]},
    });
    [format!("{line}\n").as_bytes(), sent].concat()
}

/// An upload of three doubles that has got as far as its plan.
struct Upload {
    master: Raw,
    plan: Value,
    /// HOST:PORT of the worker to write to, and its name.
    address: String,
    worker: String,
}

impl Upload {
    fn begin(cluster: &Target, name: &str) -> Upload {
        let mut master = Raw::connect_level_2(&cluster.master);
        let data = format!("{{\"arrayId\":\"{name}\",\"dtype\":\"float64\",\"shape\":[3]}}");
        let plan = master.ask(ask("CREATE_ARRAY", &data).trim_end());
        assert_eq!(plan["type"], "WRITE_PLAN", "{plan}");
        let first = plan["data"]["segments"][0][1][0].as_u64().expect("an index") as usize;
        let worker = &plan["data"]["workers"][first];
        let text = |field: &str| worker[field].as_str().expect("a text").to_string();
        Upload { address: text("address"), worker: text("worker"), master, plan }
    }

    /// What an upload that something bad has happened to can still do: be written and be read.
    fn finish(mut self, bytes: &[u8]) -> Vec<u8> {
        let crc32c = array::checksum::crc32c(bytes);
        let mut worker = Raw::connect_level_2(&self.address);
        worker.send(distribute(&self.plan, bytes.len(), crc32c, bytes));
        let stored = worker.message().line;
        assert_eq!(stored["type"], "SEGMENT_STORED", "{stored}");
        let version = &self.plan["data"]["version"];
        let committed = self.master.ask(&commit(version, json!([[0, crc32c, [self.worker]]])));
        assert_eq!(committed["type"], "ARRAY_COMMITTED", "{committed}");
        worker
            .send(format!("{}\n", json!({"type": "GET_SEGMENT", "id": 4, "data": {"version": version, "segment": 0}})));
        worker.message().payload
    }
}

fn three_doubles() -> Vec<u8> {
    [1.0, f64::NAN, -0.0].iter().flat_map(|x: &f64| x.to_le_bytes()).collect()
}

fn nested(depth: usize) -> String {
    format!("{}1{}", "[".repeat(depth), "]".repeat(depth))
}

// ---- cases ----

/// Level 1: what is no message.
mod lines_of_level_1 {
    use super::*;

    refused_at_level_1! {
        no_fields_at_all: "{}" => Malformed, "no \"type\"";
        a_list: "[1,2]" => Malformed, "'[' where '{'";
        plain_words: "create-int a 5" => Malformed, "'c' where '{'";
        a_brace_alone: "{" => Malformed, "ends inside a message";
        a_nul: "\0" => Malformed, "'\\0' where '{'";
        a_nul_inside_a_string: get("a\0b") => Malformed, "cannot be read";
        a_byte_order_mark: format!("\u{feff}{}", get("ints")) => Malformed, "where '{'";
        bytes_that_are_not_utf8: [get("").as_bytes(), b"\xff\xfe\"}}"].concat() => Malformed, "end of the line";
        a_string_that_is_not_utf8: b"{\"type\":\"GET_RESULT\",\"data\":{\"arrayId\":\"\xff\"}}"
            => Malformed, "cannot be read";
        a_lone_surrogate: get("\\ud83d") => Malformed, "cannot be read";
        words_behind_the_message: format!("{} x", get("ints")) => Malformed, "'x' where the end of the line";
        two_messages_on_one_line: format!("{}{}", get("ints"), get("ints")) => Malformed, "end of the line";
        half_a_message: &get("ints")[..60] => Malformed, "ends inside";
        a_comma_too_many: "{\"type\":\"GET_RESULT\",}" => Malformed, "'\"'";
        single_quotes: "{'type':'GET_RESULT'}" => Malformed, "'\"'";
        depth_33: request("GET_RESULT", &format!("{{\"arrayId\":\"ints\",\"x\":{}}}", nested(33)))
            => Malformed, "deeper than 32";
        depth_100_000: request("GET_RESULT", &nested(100_000)) => Malformed, "deeper than 32";
        depth_100_000_outside_of_data: format!("{{\"x\":{}}}", nested(100_000)) => Malformed, "deeper than 32";
        a_huge_key: format!("{{\"{}\":1}}", "k".repeat(70_000)) => Malformed, "65536 bytes";
        a_huge_name: get(&"n".repeat(70_000)) => Malformed, "65536 bytes";
        a_type_that_is_a_number: r#"{"type":7,"data":{}}"# => Malformed, r#""type" of a message must be a string"#;
        a_type_that_is_empty: "{\"type\":\"\",\"data\":{}}" => Malformed, "no \"type\"";
        a_sender_that_is_a_number: r#"{"type":"GET_RESULT","from":1}"# => Malformed, r#""from" of a message"#;
        a_web_browser: "GET / HTTP/1.1" => Malformed, "'G' where '{'";
    }

    on_shared! {
        /// One message on two lines is two wrong messages.
        a_newline_in_the_middle: |cluster, _| {
            let mut peer = Raw::connect(&cluster.master);
            peer.send(get("in\nts") + "\n");
            check_refusal(&mut peer, ErrorCode::Malformed, "ends inside a string");
            check_refusal(&mut peer, ErrorCode::Malformed, "'t' where '{'");
            assert_eq!(answer(&mut peer, &get("ints"))["code"], "UnknownVersion");
        };
        /// Nothing is asked, so nothing is answered; what comes behind is.
        blank_lines: |cluster, case| {
            let mut peer = Raw::connect(&cluster.master);
            peer.send("\n\r\n   \n\t\n");
            serve_at_level_1(&mut peer, case);
            peer.send("\n \r\n");
            serve_at_level_1(&mut peer, case);
            peer.half_close();
            assert_eq!(peer.line(), None);
        };
        white_space_and_nothing_else: |cluster, _| {
            let mut peer = Raw::connect(&cluster.master);
            peer.send(" \n".repeat(100_000));
            peer.half_close();
            assert_eq!(peer.line(), None);
        };
        nothing_but_a_half_close: |cluster, _| {
            let mut peer = Raw::connect(&cluster.master);
            peer.half_close();
            assert_eq!(peer.line(), None);
        };
        carriage_returns: |cluster, case| {
            let mut peer = Raw::connect(&cluster.master);
            stored(&mut peer, case, "int", "[1]\r");
            assert_eq!(answer(&mut peer, &format!("{}\r", apply(case, "example2")))["status"], "processing");
            assert_eq!(answer(&mut peer, &format!("{}\r", get(case)))["result"], json!([1]));
        };
        one_byte_at_a_time: |cluster, case| {
            let mut peer = Raw::connect(&cluster.master);
            for line in [create(case, "double", "[-0.0, 1e2]"), apply(case, "example1"), get(case)] {
                line.bytes().for_each(|byte| peer.send([byte]));
                let said = answer(&mut peer, "");
                assert_ne!(said["status"], "error", "{said}");
            }
        };
        /// A reference master would never answer this one.
        no_newline_but_a_half_close: |cluster, _| {
            let mut peer = Raw::connect(&cluster.master);
            peer.send(get("ints"));
            peer.half_close();
            check_refusal(&mut peer, ErrorCode::UnknownVersion, "no operation has been applied to 'ints'");
            assert_eq!(peer.line(), None);
        };
        a_half_close_inside_a_message: |cluster, _| {
            let mut peer = Raw::connect(&cluster.master);
            peer.send(&get("ints")[..70]);
            peer.half_close();
            check_refusal(&mut peer, ErrorCode::Malformed, "ends inside");
            assert_eq!(peer.line(), None);
        };
        /// Of a field that comes twice the last one counts.
        fields_twice: |cluster, case| {
            let mut peer = Raw::connect(&cluster.master);
            let data = format!(
                r#"{{"arrayId":"x","arrayId":"{case}","dataType":"y","dataType":"int","values":[1],"values":[2,4]}}"#
            );
            let line = request("CREATE_ARRAY", &data).replacen('{', "{\"type\":\"DANCE\",", 1);
            assert_eq!(answer(&mut peer, &line), json!({"arrayId": case, "status": "created"}));
            assert_eq!(cluster.client.get::<i32>(case).unwrap(), [2, 4]);
        };
        /// Fields that nobody knows are ignored, whatever they look like.
        fields_nobody_knows: |cluster, case| {
            let mut peer = Raw::connect(&cluster.master);
            let data = format!(
                r#"{{"size":99,"x":{{"arrayId":[{{}}]}},"arrayId":"{case}","dataType":"int","values":[7],"y":null}}"#
            );
            let line = request("CREATE_ARRAY", &data).replacen('{', r#"{"extra":[{"type":"z"}],"#, 1);
            assert_eq!(answer(&mut peer, &line)["status"], "created");
            assert_eq!(cluster.client.get::<i32>(case).unwrap(), [7]);
        };
        /// These are lists in other messages; here they mean nothing.
        lists_of_other_messages: |cluster, case| {
            let mut peer = Raw::connect(&cluster.master);
            let data = format!(
                r#"{{"result":[1,2],"arrayId":"{case}","dataType":"int","values":[7],"data":[3]}}"#
            );
            let created = answer(&mut peer, &request("CREATE_ARRAY", &data));
            assert_eq!(created["status"], "created", "{created}");
            assert_eq!(cluster.client.get::<i32>(case).unwrap(), [7]);
        };
        a_million_keys: |cluster, _| {
            let mut peer = Raw::connect(&cluster.master);
            let keys: String = (0..1_000_000).map(|n| format!("\"k{n}\":{n},")).collect();
            let said = answer(&mut peer, &request("GET_RESULT", &format!("{{{keys}\"arrayId\":\"ints\"}}")));
            assert_eq!(said["code"], "UnknownVersion", "{said}");
        };
    }

    #[test]
    fn an_endless_line_is_told_the_limit_and_closed() {
        let cluster = &*LONELY;
        let _logs = ShowLogs(cluster);
        for beginning in ["", r#"{"type":"CREATE_ARRAY","data":{"values":["#, r#"{"type":"GET_RESULT","x":""#] {
            let mut peer = Raw::connect(&cluster.master);
            peer.send_what_is_taken(&[beginning.as_bytes(), &b"1,".repeat(4 * LINE_MAX)].concat());
            check_refusal(&mut peer, ErrorCode::TooLarge, &LINE_MAX.to_string());
            peer.wait_end();
        }
        cluster.check_without_workers("an_endless_line_is_told_the_limit_and_closed");
    }

    #[test]
    fn a_line_that_is_too_long_is_closed_though_it_ends() {
        let cluster = &*LONELY;
        let _logs = ShowLogs(cluster);
        let mut peer = Raw::connect(&cluster.master);
        let long = create("a", "int", &format!("[{}1]", "1,".repeat(LINE_MAX)));
        peer.send_what_is_taken(format!("{long}\n{}\n", get("a")).as_bytes());
        check_refusal(&mut peer, ErrorCode::TooLarge, &LINE_MAX.to_string());
        peer.wait_end();
        cluster.check_without_workers("a_line_that_is_too_long_is_closed_though_it_ends");
    }
}

/// Level 1: messages that lack something, or have it wrong.
mod requests_of_level_1 {
    use super::*;

    refused_at_level_1! {
        an_unknown_type: request("DANCE", "{}") => UnknownType, "'DANCE'";
        a_type_of_nobody: request("NODE_FAILURE", "{}") => UnknownType, "'NODE_FAILURE'";
        a_long_unknown_type: request(&"T".repeat(5000), "{}") => UnknownType, "TTT";
        a_request_of_level_2: request("LIST_ARRAYS", "{}") => UnknownType, "begin the connection with HELLO";
        a_hello_without_a_role: request("WORKER_STATUS", r#"{"hello":1}"#) => UnknownType, "'WORKER_STATUS'";
        a_heartbeat_of_nobody: request("HEARTBEAT", "{}") => NotAllowed, "begin with HEARTBEAT";
        a_result_of_nobody: request("SEGMENT_RESULT", r#"{"arrayId":"seg1","data":[1]}"#)
            => NotAllowed, "SEGMENT_RESULT";
        a_shutdown_by_a_client: request("SHUTDOWN", "{}") => NotAllowed, "begin with SHUTDOWN";
        a_reply_to_the_master: request("OPERATION_COMPLETE", r#"{"status":"created"}"#)
            => NotAllowed, "OPERATION_COMPLETE";
        a_segment_for_the_master: request("PROCESS_SEGMENT", r#"{"arrayId":"a","operation":"example1"}"#)
            => NotAllowed, "PROCESS_SEGMENT";
        no_data: "{\"type\":\"GET_RESULT\"}" => Malformed, "lacks data.arrayId";
        data_that_is_null: request("GET_RESULT", "null") => Malformed, "lacks data.arrayId";
        data_that_is_a_list: request("GET_RESULT", "[1]") => Malformed, "lacks data.arrayId";
        data_that_is_a_string: request("GET_RESULT", "\"ints\"") => Malformed, "lacks data.arrayId";
        an_array_id_that_is_a_number: request("GET_RESULT", r#"{"arrayId":5}"#)
            => Malformed, "data.arrayId of GET_RESULT is not a string";
        an_array_id_that_is_null: request("GET_RESULT", r#"{"arrayId":null}"#)
            => Malformed, "data.arrayId of GET_RESULT is not a string";
        an_array_id_that_is_a_list: request("GET_RESULT", r#"{"arrayId":["a"]}"#) => Malformed, "data.arrayId";
        an_operation_that_is_a_number: request("APPLY_OPERATION", r#"{"arrayId":"ints","operation":2}"#)
            => Malformed, "data.operation";
        no_operation: request("APPLY_OPERATION", r#"{"arrayId":"ints"}"#) => Malformed, "lacks data.operation";
        no_values: request("CREATE_ARRAY", r#"{"arrayId":"a","dataType":"int"}"#) => Malformed, "data.values";
        no_data_type: request("CREATE_ARRAY", r#"{"arrayId":"a","values":[]}"#) => Malformed, "data.dataType";
        values_that_are_a_string: create("a", "int", "\"1,2\"") => Malformed, "data.values";
        values_that_are_null: create("a", "int", "null") => Malformed, "data.values";
        values_that_are_an_object: create("a", "int", "{\"0\":1}") => Malformed, "data.values";
        values_that_are_a_number: create("a", "int", "5") => Malformed, "data.values";
        a_string_in_values: create("a", "double", "[1,\"2\"]") => Malformed, "values[1]";
        a_null_in_values: create("a", "double", "[1,2,null]") => Malformed, "values[2]: 'null'";
        a_flag_in_values: create("a", "int", "[true]") => Malformed, "values[0]: 'true'";
        a_list_in_values: create("a", "int", "[1,[2]]") => Malformed, "values[1]";
        an_object_in_values: create("a", "int", "[{}]") => Malformed, "values[0]";
        a_data_type_that_is_none: create("a", "float", "[1]") => TypeMismatch, "dataType 'float'";
        a_data_type_in_capitals: create("a", "INT", "[1]") => TypeMismatch, "dataType 'INT'";
        a_dtype_of_level_2: create("a", "int32", "[1]") => TypeMismatch, "dataType 'int32'";
        an_unknown_array_at_apply: apply("nobody", "example2") => UnknownArray, "'nobody'";
        an_unknown_array_at_get: get("nobody") => UnknownArray, "'nobody'";
        a_version_there_never_was: get("ints@v999999") => UnknownVersion, "999999";
        a_result_of_no_operation: get("ints") => UnknownVersion, "no operation has been applied to 'ints'";
        an_unknown_operation: apply("ints", "example3") => UnknownOperation, "example3";
        an_operation_on_the_wrong_ints: apply("ints", "example1") => TypeMismatch, "example1";
        an_operation_on_the_wrong_doubles: apply("doubles", "example2") => TypeMismatch, "example2";
        an_empty_operation: apply("ints", "") => UnknownOperation, "''";
        a_registration_without_cores: register("g", r#"{"memory":512}"#) => Malformed, "lacks data.cores";
        a_registration_with_textual_cores: register("g", r#"{"cores":"2","memory":512}"#)
            => Malformed, "data.cores of REGISTER_WORKER";
        a_registration_with_half_a_core: register("g", r#"{"cores":1.5,"memory":512}"#) => Malformed, "data.cores";
        a_registration_with_negative_memory: register("g", r#"{"cores":2,"memory":-1}"#) => Malformed, "data.memory";
        a_registration_without_memory: register("g", r#"{"cores":2}"#) => Malformed, "lacks data.memory";
    }

    /// What becomes of the line that registers a worker under a name that cannot be one: an answer, then the end.
    fn registration_is_closed(case: &str, line: &str) {
        on_shared(case, |cluster, _| {
            let mut peer = Raw::connect(&cluster.master);
            peer.send(format!("{line}\n{}\n", request("HEARTBEAT", "{}")));
            check_refusal(&mut peer, ErrorCode::InvalidName, "worker");
            peer.wait_end();
        });
    }

    #[test]
    fn a_worker_without_a_name() {
        let line = "{\"type\":\"REGISTER_WORKER\",\"data\":{\"cores\":2,\"memory\":512}}";
        registration_is_closed("a_worker_without_a_name", line);
    }

    #[test]
    fn a_worker_with_a_space_in_its_name() {
        let line = register("my worker", "{\"cores\":2,\"memory\":512}");
        registration_is_closed("a_worker_with_a_space_in_its_name", &line);
    }

    on_shared! {
        several_requests_in_one_write: |cluster, case| {
            let mut peer = Raw::connect(&cluster.master);
            let name = format!("{case}/many");
            let lines = [create(&name, "int", "[6]"), apply(&name, "example2"), "nonsense".into(), get(&name)];
            peer.send(lines.join("\n") + "\n");
            assert_eq!(reply(&mut peer)["data"]["status"], "created");
            assert_eq!(reply(&mut peer)["data"]["status"], "processing");
            check_refusal(&mut peer, ErrorCode::Malformed, "'n'");
            assert_eq!(reply(&mut peer)["data"]["result"], json!([3]));
            cluster.client.delete(&name).unwrap();
        };
        /// The master forgets nothing of what was asked by somebody who does not wait for the answer.
        a_client_that_closes_without_reading: |cluster, case| {
            let name = format!("{case}/left");
            stored(&mut Raw::connect(&cluster.master), &name, "int", "[6]");
            for _ in 0..20 {
                let peer = Raw::connect(&cluster.master);
                peer.send(format!("{}\n{}\n", apply(&name, "example2"), get(&name)));
            }
            let mut peer = Raw::connect(&cluster.master);
            assert_eq!(answer(&mut peer, &apply(&name, "example2"))["status"], "processing");
            assert_eq!(answer(&mut peer, &get(&name))["result"], json!([3]));
            cluster.client.delete(&name).unwrap();
        };
        /// Whoever reads sees all of one, and every answer is one of the right ones.
        two_clients_at_once_on_one_id: |cluster, case| {
            let run = |x: i32| {
                let mut peer = Raw::connect(&cluster.master);
                for _ in 0..10 {
                    stored(&mut peer, case, "int", &format!("[{x},{x},{x}]"));
                    let begun = answer(&mut peer, &apply(case, "example2"));
                    assert!(begun["status"] == "processing" || begun["code"] == "Cancelled", "{begun}");
                    let done = answer(&mut peer, &get(case));
                    let allowed = [json!([1, 1, 1]), json!([2, 2, 2])];
                    // The other one may replace the array at any time, and its results go with it.
                    let replaced = ["UnknownVersion", "UnknownArray", "Cancelled"].map(Value::from);
                    assert!(allowed.contains(&done["result"]) || replaced.contains(&done["code"]), "{done}");
                }
            };
            thread::scope(|scope| {
                scope.spawn(|| run(1));
                scope.spawn(|| run(2));
            });
        };
        an_id_again_with_another_type: |cluster, case| {
            let mut peer = Raw::connect(&cluster.master);
            stored(&mut peer, case, "int", "[6]");
            assert_eq!(answer(&mut peer, &apply(case, "example2"))["status"], "processing");
            assert_eq!(answer(&mut peer, &get(case))["result"], json!([3]));
            stored(&mut peer, case, "double", "[1.0]");
            assert_eq!(answer(&mut peer, &get(case))["code"], "UnknownVersion", "results go with their array");
            assert_eq!(answer(&mut peer, &apply(case, "example2"))["code"], "TypeMismatch");
            assert_eq!(answer(&mut peer, &apply(case, "example1"))["status"], "processing");
            assert_eq!(answer(&mut peer, &get(case))["result"], json!([0.954648713412841]));
        };
        /// `p` beside `p_1`, and a user's array that is called as original workers call their results.
        ids_with_underscores: |cluster, case| {
            let mut peer = Raw::connect(&cluster.master);
            let names = [format!("{case}_"), format!("{case}_1"), format!("{case}_1_2"), format!("{case}_result")];
            for (name, value) in names.iter().zip([3, 4, 500, 6]) {
                stored(&mut peer, name, "int", &format!("[{value}]"));
            }
            stored(&mut peer, case, "int", "[1000]");
            for name in names.iter().rev() {
                assert_eq!(answer(&mut peer, &apply(name, "example2"))["status"], "processing");
            }
            assert_eq!(answer(&mut peer, &apply(case, "example2"))["status"], "processing");
            for (name, result) in names.iter().zip([3, 4, 6, 3]) {
                assert_eq!(answer(&mut peer, &get(name))["result"], json!([result]), "{name}");
                cluster.client.delete(name).unwrap();
            }
            assert_eq!(answer(&mut peer, &get(case))["result"], json!([5]));
        };
        an_empty_array: |cluster, case| {
            let mut peer = Raw::connect(&cluster.master);
            for (data_type, operation) in [("int", "example2"), ("double", "example1")] {
                stored(&mut peer, case, data_type, "[]");
                assert_eq!(answer(&mut peer, &apply(case, operation))["status"], "processing");
                assert_eq!(answer(&mut peer, &get(case))["result"], json!([]));
            }
        };
        one_element: |cluster, case| {
            let mut peer = Raw::connect(&cluster.master);
            stored(&mut peer, case, "double", "[2.5]");
            assert_eq!(answer(&mut peer, &apply(case, "example1"))["status"], "processing");
            let done = answer(&mut peer, &get(case));
            check_example1(&[2.5], &[done["result"][0].as_f64().unwrap()]).unwrap();
        };
    }
}

/// Numbers, as text on level 1 and as JSON and bytes on level 2.
mod numbers {
    use super::*;

    refused_at_level_1! {
        a_double_beyond_doubles: create("a", "double", "[0,1e999]") => Malformed, "values[1]: '1e999'";
        a_number_in_hexadecimal: create("a", "int", "[0x10]") => Malformed, "values[0]: '0x10'";
        a_number_with_a_leading_zero: create("a", "int", "[1,01]") => Malformed, "values[1]: '01'";
        a_number_with_a_plus: create("a", "int", "[+1]") => Malformed, "values[0]: '+1'";
        a_number_without_an_end: create("a", "double", "[1.]") => Malformed, "values[0]: '1.'";
        a_number_of_2000_digits: create("a", "double", &format!("[{}]", "1".repeat(2000))) => Malformed, "values[0]";
        a_nan_in_small_letters: create("a", "double", "[nan]") => Malformed, "'nan'";
        an_int_above_int32: create("a", "int", "[1,2,2147483648]") => TypeMismatch, "values[2] = 2147483648";
        an_int_below_int32: create("a", "int", "[-2147483649]") => TypeMismatch, "values[0] = -2147483649";
        an_int_of_2_to_the_64: create("a", "int", "[18446744073709551616]") => TypeMismatch, "values[0]";
        an_int_with_a_fraction: create("a", "int", "[1,1.9]") => TypeMismatch, "values[1] = 1.9 is not a whole number";
        an_int_that_is_nan: create("a", "int", "[1,NaN]") => TypeMismatch, "values[1] = NaN";
        an_int_that_is_infinite: create("a", "int", "[-Infinity]") => TypeMismatch, "values[0] = -inf";
    }

    on_shared! {
        /// 3 and 3.0 are the same number, and so is 3e0.
        ints_written_as_doubles: |cluster, case| {
            stored(&mut Raw::connect(&cluster.master), case, "int", "[3.0,3e0,-0,-0.0,30E-1,2147483647.0,-2147483648]");
            assert_eq!(cluster.client.get::<i32>(case).unwrap(), [3, 3, 0, 0, 3, i32::MAX, i32::MIN]);
        };
        /// Every double survives being written: signed zeros, subnormals, the largest, and what JSON has no word for.
        doubles_at_the_edges: |cluster, case| {
            let values = "[-0,-0.0,5e-324,2.2250738585072011e-308,1.7976931348623157e308,9007199254740993,\
                18446744073709551616,NaN,Infinity,-Infinity,\"NaN\"]";
            stored(&mut Raw::connect(&cluster.master), case, "double", values);
            let found = cluster.client.get::<f64>(case).unwrap();
            let below_normal = 2.225_073_858_507_201e-308;
            let expected = [-0.0, -0.0, 5e-324, below_normal, f64::MAX, 9007199254740992.0, 18446744073709551616.0];
            let bits = |values: &[f64]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&found[..7]), bits(&expected));
            assert!(found[7].is_nan() && found[10].is_nan());
            assert_eq!(found[8..10], [f64::INFINITY, f64::NEG_INFINITY]);
        };
        /// What has no result that is a number is answered by the tokens of Python, in the reply of level 1 too.
        results_that_are_not_numbers: |cluster, case| {
            let mut peer = Raw::connect(&cluster.master);
            stored(&mut peer, case, "double", "[1.0,NaN,Infinity,-Infinity]");
            assert_eq!(answer(&mut peer, &apply(case, "example1"))["status"], "processing");
            peer.send(get(case) + "\n");
            let line = peer.line().unwrap();
            assert!(line.contains("\"result\":[0.954648713412841,NaN,NaN,NaN]"), "{line}");
        };
        /// Bytes are not looked at: NaNs keep their payload.
        nans_with_a_payload_bit_for_bit: |cluster, case| {
            let bits: [u64; 3] = [0x7ff0_0000_0000_0001, 0xfff8_dead_beef_0001, 0x000f_ffff_ffff_ffff];
            let bytes: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
            assert_eq!(Upload::begin(cluster, case).finish(&bytes), bytes);
        };
        zero_rows: |cluster, case| {
            let mut peer = Raw::connect_level_2(&cluster.master);
            let data = format!("{{\"arrayId\":\"{case}\",\"dtype\":\"int32\",\"shape\":[0,5]}}");
            let plan = peer.ask(ask("CREATE_ARRAY", &data).trim_end());
            assert_eq!(plan["data"]["segments"], json!([]), "{plan}");
            assert_eq!(peer.ask(&commit(&plan["data"]["version"], json!([])))["type"], "ARRAY_COMMITTED");
            assert!(cluster.client.get::<i32>(case).unwrap().is_empty());
        };
        /// A deadline of half a billion years is one.
        a_deadline_of_2_to_the_64: |cluster, _| {
            let mut peer = Raw::connect_level_2(&cluster.master);
            let apply = json!({"arrayId": "ints", "operation": "example2", "into": "a_deadline"});
            let line = json!({"type": "APPLY_OPERATION", "id": 1, "timeoutMs": u64::MAX, "data": apply});
            let said = peer.ask(&line.to_string());
            assert_eq!(said["type"], "OPERATION_COMPLETE", "{said}");
            cluster.client.delete("a_deadline").unwrap();
        };
        /// Who says that he has all answers with numbers below the largest has none left to ask for.
        acknowledged_below_2_to_the_64: |cluster, _| {
            let mut peer = Raw::connect_level_2(&cluster.master);
            let line = json!({"type": "DELETE_ARRAY", "id": 1, "ackedBelow": u64::MAX, "data": {"arrayId": "nobody"}});
            let said = peer.ask(&line.to_string());
            assert_eq!(said["data"]["code"], "UnknownArray", "{said}");
            assert_eq!(peer.ask("{\"type\":\"PING\",\"id\":2}")["type"], "PONG");
        };
    }

    refused_by_master! {
        a_shape_beyond_doubles: plan("a", "int32", "[1e999]") => Malformed, "CREATE_ARRAY", Lives;
        a_shape_with_minus_zero: plan("a", "int32", "[-0]") => Malformed, "CREATE_ARRAY", Lives;
        a_shape_with_a_fraction: plan("a", "int32", "[1.0]") => Malformed, "CREATE_ARRAY", Lives;
        a_negative_length: plan("a", "int32", "[-1]") => Malformed, "CREATE_ARRAY", Lives;
        a_length_of_2_to_the_64: plan("a", "int32", "[18446744073709551616]") => Malformed, "CREATE_ARRAY", Lives;
        a_length_of_2_to_the_53_and_1: plan("a", "int32", "[9007199254740993]") => TooLarge, "elements", Lives;
        a_shape_whose_product_overflows: plan("a", "int32", "[4294967296,4294967296]") => TooLarge, "elements", Lives;
        a_shape_of_65_dimensions:
            ask("CREATE_ARRAY", &format!("{{\"arrayId\":\"a\",\"dtype\":\"int32\",\"shape\":[{}1]}}", "1,".repeat(64)))
            => TooLarge, "64", Lives;
        a_dtype_there_is_not: plan("a", "float128", "[1]") => Malformed, "float128", Lives;
        an_upload_of_2_to_the_64: ask("COMMIT_ARRAY", r#"{"version":18446744073709551615,"segments":[]}"#)
            => UnknownUpload, "18446744073709551615", Lives;
        a_range_from_right_to_left: ask("GET_RESULT", r#"{"arrayId":"ints","range":[2,1]}"#)
            => OutOfRange, "ints", Lives;
        a_range_past_the_end: ask("GET_RESULT", r#"{"arrayId":"ints","range":[0,9007199254740993]}"#)
            => OutOfRange, "9007199254740993", Lives;
        a_request_number_above_2_to_the_53: r#"{"type":"PING","id":9007199254740993}"# => Malformed, "`id`", Lives;
        a_request_number_with_a_fraction: "{\"type\":\"PING\",\"id\":1.0}\n" => Malformed, "1.0", Closes;
        a_negative_request_number: "{\"type\":\"PING\",\"id\":-1}\n" => Malformed, "-1", Closes;
        an_epoch_beyond_2_to_the_64: "{\"type\":\"PING\",\"id\":1,\"epoch\":[18446744073709551616,0]}\n"
            => Malformed, "not a message", Closes;
    }

    refused_by_worker! {
        a_version_of_2_to_the_53_and_1: ask("GET_SEGMENT", r#"{"version":9007199254740993,"segment":0}"#)
            => NotHeld, "9007199254740993", Lives;
        a_segment_past_every_end: ask("GET_SEGMENT", r#"{"version":1,"segment":4294967295}"#)
            => NotHeld, "4294967295", Lives;
        a_segment_beyond_32_bits: ask("GET_SEGMENT", r#"{"version":1,"segment":4294967296}"#)
            => Malformed, "GET_SEGMENT", Lives;
        a_payload_of_negative_length:
            "{\"type\":\"PING\",\"id\":1,\"payload\":{\"dtype\":\"int8\",\"bytes\":-1,\"crc32c\":0}}\n"
            => Malformed, "-1", Closes;
        a_payload_of_2_to_the_64:
            "{\"type\":\"PING\",\"payload\":{\"dtype\":\"int8\",\"bytes\":18446744073709551616,\"crc32c\":0}}\n"
            => Malformed, "not a message", Closes;
    }
}

/// Level 2: what is no frame.
mod frames_of_level_2 {
    use super::*;

    /// A request whose data is in a JSON payload, and a newline.
    fn document(data: &[u8]) -> Vec<u8> {
        let payload = json!({"dtype": "json", "bytes": data.len(), "crc32c": array::checksum::crc32c(data)});
        let line = json!({"type": "DESCRIBE_ARRAY", "id": 1, "payload": payload});
        [format!("{line}\n").as_bytes(), data, b"\n"].concat()
    }

    /// A line of this many bytes, with its newline.
    fn long_line(bytes: usize) -> String {
        let line = "{\"type\":\"PING\",\"id\":1,\"x\":\"\"}\n";
        line.replace("\"\"", &format!("\"{}\"", "x".repeat(bytes - line.len())))
    }

    refused_by_master! {
        a_header_of_one_byte_too_many: long_line(65_537) => TooLarge, "65536", Closes;
        a_header_without_an_end: "x".repeat(4 << 20) => TooLarge, "65536", Closes;
        a_header_that_is_no_message: "[1,2]\n" => Malformed, "not a message", Closes;
        a_header_of_nul: "\0\n" => Malformed, "not a message", Closes;
        a_header_with_a_byte_order_mark: "\u{feff}{\"type\":\"PING\",\"id\":1}\n" => Malformed, "not a message", Closes;
        a_header_that_is_not_utf8: b"{\"type\":\"PING\",\"x\":\"\xff\"}\n" => Malformed, "UTF-8", Closes;
        a_header_with_a_lone_surrogate: "{\"type\":\"PING\",\"id\":1,\"from\":\"\\ud800\"}\n"
            => Malformed, "not a message", Closes;
        a_header_with_a_field_twice: "{\"type\":\"PING\",\"type\":\"STATUS\",\"id\":1}\n"
            => Malformed, "duplicate", Closes;
        a_header_with_words_behind: "{\"type\":\"PING\",\"id\":1} x\n" => Malformed, "trailing", Closes;
        a_header_of_depth_33: format!("{{\"type\":\"PING\",\"id\":1,\"x\":{}}}\n", nested(32))
            => Malformed, "deeper than 32", Closes;
        a_header_of_depth_30_000: format!("{{\"type\":\"PING\",\"id\":1,\"x\":{}}}\n", nested(30_000))
            => Malformed, "deeper than 32", Closes;
        a_broken_header_and_a_lot_behind: format!("nonsense\n{}", long_line(60_000).repeat(50))
            => Malformed, "not a message", Closes;
        data_with_a_field_twice: ask("GET_RESULT", r#"{"arrayId":"ints","arrayId":"doubles"}"#)
            => Malformed, "duplicate", Lives;
        data_with_a_lone_surrogate: ask("GET_RESULT", "{\"arrayId\":\"\\udc00\"}") => Malformed, "GET_RESULT", Lives;
        data_of_the_wrong_type: ask("GET_RESULT", r#"{"arrayId":7}"#) => Malformed, "GET_RESULT", Lives;
        data_that_is_no_object: ask("GET_RESULT", "5") => Malformed, "GET_RESULT", Lives;
        data_that_is_missing: "{\"type\":\"GET_RESULT\",\"id\":1}" => Malformed, "arrayId", Lives;
        a_request_without_a_number: "{\"type\":\"STATUS\"}" => Malformed, "`id`", Lives;
        a_type_there_is_not: ask("DANCE", "{}") => UnknownType, "'DANCE'", Lives;
        a_type_with_a_payload:
            "{\"type\":\"DANCE\",\"id\":1,\"payload\":{\"dtype\":\"int8\",\"bytes\":4,\"crc32c\":0}}\n{}\n\n"
            => UnknownType, "'DANCE'", Lives;
        a_payload_over_the_cap:
            "{\"type\":\"PING\",\"id\":1,\"payload\":{\"dtype\":\"int8\",\"bytes\":1073741825,\"crc32c\":0}}\nxxxx"
            => TooLarge, "1073741825", Closes;
        a_document_over_the_cap:
            "{\"type\":\"PING\",\"id\":1,\"payload\":{\"dtype\":\"json\",\"bytes\":67108865,\"crc32c\":0}}\n{}"
            => TooLarge, "67108865", Closes;
        a_document_of_depth_100_000: document(nested(100_000).as_bytes()) => Malformed, "deeper than 32", Closes;
        a_document_that_is_not_utf8: document(b"{\"arrayId\":\"\xff\"}") => Malformed, "not UTF-8", Closes;
        a_document_that_is_no_json: document(b"{\"arrayId\":}") => Malformed, "DESCRIBE_ARRAY", Lives;
        a_document_of_nothing: document(b"") => Malformed, "DESCRIBE_ARRAY", Lives;
        a_document_with_words_behind: document(b"{\"arrayId\":\"ints\"} x") => Malformed, "trailing", Lives;
        a_document_with_a_field_twice: document(b"{\"arrayId\":\"ints\",\"arrayId\":\"a\"}") => Malformed, "duplicate", Lives;
        a_document_with_the_wrong_checksum:
            "{\"type\":\"PING\",\"id\":1,\"payload\":{\"dtype\":\"json\",\"bytes\":2,\"crc32c\":1}}\n{}"
            => ChecksumMismatch, "crc32c", Closes;
    }

    on_shared! {
        a_header_of_the_longest: |cluster, _| {
            let mut peer = Raw::connect_level_2(&cluster.master);
            peer.send(long_line(65_536));
            assert_eq!(peer.message().line["type"], "PONG");
        };
        a_header_one_byte_at_a_time: |cluster, _| {
            let mut peer = Raw::connect(&cluster.master);
            let hello = r#"{"type":"HELLO","data":{"role":"client"}}"#;
            let lines = format!("\r\n{hello}\r\n\n  \n{}", ask("PING", "{}").replace('\n', "\r\n"));
            lines.bytes().for_each(|byte| peer.send([byte]));
            assert_eq!(peer.message().line["type"], "HELLO");
            assert_eq!(peer.message().line["type"], "PONG");
        };
        /// A connection that ends inside a frame has nobody to be answered.
        a_header_that_is_cut_off: |cluster, _| {
            let mut peer = Raw::connect_level_2(&cluster.master);
            peer.send("{\"type\":\"PING\",");
            peer.half_close();
            peer.wait_end();
        };
        a_document_that_is_cut_off: |cluster, _| {
            let mut peer = Raw::connect_level_2(&cluster.master);
            peer.send("{\"type\":\"STATUS\",\"id\":1,\"payload\":{\"dtype\":\"json\",\"bytes\":2,\"crc32c\":0}}\n{");
            peer.half_close();
            peer.wait_end();
        };
        a_million_keys_in_a_document: |cluster, _| {
            let mut peer = Raw::connect_level_2(&cluster.master);
            let keys: String = (0..1_000_000).map(|n| format!("\"k{n}\":{n},")).collect();
            let document = format!("{{{keys}\"arrayId\":\"ints\"}}");
            let crc32c = array::checksum::crc32c(document.as_bytes());
            let payload = json!({"dtype": "json", "bytes": document.len(), "crc32c": crc32c});
            peer.send(format!("{}\n{document}", json!({"type": "DESCRIBE_ARRAY", "id": 1, "payload": payload})));
            assert_eq!(peer.message().line["type"], "ARRAY_INFO");
        };
    }
}

/// Segments, and what comes instead of them.
mod payloads {
    use super::*;

    refused_by_worker! {
        a_segment_nobody_has_planned:
            unplanned(8, "AAAABBBB")
            => UnknownTicket, "", Lives;
        a_segment_without_bytes: ask("DISTRIBUTE_ARRAY", r#"{"version":77,"segment":0,"ticket":"t"}"#)
            => Malformed, "without a payload", Lives;
        a_segment_over_the_cap:
            unplanned((1 << 30) + 1, "xx")
            => TooLarge, "1073741825", Closes;
        a_request_of_a_client_to_the_master: ask("LIST_ARRAYS", "{}") => NotAllowed, "LIST_ARRAYS", Lives;
        a_second_hello_to_a_worker: ask("HELLO", "{\"role\":\"client\"}") => NotAllowed, "HELLO", Lives;
        a_worker_that_registers_at_a_worker: register_at_level_2("x", 2, r#""inventory":[]"#)
            => NotAllowed, "REGISTER_WORKER", Lives;
        instructions_by_a_client: ask("DROP_COPIES", r#"{"versions":[1,2,3]}"#) => NotAllowed, "DROP_COPIES", Lives;
        a_frame_that_is_none: "GET / HTTP/1.1\r\n\r\n" => Malformed, "not a message", Closes;
        a_frame_without_an_end: "x".repeat(4 << 20) => TooLarge, "65536", Closes;
    }

    on_shared! {
        a_segment_with_the_wrong_checksum: |cluster, case| {
            let upload = Upload::begin(cluster, case);
            let mut worker = Raw::connect_level_2(&upload.address);
            worker.send(distribute(&upload.plan, 24, 4711, &three_doubles()));
            check_error(&mut worker, ErrorCode::ChecksumMismatch, "4711");
            worker.wait_end();
            assert_eq!(upload.finish(&three_doubles()), three_doubles());
        };
        a_segment_shorter_than_planned: |cluster, case| {
            let upload = Upload::begin(cluster, case);
            let bytes = &three_doubles()[..16];
            let frame = distribute(&upload.plan, 16, array::checksum::crc32c(bytes), bytes);
            let worker = Raw::connect_level_2(&upload.address);
            check_refused(worker, &[&frame[..], b"\n"].concat(), ErrorCode::UnknownTicket, "16", Lives);
            assert_eq!(upload.finish(&three_doubles()), three_doubles());
        };
        a_segment_longer_than_planned: |cluster, case| {
            let upload = Upload::begin(cluster, case);
            let bytes = [three_doubles(), three_doubles()].concat();
            let frame = distribute(&upload.plan, 48, array::checksum::crc32c(&bytes), &bytes);
            let worker = Raw::connect_level_2(&upload.address);
            check_refused(worker, &[&frame[..], b"\n"].concat(), ErrorCode::UnknownTicket, "48", Lives);
            assert_eq!(upload.finish(&three_doubles()), three_doubles());
        };
        /// What comes behind the stated length is taken for the next frame, and is none.
        a_segment_with_bytes_behind_it: |cluster, case| {
            let upload = Upload::begin(cluster, case);
            let bytes = three_doubles();
            let mut worker = Raw::connect_level_2(&upload.address);
            let frame = distribute(&upload.plan, 24, array::checksum::crc32c(&bytes), &bytes);
            worker.send([&frame[..], b"more\n"].concat());
            assert_eq!(worker.message().line["type"], "SEGMENT_STORED");
            check_error(&mut worker, ErrorCode::Malformed, "not a message");
            worker.wait_end();
            assert_eq!(upload.finish(&bytes), bytes);
        };
        a_segment_that_is_cut_off: |cluster, case| {
            let upload = Upload::begin(cluster, case);
            for cut in [1, 20, 23] {
                let mut worker = Raw::connect_level_2(&upload.address);
                worker.send(distribute(&upload.plan, 24, 0, &three_doubles()[..cut]));
                worker.half_close();
                worker.wait_end();
            }
            assert_eq!(upload.finish(&three_doubles()), three_doubles());
        };
        /// A payload may take five seconds and what its bytes need at 64 KiB a second; then the connection is closed.
        a_segment_at_one_byte_a_second: |cluster, case| {
            let upload = Upload::begin(cluster, case);
            let mut worker = Raw::connect_level_2(&upload.address);
            let sender = worker.try_clone();
            let frame = distribute(&upload.plan, 24, array::checksum::crc32c(&three_doubles()), &[]);
            worker.send(frame);
            thread::scope(|scope| {
                scope.spawn(move || {
                    for byte in three_doubles().into_iter().take(9) {
                        sender.send_what_is_taken(&[byte]);
                        thread::sleep(Duration::from_secs(1));
                    }
                });
                worker.wait_end();
            });
            assert_eq!(upload.finish(&three_doubles()), three_doubles());
        };
        /// The checksum is the one of the bytes sent, but the segment has other bytes already.
        a_segment_again_with_other_bytes: |cluster, case| {
            let upload = Upload::begin(cluster, case);
            let mut worker = Raw::connect_level_2(&upload.address);
            let bytes = three_doubles();
            worker.send(distribute(&upload.plan, 24, array::checksum::crc32c(&bytes), &bytes));
            assert_eq!(worker.message().line["type"], "SEGMENT_STORED");
            worker.send(distribute(&upload.plan, 24, array::checksum::crc32c(&[7; 24]), &[7; 24]));
            check_error(&mut worker, ErrorCode::ChecksumMismatch, "");
            assert_eq!(upload.finish(&bytes), bytes);
        };
        /// Committed without being sent: the master asks the workers, not the client.
        a_segment_that_was_never_sent: |cluster, case| {
            let mut upload = Upload::begin(cluster, case);
            let version = upload.plan["data"]["version"].clone();
            upload.master.send(commit(&version, json!([[0, 1, [upload.worker]]])) + "\n");
            check_error(&mut upload.master, ErrorCode::SegmentsMissing, "");
            assert_eq!(upload.finish(&three_doubles()), three_doubles());
        };
        segments_past_the_end_are_not_committed: |cluster, case| {
            let mut upload = Upload::begin(cluster, case);
            let version = upload.plan["data"]["version"].clone();
            let past_the_end = [json!([[1, 1, []]]), json!([[u32::MAX, 1, []]])];
            for segments in past_the_end.into_iter().chain([json!([]), json!([[0, 1, []], [0, 1, []]])]) {
                upload.master.send(commit(&version, segments) + "\n");
                check_error(&mut upload.master, ErrorCode::Malformed, "");
            }
            let replan = json!({"version": version, "segments": [u32::MAX], "avoid": []});
            upload.master.send(ask("REPLAN_WRITE", &replan.to_string()));
            check_error(&mut upload.master, ErrorCode::OutOfRange, "4294967295");
            assert_eq!(upload.finish(&three_doubles()), three_doubles());
        };
    }
}

/// Messages that are right, from somebody who may not send them, or at the wrong time.
mod protocol_of_level_2 {
    use super::*;

    /// The first line of a connection to the master is refused, and the connection closed.
    fn first_line(case: &str, line: &str, code: ErrorCode, text: &str) {
        on_shared(case, |cluster, _| {
            check_refused(Raw::connect(&cluster.master), format!("{line}\n").as_bytes(), code, text, Closes);
        });
    }

    const OLD_HELLO: &str = r#"{"type":"HELLO","data":{"role":"client","protocol":1}}"#;

    macro_rules! refused_as_first_line {
        ($($case:ident: $line:expr => $code:ident, $text:expr;)*) => {$(
            #[test]
            fn $case() {
                first_line(stringify!($case), $line, ErrorCode::$code, $text);
            }
        )*};
    }

    refused_as_first_line! {
        an_old_version: r#"{"type":"HELLO","data":{"role":"client","protocol":1}}"# => Unsupported, "protocol 2, not 1";
        an_old_version_and_requests_behind:
            &format!("{OLD_HELLO}\n{}", ask("STATUS", "{}").repeat(10_000))
            => Unsupported, "protocol 2, not 1";
        a_hello_as_a_worker: r#"{"type":"HELLO","data":{"role":"worker","worker":"w1"}}"#
            => NotAllowed, "workers register";
        a_hello_as_a_master: r#"{"type":"HELLO","data":{"role":"master"}}"# => NotAllowed, "clients and workers";
        heartbeats_of_nobody: r#"{"type":"HELLO","data":{"role":"heartbeat","worker":"nobody","incarnation":1}}"#
            => NotAllowed, "register first";
        heartbeats_of_another_life: r#"{"type":"HELLO","data":{"role":"heartbeat","worker":"w1","incarnation":1}}"#
            => NotAllowed, "register first";
        a_worker_of_another_cluster:
            &register_at_level_2("x", 2, r#""cluster":"00000000-0000-0000-0000-000000000001","inventory":[]"#)
            => WrongCluster, "this is cluster";
        a_worker_of_an_old_version:
            &register_at_level_2("x", 1, r#""inventory":[]"#)
            => Unsupported, "speaks protocol 1";
        a_worker_with_a_bad_name:
            &register_at_level_2("a b", 2, r#""inventory":[]"#)
            => InvalidName, "a b";
    }

    refused_by_master! {
        a_second_hello: r#"{"type":"HELLO","id":1,"data":{"role":"client"}}"# => NotAllowed, "a second time", Lives;
        a_registration_by_a_client: ask("REGISTER_WORKER", r#"{"host":"h","port":1,"cores":1,"memory":1}"#)
            => NotAllowed, "REGISTER_WORKER", Lives;
        a_result_by_a_client: ask("SEGMENT_RESULT", r#"{"result":1,"copies":[],"failed":[],"busyUs":0}"#)
            => NotAllowed, "SEGMENT_RESULT", Lives;
        copies_by_a_client: ask("COPIES_CHANGED", r#"{"stored":[[1,0,1,1]],"broken":[]}"#)
            => NotAllowed, "COPIES_CHANGED", Lives;
        a_reply_nobody_waits_for: "{\"type\":\"DONE\",\"id\":99}" => NotAllowed, "DONE", Lives;
        a_segment_to_the_master:
            unplanned(3, "abc\n")
            => NotAllowed, "DISTRIBUTE_ARRAY", Lives;
        an_operation_that_is_not_running: ask("CANCEL_OPERATION", r#"{"operation":123456789}"#)
            => UnknownOperationId, "123456789", Lives;
        a_pin_that_nobody_has: ask("RENEW_PIN", "{\"pin\":1}") => UnknownVersion, "", Lives;
        a_name_that_is_taken: ask("CREATE_ARRAY", r#"{"arrayId":"ints","dtype":"int32","shape":[1]}"#)
            => AlreadyExists, "ints", Lives;
    }

    on_shared! {
        /// Level 2 begins with HELLO: without it this is a message of level 1, with fields missing.
        a_request_before_hello: |cluster, _| {
            let mut peer = Raw::connect(&cluster.master);
            peer.send(plan("a", "int32", "[1]"));
            check_refusal(&mut peer, ErrorCode::Malformed, "lacks data.dataType");
            peer.send(ask("HELLO", "{\"role\":\"client\"}"));
            check_refusal(&mut peer, ErrorCode::UnknownType, "begin the connection with HELLO");
        };
        a_segment_before_hello: |cluster, _| {
            let mut peer = Raw::connect(&cluster.data_port());
            peer.send(unplanned(3, "abc"));
            check_error(&mut peer, ErrorCode::NotAllowed, "before HELLO");
            assert_eq!(peer.ask(r#"{"type":"HELLO","data":{"role":"client"}}"#)["type"], "HELLO");
        };
        a_future_version: |cluster, _| {
            for address in [&cluster.master, &cluster.data_port()] {
                let hello = r#"{"type":"HELLO","data":{"role":"client","protocol":4294967295}}"#;
                let hello = Raw::connect(address).ask(hello);
                assert_eq!((&hello["type"], &hello["data"]["protocol"]), (&json!("HELLO"), &json!(2)));
            }
        };
        an_old_version_to_a_worker: |cluster, _| {
            let peer = Raw::connect(&cluster.data_port());
            let hello = b"{\"type\":\"HELLO\",\"data\":{\"role\":\"client\",\"protocol\":1}}\n";
            check_refused(peer, hello, ErrorCode::Unsupported, "protocol 1", Closes);
        };
        /// A number of a request that has changed something belongs to that for ever.
        a_request_number_used_again: |cluster, case| {
            let mut peer = Raw::connect_level_2(&cluster.master);
            cluster.client.create(case, &[1]).unwrap();
            let apply = |into: &str| {
                let data = json!({"arrayId": case, "operation": "example2", "into": into});
                ask("APPLY_OPERATION", &data.to_string())
            };
            let into = format!("{case}/into");
            let first = peer.ask(apply(&into).trim_end());
            assert_eq!(first["type"], "OPERATION_COMPLETE", "{first}");
            peer.send(apply("other"));
            check_error(&mut peer, ErrorCode::IdReused, "request 1 was used before");
            let again = peer.ask(apply(&into).trim_end());
            assert_eq!(again["data"], first["data"], "the same request gets the first answer");
            cluster.client.delete(&into).unwrap();
        };
        /// The state of knowledge is the master's to give. A client's is not believed.
        the_largest_epoch: |cluster, case| {
            let largest = "\"id\":1,\"epoch\":[18446744073709551615,18446744073709551615]";
            for address in [&cluster.master, &cluster.data_port()] {
                let mut peer = Raw::connect_level_2(address);
                assert_eq!(peer.ask(&format!("{{\"type\":\"PING\",{largest}}}"))["type"], "PONG");
            }
            assert_eq!(Upload::begin(cluster, case).finish(&three_doubles()), three_doubles());
        };
        /// 64 may be in flight.
        too_many_requests_in_flight: |cluster, _| {
            let mut peer = Raw::connect_level_2(&cluster.master);
            for id in 1..=70 {
                let wait = json!({"type": "WAIT_WORKERS", "id": id, "timeoutMs": 500, "data": {"count": 1000}});
                peer.send(format!("{wait}\n"));
            }
            let codes: Vec<Value> = (1..=70).map(|_| peer.message().line["data"]["code"].take()).collect();
            assert!(codes[..6].iter().all(|code| code == "Busy"), "{codes:?}");
            assert!(codes[6..].iter().all(|code| code == "DeadlineExceeded"), "{codes:?}");
        };
        a_session_on_two_connections: |cluster, _| {
            let hello = r#"{"type":"HELLO","data":{"role":"client","session":"0199f4a0-0000-7000-8000-00000000beef"}}"#;
            let (mut first, mut second) = (Raw::connect(&cluster.master), Raw::connect(&cluster.master));
            let session = first.ask(hello)["data"]["session"].take();
            let hello = format!("{{\"type\":\"HELLO\",\"data\":{{\"role\":\"client\",\"session\":{session}}}}}");
            assert_eq!(second.ask(&hello)["data"]["session"], session);
            first.wait_end();
            assert_eq!(second.ask("{\"type\":\"PING\",\"id\":1}")["type"], "PONG");
        };
    }
}

/// Names of arrays. They never become paths, so most are only names.
mod names {
    use super::*;

    refused_at_level_1! {
        an_empty_name: create("", "int", "[1]") => InvalidName, "empty";
        a_name_of_256_bytes: create(&"n".repeat(256), "int", "[1]") => InvalidName, "256 bytes";
        a_name_with_a_nul: create("a\\u0000b", "int", "[1]") => InvalidName, "control";
        a_name_with_a_space: create("a b", "int", "[1]") => InvalidName, "white space";
        a_name_with_a_newline: create("a\\nb", "int", "[1]") => InvalidName, "a\\nb";
        a_name_with_a_space_of_unicode: create("a\\u2003b", "int", "[1]") => InvalidName, "white space";
        a_name_that_reads_as_a_version: create("a@v1", "int", "[1]") => InvalidName, "@vN";
        an_empty_name_at_get: get("") => InvalidName, "empty";
        a_name_with_a_space_at_apply: apply("a b", "example2") => InvalidName, "white space";
    }

    refused_by_master! {
        a_name_of_256_bytes_at_level_2:
            ask("CREATE_ARRAY", &format!("{{\"arrayId\":\"{}\",\"dtype\":\"int32\",\"shape\":[1]}}", "ß".repeat(128)))
            => InvalidName, "256 bytes", Lives;
        a_name_with_a_nul_at_level_2:
            ask("CREATE_ARRAY", "{\"arrayId\":\"a\\u0000\",\"dtype\":\"int32\",\"shape\":[1]}")
            => InvalidName, "control", Lives;
        a_result_into_a_bad_name: ask("APPLY_OPERATION", r#"{"arrayId":"ints","operation":"example2","into":"a b"}"#)
            => InvalidName, "white space", Lives;
    }

    on_shared! {
        /// Each is an array of its own, also where two look alike or one would be the other in an address or a path.
        names_that_would_be_paths_elsewhere: |cluster, case| {
            let long = "ß".repeat(127) + "n";
            let names = ["..", ".", "/", "../../etc/passwd", "\\\\", "con", "NUL", "%2e%2e", "%00", "a", "а", "A", "ａ",
                "-rf", "*", "null", "NaN", "@v1", "a@v", "\\ud83d\\ude00", long.as_str()];
            let directory = || {
                let processes = SHARED.processes();
                let files = |path: &std::path::Path| -> Vec<_> {
                    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
                    entries.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
                };
                [files(processes.directory()), files(&processes.data_dir())]
            };
            let before = directory();
            let mut peer = Raw::connect(&cluster.master);
            for (n, name) in names.iter().enumerate() {
                stored(&mut peer, name, "int", &format!("[{}]", 3 * n + 1));
            }
            for name in names {
                assert_eq!(answer(&mut peer, &apply(name, "example2"))["status"], "processing", "{name} {case}");
            }
            for (n, name) in names.iter().enumerate() {
                assert_eq!(answer(&mut peer, &get(name))["result"], json!([3 * n + 1]), "{name}");
                let name: String = serde_json::from_str(&format!("\"{name}\"")).unwrap();
                assert_eq!(cluster.client.get::<i32>(&name).unwrap(), [3 * n as i32 + 1]);
                cluster.client.delete(&name).unwrap();
            }
            assert_eq!(directory(), before);
        };
    }
}

/// Too much of something.
mod resources {
    use super::*;

    /// Not on the cluster of the others: for a moment the plan takes all the room there is.
    #[test]
    fn an_array_of_the_most_elements() {
        let guests = GUESTS.lock().unwrap_or_else(PoisonError::into_inner);
        let _logs = ShowLogs(&guests);
        let bytes = plan("a", "complex128", "[35184372088832]");
        let peer = Raw::connect_level_2(&guests.master);
        check_refused(peer, bytes.as_bytes(), ErrorCode::InsufficientMemory, "512 TiB", Lives);
        guests.check("an_array_of_the_most_elements");
    }

    on_shared! {
        hundreds_of_silent_connections: |cluster, case| {
                        let silent: Vec<Raw> = (0..300).map(|_| Raw::connect(&cluster.master)).collect();
            let address = cluster.data_port();
            let _more: Vec<Raw> = (0..100).map(|_| Raw::connect(&address)).collect();
            serve_at_level_1(&mut Raw::connect(&cluster.master), case);
            // Whoever wakes up is served, though he was late.
            serve_at_level_1(&mut silent.into_iter().next_back().unwrap(), case);
        };
        /// Nobody who connects is kept waiting by the others: with a short queue of the listener this took 12 s.
        a_storm_of_connections: |cluster, _| {
            let began = Instant::now();
            for n in 0..1500 {
                let stream = TcpStream::connect(&cluster.master).unwrap();
                if n % 3 == 0 {
                    Raw::connect(&cluster.master).send("{\"type\":");
                }
                drop(stream);
            }
            assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
        };
        /// Who does not read is not read from: every request has its answer, in order, whenever he reads them.
        requests_of_level_1_read_late: |cluster, _| {
            const REQUESTS: usize = 20_000;
            let mut peer = Raw::connect(&cluster.master);
            let lines: String = (0..REQUESTS).map(|n| get(&format!("n{n} ")) + "\n").collect();
            let sender = peer.try_clone();
            thread::scope(|scope| {
                scope.spawn(move || sender.send(lines));
                for n in 0..REQUESTS {
                    let reply = reply(&mut peer);
                    assert!(reply["data"]["arrayId"] == format!("n{n} "), "{n}: {reply}");
                }
            });
        };
        requests_of_level_2_read_late: |cluster, _| {
            let mut peer = Raw::connect_level_2(&cluster.master);
            peer.send((1..=1000).map(|id| format!("{{\"type\":\"LIST_WORKERS\",\"id\":{id}}}\n")).collect::<String>());
            cluster.client.status().unwrap();
            for id in 1..=1000 {
                let said = peer.message().line;
                assert_eq!((&said["type"], &said["id"]), (&json!("WORKERS"), &json!(id)));
            }
        };
        /// A reply of 30 MB fits into no buffer, so the master waits for this client, and for no other.
        a_client_of_level_1_that_never_reads: |cluster, case| {
            let values = Numbers::new(1).doubles(1_500_000);
            let name = format!("{case}/long");
            cluster.client.create(&name, &values).unwrap();
            cluster.client.apply(&name, "example1").unwrap();
            let stuck: Vec<Raw> = (0..3).map(|_| Raw::connect(&cluster.master)).collect();
            stuck.iter().for_each(|peer| peer.send(get(&name) + "\n"));
            // Its answer has begun, and cannot go on.
            stuck.iter().for_each(|peer| peer.wait_byte());
            for _ in 0..5 {
                serve_at_level_1(&mut Raw::connect(&cluster.master), case);
            }
            let mut peer = stuck.into_iter().next().unwrap();
            let done = reply(&mut peer)["data"]["result"].take();
            let result: Vec<f64> = serde_json::from_value(done).unwrap();
            assert!(result.iter().zip(&values).all(|(y, x)| (y - example1(*x)).abs() <= 1e-12 + 1e-9 * y.abs()));
            cluster.client.delete(&name).unwrap();
        };
        a_client_of_level_2_that_never_reads: |cluster, case| {
            let name = format!("{case}/long");
            cluster.client.create(&name, &vec![7; 16_000_000]).unwrap();
            let mut master = Raw::connect_level_2(&cluster.master);
            let plan = master.ask(&json!({"type": "GET_RESULT", "id": 1, "data": {"arrayId": name}}).to_string());
            let address = plan["data"]["workers"][0]["address"].as_str().unwrap();
            let stuck: Vec<Raw> = (0..10).map(|_| Raw::connect_level_2(address)).collect();
            for peer in &stuck {
                for segment in plan["data"]["segments"].as_array().unwrap() {
                    let get = json!({"version": plan["data"]["version"], "segment": segment[0]});
                    peer.send(ask("GET_SEGMENT", &get.to_string()));
                }
            }
            stuck.iter().for_each(|peer| peer.wait_byte());
            assert!(cluster.client.get::<i32>(&name).unwrap().iter().all(|x| *x == 7));
            cluster.client.delete(&name).unwrap();
        };
        /// A client that sends the heartbeats of a worker gets an error for each.
        a_flood_of_heartbeats: |cluster, _| {
            const HEARTBEATS: usize = 20_000;
            let mut peer = Raw::connect(&cluster.master);
            let sender = peer.try_clone();
            thread::scope(|scope| {
                scope.spawn(move || sender.send((request("HEARTBEAT", "{}") + "\n").repeat(HEARTBEATS)));
                (0..HEARTBEATS).for_each(|_| check_refusal(&mut peer, ErrorCode::NotAllowed, "HEARTBEAT"));
            });
        };
    }
}

/// A master that has nobody to compute.
mod without_workers {
    use super::*;

    fn refused(case: &str, line: &str, code: ErrorCode, text: &str) {
        let cluster = &*LONELY;
        let _logs = ShowLogs(cluster);
        let mut peer = Raw::connect(&cluster.master);
        peer.send(format!("{line}\n"));
        check_refusal(&mut peer, code, text);
        cluster.check_without_workers(case);
    }

    #[test]
    fn create_says_so() {
        refused("create_says_so", &create("a", "int", "[1]"), ErrorCode::NoWorkers, "there is no worker");
    }

    #[test]
    fn apply_has_no_array() {
        refused("apply_has_no_array", &apply("a", "example2"), ErrorCode::UnknownArray, "'a'");
    }

    #[test]
    fn get_has_no_array() {
        refused("get_has_no_array", &get("a"), ErrorCode::UnknownArray, "'a'");
    }
}

/// Workers that are none. They join a cluster with one worker of ours, and a computation is right whatever they say.
mod bad_workers {
    use super::*;

    /// Segments of these are on both workers, and each is primary of some.
    const LEN: usize = 50_000;

    fn on_guests(case: &str, body: impl FnOnce(&Target, &str)) {
        let guests = GUESTS.lock().unwrap_or_else(PoisonError::into_inner);
        let _logs = ShowLogs(&guests);
        body(&guests, case);
        until("the end of the bad worker", ANSWER, || (alive(&guests) == 1).then_some(()));
        guests.check(case);
    }

    macro_rules! on_guests {
        ($($(#[doc = $doc:expr])* $case:ident: $body:expr;)*) => {$(
            $(#[doc = $doc])*
            #[test]
            fn $case() {
                on_guests(stringify!($case), $body);
            }
        )*};
    }

    fn alive(cluster: &Target) -> usize {
        cluster.client.workers().unwrap().iter().filter(|worker| worker.state == WorkerState::Alive).count()
    }

    /// A worker of level 1 that has registered, and gets copies.
    fn join(cluster: &Target, worker: &str) -> Raw {
        let peer = Raw::connect(&cluster.master);
        peer.send(register(worker, r#"{"host":"127.0.0.1","port":1,"cores":2,"memory":512}"#) + "\n");
        cluster.client.wait_workers(2).unwrap();
        peer
    }

    /// Stores, computes and reads while a worker answers every piece with what `lie` makes of its alias and length. It
    /// goes on until it is sent away, or everything is done.
    fn compute_with_a_liar(cluster: &Target, name: &str, mut peer: Raw, lie: fn(&str, usize) -> String) {
        let values = Numbers::new(7).ints(LEN);
        let stream = peer.try_clone();
        let liar = thread::spawn(move || {
            let (mut asked, mut length) = (0, 0);
            while let Some(line) = peer.line_if_open() {
                let line: Value = serde_json::from_str(&line).unwrap();
                length = line["data"]["data"].as_array().map_or(length, Vec::len);
                if line["type"] == "PROCESS_SEGMENT" {
                    asked += 1;
                    peer.send_what_is_taken((lie(line["data"]["arrayId"].as_str().unwrap(), length) + "\n").as_bytes());
                }
            }
            asked
        });
        let mut client = Raw::connect(&cluster.master);
        cluster.client.create(name, &values).unwrap();
        assert_eq!(answer(&mut client, &apply(name, "example2"))["status"], "processing");
        let result: Vec<i32> = serde_json::from_value(answer(&mut client, &get(name))["result"].take()).unwrap();
        check_example2(&values, &result).unwrap();
        stream.half_close();
        assert!(liar.join().unwrap() > 0, "it was asked");
        cluster.client.delete(name).unwrap();
    }

    fn segment_result(alias: &str, values: &str) -> String {
        request(
            "SEGMENT_RESULT",
            &format!("{{\"arrayId\":\"{alias}\",\"segmentId\":0,\"status\":\"completed\",\"data\":{values}}}"),
        )
    }

    on_guests! {
        /// A worker may say what it likes: a line that cannot be read is one that says nothing.
        garbage_behind_a_registration: |cluster, case| {
            let peer = join(cluster, "garbage");
            peer.send("nonsense\n\n{}\n{\"type\":\"DANCE\"}\n\0\0\0\n[[[\n{\"type\":\"SEGMENT_RESULT\"}\n");
            peer.send(format!("{}\n{}\n", create("a", "int", "[1]"), register("other", "{}")));
            compute_with_a_liar(cluster, &format!("{case}/computed"), peer, |_, _| "nonsense".into());
        };
        results_nobody_asked_for: |cluster, case| {
            let peer = join(cluster, "eager");
            for alias in ["seg0", "seg1", "seg2", "seg999", "seg", "a", "seg-1", "seg18446744073709551616"] {
                peer.send(segment_result(alias, "[1,2,3]") + "\n");
            }
            compute_with_a_liar(cluster, &format!("{case}/computed"), peer, |_, _| segment_result("seg999", "[1]"));
        };
        results_of_the_wrong_length: |cluster, case| {
            let peer = join(cluster, "short");
            let lie = |alias: &str, _| segment_result(alias, "[1,2,3]");
            compute_with_a_liar(cluster, &format!("{case}/computed"), peer, lie);
        };
        results_longer_than_any_piece: |cluster, case| {
            let peer = join(cluster, "long");
            let lie = |alias: &str, _| segment_result(alias, &format!("[{}1]", "1,".repeat(200_000)));
            compute_with_a_liar(cluster, &format!("{case}/computed"), peer, lie);
        };
        results_that_are_wrong: |cluster, case| {
            let peer = join(cluster, "wrong");
            let lie = |alias: &str, length| segment_result(alias, &format!("{:?}", vec![-7; length]));
            compute_with_a_liar(cluster, &format!("{case}/computed"), peer, lie);
        };
        results_that_are_no_ints: |cluster, case| {
            let peer = join(cluster, "fractions");
            let lie = |alias: &str, length| segment_result(alias, &format!("{:?}", vec![f64::NAN; length]));
            compute_with_a_liar(cluster, &format!("{case}/computed"), peer, lie);
        };
        /// The end of its connection is a worker's end, also if only half of it ends.
        a_half_close: |cluster, _| {
            let mut peer = join(cluster, "half");
            peer.half_close();
            peer.wait_end();
        };
        a_registration_and_a_close: |cluster, _| {
            for _ in 0..20 {
                let peer = Raw::connect(&cluster.master);
                peer.send(register("brief", "{\"cores\":2,\"memory\":512}") + "\n");
            }
        };
        a_second_connection_under_one_id: |cluster, case| {
            let mut first = join(cluster, "twice");
            let life = || {
                let workers = cluster.client.workers().unwrap();
                workers.iter().find(|worker| worker.id.as_str() == "twice").map(|worker| worker.incarnation)
            };
            let first_life = life();
            let second = Raw::connect(&cluster.master);
            second.send(register("twice", "{\"cores\":2,\"memory\":512}") + "\n");
            first.wait_end();
            until("the second one", ANSWER, || (life() > first_life).then_some(()));
            cluster.client.wait_workers(2).unwrap();
            compute_with_a_liar(cluster, &format!("{case}/computed"), second, |_, _| "{}".into());
        };
        /// A worker with one core waits for itself at its first operation, so it is never asked.
        a_worker_with_no_core: |cluster, _| {
            let peer = Raw::connect(&cluster.master);
            peer.send(register("none", "{\"cores\":0,\"memory\":0}") + "\n");
            until("the guest", ANSWER, || (alive(cluster) == 2).then_some(()));
            cluster.client.create("a_worker_with_no_core/computed", &vec![3; LEN]).unwrap();
            let done = cluster.client.apply("a_worker_with_no_core/computed", "example2").unwrap();
            assert!(cluster.client.get::<i32>(&done.handle).unwrap().iter().all(|x| *x == 3));
            cluster.client.delete("a_worker_with_no_core/computed").unwrap();
        };
        the_most_cores_there_can_be: |cluster, _| {
            let peer = Raw::connect(&cluster.master);
            peer.send(register("many", "{\"cores\":1e300,\"memory\":1e300}") + "\n");
            cluster.client.wait_workers(2).unwrap();
        };
        /// Our own worker has this id, and is alive.
        the_id_of_a_live_worker_at_level_1: |cluster, _| {
            let mut peer = Raw::connect(&cluster.master);
            peer.send(register("w1", "{\"cores\":2,\"memory\":512}") + "\n");
            peer.wait_end();
            assert_eq!(cluster.client.workers().unwrap()[0].level, 2);
        };
        the_id_of_a_live_worker_at_level_2: |cluster, _| {
            let mut peer = Raw::connect(&cluster.master);
            let said = peer.ask(&register_at_level_2("w1", 2, r#""inventory":[]"#));
            // Whoever has the id is asked whether he is alive, and has 200 ms to say so. Late, he still is newer.
            let code = said["data"]["code"].as_str().expect("a refusal");
            assert!(["WorkerIdInUse", "Fenced"].contains(&code), "{said}");
            peer.wait_end();
        };
        /// A worker that is believed to be one tells of results, copies and room that nobody has asked for.
        a_worker_of_level_2_that_invents: |cluster, _| {
            let copies = json!([[u64::MAX, u32::MAX, 0, u64::MAX], [u64::MAX - 1, 0, 0, u64::MAX]]);
            let mut peer = Raw::connect(&cluster.master);
            let registration = register_at_level_2("inventor", 2, &format!(r#""inventory":{copies}"#));
            assert_eq!(peer.ask(&registration)["type"], "HELLO");
            cluster.client.wait_workers(2).unwrap();
            for (kind, data) in [
                ("SEGMENT_RESULT", json!({"result": 999999, "copies": copies, "failed": [], "busyUs": u64::MAX})),
                ("COPIES_CHANGED", json!({"stored": copies, "broken": [[1, 0], [999999, 7]]})),
                ("INVENTORY", json!({"copies": copies})),
                ("RECOVERY_COMPLETE", json!({"copy": [999999, 0, 0, 8]})),
                ("RESERVED", json!({})),
                ("PONG", json!({})),
                ("SHUTDOWN", json!({})),
                ("LIST_ARRAYS", json!({})),
            ] {
                let line = json!({"type": kind, "id": 999, "epoch": [u64::MAX, u64::MAX], "data": data});
                peer.send(format!("{line}\n"));
            }
            let digest = "ffffffffffffffff";
            let most = json!({"digest": digest, "copies": u64::MAX, "memoryUsedBytes": u64::MAX, "tasks": u32::MAX});
            let heartbeat = ask("HEARTBEAT", &most.to_string());
            let mut heartbeats = Raw::connect(&cluster.master);
            let hello = json!({"role": "heartbeat", "worker": "inventor", "incarnation": 1});
            heartbeats.send(ask("HELLO", &hello.to_string()));
            assert_eq!(heartbeats.message().line["type"], "HELLO");
            heartbeats.send(heartbeat.repeat(20_000));
            // Its memory and that of the other one are more than there are numbers for.
            assert_eq!(cluster.client.status().unwrap().memory_bytes, u64::MAX);
        };
    }
}
