//! The examples of README.md are right.

use array::expression::parse_expression;
use array::program::{RunError, Source};
use array::{Buffer, DType};

const README: &str = include_str!("../README.md");

/// The rows of all tables with this head: the cells of each.
fn rows(head: &str) -> Vec<Vec<&'static str>> {
    let mut rows = Vec::new();
    let mut lines = README.lines();
    while lines.any(|line| line == head) {
        let table = lines.by_ref().skip(1).take_while(|line| line.starts_with('|'));
        rows.extend(table.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()));
    }
    rows
}

/// `float64: 1, 2.5` as the dtype and the elements.
fn elements(text: &str) -> Option<(DType, Vec<&str>)> {
    let (dtype, elements) = text.split_once(": ")?;
    Some((dtype.parse().ok()?, elements.split(", ").collect()))
}

fn bytes(dtype: DType, elements: &[&str]) -> Vec<u8> {
    let bytes = |element: &&str| match dtype {
        DType::Bool => vec![element.parse::<u8>().unwrap()],
        DType::Int32 => element.parse::<i32>().unwrap().to_le_bytes().to_vec(),
        DType::Int64 => element.parse::<i64>().unwrap().to_le_bytes().to_vec(),
        DType::Float32 => element.parse::<f32>().unwrap().to_le_bytes().to_vec(),
        _ => element.parse::<f64>().unwrap().to_le_bytes().to_vec(),
    };
    elements.iter().flat_map(bytes).collect()
}

/// The elements as the examples write them.
fn written(dtype: DType, output: &Buffer) -> String {
    let join = |elements: Vec<String>| format!("{dtype}: {}", elements.join(", "));
    match dtype {
        DType::Bool => join(output.as_slice::<u8>().iter().map(u8::to_string).collect()),
        DType::Int32 => join(output.as_slice::<i32>().iter().map(i32::to_string).collect()),
        DType::Int64 => join(output.as_slice::<i64>().iter().map(i64::to_string).collect()),
        DType::Float32 => join(output.as_slice::<f32>().iter().map(f32::to_string).collect()),
        _ => join(output.as_slice::<f64>().iter().map(f64::to_string).collect()),
    }
}

fn result(expression: &str, dtype: DType, elements: &[&str]) -> String {
    let program = parse_expression(expression, dtype, &mut |name| Err(format!("no '{name}'")));
    let program = program.unwrap_or_else(|error| panic!("{expression}: {error}"));
    let x = Buffer::from_bytes(&bytes(dtype, elements));
    let gives = program.output().unwrap();
    let mut output = Buffer::zeroed(elements.len() * gives.size());
    match program.apply_into(&[Source { bytes: x.as_bytes(), crc32c: None }], 0, elements.len(), &mut output) {
        Ok(_) => written(gives, &output),
        Err(RunError::Element(error)) => error.to_string(),
        Err(error) => panic!("{expression}: {error:?}"),
    }
}

#[test]
fn expressions_give_what_is_written() {
    let rows = rows("| expression | x | result |");
    assert!(rows.len() > 25, "{} examples", rows.len());
    for row in rows {
        let [expression, x, expected] = row[..] else { panic!("{row:?}") };
        let (dtype, elements) = elements(x).unwrap_or_else(|| panic!("{row:?}"));
        assert_eq!(result(expression.trim_matches('`'), dtype, &elements), expected, "{expression} of {x}");
    }
}

#[test]
fn errors_are_as_written() {
    let rows = rows("| text | error |");
    assert!(rows.len() > 3, "{} examples", rows.len());
    for row in rows {
        let [text, expected] = row[..] else { panic!("{row:?}") };
        // A code span with backquotes in it has two of them around it, and a space where it begins or ends with one.
        let code = |span: &str| match span.strip_prefix("``") {
            Some(span) => span.trim_end_matches("``").trim().to_string(),
            None => span.trim_matches('`').to_string(),
        };
        let error = parse_expression(&code(text), DType::Float64, &mut |name| Err(format!("no '{name}'")));
        assert_eq!(error.map(|program| program.to_string()).unwrap_err().to_string(), code(expected), "{text}");
    }
}
