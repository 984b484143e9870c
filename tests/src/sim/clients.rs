//! Clients: the real session, upload and download machines around the wishes of [`super::wishes`].

use super::model::Names;
use super::network::{Cont, Packet, Purpose, RpcAnswer};
use super::processes::Process;
use super::wishes::Wish;
use super::{Action, Chance, EPOCH_MS, Node, World};
use client::download::{self, Download, Layout, ReadOrder};
use client::error::{CallError, Error, Failure};
use client::retry::{self, Session};
use client::upload::{self, Upload, WriteOrder};
use protocol::message::client::*;
use protocol::message::data::*;
use protocol::{Body, Message, Payload, PayloadKind};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a client waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What is under way.
enum Job {
    Upload { machine: Box<Upload>, bytes: Arc<Vec<u8>> },
    Download { machine: Box<Download>, layout: Option<Layout>, into: Vec<u8> },
    Call,
}

/// How a wish ended.
#[derive(Debug)]
pub enum Ended {
    /// Stored.
    Created(ArrayCommitted),
    /// Read.
    Got(Box<Layout>, Vec<u8>),
    /// Answered.
    Answered(Box<Message>),
    /// Not.
    Failed(Error),
}

/// A client process.
pub struct ClientNode {
    /// Which life of its process: each has names of its own.
    pub life: u64,
    session: Session,
    conn: Option<u64>,
    job: Option<(Wish, Job, Duration)>,
    /// Jobs begun so far.
    jobs: u64,
    /// When it began to want that.
    began: Duration,
    next_call: u64,
    /// Which question of the machine each call is; 0 for those that nobody waits for.
    asks: BTreeMap<u64, u64>,
    /// What its names hold.
    pub names: Names,
    /// How its last wish ended.
    pub ended: Option<(Wish, Ended)>,
    /// Whether it looks for something to do by itself.
    pub busy: bool,
    /// Arrays it has made, for new contents.
    pub made: u64,
    /// Wishes fulfilled.
    pub fulfilled: u64,
    /// What it will do next, if that is decided.
    pub(crate) next: Option<Wish>,
    /// Whether it waits for a shorter time than anything may take.
    pub(crate) is_impatient: bool,
    /// Whether an imposter has said anything to it since it began to wait.
    pub(crate) is_misled: bool,
}

impl ClientNode {
    pub(crate) fn new(n: usize, life: u64, seed: u64) -> ClientNode {
        let bytes: [u8; 10] =
            [&seed.to_le_bytes()[..], &(n as u16).to_le_bytes()[..]].concat().try_into().expect("ten bytes");
        let session = uuid::Builder::from_unix_timestamp_millis(EPOCH_MS, &bytes).into_uuid();
        ClientNode {
            life,
            session: Session::new(session, 1, seed),
            conn: None,
            job: None,
            jobs: 0,
            began: Duration::ZERO,
            next_call: 1,
            asks: BTreeMap::new(),
            names: BTreeMap::new(),
            ended: None,
            busy: false,
            made: 0,
            fulfilled: 0,
            next: None,
            is_impatient: false,
            is_misled: false,
        }
    }

    /// Its session, as it knows it.
    pub(crate) fn session_id(&self) -> protocol::SessionId {
        self.session.id()
    }

    /// What it waits for.
    pub fn wish(&self) -> Option<&Wish> {
        self.job.as_ref().map(|(wish, ..)| wish)
    }

    /// The number of what it waits for, or has waited for last.
    pub(crate) fn jobs(&self) -> u64 {
        self.jobs
    }

    /// Whether it waits for something.
    pub fn is_waiting(&self) -> bool {
        self.job.is_some()
    }
}

impl World {
    /// Kills a client. What it waited for may have happened or not, or may still happen.
    pub(crate) fn kill_client(&mut self, n: usize) {
        let node = Node::Client(n);
        if !self.is_alive(self.life(node)) {
            return;
        }
        self.note(format!("{} is killed", World::name_of(node)));
        let began = self.clients[n].began;
        if let Some((wish, ..)) = self.clients[n].job.take() {
            self.leave_shared(&wish, began);
            self.forget(n, &wish);
        }
        self.end(node);
    }

    /// Starts a client that knows what its arrays hold, in a new session and with new names.
    pub(crate) fn start_client(&mut self, n: usize, busy: bool) {
        let node = Node::Client(n);
        let (_, life) = self.life(node);
        if self.is_alive((node, life)) {
            return;
        }
        self.processes.insert(node, Process { life: life + 1, alive: true, ..Process::default() });
        let seed = self.luck(node, Chance::Entropy).bits();
        let old = &mut self.clients[n];
        let new = ClientNode {
            names: std::mem::take(&mut old.names),
            made: old.made,
            fulfilled: old.fulfilled,
            busy,
            ..ClientNode::new(n, old.life + 1, seed)
        };
        self.clients[n] = new;
        self.after(Duration::ZERO, Action::ClientActs { client: n });
    }

    /// Lets a client begin to fulfil a wish. It must not be waiting for another.
    pub fn wish(&mut self, n: usize, wish: Wish) {
        self.wish_within(n, wish, PATIENCE);
    }

    /// The same with a deadline.
    pub fn wish_within(&mut self, n: usize, wish: Wish, patience: Duration) {
        assert!(self.clients[n].job.is_none(), "one wish at a time");
        let deadline = self.clock(Node::Client(n)) + patience;
        let call = |body: Body| (Job::Call, Some(body));
        let (job, body) = match &wish {
            Wish::Create { name, content, replace } => {
                let request = upload::Request {
                    name: name.clone(),
                    dtype: content.array.dtype,
                    shape: vec![content.array.len() as u64],
                    replace: *replace,
                    deadline,
                };
                let machine = Box::new(Upload::new(request).expect("lengths are small"));
                (Job::Upload { machine, bytes: Arc::new(content.array.bytes.as_bytes().to_vec()) }, None)
            }
            Wish::Get { name, array, range } => {
                let request = download::Request { name: name.clone(), array: *array, range: *range, deadline };
                (Job::Download { machine: Box::new(Download::new(request)), layout: None, into: Vec::new() }, None)
            }
            Wish::Apply { name, operation, into } => {
                let operation = self.operation_of(n, name, operation.as_ref());
                call(Body::from(ApplyOperation {
                    array_id: name.clone(),
                    operation,
                    into: into.clone(),
                    replace: true,
                    no_wait: false,
                    inline: true,
                }))
            }
            Wish::Reduce { name, reductions } => {
                call(ReduceArray { array_id: name.clone(), reductions: reductions.clone() }.into())
            }
            Wish::Generate { name, generator, dtype, seed } => call(Body::from(GenerateArray {
                array_id: name.clone(),
                generator: generator.clone(),
                dtype: *dtype,
                seed: *seed,
                replace: true,
            })),
            Wish::Delete { name } => call(DeleteArray { array_id: name.clone() }.into()),
            Wish::Ask(body) => call((**body).clone()),
            Wish::Odd(odd) => call(odd.body.clone()),
        };
        let client = &mut self.clients[n];
        client.ended = None;
        client.is_impatient = patience < PATIENCE;
        client.is_misled = false;
        client.jobs += 1;
        client.job = Some((wish, job, deadline));
        client.began = self.now;
        match body {
            Some(body) => self.call(n, 1, body, deadline),
            None => self.step_job(n, None),
        }
    }

    fn call(&mut self, n: usize, ask: u64, body: Body, deadline: Duration) {
        let client = &mut self.clients[n];
        let call = client.next_call;
        client.next_call += 1;
        client.asks.insert(call, ask);
        self.step_session(n, retry::Event::Call { call, body, deadline });
    }

    fn step_session(&mut self, n: usize, event: retry::Event) {
        let now = self.clock(Node::Client(n));
        let effects = self.clients[n].session.step(now, event);
        for effect in effects {
            match effect {
                retry::Effect::Connect { .. } => {
                    let conn = self.dial_master(Node::Client(n), Purpose::Client);
                    self.clients[n].conn = Some(conn);
                }
                retry::Effect::Disconnect => {
                    if let Some(conn) = self.clients[n].conn.take() {
                        self.close_conn(conn, Node::Client(n), "the client closed the connection");
                        self.step_session(n, retry::Event::Disconnected { why: "closed".to_string() });
                    }
                }
                retry::Effect::Send(message) => {
                    if let Some(conn) = self.clients[n].conn {
                        self.send_packet(conn, Node::Client(n), Packet::Message(Box::new(message)));
                    }
                }
                retry::Effect::Finish { call, result } => self.on_answer(n, call, result),
            }
        }
        self.schedule_client(n);
    }

    fn on_answer(&mut self, n: usize, call: u64, result: Result<Message, CallError>) {
        let Some(ask) = self.clients[n].asks.remove(&call).filter(|ask| *ask != 0) else { return };
        match &self.clients[n].job {
            Some((_, Job::Call, _)) => {
                let ended = match result {
                    Ok(message) => Ended::Answered(Box::new(message)),
                    Err(error) => Ended::Failed(error.into_error("asking")),
                };
                self.end_wish(n, ended);
            }
            Some(_) => self.step_job(n, Some(JobEvent::Reply(ask, result.map(|message| message.body)))),
            None => {}
        }
    }

    pub(crate) fn tick_client(&mut self, n: usize) {
        self.step_session(n, retry::Event::Tick);
        self.step_job(n, None);
    }

    /// A client does not want any more what it wished for, if that is what it still waits for.
    pub(crate) fn on_client_cancels(&mut self, n: usize, job: u64) {
        let client = &mut self.clients[n];
        if client.jobs != job || client.job.is_none() {
            return;
        }
        if let Some((_, Job::Download { .. }, _)) = &client.job {
            self.step_job(n, Some(JobEvent::Download(download::Event::Stop)));
        }
        let calls: Vec<u64> =
            self.clients[n].asks.iter().filter(|(_, ask)| **ask != 0).map(|(call, _)| *call).collect();
        for call in calls {
            self.clients[n].asks.remove(&call);
            self.step_session(n, retry::Event::GiveUp { call });
        }
        self.end_wish(n, Ended::Failed(Error::Cancelled { doing: "a wish".to_string() }));
    }

    fn schedule_client(&mut self, n: usize) {
        let client = &self.clients[n];
        let job = match &client.job {
            Some((_, Job::Upload { machine, .. }, _)) => machine.next_deadline(),
            Some((_, Job::Download { machine, .. }, _)) => machine.next_deadline(),
            _ => None,
        };
        if let Some(next) = [client.session.next_deadline(), job].into_iter().flatten().min() {
            let time = self.when(Node::Client(n), next);
            self.tick_at(Node::Client(n), time);
        }
    }

    pub(crate) fn on_client_dialed(&mut self, n: usize, conn: u64, failed: bool) {
        if self.clients[n].conn != Some(conn) {
            return self.close_conn(conn, Node::Client(n), "nobody wants it any more");
        }
        match failed {
            true => {
                self.clients[n].conn = None;
                self.step_session(n, retry::Event::ConnectFailed { why: "connection refused".to_string() });
            }
            false => self.step_session(n, retry::Event::Connected),
        }
    }

    pub(crate) fn on_client_packet(&mut self, n: usize, conn: u64, packet: Packet) {
        if self.clients[n].conn != Some(conn) {
            return;
        }
        self.clients[n].is_misled |= self.imposters.contains_key(&conn);
        match packet {
            Packet::Message(message) => self.step_session(n, retry::Event::Received(*message)),
            Packet::Closed(why) => {
                self.clients[n].conn = None;
                self.step_session(n, retry::Event::Disconnected { why });
            }
        }
    }

    // ---- uploads and downloads ----

    fn step_job(&mut self, n: usize, event: Option<JobEvent>) {
        let now = self.clock(Node::Client(n));
        let (mut uploads, mut downloads) = (Vec::new(), Vec::new());
        match &mut self.clients[n].job {
            Some((_, Job::Upload { machine, .. }, _)) => {
                let event = match event {
                    None => upload::Event::Tick,
                    Some(JobEvent::Reply(ask, result)) => upload::Event::Reply { ask, result },
                    Some(JobEvent::Upload(event)) => event,
                    Some(JobEvent::Download(_)) => return,
                };
                uploads = machine.step(now, event);
                check_progress(
                    machine.progress(),
                    uploads.iter().any(|effect| matches!(effect, upload::Effect::Done(_))),
                );
            }
            Some((_, Job::Download { machine, .. }, _)) => {
                let event = match event {
                    None => download::Event::Tick,
                    Some(JobEvent::Reply(ask, result)) => download::Event::Reply { ask, result },
                    Some(JobEvent::Download(event)) => event,
                    Some(JobEvent::Upload(_)) => return,
                };
                downloads = machine.step(now, event);
                check_progress(
                    machine.progress(),
                    downloads.iter().any(|effect| matches!(effect, download::Effect::Done)),
                );
            }
            _ => return,
        }
        uploads.into_iter().for_each(|effect| self.perform_upload(n, effect));
        downloads.into_iter().for_each(|effect| self.perform_download(n, effect));
        self.schedule_client(n);
    }

    fn deadline(&self, n: usize) -> Duration {
        self.clients[n].job.as_ref().map_or(self.clock(Node::Client(n)), |(_, _, deadline)| *deadline)
    }

    fn perform_upload(&mut self, n: usize, effect: upload::Effect) {
        match effect {
            upload::Effect::Ask { ask, body } => self.call(n, ask, body, self.deadline(n)),
            upload::Effect::Tell(body) => self.call(n, 0, body, self.clock(Node::Client(n)) + Duration::from_secs(5)),
            upload::Effect::Write(order) => self.write(n, order),
            upload::Effect::Done(committed) => self.end_wish(n, Ended::Created(committed)),
            upload::Effect::Failed(error) => self.end_wish(n, Ended::Failed(error)),
        }
    }

    fn write(&mut self, n: usize, order: WriteOrder) {
        let Some((_, Job::Upload { bytes, .. }, _)) = &self.clients[n].job else { return };
        let bytes = bytes[order.bytes.start as usize..order.bytes.end as usize].to_vec();
        let payload = Payload {
            kind: PayloadKind::Elements(order.dtype),
            bytes: bytes.len() as u64,
            crc32c: array::checksum::crc32c(&bytes),
        };
        let body = DistributeArray {
            version: order.version,
            segment: order.segment,
            ticket: order.ticket.clone(),
            forward: order.forward.clone(),
        };
        let message = Message::request(1, body).with_payload(payload);
        let (address, patience) = (order.primary.address.clone(), order.patience);
        self.ask(
            Node::Client(n),
            &address,
            message,
            Arc::new(bytes),
            patience,
            Cont::Write(self.clients[n].jobs, Box::new(order)),
        );
    }

    pub(crate) fn on_write_answered(&mut self, node: Node, job: u64, order: WriteOrder, answer: RpcAnswer) {
        let Node::Client(n) = node else { return };
        if self.clients[n].jobs != job {
            return; // nobody waits for that any more
        }
        let primary = order.primary.worker.clone();
        let failed = |failure| upload::Event::WriteFailed {
            version: order.version,
            segment: order.segment,
            primary: order.primary.worker.clone(),
            failure,
        };
        let event = match answer {
            Ok((Message { body: Body::SegmentStored(stored), .. }, _)) => upload::Event::Written {
                version: order.version,
                segment: order.segment,
                primary,
                crc32c: stored.copy.crc32c(),
                workers: stored.workers,
            },
            Ok((Message { body: Body::Error(error), .. }, _)) => failed(Failure::Refused(error)),
            Ok(_) => failed(Failure::Damaged("an unexpected answer".to_string())),
            Err(why) => failed(Failure::Unreachable(why)),
        };
        self.step_job(n, Some(JobEvent::Upload(event)));
    }

    fn perform_download(&mut self, n: usize, effect: download::Effect) {
        match effect {
            download::Effect::Ask { ask, body } => self.call(n, ask, body, self.deadline(n)),
            download::Effect::Tell(body) => self.call(n, 0, body, self.clock(Node::Client(n)) + Duration::from_secs(5)),
            download::Effect::Prepare(prepared) => {
                if let Some((_, Job::Download { layout, into, .. }, _)) = &mut self.clients[n].job {
                    *into = vec![0xa5; prepared.bytes() as usize];
                    *layout = Some(prepared);
                }
                self.step_job(n, Some(JobEvent::Download(download::Event::Ready)));
            }
            download::Effect::Read(order) => {
                let get = GetSegment { version: order.version, segment: order.segment, range: order.range };
                let (address, patience) = (order.from.address.clone(), order.patience);
                let cont = Cont::Read(self.clients[n].jobs, Box::new(order));
                self.ask(Node::Client(n), &address, Message::request(1, get), Arc::default(), patience, cont);
            }
            download::Effect::Done => {
                let Some((_, Job::Download { layout: Some(layout), into, .. }, _)) = &mut self.clients[n].job else {
                    return;
                };
                let covered = layout.parts().fold(0, |end, (_, part)| {
                    assert_eq!(part.start, end, "parts follow one another");
                    part.end
                });
                assert_eq!(covered as usize, into.len(), "the parts are the whole");
                let got = Ended::Got(Box::new(layout.clone()), std::mem::take(into));
                self.end_wish(n, got);
            }
            download::Effect::Failed(error) => self.end_wish(n, Ended::Failed(error)),
        }
    }

    pub(crate) fn on_read_answered(&mut self, node: Node, job: u64, order: ReadOrder, answer: RpcAnswer) {
        let Node::Client(n) = node else { return };
        if self.clients[n].jobs != job {
            return; // nobody waits for that any more
        }
        let Some((_, Job::Download { layout, into, .. }, _)) = &mut self.clients[n].job else { return };
        if layout.as_ref().is_none_or(|layout| layout.version != order.version) {
            return;
        }
        let worker = order.from.worker.clone();
        let failed = |failure| download::Event::ReadFailed { segment: order.segment, worker: worker.clone(), failure };
        let event = match answer {
            Ok((Message { head, body: Body::Segment(_), .. }, bytes))
                if head.payload.is_none_or(|payload| payload.crc32c != array::checksum::crc32c(&bytes)) =>
            {
                failed(Failure::Damaged("bytes with another checksum than stated".to_string()))
            }
            Ok((Message { body: Body::Segment(segment), .. }, bytes)) => {
                assert_eq!(segment.copy.crc32c(), order.crc32c, "a worker serves exactly the copy that was asked for");
                into[order.into.start as usize..order.into.end as usize].copy_from_slice(&bytes);
                download::Event::Read { segment: order.segment, worker: worker.clone() }
            }
            Ok((Message { body: Body::Error(error), .. }, _)) => failed(Failure::Refused(error)),
            Ok(_) => failed(Failure::Damaged("an unexpected answer".to_string())),
            Err(why) => failed(Failure::Unreachable(why)),
        };
        self.step_job(n, Some(JobEvent::Download(event)));
    }

    fn end_wish(&mut self, n: usize, ended: Ended) {
        let Some((wish, ..)) = self.clients[n].job.take() else { return };
        self.judge(n, &wish, &ended, self.clients[n].began);
        let client = &mut self.clients[n];
        client.ended = Some((wish, ended));
        client.fulfilled += 1;
        if client.busy {
            let pause = self.luck(Node::Client(n), Chance::Choice).time(Duration::ZERO, Duration::from_millis(50));
            self.after(pause, Action::ClientActs { client: n });
        }
    }
}

/// What a program shows of its progress is never more than all, and all when it is done.
fn check_progress((done, all): (u64, u64), is_done: bool) {
    assert!(if is_done { done == all } else { done <= all }, "{done} of {all} bytes, and done: {is_done}");
}

/// Something for the machine of a job.
enum JobEvent {
    Reply(u64, Result<Body, CallError>),
    Upload(upload::Event),
    Download(download::Event),
}
