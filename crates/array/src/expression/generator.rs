//! Arrays that are made from nothing, as NumPy makes them: `zeros(1000)`, `arange(0, 1, 0.1)`, `normal(0, 1, (100, 100))`.
//!
//! | text | elements |
//! |---|---|
//! | `zeros(shape)`, `ones(shape)`, `full(shape, value)` | the same each |
//! | `arange(stop)`, `arange(start, stop)`, `arange(start, stop, step)` | `start + i step` below stop |
//! | `linspace(start, stop, num)` | num evenly spaced numbers, both ends among them |
//! | `random(shape)`, `uniform(low, high, shape)` | random, uniform in `low..high` |
//! | `normal(loc, scale, shape)` | random, of the normal distribution |
//! | `integers(low, high, shape)` | random ints in `low..high`, high excluded |

use super::error::quoted;
use super::parse::Parser;
use super::token::Token;
use super::typing::Value;
use super::{ExpressionError, Named};
use crate::program::{Binary, Builder, COMPUTED, Node, NodeId, Op, Program, is_computed};
use crate::{DType, LEN_MAX};

/// What a generator makes.
#[derive(Clone, Debug, PartialEq)]
pub struct GeneratedArray {
    /// How its elements are computed, from no inputs.
    pub program: Program,
    /// Lengths of its sides.
    pub shape: Vec<u64>,
}

/// Names of generators with what they take.
pub(super) const SIGNATURES: [(&str, &str); 9] = [
    ("zeros", "zeros(shape)"),
    ("ones", "ones(shape)"),
    ("full", "full(shape, value)"),
    ("arange", "arange([start,] stop[, step])"),
    ("linspace", "linspace(start, stop, num)"),
    ("random", "random(shape)"),
    ("uniform", "uniform(low, high, shape)"),
    ("normal", "normal(loc, scale, shape)"),
    ("integers", "integers(low, high, shape)"),
];

/// Reads a generator. Its elements get this dtype, else NumPy's; random ones are those of the seed.
///
/// # Errors
/// Whatever is wrong with the text, and at which column.
pub fn parse_generator(text: &str, dtype: Option<DType>, seed: u64) -> Result<GeneratedArray, ExpressionError> {
    let mut nothing = |name: &str| -> Result<Named, String> { Err(format!("{} is no number", quoted(name))) };
    let (name, arguments) = Parser::new(text, DType::Float64, &mut nothing)?.call_of_numbers()?;
    let wrong = |problem: String| ExpressionError::at(text, 0, problem);
    if let Some(dtype) = dtype.filter(|dtype| !is_computed(*dtype)) {
        return Err(wrong(format!("{dtype} is stored only; {COMPUTED} can be made")));
    }
    let signature = SIGNATURES.into_iter().find(|(known, _)| *known == name.as_str());
    let all = || SIGNATURES.map(|(_, signature)| signature).join(", ");
    let signature = signature
        .ok_or_else(|| wrong(format!("nothing is called {} that makes an array; there are {}", quoted(&name), all())))?
        .1;
    make(&name, &arguments, dtype, seed).map_err(|problem| match problem {
        Problem::Signature => wrong(format!("write {signature}")),
        Problem::Other(problem) => wrong(problem),
    })
}

/// An argument of a generator.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    Number(Value),
    /// Several, in parentheses or brackets.
    Tuple(Vec<Value>),
}

enum Problem {
    /// The arguments are not those it takes.
    Signature,
    Other(String),
}

impl From<String> for Problem {
    fn from(problem: String) -> Problem {
        Problem::Other(problem)
    }
}

fn make(name: &str, arguments: &[Argument], dtype: Option<DType>, seed: u64) -> Result<GeneratedArray, Problem> {
    use Argument::Number;
    let mut builder = Builder::new(Vec::new())?;
    let (node, shape) = match (name, arguments) {
        ("zeros", [shape]) => (builder.float64(0.0)?, sides(shape)?),
        ("ones", [shape]) => (builder.float64(1.0)?, sides(shape)?),
        ("full", [shape, Number(value)]) => (constant(&mut builder, *value)?, sides(shape)?),
        ("arange", [Number(stop)]) => arange(&mut builder, Value::Int(0), *stop, Value::Int(1))?,
        ("arange", [Number(start), Number(stop)]) => arange(&mut builder, *start, *stop, Value::Int(1))?,
        ("arange", [Number(start), Number(stop), Number(step)]) => arange(&mut builder, *start, *stop, *step)?,
        ("linspace", [Number(start), Number(stop), Number(Value::Int(num))]) => {
            linspace(&mut builder, float(*start)?, float(*stop)?, *num)?
        }
        ("random", [shape]) => (uniform(&mut builder, seed, 0.0, 1.0)?, sides(shape)?),
        ("uniform", [Number(low), Number(high), shape]) => {
            (uniform(&mut builder, seed, float(*low)?, float(*high)?)?, sides(shape)?)
        }
        ("normal", [Number(loc), Number(scale), shape]) => {
            let normal = Node { op: Op::Normal { seed }, dtype: DType::Float64, args: vec![], guard: None };
            let (normal, loc, scale) =
                (builder.add(normal)?, builder.float64(float(*loc)?)?, builder.float64(float(*scale)?)?);
            let scaled = builder.binary(Binary::Mul, scale, normal, None)?;
            (builder.binary(Binary::Add, loc, scaled, None)?, sides(shape)?)
        }
        ("integers", [Number(Value::Int(low)), Number(Value::Int(high)), shape]) => {
            let as_int32 = dtype == Some(DType::Int32);
            (integers(&mut builder, seed, *low, *high, as_int32)?, sides(shape)?)
        }
        _ => return Err(Problem::Signature),
    };
    let node = match dtype {
        Some(dtype) => builder.cast(node, dtype, None)?,
        None => node,
    };
    Ok(GeneratedArray { program: builder.elements(node), shape })
}

/// Lengths of sides, whose product is the number of elements.
fn sides(shape: &Argument) -> Result<Vec<u64>, Problem> {
    let values = match shape {
        Argument::Number(value) => std::slice::from_ref(value),
        Argument::Tuple(values) => values,
    };
    let side = |value: &Value| match value {
        Value::Int(side) => u64::try_from(*side).map_err(|_| Problem::Other(format!("a side of {side} elements"))),
        _ => Err(Problem::Other("the lengths of sides are whole numbers".to_string())),
    };
    let sides: Vec<u64> = values.iter().map(side).collect::<Result<_, _>>()?;
    let len = sides.iter().try_fold(1_u64, |len, side| len.checked_mul(*side));
    match len.filter(|len| *len <= LEN_MAX) {
        Some(_) => Ok(sides),
        None => Err(Problem::Other(format!("more than {LEN_MAX} elements"))),
    }
}

fn float(value: Value) -> Result<f64, Problem> {
    match value {
        Value::Int(int) => Ok(int as f64),
        Value::Float(float) => Ok(float),
        Value::Node(_) => Err(Problem::Signature),
    }
}

fn constant(builder: &mut Builder, value: Value) -> Result<NodeId, String> {
    match value {
        Value::Int(int) => builder.constant(DType::Int64, int as u64),
        Value::Float(float) => builder.float64(float),
        Value::Node(node) => Ok(node),
    }
}

/// Of ints an int64, else a float64: `start + i delta`, where delta is what is between the first two, as in NumPy.
fn arange(builder: &mut Builder, start: Value, stop: Value, step: Value) -> Result<(NodeId, Vec<u64>), Problem> {
    if let (Value::Int(start), Value::Int(stop), Value::Int(step)) = (start, stop, step) {
        if step == 0 {
            return Err(Problem::Other("a step of 0 never arrives".to_string()));
        }
        let (distance, step) = (i128::from(stop) - i128::from(start), i128::from(step));
        let steps = distance / step + i128::from(distance % step != 0);
        let len = length(if (distance < 0) == (step < 0) { steps as f64 } else { 0.0 })?;
        let mut element = index(builder)?;
        if step != 1 {
            let step = builder.constant(DType::Int64, step as i64 as u64)?;
            element = builder.binary(Binary::Mul, element, step, None)?;
        }
        if start != 0 {
            let start = builder.constant(DType::Int64, start as u64)?;
            element = builder.binary(Binary::Add, start, element, None)?;
        }
        return Ok((element, vec![len]));
    }
    let (start, stop, step) = (float(start)?, float(stop)?, float(step)?);
    let len = length(((stop - start) / step).ceil())?;
    let delta = (start + step) - start;
    let (start, delta) = (builder.float64(start)?, builder.float64(delta)?);
    let offset = scaled_index(builder, delta)?;
    Ok((builder.binary(Binary::Add, start, offset, None)?, vec![len]))
}

/// `start + i (stop - start) / (num - 1)`, and the last is stop itself, as in NumPy.
fn linspace(builder: &mut Builder, start: f64, stop: f64, num: i64) -> Result<(NodeId, Vec<u64>), Problem> {
    let len = length(num as f64)?;
    if num < 2 {
        return Ok((builder.float64(start)?, vec![len]));
    }
    let step = builder.float64((stop - start) / (num - 1) as f64)?;
    let offset = scaled_index(builder, step)?;
    let (start, stop) = (builder.float64(start)?, builder.float64(stop)?);
    let inner = builder.binary(Binary::Add, offset, start, None)?;
    let (index, last) = (index(builder)?, builder.constant(DType::Int64, (num - 1) as u64)?);
    let is_last = builder.binary(Binary::Eq, index, last, None)?;
    Ok((builder.choose(is_last, stop, inner)?, vec![len]))
}

fn index(builder: &mut Builder) -> Result<NodeId, String> {
    builder.add(Node { op: Op::Index, dtype: DType::Int64, args: vec![], guard: None })
}

fn scaled_index(builder: &mut Builder, step: NodeId) -> Result<NodeId, String> {
    let index = index(builder)?;
    let index = builder.cast(index, DType::Float64, None)?;
    builder.binary(Binary::Mul, index, step, None)
}

fn uniform(builder: &mut Builder, seed: u64, low: f64, high: f64) -> Result<NodeId, Problem> {
    if !(low < high && (high - low).is_finite()) {
        return Err(Problem::Other(format!("no number lies between {low} and {high}, or they are too far apart")));
    }
    let op = Op::Uniform { seed, low, high };
    Ok(builder.add(Node { op, dtype: DType::Float64, args: vec![], guard: None })?)
}

fn integers(builder: &mut Builder, seed: u64, low: i64, high: i64, as_int32: bool) -> Result<NodeId, Problem> {
    if low >= high {
        return Err(Problem::Other(format!("no int lies in {low}..{high}, where {high} is excluded")));
    }
    let high = high - 1;
    if as_int32 && (i32::try_from(low).is_err() || i32::try_from(high).is_err()) {
        return Err(Problem::Other(format!("{low} to {high} do not fit int32")));
    }
    let dtype = if as_int32 { DType::Int32 } else { DType::Int64 };
    Ok(builder.add(Node { op: Op::Integers { seed, low, high }, dtype, args: vec![], guard: None })?)
}

/// A number of elements that was computed.
fn length(len: f64) -> Result<u64, Problem> {
    match len {
        _ if len.is_nan() => Err(Problem::Other("the number of elements is not a number".to_string())),
        _ if len > LEN_MAX as f64 => Err(Problem::Other(format!("{len:e} elements, {LEN_MAX} at most"))),
        len => Ok(len.max(0.0) as u64),
    }
}

impl Parser<'_, '_> {
    /// The whole text as a call with numbers: the name and the arguments.
    fn call_of_numbers(mut self) -> Result<(String, Vec<Argument>), ExpressionError> {
        let Token::Word(name) = self.next.0 else {
            return self.wrong("what makes an array begins with a name, such as zeros(1000)");
        };
        self.step()?;
        self.expect("(")?;
        let mut arguments = Vec::new();
        while !self.take_sign(")")? {
            arguments.push(self.argument()?);
            if !self.take_sign(",")? {
                self.expect(")")?;
                break;
            }
        }
        self.end()?;
        Ok((name.to_string(), arguments))
    }

    fn argument(&mut self) -> Result<Argument, ExpressionError> {
        let close = match self.next.0 {
            Token::Sign("(") => ")",
            Token::Sign("[") => "]",
            _ => return Ok(Argument::Number(self.number()?)),
        };
        self.step()?;
        let mut values = Vec::new();
        while !self.take_sign(close)? {
            values.push(self.number()?);
            if !self.take_sign(",")? {
                self.expect(close)?;
                break;
            }
        }
        Ok(Argument::Tuple(values))
    }

    /// A number, which may be computed from numbers.
    fn number(&mut self) -> Result<Value, ExpressionError> {
        let at = self.next.1;
        match self.or()? {
            Value::Node(_) => Err(ExpressionError::at(self.text, at, "a number is wanted here")),
            number => Ok(number),
        }
    }
}
