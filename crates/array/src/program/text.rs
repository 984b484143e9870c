//! Programs as text, as they travel: `float64 float64: float64 input 0; float64 input 1; float64 mul 0 1; sum 2; max 0`.
//!
//! First the dtypes of the inputs. Then the nodes, numbered from 0: the dtype, the operation, its numbers, the nodes it takes, and
//! after `if` its guard. At the end what is kept: `elements N`, or reductions. Bits of constants and floats are in hexadecimal. A
//! program that is a named operation is that name.

use super::{Binary, Builder, Node, NodeId, Op, Outcome, Program, Unary};
use crate::reduction::Reducer;
use crate::{DType, Operation};
use std::fmt::{self, Display};
use std::str::FromStr;

impl Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(named) = self.named() {
            return write!(f, "{named}");
        }
        let inputs: Vec<&str> = self.inputs().iter().map(|dtype| dtype.name()).collect();
        write!(f, "{}:", inputs.join(" "))?;
        for node in self.nodes() {
            write!(f, " {} {}", node.dtype, node.op)?;
            node.args.iter().try_for_each(|arg| write!(f, " {arg}"))?;
            node.guard.iter().try_for_each(|guard| write!(f, " if {guard}"))?;
            f.write_str(";")?;
        }
        match &self.outcome {
            Outcome::Elements(node) => write!(f, " elements {node}"),
            Outcome::Reductions(all) => {
                let all: Vec<String> = all.iter().map(|(reducer, node)| format!(" {reducer} {node}")).collect();
                f.write_str(&all.join(";"))
            }
        }
    }
}

impl Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Input(input) => write!(f, "input {input}"),
            Op::Constant(bits) => write!(f, "constant {bits:x}"),
            Op::Index => f.write_str("index"),
            Op::Uniform { seed, low, high } => write!(f, "uniform {seed} {:x} {:x}", low.to_bits(), high.to_bits()),
            Op::Integers { seed, low, high } => write!(f, "integers {seed} {low} {high}"),
            Op::Normal { seed } => write!(f, "normal {seed}"),
            Op::Power(exponent) => write!(f, "power {exponent}"),
            Op::Cast => f.write_str("cast"),
            Op::Unary(unary) => f.write_str(unary.name()),
            Op::Binary(binary) => f.write_str(binary.name()),
            Op::Where => f.write_str("where"),
        }
    }
}

/// Why a text is no program. Whoever wrote it made a mistake: people write expressions, see [`crate::expression`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAProgram(
    /// In words.
    pub String,
);

impl Display for NotAProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a program: {}", self.0)
    }
}

impl std::error::Error for NotAProgram {}

impl FromStr for Program {
    type Err = NotAProgram;

    fn from_str(text: &str) -> Result<Program, NotAProgram> {
        match text.split_once(':') {
            None => text
                .parse::<Operation>()
                .map(|operation| (*operation.program()).clone())
                .map_err(|e| NotAProgram(format!("{e}"))),
            Some((inputs, steps)) => read(inputs, steps).map_err(NotAProgram),
        }
    }
}

fn read(inputs: &str, steps: &str) -> Result<Program, String> {
    let inputs: Result<Vec<DType>, _> = inputs.split_whitespace().map(DType::from_str).collect();
    let mut builder = Builder::new(inputs.map_err(|e| e.to_string())?)?;
    let mut reductions: Vec<(Reducer, NodeId)> = Vec::new();
    let mut places: Vec<NodeId> = Vec::new();
    let mut steps = steps.split(';');
    while let Some(step) = steps.next() {
        let mut words = Words { step, words: step.split_whitespace() };
        let first = words.word()?;
        if let Ok(dtype) = first.parse::<DType>() {
            let (op, takes) = read_op(&mut words)?;
            let place = |words: &mut Words| -> Result<NodeId, String> {
                let at: usize = words.number()?;
                places.get(at).copied().ok_or_else(|| format!("'{step}' takes what is not there"))
            };
            let args: Result<Vec<NodeId>, String> = (0..takes).map(|_| place(&mut words)).collect();
            let args = args?;
            let guard = match words.words.next() {
                None => None,
                Some("if") => Some(place(&mut words)?),
                Some(word) => return Err(format!("'{word}' in '{step}'")),
            };
            words.end()?;
            // Whoever wrote it may have the same node twice.
            places.push(builder.add(Node { op, dtype, args, guard })?);
        } else {
            let node = *places.get(words.number::<usize>()?).ok_or_else(|| format!("'{step}' is of nothing"))?;
            words.end()?;
            match first {
                "elements" if reductions.is_empty() && steps.next().is_none() => return Ok(builder.elements(node)),
                reducer => reductions.push((reducer.parse().map_err(|e| format!("{e}"))?, node)),
            }
        }
    }
    builder.reductions(reductions)
}

/// The words of a step.
struct Words<'a> {
    step: &'a str,
    words: std::str::SplitWhitespace<'a>,
}

impl<'a> Words<'a> {
    fn word(&mut self) -> Result<&'a str, String> {
        self.words.next().ok_or_else(|| format!("'{}' is too short", self.step))
    }

    fn end(&mut self) -> Result<(), String> {
        self.words.next().map_or(Ok(()), |word| Err(format!("'{word}' in '{}'", self.step)))
    }

    fn number<T: FromStr>(&mut self) -> Result<T, String> {
        let word = self.word()?;
        word.parse().map_err(|_| format!("'{word}' in '{}'", self.step))
    }

    fn bits(&mut self) -> Result<u64, String> {
        let word = self.word()?;
        u64::from_str_radix(word, 16).map_err(|_| format!("'{word}' in '{}'", self.step))
    }
}

/// An operation with its own numbers, and how many nodes it takes.
fn read_op(words: &mut Words) -> Result<(Op, usize), String> {
    let name = words.word()?;
    Ok(match name {
        "input" => (Op::Input(words.number()?), 0),
        "constant" => (Op::Constant(words.bits()?), 0),
        "index" => (Op::Index, 0),
        "uniform" => {
            let seed = words.number()?;
            let (low, high) = (f64::from_bits(words.bits()?), f64::from_bits(words.bits()?));
            (Op::Uniform { seed, low, high }, 0)
        }
        "integers" => (Op::Integers { seed: words.number()?, low: words.number()?, high: words.number()? }, 0),
        "normal" => (Op::Normal { seed: words.number()? }, 0),
        "power" => (Op::Power(words.number()?), 1),
        "cast" => (Op::Cast, 1),
        "where" => (Op::Where, 3),
        name => {
            let unary = Unary::all().find(|unary| unary.name() == name).map(|unary| (Op::Unary(unary), 1));
            let binary = || Binary::all().find(|binary| binary.name() == name).map(|binary| (Op::Binary(binary), 2));
            unary.or_else(binary).ok_or_else(|| format!("no operation '{name}'"))?
        }
    })
}

impl Program {
    /// Its steps for people, one a line: number, dtype, what is done with which numbers before.
    pub fn steps(&self) -> Vec<String> {
        let step = |(number, node): (usize, &Node)| {
            let args: Vec<String> = node.args.iter().map(|arg| format!("#{arg}")).collect();
            let guard = node.guard.map_or(String::new(), |guard| format!(" where #{guard}"));
            let op = match node.op {
                Op::Constant(bits) => constant(node.dtype, bits),
                op => format!("{op}"),
            };
            format!("#{number} {} {} {}{guard}", node.dtype, op, args.join(" ")).trim_end().to_string()
        };
        let mut steps: Vec<String> = self.nodes().iter().enumerate().map(step).collect();
        if let Outcome::Reductions(all) = &self.outcome {
            steps.extend(all.iter().map(|(reducer, node)| format!("{reducer} #{node}")));
        }
        steps
    }
}

/// A constant as people write it.
fn constant(dtype: DType, bits: u64) -> String {
    match dtype {
        DType::Bool => (bits != 0).to_string(),
        DType::Int32 => (bits as i32).to_string(),
        DType::Int64 => (bits as i64).to_string(),
        DType::Float32 => format!("{:?}", f32::from_bits(bits as u32)),
        _ => format!("{:?}", f64::from_bits(bits)),
    }
}
