//! Connections the way all three programs need them: no Nagle, keepalive, and a deadline on every wait. All are TCP, but those
//! to data ports can be replaced by one through shared memory ([`Stream`]).

use crate::frame::{FrameReader, FrameWriter, ReadDeadline, is_timeout};
use crate::limits::{CONNECT_TIMEOUT, CONNECTIONS_MAX, WRITE_TIMEOUT};
#[cfg(target_os = "linux")]
use crate::shared::{self, SharedStream};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// The reading half of a connection.
pub type Receiver<S = TcpStream> = FrameReader<DeadlineStream<S>>;

/// The writing half of a connection.
pub type Sender = FrameWriter<TcpStream>;

/// Silence after which the kernel asks whether the peer is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);

/// How often it asks then, and how many times without an answer: a peer that vanished without a word (power, cable) is
/// noticed after half a minute when nothing else notices. Linux alone would take eleven minutes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// After an answer that ends a connection: how long the peer may take to read it.
const LINGER: Duration = Duration::from_secs(1);

/// What connections of all kinds can do.
pub trait Transport {
    /// Reads what is there, or waits for it.
    ///
    /// # Errors
    /// Those of the connection; [`is_timeout`] when the time-out is over.
    fn receive(&self, into: &mut [u8]) -> io::Result<usize>;

    /// How long a read may wait; `None` for ever.
    ///
    /// # Errors
    /// Those of the connection.
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// Says to the peer that nothing more comes. A connection that is gone already is fine.
    fn end_writing(&self);

    /// Ends both directions, so that every thread blocked on it wakes up. A connection that is gone already is fine.
    fn hang_up(&self);
}

impl Transport for TcpStream {
    fn receive(&self, into: &mut [u8]) -> io::Result<usize> {
        (&*self).read(into)
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(timeout)
    }

    fn end_writing(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }

    fn hang_up(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }
}

/// A connection to or of a data port: TCP, or memory that both ends have.
#[derive(Debug)]
pub enum Stream {
    /// Over the network, or this machine's loopback.
    Tcp(TcpStream),
    /// Between two programs of this machine.
    #[cfg(target_os = "linux")]
    Shared(SharedStream),
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Stream {
        Stream::Tcp(stream)
    }
}

impl Stream {
    /// Connects through shared memory to the worker that has said this name in its HELLO, if it is on this machine.
    ///
    /// # Errors
    /// When it is not, takes no more such connections, or does not do its part until the deadline.
    pub fn connect_here(name: &str, deadline: Instant) -> io::Result<Stream> {
        #[cfg(target_os = "linux")]
        return shared::connect(name, deadline).map(Stream::Shared);
        #[cfg(not(target_os = "linux"))]
        return Err(io::Error::new(io::ErrorKind::Unsupported, format!("{name} by {deadline:?}: not on this system")));
    }

    /// Sets up a connection, opened or accepted.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn prepare(self) -> io::Result<DeadlineStream<Stream>> {
        match &self {
            Stream::Tcp(stream) => set_options(stream)?,
            #[cfg(target_os = "linux")]
            Stream::Shared(_) => {} // no network below that could be silent
        }
        Ok(DeadlineStream { stream: self, deadline: None, timeout: None })
    }

    /// The same connection once more.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn try_clone(&self) -> io::Result<Stream> {
        Ok(match self {
            Stream::Tcp(stream) => Stream::Tcp(stream.try_clone()?),
            #[cfg(target_os = "linux")]
            Stream::Shared(stream) => Stream::Shared(stream.clone()),
        })
    }

    /// Whether the bytes go through shared memory.
    pub fn is_shared(&self) -> bool {
        !matches!(self, Stream::Tcp(_))
    }

    /// How long a write may wait; `None` for ever.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_write_timeout(timeout),
            #[cfg(target_os = "linux")]
            Stream::Shared(stream) => {
                stream.set_write_timeout(timeout);
                Ok(())
            }
        }
    }

    /// Whether the peer has said nothing, not even that it ends.
    pub fn is_quiet(&self) -> bool {
        match self {
            Stream::Tcp(stream) => {
                let peeked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
                let quiet = matches!(&peeked, Err(e) if e.kind() == io::ErrorKind::WouldBlock);
                quiet && stream.set_nonblocking(false).is_ok()
            }
            #[cfg(target_os = "linux")]
            Stream::Shared(stream) => stream.is_quiet(),
        }
    }
}

impl Transport for Stream {
    fn receive(&self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.receive(into),
            #[cfg(target_os = "linux")]
            Stream::Shared(stream) => (&*stream).read(into),
        }
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_read_timeout(timeout),
            #[cfg(target_os = "linux")]
            Stream::Shared(stream) => {
                stream.set_read_timeout(timeout);
                Ok(())
            }
        }
    }

    fn end_writing(&self) {
        match self {
            Stream::Tcp(stream) => stream.end_writing(),
            #[cfg(target_os = "linux")]
            Stream::Shared(stream) => stream.end_writing(),
        }
    }

    fn hang_up(&self) {
        match self {
            Stream::Tcp(stream) => stream.hang_up(),
            #[cfg(target_os = "linux")]
            Stream::Shared(stream) => stream.hang_up(),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).write_vectored(slices),
            #[cfg(target_os = "linux")]
            Stream::Shared(stream) => (&*stream).write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection whose reads end at a deadline, however slowly the bytes drip.
#[derive(Debug)]
pub struct DeadlineStream<S = TcpStream> {
    stream: S,
    deadline: Option<Instant>,
    /// What the connection's own time-out is set to.
    timeout: Option<Duration>,
}

impl<S: Transport> DeadlineStream<S> {
    /// The connection.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// Sets the connection's time-out to at least half of the time that is left, unless it is so already: whoever has only little
    /// time again and again costs no system call each time.
    fn arm(&mut self) -> io::Result<()> {
        let timeout = match self.deadline {
            None => None,
            Some(deadline) => match deadline.checked_duration_since(Instant::now()) {
                None | Some(Duration::ZERO) => return Err(io::ErrorKind::TimedOut.into()),
                Some(left) => Some(power_of_two_below(left)),
            },
        };
        if self.timeout != timeout {
            self.stream.set_read_timeout(timeout)?;
            self.timeout = timeout;
        }
        Ok(())
    }
}

/// The largest power of two of microseconds that is not longer; a microsecond at least.
fn power_of_two_below(time: Duration) -> Duration {
    let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
    Duration::from_micros(1 << us.ilog2())
}

impl<S: Transport> Read for DeadlineStream<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            self.arm()?;
            match self.stream.receive(buf) {
                Err(e) if is_timeout(&e) => {} // arm() tells whether that was the deadline
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

impl<S: Transport> ReadDeadline for DeadlineStream<S> {
    fn set_read_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }
}

/// Sets up a connection, opened or accepted, and gives its two halves: reader, and writer that signs `from` and `to`.
pub fn split(stream: TcpStream, from: &str, to: &str) -> io::Result<(Receiver, Sender)> {
    let stream = prepare(stream)?;
    let writer = FrameWriter::new(stream.stream.try_clone()?, from, to);
    Ok((FrameReader::new(stream), writer))
}

/// Sets up a connection, opened or accepted.
pub fn prepare(stream: TcpStream) -> io::Result<DeadlineStream> {
    set_options(&stream)?;
    Ok(DeadlineStream { stream, deadline: None, timeout: None })
}

fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE);
    let keepalive = keepalive.with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_RETRIES);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Listens at an address. As many connections may wait to be accepted as are served at all: with the 128 of the standard
/// library a burst of them overflows the queue, and whoever connects next is ignored by the kernel for a second.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Who was just killed may have used this port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(CONNECTIONS_MAX as i32)?;
    Ok(socket.into())
}

/// Opens a connection to `HOST:PORT`, trying each address of the host until `deadline`.
pub fn dial(address: &str, deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("'{address}' has no address"));
    for candidate in address.to_socket_addrs()? {
        let left = deadline.saturating_duration_since(Instant::now()).min(CONNECT_TIMEOUT);
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match TcpStream::connect_timeout(&candidate, left) {
            Ok(stream) if is_own_end(&stream) => last = io::ErrorKind::ConnectionRefused.into(),
            Ok(stream) => return Ok(stream),
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// Whether a connection to a free port of this machine has met itself: TCP's simultaneous open, when the kernel chose
/// the very port we dial as our own. It would keep the port from whoever should listen there.
fn is_own_end(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(local), Ok(peer)) if local == peer)
}

/// Has a connection end when what was sent on it is not acknowledged within the time of one write. While something is on
/// its way, keepalive does not ask, and Linux alone would repeat it to a peer that has vanished for a quarter of an hour.
/// For a connection that is the only one to its peer; of systems other than Linux it keeps their own time.
///
/// # Errors
/// Those of the socket.
pub fn notice_loss(stream: &TcpStream) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    SockRef::from(stream).set_tcp_user_timeout(Some(WRITE_TIMEOUT))?;
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
    Ok(())
}

/// Ends both directions of a connection, so that every thread blocked on it wakes up. A connection that is gone
/// already is fine.
pub fn hang_up(stream: &impl Transport) {
    stream.hang_up();
}

/// Ends a connection so that the peer can read the last answer: closing while its bytes are unread would reset it, and take
/// the answer away. What it still sends within a second is read and forgotten.
pub fn linger(stream: &impl Transport) {
    let deadline = Instant::now() + LINGER;
    let mut forgotten = [0; 16 * 1024];
    stream.end_writing();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return;
        }
        match stream.receive(&mut forgotten) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// Whether an address is reachable from this machine only.
pub fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().is_loopback()
}
