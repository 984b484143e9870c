//! What can be said: every message of level 2, and the envelope around it.
//!
//! One message is one JSON object on one line: `type`, `from`, `to`, `timestamp`, `data` as in the original protocol,
//! and a few more fields beside them (see [`Head`]). [`Body`] is the closed list of types with their `data`; the
//! structs are grouped by who talks to whom: [`client`] with the master, [`worker`] with the master, [`data`] on the
//! workers' data ports, and here what everybody says.

pub mod client;
pub mod data;
pub mod worker;

use crate::error::WireError;
use crate::id::{Epoch, SessionId, WorkerId};
use array::DType;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;

use client::*;
use data::*;
use worker::*;

/// Declares [`Body`]: for each message its type on the wire, its variant and its data.
macro_rules! messages {
    ($($(#[$doc:meta])* $kind:literal => $variant:ident($data:ty),)*) => {
        /// Every message of level 2, by type.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Body { $($(#[$doc])* $variant($data),)* }

        impl Body {
            /// The type of every message, as it is on the wire.
            pub const KINDS: &[&str] = &[$($kind),*];

            /// The message's `type` on the wire.
            pub fn kind(&self) -> &'static str {
                match self { $(Body::$variant(_) => $kind,)* }
            }

            /// Reads `data` as that of a message of type `kind`; `None` for a type that does not exist.
            pub(crate) fn parse(kind: &str, data: &str) -> Option<serde_json::Result<Body>> {
                match kind {
                    $($kind => Some(serde_json::from_str(data).map(Body::$variant)),)*
                    _ => None,
                }
            }

            /// Takes a body apart into `type` and `data`, to keep it elsewhere than on the wire.
            pub fn to_parts(&self) -> (String, String) {
                let data = self.data().expect("messages have string keys only");
                (self.kind().to_string(), data.get().to_string())
            }

            /// Puts together what [`Body::to_parts`] took apart; `None` for a type that does not exist.
            pub fn from_parts(kind: &str, data: &str) -> Option<serde_json::Result<Body>> {
                Body::parse(kind, data)
            }

            /// Writes `data`.
            pub(crate) fn data(&self) -> serde_json::Result<Box<RawValue>> {
                match self { $(Body::$variant(data) => serde_json::value::to_raw_value(data),)* }
            }
        }

        $(impl From<$data> for Body {
            fn from(data: $data) -> Body { Body::$variant(data) }
        })*
    };
}

messages! {
    /// Introduces a connection, and answers that.
    "HELLO" => Hello(Hello),
    /// Any request refused.
    "ERROR" => Error(WireError),
    /// A request done that has nothing more to say.
    "DONE" => Done(Done),
    /// Are you there?
    "PING" => Ping(Ping),
    /// Here I am.
    "PONG" => Pong(Pong),

    /// Client: I want to store an array.
    "CREATE_ARRAY" => CreateArray(CreateArray),
    /// Client: these segments did not arrive; where else?
    "REPLAN_WRITE" => ReplanWrite(ReplanWrite),
    /// Master: write there.
    "WRITE_PLAN" => WritePlan(WritePlan),
    /// Client: everything is written.
    "COMMIT_ARRAY" => CommitArray(CommitArray),
    /// Master: the array exists.
    "ARRAY_COMMITTED" => ArrayCommitted(ArrayCommitted),
    /// Client: forget this upload.
    "ABANDON_ARRAY" => AbandonArray(AbandonArray),
    /// Client: compute.
    "APPLY_OPERATION" => ApplyOperation(ApplyOperation),
    /// Master: computed, or begun.
    "OPERATION_COMPLETE" => OperationComplete(OperationComplete),
    /// Client: what would that cost?
    "EXPLAIN" => Explain(Explain),
    /// Master: this.
    "EXPLANATION" => Explanation(Explanation),
    /// Client: make one value, or several, of all elements.
    "REDUCE_ARRAY" => ReduceArray(ReduceArray),
    /// Master: these.
    "REDUCTION_COMPLETE" => ReductionComplete(ReductionComplete),
    /// Client: have the workers make an array.
    "GENERATE_ARRAY" => GenerateArray(GenerateArray),
    /// Client: tell me when this operation ends.
    "WAIT_OPERATION" => WaitOperation(WaitOperation),
    /// Client: stop this operation.
    "CANCEL_OPERATION" => CancelOperation(CancelOperation),
    /// Client: where do I read?
    "GET_RESULT" => GetResult(GetResult),
    /// Master: read there.
    "READ_PLAN" => ReadPlan(ReadPlan),
    /// Client: I am still reading.
    "RENEW_PIN" => RenewPin(RenewPin),
    /// Client: I have read.
    "UNPIN" => Unpin(Unpin),
    /// Client: which arrays are there?
    "LIST_ARRAYS" => ListArrays(ListArrays),
    /// Master: these.
    "ARRAYS" => Arrays(Arrays),
    /// Client: tell me all about one.
    "DESCRIBE_ARRAY" => DescribeArray(DescribeArray),
    /// Master: this is it.
    "ARRAY_INFO" => ArrayInfo(ArrayInfo),
    /// Client: which workers are there?
    "LIST_WORKERS" => ListWorkers(ListWorkers),
    /// Client: tell me when so many workers are alive.
    "WAIT_WORKERS" => WaitWorkers(WaitWorkers),
    /// Master: these.
    "WORKERS" => Workers(Workers),
    /// Client: how is the cluster?
    "STATUS" => Status(Status),
    /// Master: so.
    "CLUSTER_STATUS" => ClusterStatus(ClusterStatus),
    /// Client: what is running?
    "LIST_OPERATIONS" => ListOperations(ListOperations),
    /// Master: this.
    "OPERATIONS" => Operations(Operations),
    /// Client: what went wrong, and how was it mended?
    "LIST_INCIDENTS" => ListIncidents(ListIncidents),
    /// Master: this.
    "INCIDENTS" => Incidents(Incidents),
    /// Client: delete an array.
    "DELETE_ARRAY" => DeleteArray(DeleteArray),
    /// Client to master: shut the cluster down. Master to worker: end yourself.
    "SHUTDOWN" => Shutdown(Shutdown),

    /// Worker: here I am, and this is what I hold.
    "REGISTER_WORKER" => RegisterWorker(RegisterWorker),
    /// Worker: I live.
    "HEARTBEAT" => Heartbeat(Heartbeat),
    /// Worker: I want to leave. Master: you may.
    "WORKER_STATUS" => WorkerStatus(WorkerStatus),
    /// Master: keep room for these segments and expect them with this ticket.
    "RESERVE" => Reserve(Reserve),
    /// Worker: room is kept.
    "RESERVED" => Reserved(Reserved),
    /// Master: compute these segments.
    "PROCESS_SEGMENT" => ProcessSegment(ProcessSegment),
    /// Worker: computed.
    "SEGMENT_RESULT" => SegmentResult(SegmentResult),
    /// Master: stop computing this.
    "CANCEL_SEGMENTS" => CancelSegments(CancelSegments),
    /// Master: fetch a copy from another worker.
    "RECOVER_DATA" => RecoverData(RecoverData),
    /// Worker: fetched, or not.
    "RECOVERY_COMPLETE" => RecoveryComplete(RecoveryComplete),
    /// Worker: these copies arrived on my data port, or turned out broken.
    "COPIES_CHANGED" => CopiesChanged(CopiesChanged),
    /// Master: nobody needs these copies any more.
    "DROP_COPIES" => DropCopies(DropCopies),
    /// Master: what do you hold?
    "SEND_INVENTORY" => SendInventory(SendInventory),
    /// Worker: this.
    "INVENTORY" => Inventory(Inventory),

    /// Data port: store this segment; the payload follows.
    "DISTRIBUTE_ARRAY" => DistributeArray(DistributeArray),
    /// Data port: stored.
    "SEGMENT_STORED" => SegmentStored(SegmentStored),
    /// Data port: give me this segment.
    "GET_SEGMENT" => GetSegment(GetSegment),
    /// Data port: here it is; the payload follows.
    "SEGMENT" => Segment(Segment),
}

/// A message with its envelope.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The envelope.
    pub head: Head,
    /// What it says.
    pub body: Body,
    /// The bytes of its payload where they travel with it, because they are few. Others are moved by whoever knows where they belong.
    pub elements: Option<Arc<[u8]>>,
}

/// The envelope: the original's fields, and what level 2 puts beside them. Whoever writes a message to a socket fills
/// in `from`, `to` and `timestamp`; the rest belongs to whoever made it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// Who says it. Informative; on a connection the HELLO or REGISTER_WORKER counts.
    #[serde(default)]
    pub from: String,
    /// To whom. Informative.
    #[serde(default)]
    pub to: String,
    /// When, in milliseconds since 1970. Informative.
    #[serde(default)]
    pub timestamp: u64,
    /// Number of a request within its session (clients) or connection (all others); a reply carries its request's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The client's request this message serves, for the logs: see [`request_name`](crate::id::request_name).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The client will not ask again about requests with smaller ids: their outcomes may be forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acked_below: Option<u64>,
    /// How long the requester will wait, from when the request arrives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// The state of knowledge behind an instruction; an older one than the receiver has seen is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// What follows the line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
}

impl Message {
    /// A message without an id.
    pub fn new(body: impl Into<Body>) -> Message {
        Message { head: Head::default(), body: body.into(), elements: None }
    }

    /// A request with a number.
    pub fn request(id: u64, body: impl Into<Body>) -> Message {
        Message::new(body).with_id(Some(id))
    }

    /// Sets or clears the number.
    pub fn with_id(mut self, id: Option<u64>) -> Message {
        self.head.id = id;
        self
    }

    /// Names the client's request it serves.
    pub fn serving(mut self, request: Option<String>) -> Message {
        self.head.request = request;
        self
    }

    /// States the epoch.
    pub fn at_epoch(mut self, epoch: Epoch) -> Message {
        self.head.epoch = Some(epoch);
        self
    }

    /// Announces a payload.
    pub fn with_payload(mut self, payload: Payload) -> Message {
        self.head.payload = Some(payload);
        self
    }

    /// Lets few elements travel with it.
    pub fn with_elements(self, dtype: DType, elements: Arc<[u8]>) -> Message {
        let (kind, bytes) = (PayloadKind::Elements(dtype), elements.len() as u64);
        let payload = Payload { kind, bytes, crc32c: array::checksum::crc32c(&elements) };
        Message { elements: Some(elements), ..self.with_payload(payload) }
    }

    /// The reply to a message with this head: same id, same request.
    pub fn reply(to: &Head, body: impl Into<Body>) -> Message {
        Message::new(body).with_id(to.id).serving(to.request.clone())
    }
}

/// Announces the bytes that follow the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// What they are.
    #[serde(rename = "dtype")]
    pub kind: PayloadKind,
    /// How many.
    pub bytes: u64,
    /// Their CRC-32C.
    pub crc32c: u32,
}

/// What a payload's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadKind {
    /// Little-endian elements in C order.
    Elements(DType),
    /// A JSON object that stands for `data`, because the line would be longer than a header may be.
    Json,
}

impl Serialize for PayloadKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            PayloadKind::Elements(dtype) => crate::dtype::serialize(dtype, serializer),
            PayloadKind::Json => serializer.serialize_str("json"),
        }
    }
}

impl<'de> Deserialize<'de> for PayloadKind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<str>::deserialize(deserializer)?;
        match &*name {
            "json" => Ok(PayloadKind::Json),
            name => name.parse().map(PayloadKind::Elements).map_err(serde::de::Error::custom),
        }
    }
}

/// What the other end of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Somebody with arrays.
    Client,
    /// The master, in its answers.
    Master,
    /// A worker: in its answers, and when it calls another worker's data port.
    Worker,
    /// A worker's second connection to the master, for signs of life only.
    Heartbeat,
}

/// Data of HELLO, both ways. What the sender's role does not need is left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// What the sender is.
    pub role: Role,
    /// The newest protocol version it speaks.
    #[serde(default = "default_protocol")]
    pub protocol: u32,
    /// Features it has beyond that version, by name. None are defined yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// Client: the session to open or resume. Master: the session that counts, a new one if that was not known any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// Master: the cluster's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<uuid::Uuid>,
    /// Master: its term.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<u64>,
    /// Heartbeat connection and answers of workers: which worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// Heartbeat connection: which life of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<u64>,
    /// Answers: the version of the program, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// Answers of workers: the name of the socket at which programs of the same machine get a connection through shared
    /// memory. Without it there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_memory: Option<String>,
}

fn default_protocol() -> u32 {
    crate::limits::PROTOCOL_VERSION
}

impl Hello {
    /// A HELLO with a role and nothing else.
    pub fn new(role: Role) -> Hello {
        Hello {
            role,
            protocol: default_protocol(),
            features: Vec::new(),
            session: None,
            cluster: None,
            term: None,
            worker: None,
            incarnation: None,
            program: None,
            shared_memory: None,
        }
    }
}

/// Declares messages whose data is the empty object.
macro_rules! empty {
    ($($(#[$doc:meta])* $name:ident)*) => {
        $($(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
        pub struct $name {})*
    };
}
pub(crate) use empty;

empty! {
    /// Data of DONE.
    Done
    /// Data of PING.
    Ping
    /// Data of PONG.
    Pong
}
