//! Connections: a reader's thread for each, and the acceptor that makes them.
//!
//! The first line tells which level a peer speaks. Those of level 1 go to the [`Gateway`], on the reader's thread; the
//! cluster does not hear of them.

use crate::cluster::{ConnId, Event};
use crate::driver::Driver;
use gateway::Gateway;
use protocol::frame::{FrameReader, FrameWriter, is_timeout};
use protocol::level1::{Level, Opened, introduction};
use protocol::message::{Body, Message};
use protocol::net::{self, DeadlineStream};
use protocol::outbox::Outbox;
use protocol::{ErrorCode, FrameError, Incoming, WireError, limits};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// After an error of `accept` (usually: out of file descriptors) somebody has to end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Reads a connection of level 2, from its first line on.
type Reader = FrameReader<Opened<DeadlineStream>>;

/// Accepts connections until the process ends.
pub(crate) fn accept(listener: &TcpListener, driver: &Arc<Driver>, gateway: &Arc<Gateway>) {
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
        if let Err(e) = start(conn, stream, driver, gateway, &open) {
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
    driver: &Arc<Driver>,
    gateway: &Arc<Gateway>,
    open: &Arc<AtomicUsize>,
) -> io::Result<()> {
    let writer = stream.try_clone()?;
    let reader = net::prepare(stream)?;
    open.fetch_add(1, Ordering::Relaxed);
    let (driver, gateway, counter) = (driver.clone(), gateway.clone(), open.clone());
    let spawned = thread::Builder::new().name(format!("read-{conn}")).spawn(move || {
        serve(conn, reader, writer, &driver, &gateway);
        counter.fetch_sub(1, Ordering::Relaxed);
    });
    if spawned.is_err() {
        open.fetch_sub(1, Ordering::Relaxed);
    }
    spawned.map(drop)
}

/// Serves a connection to its end, on the level that its first line is of.
fn serve(conn: ConnId, reader: DeadlineStream, writer: TcpStream, driver: &Driver, gateway: &Gateway) {
    match introduction(reader, Some(Instant::now() + limits::FIRST_MESSAGE_TIMEOUT)) {
        Ok(Some((Level::One, opened))) => gateway.serve(opened, writer),
        Ok(Some((Level::Two, opened))) => {
            let writer = FrameWriter::new(Outbox::new(writer, format!("write-{conn}")), "master", "");
            if driver.open(conn, writer) {
                let why = read(conn, FrameReader::new(opened), driver);
                driver.close(conn, why);
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

/// Reads until the connection ends; says how. Each message is dealt with before the next is read, so a busy master makes its
/// peers wait.
fn read(conn: ConnId, mut reader: Reader, driver: &Driver) -> String {
    let mut first_byte_by = Some(Instant::now() + limits::FIRST_MESSAGE_TIMEOUT);
    loop {
        match next(&mut reader, first_byte_by) {
            Ok(None) => return "its connection was closed".to_string(),
            Ok(Some(Incoming::Message(message))) => {
                first_byte_by = None;
                if !driver.step(Event::Received { conn, message }) {
                    return "the master ends".to_string();
                }
            }
            Ok(Some(Incoming::Refused { head, error })) => driver.send(conn, &Message::reply(&head, error)),
            Err(e) => {
                let error = match &e {
                    FrameError::Broken(error) => error.clone(),
                    FrameError::Io(e) if is_timeout(e) => {
                        WireError::new(ErrorCode::DeadlineExceeded, "no complete message within 60 s")
                    }
                    FrameError::Io(_) | FrameError::Truncated => return e.to_string(),
                };
                driver.send(conn, &Message::new(error));
                return e.to_string();
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
