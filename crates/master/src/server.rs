//! The shell: sockets, threads, the clock and the disk around the [`Cluster`].
//!
//! | thread | does | takes | gives |
//! |---|---|---|---|
//! | `driver` (the caller of [`Master::run`]) | owns the cluster, performs its effects | notices, commits, ticks | messages, commands; never waits for either |
//! | `accept` | accepts | sockets | a thread for each |
//! | `read-N` | reads one connection; on level 1 it is the [`Gateway`]'s | bytes | notices; waits when the driver is busy, and so does the peer |
//! | `write-N` | writes one connection | messages | bytes; a peer that does not take them is closed |
//! | `log` | appends to the log, syncs a group at a time | commands | commits |
//! | `dial` | tries workers' data ports | addresses | notices |
//! | `signals` | SIGTERM, SIGINT | | the end |

use crate::cluster::command::Command;
use crate::cluster::{Cluster, Config, ConnId, Effect, Event, Now, TICK};
use crate::connection::{self, Notice, Outbox};
use crate::log_file::{LogError, LogFile};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select};
use gateway::Gateway;
use protocol::WorkerId;
use protocol::frame::unix_ms;
use protocol::limits::CONNECT_TIMEOUT;
use protocol::net;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Notices that may wait for the driver; when it is full, readers wait.
const NOTICES: usize = 1024;

/// Commands that may wait for the disk; when it is full the driver keeps them itself.
const COMMANDS: usize = 4096;

/// Commands written and synced together at most.
const GROUP_MAX: usize = 1024;

/// A log longer than this is begun anew with the catalog as it is: replaying so much takes about a second.
const LOG_BYTES_MAX: u64 = 64 << 20;

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

/// Why a master cannot start, or had to end.
#[derive(Debug)]
pub enum Error {
    /// It cannot listen.
    Listen(SocketAddr, io::Error),
    /// Its log cannot be used.
    Log(LogError),
    /// A thread could not be started.
    Thread(io::Error),
    /// The log could not be written; what it holds now is not known, so nothing more is promised.
    Write(io::Error),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Listen(address, e) => write!(f, "cannot listen on {address}: {e}"),
            Error::Log(e) => e.fmt(f),
            Error::Thread(e) => write!(f, "cannot start a thread: {e}"),
            Error::Write(e) => {
                write!(f, "cannot write the catalog's log: {e}; restart the master when the disk is well")
            }
        }
    }
}

impl std::error::Error for Error {}

impl Master {
    /// Takes up the log and begins to listen.
    pub fn bind(settings: Settings) -> Result<Master, Error> {
        let (log, catalog) = LogFile::open(&settings.data_dir).map_err(Error::Log)?;
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
        let (notices, noticed) = bounded(NOTICES);
        let (commands, to_write) = bounded(COMMANDS);
        // As many as commands can be on their way, so that the log never waits for the driver.
        let (commits, committed) = bounded(COMMANDS + GROUP_MAX);
        let (dials, to_dial) = bounded(DIALS);
        let (dialed, dial_results) = bounded(DIALS);
        let log = self.log;
        spawn("log", move || write_log(log, &to_write, &commits))?;
        spawn("dial", move || dial(&to_dial, &dialed))?;
        let listener = self.listener;
        let gateway = Arc::new(Gateway::new(gateway::Settings {
            master: reachable(self.address),
            memory_bytes: self.settings.memory_bytes,
            line_bytes_max: self.settings.line_bytes_max,
            enabled: self.settings.level_1,
        }));
        spawn("accept", move || connection::accept(&listener, &notices, &gateway))?;

        let config = Config {
            replication: self.settings.replication,
            min_copies: self.settings.min_copies,
            address: self.address.to_string(),
            data_dir: self.settings.data_dir.display().to_string(),
        };
        let started = Instant::now();
        let entropy = Box::new(|| uuid::Uuid::new_v4().as_u128());
        let mut driver = Driver {
            cluster: Cluster::new(config, self.catalog, now(started), entropy),
            started,
            outboxes: BTreeMap::new(),
            commands,
            unsent: VecDeque::new(),
            dials,
            stopped: false,
        };
        driver.run(&noticed, &committed, &dial_results, &self.stop.1)
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

fn now(started: Instant) -> Now {
    Now { elapsed: started.elapsed(), unix_ms: unix_ms() }
}

/// What the log thread is asked to do.
enum ToLog {
    Append { command: Command, sync: bool },
    Compact { index: u64, snapshot: Vec<u8> },
}

/// What the log thread has done.
enum FromLog {
    Committed {
        index: u64,
        command: Command,
    },
    /// The file has grown so long that it should be compacted.
    Long,
    Failed(io::Error),
}

/// Owns the cluster and performs its effects.
struct Driver {
    cluster: Cluster,
    started: Instant,
    outboxes: BTreeMap<ConnId, Outbox>,
    commands: Sender<ToLog>,
    /// Commands that the log's queue had no room for.
    unsent: VecDeque<ToLog>,
    dials: Sender<(WorkerId, u64, String)>,
    stopped: bool,
}

impl Driver {
    fn run(
        &mut self,
        noticed: &Receiver<Notice>,
        committed: &Receiver<FromLog>,
        dialed: &Receiver<Event>,
        stop: &Receiver<()>,
    ) -> Result<(), Error> {
        let ticks = crossbeam_channel::tick(TICK);
        self.step(Event::Tick);
        while !self.stopped {
            // Commits first: they free what others wait for, and there are never many.
            if let Ok(from_log) = committed.try_recv() {
                self.on_log(from_log)?;
                continue;
            }
            select! {
                recv(committed) -> from_log => if let Ok(from_log) = from_log { self.on_log(from_log)? },
                recv(noticed) -> notice => if let Ok(notice) = notice { self.on_notice(notice) },
                recv(dialed) -> event => if let Ok(event) = event { self.step(event) },
                recv(ticks) -> _ => self.step(Event::Tick),
                recv(stop) -> _ => self.step(Event::Stop),
            }
        }
        Ok(())
    }

    fn on_log(&mut self, from_log: FromLog) -> Result<(), Error> {
        match from_log {
            FromLog::Committed { index, command } => self.step(Event::Committed { index, command }),
            FromLog::Long => {
                let catalog = self.cluster.catalog();
                let compact = ToLog::Compact { index: catalog.index(), snapshot: catalog.to_snapshot() };
                self.unsent.push_back(compact);
            }
            FromLog::Failed(e) => return Err(Error::Write(e)),
        }
        Ok(())
    }

    fn on_notice(&mut self, notice: Notice) {
        match notice {
            Notice::Opened { conn, outbox } => {
                self.outboxes.insert(conn, outbox);
            }
            Notice::Received { conn, message } => self.step(Event::Received { conn, message }),
            Notice::Closed { conn, why } => {
                self.outboxes.remove(&conn);
                self.step(Event::Disconnected { conn, why });
            }
        }
    }

    fn step(&mut self, event: Event) {
        for effect in self.cluster.step(now(self.started), event) {
            match effect {
                Effect::Send { conn, message } => {
                    if let Some(outbox) = self.outboxes.get(&conn) {
                        outbox.send(message);
                    }
                }
                Effect::Close { conn } => drop(self.outboxes.remove(&conn)),
                Effect::Propose { command, sync } => self.unsent.push_back(ToLog::Append { command, sync }),
                Effect::Dial { worker, incarnation, address } => {
                    drop(self.dials.try_send((worker, incarnation, address)))
                }
                Effect::Stop => self.stopped = true,
            }
        }
        self.hand_over_commands();
    }

    /// Gives the log what it has room for.
    fn hand_over_commands(&mut self) {
        while let Some(next) = self.unsent.pop_front() {
            match self.commands.try_send(next) {
                Ok(()) => {}
                Err(TrySendError::Full(next)) => return self.unsent.push_front(next),
                Err(TrySendError::Disconnected(_)) => return, // it has said why it ended
            }
        }
    }
}

/// Appends commands to the log: all that are waiting at once, with one sync if any of them asks for it.
fn write_log(mut log: LogFile, commands: &Receiver<ToLog>, commits: &Sender<FromLog>) {
    let mut asked_to_compact = false;
    while let Ok(first) = commands.recv() {
        let group = std::iter::once(first).chain(commands.try_iter().take(GROUP_MAX - 1));
        let (mut written, mut sync, mut compact) = (Vec::new(), false, None);
        for request in group {
            match request {
                ToLog::Append { command, sync: synced } => {
                    sync |= synced;
                    written.push(FromLog::Committed { index: log.append(&command), command });
                }
                ToLog::Compact { index, snapshot } => compact = Some((index, snapshot)),
            }
        }
        let mut result = log.write(sync);
        if let (Ok(()), Some((index, snapshot))) = (&result, compact) {
            result = log.compact(index, &snapshot);
            asked_to_compact = false;
        }
        if let Err(e) = result {
            let _ = commits.send(FromLog::Failed(e)); // the driver ends the process
            return;
        }
        if log.bytes() > LOG_BYTES_MAX && !std::mem::replace(&mut asked_to_compact, true) {
            written.push(FromLog::Long);
        }
        for from_log in written {
            if commits.send(from_log).is_err() {
                return;
            }
        }
    }
}

/// Tries workers' data ports, so that a wrong --advertise is told at once and not found by a client.
fn dial(addresses: &Receiver<(WorkerId, u64, String)>, results: &Sender<Event>) {
    for (worker, incarnation, address) in addresses {
        let failure = net::dial(&address, Instant::now() + CONNECT_TIMEOUT).err().map(|e| e.to_string());
        if results.send(Event::Dialed { worker, incarnation, failure }).is_err() {
            return;
        }
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
