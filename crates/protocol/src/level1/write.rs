//! Makes lines.

use crate::frame::unix_ms;

/// Makes one line: field after field of `data`, then [`LineWriter::finish`].
#[derive(Debug)]
pub struct LineWriter {
    line: Vec<u8>,
    has_fields: bool,
}

impl LineWriter {
    /// A line about `kind`, without fields.
    pub fn new(kind: &str, from: &str, to: &str) -> LineWriter {
        let mut writer = LineWriter { line: Vec::with_capacity(256), has_fields: false };
        for (key, value) in [("{\"type\":", kind), (",\"from\":", from), (",\"to\":", to)] {
            writer.line.extend(key.as_bytes());
            writer.string(value);
        }
        writer.line.extend(format!(",\"timestamp\":{},\"data\":{{", unix_ms()).as_bytes());
        writer
    }

    /// A field that is a string.
    pub fn text(mut self, key: &str, value: &str) -> LineWriter {
        self.key(key);
        self.string(value);
        self
    }

    /// A field that is a whole number.
    pub fn integer(mut self, key: &str, value: i64) -> LineWriter {
        self.key(key);
        self.line.extend(value.to_string().as_bytes());
        self
    }

    /// A field that is true or false.
    pub fn flag(mut self, key: &str, value: bool) -> LineWriter {
        self.key(key);
        self.line.extend(value.to_string().as_bytes());
        self
    }

    /// A field that is a list of int32.
    pub fn ints(mut self, key: &str, values: &[i32]) -> LineWriter {
        // One number of the usual size and its comma; a list of longer ones grows once.
        self.list(key, values.len() * 6, values, |line, value| {
            let mut digits = [0; 11];
            line.extend(decimal(*value, &mut digits));
        });
        self
    }

    /// A field that is a list of doubles. What is not finite is written as `NaN`, `Infinity` and `-Infinity`, as Python
    /// does and as the original's Java reads it.
    pub fn doubles(mut self, key: &str, values: &[f64]) -> LineWriter {
        let mut buffer = zmij::Buffer::new();
        self.list(key, values.len() * 20, values, |line, value| {
            let text = match value {
                value if value.is_finite() => buffer.format_finite(*value),
                value if value.is_nan() => "NaN",
                value if *value > 0.0 => "Infinity",
                _ => "-Infinity",
            };
            line.extend(text.as_bytes());
        });
        self
    }

    /// The line, newline included.
    pub fn finish(mut self) -> Vec<u8> {
        self.line.extend(b"}}\n");
        self.line
    }

    fn key(&mut self, key: &str) {
        if std::mem::replace(&mut self.has_fields, true) {
            self.line.push(b',');
        }
        self.string(key);
        self.line.push(b':');
    }

    fn list<T>(&mut self, key: &str, bytes: usize, values: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) {
        self.key(key);
        self.line.reserve(bytes);
        self.line.push(b'[');
        for (n, value) in values.iter().enumerate() {
            if n > 0 {
                self.line.push(b',');
            }
            write(&mut self.line, value);
        }
        self.line.push(b']');
    }

    /// A string in nothing but ASCII: the original's Python workers end on a character that is cut in two by their reads.
    fn string(&mut self, text: &str) {
        self.line.push(b'"');
        for unit in text.encode_utf16() {
            match u8::try_from(unit) {
                Ok(byte @ (b'"' | b'\\')) => self.line.extend([b'\\', byte]),
                Ok(byte @ b' '..=b'~') => self.line.push(byte),
                _ => self.line.extend(format!("\\u{unit:04x}").as_bytes()),
            }
        }
        self.line.push(b'"');
    }
}

/// The decimal digits of a number, written into the end of `digits`.
fn decimal(value: i32, digits: &mut [u8; 11]) -> &[u8] {
    let mut rest = value.unsigned_abs();
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    &digits[at..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(line: Vec<u8>) -> String {
        let line = String::from_utf8(line).unwrap();
        line[line.find("\"data\":").unwrap() + 7..].to_string()
    }

    #[test]
    fn a_line_has_all_that_original_nodes_want() {
        let line = LineWriter::new("HEARTBEAT", "wörker-😀", "master").finish();
        let text = String::from_utf8(line).unwrap();
        assert!(
            text.starts_with(r#"{"type":"HEARTBEAT","from":"w\u00f6rker-\ud83d\ude00","to":"master","timestamp":"#)
        );
        assert!(text.ends_with(",\"data\":{}}\n"));
        let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(parsed["timestamp"].is_u64());
        assert_eq!(parsed["from"], "wörker-😀");
    }

    #[test]
    fn fields_of_every_kind() {
        let line = LineWriter::new("X", "a", "b").text("t", "q\"b\\n\n").integer("i", -3).flag("f", true);
        let line = line.ints("l", &[0, 7, -10, i32::MIN, i32::MAX]).ints("e", &[]).finish();
        let expected = r#"{"t":"q\"b\\n\u000a","i":-3,"f":true,"l":[0,7,-10,-2147483648,2147483647],"e":[]}}"#;
        assert_eq!(data(line).trim_end(), expected);
    }

    #[test]
    fn doubles_are_exact_and_tokens_are_python() {
        let values = [0.0, -0.0, 3.0, 0.1, 1e22, 5e-324, f64::MAX, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        let text = data(LineWriter::new("X", "a", "b").doubles("d", &values).finish());
        assert!(text.starts_with(r#"{"d":[0.0,-0.0,3.0,0.1,"#), "{text}");
        assert!(text.trim_end().ends_with("NaN,Infinity,-Infinity]}}"), "{text}");
        for number in text[6..].split(']').next().unwrap().split(',').zip(values).filter(|(_, v)| v.is_finite()) {
            assert_eq!(number.0.parse::<f64>().unwrap().to_bits(), number.1.to_bits());
        }
    }
}
