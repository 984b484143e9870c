//! What clients know: the contents of their arrays, and what operations on them must give, computed in one piece.

use array::expression::{ExpressionError, Named, parse_expression, parse_generator, parse_reductions};
use array::program::{ElementError, RunError, Source};
use array::{Buffer, DType, Operation, Program};
use protocol::VersionId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An array, or the result of an operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Elements {
    /// Their bytes.
    pub bytes: Arc<Buffer>,
    /// Their dtype.
    pub dtype: DType,
    /// Whether no worker of level 1 has had a part in them: those have other last bits.
    pub exact: bool,
}

impl Elements {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.dtype.size()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// What a name holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// The array.
    pub array: Elements,
    /// The newest result of an operation on it.
    pub result: Option<Elements>,
    /// All of them by version, the newest last. They are in the log without waiting for the disk, so a power loss may make an
    /// older one, or none, the newest again.
    pub results: Vec<(VersionId, Elements)>,
}

/// By name.
pub type Names = BTreeMap<String, Content>;

/// Why an operation must be refused.
#[derive(Clone, Debug)]
pub enum Refused {
    /// It means nothing.
    Text(String),
    /// An element has no value; which others have none, [`Computation::has_value`] knows.
    Element(ElementError),
    /// There are no elements to reduce.
    Reduction(String),
}

impl From<ExpressionError> for Refused {
    fn from(error: ExpressionError) -> Refused {
        Refused::Text(error.to_string())
    }
}

impl Content {
    /// What an array of this length made from this seed holds.
    pub fn generate(seed: u64, len: usize, dtype: DType) -> Content {
        let buffer = match dtype {
            DType::Int32 => {
                let mut values = vec![0; len];
                array::random::fill_int(seed, 0, &mut values, -1000, 100_000);
                Buffer::from_slice(&values)
            }
            _ => {
                let mut values = vec![0.0; len];
                array::random::fill_double(seed, 0, &mut values, -100.0, 100.0);
                Buffer::from_slice(&values)
            }
        };
        Content::of(Elements { bytes: Arc::new(buffer), dtype, exact: true })
    }

    /// An array without a result.
    pub fn of(array: Elements) -> Content {
        Content { array, result: None, results: Vec::new() }
    }

    /// The same after one more operation.
    pub fn with_result(&self, version: VersionId, result: Elements) -> Content {
        let mut content = self.clone();
        content.results.push((version, result.clone()));
        content.result = Some(result);
        content
    }

    /// A power loss has made this version the newest result, or none.
    pub fn go_back_to(&mut self, version: Option<VersionId>) {
        self.results.retain(|(known, _)| version.is_some_and(|version| *known <= version));
        self.result = self.results.last().map(|(_, result)| result.clone());
    }

    /// The named operation that its dtype takes.
    pub fn operation(&self) -> Operation {
        if self.array.dtype == DType::Int32 { Operation::Example2 } else { Operation::Example1 }
    }
}

/// A program with what it reads.
pub struct Computation {
    /// What is computed.
    pub program: Program,
    inputs: Vec<Elements>,
    len: usize,
}

impl Computation {
    /// An expression on a name, or a named operation.
    ///
    /// # Errors
    /// It means nothing.
    pub fn expression(names: &Names, name: &str, text: &str) -> Result<Computation, Refused> {
        let x = &names[name].array;
        if let Ok(operation) = text.parse::<Operation>() {
            return Ok(Computation { program: (*operation.program()).clone(), inputs: vec![x.clone()], len: x.len() });
        }
        let mut read = vec![name.to_string()];
        let program = parse_expression(text, x.dtype, &mut |other| resolve(names, &mut read, other))?;
        Ok(Computation::of(names, program, &read))
    }

    /// Reductions of expressions on a name.
    ///
    /// # Errors
    /// They mean nothing.
    pub fn reductions(names: &Names, name: &str, text: &str) -> Result<Computation, Refused> {
        let mut read = vec![name.to_string()];
        let x = names[name].array.dtype;
        let (program, _) = parse_reductions(text, x, &mut |other| resolve(names, &mut read, other))?;
        Ok(Computation::of(names, program, &read))
    }

    /// What makes an array.
    ///
    /// # Errors
    /// It means nothing.
    pub fn generator(text: &str, dtype: Option<DType>, seed: u64) -> Result<Computation, Refused> {
        let made = parse_generator(text, dtype, seed)?;
        let len = made.shape.iter().product::<u64>() as usize;
        Ok(Computation { program: made.program, inputs: Vec::new(), len })
    }

    fn of(names: &Names, program: Program, read: &[String]) -> Computation {
        let inputs: Vec<Elements> = read.iter().map(|name| names[name].array.clone()).collect();
        Computation { program, len: inputs[0].len(), inputs }
    }

    /// Bytes of one copy of all that it reads.
    pub fn bytes_read(&self) -> u64 {
        self.len as u64 * self.program.bytes_read()
    }

    /// What it gives, if workers of level 1 may or may not have a part in it.
    ///
    /// # Errors
    /// An element has no value.
    pub fn elements(&self, exact: bool) -> Result<Elements, Refused> {
        let mut output = Buffer::zeroed(self.len * self.program.bytes_written() as usize);
        self.program.apply_into(&self.sources(0..self.len), 0, self.len, &mut output).map_err(Computation::refused)?;
        let dtype = self.program.output().expect("it gives elements");
        // Integers have no last bits.
        let exact = self.is_exact() && (exact || self.program.named().is_none() || dtype != DType::Float64);
        Ok(Elements { bytes: Arc::new(output), dtype, exact })
    }

    /// What its reductions give, as an answer writes it.
    ///
    /// # Errors
    /// An element has no value, or there is nothing to reduce.
    pub fn values(&self) -> Result<Vec<String>, Refused> {
        let partials = self.program.reduce(&self.sources(0..self.len), 0, self.len).map_err(Computation::refused)?;
        let value = |partial: array::Partial| partial.finish().map_err(|error| Refused::Reduction(error.to_string()));
        partials.into_iter().map(|partial| value(partial).map(|value| value.to_string())).collect()
    }

    /// Whether all bits of what it reads are known.
    pub fn is_exact(&self) -> bool {
        self.inputs.iter().all(|input| input.exact)
    }

    /// Whether an element has a value.
    pub fn has_value(&self, index: usize) -> bool {
        let sources = self.sources(index..index + 1);
        let computed = match self.program.output() {
            Some(dtype) => {
                let mut output = Buffer::zeroed(dtype.size());
                self.program.apply_into(&sources, index as u64, 1, &mut output).map(drop)
            }
            None => self.program.reduce(&sources, index as u64, 1).map(drop),
        };
        computed.is_ok()
    }

    fn sources(&self, elements: std::ops::Range<usize>) -> Vec<Source<'_>> {
        let bytes = |input: &'_ Elements| elements.start * input.dtype.size()..elements.end * input.dtype.size();
        let all = self.inputs.iter();
        all.map(|input| Source { bytes: &input.bytes.as_bytes()[bytes(input)], crc32c: None }).collect()
    }

    fn refused(error: RunError) -> Refused {
        match error {
            RunError::Element(error) => Refused::Element(error),
            RunError::Broken(input) => panic!("input {input} of the model is broken"),
        }
    }
}

fn resolve(names: &Names, read: &mut Vec<String>, name: &str) -> Result<Named, String> {
    let content = names.get(name).ok_or_else(|| format!("'{name}' is unknown"))?;
    if content.array.len() != names[&read[0]].array.len() {
        return Err(format!("'{name}' has another length"));
    }
    let known = read.iter().position(|input| input == name);
    let input = known.unwrap_or_else(|| {
        read.push(name.to_string());
        read.len() - 1
    });
    Ok(Named { input: input as u32, dtype: content.array.dtype })
}
