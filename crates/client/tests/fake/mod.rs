//! A master and workers that are just good enough for a client to talk to, in threads, with faults on order. They speak
//! through the same framing as the real ones.

#![allow(dead_code)] // each test file uses a part of it

mod answers;
pub mod original;

use answers::{EXPLAINED_MAX, complete, find, receipt, understood, value_of};
use array::checksum::crc32c;
use array::expression::{Named, parse_expression, parse_generator, parse_reductions};
use array::{DType, Grid, Reducer};
use protocol::message::client::*;
use protocol::message::data::*;
use protocol::message::{Done, Hello, Role};
use protocol::{
    Body, CopyRecord, ErrorCode, Incoming, Message, Payload, PayloadKind, SessionId, VersionId, WireError, WorkerId,
    net,
};
use std::collections::{BTreeMap, HashMap};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What a server does with the next request of some type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Close the connection before doing anything.
    CutBefore,
    /// Do it, then close the connection instead of answering.
    CutAfter,
    /// Answer half of the payload, then close.
    CutInPayload,
    /// Say nothing any more on this connection.
    Hang,
    /// Answer this error.
    Refuse(ErrorCode),
}

/// Faults waiting to happen, by message type.
#[derive(Default)]
pub struct Faults(Mutex<Vec<(&'static str, Fault)>>);

impl Faults {
    pub fn add(&self, kind: &'static str, fault: Fault) {
        self.0.lock().unwrap().push((kind, fault));
    }

    fn take(&self, kind: &str) -> Option<Fault> {
        let mut faults = self.0.lock().unwrap();
        let at = faults.iter().position(|(name, _)| *name == kind)?;
        Some(faults.remove(at).1)
    }

    pub fn left(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

type Segments = HashMap<(VersionId, u32), Vec<u8>>;

/// A worker's data port.
pub struct FakeWorker {
    pub id: WorkerId,
    pub address: SocketAddr,
    pub faults: Faults,
    pub store: Mutex<Segments>,
}

impl FakeWorker {
    pub fn start(id: &str) -> Arc<FakeWorker> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let worker =
            Arc::new(FakeWorker { id: id.into(), address, faults: Faults::default(), store: Mutex::default() });
        let server = worker.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let server = server.clone();
                thread::spawn(move || server.serve(stream.unwrap()));
            }
        });
        worker
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint { worker: self.id.clone(), address: self.address.to_string() }
    }

    fn serve(&self, stream: TcpStream) {
        let (mut reader, mut writer) = net::split(stream, self.id.as_str(), "client").unwrap();
        while let Ok(Some(Incoming::Message(message))) = reader.read(None) {
            let fault = self.faults.take(message.body.kind());
            if fault == Some(Fault::CutBefore) {
                break;
            }
            let mut bytes = vec![0; message.head.payload.map_or(0, |p| p.bytes as usize)];
            if let Some(payload) = message.head.payload
                && reader.read_payload(&payload, &mut bytes).is_err()
            {
                break;
            }
            let (body, out) = match fault {
                Some(Fault::Refuse(code)) => (WireError::new(code, "as the test wants it").into(), Vec::new()),
                _ => self.answer(message.body.clone(), bytes),
            };
            let kind = PayloadKind::Elements(array::DType::Float64);
            let payload = Payload { kind, bytes: out.len() as u64, crc32c: crc32c(&out) };
            let reply = match body {
                Body::Segment(_) => Message::reply(&message.head, body).with_payload(payload),
                _ => Message::reply(&message.head, body),
            };
            match fault {
                Some(Fault::CutAfter) => break,
                Some(Fault::Hang) => thread::park(),
                Some(Fault::CutInPayload) => {
                    let mut line = Vec::new();
                    protocol::frame::encode(&reply.head, &reply.body, &mut line).unwrap();
                    line.extend(&out[..out.len() / 2]);
                    std::io::Write::write_all(&mut writer.get_ref(), &line).unwrap();
                    break;
                }
                _ => {}
            }
            if writer.write_with(&reply, &out).is_err() {
                break;
            }
        }
        net::hang_up(writer.get_ref());
    }

    fn answer(&self, body: Body, bytes: Vec<u8>) -> (Body, Vec<u8>) {
        let mut store = self.store.lock().unwrap();
        match body {
            Body::Hello(_) => (Hello { worker: Some(self.id.clone()), ..Hello::new(Role::Worker) }.into(), vec![]),
            Body::DistributeArray(write) => {
                assert_eq!(write.ticket, "ticket");
                let copy = CopyRecord(write.version, write.segment, crc32c(&bytes), bytes.len() as u64);
                store.insert((write.version, write.segment), bytes);
                (SegmentStored { copy, workers: vec![self.id.clone()], failed: vec![] }.into(), vec![])
            }
            Body::GetSegment(read) => match store.get(&(read.version, read.segment)) {
                None => (WireError::new(ErrorCode::NotHeld, "not here").into(), vec![]),
                Some(bytes) => {
                    let copy = CopyRecord(read.version, read.segment, crc32c(bytes), bytes.len() as u64);
                    let (from, to) = read.range.map_or((0, bytes.len()), |(a, b)| (a as usize * 8, b as usize * 8));
                    (Segment { copy }.into(), bytes[from..to].to_vec())
                }
            },
            other => panic!("a worker was sent {other:?}"),
        }
    }
}

/// One version of an array: everything is float64 here.
#[derive(Clone)]
struct Version {
    name: String,
    shape: Vec<u64>,
    segments: BTreeMap<u32, (u32, Vec<WorkerId>)>,
}

#[derive(Default)]
struct Catalog {
    next: u64,
    uploads: HashMap<VersionId, Version>,
    versions: HashMap<VersionId, Version>,
    arrays: BTreeMap<String, VersionId>,
    results: BTreeMap<String, VersionId>,
    outcomes: HashMap<(SessionId, u64), Body>,
    runs: usize,
}

/// A master with its workers.
pub struct FakeMaster {
    pub address: SocketAddr,
    pub workers: Vec<Arc<FakeWorker>>,
    pub faults: Faults,
    pub asked: Mutex<Vec<Message>>,
    catalog: Mutex<Catalog>,
}

impl FakeMaster {
    pub fn start(workers: usize) -> Arc<FakeMaster> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let master = Arc::new(FakeMaster {
            address,
            workers: (0..workers).map(|n| FakeWorker::start(&format!("w{n}"))).collect(),
            faults: Faults::default(),
            asked: Mutex::default(),
            catalog: Mutex::default(),
        });
        let server = master.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let server = server.clone();
                thread::spawn(move || server.serve(stream.unwrap()));
            }
        });
        master
    }

    /// How many operations were really carried out.
    pub fn runs(&self) -> usize {
        self.catalog.lock().unwrap().runs
    }

    /// Requests of this type so far, with their numbers.
    pub fn asked(&self, kind: &str) -> Vec<Option<u64>> {
        self.asked.lock().unwrap().iter().filter(|m| m.body.kind() == kind).map(|m| m.head.id).collect()
    }

    fn serve(&self, stream: TcpStream) {
        let (mut reader, mut writer) = net::split(stream, "master", "client").unwrap();
        let mut session = None;
        while let Ok(Some(Incoming::Message(message))) = reader.read(None) {
            self.asked.lock().unwrap().push(message.clone());
            let fault = self.faults.take(message.body.kind());
            if fault == Some(Fault::CutBefore) {
                break;
            }
            let body = match (fault, message.body.clone()) {
                (Some(Fault::Refuse(code)), _) => WireError::new(code, "as the test wants it").into(),
                (_, Body::Hello(hello)) => {
                    session = hello.session;
                    Hello { session, term: Some(1), ..Hello::new(Role::Master) }.into()
                }
                (_, body) => match (session, message.head.id) {
                    (Some(session), Some(id)) => self.answer_once(session, id, body),
                    _ => WireError::new(ErrorCode::NotAllowed, "HELLO comes first").into(),
                },
            };
            match fault {
                Some(Fault::CutAfter) => break,
                Some(Fault::Hang) => thread::park(),
                _ => {}
            }
            if writer.write(&Message::reply(&message.head, body)).is_err() {
                break;
            }
        }
        net::hang_up(writer.get_ref());
    }

    fn answer_once(&self, session: SessionId, id: u64, body: Body) -> Body {
        let mut catalog = self.catalog.lock().unwrap();
        let changes = matches!(
            body,
            Body::CommitArray(_) | Body::ApplyOperation(_) | Body::GenerateArray(_) | Body::DeleteArray(_)
        );
        if let Some(outcome) = catalog.outcomes.get(&(session, id)) {
            return outcome.clone();
        }
        let reply = self.answer(&mut catalog, body).unwrap_or_else(Body::from);
        if changes {
            catalog.outcomes.insert((session, id), reply.clone());
        }
        reply
    }

    fn answer(&self, catalog: &mut Catalog, body: Body) -> Result<Body, WireError> {
        let (arrays, mut read) = (catalog.arrays.clone(), vec!["x".to_string()]);
        let mut resolve = move |name: &str| {
            if !arrays.contains_key(name) {
                return Err(format!("no array is called '{name}'"));
            }
            let input = read.iter().position(|known| known == name).unwrap_or(read.len());
            if input == read.len() {
                read.push(name.to_string());
            }
            Ok(Named { input: input as u32, dtype: DType::Float64 })
        };
        let unknown = |code, name: &str| WireError::new(code, format!("there is no '{name}'")).array(name);
        Ok(match body {
            Body::CreateArray(create) => {
                if catalog.arrays.contains_key(&create.array_id) && !create.replace {
                    return Err(WireError::new(ErrorCode::AlreadyExists, format!("'{}' exists", create.array_id)));
                }
                catalog.next += 1;
                let version = VersionId(catalog.next);
                let len = create.shape.iter().product();
                let upload = Version { name: create.array_id, shape: create.shape, segments: BTreeMap::new() };
                catalog.uploads.insert(version, upload);
                self.write_plan(version, len, (0..Grid::new(len).segments()).collect(), 0)
            }
            Body::ReplanWrite(replan) => {
                let upload = catalog.uploads.get(&replan.version);
                let len = upload.ok_or_else(|| unknown(ErrorCode::UnknownUpload, "upload"))?.shape.iter().product();
                self.write_plan(replan.version, len, replan.segments, 1)
            }
            Body::CommitArray(commit) => {
                let upload = catalog.uploads.remove(&commit.version);
                let mut upload = upload.ok_or_else(|| unknown(ErrorCode::UnknownUpload, "upload"))?;
                upload.segments = commit.segments.into_iter().map(|w| (w.0, (w.1, w.2))).collect();
                let name = upload.name.clone();
                catalog.versions.insert(commit.version, upload);
                catalog.results.remove(&name);
                catalog.arrays.insert(name.clone(), commit.version);
                ArrayCommitted {
                    handle: format!("{name}@{}", commit.version),
                    array_id: name,
                    status: "created".into(),
                    copies: 1,
                    target: 1,
                    crc32c: None,
                    durability: Durability::Synced,
                }
                .into()
            }
            Body::ApplyOperation(apply) => {
                let source = find(catalog, &apply.array_id)?;
                if apply.operation != "double" {
                    understood(parse_expression(&apply.operation, DType::Float64, &mut resolve))?;
                }
                catalog.next += 1;
                let result = VersionId(catalog.next);
                self.compute(catalog, source, result);
                catalog.results.insert(apply.array_id.clone(), result);
                complete(catalog, apply.array_id, result)
            }
            Body::GenerateArray(generate) => {
                if catalog.arrays.contains_key(&generate.array_id) && !generate.replace {
                    return Err(WireError::new(ErrorCode::AlreadyExists, format!("'{}' exists", generate.array_id)));
                }
                let made = understood(parse_generator(&generate.generator, generate.dtype, generate.seed))?;
                catalog.next += 1;
                let version = VersionId(catalog.next);
                self.make(catalog, &generate.array_id, version, made.shape);
                complete(catalog, generate.array_id, version)
            }
            Body::ReduceArray(reduce) => {
                let version = find(catalog, &reduce.array_id)?;
                let (program, texts) = understood(parse_reductions(&reduce.reductions, DType::Float64, &mut resolve))?;
                let value = |((reducer, input), reduction): ((Reducer, DType), String)| {
                    let dtype = reducer.output(input);
                    ReducedValue { reduction, dtype, value: value_of(reducer, dtype).into() }
                };
                ReductionComplete {
                    handle: format!("{}@{version}", reduce.array_id),
                    array_id: reduce.array_id,
                    values: program.reductions().into_iter().zip(texts).map(value).collect(),
                    elements: catalog.versions[&version].shape.iter().product(),
                    segments: catalog.versions[&version].segments.len() as u32,
                    redispatched: 0,
                    elapsed_us: 1000,
                    receipt: receipt(Some(500)),
                }
                .into()
            }
            Body::Explain(explain) => {
                let version = find(catalog, &explain.array_id)?;
                let program = understood(parse_expression(&explain.operation, DType::Float64, &mut resolve))?;
                let content = &catalog.versions[&version];
                let elements = content.shape.iter().product();
                let refusal = (elements > EXPLAINED_MAX)
                    .then(|| WireError::new(ErrorCode::InsufficientMemory, "too many for the test"));
                Explanation {
                    reads: vec![format!("{}@{version}", explain.array_id)],
                    array_id: explain.array_id,
                    steps: program.nodes().iter().map(|node| format!("{} {}", node.dtype, node.op)).collect(),
                    dtype: program.output(),
                    elements,
                    segments: content.segments.len() as u32,
                    copies: 1,
                    replicas: "recomputed".into(),
                    estimate: receipt(None),
                    refusal,
                }
                .into()
            }
            Body::GetResult(get) => self.read_plan(catalog, get)?,
            Body::Status(_) => self.status(catalog).into(),
            Body::ListArrays(_) => Arrays { arrays: vec![] }.into(),
            Body::ListWorkers(_) => Workers { workers: vec![] }.into(),
            Body::DeleteArray(delete) => match catalog.arrays.remove(&delete.array_id) {
                Some(_) => Done {}.into(),
                None => return Err(unknown(ErrorCode::UnknownArray, &delete.array_id)),
            },
            Body::Unpin(_) | Body::RenewPin(_) | Body::AbandonArray(_) => Done {}.into(),
            other => return Err(WireError::new(ErrorCode::UnknownType, other.kind())),
        })
    }

    /// Segments go round the workers, `shift` places further on.
    fn write_plan(&self, version: VersionId, len: u64, segments: Vec<u32>, shift: u32) -> Body {
        let count = self.workers.len() as u32;
        WritePlan {
            version,
            ticket: "ticket".into(),
            segment_length: Grid::new(len).segment_len(),
            workers: self.workers.iter().map(|w| w.endpoint()).collect(),
            segments: segments.into_iter().map(|s| PlannedWrite(s, vec![(s + shift) % count])).collect(),
        }
        .into()
    }

    fn read_plan(&self, catalog: &Catalog, get: GetResult) -> Result<Body, WireError> {
        let reference = protocol::Reference::parse(&get.array_id);
        let unknown = || WireError::new(ErrorCode::UnknownArray, format!("there is no '{}'", get.array_id));
        let array = *catalog.arrays.get(&reference.name).ok_or_else(unknown)?;
        let newest = catalog.results.get(&reference.name).copied().filter(|_| !get.array);
        let version = reference.version.or(newest).unwrap_or(array);
        let content =
            catalog.versions.get(&version).ok_or_else(|| WireError::new(ErrorCode::UnknownVersion, "gone"))?;
        let grid = Grid::new(content.shape.iter().product());
        let (from, to) = get.range.unwrap_or((0, grid.len()));
        if from > to || to > grid.len() {
            return Err(WireError::new(ErrorCode::OutOfRange, format!("[{from}, {to}) of {}", grid.len())));
        }
        let index = |id: &WorkerId| self.workers.iter().position(|w| w.id == *id).unwrap() as u32;
        let planned = grid.segments_in(from..to).map(|segment| {
            let (crc, holders) = &content.segments[&segment];
            PlannedRead(segment, *crc, holders.iter().map(index).collect())
        });
        Ok(ReadPlan {
            handle: format!("{}@{version}", reference.name),
            array_id: reference.name,
            version,
            source: if version == array { Source::Array } else { Source::Result },
            dtype: array::DType::Float64,
            shape: content.shape.clone(),
            segment_length: grid.segment_len(),
            pin: version.0,
            lease_ms: 60_000,
            workers: self.workers.iter().map(|w| w.endpoint()).collect(),
            segments: planned.collect(),
        }
        .into())
    }

    /// Whatever is to be generated is zeros here.
    fn make(&self, catalog: &mut Catalog, name: &str, version: VersionId, shape: Vec<u64>) {
        let grid = Grid::new(shape.iter().product());
        let worker = &self.workers[0];
        let mut store = worker.store.lock().unwrap();
        let segment = |segment: u32| {
            let range = grid.range(segment);
            let bytes = vec![0; 8 * (range.end - range.start) as usize];
            let crc = crc32c(&bytes);
            store.insert((version, segment), bytes);
            (segment, (crc, vec![worker.id.clone()]))
        };
        let segments = (0..grid.segments()).map(segment).collect();
        catalog.versions.insert(version, Version { name: name.to_string(), shape, segments });
        catalog.arrays.insert(name.to_string(), version);
    }

    /// Whatever is computed is doubled here.
    fn compute(&self, catalog: &mut Catalog, source: VersionId, result: VersionId) {
        let mut content = catalog.versions[&source].clone();
        for (&segment, (crc, holders)) in &mut content.segments {
            for worker in self.workers.iter().filter(|w| holders.contains(&w.id)) {
                let mut store = worker.store.lock().unwrap();
                let doubled: Vec<u8> = store[&(source, segment)]
                    .chunks_exact(8)
                    .flat_map(|bytes| (2.0 * f64::from_le_bytes(bytes.try_into().unwrap())).to_le_bytes())
                    .collect();
                *crc = crc32c(&doubled);
                store.insert((result, segment), doubled);
            }
        }
        catalog.versions.insert(result, content);
    }

    fn status(&self, catalog: &Catalog) -> ClusterStatus {
        ClusterStatus {
            cluster: uuid::Uuid::nil(),
            leader: self.address.to_string(),
            term: 1,
            program: "fake".into(),
            uptime_ms: 1,
            workers_alive: self.workers.len() as u32,
            workers_suspect: 0,
            workers_down: 0,
            arrays: catalog.arrays.len() as u64,
            segments: 0,
            under_replicated: 0,
            waiting: 0,
            lost: 0,
            running_operations: 0,
            uploads: 0,
            transfers: 0,
            replication: 1,
            memory_bytes: 0,
            memory_used_bytes: 0,
            data_dir: String::new(),
            log_index: 0,
        }
    }
}
