//! The operations that have a name: those of the original system.

use std::fmt;
use std::str::FromStr;

use std::sync::{Arc, OnceLock};

use crate::expression::parse_expression;
use crate::program::Source;
use crate::{Buffer, DType, Program};

/// A function of one element, applied to every element of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// float64: `(sin x + cos x)^2 / (sqrt|x| + 1)`; see [`crate::kernels::example1`].
    Example1,
    /// int32: `trunc((x ln x) mod 7)` of multiples of 3 and of 500 to 1000; see [`crate::kernels::example2`].
    Example2,
}

impl Operation {
    /// Every operation there is.
    pub const ALL: [Operation; 2] = [Operation::Example1, Operation::Example2];

    /// Its name in commands and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Example1 => "example1",
            Operation::Example2 => "example2",
        }
    }

    /// The dtype it takes.
    pub fn input(self) -> DType {
        match self {
            Operation::Example1 => DType::Float64,
            Operation::Example2 => DType::Int32,
        }
    }

    /// The dtype it gives.
    pub fn output(self) -> DType {
        match self {
            Operation::Example1 => DType::Float64,
            Operation::Example2 => DType::Int32,
        }
    }

    /// Whether an array of this dtype can be its input.
    ///
    /// # Errors
    /// [`WrongDType`] if it takes another one: nothing is converted silently.
    pub fn check_input(self, dtype: DType) -> Result<(), WrongDType> {
        if dtype == self.input() { Ok(()) } else { Err(WrongDType { operation: self, found: dtype }) }
    }

    /// Its expression.
    pub fn text(self) -> &'static str {
        match self {
            Operation::Example1 => "(sin(x) + cos(x)) ** 2 / (sqrt(abs(x)) + 1)",
            // A multiple of 3 that is not positive has a logarithm that is no number, of which the original's cast makes 0.
            Operation::Example2 => {
                "int32(where(x % 3 == 0 or 500 <= x <= 1000, where(x > 0, trunc(fmod(x * log(x), 7)), 0), x))"
            }
        }
    }

    /// Applies it to elements: the result and the CRC-32C of its bytes.
    ///
    /// # Panics
    /// If the buffer's length is not a multiple of the size of [`Operation::input`].
    pub fn apply(self, input: &Buffer) -> (Buffer, u32) {
        let len = input.len() / self.input().size();
        let mut output = Buffer::zeroed(len * self.output().size());
        let source = Source { bytes: input.as_bytes(), crc32c: None };
        let crc32c = self.program().apply_into(&[source], 0, len, &mut output).expect("every element has a value");
        (output, crc32c)
    }

    /// Its program, which is made once.
    pub fn program(self) -> Arc<Program> {
        static PROGRAMS: OnceLock<[Arc<Program>; 2]> = OnceLock::new();
        let programs = PROGRAMS.get_or_init(|| {
            Operation::ALL.map(|operation| {
                let alone = &mut |name: &str| Err(format!("no '{name}'"));
                let program = parse_expression(operation.text(), operation.input(), alone);
                Arc::new(program.expect("its text is an expression").with_name(operation))
            })
        });
        programs[self as usize].clone()
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Operation {
    type Err = UnknownOperation;

    fn from_str(name: &str) -> Result<Operation, UnknownOperation> {
        Operation::ALL
            .into_iter()
            .find(|operation| operation.name() == name)
            .ok_or_else(|| UnknownOperation { name: name.to_owned() })
    }
}

/// No operation has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownOperation {
    /// The name as it was given.
    pub name: String,
}

impl fmt::Display for UnknownOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Operation::ALL.map(|operation| format!("{operation} ({})", operation.input()));
        write!(f, "unknown operation '{}', there are {}", self.name, known.join(", "))
    }
}

impl std::error::Error for UnknownOperation {}

/// The operation does not take arrays of this dtype.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongDType {
    /// The operation that was asked for.
    pub operation: Operation,
    /// The dtype of the array it was asked for.
    pub found: DType,
}

impl fmt::Display for WrongDType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let takes = self.operation.input();
        write!(f, "operation '{}' takes {takes}, not {}", self.operation, self.found)
    }
}

impl std::error::Error for WrongDType {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for operation in Operation::ALL {
            assert_eq!(operation.to_string().parse(), Ok(operation));
            assert_eq!(operation.check_input(operation.input()), Ok(()));
        }
    }

    #[test]
    fn errors_say_what_there_is() {
        let error = "example3".parse::<Operation>().unwrap_err();
        let expected = "unknown operation 'example3', there are example1 (float64), example2 (int32)";
        assert_eq!(error.to_string(), expected);
        let error = Operation::Example1.check_input(DType::Int32).unwrap_err();
        assert_eq!(error.to_string(), "operation 'example1' takes float64, not int32");
        assert!(Operation::Example2.check_input(DType::Float64).is_err());
    }
}
