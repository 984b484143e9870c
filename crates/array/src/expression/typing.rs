//! The types of an expression: what operators and functions make of values, as NumPy 2 has it (NEP 50).
//!
//! A value is a number of the text, which has no dtype yet and adapts to what it meets, or a node of the program.

use crate::DType::{self, *};
use crate::kernels::elementary;
use crate::kernels::number::is_power_of_two;
use crate::program::{Binary, Builder, COMPUTED, Node, NodeId, Op, Unary, is_computed};

/// A value so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A whole number of the text.
    Int(i64),
    /// A number with a fraction of the text.
    Float(f64),
    /// A node of the program.
    Node(NodeId),
}

impl Value {
    /// The number of the text that it is.
    fn number(self) -> Option<f64> {
        match self {
            Value::Int(int) => Some(int as f64),
            Value::Float(float) => Some(float),
            Value::Node(_) => None,
        }
    }
}

/// What an operator is called, and what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Mod,
    Pow,
}

impl Operator {
    pub fn sign(self) -> &'static str {
        match self {
            Operator::Add => "+",
            Operator::Sub => "-",
            Operator::Mul => "*",
            Operator::Div => "/",
            Operator::FloorDiv => "//",
            Operator::Mod => "%",
            Operator::Pow => "**",
        }
    }
}

/// What a comparison asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Lt,
    Le,
    Gt,
    Ge,
    Eq,
    Ne,
}

/// Int powers up to this one are products, 12 at most; a step that multiplies in a loop for each element takes as long as some 20.
const INT_POWER_MAX: i64 = 64;

/// A program in the making, with the condition under which a value is looked at.
pub struct Typing {
    pub builder: Builder,
    /// Elements for which this is false are not looked at: in the branches of `where`, and after `and` and `or`.
    pub guard: Option<NodeId>,
}

type Result<T> = std::result::Result<T, String>;

impl Typing {
    // ---- dtypes ----

    /// The dtype of a value; a number of the text by itself is an int64 or a float64.
    pub fn dtype(&self, value: Value) -> DType {
        match value {
            Value::Int(_) => Int64,
            Value::Float(_) => Float64,
            Value::Node(node) => self.builder.dtype(node),
        }
    }

    /// A value as a node.
    pub fn node(&mut self, value: Value) -> Result<NodeId> {
        self.as_dtype(value, self.dtype(value))
    }

    /// A number of the text as a dtype, or a node converted to one that holds all its values.
    fn as_dtype(&mut self, value: Value, dtype: DType) -> Result<NodeId> {
        match (value, dtype) {
            (Value::Node(node), _) => self.builder.cast(node, dtype, self.guard),
            (Value::Int(int), Bool) => self.builder.constant(Bool, u64::from(int != 0)),
            (Value::Int(int), Int32) => match i32::try_from(int) {
                Ok(int) => self.builder.constant(Int32, u64::from(int as u32)),
                Err(_) => Err(format!("{int} does not fit int32, which the other side is; write int64(…) there")),
            },
            (Value::Int(int), Int64) => self.builder.constant(Int64, int as u64),
            (Value::Int(int), Float32) => self.builder.constant(Float32, u64::from((int as f32).to_bits())),
            (Value::Int(int), _) => self.builder.float64(int as f64),
            (Value::Float(float), Float32) => self.builder.constant(Float32, u64::from((float as f32).to_bits())),
            (Value::Float(float), Float64) => self.builder.float64(float),
            (Value::Float(float), other) => Err(format!("{float} is no {other}")),
        }
    }

    /// The dtype that two values meet in.
    fn common(&self, a: Value, b: Value) -> DType {
        match (a, b) {
            (Value::Node(_), Value::Node(_)) => promote(self.dtype(a), self.dtype(b)),
            (Value::Node(node), number) | (number, Value::Node(node)) => match (self.builder.dtype(node), number) {
                (Bool, Value::Int(_)) => Int64,
                (Float32, _) => Float32,
                (dtype, Value::Int(_)) => dtype,
                _ => Float64,
            },
            _ => promote(self.dtype(a), self.dtype(b)),
        }
    }

    fn meet(&mut self, a: Value, b: Value, dtype: DType) -> Result<(NodeId, NodeId)> {
        Ok((self.as_dtype(a, dtype)?, self.as_dtype(b, dtype)?))
    }

    fn binary_in(&mut self, binary: Binary, a: Value, b: Value, dtype: DType) -> Result<Value> {
        let (a, b) = self.meet(a, b, dtype)?;
        self.builder.binary(binary, a, b, self.guard).map(Value::Node)
    }

    // ---- operators ----

    pub fn operate(&mut self, operator: Operator, a: Value, b: Value) -> Result<Value> {
        if let Some(folded) = fold(operator, a, b)? {
            return Ok(folded);
        }
        let common = self.common(a, b);
        let no_bool = |instead: &str| Err(format!("there is no `{}` of bool and bool; {instead}", operator.sign()));
        match (operator, common) {
            (Operator::Add, Bool) => self.binary_in(Binary::Or, a, b, Bool),
            (Operator::Mul, Bool) => self.binary_in(Binary::And, a, b, Bool),
            (Operator::Sub, Bool) => no_bool("different is `!=`"),
            (Operator::FloorDiv | Operator::Mod | Operator::Pow, Bool) => {
                no_bool("NumPy's would be int8, which is not computed; write int32(…)")
            }
            (Operator::Add, _) => self.binary_in(Binary::Add, a, b, common),
            (Operator::Sub, _) => self.binary_in(Binary::Sub, a, b, common),
            (Operator::Mul, _) => self.binary_in(Binary::Mul, a, b, common),
            (Operator::Div, _) => match exact_reciprocal(b, floating(common)) {
                Some(reciprocal) => self.binary_in(Binary::Mul, a, Value::Float(reciprocal), floating(common)),
                None => self.binary_in(Binary::Div, a, b, floating(common)),
            },
            (Operator::FloorDiv, _) => self.divide(Binary::FloorDiv, a, b, common),
            (Operator::Mod, _) => self.divide(Binary::Mod, a, b, common),
            (Operator::Pow, _) => self.power(a, b, common),
        }
    }

    fn divide(&mut self, binary: Binary, a: Value, b: Value, common: DType) -> Result<Value> {
        if b == Value::Int(0) && matches!(common, Int32 | Int64) {
            return Err("an int divided by zero".to_string());
        }
        self.binary_in(binary, a, b, common)
    }

    /// Powers with an exponent that NumPy treats apart are what it makes of them: a square root, a square, a quotient; the third
    /// power is two products.
    fn power(&mut self, a: Value, b: Value, common: DType) -> Result<Value> {
        let exponent = b.number();
        let is_int = matches!(common, Int32 | Int64);
        if is_int && exponent.is_some_and(|exponent| exponent < 0.0) {
            return Err(
                "an int to the power of a negative int has no value; write it as a float, for instance float64(…)"
                    .into(),
            );
        }
        let base = self.as_dtype(a, common)?;
        let times = |typing: &mut Typing, b| typing.builder.binary(Binary::Mul, base, b, None);
        if let (true, Value::Int(exponent @ 0..=INT_POWER_MAX)) = (is_int, b) {
            return self.int_power(base, exponent, common);
        }
        match exponent {
            Some(1.0) => return Ok(Value::Node(base)),
            Some(2.0) => return times(self, base).map(Value::Node),
            Some(3.0) => {
                let square = times(self, base)?;
                return times(self, square).map(Value::Node);
            }
            Some(0.5) if !is_int => return self.builder.unary(Unary::Sqrt, base).map(Value::Node),
            Some(-1.0) if !is_int => {
                let one = self.as_dtype(Value::Int(1), common)?;
                return self.builder.binary(Binary::Div, one, base, None).map(Value::Node);
            }
            Some(exponent) if !is_int => {
                if let Some(power) = elementary::EXPONENTS.into_iter().find(|power| f64::from(*power) == exponent) {
                    return self.float_power(base, power, common);
                }
            }
            _ => {}
        }
        match is_int {
            true => self.binary_in(Binary::IntPow, a, b, common),
            false => self.elementary_2(elementary::Binary::Pow, a, b, common),
        }
    }

    /// A small power of a float, in float64 and rounded once.
    fn float_power(&mut self, base: NodeId, exponent: u8, dtype: DType) -> Result<Value> {
        let double = self.builder.cast(base, Float64, None)?;
        let op = Op::Power(exponent);
        let power = self.builder.add(Node { op, dtype: Float64, args: vec![double], guard: None })?;
        self.builder.cast(power, dtype, None).map(Value::Node)
    }

    /// An int power as products: which are multiplied first makes no difference, as ints wrap.
    fn int_power(&mut self, base: NodeId, exponent: i64, dtype: DType) -> Result<Value> {
        let mut power = None;
        for bit in (0..i64::BITS - exponent.leading_zeros()).rev() {
            if let Some(half) = power {
                power = Some(self.builder.binary(Binary::Mul, half, half, None)?);
            }
            if exponent >> bit & 1 == 1 {
                power = Some(match power {
                    Some(power) => self.builder.binary(Binary::Mul, power, base, None)?,
                    None => base,
                });
            }
        }
        power.map_or_else(|| self.as_dtype(Value::Int(1), dtype), Ok).map(Value::Node)
    }

    pub fn compare(&mut self, comparison: Comparison, a: Value, b: Value) -> Result<Value> {
        let mut common = self.common(a, b);
        let fits = |value| !matches!(value, Value::Int(int) if i32::try_from(int).is_err());
        if common == Int32 && !(fits(a) && fits(b)) {
            common = Int64; // compared as what it is, not as what fits
        }
        let (a, b) = self.meet(a, b, common)?;
        let (binary, a, b) = match comparison {
            Comparison::Lt => (Binary::Lt, a, b),
            Comparison::Le => (Binary::Le, a, b),
            Comparison::Gt => (Binary::Lt, b, a),
            Comparison::Ge => (Binary::Le, b, a),
            Comparison::Eq => (Binary::Eq, a, b),
            Comparison::Ne => (Binary::Ne, a, b),
        };
        self.builder.binary(binary, a, b, None).map(Value::Node)
    }

    pub fn negate(&mut self, a: Value) -> Result<Value> {
        match a {
            Value::Int(int) => int.checked_neg().map(Value::Int).ok_or("it does not fit int64".to_string()),
            Value::Float(float) => Ok(Value::Float(-float)),
            Value::Node(node) if self.builder.dtype(node) == Bool => {
                Err("there is no `-` of bool; write `not`".to_string())
            }
            Value::Node(node) => self.builder.unary(Unary::Neg, node).map(Value::Node),
        }
    }

    // ---- conditions ----

    /// Whether a value is true: not zero.
    pub fn truth(&mut self, value: Value) -> Result<NodeId> {
        let node = self.node(value)?;
        self.builder.cast(node, Bool, None)
    }

    pub fn not(&mut self, value: Value) -> Result<Value> {
        let truth = self.truth(value)?;
        self.negated(truth).map(Value::Node)
    }

    pub fn negated(&mut self, truth: NodeId) -> Result<NodeId> {
        self.builder.unary(Unary::Not, truth)
    }

    pub fn both(&mut self, a: NodeId, b: NodeId) -> Result<NodeId> {
        self.builder.binary(Binary::And, a, b, None)
    }

    pub fn either(&mut self, a: NodeId, b: NodeId) -> Result<NodeId> {
        self.builder.binary(Binary::Or, a, b, None)
    }

    /// From now on, only elements for which this is true, beside the guard before, are looked at. Gives the guard before.
    pub fn guarded(&mut self, condition: NodeId) -> Result<Option<NodeId>> {
        let guard = match self.guard {
            None => condition,
            Some(guard) => self.both(guard, condition)?,
        };
        Ok(self.guard.replace(guard))
    }

    pub fn choose(&mut self, condition: NodeId, a: Value, b: Value) -> Result<Value> {
        let common = self.common(a, b);
        let (a, b) = self.meet(a, b, common)?;
        self.builder.choose(condition, a, b).map(Value::Node)
    }

    // ---- functions ----

    /// A value as a dtype that the text names.
    pub fn cast(&mut self, value: Value, dtype: DType) -> Result<Value> {
        if !is_computed(dtype) {
            return Err(format!("{dtype} is stored only; {COMPUTED} are computed"));
        }
        let node = match (value, dtype) {
            (Value::Int(_), _) | (Value::Float(_), Float32 | Float64) => self.as_dtype(value, dtype)?,
            _ => {
                let node = self.node(value)?;
                self.builder.cast(node, dtype, self.guard)?
            }
        };
        Ok(Value::Node(node))
    }

    /// A function of one value, by its node's name.
    pub fn unary(&mut self, unary: Unary, value: Value) -> Result<Value> {
        let dtype = self.dtype(value);
        let node = self.node(value)?;
        let keeps = match (unary, dtype) {
            (Unary::Sign, Bool) => return Err("there is no sign of bool".to_string()),
            (Unary::Abs, Bool) => true,
            (Unary::Floor | Unary::Ceil | Unary::Trunc | Unary::Round, Bool | Int32 | Int64) => true,
            (Unary::IsNan | Unary::IsInf, Bool | Int32 | Int64) => {
                return self.builder.constant(Bool, 0).map(Value::Node);
            }
            (Unary::IsFinite, Bool | Int32 | Int64) => return self.builder.constant(Bool, 1).map(Value::Node),
            _ => false,
        };
        if keeps {
            return Ok(Value::Node(node));
        }
        match unary {
            Unary::Elementary(_) | Unary::Sqrt => {
                let float = self.builder.cast(node, floating(dtype), None)?;
                self.builder.unary(unary, float).map(Value::Node)
            }
            _ => self.builder.unary(unary, node).map(Value::Node),
        }
    }

    /// A function of two values.
    pub fn elementary(&mut self, function: elementary::Binary, a: Value, b: Value) -> Result<Value> {
        let common = self.common(a, b);
        match (function, common) {
            (elementary::Binary::Fmod, Int32 | Int64) => self.divide(Binary::Rem, a, b, common),
            (elementary::Binary::Fmod, Bool) => Err("there is no fmod of bool and bool; write int32(…)".to_string()),
            _ => self.elementary_2(function, a, b, floating(common)),
        }
    }

    fn elementary_2(&mut self, function: elementary::Binary, a: Value, b: Value, dtype: DType) -> Result<Value> {
        // A number beside float32 is a float32 first.
        let (a, b) = self.meet(a, b, dtype)?;
        let (a, b) = (self.builder.cast(a, Float64, None)?, self.builder.cast(b, Float64, None)?);
        let result = self.builder.binary(Binary::Elementary(function), a, b, None)?;
        self.builder.cast(result, dtype, None).map(Value::Node)
    }

    pub fn minimum(&mut self, a: Value, b: Value) -> Result<Value> {
        self.extreme(Binary::Minimum, Binary::And, a, b)
    }

    pub fn maximum(&mut self, a: Value, b: Value) -> Result<Value> {
        self.extreme(Binary::Maximum, Binary::Or, a, b)
    }

    fn extreme(&mut self, binary: Binary, of_bools: Binary, a: Value, b: Value) -> Result<Value> {
        let common = self.common(a, b);
        self.binary_in(if common == Bool { of_bools } else { binary }, a, b, common)
    }

    /// An array of the expression.
    pub fn input(&mut self, input: u32, dtype: DType) -> Result<Value> {
        if !is_computed(dtype) {
            return Err(format!("it is {dtype}, which is stored only; {COMPUTED} are computed"));
        }
        let node = Node { op: Op::Input(input), dtype, args: vec![], guard: None };
        self.builder.add(node).map(Value::Node)
    }
}

/// The dtype that holds the values of both, by NumPy's rules.
pub fn promote(a: DType, b: DType) -> DType {
    match (a, b) {
        _ if a == b => a,
        (Bool, other) | (other, Bool) => other,
        (Int32, Int64) | (Int64, Int32) => Int64,
        _ => Float64,
    }
}

/// What a function with fractions gives for this dtype. (NumPy gives float16 for bool.)
fn floating(dtype: DType) -> DType {
    if dtype == Float32 { Float32 } else { Float64 }
}

/// What dividing by this number of the text may be replaced by multiplying with, as both round the same number: of a power of two,
/// unless it or its reciprocal is subnormal. Multiplying takes a fifth of the time.
fn exact_reciprocal(divisor: Value, dtype: DType) -> Option<f64> {
    let divisor = divisor.number()?;
    let least = if dtype == Float32 { f64::from(f32::MIN_POSITIVE) } else { f64::MIN_POSITIVE };
    (is_power_of_two(divisor) && (least..=1.0 / least).contains(&divisor.abs())).then_some(1.0 / divisor)
}

/// Numbers of the text among themselves, as Python computes them.
fn fold(operator: Operator, a: Value, b: Value) -> Result<Option<Value>> {
    let (Some(x), Some(y)) = (a.number(), b.number()) else {
        return Ok(None);
    };
    let divides = match operator {
        Operator::Div | Operator::FloorDiv | Operator::Mod => y == 0.0,
        Operator::Pow => x == 0.0 && y < 0.0,
        _ => false,
    };
    if divides {
        return Err("division by zero".to_string());
    }
    if let (Value::Int(a), Value::Int(b)) = (a, b)
        && let Some(folded) = fold_ints(operator, a, b)
    {
        return folded
            .map(|int| Some(Value::Int(int)))
            .ok_or("it does not fit int64; write a number as a float".to_string());
    }
    use crate::kernels::number::Number;
    Ok(Some(Value::Float(match operator {
        Operator::Add => x + y,
        Operator::Sub => x - y,
        Operator::Mul => x * y,
        Operator::Div => x / y,
        Operator::FloorDiv => x.floor_div(y),
        Operator::Mod => x.modulo(y),
        Operator::Pow => libm::pow(x, y),
    })))
}

/// None if it gives a float; none inside if it does not fit.
fn fold_ints(operator: Operator, a: i64, b: i64) -> Option<Option<i64>> {
    use crate::kernels::number::Number;
    Some(match operator {
        Operator::Add => a.checked_add(b),
        Operator::Sub => a.checked_sub(b),
        Operator::Mul => a.checked_mul(b),
        Operator::FloorDiv if (a, b) == (i64::MIN, -1) => None,
        Operator::FloorDiv => Some(a.floor_div(b)),
        Operator::Mod => Some(a.modulo(b)),
        Operator::Pow if b >= 0 => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
        Operator::Div | Operator::Pow => return None,
    })
}
