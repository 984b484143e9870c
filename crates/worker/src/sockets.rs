//! Connections with a deadline on every wait, all of which can be closed at once.

use protocol::limits::{WRITE_TIMEOUT, payload_timeout};
use protocol::net::{self, Receiver, Stream};
use protocol::{FrameReader, FrameWriter, Message};
use std::cell::Cell;
use std::collections::HashMap;
use std::io::{self, IoSlice, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Every open socket of this worker, so that ending it wakes each thread that waits on one.
#[derive(Clone, Default)]
pub(crate) struct Sockets(Arc<Mutex<Open>>);

#[derive(Default)]
struct Open {
    closed: bool,
    next: u64,
    streams: HashMap<u64, Arc<Stream>>,
}

impl Sockets {
    /// Sets up a connection, opened or accepted.
    pub(crate) fn open(
        &self,
        stream: impl Into<Stream>,
        from: &str,
        to: &str,
    ) -> io::Result<(Receiver<Stream>, Writer)> {
        let reader = stream.into().prepare()?;
        let stream = Arc::new(reader.stream().try_clone()?);
        let receiver = FrameReader::new(reader);
        let watch = self.watch(stream.clone())?;
        let inner = DeadlineWriter { stream, deadline: Cell::new(Instant::now()) };
        Ok((receiver, Writer { frames: FrameWriter::new(inner, from, to), _watch: watch }))
    }

    fn watch(&self, stream: Arc<Stream>) -> io::Result<Watch> {
        let mut open = self.lock();
        if open.closed {
            return Err(io::Error::other("this worker is ending"));
        }
        let key = open.next;
        open.next += 1;
        open.streams.insert(key, stream);
        Ok(Watch { sockets: self.clone(), key })
    }

    /// Hangs up every connection, and lets none be opened any more.
    pub(crate) fn close_all(&self) {
        let mut open = self.lock();
        open.closed = true;
        open.streams.values().for_each(|stream| net::hang_up(&**stream));
    }

    /// No method leaves the map half changed, so one that panicked while it had the lock has done no harm.
    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The entry of one socket.
struct Watch {
    sockets: Sockets,
    key: u64,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.sockets.lock().streams.remove(&self.key);
    }
}

/// The writing half of a connection. A frame is written within a time that depends on its length, however
/// slowly the peer reads; after a failure the connection is dead.
pub(crate) struct Writer {
    frames: FrameWriter<DeadlineWriter>,
    _watch: Watch,
}

impl Writer {
    /// Addresses what follows to somebody who has introduced himself.
    pub(crate) fn set_to(&mut self, to: impl Into<String>) {
        self.frames.set_to(to);
    }

    /// Writes a message and the elements it announces.
    pub(crate) fn write(&mut self, message: &Message, elements: &[u8]) -> io::Result<()> {
        let time = payload_timeout(elements.len() as u64).max(WRITE_TIMEOUT);
        self.frames.get_ref().deadline.set(Instant::now() + time);
        self.frames.write_with(message, elements)
    }

    /// Begins a message whose elements follow in blocks.
    pub(crate) fn begin(&mut self, message: &Message) -> io::Result<()> {
        self.frames.begin(message)
    }

    /// Writes elements of the message that was begun, within this time.
    pub(crate) fn write_block(&mut self, elements: &[u8], time: Duration) -> io::Result<()> {
        self.frames.get_ref().deadline.set(Instant::now() + time);
        self.frames.write_block(elements)
    }

    /// Writes a line that is made already.
    pub(crate) fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        let time = payload_timeout(line.len() as u64).max(WRITE_TIMEOUT);
        let deadline = Cell::new(Instant::now() + time);
        DeadlineWriter { stream: self.stream().clone(), deadline }.write_all(line)
    }

    /// The socket.
    pub(crate) fn stream(&self) -> &Arc<Stream> {
        &self.frames.get_ref().stream
    }

    /// Ends the connection so that the peer can read the last answer.
    pub(crate) fn linger(&self) {
        net::linger(&**self.stream());
    }
}

/// A stream whose writes end at a deadline, however slowly the bytes drip.
struct DeadlineWriter {
    stream: Arc<Stream>,
    deadline: Cell<Instant>,
}

impl DeadlineWriter {
    fn arm(&self) -> io::Result<()> {
        match self.deadline.get().checked_duration_since(Instant::now()) {
            None | Some(Duration::ZERO) => Err(io::ErrorKind::TimedOut.into()),
            left => self.stream.set_write_timeout(left),
        }
    }
}

impl Write for DeadlineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.arm()?;
        (&*self.stream).write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice]) -> io::Result<usize> {
        self.arm()?;
        (&*self.stream).write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
