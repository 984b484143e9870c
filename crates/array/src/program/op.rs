//! What a node can do, and which dtypes it takes and gives.

use crate::DType::{self, *};
use crate::kernels::elementary;

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// The element of this input.
    Input(u32),
    /// The same for every element: its bits, in the lower bytes.
    Constant(u64),
    /// The element's place in the array; int64.
    Index,
    /// A random float64, uniform in `low..high`: element `index` of [`crate::random::fill_double`].
    Uniform {
        /// Which random numbers.
        seed: u64,
        /// The least.
        low: f64,
        /// Above all.
        high: f64,
    },
    /// A random int, uniform in `low..=high`.
    Integers {
        /// Which random numbers.
        seed: u64,
        /// The least.
        low: i64,
        /// The greatest.
        high: i64,
    },
    /// A random float64 of the standard normal distribution.
    Normal {
        /// Which random numbers.
        seed: u64,
    },
    /// The same value as another dtype. Of a NaN or what is out of range, it fails.
    Cast,
    /// A float64 to the power of this number, one of [`elementary::EXPONENTS`].
    Power(u8),
    /// Of one value.
    Unary(Unary),
    /// Of two values of one dtype.
    Binary(Binary),
    /// The second of three values where the first is true, else the third.
    Where,
}

/// A function of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    /// -x
    Neg,
    /// Not x, of bool.
    Not,
    /// |x|
    Abs,
    /// -1, 0 or 1; NaN of NaN.
    Sign,
    /// The largest whole number that is not above x.
    Floor,
    /// The least whole number that is not below x.
    Ceil,
    /// Without the fraction.
    Trunc,
    /// The nearest whole number, the even one of two.
    Round,
    /// The square root.
    Sqrt,
    /// Whether it is not a number.
    IsNan,
    /// Whether it is infinite.
    IsInf,
    /// Whether it is neither.
    IsFinite,
    /// An elementary function, of floats.
    Elementary(elementary::Unary),
}

/// A function of two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// a + b
    Add,
    /// a - b
    Sub,
    /// a b
    Mul,
    /// a / b, of floats
    Div,
    /// The floor of a / b. Of ints it fails for b = 0.
    FloorDiv,
    /// What a // b leaves, with the sign of b. Of ints it fails for b = 0.
    Mod,
    /// What dividing leaves, with the sign of a; of ints. It fails for b = 0.
    Rem,
    /// a to the power of b; of ints. It fails for b < 0.
    IntPow,
    /// The lesser, or NaN if one is.
    Minimum,
    /// The greater, or NaN if one is.
    Maximum,
    /// a = b
    Eq,
    /// a != b
    Ne,
    /// a < b
    Lt,
    /// a <= b
    Le,
    /// Both, of bool.
    And,
    /// One at least, of bool.
    Or,
    /// An elementary function, of float64.
    Elementary(elementary::Binary),
}

impl Unary {
    /// Those that are not elementary functions.
    const OWN: [Unary; 12] = [
        Unary::Neg,
        Unary::Not,
        Unary::Abs,
        Unary::Sign,
        Unary::Floor,
        Unary::Ceil,
        Unary::Trunc,
        Unary::Round,
        Unary::Sqrt,
        Unary::IsNan,
        Unary::IsInf,
        Unary::IsFinite,
    ];

    /// All of them.
    pub fn all() -> impl Iterator<Item = Unary> {
        Unary::OWN.into_iter().chain(elementary::Unary::ALL.into_iter().map(Unary::Elementary))
    }

    /// Its name in the text of a program.
    pub fn name(self) -> &'static str {
        match self {
            Unary::Neg => "neg",
            Unary::Not => "not",
            Unary::Abs => "abs",
            Unary::Sign => "sign",
            Unary::Floor => "floor",
            Unary::Ceil => "ceil",
            Unary::Trunc => "trunc",
            Unary::Round => "round",
            Unary::Sqrt => "sqrt",
            Unary::IsNan => "isnan",
            Unary::IsInf => "isinf",
            Unary::IsFinite => "isfinite",
            Unary::Elementary(function) => function.name(),
        }
    }

    /// What it gives for a value of this dtype; none if it takes no such value.
    pub fn output(self, input: DType) -> Option<DType> {
        let takes = match self {
            Unary::Neg | Unary::Abs | Unary::Sign => matches!(input, Int32 | Int64 | Float32 | Float64),
            Unary::Not => input == Bool,
            _ => is_float(input),
        };
        let gives = match self {
            Unary::IsNan | Unary::IsInf | Unary::IsFinite => Bool,
            _ => input,
        };
        takes.then_some(gives)
    }
}

impl Binary {
    /// Those that are not elementary functions.
    const OWN: [Binary; 16] = [
        Binary::Add,
        Binary::Sub,
        Binary::Mul,
        Binary::Div,
        Binary::FloorDiv,
        Binary::Mod,
        Binary::Rem,
        Binary::IntPow,
        Binary::Minimum,
        Binary::Maximum,
        Binary::Eq,
        Binary::Ne,
        Binary::Lt,
        Binary::Le,
        Binary::And,
        Binary::Or,
    ];

    /// All of them.
    pub fn all() -> impl Iterator<Item = Binary> {
        Binary::OWN.into_iter().chain(elementary::Binary::ALL.into_iter().map(Binary::Elementary))
    }

    /// Its name in the text of a program.
    pub fn name(self) -> &'static str {
        match self {
            Binary::Add => "add",
            Binary::Sub => "sub",
            Binary::Mul => "mul",
            Binary::Div => "div",
            Binary::FloorDiv => "floordiv",
            Binary::Mod => "mod",
            Binary::Rem => "rem",
            Binary::IntPow => "intpow",
            Binary::Minimum => "minimum",
            Binary::Maximum => "maximum",
            Binary::Eq => "eq",
            Binary::Ne => "ne",
            Binary::Lt => "lt",
            Binary::Le => "le",
            Binary::And => "and",
            Binary::Or => "or",
            Binary::Elementary(function) => function.name(),
        }
    }

    /// What it gives for two values of this dtype; none if it takes no such values.
    pub fn output(self, input: DType) -> Option<DType> {
        let takes = match self {
            Binary::Add | Binary::Sub | Binary::Mul | Binary::FloorDiv | Binary::Mod => is_number(input),
            Binary::Minimum | Binary::Maximum => is_number(input),
            Binary::Div => is_float(input),
            Binary::Rem | Binary::IntPow => is_int(input),
            Binary::Eq | Binary::Ne | Binary::Lt | Binary::Le => is_number(input) || input == Bool,
            Binary::And | Binary::Or => input == Bool,
            Binary::Elementary(_) => input == Float64,
        };
        let gives = match self {
            Binary::Eq | Binary::Ne | Binary::Lt | Binary::Le => Bool,
            _ => input,
        };
        takes.then_some(gives)
    }
}

/// Whether it is one of the floats that are computed.
pub fn is_float(dtype: DType) -> bool {
    matches!(dtype, Float32 | Float64)
}

/// Whether it is one of the ints that are computed.
pub fn is_int(dtype: DType) -> bool {
    matches!(dtype, Int32 | Int64)
}

fn is_number(dtype: DType) -> bool {
    is_int(dtype) || is_float(dtype)
}

/// Whether a node with this operation, on values of `input`, can fail for some of them.
pub fn can_fail(op: Op, input: Option<DType>, output: DType) -> bool {
    match (op, input) {
        (Op::Cast, Some(input)) => (is_float(input) && is_int(output)) || (input == Int64 && output == Int32),
        (Op::Binary(Binary::FloorDiv | Binary::Mod | Binary::Rem | Binary::IntPow), Some(input)) => is_int(input),
        _ => false,
    }
}
