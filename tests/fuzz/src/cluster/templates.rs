//! Any message of the protocol, from anybody, with any of its fields changed.

use super::clients::NAMES;
use super::desk::Desk;
use arbitrary::{Result, Unstructured};
use protocol::message::{Body, Message};
use protocol::{Epoch, limits};
use serde_json::Value;
use std::sync::LazyLock;

/// One of each type, with its data: what the protocol's own tests have as examples.
static EXAMPLES: LazyLock<Vec<(String, Value)>> = LazyLock::new(|| {
    let lines = include_str!("../../../../crates/protocol/testdata/messages.jsonl").lines();
    let example = |line: &str| {
        let mut line: Value = serde_json::from_str(line).expect("an example is JSON");
        (line["type"].as_str().expect("a type").to_string(), line["data"].take())
    };
    lines.map(example).collect()
});

const NUMBERS: [u64; 9] = [0, 1, 2, 7, 4096, u32::MAX as u64, limits::INTEGER_MAX, u64::MAX - 1, u64::MAX];

const TEXTS: [&str; 12] = [
    "",
    "w1",
    "w2",
    "w3",
    "a@v2",
    "b@v18446744073709551615",
    "int32",
    "client",
    "heartbeat",
    "sum(x), max(b)",
    "zeros(3)",
    "float64: float64 input 0; elements 0",
];

/// Changes of one message at most.
const CHANGES_MAX: usize = 3;

impl Desk {
    /// One of the examples, changed, with a head that means nothing.
    pub fn say_anything(&mut self, slot: usize, input: &mut Unstructured<'_>) -> Result<()> {
        let (kind, data) = &EXAMPLES[input.int_in_range(0..=EXAMPLES.len() - 1)?];
        let mut data = data.clone();
        for _ in 0..input.int_in_range(0..=CHANGES_MAX)? {
            let mut leaf = input.int_in_range(0..=23)?;
            self.change(&mut data, &mut leaf, input)?;
        }
        let Some(Ok(body)) = Body::from_parts(kind, &data.to_string()) else { return Ok(()) };
        let mut message = Message::new(body);
        message.head.id = *input.choose(&[None, Some(1), Some(2), Some(3), Some(limits::INTEGER_MAX)])?;
        message.head.epoch = *input.choose(&[None, None, Some(Epoch(u64::MAX, u64::MAX)), Some(Epoch(0, 0))])?;
        self.say(slot, message);
        Ok(())
    }

    /// Changes the leaf that is `leaf` leaves from here, counting down; says whether it was there.
    fn change(&self, value: &mut Value, leaf: &mut usize, input: &mut Unstructured<'_>) -> Result<bool> {
        match value {
            Value::Array(items) => {
                for item in items.iter_mut() {
                    if self.change(item, leaf, input)? {
                        return Ok(true);
                    }
                }
                if *leaf == 0 {
                    match items.last().cloned() {
                        Some(last) if input.arbitrary()? => items.push(last),
                        _ => items.clear(),
                    }
                    return Ok(true);
                }
            }
            Value::Object(fields) => {
                for (_, field) in fields.iter_mut() {
                    if self.change(field, leaf, input)? {
                        return Ok(true);
                    }
                }
                return Ok(false);
            }
            leaf_value if *leaf == 0 => {
                *leaf_value = self.another(leaf_value, input)?;
                return Ok(true);
            }
            _ => {}
        }
        *leaf -= 1;
        Ok(false)
    }

    /// Another value of the same kind.
    fn another(&self, value: &Value, input: &mut Unstructured<'_>) -> Result<Value> {
        Ok(match value {
            Value::Bool(flag) => (!flag).into(),
            Value::Number(_) => match input.int_in_range(0..=2)? {
                0 => (*input.choose(&NUMBERS)?).into(),
                1 => self.version(input)?.into(),
                _ => self.known.pins.back().copied().unwrap_or(3).into(),
            },
            Value::String(_) => match input.int_in_range(0..=3)? {
                0 => (*input.choose(&NAMES)?).into(),
                1 => self.known.tickets.back().cloned().unwrap_or_default().into(),
                2 => self.known.sessions.back().map(ToString::to_string).unwrap_or_default().into(),
                _ => (*input.choose(&TEXTS)?).into(),
            },
            other => other.clone(),
        })
    }
}
