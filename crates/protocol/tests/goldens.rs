//! The exact bytes of one message of every type, and PROTOCOL.md against the code.
//!
//! `UPDATE_GOLDENS=1 cargo test -p protocol` writes the file anew: read the difference, it is what peers will see.

use array::{DType, Partial, Reducer};
use protocol::error::{ErrorCode, WireError};
use protocol::frame::encode;
use protocol::message::client::*;
use protocol::message::data::*;
use protocol::message::worker::*;
use protocol::message::*;
use protocol::*;
use std::path::Path;

fn w(id: &str) -> WorkerId {
    id.into()
}

fn endpoint(id: &str, port: u16) -> Endpoint {
    Endpoint { worker: w(id), address: format!("127.0.0.1:{port}") }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn uuid(n: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(n)
}

/// One message of every type, in the order of the list, and a second HELLO.
fn samples() -> Vec<Message> {
    let v = VersionId(17);
    let copy = CopyRecord(v, 0, 2_850_302_561, 24);
    let payload = Payload { kind: PayloadKind::Elements(DType::Float64), bytes: 24, crc32c: 2_850_302_561 };
    let worker_hello = WorkerHello {
        protocol: 2,
        features: vec![],
        worker: w("w1"),
        incarnation: 1_795_216_748_000,
        address: "127.0.0.1:40021".into(),
        kernels: "darray-1".into(),
        memory_bytes: 8 << 30,
        zone: Some("rack-1".into()),
        cluster: Some(uuid(1)),
        draining: false,
        inventory: vec![copy],
    };
    let receipt = Receipt {
        bytes_read: 48,
        bytes_written: 48,
        network_bytes: 0,
        retries: 1,
        promoted: 0,
        workers: vec![WorkerReceipt {
            worker: w("w1"),
            segments: 1,
            busy_us: Some(700),
            bytes_read: 24,
            bytes_written: 24,
            memory_bytes: 24,
        }],
    };
    let estimate = Receipt {
        network_bytes: 24,
        retries: 0,
        workers: receipt.workers.iter().map(|one| WorkerReceipt { busy_us: None, ..one.clone() }).collect(),
        ..receipt.clone()
    };
    let explanation = Explanation {
        array_id: "a".into(),
        steps: vec!["#0 float64 input 0".into(), "#1 float64 sin #0".into()],
        reads: vec!["a@v17".into()],
        dtype: Some(DType::Float64),
        elements: 3,
        segments: 1,
        copies: 2,
        replicas: "received".into(),
        estimate,
        refusal: Some(WireError::new(ErrorCode::InsufficientMemory, "24 B are needed, 8 B are free")),
    };
    let reduced = ReductionComplete {
        array_id: "a".into(),
        handle: "a@v17".into(),
        values: vec![
            ReducedValue { reduction: "sum(sin(x))".into(), dtype: DType::Float64, value: "1.8918884196934453".into() },
            ReducedValue { reduction: "argmax(x)".into(), dtype: DType::Int64, value: "2".into() },
        ],
        elements: 3,
        segments: 1,
        redispatched: 0,
        elapsed_us: 412,
        receipt: Receipt { bytes_read: 24, bytes_written: 0, ..receipt.clone() },
    };
    let complete = OperationComplete {
        array_id: "a".into(),
        status: OperationState::Complete,
        operation: VersionId(18),
        handle: "a@v18".into(),
        segments: 1,
        copies: 2,
        target: 2,
        replicas: "recomputed".into(),
        redispatched: 0,
        exact: true,
        crc32c: Some(7),
        durability: Durability::Memory,
        elapsed_us: 812,
        receipt: Some(receipt),
    };
    let summary = ArraySummary {
        array_id: "a".into(),
        handle: "a@v17".into(),
        dtype: DType::Float64,
        shape: vec![3],
        bytes: 24,
        segments: 1,
        copies: 2,
        target: 2,
        state: ArrayState::Ok,
        result: Some("a@v18".into()),
    };
    let info = VersionInfo {
        handle: "a@v17".into(),
        source: Source::Array,
        operation: None,
        segments: vec![SegmentInfo {
            segment: 0,
            start: 0,
            end: 3,
            crc32c: 2_850_302_561,
            epoch: Epoch(1, 9),
            holders: vec![w("w1"), w("w2")],
        }],
    };
    let worker_info = WorkerInfo {
        id: w("w1"),
        state: WorkerState::Alive,
        level: 2,
        address: "127.0.0.1:40021".into(),
        reachable: Some(true),
        draining: false,
        zone: None,
        kernels: "darray-1".into(),
        incarnation: 1_795_216_748_000,
        cores: 2,
        segments: 1,
        primaries: 1,
        memory_bytes: 8 << 30,
        memory_used_bytes: 24,
        memory_idle_bytes: 8,
        tasks: 0,
        last_heard_ms: Some(40),
    };
    let status = ClusterStatus {
        cluster: uuid(1),
        leader: "127.0.0.1:5000".into(),
        term: 1,
        program: "0.1.0".into(),
        uptime_ms: 60_000,
        workers_alive: 2,
        workers_suspect: 0,
        workers_down: 1,
        arrays: 1,
        segments: 2,
        under_replicated: 0,
        waiting: 0,
        lost: 0,
        running_operations: 0,
        uploads: 0,
        transfers: 0,
        replication: 2,
        memory_bytes: 16 << 30,
        memory_used_bytes: 96,
        data_dir: "/var/lib/darray".into(),
        log_index: 12,
    };
    let running = OperationInfo {
        operation: VersionId(18),
        array_id: "a".into(),
        name: "example1".into(),
        into: None,
        request: Some("00000002/5".into()),
        segments: 39,
        done: 12,
        redispatched: 0,
        running_ms: 7,
        left_ms: 119_993,
    };
    let incident = Incident {
        id: 11,
        kind: IncidentKind::WorkerDown,
        at: 1_795_216_750_000,
        worker: Some(w("w3")),
        cause: "its connection was closed".into(),
        detected_ms: 30,
        promoted: 13,
        promoted_ms: Some(2),
        redispatched: 4,
        resumed_ms: Some(3),
        copies_lost: 26,
        segments_lost: 0,
        bytes_moved: 54_525_952,
        redundancy_restored_ms: Some(48),
    };
    let values = array::Values::Float64(&[1.0, 2.5, -3.0]);
    let partial = |reducer| Partial::of(reducer, array::kernels::Build::best(), 4096, values).to_bytes();
    let (sum, argmax) = (partial(Reducer::Sum), partial(Reducer::Argmax));
    let m = |body: Body| Message::request(5, body);
    let recover = |background| {
        Body::from(RecoverData { copy, dtype: DType::Float64, sources: vec![endpoint("w2", 40022)], background })
    };
    let instruction = |body: Body| Message::new(body).serving(Some("00000002/5".into())).at_epoch(Epoch(1, 9));
    vec![
        m(Hello { session: Some(uuid(2)), ..Hello::new(Role::Client) }.into()),
        Message::new(Hello {
            worker: Some(w("w1")),
            program: Some("0.1.0".into()),
            shared_memory: Some("darray-5f0c7d1e9a3b4c2d8e6f0a1b2c3d4e5f".into()),
            ..Hello::new(Role::Worker)
        }),
        m(WireError::new(ErrorCode::UnknownArray, "there is no array 'b'; there are: a").array("b").column(9).into()),
        m(Done {}.into()),
        m(Ping {}.into()),
        m(Pong {}.into()),
        m(CreateArray { array_id: "a".into(), dtype: DType::Float64, shape: vec![3], replace: false }.into()),
        m(ReplanWrite { version: v, segments: vec![0], avoid: vec![w("w1")] }.into()),
        m(WritePlan {
            version: v,
            ticket: "5f0c7d1e9a3b4c2d8e6f0a1b2c3d4e5f".into(),
            segment_length: 4096,
            workers: vec![endpoint("w1", 40021), endpoint("w2", 40022)],
            segments: vec![PlannedWrite(0, vec![1, 0])],
        }
        .into()),
        m(CommitArray { version: v, segments: vec![WrittenSegment(0, 2_850_302_561, vec![w("w2"), w("w1")])] }.into()),
        m(ArrayCommitted {
            array_id: "a".into(),
            status: "created".into(),
            handle: "a@v17".into(),
            copies: 2,
            target: 2,
            crc32c: Some(7),
            durability: Durability::Synced,
        }
        .into()),
        m(AbandonArray { version: v }.into()),
        m(ApplyOperation {
            array_id: "a".into(),
            operation: "example1".into(),
            into: None,
            replace: false,
            no_wait: false,
            inline: false,
        }
        .into()),
        m(complete.into()),
        m(Explain { array_id: "a".into(), operation: "sin(x)".into() }.into()),
        m(explanation.into()),
        m(ReduceArray { array_id: "a".into(), reductions: "sum(sin(x)), argmax(x)".into() }.into()),
        m(reduced.into()),
        m(GenerateArray {
            array_id: "a".into(),
            generator: "uniform(0, 1, 3)".into(),
            dtype: Some(DType::Float32),
            seed: 7,
            replace: true,
        }
        .into()),
        m(WaitOperation { operation: VersionId(18) }.into()),
        m(CancelOperation { operation: VersionId(18) }.into()),
        m(GetResult { array_id: "a".into(), array: false, range: Some((0, 3)) }.into()),
        m(ReadPlan {
            array_id: "a".into(),
            version: v,
            handle: "a@v17".into(),
            source: Source::Array,
            dtype: DType::Float64,
            shape: vec![3],
            segment_length: 4096,
            pin: 4,
            lease_ms: 60_000,
            workers: vec![endpoint("w1", 40021), endpoint("w2", 40022)],
            segments: vec![PlannedRead(0, 2_850_302_561, vec![0, 1])],
        }
        .into()),
        m(RenewPin { pin: 4 }.into()),
        m(Unpin { pin: 4 }.into()),
        m(ListArrays {}.into()),
        m(Arrays { arrays: vec![summary.clone()] }.into()),
        m(DescribeArray { array_id: "a".into() }.into()),
        m(ArrayInfo { summary, versions: vec![info] }.into()),
        m(ListWorkers {}.into()),
        m(WaitWorkers { count: 3 }.into()),
        m(Workers { workers: vec![worker_info] }.into()),
        m(Status {}.into()),
        m(status.into()),
        m(ListOperations {}.into()),
        m(Operations { operations: vec![running] }.into()),
        m(ListIncidents {}.into()),
        m(Incidents { incidents: vec![incident] }.into()),
        m(DeleteArray { array_id: "a".into() }.into()),
        m(Shutdown {}.into()),
        Message::new(RegisterWorker {
            host: "127.0.0.1".into(),
            port: 40022,
            cores: 2,
            memory: 8192,
            hello: Some(worker_hello),
        }),
        Message::new(Heartbeat {
            digest: Digest::default(),
            copies: 1,
            memory_used_bytes: 24,
            memory_idle_bytes: 8,
            tasks: 0,
        }),
        Message::new(WorkerStatus { state: WorkerStage::Draining }),
        instruction(
            Reserve {
                version: v,
                ticket: "5f0c7d1e9a3b4c2d8e6f0a1b2c3d4e5f".into(),
                dtype: DType::Float64,
                segments: vec![(0, 24)],
            }
            .into(),
        ),
        m(Reserved {}.into()),
        instruction(
            ProcessSegment {
                operation: "float64: float64 input 0; float64 sin 0; sum 1; argmax 0".into(),
                sources: vec![v],
                result: VersionId(18),
                elements: 8195,
                segments: vec![0, 2],
                verify: false,
                inline: vec![0],
            }
            .into(),
        ),
        Message::new(SegmentResult {
            result: VersionId(18),
            copies: vec![CopyRecord(VersionId(18), 0, 305_419_896, 24)],
            failed: vec![FailedSegment {
                segment: 2,
                source: Some(v),
                error: WireError::new(ErrorCode::NotHeld, "v17/2 is not here"),
            }],
            partials: vec![ReducedSegment(1, vec![hex(&sum), hex(&argmax)])],
            busy_us: 700,
            bytes_read: 24,
            bytes_written: 24,
            inline: vec![],
        }),
        instruction(CancelSegments { result: VersionId(18) }.into()),
        instruction(recover(false)),
        instruction(recover(true)),
        Message::new(RecoveryComplete { copy, busy_us: Some(900), error: None }),
        Message::new(CopiesChanged { stored: vec![copy], broken: vec![CopyId(v, 1)] }),
        instruction(
            DropCopies { versions: vec![VersionId(16)], copies: vec![CopyId(v, 1)], reservations: vec![VersionId(18)] }
                .into(),
        ),
        instruction(SendInventory {}.into()),
        m(Inventory { copies: vec![copy] }.into()),
        m(DistributeArray {
            version: v,
            segment: 0,
            ticket: "5f0c7d1e9a3b4c2d8e6f0a1b2c3d4e5f".into(),
            forward: vec![endpoint("w2", 40022)],
        }
        .into())
        .with_payload(payload),
        m(SegmentStored {
            copy,
            workers: vec![w("w1")],
            failed: vec![FailedWorker {
                worker: w("w2"),
                error: WireError::new(ErrorCode::UnknownTicket, "no such ticket"),
            }],
        }
        .into()),
        m(GetSegment { version: v, segment: 0, range: Some((0, 3)) }.into()),
        m(Segment { copy }.into()).with_payload(payload),
    ]
}

fn line(message: &Message) -> String {
    let head = Head { from: "x".into(), to: "y".into(), timestamp: 1_795_216_748_464, ..message.head.clone() };
    let mut line = Vec::new();
    assert!(encode(&head, &message.body, &mut line).unwrap().is_none(), "samples are short");
    String::from_utf8(line).unwrap()
}

#[test]
fn there_is_a_sample_of_every_type() {
    let mut kinds: Vec<&str> = samples().iter().map(|message| message.body.kind()).collect();
    kinds.dedup();
    assert_eq!(kinds, Body::KINDS);
}

#[test]
fn the_bytes_on_the_wire_have_not_changed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/messages.jsonl");
    let now: String = samples().iter().map(line).collect();
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (now, golden) in now.lines().zip(golden.lines()) {
        assert_eq!(now, golden);
    }
    assert_eq!(now.lines().count(), golden.lines().count());
}

#[test]
fn what_is_written_is_read_again() {
    for message in samples() {
        let mut reader = FrameReader::new(std::io::Cursor::new(line(&message)).into_inner().leak().as_bytes());
        let Some(Incoming::Message(read)) = reader.read(None).unwrap() else { panic!("{message:?} was not accepted") };
        assert_eq!(read.body, message.body);
        assert_eq!(
            (read.head.id, read.head.epoch, read.head.payload),
            (message.head.id, message.head.epoch, message.head.payload)
        );
    }
}

#[test]
fn protocol_md_names_every_type_and_every_error() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("PROTOCOL.md")).unwrap();
    for kind in Body::KINDS {
        assert!(text.contains(&format!("`{kind}")), "{kind} is not in PROTOCOL.md");
    }
    for code in ERROR_CODES {
        let row = format!("| `{code}` | {} |", if code.is_retryable() { "yes" } else { "no" });
        assert!(text.contains(&row), "PROTOCOL.md has no row {row}");
    }
}

const ERROR_CODES: [ErrorCode; 34] = {
    use ErrorCode::*;
    [
        Malformed,
        TooLarge,
        UnknownType,
        NotAllowed,
        Unsupported,
        InvalidName,
        UnknownArray,
        UnknownVersion,
        UnknownOperation,
        BadExpression,
        BadElement,
        UnknownOperationId,
        UnknownUpload,
        UnknownTicket,
        NotHeld,
        TypeMismatch,
        OutOfRange,
        AlreadyExists,
        ChecksumMismatch,
        SegmentsMissing,
        SegmentsLost,
        NoWorkers,
        InsufficientReplicas,
        InsufficientMemory,
        Busy,
        DeadlineExceeded,
        Cancelled,
        Fenced,
        WorkerIdInUse,
        WrongCluster,
        OutcomeUnknown,
        IdReused,
        ShuttingDown,
        Internal,
    ]
};
