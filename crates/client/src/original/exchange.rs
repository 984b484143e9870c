//! One request on a connection of its own, as original masters serve them.
//!
//! A thread dials, writes and reads; the caller waits for it until the deadline, or until it is cancelled. Then he hangs up,
//! which ends the thread wherever it is, and does not wait for that: looking up a host's address cannot be interrupted.

use crate::cancel::Cancel;
use crate::cluster::CONNECT_TIMEOUT;
use crate::connection::{plain, spawn};
use crate::error::Error;
use crate::pace;
use crossbeam_channel::{at, bounded, select};
use protocol::level1::{Answer, Body, Incoming, LineReader};
use protocol::net;
use std::fmt;
use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Longest reply that is read: four times the longest line that our own master reads, because it may write more digits than it
/// was sent.
const REPLY_BYTES_MAX: u64 = 4 * protocol::level1::LINE_BYTES_MAX;

/// What original masters do not answer; it is nearly always the reason.
const NOT_ANSWERED: &str = "requests that they fail on: without workers, or with values that they do not take";

/// Why there is no reply.
#[derive(Debug)]
pub(super) enum NoReply {
    /// There was no connection in time.
    Unreachable(String),
    /// The master ended the connection.
    Closed,
    /// Nothing, or not all of it, came before the deadline; or the call was cancelled.
    Silence,
    /// What came is no reply.
    Unreadable(String),
    /// This machine refused something; nothing was sent.
    Io(io::Error),
}

impl NoReply {
    /// The error of a call.
    pub(super) fn into_error(self, doing: &str) -> Error {
        let doing = doing.to_string();
        match self {
            NoReply::Unreachable(why) => Error::Unreachable { doing, why },
            NoReply::Closed => {
                let what =
                    format!("it closed the connection without a reply, as original masters do after {NOT_ANSWERED}");
                Error::Protocol { doing, what }
            }
            NoReply::Silence => {
                let waiting_for = format!("the whole reply; original masters give none to {NOT_ANSWERED}");
                Error::DeadlineExceeded { doing, waiting_for }
            }
            NoReply::Unreadable(what) => Error::Protocol { doing, what },
            NoReply::Io(e) => Error::Io { doing, source: Arc::new(e) },
        }
    }
}

impl fmt::Display for NoReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoReply::Unreachable(why) | NoReply::Unreadable(why) => f.write_str(why),
            NoReply::Closed => f.write_str("it closed the connection without a reply"),
            NoReply::Silence => f.write_str("it accepted the connection, but did not reply in time"),
            NoReply::Io(e) => e.fmt(f),
        }
    }
}

/// Sends a line to the master, and gives the reply.
pub(super) fn exchange(address: &str, line: Vec<u8>, timeout: Duration, cancel: &Cancel) -> Result<Answer, NoReply> {
    let now = Instant::now();
    let conversation = Arc::new(Conversation {
        address: address.to_string(),
        connect_by: now + timeout.min(CONNECT_TIMEOUT),
        over: Cancel::default(),
        stage: Mutex::new(Stage::Dialling(format!("{address}: no answer in time"))),
    });
    let (sender, replies) = bounded(1);
    let thread = conversation.clone();
    let run = move || {
        let _ = sender.send(thread.run(line)); // nobody waits for it any more
    };
    spawn("client-exchange", run).map_err(NoReply::Io)?;
    select! {
        recv(replies) -> reply => if let Ok(reply) = reply {
            return reply;
        },
        recv(cancel.cancelled) -> _ => {}
        recv(at(now + timeout)) -> _ => {}
    }
    Err(conversation.give_up())
}

/// What the caller and the thread share.
struct Conversation {
    address: String,
    connect_by: Instant,
    /// The caller has gone.
    over: Cancel,
    stage: Mutex<Stage>,
}

/// How far it is.
enum Stage {
    /// There is no connection yet; what happened to the last attempt.
    Dialling(String),
    /// There is one.
    Connected(TcpStream),
}

impl Conversation {
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the thread, and says what it was waiting for.
    fn give_up(&self) -> NoReply {
        self.over.cancel();
        match &*self.stage() {
            Stage::Dialling(why) => NoReply::Unreachable(why.clone()),
            Stage::Connected(stream) => {
                net::hang_up(stream);
                NoReply::Silence
            }
        }
    }

    fn run(&self, line: Vec<u8>) -> Result<Answer, NoReply> {
        let stream = self.dial()?;
        let prepared = stream.try_clone().and_then(|other| Ok((net::prepare(stream)?, other)));
        let (stream, other) = prepared.map_err(NoReply::Io)?;
        *self.stage() = Stage::Connected(other);
        if self.over.is_cancelled() {
            return Err(NoReply::Silence); // the caller has gone before he could hang up
        }
        log::debug!("client -> {}: {} bytes", self.address, line.len());
        if let Err(e) = stream.stream().write_all(&line) {
            // A master that has read enough to refuse has said so.
            log::debug!("{}: writing the request: {e}", self.address);
        }
        drop(line); // it can be large, and so can the reply
        let mut reader = LineReader::new(stream, REPLY_BYTES_MAX);
        let reply = reader.read(None, &mut |_| Ok(()));
        log::debug!("{} -> client: {}", self.address, if reply.is_ok() { "a reply" } else { "an error" });
        understand(reply)
    }

    /// A connection. Nothing has been sent yet, so a master that is being started is waited for.
    fn dial(&self) -> Result<TcpStream, NoReply> {
        for failures in 1.. {
            match net::dial(&self.address, self.connect_by) {
                Ok(stream) => return Ok(stream),
                Err(e) => *self.stage() = Stage::Dialling(format!("{}: {}", self.address, plain(&e))),
            }
            let wait = pace::backoff(failures);
            if Instant::now() + wait >= self.connect_by || self.over.is_cancelled_within(wait) {
                break;
            }
        }
        Err(self.give_up())
    }
}

/// What was read, as a reply.
fn understand(read: io::Result<Option<Incoming>>) -> Result<Answer, NoReply> {
    let line = match read {
        Ok(Some(Incoming::Line(line))) => line,
        Ok(Some(Incoming::Refused(error))) => return Err(NoReply::Unreadable(format!("its reply: {}", error.message))),
        Ok(Some(Incoming::TooLong(_))) => {
            return Err(NoReply::Unreadable(format!("its reply has more than {REPLY_BYTES_MAX} bytes")));
        }
        Ok(None) => return Err(NoReply::Closed),
        Err(e) if e.kind() == io::ErrorKind::TimedOut => return Err(NoReply::Silence),
        Err(_) => return Err(NoReply::Closed), // a reset
    };
    let kind = line.kind.clone();
    match line.into_body() {
        Ok(Body::OperationComplete(answer)) => Ok(answer),
        Ok(_) => Err(NoReply::Unreadable(format!("it answered with {kind}"))),
        Err(error) => Err(NoReply::Unreadable(format!("its reply: {}", error.message))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ErrorCode;

    fn read(bytes: &str) -> Result<Answer, NoReply> {
        understand(LineReader::new(bytes.as_bytes(), REPLY_BYTES_MAX).read(None, &mut |_| Ok(())))
    }

    #[test]
    fn a_reply_is_one_line_about_a_completed_operation() {
        let answer = read(
            "{\"type\": \"OPERATION_COMPLETE\", \"data\": {\"status\": \"error\", \"code\": \"Busy\", \"result\": \"no\"}}\n",
        );
        assert_eq!(answer.unwrap().code, Some(ErrorCode::Busy));
        for (bytes, why) in [
            ("HTTP/1.1 400 Bad Request\r\n", "its reply: "),
            ("{\"type\":\"ERROR\",\"data\":{}}\n", "it answered with ERROR"),
            ("{\"type\":\"OPERATION_COMPLETE\",\"data\":{}}\n", "lacks data.status"),
            ("{\"type\":\"OPERATION_COMPLETE\",\"data\":{\"status\":\"comp", "its reply: the line ends"),
        ] {
            match read(bytes) {
                Err(NoReply::Unreadable(found)) => assert!(found.contains(why), "{bytes}: {found}"),
                other => panic!("{bytes}: {other:?}"),
            }
        }
        assert!(matches!(read(""), Err(NoReply::Closed)));
        assert!(matches!(understand(Err(io::ErrorKind::ConnectionReset.into())), Err(NoReply::Closed)));
        assert!(matches!(understand(Err(io::ErrorKind::TimedOut.into())), Err(NoReply::Silence)));
    }

    #[test]
    fn what_original_masters_do_is_told_where_it_may_be_the_reason() {
        let silent = NoReply::Silence.into_error("storing 'a'");
        assert_eq!(silent.code(), Some(ErrorCode::DeadlineExceeded));
        for error in [silent, NoReply::Closed.into_error("storing 'a'")] {
            assert!(error.to_string().contains("requests that they fail on"), "{error}");
        }
        assert!(NoReply::Unreachable("h:1: refused".into()).into_error("storing 'a'").is_retryable());
    }
}
