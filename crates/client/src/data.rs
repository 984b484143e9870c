//! Connections to the data ports of workers, and the pool they rest in between calls.
//!
//! Each begins as TCP. A worker of this machine says in its HELLO where it can be reached through shared memory; then another
//! connection goes that way and takes the place of the first. What fails on that way leaves the first where it is.

use crate::connection::plain;
use protocol::frame::{FrameError, ReadDeadline};
use protocol::limits::{CONNECT_TIMEOUT, SHARED_MEMORY_TIMEOUT};
use protocol::message::client::Endpoint;
use protocol::message::{Hello, Role};
use protocol::net::{Stream, Transport};
use protocol::{Body, FrameReader, FrameWriter, Incoming, Message, net};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Idle connections kept per worker: a call uses one, and two calls at once are common.
const IDLE_PER_WORKER_MAX: usize = 2;

/// Idle connections kept in all, far below the file descriptors a process has.
const IDLE_MAX: usize = 64;

/// How long an idle connection is kept: calls of one program come in bursts, and workers count connections.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);

/// How far a socket's time-out may be off from what is left before it is set again, to save system calls.
const TIMEOUT_SLACK: Duration = Duration::from_millis(50);

/// Which way the bytes of arrays take between this program and the workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DataPath {
    /// Through shared memory to workers of this machine that offer it, over TCP to all others.
    #[default]
    Auto,
    /// Over TCP, always.
    Tcp,
}

/// Segments that have been written or read, by the way their bytes took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Over TCP.
    pub tcp: u64,
    /// Through shared memory.
    pub shared_memory: u64,
}

/// Until when transfers on a connection may take, and how long its peer may be silent.
#[derive(Clone, Copy, Debug)]
struct Patience {
    deadline: Instant,
    silence: Duration,
}

/// A socket whose reads and writes end with the call's deadline, or when the peer is silent for too long.
#[derive(Debug)]
struct Line {
    stream: Stream,
    patience: Mutex<Patience>,
}

impl Line {
    /// How long the next read or write may wait.
    fn wait(&self, frame_deadline: Option<Instant>) -> io::Result<Duration> {
        let patience = *self.patience.lock().unwrap_or_else(PoisonError::into_inner);
        let deadline = frame_deadline.map_or(patience.deadline, |frame| frame.min(patience.deadline));
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(left.min(patience.silence))
    }
}

/// One direction of a [`Line`].
#[derive(Debug)]
pub(crate) struct Half {
    line: Arc<Line>,
    frame_deadline: Option<Instant>,
    timeout: Duration,
}

impl Half {
    fn new(line: &Arc<Line>) -> Half {
        Half { line: line.clone(), frame_deadline: None, timeout: Duration::ZERO }
    }

    /// The time-out to set, when it is not about right already.
    fn retime(&mut self) -> io::Result<Option<Duration>> {
        let wait = self.line.wait(self.frame_deadline)?;
        if wait.abs_diff(self.timeout) < TIMEOUT_SLACK.min(wait) {
            return Ok(None);
        }
        self.timeout = wait;
        Ok(Some(wait))
    }
}

impl Read for Half {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if let Some(timeout) = self.retime()? {
            self.line.stream.set_read_timeout(Some(timeout))?;
        }
        self.line.stream.receive(buf)
    }
}

impl ReadDeadline for Half {
    fn set_read_deadline(&mut self, deadline: Option<Instant>) {
        self.frame_deadline = deadline;
    }
}

impl Write for Half {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[io::IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        if let Some(timeout) = self.retime()? {
            self.line.stream.set_write_timeout(Some(timeout))?;
        }
        (&self.line.stream).write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An open connection to a worker's data port, introduced.
pub(crate) struct DataConnection {
    pub(crate) reader: FrameReader<Half>,
    pub(crate) writer: FrameWriter<Half>,
    line: Arc<Line>,
    next_id: u64,
}

/// Hangs up a connection from another thread.
pub(crate) struct HangUp(Arc<Line>);

impl HangUp {
    pub(crate) fn hang_up(&self) {
        net::hang_up(&self.0.stream);
    }
}

impl DataConnection {
    /// Dials a worker and exchanges HELLO; the error is for people.
    pub(crate) fn open(
        worker: &Endpoint,
        deadline: Instant,
        silence: Duration,
        path: DataPath,
    ) -> Result<DataConnection, String> {
        let explain = |why: String| format!("{}: {why}", worker.address);
        let patience = Patience { deadline, silence };
        let dial_by = deadline.min(Instant::now() + silence.min(CONNECT_TIMEOUT));
        let stream = net::dial(&worker.address, dial_by).map_err(|e| explain(plain(&e)))?;
        stream.set_nodelay(true).map_err(|e| explain(plain(&e)))?;
        let (over_tcp, hello) = DataConnection::introduce(stream.into(), worker, patience).map_err(explain)?;
        let Some(name) = hello.shared_memory.filter(|_| path == DataPath::Auto) else {
            return Ok(over_tcp);
        };
        let here = Stream::connect_here(&name, deadline.min(Instant::now() + SHARED_MEMORY_TIMEOUT));
        match here.map_err(|e| plain(&e)).and_then(|stream| DataConnection::introduce(stream, worker, patience)) {
            Ok((here, _)) => Ok(here),
            Err(why) => {
                log::debug!("worker '{}': no shared memory, staying with TCP: {why}", worker.worker);
                Ok(over_tcp)
            }
        }
    }

    /// Exchanges HELLO. The answer is awaited before any bytes go out: another worker may have got the port.
    fn introduce(stream: Stream, worker: &Endpoint, patience: Patience) -> Result<(DataConnection, Hello), String> {
        let line = Arc::new(Line { stream, patience: Mutex::new(patience) });
        let mut connection = DataConnection {
            reader: FrameReader::new(Half::new(&line)),
            writer: FrameWriter::new(Half::new(&line), "client", worker.worker.as_str()),
            line,
            next_id: 1,
        };
        connection.writer.write(&Message::new(Hello::new(Role::Client))).map_err(|e| plain(&e))?;
        match connection.read().map_err(|e| e.to_string())?.body {
            Body::Hello(hello) => match &hello.worker {
                Some(found) if *found != worker.worker => Err(format!("worker '{found}' answers there now")),
                _ => Ok((connection, hello)),
            },
            Body::Error(error) => Err(error.to_string()),
            other => Err(format!("it answered HELLO with {}", other.kind())),
        }
    }

    /// Reads the next message. If it announces elements, they are next.
    pub(crate) fn read(&mut self) -> Result<Message, FrameError> {
        match self.reader.read(None)? {
            Some(Incoming::Message(message)) => Ok(message),
            Some(Incoming::Refused { head, error }) => Ok(Message { head: *head, ..Message::new(error) }),
            None => Err(FrameError::Truncated),
        }
    }

    /// The number of the next request.
    pub(crate) fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// Sets how long transfers may take from now on, and how long the worker may be silent.
    pub(crate) fn set_patience(&self, deadline: Instant, silence: Duration) {
        *self.line.patience.lock().unwrap_or_else(PoisonError::into_inner) = Patience { deadline, silence };
    }

    /// A handle to hang it up from elsewhere.
    pub(crate) fn hang_up_handle(&self) -> HangUp {
        HangUp(self.line.clone())
    }

    /// Whether its bytes go through shared memory.
    pub(crate) fn is_shared(&self) -> bool {
        self.line.stream.is_shared()
    }

    /// Whether the worker has closed it meanwhile, or says something unasked.
    fn is_stale(&self) -> bool {
        !self.line.stream.is_quiet()
    }
}

/// A connection at rest, and since when.
type Idle = (Instant, DataConnection);

/// Idle connections to data ports, by worker and address.
#[derive(Default)]
pub(crate) struct Pool {
    path: DataPath,
    idle: Mutex<HashMap<(String, String), Vec<Idle>>>,
    over_tcp: AtomicU64,
    through_shared_memory: AtomicU64,
}

impl Pool {
    /// None yet; those to come shall go this way.
    pub(crate) fn new(path: DataPath) -> Pool {
        Pool { path, ..Pool::default() }
    }

    /// Which way connections shall go.
    pub(crate) fn path(&self) -> DataPath {
        self.path
    }

    /// Counts a segment that was moved.
    pub(crate) fn count(&self, connection: &DataConnection) {
        let counter = if connection.is_shared() { &self.through_shared_memory } else { &self.over_tcp };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// All that were counted.
    pub(crate) fn carried(&self) -> Carried {
        Carried {
            tcp: self.over_tcp.load(Ordering::Relaxed),
            shared_memory: self.through_shared_memory.load(Ordering::Relaxed),
        }
    }

    /// A connection to this worker that is still good, if there is one.
    pub(crate) fn take(&self, worker: &Endpoint) -> Option<DataConnection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = idle.get_mut(&key(worker))?;
        while let Some((since, connection)) = connections.pop() {
            if since.elapsed() < IDLE_TIME_MAX && !connection.is_stale() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection on which nothing is outstanding, if there is room.
    pub(crate) fn put(&self, worker: &Endpoint, connection: DataConnection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|_, connections| {
            connections.retain(|(since, _)| since.elapsed() < IDLE_TIME_MAX);
            !connections.is_empty()
        });
        let total: usize = idle.values().map(Vec::len).sum();
        let connections = idle.entry(key(worker)).or_default();
        if total < IDLE_MAX && connections.len() < IDLE_PER_WORKER_MAX {
            connections.push((Instant::now(), connection));
        }
    }
}

fn key(worker: &Endpoint) -> (String, String) {
    (worker.worker.to_string(), worker.address.clone())
}
