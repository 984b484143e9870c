//! Expressions against NumPy: the bits that `numpy/make_cases.py` has written to `numpy/cases.txt`.

use array::expression::{ExpressionError, Named, parse_expression, parse_generator};
use array::program::{RunError, Source};
use array::{Buffer, DType, Program};
use std::collections::HashMap;

const CASES: &str = include_str!("numpy/cases.txt");

/// Elements as the low bytes of words, and what is known of them.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Expected {
    Bits(u64),
    Nan,
    /// darray says which element has no value.
    Faulty,
    Anything,
}

struct Case<'a> {
    line: usize,
    x: &'a str,
    y: &'a str,
    text: &'a str,
    /// The dtype, how many units in the last place it may be off, and the elements; none if the expression is refused.
    result: Option<(DType, u64, Vec<Expected>)>,
}

/// An array that is made from nothing.
struct Made<'a> {
    text: &'a str,
    requested: Option<DType>,
    dtype: DType,
    shape: Vec<u64>,
    values: Vec<Expected>,
}

/// All of the file.
#[derive(Default)]
struct Table {
    inputs: HashMap<&'static str, Input>,
    cases: Vec<Case<'static>>,
    made: Vec<Made<'static>>,
}

/// Elements of one dtype, as bits.
type Input = (DType, Vec<u64>);

fn value(dtype: DType, word: &str) -> Expected {
    match (word, dtype) {
        ("n", _) => Expected::Nan,
        ("!", _) => Expected::Faulty,
        ("?", _) => Expected::Anything,
        (bits, DType::Float32 | DType::Float64) => {
            let width = 2 * dtype.size();
            Expected::Bits(u64::from_str_radix(&format!("{bits:0<width$}"), 16).unwrap())
        }
        (int, DType::Int32) => Expected::Bits(u64::from(int.parse::<i32>().unwrap().cast_unsigned())),
        (int, _) => Expected::Bits(int.parse::<i64>().unwrap().cast_unsigned()),
    }
}

fn read() -> Table {
    let Table { mut inputs, mut cases, mut made } = Table::default();
    for (line, text) in CASES.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
        let (head, expression) = text.split_once(" : ").unwrap_or((text, ""));
        let words: Vec<&str> = head.split(' ').collect();
        let values = |dtype: DType, words: &[&str]| words.iter().map(|word| value(dtype, word)).collect::<Vec<_>>();
        match words[..] {
            ["input", name, dtype, ref elements @ ..] => {
                let dtype: DType = dtype.parse().unwrap();
                let bits = |expected: Expected| match expected {
                    Expected::Bits(bits) => bits,
                    // Another NaN than the one that results have.
                    Expected::Nan if dtype == DType::Float32 => 0xFFC0_0001,
                    Expected::Nan => 0xFFF8_0000_0000_0001,
                    other => panic!("{other:?} in an input"),
                };
                inputs.insert(name, (dtype, values(dtype, elements).into_iter().map(bits).collect()));
            }
            ["case", x, y, "refused"] => cases.push(Case { line: line + 1, x, y, text: expression, result: None }),
            ["case", x, y, dtype, ulps, ref elements @ ..] => {
                let dtype = dtype.parse().unwrap();
                let result = Some((dtype, ulps.parse().unwrap(), values(dtype, elements)));
                cases.push(Case { line: line + 1, x, y, text: expression, result });
            }
            ["made", requested, dtype, shape, ref elements @ ..] => {
                let (requested, dtype) = (requested.parse().ok(), dtype.parse().unwrap());
                let sides = shape.trim_matches(['(', ')']).split(',').filter(|side| !side.is_empty());
                let shape = sides.map(|side| side.parse().unwrap()).collect();
                let elements: Vec<&str> = elements.iter().copied().filter(|word| !word.is_empty()).collect();
                made.push(Made { text: expression, requested, dtype, shape, values: values(dtype, &elements) });
            }
            _ => panic!("line {}: {text}", line + 1),
        }
    }
    Table { inputs, cases, made }
}

fn bytes((dtype, values): &Input) -> Buffer {
    let bytes: Vec<u8> = values.iter().flat_map(|bits| bits.to_le_bytes()[..dtype.size()].to_vec()).collect();
    Buffer::from_bytes(&bytes)
}

fn run(program: &Program, inputs: &[Input]) -> Result<Vec<u64>, RunError> {
    let buffers: Vec<Buffer> = inputs.iter().map(bytes).collect();
    let sources: Vec<Source> = buffers.iter().map(|buffer| Source { bytes: buffer.as_bytes(), crc32c: None }).collect();
    run_on(program, &sources, inputs[0].1.len())
}

fn run_on(program: &Program, sources: &[Source<'_>], len: usize) -> Result<Vec<u64>, RunError> {
    let size = program.output().unwrap().size();
    let mut output = Buffer::zeroed(len * size);
    program.apply_into(sources, 0, len, &mut output)?;
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    Ok(output.as_bytes().chunks(size).map(word).collect())
}

fn parse(text: &str, inputs: &[Input]) -> Result<Program, ExpressionError> {
    parse_expression(text, inputs[0].0, &mut |name| match (name, inputs) {
        ("y", [_, (dtype, _)]) => Ok(Named { input: 1, dtype: *dtype }),
        _ => Err(format!("no '{name}'")),
    })
}

/// Units in the last place between two floats; none between the zeros.
fn ulps(dtype: DType, a: u64, b: u64) -> u64 {
    let sign = 8 * dtype.size() - 1;
    let ordered = |bits: u64| {
        let magnitude = (bits & ((1 << sign) - 1)).cast_signed();
        if bits >> sign == 1 { -magnitude } else { magnitude }
    };
    ordered(a).abs_diff(ordered(b))
}

fn agrees(dtype: DType, tolerance: u64, found: u64, expected: Expected) -> bool {
    let nan = if dtype == DType::Float32 { 0x7FC0_0000 } else { 0x7FF8_0000_0000_0000 };
    match expected {
        Expected::Bits(bits) if tolerance == 0 || found == nan => found == bits,
        Expected::Bits(bits) => ulps(dtype, found, bits) <= tolerance,
        Expected::Nan => found == nan,
        Expected::Faulty => false,
        Expected::Anything => true,
    }
}

/// What is wrong with a case.
fn check(case: &Case, inputs: &[Input]) -> Option<String> {
    let program = match (parse(case.text, inputs), &case.result) {
        (Err(_), None) => return None,
        (Ok(program), None) => return Some(format!("is {:?}, not refused", program.output())),
        (Err(error), Some(_)) => return Some(format!("is refused: {error}")),
        (Ok(program), Some(_)) => program,
    };
    let (dtype, tolerance, expected) = case.result.as_ref()?;
    if program.output() != Some(*dtype) {
        return Some(format!("is {:?}, not {dtype}", program.output()));
    }
    if let Some(first) = expected.iter().position(|expected| *expected == Expected::Faulty) {
        match run(&program, inputs) {
            Err(RunError::Element(error)) if error.index == first as u64 => {}
            other => return Some(format!("element {first} has no value, but {other:?}")),
        }
    }
    let is_good = |at: &usize| expected[*at] != Expected::Faulty;
    let good: Vec<usize> = (0..expected.len()).filter(is_good).collect();
    let only = |(dtype, values): &Input| (*dtype, good.iter().map(|at| values[*at]).collect());
    let inputs: Vec<Input> = inputs.iter().map(only).collect();
    let found = match run(&program, &inputs) {
        Ok(found) => found,
        Err(error) => return Some(format!("fails: {error:?}")),
    };
    let wrong = |at: &usize| !agrees(*dtype, *tolerance, found[*at], expected[good[*at]]);
    let describe = |at: usize| {
        let of: Vec<String> = inputs.iter().map(|(_, values)| format!("{:x}", values[at])).collect();
        format!("of {} is {:x}, not {:x?}", of.join(", "), found[at], expected[good[at]])
    };
    (0..found.len()).find(wrong).map(describe)
}

#[test]
fn expressions_have_the_bits_of_numpy() {
    let Table { inputs, cases, .. } = read();
    assert!(cases.len() > 2000, "{} cases", cases.len());
    let wrong = |case: &Case| {
        let names = [case.x, case.y];
        let named: Vec<Input> = names.into_iter().filter_map(|name| inputs.get(name).cloned()).collect();
        check(case, &named).map(|wrong| format!("line {}, x {}: `{}` {wrong}", case.line, named[0].0, case.text))
    };
    let wrong: Vec<String> = cases.iter().filter_map(wrong).collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn arrays_from_nothing_have_the_bits_of_numpy() {
    let Table { made, .. } = read();
    assert!(made.len() > 150, "{} arrays", made.len());
    for Made { text, requested, dtype, shape, values } in made {
        let array = parse_generator(text, requested, 0).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((array.program.output(), &array.shape), (Some(dtype), &shape), "{text} as {requested:?}");
        let len = shape.iter().product::<u64>() as usize;
        assert_eq!(values.len(), len, "{text}");
        let found = run_on(&array.program, &[], len).unwrap();
        for (at, (found, expected)) in found.into_iter().zip(values).enumerate() {
            assert!(agrees(dtype, 0, found, expected), "{text} as {requested:?}: {at} is {found:x}, not {expected:x?}");
        }
    }
}
