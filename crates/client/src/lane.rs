//! A lane: the thread that moves segments to or from one worker.
//!
//! It takes jobs from a bounded queue, has several in flight on one connection, and reports each exactly once. When the
//! connection fails, every job in flight on it is reported failed, and the next job opens another one. When that cannot be opened, all
//! that are waiting have failed.

use crate::data::{DataConnection, HangUp, Pool};
use crate::error::Failure;
use crossbeam_channel::{Receiver, Sender};
use protocol::frame::FrameError;
use protocol::message::client::Endpoint;
use protocol::{Body, Message};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One segment to be moved.
pub(crate) trait Job: Send {
    /// What it gives.
    type Output: Send;

    /// How long the worker may be silent.
    fn patience(&self) -> Duration;

    /// Sends the request with this id, and its bytes.
    fn send(&mut self, id: u64, connection: &mut DataConnection) -> io::Result<()>;

    /// Takes the reply, which is no ERROR, and the bytes that come with it.
    fn receive(&mut self, reply: Message, connection: &mut DataConnection) -> Result<Self::Output, Failure>;
}

/// What became of a job.
pub(crate) struct Report<J: Job> {
    pub(crate) worker: Endpoint,
    pub(crate) job: J,
    pub(crate) result: Result<J::Output, Failure>,
}

/// Interrupts lanes: what they are doing is not wanted any more.
#[derive(Default)]
pub(crate) struct Interrupt {
    raised: AtomicBool,
    connections: Mutex<Vec<HangUp>>,
}

impl Interrupt {
    /// Wakes up every lane that waits for its worker.
    pub(crate) fn raise(&self) {
        self.raised.store(true, Ordering::SeqCst);
        for connection in self.connections.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            connection.hang_up();
        }
    }

    fn is_raised(&self) -> bool {
        self.raised.load(Ordering::SeqCst)
    }

    /// Hangs up this connection too when the time comes, or at once when it has come already.
    fn watch(&self, connection: &DataConnection) {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(connection.hang_up_handle());
        if self.is_raised() {
            connection.hang_up_handle().hang_up();
        }
    }
}

/// One lane; [`Lane::run`] is the body of its thread.
pub(crate) struct Lane<'a, J: Job> {
    pub(crate) worker: Endpoint,
    pub(crate) jobs: Receiver<J>,
    pub(crate) reports: Sender<Report<J>>,
    pub(crate) pool: &'a Pool,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) deadline: Instant,
}

impl<J: Job> Lane<'_, J> {
    /// Works until the queue is closed and everything is reported.
    pub(crate) fn run(self) {
        let mut connection = None;
        let mut sent: VecDeque<(u64, J)> = VecDeque::new();
        loop {
            // New jobs go out before the next reply is waited for; the planner limits how many there can be.
            let next = match sent.is_empty() {
                true => match self.jobs.recv() {
                    Ok(job) => Some(job),
                    Err(_) => break,
                },
                false => self.jobs.try_recv().ok(),
            };
            let result = match next {
                Some(job) => self.send(job, &mut connection, &mut sent),
                None => self.receive(&mut connection, &mut sent),
            };
            if let Err(failure) = result {
                connection = None;
                for (_, job) in sent.drain(..) {
                    self.report(job, Err(failure.clone()));
                }
            }
        }
        if let Some(connection) = connection.filter(|_| !self.interrupt.is_raised()) {
            self.pool.put(&self.worker, connection);
        }
    }

    /// Sends a job's request. An error is about the connection and all jobs on it; this one is among them then.
    fn send(
        &self,
        mut job: J,
        connection: &mut Option<DataConnection>,
        sent: &mut VecDeque<(u64, J)>,
    ) -> Result<(), Failure> {
        let patience = job.patience();
        let opened = match connection.take() {
            Some(open) => Ok(open),
            None => self.open(patience),
        };
        let mut open = match opened {
            Ok(open) => open,
            Err(failure) => {
                // What waits behind it would wait as long as it has, one after the other.
                sent.extend(std::iter::once(job).chain(self.jobs.try_iter()).map(|job| (0, job)));
                return Err(failure);
            }
        };
        open.set_patience(self.deadline, patience);
        let id = open.take_id();
        let written = job.send(id, &mut open);
        sent.push_back((id, job));
        *connection = Some(open);
        written.map_err(|e| self.unreachable(&FrameError::Io(e)))
    }

    fn open(&self, patience: Duration) -> Result<DataConnection, Failure> {
        if self.interrupt.is_raised() {
            return Err(Failure::Unreachable("interrupted".to_string()));
        }
        let connection = match self.pool.take(&self.worker) {
            Some(connection) => connection,
            None => DataConnection::open(&self.worker, self.deadline, patience, self.pool.path())
                .map_err(Failure::Unreachable)?,
        };
        self.interrupt.watch(&connection);
        Ok(connection)
    }

    /// Takes the reply to the oldest request, and reports its job. An error is about the connection.
    fn receive(&self, connection: &mut Option<DataConnection>, sent: &mut VecDeque<(u64, J)>) -> Result<(), Failure> {
        let Some(open) = connection else {
            return Err(Failure::Unreachable("the connection is gone".to_string()));
        };
        let reply = open.read().map_err(|e| self.unreachable(&e))?;
        if reply.head.id != sent.front().map(|(id, _)| *id) {
            return Err(self.unexpected(&reply));
        }
        let Some((_, mut job)) = sent.pop_front() else {
            return Ok(());
        };
        let result = match reply.body {
            Body::Error(error) => Err(Failure::Refused(error)),
            _ => job.receive(reply, open),
        };
        if result.is_ok() {
            self.pool.count(open);
        }
        // After anything but a plain refusal the border between frames is in doubt.
        let broken = result.as_ref().err().filter(|failure| !matches!(failure, Failure::Refused(_))).cloned();
        self.report(job, result);
        broken.map_or(Ok(()), Err)
    }

    fn unreachable(&self, e: &FrameError) -> Failure {
        Failure::Unreachable(format!("{}: {e}", self.worker.address))
    }

    fn unexpected(&self, reply: &Message) -> Failure {
        let (kind, id) = (reply.body.kind(), reply.head.id);
        Failure::Damaged(format!("{}: it sent {kind} with id {id:?} instead of the next reply", self.worker.address))
    }

    fn report(&self, job: J, result: Result<J::Output, Failure>) {
        if let Err(failure) = &result {
            log::debug!("worker '{}': {failure}", self.worker.worker);
        }
        // Nobody listens any more: then nobody needs it.
        let _ = self.reports.send(Report { worker: self.worker.clone(), job, result });
    }
}
