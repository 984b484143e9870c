//! The operations an array can be asked for, and how one is applied to a segment.

use std::fmt;
use std::str::FromStr;

use rayon::prelude::*;

use crate::{Buffer, DType, Element, checksum, kernels};

/// Bytes of input that are computed at a stretch, and what a thread takes at least. Input and output of a
/// chunk fit the second-level cache of any CPU in use (256 KiB and more), so its checksum is taken before the
/// result goes to memory; and its 10 to 50 microseconds of work outweigh handing it to another thread.
pub const CHUNK_BYTES: usize = 64 << 10;

/// A function of one element, applied to every element of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// float64: `(sin x + cos x)^2 / (sqrt|x| + 1)`; see [`kernels::example1`].
    Example1,
    /// int32: `trunc((x ln x) mod 7)` of multiples of 3 and of 500 to 1000; see [`kernels::example2`].
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

    /// Applies it to a segment: the result, as many elements as the input, and the CRC-32C of the result's
    /// bytes.
    ///
    /// The work is shared by the rayon pool this is called on. An input of 64 KiB or less is done by the
    /// caller's thread alone. The bits and the checksum are the same either way, as a result depends on its
    /// element only.
    ///
    /// # Panics
    /// If the buffer's length is not a multiple of the size of [`Operation::input`].
    pub fn apply(self, input: &Buffer) -> (Buffer, u32) {
        let mut output = Buffer::zeroed(self.output_bytes(input));
        let crc = self.apply_into(input, &mut output);
        (output, crc)
    }

    /// Bytes of the result of a segment.
    pub fn output_bytes(self, input: &Buffer) -> usize {
        input.len() / self.input().size() * self.output().size()
    }

    /// As [`Operation::apply`], with the result in a buffer of [`Operation::output_bytes`] that may hold anything before.
    /// Gives its CRC-32C.
    ///
    /// # Panics
    /// As [`Operation::apply`], and if the output has another length.
    pub fn apply_into(self, input: &Buffer, output: &mut Buffer) -> u32 {
        self.run(input, output, false).output
    }

    /// As [`Operation::apply_into`] for an input whose bytes must have this CRC-32C; none if they don't, and the output means
    /// nothing. Each chunk is checked when it is read, so that memory is gone through once.
    ///
    /// # Panics
    /// As [`Operation::apply_into`].
    pub fn apply_checked(self, input: &Buffer, crc32c: u32, output: &mut Buffer) -> Option<u32> {
        let checksums = self.run(input, output, true);
        (checksums.input == crc32c).then_some(checksums.output)
    }

    fn run(self, input: &Buffer, output: &mut Buffer, check: bool) -> Checksums {
        match self {
            Operation::Example1 => map(input, output, check, kernels::example1),
            Operation::Example2 => map(input, output, check, kernels::example2),
        }
    }
}

/// CRC-32C of what an operation has read, if it was to be checked, and of what it has made.
#[derive(Clone, Copy, Default)]
struct Checksums {
    input: u32,
    output: u32,
    /// Elements that they are of.
    len: u64,
}

/// Runs a kernel over a buffer chunk by chunk, taking each chunk's checksums while it is hot in the cache.
fn map<I: Element, O: Element>(
    input: &Buffer,
    output: &mut Buffer,
    check: bool,
    kernel: impl Fn(&[I], &mut [O]) + Sync,
) -> Checksums {
    let elements: &[I] = input.as_slice();
    let results: &mut [O] = output.as_mut_slice();
    assert_eq!(elements.len(), results.len(), "a result has as many elements as its input");
    let chunk = |input: &[I], output: &mut [O]| {
        let read = if check { checksum::crc32c(bytemuck::cast_slice(input)) } else { 0 };
        kernel(input, output);
        Checksums { input: read, output: checksum::crc32c(bytemuck::cast_slice(output)), len: input.len() as u64 }
    };
    let join = |a: Checksums, b: Checksums| Checksums {
        input: if check { checksum::combine(a.input, b.input, b.len * size_of::<I>() as u64) } else { 0 },
        output: checksum::combine(a.output, b.output, b.len * size_of::<O>() as u64),
        len: a.len + b.len,
    };

    let chunk_len = CHUNK_BYTES / size_of::<I>();
    if elements.len() <= chunk_len {
        return chunk(elements, results);
    }
    results
        .par_chunks_mut(chunk_len)
        .zip(elements.par_chunks(chunk_len))
        .map(|(output, input)| chunk(input, output))
        .reduce(Checksums::default, join)
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
    use proptest::prelude::*;

    use super::*;
    use crate::random;

    fn float_input(len: usize) -> Buffer {
        let mut buffer = Buffer::zeroed(len * 8);
        random::fill_double(1, 0, buffer.as_mut_slice(), -1e6, 1e6);
        buffer
    }

    fn int_input(len: usize) -> Buffer {
        let mut buffer = Buffer::zeroed(len * 4);
        random::fill_int(2, 0, buffer.as_mut_slice(), i32::MIN, i32::MAX);
        buffer
    }

    /// The kernel over the whole input at once and the checksum over the whole result.
    fn in_one_piece(operation: Operation, input: &Buffer) -> (Buffer, u32) {
        let mut output = Buffer::zeroed(input.len());
        match operation {
            Operation::Example1 => kernels::example1(input.as_slice(), output.as_mut_slice()),
            Operation::Example2 => kernels::example2(input.as_slice(), output.as_mut_slice()),
        }
        let crc = checksum::crc32c(output.as_bytes());
        (output, crc)
    }

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }

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

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        // Around one chunk, several chunks, a last one of one element.
        for bytes in [0, 8, CHUNK_BYTES - 8, CHUNK_BYTES, CHUNK_BYTES + 8, 37 * CHUNK_BYTES, (1 << 22) + 8] {
            let inputs = [float_input(bytes / 8), int_input(bytes / 4)];
            for (operation, input) in Operation::ALL.into_iter().zip(&inputs) {
                let expected = in_one_piece(operation, input);
                for threads in [1, 2, 7] {
                    let result = pool(threads).install(|| operation.apply(input));
                    assert!(result == expected, "{operation} of {bytes} bytes with {threads} threads");
                }
            }
        }
    }

    #[test]
    fn a_small_input_stays_on_the_callers_thread() {
        let caller = std::thread::current().id();
        let input = float_input(CHUNK_BYTES / 8);
        let check = |_: &[f64], _: &mut [f64]| assert_eq!(std::thread::current().id(), caller);
        map(&input, &mut Buffer::zeroed(input.len()), false, check);
    }

    #[test]
    fn a_checked_input_has_the_same_result_and_a_broken_one_none() {
        for bytes in [0, 8, CHUNK_BYTES, 5 * CHUNK_BYTES + 8] {
            let mut input = float_input(bytes / 8);
            let crc32c = checksum::crc32c(input.as_bytes());
            let mut output = Buffer::zeroed(bytes);
            let result = Operation::Example1.apply_checked(&input, crc32c, &mut output);
            let (expected, expected_crc32c) = in_one_piece(Operation::Example1, &input);
            assert!((result, output) == (Some(expected_crc32c), expected), "{bytes} bytes");
            for at in [0, bytes / 2, bytes.saturating_sub(1)].into_iter().filter(|at| *at < bytes) {
                input.as_bytes_mut()[at] ^= 4;
                let broken = Operation::Example1.apply_checked(&input, crc32c, &mut Buffer::zeroed(bytes));
                assert_eq!(broken, None, "byte {at} of {bytes}");
                input.as_bytes_mut()[at] ^= 4;
            }
        }
    }

    proptest! {
        #[test]
        fn any_length_gives_the_same_bits(len in 0..40_000_usize) {
            for (operation, input) in Operation::ALL.into_iter().zip([float_input(len), int_input(len)]) {
                prop_assert!(operation.apply(&input) == in_one_piece(operation, &input));
            }
        }
    }
}
