//! Programs against naive loops.

mod evaluator;
mod guards;
mod pieces;
mod random;
mod steps;
mod text;

use super::*;
use crate::expression::{Named, parse_expression, parse_reductions};
use crate::{Buffer, Element};
use rayon::ThreadPool;

/// The program of an expression on `x`, with `y` beside it.
fn program_of(text: &str, x: DType, y: DType) -> Program {
    let mut resolve = |name: &str| match name {
        "y" => Ok(Named { input: 1, dtype: y }),
        _ => Err(format!("no '{name}'")),
    };
    parse_expression(text, x, &mut resolve).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn source<T: Element>(values: &[T]) -> Source<'_> {
    Source { bytes: bytemuck::cast_slice(values), crc32c: None }
}

/// What a program makes of these inputs, of which the first element has the index `start`.
fn run(program: &Program, sources: &[Source<'_>], start: u64, len: usize) -> Result<Buffer, RunError> {
    let size = program.output().expect("it gives elements").size();
    // Anything may be in it before.
    let mut output = Buffer::from_bytes(&vec![0xA5; len * size]);
    let crc32c = program.apply_into(sources, start, len, &mut output)?;
    assert_eq!(crc32c, crate::checksum::crc32c(output.as_bytes()), "{program}");
    Ok(output)
}

fn apply<I: Element, O: Element>(text: &str, x: &[I]) -> Result<Vec<O>, RunError> {
    let program = program_of(text, I::DTYPE, I::DTYPE);
    assert_eq!(program.output(), Some(O::DTYPE), "{text}");
    assert_eq!(program.inputs().len(), 1, "{text}");
    run(&program, &[source(x)], 0, x.len()).map(|output| output.as_slice().to_vec())
}

/// The place of the first element that has no value, and why.
fn fault<I: Element>(text: &str, x: &[I]) -> Option<(u64, Fault)> {
    let program = program_of(text, I::DTYPE, I::DTYPE);
    match run(&program, &[source(x)], 0, x.len()) {
        Ok(_) => None,
        Err(RunError::Element(ElementError { index, fault })) => Some((index, fault)),
        Err(RunError::Broken(input)) => panic!("input {input} has no checksum"),
    }
}

fn pool(threads: usize) -> ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}
