//! A stream: two rings, one each way, and a bell for each.
//!
//! Both sides of a ring hold one end of its bell. Who sleeps reads from his end; a byte wakes him. The end of the bell is the
//! end of the ring: what is in it can still be read. A process that is killed closes its ends like one that hangs up.

use super::memory::Memory;
use super::ring::{RingReader, RingWriter};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that are shown to the other side at a time: small enough that both copy at the same time and that it finds them in a
/// near cache, large enough that showing them costs nothing.
const PIECE_BYTES: usize = 128 << 10;

/// Bytes taken off a bell at a time. There is seldom more than one.
const RINGS: usize = 64;

/// One end of a connection through shared memory. Clones are the same end; it is closed when the last one is dropped. Timeouts
/// hold for each read and write, as those of a socket do; a time-out is [`io::ErrorKind::TimedOut`].
#[derive(Clone, Debug)]
pub struct SharedStream(Arc<End>);

#[derive(Debug)]
struct End {
    /// Held while reading: there is one reading position.
    reader: Mutex<RingReader>,
    /// Held while writing.
    writer: Mutex<RingWriter>,
    /// The bell of the ring that this end reads.
    in_bell: UnixStream,
    /// The bell of the ring that this end writes.
    out_bell: UnixStream,
    read_timeout: Timeout,
    write_timeout: Timeout,
    /// Nothing more shall be read.
    reading_ended: AtomicBool,
    /// Nothing more shall be written.
    writing_ended: AtomicBool,
}

/// Which end of a connection.
#[derive(Clone, Copy)]
pub(super) enum Role {
    /// Writes ring 0.
    Caller,
    /// Writes ring 1.
    Listener,
}

/// How long a wait may take, in nanoseconds; 0 for ever.
#[derive(Debug, Default)]
struct Timeout(AtomicU64);

impl Timeout {
    fn set(&self, timeout: Option<Duration>) {
        // 0 is no time-out that a socket would take either.
        let nanos = timeout.map_or(0, |timeout| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX).max(1));
        self.0.store(nanos, Ordering::Relaxed);
    }

    /// When a wait that begins now ends.
    fn deadline(&self) -> Option<Instant> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            nanos => Instant::now().checked_add(Duration::from_nanos(nanos)),
        }
    }
}

/// What a bell said.
#[derive(Debug, PartialEq)]
enum Bell {
    /// Look again.
    Rang,
    /// The other side is gone, or this one has hung up.
    Ended,
}

impl SharedStream {
    /// The end of a connection, with the bells of rings 0 and 1.
    pub(super) fn new(memory: Memory, role: Role, bells: [UnixStream; 2]) -> SharedStream {
        let memory = Arc::new(memory);
        let [bell_0, bell_1] = bells;
        let (written, read, out_bell, in_bell) = match role {
            Role::Caller => (0, 1, bell_0, bell_1),
            Role::Listener => (1, 0, bell_1, bell_0),
        };
        SharedStream(Arc::new(End {
            reader: Mutex::new(RingReader::new(memory.clone(), read)),
            writer: Mutex::new(RingWriter::new(memory, written)),
            in_bell,
            out_bell,
            read_timeout: Timeout::default(),
            write_timeout: Timeout::default(),
            reading_ended: AtomicBool::new(false),
            writing_ended: AtomicBool::new(false),
        }))
    }

    /// How long a read may wait; `None` for ever.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) {
        self.0.read_timeout.set(timeout);
    }

    /// How long a write may wait; `None` for ever.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) {
        self.0.write_timeout.set(timeout);
    }

    /// Ends both directions, so that every thread blocked on them wakes up, here and at the other end.
    pub fn hang_up(&self) {
        self.0.reading_ended.store(true, Ordering::SeqCst);
        let _ = self.0.in_bell.shutdown(Shutdown::Both); // it may be gone already
        self.end_writing();
    }

    /// Writes no more: the other end reads what is there, and then the end.
    pub fn end_writing(&self) {
        self.0.writing_ended.store(true, Ordering::SeqCst);
        let _ = self.0.out_bell.shutdown(Shutdown::Both); // as above
    }

    /// Whether there is nothing to read, not even the end.
    pub fn is_quiet(&self) -> bool {
        let mut fds = [PollFd::new(&self.0.in_bell, PollFlags::RDHUP)];
        let ended = !matches!(poll(&mut fds, Some(&Timespec::default())), Ok(0));
        !ended && matches!(lock(&self.0.reader).available(), Ok(0))
    }
}

/// A side is complete before anything can panic.
fn lock<T>(side: &Mutex<T>) -> MutexGuard<'_, T> {
    side.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Read for &SharedStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let end = &*self.0;
        let mut reader = lock(&end.reader);
        let available = match end.wait_to_read(&reader)? {
            Some(available) => available.min(PIECE_BYTES).min(buf.len()),
            None => return Ok(0),
        };
        if reader.read(&mut buf[..available]) {
            let _ = ring(&end.in_bell); // who is gone needs no room, and what he wrote can be read
        }
        Ok(available)
    }
}

impl Write for &SharedStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Ok(0);
        }
        let end = &*self.0;
        let mut writer = lock(&end.writer);
        let room = end.wait_to_write(&writer)?.min(PIECE_BYTES);
        let mut left = room;
        for slice in slices {
            let part = &slice[..slice.len().min(left)];
            writer.write(part);
            left -= part.len();
        }
        if writer.publish() {
            ring(&end.out_bell)?;
        }
        Ok(room - left)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl End {
    /// How many bytes can be read, at least one; `None` when there will be no more.
    fn wait_to_read(&self, reader: &RingReader) -> io::Result<Option<usize>> {
        let mut deadline = None;
        let mut bell = Bell::Rang;
        loop {
            if self.reading_ended.load(Ordering::Relaxed) {
                return Ok(None);
            }
            match reader.available()? {
                0 if bell == Bell::Ended => return Ok(None),
                0 => {}
                available => return Ok(Some(available)),
            }
            let deadline = *deadline.get_or_insert_with(|| self.read_timeout.deadline());
            reader.fall_asleep();
            if reader.available()? == 0 {
                bell = listen(&self.in_bell, deadline)?;
            }
            reader.wake_up();
        }
    }

    /// How many bytes there is room for, at least one.
    fn wait_to_write(&self, writer: &RingWriter) -> io::Result<usize> {
        let mut deadline = None;
        let mut bell = Bell::Rang;
        loop {
            if self.writing_ended.load(Ordering::Relaxed) || bell == Bell::Ended {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            match writer.room()? {
                0 => {}
                room => return Ok(room),
            }
            let deadline = *deadline.get_or_insert_with(|| self.write_timeout.deadline());
            writer.fall_asleep();
            if writer.room()? == 0 {
                bell = listen(&self.out_bell, deadline)?;
            }
            writer.wake_up();
        }
    }
}

/// Waits until a bell rings or ends.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`], also when it rang for nothing until then.
fn listen(bell: &UnixStream, deadline: Option<Instant>) -> io::Result<Bell> {
    wait_for_bytes(bell, deadline)?;
    match recv(bell, &mut [0; RINGS], RecvFlags::DONTWAIT) {
        Ok((_, 0)) | Err(Errno::CONNRESET) => Ok(Bell::Ended),
        Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(Bell::Rang),
        Err(e) => Err(e.into()),
    }
}

/// Waits until there is something to read from a socket, or its end.
pub(super) fn wait_for_bytes(socket: &UnixStream, deadline: Option<Instant>) -> io::Result<()> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut [PollFd::new(socket, PollFlags::IN)], timeout.as_ref()) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
    }
}

/// Wakes the other side.
fn ring(bell: &UnixStream) -> io::Result<()> {
    match send(bell, &[0], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
        // A full bell wakes as well.
        Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(()),
        Err(e) => Err(e.into()),
    }
}
