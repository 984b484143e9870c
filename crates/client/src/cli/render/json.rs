//! JSON for programs: the messages of the protocol with their keys in snake_case.

use serde_json::Value;

/// The same value with its keys in snake_case, at every depth.
pub fn snake_case(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(key, value)| (snake(&key), snake_case(value))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(snake_case).collect()),
        other => other,
    }
}

fn snake(key: &str) -> String {
    let mut snake = String::with_capacity(key.len() + 4);
    for c in key.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_become_snake_case_and_values_stay() {
        let wire = json!({"workersAlive": 3, "term": 1, "list": [{"arrayId": "camelCase"}], "crc32c": 7});
        let expected = json!({"workers_alive": 3, "term": 1, "list": [{"array_id": "camelCase"}], "crc32c": 7});
        assert_eq!(snake_case(wire), expected);
    }
}
