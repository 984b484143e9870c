//! Connections: a reader's thread for each, and the acceptor that makes them.
//!
//! The first line tells which level a peer speaks. Those of level 1 go to the [`Gateway`], on the reader's thread; the
//! cluster does not hear of them.

use crate::cluster::{ConnId, Event};
use crate::driver::Driver;
use gateway::Gateway;
use protocol::door::{Door, Entry};
use protocol::frame::{FrameReader, FrameWriter, is_timeout};
use protocol::level1::{Level, Opened, introduction};
use protocol::message::{Body, Hello, Message, Role};
use protocol::net::{self, DeadlineStream};
use protocol::outbox::{Outbox, Unsent};
use protocol::{ErrorCode, FrameError, Incoming, WireError, limits};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// After an error of `accept` (usually: out of file descriptors) somebody has to end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Reads a connection of level 2, from its first line on.
type Reader = FrameReader<Opened<DeadlineStream>>;

/// Accepts connections until the process ends.
pub(crate) fn accept(listener: &TcpListener, door: &Arc<Door>, driver: &Arc<Driver>, gateway: &Arc<Gateway>) {
    let mut next: ConnId = 1;
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) => {
                log::warn!("cannot accept a connection: {e}");
                door.make_room();
                thread::sleep(ACCEPT_PAUSE);
                continue;
            }
        };
        let conn = next;
        next += 1;
        let started = door.admit(&stream).and_then(|admitted| match admitted {
            Ok(entry) => start(conn, stream, entry, driver, gateway),
            Err(error) => {
                refuse(stream, error);
                Ok(())
            }
        });
        if let Err(e) = started {
            log::warn!("connection {conn} cannot be served: {e}");
        }
    }
}

/// Tells a peer that there is no room for it. Does not wait: a new connection has room for a line.
fn refuse(stream: TcpStream, error: WireError) {
    log::debug!("a connection is refused: {error}");
    if let Ok((_, mut writer)) = net::split(stream, "master", "") {
        let _ = writer.write(&Message::new(error)); // a courtesy; it is closed in any case
    }
}

fn start(
    conn: ConnId,
    stream: TcpStream,
    entry: Entry,
    driver: &Arc<Driver>,
    gateway: &Arc<Gateway>,
) -> io::Result<()> {
    let writer = stream.try_clone()?;
    let reader = net::prepare(stream)?;
    let (driver, gateway) = (driver.clone(), gateway.clone());
    let body = move || serve(conn, reader, writer, &entry, &driver, &gateway);
    thread::Builder::new().name(format!("read-{conn}")).spawn(body).map(drop)
}

/// Serves a connection to its end, on the level that its first line is of.
fn serve(conn: ConnId, reader: DeadlineStream, writer: TcpStream, entry: &Entry, driver: &Driver, gateway: &Gateway) {
    match introduction(reader, Some(Instant::now() + limits::FIRST_MESSAGE_TIMEOUT)) {
        Ok(Some(_)) if !entry.introduced() => log::debug!("connection {conn} was silent for too long"),
        Ok(Some((Level::One, opened))) => gateway.serve(opened, writer),
        Ok(Some((Level::Two, opened))) => {
            let outbox = Outbox::new(writer, format!("write-{conn}"));
            let unsent = outbox.unsent();
            if driver.open(conn, entry.address(), FrameWriter::new(outbox, "master", "")) {
                let reader = FrameReader::new(opened).sharing(driver.documents());
                let end = read(conn, reader, &unsent, driver);
                driver.close(conn, end);
            }
        }
        Ok(None) => {}
        Err(e) if is_timeout(&e) => {
            let error = WireError::new(ErrorCode::DeadlineExceeded, "no complete message within 60 s");
            let _ = FrameWriter::new(writer, "master", "").write(&Message::new(error)); // a courtesy; it is closed in any case
        }
        Err(e) => log::debug!("connection {conn} ended before its first message: {e}"),
    }
}

/// What makes a reader wait before it takes the next message, so that its peer waits too.
#[derive(Clone, Copy, PartialEq)]
enum Pace {
    /// A client: until it takes its answers, and while the log has much to write.
    Client,
    /// A worker: while the log has much to write. It is told more than it asks for, and would wait for us as we for it.
    Worker,
    /// Signs of life wait for nothing.
    Heartbeat,
}

impl Pace {
    /// As the first message of a connection tells.
    fn of(first: &Body) -> Pace {
        match first {
            Body::RegisterWorker(_) => Pace::Worker,
            Body::Hello(Hello { role: Role::Heartbeat, .. }) => Pace::Heartbeat,
            _ => Pace::Client,
        }
    }
}

/// Reads until the connection ends; returns the event that says how. Each message is dealt with before the next is read, so a busy
/// master makes its peers wait.
fn read(conn: ConnId, mut reader: Reader, unsent: &Unsent, driver: &Driver) -> Event {
    let mut first_byte_by = Some(Instant::now() + limits::FIRST_MESSAGE_TIMEOUT);
    let mut pace = None;
    loop {
        if pace == Some(Pace::Client) {
            unsent.wait_until_taken();
        }
        if pace.is_some_and(|pace| pace != Pace::Heartbeat) {
            driver.wait_for_log();
        }
        match next(&mut reader, first_byte_by) {
            Ok(None) => return Event::Disconnected { conn, why: "its connection was closed".to_string() },
            Ok(Some(Incoming::Message(message))) => {
                first_byte_by = None;
                pace = pace.or(Some(Pace::of(&message.body)));
                if !driver.step(Event::Received { conn, message }) {
                    return Event::Disconnected { conn, why: "the master ends".to_string() };
                }
            }
            Ok(Some(Incoming::Refused { head, error })) => driver.send(conn, &Message::reply(&head, error)),
            Err(e) => {
                let error = match &e {
                    FrameError::Broken(error) => error.clone(),
                    FrameError::Io(e) if is_timeout(e) => {
                        WireError::new(ErrorCode::DeadlineExceeded, "no complete message within 60 s")
                    }
                    FrameError::Io(_) | FrameError::Truncated => {
                        return Event::Disconnected { conn, why: e.to_string() };
                    }
                };
                driver.send(conn, &Message::new(error));
                return Event::Unreadable { conn, why: e.to_string() };
            }
        }
    }
}

/// The next message. Elements come with it if they are those of small results; a master takes no others.
fn next(reader: &mut Reader, first_byte_by: Option<Instant>) -> Result<Option<Incoming>, FrameError> {
    let mut incoming = reader.read(first_byte_by)?;
    if let Some(Incoming::Message(message)) = &mut incoming {
        let bytes_max = if let Body::SegmentResult(_) = message.body { limits::INLINE_BYTES_MAX } else { 0 };
        reader.take_elements(message, bytes_max)?;
    }
    Ok(incoming)
}
