//! What is computed: expressions as people write them, programs as workers get them, and what reductions leave.

use array::expression::{Named, parse_expression, parse_generator, parse_reductions};
use array::program::{RunError, Source};
use array::{Buffer, DType, LEN_MAX, Partial, Program, Reducer};
use protocol::limits::NAME_BYTES_MAX;

/// Elements that a program is run on.
const LEN: usize = 5;

/// Programs longer than this are not run: they take long, and do what shorter ones do.
const NODES_RUN: usize = 300;

/// A dtype of `x`, what kind of text, then the text.
pub fn expression(data: &[u8]) {
    let [x, kind, text @ ..] = data else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let x = DType::ALL[usize::from(*x) % DType::ALL.len()];
    let mut names: Vec<String> = Vec::new();
    let mut resolve = |name: &str| {
        if name.len() > 3 {
            // A master shows no more of it either.
            return Err(format!("there is no array '{}'", name.chars().take(NAME_BYTES_MAX).collect::<String>()));
        }
        let at = names.iter().position(|known| known == name).unwrap_or_else(|| {
            names.push(name.to_string());
            names.len() - 1
        });
        Ok(Named { input: at as u32 + 1, dtype: DType::ALL[(at + name.len()) % DType::ALL.len()] })
    };
    let found = match kind % 3 {
        0 => parse_expression(text, x, &mut resolve),
        1 => parse_reductions(text, x, &mut resolve).map(|(program, texts)| {
            assert_eq!(program.reductions().len(), texts.len());
            program
        }),
        _ => parse_generator(text, (kind % 2 == 0).then_some(x), 7).map(|generated| {
            let len = generated.shape.iter().product::<u64>();
            assert!(len <= LEN_MAX, "{len} elements");
            generated.program
        }),
    };
    match found {
        Ok(program) => check(&program, 0),
        Err(error) => {
            let chars = text.chars().count();
            assert!((1..=chars + 1).contains(&error.column), "column {} of {chars}", error.column);
            assert!(!error.problem.is_empty() && error.to_string().len() < 3000, "{error}");
        }
    }
}

/// The text of a program.
pub fn program(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(program) = text.parse::<Program>() {
        check(&program, LEN_MAX - LEN as u64);
    }
}

/// Its text reads as the same program, and it runs. Whole and in two pieces it gives the same.
fn check(program: &Program, start: u64) {
    assert_eq!(program.to_string().parse().as_ref(), Ok(program), "{program}");
    if program.nodes().len() > NODES_RUN {
        return;
    }
    if program.output().is_none() {
        let inputs = inputs(program, 0, LEN);
        if let Ok(partials) = program.reduce(&sources(&inputs), 0, LEN) {
            partials.into_iter().for_each(check_partial);
        }
        return;
    }
    let whole = run(program, start, 0, LEN);
    let first = run(program, start, 0, 2);
    let both = first.and_then(|first| Ok([first, run(program, start, 2, LEN)?].concat()));
    assert_eq!(whole, both, "in two pieces it gives something else: {program}");
}

/// Elements `from..to` of what it gives.
fn run(program: &Program, start: u64, from: usize, to: usize) -> Result<Vec<u8>, RunError> {
    let inputs = inputs(program, from, to);
    let dtype = program.output().expect("it gives elements");
    let mut output = Buffer::zeroed((to - from) * dtype.size());
    program.apply_into(&sources(&inputs), start + from as u64, to - from, &mut output)?;
    Ok(output.as_bytes().to_vec())
}

fn sources(inputs: &[Buffer]) -> Vec<Source<'_>> {
    inputs.iter().map(|input| Source { bytes: input.as_bytes(), crc32c: None }).collect()
}

/// Elements at the edges of each dtype.
fn inputs(program: &Program, from: usize, to: usize) -> Vec<Buffer> {
    let doubles = [0.0, -1.5, f64::NAN, f64::NEG_INFINITY, 1e300];
    let bytes = |dtype: DType, at: usize| match dtype {
        DType::Bool => vec![(at % 2) as u8],
        DType::Int32 => [0, 1, -1, i32::MIN, i32::MAX][at].to_le_bytes().to_vec(),
        DType::Int64 => [0, 3, -1, i64::MIN, i64::MAX][at].to_le_bytes().to_vec(),
        DType::Float32 => (doubles[at] as f32).to_le_bytes().to_vec(),
        DType::Float64 => doubles[at].to_le_bytes().to_vec(),
        other => vec![0; other.size()], // the dtype of an array that is not looked at
    };
    let of = |(input, dtype): (usize, &DType)| {
        let elements: Vec<u8> = (from..to).flat_map(|at| bytes(*dtype, (at + input) % LEN)).collect();
        Buffer::from_bytes(&elements)
    };
    program.inputs().iter().enumerate().map(of).collect()
}

/// A reducer, a dtype, then a partial, and perhaps another one.
pub fn partial(data: &[u8]) {
    let [reducer, dtype, bytes @ ..] = data else { return };
    let reducer = Reducer::ALL[usize::from(*reducer) % Reducer::ALL.len()];
    let dtype = DType::ALL[usize::from(*dtype) % DType::ALL.len()];
    let (first, second) = bytes.split_at(bytes.len().min(Partial::BYTES));
    let Ok(first) = Partial::from_bytes(reducer, dtype, first) else { return };
    check_partial(first);
    // As the master merges them: from others too.
    let merged = |mut earlier: Partial, later: Partial| {
        earlier.merge(&later);
        earlier
    };
    check_partial(merged(first, first));
    if let Ok(second) = Partial::from_bytes(reducer, dtype, second) {
        let _ = merged(first, second).finish();
        let _ = merged(second, first).finish();
    }
}

fn check_partial(partial: Partial) {
    let _ = partial.finish(); // an error is an answer
    let bytes = partial.to_bytes();
    if let Ok(again) = Partial::from_bytes(partial.reducer(), partial.dtype(), &bytes) {
        assert_eq!(again.to_bytes(), bytes, "{partial:?}");
    }
}
