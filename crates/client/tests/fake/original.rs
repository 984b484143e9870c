//! A master of the original system, Java's or Python's, that is just good enough for a client to talk to. Its one operation
//! doubles.

use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Flavour {
    /// Silent about what it does not know; never closes a connection.
    Java,
    /// Closes a connection after the reply, or instead of it.
    Python,
}

/// How the next reply is sent that is not about what nobody has.
#[derive(Clone, Debug, PartialEq)]
pub enum Way {
    /// In pieces of one byte.
    Dripping,
    /// Without an end: number after number.
    Endless,
    /// With a part of the result.
    Short,
    /// This instead.
    Instead(String),
    /// Not at all; the connection stays open.
    Silent,
    /// Not at all; the connection is closed.
    Closed,
}

/// Between two pieces of a reply.
const DRIP: Duration = Duration::from_millis(1);

#[derive(Default)]
struct State {
    /// The types of the first lines.
    asked: Vec<String>,
    ways: Vec<Way>,
    arrays: HashMap<String, Vec<f64>>,
    applied: HashSet<String>,
}

/// The master.
pub struct FakeOriginal {
    pub address: SocketAddr,
    flavour: Flavour,
    state: Mutex<State>,
}

impl FakeOriginal {
    pub fn start(flavour: Flavour) -> Arc<FakeOriginal> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let master = Arc::new(FakeOriginal { address, flavour, state: Mutex::default() });
        let server = master.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let server = server.clone();
                thread::spawn(move || server.serve(stream.unwrap()));
            }
        });
        master
    }

    /// Has the next reply go this way.
    pub fn next(&self, way: Way) {
        self.state.lock().unwrap().ways.push(way);
    }

    /// How many connections began with this type.
    pub fn asked(&self, kind: &str) -> usize {
        self.state.lock().unwrap().asked.iter().filter(|asked| *asked == kind).count()
    }

    fn serve(&self, stream: TcpStream) {
        let mut line = String::new();
        if BufReader::new(&stream).read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let message: Value = serde_json::from_str(&line).unwrap();
        for field in ["from", "to", "timestamp"] {
            assert!(!message[field].is_null(), "{field} is missing in {line}");
        }
        let kind = message["type"].as_str().unwrap();
        self.state.lock().unwrap().asked.push(kind.to_string());
        if let Some((way, data)) = self.answer(kind, &message["data"]) {
            reply(&stream, way, &data);
        }
        if self.flavour == Flavour::Java {
            // It stays open until the other side closes it.
            let _ = BufReader::new(&stream).read_line(&mut String::new());
        }
    }

    /// The data of the reply, and how to send it; none for what it does not know.
    fn answer(&self, kind: &str, data: &Value) -> Option<(Option<Way>, Value)> {
        let mut state = self.state.lock().unwrap();
        let name = data["arrayId"].as_str()?.to_string();
        let created = |status: &str| json!({ "arrayId": name, "status": status });
        let mut reply = match kind {
            "CREATE_ARRAY" => {
                let values = data["values"].as_array()?.iter().map(|value| value.as_f64().unwrap()).collect();
                state.arrays.insert(name.clone(), values);
                created("created")
            }
            "APPLY_OPERATION" => {
                state.applied.insert(name.clone());
                created("processing")
            }
            "GET_RESULT" if self.flavour == Flavour::Python => {
                json!({ "status": "complete", "result": "Operation completed successfully" })
            }
            "GET_RESULT" if state.applied.contains(&name) => {
                let values = state.arrays.get(&name).cloned().unwrap_or_default();
                json!({ "result": values.iter().map(|value| 2.0 * value).collect::<Vec<f64>>(), "status": "complete" })
            }
            "GET_RESULT" => {
                let none = json!({ "result": "Array ID not found or no operation initiated.", "status": "error" });
                return Some((None, none));
            }
            _ => return None,
        };
        let mut way = (!state.ways.is_empty()).then(|| state.ways.remove(0));
        if way == Some(Way::Short) {
            way = None;
            reply["result"].as_array_mut()?.pop();
        }
        Some((way, reply))
    }
}

/// Sends the reply, to a client that may have gone.
fn reply(mut stream: &TcpStream, way: Option<Way>, data: &Value) {
    let head = "{\"type\":\"OPERATION_COMPLETE\",\"from\":\"master\",\"to\":\"client\",\"timestamp\":1,\"data\":";
    let line = |data: &str| format!("{head}{data}}}\n");
    match way {
        None => drop(stream.write_all(line(&data.to_string()).as_bytes())),
        Some(Way::Instead(data)) => drop(stream.write_all(line(&data).as_bytes())),
        Some(Way::Dripping) => drip(stream, line(&data.to_string()).bytes()),
        Some(Way::Endless) => {
            let begin = format!("{head}{{\"status\":\"complete\",\"result\":[");
            drip(stream, begin.bytes().chain(b"1.0,".iter().copied().cycle()));
        }
        Some(Way::Silent) => drop(BufReader::new(stream).read_line(&mut String::new())),
        Some(Way::Closed) => drop(stream.shutdown(Shutdown::Both)),
        Some(Way::Short) => unreachable!("a part has been taken from the data"),
    }
}

fn drip(mut stream: &TcpStream, bytes: impl Iterator<Item = u8>) {
    for byte in bytes {
        if stream.write_all(&[byte]).is_err() {
            return;
        }
        thread::sleep(DRIP);
    }
}
