//! Reads lines.

use super::source::{Source, Stop, malformed};
use super::{FIELDS, LISTS, Line};
use crate::error::WireError;
use crate::frame::ReadDeadline;
use std::io;
use std::time::Instant;

/// What a reader found.
#[derive(Debug, PartialEq)]
pub enum Incoming {
    /// A line.
    Line(Line),
    /// Something that is no message. The next line can be read.
    Refused(WireError),
    /// A line that is too long. Its end was not looked for, so nothing more can be read.
    TooLong(WireError),
}

/// Reads lines of level 1 from a stream.
pub struct LineReader<R> {
    source: Source<R>,
}

impl<R: ReadDeadline> LineReader<R> {
    /// A reader of lines of at most `line_bytes_max` bytes.
    pub fn new(inner: R, line_bytes_max: u64) -> Self {
        LineReader { source: Source::new(inner, line_bytes_max) }
    }

    /// The stream below.
    pub fn get_ref(&self) -> &R {
        self.source.get_ref()
    }

    /// Reads the next line; `None` when the stream has ended between two. The last one may end with the stream instead of
    /// a newline. Waits at most until `first_byte_by` for it to begin; from there it may take as long as a slow
    /// connection needs for what has come so far. `grant` is asked before memory for a list of so many bytes is taken.
    ///
    /// # Errors
    /// Those of the stream; [`io::ErrorKind::TimedOut`] when a deadline has passed.
    pub fn read(
        &mut self,
        first_byte_by: Option<Instant>,
        grant: &mut dyn FnMut(u64) -> Result<(), WireError>,
    ) -> io::Result<Option<Incoming>> {
        match self.line(first_byte_by, grant) {
            Ok(line) => Ok(line.map(Line::into_incoming)),
            Err(Stop::Io(e)) => Err(e),
            Err(Stop::TooLong(error)) => Ok(Some(Incoming::TooLong(error))),
            Err(Stop::Wrong(error) | Stop::NoRoom(error)) => match self.source.skip_line() {
                Ok(()) => Ok(Some(Incoming::Refused(error))),
                Err(Stop::Io(e)) => Err(e),
                Err(Stop::TooLong(error) | Stop::Wrong(error) | Stop::NoRoom(error)) => {
                    Ok(Some(Incoming::TooLong(error)))
                }
            },
        }
    }

    fn line(
        &mut self,
        first_byte_by: Option<Instant>,
        grant: &mut dyn FnMut(u64) -> Result<(), WireError>,
    ) -> Result<Option<Line>, Stop> {
        if !self.source.begin_line(first_byte_by)? {
            return Ok(None);
        }
        let mut line = Line::default();
        let mut is_first = true;
        let mut more = self.source.open(b'{', b'}')?;
        while more {
            let key = self.source.string()?;
            self.source.expect(b':')?;
            line.spaced |= is_first && self.source.is_at_space()?;
            is_first = false;
            match key.as_str() {
                "type" => line.kind = self.envelope_field("type")?,
                "from" => line.from = self.envelope_field("from")?,
                "data" if self.source.peek_value()? == b'{' => self.data(&mut line, grant)?,
                _ => self.source.skip_value()?,
            }
            more = self.source.another(b'}')?;
        }
        if line.kind.is_empty() {
            return Err(malformed("the message has no \"type\"")); // before its newline, which is where it is left
        }
        self.source.end_line()?;
        Ok(Some(line))
    }

    fn envelope_field(&mut self, name: &str) -> Result<String, Stop> {
        match self.source.peek_value()? {
            b'"' => self.source.string(),
            _ => Err(malformed(format!("\"{name}\" of a message must be a string"))),
        }
    }

    /// The fields of `data` that mean something.
    fn data(&mut self, line: &mut Line, grant: &mut dyn FnMut(u64) -> Result<(), WireError>) -> Result<(), Stop> {
        let mut more = self.source.open(b'{', b'}')?;
        while more {
            let key = self.source.string()?;
            self.source.expect(b':')?;
            let first = self.source.peek_value()?;
            let known = |names: &[&'static str]| names.iter().copied().find(|name| *name == key);
            match (first, known(LISTS), known(FIELDS)) {
                (b'[', Some(name), _) => {
                    // What it replaces is there until it is read.
                    let lists = line.lists.values().flatten();
                    let others = lists.map(|list| (list.capacity() * size_of::<f64>()) as u64).sum::<u64>();
                    let list = match self.source.numbers(name, &mut |bytes| grant(others + bytes)) {
                        Err(Stop::NoRoom(error)) => Err(error),
                        list => Ok(list?),
                    };
                    line.lists.insert(name, list);
                }
                (b'[' | b'{', ..) | (_, _, None) => self.source.skip_value()?,
                (_, _, Some(name)) => {
                    let value = self.source.scalar(name)?;
                    line.fields.insert(name, value);
                }
            }
            more = self.source.another(b'}')?;
        }
        Ok(())
    }
}

impl Line {
    /// A line with a list that there was no memory for is refused, unless it gives a segment: whoever gets one has to know
    /// which one he does not have.
    fn into_incoming(self) -> Incoming {
        let gives_segment = matches!(self.kind.as_str(), "DISTRIBUTE_ARRAY" | "REPLICATE_DATA");
        match self.lists.values().find_map(|list| list.as_ref().err()) {
            Some(error) if !gives_segment => Incoming::Refused(error.clone()),
            _ => Incoming::Line(self),
        }
    }
}
