//! A peer that says whatever a test wants, byte for byte: what no client or worker of ours would send.

use serde_json::Value;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// How long a program may take for an answer, or for closing a connection. Silence is longer than this.
pub const ANSWER: Duration = Duration::from_secs(10);

/// A connection.
#[derive(Debug)]
pub struct Raw {
    reader: BufReader<TcpStream>,
}

/// A message of level 2, with what followed it.
#[derive(Debug)]
pub struct Framed {
    pub line: Value,
    pub payload: Vec<u8>,
}

impl Raw {
    pub fn connect(address: &str) -> Raw {
        let stream = TcpStream::connect(address).unwrap_or_else(|e| panic!("{address}: {e}"));
        stream.set_nodelay(true).expect("a new socket");
        stream.set_read_timeout(Some(ANSWER)).expect("a new socket");
        stream.set_write_timeout(Some(ANSWER)).expect("a new socket");
        Raw { reader: BufReader::new(stream) }
    }

    /// Connects, and says HELLO as a client of level 2.
    pub fn connect_level_2(address: &str) -> Raw {
        let mut peer = Raw::connect(address);
        peer.send(b"{\"type\":\"HELLO\",\"data\":{\"role\":\"client\"}}\n");
        let hello = peer.message();
        assert_eq!(hello.line["type"], "HELLO", "{hello:?}");
        peer
    }

    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        self.reader.get_ref().write_all(bytes.as_ref()).expect("the other side takes it");
    }

    /// Sends to somebody who may hang up before he has taken everything.
    pub fn send_what_is_taken(&self, bytes: &[u8]) {
        match self.reader.get_ref().write_all(bytes) {
            Err(e) if !is_hung_up(e.kind()) => panic!("the other side neither takes it nor hangs up: {e}"),
            _ => {}
        }
    }

    /// The same connection, for another thread that sends.
    pub fn try_clone(&self) -> Raw {
        Raw { reader: BufReader::new(self.reader.get_ref().try_clone().expect("a connection")) }
    }

    /// How long sending may wait for the other side to take something; as long as for an answer if nothing else is said.
    pub fn set_write_patience(&self, time: Duration) {
        self.reader.get_ref().set_write_timeout(Some(time)).expect("a connection");
    }

    /// Says that nothing more will come.
    pub fn half_close(&self) {
        self.reader.get_ref().shutdown(Shutdown::Write).expect("a connection");
    }

    /// The next line; none if the connection was closed between two.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => {
                assert!(line.ends_with('\n'), "the connection was closed inside a line: {line}");
                Some(line)
            }
            Err(e) => panic!("no line within {ANSWER:?}: {e}"),
        }
    }

    /// The next line; none if the connection has ended, however it did.
    pub fn line_if_open(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Err(e) if !is_hung_up(e.kind()) => panic!("no line within {ANSWER:?}: {e}"),
            _ => Some(line).filter(|line| line.ends_with('\n')),
        }
    }

    /// Waits until the other side has begun to send, and reads nothing of it.
    pub fn wait_byte(&self) {
        let peeked = self.reader.get_ref().peek(&mut [0]).unwrap_or_else(|e| panic!("no byte within {ANSWER:?}: {e}"));
        assert!(peeked > 0, "the connection was closed without a word");
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let mut byte = [0];
        self.reader.read_exact(&mut byte).unwrap_or_else(|e| panic!("no byte within {ANSWER:?}: {e}"));
        byte[0]
    }

    /// The next message of level 2.
    pub fn message(&mut self) -> Framed {
        let line = self.line().expect("an answer, and not a close without a word");
        let line: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e} in {line}"));
        let mut payload = vec![0; line["payload"]["bytes"].as_u64().unwrap_or(0) as usize];
        self.reader.read_exact(&mut payload).expect("the payload");
        Framed { line, payload }
    }

    /// Sends a request of level 2, and gives what comes next.
    pub fn ask(&mut self, line: &str) -> Value {
        self.send(format!("{line}\n"));
        self.message().line
    }

    /// Waits for the end. What the other side has not read may turn it into a reset; more answers may not come.
    pub fn wait_end(&mut self) {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Err(e) if !is_hung_up(e.kind()) => panic!("it is still open after {ANSWER:?}: {e}"),
            _ => assert!(rest.is_empty(), "one more answer: {}", String::from_utf8_lossy(&rest)),
        }
    }
}

fn is_hung_up(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted)
}
