//! Clients: the real session, upload and download machines, something to do, and a model that knows the right answers.
//!
//! Every client has names of its own and does one thing after the other, so it knows exactly what each name must hold.
//! Every array has contents that no other one has, from a seed.

use super::network::{Cont, Packet, Purpose, RpcAnswer};
use super::{Action, EPOCH_MS, Node, World};
use array::{Buffer, DType, Operation};
use client::download::{self, Download, Layout, ReadOrder};
use client::error::{CallError, Error, Failure};
use client::retry::{self, Session};
use client::upload::{self, Upload, WriteOrder};
use protocol::message::client::*;
use protocol::message::data::*;
use protocol::{Body, ErrorCode, Message, Payload, PayloadKind};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a client waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a name holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// The array's bytes.
    pub array: Arc<Buffer>,
    /// Its dtype.
    pub dtype: DType,
    /// The newest result of an operation on it.
    pub result: Option<Arc<Buffer>>,
}

impl Content {
    /// What an array of this length made from this seed holds.
    pub fn generate(seed: u64, len: usize, dtype: DType) -> Content {
        let buffer = match dtype {
            DType::Int32 => {
                let mut values = vec![0; len];
                array::random::fill_int(seed, 0, &mut values, -1000, 100_000);
                Buffer::from_slice(&values)
            }
            _ => {
                let mut values = vec![0.0; len];
                array::random::fill_double(seed, 0, &mut values, -100.0, 100.0);
                Buffer::from_slice(&values)
            }
        };
        Content { array: Arc::new(buffer), dtype, result: None }
    }

    /// The operation that its dtype takes.
    pub fn operation(&self) -> Operation {
        if self.dtype == DType::Int32 { Operation::Example2 } else { Operation::Example1 }
    }

    /// What that gives, computed in one piece.
    pub fn applied(&self) -> Arc<Buffer> {
        Arc::new(self.operation().apply(&self.array).0)
    }
}

/// Something a client wants.
#[derive(Clone, Debug)]
pub enum Wish {
    /// Store an array.
    Create {
        /// Its name.
        name: String,
        /// What it shall hold.
        content: Content,
        /// Whether it may replace another.
        replace: bool,
    },
    /// Compute.
    Apply {
        /// On which array.
        name: String,
        /// The new array, if it shall be one.
        into: Option<String>,
    },
    /// Read.
    Get {
        /// What.
        name: String,
        /// The array itself.
        array: bool,
        /// Only these elements.
        range: Option<(u64, u64)>,
    },
    /// Delete.
    Delete {
        /// What.
        name: String,
    },
    /// Any other request.
    Ask(Box<Body>),
}

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
    session: Session,
    conn: Option<u64>,
    job: Option<(Wish, Job, Duration)>,
    next_call: u64,
    /// Which question of the machine each call is; 0 for those that nobody waits for.
    asks: BTreeMap<u64, u64>,
    /// What its names hold.
    pub names: BTreeMap<String, Content>,
    /// How its last wish ended.
    pub ended: Option<(Wish, Ended)>,
    /// Whether it looks for something to do by itself.
    pub busy: bool,
    /// Arrays it has made, for new contents.
    pub made: u64,
    /// Wishes fulfilled.
    pub fulfilled: u64,
}

impl ClientNode {
    pub(crate) fn new(n: usize, seed: u64) -> ClientNode {
        let bytes: [u8; 10] =
            [&seed.to_le_bytes()[..], &(n as u16).to_le_bytes()[..]].concat().try_into().expect("ten bytes");
        let session = uuid::Builder::from_unix_timestamp_millis(EPOCH_MS, &bytes).into_uuid();
        ClientNode {
            session: Session::new(session, 1, seed),
            conn: None,
            job: None,
            next_call: 1,
            asks: BTreeMap::new(),
            names: BTreeMap::new(),
            ended: None,
            busy: false,
            made: 0,
            fulfilled: 0,
        }
    }

    /// What it waits for.
    pub fn wish(&self) -> Option<&Wish> {
        self.job.as_ref().map(|(wish, ..)| wish)
    }

    /// Whether it waits for something.
    pub fn is_waiting(&self) -> bool {
        self.job.is_some()
    }
}

impl World {
    /// Lets a client begin to fulfil a wish. It must not be waiting for another.
    pub fn wish(&mut self, n: usize, wish: Wish) {
        self.wish_within(n, wish, PATIENCE);
    }

    /// The same with a deadline.
    pub fn wish_within(&mut self, n: usize, wish: Wish, patience: Duration) {
        assert!(self.clients[n].job.is_none(), "one wish at a time");
        let deadline = self.now + patience;
        let call = |body: Body| (Job::Call, Some(body));
        let (job, body) = match &wish {
            Wish::Create { name, content, replace } => {
                let len = (content.array.len() / content.dtype.size()) as u64;
                let request = upload::Request {
                    name: name.clone(),
                    dtype: content.dtype,
                    shape: vec![len],
                    replace: *replace,
                    deadline,
                };
                let machine = Box::new(Upload::new(request).expect("lengths are small"));
                (Job::Upload { machine, bytes: Arc::new(content.array.as_bytes().to_vec()) }, None)
            }
            Wish::Get { name, array, range } => {
                let request = download::Request { name: name.clone(), array: *array, range: *range, deadline };
                (Job::Download { machine: Box::new(Download::new(request)), layout: None, into: Vec::new() }, None)
            }
            Wish::Apply { name, into } => {
                let operation = self.clients[n].names.get(name).map_or(Operation::Example1, Content::operation);
                call(Body::from(ApplyOperation {
                    array_id: name.clone(),
                    operation: operation.name().to_string(),
                    into: into.clone(),
                    replace: true,
                    no_wait: false,
                    inline: true,
                }))
            }
            Wish::Delete { name } => call(DeleteArray { array_id: name.clone() }.into()),
            Wish::Ask(body) => call((**body).clone()),
        };
        let client = &mut self.clients[n];
        client.ended = None;
        client.job = Some((wish, job, deadline));
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
        let effects = self.clients[n].session.step(self.now, event);
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

    fn schedule_client(&mut self, n: usize) {
        let client = &self.clients[n];
        let job = match &client.job {
            Some((_, Job::Upload { machine, .. }, _)) => machine.next_deadline(),
            Some((_, Job::Download { machine, .. }, _)) => machine.next_deadline(),
            _ => None,
        };
        if let Some(next) = [client.session.next_deadline(), job].into_iter().flatten().min() {
            self.tick_at(Node::Client(n), next);
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
        let now = self.now;
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
            }
            Some((_, Job::Download { machine, .. }, _)) => {
                let event = match event {
                    None => download::Event::Tick,
                    Some(JobEvent::Reply(ask, result)) => download::Event::Reply { ask, result },
                    Some(JobEvent::Download(event)) => event,
                    Some(JobEvent::Upload(_)) => return,
                };
                downloads = machine.step(now, event);
            }
            _ => return,
        }
        uploads.into_iter().for_each(|effect| self.perform_upload(n, effect));
        downloads.into_iter().for_each(|effect| self.perform_download(n, effect));
        self.schedule_client(n);
    }

    fn deadline(&self, n: usize) -> Duration {
        self.clients[n].job.as_ref().map_or(self.now, |(_, _, deadline)| *deadline)
    }

    fn perform_upload(&mut self, n: usize, effect: upload::Effect) {
        match effect {
            upload::Effect::Ask { ask, body } => self.call(n, ask, body, self.deadline(n)),
            upload::Effect::Tell(body) => self.call(n, 0, body, self.now + Duration::from_secs(5)),
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
        self.ask(Node::Client(n), &address, message, Arc::new(bytes), patience, Cont::Write(Box::new(order)));
    }

    pub(crate) fn on_write_answered(&mut self, node: Node, order: WriteOrder, answer: RpcAnswer) {
        let Node::Client(n) = node else { return };
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
            download::Effect::Tell(body) => self.call(n, 0, body, self.now + Duration::from_secs(5)),
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
                let cont = Cont::Read(Box::new(order));
                self.ask(Node::Client(n), &address, Message::request(1, get), Arc::default(), patience, cont);
            }
            download::Effect::Done => {
                let Some((_, Job::Download { layout: Some(layout), into, .. }, _)) = &mut self.clients[n].job else {
                    return;
                };
                let got = Ended::Got(Box::new(layout.clone()), std::mem::take(into));
                self.end_wish(n, got);
            }
            download::Effect::Failed(error) => self.end_wish(n, Ended::Failed(error)),
        }
    }

    pub(crate) fn on_read_answered(&mut self, node: Node, order: ReadOrder, answer: RpcAnswer) {
        let Node::Client(n) = node else { return };
        let Some((_, Job::Download { layout, into, .. }, _)) = &mut self.clients[n].job else { return };
        if layout.as_ref().is_none_or(|layout| layout.version != order.version) {
            return;
        }
        let worker = order.from.worker.clone();
        let failed = |failure| download::Event::ReadFailed { segment: order.segment, worker: worker.clone(), failure };
        let event = match answer {
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
        self.judge(n, &wish, &ended);
        let client = &mut self.clients[n];
        client.ended = Some((wish, ended));
        client.fulfilled += 1;
        if client.busy {
            let pause = self.random.time(Duration::ZERO, Duration::from_millis(50));
            self.after(pause, Action::ClientActs { client: n });
        }
    }

    // ---- something to do ----

    /// Lets a client look for something to do.
    pub(crate) fn on_client_acts(&mut self, n: usize) {
        if !self.clients[n].busy || self.clients[n].is_waiting() {
            return;
        }
        let wish = self.next_wish(n);
        self.wish(n, wish);
    }

    fn next_wish(&mut self, n: usize) -> Wish {
        const LENGTHS: [usize; 9] = [0, 1, 5, 100, 4096, 4097, 10_000, 20_000, 30_001];
        let name = format!("c{}-{}", n + 1, self.random.below(3));
        let there = self.clients[n].names.contains_key(&name);
        match self.random.below(100) {
            dice if !there || dice < 15 => {
                self.clients[n].made += 1;
                let seed = (n as u64) << 32 | self.clients[n].made;
                let dtype = self.random.pick(&[DType::Int32, DType::Int32, DType::Float64]);
                let content = Content::generate(seed, self.random.pick(&LENGTHS), dtype);
                Wish::Create { name, content, replace: true }
            }
            0..45 => Wish::Apply { name, into: None },
            45..50 => Wish::Apply { name, into: Some(format!("c{}-{}", n + 1, self.random.below(3))) },
            50..88 => Wish::Get { name, array: self.random.one_in(3), range: None },
            88..95 => {
                let content = &self.clients[n].names[&name];
                let len = (content.array.len() / content.dtype.size()) as u64;
                let from = self.random.below(len + 1);
                Wish::Get { name, array: false, range: Some((from, self.random.between(from, len + 1))) }
            }
            95..98 => Wish::Delete { name },
            _ => Wish::Ask(Box::new(
                self.random.pick(&[Body::from(ListArrays {}), ListWorkers {}.into()].each_ref()).clone(),
            )),
        }
    }

    /// Compares how a wish ended with what the client knows, and learns from it.
    fn judge(&mut self, n: usize, wish: &Wish, ended: &Ended) {
        let who = World::name_of(Node::Client(n));
        if let Ended::Failed(error) = ended {
            self.note(format!("{who}: {} fails: {error}", describe(wish)));
            return self.judge_failure(n, wish, error);
        }
        let names = &mut self.clients[n].names;
        let said = match (wish, ended) {
            (Wish::Create { name, content, .. }, Ended::Created(committed)) => {
                names.insert(name.clone(), content.clone());
                format!("{} copies", committed.copies)
            }
            (Wish::Apply { name, into }, Ended::Answered(answer)) => {
                let Body::OperationComplete(complete) = &answer.body else {
                    panic!("{who}: apply is answered {answer:?}")
                };
                let content = names[name].clone();
                if let Some(elements) = &answer.elements {
                    let (dtype, exact) = (content.operation().output(), self.plan.level_1 == 0);
                    let is_right = is_same(content.applied().as_bytes(), elements, dtype, exact);
                    assert!(is_right, "{who}: wrong bytes with the answer about '{name}'");
                }
                match into {
                    Some(into) => {
                        let result =
                            Content { array: content.applied(), dtype: content.operation().output(), result: None };
                        names.insert(into.clone(), result);
                    }
                    None => names.get_mut(name).expect("it is there").result = Some(content.applied()),
                }
                format!("{} copies", complete.copies)
            }
            (Wish::Get { name, array, range }, Ended::Got(layout, bytes)) => {
                let Some(content) = names.get(name.split('@').next().expect("a name")) else {
                    panic!("{who}: got '{name}', which it never made")
                };
                let expected = match layout.source {
                    Source::Array => &content.array,
                    Source::Result => {
                        content.result.as_ref().unwrap_or_else(|| panic!("{who}: '{name}' has no result"))
                    }
                };
                if !name.contains('@') {
                    assert_eq!(
                        layout.source == Source::Array,
                        *array || content.result.is_none(),
                        "{who}: the wrong version of '{name}'"
                    );
                }
                let size = content.dtype.size();
                let (from, to) =
                    range.map_or((0, expected.len()), |(from, to)| (from as usize * size, to as usize * size));
                let exact = self.plan.level_1 == 0;
                assert!(
                    is_same(&expected.as_bytes()[from..to], bytes, layout.dtype, exact),
                    "{who}: wrong bytes from '{name}'"
                );
                format!("{} right bytes", bytes.len())
            }
            (Wish::Delete { name }, Ended::Answered(_)) => {
                names.remove(name);
                "done".to_string()
            }
            (_, Ended::Answered(_)) => "answered".to_string(),
            (_, ended) => panic!("{who}: {wish:?} ends in {ended:?}"),
        };
        self.note(format!("{who}: {}: {said}", describe(wish)));
    }

    /// Decides whether a failure is one that may be.
    fn judge_failure(&mut self, n: usize, wish: &Wish, error: &Error) {
        if !self.clients[n].busy {
            return; // scripts say what they expect
        }
        let lost = matches!(
            error.code(),
            Some(
                ErrorCode::SegmentsLost
                    | ErrorCode::NoWorkers
                    | ErrorCode::SegmentsMissing
                    | ErrorCode::DeadlineExceeded
            )
        );
        assert!(
            self.loss_allowed && lost,
            "at {:?} {} fails although nothing was lost: {error}",
            self.now,
            describe(wish)
        );
        // What failed with a loss may have happened or not: make the name anew.
        match wish {
            Wish::Create { name, .. } | Wish::Get { name, .. } | Wish::Delete { name } => {
                drop(self.clients[n].names.remove(name))
            }
            Wish::Apply { name, into } => {
                self.clients[n].names.remove(name);
                into.iter().for_each(|into| drop(self.clients[n].names.remove(into)));
            }
            Wish::Ask(_) => {}
        }
    }
}

/// Whether bytes are what is expected. Where workers of level 1 compute, a double may have other last bits, and a result of
/// a result may differ by a little more.
fn is_same(expected: &[u8], bytes: &[u8], dtype: DType, exact: bool) -> bool {
    if exact || dtype != DType::Float64 {
        return expected == bytes;
    }
    let doubles = |bytes: &[u8]| Buffer::from_bytes(bytes).as_slice::<f64>().to_vec();
    let close = |(a, b): (f64, f64)| (a - b).abs() <= 1e-12 + 1e-9 * b.abs();
    expected.len() == bytes.len() && doubles(bytes).into_iter().zip(doubles(expected)).all(close)
}

/// Something for the machine of a job.
enum JobEvent {
    Reply(u64, Result<Body, CallError>),
    Upload(upload::Event),
    Download(download::Event),
}

/// A wish in few words.
pub fn describe(wish: &Wish) -> String {
    match wish {
        Wish::Create { name, content, .. } => {
            format!("create {name} of {} {}", content.array.len() / content.dtype.size(), content.dtype)
        }
        Wish::Apply { name, into: None } => format!("apply {name}"),
        Wish::Apply { name, into: Some(into) } => format!("apply {name} into {into}"),
        Wish::Get { name, array, range } => {
            let range = range.map_or(String::new(), |(from, to)| format!(" {from}:{to}"));
            format!("get {name}{}{range}", if *array { " itself" } else { "" })
        }
        Wish::Delete { name } => format!("delete {name}"),
        Wish::Ask(body) => body.kind().to_string(),
    }
}
