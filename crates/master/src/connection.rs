//! Connections: a reader and a writer thread for each, and the acceptor that makes them.
//!
//! The first line tells which level a peer speaks. Those of level 1 go to the [`Gateway`], on the reader's thread; the
//! driver does not hear of them.

use crate::cluster::ConnId;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use gateway::Gateway;
use protocol::frame::{FrameReader, FrameWriter, is_timeout};
use protocol::level1::{Level, Opened, introduction};
use protocol::message::{Message, PayloadKind};
use protocol::net::{self, DeadlineStream, hang_up};
use protocol::{ErrorCode, FrameError, Incoming, WireError, limits};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Messages that may wait for a slow peer. Full: the peer is closed, because the driver never waits.
const OUTBOX: usize = 1024;

/// After an error of `accept` (usually: out of file descriptors) somebody has to end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Reads a connection of level 2, from its first line on.
type Reader = FrameReader<Opened<DeadlineStream>>;

/// What a connection tells the driver.
pub enum Notice {
    /// It is there.
    Opened {
        /// Its number.
        conn: ConnId,
        /// Where to put messages for it.
        outbox: Outbox,
    },
    /// A message came.
    Received {
        /// On which.
        conn: ConnId,
        /// The message.
        message: Message,
    },
    /// It has ended.
    Closed {
        /// Which.
        conn: ConnId,
        /// How.
        why: String,
    },
}

/// What a writer is told.
enum Order {
    Write(Message),
    /// Hang up.
    Close,
}

/// The driver's end of a connection. Dropping it closes the connection after what was sent.
pub struct Outbox {
    orders: Sender<Order>,
    stream: TcpStream,
}

impl Drop for Outbox {
    fn drop(&mut self) {
        if let Err(TrySendError::Full(_)) = self.orders.try_send(Order::Close) {
            hang_up(&self.stream);
        }
    }
}

impl Outbox {
    /// Sends a message, or hangs up on a peer that does not take any more.
    pub fn send(&self, message: Message) {
        match self.orders.try_send(Order::Write(message)) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                log::warn!("a peer is closed: {OUTBOX} messages wait for it");
                hang_up(&self.stream);
            }
        }
    }
}

/// Accepts connections until the process ends. Each gets its threads, and the driver is told of it before of its first
/// message.
pub fn accept(listener: &TcpListener, notices: &Sender<Notice>, gateway: &Arc<Gateway>) {
    let open = Arc::new(AtomicUsize::new(0));
    let mut next: ConnId = 1;
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) => {
                log::warn!("cannot accept a connection: {e}");
                thread::sleep(ACCEPT_PAUSE);
                continue;
            }
        };
        if open.load(Ordering::Relaxed) >= limits::CONNECTIONS_MAX {
            refuse(stream);
            continue;
        }
        let conn = next;
        next += 1;
        if let Err(e) = start(conn, stream, notices, gateway, &open) {
            log::warn!("connection {conn} cannot be served: {e}");
        }
    }
}

fn refuse(stream: TcpStream) {
    let error = WireError::new(
        ErrorCode::Busy,
        format!("{} connections are open, no more are served", limits::CONNECTIONS_MAX),
    );
    if let Ok((_, mut writer)) = net::split(stream, "master", "") {
        let _ = writer.write(&Message::new(error.retry_after_ms(1000))); // a courtesy; it is closed in any case
    }
}

fn start(
    conn: ConnId,
    stream: TcpStream,
    notices: &Sender<Notice>,
    gateway: &Arc<Gateway>,
    open: &Arc<AtomicUsize>,
) -> io::Result<()> {
    let writer = stream.try_clone()?;
    let reader = net::prepare(stream)?;
    open.fetch_add(1, Ordering::Relaxed);
    let (notices, gateway, counter) = (notices.clone(), gateway.clone(), open.clone());
    let spawned = thread::Builder::new().name(format!("read-{conn}")).spawn(move || {
        serve(conn, reader, writer, &notices, &gateway);
        counter.fetch_sub(1, Ordering::Relaxed);
    });
    if spawned.is_err() {
        open.fetch_sub(1, Ordering::Relaxed);
    }
    spawned.map(drop)
}

/// Serves a connection to its end, on the level that its first line is of.
fn serve(conn: ConnId, reader: DeadlineStream, writer: TcpStream, notices: &Sender<Notice>, gateway: &Gateway) {
    match introduction(reader, Some(Instant::now() + limits::FIRST_MESSAGE_TIMEOUT)) {
        Ok(Some((Level::One, opened))) => gateway.serve(opened, writer),
        Ok(Some((Level::Two, opened))) => {
            let why = match serve_level_2(conn, FrameReader::new(opened), writer, notices) {
                Ok(why) => why,
                Err(e) => e.to_string(),
            };
            let _ = notices.send(Notice::Closed { conn, why }); // fails only when the driver has ended
        }
        Ok(None) => {}
        Err(e) if is_timeout(&e) => {
            let error = WireError::new(ErrorCode::DeadlineExceeded, "no complete message within 60 s");
            let _ = FrameWriter::new(writer, "master", "").write(&Message::new(error)); // a courtesy; it is closed in any case
        }
        Err(e) => log::debug!("connection {conn} ended before its first message: {e}"),
    }
}

fn serve_level_2(conn: ConnId, reader: Reader, writer: TcpStream, notices: &Sender<Notice>) -> io::Result<String> {
    let (orders, outgoing) = bounded(OUTBOX);
    let outbox = Outbox { orders: orders.clone(), stream: writer.try_clone()? };
    let writer = FrameWriter::new(writer, "master", "");
    thread::Builder::new().name(format!("write-{conn}")).spawn(move || write(writer, &outgoing))?;
    if notices.send(Notice::Opened { conn, outbox }).is_err() {
        return Ok("the master ends".to_string());
    }
    Ok(read(conn, reader, notices, orders))
}

/// Reads until the connection ends; says how. A full queue of the driver stops the reading, and so the peer.
fn read(conn: ConnId, mut reader: Reader, notices: &Sender<Notice>, replies: Sender<Order>) -> String {
    let mut first_byte_by = Some(Instant::now() + limits::FIRST_MESSAGE_TIMEOUT);
    loop {
        match next(&mut reader, first_byte_by) {
            Ok(None) => return "its connection was closed".to_string(),
            Ok(Some(Incoming::Message(message))) => {
                first_byte_by = None;
                if notices.send(Notice::Received { conn, message }).is_err() {
                    return "the master ends".to_string();
                }
            }
            Ok(Some(Incoming::Refused { head, error })) => {
                let _ = replies.try_send(Order::Write(Message::reply(&head, error))); // a peer that reads nothing needs no error
            }
            Err(e) => {
                let error = match &e {
                    FrameError::Broken(error) => error.clone(),
                    FrameError::Io(e) if is_timeout(e) => {
                        WireError::new(ErrorCode::DeadlineExceeded, "no complete message within 60 s")
                    }
                    FrameError::Io(_) | FrameError::Truncated => return e.to_string(),
                };
                let _ = replies.try_send(Order::Write(Message::new(error)));
                return e.to_string();
            }
        }
    }
}

/// The next message; bytes that come with it are dropped, since a master takes none.
fn next(reader: &mut Reader, first_byte_by: Option<Instant>) -> Result<Option<Incoming>, FrameError> {
    let incoming = reader.read(first_byte_by)?;
    if let Some(Incoming::Message(message)) = &incoming
        && let Some(payload) = message.head.payload.filter(|payload| payload.kind != PayloadKind::Json)
    {
        reader.skip_payload(&payload)?;
    }
    Ok(incoming)
}

/// Writes until it is told to hang up, or nobody has messages for the connection any more.
fn write(mut writer: net::Sender, orders: &Receiver<Order>) {
    for order in orders {
        let Order::Write(message) = order else { break };
        if let Err(e) = writer.write(&message) {
            log::debug!("a message could not be sent: {e}");
            break;
        }
    }
    hang_up(writer.get_ref());
}
