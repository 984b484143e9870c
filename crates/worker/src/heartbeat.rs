//! Gives signs of life to the master, on a thread and a connection of their own: a worker that computes is
//! not dead.

use crate::agent::{BACKOFF_MIN, HeartbeatJob};
use crate::sockets::{Sockets, Writer};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use log::{debug, warn};
use protocol::limits::{HEARTBEAT_INTERVAL, HELLO_TIMEOUT};
use protocol::message::worker::Heartbeat;
use protocol::message::{Hello, Role};
use protocol::net;
use protocol::{Body, Incoming, Message};
use std::time::{Duration, Instant};

/// For connecting. After one second without a sign of life this worker counts as dead, so a longer wait is of
/// no use.
const DIAL_TIMEOUT: Duration = Duration::from_millis(500);

/// What the thread is told: to whom to give signs of life; `None` for nobody. Only the last word counts.
pub(crate) type Orders = Receiver<Option<HeartbeatJob>>;

/// What the thread was told instead of going on; `Err` when there is nobody left to tell it anything.
type NextOrder = Result<Option<HeartbeatJob>, RecvTimeoutError>;

/// Does what it is told, until nobody can tell it any more. `sign` makes a sign of life.
pub(crate) fn run(orders: Orders, sockets: Sockets, sign: impl Fn() -> Heartbeat) {
    let mut order: NextOrder = Ok(None);
    while let Ok(job) = order {
        order = match job {
            None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(job) => serve(&job, &orders, &sockets, &sign),
        };
    }
}

/// Gives signs of life to one master until told something else, connecting again whenever the connection
/// ends: the control link may live on, and silence would kill this worker.
fn serve(job: &HeartbeatJob, orders: &Orders, sockets: &Sockets, sign: &impl Fn() -> Heartbeat) -> NextOrder {
    let mut pause = BACKOFF_MIN;
    loop {
        match connect(job, sockets) {
            Ok(mut writer) => {
                pause = BACKOFF_MIN;
                match beat(&mut writer, orders, sign) {
                    Ok(next) => return next,
                    Err(e) => warn!("the heartbeat connection to {} failed: {e}; connecting again", job.address),
                }
            }
            Err(why) => debug!("no heartbeat connection to {}: {why}; trying again", job.address),
        }
        match orders.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => pause = (pause * 2).min(HEARTBEAT_INTERVAL),
            told => return told,
        }
    }
}

/// Connects and introduces this worker.
fn connect(job: &HeartbeatJob, sockets: &Sockets) -> Result<Writer, String> {
    let stream = net::dial(&job.address, Instant::now() + DIAL_TIMEOUT).map_err(|e| e.to_string())?;
    let (mut receiver, mut writer) = sockets.open(stream, job.worker.as_str(), "master").map_err(|e| e.to_string())?;
    let hello =
        Hello { worker: Some(job.worker.clone()), incarnation: Some(job.incarnation), ..Hello::new(Role::Heartbeat) };
    writer.write(&Message::new(hello), &[]).map_err(|e| e.to_string())?;
    match receiver.read(Some(Instant::now() + HELLO_TIMEOUT)) {
        Ok(Some(Incoming::Message(Message { body: Body::Hello(_), .. }))) => Ok(writer),
        Ok(Some(Incoming::Message(Message { body: Body::Error(error), .. }))) => Err(error.to_string()),
        Ok(Some(_)) => Err("it did not answer HELLO with HELLO".to_string()),
        Ok(None) => Err("it closed the connection".to_string()),
        Err(e) => Err(e.to_string()),
    }
}

/// Gives a sign of life at every interval until told something else (`Ok`) or until the connection fails.
fn beat(writer: &mut Writer, orders: &Orders, sign: &impl Fn() -> Heartbeat) -> std::io::Result<NextOrder> {
    let mut next = Instant::now();
    loop {
        protocol::fault_point!(HeartbeatNotSent);
        writer.write(&Message::new(sign()), &[])?;
        // After a pause of this process the signs that it missed are of no use.
        next = (next + HEARTBEAT_INTERVAL).max(Instant::now());
        match orders.recv_deadline(next) {
            Err(RecvTimeoutError::Timeout) => {}
            told => return Ok(told),
        }
    }
}
