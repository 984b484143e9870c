//! The shell: sockets, threads, the clock and the disk around the [`Cluster`].
//!
//! | thread | does | takes | gives |
//! |---|---|---|---|
//! | the caller of [`Master::run`] | ticks, and says when it is over | ticks, the end | events |
//! | `accept` | accepts | sockets | a thread for each |
//! | `read-N` | reads one connection; on level 1 it is the [`Gateway`]'s | bytes | events |
//! | `write-N` | waits for a peer that is slow, while it is | what its [`Outbox`] holds | bytes |
//! | `log` | appends commands that are to be synced, a group at a time | commands | commits |
//! | `dial` | tries workers' data ports | addresses | events |
//! | `signals` | SIGTERM, SIGINT | | the end |
//!
//! Whoever gives an event to the [`Driver`] steps the cluster himself, under its lock.
//!
//! [`Outbox`]: protocol::outbox::Outbox

use crate::cluster::{Cluster, Config, Event, Now, Quotas, TICK};
use crate::connection;
use crate::driver::{Dial, Driver};
use crate::error::Error;
use crate::log_file::LogFile;
use crossbeam_channel::{Receiver, Sender, bounded, select};
use gateway::Gateway;
use protocol::door::{Capacity, Door};
use protocol::frame::unix_ms;
use protocol::limits::CONNECT_TIMEOUT;
use protocol::net;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Workers whose data ports wait to be tried; trying is only for information, so more are left out.
const DIALS: usize = 256;

/// What a master is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen; port 0 picks one.
    pub listen: SocketAddr,
    /// Copies every segment is meant to have.
    pub replication: u32,
    /// Copies below which no write is acknowledged.
    pub min_copies: u32,
    /// Where the catalog's log is.
    pub data_dir: PathBuf,
    /// Memory for the values of peers of level 1.
    pub memory_bytes: u64,
    /// Longest line of level 1.
    pub line_bytes_max: u64,
    /// Whether level 1 is spoken.
    pub level_1: bool,
    /// Connections served at once.
    pub capacity: Capacity,
    /// What clients may have going at once.
    pub quotas: Quotas,
}

/// A master that listens but has not begun to serve.
pub struct Master {
    settings: Settings,
    address: SocketAddr,
    listener: TcpListener,
    log: LogFile,
    catalog: crate::cluster::catalog::Catalog,
    stop: (Sender<()>, Receiver<()>),
}

impl Master {
    /// Takes up the log and begins to listen.
    pub fn bind(settings: Settings) -> Result<Master, Error> {
        let (log, catalog) = LogFile::open(&settings.data_dir).map_err(Error::Log)?;
        protocol::fault_point!(LogRead);
        let listener = net::listen(settings.listen).map_err(|e| Error::Listen(settings.listen, e))?;
        let address = listener.local_addr().map_err(|e| Error::Listen(settings.listen, e))?;
        Ok(Master { settings, address, listener, log, catalog, stop: bounded(1) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends [`Master::run`] when something is sent.
    pub fn stopper(&self) -> Sender<()> {
        self.stop.0.clone()
    }

    /// Serves until it is told to stop. All channels and threads of the program begin here.
    pub fn run(self) -> Result<(), Error> {
        let config = Config {
            replication: self.settings.replication,
            min_copies: self.settings.min_copies,
            address: self.address.to_string(),
            data_dir: self.settings.data_dir.display().to_string(),
        };
        let started = Instant::now();
        let entropy = Box::new(|| uuid::Uuid::new_v4().as_u128());
        let now = Now { elapsed: started.elapsed(), unix_ms: unix_ms() };
        let cluster = Cluster::new(config, self.catalog, now, entropy).with_quotas(self.settings.quotas);
        let (dials, to_dial) = bounded(DIALS);
        let (ended, end) = bounded(1);
        let driver = Arc::new(Driver::new(cluster, started, self.log, dials, ended));
        let gateway = Arc::new(Gateway::new(gateway::Settings {
            master: reachable(self.address),
            memory_bytes: self.settings.memory_bytes,
            line_bytes_max: self.settings.line_bytes_max,
            enabled: self.settings.level_1,
        }));
        let (logging, dialing, accepting, listener) = (driver.clone(), driver.clone(), driver.clone(), self.listener);
        spawn("log", move || logging.write_log())?;
        spawn("dial", move || dial(&to_dial, &dialing))?;
        let door = Door::new(self.settings.capacity);
        log::info!("connections: {:?}", door.capacity());
        spawn("accept", move || connection::accept(&listener, &door, &accepting, &gateway))?;

        driver.step(Event::Tick);
        let ticks = crossbeam_channel::tick(TICK);
        let result = loop {
            select! {
                recv(end) -> result => break result.unwrap_or(Ok(())),
                recv(ticks) -> _ => driver.step(Event::Tick),
                recv(self.stop.1) -> _ => driver.step(Event::Stop),
            };
        };
        driver.end();
        result
    }
}

/// Where this process reaches itself when it listens at an address.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::from((Ipv6Addr::LOCALHOST, address.port())),
        _ => address,
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    thread::Builder::new().name(name.to_string()).spawn(body).map(drop).map_err(Error::Thread)
}

/// Tries workers' data ports, so that a wrong --advertise is told at once and not found by a client.
fn dial(addresses: &Receiver<Dial>, driver: &Driver) {
    for (worker, incarnation, address) in addresses {
        let failure = net::dial(&address, Instant::now() + CONNECT_TIMEOUT).err().map(|e| e.to_string());
        driver.step(Event::Dialed { worker, incarnation, failure });
    }
}

/// Sends to `stop` at SIGTERM or SIGINT; the second one ends the process at once.
pub fn stop_at_signals(stop: Sender<()>) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])?;
    thread::Builder::new().name("signals".to_string()).spawn(move || {
        for signal in signals.forever() {
            if stop.try_send(()).is_err() {
                std::process::exit(128 + signal);
            }
        }
    })?;
    Ok(())
}

/// How long the process gives its connections to say their last words.
pub const FAREWELL: Duration = Duration::from_millis(50);
