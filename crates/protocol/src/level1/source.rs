//! The bytes of one line after the other, and the pieces of JSON in them.

use super::Scalar;
use crate::error::{ErrorCode, WireError};
use crate::frame::ReadDeadline;
use crate::limits::{HEADER_BYTES_MAX, HEADER_TIMEOUT, JSON_DEPTH_MAX, payload_timeout};
use std::io;
use std::time::Instant;

/// Bytes read at a time; a string has at most [`HEADER_BYTES_MAX`], so it fits twice.
const BUFFER_BYTES: usize = 4 * HEADER_BYTES_MAX;

/// Longest number: 2^-1074 written out in full has 1,077 characters.
const NUMBER_BYTES_MAX: usize = 1100;

/// Bytes behind a number for it to be read without looking where the buffer ends; most have 20.
const NUMBER_BYTES_USUAL: usize = 40;

/// Elements a list has room for at first.
const LIST_CAPACITY_MIN: usize = 1024;

/// Why a line can't be read on.
#[derive(Debug)]
pub(super) enum Stop {
    /// The connection failed.
    Io(io::Error),
    /// The line is wrong here; the next one can be found.
    Wrong(WireError),
    /// There is no memory for a list, which has been passed over; the line can be read on.
    NoRoom(WireError),
    /// The line is longer than lines may be: its end is not looked for.
    TooLong(WireError),
}

impl From<io::Error> for Stop {
    fn from(e: io::Error) -> Stop {
        Stop::Io(e)
    }
}

pub(super) fn malformed(text: impl Into<String>) -> Stop {
    Stop::Wrong(WireError::new(ErrorCode::Malformed, text))
}

/// A stream, looked at through a buffer, a line at a time.
pub(super) struct Source<R> {
    inner: R,
    buffer: Box<[u8]>,
    at: usize,
    end: usize,
    /// Bytes of the current line that are not in the buffer any more.
    line_before: u64,
    /// Where in the buffer the current line begins, or what is left of it.
    line_at: usize,
    line_bytes_max: u64,
    line_began: Instant,
}

impl<R: ReadDeadline> Source<R> {
    pub(super) fn new(inner: R, line_bytes_max: u64) -> Self {
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Source { inner, buffer, at: 0, end: 0, line_before: 0, line_at: 0, line_bytes_max, line_began: Instant::now() }
    }

    pub(super) fn get_ref(&self) -> &R {
        &self.inner
    }

    /// Waits until a line begins, at most until `by`; false at the end of the stream. Blank lines are skipped.
    pub(super) fn begin_line(&mut self, by: Option<Instant>) -> Result<bool, Stop> {
        loop {
            while self.at < self.end && self.buffer[self.at].is_ascii_whitespace() {
                self.at += 1;
            }
            self.line_at = self.at;
            self.line_before = 0;
            self.line_began = Instant::now();
            if self.at < self.end {
                return Ok(true);
            }
            self.inner.set_read_deadline(by);
            if !self.read_more()? {
                return Ok(false);
            }
        }
    }

    /// Goes to the beginning of the next line.
    pub(super) fn skip_line(&mut self) -> Result<(), Stop> {
        loop {
            match self.buffer[self.at..self.end].iter().position(|byte| *byte == b'\n') {
                Some(newline) => {
                    self.at += newline + 1;
                    return Ok(());
                }
                None => self.at = self.end,
            }
            if !self.fill()? {
                return Ok(());
            }
        }
    }

    /// More bytes of the line; false at the end of the stream.
    fn fill(&mut self) -> Result<bool, Stop> {
        let bytes = self.line_before + (self.end - self.line_at) as u64;
        if bytes > self.line_bytes_max {
            let text = format!(
                "a line of more than {} bytes; the limit is a flag of the master, and level 2 has none",
                self.line_bytes_max
            );
            return Err(Stop::TooLong(WireError::new(ErrorCode::TooLarge, text)));
        }
        self.inner.set_read_deadline(Some(self.line_began + HEADER_TIMEOUT + payload_timeout(bytes)));
        self.read_more()
    }

    fn read_more(&mut self) -> Result<bool, Stop> {
        if self.at > self.line_at {
            self.line_before += (self.at - self.line_at) as u64;
        }
        self.buffer.copy_within(self.at..self.end, 0);
        self.end -= self.at;
        (self.at, self.line_at) = (0, 0);
        let read = self.inner.read(&mut self.buffer[self.end..])?;
        self.end += read;
        Ok(read > 0)
    }

    /// The byte here; `None` where the line or the stream ends.
    fn peek(&mut self) -> Result<Option<u8>, Stop> {
        if self.at == self.end && !self.fill()? {
            return Ok(None);
        }
        Ok(Some(self.buffer[self.at]).filter(|byte| *byte != b'\n'))
    }

    /// The next byte that is not a space.
    pub(super) fn peek_value(&mut self) -> Result<u8, Stop> {
        loop {
            match self.peek()? {
                Some(b' ' | b'\t' | b'\r') => self.at += 1,
                Some(byte) => return Ok(byte),
                None => return Err(malformed("the line ends inside a message; one message is one line")),
            }
        }
    }

    /// Whether the byte here is a space.
    pub(super) fn is_at_space(&mut self) -> Result<bool, Stop> {
        Ok(self.peek()? == Some(b' '))
    }

    /// Takes a byte that must come now.
    pub(super) fn expect(&mut self, wanted: u8) -> Result<(), Stop> {
        match self.peek_value()? {
            byte if byte == wanted => {
                self.at += 1;
                Ok(())
            }
            byte => Err(unexpected(byte, &format!("'{}'", wanted as char))),
        }
    }

    /// Takes what separates two members, or ends them; true when there is another one.
    pub(super) fn another(&mut self, end: u8) -> Result<bool, Stop> {
        let byte = self.peek_value()?;
        if byte != b',' && byte != end {
            return Err(unexpected(byte, &format!("',' or '{}'", end as char)));
        }
        self.at += 1;
        Ok(byte == b',')
    }

    /// Takes `{` or `[`; true if there is something between it and `end`.
    pub(super) fn open(&mut self, begin: u8, end: u8) -> Result<bool, Stop> {
        self.expect(begin)?;
        let is_empty = self.peek_value()? == end;
        self.at += usize::from(is_empty);
        Ok(!is_empty)
    }

    /// Nothing but spaces up to the end of the line.
    pub(super) fn end_line(&mut self) -> Result<(), Stop> {
        loop {
            match self.peek()? {
                Some(b' ' | b'\t' | b'\r') => self.at += 1,
                Some(byte) => return Err(unexpected(byte, "the end of the line")),
                None => {
                    self.at += usize::from(self.at < self.end); // the newline
                    return Ok(());
                }
            }
        }
    }

    /// A string.
    pub(super) fn string(&mut self) -> Result<String, Stop> {
        self.expect(b'"')?;
        let mut length = 0;
        let mut escaped = false;
        loop {
            let Some(byte) = self.byte_ahead(length)? else {
                return Err(malformed("the line ends inside a string"));
            };
            length += 1;
            match byte {
                b'"' if !escaped => break,
                _ => escaped = byte == b'\\' && !escaped,
            }
            if length > HEADER_BYTES_MAX {
                return Err(malformed(format!("a string of more than {HEADER_BYTES_MAX} bytes")));
            }
        }
        let quoted = &self.buffer[self.at - 1..self.at + length];
        let text =
            serde_json::from_slice(quoted).map_err(|e| malformed(format!("a string that cannot be read: {e}")))?;
        self.at += length;
        Ok(text)
    }

    /// The byte `ahead` of here, with everything before it and the byte behind us still in the buffer.
    fn byte_ahead(&mut self, ahead: usize) -> Result<Option<u8>, Stop> {
        while self.at + ahead == self.end {
            // One byte back, so that an opening quote is kept.
            let keep = usize::from(self.at > self.line_at);
            self.at -= keep;
            let more = self.fill();
            self.at += keep;
            if !more? {
                return Ok(None);
            }
        }
        Ok(Some(self.buffer[self.at + ahead]).filter(|byte| *byte != b'\n'))
    }

    /// A string, number, true, false or null.
    pub(super) fn scalar(&mut self, what: &str) -> Result<Scalar, Stop> {
        if self.peek_value()? == b'"' {
            return self.string().map(Scalar::Text);
        }
        let token = self.token()?;
        let scalar = match token {
            b"true" => Some(Scalar::Flag(true)),
            b"false" => Some(Scalar::Flag(false)),
            b"null" => Some(Scalar::Null),
            token => whole_number(token).map(Scalar::Number),
        };
        let scalar = scalar.ok_or_else(|| malformed(format!("{what}: {} is no JSON", shown(token))))?;
        self.at += token.len();
        Ok(scalar)
    }

    /// What stands here up to the next delimiter, left where it is.
    fn token(&mut self) -> Result<&[u8], Stop> {
        let mut length = 0;
        loop {
            match self.byte_ahead(length)? {
                None | Some(b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b':') => break,
                Some(_) if length == NUMBER_BYTES_MAX => break,
                Some(_) => length += 1,
            }
        }
        Ok(&self.buffer[self.at..self.at + length])
    }

    /// Passes over a value of any kind. What is in it is not looked at, only where it ends.
    pub(super) fn skip_value(&mut self) -> Result<(), Stop> {
        self.skip_from(0)
    }

    /// Passes over a value, or over the rest of one that has been entered `depth` deep.
    fn skip_from(&mut self, mut depth: usize) -> Result<(), Stop> {
        loop {
            match self.peek_value()? {
                b'"' => self.skip_string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                    if depth > JSON_DEPTH_MAX {
                        return Err(malformed(format!("JSON nested deeper than {JSON_DEPTH_MAX}")));
                    }
                    continue;
                }
                b'}' | b']' if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                byte @ (b'}' | b']' | b',' | b':') => return Err(unexpected(byte, "a value")),
                _ => {
                    let length = self.token()?.len();
                    self.at += length;
                }
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// Passes over a string of any length.
    fn skip_string(&mut self) -> Result<(), Stop> {
        self.expect(b'"')?;
        let mut escaped = false;
        loop {
            let Some(byte) = self.peek()? else {
                return Err(malformed("the line ends inside a string"));
            };
            self.at += 1;
            match byte {
                b'"' if !escaped => return Ok(()),
                _ => escaped = byte == b'\\' && !escaped,
            }
        }
    }

    /// A list of numbers. `grant` is asked before the memory for so many bytes is taken; a list that is not granted is
    /// passed over.
    pub(super) fn numbers(
        &mut self,
        name: &str,
        grant: &mut dyn FnMut(u64) -> Result<(), WireError>,
    ) -> Result<Vec<f64>, Stop> {
        let mut values = Vec::new();
        if !self.open(b'[', b']')? {
            return Ok(values);
        }
        loop {
            if values.len() == values.capacity() {
                let capacity = (2 * values.len()).max(LIST_CAPACITY_MIN);
                if let Err(error) = grant((capacity * size_of::<f64>()) as u64) {
                    self.skip_from(1)?;
                    return Err(Stop::NoRoom(error));
                }
                values.reserve_exact(capacity - values.len());
            }
            self.numbers_in_buffer(&mut values);
            if values.len() == values.capacity() {
                continue;
            }
            self.peek_value()?;
            let index = values.len();
            values.push(self.element(name, index)?);
            if !self.another(b']')? {
                return Ok(values);
            }
        }
    }

    /// Takes numbers as long as they and their commas are simple and lie in the buffer. What is left is for others.
    fn numbers_in_buffer(&mut self, values: &mut Vec<f64>) {
        let bytes = &self.buffer[self.at..self.end];
        let mut at = 0;
        while bytes.len() - at > NUMBER_BYTES_USUAL && values.len() < values.capacity() {
            let start = at + usize::from(bytes[at] == b' ');
            let Some((value, length)) = number(&bytes[start..]) else { break };
            let end = start + length;
            if bytes.get(end) != Some(&b',') {
                break;
            }
            values.push(value);
            at = end + 1;
        }
        self.at += at;
    }

    /// One element of a list: a number, or one of the three tokens that JSON does not have and Python writes, also in
    /// quotes, as the original's Java master passes them on.
    fn element(&mut self, name: &str, index: usize) -> Result<f64, Stop> {
        let token = self.token()?;
        let length = token.len();
        let value = match token {
            b"NaN" | b"\"NaN\"" => Some(f64::NAN),
            b"Infinity" | b"\"Infinity\"" => Some(f64::INFINITY),
            b"-Infinity" | b"\"-Infinity\"" => Some(f64::NEG_INFINITY),
            token => whole_number(token),
        };
        let value = value.ok_or_else(|| malformed(format!("{name}[{index}]: {} is not a double", shown(token))))?;
        self.at += length;
        Ok(value)
    }
}

fn unexpected(byte: u8, wanted: &str) -> Stop {
    malformed(format!("'{}' where {wanted} should be", (byte as char).escape_debug()))
}

/// The beginning of a token, for people.
fn shown(token: &[u8]) -> String {
    let text = String::from_utf8_lossy(&token[..token.len().min(32)]);
    format!("'{}{}'", text.escape_debug(), if token.len() > 32 { "…" } else { "" })
}

/// A token that is a number from end to end.
fn whole_number(token: &[u8]) -> Option<f64> {
    number(token).filter(|(_, length)| *length == token.len()).map(|(value, _)| value)
}

/// The number that `bytes` begin with, and its length; `None` for anything else, and for a number that no double is near.
fn number(bytes: &[u8]) -> Option<(f64, usize)> {
    /// Whole numbers of so many digits are doubles exactly.
    const EXACT_DIGITS: usize = 15;
    let negative = usize::from(bytes.first() == Some(&b'-'));
    let digits = &bytes[negative..];
    let mut whole = 0_u64;
    let mut length = 0;
    while let Some(digit @ b'0'..=b'9') = digits.get(length).filter(|_| length <= EXACT_DIGITS) {
        whole = 10 * whole + u64::from(digit - b'0');
        length += 1;
    }
    if length == 0 || (length > 1 && digits[0] == b'0') {
        return None; // "inf", ".5", "+1" and "01" are not JSON
    }
    if length <= EXACT_DIGITS && !matches!(digits.get(length), Some(b'.' | b'e' | b'E')) {
        let value = whole as f64;
        return Some((if negative == 1 { -value } else { value }, negative + length));
    }
    let (value, length) = fast_float2::parse_partial::<f64, _>(bytes).ok()?;
    // "1." is not JSON, and 1e999 is no number that anybody meant. What is too long is so whether it lies in the buffer or not.
    (value.is_finite() && bytes[length - 1].is_ascii_digit() && length <= NUMBER_BYTES_MAX).then_some((value, length))
}
