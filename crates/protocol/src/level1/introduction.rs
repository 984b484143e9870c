//! The beginning of a connection: which level its peer speaks.

use crate::frame::ReadDeadline;
use crate::limits::{HEADER_BYTES_MAX, HEADER_TIMEOUT};
use serde::Deserialize;
use std::io::{self, Read};
use std::time::Instant;

/// A level of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The original's.
    One,
    /// With HELLO.
    Two,
}

/// A stream of which the beginning has been looked at; it is read again from its first byte.
#[derive(Debug)]
pub struct Opened<R> {
    seen: Vec<u8>,
    at: usize,
    inner: R,
}

impl<R> Opened<R> {
    /// The stream below.
    pub fn get_ref(&self) -> &R {
        &self.inner
    }
}

impl<R: Read> Read for Opened<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at == self.seen.len() {
            return self.inner.read(buf);
        }
        let read = (&self.seen[self.at..]).read(buf)?;
        self.at += read;
        if self.at == self.seen.len() {
            (self.seen, self.at) = (Vec::new(), 0);
        }
        Ok(read)
    }
}

impl<R: ReadDeadline> ReadDeadline for Opened<R> {
    fn set_read_deadline(&mut self, deadline: Option<Instant>) {
        self.inner.set_read_deadline(deadline);
    }
}

/// Looks at the first line of a connection, for which it waits at most until `first_byte_by`. `None` if it ended before.
/// Whoever does not introduce himself by HELLO, or by REGISTER_WORKER with a `hello`, or refuse an introduction by ERROR,
/// which level 1 does not have, speaks level 1, also when what he says is no message at all.
///
/// # Errors
/// Those of the stream; a deadline that passes inside the first line is none: such a peer gets its answer on level 1.
pub fn introduction<R: ReadDeadline>(
    stream: R,
    first_byte_by: Option<Instant>,
) -> io::Result<Option<(Level, Opened<R>)>> {
    let mut opened = Opened { seen: Vec::new(), at: 0, inner: stream };
    opened.inner.set_read_deadline(first_byte_by);
    let mut length = 0;
    let mut chunk = vec![0; HEADER_BYTES_MAX];
    while length < HEADER_BYTES_MAX {
        let read = match opened.inner.read(&mut chunk[..HEADER_BYTES_MAX - length]) {
            Ok(read) => read,
            Err(_) if !opened.seen.trim_ascii().is_empty() => break, // who reads on is told the same
            Err(e) => return Err(e),
        };
        if opened.seen.is_empty() {
            opened.inner.set_read_deadline(Some(Instant::now() + HEADER_TIMEOUT));
        }
        opened.seen.extend(&chunk[..read]);
        length = opened.seen.len();
        let is_line = opened.seen.trim_ascii_start().contains(&b'\n');
        if read == 0 || is_line {
            break;
        }
    }
    let line = opened.seen.trim_ascii_start();
    if line.is_empty() && length < HEADER_BYTES_MAX {
        return Ok(None);
    }
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(Some((level_of(line), opened)))
}

/// As much of a first line as tells the levels apart.
#[derive(Deserialize)]
struct FirstLine<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(default, borrow)]
    data: Option<&'a serde_json::value::RawValue>,
}

#[derive(Deserialize)]
struct Registration {
    hello: Option<serde::de::IgnoredAny>,
}

fn level_of(line: &[u8]) -> Level {
    let Ok(first) = serde_json::from_slice::<FirstLine>(line) else {
        return Level::One;
    };
    let registers = || {
        let data = first.data.map(|data| serde_json::from_str::<Registration>(data.get()));
        data.is_some_and(|data| data.is_ok_and(|data| data.hello.is_some()))
    };
    match &*first.kind {
        "HELLO" | "ERROR" => Level::Two,
        "REGISTER_WORKER" if registers() => Level::Two,
        _ => Level::One,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(bytes: &[u8]) -> Option<Level> {
        let found = introduction(bytes, None).unwrap();
        if let Some((_, mut opened)) = found {
            let mut again = Vec::new();
            opened.read_to_end(&mut again).unwrap();
            assert_eq!(again, bytes, "it is read again from its first byte");
            return level_of_first(bytes);
        }
        None
    }

    fn level_of_first(bytes: &[u8]) -> Option<Level> {
        introduction(bytes, None).unwrap().map(|(level, _)| level)
    }

    #[test]
    fn who_introduces_himself_speaks_level_2() {
        assert_eq!(level(b"{\"type\":\"HELLO\",\"data\":{}}\n{\"type\":\"STATUS\"}\n"), Some(Level::Two));
        assert_eq!(level(b"\r\n{ \"data\":{}, \"type\":\"\\u0048ELLO\" }\r\n"), Some(Level::Two));
        assert_eq!(level(b"{\"type\":\"ERROR\",\"data\":{}}\n"), Some(Level::Two));
        assert_eq!(
            level(b"{\"type\":\"REGISTER_WORKER\",\"data\":{\"cores\":2,\"hello\":{\"a\":1}}}\n"),
            Some(Level::Two)
        );
    }

    #[test]
    fn everybody_else_speaks_level_1() {
        let create = format!("{{\"data\":{{\"values\":[{}1]}},\"type\":\"CREATE_ARRAY\"}}\n", "1,".repeat(100_000));
        for line in [
            "{\"type\":\"REGISTER_WORKER\",\"data\":{\"cores\":2,\"memory\":512}}\n",
            "{\"type\":\"REGISTER_WORKER\"}\n",
            "{\"type\":\"LIST_ARRAYS\",\"data\":{}}\n",
            "GET / HTTP/1.1\r\n",
            "{\"type\":\"GET_RESULT\"", // and the end of the stream
            "\u{0}\u{1}\n",
            create.as_str(),
        ] {
            assert_eq!(level(line.as_bytes()), Some(Level::One), "{}", &line[..line.len().min(60)]);
        }
    }

    #[test]
    fn nothing_is_no_level() {
        for nothing in ["", "\n", "\r\n\n  \n"] {
            assert_eq!(level(nothing.as_bytes()), None, "{nothing:?}");
        }
    }
}
