//! Sending without waiting.
//!
//! Whoever steps a state machine writes what comes of it to the sockets himself: no other thread has to be woken for that, which on a
//! busy machine takes longer than the work. What a socket does not take at once waits in its [`Outbox`], and a thread is
//! started that waits for the peer. It ends when the peer has caught up; mostly there is none.

use crate::net::hang_up;
use rustix::net::{SendFlags, send};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Writes that may wait for a slow peer. One that takes no more than that within the time of a write is as good as gone.
const WRITES_MAX: usize = 1024;

/// Bytes that may wait: two of the longest messages there are.
const BYTES_MAX: usize = 2 * crate::limits::JSON_PAYLOAD_BYTES_MAX as usize;

/// Whoever reads requests of a peer stops while more than this waits to be taken by that peer: he gets no new answers before he has
/// read some of the old ones.
const WRITES_PAUSE: usize = 64;

/// The same in bytes: a few of the longest answers with elements in them.
const BYTES_PAUSE: usize = 1 << 20;

/// The writing end of a connection for somebody who must not wait. It takes all it is given, or hangs up. Dropping it hangs up
/// too, after what was written before.
#[derive(Debug)]
pub struct Outbox {
    line: Arc<Line>,
}

#[derive(Debug)]
struct Line {
    stream: TcpStream,
    /// Of the thread, if one is needed.
    name: String,
    backlog: Mutex<Backlog>,
    /// Wakes whoever waits for the peer to take some of it.
    taken: Condvar,
}

/// What waits in an [`Outbox`], for somebody else than its owner.
#[derive(Clone, Debug)]
pub struct Unsent {
    line: Arc<Line>,
}

impl Unsent {
    /// Waits until the peer has taken most of what was written, or the connection is dead.
    pub fn wait_until_taken(&self) {
        let is_much = |backlog: &mut Backlog| backlog.waiting.len() > WRITES_PAUSE || backlog.bytes > BYTES_PAUSE;
        let taken = self.line.taken.wait_while(self.line.lock(), is_much);
        drop(taken.unwrap_or_else(PoisonError::into_inner));
    }
}

#[derive(Debug, Default)]
struct Backlog {
    waiting: VecDeque<Vec<u8>>,
    /// Bytes of those.
    bytes: usize,
    /// A thread is writing them, one after the other.
    is_drained: bool,
    /// Nothing comes after them.
    is_last: bool,
}

impl Outbox {
    /// An outbox for a connection that [`crate::net::prepare`] has set up; `name` is for the thread that writes to a slow peer.
    pub fn new(stream: TcpStream, name: impl Into<String>) -> Outbox {
        Outbox { line: Arc::new(Line { stream, name: name.into(), backlog: Mutex::default(), taken: Condvar::new() }) }
    }

    /// What waits in it, for whoever reads on the same connection.
    pub fn unsent(&self) -> Unsent {
        Unsent { line: self.line.clone() }
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        &self.line.stream
    }
}

impl Write for Outbox {
    /// Takes all of the bytes. Does not wait.
    ///
    /// # Errors
    /// When the connection is dead, or too much waits for the peer; it is hung up then.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.line.write(bytes);
        if written.is_err() {
            hang_up(&self.line.stream);
        }
        written.map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let mut backlog = self.line.lock();
        backlog.is_last = true;
        if !backlog.is_drained {
            hang_up(&self.line.stream);
        }
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner) // every change is complete before anything can panic
    }

    fn write(self: &Arc<Line>, bytes: &[u8]) -> io::Result<()> {
        let mut backlog = self.lock();
        let sent = if backlog.is_drained { 0 } else { self.send_now(bytes)? };
        let rest = &bytes[sent..];
        if rest.is_empty() {
            return Ok(());
        }
        if backlog.waiting.len() >= WRITES_MAX || backlog.bytes + rest.len() > BYTES_MAX {
            let why = format!("{} writes and {} bytes wait for a peer", backlog.waiting.len(), backlog.bytes);
            return Err(io::Error::other(why));
        }
        backlog.bytes += rest.len();
        backlog.waiting.push_back(rest.to_vec());
        if !backlog.is_drained {
            let line = self.clone();
            thread::Builder::new().name(self.name.clone()).spawn(move || line.drain())?;
            backlog.is_drained = true;
        }
        Ok(())
    }

    /// What the kernel takes without waiting.
    fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut sent = 0;
        while sent < bytes.len() {
            match send(&self.stream, &bytes[sent..], SendFlags::DONTWAIT) {
                Ok(n) => sent += n,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => break,
                Err(e) => return Err(e.into()),
            }
        }
        Ok(sent)
    }

    /// Writes what waits until nothing does. A write that makes no progress in its time ends the connection.
    fn drain(&self) {
        loop {
            let next = {
                let mut backlog = self.lock();
                let next = backlog.waiting.pop_front();
                backlog.bytes -= next.as_ref().map_or(0, Vec::len);
                backlog.is_drained = next.is_some();
                if next.is_none() && backlog.is_last {
                    hang_up(&self.stream);
                }
                self.taken.notify_all();
                next
            };
            let Some(bytes) = next else { return };
            if (&self.stream).write_all(&bytes).is_err() {
                hang_up(&self.stream); // its reader notices, and what is still written here fails at once
                let mut backlog = self.lock();
                *backlog = Backlog { is_last: backlog.is_last, ..Backlog::default() };
                self.taken.notify_all();
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    fn pair() -> (Outbox, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (peer, _) = listener.accept().unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        (Outbox::new(stream, "outbox"), peer)
    }

    /// Writes until the kernel takes no more; gives what was written in all.
    fn fill(outbox: &mut Outbox) -> Vec<u8> {
        let mut written = Vec::new();
        while outbox.line.lock().waiting.is_empty() {
            let block = vec![(written.len() >> 16) as u8; 1 << 16];
            outbox.write_all(&block).unwrap();
            written.extend(block);
        }
        written
    }

    #[test]
    fn what_a_slow_peer_does_not_take_comes_later_and_in_order() {
        let (mut outbox, mut peer) = pair();
        let mut written = fill(&mut outbox);
        for n in 0..100 {
            outbox.write_all(&[n; 1000]).unwrap();
            written.extend([n; 1000]);
        }
        let mut read = vec![0; written.len()];
        peer.read_exact(&mut read).unwrap();
        assert!(read == written);
        let until = Instant::now() + Duration::from_secs(10);
        while outbox.line.lock().is_drained {
            assert!(Instant::now() < until, "the thread does not end");
            thread::sleep(Duration::from_millis(1));
        }
        outbox.write_all(b"again").unwrap();
        let mut again = [0; 5];
        peer.read_exact(&mut again).unwrap();
        assert_eq!(&again, b"again");
    }

    #[test]
    fn dropping_it_hangs_up_after_what_was_written() {
        let (mut outbox, mut peer) = pair();
        let written = fill(&mut outbox);
        drop(outbox);
        let mut read = Vec::new();
        peer.read_to_end(&mut read).unwrap();
        assert!(read == written);
        let (outbox, mut peer) = pair();
        drop(outbox);
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_peer_that_takes_nothing_is_hung_up_before_too_much_waits() {
        let (mut outbox, mut peer) = pair();
        fill(&mut outbox);
        let mut writes = 1;
        while outbox.write_all(b"more").is_ok() {
            writes += 1;
        }
        assert!((WRITES_MAX..=WRITES_MAX + 1).contains(&writes), "{writes} writes"); // the thread may hold one
        assert!(outbox.write_all(b"never").is_err());
        peer.read_to_end(&mut Vec::new()).unwrap(); // it ends
    }

    #[test]
    fn whoever_reads_waits_for_a_peer_that_does_not_take_its_answers() {
        let (mut outbox, mut peer) = pair();
        let unsent = outbox.unsent();
        unsent.wait_until_taken(); // nothing waits
        let mut written = fill(&mut outbox).len();
        while outbox.line.lock().bytes < 16 * BYTES_PAUSE {
            outbox.write_all(&[0; 1 << 16]).unwrap();
            written += 1 << 16;
        }
        let waited = thread::spawn(move || unsent.wait_until_taken());
        peer.read_exact(&mut vec![0; BYTES_PAUSE]).unwrap(); // the kernel takes some more of it
        assert!(!waited.is_finished(), "most of it is still there");
        peer.read_exact(&mut vec![0; written - BYTES_PAUSE]).unwrap();
        waited.join().unwrap();
    }

    #[test]
    fn a_reader_does_not_wait_for_a_peer_that_is_gone() {
        let (mut outbox, peer) = pair();
        let unsent = outbox.unsent();
        fill(&mut outbox);
        outbox.write_all(&vec![0; 16 * BYTES_PAUSE]).unwrap();
        drop(peer);
        unsent.wait_until_taken();
    }

    #[test]
    fn a_peer_that_is_gone_is_an_error_and_no_wait() {
        let (mut outbox, peer) = pair();
        drop(peer);
        let until = Instant::now() + Duration::from_secs(10);
        while outbox.write_all(&[0; 1 << 16]).is_ok() {
            assert!(Instant::now() < until, "a connection that is gone still takes bytes");
        }
    }
}
