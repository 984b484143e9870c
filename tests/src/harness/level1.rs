//! Peers of level 1: a client that speaks like the original's, and programs that imitate the original's masters and workers.

use super::oracle::{Numbers, check_example1, check_example2};
use super::process::Process;
use super::{Processes, SOON, Setup};
use protocol::level1::{Answer, Body, Incoming, LINE_BYTES_MAX, LineReader, LineWriter};
use serde_json::Value;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a reply may take: more than the master gives a worker that does not answer.
const REPLY_TIMEOUT: Duration = Duration::from_secs(90);

/// A client of the original: a connection for each request.
#[derive(Clone, Debug)]
pub struct OriginalClient {
    address: String,
}

impl OriginalClient {
    /// Of a master.
    pub fn new(address: &str) -> OriginalClient {
        OriginalClient { address: address.to_string() }
    }

    /// Sends bytes, and gives the reply to them.
    pub fn send(&self, bytes: &[u8]) -> Answer {
        let stream = self.begin(bytes);
        stream.shutdown(Shutdown::Write).expect("it is open");
        OriginalClient::read(stream)
    }

    /// Sends some bytes; what is returned keeps the connection, on which more may come.
    pub fn begin(&self, bytes: &[u8]) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("the master can be reached");
        (&stream).write_all(bytes).expect("the master reads");
        stream
    }

    /// Reads an answer.
    pub fn read(stream: TcpStream) -> Answer {
        let stream = protocol::net::prepare(stream).expect("a socket");
        let mut reader = LineReader::new(stream, LINE_BYTES_MAX);
        match reader.read(Some(Instant::now() + REPLY_TIMEOUT), &mut |_| Ok(())) {
            Ok(Some(Incoming::Line(line))) => match line.into_body() {
                Ok(Body::OperationComplete(answer)) => answer,
                other => panic!("the reply is {other:?}"),
            },
            other => panic!("instead of a reply came {other:?}"),
        }
    }

    /// CREATE_ARRAY of doubles.
    pub fn create_doubles(&self, array_id: &str, values: &[f64]) {
        let line = self.request("CREATE_ARRAY", array_id).text("dataType", "double").doubles("values", values);
        self.expect("created", &line.finish());
    }

    /// CREATE_ARRAY of ints.
    pub fn create_ints(&self, array_id: &str, values: &[i32]) {
        let line = self.request("CREATE_ARRAY", array_id).text("dataType", "int").ints("values", values);
        self.expect("created", &line.finish());
    }

    /// APPLY_OPERATION.
    pub fn apply(&self, array_id: &str, operation: &str) {
        let line = self.request("APPLY_OPERATION", array_id).text("operation", operation);
        self.expect("processing", &line.finish());
    }

    /// GET_RESULT of doubles.
    pub fn doubles(&self, array_id: &str) -> Vec<f64> {
        let answer = self.expect("complete", &self.request("GET_RESULT", array_id).finish());
        answer.values.expect("a complete result is a list")
    }

    /// GET_RESULT of ints.
    pub fn ints(&self, array_id: &str) -> Vec<i32> {
        protocol::level1::to_int32(&self.doubles(array_id)).expect("int32")
    }

    /// Stores doubles, computes, and compares every value.
    pub fn check_doubles(&self, array_id: &str, seed: u64, len: usize) {
        let values = Numbers::new(seed).doubles(len);
        self.create_doubles(array_id, &values);
        self.apply(array_id, "example1");
        check_example1(&values, &self.doubles(array_id)).unwrap_or_else(|e| panic!("{array_id}: {e}"));
    }

    /// The same with ints.
    pub fn check_ints(&self, array_id: &str, seed: u64, len: usize) {
        let values = Numbers::new(seed).ints(len);
        self.create_ints(array_id, &values);
        self.apply(array_id, "example2");
        check_example2(&values, &self.ints(array_id)).unwrap_or_else(|e| panic!("{array_id}: {e}"));
    }

    fn request(&self, kind: &str, array_id: &str) -> LineWriter {
        LineWriter::new(kind, "client", "master").text("arrayId", array_id)
    }

    fn expect(&self, status: &str, line: &[u8]) -> Answer {
        let answer = self.send(line);
        assert_eq!(answer.status, status, "{:?}", answer.text);
        answer
    }
}

/// Where the peers in other languages are.
pub fn interop_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("interop")
}

impl Setup {
    /// Starts a program that imitates an original master, `java` or `python`, instead of one of ours; no workers. `options` are
    /// those of `imitations/master_FLAVOUR.py`.
    pub fn start_original(self, flavour: &str, options: &[&str]) -> Processes {
        let mut processes = self.nothing();
        let mut command = processes.imitation(&format!("master_{flavour}.py"), "master");
        command.arg("0").args(options);
        let process = processes.spawn("master", &mut command);
        processes.master_address = process.address.clone();
        processes.processes.insert("master".to_string(), process);
        processes
    }
}

impl Processes {
    /// A client of the original.
    pub fn original_client(&self) -> OriginalClient {
        OriginalClient::new(self.master_address())
    }

    /// Starts a program that imitates an original worker. `options` are those of `imitations/worker.py`, beside the flavour.
    pub fn start_imitation(&mut self, id: &str, flavour: &str, options: &[&str]) {
        let (host, port) = self.master_address().rsplit_once(':').expect("HOST:PORT");
        let mut command = self.imitation("worker.py", id);
        command.args([id, host, port, "--flavour", flavour]).args(options);
        let process = Process::start_silent(command, &self.group, &self.log(id));
        let process = process.unwrap_or_else(|e| panic!("python3 is needed to start {id}: {e}"));
        self.processes.insert(id.to_string(), process);
    }

    /// A program that imitates an original node, reports about itself, and ends with us.
    fn imitation(&self, program: &str, id: &str) -> Command {
        let mut command = Command::new("python3");
        command.arg(interop_directory().join("imitations").join(program));
        command.arg("--report").arg(self.report_file(id)).args(["--parent", &std::process::id().to_string()]);
        command
    }

    /// Starts another one under the id of one that goes on, which does not end before the cluster.
    pub fn start_imitation_beside(&mut self, id: &str, flavour: &str, options: &[&str]) {
        let first = self.processes.remove(id).expect("there is a first one");
        self.processes.insert(format!("{id}, the first"), first);
        self.start_imitation(id, flavour, options);
    }

    /// What a program that imitates an original reports about itself.
    pub fn report(&self, id: &str) -> Value {
        super::until(&format!("the report of {id}"), SOON, || {
            serde_json::from_str(&std::fs::read_to_string(self.report_file(id)).ok()?).ok()
        })
    }

    /// Waits until so many workers have registered with an original master.
    pub fn wait_registered(&self, count: usize) {
        super::until(&format!("{count} registered workers"), SOON, || {
            let registered = self.report("master")["registered"].as_array()?.len();
            (registered == count).then_some(())
        });
    }

    fn report_file(&self, id: &str) -> PathBuf {
        self.directory().join(format!("{id}.json"))
    }
}
