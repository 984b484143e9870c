//! How a message becomes bytes and back.
//!
//! A frame is one line of JSON and, if the line announces one, a payload of exactly so many bytes after the newline:
//!
//! ```text
//! {"type":"GET_SEGMENT","from":"client","to":"w1","timestamp":1795216748464,"id":3,"data":{"version":17,"segment":0},"crc32c":907534713}
//! {"type":"SEGMENT",…,"id":3,"payload":{"dtype":"int32","bytes":8,"crc32c":2743272264},"data":{…},"crc32c":…}
//! <8 bytes>
//! ```
//!
//! The last field of a line is its checksum: CRC-32C of the line without that field and without the newline. Every line that is
//! written has it, people who type may leave it out; but a connection on which one has come takes no line without.
//!
//! [`FrameReader`] reads the line (capped), checks its nesting, parses it, and leaves the payload to its caller, who
//! knows where the bytes belong. A message it can't accept but whose end it can find is [`Incoming::Refused`], and the
//! connection lives; everything else is a [`FrameError`], after which the border between frames is lost. A stream that
//! ends inside a frame is an error, one that ends between frames is not.
//!
//! [`FrameWriter`] writes line and payload in one system call. `data` that would make the line too long goes into a
//! payload of kind `json` by itself, and comes back out of it by itself.

use crate::error::{ErrorCode, WireError};
use crate::limits::*;
use crate::message::{Body, Head, Message, Payload, PayloadKind};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fmt;
use std::io::{self, BufRead, BufReader, IoSlice, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of bytes whose reads can be made to fail with [`io::ErrorKind::TimedOut`] from some moment on.
pub trait ReadDeadline: Read {
    /// Sets the moment; `None` waits for ever.
    fn set_read_deadline(&mut self, deadline: Option<Instant>);
}

/// Bytes in memory never wait.
impl ReadDeadline for &[u8] {
    fn set_read_deadline(&mut self, _: Option<Instant>) {}
}

/// What a reader found.
#[derive(Debug, PartialEq)]
pub enum Incoming {
    /// A message. If its head announces elements, the caller must take them with [`FrameReader::read_payload`],
    /// [`FrameReader::skip_payload`] or [`FrameReader::take_elements`] before the next message.
    Message(Message),
    /// Something that is a frame but not a message we accept; its payload has been skipped. Answer the error; the
    /// connection lives.
    Refused {
        /// Its envelope, for the reply.
        head: Box<Head>,
        /// What to answer.
        error: WireError,
    },
}

/// Why no further frame can be read from a connection.
#[derive(Debug)]
pub enum FrameError {
    /// The connection failed; after a time-out too.
    Io(io::Error),
    /// The stream ended inside a frame.
    Truncated,
    /// The bytes are no frame. Answer the error, then close.
    Broken(WireError),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Io(e) if is_timeout(e) => f.write_str("nothing came within the deadline"),
            FrameError::Io(e) => write!(f, "the connection failed: {e}"),
            FrameError::Truncated => f.write_str("the connection ended inside a message"),
            FrameError::Broken(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FrameError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FrameError::Io(e) => Some(e),
            FrameError::Truncated => None,
            FrameError::Broken(e) => Some(e),
        }
    }
}

impl From<io::Error> for FrameError {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::UnexpectedEof => FrameError::Truncated,
            _ => FrameError::Io(e),
        }
    }
}

/// Whether an error means that a deadline passed. Linux reports a receive time-out as `WouldBlock`.
pub fn is_timeout(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

fn broken(code: ErrorCode, message: impl Into<String>) -> FrameError {
    FrameError::Broken(WireError::new(code, message))
}

/// The line of a frame as it is read: `data` stays text until the type is known.
#[derive(Deserialize)]
struct LineIn<'a> {
    #[serde(rename = "type")]
    kind: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// The line of a frame as it is written.
#[derive(Serialize)]
struct LineOut<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(flatten)]
    head: &'a Head,
    data: &'a RawValue,
}

/// Memory for JSON payloads while they are read, for all connections of a program together. It is taken as the bytes arrive, so
/// announcing them takes nothing.
#[derive(Debug)]
pub struct Documents {
    limit: u64,
    taken: AtomicU64,
}

impl Documents {
    /// So many bytes.
    pub fn new(limit: u64) -> Arc<Documents> {
        Arc::new(Documents { limit, taken: AtomicU64::new(0) })
    }

    fn take(&self, bytes: u64) -> Result<(), WireError> {
        let grow = |taken: u64| Some(taken + bytes).filter(|taken| *taken <= self.limit);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow).map(drop).map_err(|taken| {
            let text = format!(
                "{taken} bytes of JSON payloads are being read; {bytes} more are above the limit, {}",
                self.limit
            );
            WireError::new(ErrorCode::Busy, text).retry_after_ms(DOCUMENT_RETRY_MS)
        })
    }
}

/// When to send a JSON payload again for which there was no memory: the others are read in less, from peers that are not stuck.
const DOCUMENT_RETRY_MS: u64 = 500;

/// What a payload has of [`Documents`]; it goes back when this is dropped.
#[derive(Default)]
struct Taken {
    documents: Option<Arc<Documents>>,
    bytes: u64,
}

impl Taken {
    fn grow(&mut self, bytes: usize) -> Result<(), WireError> {
        if let Some(documents) = &self.documents {
            documents.take(bytes as u64)?;
            self.bytes += bytes as u64;
        }
        Ok(())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(documents) = &self.documents {
            documents.taken.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

/// What is before the digits of a line's checksum, which are before its last brace.
const CHECKSUM_FIELD: &[u8] = b",\"crc32c\":";

/// Ends a line that is complete but for its checksum.
fn seal(line: &mut Vec<u8>) -> io::Result<()> {
    let crc = array::checksum::crc32c(line);
    line.pop(); // the brace
    line.extend_from_slice(CHECKSUM_FIELD);
    writeln!(line, "{crc}}}")
}

/// Whether the bytes of a line are those of its checksum; `None` if it has none. Objects within it end with two braces.
fn is_intact(line: &[u8]) -> Option<bool> {
    let inside = line.trim_ascii_end().strip_suffix(b"}")?;
    let digits = inside.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (before, digits) = inside.split_at(inside.len() - digits);
    let content = before.strip_suffix(CHECKSUM_FIELD)?;
    let stated: Option<u32> = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    let crc = array::checksum::crc32c_append(array::checksum::crc32c(content), b"}");
    Some(stated == Some(crc))
}

/// Reads frames from a stream.
pub struct FrameReader<R> {
    inner: BufReader<R>,
    line: Vec<u8>,
    /// A line with a checksum has come: all that follow have one.
    is_sealed: bool,
    documents: Option<Arc<Documents>>,
}

impl<R: ReadDeadline> FrameReader<R> {
    /// A reader with a buffer of one header line.
    pub fn new(inner: R) -> Self {
        FrameReader {
            inner: BufReader::with_capacity(HEADER_BYTES_MAX, inner),
            line: Vec::new(),
            is_sealed: false,
            documents: None,
        }
    }

    /// The same reader, which takes the memory for JSON payloads from `documents`. One for which there is none is refused with `Busy`.
    pub fn sharing(self, documents: Arc<Documents>) -> Self {
        FrameReader { documents: Some(documents), ..self }
    }

    /// The stream below.
    pub fn get_ref(&self) -> &R {
        self.inner.get_ref()
    }

    /// The stream, before anything was read from it.
    ///
    /// # Panics
    /// If bytes have been read ahead: they would be lost.
    pub fn into_inner(self) -> R {
        assert!(self.inner.buffer().is_empty(), "bytes that were read ahead would be lost");
        self.inner.into_inner()
    }

    /// Whether nothing of a frame has been read: after a time-out the next one can still be waited for.
    pub fn is_between_frames(&self) -> bool {
        self.line.is_empty() && self.inner.buffer().is_empty()
    }

    /// Reads the next message; `None` when the stream has ended between two. Waits at most until `first_byte_by` for it
    /// to begin, and [`HEADER_TIMEOUT`] from there to the end of the line.
    pub fn read(&mut self, first_byte_by: Option<Instant>) -> Result<Option<Incoming>, FrameError> {
        loop {
            if !self.read_line(first_byte_by)? {
                return Ok(None);
            }
            if !self.line.trim_ascii().is_empty() {
                break; // blank lines are skipped: people press return
            }
        }
        let line = std::mem::take(&mut self.line);
        let incoming = self.parse_frame(&line);
        self.line = line;
        incoming.map(Some)
    }

    /// Reads one line into `self.line`; false when the stream ended before it began.
    fn read_line(&mut self, first_byte_by: Option<Instant>) -> Result<bool, FrameError> {
        self.line.clear();
        if self.inner.buffer().is_empty() {
            self.inner.get_mut().set_read_deadline(first_byte_by);
            if self.inner.fill_buf()?.is_empty() {
                return Ok(false);
            }
        }
        if !self.inner.buffer().contains(&b'\n') {
            self.inner.get_mut().set_read_deadline(Some(Instant::now() + HEADER_TIMEOUT));
        }
        let read = (&mut self.inner).take(HEADER_BYTES_MAX as u64).read_until(b'\n', &mut self.line)?;
        match self.line.last() {
            Some(b'\n') => Ok(true),
            _ if read == HEADER_BYTES_MAX => Err(broken(
                ErrorCode::TooLarge,
                format!("a header line has at most {HEADER_BYTES_MAX} bytes; send long data as a payload"),
            )),
            _ => Err(FrameError::Truncated),
        }
    }

    /// Whether the line is as it was written, as far as it can be told.
    fn check_line(&mut self, line: &[u8]) -> Result<(), FrameError> {
        match is_intact(line) {
            Some(true) => self.is_sealed = true,
            None if !self.is_sealed => {}
            Some(false) => return Err(broken(ErrorCode::ChecksumMismatch, "the line does not have its checksum")),
            None => {
                let text = "the line has no checksum, and others before it had one";
                return Err(broken(ErrorCode::ChecksumMismatch, text));
            }
        }
        Ok(())
    }

    fn parse_frame(&mut self, line: &[u8]) -> Result<Incoming, FrameError> {
        self.check_line(line)?;
        let line = std::str::from_utf8(line)
            .map_err(|e| broken(ErrorCode::Malformed, format!("the line is not UTF-8: {e}")))?;
        check_depth(line).map_err(FrameError::Broken)?;
        let malformed = |e: serde_json::Error| broken(ErrorCode::Malformed, format!("the line is not a message: {e}"));
        let parsed: LineIn = serde_json::from_str(line).map_err(malformed)?;
        let mut head: Head = serde_json::from_str(line).map_err(malformed)?;
        let document;
        let mut taken = Taken { documents: self.documents.clone(), bytes: 0 };
        let data = match head.payload {
            Some(Payload { kind: PayloadKind::Json, .. }) => {
                match self.read_document(head.payload.take().expect("just matched"), &mut taken)? {
                    Ok(read) => document = read,
                    Err(error) => return Ok(Incoming::Refused { head: Box::new(head), error }),
                }
                document.as_str()
            }
            Some(payload) if payload.bytes > PAYLOAD_BYTES_MAX => {
                return Err(broken(
                    ErrorCode::TooLarge,
                    format!("a payload of {} bytes; the limit is {PAYLOAD_BYTES_MAX}", payload.bytes),
                ));
            }
            _ => parsed.data.map_or("{}", RawValue::get),
        };
        let error = match Body::parse(&parsed.kind, data) {
            Some(Ok(body)) => return Ok(Incoming::Message(Message { head, body, elements: None })),
            Some(Err(e)) => {
                WireError::new(ErrorCode::Malformed, format!("the data of {} cannot be read: {e}", parsed.kind))
            }
            None => WireError::new(ErrorCode::UnknownType, unknown_type(&parsed.kind)),
        };
        if let Some(payload) = head.payload {
            self.skip_payload(&payload)?;
        }
        Ok(Incoming::Refused { head: Box::new(head), error })
    }

    /// Reads a JSON payload, with memory for each block before it is read. The inner error is that there is none; the payload has been
    /// skipped then.
    fn read_document(&mut self, payload: Payload, taken: &mut Taken) -> Result<Result<String, WireError>, FrameError> {
        if payload.bytes > JSON_PAYLOAD_BYTES_MAX {
            let error = format!("a JSON payload of {} bytes; the limit is {JSON_PAYLOAD_BYTES_MAX}", payload.bytes);
            return Err(broken(ErrorCode::TooLarge, error));
        }
        self.inner.get_mut().set_read_deadline(Some(Instant::now() + payload_timeout(payload.bytes)));
        let (mut bytes, length) = (Vec::new(), payload.bytes as usize);
        while bytes.len() < length {
            let (read, block) = (bytes.len(), BLOCK_BYTES.min(length - bytes.len()));
            if let Err(error) = taken.grow(block) {
                drop(bytes);
                self.skip_payload(&Payload { bytes: (length - read) as u64, ..payload })?;
                return Ok(Err(error));
            }
            bytes.resize(read + block, 0);
            self.inner.read_exact(&mut bytes[read..])?;
        }
        check_crc(&payload, array::checksum::crc32c(&bytes))?;
        let document = String::from_utf8(bytes)
            .map_err(|e| broken(ErrorCode::Malformed, format!("the JSON payload is not UTF-8: {e}")))?;
        check_depth(&document).map_err(FrameError::Broken)?;
        Ok(Ok(document))
    }

    /// Reads a payload into `into`, block by block, and checks it. `into` must have its length. A wrong checksum is
    /// [`FrameError::Broken`]: the bytes came from somewhere between the peers, so nothing after them can be trusted.
    pub fn read_payload(&mut self, payload: &Payload, into: &mut [u8]) -> Result<(), FrameError> {
        self.read_payload_with(payload, into, |_| {})
    }

    /// As [`FrameReader::read_payload`], and shows each block to `arrived` while it is in the cache. Whether the checksum is
    /// right is known after the last one only.
    pub fn read_payload_with(
        &mut self,
        payload: &Payload,
        into: &mut [u8],
        mut arrived: impl FnMut(&[u8]),
    ) -> Result<(), FrameError> {
        assert_eq!(payload.bytes, into.len() as u64, "the caller provides room for exactly the payload");
        self.inner.get_mut().set_read_deadline(Some(Instant::now() + payload_timeout(payload.bytes)));
        let mut crc = 0;
        for block in into.chunks_mut(BLOCK_BYTES) {
            self.inner.read_exact(block)?;
            arrived(block);
            crc = array::checksum::crc32c_append(crc, block);
        }
        check_crc(payload, crc)
    }

    /// Takes the elements that a message announces: lets them travel with it if they are at most so many bytes, else forgets them.
    pub fn take_elements(&mut self, message: &mut Message, bytes_max: u64) -> Result<(), FrameError> {
        let Some(payload) = message.head.payload else { return Ok(()) };
        if payload.bytes > bytes_max {
            message.head.payload = None;
            return self.skip_payload(&payload);
        }
        let mut elements = vec![0; payload.bytes as usize];
        self.read_payload(&payload, &mut elements)?;
        message.elements = Some(elements.into());
        Ok(())
    }

    /// Reads a payload and forgets it.
    pub fn skip_payload(&mut self, payload: &Payload) -> Result<(), FrameError> {
        self.inner.get_mut().set_read_deadline(Some(Instant::now() + payload_timeout(payload.bytes)));
        match io::copy(&mut (&mut self.inner).take(payload.bytes), &mut io::sink())? {
            skipped if skipped == payload.bytes => Ok(()),
            _ => Err(FrameError::Truncated),
        }
    }
}

/// Compares the checksum of a payload with what was announced.
fn check_crc(payload: &Payload, crc: u32) -> Result<(), FrameError> {
    if crc == payload.crc32c {
        return Ok(());
    }
    let error =
        format!("a payload of {} bytes arrived with crc32c {crc}, not {} as announced", payload.bytes, payload.crc32c);
    Err(broken(ErrorCode::ChecksumMismatch, error))
}

fn unknown_type(kind: &str) -> String {
    let shown: String = kind.chars().take(64).collect();
    format!("there is no message of type '{}'; there are {}", shown.escape_debug(), Body::KINDS.join(", "))
}

/// Refuses JSON nested deeper than [`JSON_DEPTH_MAX`], before any recursive parser sees it.
fn check_depth(json: &str) -> Result<(), WireError> {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > JSON_DEPTH_MAX {
            return Err(WireError::new(ErrorCode::Malformed, format!("JSON nested deeper than {JSON_DEPTH_MAX}")));
        }
    }
    Ok(())
}

/// Writes frames to a stream.
pub struct FrameWriter<W> {
    inner: W,
    from: String,
    to: String,
    /// A line that has not been written yet; otherwise empty.
    line: Vec<u8>,
}

impl<W: Write> FrameWriter<W> {
    /// A writer that signs its messages `from` and addresses them `to`.
    pub fn new(inner: W, from: impl Into<String>, to: impl Into<String>) -> Self {
        FrameWriter { inner, from: from.into(), to: to.into(), line: Vec::new() }
    }

    /// The stream below.
    pub fn get_ref(&self) -> &W {
        &self.inner
    }

    /// Addresses what follows to somebody else: the peer has introduced itself.
    pub fn set_to(&mut self, to: impl Into<String>) {
        self.to = to.into();
    }

    /// Writes a message, with the elements that travel with it.
    pub fn write(&mut self, message: &Message) -> io::Result<()> {
        self.write_with(message, message.elements.as_deref().unwrap_or_default())
    }

    /// Writes a message and the elements that its head announces.
    pub fn write_with(&mut self, message: &Message, elements: &[u8]) -> io::Result<()> {
        debug_assert_eq!(message.head.payload.map_or(0, |p| p.bytes), elements.len() as u64);
        let document = self.encode(message)?;
        let payload = document.as_ref().map_or(elements, |d| d.get().as_bytes());
        self.write_block(payload)
    }

    /// Begins a message whose elements follow in blocks, all of which its head announces. The line goes out with the first.
    pub fn begin(&mut self, message: &Message) -> io::Result<()> {
        debug_assert!(message.head.payload.is_some_and(|p| p.bytes > 0), "elements follow");
        self.encode(message).map(drop)
    }

    /// Writes elements of the message that was begun.
    pub fn write_block(&mut self, elements: &[u8]) -> io::Result<()> {
        let written = write_all_of([&self.line, elements], &mut self.inner);
        self.line.clear();
        written?;
        self.inner.flush()
    }

    /// Puts the line of a message into `self.line`; see [`encode`].
    fn encode(&mut self, message: &Message) -> io::Result<Option<Box<RawValue>>> {
        let mut head = message.head.clone();
        head.from.clone_from(&self.from);
        head.to.clone_from(&self.to);
        head.timestamp = unix_ms();
        encode(&head, &message.body, &mut self.line)
    }
}

/// Milliseconds since 1970, for people and for the original protocol's `timestamp`.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as u64
}

/// Puts the line of a message into `line`, newline included. When it would be too long, returns `data`, which then has to
/// follow as payload.
pub fn encode(head: &Head, body: &Body, line: &mut Vec<u8>) -> io::Result<Option<Box<RawValue>>> {
    let data = body.data()?;
    line.clear();
    serde_json::to_writer(&mut *line, &LineOut { kind: body.kind(), head, data: &data })?;
    seal(line)?;
    if line.len() <= HEADER_BYTES_MAX {
        return Ok(None);
    }
    assert!(head.payload.is_none(), "a message with elements has short data");
    let bytes = data.get().as_bytes();
    let payload =
        Payload { kind: PayloadKind::Json, bytes: bytes.len() as u64, crc32c: array::checksum::crc32c(bytes) };
    let head = Head { payload: Some(payload), ..head.clone() };
    let empty = RawValue::from_string("{}".to_string())?;
    line.clear();
    serde_json::to_writer(&mut *line, &LineOut { kind: body.kind(), head: &head, data: &empty })?;
    seal(line)?;
    Ok(Some(data))
}

/// Writes both slices, in one system call where the stream takes them at once.
fn write_all_of(slices: [&[u8]; 2], to: &mut impl Write) -> io::Result<()> {
    let mut slices = slices.map(IoSlice::new);
    let mut rest = &mut slices[..];
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match to.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => IoSlice::advance_slices(&mut rest, n),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
