//! The driver: the [`Cluster`] under its lock, and what performs its effects.
//!
//! Whoever brings an event steps the cluster himself and performs what comes of it before the next one does: a reader the message that
//! it has read, the log thread the commits of what it has synced. Nothing is performed that could wait: messages go into
//! [`Outbox`]es, commands to the log thread, addresses to the thread that dials. So nobody has the lock for longer than some
//! steps take, and a request costs no wake-ups but those of the peers. While the lock is taken readers wait, and so do their peers.
//!
//! A command that need not be synced is written at once, if none is under way that must be committed before. That is a copy into
//! the memory of the system, which survives this process.

use crate::cluster::command::Command;
use crate::cluster::{Cluster, ConnId, Effect, Event, Now};
use crate::error::Error;
use crate::log_file::LogFile;
use crossbeam_channel::Sender;
use protocol::frame::{Documents, unix_ms};
use protocol::limits::JSON_PAYLOADS_BYTES_MAX;
use protocol::outbox::Outbox;
use protocol::{FrameWriter, Message, WorkerId, fault_point};
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Commands written and synced together at most.
const GROUP_MAX: usize = 1024;

/// While more commands than this wait for a disk that is slow, nobody's next message is read but signs of life.
const TO_LOG_PAUSE: usize = 4 * GROUP_MAX;

/// A log longer than this is begun anew with the catalog as it is: replaying so much takes about a second.
const LOG_BYTES_MAX: u64 = if protocol::fault::ARE_BUILT { 48 << 10 } else { 64 << 20 };

/// A worker whose data port is to be tried.
pub(crate) type Dial = (WorkerId, u64, String);

/// The cluster, for all threads.
pub(crate) struct Driver {
    state: Mutex<State>,
    /// Only whoever has something to write takes it: the log thread, or a step while that has nothing.
    log: Mutex<LogFile>,
    /// Wakes the log thread.
    commands: Condvar,
    /// Wakes readers that wait for the log thread.
    written: Condvar,
    /// For what readers read.
    documents: Arc<Documents>,
}

struct State {
    cluster: Cluster,
    started: Instant,
    connections: BTreeMap<ConnId, FrameWriter<Outbox>>,
    /// For the log thread. Little more than [`TO_LOG_PAUSE`]: one message more of each reader.
    to_log: VecDeque<ToLog>,
    /// Those, and what the log thread has taken and not told of yet.
    under_way: usize,
    asked_to_compact: bool,
    dials: Sender<Dial>,
    /// Takes the first word about the end.
    ended: Sender<Result<(), Error>>,
    has_ended: bool,
}

/// What the log thread is asked to do.
enum ToLog {
    Append { command: Command, sync: bool },
    Compact { index: u64, snapshot: Vec<u8> },
}

impl Driver {
    /// A driver; `ended` needs room for one word, which says why the master ends.
    pub(crate) fn new(
        cluster: Cluster,
        started: Instant,
        log: LogFile,
        dials: Sender<Dial>,
        ended: Sender<Result<(), Error>>,
    ) -> Driver {
        let state = State {
            cluster,
            started,
            connections: BTreeMap::new(),
            to_log: VecDeque::new(),
            under_way: 0,
            asked_to_compact: false,
            dials,
            ended,
            has_ended: false,
        };
        Driver {
            state: Mutex::new(state),
            log: Mutex::new(log),
            commands: Condvar::new(),
            written: Condvar::new(),
            documents: Documents::new(JSON_PAYLOADS_BYTES_MAX),
        }
    }

    /// Takes note of an event and does what follows from it. False when the master has ended.
    pub(crate) fn step(&self, event: Event) -> bool {
        let mut state = self.lock();
        if !state.has_ended {
            state.step(event, &self.log);
        }
        if !state.to_log.is_empty() {
            self.commands.notify_one();
        }
        !state.has_ended
    }

    /// Takes note of a connection, before its first message. False when the master has ended.
    pub(crate) fn open(&self, conn: ConnId, address: IpAddr, writer: FrameWriter<Outbox>) -> bool {
        let mut state = self.lock();
        if !state.has_ended {
            state.connections.insert(conn, writer);
            state.step(Event::Opened { conn, address }, &self.log);
        }
        !state.has_ended
    }

    /// Memory for JSON payloads, for all readers together.
    pub(crate) fn documents(&self) -> Arc<Documents> {
        self.documents.clone()
    }

    /// Waits while the log has much to write.
    pub(crate) fn wait_for_log(&self) {
        let is_much = |state: &mut State| state.to_log.len() > TO_LOG_PAUSE && !state.has_ended;
        drop(self.written.wait_while(self.lock(), is_much).expect(PANICKED));
    }

    /// Sends a message that no step has decided about.
    pub(crate) fn send(&self, conn: ConnId, message: &Message) {
        self.lock().send(conn, message);
    }

    /// Takes note that a connection has ended, as `end` says.
    pub(crate) fn close(&self, conn: ConnId, end: Event) {
        self.lock().connections.remove(&conn);
        self.step(end);
    }

    /// Closes all connections, after what was sent on them.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.has_ended = true;
        state.connections.clear();
        self.commands.notify_one();
        self.written.notify_all();
    }

    /// The body of the log thread: appends commands, all that are waiting at once, with one sync if any of them asks for it.
    pub(crate) fn write_log(&self) {
        while let Some(group) = self.next_group() {
            let (mut written, mut sync, mut compact) = (Vec::new(), false, None);
            let mut log = self.lock_log();
            for request in group {
                match request {
                    ToLog::Append { command, sync: synced } => {
                        sync |= synced;
                        written.push(Event::Committed { index: log.append(&command), command });
                    }
                    ToLog::Compact { index, snapshot } => compact = Some((index, snapshot)),
                }
            }
            fault_point!(GroupNotWritten);
            let mut result = log.write(sync);
            fault_point!(GroupNotCommitted);
            if let (Ok(()), Some((index, snapshot))) = (&result, &compact) {
                result = log.compact(*index, snapshot);
            }
            let bytes = log.bytes();
            drop(log); // whoever steps with these commits may write
            if let Err(e) = result {
                return self.lock().end(Err(Error::Write(e))); // what the log holds now is not known: nothing is written any more
            }
            self.tell_written(written, compact.is_some(), bytes);
        }
    }

    /// What the log thread does next; none when the master has ended.
    fn next_group(&self) -> Option<Vec<ToLog>> {
        let idle = |state: &mut State| state.to_log.is_empty() && !state.has_ended;
        let mut state = self.commands.wait_while(self.lock(), idle).expect(PANICKED);
        self.written.notify_all();
        let len = state.to_log.len().min(GROUP_MAX);
        (len > 0).then(|| state.to_log.drain(..len).collect())
    }

    fn tell_written(&self, written: Vec<Event>, compacted: bool, bytes: u64) {
        for event in written {
            let mut state = self.lock();
            if state.has_ended {
                return;
            }
            state.under_way -= 1;
            state.step(event, &self.log);
        }
        let mut state = self.lock();
        if compacted {
            state.under_way -= 1;
            state.asked_to_compact = false;
        }
        state.maybe_compact(bytes);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(PANICKED)
    }

    fn lock_log(&self) -> MutexGuard<'_, LogFile> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner) // then the state is poisoned too, and nothing goes on
    }
}

/// A broken invariant ends the process: nobody goes on with a state that is in doubt.
const PANICKED: &str = "a step of the cluster panicked";

impl State {
    /// Steps the cluster with an event, and with the commits that follow at once.
    fn step(&mut self, event: Event, log: &Mutex<LogFile>) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = Now { elapsed: self.started.elapsed(), unix_ms: unix_ms() };
            let is_commit = matches!(event, Event::Committed { .. });
            let effects = self.cluster.step(now, event);
            if is_commit {
                fault_point!(CommittedNotTold);
            }
            for effect in effects {
                match effect {
                    Effect::Send { conn, message } => {
                        self.send(conn, &message);
                        if is_commit {
                            fault_point!(CommittedHalfTold);
                        }
                    }
                    Effect::Close { conn } => drop(self.connections.remove(&conn)),
                    Effect::Propose { command, sync } => events.extend(self.propose(command, sync, log)),
                    Effect::Dial { worker, incarnation, address } => {
                        drop(self.dials.try_send((worker, incarnation, address)))
                    }
                    Effect::Stop => self.end(Ok(())),
                }
            }
        }
    }

    fn send(&mut self, conn: ConnId, message: &Message) {
        let Some(writer) = self.connections.get_mut(&conn) else { return };
        if let Err(e) = writer.write(message) {
            log::debug!("connection {conn} takes no {}: {e}", message.body.kind()); // its reader says so too
        }
    }

    /// Has a command written; the commit if that is done already.
    fn propose(&mut self, command: Command, sync: bool, log: &Mutex<LogFile>) -> Option<Event> {
        if self.has_ended {
            return None; // perhaps because the log can't be written
        }
        if sync || self.under_way > 0 {
            self.under_way += 1;
            self.to_log.push_back(ToLog::Append { command, sync });
            return None;
        }
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        let index = log.append(&command);
        if let Err(e) = log.write(false) {
            self.end(Err(Error::Write(e)));
            return None;
        }
        fault_point!(WrittenNotCommitted);
        let bytes = log.bytes();
        drop(log);
        self.maybe_compact(bytes);
        Some(Event::Committed { index, command })
    }

    /// Has a log of that length compacted if it is too long. The log thread does it after everything before.
    fn maybe_compact(&mut self, bytes: u64) {
        if bytes > LOG_BYTES_MAX && !std::mem::replace(&mut self.asked_to_compact, true) {
            let catalog = self.cluster.catalog();
            self.under_way += 1;
            self.to_log.push_back(ToLog::Compact { index: catalog.index(), snapshot: catalog.to_snapshot() });
        }
    }

    fn end(&mut self, result: Result<(), Error>) {
        self.has_ended = true;
        let _ = self.ended.try_send(result); // only the first word counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Config;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn readers_wait_while_the_disk_is_slow() {
        let directory = tempfile::tempdir().unwrap();
        let (log, catalog) = LogFile::open(directory.path()).unwrap();
        let config = Config { replication: 1, min_copies: 1, address: "here".into(), data_dir: "here".into() };
        let cluster = Cluster::new(config, catalog, Now::default(), Box::new(|| 1));
        let (dials, _to_dial) = crossbeam_channel::bounded(1);
        let (ended, _end) = crossbeam_channel::bounded(1);
        let driver = Arc::new(Driver::new(cluster, Instant::now(), log, dials, ended));
        driver.wait_for_log(); // it has nothing to do

        let slow = driver.lock_log();
        let (logging, reading) = (driver.clone(), driver.clone());
        let log_thread = thread::spawn(move || logging.write_log());
        let mut state = driver.lock();
        for below in 1..=(TO_LOG_PAUSE + GROUP_MAX + 1) as u64 {
            state.propose(Command::ReserveIds { below }, true, &driver.log);
        }
        drop(state);
        driver.commands.notify_one();
        let reader = thread::spawn(move || reading.wait_for_log());
        let until = Instant::now() + Duration::from_secs(30);
        while driver.lock().to_log.len() > TO_LOG_PAUSE + 1 {
            assert!(Instant::now() < until, "the log thread takes nothing");
            thread::sleep(Duration::from_millis(1));
        }
        assert!(!reader.is_finished(), "too much waits still");
        drop(slow);
        reader.join().unwrap();
        driver.end();
        log_thread.join().unwrap();
    }
}
