//! The shell around a [`Guest`]: a worker of ours whose computing an original worker does.
//!
//! | thread | waits for | sends to |
//! |---|---|---|
//! | the connection's reader | the original's lines | `inputs` |
//! | `guest-ID` | `inputs`, the guest's next deadline | `lines`, our worker |
//! | `guest-write-ID` | `lines` | the original |
//! | `stand-in-ID` and the threads of our worker | as in every worker | `inputs` |
//!
//! Whoever ends first takes the others along: each ends by hanging up the original and ending our worker at once, as a crash
//! would, since the original cannot come back with what it has.

use crate::Settings;
use crate::guest::{Effect, Event, Guest, Order, SILENCE_MAX, SLOTS};
use crossbeam_channel::{Receiver, Sender, bounded, select};
use log::{info, warn};
use protocol::level1::{Incoming, LineReader, LineWriter, Opened};
use protocol::message::worker::FEATURE_LEVEL_1;
use protocol::net::{DeadlineStream, hang_up};
use protocol::{ErrorCode, WireError};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use worker::compute::{ComputeJob, Computed};
use worker::store::{Account, Pool, Segment};
use worker::{Computations, Config, Executor, ExitReason, Handle, Server};

/// Events that wait for a guest: its jobs, and what its original says. When it is full the original waits.
const INPUTS: usize = 64;

/// Lines that wait for an original: a piece, its instruction, the next piece, and the same once more.
const LINES: usize = 8;

/// Longest list that is read from a worker: what it was given, and it doubles while it grows.
const RESULT_BYTES_MAX: u64 = 16 * crate::guest::PIECE_ELEMENTS as u64;

/// All original workers make up one place: their copies end together, with this process. So a segment has a copy on one of
/// our own workers if there is any.
const ZONE: &str = "level-1";

/// What wakes a guest.
enum Input {
    Event(Event),
    /// The original, or our worker, is gone.
    End {
        /// Our worker has ended with the cluster, and the original shall know.
        farewell: bool,
    },
}

/// A worker's stand-in, as the others see it.
struct StandIn {
    number: u64,
    handle: Handle,
    stream: TcpStream,
}

impl StandIn {
    /// Ends it, with its original.
    fn end(&self) {
        hang_up(&self.stream);
        self.handle.abort();
    }
}

/// An original worker that has just registered.
pub(crate) struct Original {
    pub(crate) worker: String,
    pub(crate) cores: u32,
    pub(crate) memory_mib: u64,
    pub(crate) reader: LineReader<Opened<DeadlineStream>>,
    pub(crate) stream: TcpStream,
}

/// The stand-ins there are, by worker.
#[derive(Default)]
pub(crate) struct StandIns {
    standing: Mutex<(u64, BTreeMap<String, StandIn>)>,
}

impl StandIns {
    /// Stands in for a worker until it ends.
    pub(crate) fn serve(&self, settings: &Settings, pool: &Arc<Pool>, original: Original) -> io::Result<()> {
        let config = config(settings, pool, &original);
        let for_others = original.stream.try_clone()?;
        let Original { worker, cores, memory_mib, mut reader, stream } = original;
        let worker = worker.as_str();
        let (inputs, events) = bounded(INPUTS);
        let (jobs, to_do) = bounded(SLOTS); // our worker gives out no more of them
        let (lines, to_write) = bounded(LINES);
        let executor = Remote { jobs };
        let mut computations = None;
        let server = Server::bind_shared(config, Account::open(pool), |given| {
            computations = Some(given);
            Ok(Box::new(executor))
        })?;
        let computations = computations.expect("a server that exists has an executor");
        let handle = server.handle();
        let number = self.add(worker, &handle, for_others);
        info!("worker {worker} of level 1 is here, with {cores} cores and {memory_mib} MiB");

        let named = |part: &str| thread::Builder::new().name(format!("{part}-{worker}"));
        let (stream, handle, computations, ended) = (&stream, &handle, &computations, inputs.clone());
        let served = thread::scope(|scope| {
            let start = || {
                named("stand-in").spawn_scoped(scope, move || stand_in(server, worker, &ended))?;
                named("guest-write").spawn_scoped(scope, move || write(stream, to_write))?;
                named("guest").spawn_scoped(scope, move || {
                    let guest = Guest::new(worker, Duration::ZERO);
                    let (why, is_farewell) = run(guest, to_do, events, lines, computations);
                    info!("worker {worker} of level 1 is gone: {why}");
                    if !is_farewell {
                        hang_up(stream);
                    }
                    handle.abort();
                })
            };
            let started = start();
            if started.is_ok() {
                read(&mut reader, &inputs);
            }
            hang_up(stream);
            handle.abort();
            let _ = inputs.send(Input::End { farewell: false }); // the guest may have ended first
            started.map(drop)
        });
        self.remove(worker, number);
        served
    }

    /// Takes note of a stand-in. One that the same worker had before ends: an original never comes back, so this is another
    /// process under its id, and the old connection is dead or about to be.
    fn add(&self, worker: &str, handle: &Handle, stream: TcpStream) -> u64 {
        let mut standing = self.standing.lock().expect("nobody panics while he has it");
        standing.0 += 1;
        let number = standing.0;
        let new = StandIn { number, handle: handle.clone(), stream };
        if let Some(old) = standing.1.insert(worker.to_string(), new) {
            info!("worker {worker} of level 1 has registered anew; its old connection ends");
            old.end();
        }
        number
    }

    fn remove(&self, worker: &str, number: u64) {
        let mut standing = self.standing.lock().expect("nobody panics while he has it");
        if standing.1.get(worker).is_some_and(|stand_in| stand_in.number == number) {
            standing.1.remove(worker);
        }
    }
}

/// How the worker that stands in is started. Its data port is where the original has found the master.
fn config(settings: &Settings, pool: &Pool, original: &Original) -> Config {
    let here = original.stream.local_addr().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip());
    let worker = &original.worker;
    Config {
        threads: original.cores as usize,
        memory_bytes: original.memory_mib.saturating_mul(1 << 20).min(pool.limit()),
        listen: SocketAddr::new(here, 0),
        zone: Some(ZONE.to_string()),
        // No two originals give the same bits: each has kernels of its own.
        kernels: format!("level-1 {worker}"),
        features: vec![FEATURE_LEVEL_1.to_string()],
        // An original is slower than any way to its stand-in, and the memory here is the master's.
        shared_memory: false,
        ..Config::new(worker, settings.master.to_string())
    }
}

/// The executor of a stand-in: hands its jobs to the guest.
struct Remote {
    jobs: Sender<Order>,
}

impl Executor for Remote {
    fn slots(&self) -> usize {
        SLOTS
    }

    fn small_elements(&self) -> u64 {
        0 // every job goes over the wire, as text
    }

    fn medium_bytes(&self) -> u64 {
        0
    }

    fn start(&self, jobs: Vec<ComputeJob>) -> Vec<Computed> {
        let (orders, impossible): (Vec<_>, Vec<_>) = jobs.into_iter().map(Order::try_from).partition(Result::is_ok);
        for order in orders.into_iter().flatten() {
            let _ = self.jobs.try_send(order); // a guest that has ended takes its worker along
        }
        impossible.into_iter().filter_map(Result::err).collect()
    }

    fn free(&self, trash: Vec<Arc<Segment>>) {
        drop(trash);
    }
}

/// Runs our worker until it ends.
fn stand_in(server: Server, worker: &str, ended: &Sender<Input>) {
    let reason = server.run();
    match reason {
        ExitReason::Aborted | ExitReason::Shutdown => {}
        ref other => warn!("worker {worker} of level 1: {other}"),
    }
    let _ = ended.send(Input::End { farewell: reason == ExitReason::Shutdown });
}

/// Runs the guest until it gives up, or its original or our worker is gone; says why it ended. True if the original is to
/// get what is still on its way to it. Whoever sends to it, or takes its lines, notices its end by that of the queues.
fn run(
    mut guest: Guest,
    jobs: Receiver<Order>,
    inputs: Receiver<Input>,
    lines: Sender<Vec<u8>>,
    computations: &Computations,
) -> (String, bool) {
    let started = Instant::now();
    loop {
        let event = select! {
            recv(jobs) -> job => job.map(Event::Job).unwrap_or(Event::Tick),
            recv(inputs) -> input => match input {
                Ok(Input::Event(event)) => event,
                Ok(Input::End { farewell: true }) => {
                    let bye = LineWriter::new("SHUTDOWN", "master", guest.worker()).finish();
                    return ("the cluster is shut down".to_string(), lines.try_send(bye).is_ok());
                }
                Ok(Input::End { farewell: false }) | Err(_) => return ("its connection ended".to_string(), false),
            },
            default(guest.next_deadline().saturating_sub(started.elapsed())) => Event::Tick,
        };
        for effect in guest.step(started.elapsed(), event) {
            match effect {
                // A guest has few lines under way; an original that does not take them does not take any.
                Effect::Send(line) => {
                    if lines.try_send(line).is_err() {
                        return ("it does not read what it is sent".to_string(), false);
                    }
                }
                Effect::Ended(computed) => computations.ended(vec![computed]),
                Effect::GiveUp(why) => return (why, false),
            }
        }
    }
}

/// Reads what the original says, until it ends.
fn read(reader: &mut LineReader<Opened<DeadlineStream>>, inputs: &Sender<Input>) {
    let mut grant = |bytes: u64| match bytes <= RESULT_BYTES_MAX {
        true => Ok(()),
        false => Err(WireError::new(ErrorCode::TooLarge, "a result that is longer than what was asked for")),
    };
    loop {
        let event = match reader.read(Some(Instant::now() + SILENCE_MAX), &mut grant) {
            Ok(Some(Incoming::Line(line))) => line.into_body().map_or_else(Event::Refused, Event::Received),
            Ok(Some(Incoming::Refused(error))) => Event::Refused(error),
            Ok(None | Some(Incoming::TooLong(_))) | Err(_) => return,
        };
        if inputs.send(Input::Event(event)).is_err() {
            return;
        }
    }
}

/// Writes lines to the original until there are no more, or it takes none. Then the connection is over.
fn write(mut stream: &TcpStream, lines: Receiver<Vec<u8>>) {
    for line in lines {
        if let Err(e) = stream.write_all(&line) {
            warn!("a worker of level 1 does not take what it is sent: {e}");
            break;
        }
    }
    hang_up(stream); // its reader notices
}
