//! The shell: every queue and every thread of the worker is made here, on one screen.
//!
//! | thread | waits for | sends to |
//! |---|---|---|
//! | timer, the caller of [`Server::run`] | the agent's next deadline, the end | the driver |
//! | accept, accept-shared | connections | starts a thread for each |
//! | data, one per connection | requests | the driver, its own socket, its companion |
//! | forward, at most one per connection | its queue, other workers | its own socket |
//! | fetch, two | `fetches`, other workers | the driver |
//! | compute, `--threads` or `--cores` | the pool's queue | the driver |
//! | heartbeat | `heartbeats`, the next beat | the master's heartbeat connection |
//! | control, one per attempt | name look-up, connecting, then the master | the driver |
//! | control-writer | a master that is slow, while it is | the control connection |
//! | control-replies, under an original master | its queue | the control connection, the driver |
//!
//! The driver is no thread but a lock: whoever sends to it steps the agent himself. Everybody may wait for the lock; nobody who has it
//! waits. So no circle of waits can close.

use crate::agent::{Agent, Event, ExitReason, Settings};
use crate::cores::Cores;
use crate::data_port::{DataPort, Shared};
use crate::driver::{Driver, Events, Listener, State};
use crate::executor::{Computations, Executor, Pool};
use crate::fetcher::{self, FETCH_SLOTS, FETCHERS};
use crate::heartbeat;
use crate::lock;
use crate::peer::Peers;
use crate::sockets::Sockets;
use crate::store::{Account, Store};
use array::BufferPool;
use log::info;
use protocol::WorkerId;
use protocol::door::Capacity;
use protocol::frame::unix_ms;
use protocol::limits::{CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX};
use protocol::message::worker::Heartbeat;
use protocol::net;
use protocol::size::format_size;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// How a worker runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its id.
    pub worker: WorkerId,
    /// Where masters may be, `HOST:PORT`; tried in turn. At least one.
    pub masters: Vec<String>,
    /// Threads that compute; at least one.
    pub threads: usize,
    /// Where they run, if not wherever the system lets them; as many.
    pub cores: Option<Cores>,
    /// Bytes for copies.
    pub memory_bytes: u64,
    /// Where the data port listens; port 0 picks one.
    pub listen: SocketAddr,
    /// `HOST:PORT` of the data port as others reach it, if not the address it listens on; port 0 stands for
    /// the real one.
    pub advertise: Option<String>,
    /// Where it is; replicas go to other zones.
    pub zone: Option<String>,
    /// Whether to give up data of another cluster.
    pub join_new: bool,
    /// What it computes with: workers with the same kernels give the same bits.
    pub kernels: String,
    /// What it tells the master about itself beyond that, by name.
    pub features: Vec<String>,
    /// Whether programs of the same machine may connect through shared memory.
    pub shared_memory: bool,
    /// Connections to the data port that are served at once.
    pub capacity: Capacity,
}

impl Config {
    /// A worker for a master on the same machine, as tests need it.
    pub fn new(worker: &str, master: impl Into<String>) -> Config {
        Config {
            worker: worker.into(),
            masters: vec![master.into()],
            threads: 2,
            cores: None,
            memory_bytes: 256 << 20,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: None,
            zone: None,
            join_new: false,
            kernels: array::KERNELS_ID.to_string(),
            features: Vec::new(),
            shared_memory: true,
            capacity: Capacity { connections: CONNECTIONS_MAX, per_address: CONNECTIONS_PER_ADDRESS_MAX },
        }
    }
}

/// A worker that listens and does nothing yet.
pub struct Server {
    driver: Arc<Driver>,
    data_port: DataPort,
    fetchers: Vec<JoinHandle<()>>,
    heartbeat: JoinHandle<()>,
    address: SocketAddr,
}

impl Server {
    /// Listens, and makes everything.
    ///
    /// # Errors
    /// When the address can't be listened on, or there are no threads.
    pub fn bind(config: Config) -> io::Result<Server> {
        let store = Store::new(config.memory_bytes);
        let buffers = BufferPool::new(config.memory_bytes);
        let (threads, cores, results) = (config.threads, config.cores.clone(), buffers.clone());
        Server::bind_with(config, store, buffers, |computations| {
            let pool = Pool::new(threads, cores, results, computations).map_err(io::Error::other)?;
            Ok(Box::new(pool))
        })
    }

    /// As [`Server::bind`], with copies in memory of which others in this process have `account`s too, and with another
    /// [`Executor`] than the pool.
    ///
    /// # Errors
    /// As [`Server::bind`], and those of `executor`.
    pub fn bind_shared(
        config: Config,
        account: Account,
        executor: impl FnOnce(Computations) -> io::Result<Box<dyn Executor>>,
    ) -> io::Result<Server> {
        let store = Store::sharing(config.memory_bytes, account);
        // What the others could use does not lie idle here.
        Server::bind_with(config, store, BufferPool::new(0), executor)
    }

    fn bind_with(
        config: Config,
        store: Store,
        buffers: BufferPool,
        executor: impl FnOnce(Computations) -> io::Result<Box<dyn Executor>>,
    ) -> io::Result<Server> {
        let listener = net::listen(config.listen)
            .map_err(|e| io::Error::new(e.kind(), format!("cannot listen on {}: {e}", config.listen)))?;
        let address = listener.local_addr()?;
        info!(
            "worker {}: {} threads{}, {} for copies, data port {address}",
            config.worker,
            config.threads,
            config.cores.as_ref().map(|cores| format!(" on cores {cores}")).unwrap_or_default(),
            format_size(config.memory_bytes)
        );
        let worker = config.worker.clone();
        let store = Arc::new(Mutex::new(store));
        let sockets = Sockets::default();

        let driver = Arc::new(Driver::default());
        let events: Events = Arc::new(driver.clone());

        // Fetches for the fetchers. Never full: the agent hands out as many as fit.
        let (fetches, jobs) = crossbeam_channel::bounded(FETCH_SLOTS);
        let fetchers = (0..FETCHERS).map(|n| {
            let peers = Peers::new(worker.clone(), sockets.clone(), config.shared_memory);
            let (jobs, events, buffers) = (jobs.clone(), events.clone(), buffers.clone());
            thread::Builder::new().name(format!("fetch-{n}")).spawn(move || fetcher::run(jobs, peers, &buffers, events))
        });
        let fetchers = fetchers.collect::<io::Result<Vec<_>>>()?;

        // Orders for the heartbeats. One is enough: a newer order replaces one that was not taken yet.
        let heartbeats = crossbeam_channel::bounded(1);
        let tasks = Arc::new(AtomicU64::new(0));
        let heartbeat = {
            let (orders, sockets, store, tasks) = (heartbeats.1.clone(), sockets.clone(), store.clone(), tasks.clone());
            let kept = buffers.clone();
            let sign = move || Heartbeat {
                memory_idle_bytes: kept.kept_bytes(),
                ..lock(&store).heartbeat(tasks.load(Ordering::Relaxed))
            };
            thread::Builder::new().name("heartbeat".into()).spawn(move || heartbeat::run(orders, sockets, sign))?
        };

        let executor: Arc<dyn Executor> = Arc::from(executor(Computations::new(events.clone()))?);
        driver.begin(State {
            agent: Agent::new(settings(&config, address, &*executor)),
            started: Instant::now(),
            store: store.clone(),
            executor,
            fetches,
            heartbeats,
            tasks,
            worker: worker.clone(),
            sockets: sockets.clone(),
            lines: HashMap::new(),
            timer_at: None,
            exit: None,
        });
        let shared = Shared { worker, store, buffers, events, sockets, shared_memory: None };
        let data_port = DataPort::start(listener, shared, config.capacity, config.shared_memory)?;
        Ok(Server { driver, data_port, fetchers, heartbeat, address })
    }

    /// Where the data port listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How to end it.
    pub fn handle(&self) -> Handle {
        Handle { driver: self.driver.clone() }
    }

    /// Works until it is drained, shut down or aborted. The calling thread is the timer.
    pub fn run(self) -> ExitReason {
        let Server { driver, data_port, fetchers, heartbeat, .. } = self;
        let reason = driver.run();
        // All sockets are hung up and the queues are gone, so nobody waits for anything any more.
        data_port.end();
        for thread in fetchers.into_iter().chain([heartbeat]) {
            let _ = thread.join();
        }
        reason
    }
}

fn settings(config: &Config, listening: SocketAddr, executor: &dyn Executor) -> Settings {
    let advertised = config.advertise.clone().unwrap_or_else(|| listening.to_string());
    let address = match advertised.rsplit_once(':') {
        Some((host, "0")) => format!("{host}:{}", listening.port()),
        _ => advertised,
    };
    Settings {
        worker: config.worker.clone(),
        incarnation: next_incarnation(),
        masters: config.masters.clone(),
        address,
        cores: config.threads as u32,
        zone: config.zone.clone(),
        join_new: config.join_new,
        compute_slots: executor.slots(),
        small_elements: executor.small_elements(),
        medium_bytes: executor.medium_bytes(),
        kernels: config.kernels.clone(),
        features: config.features.clone(),
        fetch_slots: FETCH_SLOTS,
        seed: RandomState::new().hash_one(config.worker.as_str()),
    }
}

/// The milliseconds of this start, or more when several workers of one process start within one.
fn next_incarnation() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = unix_ms();
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(now.max(last + 1)));
    now.max(last.unwrap_or_default() + 1)
}

/// Ends a worker from outside.
#[derive(Clone)]
pub struct Handle {
    driver: Arc<Driver>,
}

impl Handle {
    /// Asks it to hand its duties over and end; it takes 10 s at most, and no time when no master is
    /// connected.
    pub fn drain(&self) {
        self.driver.tell(Event::Drain);
    }

    /// Ends it at once, with all connections, as a crash would.
    pub fn abort(&self) {
        self.driver.abort();
    }
}

/// A worker on a thread of this process.
pub struct Worker {
    address: SocketAddr,
    handle: Handle,
    thread: JoinHandle<ExitReason>,
}

impl Worker {
    /// Starts a worker.
    ///
    /// # Errors
    /// As [`Server::bind`].
    pub fn start(config: Config) -> io::Result<Worker> {
        let name = format!("worker {}", config.worker);
        let server = Server::bind(config)?;
        let (address, handle) = (server.address(), server.handle());
        let thread = thread::Builder::new().name(name).spawn(move || server.run())?;
        Ok(Worker { address, handle, thread })
    }

    /// Where its data port listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks it to end, as SIGTERM does; see [`Handle::drain`].
    pub fn stop(&self) {
        self.handle.drain();
    }

    /// Ends it at once, as a crash would.
    pub fn abort(&self) {
        self.handle.abort();
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// If the worker has panicked.
    pub fn join(self) -> ExitReason {
        self.thread.join().expect("the worker panicked")
    }
}
