//! The reductions there are.

use std::fmt;
use std::str::FromStr;

use crate::DType;

/// What a reduction makes of many elements.
///
/// Each has the meaning of NumPy's function of the same name, `count` that of `np.count_nonzero`. A NaN counts as true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reducer {
    /// Their sum: exact for bool and integers, in float64 for floats. 0 of no elements, and never -0.0.
    Sum,
    /// Their product: exact for bool and integers, in float64 for floats. 1 of no elements.
    Prod,
    /// The least. NaN if there is one; -0.0 is below 0.0, as in IEEE 754-2019's `minimum`.
    Min,
    /// The greatest. NaN if there is one; 0.0 is above -0.0, as in IEEE 754-2019's `maximum`.
    Max,
    /// Index of the first NaN if there is one, else of the first of the least; -0.0 and 0.0 are equal.
    Argmin,
    /// Index of the first NaN if there is one, else of the first of the greatest; -0.0 and 0.0 are equal.
    Argmax,
    /// Their sum divided by their number. NaN of no elements.
    Mean,
    /// The mean of the squared differences from the mean (`ddof=0`). NaN of no elements.
    Var,
    /// The square root of [`Reducer::Var`].
    Std,
    /// How many are not zero.
    Count,
    /// Whether one is not zero. False of no elements.
    Any,
    /// Whether none is zero. True of no elements.
    All,
}

impl Reducer {
    /// Every reducer there is, in the order of the enum.
    pub const ALL: [Reducer; 12] = [
        Reducer::Sum,
        Reducer::Prod,
        Reducer::Min,
        Reducer::Max,
        Reducer::Argmin,
        Reducer::Argmax,
        Reducer::Mean,
        Reducer::Var,
        Reducer::Std,
        Reducer::Count,
        Reducer::Any,
        Reducer::All,
    ];

    /// The first of those that know the same of the elements and make different values of it.
    pub(crate) fn knows_as(self) -> Reducer {
        match self {
            Reducer::Mean => Reducer::Sum,
            Reducer::Std => Reducer::Var,
            Reducer::Any | Reducer::All => Reducer::Count,
            other => other,
        }
    }

    /// Its name in expressions and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Reducer::Sum => "sum",
            Reducer::Prod => "prod",
            Reducer::Min => "min",
            Reducer::Max => "max",
            Reducer::Argmin => "argmin",
            Reducer::Argmax => "argmax",
            Reducer::Mean => "mean",
            Reducer::Var => "var",
            Reducer::Std => "std",
            Reducer::Count => "count",
            Reducer::Any => "any",
            Reducer::All => "all",
        }
    }

    /// The dtype of what it makes of elements of a dtype that is computed on: bool, int32, int64, float32 or float64. As in
    /// NumPy, but that there is no other integer than int64 for a sum.
    pub fn output(self, input: DType) -> DType {
        match self {
            Reducer::Min | Reducer::Max => input,
            Reducer::Argmin | Reducer::Argmax | Reducer::Count => DType::Int64,
            Reducer::Any | Reducer::All => DType::Bool,
            Reducer::Sum | Reducer::Prod if !matches!(input, DType::Float32 | DType::Float64) => DType::Int64,
            _ if input == DType::Float32 => DType::Float32,
            _ => DType::Float64,
        }
    }
}

impl fmt::Display for Reducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Reducer {
    type Err = UnknownReducer;

    fn from_str(name: &str) -> Result<Reducer, UnknownReducer> {
        let found = Reducer::ALL.into_iter().find(|reducer| reducer.name() == name);
        found.ok_or_else(|| UnknownReducer(name.to_owned()))
    }
}

/// No reducer has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownReducer(
    /// The name as it was given.
    pub String,
);

impl fmt::Display for UnknownReducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown reduction '{}', there are {}", self.0, Reducer::ALL.map(Reducer::name).join(", "))
    }
}

impl std::error::Error for UnknownReducer {}
