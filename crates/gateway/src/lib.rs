//! Stands in for peers of the original protocol (level 1), so that the rest of the cluster knows only its own kind.
//!
//! - Behind an original **worker** stands a worker of ours, in this process: it registers with the master, holds the
//!   copies, gives them to whoever asks, and dies with the original. Only its computing is done elsewhere: the original
//!   gets the values, and what it answers becomes the copy. [`guest`] knows how to talk with such a worker, [`stand_in`]
//!   is the shell around it.
//! - An original **client**'s request becomes calls of the [`client`] library, in [`requests`].
//!
//! So promotion, repair, retries and everything else happen once, for everybody, and a cluster without original peers does
//! not notice that this exists. The memory for their values comes from one [`Pool`].

mod guest;
mod requests;
mod stand_in;

use client::Cluster;
use log::{debug, info};
use protocol::level1::{Body, Incoming, Line, LineReader, LineWriter, Opened};
use protocol::limits::FIRST_MESSAGE_TIMEOUT;
use protocol::net::{DeadlineStream, hang_up, linger};
use protocol::{ErrorCode, VersionId, WireError};
use stand_in::{Original, StandIns};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use worker::store::{Account, Pool};

/// How a gateway works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the master listens.
    pub master: SocketAddr,
    /// Memory for the values of level-1 peers: copies on workers, requests and replies under way.
    pub memory_bytes: u64,
    /// Longest line that is read.
    pub line_bytes_max: u64,
    /// Whether level 1 is spoken at all; if not, every peer is told so.
    pub enabled: bool,
}

/// The stand-in for everybody who speaks level 1. Usable from many threads.
pub struct Gateway {
    settings: Settings,
    pool: Arc<Pool>,
    stand_ins: StandIns,
    /// The cluster, once somebody has asked for something.
    cluster: Mutex<Option<Cluster>>,
    /// The newest operation that was accepted for each array.
    operations: Mutex<BTreeMap<String, VersionId>>,
}

impl Gateway {
    /// A gateway to the master of this process.
    pub fn new(settings: Settings) -> Gateway {
        Gateway {
            pool: Pool::new(
                settings.memory_bytes,
                "give the master more --memory, or use clients and workers of level 2",
            ),
            stand_ins: StandIns::default(),
            cluster: Mutex::new(None),
            operations: Mutex::new(BTreeMap::new()),
            settings,
        }
    }

    /// Serves a connection to its end. `writer` is its other half.
    pub fn serve(&self, opened: Opened<DeadlineStream>, writer: TcpStream) {
        let mut reader = LineReader::new(opened, self.settings.line_bytes_max);
        let account = Account::open(&self.pool);
        loop {
            let idle = Instant::now() + FIRST_MESSAGE_TIMEOUT;
            let incoming = reader.read(Some(idle), &mut |bytes| account.try_set(bytes));
            let line = match incoming {
                Ok(Some(Incoming::Line(line))) => line,
                Ok(Some(Incoming::Refused(error))) => {
                    account.set(0); // before it is said: whoever hears it may send something shorter at once
                    if !answer(&writer, &refusal("client", None, &error)) {
                        return;
                    }
                    continue;
                }
                Ok(Some(Incoming::TooLong(error))) => return refuse(&writer, &error),
                Ok(None) => return,
                Err(e) if protocol::frame::is_timeout(&e) => {
                    let error = WireError::new(ErrorCode::DeadlineExceeded, "no complete request came in time");
                    return refuse(&writer, &error);
                }
                Err(e) => return debug!("a connection of level 1 ended: {e}"),
            };
            if !self.settings.enabled {
                let why = "level 1 has no authentication and is not served beyond this machine; start the master with \
                           --level-1, or use a client of level 2";
                return refuse(&writer, &WireError::new(ErrorCode::NotAllowed, why));
            }
            let peer = line.from.clone();
            let reply = match self.understand(line) {
                Ok(Body::RegisterWorker { cores, memory: memory_mib }) => {
                    drop(account); // a worker's copies have their own
                    return self.serve_worker(Original { worker: peer, cores, memory_mib, reader, stream: writer });
                }
                Ok(request) => self.handle(&peer, request, &account),
                Err(error) => refusal(&peer, None, &error),
            };
            if !answer(&writer, &reply) {
                return;
            }
            account.set(0);
        }
    }

    /// What a line asks for.
    fn understand(&self, line: Line) -> Result<Body, WireError> {
        let kind = line.kind.clone();
        match line.into_body()? {
            body @ (Body::RegisterWorker { .. }
            | Body::CreateArray { .. }
            | Body::ApplyOperation { .. }
            | Body::GetResult { .. }) => Ok(body),
            Body::Unknown => {
                let shown: String = kind.chars().take(64).collect();
                let why = format!(
                    "no message type '{}' is known on level 1; it has CREATE_ARRAY, APPLY_OPERATION and GET_RESULT. For more \
                     begin the connection with HELLO",
                    shown.escape_debug()
                );
                Err(WireError::new(ErrorCode::UnknownType, why))
            }
            _ => {
                let why =
                    format!("a connection does not begin with {kind}; clients send requests, workers REGISTER_WORKER");
                Err(WireError::new(ErrorCode::NotAllowed, why))
            }
        }
    }

    fn serve_worker(&self, original: Original) {
        let Original { worker, cores, .. } = &original;
        if let Err(error) = protocol::name::check("worker", worker) {
            return refuse(&original.stream, &error);
        }
        if *cores < 2 {
            info!(
                "worker {worker} of level 1 has {cores} core and would wait for itself at its first operation: it gets none"
            );
        }
        let worker = worker.clone();
        if let Err(e) = self.stand_ins.serve(&self.settings, &self.pool, original) {
            log::error!("worker {worker} of level 1 cannot be served: {e}");
        }
    }

    /// The cluster, as a client sees it.
    fn cluster(&self) -> Result<Cluster, WireError> {
        let mut cluster = self.cluster.lock().expect("nobody panics while he has it");
        if let Some(cluster) = &*cluster {
            return Ok(cluster.clone());
        }
        let connected = Cluster::builder().masters(&self.settings.master.to_string()).connect();
        let connected = connected.map_err(|e| WireError::new(ErrorCode::Busy, e.to_string()))?;
        Ok(cluster.insert(connected).clone())
    }
}

/// The line that refuses a request.
fn refusal(to: &str, array_id: Option<&str>, error: &WireError) -> Vec<u8> {
    debug!("a request of {to} is refused: {error}");
    let line =
        LineWriter::new("OPERATION_COMPLETE", "master", to).text("status", "error").text("result", &error.message);
    let line = line.text("code", &format!("{:?}", error.code));
    match array_id {
        Some(array_id) => line.text("arrayId", array_id).finish(),
        None => line.finish(),
    }
}

/// Sends a line, in one write as far as the system takes it; false if it could not be sent.
fn answer(mut writer: &TcpStream, line: &[u8]) -> bool {
    writer.write_all(line).inspect_err(|e| debug!("an answer of level 1 could not be sent: {e}")).is_ok()
}

/// Refuses a connection of which nothing more can be read as messages.
fn refuse(writer: &TcpStream, error: &WireError) {
    if answer(writer, &refusal("client", None, error)) {
        linger(writer);
    }
    hang_up(writer);
}
