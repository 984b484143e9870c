//! Nested lists of numbers: the nesting is the shape. `NaN`, `Infinity` and `-Infinity` are numbers, as in Python's `json`.

use super::number::{self, Builder};
use super::{Content, FormatError, place};
use array::DType;
use protocol::limits::DIMENSIONS_MAX;
use std::io::{self, Write};

/// Reads JSON.
///
/// # Errors
/// A sentence with line and column.
pub fn read(text: &str, dtype: Option<DType>) -> Result<Content, FormatError> {
    let mut scanner =
        Scanner { text, at: 0, builder: Builder::new(dtype), shape: Vec::new(), open: Vec::new(), leaves: None };
    scanner.run().map_err(|why| {
        let (line, column) = place(text.as_bytes(), scanner.at);
        FormatError(format!("line {line}, column {column}: {why}"))
    })?;
    // Lists are closed by now, so every side is known.
    let shape = scanner.shape.into_iter().map(|side| side.unwrap_or(0)).collect();
    let (dtype, bytes) = scanner.builder.finish();
    Ok(Content::new(dtype, shape, bytes))
}

/// Reads a value piece by piece, without recursion.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
    builder: Builder,
    /// Lengths of the lists at each depth, as far as one has been closed.
    shape: Vec<Option<u64>>,
    /// Elements so far of each open list.
    open: Vec<u64>,
    /// How deep numbers are.
    leaves: Option<usize>,
}

impl Scanner<'_> {
    fn run(&mut self) -> Result<(), String> {
        loop {
            self.value()?;
            // After a value: lists may end, then comes the next value or nothing.
            loop {
                self.skip_space();
                match (self.open.is_empty(), self.peek()) {
                    (true, None) => return Ok(()),
                    (true, Some(c)) => return Err(format!("'{}' after the end of the array", char::from(c))),
                    (false, Some(b']')) => self.close()?,
                    (false, Some(b',')) => {
                        self.at += 1;
                        break;
                    }
                    (false, None) => return Err("the file ends inside a list".to_string()),
                    (false, Some(_)) => return Err("a comma or ] is missing here".to_string()),
                }
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// A number, or the beginning of lists down to the next number, or to the end of an empty one.
    fn value(&mut self) -> Result<(), String> {
        self.skip_space();
        while self.peek() == Some(b'[') {
            self.open_list()?;
            self.skip_space();
            if self.peek() == Some(b']') {
                return Ok(());
            }
        }
        self.number()
    }

    fn open_list(&mut self) -> Result<(), String> {
        if self.leaves.is_some_and(|depth| depth <= self.open.len()) {
            return Err("a list where there are numbers elsewhere; all lists must have the same depth".to_string());
        }
        if self.open.len() == DIMENSIONS_MAX {
            return Err(format!("lists are nested deeper than {DIMENSIONS_MAX}, the most dimensions there can be"));
        }
        self.open.push(0);
        if self.shape.len() < self.open.len() {
            self.shape.push(None);
        }
        self.at += 1;
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        let depth = self.open.len() - 1;
        let found = self.open.pop().expect("close is for open lists");
        match self.shape[depth] {
            Some(expected) if expected != found => {
                return Err(format!(
                    "a list of {found} where the others have {expected}; an array has no ragged sides"
                ));
            }
            _ => self.shape[depth] = Some(found),
        }
        self.count();
        self.at += 1;
        Ok(())
    }

    fn number(&mut self) -> Result<(), String> {
        if self.open.len() < self.shape.len() {
            return Err("a number where there are lists elsewhere; all numbers must have the same depth".to_string());
        }
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| ",[]{}\"':".contains(c) || c.is_whitespace()).unwrap_or(rest.len());
        match (rest[..end].is_empty(), rest.chars().next()) {
            (true, None) => return Err("the file ends where a number should be".to_string()),
            (true, Some('{')) => return Err("an object; an array is made of lists and numbers".to_string()),
            (true, Some(c)) => return Err(format!("{c:?} where a number should be")),
            (false, _) => self.builder.push(&rest[..end])?,
        }
        self.leaves = Some(self.open.len());
        self.count();
        self.at += end;
        Ok(())
    }

    /// One more element in the innermost open list.
    fn count(&mut self) {
        if let Some(elements) = self.open.last_mut() {
            *elements += 1;
        }
    }
}

/// Writes nested lists, without a newline at the end.
///
/// # Errors
/// Those of the writer.
pub fn write(out: &mut dyn Write, dtype: DType, shape: &[u64], bytes: &[u8]) -> io::Result<()> {
    let mut text = Vec::new();
    let mut elements = bytes.chunks_exact(dtype.size());
    write_side(out, dtype, shape, &mut elements, &mut text)
}

/// Writes the next elements as a list of this shape. `text` is a buffer. As deep as there are dimensions.
fn write_side(
    out: &mut dyn Write,
    dtype: DType,
    shape: &[u64],
    elements: &mut std::slice::ChunksExact<u8>,
    text: &mut Vec<u8>,
) -> io::Result<()> {
    let Some((&side, inner)) = shape.split_first() else {
        text.clear();
        number::append(dtype, elements.next().unwrap_or_default(), text);
        return out.write_all(text);
    };
    out.write_all(b"[")?;
    for index in 0..side {
        if index > 0 {
            out.write_all(if inner.is_empty() { b", " } else { b",\n" })?;
        }
        write_side(out, dtype, inner, elements, text)?;
    }
    out.write_all(b"]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nesting_is_the_shape() {
        let shape = |text| read(text, None).unwrap().shape;
        assert_eq!(shape("[1, 2, 3]"), [3]);
        assert_eq!(shape(" [[1,2],\n[3,4],[5,6]] "), [3, 2]);
        assert_eq!(shape("[[[1]]]"), [1, 1, 1]);
        assert_eq!(shape("7"), [0; 0]);
        assert_eq!(shape("[]"), [0]);
        assert_eq!(shape("[[],[]]"), [2, 0]);
        assert_eq!(read("[NaN, -Infinity, 1e-3]", None).unwrap().dtype, DType::Float64);
    }

    #[test]
    fn errors_name_the_place() {
        let cases = [
            ("[1, 2", "line 1, column 6: the file ends inside a list"),
            ("", "line 1, column 1: the file ends where a number should be"),
            ("[1,\n x]", "line 2, column 2: 'x' is not a number"),
            ("[1 2]", "line 1, column 4: a comma or ] is missing here"),
            ("[1]]", "line 1, column 4: ']' after the end of the array"),
            ("[null]", "line 1, column 2: 'null' is not a number"),
            ("[\"a\"]", "line 1, column 2: '\"' where a number should be"),
            ("{\"a\": 1}", "line 1, column 1: an object; an array is made of lists and numbers"),
            ("[1,]", "line 1, column 4: ']' where a number should be"),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text, None).unwrap_err().0, expected, "{text}");
        }
        for ragged in ["[[1],[2,3]]", "[1,[2]]", "[[1],2]", "[[],[1]]", "[[[1]],[2]]", "[[],1]", "[[[]],[]]"] {
            assert!(read(ragged, None).is_err(), "{ragged}");
        }
        let deep = "[".repeat(65);
        assert!(read(&deep, None).unwrap_err().0.contains("deeper than 64"));
    }

    proptest! {
        #[test]
        fn round_trip(sides in prop::collection::vec(0..4_u64, 0..4), seed: u64) {
            let len: u64 = sides.iter().product();
            let values: Vec<f64> = (0..len).map(|n| f64::from_bits(seed.rotate_left(n as u32))).collect();
            let mut out = Vec::new();
            write(&mut out, DType::Float64, &sides, bytemuck::cast_slice(&values)).unwrap();
            let back = read(std::str::from_utf8(&out).unwrap(), Some(DType::Float64)).unwrap();
            // Behind a side of length 0 no further nesting shows.
            let shown = sides.iter().position(|side| *side == 0).map_or(&sides[..], |zero| &sides[..=zero]);
            prop_assert_eq!(&back.shape, shown);
            for (value, bytes) in values.iter().zip(back.bytes().chunks(8)) {
                let back = f64::from_le_bytes(bytes.try_into().unwrap());
                prop_assert!(value.to_bits() == back.to_bits() || (value.is_nan() && back.is_nan()));
            }
        }
    }
}
